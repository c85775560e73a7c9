/* The turn: events go into the core, and what the core asks for is carried out
 * in the order that consensus/raft.h demands. */
#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/shard/canary.h"
#include "node/shard/shard_impl.h"
#include "node/store/effects.h"

/* ---- messages ---------------------------------------------------------------
 */

/* Whether an append still says what the log says: one that was held may be of a
 * leadership that is over. The heartbeat for who needs a snapshot says nothing
 * of the log. */
static bool append_is_current(const struct shard *s, const struct raft_msg *m)
{
    uint64_t term;
    if (raft_role(s->raft) != RAFT_LEADER || m->term != raft_term(s->raft))
        return false;
    if (m->append.prev_lsn == 0 && m->append.n == 0)
        return true;
    return raft_term_at(s->raft, m->append.prev_lsn, &term) == ERR_OK &&
           term == m->append.prev_term;
}

bool shard_sends_payload(const struct shard *s, raft_id to)
{
    const struct raft_config *c = raft_config(s->raft);
    return raft_config_find(c, to) != NULL &&
           (!raft_config_is_witness(c, to) || SHARD_PLANTED(TELL_WITNESS) ||
            (SHARD_PLANTED(TELL_COMING) && !raft_config_is_voter(c, to)));
}

/* Hands the entries out without payload. Those of configurations have none:
 * who is a member, and where, is for every member. */
static void send_heads(struct shard *s, const struct raft_msg *m)
{
    struct entry **bare = mem_zalloc(m->append.n * sizeof(*bare));
    for (uint32_t i = 0; i < m->append.n; i++) {
        struct entry *e = s->refs[i];
        if (e->type != RAFT_ENTRY_DATA)
            continue;
        CHECK(entry_copy(e->lsn, e->term, e->type, bytes_of(NULL, 0),
                         &bare[i]) == ERR_OK);
        s->refs[i] = bare[i];
        s->heads[i].size = 0;
    }
    s->env->send(s->env->user, s, m, s->heads, s->refs);
    for (uint32_t i = 0; i < m->append.n; i++)
        if (bare[i] != NULL)
            entry_unref(bare[i]);
    mem_free(bare);
}

/* What is gone by now is dropped; Raft asks again. */
static void send_append(struct shard *s, const struct raft_msg *m)
{
    CHECK(m->append.n <= s->heads_max);
    if (!append_is_current(s, m) ||
        raft_config_find(raft_config(s->raft), m->to) == NULL)
        return;
    struct raft_msg plain;
    if (m->append.echo_us != 0 && !shard_trusts(s, s->step_us, m->to)) {
        plain = *m;
        plain.append.echo_us = 0;
        plain.append.echo_life = 0;
        m = &plain;
    }
    for (uint32_t i = 0; i < m->append.n; i++) {
        uint64_t lsn = m->append.prev_lsn + 1 + i;
        s->refs[i] = entries_at(&s->entries, lsn);
        if (s->refs[i] == NULL ||
            raft_entry_at(s->raft, lsn, &s->heads[i]) != ERR_OK)
            return;
    }
    if (shard_sends_payload(s, m->to))
        s->env->send(s->env->user, s, m, s->heads, s->refs);
    else
        send_heads(s, m);
}

static void send_message(struct shard *s, const struct raft_msg *m)
{
    if (m->type == RAFT_MSG_APPEND)
        send_append(s, m);
    else
        s->env->send(s->env->user, s, m, NULL, NULL);
}

static void hold_message(struct shard *s, const struct raft_msg *m)
{
    if (s->held_count == SHARD_HELD_MAX) {
        mem_free(
            LIST_ENTRY(list_pop_front(&s->held), struct held_message, node));
        s->held_count--;
    }
    struct held_message *h = mem_alloc(sizeof(*h));
    *h = (struct held_message){.after = s->written, .msg = *m};
    list_push_back(&s->held, &h->node);
    s->held_count++;
}

static void send_held(struct shard *s)
{
    while (!list_empty(&s->held)) {
        struct held_message *h =
            LIST_ENTRY(s->held.next, struct held_message, node);
        if (h->after > s->durable)
            return;
        list_remove(&h->node);
        s->held_count--;
        send_message(s, &h->msg);
        mem_free(h);
    }
}

static void send_messages(struct shard *s, const struct raft_update *u)
{
    for (size_t i = 0; i < u->n_messages; i++) {
        if (u->messages[i].after_persist && s->durable < s->written)
            hold_message(s, &u->messages[i]);
        else
            send_message(s, &u->messages[i]);
    }
}

