/* Moves of containers on the admin API (mover.h).
 *
 *   POST /placement/move
 *     {"database": "shop", "container": "orders", "group": "eu",
 *      "from": "us",                 of a container that is placed by
 *                                    partition key: what it has in this group
 *      "dry_run": true}              only says what would happen
 *     202 {"database", "container", "from", "to",
 *          "gets": [...], "loses": [...], "keeps": [...],   regions
 *          "through": [...]}         nodes that may do it: inside both fences
 *     404 no such database, container or group; 409 it is there already, or is
 *     being moved, or `group` has documents of another part; 400 no region is
 *     inside both fences, or `from` has nothing of the container, or is missing
 *     where it has several; 503 not now
 *
 *   POST /placement/move/cancel {"database", "container"}
 *     202; 409 it is not being moved, or is past the point: from "switching" on
 *     it goes on by itself
 *
 *   GET  /placement/moves   containers that are being moved, or ever were
 *     {"moves": [{"database", "container", "group", "other", "phase", "since",
 *       "mover", "copied", "about", "pass", "eta_seconds", "clean"}]}
 *     phase "" when it is over. clean: then also this node's files and log have
 *     nothing left of it in the other group (purge.h). The numbers are null at
 *     nodes that are not the mover. `group` of a container that is placed by
 *     partition key: of what moves, or moved last
 *
 * Each order, and the end of a move, leaves an audit record. */
#ifndef BASTIDE_SERVER_PLACEMENT_MOVE_H
#define BASTIDE_SERVER_PLACEMENT_MOVE_H

#include "node/base/bytes.h"

struct http_request;
struct json;
struct worker;

/* On worker 0. */
void placement_move(struct worker *w, struct http_request *r,
                    const struct json *j);
void placement_move_cancel(struct worker *w, struct http_request *r,
                           const struct json *j);
void placement_moves(struct worker *w, struct http_request *r,
                     struct bytes query);

#endif
