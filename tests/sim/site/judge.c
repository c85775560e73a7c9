#include "tests/sim/site/judge.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/base/err.h"
#include "node/base/mem.h"

static bool bad(char why[JUDGE_TEXT_MAX], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* False, always. */
static bool bad(char why[JUDGE_TEXT_MAX], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, JUDGE_TEXT_MAX, format, args);
    va_end(args);
    return false;
}

static uint64_t number(const struct history *h, const struct hist_op *op)
{
    return (uint64_t)(op - h->ops) + 1;
}

/* The level at which an operation was done: the weakest that was in force while
 * it was under way, or what the client asked for if that is weaker still. */
static enum consistency_level level_of(const struct history *h,
                                       const struct hist_op *op)
{
    enum consistency_level account =
        history_promised(h, op->called_us, op->answered_us).level;
    return op->level > account ? op->level : account;
}

/* Writes know no level of their own: the account's counts. */
static enum consistency_level write_level(const struct history *h,
                                          const struct hist_op *op)
{
    return history_promised(h, op->called_us, op->answered_us).level;
}

/* ---- what is kept -----------------------------------------------------------
 */

/* Whoever is told that nothing was done can count on it. */
static bool refusals_hold(const struct history *h, char why[JUDGE_TEXT_MAX])
{
    for (size_t i = 0; i < h->n_entries; i++) {
        const struct hist_entry *e = &h->entries[i];
        if (e->op == 0 || e->delivery || !history_survived(h, e->shard, e->at))
            continue;
        const struct hist_op *op = &h->ops[e->op - 1];
        if (op->answered_us != HIST_NEVER && op->result != ERR_OK)
            return bad(why,
                       "operation %" PRIu64 " took effect at %u/%" PRIu64
                       " of term %" PRIx64 ", though it was answered %s",
                       e->op, e->shard, e->at.lsn, e->at.term,
                       err_name(op->result));
    }
    return true;
}

bool judge_survival(const struct history *h, char why[JUDGE_TEXT_MAX])
{
    if (!refusals_hold(h, why))
        return false;
    for (size_t i = 0; i < h->n_ops; i++) {
        const struct hist_op *op = &h->ops[i];
        if (!history_is_write(op) || !history_done(op) ||
            history_survived(h, op->shard, op->at))
            continue;
        enum consistency_level level = write_level(h, op);
        if (level == CONSISTENCY_STRONG || !history_may_be_lost(h, op->at))
            return bad(why,
                       "acknowledged write lost: operation %zu at %u/%" PRIu64
                       " of term %" PRIx64 ", level %s",
                       i + 1, op->shard, op->at.lsn, op->at.term,
                       consistency_name(level));
    }
    return true;
}

static bool in_feed(const struct history *h, const struct hist_entry *e)
{
    for (size_t i = 0; i < h->n_conflicts; i++) {
        const struct hist_conflict *c = &h->conflicts[i];
        if (c->shard == e->shard && c->at.lsn == e->at.lsn &&
            c->at.term == e->at.term)
            return true;
    }
    return false;
}

/* What it holds is what that entry wrote. */
static bool tells_of(const struct history *h, const struct hist_conflict *c,
                     const struct hist_entry *e)
{
    if (e == NULL || !e->data || e->delivery || e->op == 0)
        return false;
    bool deletes = h->ops[e->op - 1].kind == LINEAR_DELETE;
    return c->version == (deletes ? 0 : e->op);
}

static bool is_twice(const struct history *h, size_t i)
{
    const struct hist_conflict *c = &h->conflicts[i];
    for (size_t k = 0; k < i; k++)
        if (h->conflicts[k].shard == c->shard &&
            h->conflicts[k].at.lsn == c->at.lsn &&
            h->conflicts[k].at.term == c->at.term)
            return true;
    return false;
}

