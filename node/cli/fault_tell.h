/* Telling every node of a cluster of a fault on request, or that it is over:
 * each node applies what concerns it (node/server/faults.h). All at once; those
 * that hang cost REACH_ASK_TIMEOUT_US. */
#ifndef BASTIDE_CLI_FAULT_TELL_H
#define BASTIDE_CLI_FAULT_TELL_H

#include "node/cli/reach.h"
#include "node/inject/inject.h"

/* What one node did. */
enum fault_told_how {
    FAULT_TOLD_DONE,    /* it applies the fault; it has removed some */
    FAULT_TOLD_NOTHING, /* it does not concern the node; nothing was there */
    FAULT_TOLD_REFUSED, /* `why` in its own words */
    FAULT_TOLD_UNHEARD  /* it cannot be reached: `why` */
};
struct fault_told {
    enum fault_told_how how;
    struct err_msg why;
};
/* By the index of the node in struct reach. */
struct fault_tell {
    struct fault_told nodes[LAYOUT_NODES_MAX];
    unsigned done; /* nodes of FAULT_TOLD_DONE */
};

/* Writes the fault as the body of POST /faults; it should have an id, so that
 * it has the same at every node. */
void fault_tell_write(const struct inject_fault *f, struct buf *out);
/* Sends such a body to every node. */
void fault_tell_add(struct reach *r, const char *request,
                    struct fault_tell *tell_out);
/* Clears the fault of that id, or all when it is NULL. */
void fault_tell_clear(struct reach *r, const char *id,
                      struct fault_tell *tell_out);

/* Says on stderr which nodes refused or could not be reached, and why; in one
 * line where all refused alike. */
void fault_tell_complain(const char *command, const struct reach *r,
                         const struct fault_tell *t);
/* What to call a node: its name, or its URL where that is all there is. */
const char *fault_tell_node(const struct reach *r, unsigned node);

#endif
