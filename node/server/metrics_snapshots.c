/* Snapshots that go to other nodes, and come from them. */
#include "node/server/metrics_impl.h"

void metrics_put_snapshots(const struct node *n,
                           const struct metrics_worker *all, struct buf *out)
{
    const struct transfer_counts *c = &all->transfers;
    metrics_gauge(out, "bastide_snapshot_transfers",
                  "Snapshots being sent or received",
                  (double)all->transfers_running);
    metrics_gauge(out, "bastide_snapshot_rate_limit_bytes",
                  "Bytes a second that may be sent of snapshots",
                  (double)n->workers[0].transfers.pace.bucket.rate);
    metrics_counter(out, "bastide_snapshot_sent_bytes_total",
                    "Bytes of snapshots sent", c->sent_bytes);
    metrics_counter(out, "bastide_snapshot_received_bytes_total",
                    "Bytes of snapshots received", c->received_bytes);
    metrics_counter(out, "bastide_snapshot_sent_total",
                    "Snapshots sent to their end", c->sent);
    metrics_counter(out, "bastide_snapshot_received_total",
                    "Snapshots received to their end", c->received);
    metrics_counter(out, "bastide_snapshot_failed_total",
                    "Snapshots given up or refused, at either end", c->failed);
    metrics_counter(out, "bastide_snapshot_resumed_total",
                    "Times that sending went on behind what the receiver had",
                    c->resumed);
    metrics_counter(out, "bastide_snapshot_by_others_total",
                    "Snapshots that another node sent for this leader",
                    c->near);
}
