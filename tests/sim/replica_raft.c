/* The bare core as a simulated replica. Entries carry one 64-bit value. The
 * state machine is a running hash of what was applied. */
#include <string.h>

#include "consensus/raft.h"
#include "consensus/trace.h"
#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"
#include "tests/sim/replica.h"

/* Pretended bytes of one entry, and one in this many is much larger. */
#define VALUE_SIZE 100
#define PENDING_MAX 4096

struct item {
    struct raft_entry head;
    struct raft_config config; /* if head.config is set it points here */
    uint64_t value;
};

struct items {
    struct item *at;
    size_t n;
    size_t cap;
};

struct state {
    uint64_t lsn;
    uint64_t hash;
};

/* A message or a record of the disk. */
struct blob {
    struct sim_blob base;
    struct raft_msg msg;
    struct items items;
    /* Disk record: what the update said. */
    bool reset;
    bool truncate;
    uint64_t truncate_lsn;
    bool hard;
    uint64_t term;
    raft_id vote;
    /* Checkpoint, or a snapshot on its way. */
    bool checkpoint;
    bool is_snapshot;
    struct state state;
    uint64_t state_term;
    struct raft_config state_config;
    uint64_t base_lsn;
    uint64_t base_term;
    struct raft_config base_config;
};

struct pending {
    uint64_t request;
    uint64_t lsn;
    uint64_t term;
    uint64_t value;
};

struct sim_replica {
    struct sim_env env;
    struct raft *raft;
    struct items log; /* base_lsn + 1 .. last */
    uint64_t base_lsn;
    struct state state;
    /* Newest snapshot; the log is kept from base_lsn <= snap.lsn on. */
    struct state snap;
    uint64_t snap_term;
    struct raft_config snap_config;
    /* A received snapshot that waits for its sync. */
    struct blob *staged;
    uint64_t staged_seq;
    struct pending pending[PENDING_MAX];
    size_t n_pending;
    usec_t deadline_us;
    uint64_t last_seq;
    uint64_t hard_term;
    raft_id hard_vote;
    uint64_t shown_lsn; /* reported as visible */
    bool led;           /* before the step under way */
};

void sim_blob_release(struct sim_blob *b)
{
    CHECK(b->refs > 0);
    if (--b->refs == 0)
        b->destroy(b);
}

/* ---- items -----------------------------------------------------------------
 */

static void items_add(struct items *s, const struct raft_entry *head,
                      uint64_t value)
{
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 4;
        s->at = mem_realloc(s->at, s->cap * sizeof(*s->at));
    }
    struct item *it = &s->at[s->n++];
    memset(it, 0, sizeof(*it));
    it->head = *head;
    it->value = value;
    if (head->config != NULL)
        it->config = *head->config;
}

/* Heads with pointers that are right now that the array has stopped moving. */
static struct raft_entry *items_heads(const struct items *s)
{
    if (s->n == 0)
        return NULL;
    struct raft_entry *heads = mem_alloc(s->n * sizeof(*heads));
    for (size_t i = 0; i < s->n; i++) {
        heads[i] = s->at[i].head;
        if (heads[i].config != NULL)
            heads[i].config = &s->at[i].config;
    }
    return heads;
}

static void blob_destroy(struct sim_blob *b)
{
    struct blob *blob = (struct blob *)b;
    mem_free(blob->items.at);
    mem_free(blob);
}

static struct blob *blob_new(void)
{
    struct blob *b = mem_zalloc(sizeof(*b));
    b->base.refs = 1;
    b->base.size = 64;
    b->base.destroy = blob_destroy;
    return b;
}

/* ---- applying --------------------------------------------------------------
 */

static struct item *item_at(struct sim_replica *p, uint64_t lsn)
{
    CHECK(lsn > p->base_lsn && lsn - p->base_lsn <= p->log.n);
    return &p->log.at[lsn - p->base_lsn - 1];
}

static void apply_to(struct sim_replica *p, uint64_t lsn)
{
    while (p->state.lsn < lsn) {
        struct item *it = item_at(p, p->state.lsn + 1);
        p->state.lsn++;
        if (!p->env.witness)
            p->state.hash =
                (p->state.hash ^ it->value ^ it->head.term) * 0x100000001b3ULL;
        p->env.applied(p->env.ctx, p->state.lsn, it->head.term, it->value,
                       raft_term(p->raft));
    }
}

