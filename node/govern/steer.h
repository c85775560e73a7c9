/* Makes the replicas of one node follow the group's decision (record.h), each
 * through its own shard: called every STEER_EVERY_US, and at once when a new
 * record was committed. Pure; the simulator runs the same.
 *
 *     what holds at a replica              what is done
 *     ------------------------------------ ---------------------------------
 *     a forced or settled decision is new  shard_decide (RAFT_EV_EPOCH)
 *     level or regions down have changed   shard_set_policy
 *     leads; its configuration is another  shard_change, until it is committed
 *     leads outside the write region       hands over to a replica there that
 *                                          has nearly everything
 *     leads; its node is ill or stops      hands over, in the write region if
 *                                          possible, else by priority
 *     leads; another node of its region    hands over, once that is so for
 *     is its home (home.h)                 STEER_HOME_US and all else is at
 *                                          rest
 *     a peer distrusts its replica         (steer_shun) nothing is handed to it
 *     leads; a former voter follows again  makes it a voter
 *     leads; the record wants others as    takes them in, then lets the others
 *     members                              go: not while a voter is rebuilt
 *
 * A replica that does not lead only listens.
 */
#ifndef BASTIDE_GOVERN_STEER_H
#define BASTIDE_GOVERN_STEER_H

#include "failover/health.h"
#include "node/govern/record.h"
#include "node/shard/shard.h"

#define STEER_EVERY_US (50 * USEC_PER_MS)
/* A hand-over that failed is tried again after this. */
#define STEER_TRANSFER_PAUSE_US (500 * USEC_PER_MS)
/* How long the same other node has to be a leader's home, and well, before the
 * leadership goes there; and after an attempt. A node that comes and goes
 * faster gets none. The meta shard's leader stays where it is: it watches the
 * regions, and would begin anew. */
#define STEER_HOME_US (5 * USEC_PER_SEC)
/* Entries that the target of a hand-over may lack: they must cross while
 * writes wait. */
#define STEER_NEAR_ENTRIES 500
/* How long one that says it distrusts its replica gets no leadership. It says
 * so every two seconds (scrubber.c). */
#define STEER_SHUN_US (6 * USEC_PER_SEC)
/* Nodes that should not lead. */
#define STEER_ILL_MAX RAFT_MEMBERS_MAX

/* A disk whose writes take so long makes a poor leader, long before its node is
 * called ill. */
#define STEER_SLOW_MS 300

/* What the node knows of itself and its neighbours. */
struct steer_health {
    bool self_ill; /* own disk hangs or is full, or the node is stopping */
    uint32_t n_ill;
    raft_id ill[STEER_ILL_MAX]; /* others that should not be given a
                                 * leadership */
    govern_regions unable;      /* whose nodes say that they cannot write */
};
/* Filled from what all nodes say of themselves; `own` is of node `self`. */
void steer_health_of(const struct failover_health *h, raft_id self,
                     const struct failover_self *own,
                     struct steer_health *health_out);

/* A node that gets no leadership of a shard for a while. */
struct steer_shunned {
    raft_id node;
    usec_t until;
};

/* Of one replica; zeroed at first. */
struct steer {
    uint32_t told;         /* epoch last told to the core, this life */
    uint64_t policy;       /* names what shard_set_policy was last given */
    govern_regions unable; /* likewise */
    usec_t transfer_at;    /* not before */
    usec_t change_at;
    raft_id home;   /* while it leads: another node that is its home; 0 */
    usec_t home_at; /* when it may go there */
    struct steer_shunned shunned[STEER_ILL_MAX];
};

/* Gives `node` no leadership of this shard for STEER_SHUN_US: it would not take
 * it (shard_distrust). */
void steer_shun(struct steer *st, usec_t now, raft_id node);

/* One look at one replica. `self` is its member id. Not from inside a callback
 * of the shard. */
void steer_shard(struct steer *st, usec_t now, const struct govern_record *rec,
                 const struct steer_health *health, raft_id self,
                 struct shard *s);
/* Whether, as far as this replica knows, its shard follows the decision: see
 * `settled` in record.h. */
bool steer_settled(const struct govern_record *rec, const struct shard *s);

#endif
