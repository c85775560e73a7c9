#include "node/http/http_private.h"

#include <stdio.h>

#include "node/base/mem.h"
#include "replication/link/chan.h"
#include "replication/link/chan_tls.h"

/* -- time ------------------------------------------------------------------ */

usec_t front_now(struct http_front *f)
{
    return f->options.now(f->options.now_user);
}

static usec_t clock_now(void *user)
{
    (void)user;
    return clock_mono_us();
}

const char *front_date(struct http_front *f)
{
    int64_t sec = clock_wall_us() / USEC_PER_SEC;
    if (sec != f->date_sec) {
        clock_http_date(sec, f->date);
        f->date_sec = sec;
    }
    return f->date;
}

void front_wait(struct http_front *f, struct http_conn *c, enum http_wait wait)
{
    list_remove(&c->wait_node);
    c->wait = wait;
    if (wait == HTTP_WAIT_NONE)
        return;
    c->wait_until_us = front_now(f) + f->wait_us[wait];
    list_push_back(&f->waiting[wait], &c->wait_node);
}

static uint64_t sent_total(const struct http_conn *c)
{
    size_t unsent = chan_output_len(c->chan);
    CHECK(unsent <= c->queued_total);
    return c->queued_total - unsent;
}

void front_watch_output(struct http_front *f, struct http_conn *c)
{
    if (!list_empty(&c->write_node))
        return;
    c->sent_mark = sent_total(c);
    c->write_until_us = front_now(f) + f->options.limits.write_us;
    list_push_back(&f->writing, &c->write_node);
}

/* The clock of an output has run out: forgotten when all was sent, wound again
 * when some was, cut when none was. */
static void check_output(struct http_front *f, struct http_conn *c)
{
    list_remove(&c->write_node);
    if (chan_output_len(c->chan) == 0)
        return;
    if (sent_total(c) > c->sent_mark) {
        front_watch_output(f, c);
        return;
    }
    f->counters.timeouts_write++;
    conn_free(c);
}

static void tick_outputs(struct http_front *f, usec_t now_us)
{
    while (!list_empty(&f->writing)) {
        struct http_conn *c =
            LIST_ENTRY(f->writing.next, struct http_conn, write_node);
        if (c->write_until_us > now_us)
            return;
        check_output(f, c);
    }
}

static void tick_waits(struct http_front *f, usec_t now_us)
{
    for (int w = HTTP_WAIT_NONE + 1; w < HTTP_WAIT_COUNT; w++) {
        struct list *waiting = &f->waiting[w];
        while (!list_empty(waiting)) {
            struct http_conn *c =
                LIST_ENTRY(waiting->next, struct http_conn, wait_node);
            if (c->wait_until_us > now_us)
                break;
            conn_timeout(c);
        }
    }
}

/* -- delayed answers ------------------------------------------------------- */

/* Rings for the first of them. */
static void set_delay_timer(struct http_front *f)
{
    if (f->options.loop == NULL)
        return;
    struct ev_loop *loop = chan_loop_ev(f->options.loop);
    ev_timer_stop(loop, &f->delay_timer);
    if (list_empty(&f->delayed))
        return;
    struct http_exchange *x =
        LIST_ENTRY(f->delayed.next, struct http_exchange, delayed);
    usec_t now = front_now(f);
    usec_t left = x->delay_until_us > now ? x->delay_until_us - now : 0;
    ev_timer_set(&f->delay_timer, (double)left / USEC_PER_SEC, 0.);
    ev_timer_start(loop, &f->delay_timer);
}

bool front_delay(struct http_front *f, struct http_exchange *x)
{
    CHECK(x->state == EXCHANGE_DONE && x->conn != NULL);
    if (f->draining || f->counters.responses_delayed >= HTTP_DELAYED_MAX)
        return false;
    x->state = EXCHANGE_DELAYED;
    x->delay_until_us = front_now(f) + x->delay_us;
    /* Most are asked for the same delay, so the place is near the end. */
    struct list *before = f->delayed.prev;
    while (before != &f->delayed &&
           LIST_ENTRY(before, struct http_exchange, delayed)->delay_until_us >
               x->delay_until_us)
        before = before->prev;
    list_push_front(before, &x->delayed); /* that is, right behind it */
    f->counters.responses_delayed++;
    set_delay_timer(f);
    return true;
}

void front_undelay(struct http_front *f, struct http_exchange *x)
{
    CHECK(x->state == EXCHANGE_DELAYED && f->counters.responses_delayed > 0);
    list_remove(&x->delayed);
    f->counters.responses_delayed--;
    x->state = EXCHANGE_DONE;
}

