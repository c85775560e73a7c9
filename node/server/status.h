/* What a node says of itself to an administrator: the body of GET /status
 * (its shape is in cli/status.h). */
#ifndef BASTIDE_SERVER_STATUS_H
#define BASTIDE_SERVER_STATUS_H

#include "node/config/config.h"
#include "node/shard/shard.h"

struct worker;
struct members_view;
struct shard_set;

/* Worker 0. `shards` holds one element per shard of the set. Appends JSON. */
void status_write(struct worker *w, const struct shard_set *set,
                  const struct shard_status *shards,
                  const struct members_view *members, bool ready,
                  struct buf *body);

/* What a replica that is being rebuilt waits for. */
#define STATUS_REASON_MAX 160
void status_rebuild_reason(const struct config *c, const struct shard_status *s,
                           char out[STATUS_REASON_MAX]);

#endif
