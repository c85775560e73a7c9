/* Life cycle, dispatch and output of the core. See raft.h for the contract. */
#include "consensus/raft.h"

#include <string.h>

#include "consensus/canary.h"
#include "consensus/raft_impl.h"
#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"

/* Grows an array to hold one more element. */
#define MAKE_ROOM(array, n, cap)                                               \
    do {                                                                       \
        if ((n) == (cap)) {                                                    \
            (cap) = (cap) ? (cap)*2 : 8;                                       \
            (array) = mem_realloc((array), (cap) * sizeof(*(array)));          \
        }                                                                      \
    } while (0)

/* ---- life cycle ------------------------------------------------------------
 */

void raft_options_default(struct raft_options *o)
{
    *o = (struct raft_options){
        .heartbeat_us = 100 * USEC_PER_MS,
        .election_min_us = 1000 * USEC_PER_MS,
        .election_max_us = 2000 * USEC_PER_MS,
        .priority_step_us = 500 * USEC_PER_MS,
        .vote_grace_us = 300 * USEC_PER_MS,
        .lease_us = 900 * USEC_PER_MS,
        .silence_us = 2000 * USEC_PER_MS,
        .transfer_timeout_us = 1000 * USEC_PER_MS,
        .read_timeout_us = 3000 * USEC_PER_MS,
        .snapshot_retry_us = 1000 * USEC_PER_MS,
        .commit_notice_us = 1 * USEC_PER_MS,
        .append_bytes_max = 256u << 10,
        .append_entries_max = 1024,
        .inflight_messages_max = 64,
        .inflight_bytes_max = 16u << 20,
        .uncommitted_entries_max = 65536,
        .uncommitted_bytes_max = 64u << 20,
    };
}

static bool options_make_sense(const struct raft_options *o)
{
    return o->self != 0 && o->heartbeat_us > 0 &&
           o->heartbeat_us < o->election_min_us &&
           o->election_min_us <= o->election_max_us && o->lease_us > 0 &&
           o->lease_us <=
               o->election_min_us * (100 - RAFT_DRIFT_PERCENT) / 100 &&
           o->silence_us >= o->lease_us && o->priority_step_us >= 0 &&
           o->vote_grace_us >= 0 && o->transfer_timeout_us > 0 &&
           o->read_timeout_us > 0 && o->snapshot_retry_us > 0 &&
           o->commit_notice_us >= 0 && o->append_bytes_max > 0 &&
           o->append_entries_max > 0 && o->inflight_messages_max > 0 &&
           o->inflight_bytes_max > 0 && o->uncommitted_entries_max > 0 &&
           o->uncommitted_bytes_max > 0;
}

static bool restored_makes_sense(const struct raft_restored *s)
{
    uint64_t last = s->base_term;
    if (s->base_config == NULL || (s->base_lsn == 0) != (s->base_term == 0))
        return false;
    if (s->base_config->n > 0 && raft_config_check(s->base_config) != ERR_OK)
        return false;
    for (size_t i = 0; i < s->n_entries; i++) {
        const struct raft_entry *e = &s->entries[i];
        if (e->term < last || (e->type == RAFT_ENTRY_CONFIG) != !!e->config)
            return false;
        last = e->term;
    }
    return last <= s->term && s->commit_lsn >= s->base_lsn &&
           s->commit_lsn <= s->base_lsn + s->n_entries;
}

int raft_open(const struct raft_options *options,
              const struct raft_restored *restored, usec_t now_us,
              struct raft **raft_out)
{
    CHECK(now_us >= 0);
    if (!options_make_sense(options))
        return ERR_INVALID;
    if (!restored_makes_sense(restored))
        return ERR_CORRUPT;
    if (restored->n_also > RAFT_ALSO_MAX ||
        (restored->amnesia && restored->n_also == 0 &&
         !raft_amnesia_possible(restored->base_config, options->self)))
        return ERR_INVALID;
    if (!raft_options_fit(options, restored->base_config))
        return ERR_INVALID;
    struct raft *r = mem_zalloc(sizeof(*r));
    r->magic = RAFT_MAGIC;
    r->opt = *options;
    r->now_us = now_us;
    prng_seed(&r->prng, options->seed);
    r->life = prng_u64(&r->prng);
    r->term = restored->term;
    r->vote = restored->vote;
    trail_init(&r->trail, restored->base_lsn, restored->base_term,
               restored->base_config);
    for (size_t i = 0; i < restored->n_entries; i++)
        trail_append(&r->trail, &restored->entries[i]);
    r->persisted_lsn = trail_last_lsn(&r->trail);
    r->commit_lsn = r->visible_lsn = restored->commit_lsn;
    /* Before it stopped, this node may have answered a leader, and the leader
     * may count on that for its lease. */
    if (r->term > 0 || restored->amnesia)
        r->promise_until_us = now_us + r->opt.election_min_us;
    if (restored->amnesia)
        raft_amnesia_begin(r, restored);
    raft_reset_election_timer(r);
    *raft_out = r;
    return ERR_OK;
}

