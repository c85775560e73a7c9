#include "node/server/placement.h"

#include <string.h>

#include "node/catalog/placement_map.h"
#include "node/json/json.h"
#include "node/server/control_reply.h"
#include "node/server/governor.h"
#include "node/server/group_keys.h"
#include "node/server/worker.h"

/* ---- list -------------------------------------------------------------------
 */

/* Those of the group's regions that `which` marks; NULL: all. */
static void put_names(struct json_writer *w, const char *key,
                      const struct catalog_group *g, const bool *which)
{
    json_write_key(w, key);
    json_write_array_begin(w);
    for (size_t i = 0; i < g->region_count; i++)
        if (which == NULL || which[i])
            json_write_str(w, g->regions[i]);
    json_write_array_end(w);
}

static void put_members(struct json_writer *w, const struct config *c,
                        const struct catalog_group *g)
{
    json_write_key(w, "nodes");
    json_write_array_begin(w);
    for (size_t i = 0; i < c->region_count; i++)
        for (size_t k = 0; k < c->regions[i].node_count; k++) {
            const struct config_node *n = &c->regions[i].nodes[k];
            if (g->member_count == 0
                    ? !n->added
                    : memchr(g->members, (int)n->id, g->member_count) != NULL)
                json_write_str(w, n->name);
        }
    json_write_array_end(w);
}

/* Why writes are impossible; null. */
static void put_unavailable(struct json_writer *w, const struct worker *worker,
                            const struct catalog_group *g)
{
    struct failover_plan plan = {.unavailable = ""};
    if (governor_now(worker->governor, g->number) != NULL)
        governor_plan(worker->governor, g->number, &plan);
    json_write_key(w, "unavailable");
    if (plan.unavailable[0] != '\0')
        json_write_str(w, plan.unavailable);
    else if (catalog_group_fenced(g) && g->key_count < g->region_count)
        json_write_str(w, "its keys are not made yet: the first shard's leader "
                          "does that");
    else
        json_write_null(w);
}

void placement_put_node(struct json_writer *w, const char *key,
                        const struct config *c, uint32_t id)
{
    const struct config_node *n = config_find_node(c, id, NULL);
    json_write_key(w, key);
    if (n != NULL)
        json_write_str(w, n->name);
    else
        json_write_null(w);
}

/* How far a split is; null. */
static void put_split(struct json_writer *w, const struct worker *worker,
                      const struct catalog_group *g)
{
    struct split_progress p;
    json_write_key(w, "split");
    if (g->emptied.count == 0) {
        json_write_null(w);
        return;
    }
    splitter_progress(worker, g, &p);
    json_write_object_begin(w);
    json_write_member_int64(w, "first_shard", g->emptied.first);
    json_write_member_int64(w, "shards", g->emptied.count);
    json_write_member_int64(w, "since", g->split_us / USEC_PER_SEC);
    json_write_member_int64(w, "left", p.left);
    json_write_member_int64(w, "moving", p.moving);
    json_write_member_int64(w, "moved", p.moved);
    json_write_key(w, "eta_seconds");
    if (p.eta_s >= 0)
        json_write_number(w, p.eta_s);
    else
        json_write_null(w);
    json_write_key(w, "waits_for");
    if (p.reason != NULL)
        json_write_str(w, p.reason);
    else
        json_write_null(w);
    json_write_object_end(w);
}

void placement_put(struct json_writer *w, const struct worker *worker,
                   const struct catalog_group *g)
{
    const struct group_decision *d = &g->decision;
    json_write_object_begin(w);
    json_write_member_str(w, "name", g->name);
    json_write_member_int64(w, "number", g->number);
    json_write_member_bool(w, "fenced", catalog_group_fenced(g));
    put_names(w, "regions", g, NULL);
    put_names(w, "leaving", g, g->leaving);
    put_names(w, "coming", g, g->coming);
    put_members(w, worker->node->config, g);
    placement_put_node(w, "witness", worker->node->config, g->witness);
    json_write_member_bool(w, "witness_coming", g->witness_coming);
    placement_put_node(w, "witness_leaving", worker->node->config,
                       g->witness_leaving);
    json_write_member_int64(w, "first_shard", g->first_shard);
    json_write_member_int64(w, "shards", g->shard_count);
    put_split(w, worker, g);
    json_write_member_str(w, "level", consistency_name(d->consistency.level));
    json_write_member_int64(w, "max_staleness_prefix",
                            d->consistency.max_staleness_prefix);
    json_write_member_int64(w, "max_staleness_interval",
                            d->consistency.max_staleness_interval);
    json_write_member_str(w, "write_region", d->write_region);
    json_write_member_int64(w, "epoch", d->epoch);
    json_write_member_bool(w, "settled", d->settled);
    json_write_member_str(w, "failback", g->failback ? "automatic" : "manual");
    json_write_member_str(
        w, "transit", g->transit ? GROUP_TRANSIT_ALLOW : GROUP_TRANSIT_DENY);
    json_write_member_str(
        w, "leaders", g->gather ? GROUP_LEADERS_GATHER : GROUP_LEADERS_SPREAD);
    json_write_key(w, "keys_for");
    json_write_array_begin(w);
    for (size_t i = 0; i < g->key_count && catalog_group_fenced(g); i++)
        json_write_str(w, g->keys[i].region);
    json_write_array_end(w);
    json_write_member_bool(w, "removing", g->removing);
    json_write_member_int64(w, "data_keys", catalog_group_key_versions(g));
    json_write_member_int64(w, "sealing_key", g->sealing);
    json_write_member_bool(w, "new_key_due", group_keys_turning(worker, g));
    json_write_member_bool(w, "out_of_keys",
                           g->rekey && catalog_group_key_versions(g) ==
                                           GROUP_KEY_VERSIONS_MAX);
    put_unavailable(w, worker, g);
    json_write_object_end(w);
}

