/* Requests: what is asked of a replica, how it waits, how it is answered.
 *
 * A write that fails (there is such a record already, there is none, the tag is
 * another) has read something, and what it read may not be committed yet, or
 * may be what a deposed leader remembers. Such a refusal waits like a read:
 * until everything it rests on is acknowledged and the lease holds; or, where
 * the lease does not hold, until a read-index round has shown that this replica
 * still leads in the term in which it refused.
 */
#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/catalog/rid.h"
#include "node/shard/canary.h"
#include "node/shard/evaluate.h"
#include "node/shard/mark.h"
#include "node/shard/record.h"
#include "node/shard/shard_impl.h"
#include "node/store/effects.h"

/* What a write may take beside its document: keys, framing, properties. */
#define WRITE_OVERHEAD 1024

static struct shard_request *request_of(struct list *node)
{
    return LIST_ENTRY(node, struct shard_request, node);
}

/* ---- ending ----------------------------------------------------------------
 */

void shard_finish(struct shard *s, struct shard_request *req)
{
    list_remove(&req->node);
    shard_scan_free(req);
    CHECK(s->waiting > 0);
    s->waiting--;
    s->damaged += req->result.err == ERR_CORRUPT || req->result.err == ERR_IO;
    req->done(req, &req->result);
}

void shard_fail(struct shard *s, struct shard_request *req, int err)
{
    CHECK(err != ERR_OK);
    req->result.err = err;
    buf_free(&req->result.body);
    shard_finish(s, req);
}

void shard_fail_all(struct shard *s, struct list *requests, int err)
{
    struct list taken;
    list_init(&taken);
    list_splice(&taken, requests);
    while (!list_empty(&taken))
        shard_fail(s, request_of(taken.next), err);
}

void shard_expire(struct shard *s, usec_t now, struct list *requests, int err)
{
    struct list over;
    list_init(&over);
    LIST_EACH_SAFE(node, requests)
    {
        if (request_of(node)->deadline_us <= now) {
            list_remove(node);
            list_push_back(&over, node);
        }
    }
    shard_fail_all(s, &over, err);
}

/* Puts a request where its LSN belongs; it is nearly always the end. */
static void wait_by_lsn(struct list *waiting, struct shard_request *req)
{
    struct list *after = waiting->prev;
    while (after != waiting && request_of(after)->lsn > req->lsn)
        after = after->prev;
    list_push_front(after, &req->node);
}

/* ---- reads -----------------------------------------------------------------
 */

/* A follower may only have to catch up. */
int shard_read_moved(const struct shard *s, const struct op *op, uint64_t lsn)
{
    struct mark m;
    int err = mark_find(s->memtable, s->kv, op->at.container, lsn, &m);
    if (err == ERR_OK)
        err = mark_admit_read(&m, op);
    if (err == ERR_MOVED && raft_role(s->raft) != RAFT_LEADER)
        err = ERR_NOT_LEADER;
    return err;
}

static int read_record(struct shard *s, const struct op *op, uint64_t lsn,
                       struct op_result *result)
{
    struct bytes sealed;
    int err = kv_begin(s->kv);
    if (err != ERR_OK)
        return err;
    err = shard_read_moved(s, op, lsn);
    if (err == ERR_OK)
        err = evaluate_find(s->memtable, s->kv, &op->at, lsn, &result->record,
                            &result->etag, &sealed);
    if (err == ERR_OK)
        err = evaluate_condition(op, &result->etag);
    if (err == ERR_OK) {
        struct record_key key;
        record_text_key(&op->at, result->record, &key);
        err =
            shard_open_value(s, record_key_bytes(&key), sealed, &result->body);
    }
    kv_end(s->kv);
    return err;
}

/* Strong reads, and whatever is no read, see what is committed here. */
uint64_t shard_read_lsn(const struct shard *s, const struct op *op)
{
    if (op->level == CONSISTENCY_STRONG)
        return s->commit_seen;
    return SHARD_PLANTED(READ_UNACKED) ? raft_last_lsn(s->raft)
                                       : s->visible_seen;
}

