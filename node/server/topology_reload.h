/* A node that runs learns of regions and nodes that were appended to its
 * configuration file. */
#ifndef BASTIDE_SERVER_TOPOLOGY_RELOAD_H
#define BASTIDE_SERVER_TOPOLOGY_RELOAD_H

#include "node/base/err.h"

struct worker;

/* On worker 0. Reads the configuration again, stops the other workers for the
 * moment in which the list of regions grows, and adds links to the new nodes.
 * Errors of config_load and config_grow, and ERR_UNAVAILABLE when the node
 * stops: nothing has changed. */
int topology_reload(struct worker *w, struct err_msg *msg);

#endif
