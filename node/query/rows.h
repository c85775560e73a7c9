/* Result rows that have to be gathered before they can be delivered. */
#ifndef BASTIDE_QUERY_ROWS_H
#define BASTIDE_QUERY_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/bytes.h"

/* One row in one piece of memory: the key it sorts by, the encoding of its
 * value (value_encode; only when rows must be distinct), its JSON text. */
struct row {
    uint8_t *data;
    uint32_t key_len, identity_len, text_len;
};

static inline struct bytes row_key(const struct row *r)
{
    return bytes_of(r->data, r->key_len);
}
static inline struct bytes row_identity(const struct row *r)
{
    return bytes_of(r->data + r->key_len, r->identity_len);
}
static inline struct bytes row_text(const struct row *r)
{
    return bytes_of(r->data + r->key_len + r->identity_len, r->text_len);
}

/* How much of a result is wanted: `keep` rows at most; and, behind the first
 * `skip`, no more than it takes to pass `bytes` of text and to tell that there
 * are more rows. */
struct rowset_limits {
    uint64_t keep;
    uint64_t skip;
    uint64_t bytes;
};

/* The first rows by key, of any number added; when `distinct`, of rows with
 * equal identity only the first counts. */
struct rowset {
    struct row *rows;
    uint32_t count, cap;
    struct rowset_limits limits;
    bool distinct;
    bool settled;    /* sorted, cut, and distinct */
    bool full;       /* when settled: nothing behind the last is wanted */
    uint32_t settle; /* settle when this many are held */
    size_t held;     /* bytes of the rows */
    size_t max;
};

/* `max` bounds the memory in bytes. */
void rowset_init(struct rowset *s, struct rowset_limits limits, bool distinct,
                 size_t max);
void rowset_free(struct rowset *s);
/* Whether a row of that key could be among the first; saves making it. */
bool rowset_wants(const struct rowset *s, struct bytes key);
/* Copies the row in. ERR_LIMIT, ERR_NO_MEMORY. */
int rowset_add(struct rowset *s, struct bytes key, struct bytes identity,
               struct bytes text);
/* Sorts, removes duplicates and what is beyond the limits; rows[0..count) are
 * then the result. ERR_NO_MEMORY. */
int rowset_settle(struct rowset *s);

#endif
