#include "node/server/shard_env.h"

#include <string.h>

#include "consensus/trace.h"
#include "node/base/log.h"
#include "node/base/rng.h"
#include "node/catalog/rid.h"
#include "node/server/catalog_feed.h"
#include "node/server/peers.h"
#include "node/server/placement_gate.h"
#include "node/server/quarantine.h"
#include "node/server/steward.h"
#include "node/server/worker.h"

static struct replica *replica_of(const struct shard *s)
{
    struct replica *r = shard_user(s);
    CHECK_OBJ(r, REPLICA_MAGIC);
    return r;
}

static void env_log_entry(void *user, struct shard *s, const struct entry *e)
{
    (void)user;
    log_pipe_entry(&replica_of(s)->worker->log, shard_id(s), e);
}

static void env_log_hard_state(void *user, struct shard *s, uint64_t term,
                               raft_id vote)
{
    (void)user;
    log_pipe_hard_state(&replica_of(s)->worker->log, shard_id(s), term, vote);
}

static void env_log_truncate(void *user, struct shard *s, uint64_t from)
{
    (void)user;
    log_pipe_truncate(&replica_of(s)->worker->log, shard_id(s), from);
}

static void env_log_reset(void *user, struct shard *s, uint64_t lsn,
                          uint64_t term)
{
    (void)user;
    log_pipe_reset(&replica_of(s)->worker->log, shard_id(s), lsn, term);
}

static void env_log_salvage(void *user, struct shard *s, uint32_t number,
                            bool acknowledged, const struct entry *e)
{
    (void)user;
    log_pipe_salvage(&replica_of(s)->worker->log, shard_id(s), number,
                     acknowledged, e);
}

static void env_log_salvaged(void *user, struct shard *s, uint32_t number)
{
    (void)user;
    log_pipe_salvaged(&replica_of(s)->worker->log, shard_id(s), number);
}

static void env_send(void *user, struct shard *s, const struct raft_msg *m,
                     const struct raft_entry *heads,
                     struct entry *const *entries)
{
    (void)user;
    peers_send_raft(replica_of(s)->worker, shard_id(s), m, heads, entries);
}

static void env_committed(void *user, struct shard *s, const struct entry *e)
{
    (void)user;
    if (shard_id(s) == SHARD_META && !quarantine_holds_catalog(replica_of(s)))
        catalog_feed_committed(replica_of(s)->worker, s, e);
}

static void env_start_snapshot(void *user, struct shard *s, raft_id to)
{
    (void)user;
    struct replica *r = replica_of(s);
    transfers_start(&r->worker->transfers, r, to);
}

static const char *role_name(enum raft_role role)
{
    static const char *const names[] = {"follower", "pre-candidate",
                                        "candidate", "leader"};
    return names[role];
}

static void count_role(struct replica_counts *c, const struct shard_status *s)
{
    if (s->role == RAFT_CANDIDATE && s->term != c->term) {
        c->candidacies++;
        c->term = s->term;
    }
    if (s->role == RAFT_LEADER && c->role != RAFT_LEADER)
        c->won++;
    c->role = s->role;
    if (s->leader != 0 && c->leader != 0 && s->leader != c->leader)
        c->leader_changes++;
    if (s->leader != 0)
        c->leader = s->leader;
}

static void env_role(void *user, struct shard *s)
{
    (void)user;
    struct replica *r = replica_of(s);
    struct shard_status status;
    shard_status(s, clock_mono_us(), &status);
    count_role(&r->counts, &status);
    if (status.role == RAFT_FOLLOWER || status.role == RAFT_LEADER)
        log_info("role changed", LOG_UINT("shard", status.id),
                 LOG_STR("role", role_name(status.role)),
                 LOG_UINT("leader", status.leader),
                 LOG_UINT("term", status.term));
    if (status.leader == 0)
        return;
    router_wake_soon(&r->worker->router);
    r->worker->salvage_due = true;
    if (status.id == SHARD_META) {
        steward_check_soon(r->worker->steward);
    }
}

bool server_container_deleted(const struct worker *w, uint32_t container)
{
    container = CONTAINER_BASE(container);
    return catalog_lsn(w->catalog) + RID_NUMBER_FIRST >= container &&
           catalog_container_number(w->catalog, container) == NULL;
}

static bool env_container_deleted(void *user, const struct shard *s,
                                  uint32_t container)
{
    (void)user;
    return server_container_deleted(replica_of(s)->worker, container);
}

static int env_container_rid(void *user, const struct shard *s,
                             uint32_t container, uint8_t rid_out[8])
{
    (void)user;
    const struct worker *w = replica_of(s)->worker;
    const struct container_def *def =
        catalog_container_number(w->catalog, container);
    if (def == NULL)
        return server_container_deleted(w, container) ? ERR_NOT_FOUND
                                                      : ERR_AGAIN;
    CHECK(def->rid.len == 8);
    memcpy(rid_out, def->rid.bytes, def->rid.len);
    return ERR_OK;
}

static int env_admit(void *user, const struct shard *s, const struct op *op,
                     struct err_msg *msg)
{
    (void)user;
    const struct catalog *c = replica_of(s)->worker->catalog;
    const struct raft *raft = shard_raft(s);
    uint64_t shown;
    if (shard_id(s) != SHARD_META)
        return ERR_OK;
    if (raft_term_at(raft, catalog_lsn(c), &shown) != ERR_OK)
        shown = 0;
    return placement_gate_admit(c, shown, raft_term(raft), op, msg);
}

static int64_t env_wall_sec(void *user)
{
    (void)user;
    return clock_wall_us() / USEC_PER_SEC;
}

const struct shard_env server_shard_env = {
    .log_entry = env_log_entry,
    .log_hard_state = env_log_hard_state,
    .log_truncate = env_log_truncate,
    .log_reset = env_log_reset,
    .log_salvage = env_log_salvage,
    .log_salvaged = env_log_salvaged,
    .container_rid = env_container_rid,
    .send = env_send,
    .on_committed = env_committed,
    .start_snapshot = env_start_snapshot,
    .on_role = env_role,
    .container_deleted = env_container_deleted,
    .admit = env_admit,
    .wall_sec = env_wall_sec,
};

/* Every decision of the cores, at level debug. */
static void trace(void *ctx, const struct raft_trace *record)
{
    (void)ctx;
    if (!log_enabled(LOG_DEBUG))
        return;
    char text[RAFT_TRACE_TEXT_MAX];
    raft_trace_format(record, text);
    log_debug(text);
}

void server_raft_options(const struct config *c, struct raft_options *out)
{
    raft_options_default(out);
    out->self = c->id;
    out->trace = trace;
    out->seed = rng_u64();
    out->heartbeat_us = (usec_t)c->timeouts.heartbeat_ms * USEC_PER_MS;
    out->election_min_us = (usec_t)c->timeouts.election_ms * USEC_PER_MS;
    out->election_max_us = 2 * out->election_min_us;
    out->priority_step_us = out->election_min_us / 4;
    out->lease_us = (usec_t)c->timeouts.lease_ms * USEC_PER_MS;
    out->silence_us = out->election_min_us;
    /* The shard bounds what is uncommitted before it asks (shard.h), and counts
     * on never being refused. */
    out->uncommitted_entries_max = UINT32_MAX / 2;
    out->uncommitted_bytes_max = UINT64_MAX / 2;
}
