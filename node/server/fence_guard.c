#include "node/server/fence_guard.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/server/decision.h"
#include "node/server/group_edit.h"
#include "node/server/worker.h"

_Static_assert(FENCE_GROUPS_MAX >= GROUPS_MAX, "a place for every group");
_Static_assert(FENCE_NAME_MAX >= CATALOG_NAME_MAX, "and for its name");

struct counted {
    char name[FENCE_NAME_MAX + 1];
    uint64_t by_wall[FENCE_WALLS];
};

struct fence_guard {
    struct fence *table;
    struct fence_ledger ledger;
    struct counted counts[1 + FENCE_GROUPS_MAX]; /* [0]: not known */
    uint32_t count;
};

/* ---- the table -------------------------------------------------------------
 */

static void name_regions(struct fence *f, const struct config *c)
{
    for (size_t i = 0; i < c->region_count; i++) {
        const char *name = c->regions[i].name;
        CHECK(fence_name_region(f, decision_region(c, name), name) == ERR_OK);
    }
}

struct fence_guard *fence_guard_new(struct worker *w)
{
    const struct config *c = w->node->config;
    struct fence_guard *g = mem_zalloc(sizeof(*g));
    g->table = fence_new(NODE_SHARDS_MAX, c->shards);
    name_regions(g->table, c);
    fence_ledger_init(&g->ledger);
    g->count = 1;
    return g;
}

const struct fence *fence_guard_table(const struct fence_guard *g)
{
    return g->table;
}

/* Its counters; those of unknown groups when there are too many. */
static struct counted *counted(struct fence_guard *g, const char *name)
{
    for (uint32_t i = 0; i < g->count; i++)
        if (strcmp(g->counts[i].name, name) == 0)
            return &g->counts[i];
    if (g->count == ARRAY_LEN(g->counts))
        return &g->counts[0];
    struct counted *c = &g->counts[g->count++];
    snprintf(c->name, sizeof(c->name), "%s", name);
    return c;
}

/* Regions that this node's configuration does not have get no bit: what is not
 * known is outside. */
static fence_regions regions_of(const struct fence *f,
                                const struct catalog_group *group)
{
    fence_regions set = 0;
    for (size_t i = 0; i < group->region_count; i++) {
        failover_region r = fence_region_number(f, group->regions[i]);
        set |= r != 0 ? fence_bit(r) : 0;
    }
    return set;
}

static fence_regions region_of(const struct config *c, const struct fence *f,
                               uint32_t node)
{
    const struct config_region *region = NULL;
    if (node == 0 || config_find_node(c, node, &region) == NULL)
        return 0;
    failover_region r = fence_region_number(f, region->name);
    return r != 0 ? fence_bit(r) : 0;
}

/* Where the group's witness is; and was, until no shard has it any more. */
static fence_regions witnesses_of(const struct config *c, const struct fence *f,
                                  const struct catalog_group *group)
{
    return region_of(c, f, group->witness) |
           region_of(c, f, group->witness_leaving);
}

void fence_guard_put(struct worker *w, const struct catalog_group *group)
{
    struct fence_guard *g = w->fence_guard;
    if (g == NULL)
        return; /* another worker */
    struct fence_group f = {.number = group->number,
                            .first_shard = group->first_shard,
                            .shard_count = group->shard_count,
                            .emptied_shard = group->emptied.first,
                            .emptied_count = group->emptied.count,
                            .payload = FENCE_EVERYWHERE};
    snprintf(f.name, sizeof(f.name), "%s", group->name);
    if (catalog_group_fenced(group)) {
        f.payload = regions_of(g->table, group);
        f.headers = witnesses_of(w->node->config, g->table, group);
        f.transit = group->transit;
        (void)counted(g, f.name); /* at 0, to be seen */
    }
    int err = fence_put(g->table, &f);
    if (err != ERR_OK)
        log_error("a placement group's fence cannot be kept: its shards stay "
                  "closed here",
                  LOG_STR("group", f.name), LOG_STR("error", err_text(err)));
}

static void put_all(struct worker *w)
{
    const struct catalog_group *g;
    for (size_t i = 0; (g = catalog_group_at(w->catalog, i)) != NULL; i++)
        fence_guard_put(w, g);
}

void fence_guard_topology(struct worker *w)
{
    name_regions(w->fence_guard->table, w->node->config);
    put_all(w);
}

void fence_guard_removed(struct worker *w)
{
    fence_guard_forget(w);
    put_all(w);
}

