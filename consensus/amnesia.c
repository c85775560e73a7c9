/* A replica that lost its log and votes, and how it becomes one again that may
 * vote like any other. Why this is safe: docs/rebuild.md.
 *
 *   ASKING -- every other voter has told --> LEARNING -- has it all --> NONE
 *
 * ASKING: it asks every other voter for its term and the end of its log, and is
 * deaf to everything else. It may have promised not to follow a leader that is
 * still about, so it must not even acknowledge before it knows the terms. Then
 * it adopts the highest one, M, with its vote spent: it may have voted in M.
 *
 * LEARNING: it follows and acknowledges. It votes only for a candidate whose
 * log reaches the furthest end of a log that it was told of, and only if it was
 * never enough on its own to acknowledge. (Without that vote, two voters of
 * which one lost its disk might never have a leader again.) It is over when an
 * entry of the term it is in, at or past that end, is durable here and known to
 * be committed.
 *
 * A replica that lost its entries alone, and knows its term, its vote and where
 * its log ended (raft_restored.kept), begins with LEARNING: what the others
 * would tell, it knows better itself.
 *
 * A leader that is asked forgets what the asker once acknowledged. */
#include "consensus/canary.h"
#include "consensus/raft_impl.h"
#include "node/base/check.h"
#include "node/base/err.h"

/* Between two questions. */
#define ASK_HEARTBEATS 2

static bool has_told(const struct amnesia *a, raft_id id)
{
    for (size_t i = 0; i < a->n_told; i++) {
        if (a->told[i] == id)
            return true;
    }
    return false;
}

/* The first other voter whose answer is missing, 0 if none is. */
static raft_id missing(const struct raft *r)
{
    const struct raft_config *c = trail_config(&r->trail);
    if (r->amnesia.kept)
        return 0;
    for (uint32_t i = 0; i < c->n; i++) {
        raft_id id = c->members[i].id;
        if (id != r->opt.self && raft_config_is_voter(c, id) &&
            !has_told(&r->amnesia, id))
            return id;
    }
    return 0;
}

bool raft_amnesia_possible(const struct raft_config *c, raft_id self)
{
    for (uint32_t i = 0; i < c->n; i++) {
        if (c->members[i].id != self &&
            raft_config_is_voter(c, c->members[i].id))
            return true;
    }
    return false;
}

void raft_amnesia_begin(struct raft *r, const struct raft_restored *restored)
{
    r->amnesia =
        (struct amnesia){.state = RAFT_AMNESIA_ASKING, .ask_us = r->now_us};
    if (restored->kept) {
        r->amnesia.state = RAFT_AMNESIA_LEARNING;
        r->amnesia.kept = true;
        r->amnesia.term = r->term;
        r->amnesia.last_lsn =
            CANARY(KEPT_END_FORGOTTEN) ? 0 : restored->kept_lsn;
        r->amnesia.last_term =
            CANARY(KEPT_END_FORGOTTEN) ? 0 : restored->kept_term;
    }
    if (CANARY(AMNESIAC_ACKS))
        r->amnesia.state = RAFT_AMNESIA_LEARNING;
}

/* Whether a candidate surely has everything that may count as acknowledged by
 * this node. What only this node had, no vote brings back: if it may have
 * acknowledged alone, losing that must be decided (docs/operations.md). */
static bool may_vote_for(const struct raft *r, const struct raft_vote *v)
{
    const struct amnesia *a = &r->amnesia;
    bool reaches =
        trail_end_reaches(v->last_lsn, v->last_term, a->last_lsn, a->last_term);
    return missing(r) == 0 && !a->sole &&
           (reaches || CANARY(AMNESIAC_VOTES_BEHIND));
}

