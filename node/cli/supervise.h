/* The process that stands behind a demo cluster: it starts the nodes, waits
 * until they are ready, writes cluster.json, reports nodes that die, restarts
 * those it is told to and those that were killed on request for a while, and
 * stops them all at the end.
 *
 *     starting --all members ready--> running --SIGINT, SIGTERM--> stopping -->
 * done
 *        '--a node died, or not ready in time--> stopping --> failed
 *
 * One per folder: it holds a lock on DIR/demo.lock, whose content is its
 * process id. Other processes talk to it by signals (SIGTERM: stop) and by the
 * pipe DIR/demo.control, one command a line: "start <node>", "rebuild <node>"
 * (with --rebuild) or "rebuild-yes <node>" (with --yes, too). A node that it
 * does not know is looked for in the folder: it may have joined. The kernel
 * releases the lock and stops the nodes when it dies, however it dies.
 */
#ifndef BASTIDE_CLI_SUPERVISE_H
#define BASTIDE_CLI_SUPERVISE_H

#include <stdbool.h>
#include <stdio.h>

#include "node/base/clock.h"
#include "node/cli/https.h"
#include "node/cli/layout.h"
#include "node/cli/process.h"

#define SUPERVISE_LOCK "demo.lock"
#define SUPERVISE_CONTROL "demo.control"
#define SUPERVISE_START_TIMEOUT_US (30 * USEC_PER_SEC)
#define SUPERVISE_STOP_TIMEOUT_US (10 * USEC_PER_SEC)

/* Takes the folder's lock; the descriptor holds it. ERR_BUSY when a cluster
 * runs in it: `pid_out` (may be NULL) is then the supervisor's. */
int supervise_lock(const char *dir, int *fd_out, pid_t *pid_out,
                   struct err_msg *msg);

struct supervise {
    const struct layout *layout;
    const char *dir; /* absolute */
    const struct config_account_keys *keys;
    int lock_fd;
    FILE *out; /* where events are told */
    /* Called once, when every node is ready; `took_us` since the start. */
    void (*ready)(const struct supervise *s, usec_t took_us, const pid_t *pids,
                  void *user);
    void *user;
};

/* Runs the cluster until it is told to stop. ERR_OK: it ran and was stopped;
 * anything else: it never became ready, and `msg` says why. Blocks SIGINT,
 * SIGTERM and SIGCHLD of the calling process. */
int supervise_run(const struct supervise *s, struct err_msg *msg);

/* Asks the supervisor of `dir` to start a node. ERR_UNAVAILABLE when nobody
 * listens. */
int supervise_ask_start(const char *dir, const char *node, enum process_how how,
                        struct err_msg *msg);

/* Tells it that the account's keys have changed, so that it writes cluster.json
 * anew. ERR_UNAVAILABLE. */
int supervise_ask_keys(const char *dir, struct err_msg *msg);

/* Whether the node's readiness holds now; the node's own words otherwise. */
bool supervise_node_ready(struct https *https, const struct layout_node *node,
                          struct err_msg *why);
/* Whether another node, which is ready, says that this one is no member of the
 * cluster: it has joined the folder alone, or was removed. It will not be ready
 * then. */
bool supervise_node_outside(struct https *https, const struct layout *layout,
                            const struct layout_node *node);
/* The folder's trust and admin identity, for the call above. */
int supervise_https(const char *dir, struct https **https_out,
                    struct err_msg *msg);

#endif
