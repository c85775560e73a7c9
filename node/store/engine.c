#include "node/store/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/fault.h"
#include "node/base/mem.h"
#include "node/store/effects.h"
#include "node/store/engine_impl.h"

/* Room for a header and ENGINE_READERS_MAX readers of a cache line each. */
#define LOCK_FILE_BYTES (4096 + 64 * ENGINE_READERS_MAX)

/* -- LMDB -- */

int lmdb_err(int result)
{
    switch (result) {
    case MDB_SUCCESS:
        return ERR_OK;
    case MDB_NOTFOUND:
        return ERR_NOT_FOUND;
    case MDB_MAP_FULL:
        return ERR_FULL;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
        return ERR_CORRUPT;
    case MDB_VERSION_MISMATCH:
        return ERR_UNSUPPORTED;
    case MDB_READERS_FULL:
        return ERR_LIMIT;
    case ENOSPC:
    case EDQUOT:
        return ERR_NO_SPACE;
    case ENOMEM:
        return ERR_NO_MEMORY;
    default:
        return ERR_IO;
    }
}

static int open_tables(struct lmdb *db, bool writable)
{
    MDB_txn *txn;
    int result = mdb_txn_begin(db->env, NULL, writable ? 0 : MDB_RDONLY, &txn);
    if (result != MDB_SUCCESS)
        return lmdb_err(result);
    unsigned flags = writable ? MDB_CREATE : 0;
    result = mdb_dbi_open(txn, "records", flags, &db->records);
    if (result == MDB_SUCCESS)
        result = mdb_dbi_open(txn, "info", flags, &db->info);
    if (result != MDB_SUCCESS) {
        mdb_txn_abort(txn);
        return lmdb_err(result);
    }
    return lmdb_err(mdb_txn_commit(txn));
}

/* LMDB makes its lock file as a hole and writes to it through memory; on a full
 * disk that would be a bus error. Before LMDB holds locks on the file: closing
 * it would give them up. */
static int reserve_lock_file(const char *path)
{
    char file[PATH_MAX];
    int len = snprintf(file, sizeof(file), "%s/lock.mdb", path);
    if (len < 0 || (size_t)len >= sizeof(file))
        return ERR_LIMIT;
    int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_from_errno(errno);
    int result = posix_fallocate(fd, 0, LOCK_FILE_BYTES);
    close(fd);
    return result == 0 ? ERR_OK : err_from_errno(result);
}

int lmdb_open(const char *path, size_t map_bytes, unsigned flags,
              struct lmdb *db_out)
{
    struct lmdb db = {0};
    int reserved = (flags & (MDB_RDONLY | MDB_NOLOCK)) == 0
                       ? reserve_lock_file(path)
                       : ERR_OK;
    if (reserved != ERR_OK)
        return reserved;
    int result = mdb_env_create(&db.env);
    if (result != MDB_SUCCESS)
        return lmdb_err(result);
    result = mdb_env_set_maxdbs(db.env, 2);
    if (result == MDB_SUCCESS)
        result = mdb_env_set_maxreaders(db.env, ENGINE_READERS_MAX);
    if (result == MDB_SUCCESS)
        result = mdb_env_set_mapsize(db.env, map_bytes);
    if (result == MDB_SUCCESS)
        result = mdb_env_open(db.env, path, flags | MDB_NOTLS, 0600);
    int code = lmdb_err(result);
    if (code == ERR_OK)
        code = open_tables(&db, (flags & MDB_RDONLY) == 0);
    if (code != ERR_OK) {
        mdb_env_close(db.env);
        return code;
    }
    *db_out = db;
    return ERR_OK;
}

void lmdb_close(struct lmdb *db)
{
    if (db->env != NULL)
        mdb_env_close(db->env);
    db->env = NULL;
}

int lmdb_get_state(MDB_txn *txn, MDB_dbi info, struct engine_state *state_out)
{
    MDB_val key = lmdb_val(bytes_str(ENGINE_STATE)), value;
    int code = lmdb_err(mdb_get(txn, info, &key, &value));
    if (code != ERR_OK)
        return code;
    struct cursor c = cursor_of(value.mv_data, value.mv_size);
    uint32_t format = cursor_u32_le(&c);
    cursor_u32_le(&c);
    struct engine_state state;
    state.lsn = cursor_u64_le(&c);
    state.term = cursor_u64_le(&c);
    if (!cursor_done(&c))
        return ERR_CORRUPT;
    if (format != ENGINE_FORMAT)
        return ERR_UNSUPPORTED;
    *state_out = state;
    return ERR_OK;
}

