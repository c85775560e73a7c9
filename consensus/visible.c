/* What reads of the weaker levels may see, and how fresh it is. Why this is
 * sound: docs/quorum.md.
 *
 *   visible_lsn   what is acknowledged, as far as this log is known to be that
 *                 of the leader who said so
 *   fresh_us      what was acknowledged before then (own clock) is visible
 *
 * A follower learns both from appends: `ack_lsn`, and with it `echo_us`, a time
 * of its own clock that the leader had heard of before it made the append. Such
 * a pair waits until its LSN is visible here. */
#include <string.h>

#include "consensus/canary.h"
#include "consensus/raft_impl.h"
#include "node/base/check.h"
#include "node/base/err.h"

static void drop_pair(struct raft *r, size_t i)
{
    CHECK(i < r->n_fresh);
    r->n_fresh--;
    memmove(&r->fresh[i], &r->fresh[i + 1],
            (r->n_fresh - i) * sizeof(r->fresh[0]));
}

/* Full: every other one goes. A reader then sees itself as less fresh than it
 * is, for a while. */
static void thin_out(struct raft *r)
{
    for (size_t i = 1; i < r->n_fresh; i++)
        drop_pair(r, i);
}

static void add_pair(struct raft *r, uint64_t lsn, usec_t us)
{
    if (us <= r->fresh_us)
        return;
    for (size_t i = 0; i < r->n_fresh; i++) {
        if (r->fresh[i].lsn <= lsn && r->fresh[i].us >= us)
            return; /* a repeated or overtaken message: says less */
    }
    if (r->n_fresh > 0 && r->fresh[r->n_fresh - 1].lsn == lsn) {
        r->fresh[r->n_fresh - 1].us = us;
        return;
    }
    if (r->n_fresh == FRESH_PAIRS_MAX)
        thin_out(r);
    r->fresh[r->n_fresh++] = (struct fresh_pair){lsn, us};
}

/* What is visible is not enough: a forced recovery may have given up the
 * history that it was committed in (raft_overruled). */
static void settle_pairs(struct raft *r)
{
    for (size_t i = 0; i < r->n_fresh;) {
        if (r->fresh[i].lsn > r->visible_lsn ||
            r->fresh[i].lsn > r->verified_lsn) {
            i++;
            continue;
        }
        if (r->fresh[i].us > r->fresh_us)
            r->fresh_us = r->fresh[i].us;
        drop_pair(r, i);
    }
}

void raft_visible_hear(struct raft *r, const struct raft_append *a)
{
    uint64_t vouched = a->prev_lsn + a->n;
    /* Below the base nothing was compared. */
    if (vouched >= r->trail.base_lsn && vouched > r->verified_lsn)
        r->verified_lsn = vouched;
    if (a->ack_lsn > r->announced_lsn)
        r->announced_lsn = a->ack_lsn;
    /* Of another life of this node: its clock may have had another origin. */
    if (a->ack_lsn > 0 && a->echo_us > 0 && a->echo_life == r->life &&
        a->echo_us <= r->now_us)
        add_pair(r, a->ack_lsn, a->echo_us);
}

/* Whether all that anybody has acknowledged is visible to this leader. */
static bool sees_all(const struct raft *r, usec_t now_us)
{
    return r->visible_lsn >= r->first_lsn && raft_may_read(r, now_us);
}

void raft_visible_advance(struct raft *r)
{
    uint64_t lsn =
        r->announced_lsn < r->verified_lsn || CANARY(VISIBLE_UNVERIFIED)
            ? r->announced_lsn
            : r->verified_lsn;
    if (r->role == RAFT_LEADER)
        lsn = r->ack_lsn;
    if (lsn < r->commit_lsn)
        lsn = r->commit_lsn;
    /* Below the base everything is committed. */
    if (lsn > trail_last_lsn(&r->trail))
        lsn = trail_last_lsn(&r->trail);
    if (lsn > r->visible_lsn) {
        r->visible_lsn = lsn;
        if (lsn > r->commit_lsn)
            raft_note(r, RAFT_TRACE_VISIBLE, 0, lsn, 0);
    }
    settle_pairs(r);
    if (r->role == RAFT_LEADER && sees_all(r, r->now_us))
        r->fresh_us = r->now_us;
}

void raft_visible_new_term(struct raft *r)
{
    r->verified_lsn = r->announced_lsn = 0;
    r->n_fresh = 0;
}

void raft_visible_cut(struct raft *r, uint64_t lsn)
{
    if (r->verified_lsn > lsn)
        r->verified_lsn = lsn;
    if (r->visible_lsn <= lsn)
        return;
    r->visible_lsn = lsn;
    r->n_fresh = 0;
    r->fresh_us = 0;
}

uint64_t raft_visible_lsn(const struct raft *r)
{
    return r->visible_lsn;
}

uint64_t raft_known_lsn(const struct raft *r)
{
    return r->role != RAFT_LEADER && r->announced_lsn > r->visible_lsn
               ? r->announced_lsn
               : r->visible_lsn;
}

usec_t raft_fresh_since(const struct raft *r, usec_t now_us)
{
    CHECK(now_us >= r->now_us);
    if (r->role == RAFT_LEADER && sees_all(r, now_us))
        return now_us;
    return r->fresh_us;
}