void raft_free(struct raft *r)
{
    if (r == NULL)
        return;
    CHECK_OBJ(r, RAFT_MAGIC);
    raft_drop_peers(r);
    trail_free(&r->trail);
    mem_free(r->pending);
    mem_free(r->reads);
    mem_free(r->out_entries);
    mem_free(r->out_msgs);
    mem_free(r->out_reads);
    r->magic = 0;
    mem_free(r);
}

/* ---- output ----------------------------------------------------------------
 */

void raft_note(struct raft *r, enum raft_trace_type type, raft_id peer,
               uint64_t lsn, uint64_t value)
{
    if (r->opt.trace == NULL)
        return;
    const struct raft_trace record = {.type = type,
                                      .self = r->opt.self,
                                      .peer = peer,
                                      .term = r->term,
                                      .lsn = lsn,
                                      .value = value};
    r->opt.trace(r->opt.trace_ctx, &record);
}

struct raft_msg *raft_emit(struct raft *r, enum raft_msg_type type, raft_id to)
{
    CHECK(to != 0 && to != r->opt.self);
    MAKE_ROOM(r->out_msgs, r->n_out_msgs, r->cap_out_msgs);
    struct raft_msg *m = &r->out_msgs[r->n_out_msgs++];
    memset(m, 0, sizeof(*m));
    m->type = type;
    m->from = r->opt.self;
    m->to = to;
    m->term = r->term;
    return m;
}

void raft_report_read(struct raft *r, uint64_t id, int result, uint64_t lsn)
{
    MAKE_ROOM(r->out_reads, r->n_out_reads, r->cap_out_reads);
    r->out_reads[r->n_out_reads++] = (struct raft_read_done){id, result, lsn};
    if (result != ERR_OK)
        raft_note(r, RAFT_TRACE_READ_FAILED, 0, 0, id);
}

void raft_set_hard_state(struct raft *r, uint64_t term, raft_id vote)
{
    CHECK(term >= r->term);
    /* One vote per term (paper 5.2). */
    CHECK(term > r->term || r->vote == 0 || r->vote == vote);
    if (term > r->term)
        raft_visible_new_term(r);
    r->term = term;
    r->vote = vote;
    r->out_hard_state = true;
    r->hard_seq = r->seq;
    r->hard_us = r->now_us;
}

bool raft_hard_state_durable(const struct raft *r)
{
    return r->persisted_seq >= r->hard_seq;
}

/* The newest configuration took effect. */
static void raft_config_applied(struct raft *r)
{
    raft_note(r, RAFT_TRACE_CONFIG, 0, trail_config_lsn(&r->trail),
              trail_config(&r->trail)->joint);
    if (r->role == RAFT_LEADER)
        raft_sync_peers(r);
}

void raft_log_append(struct raft *r, const struct raft_entry *e,
                     enum raft_payload payload, uint32_t payload_index)
{
    trail_append(&r->trail, e);
    uint64_t lsn = trail_last_lsn(&r->trail);
    r->appended_bytes += e->size;
    if (r->n_out_entries == 0) {
        r->out_first_lsn = lsn;
        r->out_payload = payload;
        r->out_payload_first = payload_index;
    }
    /* One source per update, and without a gap. */
    CHECK(r->out_payload == payload);
    CHECK(r->out_first_lsn + r->n_out_entries == lsn);
    MAKE_ROOM(r->out_entries, r->n_out_entries, r->cap_out_entries);
    struct raft_entry *out = &r->out_entries[r->n_out_entries++];
    *out = *e;
    if (e->config != NULL) {
        out->config = trail_config(&r->trail);
        raft_config_applied(r);
    }
}

/* Writes under way no longer vouch for anything above `lsn`: what they wrote
 * there is being replaced. */
static void cap_persisted(struct raft *r, uint64_t lsn)
{
    if (r->persisted_lsn > lsn)
        r->persisted_lsn = lsn;
    for (size_t i = 0; i < r->n_pending; i++) {
        if (r->pending[i].last_lsn > lsn)
            r->pending[i].last_lsn = lsn;
    }
}

