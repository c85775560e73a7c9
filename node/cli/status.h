/* What a node says about itself: `GET /status` of its admin listener, for
 * administrators (client certificate with the URI spiffe://<cluster>/admin).
 *
 *     { "cluster": "demo", "region": "eastus", "node": "eastus-1", "id": 1,
 *       "version": "0.1.0", "protocol": { "min": 1, "max": 1 },
 *       "feature_level": { "active": 2, "supported": 2, "wanted": 2 },
 *       "ready": true, "uptime_s": 17, "workers": 2,
 *       "shards": [ { "shard": 0, "group": "meta", "role": "leader",
 *                     "leader": "eastus-1", "term": 3, "lsn": 120,
 *                     "commit_lsn": 120, "applied_lsn": 120,
 *                     "members": [ { "node": "eastus-1", "votes": true,
 *                                    "state": "leader", "reachable": true,
 *                                    "match_lsn": 120, "behind": 0 } ] } ],
 *       "transfers": [ { "shard": 1, "from": "eastus-1", "to": "uksouth-1",
 *                        "lsn": 80, "bytes": 4194304, "there_bytes": 4194304,
 *                        "about_bytes": 12582912, "for_s": 3, "eta_s": 6,
 *                        "waits": false } ],
 *       "links": [ { "node": "westeurope-1", "state": "up", "protocol": 1,
 *                    "feature_level": 2, "refusals": 0 },
 *                  { "node": "southeastasia-1", "state": "backoff",
 *                    "reason": "Connection refused", "refused": false,
 *                    "refusals": 0 } ],
 *       "account": { "level": "Session", "epoch": 1, ... },
 *       "fault_injection": true, "faults": [ "cut eastus -> *, both ways" ] }
 *
 * `role` is leader, follower, candidate or learner; `leader` is null while
 * none is known; `lsn` is the end of the node's own log. Readers ignore members
 * they do not know and show "-" for those that are missing. How far a replica
 * lags is the leader's commit_lsn minus its own applied_lsn. `faults` are those
 * on request (node/server/faults.h). `feature_level` is that of
 * node/base/feature.h, in a link what the peer supports; `refused` says that
 * one of the two will not have the other, for `reason`. With the nodes' words
 * goes one answer to GET /topology (node/cli/topology.h).
 */
#ifndef BASTIDE_CLI_STATUS_H
#define BASTIDE_CLI_STATUS_H

#include <stdbool.h>
#include <stdio.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/config/config.h"
#include "node/json/json.h"

/* One node asked: its answer, or why there is none. */
struct status_node {
    char region[CONFIG_NAME_MAX + 1]; /* "" when only an URL was given */
    char name[CONFIG_NAME_MAX + 1];
    char admin[CONFIG_HOST_MAX + 32]; /* URL asked */
    bool reached;
    bool ready;         /* as it said */
    struct err_msg why; /* when not reached */
    struct buf body;    /* its JSON, checked */
};

/* What was gathered. */
struct status_view {
    struct status_node *nodes;
    unsigned count;
    const struct json *topology; /* NULL: nobody could tell */
    struct err_msg topology_why;
    bool colour; /* warnings in red */
};

void status_print_text(FILE *out, const struct status_view *view);
void status_print_json(FILE *out, const struct status_view *view);

#endif
