/* `bastide fault run`: argv with its own name first; answers the process's exit
 * code: CMD_OK when all expectations held, CMD_FAILED when not. */
#ifndef BASTIDE_CLI_FAULT_RUN_H
#define BASTIDE_CLI_FAULT_RUN_H

int fault_run(int argc, char **argv);

#endif
