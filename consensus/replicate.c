/* What a leader sends, and what the answers let it conclude: commit_lsn,
 * region_lsn, the lease. */
#include "consensus/canary.h"
#include "consensus/raft_impl.h"
#include "node/base/check.h"
#include "node/base/err.h"

/* ---- peers -----------------------------------------------------------------
 */

struct progress *raft_find_peer(struct raft *r, raft_id id)
{
    for (size_t i = 0; i < r->n_peers; i++) {
        if (r->peers[i].id == id)
            return &r->peers[i];
    }
    return NULL;
}

void raft_drop_peers(struct raft *r)
{
    for (size_t i = 0; i < r->n_peers; i++)
        progress_free(&r->peers[i]);
    r->n_peers = 0;
}

static void remove_strangers(struct raft *r, const struct raft_config *c)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->n_peers; i++) {
        if (raft_config_find(c, r->peers[i].id) == NULL) {
            progress_free(&r->peers[i]);
            continue;
        }
        r->peers[kept] = r->peers[i];
        r->peer_since_us[kept++] = r->peer_since_us[i];
    }
    r->n_peers = kept;
}

void raft_sync_peers(struct raft *r)
{
    CHECK(r->role == RAFT_LEADER);
    const struct raft_config *c = trail_config(&r->trail);
    remove_strangers(r, c);
    for (uint32_t i = 0; i < c->n; i++) {
        raft_id id = c->members[i].id;
        if (id == r->opt.self || raft_find_peer(r, id) != NULL)
            continue;
        CHECK(r->n_peers < RAFT_MEMBERS_MAX);
        /* Optimistic: most followers have what this leader has (paper 5.3). */
        progress_init(&r->peers[r->n_peers], id, trail_last_lsn(&r->trail) + 1,
                      r->opt.inflight_messages_max);
        r->peers[r->n_peers].heard_us = r->now_us;
        r->peer_since_us[r->n_peers++] = r->now_us;
    }
    if (r->transfer_to != 0 && !raft_config_may_lead(c, r->transfer_to))
        raft_transfer_abort(r);
}

/* ---- sending ---------------------------------------------------------------
 */

/* Tells what is acknowledged, as long as nobody else can have acknowledged
 * more; and gives the follower its own clock back. Once another was asked to
 * take over, the lease does not tell any more how things stand elsewhere. */
static void announce(const struct raft *r, struct progress *p,
                     struct raft_append *a)
{
    if (r->ack_lsn < r->first_lsn ||
        !(raft_lease_holds(r, r->now_us) || CANARY(ANNOUNCE_NO_LEASE)))
        return;
    a->ack_lsn = r->ack_lsn;
    if (p->told < a->ack_lsn)
        p->told = a->ack_lsn;
    if (r->lease_given_up)
        return;
    a->echo_us = p->own_us;
    a->echo_life = p->life;
}

static struct raft_append *emit_append(struct raft *r, struct progress *p,
                                       uint64_t prev)
{
    uint64_t prev_term = 0;
    if (prev > 0)
        CHECK(trail_term(&r->trail, prev, &prev_term) == ERR_OK);
    struct raft_msg *m = raft_emit(r, RAFT_MSG_APPEND, p->id);
    m->append = (struct raft_append){
        .prev_lsn = prev,
        .prev_term = prev_term,
        .commit_lsn = r->commit_lsn,
        .sent_us = r->stamp,
    };
    r->stamp_used = true;
    p->told = r->commit_lsn;
    announce(r, p, &m->append);
    return &m->append;
}

void raft_send_heartbeat(struct raft *r, struct progress *p)
{
    uint64_t prev = p->next - 1;
    /* Entry 0 is in every log: says nothing of the log, but is answered. */
    if (p->state == RAFT_PEER_SNAPSHOT || prev < r->trail.base_lsn)
        prev = 0;
    emit_append(r, p, prev);
}

void raft_heartbeat(struct raft *r)
{
    raft_excuses_round(r);
    for (size_t i = 0; i < r->n_peers; i++) {
        struct progress *p = &r->peers[i];
        /* A probe that got no answer by now is repeated without payload. */
        if (p->state == RAFT_PEER_PROBE && p->probing)
            p->probe_lost = true;
        raft_send_heartbeat(r, p);
    }
    r->round_stamp = r->stamp;
    r->heartbeat_us =
        r->now_us +
        (CANARY(LAZY_HEARTBEAT) ? r->opt.election_max_us : r->opt.heartbeat_us);
    r->notice_us = USEC_NEVER;
}

/* How many bytes of an entry are sent: a witness gets no payload. */
static uint32_t size_for(const struct raft *r, uint64_t lsn, bool witness)
{
    const struct trail_item *item = trail_item(&r->trail, lsn);
    return witness && item->type == RAFT_ENTRY_DATA ? 0 : item->size;
}

