#include "node/server/salvager.h"

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/server/worker.h"
#include "node/shard/salvage.h"

struct delivery {
    struct replica *replica;
    struct salvage_delivery salvage;
};

/* Possibly from inside the shard, so the next one waits for the turn. */
static void delivered(void *user, struct op_result *result)
{
    struct delivery *d = user;
    struct worker *w = d->replica->worker;
    shard_salvage_done(d->replica->shard, clock_mono_us(), &d->salvage, result);
    mem_free(d);
    w->salvage_due = true;
    worker_wake(w);
}

static void deliver_due(struct replica *r)
{
    struct worker *w = r->worker;
    struct delivery *d = mem_alloc(sizeof(*d));
    while (shard_salvage_next(r->shard, clock_mono_us(), &d->salvage) ==
           ERR_OK) {
        d->replica = r;
        backend_submit(&w->router.backend, &d->salvage.op, SALVAGER_TIMEOUT_US,
                       delivered, d);
        d = mem_alloc(sizeof(*d));
    }
    mem_free(d);
}

void salvager_check(struct worker *w)
{
    w->salvage_due = false;
    for (uint32_t i = 0; i < w->replica_count; i++)
        if (shard_salvage_pending(w->replicas[i]->shard) > 0)
            deliver_due(w->replicas[i]);
}

void salvager_turn(struct worker *w)
{
    if (w->salvage_due && !w->stopping)
        salvager_check(w);
}