static void settle_acks(struct sim_replica *p, const struct raft_update *u)
{
    size_t done = 0;
    for (; done < p->n_pending && p->pending[done].lsn <= u->ack_lsn; done++) {
        const struct pending *w = &p->pending[done];
        p->env.acked(p->env.ctx, w->request, w->lsn, w->term, w->value,
                     w->lsn <= u->commit_lsn);
    }
    memmove(p->pending, p->pending + done,
            (p->n_pending - done) * sizeof(p->pending[0]));
    p->n_pending -= done;
    if (u->lost_leadership)
        p->n_pending = 0; /* their outcome is unknown */
}

/* ---- what readers may see ---------------------------------------------------
 */

static void show(struct sim_replica *p, const struct raft_update *u,
                 usec_t now_us)
{
    if (p->env.shown == NULL)
        return;
    if (p->shown_lsn > u->visible_lsn)
        p->shown_lsn = u->visible_lsn;
    /* A leader may commit and leave in one step. */
    bool leads = p->led || u->role == RAFT_LEADER;
    p->led = u->role == RAFT_LEADER;
    while (p->shown_lsn < u->visible_lsn) {
        uint64_t term = 0;
        if (raft_term_at(p->raft, ++p->shown_lsn, &term) == ERR_OK)
            p->env.shown(p->env.ctx, p->shown_lsn, term, leads);
    }
    usec_t since = raft_fresh_since(p->raft, now_us);
    if (since > 0)
        p->env.fresh(p->env.ctx, u->visible_lsn, since);
}

/* ---- carrying out updates ---------------------------------------------------
 */

static void note_appended(struct sim_replica *p, uint64_t lsn)
{
    const struct item *it = item_at(p, lsn);
    uint64_t prev_term = 0;
    CHECK(raft_term_at(p->raft, lsn - 1, &prev_term) == ERR_OK);
    p->env.appended(p->env.ctx, lsn, it->head.term, prev_term, it->value);
}

static uint64_t payload_of(const struct raft_update *u, uint32_t i,
                           const uint64_t *values)
{
    if (u->payload == RAFT_PAYLOAD_CORE)
        return 0;
    CHECK(values != NULL);
    return values[u->payload_first + i];
}

static void write_log(struct sim_replica *p, const struct raft_update *u,
                      const uint64_t *values)
{
    struct blob *rec = blob_new();
    rec->reset = u->reset;
    rec->truncate = u->truncate;
    rec->truncate_lsn = u->truncate_lsn;
    rec->hard = u->hard_state;
    rec->term = u->term;
    rec->vote = u->vote;
    if (u->truncate)
        p->log.n = u->truncate_lsn - p->base_lsn - 1;
    for (uint32_t i = 0; i < u->n_entries; i++) {
        uint64_t value = payload_of(u, i, values);
        CHECK(u->first_lsn + i == p->base_lsn + p->log.n + 1);
        items_add(&p->log, &u->entries[i], value);
        items_add(&rec->items, &u->entries[i], value);
        note_appended(p, u->first_lsn + i);
    }
    if (u->hard_state) {
        p->hard_term = u->term;
        p->hard_vote = u->vote;
    }
    p->env.write(p->env.ctx, u->seq, &rec->base, false);
}

/* Everything that a restart needs, in one record. */
static void write_checkpoint(struct sim_replica *p, uint64_t seq)
{
    struct blob *rec = blob_new();
    rec->checkpoint = true;
    rec->hard = true;
    rec->term = p->hard_term;
    rec->vote = p->hard_vote;
    rec->state = p->snap;
    rec->state_term = p->snap_term;
    rec->state_config = p->snap_config;
    rec->base_lsn = p->base_lsn;
    CHECK(raft_term_at(p->raft, p->base_lsn, &rec->base_term) == ERR_OK);
    rec->base_config = *raft_config_at(p->raft, p->base_lsn);
    for (size_t i = 0; i < p->log.n; i++) {
        struct raft_entry head = p->log.at[i].head;
        if (head.config != NULL)
            head.config = &p->log.at[i].config;
        items_add(&rec->items, &head, p->log.at[i].value);
    }
    p->env.write(p->env.ctx, seq, &rec->base, true);
}

static size_t raft_replica_payloads(const struct sim_blob *base)
{
    const struct blob *b = (const struct blob *)base;
    size_t n = b->is_snapshot && b->state.hash != 0;
    for (size_t i = 0; i < b->items.n; i++)
        n += b->items.at[i].value != 0;
    return n;
}

