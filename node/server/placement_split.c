#include "node/server/placement_split.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/base/rng.h"
#include "node/catalog/spread.h"
#include "node/json/json.h"
#include "node/server/account_edit.h"
#include "node/server/control_reply.h"
#include "node/server/group_edit.h"
#include "node/server/mover.h"
#include "node/server/placement.h"
#include "node/server/placement_parse.h"
#include "node/server/worker.h"

#define SPLIT_TIMEOUT_US (5 * USEC_PER_SEC)
#define SPLIT_PAGE 64

/* One request. */
struct split {
    struct worker *worker;
    struct http_request *request;
    char name[CATALOG_NAME_MAX + 1];
    uint16_t from, to; /* numbers of shards */
    uint16_t first;    /* of the new ones */
    uint32_t containers;
    struct op op;
    bool refused; /* the group's record was certainly not written */
    int err;      /* with which the order ends */
    struct err_msg why;
};

static void split_fail(struct split *s, int err, const char *why)
{
    control_refuse_err(s->request, err, why);
    mem_free(s);
}

static void answer(struct split *s, int status)
{
    struct buf body;
    struct json_writer w;
    buf_init(&body, CONTROL_ANSWER_MAX);
    json_writer_init(&w, &body);
    json_write_object_begin(&w);
    json_write_member_str(&w, "group", s->name);
    json_write_member_int64(&w, "from", s->from);
    json_write_member_int64(&w, "to", s->to);
    json_write_member_int64(&w, "containers", s->containers);
    json_write_object_end(&w);
    control_respond(s->request, status, &body);
    mem_free(s);
}

/* ---- whether it can be -----------------------------------------------------
 */

static int check_group(const struct catalog_group *g, uint16_t shards,
                       struct err_msg *msg)
{
    if (g->emptied.count > 0)
        return err_set(msg, ERR_BUSY,
                       "%s is being split already: see 'bastide placement "
                       "show'",
                       g->name);
    if (g->removing)
        return err_set(msg, ERR_INVALID, "%s is being removed", g->name);
    for (size_t i = 0; i < g->region_count; i++)
        if (g->coming[i] || g->leaving[i])
            return err_set(msg, ERR_BUSY,
                           "%s is changing its regions: wait until that is "
                           "done",
                           g->name);
    if (!g->decision.settled)
        return err_set(msg, ERR_BUSY,
                       "the shards of %s do not follow its last decision yet: "
                       "wait until it is settled",
                       g->name);
    if (catalog_group_fenced(g) && g->key_count < g->region_count)
        return err_set(msg, ERR_UNAVAILABLE,
                       "the keys of %s are not made yet: try again", g->name);
    if (shards <= g->shard_count || shards % g->shard_count != 0 ||
        shards > PLACEMENT_SPLIT_MAX)
        return err_set(msg, ERR_INVALID,
                       "%s has %u shards, and can be given a multiple of that, "
                       "so that each is split into equal parts; not more than "
                       "%d",
                       g->name, g->shard_count, PLACEMENT_SPLIT_MAX);
    return ERR_OK;
}

/* Whether a split can move what a container with a placement map has in the
 * group. */
static int check_part(const struct split *s, const struct container_def *def,
                      const struct catalog_group *g, struct err_msg *msg)
{
    struct err_msg why;
    int shown = (int)(def->name.len < 100 ? def->name.len : 100);
    uint32_t sum = spread_shards_with(s->worker->catalog, def->map, g, s->to);
    int err =
        feature_refuse(&s->worker->node->features, FEATURE_PART_MOVES, &why);
    if (err != ERR_OK)
        return err_set(msg, err,
                       "container %.*s is placed by partition key: %s", shown,
                       (const char *)def->name.data, why.text);
    if (sum > SPREAD_SHARDS_MAX)
        return err_set(msg, ERR_INVALID,
                       "container %.*s is placed by partition key, and the "
                       "groups of its rule would have %u shards in all: it can "
                       "use %u",
                       shown, (const char *)def->name.data, sum,
                       SPREAD_SHARDS_MAX);
    return ERR_OK;
}

