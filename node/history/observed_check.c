/* The checkers of histories as clients see them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/base/err.h"
#include "node/base/mem.h"
#include "node/history/observed.h"

/* ---- places -----------------------------------------------------------------
 */

/* The epoch first. Of places in one log, and of acknowledged writes that
 * survived, that is the order in which they happened. */
static int compare(struct hist_place a, struct hist_place b)
{
    if (hist_epoch(a) != hist_epoch(b))
        return hist_epoch(a) < hist_epoch(b) ? -1 : 1;
    return a.lsn < b.lsn ? -1 : a.lsn > b.lsn;
}

/* What a log that has `a` above `b` must look like: neither number goes back.
 */
static bool can_lead_to(struct hist_place a, struct hist_place b)
{
    return a.lsn <= b.lsn && hist_epoch(a) <= hist_epoch(b);
}

static bool no_forced_switch(const struct observed *o, uint32_t after,
                             uint32_t until)
{
    for (size_t i = 0; i < o->n_switches; i++)
        if (o->switches[i].forced && o->switches[i].epoch > after &&
            o->switches[i].epoch <= until)
            return false;
    return true;
}

/* ---- the branch that survived -----------------------------------------------
 */

/* What is known of one epoch in the log that survived: its entries from `low`,
 * the lowest that was named, to `top`, the highest that is certain. */
struct stretch {
    uint16_t shard;
    uint32_t epoch;
    uint64_t low, top;
};

struct branch {
    const struct observed *o;
    struct stretch *stretches;
    size_t n, cap;
};

static struct stretch *find_stretch(const struct branch *b, uint16_t shard,
                                    uint32_t epoch)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->stretches[i].shard == shard && b->stretches[i].epoch == epoch)
            return &b->stretches[i];
    return NULL;
}

static void survived_until(struct branch *b, uint16_t shard,
                           struct hist_place at)
{
    struct stretch *s = find_stretch(b, shard, hist_epoch(at));
    if (at.lsn == 0)
        return;
    if (s == NULL) {
        if (b->n == b->cap) {
            b->cap = b->cap ? b->cap * 2 : 16;
            b->stretches =
                mem_realloc(b->stretches, b->cap * sizeof(*b->stretches));
        }
        s = &b->stretches[b->n++];
        *s = (struct stretch){shard, hist_epoch(at), at.lsn, at.lsn};
    }
    if (at.lsn > s->top)
        s->top = at.lsn;
    if (at.lsn < s->low)
        s->low = at.lsn;
}

/* Where documents were found in the end survived, the writes that they hold
 * did, and with an entry all before it in its epoch. */
static void branch_init(struct branch *b, const struct observed *o)
{
    *b = (struct branch){.o = o};
    for (size_t i = 0; i < o->n_ends; i++) {
        const struct hist_end *e = &o->ends[i];
        survived_until(b, e->shard, e->at);
        if (e->version == 0 || e->version > o->n_ops)
            continue;
        const struct hist_op *w = &o->ops[e->version - 1];
        if (hist_done(w))
            survived_until(b, e->shard, w->at);
    }
    for (size_t i = 0; i < o->n_ops; i++) {
        const struct hist_op *op = &o->ops[i];
        struct stretch *s = hist_done(op)
                                ? find_stretch(b, op->shard, hist_epoch(op->at))
                                : NULL;
        if (s != NULL && op->at.lsn > 0 && op->at.lsn < s->low)
            s->low = op->at.lsn;
    }
}

static void branch_free(struct branch *b)
{
    mem_free(b->stretches);
}

/* Known to have survived. */
static bool survived(const struct branch *b, uint16_t shard,
                     struct hist_place at)
{
    const struct stretch *s = find_stretch(b, shard, hist_epoch(at));
    return at.lsn == 0 || (s != NULL && at.lsn <= s->top);
}

