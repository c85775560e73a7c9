#include "node/server/placement.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/base/rng.h"
#include "node/catalog/placement_map.h"
#include "node/json/json.h"
#include "node/server/account_edit.h"
#include "node/server/control_reply.h"
#include "node/server/group_edit.h"
#include "node/server/peers.h"
#include "node/server/placement_parse.h"
#include "node/server/worker.h"

#define PLACEMENT_TIMEOUT_US (5 * USEC_PER_SEC)

/* One group being made. */
struct making {
    struct worker *worker;
    struct http_request *request;
    struct catalog_group group;
    struct op op;
    struct buf body;
};

static void make_end(struct making *m)
{
    buf_wipe(&m->body);
    mem_free(m);
}

static void make_fail(struct making *m, int err, const char *why)
{
    control_refuse_err(m->request, err, why);
    make_end(m);
}

static void make_failed(struct making *m, int err)
{
    struct err_msg msg;
    err_set(&msg, err, "the group could not be written: %s", err_text(err));
    make_fail(m, err, msg.text);
}

/* ---- 3. the answer ----------------------------------------------------------
 */

static void put_warnings(struct json_writer *w, const struct making *m)
{
    const struct catalog_group *g = &m->group;
    char text[400];
    json_write_key(w, "warnings");
    json_write_array_begin(w);
    if (g->region_count == 1) {
        snprintf(text, sizeof(text),
                 "%s has one region: while %s is down its documents cannot be "
                 "read or written",
                 g->name, g->regions[0]);
        json_write_str(w, text);
    } else if (g->region_count == 2 && g->witness == 0) {
        snprintf(text, sizeof(text),
                 "%s has two regions: losing either stops writes until it is "
                 "back, since neither alone is a majority; a third region, or "
                 "a witness (bastide placement set %s --witness REGION), would "
                 "keep them going",
                 g->name, g->name);
        json_write_str(w, text);
    }
    json_write_array_end(w);
}

static void describe(const struct catalog_group *g, char *out, size_t size)
{
    struct buf text = buf_over(out, size - 1);
    (void)buf_printf(&text, "regions");
    for (size_t i = 0; i < g->region_count; i++)
        (void)buf_printf(&text, "%s%s", i > 0 ? "," : " ", g->regions[i]);
    (void)buf_printf(&text, ", level %s, shards %u..%u",
                     consistency_name(g->decision.consistency.level),
                     g->first_shard, g->first_shard + g->shard_count - 1u);
    if (g->transit)
        (void)buf_printf(&text, ", transit allowed");
    if (g->gather)
        (void)buf_printf(&text, ", leaders gathered");
    out[buf_len(&text)] = '\0';
}

static void group_written(void *user, struct op_result *result)
{
    struct making *m = user;
    const struct catalog_group *g = &m->group;
    char after[GROUP_EDIT_TEXT_MAX], what[GROUP_EDIT_WHAT_MAX];
    if (result->err == ERR_EXISTS) {
        make_fail(m, ERR_EXISTS, "there is a placement group of that name");
        return;
    }
    if (result->err != ERR_OK) {
        make_failed(m, result->err);
        return;
    }
    describe(g, after, sizeof(after));
    snprintf(what, sizeof(what), "create placement group %s", g->name);
    group_edit_audit(m->worker,
                     m->request->peer_uri != NULL ? m->request->peer_uri : "?",
                     what, "", after, g->decision.reason);
    struct buf body;
    struct json_writer w;
    buf_init(&body, CONTROL_ANSWER_MAX);
    json_writer_init(&w, &body);
    json_write_object_begin(&w);
    json_write_member_str(&w, "name", g->name);
    json_write_member_int64(&w, "number", g->number);
    json_write_member_int64(&w, "first_shard", g->first_shard);
    json_write_member_int64(&w, "shards", g->shard_count);
    put_warnings(&w, m);
    json_write_object_end(&w);
    control_respond(m->request, 201, &body);
    make_end(m);
}

/* ---- 2. number and shards ---------------------------------------------------
 */

