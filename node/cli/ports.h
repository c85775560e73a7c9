/* Whether the addresses a new cluster wants are free. */
#ifndef BASTIDE_CLI_PORTS_H
#define BASTIDE_CLI_PORTS_H

#include "node/cli/layout.h"

/* ERR_OK when every port of the layout can be bound on this machine; ERR_BUSY
 * with a message that names the first that is taken and what it is for. Other
 * programs may take one a moment later: the nodes say so then. */
int ports_check(const struct layout *layout, struct err_msg *msg);

/* The first base port from `from` on, in steps of 100, at which all are free;
 * 0 when there is none. */
unsigned ports_find_base(const struct layout *layout, unsigned from);

#endif
