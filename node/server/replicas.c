#include "node/server/replicas.h"
#include "node/server/catalog_feed.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/file.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/server/digester.h"
#include "node/server/quarantine.h"
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

/* ---- gone -------------------------------------------------------------------
 */

static struct gone_shard *find_gone(const struct worker *w, uint32_t shard)
{
    for (uint32_t i = 0; i < w->gone_count; i++)
        if (w->gone[i].shard == shard)
            return &w->gone[i];
    return NULL;
}

/* A new one is taken for purged. */
static struct gone_shard *make_gone(struct worker *w, uint32_t shard)
{
    struct gone_shard *g = find_gone(w, shard);
    if (g != NULL)
        return g;
    w->gone = mem_realloc(w->gone, (w->gone_count + 1) * sizeof(*w->gone));
    g = &w->gone[w->gone_count++];
    *g = (struct gone_shard){.shard = (uint16_t)shard, .purged = true};
    return g;
}

void replicas_gone(struct worker *w, uint32_t shard)
{
    make_gone(w, shard)->purged = false;
}

/* The old records must be gone before there are new ones. */
static bool is_unpurged(const struct worker *w, uint32_t shard)
{
    const struct gone_shard *g = find_gone(w, shard);
    return g != NULL && !g->purged;
}

/* The log's segments go when no other shard needs them (worker_maintain_log).
 */
