/* Sending, receiving and adopting a shard's whole state. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/fault.h"
#include "node/base/file.h"
#include "node/base/mem.h"
#include "node/store/effects.h"
#include "node/store/engine_impl.h"

enum table {
    TABLE_RECORDS = ENGINE_CHUNK_RECORDS,
    TABLE_INFO = ENGINE_CHUNK_INFO
};

#define CHUNK_RECORD_HEADER 7 /* u8 table, u16 key length, u32 value length */

/* -- sending -- */

struct snapshot {
    uint32_t magic;
    struct engine *e;
    MDB_txn *txn;
    MDB_cursor *cursor;
    enum table table; /* being sent; 0 at the end */
    bool pending;     /* key and value are read but not yet sent */
    MDB_val key, value;
    struct engine_state state;
    usec_t opened;
    const char *only; /* the one blob that is sent; NULL: everything is */
};
#define SNAPSHOT_MAGIC 0x736e6170u

int snapshot_open(struct engine *e, usec_t now, struct snapshot **snapshot_out)
{
    CHECK_OBJ(e, ENGINE_MAGIC);
    struct snapshot *s = mem_zalloc(sizeof(*s));
    s->magic = SNAPSHOT_MAGIC;
    s->e = e;
    s->table = TABLE_RECORDS;
    s->opened = now;
    e->snapshots++;
    int code = lmdb_err(mdb_txn_begin(e->db.env, NULL, MDB_RDONLY, &s->txn));
    if (code == ERR_OK) {
        code = lmdb_get_state(s->txn, e->db.info, &s->state);
        if (code == ERR_NOT_FOUND)
            code = ERR_OK; /* an empty shard, at LSN 0 */
    }
    if (code == ERR_OK)
        code = lmdb_err(mdb_cursor_open(s->txn, e->db.records, &s->cursor));
    if (code != ERR_OK) {
        snapshot_close(s);
        return code;
    }
    *snapshot_out = s;
    return ERR_OK;
}

void snapshot_close(struct snapshot *s)
{
    if (s == NULL)
        return;
    CHECK_OBJ(s, SNAPSHOT_MAGIC);
    CHECK(s->e->snapshots > 0);
    s->e->snapshots--;
    if (s->cursor != NULL)
        mdb_cursor_close(s->cursor);
    if (s->txn != NULL)
        mdb_txn_abort(s->txn);
    s->magic = 0;
    mem_free(s);
}

uint64_t snapshot_lsn(const struct snapshot *s)
{
    return s->state.lsn;
}

uint64_t snapshot_term(const struct snapshot *s)
{
    return s->state.term;
}

static int next_table(struct snapshot *s)
{
    mdb_cursor_close(s->cursor);
    s->cursor = NULL;
    s->table = s->table == TABLE_RECORDS ? TABLE_INFO : 0;
    if (s->table == 0)
        return ERR_EOF;
    return lmdb_err(mdb_cursor_open(s->txn, s->e->db.info, &s->cursor));
}

int snapshot_only_info(struct snapshot *s, const char *name)
{
    CHECK_OBJ(s, SNAPSHOT_MAGIC);
    CHECK(s->table == TABLE_RECORDS && !s->pending);
    s->only = name;
    return next_table(s);
}

/* Whether what the cursor stands on is sent. */
static bool is_wanted(const struct snapshot *s)
{
    struct bytes key = bytes_of(s->key.mv_data, s->key.mv_size);
    if (s->only != NULL)
        return bytes_equal(key, bytes_str(s->only));
    return s->table == TABLE_RECORDS || key.data[0] != '_';
}

/* Reads the next record to be sent into key and value. ERR_EOF. */
static int advance(struct snapshot *s)
{
    while (!s->pending) {
        if (s->table == 0)
            return ERR_EOF;
        /* On a fresh cursor MDB_NEXT is MDB_FIRST. */
        int code = fault_err(fault_hit("store.read"));
        if (code == ERR_OK)
            code = lmdb_err(
                mdb_cursor_get(s->cursor, &s->key, &s->value, MDB_NEXT));
        if (code == ERR_NOT_FOUND)
            code = next_table(s);
        else if (code == ERR_OK)
            s->pending = is_wanted(s);
        if (code != ERR_OK)
            return code;
    }
    return ERR_OK;
}

static int put_record(struct snapshot *s, struct buf *out)
{
    int code = buf_append_u8(out, (uint8_t)s->table);
    if (code == ERR_OK)
        code = buf_append_u16_le(out, (uint16_t)s->key.mv_size);
    if (code == ERR_OK)
        code = buf_append_u32_le(out, (uint32_t)s->value.mv_size);
    if (code == ERR_OK)
        code = buf_append(out, s->key.mv_data, s->key.mv_size);
    if (code == ERR_OK)
        code = buf_append(out, s->value.mv_data, s->value.mv_size);
    if (code == ERR_OK)
        s->pending = false;
    return code;
}