bool raft_amnesia_bars(struct raft *r, const struct raft_msg *m)
{
    bool bars = false;
    if (r->amnesia.state == RAFT_AMNESIA_ASKING)
        bars = m->type != RAFT_MSG_TELL;
    else if (r->amnesia.state == RAFT_AMNESIA_LEARNING)
        bars = m->type == RAFT_MSG_VOTE && !may_vote_for(r, &m->vote);
    if (CANARY(AMNESIAC_VOTES) && m->type == RAFT_MSG_VOTE)
        bars = false;
    if (bars)
        raft_note(r, RAFT_TRACE_IGNORE_AMNESIAC, m->from, 0, m->type);
    return bars;
}

/* ---- asking ----------------------------------------------------------------
 */

static void ask_one(struct raft *r, raft_id id)
{
    struct raft_msg *m = raft_emit(r, RAFT_MSG_ASK, id);
    m->ask = (struct raft_ask){.life = r->life, .last_lsn = r->persisted_lsn};
}

/* Whoever has told is not asked again, but the leader is: this undoes what an
 * acknowledgement from before the loss, late on its way, makes it believe. */
static void ask(struct raft *r)
{
    const struct raft_config *c = trail_config(&r->trail);
    const struct amnesia *a = &r->amnesia;
    for (uint32_t i = 0; i < c->n; i++) {
        raft_id id = c->members[i].id;
        if (id != r->opt.self && id != r->leader && !a->kept &&
            raft_config_is_voter(c, id) && !has_told(a, id))
            ask_one(r, id);
    }
    if (r->leader != 0)
        ask_one(r, r->leader);
    r->amnesia.ask_us = r->now_us + ASK_HEARTBEATS * r->opt.heartbeat_us;
}

void raft_amnesia_ask_soon(struct raft *r)
{
    r->amnesia.ask_us = r->now_us;
}

/* An amnesiac asks its leader as long as it is one. Who was not heard for that
 * long, apart from questions, may still be. */
#define ASKS_LOST_MAX 5

bool raft_amnesia_of_peer(const struct raft *r, const struct progress *p)
{
    return p->asked_us != 0 &&
           p->heard_us <= p->asked_us + ASKS_LOST_MAX * ASK_HEARTBEATS *
                                            r->opt.heartbeat_us;
}

/* What was acknowledged and lost must not be counted again, and must be sent
 * again. */
static void forget_progress(struct raft *r, const struct raft_msg *m)
{
    struct progress *p = raft_find_peer(r, m->from);
    if (p != NULL)
        p->asked_us = r->now_us;
    if (p == NULL || m->ask.last_lsn >= p->match)
        return;
    p->match = 0;
    p->forgot = false;
    if (p->state == RAFT_PEER_SNAPSHOT)
        p->next = 1;
    else
        progress_probe(p, m->ask.last_lsn + 1);
    raft_note(r, RAFT_TRACE_PEER_FORGOT, p->id, p->next, 0);
}

/* Whether by this rule `id` alone is enough to acknowledge. */
static bool is_sole(const struct raft_config *c, uint8_t ack,
                    raft_region write_region, raft_id id)
{
    const struct raft_member *m = raft_config_find(c, id);
    if (ack != RAFT_ACK_REGION || m == NULL || m->region != write_region ||
        m->witness)
        return false;
    for (uint32_t i = 0; i < c->n; i++)
        if (c->members[i].id != id && c->members[i].region == write_region &&
            raft_config_may_lead(c, c->members[i].id))
            return false;
    return true;
}

/* By any rule that may be in force: of the log, or decided for it. */
static bool may_be_sole(const struct raft *r, raft_id id)
{
    const struct raft_config *newest = trail_config(&r->trail);
    const struct raft_config *committed = raft_config_committed(r);
    return is_sole(newest, newest->ack, newest->write_region, id) ||
           is_sole(committed, committed->ack, committed->write_region, id) ||
           is_sole(newest, r->decided.ack, r->decided.region, id);
}

