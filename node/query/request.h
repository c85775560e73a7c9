/* What the coordinator tells the scans, and what it writes into page tokens.
 * Both are small JSON objects that name the query they belong to. */
#ifndef BASTIDE_QUERY_REQUEST_H
#define BASTIDE_QUERY_REQUEST_H

#include "node/base/buf.h"
#include "node/query/ast.h"

/* A sort key longer than this does not go into a token: tokens travel in HTTP
 * headers. The page after it is then found by counting. */
#define TOKEN_KEY_MAX 512

struct request {
    uint64_t keep;      /* rows wanted of each shard; UINT64_MAX: all */
    uint64_t delivered; /* rows of earlier pages */
    struct buf after;   /* sort key of the last of them; may be empty */
};

void request_init(struct request *r);
void request_free(struct request *r);
/* ERR_INVALID: not a request of this query. Empty text leaves `r` as it is. */
int request_read(struct request *r, const struct query *q, struct bytes text);
int request_write(const struct request *r, const struct query *q,
                  struct buf *out);

#endif