static void send_msg(struct sim_replica *p, const struct raft_msg *m,
                     uint64_t seq)
{
    struct blob *b = blob_new();
    b->msg = *m;
    bool bare = raft_config_is_witness(raft_config(p->raft), m->to);
    if (m->type == RAFT_MSG_APPEND) {
        for (uint32_t i = 0; i < m->append.n; i++) {
            const struct item *it = item_at(p, m->append.prev_lsn + 1 + i);
            struct raft_entry head = it->head;
            if (head.config != NULL)
                head.config = &it->config;
            else if (bare)
                head.size = 0;
            items_add(&b->items, &head, bare ? 0 : it->value);
        }
        b->base.size += m->append.bytes;
    }
    p->env.send(p->env.ctx, m->to, m->after_persist ? seq : 0, &b->base);
}

static void send_snapshot(struct sim_replica *p, raft_id to)
{
    struct blob *b = blob_new();
    CHECK(raft_snapshot_offer(p->raft, to, p->snap.lsn, &b->msg) == ERR_OK);
    b->is_snapshot = true;
    b->base.size = 1 << 20;
    b->state = p->snap;
    /* A witness gets the position. */
    if (raft_config_is_witness(raft_config(p->raft), to))
        b->state.hash = 0;
    b->state_term = p->snap_term;
    b->state_config = p->snap_config;
    struct raft_msg offer = b->msg;
    send_msg(p, &offer, 0);
    p->env.send(p->env.ctx, to, 0, &b->base);
}

static void carry_out(struct sim_replica *p, const struct raft_update *u,
                      const uint64_t *values)
{
    if (u->reset) {
        CHECK(p->staged != NULL && u->reset_lsn == p->staged->state.lsn);
        p->log.n = 0;
        p->base_lsn = u->reset_lsn;
        p->state = p->snap = p->staged->state;
        p->snap_term = p->staged->state_term;
        p->snap_config = p->staged->state_config;
        if (u->hard_state) {
            p->hard_term = u->term;
            p->hard_vote = u->vote;
        }
        CHECK(u->n_entries == 0);
        write_checkpoint(p, u->seq);
    } else if (u->write) {
        write_log(p, u, values);
    }
    for (size_t i = 0; i < u->n_messages; i++)
        send_msg(p, &u->messages[i], u->seq);
    if (u->role_changed && u->role == RAFT_LEADER)
        p->env.led(p->env.ctx, u->term);
    apply_to(p, u->commit_lsn);
    settle_acks(p, u);
    for (size_t i = 0; i < u->n_reads; i++)
        p->env.read_done(p->env.ctx, u->reads[i].id, u->reads[i].result,
                         u->reads[i].lsn);
    p->deadline_us = u->deadline_us;
    p->last_seq = u->seq;
}

