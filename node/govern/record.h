/* A group's decision as plain numbers: which region acknowledges writes, by
 * which rule, since which epoch; and how one decision becomes the next.
 *
 * The record lives in the meta shard (struct catalog_group holds the same with
 * names). Whoever changes it reads the committed one, derives the next by a
 * function below, and writes it on the condition that nobody else did: so
 * decisions form one line, and an epoch is decided once.
 *
 *     settled  every shard's committed configuration is this decision, and its
 *              leader is in the write region
 *     forced   the old write region is lost. Every node tells its replicas at
 *              once (RAFT_EV_EPOCH); elections go by it, and what only the lost
 *              region had is overwritten
 *     planned  (not forced) the leaders change over first: CHANGE, committed by
 *              a majority of all voters, then the leadership moves. Nothing is
 *              lost, whoever dies meanwhile
 *
 * Pure.
 */
#ifndef BASTIDE_GOVERN_RECORD_H
#define BASTIDE_GOVERN_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "consensus/members.h"
#include "node/catalog/catalog.h"

#define GOVERN_REASON_MAX sizeof(((struct group_decision *)0)->reason)

/* A set of regions: bit `region - 1`. */
typedef uint32_t govern_regions;
static inline govern_regions govern_region_bit(raft_region region)
{
    return (govern_regions)1 << (region - 1);
}

/* A node that should hold a replica of the group's shards, and vote. */
struct govern_member {
    raft_id id;
    raft_region region;
};

struct govern_record {
    uint32_t epoch;
    raft_region write_region;
    raft_region from_region; /* the one before, until that switch is settled */
    struct consistency_policy consistency;
    bool forced;
    bool settled;
    bool manual;   /* an operator chose the region: no fail-back until the list
                    * changes or the region is lost */
    bool failback; /* automatic */
    bool gather;   /* leaders on one node (home.h). No part of the decision:
                    * it changes without a new epoch */
    uint32_t recovered; /* how often, and in which epoch last */
    uint32_t recovered_epoch;
    uint8_t n_regions;
    raft_region priority[GROUP_REGIONS_MAX]; /* preferred first */
    govern_regions down;                     /* declared down */
    /* Who should be the members, by id; none: whoever is (group default, whose
     * shards every node holds). Every change is a new epoch, which is settled
     * when they are. */
    uint8_t n_members;
    struct govern_member members[RAFT_MEMBERS_MAX];
    /* The one of them that is a witness (docs/witness.md), in a region that is
     * not on the list; id 0: none. */
    struct govern_member witness;
    bool witness_coming; /* new, until the record is settled */
    /* One that was until now, where a replica may be left: dropped once the
     * record is settled. id 0: none. */
    struct govern_member witness_leaving;
    /* Regions without members that are still inside the fence, because replicas
     * may be left there: dropped from the list once the record is settled. */
    govern_regions leaving;
    govern_regions coming; /* new ones, until the record is settled */
    int64_t at_us;         /* wall clock */
    char reason[GOVERN_REASON_MAX];
};

/* How the level acknowledges (design section 3). */
enum raft_ack govern_ack(const struct govern_record *r);
/* Position in the list, preferred 0; n_regions when it is not there. */
uint32_t govern_rank(const struct govern_record *r, raft_region region);

/* As much of the record as a shard's configuration tells, for a node that was
 * started alone and does not know which record is committed: enough for
 * govern_recover and govern_config, with the same result as from the record
 * that made the configuration. */
void govern_from_config(const struct raft_config *config,
                        struct govern_record *record_out);

/* What one shard's configuration should be: the members of `now` with the
 * priorities of the list (the write region first), and, unless `meta`, the
 * decision's rule and epoch. The meta shard is always strong and keeps its
 * epoch. Membership is as in `now`. */
void govern_config(const struct govern_record *r, bool meta,
                   const struct raft_config *now,
                   struct raft_config *config_out);

/* What nodes tell each other of a committed record, for those whose disk hangs
 * or is full and which therefore cannot follow the meta shard's log: they must
 * learn that they shall not lead any more. An epoch is decided once. */
struct govern_hint {
    uint32_t epoch;
    raft_region write_region; /* 0: no record is known */
    bool forced, settled;
    struct consistency_policy consistency;
    uint32_t recovered_epoch;
};

void govern_tell(const struct govern_record *r, struct govern_hint *hint_out);
/* Makes `hint`, what was learned so (epoch 0: nothing), of `known`, the record
 * that is committed here, and what somebody said. False, and `hint` stays: it
 * is no newer than either, or makes no sense for this group. */
bool govern_learn(const struct govern_record *known,
                  const struct govern_hint *said, struct govern_record *hint);

