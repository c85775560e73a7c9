#include "node/server/control_impl.h"

#include "node/json/json.h"
#include "node/server/control_reply.h"
#include "node/server/decision.h"
#include "node/server/governor.h"
#include "node/server/placement.h"
#include "node/server/region_names.h"
#include "node/server/worker.h"

static void put_node(struct json_writer *out, const struct config *c,
                     const struct failover_node_health *n, uint32_t stall_ms)
{
    const struct config_node *node = config_find_node(c, n->id, NULL);
    bool self = n->id == c->id;
    json_write_object_begin(out);
    json_write_member_str(out, "name", node != NULL ? node->name : "?");
    json_write_member_str(out, "state",
                          !n->heard && !self                 ? "down"
                          : n->self.draining                 ? "stopping"
                          : n->self.no_space                 ? "ill"
                          : n->self.disk_stall_ms > stall_ms ? "ill"
                                                             : "up");
    json_write_member_str(out, "reason",
                          !n->heard && !self ? "this node does not hear it"
                          : n->self.draining ? "it is stopping"
                          : n->self.no_space ? "its disk is full"
                          : n->self.disk_stall_ms > stall_ms
                              ? "its disk does not finish writes"
                              : "");
    json_write_key(out, "behind_ms");
    if ((!n->heard && !self) || n->self.behind_ms == UINT32_MAX)
        json_write_null(out);
    else
        json_write_uint64(out, n->self.behind_ms);
    json_write_key(out, "behind_entries");
    if (!n->heard && !self)
        json_write_null(out);
    else
        json_write_uint64(out, n->self.behind_entries);
    json_write_object_end(out);
}

static void put_region(struct json_writer *out, struct worker *w,
                       const struct govern_record *rec, uint32_t rank)
{
    const struct config *c = w->node->config;
    const struct failover_health *h = governor_health(w->governor);
    raft_region region = rec->priority[rank];
    const struct failover_region_health *health =
        failover_health_region(h, region);
    struct failover_node_health n;
    char reason[FAILOVER_REASON_MAX];
    json_write_object_begin(out);
    json_write_member_str(out, "name", decision_region_name(c, region));
    json_write_member_str(
        out, "display_name",
        region_display_name(w->catalog, decision_region_name(c, region)));
    json_write_member_int64(out, "priority", rank);
    json_write_member_str(out, "state", failover_state_name(health->state));
    failover_health_reason(h, region, reason);
    json_write_member_str(out, "reason",
                          health->state == FAILOVER_UP ? "" : reason);
    json_write_member_bool(out, "declared_down",
                           (rec->down & govern_region_bit(region)) != 0);
    json_write_key(out, "nodes");
    json_write_array_begin(out);
    for (uint32_t i = 0; failover_health_node(h, i, &n); i++)
        if (n.region == region)
            put_node(
                out, c, &n,
                (uint32_t)(failover_health_timing(h)->stall_us / USEC_PER_MS));
    json_write_array_end(out);
    json_write_object_end(out);
}

static void put_last_switch(struct json_writer *out, const struct config *c,
                            const struct govern_record *rec,
                            const struct governor_totals *totals)
{
    char at[CLOCK_ISO_LEN + 1];
    json_write_key(out, "last_switch");
    if (!rec->settled || rec->from_region == rec->write_region) {
        json_write_null(out);
        return;
    }
    clock_iso(rec->at_us, at);
    json_write_object_begin(out);
    json_write_member_str(out, "from",
                          decision_region_name(c, rec->from_region));
    json_write_member_str(out, "to",
                          decision_region_name(c, rec->write_region));
    json_write_member_str(out, "kind", rec->forced ? "forced" : "planned");
    json_write_key(out, "pause_ms");
    if (rec->forced || totals->pause_ms == 0)
        json_write_null(out);
    else
        json_write_uint64(out, totals->pause_ms);
    json_write_key(out, "lost_entries");
    if (rec->forced)
        json_write_null(out);
    else
        json_write_uint64(out, 0);
    json_write_member_str(out, "at", at);
    json_write_member_str(out, "reason", rec->reason);
    json_write_object_end(out);
}

static void put_decision(struct json_writer *out, struct worker *w,
                         const struct govern_record *rec)
{
    const struct config *c = w->node->config;
    json_write_member_str(out, "level",
                          consistency_name(rec->consistency.level));
    json_write_member_int64(out, "max_staleness_prefix",
                            rec->consistency.max_staleness_prefix);
    json_write_member_int64(out, "max_staleness_interval",
                            rec->consistency.max_staleness_interval);
    json_write_member_int64(out, "epoch", rec->epoch);
    json_write_member_str(out, "write_region",
                          decision_region_name(c, rec->write_region));
    json_write_member_bool(out, "settled", rec->settled);
    json_write_member_bool(out, "forced", rec->forced);
    json_write_member_str(out, "failback",
                          rec->failback ? "automatic" : "manual");
    json_write_member_bool(out, "pinned", rec->manual);
    json_write_member_int64(out, "recovered", rec->recovered);
    json_write_key(out, "regions");
    json_write_array_begin(out);
    for (uint32_t i = 0; i < rec->n_regions; i++)
        put_region(out, w, rec, i);
    json_write_array_end(out);
}

/* A node that was taken out knows only what was before. */
static bool is_outside(const struct config *c, const struct govern_record *rec)
{
    for (uint32_t i = 0; i < rec->n_members; i++)
        if (rec->members[i].id == c->id)
            return false;
    return rec->n_members > 0;
}

/* The groups beside default, in short. */
static void put_fenced(struct json_writer *out, const struct worker *w)
{
    const struct catalog_group *g;
    json_write_key(out, "groups");
    json_write_array_begin(out);
    for (size_t i = 0; (g = catalog_group_at(w->catalog, i)) != NULL; i++)
        if (catalog_group_fenced(g))
            placement_put(out, w, g);
    json_write_array_end(out);
}

void control_topology_get(struct worker *w, struct http_request *r,
                          struct bytes query)
{
    const struct config *c = w->node->config;
    const struct catalog_group *g = control_query_group(w, r, query);
    struct governor_totals totals;
    struct failover_plan plan;
    struct buf body;
    struct json_writer out;
    if (g == NULL)
        return;
    const struct govern_record *rec = governor_now(w->governor, g->number);
    governor_totals(w->governor, g->number, &totals);
    governor_plan(w->governor, g->number, &plan);
    buf_init(&body, CONTROL_ANSWER_MAX);
    json_writer_init(&out, &body);
    json_write_object_begin(&out);
    json_write_member_str(&out, "cluster", c->cluster);
    json_write_member_str(&out, "node", c->node);
    json_write_member_str(&out, "from", c->node);
    json_write_member_str(&out, "group", g->name);
    put_decision(&out, w, rec);
    json_write_key(&out, "at_risk");
    json_write_object_begin(&out);
    json_write_member_int64(&out, "entries", (int64_t)totals.at_risk_entries);
    json_write_key(&out, "seconds");
    json_write_number(&out, totals.at_risk_ms / 1000.0);
    json_write_object_end(&out);
    json_write_key(&out, "unavailable");
    if (!catalog_group_fenced(g) && is_outside(c, rec))
        json_write_str(&out, "the node that was asked is not a member of the "
                             "cluster");
    else if (plan.unavailable[0] != '\0')
        json_write_str(&out, plan.unavailable);
    else
        json_write_null(&out);
    put_last_switch(&out, c, rec, &totals);
    if (!catalog_group_fenced(g))
        put_fenced(&out, w);
    json_write_object_end(&out);
    control_respond(r, 200, &body);
}