int lmdb_put_state(MDB_txn *txn, MDB_dbi info, struct engine_state state)
{
    uint8_t blob[ENGINE_STATE_LEN];
    put_u32_le(blob, ENGINE_FORMAT);
    put_u32_le(blob + 4, 0);
    put_u64_le(blob + 8, state.lsn);
    put_u64_le(blob + 16, state.term);
    MDB_val key = lmdb_val(bytes_str(ENGINE_STATE));
    MDB_val value = {sizeof(blob), blob};
    return lmdb_err(mdb_put(txn, info, &key, &value, 0));
}

/* -- opening -- */

char *engine_join(const char *a, const char *b)
{
    size_t a_len = strlen(a), b_len = strlen(b);
    char *path = mem_alloc(a_len + 1 + b_len + 1);
    memcpy(path, a, a_len);
    path[a_len] = '/';
    memcpy(path + a_len + 1, b, b_len + 1);
    return path;
}

static int read_state(struct engine *e)
{
    MDB_txn *txn;
    int code = lmdb_err(mdb_txn_begin(e->db.env, NULL, MDB_RDONLY, &txn));
    if (code != ERR_OK)
        return code;
    struct engine_state state = {0, 0};
    code = lmdb_get_state(txn, e->db.info, &state);
    mdb_txn_abort(txn);
    if (code != ERR_OK && code != ERR_NOT_FOUND)
        return code;
    e->state = state;
    return ERR_OK;
}

int engine_attach(struct engine *e, struct err_msg *msg)
{
    int code = lmdb_open(e->path, e->map_bytes, 0, &e->db);
    if (code == ERR_OK) {
        /* The file may be larger than was asked for. */
        MDB_envinfo info;
        mdb_env_info(e->db.env, &info);
        e->map_bytes = info.me_mapsize;
        code = read_state(e);
    }
    if (code == ERR_OK)
        return ERR_OK;
    lmdb_close(&e->db);
    if (code == ERR_FULL) /* not even the tables fit: nothing can be stored */
        code = ERR_NO_SPACE;
    return err_set(msg, code, "cannot open the store in %s: %s", e->path,
                   err_text(code));
}

void engine_detach(struct engine *e)
{
    CHECK(e->pins == 0 && e->snapshots == 0);
    if (e->reader != NULL)
        mdb_txn_abort(e->reader);
    e->reader = NULL;
    lmdb_close(&e->db);
}

int engine_open(const struct engine_options *options, struct err_msg *msg,
                struct engine **engine_out)
{
    size_t page = 4096;
    struct engine *e = mem_zalloc(sizeof(*e));
    e->magic = ENGINE_MAGIC;
    e->path = mem_strdup(options->path);
    e->map_bytes =
        options->map_bytes != 0 ? options->map_bytes : ENGINE_MAP_BYTES_DEFAULT;
    e->map_bytes_max = options->map_bytes_max != 0 ? options->map_bytes_max
                                                   : ENGINE_MAP_BYTES_MAX;
    CHECK(e->map_bytes % page == 0 && e->map_bytes <= e->map_bytes_max);
    int code = ERR_OK;
    if (mkdir(e->path, 0700) != 0 && errno != EEXIST) {
        code = err_from_errno(errno);
        err_set(msg, code, "cannot make %s: %s", e->path, strerror(errno));
    }
    if (code == ERR_OK)
        code = engine_attach(e, msg);
    if (code != ERR_OK) {
        engine_close(e);
        return code;
    }
    *engine_out = e;
    return ERR_OK;
}

void engine_close(struct engine *e)
{
    if (e == NULL)
        return;
    CHECK_OBJ(e, ENGINE_MAGIC);
    engine_detach(e);
    mem_free(e->path);
    e->magic = 0;
    mem_free(e);
}

