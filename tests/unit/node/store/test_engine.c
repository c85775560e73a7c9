/* The engine and its in-memory twin keep the promises of kv.h; flushes are all
 * or nothing; snapshots arrive whole. */
#include "store_test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "node/base/err.h"
#include "node/base/fault.h"
#include "node/base/mem.h"
#include "node/store/engine.h"
#include "node/store/kv_mem.h"
#include "node/store/view.h"

static char dir[64];
static struct err_msg msg;

static int setup(void **state)
{
    (void)state;
    scratch_make(dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fault_arm(NULL, NULL);
    scratch_remove(dir);
    return 0;
}

static char *shard_path(const char *name)
{
    static char path[2][128];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof(path[0]), "%s/%s", dir, name);
    return path[turn];
}

static struct engine *must_open_at(const char *path, size_t map, size_t max)
{
    struct engine_options options = {path, map, max};
    struct engine *e;
    int code = engine_open(&options, &msg, &e);
    if (code != ERR_OK)
        fail_msg("%s: %s", err_name(code), msg.text);
    return e;
}

static struct engine *must_open(void)
{
    return must_open_at(shard_path("1"), 0, 0);
}

static void put(struct memtable *m, uint64_t lsn, const char *key,
                const char *value)
{
    struct entry *e = one_effect(lsn, 1, bytes_str(key), value);
    assert_int_equal(memtable_apply(m, e), ERR_OK);
    entry_unref(e);
}

static struct flush *collect(struct memtable *m, uint64_t base, uint64_t lsn)
{
    struct flush *f = flush_new(base, lsn, 1);
    while (!flush_collect(f, m, 7))
        ;
    return f;
}

/* Flushes everything up to `lsn` into the engine. */
static int flush_to(struct engine *e, struct memtable *m, uint64_t lsn)
{
    struct flush *f = collect(m, engine_flushed_lsn(e), lsn);
    int code = engine_flush(e, f);
    if (code == ERR_OK)
        engine_flush_done(e, f);
    flush_free(f);
    return code;
}

static void expect_stored(struct kv kv, const char *key, const char *value)
{
    struct bytes found;
    assert_int_equal(kv_begin(kv), ERR_OK);
    int code = kv_get(kv, bytes_str(key), &found);
    if (value == NULL) {
        assert_int_equal(code, ERR_NOT_FOUND);
    } else {
        assert_int_equal(code, ERR_OK);
        assert_true(bytes_equal(found, bytes_str(value)));
    }
    kv_end(kv);
}

static void a_flush_survives_reopening(void **state)
{
    (void)state;
    struct memtable *m = memtable_new(1 << 20);
    struct engine *e = must_open();
    assert_int_equal(engine_flushed_lsn(e), 0);
    put(m, 1, "a", "1");
    put(m, 2, "b", "2");
    put(m, 3, "a", "3");
    put(m, 4, "b", NULL);
    struct flush *f = collect(m, 0, 3);
    assert_int_equal(flush_set_info(f, "config", bytes_str("old")), ERR_OK);
    assert_int_equal(flush_set_info(f, "config", bytes_str("new")), ERR_OK);
    assert_int_equal(f->count, 2);
    assert_int_equal(engine_flush(e, f), ERR_OK);
    assert_int_equal(engine_flushed_lsn(e), 0);
    engine_flush_done(e, f);
    flush_free(f);
    engine_close(e);
    e = must_open();
    assert_int_equal(engine_flushed_lsn(e), 3);
    assert_int_equal(engine_flushed_term(e), 1);
    expect_stored(engine_kv(e), "a", "3");
    expect_stored(engine_kv(e), "b", "2");
    struct buf info;
    buf_init(&info, 100);
    assert_int_equal(engine_info(e, "config", &info), ERR_OK);
    assert_string_equal(buf_cstr(&info), "new");
    assert_int_equal(engine_info(e, "none", &info), ERR_NOT_FOUND);
    buf_free(&info);
    assert_int_equal(flush_to(e, m, 4), ERR_OK);
    expect_stored(engine_kv(e), "b", NULL);
    engine_close(e);
    memtable_free(m);
}