int raft_recv_ask(struct raft *r, const struct raft_msg *m)
{
    struct raft_msg *reply = raft_emit(r, RAFT_MSG_TELL, m->from);
    reply->tell = (struct raft_tell){.life = m->ask.life,
                                     .last_lsn = trail_last_lsn(&r->trail),
                                     .last_term = trail_last_term(&r->trail),
                                     .sole = may_be_sole(r, m->from)};
    if (r->role == RAFT_LEADER)
        forget_progress(r, m);
    return ERR_OK;
}

/* ---- being told ------------------------------------------------------------
 */

/* All terms in which this node may have voted for somebody who can still use
 * the vote are at most M: that somebody has the term on disk, and told. */
static void adopt_term(struct raft *r)
{
    struct amnesia *a = &r->amnesia;
    raft_note(r, RAFT_TRACE_AMNESIA_TOLD, 0, a->last_lsn, a->term);
    a->state = RAFT_AMNESIA_LEARNING;
    if (a->term > r->term)
        raft_become_follower(r, a->term, 0);
    if (a->term == r->term && a->term > 0 && r->vote == 0)
        raft_set_hard_state(r, a->term, r->opt.self); /* spent */
}

int raft_recv_tell(struct raft *r, const struct raft_msg *m)
{
    struct amnesia *a = &r->amnesia;
    if (a->state == RAFT_AMNESIA_NONE || a->kept || m->tell.life != r->life ||
        has_told(a, m->from))
        return ERR_OK;
    if (m->tell.last_term > m->term)
        return ERR_PROTOCOL;
    if (a->n_told == RAFT_MEMBERS_MAX ||
        !raft_config_is_voter(trail_config(&r->trail), m->from))
        return ERR_OK;
    a->told[a->n_told++] = m->from;
    a->sole |= m->tell.sole;
    if (m->term > a->term)
        a->term = m->term;
    if (trail_end_reaches(m->tell.last_lsn, m->tell.last_term, a->last_lsn,
                          a->last_term)) {
        a->last_term = m->tell.last_term;
        a->last_lsn = m->tell.last_lsn;
    }
    if (missing(r) == 0)
        adopt_term(r);
    return ERR_OK;
}

/* ---- the end ---------------------------------------------------------------
 */

static bool has_it_all(const struct raft *r)
{
    const struct amnesia *a = &r->amnesia;
    uint64_t lsn = raft_durable_lsn(r);
    uint64_t term = 0;
    if (trail_term(&r->trail, lsn, &term) != ERR_OK)
        return false; /* a snapshot took the log's place, not yet on disk */
    /* Within the same term of the same leader, the log at the time of the
     * answer is what this node may have acknowledged. */
    bool far_enough = term > a->last_term || lsn >= a->last_lsn;
    return term == r->term && term >= a->term && term > 0 &&
           (far_enough || CANARY(AMNESIA_ENDS_EARLY)) &&
           raft_hard_state_durable(r);
}

void raft_amnesia_progress(struct raft *r)
{
    if (r->amnesia.state == RAFT_AMNESIA_NONE)
        return;
    CHECK(r->role == RAFT_FOLLOWER || CANARY(AMNESIAC_VOTES));
    if (r->amnesia.state == RAFT_AMNESIA_LEARNING &&
        (missing(r) == 0 || CANARY(AMNESIAC_ACKS)) && has_it_all(r)) {
        raft_note(r, RAFT_TRACE_AMNESIA_OVER, 0, raft_durable_lsn(r), 0);
        r->amnesia.state = RAFT_AMNESIA_NONE;
        return;
    }
    if (r->now_us >= r->amnesia.ask_us)
        ask(r);
}

usec_t raft_amnesia_deadline(const struct raft *r)
{
    return r->amnesia.state == RAFT_AMNESIA_NONE ? USEC_NEVER
                                                 : r->amnesia.ask_us;
}

/* ---- questions -------------------------------------------------------------
 */

enum raft_amnesia raft_amnesiac(const struct raft *r)
{
    return r->amnesia.state;
}

raft_id raft_amnesia_waits_for(const struct raft *r)
{
    return r->amnesia.state == RAFT_AMNESIA_NONE ? 0 : missing(r);
}