int snapshot_chunk(struct snapshot *s, usec_t now, size_t max_bytes,
                   struct buf *out)
{
    CHECK_OBJ(s, SNAPSHOT_MAGIC);
    if (now - s->opened > ENGINE_SNAPSHOT_MAX_AGE_US)
        return ERR_TIMEOUT;
    if (max_bytes > ENGINE_CHUNK_BYTES_MAX)
        max_bytes = ENGINE_CHUNK_BYTES_MAX;
    int code = advance(s);
    if (code != ERR_OK)
        return code;
    size_t start = buf_len(out);
    uint32_t count = 0;
    code = buf_append_u32_le(out, 0);
    while (code == ERR_OK) {
        code = advance(s);
        if (code != ERR_OK)
            break;
        size_t bytes = CHUNK_RECORD_HEADER + s->key.mv_size + s->value.mv_size;
        if (count > 0 && buf_len(out) - start + bytes > max_bytes)
            break;
        code = put_record(s, out);
        if (code == ERR_OK)
            count++;
    }
    if (code != ERR_OK && code != ERR_EOF) {
        buf_truncate(out, start);
        return code;
    }
    put_u32_le(out->data + out->head + start, count);
    return ERR_OK;
}

/* -- receiving -- */

struct ingest {
    uint32_t magic;
    char *path; /* the incoming directory */
    size_t map_bytes;
    struct lmdb db;
    enum table table; /* of the last record */
};
#define INGEST_MAGIC 0x696e6773u

void ingest_refuse_records(struct ingest *g)
{
    CHECK_OBJ(g, INGEST_MAGIC);
    g->table = TABLE_INFO; /* tables come in order */
}

static int remove_file(const char *dir, const char *name)
{
    char *path = engine_join(dir, name);
    int code =
        unlink(path) == 0 || errno == ENOENT ? ERR_OK : err_from_errno(errno);
    mem_free(path);
    return code;
}

static int remove_incoming(const char *incoming)
{
    int code = remove_file(incoming, "data.mdb");
    if (code == ERR_OK)
        code = remove_file(incoming, "lock.mdb");
    if (code == ERR_OK && rmdir(incoming) != 0 && errno != ENOENT)
        code = err_from_errno(errno);
    if (code == ERR_OK)
        code = file_sync_parent(incoming);
    return code;
}

static void ingest_free(struct ingest *g)
{
    lmdb_close(&g->db);
    mem_free(g->path);
    g->magic = 0;
    mem_free(g);
}

int ingest_begin(const char *path, struct ingest **ingest_out)
{
    struct ingest *g = mem_zalloc(sizeof(*g));
    g->magic = INGEST_MAGIC;
    g->path = engine_join(path, ENGINE_INCOMING);
    g->map_bytes = ENGINE_MAP_BYTES_DEFAULT;
    g->table = TABLE_RECORDS;
    int code = remove_incoming(g->path);
    if (code == ERR_OK && mkdir(g->path, 0700) != 0)
        code = err_from_errno(errno);
    /* Not synced until it is complete: until then it counts for nothing. */
    if (code == ERR_OK)
        code = lmdb_open(g->path, g->map_bytes, MDB_NOSYNC, &g->db);
    if (code != ERR_OK) {
        ingest_free(g);
        return code == ERR_NO_SPACE ? code : ERR_IO;
    }
    *ingest_out = g;
    return ERR_OK;
}

static bool name_ok(struct bytes name)
{
    return name.len >= 1 && name.len <= FLUSH_INFO_NAME_MAX &&
           name.data[0] != '_' && memchr(name.data, 0, name.len) == NULL;
}

static int put_one(struct ingest *g, MDB_txn *txn, struct cursor *c,
                   enum table *table)
{
    uint8_t which = cursor_u8(c);
    uint16_t key_len = cursor_u16_le(c);
    uint32_t value_len = cursor_u32_le(c);
    struct bytes key = bytes_of(cursor_take(c, key_len), key_len);
    struct bytes value = bytes_of(cursor_take(c, value_len), value_len);
    if (!cursor_ok(c) || (which != TABLE_RECORDS && which != TABLE_INFO) ||
        which < *table)
        return ERR_MALFORMED;
    if (which == TABLE_RECORDS && (key.len < 1 || key.len > EFFECTS_KEY_MAX))
        return ERR_MALFORMED;
    if (which == TABLE_INFO && !name_ok(key))
        return ERR_MALFORMED;
    if (value.len >
        (which == TABLE_RECORDS ? ENGINE_VALUE_MAX : FLUSH_INFO_BYTES_MAX))
        return ERR_LIMIT;
    *table = which;
    MDB_val k = lmdb_val(key), v = lmdb_val(value);
    int result =
        mdb_put(txn, which == TABLE_RECORDS ? g->db.records : g->db.info, &k,
                &v, MDB_APPEND);
    return result == MDB_KEYEXIST ? ERR_MALFORMED : lmdb_err(result);
}

