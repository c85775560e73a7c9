/* Definitions of databases and containers: checking and completing what a
 * client sends, and reading back what is stored.
 *
 * A create or replace body becomes the JSON text to store: the properties this
 * API knows, in a fixed order, with defaults filled in; unknown ones are
 * dropped; system properties (_rid, _self, _etag, _ts and the child links) are
 * not in it, the shard appends them. Protocol reference sections 3.5, 3.7.
 *
 * All refusals are 400s: ERR_INVALID with a message fit for the body. Pure.
 */
#ifndef BASTIDE_CATALOG_CONTAINER_H
#define BASTIDE_CATALOG_CONTAINER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/base/check.h"
#include "node/base/err.h"
#include "node/catalog/partition_key.h"
#include "node/catalog/rid.h"
#include "node/json/json.h"

/* Bytes of a definition body. What is stored of it has all that was left out,
 * and can be longer: up to what a record may have (OP_BODY_MAX). */
#define DEFINITION_MAX (256u * 1024)

/* Names of databases, containers, users and scripts: 1..255 characters, none
 * of / \ ? # or controls, no space at the end. */
#define RESOURCE_NAME_CHARS_MAX 255
#define RESOURCE_NAME_BYTES_MAX (4 * RESOURCE_NAME_CHARS_MAX)
/* Ids of documents: 1..1023 bytes, neither / nor \ nor controls below 0x20. */
#define DOCUMENT_ID_MAX 1023

/* Check an id that is known to be a string (decoded UTF-8). */
int resource_name_check(struct bytes name, struct err_msg *msg);
int document_id_check(struct bytes id, struct err_msg *msg);
/* The `id` member of a body object: must be there and a legal name (or document
 * id). `scratch` holds a decoded text, see json_string. The message for a
 * missing, empty or non-string id is the service's. */
int resource_name_get(const struct json *j, json_ref object,
                      struct buf *scratch, struct bytes *name_out,
                      struct err_msg *msg);
int document_id_get(const struct json *j, json_ref object, struct buf *scratch,
                    struct bytes *id_out, struct err_msg *msg);

struct placement_map;

/* Groups that a container's documents may be in. */
#define CONTAINER_PARTS_MAX 8
/* What of a container is in one group. */
struct container_part {
    uint16_t layout; /* which of the group's (catalog.h) it is in */
    uint64_t number; /* of the move that brought it to these shards, whose
                      * replicas must have reached it; 0: it never moved */
};

/* How far a container's move is (node/server/mover.h). */
enum container_phase {
    CONTAINER_STAYS = 0,
    CONTAINER_COPYING,    /* its group is where it leaves */
    CONTAINER_SWITCHING,  /* likewise; it will move, whatever happens */
    CONTAINER_EMPTYING,   /* its group is where it has come to */
    CONTAINER_CANCELLING, /* its group is where it stays */
    CONTAINER_PHASE_COUNT
};
const char *container_phase_name(enum container_phase phase);

/* Splits of its group that a container has gone through since it came there. */
#define CONTAINER_SPLITS_MAX 12
/* Groups that parts of a container can have moved from or to. */
#define CONTAINER_BEEN_MAX 16
/* A group (number) that a part moved from or to. Its shards take the container
 * again by a move of the same part alone: what was sent to them for the part
 * while they had it may still be on its way, and they cannot tell it from what
 * is sent for another one. */
struct container_been {
    uint16_t group;
    uint8_t part;
};
/* Shards, of one layout of a group, that have not got anything of a container
 * any more. Two layouts of each group are there at most. */
#define CONTAINER_GONE_MAX 64
struct container_gone {
    uint16_t group; /* number */
    uint16_t layout;
};
/* Member "_move" of a definition: moves from shards to shards, of another group
 * or of another layout of its own. With a placement map it is about one part,
 * and what is said of ranges and of moves before does not apply: its one range
 * stays as it is. */
struct container_move {
    uint64_t number; /* as struct container_part has it */
    uint64_t joined; /* of the one that brought it to its group; 0: none */
    uint32_t ranges; /* id of its first partition key range: those that it had
                      * before are not used again */
    /* How many it had before each split since it joined, oldest first; their
     * ids end before `ranges`. */
    uint8_t split_count;
    uint16_t splits[CONTAINER_SPLITS_MAX];
    enum container_phase phase;
    bool emptied; /* CONTAINER_STAYS: nothing is left in `other` */
    /* What moves before this one left, or did not come to after all; may name
     * shards that the container has come back to (catalog_note_gone). */
    uint8_t gone_count;
    struct container_gone gone[CONTAINER_GONE_MAX];
    /* With a map: which part moves, or moved last; where parts have been; and
     * how many shards these moves left (spread.h). */
    uint8_t part;
    uint8_t been_count;
    struct container_been been[CONTAINER_BEEN_MAX];
    uint32_t left;
    struct bytes other;    /* the group at the other end, or that it left or was
                            * not moved to after all; empty: default */
    uint16_t other_number; /* its number, since it may be removed, and another
                            * one get its name; 0: default, or not known */
    uint16_t other_layout; /* and which of its layouts */
    uint32_t mover;        /* node that does it; 0: none yet */
    int64_t since;         /* when it was asked for, seconds since 1970 */
};

