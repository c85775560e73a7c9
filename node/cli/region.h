/* The parts of `bastide region`. Each takes argv with its own name first, and
 * answers the process's exit code. */
#ifndef BASTIDE_CLI_REGION_H
#define BASTIDE_CLI_REGION_H

int region_switch(int argc, char **argv);
int region_add(int argc, char **argv);
int region_remove(int argc, char **argv);
int region_rename(int argc, char **argv);
int region_recover(int argc, char **argv);

#endif