void raft_log_truncate(struct raft *r, uint64_t from)
{
    CHECK(from > r->commit_lsn);
    CHECK(r->n_out_entries == 0 && !r->out_truncate);
    bool config_goes = trail_config_lsn(&r->trail) >= from;
    trail_truncate(&r->trail, from);
    cap_persisted(r, from - 1);
    raft_visible_cut(r, from - 1);
    r->out_truncate = true;
    r->out_truncate_lsn = from;
    raft_note(r, RAFT_TRACE_TRUNCATE, 0, from, 0);
    if (config_goes)
        raft_config_applied(r);
}

void raft_log_reset(struct raft *r, uint64_t lsn, uint64_t term,
                    const struct raft_config *config)
{
    CHECK(lsn > r->commit_lsn);
    trail_reset(&r->trail, lsn, term, config);
    /* The snapshot is durable, but until this update is too, a crash brings
     * the old log back, of which only the committed part is sure. */
    cap_persisted(r, r->commit_lsn);
    raft_visible_cut(r, r->commit_lsn);
    r->out_reset = true;
    raft_config_applied(r);
}

void raft_commit_to(struct raft *r, uint64_t lsn)
{
    CHECK(lsn <= trail_last_lsn(&r->trail));
    if (lsn <= r->commit_lsn)
        return;
    if (r->role == RAFT_LEADER) {
        for (uint64_t i = r->commit_lsn + 1; i <= lsn; i++)
            r->uncommitted_bytes -= trail_item(&r->trail, i)->size;
    }
    r->commit_lsn = lsn;
    raft_note(r, RAFT_TRACE_COMMIT, 0, lsn, 0);
}

/* ---- events ----------------------------------------------------------------
 */

static int persisted(struct raft *r, const struct raft_event *ev)
{
    uint64_t seq = ev->persisted.seq;
    CHECK(seq < r->seq);
    if (seq <= r->persisted_seq)
        return ERR_OK;
    r->persisted_seq = seq;
    size_t done = 0;
    for (; done < r->n_pending && r->pending[done].seq <= seq; done++) {
        if (r->pending[done].last_lsn > r->persisted_lsn)
            r->persisted_lsn = r->pending[done].last_lsn;
    }
    if (done < r->n_pending)
        memmove(r->pending, r->pending + done,
                (r->n_pending - done) * sizeof(*r->pending));
    r->n_pending -= done;
    CHECK(r->persisted_lsn <= trail_last_lsn(&r->trail));
    /* A candidate's own vote counts once it cannot be forgotten. */
    if (r->role == RAFT_CANDIDATE && raft_hard_state_durable(r))
        raft_record_vote(r, r->opt.self, true);
    if (r->role == RAFT_CANDIDATE)
        raft_tally(r);
    if (r->role == RAFT_LEADER)
        raft_advance(r);
    return ERR_OK;
}

/* A message of an older term: its sender must learn that it is deposed. */
static void answer_stale(struct raft *r, const struct raft_msg *m)
{
    if (m->type != RAFT_MSG_APPEND && m->type != RAFT_MSG_SNAP_OFFER)
        return;
    raft_note(r, RAFT_TRACE_STALE_APPEND, m->from,
              m->type == RAFT_MSG_APPEND ? m->append.prev_lsn : 0, m->term);
    struct raft_msg *reply = raft_emit(r, RAFT_MSG_APPEND_REPLY, m->from);
    reply->append_reply.accepted = false;
}

/* Paper figure 2, "rules for servers, all servers", for messages where the
 * term alone decides. Votes have rules of their own. */
static bool term_admits(struct raft *r, const struct raft_msg *m)
{
    if (m->type == RAFT_MSG_VOTE || m->type == RAFT_MSG_VOTE_REPLY ||
        m->type == RAFT_MSG_ASK || m->type == RAFT_MSG_TELL)
        return true;
    if (m->term < r->term) {
        answer_stale(r, m);
        return false;
    }
    if (m->term > r->term) {
        raft_note(r, RAFT_TRACE_NEW_TERM, m->from, 0, m->term);
        raft_become_follower(r, m->term, 0);
    }
    return true;
}

