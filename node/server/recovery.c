#include "node/server/recovery.h"

#include <inttypes.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/fault.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/base/rng.h"
#include "node/server/quarantine.h"
#include "node/server/replicas.h"
#include "node/server/shard_env.h"
#include "node/server/worker.h"

struct replay {
    struct worker *worker;
    struct recovered *list; /* one per replica */
    uint32_t count;
    uint64_t records; /* so far */
};

/* For the porch (porch.h). */
static void note_progress(const struct worker *w, uint64_t records)
{
    struct node_start *s = &w->node->start;
    __atomic_store_n(&s->worker, w->index, __ATOMIC_RELAXED);
    __atomic_store_n(&s->records, records, __ATOMIC_RELAXED);
}

/* ---- replay -------------------------------------------------------------- */

static struct recovered *find(struct replay *replay, uint32_t shard)
{
    for (uint32_t i = 0; i < replay->count; i++)
        if (replay->list[i].shard == shard)
            return &replay->list[i];
    return NULL;
}

static void drop_from(struct recovered *r, uint64_t lsn)
{
    while (r->count > 0 && r->entries[r->count - 1]->lsn >= lsn)
        entry_unref(r->entries[--r->count]);
}

static int replay_entry(struct recovered *r, const struct wal_record *record)
{
    /* An entry written again after a failed append replaces the first. */
    drop_from(r, record->lsn);
    if (r->count > 0 && r->entries[r->count - 1]->lsn + 1 != record->lsn)
        return ERR_CORRUPT;
    if (r->count == r->cap) {
        r->cap = r->cap > 0 ? r->cap * 2 : 1024;
        r->entries = mem_realloc(r->entries, r->cap * sizeof(*r->entries));
    }
    struct entry *e;
    int err = entry_copy(record->lsn, record->term, record->entry_type,
                         record->payload, &e);
    if (err == ERR_OK)
        r->entries[r->count++] = e;
    return err;
}

static void salvage_seen(struct recovered *r, uint32_t number)
{
    if (number > r->salvage_number)
        r->salvage_number = number;
}

static int replay_salvage(struct recovered *r, const struct wal_record *record)
{
    if (r->n_salvage > 0 &&
        r->salvage[r->n_salvage - 1].number >= record->number)
        return ERR_CORRUPT;
    if (r->n_salvage == r->salvage_cap) {
        r->salvage_cap = r->salvage_cap > 0 ? r->salvage_cap * 2 : 64;
        r->salvage =
            mem_realloc(r->salvage, r->salvage_cap * sizeof(*r->salvage));
    }
    struct shard_salvage *one = &r->salvage[r->n_salvage];
    *one = (struct shard_salvage){.number = record->number,
                                  .acknowledged = record->acknowledged};
    int err = entry_copy(record->lsn, record->term, record->entry_type,
                         record->payload, &one->entry);
    if (err == ERR_OK)
        r->n_salvage++;
    salvage_seen(r, record->number);
    return err;
}

/* Drops what was delivered: everything up to this number. */
static void drop_salvage(struct recovered *r, uint32_t number)
{
    size_t done = 0;
    while (done < r->n_salvage && r->salvage[done].number <= number)
        entry_unref(r->salvage[done++].entry);
    r->n_salvage -= done;
    if (done > 0)
        memmove(r->salvage, r->salvage + done,
                r->n_salvage * sizeof(*r->salvage));
}

static int replay_record(void *ctx, const struct wal_record *record)
{
    struct replay *replay = ctx;
    note_progress(replay->worker, ++replay->records);
    struct recovered *r = find(replay, record->shard);
    if (r == NULL) {
        replicas_gone(replay->worker, record->shard);
        return ERR_OK;
    }
    switch (record->type) {
    case WAL_ENTRY:
        return replay_entry(r, record);
    case WAL_HARD_STATE:
        r->term = record->term;
        r->vote = (raft_id)record->vote;
        return ERR_OK;
    case WAL_TRUNCATE:
        drop_from(r, record->lsn);
        return ERR_OK;
    case WAL_RESET:
        /* Each segment repeats the last one. */
        if (record->lsn == r->reset_lsn && record->term == r->reset_term)
            return ERR_OK;
        drop_from(r, 0);
        r->reset_lsn = record->lsn;
        r->reset_term = record->term;
        return ERR_OK;
    case WAL_COMMIT:
        if (record->lsn > r->commit_lsn)
            r->commit_lsn = record->lsn;
        return ERR_OK;
    case WAL_SALVAGE:
        return replay_salvage(r, record);
    case WAL_SALVAGED:
        drop_salvage(r, record->number);
        salvage_seen(r, record->number);
        return ERR_OK;
    }
    return ERR_CORRUPT;
}

