/* Certificates, account keys and the list of regions, read again while the node
 * runs: on SIGHUP, and on POST /reload of an administrator (docs/admin-api.md).
 *
 * All or nothing: where a file cannot be used, everything stays as it was.
 * The list may have more regions at its end, and a region more nodes: the node
 * links to them. Whether they become members is another matter (placement.h).
 *
 * Connections and links that are open keep the certificate they began with;
 * every request after it is verified by the new account keys. */
#ifndef BASTIDE_SERVER_RELOAD_H
#define BASTIDE_SERVER_RELOAD_H

#include "node/auth/signature.h"
#include "node/config/config.h"

struct worker;

/* `err` is ERR_OK or says with `reason` what could not be used: the errors of
 * config_account_keys_load, auth_keys_add, tls_ctx_reread, config_load and
 * config_grow. */
typedef void reload_done(struct worker *w, void *user, int err,
                         const char *reason);

/* Worker 0. Reads the files, a few kilobytes, inside the call; `done` is called
 * on worker 0 when every worker uses what they say. */
void reload_begin(struct worker *w, reload_done *done, void *user);
/* The same from any thread; the outcome is logged. */
struct node;
void reload_ask(struct node *node);

/* The account's keys as requests are verified by them; `keys_out` is wiped with
 * auth_keys_wipe. Errors of auth_keys_add. */
int reload_auth_keys(const struct config_account_keys *keys,
                     struct auth_keys *keys_out, struct err_msg *msg);

#endif