static bool feed_is_true(const struct history *h, char why[JUDGE_TEXT_MAX])
{
    for (size_t i = 0; i < h->n_conflicts; i++) {
        const struct hist_conflict *c = &h->conflicts[i];
        const char *wrong = NULL;
        if (!tells_of(h, c, history_at(h, c->shard, c->at)))
            wrong = "was never logged";
        else if (history_survived(h, c->shard, c->at))
            wrong = "was not lost";
        else if (is_twice(h, i))
            wrong = "is there twice";
        if (wrong != NULL)
            return bad(why,
                       "conflict feed: operation %" PRIu64 " at %u/%" PRIu64
                       " of term %" PRIx64 " %s",
                       c->version, c->shard, c->at.lsn, c->at.term, wrong);
    }
    return true;
}

bool judge_conflicts(const struct history *h, char why[JUDGE_TEXT_MAX])
{
    if (!feed_is_true(h, why))
        return false;
    for (size_t i = 0; i < h->n_ops; i++) {
        const struct hist_op *op = &h->ops[i];
        if (!history_is_write(op) || !history_done(op) ||
            history_survived(h, op->shard, op->at))
            continue;
        const struct hist_entry *e = history_at(h, op->shard, op->at);
        if (e == NULL || e->op != i + 1)
            return bad(why,
                       "operation %zu was acknowledged at %u/%" PRIu64
                       " of term %" PRIx64 ", which holds another",
                       i + 1, op->shard, op->at.lsn, op->at.term);
        if (!in_feed(h, e))
            return bad(why,
                       "conflict feed: lacks operation %zu, acknowledged at "
                       "%u/%" PRIu64 " of term %" PRIx64 " and lost",
                       i + 1, op->shard, op->at.lsn, op->at.term);
    }
    return true;
}

/* ---- strong -----------------------------------------------------------------
 */

static struct linear_op as_linear(const struct history *h,
                                  const struct hist_op *op)
{
    return (struct linear_op){
        .kind = op->kind,
        .version = op->kind == LINEAR_READ ? op->version : number(h, op),
        .conditional = op->conditional,
        .expected = op->expected,
        .called = op->called,
        .answered = op->answered,
        .result = op->result,
        .created = op->created,
    };
}

/* A time in which every operation was strong: from when the account was, until
 * it was no longer. */
struct strong_time {
    usec_t from_us, to_us;
};

static bool next_strong(const struct history *h, size_t *at,
                        struct strong_time *out)
{
    for (; *at < h->n_promises; (*at)++) {
        if (h->promises[*at].level != CONSISTENCY_STRONG)
            continue;
        out->from_us = h->promises[*at].from_us;
        while (*at < h->n_promises &&
               h->promises[*at].level == CONSISTENCY_STRONG)
            (*at)++;
        out->to_us =
            *at < h->n_promises ? h->promises[*at].from_us : HIST_NEVER;
        return true;
    }
    return false;
}

/* Refused: nothing was done, which judge_survival checks. */
static bool is_refused(const struct hist_op *op)
{
    return op->answered_us != HIST_NEVER && op->result != ERR_OK &&
           op->result != ERR_EXISTS && op->result != ERR_NOT_FOUND &&
           op->result != ERR_PRECONDITION;
}

/* What a time saw of a document. Writes that reach over its edges may have come
 * at any moment of it, or not; reads that do say nothing. */
static size_t collect(const struct history *h, uint16_t shard, uint32_t key,
                      const struct strong_time *t, struct linear_op *out)
{
    size_t n = 0;
    for (size_t i = 0; i < h->n_ops; i++) {
        const struct hist_op *op = &h->ops[i];
        if (op->shard != shard || op->key != key || op->called_us >= t->to_us ||
            is_refused(op))
            continue;
        if (op->answered_us != HIST_NEVER && op->answered_us < t->from_us)
            continue; /* in the first state, or not */
        bool inside = op->called_us >= t->from_us &&
                      op->answered_us != HIST_NEVER &&
                      op->answered_us < t->to_us;
        if (!history_is_write(op) &&
            (!inside || op->level != CONSISTENCY_STRONG))
            continue;
        out[n] = as_linear(h, op);
        if (!inside)
            out[n].answered = LINEAR_NEVER;
        n++;
    }
    return n;
}