/* Known not to: a later epoch that survived has been there before. */
static bool overtaken(const struct branch *b, uint16_t shard,
                      struct hist_place at)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->stretches[i].shard == shard &&
            b->stretches[i].epoch > hist_epoch(at) &&
            b->stretches[i].low <= at.lsn)
            return true;
    return false;
}

/* Whether the state at `b` certainly has what was acknowledged at `a`. */
static bool has(const struct branch *branch, uint16_t shard,
                struct hist_place a, struct hist_place b)
{
    if (!can_lead_to(a, b))
        return false;
    return no_forced_switch(branch->o, hist_epoch(a), hist_epoch(b)) ||
           (survived(branch, shard, a) && survived(branch, shard, b));
}

/* ---- operations by document -------------------------------------------------
 */

struct group {
    const struct hist_op **ops; /* by their calls */
    size_t n;
};

static int by_document(const void *a, const void *b)
{
    const struct hist_op *x = *(const struct hist_op *const *)a;
    const struct hist_op *y = *(const struct hist_op *const *)b;
    if (x->shard != y->shard)
        return x->shard < y->shard ? -1 : 1;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->called < y->called ? -1 : x->called > y->called;
}

static const struct hist_op **sorted(const struct observed *o,
                                     int (*order)(const void *, const void *))
{
    const struct hist_op **list = mem_alloc((o->n_ops + 1) * sizeof(*list));
    for (size_t i = 0; i < o->n_ops; i++)
        list[i] = &o->ops[i];
    if (o->n_ops > 0)
        qsort(list, o->n_ops, sizeof(*list), order);
    return list;
}

/* The next document of a list that is sorted by them; false at the end. */
static bool next_group(const struct observed *o, const struct hist_op **list,
                       struct group *g)
{
    const struct hist_op **end = list + o->n_ops;
    g->ops = g->ops == NULL ? list : g->ops + g->n;
    g->n = 0;
    while (g->ops + g->n < end && g->ops[g->n]->shard == g->ops[0]->shard &&
           g->ops[g->n]->key == g->ops[0]->key)
        g->n++;
    return g->n > 0;
}

/* Calls `check` for each document. */
static bool each_document(const struct observed *o,
                          bool (*check)(const struct branch *b,
                                        const struct group *g, void *user,
                                        char why[VERDICT_TEXT_MAX]),
                          void *user, char why[VERDICT_TEXT_MAX])
{
    struct branch b;
    struct group g = {.ops = NULL};
    const struct hist_op **list = sorted(o, by_document);
    bool ok = true;
    branch_init(&b, o);
    while (ok && next_group(o, list, &g))
        ok = check(&b, &g, user, why);
    branch_free(&b);
    mem_free(list);
    return ok;
}

/* The operation that wrote this version of the document; NULL if none did. */
static const struct hist_op *writer(const struct observed *o,
                                    const struct group *g, uint64_t version)
{
    if (version == 0 || version > o->n_ops)
        return NULL;
    const struct hist_op *w = &o->ops[version - 1];
    bool right = hist_is_write(w) && w->kind != LINEAR_DELETE &&
                 w->shard == g->ops[0]->shard && w->key == g->ops[0]->key;
    return right ? w : NULL;
}

/* ---- survival ---------------------------------------------------------------
 */

static const struct hist_end *find_end(const struct observed *o,
                                       const struct group *g)
{
    for (size_t i = 0; i < o->n_ends; i++)
        if (o->ends[i].shard == g->ops[0]->shard &&
            o->ends[i].key == g->ops[0]->key)
            return &o->ends[i];
    return NULL;
}

/* Whether the state that a read saw can have a delete that was done. What was
 * acknowledged in a later epoch may have been in the read's, too, lost there
 * with it, and made again. */
static bool may_be_seen(const struct hist_op *d, const struct hist_op *read)
{
    return can_lead_to(d->at, read->at) ||
           hist_epoch(d->at) > hist_epoch(read->at);
}

/* Whether the delete can be why a document is missing that `w` had written: in
 * the end or (unless that is NULL) in what the read saw. */