static void a_flush_leaves_out_what_the_engine_has(void **state)
{
    (void)state;
    struct memtable *m = memtable_new(1 << 20);
    for (uint64_t lsn = 1; lsn <= 100; lsn++) {
        char key[8];
        snprintf(key, sizeof(key), "k%03u", (unsigned)lsn);
        put(m, lsn, key, "x");
    }
    struct flush *f = collect(m, 40, 60);
    assert_int_equal(f->count, 20);
    for (size_t i = 1; i < f->count; i++)
        assert_true(bytes_compare(f->ops[i - 1].key, f->ops[i].key) < 0);
    /* It owns what it borrows: the memtable may go. */
    memtable_free(m);
    assert_true(bytes_equal(f->ops[19].value, bytes_str("x")));
    flush_free(f);
}

/* Walks both sides of [from, to) and compares. */
static void compare_range(struct kv a, struct kv b, struct bytes from,
                          struct bytes to)
{
    struct kv_iter *x, *y;
    assert_int_equal(kv_begin(a), ERR_OK);
    assert_int_equal(kv_begin(b), ERR_OK);
    assert_int_equal(kv_iter_open(a, from, to, &x), ERR_OK);
    assert_int_equal(kv_iter_open(b, from, to, &y), ERR_OK);
    for (;;) {
        struct bytes key_a, key_b, value_a, value_b;
        int code = kv_iter_next(x, &key_a, &value_a);
        assert_int_equal(code, kv_iter_next(y, &key_b, &value_b));
        if (code != ERR_OK) {
            assert_int_equal(code, ERR_EOF);
            break;
        }
        assert_true(bytes_equal(key_a, key_b));
        assert_true(bytes_equal(value_a, value_b));
    }
    kv_iter_close(x);
    kv_iter_close(y);
    kv_end(a);
    kv_end(b);
}

static struct bytes random_key(struct prng *p, uint8_t room[20])
{
    size_t len = prng_range(p, 1, 4);
    for (size_t i = 0; i < len; i++)
        room[i] = (uint8_t)prng_below(p, 5);
    return bytes_of(room, len);
}

static void engine_and_twin_agree(void **state)
{
    (void)state;
    struct prng p = test_prng();
    struct memtable *m = memtable_new(1 << 20);
    struct engine *e = must_open();
    struct kv_mem *twin = kv_mem_new();
    uint64_t lsn = 0;
    uint8_t room[20], room2[20];
    for (int round = 0; round < 60; round++) {
        for (uint64_t i = prng_below(&p, 60); i > 0; i--) {
            char value[24];
            snprintf(value, sizeof(value), "v%llu", (unsigned long long)++lsn);
            struct entry *entry = one_effect(lsn, 1, random_key(&p, room),
                                             prng_one_in(&p, 3) ? NULL : value);
            assert_int_equal(memtable_apply(m, entry), ERR_OK);
            entry_unref(entry);
        }
        uint64_t to = prng_range(&p, engine_flushed_lsn(e), lsn);
        struct flush *f = collect(m, engine_flushed_lsn(e), to);
        assert_int_equal(engine_flush(e, f), ERR_OK);
        engine_flush_done(e, f);
        kv_mem_flush(twin, f);
        flush_free(f);
        if (prng_one_in(&p, 2))
            memtable_trim(m, to, SIZE_MAX);
        if (prng_one_in(&p, 8)) {
            struct bytes prefix = random_key(&p, room);
            bool more = true;
            prefix.len = 1;
            while (more)
                assert_int_equal(engine_drop_prefix(e, prefix, 3, &more),
                                 ERR_OK);
            kv_mem_drop_prefix(twin, prefix);
        }
        compare_range(engine_kv(e), kv_mem_kv(twin), bytes_of("", 0),
                      bytes_of("", 0));
        compare_range(engine_kv(e), kv_mem_kv(twin), random_key(&p, room),
                      random_key(&p, room2));
    }
    kv_mem_free(twin);
    engine_close(e);
    memtable_free(m);
}

