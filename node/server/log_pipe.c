#include "node/server/log_pipe.h"

#include "node/base/check.h"
#include "node/base/clock.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/server/worker.h"

static struct log_batch *batch_new(struct log_pipe *p)
{
    struct list *node = list_pop_front(&p->spare);
    if (node != NULL)
        return LIST_ENTRY(node, struct log_batch, node);
    CHECK(p->batch_count < LOG_PIPE_BATCHES_MAX);
    p->batch_count++;
    struct log_batch *b = mem_zalloc(sizeof(*b));
    b->worker = p->worker;
    b->records = wal_batch_new(WAL_BATCH_BYTES_MAX);
    b->written = mem_zalloc(NODE_SHARDS_MAX * sizeof(*b->written));
    list_init(&b->node);
    return b;
}

/* Notes which updates the batch completes. In the middle of an update,
 * shard_written is still the one before. */
static void batch_close(struct log_batch *b)
{
    struct worker *w = b->worker;
    w->log.closed++;
    b->written_count = 0;
    for (uint32_t i = 0; i < w->replica_count; i++) {
        const struct replica *r = w->replicas[i];
        if (r->shard != NULL)
            b->written[b->written_count++] =
                (struct log_written){r->id, shard_written(r->shard)};
    }
}

static void batch_run(struct helper_job *job)
{
    struct log_batch *b = LIST_ENTRY(job, struct log_batch, job);
    usec_t began = clock_mono_us();
    b->err = wal_append(b->worker->log.wal, b->records);
    b->took_us = clock_mono_us() - began;
}

static void pipe_failing(struct log_pipe *p, int err)
{
    struct worker *w = p->worker;
    if (!p->failing)
        log_error("the log cannot be written; writes are refused until it can",
                  LOG_STR("error", err_text(err)));
    p->failing = true;
    for (uint32_t i = 0; i < w->replica_count; i++)
        shard_set_no_space(w->replicas[i]->shard, true);
    ev_timer_set(&p->retry, LOG_PIPE_RETRY_MS / 1000.0, 0);
    ev_timer_start(w->loop, &p->retry);
}

static void pipe_recovered(struct log_pipe *p)
{
    struct worker *w = p->worker;
    log_info("the log can be written again");
    p->failing = false;
    for (uint32_t i = 0; i < w->replica_count; i++)
        shard_set_no_space(w->replicas[i]->shard, false);
}

static void set_busy(struct log_pipe *p, usec_t since_us)
{
    __atomic_store_n(&p->busy_since_us, since_us, __ATOMIC_RELAXED);
}

static void batch_done(struct inbox_message *m, void *owner)
{
    struct worker *w = owner;
    struct log_pipe *p = &w->log;
    struct log_batch *b = LIST_ENTRY(m, struct log_batch, job.message);
    CHECK(b == p->syncing);
    if (b->err != ERR_OK) {
        pipe_failing(p, b->err);
        return;
    }
    if (p->failing)
        pipe_recovered(p);
    p->syncing = NULL;
    p->durable++;
    meter_record(&p->syncs, b->took_us);
    set_busy(p, 0);
    usec_t now = clock_mono_us();
    for (uint32_t i = 0; i < b->written_count; i++) {
        const struct replica *r = worker_replica(w, b->written[i].shard);
        if (r != NULL)
            shard_persisted(r->shard, now, b->written[i].update);
    }
    wal_batch_clear(b->records);
    list_push_back(&p->spare, &b->node);
    if (wal_wants_maintenance(p->wal))
        worker_maintain_log(w);
}

static void pipe_submit(struct log_pipe *p)
{
    helper_submit(&p->worker->helper, HELPER_LOG, &p->syncing->job);
}

static void pipe_retry(struct ev_loop *loop, struct ev_timer *t, int events)
{
    (void)loop;
    (void)events;
    struct log_pipe *p = t->data;
    if (p->syncing != NULL)
        pipe_submit(p);
}

void log_pipe_init(struct log_pipe *p, struct worker *w, struct wal *wal)
{
    *p = (struct log_pipe){.worker = w, .wal = wal};
    list_init(&p->waiting);
    list_init(&p->spare);
    p->filling = batch_new(p);
    ev_timer_init(&p->retry, pipe_retry, 0, 0);
    p->retry.data = p;
}

/* The filling batch is full: the next record begins another. */
static void pipe_next_batch(struct log_pipe *p)
{
    CHECK(!wal_batch_empty(p->filling->records));
    batch_close(p->filling);
    list_push_back(&p->waiting, &p->filling->node);
    p->filling = batch_new(p);
}