static void create_group(struct making *m)
{
    CHECK(catalog_group_format(&m->group, &m->body) == ERR_OK);
    log_info("creating placement group", LOG_STR("group", m->group.name),
             LOG_UINT("shards", m->group.shard_count));
    m->op =
        (struct op){.kind = OP_WRITE,
                    .shard = SHARD_META,
                    .mode = OP_CREATE,
                    .resource = OP_RESOURCE_INTERNAL,
                    .body = bytes_of(buf_bytes(&m->body), buf_len(&m->body))};
    rng_fill(m->op.id, OP_ID_LEN);
    cosmos_address(m->worker->meta_hash, CONTAINER_GROUPS, bytes_of(NULL, 0),
                   bytes_str(m->group.name), &m->op.at);
    backend_submit(&m->worker->router.backend, &m->op, PLACEMENT_TIMEOUT_US,
                   group_written, m);
}

static void numbers_taken(void *user, int err, const struct catalog_account *a,
                          const struct etag *etag, const struct err_msg *msg)
{
    struct making *m = user;
    (void)a;
    (void)etag;
    if (err == ERR_OK)
        create_group(m);
    else
        make_fail(m, err, msg->text);
}

void placement_first_numbers(const struct worker *w, struct catalog_account *a)
{
    const struct catalog_group *g =
        catalog_group_number(w->catalog, GROUP_DEFAULT);
    CHECK(g != NULL);
    if (a->next_group > 0)
        return;
    a->next_group = GROUP_DEFAULT + 1;
    a->next_shard = (uint16_t)(g->first_shard + g->shard_count);
}

static int take_numbers(void *user, struct catalog_account *a,
                        const struct etag *etag, struct err_msg *msg)
{
    struct making *m = user;
    struct catalog_group *g = &m->group;
    (void)etag;
    placement_first_numbers(m->worker, a);
    if (a->next_shard + g->shard_count > NODE_SHARDS_MAX)
        return err_set(msg, ERR_INVALID,
                       "the cluster's groups have had %u shards, and there may "
                       "be %d in all",
                       a->next_shard, NODE_SHARDS_MAX);
    g->number = a->next_group++;
    g->first_shard = a->next_shard;
    a->next_shard = (uint16_t)(a->next_shard + g->shard_count);
    return ERR_OK;
}

/* ---- 1. what is asked for ---------------------------------------------------
 */

/* Lower-case letters, digits and '-', as in certificates and file names; and no
 * word of placement maps. */
static bool name_legal(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return len > 0 && name[len] == '\0' && name[0] != '-' &&
           strcmp(name, PLACEMENT_MAP_REJECT) != 0;
}

/* `priority` orders `regions`. */
static int get_fence(const struct worker *w, const struct json *j,
                     struct catalog_group *g, struct err_msg *msg)
{
    struct catalog_group *ordered;
    int err = placement_get_regions(w, j, "regions", g, msg);
    if (err != ERR_OK || json_get_str(j, 0, "priority") == JSON_NONE)
        return err;
    ordered = mem_zalloc(sizeof(*ordered));
    err = placement_get_regions(w, j, "priority", ordered, msg);
    for (size_t i = 0; i < ordered->region_count && err == ERR_OK; i++)
        if (catalog_group_region(g, ordered->regions[i]) == g->region_count)
            err = ERR_INVALID;
    if (err == ERR_OK && ordered->region_count != g->region_count)
        err = ERR_INVALID;
    if (err == ERR_OK)
        memcpy(g->regions, ordered->regions, sizeof(g->regions));
    else if (msg->text[0] == '\0')
        err_set(msg, err, "priority must name each of the regions once");
    mem_free(ordered);
    return err;
}

