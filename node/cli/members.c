#include "node/cli/members.h"

#include <string.h>

#include "node/base/check.h"
#include "node/cli/topology.h"

/* ---- names -----------------------------------------------------------------
 */

static unsigned find(const struct members_names *names, const char *name)
{
    unsigned i = 0;
    while (i < names->count && strcmp(names->list[i], name) != 0)
        i++;
    return i;
}

bool members_has(const struct members_names *names, const char *name)
{
    return find(names, name) < names->count;
}

void members_put(struct members_names *names, const char *name)
{
    if (members_has(names, name) || names->count == LAYOUT_NODES_MAX)
        return;
    CHECK(strlen(name) <= CONFIG_NAME_MAX);
    strcpy(names->list[names->count++], name);
}

void members_take(struct members_names *names, const char *name)
{
    unsigned i = find(names, name);
    if (i == names->count)
        return;
    names->count--;
    memmove(&names->list[i], &names->list[i + 1],
            (names->count - i) * sizeof(names->list[0]));
}

/* ---- reading ---------------------------------------------------------------
 */

static json_ref get_list(const struct json *j, json_ref object, const char *key)
{
    json_ref list = json_get_str(j, object, key);
    return list != JSON_NONE && json_type(j, list) == JSON_ARRAY ? list
                                                                 : JSON_NONE;
}

static void read_names(const struct json *j, json_ref object, const char *key,
                       struct members_names *out)
{
    json_ref list = get_list(j, object, key);
    if (list == JSON_NONE)
        return;
    for (json_ref v = json_first(j, list); v != JSON_NONE;
         v = json_next(j, list, v)) {
        char storage[CONFIG_NAME_MAX * 6 + 2], name[CONFIG_NAME_MAX + 1];
        struct buf scratch = buf_over(storage, sizeof(storage));
        struct bytes text;
        if (json_type(j, v) != JSON_STRING ||
            json_string(j, v, &scratch, &text) != ERR_OK ||
            text.len > CONFIG_NAME_MAX)
            continue;
        memcpy(name, text.data, text.len);
        name[text.len] = '\0';
        members_put(out, name);
    }
}

static void read_group(const struct json *j, json_ref g, struct members *out)
{
    bool settled = false;
    read_names(j, g, "regions", &out->regions);
    read_names(j, g, "nodes", &out->nodes);
    read_names(j, g, "coming", &out->coming);
    read_names(j, g, "leaving", &out->leaving);
    for (unsigned i = 0; i < out->leaving.count; i++)
        members_take(&out->regions, out->leaving.list[i]);
    topology_get_text(j, g, "write_region", out->write_region,
                      sizeof(out->write_region));
    (void)json_get_int64(j, g, "epoch", &out->epoch);
    (void)json_get_bool(j, g, "settled", &settled);
    out->settled = settled && out->coming.count == 0 && out->leaving.count == 0;
}

int members_parse(const struct json *j, struct members *out,
                  struct err_msg *msg)
{
    json_ref groups = get_list(j, 0, "groups");
    char name[CONFIG_NAME_MAX + 1];
    memset(out, 0, sizeof(*out));
    if (groups != JSON_NONE)
        for (json_ref g = json_first(j, groups); g != JSON_NONE;
             g = json_next(j, groups, g)) {
            topology_get_text(j, g, "name", name, sizeof(name));
            if (strcmp(name, GROUP_DEFAULT_NAME) != 0)
                continue;
            read_group(j, g, out);
            return ERR_OK;
        }
    return err_set(msg, ERR_PROTOCOL,
                   "the node does not say who is in the cluster: it knows "
                   "nothing yet, or is of an older release");
}

/* The answer that is believed so far. */
struct asking {
    struct reach *reach;
    struct members *out;
    bool found, inside; /* `out` is there; who gave it is a member */
    int err;
    struct err_msg *msg;
};

/* A node that was taken out goes on telling what it learned last, and so does
 * one that was away: members are believed first, then newer decisions. */
static void hear(void *user, unsigned node, int err,
                 const struct reach_answer *a, const struct err_msg *why)
{
    struct asking *q = user;
    struct members m;
    struct err_msg text = *why;
    if (err == ERR_OK)
        err = members_parse(&a->json, &m, &text);
    if (err != ERR_OK) {
        q->err = err_set(q->msg, err, "%s", text.text);
        return;
    }
    const char *name = q->reach->nodes[node].name;
    bool inside = name[0] == '\0' || members_has(&m.nodes, name);
    if (q->found && (q->inside > inside ||
                     (q->inside == inside && q->out->epoch >= m.epoch)))
        return;
    q->found = true;
    q->inside = inside;
    *q->out = m;
    q->reach->first = node;
}

int members_get(struct reach *r, struct members *out, struct err_msg *msg)
{
    struct asking q = {
        .reach = r, .out = out, .err = ERR_NOT_FOUND, .msg = msg};
    reach_each(r, "GET", "placement", NULL, REACH_ASK_TIMEOUT_US, hear, &q);
    return q.found ? ERR_OK : q.err;
}

static bool group_has(const struct json *j, json_ref g, const char *key,
                      const char *name)
{
    struct members_names names = {.count = 0};
    read_names(j, g, key, &names);
    return name != NULL && members_has(&names, name);
}

int members_find_fenced(struct reach *r, const char *region, const char *node,
                        bool *found_out, char *group_out, struct err_msg *msg)
{
    struct reach_answer a;
    reach_answer_init(&a);
    int err = reach_any(r, "placement", NULL, REACH_ASK_TIMEOUT_US, &a, msg);
    json_ref groups =
        err == ERR_OK ? get_list(&a.json, 0, "groups") : JSON_NONE;
    *found_out = false;
    if (groups != JSON_NONE)
        for (json_ref g = json_first(&a.json, groups);
             g != JSON_NONE && !*found_out; g = json_next(&a.json, groups, g)) {
            topology_get_text(&a.json, g, "name", group_out,
                              CONFIG_NAME_MAX + 1);
            *found_out = strcmp(group_out, GROUP_DEFAULT_NAME) != 0 &&
                         (group_has(&a.json, g, "regions", region) ||
                          group_has(&a.json, g, "nodes", node));
        }
    reach_answer_free(&a);
    return err;
}
