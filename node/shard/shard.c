#include "node/shard/shard.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/shard/evaluate.h"
#include "node/shard/record.h"
#include "node/shard/shard_impl.h"
#include "node/store/effects.h"
#include "node/store/view.h"

/* ---- requests --------------------------------------------------------------
 */

void shard_finish(struct shard *s, struct shard_request *req)
{
    list_remove(&req->node);
    shard_scan_free(req);
    CHECK(s->waiting > 0);
    s->waiting--;
    req->done(req, &req->result);
}

void shard_fail(struct shard *s, struct shard_request *req, int err)
{
    CHECK(err != ERR_OK);
    req->result.err = err;
    buf_free(&req->result.body);
    shard_finish(s, req);
}

static void fail_all(struct shard *s, struct list *requests, int err)
{
    struct list taken;
    list_init(&taken);
    list_splice(&taken, requests);
    while (!list_empty(&taken))
        shard_fail(s, LIST_ENTRY(taken.next, struct shard_request, node), err);
}

/* ---- serving reads ---------------------------------------------------------
 */

static uint64_t read_lsn(const struct shard *s)
{
    return raft_commit_lsn(s->raft);
}

static int read_record(struct shard *s, const struct op *op,
                       struct op_result *result)
{
    struct bytes sealed;
    int err = kv_begin(s->kv);
    if (err != ERR_OK)
        return err;
    err = evaluate_find(s->memtable, s->kv, &op->at, read_lsn(s),
                        &result->record, &result->etag, &sealed);
    if (err == ERR_OK)
        err = evaluate_condition(op, &result->etag);
    if (err == ERR_OK) {
        struct record_key key;
        record_text_key(&op->at, result->record, &key);
        err = seal_open(s->sealer, s->id, record_key_bytes(&key), 0, sealed,
                        NULL, &result->body);
    }
    kv_end(s->kv);
    return err;
}

/* Answers a read whose LSN is applied. */
static void serve(struct shard *s, struct shard_request *req)
{
    struct op_result *result = &req->result;
    result->lsn = read_lsn(s);
    result->term = raft_term(s->raft);
    switch (req->op->kind) {
    case OP_READ:
        result->err = read_record(s, req->op, result);
        shard_finish(s, req);
        return;
    case OP_SCAN:
        shard_scan_start(s, req);
        return;
    case OP_BARRIER:
        result->err = ERR_OK;
        shard_finish(s, req);
        return;
    default:
        CHECK_UNREACHABLE();
    }
}

/* Whether this replica may answer reads from its own commit point: it leads,
 * its lease holds, and it has committed an entry of its term (thesis 6.4). */
static bool lease_holds(const struct shard *s, usec_t now)
{
    uint64_t term;
    return raft_role(s->raft) == RAFT_LEADER && raft_may_ack(s->raft, now) &&
           raft_term_at(s->raft, raft_commit_lsn(s->raft), &term) == ERR_OK &&
           term == raft_term(s->raft);
}

static void submit_read(struct shard *s, usec_t now, struct shard_request *req)
{
    const struct op *op = req->op;
    if (op->kind == OP_BARRIER && op->min_lsn != 0) {
        req->lsn = op->min_lsn;
        if (read_lsn(s) >= req->lsn)
            serve(s, req);
        else
            list_push_back(&s->reads_lsn, &req->node);
    } else if (lease_holds(s, now)) {
        serve(s, req);
    } else {
        list_push_back(&s->reads_new, &req->node);
    }
}

/* Serves what waited for an LSN that is applied by now. */
static void serve_ready(struct shard *s)
{
    struct list ready;
    list_init(&ready);
    uint64_t applied = read_lsn(s);
    LIST_EACH_SAFE(node, &s->reads_lsn)
    {
        struct shard_request *req =
            LIST_ENTRY(node, struct shard_request, node);
        if (req->lsn <= applied) {
            list_remove(node);
            list_push_back(&ready, node);
        }
    }
    while (!list_empty(&ready))
        serve(s,
              LIST_ENTRY(list_pop_front(&ready), struct shard_request, node));
}

