#include "node/server/node.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/server/admin.h"
#include "node/server/catalog_feed.h"
#include "node/server/doors.h"
#include "node/server/faults.h"
#include "node/server/faults_client.h"
#include "node/server/features.h"
#include "node/server/governor.h"
#include "node/server/hold.h"
#include "node/server/own_region.h"
#include "node/server/peers.h"
#include "node/server/porch.h"
#include "node/server/rebuild.h"
#include "node/server/reload.h"
#include "node/server/stand_in.h"
#include "node/server/steward.h"
#include "node/server/worker.h"

/* Kept reachable to the end of the process: threads end in order, what they
 * used is given back by the system. */
static struct node the_node;

static int load_keys(struct node *n, struct err_msg *msg)
{
    const struct config *c = n->config;
    int err = kek_load_file(c->keys.kek, msg, &n->kek);
    if (err == ERR_OK)
        err = cluster_keys_read(c->keys.cluster, &n->kek, c->cluster, msg,
                                &n->cluster_keys);
    if (err == ERR_OK)
        err = own_region_key(c, &n->kek, n->cluster_keys.cluster_id, msg,
                             &n->region_key);
    if (err == ERR_OK)
        err = config_account_keys_load(c->keys.account, &n->account_keys, msg);
    return err;
}

static int load_tls(struct node *n, struct err_msg *msg)
{
    const struct config *c = n->config;
    struct tls_files files = {
        .cert = c->tls.cert, .key = c->tls.key, .ca = c->tls.ca};
    struct tls_server_options front = {
        .files = files, .allow_tls12 = c->tls.min_version == CONFIG_TLS_1_2};
    struct tls_server_options admin = {.files = files,
                                       .client_cert = TLS_CLIENT_CERT_OPTIONAL};
    int err = tls_ctx_server(&front, msg, &n->tls_front);
    if (err == ERR_OK)
        err = tls_ctx_server(&admin, msg, &n->tls_admin);
    if (err == ERR_OK)
        err = tls_ctx_peer(&files, msg, &n->tls_peer);
    if (err == ERR_OK)
        err = node_signer_open(files.cert, files.key, msg, &n->signer);
    return err;
}

static int open_datadir(struct node *n, struct err_msg *msg)
{
    const struct config *c = n->config;
    struct datadir_identity want = {.workers = c->workers};
    snprintf(want.cluster, sizeof(want.cluster), "%s", c->cluster);
    snprintf(want.cluster_id, sizeof(want.cluster_id), "%s",
             n->cluster_keys.cluster_id);
    snprintf(want.node, sizeof(want.node), "%s", c->node);
    if (want.workers == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        want.workers = cores < 1                    ? 1
                       : cores > CONFIG_WORKERS_MAX ? CONFIG_WORKERS_MAX
                                                    : (uint32_t)cores;
    }
    /* A worker without a shard would still cost a log. */
    if (want.workers > c->shards + 1)
        want.workers = c->shards + 1;
    int err = datadir_open(c->data_dir, &want, msg, &n->datadir);
    if (err != ERR_OK)
        return err;
    n->worker_count = datadir_workers(n->datadir);
    if (c->workers != 0 && n->worker_count != want.workers)
        log_warn("the number of workers was fixed at the first start",
                 LOG_UINT("configured", c->workers),
                 LOG_UINT("used", n->worker_count));
    return ERR_OK;
}

static int sweep(struct node *n, struct err_msg *msg)
{
    for (uint32_t i = 0; i < n->worker_count; i++) {
        struct worker *w = &n->workers[i];
        for (uint32_t j = 0; j < w->replica_count; j++) {
            if (w->replicas[j]->id == SHARD_META)
                continue;
            int err = flusher_sweep(&w->replicas[j]->flusher);
            if (err != ERR_OK)
                return err_set(msg, err, "%s: %s", w->replicas[j]->path,
                               err_text(err));
        }
    }
    return ERR_OK;
}

static int create_workers(struct node *n, struct err_msg *msg)
{
    n->sessions = session_floor_new(NODE_SHARDS_MAX);
    n->client_faults = faults_client_new(n);
    n->board = mem_zalloc(NODE_SHARDS_MAX * sizeof(*n->board));
    n->workers = mem_zalloc(n->worker_count * sizeof(*n->workers));
    for (uint32_t i = 0; i < n->worker_count; i++) {
        int err = worker_create(&n->workers[i], n, i, msg);
        if (err != ERR_OK)
            return err;
    }
    int err = catalog_feed_load(node_shard_worker(n, SHARD_META));
    if (err != ERR_OK)
        return err_set(msg, err, "the catalog cannot be read: %s",
                       err_text(err));
    return sweep(n, msg);
}