/* Sends those whose time has come at `now_us`. */
static void release_delayed(struct http_front *f, usec_t now_us)
{
    while (!list_empty(&f->delayed)) {
        struct http_exchange *x =
            LIST_ENTRY(f->delayed.next, struct http_exchange, delayed);
        if (x->delay_until_us > now_us)
            break;
        front_undelay(f, x);
        conn_release(x->conn, x);
    }
    set_delay_timer(f);
}

/* -- going on from the loop ------------------------------------------------ */

static void start_soon_timer(struct http_front *f)
{
    if (f->options.loop != NULL)
        ev_timer_start(chan_loop_ev(f->options.loop), &f->soon_timer);
}

void front_schedule(struct http_front *f, struct http_conn *c)
{
    if (!list_empty(&c->soon))
        return;
    list_push_back(&f->soon, &c->soon);
    start_soon_timer(f);
}

void front_conn_gone(struct http_front *f)
{
    if (f->draining && list_empty(&f->conns))
        start_soon_timer(f);
}

static void go_on(struct http_front *f)
{
    struct list now;
    list_init(&now);
    list_splice(&now, &f->soon);
    struct list *node;
    while ((node = list_pop_front(&now)) != NULL)
        conn_soon(LIST_ENTRY(node, struct http_conn, soon));
}

static void check_drained(struct http_front *f, usec_t now_us)
{
    if (!f->draining || f->on_drained == NULL)
        return;
    if (now_us >= f->drain_until_us)
        LIST_EACH_SAFE(node, &f->conns)
    conn_free(LIST_ENTRY(node, struct http_conn, node));
    if (!list_empty(&f->conns))
        return;
    void (*on_drained)(struct http_front *, void *) = TAKE(f->on_drained);
    on_drained(f, f->on_drained_user);
}

void http_front_tick(struct http_front *f, usec_t now_us)
{
    CHECK_OBJ(f, HTTP_FRONT_MAGIC);
    tick_waits(f, now_us);
    tick_outputs(f, now_us);
    release_delayed(f, now_us);
    go_on(f);
    check_drained(f, now_us);
}

static void on_soon_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    struct http_front *f = timer->data;
    CHECK_OBJ(f, HTTP_FRONT_MAGIC);
    go_on(f);
    check_drained(f, front_now(f));
}

static void on_delay_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    struct http_front *f = timer->data;
    CHECK_OBJ(f, HTTP_FRONT_MAGIC);
    release_delayed(f, front_now(f));
}

static void on_tick_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    struct http_front *f = timer->data;
    CHECK_OBJ(f, HTTP_FRONT_MAGIC);
    http_front_tick(f, front_now(f));
}

static void start_timers(struct http_front *f)
{
    double tick = (double)HTTP_TICK_US / (double)USEC_PER_SEC;
    ev_timer_init(&f->soon_timer, on_soon_timer, 0., 0.);
    ev_timer_init(&f->tick_timer, on_tick_timer, tick, tick);
    ev_timer_init(&f->delay_timer, on_delay_timer, 0., 0.);
    f->soon_timer.data = f->tick_timer.data = f->delay_timer.data = f;
    ev_timer_start(chan_loop_ev(f->options.loop), &f->tick_timer);
}

static void stop_timers(struct http_front *f)
{
    struct ev_loop *loop = chan_loop_ev(f->options.loop);
    ev_timer_stop(loop, &f->soon_timer);
    ev_timer_stop(loop, &f->tick_timer);
    ev_timer_stop(loop, &f->delay_timer);
}

/* -- life ------------------------------------------------------------------ */

void http_limits_default(struct http_limits *limits_out)
{
    *limits_out = (struct http_limits){
        .head_bytes = HTTP_HEAD_MAX,
        .headers = HTTP_HEADERS_MAX,
        .body_bytes = HTTP_BODY_MAX,
        .bodies_total_bytes = HTTP_BODIES_TOTAL_MAX,
        .connections = HTTP_CONNECTIONS_MAX,
        .pipelined = HTTP_PIPELINED_MAX,
        .handshake_us = HTTP_HANDSHAKE_TIMEOUT_US,
        .head_us = HTTP_HEAD_TIMEOUT_US,
        .body_us = HTTP_BODY_TIMEOUT_US,
        .idle_us = HTTP_IDLE_TIMEOUT_US,
        .write_us = HTTP_WRITE_TIMEOUT_US,
    };
}

