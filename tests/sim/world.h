/* A seeded world: replicas on a virtual clock, network and disks.
 *
 * A run has two phases (after the same idea in other simulators). Safety: all
 * faults that this seed's swarm chose, while clients write and read. Liveness:
 * everything heals, and the cluster must elect, acknowledge new writes and
 * converge in bounded time without an election storm.
 *
 * Everything is drawn from one seed: the same seed replays exactly.
 */
#ifndef BASTIDE_SIM_WORLD_H
#define BASTIDE_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/sim/replica.h"

struct sim_shape {
    const char *name;
    uint32_t regions;
    uint32_t per_region; /* voters at the start */
    uint32_t spare;      /* nodes that wait to be added */
    bool turbulent;      /* all seeds: elections all the time */
    bool forgetful;      /* all seeds: disks are lost */
    bool witness;        /* and one more, in a region of its own */
    bool late; /* it comes, moves and goes; in the end it is no member */
};

struct sim_result {
    bool ok;
    char text[320]; /* the first violation */
    uint64_t events;
    uint64_t acked;
    uint64_t reads;
    uint64_t elections;
    uint64_t drills;    /* regions lost, and done without */
    uint64_t conflicts; /* sites: entries of the conflict feed */
    usec_t failover_us; /* sites: how long no write was possible after a loss */
    bool failed_over;   /* and whether there was one */
};

void sim_run(const struct sim_replica_ops *ops, const struct sim_shape *shape,
             uint64_t seed, bool verbose, struct sim_result *result_out);

#endif
