/* GET /metrics: numbers in Prometheus' text format. Labels are shards and
 * regions, never anything a user wrote. */
#ifndef BASTIDE_SERVER_METRICS_H
#define BASTIDE_SERVER_METRICS_H

#include "node/shard/shard.h"

struct worker;

/* Worker 0. `shards` as for status_write. Appends text; what does not fit is
 * missing. */
void metrics_write(struct worker *w, const struct shard_status *shards,
                   struct buf *out);

#endif
