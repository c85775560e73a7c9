#include "node/cli/fault_load.h"

#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/base/prng.h"
#include "node/base/text.h"
#include "node/cosmos/session.h"
#include "node/history/grow.h"
#include "node/json/json.h"

#define CLIENT_MAGIC MAGIC('f', 'l', 'c', 'l')
#define TICK_SEC 0.005
#define DELETE_PERCENT 5
#define ACCOUNT_MAX (256 * 1024)
#define NOWHERE UINT_MAX
/* In the message of an answer that a fault made (node/cosmos/fault.h). */
#define INJECTED "(injected by fault "

enum slot { SLOT_WRITE, SLOT_READ, SLOT_ACCOUNT, SLOTS };
enum state { IDLE, CONNECTING, ASKED };

struct client {
    uint32_t magic;
    struct fault_load *load;
    unsigned number, home; /* region */
    struct client_conn conns[SLOTS];
    unsigned connected[SLOTS]; /* to which region */
    /* From the account document. */
    unsigned write_region;
    unsigned readable[LAYOUT_REGIONS_MAX], readable_count;
    bool lost; /* must read it again */
    usec_t suspect_until_us[LAYOUT_REGIONS_MAX];

    enum state state;
    enum slot slot;
    usec_t since_us, due_us, began_us;
    uint64_t op; /* ASKED, but for the account */
    enum linear_kind kind;
    uint32_t key;
    struct session_point seen[FAULT_RANGES_MAX];
};

enum key_change { KEY_SETTLED, KEY_WANTED, KEY_TAKEN };

struct fault_load {
    const struct fault_load_options *options;
    struct bench_wire wire;
    struct ev_loop *loop;
    struct chan_loop *chans;
    struct tls_ctx *tls;
    ev_timer tick;
    pthread_t thread;
    bool running;
    usec_t start_us;
    struct client *clients;
    struct prng prng;
    struct buf scratch, headers;
    struct json json;
    struct observed history;
    struct fault_failure *failures;
    size_t n_failures, cap_failures;
    atomic_bool stopping;
    atomic_int level;
    atomic_uint_least64_t acked;
    /* A change of the key: the thread takes it, then waits for old requests. */
    struct auth_key new_key;
    _Atomic(enum key_change) key_change;
    usec_t key_us; /* when it was taken */
    /* Somebody waits for the end of what was asked until then; 0: nobody. */
    _Atomic(usec_t) old_us;
};

usec_t fault_load_now(const struct fault_load *l)
{
    return clock_mono_us() - l->start_us;
}

/* ---- failures ---------------------------------------------------------------
 */

static void note_failure(struct client *c, int status, unsigned substatus,
                         struct bytes said)
{
    struct fault_load *l = c->load;
    HIST_MORE(l->failures, l->n_failures, l->cap_failures);
    struct fault_failure *f = &l->failures[l->n_failures - 1];
    *f = (struct fault_failure){.us = fault_load_now(l),
                                .client = c->number,
                                .write = c->slot == SLOT_WRITE,
                                .status = status,
                                .substatus = substatus};
    size_t len = said.len < FAULT_SAID_MAX ? said.len : FAULT_SAID_MAX - 1;
    for (size_t i = 0; i < len; i++)
        f->said[i] =
            said.data[i] < ' ' || said.data[i] > '~' ? ' ' : (char)said.data[i];
}

/* The next request is due as the rate says, or after `pause_us`. */
static void rest(struct client *c, usec_t pause_us)
{
    const struct fault_load_options *o = c->load->options;
    usec_t now = fault_load_now(c->load);
    usec_t every = (usec_t)o->clients * USEC_PER_SEC /
                   (o->writes_per_second + o->reads_per_second);
    c->state = IDLE;
    c->due_us = c->began_us + every / 2 +
                (usec_t)prng_below(&c->load->prng, (uint64_t)every + 1);
    if (c->due_us < now + pause_us)
        c->due_us = now + pause_us;
}

