/* This node's replicas, one sample per shard. */
#include <stdio.h>

#include "node/server/metrics_impl.h"

struct shard_metric {
    const char *name, *type, *help;
    double (*value)(const struct metrics_shard *s);
};

static double leads(const struct metrics_shard *s)
{
    return s->status.role == RAFT_LEADER;
}
static double has_leader(const struct metrics_shard *s)
{
    return s->status.leader != 0;
}
static double writable(const struct metrics_shard *s)
{
    return !s->status.no_space && s->status.has_key;
}
static double epoch(const struct metrics_shard *s)
{
    return s->status.rule_committed.epoch;
}
static double term(const struct metrics_shard *s)
{
    return (double)s->status.term;
}
static double last_lsn(const struct metrics_shard *s)
{
    return (double)s->status.last_lsn;
}
static double commit_lsn(const struct metrics_shard *s)
{
    return (double)s->status.commit_lsn;
}
static double visible_lsn(const struct metrics_shard *s)
{
    return (double)s->status.visible_lsn;
}
/* Committed entries are applied at once, but not under a snapshot. */
static double applied_lsn(const struct metrics_shard *s)
{
    return s->status.installing ? 0 : (double)s->status.commit_lsn;
}
static double flushed_lsn(const struct metrics_shard *s)
{
    return (double)s->status.flushed_lsn;
}
static double at_risk_entries(const struct metrics_shard *s)
{
    return (double)s->status.at_risk_entries;
}
static double at_risk_seconds(const struct metrics_shard *s)
{
    return (double)s->status.at_risk_us / USEC_PER_SEC;
}
static double candidacies(const struct metrics_shard *s)
{
    return (double)s->counts.candidacies;
}
static double won(const struct metrics_shard *s)
{
    return (double)s->counts.won;
}
static double leader_changes(const struct metrics_shard *s)
{
    return (double)s->counts.leader_changes;
}
static double handover_seconds(const struct metrics_shard *s)
{
    return (double)s->status.handover_us / USEC_PER_SEC;
}
static double memtable(const struct metrics_shard *s)
{
    return (double)s->status.memtable_bytes;
}
static double memtable_limit(const struct metrics_shard *s)
{
    return (double)s->memtable_limit_bytes;
}
static double log_memory(const struct metrics_shard *s)
{
    return (double)s->status.entry_bytes;
}
static double waiting(const struct metrics_shard *s)
{
    return s->status.waiting;
}
static double throttled(const struct metrics_shard *s)
{
    return (double)s->status.throttled;
}
static double session_waits(const struct metrics_shard *s)
{
    return (double)s->status.session_waits;
}
static double session_behind(const struct metrics_shard *s)
{
    return (double)s->status.session_behind;
}
static double bounded_refused(const struct metrics_shard *s)
{
    return (double)s->status.bounded_refused;
}
static double conflicts(const struct metrics_shard *s)
{
    return s->status.salvage_pending;
}

static double scrub_rounds(const struct metrics_shard *s)
{
    return (double)s->scrub.rounds;
}
static double scrub_bytes(const struct metrics_shard *s)
{
    return (double)s->scrub.bytes;
}
static double scrub_mismatches(const struct metrics_shard *s)
{
    return (double)s->scrub.mismatches;
}
static double scrub_quarantines(const struct metrics_shard *s)
{
    return (double)s->scrub.quarantines;
}
static double scrub_renewals(const struct metrics_shard *s)
{
    return (double)s->scrub.renewals;
}
static double scrubbed(const struct metrics_shard *s)
{
    return (double)s->scrubbed_us / USEC_PER_SEC;
}
static double distrusted(const struct metrics_shard *s)
{
    return s->status.distrusted;
}
static double rebuilding(const struct metrics_shard *s)
{
    return s->status.amnesia != RAFT_AMNESIA_NONE;
}