static int open_doors(struct node *n, struct err_msg *msg)
{
    struct worker *first = &n->workers[0];
    int err = peers_create(first, msg, &first->peers);
    if (err == ERR_OK)
        err = admin_create(first, msg, &first->admin);
    for (uint32_t i = 0; i < n->worker_count && err == ERR_OK; i++)
        err = doors_open(&n->workers[i], msg);
    if (err != ERR_OK)
        return err;
    first->governor = governor_new(first);
    for (uint32_t i = 0; i < first->steering.group_count; i++) {
        const struct steering_group *g = &first->steering.groups[i];
        governor_record(first->governor, g->number,
                        catalog_group_number(first->catalog, g->number)->name,
                        &g->record);
    }
    features_start(first);
    first->stand_in = stand_in_new(first);
    first->faults = faults_new(first);
    struct worker *meta = node_shard_worker(n, SHARD_META);
    meta->steward = steward_new(meta);
    return ERR_OK;
}

static int node_start(struct node *n, struct config *config,
                      const struct node_options *options, struct err_msg *msg)
{
    n->config = n->growing = config;
    n->sources = options->sources;
    n->started_wall_us = clock_wall_us();
    n->incarnation = (uint64_t)n->started_wall_us;
    struct porch *porch = NULL;
    int err = load_keys(n, msg);
    if (err == ERR_OK)
        err = load_tls(n, msg);
    if (err == ERR_OK)
        err = open_datadir(n, msg);
    if (err == ERR_OK)
        err = rebuild_begin(n, options->rebuild, options->sure, msg);
    if (err == ERR_OK)
        err = porch_open(n, msg, &porch);
    if (err == ERR_OK) {
        err = create_workers(n, msg);
        if (err == ERR_CORRUPT)
            rebuild_advise(n, msg);
    }
    if (err == ERR_OK)
        err = feature_check(&n->features, msg);
    if (err == ERR_OK)
        err = open_doors(n, msg);
    porch_close(porch);
    if (err != ERR_OK)
        return err;
    datadir_note_damage(n->datadir, NULL);
    for (uint32_t i = 0; i < n->worker_count; i++)
        worker_start(&n->workers[i]);
    return ERR_OK;
}

static void campaign(struct worker *w, void *arg)
{
    (void)arg;
    usec_t now = clock_mono_us();
    for (uint32_t i = 0; i < w->replica_count; i++)
        shard_campaign(w->replicas[i]->shard, now);
}

/* In the preferred region, a node that finds shards without a leader does not
 * wait for a timeout; the hint is harmless where there is one. */
static void campaign_first(struct node *n)
{
    if (n->config->own_region != &n->config->regions[0])
        return;
    for (uint32_t i = 0; i < n->worker_count; i++)
        worker_run(&n->workers[i], campaign, NULL);
}

/* Until one that ends the node. */
static void wait_for_signal(struct node *n, const sigset_t *signals)
{
    int sig = 0;
    while (sigwait(signals, &sig) != 0 || sig == SIGHUP)
        if (sig == SIGHUP)
            reload_ask(n);
    log_info("stopping", LOG_STR("signal", strsignal(sig)));
}

static void node_stop(struct node *n)
{
    for (uint32_t i = 0; i < n->worker_count; i++)
        worker_drain(&n->workers[i]);
    for (uint32_t i = 0; i < n->worker_count; i++)
        worker_wait_drained(&n->workers[i]);
    for (uint32_t i = n->worker_count; i-- > 0;)
        worker_join(&n->workers[i]);
    links_free(peers_links(n->workers[0].peers));
    session_floor_free(n->sessions);
    faults_client_free(n->client_faults);
    datadir_close(n->datadir);
    node_signer_close(n->signer);
    kek_wipe(&n->kek);
    cluster_keys_wipe(&n->cluster_keys);
    region_key_wipe(&n->region_key);
    config_account_keys_wipe(&n->account_keys);
}

int node_run(struct config *config, const struct node_options *options)
{
    struct err_msg msg = {.text = ""};
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    CHECK(pthread_sigmask(SIG_BLOCK, &signals, NULL) == 0);
    signal(SIGPIPE, SIG_IGN);
    if (config->fault_injection && !hold_wait(config->data_dir, &signals))
        return ERR_OK;
    int err = node_start(&the_node, config, options, &msg);
    if (err != ERR_OK) {
        log_error("the node cannot start", LOG_STR("reason", msg.text),
                  LOG_STR("error", err_text(err)));
        return err;
    }
    log_info("node started", LOG_STR("region", config->region),
             LOG_UINT("workers", the_node.worker_count),
             LOG_UINT("shards", config->shards));
    campaign_first(&the_node);
    wait_for_signal(&the_node, &signals);
    node_stop(&the_node);
    err = feature_check(&the_node.features, &msg);
    if (err != ERR_OK)
        log_error("the node cannot go on", LOG_STR("reason", msg.text));
    log_info("stopped");
    return err;
}