void shard_set_state(struct shard *s, struct op_result *result, uint64_t lsn)
{
    result->lsn = lsn;
    CHECK(raft_term_at(s->raft, lsn, &result->term) == ERR_OK);
}

/* Answers a read whose LSN is applied. */
static void serve(struct shard *s, struct shard_request *req)
{
    struct op_result *result = &req->result;
    if (raft_overruled(s->raft)) { /* what is here is another history */
        shard_fail(s, req, ERR_NOT_LEADER);
        return;
    }
    uint64_t lsn = shard_read_lsn(s, req->op);
    CHECK(!s->installing && req->lsn <= lsn);
    shard_set_state(s, result, lsn);
    switch (req->op->kind) {
    case OP_READ:
        if (SHARD_PLANTED(CLAIM_NEWER))
            lsn = s->commit_seen;
        result->err = read_record(s, req->op, lsn, result);
        shard_finish(s, req);
        return;
    case OP_SCAN:
        shard_scan_start(s, req);
        return;
    case OP_BARRIER:
        result->err = ERR_OK;
        shard_finish(s, req);
        return;
    case OP_WRITE: /* a refusal */
        if (raft_role(s->raft) != RAFT_LEADER ||
            raft_term(s->raft) != req->refused_term)
            result->err = ERR_NOT_LEADER;
        shard_fail(s, req, result->err);
        return;
    default:
        CHECK_UNREACHABLE();
    }
}

/* Whether this replica may answer from its own state: it leads, its lease
 * holds, and it has committed an entry of its term (thesis 6.4). */
static bool lease_holds(const struct shard *s, usec_t now)
{
    uint64_t term;
    return raft_may_read(s->raft, now) &&
           raft_term_at(s->raft, raft_commit_lsn(s->raft), &term) == ERR_OK &&
           term == raft_term(s->raft);
}

static void serve_at(struct shard *s, struct shard_request *req, uint64_t lsn)
{
    req->lsn = lsn;
    if (lsn <= s->commit_seen)
        serve(s, req);
    else
        list_push_back(&s->reads_lsn, &req->node);
}

static void read_strongly(struct shard *s, usec_t now,
                          struct shard_request *req)
{
    if (SHARD_PLANTED(READ_ANYWHERE))
        serve_at(s, req, s->commit_seen);
    else if (lease_holds(s, now))
        /* What is acknowledged may be above the commit point where the write
         * region acknowledges alone. */
        serve_at(s, req, s->ack_seen);
    else
        list_push_back(&s->reads_new, &req->node);
}

/* ---- weak reads -------------------------------------------------------------
 */

/* Whether what is visible here is a state that anybody should see: not that of
 * a replica that began from nothing a moment ago. */
static bool has_state(const struct shard *s)
{
    return raft_amnesiac(s->raft) == RAFT_AMNESIA_NONE &&
           raft_config_at(s->raft, s->visible_seen)->n > 0;
}

/* The newest time before which everything acknowledged is visible here. */
static usec_t fresh_since(const struct shard *s, usec_t now)
{
    if (SHARD_PLANTED(OWN_CLOCK_ONLY) && raft_role(s->raft) != RAFT_LEADER)
        return s->append_us;
    return raft_fresh_since(s->raft, now);
}

static void read_bounded(struct shard *s, usec_t now, struct shard_request *req)
{
    usec_t since = fresh_since(s, now);
    if (since > 0 && now - since <= SHARD_FRESH_US) {
        serve(s, req);
    } else if (raft_role(s->raft) == RAFT_LEADER) {
        read_strongly(s, now, req);
    } else {
        s->bounded_refused++;
        shard_fail(s, req, ERR_NOT_LEADER);
    }
}

static bool token_satisfied(const struct shard *s, const struct op *op)
{
    uint32_t epoch = RAFT_TERM_EPOCH(s->visible_term);
    if (SHARD_PLANTED(FORGET_TOKENS))
        return true;
    if (SHARD_PLANTED(TOKEN_WITHOUT_EPOCH))
        return s->visible_seen >= op->session_lsn;
    return shard_satisfies(epoch, s->visible_seen, op->session_epoch,
                           op->session_lsn);
}