/* A read-index round came back. */
static void reads_done(struct shard *s, const struct raft_read_done *done)
{
    struct list over;
    list_init(&over);
    LIST_EACH_SAFE(node, &s->reads_asked)
    {
        struct shard_request *req =
            LIST_ENTRY(node, struct shard_request, node);
        if (req->read != done->id)
            continue;
        list_remove(node);
        req->lsn = done->lsn;
        list_push_back(done->result == ERR_OK ? &s->reads_lsn : &over, node);
    }
    fail_all(s, &over, ERR_NO_LEADER);
}

/* ---- answering writes -------------------------------------------------------
 */

/* Fills the answer of a write that an earlier attempt had logged: the text it
 * stored, if that is still to be had. */
static void recall_text(struct shard *s, struct shard_request *req)
{
    struct entry *e = entries_at(&s->entries, req->lsn);
    struct effects_head head;
    struct effects_iter iter;
    struct effect effect;
    if (e == NULL)
        return;
    CHECK(effects_open(entry_payload(e), &head, &iter) == ERR_OK);
    while (effects_next(&iter, &effect)) {
        if (effect.kind != EFFECT_PUT ||
            effect.key.data[0] != RECORD_TABLE_TEXT)
            continue;
        int err = seal_open(s->sealer, s->id, effect.key, e->lsn, effect.value,
                            NULL, &req->result.body);
        if (err != ERR_OK)
            buf_clear(&req->result.body);
        return;
    }
}

static void acknowledge(struct shard *s, uint64_t ack_lsn)
{
    struct list acked;
    list_init(&acked);
    while (!list_empty(&s->writes)) {
        struct shard_request *req =
            LIST_ENTRY(s->writes.next, struct shard_request, node);
        if (req->lsn > ack_lsn)
            break;
        list_remove(&req->node);
        list_push_back(&acked, &req->node);
    }
    while (!list_empty(&acked)) {
        struct shard_request *req =
            LIST_ENTRY(acked.next, struct shard_request, node);
        req->result.err = ERR_OK;
        if (req->repeated)
            recall_text(s, req);
        shard_finish(s, req);
    }
}

/* Keeps s->writes in order of LSN. */
static void wait_for_ack(struct shard *s, struct shard_request *req)
{
    struct list *after = s->writes.prev;
    while (after != &s->writes &&
           LIST_ENTRY(after, struct shard_request, node)->lsn > req->lsn)
        after = after->prev;
    list_push_front(after, &req->node);
}

/* ---- carrying out updates ---------------------------------------------------
 */

/* Where the payloads of a step's entries are. */
struct step_payloads {
    const struct bytes *bytes; /* of a message */
    struct entry **entries;    /* of a proposal: references are taken over */
};

static void send_append(struct shard *s, const struct raft_msg *m)
{
    for (uint32_t i = 0; i < m->append.n; i++) {
        uint64_t lsn = m->append.prev_lsn + 1 + i;
        s->refs[i] = entries_at(&s->entries, lsn);
        if (s->refs[i] == NULL ||
            raft_entry_at(s->raft, lsn, &s->heads[i]) != ERR_OK)
            return; /* gone by now; Raft asks again */
    }
    s->env->send(s->env->user, s, m, s->heads, s->refs);
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

/* The turn's writes will not be proposed: their effects disappear. */
static void cancel_queue(struct shard *s)
{
    if (s->queue_len == 0)
        return;
    memtable_truncate(s->memtable, s->queue[0]->lsn);
    dedupe_truncate(&s->dedupe, s->queue[0]->lsn);
    for (uint32_t i = 0; i < s->queue_len; i++)
        entry_unref(TAKE(s->queue[i]));
    s->queue_len = 0;
    fail_all(s, &s->queued, ERR_NOT_LEADER);
}

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
        if (e->type == RAFT_ENTRY_DATA && !s->proposing) {
            CHECK(memtable_apply(s->memtable, e) == ERR_OK);
            dedupe_add(&s->dedupe, e);
        }
        s->appended_bytes += e->len;
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
    entries_truncate(&s->entries, from);
    s->env->log_truncate(s->env->user, s, from);
}