static void a_view_is_the_memtable_over_the_engine(void **state)
{
    (void)state;
    struct memtable *m = memtable_new(1 << 20);
    struct engine *e = must_open();
    struct kv kv = engine_kv(e);
    put(m, 1, "a", "a1");
    put(m, 2, "b", "b2");
    put(m, 3, "d", "d3");
    assert_int_equal(flush_to(e, m, 3), ERR_OK);
    memtable_trim(m, 3, SIZE_MAX);
    put(m, 4, "b", NULL);
    put(m, 5, "c", "c5");
    put(m, 6, "d", "d6");
    put(m, 7, "e", "e7");
    static const struct {
        uint64_t lsn;
        const char *expected;
    } reads[] = {{3, "a=a1 b=b2 d=d3 "},
                 {4, "a=a1 d=d3 "},
                 {5, "a=a1 c=c5 d=d3 "},
                 {6, "a=a1 c=c5 d=d6 "},
                 {MEMTABLE_NEWEST, "a=a1 c=c5 d=d6 e=e7 "}};
    for (size_t i = 0; i < 5; i++) {
        struct view_iter it;
        struct bytes key, value;
        char text[100] = "";
        assert_int_equal(kv_begin(kv), ERR_OK);
        assert_int_equal(view_iter_open(m, kv, bytes_str("a"), bytes_str("f"),
                                        reads[i].lsn, &it),
                         ERR_OK);
        int code;
        while ((code = view_iter_next(&it, &key, &value)) == ERR_OK) {
            sprintf(text + strlen(text), "%.*s=%.*s ", (int)key.len, key.data,
                    (int)value.len, value.data);
            struct bytes found;
            assert_int_equal(view_get(m, kv, key, reads[i].lsn, &found),
                             ERR_OK);
            assert_true(bytes_equal(found, value));
        }
        assert_int_equal(code, ERR_EOF);
        view_iter_close(&it);
        kv_end(kv);
        assert_string_equal(text, reads[i].expected);
    }
    struct bytes found;
    assert_int_equal(kv_begin(kv), ERR_OK);
    assert_int_equal(view_get(m, kv, bytes_str("b"), 7, &found), ERR_NOT_FOUND);
    kv_end(kv);
    engine_close(e);
    memtable_free(m);
}

static void a_full_map_grows_when_nobody_reads(void **state)
{
    (void)state;
    struct memtable *m = memtable_new(1 << 24);
    struct engine *e = must_open_at(shard_path("1"), 64 << 10, (size_t)1 << 20);
    char value[3000];
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (uint64_t lsn = 1; lsn <= 60; lsn++) {
        char key[8];
        snprintf(key, sizeof(key), "k%03u", (unsigned)lsn);
        put(m, lsn, key, value);
    }
    assert_int_equal(flush_to(e, m, 60), ERR_FULL);
    assert_int_equal(engine_flushed_lsn(e), 0);
    expect_stored(engine_kv(e), "k001", NULL);
    assert_int_equal(kv_begin(engine_kv(e)), ERR_OK);
    assert_int_equal(engine_grow(e), ERR_AGAIN);
    kv_end(engine_kv(e));
    int grown = 0, code;
    while ((code = flush_to(e, m, 60)) == ERR_FULL) {
        assert_int_equal(engine_grow(e), ERR_OK);
        grown++;
    }
    assert_int_equal(code, ERR_OK);
    assert_true(grown > 0);
    expect_stored(engine_kv(e), "k060", value);
    while ((code = engine_grow(e)) == ERR_OK)
        ;
    assert_int_equal(code, ERR_LIMIT);
    struct engine_stats stats;
    assert_int_equal(engine_stats(e, &stats), ERR_OK);
    assert_int_equal(stats.records, 60);
    assert_int_equal(stats.map_bytes, 1 << 20);
    engine_close(e);
    memtable_free(m);
}