static bool may_have_deleted(const struct branch *b, const struct hist_op *d,
                             const struct hist_op *w,
                             const struct hist_op *read)
{
    if (read != NULL && d->called > read->answered)
        return false;
    if (d->answered_us == HIST_NEVER)
        return true;
    /* One that did not do anything may have, in what was lost. */
    if (!hist_done(d))
        return read != NULL && observed_may_be_lost(b->o, read->at) &&
               !survived(b, read->shard, read->at);
    return compare(w->at, d->at) < 0 && (read == NULL || may_be_seen(d, read));
}

static bool may_be_deleted(const struct branch *b, const struct group *g,
                           const struct hist_op *w, const struct hist_op *read)
{
    for (size_t i = 0; i < g->n; i++)
        if (g->ops[i]->kind == LINEAR_DELETE &&
            may_have_deleted(b, g->ops[i], w, read))
            return true;
    return false;
}

/* Whether the end shows that an acknowledged write is gone. */
static bool is_lost(const struct branch *b, const struct group *g,
                    const struct hist_end *end, const struct hist_op *w)
{
    const struct hist_op *last = writer(b->o, g, end->version);
    if (last == w)
        return false;
    if (overtaken(b, w->shard, w->at))
        return true;
    if (last != NULL)
        return hist_done(last) && compare(last->at, w->at) < 0;
    return w->kind != LINEAR_DELETE && !may_be_deleted(b, g, w, NULL);
}

static bool in_feed(const struct observed *o, const struct hist_op *w)
{
    uint64_t version = w->kind == LINEAR_DELETE ? 0 : observed_number(o, w);
    for (size_t i = 0; i < o->n_conflicts; i++) {
        const struct hist_conflict *c = &o->conflicts[i];
        if (c->shard == w->shard && c->version == version &&
            compare(c->at, w->at) == 0)
            return true;
    }
    return false;
}

static void count_loss(struct observed_loss *loss, const struct hist_op *w,
                       bool found)
{
    if (loss->entries++ == 0 || w->answered_us < loss->first_us)
        loss->first_us = w->answered_us;
    if (w->answered_us > loss->last_us)
        loss->last_us = w->answered_us;
    loss->in_feed += found;
}

static bool may_lose(const struct branch *b, const struct hist_op *w,
                     struct observed_loss *loss, char why[VERDICT_TEXT_MAX])
{
    enum consistency_level level = observed_write_level(b->o, w);
    bool found = in_feed(b->o, w);
    count_loss(loss, w, found);
    if (level == CONSISTENCY_STRONG || !observed_may_be_lost(b->o, w->at))
        return verdict_bad(
            why,
            "acknowledged write lost: operation %" PRIu64 " on document %u/%u "
            "at %u#%" PRIu64 ", level %s%s",
            observed_number(b->o, w), w->shard, w->key, hist_epoch(w->at),
            w->at.lsn, consistency_name(level),
            level == CONSISTENCY_STRONG ? "" : ", without a forced switch");
    if (!found)
        return verdict_bad(why,
                           "conflict feed: lacks operation %" PRIu64
                           " on document %u/%u, "
                           "acknowledged at %u#%" PRIu64 " and lost",
                           observed_number(b->o, w), w->shard, w->key,
                           hist_epoch(w->at), w->at.lsn);
    return true;
}

