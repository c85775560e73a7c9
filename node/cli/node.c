/* bastide node: one node, in the foreground. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/fault.h"
#include "node/base/log.h"
#include "node/cli/cmd.h"
#include "node/cli/node_members.h"
#include "node/cli/options.h"
#include "node/config/config.h"
#include "node/server/node.h"
#include "node/server/own_region.h"

/* --set flags on one command line; the refusal names it. */
#define SETS_MAX 64

static const char help[] =
    "Usage: bastide node --config FILE [--check-config] [--rebuild [--yes]]\n"
    "                    [--set NAME=VALUE]...\n"
    "       bastide node add|remove|drain NODE, bastide node replace OLD NEW\n"
    "                    which nodes the cluster has: bastide node add --help\n"
    "\n"
    "Runs one node in the foreground until SIGTERM. Settings come from the "
    "file,\n"
    "then from environment variables, then from --set; the last one wins.\n"
    "\n"
    "  --config FILE      node.yaml, as made by `bastide init`; without it, "
    "what\n"
    "                     BASTIDE_CONFIG in the environment names\n"
    "  --check-config     say what is wrong with the settings, or \"ok\"; "
    "start\n"
    "                     nothing. Warns of what is for tests only\n"
    "  --rebuild          after the node refused to start with damaged data: "
    "put it\n"
    "                     away (into discarded-N in the data folder) and get "
    "it\n"
    "                     anew from the other nodes, all of which must answer\n"
    "  --yes              with --rebuild: also if no damage was found\n"
    "  --set NAME=VALUE   one setting, by its dotted name\n"
    "\n"
    "Examples:\n"
    "  bastide node --config prod/eu-1/node.yaml\n"
    "  bastide node --config prod/eu-1/node.yaml --check-config\n"
    "  BASTIDE_LOG_LEVEL=debug bastide node --config eu-1/node.yaml --set "
    "workers=1\n"
    "\n"
    "Settings (in the environment: BASTIDE_ and the name in capitals, with _ "
    "for "
    "every dot; with _FILE behind it, the name of a file with the value):\n";

static void print_help(void)
{
    struct config_setting s;
    fputs(help, stdout);
    for (size_t i = 0; config_describe(i, &s); i++)
        printf("  %-26s %s%s%s\n%29s%s\n", s.name,
               s.fallback != NULL ? "default " : "needed",
               s.fallback != NULL ? s.fallback : "", "", "", s.help);
    printf("  %-26s list of regions and their nodes, in the file only\n",
           "regions");
}

struct node_flags {
    const char *file;
    const char *sets[SETS_MAX];
    size_t set_count;
    bool check, json, help;
    struct node_options run;
};

static bool add_set(const char *text, void *value)
{
    struct node_flags *f = value;
    if (f->set_count == SETS_MAX)
        return false;
    f->sets[f->set_count++] = text;
    return true;
}

static int parse_flags(int argc, char **argv, struct node_flags *f)
{
    const struct option_spec specs[] = {
        {.name = "config", .kind = OPTION_TEXT, .value = &f->file},
        {.name = "check-config", .kind = OPTION_FLAG, .value = &f->check},
        {.name = "set",
         .kind = OPTION_OTHER,
         .value = f,
         .read = add_set,
         .expected = "at most 64 of these"},
        {.name = "rebuild", .kind = OPTION_FLAG, .value = &f->run.rebuild},
        {.name = "yes", .kind = OPTION_FLAG, .value = &f->run.sure},
        {.name = "output", .kind = OPTION_OUTPUT, .value = &f->json},
        {.name = "help", .kind = OPTION_FLAG, .value = &f->help}};
    int code = options_parse("node", argc, argv, specs, ARRAY_LEN(specs), 0,
                             NULL, NULL);
    if (code != CMD_OK)
        return code;
    if (f->file == NULL)
        f->file = getenv(CONFIG_ENV_FILE);
    if (f->run.sure && !f->run.rebuild)
        return options_refuse("node", "--yes goes with --rebuild");
    if (!f->help && f->file == NULL)
        return options_refuse("node", "--config FILE is needed; `bastide init` "
                                      "makes one");
    return CMD_OK;
}

