#include "node/server/metrics.h"

#include <inttypes.h>

#include "node/server/decision.h"
#include "node/server/governor.h"
#include "node/server/worker.h"

static void head(struct buf *out, const char *name, const char *type,
                 const char *help)
{
    (void)buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
                     type);
}

/* ---- per shard
 * -----------------------------------------------------------------
 */

struct shard_metric {
    const char *name, *type, *help;
    double (*value)(const struct shard_status *s);
};

static double is_leader(const struct shard_status *s)
{
    return s->role == RAFT_LEADER;
}

static double epoch(const struct shard_status *s)
{
    return s->rule_committed.epoch;
}

static double commit_lsn(const struct shard_status *s)
{
    return (double)s->commit_lsn;
}

static double visible_lsn(const struct shard_status *s)
{
    return (double)s->visible_lsn;
}

static double at_risk_entries(const struct shard_status *s)
{
    return (double)s->at_risk_entries;
}

static double at_risk_seconds(const struct shard_status *s)
{
    return (double)s->at_risk_us / USEC_PER_SEC;
}

static double throttled(const struct shard_status *s)
{
    return (double)s->throttled;
}

static double session_waits(const struct shard_status *s)
{
    return (double)s->session_waits;
}

static double session_behind(const struct shard_status *s)
{
    return (double)s->session_behind;
}

static double bounded_refused(const struct shard_status *s)
{
    return (double)s->bounded_refused;
}

static double salvage_pending(const struct shard_status *s)
{
    return s->salvage_pending;
}

static const struct shard_metric shard_metrics[] = {
    {"bastide_shard_leader", "gauge", "1 where this node leads the shard",
     is_leader},
    {"bastide_shard_epoch", "gauge",
     "Epoch of the committed decision about the write region", epoch},
    {"bastide_shard_commit_lsn", "gauge",
     "Last entry that a majority of all voters has", commit_lsn},
    {"bastide_shard_visible_lsn", "gauge", "Last entry that weak reads see",
     visible_lsn},
    {"bastide_shard_at_risk_entries", "gauge",
     "Acknowledged entries that only the write region is known to have; at the "
     "leader",
     at_risk_entries},
    {"bastide_shard_at_risk_seconds", "gauge",
     "Age of the oldest of these entries", at_risk_seconds},
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
     "Overwritten entries not yet delivered to the conflicts feed",
     salvage_pending},
};

static void put_shards(const struct worker *w,
                       const struct shard_status *shards, struct buf *out)
{
    for (size_t m = 0; m < ARRAY_LEN(shard_metrics); m++) {
        const struct shard_metric *metric = &shard_metrics[m];
        head(out, metric->name, metric->type, metric->help);
        for (uint32_t i = 0; i <= w->node->shard_count; i++)
            (void)buf_printf(out, "%s{shard=\"%u\"} %.17g\n", metric->name, i,
                             metric->value(&shards[i]));
    }
}

/* ---- per node
 * ----------------------------------------------------------------
 */

static void put_reads(const struct worker *w, struct buf *out)
{
    uint64_t local = 0, forwarded = 0;
    for (uint32_t i = 0; i < w->node->worker_count; i++) {
        const struct router *r = &w->node->workers[i].router;
        local += __atomic_load_n(&r->reads_local, __ATOMIC_RELAXED);
        forwarded += __atomic_load_n(&r->reads_forwarded, __ATOMIC_RELAXED);
    }
    head(out, "bastide_reads_local_total", "counter",
         "Operations that read and were answered by this node's replica");
    (void)buf_printf(out, "bastide_reads_local_total %" PRIu64 "\n", local);
    head(out, "bastide_reads_forwarded_total", "counter",
         "Operations that read and were sent to the shard's leader");
    (void)buf_printf(out, "bastide_reads_forwarded_total %" PRIu64 "\n",
                     forwarded);
}

/* ---- per region
 * ----------------------------------------------------------------
 */

static void put_regions(const struct worker *w, struct buf *out)
{
    const struct config *c = w->node->config;
    const struct govern_record *rec = governor_now(w->governor);
    const struct failover_health *h = governor_health(w->governor);
    head(out, "bastide_write_region", "gauge", "1 for the write region");
    for (uint32_t i = 0; i < c->region_count && rec != NULL; i++)
        (void)buf_printf(out, "bastide_write_region{region=\"%s\"} %d\n",
                         c->regions[i].name, rec->write_region == i + 1);
    head(out, "bastide_region_state", "gauge",
         "1 for the state that this node sees the region in");
    for (uint32_t i = 0; i < c->region_count; i++)
        for (int s = FAILOVER_UP; s <= FAILOVER_ILL; s++)
            (void)buf_printf(
                out, "bastide_region_state{region=\"%s\",state=\"%s\"} %d\n",
                c->regions[i].name, failover_state_name((enum failover_state)s),
                (int)failover_health_region(h, (failover_region)(i + 1))
                        ->state == s);
}

/* The most backward of those nodes of a region that are heard and can tell.
 * False when there is none: a lost region has no number, rather than 0. */
static bool worst_lag(const struct failover_health *h, failover_region region,
                      uint32_t *ms_out, uint64_t *entries_out)
{
    struct failover_node_health n;
    bool any = false;
    *ms_out = 0;
    *entries_out = 0;
    for (uint32_t i = 0; failover_health_node(h, i, &n); i++) {
        if (n.region != region || !n.heard || n.self.behind_ms == UINT32_MAX)
            continue;
        any = true;
        if (n.self.behind_ms > *ms_out)
            *ms_out = n.self.behind_ms;
        if (n.self.behind_entries > *entries_out)
            *entries_out = n.self.behind_entries;
    }
    return any;
}

static void put_lag(const struct worker *w, struct buf *out)
{
    const struct config *c = w->node->config;
    const struct failover_health *h = governor_health(w->governor);
    uint32_t ms;
    uint64_t entries;
    head(out, "bastide_region_lag_seconds", "gauge",
         "How old the state of the region's most backward node may be");
    for (uint32_t r = 1; r <= c->region_count; r++)
        if (worst_lag(h, (failover_region)r, &ms, &entries))
            (void)buf_printf(out,
                             "bastide_region_lag_seconds{region=\"%s\"} %g\n",
                             c->regions[r - 1].name, ms / 1000.0);
    head(out, "bastide_region_lag_entries", "gauge",
         "Entries that the region's most backward node lacks");
    for (uint32_t r = 1; r <= c->region_count; r++)
        if (worst_lag(h, (failover_region)r, &ms, &entries))
            (void)buf_printf(
                out, "bastide_region_lag_entries{region=\"%s\"} %" PRIu64 "\n",
                c->regions[r - 1].name, entries);
}

void metrics_write(struct worker *w, const struct shard_status *shards,
                   struct buf *out)
{
    put_shards(w, shards, out);
    put_reads(w, out);
    put_regions(w, out);
    put_lag(w, out);
    head(out, "bastide_isolated", "gauge",
         "1 while this node has no contact with the meta shard's leader");
    (void)buf_printf(out, "bastide_isolated %d\n", w->steering.news.isolated);
}