static int receive(struct raft *r, const struct raft_event *ev)
{
    const struct raft_msg *m = ev->message;
    /* Who has forgotten everything, or never had a leader, has no term. */
    bool needs_term = m->type != RAFT_MSG_ASK && m->type != RAFT_MSG_TELL;
    if (m->to != r->opt.self || m->from == 0 || m->from == m->to ||
        (m->term == 0 && needs_term))
        return ERR_PROTOCOL;
    if (raft_amnesia_bars(r, m) || !term_admits(r, m))
        return ERR_OK;
    switch (m->type) {
    case RAFT_MSG_APPEND:
        return raft_recv_append(r, m);
    case RAFT_MSG_APPEND_REPLY:
        return raft_recv_append_reply(r, m);
    case RAFT_MSG_VOTE:
        return raft_recv_vote(r, m);
    case RAFT_MSG_VOTE_REPLY:
        return raft_recv_vote_reply(r, m);
    case RAFT_MSG_READ_INDEX:
        return raft_recv_read_index(r, m);
    case RAFT_MSG_READ_INDEX_REPLY:
        return raft_recv_read_index_reply(r, m);
    case RAFT_MSG_TIMEOUT_NOW:
        return raft_recv_timeout_now(r, m);
    case RAFT_MSG_SNAP_OFFER:
        return raft_recv_snap_offer(r, m);
    case RAFT_MSG_SNAP_STATUS:
        return raft_recv_snap_status(r, m);
    case RAFT_MSG_ASK:
        return raft_recv_ask(r, m);
    case RAFT_MSG_TELL:
        return raft_recv_tell(r, m);
    case RAFT_MSG_TYPES:
        break;
    }
    return ERR_PROTOCOL;
}

static int campaign_hint(struct raft *r)
{
    raft_hurry(r);
    return ERR_OK;
}

static int peer_link(struct raft *r, const struct raft_event *ev)
{
    if (r->role != RAFT_LEADER) {
        if (ev->peer.reachable && ev->peer.id == r->leader)
            raft_reads_resend(r);
        if (ev->peer.reachable)
            raft_amnesia_ask_soon(r);
        if (ev->peer.reachable && r->eager && r->term == 0)
            return campaign_hint(r);
        return ERR_OK;
    }
    struct progress *p = raft_find_peer(r, ev->peer.id);
    if (p == NULL)
        return ERR_OK;
    p->reachable = ev->peer.reachable;
    /* Whatever was under way may be gone. Of a peer that was never heard
     * nothing is known: its own hint will tell where to begin. */
    if (p->state != RAFT_PEER_SNAPSHOT)
        progress_probe(p, p->match > 0 ? p->match + 1 : p->next);
    if (p->reachable)
        raft_send_heartbeat(r, p);
    return ERR_OK;
}

static int compact(struct raft *r, const struct raft_event *ev)
{
    uint64_t lsn = ev->compact.lsn;
    if (lsn > r->commit_lsn || lsn > r->persisted_lsn)
        return ERR_INVALID;
    if (lsn <= r->trail.base_lsn)
        return ERR_OK;
    if (trail_config_at(&r->trail, lsn)->n == 0)
        return ERR_INVALID;
    trail_compact(&r->trail, lsn);
    raft_note(r, RAFT_TRACE_COMPACT, 0, lsn, 0);
    return ERR_OK;
}

static int dispatch(struct raft *r, const struct raft_event *ev)
{
    switch (ev->type) {
    case RAFT_EV_TICK:
        return ERR_OK; /* every step looks at the timers */
    case RAFT_EV_MESSAGE:
        return receive(r, ev);
    case RAFT_EV_PROPOSE:
        return raft_propose(r, ev);
    case RAFT_EV_CHANGE:
        return raft_change(r, ev);
    case RAFT_EV_PERSISTED:
        return persisted(r, ev);
    case RAFT_EV_TRANSFER:
        return raft_transfer(r, ev);
    case RAFT_EV_READ:
        return raft_read(r, ev);
    case RAFT_EV_CAMPAIGN:
        return campaign_hint(r);
    case RAFT_EV_EPOCH:
        return raft_epoch(r, ev);
    case RAFT_EV_RECOVER:
        return raft_recover(r, ev);
    case RAFT_EV_PEER:
        return peer_link(r, ev);
    case RAFT_EV_INSTALLED:
        return raft_installed(r, ev);
    case RAFT_EV_SNAPSHOT_SENT:
        return raft_snapshot_sent(r, ev);
    case RAFT_EV_COMPACT:
        return compact(r, ev);
    case RAFT_EV_DOWN:
        return raft_regions_down(r, ev);
    case RAFT_EV_TYPES:
        break;
    }
    CHECK_UNREACHABLE();
}