/* Whether a split can move a container, or need not. */
static int check_container(const struct split *s,
                           const struct container_def *def,
                           const struct catalog_group *g, struct err_msg *msg)
{
    bool own = container_placed_in(def, bytes_str(g->name));
    int shown = (int)(def->name.len < 100 ? def->name.len : 100);
    if ((own && container_changes_group(def)) ||
        (def->move.phase != CONTAINER_STAYS &&
         catalog_move_other(s->worker->catalog, def) == g))
        return err_set(msg, ERR_BUSY,
                       "container %.*s is being moved: wait until that is done "
                       "(bastide placement move --status)",
                       shown, (const char *)def->name.data);
    return own && def->map != NULL ? check_part(s, def, g, msg) : ERR_OK;
}

/* Counts the group's containers; refuses those that a split cannot move. */
static int check_containers(struct split *s, const struct catalog_group *g,
                            struct err_msg *msg)
{
    struct container_def *list[SPLIT_PAGE];
    uint32_t after = 0;
    int err = ERR_OK;
    size_t n;
    s->containers = 0;
    do {
        n = catalog_list_all(s->worker->catalog, after, list, SPLIT_PAGE);
        for (size_t i = 0; err == ERR_OK && i < n; i++) {
            err = check_container(s, list[i], g, msg);
            s->containers += container_placed_in(list[i], bytes_str(g->name));
        }
        after = n > 0 ? list[n - 1]->number : 0;
    } while (n == SPLIT_PAGE && err == ERR_OK);
    return err;
}

/* ---- 2. the group's record -------------------------------------------------
 */

/* With whom the new shards' logs begin. Of group default, as long as nothing
 * was changed: those of the meta shard. */
static void first_members(const struct worker *w, struct catalog_group *g)
{
    struct catalog_group all = *g;
    const struct raft_config *meta =
        raft_config_committed(shard_raft(worker_replica(w, SHARD_META)->shard));
    for (uint32_t i = 0; g->member_count == 0 && i < meta->n; i++)
        all.members[all.member_count++] = (uint8_t)meta->members[i].id;
    placement_finish_members(&all);
    memcpy(g->first_members, all.first_members, sizeof(g->first_members));
    g->first_count = all.first_count;
    g->first_witness = all.first_witness;
}

static int change_split(void *user, struct catalog_group *g,
                        struct err_msg *msg)
{
    struct split *s = user;
    const struct catalog_group *known =
        catalog_group(s->worker->catalog, s->name);
    int err = check_group(g, s->to, msg);
    if (err == ERR_OK && known != NULL)
        err = check_containers(s, known, msg);
    if (err == ERR_OK) {
        s->from = g->shard_count;
        err = catalog_group_split(g, s->first, s->to, clock_wall_us());
        if (err != ERR_OK)
            err_set(msg, err, "the group was split too often");
    }
    s->refused = err != ERR_OK && !catalog_group_has_shard(g, s->first);
    if (err == ERR_OK)
        first_members(s->worker, g);
    return err;
}

static int give_back(void *user, struct catalog_account *a,
                     const struct etag *etag, struct err_msg *msg)
{
    const struct split *s = user;
    (void)etag;
    if (a->next_shard != s->first + s->to)
        return err_set(msg, ERR_EXISTS, "others have taken some since");
    a->next_shard = s->first;
    return ERR_OK;
}

/* Whether they were given back or not. */
static void given_back(void *user, int err, const struct catalog_account *a,
                       const struct etag *etag, const struct err_msg *msg)
{
    struct split *s = user;
    (void)err;
    (void)a;
    (void)etag;
    (void)msg;
    split_fail(s, s->err, s->why.text);
}

/* The numbers are not used: there is only a limited number of them. */
static void split_refused(struct split *s, int err, const char *why)
{
    const struct account_edit edit = {.change = give_back,
                                      .done = given_back,
                                      .user = s,
                                      .timeout_us = SPLIT_TIMEOUT_US};
    s->err = err;
    snprintf(s->why.text, sizeof(s->why.text), "%s", why);
    account_edit_begin(s->worker, &edit);
}

static void group_written(void *user, int err,
                          const struct govern_record *record,
                          const struct err_msg *msg)
{
    struct split *s = user;
    (void)record;
    if (err == ERR_OK)
        answer(s, 202);
    else if (s->refused)
        split_refused(s, err, msg->text);
    else
        split_fail(s, err, msg->text);
}

