/* `bastide placement move`: takes argv with its own name first, and answers the
 * process's exit code. */
#ifndef BASTIDE_CLI_PLACEMENT_MOVE_H
#define BASTIDE_CLI_PLACEMENT_MOVE_H

int placement_run_move(int argc, char **argv);

#endif