/* What the server must understand of a container. Immutable once made, shared
 * by counting references (one worker, so a plain count). */
struct container_def {
    uint32_t magic;
    uint32_t refs;
    struct rid rid;    /* len 0 when from a body */
    uint32_t database; /* number of its database */
    uint32_t number;   /* the store's container number */
    uint64_t record;   /* counter of its record in shard 0; catalog.h */
    struct bytes name;
    /* The placement group that its documents are in; empty: default. Or the
     * text of its placement map, which is then `map`. */
    struct bytes placement;
    uint16_t layout;           /* as struct container_part has it */
    struct placement_map *map; /* placement_map.h; NULL: one group */
    /* Member "_parts": of each group that the map names, in its order. */
    struct container_part parts[CONTAINER_PARTS_MAX];
    struct container_move move;
    struct pk_def pk;
    bool has_ttl;         /* defaultTtl is present */
    int32_t default_ttl;  /* -1 or seconds */
    bool has_unique_keys; /* uniqueKeyPolicy names at least one key */
    struct bytes etag;    /* with its quotes; empty when from a body */
    int64_t ts;
    struct bytes json; /* the whole stored text, system properties too */
    char *storage;     /* private: owns all bytes above */
};

#define CONTAINER_DEF_MAGIC MAGIC('c', 'o', 'l', 'l')

/* Whether documents of the container may be in the group of this name. */
bool container_placed_in(const struct container_def *def, struct bytes group);
/* The part that is in the group of this name (empty: default), by the order of
 * the map's groups; 0 without a map. -1: none is. */
int container_find_part(const struct container_def *def, struct bytes group);
struct container_part container_part(const struct container_def *def, int part);
/* Whether the container, or a part of it, is on its way to or from another
 * group, and not only to other shards of its own. */
bool container_changes_group(const struct container_def *def);
/* The newest move of any part; 0: none ever moved. */
uint64_t container_arrival(const struct container_def *def);

struct container_def *container_def_ref(struct container_def *def);
/* NULL is allowed. */
void container_def_unref(struct container_def *def);

/* Where a container is: as "_placement" and "_layout" of its text, or with a
 * map as "_placement" and "_parts". */
struct container_place {
    struct bytes group; /* empty: default */
    uint16_t layout;
    uint8_t part_count; /* 0 without a map */
    struct container_part parts[CONTAINER_PARTS_MAX];
};
/* Where it is now; borrowed from it. */
struct container_place container_place(const struct container_def *def);

/* Checks a create body (`object` of `j`) and appends the completed definition
 * to `json_out` (a whole object), for this place, or by a placement map instead
 * of a group, which the text then names as "_placement". ERR_INVALID with a
 * message; ERR_LIMIT, ERR_NO_MEMORY of the buffer. `json_out` is as before on
 * failure. */
int container_create(const struct json *j, json_ref object,
                     const struct container_place *place, struct buf *json_out,
                     struct err_msg *msg);
/* Same for a replace of `old`; immutable properties that are left out are kept,
 * that differ are refused. A changed id is refused. The placement stays. */
int container_replace(const struct container_def *old, const struct json *j,
                      json_ref object, struct buf *json_out,
                      struct err_msg *msg);

/* The definition `old` at another place, with this about its move: what to
 * store instead. ERR_CORRUPT; errors of buf, then `json_out` is as before. */
int container_moved(const struct container_def *old,
                    const struct container_place *place,
                    const struct container_move *move, struct buf *json_out);

/* Notes a finished move to the other side: `number` is its own, `ranges` how
 * many it had; `split`: to another layout of the same group. */
void container_move_end(struct container_move *m, uint64_t number,
                        uint16_t ranges, bool split);
/* Notes that a part moves from or to the group of that number. ERR_EXISTS:
 * another part did; ERR_FULL: CONTAINER_BEEN_MAX. */
int container_been_note(struct container_move *m, uint16_t group, uint8_t part);
bool container_been_in(const struct container_move *m, uint16_t group);
/* Which of the container's `count` present ranges, from 0, hold what was in the
 * range that clients know as `id`: itself, or those that it was split into.
 * ERR_NOT_FOUND: it was of another group, or there is none yet. */
int container_ranges_of(const struct container_move *m, uint16_t count,
                        uint32_t id, uint32_t *first_out, uint32_t *last_out);
/* The same for the id that a present range's ancestor had before split `back`,
 * counted from the newest, 0. */
uint32_t container_ancestor(const struct container_move *m, uint16_t count,
                            uint32_t index, uint8_t back);

/* Makes a definition of a stored text, with or without system properties; the
 * text is copied. `*def_out` has one reference.
 * ERR_CORRUPT with a message when it is no definition. */
int container_def_parse(struct bytes json, struct container_def **def_out,
                        struct err_msg *msg);

/* A create body of a database: {"id":"d"}. Appends the text to store. */
int database_create(const struct json *j, json_ref object, struct buf *json_out,
                    struct err_msg *msg);

#endif