static void read_in_session(struct shard *s, usec_t now,
                            struct shard_request *req)
{
    if (token_satisfied(s, req->op)) {
        serve(s, req);
        return;
    }
    s->session_waits++;
    req->wait_until_us = now + SHARD_SESSION_WAIT_US;
    list_push_back(&s->reads_token, &req->node);
}

static void serve_sessions(struct shard *s)
{
    struct list ready;
    list_init(&ready);
    LIST_EACH_SAFE(node, &s->reads_token)
    {
        if (token_satisfied(s, request_of(node)->op)) {
            list_remove(node);
            list_push_back(&ready, node);
        }
    }
    while (!list_empty(&ready))
        serve(s, request_of(list_pop_front(&ready)));
}

void shard_expire_sessions(struct shard *s, usec_t now)
{
    struct list over;
    list_init(&over);
    LIST_EACH_SAFE(node, &s->reads_token)
    {
        if (request_of(node)->wait_until_us <= now ||
            request_of(node)->deadline_us <= now) {
            list_remove(node);
            list_push_back(&over, node);
            s->session_behind++;
        }
    }
    shard_fail_all(s, &over, ERR_BEHIND);
}

static void submit_read(struct shard *s, usec_t now, struct shard_request *req)
{
    const struct op *op = req->op;
    if (op->kind == OP_BARRIER && op->min_lsn != 0)
        serve_at(s, req, op->min_lsn);
    else if (op->level == CONSISTENCY_STRONG || !has_state(s))
        read_strongly(s, now, req);
    else if (op->level == CONSISTENCY_BOUNDED)
        read_bounded(s, now, req);
    else if (op->level == CONSISTENCY_SESSION)
        read_in_session(s, now, req);
    else
        serve(s, req);
}

void shard_serve_ready(struct shard *s)
{
    struct list ready;
    list_init(&ready);
    serve_sessions(s);
    LIST_EACH_SAFE(node, &s->reads_lsn)
    {
        if (request_of(node)->lsn <= s->commit_seen) {
            list_remove(node);
            list_push_back(&ready, node);
        }
    }
    while (!list_empty(&ready))
        serve(s, request_of(list_pop_front(&ready)));
}

void shard_ask_refusals(struct shard *s, usec_t now)
{
    if (!list_empty(&s->refusals) && !lease_holds(s, now))
        list_splice(&s->reads_new, &s->refusals);
}

/* Rounds end in the order in which they began, and so lie in reads_asked. */
void shard_reads_done(struct shard *s, const struct raft_read_done *done)
{
    struct list over, unsure; /* reads, refusals */
    list_init(&over);
    list_init(&unsure);
    while (!list_empty(&s->reads_asked)) {
        struct shard_request *req = request_of(s->reads_asked.next);
        if (req->read > done->id)
            break;
        list_remove(&req->node);
        req->lsn = done->lsn > req->lsn ? done->lsn : req->lsn;
        struct list *lost = req->op->kind == OP_WRITE ? &unsure : &over;
        list_push_back(done->result == ERR_OK ? &s->reads_lsn : lost,
                       &req->node);
    }
    shard_fail_all(s, &unsure, ERR_NOT_LEADER);
    shard_fail_all(s, &over, ERR_NO_LEADER);
}

/* ---- answering writes -------------------------------------------------------
 */

/* The text that a logged write put, from its entry. */
static void entry_text(struct shard *s, const struct entry *e, struct buf *out)
{
    struct effects_head head;
    struct effects_iter iter;
    struct effect effect;
    CHECK(effects_open(entry_payload(e), &head, &iter) == ERR_OK);
    while (effects_next(&iter, &effect)) {
        if (effect.kind != EFFECT_PUT ||
            effect.key.data[0] != RECORD_TABLE_TEXT)
            continue;
        (void)seal_open(s->sealer, s->id, effect.key, e->lsn, effect.value,
                        NULL, out);
        return;
    }
}

