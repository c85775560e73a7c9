/* Snapshots (paper 7). The state travels outside the core; it only agrees on
 * whether one is wanted, and on what is known once it is there. */
#include "consensus/raft_impl.h"
#include "node/base/check.h"
#include "node/base/err.h"

int raft_recv_snap_offer(struct raft *r, const struct raft_msg *m)
{
    CHECK(m->term == r->term);
    int rc = raft_heard_leader(r, m->from);
    if (rc != ERR_OK)
        return rc;
    bool wanted = m->snap_offer.lsn > r->commit_lsn;
    if (!wanted)
        raft_note(r, RAFT_TRACE_SNAPSHOT_DECLINED, m->from, m->snap_offer.lsn,
                  0);
    struct raft_msg *reply = raft_emit(r, RAFT_MSG_SNAP_STATUS, m->from);
    reply->snap_status = (struct raft_snap_status){
        .wanted = wanted, .lsn = wanted ? 0 : raft_durable_lsn(r)};
    reply->after_persist = !raft_hard_state_durable(r);
    return ERR_OK;
}

int raft_recv_snap_status(struct raft *r, const struct raft_msg *m)
{
    CHECK(m->term == r->term);
    if (r->role != RAFT_LEADER || m->snap_status.wanted)
        return ERR_OK;
    struct progress *p = raft_find_peer(r, m->from);
    if (p == NULL)
        return ERR_OK;
    if (m->snap_status.lsn > trail_last_lsn(&r->trail))
        return ERR_PROTOCOL;
    bool news = progress_matched(p, m->snap_status.lsn);
    if (news)
        p->match_stamp = r->stamp;
    if (p->state == RAFT_PEER_SNAPSHOT && p->match >= r->trail.base_lsn) {
        progress_probe(p, p->match + 1);
        raft_note(r, RAFT_TRACE_PEER_PROBE, p->id, p->next, 0);
    }
    if (news)
        raft_advance(r);
    return ERR_OK;
}

int raft_installed(struct raft *r, const struct raft_event *ev)
{
    uint64_t lsn = ev->installed.lsn;
    if (r->role == RAFT_LEADER || lsn <= r->commit_lsn ||
        ev->installed.term > r->term)
        return ERR_STALE;
    CHECK(ev->installed.config != NULL &&
          raft_config_check(ev->installed.config) == ERR_OK);
    uint64_t term = 0;
    bool have = trail_term(&r->trail, lsn, &term) == ERR_OK &&
                term == ev->installed.term;
    /* Paper figure 13, step 6: a log that goes on from the snapshot's last
     * entry is kept, any other is worthless. */
    if (!have)
        raft_log_reset(r, lsn, ev->installed.term, ev->installed.config);
    raft_commit_to(r, lsn);
    raft_note(r, RAFT_TRACE_INSTALLED, ev->installed.from, lsn, !have);
    if (ev->installed.from == 0 || ev->installed.from == r->opt.self)
        return ERR_OK;
    struct raft_msg *reply =
        raft_emit(r, RAFT_MSG_SNAP_STATUS, ev->installed.from);
    reply->snap_status =
        (struct raft_snap_status){.wanted = false, .lsn = r->commit_lsn};
    reply->after_persist = true;
    return ERR_OK;
}

int raft_snapshot_sent(struct raft *r, const struct raft_event *ev)
{
    if (r->role != RAFT_LEADER)
        return ERR_OK;
    struct progress *p = raft_find_peer(r, ev->snapshot_sent.id);
    if (p == NULL || p->state != RAFT_PEER_SNAPSHOT)
        return ERR_OK;
    /* Success shows in the follower's answers; if none comes, the next stream
     * starts after the same pause. */
    p->streaming = false;
    p->retry_us = r->now_us + r->opt.snapshot_retry_us;
    return ERR_OK;
}