/* ---- carrying out updates ---------------------------------------------------
 */

/* The entry for head `i` of an update; one reference. */
static struct entry *update_entry(const struct raft_update *u, uint32_t i,
                                  const struct step_payloads *payloads)
{
    const struct raft_entry *head = &u->entries[i];
    uint64_t lsn = u->first_lsn + i;
    struct entry *e;
    if (u->payload == RAFT_PAYLOAD_CORE) {
        struct buf config;
        buf_init(&config, ENTRY_MAX_BYTES);
        if (head->type == RAFT_ENTRY_CONFIG)
            CHECK(raft_config_encode(head->config, &config) == ERR_OK);
        CHECK(entry_copy(lsn, head->term, head->type,
                         bytes_of(buf_bytes(&config), buf_len(&config)),
                         &e) == ERR_OK);
        buf_free(&config);
        return e;
    }
    if (payloads->entries != NULL) {
        e = TAKE(payloads->entries[u->payload_first + i]);
        CHECK(e->lsn == lsn && e->term == head->term);
        return e;
    }
    CHECK(payloads->bytes != NULL);
    CHECK(entry_copy(lsn, head->term, head->type,
                     payloads->bytes[u->payload_first + i], &e) == ERR_OK);
    return e;
}

static void update_append(struct shard *s, const struct raft_update *u,
                          const struct step_payloads *payloads)
{
    for (uint32_t i = 0; i < u->n_entries; i++) {
        struct entry *e = update_entry(u, i, payloads);
        if (e->type == RAFT_ENTRY_DATA && payloads->entries == NULL &&
            !s->witness) {
            CHECK(memtable_apply(s->memtable, e) == ERR_OK);
            dedupe_add(&s->dedupe, e, s->step_us);
        }
        s->appended_bytes += e->len;
        terms_add(&s->terms, e->lsn, e->term);
        s->env->log_entry(s->env->user, s, e);
        entries_push(&s->entries, e);
    }
}

static void update_truncate(struct shard *s, uint64_t from)
{
    CHECK(from > s->commit_seen);
    for (uint64_t lsn = from; lsn < s->entries.next; lsn++) {
        struct entry *e = entries_at(&s->entries, lsn);
        s->appended_bytes -= e != NULL ? e->len : 0;
    }
    memtable_truncate(s->memtable, from);
    dedupe_truncate(&s->dedupe, from);
    terms_truncate(&s->terms, from);
    entries_truncate(&s->entries, from);
    s->env->log_truncate(s->env->user, s, from);
}

static void update_reset(struct shard *s, const struct raft_update *u)
{
    s->installing = true;
    memtable_clear(s->memtable);
    dedupe_truncate(&s->dedupe, 0);
    terms_begin(&s->terms, u->reset_lsn, u->reset_term);
    entries_reset(&s->entries, u->reset_lsn + 1);
    s->commit_seen = u->reset_lsn;
    s->appended_bytes = s->committed_bytes = 0;
    s->env->log_reset(s->env->user, s, u->reset_lsn, u->reset_term);
}

static void update_write(struct shard *s, const struct raft_update *u,
                         const struct step_payloads *payloads, uint64_t visible)
{
    if (u->reset || u->truncate)
        salvage_cut(s, u->reset ? s->commit_seen + 1 : u->truncate_lsn, u->term,
                    visible);
    if (u->reset)
        update_reset(s, u);
    if (u->truncate)
        update_truncate(s, u->truncate_lsn);
    update_append(s, u, payloads);
    if (u->hard_state)
        s->env->log_hard_state(s->env->user, s, u->term, u->vote);
    if (u->write)
        s->written = u->seq;
    CHECK(s->entries.next == raft_last_lsn(s->raft) + 1);
}

static void update_commit(struct shard *s, const struct raft_update *u)
{
    while (s->commit_seen < u->commit_lsn) {
        struct entry *e = entries_at(&s->entries, s->commit_seen + 1);
        CHECK(e != NULL);
        s->committed_bytes += e->len;
        s->commit_seen++;
        if (!s->witness || e->type != RAFT_ENTRY_DATA)
            s->env->on_committed(s->env->user, s, e);
    }
}

/* Whether the entries of an update are those that were proposed. */
static bool own_entries(const struct raft_update *u,
                        const struct step_payloads *payloads)
{
    return payloads->entries != NULL && u->payload == RAFT_PAYLOAD_EVENT;
}