/* How many entries from `next` up to `last` fit into one message. */
static uint32_t batch(const struct raft *r, const struct progress *p,
                      uint64_t last, uint32_t *bytes_out)
{
    bool witness = raft_config_is_witness(trail_config(&r->trail), p->id);
    uint64_t bytes = 0;
    uint32_t n = 0;
    while (p->next + n <= last && n < r->opt.append_entries_max) {
        uint32_t size = size_for(r, p->next + n, witness);
        if (n > 0 && bytes + size > r->opt.append_bytes_max)
            break;
        bytes += size;
        n++;
    }
    *bytes_out = (uint32_t)bytes;
    return n;
}

static void ask_for_snapshot(struct raft *r, struct progress *p)
{
    if (p->state != RAFT_PEER_SNAPSHOT) {
        progress_snapshot(p);
        raft_note(r, RAFT_TRACE_PEER_SNAPSHOT, p->id, r->trail.base_lsn, 0);
    }
    if (p->streaming || r->now_us < p->retry_us)
        return;
    p->streaming = true;
    r->out_snapshots[r->n_out_snapshots++] = p->id;
}

/* Whether nobody waits for what it is sent: it is behind, and has no vote. */
static bool is_paced(const struct raft *r, const struct progress *p)
{
    return p->state == RAFT_PEER_REPLICATE && p->catching_up &&
           !raft_config_is_voter(trail_config(&r->trail), p->id);
}

uint32_t raft_learners_behind(const struct raft *r)
{
    CHECK_OBJ(r, RAFT_MAGIC);
    uint32_t n = 0;
    for (size_t i = 0; r->role == RAFT_LEADER && i < r->n_peers; i++)
        n += is_paced(r, &r->peers[i]);
    return n;
}

/* How many bytes were appended since it was last sent as many. */
static uint64_t appended_since(const struct raft *r, const struct progress *p)
{
    return r->appended_bytes - p->appended_sent;
}

/* How long until more may leave for a learner that is behind; 0: now. */
static usec_t pace_wait(const struct raft *r, struct progress *p)
{
    return appended_since(r, p) >= r->opt.append_bytes_max
               ? 0
               : bucket_wait(&p->pace, r->now_us);
}

/* Counts what left. */
static void pace_take(struct raft *r, struct progress *p, uint32_t bytes)
{
    uint64_t fresh = appended_since(r, p);
    if (fresh > bytes)
        fresh = bytes;
    p->appended_sent += fresh;
    bucket_take(&p->pace, bytes - fresh, r->now_us);
}

static void replicate_to(struct raft *r, struct progress *p)
{
    if (p->next - 1 < r->trail.base_lsn) {
        ask_for_snapshot(r, p);
        return;
    }
    CHECK(p->state != RAFT_PEER_SNAPSHOT);
    /* A peer that does not answer is probed by heartbeats alone. */
    if (p->state == RAFT_PEER_PROBE && (p->probe_lost || !p->reachable))
        return;
    uint64_t last = raft_told_limit(r, p);
    bool pace = is_paced(r, p);
    while (p->next <= last && progress_may_send(p, r->opt.inflight_bytes_max) &&
           !(pace && pace_wait(r, p) > 0)) {
        uint32_t bytes = 0;
        uint32_t n = batch(r, p, last, &bytes);
        struct raft_append *a = emit_append(r, p, p->next - 1);
        a->n = n;
        a->bytes = bytes;
        progress_sent(p, n, bytes);
        if (pace)
            pace_take(r, p, bytes);
    }
    p->catching_up &= p->next <= last;
}

void raft_replicate(struct raft *r)
{
    for (size_t i = 0; i < r->n_peers; i++)
        replicate_to(r, &r->peers[i]);
}

void raft_append_own(struct raft *r, uint8_t type, uint32_t size,
                     const struct raft_config *config)
{
    CHECK(r->role == RAFT_LEADER);
    const struct raft_entry e = {
        .term = r->term, .size = size, .type = type, .config = config};
    r->uncommitted_bytes += size;
    raft_log_append(r, &e, RAFT_PAYLOAD_CORE, 0);
    raft_note(r, RAFT_TRACE_APPEND, 0, trail_last_lsn(&r->trail), 1);
}

/* ---- what a quorum has -----------------------------------------------------
 */

static const struct progress *peer_of(const struct raft *r, raft_id id)
{
    return raft_find_peer((struct raft *)r, id);
}

static int64_t match_of(const void *ctx, raft_id id)
{
    const struct raft *r = ctx;
    if (id == r->opt.self)
        return (int64_t)r->persisted_lsn;
    const struct progress *p = peer_of(r, id);
    return p != NULL ? (int64_t)p->match : 0;
}

