/* What GET /topology says (docs/admin-api.md), for the commands that show it
 * or wait for it to change. */
#ifndef BASTIDE_CLI_TOPOLOGY_H
#define BASTIDE_CLI_TOPOLOGY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "node/catalog/catalog.h"
#include "node/cli/reach.h"
#include "node/config/config.h"

#define TOPOLOGY_TEXT_MAX 255
#define TOPOLOGY_STATE_MAX 15
/* Around a warning, on a terminal. */
#define TOPOLOGY_RED "\033[1;31m"
#define TOPOLOGY_PLAIN "\033[0m"
#define TOPOLOGY_UNKNOWN (-1) /* a number that the node did not know */

struct topology_node {
    char name[CONFIG_NAME_MAX + 1];
    char state[TOPOLOGY_STATE_MAX + 1];
    char reason[TOPOLOGY_TEXT_MAX + 1];
    int64_t behind_ms, behind_entries;
};

struct topology_region {
    char name[CONFIG_NAME_MAX + 1];
    char shown_as[CATALOG_NAME_MAX + 1]; /* to clients; "": an older node's */
    int64_t priority;
    char state[TOPOLOGY_STATE_MAX + 1];
    char reason[TOPOLOGY_TEXT_MAX + 1];
    struct topology_node nodes[CONFIG_REGION_NODES_MAX];
    unsigned node_count;
};

struct topology_switch {
    bool known;
    char from[CONFIG_NAME_MAX + 1], to[CONFIG_NAME_MAX + 1];
    char kind[TOPOLOGY_STATE_MAX + 1];
    char at[CLOCK_ISO_LEN + 1];
    int64_t pause_ms, lost_entries;
};

struct topology {
    char cluster[CONFIG_NAME_MAX + 1], from[CONFIG_NAME_MAX + 1];
    char group[CATALOG_NAME_MAX + 1]; /* whose; "": an older node's */
    enum consistency_level level;
    int64_t prefix, interval; /* of bounded staleness */
    int64_t epoch, recovered;
    char write_region[CONFIG_NAME_MAX + 1]; /* "": not known */
    bool settled, forced, failback_automatic;
    bool pinned; /* an operator chose the write region: no fail-back */
    struct topology_region regions[CONFIG_REGIONS_MAX]; /* by priority */
    unsigned region_count;
    int64_t risk_entries;
    double risk_seconds;                     /* negative: not known */
    char unavailable[TOPOLOGY_TEXT_MAX + 1]; /* "": writes go on */
    struct topology_switch last_switch;
};

/* Copies a string member, cut to the room; "" when missing or null. Control
 * characters become spaces: what a node says must not steer a terminal. */
void topology_get_text(const struct json *j, json_ref object, const char *key,
                       char *out, size_t size);
/* False also when missing. */
bool topology_get_bool(const struct json *j, json_ref object, const char *key);

/* Reads an answer. ERR_PROTOCOL when a member that must be there is not. */
int topology_parse(const struct json *j, struct topology *out,
                   struct err_msg *msg);

/* Asks any node about a placement group (NULL: default); if that one finds that
 * writes stop, the others, too, because it may be cut off from them: who finds
 * writes going on is believed, else who knows the newest decision, and is asked
 * first from then on. `a` has the answer. Errors of reach_any and
 * topology_parse. */
int topology_ask(struct reach *r, const char *group, struct reach_answer *a,
                 struct topology *out, struct err_msg *msg);
/* The same without the answer itself. */
int topology_get(struct reach *r, const char *group, struct topology *out,
                 struct err_msg *msg);
/* "topology", or "topology?group=eu": what to ask about a group. The group's
 * name has no characters that are special in a path. */
#define TOPOLOGY_PATH_MAX (CATALOG_NAME_MAX + 64)
void topology_path(const char *path, const char *group,
                   char out[TOPOLOGY_PATH_MAX]);

const struct topology_region *topology_find(const struct topology *t,
                                            const char *region);
/* How far the region's furthest replica is behind; TOPOLOGY_UNKNOWN. */
int64_t topology_behind_ms(const struct topology_region *region);
int64_t topology_behind_entries(const struct topology_region *region);

/* The table of regions, what is at risk, why writes stop. `colour`: warnings
 * in red. */
void topology_print(FILE *out, const struct topology *t, bool colour);
/* One region with its nodes. */
void topology_print_region(FILE *out, const struct topology *t,
                           const struct topology_region *region);

/* Levels as people type them: strong, bounded-staleness (or bounded), session,
 * consistent-prefix (or prefix), eventual; the API's spelling too.
 * ERR_INVALID. */
int topology_read_level(const char *text, enum consistency_level *level_out);
/* "bounded-staleness (100 entries, 5 s)" into `out`. */
#define TOPOLOGY_POLICY_MAX 80
void topology_policy_text(enum consistency_level level, int64_t prefix,
                          int64_t interval, char out[TOPOLOGY_POLICY_MAX]);

#endif