static int open_log(struct worker *w, struct replay *replay,
                    struct err_msg *msg)
{
    char path[DATADIR_PATH_MAX];
    int err = datadir_wal_path(w->node->datadir, w->index, path);
    if (err != ERR_OK)
        return err_set(msg, err, "the log's folder: %s", err_text(err));
    struct wal_options options = {
        .dir = path,
        .cluster_id = w->node->cluster_keys.cluster_id,
        .node = w->node->config->node,
        .segment_bytes = w->node->config->limits.log_segment_bytes};
    struct wal_report report;
    struct wal *wal;
    err = wal_open(&options, replay_record, replay, &report, msg, &wal);
    if (err != ERR_OK)
        return err;
    if (report.tail_cut)
        log_warn("the log ended in a torn write, which was cut",
                 LOG_STR("file", report.tail_file),
                 LOG_UINT("offset", report.tail_offset),
                 LOG_UINT("bytes", report.tail_bytes));
    log_pipe_init(&w->log, w, wal);
    return ERR_OK;
}

/* ---- shards ----------------------------------------------------------------
 */

/* The first configuration of every shard: all nodes that the cluster was made
 * with vote; a region's place in the priority list is its nodes' priority. */
static void first_config(const struct config *c, struct raft_config *out)
{
    *out = (struct raft_config){.ack = RAFT_ACK_COMMIT};
    for (size_t i = 0; i < c->region_count; i++) {
        for (size_t j = 0; j < c->regions[i].node_count; j++) {
            if (c->regions[i].nodes[j].added)
                continue;
            struct raft_member m = {.id = c->regions[i].nodes[j].id,
                                    .region = (raft_region)(i + 1),
                                    .priority = (uint8_t)i,
                                    .voter = true};
            CHECK(raft_config_add(out, m) == ERR_OK);
        }
    }
    CHECK(raft_config_check(out) == ERR_OK);
}

/* `mark`: of a replica in quarantine, else NULL. ERR_NOT_FOUND: a shard of
 * another group than default, whose making was not finished. */
static int base_config(struct replica *r, const struct quarantine_mark *mark,
                       struct raft_config *out, struct err_msg *msg)
{
    struct buf bytes;
    buf_init(&bytes, FLUSH_INFO_BYTES_MAX);
    int err = engine_info(r->engine, SHARD_INFO_CONFIG, &bytes);
    if (err == ERR_OK)
        err = raft_config_decode(bytes_of(buf_bytes(&bytes), buf_len(&bytes)),
                                 out);
    buf_free(&bytes);
    bool fresh = err == ERR_NOT_FOUND && engine_flushed_lsn(r->engine) == 0;
    if (fresh && mark != NULL) {
        *out = mark->config;
        return ERR_OK;
    }
    if (fresh && r->id > r->worker->node->config->shards)
        return ERR_NOT_FOUND;
    if (fresh) {
        first_config(r->worker->node->config, out);
        return ERR_OK;
    }
    return err == ERR_OK ? ERR_OK
                         : err_set(msg, ERR_CORRUPT,
                                   "%s: the configuration is damaged", r->path);
}

/* What the flushed state remembers of operations; none is fine. */
static int base_dedupe(struct replica *r, struct buf *out, struct err_msg *msg)
{
    int err = engine_info(r->engine, SHARD_INFO_DEDUPE, out);
    return err == ERR_OK || err == ERR_NOT_FOUND
               ? ERR_OK
               : err_set(msg, ERR_CORRUPT,
                         "%s: the list of operations is damaged", r->path);
}

