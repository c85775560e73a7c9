#include "node/http/http_private.h"

#include <stdio.h>

#include "node/base/mem.h"
#include "replication/link/chan.h"
#include "replication/link/chan_tls.h"

static void on_accept(struct chan *chan, void *user)
{
    struct http_listener *l = user;
    struct http_front *f = l->front;
    CHECK_OBJ(f, HTTP_FRONT_MAGIC);
    if (f->counters.connections_open >= f->options.limits.connections) {
        f->counters.connections_refused++;
        chan_free(chan);
        return;
    }
    f->counters.connections_accepted++;
    conn_new(f, chan, l, l->tag);
}

int http_listener_open(struct http_front *f, const char *address, uint16_t port,
                       void *tag, struct http_listener **listener_out,
                       struct err_msg *msg)
{
    CHECK_OBJ(f, HTTP_FRONT_MAGIC);
    CHECK(f->options.loop != NULL && f->options.tls != NULL && !f->draining);
    char text[CHAN_HOST_MAX + 16];
    bool brackets = strchr(address, ':') != NULL && address[0] != '[';
    int len = snprintf(text, sizeof text, brackets ? "[%s]:%u" : "%s:%u",
                       address, port);
    if (len < 0 || (size_t)len >= sizeof text)
        return err_set(msg, ERR_INVALID, "listen address is too long");

    struct http_listener *l = mem_zalloc(sizeof *l);
    l->front = f;
    l->tag = tag;
    struct chan_listen_options options = {
        .address = text,
        .reuse_port = true,
        .channels_max = (unsigned)f->options.limits.connections,
        .tls = f->options.tls,
        .limits = {.input_max = HTTP_INPUT_MAX,
                   .output_max = HTTP_OUTPUT_MAX,
                   .handshake_timeout_us = f->options.limits.handshake_us},
        .on_accept = on_accept,
        .user = l,
    };
    int err = chan_listen(f->options.loop, &options, msg, &l->chan_listener);
    if (err != ERR_OK) {
        mem_free(l);
        return err;
    }
    list_push_back(&f->listeners, &l->node);
    *listener_out = l;
    return ERR_OK;
}

uint16_t http_listener_port(const struct http_listener *l)
{
    return chan_listener_port(l->chan_listener);
}

void http_listener_close(struct http_listener *l)
{
    if (l == NULL)
        return;
    chan_listener_take_waiting(l->chan_listener);
    LIST_EACH_SAFE(node, &l->front->conns)
    {
        struct http_conn *c = LIST_ENTRY(node, struct http_conn, node);
        if (c->listener == l)
            conn_retire(c);
    }
    list_remove(&l->node);
    chan_listener_free(l->chan_listener);
    mem_free(l);
}