static int get_level(const struct worker *w, const struct json *j,
                     struct consistency_policy *out, struct err_msg *msg)
{
    struct consistency_policy want =
        catalog_group_number(w->catalog, GROUP_DEFAULT)->decision.consistency;
    char level[CATALOG_NAME_MAX + 1];
    int64_t prefix = 0, interval = 0;
    int named = placement_get_name(j, json_get_str(j, 0, "level"), level);
    if (named == ERR_INVALID ||
        (named == ERR_OK &&
         consistency_parse(bytes_str(level), &want.level) != ERR_OK))
        return err_set(msg, ERR_INVALID,
                       "level is one of Strong, BoundedStaleness, Session, "
                       "ConsistentPrefix and Eventual");
    int err = json_get_int64(j, 0, "max_staleness_prefix", &prefix);
    if (err == ERR_NOT_FOUND || err == ERR_OK)
        err = json_get_int64(j, 0, "max_staleness_interval", &interval);
    if ((err != ERR_OK && err != ERR_NOT_FOUND) || prefix < 0 ||
        prefix > INT32_MAX || interval < 0 || interval > INT32_MAX)
        return err_set(msg, ERR_INVALID,
                       "the bounds of staleness are whole numbers");
    if (prefix > 0)
        want.max_staleness_prefix = (int32_t)prefix;
    if (interval > 0)
        want.max_staleness_interval = (int32_t)interval;
    if (want.level == CONSISTENCY_BOUNDED &&
        (want.max_staleness_prefix == 0 || want.max_staleness_interval == 0))
        return err_set(msg, ERR_INVALID,
                       "BoundedStaleness needs max_staleness_prefix and "
                       "max_staleness_interval");
    *out = want;
    return ERR_OK;
}

/* Whether both regions of a group have as many members. */
static bool equal_shares(const struct config *c, const struct catalog_group *g)
{
    uint32_t first = 0;
    for (size_t i = 0; i < g->member_count; i++) {
        const struct config_region *r = NULL;
        CHECK(config_find_node(c, g->members[i], &r) != NULL);
        first += strcmp(r->name, g->regions[0]) == 0;
    }
    return 2 * first == g->member_count;
}

static int get_counts(const struct worker *w, const struct json *j,
                      struct catalog_group *g, struct err_msg *msg)
{
    const struct catalog_group *by =
        catalog_group_number(w->catalog, GROUP_DEFAULT);
    int64_t shards = by->shard_count < PLACEMENT_SHARDS_MAX
                         ? by->shard_count
                         : PLACEMENT_SHARDS_MAX;
    int64_t copies = 0;
    int err = json_get_int64(j, 0, "shards", &shards);
    if ((err != ERR_OK && err != ERR_NOT_FOUND) || shards < 1 ||
        shards > PLACEMENT_SHARDS_MAX)
        return err_set(msg, ERR_INVALID, "shards is a number from 1 to %d",
                       PLACEMENT_SHARDS_MAX);
    err = json_get_int64(j, 0, "copies_per_region", &copies);
    if ((err != ERR_OK && err != ERR_NOT_FOUND) || copies < 0 ||
        copies > GROUP_MEMBERS_MAX || (err == ERR_OK && copies == 0))
        return err_set(msg, ERR_INVALID,
                       "copies_per_region is a number from 1 to the nodes of a "
                       "region");
    g->shard_count = (uint16_t)shards;
    return placement_choose_members(w->node->config, (uint32_t)copies, g, msg);
}

/* Epochs go on from the meta shard's, which a recovery of survivors raises:
 * theirs is then newer than any that was decided before it. */
static void first_decision(const struct worker *w, struct catalog_group *g)
{
    const struct raft_config *meta =
        raft_config_committed(shard_raft(worker_replica(w, SHARD_META)->shard));
    struct group_decision *d = &g->decision;
    g->failback = true;
    d->epoch = meta->epoch + 1;
    d->at_us = clock_wall_us();
    strcpy(d->write_region, g->regions[0]);
    strcpy(d->from_region, g->regions[0]);
    strcpy(d->reason, "the group was created");
}