static void a_failed_flush_changes_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        int code;
    } faults[] = {{"store.flush.before=enospc", ERR_NO_SPACE},
                  {"store.commit.before=enospc", ERR_NO_SPACE},
                  {"store.commit.before=eio", ERR_IO}};
    struct memtable *m = memtable_new(1 << 20);
    struct engine *e = must_open();
    put(m, 1, "a", "1");
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(fault_arm(faults[i].spec, NULL), 0);
        assert_int_equal(flush_to(e, m, 1), faults[i].code);
        fault_arm(NULL, NULL);
        expect_stored(engine_kv(e), "a", NULL);
        assert_int_equal(engine_flushed_lsn(e), 0);
    }
    assert_int_equal(flush_to(e, m, 1), ERR_OK);
    expect_stored(engine_kv(e), "a", "1");
    engine_close(e);
    memtable_free(m);
}

static void a_damaged_file_is_refused(void **state)
{
    (void)state;
    char path[160];
    engine_close(must_open());
    snprintf(path, sizeof(path), "%s/data.mdb", shard_path("1"));
    FILE *f = fopen(path, "r+");
    for (int i = 0; i < 8192; i++)
        fputc('x', f);
    fclose(f);
    struct engine_options options = {shard_path("1"), 0, 0};
    struct engine *e;
    assert_int_equal(engine_open(&options, &msg, &e), ERR_CORRUPT);
    assert_non_null(strstr(msg.text, dir));
}

/* -- snapshots -- */

/* An engine with `count` records and a blob, at LSN `count`. */
static struct engine *filled(const char *name, unsigned count)
{
    struct memtable *m = memtable_new(1 << 26);
    struct engine *e = must_open_at(shard_path(name), 0, 0);
    for (unsigned i = 1; i <= count; i++) {
        char key[16], value[300];
        snprintf(key, sizeof(key), "key%05u", i);
        memset(value, 'a' + (int)(i % 26), sizeof(value));
        value[i % 299] = '\0';
        put(m, i, key, value);
    }
    struct flush *f = collect(m, 0, count);
    assert_int_equal(flush_set_info(f, "config", bytes_str("conf")), ERR_OK);
    assert_int_equal(engine_flush(e, f), ERR_OK);
    engine_flush_done(e, f);
    flush_free(f);
    memtable_free(m);
    return e;
}

static void stream(struct engine *from, struct ingest *to, size_t chunk_bytes)
{
    struct snapshot *s;
    struct buf chunk;
    buf_init(&chunk, ENGINE_CHUNK_BYTES_MAX);
    assert_int_equal(snapshot_open(from, 0, &s), ERR_OK);
    int code, chunks = 0;
    while ((code = snapshot_chunk(s, 1, chunk_bytes, &chunk)) == ERR_OK) {
        struct bytes bytes = bytes_of(buf_bytes(&chunk), buf_len(&chunk));
        assert_true(bytes.len <= chunk_bytes || get_u32_le(bytes.data) == 1);
        assert_int_equal(ingest_chunk(to, bytes), ERR_OK);
        buf_clear(&chunk);
        chunks++;
    }
    assert_int_equal(code, ERR_EOF);
    assert_true(chunks > 1);
    assert_int_equal(snapshot_lsn(s), engine_flushed_lsn(from));
    snapshot_close(s);
    buf_free(&chunk);
}

/* All that the snapshot has, in one chunk. */
static void one_chunk(struct engine *from, const char *only, struct buf *chunk)
{
    struct snapshot *s;
    assert_int_equal(snapshot_open(from, 0, &s), ERR_OK);
    if (only != NULL)
        assert_int_equal(snapshot_only_info(s, only), ERR_OK);
    assert_int_equal(snapshot_chunk(s, 1, ENGINE_CHUNK_BYTES_MAX, chunk),
                     ERR_OK);
    struct buf rest;
    buf_init(&rest, ENGINE_CHUNK_BYTES_MAX);
    assert_int_equal(snapshot_chunk(s, 1, ENGINE_CHUNK_BYTES_MAX, &rest),
                     ERR_EOF);
    buf_free(&rest);
    snapshot_close(s);
}