static void update_reset(struct shard *s, const struct raft_update *u)
{
    s->installing = true;
    memtable_clear(s->memtable);
    dedupe_truncate(&s->dedupe, 0);
    entries_reset(&s->entries, u->reset_lsn + 1);
    s->commit_seen = u->reset_lsn;
    s->appended_bytes = s->committed_bytes = 0;
    s->env->log_reset(s->env->user, s, u->reset_lsn, u->reset_term);
}

static void update_write(struct shard *s, const struct raft_update *u,
                         const struct step_payloads *payloads)
{
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
        s->env->on_committed(s->env->user, s, e);
    }
}

static int step(struct shard *s, const struct raft_event *event,
                const struct step_payloads *payloads)
{
    static const struct step_payloads none = {0};
    struct raft_update u;
    int err = raft_step(s->raft, event, &u);
    bool foreign = u.n_entries > 0 && !s->proposing;
    if (u.role_changed || u.truncate || u.reset || foreign)
        cancel_queue(s);
    update_write(s, &u, payloads != NULL ? payloads : &none);
    s->proposing = false;
    send_messages(s, &u);
    update_commit(s, &u);
    s->raft_deadline = u.deadline_us;
    for (size_t i = 0; i < u.n_snapshots; i++)
        s->env->start_snapshot(s->env->user, s, u.snapshots[i]);
    /* From here on callbacks may submit new operations; they only queue. */
    if (u.ack_lsn > 0)
        acknowledge(s, u.ack_lsn);
    if (u.lost_leadership)
        fail_all(s, &s->writes, ERR_STALE);
    for (size_t i = 0; i < u.n_reads; i++)
        reads_done(s, &u.reads[i]);
    if (!s->installing)
        serve_ready(s);
    if (u.role_changed && s->env->on_role != NULL)
        s->env->on_role(s->env->user, s);
    return err;
}

/* ---- operations
 * --------------------------------------------------------------
 */

static int refuse_write(const struct shard *s, const struct op *op)
{
    if (raft_role(s->raft) != RAFT_LEADER)
        return ERR_NOT_LEADER;
    if (raft_transferring(s->raft) != 0)
        return ERR_NOT_LEADER;
    if (!s->has_key)
        return ERR_UNAVAILABLE;
    if (s->no_space)
        return ERR_NO_SPACE;
    size_t uncommitted = (size_t)(s->appended_bytes - s->committed_bytes);
    if (s->entries.next + s->queue_len - s->commit_seen >
            SHARD_UNCOMMITTED_ENTRIES_MAX ||
        uncommitted + op->body.len > SHARD_UNCOMMITTED_BYTES_MAX ||
        !memtable_has_room(s->memtable, op->body.len + 1024))
        return ERR_THROTTLED;
    return ERR_OK;
}

static void queue_entry(struct shard *s, struct entry *e)
{
    if (s->queue_len == s->queue_cap) {
        s->queue_cap = s->queue_cap > 0 ? s->queue_cap * 2 : 64;
        s->queue = mem_realloc(s->queue, s->queue_cap * sizeof(struct entry *));
    }
    s->queue[s->queue_len++] = e;
    CHECK(memtable_apply(s->memtable, e) == ERR_OK);
    dedupe_add(&s->dedupe, e);
}

/* The operation was logged before: answers it, or waits for its entry. */
static bool submit_repeated(struct shard *s, struct shard_request *req)
{
    struct dedupe_found found;
    if (!dedupe_find(&s->dedupe, req->op->id, &found))
        return false;
    req->repeated = true;
    req->lsn = found.lsn;
    req->result.lsn = found.lsn;
    req->result.term = found.term;
    req->result.record = found.record;
    req->result.created = found.created;
    req->result.etag = (struct etag){
        .term = found.term, .lsn = found.lsn, .shard = s->id, .position = 0};
    if (found.lsn <= s->commit_seen) {
        req->result.err = ERR_OK;
        recall_text(s, req);
        shard_finish(s, req);
    } else {
        wait_for_ack(s, req);
    }
    return true;
}

