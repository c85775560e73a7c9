/* Linearizable reads (thesis 6.4).
 *
 * A leader serves at once under its lease; without one, a read waits until a
 * majority has answered an append that was sent after the read arrived. No
 * read contexts travel: appends carry the leader's clock, answers return it,
 * and a read compares it with the time stamp it got on arrival.
 *
 * A follower asks the leader. Requests carry a number; one answer settles all
 * reads up to it, and reads that arrive while READ_ROUNDS_MAX requests are
 * under way share the next.
 */
#include <string.h>

#include "consensus/canary.h"
#include "consensus/raft_impl.h"
#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"

static struct waiting_read *front(struct raft *r)
{
    CHECK(r->n_reads > 0);
    return &r->reads[r->reads_head];
}

static void pop(struct raft *r)
{
    CHECK(r->n_reads > 0);
    r->reads_head++;
    if (--r->n_reads == 0)
        r->reads_head = 0;
}

static void push(struct raft *r, const struct waiting_read *w)
{
    CHECK(r->n_reads < RAFT_READS_MAX);
    if (r->reads_head + r->n_reads == r->cap_reads) {
        if (r->reads_head > 0) {
            memmove(r->reads, front(r), r->n_reads * sizeof(*r->reads));
            r->reads_head = 0;
        } else {
            r->cap_reads = r->cap_reads ? r->cap_reads * 2 : 16;
            r->reads = mem_realloc(r->reads, r->cap_reads * sizeof(*r->reads));
        }
    }
    r->reads[r->reads_head + r->n_reads++] = *w;
}

/* A time stamp that no append sent so far carries. */
static int64_t fresh_stamp(struct raft *r)
{
    if (r->stamp_used) {
        r->stamp++;
        r->stamp_used = false;
    }
    return r->stamp;
}

static bool lease_serves(const struct raft *r)
{
    return raft_may_read(r, r->now_us);
}

int raft_read(struct raft *r, const struct raft_event *ev)
{
    if (r->leader == 0)
        return ERR_NO_LEADER;
    if (r->n_reads == RAFT_READS_MAX)
        return ERR_FULL;
    struct waiting_read w = {
        .id = ev->read.id,
        .seq = ++r->read_seq,
        .deadline_us = r->now_us + r->opt.read_timeout_us,
    };
    if (r->role == RAFT_LEADER)
        w.stamp = fresh_stamp(r);
    push(r, &w);
    return ERR_OK;
}

int raft_recv_read_index(struct raft *r, const struct raft_msg *m)
{
    if (r->role != RAFT_LEADER)
        return ERR_OK;
    /* A full queue answers by silence; the asker repeats or gives up. */
    if (r->n_reads == RAFT_READS_MAX)
        return ERR_OK;
    struct waiting_read w = {
        .from = m->from,
        .life = m->read_index.life,
        .seq = m->read_index.seq,
        .stamp = fresh_stamp(r),
        .deadline_us = r->now_us + r->opt.read_timeout_us,
    };
    push(r, &w);
    return ERR_OK;
}

int raft_recv_read_index_reply(struct raft *r, const struct raft_msg *m)
{
    const struct raft_read_index_reply *reply = &m->read_index_reply;
    if (r->role == RAFT_LEADER || m->from != r->leader ||
        reply->life != r->life)
        return ERR_OK;
    if (reply->seq > r->read_seq)
        return ERR_PROTOCOL;
    while (r->n_reads > 0 && front(r)->seq <= reply->seq) {
        raft_report_read(r, front(r)->id, ERR_OK, reply->lsn);
        raft_note(r, RAFT_TRACE_READ_REMOTE, m->from, reply->lsn, reply->seq);
        pop(r);
    }
    if (r->read_rounds > 0)
        r->read_rounds--;
    if (reply->seq >= r->read_sent_seq)
        r->read_rounds = 0;
    return ERR_OK;
}

/* ---- leader ----------------------------------------------------------------
 */

