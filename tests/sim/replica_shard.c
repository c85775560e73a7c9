/* A whole shard as a simulated replica: the code of node/shard as it ships,
 * over a store in memory and the world's disk.
 *
 * A disk record is what one turn logged, a snapshot that was received, or the
 * state after a flush. Nothing is ever dropped from the disk: what a restart
 * finds is a replay of it all. */
#include <string.h>

#include "consensus/trace.h"
#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/hash.h"
#include "node/base/mem.h"
#include "node/crypt/keyring.h"
#include "node/shard/shard.h"
#include "node/store/effects.h"
#include "node/store/kv_mem.h"
#include "tests/sim/replica.h"

#define KEY_ID KEY_ID_GROUP_FIRST
#define MEMTABLE_BYTES ((size_t)16 << 20)
#define WALL_SEC 1700000000
#define TRIM_BUDGET 5
/* Few, so that followers need snapshots. */
#define RETAIN_ENTRIES 10
#define RETAIN_LAGGING 4096
/* Committed entries after which a replica flushes of its own accord: so many,
 * and up to as many more. */
#define FLUSH_EVERY 30
#define TURNS_MAX 1000

enum line_kind {
    LINE_ENTRY,
    LINE_HARD_STATE,
    LINE_TRUNCATE,
    LINE_RESET,
    LINE_SALVAGE,
    LINE_SALVAGED,
};

struct line {
    enum line_kind kind;
    uint64_t lsn, term;
    raft_id vote;
    uint32_t number;     /* of a salvage */
    bool acknowledged;   /* likewise */
    struct entry *entry; /* a copy of its own */
};

enum blob_kind {
    BLOB_MESSAGE,
    BLOB_SNAPSHOT, /* on its way, and on the disk of who received it */
    BLOB_ORDER,    /* a leader asks for one to be sent in its place */
    BLOB_RENEWAL,  /* a state in place of a damaged store's: on its way, and on
                    * the disk beside that */
    BLOB_TURN,
    BLOB_FLUSHED,
    BLOB_RENEWED, /* it is the store now */
};

struct blob {
    struct sim_blob base;
    enum blob_kind kind;
    /* BLOB_MESSAGE */
    struct raft_msg msg;
    struct raft_entry *heads;
    struct bytes *payloads; /* owned copies */
    /* BLOB_TURN */
    struct line *lines;
    size_t n_lines, cap_lines;
    /* BLOB_SNAPSHOT, BLOB_RENEWAL, BLOB_FLUSHED, BLOB_RENEWED */
    struct kv_mem *state;
    struct raft_config config;
    /* BLOB_ORDER */
    raft_id leader, receiver;
    uint64_t term, least, most;
};

/* A record that is not known to be durable. */
struct writing {
    uint64_t seq;
    uint64_t update; /* the shard's number of what it makes durable */
    struct blob *blob;
};

struct sim_replica {
    struct sim_env env;
    struct shard *shard;
    struct keyring *keys;
    struct sealer *sealer;
    struct kv_mem *store;
    struct blob *turn; /* what this turn logged; NULL: nothing yet */
    uint64_t seq;
    struct writing *writing;
    size_t n_writing, cap_writing;
    struct flush *flush;                 /* collected, being written */
    uint64_t flush_at;                   /* LSN at which the next one begins */
    raft_id snapshots[RAFT_MEMBERS_MAX]; /* to be sent at the turn's end */
    size_t n_snapshots;
    uint64_t n_orders; /* snapshots that were to be sent */
    /* A received snapshot: written, durable, installed (its reset is part of
     * update `reset_update`), adopted. */
    struct blob *staged;
    bool staged_durable;
    uint64_t reset_update; /* 0: not installed */
    /* A state that takes the place of the store: written, durable, and, where
     * the store is behind it, by way of the flush that is being written. */
    struct blob *renewal;
    bool renewal_durable;
    bool flush_renews;
    uint64_t led_term;
    bool closing;
};

struct call {
    struct shard_request req;
    struct sim_replica *replica;
    uint64_t token;
    struct op op;
};

/* ---- blobs ------------------------------------------------------------------
 */

static void blob_destroy(struct sim_blob *base)
{
    struct blob *b = (struct blob *)base;
    for (uint32_t i = 0; b->payloads != NULL && i < b->msg.append.n; i++)
        mem_free((void *)b->payloads[i].data);
    mem_free(b->payloads);
    mem_free(b->heads);
    for (size_t i = 0; i < b->n_lines; i++)
        entry_unref(b->lines[i].entry);
    mem_free(b->lines);
    kv_mem_free(b->state);
    mem_free(b);
}

static struct blob *blob_new(enum blob_kind kind)
{
    struct blob *b = mem_zalloc(sizeof(*b));
    b->base.refs = 1;
    b->base.size = 64;
    b->base.destroy = blob_destroy;
    b->kind = kind;
    return b;
}

