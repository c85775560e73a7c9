/* GET /metrics: numbers in Prometheus' text format 0.0.4, in base units.
 * docs/monitoring.md lists them all. Labels are shards, regions, nodes and
 * words of the program, never anything a user wrote.
 *
 * Every worker copies what it counted on its own thread (metrics_collect), so
 * that counting needs no atomics; worker 0 adds the copies up and writes them
 * (metrics_write). By subject:
 *
 *   metrics_requests.c  clients: operations, latencies, connections
 *   metrics_shards.c    replicas: LSNs, what is at risk, elections
 *   metrics_regions.c   regions, lag, where writes go, links to other nodes
 *   metrics_fence.c     what fences refused
 *   metrics_disk.c      log and store
 *   metrics_snapshots.c  snapshots to and from other nodes
 *   metrics_process.c   build, process, certificates, keys, faults
 */
#ifndef BASTIDE_SERVER_METRICS_H
#define BASTIDE_SERVER_METRICS_H

#include "node/cosmos/meters.h"
#include "node/http/http.h"
#include "node/server/shard_set.h"
#include "node/shard/shard.h"

/* What one worker, or all of them together, counted. */
struct metrics_worker {
    struct http_counters http;
    struct cosmos_meters api;
    uint64_t reads_local, reads_forwarded;
    uint64_t forwarded, retried;
    struct meter log_syncs;
    struct wal_stats log; /* of the members since `open` and sizes */
    struct meter store_commits;
    uint64_t flushed_bytes, flush_failures;
    uint64_t store_disk_bytes, store_map_bytes;
    struct transfer_counts transfers;
    uint64_t transfers_running;
};

struct metrics_shard {
    struct shard_status status;
    struct replica_counts counts;
    uint64_t memtable_limit_bytes;
    struct scrub_state scrub; /* but for `last` */
    usec_t scrubbed_us;       /* wall clock; 0: not yet by this node */
};

struct metrics {
    bool ready; /* as /readyz says */
    const struct shard_set *set;
    struct metrics_shard *shards;   /* by index in the set */
    struct metrics_worker *workers; /* one per worker */
};

/* Room for the answers of all workers of a node; metrics_free ends it. The set
 * is borrowed. */
struct metrics *metrics_new(const struct node *n, const struct shard_set *set);
void metrics_free(struct metrics *m); /* NULL is allowed */

/* On each worker's own thread: fills its element of `workers`, and those of its
 * shards. */
void metrics_collect(struct worker *w, struct metrics *m);

/* Worker 0, after all have collected. Appends text; what does not fit is
 * missing. */
void metrics_write(struct worker *w, const struct metrics *m, struct buf *out);

#endif
