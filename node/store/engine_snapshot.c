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
    struct buf upto;  /* the receiver has the records up to this key */
    bool skipped;     /* the last chunk had nothing beyond it */
    uint64_t about;   /* bytes of all records */
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
    buf_init(&s->upto, EFFECTS_KEY_MAX);
    e->snapshots++;
    MDB_stat stat;
    int code = lmdb_err(mdb_txn_begin(e->db.env, NULL, MDB_RDONLY, &s->txn));
    if (code == ERR_OK) {
        code = lmdb_get_state(s->txn, e->db.info, &s->state);
        if (code == ERR_NOT_FOUND)
            code = ERR_OK; /* an empty shard, at LSN 0 */
    }
    if (code == ERR_OK)
        code = lmdb_err(mdb_stat(s->txn, e->db.records, &stat));
    if (code == ERR_OK)
        code = lmdb_err(mdb_cursor_open(s->txn, e->db.records, &s->cursor));
    if (code != ERR_OK) {
        snapshot_close(s);
        return code;
    }
    s->about = (stat.ms_leaf_pages + stat.ms_overflow_pages) * stat.ms_psize;
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
    buf_free(&s->upto);
    s->magic = 0;
    mem_free(s);
}

uint64_t snapshot_about(const struct snapshot *s)
{
    return s->only != NULL ? 0 : s->about;
}

int snapshot_rewind(struct snapshot *s, struct bytes upto)
{
    CHECK_OBJ(s, SNAPSHOT_MAGIC);
    if (upto.len > EFFECTS_KEY_MAX)
        return ERR_MALFORMED;
    if (s->cursor != NULL)
        mdb_cursor_close(s->cursor);
    s->cursor = NULL;
    s->pending = s->skipped = false;
    s->table = s->only != NULL ? TABLE_INFO : TABLE_RECORDS;
    buf_clear(&s->upto);
    CHECK(buf_append(&s->upto, upto.data, upto.len) == ERR_OK);
    return lmdb_err(mdb_cursor_open(
        s->txn, s->only != NULL ? s->e->db.info : s->e->db.records,
        &s->cursor));
}

