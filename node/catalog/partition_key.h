/* Partition keys: what a container is partitioned by, the value a request or a
 * document carries, and where it belongs.
 *
 *     definition (pk_def)  --- document --->  value (partition_key)
 *     header "[\"a\",5]"   ---------------->  value
 *     value  --->  effective partition key (EPK)  --->  shard of N
 *
 * The EPK of a value is what clients compute as well, to know which partition
 * key range (= shard) a document is in; epk_shard() and the boundaries reported
 * to clients (epk_boundary) come from the same arithmetic, so that they always
 * agree. Protocol reference sections 3.6, 6.1 to 6.3. Pure; nothing allocates.
 */
#ifndef BASTIDE_CATALOG_PARTITION_KEY_H
#define BASTIDE_CATALOG_PARTITION_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/json/json.h"

/* Paths of a hierarchical key. */
#define PK_PATHS_MAX 3
/* UTF-8 bytes of all strings of a value together, by hash version. */
#define PK_TEXT_MAX_V2 2048
#define PK_TEXT_MAX_V1 101
/* Header bytes that are read at all: the longest value, every byte of it
 * written as a \u escape, and brackets. */
#define PK_HEADER_MAX (PK_TEXT_MAX_V2 * 6 + 256)
/* Longest canonical form: a tag and an end mark for each component. */
#define PK_CANONICAL_MAX (PK_TEXT_MAX_V2 + 9 * PK_PATHS_MAX)

/* -- definition ---------------------------------------------------------- */

enum pk_kind {
    PK_HASH,      /* one path */
    PK_MULTI_HASH /* two or three paths, each hashed for itself */
};

/* How a container is partitioned. Paths are checked (json_path_check) and
 * borrowed from whoever made the definition (struct container_def). */
struct pk_def {
    enum pk_kind kind;
    uint8_t version; /* hash version, 1 or 2; PK_MULTI_HASH: 2 */
    uint8_t path_count;
    bool system_key; /* clients send [] for documents without the property */
    struct bytes paths[PK_PATHS_MAX];
};

/* -- value --------------------------------------------------------------- */

enum pk_type {
    PK_UNDEFINED, /* the property is missing, or an array or object */
    PK_NULL,
    PK_FALSE,
    PK_TRUE,
    PK_NUMBER,
    PK_STRING
};

struct pk_component {
    enum pk_type type;
    uint16_t at;   /* PK_STRING: where in `text` */
    uint16_t len;  /* PK_STRING: bytes */
    double number; /* PK_NUMBER: finite; -0 differs from 0 */
};

/* A value that owns its bytes. pk_copy copies only what is used. */
struct partition_key {
    uint8_t count; /* 0: "[]" */
    uint16_t text_len;
    struct pk_component parts[PK_PATHS_MAX];
    uint8_t text[PK_TEXT_MAX_V2]; /* strings, decoded UTF-8 */
};

/* Parses the value of the header x-ms-documentdb-partitionkey: a JSON array of
 * strings, numbers, booleans, null and {} (undefined). `j` is the worker's
 * parser; its former contents are lost.
 * ERR_MALFORMED  not such an array (also a non-empty object or an array in it)
 * ERR_LIMIT      more than PK_PATHS_MAX components or PK_TEXT_MAX_V2 bytes
 * The message (may be NULL) is fit for a 400 body. */
int pk_parse(struct json *j, struct bytes header, struct partition_key *pk_out,
             struct err_msg *msg);

enum pk_use {
    PK_POINT, /* one document: every component must be there */
    PK_PREFIX /* queries, feeds: a hierarchical key's first components do */
};
/* Fits a parsed header value to a definition: "[]" becomes the undefined value
 * of a container with one path; counts and sizes are checked. After ERR_OK
 * 1 <= count <= path_count, and == path_count for PK_POINT.
 * ERR_INVALID  too few (in the service's words) or too many components
 * ERR_LIMIT    longer than the hash version allows */
int pk_fit(const struct pk_def *def, enum pk_use use, struct partition_key *pk,
           struct err_msg *msg);

/* The value of a parsed document (`object` a JSON_OBJECT node of `j`). Missing
 * properties, arrays and objects count as undefined.
 * ERR_LIMIT  strings longer than the hash version allows; message for a 400 */
int pk_extract(const struct pk_def *def, const struct json *j, json_ref object,
               struct partition_key *pk_out, struct err_msg *msg);

void pk_copy(struct partition_key *to, const struct partition_key *from);
/* Same components of the same types and bytes; numbers by their bits. */
bool pk_equal(const struct partition_key *a, const struct partition_key *b);
/* Whether the components of `prefix` are the first of `pk`. */
bool pk_has_prefix(const struct partition_key *pk,
                   const struct partition_key *prefix);

/* Canonical bytes, for keyed hashing: equal for equal values and different for
 * different ones; a prefix value's bytes are a prefix of its extensions'.
 * Writes at most PK_CANONICAL_MAX bytes and returns how many. */
size_t pk_canonical(const struct partition_key *pk,
                    uint8_t out[PK_CANONICAL_MAX]);
/* The same for one component; room for its string and 9 bytes is needed. The
 * protocol's hash version 2 is computed over these bytes. */
size_t pk_canonical_part(const struct partition_key *pk, size_t index,
                         uint8_t *out);

/* -- effective partition key --------------------------------------------- */

/* Longest text: hash version 1, hex of a number (10 bytes at most), a tag, 100
 * bytes and an end mark. */
#define EPK_TEXT_MAX 224

/* Upper-case hex; sorts like the protocol wants with memcmp. */
struct epk {
    uint8_t len;
    char text[EPK_TEXT_MAX + 1];
};

/* `pk` must have been fitted to, or extracted by, `def`. A prefix of a
 * hierarchical key yields the prefix P of its extensions' EPKs: it covers
 * [P, P + "FF"). */
void epk_compute(const struct pk_def *def, const struct partition_key *pk,
                 struct epk *epk_out);

/* Shard index 0..count-1 of a fitted value in a group of `count` shards
 * (1..4095). Every extension of a hierarchical prefix has the prefix's shard: a
 * hierarchical key is spread by its first component. */
uint32_t epk_shard(const struct pk_def *def, const struct partition_key *pk,
                   uint32_t count);
/* Lower boundary of range `index` of `count`, inclusive; index == count yields
 * the end. First "", last "FF"; between, the k-th of `count` equal parts of the
 * hash space (version 2: 126 bits; version 1: 32 bits, number-encoded). */
void epk_boundary(const struct pk_def *def, uint32_t index, uint32_t count,
                  struct epk *epk_out);
/* The range that an EPK text (as clients send in x-ms-start-epk) falls into.
 * ERR_MALFORMED when it is not upper- or lower-case hex of even length at most
 * EPK_TEXT_MAX; "FF" and beyond is the last range. */
int epk_range_of(const struct pk_def *def, struct bytes text, uint32_t count,
                 uint32_t *index_out);
/* Order of texts: memcmp, prefix first. */
int epk_compare(const struct epk *a, const struct epk *b);

#endif
