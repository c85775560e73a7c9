/* Checks what replicas show to readers of the weaker levels, and how fresh they
 * think they are. It knows what leaders acknowledged and when, on the
 * simulator's true clock; nothing of how replicas come to their answers.
 *
 *   no uncertain reads   every entry that a follower shows was shown as
 *                        acknowledged by a leader before
 *   freshness            everything acknowledged before the time since which a
 *                        replica claims to be fresh is visible there
 *
 * What a forced decision may lose is no longer asked for once it is made. */
#ifndef BASTIDE_SIM_SHOWN_H
#define BASTIDE_SIM_SHOWN_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/sim/replica.h"

struct shown;

struct shown *shown_new(void (*fail)(void *ctx, const char *text), void *ctx);
void shown_free(struct shown *s);

/* `node` shows the entry; as its leader, or because it was told. */
void shown_entry(struct shown *s, raft_id node, uint64_t lsn, uint64_t term,
                 bool leads);
/* A client got its answer at `now_us`. Times never fall. */
void shown_acked(struct shown *s, usec_t now_us, uint64_t lsn, uint64_t term);
/* `node`, which shows everything up to `lsn`, says that it has seen all that
 * was acknowledged before `since_us`. */
void shown_fresh(struct shown *s, raft_id node, uint64_t lsn, usec_t since_us);
void shown_forced(struct shown *s, uint32_t epoch);

#endif
