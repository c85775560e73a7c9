/* The parts of `bastide fault`. Each takes argv with its own name first, and
 * answers the process's exit code. */
#ifndef BASTIDE_CLI_FAULT_H
#define BASTIDE_CLI_FAULT_H

int fault_add(int argc, char **argv);
int fault_list(int argc, char **argv);
int fault_clear(int argc, char **argv);

#endif