static struct blob *blob_of_state(enum blob_kind kind,
                                  const struct kv_mem *state)
{
    struct blob *b = blob_new(kind);
    b->state = kv_mem_new();
    kv_mem_copy(b->state, state);
    return b;
}

static size_t shard_replica_payloads(const struct sim_blob *base)
{
    const struct blob *b = (const struct blob *)base;
    size_t n = 0;
    for (uint32_t i = 0; b->payloads != NULL && i < b->msg.append.n; i++)
        n += b->heads[i].type == RAFT_ENTRY_DATA && b->payloads[i].len > 0;
    for (size_t i = 0; i < b->n_lines; i++) {
        const struct entry *e = b->lines[i].entry;
        n += e != NULL && e->type == RAFT_ENTRY_DATA && e->len > 0;
    }
    return n + (b->state != NULL ? kv_mem_count(b->state) : 0);
}

/* One reference goes to the disk, one to `writing`; the caller keeps his. */
static void write_blob(struct sim_replica *p, struct blob *b, uint64_t update)
{
    if (p->n_writing == p->cap_writing) {
        p->cap_writing = p->cap_writing ? p->cap_writing * 2 : 64;
        p->writing =
            mem_realloc(p->writing, p->cap_writing * sizeof(*p->writing));
    }
    p->writing[p->n_writing++] = (struct writing){++p->seq, update, b};
    b->base.refs += 2;
    p->env.write(p->env.ctx, p->seq, &b->base, false);
}

/* ---- what the shard asks for ------------------------------------------------
 */

static struct line *add_line(struct shard *s, enum line_kind kind)
{
    struct sim_replica *p = shard_user(s);
    if (p->turn == NULL)
        p->turn = blob_new(BLOB_TURN);
    struct blob *b = p->turn;
    if (b->n_lines == b->cap_lines) {
        b->cap_lines = b->cap_lines ? b->cap_lines * 2 : 4;
        b->lines = mem_realloc(b->lines, b->cap_lines * sizeof(*b->lines));
    }
    b->lines[b->n_lines] = (struct line){.kind = kind};
    return &b->lines[b->n_lines++];
}

static struct entry *copy(const struct entry *e)
{
    struct entry *to;
    CHECK(entry_copy(e->lsn, e->term, e->type, entry_payload(e), &to) ==
          ERR_OK);
    return to;
}

static void env_log_entry(void *user, struct shard *s, const struct entry *e)
{
    (void)user;
    struct sim_replica *p = shard_user(s);
    struct line *l = add_line(s, LINE_ENTRY);
    l->entry = copy(e);
    uint64_t hash[2], prev_term;
    CHECK(raft_term_at(shard_raft(s), e->lsn - 1, &prev_term) == ERR_OK);
    if (p->env.logged != NULL) {
        p->env.logged(p->env.ctx, e, prev_term);
        return;
    }
    hash_murmur3_128(e->data, e->len, e->type, hash);
    p->env.appended(p->env.ctx, e->lsn, e->term, prev_term, hash[0]);
}

static void env_log_hard_state(void *user, struct shard *s, uint64_t term,
                               raft_id vote)
{
    (void)user;
    struct line *l = add_line(s, LINE_HARD_STATE);
    l->term = term;
    l->vote = vote;
}

static void env_log_truncate(void *user, struct shard *s, uint64_t from)
{
    (void)user;
    add_line(s, LINE_TRUNCATE)->lsn = from;
}

static void env_log_reset(void *user, struct shard *s, uint64_t lsn,
                          uint64_t term)
{
    (void)user;
    struct line *l = add_line(s, LINE_RESET);
    l->lsn = lsn;
    l->term = term;
}

static void env_log_salvage(void *user, struct shard *s, uint32_t number,
                            bool acknowledged, const struct entry *e)
{
    (void)user;
    struct line *l = add_line(s, LINE_SALVAGE);
    l->number = number;
    l->acknowledged = acknowledged;
    l->entry = copy(e);
}

static void env_log_salvaged(void *user, struct shard *s, uint32_t number)
{
    (void)user;
    add_line(s, LINE_SALVAGED)->number = number;
}

static void env_send(void *user, struct shard *s, const struct raft_msg *m,
                     const struct raft_entry *heads,
                     struct entry *const *entries)
{
    (void)user;
    struct sim_replica *p = shard_user(s);
    struct blob *b = blob_new(BLOB_MESSAGE);
    b->msg = *m;
    uint32_t n = m->type == RAFT_MSG_APPEND ? m->append.n : 0;
    if (n > 0) {
        b->heads = mem_dup(heads, n * sizeof(*heads));
        b->payloads = mem_alloc(n * sizeof(*b->payloads));
        for (uint32_t i = 0; i < n; i++) {
            b->heads[i].config = NULL;
            b->payloads[i] = bytes_of(
                mem_dup(entries[i]->data, entries[i]->len), entries[i]->len);
        }
        b->msg.append.entries = b->heads;
        b->base.size += m->append.bytes;
    }
    p->env.send(p->env.ctx, m->to, 0, &b->base);
}

