/* Continuation tokens: where the next page of a feed or query begins.
 *
 * Opaque to clients and authenticated, so that what comes back is what was
 * given out: kind and fields in binary, then a keyed hash of them and of the
 * scope, in base64. Every node of the cluster has the key, so a token is valid
 * on each. It carries no document data but, for ORDER BY, the keys of the last
 * row. The scope is a hash of what the page is a page of (container, query
 * text, parameters, partition): a token does not fit another query.
 */
#ifndef BASTIDE_COSMOS_CONTINUATION_H
#define BASTIDE_COSMOS_CONTINUATION_H

#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/crypt/seal.h"
#include "node/shard/op.h"

/* What SDKs ask tokens to stay within. */
#define CONTINUATION_TEXT_MAX 1024
/* The same before base64. */
#define CONTINUATION_BINARY_MAX (CONTINUATION_TEXT_MAX / 4 * 3)

/* Positions that slots behind the present one begin at. */
#define CONTINUATION_FLOORS_MAX 4
struct continuation_floor {
    uint32_t slot; /* up to it */
    struct bytes position;
};

enum continuation_kind {
    CONTINUATION_LIST = 1, /* of databases or containers */
    CONTINUATION_SCAN,     /* rows in the order of the shards */
    CONTINUATION_MERGE     /* a gathering query */
};

struct continuation {
    enum continuation_kind kind;
    uint64_t scope[2];
    uint32_t after;        /* LIST: number of the last one delivered */
    uint32_t slot;         /* SCAN: as page_token.c counts */
    uint64_t skipped;      /* SCAN: struct query_window */
    uint64_t delivered;    /* SCAN: likewise */
    struct bytes position; /* SCAN: inside the range; empty: its beginning */
    uint32_t floor_count;  /* SCAN */
    struct continuation_floor floors[CONTINUATION_FLOORS_MAX];
    struct bytes token; /* MERGE: of query_merge_finish; LIST: of query_run */
};

/* Appends the text. ERR_LIMIT: it would pass CONTINUATION_TEXT_MAX. */
int continuation_write(const struct keyed_hash *key,
                       const struct continuation *c, struct buf *out);

/* Reads a token that must be of this kind and scope. Positions and `token`
 * point into `storage`, which is overwritten. ERR_MALFORMED: not one of ours,
 * or of something else. */
int continuation_read(const struct keyed_hash *key, struct bytes text,
                      enum continuation_kind kind, const uint64_t scope[2],
                      struct buf *storage, struct continuation *c_out);

#endif
