#include "node/server/replicas.h"
#include "node/server/catalog_feed.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/server/recovery.h"
#include "node/server/steering.h"
#include "node/server/worker.h"

/* A failed attempt to open a replica is repeated after this. */
#define REPLICAS_RETRY_US (2 * USEC_PER_SEC)

/* ---- the table -------------------------------------------------------------
 */

static struct replica *replica_new(struct worker *w, uint32_t id)
{
    struct replica *r = mem_zalloc(sizeof(*r));
    r->magic = REPLICA_MAGIC;
    r->worker = w;
    r->id = (uint16_t)id;
    flusher_init(&r->flusher, r);
    return r;
}

static void table_add(struct worker *w, struct replica *r)
{
    CHECK(r->id < NODE_SHARDS_MAX && w->replica_of[r->id] == NULL);
    CHECK(w == node_shard_worker(w->node, r->id));
    w->replicas[w->replica_count++] = r;
    w->replica_of[r->id] = r;
    steering_here(w, r->id, true);
}

static void table_remove(struct worker *w, struct replica *r)
{
    uint32_t at = 0;
    while (w->replicas[at] != r)
        CHECK(++at < w->replica_count);
    w->replica_count--;
    memmove(&w->replicas[at], &w->replicas[at + 1],
            (w->replica_count - at) * sizeof(w->replicas[0]));
    w->replica_of[r->id] = NULL;
    steering_here(w, r->id, false);
}

/* What each may hold depends on how many there are. */
static void share_memory(struct worker *w)
{
    for (uint32_t i = 0; i < w->replica_count; i++)
        shard_set_memtable_bytes(w->replicas[i]->shard,
                                 worker_memtable_share(w));
}

void replicas_forget(struct worker *w, struct replica *r)
{
    CHECK(r->shard == NULL);
    table_remove(w, r);
    engine_close(r->engine);
    r->magic = 0;
    mem_free(r);
}

/* ---- at start --------------------------------------------------------------
 */

struct finding {
    struct worker *worker;
    bool wanted[NODE_SHARDS_MAX];
    bool beyond;
};

static void found(void *user, uint32_t shard)
{
    struct finding *f = user;
    if (shard >= NODE_SHARDS_MAX)
        f->beyond = true;
    else
        f->wanted[shard] = true;
}

int replicas_find(struct worker *w, struct err_msg *msg)
{
    struct node *node = w->node;
    struct finding f = {.worker = w};
    int err = datadir_each_shard(node->datadir, found, &f);
    if (err == ERR_OK && f.beyond)
        err = ERR_LIMIT;
    if (err != ERR_OK)
        return err_set(msg, err, "%s/shards: %s", datadir_path(node->datadir),
                       err_text(err));
    for (uint32_t id = 0; id < NODE_SHARDS_MAX; id++) {
        if (node_shard_worker(node, id) != w ||
            !(f.wanted[id] || id <= node->config->shards))
            continue;
        struct replica *r = replica_new(w, id);
        table_add(w, r);
        err = datadir_shard_path(node->datadir, id, r->path);
        if (err != ERR_OK)
            return err_set(msg, err, "shard %u: %s", id, err_text(err));
    }
    return ERR_OK;
}

/* ---- at run time -----------------------------------------------------------
 */

/* A replica on its way: the helper makes its engine, with the configuration
 * that the shard begins with, before it can have promised anything. */
struct opening {
    struct helper_job job;
    struct replica *replica;
    struct raft_config first;
    struct err_msg msg;
    int err;
};

static void opening_run(struct helper_job *job)
{
    struct opening *o = LIST_ENTRY(job, struct opening, job);
    struct replica *r = o->replica;
    o->err = datadir_shard_path(r->worker->node->datadir, r->id, r->path);
    if (o->err != ERR_OK)
        err_set(&o->msg, o->err, "its folder cannot be made: %s",
                err_text(o->err));
    else
        o->err = recovery_make_engine(r, &o->first, &o->msg);
}

