/* A replica that lost its log and votes, and how it becomes one again that may
 * vote like any other. Why this is safe: docs/rebuild.md.
 *
 *   ASKING -- every other voter has told --> LEARNING -- has it all --> NONE
 *
 * ASKING: it asks every other voter for its term and the end of its log, and is
 * deaf to everything else. Who votes now it may have forgotten, too: each tells
 * who votes by its log, and the furthest log told of counts. All are asked
 * twice, since they tell one after the other (end_round). It may have
 * promised not to follow a leader that is still about, so it must not even
 * acknowledge before it knows the terms. Then it adopts the highest one, M,
 * with its vote spent: it may have voted in M.
 *
 * LEARNING: it follows and acknowledges. It votes only for a candidate whose
 * log reaches the furthest end of a log that it was told of, and only if it was
 * never enough on its own to acknowledge. (Without that vote, two voters of
 * which one lost its disk might never have a leader again.) Once its own
 * durable log reaches that end it may stand itself, and lead. It is over when
 * an entry of the term it is in, at or past that end, is durable here and known
 * to be committed: only then may the shell go by what it knows to be committed.
 *
 * A replica that lost its entries alone, and knows its term, its vote and where
 * its log ended (raft_restored.kept), begins with LEARNING: what the others
 * would tell, it knows better itself.
 *
 * A leader that is asked forgets what the asker once acknowledged. */
#include <string.h>

#include "consensus/canary.h"
#include "consensus/raft_impl.h"
#include "node/base/check.h"
#include "node/base/err.h"

/* Between two questions. */
#define ASK_HEARTBEATS 2

static bool is_in(raft_id id, const raft_id *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (list[i] == id)
            return true;
    }
    return false;
}

static struct told_end *find_told(struct amnesia *a, raft_id id)
{
    for (size_t i = 0; i < a->n_told; i++) {
        if (a->told[i].id == id)
            return &a->told[i];
    }
    return NULL;
}

/* In this round. */
static bool has_told(const struct amnesia *a, raft_id id)
{
    const struct told_end *t = find_told((struct amnesia *)a, id);
    return t != NULL && t->round == a->round;
}

/* The first of a list whose answer is missing, 0 if none is. */
static raft_id missing_of(const struct raft *r, const raft_id *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (list[i] != r->opt.self && !has_told(&r->amnesia, list[i]))
            return list[i];
    }
    return 0;
}

/* By the own configuration. Where that has no other voter, nobody else was
 * needed to begin a newer one: then all must tell who might know it. */
static raft_id missing_by_config(const struct raft *r)
{
    const struct raft_config *c = trail_config(&r->trail);
    raft_id voters[RAFT_MEMBERS_MAX];
    size_t n = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        if (raft_config_is_voter(c, c->members[i].id))
            voters[n++] = c->members[i].id;
    }
    return raft_amnesia_possible(c, r->opt.self)
               ? missing_of(r, voters, n)
               : missing_of(r, r->amnesia.also, r->amnesia.n_also);
}

/* The first other voter whose answer is missing, 0 if none is. */
static raft_id missing(const struct raft *r)
{
    const struct amnesia *a = &r->amnesia;
    if (a->kept)
        return 0;
    if (a->n_need == 0)
        return missing_by_config(r);
    if (a->n_need == 1 && a->need[0] == r->opt.self)
        return missing_of(r, a->also, a->n_also);
    return missing_of(r, a->need, a->n_need);
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
    for (size_t i = 0; i < restored->n_also && !CANARY(AMNESIAC_ASKS_FOUNDERS);
         i++)
        r->amnesia.also[r->amnesia.n_also++] = restored->also[i];
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

/* Names the round, too: an answer to an older one is older than it looks. */
static uint64_t question(const struct raft *r)
{
    return r->life + r->amnesia.round;
}

static void ask_one(struct raft *r, raft_id id)
{
    struct raft_msg *m = raft_emit(r, RAFT_MSG_ASK, id);
    m->ask =
        (struct raft_ask){.life = question(r), .last_lsn = r->persisted_lsn};
}

/* Whoever has told is asked again while others are missing: it may know by then
 * that an older configuration does not count any more. */
static bool is_worth_asking(const struct amnesia *a, raft_id id)
{
    return !a->kept && (a->state == RAFT_AMNESIA_ASKING || !has_told(a, id));
}

static void ask_list(struct raft *r, const raft_id *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct raft_config *c = trail_config(&r->trail);
        if (list[i] != r->opt.self && list[i] != r->leader &&
            !raft_config_is_voter(c, list[i]))
            ask_one(r, list[i]);
    }
}

/* The leader in any case: this undoes what an acknowledgement from before the
 * loss, late on its way, makes it believe. */
