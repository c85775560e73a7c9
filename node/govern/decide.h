/* From the failover controller's plan to the next decision. For the leader of
 * the meta shard; pure. */
#ifndef BASTIDE_GOVERN_DECIDE_H
#define BASTIDE_GOVERN_DECIDE_H

#include "failover/plan.h"
#include "node/govern/record.h"

/* The group as the controller sees it. `changed_us`: monotonic, when this node
 * learned of the record's epoch. */
void govern_group(const struct govern_record *r, const char *name,
                  usec_t changed_us, struct failover_group *group_out);

/* Who comes first by the plan, or by what the shards report (the record is
 * settled; then regions that were leaving are gone): true when
 * `next_out` is to be written in place of `now`. `all_settled`: steer_settled
 * holds for every shard, as far as this node's replicas know. `at_us`: wall
 * clock. */
bool govern_decide(const struct govern_record *now,
                   const struct failover_plan *plan, bool all_settled,
                   int64_t at_us, struct govern_record *next_out);

#endif