static int check_limits(const struct http_limits *l, struct err_msg *msg)
{
    const struct {
        const char *name;
        uint64_t value, max;
    } rows[] = {
        {"head_bytes", l->head_bytes, HTTP_HEAD_MAX},
        {"headers", l->headers, HTTP_HEADERS_MAX},
        {"body_bytes", l->body_bytes, UINT32_MAX},
        {"bodies_total_bytes", l->bodies_total_bytes, UINT64_MAX / 2},
        {"connections", l->connections, UINT32_MAX},
        {"pipelined", l->pipelined, UINT32_MAX},
        {"handshake_us", (uint64_t)l->handshake_us, USEC_NEVER / 4},
        {"head_us", (uint64_t)l->head_us, USEC_NEVER / 4},
        {"body_us", (uint64_t)l->body_us, USEC_NEVER / 4},
        {"idle_us", (uint64_t)l->idle_us, USEC_NEVER / 4},
        {"write_us", (uint64_t)l->write_us, USEC_NEVER / 4},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].value == 0 || rows[i].value > rows[i].max)
            return err_set(msg, ERR_INVALID,
                           "limit %s must be between 1 and %llu", rows[i].name,
                           (unsigned long long)rows[i].max);
    return ERR_OK;
}

static void set_waits(struct http_front *f)
{
    const struct http_limits *l = &f->options.limits;
    for (int w = 0; w < HTTP_WAIT_COUNT; w++)
        list_init(&f->waiting[w]);
    f->wait_us[HTTP_WAIT_IDLE] = l->idle_us;
    f->wait_us[HTTP_WAIT_RETIRE] = HTTP_LISTENER_GRACE_US;
    f->wait_us[HTTP_WAIT_HEAD] = l->head_us;
    f->wait_us[HTTP_WAIT_BODY] = l->body_us;
    f->wait_us[HTTP_WAIT_LINGER] = HTTP_LINGER_US;
    f->wait_us[HTTP_WAIT_LINGER_SHORT] = HTTP_LINGER_SHORT_US;
}

int http_front_new(const struct http_front_options *options,
                   struct http_front **front_out, struct err_msg *msg)
{
    CHECK(options->handler != NULL && options->handler->on_request != NULL);
    int err = check_limits(&options->limits, msg);
    if (err != ERR_OK)
        return err;
    struct http_front *f = mem_zalloc(sizeof *f);
    f->magic = HTTP_FRONT_MAGIC;
    f->options = *options;
    if (f->options.now == NULL)
        f->options.now = clock_now;
    list_init(&f->listeners);
    list_init(&f->conns);
    list_init(&f->pool);
    list_init(&f->writing);
    list_init(&f->soon);
    list_init(&f->delayed);
    set_waits(f);
    if (f->options.loop != NULL)
        start_timers(f);
    *front_out = f;
    return ERR_OK;
}

const struct http_counters *http_front_counters(const struct http_front *f)
{
    CHECK_OBJ(f, HTTP_FRONT_MAGIC);
    return &f->counters;
}

void http_front_adopt(struct http_front *f, struct chan *c, void *tag)
{
    CHECK_OBJ(f, HTTP_FRONT_MAGIC);
    f->counters.connections_accepted++;
    conn_new(f, c, NULL, tag);
}

static void close_listeners(struct http_front *f)
{
    LIST_EACH_SAFE(node, &f->listeners)
    http_listener_close(LIST_ENTRY(node, struct http_listener, node));
}

void http_front_drain(struct http_front *f, usec_t limit_us,
                      void (*on_drained)(struct http_front *f, void *user),
                      void *user)
{
    CHECK_OBJ(f, HTTP_FRONT_MAGIC);
    CHECK(!f->draining && limit_us > 0 && on_drained != NULL);
    f->draining = true;
    f->drain_until_us = front_now(f) + limit_us;
    f->on_drained = on_drained;
    f->on_drained_user = user;
    /* Every element of this list is wound anew below, so it stays in order. */
    f->wait_us[HTTP_WAIT_RETIRE] = limit_us / 2;
    close_listeners(f);
    LIST_EACH_SAFE(node, &f->conns)
    conn_retire(LIST_ENTRY(node, struct http_conn, node));
    release_delayed(f, USEC_NEVER);
}

void http_front_hang_up(struct http_front *f)
{
    CHECK_OBJ(f, HTTP_FRONT_MAGIC);
    LIST_EACH_SAFE(node, &f->conns)
    conn_free(LIST_ENTRY(node, struct http_conn, node));
}

void http_front_free(struct http_front *f)
{
    if (f == NULL)
        return;
    CHECK_OBJ(f, HTTP_FRONT_MAGIC);
    CHECK(f->counters.requests_running == 0);
    close_listeners(f);
    LIST_EACH_SAFE(node, &f->conns)
    conn_free(LIST_ENTRY(node, struct http_conn, node));
    LIST_EACH_SAFE(node, &f->pool)
    exchange_free(LIST_ENTRY(node, struct http_exchange, node));
    if (f->options.loop != NULL)
        stop_timers(f);
    f->magic = 0;
    mem_free(f);
}