/* ---- the step --------------------------------------------------------------
 */

static void begin(struct raft *r, usec_t now_us)
{
    CHECK(now_us >= r->now_us);
    r->now_us = now_us;
    r->seq++;
    if (now_us > r->stamp) {
        r->stamp = now_us;
        r->stamp_used = false;
    }
    r->out_reset = r->out_truncate = r->out_hard_state = false;
    r->out_lost_leadership = false;
    r->n_out_entries = r->n_out_msgs = r->n_out_reads = r->n_out_snapshots = 0;
}

static void timers(struct raft *r)
{
    if (r->role == RAFT_LEADER)
        raft_leader_timers(r);
    else if (r->now_us >= r->election_us)
        raft_election_timeout(r);
}

static void note_write(struct raft *r, bool write)
{
    bool log_changed = r->out_reset || r->out_truncate || r->n_out_entries > 0;
    if (!write || !log_changed)
        return;
    MAKE_ROOM(r->pending, r->n_pending, r->cap_pending);
    r->pending[r->n_pending++] =
        (struct pending_write){r->seq, trail_last_lsn(&r->trail)};
}

static usec_t deadline(struct raft *r)
{
    usec_t first =
        r->role == RAFT_LEADER ? raft_leader_deadline(r) : r->election_us;
    usec_t reads = raft_reads_deadline(r);
    if (reads < first)
        first = reads;
    usec_t asks = raft_amnesia_deadline(r);
    return asks < first ? asks : first;
}

static void fill(struct raft *r, struct raft_update *u)
{
    *u = (struct raft_update){
        .seq = r->seq,
        .reset = r->out_reset,
        .reset_lsn = r->trail.base_lsn,
        .reset_term = r->trail.base_term,
        .truncate = r->out_truncate,
        .truncate_lsn = r->out_truncate_lsn,
        .first_lsn = r->n_out_entries > 0 ? r->out_first_lsn : 0,
        .n_entries = (uint32_t)r->n_out_entries,
        .entries = r->out_entries,
        .payload = r->out_payload,
        .payload_first = r->out_payload_first,
        .hard_state = r->out_hard_state,
        .term = r->term,
        .vote = r->vote,
        .messages = r->out_msgs,
        .n_messages = r->n_out_msgs,
        .commit_lsn = r->commit_lsn,
        .visible_lsn = r->visible_lsn,
        .role = r->role,
        .leader = r->leader,
        .lost_leadership = r->out_lost_leadership,
        .reads = r->out_reads,
        .n_reads = r->n_out_reads,
        .snapshots = r->out_snapshots,
        .n_snapshots = r->n_out_snapshots,
        .deadline_us = deadline(r),
    };
    u->write = u->reset || u->truncate || u->n_entries > 0 || u->hard_state;
    if (r->role == RAFT_LEADER) {
        u->region_lsn = r->region_lsn;
        u->ack_lsn = r->ack_lsn;
    }
    note_write(r, u->write);
}

int raft_step(struct raft *r, const struct raft_event *event,
              struct raft_update *update)
{
    CHECK_OBJ(r, RAFT_MAGIC);
    CHECK(event != NULL && update != NULL);
    enum raft_role role = r->role;
    raft_id leader = r->leader;
    uint64_t term = r->term;
    struct raft_config config = *trail_config(&r->trail);

    begin(r, event->now_us);
    int rc = dispatch(r, event);
    timers(r);
    if (r->role == RAFT_LEADER) {
        raft_advance_ack(r);
        if (r->n_out_entries == 0)
            raft_adopt_decision(r);
        raft_transfer_progress(r);
        raft_replicate(r);
        raft_notify(r);
    }
    raft_visible_advance(r);
    raft_reads_progress(r);
    raft_amnesia_progress(r);
    fill(r, update);
    update->role_changed =
        r->role != role || r->leader != leader || r->term != term;
    update->config_changed =
        !raft_config_equal(&config, trail_config(&r->trail));

    CHECK(r->commit_lsn <= r->visible_lsn);
    CHECK(r->visible_lsn <= trail_last_lsn(&r->trail));
    CHECK(r->persisted_lsn <= trail_last_lsn(&r->trail));
    CHECK_IMPLIES(r->role == RAFT_LEADER, r->leader == r->opt.self);
    CHECK_IMPLIES(r->role != RAFT_LEADER, r->leader != r->opt.self);
    return rc;
}

/* ---- questions -------------------------------------------------------------
 */

