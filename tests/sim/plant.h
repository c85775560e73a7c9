/* Included first in every file of a module that has planted bugs, where the
 * simulator is built with them: which bug is planted is then a variable, and
 * one program has them all. See consensus/canary.h. */
#ifndef BASTIDE_SIM_PLANT_H
#define BASTIDE_SIM_PLANT_H

extern int sim_planted_raft, sim_planted_shard, sim_planted_failover,
    sim_planted_govern;

#define RAFT_CANARY sim_planted_raft
#define SHARD_CANARY sim_planted_shard
#define FAILOVER_CANARY sim_planted_failover
#define GOVERN_CANARY sim_planted_govern

#endif
