#include "node/server/worker.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/fault.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/server/admin.h"
#include "node/server/catalog_feed.h"
#include "node/server/digester.h"
#include "node/server/doors.h"
#include "node/server/faults_client.h"
#include "node/server/fence_guard.h"
#include "node/server/group_keys.h"
#include "node/server/peers.h"
#include "node/server/quarantine.h"
#include "node/server/rebuild.h"
#include "node/server/recovery.h"
#include "node/server/reload.h"
#include "node/server/replicas.h"
#include "node/server/salvager.h"
#include "node/server/stand_in.h"
#include "node/server/steward.h"
#include "node/server/transit.h"
#include "node/shard/salvage.h"

/* How often flushes, the log's upkeep and stalled transfers are looked at. */
#define WORKER_CHORES_MS 250
/* What a stopping node waits for others to take over what it leads: long enough
 * for the controller to move the write region. */
#define WORKER_HAND_OVER_US (2 * USEC_PER_SEC)
#define WORKER_MAINTAIN_EVERY 4
/* What a shard may hold however many there are: one document of the largest
 * size while another is flushed. With less it would refuse such for good. */
#define MEMTABLE_SHARE_MIN (2ull * (OP_BODY_MAX + 4096))

/* ---- the turn --------------------------------------------------------------
 */

bool worker_leads(const struct worker *w, uint32_t shard, usec_t now)
{
    const struct replica *r = worker_replica(w, shard);
    const struct raft *raft = r != NULL ? shard_raft(r->shard) : NULL;
    return raft != NULL && raft_role(raft) == RAFT_LEADER &&
           raft_may_read(raft, now);
}

bool worker_log_end(const struct worker *w, uint32_t shard, uint64_t *term_out,
                    uint64_t *lsn_out)
{
    const struct shard *s = worker_replica(w, shard)->shard;
    const struct raft *raft = shard_raft(s);
    *term_out = raft_term(raft);
    if (shard_last_lsn(s) != raft_last_lsn(raft))
        return false;
    *lsn_out = raft_last_lsn(raft);
    return true;
}

uint64_t worker_memtable_share(const struct worker *w)
{
    CHECK(w->replica_count > 0);
    uint64_t share = w->node->config->limits.memtable_bytes / w->replica_count;
    return share > MEMTABLE_SHARE_MIN ? share : MEMTABLE_SHARE_MIN;
}

void worker_wake(struct worker *w)
{
    if (!ev_is_active(&w->busy))
        ev_idle_start(w->loop, &w->busy);
}

static void on_busy(struct ev_loop *loop, struct ev_idle *idle, int events)
{
    /* It has kept the loop from sleeping; the prepare hook decides anew. */
    (void)events;
    ev_idle_stop(loop, idle);
}

/* Wakes the loop for the shards' next deadline, or at `deadline`. */
static void set_ticker(struct worker *w, usec_t now, usec_t deadline)
{
    for (uint32_t i = 0; i < w->replica_count; i++) {
        usec_t d = shard_deadline(w->replicas[i]->shard);
        if (d < deadline && !w->replicas[i]->deaf)
            deadline = d;
    }
    double after =
        deadline > now ? (double)(deadline - now) / USEC_PER_SEC : 0.0;
    ev_timer_stop(w->loop, &w->ticker);
    ev_timer_set(&w->ticker, after, 0);
    ev_timer_start(w->loop, &w->ticker);
}

static void check_drained(struct worker *w, usec_t now);

static void on_turn(struct ev_loop *loop, struct ev_prepare *prepare,
                    int events)
{
    (void)events;
    struct worker *w = prepare->data;
    (void)fault_hit("loop.turn");
    usec_t now = clock_mono_us();
    usec_t again = USEC_NEVER;
    bool gather = log_pipe_gathers(&w->log, now, &again);
    bool more = false;
    salvager_turn(w);
    for (uint32_t i = 0; i < w->replica_count; i++) {
        struct replica *r = w->replicas[i];
        shard_hold(r->shard, gather);
        more |= shard_flush(r->shard, now);
        more |= flusher_turn(&r->flusher, now);
    }
    steering_turn(&w->steering, now);
    if (w->draining)
        check_drained(w, now);
    transfers_turn(&w->transfers, now);
    digester_turn(w, now);
    quarantine_turn(w);
    log_pipe_kick(&w->log);
    ev_now_update(loop);
    usec_t digest = digester_deadline(w);
    set_ticker(w, now, digest < again ? digest : again);
    if (more)
        worker_wake(w);
}