static void update_seen(struct shard *s, const struct raft_event *event,
                        const struct raft_update *u)
{
    s->ack_seen = u->ack_lsn;
    s->region_seen = u->region_lsn;
    s->visible_seen = u->visible_lsn;
    CHECK(s->visible_seen >= s->commit_seen);
    CHECK(raft_term_at(s->raft, s->visible_seen, &s->visible_term) == ERR_OK);
    if (event->type == RAFT_EV_MESSAGE &&
        event->message->type == RAFT_MSG_APPEND)
        s->append_us = event->now_us;
    if (s->transfer_us != 0 && u->leader != 0 &&
        raft_transferring(s->raft) == 0) {
        s->handover_us = event->now_us - s->transfer_us;
        s->transfer_us = 0;
    }
}

/* Answers what the update decided. The shard is in order from here on, so that
 * callbacks may submit new operations. */
static void update_answer(struct shard *s, const struct raft_update *u,
                          usec_t now, struct list *cancelled)
{
    shard_fail_all(s, cancelled, ERR_NOT_LEADER);
    shard_answer_writes(s, now);
    if (u->lost_leadership)
        shard_fail_all(s, &s->writes, ERR_STALE);
    if (u->truncate)
        shard_scans_truncate(s, u->truncate_lsn);
    for (size_t i = 0; i < u->n_reads; i++)
        shard_reads_done(s, &u->reads[i]);
    if (!s->installing)
        shard_serve_ready(s);
}

int shard_step(struct shard *s, const struct raft_event *event,
               const struct step_payloads *payloads)
{
    static const struct step_payloads none = {0};
    struct raft_update u;
    struct list cancelled;
    list_init(&cancelled);
    if (payloads == NULL)
        payloads = &none;
    CHECK(!s->stepping);
    s->stepping = true;
    s->step_us = event->now_us;
    uint64_t visible = raft_visible_lsn(s->raft);
    int err = raft_step(s->raft, event, &u);
    /* An entry of another took the LSN that the queue was made for. */
    bool foreign = u.n_entries > 0 && !own_entries(&u, payloads);
    if (u.role_changed || u.truncate || u.reset || foreign)
        shard_cancel_queue(s, &cancelled);
    update_write(s, &u, payloads, visible);
    shard_govern(s, event, &u);
    send_messages(s, &u);
    update_commit(s, &u);
    update_seen(s, event, &u);
    s->raft_deadline = u.deadline_us;
    for (size_t i = 0; i < u.n_snapshots; i++)
        s->env->start_snapshot(s->env->user, s, u.snapshots[i]);
    update_answer(s, &u, event->now_us, &cancelled);
    if (u.role_changed && s->env->on_role != NULL)
        s->env->on_role(s->env->user, s);
    s->stepping = false;
    return err;
}

/* ---- the turn --------------------------------------------------------------
 */

static void propose_entries(struct shard *s, usec_t now, struct entry **queue,
                            uint32_t n)
{
    uint32_t *sizes = mem_alloc(n * sizeof(*sizes));
    for (uint32_t i = 0; i < n; i++)
        sizes[i] = queue[i]->len;
    struct step_payloads payloads = {.entries = queue};
    struct raft_event event = {.type = RAFT_EV_PROPOSE,
                               .now_us = now,
                               .propose = {.sizes = sizes, .n = n}};
    /* This replica leads and no transfer is under way (shard_propose); the
     * core's bounds are out of reach (shard_open). Going on after a refusal
     * would use a (term, LSN) twice. */
    CHECK(shard_step(s, &event, &payloads) == ERR_OK);
    mem_free(sizes);
}

/* Proposes the writes queued in this turn. */
static void shard_propose(struct shard *s, usec_t now)
{
    if (s->queue_len == 0)
        return;
    CHECK(raft_role(s->raft) == RAFT_LEADER);
    if (raft_transferring(s->raft) != 0) {
        struct list cancelled;
        list_init(&cancelled);
        shard_cancel_queue(s, &cancelled);
        shard_fail_all(s, &cancelled, ERR_NOT_LEADER);
        return;
    }
    /* Answers inside the step may queue new writes, so the queue is taken; and
     * answers that this very step brings (a single voter) must find the
     * requests in place. */
    uint32_t n = s->queue_len;
    struct entry **queue = TAKE(s->queue);
    s->queue_len = s->queue_cap = 0;
    s->queue_bytes = 0;
    list_splice(&s->writes, &s->queued);
    propose_entries(s, now, queue, n);
    mem_free(queue);
}

