/* The log and the store. */
#include "node/server/metrics_impl.h"

static bool refusing(const struct metrics *m)
{
    SHARD_SET_EACH(m->set, i)
    if (m->shards[i].status.no_space)
        return true;
    return false;
}

static void put_log(const struct metrics_worker *all, struct buf *out)
{
    static const char syncs[] = "bastide_log_sync_duration_seconds";
    metrics_head(out, syncs, "histogram",
                 "Append of a batch to the log, with fdatasync");
    metrics_histogram(out, syncs, "", &all->log_syncs);
    metrics_counter(out, "bastide_log_written_bytes_total",
                    "Bytes appended to the log", all->log.bytes);
    metrics_counter(out, "bastide_log_failed_appends_total",
                    "Appends to the log that failed and were repeated",
                    all->log.failed_appends);
    metrics_gauge(out, "bastide_log_segments", "Log files that hold records",
                  (double)all->log.segments);
    metrics_gauge(out, "bastide_log_disk_bytes", "Size of all log files",
                  (double)all->log.disk_bytes);
}

static void put_store(const struct metrics_worker *all, struct buf *out)
{
    static const char commits[] = "bastide_store_commit_duration_seconds";
    metrics_head(out, commits, "histogram",
                 "A flush of memory to the store, synced");
    metrics_histogram(out, commits, "", &all->store_commits);
    metrics_counter(out, "bastide_store_flushed_bytes_total",
                    "Keys and values flushed to the store", all->flushed_bytes);
    metrics_counter(out, "bastide_store_failed_flushes_total",
                    "Flushes that failed and are tried again",
                    all->flush_failures);
    metrics_gauge(out, "bastide_store_disk_bytes", "Pages of the store in use",
                  (double)all->store_disk_bytes);
    metrics_gauge(out, "bastide_store_map_bytes",
                  "Address space mapped for the store",
                  (double)all->store_map_bytes);
}

void metrics_put_disk(const struct worker *w, const struct metrics *m,
                      const struct metrics_worker *all, struct buf *out)
{
    put_log(all, out);
    put_store(all, out);
    metrics_gauge(
        out, "bastide_disk_stalled_seconds",
        "How long the oldest append to the log has not ended; 0: none runs",
        (double)log_pipe_node_stalled_us(w->node, clock_mono_us()) /
            USEC_PER_SEC);
    metrics_gauge(out, "bastide_disk_refusing",
                  "1 while the log cannot be written (disk full, or an error) "
                  "and writes are refused",
                  refusing(m));
}
