/* This node's part in deciding where writes go (worker 0, which has the links
 * and the meta shard): gossips what it knows of itself and of whom it reaches,
 * judges regions by what all say (failover/), tells the node's workers who is
 * ill, and, where it leads the meta shard, writes the next decision into the
 * group's record.
 *
 *     links' gossip <-> governor --news--> every worker's steering
 *                          ^  |
 *             boards ------+  +--group_edit--> meta shard -> catalog feed
 */
#ifndef BASTIDE_SERVER_GOVERNOR_H
#define BASTIDE_SERVER_GOVERNOR_H

#include "failover/failover.h"
#include "node/govern/record.h"
#include "node/server/group_edit.h"

struct worker;
struct governor;

#define GOVERNOR_TICK_US (100 * USEC_PER_MS)
/* Without contact to the meta shard's leader for that long, the node is
 * isolated. */
#define GOVERNOR_ISOLATED_US (3 * USEC_PER_SEC)

/* Status says that writes stop once it has looked so for that long. */
#define GOVERNOR_DOUBT_US (1500 * USEC_PER_MS)

/* On the main thread, before the workers start. */
struct governor *governor_new(struct worker *w);

/* The gossip for one peer, to be sent now; valid until the next call. */
struct bytes governor_gossip(struct governor *g, uint32_t peer);
void governor_heard(struct governor *g, uint32_t peer, struct bytes gossip);
/* The configuration has more nodes than before. */
void governor_topology(struct governor *g);
/* Whether this node and every other that is in reach say that they have the
 * group's record of that epoch or a later one; with `members`, its members
 * alone. */
bool governor_all_know(const struct governor *g, uint16_t group, uint32_t epoch,
                       bool members);
/* A group's committed record; from steering. */
void governor_record(struct governor *g, uint16_t number, const char *name,
                     const struct govern_record *r);

/* -- for the administrator ------------------------------------------------- */

/* Of one group, by its number (GROUP_DEFAULT...). What other nodes say of their
 * own shards, with this node's. */
struct governor_totals {
    uint64_t at_risk_entries; /* of all leaders heard */
    uint32_t at_risk_ms;
    uint32_t pause_ms; /* the longest last hand-over since the record's epoch
                        * was decided; UINT32_MAX: not known */
};
void governor_totals(const struct governor *g, uint16_t group,
                     struct governor_totals *out);

/* Decisions to move the writes that this node learned of since it started. A
 * planned one that became a forced one counts as both. */
uint64_t governor_switches(const struct governor *g, uint16_t group,
                           bool forced);

/* NULL until the group's record is known. Borrowed until the next turn. */
const struct govern_record *governor_now(const struct governor *g,
                                         uint16_t group);
const struct failover_health *governor_health(const struct governor *g);
/* The group as the controller sees it, for failover_check_switch; and the plan,
 * also on nodes that may not act on it. Not before governor_now. */
void governor_group(const struct governor *g, uint16_t group,
                    struct failover_group *out);
void governor_plan(const struct governor *g, uint16_t group,
                   struct failover_plan *out);

#endif
