#include "node/server/placement.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/json/json.h"
#include "node/server/control_reply.h"
#include "node/server/decision.h"
#include "node/server/group_edit.h"
#include "node/server/peers.h"
#include "node/server/placement_parse.h"
#include "node/server/worker.h"

#define REGIONS_TIMEOUT_US (5 * USEC_PER_SEC)

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
                       "the group has a witness, which needs two regions "
                       "beside its own, with as many nodes each as now; those "
                       "of a region that stays must stay, too");
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
    int err = decision_of_group(f->worker->node->config, g, &now, &msg);
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
                              .timeout_us = REGIONS_TIMEOUT_US};
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

/* A witness stays, whatever the regions are. */
static int keep_witness(const struct catalog_group *g,
                        struct catalog_group *wanted, struct err_msg *msg)
{
    if (g->witness == 0 ||
        memchr(wanted->members, g->witness, wanted->member_count) != NULL)
        return ERR_OK;
    if (wanted->member_count == GROUP_MEMBERS_MAX)
        return err_set(msg, ERR_INVALID, "more than %d nodes",
                       GROUP_MEMBERS_MAX);
    wanted->members[wanted->member_count++] = g->witness;
    placement_finish_members(wanted);
    return ERR_OK;
}

/* The nodes that `nodes` names, or all that the group should have there. */
static int get_members(const struct worker *w, const struct json *j,
                       const struct catalog_group *g,
                       struct catalog_group *wanted, struct err_msg *msg)
{
    const struct config *c = w->node->config;
    json_ref list = json_get_str(j, 0, "nodes");
    if (list == JSON_NONE) {
        int err =
            placement_choose_members(c, placement_copies_of(c, g), wanted, msg);
        return err == ERR_OK ? keep_witness(g, wanted, msg) : err;
    }
    if (json_type(j, list) != JSON_ARRAY ||
        json_count(j, list) > GROUP_MEMBERS_MAX)
        return err_set(msg, ERR_INVALID,
                       "nodes must be an array of at most %d names",
                       GROUP_MEMBERS_MAX);
    for (json_ref v = json_first(j, list); v != JSON_NONE;
         v = json_next(j, list, v)) {
        char name[CATALOG_NAME_MAX + 1];
        uint32_t id = placement_get_name(j, v, name) == ERR_OK
                          ? node_in(c, wanted, name)
                          : 0;
        if (id == 0 ||
            memchr(wanted->members, (int)id, wanted->member_count) != NULL)
            return err_set(msg, ERR_INVALID,
                           "nodes names one twice, or one that is not in the "
                           "regions");
        wanted->members[wanted->member_count++] = (uint8_t)id;
    }
    placement_finish_members(wanted);
    return keep_witness(g, wanted, msg);
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
    int err = placement_get_name(j, json_get_str(j, 0, "group"), f->name);
    if (err == ERR_OK)
        g = catalog_group(w->catalog, f->name);
    if (g == NULL)
        err = err_set(&msg, ERR_NOT_FOUND, "group must name a placement group");
    else if (g->emptied.count > 0)
        err = err_set(&msg, ERR_BUSY,
                      "%s is being split: wait until that is done (bastide "
                      "placement show)",
                      g->name);
    if (err == ERR_OK)
        err = feature_refuse(&w->node->features, FEATURE_GROUPS, &msg);
    if (err == ERR_OK)
        err = placement_get_regions(w, j, "regions", &f->wanted, &msg);
    if (err == ERR_OK)
        err = get_members(w, j, g, &f->wanted, &msg);
    if (err == ERR_OK)
        err = placement_get_dry_run(j, &dry_run, &msg);
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
