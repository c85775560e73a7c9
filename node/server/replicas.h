/* A worker's replicas come and go: at the start all that the data directory
 * holds are opened (recovery.h); later those that a placement group needs on
 * this node, as the catalog tells.
 *
 *   group's record names this node --replicas_check--> helper: engine
 *       --> loop: shard, in the worker's table, told of peers
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
 * of its shards that should be there: the meta shard, those of group default,
 * and those of other groups that the data directory holds. ERR_LIMIT: a number
 * beyond NODE_SHARDS_MAX; ERR_IO. */
int replicas_find(struct worker *w, struct err_msg *msg);

/* Takes one out of the table and frees it, which was found but not opened: its
 * making was not finished, so it has neither voted nor stored anything. */
void replicas_forget(struct worker *w, struct replica *r);

/* Opens what the catalog wants here and is not there. */
void replicas_check(struct worker *w);

/* Whether nothing that the worker's catalog wants here is missing. */
bool replicas_complete(const struct worker *w);

#endif
