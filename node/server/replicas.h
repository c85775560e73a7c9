/* A worker's replicas come and go: at the start all that the data directory
 * holds are opened (recovery.h); later those that a placement group needs on
 * this node, as the catalog tells.
 *
 *   group's record names this node --replicas_check--> helper: engine
 *       --> loop: shard, in the worker's table, told of peers
 *
 *   its record, settled, does not any more --replicas_check--> closed, its
 *       folder deleted; the log begins a new segment, and the older ones go as
 *       soon as no other shard needs them; the group's keys are wiped
 *
 *   a group's record says that the shard was of a layout of it that is gone
 *       --replicas_check--> likewise, and remembered in the data directory
 *
 * What a replica voted outlives it (struct gone_shard, and the log's hard
 * state): should the node become a member again, it must not vote twice.
 *
 * Level-triggered: what the catalog asks for and what is there are compared now
 * and then, so a failed attempt is repeated and nothing has to be remembered.
 */
#ifndef BASTIDE_SERVER_REPLICAS_H
#define BASTIDE_SERVER_REPLICAS_H

#include <stdbool.h>
#include <stdint.h>

#include "consensus/members.h"
#include "node/base/err.h"

struct worker;
struct replica;

/* At start: puts a replica, not opened, into the worker's table for every one
 * of its shards that should be there: the meta shard, those that group
 * default was made with and that are not gone, and what others the data
 * directory holds. ERR_LIMIT: a number
 * beyond NODE_SHARDS_MAX; ERR_IO. */
int replicas_find(struct worker *w, struct err_msg *msg);

/* Takes one out of the table and frees it, which was found but not opened: its
 * making was not finished, so it has neither voted nor stored anything. */
void replicas_forget(struct worker *w, struct replica *r);

/* Opens what the catalog wants here and is not there, closes and deletes what
 * it does not want any more. */
void replicas_check(struct worker *w);

/* A shard of which a replica was here. */
struct gone_shard {
    uint16_t shard;
    uint64_t term; /* what it has voted last */
    raft_id vote;
    bool purged; /* the log has nothing of it either */
};
/* From recovery: the log has records of a shard that has no replica here. term
 * 0: not of a vote. */
void replicas_gone(struct worker *w, uint32_t shard, uint64_t term,
                   raft_id vote);

/* Whether nothing that the worker's catalog wants here is missing. */
bool replicas_complete(const struct worker *w);

#endif