static uint64_t operation_number(const uint8_t id[OP_ID_LEN])
{
    uint64_t number;
    memcpy(&number, id, sizeof(number));
    return number;
}

static void env_committed(void *user, struct shard *s, const struct entry *e)
{
    (void)user;
    struct sim_replica *p = shard_user(s);
    if (p->env.committed != NULL)
        p->env.committed(p->env.ctx, e);
    if (e == NULL)
        return;
    /* The term stands for the value: an LSN and a term name one entry. */
    p->env.applied(p->env.ctx, e->lsn, e->term, 0, raft_term(shard_raft(s)));
    struct effects_head head;
    struct effects_iter iter;
    if (e->type != RAFT_ENTRY_DATA || p->env.effect == NULL)
        return;
    CHECK(effects_open(entry_payload(e), &head, &iter) == ERR_OK);
    p->env.effect(p->env.ctx, operation_number(head.op_id), e->lsn);
}

static void env_start_snapshot(void *user, struct shard *s, raft_id to)
{
    (void)user;
    struct sim_replica *p = shard_user(s);
    CHECK(p->n_snapshots < RAFT_MEMBERS_MAX);
    p->snapshots[p->n_snapshots++] = to;
}

static void env_on_role(void *user, struct shard *s)
{
    (void)user;
    struct sim_replica *p = shard_user(s);
    uint64_t term = raft_term(shard_raft(s));
    if (raft_role(shard_raft(s)) != RAFT_LEADER || p->led_term == term)
        return;
    p->led_term = term;
    p->env.led(p->env.ctx, term);
}

static int64_t env_wall_sec(void *user)
{
    (void)user;
    return WALL_SEC;
}

static const struct shard_env shard_env = {
    .log_entry = env_log_entry,
    .log_hard_state = env_log_hard_state,
    .log_truncate = env_log_truncate,
    .log_reset = env_log_reset,
    .log_salvage = env_log_salvage,
    .log_salvaged = env_log_salvaged,
    .send = env_send,
    .on_committed = env_committed,
    .start_snapshot = env_start_snapshot,
    .on_role = env_on_role,
    .wall_sec = env_wall_sec,
};

/* ---- the turn ---------------------------------------------------------------
 */

/* The store's position alone, for a witness. */
static struct blob *blob_of_position(const struct kv_mem *state,
                                     struct bytes config)
{
    struct blob *b = blob_new(BLOB_SNAPSHOT);
    b->state = kv_mem_new();
    struct kv kv = kv_mem_kv((struct kv_mem *)state);
    struct memtable *nothing = memtable_new(1);
    struct flush *f =
        flush_new(0, kv_flushed_lsn(kv), kv_mem_flushed_term(state));
    CHECK(flush_collect(f, nothing, 1));
    CHECK(flush_set_info(f, SHARD_INFO_CONFIG, config) == ERR_OK);
    kv_mem_flush(b->state, f);
    flush_free(f);
    memtable_free(nothing);
    return b;
}

/* Sends what is flushed here, if there is anything. */
static void send_state(struct sim_replica *p, raft_id to)
{
    struct bytes config;
    if (kv_mem_info(p->store, SHARD_INFO_CONFIG, &config) != ERR_OK)
        return;
    struct blob *b = shard_sends_payload(p->shard, to)
                         ? blob_of_state(BLOB_SNAPSHOT, p->store)
                         : blob_of_position(p->store, config);
    b->base.size = 1 << 20;
    CHECK(raft_config_decode(config, &b->config) == ERR_OK);
    p->env.send(p->env.ctx, to, 0, &b->base);
}

/* Every other time, another replica that could. */
static bool order_snapshot(struct sim_replica *p, raft_id to)
{
    struct shard_sender list[RAFT_MEMBERS_MAX];
    uint64_t least;
    uint32_t n = shard_senders(p->shard, to, list, &least);
    uint64_t turn = p->n_orders++;
    if (n == 0 || (p->env.seed + turn) % 2 != 0)
        return false;
    const struct shard_sender *who = &list[turn / 2 % n];
    struct blob *b = blob_new(BLOB_ORDER);
    b->leader = p->env.self;
    b->receiver = to;
    b->term = raft_term(shard_raft(p->shard));
    b->least = least;
    b->most = who->match_lsn;
    p->env.send(p->env.ctx, who->node, 0, &b->base);
    return true;
}

static void take_order(struct sim_replica *p, const struct blob *b)
{
    uint64_t lsn = kv_flushed_lsn(kv_mem_kv(p->store));
    if (shard_may_send(p->shard, b->leader, b->term, b->receiver) != ERR_OK ||
        lsn < b->least || lsn > b->most)
        return;
    p->env.trace(p->env.ctx, "sends a snapshot in the leader's place");
    send_state(p, b->receiver);
}