static void ask_reads(struct shard *s, usec_t now)
{
    shard_ask_refusals(s, now);
    if (list_empty(&s->reads_new))
        return;
    uint64_t round = ++s->read_round;
    LIST_EACH(node, &s->reads_new)
    LIST_ENTRY(node, struct shard_request, node)->read = round;
    list_splice(&s->reads_asked, &s->reads_new);
    struct raft_event event = {
        .type = RAFT_EV_READ, .now_us = now, .read = {.id = round}};
    int err = shard_step(s, &event, NULL);
    if (err != ERR_OK) {
        struct raft_read_done failed = {.id = round, .result = err};
        shard_reads_done(s, &failed);
    }
}

void shard_hold(struct shard *s, bool hold)
{
    s->hold = hold;
}

bool shard_flush(struct shard *s, usec_t now)
{
    CHECK_OBJ(s, SHARD_MAGIC);
    bool gather = s->hold && s->queue_len < SHARD_GATHER_MAX;
    if (!gather)
        shard_propose(s, now);
    ask_reads(s, now);
    bool more = shard_scan_slice(s);
    if (s->flush != NULL && !s->flush->complete)
        more |= !flush_collect(s->flush, s->memtable, SHARD_COLLECT_BUDGET);
    return more || (!gather && s->queue_len > 0) || !list_empty(&s->reads_new);
}

uint64_t shard_written(const struct shard *s)
{
    return s->written;
}

uint64_t shard_durable(const struct shard *s)
{
    return s->durable;
}

void shard_persisted(struct shard *s, usec_t now, uint64_t update)
{
    CHECK_OBJ(s, SHARD_MAGIC);
    if (update <= s->durable)
        return;
    CHECK(update <= s->written);
    s->durable = update;
    send_held(s);
    struct raft_event event = {
        .type = RAFT_EV_PERSISTED, .now_us = now, .persisted = {.seq = update}};
    shard_step(s, &event, NULL);
}

/* ---- what arrives -----------------------------------------------------------
 */

/* Decodes the configurations of an append's CONFIG entries and checks all
 * payloads, so that nothing malformed gets into the log. `configs` has room for
 * one pointer per entry. */
static int check_entries(const struct shard *s,
                         const struct raft_append *append,
                         struct raft_entry *heads, struct raft_config **configs,
                         const struct bytes *payloads)
{
    for (uint32_t i = 0; i < append->n; i++) {
        heads[i] = append->entries[i];
        heads[i].config = NULL;
        heads[i].size = (uint32_t)payloads[i].len;
        if (payloads[i].len > ENTRY_MAX_BYTES)
            return ERR_LIMIT;
        if (heads[i].type == RAFT_ENTRY_CONFIG) {
            configs[i] = mem_alloc(sizeof(**configs));
            int err = raft_config_decode(payloads[i], configs[i]);
            if (err != ERR_OK)
                return err;
            heads[i].config = configs[i];
        } else if (heads[i].type == RAFT_ENTRY_DATA && !s->witness) {
            struct effects_head head;
            struct effects_iter iter;
            int err = effects_open(payloads[i], &head, &iter);
            if (err != ERR_OK)
                return err;
        } else if (payloads[i].len > 0) {
            return s->witness ? ERR_FORBIDDEN : ERR_MALFORMED;
        }
    }
    return ERR_OK;
}

/* Whether an append replaces entries of this log. */
static bool append_cuts(const struct shard *s, const struct raft_append *append)
{
    uint64_t term;
    for (uint32_t i = 0; i < append->n; i++)
        if (raft_term_at(s->raft, append->prev_lsn + 1 + i, &term) == ERR_OK &&
            term != append->entries[i].term)
            return true;
    return false;
}

