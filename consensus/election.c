/* Roles, election timers, campaigns and tallies.
 *
 *   FOLLOWER -> PRE_CANDIDATE -> CANDIDATE -> LEADER
 *       ^  (timeout)   (majority would   (majority   |
 *       |               vote)             voted)     |
 *       +--- newer term, a leader heard, no quorum --+
 */
#include "consensus/canary.h"
#include "consensus/raft_impl.h"
#include "node/base/check.h"
#include "node/base/err.h"

const struct raft_config *raft_electorate(const struct raft *r)
{
    const struct raft_config *c = trail_config(&r->trail);
    return r->recovery.epoch > c->epoch ? &r->recovery : c;
}

/* The newest rule this node knows: a decision, or its log's (design 3). */
static struct rule current_rule(const struct raft *r)
{
    const struct raft_config *c = trail_config(&r->trail);
    if (r->decided.epoch > c->epoch)
        return r->decided;
    return (struct rule){c->epoch, c->write_region, c->ack};
}

/* Smaller goes first. Where a region acknowledges, the leader belongs there: a
 * forced decision says so before the priorities in the log do. */
static uint32_t rank_of(const struct raft *r, const struct raft_member *m)
{
    struct rule rule = current_rule(r);
    if (rule.ack != RAFT_ACK_REGION)
        return m->priority;
    if (m->region == rule.region)
        return 0;
    return m->priority > 0 ? m->priority : 1;
}

static usec_t random_between(struct raft *r, usec_t low, usec_t high)
{
    return (usec_t)prng_range(&r->prng, (uint64_t)low, (uint64_t)high);
}

static usec_t random_timeout(struct raft *r)
{
    /* Nobody has ever led here, so there is no leader to disturb. */
    if (r->eager && r->term == 0)
        return random_between(r, r->opt.heartbeat_us / 2,
                              r->opt.heartbeat_us * 2);
    /* Above the longest round trip: each phase gets that much time. */
    if (r->now_us < r->hurry_until_us)
        return random_between(r, r->opt.election_min_us / 4,
                              r->opt.election_min_us / 2);
    usec_t timeout =
        random_between(r, r->opt.election_min_us, r->opt.election_max_us);
    const struct raft_member *me =
        raft_config_find(raft_electorate(r), r->opt.self);
    return timeout +
           (me != NULL ? rank_of(r, me) * r->opt.priority_step_us : 0);
}

void raft_reset_election_timer(struct raft *r)
{
    r->election_us = r->now_us + random_timeout(r);
}

bool raft_hears_leader(const struct raft *r)
{
    if (r->role == RAFT_LEADER)
        return !raft_quorum_is_silent(r);
    return r->now_us < r->promise_until_us;
}

int raft_heard_leader(struct raft *r, raft_id from)
{
    if (r->role == RAFT_LEADER || (r->leader != 0 && r->leader != from))
        return ERR_PROTOCOL;
    if (r->role != RAFT_FOLLOWER || r->leader == 0)
        raft_become_follower(r, r->term, from);
    r->promise_until_us = r->now_us + r->opt.election_min_us;
    r->yielded = false;
    r->hurry_until_us = 0;
    r->hold_since_us = 0;
    raft_reset_election_timer(r);
    return ERR_OK;
}

static void leave_leadership(struct raft *r)
{
    r->out_lost_leadership = true;
    r->transfer_to = 0;
    raft_drop_peers(r);
    raft_reset_election_timer(r);
}

void raft_become_follower(struct raft *r, uint64_t term, raft_id leader)
{
    CHECK(term >= r->term);
    CHECK(leader != r->opt.self);
    bool led = r->role == RAFT_LEADER;
    bool news =
        r->role != RAFT_FOLLOWER || r->leader != leader || term != r->term;
    if (term > r->term)
        raft_set_hard_state(r, term, 0);
    r->role = RAFT_FOLLOWER;
    r->leader = leader;
    r->n_votes = 0;
    if (led)
        leave_leadership(r);
    if (news) {
        raft_note(r, RAFT_TRACE_BECOME_FOLLOWER, 0, 0, leader);
        raft_reads_role_changed(r, led);
    }
}

/* ---- campaigns -------------------------------------------------------------
 */

static int64_t one(const void *ctx, raft_id id)
{
    (void)ctx;
    (void)id;
    return 1;
}

/* Whether it votes by any configuration that may still be in force, as far as
 * it knows: after a restart it knows little of what is committed, and may have
 * both come and be leaving since then. */
