#include "node/server/reconcile.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/server/worker.h"
#include "node/shard/record.h"
#include "node/shard/salvage.h"
#include "node/store/effects.h"

/* What was found of one shard. */
struct found {
    uint16_t shard;
    struct salvage_filter *filter;
    struct shard_salvage *items; /* numbers: of old SALVAGE records, or 0 */
    size_t count, cap;
    /* Lowest LSN of an entry in the old log, 0: none; and the last one's. */
    uint64_t log_first, log_last;
};

/* One walk, on the helper thread. */
struct reconcile {
    struct helper_job job;
    struct worker *worker;
    char path[DATADIR_PATH_MAX];
    struct found *shards; /* of the replicas that the worker had */
    uint32_t count;
    size_t bytes, left_out;
    struct err_msg msg;
    int err;
};

/* ---- collecting -------------------------------------------------------------
 */

static struct found *found_of(struct reconcile *r, uint32_t shard)
{
    for (uint32_t i = 0; i < r->count; i++)
        if (r->shards[i].shard == shard)
            return &r->shards[i];
    return NULL;
}

/* Takes the reference over. */
static void keep(struct reconcile *r, struct found *f, struct entry *e,
                 uint32_t number, bool acknowledged)
{
    if (r->bytes + entry_bytes(e) > RECONCILE_BYTES_MAX) {
        r->left_out++;
        entry_unref(e);
        return;
    }
    r->bytes += entry_bytes(e);
    if (f->count == f->cap) {
        f->cap = f->cap > 0 ? 2 * f->cap : 64;
        f->items = mem_realloc(f->items, f->cap * sizeof(*f->items));
    }
    f->items[f->count++] = (struct shard_salvage){
        .entry = e, .number = number, .acknowledged = acknowledged};
}

/* Forgets the old log's entries with lsn >= from, or its salvage up to a
 * number. */
static void forget(struct reconcile *r, struct found *f, uint64_t from,
                   uint32_t delivered)
{
    size_t left = 0;
    for (size_t i = 0; i < f->count; i++) {
        struct shard_salvage *item = &f->items[i];
        bool gone = item->number == 0 ? item->entry->lsn >= from
                                      : item->number <= delivered;
        if (gone) {
            r->bytes -= entry_bytes(item->entry);
            entry_unref(item->entry);
        } else {
            f->items[left++] = *item;
        }
    }
    f->count = left;
}

static int take_entry(struct reconcile *r, struct found *f,
                      const struct wal_record *record)
{
    struct entry *e;
    bool salvage = record->type == WAL_SALVAGE;
    if (!salvage) {
        if (record->lsn <= f->log_last) /* written again */
            forget(r, f, record->lsn, 0);
        if (f->log_first == 0 || record->lsn < f->log_first)
            f->log_first = record->lsn;
        f->log_last = record->lsn;
    }
    bool bare = record->payload.len == 0; /* a witness's */
    if (record->entry_type != RAFT_ENTRY_DATA || bare ||
        (!salvage &&
         !salvage_filter_lost(f->filter, record->term, record->lsn)))
        return ERR_OK;
    int err = entry_copy(record->lsn, record->term, record->entry_type,
                         record->payload, &e);
    if (err == ERR_OK)
        keep(r, f, e, record->number, record->acknowledged);
    return err;
}

static int take_record(void *ctx, const struct wal_record *record)
{
    struct reconcile *r = ctx;
    struct found *f = found_of(r, record->shard);
    if (f == NULL || f->filter == NULL)
        return ERR_OK;
    switch (record->type) {
    case WAL_ENTRY:
    case WAL_SALVAGE:
        return take_entry(r, f, record);
    case WAL_SALVAGED:
        forget(r, f, UINT64_MAX, record->number);
        return ERR_OK;
    case WAL_TRUNCATE:
        forget(r, f, record->lsn, 0);
        return ERR_OK;
    case WAL_RESET:
        forget(r, f, 0, 0);
        return ERR_OK;
    default:
        return ERR_OK;
    }
}

static int walk_log(struct reconcile *r)
{
    struct node *node = r->worker->node;
    char path[DATADIR_PATH_MAX + 32];
    struct stat st;
    snprintf(path, sizeof(path), "%s/wal/%u", r->path, r->worker->index);
    if (stat(path, &st) != 0)
        return ERR_OK;
    struct wal_options options = {.dir = path,
                                  .cluster_id = node->cluster_keys.cluster_id,
                                  .node = node->config->node};
    struct wal_report report;
    struct wal *wal;
    int err = wal_open(&options, take_record, r, &report, &r->msg, &wal);
    if (err == ERR_OK)
        wal_close(wal);
    return err;
}

/* A document of the old store as the entry that put it. */
static int take_document(struct reconcile *r, struct found *f, struct bytes key,
                         struct bytes sealed)
{
    static const struct effects_head nobody;
    struct seal_position at;
    struct effects_builder b;
    struct entry *e;
    if (key.len != RECORD_TEXT_KEY_LEN || seal_peek(sealed, &at) != ERR_OK ||
        (f->log_first != 0 && at.lsn >= f->log_first) ||
        !salvage_filter_lost(f->filter, at.term, at.lsn))
        return ERR_OK;
    int err = effects_begin(&b, &nobody);
    if (err == ERR_OK)
        err = effects_put(&b, key, sealed);
    if (err == ERR_OK)
        err = effects_finish(&b, at.lsn, at.term, RAFT_ENTRY_DATA, &e);
    if (err != ERR_OK) {
        effects_builder_free(&b);
        return err;
    }
    keep(r, f, e, 0, false);
    return ERR_OK;
}

