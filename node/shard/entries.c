#include "node/shard/entries.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"

#define ENTRIES_FIRST_CAP 64

void entries_init(struct entries *t, uint64_t next)
{
    CHECK(next > 0);
    *t = (struct entries){.first = next, .next = next};
}

void entries_free(struct entries *t)
{
    entries_truncate(t, t->first);
    mem_free(t->ring);
    t->ring = NULL;
    t->cap = 0;
}

static void entries_grow(struct entries *t)
{
    size_t cap = t->cap > 0 ? t->cap * 2 : ENTRIES_FIRST_CAP;
    struct entry **ring = mem_zalloc(cap * sizeof(*ring));
    for (uint64_t lsn = t->first; lsn < t->next; lsn++)
        ring[lsn & (cap - 1)] = t->ring[lsn & (t->cap - 1)];
    mem_free(t->ring);
    t->ring = ring;
    t->cap = cap;
}

void entries_push(struct entries *t, struct entry *e)
{
    CHECK_OBJ(e, ENTRY_MAGIC);
    CHECK(e->lsn == t->next);
    if (t->next - t->first == t->cap)
        entries_grow(t);
    t->ring[e->lsn & (t->cap - 1)] = e;
    t->bytes += entry_bytes(e);
    t->next++;
}

struct entry *entries_at(const struct entries *t, uint64_t lsn)
{
    if (lsn < t->first || lsn >= t->next)
        return NULL;
    struct entry *e = t->ring[lsn & (t->cap - 1)];
    CHECK_OBJ(e, ENTRY_MAGIC);
    CHECK(e->lsn == lsn);
    return e;
}

static void entries_release(struct entries *t, uint64_t lsn)
{
    struct entry **slot = &t->ring[lsn & (t->cap - 1)];
    t->bytes -= entry_bytes(*slot);
    entry_unref(TAKE(*slot));
}

void entries_truncate(struct entries *t, uint64_t from)
{
    while (t->next > t->first && t->next > from)
        entries_release(t, --t->next);
}

void entries_drop_below(struct entries *t, uint64_t below)
{
    while (t->first < t->next && t->first < below)
        entries_release(t, t->first++);
}

void entries_reset(struct entries *t, uint64_t next)
{
    CHECK(next > 0);
    entries_truncate(t, t->first);
    t->first = t->next = next;
}
