/* Private to control*.c: one file per route of control.c's table, named after
 * the route's path (/regions/at-risk: control_at_risk.c), and what they share
 * (control_order.c). docs/admin-api.md is the manual of bodies and answers.
 * Everything here is called on worker 0.
 *
 * A handler answers its request exactly once, now or later, with one of
 * control_reply.h. A body has been parsed then: an object with no members but
 * those that the table names. It is the caller's, and gone when the handler
 * returns. */
#ifndef BASTIDE_SERVER_CONTROL_IMPL_H
#define BASTIDE_SERVER_CONTROL_IMPL_H

#include "node/base/clock.h"
#include "node/base/err.h"
#include "node/catalog/catalog.h"
#include "node/govern/record.h"
#include "node/http/http.h"
#include "node/json/json.h"

struct worker;

/* Of each operation that a route sends to the meta shard. */
#define CONTROL_TIMEOUT_US (5 * USEC_PER_SEC)

/* ---- orders: requests that change a group's decision ---- */

/* One request that changes the decision. */
struct control_order {
    struct worker *worker;
    struct http_request *request;
    uint16_t group; /* whose decision */
    char group_name[CATALOG_NAME_MAX + 1];
    struct consistency_policy level;
    raft_region to, from; /* from: which was checked */
    bool force;
    uint32_t n_order;
    raft_region order[GROUP_REGIONS_MAX];
    bool failback, failback_given, move;
};

/* An order about the group that the member `group` names; without one, about
 * default. To be ended by control_order_begin, or by mem_free after an answer.
 * NULL after having refused it: 404, there is no group of that name. */
struct control_order *control_order_new(struct worker *w,
                                        struct http_request *r,
                                        const struct json *j);

/* Carries it out by group_edit, which calls `change` with the order as `user`;
 * `what` is for the audit record. Takes the order over and answers the request:
 * 202 with the epoch, or by the edit's error. */
void control_order_begin(struct control_order *o, const char *what,
                         int (*change)(void *user,
                                       const struct govern_record *now,
                                       struct govern_record *next_out,
                                       struct err_msg *msg));

/* ---- reading requests ---- */

/* A region's name, as its number. ERR_OK; ERR_NOT_FOUND: `value` is JSON_NONE,
 * absent; ERR_INVALID: no string, or no region of the configuration. */
int control_read_region(const struct worker *w, const struct json *j,
                        json_ref value, raft_region *region_out);

/* The member `key`, false if it is absent. ERR_OK; ERR_INVALID: neither true
 * nor false. */
int control_read_flag(const struct json *j, const char *key, bool *out);

/* The group that `?group=` asks about; without it, default. Borrowed from the
 * catalog; this node has a decision of it. NULL after having refused: 404,
 * there is none of that name; 503, this node does not know it yet. */
const struct catalog_group *control_query_group(const struct worker *w,
                                                struct http_request *r,
                                                struct bytes query);

/* ---- the routes ---- */

void control_topology_get(struct worker *w, struct http_request *r,
                          struct bytes query);
void control_audit_get(struct worker *w, struct http_request *r,
                       struct bytes query);
void control_at_risk_get(struct worker *w, struct http_request *r,
                         struct bytes query);
/* Answers what a forced switch of the group would lose, as far as the shards'
 * leaders on this node know: for GET /regions/at-risk if `o` is NULL, else for
 * the dry run of the switch `o`, which is taken over. */
void control_at_risk_begin(struct worker *w, struct http_request *r,
                           const struct catalog_group *g,
                           struct control_order *o);
void control_consistency_post(struct worker *w, struct http_request *r,
                              const struct json *j);
void control_switch_post(struct worker *w, struct http_request *r,
                         const struct json *j);
void control_priority_post(struct worker *w, struct http_request *r,
                           const struct json *j);
/* What a recovery's epoch has to be newer than. */
void control_recover_get(struct worker *w, struct http_request *r,
                         struct bytes query);
/* Makes this node one of a cluster of the named survivors alone, by force: each
 * of their nodes is asked with the same epoch. */
void control_recover_post(struct worker *w, struct http_request *r,
                          const struct json *j);
/* Reads certificates, account keys and the list of regions again (reload.h). */
void control_reload_post(struct worker *w, struct http_request *r,
                         const struct json *body);

#endif
