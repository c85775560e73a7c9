/* Clients: they write through whoever claims to lead, and read anywhere. */
#include "node/base/check.h"
#include "node/base/err.h"
#include "tests/sim/world_impl.h"

static struct node *any_node(struct world *w)
{
    return &w->nodes[1 + prng_below(&w->prng, w->n_nodes)];
}

void load_write(struct world *w)
{
    if (w->docs != NULL) {
        docs_go(w->docs, true);
        return;
    }
    /* Now and then to somebody who led once and may still believe it. */
    for (raft_id i = 1; i <= w->n_nodes; i++) {
        struct node *n = &w->nodes[i];
        if (!node_up(n) || !w->ops->leads(n->replica))
            continue;
        uint64_t request = ++w->request;
        (void)w->ops->propose(n->replica, node_local_us(n), request, request);
        node_after_step(n);
    }
}

static struct read_wait *free_slot(struct world *w)
{
    for (size_t i = 0; i < READS_MAX; i++) {
        if (w->reads[i].request == 0)
            return &w->reads[i];
    }
    return NULL;
}

void load_read(struct world *w)
{
    if (w->docs != NULL) {
        docs_go(w->docs, false);
        return;
    }
    struct node *n = any_node(w);
    struct read_wait *slot = free_slot(w);
    if (!node_up(n) || slot == NULL)
        return;
    uint64_t request = ++w->request;
    *slot = (struct read_wait){request, check_read_floor(w->check), n->id};
    if (w->ops->read(n->replica, node_local_us(n), request) != ERR_OK)
        slot->request = 0;
    node_after_step(n);
}

void load_read_done(struct node *n, uint64_t request, int result, uint64_t lsn)
{
    struct world *w = n->world;
    for (size_t i = 0; i < READS_MAX; i++) {
        struct read_wait *r = &w->reads[i];
        if (r->request != request)
            continue;
        CHECK(r->node == n->id);
        r->request = 0;
        if (result == ERR_OK)
            check_read_done(w->check, n->id, r->floor, lsn);
        return;
    }
}