/* No answer; whether a request was carried out, nobody knows. */
static void give_up(struct client *c, int failure, const char *why)
{
    usec_t now = fault_load_now(c->load);
    note_failure(c, failure, 0, bytes_str(why));
    if (c->slot != SLOT_ACCOUNT)
        c->suspect_until_us[c->connected[c->slot]] = now + FAULT_SUSPECT_US;
    client_conn_close(&c->conns[c->slot]);
    c->lost = true;
    rest(c, FAULT_BACKOFF_US);
}

/* ---- asking -----------------------------------------------------------------
 */

static const char *address_of(const struct client *c, enum slot slot)
{
    const struct fault_cluster *k = c->load->options->cluster;
    return slot == SLOT_ACCOUNT ? k->account
                                : k->regions[c->connected[slot]].address;
}

/* What the session knows, as a header. */
static const char *token_header(struct client *c)
{
    struct buf *out = &c->load->headers;
    char element[SESSION_ELEMENT_MAX];
    bool first = true;
    buf_clear(out);
    if (atomic_load(&c->load->level) != CONSISTENCY_SESSION)
        return NULL;
    for (uint32_t r = 0; r < FAULT_RANGES_MAX; r++) {
        if (c->seen[r].lsn == 0)
            continue;
        size_t len = session_format(element, r, c->seen[r]);
        CHECK(buf_append_str(out, first ? "x-ms-session-token: " : ",") ==
                  ERR_OK &&
              buf_append(out, element, len) == ERR_OK);
        first = false;
    }
    if (first)
        return NULL;
    CHECK(buf_append_str(out, "\r\n") == ERR_OK);
    return buf_cstr(out);
}

static int build(struct client *c)
{
    struct fault_load *l = c->load;
    const char *host = address_of(c, c->slot);
    buf_clear(&l->scratch);
    if (c->slot == SLOT_ACCOUNT) {
        l->wire.more = NULL;
        return bench_get_account(&l->wire, host, &l->scratch);
    }
    l->wire.more = token_header(c);
    switch (c->kind) {
    case LINEAR_READ:
        return bench_read(&l->wire, host, c->key, &l->scratch);
    case LINEAR_DELETE:
        return bench_delete(&l->wire, host, c->key, &l->scratch);
    default:
        return bench_upsert(&l->wire, host, c->key, c->op, &l->scratch);
    }
}

static void ask(struct client *c)
{
    struct fault_load *l = c->load;
    c->state = ASKED;
    c->since_us = fault_load_now(l);
    if (c->slot != SLOT_ACCOUNT)
        c->op = observed_called(&l->history,
                                &(struct hist_op){.kind = c->kind,
                                                  .session = c->number,
                                                  .region = c->home,
                                                  .key = c->key,
                                                  .called_us = c->since_us});
    CHECK(build(c) == ERR_OK);
    client_conn_send(&c->conns[c->slot], &l->scratch);
}

static unsigned read_target(const struct client *c, usec_t now)
{
    unsigned choice = NOWHERE;
    for (unsigned i = 0; i < c->readable_count; i++) {
        unsigned r = c->readable[i];
        if (c->suspect_until_us[r] <= now &&
            (choice == NOWHERE || r == c->home))
            choice = r;
    }
    return choice == NOWHERE ? c->home : choice;
}

/* Over an open connection to the right region, or a new one. */
static void begin(struct client *c, enum slot slot, unsigned region)
{
    struct client_conn *conn = &c->conns[slot];
    static const struct chan_limits limits = {.handshake_timeout_us =
                                                  FAULT_CONNECT_TIMEOUT_US};
    c->slot = slot;
    if (client_conn_is_idle(conn) && c->connected[slot] == region) {
        ask(c);
        return;
    }
    client_conn_close(conn);
    c->connected[slot] = region;
    c->state = CONNECTING;
    c->since_us = fault_load_now(c->load);
    int err = client_conn_open(conn, c->load->chans, c->load->tls,
                               address_of(c, slot), &limits, NULL);
    CHECK(err == ERR_OK); /* the layout's addresses have ports */
}

