/* What of a placement group can be set beside its decision: whether nodes
 * outside pass requests through, and where its leaders are. */
#include <stdio.h>
#include <string.h>

#include "node/base/mem.h"
#include "node/json/json.h"
#include "node/server/control_reply.h"
#include "node/server/group_edit.h"
#include "node/server/placement.h"
#include "node/server/placement_parse.h"
#include "node/server/worker.h"

#define SETTINGS_TIMEOUT_US (5 * USEC_PER_SEC)

/* One request. */
struct setting {
    struct worker *worker;
    struct http_request *request;
    struct catalog_group wanted; /* transit and gather of it */
    bool sets_transit, sets_leaders;
};

static void apply(const struct setting *s, struct catalog_group *g)
{
    if (s->sets_transit)
        g->transit = s->wanted.transit;
    if (s->sets_leaders)
        g->gather = s->wanted.gather;
}

static int change_settings(void *user, struct catalog_group *g,
                           struct err_msg *msg)
{
    const struct setting *s = user;
    struct catalog_group before = *g;
    apply(s, g);
    if (g->transit == before.transit && g->gather == before.gather)
        return err_set(msg, ERR_EXISTS, "the group is set so already");
    return ERR_OK;
}

/* The regions outside, through which requests will come or not. */
static void put_outside(struct json_writer *w, const struct config *c,
                        const struct catalog_group *g)
{
    json_write_key(w, "outside");
    json_write_array_begin(w);
    for (size_t i = 0; i < c->region_count && catalog_group_fenced(g); i++)
        if (catalog_group_region(g, c->regions[i].name) == g->region_count)
            json_write_str(w, c->regions[i].name);
    json_write_array_end(w);
}

static void answer(const struct setting *s, int status)
{
    const struct worker *w = s->worker;
    const struct catalog_group *now = catalog_group(w->catalog, s->wanted.name);
    struct catalog_group *next = mem_alloc(sizeof(*next));
    struct buf body;
    struct json_writer out;
    *next = now != NULL ? *now : s->wanted;
    apply(s, next);
    buf_init(&body, CONTROL_ANSWER_MAX);
    json_writer_init(&out, &body);
    json_write_object_begin(&out);
    json_write_member_str(&out, "group", next->name);
    json_write_member_str(&out, "transit",
                          next->transit ? GROUP_TRANSIT_ALLOW
                                        : GROUP_TRANSIT_DENY);
    json_write_member_str(&out, "leaders",
                          next->gather ? GROUP_LEADERS_GATHER
                                       : GROUP_LEADERS_SPREAD);
    put_outside(&out, w->node->config, next);
    json_write_object_end(&out);
    mem_free(next);
    control_respond(s->request, status, &body);
}

static void settings_changed(void *user, int err,
                             const struct govern_record *record,
                             const struct err_msg *msg)
{
    struct setting *s = user;
    (void)record;
    if (err == ERR_OK || err == ERR_EXISTS)
        answer(s, 200);
    else
        control_refuse_err(s->request, err, msg->text);
    mem_free(s);
}

static void begin_settings(struct setting *s)
{
    const struct http_request *r = s->request;
    struct group_edit edit = {.change_group = change_settings,
                              .done = settings_changed,
                              .user = s,
                              .timeout_us = SETTINGS_TIMEOUT_US};
    snprintf(edit.group, sizeof(edit.group), "%s", s->wanted.name);
    snprintf(edit.who, sizeof(edit.who), "%s",
             r->peer_uri != NULL ? r->peer_uri : "?");
    snprintf(edit.what, sizeof(edit.what), "set placement group %s",
             s->wanted.name);
    group_edit_begin(s->worker, &edit);
}

static int parse(const struct worker *w, const struct json *j,
                 struct setting *s, bool *dry_run_out, struct err_msg *msg)
{
    char name[CATALOG_NAME_MAX + 1];
    const struct catalog_group *g = NULL;
    if (placement_get_name(j, json_get_str(j, 0, "group"), name) == ERR_OK)
        g = catalog_group(w->catalog, name);
    if (g == NULL)
        return err_set(msg, ERR_NOT_FOUND, "group must name a placement group");
    s->wanted = *g;
    s->sets_transit = json_get_str(j, 0, "transit") != JSON_NONE;
    s->sets_leaders = json_get_str(j, 0, "leaders") != JSON_NONE;
    if (!s->sets_transit && !s->sets_leaders)
        return err_set(msg, ERR_INVALID, "expected transit, leaders or both");
    if (placement_get_dry_run(j, dry_run_out, msg) != ERR_OK)
        return ERR_INVALID;
    return placement_get_settings(w, j, &s->wanted, msg);
}

void placement_settings(struct worker *w, struct http_request *r,
                        const struct json *j)
{
    struct err_msg msg = {.text = ""};
    bool dry_run = false;
    struct setting *s = mem_zalloc(sizeof(*s));
    s->worker = w;
    s->request = r;
    int err = parse(w, j, s, &dry_run, &msg);
    if (err == ERR_OK && !dry_run) {
        begin_settings(s);
        return;
    }
    if (err == ERR_OK)
        answer(s, 200);
    else
        control_refuse_err(r, err, msg.text);
    mem_free(s);
}
