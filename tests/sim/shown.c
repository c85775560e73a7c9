#include "tests/sim/shown.h"

#include <inttypes.h>
#include <stdio.h>

#include "node/base/check.h"
#include "node/base/mem.h"

struct vouched {
    uint64_t lsn; /* 0: free slot */
    uint64_t term;
};

/* From `at_us` on, `lsn` was the highest one acknowledged. */
struct ack {
    usec_t at_us;
    uint64_t lsn;
};

struct shown {
    void (*fail)(void *ctx, const char *text);
    void *ctx;
    struct vouched *vouched; /* open addressing */
    size_t n_vouched;
    size_t cap_vouched;
    struct ack *acks; /* both fields ascending */
    size_t n_acks;
    size_t cap_acks;
    uint32_t forced_epoch;
};

struct shown *shown_new(void (*fail)(void *ctx, const char *text), void *ctx)
{
    struct shown *s = mem_zalloc(sizeof(*s));
    s->fail = fail;
    s->ctx = ctx;
    s->cap_vouched = 1024;
    s->vouched = mem_zalloc(s->cap_vouched * sizeof(*s->vouched));
    return s;
}

void shown_free(struct shown *s)
{
    mem_free(s->vouched);
    mem_free(s->acks);
    mem_free(s);
}

static struct vouched *slot(struct vouched *table, size_t cap, uint64_t lsn,
                            uint64_t term)
{
    uint64_t h = (lsn * 0x9e3779b97f4a7c15ULL) ^ (term * 0xff51afd7ed558ccdULL);
    size_t i = (size_t)(h ^ (h >> 32)) & (cap - 1);
    while (table[i].lsn != 0 && (table[i].lsn != lsn || table[i].term != term))
        i = (i + 1) & (cap - 1);
    return &table[i];
}

static void grow(struct shown *s)
{
    size_t cap = s->cap_vouched * 2;
    struct vouched *table = mem_zalloc(cap * sizeof(*table));
    for (size_t i = 0; i < s->cap_vouched; i++) {
        const struct vouched *v = &s->vouched[i];
        if (v->lsn != 0)
            *slot(table, cap, v->lsn, v->term) = *v;
    }
    mem_free(s->vouched);
    s->vouched = table;
    s->cap_vouched = cap;
}

void shown_entry(struct shown *s, raft_id node, uint64_t lsn, uint64_t term,
                 bool leads)
{
    if (s->n_vouched * 2 > s->cap_vouched)
        grow(s);
    struct vouched *v = slot(s->vouched, s->cap_vouched, lsn, term);
    if (v->lsn != 0)
        return;
    if (leads) {
        *v = (struct vouched){lsn, term};
        s->n_vouched++;
        return;
    }
    char text[128];
    snprintf(text, sizeof(text),
             "uncertain read: n%u shows lsn %" PRIu64 " of term %" PRIx64
             ", which no leader acknowledged",
             node, lsn, term);
    s->fail(s->ctx, text);
}

void shown_acked(struct shown *s, usec_t now_us, uint64_t lsn, uint64_t term)
{
    if (RAFT_TERM_EPOCH(term) < s->forced_epoch)
        return;
    if (s->n_acks > 0 && s->acks[s->n_acks - 1].lsn >= lsn)
        return;
    if (s->n_acks == s->cap_acks) {
        s->cap_acks = s->cap_acks ? s->cap_acks * 2 : 256;
        s->acks = mem_realloc(s->acks, s->cap_acks * sizeof(*s->acks));
    }
    CHECK(s->n_acks == 0 || now_us >= s->acks[s->n_acks - 1].at_us);
    s->acks[s->n_acks++] = (struct ack){now_us, lsn};
}

void shown_fresh(struct shown *s, raft_id node, uint64_t lsn, usec_t since_us)
{
    /* The number of acknowledgements before then. */
    size_t low = 0;
    size_t high = s->n_acks;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (s->acks[mid].at_us < since_us)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == 0 || s->acks[low - 1].lsn <= lsn)
        return;
    char text[160];
    snprintf(text, sizeof(text),
             "not so fresh: n%u shows up to lsn %" PRIu64
             " and claims all of before %.3f ms, but %" PRIu64
             " was acknowledged at %.3f ms",
             node, lsn, (double)since_us / 1000.0, s->acks[low - 1].lsn,
             (double)s->acks[low - 1].at_us / 1000.0);
    s->fail(s->ctx, text);
}

void shown_forced(struct shown *s, uint32_t epoch)
{
    s->forced_epoch = epoch;
    s->n_acks = 0;
}
