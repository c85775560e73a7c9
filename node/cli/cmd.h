/* The commands of the `bastide` program.
 *
 * Each takes the arguments after its own name (argv[0] is the name) and
 * returns the process's exit code. Results go to stdout, everything else to
 * stderr. Common flags: --help, and -o text|json where there is output.
 */
#ifndef BASTIDE_CLI_CMD_H
#define BASTIDE_CLI_CMD_H

enum cmd_exit {
    CMD_OK = 0,     /* done */
    CMD_FAILED = 1, /* understood, but it did not work; stderr says why */
    CMD_USAGE = 2,  /* the command line was wrong; nothing was done */
};

#include "node/server/node.h"

#define BASTIDE_VERSION NODE_VERSION

int cmd_init(int argc, char **argv);
int cmd_demo(int argc, char **argv);
int cmd_node(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_consistency(int argc, char **argv);
int cmd_placement(int argc, char **argv);
int cmd_region(int argc, char **argv);
int cmd_placement(int argc, char **argv);
int cmd_fault(int argc, char **argv);
int cmd_audit(int argc, char **argv);
int cmd_scrub(int argc, char **argv);
int cmd_keys(int argc, char **argv);
int cmd_version(int argc, char **argv);

#endif
