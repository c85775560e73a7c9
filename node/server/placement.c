#include "node/server/placement.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failover/fence.h"
#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/base/rng.h"
#include "node/json/json.h"
#include "node/server/control_reply.h"
#include "node/server/decision.h"
#include "node/server/governor.h"
#include "node/server/group_edit.h"
#include "node/server/peers.h"
#include "node/server/worker.h"

#define PLACEMENT_TIMEOUT_US (5 * USEC_PER_SEC)
/* Times that numbers are asked for because another was faster. */
#define PLACEMENT_TRIES 5

/* One group being made. */
struct making {
    struct worker *worker;
    struct http_request *request;
    struct catalog_group group;
    uint32_t tries;
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

/* Runs m->op, whose kind and what goes with it are set. */
static void submit(struct making *m, uint32_t container, const char *id,
                   op_done_cb *done)
{
    m->op.shard = SHARD_META;
    rng_fill(m->op.id, OP_ID_LEN);
    cosmos_address(m->worker->meta_hash, container, bytes_of(NULL, 0),
                   bytes_str(id), &m->op.at);
    backend_submit(&m->worker->router.backend, &m->op, PLACEMENT_TIMEOUT_US,
                   done, m);
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
                 "a witness, would keep them going",
                 g->name);
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
    out[buf_len(&text)] = '\0';
}

