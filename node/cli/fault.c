/* bastide fault: faults on request in a running cluster. */
#include "node/cli/fault.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/cli/cmd.h"
#include "node/cli/fault_run.h"
#include "node/cli/options.h"
#include "node/cli/reach.h"
#include "node/inject/inject.h"

static const char help[] =
    "Usage: bastide fault add KIND [flags]\n"
    "       bastide fault list\n"
    "       bastide fault clear [ID]\n"
    "       bastide fault run SCENARIO\n"
    "\n"
    "Makes something fail in a running cluster, on purpose: to see how your\n"
    "application lives through it. Only where the nodes have the setting\n"
    "fault_injection: true, as those of `bastide demo` do. Never have it in\n"
    "production.\n"
    "\n"
    "  add       add a fault; bastide fault add KIND --help explains one kind\n"
    "  list      what is active, where, for how long\n"
    "  clear     end one, or all\n"
    "  run       play a scenario under load and judge what clients saw\n"
    "\n"
    "All take\n" REACH_HELP "  -o text|json    how to show it\n";

static const char examples[] =
    "\n"
    "Examples:\n"
    "  bastide fault add cut --from eastus --to '*' --both --for 10s\n"
    "  bastide fault add delay --from eastus --to westeurope --delay-ms 200\n"
    "  bastide fault add down --at westeurope --for 30s\n"
    "  bastide fault add disk-full --at eastus-1 --for 1m\n"
    "  bastide fault add respond --status 429 --retry-after-ms 50 "
    "--operation create \\\n"
    "      --container orders --percent 20\n"
    "  bastide fault clear\n"
    "  bastide fault run --list\n"
    "  bastide fault run lose-write-region\n";

static void print_kinds(enum inject_family family, const char *title)
{
    printf("\n%s\n", title);
    for (size_t k = 0; k < INJECT_KIND_COUNT; k++)
        if (inject_family_of((enum inject_kind)k) == family)
            printf("  %-19s %s\n", inject_word((enum inject_kind)k),
                   inject_what((enum inject_kind)k));
}

static void print_help(void)
{
    fputs(help, stdout);
    print_kinds(INJECT_LINK, "Kinds between nodes or regions (--from, --to, "
                             "--both):");
    print_kinds(INJECT_NODE, "Kinds on a node or on all of a region (--at):");
    print_kinds(INJECT_CLIENT,
                "Kinds facing clients (--at, --operation, --database, "
                "--container,\n--percent, --count):");
    fputs(examples, stdout);
}

int cmd_fault(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } parts[] = {{"add", fault_add},
                 {"list", fault_list},
                 {"clear", fault_clear},
                 {"run", fault_run}};
    if (argc < 2)
        return options_refuse("fault", "expected add, list, clear or run");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help();
        return CMD_OK;
    }
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (strcmp(argv[1], parts[i].name) == 0)
            return parts[i].run(argc - 1, argv + 1);
    return options_refuse("fault", "\"%s\": expected add, list, clear or run",
                          argv[1]);
}
