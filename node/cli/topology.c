#include "node/cli/topology.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"

/* ---- members ---------------------------------------------------------------
 */

void topology_get_text(const struct json *j, json_ref object, const char *key,
                       char *out, size_t size)
{
    struct buf scratch;
    struct bytes text;
    size_t len = 0;
    buf_init(&scratch, HTTPS_ANSWER_MAX);
    if (json_get_string(j, object, key, &scratch, &text) == ERR_OK) {
        len = text.len < size - 1 ? text.len : size - 1;
        for (size_t i = 0; i < len; i++)
            out[i] = text.data[i] < ' ' || text.data[i] == 0x7f
                         ? ' '
                         : (char)text.data[i];
    }
    out[len] = '\0';
    buf_free(&scratch);
}

static int64_t get_number(const struct json *j, json_ref object,
                          const char *key)
{
    int64_t value;
    return json_get_int64(j, object, key, &value) == ERR_OK && value >= 0
               ? value
               : TOPOLOGY_UNKNOWN;
}

static double get_real(const struct json *j, json_ref object, const char *key)
{
    json_ref value = json_get_str(j, object, key);
    return value != JSON_NONE && json_type(j, value) == JSON_NUMBER
               ? json_number(j, value)
               : TOPOLOGY_UNKNOWN;
}

bool topology_get_bool(const struct json *j, json_ref object, const char *key)
{
    bool value = false;
    return json_get_bool(j, object, key, &value) == ERR_OK && value;
}

/* A member of a type; JSON_NONE for anything else. */
static json_ref get_typed(const struct json *j, json_ref object,
                          const char *key, enum json_type type)
{
    json_ref value = json_get_str(j, object, key);
    return value != JSON_NONE && json_type(j, value) == type ? value
                                                             : JSON_NONE;
}

/* ---- reading ---------------------------------------------------------------
 */

static void read_node(const struct json *j, json_ref object,
                      struct topology_node *n)
{
    topology_get_text(j, object, "name", n->name, sizeof(n->name));
    topology_get_text(j, object, "state", n->state, sizeof(n->state));
    topology_get_text(j, object, "reason", n->reason, sizeof(n->reason));
    n->behind_ms = get_number(j, object, "behind_ms");
    n->behind_entries = get_number(j, object, "behind_entries");
}

static void read_region(const struct json *j, json_ref object,
                        struct topology_region *r)
{
    topology_get_text(j, object, "name", r->name, sizeof(r->name));
    topology_get_text(j, object, "display_name", r->shown_as,
                      sizeof(r->shown_as));
    topology_get_text(j, object, "state", r->state, sizeof(r->state));
    topology_get_text(j, object, "reason", r->reason, sizeof(r->reason));
    r->priority = get_number(j, object, "priority");
    json_ref nodes = get_typed(j, object, "nodes", JSON_ARRAY);
    if (nodes == JSON_NONE)
        return;
    for (json_ref n = json_first(j, nodes);
         n != JSON_NONE && r->node_count < CONFIG_REGION_NODES_MAX;
         n = json_next(j, nodes, n))
        read_node(j, n, &r->nodes[r->node_count++]);
}

static void read_switch(const struct json *j, struct topology_switch *s)
{
    json_ref object = get_typed(j, 0, "last_switch", JSON_OBJECT);
    if (object == JSON_NONE)
        return;
    s->known = true;
    topology_get_text(j, object, "from", s->from, sizeof(s->from));
    topology_get_text(j, object, "to", s->to, sizeof(s->to));
    topology_get_text(j, object, "kind", s->kind, sizeof(s->kind));
    topology_get_text(j, object, "at", s->at, sizeof(s->at));
    s->pause_ms = get_number(j, object, "pause_ms");
    s->lost_entries = get_number(j, object, "lost_entries");
}

static void read_rest(const struct json *j, struct topology *t)
{
    char text[TOPOLOGY_STATE_MAX + 1];
    topology_get_text(j, 0, "cluster", t->cluster, sizeof(t->cluster));
    topology_get_text(j, 0, "from", t->from, sizeof(t->from));
    topology_get_text(j, 0, "group", t->group, sizeof(t->group));
    topology_get_text(j, 0, "write_region", t->write_region,
                      sizeof(t->write_region));
    topology_get_text(j, 0, "unavailable", t->unavailable,
                      sizeof(t->unavailable));
    topology_get_text(j, 0, "failback", text, sizeof(text));
    t->failback_automatic = strcmp(text, "automatic") == 0;
    t->prefix = get_number(j, 0, "max_staleness_prefix");
    t->interval = get_number(j, 0, "max_staleness_interval");
    t->epoch = get_number(j, 0, "epoch");
    t->recovered = get_number(j, 0, "recovered");
    t->settled = topology_get_bool(j, 0, "settled");
    t->forced = topology_get_bool(j, 0, "forced");
    t->pinned = topology_get_bool(j, 0, "pinned");
    json_ref risk = get_typed(j, 0, "at_risk", JSON_OBJECT);
    t->risk_entries = TOPOLOGY_UNKNOWN;
    t->risk_seconds = TOPOLOGY_UNKNOWN;
    if (risk != JSON_NONE) {
        t->risk_entries = get_number(j, risk, "entries");
        t->risk_seconds = get_real(j, risk, "seconds");
    }
    read_switch(j, &t->last_switch);
}

