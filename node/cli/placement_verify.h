/* The parts of `bastide placement` that prove where data is. Each takes argv
 * with its own name first, and answers the process's exit code. */
#ifndef BASTIDE_CLI_PLACEMENT_VERIFY_H
#define BASTIDE_CLI_PLACEMENT_VERIFY_H

/* Asks all nodes and judges their answers. */
int placement_verify(int argc, char **argv);
/* Judges a statement that was kept, without the cluster. */
int placement_check(int argc, char **argv);

#endif
