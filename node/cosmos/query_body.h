/* The body of a query request:
 * {"query":"...","parameters":[{"name":"@x","value":1}]}, or bare text with
 * Content-Type application/sql. */
#ifndef BASTIDE_COSMOS_QUERY_BODY_H
#define BASTIDE_COSMOS_QUERY_BODY_H

#include "node/cosmos/call.h"
#include "node/query/query.h"

/* A body with the longest text, every byte of it escaped, and parameters. */
#define QUERY_BODY_MAX (6 * OP_QUERY_MAX + OP_PARAMS_MAX + 1024)

/* Reads the body: the query's text is appended to `sql`, the parameters are
 * borrowed from the request (empty when there are none), and the query is
 * compiled. On failure the call is answered and false returned. The caller owns
 * the query. */
bool query_body_compile(struct call *c, struct buf *sql,
                        struct bytes *params_out, struct query **query_out);
/* Answers with what is wrong with a query. */
void query_body_failed(struct call *c, int err,
                       const struct query_error *error);

#endif
