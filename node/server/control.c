#include "node/server/control.h"

#include <string.h>

#include "node/base/check.h"
#include "node/json/json.h"
#include "node/server/control_impl.h"
#include "node/server/control_reply.h"
#include "node/server/group_keys.h"
#include "node/server/holdings.h"
#include "node/server/placement.h"
#include "node/server/placement_keys.h"
#include "node/server/placement_move.h"
#include "node/server/placement_remove.h"
#include "node/server/placement_rules.h"
#include "node/server/placement_split.h"
#include "node/server/region_names.h"
#include "node/server/scrub_admin.h"

#define CONTROL_BODY_MAX (64u * 1024)

struct route {
    const char *path;
    void (*get)(struct worker *w, struct http_request *r, struct bytes query);
    void (*post)(struct worker *w, struct http_request *r,
                 const struct json *body);
    /* What a body may have: a misspelt "dry_run" must not do the thing. */
    const char *members;
};

static const struct route routes[] = {
    {"/topology", control_topology_get, NULL, NULL},
    {"/audit", control_audit_get, NULL, NULL},
    {"/regions/at-risk", control_at_risk_get, NULL, NULL},
    {"/consistency", NULL, control_consistency_post,
     "level max_staleness_prefix max_staleness_interval group"},
    {"/regions/switch", NULL, control_switch_post, "to force dry_run group"},
    {"/regions/display", NULL, region_names_post, "region name"},
    {"/regions/priority", NULL, control_priority_post,
     "order failback move group"},
    {"/regions/recover", control_recover_get, control_recover_post,
     "survivors confirm epoch"},
    {"/reload", NULL, control_reload_post, ""},
    {"/scrub", scrub_admin_get, scrub_admin_post, "shard"},
    {"/placement/move", NULL, placement_move,
     "database container group from dry_run"},
    {"/placement/move/cancel", NULL, placement_move_cancel,
     "database container"},
    {"/placement/moves", placement_moves, NULL, NULL},
    {"/placement/regions", NULL, placement_regions,
     "group regions nodes dry_run"},
    {"/placement/witness", NULL, placement_witness, "group witness dry_run"},
    {"/placement/split", NULL, placement_split, "group shards dry_run"},
    {"/placement/holdings", holdings_get, NULL, NULL},
    {"/placement/remove", NULL, placement_remove, "group dry_run"},
    {"/placement/rotate", NULL, group_keys_rotate, "group"},
    {"/placement", placement_list, placement_create,
     "name regions priority level max_staleness_prefix max_staleness_interval "
     "shards copies_per_region witness transit leaders"},
    {"/placement/settings", NULL, placement_settings,
     "group transit leaders dry_run"},
    {"/placement/containers", placement_containers, NULL, NULL},
    {"/placement/keys", NULL, placement_keys, "database container add"},
    {"/placement/rules", placement_rules_get, placement_rules_post,
     "rules require_placement etag"},
};

static const struct route *find_route(struct bytes target,
                                      struct bytes *query_out)
{
    const uint8_t *at =
        target.len > 0 ? memchr(target.data, '?', target.len) : NULL;
    size_t len = at != NULL ? (size_t)(at - target.data) : target.len;
    struct bytes path = bytes_of(target.data, len);
    *query_out =
        at != NULL ? bytes_of(at + 1, target.len - len - 1) : bytes_of(NULL, 0);
    for (size_t i = 0; i < ARRAY_LEN(routes); i++)
        if (bytes_equal(path, bytes_str(routes[i].path)))
            return &routes[i];
    return NULL;
}

bool control_target(struct bytes target)
{
    struct bytes query;
    return find_route(target, &query) != NULL;
}

static bool is_member(const struct json *j, json_ref key, const char *members)
{
    for (const char *name = members; *name != '\0';) {
        size_t len = strcspn(name, " ");
        if (json_string_equal(j, key, bytes_of(name, len)))
            return true;
        name += len + (name[len] == ' ');
    }
    return false;
}

/* Only members that are understood, each once. */
static bool members_known(const struct json *j, const char *members)
{
    for (json_ref k = json_first(j, 0); k != JSON_NONE;
         k = json_next_member(j, 0, k))
        if (!is_member(j, k, members))
            return false;
    return json_members_unique(j, 0);
}

static void refuse_members(struct http_request *r, const char *members)
{
    struct err_msg msg;
    err_set(&msg, ERR_INVALID, "unknown or repeated member; there are: %s",
            members);
    control_refuse_err(r, ERR_INVALID, msg.text);
}

static void handle_post(struct worker *w, struct http_request *r,
                        const struct route *route)
{
    struct json j;
    json_init(&j);
    if (r->body.len > CONTROL_BODY_MAX ||
        json_parse(&j, r->body, CONTROL_BODY_MAX, NULL) != ERR_OK ||
        json_type(&j, 0) != JSON_OBJECT)
        control_refuse(r, 400, "BadRequest", "the body must be a JSON object");
    else if (!members_known(&j, route->members))
        refuse_members(r, route->members);
    else
        route->post(w, r, &j);
    json_free(&j);
}

void control_handle(struct worker *w, struct http_request *r)
{
    struct bytes query;
    const struct route *route = find_route(r->target, &query);
    CHECK(route != NULL);
    if (route->get != NULL && r->method == HTTP_METHOD_GET)
        route->get(w, r, query);
    else if (route->post != NULL && r->method == HTTP_METHOD_POST)
        handle_post(w, r, route);
    else
        control_refuse(r, 405, "MethodNotAllowed",
                       route->get != NULL ? "only GET is understood here"
                                          : "only POST is understood here");
}