/* The whole chunk in one transaction. */
static int put_chunk(struct ingest *g, struct bytes chunk)
{
    MDB_txn *txn;
    int code = lmdb_err(mdb_txn_begin(g->db.env, NULL, 0, &txn));
    if (code != ERR_OK)
        return code;
    struct cursor c = cursor_of(chunk.data, chunk.len);
    uint32_t count = cursor_u32_le(&c);
    enum table table = g->table;
    for (uint32_t i = 0; i < count && code == ERR_OK; i++)
        code = put_one(g, txn, &c, &table);
    if (code == ERR_OK && !cursor_done(&c))
        code = ERR_MALFORMED;
    if (code != ERR_OK) {
        mdb_txn_abort(txn);
        return code;
    }
    code = lmdb_err(mdb_txn_commit(txn));
    if (code == ERR_OK)
        g->table = table;
    return code;
}

bool snapshot_chunk_only_info(struct bytes chunk, const char *name)
{
    struct cursor c = cursor_of(chunk.data, chunk.len);
    uint32_t count = cursor_u32_le(&c);
    for (uint32_t i = 0; i < count && cursor_ok(&c); i++) {
        uint8_t table = cursor_u8(&c);
        uint16_t key_len = cursor_u16_le(&c);
        uint32_t value_len = cursor_u32_le(&c);
        struct bytes key = bytes_of(cursor_take(&c, key_len), key_len);
        (void)cursor_take(&c, value_len);
        if (!cursor_ok(&c) || table != TABLE_INFO ||
            !bytes_equal(key, bytes_str(name)))
            return false;
    }
    return cursor_done(&c);
}

int ingest_chunk(struct ingest *g, struct bytes chunk)
{
    CHECK_OBJ(g, INGEST_MAGIC);
    if (chunk.len > ENGINE_CHUNK_BYTES_MAX + FLUSH_INFO_BYTES_MAX)
        return ERR_LIMIT;
    int code = fault_err(fault_hit("store.snapshot.write"));
    if (code != ERR_OK)
        return code;
    while ((code = put_chunk(g, chunk)) == ERR_FULL) {
        if (g->map_bytes >= ENGINE_MAP_BYTES_MAX)
            return ERR_LIMIT;
        g->map_bytes *= 2;
        code = lmdb_err(mdb_env_set_mapsize(g->db.env, g->map_bytes));
        if (code != ERR_OK)
            return code;
    }
    return code;
}

/* Everything must be on the disk before the state that makes it complete. */
static int complete(struct ingest *g, struct engine_state state)
{
    int code = lmdb_err(mdb_env_sync(g->db.env, 1));
    if (code == ERR_OK)
        code = lmdb_err(mdb_env_set_flags(g->db.env, MDB_NOSYNC, 0));
    if (code == ERR_OK)
        code = fault_err(fault_hit("store.snapshot.adopt.before"));
    MDB_txn *txn;
    if (code == ERR_OK)
        code = lmdb_err(mdb_txn_begin(g->db.env, NULL, 0, &txn));
    if (code != ERR_OK)
        return code;
    code = lmdb_put_state(txn, g->db.info, state);
    if (code != ERR_OK) {
        mdb_txn_abort(txn);
        return code;
    }
    code = lmdb_err(mdb_txn_commit(txn));
    if (code == ERR_OK)
        code = file_sync_folder(g->path);
    if (code == ERR_OK)
        code = file_sync_parent(g->path);
    return code;
}

int ingest_info(struct ingest *g, const char *name, struct buf *out)
{
    CHECK_OBJ(g, INGEST_MAGIC);
    MDB_txn *txn;
    int code = lmdb_err(mdb_txn_begin(g->db.env, NULL, MDB_RDONLY, &txn));
    if (code != ERR_OK)
        return code;
    MDB_val key = lmdb_val(bytes_str(name)), value;
    code = lmdb_err(mdb_get(txn, g->db.info, &key, &value));
    if (code == ERR_OK)
        code = buf_append(out, value.mv_data, value.mv_size);
    mdb_txn_abort(txn);
    return code;
}

int ingest_finish(struct ingest *g, uint64_t lsn, uint64_t term)
{
    CHECK_OBJ(g, INGEST_MAGIC);
    CHECK(lsn > 0);
    int code = complete(g, (struct engine_state){lsn, term});
    if (code != ERR_OK) {
        ingest_abort(g);
        return code == ERR_NO_SPACE ? code : ERR_IO;
    }
    ingest_free(g);
    return ERR_OK;
}

