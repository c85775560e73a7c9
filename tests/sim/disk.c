/* A disk: records in order, some of them synced. One sync at a time, covering
 * what was written before it began. A crash keeps what was synced, and of the
 * rest a prefix of random length: later writes, or the torn one, are gone. */
#include "node/base/check.h"
#include "node/base/mem.h"
#include "tests/sim/world_impl.h"

static void start_sync(struct node *n)
{
    CHECK(n->syncing == 0 && n->n_synced < n->n_records);
    struct world *w = n->world;
    usec_t mean = n->slow ? n->sync_us * 100 : n->sync_us;
    usec_t latency =
        (usec_t)prng_range(&w->prng, (uint64_t)mean / 2, (uint64_t)mean * 2);
    n->syncing = n->n_records;
    world_schedule(w, w->now_us + latency,
                   (struct sim_event){
                       .type = EV_SYNCED, .node = n->id, .number = n->life});
}

void disk_write(struct node *n, uint64_t seq, struct sim_blob *record,
                bool checkpoint)
{
    CHECK(n->n_records == 0 || n->n_records == n->n_synced ||
          n->records[n->n_records - 1].seq <= seq);
    if (n->witness && n->world->ops->payloads(record) > 0)
        world_fail(n->world, "a witness keeps payload");
    if (n->n_records == n->cap_records) {
        n->cap_records = n->cap_records ? n->cap_records * 2 : 64;
        n->records =
            mem_realloc(n->records, n->cap_records * sizeof(*n->records));
    }
    n->records[n->n_records++] = (struct record){record, seq, checkpoint};
    if (n->syncing == 0)
        start_sync(n);
}

/* Drops what a durable checkpoint made superfluous. */
static void forget_old(struct node *n)
{
    size_t first = n->n_synced;
    while (first > 0 && !n->records[first - 1].checkpoint)
        first--;
    if (first <= 1)
        return;
    first--;
    for (size_t i = 0; i < first; i++)
        sim_blob_release(n->records[i].blob);
    for (size_t i = first; i < n->n_records; i++)
        n->records[i - first] = n->records[i];
    n->n_records -= first;
    n->n_synced -= first;
}

bool disk_durable(const struct node *n, uint64_t seq)
{
    return n->n_synced == n->n_records || n->records[n->n_synced].seq > seq;
}

void disk_synced(struct node *n)
{
    CHECK(n->syncing > n->n_synced && n->syncing <= n->n_records);
    n->n_synced = n->syncing;
    n->syncing = 0;
    uint64_t durable = n->n_synced == n->n_records
                           ? n->records[n->n_synced - 1].seq
                           : n->records[n->n_synced].seq - 1;
    forget_old(n);
    if (n->n_synced < n->n_records)
        start_sync(n);
    net_release_held(n);
    n->world->ops->written(n->replica, node_local_us(n), durable);
    node_after_step(n);
}

void disk_crash(struct node *n)
{
    size_t unsynced = n->n_records - n->n_synced;
    size_t keep =
        n->n_synced + (size_t)prng_below(&n->world->prng, unsynced + 1);
    while (n->n_records > keep)
        sim_blob_release(n->records[--n->n_records].blob);
    n->n_synced = n->n_records;
    n->syncing = 0;
}

void disk_lose(struct node *n)
{
    CHECK(n->replica == NULL && n->syncing == 0);
    while (n->n_records > 0)
        sim_blob_release(n->records[--n->n_records].blob);
    n->n_synced = 0;
    n->amnesiac = true;
    n->kept = false;
}
