#include "node/cli/members.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/cli/placement_group.h"

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

static void put_all(struct members_names *names,
                    const char list[][CONFIG_NAME_MAX + 1], unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        members_put(names, list[i]);
}

static void take_group(const struct placement_group *g, struct members *out)
{
    put_all(&out->regions, g->regions, g->region_count);
    put_all(&out->nodes, g->nodes, g->node_count);
    put_all(&out->coming, g->coming, g->coming_count);
    put_all(&out->leaving, g->leaving, g->leaving_count);
    for (unsigned i = 0; i < out->leaving.count; i++)
        members_take(&out->regions, out->leaving.list[i]);
    strcpy(out->write_region, g->write_region);
    out->epoch = g->epoch;
    out->settled =
        g->settled && out->coming.count == 0 && out->leaving.count == 0;
}

int members_parse(const struct json *j, struct members *out,
                  struct err_msg *msg)
{
    struct placement_group *g = mem_alloc(sizeof(*g));
    json_ref object;
    memset(out, 0, sizeof(*out));
    int err = placement_group_find(j, GROUP_DEFAULT_NAME, &object, g, msg);
    if (err == ERR_OK)
        take_group(g, out);
    else
        err = err_set(msg, ERR_PROTOCOL,
                      "the node does not say who is in the cluster: it knows "
                      "nothing yet, or is of an older release");
    mem_free(g);
    return err;
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

static bool group_has(const char list[][CONFIG_NAME_MAX + 1], unsigned count,
                      const char *name)
{
    for (unsigned i = 0; i < count && name != NULL; i++)
        if (strcmp(list[i], name) == 0)
            return true;
    return false;
}

/* A group's witness is in another region than the group's; one that goes is no
 * member any more. */
static bool group_has_node_of(const struct reach *r,
                              const struct placement_group *g,
                              const char *region)
{
    for (unsigned i = 0; i < r->node_count && region != NULL; i++)
        if (strcmp(r->nodes[i].region, region) == 0 &&
            (group_has(g->nodes, g->node_count, r->nodes[i].name) ||
             strcmp(g->witness_leaving, r->nodes[i].name) == 0))
            return true;
    return false;
}

static bool is_fenced_with(const struct reach *r,
                           const struct placement_group *g, const char *region,
                           const char *node)
{
    return strcmp(g->name, GROUP_DEFAULT_NAME) != 0 &&
           (group_has(g->regions, g->region_count, region) ||
            group_has(g->nodes, g->node_count, node) ||
            (node != NULL && strcmp(g->witness_leaving, node) == 0) ||
            group_has_node_of(r, g, region));
}

static bool find_fenced(const struct reach *r, const struct json *j,
                        const char *region, const char *node,
                        struct placement_group *g)
{
    json_ref groups = json_get_str(j, 0, "groups");
    if (groups == JSON_NONE || json_type(j, groups) != JSON_ARRAY)
        return false;
    for (json_ref v = json_first(j, groups); v != JSON_NONE;
         v = json_next(j, groups, v)) {
        placement_group_read(j, v, g);
        if (is_fenced_with(r, g, region, node))
            return true;
    }
    return false;
}

int members_find_fenced(struct reach *r, const char *region, const char *node,
                        bool *found_out, char *group_out, struct err_msg *msg)
{
    struct placement_group *g = mem_alloc(sizeof(*g));
    struct reach_answer a;
    reach_answer_init(&a);
    int err = reach_any(r, "placement", NULL, REACH_ASK_TIMEOUT_US, &a, msg);
    *found_out = err == ERR_OK && find_fenced(r, &a.json, region, node, g);
    if (*found_out)
        strcpy(group_out, g->name);
    reach_answer_free(&a);
    mem_free(g);
    return err;
}
