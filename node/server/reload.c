#include "node/server/reload.h"

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/server/topology_reload.h"
#include "node/server/worker.h"

struct reload {
    struct auth_keys keys;
    uint32_t missing; /* workers that do not have them yet */
    reload_done *done;
    void *user;
};

int reload_auth_keys(const struct config_account_keys *keys,
                     struct auth_keys *keys_out, struct err_msg *msg)
{
    int err = ERR_OK;
    auth_keys_init(keys_out);
    for (int i = 0; i < CONFIG_KEY_COUNT && err == ERR_OK; i++) {
        bool reads = i == CONFIG_KEY_PRIMARY_READONLY ||
                     i == CONFIG_KEY_SECONDARY_READONLY;
        err = auth_keys_add(keys_out,
                            bytes_of(keys->raw[i], CONFIG_MASTER_KEY_LEN),
                            reads ? AUTH_READ_ONLY : AUTH_READ_WRITE, msg);
    }
    if (err != ERR_OK)
        auth_keys_wipe(keys_out);
    return err;
}

static int read_account_keys(const struct config *c, struct auth_keys *keys_out,
                             struct err_msg *msg)
{
    struct config_account_keys keys;
    int err = config_account_keys_load(c->keys.account, &keys, msg);
    if (err != ERR_OK)
        return err;
    err = reload_auth_keys(&keys, keys_out, msg);
    config_account_keys_wipe(&keys);
    return err;
}

/* All three contexts and the signer or none. */
static int read_certificates(struct node *n, struct err_msg *msg)
{
    struct tls_ctx *all[] = {n->tls_peer, n->tls_front, n->tls_admin};
    struct tls_ctx *fresh[ARRAY_LEN(all)] = {NULL};
    int err = ERR_OK;
    for (size_t i = 0; i < ARRAY_LEN(all) && err == ERR_OK; i++)
        err = tls_ctx_reread(all[i], msg, &fresh[i]);
    if (err == ERR_OK)
        err = node_signer_reread(n->signer, msg);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (err == ERR_OK)
            tls_ctx_become(all[i], fresh[i]);
        else
            tls_ctx_unref(fresh[i]);
    return err;
}

/* On worker 0. */
static void worker_has_them(struct worker *w, void *arg)
{
    struct reload *r = arg;
    if (--r->missing > 0)
        return;
    auth_keys_wipe(&r->keys);
    log_info("certificates, account keys and regions were read again");
    r->done(w, r->user, ERR_OK, "");
    mem_free(r);
}

static void take_keys(struct worker *w, void *arg)
{
    struct reload *r = arg;
    auth_keys_wipe(&w->auth);
    w->auth = r->keys;
    worker_run(&w->node->workers[0], worker_has_them, r);
}

void reload_begin(struct worker *w, reload_done *done, void *user)
{
    CHECK(w->index == 0);
    struct node *n = w->node;
    struct err_msg msg;
    struct reload *r = mem_zalloc(sizeof(*r));
    *r =
        (struct reload){.missing = n->worker_count, .done = done, .user = user};
    int err = read_account_keys(n->config, &r->keys, &msg);
    if (err == ERR_OK)
        err = read_certificates(n, &msg);
    if (err == ERR_OK)
        err = topology_reload(w, &msg);
    if (err != ERR_OK) {
        log_error("what the node was to read again stays as it was",
                  LOG_STR("reason", msg.text));
        auth_keys_wipe(&r->keys);
        mem_free(r);
        done(w, user, err, msg.text);
        return;
    }
    for (uint32_t i = 0; i < n->worker_count; i++)
        worker_run(&n->workers[i], take_keys, r);
}

static void nobody_waits(struct worker *w, void *user, int err,
                         const char *reason)
{
    (void)w;
    (void)user;
    (void)err;
    (void)reason; /* logged already */
}

static void asked(struct worker *w, void *arg)
{
    (void)arg;
    reload_begin(w, nobody_waits, NULL);
}

void reload_ask(struct node *node)
{
    worker_run(&node->workers[0], asked, NULL);
}
