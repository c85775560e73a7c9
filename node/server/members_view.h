/* For GET /status: who the members of the shards are that this node leads, how
 * far each is, and the snapshots that it sends and receives. Every worker fills
 * in its own part, worker 0 writes it down. */
#ifndef BASTIDE_SERVER_MEMBERS_VIEW_H
#define BASTIDE_SERVER_MEMBERS_VIEW_H

#include "node/json/json.h"
#include "node/server/shard_set.h"

/* Transfers of one worker that are shown; further ones are not. */
#define MEMBERS_VIEW_TRANSFERS_MAX 64

struct members_view;

/* The set is borrowed. */
struct members_view *members_view_new(const struct node *n,
                                      const struct shard_set *set);
void members_view_free(struct members_view *v); /* NULL is allowed */
/* On each worker's own thread. */
void members_view_collect(struct worker *w, struct members_view *v);

/* Worker 0, after all have collected. The member `members` of a shard's object;
 * nothing for a shard that this node does not lead. */
void members_view_put_shard(const struct members_view *v, uint32_t shard,
                            struct json_writer *out);
/* The member `transfers` of the whole. */
void members_view_put_transfers(const struct members_view *v,
                                struct json_writer *out);

#endif