static void send_snapshot(struct sim_replica *p, usec_t now, raft_id to)
{
    struct raft_msg offer;
    uint64_t lsn = kv_flushed_lsn(kv_mem_kv(p->store));
    bool ok = shard_snapshot_offer(p->shard, to, lsn, &offer) == ERR_OK;
    if (ok && !order_snapshot(p, to)) {
        env_send(NULL, p->shard, &offer, NULL, NULL);
        send_state(p, to);
    }
    shard_snapshot_sent(p->shard, now, to, ok);
}

static void send_snapshots(struct sim_replica *p, usec_t now)
{
    while (p->n_snapshots > 0)
        send_snapshot(p, now, p->snapshots[--p->n_snapshots]);
}

static void drop_staged(struct sim_replica *p)
{
    sim_blob_release(&p->staged->base);
    p->staged = NULL;
    p->staged_durable = false;
    p->reset_update = 0;
}

/* Installs a snapshot that is durable, and adopts it once its reset is. */
static void go_on_staged(struct sim_replica *p, usec_t now)
{
    if (p->staged == NULL || !p->staged_durable)
        return;
    struct blob *b = p->staged;
    if (p->reset_update == 0) {
        int err = shard_installed(p->shard, now, shard_leader(p->shard),
                                  kv_flushed_lsn(kv_mem_kv(b->state)),
                                  kv_mem_flushed_term(b->state), &b->config);
        if (err == ERR_AGAIN)
            return;
        if (err != ERR_OK) {
            drop_staged(p);
            return;
        }
        p->reset_update = shard_written(p->shard);
    }
    if (shard_durable(p->shard) < p->reset_update)
        return;
    kv_mem_copy(p->store, b->state);
    struct bytes dedupe = bytes_of(NULL, 0);
    (void)kv_mem_info(p->store, SHARD_INFO_DEDUPE, &dedupe);
    drop_staged(p);
    p->env.trace(p->env.ctx, "adopts a snapshot");
    shard_adopted(p->shard, now, dedupe);
}

static void drop_renewal(struct sim_replica *p)
{
    sim_blob_release(&TAKE(p->renewal)->base);
    p->renewal_durable = p->flush_renews = false;
}

/* As node/server/renewal.c: at the same LSN the states are swapped, else a
 * flush goes there. */
static void go_on_renewal(struct sim_replica *p)
{
    if (p->renewal == NULL || !p->renewal_durable || p->flush != NULL)
        return;
    struct kv_mem *state = p->renewal->state;
    uint64_t lsn = kv_flushed_lsn(kv_mem_kv(state));
    int err = shard_renewable(p->shard, lsn, kv_mem_flushed_term(state));
    if (err == ERR_AGAIN || (err == ERR_OK && shard_flush_pending(p->shard)))
        return;
    if (err != ERR_OK) {
        drop_renewal(p);
    } else if (kv_flushed_lsn(kv_mem_kv(p->store)) < lsn) {
        (void)shard_flush_begin(p->shard, lsn);
    } else {
        struct blob *b = blob_of_state(BLOB_RENEWED, state);
        write_blob(p, b, 0);
        sim_blob_release(&b->base);
        kv_mem_copy(p->store, state);
        p->env.trace(p->env.ctx, "has a renewed store");
        drop_renewal(p);
    }
}

/* Whether the new store stands for what the flush would write. */
static bool renewal_takes(const struct sim_replica *p, const struct flush *f)
{
    return p->renewal != NULL && p->renewal_durable &&
           f->lsn == kv_flushed_lsn(kv_mem_kv(p->renewal->state)) &&
           shard_renewable(p->shard, f->lsn,
                           kv_mem_flushed_term(p->renewal->state)) == ERR_OK;
}

/* The state after the flush is the record; the store changes when that is
 * durable. */
static void write_flush(struct sim_replica *p)
{
    if (p->flush != NULL || (p->flush = shard_flush_take(p->shard)) == NULL)
        return;
    p->flush_renews = renewal_takes(p, p->flush);
    struct blob *b = blob_of_state(
        BLOB_FLUSHED, p->flush_renews ? p->renewal->state : p->store);
    if (!p->flush_renews)
        kv_mem_flush(b->state, p->flush);
    write_blob(p, b, 0);
    sim_blob_release(&b->base);
}

static void flush_is_durable(struct sim_replica *p, usec_t now)
{
    if (p->flush_renews)
        kv_mem_copy(p->store, p->renewal->state);
    else
        kv_mem_flush(p->store, p->flush);
    p->env.trace(p->env.ctx,
                 p->flush_renews ? "has a renewed store" : "has flushed");
    if (p->flush_renews)
        drop_renewal(p);
    shard_flushed(p->shard, now, p->flush);
    flush_free(TAKE(p->flush));
    (void)shard_trim(p->shard, TRIM_BUDGET);
}

static void maybe_flush(struct sim_replica *p)
{
    uint64_t lsn = shard_commit_lsn(p->shard);
    if (lsn < p->flush_at || p->renewal != NULL)
        return;
    p->flush_at = lsn + FLUSH_EVERY + (p->env.seed + lsn) % FLUSH_EVERY;
    (void)shard_flush_begin(p->shard, SHARD_FLUSH_ALL);
}

