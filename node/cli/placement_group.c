#include "node/cli/placement_group.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/cli/cmd.h"

/* A group has no more; a node that says so is not believed. */
#define SHARDS_MAX 65536
#define CELL_MAX 256

bool placement_name_option(const char *text, void *value)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");
    *(const char **)value = text;
    return len > 0 && len <= CATALOG_NAME_MAX && text[len] == '\0' &&
           text[0] != '-';
}

int placement_name_word(const char *command, const char *question, char **words,
                        unsigned count, const char **name_out)
{
    if (count == 0)
        return options_refuse(command, "%s", question);
    if (!placement_name_option(words[0], name_out))
        return options_refuse(command, "\"%s\": expected %s", words[0],
                              PLACEMENT_NAME_EXPECTED);
    return CMD_OK;
}

/* ---- reading ---------------------------------------------------------------
 */

static int64_t get_number(const struct json *j, json_ref object,
                          const char *key)
{
    int64_t value = 0;
    return json_get_int64(j, object, key, &value) == ERR_OK && value > 0 ? value
                                                                         : 0;
}

static unsigned get_names(const struct json *j, json_ref object,
                          const char *key, char out[][CONFIG_NAME_MAX + 1],
                          unsigned max)
{
    unsigned n = 0;
    json_ref list = json_get_str(j, object, key);
    if (list == JSON_NONE || json_type(j, list) != JSON_ARRAY)
        return 0;
    for (json_ref v = json_first(j, list); v != JSON_NONE && n < max;
         v = json_next(j, list, v)) {
        char storage[CONFIG_NAME_MAX * 6 + 2];
        struct buf scratch = buf_over(storage, sizeof(storage));
        struct bytes text;
        if (json_type(j, v) != JSON_STRING ||
            json_string(j, v, &scratch, &text) != ERR_OK)
            continue;
        snprintf(out[n++], CONFIG_NAME_MAX + 1, "%.*s", (int)text.len,
                 (const char *)text.data);
    }
    return n;
}

static void read_lists(const struct json *j, json_ref object,
                       struct placement_group *out)
{
    out->region_count =
        get_names(j, object, "regions", out->regions, CONFIG_REGIONS_MAX);
    out->key_count =
        get_names(j, object, "keys_for", out->keys_for, CONFIG_REGIONS_MAX);
    out->coming_count =
        get_names(j, object, "coming", out->coming, CONFIG_REGIONS_MAX);
    out->leaving_count =
        get_names(j, object, "leaving", out->leaving, CONFIG_REGIONS_MAX);
    out->node_count =
        get_names(j, object, "nodes", out->nodes, LAYOUT_NODES_MAX);
}

static void read_witness(const struct json *j, json_ref object,
                         struct placement_group *out)
{
    topology_get_text(j, object, "witness", out->witness, sizeof(out->witness));
    topology_get_text(j, object, "witness_leaving", out->witness_leaving,
                      sizeof(out->witness_leaving));
    out->witness_coming = topology_get_bool(j, object, "witness_coming");
}

static void read_split(const struct json *j, json_ref object,
                       struct placement_progress *out)
{
    double eta = -1;
    if (object == JSON_NONE || json_type(j, object) != JSON_OBJECT)
        return;
    out->first_shard = get_number(j, object, "first_shard");
    out->shards = get_number(j, object, "shards");
    if (out->shards > SHARDS_MAX)
        out->shards = SHARDS_MAX;
    out->left = get_number(j, object, "left");
    out->moving = get_number(j, object, "moving");
    out->moved = get_number(j, object, "moved");
    json_ref seconds = json_get_str(j, object, "eta_seconds");
    if (seconds != JSON_NONE && json_type(j, seconds) == JSON_NUMBER)
        eta = json_number(j, seconds);
    out->eta_s = eta >= 0 && eta < 1e9 ? (int64_t)eta : -1;
    topology_get_text(j, object, "waits_for", out->waits_for,
                      sizeof(out->waits_for));
}

bool placement_container_split(const char *text,
                               char database[RESOURCE_NAME_BYTES_MAX + 1],
                               char container[RESOURCE_NAME_BYTES_MAX + 1])
{
    const char *slash = strchr(text, '/');
    if (slash == NULL || slash == text || slash[1] == '\0' ||
        strchr(slash + 1, '/') != NULL ||
        (size_t)(slash - text) > RESOURCE_NAME_BYTES_MAX ||
        strlen(slash + 1) > RESOURCE_NAME_BYTES_MAX)
        return false;
    memcpy(database, text, (size_t)(slash - text));
    database[slash - text] = '\0';
    strcpy(container, slash + 1);
    return true;
}