static void next_request(struct client *c, usec_t now)
{
    struct fault_load *l = c->load;
    const struct fault_load_options *o = l->options;
    if (c->lost) {
        begin(c, SLOT_ACCOUNT, c->home);
        return;
    }
    unsigned total = o->writes_per_second + o->reads_per_second;
    bool write = prng_below(&l->prng, total) < o->writes_per_second;
    bool deletes = prng_below(&l->prng, 100) < DELETE_PERCENT;
    c->kind = !write ? LINEAR_READ : deletes ? LINEAR_DELETE : LINEAR_UPSERT;
    c->key = (uint32_t)prng_below(&l->prng, o->documents);
    c->began_us = now;
    begin(c, write ? SLOT_WRITE : SLOT_READ,
          write ? c->write_region : read_target(c, now));
}

/* ---- the account document ---------------------------------------------------
 */

static unsigned region_named(const struct fault_load *l, const struct json *j,
                             json_ref name)
{
    const struct fault_cluster *k = l->options->cluster;
    for (unsigned i = 0; i < k->region_count && name != JSON_NONE; i++)
        if (json_type(j, name) == JSON_STRING &&
            json_string_equal(j, name, bytes_str(k->regions[i].name)))
            return i;
    return NOWHERE;
}

/* The regions that a list of locations names; others are left out. */
static unsigned read_locations(const struct fault_load *l, const char *list,
                               unsigned out[LAYOUT_REGIONS_MAX])
{
    const struct json *j = &l->json;
    json_ref all = json_get_str(j, 0, list);
    unsigned n = 0;
    if (all == JSON_NONE || json_type(j, all) != JSON_ARRAY)
        return 0;
    for (json_ref at = json_first(j, all);
         at != JSON_NONE && n < LAYOUT_REGIONS_MAX;
         at = json_next(j, all, at)) {
        unsigned r = region_named(l, j, json_get_str(j, at, "name"));
        if (r != NOWHERE)
            out[n++] = r;
    }
    return n;
}

static void account_answered(struct client *c, const struct bench_response *a)
{
    struct fault_load *l = c->load;
    unsigned writable[LAYOUT_REGIONS_MAX];
    client_conn_close(&c->conns[SLOT_ACCOUNT]);
    if (a->status == 200 &&
        json_parse(&l->json, a->body, ACCOUNT_MAX, NULL) == ERR_OK &&
        read_locations(l, "writableLocations", writable) > 0) {
        c->write_region = writable[0];
        c->readable_count = read_locations(l, "readableLocations", c->readable);
        c->lost = false;
        c->state = IDLE;
        return;
    }
    if (a->status != 200)
        note_failure(c, a->status, a->substatus, a->body);
    rest(c, FAULT_BACKOFF_US);
}

/* ---- answers ----------------------------------------------------------------
 */

uint64_t fault_version_of(struct bytes document)
{
    static const char name[] = "\"n\":";
    const char *at = document.len > 0 ? memmem(document.data, document.len,
                                               name, sizeof(name) - 1)
                                      : NULL;
    uint64_t version = 0;
    if (at == NULL)
        return 0;
    at += sizeof(name) - 1;
    const char *end = (const char *)document.data + document.len;
    size_t digits = 0;
    while (at + digits < end && at[digits] >= '0' && at[digits] <= '9')
        digits++;
    return text_parse_u64(bytes_of(at, digits), UINT64_MAX, &version) == ERR_OK
               ? version
               : 0;
}

