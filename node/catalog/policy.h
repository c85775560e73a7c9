/* Private to node/catalog: the properties of a container definition, one
 * function each. Every function checks the value a client sent and writes the
 * member to be stored, or nothing when it is absent and has no default. */
#ifndef BASTIDE_CATALOG_POLICY_H
#define BASTIDE_CATALOG_POLICY_H

#include "node/catalog/container.h"

/* `value` is a node of `j`, JSON_NONE when the property is absent; the member's
 * key is `name`. ERR_INVALID with a message for a 400; errors of the writer's
 * buffer come out of json_writer_end. */
typedef int policy_write_fn(const struct json *j, json_ref value,
                            const char *name, struct json_writer *w,
                            struct err_msg *msg);

policy_write_fn policy_indexing, policy_partition_key, policy_ttl,
    policy_unique_keys, policy_conflict, policy_geospatial, policy_integer,
    policy_computed, policy_object, policy_array;

/* Whether there is a value and it has the type. */
bool policy_is(const struct json *j, json_ref value, enum json_type type);
/* A member, JSON_NONE when it is absent or null. */
json_ref policy_member(const struct json *j, json_ref object, const char *name);
/* Whether it is a string that begins with '/' and has a usual length. */
bool policy_is_path(const struct json *j, json_ref value);
/* ERR_INVALID, "The value of property 'x' is invalid: expected ...". */
int policy_bad_value(struct err_msg *msg, const char *name,
                     const char *expected);

/* Longest path in a definition. */
#define POLICY_PATH_MAX 1024
#define UNIQUE_KEYS_MAX 10
#define UNIQUE_KEY_PATHS_MAX 16
#define COMPUTED_PROPERTIES_MAX 20

/* Reads a partitionKey object. Paths are borrowed from the parsed text or
 * decoded into `scratch`. ERR_INVALID with a message; errors of buf. */
int policy_read_partition_key(const struct json *j, json_ref value,
                              struct buf *scratch, struct pk_def *def_out,
                              struct err_msg *msg);

/* Same value, whatever the order of members; numbers by value. Both without
 * equal keys in one object (as json_write_value writes them). */
bool policy_equal(const struct json *a, json_ref x, const struct json *b,
                  json_ref y);

#endif
