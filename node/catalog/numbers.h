/* The containers of the meta shard, in which the catalog itself is kept. */
#ifndef BASTIDE_CATALOG_NUMBERS_H
#define BASTIDE_CATALOG_NUMBERS_H

/* Users' containers have numbers from CONTAINER_FIRST_USER on and never reuse
 * one (rid.h). */
enum {
    CONTAINER_DATABASES = 1, /* partition key: "", id: database id */
    CONTAINER_CONTAINERS =
        2,                 /* partition key: database RID, id: container id */
    CONTAINER_ACCOUNT = 3, /* partition key: "", id: "account" */
    CONTAINER_GROUPS = 4,  /* partition key: "", id: group name */
    CONTAINER_AUDIT = 5,   /* partition key: "", id: time and random bytes */
    CONTAINER_FIRST_USER = 16
};

/* The container of a user's container's conflicts (node/shard/conflict.h): its
 * number with this bit, which no container of the catalog has. It comes and
 * goes with the container. */
#define CONTAINER_CONFLICTS 0x80000000u
/* The catalog's number for a container that may be one of conflicts. */
#define CONTAINER_BASE(container) ((container) & ~CONTAINER_CONFLICTS)

#endif