/* The end of each call. */
static void turn(struct sim_replica *p, usec_t now)
{
    maybe_flush(p);
    int n = 0;
    do {
        CHECK(n++ < TURNS_MAX);
        go_on_staged(p, now);
        go_on_renewal(p);
        send_snapshots(p, now);
    } while (shard_flush(p->shard, now) || p->n_snapshots > 0);
    write_flush(p);
    if (p->turn == NULL)
        return;
    write_blob(p, p->turn, shard_written(p->shard));
    sim_blob_release(&TAKE(p->turn)->base);
}

/* ---- life cycle -------------------------------------------------------------
 */

static void trace(void *ctx, const struct raft_trace *t)
{
    struct sim_replica *p = ctx;
    char text[RAFT_TRACE_TEXT_MAX];
    raft_trace_format(t, text);
    p->env.trace(p->env.ctx, text);
}

/* Quick, so that much happens in a short time. */
static void quick_options(const struct sim_replica *p, struct raft_options *o)
{
    raft_options_default(o);
    o->heartbeat_us = 50 * USEC_PER_MS;
    o->election_min_us = 300 * USEC_PER_MS;
    o->election_max_us = o->silence_us = 600 * USEC_PER_MS;
    o->priority_step_us = 100 * USEC_PER_MS;
    o->lease_us = 270 * USEC_PER_MS;
    o->transfer_timeout_us = 400 * USEC_PER_MS;
    o->read_timeout_us = 1500 * USEC_PER_MS;
    o->snapshot_retry_us = 400 * USEC_PER_MS;
    /* Small, so that every window is met. */
    o->append_entries_max = 4 + (uint32_t)(p->env.seed % 29);
    o->append_bytes_max = 4000;
    o->inflight_messages_max = 1 + (uint32_t)(p->env.seed % 7);
    o->inflight_bytes_max = 8000;
    o->learner_bytes_per_s = p->env.seed % 3 == 0 ? 0 : 4000;
    if (p->env.turbulent) {
        o->heartbeat_us = 15 * USEC_PER_MS;
        o->election_min_us = 80 * USEC_PER_MS;
        o->election_max_us = o->silence_us = 90 * USEC_PER_MS;
        o->priority_step_us = 5 * USEC_PER_MS;
        o->lease_us = 72 * USEC_PER_MS;
        o->transfer_timeout_us = 100 * USEC_PER_MS;
        o->snapshot_retry_us = 100 * USEC_PER_MS;
    }
}

static void raft_part(struct sim_replica *p, struct raft_options *o)
{
    if (p->env.raft != NULL)
        *o = *p->env.raft;
    else
        quick_options(p, o);
    o->self = p->env.self;
    o->seed = p->env.seed;
    o->witness = p->env.witness;
    if (p->env.verbose) {
        o->trace = trace;
        o->trace_ctx = p;
    }
}

/* What a restart finds. */
struct replay {
    struct entry **entries;
    size_t n, cap;
    uint64_t term;
    raft_id vote;
    const struct blob *incoming;
    struct shard_salvage *salvage;
    size_t n_salvage, cap_salvage;
    uint32_t salvage_number;
};

static void replay_truncate(struct replay *r, uint64_t from)
{
    while (r->n > 0 && r->entries[r->n - 1]->lsn >= from)
        entry_unref(r->entries[--r->n]);
}

static void replay_entry(struct replay *r, const struct entry *e)
{
    if (r->n == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 64;
        r->entries = mem_realloc(r->entries, r->cap * sizeof(*r->entries));
    }
    r->entries[r->n++] = copy(e);
}

static void replay_salvage(struct replay *r, const struct line *l)
{
    if (r->n_salvage == r->cap_salvage) {
        r->cap_salvage = r->cap_salvage ? r->cap_salvage * 2 : 16;
        r->salvage =
            mem_realloc(r->salvage, r->cap_salvage * sizeof(*r->salvage));
    }
    r->salvage[r->n_salvage++] =
        (struct shard_salvage){copy(l->entry), l->number, l->acknowledged};
    r->salvage_number = l->number;
}

static void replay_salvaged(struct replay *r, uint32_t number)
{
    size_t done = 0;
    while (done < r->n_salvage && r->salvage[done].number <= number)
        entry_unref(r->salvage[done++].entry);
    r->n_salvage -= done;
    memmove(r->salvage, r->salvage + done,
            r->n_salvage * sizeof(r->salvage[0]));
}

/* A reset whose snapshot was not adopted before the crash is adopted now. */
static void replay_reset(struct sim_replica *p, struct replay *r, uint64_t lsn)
{
    replay_truncate(r, 0);
    p->env.trace(p->env.ctx, "replays a reset");
    CHECK(r->incoming != NULL &&
          kv_flushed_lsn(kv_mem_kv(r->incoming->state)) == lsn);
    kv_mem_copy(p->store, r->incoming->state);
}

