#include "tests/sim/site/judge.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/base/err.h"
#include "node/base/mem.h"

/* ---- what is kept -----------------------------------------------------------
 */

/* Whoever is told that nothing was done can count on it. */
static bool refusals_hold(const struct history *h, char why[VERDICT_TEXT_MAX])
{
    for (size_t i = 0; i < h->n_entries; i++) {
        const struct hist_entry *e = &h->entries[i];
        if (e->op == 0 || e->delivery || !history_survived(h, e->shard, e->at))
            continue;
        const struct hist_op *op = &h->seen.ops[e->op - 1];
        if (op->answered_us != HIST_NEVER && op->result != ERR_OK)
            return verdict_bad(
                why,
                "operation %" PRIu64 " took effect at %u/%" PRIu64
                " of term %" PRIx64 ", though it was answered %s",
                e->op, e->shard, e->at.lsn, e->at.term, err_name(op->result));
    }
    return true;
}

bool judge_survival(const struct history *h, char why[VERDICT_TEXT_MAX])
{
    if (!refusals_hold(h, why))
        return false;
    for (size_t i = 0; i < h->seen.n_ops; i++) {
        const struct hist_op *op = &h->seen.ops[i];
        if (!hist_is_write(op) || !hist_done(op) ||
            history_survived(h, op->shard, op->at))
            continue;
        enum consistency_level level = observed_write_level(&h->seen, op);
        if (level == CONSISTENCY_STRONG ||
            !observed_may_be_lost(&h->seen, op->at))
            return verdict_bad(
                why,
                "acknowledged write lost: operation %zu at %u/%" PRIu64
                " of term %" PRIx64 ", level %s",
                i + 1, op->shard, op->at.lsn, op->at.term,
                consistency_name(level));
    }
    return true;
}

