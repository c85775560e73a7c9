/* The keys of a cluster's regions, in the cluster's folder: region.key in the
 * folders of each region's nodes, and in no other; the public parts of all of
 * them in every node.yaml (crypt/region_key.h says what for). */
#ifndef BASTIDE_CLI_REGION_KEYS_H
#define BASTIDE_CLI_REGION_KEYS_H

#include "node/cli/layout.h"

/* Makes a key for every region that has none and writes region.key for every
 * node that lacks it; the public parts are put into `layout`. Files that are
 * there are kept, so that an interrupted run can be done again.
 * ERR_IDENTITY: files of one region that differ from each other or from what
 * `layout` says already; ERR_NOT_FOUND: `layout` says a key of which there is
 * no file, or kek.key or cluster.keys is missing; otherwise errors of
 * kek_load_file, cluster_keys_read, region_key_read and of files. */
int region_keys_create(struct layout *layout, const char *dir,
                       struct err_msg *msg);

/* The same for one region: the folders of the others may miss theirs. */
int region_keys_create_one(struct layout *layout, unsigned region,
                           const char *dir, struct err_msg *msg);

/* For a cluster made before regions had keys: the same, and adds the public
 * parts to the node.yaml files, whose other lines stay as they are. Nothing
 * changes where all that is done already. `layout_out` is what the folder holds
 * then. ERR_INVALID: a node.yaml whose list of regions is not written as init
 * writes it; the message says what to add by hand. Otherwise errors of
 * layout_load and of region_keys_create. */
int region_keys_add(const char *dir, struct layout *layout_out,
                    struct err_msg *msg);

#endif
