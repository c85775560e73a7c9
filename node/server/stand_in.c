#include "node/server/stand_in.h"

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/server/peers.h"
#include "node/server/worker.h"

/* How long after the own start a region that never came up counts as lost. */
#define STAND_IN_GRACE (3 * USEC_PER_SEC)

struct stand_in {
    struct worker *worker;
    usec_t since;
    bool heard[CONFIG_REGIONS_MAX];  /* the region was up once */
    bool active[CONFIG_REGIONS_MAX]; /* we listen for it */
};

/* A change for one worker: listen, or stop to. */
struct stand_in_order {
    uint32_t region;
    bool listen;
};

static void listen_for(struct worker *w, size_t at)
{
    const struct config_region *region = &w->node->config->regions[at];
    struct http_listener **slot = &w->stand_ins[at];
    struct err_msg msg;
    bool listen = w->standing_in[at] && !w->shut;
    if (listen && *slot == NULL && !w->draining) {
        int err = http_listener_open(w->front, region->listen.host,
                                     region->listen.port, NULL, slot, &msg);
        if (err != ERR_OK)
            log_warn("cannot stand in for a lost region",
                     LOG_STR("region", region->name),
                     LOG_STR("reason", msg.text));
    } else if (!listen && *slot != NULL) {
        http_listener_close(TAKE(*slot));
    }
}

void stand_in_listen(struct worker *w)
{
    for (size_t i = 0; i < w->node->config->region_count; i++)
        listen_for(w, i);
}

static void obey(struct worker *w, void *arg)
{
    struct stand_in_order *order = arg;
    w->standing_in[order->region] = order->listen;
    listen_for(w, order->region);
    mem_free(order);
}

static void order_workers(struct stand_in *s, uint32_t region, bool listen)
{
    struct node *node = s->worker->node;
    log_info(listen ? "region is lost: standing in on its endpoint"
                    : "no longer standing in for a region",
             LOG_STR("region", node->config->regions[region].name));
    for (uint32_t i = 0; i < node->worker_count; i++) {
        struct stand_in_order *order = mem_alloc(sizeof(*order));
        *order = (struct stand_in_order){.region = region, .listen = listen};
        worker_run(&node->workers[i], obey, order);
    }
}

static bool region_up(const struct stand_in *s,
                      const struct config_region *region)
{
    for (size_t i = 0; i < region->node_count; i++)
        if (peers_up(s->worker->peers, region->nodes[i].id))
            return true;
    return false;
}

/* Whether this node is with those who decide. One that is cut off takes the
 * others for lost, and would draw their clients to a node that cannot serve
 * them. */
static bool quorum_up(const struct stand_in *s)
{
    const struct replica *meta = worker_replica(s->worker, SHARD_META);
    const struct raft_config *c = raft_config(shard_raft(meta->shard));
    uint32_t voters = 0, up = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        if (!c->members[i].voter)
            continue;
        voters++;
        up += c->members[i].id == s->worker->node->config->id ||
              peers_up(s->worker->peers, c->members[i].id);
    }
    return 2 * up > voters;
}

struct stand_in *stand_in_new(struct worker *w)
{
    if (!w->node->config->stand_in)
        return NULL;
    struct stand_in *s = mem_zalloc(sizeof(*s));
    s->worker = w;
    s->since = clock_mono_us();
    return s;
}

void stand_in_check(struct worker *w)
{
    struct stand_in *s = w->stand_in;
    if (s == NULL || w->draining)
        return;
    const struct config *c = w->node->config;
    usec_t now = clock_mono_us();
    bool quorum = quorum_up(s);
    for (uint32_t i = 0; i < c->region_count; i++) {
        if (&c->regions[i] == c->own_region)
            continue;
        bool up = region_up(s, &c->regions[i]);
        s->heard[i] |= up;
        /* At a start of the whole cluster the others may just be coming. */
        bool wanted =
            !up && quorum && (s->heard[i] || now - s->since >= STAND_IN_GRACE);
        if (wanted != s->active[i]) {
            s->active[i] = wanted;
            order_workers(s, i, wanted);
        }
    }
}