/* What an answer means (hist_op); ERR_TIMEOUT: the outcome is not known. */
int fault_result_of(const struct bench_response *a)
{
    /* Not the cluster's word; and it may have been said after the work. */
    if (a->status >= 400 && a->body.len > 0 &&
        memmem(a->body.data, a->body.len, INJECTED, sizeof(INJECTED) - 1) !=
            NULL)
        return ERR_TIMEOUT;
    switch (a->status) {
    case 200:
    case 201:
    case 204:
        return ERR_OK;
    case 404:
        return a->substatus == 0 ? ERR_NOT_FOUND : ERR_BEHIND;
    case 408:
        return ERR_TIMEOUT;
    case 409:
        return ERR_EXISTS;
    case 412:
        return ERR_PRECONDITION;
    case 429:
        return ERR_THROTTLED;
    default:
        return a->status == 500 ? ERR_TIMEOUT : ERR_UNAVAILABLE;
    }
}

/* The range and state that the answer names. */
static void keep_token(struct client *c, const struct bench_response *a,
                       struct hist_op *op)
{
    struct session_point point;
    uint64_t range;
    const uint8_t *colon = a->session.len > 0
                               ? memchr(a->session.data, ':', a->session.len)
                               : NULL;
    if (colon == NULL ||
        text_parse_u64(
            bytes_of(a->session.data, (size_t)(colon - a->session.data)),
            FAULT_RANGES_MAX - 1, &range) != ERR_OK ||
        session_find(a->session, (uint32_t)range, &point) != ERR_OK)
        return;
    op->shard = (uint16_t)range;
    op->at = (struct hist_place){point.lsn, (uint64_t)point.epoch << 32};
    if (session_compare(point, c->seen[range]) > 0)
        c->seen[range] = point;
}

/* An operation is told of its shard only by the answer. */
static void record(struct client *c, const struct hist_op *answer)
{
    struct observed *h = &c->load->history;
    h->ops[c->op - 1].shard = answer->shard;
    observed_answered(h, c->op, answer);
    if (hist_done(answer) && hist_is_write(answer))
        atomic_fetch_add(&c->load->acked, 1);
}

static void answered(struct client *c, const struct bench_response *a)
{
    int result = fault_result_of(a);
    struct hist_op op = c->load->history.ops[c->op - 1];
    bool fine = result == ERR_OK ||
                (result == ERR_NOT_FOUND && c->kind != LINEAR_UPSERT);
    op.answered_us = fault_load_now(c->load);
    op.result = result;
    op.created = a->status == 201;
    if (c->kind == LINEAR_READ && result == ERR_OK)
        op.version = fault_version_of(a->body);
    if (fine)
        keep_token(c, a, &op);
    if (result != ERR_TIMEOUT)
        record(c, &op);
    if (!fine) {
        note_failure(c, a->status, a->substatus, a->body);
        c->lost = a->status != 429;
    }
    rest(c, fine ? 0 : FAULT_BACKOFF_US);
}

static void on_ready(struct client_conn *conn, void *user)
{
    struct client *c = user;
    CHECK_OBJ(c, CLIENT_MAGIC);
    CHECK(conn == &c->conns[c->slot] && c->state == CONNECTING);
    ask(c);
}

static void on_response(struct client_conn *conn,
                        const struct bench_response *a, void *user)
{
    struct client *c = user;
    CHECK_OBJ(c, CLIENT_MAGIC);
    CHECK(conn == &c->conns[c->slot] && c->state == ASKED);
    if (c->slot == SLOT_ACCOUNT)
        account_answered(c, a);
    else
        answered(c, a);
}

/* An idle connection may end, too: that is no failure. */
static void on_lost(struct client_conn *conn, enum bench_failure failure,
                    int err, const char *why, void *user)
{
    struct client *c = user;
    CHECK_OBJ(c, CLIENT_MAGIC);
    (void)err;
    if (c->state != IDLE && conn == &c->conns[c->slot])
        give_up(c, failure, why);
}

static const struct client_conn_handler client_events = {
    .on_ready = on_ready,
    .on_response = on_response,
    .on_lost = on_lost,
};

