/* Nodes that come to a cluster's folder later, in a new region or in one that
 * is there: their folders, and their entries in everybody's list of regions. No
 * process is told: that is what `bastide region add` and `bastide node add` do.
 *
 *     folders of the new nodes --> region's key --> their node.yaml
 *         --> the entries in the node.yaml files that were there
 *
 * A kill in between leaves a cluster as it was, or one that commands can be
 * given for; the same call again does the rest.
 */
#ifndef BASTIDE_CLI_JOIN_H
#define BASTIDE_CLI_JOIN_H

#include "node/cli/layout.h"

struct join_options {
    const char *region;
    unsigned nodes;   /* of the region, in the end; 0 as in layout_join */
    const char *host; /* as in layout_join; NULL */
    const char *sans; /* as in layout_options; NULL */
};

/* `layout_out` is what the folder holds then, `was_out` (may be NULL) what it
 * held before. Errors of layout_load_unfinished, layout_join, create_node,
 * region_keys_create_one; ERR_EXISTS: a folder of a new node's name holds data;
 * ERR_INVALID: a node.yaml whose list of regions is not written as init writes
 * it; the message says what to add by hand. */
int join(const struct join_options *options, const char *dir,
         struct layout *layout_out, struct layout *was_out,
         struct err_msg *msg);

#endif