static int walk_documents(struct reconcile *r, struct found *f, struct kv kv)
{
    struct record_key from, to;
    struct kv_iter *it;
    struct bytes key, sealed;
    record_container_range(CONTAINER_FIRST_USER, &from, &to);
    record_prefix(RECORD_TABLE_TEXT, CONTAINER_CONFLICTS, to.bytes);
    to.len = RECORD_PREFIX_LEN;
    int err = kv_begin(kv);
    if (err != ERR_OK)
        return err;
    err = kv_iter_open(kv, record_key_bytes(&from), record_key_bytes(&to), &it);
    if (err == ERR_OK) {
        while ((err = kv_iter_next(it, &key, &sealed)) == ERR_OK)
            if ((err = take_document(r, f, key, sealed)) != ERR_OK)
                break;
        kv_iter_close(it);
    }
    kv_end(kv);
    return err == ERR_EOF ? ERR_OK : err;
}

static int walk_store(struct reconcile *r, struct found *f)
{
    char path[DATADIR_PATH_MAX + 32];
    struct stat st;
    struct engine *engine;
    snprintf(path, sizeof(path), "%s/shards/%u", r->path, f->shard);
    if (f->filter == NULL || stat(path, &st) != 0)
        return ERR_OK;
    struct engine_options options = {
        .path = path, .map_bytes = r->worker->node->config->limits.map_bytes};
    int err = engine_open(&options, &r->msg, &engine);
    if (err != ERR_OK)
        return err;
    err = walk_documents(r, f, engine_kv(engine));
    engine_close(engine);
    return err;
}

static void reconcile_run(struct helper_job *job)
{
    struct reconcile *r = LIST_ENTRY(job, struct reconcile, job);
    r->err = walk_log(r);
    for (uint32_t i = 0; i < r->count; i++) {
        int err = walk_store(r, &r->shards[i]);
        r->err = r->err == ERR_OK ? err : r->err;
    }
}

/* ---- salvaging --------------------------------------------------------------
 */

static void report(const struct reconcile *r, size_t kept)
{
    if (r->err != ERR_OK)
        log_error("not all of the old data can be read: what only this node "
                  "had may be in there",
                  LOG_STR("folder", r->path),
                  LOG_STR("error", err_text(r->err)),
                  LOG_STR("reason", r->msg.text));
    if (r->left_out > 0)
        log_error("more of the old data was overwritten than can be kept",
                  LOG_STR("folder", r->path),
                  LOG_UINT("left_out", r->left_out));
    if (kept > 0)
        log_warn("overwritten entries of the old data become conflicts",
                 LOG_STR("folder", r->path), LOG_UINT("entries", kept));
}

static void reconcile_done(struct inbox_message *m, void *owner)
{
    struct worker *w = owner;
    struct reconcile *r = LIST_ENTRY(m, struct reconcile, job.message);
    size_t kept = 0;
    for (uint32_t i = 0; i < r->count; i++) {
        struct found *f = &r->shards[i];
        const struct replica *home = worker_replica(w, f->shard);
        for (size_t k = 0; k < f->count; k++) {
            kept += home != NULL &&
                    shard_salvage_add(home->shard, f->items[k].entry,
                                      f->items[k].acknowledged) == ERR_OK;
            entry_unref(f->items[k].entry);
        }
        mem_free(f->items);
        salvage_filter_free(f->filter);
    }
    report(r, kept);
    mem_free(r->shards);
    mem_free(r);
    w->salvage_due = true;
    w->reconciled = true;
    w->reconcile_mark = log_pipe_mark(&w->log);
    worker_wake(w);
}

static void reconcile_begin(struct worker *w, const char *path)
{
    struct reconcile *r = mem_zalloc(sizeof(*r));
    r->worker = w;
    snprintf(r->path, sizeof(r->path), "%s", path);
    r->count = w->replica_count;
    r->shards = mem_zalloc((r->count + 1) * sizeof(*r->shards));
    for (uint32_t i = 0; i < r->count; i++) {
        r->shards[i].shard = w->replicas[i]->id;
        if (w->replicas[i]->id != SHARD_META)
            r->shards[i].filter = salvage_filter_new(w->replicas[i]->shard);
    }
    r->job.run = reconcile_run;
    r->job.message.deliver = reconcile_done;
    w->reconciling = true;
    helper_submit(&w->helper, HELPER_UPKEEP, &r->job);
}

bool reconcile_check(struct worker *w)
{
    char path[DATADIR_PATH_MAX];
    if (w->reconciled)
        return log_pipe_durable(&w->log, w->reconcile_mark);
    if (w->reconciling)
        return false;
    if (datadir_discarded(w->node->datadir, path) != ERR_OK)
        w->reconciled = true;
    else
        reconcile_begin(w, path);
    return false; /* at the next look */
}
