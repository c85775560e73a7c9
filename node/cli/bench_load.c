#include "node/cli/bench_load.h"

#include <ev.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/base/prng.h"

#define CONN_MAGIC MAGIC('b', 'n', 'c', 'o')
#define TICK_SEC 0.05

enum phase { PHASE_SETUP, PHASE_LOAD, PHASE_WARM_UP, PHASE_MEASURE };

enum kind {
    KIND_NONE, /* nothing is asked */
    KIND_DATABASE,
    KIND_CONTAINER,
    KIND_WRITE,
    KIND_READ,
};

struct conn {
    uint32_t magic;
    struct run *run;
    const char *endpoint;
    struct client_conn client; /* closed while it pauses before it goes on */
    enum kind kind;            /* what is asked at the moment */
    uint64_t key;           /* of a write of LOAD, to be repeated on failure */
    bool key_owed;          /* `key` has not been written yet */
    bool counted;           /* asked within MEASURE */
    usec_t asked_us;        /* when; or since when it connects */
    usec_t paused_until_us; /* 0: not pausing */
};

struct run {
    const struct bench_options *options;
    struct bench_wire *wire;
    struct bench_result *result;
    struct ev_loop *loop;
    struct chan_loop *chans;
    struct tls_ctx *tls;
    ev_timer tick;
    struct conn *conns;
    enum phase phase;
    bool container_next; /* SETUP: the database is there */
    ev_timer pace;       /* with a rate: until the next request is due */
    usec_t pace_start_us;
    uint64_t pace_count; /* requests that were due since */
    usec_t phase_until_us;
    usec_t connect_until_us; /* SETUP: a cluster may still be starting */
    unsigned load_next, load_done;
    struct prng prng;
    struct buf scratch; /* one request */
    usec_t measure_start_us;
    double measure_start_cpu;
    int err; /* of SETUP or LOAD; ERR_OK otherwise */
    struct err_msg *msg;
};

static void conn_next(struct conn *c);

/* -- phases ---------------------------------------------------------------- */

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void stop(struct run *r)
{
    ev_break(r->loop, EVBREAK_ALL);
}

static void enter(struct run *r, enum phase phase)
{
    usec_t now = clock_mono_us();
    r->phase = phase;
    if (phase == PHASE_LOAD) {
        r->phase_until_us = now + BENCH_SETUP_TIMEOUT_US +
                            (usec_t)r->options->keys * USEC_PER_MS;
    } else if (phase == PHASE_WARM_UP) {
        r->phase_until_us = now + r->options->warm_up_us;
        r->pace_start_us = now;
    } else {
        r->phase_until_us = now + r->options->duration_us;
        r->measure_start_us = now;
        r->measure_start_cpu = cpu_seconds();
    }
}

static void wake_all(struct run *r)
{
    for (unsigned i = 0; i < r->options->connections; i++) {
        struct conn *c = &r->conns[i];
        if (client_conn_is_idle(&c->client) && c->paused_until_us == 0)
            conn_next(c);
    }
}

static void finish(struct run *r)
{
    struct bench_result *out = r->result;
    out->seconds = (double)(clock_mono_us() - r->measure_start_us) / 1e6;
    out->cpu_seconds = cpu_seconds() - r->measure_start_cpu;
    stop(r);
}

/* SETUP or LOAD cannot go on. */
static void give_up(struct run *r, int err, const char *what, struct bytes why)
{
    r->err =
        err_set(r->msg, err, "%s%s%.*s", what, why.len > 0 ? ": " : "",
                (int)(why.len < BENCH_SAMPLE_MAX ? why.len : BENCH_SAMPLE_MAX),
                (const char *)why.data);
    stop(r);
}

/* -- errors ---------------------------------------------------------------- */

static void count_error(struct run *r, int index, struct bytes said)
{
    struct bench_result *out = r->result;
    CHECK(index >= 0 && index < BENCH_STATUS_MAX);
    if (r->phase < PHASE_WARM_UP)
        return;
    if (out->error_count++ == 0) {
        out->first_error = index;
        snprintf(
            out->sample, sizeof out->sample, "%.*s",
            (int)(said.len < BENCH_SAMPLE_MAX ? said.len : BENCH_SAMPLE_MAX),
            (const char *)said.data);
    }
    out->errors[index]++;
}

