/* bastide node add, remove, drain and replace. */
#include "node/cli/node_members.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/cli/cmd.h"
#include "node/cli/members.h"
#include "node/cli/members_flags.h"

static const char help[] =
    "Usage: bastide node add NODE [--dry-run] [--yes]\n"
    "       bastide node remove NODE [--dry-run] [--yes]\n"
    "       bastide node drain NODE [--dry-run] [--yes]\n"
    "       bastide node replace OLD NEW [--dry-run] [--yes]\n"
    "\n"
    "Changes which nodes of a region hold its replicas, while the cluster "
    "runs.\n"
    "\n"
    "  add       a node of a region that is in the cluster gets a replica of "
    "every\n"
    "            shard, first as a learner, then with a vote. `bastide init "
    "--join\n"
    "            REGION:NODES` makes its folder\n"
    "  remove    the node loses its votes and its place in every shard. It may "
    "be\n"
    "            down. Ends with what is left to wipe\n"
    "  drain     the same for a node that comes back: bastide node add, with "
    "the\n"
    "            data it has\n"
    "  replace   NEW is added and OLD removed in one change: there are never "
    "fewer\n"
    "            replicas than before\n"
    "\n"
    "The cluster does this by itself; when the command is interrupted, give it "
    "again\n"
    "to watch. A region's last node goes with bastide region remove.\n"
    "\n" MEMBERS_HELP "\n"
    "Examples:\n"
    "  bastide init --dir prod --join eu:3\n"
    "  bastide node replace eu-1 eu-3 --dir prod\n";

/* The region of a node that the folder knows; NULL, after having said so. */
static const char *region_of(const struct reach *r,
                             const struct members_change *c, const char *node)
{
    struct err_msg msg;
    for (unsigned i = 0; i < r->node_count; i++)
        if (strcmp(r->nodes[i].name, node) == 0)
            return r->nodes[i].region;
    err_set(&msg, ERR_NOT_FOUND,
            "%s has no node %s; bastide init --dir %s --join REGION:NODES "
            "makes nodes",
            c->dir, node, c->dir);
    (void)options_failed(c->command, msg.text);
    return NULL;
}

static bool region_has_nodes(const struct reach *r,
                             const struct members_names *nodes,
                             const char *region)
{
    for (unsigned i = 0; i < r->node_count; i++)
        if (strcmp(r->nodes[i].region, region) == 0 &&
            members_has(nodes, r->nodes[i].name))
            return true;
    return false;
}

/* Puts a node into what is wanted. CMD_OK. */
static int want(const struct reach *r, struct members_change *c,
                const char *node)
{
    struct err_msg msg;
    const char *region = region_of(r, c, node);
    if (region == NULL)
        return CMD_FAILED;
    if (!members_has(&c->before.regions, region)) {
        err_set(&msg, ERR_INVALID,
                "region %s is not in the cluster: bastide region add %s --dir "
                "%s brings it with its nodes",
                region, region, c->dir);
        return options_failed(c->command, msg.text);
    }
    members_put(&c->nodes, node);
    members_put(&c->comes, node);
    return CMD_OK;
}

/* Takes it out of what is wanted. */
static int unwant(struct reach *r, struct members_change *c, const char *node)
{
    struct err_msg msg;
    const char *region = region_of(r, c, node);
    if (region == NULL)
        return CMD_FAILED;
    members_take(&c->nodes, node);
    if (members_has(&c->regions, region) &&
        !region_has_nodes(r, &c->nodes, region)) {
        err_set(&msg, ERR_INVALID,
                "%s is the last node of region %s; bastide region remove %s "
                "takes both out",
                node, region, region);
        return options_failed(c->command, msg.text);
    }
    return members_has(&c->before.nodes, node)
               ? members_refuse_fenced(r, c, NULL, node)
               : CMD_OK;
}

/* What is wanted is there already: 0 nodes come or go. */
static bool is_done(const struct members_change *c)
{
    return c->before.settled && c->nodes.count == c->before.nodes.count &&
           memcmp(&c->nodes, &c->before.nodes, sizeof(c->nodes)) == 0;
}

/* `comes` and `goes` may be NULL. */
static int change(struct reach *r, struct members_change *c, const char *comes,
                  const char *goes, struct members *after)
{
    int code = CMD_OK;
    c->regions = c->before.regions;
    c->nodes = c->before.nodes;
    if (comes != NULL)
        code = want(r, c, comes);
    if (code == CMD_OK && goes != NULL)
        code = unwant(r, c, goes);
    if (code != CMD_OK)
        return code;
    if (is_done(c)) {
        *after = c->before;
        return CMD_OK;
    }
    if (comes != NULL)
        code = members_link_first(r, c);
    return code == CMD_OK ? members_carry_out(r, c, after) : code;
}

static void tell(const struct reach *r, const struct members_change *c,
                 const char *comes, const char *goes, bool comes_back,
                 const struct members *after)
{
    if (comes != NULL)
        printf("Node %s is in the cluster (epoch %lld).\n", comes,
               (long long)after->epoch);
    if (goes == NULL)
        return;
    printf("Node %s is out of the cluster (epoch %lld).\n", goes,
           (long long)after->epoch);
    if (comes_back)
        printf("It can be stopped. With the data it has it comes back by: "
               "bastide node add %s --dir %s\n",
               goes, c->dir);
    else
        members_tell_residue(r, c, NULL, goes);
}

/* ---- the command -----------------------------------------------------------
 */

enum part { ADD, REMOVE, DRAIN, REPLACE };
static const struct {
    const char *name, *command, *question;
} parts[] = {[ADD] = {"add", "node add", "which node?"},
             [REMOVE] = {"remove", "node remove", "which node?"},
             [DRAIN] = {"drain", "node drain", "which node?"},
             [REPLACE] = {"replace", "node replace", "which node, by which?"}};

static int run(enum part part, int argc, char **argv)
{
    struct members_flags f = {.timeout_s = MEMBERS_TIMEOUT_S,
                              .words_max = part == REPLACE ? 2 : 1};
    const struct option_spec specs[] = {MEMBERS_OPTIONS(&f)};
    struct members_change c = {.command = parts[part].command};
    struct members after;
    struct reach r = {.https = NULL};
    int code = members_begin(argc, argv, specs, ARRAY_LEN(specs), help,
                             parts[part].question, &f, &c, &r);
    if (code != CMD_OK || f.help)
        return code;
    const char *comes = part == ADD       ? f.words[0]
                        : part == REPLACE ? f.words[1]
                                          : NULL;
    const char *goes = part == ADD ? NULL : f.words[0];
    code = change(&r, &c, comes, goes, &after);
    if (code == CMD_OK && !f.dry_run && !f.json)
        tell(&r, &c, comes, goes, part == DRAIN, &after);
    reach_close(&r);
    return code;
}

bool node_members_run(int argc, char **argv, int *code_out)
{
    for (size_t i = 0; argc > 1 && i < ARRAY_LEN(parts); i++)
        if (strcmp(argv[1], parts[i].name) == 0) {
            *code_out = run((enum part)i, argc - 1, argv + 1);
            return true;
        }
    return false;
}
