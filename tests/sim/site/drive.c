/* A node's disk: the records of all its shards in order, one sync at a time,
 * covering what was written before it began. A crash keeps what was synced, and
 * of the rest a prefix of random length. A disk that hangs ends no sync. */
#include "node/base/check.h"
#include "node/base/mem.h"
#include "tests/sim/site/site_impl.h"

static void sync_begin(struct site_node *n)
{
    struct site_drive *d = &n->drive;
    CHECK(d->syncing == 0 && d->n_synced < d->n);
    usec_t latency = (usec_t)prng_range(
        &n->site->prng, (uint64_t)d->mean_us / 2, (uint64_t)d->mean_us * 2);
    d->syncing = d->n;
    site_schedule(n->site, n->site->now_us + latency,
                  (struct sim_event){
                      .type = SITE_SYNCED, .node = n->id, .number = n->life});
}

void site_drive_write(struct site_node *n, uint16_t shard, uint64_t seq,
                      struct sim_blob *record)
{
    struct site_drive *d = &n->drive;
    if (d->n == d->cap) {
        d->cap = d->cap ? d->cap * 2 : 64;
        d->records = mem_realloc(d->records, d->cap * sizeof(*d->records));
    }
    d->records[d->n++] =
        (struct site_record){record, shard, seq, n->site->now_us};
    if (d->syncing == 0)
        sync_begin(n);
}

void site_drive_synced(struct site_node *n)
{
    struct site_drive *d = &n->drive;
    if (d->hung) {
        d->due = true;
        return;
    }
    CHECK(d->syncing > d->n_synced && d->syncing <= d->n);
    uint64_t seq[SITE_SHARDS_MAX] = {0};
    for (size_t i = d->n_synced; i < d->syncing; i++)
        seq[d->records[i].shard] = d->records[i].seq;
    d->n_synced = d->syncing;
    d->syncing = 0;
    if (d->n_synced < d->n)
        sync_begin(n);
    for (uint16_t i = 0; i < n->site->n_shards; i++) {
        if (seq[i] == 0)
            continue;
        sim_replica_shard.written(n->replicas[i].replica, site_local_us(n),
                                  seq[i]);
        site_node_after(n, i);
    }
}

void site_drive_crash(struct site_node *n)
{
    struct site_drive *d = &n->drive;
    size_t keep = d->n_synced +
                  (size_t)prng_below(&n->site->prng, d->n - d->n_synced + 1);
    while (d->n > keep)
        sim_blob_release(d->records[--d->n].blob);
    d->n_synced = d->n;
    d->syncing = 0;
    d->due = false;
}

bool site_drive_idle(const struct site_node *n)
{
    return n->drive.n == n->drive.n_synced && n->drive.syncing == 0;
}

void site_drive_wipe(struct site_node *n, uint16_t shard)
{
    struct site_drive *d = &n->drive;
    size_t left = 0;
    CHECK(site_drive_idle(n));
    for (size_t i = 0; i < d->n; i++)
        if (shard == UINT16_MAX || d->records[i].shard == shard)
            sim_blob_release(d->records[i].blob);
        else
            d->records[left++] = d->records[i];
    d->n = d->n_synced = left;
}

void site_drive_hang(struct site_node *n, bool hung)
{
    struct site_drive *d = &n->drive;
    if (d->hung == hung)
        return;
    site_say(n->site, "disk of n%u %s", n->id, hung ? "hangs" : "goes on");
    d->hung = hung;
    if (hung || !d->due)
        return;
    d->due = false;
    site_schedule(n->site, n->site->now_us,
                  (struct sim_event){
                      .type = SITE_SYNCED, .node = n->id, .number = n->life});
}

usec_t site_drive_stall_us(const struct site_node *n)
{
    const struct site_drive *d = &n->drive;
    return d->n_synced == d->n
               ? 0
               : n->site->now_us - d->records[d->n_synced].at_us;
}