void placement_group_read(const struct json *j, json_ref object,
                          struct placement_group *out)
{
    char text[TOPOLOGY_STATE_MAX + 1], level[CATALOG_NAME_MAX + 1];
    memset(out, 0, sizeof(*out));
    topology_get_text(j, object, "name", out->name, sizeof(out->name));
    topology_get_text(j, object, "level", level, sizeof(level));
    out->level_known =
        consistency_parse(bytes_str(level), &out->level) == ERR_OK;
    topology_get_text(j, object, "write_region", out->write_region,
                      sizeof(out->write_region));
    topology_get_text(j, object, "unavailable", out->unavailable,
                      sizeof(out->unavailable));
    topology_get_text(j, object, "failback", text, sizeof(text));
    out->failback_automatic = strcmp(text, "automatic") == 0;
    topology_get_text(j, object, "transit", text, sizeof(text));
    out->transit = strcmp(text, GROUP_TRANSIT_ALLOW) == 0;
    topology_get_text(j, object, "leaders", text, sizeof(text));
    out->gather = strcmp(text, GROUP_LEADERS_GATHER) == 0;
    out->fenced = topology_get_bool(j, object, "fenced");
    out->settled = topology_get_bool(j, object, "settled");
    out->data_keys = get_number(j, object, "data_keys");
    out->sealing_key = get_number(j, object, "sealing_key");
    out->new_key_due = topology_get_bool(j, object, "new_key_due");
    out->out_of_keys = topology_get_bool(j, object, "out_of_keys");
    out->removing = topology_get_bool(j, object, "removing");
    out->prefix = get_number(j, object, "max_staleness_prefix");
    out->interval = get_number(j, object, "max_staleness_interval");
    out->epoch = get_number(j, object, "epoch");
    out->first_shard = get_number(j, object, "first_shard");
    out->shards = get_number(j, object, "shards");
    if (out->shards > SHARDS_MAX)
        out->shards = SHARDS_MAX;
    read_lists(j, object, out);
    read_witness(j, object, out);
    read_split(j, json_get_str(j, object, "split"), &out->split);
}

int placement_group_find(const struct json *j, const char *name,
                         json_ref *object_out, struct placement_group *out,
                         struct err_msg *msg)
{
    char found[CATALOG_NAME_MAX + 1];
    json_ref list = json_get_str(j, 0, "groups");
    if (list != JSON_NONE && json_type(j, list) == JSON_ARRAY)
        for (json_ref v = json_first(j, list); v != JSON_NONE;
             v = json_next(j, list, v)) {
            topology_get_text(j, v, "name", found, sizeof(found));
            if (strcmp(found, name) != 0)
                continue;
            placement_group_read(j, v, out);
            *object_out = v;
            return ERR_OK;
        }
    return err_set(msg, ERR_NOT_FOUND,
                   "there is no placement group \"%s\"; bastide placement "
                   "list names them",
                   name);
}

int placement_group_ask(struct reach *r, const char *name,
                        struct reach_answer *a, json_ref *object_out,
                        struct placement_group *out, struct err_msg *msg)
{
    int err = reach_any(r, "placement", NULL, REACH_ASK_TIMEOUT_US, a, msg);
    return err == ERR_OK
               ? placement_group_find(&a->json, name, object_out, out, msg)
               : err;
}

/* ---- splits ----------------------------------------------------------------
 */

struct split_heard {
    struct placement_group *group; /* the first answer's; then the reason */
    const char *name;
    bool found;
};

static void hear_split(void *user, unsigned node, int err,
                       const struct reach_answer *a, const struct err_msg *why)
{
    struct split_heard *h = user;
    (void)node, (void)why;
    json_ref object;
    if (err != ERR_OK)
        return;
    struct placement_group *g = mem_alloc(sizeof(*g));
    if (placement_group_find(&a->json, h->name, &object, g, NULL) == ERR_OK) {
        if (!h->found || g->split.waits_for[0] != '\0')
            *h->group = *g;
        h->found = true;
    }
    mem_free(g);
}

int placement_split_ask(struct reach *r, const char *name,
                        struct placement_group *out, struct err_msg *msg)
{
    struct split_heard h = {.group = out, .name = name};
    reach_each(r, "GET", "placement", NULL, REACH_ASK_TIMEOUT_US, hear_split,
               &h);
    return h.found ? ERR_OK
                   : err_set(msg, ERR_UNAVAILABLE,
                             "no node tells of placement group %s", name);
}

void placement_split_text(const struct placement_progress *p,
                          char out[TOPOLOGY_TEXT_MAX + 1])
{
    struct buf text = buf_over(out, TOPOLOGY_TEXT_MAX);
    if (p->left == 0 && p->moving == 0)
        (void)buf_printf(&text,
                         "all %lld containers have moved; shards %lld "
                         "to %lld go when no request for them is left",
                         (long long)p->moved, (long long)p->first_shard,
                         (long long)(p->first_shard + p->shards - 1));
    else
        (void)buf_printf(
            &text,
            "%lld of %lld containers are left in shards %lld to %lld, "
            "%lld moving",
            (long long)p->left, (long long)(p->left + p->moved),
            (long long)p->first_shard,
            (long long)(p->first_shard + p->shards - 1), (long long)p->moving);
    if (p->left > 0 && p->eta_s >= 0)
        (void)buf_printf(&text, "; about %lld s", (long long)p->eta_s);
    if (p->waits_for[0] != '\0')
        (void)buf_printf(&text, "; waits: %s", p->waits_for);
    out[buf_len(&text)] = '\0';
}

