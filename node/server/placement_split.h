/* Splits of placement groups on the admin API (splitter.h).
 *
 *   POST /placement/split
 *     {"group": "eu", "shards": 8,
 *      "dry_run": true}              only says what would happen
 *     202 {"group", "from", "to", "containers"}; 200 for a dry run
 *     404 no such group; 400 `shards` is no multiple of what it has, or too
 *     many; 409 it is being split, changes its regions, or one of its
 *     containers is being moved; 503 not now
 *
 * The order, and the end of a split, leave an audit record each. How far it is:
 * GET /placement (placement.h). */
#ifndef BASTIDE_SERVER_PLACEMENT_SPLIT_H
#define BASTIDE_SERVER_PLACEMENT_SPLIT_H

struct http_request;
struct json;
struct worker;

/* Shards of one group; as many as `shards` of the configuration may be. */
#define PLACEMENT_SPLIT_MAX 1024

/* On worker 0. */
void placement_split(struct worker *w, struct http_request *r,
                     const struct json *j);

#endif