static const struct shard_metric shard_metrics[] = {
    {"bastide_shard_leader", "gauge", "1 where this node leads the shard",
     leads},
    {"bastide_shard_has_leader", "gauge",
     "1 while this replica knows of a leader", has_leader},
    {"bastide_shard_writable", "gauge",
     "1 unless the disk refuses writes or the key is missing", writable},
    {"bastide_shard_epoch", "gauge",
     "Epoch of the committed decision about the write region", epoch},
    {"bastide_shard_term", "gauge", "Raft's term", term},
    {"bastide_shard_last_lsn", "gauge", "Last entry of this replica's log",
     last_lsn},
    {"bastide_shard_commit_lsn", "gauge",
     "Last entry that a majority of all voters has", commit_lsn},
    {"bastide_shard_visible_lsn", "gauge", "Last entry that weak reads see",
     visible_lsn},
    {"bastide_shard_applied_lsn", "gauge",
     "Last entry applied; 0 while a snapshot is installed", applied_lsn},
    {"bastide_shard_flushed_lsn", "gauge", "Last entry that the store holds",
     flushed_lsn},
    {"bastide_shard_at_risk_entries", "gauge",
     "Acknowledged entries that only the write region is known to have; at the "
     "leader",
     at_risk_entries},
    {"bastide_shard_at_risk_seconds", "gauge",
     "Age of the oldest of these entries", at_risk_seconds},
    {"bastide_shard_elections_started_total", "counter",
     "Times this node became a candidate", candidacies},
    {"bastide_shard_elections_won_total", "counter",
     "Times this node became the leader", won},
    {"bastide_shard_leader_changes_total", "counter",
     "Times this replica learned of another leader than the last",
     leader_changes},
    {"bastide_shard_handover_seconds", "gauge",
     "How long writes waited for the last hand-over of the leadership from "
     "here; 0: none yet",
     handover_seconds},
    {"bastide_shard_memtable_bytes", "gauge",
     "Memory of changes that are not yet in the store", memtable},
    {"bastide_shard_memtable_limit_bytes", "gauge",
     "Beyond it writes are answered 429", memtable_limit},
    {"bastide_shard_log_memory_bytes", "gauge",
     "Memory of log entries kept for followers", log_memory},
    {"bastide_shard_waiting_operations", "gauge",
     "Operations that wait for an entry or a read point", waiting},
    {"bastide_shard_throttled_writes_total", "counter",
     "Writes refused to keep the bound of staleness", throttled},
    {"bastide_shard_session_waits_total", "counter",
     "Reads that waited for the state of their session token", session_waits},
    {"bastide_shard_session_behind_total", "counter",
     "Of these reads, those for which it did not come in time", session_behind},
    {"bastide_shard_bounded_refused_total", "counter",
     "Reads sent to the leader because this replica could not prove itself "
     "fresh",
     bounded_refused},
    {"bastide_shard_conflicts_pending", "gauge",
     "Overwritten entries not yet delivered to the conflicts feed", conflicts},
    {"bastide_shard_rebuilding", "gauge",
     "1 while this replica gets back what it lost, and does not vote freely",
     rebuilding},
    {"bastide_scrub_rounds_total", "counter",
     "Times the replicas were compared; at the leader", scrub_rounds},
    {"bastide_scrub_bytes_total", "counter",
     "Bytes of this replica's store that were read through", scrub_bytes},
    {"bastide_scrub_last_round_seconds", "gauge",
     "When the last comparison ended that this node led, since 1970; 0: none "
     "yet",
     scrubbed},
    {"bastide_scrub_mismatches_total", "counter",
     "Replicas found damaged, wrong or in doubt; at the leader",
     scrub_mismatches},
    {"bastide_scrub_quarantines_total", "counter",
     "Times this replica was put away and made anew", scrub_quarantines},
    {"bastide_scrub_renewals_total", "counter",
     "Times this replica's store was replaced while the replica stayed",
     scrub_renewals},
    {"bastide_scrub_distrusted", "gauge",
     "1 while this replica's store is known to be damaged and not yet replaced",
     distrusted},
};

void metrics_put_shards(const struct metrics *m, struct buf *out)
{
    char labels[METRICS_LABELS_MAX];
    for (size_t k = 0; k < ARRAY_LEN(shard_metrics); k++) {
        const struct shard_metric *metric = &shard_metrics[k];
        metrics_head(out, metric->name, metric->type, metric->help);
        SHARD_SET_EACH(m->set, i)
        {
            snprintf(labels, sizeof(labels), "shard=\"%u\"",
                     m->set->list[i].id);
            metrics_sample(out, metric->name, labels,
                           metric->value(&m->shards[i]));
        }
    }
}
