#include "node/server/features.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/feature.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/server/account_edit.h"
#include "node/server/peers.h"
#include "node/server/worker.h"

#define FEATURES_TICK_US (500 * USEC_PER_MS)
#define FEATURES_TIMEOUT_US (3 * USEC_PER_SEC)

struct features {
    struct worker *worker;
    struct ev_timer timer;
    uint32_t told;  /* level that the links know */
    bool raising;   /* an edit is under way: */
    uint32_t level; /* to this */
};

uint32_t features_wanted(const struct config *c)
{
    return c->feature_level_max != 0 && c->feature_level_max < feature_supported
               ? c->feature_level_max
               : feature_supported;
}

/* ---- what the nodes say
 * -----------------------------------------------------
 */

static struct feature_report report_of(const struct worker *w, uint32_t id)
{
    struct links_stats s;
    const struct config *c = w->node->config;
    if (id == c->id)
        return (struct feature_report){.heard = true,
                                       .supported = feature_supported,
                                       .wanted = features_wanted(c)};
    if (links_get_stats(peers_links(w->peers), id, &s) != ERR_OK ||
        s.state != PEER_STREAMING)
        return (struct feature_report){.heard = false};
    return (struct feature_report){.heard = true,
                                   .supported = s.feature_level,
                                   .wanted = s.feature_wanted};
}

/* Peers know of a level that this node's log does not have yet, or never will
 * because they refuse the node. What they say is committed. */
static void listen_to(struct worker *w)
{
    struct links_stats s;
    const struct config *c = w->node->config;
    for (size_t i = 0; i < c->region_count; i++)
        for (size_t j = 0; j < c->regions[i].node_count; j++)
            if (links_get_stats(peers_links(w->peers),
                                c->regions[i].nodes[j].id, &s) == ERR_OK)
                feature_raise(&w->node->features, s.feature_heard);
}

/* Whether the cluster has to wait for what a node says: not for one that was
 * taken out of it, or that only may join, and is not there. */
static bool is_awaited(const struct worker *w, const struct config_node *node)
{
    const struct catalog_group *g;
    for (size_t i = 0; (g = catalog_group_at(w->catalog, i)) != NULL; i++)
        if (g->member_count > 0
                ? memchr(g->members, (int)node->id, g->member_count) != NULL
                : !node->added)
            return true;
    return catalog_group_at(w->catalog, 0) == NULL; /* not known yet */
}

/* The level that the cluster could have now. */
static uint32_t possible(const struct worker *w)
{
    struct feature_report reports[CONFIG_NODES_MAX];
    const struct config *c = w->node->config;
    size_t n = 0;
    for (size_t i = 0; i < c->region_count; i++)
        for (size_t j = 0; j < c->regions[i].node_count; j++) {
            const struct config_node *node = &c->regions[i].nodes[j];
            CHECK(n < CONFIG_NODES_MAX);
            reports[n] = report_of(w, node->id);
            n += reports[n].heard || is_awaited(w, node);
        }
    return feature_next(feature_level(&w->node->features), reports, n);
}

/* ---- raising it
 * -------------------------------------------------------------
 */

static bool leads_meta(struct worker *w)
{
    const struct raft *r = shard_raft(worker_replica(w, SHARD_META)->shard);
    return raft_role(r) == RAFT_LEADER;
}

static void describe(const struct catalog_account *a, char *out, size_t size)
{
    snprintf(out, size, "level %u",
             a->feature_level != 0 ? a->feature_level : FEATURE_FIRST);
}

/* What the nodes say may have changed since. */
static int change(void *user, struct catalog_account *a,
                  const struct etag *etag, struct err_msg *msg)
{
    const struct features *f = user;
    (void)etag;
    if (a->feature_level >= f->level || possible(f->worker) < f->level)
        return err_set(msg, ERR_STALE, "overtaken");
    a->feature_level = f->level;
    return ERR_OK;
}

static void raised(void *user, int err, const struct catalog_account *a,
                   const struct etag *etag, const struct err_msg *msg)
{
    struct features *f = user;
    (void)a;
    (void)etag;
    f->raising = false;
    /* Another leader may have been faster; the next tick sees. */
    if (err != ERR_OK && err != ERR_STALE)
        log_warn("the feature level could not be raised",
                 LOG_UINT("level", f->level), LOG_STR("reason", msg->text));
}

static void raise_level(struct features *f, uint32_t level)
{
    struct account_edit edit = {.change = change,
                                .describe = describe,
                                .done = raised,
                                .user = f,
                                .timeout_us = FEATURES_TIMEOUT_US,
                                .what = "raise the feature level",
                                .reason = "every node supports it"};
    f->raising = true;
    f->level = level;
    snprintf(edit.who, sizeof(edit.who), "node %s",
             f->worker->node->config->node);
    account_edit_begin(f->worker, &edit);
}

/* ---- the tick
 * ---------------------------------------------------------------
 */

/* Tells the links, and ends a node that does not belong here any more (node_run
 * says why). */
static void follow(struct features *f, uint32_t level)
{
    struct err_msg msg;
    if (level == f->told)
        return;
    f->told = level;
    log_info("the cluster's feature level", LOG_UINT("level", level),
             LOG_UINT("supported", feature_supported));
    links_require(peers_links(f->worker->peers), level);
    if (feature_check(&f->worker->node->features, &msg) != ERR_OK)
        CHECK(kill(getpid(), SIGTERM) == 0);
}

static void on_tick(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    struct features *f = timer->data;
    struct worker *w = f->worker;
    listen_to(w);
    uint32_t level = feature_level(&w->node->features);
    follow(f, level);
    if (f->raising || w->stopping || !leads_meta(w) ||
        catalog_account(w->catalog) == NULL)
        return;
    uint32_t next = possible(w);
    if (next > level)
        raise_level(f, next);
}

void features_start(struct worker *w)
{
    struct features *f = mem_zalloc(sizeof(*f));
    f->worker = w;
    double every = (double)FEATURES_TICK_US / USEC_PER_SEC;
    ev_timer_init(&f->timer, on_tick, every, every);
    f->timer.data = f;
    ev_timer_start(w->loop, &f->timer);
}