static void tell_reachable(struct worker *w, struct replica *r, usec_t now)
{
    for (uint32_t id = 1; id <= CONFIG_NODES_MAX; id++)
        if (w->reachable[id])
            shard_peer(r->shard, now, id, true);
}

static void opening_done(struct inbox_message *m, void *owner)
{
    struct worker *w = owner;
    struct opening *o = LIST_ENTRY(m, struct opening, job.message);
    struct replica *r = o->replica;
    w->opening[r->id] = false;
    if (o->err == ERR_OK)
        o->err = recovery_open_new(r, &o->msg);
    if (o->err != ERR_OK) {
        log_error("a replica cannot be opened; it will be tried again",
                  LOG_UINT("shard", r->id), LOG_STR("reason", o->msg.text));
        w->open_again_us = clock_mono_us() + REPLICAS_RETRY_US;
        engine_close(r->engine);
        mem_free(r);
    } else {
        table_add(w, r);
        share_memory(w);
        tell_reachable(w, r, clock_mono_us());
        catalog_feed_keys(w, r);
        steering_soon(&w->steering);
    }
    mem_free(o);
}

static void first_config(const struct config *c, const struct catalog_group *g,
                         struct raft_config *out)
{
    *out = (struct raft_config){.ack = RAFT_ACK_COMMIT};
    for (uint32_t i = 0; i < g->member_count; i++) {
        const struct config_region *region = NULL;
        const struct config_node *n =
            config_find_node(c, g->members[i], &region);
        CHECK(n != NULL && region != NULL);
        struct raft_member m = {
            .id = n->id,
            .region = (raft_region)(region - c->regions + 1),
            .priority = (uint8_t)catalog_group_region(g, region->name),
            .voter = true};
        CHECK(raft_config_add(out, m) == ERR_OK);
    }
    CHECK(raft_config_check(out) == ERR_OK);
}

static void opening_begin(struct worker *w, const struct catalog_group *g,
                          uint32_t id)
{
    struct opening *o = mem_zalloc(sizeof(*o));
    o->replica = replica_new(w, id);
    first_config(w->node->config, g, &o->first);
    o->job.run = opening_run;
    o->job.message.deliver = opening_done;
    w->opening[id] = true;
    helper_submit(&w->helper, HELPER_STORE, &o->job);
}

/* Whether all members are nodes of this node's configuration, and it is one of
 * them. */
static bool wanted_here(const struct worker *w, const struct catalog_group *g)
{
    const struct config *c = w->node->config;
    bool member = false;
    for (uint32_t i = 0; i < g->member_count; i++) {
        if (config_find_node(c, g->members[i], NULL) == NULL)
            return false;
        member |= g->members[i] == c->id;
    }
    return member;
}

/* The next shard at or above `id` that the group wants on this worker and that
 * is not in its table; 0: none. */
static uint32_t missing(const struct worker *w, const struct catalog_group *g,
                        uint32_t id)
{
    for (; id < (uint32_t)g->first_shard + g->shard_count; id++)
        if (node_shard_worker(w->node, id) == w && w->replica_of[id] == NULL)
            return id;
    return 0;
}

void replicas_check(struct worker *w)
{
    const struct catalog_group *g;
    if (w->stopping || clock_mono_us() < w->open_again_us)
        return;
    for (size_t i = 0; (g = catalog_group_at(w->catalog, i)) != NULL; i++) {
        if (!wanted_here(w, g))
            continue;
        for (uint32_t id = missing(w, g, g->first_shard); id != 0;
             id = missing(w, g, id + 1))
            if (!w->opening[id])
                opening_begin(w, g, id);
    }
}

bool replicas_complete(const struct worker *w)
{
    const struct catalog_group *g;
    for (size_t i = 0; (g = catalog_group_at(w->catalog, i)) != NULL; i++)
        if (wanted_here(w, g) && missing(w, g, g->first_shard) != 0)
            return false;
    return true;
}
