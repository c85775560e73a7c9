/* Planted bugs. `make canary` builds the core once per name with
 * -DRAFT_CANARY=RAFT_CANARY_<name> and requires the simulator to catch each:
 * a checker that never fails proves nothing. In a normal build every CANARY()
 * is the constant 0 and the branch is gone.
 *
 * Internal to consensus/.
 */
#ifndef BASTIDE_CONSENSUS_CANARY_H
#define BASTIDE_CONSENSUS_CANARY_H

enum raft_canary {
    RAFT_CANARY_NONE,
    RAFT_CANARY_VOTE_ANY_LOG,    /* votes without comparing logs */
    RAFT_CANARY_FORGET_VOTE,     /* does not write its vote down */
    RAFT_CANARY_LONG_LEASE,      /* trusts a lease beyond its end */
    RAFT_CANARY_COUNT_OLD_TERM,  /* commits an older term by counting */
    RAFT_CANARY_ACK_BEFORE_SYNC, /* acknowledges what is not durable */
    RAFT_CANARY_MAJORITY_ONLY,   /* elects without the write region */
    RAFT_CANARY_READ_AT_ONCE,    /* serves reads without asking a quorum */
    RAFT_CANARY_SKIP_JOINT,      /* asks the new half alone */
    RAFT_CANARY_AMNESIAC_VOTES,  /* votes although its disk was lost */
    RAFT_CANARY_AMNESIAC_VOTES_BEHIND, /* ... for one with less than it had */
    RAFT_CANARY_AMNESIAC_ACKS,      /* acknowledges before it knows the terms */
    RAFT_CANARY_AMNESIA_ENDS_EARLY, /* votes with less than it once had */
    RAFT_CANARY_AMNESIA_ENDS_BY_STANDING, /* whatever it knows to be committed
                                           */
    RAFT_CANARY_AMNESIAC_ASKS_FOUNDERS, /* of those who vote, only the first */
    RAFT_CANARY_KEPT_END_FORGOTTEN, /* does not count what its log once had */
    RAFT_CANARY_LEFT_END_FORGOTTEN, /* ... deleted, see tests/sim/world.c */
    RAFT_CANARY_VISIBLE_UNVERIFIED, /* shows a log it has not compared */
    RAFT_CANARY_ANNOUNCE_NO_LEASE,  /* announces as if it still led */
    RAFT_CANARY_REGION_PAST_CONFIG, /* acknowledges by a rule in doubt */
    RAFT_CANARY_LAZY_HEARTBEAT,     /* heartbeats slower than timeouts */
    RAFT_CANARY_WITNESS_CAMPAIGNS,  /* stands for election without payload */
    RAFT_CANARY_WITNESS_COUNTS_AS_PAYLOAD, /* tells it what one region has */
};

#ifndef RAFT_CANARY
#define RAFT_CANARY RAFT_CANARY_NONE
#endif

#define CANARY(name) (RAFT_CANARY == RAFT_CANARY_##name)

#endif