bool engine_busy(const struct engine *e)
{
    CHECK_OBJ(e, ENGINE_MAGIC);
    return e->pins > 0 || e->snapshots > 0;
}

uint64_t engine_flushed_lsn(const struct engine *e)
{
    return e->state.lsn;
}

uint64_t engine_flushed_term(const struct engine *e)
{
    return e->state.term;
}

int engine_has(const char *path, uint64_t lsn, uint64_t term,
               struct err_msg *msg, bool *has_out)
{
    char *incoming = engine_join(path, ENGINE_INCOMING);
    const struct engine_options places[] = {{.path = path}, {.path = incoming}};
    bool has = false;
    int code = ERR_OK;
    for (size_t i = 0; i < ARRAY_LEN(places) && code == ERR_OK && !has; i++) {
        struct engine *e;
        if (access(places[i].path, F_OK) != 0)
            continue;
        code = engine_open(&places[i], msg, &e);
        if (code != ERR_OK)
            break;
        has = i == 0 ? e->state.lsn >= lsn
                     : e->state.lsn == lsn && e->state.term == term;
        engine_close(e);
    }
    mem_free(incoming);
    if (code == ERR_OK)
        *has_out = has;
    return code;
}

/* -- reading -- */

static struct engine *of(void *ctx)
{
    struct engine *e = ctx;
    CHECK_OBJ(e, ENGINE_MAGIC);
    return e;
}

static int engine_begin(void *ctx)
{
    struct engine *e = of(ctx);
    if (e->pins > 0) {
        e->pins++;
        return ERR_OK;
    }
    int result = e->reader != NULL
                     ? mdb_txn_renew(e->reader)
                     : mdb_txn_begin(e->db.env, NULL, MDB_RDONLY, &e->reader);
    if (result != MDB_SUCCESS)
        return lmdb_err(result);
    e->pins = 1;
    return ERR_OK;
}

static void engine_end(void *ctx)
{
    struct engine *e = of(ctx);
    CHECK(e->pins > 0);
    if (--e->pins == 0)
        mdb_txn_reset(e->reader);
}

static int engine_get(void *ctx, struct bytes key, struct bytes *value_out)
{
    struct engine *e = of(ctx);
    CHECK(e->pins > 0 && key.len >= 1 && key.len <= EFFECTS_KEY_MAX);
    MDB_val k = lmdb_val(key), v;
    int code = fault_err(fault_hit("store.read"));
    if (code == ERR_OK)
        code = lmdb_err(mdb_get(e->reader, e->db.records, &k, &v));
    if (code == ERR_OK)
        *value_out = lmdb_bytes(v);
    return code;
}

struct engine_iter {
    struct kv_iter base;
    MDB_cursor *cursor;
    bool started;
    uint8_t from[EFFECTS_KEY_MAX], to[EFFECTS_KEY_MAX];
    size_t from_len, to_len;
};

static const struct kv_ops engine_ops;

static int engine_iter_open(void *ctx, struct bytes from, struct bytes to,
                            struct kv_iter **iter_out)
{
    struct engine *e = of(ctx);
    CHECK(e->pins > 0);
    if (from.len > EFFECTS_KEY_MAX || to.len > EFFECTS_KEY_MAX)
        return ERR_LIMIT;
    MDB_cursor *cursor;
    int code = lmdb_err(mdb_cursor_open(e->reader, e->db.records, &cursor));
    if (code != ERR_OK)
        return code;
    struct engine_iter *it = mem_zalloc(sizeof(*it));
    it->base.ops = &engine_ops;
    it->cursor = cursor;
    it->from_len = from.len;
    it->to_len = to.len;
    if (from.len > 0)
        memcpy(it->from, from.data, from.len);
    if (to.len > 0)
        memcpy(it->to, to.data, to.len);
    *iter_out = &it->base;
    return ERR_OK;
}

