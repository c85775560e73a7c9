/* One connection of a client to the API: a request, its response, the next
 * request. On the caller's loop; the caller owns the struct.
 *
 *     closed --open--> opening --on_ready--> idle --send--> asked
 *        ^                |                    ^              |
 *        |            on_lost                  '--on_response-'
 *        '--on_lost, on_response with `close`-----------------'
 *
 * Callbacks come from the loop only. Inside of them the connection may be
 * closed, and opened anew; after on_response that is already done where the
 * server ends the connection. */
#ifndef BASTIDE_CLI_CLIENT_CONN_H
#define BASTIDE_CLI_CLIENT_CONN_H

#include <stdbool.h>

#include "node/cli/bench_wire.h"
#include "replication/link/chan.h"
#include "replication/link/chan_tls.h"

/* Ways to fail without a status. */
enum bench_failure {
    BENCH_LOST = 0,   /* the connection ended before the answer */
    BENCH_NO_ANSWER,  /* the user gave up (not told by the connection) */
    BENCH_NO_HTTP,    /* not a response that could be understood */
    BENCH_NO_CONNECT, /* no connection, or the handshake failed */
    BENCH_FAILURE_COUNT,
};

struct client_conn;

struct client_conn_handler {
    /* The handshake is done: a request may be sent. */
    void (*on_ready)(struct client_conn *c, void *user);
    /* All of a response, valid during the call. The connection is idle again,
     * or closed if `response->close`; the next request may be sent. */
    void (*on_response)(struct client_conn *c,
                        const struct bench_response *response, void *user);
    /* The connection is closed; `err` is that of chan.h's on_close. */
    void (*on_lost)(struct client_conn *c, enum bench_failure failure, int err,
                    const char *why, void *user);
};

struct client_conn {
    uint32_t magic;
    struct chan *chan; /* NULL: closed */
    bool open;         /* the handshake is done */
    bool asked;        /* a response is awaited */
    const struct client_conn_handler *handler;
    void *user;
};

/* `handler` must outlive the connection. */
void client_conn_init(struct client_conn *c,
                      const struct client_conn_handler *handler, void *user);
/* Of a closed connection. `limits`: zero fields mean the defaults of
 * chan_tls.h. Errors of chan_connect. */
int client_conn_open(struct client_conn *c, struct chan_loop *loop,
                     struct tls_ctx *tls, const char *address,
                     const struct chan_limits *limits, struct err_msg *msg);
/* Of an idle connection. It always fits; on_lost may follow. */
void client_conn_send(struct client_conn *c, const struct buf *request);
bool client_conn_is_idle(const struct client_conn *c);
/* At once; no callback follows. Of a closed one: nothing. */
void client_conn_close(struct client_conn *c);

#endif
