#include "node/server/features.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/feature.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/base/rng.h"
#include "node/server/group_edit.h"
#include "node/server/peers.h"
#include "node/server/worker.h"

#define FEATURES_TICK_US (500 * USEC_PER_MS)
#define FEATURES_TIMEOUT_US (3 * USEC_PER_SEC)

struct features {
    struct worker *worker;
    struct ev_timer timer;
    uint32_t told;  /* level that the links know */
    bool raising;   /* an operation is under way: */
    uint32_t level; /* to this */
    struct op op;
    struct buf body;
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

static void ended(struct features *f, int err)
{
    f->raising = false;
    buf_wipe(&f->body);
    /* Another leader may have been faster; the next tick sees. */
    if (err != ERR_OK && err != ERR_PRECONDITION)
        log_warn("the feature level could not be raised",
                 LOG_UINT("level", f->level), LOG_STR("error", err_text(err)));
}

static void submit(struct features *f, struct op op,
                   void (*done)(void *user, struct op_result *result))
{
    f->op = op;
    rng_fill(f->op.id, OP_ID_LEN);
    cosmos_address(f->worker->meta_hash, CONTAINER_ACCOUNT, bytes_of(NULL, 0),
                   bytes_str("account"), &f->op.at);
    backend_submit(&f->worker->router.backend, &f->op, FEATURES_TIMEOUT_US,
                   done, f);
}

static void written(void *user, struct op_result *result)
{
    ended(user, result->err);
}

static void audit(struct features *f, uint32_t before)
{
    char who[GROUP_EDIT_WHO_MAX], was[32], is[32];
    snprintf(who, sizeof(who), "node %s", f->worker->node->config->node);
    snprintf(was, sizeof(was), "level %u", before);
    snprintf(is, sizeof(is), "level %u", f->level);
    group_edit_audit(f->worker, who, "raise the feature level", was, is,
                     "every node supports it");
}

static void record_read(void *user, struct op_result *result)
{
    struct features *f = user;
    struct catalog_account a;
    struct err_msg msg;
    int err = result->err;
    if (err == ERR_OK)
        err = catalog_account_parse(
            bytes_of(buf_bytes(&result->body), buf_len(&result->body)), &a,
            &msg);
    /* What the nodes say may have changed since. */
    if (err == ERR_OK &&
        (a.feature_level >= f->level || possible(f->worker) < f->level))
        err = ERR_PRECONDITION;
    if (err != ERR_OK) {
        ended(f, err);
        return;
    }
    audit(f, feature_level(&f->worker->node->features));
    a.feature_level = f->level;
    buf_clear(&f->body);
    CHECK(catalog_account_format(&a, &f->body) == ERR_OK);
    submit(
        f,
        (struct op){.kind = OP_WRITE,
                    .shard = SHARD_META,
                    .mode = OP_REPLACE,
                    .resource = OP_RESOURCE_INTERNAL,
                    .condition = OP_COND_IF_MATCH,
                    .etag = result->etag,
                    .body = bytes_of(buf_bytes(&f->body), buf_len(&f->body))},
        written);
}

static void raise_level(struct features *f, uint32_t level)
{
    f->raising = true;
    f->level = level;
    submit(f, (struct op){.kind = OP_READ, .shard = SHARD_META}, record_read);
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
    buf_init(&f->body, OP_BODY_MAX);
    double every = (double)FEATURES_TICK_US / USEC_PER_SEC;
    ev_timer_init(&f->timer, on_tick, every, every);
    f->timer.data = f;
    ev_timer_start(w->loop, &f->timer);
}