static void on_ticker(struct ev_loop *loop, struct ev_timer *t, int events)
{
    (void)loop;
    (void)events;
    struct worker *w = t->data;
    usec_t now = clock_mono_us();
    for (uint32_t i = 0; i < w->replica_count; i++)
        if (!w->replicas[i]->deaf)
            shard_tick(w->replicas[i]->shard, now);
}

/* ---- chores
 * ------------------------------------------------------------------ */

/* The log's housekeeping, on the helper. */
struct maintain_job {
    struct helper_job job;
    struct worker *worker;
    uint32_t count;
    int err;
    struct wal_keep keep[];
};

static void maintain_run(struct helper_job *job)
{
    struct maintain_job *m = LIST_ENTRY(job, struct maintain_job, job);
    m->err = wal_maintain(m->worker->log.wal, m->keep, m->count);
}

static void maintain_done(struct inbox_message *message, void *owner)
{
    struct worker *w = owner;
    struct maintain_job *m =
        LIST_ENTRY(message, struct maintain_job, job.message);
    w->maintaining = false;
    if (m->err != ERR_OK)
        log_warn("log housekeeping failed", LOG_STR("error", err_text(m->err)));
    mem_free(m);
}

void worker_maintain_log(struct worker *w)
{
    if (w->maintaining)
        return;
    struct maintain_job *m = mem_zalloc(
        sizeof(*m) + (w->replica_count + w->gone_count) * sizeof(m->keep[0]));
    m->worker = w;
    m->count = w->replica_count + w->gone_count;
    for (uint32_t i = 0; i < w->replica_count; i++)
        m->keep[i] = (struct wal_keep){
            .shard = w->replicas[i]->id,
            .keep_from = shard_keep_from(w->replicas[i]->shard),
            .salvage_from = shard_salvage_keep(w->replicas[i]->shard)};
    for (uint32_t i = 0; i < w->gone_count; i++)
        m->keep[w->replica_count + i] =
            (struct wal_keep){.shard = w->gone[i].shard,
                              .keep_from = UINT64_MAX,
                              .salvage_from = UINT32_MAX};
    m->job.run = maintain_run;
    m->job.message.deliver = maintain_done;
    w->maintaining = true;
    helper_submit(&w->helper, HELPER_UPKEEP, &m->job);
}

static void on_chores(struct ev_loop *loop, struct ev_timer *t, int events)
{
    (void)loop;
    (void)events;
    struct worker *w = t->data;
    if (w->stopping)
        return;
    usec_t now = clock_mono_us();
    for (uint32_t i = 0; i < w->replica_count; i++)
        flusher_check(&w->replicas[i]->flusher, now);
    transfers_tick(&w->transfers, now);
    replicas_check(w);
    group_keys_check(w);
    purge_check(w);
    if (w->index == 0) {
        mover_check(w);
        splitter_check(w);
        placement_remove_check(w);
    }
    steward_check(w->steward);
    stand_in_check(w);
    doors_check(w);
    rebuild_check(w);
    quarantine_check(w);
    scrubber_check(w);
    salvager_check(w);
    fence_guard_tick(w);
    if (++w->chore_count % WORKER_MAINTAIN_EVERY == 0)
        worker_maintain_log(w);
}

/* ---- calls from elsewhere
 * ------------------------------------------------------
 */

static void deliver_call(struct inbox_message *m, void *owner)
{
    struct worker_call *call = LIST_ENTRY(m, struct worker_call, message);
    call->fn(owner, call->arg);
    mem_free(call);
}

void worker_run(struct worker *w, void (*fn)(struct worker *w, void *arg),
                void *arg)
{
    struct worker_call *call = mem_zalloc(sizeof(*call));
    call->fn = fn;
    call->arg = arg;
    call->message.deliver = deliver_call;
    inbox_post_reserved(&w->inbox, &call->message);
}