/* Whether the key-encryption key opens the keys that lie beside it. */
static int check_keys(const struct config *c, struct err_msg *msg)
{
    struct kek kek = {.key = {0}};
    struct cluster_keys cluster = {.cluster = ""};
    struct region_key region;
    int err = kek_load_file(c->keys.kek, msg, &kek);
    if (err == ERR_OK)
        err =
            cluster_keys_read(c->keys.cluster, &kek, c->cluster, msg, &cluster);
    if (err == ERR_OK)
        err = own_region_key(c, &kek, cluster.cluster_id, msg, &region);
    if (err == ERR_OK)
        region_key_wipe(&region);
    kek_wipe(&kek);
    cluster_keys_wipe(&cluster);
    return err;
}

/* What --check-config can see beyond the settings themselves: the files they
 * name. */
static int check_files(const struct config *c, struct err_msg *msg)
{
    struct config_account_keys keys;
    const char *files[] = {c->tls.ca, c->tls.cert, c->tls.key, c->keys.kek,
                           c->keys.cluster};
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        if (access(files[i], R_OK) != 0)
            return err_set(msg, err_from_errno(errno), "%s: cannot read it: %s",
                           files[i], strerror(errno));
    int err = config_account_keys_load(c->keys.account, &keys, msg);
    if (err != ERR_OK)
        return err;
    config_account_keys_wipe(&keys);
    return check_keys(c, msg);
}

/* What is no mistake, but nothing for production. NULL: nothing. */
static const char *warning_of(const struct config *c)
{
    return c->fault_injection
               ? "fault_injection is true: administrators can make this node "
                 "fail on purpose. For tests only; leave it out in production"
               : NULL;
}

static int check_config(const struct config *c, bool json)
{
    struct err_msg msg;
    const char *warning = warning_of(c);
    if (check_files(c, &msg) != ERR_OK)
        return options_failed("node", msg.text);
    if (json)
        printf("{\"ok\":true,\"warnings\":[%s%s%s]}\n",
               warning != NULL ? "\"" : "", warning != NULL ? warning : "",
               warning != NULL ? "\"" : "");
    else
        puts("ok");
    if (warning != NULL)
        fprintf(stderr, "bastide node: warning: %s\n", warning);
    return CMD_OK;
}

int cmd_node(int argc, char **argv)
{
    struct node_flags f = {.file = NULL};
    struct config *config = NULL;
    struct err_msg msg;
    int code;
    if (node_members_run(argc, argv, &code))
        return code;
    code = parse_flags(argc, argv, &f);
    if (code != CMD_OK)
        return code;
    if (f.help) {
        print_help();
        return CMD_OK;
    }
    const struct config_sources sources = {.file = f.file,
                                           .env = (const char *const *)environ,
                                           .sets = f.sets,
                                           .set_count = f.set_count};
    if (config_load(&sources, &config, &msg) != ERR_OK)
        return options_failed("node", msg.text);
    if (config->faults != NULL && config->faults[0] != '\0' &&
        !config->fault_injection) {
        code = options_failed("node", "BASTIDE_FAULTS makes a node fail on "
                                      "purpose, which needs fault_injection: "
                                      "true; for tests only");
    } else if (f.check) {
        code = check_config(config, f.json);
    } else if (fault_arm(config->faults, &msg) != ERR_OK) {
        code = options_failed("node", msg.text);
    } else {
        log_setup(STDERR_FILENO, config->log.level,
                  config_log_format(config, STDERR_FILENO));
        log_set_context("node", config->node);
        f.run.sources = &sources;
        code = node_run(config, &f.run) == 0 ? CMD_OK : CMD_FAILED;
    }
    config_free(config);
    return code;
}
