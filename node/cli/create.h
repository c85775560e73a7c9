/* Makes a new cluster's folder: CA, certificates, keys and a folder per node.
 *
 *     DIR/ca.pem ca.key            the CA; ca.key belongs in a safe
 *     DIR/admin.pem admin.key      client certificate for `bastide status`
 *     DIR/kek.key cluster.keys account.keys
 *     DIR/<node>/node.yaml         and copies of what the node needs: ca.pem,
 *                                  kek.key, cluster.keys, account.keys, and
 *                                  its own node.pem, node.key, and the key
 *                                  of its region, region.key
 *
 *     DIR/.unfinished              only while all that is being made: whoever
 *                                  is interrupted leaves it
 *
 * A node's folder is complete: copy it to the node's machine.
 */
#ifndef BASTIDE_CLI_CREATE_H
#define BASTIDE_CLI_CREATE_H

#include "node/cli/layout.h"

/* The regions of `layout` get their public keys.
 * ERR_EXISTS when the folder holds anything (hidden files, demo.* and empty
 * folders apart), or was left half made: nothing is ever overwritten. Otherwise
 * errors of files, with a message. The node.yaml files are written last, so
 * that a half made folder does not pass for a cluster (layout_load:
 * ERR_NOT_FOUND). */
int create_cluster(struct layout *layout, const char *dir, struct err_msg *msg);

/* Makes a node's folder, but for region.key and node.yaml, from what the
 * cluster's folder holds. Files that are there are kept: a certificate may have
 * been brought by its owner, and an interrupted call can be repeated.
 * ERR_NOT_FOUND: no certificate, and no ca.key to sign one with; otherwise
 * errors of files. */
int create_node(const struct layout *layout, const struct layout_node *node,
                const char *dir, struct err_msg *msg);

/* Makes room for create_cluster in a folder that layout_load finds no cluster
 * in. With .unfinished in it, what the interrupted create_cluster left is
 * removed, and only that: files of the names above; ERR_EXISTS, and nothing is
 * removed, when a node's folder holds anything else, such as data. Without it
 * nothing is removed, and ERR_EXISTS says so if there is anything that
 * create_cluster would refuse: a cluster that misses a file is its owner's. */
int create_discard_unfinished(const char *dir, struct err_msg *msg);

/* For a folder with a whole cluster: takes .unfinished away if create_cluster
 * was interrupted after all else was done. Errors of files. */
int create_settle(const char *dir, struct err_msg *msg);

#endif
