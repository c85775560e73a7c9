/* From the meta shard's committed entries to every worker's catalog. */
#ifndef BASTIDE_SERVER_CATALOG_FEED_H
#define BASTIDE_SERVER_CATALOG_FEED_H

#include "node/store/entry.h"

struct keyed_hash;
struct replica;
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

/* Gives a replica its group's data key, if this node has opened it. */
void catalog_feed_keys(struct worker *w, struct replica *r);
/* Wipes the keys of groups that this node is outside of, or that were removed,
 * unless it still has a replica; and learns those for which there was no room.
 */
void catalog_feed_wipe_keys(struct worker *w);
/* The hash for addresses in a shard; NULL until its group's keys are known
 * here: never, outside the group's fence. */
const struct keyed_hash *catalog_feed_hash(const struct worker *w,
                                           uint16_t shard);

/* Whether the worker has opened the keys of the group of that number. */
bool catalog_feed_has_keys(const struct worker *w, uint16_t group);

#endif
