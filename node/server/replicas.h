/* A worker's replicas come and go: at the start all that the data directory
 * holds are opened (recovery.h); later those that a placement group needs on
 * this node, as the catalog tells.
 *
 *   group's record names this node --replicas_check--> helper: engine
 *       --> loop: shard, in the worker's table, told of peers
 *
 *   its record, settled, does not any more --replicas_check--> what it promised
 *       is written down, its folder put away, both durably (quarantine_leave);
 *       closed, its folder deleted; the log begins a new segment, and the older
 * ones go as soon as no other shard needs them; the group's keys are wiped
 *
 *   a group's record says that the shard was of a layout of it that is gone
 *       --replicas_check--> likewise, and remembered in the data directory
 *
 * What a replica promised outlives it: term, vote and the end of its log.
 * Should the node become a member again it must neither vote twice, nor for
 * somebody who lacks what was committed with it, and voters that were not told
 * of all that may ask. So the next replica begins as one whose store was put
 * away (docs/rebuild.md). The mark goes when that is cured, or when the shard
 * is gone for good.
 *
 * Level-triggered: what the catalog asks for and what is there are compared now
 * and then, so a failed attempt is repeated and nothing has to be remembered.
 */
#ifndef BASTIDE_SERVER_REPLICAS_H
#define BASTIDE_SERVER_REPLICAS_H

#include <stdbool.h>
#include <stdint.h>

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
    bool purged; /* the log has nothing of it either */
    bool marked; /* what it promised is written down */
};
/* From recovery: the log has records of a shard that has no replica here. */
void replicas_gone(struct worker *w, uint32_t shard);

/* Whether nothing that the worker's catalog wants here is missing. */
bool replicas_complete(const struct worker *w);

#endif
