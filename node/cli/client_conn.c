#include "node/cli/client_conn.h"

#include <stdio.h>

#include "node/base/check.h"
#include "node/base/mem.h"

#define CLIENT_CONN_MAGIC MAGIC('c', 'l', 'c', 'o')
#define REASON_MAX 200

void client_conn_init(struct client_conn *c,
                      const struct client_conn_handler *handler, void *user)
{
    *c = (struct client_conn){
        .magic = CLIENT_CONN_MAGIC, .handler = handler, .user = user};
}

void client_conn_close(struct client_conn *c)
{
    CHECK_OBJ(c, CLIENT_CONN_MAGIC);
    c->open = false;
    c->asked = false;
    chan_free(TAKE(c->chan));
}

static void lose(struct client_conn *c, enum bench_failure failure, int err,
                 const char *why)
{
    char reason[REASON_MAX];
    snprintf(reason, sizeof(reason), "%s", why); /* it goes with the channel */
    client_conn_close(c);
    c->handler->on_lost(c, failure, err, reason, c->user);
}

static void on_open(struct chan *chan, void *user)
{
    struct client_conn *c = user;
    CHECK_OBJ(c, CLIENT_CONN_MAGIC);
    CHECK(c->chan == chan);
    c->open = true;
    c->handler->on_ready(c, c->user);
}

/* The response leaves the channel before the user sees it, so that the user may
 * do with the channel what it likes. */
static void take_response(struct client_conn *c, struct buf *in,
                          struct bench_response *r)
{
    struct buf whole;
    buf_init(&whole, r->bytes);
    CHECK(buf_append(&whole, buf_bytes(in), r->bytes) == ERR_OK);
    bench_response_move(r, buf_bytes(in), buf_bytes(&whole));
    buf_consume(in, r->bytes);
    c->asked = false;
    if (r->close)
        client_conn_close(c);
    c->handler->on_response(c, r, c->user);
    buf_free(&whole);
}

static void on_data(struct chan *chan, void *user)
{
    struct client_conn *c = user;
    CHECK_OBJ(c, CLIENT_CONN_MAGIC);
    struct buf *in = chan_input(chan);
    struct bench_response r;
    int err = bench_parse_response(bytes_of(buf_bytes(in), buf_len(in)), &r);
    if (err == ERR_AGAIN)
        return;
    if (err != ERR_OK || !c->asked)
        lose(c, BENCH_NO_HTTP, ERR_PROTOCOL,
             "not an answer to a request of ours");
    else
        take_response(c, in, &r);
}

static void on_close(struct chan *chan, void *user, int err)
{
    struct client_conn *c = user;
    CHECK_OBJ(c, CLIENT_CONN_MAGIC);
    lose(c, c->open ? BENCH_LOST : BENCH_NO_CONNECT, err, chan_reason(chan));
}

static const struct chan_handler events = {
    .on_open = on_open,
    .on_data = on_data,
    .on_close = on_close,
};

int client_conn_open(struct client_conn *c, struct chan_loop *loop,
                     struct tls_ctx *tls, const char *address,
                     const struct chan_limits *limits, struct err_msg *msg)
{
    const struct chan_connect_options o = {.address = address,
                                           .tls = tls,
                                           .limits = *limits,
                                           .handler = &events,
                                           .user = c};
    CHECK_OBJ(c, CLIENT_CONN_MAGIC);
    CHECK(c->chan == NULL);
    return chan_connect(loop, &o, msg, &c->chan);
}

void client_conn_send(struct client_conn *c, const struct buf *request)
{
    CHECK(client_conn_is_idle(c));
    c->asked = true;
    int err = chan_write(c->chan, buf_bytes(request), buf_len(request));
    /* One request at a time always fits; after a close on_close follows. */
    CHECK(err == ERR_OK || err == ERR_CLOSED);
}

bool client_conn_is_idle(const struct client_conn *c)
{
    return c->open && !c->asked;
}
