/* AppendEntries, at the receiver (paper 5.3, figure 2). */
#include "consensus/canary.h"
#include "consensus/raft_impl.h"
#include "node/base/check.h"
#include "node/base/err.h"

/* Whether the entries could come from a correct leader of this term. */
static bool entries_make_sense(const struct raft *r, const struct raft_msg *m)
{
    const struct raft_append *a = &m->append;
    uint64_t last = a->prev_term;
    if (a->n > 0 && a->entries == NULL)
        return false;
    for (uint32_t i = 0; i < a->n; i++) {
        const struct raft_entry *e = &a->entries[i];
        bool is_config = e->type == RAFT_ENTRY_CONFIG;
        if (e->term < last || e->term > m->term || e->type < RAFT_ENTRY_DATA ||
            e->type > RAFT_ENTRY_CONFIG || is_config != (e->config != NULL))
            return false;
        if (is_config && (raft_config_check(e->config) != ERR_OK ||
                          !raft_role_fits(r, e->config)))
            return false;
        if (r->opt.witness && e->type == RAFT_ENTRY_DATA && e->size > 0)
            return false; /* not for its eyes */
        last = e->term;
    }
    return (a->prev_lsn == 0) == (a->prev_term == 0) &&
           a->prev_term <= m->term && a->sent_us >= 0;
}

/* What the leader may count on being visible here: of its own log. What was
 * visible before may be about to go, after a forced decision. */
static uint64_t seen_of_leader(const struct raft *r)
{
    return r->visible_lsn < r->verified_lsn ? r->visible_lsn : r->verified_lsn;
}

static void reject(struct raft *r, const struct raft_msg *m)
{
    const struct raft_append *a = &m->append;
    /* The last entry here that may still agree: skips a whole term of
     * conflicts per round trip (paper 5.3, last paragraph). */
    uint64_t hint =
        trail_find_agreement(&r->trail, a->prev_lsn - 1, a->prev_term);
    uint64_t hint_term = 0;
    CHECK(trail_term(&r->trail, hint, &hint_term) == ERR_OK);
    struct raft_msg *reply = raft_emit(r, RAFT_MSG_APPEND_REPLY, m->from);
    reply->append_reply = (struct raft_append_reply){
        .accepted = false,
        .lsn = a->prev_lsn,
        .hint_lsn = hint,
        .hint_term = hint_term,
        .sent_us = a->sent_us,
        .own_us = r->now_us,
        .life = r->life,
        .seen_lsn = seen_of_leader(r),
    };
    reply->after_persist = !raft_hard_state_durable(r);
    raft_note(r, RAFT_TRACE_REJECT_APPEND, m->from, a->prev_lsn, hint);
}

static void accept(struct raft *r, const struct raft_msg *m)
{
    const struct raft_append *a = &m->append;
    uint64_t lsn = a->prev_lsn + a->n;
    /* A heartbeat's answer carries the lease: it must not wait for the disk,
     * so it vouches only for what is durable already. */
    if (a->n == 0 && lsn > r->persisted_lsn)
        lsn = r->persisted_lsn;
    /* What is committed here is in every later leader's log (paper 5.4.3);
     * unless that one's history began with a forced recovery, so the term goes
     * along, by which the leader can tell. */
    uint64_t sure =
        r->commit_lsn < r->persisted_lsn ? r->commit_lsn : r->persisted_lsn;
    if (lsn < sure)
        lsn = sure;
    uint64_t term = 0;
    (void)trail_term(&r->trail, lsn, &term);
    struct raft_msg *reply = raft_emit(r, RAFT_MSG_APPEND_REPLY, m->from);
    reply->append_reply =
        (struct raft_append_reply){.accepted = true,
                                   .lsn = lsn,
                                   .hint_lsn = lsn,
                                   .hint_term = term,
                                   .sent_us = a->sent_us,
                                   .own_us = r->now_us,
                                   .life = r->life,
                                   .seen_lsn = seen_of_leader(r)};
    reply->after_persist =
        lsn > r->persisted_lsn || !raft_hard_state_durable(r);
    if (CANARY(ACK_BEFORE_SYNC))
        reply->after_persist = false;
}

/* The leader's log contradicts what is committed here: only a forced recovery
 * can bring that about (or a damaged log). */
static int overruled(struct raft *r, raft_id from, uint64_t lsn)
{
    if (!r->overruled)
        raft_note(r, RAFT_TRACE_OVERRULED, from, lsn, r->commit_lsn);
    r->overruled = true;
    return ERR_PROTOCOL;
}

/* Whether an entry stands below our base and has a newer term, which no log can
 * have that holds our base: terms do not fall. */
static bool contradicts_base(const struct raft *r, uint64_t lsn, uint64_t term)
{
    return lsn < r->trail.base_lsn && term > r->trail.base_term;
}

/* Adds what is new. An existing entry with another term goes, with all that
 * follows it; one with the same term is the same entry and stays, for the
 * message may be old and the log longer by now (paper figure 2, steps 3, 4). */
static int merge(struct raft *r, const struct raft_msg *m)
{
    const struct raft_append *a = &m->append;
    uint32_t i = 0;
    for (; i < a->n; i++) {
        uint64_t lsn = a->prev_lsn + 1 + i;
        uint64_t term = 0;
        if (contradicts_base(r, lsn, a->entries[i].term))
            return overruled(r, m->from, lsn);
        if (lsn < r->trail.base_lsn)
            continue; /* committed, and part of a snapshot */
        if (trail_term(&r->trail, lsn, &term) != ERR_OK)
            break;
        if (term == a->entries[i].term)
            continue;
        if (lsn <= r->commit_lsn)
            return overruled(r, m->from, lsn);
        raft_log_truncate(r, lsn);
        break;
    }
    if (i == a->n)
        return ERR_OK;
    if (a->entries[i].term < trail_last_term(&r->trail))
        return ERR_PROTOCOL;
    raft_note(r, RAFT_TRACE_APPEND, 0, a->prev_lsn + 1 + i, a->n - i);
    for (; i < a->n; i++)
        raft_log_append(r, &a->entries[i], RAFT_PAYLOAD_EVENT, i);
    return ERR_OK;
}

int raft_recv_append(struct raft *r, const struct raft_msg *m)
{
    CHECK(m->term == r->term);
    const struct raft_append *a = &m->append;
    if (!entries_make_sense(r, m))
        return ERR_PROTOCOL;
    int rc = raft_heard_leader(r, m->from);
    if (rc != ERR_OK)
        return rc;
    if (contradicts_base(r, a->prev_lsn, a->prev_term))
        return overruled(r, m->from, a->prev_lsn);
    uint64_t term = 0;
    bool agrees = a->prev_lsn < r->trail.base_lsn ||
                  (trail_term(&r->trail, a->prev_lsn, &term) == ERR_OK &&
                   term == a->prev_term);
    if (!agrees) {
        if (a->prev_lsn <= r->commit_lsn)
            return overruled(r, m->from, a->prev_lsn);
        reject(r, m);
        return ERR_OK;
    }
    rc = merge(r, m);
    if (rc != ERR_OK)
        return rc;
    /* Only what this message vouches for: beyond it our log may still differ
     * (paper figure 2, step 5). */
    uint64_t vouched = a->prev_lsn + a->n;
    if (vouched >= r->trail.base_lsn)
        raft_commit_to(r, a->commit_lsn < vouched ? a->commit_lsn : vouched);
    raft_visible_hear(r, a);
    raft_visible_advance(r);
    accept(r, m);
    return ERR_OK;
}
