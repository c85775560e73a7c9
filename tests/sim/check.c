#include "tests/sim/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"

/* An entry ever seen in any log. */
struct seen {
    uint64_t lsn; /* 0: free slot */
    uint64_t term;
    uint64_t prev_term;
    uint64_t value;
};

struct fact {
    bool applied;
    uint64_t term;
    uint64_t value;
    uint64_t by_term; /* the term in which it was committed, at most */
    bool acked;
    bool acked_committed; /* by a majority of all voters at that time */
    uint64_t acked_term;  /* its own */
    uint64_t acked_by;    /* of the leadership that acknowledged it first */
    uint64_t acked_value;
};

struct leader {
    uint64_t term;
    raft_id node;
};

struct check {
    void (*fail)(void *ctx, const char *text);
    void *ctx;
    bool failed;
    struct seen *seen; /* open addressing */
    size_t n_seen;
    size_t cap_seen;
    struct fact *facts; /* by LSN */
    size_t cap_facts;
    uint64_t top; /* highest LSN with a fact */
    struct leader *leaders;
    size_t n_leaders;
    size_t cap_leaders;
    uint64_t
        committed_floor;  /* highest LSN acknowledged or read as committed */
    uint64_t acked_floor; /* with regional acknowledgements */
    uint64_t applied_top;
    uint32_t forced_epoch;
    uint64_t n_acked;
    uint64_t n_reads;
};

/* Promised for good: not one of those that only a lost region held. */
static bool must_survive(const struct check *c, const struct fact *f)
{
    return f->acked && (f->acked_committed ||
                        RAFT_TERM_EPOCH(f->acked_term) >= c->forced_epoch);
}

struct check *check_new(void (*fail)(void *ctx, const char *text), void *ctx)
{
    struct check *c = mem_zalloc(sizeof(*c));
    c->fail = fail;
    c->ctx = ctx;
    c->cap_seen = 4096;
    c->seen = mem_zalloc(c->cap_seen * sizeof(*c->seen));
    return c;
}

void check_free(struct check *c)
{
    mem_free(c->seen);
    mem_free(c->facts);
    mem_free(c->leaders);
    mem_free(c);
}

