/* Makes a new cluster's folder: CA, certificates, keys and a folder per node.
 *
 *     DIR/ca.pem ca.key            the CA; ca.key belongs in a safe
 *     DIR/admin.pem admin.key      client certificate for `bastide status`
 *     DIR/kek.key cluster.keys account.keys
 *     DIR/<node>/node.yaml         and copies of what the node needs: ca.pem,
 *                                  kek.key, cluster.keys, account.keys, and
 *                                  its own node.pem, node.key
 *
 * A node's folder is complete: copy it to the node's machine.
 */
#ifndef BASTIDE_CLI_CREATE_H
#define BASTIDE_CLI_CREATE_H

#include "node/cli/layout.h"

/* ERR_EXISTS when the folder holds anything (hidden files, demo.* and empty
 * folders apart): nothing is ever overwritten. Otherwise errors of files, with
 * a message. The node.yaml files are written last, so that a folder left half
 * made can be told from a cluster (layout_load: ERR_NOT_FOUND). */
int create_cluster(const struct layout *layout, const char *dir,
                   struct err_msg *msg);

/* Removes what an interrupted create_cluster left in `dir`, and only that:
 * files of the names above, and only if no node has a data folder, in which
 * case it answers ERR_EXISTS. Fine if there is nothing. */
int create_discard_unfinished(const char *dir, struct err_msg *msg);

#endif