static void conn_pause(struct conn *c, usec_t duration_us)
{
    c->kind = KIND_NONE;
    c->paused_until_us = clock_mono_us() + duration_us;
}

static void conn_drop(struct conn *c, int failure, const char *why)
{
    count_error(c->run, failure, bytes_str(why));
    client_conn_close(&c->client);
    conn_pause(c, 10 * BENCH_BACKOFF_US);
}

/* -- asking ---------------------------------------------------------------- */

static int build_request(struct conn *c)
{
    struct run *r = c->run;
    buf_clear(&r->scratch);
    switch (c->kind) {
    case KIND_DATABASE:
        return bench_create_database(r->wire, c->endpoint, &r->scratch);
    case KIND_CONTAINER:
        return bench_create_container(r->wire, c->endpoint, &r->scratch);
    case KIND_WRITE:
        return bench_upsert(r->wire, c->endpoint, c->key, prng_u64(&r->prng),
                            &r->scratch);
    case KIND_READ:
        return bench_read(r->wire, c->endpoint, c->key, &r->scratch);
    case KIND_NONE:
        break;
    }
    CHECK_UNREACHABLE();
}

static void conn_ask(struct conn *c, enum kind kind)
{
    c->kind = kind;
    c->counted = c->run->phase == PHASE_MEASURE;
    int err = build_request(c);
    CHECK(err == ERR_OK);
    c->asked_us = clock_mono_us();
    client_conn_send(&c->client, &c->run->scratch);
}

static void next_of_load(struct conn *c)
{
    struct run *r = c->run;
    if (!c->key_owed) {
        if (r->load_next == r->options->keys)
            return;
        c->key = r->load_next++;
        c->key_owed = true;
    }
    conn_ask(c, KIND_WRITE);
}

static usec_t due_us(const struct run *r)
{
    return r->pace_start_us +
           (usec_t)(r->pace_count * USEC_PER_SEC / r->options->rate);
}

/* Whether a request may be asked now; if not, on_pace wakes a connection. */
static bool take_due(struct run *r, usec_t now)
{
    usec_t due = due_us(r);
    if (due <= now) {
        r->pace_count++;
        return true;
    }
    if (!ev_is_active(&r->pace)) {
        ev_timer_set(&r->pace, (double)(due - now) / USEC_PER_SEC, 0);
        ev_timer_start(r->loop, &r->pace);
    }
    return false;
}

static void next_of_mix(struct conn *c)
{
    struct run *r = c->run;
    if (r->options->rate > 0 && !take_due(r, clock_mono_us()))
        return;
    bool read = prng_below(&r->prng, 100) < r->options->read_percent;
    c->key = prng_below(&r->prng, r->options->keys);
    conn_ask(c, read ? KIND_READ : KIND_WRITE);
}

static void conn_next(struct conn *c)
{
    struct run *r = c->run;
    CHECK(client_conn_is_idle(&c->client) && c->kind == KIND_NONE);
    switch (r->phase) {
    case PHASE_SETUP:
        if (c == &r->conns[0])
            conn_ask(c, r->container_next ? KIND_CONTAINER : KIND_DATABASE);
        return;
    case PHASE_LOAD:
        next_of_load(c);
        return;
    case PHASE_WARM_UP:
    case PHASE_MEASURE:
        next_of_mix(c);
        return;
    }
}

/* -- hearing --------------------------------------------------------------- */

static void setup_answered(struct conn *c, enum kind kind,
                           const struct bench_response *a)
{
    struct run *r = c->run;
    bool fine = a->status == 201 || a->status == 409;
    /* The node or the shard is starting, or asks for patience. */
    bool later = a->status == 503 || a->status == 429 || a->status == 408 ||
                 a->status == 449;
    if (later) {
        conn_pause(c, 10 * BENCH_BACKOFF_US);
        return;
    }
    if (!fine) {
        char what[96];
        snprintf(what, sizeof what, "creating the %s was answered with %d",
                 kind == KIND_DATABASE ? "database" : "container", a->status);
        give_up(r, a->status == 401 ? ERR_AUTH : ERR_FORBIDDEN, what, a->body);
        return;
    }
    if (kind == KIND_DATABASE) {
        r->container_next = true;
        return;
    }
    bool load = r->options->read_percent > 0 && !r->options->no_load;
    enter(r, load ? PHASE_LOAD : PHASE_WARM_UP);
    wake_all(r);
}