/* Fills the answer of a write that an earlier attempt had logged: the text it
 * stored, from the log's tail in memory or, unless it was replaced since, from
 * the record. Else the answer has no text. */
static void recall_text(struct shard *s, struct shard_request *req)
{
    struct op_result *result = &req->result;
    struct entry *e = entries_at(&s->entries, req->lsn);
    if (e != NULL) {
        entry_text(s, e, &result->body);
        return;
    }
    struct op as_read = {.kind = OP_READ,
                         .shard = s->id,
                         .at = req->op->at,
                         .condition = OP_COND_IF_MATCH,
                         .etag = result->etag};
    struct op_result current;
    op_result_init(&current);
    if (read_record(s, &as_read, s->commit_seen, &current) == ERR_OK) {
        buf_free(&result->body);
        result->body = current.body;
    } else {
        op_result_free(&current);
    }
}

static void answer_write(struct shard *s, struct shard_request *req)
{
    req->result.err = ERR_OK;
    if (req->repeated)
        recall_text(s, req);
    shard_finish(s, req);
}

/* Moves the requests up to `lsn` from the front of a list. */
static void take_up_to(struct list *waiting, uint64_t lsn, struct list *taken)
{
    while (!list_empty(waiting) && request_of(waiting->next)->lsn <= lsn)
        list_push_back(taken, list_pop_front(waiting));
}

void shard_answer_writes(struct shard *s, usec_t now)
{
    struct list acked, refused;
    list_init(&acked);
    list_init(&refused);
    uint64_t upto = s->ack_seen;
    if (SHARD_PLANTED(ANSWER_EARLY))
        upto = s->entries.next - 1;
    else if (SHARD_PLANTED(ACK_ONE_EARLY) && s->durable == s->written)
        upto = s->entries.next - 1;
    take_up_to(&s->writes, upto, &acked);
    if (!list_empty(&s->refusals) && lease_holds(s, now))
        take_up_to(&s->refusals, s->ack_seen, &refused);
    while (!list_empty(&acked))
        answer_write(s, request_of(acked.next));
    while (!list_empty(&refused)) {
        struct shard_request *req = request_of(refused.next);
        shard_fail(s, req, req->result.err);
    }
}

/* ---- writes ----------------------------------------------------------------
 */

/* The LSN that the next write gets, and no other. */
static uint64_t next_lsn(const struct shard *s)
{
    return raft_last_lsn(s->raft) + 1 + s->queue_len;
}

static void queue_entry(struct shard *s, usec_t now, struct entry *e)
{
    CHECK(e->lsn == next_lsn(s) && e->term == raft_term(s->raft));
    if (s->queue_len == s->queue_cap) {
        s->queue_cap = s->queue_cap > 0 ? s->queue_cap * 2 : 64;
        s->queue = mem_realloc(s->queue, s->queue_cap * sizeof(struct entry *));
    }
    s->queue[s->queue_len++] = e;
    s->queue_bytes += e->len;
    CHECK(memtable_apply(s->memtable, e) == ERR_OK);
    dedupe_add(&s->dedupe, e, now);
}

/* LSNs that a cancelled queue was sealed for must not be sealed for again while
 * this term lasts: entries without effects take them. ERR_NO_MEMORY. */
static int skip_sealed(struct shard *s, usec_t now)
{
    static const struct effects_head nobody;
    uint64_t term = raft_term(s->raft);
    int err = ERR_OK;
    while (err == ERR_OK && s->sealed_term == term &&
           next_lsn(s) <= s->sealed_lsn) {
        struct effects_builder b;
        struct entry *e;
        err = effects_begin(&b, &nobody);
        if (err == ERR_OK)
            err = effects_finish(&b, next_lsn(s), term, RAFT_ENTRY_DATA, &e);
        if (err == ERR_OK)
            queue_entry(s, now, e);
        else
            effects_builder_free(&b);
    }
    return err;
}

