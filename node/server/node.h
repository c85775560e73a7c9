/* The process: puts the parts of a node together, runs it, ends it.
 *
 * Start: data directory, keys, TLS contexts, workers (each opens its log,
 * engines and shards), catalog, listeners, links, threads. Stop (SIGTERM,
 * SIGINT): leaderships are handed over, requests answered, threads ended.
 */
#ifndef BASTIDE_SERVER_NODE_H
#define BASTIDE_SERVER_NODE_H

#include <stdbool.h>

struct config;
struct config_sources;

#define NODE_VERSION "0.1.0"

struct node_options {
    bool rebuild; /* put the data away and get it anew from the other nodes */
    bool sure;    /* even if no damage was found in it */
    const struct config_sources *sources; /* of the configuration, to read what
                                           * was appended to it; see reload.h */
};

/* Runs until a signal ends it. 0 after an orderly end; otherwise an error code
 * of node/base/err.h, which was logged with its reason. Blocks signals in the
 * calling thread, which must be the process's first and only one. `config` is
 * borrowed; it grows when the node is told that the cluster has. `options` is
 * borrowed. */
int node_run(struct config *config, const struct node_options *options);

#endif
