/* From the meta shard's committed entries to every worker's catalog. */
#ifndef BASTIDE_SERVER_CATALOG_FEED_H
#define BASTIDE_SERVER_CATALOG_FEED_H

#include "node/store/entry.h"

struct shard;
struct worker;

/* At start, before any thread: reads the meta shard's records into the catalogs
 * of all workers. `meta` owns shard 0. */
int catalog_feed_load(struct worker *meta);
/* An entry of the meta shard was committed; NULL: a snapshot replaced all. On
 * the thread of the worker that owns shard 0; others follow by message, in
 * order and before anything that worker posts afterwards. */
void catalog_feed_committed(struct worker *meta, struct shard *s,
                            const struct entry *e);

#endif