static int engine_iter_next(struct kv_iter *iter, struct bytes *key_out,
                            struct bytes *value_out)
{
    struct engine_iter *it = (struct engine_iter *)iter;
    MDB_val k = {it->from_len, it->from}, v;
    MDB_cursor_op op = it->started        ? MDB_NEXT
                       : it->from_len > 0 ? MDB_SET_RANGE
                                          : MDB_FIRST;
    it->started = true;
    int code = fault_err(fault_hit("store.read"));
    if (code == ERR_OK)
        code = lmdb_err(mdb_cursor_get(it->cursor, &k, &v, op));
    if (code != ERR_OK)
        return code == ERR_NOT_FOUND ? ERR_EOF : code;
    if (it->to_len > 0 &&
        bytes_compare(lmdb_bytes(k), bytes_of(it->to, it->to_len)) >= 0)
        return ERR_EOF;
    *key_out = lmdb_bytes(k);
    *value_out = lmdb_bytes(v);
    return ERR_OK;
}

static void engine_iter_close(struct kv_iter *iter)
{
    struct engine_iter *it = (struct engine_iter *)iter;
    mdb_cursor_close(it->cursor);
    mem_free(it);
}

static uint64_t engine_kv_flushed(void *ctx)
{
    return of(ctx)->state.lsn;
}

static const struct kv_ops engine_ops = {
    .begin = engine_begin,
    .end = engine_end,
    .get = engine_get,
    .iter_open = engine_iter_open,
    .iter_next = engine_iter_next,
    .iter_close = engine_iter_close,
    .flushed_lsn = engine_kv_flushed,
};

struct kv engine_kv(struct engine *e)
{
    return (struct kv){&engine_ops, of(e)};
}

int engine_info(struct engine *e, const char *name, struct buf *out)
{
    int code = engine_begin(e);
    if (code != ERR_OK)
        return code;
    MDB_val key = lmdb_val(bytes_str(name)), value;
    code = lmdb_err(mdb_get(e->reader, e->db.info, &key, &value));
    if (code == ERR_OK)
        code = buf_append(out, value.mv_data, value.mv_size);
    engine_end(e);
    return code;
}

/* -- writing -- */

static int put_records(MDB_txn *txn, const struct lmdb *db,
                       const struct flush *f)
{
    MDB_cursor *cursor;
    int result = mdb_cursor_open(txn, db->records, &cursor);
    for (size_t i = 0; i < f->count && result == MDB_SUCCESS; i++) {
        const struct flush_op *op = &f->ops[i];
        MDB_val key = lmdb_val(op->key), value = lmdb_val(op->value), old;
        if (fault_hit("store.record.lost") != FAULT_NONE)
            continue;
        if (!op->deleted) {
            result = mdb_cursor_put(cursor, &key, &value, 0);
            continue;
        }
        result = mdb_cursor_get(cursor, &key, &old, MDB_SET);
        if (result == MDB_SUCCESS)
            result = mdb_cursor_del(cursor, 0);
        else if (result == MDB_NOTFOUND)
            result = MDB_SUCCESS;
    }
    if (result == MDB_SUCCESS)
        mdb_cursor_close(cursor);
    return lmdb_err(result);
}

static int put_info(MDB_txn *txn, const struct lmdb *db, const struct flush *f)
{
    for (unsigned i = 0; i < f->info_count; i++) {
        const struct flush_info *info = &f->info[i];
        MDB_val key = lmdb_val(bytes_str(info->name));
        MDB_val value = {info->len, info->data};
        int result = mdb_put(txn, db->info, &key, &value, 0);
        if (result != MDB_SUCCESS)
            return lmdb_err(result);
    }
    return lmdb_put_state(txn, db->info,
                          (struct engine_state){f->lsn, f->term});
}

/* Commits if `code` is ERR_OK, else aborts. */
static int end_write(MDB_txn *txn, int code)
{
    if (code == ERR_OK)
        code = fault_err(fault_hit("store.commit.before"));
    if (code != ERR_OK) {
        mdb_txn_abort(txn);
        return code;
    }
    code = lmdb_err(mdb_txn_commit(txn));
    if (code == ERR_OK)
        code = fault_err(fault_hit("store.commit.after"));
    return code;
}

/* The errors that the header promises for a write. */
static int write_result(int code)
{
    switch (code) {
    case ERR_OK:
    case ERR_FULL:
    case ERR_NO_SPACE:
    case ERR_CORRUPT:
        return code;
    default:
        return ERR_IO;
    }
}