static bool in_feed(const struct history *h, const struct hist_entry *e)
{
    for (size_t i = 0; i < h->seen.n_conflicts; i++) {
        const struct hist_conflict *c = &h->seen.conflicts[i];
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
    bool deletes = h->seen.ops[e->op - 1].kind == LINEAR_DELETE;
    return c->version == (deletes ? 0 : e->op);
}

static bool is_twice(const struct history *h, size_t i)
{
    const struct hist_conflict *c = &h->seen.conflicts[i];
    for (size_t k = 0; k < i; k++)
        if (h->seen.conflicts[k].shard == c->shard &&
            h->seen.conflicts[k].at.lsn == c->at.lsn &&
            h->seen.conflicts[k].at.term == c->at.term)
            return true;
    return false;
}

static bool feed_is_true(const struct history *h, char why[VERDICT_TEXT_MAX])
{
    for (size_t i = 0; i < h->seen.n_conflicts; i++) {
        const struct hist_conflict *c = &h->seen.conflicts[i];
        const char *wrong = NULL;
        if (!tells_of(h, c, history_at(h, c->shard, c->at)))
            wrong = "was never logged";
        else if (history_survived(h, c->shard, c->at))
            wrong = "was not lost";
        else if (is_twice(h, i))
            wrong = "is there twice";
        if (wrong != NULL)
            return verdict_bad(why,
                               "conflict feed: operation %" PRIu64
                               " at %u/%" PRIu64 " of term %" PRIx64 " %s",
                               c->version, c->shard, c->at.lsn, c->at.term,
                               wrong);
    }
    return true;
}

/* What only those had who left comes when they are put back. */
static bool left_with(const struct history *h, const struct hist_entry *e)
{
    return (e->nodes & ~h->left) == 0;
}

bool judge_conflicts(const struct history *h, char why[VERDICT_TEXT_MAX])
{
    if (!feed_is_true(h, why))
        return false;
    for (size_t i = 0; i < h->seen.n_ops; i++) {
        const struct hist_op *op = &h->seen.ops[i];
        if (!hist_is_write(op) || !hist_done(op) ||
            history_survived(h, op->shard, op->at))
            continue;
        const struct hist_entry *e = history_at(h, op->shard, op->at);
        if (e == NULL || e->op != i + 1)
            return verdict_bad(why,
                               "operation %zu was acknowledged at %u/%" PRIu64
                               " of term %" PRIx64 ", which holds another",
                               i + 1, op->shard, op->at.lsn, op->at.term);
        if (!in_feed(h, e) && !left_with(h, e))
            return verdict_bad(
                why,
                "conflict feed: lacks operation %zu, acknowledged at "
                "%u/%" PRIu64 " of term %" PRIx64 " and lost",
                i + 1, op->shard, op->at.lsn, op->at.term);
    }
    return true;
}

/* ---- prefix -----------------------------------------------------------------
 */

bool judge_prefix(const struct history *h, char why[VERDICT_TEXT_MAX])
{
    for (size_t i = 0; i < h->seen.n_ops; i++) {
        const struct hist_op *op = &h->seen.ops[i];
        if (!hist_is_read(op))
            continue;
        if (op->at.lsn > 0 && history_at(h, op->shard, op->at) == NULL)
            return verdict_bad(why,
                               "read %zu names %u/%" PRIu64 " of term %" PRIx64
                               ", which nobody logged",
                               i + 1, op->shard, op->at.lsn, op->at.term);
        uint64_t version = history_state(h, op->shard, op->key, op->at);
        if (version != op->version)
            return verdict_bad(
                why,
                "no prefix: read %zu of document %u saw operation "
                "%" PRIu64 " at %u/%" PRIu64 " of term %" PRIx64
                ", where operation %" PRIu64 " is the newest",
                i + 1, op->key, op->version, op->shard, op->at.lsn, op->at.term,
                version);
        if (!history_survived(h, op->shard, op->at) &&
            !observed_may_be_lost(&h->seen, op->at))
            return verdict_bad(why,
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
    return observed_may_be_lost(&h->seen, at) ? history_branch(h, shard, at)
                                              : at;
}

static bool session_read(const struct history *h, const struct hist_op *op,
                         const struct memory *m, char why[VERDICT_TEXT_MAX])
{
    struct hist_place wrote = floor_of(h, op->shard, m->wrote);
    struct hist_place read = floor_of(h, op->shard, m->read);
    if (m->wrote_op != 0 && !history_leads_to(h, op->shard, wrote, op->at))
        return verdict_bad(why,
                           "read your writes: read %" PRIu64 " at %u/%" PRIu64
                           " of term %" PRIx64 " after write %zu at %" PRIu64
                           " of term %" PRIx64 " in session %u",
                           observed_number(&h->seen, op), op->shard, op->at.lsn,
                           op->at.term, m->wrote_op, wrote.lsn, wrote.term,
                           op->session);
    if (m->read_op != 0 && !history_leads_to(h, op->shard, read, op->at))
        return verdict_bad(why,
                           "monotonic reads: read %" PRIu64 " at %u/%" PRIu64
                           " of term %" PRIx64 " after read %zu at %" PRIu64
                           " of term %" PRIx64 " in session %u",
                           observed_number(&h->seen, op), op->shard, op->at.lsn,
                           op->at.term, m->read_op, read.lsn, read.term,
                           op->session);
    return true;
}

static bool session_write(const struct history *h, const struct hist_op *op,
                          const struct memory *m, char why[VERDICT_TEXT_MAX])
{
    struct hist_place wrote = floor_of(h, op->shard, m->wrote);
    if (m->wrote_op != 0 && !history_leads_to(h, op->shard, wrote, op->at) &&
        !observed_may_be_lost(&h->seen, op->at))
        return verdict_bad(why,
                           "monotonic writes: write %" PRIu64 " at %u/%" PRIu64
                           " of term %" PRIx64 " after write %zu at %" PRIu64
                           " of term %" PRIx64 " in session %u",
                           observed_number(&h->seen, op), op->shard, op->at.lsn,
                           op->at.term, m->wrote_op, wrote.lsn, wrote.term,
                           op->session);
    return true;
}

/* A session is one call after the other, so that the order of its calls is the
 * order of its answers. */
bool judge_sessions(const struct history *h, char why[VERDICT_TEXT_MAX])
{
    struct memory(*memories)[HIST_SHARDS_MAX] =
        mem_zalloc(HIST_SESSIONS_MAX * sizeof(*memories));
    bool ok = true;
    for (size_t i = 0; ok && i < h->seen.n_ops; i++) {
        const struct hist_op *op = &h->seen.ops[i];
        struct memory *m = &memories[op->session][op->shard];
        if (hist_is_write(op) && hist_done(op)) {
            ok = session_write(h, op, m, why);
            m->wrote = op->at;
            m->wrote_op = i + 1;
        } else if (hist_is_read(op) && observed_keeps_session(&h->seen, op)) {
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

/* The writes that were done, by the time of their answers. */
static const struct hist_op **writes_by_answer(const struct history *h,
                                               size_t *n_out)
{
    const struct hist_op **w = mem_alloc((h->seen.n_ops + 1) * sizeof(*w));
    size_t n = 0;
    for (size_t i = 0; i < h->seen.n_ops; i++)
        if (hist_is_write(&h->seen.ops[i]) && hist_done(&h->seen.ops[i]) &&
            history_survived(h, h->seen.ops[i].shard, h->seen.ops[i].at))
            w[n++] = &h->seen.ops[i];
    qsort(w, n, sizeof(*w), observed_by_answer);
    *n_out = n;
    return w;
}

static bool fresh(const struct history *h, const struct hist_op *read,
                  const struct hist_op *const *writes, size_t n,
                  char why[VERDICT_TEXT_MAX])
{
    struct hist_promise p =
        observed_promised(&h->seen, read->called_us, read->answered_us);
    /* Of another account one may ask for it, too: by the least bound. */
    if (p.max_us < OBSERVED_LEAST_BOUND_US)
        p.max_us = OBSERVED_LEAST_BOUND_US;
    struct hist_place at = history_branch(h, read->shard, read->at);
    uint64_t lacks = 0, most = UINT64_MAX;
    for (size_t i = 0; i < n && writes[i]->answered < read->called; i++) {
        const struct hist_op *w = writes[i];
        if (w->shard != read->shard || w->at.lsn <= at.lsn)
            continue;
        lacks++;
        if (w->answered_us < read->called_us - p.max_us)
            return verdict_bad(why,
                               "too stale: bounded read %" PRIu64
                               " at %u/%" PRIu64 " lacks write %" PRIu64
                               ", done %.3f s before (T is "
                               "%.0f s)",
                               observed_number(&h->seen, read), read->shard,
                               read->at.lsn, observed_number(&h->seen, w),
                               (double)(read->called_us - w->answered_us) / 1e6,
                               (double)p.max_us / 1e6);
        uint64_t by_this = observed_may_lack(&h->seen, w, read);
        most = by_this < most ? by_this : most;
        if (lacks > most)
            return verdict_bad(why,
                               "too stale: bounded read %" PRIu64
                               " at %u/%" PRIu64 " lacks more than %" PRIu64
                               " writes that were done",
                               observed_number(&h->seen, read), read->shard,
                               read->at.lsn, most);
    }
    return true;
}

bool judge_staleness(const struct history *h, char why[VERDICT_TEXT_MAX])
{
    size_t n = 0;
    const struct hist_op **writes = writes_by_answer(h, &n);
    bool ok = true;
    for (size_t i = 0; ok && i < h->seen.n_ops; i++) {
        const struct hist_op *op = &h->seen.ops[i];
        if (hist_is_read(op) &&
            observed_level(&h->seen, op) == CONSISTENCY_BOUNDED)
            ok = fresh(h, op, writes, n, why);
    }
    mem_free(writes);
    return ok;
}

/* ---- one region -------------------------------------------------------------
 */

bool judge_one_region(const struct history *h, char why[VERDICT_TEXT_MAX])
{
    for (size_t i = 0; i < h->n_acks; i++) {
        const struct hist_ack *a = &h->acks[i];
        for (size_t k = 0; a->region != 0 && k < i; k++) {
            const struct hist_ack *b = &h->acks[k];
            if (b->shard == a->shard && b->region != 0 &&
                b->region != a->region && b->epoch == a->epoch)
                return verdict_bad(
                    why,
                    "two regions acknowledge in epoch %u of shard %u: "
                    "%u (n%u at %" PRIu64 ") and %u (n%u at %" PRIu64 ")",
                    a->epoch, a->shard, b->region, b->node, b->at.lsn,
                    a->region, a->node, a->at.lsn);
        }
    }
    return true;
}

/* ---- as clients see it
 * --------------------------------------------------------
 */

/* Every document as it is at the end of the committed branch. */
static void add_ends(const struct history *h, struct observed *o)
{
    for (size_t i = 0; i < h->seen.n_ops; i++) {
        const struct hist_op *op = &h->seen.ops[i];
        struct hist_place end = {.lsn = h->top[op->shard]};
        bool known = false;
        for (size_t k = 0; !known && k < o->n_ends; k++)
            known = o->ends[k].shard == op->shard && o->ends[k].key == op->key;
        if (known || end.lsn == 0)
            continue;
        end.term = h->committed[op->shard][end.lsn];
        observed_end(o, &(struct hist_end){.shard = op->shard,
                                           .key = op->key,
                                           .version = history_state(
                                               h, op->shard, op->key, end),
                                           .at = end});
    }
}

/* Whether the committed branch went on in the same epoch without an entry. Then
 * it was never acknowledged, and no conflict: whoever comes back with it is
 * refused (docs/conflicts.md; terms_overwritten). */
static bool replaced_in_epoch(const struct history *h,
                              const struct hist_entry *e)
{
    for (uint64_t lsn = 1; lsn <= h->top[e->shard]; lsn++) {
        struct hist_place p = {lsn, h->committed[e->shard][lsn]};
        if (p.term > e->at.term && hist_epoch(p) == hist_epoch(e->at))
            return true;
    }
    return false;
}

/* The feed as it will be when those who left are back. */
static void add_conflicts(const struct history *h, struct observed *o)
{
    o->conflicts = NULL;
    o->n_conflicts = o->cap_conflicts = 0;
    for (size_t i = 0; i < h->seen.n_conflicts; i++)
        observed_conflict(o, &h->seen.conflicts[i]);
    for (size_t i = 0; i < h->n_entries; i++) {
        const struct hist_entry *e = &h->entries[i];
        if (e->op == 0 || !left_with(h, e) || in_feed(h, e) ||
            history_survived(h, e->shard, e->at) || replaced_in_epoch(h, e))
            continue;
        bool deletes = h->seen.ops[e->op - 1].kind == LINEAR_DELETE;
        observed_conflict(
            o, &(struct hist_conflict){.shard = e->shard,
                                       .at = e->at,
                                       .version = deletes ? 0 : e->op});
    }
}

bool judge_observed(const struct history *h, char why[VERDICT_TEXT_MAX])
{
    /* The clients' part, borrowed, but for the ends and the feed. */
    struct observed o = h->seen;
    add_ends(h, &o);
    add_conflicts(h, &o);
    bool ok = observed_judge(&o, why);
    mem_free(o.ends);
    mem_free(o.conflicts);
    return ok;
}

bool judge_history(const struct history *h, char why[VERDICT_TEXT_MAX])
{
    if (h->wrong[0] != '\0')
        return verdict_bad(why, "%s", h->wrong);
    return judge_survival(h, why) && judge_conflicts(h, why) &&
           judge_prefix(h, why) && observed_linear(&h->seen, why) &&
           judge_sessions(h, why) && judge_staleness(h, why) &&
           judge_one_region(h, why) && judge_observed(h, why);
}
