#include "node/cli/members_flags.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/cli/cmd.h"
#include "node/cli/interrupt.h"

static int parse(int argc, char **argv, const struct option_spec *specs,
                 unsigned spec_count, const char *help, const char *question,
                 struct members_flags *f, const char *command)
{
    char **words;
    unsigned count, needed = f->words_max > 0 ? f->words_max : 1;
    CHECK(needed <= MEMBERS_WORDS_MAX);
    int code = options_parse(command, argc, argv, specs, spec_count, needed,
                             &words, &count);
    if (code == CMD_OK && f->help)
        fputs(help, stdout);
    else if (code == CMD_OK && count < needed)
        code = options_refuse(command, "%s", question);
    for (unsigned i = 0; code == CMD_OK && i < count; i++) {
        f->words[i] = words[i];
        if (!f->help && !config_name_ok(words[i]))
            code = options_refuse(command, "\"%.64s\" is no name", words[i]);
    }
    return code;
}

int members_begin(int argc, char **argv, const struct option_spec *specs,
                  unsigned spec_count, const char *help, const char *question,
                  struct members_flags *f, struct members_change *c,
                  struct reach *r)
{
    struct err_msg msg;
    int code =
        parse(argc, argv, specs, spec_count, help, question, f, c->command);
    if (code != CMD_OK || f->help)
        return code;
    const struct reach_flags reach = {.dir = f->dir};
    c->dir = f->dir != NULL ? f->dir : "demo";
    c->yes = f->yes;
    c->dry_run = f->dry_run;
    c->json = f->json;
    c->timeout_s = f->timeout_s;
    int err = reach_open(&reach, r, &msg);
    if (err == ERR_OK)
        err = members_get(r, &c->before, &msg);
    if (err == ERR_OK)
        return CMD_OK;
    reach_close(r);
    return options_failed(c->command, msg.text);
}

int members_link_first(struct reach *r, struct members_change *c)
{
    struct err_msg msg;
    bool begun = true;
    for (unsigned i = 0; i < c->comes.count; i++)
        begun = begun && members_has(&c->before.nodes, c->comes.list[i]);
    if (begun)
        return CMD_OK;
    if (!c->dry_run)
        interrupt_watch();
    int err = c->dry_run ? members_reload(r, c, &msg)
                         : members_wait_linked(r, c, &msg);
    return err == ERR_OK ? CMD_OK : options_failed(c->command, msg.text);
}

int members_refuse_fenced(struct reach *r, const struct members_change *c,
                          const char *region, const char *node)
{
    char group[CONFIG_NAME_MAX + 1] = "";
    struct err_msg msg;
    bool found = false;
    int err = members_find_fenced(r, region, node, &found, group, &msg);
    if (err == ERR_OK && found)
        err = err_set(&msg, ERR_BUSY,
                      "%s is in the fence of placement group %s, which has to "
                      "leave it first",
                      region != NULL ? region : node, group);
    return err == ERR_OK ? CMD_OK : options_failed(c->command, msg.text);
}

void members_tell_residue(const struct reach *r, const struct members_change *c,
                          const char *region, const char *node)
{
    puts("Stop what is out, then wipe these folders, here and on the nodes' "
         "machines:");
    for (unsigned i = 0; i < r->node_count; i++)
        if (region != NULL ? strcmp(r->nodes[i].region, region) == 0
                           : strcmp(r->nodes[i].name, node) == 0)
            printf("  %s/%s/data\n", c->dir, r->nodes[i].name);
    puts(
        "They hold sealed documents, and the folders around them the keys that "
        "open them\n(kek.key, cluster.keys, region.key) and those of clients "
        "(account.keys): wipe these\ntoo where the machine is given away. A "
        "copy of a node's certificate is good until\nit ends. The entries in "
        "the lists of regions stay, since their places count. Do not\nstart a "
        "node that is out with an empty data folder.");
}