int engine_flush(struct engine *e, const struct flush *f)
{
    CHECK_OBJ(e, ENGINE_MAGIC);
    CHECK_OBJ(f, FLUSH_MAGIC);
    CHECK(f->complete && f->base_lsn <= e->state.lsn && f->lsn >= e->state.lsn);
    int code = fault_err(fault_hit("store.flush.before"));
    if (code != ERR_OK)
        return code;
    MDB_txn *txn;
    code = lmdb_err(mdb_txn_begin(e->db.env, NULL, 0, &txn));
    if (code != ERR_OK)
        return write_result(code);
    code = put_records(txn, &e->db, f);
    if (code == ERR_OK)
        code = put_info(txn, &e->db, f);
    code = end_write(txn, code);
    if (code == ERR_OK)
        code = fault_err(fault_hit("store.flush.after"));
    return write_result(code);
}

void engine_flush_done(struct engine *e, const struct flush *f)
{
    CHECK_OBJ(e, ENGINE_MAGIC);
    CHECK(f->lsn >= e->state.lsn);
    e->state = (struct engine_state){f->lsn, f->term};
}

static bool has_prefix(MDB_val key, struct bytes prefix)
{
    return key.mv_size >= prefix.len &&
           (prefix.len == 0 ||
            memcmp(key.mv_data, prefix.data, prefix.len) == 0);
}

static int drop_some(MDB_cursor *cursor, struct bytes prefix, size_t budget,
                     bool *more_out)
{
    MDB_val key = lmdb_val(prefix), value;
    int result = mdb_cursor_get(cursor, &key, &value,
                                prefix.len > 0 ? MDB_SET_RANGE : MDB_FIRST);
    bool more = false;
    while (result == MDB_SUCCESS && has_prefix(key, prefix)) {
        if (budget-- == 0) {
            more = true;
            break;
        }
        result = mdb_cursor_del(cursor, 0);
        /* After a deletion this is the one that moved into its place. */
        if (result == MDB_SUCCESS)
            result = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    if (result != MDB_SUCCESS && result != MDB_NOTFOUND)
        return lmdb_err(result);
    *more_out = more;
    return ERR_OK;
}

int engine_drop_prefix(struct engine *e, struct bytes prefix, size_t budget,
                       bool *more_out)
{
    CHECK_OBJ(e, ENGINE_MAGIC);
    MDB_txn *txn;
    MDB_cursor *cursor;
    int code = lmdb_err(mdb_txn_begin(e->db.env, NULL, 0, &txn));
    if (code != ERR_OK)
        return write_result(code);
    code = lmdb_err(mdb_cursor_open(txn, e->db.records, &cursor));
    bool more = false;
    if (code == ERR_OK) {
        code = drop_some(cursor, prefix, budget, &more);
        mdb_cursor_close(cursor);
    }
    code = write_result(end_write(txn, code));
    if (code == ERR_OK)
        *more_out = more;
    return code;
}

int engine_grow(struct engine *e)
{
    CHECK_OBJ(e, ENGINE_MAGIC);
    if (e->pins > 0 || e->snapshots > 0)
        return ERR_AGAIN;
    if (e->map_bytes >= e->map_bytes_max)
        return ERR_LIMIT;
    size_t bytes = e->map_bytes > e->map_bytes_max / 2 ? e->map_bytes_max
                                                       : 2 * e->map_bytes;
    if (e->reader != NULL)
        mdb_txn_abort(e->reader);
    e->reader = NULL;
    int code = lmdb_err(mdb_env_set_mapsize(e->db.env, bytes));
    if (code == ERR_OK)
        e->map_bytes = bytes;
    return code;
}

int engine_stats(struct engine *e, struct engine_stats *stats_out)
{
    int code = engine_begin(e);
    if (code != ERR_OK)
        return code;
    MDB_stat stat;
    MDB_envinfo info;
    code = lmdb_err(mdb_stat(e->reader, e->db.records, &stat));
    if (code == ERR_OK)
        code = lmdb_err(mdb_env_info(e->db.env, &info));
    engine_end(e);
    if (code != ERR_OK)
        return code;
    *stats_out = (struct engine_stats){
        .records = stat.ms_entries,
        .disk_bytes = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize,
        .map_bytes = e->map_bytes,
        .readers = e->pins + e->snapshots,
    };
    return ERR_OK;
}
