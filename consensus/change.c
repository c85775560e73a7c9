/* What a client of the core asks for: proposals, changes of members or rule,
 * decisions of the meta shard, transfers. */
#include "consensus/raft_impl.h"
#include "node/base/check.h"
#include "node/base/err.h"

int raft_propose(struct raft *r, const struct raft_event *ev)
{
    uint32_t n = ev->propose.n;
    if (r->role != RAFT_LEADER)
        return ERR_NOT_LEADER;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n; i++)
        bytes += ev->propose.sizes[i];
    if (n == 0 || n > r->opt.uncommitted_entries_max ||
        bytes > r->opt.uncommitted_bytes_max)
        return ERR_LIMIT;
    if (r->transfer_to != 0)
        return ERR_AGAIN;
    uint64_t last = trail_last_lsn(&r->trail);
    if (last - r->commit_lsn + n > r->opt.uncommitted_entries_max ||
        r->uncommitted_bytes + bytes > r->opt.uncommitted_bytes_max) {
        raft_note(r, RAFT_TRACE_THROTTLED, 0, last, 0);
        return ERR_THROTTLED;
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct raft_entry e = {.term = r->term,
                                     .size = ev->propose.sizes[i],
                                     .type = RAFT_ENTRY_DATA};
        raft_log_append(r, &e, RAFT_PAYLOAD_EVENT, i);
    }
    r->uncommitted_bytes += bytes;
    raft_note(r, RAFT_TRACE_APPEND, 0, last + 1, n);
    return ERR_OK;
}

/* One change at a time (thesis 4.1), and none before this leader knows that no
 * other change is half-way: until an entry of its own term is committed it
 * cannot tell. */
static bool change_allowed(const struct raft *r)
{
    return r->transfer_to == 0 && r->commit_lsn >= r->first_lsn &&
           !trail_config(&r->trail)->joint &&
           trail_config_lsn(&r->trail) <= r->commit_lsn;
}

int raft_change(struct raft *r, const struct raft_event *ev)
{
    CHECK(ev->change.target != NULL);
    if (r->role != RAFT_LEADER)
        return ERR_NOT_LEADER;
    if (!change_allowed(r))
        return ERR_AGAIN;
    if (ev->change.target->epoch < r->decided.epoch)
        return ERR_STALE;
    struct raft_config entry;
    int rc =
        raft_config_enter(trail_config(&r->trail), ev->change.target, &entry);
    if (rc != ERR_OK)
        return rc;
    raft_append_own(r, RAFT_ENTRY_CONFIG, raft_config_encoded_size(&entry),
                    &entry);
    return ERR_OK;
}

/* Leaves every leader and candidate of an older epoch behind, for good. */
static void fence(struct raft *r, uint32_t epoch)
{
    uint64_t term = RAFT_TERM(epoch, 0);
    if (r->term >= term)
        return;
    raft_note(r, RAFT_TRACE_FENCED, 0, 0, epoch);
    raft_become_follower(r, term, 0);
}

int raft_epoch(struct raft *r, const struct raft_event *ev)
{
    CHECK(ev->epoch.ack <= RAFT_ACK_REGION);
    CHECK((ev->epoch.ack == RAFT_ACK_REGION) == (ev->epoch.write_region != 0));
    if (ev->epoch.recovered > r->recovered)
        r->recovered = ev->epoch.recovered;
    if (raft_electorate(r)->epoch < r->recovered)
        fence(r, r->recovered);
    if (ev->epoch.epoch <= r->decided.epoch)
        return ERR_OK;
    r->decided = (struct rule){.epoch = ev->epoch.epoch,
                               .region = ev->epoch.write_region,
                               .ack = ev->epoch.ack};
    raft_note(r, RAFT_TRACE_EPOCH, 0, 0, r->decided.epoch);
    raft_let_others_go_first(r);
    return ERR_OK;
}

int raft_recover(struct raft *r, const struct raft_event *ev)
{
    const struct raft_config *c = ev->recover.config;
    CHECK(c != NULL);
    if (raft_config_check(c) != ERR_OK || c->joint)
        return ERR_INVALID;
    if (c->epoch <= trail_config(&r->trail)->epoch ||
        c->epoch < r->decided.epoch || c->epoch < RAFT_TERM_EPOCH(r->term))
        return ERR_STALE;
    if (c->epoch == r->recovery.epoch)
        return ERR_OK;
    if (raft_hears_leader(r))
        return ERR_AGAIN;
    r->recovery = *c;
    r->decided = (struct rule){c->epoch, c->write_region, c->ack};
    if (c->epoch > r->recovered)
        r->recovered = c->epoch;
    raft_note(r, RAFT_TRACE_RECOVER, 0, 0, c->epoch);
    fence(r, c->epoch);
    if (r->role != RAFT_FOLLOWER)
        raft_become_follower(r, r->term, 0);
    return ERR_OK;
}

void raft_adopt_decision(struct raft *r)
{
    CHECK(r->role == RAFT_LEADER);
    const struct raft_config *now = trail_config(&r->trail);
    if (r->decided.epoch <= now->epoch || !change_allowed(r))
        return;
    struct raft_config target = *now;
    target.epoch = r->decided.epoch;
    target.ack = r->decided.ack;
    target.write_region = r->decided.region;
    if (raft_config_check(&target) != ERR_OK)
        return; /* no voter there (yet) */
    raft_append_own(r, RAFT_ENTRY_CONFIG, raft_config_encoded_size(&target),
                    &target);
}

/* ---- transfer, thesis 3.10 -------------------------------------------------
 */

int raft_transfer(struct raft *r, const struct raft_event *ev)
{
    if (r->role != RAFT_LEADER)
        return ERR_NOT_LEADER;
    if (r->transfer_to != 0)
        return ERR_AGAIN;
    if (ev->transfer.to == r->opt.self ||
        !raft_config_may_lead(trail_config(&r->trail), ev->transfer.to))
        return ERR_INVALID;
    r->transfer_to = ev->transfer.to;
    r->transfer_us = r->now_us + r->opt.transfer_timeout_us;
    r->transfer_ask_us = r->now_us;
    raft_note(r, RAFT_TRACE_TRANSFER_START, r->transfer_to,
              trail_last_lsn(&r->trail), 0);
    return ERR_OK;
}

void raft_transfer_abort(struct raft *r)
{
    CHECK(r->transfer_to != 0);
    raft_note(r, RAFT_TRACE_TRANSFER_ABORT, r->transfer_to, 0, 0);
    r->transfer_to = 0;
}

void raft_transfer_progress(struct raft *r)
{
    CHECK(r->role == RAFT_LEADER);
    if (r->transfer_to == 0)
        return;
    struct progress *p = raft_find_peer(r, r->transfer_to);
    CHECK(p != NULL);
    uint64_t last = trail_last_lsn(&r->trail);
    if (p->match < last || r->now_us < r->transfer_ask_us)
        return;
    /* Repeated until it shows effect: it may be lost. */
    r->transfer_ask_us = r->now_us + r->opt.heartbeat_us;
    /* From here on the target may be elected while others still hear us, now
     * or, if the message is slow, after the transfer was given up. The lease
     * is therefore not trusted for reads again in this term. */
    r->lease_given_up = true;
    struct raft_msg *m = raft_emit(r, RAFT_MSG_TIMEOUT_NOW, r->transfer_to);
    m->timeout_now.lsn = last;
    raft_note(r, RAFT_TRACE_TRANSFER_TIMEOUT_NOW, r->transfer_to, last, 0);
}
