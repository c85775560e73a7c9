/* Regions as this node sees them, and its links to the other nodes. */
#include <stdio.h>

#include "node/server/governor.h"
#include "node/server/metrics_impl.h"
#include "node/server/peers.h"

/* ---- regions ------------------------------------------------------------- */

static void region_label(const struct config *c, uint32_t i,
                         char out[METRICS_LABELS_MAX])
{
    snprintf(out, METRICS_LABELS_MAX, "region=\"%s\"", c->regions[i].name);
}

static void put_write_region(const struct config *c,
                             const struct govern_record *rec, struct buf *out)
{
    static const char name[] = "bastide_write_region";
    char labels[METRICS_LABELS_MAX];
    metrics_head(out, name, "gauge", "1 for the write region");
    for (uint32_t i = 0; i < c->region_count && rec != NULL; i++) {
        region_label(c, i, labels);
        metrics_sample(out, name, labels, rec->write_region == i + 1);
    }
}

static void put_states(const struct config *c, const struct failover_health *h,
                       struct buf *out)
{
    static const char name[] = "bastide_region_state";
    char labels[METRICS_LABELS_MAX];
    metrics_head(out, name, "gauge",
                 "1 for the state that this node sees the region in");
    for (uint32_t i = 0; i < c->region_count; i++)
        for (int s = FAILOVER_UP; s <= FAILOVER_ILL; s++) {
            snprintf(labels, sizeof(labels), "region=\"%s\",state=\"%s\"",
                     c->regions[i].name,
                     failover_state_name((enum failover_state)s));
            metrics_sample(
                out, name, labels,
                (int)failover_health_region(h, (failover_region)(i + 1))
                        ->state == s);
        }
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

static void put_lag(const struct config *c, const struct failover_health *h,
                    struct buf *out)
{
    static const char seconds[] = "bastide_region_lag_seconds";
    static const char count[] = "bastide_region_lag_entries";
    char labels[METRICS_LABELS_MAX];
    uint32_t ms;
    uint64_t entries;
    metrics_head(out, seconds, "gauge",
                 "How old the state of the region's most backward node may be; "
                 "absent when none is heard");
    for (uint32_t i = 0; i < c->region_count; i++) {
        region_label(c, i, labels);
        if (worst_lag(h, (failover_region)(i + 1), &ms, &entries))
            metrics_sample(out, seconds, labels, ms / 1000.0);
    }
    metrics_head(out, count, "gauge",
                 "Entries that the region's most backward node lacks");
    for (uint32_t i = 0; i < c->region_count; i++) {
        region_label(c, i, labels);
        if (worst_lag(h, (failover_region)(i + 1), &ms, &entries))
            metrics_sample_u64(out, count, labels, entries);
    }
}

static void put_switches(const struct governor *g, struct buf *out)
{
    static const char name[] = "bastide_write_region_changes_total";
    metrics_head(out, name, "counter",
                 "Decisions to move the writes that this node learned of; "
                 "planned ones lose nothing");
    metrics_sample_u64(out, name, "kind=\"planned\"",
                       governor_switches(g, GROUP_DEFAULT, false));
    metrics_sample_u64(out, name, "kind=\"forced\"",
                       governor_switches(g, GROUP_DEFAULT, true));
}

/* True also before the node knows enough to tell. */
static bool writes_possible(const struct worker *w)
{
    struct failover_plan plan = {.unavailable = ""};
    if (governor_now(w->governor, GROUP_DEFAULT) != NULL)
        governor_plan(w->governor, GROUP_DEFAULT, &plan);
    return plan.unavailable[0] == '\0' && !w->steering.news.cut_off;
}

void metrics_put_regions(const struct worker *w, struct buf *out)
{
    const struct config *c = w->node->config;
    const struct govern_record *rec = governor_now(w->governor, GROUP_DEFAULT);
    const struct failover_health *h = governor_health(w->governor);
    put_write_region(c, rec, out);
    metrics_gauge(out, "bastide_epoch",
                  "Of the newest decision about the write region or the level",
                  rec != NULL ? rec->epoch : 0);
    put_switches(w->governor, out);
    metrics_gauge(out, "bastide_writes_possible",
                  "0 while writes stop, as far as this node can tell",
                  writes_possible(w));
    put_states(c, h, out);
    put_lag(c, h, out);
    metrics_gauge(out, "bastide_isolated",
                  "1 while this node has no contact with the meta shard's "
                  "leader",
                  w->steering.news.isolated);
}

/* ---- links --------------------------------------------------------------- */

struct link_metric {
    const char *name, *type, *help;
    double (*value)(const struct links_stats *s);
};

static double up(const struct links_stats *s)
{
    return s->state == PEER_STREAMING;
}
static double proved(const struct links_stats *s)
{
    return s->state == PEER_STREAMING && s->region_proved;
}
static double rtt(const struct links_stats *s)
{
    return (double)s->rtt_us / USEC_PER_SEC;
}
static double received(const struct links_stats *s)
{
    return (double)s->bytes_in;
}
static double sent(const struct links_stats *s)
{
    return (double)s->bytes_out;
}
static double unsent(const struct links_stats *s)
{
    return (double)s->output_bytes;
}
static double dropped(const struct links_stats *s)
{
    return (double)s->raft_dropped;
}
static double connects(const struct links_stats *s)
{
    return (double)s->connects;
}
static double refusals(const struct links_stats *s)
{
    return (double)s->refusals;
}
static double requests_failed(const struct links_stats *s)
{
    return (double)(s->requests_failed + s->requests_refused);
}

static double answers_refused(const struct links_stats *s)
{
    return (double)s->answers_refused;
}

static const struct link_metric link_metrics[] = {
    {"bastide_link_up", "gauge", "1 while the link to the node is up", up},
    {"bastide_link_region_proved", "gauge",
     "1 while the link is up and the node has shown its region's key on it, or "
     "regions have no keys",
     proved},
    {"bastide_link_rtt_seconds", "gauge",
     "Round trip of the last ping; 0 before the first", rtt},
    {"bastide_link_received_bytes_total", "counter",
     "Bytes from the node, without TLS", received},
    {"bastide_link_sent_bytes_total", "counter",
     "Bytes to the node, without TLS", sent},
    {"bastide_link_unsent_bytes", "gauge", "Bytes that wait to be sent",
     unsent},
    {"bastide_link_dropped_messages_total", "counter",
     "Raft messages dropped: the link was down or its queue full", dropped},
    {"bastide_link_connects_total", "counter", "Times the link came up",
     connects},
    {"bastide_link_refusals_total", "counter",
     "Times that one node refused the other: certificate, identity, protocol "
     "version, feature level, broken protocol",
     refusals},
    {"bastide_link_failed_requests_total", "counter",
     "Operations and questions to the node that got no answer",
     requests_failed},
    {"bastide_link_refused_answers_total", "counter",
     "Answers to the node that were not sent: the link's queue was full",
     answers_refused},
};

static void put_link(const struct link_metric *metric, const struct worker *w,
                     const struct config_region *region,
                     const struct config_node *node, struct buf *out)
{
    char labels[METRICS_LABELS_MAX];
    struct links_stats stats;
    if (links_get_stats(peers_links(w->peers), node->id, &stats) != ERR_OK)
        return; /* itself */
    snprintf(labels, sizeof(labels), "peer=\"%s\",peer_region=\"%s\"",
             node->name, region->name);
    metrics_sample(out, metric->name, labels, metric->value(&stats));
}

void metrics_put_links(const struct worker *w, struct buf *out)
{
    const struct config *c = w->node->config;
    for (size_t m = 0; m < ARRAY_LEN(link_metrics); m++) {
        const struct link_metric *metric = &link_metrics[m];
        metrics_head(out, metric->name, metric->type, metric->help);
        for (size_t i = 0; i < c->region_count; i++)
            for (size_t j = 0; j < c->regions[i].node_count; j++)
                put_link(metric, w, &c->regions[i], &c->regions[i].nodes[j],
                         out);
    }
}
