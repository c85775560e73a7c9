#include "node/server/purge.h"

#include "node/base/log.h"
#include "node/server/mover.h"
#include "node/server/worker.h"

#define PURGE_PAGE 64

/* The LSN of the record that says so; 0: its move is not finished, or left
 * nothing. */
static uint64_t finished_lsn(const struct container_def *def)
{
    struct etag etag;
    if (def->move.phase != CONTAINER_STAYS || !def->move.emptied ||
        etag_parse(def->etag, &etag) != ERR_OK)
        return 0;
    return etag.lsn;
}

/* Whether a replica here may still have something of the container in shards of
 * a group that it has left. A witness never had. */
static bool is_left_in(const struct worker *w, const struct container_def *def,
                       const struct catalog_group *g, uint16_t layout)
{
    bool left = false;
    if (g != NULL && catalog_group_has_witness(g, w->node->config->id))
        return false;
    struct catalog_span s = {0, 0};
    if (g != NULL)
        s = catalog_group_span(g, layout);
    for (uint32_t i = 0; i < s.count; i++) {
        const struct replica *r = w->replica_of[s.first + i];
        left |= r != NULL && !shard_emptied(r->shard, def->number);
    }
    return left;
}

/* The same of all that it has left; not of what it has come back to. */
static bool is_left(const struct worker *w, const struct container_def *def)
{
    const struct container_move *m = &def->move;
    bool left = is_left_in(w, def, catalog_move_other(w->catalog, def),
                           m->other_layout);
    for (uint8_t i = 0; i < m->gone_count; i++) {
        const struct catalog_group *g =
            catalog_group_number(w->catalog, m->gone[i].group);
        if (g != NULL && !catalog_container_at(g, def, m->gone[i].layout))
            left |= is_left_in(w, def, g, m->gone[i].layout);
    }
    return left;
}

/* The newest finished move that is not done with; 0: none. `*left_out`: of any
 * of them something is left. */
static uint64_t look(const struct worker *w, bool *left_out)
{
    struct container_def *list[PURGE_PAGE];
    uint64_t newest = 0;
    uint32_t after = 0;
    size_t n;
    *left_out = false;
    do {
        n = catalog_list_moved(w->catalog, after, list, PURGE_PAGE);
        for (size_t i = 0; i < n; i++) {
            uint64_t lsn = finished_lsn(list[i]);
            if (lsn <= w->purge.done)
                continue;
            newest = lsn > newest ? lsn : newest;
            *left_out |= is_left(w, list[i]);
        }
        after = n > 0 ? list[n - 1]->number : 0;
    } while (n == PURGE_PAGE);
    return newest;
}

/* A record of no new content makes the log go on in a new segment at once. */
static void roll(struct worker *w, uint64_t upto)
{
    struct purge *p = &w->purge;
    const struct replica *r = w->replica_count > 0 ? w->replicas[0] : NULL;
    uint64_t oldest;
    p->upto = upto;
    p->rolled = true;
    wal_span(w->log.wal, &oldest, &p->segment);
    if (r == NULL)
        return;
    wal_roll(w->log.wal);
    log_pipe_hard_state(&w->log, r->id, raft_term(shard_raft(r->shard)),
                        raft_voted_for(shard_raft(r->shard)));
    worker_wake(w);
}

static bool segments_gone(const struct worker *w)
{
    uint64_t oldest, newest;
    wal_span(w->log.wal, &oldest, &newest);
    return w->replica_count == 0 || oldest > w->purge.segment;
}

void purge_check(struct worker *w)
{
    struct purge *p = &w->purge;
    bool left;
    if (p->rolled) {
        if (!segments_gone(w))
            return;
        p->rolled = false;
        p->done = p->upto;
        log_info("nothing of containers that have moved away is left in the "
                 "log",
                 LOG_UINT("worker", w->index));
    }
    uint64_t lsn = catalog_lsn(w->catalog);
    uint64_t newest = look(w, &left);
    if (newest == 0)
        atomic_store(&p->clean_lsn, lsn);
    else if (!left)
        roll(w, newest);
}

bool purge_clean(const struct node *n, const struct container_def *def)
{
    uint64_t lsn = finished_lsn(def);
    bool clean = lsn > 0;
    for (uint32_t i = 0; i < n->worker_count; i++)
        clean &= atomic_load(&n->workers[i].purge.clean_lsn) >= lsn;
    return clean;
}