static bool votes_yet(const struct raft *r)
{
    uint64_t lsn = r->commit_lsn;
    bool votes = raft_config_is_voter(raft_config_committed(r), r->opt.self);
    while (!votes && (lsn = trail_next_config(&r->trail, lsn)) != 0)
        votes =
            raft_config_is_voter(trail_config_at(&r->trail, lsn), r->opt.self);
    return votes;
}

/* Why this node must not campaign now, 0 if it may. */
static enum raft_no_campaign obstacle(const struct raft *r,
                                      const struct rule *rule)
{
    const struct raft_config *c = raft_electorate(r);
    /* It could give nobody the entries that it has the heads of. */
    if (raft_is_witness(r) && !CANARY(WITNESS_CAMPAIGNS))
        return RAFT_NO_CAMPAIGN_WITNESS;
    /* A voter that leaves may still be needed until the configuration without
     * it is committed: the others may lack that entry, and not be electable
     * without its vote (thesis 4.2.2). */
    if (!raft_config_is_voter(c, r->opt.self) &&
        (c == &r->recovery || !votes_yet(r)))
        return RAFT_NO_CAMPAIGN_NOT_VOTER;
    if (c->epoch < r->recovered)
        return RAFT_NO_CAMPAIGN_RECOVERED;
    if (r->amnesia.state != RAFT_AMNESIA_NONE && !raft_amnesia_may_stand(r) &&
        !CANARY(AMNESIAC_VOTES))
        return RAFT_NO_CAMPAIGN_AMNESIAC;
    if (RAFT_TERM_EPOCH(r->term) > rule->epoch)
        return RAFT_NO_CAMPAIGN_EPOCH_UNKNOWN;
    if (rule->ack == RAFT_ACK_REGION &&
        quorum_region_value(c, rule->region, one, NULL) != 1)
        return RAFT_NO_CAMPAIGN_NO_REGION;
    if (RAFT_TERM_COUNTER(r->term) == UINT32_MAX)
        return RAFT_NO_CAMPAIGN_TERMS_USED_UP;
    return 0;
}

/* A configuration that is not committed lends its rule, but not its epoch: a
 * term of an epoch that nobody else can learn of would bar them from
 * campaigning for good if this node then died. But an epoch that others have
 * named they know: they would refuse candidates of an older one. */
static uint64_t next_term(const struct raft *r)
{
    uint32_t epoch = raft_config_committed(r)->epoch;
    uint32_t known = trail_config(&r->trail)->epoch;
    if (known > r->heard_epoch)
        known = r->heard_epoch;
    if (r->decided.epoch > epoch)
        epoch = r->decided.epoch;
    if (known > epoch)
        epoch = known;
    return epoch > RAFT_TERM_EPOCH(r->term) ? RAFT_TERM(epoch, 1) : r->term + 1;
}

static void ask_for_votes(struct raft *r, bool pre, bool transfer)
{
    const struct raft_config *c = raft_electorate(r);
    for (uint32_t i = 0; i < c->n; i++) {
        const struct raft_member *m = &c->members[i];
        if (m->id == r->opt.self || !(m->voter || m->voter_old))
            continue;
        struct raft_msg *msg = raft_emit(r, RAFT_MSG_VOTE, m->id);
        msg->term = r->aim_term;
        msg->vote = (struct raft_vote){
            .pre = pre,
            .transfer = transfer,
            .last_lsn = trail_last_lsn(&r->trail),
            .last_term = trail_last_term(&r->trail),
        };
        /* A real request promises that the own vote, and the log it boasts
         * of, outlive a crash: an answer may come after one. */
        msg->after_persist = !pre;
    }
}

static bool prepare_campaign(struct raft *r)
{
    r->campaign_rule = current_rule(r);
    enum raft_no_campaign why = obstacle(r, &r->campaign_rule);
    raft_reset_election_timer(r);
    if (why == 0)
        return true;
    if (why != RAFT_NO_CAMPAIGN_NOT_VOTER && why != RAFT_NO_CAMPAIGN_WITNESS)
        raft_note(r, RAFT_TRACE_NO_CAMPAIGN, 0, 0, why);
    if (r->role != RAFT_FOLLOWER || r->leader != 0)
        raft_become_follower(r, r->term, 0);
    return false;
}

static void raft_start_pre_vote(struct raft *r)
{
    CHECK(r->role != RAFT_LEADER);
    /* A candidate whose disk hangs could not make its own vote durable, and
     * would only keep others waiting. */
    if (!raft_hard_state_durable(r) &&
        r->now_us >= r->hard_us + r->opt.heartbeat_us) {
        r->election_us = r->now_us + r->opt.heartbeat_us;
        return;
    }
    if (!prepare_campaign(r))
        return;
    r->role = RAFT_PRE_CANDIDATE;
    r->leader = 0;
    r->n_votes = 0;
    r->saw_longer = false;
    r->aim_term = next_term(r);
    raft_note(r, RAFT_TRACE_BECOME_PRE_CANDIDATE, 0, trail_last_lsn(&r->trail),
              r->aim_term);
    ask_for_votes(r, true, false);
    raft_record_vote(r, r->opt.self, true);
}

