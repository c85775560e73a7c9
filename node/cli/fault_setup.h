/* Before and after the load of a scenario: where clients go, the container they
 * use, and what is found in it in the end. */
#ifndef BASTIDE_CLI_FAULT_SETUP_H
#define BASTIDE_CLI_FAULT_SETUP_H

#include "node/cli/fault_ask.h"
#include "node/cli/fault_load.h"

#define FAULT_DATABASE "bastide-faults"
#define FAULT_DOCUMENT_BYTES 200

/* Reads the folder of a cluster: endpoints, CA certificate, account key. Errors
 * of layout_load and config_account_keys_load. The key is the caller's to
 * wipe. */
int fault_setup_read(const char *dir, struct fault_cluster *cluster_out,
                     struct auth_key *key_out, struct err_msg *msg);

/* One of the folder's account keys; the caller's to wipe. Errors of
 * config_account_keys_load. */
int fault_setup_key(const char *dir, enum config_master_key which,
                    struct auth_key *key_out, struct err_msg *msg);

/* Makes database and container if they are missing; tries until `timeout_us`.
 */
int fault_setup_make(struct fault_ask *a, const struct fault_cluster *cluster,
                     struct bench_wire *wire, usec_t timeout_us,
                     struct err_msg *msg);
void fault_setup_drop(struct fault_ask *a, const struct fault_cluster *cluster,
                      struct bench_wire *wire);

/* Reads every document that the history knows, at the region's endpoint, with
 * all that the sessions saw; they become the history's ends. */
int fault_setup_read_ends(struct fault_ask *a, const char *address,
                          struct bench_wire *wire, const char *tokens,
                          usec_t timeout_us, struct observed *history,
                          struct err_msg *msg);

/* Reads the container's conflict feed into the history, anew. */
int fault_setup_read_conflicts(struct fault_ask *a, const char *address,
                               struct bench_wire *wire,
                               struct observed *history, struct err_msg *msg);

#endif