/* The first node of another region, for a group of two. */
static int get_witness(const struct worker *w, const struct json *j,
                       struct catalog_group *g, struct err_msg *msg)
{
    char name[CATALOG_NAME_MAX + 1];
    const struct config_region *r = NULL;
    int err = placement_get_name(j, json_get_str(j, 0, "witness"), name);
    if (err == ERR_NOT_FOUND)
        return ERR_OK;
    if (err == ERR_OK)
        r = config_find_region(w->node->config, name);
    if (r == NULL || catalog_group_region(g, name) < g->region_count)
        return err_set(msg, ERR_INVALID,
                       "witness must be a region of the cluster outside the "
                       "group's own");
    if (g->region_count != 2)
        return err_set(msg, ERR_INVALID,
                       "a witness is for a group of two regions; three need "
                       "none");
    if (!equal_shares(w->node->config, g))
        return err_set(msg, ERR_INVALID,
                       "with a witness both regions must have the same number "
                       "of members: set copies_per_region");
    if (g->member_count == GROUP_MEMBERS_MAX)
        return err_set(msg, ERR_INVALID,
                       "more than %d nodes: set "
                       "copies_per_region",
                       GROUP_MEMBERS_MAX);
    g->witness = (uint8_t)r->nodes[0].id;
    g->members[g->member_count++] = g->witness;
    placement_finish_members(g);
    return ERR_OK;
}

static int parse(const struct worker *w, const struct json *j,
                 struct catalog_group *g, struct err_msg *msg)
{
    if (placement_get_name(j, json_get_str(j, 0, "name"), g->name) != ERR_OK ||
        !name_legal(g->name))
        return err_set(msg, ERR_INVALID,
                       "name is 1 to %d lower-case letters, digits and '-', "
                       "and not reject",
                       CATALOG_NAME_MAX);
    if (catalog_group(w->catalog, g->name) != NULL)
        return err_set(msg, ERR_EXISTS,
                       "there is a placement group of that name");
    if (catalog_group_at(w->catalog, GROUPS_MAX - 1) != NULL)
        return err_set(msg, ERR_INVALID,
                       "there are %d placement groups already", GROUPS_MAX);
    if (!config_has_region_keys(w->node->config))
        return err_set(msg, ERR_INVALID,
                       "the regions have no keys, which a fenced group's keys "
                       "are wrapped for: make them with 'bastide init "
                       "--region-keys', and restart the nodes");
    const char *unproved = peers_unproved(w->peers);
    if (unproved != NULL)
        return err_set(msg, ERR_INVALID,
                       "node %s has not shown that it holds its region's key, "
                       "and would lose its links with the first fence: give it "
                       "its region.key, and the 'key' of each region, and "
                       "restart it",
                       unproved);
    int err = get_fence(w, j, g, msg);
    if (err == ERR_OK)
        err = get_level(w, j, &g->decision.consistency, msg);
    if (err == ERR_OK)
        err = placement_get_settings(w, j, g, msg);
    if (err == ERR_OK)
        err = get_counts(w, j, g, msg);
    return err == ERR_OK ? get_witness(w, j, g, msg) : err;
}

void placement_create(struct worker *w, struct http_request *r,
                      const struct json *j)
{
    struct err_msg msg = {.text = ""};
    if (catalog_group_number(w->catalog, GROUP_DEFAULT) == NULL) {
        control_refuse_err(r, ERR_UNAVAILABLE,
                           "this node does not know the account yet: try "
                           "again");
        return;
    }
    struct making *m = mem_zalloc(sizeof(*m));
    m->worker = w;
    m->request = r;
    buf_init(&m->body, OP_BODY_MAX);
    m->group.number = GROUP_DEFAULT + 1; /* for now: any fenced one */
    int err = feature_refuse(&w->node->features, FEATURE_GROUPS, &msg);
    if (err == ERR_OK)
        err = parse(w, j, &m->group, &msg);
    if (err != ERR_OK) {
        make_fail(m, err, msg.text);
        return;
    }
    first_decision(w, &m->group);
    const struct account_edit numbers = {.change = take_numbers,
                                         .done = numbers_taken,
                                         .user = m,
                                         .timeout_us = PLACEMENT_TIMEOUT_US};
    account_edit_begin(w, &numbers);
}
