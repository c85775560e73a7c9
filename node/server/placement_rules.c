#include "node/server/placement_rules.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/base/rng.h"
#include "node/catalog/placement_rules.h"
#include "node/catalog/spread.h"
#include "node/json/json.h"
#include "node/server/account_edit.h"
#include "node/server/control_reply.h"
#include "node/server/worker.h"

#define RULES_TIMEOUT_US (5 * USEC_PER_SEC)

/* One question, or one change. */
struct ruling {
    struct worker *worker;
    struct http_request *request;
    bool changes;
    bool rules_given, required_given, etag_given;
    struct placement_rules want;
    struct etag etag; /* that the asker has seen */
    struct op op;
};

static void fail(struct ruling *r, int err, const char *why)
{
    control_refuse_err(r->request, err, why);
    mem_free(r);
}

static void answer(struct ruling *r, const struct placement_rules *rules,
                   const struct etag *etag)
{
    struct buf body;
    struct json_writer w;
    char text[ETAG_TEXT_LEN + 1];
    etag_format(etag, text);
    buf_init(&body, CONTROL_ANSWER_MAX);
    json_writer_init(&w, &body);
    json_write_object_begin(&w);
    json_write_key(&w, "rules");
    placement_rules_write(rules, &w);
    json_write_member_bool(&w, "require_placement", rules->required);
    json_write_member_str(&w, "etag", text);
    json_write_object_end(&w);
    control_respond(r->request, 200, &body);
    mem_free(r);
}

/* ---- the audit --------------------------------------------------------------
 */

static void describe(const struct catalog_account *a, char *out, size_t size)
{
    const struct placement_rules *rules = &a->placement;
    struct buf text = buf_over(out, size - 1);
    (void)buf_printf(&text, "%s",
                     rules->required ? "placement required"
                                     : "placement not required");
    for (size_t i = 0; i < rules->count; i++) {
        const struct placement_rule *r = &rules->list[i];
        if (buf_printf(&text, "; %s/%s in %s", r->database, r->container,
                       r->group) != ERR_OK)
            break;
    }
    out[buf_len(&text)] = '\0';
}

/* ---- reading and writing the record -----------------------------------------
 */

static int change(void *user, struct catalog_account *a,
                  const struct etag *etag, struct err_msg *msg)
{
    const struct ruling *r = user;
    struct placement_rules *p = &a->placement;
    bool required = r->required_given ? r->want.required : p->required;
    if (r->etag_given && !etag_equal(&r->etag, etag))
        return err_set(msg, ERR_STALE,
                       "the rules were changed meanwhile: look again");
    if (r->rules_given)
        *p = r->want;
    p->required = required;
    return ERR_OK;
}

static void changed(void *user, int err, const struct catalog_account *a,
                    const struct etag *etag, const struct err_msg *msg)
{
    struct ruling *r = user;
    if (err == ERR_OK)
        answer(r, &a->placement, etag);
    else
        fail(r, err, msg->text);
}

static void edit(struct ruling *r)
{
    const char *who = r->request->peer_uri;
    struct account_edit e = {.change = r->changes ? change : NULL,
                             .describe = describe,
                             .done = changed,
                             .user = r,
                             .timeout_us = RULES_TIMEOUT_US,
                             .what = "set placement rules",
                             .reason =
                                 "an administrator set the rules of placement"};
    snprintf(e.who, sizeof(e.who), "%s", who != NULL ? who : "?");
    account_edit_begin(r->worker, &e);
}

static struct ruling *begin(struct worker *w, struct http_request *request)
{
    struct ruling *r = mem_zalloc(sizeof(*r));
    r->worker = w;
    r->request = request;
    return r;
}

/* ---- what is asked for ------------------------------------------------------
 */

/* A misspelt member must not make a rule that matches more. */
static bool members_known(const struct json *j, json_ref rule)
{
    static const char *const names[] = {"database", "container", "group"};
    for (json_ref k = json_first(j, rule); k != JSON_NONE;
         k = json_next_member(j, rule, k)) {
        bool known = false;
        for (size_t i = 0; i < ARRAY_LEN(names) && !known; i++)
            known = json_string_equal(j, k, bytes_str(names[i]));
        if (!known)
            return false;
    }
    return json_members_unique(j, rule);
}