/* ---- time -------------------------------------------------------------------
 */

static void client_tick(struct client *c, usec_t now)
{
    bool stopping = atomic_load(&c->load->stopping);
    usec_t limit = c->state == CONNECTING ? FAULT_CONNECT_TIMEOUT_US
                                          : FAULT_ANSWER_TIMEOUT_US;
    if (c->state == IDLE && !stopping && now >= c->due_us)
        next_request(c, now);
    else if (c->state != IDLE && now - c->since_us > limit)
        give_up(c, c->state == CONNECTING ? BENCH_NO_CONNECT : BENCH_NO_ANSWER,
                "no answer in time");
}

static bool is_under_way(const struct fault_load *l, usec_t since_us)
{
    for (unsigned i = 0; i < l->options->clients; i++)
        if (l->clients[i].state == ASKED && l->clients[i].since_us <= since_us)
            return true;
    return false;
}

static void end_old(struct fault_load *l)
{
    usec_t old_us = atomic_load(&l->old_us);
    if (old_us != 0 && !is_under_way(l, old_us))
        atomic_store(&l->old_us, 0);
}

/* The change is over when nothing that was signed before it is under way. */
static void take_key(struct fault_load *l, usec_t now)
{
    enum key_change change = atomic_load(&l->key_change);
    if (change == KEY_WANTED) {
        l->wire.key = l->new_key;
        l->key_us = now;
        atomic_store(&l->key_change, KEY_TAKEN);
    }
    if (change == KEY_TAKEN && !is_under_way(l, l->key_us))
        atomic_store(&l->key_change, KEY_SETTLED);
}

static void on_tick(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct fault_load *l = timer->data;
    (void)events;
    usec_t now = fault_load_now(l);
    bool idle = true;
    bench_set_date(&l->wire, clock_wall_us() / USEC_PER_SEC);
    take_key(l, now);
    end_old(l);
    for (unsigned i = 0; i < l->options->clients; i++) {
        client_tick(&l->clients[i], now);
        idle = idle && l->clients[i].state == IDLE;
    }
    if (idle && atomic_load(&l->stopping))
        ev_break(loop, EVBREAK_ALL);
}

static void *run(void *user)
{
    struct fault_load *l = user;
    ev_run(l->loop, 0);
    return NULL;
}

/* ---- life -------------------------------------------------------------------
 */

static void add_clients(struct fault_load *l)
{
    const struct fault_load_options *o = l->options;
    l->clients = mem_zalloc(o->clients * sizeof(*l->clients));
    for (unsigned i = 0; i < o->clients; i++) {
        struct client *c = &l->clients[i];
        c->magic = CLIENT_MAGIC;
        c->load = l;
        c->number = i;
        c->home = i % o->cluster->region_count;
        c->lost = true;
        for (unsigned s = 0; s < SLOTS; s++)
            client_conn_init(&c->conns[s], &client_events, c);
    }
}

int fault_load_start(const struct fault_load_options *options,
                     struct fault_load **load_out, struct err_msg *msg)
{
    const struct tls_files files = {.ca = options->cluster->ca};
    struct tls_ctx *tls = NULL;
    CHECK(options->clients > 0 && options->documents > 0 &&
          options->writes_per_second > 0 && options->reads_per_second > 0);
    int err = tls_ctx_client(&files, msg, &tls);
    if (err != ERR_OK)
        return err;
    struct fault_load *l = mem_zalloc(sizeof(*l));
    l->options = options;
    l->wire = *options->wire;
    l->tls = tls;
    l->loop = ev_loop_new(EVFLAG_AUTO);
    CHECK(l->loop != NULL);
    l->chans = chan_loop_new(l->loop);
    l->start_us = clock_mono_us();
    prng_seed(&l->prng, options->seed);
    buf_init(&l->scratch, BENCH_DOCUMENT_MAX + BENCH_HEAD_MAX);
    buf_init(&l->headers, FAULT_RANGES_MAX * SESSION_ELEMENT_MAX + 64);
    json_init(&l->json);
    atomic_init(&l->level, (int)options->level);
    bench_set_date(&l->wire, clock_wall_us() / USEC_PER_SEC);
    add_clients(l);
    ev_timer_init(&l->tick, on_tick, TICK_SEC, TICK_SEC);
    l->tick.data = l;
    ev_timer_start(l->loop, &l->tick);
    CHECK(pthread_create(&l->thread, NULL, run, l) == 0);
    l->running = true;
    *load_out = l;
    return ERR_OK;
}