void shard_cancel_queue(struct shard *s, struct list *cancelled)
{
    list_splice(cancelled, &s->queued);
    list_splice(cancelled, &s->refusals);
    if (s->queue_len == 0)
        return;
    memtable_truncate(s->memtable, s->queue[0]->lsn);
    dedupe_truncate(&s->dedupe, s->queue[0]->lsn);
    for (uint32_t i = 0; i < s->queue_len; i++)
        entry_unref(TAKE(s->queue[i]));
    s->queue_len = 0;
    s->queue_bytes = 0;
}

uint64_t shard_last_lsn(const struct shard *s)
{
    CHECK_OBJ(s, SHARD_MAGIC);
    return next_lsn(s) - 1;
}

/* Why no write can be accepted now, whatever it is. */
static int refuse_write(const struct shard *s, const struct op *op)
{
    if (!s->has_key)
        return ERR_UNAVAILABLE;
    if (s->no_space)
        return ERR_NO_SPACE;
    if (next_lsn(s) > RID_LSN_MAX)
        return ERR_LIMIT;
    size_t bytes = (size_t)(s->appended_bytes - s->committed_bytes) +
                   s->queue_bytes + op->body.len + WRITE_OVERHEAD;
    if (next_lsn(s) - s->commit_seen > SHARD_UNCOMMITTED_ENTRIES_MAX ||
        bytes > SHARD_UNCOMMITTED_BYTES_MAX ||
        !memtable_has_room(s->memtable, op->body.len + WRITE_OVERHEAD))
        return ERR_THROTTLED;
    return ERR_OK;
}

/* Up to where writes are acknowledged, now and not only when it was last said.
 */
static uint64_t acknowledged(const struct shard *s, usec_t now)
{
    return s->ack_seen > s->commit_seen && raft_may_ack(s->raft, now)
               ? s->ack_seen
               : s->commit_seen;
}

/* The operation was logged before: answers it, or waits for its entry. */
static bool submit_repeated(struct shard *s, usec_t now,
                            struct shard_request *req)
{
    struct dedupe_found found;
    if (SHARD_PLANTED(FORGET_OPS) ||
        !dedupe_find(&s->dedupe, req->op->id, &found))
        return false;
    if (!s->has_key) { /* what it wrote could not be shown */
        shard_fail(s, req, ERR_STALE);
        return true;
    }
    req->repeated = true;
    req->lsn = found.lsn;
    req->result.lsn = found.lsn;
    req->result.term = found.term;
    req->result.record = found.record;
    req->result.created = found.created;
    req->result.etag = (struct etag){
        .term = found.term, .lsn = found.lsn, .shard = s->id, .position = 0};
    if (found.lsn <= acknowledged(s, now))
        answer_write(s, req);
    else if (found.lsn <= raft_last_lsn(s->raft))
        wait_by_lsn(&s->writes, req);
    else /* of this very turn: it shares the fate of the queue */
        wait_by_lsn(&s->queued, req);
    return true;
}

/* Whether an error says something about the records there are; INVALID is
 * admit's. */
static bool is_refusal(int err)
{
    return err == ERR_EXISTS || err == ERR_NOT_FOUND ||
           err == ERR_PRECONDITION || err == ERR_MOVED || err == ERR_INVALID;
}

static void submit_refused(struct shard *s, usec_t now,
                           struct shard_request *req, int err)
{
    req->lsn = next_lsn(s) - 1;
    req->refused_term = raft_term(s->raft);
    req->result.err = err;
    req->result.lsn = req->lsn; /* what the refusal rests on */
    if (raft_term_at(s->raft, req->lsn, &req->result.term) != ERR_OK)
        req->result.term = req->refused_term; /* of this turn */
    if (is_refusal(err) && !SHARD_PLANTED(REFUSE_EARLY) &&
        (req->lsn > s->ack_seen || !lease_holds(s, now))) {
        buf_free(&req->result.body);
        list_push_back(&s->refusals, &req->node);
    } else {
        shard_fail(s, req, err);
    }
}