void raft_campaign(struct raft *r, bool transfer)
{
    CHECK(r->role != RAFT_LEADER);
    if (!prepare_campaign(r))
        return;
    r->aim_term = next_term(r);
    raft_set_hard_state(r, r->aim_term, r->opt.self);
    r->role = RAFT_CANDIDATE;
    r->leader = 0;
    r->n_votes = 0;
    raft_note(r, RAFT_TRACE_BECOME_CANDIDATE, 0, trail_last_lsn(&r->trail), 0);
    ask_for_votes(r, false, transfer);
    /* The own vote is counted when it is durable: see persisted(). */
}

void raft_election_timeout(struct raft *r)
{
    CHECK(r->role != RAFT_LEADER);
    raft_start_pre_vote(r);
}

/* ---- turns -----------------------------------------------------------------
 * Several nodes may be told to campaign at once. Votes would be split if they
 * did; so whoever promises its vote to another gives it time to ask for it.
 * All of this only moves timers.
 */

static void fire_at(struct raft *r, usec_t at_us)
{
    if (at_us < r->hold_until_us)
        at_us = r->hold_until_us;
    if (at_us < r->election_us)
        r->election_us = at_us;
}

void raft_hurry(struct raft *r)
{
    r->eager = true;
    if (r->role == RAFT_LEADER || r->role == RAFT_CANDIDATE)
        return;
    if (raft_hears_leader(r)) {
        /* Its next heartbeat, if there is one, takes this back. */
        if (r->decided.epoch > trail_config(&r->trail)->epoch)
            fire_at(r, r->promise_until_us +
                           random_between(r, 0, r->opt.heartbeat_us));
        return;
    }
    r->hurry_until_us = r->now_us + 2 * r->opt.election_max_us;
    if (r->role == RAFT_PRE_CANDIDATE && r->aim_term == next_term(r))
        return; /* at it */
    if (r->now_us >= r->hold_until_us)
        raft_start_pre_vote(r);
    else
        fire_at(r,
                r->hold_until_us + random_between(r, 0, r->opt.heartbeat_us));
}

static bool ranks_before(const struct raft *r, raft_id peer)
{
    const struct raft_config *c = raft_electorate(r);
    const struct raft_member *me = raft_config_find(c, r->opt.self);
    const struct raft_member *other = raft_config_find(c, peer);
    if (me == NULL || other == NULL)
        return false;
    uint32_t a = rank_of(r, other);
    uint32_t b = rank_of(r, me);
    return a < b || (a == b && peer < r->opt.self);
}

/* Whoever was let go first again and again, and came to nothing, is waited for
 * no longer: it may not even hear our answers. */
static bool has_waited_enough(struct raft *r)
{
    usec_t waited = r->now_us - r->hold_since_us;
    if (r->hold_since_us == 0 || waited > r->opt.election_max_us)
        r->hold_since_us = r->now_us;
    else if (waited >= 2 * r->opt.vote_grace_us)
        return true;
    return false;
}

void raft_hold_back(struct raft *r, raft_id peer, bool longer)
{
    if (r->opt.vote_grace_us == 0 || has_waited_enough(r))
        return;
    if (r->role == RAFT_PRE_CANDIDATE) {
        if (!longer && !ranks_before(r, peer))
            return;
        raft_become_follower(r, r->term, 0);
        r->election_us = r->now_us;
    }
    if (r->role != RAFT_FOLLOWER)
        return;
    r->hold_until_us = r->now_us + r->opt.vote_grace_us;
    usec_t until = r->hold_until_us + random_between(r, 0, r->opt.heartbeat_us);
    if (r->election_us < until)
        r->election_us = until;
}

void raft_stand_soon(struct raft *r)
{
    if (r->role == RAFT_FOLLOWER || r->role == RAFT_PRE_CANDIDATE)
        fire_at(r, r->now_us + random_between(r, 0, r->opt.heartbeat_us));
}

void raft_let_others_go_first(struct raft *r)
{
    const struct raft_member *me =
        raft_config_find(raft_electorate(r), r->opt.self);
    if (me != NULL && rank_of(r, me) > 0 && r->role == RAFT_FOLLOWER &&
        !raft_hears_leader(r))
        raft_reset_election_timer(r);
}

