#include "node/server/control_impl.h"

#include <stdio.h>
#include <string.h>

#include "node/base/mem.h"
#include "node/json/json.h"
#include "node/server/control_reply.h"
#include "node/server/decision.h"
#include "node/server/governor.h"
#include "node/server/group_edit.h"
#include "node/server/worker.h"

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

struct control_order *control_order_new(struct worker *w,
                                        struct http_request *r,
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
    struct control_order *o = mem_zalloc(sizeof(*o));
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
    struct control_order *o = user;
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

void control_order_begin(struct control_order *o, const char *what,
                         int (*change)(void *user,
                                       const struct govern_record *now,
                                       struct govern_record *next_out,
                                       struct err_msg *msg))
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

int control_read_region(const struct worker *w, const struct json *j,
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

int control_read_flag(const struct json *j, const char *key, bool *out)
{
    bool value = false;
    int err = json_get_bool(j, 0, key, &value);
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        return ERR_INVALID;
    *out = value;
    return ERR_OK;
}

const struct catalog_group *control_query_group(const struct worker *w,
                                                struct http_request *r,
                                                struct bytes query)
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
