/* What a node knows of fences (failover/fence.h), and what becomes of a
 * refusal.
 *
 *   catalog feed --groups--> the table, worker 0's --> links ask it per message
 *
 *   a wall refuses --fence_refused--> counted (metrics), noted in the ledger
 *       --fence_guard_tick--> a log line and an audit record in the meta shard:
 *                             who, what, where, which rule
 *
 * A record is written for the first refusal of a kind (wall, node, shard), and
 * then one a minute that sums up the others. In it are names of nodes, regions
 * and groups, numbers of shards, and sizes: nothing that a client wrote.
 * Refusals because the shard's group is not known here (a node that begins anew
 * learns of groups after its links are up) are counted and logged alone.
 */
#ifndef BASTIDE_SERVER_FENCE_GUARD_H
#define BASTIDE_SERVER_FENCE_GUARD_H

#include "failover/fence_ledger.h"

struct catalog_group;
struct fence_guard;
struct worker;

/* Of worker 0, at its creation. */
struct fence_guard *fence_guard_new(struct worker *w);
/* For the links; as long as the guard. */
const struct fence *fence_guard_table(const struct fence_guard *g);

/* From the catalog feed; nothing but on worker 0. */
void fence_guard_put(struct worker *w, const struct catalog_group *group);
void fence_guard_forget(struct worker *w);
/* A group was removed from the catalog: its shards are closed. */
void fence_guard_removed(struct worker *w);
/* On worker 0: the configuration has more regions. Before links to them. */
void fence_guard_topology(struct worker *w);

/* A wall refused something, on any worker. `refusal` is copied; `what` must be
 * static. Beyond what worker 0's inbox takes they are not counted. */
void fence_refused(struct worker *w, const struct fence_refusals *refusal);

/* Now and then on worker 0: writes down what is due. */
void fence_guard_tick(struct worker *w);

/* How often a wall has refused because of a group, since the start. `i` counts
 * groups from 0; the first has the name "": those that were not known. False:
 * there are no more. */
bool fence_guard_counts(const struct fence_guard *g, uint32_t i,
                        const char **name_out,
                        const uint64_t **by_wall_out /* FENCE_WALLS */);

#endif