/* ---- the table -------------------------------------------------------------
 */

/* "germany,france", cut. */
static void join_regions(const struct placement_group *g, char out[CELL_MAX])
{
    struct buf text = buf_over(out, CELL_MAX - 1);
    for (unsigned i = 0; i < g->region_count; i++)
        (void)buf_printf(&text, "%s%s", i > 0 ? "," : "", g->regions[i]);
    out[buf_len(&text)] = '\0';
}

static void print_row(FILE *out, const struct placement_group *g)
{
    char regions[CELL_MAX], policy[TOPOLOGY_POLICY_MAX] = "?";
    join_regions(g, regions);
    if (g->level_known)
        topology_policy_text(g->level, g->prefix, g->interval, policy);
    fprintf(out, "%-16s %-7s %6lld %-16s %-18s %-12s %s\n", g->name,
            g->transit  ? "transit"
            : g->fenced ? "fenced"
                        : "open",
            (long long)g->shards, g->write_region, policy,
            g->unavailable[0] != '\0' ? "unavailable"
            : g->split.shards > 0     ? "splitting"
            : g->settled              ? "ok"
                                      : "settling",
            regions);
    if (g->unavailable[0] != '\0')
        fprintf(out, "  unavailable: %s\n", g->unavailable);
}

void placement_groups_print(FILE *out, const struct json *j, json_ref list)
{
    struct placement_group *g;
    if (list == JSON_NONE || json_type(j, list) != JSON_ARRAY ||
        json_count(j, list) == 0)
        return;
    g = mem_alloc(sizeof(*g));
    fprintf(out, "%-16s %-7s %6s %-16s %-18s %-12s %s\n", "GROUP", "FENCE",
            "SHARDS", "WRITES", "LEVEL", "STATE", "REGIONS");
    for (json_ref v = json_first(j, list); v != JSON_NONE;
         v = json_next(j, list, v)) {
        placement_group_read(j, v, g);
        if (g->name[0] != '\0')
            print_row(out, g);
    }
    mem_free(g);
}

/* ---- shards ----------------------------------------------------------------
 */

int64_t placement_shards_count(const struct placement_group *g)
{
    return g->shards + g->split.shards;
}

int64_t placement_shards_id(const struct placement_group *g, int64_t index)
{
    return index < g->shards ? g->first_shard + index
                             : g->split.first_shard + index - g->shards;
}

static void hear_shard(struct placement_shards *s, const struct json *j,
                       json_ref object)
{
    const struct placement_group *g = s->group;
    char role[TOPOLOGY_STATE_MAX + 1], leader[CONFIG_NAME_MAX + 1];
    int64_t id = get_number(j, object, "shard"), at = 0;
    while (at < placement_shards_count(g) && placement_shards_id(g, at) != id)
        at++;
    if (at == placement_shards_count(g))
        return;
    struct placement_shard *shard = &s->list[at];
    topology_get_text(j, object, "role", role, sizeof(role));
    topology_get_text(j, object, "leader", leader, sizeof(leader));
    bool leads = strcmp(role, "leader") == 0;
    shard->replicas++;
    if (leader[0] == '\0')
        return;
    if (leads || shard->leader[0] == '\0')
        memcpy(shard->leader, leader, sizeof(leader));
    /* A replica without the keys may follow a leader that has them. */
    shard->ready |= topology_get_bool(j, object, "writable");
}

static void hear_node(void *user, unsigned node, int err,
                      const struct reach_answer *a, const struct err_msg *why)
{
    struct placement_shards *s = user;
    char name[CONFIG_NAME_MAX + 1];
    (void)node, (void)why;
    if (err != ERR_OK)
        return;
    topology_get_text(&a->json, 0, "node", name, sizeof(name));
    for (unsigned i = 0; i < s->group->node_count; i++)
        s->answered += strcmp(s->group->nodes[i], name) == 0;
    json_ref shards = json_get_str(&a->json, 0, "shards");
    if (shards == JSON_NONE || json_type(&a->json, shards) != JSON_ARRAY)
        return;
    for (json_ref v = json_first(&a->json, shards); v != JSON_NONE;
         v = json_next(&a->json, shards, v))
        hear_shard(s, &a->json, v);
}

void placement_shards_ask(struct reach *r, const struct placement_group *g,
                          struct placement_shards *out)
{
    *out = (struct placement_shards){
        .group = g,
        .list = mem_zalloc(((size_t)placement_shards_count(g) + 1) *
                           sizeof(*out->list))};
    reach_each(r, "GET", "status", NULL, REACH_ASK_TIMEOUT_US, hear_node, out);
}

unsigned placement_shards_ready(const struct placement_shards *s)
{
    unsigned n = 0;
    for (int64_t i = 0; i < s->group->shards; i++)
        n += s->list[i].ready;
    return n;
}