static void replay_turn(struct sim_replica *p, struct replay *r,
                        const struct blob *b)
{
    for (size_t i = 0; i < b->n_lines; i++) {
        const struct line *l = &b->lines[i];
        if (l->kind == LINE_ENTRY) {
            replay_entry(r, l->entry);
        } else if (l->kind == LINE_TRUNCATE) {
            replay_truncate(r, l->lsn);
        } else if (l->kind == LINE_RESET) {
            replay_reset(p, r, l->lsn);
        } else if (l->kind == LINE_SALVAGE) {
            replay_salvage(r, l);
        } else if (l->kind == LINE_SALVAGED) {
            replay_salvaged(r, l->number);
        } else {
            r->term = l->term;
            r->vote = l->vote;
        }
    }
}

/* Leaves the entries above the flushed LSN, which must follow it. */
static void replay_trim(struct replay *r, uint64_t flushed)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->n; i++) {
        struct entry *e = r->entries[i];
        if (e->lsn <= flushed)
            entry_unref(e);
        else
            r->entries[kept++] = e;
    }
    r->n = kept;
    for (size_t i = 0; i < r->n; i++)
        CHECK(r->entries[i]->lsn == flushed + 1 + i);
}

static void replay_disk(struct sim_replica *p, struct replay *r,
                        struct sim_blob *const *records, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct blob *b = (const struct blob *)records[i];
        if (b->kind == BLOB_TURN)
            replay_turn(p, r, b);
        else if (b->kind == BLOB_FLUSHED || b->kind == BLOB_RENEWED)
            kv_mem_copy(p->store, b->state);
        else if (b->kind == BLOB_SNAPSHOT)
            r->incoming = b;
    }
    replay_trim(r, kv_flushed_lsn(kv_mem_kv(p->store)));
}

static void open_shard(struct sim_replica *p, const struct raft_config *config,
                       const struct replay *r, usec_t now_us)
{
    struct shard_options options = {.id = p->env.shard,
                                    .memtable_bytes = MEMTABLE_BYTES,
                                    .retain_entries = RETAIN_ENTRIES,
                                    .retain_lagging = RETAIN_LAGGING,
                                    .sealer = p->sealer,
                                    .kv = kv_mem_kv(p->store),
                                    .env = &shard_env,
                                    .user = p};
    raft_part(p, &options.raft);
    struct shard_restored restored = {
        .term = r->term,
        .vote = r->vote,
        .base_lsn = kv_flushed_lsn(options.kv),
        .base_term = kv_mem_flushed_term(p->store),
        .entries = r->entries,
        .n_entries = r->n,
        .amnesia = p->env.amnesiac,
        .also = p->env.also,
        .n_also = p->env.n_also,
        .salvage = r->salvage,
        .n_salvage = r->n_salvage,
        .salvage_number = r->salvage_number,
    };
    if (p->env.kept != NULL) {
        restored.kept = true;
        restored.kept_lsn = p->env.kept->lsn;
        restored.kept_term = p->env.kept->term;
    }
    restored.commit_lsn = restored.base_lsn;
    struct bytes blob;
    if (kv_mem_info(p->store, SHARD_INFO_CONFIG, &blob) == ERR_OK)
        CHECK(raft_config_decode(blob, &restored.config) == ERR_OK);
    else if (config != NULL)
        restored.config = *config;
    (void)kv_mem_info(p->store, SHARD_INFO_DEDUPE, &restored.dedupe);
    struct err_msg msg;
    CHECK(shard_open(&options, &restored, now_us, &msg, &p->shard) == ERR_OK);
    shard_set_key(p->shard, KEY_ID);
    if (!p->env.steered)
        shard_set_policy(p->shard, now_us,
                         &(struct shard_policy){.epoch = UINT32_MAX});
}

static struct sim_replica *shard_replica_open(const struct sim_env *env,
                                              const struct raft_config *config,
                                              struct sim_blob *const *records,
                                              size_t n, usec_t now_us)
{
    struct sim_replica *p = mem_zalloc(sizeof(*p));
    p->env = *env;
    p->keys = keyring_new();
    uint8_t key[KEY_LEN];
    memset(key, 7, sizeof(key));
    CHECK(keyring_add(p->keys, KEY_ID, KEY_PURPOSE_DATA, key) == ERR_OK);
    p->sealer = sealer_new(p->keys);
    p->store = kv_mem_new();
    struct replay r = {0};
    if (env->kept != NULL) {
        r.term = env->kept->hard_term;
        r.vote = env->kept->vote;
    }
    replay_disk(p, &r, records, n);
    open_shard(p, config, &r, now_us);
    mem_free(r.entries);
    mem_free(r.salvage);
    p->flush_at = shard_commit_lsn(p->shard) + FLUSH_EVERY;
    shard_tick(p->shard, now_us);
    turn(p, now_us);
    return p;
}

