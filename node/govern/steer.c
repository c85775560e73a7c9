#include "node/govern/steer.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/govern/canary.h"
#include "node/govern/home.h"

/* A peer whose answers are older does not get the leadership. */
#define ANSWERS_US (500 * USEC_PER_MS)

static bool is_meta(const struct shard *s)
{
    return shard_id(s) == SHARD_META;
}

/* ---- who should lead --------------------------------------------------------
 */

static bool unfit(const struct failover_self *of, usec_t stall_us)
{
    return of->draining || of->no_space ||
           of->disk_stall_ms >= (uint32_t)(stall_us / USEC_PER_MS);
}

void steer_health_of(const struct failover_health *h, raft_id self,
                     const struct failover_self *own,
                     struct steer_health *health_out)
{
    struct failover_node_health n;
    *health_out = (struct steer_health){
        .self_ill = unfit(own, failover_health_timing(h)->stall_us)};
    for (uint32_t i = 0; failover_health_node(h, i, &n); i++)
        if (n.id != self && n.heard &&
            unfit(&n.self, STEER_SLOW_MS * USEC_PER_MS) &&
            health_out->n_ill < STEER_ILL_MAX)
            health_out->ill[health_out->n_ill++] = n.id;
    const struct failover_region_health *r;
    for (raft_region i = 1; i <= FAILOVER_REGIONS_MAX; i++)
        if ((r = failover_health_region(h, i)) != NULL &&
            r->state == FAILOVER_ILL)
            health_out->unable |= govern_region_bit(i);
}

/* ---- what the shard is told -------------------------------------------------
 */

/* A planned decision is told once every leader has it in its log: told earlier,
 * it could elect a node that lacks what the old rule acknowledged. */
static void tell_epoch(struct steer *st, usec_t now,
                       const struct govern_record *rec, struct shard *s)
{
    bool made = rec->forced || rec->settled || GOVERN_PLANTED(TELL_EARLY);
    if (is_meta(s) || st->told >= rec->epoch || !made)
        return;
    st->told = rec->epoch;
    enum raft_ack ack = govern_ack(rec);
    shard_decide(s, now, rec->epoch, rec->write_region, (uint8_t)ack,
                 rec->recovered_epoch);
}

/* The decision's epoch does not change with `down`. */
static uint64_t policy_stamp(const struct govern_record *rec)
{
    return ((uint64_t)rec->epoch << 32 | rec->down) + 1;
}

static void tell_policy(struct steer *st, usec_t now,
                        const struct govern_record *rec,
                        const struct steer_health *health, struct shard *s)
{
    if (is_meta(s) ||
        (st->policy == policy_stamp(rec) && st->unable == health->unable))
        return;
    st->policy = policy_stamp(rec);
    st->unable = health->unable;
    const struct consistency_policy *c = &rec->consistency;
    struct shard_policy p = {.epoch = rec->epoch, .level = (uint8_t)c->level};
    if (c->level == CONSISTENCY_BOUNDED) {
        p.max_lag_entries = (uint32_t)c->max_staleness_prefix;
        p.max_lag_us = (usec_t)c->max_staleness_interval * USEC_PER_SEC;
    }
    for (uint32_t i = 0; i < rec->n_regions; i++)
        if ((rec->down & govern_region_bit(rec->priority[i])) != 0)
            p.down[p.n_down++] = rec->priority[i];
        else if ((health->unable & govern_region_bit(rec->priority[i])) != 0)
            p.unable[p.n_unable++] = rec->priority[i];
    shard_set_policy(s, now, &p);
}

/* ---- what a leader does -----------------------------------------------------
 */

static bool is_ill(const struct steer_health *health, raft_id node)
{
    for (uint32_t i = 0; i < health->n_ill; i++)
        if (health->ill[i] == node)
            return true;
    return false;
}

void steer_shun(struct steer *st, usec_t now, raft_id node)
{
    struct steer_shunned *at = &st->shunned[0];
    for (uint32_t i = 0; i < STEER_ILL_MAX && at->node != node; i++)
        if (st->shunned[i].node == node || st->shunned[i].until < at->until)
            at = &st->shunned[i];
    *at = (struct steer_shunned){node, now + STEER_SHUN_US};
}

static bool is_shunned(const struct steer *st, usec_t now, raft_id node)
{
    for (uint32_t i = 0; i < STEER_ILL_MAX; i++)
        if (st->shunned[i].node == node && now < st->shunned[i].until)
            return true;
    return false;
}

