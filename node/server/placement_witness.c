/* A witness for a group that has two regions, another one, or none any more. */
#include <stdio.h>
#include <string.h>

#include "node/base/mem.h"
#include "node/json/json.h"
#include "node/server/control_reply.h"
#include "node/server/decision.h"
#include "node/server/group_edit.h"
#include "node/server/peers.h"
#include "node/server/placement.h"
#include "node/server/placement_parse.h"
#include "node/server/worker.h"

#define WITNESS_TIMEOUT_US (5 * USEC_PER_SEC)

/* One request. */
struct witnessing {
    struct worker *worker;
    struct http_request *request;
    char name[CATALOG_NAME_MAX + 1];
    struct govern_member wanted; /* id 0: none */
    raft_id before;
};

/* ---- the change -------------------------------------------------------------
 */

static bool is_up(const struct worker *w, raft_id node)
{
    return node == w->node->config->id || peers_up(w->peers, node);
}

static const char *name_of(const struct worker *w, raft_id node)
{
    return config_find_node(w->node->config, node, NULL)->name;
}

static bool majority_is_up(const struct worker *w,
                           const struct govern_record *r)
{
    uint32_t up = 0;
    for (uint32_t i = 0; i < r->n_members; i++)
        up += is_up(w, r->members[i].id);
    return up > r->n_members / 2;
}

/* Who votes before and who votes after must both agree to it: the change would
 * hang, and with it all writes. */
static int check_alive(const struct worker *w, const struct govern_record *now,
                       const struct govern_record *next, struct err_msg *msg)
{
    const struct config *c = w->node->config;
    if (next->witness.id != 0 && !is_up(w, next->witness.id))
        return err_set(msg, ERR_BUSY,
                       "%s, which would be the witness, is not in reach of %s: "
                       "start it first",
                       name_of(w, next->witness.id), c->node);
    if (!majority_is_up(w, now) || !majority_is_up(w, next))
        return err_set(msg, ERR_BUSY,
                       "too few of the group's nodes are in reach of %s: a "
                       "majority of those who vote now, and of those who would "
                       "then, has to agree; start the others first",
                       c->node);
    return ERR_OK;
}

static int explain_busy(const struct worker *w, const struct govern_record *now,
                        struct err_msg *msg)
{
    const struct govern_member *before = &now->witness_leaving;
    if (!now->witness_coming)
        return err_set(msg, ERR_BUSY,
                       "the change before is not finished: see 'bastide "
                       "placement show'");
    return err_set(msg, ERR_BUSY,
                   "not all shards have the witness %s yet: see 'bastide "
                   "placement show'; if it cannot be started, take it back "
                   "with %s%s",
                   name_of(w, now->witness.id),
                   before->id == 0 ? "--no-witness" : "--witness ",
                   before->id == 0
                       ? ""
                       : decision_region_name(w->node->config, before->region));
}

static int explain(const struct worker *w, const struct govern_record *now,
                   int err, struct err_msg *msg)
{
    switch (err) {
    case ERR_EXISTS:
        return now->witness.id == 0
                   ? err_set(msg, err, "it is so already")
                   : err_set(msg, err,
                             "it is so already: the witness is %s; if that is "
                             "lost, repair it, or name another region",
                             name_of(w, now->witness.id));
    case ERR_BUSY:
        return explain_busy(w, now, msg);
    case ERR_UNSUPPORTED:
        return err_set(msg, ERR_INVALID,
                       "a witness is for a group of two regions with the same "
                       "number of nodes each, and in a region outside of it");
    case ERR_LIMIT:
        return err_set(msg, ERR_INVALID, "the group has too many nodes");
    default:
        return err;
    }
}

static int change_witness(void *user, const struct govern_record *now,
                          struct govern_record *next_out, struct err_msg *msg)
{
    struct witnessing *s = user;
    s->before = now->witness.id;
    int err =
        govern_set_witness(now, s->wanted, clock_wall_us(),
                           "an administrator changed the witness", next_out);
    return err == ERR_OK ? check_alive(s->worker, now, next_out, msg)
                         : explain(s->worker, now, err, msg);
}

static int check_group(void *user, struct catalog_group *g, struct err_msg *msg)
{
    (void)user;
    if (!catalog_group_fenced(g))
        return err_set(msg, ERR_INVALID,
                       "%s is in every region: there is none outside of it",
                       g->name);
    if (g->removing)
        return err_set(msg, ERR_BUSY, "%s is being removed", g->name);
    if (g->emptied.count > 0)
        return err_set(msg, ERR_BUSY,
                       "%s is being split: wait until that is done (bastide "
                       "placement show)",
                       g->name);
    return ERR_OK;
}

