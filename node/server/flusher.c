#include "node/server/flusher.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/server/shard_env.h"
#include "node/server/worker.h"
#include "node/shard/record.h"

static void flush_run(struct helper_job *job)
{
    struct flusher *f = LIST_ENTRY(job, struct flusher, job);
    usec_t began = clock_mono_us();
    f->err = engine_flush(f->replica->engine, f->flush);
    f->took_us = clock_mono_us() - began;
}

static void drop_run(struct helper_job *job)
{
    struct flusher *f = LIST_ENTRY(job, struct flusher, job);
    uint8_t prefix[RECORD_PREFIX_LEN];
    record_prefix(f->drop_table, f->dropping, prefix);
    f->err =
        engine_drop_prefix(f->replica->engine, bytes_of(prefix, sizeof(prefix)),
                           FLUSHER_DROP_BUDGET, &f->drop_more);
}

/* A budget's worth was deleted: the next table, or the next container. */
static void drop_advance(struct flusher *f)
{
    if (f->drop_more)
        return;
    if (f->drop_table < RECORD_TABLE_LAST) {
        f->drop_table++;
        return;
    }
    f->drop_count--;
    memmove(f->drops, f->drops + 1, f->drop_count * sizeof(*f->drops));
    f->drop_table = RECORD_TABLE_TEXT;
    f->drop_memory = false;
}

static void drop_done(struct inbox_message *m, void *owner)
{
    (void)owner;
    struct flusher *f = LIST_ENTRY(m, struct flusher, job.message);
    f->running = false;
    if (f->err == ERR_FULL)
        f->err = engine_grow(f->replica->engine);
    else if (f->err == ERR_OK)
        drop_advance(f);
    if (f->err != ERR_OK)
        f->retry_us = clock_mono_us() + FLUSHER_RETRY_US;
    worker_wake(f->replica->worker);
}

static void drop_submit(struct flusher *f)
{
    f->dropping = f->drops[0];
    f->job.run = drop_run;
    f->job.message.deliver = drop_done;
    f->running = true;
    helper_submit(&f->replica->worker->helper, HELPER_STORE, &f->job);
}

/* One step for the first container to drop; nothing while a flush could bring
 * its records back. */
static void drop_step(struct flusher *f)
{
    struct shard *s = f->replica->shard;
    if (shard_flush_pending(s) || shard_installing(s))
        return;
    if (!f->drop_memory)
        f->drop_memory =
            shard_drop_container(s, f->drops[0], FLUSHER_DROP_BUDGET);
    if (f->drop_memory)
        drop_submit(f);
    else
        worker_wake(f->replica->worker);
}

void flusher_drop(struct flusher *f, uint32_t container)
{
    if (f->drop_count == f->drop_cap) {
        f->drop_cap = f->drop_cap > 0 ? f->drop_cap * 2 : 8;
        f->drops = mem_realloc(f->drops, f->drop_cap * sizeof(*f->drops));
    }
    f->drops[f->drop_count++] = container;
    worker_wake(f->replica->worker);
}

/* The first user container at or above `container` that has records in the
 * engine. ERR_EOF when there is none. */
static int next_container(struct kv kv, uint32_t container,
                          uint32_t *container_out)
{
    struct record_key from, to;
    struct kv_iter *it;
    struct bytes key, value;
    record_container_range(container, &from, &to);
    to.len = 1;
    to.bytes[0] = RECORD_TABLE_TEXT + 1;
    int err = kv_begin(kv);
    if (err != ERR_OK)
        return err;
    err = kv_iter_open(kv, record_key_bytes(&from), record_key_bytes(&to), &it);
    if (err == ERR_OK) {
        err = kv_iter_next(it, &key, &value);
        uint64_t record;
        if (err == ERR_OK)
            record_text_key_parts(key, container_out, &record);
        kv_iter_close(it);
    }
    kv_end(kv);
    return err;
}