/* Whether a peer answers and has nearly everything. */
static bool is_near(const struct shard *s, usec_t now, raft_id node)
{
    struct raft_peer_info info;
    const struct raft *r = shard_raft(s);
    return raft_peer(r, node, &info) == ERR_OK && info.reachable &&
           info.state == RAFT_PEER_REPLICATE && !info.forgot &&
           now - info.heard_us <= ANSWERS_US &&
           info.match_lsn + STEER_NEAR_ENTRIES >= raft_last_lsn(r);
}

static uint32_t voters_in(const struct raft_config *c, raft_region region)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n; i++)
        n += c->members[i].voter && !c->members[i].witness &&
             c->members[i].region == region;
    return n;
}

/* Whether a voter is being rebuilt (docs/rebuild.md): it asks those who vote
 * now what it may have promised, so they stay the same until it is done. Not
 * so for one that is to go: it may be the reason why. */
static bool somebody_forgot(const struct govern_record *rec,
                            const struct shard *s)
{
    const struct raft *r = shard_raft(s);
    const struct raft_config *c = raft_config(r);
    for (uint32_t i = 0; i < c->n; i++) {
        struct raft_peer_info info;
        if (c->members[i].voter && govern_wants(rec, c->members[i].id) &&
            raft_peer(r, c->members[i].id, &info) == ERR_OK && info.forgot)
            return true;
    }
    return false;
}

/* Who is missing comes in as a learner, all at once: nothing depends on them
 * yet. */
static bool add_missing(const struct govern_record *rec,
                        struct raft_config *target)
{
    bool added = false;
    for (uint32_t i = 0; i < rec->n_members; i++) {
        const struct govern_member *m = &rec->members[i];
        if (raft_config_find(target, m->id) != NULL || target->joint)
            continue;
        struct raft_member learner = {.id = m->id,
                                      .region = m->region,
                                      .witness = m->id == rec->witness.id};
        added |= raft_config_add(target, learner) == ERR_OK;
    }
    return added;
}

static void take_out(struct raft_config *target, uint32_t i)
{
    target->n--;
    memmove(&target->members[i], &target->members[i + 1],
            (target->n - i) * sizeof(target->members[0]));
    target->members[target->n] = (struct raft_member){.id = 0};
}

/* Whether those who are left can commit without the witness that goes: else the
 * change would hang, and all writes behind it. */
static bool majority_is_near(const struct shard *s, usec_t now, raft_id self,
                             const struct raft_config *target)
{
    uint32_t voters = 0, near = 0;
    for (uint32_t i = 0; i < target->n; i++) {
        const struct raft_member *m = &target->members[i];
        voters += m->voter;
        near += m->voter && (m->id == self || is_near(s, now, m->id));
    }
    return near > voters / 2;
}

/* The witness that is not wanted any more; target->n: there is none. */
static uint32_t find_old_witness(const struct govern_record *rec,
                                 const struct raft_config *target)
{
    uint32_t i = 0;
    while (i < target->n && (!target->members[i].witness ||
                             govern_wants(rec, target->members[i].id)))
        i++;
    return i;
}

/* A learner that has caught up votes; if it is a witness, in place of the one
 * before: two at once would not do (docs/witness.md). True while one has not.
 */
static bool promote(const struct shard *s, usec_t now,
                    const struct govern_record *rec, struct raft_config *target)
{
    bool waits = false;
    for (uint32_t i = 0; i < target->n; i++) {
        struct raft_member *m = &target->members[i];
        if (m->voter || !govern_wants(rec, m->id))
            continue;
        waits = true;
        if (!is_near(s, now, m->id) && !GOVERN_PLANTED(PROMOTE_FAR))
            continue;
        m->voter = true;
        uint32_t old = m->witness ? find_old_witness(rec, target) : target->n;
        if (old < target->n)
            take_out(target, old);
        break;
    }
    return waits;
}

/* One who is not wanted goes; never the leader itself, who hands over first. */
static void remove_one(const struct shard *s, usec_t now,
                       const struct govern_record *rec, raft_id self,
                       struct raft_config *target)
{
    for (uint32_t i = 0; i < target->n; i++) {
        const struct raft_member *m = &target->members[i];
        struct raft_config without = *target;
        if (govern_wants(rec, m->id) || m->id == self)
            continue;
        take_out(&without, i);
        if (!m->witness || majority_is_near(s, now, self, &without))
            *target = without;
        return;
    }
}

