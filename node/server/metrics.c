#include "node/server/metrics.h"

#include "node/base/mem.h"
#include "node/server/metrics_impl.h"

struct metrics *metrics_new(const struct node *n, const struct shard_set *set)
{
    struct metrics *m = mem_zalloc(sizeof(*m));
    m->set = set;
    m->shards = mem_zalloc(set->n * sizeof(*m->shards));
    m->workers = mem_zalloc(n->worker_count * sizeof(*m->workers));
    return m;
}

void metrics_free(struct metrics *m)
{
    if (m == NULL)
        return;
    mem_free(m->shards);
    mem_free(m->workers);
    mem_free(m);
}

/* ---- on each worker ------------------------------------------------------ */

static void collect_replica(const struct replica *r, struct metrics_shard *s,
                            struct metrics_worker *mw)
{
    struct engine_stats store;
    shard_status(r->shard, clock_mono_us(), &s->status);
    s->counts = r->counts;
    s->scrub = r->scrub;
    s->scrub.last = NULL;
    s->scrubbed_us = r->scrub.last != NULL ? r->scrub.last->ended_us : 0;
    s->memtable_limit_bytes = worker_memtable_share(r->worker);
    meter_add(&mw->store_commits, &r->flusher.commits);
    mw->flushed_bytes += r->flusher.flushed_bytes;
    mw->flush_failures += r->flusher.failures;
    if (engine_stats(r->engine, &store) == ERR_OK) {
        mw->store_disk_bytes += store.disk_bytes;
        mw->store_map_bytes += store.map_bytes;
    }
}

void metrics_collect(struct worker *w, struct metrics *m)
{
    struct metrics_worker *mw = &m->workers[w->index];
    mw->http = *http_front_counters(w->front);
    mw->api = *cosmos_meters(w->cosmos);
    mw->reads_local = w->router.reads_local;
    mw->reads_forwarded = w->router.reads_forwarded;
    mw->forwarded = w->router.forwarded;
    mw->retried = w->router.retried;
    mw->log_syncs = w->log.syncs;
    wal_stats(w->log.wal, &mw->log);
    mw->transfers = w->transfers.counts;
    mw->transfers_running = transfers_running(&w->transfers);
    for (uint32_t i = 0; i < w->replica_count; i++) {
        uint32_t k = shard_set_find(m->set, w->replicas[i]->id);
        if (k < m->set->n)
            collect_replica(w->replicas[i], &m->shards[k], mw);
    }
}

/* ---- on worker 0 --------------------------------------------------------- */

static void add_http(struct http_counters *all, const struct http_counters *h)
{
    all->connections_accepted += h->connections_accepted;
    all->connections_refused += h->connections_refused;
    all->connections_open += h->connections_open;
    all->handshakes_failed += h->handshakes_failed;
    all->requests_running += h->requests_running;
    all->responses_dropped += h->responses_dropped;
    all->bytes_in += h->bytes_in;
    all->bytes_out += h->bytes_out;
    all->body_bytes_held += h->body_bytes_held;
    all->timeouts_idle += h->timeouts_idle;
    all->timeouts_write += h->timeouts_write;
    for (unsigned i = 0; i < HTTP_REJECT_COUNT; i++)
        all->rejects[i] += h->rejects[i];
}

static void add_disk(struct metrics_worker *all, const struct metrics_worker *w)
{
    meter_add(&all->log_syncs, &w->log_syncs);
    all->log.bytes += w->log.bytes;
    all->log.segments += w->log.segments;
    all->log.disk_bytes += w->log.disk_bytes;
    all->log.failed_appends += w->log.failed_appends;
    all->log.failed |= w->log.failed;
    meter_add(&all->store_commits, &w->store_commits);
    all->flushed_bytes += w->flushed_bytes;
    all->flush_failures += w->flush_failures;
    all->store_disk_bytes += w->store_disk_bytes;
    all->store_map_bytes += w->store_map_bytes;
}

static void add_transfers(struct metrics_worker *all,
                          const struct metrics_worker *w)
{
    struct transfer_counts *to = &all->transfers;
    const struct transfer_counts *from = &w->transfers;
    to->sent_bytes += from->sent_bytes;
    to->received_bytes += from->received_bytes;
    to->sent += from->sent;
    to->received += from->received;
    to->failed += from->failed;
    to->resumed += from->resumed;
    to->near += from->near;
    all->transfers_running += w->transfers_running;
}

static void add_worker(struct metrics_worker *all,
                       const struct metrics_worker *w)
{
    add_http(&all->http, &w->http);
    cosmos_meters_add(&all->api, &w->api);
    all->reads_local += w->reads_local;
    all->reads_forwarded += w->reads_forwarded;
    all->forwarded += w->forwarded;
    all->retried += w->retried;
    add_disk(all, w);
    add_transfers(all, w);
}

void metrics_write(struct worker *w, const struct metrics *m, struct buf *out)
{
    struct metrics_worker *all = mem_zalloc(sizeof(*all));
    for (uint32_t i = 0; i < w->node->worker_count; i++)
        add_worker(all, &m->workers[i]);
    metrics_gauge(out, "bastide_ready", "1 when /readyz answers 200", m->ready);
    metrics_put_process(w, out);
    metrics_put_regions(w, out);
    metrics_put_shards(m, out);
    metrics_put_requests(all, out);
    metrics_put_disk(w, m, all, out);
    metrics_put_snapshots(w->node, all, out);
    metrics_put_links(w, out);
    metrics_put_fences(w, out);
    metrics_put_transit(w, out);
    mem_free(all);
}
