#include "node/server/placement_remove.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/base/rng.h"
#include "node/json/json.h"
#include "node/server/account_edit.h"
#include "node/server/control_reply.h"
#include "node/server/governor.h"
#include "node/server/mover.h"
#include "node/server/placement_gate.h"
#include "node/server/placement_parse.h"
#include "node/server/worker.h"

#define REMOVE_TIMEOUT_US (5 * USEC_PER_SEC)

/* ---- 2. the steps -----------------------------------------------------------
 */

/* One group's, at work. */
struct removing {
    struct worker *worker;
    uint16_t number, first_shard, shard_count;
    uint8_t retired_count; /* shards of layouts before: a node that was down
                            * may still have some */
    struct catalog_span retired[GROUP_RETIRED_MAX];
    struct op op;
    char name[CATALOG_NAME_MAX + 1];
};

static void step_ended(struct removing *m, int err, const char *what)
{
    m->worker->removal.busy = false;
    if (err != ERR_OK)
        log_warn("a placement group could not be removed yet; it will be tried "
                 "again",
                 LOG_STR("group", m->name), LOG_STR("at", what),
                 LOG_STR("error", err_text(err)));
    mem_free(m);
}

static void record_deleted(void *user, struct op_result *result)
{
    struct removing *m = user;
    /* ERR_NOT_FOUND: an earlier try was done. */
    int err = result->err == ERR_NOT_FOUND ? ERR_OK : result->err;
    if (err == ERR_OK)
        log_info("a placement group was removed", LOG_STR("group", m->name));
    step_ended(m, err, "deleting its record");
}

/* Does m->op to the group's record. */
static void submit(struct removing *m, op_done_cb *done)
{
    rng_fill(m->op.id, OP_ID_LEN);
    cosmos_address(m->worker->meta_hash, CONTAINER_GROUPS, bytes_of(NULL, 0),
                   bytes_str(m->name), &m->op.at);
    backend_submit(&m->worker->router.backend, &m->op, REMOVE_TIMEOUT_US, done,
                   m);
}

/* Whether the record is the removed group's, and not that of a new one of its
 * name. */
static int check_record(const struct removing *m, struct bytes text)
{
    struct err_msg msg;
    struct catalog_group *g = mem_alloc(sizeof(*g));
    int err = catalog_group_parse(text, g, &msg);
    if (err == ERR_OK && (g->number != m->number || !g->removing))
        err = ERR_NOT_FOUND;
    mem_free(g);
    return err;
}

static void record_read(void *user, struct op_result *result)
{
    struct removing *m = user;
    int err = result->err;
    if (err == ERR_OK)
        err = check_record(
            m, bytes_of(buf_bytes(&result->body), buf_len(&result->body)));
    if (err != ERR_OK) { /* ERR_NOT_FOUND: an earlier try was done */
        step_ended(m, err == ERR_NOT_FOUND ? ERR_OK : err,
                   "reading its record");
        return;
    }
    m->op = (struct op){.kind = OP_WRITE,
                        .shard = SHARD_META,
                        .mode = OP_DELETE,
                        .resource = OP_RESOURCE_INTERNAL,
                        .condition = OP_COND_IF_MATCH,
                        .etag = result->etag};
    submit(m, record_deleted);
}

/* Not by name alone: this may be late, and another leader of the meta shard
 * have been faster. */
static void delete_record(struct removing *m)
{
    m->op = (struct op){.kind = OP_READ, .shard = SHARD_META};
    submit(m, record_read);
}

static void shards_listed(void *user, int err, const struct catalog_account *a,
                          const struct etag *etag, const struct err_msg *msg)
{
    struct removing *m = user;
    (void)a;
    (void)etag;
    (void)msg;
    /* ERR_EXISTS: an earlier try was done. */
    if (err == ERR_OK || err == ERR_EXISTS)
        delete_record(m);
    else
        step_ended(m, err, "listing its shards as removed");
}

/* Whether it is still so that the group goes; only a leader of the meta shard
 * knows. */
static bool still_goes(const struct removing *m)
{
    struct err_msg why;
    const struct catalog_group *g =
        catalog_group_number(m->worker->catalog, m->number);
    return worker_leads(m->worker, SHARD_META, clock_mono_us()) && g != NULL &&
           g->removing &&
           placement_gate_check_empty(m->worker->catalog, g, &why) == ERR_OK;
}