static bool linear_key(const struct history *h, uint16_t shard, uint32_t key,
                       char why[JUDGE_TEXT_MAX])
{
    struct linear_op *ops = mem_alloc((h->n_ops + 1) * sizeof(*ops));
    struct strong_time t;
    bool ok = true;
    for (size_t at = 0; ok && next_strong(h, &at, &t);) {
        size_t n = collect(h, shard, key, &t, ops);
        uint64_t initial = t.from_us == 0 ? 0 : LINEAR_ANY;
        if (linear_check(ops, n, initial) == LINEAR_BAD)
            ok = bad(why,
                     "not linearizable: the %zu strong operations on document "
                     "%u of shard %u from %.3f ms on",
                     n, key, shard, (double)t.from_us / 1000.0);
    }
    mem_free(ops);
    return ok;
}

static uint32_t keys(const struct history *h)
{
    uint32_t n = 0;
    for (size_t i = 0; i < h->n_ops; i++)
        n = h->ops[i].key >= n ? h->ops[i].key + 1 : n;
    return n;
}

bool judge_linear(const struct history *h, char why[JUDGE_TEXT_MAX])
{
    uint32_t n = keys(h);
    for (uint16_t shard = 0; shard < HIST_SHARDS_MAX; shard++)
        for (uint32_t key = 0; key < n; key++)
            if (!linear_key(h, shard, key, why))
                return false;
    return true;
}

/* ---- prefix -----------------------------------------------------------------
 */

static bool is_read(const struct hist_op *op)
{
    return op->kind == LINEAR_READ && op->answered_us != HIST_NEVER &&
           (op->result == ERR_OK || op->result == ERR_NOT_FOUND);
}

bool judge_prefix(const struct history *h, char why[JUDGE_TEXT_MAX])
{
    for (size_t i = 0; i < h->n_ops; i++) {
        const struct hist_op *op = &h->ops[i];
        if (!is_read(op))
            continue;
        if (op->at.lsn > 0 && history_at(h, op->shard, op->at) == NULL)
            return bad(why,
                       "read %zu names %u/%" PRIu64 " of term %" PRIx64
                       ", which nobody logged",
                       i + 1, op->shard, op->at.lsn, op->at.term);
        uint64_t version = history_state(h, op->shard, op->key, op->at);
        if (version != op->version)
            return bad(why,
                       "no prefix: read %zu of document %u saw operation "
                       "%" PRIu64 " at %u/%" PRIu64 " of term %" PRIx64
                       ", where operation %" PRIu64 " is the newest",
                       i + 1, op->key, op->version, op->shard, op->at.lsn,
                       op->at.term, version);
        if (!history_survived(h, op->shard, op->at) &&
            !history_may_be_lost(h, op->at))
            return bad(why,
                       "read %zu saw %u/%" PRIu64 " of term %" PRIx64
                       ", which was never acknowledged",
                       i + 1, op->shard, op->at.lsn, op->at.term);
    }
    return true;
}

/* ---- sessions ---------------------------------------------------------------
 */

/* What a session holds of one shard. */
struct memory {
    struct hist_place wrote, read;
    size_t wrote_op, read_op; /* + 1 */
};

/* What is left of a memory when a forced switch has lost it. */
static struct hist_place floor_of(const struct history *h, uint16_t shard,
                                  struct hist_place at)
{
    return history_may_be_lost(h, at) ? history_branch(h, shard, at) : at;
}