void ingest_abort(struct ingest *g)
{
    if (g == NULL)
        return;
    CHECK_OBJ(g, INGEST_MAGIC);
    lmdb_close(&g->db);
    /* What cannot be removed now is removed by the next attempt or start. */
    remove_incoming(g->path);
    ingest_free(g);
}

/* -- adopting -- */

/* The state in a closed environment; 0, 0 when there is none. */
static int peek_state(const char *path, struct engine_state *state_out)
{
    struct engine_state state = {0, 0};
    struct stat st;
    char *file = engine_join(path, "data.mdb");
    bool exists = stat(file, &st) == 0;
    mem_free(file);
    if (!exists) {
        *state_out = state;
        return ERR_OK;
    }
    /* Writable: an environment whose tables were never made is completed. */
    struct lmdb db;
    MDB_txn *txn;
    int code = lmdb_open(path, ENGINE_MAP_BYTES_DEFAULT, 0, &db);
    if (code != ERR_OK)
        return code;
    code = lmdb_err(mdb_txn_begin(db.env, NULL, MDB_RDONLY, &txn));
    if (code == ERR_OK) {
        code = lmdb_get_state(txn, db.info, &state);
        mdb_txn_abort(txn);
    }
    lmdb_close(&db);
    if (code != ERR_OK && code != ERR_NOT_FOUND)
        return code;
    *state_out = state;
    return ERR_OK;
}

/* The one step that counts: a rename. */
static int take_over(const char *path)
{
    char *incoming = engine_join(path, ENGINE_INCOMING);
    char *from = engine_join(incoming, "data.mdb");
    char *to = engine_join(path, "data.mdb");
    int code = rename(from, to) == 0 ? ERR_OK : err_from_errno(errno);
    if (code == ERR_OK)
        code = file_sync_folder(path);
    if (code == ERR_OK)
        code = remove_file(path, "lock.mdb"); /* was the old state's */
    if (code == ERR_OK)
        code = remove_incoming(incoming);
    mem_free(to);
    mem_free(from);
    mem_free(incoming);
    return code;
}

int ingest_adopt(struct engine *e, uint64_t lsn, uint64_t term,
                 struct err_msg *msg)
{
    CHECK_OBJ(e, ENGINE_MAGIC);
    CHECK(lsn > e->state.lsn);
    int code = fault_err(fault_hit("store.snapshot.adopt.after"));
    if (code != ERR_OK)
        return err_set(msg, code, "cannot adopt a snapshot in %s: %s", e->path,
                       err_text(code));
    engine_detach(e);
    code = take_over(e->path);
    if (code != ERR_OK)
        return err_set(msg, code, "cannot adopt a snapshot in %s: %s", e->path,
                       err_text(code));
    code = engine_attach(e, msg);
    if (code == ERR_OK && (e->state.lsn != lsn || e->state.term != term))
        code = err_set(msg, ERR_CORRUPT,
                       "the snapshot adopted in %s is of lsn %llu, not %llu",
                       e->path, (unsigned long long)e->state.lsn,
                       (unsigned long long)lsn);
    return code;
}

/* The log names a snapshot that the state is older than: it must be waiting. */
static int finish_adoption(const char *path, const char *incoming,
                           struct engine_state named, struct err_msg *msg)
{
    struct engine_state waiting;
    int code = peek_state(incoming, &waiting);
    if (code == ERR_OK &&
        (waiting.lsn != named.lsn || waiting.term != named.term))
        code = ERR_CORRUPT;
    if (code == ERR_OK)
        code = take_over(path);
    if (code != ERR_OK)
        err_set(msg, code,
                "%s: the log names a snapshot of lsn %llu that cannot be "
                "adopted: %s",
                path, (unsigned long long)named.lsn, err_text(code));
    return code;
}

int engine_recover(const char *path, uint64_t reset_lsn, uint64_t reset_term,
                   struct err_msg *msg, enum engine_recovered *outcome_out)
{
    struct engine_state named = {reset_lsn, reset_term}, present;
    char *incoming = engine_join(path, ENGINE_INCOMING);
    struct stat st;
    bool waiting = stat(incoming, &st) == 0;
    enum engine_recovered outcome = ENGINE_RECOVERED_NOTHING;
    int code = peek_state(path, &present);
    if (code != ERR_OK) {
        err_set(msg, code, "cannot open the store in %s: %s", path,
                err_text(code));
    } else if (named.lsn > present.lsn) {
        code = finish_adoption(path, incoming, named, msg);
        outcome = ENGINE_RECOVERED_ADOPTED;
    } else if (waiting) {
        code = remove_incoming(incoming);
        if (code != ERR_OK)
            err_set(msg, code, "cannot remove %s: %s", incoming,
                    err_text(code));
        outcome = ENGINE_RECOVERED_DISCARDED;
    }
    mem_free(incoming);
    if (code == ERR_OK)
        *outcome_out = outcome;
    return code;
}