static void submit_write(struct shard *s, struct shard_request *req)
{
    int err = refuse_write(s, req->op);
    if (err != ERR_OK) {
        req->result.retry_after_ms = SHARD_RETRY_AFTER_MS;
        shard_fail(s, req, err);
        return;
    }
    if (submit_repeated(s, req))
        return;
    struct evaluate_at at = {.shard = s->id,
                             .term = raft_term(s->raft),
                             .lsn = raft_last_lsn(s->raft) + 1 + s->queue_len,
                             .now_s = s->env->wall_sec(s->env->user),
                             .key_id = s->key_id,
                             .sealer = s->sealer,
                             .memtable = s->memtable,
                             .kv = s->kv};
    struct entry *e = NULL;
    err = evaluate_write(&at, req->op, &req->result, &e);
    if (err != ERR_OK) {
        shard_fail(s, req, err);
        return;
    }
    req->lsn = at.lsn;
    queue_entry(s, e);
    list_push_back(&s->queued, &req->node);
}

void shard_submit(struct shard *s, usec_t now, struct shard_request *req)
{
    CHECK_OBJ(s, SHARD_MAGIC);
    CHECK(req->op->shard == s->id && req->done != NULL);
    op_result_init(&req->result);
    list_init(&req->node);
    req->scan = NULL;
    req->repeated = false;
    req->lsn = req->read = 0;
    s->waiting++;
    if (s->installing) {
        shard_fail(s, req, ERR_NO_LEADER);
    } else if (s->waiting > SHARD_WAITING_MAX) {
        req->result.retry_after_ms = SHARD_RETRY_AFTER_MS;
        shard_fail(s, req, ERR_THROTTLED);
    } else if (req->op->at.container >= CONTAINER_FIRST_USER &&
               s->env->container_deleted != NULL &&
               s->env->container_deleted(s->env->user, s,
                                         req->op->at.container)) {
        req->result.parent_missing = true;
        shard_fail(s, req, ERR_NOT_FOUND);
    } else if (req->op->kind == OP_WRITE) {
        submit_write(s, req);
    } else {
        submit_read(s, now, req);
    }
}

/* ---- the turn
 * ----------------------------------------------------------------
 */

static void propose_queue(struct shard *s, usec_t now)
{
    if (s->queue_len == 0)
        return;
    /* Answers inside the step may queue new writes, so the queue is taken. */
    uint32_t n = s->queue_len;
    struct entry **queue = TAKE(s->queue);
    s->queue_len = s->queue_cap = 0;
    uint32_t *sizes = mem_alloc(n * sizeof(*sizes));
    for (uint32_t i = 0; i < n; i++)
        sizes[i] = queue[i]->len;
    struct step_payloads payloads = {.entries = queue};
    struct raft_event event = {.type = RAFT_EV_PROPOSE,
                               .now_us = now,
                               .propose = {.sizes = sizes, .n = n}};
    /* The answers that this very step may bring (a single voter) must find
     * the requests in place. */
    list_splice(&s->writes, &s->queued);
    s->proposing = true;
    int err = step(s, &event, &payloads);
    /* refuse_write and cancel_queue exclude every reason for a refusal; going
     * on would use a (term, LSN) twice. */
    CHECK(err == ERR_OK);
    mem_free(sizes);
    mem_free(queue);
}

static void ask_reads(struct shard *s, usec_t now)
{
    if (list_empty(&s->reads_new))
        return;
    uint64_t round = ++s->read_round;
    LIST_EACH(node, &s->reads_new)
    LIST_ENTRY(node, struct shard_request, node)->read = round;
    list_splice(&s->reads_asked, &s->reads_new);
    struct raft_event event = {
        .type = RAFT_EV_READ, .now_us = now, .read = {.id = round}};
    int err = step(s, &event, NULL);
    if (err != ERR_OK) {
        struct raft_read_done failed = {.id = round, .result = err};
        reads_done(s, &failed);
    }
}

bool shard_flush(struct shard *s, usec_t now)
{
    CHECK_OBJ(s, SHARD_MAGIC);
    propose_queue(s, now);
    ask_reads(s, now);
    bool more = shard_scan_slice(s);
    if (s->flush != NULL && !s->flush->complete)
        more |= !flush_collect(s->flush, s->memtable, SHARD_COLLECT_BUDGET);
    return more || s->queue_len > 0 || !list_empty(&s->reads_new);
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
    step(s, &event, NULL);
}

