/* What nodes prove themselves by and clients sign with, made anew in the folder
 * of a cluster, and the nodes told to read it. Shared by `bastide keys` and by
 * scenarios.
 *
 * The files are those of the folder: nodes on other machines have copies of
 * their own. */
#ifndef BASTIDE_CLI_RENEW_H
#define BASTIDE_CLI_RENEW_H

#include "node/cli/reach.h"
#include "node/config/config.h"

/* A new key and certificate of the same names for a node, valid for `days`,
 * signed by the folder's ca.key. ERR_NOT_FOUND: that key is not there, as on
 * machines that only run nodes, or the node is not; else errors of layout_load
 * and cert_renew. */
int renew_certificate(const char *dir, const char *node, unsigned days,
                      struct err_msg *msg);

/* A new account key in place of one of the four, for the folder and all nodes
 * of `r`, which was opened by folder. Errors of config_account_keys_rotate and
 * file_replace. */
int renew_account_key(const char *dir, const struct reach *r,
                      enum config_master_key which, struct err_msg *msg);

/* Has a node read its files again; one that does not run does so when it
 * starts. Errors of reach_ask; it goes on with the old ones then. */
int renew_reload(struct reach *r, unsigned node, struct err_msg *msg);

#endif
