/* Rules of placement on the admin API (node/catalog/placement_rules.h).
 *
 *   GET  /placement/rules   as committed:
 *     {"rules": [{"database": "*", "container": "de-*", "group": "eu"}, ...],
 *      "require_placement": true, "etag": "\"...\""}
 *   POST /placement/rules   in their place:
 *     {"rules": [...],              default: as they are
 *      "require_placement": true,   default: as it is
 *      "etag": "\"...\""}           only if they are still those: else 409
 *     200 as GET; 400 what is wrong with it; 409; 503 not now
 *
 * The account's record is read, changed and written on the condition that
 * nobody else did; the change is audited before, as those of groups are
 * (group_edit.h).
 */
#ifndef BASTIDE_SERVER_PLACEMENT_RULES_H
#define BASTIDE_SERVER_PLACEMENT_RULES_H

#include "node/base/bytes.h"

struct http_request;
struct json;
struct worker;

/* On worker 0. */
void placement_rules_get(struct worker *w, struct http_request *r,
                         struct bytes query);
void placement_rules_post(struct worker *w, struct http_request *r,
                          const struct json *j);

#endif