static void ask(struct raft *r)
{
    const struct raft_config *c = trail_config(&r->trail);
    const struct amnesia *a = &r->amnesia;
    for (uint32_t i = 0; i < c->n; i++) {
        raft_id id = c->members[i].id;
        if (id != r->opt.self && id != r->leader &&
            raft_config_is_voter(c, id) && is_worth_asking(a, id))
            ask_one(r, id);
    }
    if (a->state == RAFT_AMNESIA_ASKING) {
        ask_list(r, a->also, a->n_also);
        for (size_t i = 0; i < a->n_need; i++)
            if (!is_in(a->need[i], a->also, a->n_also))
                ask_list(r, &a->need[i], 1);
    }
    if (r->leader != 0 && r->leader != r->opt.self)
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
    if (raft_config_is_voter(c, id) && !raft_amnesia_possible(c, id))
        return true; /* nobody else votes */
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

static void add_voters(const struct raft_config *c, struct raft_tell *tell,
                       bool *fits)
{
    for (uint32_t i = 0; i < c->n; i++) {
        raft_id id = c->members[i].id;
        if (!raft_config_is_voter(c, id) ||
            is_in(id, tell->voters, tell->n_voters))
            continue;
        *fits &= tell->n_voters < RAFT_TELL_VOTERS_MAX;
        if (*fits)
            tell->voters[tell->n_voters++] = id;
    }
}

/* An older configuration than the newest committed one elects nobody any more;
 * the newest one may still be taken back. */
static void tell_voters(const struct raft *r, struct raft_tell *tell)
{
    bool fits = true;
    uint64_t lsn = r->commit_lsn;
    add_voters(trail_config_at(&r->trail, lsn), tell, &fits);
    while ((lsn = trail_next_config(&r->trail, lsn)) != 0)
        add_voters(trail_config_at(&r->trail, lsn), tell, &fits);
    if (!fits)
        tell->n_voters = 0;
}

int raft_recv_ask(struct raft *r, const struct raft_msg *m)
{
    struct raft_msg *reply = raft_emit(r, RAFT_MSG_TELL, m->from);
    reply->tell = (struct raft_tell){.life = m->ask.life,
                                     .last_lsn = trail_last_lsn(&r->trail),
                                     .last_term = trail_last_term(&r->trail),
                                     .sole = may_be_sole(r, m->from)};
    tell_voters(r, &reply->tell);
    /* What is told of must not be gone after a crash: nobody could reach it. */
    reply->after_persist = r->persisted_lsn < trail_last_lsn(&r->trail);
    if (r->role == RAFT_LEADER)
        forget_progress(r, m);
    return ERR_OK;
}

/* ---- being told ------------------------------------------------------------
 */

/* Whether it votes by the log that counts. */
static bool is_needed(const struct raft *r, raft_id id)
{
    const struct amnesia *a = &r->amnesia;
    return a->n_need > 0 ? is_in(id, a->need, a->n_need)
                         : raft_config_is_voter(trail_config(&r->trail), id);
}

/* Whose log ends there knows best who was enough on its own. */
static bool is_furthest(const struct amnesia *a, const struct told_end *t)
{
    return t->last_lsn == a->need_lsn && t->last_term == a->need_term;
}

/* A learner's log may be further than every voter's, and would keep everybody
 * from being elected. So may that of one who is to become a voter and has not
 * heard of it: it cannot stand, and by no configuration that it has was it
 * counted (docs/rebuild.md). */
static void find_end(struct raft *r)
{
    struct amnesia *a = &r->amnesia;
    for (size_t i = 0; i < a->n_told; i++) {
        const struct told_end *t = &a->told[i];
        bool needed = is_needed(r, t->id);
        a->sole |= t->sole && (needed || is_furthest(a, t));
        if (needed && t->votes &&
            trail_end_reaches(t->last_lsn, t->last_term, a->last_lsn,
                              a->last_term)) {
            a->last_lsn = t->last_lsn;
            a->last_term = t->last_term;
        }
    }
}

/* All terms in which this node may have voted for somebody who can still use
 * the vote are at most M: that somebody has the term on disk, and told. */
static void adopt_term(struct raft *r)
{
    struct amnesia *a = &r->amnesia;
    find_end(r);
    raft_note(r, RAFT_TRACE_AMNESIA_TOLD, 0, a->last_lsn, a->term);
    a->state = RAFT_AMNESIA_LEARNING;
    if (a->term > r->term)
        raft_become_follower(r, a->term, 0);
    if (a->term == r->term && a->term > 0 && r->vote == 0)
        raft_set_hard_state(r, a->term, r->opt.self); /* spent */
}

/* Whether anybody was to ask it. */
static bool was_asked(const struct raft *r, raft_id id)
{
    const struct amnesia *a = &r->amnesia;
    return raft_config_is_voter(trail_config(&r->trail), id) ||
           is_in(id, a->also, a->n_also) || is_in(id, a->need, a->n_need);
}

/* Of two logs the further one has every configuration that was committed when
 * the other ended. Where its owner does not tell, the own one has to do. */
static void learn_need(struct amnesia *a, const struct raft_tell *t)
{
    a->need_lsn = t->last_lsn;
    a->need_term = t->last_term;
    memcpy(a->need, t->voters, t->n_voters * sizeof(a->need[0]));
    a->n_need = CANARY(AMNESIAC_ASKS_FOUNDERS) ? 0 : t->n_voters;
}

static void note_end(struct amnesia *a, raft_id id, const struct raft_tell *t)
{
    struct told_end *e = find_told(a, id);
    if (e == NULL) {
        e = &a->told[a->n_told++];
        *e = (struct told_end){.id = id};
        a->fresh = true;
    }
    e->round = a->round;
    e->sole |= t->sole;
    e->votes |= t->n_voters == 0 || is_in(id, t->voters, t->n_voters);
    if (trail_end_reaches(t->last_lsn, t->last_term, e->last_lsn,
                          e->last_term)) {
        e->last_lsn = t->last_lsn;
        e->last_term = t->last_term;
    }
}

/* Who told before another leader counted what this node had acknowledged may
 * have got that since; and that leader, if it told after a crash, may have lost
 * it. So all must tell once more after everybody has told once: whoever leads
 * no more when it tells first has nobody's acknowledgement but from before the
 * last round, and who still leads has what it counts. */
static void end_round(struct raft *r)
{
    struct amnesia *a = &r->amnesia;
    if (a->fresh) {
        a->fresh = false;
        a->round++;
        raft_amnesia_ask_soon(r);
    } else {
        adopt_term(r);
    }
}

int raft_recv_tell(struct raft *r, const struct raft_msg *m)
{
    struct amnesia *a = &r->amnesia;
    const struct raft_tell *t = &m->tell;
    bool again = has_told(a, m->from);
    if (a->state == RAFT_AMNESIA_NONE || a->kept || t->life != question(r) ||
        (a->state == RAFT_AMNESIA_LEARNING && (again || missing(r) == 0)))
        return ERR_OK;
    if (t->last_term > m->term || t->n_voters > RAFT_TELL_VOTERS_MAX ||
        is_in(0, t->voters, t->n_voters))
        return ERR_PROTOCOL;
    bool has_room =
        a->n_told < ARRAY_LEN(a->told) || find_told(a, m->from) != NULL;
    if (!has_room || !was_asked(r, m->from))
        return ERR_OK;
    note_end(a, m->from, t);
    if (m->term > a->term)
        a->term = m->term;
    if (trail_end_reaches(t->last_lsn, t->last_term, a->need_lsn, a->need_term))
        learn_need(a, t);
    if (missing(r) == 0)
        end_round(r);
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
    CHECK(r->role == RAFT_FOLLOWER ||
          r->amnesia.state == RAFT_AMNESIA_LEARNING || CANARY(AMNESIAC_VOTES));
    if (r->amnesia.state == RAFT_AMNESIA_LEARNING &&
        (missing(r) == 0 || CANARY(AMNESIAC_ACKS)) &&
        (has_it_all(r) ||
         (CANARY(AMNESIA_ENDS_BY_STANDING) && r->role != RAFT_FOLLOWER))) {
        raft_note(r, RAFT_TRACE_AMNESIA_OVER, 0, raft_durable_lsn(r), 0);
        r->amnesia.state = RAFT_AMNESIA_NONE;
        return;
    }
    if (r->now_us >= r->amnesia.ask_us)
        ask(r);
}

/* Its own vote is as good as the one it may give another whose log reaches G
 * (may_vote_for). Were it not to stand, two voters would be stuck of which the
 * one that forgot has the longer log again, and no leader to cure it. It is not
 * over by that: nothing of what it has need be known here to be committed. */
bool raft_amnesia_may_stand(const struct raft *r)
{
    const struct amnesia *a = &r->amnesia;
    uint64_t term, lsn = r->persisted_lsn;
    if (a->state != RAFT_AMNESIA_LEARNING || missing(r) != 0 || a->sole ||
        trail_term(&r->trail, lsn, &term) != ERR_OK ||
        !raft_hard_state_durable(r))
        return false;
    return trail_end_reaches(lsn, term, a->last_lsn, a->last_term) ||
           CANARY(AMNESIA_ENDS_EARLY);
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