/* Towards the members that the record wants, in small steps: first those who
 * come, so that there are never fewer than before, then those who go. */
static void move_members(const struct shard *s, usec_t now,
                         const struct govern_record *rec, raft_id self,
                         struct raft_config *target)
{
    if (rec->n_members == 0 ||
        (somebody_forgot(rec, s) && !GOVERN_PLANTED(CHANGE_WHILE_REBUILT)))
        return;
    if ((add_missing(rec, target) || promote(s, now, rec, target)) &&
        !GOVERN_PLANTED(REMOVE_FIRST))
        return;
    /* Who goes from the meta shard hears before that the others are done. */
    if (is_meta(s) && !rec->settled && !GOVERN_PLANTED(META_AT_ONCE))
        return;
    remove_one(s, now, rec, self, target);
}

/* When survivors became a cluster of their own the others were made learners.
 * They vote again once they follow, until each region has as many voters as the
 * write region. One at a time, so that each change is small. */
static void readmit(const struct shard *s, usec_t now,
                    const struct govern_record *rec, struct raft_config *target)
{
    if (rec->recovered == 0 || rec->n_members > 0 || somebody_forgot(rec, s))
        return;
    uint32_t wanted = voters_in(target, rec->write_region);
    for (uint32_t i = 0; i < target->n; i++) {
        struct raft_member *m = &target->members[i];
        if (!m->voter && voters_in(target, m->region) < wanted &&
            is_near(s, now, m->id)) {
            m->voter = true;
            /* A witness votes again when two regions do. */
            if (raft_config_check(target) == ERR_OK)
                return;
            m->voter = false;
        }
    }
}

/* Works towards the configuration that the decision asks for. True while it is
 * not committed. */
static bool change_config(struct steer *st, usec_t now,
                          const struct govern_record *rec, raft_id self,
                          struct shard *s)
{
    const struct raft *r = shard_raft(s);
    const struct raft_config *newest = raft_config(r);
    if (newest->joint || !raft_config_equal(newest, raft_config_committed(r)))
        return true;
    struct raft_config target;
    govern_config(rec, is_meta(s), newest, &target);
    /* The core itself writes a forced decision into the log (raft.h, EPOCH); a
     * leader that knows a newer one than we do is not held back. */
    if (target.epoch < newest->epoch)
        return false;
    if (target.epoch > newest->epoch && rec->forced)
        return true;
    /* Voters and rule never change in one step. */
    if (raft_config_equal(&target, newest))
        readmit(s, now, rec, &target);
    if (raft_config_equal(&target, newest))
        move_members(s, now, rec, self, &target);
    if (raft_config_equal(&target, newest))
        return false;
    if (now >= st->change_at) {
        st->change_at = now + STEER_EVERY_US;
        /* ERR_AGAIN, ERR_STALE: at a later look. */
        (void)shard_change(s, now, &target);
    }
    return true;
}

static raft_region region_of(const struct raft_config *c, raft_id node)
{
    const struct raft_member *m = raft_config_find(c, node);
    return m != NULL ? m->region : 0;
}

/* The best voter of `region` to lead: near, well, with the most of the log. */
static raft_id best_in(const struct steer *st, const struct shard *s,
                       usec_t now, const struct govern_record *rec,
                       const struct steer_health *health, raft_id self,
                       raft_region region)
{
    const struct raft *r = shard_raft(s);
    const struct raft_config *c = raft_config(r);
    raft_id best = 0;
    uint64_t best_match = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        const struct raft_member *m = &c->members[i];
        struct raft_peer_info info;
        if (m->id == self || m->region != region || !m->voter || m->witness ||
            !govern_wants(rec, m->id) || is_ill(health, m->id) ||
            is_shunned(st, now, m->id) || !is_near(s, now, m->id))
            continue;
        CHECK(raft_peer(r, m->id, &info) == ERR_OK);
        if (best == 0 || info.match_lsn > best_match) {
            best = m->id;
            best_match = info.match_lsn;
        }
    }
    return best;
}

/* Whether another can be elected, and acknowledge, without this node: where the
 * write region acknowledges, a majority of its voters must be well. Otherwise
 * the controller's decision for another region comes first. */