static void a_snapshot_may_be_one_blob_and_records_be_refused(void **state)
{
    (void)state;
    struct engine *from = filled("1", 50);
    struct buf all, blob, got;
    buf_init(&all, ENGINE_CHUNK_BYTES_MAX);
    buf_init(&blob, ENGINE_CHUNK_BYTES_MAX);
    buf_init(&got, 100);
    one_chunk(from, NULL, &all);
    one_chunk(from, "config", &blob);
    assert_true(get_u32_le(buf_bytes(&all)) == 51);
    assert_true(get_u32_le(buf_bytes(&blob)) == 1);
    struct ingest *g;
    mkdir(shard_path("2"), 0700);
    assert_int_equal(ingest_begin(shard_path("2"), 40, 1, false, &g), ERR_OK);
    ingest_refuse_records(g);
    assert_int_equal(ingest_chunk(g, bytes_of(buf_bytes(&all), buf_len(&all))),
                     ERR_MALFORMED);
    assert_int_equal(ingest_info(g, "config", &got), ERR_NOT_FOUND);
    assert_int_equal(
        ingest_chunk(g, bytes_of(buf_bytes(&blob), buf_len(&blob))), ERR_OK);
    assert_int_equal(ingest_info(g, "config", &got), ERR_OK);
    assert_string_equal(buf_cstr(&got), "conf");
    ingest_abort(g);
    engine_close(from);
    buf_free(&all);
    buf_free(&blob);
    buf_free(&got);
}

static void a_snapshot_becomes_the_state_of_another_engine(void **state)
{
    (void)state;
    struct engine *from = filled("1", 3000), *to = filled("2", 7);
    struct ingest *g;
    assert_int_equal(ingest_begin(shard_path("2"), 3000, 1, false, &g), ERR_OK);
    stream(from, g, 10000);
    expect_stored(engine_kv(to), "key00009", NULL); /* the old state serves */
    struct buf early;
    buf_init(&early, 100);
    assert_int_equal(ingest_info(g, "none", &early), ERR_NOT_FOUND);
    assert_int_equal(ingest_info(g, "config", &early), ERR_OK);
    assert_string_equal(buf_cstr(&early), "conf");
    buf_free(&early);
    assert_int_equal(ingest_finish(g), ERR_OK);
    assert_int_equal(ingest_adopt(to, 3000, 1, &msg), ERR_OK);
    assert_int_equal(engine_flushed_lsn(to), 3000);
    assert_int_equal(engine_flushed_term(to), 1);
    compare_range(engine_kv(from), engine_kv(to), bytes_of("", 0),
                  bytes_of("", 0));
    struct buf info;
    buf_init(&info, 100);
    assert_int_equal(engine_info(to, "config", &info), ERR_OK);
    assert_string_equal(buf_cstr(&info), "conf");
    buf_free(&info);
    assert_int_not_equal(access(shard_path("2/incoming"), F_OK), 0);
    engine_close(from);
    engine_close(to);
    to = must_open_at(shard_path("2"), 0, 0);
    assert_int_equal(engine_flushed_lsn(to), 3000);
    engine_close(to);
}

static bool has(const char *name, uint64_t lsn, uint64_t term)
{
    bool out;
    assert_int_equal(engine_has(shard_path(name), lsn, term, &msg, &out),
                     ERR_OK);
    return out;
}

