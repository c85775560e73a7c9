/* The checkers. They know what was observed, nothing of how it came about.
 *
 *   one leader per term          check_led
 *   log matching                 check_appended: an (LSN, term) names one value
 *                                and one predecessor, in all logs for ever
 *   leader completeness          check_led: a new leader has every entry that
 *                                was committed or acknowledged before
 *   state machine equality       check_applied: one value per LSN for all
 *   acknowledged is never lost   check_led, check_applied, check_missing
 *   linearizable reads           check_read_done: a read sees every write
 *                                acknowledged, and every LSN read, before it
 *
 * A forced failover may lose what only the lost region had acknowledged:
 * check_forced names the epoch, and older regional acknowledgements are
 * forgiven from then on.
 */
#ifndef BASTIDE_SIM_CHECK_H
#define BASTIDE_SIM_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/sim/replica.h"

struct check;

/* `fail` gets a description of the first violation. */
struct check *check_new(void (*fail)(void *ctx, const char *text), void *ctx);
void check_free(struct check *c);

void check_led(struct check *c, raft_id node, uint64_t term,
               const struct sim_replica_ops *ops, struct sim_replica *p);
void check_appended(struct check *c, raft_id node, uint64_t lsn, uint64_t term,
                    uint64_t prev_term, uint64_t value);
void check_applied(struct check *c, raft_id node, uint64_t lsn, uint64_t term,
                   uint64_t value, uint64_t node_term);
/* The same of a node that has no payloads: such an entry was seen before. */
void check_head_appended(struct check *c, raft_id node, uint64_t lsn,
                         uint64_t term, uint64_t prev_term);
void check_head_applied(struct check *c, raft_id node, uint64_t lsn,
                        uint64_t term);
/* `by_term`: of who acknowledges. Who is elected late, for a term before that,
 * need not have it. */
void check_acked(struct check *c, uint64_t lsn, uint64_t term, uint64_t value,
                 uint64_t by_term, bool committed);
void check_forced(struct check *c, uint32_t epoch);

/* What a read invoked now must see at least. */
struct check_floor {
    uint64_t committed;
    uint64_t acked; /* by a region; void after a forced failover */
    uint32_t forced_epoch;
};
struct check_floor check_read_floor(const struct check *c);
void check_read_done(struct check *c, raft_id node, struct check_floor floor,
                     uint64_t lsn);
/* The first acknowledged write that is not in the common history up to `lsn`;
 * 0 if there is none. */
uint64_t check_missing(const struct check *c, uint64_t lsn);

uint64_t check_acked_count(const struct check *c);
uint64_t check_elections(const struct check *c);
uint64_t check_reads(const struct check *c);

#endif