static int open_engine(struct replica *r, const struct recovered *log,
                       struct err_msg *msg)
{
    enum engine_recovered outcome;
    int err =
        engine_recover(r->path, log->reset_lsn, log->reset_term, msg, &outcome);
    if (err != ERR_OK)
        return err;
    if (outcome == ENGINE_RECOVERED_ADOPTED)
        log_info("a received snapshot was adopted", LOG_UINT("shard", r->id));
    else if (outcome == ENGINE_RECOVERED_KEPT)
        log_info("a half received snapshot is kept, to be gone on with",
                 LOG_UINT("shard", r->id));
    struct engine_options options = {
        .path = r->path,
        .map_bytes = r->worker->node->config->limits.map_bytes};
    return engine_open(&options, msg, &r->engine);
}

/* Leaves only entries above the flushed LSN. Checks that they follow it, and
 * that the log does not end before it. */
static int trim_entries(struct replica *r, struct recovered *log,
                        struct err_msg *msg)
{
    uint64_t flushed = engine_flushed_lsn(r->engine);
    size_t keep = 0;
    /* Only what the log holds durably is flushed. */
    if (log->count > 0 && log->entries[log->count - 1]->lsn < flushed)
        return err_set(msg, ERR_CORRUPT,
                       "%s: holds everything up to LSN %" PRIu64
                       ", but the log ends at %" PRIu64 ": it lost its end",
                       r->path, flushed, log->entries[log->count - 1]->lsn);
    for (size_t i = 0; i < log->count; i++) {
        if (log->entries[i]->lsn <= flushed)
            entry_unref(log->entries[i]);
        else
            log->entries[keep++] = log->entries[i];
    }
    log->count = keep;
    if (keep > 0 && log->entries[0]->lsn != flushed + 1)
        return err_set(msg, ERR_CORRUPT,
                       "%s: holds everything up to LSN %" PRIu64
                       ", but the log goes on at %" PRIu64,
                       r->path, flushed, log->entries[0]->lsn);
    return ERR_OK;
}

/* The process ended before the log was told that what it has of this replica's
 * store, which was put away, is void. */
static void void_log(struct replica *r, struct recovered *log)
{
    drop_from(log, 0);
    log->reset_lsn = log->reset_term = 0;
    log_pipe_reset(&r->worker->log, r->id, 0, (uint64_t)clock_wall_us());
}

/* Of the entries it shows by where they begin. */
static void void_entries(struct replica *r, struct recovered *log)
{
    if (log->count > 0 &&
        log->entries[0]->lsn > engine_flushed_lsn(r->engine) + 1)
        void_log(r, log);
}

/* Of the snapshot that the replica once adopted by its being nowhere: one that
 * the log names since then is there, or waits. Before the engine is opened. */
static int void_snapshot(struct replica *r, struct recovered *log,
                         struct err_msg *msg)
{
    struct quarantine_mark mark;
    bool has = false;
    if (log->reset_lsn == 0)
        return ERR_OK;
    int err = quarantine_find(r, &mark, msg);
    if (err == ERR_NOT_FOUND)
        return ERR_OK;
    if (err == ERR_OK)
        err = engine_has(r->path, log->reset_lsn, log->reset_term, msg, &has);
    if (err == ERR_OK && !has)
        void_log(r, log);
    return err;
}

/* Whom an amnesiac asks who votes: where the whole cluster may have the shard,
 * all nodes that the configuration names, later ones too; of another group its
 * members, as the catalog knows them. Answers how many. */
static size_t others(const struct replica *r, raft_id also[RAFT_ALSO_MAX])
{
    const struct config *c = r->worker->node->config;
    const struct catalog_group *g =
        r->id <= c->shards ? NULL
                           : catalog_group_of_shard(r->worker->catalog, r->id);
    size_t n = 0;
    for (size_t i = 0; r->id <= c->shards && i < c->region_count; i++)
        for (size_t k = 0; k < c->regions[i].node_count; k++)
            if (c->regions[i].nodes[k].id != c->id && n < RAFT_ALSO_MAX)
                also[n++] = c->regions[i].nodes[k].id;
    for (uint32_t i = 0; g != NULL && i < g->member_count; i++)
        if (g->members[i] != c->id)
            also[n++] = g->members[i];
    return n;
}

/* What the shard goes on from, of an open engine and the log; `also` has room
 * for RAFT_ALSO_MAX. `mark`: of a marked replica. */