int topology_parse(const struct json *j, struct topology *out,
                   struct err_msg *msg)
{
    char level[TOPOLOGY_TEXT_MAX + 1];
    json_ref regions = get_typed(j, 0, "regions", JSON_ARRAY);
    memset(out, 0, sizeof(*out));
    topology_get_text(j, 0, "level", level, sizeof(level));
    if (consistency_parse(bytes_str(level), &out->level) != ERR_OK)
        return err_set(msg, ERR_PROTOCOL,
                       "the node's topology has no level this program knows");
    if (regions == JSON_NONE)
        return err_set(msg, ERR_PROTOCOL, "the node's topology has no regions");
    read_rest(j, out);
    for (json_ref r = json_first(j, regions);
         r != JSON_NONE && out->region_count < CONFIG_REGIONS_MAX;
         r = json_next(j, regions, r))
        read_region(j, r, &out->regions[out->region_count++]);
    return ERR_OK;
}

/* Looks for a node that finds writes going on, and leaves it, or the one that
 * knows the newest decision, to be asked first. */
static void choose_witness(struct reach *r, const char *path,
                           struct reach_answer *a, struct topology *scratch)
{
    int64_t epoch = -1;
    unsigned first = r->first, best = r->first;
    for (unsigned i = 0; i < r->node_count; i++) {
        unsigned node = (first + i) % r->node_count;
        if (reach_ask(r, node, path, NULL, REACH_ASK_TIMEOUT_US, a, NULL) !=
                ERR_OK ||
            topology_parse(&a->json, scratch, NULL) != ERR_OK)
            continue;
        if (scratch->unavailable[0] == '\0' || scratch->epoch > epoch) {
            epoch = scratch->epoch;
            best = node;
        }
        if (scratch->unavailable[0] == '\0')
            break;
    }
    r->first = best;
}

void topology_path(const char *path, const char *group,
                   char out[TOPOLOGY_PATH_MAX])
{
    snprintf(out, TOPOLOGY_PATH_MAX, "%s%s%s", path,
             group != NULL ? "?group=" : "", group != NULL ? group : "");
}

int topology_ask(struct reach *r, const char *group, struct reach_answer *a,
                 struct topology *out, struct err_msg *msg)
{
    char path[TOPOLOGY_PATH_MAX];
    topology_path("topology", group, path);
    for (bool chosen = false;; chosen = true) {
        int err = reach_any(r, path, NULL, REACH_ASK_TIMEOUT_US, a, msg);
        if (err == ERR_OK)
            err = topology_parse(&a->json, out, msg);
        /* A node that is cut off knows less than those it was cut off from. */
        if (err != ERR_OK || out->unavailable[0] == '\0' || chosen)
            return err;
        choose_witness(r, path, a, out);
    }
}

int topology_get(struct reach *r, const char *group, struct topology *out,
                 struct err_msg *msg)
{
    struct reach_answer a;
    reach_answer_init(&a);
    int err = topology_ask(r, group, &a, out, msg);
    reach_answer_free(&a);
    return err;
}

/* ---- looking ---------------------------------------------------------------
 */

const struct topology_region *topology_find(const struct topology *t,
                                            const char *region)
{
    for (unsigned i = 0; i < t->region_count; i++)
        if (strcmp(t->regions[i].name, region) == 0)
            return &t->regions[i];
    return NULL;
}

int64_t topology_behind_ms(const struct topology_region *region)
{
    int64_t most = TOPOLOGY_UNKNOWN;
    for (unsigned i = 0; i < region->node_count; i++)
        if (region->nodes[i].behind_ms > most)
            most = region->nodes[i].behind_ms;
    return most;
}

int64_t topology_behind_entries(const struct topology_region *region)
{
    int64_t most = TOPOLOGY_UNKNOWN;
    for (unsigned i = 0; i < region->node_count; i++)
        if (region->nodes[i].behind_entries > most)
            most = region->nodes[i].behind_entries;
    return most;
}

/* ---- levels ----------------------------------------------------------------
 */

static const char *const words[CONSISTENCY_COUNT] = {
    [CONSISTENCY_STRONG] = "strong",
    [CONSISTENCY_BOUNDED] = "bounded-staleness",
    [CONSISTENCY_SESSION] = "session",
    [CONSISTENCY_PREFIX] = "consistent-prefix",
    [CONSISTENCY_EVENTUAL] = "eventual"};

int topology_read_level(const char *text, enum consistency_level *level_out)
{
    for (int i = 0; i < CONSISTENCY_COUNT; i++)
        if (strcasecmp(text, words[i]) == 0) {
            *level_out = (enum consistency_level)i;
            return ERR_OK;
        }
    if (strcasecmp(text, "bounded") == 0)
        *level_out = CONSISTENCY_BOUNDED;
    else if (strcasecmp(text, "prefix") == 0)
        *level_out = CONSISTENCY_PREFIX;
    else
        return consistency_parse(bytes_str(text), level_out);
    return ERR_OK;
}

static const char *topology_level_word(enum consistency_level level)
{
    CHECK(level < CONSISTENCY_COUNT);
    return words[level];
}

void topology_policy_text(enum consistency_level level, int64_t prefix,
                          int64_t interval, char out[TOPOLOGY_POLICY_MAX])
{
    if (level == CONSISTENCY_BOUNDED)
        snprintf(out, TOPOLOGY_POLICY_MAX, "%s (%lld entries, %lld s)",
                 topology_level_word(level), (long long)prefix,
                 (long long)interval);
    else
        snprintf(out, TOPOLOGY_POLICY_MAX, "%s", topology_level_word(level));
}
