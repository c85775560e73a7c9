/* bastide placement: the placement group that a container is in. */
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/cli/cmd.h"
#include "node/cli/options.h"
#include "node/cli/placement_move.h"

static const char help[] =
    "Usage: bastide placement move DATABASE/CONTAINER GROUP\n"
    "\n"
    "  move        move a container to another group\n";

#define PARTS_TEXT "move"

int cmd_placement(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } parts[] = {{"move", placement_run_move}};
    if (argc < 2)
        return options_refuse("placement", "expected " PARTS_TEXT);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        fputs(help, stdout);
        return CMD_OK;
    }
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (strcmp(argv[1], parts[i].name) == 0)
            return parts[i].run(argc - 1, argv + 1);
    return options_refuse("placement", "\"%s\": expected " PARTS_TEXT, argv[1]);
}