static struct shard_restored restored_from(const struct replica *r,
                                           const struct recovered *log,
                                           const struct quarantine_mark *mark,
                                           raft_id *also)
{
    bool rebuilding = r->worker->node->rebuilding;
    struct shard_restored s = {.term = log->term,
                               .vote = log->vote,
                               .entries = log->entries,
                               .n_entries = log->count,
                               .salvage = log->salvage,
                               .n_salvage = log->n_salvage,
                               .salvage_number = log->salvage_number,
                               .base_lsn = engine_flushed_lsn(r->engine),
                               .base_term = engine_flushed_term(r->engine),
                               .amnesia = rebuilding || r->marked,
                               .also = also,
                               .kept = r->marked && !rebuilding && !mark->asks,
                               .kept_lsn = r->marked ? mark->lsn : 0,
                               .kept_term = r->marked ? mark->term : 0};
    s.n_also = s.amnesia ? others(r, also) : 0;
    s.commit_lsn = log->commit_lsn > s.base_lsn &&
                           log->commit_lsn <= s.base_lsn + log->count
                       ? log->commit_lsn
                       : s.base_lsn;
    return s;
}

/* What kind of replica it is. Where nothing says so it was there from the
 * first, or is of an older release: as its configuration says, which is written
 * down for a witness, since later ones may not say so: then its log without
 * payloads would be taken for a damaged one. */
static int find_role(const struct replica *r, const struct raft_config *config,
                     struct datadir_role *out, struct err_msg *msg)
{
    struct datadir *d = r->worker->node->datadir;
    int err = datadir_role(d, r->id, out);
    if (err != ERR_NOT_FOUND)
        return err == ERR_OK
                   ? ERR_OK
                   : err_set(msg, err, "role-%u in the data directory: %s",
                             r->id, err_text(err));
    out->epoch = 0;
    out->witness = raft_config_is_witness(config, r->worker->node->config->id);
    if (out->witness && (err = datadir_set_role(d, r->id, out)) != ERR_OK)
        return err_set(msg, err,
                       "role-%u in the data directory cannot be written, so "
                       "that the replica could later be taken for one with "
                       "payload: %s",
                       r->id, err_text(err));
    return ERR_OK;
}

static int start_shard(struct replica *r, struct recovered *log,
                       const struct shard_restored *restored,
                       struct err_msg *msg)
{
    struct worker *w = r->worker;
    struct shard_options options = {.id = r->id,
                                    .memtable_bytes = worker_memtable_share(w),
                                    .sealer = w->sealer,
                                    .kv = engine_kv(r->engine),
                                    .env = &server_shard_env,
                                    .user = r};
    server_raft_options(w->node->config, &options.raft);
    struct datadir_role role;
    int err = find_role(r, &restored->config, &role, msg);
    if (err != ERR_OK)
        return err;
    options.raft.witness = role.witness;
    options.raft.role_epoch = role.epoch;
    log_info("replica opened", LOG_UINT("shard", r->id),
             LOG_UINT("flushed", restored->base_lsn),
             LOG_UINT("replayed", log->count), LOG_UINT("term", log->term),
             LOG_UINT("salvaged", log->n_salvage));
    err = shard_open(&options, restored, clock_mono_us(), msg, &r->shard);
    log->count = log->n_salvage = 0; /* the shard has them */
    if (err == ERR_OK && r->id == SHARD_META)
        shard_set_key(r->shard, KEY_ID_CLUSTER_DATA);
    return err;
}

/* What one that left had voted went with its log: the log has it again before
 * the mark goes. */
static void keep_vote(const struct replica *r,
                      const struct quarantine_mark *mark, struct recovered *log)
{
    if (mark->hard_term < log->term || mark->hard_term == 0 ||
        (mark->hard_term == log->term && log->vote != 0))
        return;
    log->term = mark->hard_term;
    log->vote = mark->vote;
    log_pipe_hard_state(&r->worker->log, r->id, log->term, log->vote);
}

