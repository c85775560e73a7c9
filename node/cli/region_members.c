/* bastide region add, bastide region remove. */
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/cli/cmd.h"
#include "node/cli/interrupt.h"
#include "node/cli/members.h"
#include "node/cli/members_flags.h"
#include "node/cli/region.h"

static const char add_help[] =
    "Usage: bastide region add REGION [--priority A,B,C] [--dry-run] [--yes]\n"
    "\n"
    "Makes a region part of the running cluster. `bastide init --join REGION` "
    "must\n"
    "have made its nodes' folders; every node is told to read its list of "
    "regions\n"
    "again, and once the new nodes run, each gets a replica of every shard: "
    "first as\n"
    "a learner, which costs no write anything, then with a vote. Clients see "
    "the\n"
    "region in the account document when it has everything, not before.\n"
    "\n"
    "The cluster does this by itself: the command only shows how far it is. "
    "When it\n"
    "is interrupted, give it again to watch.\n"
    "\n"
    "  --priority A,B,C   all regions with the new one, first choice for "
    "writes\n"
    "                     first; without, it is the last\n" MEMBERS_HELP "\n"
    "Examples:\n"
    "  bastide init --dir demo --join brazilsouth\n"
    "  bastide demo --dir demo --start brazilsouth-1\n"
    "  bastide region add brazilsouth --dir demo\n";

static const char remove_help[] =
    "Usage: bastide region remove REGION [--dry-run] [--yes]\n"
    "\n"
    "Takes a region out of the running cluster: its nodes lose their votes, "
    "then\n"
    "their place in every shard, and clients no longer find it in the account\n"
    "document. If it takes the writes, they move to another region first. "
    "Refused\n"
    "when that is not possible, when too few of the other nodes are in reach "
    "to be a\n"
    "majority, or while a fenced placement group has the region.\n"
    "\n"
    "The region may be down. Its nodes are not stopped, nor wiped: the command "
    "ends\n"
    "with what is left to do.\n"
    "\n" MEMBERS_HELP "\n"
    "Example:\n"
    "  bastide region remove brazilsouth --dir demo --dry-run\n";

/* ---- add -------------------------------------------------------------------
 */

/* The new region last, or as the list says. */
static int order_regions(struct members_change *c, const char *region,
                         const char *priority)
{
    struct members_names all = c->before.regions;
    members_put(&all, region);
    if (priority == NULL) {
        c->regions = all;
        return CMD_OK;
    }
    for (const char *at = priority;; at++) {
        size_t len = strcspn(at, ",");
        char name[CONFIG_NAME_MAX + 1];
        snprintf(name, sizeof(name), "%.*s",
                 (int)(len <= CONFIG_NAME_MAX ? len : 0), at);
        if (!members_has(&all, name) || members_has(&c->regions, name))
            return options_refuse(c->command,
                                  "--priority %s: expected every region once, "
                                  "with %s",
                                  priority, region);
        members_put(&c->regions, name);
        at += len;
        if (*at == '\0')
            break;
    }
    return c->regions.count == all.count
               ? CMD_OK
               : options_refuse(c->command,
                                "--priority %s: expected all regions, with %s",
                                priority, region);
}

static int add(struct reach *r, struct members_change *c, const char *region,
               const char *priority)
{
    struct members after;
    struct err_msg msg;
    for (unsigned i = 0; i < r->node_count; i++)
        if (strcmp(r->nodes[i].region, region) == 0)
            members_put(&c->comes, r->nodes[i].name);
    if (c->comes.count == 0) {
        err_set(&msg, ERR_NOT_FOUND,
                "%s has no nodes of region %s; make them: bastide init --dir "
                "%s --join %s",
                c->dir, region, c->dir, region);
        return options_failed(c->command, msg.text);
    }
    bool there = members_has(&c->before.regions, region);
    if (there && c->before.settled) {
        if (!c->json)
            printf("Region %s is in the cluster already; bastide node add adds "
                   "nodes to it\n",
                   region);
        return CMD_OK;
    }
    int code = order_regions(c, region, priority);
    c->nodes = c->before.nodes;
    for (unsigned i = 0; i < c->comes.count && !there; i++)
        members_put(&c->nodes, c->comes.list[i]);
    if (code == CMD_OK)
        code = members_link_first(r, c);
    if (code == CMD_OK)
        code = members_carry_out(r, c, &after);
    if (code == CMD_OK && !c->dry_run && !c->json)
        printf("Region %s is in the cluster (epoch %lld); writes go to %s.\n",
               region, (long long)after.epoch, after.write_region);
    return code;
}

int region_add(int argc, char **argv)
{
    struct members_flags f = {.timeout_s = MEMBERS_TIMEOUT_S};
    const char *priority = NULL;
    const struct option_spec specs[] = {
        {.name = "priority", .kind = OPTION_TEXT, .value = &priority},
        MEMBERS_OPTIONS(&f)};
    struct members_change c = {.command = "region add"};
    struct reach r = {.https = NULL};
    int code = members_begin(argc, argv, specs, ARRAY_LEN(specs), add_help,
                             "which region?", &f, &c, &r);
    if (code != CMD_OK || f.help)
        return code;
    code = add(&r, &c, f.words[0], priority);
    reach_close(&r);
    return code;
}

/* ---- remove ----------------------------------------------------------------
 */

static void tell_removed(const struct reach *r, const struct members_change *c,
                         const char *region, const struct members *after)
{
    printf("Region %s is out of the cluster (epoch %lld); writes go to %s.\n",
           region, (long long)after->epoch, after->write_region);
    members_tell_residue(r, c, region, NULL);
}

static int remove_region(struct reach *r, struct members_change *c,
                         const char *region)
{
    struct members after;
    bool leaves = members_has(&c->before.leaving, region);
    if (!leaves && !members_has(&c->before.regions, region)) {
        struct err_msg msg;
        err_set(&msg, ERR_NOT_FOUND, "region %s is not in the cluster", region);
        return options_failed(c->command, msg.text);
    }
    int code = leaves ? CMD_OK : members_refuse_fenced(r, c, region, NULL);
    c->regions = c->before.regions;
    c->nodes = c->before.nodes;
    members_take(&c->regions, region);
    for (unsigned i = 0; i < r->node_count; i++)
        if (strcmp(r->nodes[i].region, region) == 0)
            members_take(&c->nodes, r->nodes[i].name);
    if (code == CMD_OK && c->regions.count == 0)
        code = options_failed(c->command, "it is the last region");
    if (code == CMD_OK)
        code = members_carry_out(r, c, &after);
    if (code == CMD_OK && !c->dry_run && !c->json)
        tell_removed(r, c, region, &after);
    return code;
}

int region_remove(int argc, char **argv)
{
    struct members_flags f = {.timeout_s = MEMBERS_TIMEOUT_S};
    const struct option_spec specs[] = {MEMBERS_OPTIONS(&f)};
    struct members_change c = {.command = "region remove"};
    struct reach r = {.https = NULL};
    int code = members_begin(argc, argv, specs, ARRAY_LEN(specs), remove_help,
                             "which region?", &f, &c, &r);
    if (code != CMD_OK || f.help)
        return code;
    code = remove_region(&r, &c, f.words[0]);
    reach_close(&r);
    return code;
}
