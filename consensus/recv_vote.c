/* RequestVote and its pre-vote form, at the voter (paper 5.2, 5.4.1; thesis
 * 4.2.3 for stickiness, 9.6 for pre-vote). */
#include "consensus/canary.h"
#include "consensus/raft_impl.h"
#include "node/base/check.h"
#include "node/base/err.h"

static void answer(struct raft *r, const struct raft_msg *m, bool granted)
{
    struct raft_msg *reply = raft_emit(r, RAFT_MSG_VOTE_REPLY, m->from);
    reply->vote_reply = (struct raft_vote_reply){
        .pre = m->vote.pre,
        .granted = granted,
        .last_lsn = trail_last_lsn(&r->trail),
        .last_term = trail_last_term(&r->trail),
    };
    /* A pre-vote is granted for the term asked about; a denial tells ours. */
    if (granted)
        reply->term = m->term;
    reply->after_persist = granted && !m->vote.pre;
}

/* The reason to say no, or RAFT_TRACE_GRANT. */
static enum raft_trace_type judge(const struct raft *r,
                                  const struct raft_msg *m)
{
    const struct raft_vote *v = &m->vote;
    if (m->term < r->term || (v->pre && m->term == r->term))
        return RAFT_TRACE_DENY_STALE_TERM;
    /* Design 3: who knows a newer decision refuses candidates of an older. */
    if (RAFT_TERM_EPOCH(m->term) < r->decided.epoch)
        return RAFT_TRACE_DENY_EPOCH;
    if (!v->pre && ((r->vote != 0 && r->vote != m->from) || r->leader != 0))
        return RAFT_TRACE_DENY_VOTED;
    if (!raft_log_is_current(r, v->last_lsn, v->last_term) &&
        !CANARY(VOTE_ANY_LOG))
        return RAFT_TRACE_DENY_OLD_LOG;
    return RAFT_TRACE_GRANT;
}

static bool is_longer(const struct raft *r, const struct raft_vote *v)
{
    return v->last_term > trail_last_term(&r->trail) ||
           v->last_lsn > trail_last_lsn(&r->trail);
}

int raft_recv_vote(struct raft *r, const struct raft_msg *m)
{
    const struct raft_vote *v = &m->vote;
    if (RAFT_TERM_EPOCH(m->term) > r->heard_epoch)
        r->heard_epoch = RAFT_TERM_EPOCH(m->term);
    if (m->term > r->term && !v->transfer && raft_hears_leader(r)) {
        raft_note(r, RAFT_TRACE_IGNORE_VOTE_HEARS_LEADER, m->from, v->last_lsn,
                  v->pre);
        return ERR_OK;
    }
    if (m->term > r->term && !v->pre) {
        raft_note(r, RAFT_TRACE_NEW_TERM, m->from, 0, m->term);
        raft_become_follower(r, m->term, 0);
    }
    enum raft_trace_type verdict = judge(r, m);
    raft_note(r, verdict, m->from, v->last_lsn, v->pre);
    bool granted = verdict == RAFT_TRACE_GRANT;
    if (granted && !v->pre) {
        CHECK(m->term == r->term);
        if (r->role == RAFT_PRE_CANDIDATE)
            raft_become_follower(r, r->term, 0); /* let it try first */
        CHECK(r->role == RAFT_FOLLOWER);
        if (r->vote == 0 && !CANARY(FORGET_VOTE))
            raft_set_hard_state(r, r->term, m->from);
        r->vote = m->from;
        raft_reset_election_timer(r);
    }
    if (granted && v->pre)
        raft_hold_back(r, m->from, is_longer(r, v));
    else if (v->pre && verdict == RAFT_TRACE_DENY_OLD_LOG)
        raft_stand_soon(r);
    answer(r, m, granted);
    return ERR_OK;
}