static void a_start_finishes_or_discards_a_snapshot(void **state)
{
    (void)state;
    struct engine *from = filled("1", 500);
    enum engine_recovered outcome;
    struct ingest *g;
    /* Complete but not named by the log: discarded. */
    engine_close(filled("2", 7));
    assert_int_equal(ingest_begin(shard_path("2"), 500, 1, false, &g), ERR_OK);
    stream(from, g, 10000);
    assert_int_equal(ingest_finish(g), ERR_OK);
    assert_true(has("2", 7, 1));
    assert_true(has("2", 500, 1));
    assert_false(has("2", 500, 2));
    assert_false(has("2", 8, 1));
    assert_int_equal(engine_recover(shard_path("2"), 0, 0, &msg, &outcome),
                     ERR_OK);
    assert_int_equal(outcome, ENGINE_RECOVERED_DISCARDED);
    assert_int_equal(engine_recover(shard_path("2"), 0, 0, &msg, &outcome),
                     ERR_OK);
    assert_int_equal(outcome, ENGINE_RECOVERED_NOTHING);
    /* Named by the log and complete: adopted. */
    assert_int_equal(ingest_begin(shard_path("2"), 500, 1, false, &g), ERR_OK);
    stream(from, g, 10000);
    assert_int_equal(ingest_finish(g), ERR_OK);
    assert_int_equal(engine_recover(shard_path("2"), 500, 1, &msg, &outcome),
                     ERR_OK);
    assert_int_equal(outcome, ENGINE_RECOVERED_ADOPTED);
    struct engine *to = must_open_at(shard_path("2"), 0, 0);
    assert_int_equal(engine_flushed_lsn(to), 500);
    engine_close(to);
    /* A history in the log is nothing to do. */
    assert_int_equal(engine_recover(shard_path("2"), 500, 1, &msg, &outcome),
                     ERR_OK);
    assert_int_equal(outcome, ENGINE_RECOVERED_NOTHING);
    /* Named, but nowhere, or half: damage. */
    assert_int_equal(engine_recover(shard_path("2"), 600, 1, &msg, &outcome),
                     ERR_CORRUPT);
    assert_int_equal(ingest_begin(shard_path("2"), 500, 1, false, &g), ERR_OK);
    stream(from, g, 10000);
    assert_int_equal(engine_recover(shard_path("3"), 600, 1, &msg, &outcome),
                     ERR_CORRUPT);
    ingest_abort(g);
    assert_int_not_equal(access(shard_path("2/incoming"), F_OK), 0);
    engine_close(from);
}

/* Streams what `to` lacks; returns how many chunks had nothing new. */
static unsigned stream_rest(struct engine *from, struct ingest *to)
{
    struct snapshot *s;
    struct buf chunk;
    unsigned skipped = 0;
    int code;
    buf_init(&chunk, ENGINE_CHUNK_BYTES_MAX);
    assert_int_equal(snapshot_open(from, 0, &s), ERR_OK);
    assert_int_equal(snapshot_rewind(s, ingest_place(to)), ERR_OK);
    while ((code = snapshot_chunk(s, 1, 5000, &chunk)) == ERR_OK) {
        if (snapshot_skipped(s))
            skipped++;
        else
            assert_int_equal(
                ingest_chunk(to, bytes_of(buf_bytes(&chunk), buf_len(&chunk))),
                ERR_OK);
        buf_clear(&chunk);
    }
    assert_int_equal(code, ERR_EOF);
    snapshot_close(s);
    buf_free(&chunk);
    return skipped;
}

static int count_record(void *user, struct bytes key, struct bytes value)
{
    (void)key;
    (void)value;
    ++*(unsigned *)user;
    return ERR_OK;
}

/* Puts the first `bytes` of chunks, then leaves as a crash would. */
static void begin_and_leave(struct engine *from, size_t bytes, bool resume)
{
    struct ingest *g;
    struct snapshot *s;
    struct buf chunk;
    buf_init(&chunk, ENGINE_CHUNK_BYTES_MAX);
    assert_int_equal(
        ingest_begin(shard_path("2"), engine_flushed_lsn(from), 1, resume, &g),
        ERR_OK);
    assert_int_equal(ingest_place(g).len, 0);
    assert_int_equal(snapshot_open(from, 0, &s), ERR_OK);
    for (size_t put = 0; put < bytes; put += buf_len(&chunk)) {
        buf_clear(&chunk);
        assert_int_equal(snapshot_chunk(s, 1, 100000, &chunk), ERR_OK);
        assert_int_equal(
            ingest_chunk(g, bytes_of(buf_bytes(&chunk), buf_len(&chunk))),
            ERR_OK);
    }
    snapshot_close(s);
    ingest_leave(g);
    buf_free(&chunk);
}