static int receive_append(struct shard *s, usec_t now, const struct raft_msg *m,
                          const struct bytes *payloads)
{
    uint32_t n = m->append.n;
    size_t bytes = 0; /* not what the sender says it is */
    for (uint32_t i = 0; i < n; i++)
        bytes += payloads[i].len;
    /* The leader sends it again; heartbeats pass. */
    if (!memtable_has_room(s->memtable, bytes))
        return ERR_FULL;
    if (salvage_full(s) && append_cuts(s, &m->append))
        return ERR_FULL;
    struct raft_entry *heads = mem_alloc(n * sizeof(*heads));
    struct raft_config **configs = mem_zalloc(n * sizeof(*configs));
    int err = check_entries(s, &m->append, heads, configs, payloads);
    if (err == ERR_OK) {
        struct raft_msg checked = *m;
        checked.append.entries = heads;
        struct step_payloads step_payloads = {.bytes = payloads};
        struct raft_event event = {
            .type = RAFT_EV_MESSAGE, .now_us = now, .message = &checked};
        err = shard_step(s, &event, &step_payloads);
    }
    for (uint32_t i = 0; i < n; i++)
        mem_free(configs[i]);
    mem_free(configs);
    mem_free(heads);
    return err;
}

int shard_receive(struct shard *s, usec_t now, const struct raft_msg *m,
                  const struct bytes *payloads)
{
    CHECK_OBJ(s, SHARD_MAGIC);
    if (m->type == RAFT_MSG_APPEND && m->append.n > 0)
        return receive_append(s, now, m, payloads);
    if (m->type == RAFT_MSG_TIMEOUT_NOW && s->distrusted)
        return ERR_OK;
    struct raft_event event = {
        .type = RAFT_EV_MESSAGE, .now_us = now, .message = m};
    return shard_step(s, &event, NULL);
}

void shard_peer(struct shard *s, usec_t now, raft_id id, bool reachable)
{
    struct raft_event event = {.type = RAFT_EV_PEER,
                               .now_us = now,
                               .peer = {.id = id, .reachable = reachable}};
    shard_step(s, &event, NULL);
}

void shard_tick(struct shard *s, usec_t now)
{
    CHECK_OBJ(s, SHARD_MAGIC);
    if (now >= s->expiry_at) {
        s->expiry_at = now + SHARD_EXPIRY_US;
        shard_expire(s, now, &s->writes, ERR_TIMEOUT);
        shard_expire(s, now, &s->refusals, ERR_UNAVAILABLE);
        shard_expire(s, now, &s->reads_asked, ERR_UNAVAILABLE);
        shard_expire(s, now, &s->reads_lsn, ERR_UNAVAILABLE);
        shard_expire_sessions(s, now);
        shard_expire(s, now, &s->scans, ERR_UNAVAILABLE);
        shard_drop_retained(s, now);
    }
    if (now >= s->raft_deadline) {
        struct raft_event event = {.type = RAFT_EV_TICK, .now_us = now};
        shard_step(s, &event, NULL);
    }
}

usec_t shard_deadline(const struct shard *s)
{
    return s->waiting > 0 && s->expiry_at < s->raft_deadline ? s->expiry_at
                                                             : s->raft_deadline;
}

void shard_campaign(struct shard *s, usec_t now)
{
    struct raft_event event = {.type = RAFT_EV_CAMPAIGN, .now_us = now};
    shard_step(s, &event, NULL);
}

int shard_transfer(struct shard *s, usec_t now, raft_id to)
{
    shard_propose(s, now); /* a transfer under way refuses proposals */
    struct raft_event event = {
        .type = RAFT_EV_TRANSFER, .now_us = now, .transfer = {.to = to}};
    int err = shard_step(s, &event, NULL);
    if (err == ERR_OK)
        s->transfer_us = now;
    return err;
}

int shard_change(struct shard *s, usec_t now, const struct raft_config *target)
{
    shard_propose(s, now); /* its entry must not take the queue's LSN */
    struct raft_event event = {
        .type = RAFT_EV_CHANGE, .now_us = now, .change = {.target = target}};
    return shard_step(s, &event, NULL);
}

void shard_decide(struct shard *s, usec_t now, uint32_t epoch,
                  raft_region write_region, uint8_t ack, uint32_t recovered)
{
    struct raft_event event = {
        .type = RAFT_EV_EPOCH,
        .now_us = now,
        .epoch = {.epoch = epoch,
                  .write_region = ack == RAFT_ACK_REGION ? write_region : 0,
                  .ack = ack,
                  .recovered = recovered}};
    shard_step(s, &event, NULL);
    const struct raft_member *self =
        raft_config_find(raft_config(s->raft), s->self);
    if (self != NULL && self->region == write_region)
        shard_campaign(s, now);
}

int shard_recover(struct shard *s, usec_t now, const struct raft_config *config)
{
    struct raft_event event = {
        .type = RAFT_EV_RECOVER, .now_us = now, .recover = {.config = config}};
    return shard_step(s, &event, NULL);
}