static bool document_survived(const struct branch *b, const struct group *g,
                              void *user, char why[VERDICT_TEXT_MAX])
{
    struct observed_loss *loss = user;
    const struct hist_end *end = find_end(b->o, g);
    if (end == NULL)
        return true; /* nobody looked */
    const struct hist_op *last = writer(b->o, g, end->version);
    if (end->version != 0 && last == NULL)
        return verdict_bad(
            why, "document %u/%u holds %" PRIu64 ", which nobody wrote to it",
            end->shard, end->key, end->version);
    if (last != NULL && hist_refused(last))
        return verdict_bad(why,
                           "operation %" PRIu64 " on document %u/%u took "
                           "effect, though it was answered %s",
                           end->version, end->shard, end->key,
                           err_name(last->result));
    bool ok = true;
    for (size_t i = 0; i < g->n; i++)
        if (hist_is_write(g->ops[i]) && hist_done(g->ops[i]) &&
            is_lost(b, g, end, g->ops[i]))
            ok = may_lose(b, g->ops[i], loss, ok ? why : (char[256]){0}) && ok;
    return ok;
}

static bool is_twice(const struct observed *o, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (o->conflicts[k].shard == o->conflicts[i].shard &&
            o->conflicts[k].at.lsn == o->conflicts[i].at.lsn &&
            o->conflicts[k].at.term == o->conflicts[i].at.term)
            return true;
    return false;
}

/* The feed holds what was lost, and each once. Deletes have no text that names
 * them. */
static bool feed_is_true(const struct branch *b, char why[VERDICT_TEXT_MAX])
{
    const struct observed *o = b->o;
    for (size_t i = 0; i < o->n_conflicts; i++) {
        const struct hist_conflict *c = &o->conflicts[i];
        const struct hist_op *w = c->version != 0 && c->version <= o->n_ops
                                      ? &o->ops[c->version - 1]
                                      : NULL;
        const char *wrong = NULL;
        if (c->version != 0 &&
            (w == NULL || !hist_is_write(w) || w->shard != c->shard))
            wrong = "was never written";
        else if (survived(b, c->shard, c->at))
            wrong = "was not lost";
        else if (is_twice(o, i))
            wrong = "is there twice";
        if (wrong != NULL)
            return verdict_bad(why,
                               "conflict feed: operation %" PRIu64 " at %u/"
                               "%u#%" PRIu64 " %s",
                               c->version, c->shard, hist_epoch(c->at),
                               c->at.lsn, wrong);
    }
    return true;
}

bool observed_survival(const struct observed *o, struct observed_loss *loss_out,
                       char why[VERDICT_TEXT_MAX])
{
    struct observed_loss ignored, *loss = loss_out ? loss_out : &ignored;
    struct branch b;
    *loss = (struct observed_loss){0};
    branch_init(&b, o);
    bool ok = feed_is_true(&b, why);
    branch_free(&b);
    return each_document(o, document_survived, loss,
                         ok ? why : (char[VERDICT_TEXT_MAX]){0}) &&
           ok;
}

/* ---- strong -----------------------------------------------------------------
 */

static struct linear_op as_linear(const struct observed *o,
                                  const struct hist_op *op)
{
    return (struct linear_op){
        .kind = op->kind,
        .version =
            op->kind == LINEAR_READ ? op->version : observed_number(o, op),
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

static bool next_strong(const struct observed *o, size_t *at,
                        struct strong_time *out)
{
    for (; *at < o->n_promises; (*at)++) {
        if (o->promises[*at].level != CONSISTENCY_STRONG)
            continue;
        out->from_us = o->promises[*at].from_us;
        while (*at < o->n_promises &&
               o->promises[*at].level == CONSISTENCY_STRONG)
            (*at)++;
        out->to_us =
            *at < o->n_promises ? o->promises[*at].from_us : HIST_NEVER;
        return true;
    }
    return false;
}

/* What a time saw of a document. Writes that reach over its edges may have come
 * at any moment of it, or not; reads that do say nothing. */
static size_t collect(const struct observed *o, const struct group *g,
                      const struct strong_time *t, struct linear_op *out)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n; i++) {
        const struct hist_op *op = g->ops[i];
        if (op->called_us >= t->to_us || hist_refused(op))
            continue;
        if (op->answered_us != HIST_NEVER && op->answered_us < t->from_us)
            continue; /* in the first state, or not */
        bool inside = op->called_us >= t->from_us &&
                      op->answered_us != HIST_NEVER &&
                      op->answered_us < t->to_us;
        if (!hist_is_write(op) && (!inside || op->level != CONSISTENCY_STRONG))
            continue;
        out[n] = as_linear(o, op);
        if (!inside)
            out[n].answered = LINEAR_NEVER;
        n++;
    }
    return n;
}