static void a_snapshot_goes_on_where_it_was_left(void **state)
{
    (void)state;
    struct engine *from = filled("1", 90000);
    enum engine_recovered outcome;
    struct ingest *g;
    unsigned there = 0;
    engine_close(filled("2", 7));
    begin_and_leave(from, INGEST_BATCH_BYTES + 300000, true);
    assert_false(has("2", 90000, 1));
    /* A start keeps it, for it is newer than the state. */
    assert_int_equal(engine_recover(shard_path("2"), 0, 0, &msg, &outcome),
                     ERR_OK);
    assert_int_equal(outcome, ENGINE_RECOVERED_KEPT);
    assert_int_equal(ingest_begin(shard_path("2"), 90000, 1, true, &g), ERR_OK);
    assert_int_equal(ingest_each(g, count_record, &there), ERR_OK);
    assert_true(there > 0 && there < 90000);
    assert_true(stream_rest(from, g) > 1);
    assert_int_equal(ingest_finish(g), ERR_OK);
    struct engine *to = must_open_at(shard_path("2"), 0, 0);
    assert_int_equal(ingest_adopt(to, 90000, 1, &msg), ERR_OK);
    struct engine_stats stats;
    assert_int_equal(engine_stats(to, &stats), ERR_OK);
    assert_int_equal(stats.records, 90000);
    engine_close(to);
    engine_close(from);
}

static void only_the_same_state_is_gone_on_with(void **state)
{
    (void)state;
    struct engine *from = filled("1", 90000);
    enum engine_recovered outcome;
    struct ingest *g;
    engine_close(filled("2", 7));
    begin_and_leave(from, INGEST_BATCH_BYTES + 300000, true);
    assert_int_equal(ingest_begin(shard_path("2"), 90000, 2, true, &g), ERR_OK);
    assert_int_equal(ingest_place(g).len, 0);
    ingest_abort(g);
    begin_and_leave(from, INGEST_BATCH_BYTES + 300000, true);
    assert_int_equal(ingest_begin(shard_path("2"), 90001, 1, true, &g), ERR_OK);
    assert_int_equal(ingest_place(g).len, 0);
    ingest_abort(g);
    begin_and_leave(from, INGEST_BATCH_BYTES + 300000, true);
    assert_int_equal(ingest_begin(shard_path("2"), 90000, 1, false, &g),
                     ERR_OK);
    assert_int_equal(ingest_place(g).len, 0);
    ingest_abort(g);
    /* A start finds that the state is newer. */
    begin_and_leave(from, INGEST_BATCH_BYTES + 300000, true);
    engine_close(from);
    assert_int_equal(rename(shard_path("2/incoming"), shard_path("1/incoming")),
                     0);
    assert_int_equal(engine_recover(shard_path("1"), 0, 0, &msg, &outcome),
                     ERR_OK);
    assert_int_equal(outcome, ENGINE_RECOVERED_DISCARDED);
}

/* What renews a store is opened as it comes; of what an earlier attempt left
 * nobody knows that. */
static void what_nobody_may_go_on_with_is_thrown_away(void **state)
{
    (void)state;
    struct engine *from = filled("1", 90000);
    enum engine_recovered outcome;
    struct ingest *g;
    engine_close(filled("2", 7));
    assert_int_equal(ingest_left_bytes(shard_path("2")), 0);
    begin_and_leave(from, INGEST_BATCH_BYTES + 300000, false);
    assert_true(ingest_left_bytes(shard_path("2")) > INGEST_BATCH_BYTES / 2);
    assert_int_equal(ingest_begin(shard_path("2"), 90000, 1, true, &g), ERR_OK);
    assert_int_equal(ingest_place(g).len, 0);
    ingest_abort(g);
    begin_and_leave(from, INGEST_BATCH_BYTES + 300000, false);
    assert_int_equal(ingest_clear(shard_path("2")), ERR_OK);
    assert_int_equal(ingest_left_bytes(shard_path("2")), 0);
    assert_int_equal(ingest_clear(shard_path("2")), ERR_OK);
    begin_and_leave(from, INGEST_BATCH_BYTES + 300000, false);
    engine_close(from);
    /* Newer than the state as it is. */
    assert_int_equal(engine_recover(shard_path("2"), 0, 0, &msg, &outcome),
                     ERR_OK);
    assert_int_equal(outcome, ENGINE_RECOVERED_DISCARDED);
}