static int list_shards(void *user, struct catalog_account *a,
                       const struct etag *etag, struct err_msg *msg)
{
    const struct removing *m = user;
    (void)etag;
    if (!still_goes(m))
        return err_set(msg, ERR_STALE, "%s is not to be removed any more",
                       m->name);
    int err = catalog_account_remove(a, m->first_shard, m->shard_count);
    for (uint8_t i = 0; err == ERR_OK && i < m->retired_count; i++) {
        err =
            catalog_account_remove(a, m->retired[i].first, m->retired[i].count);
        err = err == ERR_EXISTS ? ERR_OK : err;
    }
    return err_set(msg, err, "the shards of %s", m->name);
}

static void describe_removed(const struct catalog_account *a, char *out,
                             size_t size)
{
    struct buf text = buf_over(out, size - 1);
    (void)buf_printf(&text, "removed shards:");
    for (size_t i = 0; i < a->removed_count; i++)
        if (buf_printf(&text, " %u..%u", a->removed[i].first,
                       a->removed[i].first + a->removed[i].count - 1u) !=
            ERR_OK)
            break;
    out[buf_len(&text)] = '\0';
}

static void remove_now(struct worker *w, const struct catalog_group *g)
{
    struct removing *m = mem_zalloc(sizeof(*m));
    struct account_edit edit = {.change = list_shards,
                                .describe = describe_removed,
                                .done = shards_listed,
                                .user = m,
                                .timeout_us = REMOVE_TIMEOUT_US,
                                .reason = "nothing is in it"};
    m->worker = w;
    m->number = g->number;
    m->first_shard = g->first_shard;
    m->shard_count = g->shard_count;
    m->retired_count = g->retired_count;
    memcpy(m->retired, g->retired, sizeof(m->retired));
    strcpy(m->name, g->name);
    snprintf(edit.who, sizeof(edit.who), "node %s", w->node->config->node);
    snprintf(edit.what, sizeof(edit.what), "removed placement group %s",
             g->name);
    w->removal.busy = true;
    account_edit_begin(w, &edit);
}

static int keep(void *user, struct catalog_group *g, struct err_msg *msg)
{
    (void)user;
    (void)msg;
    g->removing = false;
    return ERR_OK;
}

static void kept(void *user, int err, const struct govern_record *record,
                 const struct err_msg *msg)
{
    (void)record;
    (void)msg;
    step_ended(user, err, "keeping it");
}

/* A container was made in it, or a rule, before the mark was in the log. */
static void give_up(struct worker *w, const struct catalog_group *g,
                    const struct err_msg *why)
{
    struct removing *m = mem_zalloc(sizeof(*m));
    struct group_edit edit = {.change_group = keep,
                              .done = kept,
                              .user = m,
                              .timeout_us = REMOVE_TIMEOUT_US};
    m->worker = w;
    strcpy(m->name, g->name);
    strcpy(edit.group, g->name);
    log_warn("a placement group is not removed after all",
             LOG_STR("group", g->name), LOG_STR("reason", why->text));
    snprintf(edit.who, sizeof(edit.who), "node %s", w->node->config->node);
    snprintf(edit.what, sizeof(edit.what),
             "keep placement group %s: something has come into it", g->name);
    w->removal.busy = true;
    group_edit_begin(w, &edit);
}

static const struct catalog_group *next_removed(const struct worker *w)
{
    const struct catalog_group *g;
    for (size_t i = 0; (g = catalog_group_at(w->catalog, i)) != NULL; i++)
        if (g->removing)
            return g;
    return NULL;
}

/* Whether the catalog here shows all that can come into the group any more:
 * what was in the log when this leader saw the mark (placement_gate.h). */
static bool is_closed(struct worker *w, const struct catalog_group *g)
{
    struct placement_removal *p = &w->removal;
    uint64_t term, end;
    bool known = worker_log_end(w, SHARD_META, &term, &end);
    if (g->number != p->group || g->decision.epoch != p->epoch ||
        term != p->term) {
        if (!known)
            return false;
        p->group = g->number;
        p->epoch = g->decision.epoch;
        p->term = term;
        p->end_lsn = end;
    }
    return catalog_lsn(w->catalog) >= p->end_lsn;
}

void placement_remove_check(struct worker *w)
{
    struct placement_removal *p = &w->removal;
    struct err_msg msg;
    const struct catalog_group *g =
        worker_leads(w, SHARD_META, clock_mono_us()) ? next_removed(w) : NULL;
    if (p->busy)
        return;
    if (g == NULL) {
        p->group = GROUP_DEFAULT;
        return;
    }
    if (!is_closed(w, g) ||
        !governor_all_know(w->governor, g->number, g->decision.epoch, false))
        return;
    if (placement_gate_check_empty(w->catalog, g, &msg) != ERR_OK)
        give_up(w, g, &msg);
    else
        remove_now(w, g);
}

/* ---- 1. the order -----------------------------------------------------------
 */

