#include "node/server/placement_parse.h"

#include <stdlib.h>
#include <string.h>

#include "failover/fence.h"
#include "node/server/worker.h"

int placement_get_name(const struct json *j, json_ref value,
                       char out[CATALOG_NAME_MAX + 1])
{
    char storage[CATALOG_NAME_MAX * 6 + 2];
    struct buf scratch = buf_over(storage, sizeof(storage));
    struct bytes text;
    if (value == JSON_NONE)
        return ERR_NOT_FOUND;
    if (json_type(j, value) != JSON_STRING ||
        json_string(j, value, &scratch, &text) != ERR_OK || text.len == 0 ||
        text.len > CATALOG_NAME_MAX || memchr(text.data, 0, text.len) != NULL)
        return ERR_INVALID;
    memcpy(out, text.data, text.len);
    out[text.len] = '\0';
    return ERR_OK;
}

int placement_get_dry_run(const struct json *j, bool *out, struct err_msg *msg)
{
    if (json_get_str(j, 0, "dry_run") != JSON_NONE &&
        json_get_bool(j, 0, "dry_run", out) != ERR_OK)
        return err_set(msg, ERR_INVALID, "dry_run must be true or false");
    return ERR_OK;
}

int placement_get_regions(const struct worker *w, const struct json *j,
                          const char *key, struct catalog_group *g,
                          struct err_msg *msg)
{
    json_ref list = json_get_str(j, 0, key);
    g->region_count = 0;
    if (list == JSON_NONE || json_type(j, list) != JSON_ARRAY ||
        json_count(j, list) == 0 || json_count(j, list) > GROUP_REGIONS_MAX)
        return err_set(msg, ERR_INVALID, "%s must be an array of regions", key);
    for (json_ref v = json_first(j, list); v != JSON_NONE;
         v = json_next(j, list, v)) {
        char name[CATALOG_NAME_MAX + 1];
        if (placement_get_name(j, v, name) != ERR_OK ||
            config_find_region(w->node->config, name) == NULL)
            return err_set(msg, ERR_INVALID,
                           "%s names a region that the cluster does not have",
                           key);
        if (catalog_group_region(g, name) < g->region_count)
            return err_set(msg, ERR_INVALID, "%s names %s twice", key, name);
        strcpy(g->regions[g->region_count++], name);
    }
    return ERR_OK;
}

/* One of two words; `*second_out` stays when the member is not there. */
static int get_choice(const struct json *j, const char *key, const char *first,
                      const char *second, bool *second_out, struct err_msg *msg)
{
    char text[CATALOG_NAME_MAX + 1];
    int err = placement_get_name(j, json_get_str(j, 0, key), text);
    if (err == ERR_NOT_FOUND)
        return ERR_OK;
    bool is_second = err == ERR_OK && strcmp(text, second) == 0;
    if (!is_second && (err != ERR_OK || strcmp(text, first) != 0))
        return err_set(msg, ERR_INVALID, "%s is %s or %s", key, first, second);
    *second_out = is_second;
    return ERR_OK;
}

int placement_get_settings(const struct worker *w, const struct json *j,
                           struct catalog_group *g, struct err_msg *msg)
{
    bool given = json_get_str(j, 0, "transit") != JSON_NONE ||
                 json_get_str(j, 0, "leaders") != JSON_NONE;
    int err =
        given ? feature_refuse(&w->node->features, FEATURE_PARTS, msg) : ERR_OK;
    if (err == ERR_OK)
        err = get_choice(j, "transit", GROUP_TRANSIT_DENY, GROUP_TRANSIT_ALLOW,
                         &g->transit, msg);
    if (err == ERR_OK)
        err = get_choice(j, "leaders", GROUP_LEADERS_SPREAD,
                         GROUP_LEADERS_GATHER, &g->gather, msg);
    if (err == ERR_OK && g->transit && !catalog_group_fenced(g))
        return err_set(msg, ERR_INVALID,
                       "%s has no fence: there is nothing to pass through",
                       g->name);
    return err;
}

static int by_id(const void *a, const void *b)
{
    return *(const uint8_t *)a - *(const uint8_t *)b;
}

void placement_finish_members(struct catalog_group *g)
{
    qsort(g->members, g->member_count, 1, by_id);
    memcpy(g->first_members, g->members, sizeof(g->members));
    g->first_count = g->member_count;
    g->first_witness = g->witness;
}

int placement_choose_members(const struct config *c, uint32_t copies,
                             struct catalog_group *g, struct err_msg *msg)
{
    for (size_t i = 0; i < c->region_count; i++) {
        const struct config_region *r = &c->regions[i];
        if (catalog_group_region(g, r->name) == g->region_count &&
            !FENCE_OPEN(MEMBERSHIP))
            continue;
        if (copies > r->node_count)
            return err_set(msg, ERR_INVALID,
                           "copies_per_region is %u, and %s has %zu nodes",
                           copies, r->name, r->node_count);
        size_t n = copies > 0 ? copies : r->node_count;
        for (size_t k = 0; k < n; k++) {
            if (g->member_count == GROUP_MEMBERS_MAX)
                return err_set(msg, ERR_INVALID,
                               "more than %d nodes: set copies_per_region",
                               GROUP_MEMBERS_MAX);
            g->members[g->member_count++] = (uint8_t)r->nodes[k].id;
        }
    }
    placement_finish_members(g);
    return ERR_OK;
}

uint32_t placement_copies_of(const struct config *c,
                             const struct catalog_group *g)
{
    uint32_t first = 0;
    if (!catalog_group_fenced(g))
        return 0;
    for (size_t i = 0; i < g->member_count; i++) {
        const struct config_region *region = NULL;
        if (config_find_node(c, g->members[i], &region) != NULL &&
            strcmp(region->name, g->regions[0]) == 0)
            first++;
    }
    const struct config_region *r = config_find_region(c, g->regions[0]);
    return r != NULL && first == r->node_count ? 0 : first;
}

int placement_get_text(const struct json *j, const char *key,
                       struct buf *scratch, struct bytes *out,
                       struct err_msg *msg)
{
    json_ref value = json_get_str(j, 0, key);
    if (value == JSON_NONE || json_type(j, value) != JSON_STRING ||
        json_string(j, value, scratch, out) != ERR_OK || out->len == 0)
        return err_set(msg, ERR_INVALID, "%s must be a string", key);
    return ERR_OK;
}

int placement_get_container(const struct worker *w, const struct json *j,
                            struct catalog_database **db_out,
                            struct container_def **def_out, struct err_msg *msg)
{
    struct catalog_database *db = NULL;
    struct container_def *def = NULL;
    struct buf scratch;
    struct bytes name;
    buf_init(&scratch, 4 * RESOURCE_NAME_BYTES_MAX);
    int err = placement_get_text(j, "database", &scratch, &name, msg);
    if (err == ERR_OK && (db = catalog_database(w->catalog, name)) == NULL)
        err = err_set(msg, ERR_NOT_FOUND, "there is no such database");
    buf_clear(&scratch);
    if (err == ERR_OK)
        err = placement_get_text(j, "container", &scratch, &name, msg);
    if (err == ERR_OK &&
        (def = catalog_container(w->catalog, db, name)) == NULL)
        err = err_set(msg, ERR_NOT_FOUND,
                      "there is no such container in the database");
    buf_free(&scratch);
    if (err == ERR_OK) {
        *db_out = catalog_database_ref(db);
        *def_out = container_def_ref(def);
    }
    return err;
}