void placement_list(struct worker *w, struct http_request *r,
                    struct bytes query)
{
    (void)query;
    struct buf body;
    struct json_writer out;
    const struct catalog_group *g;
    buf_init(&body, CONTROL_ANSWER_MAX);
    json_writer_init(&out, &body);
    json_write_object_begin(&out);
    json_write_member_str(&out, "cluster", w->node->config->cluster);
    json_write_key(&out, "groups");
    json_write_array_begin(&out);
    for (size_t i = 0; (g = catalog_group_at(w->catalog, i)) != NULL; i++)
        placement_put(&out, w, g);
    json_write_array_end(&out);
    json_write_object_end(&out);
    control_respond(r, 200, &body);
}

/* ---- containers -------------------------------------------------------------
 */

/* One page of a database's containers is looked at at a time. */
#define CONTAINER_PAGE 64
/* An answer ends before the next entry might not fit: two names and a map,
 * escaped. */
#define CONTAINERS_ROOM                                                        \
    (CONTROL_ANSWER_MAX - 13u * RESOURCE_NAME_BYTES_MAX -                      \
     6u * PLACEMENT_MAP_TEXT_MAX)

struct containers {
    const struct worker *worker;
    struct bytes group;
    struct buf body;
    struct json_writer out;
    bool more; /* than an answer holds */
};

static void put_container(struct containers *l,
                          const struct catalog_database *db,
                          const struct container_def *def)
{
    if (!container_placed_in(def, l->group))
        return;
    if (buf_len(&l->body) > CONTAINERS_ROOM) {
        l->more = true;
        return;
    }
    json_write_object_begin(&l->out);
    json_write_member_string(&l->out, "database", db->name);
    json_write_member_string(&l->out, "container", def->name);
    if (def->map != NULL)
        json_write_member_string(&l->out, "keys", def->placement);
    json_write_object_end(&l->out);
}

static void put_database(struct containers *l,
                         const struct catalog_database *db)
{
    struct container_def *page[CONTAINER_PAGE];
    uint32_t after = 0;
    size_t n;
    do {
        n = catalog_list_containers(l->worker->catalog, db, after, page,
                                    CONTAINER_PAGE);
        for (size_t i = 0; i < n && !l->more; i++)
            put_container(l, db, page[i]);
        after = n > 0 ? page[n - 1]->number : after;
    } while (n == CONTAINER_PAGE && !l->more);
}

static void put_databases(struct containers *l)
{
    struct catalog_database *db;
    uint32_t after = 0;
    while (!l->more &&
           catalog_list_databases(l->worker->catalog, after, &db, 1) == 1) {
        put_database(l, db);
        after = db->number;
    }
}

void placement_containers(struct worker *w, struct http_request *r,
                          struct bytes query)
{
    struct containers l = {.worker = w};
    struct bytes key = bytes_str("group=");
    if (query.len <= key.len || memcmp(query.data, key.data, key.len) != 0) {
        control_refuse(r, 400, "BadRequest", "expected ?group=NAME");
        return;
    }
    l.group = bytes_of(query.data + key.len, query.len - key.len);
    buf_init(&l.body, CONTROL_ANSWER_MAX);
    json_writer_init(&l.out, &l.body);
    json_write_object_begin(&l.out);
    json_write_key(&l.out, "containers");
    json_write_array_begin(&l.out);
    put_databases(&l);
    json_write_array_end(&l.out);
    json_write_member_bool(&l.out, "more", l.more);
    json_write_object_end(&l.out);
    control_respond(r, 200, &l.body);
}