/* ---- tallies ---------------------------------------------------------------
 */

static enum quorum_vote vote_of(const void *ctx, raft_id id)
{
    const struct raft *r = ctx;
    for (size_t i = 0; i < r->n_votes; i++) {
        if (r->votes[i].id == id)
            return r->votes[i].vote;
    }
    return QUORUM_VOTE_MISSING;
}

void raft_record_vote(struct raft *r, raft_id from, bool granted)
{
    CHECK(r->role == RAFT_PRE_CANDIDATE || r->role == RAFT_CANDIDATE);
    if (!raft_config_is_voter(raft_electorate(r), from) ||
        vote_of(r, from) != QUORUM_VOTE_MISSING)
        return;
    CHECK(r->n_votes < RAFT_MEMBERS_MAX);
    r->votes[r->n_votes++] = (struct vote_slot){
        from, granted ? QUORUM_VOTE_GRANTED : QUORUM_VOTE_DENIED};
    raft_tally(r);
}

static void become_leader(struct raft *r)
{
    CHECK(r->role == RAFT_CANDIDATE && raft_hard_state_durable(r));
    r->role = RAFT_LEADER;
    r->leader = r->opt.self;
    r->n_votes = 0;
    r->eager = r->yielded = false;
    r->hurry_until_us = 0;
    r->region_lsn = r->ack_lsn = 0;
    r->transfer_to = 0;
    r->lease_given_up = false;
    r->round_stamp = 0;
    r->notice_us = USEC_NEVER;
    r->first_lsn = trail_last_lsn(&r->trail) + 1;
    raft_excuses_forget(r);
    r->uncommitted_bytes = 0;
    for (uint64_t i = r->commit_lsn + 1; i < r->first_lsn; i++)
        r->uncommitted_bytes += trail_item(&r->trail, i)->size;
    raft_note(r, RAFT_TRACE_BECOME_LEADER, 0, r->first_lsn, 0);
    raft_sync_peers(r);

    if (r->campaign_rule.epoch > trail_config(&r->trail)->epoch) {
        /* Elected by a decision that no log holds: record it (design 3). */
        struct raft_config decided = *raft_electorate(r);
        decided.epoch = r->campaign_rule.epoch;
        decided.ack = r->campaign_rule.ack;
        decided.write_region = r->campaign_rule.region;
        CHECK(raft_config_check(&decided) == ERR_OK);
        raft_append_own(r, RAFT_ENTRY_CONFIG,
                        raft_config_encoded_size(&decided), &decided);
    } else {
        /* Thesis 6.4: entries of older terms commit with one of this term. */
        raft_append_own(r, RAFT_ENTRY_NOOP, 0, NULL);
    }
    r->heartbeat_us = r->now_us + r->opt.heartbeat_us;
    raft_reads_role_changed(r, false);
}

/* Somebody who can vote has more than we do. Let it win instead, so that a
 * forced failover loses as little as possible; once, lest nobody ever wins. */
static bool yield(struct raft *r)
{
    if (!r->saw_longer || r->yielded)
        return false;
    r->yielded = true;
    raft_note(r, RAFT_TRACE_YIELD_TO_LONGER_LOG, 0, trail_last_lsn(&r->trail),
              0);
    raft_become_follower(r, r->term, 0);
    r->election_us =
        r->now_us + r->opt.vote_grace_us +
        random_between(r, r->opt.heartbeat_us, r->opt.heartbeat_us * 2);
    return true;
}

void raft_tally(struct raft *r)
{
    /* Even with enough votes of others: the own must not be forgotten. */
    if (r->role == RAFT_CANDIDATE && !raft_hard_state_durable(r))
        return;
    enum raft_ack ack = (enum raft_ack)r->campaign_rule.ack;
    if (CANARY(MAJORITY_ONLY))
        ack = RAFT_ACK_COMMIT;
    struct raft_config c = *raft_electorate(r);
    if (CANARY(SKIP_JOINT))
        c.joint = false;
    switch (quorum_votes(&c, ack, r->campaign_rule.region, vote_of, r)) {
    case QUORUM_PENDING:
        return;
    case QUORUM_LOST:
        raft_become_follower(r, r->term, 0);
        return;
    case QUORUM_WON:
        break;
    }
    if (r->role == RAFT_CANDIDATE)
        become_leader(r);
    else if (!yield(r))
        raft_campaign(r, false);
}

bool raft_log_is_current(const struct raft *r, uint64_t last_lsn,
                         uint64_t last_term)
{
    return trail_end_reaches(last_lsn, last_term, trail_last_lsn(&r->trail),
                             trail_last_term(&r->trail));
}