static void foreign_chunks_are_checked(void **state)
{
    (void)state;
    struct engine *from = filled("1", 40);
    struct snapshot *s;
    struct buf chunk;
    engine_close(filled("2", 1));
    buf_init(&chunk, ENGINE_CHUNK_BYTES_MAX);
    assert_int_equal(snapshot_open(from, 0, &s), ERR_OK);
    assert_int_equal(snapshot_chunk(s, 0, 2000, &chunk), ERR_OK);
    snapshot_close(s);
    size_t len = buf_len(&chunk);
    struct ingest *g;
    assert_int_equal(ingest_begin(shard_path("2"), 40, 1, false, &g), ERR_OK);
    for (size_t cut = 0; cut < len; cut += 3)
        assert_int_equal(ingest_chunk(g, bytes_of(buf_bytes(&chunk), cut)),
                         ERR_MALFORMED);
    struct prng p = test_prng();
    for (int i = 0; i < 3000; i++) {
        uint8_t *copy = mem_dup(buf_bytes(&chunk), len);
        copy[prng_below(&p, 60)] ^= (uint8_t)(1u << prng_below(&p, 8));
        ingest_chunk(g, bytes_of(copy, len)); /* must only be survived */
        mem_free(copy);
    }
    ingest_abort(g);
    /* The same records twice do not rise. */
    assert_int_equal(ingest_begin(shard_path("2"), 40, 1, false, &g), ERR_OK);
    assert_int_equal(ingest_chunk(g, bytes_of(buf_bytes(&chunk), len)), ERR_OK);
    assert_int_equal(ingest_chunk(g, bytes_of(buf_bytes(&chunk), len)),
                     ERR_MALFORMED);
    ingest_abort(g);
    buf_free(&chunk);
    engine_close(from);
}

static void an_old_snapshot_reader_is_refused(void **state)
{
    (void)state;
    struct engine *e = filled("1", 40);
    struct snapshot *s;
    struct buf chunk;
    buf_init(&chunk, 1 << 16);
    assert_int_equal(snapshot_open(e, 1000, &s), ERR_OK);
    assert_int_equal(engine_grow(e), ERR_AGAIN);
    assert_int_equal(
        snapshot_chunk(s, 1000 + ENGINE_SNAPSHOT_MAX_AGE_US, 100, &chunk),
        ERR_OK);
    assert_int_equal(
        snapshot_chunk(s, 1001 + ENGINE_SNAPSHOT_MAX_AGE_US, 100, &chunk),
        ERR_TIMEOUT);
    snapshot_close(s);
    assert_int_equal(engine_grow(e), ERR_OK);
    buf_free(&chunk);
    engine_close(e);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_flush_survives_reopening),
        TEST(a_flush_leaves_out_what_the_engine_has),
        TEST(engine_and_twin_agree),
        TEST(a_view_is_the_memtable_over_the_engine),
        TEST(a_full_map_grows_when_nobody_reads),
        TEST(a_failed_flush_changes_nothing),
        TEST(a_damaged_file_is_refused),
        TEST(a_snapshot_becomes_the_state_of_another_engine),
        TEST(a_snapshot_goes_on_where_it_was_left),
        TEST(only_the_same_state_is_gone_on_with),
        TEST(what_nobody_may_go_on_with_is_thrown_away),
        TEST(a_snapshot_may_be_one_blob_and_records_be_refused),
        TEST(a_start_finishes_or_discards_a_snapshot),
        TEST(foreign_chunks_are_checked),
        TEST(an_old_snapshot_reader_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