static struct op write_op(const struct making *m, enum op_write_mode mode)
{
    return (struct op){.kind = OP_WRITE,
                       .mode = mode,
                       .resource = OP_RESOURCE_INTERNAL,
                       .body =
                           bytes_of(buf_bytes(&m->body), buf_len(&m->body))};
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

static void read_account(struct making *m);

static void numbers_taken(void *user, struct op_result *result)
{
    struct making *m = user;
    if (result->err == ERR_PRECONDITION && ++m->tries < PLACEMENT_TRIES) {
        read_account(m);
        return;
    }
    if (result->err != ERR_OK) {
        make_failed(m,
                    result->err == ERR_PRECONDITION ? ERR_AGAIN : result->err);
        return;
    }
    buf_clear(&m->body);
    CHECK(catalog_group_format(&m->group, &m->body) == ERR_OK);
    log_info("creating placement group", LOG_STR("group", m->group.name),
             LOG_UINT("shards", m->group.shard_count));
    m->op = write_op(m, OP_CREATE);
    submit(m, CONTAINER_GROUPS, m->group.name, group_written);
}

/* The first free ones, when no group but default was ever made. */
static void first_numbers(const struct worker *w, struct catalog_account *a)
{
    const struct catalog_group *g =
        catalog_group_number(w->catalog, GROUP_DEFAULT);
    CHECK(g != NULL);
    if (a->next_group > 0)
        return;
    a->next_group = GROUP_DEFAULT + 1;
    a->next_shard = (uint16_t)(g->first_shard + g->shard_count);
}

static void account_read(void *user, struct op_result *result)
{
    struct making *m = user;
    struct catalog_account a;
    struct err_msg msg;
    int err = result->err;
    if (err == ERR_OK)
        err = catalog_account_parse(
            bytes_of(buf_bytes(&result->body), buf_len(&result->body)), &a,
            &msg);
    if (err != ERR_OK) {
        make_failed(m, err);
        return;
    }
    first_numbers(m->worker, &a);
    struct catalog_group *g = &m->group;
    if (a.next_shard + g->shard_count > NODE_SHARDS_MAX) {
        err_set(&msg, ERR_INVALID,
                "the cluster's groups have had %u shards, and there may be %d "
                "in all",
                a.next_shard, NODE_SHARDS_MAX);
        make_fail(m, ERR_INVALID, msg.text);
        return;
    }
    g->number = a.next_group++;
    g->first_shard = a.next_shard;
    a.next_shard = (uint16_t)(a.next_shard + g->shard_count);
    buf_clear(&m->body);
    CHECK(catalog_account_format(&a, &m->body) == ERR_OK);
    m->op = write_op(m, OP_REPLACE);
    m->op.condition = OP_COND_IF_MATCH;
    m->op.etag = result->etag;
    submit(m, CONTAINER_ACCOUNT, "account", numbers_taken);
}

static void read_account(struct making *m)
{
    m->op = (struct op){.kind = OP_READ};
    submit(m, CONTAINER_ACCOUNT, "account", account_read);
}

/* ---- 1. what is asked for ---------------------------------------------------
 */

/* Lower-case letters, digits and '-', as in certificates and file names. */
static bool name_legal(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return len > 0 && name[len] == '\0' && name[0] != '-';
}

/* A string member of at most CATALOG_NAME_MAX bytes. ERR_NOT_FOUND,
 * ERR_INVALID. */
static int get_name(const struct json *j, json_ref value,
                    char out[CATALOG_NAME_MAX + 1])
{
    char storage[CATALOG_NAME_MAX * 6 + 2];
    struct buf scratch = buf_over(storage, sizeof(storage));
    struct bytes text;
    if (value == JSON_NONE)
        return ERR_NOT_FOUND;
    if (json_type(j, value) != JSON_STRING ||
        json_string(j, value, &scratch, &text) != ERR_OK || text.len == 0 ||
        text.len > CATALOG_NAME_MAX || memchr(text.data, 0, text.len) != NULL)
        return ERR_INVALID;
    memcpy(out, text.data, text.len);
    out[text.len] = '\0';
    return ERR_OK;
}

/* The regions of `key`, each a known one and once, into `names`. */
static int get_regions(const struct worker *w, const struct json *j,
                       const char *key, struct catalog_group *g,
                       struct err_msg *msg)
{
    json_ref list = json_get_str(j, 0, key);
    g->region_count = 0;
    if (list == JSON_NONE || json_type(j, list) != JSON_ARRAY ||
        json_count(j, list) == 0 || json_count(j, list) > GROUP_REGIONS_MAX)
        return err_set(msg, ERR_INVALID, "%s must be an array of regions", key);
    for (json_ref v = json_first(j, list); v != JSON_NONE;
         v = json_next(j, list, v)) {
        char name[CATALOG_NAME_MAX + 1];
        if (get_name(j, v, name) != ERR_OK ||
            config_find_region(w->node->config, name) == NULL)
            return err_set(msg, ERR_INVALID,
                           "%s names a region that the cluster does not have",
                           key);
        if (catalog_group_region(g, name) < g->region_count)
            return err_set(msg, ERR_INVALID, "%s names %s twice", key, name);
        strcpy(g->regions[g->region_count++], name);
    }
    return ERR_OK;
}

/* `priority` orders `regions`. */
static int get_fence(const struct worker *w, const struct json *j,
                     struct catalog_group *g, struct err_msg *msg)
{
    struct catalog_group *ordered;
    int err = get_regions(w, j, "regions", g, msg);
    if (err != ERR_OK || json_get_str(j, 0, "priority") == JSON_NONE)
        return err;
    ordered = mem_zalloc(sizeof(*ordered));
    err = get_regions(w, j, "priority", ordered, msg);
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
    int named = get_name(j, json_get_str(j, 0, "level"), level);
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

static int by_id(const void *a, const void *b)
{
    return *(const uint8_t *)a - *(const uint8_t *)b;
}

/* In order, and as those with which the logs begin. */
static void finish_members(struct catalog_group *g)
{
    qsort(g->members, g->member_count, 1, by_id);
    memcpy(g->first_members, g->members, sizeof(g->members));
    g->first_count = g->member_count;
}

/* The first `copies` nodes of each region; all, if 0. */
static int choose_members(const struct config *c, uint32_t copies,
                          struct catalog_group *g, struct err_msg *msg)
{
    for (size_t i = 0; i < c->region_count; i++) {
        const struct config_region *r = &c->regions[i];
        if (catalog_group_region(g, r->name) == g->region_count &&
            !FENCE_OPEN(MEMBERSHIP))
            continue;
        if (copies > r->node_count)
            return err_set(msg, ERR_INVALID,
                           "copies_per_region is %u, and %s has %zu nodes",
                           copies, r->name, r->node_count);
        size_t n = copies > 0 ? copies : r->node_count;
        for (size_t k = 0; k < n; k++) {
            if (g->member_count == GROUP_MEMBERS_MAX)
                return err_set(msg, ERR_INVALID,
                               "more than %d nodes: set copies_per_region",
                               GROUP_MEMBERS_MAX);
            g->members[g->member_count++] = (uint8_t)r->nodes[k].id;
        }
    }
    finish_members(g);
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

/* Members in each of the group's regions; 0: all nodes. */
static uint32_t copies_of(const struct config *c, const struct catalog_group *g)
{
    uint32_t first = 0;
    if (!catalog_group_fenced(g))
        return 0;
    for (size_t i = 0; i < g->member_count; i++) {
        const struct config_region *region = NULL;
        if (config_find_node(c, g->members[i], &region) != NULL &&
            strcmp(region->name, g->regions[0]) == 0)
            first++;
    }
    const struct config_region *r = config_find_region(c, g->regions[0]);
    return r != NULL && first == r->node_count ? 0 : first;
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
    return choose_members(w->node->config, (uint32_t)copies, g, msg);
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
    int err = get_name(j, json_get_str(j, 0, "witness"), name);
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
    finish_members(g);
    return ERR_OK;
}

static int parse(const struct worker *w, const struct json *j,
                 struct catalog_group *g, struct err_msg *msg)
{
    if (get_name(j, json_get_str(j, 0, "name"), g->name) != ERR_OK ||
        !name_legal(g->name))
        return err_set(msg, ERR_INVALID,
                       "name is 1 to %d lower-case letters, digits and '-'",
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
    int err = get_fence(w, j, g, msg);
    if (err == ERR_OK)
        err = get_level(w, j, &g->decision.consistency, msg);
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
    read_account(m);
}

/* ---- another fence ----------------------------------------------------------
 */

/* One request to change a group's regions. */
struct fencing {
    struct worker *worker;
    struct http_request *request;
    struct catalog_group wanted; /* regions and members of it */
    struct govern_record before;
    char name[CATALOG_NAME_MAX + 1];
};

/* Of group default, as long as nothing was changed: those of the meta shard. */
static void present_members(const struct worker *w, struct govern_record *r)
{
    const struct raft_config *meta =
        raft_config_committed(shard_raft(worker_replica(w, SHARD_META)->shard));
    for (uint32_t i = 0; i < meta->n; i++)
        r->members[r->n_members++] = (struct govern_member){
            .id = meta->members[i].id, .region = meta->members[i].region};
}

static int change_regions(void *user, const struct govern_record *now,
                          struct govern_record *next_out, struct err_msg *msg)
{
    struct fencing *f = user;
    const struct config *c = f->worker->node->config;
    struct govern_member members[GROUP_MEMBERS_MAX];
    raft_region priority[GROUP_REGIONS_MAX];
    f->before = *now;
    if (f->before.n_members == 0)
        present_members(f->worker, &f->before);
    for (size_t i = 0; i < f->wanted.member_count; i++) {
        const struct config_region *region = NULL;
        CHECK(config_find_node(c, f->wanted.members[i], &region) != NULL);
        members[i] =
            (struct govern_member){.id = f->wanted.members[i],
                                   .region = decision_region(c, region->name)};
    }
    for (size_t i = 0; i < f->wanted.region_count; i++)
        priority[i] = decision_region(c, f->wanted.regions[i]);
    int err = govern_set_members(
        now, members, f->wanted.member_count, priority, f->wanted.region_count,
        clock_wall_us(), "an administrator changed the fence", next_out);
    switch (err) {
    case ERR_EXISTS:
        return err_set(msg, err, "the group has these regions already");
    case ERR_BUSY:
        return err_set(msg, err,
                       "the change before is not finished: see 'bastide "
                       "placement show'");
    case ERR_UNSUPPORTED:
        return err_set(msg, ERR_INVALID,
                       "the group has a witness, which needs the two regions "
                       "that it was made for");
    case ERR_UNAVAILABLE:
        return err_set(msg, ERR_INVALID,
                       "none of the regions that stay can take the writes over "
                       "now: keep one that is up until the others have joined");
    default:
        return err;
    }
}

/* The names of nodes that are in `a` and not in `b`. */
static void put_difference(struct json_writer *w, const char *key,
                           const struct config *c,
                           const struct govern_record *a,
                           const struct govern_record *b)
{
    json_write_key(w, key);
    json_write_array_begin(w);
    for (uint32_t i = 0; i < a->n_members; i++) {
        bool in_both = false;
        for (uint32_t k = 0; k < b->n_members; k++)
            in_both |= a->members[i].id == b->members[k].id;
        if (!in_both)
            json_write_str(w,
                           config_find_node(c, a->members[i].id, NULL)->name);
    }
    json_write_array_end(w);
}

static void put_regions_of(struct json_writer *w, const char *key,
                           const struct config *c,
                           const struct govern_record *r, govern_regions which)
{
    json_write_key(w, key);
    json_write_array_begin(w);
    for (uint32_t i = 0; i < r->n_regions; i++)
        if ((which & govern_region_bit(r->priority[i])) != 0)
            json_write_str(w, decision_region_name(c, r->priority[i]));
    json_write_array_end(w);
}

static govern_regions all_regions(const struct govern_record *r)
{
    govern_regions all = 0;
    for (uint32_t i = 0; i < r->n_regions; i++)
        all |= govern_region_bit(r->priority[i]);
    return all;
}

static void answer_regions(const struct fencing *f,
                           const struct govern_record *next, int status)
{
    const struct config *c = f->worker->node->config;
    struct buf body;
    struct json_writer w;
    buf_init(&body, CONTROL_ANSWER_MAX);
    json_writer_init(&w, &body);
    json_write_object_begin(&w);
    json_write_member_int64(&w, "epoch", next->epoch);
    put_regions_of(&w, "comes", c, next,
                   all_regions(next) & ~all_regions(&f->before));
    put_regions_of(&w, "goes", c, next, next->leaving);
    put_difference(&w, "nodes_come", c, next, &f->before);
    put_difference(&w, "nodes_go", c, &f->before, next);
    json_write_member_str(&w, "write_region",
                          decision_region_name(c, next->write_region));
    json_write_object_end(&w);
    control_respond(f->request, status, &body);
}

static void regions_changed(void *user, int err,
                            const struct govern_record *record,
                            const struct err_msg *msg)
{
    struct fencing *f = user;
    if (err != ERR_OK)
        control_refuse_err(f->request, err, msg->text);
    else
        answer_regions(f, record, 202);
    mem_free(f);
}

static void preview(struct fencing *f, const struct catalog_group *g)
{
    struct govern_record now, next;
    struct err_msg msg = {.text = ""};
    int err = decision_of_group(f->worker->node->config, g, &now);
    if (err == ERR_OK)
        err = change_regions(f, &now, &next, &msg);
    if (err != ERR_OK)
        control_refuse_err(f->request, err, msg.text);
    else
        answer_regions(f, &next, 200);
    mem_free(f);
}

static void begin_regions(struct fencing *f)
{
    const struct http_request *r = f->request;
    struct group_edit edit = {.change = change_regions,
                              .done = regions_changed,
                              .user = f,
                              .timeout_us = PLACEMENT_TIMEOUT_US};
    snprintf(edit.group, sizeof(edit.group), "%s", f->name);
    snprintf(edit.who, sizeof(edit.who), "%s",
             r->peer_uri != NULL ? r->peer_uri : "?");
    snprintf(edit.what, sizeof(edit.what), "change fence of %s", f->name);
    group_edit_begin(f->worker, &edit);
}

/* The id of a node in one of the group's regions; 0: there is none. */
static uint32_t node_in(const struct config *c, const struct catalog_group *g,
                        const char *name)
{
    for (size_t i = 0; i < g->region_count; i++) {
        const struct config_region *r = config_find_region(c, g->regions[i]);
        for (size_t k = 0; k < r->node_count; k++)
            if (strcmp(r->nodes[k].name, name) == 0)
                return r->nodes[k].id;
    }
    return 0;
}

/* The nodes that `nodes` names, or all that the group should have there. */
static int get_members(const struct worker *w, const struct json *j,
                       const struct catalog_group *g,
                       struct catalog_group *wanted, struct err_msg *msg)
{
    const struct config *c = w->node->config;
    json_ref list = json_get_str(j, 0, "nodes");
    if (list == JSON_NONE)
        return choose_members(c, copies_of(c, g), wanted, msg);
    if (json_type(j, list) != JSON_ARRAY ||
        json_count(j, list) > GROUP_MEMBERS_MAX)
        return err_set(msg, ERR_INVALID,
                       "nodes must be an array of at most %d names",
                       GROUP_MEMBERS_MAX);
    for (json_ref v = json_first(j, list); v != JSON_NONE;
         v = json_next(j, list, v)) {
        char name[CATALOG_NAME_MAX + 1];
        uint32_t id =
            get_name(j, v, name) == ERR_OK ? node_in(c, wanted, name) : 0;
        if (id == 0 ||
            memchr(wanted->members, (int)id, wanted->member_count) != NULL)
            return err_set(msg, ERR_INVALID,
                           "nodes names one twice, or one that is not in the "
                           "regions");
        wanted->members[wanted->member_count++] = (uint8_t)id;
    }
    qsort(wanted->members, wanted->member_count, 1, by_id);
    return ERR_OK;
}

/* A change would hang, or cost the majority, if too few of those who are to be
 * the members are there. */
static int check_alive(const struct worker *w, const struct catalog_group *g,
                       struct err_msg *msg)
{
    const struct config *c = w->node->config;
    uint32_t up = 0;
    const char *missing = NULL;
    for (size_t i = 0; i < g->member_count; i++) {
        uint32_t id = g->members[i];
        if (id == c->id || peers_up(w->peers, id))
            up++;
        else
            missing = config_find_node(c, id, NULL)->name;
    }
    if (up > g->member_count / 2)
        return ERR_OK;
    return err_set(msg, ERR_BUSY,
                   "only %u of the %u nodes that would be the members are in "
                   "reach of %s, which is no majority; %s is missing: start it "
                   "first",
                   up, g->member_count, c->node,
                   missing != NULL ? missing : "?");
}

void placement_regions(struct worker *w, struct http_request *r,
                       const struct json *j)
{
    struct err_msg msg = {.text = ""};
    struct fencing *f = mem_zalloc(sizeof(*f));
    bool dry_run = false;
    const struct catalog_group *g = NULL;
    f->worker = w;
    f->request = r;
    int err = get_name(j, json_get_str(j, 0, "group"), f->name);
    if (err == ERR_OK)
        g = catalog_group(w->catalog, f->name);
    if (g == NULL)
        err = err_set(&msg, ERR_NOT_FOUND, "group must name a placement group");
    if (err == ERR_OK)
        err = feature_refuse(&w->node->features, FEATURE_GROUPS, &msg);
    if (err == ERR_OK)
        err = get_regions(w, j, "regions", &f->wanted, &msg);
    if (err == ERR_OK)
        err = get_members(w, j, g, &f->wanted, &msg);
    if (err == ERR_OK && json_get_str(j, 0, "dry_run") != JSON_NONE &&
        json_get_bool(j, 0, "dry_run", &dry_run) != ERR_OK)
        err = err_set(&msg, ERR_INVALID, "dry_run must be true or false");
    if (err != ERR_OK) {
        control_refuse_err(r, err, msg.text);
        mem_free(f);
    } else if (dry_run) {
        preview(f, g);
    } else if ((err = check_alive(w, &f->wanted, &msg)) != ERR_OK) {
        control_refuse_err(r, err, msg.text);
        mem_free(f);
    } else {
        begin_regions(f);
    }
}

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
    json_write_key(w, "witness");
    if (g->witness > 0)
        json_write_str(
            w, config_find_node(worker->node->config, g->witness, NULL)->name);
    else
        json_write_null(w);
    json_write_member_int64(w, "first_shard", g->first_shard);
    json_write_member_int64(w, "shards", g->shard_count);
    json_write_member_str(w, "level", consistency_name(d->consistency.level));
    json_write_member_int64(w, "max_staleness_prefix",
                            d->consistency.max_staleness_prefix);
    json_write_member_int64(w, "max_staleness_interval",
                            d->consistency.max_staleness_interval);
    json_write_member_str(w, "write_region", d->write_region);
    json_write_member_int64(w, "epoch", d->epoch);
    json_write_member_bool(w, "settled", d->settled);
    json_write_member_str(w, "failback", g->failback ? "automatic" : "manual");
    json_write_key(w, "keys_for");
    json_write_array_begin(w);
    for (size_t i = 0; i < g->key_count; i++)
        json_write_str(w, g->keys[i].region);
    json_write_array_end(w);
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
/* An answer ends before the next entry might not fit: two names, escaped. */
#define CONTAINERS_ROOM (CONTROL_ANSWER_MAX - 13u * RESOURCE_NAME_BYTES_MAX)

struct containers {
    const struct worker *worker;
    struct bytes group;
    struct buf body;
    struct json_writer out;
    bool more; /* than an answer holds */
};

static bool container_in(const struct container_def *def, struct bytes group)
{
    return bytes_equal(def->placement, group) ||
           (def->placement.len == 0 &&
            bytes_equal(group, bytes_str(GROUP_DEFAULT_NAME)));
}

static void put_container(struct containers *l,
                          const struct catalog_database *db,
                          const struct container_def *def)
{
    if (!container_in(def, l->group))
        return;
    if (buf_len(&l->body) > CONTAINERS_ROOM) {
        l->more = true;
        return;
    }
    json_write_object_begin(&l->out);
    json_write_member_string(&l->out, "database", db->name);
    json_write_member_string(&l->out, "container", def->name);
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