/* On an open engine. */
static int open_shard(struct replica *r, struct recovered *log,
                      struct err_msg *msg)
{
    struct quarantine_mark mark;
    struct shard_restored restored;
    struct buf dedupe;
    raft_id also[RAFT_ALSO_MAX];
    int err = quarantine_find(r, &mark, msg);
    r->marked = r->mending = err == ERR_OK;
    if (r->marked) {
        keep_vote(r, &mark, log);
        void_entries(r, log);
    }
    if (err == ERR_OK || err == ERR_NOT_FOUND)
        err = trim_entries(r, log, msg);
    if (err != ERR_OK)
        return err;
    buf_init(&dedupe, FLUSH_INFO_BYTES_MAX);
    restored = restored_from(r, log, &mark, also);
    err = base_config(r, r->marked ? &mark : NULL, &restored.config, msg);
    if (err == ERR_OK)
        err = base_dedupe(r, &dedupe, msg);
    restored.dedupe = bytes_of(buf_bytes(&dedupe), buf_len(&dedupe));
    if (err == ERR_OK)
        err = start_shard(r, log, &restored, msg);
    buf_free(&dedupe);
    return err;
}

static int open_replica(struct replica *r, struct recovered *log,
                        struct err_msg *msg)
{
    int err = void_snapshot(r, log, msg);
    if (err == ERR_OK)
        err = open_engine(r, log, msg);
    return err == ERR_OK ? open_shard(r, log, msg) : err;
}

/* In the order in which they were found; one that was never finished goes. */
static int open_all(struct replay *replay, struct err_msg *msg)
{
    struct worker *w = replay->worker;
    uint32_t at = 0;
    while (at < w->replica_count) {
        struct replica *r = w->replicas[at];
        struct recovered *log = find(replay, r->id);
        CHECK(log != NULL);
        int err = open_replica(r, log, msg);
        if (err == ERR_NOT_FOUND && log->count == 0 && log->term == 0) {
            log_info("a replica that was being made is made anew",
                     LOG_UINT("shard", r->id));
            replicas_forget(w, r);
            continue;
        }
        if (err == ERR_NOT_FOUND)
            err = err_set(msg, ERR_CORRUPT, "%s: the configuration is missing",
                          r->path);
        if (err != ERR_OK)
            return err;
        at++;
    }
    return ERR_OK;
}

int recovery_make_engine(struct replica *r, const struct raft_config *first,
                         struct err_msg *msg)
{
    const struct recovered none = {.shard = r->id};
    struct buf bytes;
    int err = open_engine(r, &none, msg);
    if (err != ERR_OK)
        return err;
    buf_init(&bytes, FLUSH_INFO_BYTES_MAX);
    CHECK(raft_config_encode(first, &bytes) == ERR_OK);
    struct flush *f = flush_new(0, 0, 0);
    f->complete = true;
    CHECK(flush_set_info(f, SHARD_INFO_CONFIG,
                         bytes_of(buf_bytes(&bytes), buf_len(&bytes))) ==
          ERR_OK);
    err = engine_flush(r->engine, f);
    flush_free(f);
    buf_free(&bytes);
    return err == ERR_OK ? ERR_OK
                         : err_set(msg, err, "%s: %s", r->path, err_text(err));
}

int recovery_open_new(struct replica *r, struct err_msg *msg)
{
    struct recovered none = {.shard = r->id};
    return open_shard(r, &none, msg);
}

int recovery_open_anew(struct replica *r, uint64_t term, raft_id vote,
                       struct err_msg *msg)
{
    struct recovered none = {.shard = r->id, .term = term, .vote = vote};
    return open_replica(r, &none, msg);
}

int recovery_run(struct worker *w, struct err_msg *msg)
{
    uint32_t count = w->replica_count;
    struct replay replay = {.worker = w,
                            .list = mem_zalloc(count * sizeof(*replay.list)),
                            .count = count};
    for (uint32_t i = 0; i < count; i++)
        replay.list[i].shard = w->replicas[i]->id;
    note_progress(w, 0);
    (void)fault_hit("log.replay.before");
    int err = open_log(w, &replay, msg);
    if (err == ERR_OK)
        err = open_all(&replay, msg);
    for (uint32_t i = 0; i < count; i++) {
        drop_from(&replay.list[i], 0);
        mem_free(replay.list[i].entries);
        drop_salvage(&replay.list[i], UINT32_MAX);
        mem_free(replay.list[i].salvage);
    }
    mem_free(replay.list);
    return err;
}