int flusher_sweep(struct flusher *f)
{
    struct kv kv = engine_kv(f->replica->engine);
    uint32_t container = CONTAINER_FIRST_USER;
    int err;
    while ((err = next_container(kv, container, &container)) == ERR_OK) {
        if (server_container_deleted(f->replica->worker, container))
            flusher_drop(f, container);
        if (++container == 0)
            return ERR_OK;
    }
    return err == ERR_EOF ? ERR_OK : err;
}

static void flush_done(struct inbox_message *m, void *owner);

static void flush_submit(struct flusher *f)
{
    f->job.run = flush_run;
    f->job.message.deliver = flush_done;
    f->running = true;
    helper_submit(&f->replica->worker->helper, HELPER_STORE, &f->job);
}

static void flush_success(struct flusher *f, usec_t now)
{
    struct replica *r = f->replica;
    engine_flush_done(r->engine, f->flush);
    shard_flushed(r->shard, now, f->flush);
    f->flushed_bytes += f->flush->bytes;
    flush_free(TAKE(f->flush));
    f->flushed_us = now;
    f->trimming = true;
}

static void flush_done(struct inbox_message *m, void *owner)
{
    (void)owner;
    struct flusher *f = LIST_ENTRY(m, struct flusher, job.message);
    struct replica *r = f->replica;
    usec_t now = clock_mono_us();
    f->running = false;
    if (f->err == ERR_OK) {
        meter_record(&f->commits, f->took_us);
        flush_success(f, now);
        return;
    }
    int err = f->err == ERR_FULL ? engine_grow(r->engine) : f->err;
    if (f->err == ERR_FULL && err == ERR_OK) {
        flush_submit(f);
        return;
    }
    f->failures++;
    if (err == ERR_CORRUPT)
        scrubber_broken(r);
    log_warn("flush failed; the records stay in memory and in the log",
             LOG_UINT("shard", r->id), LOG_STR("error", err_text(err)));
    flush_free(TAKE(f->flush));
    shard_flush_failed(r->shard);
    f->retry_us = now + FLUSHER_RETRY_US;
}

void flusher_init(struct flusher *f, struct replica *r)
{
    *f = (struct flusher){.replica = r,
                          .upto = SHARD_FLUSH_ALL,
                          .flushed_us = clock_mono_us(),
                          .drop_table = RECORD_TABLE_TEXT};
}

/* Early enough that writes go on while a flush runs, whatever the limit. */
static size_t flush_at(const struct flusher *f)
{
    size_t share = worker_memtable_share(f->replica->worker);
    return share / 4 < FLUSHER_BYTES ? share / 4 : FLUSHER_BYTES;
}

void flusher_aim(struct flusher *f, uint64_t lsn)
{
    f->upto = lsn;
}

static bool is_due(const struct flusher *f, usec_t now)
{
    const struct shard *s = f->replica->shard;
    return shard_dirty_bytes(s) >= flush_at(f) ||
           now - f->flushed_us >= FLUSHER_INTERVAL_US ||
           (f->upto != SHARD_FLUSH_ALL &&
            raft_durable_lsn(shard_raft(s)) >= f->upto);
}

void flusher_check(struct flusher *f, usec_t now)
{
    if (f->running || f->flush != NULL || now < f->retry_us || f->replica->deaf)
        return;
    if (is_due(f, now) && shard_flush_begin(f->replica->shard, f->upto))
        worker_wake(f->replica->worker);
}

bool flusher_turn(struct flusher *f, usec_t now)
{
    renewal_check(f->replica, now);
    if (!f->running && f->flush == NULL) {
        f->flush = shard_flush_take(f->replica->shard);
        if (f->flush != NULL && renewal_swap_at_flush(f->replica, f->flush))
            flush_success(f, now);
        else if (f->flush != NULL)
            flush_submit(f);
        else if (f->drop_count > 0 && now >= f->retry_us)
            drop_step(f);
    }
    if (f->trimming)
        f->trimming = !shard_trim(f->replica->shard, FLUSHER_TRIM_BUDGET);
    return f->trimming;
}
