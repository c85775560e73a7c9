/* The parts of `bastide node` that change which nodes the cluster has. */
#ifndef BASTIDE_CLI_NODE_MEMBERS_H
#define BASTIDE_CLI_NODE_MEMBERS_H

#include <stdbool.h>

/* Whether argv, with "node" first, asks for one of them: then `*code_out` is
 * what the process ends with. */
bool node_members_run(int argc, char **argv, int *code_out);

#endif
