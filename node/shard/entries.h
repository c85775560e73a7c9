/* The entries of one shard's log that are in memory: a run without gaps, by
 * LSN. Holds one reference to each. Pure. */
#ifndef BASTIDE_SHARD_ENTRIES_H
#define BASTIDE_SHARD_ENTRIES_H

#include <stddef.h>
#include <stdint.h>

#include "node/store/entry.h"

struct entries {
    struct entry **ring; /* ring[lsn & (cap - 1)] */
    size_t cap;          /* a power of two, 0 before the first */
    uint64_t first;      /* lowest LSN held; first == next when empty */
    uint64_t next;       /* one above the highest */
    size_t bytes;        /* entry_bytes of all */
};

/* Empty, with `next` as the first LSN that may be pushed. */
void entries_init(struct entries *t, uint64_t next);
void entries_free(struct entries *t);
/* Takes over the caller's reference; e->lsn must be t->next. */
void entries_push(struct entries *t, struct entry *e);
/* NULL when not held. */
struct entry *entries_at(const struct entries *t, uint64_t lsn);
/* Forgets all entries with lsn >= from, or lsn < below. */
void entries_truncate(struct entries *t, uint64_t from);
void entries_drop_below(struct entries *t, uint64_t below);
/* Forgets everything; the next entry has LSN `next`. */
void entries_reset(struct entries *t, uint64_t next);

#endif
