/* DIR/cluster.json: what programs, tests and people read about a running demo
 * cluster (its shape is a promise, see docs/configuration.md). It exists while
 * the cluster runs. */
#ifndef BASTIDE_CLI_CLUSTER_FILE_H
#define BASTIDE_CLI_CLUSTER_FILE_H

#include <sys/types.h>

#include "node/cli/layout.h"

/* Writes it, atomically, mode 0600: it holds the account's keys, as the
 * folder's account.keys has them now. `dir` must be absolute; `pids` is
 * parallel to layout->nodes. */
int cluster_file_write(const struct layout *layout, const char *dir,
                       const pid_t *pids, struct err_msg *msg);

/* Fine if it is not there. */
void cluster_file_remove(const char *dir);

#endif