/* Each fills `next_out` with the record that follows `now`, decided at `at_us`
 * (wall clock) because of `reason` (cut when too long). `next_out` may be
 * `now`. */

/* ERR_EXISTS: `to` is the write region already; ERR_NOT_FOUND: none of the
 * group's regions, or one that is leaving or coming: a shard that has no voter
 * there could follow neither the switch nor the change of members. Once all
 * shards follow the strong rule (the record is settled) a switch is always
 * planned. */
int govern_switch(const struct govern_record *now, raft_region to, bool forced,
                  bool manual, int64_t at_us, const char *reason,
                  struct govern_record *next_out);
/* ERR_INVALID: bounded staleness with a bound of 0. ERR_EXISTS: it is so
 * already. */
int govern_set_level(const struct govern_record *now,
                     const struct consistency_policy *level, int64_t at_us,
                     const char *reason, struct govern_record *next_out);
/* The same decision in a new epoch, by which it can be seen who has heard of
 * the record (govern_record says nothing of what else is in that). ERR_BUSY:
 * the one before is not settled. */
int govern_renew(const struct govern_record *now, int64_t at_us,
                 const char *reason, struct govern_record *next_out);
/* ERR_INVALID: not the group's regions, each once. With `move` the first region
 * of the list becomes the write region by a planned switch, unless it is
 * declared down, leaving or coming. */
int govern_set_priority(const struct govern_record *now,
                        const raft_region *order, uint32_t n, bool failback,
                        bool move, int64_t at_us, const char *reason,
                        struct govern_record *next_out);
/* Other members, and so other regions; with a witness, it among them as it is:
 * those of `priority` that have a member, in that order; regions that lose
 * their last one are leaving, and stay at the list's end until that is settled.
 * If the write region is among them the first region of the list that has
 * members now and is not down takes over, by a planned switch; ERR_UNAVAILABLE:
 * there is none. ERR_UNSUPPORTED: the group has a witness, and it is not among
 * them, or what it needs would not hold at every step (docs/witness.md, section
 * 7): two regions with as many members as now, those of a region that stays the
 * same ones, none in the witness's region. ERR_INVALID: no members, one twice,
 * or of a region that `priority` lacks. ERR_EXISTS: it is so already. ERR_BUSY:
 * the change before is not settled, or who left not dropped. */
int govern_set_members(const struct govern_record *now,
                       const struct govern_member *members, uint32_t n,
                       const raft_region *priority, uint32_t n_priority,
                       int64_t at_us, const char *reason,
                       struct govern_record *next_out);
/* Another witness, or (id 0) none; the other members stay. Where there is one
 * already, the new one takes its place in one step (steer.h). One that is still
 * coming can be taken back, since it may be dead and then never votes: for the
 * one before, whose replicas are kept until the record is settled, or for none
 * if there was none. ERR_EXISTS: it is so already. ERR_BUSY: the change before
 * is not settled. ERR_UNSUPPORTED: the group has not two regions with as many
 * members each, or the witness's is one of them. ERR_LIMIT: too many members.
 */
int govern_set_witness(const struct govern_record *now,
                       struct govern_member witness, int64_t at_us,
                       const char *reason, struct govern_record *next_out);
/* Whether the record wants this node as a member; anybody, if it names none. */
bool govern_wants(const struct govern_record *r, raft_id node);
/* Whether a shard has the members that the record wants: all of them vote, and
 * nobody else is there. */
bool govern_members_are(const struct govern_record *r,
                        const struct raft_config *config);
/* Whether somebody who was to go has gone, and is to be dropped. */
bool govern_has_leaving(const struct govern_record *r);
/* The regions that were leaving are gone, and a witness that was. Not a new
 * epoch. CHECK: settled. */
void govern_drop_leaving(const struct govern_record *now,
                         struct govern_record *next_out);
/* The same decision; not a new epoch. */
void govern_set_settled(const struct govern_record *now,
                        struct govern_record *next_out);
void govern_set_down(const struct govern_record *now, govern_regions down,
                     struct govern_record *next_out);
/* A planned switch that does not settle becomes a forced one: a new epoch. */
void govern_escalate(const struct govern_record *now, int64_t at_us,
                     const char *reason, struct govern_record *next_out);
/* The survivors were made a cluster of their own in `epoch` (raft.h,
 * RAFT_EV_RECOVER). The write region stays if it survives; else the first
 * survivor in the list writes. The others are down. CHECK: there is a survivor,
 * and the epoch is newer. */
void govern_recover(const struct govern_record *now, uint32_t epoch,
                    govern_regions survivors, int64_t at_us, const char *reason,
                    struct govern_record *next_out);

#endif
