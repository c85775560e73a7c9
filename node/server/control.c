#include "node/server/control.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/base/rng.h"
#include "node/base/text.h"
#include "node/json/json.h"
#include "node/server/control_reply.h"
#include "node/server/decision.h"
#include "node/server/governor.h"
#include "node/server/group_edit.h"
#include "node/server/group_keys.h"
#include "node/server/holdings.h"
#include "node/server/peers.h"
#include "node/server/placement.h"
#include "node/server/placement_keys.h"
#include "node/server/placement_move.h"
#include "node/server/placement_remove.h"
#include "node/server/placement_rules.h"
#include "node/server/placement_split.h"
#include "node/server/region_names.h"
#include "node/server/reload.h"
#include "node/server/scrub_admin.h"
#include "node/server/worker.h"

#define CONTROL_BODY_MAX (64u * 1024)
#define CONTROL_TIMEOUT_US (5 * USEC_PER_SEC)
/* Every later decision needs a newer epoch. */
#define RECOVER_EPOCH_MAX (UINT32_MAX / 2)
/* By then a node that has started has found those who are there. */
#define RECOVER_AFTER_US (3 * USEC_PER_SEC)
#define AUDIT_DEFAULT 50
#define AUDIT_MAX 1000

/* ---- what is asked
 * -------------------------------------------------------------
 */

/* One request that changes the decision. */
struct order {
    struct worker *worker;
    struct http_request *request;
    uint16_t group; /* whose decision */
    char group_name[CATALOG_NAME_MAX + 1];
    struct consistency_policy level;
    raft_region to, from; /* from: which was checked */
    bool force;
    uint32_t n_order;
    raft_region order[GROUP_REGIONS_MAX];
    bool failback, failback_given, move;
};

/* The placement group of that name; NULL when this node knows none. */
static const struct catalog_group *find_group(const struct worker *w,
                                              struct bytes name)
{
    char text[CATALOG_NAME_MAX + 1];
    if (name.len > CATALOG_NAME_MAX || memchr(name.data, 0, name.len) != NULL)
        return NULL;
    memcpy(text, name.data, name.len);
    text[name.len] = '\0';
    return catalog_group(w->catalog, text);
}

/* An order about the group that the member `group` names; without one, about
 * default. NULL after having refused it. */
static struct order *order_new(struct worker *w, struct http_request *r,
                               const struct json *j)
{
    char storage[CATALOG_NAME_MAX * 6 + 2];
    struct buf scratch = buf_over(storage, sizeof(storage));
    struct bytes name = bytes_str(GROUP_DEFAULT_NAME);
    int err = json_get_string(j, 0, "group", &scratch, &name);
    const struct catalog_group *g = NULL;
    if (err == ERR_OK)
        g = find_group(w, name);
    if (err != ERR_NOT_FOUND && g == NULL) {
        control_refuse(r, 404, "NotFound",
                       "group must name one of the cluster's placement groups");
        return NULL;
    }
    struct order *o = mem_zalloc(sizeof(*o));
    o->worker = w;
    o->request = r;
    o->group = g != NULL ? g->number : GROUP_DEFAULT;
    snprintf(o->group_name, sizeof(o->group_name), "%s",
             g != NULL ? g->name : GROUP_DEFAULT_NAME);
    return o;
}

static void ordered(void *user, int err, const struct govern_record *record,
                    const struct err_msg *msg)
{
    struct order *o = user;
    if (err != ERR_OK) {
        control_refuse_err(o->request, err, msg->text);
    } else {
        struct buf body;
        struct json_writer w;
        buf_init(&body, CONTROL_ANSWER_MAX);
        json_writer_init(&w, &body);
        json_write_object_begin(&w);
        json_write_member_int64(&w, "epoch", record->epoch);
        json_write_object_end(&w);
        control_respond(o->request, 202, &body);
    }
    mem_free(o);
}

