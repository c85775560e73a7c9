/* Requests of a scenario to the API, one after the other, blocking with a
 * deadline: the container is made, every document is read in the end, and the
 * conflict feed. */
#ifndef BASTIDE_CLI_FAULT_ASK_H
#define BASTIDE_CLI_FAULT_ASK_H

#include "node/cli/client_conn.h"

struct fault_ask;

/* `ca`: a PEM file. Errors of tls_ctx_client. */
int fault_ask_new(const char *ca, struct fault_ask **ask_out,
                  struct err_msg *msg);
void fault_ask_free(struct fault_ask *a); /* NULL is allowed */

/* Sends the request to `address` ("host:port") and waits. The answer is valid
 * until the next call. ERR_UNAVAILABLE: no connection, or lost; ERR_TIMEOUT;
 * ERR_PROTOCOL. */
int fault_ask(struct fault_ask *a, const char *address,
              const struct buf *request, usec_t timeout_us,
              const struct bench_response **answer_out, struct err_msg *msg);

#endif
