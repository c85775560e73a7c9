/* What a replica knows of the others, to keep the account's bound: feeds the
 * governor (replication/staleness.h), which lives as long as the leadership. */
#include "node/base/check.h"
#include "node/shard/canary.h"
#include "node/shard/shard_impl.h"

static void hear(struct shard *s, usec_t now, raft_id id)
{
    struct raft_peer_info info;
    if (raft_peer(s->raft, id, &info) != ERR_OK)
        return;
    if (info.state == RAFT_PEER_SNAPSHOT)
        staleness_lost(&s->governor, id);
    else if (info.seen_lsn > 0)
        staleness_heard(&s->governor, now, id, info.seen_lsn, info.heard_us);
}

/* `begins`: the leadership, or the bound, does. */
static void tell_members(struct shard *s, usec_t now, bool begins)
{
    const struct raft_config *c = raft_config(s->raft);
    raft_id self = raft_leader(s->raft); /* this node */
    staleness_members_begin(&s->governor);
    for (uint32_t i = 0; i < c->n; i++) {
        const struct raft_member *m = &c->members[i];
        struct raft_peer_info info;
        if (m->id == self || m->witness ||
            raft_peer(s->raft, m->id, &info) != ERR_OK)
            continue;
        staleness_member(&s->governor, now, m->id, m->region,
                         begins ? info.heard_us : 0);
        hear(s, now, m->id);
    }
}

static bool lacks_any(const struct raft_config *now,
                      const struct raft_config *before)
{
    for (uint32_t i = 0; i < before->n; i++)
        if (raft_config_find(now, before->members[i].id) == NULL)
            return true;
    return false;
}

/* Whether what was appended, possibly several configurations at once, takes
 * somebody out; not known of a snapshot, whose log begins anew. */
static bool somebody_left(const struct shard *s, const struct raft_update *u)
{
    for (uint32_t i = 0; i < u->n_entries; i++)
        if (u->entries[i].type == RAFT_ENTRY_CONFIG &&
            lacks_any(raft_config(s->raft),
                      raft_config_at(s->raft, u->first_lsn + i - 1)))
            return true;
    return u->reset;
}

void shard_govern(struct shard *s, const struct raft_event *event,
                  const struct raft_update *u)
{
    usec_t now = event->now_us;
    if (u->role != RAFT_LEADER) {
        if (somebody_left(s, u))
            staleness_left(&s->governor, now);
        return;
    }
    uint64_t last = raft_last_lsn(s->raft);
    if (s->governed_term != u->term) {
        s->governed_term = u->term;
        staleness_lead(&s->governor, now, last);
        tell_members(s, now, true);
    } else if (u->config_changed) {
        tell_members(s, now, false);
    }
    staleness_logged(&s->governor, now, last);
    if (s->governor.bound.on && event->type == RAFT_EV_MESSAGE &&
        event->message->type == RAFT_MSG_APPEND_REPLY)
        hear(s, now, event->message->from);
}

/* Every change of the level is a decision with an epoch of its own, and is said
 * to be done when each shard has committed the configuration of that epoch. So
 * whoever leads from then on has that configuration; but not always the record:
 * one that was started again may have an old one, or none, until the meta shard
 * has a leader. A strong shard needs no bound. */
static bool knows_bound(const struct shard *s)
{
    const struct raft_config *c = raft_config(s->raft);
    return s->id == SHARD_META || c->ack == RAFT_ACK_COMMIT ||
           s->policy_epoch >= c->epoch;
}

int shard_govern_write(struct shard *s, usec_t now, uint64_t lsn,
                       uint32_t *retry_after_ms_out)
{
    if (SHARD_PLANTED(UNGOVERNED))
        return ERR_OK;
    if (!knows_bound(s))
        return ERR_UNAVAILABLE;
    switch (staleness_admit(&s->governor, now, lsn, retry_after_ms_out)) {
    case STALENESS_ACCEPT:
        return ERR_OK;
    case STALENESS_REFUSE:
        s->throttled++;
        return ERR_THROTTLED;
    default:
        return ERR_UNAVAILABLE;
    }
}

bool shard_trusts(struct shard *s, usec_t now, raft_id id)
{
    /* A later leader may lack a configuration that is not committed, and then
     * would not know that it has to count the newcomer. */
    return SHARD_PLANTED(UNGOVERNED) ||
           (raft_config_find(raft_config_committed(s->raft), id) != NULL &&
            staleness_trusts(&s->governor, now, id));
}

/* What witnesses do not wait for. */
static void tell_down(struct shard *s, usec_t now,
                      const struct shard_policy *policy)
{
    raft_region regions[2 * RAFT_MEMBERS_MAX];
    struct raft_event down = {.type = RAFT_EV_DOWN, .now_us = now};
    for (uint32_t i = 0; i < policy->n_down; i++)
        regions[down.down.n++] = policy->down[i];
    for (uint32_t i = 0; i < policy->n_unable; i++)
        regions[down.down.n++] = policy->unable[i];
    down.down.regions = regions;
    shard_step(s, &down, NULL);
}

void shard_set_policy(struct shard *s, usec_t now,
                      const struct shard_policy *policy)
{
    CHECK_OBJ(s, SHARD_MAGIC);
    bool was_on = s->governor.bound.on;
    s->policy_epoch = policy->epoch;
    struct staleness_bound bound = {
        .on = policy->level == CONSISTENCY_BOUNDED && s->id != SHARD_META,
        .entries = policy->max_lag_entries > 0 ? policy->max_lag_entries : 1,
        .lag_us = policy->max_lag_us > USEC_PER_SEC ? policy->max_lag_us
                                                    : USEC_PER_SEC,
        .n_down = policy->n_down};
    for (uint32_t i = 0; i < policy->n_down; i++)
        bound.down[i] = policy->down[i];
    staleness_set_bound(&s->governor, now, &bound);
    tell_down(s, now, policy);
    if (bound.on && !was_on && raft_role(s->raft) == RAFT_LEADER)
        tell_members(s, now, true);
}
