/* On which node of the write region a shard's leader belongs. Pure: the same
 * answer on every node that sees the same members to be well, with nobody
 * asked.
 *
 *     spread   by the shard's number over the region's voters in the order of
 *              their ids, so each leads as many of a group's shards as another,
 *              or one less. Only the shards of one that is not well go
 *              elsewhere: by turns to those who are
 *     gather   all of them on the first who is well
 *
 * When a leader goes there is steer.h's matter.
 */
#ifndef BASTIDE_GOVERN_HOME_H
#define BASTIDE_GOVERN_HOME_H

#include <stdbool.h>
#include <stdint.h>

#include "consensus/members.h"

/* Members of a configuration: bit i is `members[i]`. */
typedef uint64_t govern_member_set;

/* 0: nobody of `region` is well and may lead. */
raft_id govern_home(const struct raft_config *c, raft_region region,
                    uint16_t shard, bool gather, govern_member_set well);

#endif