static bool session_read(const struct history *h, const struct hist_op *op,
                         const struct memory *m, char why[JUDGE_TEXT_MAX])
{
    struct hist_place wrote = floor_of(h, op->shard, m->wrote);
    struct hist_place read = floor_of(h, op->shard, m->read);
    if (m->wrote_op != 0 && !history_leads_to(h, op->shard, wrote, op->at))
        return bad(why,
                   "read your writes: read %" PRIu64 " at %u/%" PRIu64
                   " of term %" PRIx64 " after write %zu at %" PRIu64
                   " of term %" PRIx64 " in session %u",
                   number(h, op), op->shard, op->at.lsn, op->at.term,
                   m->wrote_op, wrote.lsn, wrote.term, op->session);
    if (m->read_op != 0 && !history_leads_to(h, op->shard, read, op->at))
        return bad(why,
                   "monotonic reads: read %" PRIu64 " at %u/%" PRIu64
                   " of term %" PRIx64 " after read %zu at %" PRIu64
                   " of term %" PRIx64 " in session %u",
                   number(h, op), op->shard, op->at.lsn, op->at.term,
                   m->read_op, read.lsn, read.term, op->session);
    return true;
}

static bool session_write(const struct history *h, const struct hist_op *op,
                          const struct memory *m, char why[JUDGE_TEXT_MAX])
{
    struct hist_place wrote = floor_of(h, op->shard, m->wrote);
    if (m->wrote_op != 0 && !history_leads_to(h, op->shard, wrote, op->at) &&
        !history_may_be_lost(h, op->at))
        return bad(why,
                   "monotonic writes: write %" PRIu64 " at %u/%" PRIu64
                   " of term %" PRIx64 " after write %zu at %" PRIu64
                   " of term %" PRIx64 " in session %u",
                   number(h, op), op->shard, op->at.lsn, op->at.term,
                   m->wrote_op, wrote.lsn, wrote.term, op->session);
    return true;
}

/* Whether the read was done by strong or session rules, whichever of the
 * levels that may have been in force was: a bounded one need not have what its
 * session saw. */
static bool keeps_session(const struct history *h, const struct hist_op *op)
{
    uint32_t levels =
        history_promised(h, op->called_us, op->answered_us).levels;
    for (enum consistency_level l = 0; l < CONSISTENCY_COUNT; l++) {
        enum consistency_level by = op->level > l ? op->level : l;
        if ((levels & 1u << l) != 0 && by != CONSISTENCY_STRONG &&
            by != CONSISTENCY_SESSION)
            return false;
    }
    return true;
}

/* A session is one call after the other, so that the order of its calls is the
 * order of its answers. */
bool judge_sessions(const struct history *h, char why[JUDGE_TEXT_MAX])
{
    struct memory(*memories)[HIST_SHARDS_MAX] =
        mem_zalloc(HIST_SESSIONS_MAX * sizeof(*memories));
    bool ok = true;
    for (size_t i = 0; ok && i < h->n_ops; i++) {
        const struct hist_op *op = &h->ops[i];
        struct memory *m = &memories[op->session][op->shard];
        if (history_is_write(op) && history_done(op)) {
            ok = session_write(h, op, m, why);
            m->wrote = op->at;
            m->wrote_op = i + 1;
        } else if (is_read(op) && keeps_session(h, op)) {
            ok = session_read(h, op, m, why);
            m->read = op->at;
            m->read_op = i + 1;
        }
    }
    mem_free(memories);
    return ok;
}

/* ---- bounded staleness ------------------------------------------------------
 */

#define LEAST_BOUND_US USEC_PER_SEC

static int by_answer(const void *a, const void *b)
{
    const struct hist_op *x = *(const struct hist_op *const *)a;
    const struct hist_op *y = *(const struct hist_op *const *)b;
    return x->answered < y->answered ? -1 : x->answered > y->answered;
}

