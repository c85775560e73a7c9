/* bastide placement: where data may be, and where it is. */
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/cli/cmd.h"
#include "node/cli/options.h"
#include "node/cli/placement_verify.h"

#define PARTS_TEXT "verify or check"

static const char help[] =
    "Usage: bastide placement verify [--group G] [--out FILE]\n"
    "       bastide placement check FILE [--ca FILE]\n"
    "\n"
    "Proves in which regions the data of placement groups is.\n"
    "\n"
    "  verify      asks every node, and judges the signed answers\n"
    "  check       judges them again from a file, without the cluster\n"
    "\n"
    "bastide placement verify --help explains one; so does the other.\n";

int cmd_placement(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } parts[] = {{"verify", placement_verify}, {"check", placement_check}};
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
