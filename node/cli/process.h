/* Node processes of a demo cluster: start, find, explain. */
#ifndef BASTIDE_CLI_PROCESS_H
#define BASTIDE_CLI_PROCESS_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "node/base/err.h"

#define PROCESS_LOG "node.log"

enum process_how {
    PROCESS_AS_IT_IS,
    PROCESS_REBUILD,      /* --rebuild */
    PROCESS_REBUILD_SURE, /* --rebuild --yes */
};

/* Starts `bastide node --config <dir>/<node>/node.yaml` with what `how` says,
 * with this very program file, its output appended to
 * <dir>/<node>/node.log, in a process group of its own so that Ctrl-C reaches
 * the parent alone. The kernel sends it SIGTERM when the calling process ends
 * for any reason. */
int process_start_node(const char *dir, const char *node, enum process_how how,
                       pid_t *pid_out, struct err_msg *msg);

/* The process that runs this node, found by its command line; 0 when none
 * does. */
pid_t process_find_node(const char *dir, const char *node);

/* "exited with code 1" or "was killed by signal 9 (Killed)", for a status of
 * waitpid. */
void process_describe_exit(int status, char *out, size_t len);

/* Prints the last `lines` lines of the node's log, each indented. */
void process_print_log_tail(FILE *to, const char *dir, const char *node,
                            int lines);

#endif