/* ---- making one
 * ------------------------------------------------------------------
 */

static const struct keyed_hash *index_hash(void *user, uint16_t shard)
{
    return catalog_feed_hash(user, shard);
}

static bool in_contact(void *user, uint16_t shard)
{
    return steering_in_contact(user, shard);
}

static usec_t mono_us(void *user)
{
    (void)user;
    return clock_mono_us();
}

static usec_t wall_us(void *user)
{
    (void)user;
    return clock_wall_us();
}

/* Tokens are authenticated under a key of their own, derived from the cluster's
 * index key, so that every node accepts every node's tokens. */
static struct keyed_hash *make_token_hash(const struct keyed_hash *meta_hash)
{
    uint8_t key[SEAL_KEY_LEN];
    keyed_hash16(meta_hash, bytes_str("bastide continuation token 1 a"), key);
    keyed_hash16(meta_hash, bytes_str("bastide continuation token 1 b"),
                 key + KEYED_HASH_LEN);
    struct keyed_hash *hash = keyed_hash_new(key);
    mem_wipe(key, sizeof(key));
    return hash;
}

static int make_keys(struct worker *w, struct err_msg *msg)
{
    struct node *node = w->node;
    w->keyring = keyring_new();
    int err = cluster_keys_open(&node->cluster_keys, w->keyring);
    if (err != ERR_OK)
        return err_set(msg, err, "cluster keys: %s", err_text(err));
    w->sealer = sealer_new(w->keyring);
    w->meta_hash = keyed_hash_new(node->cluster_keys.index);
    w->token_hash = make_token_hash(w->meta_hash);
    return reload_auth_keys(&node->account_keys, &w->auth, msg);
}

static void refused_outside(void *user, const struct catalog_group *group)
{
    const struct fence_refusals r = {.wall = FENCE_WALL_API,
                                     .known = true,
                                     .shard = group->first_shard,
                                     .what = "request",
                                     .count = 1};
    fence_refused(user, &r);
}

static int make_cosmos(struct worker *w, struct err_msg *msg)
{
    struct cosmos_region regions[COSMOS_REGIONS_MAX];
    struct cosmos_config config = {
        .backend = &w->router.backend,
        .catalog = w->catalog,
        .keys = &w->auth,
        .index_hash = index_hash,
        .token_hash = w->token_hash,
        .mono_us = mono_us,
        .wall_us = wall_us,
        .outside = refused_outside,
        .in_contact = in_contact,
        .features = &w->node->features,
        .pass_on = transit_pass_on,
        .region = w->node->config->region,
        .user = w,
        .floor = w->node->sessions,
        .faults = faults_client_hook(w->node->client_faults),
        .op_timeout_us = w->node->config->timeouts.request_ms * USEC_PER_MS};
    steering_first_account(w, regions, &config.account);
    return cosmos_new(&config, &w->cosmos, msg);
}

static int make_front(struct worker *w, struct err_msg *msg)
{
    const struct config *c = w->node->config;
    struct http_front_options options = {.loop = w->chans,
                                         .tls = w->node->tls_front,
                                         .handler = &cosmos_http_handler,
                                         .user = w->cosmos};
    http_limits_default(&options.limits);
    options.limits.head_bytes = c->limits.header_bytes;
    options.limits.body_bytes = c->limits.body_bytes;
    options.limits.connections =
        (c->limits.connections + w->node->worker_count - 1) /
        w->node->worker_count;
    options.limits.handshake_us =
        (usec_t)c->timeouts.handshake_ms * USEC_PER_MS;
    options.limits.head_us = (usec_t)c->timeouts.header_ms * USEC_PER_MS;
    options.limits.body_us = (usec_t)c->timeouts.body_ms * USEC_PER_MS;
    options.limits.idle_us = (usec_t)c->timeouts.idle_ms * USEC_PER_MS;
    return http_front_new(&options, &w->front, msg);
}

