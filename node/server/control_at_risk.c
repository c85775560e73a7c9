#include "node/server/control_impl.h"

#include "node/base/mem.h"
#include "node/json/json.h"
#include "node/server/control_reply.h"
#include "node/server/decision.h"
#include "node/server/governor.h"
#include "node/server/worker.h"

/* What a forced switch would lose, as the shards' leaders on this node know. */
struct loss {
    struct worker *worker;
    struct http_request *request;
    /* The switch that is asked about; NULL: none. */
    struct control_order *order;
    uint16_t group;
    uint32_t missing; /* workers that have not answered */
    uint32_t shards;  /* its shards with a replica here */
    uint32_t led;     /* those of them that are led here */
    struct loss_entry {
        uint32_t container;
        uint64_t entries;
    } * list;
    size_t n;
};

static void count_loss(void *user, uint32_t container)
{
    struct loss *l = user;
    for (size_t i = 0; i < l->n; i++)
        if (l->list[i].container == container) {
            l->list[i].entries++;
            return;
        }
    l->list = mem_realloc(l->list, (l->n + 1) * sizeof(*l->list));
    l->list[l->n++] = (struct loss_entry){container, 1};
}

static void put_rejected(struct json_writer *out, const struct worker *w,
                         uint16_t number)
{
    struct failover_group group;
    struct failover_ranking ranking;
    governor_group(w->governor, number, &group);
    failover_rank(governor_health(w->governor), &group, FAILOVER_FOR_FORCED,
                  &ranking);
    json_write_key(out, "rejected");
    json_write_array_begin(out);
    for (uint32_t i = 0; i < ranking.n; i++) {
        if (ranking.regions[i].region == group.write_region ||
            ranking.regions[i].verdict == FAILOVER_LATER_VERDICT ||
            ranking.regions[i].region == ranking.chosen)
            continue; /* it could */
        json_write_object_begin(out);
        json_write_member_str(
            out, "region",
            decision_region_name(w->node->config, ranking.regions[i].region));
        json_write_member_str(out, "reason", ranking.regions[i].reason);
        json_write_object_end(out);
    }
    json_write_array_end(out);
}

static void put_losses(struct json_writer *out, const char *key,
                       const struct loss *l, uint64_t *entries_out)
{
    const struct catalog *catalog = l->worker->catalog;
    *entries_out = 0;
    json_write_key(out, key);
    json_write_array_begin(out);
    for (size_t i = 0; i < l->n; i++) {
        const struct container_def *c =
            catalog_container_number(catalog, l->list[i].container);
        *entries_out += l->list[i].entries;
        struct catalog_database *db;
        if (c == NULL ||
            catalog_list_databases(catalog, c->database - 1, &db, 1) != 1 ||
            db->number != c->database)
            continue; /* deleted meanwhile */
        json_write_object_begin(out);
        json_write_member_string(out, "database", db->name);
        json_write_member_string(out, "container", c->name);
        json_write_member_int64(out, "entries", (int64_t)l->list[i].entries);
        json_write_object_end(out);
    }
    json_write_array_end(out);
}

/* GET /regions/at-risk: the shards that this node leads. */
static void answer_at_risk(struct loss *l)
{
    struct worker *w = l->worker;
    struct governor_totals totals;
    struct buf body;
    struct json_writer out;
    uint64_t entries;
    governor_totals(w->governor, l->group, &totals);
    buf_init(&body, CONTROL_ANSWER_MAX);
    json_writer_init(&out, &body);
    json_write_object_begin(&out);
    json_write_member_str(&out, "node", w->node->config->node);
    json_write_member_int64(&out, "shards", l->shards);
    json_write_member_int64(&out, "led", l->led);
    put_losses(&out, "containers", l, &entries);
    json_write_member_int64(&out, "entries", (int64_t)entries);
    json_write_key(&out, "seconds");
    json_write_number(&out, totals.at_risk_ms / 1000.0);
    json_write_object_end(&out);
    control_respond(l->request, 200, &body);
}

static void answer_loss(struct loss *l)
{
    struct control_order *o = l->order;
    struct worker *w = o->worker;
    const struct govern_record *now = governor_now(w->governor, o->group);
    struct governor_totals totals;
    struct buf body;
    struct json_writer out;
    uint64_t entries;
    governor_totals(w->governor, o->group, &totals);
    buf_init(&body, CONTROL_ANSWER_MAX);
    json_writer_init(&out, &body);
    json_write_object_begin(&out);
    json_write_member_str(
        &out, "from", decision_region_name(w->node->config, now->write_region));
    json_write_member_str(&out, "to",
                          decision_region_name(w->node->config, o->to));
    json_write_member_str(&out, "kind", o->force ? "forced" : "planned");
    put_losses(&out, "would_lose", l, &entries);
    json_write_key(&out, "entries");
    if (!o->force)
        json_write_uint64(&out, 0);
    else if (l->led == l->shards)
        json_write_uint64(&out, entries);
    else
        json_write_null(&out); /* the write region's own nodes know */
    json_write_key(&out, "seconds");
    json_write_number(&out, o->force ? totals.at_risk_ms / 1000.0 : 0);
    put_rejected(&out, w, o->group);
    json_write_object_end(&out);
    control_respond(o->request, 200, &body);
}

static void loss_counted(struct worker *w, void *arg)
{
    (void)w;
    struct loss *l = arg;
    if (--l->missing > 0)
        return;
    if (l->order != NULL)
        answer_loss(l);
    else
        answer_at_risk(l);
    mem_free(l->list);
    mem_free(l->order);
    mem_free(l);
}

/* One worker after the other, so that no two touch `l`. */
static void loss_asked(struct worker *w, void *arg)
{
    struct loss *l = arg;
    bool wanted = l->order == NULL || l->order->force;
    for (uint32_t i = 0; i < w->replica_count && wanted; i++) {
        struct shard *s = w->replicas[i]->shard;
        const struct catalog_group *g =
            catalog_group_of_shard(w->catalog, shard_id(s));
        if (g == NULL || g->number != l->group)
            continue;
        l->shards++;
        if (raft_role(shard_raft(s)) != RAFT_LEADER)
            continue;
        l->led++;
        shard_each_at_risk(s, count_loss, l);
    }
    struct node *node = w->node;
    if (w->index + 1 < node->worker_count)
        worker_run(&node->workers[w->index + 1], loss_asked, l);
    else
        worker_run(&node->workers[0], loss_counted, l);
}

void control_at_risk_begin(struct worker *w, struct http_request *r,
                           const struct catalog_group *g,
                           struct control_order *o)
{
    struct loss *l = mem_zalloc(sizeof(*l));
    *l = (struct loss){.worker = w,
                       .request = r,
                       .order = o,
                       .group = g->number,
                       .missing = 1};
    loss_asked(w, l);
}

void control_at_risk_get(struct worker *w, struct http_request *r,
                         struct bytes query)
{
    const struct catalog_group *g = control_query_group(w, r, query);
    if (g != NULL)
        control_at_risk_begin(w, r, g, NULL);
}