static void
order_begin(struct order *o, const char *what,
            int (*change)(void *user, const struct govern_record *now,
                          struct govern_record *next_out, struct err_msg *msg))
{
    struct group_edit edit = {.change = change,
                              .done = ordered,
                              .user = o,
                              .timeout_us = CONTROL_TIMEOUT_US};
    snprintf(edit.who, sizeof(edit.who), "%s",
             o->request->peer_uri != NULL ? o->request->peer_uri : "?");
    snprintf(edit.what, sizeof(edit.what), "%s%s%s", what,
             o->group != GROUP_DEFAULT ? " of placement group " : "",
             o->group != GROUP_DEFAULT ? o->group_name : "");
    snprintf(edit.group, sizeof(edit.group), "%s", o->group_name);
    group_edit_begin(o->worker, &edit);
}

/* The member `key`, a region's name. ERR_OK, ERR_NOT_FOUND (absent),
 * ERR_INVALID. */
static int get_region(const struct worker *w, const struct json *j,
                      json_ref value, raft_region *region_out)
{
    char name[CONFIG_NAME_MAX + 1];
    char storage[CONFIG_NAME_MAX * 6 + 2];
    struct buf scratch = buf_over(storage, sizeof(storage));
    struct bytes text;
    if (value == JSON_NONE)
        return ERR_NOT_FOUND;
    if (json_type(j, value) != JSON_STRING ||
        json_string(j, value, &scratch, &text) != ERR_OK ||
        text.len > CONFIG_NAME_MAX)
        return ERR_INVALID;
    memcpy(name, text.data, text.len);
    name[text.len] = '\0';
    *region_out = decision_region(w->node->config, name);
    return *region_out != 0 ? ERR_OK : ERR_INVALID;
}

/* The member `key`, false if it is absent. */
static int get_flag(const struct json *j, const char *key, bool *out)
{
    bool value = false;
    int err = json_get_bool(j, 0, key, &value);
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        return ERR_INVALID;
    *out = value;
    return ERR_OK;
}

/* ---- consistency
 * ---------------------------------------------------------------
 */

static int change_level(void *user, const struct govern_record *now,
                        struct govern_record *next_out, struct err_msg *msg)
{
    const struct order *o = user;
    struct consistency_policy level =
        consistency_over(&now->consistency, &o->level);
    int err = govern_set_level(now, &level, clock_wall_us(),
                               "an administrator set the level", next_out);
    if (err == ERR_EXISTS) { /* asked for twice is made once */
        *next_out = *now;
        return ERR_OK;
    }
    return err == ERR_OK ? ERR_OK
                         : err_set(msg, err,
                                   "bounded staleness needs "
                                   "max_staleness_prefix and "
                                   "max_staleness_interval of at least 1");
}

static int parse_bound(const struct json *j, const char *key, int64_t max,
                       int32_t *out)
{
    int64_t v = 0;
    int err = json_get_int64(j, 0, key, &v);
    if (err == ERR_NOT_FOUND)
        return ERR_OK;
    if (err != ERR_OK || v < 1 || v > max)
        return ERR_INVALID;
    *out = (int32_t)v;
    return ERR_OK;
}

static void post_consistency(struct worker *w, struct http_request *r,
                             const struct json *j)
{
    char storage[128];
    struct buf scratch = buf_over(storage, sizeof(storage));
    struct bytes text;
    struct order *o = order_new(w, r, j);
    if (o == NULL)
        return;
    if (json_get_string(j, 0, "level", &scratch, &text) != ERR_OK ||
        consistency_parse(text, &o->level.level) != ERR_OK) {
        control_refuse(r, 400, "BadRequest",
                       "level must be Strong, BoundedStaleness, Session, "
                       "ConsistentPrefix or Eventual");
        mem_free(o);
        return;
    }
    if (parse_bound(j, "max_staleness_prefix", CONFIG_STALENESS_PREFIX_MAX,
                    &o->level.max_staleness_prefix) != ERR_OK ||
        parse_bound(j, "max_staleness_interval", CONFIG_STALENESS_INTERVAL_MAX,
                    &o->level.max_staleness_interval) != ERR_OK) {
        control_refuse(r, 400, "BadRequest",
                       "max_staleness_prefix must be 1 to 2147483647 entries, "
                       "max_staleness_interval 1 to 86400 seconds");
        mem_free(o);
        return;
    }
    order_begin(o, "set consistency", change_level);
}

/* ---- priority
 * ------------------------------------------------------------------
 */

