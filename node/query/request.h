/* What the coordinator tells the scans, and what it writes into page tokens.
 * Both are small JSON objects that name the query they belong to. */
#ifndef BASTIDE_QUERY_REQUEST_H
#define BASTIDE_QUERY_REQUEST_H

#include "node/base/buf.h"
#include "node/query/ast.h"
#include "node/query/rows.h"

/* A sort key longer than this does not go into a token: tokens travel in HTTP
 * headers. The page after it is then found by counting. */
#define TOKEN_KEY_MAX 512

struct request {
    struct rowset_limits limits; /* of each shard's rows; UINT64_MAX: none */
    uint64_t delivered;          /* rows of earlier pages */
    struct buf after; /* sort key of the last of them; may be empty */
};

void request_init(struct request *r);
void request_free(struct request *r);
/* ERR_INVALID: not a request of this query. Empty text leaves `r` as it is. */
int request_read(struct request *r, const struct query *q, struct bytes text);
int request_write(const struct request *r, const struct query *q,
                  struct buf *out);

#endif
