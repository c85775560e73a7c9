/* Answers. Each function here ends the call it is given. */
#ifndef BASTIDE_COSMOS_REPLY_H
#define BASTIDE_COSMOS_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/cosmos/call.h"
#include "node/cosmos/status.h"

/* What x-ms-version says; any version a client names is answered alike. */
#define REPLY_API_VERSION "2020-07-15"
/* Wait that a client is told with 429 when nothing else says how long. */
#define REPLY_RETRY_AFTER_MS 100

/* A failure in the words of the table. */
void reply_fail(struct call *c, enum cosmos_failure failure);
/* A failure whose text says more than the table. */
void reply_fail_text(struct call *c, enum cosmos_failure failure,
                     const char *text);
/* A failure whose message holds a JSON object of its own (query errors). */
void reply_fail_json(struct call *c, enum cosmos_failure failure,
                     struct bytes json);
/* A failure that is no row of the table (faults on request). */
void reply_status(struct call *c, const struct cosmos_status *status,
                  const char *text);
/* 403/1008, with the empty account that SDKs expect in its body. */
void reply_removed(struct call *c);
void reply_removed_text(struct call *c, const char *text);
/* What an operation failed with (its `err` is neither OK nor NOT_MODIFIED). */
void reply_op_failed(struct call *c, struct op_result *result);

/* Success with a body; takes the buffer's storage. */
void reply_json(struct call *c, int status, struct buf *body);
/* Success without a body: 204, 304, and 200/201 when the client asked for
 * minimal answers. */
void reply_empty(struct call *c, int status);
/* For the end of a read and of a deletion of one resource, also those that
 * failed. */
void reply_read(struct call *c, struct op_result *result);
void reply_deleted(struct call *c, struct op_result *result);

/* The answer of the node that a request was passed on to, as it is. */
struct passage_answer;
void reply_passed(struct call *c, const struct passage_answer *answer);

/* Headers of one resource: its etag. Call before the reply. */
void reply_etag(struct call *c, const struct etag *etag);
void reply_etag_text(struct call *c, struct bytes etag);
/* Remembers which state of the call's range the answer shows. */
void reply_state(struct call *c, const struct op_result *result);

/* The error body for requests that the HTTP front refuses. */
void reply_format_error(struct http_request *r, enum http_reject why,
                        const char *message, struct buf *body, void *user);

/* 429 for a request that no call was free for. */
void reply_overload(struct cosmos *cosmos, struct http_request *r);

#endif