/* ---- the answer -------------------------------------------------------------
 */

static void answer(const struct witnessing *s, const struct govern_record *next,
                   int status)
{
    const struct config *c = s->worker->node->config;
    struct buf body;
    struct json_writer w;
    buf_init(&body, CONTROL_ANSWER_MAX);
    json_writer_init(&w, &body);
    json_write_object_begin(&w);
    json_write_member_int64(&w, "epoch", next->epoch);
    placement_put_node(&w, "comes", c, next->witness.id);
    placement_put_node(&w, "goes", c, s->before);
    json_write_key(&w, "warnings");
    json_write_array_begin(&w);
    if (next->witness.id == 0)
        json_write_str(&w, "losing either region stops writes until it is "
                           "back, since neither alone is a majority");
    json_write_array_end(&w);
    json_write_object_end(&w);
    control_respond(s->request, status, &body);
}

static void witness_changed(void *user, int err,
                            const struct govern_record *record,
                            const struct err_msg *msg)
{
    struct witnessing *s = user;
    if (err == ERR_OK)
        answer(s, record, 202);
    else
        control_refuse_err(s->request, err, msg->text);
    mem_free(s);
}

static void begin(struct witnessing *s)
{
    const struct http_request *r = s->request;
    struct group_edit edit = {.change = change_witness,
                              .change_group = check_group,
                              .done = witness_changed,
                              .user = s,
                              .timeout_us = WITNESS_TIMEOUT_US};
    snprintf(edit.group, sizeof(edit.group), "%s", s->name);
    snprintf(edit.who, sizeof(edit.who), "%s",
             r->peer_uri != NULL ? r->peer_uri : "?");
    snprintf(edit.what, sizeof(edit.what), "change witness of %s", s->name);
    group_edit_begin(s->worker, &edit);
}

static int preview(struct witnessing *s, const struct catalog_group *g,
                   struct err_msg *msg)
{
    struct govern_record now, next;
    struct catalog_group *copy = mem_dup(g, sizeof(*g));
    int err = check_group(s, copy, msg);
    mem_free(copy);
    if (err == ERR_OK)
        err = decision_of_group(s->worker->node->config, g, &now, msg);
    if (err == ERR_OK)
        err = change_witness(s, &now, &next, msg);
    if (err == ERR_OK)
        answer(s, &next, 200);
    return err;
}

/* ---- what is asked for ------------------------------------------------------
 */

static int get_witness(const struct worker *w, const struct json *j,
                       struct govern_member *out, struct err_msg *msg)
{
    const struct config *c = w->node->config;
    char name[CATALOG_NAME_MAX + 1];
    json_ref value = json_get_str(j, 0, "witness");
    const struct config_region *r = NULL;
    *out = (struct govern_member){.id = 0};
    if (value != JSON_NONE && json_type(j, value) == JSON_NULL)
        return ERR_OK;
    if (placement_get_name(j, value, name) == ERR_OK)
        r = config_find_region(c, name);
    if (r == NULL)
        return err_set(msg, ERR_INVALID,
                       "witness must be a region of the cluster, or null");
    *out = (struct govern_member){.id = r->nodes[0].id,
                                  .region = decision_region(c, r->name)};
    return ERR_OK;
}

static int parse(struct witnessing *s, const struct json *j,
                 const struct catalog_group **g_out, bool *dry_run_out,
                 struct err_msg *msg)
{
    const struct worker *w = s->worker;
    *g_out = NULL;
    if (placement_get_name(j, json_get_str(j, 0, "group"), s->name) == ERR_OK)
        *g_out = catalog_group(w->catalog, s->name);
    if (*g_out == NULL)
        return err_set(msg, ERR_NOT_FOUND, "group must name a placement group");
    int err = feature_refuse(&w->node->features, FEATURE_WITNESS_CHANGE, msg);
    if (err == ERR_OK)
        err = get_witness(w, j, &s->wanted, msg);
    if (err == ERR_OK)
        err = placement_get_dry_run(j, dry_run_out, msg);
    return err;
}

void placement_witness(struct worker *w, struct http_request *r,
                       const struct json *j)
{
    struct err_msg msg = {.text = ""};
    bool dry_run = false;
    const struct catalog_group *g;
    struct witnessing *s = mem_zalloc(sizeof(*s));
    s->worker = w;
    s->request = r;
    int err = parse(s, j, &g, &dry_run, &msg);
    if (err == ERR_OK && !dry_run) {
        begin(s);
        return;
    }
    if (err == ERR_OK)
        err = preview(s, g, &msg);
    if (err != ERR_OK)
        control_refuse_err(r, err, msg.text);
    mem_free(s);
}