static int step(struct sim_replica *p, struct raft_event *ev,
                const uint64_t *values)
{
    struct raft_update u;
    int rc = raft_step(p->raft, ev, &u);
    raft_id snapshots[RAFT_MEMBERS_MAX];
    size_t n = u.n_snapshots;
    if (n > 0)
        memcpy(snapshots, u.snapshots, n * sizeof(snapshots[0]));
    carry_out(p, &u, values);
    show(p, &u, ev->now_us);
    for (size_t i = 0; i < n; i++) {
        send_snapshot(p, snapshots[i]);
        struct raft_event sent = {.type = RAFT_EV_SNAPSHOT_SENT,
                                  .now_us = ev->now_us};
        sent.snapshot_sent.id = snapshots[i];
        sent.snapshot_sent.ok = true;
        step(p, &sent, NULL);
    }
    return rc;
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

static void options(struct sim_replica *p, struct raft_options *o)
{
    raft_options_default(o);
    o->self = p->env.self;
    o->seed = p->env.seed;
    o->witness = p->env.witness;
    o->heartbeat_us = 50 * USEC_PER_MS;
    o->election_min_us = 300 * USEC_PER_MS;
    o->election_max_us = o->silence_us = 600 * USEC_PER_MS;
    o->priority_step_us = 100 * USEC_PER_MS;
    o->vote_grace_us = 100 * USEC_PER_MS;
    o->lease_us = 270 * USEC_PER_MS;
    o->transfer_timeout_us = 400 * USEC_PER_MS;
    o->read_timeout_us = 1500 * USEC_PER_MS;
    o->snapshot_retry_us = 400 * USEC_PER_MS;
    /* Small, so that every window is met. */
    o->append_entries_max = 4 + (uint32_t)(p->env.seed % 29);
    o->append_bytes_max = 1000;
    o->inflight_messages_max = 1 + (uint32_t)(p->env.seed % 7);
    o->inflight_bytes_max = 2000;
    o->learner_bytes_per_s = p->env.seed % 3 == 0 ? 0 : 4000;
    o->uncommitted_entries_max = 200;
    o->uncommitted_bytes_max = 40000;
    if (p->env.turbulent) {
        o->heartbeat_us = 15 * USEC_PER_MS;
        o->election_min_us = 80 * USEC_PER_MS;
        o->election_max_us = o->silence_us = 90 * USEC_PER_MS;
        o->priority_step_us = 5 * USEC_PER_MS;
        o->vote_grace_us = 0;
        o->lease_us = 72 * USEC_PER_MS;
        o->transfer_timeout_us = 100 * USEC_PER_MS;
        o->snapshot_retry_us = 100 * USEC_PER_MS;
        o->append_entries_max = 1;
        o->inflight_messages_max = 1 + (uint32_t)(p->env.seed % 2);
    }
    if (p->env.verbose) {
        o->trace = trace;
        o->trace_ctx = p;
    }
}

static void replay(struct sim_replica *p, const struct blob *rec,
                   struct raft_restored *s, struct raft_config *base_config)
{
    if (rec->is_snapshot)
        return; /* staged, but the log never began after it */
    if (rec->checkpoint) {
        p->log.n = 0;
        p->base_lsn = s->base_lsn = rec->base_lsn;
        s->base_term = rec->base_term;
        *base_config = rec->base_config;
        p->snap = rec->state;
        p->snap_term = rec->state_term;
        p->snap_config = rec->state_config;
    }
    if (rec->truncate)
        p->log.n = rec->truncate_lsn - p->base_lsn - 1;
    for (size_t i = 0; i < rec->items.n; i++) {
        struct raft_entry head = rec->items.at[i].head;
        if (head.config != NULL)
            head.config = &rec->items.at[i].config;
        items_add(&p->log, &head, rec->items.at[i].value);
    }
    if (rec->hard) {
        p->hard_term = rec->term;
        p->hard_vote = rec->vote;
    }
}

static struct sim_replica *raft_replica_open(const struct sim_env *env,
                                             const struct raft_config *config,
                                             struct sim_blob *const *records,
                                             size_t n, usec_t now_us)
{
    struct sim_replica *p = mem_zalloc(sizeof(*p));
    p->env = *env;
    struct raft_config base_config = {0};
    if (config != NULL)
        base_config = *config;
    p->snap_config = base_config;
    struct raft_restored s = {0};
    if (env->kept != NULL) {
        p->hard_term = env->kept->hard_term;
        p->hard_vote = env->kept->vote;
        s.kept = true;
        s.kept_lsn = env->kept->lsn;
        s.kept_term = env->kept->term;
    }
    for (size_t i = 0; i < n; i++)
        replay(p, (const struct blob *)records[i], &s, &base_config);
    s.term = p->hard_term;
    s.vote = p->hard_vote;
    s.base_config = &base_config;
    struct raft_entry *heads = items_heads(&p->log);
    s.entries = heads;
    s.n_entries = p->log.n;
    s.commit_lsn = p->snap.lsn;
    s.amnesia = env->amnesiac;
    s.also = env->also;
    s.n_also = env->n_also;
    p->state = p->snap;
    struct raft_options o;
    options(p, &o);
    int rc = raft_open(&o, &s, now_us, &p->raft);
    CHECK(rc == ERR_OK);
    mem_free(heads);
    struct raft_event ev = {.type = RAFT_EV_TICK, .now_us = now_us};
    step(p, &ev, NULL);
    return p;
}

static void raft_replica_close(struct sim_replica *p)
{
    raft_free(p->raft);
    mem_free(p->log.at);
    if (p->staged != NULL)
        sim_blob_release(&p->staged->base);
    mem_free(p);
}

/* ---- events -----------------------------------------------------------------
 */

static void raft_replica_tick(struct sim_replica *p, usec_t now_us)
{
    struct raft_event ev = {.type = RAFT_EV_TICK, .now_us = now_us};
    step(p, &ev, NULL);
}

/* The snapshot must be durable before the core hears of it. */
static void stage_snapshot(struct sim_replica *p, usec_t now_us, struct blob *b)
{
    if (p->staged != NULL || b->state.lsn <= raft_commit_lsn(p->raft))
        return;
    raft_replica_tick(p, now_us); /* for a number of its own */
    b->base.refs += 2;            /* ours and the disk's */
    p->staged = b;
    p->staged_seq = p->last_seq;
    p->env.write(p->env.ctx, p->last_seq, &b->base, false);
}

static void raft_replica_receive(struct sim_replica *p, usec_t now_us,
                                 const struct sim_blob *msg)
{
    const struct blob *b = (const struct blob *)msg;
    if (b->is_snapshot) {
        stage_snapshot(p, now_us, (struct blob *)b);
        return;
    }
    struct raft_msg m = b->msg;
    m.after_persist = false;
    struct raft_entry *heads = NULL;
    uint64_t *values = NULL;
    if (m.type == RAFT_MSG_APPEND && b->items.n > 0) {
        heads = items_heads(&b->items);
        values = mem_alloc(b->items.n * sizeof(*values));
        for (size_t i = 0; i < b->items.n; i++)
            values[i] = b->items.at[i].value;
        m.append.entries = heads;
    }
    struct raft_event ev = {
        .type = RAFT_EV_MESSAGE, .now_us = now_us, .message = &m};
    step(p, &ev, values);
    mem_free(heads);
    mem_free(values);
}

static void raft_replica_written(struct sim_replica *p, usec_t now_us,
                                 uint64_t seq)
{
    struct raft_event ev = {.type = RAFT_EV_PERSISTED, .now_us = now_us};
    ev.persisted.seq = seq;
    step(p, &ev, NULL);
    if (p->staged == NULL || seq < p->staged_seq)
        return;
    struct raft_event in = {.type = RAFT_EV_INSTALLED, .now_us = now_us};
    in.installed.from = p->staged->msg.from;
    in.installed.lsn = p->staged->state.lsn;
    in.installed.term = p->staged->state_term;
    in.installed.config = &p->staged->state_config;
    step(p, &in, NULL);
    sim_blob_release(&p->staged->base);
    p->staged = NULL;
}

static void raft_replica_link(struct sim_replica *p, usec_t now_us,
                              raft_id peer, bool up)
{
    struct raft_event ev = {.type = RAFT_EV_PEER, .now_us = now_us};
    ev.peer.id = peer;
    ev.peer.reachable = up;
    step(p, &ev, NULL);
}

static int raft_replica_propose(struct sim_replica *p, usec_t now_us,
                                uint64_t request, uint64_t value)
{
    uint32_t size = value % 23 == 0 ? VALUE_SIZE * 15 : VALUE_SIZE;
    struct raft_event ev = {.type = RAFT_EV_PROPOSE, .now_us = now_us};
    ev.propose.sizes = &size;
    ev.propose.n = 1;
    int rc = step(p, &ev, &value);
    if (rc == ERR_OK && raft_role(p->raft) == RAFT_LEADER) {
        CHECK(p->n_pending < PENDING_MAX);
        p->pending[p->n_pending++] = (struct pending){
            request, raft_last_lsn(p->raft), raft_term(p->raft), value};
    }
    return rc;
}

static int raft_replica_read(struct sim_replica *p, usec_t now_us,
                             uint64_t request)
{
    struct raft_event ev = {.type = RAFT_EV_READ, .now_us = now_us};
    ev.read.id = request;
    return step(p, &ev, NULL);
}

static int raft_replica_change(struct sim_replica *p, usec_t now_us,
                               const struct raft_config *target)
{
    struct raft_event ev = {.type = RAFT_EV_CHANGE, .now_us = now_us};
    ev.change.target = target;
    return step(p, &ev, NULL);
}

static int raft_replica_transfer(struct sim_replica *p, usec_t now_us,
                                 raft_id to)
{
    struct raft_event ev = {.type = RAFT_EV_TRANSFER, .now_us = now_us};
    ev.transfer.to = to;
    return step(p, &ev, NULL);
}

static void raft_replica_campaign(struct sim_replica *p, usec_t now_us)
{
    struct raft_event ev = {.type = RAFT_EV_CAMPAIGN, .now_us = now_us};
    step(p, &ev, NULL);
}

static void raft_replica_epoch(struct sim_replica *p, usec_t now_us,
                               uint32_t epoch, raft_region region)
{
    struct raft_event ev = {.type = RAFT_EV_EPOCH, .now_us = now_us};
    ev.epoch.epoch = epoch;
    ev.epoch.write_region = region;
    ev.epoch.ack = RAFT_ACK_REGION;
    step(p, &ev, NULL);
}

static void raft_replica_down(struct sim_replica *p, usec_t now_us,
                              const raft_region *regions, uint32_t n)
{
    struct raft_event ev = {.type = RAFT_EV_DOWN, .now_us = now_us};
    ev.down.regions = regions;
    ev.down.n = n;
    step(p, &ev, NULL);
}

static void raft_replica_compact(struct sim_replica *p, usec_t now_us,
                                 uint64_t keep)
{
    uint64_t lsn = p->state.lsn;
    uint64_t base = lsn > keep ? lsn - keep : 0;
    uint64_t term = 0;
    if (base <= p->base_lsn || raft_term_at(p->raft, lsn, &term) != ERR_OK)
        return;
    if (raft_config_at(p->raft, lsn)->n == 0)
        return;
    p->snap = p->state;
    p->snap_term = term;
    p->snap_config = *raft_config_at(p->raft, lsn);
    struct raft_event ev = {.type = RAFT_EV_COMPACT, .now_us = now_us};
    ev.compact.lsn = base;
    if (step(p, &ev, NULL) != ERR_OK)
        return; /* not durable here yet */
    size_t gone = base - p->base_lsn;
    memmove(p->log.at, p->log.at + gone,
            (p->log.n - gone) * sizeof(p->log.at[0]));
    p->log.n -= gone;
    p->base_lsn = base;
    write_checkpoint(p, p->last_seq);
}

/* ---- questions
 * --------------------------------------------------------------- */

static usec_t raft_replica_deadline(const struct sim_replica *p)
{
    return p->deadline_us;
}

static bool raft_replica_leads(const struct sim_replica *p)
{
    return raft_role(p->raft) == RAFT_LEADER;
}

static bool raft_replica_awaits(const struct sim_replica *p, raft_region region)
{
    return raft_awaits(p->raft, region);
}

void sim_keep(const struct raft *r, struct sim_kept *kept_out)
{
    kept_out->lsn = raft_last_lsn(r);
    CHECK(raft_term_at(r, kept_out->lsn, &kept_out->term) == ERR_OK);
    kept_out->hard_term = raft_term(r);
    kept_out->vote = raft_voted_for(r);
    kept_out->config = *raft_config_committed(r);
}

static void raft_replica_keep(const struct sim_replica *p,
                              struct sim_kept *kept_out)
{
    sim_keep(p->raft, kept_out);
}

static bool raft_replica_amnesiac(const struct sim_replica *p)
{
    return raft_amnesiac(p->raft) != RAFT_AMNESIA_NONE;
}

static uint64_t raft_replica_term_at(const struct sim_replica *p, uint64_t lsn,
                                     bool *compacted_out)
{
    uint64_t term = 0;
    *compacted_out = lsn < raft_base_lsn(p->raft);
    (void)raft_term_at(p->raft, lsn, &term);
    return term;
}

static uint64_t raft_replica_applied(const struct sim_replica *p)
{
    return p->state.lsn;
}

static uint64_t raft_replica_hash(const struct sim_replica *p)
{
    return p->state.hash;
}

static const struct raft_config *
raft_replica_config(const struct sim_replica *p)
{
    return raft_config(p->raft);
}

static bool raft_replica_config_committed(const struct sim_replica *p)
{
    return raft_config_equal(raft_config(p->raft),
                             raft_config_committed(p->raft));
}

const struct sim_replica_ops sim_replica_raft = {
    .open = raft_replica_open,
    .close = raft_replica_close,
    .tick = raft_replica_tick,
    .receive = raft_replica_receive,
    .written = raft_replica_written,
    .link = raft_replica_link,
    .propose = raft_replica_propose,
    .read = raft_replica_read,
    .change = raft_replica_change,
    .transfer = raft_replica_transfer,
    .campaign = raft_replica_campaign,
    .epoch = raft_replica_epoch,
    .down = raft_replica_down,
    .compact = raft_replica_compact,
    .deadline = raft_replica_deadline,
    .leads = raft_replica_leads,
    .awaits = raft_replica_awaits,
    .payloads = raft_replica_payloads,
    .amnesiac = raft_replica_amnesiac,
    .keep = raft_replica_keep,
    .term_at = raft_replica_term_at,
    .applied_lsn = raft_replica_applied,
    .state_hash = raft_replica_hash,
    .config = raft_replica_config,
    .config_is_committed = raft_replica_config_committed,
};
