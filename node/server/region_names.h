/* What clients see a region called: the account document's `name`. The
 * region's own name stays in certificates, files, commands and placement.
 *
 *   POST /regions/display {"region": "germany", "name": "Germany West Central"}
 *     200 {"region", "display_name"}; its own name takes the other one back
 *     400 no such region, or not a name that clients can tell from others'
 *
 * The names are part of the account's record. Clients compare names without
 * their spaces and in lower case (SDKs do), so no two may be equal in that.
 */
#ifndef BASTIDE_SERVER_REGION_NAMES_H
#define BASTIDE_SERVER_REGION_NAMES_H

struct catalog;
struct http_request;
struct json;
struct worker;

/* As clients see it; `region` itself where nothing else was said. Borrowed from
 * the catalog, or from the caller. */
const char *region_display_name(const struct catalog *c, const char *region);

/* On worker 0. */
void region_names_post(struct worker *w, struct http_request *r,
                       const struct json *j);

#endif