struct order {
    struct worker *worker;
    struct http_request *request;
    bool dry_run;
    struct op op;
    char name[CATALOG_NAME_MAX + 1];
    struct buf answer;
};

static void order_end(struct order *o, int err, const char *why)
{
    if (err != ERR_OK) {
        control_refuse_err(o->request, err, why);
        buf_free(&o->answer);
    } else {
        control_respond(o->request, o->dry_run ? 200 : 202, &o->answer);
    }
    mem_free(o);
}

static int start(void *user, const struct govern_record *now,
                 struct govern_record *next_out, struct err_msg *msg)
{
    (void)user;
    return govern_renew(now, clock_wall_us(), "the group is removed",
                        next_out) == ERR_OK
               ? ERR_OK
               : err_set(msg, ERR_BUSY,
                         "another change of the group is under way: see "
                         "'bastide placement show'");
}

static int mark(void *user, struct catalog_group *g, struct err_msg *msg)
{
    (void)user;
    if (g->removing)
        return err_set(msg, ERR_BUSY, "it is being removed already");
    if (g->emptied.count > 0)
        return err_set(msg, ERR_BUSY,
                       "it is being split: wait until that is "
                       "done");
    g->removing = true;
    return ERR_OK;
}

static void marked(void *user, int err, const struct govern_record *record,
                   const struct err_msg *msg)
{
    (void)record;
    order_end(user, err, msg->text);
}

static void answer(struct order *o, const struct catalog_group *g)
{
    struct json_writer w;
    json_writer_init(&w, &o->answer);
    json_write_object_begin(&w);
    json_write_member_str(&w, "group", g->name);
    json_write_member_int64(&w, "first_shard", g->first_shard);
    json_write_member_int64(&w, "shards", g->shard_count);
    json_write_key(&w, "nodes");
    json_write_array_begin(&w);
    for (size_t i = 0; i < g->member_count; i++) {
        const struct config_node *n =
            config_find_node(o->worker->node->config, g->members[i], NULL);
        if (n != NULL)
            json_write_str(&w, n->name);
    }
    json_write_array_end(&w);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
}

static void begin(struct order *o)
{
    const struct http_request *r = o->request;
    struct group_edit edit = {.change = start,
                              .change_group = mark,
                              .done = marked,
                              .user = o,
                              .timeout_us = REMOVE_TIMEOUT_US};
    strcpy(edit.group, o->name);
    snprintf(edit.who, sizeof(edit.who), "%s",
             r->peer_uri != NULL ? r->peer_uri : "?");
    snprintf(edit.what, sizeof(edit.what), "remove placement group %s",
             o->name);
    group_edit_begin(o->worker, &edit);
}

/* The catalog is as new as the question. */
static void catalog_current(void *user, struct op_result *result)
{
    struct order *o = user;
    struct err_msg msg = {.text = ""};
    const struct catalog_group *g = catalog_group(o->worker->catalog, o->name);
    int err = result->err;
    if (err != ERR_OK)
        err_set(&msg, err, "the meta shard: %s", err_text(err));
    else if (g == NULL)
        err = err_set(&msg, ERR_NOT_FOUND, "there is no placement group '%s'",
                      o->name);
    else if (!catalog_group_fenced(g))
        err = err_set(&msg, ERR_INVALID,
                      "group default is always there: it cannot be removed");
    else
        err = placement_gate_check_empty(o->worker->catalog, g, &msg);
    if (err == ERR_OK)
        answer(o, g);
    if (err == ERR_OK && !o->dry_run)
        begin(o);
    else
        order_end(o, err, msg.text);
}

void placement_remove(struct worker *w, struct http_request *r,
                      const struct json *j)
{
    struct err_msg msg = {.text = ""};
    struct order *o = mem_zalloc(sizeof(*o));
    o->worker = w;
    o->request = r;
    buf_init(&o->answer, CONTROL_ANSWER_MAX);
    int err = feature_refuse(&w->node->features, FEATURE_PARTS, &msg);
    if (err == ERR_OK &&
        placement_get_name(j, json_get_str(j, 0, "group"), o->name) != ERR_OK)
        err = err_set(&msg, ERR_INVALID, "group must name a placement group");
    if (err == ERR_OK)
        err = placement_get_dry_run(j, &o->dry_run, &msg);
    if (err != ERR_OK) {
        order_end(o, err, msg.text);
        return;
    }
    o->op = (struct op){.kind = OP_BARRIER, .shard = SHARD_META};
    rng_fill(o->op.id, OP_ID_LEN);
    backend_submit(&w->router.backend, &o->op, REMOVE_TIMEOUT_US,
                   catalog_current, o);
}