static void edit_group(struct split *s)
{
    const char *who = s->request->peer_uri;
    struct group_edit edit = {.change_group = change_split,
                              .done = group_written,
                              .user = s,
                              .timeout_us = SPLIT_TIMEOUT_US};
    snprintf(edit.group, sizeof(edit.group), "%s", s->name);
    snprintf(edit.who, sizeof(edit.who), "%s", who != NULL ? who : "?");
    snprintf(edit.what, sizeof(edit.what),
             "split placement group %s: %u shards become %u", s->name, s->from,
             s->to);
    group_edit_begin(s->worker, &edit);
}

/* ---- 1. numbers ------------------------------------------------------------
 */

static int take_numbers(void *user, struct catalog_account *a,
                        const struct etag *etag, struct err_msg *msg)
{
    struct split *s = user;
    (void)etag;
    placement_first_numbers(s->worker, a);
    if (a->next_shard + s->to > NODE_SHARDS_MAX)
        return err_set(msg, ERR_INVALID,
                       "the cluster's groups have had %u shards, and there may "
                       "be %d in all: numbers are not used again",
                       a->next_shard, NODE_SHARDS_MAX);
    s->first = a->next_shard;
    a->next_shard = (uint16_t)(a->next_shard + s->to);
    return ERR_OK;
}

static void catalog_current(void *user, struct op_result *result)
{
    struct split *s = user;
    if (result->err == ERR_OK)
        edit_group(s);
    else
        split_refused(s, result->err, "the meta shard does not answer");
}

/* The containers are looked at once more in a catalog that is not older than
 * the order. */
static void numbers_taken(void *user, int err, const struct catalog_account *a,
                          const struct etag *etag, const struct err_msg *msg)
{
    struct split *s = user;
    (void)a;
    (void)etag;
    if (err != ERR_OK) {
        split_fail(s, err, msg->text);
        return;
    }
    s->op = (struct op){.kind = OP_BARRIER, .shard = SHARD_META};
    rng_fill(s->op.id, OP_ID_LEN);
    backend_submit(&s->worker->router.backend, &s->op, SPLIT_TIMEOUT_US,
                   catalog_current, s);
}

static void begin(struct split *s)
{
    const struct account_edit edit = {.change = take_numbers,
                                      .done = numbers_taken,
                                      .user = s,
                                      .timeout_us = SPLIT_TIMEOUT_US};
    account_edit_begin(s->worker, &edit);
}

/* ---- the request -----------------------------------------------------------
 */

static int parse(struct split *s, const struct json *j, bool *dry_run,
                 struct err_msg *msg)
{
    const struct catalog_group *g = NULL;
    int64_t shards = 0;
    if (placement_get_name(j, json_get_str(j, 0, "group"), s->name) == ERR_OK)
        g = catalog_group(s->worker->catalog, s->name);
    if (g == NULL)
        return err_set(msg, ERR_NOT_FOUND, "group must name a placement group");
    if (json_get_int64(j, 0, "shards", &shards) != ERR_OK || shards < 1 ||
        shards > PLACEMENT_SPLIT_MAX)
        return err_set(msg, ERR_INVALID, "shards is a number from 1 to %d",
                       PLACEMENT_SPLIT_MAX);
    if (placement_get_dry_run(j, dry_run, msg) != ERR_OK)
        return ERR_INVALID;
    s->from = g->shard_count;
    s->to = (uint16_t)shards;
    int err = check_group(g, s->to, msg);
    return err == ERR_OK ? check_containers(s, g, msg) : err;
}

void placement_split(struct worker *w, struct http_request *r,
                     const struct json *j)
{
    struct err_msg msg = {.text = ""};
    bool dry_run = false;
    struct split *s = mem_zalloc(sizeof(*s));
    s->worker = w;
    s->request = r;
    int err = feature_refuse(&w->node->features, FEATURE_PARTS, &msg);
    if (err == ERR_OK)
        err = parse(s, j, &dry_run, &msg);
    if (err != ERR_OK)
        split_fail(s, err, msg.text);
    else if (dry_run)
        answer(s, 200);
    else
        begin(s);
}