void log_pipe_entry(struct log_pipe *p, uint16_t shard, const struct entry *e)
{
    int err = wal_batch_entry(p->filling->records, shard, e);
    if (err == ERR_LIMIT) {
        pipe_next_batch(p);
        err = wal_batch_entry(p->filling->records, shard, e);
    }
    CHECK(err == ERR_OK);
}

void log_pipe_hard_state(struct log_pipe *p, uint16_t shard, uint64_t term,
                         uint64_t vote)
{
    int err = wal_batch_hard_state(p->filling->records, shard, term, vote);
    if (err == ERR_LIMIT) {
        pipe_next_batch(p);
        err = wal_batch_hard_state(p->filling->records, shard, term, vote);
    }
    CHECK(err == ERR_OK);
}

void log_pipe_truncate(struct log_pipe *p, uint16_t shard, uint64_t from)
{
    int err = wal_batch_truncate(p->filling->records, shard, from);
    if (err == ERR_LIMIT) {
        pipe_next_batch(p);
        err = wal_batch_truncate(p->filling->records, shard, from);
    }
    CHECK(err == ERR_OK);
}

void log_pipe_reset(struct log_pipe *p, uint16_t shard, uint64_t lsn,
                    uint64_t term)
{
    int err = wal_batch_reset(p->filling->records, shard, lsn, term);
    if (err == ERR_LIMIT) {
        pipe_next_batch(p);
        err = wal_batch_reset(p->filling->records, shard, lsn, term);
    }
    CHECK(err == ERR_OK);
}

/* A batch that ends between a salvage and its truncation is harmless: then both
 * the entry and its salvage are there. */
void log_pipe_salvage(struct log_pipe *p, uint16_t shard, uint32_t number,
                      bool acknowledged, const struct entry *e)
{
    int err =
        wal_batch_salvage(p->filling->records, shard, number, acknowledged, e);
    if (err == ERR_LIMIT) {
        pipe_next_batch(p);
        err = wal_batch_salvage(p->filling->records, shard, number,
                                acknowledged, e);
    }
    CHECK(err == ERR_OK);
}

void log_pipe_salvaged(struct log_pipe *p, uint16_t shard, uint32_t number)
{
    int err = wal_batch_salvaged(p->filling->records, shard, number);
    if (err == ERR_LIMIT) {
        pipe_next_batch(p);
        err = wal_batch_salvaged(p->filling->records, shard, number);
    }
    CHECK(err == ERR_OK);
}

static void batch_forget(struct log_batch *b, uint16_t shard)
{
    for (uint32_t i = 0; i < b->written_count; i++)
        if (b->written[i].shard == shard)
            b->written[i].update = 0;
}

void log_pipe_forget(struct log_pipe *p, uint16_t shard)
{
    if (p->syncing != NULL)
        batch_forget(p->syncing, shard);
    LIST_EACH(node, &p->waiting)
    batch_forget(LIST_ENTRY(node, struct log_batch, node), shard);
}

uint64_t log_pipe_mark(const struct log_pipe *p)
{
    return p->closed + (wal_batch_empty(p->filling->records) ? 0 : 1);
}

bool log_pipe_durable(const struct log_pipe *p, uint64_t mark)
{
    return p->durable >= mark;
}

void log_pipe_kick(struct log_pipe *p)
{
    if (p->syncing != NULL)
        return;
    struct list *node = list_pop_front(&p->waiting);
    if (node != NULL) {
        p->syncing = LIST_ENTRY(node, struct log_batch, node);
    } else if (!wal_batch_empty(p->filling->records)) {
        batch_close(p->filling);
        p->syncing = p->filling;
        p->filling = batch_new(p);
    } else {
        return;
    }
    p->syncing_since_us = clock_mono_us();
    set_busy(p, p->syncing_since_us);
    p->syncing->job.run = batch_run;
    p->syncing->job.message.deliver = batch_done;
    pipe_submit(p);
}

bool log_pipe_gathers(const struct log_pipe *p, usec_t now, usec_t *until_out)
{
    usec_t until = p->syncing_since_us + LOG_PIPE_GATHER_US;
    if (p->syncing == NULL || p->failing || now >= until)
        return false;
    *until_out = until;
    return true;
}

/* How long the oldest append is unfinished, repeated failures included; 0 when
 * none is. From any thread. */
static usec_t log_pipe_stalled_us(const struct log_pipe *p, usec_t now)
{
    usec_t since = __atomic_load_n(&p->busy_since_us, __ATOMIC_RELAXED);
    return since != 0 && now > since ? now - since : 0;
}

usec_t log_pipe_node_stalled_us(const struct node *n, usec_t now)
{
    usec_t longest = 0;
    for (uint32_t i = 0; i < n->worker_count; i++) {
        usec_t stalled = log_pipe_stalled_us(&n->workers[i].log, now);
        if (stalled > longest)
            longest = stalled;
    }
    return longest;
}
