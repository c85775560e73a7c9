/* The answer to AppendEntries, at the leader (paper 5.3). */
#include "consensus/raft_impl.h"
#include "node/base/check.h"
#include "node/base/err.h"

/* A rejection of what it had acknowledged before the rejected append was even
 * sent is not old news: the end of its log is gone. */
static void note_loss(struct raft *r, struct progress *p,
                      const struct raft_append_reply *a)
{
    if (a->lsn > p->match || a->sent_us <= p->match_stamp || p->forgot)
        return;
    p->forgot = true;
    raft_note(r, RAFT_TRACE_PEER_LOST_LOG, p->id, a->lsn, p->match);
}

static void back_off(struct raft *r, struct progress *p,
                     const struct raft_append_reply *a)
{
    note_loss(r, p, a);
    /* Old news: a rejection from before the logs agreed, or of a probe that
     * has been replaced. And no cure for a log that lost its end: who forgot
     * entries may have forgotten more. */
    if (p->state == RAFT_PEER_SNAPSHOT || a->lsn <= p->match ||
        (p->state == RAFT_PEER_PROBE && a->lsn != p->next - 1))
        return;
    /* Its log ends or differs at the hint; ours may have no entry of that
     * term: go to our last entry that may agree with it. */
    uint64_t agree = trail_find_agreement(&r->trail, a->hint_lsn, a->hint_term);
    if (a->hint_lsn < r->trail.base_lsn)
        agree = a->hint_lsn; /* gone here: ends in a snapshot */
    uint64_t next = agree + 1 < a->lsn ? agree + 1 : a->lsn;
    if (next <= p->match)
        next = p->match + 1;
    progress_probe(p, next);
    raft_note(r, RAFT_TRACE_BACK_OFF, p->id, p->next, p->match);
}

static void matched(struct raft *r, struct progress *p, uint64_t lsn)
{
    if (lsn >= p->match)
        p->forgot = false;
    bool news = progress_matched(p, lsn);
    if (news)
        p->match_stamp = r->stamp;
    if (p->state == RAFT_PEER_PROBE && lsn + 1 >= p->next) {
        progress_replicate(p, r->opt.append_bytes_max);
        p->appended_sent = r->appended_bytes;
        bucket_init(&p->pace, r->opt.learner_bytes_per_s, r->now_us);
        raft_note(r, RAFT_TRACE_PEER_REPLICATE, p->id, p->next, 0);
    } else if (p->state == RAFT_PEER_SNAPSHOT &&
               p->match >= r->trail.base_lsn) {
        progress_probe(p, p->match + 1);
        raft_note(r, RAFT_TRACE_PEER_PROBE, p->id, p->next, 0);
    }
    if (news)
        raft_advance(r);
}

/* Replies may overtake each other: within one life of the sender the greatest
 * is the newest. */
static void hear(const struct raft *r, struct progress *p,
                 const struct raft_append_reply *a)
{
    p->heard_us = r->now_us;
    bool same = p->life == a->life;
    p->life = a->life;
    if (!same || a->own_us > p->own_us)
        p->own_us = a->own_us;
    if (!same || a->seen_lsn > p->seen)
        p->seen = a->seen_lsn;
}

/* Whether what a member vouches for is another history than ours: it has
 * committed what a forced recovery gave up (see raft_overruled). */
static bool contradicts(const struct raft *r, const struct raft_append_reply *a)
{
    uint64_t term;
    return a->accepted && a->hint_term != 0 && a->hint_lsn == a->lsn &&
           trail_term(&r->trail, a->lsn, &term) == ERR_OK &&
           term != a->hint_term;
}

/* Goes back to where the two histories may part, so that the member sees what
 * contradicts it. */
static void show_contradiction(struct raft *r, struct progress *p,
                               const struct raft_append_reply *a)
{
    uint64_t next =
        trail_find_agreement(&r->trail, a->hint_lsn, a->hint_term) + 1;
    if (p->state != RAFT_PEER_PROBE || next > p->next || next <= p->match)
        return;
    progress_probe(p, next);
    raft_note(r, RAFT_TRACE_BACK_OFF, p->id, p->next, p->match);
}

int raft_recv_append_reply(struct raft *r, const struct raft_msg *m)
{
    CHECK(m->term == r->term);
    const struct raft_append_reply *a = &m->append_reply;
    if (r->role != RAFT_LEADER)
        return ERR_OK;
    struct progress *p = raft_find_peer(r, m->from);
    if (p == NULL)
        return ERR_OK;
    if (a->sent_us > r->stamp || a->lsn > trail_last_lsn(&r->trail) ||
        (!a->accepted && (a->lsn == 0 || a->hint_lsn >= a->lsn)))
        return ERR_PROTOCOL;
    if (a->sent_us > p->answered_us)
        p->answered_us = a->sent_us;
    p->reachable = true;
    hear(r, p, a);
    if (contradicts(r, a))
        show_contradiction(r, p, a);
    else if (a->accepted)
        matched(r, p, a->lsn);
    else
        back_off(r, p, a);
    return ERR_OK;
}