uint64_t raft_region_match(const struct raft *r, raft_region region)
{
    int64_t lsn =
        quorum_region_value(trail_config(&r->trail), region, match_of, r);
    return lsn >= 0 ? (uint64_t)lsn : UINT64_MAX;
}

/* This node's own answer is always as of now. */
struct answers {
    const struct raft *r;
    usec_t now_us;
};

static int64_t answered_of(const void *ctx, raft_id id)
{
    const struct answers *a = ctx;
    if (id == a->r->opt.self)
        return a->now_us;
    const struct progress *p = peer_of(a->r, id);
    return p != NULL ? p->answered_us : -1;
}

/* With grace: a member that was just added, or just became ours to lead, has
 * had no chance to answer yet. */
static int64_t answered_or_new(const void *ctx, raft_id id)
{
    const struct raft *r = ctx;
    for (size_t i = 0; i < r->n_peers; i++) {
        if (r->peers[i].id != id)
            continue;
        int64_t answered = r->peers[i].answered_us;
        return answered > r->peer_since_us[i] ? answered : r->peer_since_us[i];
    }
    return id == r->opt.self ? r->now_us : -1;
}

int64_t raft_followed_since(const struct raft *r, usec_t now_us)
{
    const struct answers a = {r, now_us};
    return quorum_majority_value(trail_config(&r->trail), answered_of, &a);
}

bool raft_lease_holds(const struct raft *r, usec_t now_us)
{
    CHECK(r->role == RAFT_LEADER);
    usec_t length = CANARY(LONG_LEASE) ? r->opt.lease_us * 5 : r->opt.lease_us;
    int64_t since = raft_followed_since(r, now_us);
    return since >= 0 && now_us < since + length;
}

bool raft_quorum_is_silent(const struct raft *r)
{
    int64_t since =
        quorum_majority_value(trail_config(&r->trail), answered_or_new, r);
    return r->now_us >= since + r->opt.silence_us;
}

/* ---- commit ----------------------------------------------------------------
 */

/* The quorum value if an entry of this term is there: older terms are never
 * committed by counting (paper 5.4.2 and figure 8). */
static uint64_t of_this_term(const struct raft *r, int64_t value)
{
    uint64_t term = 0;
    if (value <= 0 || trail_term(&r->trail, (uint64_t)value, &term) != ERR_OK)
        return 0;
    return term == r->term || CANARY(COUNT_OLD_TERM) ? (uint64_t)value : 0;
}

uint64_t raft_payload_lsn(const struct raft *r, quorum_region_fn awaited)
{
    int64_t last = (int64_t)trail_last_lsn(&r->trail);
    int64_t lsn =
        quorum_payload_value(trail_config(&r->trail), awaited, match_of, r);
    return of_this_term(r, lsn < last ? lsn : last);
}

/* Under RAFT_ACK_REGION the followers hear of an acknowledgement at once, and
 * of the commit that follows with the next append: the first is what readers
 * wait for. */
static void notify_soon(struct raft *r)
{
    if (r->notice_us == USEC_NEVER)
        r->notice_us = r->now_us + r->opt.commit_notice_us;
}

static void advance_commit(struct raft *r)
{
    struct raft_config c = *trail_config(&r->trail);
    if (CANARY(SKIP_JOINT))
        c.joint = false;
    uint64_t lsn = of_this_term(r, quorum_majority_value(&c, match_of, r));
    if (lsn <= r->commit_lsn)
        return;
    raft_commit_to(r, lsn);
    notify_soon(r);
}

/* Design section 3: what a majority of the write region has, by the rule that
 * is committed. While a newer configuration is not, a candidate might campaign
 * by it, so entries from there on wait for commit_lsn. */
static void advance_region(struct raft *r)
{
    const struct raft_config *c = raft_config_committed(r);
    if (c->ack != RAFT_ACK_REGION)
        return;
    uint64_t lsn =
        of_this_term(r, quorum_region_value(c, c->write_region, match_of, r));
    uint64_t cap = trail_next_config(&r->trail, r->commit_lsn);
    if (cap != 0 && lsn >= cap && !CANARY(REGION_PAST_CONFIG))
        lsn = cap - 1 >= r->first_lsn ? cap - 1 : 0;
    if (lsn <= r->region_lsn)
        return;
    r->region_lsn = lsn;
    raft_note(r, RAFT_TRACE_REGION, 0, lsn, 0);
}