static bool document_is_linear(const struct branch *b, const struct group *g,
                               void *user, char why[VERDICT_TEXT_MAX])
{
    size_t *undecided_out = user;
    bool undecided = false;
    struct linear_op *ops = mem_alloc(g->n * sizeof(*ops));
    struct strong_time t;
    bool ok = true;
    for (size_t at = 0; ok && next_strong(b->o, &at, &t);) {
        size_t n = collect(b->o, g, &t, ops);
        uint64_t initial = t.from_us == 0 ? 0 : LINEAR_ANY;
        enum linear_verdict verdict = linear_check(ops, n, initial);
        undecided = undecided || verdict == LINEAR_UNDECIDED;
        if (verdict == LINEAR_BAD)
            ok = verdict_bad(
                why,
                "not linearizable: the %zu strong operations on document "
                "%u of shard %u from %.3f ms on",
                n, g->ops[0]->key, g->ops[0]->shard,
                (double)t.from_us / 1000.0);
    }
    *undecided_out += undecided;
    mem_free(ops);
    return ok;
}

bool observed_linear(const struct observed *o, char why[VERDICT_TEXT_MAX])
{
    size_t undecided = 0;
    bool ok = each_document(o, document_is_linear, &undecided, why);
    if (ok && undecided > 0)
        snprintf(why, VERDICT_TEXT_MAX,
                 "%zu documents not decided: too many "
                 "operations at a time",
                 undecided);
    return ok;
}

/* ---- prefix -----------------------------------------------------------------
 */

/* Where a version is at the latest: where it was acknowledged, or else the
 * first place at which it was read. False if that is not known. */
static bool latest_place(const struct group *g, const struct hist_op *w,
                         uint64_t version, struct hist_place *out)
{
    bool known = hist_done(w);
    if (known)
        *out = w->at;
    for (size_t i = 0; !hist_done(w) && i < g->n; i++) {
        const struct hist_op *r = g->ops[i];
        if (!hist_is_read(r) || r->version != version || r->at.lsn == 0 ||
            (known && compare(r->at, *out) >= 0))
            continue;
        *out = r->at;
        known = true;
    }
    return known;
}

/* Whether the read should have seen `w`, or something newer, instead of what it
 * saw. */
static bool should_see(const struct branch *b, const struct group *g,
                       const struct hist_op *read, const struct hist_op *saw,
                       const struct hist_op *w)
{
    struct hist_place place;
    if (w == saw || !hist_is_write(w) || !hist_done(w) ||
        !has(b, read->shard, w->at, read->at))
        return false;
    if (saw == NULL)
        return w->kind != LINEAR_DELETE && !may_be_deleted(b, g, w, read);
    return latest_place(g, saw, read->version, &place) &&
           has(b, read->shard, place, w->at) && compare(place, w->at) < 0;
}

static bool is_from_the_future(const struct branch *b,
                               const struct hist_op *read,
                               const struct hist_op *saw)
{
    if (saw->called > read->answered)
        return true;
    return hist_done(saw) && read->at.lsn > 0 &&
           !can_lead_to(saw->at, read->at) &&
           !observed_may_be_lost(b->o, read->at);
}