static void start_watchers(struct worker *w)
{
    ev_prepare_init(&w->turn, on_turn);
    w->turn.data = w;
    ev_prepare_start(w->loop, &w->turn);
    ev_idle_init(&w->busy, on_busy);
    ev_timer_init(&w->ticker, on_ticker, 0, 0);
    w->ticker.data = w;
    ev_timer_init(&w->chores, on_chores, WORKER_CHORES_MS / 1000.0,
                  WORKER_CHORES_MS / 1000.0);
    w->chores.data = w;
    ev_timer_start(w->loop, &w->chores);
}

int worker_create(struct worker *w, struct node *node, uint32_t index,
                  struct err_msg *msg)
{
    w->magic = WORKER_MAGIC;
    w->node = node;
    w->index = index;
    w->loop = ev_loop_new(EVFLAG_AUTO);
    CHECK(w->loop != NULL);
    CHECK(pthread_mutex_init(&w->drained.lock, NULL) == 0);
    CHECK(pthread_cond_init(&w->drained.set, NULL) == 0);
    w->chans = chan_loop_new(w->loop);
    inbox_init(&w->inbox, w->loop, w);
    router_init(&w->router, w);
    steering_init(&w->steering, w);
    transfers_init(&w->transfers, w);
    w->catalog = catalog_new();
    if (index == 0)
        w->fence_guard = fence_guard_new(w);
    if (index == 0)
        w->transit = transit_new(w);
    int err = make_keys(w, msg);
    if (err == ERR_OK)
        err = replicas_find(w, msg);
    if (err == ERR_OK)
        err = recovery_run(w, msg);
    if (err == ERR_OK)
        err = make_cosmos(w, msg);
    if (err == ERR_OK)
        err = make_front(w, msg);
    start_watchers(w);
    return err;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    CHECK_OBJ(w, WORKER_MAGIC);
    ev_run(w->loop, 0);
    return NULL;
}

void worker_start(struct worker *w)
{
    helper_start(&w->helper, &w->inbox);
    sigset_t all, old;
    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &old) == 0);
    CHECK(pthread_create(&w->thread, NULL, worker_main, w) == 0);
    CHECK(pthread_sigmask(SIG_SETMASK, &old, NULL) == 0);
}

/* ---- the end
 * ----------------------------------------------------------------- */

static void signal_set(struct worker_signal *s)
{
    pthread_mutex_lock(&s->lock);
    s->is_set = true;
    pthread_cond_broadcast(&s->set);
    pthread_mutex_unlock(&s->lock);
}

static void on_drained(struct http_front *f, void *user)
{
    (void)f;
    struct worker *w = user;
    w->front_drained = true;
    worker_wake(w);
}

/* Drained is who has answered its clients and leads nothing any more, unless
 * nobody could take that over. */
static void check_drained(struct worker *w, usec_t now)
{
    if (w->front_drained && !w->drained_told &&
        (now >= w->hand_over_until || !steering_can_hand_over(&w->steering))) {
        w->drained_told = true;
        signal_set(&w->drained);
    }
}

static void drain(struct worker *w, void *arg)
{
    (void)arg;
    w->draining = true;
    w->hand_over_until = clock_mono_us() + WORKER_HAND_OVER_US;
    steering_soon(&w->steering); /* hands over what it leads */
    http_front_drain(w->front,
                     (usec_t)w->node->config->timeouts.drain_ms * USEC_PER_MS,
                     on_drained, w);
}

void worker_drain(struct worker *w)
{
    worker_run(w, drain, NULL);
}

void worker_wait_drained(struct worker *w)
{
    pthread_mutex_lock(&w->drained.lock);
    while (!w->drained.is_set)
        pthread_cond_wait(&w->drained.set, &w->drained.lock);
    pthread_mutex_unlock(&w->drained.lock);
}

static void stop(struct worker *w, void *arg)
{
    (void)arg;
    w->stopping = true;
    ev_break(w->loop, EVBREAK_ALL);
}

void worker_join(struct worker *w)
{
    worker_run(w, stop, NULL);
    CHECK(pthread_join(w->thread, NULL) == 0);
    helper_stop(&w->helper);
}