static bool dispensable(const struct shard *s,
                        const struct steer_health *health, raft_id self)
{
    const struct raft_config *c = raft_config(shard_raft(s));
    if (c->ack != RAFT_ACK_REGION)
        return true;
    uint32_t well = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        const struct raft_member *m = &c->members[i];
        well += m->voter && !m->witness && m->region == c->write_region &&
                m->id != self && !is_ill(health, m->id);
    }
    return well > voters_in(c, c->write_region) / 2;
}

static raft_id successor(const struct steer *st, const struct shard *s,
                         usec_t now, const struct govern_record *rec,
                         const struct steer_health *health, raft_id self)
{
    raft_region own = region_of(raft_config(shard_raft(s)), self);
    if (own == rec->write_region && !health->self_ill &&
        govern_wants(rec, self))
        return 0;
    if (health->self_ill && !dispensable(s, health, self))
        return 0;
    raft_id to = best_in(st, s, now, rec, health, self, rec->write_region);
    if (to != 0 || !health->self_ill)
        return to;
    for (uint32_t i = 0; i < rec->n_regions && to == 0; i++)
        to = best_in(st, s, now, rec, health, self, rec->priority[i]);
    return to;
}

/* Whether a leader may go where it belongs: nothing else moves it, or the
 * members. */
static bool at_rest(const struct govern_record *rec,
                    const struct steer_health *health, raft_id self,
                    const struct shard *s)
{
    return rec->settled && !govern_has_leaving(rec) && rec->coming == 0 &&
           !health->self_ill && !is_meta(s) && !somebody_forgot(rec, s) &&
           region_of(raft_config(shard_raft(s)), self) == rec->write_region;
}

static raft_id home_of(const struct steer *st, const struct shard *s,
                       usec_t now, const struct govern_record *rec,
                       const struct steer_health *health, raft_id self)
{
    const struct raft_config *c = raft_config(shard_raft(s));
    govern_member_set well = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        raft_id id = c->members[i].id;
        bool fit =
            id == self || (govern_wants(rec, id) && !is_ill(health, id) &&
                           !is_shunned(st, now, id) && is_near(s, now, id));
        well |= (govern_member_set)fit << i;
    }
    return govern_home(c, rec->write_region, shard_id(s), rec->gather, well);
}

/* Its home, if the leadership is to go there now; else 0. */
static raft_id homeward(struct steer *st, usec_t now,
                        const struct govern_record *rec,
                        const struct steer_health *health, raft_id self,
                        const struct shard *s)
{
    raft_id home = at_rest(rec, health, self, s)
                       ? home_of(st, s, now, rec, health, self)
                       : 0;
    if (home == self)
        home = 0;
    if (home != st->home) {
        st->home = home;
        st->home_at = now + STEER_HOME_US;
    }
    return now >= st->home_at ? home : 0;
}

static void lead(struct steer *st, usec_t now, const struct govern_record *rec,
                 const struct steer_health *health, raft_id self,
                 struct shard *s)
{
    const struct raft *r = shard_raft(s);
    raft_id home = homeward(st, now, rec, health, self, s);
    if (raft_transferring(r) != 0)
        return;
    /* Commits without this node's own log, if that is what is ill. */
    if (change_config(st, now, rec, self, s))
        return;
    if (now < st->transfer_at)
        return;
    raft_id to = successor(st, s, now, rec, health, self);
    if (to == 0 && !GOVERN_PLANTED(ANYWHERE))
        to = home;
    if (to == 0 || GOVERN_PLANTED(STAY))
        return;
    st->transfer_at = now + STEER_TRANSFER_PAUSE_US;
    st->home_at = now + STEER_HOME_US;
    (void)shard_transfer(s, now, to);
}

void steer_shard(struct steer *st, usec_t now, const struct govern_record *rec,
                 const struct steer_health *health, raft_id self,
                 struct shard *s)
{
    tell_policy(st, now, rec, health, s);
    tell_epoch(st, now, rec, s);
    if (raft_role(shard_raft(s)) == RAFT_LEADER && !shard_installing(s))
        lead(st, now, rec, health, self, s);
    else
        st->home = 0;
}

bool steer_settled(const struct govern_record *rec, const struct shard *s)
{
    const struct raft *r = shard_raft(s);
    const struct raft_config *c = raft_config_committed(r);
    if (is_meta(s))
        return true;
    return !c->joint && c->epoch == rec->epoch && c->ack == govern_ack(rec) &&
           govern_members_are(rec, c) &&
           region_of(c, raft_leader(r)) == rec->write_region;
}