static int change_priority(void *user, const struct govern_record *now,
                           struct govern_record *next_out, struct err_msg *msg)
{
    const struct order *o = user;
    bool failback = o->failback_given ? o->failback : now->failback;
    int err = govern_set_priority(
        now, o->order, o->n_order, failback, o->move, clock_wall_us(),
        "an administrator set the priority list", next_out);
    return err == ERR_OK
               ? ERR_OK
               : err_set(msg, err,
                         "order must name each of the group's %u regions once",
                         now->n_regions);
}

static bool parse_failback(const struct json *j, struct order *o)
{
    char storage[64];
    struct buf scratch = buf_over(storage, sizeof(storage));
    struct bytes text;
    int err = json_get_string(j, 0, "failback", &scratch, &text);
    if (err == ERR_NOT_FOUND)
        return true;
    o->failback_given = true;
    o->failback = err == ERR_OK && bytes_equal(text, bytes_str("automatic"));
    return o->failback ||
           (err == ERR_OK && bytes_equal(text, bytes_str("manual")));
}

static void post_priority(struct worker *w, struct http_request *r,
                          const struct json *j)
{
    struct order *o = order_new(w, r, j);
    json_ref list = json_get_str(j, 0, "order");
    if (o == NULL)
        return;
    bool legal = list != JSON_NONE && json_type(j, list) == JSON_ARRAY &&
                 json_count(j, list) <= GROUP_REGIONS_MAX;
    if (legal)
        for (json_ref v = json_first(j, list); v != JSON_NONE && legal;
             v = json_next(j, list, v))
            legal = get_region(w, j, v, &o->order[o->n_order++]) == ERR_OK;
    if (!legal || !parse_failback(j, o) ||
        get_flag(j, "move", &o->move) != ERR_OK) {
        control_refuse(r, 400, "BadRequest",
                       "order must be the regions' names, each once; failback "
                       "\"automatic\" or \"manual\"; move true or false");
        mem_free(o);
        return;
    }
    order_begin(o, "set priority", change_priority);
}

/* ---- switch
 * --------------------------------------------------------------------
 */

/* Whether, and as what, a switch can be made now. */
static int check_switch(struct order *o, struct err_msg *msg)
{
    const struct governor *g = o->worker->governor;
    struct failover_group group;
    enum failover_verdict verdict;
    char why[FAILOVER_REASON_MAX];
    governor_group(g, o->group, &group);
    o->from = group.write_region;
    const struct failover_region_health *now =
        failover_health_region(governor_health(g), group.write_region);
    if (!failover_health_sees(governor_health(g), why))
        return err_set(msg, ERR_UNAVAILABLE,
                       "this node cannot judge: %s; ask another one", why);
    if (now->lost && !o->force && !group.commit_rule)
        return err_set(
            msg, ERR_BUSY,
            "%s does not answer, so a planned switch is "
            "impossible: use force, which may lose what it alone "
            "has acknowledged",
            decision_region_name(o->worker->node->config, group.write_region));
    if (!now->lost && o->force)
        return err_set(
            msg, ERR_BUSY,
            "%s is heard by a majority: a planned switch (without "
            "force) loses nothing",
            decision_region_name(o->worker->node->config, group.write_region));
    int err = failover_check_switch(governor_health(g), &group, o->to, o->force,
                                    &verdict, why);
    return err == ERR_OK || err == ERR_EXISTS
               ? ERR_OK
               : err_set(msg, err == ERR_NOT_FOUND ? err : ERR_BUSY, "%s %s",
                         decision_region_name(o->worker->node->config, o->to),
                         why);
}

static int change_region(void *user, const struct govern_record *now,
                         struct govern_record *next_out, struct err_msg *msg)
{
    const struct order *o = user;
    if (o->force && now->write_region != o->from && now->write_region != o->to)
        return err_set(
            msg, ERR_BUSY,
            "the write region has changed meanwhile, to %s: look "
            "again before forcing anything",
            decision_region_name(o->worker->node->config, now->write_region));
    /* The record names one region that shards may still be coming from. */
    if (!o->force && !now->settled && now->from_region != now->write_region &&
        o->to != now->write_region && o->to != now->from_region)
        return err_set(
            msg, ERR_BUSY,
            "writes are just moving from %s to %s: wait until that has settled",
            decision_region_name(o->worker->node->config, now->from_region),
            decision_region_name(o->worker->node->config, now->write_region));
    int err = govern_switch(now, o->to, o->force, true, clock_wall_us(),
                            "an administrator switched", next_out);
    if (err == ERR_EXISTS) {
        *next_out = *now;
        return ERR_OK;
    }
    return err == ERR_OK
               ? ERR_OK
               : err_set(msg, err, "no region of the group has that name");
}

