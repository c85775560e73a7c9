/* The answer to RequestVote or to its pre-vote form, at the candidate. */
#include "consensus/raft_impl.h"
#include "node/base/check.h"
#include "node/base/err.h"

static bool longer_than_ours(const struct raft *r,
                             const struct raft_vote_reply *v)
{
    uint64_t term = trail_last_term(&r->trail);
    return v->last_term > term ||
           (v->last_term == term && v->last_lsn > trail_last_lsn(&r->trail));
}

int raft_recv_vote_reply(struct raft *r, const struct raft_msg *m)
{
    const struct raft_vote_reply *v = &m->vote_reply;
    if (!v->granted && m->term > r->term) {
        raft_note(r, RAFT_TRACE_NEW_TERM, m->from, 0, m->term);
        raft_become_follower(r, m->term, 0);
        return ERR_OK;
    }
    bool expected =
        v->pre ? r->role == RAFT_PRE_CANDIDATE : r->role == RAFT_CANDIDATE;
    if (!expected || (v->granted && m->term != r->aim_term))
        return ERR_OK;
    /* A witness is nobody to let go first. */
    if (v->pre && longer_than_ours(r, v) &&
        !raft_config_is_witness(raft_electorate(r), m->from))
        r->saw_longer = true;
    raft_record_vote(r, m->from, v->granted);
    return ERR_OK;
}
