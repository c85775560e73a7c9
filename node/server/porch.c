#include "node/server/porch.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/json/json.h"
#include "node/server/worker.h"

#define PORCH_BODY_MAX 4096
#define PORCH_CONNECTIONS 16

struct porch {
    struct node *node;
    struct ev_loop *loop;
    struct chan_loop *chans;
    struct http_front *front;
    struct http_listener *listener;
    struct ev_async stop;
    pthread_t thread;
};

/* ---- answers ------------------------------------------------------------- */

static void respond(struct http_request *r, int status, struct buf *body)
{
    http_reply_header_str(r, "Content-Type", "application/json");
    http_reply_close(r); /* the next connection may find the node started */
    http_respond_take(r, status, body);
    buf_free(body);
}

static void put_progress(const struct node *n, struct json_writer *w)
{
    char text[128];
    uint32_t worker = __atomic_load_n(&n->start.worker, __ATOMIC_RELAXED);
    uint64_t records = __atomic_load_n(&n->start.records, __ATOMIC_RELAXED);
    snprintf(text, sizeof(text),
             "the log of worker %" PRIu32 " of %" PRIu32
             " is being read: %" PRIu64 " records so far",
             worker + 1, n->worker_count, records);
    json_write_str(w, text);
    json_write_str(w, "the listeners are not open yet");
}

static void answer_ready(const struct node *n, struct http_request *r)
{
    struct buf body;
    struct json_writer w;
    buf_init(&body, PORCH_BODY_MAX);
    json_writer_init(&w, &body);
    json_write_object_begin(&w);
    json_write_member_bool(&w, "ready", false);
    json_write_key(&w, "waits_for");
    json_write_array_begin(&w);
    put_progress(n, &w);
    json_write_array_end(&w);
    json_write_key(&w, "limited_by");
    json_write_array_begin(&w);
    json_write_array_end(&w);
    json_write_object_end(&w);
    respond(r, 503, &body);
}

static void answer_text(struct http_request *r, int status, const char *code,
                        const char *message)
{
    struct buf body;
    buf_init(&body, PORCH_BODY_MAX);
    (void)buf_printf(&body, "{\"code\":\"%s\",\"message\":\"%s\"}\n", code,
                     message);
    respond(r, status, &body);
}

static void on_request(struct http_request *r, void *user)
{
    const struct porch *p = user;
    if (bytes_equal(r->target, bytes_str("/livez")))
        answer_text(r, 200, "Ok", "alive");
    else if (bytes_equal(r->target, bytes_str("/readyz")) ||
             bytes_equal(r->target, bytes_str("/readyz?verbose")))
        answer_ready(p->node, r);
    else
        answer_text(r, 503, "ServiceUnavailable", "the node is starting");
}

static const struct http_handler porch_handler = {.on_request = on_request};

/* ---- life ---------------------------------------------------------------- */

static void on_stop(struct ev_loop *loop, struct ev_async *a, int events)
{
    (void)a;
    (void)events;
    ev_break(loop, EVBREAK_ALL);
}

static void *porch_main(void *arg)
{
    struct porch *p = arg;
    ev_run(p->loop, 0);
    return NULL;
}

static void porch_free(struct porch *p)
{
    http_listener_close(p->listener);
    http_front_free(p->front);
    ev_async_stop(p->loop, &p->stop);
    chan_loop_free(p->chans);
    ev_loop_destroy(p->loop);
    mem_free(p);
}

static int listen_on(struct porch *p, struct err_msg *msg)
{
    const struct config_addr *a = &p->node->config->listen.admin;
    struct http_front_options options = {.loop = p->chans,
                                         .tls = p->node->tls_admin,
                                         .handler = &porch_handler,
                                         .user = p};
    http_limits_default(&options.limits);
    options.limits.connections = PORCH_CONNECTIONS;
    int err = http_front_new(&options, &p->front, msg);
    if (err == ERR_OK)
        err = http_listener_open(p->front, a->host, a->port, NULL, &p->listener,
                                 msg);
    return err;
}

int porch_open(struct node *n, struct err_msg *msg, struct porch **porch_out)
{
    struct porch *p = mem_zalloc(sizeof(*p));
    p->node = n;
    p->loop = ev_loop_new(EVFLAG_AUTO);
    CHECK(p->loop != NULL);
    p->chans = chan_loop_new(p->loop);
    ev_async_init(&p->stop, on_stop);
    ev_async_start(p->loop, &p->stop);
    int err = listen_on(p, msg);
    if (err != ERR_OK) {
        porch_free(p);
        return err;
    }
    /* Signals are the first thread's business, which blocks them before. */
    CHECK(pthread_create(&p->thread, NULL, porch_main, p) == 0);
    *porch_out = p;
    return ERR_OK;
}

void porch_close(struct porch *p)
{
    if (p == NULL)
        return;
    ev_async_send(p->loop, &p->stop);
    CHECK(pthread_join(p->thread, NULL) == 0);
    porch_free(p);
}
