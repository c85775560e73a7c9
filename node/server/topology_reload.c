#include "node/server/topology_reload.h"

#include <pthread.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/server/fence_guard.h"
#include "node/server/governor.h"
#include "node/server/peers.h"
#include "node/server/worker.h"

static size_t count_nodes(const struct config *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->region_count; i++)
        n += c->regions[i].node_count;
    return n;
}

static void wait_twice(struct worker *w, void *arg)
{
    (void)w;
    pthread_barrier_t *gate = arg;
    (void)pthread_barrier_wait(gate); /* all stand still */
    (void)pthread_barrier_wait(gate); /* and go on */
}

/* Workers read the configuration without a lock, so it grows while they stand
 * still: for as long as the slowest takes to end its turn. */
static int grow(struct worker *w, struct config *newer, struct err_msg *msg)
{
    struct node *n = w->node;
    pthread_barrier_t gate;
    CHECK(pthread_barrier_init(&gate, NULL, n->worker_count) == 0);
    for (uint32_t i = 1; i < n->worker_count; i++)
        worker_run(&n->workers[i], wait_twice, &gate);
    (void)pthread_barrier_wait(&gate);
    int err = config_grow(n->growing, newer, msg);
    (void)pthread_barrier_wait(&gate);
    CHECK(pthread_barrier_destroy(&gate) == 0);
    return err;
}

int topology_reload(struct worker *w, struct err_msg *msg)
{
    struct node *n = w->node;
    struct config *newer;
    size_t before = count_nodes(n->config);
    CHECK(w->index == 0 && n->sources != NULL);
    /* Workers that have ended would never come to the gate. */
    if (w->draining)
        return err_set(msg, ERR_UNAVAILABLE, "the node is stopping");
    int err = config_load(n->sources, &newer, msg);
    if (err != ERR_OK)
        return err;
    err = grow(w, newer, msg);
    if (err == ERR_OK)
        transfers_set_rate(w, newer->limits.snapshot_rate);
    config_free(newer);
    if (err != ERR_OK || count_nodes(n->config) == before)
        return err;
    log_info("the cluster has grown",
             LOG_UINT("regions", n->config->region_count),
             LOG_UINT("nodes", count_nodes(n->config)));
    fence_guard_topology(w);
    err = peers_add_new(w->peers, msg);
    governor_topology(w->governor);
    return err;
}
