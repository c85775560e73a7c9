/* Removing a placement group, online.
 *
 *   POST /placement/remove {"group": "eu", "dry_run": true}
 *     202 (200 with dry_run) {"group", "first_shard", "shards", "nodes": [...]}
 *     400 group default, or a rule names it; 404; 409 a container is in it or
 *     moves to or from it, or another change is under way; 503 not now
 *
 *   its record says removing, in a new epoch --every node in reach has it, and
 *       nothing has come into it meanwhile--> the account's record lists its
 *       shards as removed --> its own record is deleted
 *   its record says removing --but a container is in it--> it says so no more,
 *       and the audit why
 *
 * A group that is being removed takes no new containers: whatever leads the
 * meta shard refuses them, also those that were ordered before
 * (placement_gate.h). The leader of the meta
 * shard does the steps, and another goes on where it stopped. Nodes close
 * replicas of removed shards and delete them (replicas.h), drop what the log
 * has of them with its segments, and wipe the keys, also those that come back
 * later: the account keeps the numbers, which are never used again.
 */
#ifndef BASTIDE_SERVER_PLACEMENT_REMOVE_H
#define BASTIDE_SERVER_PLACEMENT_REMOVE_H

#include <stdbool.h>
#include <stdint.h>

struct http_request;
struct json;
struct worker;

/* The one that worker 0 works at, while this node leads the meta shard. */
struct placement_removal {
    bool busy;        /* an edit is under way */
    uint16_t group;   /* its number; GROUP_DEFAULT: none */
    uint32_t epoch;   /* of the order: of its mark */
    uint64_t term;    /* in which this leader saw that, */
    uint64_t end_lsn; /* and where the log ended then */
};

/* Now and then, on worker 0. */
void placement_remove_check(struct worker *w);

/* On worker 0. */
void placement_remove(struct worker *w, struct http_request *r,
                      const struct json *j);

#endif
