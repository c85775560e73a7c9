/* The skeleton of a log: LSN, term, type and size of every entry above a base,
 * and the configurations. Payloads stay with the shell.
 *
 * Invariants: terms never fall from base_term on; the first configuration is
 * the one in force at the base, the others belong to CONFIG entries above it,
 * ascending; a truncation takes configurations with it.
 *
 * Internal to consensus/.
 */
#ifndef BASTIDE_CONSENSUS_TRAIL_H
#define BASTIDE_CONSENSUS_TRAIL_H

#include "consensus/raft.h"

struct trail_item {
    uint64_t term;
    uint32_t size;
    uint8_t type;
};

struct trail_config {
    uint64_t lsn;
    struct raft_config *config; /* own copy: stays put until it is removed */
};

struct trail {
    uint64_t base_lsn;
    uint64_t base_term;
    struct trail_item *items; /* items[head] is entry base_lsn + 1 */
    size_t head;
    size_t n;
    size_t cap;
    struct trail_config *configs; /* at least one */
    size_t n_configs;
    size_t cap_configs;
};

void trail_init(struct trail *t, uint64_t base_lsn, uint64_t base_term,
                const struct raft_config *base_config);
void trail_free(struct trail *t);

static inline uint64_t trail_last_lsn(const struct trail *t)
{
    return t->base_lsn + t->n;
}
uint64_t trail_last_term(const struct trail *t);
/* Whether a log that ends at `lsn` with `term` has got at least as far as one
 * that ends at `other_lsn` with `other_term` (paper 5.4.1). */
static inline bool trail_end_reaches(uint64_t lsn, uint64_t term,
                                     uint64_t other_lsn, uint64_t other_term)
{
    return term > other_term || (term == other_term && lsn >= other_lsn);
}
/* The term at `lsn`; ERR_NOT_FOUND below the base and above the end. */
int trail_term(const struct trail *t, uint64_t lsn, uint64_t *term_out);
/* The item at an LSN that is there. */
const struct trail_item *trail_item(const struct trail *t, uint64_t lsn);

/* Adds one entry at the end. Its term must not be lower than the last. */
void trail_append(struct trail *t, const struct raft_entry *e);
/* Drops `from` (above the base) and everything after it. */
void trail_truncate(struct trail *t, uint64_t from);
/* Makes `lsn` (in the trail) the new base. */
void trail_compact(struct trail *t, uint64_t lsn);
/* Forgets everything and starts after a snapshot. */
void trail_reset(struct trail *t, uint64_t lsn, uint64_t term,
                 const struct raft_config *config);

/* The newest configuration, and the LSN of its entry (the base's: base_lsn or
 * older). */
const struct raft_config *trail_config(const struct trail *t);
uint64_t trail_config_lsn(const struct trail *t);
/* The newest configuration at or below `lsn`. */
const struct raft_config *trail_config_at(const struct trail *t, uint64_t lsn);
/* The LSN of the first CONFIG entry above `lsn`; 0 when there is none. */
uint64_t trail_next_config(const struct trail *t, uint64_t lsn);

/* The last entry at or below `lsn` whose term is at most `term`: the last that
 * may agree with a log that has `term` at `lsn`. The base at least. */
uint64_t trail_find_agreement(const struct trail *t, uint64_t lsn,
                              uint64_t term);

#endif
