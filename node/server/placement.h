/* Placement groups on the admin API.
 *
 *   GET  /placement   all groups: fence, decision, shards, state of their keys
 *   GET  /placement/containers?group=eu   which containers are in it
 *     {"containers": [{"database", "container"}...], "more": false}
 *     more: there are others, for which this answer has no room
 *   POST /placement   creates one
 *     {"name": "eu", "regions": ["germany", "france"],
 *      "priority": [...],             default: as in regions
 *      "level": "Session", "max_staleness_prefix", "max_staleness_interval",
 *                                     default: the account's
 *      "shards": 2,                   default: as group default has
 *      "copies_per_region": 1,        default: every node of the regions
 *      "witness": "us",               a third region whose first node votes
 *                                     without holding payload; default: none
 *      "transit": "allow",           nodes outside pass requests through;
 *                                     default: "deny"
 *      "leaders": "gather"}          on one node; default: "spread"
 *     201 {"name", "number", "first_shard", "shards", "warnings": [...]}
 *     400 what is wrong with it; 409 it exists; 503 not now
 *
 *   POST /placement/regions  changes a group's fence, and of group default (and
 *                            the meta shard) the regions and nodes of the
 * cluster
 *     {"group": "eu", "regions": ["germany", "spain"], by priority
 *      "nodes": ["germany-1", ...],  default: all of the regions, or as many
 *                                     of each as the group has
 *      "dry_run": true}              only says what would happen
 *     202 {"epoch", "comes": [...], "goes": [...], "nodes_come", "nodes_go",
 *          "write_region"}
 *     409 the change before is under way
 *   Regions that come get the keys, then replicas, then votes; those that go
 *   stay inside the fence until no shard has a member there; then they lose the
 *   keys, and delete their replicas (replicas.h).
 *
 *   POST /placement/witness  another witness for a two-region group, or none
 *     {"group": "eu", "witness": "us",   a region; null: none
 *      "dry_run": true}              only says what would happen
 *     202 {"epoch", "comes", "goes": node or null, "warnings": [...]}
 *     400 what is wrong with it; 409 it is so already, or not now
 *     503 the cluster's feature level is too low (FEATURE_WITNESS_CHANGE)
 *   While one is coming, the one before (or null) takes that back.
 *   One that comes is a learner first, like everybody, and of heads alone from
 *   the first; it votes in place of the one before from one step to the next.
 *
 *   POST /placement/settings  what can be set beside the decision
 *     {"group": "eu", "transit": "allow", "leaders": "gather",  one or both
 *      "dry_run": true}              only says what it would be
 *     200 {"group", "transit", "leaders",
 *          "outside": [...]}         regions through which requests will come
 *     503 the cluster's feature level is too low (FEATURE_PARTS)
 *
 * A group is made in two writes to the meta shard: the account's record gives
 * out number and shards, on the condition that nobody else was faster; then the
 * group's own. A crash between them costs numbers and nothing else. Its members
 * open their replicas when they learn of it (replicas.h), elect leaders, and
 * the first shard's makes the keys (group_keys.h).
 */
#ifndef BASTIDE_SERVER_PLACEMENT_H
#define BASTIDE_SERVER_PLACEMENT_H

#include "node/base/bytes.h"

struct catalog_account;
struct catalog_group;
struct config;
struct http_request;
struct json;
struct json_writer;
struct worker;

/* Shards of one fenced group. */
#define PLACEMENT_SHARDS_MAX 64

/* One group as an object, as in GET /placement. */
void placement_put(struct json_writer *w, const struct worker *worker,
                   const struct catalog_group *g);

/* A node's name as a member; null for 0. */
void placement_put_node(struct json_writer *w, const char *key,
                        const struct config *c, uint32_t id);

/* On worker 0. */
void placement_containers(struct worker *w, struct http_request *r,
                          struct bytes query);
void placement_list(struct worker *w, struct http_request *r,
                    struct bytes query);
void placement_create(struct worker *w, struct http_request *r,
                      const struct json *j);
void placement_regions(struct worker *w, struct http_request *r,
                       const struct json *j);
void placement_witness(struct worker *w, struct http_request *r,
                       const struct json *j);
void placement_settings(struct worker *w, struct http_request *r,
                        const struct json *j);

/* The numbers that an account gives out next, when it has not given out any. */
void placement_first_numbers(const struct worker *w, struct catalog_account *a);

#endif