static void shard_replica_close(struct sim_replica *p)
{
    p->closing = true;
    shard_free(p->shard);
    for (size_t i = 0; i < p->n_writing; i++)
        sim_blob_release(&p->writing[i].blob->base);
    mem_free(p->writing);
    if (p->turn != NULL)
        sim_blob_release(&p->turn->base);
    if (p->staged != NULL)
        sim_blob_release(&p->staged->base);
    if (p->renewal != NULL)
        sim_blob_release(&p->renewal->base);
    flush_free(p->flush);
    kv_mem_free(p->store);
    sealer_free(p->sealer);
    keyring_free(p->keys);
    mem_free(p);
}

/* ---- events -----------------------------------------------------------------
 */

static void shard_replica_tick(struct sim_replica *p, usec_t now_us)
{
    shard_tick(p->shard, now_us);
    turn(p, now_us);
}

static void stage(struct sim_replica *p, struct blob *b)
{
    if (p->staged != NULL ||
        kv_flushed_lsn(kv_mem_kv(b->state)) <= shard_commit_lsn(p->shard))
        return;
    b->base.refs++;
    p->staged = b;
    write_blob(p, b, 0);
}

static void stage_renewal(struct sim_replica *p, struct blob *b)
{
    if (p->renewal != NULL || p->staged != NULL)
        return;
    b->base.refs++;
    p->renewal = b;
    write_blob(p, b, 0);
}

static void shard_replica_receive(struct sim_replica *p, usec_t now_us,
                                  const struct sim_blob *msg)
{
    struct blob *b = (struct blob *)msg;
    if (b->kind == BLOB_SNAPSHOT) {
        stage(p, b);
    } else if (b->kind == BLOB_RENEWAL) {
        stage_renewal(p, b);
    } else if (b->kind == BLOB_ORDER) {
        take_order(p, b);
    } else {
        struct raft_msg m = b->msg;
        m.after_persist = false;
        (void)shard_receive(p->shard, now_us, &m, b->payloads);
    }
    turn(p, now_us);
}

static void shard_replica_written(struct sim_replica *p, usec_t now_us,
                                  uint64_t seq)
{
    size_t done = 0;
    uint64_t update = 0;
    bool flushed = false;
    for (; done < p->n_writing && p->writing[done].seq <= seq; done++) {
        struct writing *w = &p->writing[done];
        update = w->update > update ? w->update : update;
        flushed |= w->blob->kind == BLOB_FLUSHED;
        p->staged_durable |= w->blob == p->staged;
        p->renewal_durable |= w->blob == p->renewal;
        sim_blob_release(&w->blob->base);
    }
    memmove(p->writing, p->writing + done,
            (p->n_writing - done) * sizeof(p->writing[0]));
    p->n_writing -= done;
    if (update > 0)
        shard_persisted(p->shard, now_us, update);
    if (flushed)
        flush_is_durable(p, now_us);
    turn(p, now_us);
}

static void shard_replica_link(struct sim_replica *p, usec_t now_us,
                               raft_id peer, bool up)
{
    shard_peer(p->shard, now_us, peer, up);
    turn(p, now_us);
}

static int shard_replica_change(struct sim_replica *p, usec_t now_us,
                                const struct raft_config *target)
{
    int err = shard_change(p->shard, now_us, target);
    turn(p, now_us);
    return err;
}

static int shard_replica_transfer(struct sim_replica *p, usec_t now_us,
                                  raft_id to)
{
    int err = shard_transfer(p->shard, now_us, to);
    turn(p, now_us);
    return err;
}

static void shard_replica_campaign(struct sim_replica *p, usec_t now_us)
{
    shard_campaign(p->shard, now_us);
    turn(p, now_us);
}

static void shard_replica_down(struct sim_replica *p, usec_t now_us,
                               const raft_region *regions, uint32_t n)
{
    struct shard_policy policy = {.epoch = UINT32_MAX, .n_down = n};
    for (uint32_t i = 0; i < n; i++)
        policy.down[i] = regions[i];
    shard_set_policy(p->shard, now_us, &policy);
    turn(p, now_us);
}

static void shard_replica_renew(struct sim_replica *p, usec_t now_us,
                                raft_id to)
{
    if (kv_flushed_lsn(kv_mem_kv(p->store)) == 0)
        return;
    struct blob *b = blob_of_state(BLOB_RENEWAL, p->store);
    b->base.size = 1 << 20;
    p->env.send(p->env.ctx, to, 0, &b->base);
    turn(p, now_us);
}

static void shard_replica_compact(struct sim_replica *p, usec_t now_us,
                                  uint64_t keep)
{
    (void)keep; /* the shard has its own rule */
    (void)shard_flush_begin(p->shard, SHARD_FLUSH_ALL);
    turn(p, now_us);
}

