#include "node/cli/fault_ask.h"

#include <ev.h>
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/cli/https.h"

struct fault_ask {
    struct ev_loop *loop;
    struct chan_loop *chans;
    struct tls_ctx *tls;
    ev_timer deadline;
    struct client_conn conn;
    char address[BENCH_HOST_MAX + 8]; /* that it is connected to */
    const struct buf *request;        /* to be sent when it is ready */
    bool over, answered;
    int err;
    struct buf text; /* the answer */
    struct bench_response answer;
    struct err_msg why;
};

static void finish(struct fault_ask *a, int err, const char *why)
{
    a->over = true;
    a->err = err_set(&a->why, err, "%s: %s", a->address, why);
    ev_break(a->loop, EVBREAK_ONE);
}

static void on_ready(struct client_conn *c, void *user)
{
    struct fault_ask *a = user;
    client_conn_send(c, a->request);
}

static void on_response(struct client_conn *c, const struct bench_response *r,
                        void *user)
{
    struct fault_ask *a = user;
    (void)c;
    a->answer = *r;
    buf_clear(&a->text);
    const uint8_t *start = r->body.data + r->body.len - r->bytes;
    if (buf_append(&a->text, start, r->bytes) != ERR_OK) {
        finish(a, ERR_LIMIT, "the answer is too long");
        return;
    }
    bench_response_move(&a->answer, start, buf_bytes(&a->text));
    a->over = a->answered = true;
    ev_break(a->loop, EVBREAK_ONE);
}

static void on_lost(struct client_conn *c, enum bench_failure failure, int err,
                    const char *why, void *user)
{
    struct fault_ask *a = user;
    (void)c, (void)err;
    if (!a->over)
        finish(a, failure == BENCH_NO_HTTP ? ERR_PROTOCOL : ERR_UNAVAILABLE,
               why);
}

static const struct client_conn_handler events = {
    .on_ready = on_ready,
    .on_response = on_response,
    .on_lost = on_lost,
};

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int revents)
{
    struct fault_ask *a = timer->data;
    (void)loop, (void)revents;
    client_conn_close(&a->conn);
    finish(a, ERR_TIMEOUT, "no answer in time");
}

int fault_ask_new(const char *ca, struct fault_ask **ask_out,
                  struct err_msg *msg)
{
    const struct tls_files files = {.ca = ca};
    struct tls_ctx *tls = NULL;
    int err = tls_ctx_client(&files, msg, &tls);
    if (err != ERR_OK)
        return err;
    struct fault_ask *a = mem_zalloc(sizeof(*a));
    a->tls = tls;
    a->loop = ev_loop_new(EVFLAG_AUTO);
    CHECK(a->loop != NULL);
    a->chans = chan_loop_new(a->loop);
    a->over = true;
    buf_init(&a->text, HTTPS_ANSWER_MAX + BENCH_HEAD_MAX);
    client_conn_init(&a->conn, &events, a);
    ev_init(&a->deadline, on_deadline);
    a->deadline.data = a;
    *ask_out = a;
    return ERR_OK;
}

void fault_ask_free(struct fault_ask *a)
{
    if (a == NULL)
        return;
    client_conn_close(&a->conn);
    ev_timer_stop(a->loop, &a->deadline);
    chan_loop_free(a->chans);
    ev_loop_destroy(a->loop);
    tls_ctx_unref(a->tls);
    buf_free(&a->text);
    mem_free(a);
}

int fault_ask(struct fault_ask *a, const char *address,
              const struct buf *request, usec_t timeout_us,
              const struct bench_response **answer_out, struct err_msg *msg)
{
    static const struct chan_limits limits = {.input_max = HTTPS_ANSWER_MAX +
                                                           BENCH_HEAD_MAX};
    int err = ERR_OK;
    CHECK(strlen(address) < sizeof(a->address));
    a->request = request;
    a->over = a->answered = false;
    if (client_conn_is_idle(&a->conn) && strcmp(address, a->address) == 0) {
        client_conn_send(&a->conn, request);
    } else {
        client_conn_close(&a->conn);
        strcpy(a->address, address);
        err =
            client_conn_open(&a->conn, a->chans, a->tls, address, &limits, msg);
    }
    if (err != ERR_OK)
        return err;
    ev_timer_set(&a->deadline, (double)timeout_us / USEC_PER_SEC, 0);
    ev_now_update(a->loop);
    ev_timer_start(a->loop, &a->deadline);
    while (!a->over)
        ev_run(a->loop, EVRUN_ONCE);
    ev_timer_stop(a->loop, &a->deadline);
    if (!a->answered)
        return err_set(msg, a->err, "%s", a->why.text);
    *answer_out = &a->answer;
    return ERR_OK;
}