void fence_guard_forget(struct worker *w)
{
    if (w->fence_guard != NULL)
        fence_forget(w->fence_guard->table);
}

/* ---- refusals --------------------------------------------------------------
 */

static void note(struct worker *first, const struct fence_refusals *r)
{
    struct fence_guard *g = first->fence_guard;
    const struct fence_group *group =
        r->known ? fence_of(g->table, r->shard) : NULL;
    struct counted *c = counted(g, group != NULL ? group->name : "");
    c->by_wall[__builtin_ctz(r->wall)] += r->count;
    fence_ledger_note(&g->ledger, clock_mono_us(), r);
}

struct refusal_message {
    struct inbox_message message;
    struct fence_refusals refusal;
};

static void deliver_refusal(struct inbox_message *m, void *owner)
{
    struct refusal_message *r = LIST_ENTRY(m, struct refusal_message, message);
    note(owner, &r->refusal);
    mem_free(r);
}

void fence_refused(struct worker *w, const struct fence_refusals *refusal)
{
    struct worker *first = &w->node->workers[0];
    if (w == first) {
        note(w, refusal);
        return;
    }
    struct refusal_message *m = mem_zalloc(sizeof(*m));
    m->refusal = *refusal;
    m->message.deliver = deliver_refusal;
    if (inbox_post(&first->inbox, &m->message) != ERR_OK)
        mem_free(m);
}

/* ---- written down ----------------------------------------------------------
 */

/* The node that it was about, as its certificate names it. */
static void describe_who(const struct config *c, const struct fence_refusals *r,
                         char out[PEER_URI_MAX + 1])
{
    const struct config_region *region = NULL;
    const struct config_node *n = config_find_node(c, r->peer, &region);
    struct peer_identity id;
    if (n != NULL &&
        peer_identity_set(&id, c->cluster, region->name, n->name) == ERR_OK)
        peer_uri(&id, out);
    else
        strcpy(out, r->shard == FENCE_LEDGER_SEVERAL ? "several" : "a client");
}

static const char *direction(enum fence_wall wall)
{
    switch (wall) {
    case FENCE_WALL_RECEIVE:
        return "from";
    case FENCE_WALL_API:
        return "asked by";
    default:
        return "to";
    }
}

static void describe_where(const struct config *c,
                           const struct fence_refusals *r,
                           char out[GROUP_EDIT_TEXT_MAX])
{
    char shard[32] = "several shards";
    const struct config_region *region = NULL;
    if (r->shard != FENCE_LEDGER_SEVERAL)
        snprintf(shard, sizeof(shard), "shard %" PRIu64, r->shard);
    if (config_find_node(c, r->peer, &region) != NULL)
        snprintf(out, GROUP_EDIT_TEXT_MAX, "%s, %s region %s, at %s in %s",
                 shard, direction(r->wall), region->name, c->node, c->region);
    else
        snprintf(out, GROUP_EDIT_TEXT_MAX, "%s, at %s in %s", shard, c->node,
                 c->region);
}

static void write_down(struct worker *w, const struct fence_refusals *r)
{
    const struct config *c = w->node->config;
    char who[PEER_URI_MAX + 1], what[GROUP_EDIT_TEXT_MAX];
    char where[GROUP_EDIT_TEXT_MAX], rule[FENCE_RULE_MAX];
    describe_who(c, r, who);
    describe_where(c, r, where);
    fence_rule(w->fence_guard->table, r->shard, rule);
    snprintf(what, sizeof(what),
             "refused by a fence, wall '%s': %s, %" PRIu64 " times, %" PRIu64
             " bytes%s",
             fence_wall_name(r->wall), r->what, r->count, r->bytes,
             r->unproved ? "; the node has a certificate of its region and has "
                           "not shown the region's key"
                         : "");
    if (r->known)
        group_edit_audit(w, who, what, where, "", rule);
    else
        log_warn("not let through: no placement group is known for the shard",
                 LOG_STR("who", who), LOG_STR("what", what),
                 LOG_STR("where", where));
}

void fence_guard_tick(struct worker *w)
{
    struct fence_refusals due;
    if (w->fence_guard == NULL)
        return;
    while (fence_ledger_due(&w->fence_guard->ledger, clock_mono_us(), &due))
        write_down(w, &due);
}

bool fence_guard_counts(const struct fence_guard *g, uint32_t i,
                        const char **name_out, const uint64_t **by_wall_out)
{
    if (i >= g->count)
        return false;
    *name_out = g->counts[i].name;
    *by_wall_out = g->counts[i].by_wall;
    return true;
}
