/* The `bastide` program: finds the command and runs it. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "node/base/check.h"
#include "node/base/feature.h"
#include "node/cli/bench.h"
#include "node/cli/cmd.h"
#include "node/cli/options.h"
#include "replication/peer.h"

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"demo", cmd_demo, "run a local multi-region cluster"},
    {"node", cmd_node, "run one node; add, remove or replace nodes"},
    {"init", cmd_init, "make certificates, keys and settings of a new cluster"},
    {"status", cmd_status, "show regions, nodes, shards, leaders and lag"},
    {"region", cmd_region,
     "see, switch, reorder, add, remove and recover regions"},
    {"placement", cmd_placement, "say in which regions data may be"},
    {"consistency", cmd_consistency, "see or change the consistency level"},
    {"fault", cmd_fault, "make something fail, on purpose"},
    {"audit", cmd_audit, "who changed what"},
    {"scrub", cmd_scrub, "compare replicas now, and see what was found"},
    {"keys", cmd_keys, "renew certificates and account keys"},
    {"bench", cmd_bench, "generate load and measure"},
    {"version", cmd_version, "print the version"},
};

static void print_help(FILE *out)
{
    fputs("Bastide: a replicated, encrypted, multi-region document store that "
          "speaks the\nAzure Cosmos DB REST API.\n\n"
          "Usage: bastide COMMAND [flags]\n\n",
          out);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].help);
    fputs("\nbastide COMMAND --help explains one command. Exit codes: 0 done, "
          "1 failed,\n2 wrong usage.\n\nStart here: bastide demo\n",
          out);
}

int cmd_version(int argc, char **argv)
{
    bool json = false;
    if (argc == 2 &&
        (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        puts("Usage: bastide version [-o text|json]\n\nPrints the version of "
             "this program; as JSON, also the versions of the protocol\n"
             "between nodes that it speaks, and the highest feature level that "
             "it supports.\n\nExample:\n  bastide version -o json");
        return CMD_OK;
    }
    bool ok = argc == 1 || (argc == 3 && strcmp(argv[1], "-o") == 0 &&
                            options_output(argv[2], &json));
    if (!ok)
        return options_refuse("version", "expected nothing or -o text|json");
    if (json)
        printf("{\"version\":\"%s\",\"protocol\":{\"min\":%d,\"max\":%d},"
               "\"feature_level\":%u}\n",
               BASTIDE_VERSION, PEER_VERSION_MIN, PEER_VERSION_MAX,
               feature_supported);
    else
        printf("bastide %s\n", BASTIDE_VERSION);
    return CMD_OK;
}

int main(int argc, char **argv)
{
    /* A peer that hangs up is an error of a write, not of the process. */
    signal(SIGPIPE, SIG_IGN);
    /* A node is started through /proc/self/exe, which would be its name. */
    prctl(PR_SET_NAME, "bastide");
    if (argc < 2) {
        print_help(stderr);
        return CMD_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return CMD_OK;
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr,
            "bastide: there is no command \"%s\"; bastide --help lists "
            "them\n",
            argv[1]);
    return CMD_USAGE;
}