/* The writes that were done, by the time of their answers. */
static const struct hist_op **writes_by_answer(const struct history *h,
                                               size_t *n_out)
{
    const struct hist_op **w = mem_alloc((h->n_ops + 1) * sizeof(*w));
    size_t n = 0;
    for (size_t i = 0; i < h->n_ops; i++)
        if (history_is_write(&h->ops[i]) && history_done(&h->ops[i]) &&
            history_survived(h, h->ops[i].shard, h->ops[i].at))
            w[n++] = &h->ops[i];
    qsort(w, n, sizeof(*w), by_answer);
    *n_out = n;
    return w;
}

static bool fresh(const struct history *h, const struct hist_op *read,
                  const struct hist_op *const *writes, size_t n,
                  char why[JUDGE_TEXT_MAX])
{
    struct hist_promise p =
        history_promised(h, read->called_us, read->answered_us);
    /* Of another account one may ask for it, too: by the least bound. And what
     * another account accepted may be under way when the bound begins. */
    if (p.levels != 1u << CONSISTENCY_BOUNDED)
        p.max_entries = UINT64_MAX;
    if (p.max_us < LEAST_BOUND_US)
        p.max_us = LEAST_BOUND_US;
    struct hist_place at = history_branch(h, read->shard, read->at);
    uint64_t lacks = 0;
    for (size_t i = 0; i < n && writes[i]->answered < read->called; i++) {
        const struct hist_op *w = writes[i];
        if (w->shard != read->shard || w->at.lsn <= at.lsn)
            continue;
        lacks++;
        if (w->answered_us < read->called_us - p.max_us)
            return bad(why,
                       "too stale: bounded read %" PRIu64 " at %u/%" PRIu64
                       " lacks write %" PRIu64 ", done %.3f s before (T is "
                       "%.0f s)",
                       number(h, read), read->shard, read->at.lsn, number(h, w),
                       (double)(read->called_us - w->answered_us) / 1e6,
                       (double)p.max_us / 1e6);
        if (lacks > p.max_entries)
            return bad(why,
                       "too stale: bounded read %" PRIu64 " at %u/%" PRIu64
                       " lacks more than %" PRIu64 " writes that were done",
                       number(h, read), read->shard, read->at.lsn,
                       p.max_entries);
    }
    return true;
}

bool judge_staleness(const struct history *h, char why[JUDGE_TEXT_MAX])
{
    size_t n = 0;
    const struct hist_op **writes = writes_by_answer(h, &n);
    bool ok = true;
    for (size_t i = 0; ok && i < h->n_ops; i++) {
        const struct hist_op *op = &h->ops[i];
        if (is_read(op) && level_of(h, op) == CONSISTENCY_BOUNDED)
            ok = fresh(h, op, writes, n, why);
    }
    mem_free(writes);
    return ok;
}

/* ---- one region -------------------------------------------------------------
 */

bool judge_one_region(const struct history *h, char why[JUDGE_TEXT_MAX])
{
    for (size_t i = 0; i < h->n_acks; i++) {
        const struct hist_ack *a = &h->acks[i];
        for (size_t k = 0; a->region != 0 && k < i; k++) {
            const struct hist_ack *b = &h->acks[k];
            if (b->shard == a->shard && b->region != 0 &&
                b->region != a->region && b->epoch == a->epoch)
                return bad(why,
                           "two regions acknowledge in epoch %u of shard %u: "
                           "%u (n%u at %" PRIu64 ") and %u (n%u at %" PRIu64
                           ")",
                           a->epoch, a->shard, b->region, b->node, b->at.lsn,
                           a->region, a->node, a->at.lsn);
        }
    }
    return true;
}

bool judge_history(const struct history *h, char why[JUDGE_TEXT_MAX])
{
    if (h->wrong[0] != '\0')
        return bad(why, "%s", h->wrong);
    return judge_survival(h, why) && judge_conflicts(h, why) &&
           judge_prefix(h, why) && judge_linear(h, why) &&
           judge_sessions(h, why) && judge_staleness(h, why) &&
           judge_one_region(h, why);
}