static bool read_is_prefix(const struct branch *b, const struct group *g,
                           const struct hist_op *read,
                           char why[VERDICT_TEXT_MAX])
{
    const struct hist_op *saw = writer(b->o, g, read->version);
    uint64_t number = observed_number(b->o, read);
    if (read->version != 0 && saw == NULL)
        return verdict_bad(why,
                           "read %" PRIu64 " of document %u/%u saw %" PRIu64
                           ", which nobody wrote to it",
                           number, read->shard, read->key, read->version);
    if (saw != NULL && hist_refused(saw))
        return verdict_bad(why,
                           "read %" PRIu64 " saw operation %" PRIu64
                           ", though that was answered %s",
                           number, read->version, err_name(saw->result));
    if (saw != NULL && is_from_the_future(b, read, saw))
        return verdict_bad(
            why,
            "no prefix: read %" PRIu64 " of document %u/%u saw operation "
            "%" PRIu64 " of %u#%" PRIu64 " at %u#%" PRIu64 ", before it",
            number, read->shard, read->key, read->version, hist_epoch(saw->at),
            saw->at.lsn, hist_epoch(read->at), read->at.lsn);
    for (size_t i = 0; i < g->n; i++)
        if (should_see(b, g, read, saw, g->ops[i]))
            return verdict_bad(
                why,
                "no prefix: read %" PRIu64 " of document %u/%u saw operation "
                "%" PRIu64 " at %u#%" PRIu64 ", not %" PRIu64 " of %u#%" PRIu64,
                number, read->shard, read->key, read->version,
                hist_epoch(read->at), read->at.lsn,
                observed_number(b->o, g->ops[i]), hist_epoch(g->ops[i]->at),
                g->ops[i]->at.lsn);
    return true;
}

static bool document_has_prefix(const struct branch *b, const struct group *g,
                                void *user, char why[VERDICT_TEXT_MAX])
{
    (void)user;
    for (size_t i = 0; i < g->n; i++)
        if (hist_is_read(g->ops[i]) && !read_is_prefix(b, g, g->ops[i], why))
            return false;
    return true;
}

bool observed_prefix(const struct observed *o, char why[VERDICT_TEXT_MAX])
{
    return each_document(o, document_has_prefix, NULL, why);
}

/* ---- sessions ---------------------------------------------------------------
 */

/* What a session holds of one shard. */
struct memory {
    const struct hist_op *wrote, *read;
};

/* What it holds must be in `op`, unless a forced switch may have lost it. */
static bool goes_on(const struct branch *b, const struct hist_op *op,
                    const struct hist_op *held)
{
    if (held == NULL || can_lead_to(held->at, op->at))
        return true;
    return observed_may_be_lost(b->o, held->at) &&
           hist_epoch(held->at) != hist_epoch(op->at) &&
           !survived(b, held->shard, held->at);
}

static bool went_back(const struct observed *o, const char *rule,
                      const struct hist_op *op, const struct hist_op *held,
                      char why[VERDICT_TEXT_MAX])
{
    return verdict_bad(why,
                       "%s: operation %" PRIu64 " at %u/%u#%" PRIu64
                       " after %" PRIu64 " at %u#%" PRIu64 " in session %u",
                       rule, observed_number(o, op), op->shard,
                       hist_epoch(op->at), op->at.lsn, observed_number(o, held),
                       hist_epoch(held->at), held->at.lsn, op->session);
}

static bool session_step(const struct branch *b, const struct hist_op *op,
                         struct memory *m, char why[VERDICT_TEXT_MAX])
{
    if (hist_is_write(op) && hist_done(op)) {
        if (!goes_on(b, op, m->wrote) && !observed_may_be_lost(b->o, op->at))
            return went_back(b->o, "monotonic writes", op, m->wrote, why);
        m->wrote = op;
    } else if (hist_is_read(op) && observed_keeps_session(b->o, op)) {
        if (!goes_on(b, op, m->wrote))
            return went_back(b->o, "read your writes", op, m->wrote, why);
        if (!goes_on(b, op, m->read))
            return went_back(b->o, "monotonic reads", op, m->read, why);
        m->read = op;
    }
    return true;
}

/* A session is one call after the other, so that the order of its calls is the
 * order of its answers. */