/* Decodes the configurations of an append's CONFIG entries and checks its DATA
 * entries, so that nothing malformed gets into the log. `configs` has room for
 * one pointer per entry. */
static int check_entries(const struct raft_append *append,
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
        } else if (heads[i].type == RAFT_ENTRY_DATA) {
            struct effects_head head;
            struct effects_iter iter;
            int err = effects_open(payloads[i], &head, &iter);
            if (err != ERR_OK)
                return err;
        }
    }
    return ERR_OK;
}

static int receive_append(struct shard *s, usec_t now, const struct raft_msg *m,
                          const struct bytes *payloads)
{
    uint32_t n = m->append.n;
    /* The leader sends it again; heartbeats pass. */
    if (!memtable_has_room(s->memtable, m->append.bytes))
        return ERR_FULL;
    struct raft_entry *heads = mem_alloc(n * sizeof(*heads));
    struct raft_config **configs = mem_zalloc(n * sizeof(*configs));
    int err = check_entries(&m->append, heads, configs, payloads);
    if (err == ERR_OK) {
        struct raft_msg checked = *m;
        checked.append.entries = heads;
        struct step_payloads step_payloads = {.bytes = payloads};
        struct raft_event event = {
            .type = RAFT_EV_MESSAGE, .now_us = now, .message = &checked};
        err = step(s, &event, &step_payloads);
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
    struct raft_event event = {
        .type = RAFT_EV_MESSAGE, .now_us = now, .message = m};
    return step(s, &event, NULL);
}

void shard_peer(struct shard *s, usec_t now, raft_id id, bool reachable)
{
    struct raft_event event = {.type = RAFT_EV_PEER,
                               .now_us = now,
                               .peer = {.id = id, .reachable = reachable}};
    step(s, &event, NULL);
}

static void expire(struct shard *s, usec_t now, struct list *requests, int err)
{
    struct list over;
    list_init(&over);
    LIST_EACH_SAFE(node, requests)
    {
        struct shard_request *req =
            LIST_ENTRY(node, struct shard_request, node);
        if (req->deadline_us <= now) {
            list_remove(node);
            list_push_back(&over, node);
        }
    }
    fail_all(s, &over, err);
}

void shard_tick(struct shard *s, usec_t now)
{
    CHECK_OBJ(s, SHARD_MAGIC);
    if (now >= s->expiry_at) {
        s->expiry_at = now + SHARD_EXPIRY_US;
        expire(s, now, &s->writes, ERR_TIMEOUT);
        expire(s, now, &s->reads_asked, ERR_UNAVAILABLE);
        expire(s, now, &s->reads_lsn, ERR_UNAVAILABLE);
        expire(s, now, &s->scans, ERR_UNAVAILABLE);
    }
    if (now >= s->raft_deadline) {
        struct raft_event event = {.type = RAFT_EV_TICK, .now_us = now};
        step(s, &event, NULL);
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
    step(s, &event, NULL);
}

int shard_transfer(struct shard *s, usec_t now, raft_id to)
{
    propose_queue(s, now); /* a transfer under way refuses proposals */
    struct raft_event event = {
        .type = RAFT_EV_TRANSFER, .now_us = now, .transfer = {.to = to}};
    return step(s, &event, NULL);
}

int shard_change(struct shard *s, usec_t now, const struct raft_config *target)
{
    propose_queue(s, now); /* its entry must not take the queue's LSN */
    struct raft_event event = {
        .type = RAFT_EV_CHANGE, .now_us = now, .change = {.target = target}};
    return step(s, &event, NULL);
}

/* ---- opening and closing ---------------------------------------------------
 */

static int restore_heads(const struct shard_restored *r,
                         struct raft_entry *heads, struct raft_config **configs)
{
    for (size_t i = 0; i < r->n_entries; i++) {
        const struct entry *e = r->entries[i];
        heads[i] = (struct raft_entry){
            .term = e->term, .size = e->len, .type = e->type};
        if (e->type != RAFT_ENTRY_CONFIG)
            continue;
        configs[i] = mem_alloc(sizeof(**configs));
        if (raft_config_decode(entry_payload(e), configs[i]) != ERR_OK)
            return ERR_CORRUPT;
        heads[i].config = configs[i];
    }
    return ERR_OK;
}

static int restore_raft(struct shard *s, const struct shard_options *options,
                        const struct shard_restored *r, usec_t now)
{
    struct raft_entry *heads = mem_zalloc(r->n_entries * sizeof(*heads));
    struct raft_config **configs = mem_zalloc(r->n_entries * sizeof(*configs));
    int err = restore_heads(r, heads, configs);
    if (err == ERR_OK) {
        struct raft_restored restored = {.term = r->term,
                                         .vote = r->vote,
                                         .base_lsn = r->base_lsn,
                                         .base_term = r->base_term,
                                         .base_config = &r->config,
                                         .entries = heads,
                                         .n_entries = r->n_entries,
                                         .commit_lsn = r->commit_lsn};
        err = raft_open(&options->raft, &restored, now, &s->raft);
    }
    for (size_t i = 0; i < r->n_entries; i++)
        mem_free(configs[i]);
    mem_free(configs);
    mem_free(heads);
    return err;
}

static int restore_entries(struct shard *s, const struct shard_restored *r)
{
    for (size_t i = 0; i < r->n_entries; i++) {
        struct entry *e = TAKE(r->entries[i]);
        bool data = e->type == RAFT_ENTRY_DATA;
        entries_push(&s->entries, e);
        s->appended_bytes += e->len;
        if (e->lsn <= r->commit_lsn)
            s->committed_bytes += e->len;
        if (data && memtable_apply(s->memtable, e) != ERR_OK)
            return ERR_CORRUPT;
        if (data)
            dedupe_add(&s->dedupe, e);
    }
    return ERR_OK;
}

int shard_open(const struct shard_options *options,
               const struct shard_restored *restored, usec_t now_us,
               struct err_msg *msg, struct shard **shard_out)
{
    struct shard *s = mem_zalloc(sizeof(*s));
    s->magic = SHARD_MAGIC;
    s->id = options->id;
    s->user = options->user;
    s->env = options->env;
    s->sealer = options->sealer;
    s->kv = options->kv;
    s->commit_seen = restored->commit_lsn;
    entries_init(&s->entries, restored->base_lsn + 1);
    s->memtable = memtable_new(options->memtable_bytes);
    dedupe_init(&s->dedupe);
    list_init(&s->queued);
    list_init(&s->writes);
    list_init(&s->reads_new);
    list_init(&s->reads_asked);
    list_init(&s->reads_lsn);
    list_init(&s->scans);
    list_init(&s->held);
    json_init(&s->json);
    uint32_t heads_max = options->raft.append_entries_max;
    s->heads = mem_alloc(heads_max * sizeof(*s->heads));
    s->refs = mem_alloc(heads_max * sizeof(*s->refs));
    int err = restore_raft(s, options, restored, now_us);
    if (err == ERR_OK)
        err = restore_entries(s, restored);
    if (err != ERR_OK) {
        shard_free(s);
        return err_set(msg, err,
                       "shard %u: the log's entries contradict each "
                       "other: %s",
                       options->id, err_text(err));
    }
    *shard_out = s;
    return ERR_OK;
}

void shard_free(struct shard *s)
{
    if (s == NULL)
        return;
    CHECK_OBJ(s, SHARD_MAGIC);
    cancel_queue(s);
    fail_all(s, &s->writes, ERR_TIMEOUT);
    fail_all(s, &s->reads_new, ERR_UNAVAILABLE);
    fail_all(s, &s->reads_asked, ERR_UNAVAILABLE);
    fail_all(s, &s->reads_lsn, ERR_UNAVAILABLE);
    fail_all(s, &s->scans, ERR_UNAVAILABLE);
    CHECK(s->waiting == 0);
    struct list *node;
    while ((node = list_pop_front(&s->held)) != NULL)
        mem_free(LIST_ENTRY(node, struct held_message, node));
    flush_free(s->flush);
    json_free(&s->json);
    dedupe_free(&s->dedupe);
    memtable_free(s->memtable);
    entries_free(&s->entries);
    raft_free(s->raft);
    mem_free(s->heads);
    mem_free(s->refs);
    mem_free(s->queue);
    s->magic = 0;
    mem_free(s);
}

/* ---- flushing
 * -----------------------------------------------------------------
 */

size_t shard_dirty_bytes(const struct shard *s)
{
    return memtable_bytes(s->memtable);
}

bool shard_flush_begin(struct shard *s)
{
    uint64_t lsn = raft_commit_lsn(s->raft);
    uint64_t base = kv_flushed_lsn(s->kv);
    uint64_t term;
    if (s->flushing || s->installing || lsn <= base)
        return false;
    CHECK(raft_term_at(s->raft, lsn, &term) == ERR_OK);
    s->flush = flush_new(base, lsn, term);
    s->flushing = true;
    struct buf config;
    buf_init(&config, FLUSH_INFO_BYTES_MAX);
    CHECK(raft_config_encode(raft_config_committed(s->raft), &config) ==
          ERR_OK);
    CHECK(flush_set_info(s->flush, "config",
                         bytes_of(buf_bytes(&config), buf_len(&config))) ==
          ERR_OK);
    buf_free(&config);
    flush_collect(s->flush, s->memtable, SHARD_COLLECT_BUDGET);
    return true;
}

struct flush *shard_flush_take(struct shard *s)
{
    if (s->flush == NULL || !s->flush->complete)
        return NULL;
    return TAKE(s->flush);
}

bool shard_flush_pending(const struct shard *s)
{
    return s->flushing;
}

void shard_flush_failed(struct shard *s)
{
    CHECK(s->flushing && s->flush == NULL);
    s->flushing = false;
}

/* Where the log in memory may begin: at the flushed LSN, less what is kept for
 * followers that lag a little. */
static uint64_t compact_point(const struct shard *s, uint64_t flushed)
{
    size_t bytes = 0;
    uint64_t lsn = flushed;
    while (lsn > s->entries.first && flushed - lsn < SHARD_RETAIN_ENTRIES) {
        bytes += entry_bytes(entries_at(&s->entries, lsn));
        if (bytes > SHARD_RETAIN_BYTES)
            break;
        lsn--;
    }
    return lsn;
}

void shard_flushed(struct shard *s, usec_t now, const struct flush *f)
{
    CHECK(s->flushing && s->flush == NULL);
    CHECK(kv_flushed_lsn(s->kv) >= f->lsn);
    s->flushing = false;
    uint64_t lsn = compact_point(s, f->lsn);
    if (s->installing || lsn <= raft_base_lsn(s->raft))
        return;
    struct raft_event event = {
        .type = RAFT_EV_COMPACT, .now_us = now, .compact = {.lsn = lsn}};
    CHECK(step(s, &event, NULL) == ERR_OK);
    entries_drop_below(&s->entries, lsn + 1);
}

bool shard_trim(struct shard *s, size_t budget)
{
    return memtable_trim(s->memtable, kv_flushed_lsn(s->kv), budget);
}

uint64_t shard_keep_from(const struct shard *s)
{
    return kv_flushed_lsn(s->kv) + 1;
}

void shard_drop_container(struct shard *s, uint32_t container)
{
    CHECK(container >= CONTAINER_FIRST_USER);
    uint8_t prefix[RECORD_PREFIX_LEN];
    for (int table = RECORD_TABLE_TEXT; table <= RECORD_TABLE_ID; table++) {
        record_prefix((uint8_t)table, container, prefix);
        while (!memtable_drop_prefix(s->memtable,
                                     bytes_of(prefix, sizeof(prefix)),
                                     SHARD_COLLECT_BUDGET)) {
        }
    }
}

/* ---- snapshots
 * ------------------------------------------------------------------
 */

int shard_snapshot_offer(const struct shard *s, raft_id to, uint64_t lsn,
                         struct raft_msg *msg_out)
{
    return raft_snapshot_offer(s->raft, to, lsn, msg_out);
}

void shard_snapshot_sent(struct shard *s, usec_t now, raft_id to, bool ok)
{
    struct raft_event event = {.type = RAFT_EV_SNAPSHOT_SENT,
                               .now_us = now,
                               .snapshot_sent = {.id = to, .ok = ok}};
    step(s, &event, NULL);
}

int shard_installed(struct shard *s, usec_t now, raft_id from, uint64_t lsn,
                    uint64_t term, const struct raft_config *config)
{
    /* A flush still under way writes to the state that is replaced. */
    if (s->flushing || s->installing)
        return ERR_AGAIN;
    struct raft_event event = {
        .type = RAFT_EV_INSTALLED,
        .now_us = now,
        .installed = {
            .from = from, .lsn = lsn, .term = term, .config = config}};
    int err = step(s, &event, NULL);
    if (err != ERR_OK)
        return err;
    if (!s->installing)
        return ERR_STALE; /* the log already agrees up to there */
    fail_all(s, &s->scans, ERR_NO_LEADER);
    return ERR_OK;
}

void shard_adopted(struct shard *s, usec_t now)
{
    CHECK(s->installing);
    s->installing = false;
    s->env->on_committed(s->env->user, s, NULL);
    serve_ready(s);
    shard_tick(s, now);
}

/* ---- looking
 * ----------------------------------------------------------------- */

bool shard_installing(const struct shard *s)
{
    return s->installing;
}

uint16_t shard_id(const struct shard *s)
{
    return s->id;
}

void *shard_user(const struct shard *s)
{
    return s->user;
}

const struct raft *shard_raft(const struct shard *s)
{
    return s->raft;
}

void shard_set_key(struct shard *s, uint32_t key_id)
{
    s->key_id = key_id;
    s->has_key = true;
}

bool shard_has_key(const struct shard *s)
{
    return s->has_key;
}

void shard_set_no_space(struct shard *s, bool no_space)
{
    s->no_space = no_space;
}

raft_id shard_leader(const struct shard *s)
{
    return raft_leader(s->raft);
}

uint64_t shard_commit_lsn(const struct shard *s)
{
    return raft_commit_lsn(s->raft);
}

void shard_status(const struct shard *s, struct shard_status *status_out)
{
    *status_out =
        (struct shard_status){.id = s->id,
                              .role = raft_role(s->raft),
                              .leader = raft_leader(s->raft),
                              .term = raft_term(s->raft),
                              .last_lsn = raft_last_lsn(s->raft),
                              .commit_lsn = raft_commit_lsn(s->raft),
                              .flushed_lsn = kv_flushed_lsn(s->kv),
                              .base_lsn = raft_base_lsn(s->raft),
                              .memtable_bytes = memtable_bytes(s->memtable),
                              .entry_bytes = s->entries.bytes,
                              .waiting = s->waiting,
                              .has_key = s->has_key,
                              .no_space = s->no_space,
                              .installing = s->installing};
}

int shard_open_value(struct shard *s, struct bytes key, struct bytes sealed,
                     struct buf *out)
{
    return seal_open(s->sealer, s->id, key, 0, sealed, NULL, out);
}

int shard_each_record(struct shard *s, uint32_t container,
                      void (*each)(void *user, uint64_t record,
                                   struct bytes text),
                      void *user)
{
    struct record_key from, to;
    struct view_iter it;
    struct bytes key, sealed;
    record_container_range(container, &from, &to);
    int err = kv_begin(s->kv);
    if (err != ERR_OK)
        return err;
    err = view_iter_open(s->memtable, s->kv, record_key_bytes(&from),
                         record_key_bytes(&to), read_lsn(s), &it);
    if (err == ERR_OK) {
        struct buf text;
        buf_init(&text, OP_BODY_MAX);
        while ((err = view_iter_next(&it, &key, &sealed)) == ERR_OK) {
            buf_clear(&text);
            err = shard_open_value(s, key, sealed, &text);
            if (err != ERR_OK)
                break;
            uint32_t number;
            uint64_t record;
            record_text_key_parts(key, &number, &record);
            each(user, record, bytes_of(buf_bytes(&text), buf_len(&text)));
        }
        buf_wipe(&text);
        view_iter_close(&it);
    }
    kv_end(s->kv);
    return err == ERR_EOF ? ERR_OK : err;
}