static void violated(struct check *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void violated(struct check *c, const char *format, ...)
{
    if (c->failed)
        return;
    c->failed = true;
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    c->fail(c->ctx, text);
}

/* ---- log matching -----------------------------------------------------------
 */

static struct seen *slot(struct seen *table, size_t cap, uint64_t lsn,
                         uint64_t term)
{
    uint64_t h = (lsn * 0x9e3779b97f4a7c15ULL) ^ (term * 0xff51afd7ed558ccdULL);
    size_t i = (size_t)(h ^ (h >> 32)) & (cap - 1);
    while (table[i].lsn != 0 && (table[i].lsn != lsn || table[i].term != term))
        i = (i + 1) & (cap - 1);
    return &table[i];
}

static void grow_seen(struct check *c)
{
    size_t cap = c->cap_seen * 2;
    struct seen *table = mem_zalloc(cap * sizeof(*table));
    for (size_t i = 0; i < c->cap_seen; i++) {
        if (c->seen[i].lsn != 0)
            *slot(table, cap, c->seen[i].lsn, c->seen[i].term) = c->seen[i];
    }
    mem_free(c->seen);
    c->seen = table;
    c->cap_seen = cap;
}

void check_appended(struct check *c, raft_id node, uint64_t lsn, uint64_t term,
                    uint64_t prev_term, uint64_t value)
{
    if (c->n_seen * 2 > c->cap_seen)
        grow_seen(c);
    struct seen *s = slot(c->seen, c->cap_seen, lsn, term);
    if (s->lsn == 0) {
        *s = (struct seen){lsn, term, prev_term, value};
        c->n_seen++;
        return;
    }
    if (s->value != value || s->prev_term != prev_term)
        violated(
            c,
            "log matching: n%u has another entry than others at lsn %" PRIu64
            " of term %" PRIx64,
            node, lsn, term);
}

void check_head_appended(struct check *c, raft_id node, uint64_t lsn,
                         uint64_t term, uint64_t prev_term)
{
    const struct seen *s = slot(c->seen, c->cap_seen, lsn, term);
    if (s->lsn == 0 || s->prev_term != prev_term)
        violated(c,
                 "log matching: n%u has the head of an entry that no log has, "
                 "at lsn %" PRIu64 " of term %" PRIx64,
                 node, lsn, term);
}

/* ---- history
 * ----------------------------------------------------------------- */

static struct fact *fact_at(struct check *c, uint64_t lsn)
{
    if (lsn >= c->cap_facts) {
        size_t cap = c->cap_facts ? c->cap_facts : 1024;
        while (cap <= lsn)
            cap *= 2;
        c->facts = mem_realloc(c->facts, cap * sizeof(*c->facts));
        memset(c->facts + c->cap_facts, 0,
               (cap - c->cap_facts) * sizeof(*c->facts));
        c->cap_facts = cap;
    }
    if (lsn > c->top)
        c->top = lsn;
    return &c->facts[lsn];
}

void check_applied(struct check *c, raft_id node, uint64_t lsn, uint64_t term,
                   uint64_t value, uint64_t node_term)
{
    struct fact *f = fact_at(c, lsn);
    if (!f->applied) {
        f->applied = true;
        f->term = term;
        f->value = value;
        f->by_term = node_term;
        if (lsn > c->applied_top)
            c->applied_top = lsn;
    }
    if (f->term != term || f->value != value)
        violated(c,
                 "state machine equality: n%u applies another entry at lsn "
                 "%" PRIu64,
                 node, lsn);
    if (must_survive(c, f) &&
        (f->acked_term != term || f->acked_value != value))
        violated(c,
                 "acknowledged write lost: n%u applies another entry at lsn "
                 "%" PRIu64,
                 node, lsn);
}

void check_head_applied(struct check *c, raft_id node, uint64_t lsn,
                        uint64_t term)
{
    const struct fact *f = fact_at(c, lsn);
    if (!f->applied || f->term != term)
        violated(c,
                 "state machine equality: n%u commits another entry at lsn "
                 "%" PRIu64,
                 node, lsn);
}

void check_acked(struct check *c, uint64_t lsn, uint64_t term, uint64_t value,
                 uint64_t by_term, bool committed)
{
    struct fact *f = fact_at(c, lsn);
    if (!f->acked || f->acked_term != term || by_term < f->acked_by)
        f->acked_by = by_term;
    c->n_acked++;
    f->acked = true;
    f->acked_committed = committed;
    f->acked_term = term;
    f->acked_value = value;
    if (committed && lsn > c->committed_floor)
        c->committed_floor = lsn;
    if (lsn > c->acked_floor && must_survive(c, f))
        c->acked_floor = lsn;
    if (must_survive(c, f) && f->applied &&
        (f->term != term || f->value != value))
        violated(c, "acknowledged write at lsn %" PRIu64 " was never committed",
                 lsn);
}

void check_forced(struct check *c, uint32_t epoch)
{
    CHECK(epoch > c->forced_epoch);
    c->forced_epoch = epoch;
    c->acked_floor = c->committed_floor;
}

uint64_t check_missing(const struct check *c, uint64_t lsn)
{
    for (uint64_t i = 1; i <= c->top; i++) {
        const struct fact *f = &c->facts[i];
        if (must_survive(c, f) && (!f->applied || i > lsn))
            return i;
    }
    return 0;
}

/* ---- leaders
 * ----------------------------------------------------------------- */

static void check_complete(struct check *c, raft_id node, uint64_t term,
                           const struct sim_replica_ops *ops,
                           struct sim_replica *p)
{
    for (uint64_t lsn = c->top; lsn > 0; lsn--) {
        const struct fact *f = &c->facts[lsn];
        bool old = false;
        uint64_t has = ops->term_at(p, lsn, &old);
        if (old)
            return; /* below its base: compared when it was applied */
        if (f->applied && f->by_term < term && has != f->term)
            violated(c,
                     "leader completeness: n%u leads term %" PRIx64
                     " without committed lsn %" PRIu64,
                     node, term, lsn);
        if (must_survive(c, f) && f->acked_by < term && has != f->acked_term)
            violated(c,
                     "acknowledged write lost: n%u leads term %" PRIx64
                     " without lsn %" PRIu64,
                     node, term, lsn);
    }
}

void check_led(struct check *c, raft_id node, uint64_t term,
               const struct sim_replica_ops *ops, struct sim_replica *p)
{
    for (size_t i = 0; i < c->n_leaders; i++) {
        if (c->leaders[i].term == term && c->leaders[i].node != node)
            violated(c, "two leaders of term %" PRIx64 ": n%u and n%u", term,
                     c->leaders[i].node, node);
    }
    if (c->n_leaders == c->cap_leaders) {
        c->cap_leaders = c->cap_leaders ? c->cap_leaders * 2 : 16;
        c->leaders =
            mem_realloc(c->leaders, c->cap_leaders * sizeof(*c->leaders));
    }
    c->leaders[c->n_leaders++] = (struct leader){term, node};
    check_complete(c, node, term, ops, p);
}

/* ---- reads
 * ------------------------------------------------------------------- */

struct check_floor check_read_floor(const struct check *c)
{
    return (struct check_floor){c->committed_floor, c->acked_floor,
                                c->forced_epoch};
}

void check_read_done(struct check *c, raft_id node, struct check_floor floor,
                     uint64_t lsn)
{
    c->n_reads++;
    uint64_t least = floor.committed;
    if (floor.forced_epoch == c->forced_epoch && floor.acked > least)
        least = floor.acked;
    if (lsn < least)
        violated(c,
                 "stale read: n%u serves lsn %" PRIu64 " though %" PRIu64
                 " was seen before",
                 node, lsn, least);
    if (lsn <= c->applied_top && lsn > c->committed_floor)
        c->committed_floor = lsn;
}

uint64_t check_acked_count(const struct check *c)
{
    return c->n_acked;
}

uint64_t check_elections(const struct check *c)
{
    return c->n_leaders;
}

uint64_t check_reads(const struct check *c)
{
    return c->n_reads;
}
