/* Whole sites: nodes with a meta shard, document shards, the failover
 * controller and what ties them together, in regions, used by clients with
 * sessions, administered by an operator, from one seed.
 *
 * A run has five parts:
 *
 *   storm    the faults of this seed's swarm, while clients read and write and
 *            the operator changes levels, priorities and the write region
 *   calm     everything is healed; all must become well again in bounded time
 *   drill    one thing happens to a calm cluster: its write region is killed,
 *            paused, cut off, cut off one way, gets a hanging disk or is moved
 *            on purpose; or a region is slow, or one pair of regions cannot
 *            hear each other. What must follow is known, and by when
 *   return   what was lost comes back; calm again
 *   verdict  no load; all replicas agree, and the history (judge.h) is as the
 *            levels promise
 *
 * The same seed replays exactly. */
#ifndef BASTIDE_SIM_SITE_H
#define BASTIDE_SIM_SITE_H

#include "tests/sim/world.h"

struct site_shape {
    const char *name;
    uint32_t regions;
    uint32_t voters;   /* per region */
    uint32_t learners; /* per region */
    /* And one node in a region more: it votes in the meta shard, and is a
     * witness in the others. */
    bool witness;
};

/* `loud`: 0 silent, 1 the story, 2 with every decision of the cores. */
void site_run(const struct site_shape *shape, uint64_t seed, int loud,
              struct sim_result *result_out);

#endif