/* What a forced switch would lose, as the shards' leaders on this node know. */
struct loss {
    struct worker *worker;
    struct http_request *request;
    struct order *order; /* the switch that is asked about; NULL: none */
    uint16_t group;
    uint32_t missing; /* workers that have not answered */
    uint32_t shards;  /* its shards with a replica here */
    uint32_t led;     /* those of them that are led here */
    usec_t oldest_us;
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
    struct order *o = l->order;
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

static void loss_begin(struct worker *w, struct http_request *r,
                       const struct catalog_group *g, struct order *o)
{
    struct loss *l = mem_zalloc(sizeof(*l));
    *l = (struct loss){.worker = w,
                       .request = r,
                       .order = o,
                       .group = g->number,
                       .missing = 1};
    loss_asked(w, l);
}

/* The group that `?group=` asks about; without it, default. NULL after having
 * refused: there is none, or this node does not know it yet. */
static const struct catalog_group *
query_group(const struct worker *w, struct http_request *r, struct bytes query)
{
    struct bytes key = bytes_str("group=");
    bool named =
        query.len > key.len && memcmp(query.data, key.data, key.len) == 0;
    struct bytes name = bytes_str(GROUP_DEFAULT_NAME);
    if (named)
        name = bytes_of(query.data + key.len, query.len - key.len);
    const struct catalog_group *g = find_group(w, name);
    if (g == NULL && named)
        control_refuse(r, 404, "NotFound",
                       "there is no placement group of that name");
    else if (g == NULL || governor_now(w->governor, g->number) == NULL)
        control_refuse(
            r, 503, "ServiceUnavailable",
            "this node does not know the account yet: see /readyz?verbose");
    else
        return g;
    return NULL;
}

static void get_at_risk(struct worker *w, struct http_request *r,
                        struct bytes query)
{
    const struct catalog_group *g = query_group(w, r, query);
    if (g != NULL)
        loss_begin(w, r, g, NULL);
}

static void post_switch(struct worker *w, struct http_request *r,
                        const struct json *j)
{
    struct err_msg msg = {.text = ""};
    struct order *o = order_new(w, r, j);
    bool dry_run = false;
    if (o == NULL)
        return;
    int err = get_region(w, j, json_get_str(j, 0, "to"), &o->to);
    if (get_flag(j, "force", &o->force) != ERR_OK ||
        get_flag(j, "dry_run", &dry_run) != ERR_OK) {
        err = err_set(&msg, ERR_INVALID,
                      "force and dry_run must be true or false");
    } else if (err != ERR_OK) {
        err = err_set(&msg, err == ERR_NOT_FOUND ? ERR_INVALID : ERR_NOT_FOUND,
                      "to must name one of the cluster's regions");
    } else if (catalog_group_number(w->catalog, o->group) == NULL ||
               governor_now(w->governor, o->group) == NULL) {
        err = err_set(&msg, ERR_UNAVAILABLE,
                      "this node does not know the group yet: try again");
    } else {
        err = check_switch(o, &msg);
    }
    if (err != ERR_OK) {
        control_refuse_err(r, err, msg.text);
        mem_free(o);
    } else if (dry_run) {
        loss_begin(w, r, catalog_group_number(w->catalog, o->group), o);
    } else {
        order_begin(o, o->force ? "forced switch" : "switch", change_region);
    }
}

/* ---- recover
 * -------------------------------------------------------------------
 */

struct recovery {
    struct worker *worker;
    struct http_request *request;
    uint32_t epoch; /* 0: only asked what is known */
    govern_regions survivors;
    uint32_t newest; /* epoch that anything here knows */
    uint32_t shards;
    int err;
};

/* The survivors vote, by the group's rule; the others only follow. So do the
 * witnesses: one that has heard of more than the survivors have would keep them
 * from electing a leader (docs/witness.md). */
static void survivors_config(const struct recovery *v,
                             const struct govern_record *next, bool meta,
                             const struct raft_config *now,
                             struct raft_config *out)
{
    *out = *now;
    out->joint = false;
    out->n = 0;
    for (uint32_t i = 0; i < now->n; i++) {
        struct raft_member m = now->members[i];
        m.voter =
            !m.witness && (v->survivors & govern_region_bit(m.region)) != 0;
        m.voter_old = m.leaving = false;
        out->members[out->n++] = m;
    }
    struct raft_config members = *out;
    govern_config(next, meta, &members, out);
    out->epoch = v->epoch;
}

static void answer_known(struct worker *w, const struct recovery *v)
{
    struct buf body;
    struct json_writer out;
    buf_init(&body, CONTROL_ANSWER_MAX);
    json_writer_init(&out, &body);
    json_write_object_begin(&out);
    json_write_member_str(&out, "cluster", w->node->config->cluster);
    json_write_member_str(&out, "node", w->node->config->node);
    json_write_member_int64(&out, "epoch", v->newest);
    json_write_object_end(&out);
    control_respond(v->request, 200, &body);
}

static void recover_answer(struct worker *w, void *arg)
{
    struct recovery *v = arg;
    if (v->epoch == 0) {
        answer_known(w, v);
    } else if (v->err != ERR_OK) {
        control_refuse(v->request, 409, "Conflict",
                       v->err == ERR_STALE
                           ? "the epoch is not newer than what this node knows"
                       : v->err == ERR_AGAIN
                           ? "this node hears a leader: the others are not lost"
                           : err_text(v->err));
    } else {
        struct buf body;
        struct json_writer out;
        buf_init(&body, CONTROL_ANSWER_MAX);
        json_writer_init(&out, &body);
        json_write_object_begin(&out);
        json_write_member_str(&out, "node", w->node->config->node);
        json_write_member_int64(&out, "shards", v->shards);
        json_write_object_end(&out);
        control_respond(v->request, 200, &body);
    }
    mem_free(v);
}

/* A node that was started alone does not know which record is committed; its
 * logs know enough. */
static int recover_shard(const struct recovery *v,
                         const struct govern_record *known, struct shard *s,
                         usec_t now)
{
    const struct raft_config *old = raft_config(shard_raft(s));
    struct raft_config config;
    struct govern_record record, next;
    if (old->epoch == v->epoch)
        return ERR_OK; /* asked again */
    if (known != NULL)
        record = *known;
    else
        govern_from_config(old, &record);
    if (v->epoch <= record.epoch)
        return ERR_STALE;
    govern_recover(&record, v->epoch, v->survivors, clock_wall_us(), "", &next);
    survivors_config(v, &next, shard_id(s) == SHARD_META, old, &config);
    return shard_recover(s, now, &config);
}

static uint32_t newest_epoch(const struct shard *s)
{
    const struct raft *r = shard_raft(s);
    uint32_t epoch = raft_config(r)->epoch;
    uint32_t term_epoch = RAFT_TERM_EPOCH(raft_term(r));
    return epoch > term_epoch ? epoch : term_epoch;
}

/* One worker after the other. */
static void recover_asked(struct worker *w, void *arg)
{
    struct recovery *v = arg;
    usec_t now = clock_mono_us();
    for (uint32_t i = 0; i < w->replica_count; i++) {
        struct shard *s = w->replicas[i]->shard;
        const struct steering_group *of =
            steering_group_of(&w->steering, shard_id(s));
        const struct govern_record *known = of != NULL ? &of->record : NULL;
        if (known != NULL && known->epoch > v->newest)
            v->newest = known->epoch;
        uint32_t epoch = newest_epoch(s);
        v->newest = epoch > v->newest ? epoch : v->newest;
        if (v->epoch == 0)
            continue;
        int err = recover_shard(v, known, s, now);
        if (err == ERR_OK)
            v->shards++;
        else
            v->err = err;
    }
    worker_wake(w);
    struct node *node = w->node;
    if (w->index + 1 < node->worker_count)
        worker_run(&node->workers[w->index + 1], recover_asked, v);
    else
        worker_run(&node->workers[0], recover_answer, v);
}

/* GET: what a recovery's epoch has to be newer than. */
static void get_recover(struct worker *w, struct http_request *r,
                        struct bytes query)
{
    (void)query;
    struct recovery *v = mem_zalloc(sizeof(*v));
    *v = (struct recovery){.worker = w, .request = r};
    recover_asked(w, v);
}

static int parse_recover(struct worker *w, const struct json *j,
                         struct recovery *v, struct err_msg *msg)
{
    const struct config *c = w->node->config;
    char storage[CONFIG_NAME_MAX * 6 + 2];
    struct buf scratch = buf_over(storage, sizeof(storage));
    struct bytes confirm;
    int64_t epoch = 0;
    json_ref list = json_get_str(j, 0, "survivors");
    if (json_get_string(j, 0, "confirm", &scratch, &confirm) != ERR_OK ||
        !bytes_equal(confirm, bytes_str(c->cluster)))
        return err_set(msg, ERR_INVALID, "confirm must be the cluster's name");
    if (json_get_int64(j, 0, "epoch", &epoch) != ERR_OK || epoch < 1 ||
        epoch > RECOVER_EPOCH_MAX)
        return err_set(msg, ERR_INVALID,
                       "epoch must be newer than any that the survivors know "
                       "(GET here says it), the same for all of them");
    if (list == JSON_NONE || json_type(j, list) != JSON_ARRAY ||
        json_count(j, list) == 0)
        return err_set(msg, ERR_INVALID,
                       "survivors must be the names of the regions left");
    v->epoch = (uint32_t)epoch;
    for (json_ref e = json_first(j, list); e != JSON_NONE;
         e = json_next(j, list, e)) {
        raft_region region;
        if (get_region(w, j, e, &region) != ERR_OK)
            return err_set(msg, ERR_INVALID,
                           "survivors names a region that is none");
        v->survivors |= govern_region_bit(region);
    }
    if ((v->survivors & govern_region_bit(decision_region(c, c->region))) == 0)
        return err_set(msg, ERR_BUSY,
                       "this node is in %s, which is no survivor", c->region);
    if (failover_health_in_contact(governor_health(w->governor)))
        return err_set(msg, ERR_BUSY,
                       "this node reaches a majority of all nodes: nothing is "
                       "to be recovered; writes go on after a failover");
    if (clock_wall_us() - w->node->started_wall_us < RECOVER_AFTER_US)
        return err_set(msg, ERR_BUSY,
                       "this node has only just started and may yet find the "
                       "others: ask again in a moment");
    return ERR_OK;
}

static void post_recover(struct worker *w, struct http_request *r,
                         const struct json *j)
{
    struct err_msg msg = {.text = ""};
    struct recovery *v = mem_zalloc(sizeof(*v));
    v->worker = w;
    v->request = r;
    int err = parse_recover(w, j, v, &msg);
    if (err != ERR_OK) {
        control_refuse_err(r, err, msg.text);
        mem_free(v);
        return;
    }
    log_warn("RECOVERY BY FORCE: the survivors become a cluster of their own; "
             "what only the lost regions had is lost",
             LOG_UINT("epoch", v->epoch),
             LOG_STR("by", r->peer_uri != NULL ? r->peer_uri : "?"));
    recover_asked(w, v);
}

/* ---- topology
 * ------------------------------------------------------------------
 */

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

static void get_topology(struct worker *w, struct http_request *r,
                         struct bytes query)
{
    const struct config *c = w->node->config;
    const struct catalog_group *g = query_group(w, r, query);
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

/* ---- audit
 * ---------------------------------------------------------------------
 */

struct audit_read {
    struct worker *worker;
    struct http_request *request;
    uint32_t max;
    struct op op;
    uint8_t after[OP_KEY_MAX];
    struct buf *rows; /* a ring of the newest */
    uint64_t count;
};

static void audit_answer(struct audit_read *a)
{
    struct buf body;
    struct json_writer out;
    buf_init(&body, CONTROL_ANSWER_MAX);
    json_writer_init(&out, &body);
    json_write_object_begin(&out);
    json_write_key(&out, "records");
    json_write_array_begin(&out);
    uint64_t n = a->count < a->max ? a->count : a->max;
    for (uint64_t i = 1; i <= n; i++) {
        const struct buf *row = &a->rows[(a->count - i) % a->max];
        json_write_raw(&out, bytes_of(buf_bytes(row), buf_len(row)));
    }
    json_write_array_end(&out);
    json_write_object_end(&out);
    control_respond(a->request, 200, &body);
}

static void audit_end(struct audit_read *a)
{
    for (uint32_t i = 0; i < a->max; i++)
        buf_free(&a->rows[i]);
    mem_free(a->rows);
    mem_free(a);
}

static void audit_page(struct audit_read *a, struct bytes after);

static void audit_scanned(void *user, struct op_result *result)
{
    struct audit_read *a = user;
    size_t offset = 0;
    struct bytes row;
    if (result->err != ERR_OK) {
        control_refuse_err(a->request, result->err, err_text(result->err));
        audit_end(a);
        return;
    }
    while (op_result_next_row(result, &offset, &row)) {
        struct buf *slot = &a->rows[a->count++ % a->max];
        buf_clear(slot);
        CHECK(buf_append(slot, row.data, row.len) == ERR_OK);
    }
    if (result->more) {
        memcpy(a->after, result->next, result->next_len);
        audit_page(a, bytes_of(a->after, result->next_len));
        return;
    }
    audit_answer(a);
    audit_end(a);
}

static void audit_page(struct audit_read *a, struct bytes after)
{
    a->op = (struct op){.kind = OP_SCAN,
                        .shard = SHARD_META,
                        .after = after,
                        .max_items = AUDIT_MAX,
                        .max_bytes = OP_PAGE_MAX};
    rng_fill(a->op.id, OP_ID_LEN);
    a->op.at.container = CONTAINER_AUDIT;
    backend_submit(&a->worker->router.backend, &a->op, CONTROL_TIMEOUT_US,
                   audit_scanned, a);
}

static void get_audit(struct worker *w, struct http_request *r,
                      struct bytes query)
{
    uint64_t max = AUDIT_DEFAULT;
    struct bytes key = bytes_str("max=");
    if (query.len > key.len && memcmp(query.data, key.data, key.len) == 0)
        if (text_parse_u64(bytes_of(query.data + key.len, query.len - key.len),
                           AUDIT_MAX, &max) != ERR_OK ||
            max < 1) {
            control_refuse(r, 400, "BadRequest", "max must be 1 to 1000");
            return;
        }
    struct audit_read *a = mem_zalloc(sizeof(*a));
    a->worker = w;
    a->request = r;
    a->max = (uint32_t)max;
    a->rows = mem_alloc(a->max * sizeof(*a->rows));
    for (uint32_t i = 0; i < a->max; i++)
        buf_init(&a->rows[i], OP_BODY_MAX);
    audit_page(a, bytes_of(NULL, 0));
}

/* ---- reloading
 * ---------------------------------------------------------------
 */

static void reloaded(struct worker *w, void *user, int err, const char *reason)
{
    struct http_request *r = user;
    if (err != ERR_OK) {
        control_refuse(r, 409, "Conflict", reason);
        return;
    }
    char until[CLOCK_ISO_LEN + 1];
    struct buf body;
    clock_iso(tls_ctx_not_after(w->node->tls_front) * USEC_PER_SEC, until);
    buf_init(&body, CONTROL_ANSWER_MAX);
    (void)buf_printf(&body, "{\"node\":\"%s\",\"certificate_expires\":\"%s\"}",
                     w->node->config->node, until);
    control_respond(r, 200, &body);
}

static void post_reload(struct worker *w, struct http_request *r,
                        const struct json *body)
{
    (void)body;
    reload_begin(w, reloaded, r);
}

/* ---- routes
 * ------------------------------------------------------------------
 */

struct route {
    const char *path;
    void (*get)(struct worker *w, struct http_request *r, struct bytes query);
    void (*post)(struct worker *w, struct http_request *r,
                 const struct json *body);
    /* What a body may have: a misspelt "dry_run" must not do the thing. */
    const char *members;
};

static const struct route routes[] = {
    {"/topology", get_topology, NULL, NULL},
    {"/audit", get_audit, NULL, NULL},
    {"/regions/at-risk", get_at_risk, NULL, NULL},
    {"/consistency", NULL, post_consistency,
     "level max_staleness_prefix max_staleness_interval group"},
    {"/regions/switch", NULL, post_switch, "to force dry_run group"},
    {"/regions/display", NULL, region_names_post, "region name"},
    {"/regions/priority", NULL, post_priority, "order failback move group"},
    {"/regions/recover", get_recover, post_recover, "survivors confirm epoch"},
    {"/reload", NULL, post_reload, ""},
    {"/scrub", scrub_admin_get, scrub_admin_post, "shard"},
    {"/placement/move", NULL, placement_move,
     "database container group dry_run"},
    {"/placement/move/cancel", NULL, placement_move_cancel,
     "database container"},
    {"/placement/moves", placement_moves, NULL, NULL},
    {"/placement/regions", NULL, placement_regions,
     "group regions nodes dry_run"},
    {"/placement/split", NULL, placement_split, "group shards dry_run"},
    {"/placement/holdings", holdings_get, NULL, NULL},
    {"/placement/remove", NULL, placement_remove, "group dry_run"},
    {"/placement/rotate", NULL, group_keys_rotate, "group"},
    {"/placement", placement_list, placement_create,
     "name regions priority level max_staleness_prefix max_staleness_interval "
     "shards copies_per_region witness transit leaders"},
    {"/placement/settings", NULL, placement_settings,
     "group transit leaders dry_run"},
    {"/placement/containers", placement_containers, NULL, NULL},
    {"/placement/keys", NULL, placement_keys, "database container add"},
    {"/placement/rules", placement_rules_get, placement_rules_post,
     "rules require_placement etag"},
};

static const struct route *find_route(struct bytes target,
                                      struct bytes *query_out)
{
    const uint8_t *at =
        target.len > 0 ? memchr(target.data, '?', target.len) : NULL;
    size_t len = at != NULL ? (size_t)(at - target.data) : target.len;
    struct bytes path = bytes_of(target.data, len);
    *query_out =
        at != NULL ? bytes_of(at + 1, target.len - len - 1) : bytes_of(NULL, 0);
    for (size_t i = 0; i < ARRAY_LEN(routes); i++)
        if (bytes_equal(path, bytes_str(routes[i].path)))
            return &routes[i];
    return NULL;
}

bool control_target(struct bytes target)
{
    struct bytes query;
    return find_route(target, &query) != NULL;
}

static bool is_member(const struct json *j, json_ref key, const char *members)
{
    for (const char *name = members; *name != '\0';) {
        size_t len = strcspn(name, " ");
        if (json_string_equal(j, key, bytes_of(name, len)))
            return true;
        name += len + (name[len] == ' ');
    }
    return false;
}

/* Only members that are understood, each once. */
static bool members_known(const struct json *j, const char *members)
{
    for (json_ref k = json_first(j, 0); k != JSON_NONE;
         k = json_next_member(j, 0, k))
        if (!is_member(j, k, members))
            return false;
    return json_members_unique(j, 0);
}

static void refuse_members(struct http_request *r, const char *members)
{
    struct err_msg msg;
    err_set(&msg, ERR_INVALID, "unknown or repeated member; there are: %s",
            members);
    control_refuse_err(r, ERR_INVALID, msg.text);
}

static void handle_post(struct worker *w, struct http_request *r,
                        const struct route *route)
{
    struct json j;
    json_init(&j);
    if (r->body.len > CONTROL_BODY_MAX ||
        json_parse(&j, r->body, CONTROL_BODY_MAX, NULL) != ERR_OK ||
        json_type(&j, 0) != JSON_OBJECT)
        control_refuse(r, 400, "BadRequest", "the body must be a JSON object");
    else if (!members_known(&j, route->members))
        refuse_members(r, route->members);
    else
        route->post(w, r, &j);
    json_free(&j);
}

void control_handle(struct worker *w, struct http_request *r)
{
    struct bytes query;
    const struct route *route = find_route(r->target, &query);
    CHECK(route != NULL);
    if (route->get != NULL && r->method == HTTP_METHOD_GET)
        route->get(w, r, query);
    else if (route->post != NULL && r->method == HTTP_METHOD_POST)
        handle_post(w, r, route);
    else
        control_refuse(r, 405, "MethodNotAllowed",
                       route->get != NULL ? "only GET is understood here"
                                          : "only POST is understood here");
}