static void load_answered(struct conn *c, const struct bench_response *a)
{
    struct run *r = c->run;
    if (a->status == 401 || a->status == 403 || a->status == 400) {
        char what[96];
        snprintf(what, sizeof what, "writing a document was answered with %d",
                 a->status);
        give_up(r, a->status == 401 ? ERR_AUTH : ERR_FORBIDDEN, what, a->body);
        return;
    }
    if (a->status != 200 && a->status != 201) {
        conn_pause(c, BENCH_BACKOFF_US);
        return;
    }
    c->key_owed = false;
    if (++r->load_done == r->options->keys) {
        enter(r, PHASE_WARM_UP);
        wake_all(r);
    }
}

static void mix_answered(struct conn *c, enum kind kind,
                         const struct bench_response *a)
{
    struct run *r = c->run;
    bool fine = a->status == 200 || (kind == KIND_WRITE && a->status == 201);
    if (!fine) {
        count_error(r, a->status < BENCH_STATUS_MAX ? a->status : BENCH_NO_HTTP,
                    a->body);
        conn_pause(c, BENCH_BACKOFF_US);
        return;
    }
    if (!c->counted)
        return;
    uint64_t took = (uint64_t)(clock_mono_us() - c->asked_us);
    histogram_record(
        kind == KIND_WRITE ? &r->result->writes : &r->result->reads, took);
}

/* Asks what has become due while all connections waited for their answers: it
 * has waited since then. */
static void ask_overdue(struct conn *c)
{
    usec_t due = due_us(c->run);
    conn_next(c);
    if (c->kind != KIND_NONE)
        c->asked_us = due;
}

static void answered(struct conn *c, const struct bench_response *a)
{
    enum kind kind = c->kind;
    c->kind = KIND_NONE;
    if (kind == KIND_DATABASE || kind == KIND_CONTAINER)
        setup_answered(c, kind, a);
    else if (c->run->phase == PHASE_LOAD)
        load_answered(c, a);
    else
        mix_answered(c, kind, a);
}

static void conn_connect(struct conn *c);

static void on_ready(struct client_conn *client, void *user)
{
    struct conn *c = user;
    CHECK_OBJ(c, CONN_MAGIC);
    CHECK(client == &c->client);
    conn_next(c);
}

static void on_response(struct client_conn *client,
                        const struct bench_response *a, void *user)
{
    struct conn *c = user;
    CHECK_OBJ(c, CONN_MAGIC);
    CHECK(client == &c->client);
    answered(c, a);
    if (c->paused_until_us != 0)
        return;
    if (a->close)
        conn_connect(c);
    else if (c->kind != KIND_NONE) /* a new phase has woken it */
        return;
    else if (c->run->options->rate > 0 && c->run->phase >= PHASE_WARM_UP)
        ask_overdue(c);
    else
        conn_next(c);
}

static void on_lost(struct client_conn *client, enum bench_failure failure,
                    int err, const char *why, void *user)
{
    struct conn *c = user;
    struct run *r = c->run;
    CHECK_OBJ(c, CONN_MAGIC);
    CHECK(client == &c->client);
    bool patient = clock_mono_us() < r->connect_until_us;
    if (r->phase == PHASE_SETUP && failure != BENCH_NO_HTTP &&
        (err == ERR_AUTH || !patient)) {
        char what[BENCH_HOST_MAX + 48];
        snprintf(what, sizeof what, "cannot connect to %s", c->endpoint);
        give_up(r, err == ERR_AUTH ? ERR_AUTH : ERR_UNAVAILABLE, what,
                bytes_str(why));
    }
    conn_drop(c, failure, why);
}

static const struct client_conn_handler client_events = {
    .on_ready = on_ready,
    .on_response = on_response,
    .on_lost = on_lost,
};

static void conn_connect(struct conn *c)
{
    struct run *r = c->run;
    const struct chan_limits limits = {.input_max = BENCH_DOCUMENT_MAX +
                                                    BENCH_HEAD_MAX + 64 * 1024};
    c->asked_us = clock_mono_us();
    int err = client_conn_open(&c->client, r->chans, r->tls, c->endpoint,
                               &limits, r->msg);
    if (err == ERR_OK)
        return;
    r->err = err;
    stop(r);
}

/* -- time ------------------------------------------------------------------ */