bool observed_sessions(const struct observed *o, char why[VERDICT_TEXT_MAX])
{
    struct branch b;
    size_t sessions = 0, shards = 0;
    for (size_t i = 0; i < o->n_ops; i++) {
        sessions =
            o->ops[i].session >= sessions ? o->ops[i].session + 1 : sessions;
        shards = o->ops[i].shard >= shards ? o->ops[i].shard + 1u : shards;
    }
    struct memory *memories =
        mem_zalloc((sessions * shards + 1) * sizeof(*memories));
    bool ok = true;
    branch_init(&b, o);
    for (size_t i = 0; ok && i < o->n_ops; i++) {
        const struct hist_op *op = &o->ops[i];
        ok = session_step(&b, op, &memories[op->session * shards + op->shard],
                          why);
    }
    branch_free(&b);
    mem_free(memories);
    return ok;
}

/* ---- bounded staleness ------------------------------------------------------
 */

int observed_by_answer(const void *a, const void *b)
{
    const struct hist_op *x = *(const struct hist_op *const *)a;
    const struct hist_op *y = *(const struct hist_op *const *)b;
    return x->answered < y->answered ? -1 : x->answered > y->answered;
}

/* T: of another account one may ask for it, too, by the least bound. */
static usec_t bound_of(const struct observed *o, const struct hist_op *read)
{
    struct hist_promise p =
        observed_promised(o, read->called_us, read->answered_us);
    return p.max_us > OBSERVED_LEAST_BOUND_US ? p.max_us
                                              : OBSERVED_LEAST_BOUND_US;
}

static bool too_stale(const struct observed *o, const struct hist_op *read,
                      const struct hist_op *w, uint64_t lacks,
                      char why[VERDICT_TEXT_MAX])
{
    return verdict_bad(why,
                       "too stale: bounded read %" PRIu64 " at %u/%u#%" PRIu64
                       " lacks %" PRIu64 " writes, one of them %" PRIu64
                       ", done %.3f s before",
                       observed_number(o, read), read->shard,
                       hist_epoch(read->at), read->at.lsn, lacks,
                       observed_number(o, w),
                       (double)(read->called_us - w->answered_us) / 1e6);
}

/* `list`: by answers. */
static bool is_fresh(const struct branch *b, const struct hist_op *read,
                     const struct hist_op *const *list,
                     char why[VERDICT_TEXT_MAX])
{
    const struct observed *o = b->o;
    usec_t max_us = bound_of(o, read);
    uint64_t lacks = 0, most = UINT64_MAX;
    for (size_t i = 0; i < o->n_ops && list[i]->answered < read->called; i++) {
        const struct hist_op *w = list[i];
        if (!hist_is_write(w) || !hist_done(w) || w->shard != read->shard ||
            w->at.lsn <= read->at.lsn ||
            (observed_may_be_lost(o, w->at) && !survived(b, w->shard, w->at)))
            continue;
        uint64_t by_this = observed_may_lack(o, w, read);
        most = by_this < most ? by_this : most;
        lacks++;
        if (w->answered_us < read->called_us - max_us || lacks > most)
            return too_stale(o, read, w, lacks, why);
    }
    return true;
}

bool observed_staleness(const struct observed *o, char why[VERDICT_TEXT_MAX])
{
    struct branch b;
    const struct hist_op **list = sorted(o, observed_by_answer);
    bool ok = true;
    branch_init(&b, o);
    for (size_t i = 0; ok && i < o->n_ops; i++)
        if (hist_is_read(&o->ops[i]) &&
            observed_level(o, &o->ops[i]) == CONSISTENCY_BOUNDED)
            ok = is_fresh(&b, &o->ops[i], list, why);
    branch_free(&b);
    mem_free(list);
    return ok;
}

bool observed_judge(const struct observed *o, char why[VERDICT_TEXT_MAX])
{
    return observed_survival(o, NULL, why) && observed_prefix(o, why) &&
           observed_linear(o, why) && observed_sessions(o, why) &&
           observed_staleness(o, why);
}