static void check_purged(struct worker *w)
{
    for (uint32_t i = 0; i < w->gone_count; i++) {
        struct gone_shard *g = &w->gone[i];
        if (g->purged || wal_holds(w->log.wal, g->shard))
            continue;
        g->purged = true;
        log_info("nothing of a shard is left in the log",
                 LOG_UINT("shard", g->shard));
    }
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

static void found_mark(void *user, uint32_t shard)
{
    struct finding *f = user;
    if (shard < NODE_SHARDS_MAX &&
        node_shard_worker(f->worker->node, shard) == f->worker)
        make_gone(f->worker, shard)->marked = true;
}

/* One that is of no group any more is not opened; the last end of the process
 * may have come before all its files were deleted. */
static int find_one(struct worker *w, uint32_t id, bool has_folder)
{
    struct datadir *d = w->node->datadir;
    char path[DATADIR_PATH_MAX];
    bool retired = datadir_shard_retired(d, id);
    if (retired && !has_folder)
        return ERR_OK;
    int err = datadir_shard_path(d, id, path);
    if (err == ERR_OK && retired)
        return file_remove_tree(path);
    struct replica *r = replica_new(w, id);
    table_add(w, r);
    memcpy(r->path, path, sizeof(path));
    return err;
}

int replicas_find(struct worker *w, struct err_msg *msg)
{
    struct node *node = w->node;
    struct finding f = {.worker = w};
    int err = datadir_each_shard(node->datadir, found, &f);
    if (err == ERR_OK)
        err = datadir_each_mark(node->datadir, found_mark, &f);
    if (err == ERR_OK && f.beyond)
        err = ERR_LIMIT;
    if (err != ERR_OK)
        return err_set(msg, err, "%s/shards: %s", datadir_path(node->datadir),
                       err_text(err));
    for (uint32_t id = 0; id < NODE_SHARDS_MAX; id++) {
        if (node_shard_worker(node, id) != w ||
            !(f.wanted[id] || id <= node->config->shards))
            continue;
        err = find_one(w, id, f.wanted[id]);
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
    struct datadir_role role;
    bool has_role; /* there may be others, so it is written down */
    struct err_msg msg;
    int err;
};

static void opening_run(struct helper_job *job)
{
    struct opening *o = LIST_ENTRY(job, struct opening, job);
    struct replica *r = o->replica;
    struct datadir *d = r->worker->node->datadir;
    o->err = o->has_role ? datadir_set_role(d, r->id, &o->role)
                         : datadir_drop_role(d, r->id);
    if (o->err == ERR_OK)
        o->err = datadir_shard_path(d, r->id, r->path);
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
    for (uint32_t i = 0; i < g->first_count; i++) {
        const struct config_region *region = NULL;
        const struct config_node *n =
            config_find_node(c, g->first_members[i], &region);
        CHECK(n != NULL && region != NULL);
        struct raft_member m = {
            .id = n->id,
            .region = (raft_region)(region - c->regions + 1),
            .priority = (uint8_t)catalog_group_region(g, region->name),
            .voter = true,
            .witness = n->id == g->first_witness};
        CHECK(raft_config_add(out, m) == ERR_OK);
    }
    CHECK(raft_config_check(out) == ERR_OK);
}

static bool is_witness(const struct worker *w, const struct catalog_group *g)
{
    return g->witness == w->node->config->id;
}

static void opening_begin(struct worker *w, const struct catalog_group *g,
                          uint32_t id)
{
    struct opening *o = mem_zalloc(sizeof(*o));
    o->replica = replica_new(w, id);
    first_config(w->node->config, g, &o->first);
    o->role = (struct datadir_role){.witness = is_witness(w, g),
                                    .epoch = g->decision.epoch};
    o->has_role = feature_active(&w->node->features, FEATURE_WITNESS_CHANGE);
    o->job.run = opening_run;
    o->job.message.deliver = opening_done;
    w->opening[id] = true;
    helper_submit(&w->helper, HELPER_STORE, &o->job);
}

/* Whether this node should be a member, and opens the shards at run time, as it
 * does not those that default was made with; not before its configuration has
 * all those that the logs begin with. */
static bool wanted_here(const struct worker *w, const struct catalog_group *g)
{
    const struct config *c = w->node->config;
    bool member = false;
    if (catalog_shard_removed(w->catalog, g->first_shard))
        return false;
    for (uint32_t i = 0; i < g->first_count; i++)
        if (config_find_node(c, g->first_members[i], NULL) == NULL)
            return false;
    if (g->member_count == 0)
        return memchr(g->first_members, (int)c->id, g->first_count) != NULL;
    for (uint32_t i = 0; i < g->member_count; i++)
        member |= g->members[i] == c->id;
    return member && g->first_count > 0;
}

/* ---- closing ----------------------------------------------------------------
 */

/* The files of a closed replica, deleted by the helper. */
struct removal {
    struct helper_job job;
    struct worker *worker;
    uint16_t shard;
    bool for_good; /* there will be no other one: else it was put away */
    bool retired;  /* see datadir_retire_shard */
    bool closed;   /* just now, else it is about an old mark */
    int err;
    char path[DATADIR_PATH_MAX]; /* of a closed one */
};

/* No promise is needed any more. */
static int remove_for_good(struct datadir *d, const struct removal *m)
{
    int err = m->retired ? datadir_retire_shard(d, m->shard) : ERR_OK;
    if (err == ERR_OK && m->closed)
        err = file_remove_tree(m->path);
    return err == ERR_OK ? datadir_shard_rebuilt(d, m->shard) : err;
}

static void removal_run(struct helper_job *job)
{
    struct removal *m = LIST_ENTRY(job, struct removal, job);
    struct datadir *d = m->worker->node->datadir;
    m->err = m->for_good ? remove_for_good(d, m)
                         : datadir_drop_discarded(d, m->shard);
    if (m->err == ERR_OK)
        m->err = datadir_drop_role(d, m->shard);
}

static void removal_done(struct inbox_message *m, void *owner)
{
    struct worker *w = owner;
    struct removal *d = LIST_ENTRY(m, struct removal, job.message);
    w->opening[d->shard] = false;
    if (d->err != ERR_OK)
        log_error("the files of a closed replica cannot be deleted; the next "
                  "start tries it again: check the disk",
                  LOG_UINT("shard", d->shard),
                  LOG_STR("error", err_text(d->err)));
    else if (d->closed)
        log_info("a replica was closed and deleted",
                 LOG_UINT("shard", d->shard));
    catalog_feed_wipe_keys(w);
    mem_free(d);
}

static bool is_for_good(const struct worker *w, uint32_t shard)
{
    return catalog_shard_retired(w->catalog, shard) ||
           catalog_shard_removed(w->catalog, shard);
}

/* `closed`: NULL, where there is a mark alone. */
static void removal_begin(struct worker *w, uint16_t shard,
                          const struct replica *closed)
{
    struct removal *d = mem_zalloc(sizeof(*d));
    d->worker = w;
    d->shard = shard;
    d->for_good = is_for_good(w, shard);
    d->retired = catalog_shard_retired(w->catalog, shard);
    d->closed = closed != NULL;
    if (d->closed)
        memcpy(d->path, closed->path, sizeof(d->path));
    d->job.run = removal_run;
    d->job.message.deliver = removal_done;
    make_gone(w, shard)->marked = !d->for_good;
    w->opening[shard] = true; /* not before its files are gone */
    helper_submit(&w->helper, HELPER_STORE, &d->job);
}

/* What was promised for shards that are gone for good is not needed. */
static void drop_marks(struct worker *w)
{
    for (uint32_t i = 0; i < w->gone_count && w->steering.news.proven; i++) {
        const struct gone_shard *g = &w->gone[i];
        if (g->marked && w->replica_of[g->shard] == NULL &&
            !w->opening[g->shard] && is_for_good(w, g->shard))
            removal_begin(w, g->shard, NULL);
    }
}

/* The log goes on in a new segment. A record of no new content makes it do so
 * at once. */
static void roll_log(struct worker *w, uint16_t shard, uint64_t term,
                     raft_id vote)
{
    wal_roll(w->log.wal);
    log_pipe_hard_state(&w->log, shard, term, vote);
    worker_wake(w);
}

/* Written down or not, nothing may be promised that is not in what may have
 * been written: the replica is deaf until that succeeds. */
static bool may_go(struct worker *w, struct replica *r)
{
    struct err_msg msg;
    if (is_for_good(w, r->id) || quarantine_leave(r, &msg) == ERR_OK)
        return true;
    log_error("a replica that is not wanted any more cannot be put away; it "
              "will be tried again",
              LOG_UINT("shard", r->id), LOG_STR("reason", msg.text));
    r->deaf = true;
    r->put_away_us = clock_mono_us() + REPLICAS_RETRY_US;
    return false;
}

static void close_now(struct worker *w, struct replica *r)
{
    const struct raft *raft = shard_raft(r->shard);
    uint64_t term = raft_term(raft);
    raft_id vote = raft_voted_for(raft);
    shard_free(r->shard);
    table_remove(w, r);
    engine_close(r->engine);
    mem_free(r->flusher.drops);
    scrubber_forget(r);
    replicas_gone(w, r->id);
    roll_log(w, r->id, term, vote);
    removal_begin(w, r->id, r);
    r->magic = 0;
    mem_free(r);
    share_memory(w);
}

/* One step towards the end of a replica: when nothing of it is on its way, an
 * old mark's end included, which would be the new one's. */
static void close_step(struct worker *w, struct replica *r)
{
    if (!r->closing) {
        log_info("a replica is not wanted here any more and is closed",
                 LOG_UINT("shard", r->id));
        r->closing = true;
        r->close_mark = log_pipe_mark(&w->log);
    }
    bool idle = transfers_cancel(&w->transfers, r) && !digester_yield(r) &&
                !r->flusher.running && r->flusher.flush == NULL &&
                !shard_flush_pending(r->shard) && !r->unmarking;
    if (idle && log_pipe_durable(&w->log, r->close_mark) &&
        clock_mono_us() >= r->put_away_us && may_go(w, r))
        close_now(w, r);
}

/* Whether the group is removed; or does without this node, all its shards say
 * so, and its region is not waiting to be emptied. An older release cannot read
 * what is then written down (quarantine_leave), so that waits for the level. */
static bool unwanted_here(const struct worker *w, const struct catalog_group *g)
{
    const struct config *c = w->node->config;
    size_t region = catalog_group_region(g, c->region);
    bool leaving = region < g->region_count && g->leaving[region];
    if (catalog_shard_removed(w->catalog, g->first_shard))
        return true; /* its record goes next */
    return feature_active(&w->node->features, FEATURE_WITNESS_CHANGE) &&
           catalog_group_fenced(g) && g->decision.settled && !leaving &&
           memchr(g->members, (int)c->id, g->member_count) == NULL;
}

/* Whether it is of the other kind than the group wants here now: one that it
 * had here, and did without in between, so that no shard counts on it. */
static bool is_other_kind(const struct worker *w, const struct replica *r,
                          const struct catalog_group *g)
{
    return catalog_group_fenced(g) &&
           memchr(g->members, (int)w->node->config->id, g->member_count) !=
               NULL &&
           shard_is_witness(r->shard) != is_witness(w, g);
}

/* Not before the catalog is as of this start: what it goes through until then
 * is the past, in which another replica was wanted, or none. */
static void close_unwanted(struct worker *w)
{
    if (!w->steering.news.proven)
        return;
    for (uint32_t i = w->replica_count; i-- > 0;) {
        struct replica *r = w->replicas[i];
        const struct catalog_group *g =
            catalog_group_of_shard(w->catalog, r->id);
        if (g != NULL ? unwanted_here(w, g) || is_other_kind(w, r, g)
                      : is_for_good(w, r->id))
            close_step(w, r);
        else
            r->closing = false; /* wanted again before it was gone */
    }
}

/* Whether a group's shard belongs on this worker and is not in its table. */
static bool missing(const struct worker *w, uint16_t id)
{
    return node_shard_worker(w->node, id) == w && w->replica_of[id] == NULL;
}

static void open_missing(struct worker *w, const struct catalog_group *g)
{
    struct catalog_shards all = catalog_group_shards(g);
    for (uint32_t i = 0; i < catalog_shards_count(all); i++) {
        uint16_t id = catalog_shards_at(all, i);
        if (missing(w, id) && !w->opening[id] && !is_unpurged(w, id))
            opening_begin(w, g, id);
    }
}

void replicas_check(struct worker *w)
{
    const struct catalog_group *g;
    if (w->stopping)
        return;
    close_unwanted(w);
    check_purged(w);
    drop_marks(w);
    catalog_feed_wipe_keys(w);
    if (clock_mono_us() < w->open_again_us)
        return;
    for (size_t i = 0; (g = catalog_group_at(w->catalog, i)) != NULL; i++) {
        if (wanted_here(w, g))
            open_missing(w, g);
    }
}

static bool has_all_of(const struct worker *w, const struct catalog_group *g)
{
    struct catalog_shards all = catalog_group_shards(g);
    for (uint32_t i = 0; i < catalog_shards_count(all); i++)
        if (missing(w, catalog_shards_at(all, i)))
            return false;
    return true;
}

bool replicas_complete(const struct worker *w)
{
    const struct catalog_group *g;
    for (size_t i = 0; (g = catalog_group_at(w->catalog, i)) != NULL; i++)
        if (wanted_here(w, g) && !has_all_of(w, g))
            return false;
    return true;
}
