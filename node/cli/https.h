/* One HTTPS request, blocking with a deadline: how the command line asks a
 * node's admin listener. Not for a loop. */
#ifndef BASTIDE_CLI_HTTPS_H
#define BASTIDE_CLI_HTTPS_H

#include "node/base/buf.h"
#include "node/base/clock.h"
#include "node/base/err.h"

#define HTTPS_ANSWER_MAX (4 * 1024 * 1024)

/* Trust and identity for any number of requests. */
struct https;

/* `ca` must have signed the servers' certificates; `cert` and `key` (both or
 * neither) are shown to servers that ask. ERR_NOT_FOUND, ERR_INVALID with the
 * file in the message. */
int https_new(const char *ca, const char *cert, const char *key,
              struct https **https_out, struct err_msg *msg);
void https_free(struct https *h); /* NULL is allowed */

/* GET `url` + `path` ("https://host:port/" and "status"). The body is appended
 * to `body`. ERR_INVALID: not such a URL; ERR_UNAVAILABLE: nothing listens;
 * ERR_TIMEOUT; ERR_AUTH: the handshake failed, either side; ERR_PROTOCOL: no
 * HTTP answer; ERR_LIMIT: longer than the buffer's maximum. */
int https_get(struct https *h, const char *url, const char *path,
              usec_t timeout_us, int *status_out, struct buf *body,
              struct err_msg *msg);

/* The same with any method; `request` is a JSON text of at most
 * HTTPS_REQUEST_MAX bytes, sent unless NULL. */
#define HTTPS_REQUEST_MAX (64 * 1024)
int https_call(struct https *h, const char *method, const char *url,
               const char *path, const char *request, usec_t timeout_us,
               int *status_out, struct buf *body, struct err_msg *msg);

#endif