/* Whether an operation is about an entry that was not overwritten. */
static bool op_survived(const struct shard *s, const struct op *op)
{
    return op->condition == OP_COND_IF_OVERWRITTEN &&
           !terms_overwritten(&s->terms, raft_last_lsn(s->raft), op->etag.term,
                              op->etag.lsn);
}

static void submit_write(struct shard *s, usec_t now, struct shard_request *req)
{
    if (raft_role(s->raft) != RAFT_LEADER || raft_transferring(s->raft) != 0) {
        shard_fail(s, req, ERR_NOT_LEADER);
        return;
    }
    /* First of all: what was logged was not refused, however full the node is
     * by now. */
    if (submit_repeated(s, now, req))
        return;
    if (req->op->since_us > 0 &&
        dedupe_may_have_forgotten(
            &s->dedupe, op_is_mover(req->op) ? DEDUPE_MOVER : DEDUPE_CLIENT,
            req->op->since_us)) {
        shard_fail(s, req, ERR_FORGOTTEN);
        return;
    }
    uint32_t retry_ms = SHARD_RETRY_AFTER_MS;
    int err = refuse_write(s, req->op);
    if (err == ERR_OK)
        err = shard_govern_write(s, now, next_lsn(s), &retry_ms);
    if (err != ERR_OK) {
        req->result.retry_after_ms = err == ERR_THROTTLED ? retry_ms : 0;
        shard_fail(s, req, err);
        return;
    }
    if (s->env->admit != NULL)
        err = s->env->admit(s->env->user, s, req->op, &req->result.message);
    if (err != ERR_OK) {
        submit_refused(s, now, req, err);
        return;
    }
    if (op_survived(s, req->op)) {
        submit_refused(s, now, req, ERR_PRECONDITION);
        return;
    }
    err = skip_sealed(s, now);
    if (err != ERR_OK) {
        shard_fail(s, req, err);
        return;
    }
    struct evaluate_at at = {.shard = s->id,
                             .term = raft_term(s->raft),
                             .lsn = next_lsn(s),
                             .now_s = s->env->wall_sec(s->env->user),
                             .key_id = s->key_id,
                             .sealer = s->sealer,
                             .memtable = s->memtable,
                             .kv = s->kv};
    struct entry *e = NULL;
    err = evaluate_write(&at, req->op, &req->result, &e);
    if (err == ERR_NO_MEMORY) { /* it may have been sealed for */
        s->sealed_lsn = at.lsn;
        s->sealed_term = at.term;
    }
    if (err != ERR_OK) {
        submit_refused(s, now, req, err);
        return;
    }
    req->lsn = s->sealed_lsn = at.lsn;
    s->sealed_term = at.term;
    queue_entry(s, now, e);
    list_push_back(&s->queued, &req->node);
}

static bool container_deleted(const struct shard *s, uint32_t container)
{
    return container >= CONTAINER_FIRST_USER &&
           s->env->container_deleted != NULL &&
           s->env->container_deleted(s->env->user, s,
                                     CONTAINER_BASE(container));
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
    if (s->closing) {
        shard_fail(s, req, ERR_UNAVAILABLE);
    } else if (s->witness) {
        shard_fail(s, req, ERR_NOT_LEADER);
    } else if (s->installing) {
        shard_fail(s, req, ERR_NO_LEADER);
    } else if (s->waiting > SHARD_WAITING_MAX) {
        req->result.retry_after_ms = SHARD_RETRY_AFTER_MS;
        shard_fail(s, req, ERR_THROTTLED);
    } else if (container_deleted(s, req->op->at.container)) {
        req->result.parent_missing = true;
        shard_fail(s, req, ERR_NOT_FOUND);
    } else if (req->op->kind == OP_WRITE) {
        submit_write(s, now, req);
    } else if (s->distrusted && req->op->kind != OP_BARRIER &&
               raft_role(s->raft) != RAFT_LEADER) {
        shard_fail(s, req, ERR_NOT_LEADER);
    } else {
        submit_read(s, now, req);
    }
}