void raft_pace_learners(struct raft *r, uint64_t bytes_per_s)
{
    CHECK_OBJ(r, RAFT_MAGIC);
    if (r->opt.learner_bytes_per_s == bytes_per_s)
        return;
    r->opt.learner_bytes_per_s = bytes_per_s;
    for (size_t i = 0; i < r->n_peers; i++)
        bucket_set_rate(&r->peers[i].pace, bytes_per_s, r->now_us);
}

enum raft_role raft_role(const struct raft *r)
{
    return r->role;
}

raft_id raft_leader(const struct raft *r)
{
    return r->leader;
}

uint64_t raft_term(const struct raft *r)
{
    return r->term;
}

raft_id raft_voted_for(const struct raft *r)
{
    return r->vote;
}

uint64_t raft_last_lsn(const struct raft *r)
{
    return trail_last_lsn(&r->trail);
}

uint64_t raft_commit_lsn(const struct raft *r)
{
    return r->commit_lsn;
}

uint64_t raft_base_lsn(const struct raft *r)
{
    return r->trail.base_lsn;
}

uint64_t raft_durable_lsn(const struct raft *r)
{
    return r->commit_lsn < r->persisted_lsn ? r->commit_lsn : r->persisted_lsn;
}

const struct raft_config *raft_config(const struct raft *r)
{
    return trail_config(&r->trail);
}

const struct raft_config *raft_config_committed(const struct raft *r)
{
    return trail_config_at(&r->trail, r->commit_lsn);
}

const struct raft_config *raft_config_at(const struct raft *r, uint64_t lsn)
{
    CHECK(lsn >= r->trail.base_lsn && lsn <= trail_last_lsn(&r->trail));
    return trail_config_at(&r->trail, lsn);
}

raft_id raft_transferring(const struct raft *r)
{
    return r->role == RAFT_LEADER ? r->transfer_to : 0;
}

bool raft_may_ack(const struct raft *r, usec_t now_us)
{
    return r->role == RAFT_LEADER && raft_lease_holds(r, now_us);
}

bool raft_may_read(const struct raft *r, usec_t now_us)
{
    return raft_may_ack(r, now_us) && !r->lease_given_up;
}

bool raft_overruled(const struct raft *r)
{
    return r->overruled;
}

int raft_entry_at(const struct raft *r, uint64_t lsn,
                  struct raft_entry *entry_out)
{
    if (lsn <= r->trail.base_lsn || lsn > trail_last_lsn(&r->trail))
        return ERR_NOT_FOUND;
    const struct trail_item *item = trail_item(&r->trail, lsn);
    struct raft_entry e = {
        .term = item->term, .size = item->size, .type = item->type};
    if (e.type == RAFT_ENTRY_CONFIG)
        e.config = trail_config_at(&r->trail, lsn);
    *entry_out = e;
    return ERR_OK;
}

int raft_term_at(const struct raft *r, uint64_t lsn, uint64_t *term_out)
{
    return trail_term(&r->trail, lsn, term_out);
}

int raft_snapshot_offer(const struct raft *r, raft_id to, uint64_t lsn,
                        struct raft_msg *msg_out)
{
    if (r->role != RAFT_LEADER)
        return ERR_NOT_LEADER;
    uint64_t term = 0;
    if (lsn > r->commit_lsn || trail_term(&r->trail, lsn, &term) != ERR_OK)
        return ERR_NOT_FOUND;
    *msg_out = (struct raft_msg){.type = RAFT_MSG_SNAP_OFFER,
                                 .from = r->opt.self,
                                 .to = to,
                                 .term = r->term,
                                 .snap_offer = {lsn, term}};
    return ERR_OK;
}

int raft_peer(const struct raft *r, raft_id id, struct raft_peer_info *info_out)
{
    if (r->role != RAFT_LEADER)
        return ERR_NOT_LEADER;
    for (size_t i = 0; i < r->n_peers; i++) {
        const struct progress *p = &r->peers[i];
        if (p->id != id)
            continue;
        *info_out = (struct raft_peer_info){
            .state = p->state,
            .match_lsn = p->match,
            .answered_sent_us = p->answered_us,
            .heard_us = p->heard_us,
            .seen_lsn = p->seen,
            .reachable = p->reachable,
            .forgot = p->forgot || raft_amnesia_of_peer(r, p)};
        const struct raft_member *m =
            raft_config_find(trail_config(&r->trail), id);
        CHECK(m != NULL);
        info_out->region = m->region;
        return ERR_OK;
    }
    return ERR_NOT_FOUND;
}
