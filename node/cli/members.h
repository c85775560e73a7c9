/* Which regions and nodes the cluster consists of, according to the records of
 * group default, and how they are changed while it runs (server/placement.h):
 * what `bastide region add` and `remove` and the parts of `bastide node` share.
 *
 *     preview --confirmed--> asked for --> learners, votes --> settled
 *         '--refused              '--Ctrl-C: goes on, watched again later
 */
#ifndef BASTIDE_CLI_MEMBERS_H
#define BASTIDE_CLI_MEMBERS_H

#include "node/cli/reach.h"

/* Names; the longest lists there are. */
struct members_names {
    char list[LAYOUT_NODES_MAX][CONFIG_NAME_MAX + 1];
    unsigned count;
};
_Static_assert(CONFIG_REGIONS_MAX <= LAYOUT_NODES_MAX, "it holds regions, too");

bool members_has(const struct members_names *names, const char *name);
/* Nothing for a name that is there already. */
void members_put(struct members_names *names, const char *name);
void members_take(struct members_names *names, const char *name);

struct members {
    struct members_names regions; /* by priority, without those that leave */
    struct members_names nodes;   /* that should hold replicas */
    struct members_names coming, leaving; /* regions */
    char write_region[CONFIG_NAME_MAX + 1];
    int64_t epoch;
    bool settled; /* nothing is under way */
};

/* Reads GET /placement. ERR_PROTOCOL: it has no group default. */
int members_parse(const struct json *j, struct members *out,
                  struct err_msg *msg);
/* Asks all nodes, and leaves a member to be asked first. Errors of reach_ask
 * and members_parse, if nobody knows. */
int members_get(struct reach *r, struct members *out, struct err_msg *msg);

/* Whether a fenced group has that region, or a node of it as its witness, or
 * that node; its name into `group_out`, CATALOG_NAME_MAX + 1 bytes. Errors of
 * reach_any. */
int members_find_fenced(struct reach *r, const char *region, const char *node,
                        bool *found_out, char *group_out, struct err_msg *msg);

struct members_change {
    const char *command; /* "region add" */
    const char *dir;
    struct members before;
    struct members_names regions, nodes; /* what it should be */
    struct members_names comes;          /* nodes, if it is not under way yet */
    bool yes, dry_run, json;
    unsigned timeout_s;
};

/* Tells every node to read its list of regions again: nothing else happens
 * there. ERR_INVALID: a node refuses its list. */
int members_reload(struct reach *r, const struct members_change *c,
                   struct err_msg *msg);

/* The same, and waits until the nodes
 * that come run and the members have links to them; says on stderr how to start
 * them. Errors of members_reload; ERR_TIMEOUT with what is missing;
 * ERR_CANCELLED: Ctrl-C. */
int members_wait_linked(struct reach *r, const struct members_change *c,
                        struct err_msg *msg);

/* Shows what the change would do, asks, has it done and waits until it is;
 * where it is under way already, only the latter. Nothing to be done is fine.
 * CMD_OK: `after_out` is what holds now, or nothing was to be changed
 * (dry_run); otherwise it has said why not. */
int members_carry_out(struct reach *r, const struct members_change *c,
                      struct members *after_out);

#endif