static int parse_rules(const struct json *j, json_ref list,
                       struct placement_rules *out, struct err_msg *msg)
{
    size_t at = 0;
    int err = placement_rules_read(j, list, out, msg);
    if (err != ERR_OK)
        return err;
    for (json_ref v = json_first(j, list); v != JSON_NONE;
         v = json_next(j, list, v), at++) {
        if (!members_known(j, v))
            return err_set(msg, ERR_INVALID,
                           "rule %zu: unknown or repeated member; there are: "
                           "database container group",
                           at + 1);
    }
    return ERR_OK;
}

static int parse_etag(const struct json *j, struct ruling *r,
                      struct err_msg *msg)
{
    char storage[ETAG_TEXT_LEN * 6 + 2];
    struct buf scratch = buf_over(storage, sizeof(storage));
    struct bytes text;
    int err = json_get_string(j, 0, "etag", &scratch, &text);
    if (err == ERR_NOT_FOUND)
        return ERR_OK;
    r->etag_given = true;
    return err == ERR_OK && etag_parse(text, &r->etag) == ERR_OK
               ? ERR_OK
               : err_set(msg, ERR_INVALID,
                         "etag is what GET /placement/rules answered");
}

static int parse(const struct json *j, struct ruling *r, struct err_msg *msg)
{
    json_ref list = json_get_str(j, 0, "rules");
    int err = json_get_bool(j, 0, "require_placement", &r->want.required);
    r->required_given = err == ERR_OK;
    r->rules_given = list != JSON_NONE;
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        return err_set(msg, ERR_INVALID, "require_placement is true or false");
    if (!r->rules_given && !r->required_given)
        return err_set(msg, ERR_INVALID,
                       "expected rules, require_placement or both");
    err = parse_etag(j, r, msg);
    return err == ERR_OK && r->rules_given ? parse_rules(j, list, &r->want, msg)
                                           : err;
}

/* A rule leads to a group, or to those of a placement map. */
static int check_target(const struct ruling *r, size_t rule,
                        struct err_msg *msg)
{
    const struct catalog *c = r->worker->catalog;
    const char *target = r->want.list[rule].group;
    struct placement_map m;
    struct err_msg why;
    if (!placement_is_map(bytes_str(target))) {
        const struct catalog_group *g = catalog_group(c, target);
        if (g != NULL && !g->removing)
            return ERR_OK;
        return err_set(
            msg, ERR_INVALID, "rule %zu: %s placement group '%s'", rule + 1,
            g == NULL ? "there is no" : "somebody is removing", target);
    }
    int err = feature_refuse(&r->worker->node->features, FEATURE_PARTS, &why);
    if (err == ERR_OK)
        err = placement_map_parse(bytes_str(target), &m, &why);
    if (err == ERR_OK)
        err = spread_allowed(c, &m, &why);
    return err == ERR_OK
               ? ERR_OK
               : err_set(msg, err, "rule %zu: %s", rule + 1, why.text);
}

/* The catalog is as new as the question: a group that was made at another node
 * a moment ago is in it. */
static void catalog_current(void *user, struct op_result *result)
{
    struct ruling *r = user;
    struct err_msg msg;
    if (result->err != ERR_OK) {
        err_set(&msg, result->err, "the account's record: %s",
                err_text(result->err));
        fail(r, result->err, msg.text);
        return;
    }
    for (size_t i = 0; r->rules_given && i < r->want.count; i++) {
        int err = check_target(r, i, &msg);
        if (err != ERR_OK) {
            fail(r, err, msg.text);
            return;
        }
    }
    edit(r);
}

void placement_rules_get(struct worker *w, struct http_request *request,
                         struct bytes query)
{
    (void)query;
    edit(begin(w, request));
}

void placement_rules_post(struct worker *w, struct http_request *request,
                          const struct json *j)
{
    struct err_msg msg = {.text = ""};
    struct ruling *r = begin(w, request);
    r->changes = true;
    int err = feature_refuse(&w->node->features, FEATURE_GROUPS, &msg);
    if (err == ERR_OK)
        err = parse(j, r, &msg);
    if (err != ERR_OK) {
        fail(r, err, msg.text);
        return;
    }
    r->op = (struct op){.kind = OP_BARRIER, .shard = SHARD_META};
    rng_fill(r->op.id, OP_ID_LEN);
    backend_submit(&w->router.backend, &r->op, RULES_TIMEOUT_US,
                   catalog_current, r);
}