bool snapshot_skipped(const struct snapshot *s)
{
    return s->skipped;
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

/* Whether the receiver has what comes next. */
static bool is_there(const struct snapshot *s)
{
    struct bytes key = bytes_of(s->key.mv_data, s->key.mv_size);
    struct bytes upto = bytes_of(buf_bytes(&s->upto), buf_len(&s->upto));
    return s->table == TABLE_RECORDS && bytes_compare(key, upto) <= 0;
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
    s->skipped = is_there(s);
    code = buf_append_u32_le(out, 0);
    while (code == ERR_OK) {
        code = advance(s);
        if (code != ERR_OK || (s->skipped && !is_there(s)))
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
    struct engine_state of; /* whose state is received */
    bool resume;            /* by whoever goes on with it, if it ends early */
    MDB_txn *batch;         /* what is not yet on the disk; NULL: nothing */
    size_t batch_bytes;
    struct buf last;  /* key of the last record that an earlier attempt left */
    enum table table; /* of the last record */
};
#define INGEST_MAGIC 0x696e6773u

/* The info blob that says what is being received: u64 lsn, u64 term. Of lsn 0:
 * nobody may go on with it. */
#define INGEST_MARK "_incoming"
#define INGEST_MARK_LEN 16
/* The map has at least this much room when a batch begins: the largest, some
 * four times over. */
#define INGEST_ROOM_BYTES                                                      \
    (4 * (INGEST_BATCH_BYTES + ENGINE_CHUNK_BYTES_MAX + FLUSH_INFO_BYTES_MAX))

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

static void batch_drop(struct ingest *g)
{
    if (g->batch != NULL)
        mdb_txn_abort(TAKE(g->batch));
    g->batch_bytes = 0;
}

static int batch_commit(struct ingest *g)
{
    if (g->batch == NULL)
        return ERR_OK;
    g->batch_bytes = 0;
    return lmdb_err(mdb_txn_commit(TAKE(g->batch)));
}

/* Pages in use, and room for what is to come. */
static int make_room(struct ingest *g)
{
    MDB_envinfo info;
    MDB_stat stat;
    mdb_env_info(g->db.env, &info);
    mdb_env_stat(g->db.env, &stat);
    size_t used = (info.me_last_pgno + 1) * stat.ms_psize;
    while (g->map_bytes < used + INGEST_ROOM_BYTES) {
        if (g->map_bytes >= ENGINE_MAP_BYTES_MAX)
            return ERR_LIMIT;
        g->map_bytes *= 2;
        int code = lmdb_err(mdb_env_set_mapsize(g->db.env, g->map_bytes));
        if (code != ERR_OK)
            return code;
    }
    return ERR_OK;
}

static int batch_begin(struct ingest *g)
{
    if (g->batch != NULL)
        return ERR_OK;
    int code = make_room(g);
    return code == ERR_OK
               ? lmdb_err(mdb_txn_begin(g->db.env, NULL, 0, &g->batch))
               : code;
}

static void ingest_free(struct ingest *g)
{
    batch_drop(g);
    lmdb_close(&g->db);
    buf_free(&g->last);
    mem_free(g->path);
    g->magic = 0;
    mem_free(g);
}

static int put_mark(MDB_txn *txn, MDB_dbi info, struct engine_state of)
{
    uint8_t blob[INGEST_MARK_LEN];
    put_u64_le(blob, of.lsn);
    put_u64_le(blob + 8, of.term);
    MDB_val key = lmdb_val(bytes_str(INGEST_MARK));
    MDB_val value = {sizeof(blob), blob};
    return lmdb_err(mdb_put(txn, info, &key, &value, 0));
}

/* What is being received there. ERR_NOT_FOUND: nothing, or it is complete. */
static int get_mark(MDB_txn *txn, MDB_dbi info, struct engine_state *of_out)
{
    MDB_val key = lmdb_val(bytes_str(INGEST_MARK)), value;
    int code = lmdb_err(mdb_get(txn, info, &key, &value));
    if (code == ERR_OK && value.mv_size != INGEST_MARK_LEN)
        code = ERR_CORRUPT;
    if (code == ERR_OK)
        *of_out = (struct engine_state){
            get_u64_le(value.mv_data),
            get_u64_le((const uint8_t *)value.mv_data + 8)};
    return code;
}

/* The last record that is there; the blobs, which come behind the records, are
 * sent again. */
static int find_place(struct ingest *g, MDB_txn *txn)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int code = lmdb_err(mdb_cursor_open(txn, g->db.records, &cursor));
    if (code != ERR_OK)
        return code;
    code = lmdb_err(mdb_cursor_get(cursor, &key, &value, MDB_LAST));
    if (code == ERR_OK)
        code = buf_append(&g->last, key.mv_data, key.mv_size);
    mdb_cursor_close(cursor);
    if (code == ERR_OK || code == ERR_NOT_FOUND)
        code = lmdb_err(mdb_drop(txn, g->db.info, 0));
    return code == ERR_OK ? put_mark(txn, g->db.info, g->of) : code;
}

/* Takes over what an earlier attempt left, if it is of the same state. */
static int take_up(struct ingest *g)
{
    struct engine_state of = {0, 0};
    struct stat st;
    char *file = engine_join(g->path, "data.mdb");
    bool exists = stat(file, &st) == 0;
    mem_free(file);
    if (!exists)
        return ERR_NOT_FOUND;
    int code = lmdb_open(g->path, g->map_bytes, MDB_NOLOCK, &g->db);
    if (code == ERR_OK)
        code = batch_begin(g);
    if (code == ERR_OK)
        code = get_mark(g->batch, g->db.info, &of);
    if (code == ERR_OK && (of.lsn != g->of.lsn || of.term != g->of.term))
        code = ERR_NOT_FOUND;
    if (code == ERR_OK)
        code = find_place(g, g->batch);
    if (code == ERR_OK)
        code = batch_commit(g);
    if (code != ERR_OK) {
        batch_drop(g);
        lmdb_close(&g->db);
        buf_clear(&g->last);
    }
    return code;
}

static int begin_anew(struct ingest *g)
{
    int code = remove_incoming(g->path);
    if (code == ERR_OK && mkdir(g->path, 0700) != 0)
        code = err_from_errno(errno);
    /* Nobody else opens it, and the loop may end what the helper began. */
    if (code == ERR_OK)
        code = lmdb_open(g->path, g->map_bytes, MDB_NOLOCK, &g->db);
    if (code == ERR_OK)
        code = batch_begin(g);
    struct engine_state of = {0, 0};
    if (code == ERR_OK)
        code = put_mark(g->batch, g->db.info, g->resume ? g->of : of);
    return code;
}

int ingest_begin(const char *path, uint64_t lsn, uint64_t term, bool resume,
                 struct ingest **ingest_out)
{
    struct ingest *g = mem_zalloc(sizeof(*g));
    g->magic = INGEST_MAGIC;
    g->path = engine_join(path, ENGINE_INCOMING);
    g->map_bytes = ENGINE_MAP_BYTES_DEFAULT;
    g->of = (struct engine_state){lsn, term};
    g->resume = resume;
    g->table = TABLE_RECORDS;
    buf_init(&g->last, EFFECTS_KEY_MAX);
    int code = resume ? take_up(g) : ERR_NOT_FOUND;
    if (code != ERR_OK)
        code = begin_anew(g);
    if (code != ERR_OK) {
        ingest_free(g);
        return code == ERR_NO_SPACE ? code : ERR_IO;
    }
    *ingest_out = g;
    return ERR_OK;
}

struct bytes ingest_place(const struct ingest *g)
{
    CHECK_OBJ(g, INGEST_MAGIC);
    return bytes_of(buf_bytes(&g->last), buf_len(&g->last));
}

int ingest_each(struct ingest *g,
                int (*each)(void *user, struct bytes key, struct bytes value),
                void *user)
{
    CHECK_OBJ(g, INGEST_MAGIC);
    MDB_cursor *cursor;
    MDB_val key, value;
    int code = batch_begin(g);
    if (code == ERR_OK)
        code = lmdb_err(mdb_cursor_open(g->batch, g->db.records, &cursor));
    if (code != ERR_OK)
        return code;
    while (code == ERR_OK) {
        code = lmdb_err(mdb_cursor_get(cursor, &key, &value, MDB_NEXT));
        if (code == ERR_OK)
            code = each(user, lmdb_bytes(key), lmdb_bytes(value));
    }
    mdb_cursor_close(cursor);
    return code == ERR_NOT_FOUND ? ERR_OK : code;
}

static bool name_ok(struct bytes name)
{
    return name.len >= 1 && name.len <= FLUSH_INFO_NAME_MAX &&
           name.data[0] != '_' && memchr(name.data, 0, name.len) == NULL;
}

static int put_one(struct ingest *g, struct cursor *c)
{
    uint8_t which = cursor_u8(c);
    uint16_t key_len = cursor_u16_le(c);
    uint32_t value_len = cursor_u32_le(c);
    struct bytes key = bytes_of(cursor_take(c, key_len), key_len);
    struct bytes value = bytes_of(cursor_take(c, value_len), value_len);
    if (!cursor_ok(c) || (which != TABLE_RECORDS && which != TABLE_INFO) ||
        which < g->table)
        return ERR_MALFORMED;
    if (which == TABLE_RECORDS && (key.len < 1 || key.len > EFFECTS_KEY_MAX))
        return ERR_MALFORMED;
    if (which == TABLE_INFO && !name_ok(key))
        return ERR_MALFORMED;
    if (value.len >
        (which == TABLE_RECORDS ? ENGINE_VALUE_MAX : FLUSH_INFO_BYTES_MAX))
        return ERR_LIMIT;
    g->table = which;
    MDB_val k = lmdb_val(key), v = lmdb_val(value);
    int result =
        mdb_put(g->batch, which == TABLE_RECORDS ? g->db.records : g->db.info,
                &k, &v, which == TABLE_RECORDS ? MDB_APPEND : MDB_NOOVERWRITE);
    return result == MDB_KEYEXIST ? ERR_MALFORMED : lmdb_err(result);
}

static int put_chunk(struct ingest *g, struct bytes chunk)
{
    struct cursor c = cursor_of(chunk.data, chunk.len);
    uint32_t count = cursor_u32_le(&c);
    int code = ERR_OK;
    for (uint32_t i = 0; i < count && code == ERR_OK; i++)
        code = put_one(g, &c);
    return code == ERR_OK && !cursor_done(&c) ? ERR_MALFORMED : code;
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
    if (code == ERR_OK)
        code = batch_begin(g);
    if (code == ERR_OK)
        code = put_chunk(g, chunk);
    g->batch_bytes += chunk.len;
    if (code == ERR_OK && g->batch_bytes >= INGEST_BATCH_BYTES)
        code = batch_commit(g);
    if (code != ERR_OK)
        batch_drop(g);
    return code;
}

/* Everything is on the disk before the state that makes it complete. */
static int complete(struct ingest *g)
{
    MDB_val key = lmdb_val(bytes_str(INGEST_MARK));
    int code = batch_commit(g);
    if (code == ERR_OK)
        code = fault_err(fault_hit("store.snapshot.adopt.before"));
    if (code == ERR_OK)
        code = batch_begin(g);
    if (code == ERR_OK)
        code = lmdb_err(mdb_del(g->batch, g->db.info, &key, NULL));
    if (code == ERR_OK)
        code = lmdb_put_state(g->batch, g->db.info, g->of);
    if (code == ERR_OK)
        code = batch_commit(g);
    if (code == ERR_OK)
        code = file_sync_folder(g->path);
    if (code == ERR_OK)
        code = file_sync_parent(g->path);
    return code;
}

int ingest_info(struct ingest *g, const char *name, struct buf *out)
{
    CHECK_OBJ(g, INGEST_MAGIC);
    MDB_val key = lmdb_val(bytes_str(name)), value;
    int code = batch_begin(g);
    if (code == ERR_OK)
        code = lmdb_err(mdb_get(g->batch, g->db.info, &key, &value));
    if (code == ERR_OK)
        code = buf_append(out, value.mv_data, value.mv_size);
    return code;
}

int ingest_finish(struct ingest *g)
{
    CHECK_OBJ(g, INGEST_MAGIC);
    CHECK(g->of.lsn > 0);
    int code = complete(g);
    if (code != ERR_OK) {
        ingest_abort(g);
        return code == ERR_NO_SPACE ? code : ERR_IO;
    }
    ingest_free(g);
    return ERR_OK;
}

void ingest_leave(struct ingest *g)
{
    if (g == NULL)
        return;
    CHECK_OBJ(g, INGEST_MAGIC);
    ingest_free(g);
}

void ingest_abort(struct ingest *g)
{
    if (g == NULL)
        return;
    CHECK_OBJ(g, INGEST_MAGIC);
    batch_drop(g);
    lmdb_close(&g->db);
    /* What cannot be removed now is removed by the next attempt or start. */
    remove_incoming(g->path);
    ingest_free(g);
}

int ingest_clear(const char *path)
{
    char *incoming = engine_join(path, ENGINE_INCOMING);
    int code = remove_incoming(incoming);
    mem_free(incoming);
    return code;
}

uint64_t ingest_left_bytes(const char *path)
{
    struct stat st;
    char *incoming = engine_join(path, ENGINE_INCOMING);
    char *file = engine_join(incoming, "data.mdb");
    bool exists = stat(file, &st) == 0;
    mem_free(file);
    mem_free(incoming);
    return exists ? (uint64_t)st.st_blocks * 512 : 0;
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

int ingest_renew(struct engine *e, uint64_t lsn, uint64_t term,
                 struct err_msg *msg)
{
    CHECK_OBJ(e, ENGINE_MAGIC);
    CHECK(lsn >= e->state.lsn);
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

int ingest_adopt(struct engine *e, uint64_t lsn, uint64_t term,
                 struct err_msg *msg)
{
    CHECK_OBJ(e, ENGINE_MAGIC);
    CHECK(lsn > e->state.lsn);
    return ingest_renew(e, lsn, term, msg);
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

/* Whether what waits there is the beginning of a newer state than `present`. */
static bool may_go_on(const char *incoming, struct engine_state present)
{
    struct lmdb db;
    MDB_txn *txn;
    struct engine_state of = {0, 0};
    int code = lmdb_open(incoming, ENGINE_MAP_BYTES_DEFAULT, MDB_NOLOCK, &db);
    if (code != ERR_OK)
        return false;
    code = lmdb_err(mdb_txn_begin(db.env, NULL, MDB_RDONLY, &txn));
    if (code == ERR_OK) {
        code = get_mark(txn, db.info, &of);
        mdb_txn_abort(txn);
    }
    lmdb_close(&db);
    return code == ERR_OK && of.lsn > present.lsn;
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
    } else if (waiting && may_go_on(incoming, present)) {
        outcome = ENGINE_RECOVERED_KEPT;
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