static void serve(struct raft *r, const struct waiting_read *w, bool by_lease)
{
    /* Acknowledged writes may lie above commit_lsn under RAFT_ACK_REGION. */
    uint64_t lsn = r->ack_lsn > r->commit_lsn ? r->ack_lsn : r->commit_lsn;
    raft_note(r, by_lease ? RAFT_TRACE_READ_LEASE : RAFT_TRACE_READ_QUORUM,
              w->from, lsn, w->from == 0 ? w->id : w->seq);
    if (w->from == 0) {
        raft_report_read(r, w->id, ERR_OK, lsn);
        return;
    }
    struct raft_msg *m = raft_emit(r, RAFT_MSG_READ_INDEX_REPLY, w->from);
    m->read_index_reply = (struct raft_read_index_reply){w->life, w->seq, lsn};
}

static void leader_progress(struct raft *r)
{
    /* Until an entry of its term is committed, a leader does not know how far
     * its predecessors had committed (thesis 6.4, step 1). */
    if (r->commit_lsn < r->first_lsn && !CANARY(READ_AT_ONCE))
        return;
    bool lease = lease_serves(r) || CANARY(READ_AT_ONCE);
    /* The stamp may run ahead of the clock by the reads of one microsecond;
     * our own answer is never what is missing. */
    int64_t since = raft_followed_since(r, r->stamp);
    while (r->n_reads > 0 && (lease || front(r)->stamp <= since)) {
        struct waiting_read w = *front(r);
        pop(r);
        serve(r, &w, lease);
    }
    /* Start a round for what is left, unless one is under way; that one, or
     * the next heartbeat if it is lost, comes back here. */
    if (r->n_reads > 0 && since >= r->round_stamp)
        raft_heartbeat(r);
}

/* ---- follower --------------------------------------------------------------
 */

void raft_reads_resend(struct raft *r)
{
    r->read_sent_seq = 0;
    r->read_rounds = 0;
}

static void follower_progress(struct raft *r)
{
    if (r->now_us >= r->read_resend_us)
        raft_reads_resend(r);
    uint64_t newest = r->reads[r->reads_head + r->n_reads - 1].seq;
    if (newest <= r->read_sent_seq || r->read_rounds >= READ_ROUNDS_MAX)
        return;
    struct raft_msg *m = raft_emit(r, RAFT_MSG_READ_INDEX, r->leader);
    m->read_index = (struct raft_read_index){r->life, newest};
    r->read_sent_seq = newest;
    r->read_rounds++;
    r->read_resend_us = r->now_us + r->opt.heartbeat_us * 2;
}

/* ---- both ------------------------------------------------------------------
 */

static void expire(struct raft *r)
{
    while (r->n_reads > 0 && r->now_us >= front(r)->deadline_us) {
        if (front(r)->from == 0)
            raft_report_read(r, front(r)->id, ERR_TIMEOUT, 0);
        pop(r);
    }
}

void raft_reads_progress(struct raft *r)
{
    if (r->n_reads > 0 && r->role == RAFT_LEADER)
        leader_progress(r);
    expire(r);
    if (r->n_reads > 0 && r->role != RAFT_LEADER && r->leader != 0)
        follower_progress(r);
}

/* Reads of this node go on under the new role; those that others asked a
 * former leader for are theirs to repeat. */
void raft_reads_role_changed(struct raft *r, bool was_leader)
{
    size_t n = r->n_reads;
    for (size_t i = 0; i < n; i++) {
        struct waiting_read w = *front(r);
        pop(r);
        if (was_leader && w.from != 0)
            continue;
        CHECK(w.from == 0);
        if (r->role == RAFT_LEADER)
            w.stamp = fresh_stamp(r);
        push(r, &w);
    }
    raft_reads_resend(r);
}

usec_t raft_reads_deadline(const struct raft *r)
{
    if (r->n_reads == 0)
        return USEC_NEVER;
    usec_t due = r->reads[r->reads_head].deadline_us;
    if (r->role != RAFT_LEADER && r->leader != 0 &&
        r->read_resend_us > r->now_us && r->read_resend_us < due)
        due = r->read_resend_us;
    return due;
}