/* A leader that leaves asks a voter that has everything to go on at once. */
static void hand_over(struct raft *r)
{
    const struct raft_config *c = trail_config(&r->trail);
    uint64_t last = trail_last_lsn(&r->trail);
    for (size_t i = 0; i < r->n_peers; i++) {
        raft_id id = r->peers[i].id;
        if (r->peers[i].match < last || !raft_config_may_lead(c, id))
            continue;
        raft_emit(r, RAFT_MSG_TIMEOUT_NOW, id)->timeout_now.lsn = last;
        return;
    }
}

/* Thesis 4.2.2 and 4.3: the joint configuration ends by itself, and a leader
 * that is no voter of the final one goes. */
static void act_on_config(struct raft *r)
{
    const struct raft_config *c = trail_config(&r->trail);
    if (trail_config_lsn(&r->trail) > r->commit_lsn)
        return;
    if (c->joint) {
        if (r->commit_lsn < r->first_lsn)
            return; /* cannot be: commits start with this term's entries */
        struct raft_config final;
        raft_config_leave(c, &final);
        raft_append_own(r, RAFT_ENTRY_CONFIG, raft_config_encoded_size(&final),
                        &final);
        return;
    }
    if (!raft_config_is_voter(c, r->opt.self) &&
        r->commit_lsn >= r->first_lsn) {
        raft_note(r, RAFT_TRACE_STEP_DOWN_REMOVED, 0,
                  trail_config_lsn(&r->trail), 0);
        raft_heartbeat(r); /* the others learn of the commit */
        hand_over(r);
        raft_become_follower(r, r->term, 0);
    }
}

void raft_advance(struct raft *r)
{
    CHECK(r->role == RAFT_LEADER);
    advance_commit(r);
    act_on_config(r);
    if (r->role == RAFT_LEADER)
        advance_region(r);
}

void raft_advance_ack(struct raft *r)
{
    CHECK(r->role == RAFT_LEADER);
    uint64_t lsn =
        r->region_lsn > r->commit_lsn ? r->region_lsn : r->commit_lsn;
    if (lsn <= r->ack_lsn || !raft_lease_holds(r, r->now_us))
        return;
    r->ack_lsn = lsn;
    raft_note(r, RAFT_TRACE_ACK, 0, lsn, 0);
    if (lsn > r->commit_lsn)
        notify_soon(r);
}

/* ---- timers ----------------------------------------------------------------
 */

void raft_notify(struct raft *r)
{
    CHECK(r->role == RAFT_LEADER);
    if (r->now_us < r->notice_us)
        return;
    uint64_t news = r->ack_lsn > r->commit_lsn ? r->ack_lsn : r->commit_lsn;
    for (size_t i = 0; i < r->n_peers; i++) {
        if (r->peers[i].state == RAFT_PEER_REPLICATE && r->peers[i].told < news)
            raft_send_heartbeat(r, &r->peers[i]);
    }
    r->notice_us = USEC_NEVER;
}

/* Whoever was asked to take over, and did not in time, may still do so: this
 * leader cannot trust its lease again in this term, nor say how fresh anybody
 * is. In a term of its own it can. */
static bool wants_new_term(const struct raft *r)
{
    return r->lease_given_up && r->transfer_to == 0 &&
           raft_lease_holds(r, r->now_us) && raft_hard_state_durable(r);
}

void raft_leader_timers(struct raft *r)
{
    CHECK(r->role == RAFT_LEADER);
    /* Thesis 6.2: nobody should go on asking this leader; and those who hear
     * it, though it does not hear them, should not go on waiting for it. */
    if (raft_quorum_is_silent(r)) {
        raft_note(r, RAFT_TRACE_STEP_DOWN_NO_QUORUM, 0, 0, 0);
        raft_become_follower(r, r->term, 0);
        return;
    }
    if (r->transfer_to != 0 && r->now_us >= r->transfer_us)
        raft_transfer_abort(r);
    if (wants_new_term(r)) {
        raft_become_follower(r, r->term, 0);
        raft_campaign(r, true);
    } else if (r->now_us >= r->heartbeat_us) {
        raft_heartbeat(r);
    }
}

static usec_t earlier(usec_t a, usec_t b)
{
    return a < b ? a : b;
}

/* When more may leave for a learner; an answer may be what it waits for. */
static usec_t pace_due(const struct raft *r, struct progress *p)
{
    usec_t wait = is_paced(r, p) ? pace_wait(r, p) : 0;
    return wait > 0 ? r->now_us + wait : USEC_NEVER;
}

usec_t raft_leader_deadline(struct raft *r)
{
    /* Check-quorum needs no time of its own: heartbeats are frequent. */
    usec_t due = earlier(r->heartbeat_us, r->notice_us);
    if (r->transfer_to != 0)
        due = earlier(due, r->transfer_us);
    for (size_t i = 0; i < r->n_peers; i++)
        due = earlier(due, pace_due(r, &r->peers[i]));
    return due;
}
