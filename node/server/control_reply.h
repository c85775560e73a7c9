/* Answers of the admin API's routes. Each ends the request. */
#ifndef BASTIDE_SERVER_CONTROL_REPLY_H
#define BASTIDE_SERVER_CONTROL_REPLY_H

#include "node/base/buf.h"
#include "node/http/http.h"

#define CONTROL_ANSWER_MAX (4u << 20)

/* A JSON body, which is taken over. */
void control_respond(struct http_request *r, int status, struct buf *body);
/* {"code": ..., "message": ...} */
void control_refuse(struct http_request *r, int status, const char *code,
                    const char *message);
/* The same for an error: INVALID and MALFORMED 400, NOT_FOUND 404, EXISTS,
 * STALE and BUSY 409, else 503. */
void control_refuse_err(struct http_request *r, int err, const char *message);

#endif