static void conn_tick(struct conn *c, usec_t now)
{
    if (c->paused_until_us != 0 && now >= c->paused_until_us) {
        c->paused_until_us = 0;
        if (c->client.chan == NULL)
            conn_connect(c);
        else if (client_conn_is_idle(&c->client))
            conn_next(c);
        return;
    }
    if (c->kind != KIND_NONE && now - c->asked_us > BENCH_ANSWER_TIMEOUT_US)
        conn_drop(c, BENCH_NO_ANSWER, "no answer");
}

static void setup_timed_out(struct run *r)
{
    char what[128];
    if (r->phase == PHASE_SETUP)
        snprintf(what, sizeof what,
                 "no node at %s created database and container in time",
                 r->conns[0].endpoint);
    else
        snprintf(what, sizeof what, "only %u of %u documents could be written",
                 r->load_done, r->options->keys);
    give_up(r, ERR_TIMEOUT, what, bytes_of("", 0));
}

static void on_pace(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct run *r = timer->data;
    (void)loop, (void)events;
    wake_all(r);
}

static void on_tick(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct run *r = timer->data;
    (void)loop, (void)events;
    usec_t now = clock_mono_us();
    bench_set_date(r->wire, clock_wall_us() / USEC_PER_SEC);
    if (now >= r->phase_until_us) {
        switch (r->phase) {
        case PHASE_SETUP:
        case PHASE_LOAD:
            setup_timed_out(r);
            return;
        case PHASE_WARM_UP:
            enter(r, PHASE_MEASURE);
            break;
        case PHASE_MEASURE:
            finish(r);
            return;
        }
    }
    for (unsigned i = 0; i < r->options->connections; i++)
        conn_tick(&r->conns[i], now);
}

/* -- a run ----------------------------------------------------------------- */

static int start(struct run *r)
{
    const struct bench_options *o = r->options;
    const struct tls_files files = {.ca = o->ca};
    int err = tls_ctx_client(&files, r->msg, &r->tls);
    if (err != ERR_OK)
        return err;
    r->loop = ev_loop_new(EVFLAG_AUTO);
    CHECK(r->loop != NULL);
    r->chans = chan_loop_new(r->loop);
    usec_t now = clock_mono_us();
    r->phase_until_us = now + BENCH_SETUP_TIMEOUT_US;
    r->connect_until_us = now + BENCH_CONNECT_PATIENCE_US;
    bench_set_date(r->wire, clock_wall_us() / USEC_PER_SEC);
    ev_timer_init(&r->tick, on_tick, TICK_SEC, TICK_SEC);
    r->tick.data = r;
    ev_timer_start(r->loop, &r->tick);
    ev_timer_init(&r->pace, on_pace, 0, 0);
    r->pace.data = r;
    r->conns = mem_zalloc(o->connections * sizeof *r->conns);
    for (unsigned i = 0; i < o->connections; i++) {
        r->conns[i].magic = CONN_MAGIC;
        r->conns[i].run = r;
        client_conn_init(&r->conns[i].client, &client_events, &r->conns[i]);
        r->conns[i].endpoint = o->endpoints[i % o->endpoint_count];
    }
    for (unsigned i = 0; i < o->connections && r->err == ERR_OK; i++)
        conn_connect(&r->conns[i]);
    return r->err;
}

static void release(struct run *r)
{
    for (unsigned i = 0; r->conns != NULL && i < r->options->connections; i++)
        client_conn_close(&r->conns[i].client);
    mem_free(r->conns);
    chan_loop_free(r->chans);
    if (r->loop != NULL)
        ev_loop_destroy(r->loop);
    tls_ctx_unref(r->tls);
    buf_free(&r->scratch);
}

int bench_run(const struct bench_options *options, struct bench_wire *wire,
              struct bench_result *result_out, struct err_msg *msg)
{
    CHECK(options->endpoint_count > 0 && options->connections > 0);
    CHECK(options->keys > 0 && options->read_percent <= 100);
    struct run r = {
        .options = options, .wire = wire, .result = result_out, .msg = msg};
    *result_out = (struct bench_result){0};
    prng_seed(&r.prng, options->seed);
    buf_init(&r.scratch, BENCH_DOCUMENT_MAX + BENCH_HEAD_MAX);
    int err = start(&r);
    if (err == ERR_OK) {
        ev_run(r.loop, 0);
        err = r.err;
    }
    release(&r);
    return err;
}