void fault_load_level(struct fault_load *l, enum consistency_level level)
{
    CHECK(l->running);
    atomic_store(&l->level, (int)level);
    if (level != CONSISTENCY_SESSION)
        return;
    atomic_store(&l->old_us, fault_load_now(l));
    while (atomic_load(&l->old_us) != 0)
        usleep(USEC_PER_MS);
}

void fault_load_key(struct fault_load *l, const struct auth_key *key)
{
    CHECK(l->running && atomic_load(&l->key_change) == KEY_SETTLED);
    l->new_key = *key;
    atomic_store(&l->key_change, KEY_WANTED);
    while (atomic_load(&l->key_change) != KEY_SETTLED)
        usleep(USEC_PER_MS);
}

/* Operations without an answer are on the shard of their document. */
static void place_unanswered(struct fault_load *l)
{
    struct observed *h = &l->history;
    uint16_t *shards = mem_zalloc(l->options->documents * sizeof(*shards));
    for (size_t i = 0; i < h->n_ops; i++)
        if (h->ops[i].at.lsn > 0)
            shards[h->ops[i].key] = h->ops[i].shard;
    for (size_t i = 0; i < h->n_ops; i++)
        h->ops[i].shard = shards[h->ops[i].key];
    mem_free(shards);
}

void fault_load_stop(struct fault_load *l)
{
    if (!l->running)
        return;
    atomic_store(&l->stopping, true);
    CHECK(pthread_join(l->thread, NULL) == 0);
    l->running = false;
    place_unanswered(l);
}

struct observed *fault_load_history(struct fault_load *l)
{
    CHECK(!l->running);
    return &l->history;
}

const struct fault_failure *fault_load_failures(const struct fault_load *l,
                                                size_t *count_out)
{
    CHECK(!l->running);
    *count_out = l->n_failures;
    return l->failures;
}

void fault_load_tokens(const struct fault_load *l, struct buf *out)
{
    char element[SESSION_ELEMENT_MAX];
    CHECK(!l->running);
    for (uint32_t r = 0; r < FAULT_RANGES_MAX; r++) {
        struct session_point most = {0, 0};
        for (unsigned i = 0; i < l->options->clients; i++)
            if (session_compare(l->clients[i].seen[r], most) > 0)
                most = l->clients[i].seen[r];
        if (most.lsn == 0)
            continue;
        size_t len = session_format(element, r, most);
        CHECK((buf_len(out) == 0 || buf_append_str(out, ",") == ERR_OK) &&
              buf_append(out, element, len) == ERR_OK);
    }
}

void fault_load_free(struct fault_load *l)
{
    if (l == NULL)
        return;
    fault_load_stop(l);
    for (unsigned i = 0; i < l->options->clients; i++)
        for (unsigned s = 0; s < SLOTS; s++)
            client_conn_close(&l->clients[i].conns[s]);
    mem_free(l->clients);
    chan_loop_free(l->chans);
    ev_loop_destroy(l->loop);
    tls_ctx_unref(l->tls);
    buf_free(&l->scratch);
    buf_free(&l->headers);
    json_free(&l->json);
    observed_free(&l->history);
    mem_free(l->failures);
    mem_wipe(&l->wire.key, sizeof(l->wire.key));
    mem_wipe(&l->new_key, sizeof(l->new_key));
    mem_free(l);
}