/* A replica that goes down answers nobody: clients hear of a lost link. */
static void call_done(struct shard_request *req, struct op_result *result)
{
    struct call *c = LIST_ENTRY(req, struct call, req);
    struct sim_replica *p = c->replica;
    CHECK_IMPLIES(result->err == ERR_OK, p->reset_update == 0);
    if (p->closing)
        result->err = ERR_TIMEOUT;
    else if (c->op.kind == OP_WRITE && result->err == ERR_OK)
        p->env.acked(p->env.ctx, 0, result->lsn, result->term, 0,
                     result->lsn <= shard_commit_lsn(p->shard));
    p->env.answered(p->env.ctx, c->token, result);
    op_result_free(result);
    mem_free((void *)c->op.body.data);
    mem_free(c);
}

static void shard_replica_submit(struct sim_replica *p, usec_t now_us,
                                 uint64_t token, const struct op *op,
                                 usec_t patience_us)
{
    struct call *c = mem_zalloc(sizeof(*c));
    c->replica = p;
    c->token = token;
    c->op = *op;
    c->op.shard = p->env.shard;
    c->op.body = bytes_of(mem_dup(op->body.data, op->body.len), op->body.len);
    c->req.op = &c->op;
    c->req.deadline_us = now_us + patience_us;
    c->req.done = call_done;
    shard_submit(p->shard, now_us, &c->req);
    turn(p, now_us);
}

/* ---- questions --------------------------------------------------------------
 */

struct shard *sim_shard(const struct sim_replica *p)
{
    return p->shard;
}

void sim_shard_turn(struct sim_replica *p, usec_t now_us)
{
    turn(p, now_us);
}

static usec_t shard_replica_deadline(const struct sim_replica *p)
{
    return shard_deadline(p->shard);
}

static bool shard_replica_leads(const struct sim_replica *p)
{
    return raft_role(shard_raft(p->shard)) == RAFT_LEADER;
}

static bool shard_replica_awaits(const struct sim_replica *p,
                                 raft_region region)
{
    return raft_awaits(shard_raft(p->shard), region);
}

static void shard_replica_keep(const struct sim_replica *p,
                               struct sim_kept *kept_out)
{
    sim_keep(shard_raft(p->shard), kept_out);
}

static bool shard_replica_amnesiac(const struct sim_replica *p)
{
    return raft_amnesiac(shard_raft(p->shard)) != RAFT_AMNESIA_NONE ||
           shard_installing(p->shard); /* as the shell asks */
}

static uint64_t shard_replica_term_at(const struct sim_replica *p, uint64_t lsn,
                                      bool *compacted_out)
{
    uint64_t term = 0;
    *compacted_out = lsn < raft_base_lsn(shard_raft(p->shard));
    (void)raft_term_at(shard_raft(p->shard), lsn, &term);
    return term;
}

static uint64_t shard_replica_applied(const struct sim_replica *p)
{
    return shard_installing(p->shard) ? 0 : shard_commit_lsn(p->shard);
}

static void shard_replica_documents(
    const struct sim_replica *p, uint32_t container,
    void (*each)(void *user, uint64_t record, struct bytes text), void *user)
{
    CHECK(shard_each_record(p->shard, container, each, user) == ERR_OK);
}

static void hash_record(void *user, uint64_t record, struct bytes text)
{
    uint64_t *sum = user;
    uint64_t hash[2];
    hash_murmur3_128(text.data, text.len, (uint32_t)record, hash);
    *sum = (*sum ^ hash[0] ^ record) * 0x100000001b3ULL;
}

static uint64_t shard_replica_hash(const struct sim_replica *p)
{
    uint64_t sum = 0;
    shard_replica_documents(p, CONTAINER_FIRST_USER, hash_record, &sum);
    return sum;
}

static const struct raft_config *
shard_replica_config(const struct sim_replica *p)
{
    return raft_config(shard_raft(p->shard));
}

static bool shard_replica_config_committed(const struct sim_replica *p)
{
    const struct raft *r = shard_raft(p->shard);
    return raft_config_equal(raft_config(r), raft_config_committed(r));
}

const struct sim_replica_ops sim_replica_shard = {
    .open = shard_replica_open,
    .close = shard_replica_close,
    .tick = shard_replica_tick,
    .receive = shard_replica_receive,
    .written = shard_replica_written,
    .link = shard_replica_link,
    .submit = shard_replica_submit,
    .change = shard_replica_change,
    .transfer = shard_replica_transfer,
    .campaign = shard_replica_campaign,
    .down = shard_replica_down,
    .renew = shard_replica_renew,
    .compact = shard_replica_compact,
    .deadline = shard_replica_deadline,
    .leads = shard_replica_leads,
    .awaits = shard_replica_awaits,
    .payloads = shard_replica_payloads,
    .amnesiac = shard_replica_amnesiac,
    .keep = shard_replica_keep,
    .term_at = shard_replica_term_at,
    .applied_lsn = shard_replica_applied,
    .state_hash = shard_replica_hash,
    .documents = shard_replica_documents,
    .config = shard_replica_config,
    .config_is_committed = shard_replica_config_committed,
};
