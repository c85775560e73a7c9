/* Placement by partition key on the admin API (catalog/placement_map.h).
 *
 *   POST /placement/keys
 *     {"database": "shop", "container": "orders",
 *      "add": ["fr=eu", ...]}        lines; default: none, it only tells
 *     200 {"database", "container", "placement": "/country: de=eu, fr=eu",
 *          "path": "/country",
 *          "lines": [{"value": "de", "prefix": false, "group": "eu"}, ...]}
 *         group null: rejected; an empty prefix is the line of everything else
 *     404 no such database or container; 409 documents would have to move, or
 *     the container has one group as a whole; 400 what is wrong with a line;
 *     503 not now
 *
 * All lines are added or none, on the condition that the container's record is
 * the one that was looked at; others that change it meanwhile are waited out.
 * Audited before, as changes of groups are (group_edit.h). Nodes that do not
 * have the new map yet look for it before they refuse a key, before a strong
 * query, and when a session has been where it was known. */
#ifndef BASTIDE_SERVER_PLACEMENT_KEYS_H
#define BASTIDE_SERVER_PLACEMENT_KEYS_H

struct http_request;
struct json;
struct worker;

/* On worker 0. */
void placement_keys(struct worker *w, struct http_request *r,
                    const struct json *j);

#endif
