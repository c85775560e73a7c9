/* A process that logs, flushes and adopts snapshots is killed at every fault
 * point; what it had reported as durable must be there afterwards, whole.
 *
 * Salvage is logged all the time, numbered from 1 and now and then marked as
 * delivered: every number above the last mark must still be there.
 *
 * The state is a function of the LSN: entry n puts "v<n>" under key n % 17, or
 * deletes it when n is a multiple of 5. So recovery is checked against a
 * computation, not against a record of what happened. */
#include "store_test.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/base/err.h"
#include "node/base/fault.h"
#include "node/base/mem.h"
#include "node/store/engine.h"
#include "node/store/view.h"
#include "node/store/wal.h"

#define SHARD 3
#define TERM 9
#define KEYS 17
#define STEPS 90

static void key_of(unsigned n, char out[8])
{
    snprintf(out, 8, "key%02u", n);
}

/* The value of key `k` at `lsn`; false when there is none. */
static bool expected_at(uint64_t lsn, unsigned k, char out[24])
{
    uint64_t last = lsn - (lsn + KEYS - k) % KEYS; /* <= lsn, = k mod 17 */
    if (lsn < k || last == 0 || last % 5 == 0)
        return false;
    snprintf(out, 24, "v%llu", (unsigned long long)last);
    return true;
}

static struct entry *entry_at(uint64_t lsn)
{
    static const uint8_t filler[2000]; /* so that segments fill up */
    struct effects_builder b;
    struct effects_head head = {.opaque = bytes_of(filler, sizeof(filler))};
    struct entry *e;
    char key[8], value[24];
    key_of((unsigned)(lsn % KEYS), key);
    assert_int_equal(effects_begin(&b, &head), ERR_OK);
    int code = expected_at(lsn, (unsigned)(lsn % KEYS), value)
                   ? effects_put(&b, bytes_str(key), bytes_str(value))
                   : effects_delete(&b, bytes_str(key));
    assert_int_equal(code, ERR_OK);
    assert_int_equal(effects_finish(&b, lsn, TERM, 1, &e), ERR_OK);
    return e;
}

/* -- a node with one shard -- */

struct node {
    struct wal *wal;
    struct wal_batch *batch;
    struct engine *engine;
    struct memtable *mem;
    uint64_t last; /* LSN */
    uint64_t reset_lsn, reset_term;
    uint64_t hard_term;
    uint32_t salvage_first, salvage_last; /* not marked as delivered */
    struct entry **entries; /* replayed, not yet in the memtable */
    size_t entry_count;
};

static int on_record(void *ctx, const struct wal_record *r)
{
    struct node *n = ctx;
    assert_int_equal(r->shard, SHARD);
    if (r->type == WAL_HARD_STATE)
        n->hard_term = r->term;
    if (r->type == WAL_SALVAGED)
        n->salvage_first = r->number + 1;
    if (r->type == WAL_SALVAGE) {
        char text[24];
        snprintf(text, sizeof(text), "lost %u", r->number);
        assert_true(bytes_equal(r->payload, bytes_str(text)));
        assert_int_equal(r->acknowledged, r->number % 3 == 0);
        if (n->salvage_first == 0)
            n->salvage_first = r->number;
        else
            assert_int_equal(r->number, n->salvage_last + 1);
        n->salvage_last = r->number;
    }
    if (r->type == WAL_RESET) {
        for (size_t i = 0; i < n->entry_count; i++)
            entry_unref(n->entries[i]);
        n->entry_count = 0;
        n->reset_lsn = r->lsn;
        n->reset_term = r->term;
    }
    if (r->type != WAL_ENTRY)
        return ERR_OK;
    if (n->entry_count > 0)
        assert_int_equal(r->lsn, n->entries[n->entry_count - 1]->lsn + 1);
    n->entries =
        mem_realloc(n->entries, (n->entry_count + 1) * sizeof(*n->entries));
    return entry_copy(r->lsn, r->term, r->entry_type, r->payload,
                      &n->entries[n->entry_count++]);
}

static void check_state(struct node *n)
{
    struct kv kv = engine_kv(n->engine);
    assert_int_equal(kv_begin(kv), ERR_OK);
    for (unsigned k = 0; k < KEYS; k++) {
        char key[8], value[24];
        struct bytes found;
        key_of(k, key);
        int code = view_get(n->mem, kv, bytes_str(key), n->last, &found);
        if (expected_at(n->last, k, value)) {
            assert_int_equal(code, ERR_OK);
            assert_true(bytes_equal(found, bytes_str(value)));
        } else {
            assert_int_equal(code, ERR_NOT_FOUND);
        }
    }
    kv_end(kv);
}

/* Recovers as a node does at start, and checks what it finds. */
static void start(struct node *n, const char *dir)
{
    struct err_msg msg;
    struct wal_report report;
    enum engine_recovered outcome;
    char path[128];
    *n = (struct node){0};
    struct wal_options options = {dir, "c", "n", WAL_SEGMENT_BYTES_MIN};
    int code = wal_open(&options, on_record, n, &report, &msg, &n->wal);
    if (code != ERR_OK)
        fail_msg("%s", msg.text);
    snprintf(path, sizeof(path), "%s/shard", dir);
    code = engine_recover(path, n->reset_lsn, n->reset_term, &msg, &outcome);
    if (code != ERR_OK)
        fail_msg("%s", msg.text);
    struct engine_options engine_options = {path, 1 << 20, 0};
    code = engine_open(&engine_options, &msg, &n->engine);
    if (code != ERR_OK)
        fail_msg("%s", msg.text);
    n->mem = memtable_new(1 << 20);
    n->batch = wal_batch_new(1 << 20);
    n->last = engine_flushed_lsn(n->engine);
    for (size_t i = 0; i < n->entry_count; i++) {
        struct entry *e = n->entries[i];
        if (e->lsn > n->last) {
            assert_int_equal(e->lsn, n->last + 1);
            assert_int_equal(memtable_apply(n->mem, e), ERR_OK);
            n->last = e->lsn;
        }
        entry_unref(e);
    }
    mem_free(n->entries);
    if (n->last > 0)
        assert_int_equal(n->hard_term, TERM);
    check_state(n);
}

static void stop(struct node *n)
{
    memtable_free(n->mem);
    engine_close(n->engine);
    wal_batch_free(n->batch);
    wal_close(n->wal);
}

/* What the child says is durable. */
struct durable {
    uint64_t last;
    uint32_t salvage_first, salvage_last;
};

static void report_durable(struct node *n, int fd)
{
    struct durable d = {n->last, n->salvage_first, n->salvage_last};
    if (write(fd, &d, sizeof(d)) != sizeof(d))
        _exit(3);
}

static void salvage_some(struct node *n)
{
    struct entry *e;
    char text[24];
    if (n->salvage_first == 0)
        n->salvage_first = 1;
    uint32_t number = ++n->salvage_last;
    snprintf(text, sizeof(text), "lost %u", number);
    assert_int_equal(entry_copy(n->last + 1, 3, 1, bytes_str(text), &e),
                     ERR_OK);
    assert_int_equal(
        wal_batch_salvage(n->batch, SHARD, number, number % 3 == 0, e), ERR_OK);
    assert_int_equal(wal_batch_truncate(n->batch, SHARD, n->last + 1), ERR_OK);
    entry_unref(e);
    if (number % 19 == 0) {
        n->salvage_first = number - 5;
        assert_int_equal(wal_batch_salvaged(n->batch, SHARD, number - 6),
                         ERR_OK);
    }
}

static void append_some(struct node *n, int fd)
{
    wal_batch_clear(n->batch);
    salvage_some(n);
    for (int i = 0; i < 3; i++) {
        struct entry *e = entry_at(++n->last);
        if (n->last == 1)
            wal_batch_hard_state(n->batch, SHARD, TERM, 1);
        assert_int_equal(wal_batch_entry(n->batch, SHARD, e), ERR_OK);
        assert_int_equal(memtable_apply(n->mem, e), ERR_OK);
        entry_unref(e);
    }
    if (wal_append(n->wal, n->batch) != ERR_OK)
        _exit(4);
    report_durable(n, fd);
}

static void flush(struct node *n)
{
    struct flush *f = flush_new(engine_flushed_lsn(n->engine), n->last, TERM);
    flush_collect(f, n->mem, SIZE_MAX);
    if (engine_flush(n->engine, f) != ERR_OK)
        _exit(5);
    engine_flush_done(n->engine, f);
    flush_free(f);
    memtable_trim(n->mem, n->last, SIZE_MAX);
    struct wal_keep keep = {SHARD, n->last + 1, n->salvage_first};
    if (wal_maintain(n->wal, &keep, 1) != ERR_OK)
        _exit(6);
}

/* The state at `lsn` as one chunk of a snapshot. */
static void encode_state(uint64_t lsn, struct buf *out)
{
    uint32_t count = 0;
    buf_append_u32_le(out, 0);
    for (unsigned k = 0; k < KEYS; k++) {
        char key[8], value[24];
        key_of(k, key);
        if (!expected_at(lsn, k, value))
            continue;
        count++;
        buf_append_u8(out, 1);
        buf_append_u16_le(out, (uint16_t)strlen(key));
        buf_append_u32_le(out, (uint32_t)strlen(value));
        buf_append_str(out, key);
        buf_append_str(out, value);
    }
    put_u32_le(out->data, count);
}

/* Receives and adopts the state of a leader that is far ahead. */
static void adopt(struct node *n, const char *dir, int fd)
{
    struct err_msg msg;
    struct ingest *g;
    struct buf chunk;
    char path[128];
    uint64_t lsn = n->last + 23;
    snprintf(path, sizeof(path), "%s/shard", dir);
    buf_init(&chunk, 1 << 16);
    encode_state(lsn, &chunk);
    if (ingest_begin(path, lsn, TERM, false, &g) != ERR_OK ||
        ingest_chunk(g, bytes_of(buf_bytes(&chunk), buf_len(&chunk))) !=
            ERR_OK ||
        ingest_finish(g) != ERR_OK)
        _exit(7);
    buf_free(&chunk);
    wal_batch_clear(n->batch);
    wal_batch_reset(n->batch, SHARD, lsn, TERM);
    if (wal_append(n->wal, n->batch) != ERR_OK)
        _exit(8);
    n->last = lsn;
    report_durable(n, fd);
    memtable_clear(n->mem);
    if (ingest_adopt(n->engine, lsn, TERM, &msg) != ERR_OK)
        _exit(9);
}

/* What the child does until it is killed or done. */
static void work(const char *dir, const char *faults, int fd)
{
    struct node n;
    start(&n, dir);
    if (fault_arm(faults, NULL) != ERR_OK)
        _exit(2);
    for (int step = 1; step <= STEPS; step++) {
        append_some(&n, fd);
        if (step % 7 == 0)
            flush(&n);
        if (step % 40 == 0)
            adopt(&n, dir, fd);
    }
    check_state(&n);
    stop(&n);
    _exit(0);
}

/* Runs the child; returns what it reported last, and how it ended. */
static struct durable run(const char *dir, const char *faults, int *status_out)
{
    int fds[2];
    struct durable durable = {0}, told;
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        work(dir, faults, fds[1]);
    }
    close(fds[1]);
    while (read(fds[0], &told, sizeof(told)) == sizeof(told))
        durable = told;
    close(fds[0]);
    assert_int_equal(waitpid(pid, status_out, 0), pid);
    return durable;
}

static bool was_killed(int status)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static void kill_at(const char *point, const char *action, unsigned hit)
{
    char dir[64], faults[64];
    int status;
    struct node n;
    scratch_make(dir);
    snprintf(faults, sizeof(faults), "%s=%s@%u", point, action, hit);
    struct durable durable = run(dir, faults, &status);
    if (!was_killed(status))
        fail_msg("%s: not killed, status %x", faults, (unsigned)status);
    start(&n, dir);
    if (n.last < durable.last)
        fail_msg("%s: %llu was durable, %llu is left", faults,
                 (unsigned long long)durable.last, (unsigned long long)n.last);
    /* A mark may be found that the child did not live to report. */
    bool newer = n.salvage_last > durable.salvage_last;
    if (n.salvage_last < durable.salvage_last ||
        (n.salvage_first > durable.salvage_first && !newer))
        fail_msg("%s: salvage %u to %u was durable, %u to %u is left", faults,
                 durable.salvage_first, durable.salvage_last, n.salvage_first,
                 n.salvage_last);
    stop(&n);
    /* And it goes on from there as if nothing had happened. */
    struct durable later = run(dir, NULL, &status);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_true(later.last > durable.last);
    start(&n, dir);
    assert_true(n.last >= later.last);
    assert_int_equal(n.salvage_last, later.salvage_last);
    stop(&n);
    scratch_remove(dir);
}

static void killed_at_log_points(void **state)
{
    (void)state;
    static const char *const points[] = {"log.append.before",
                                         "log.append.after", "log.sync.before",
                                         "log.sync.after"};
    for (size_t i = 0; i < 4; i++) {
        for (unsigned hit = 1; hit <= 80; hit += 17 + (unsigned)i)
            kill_at(points[i], "crash", hit);
    }
    for (unsigned hit = 1; hit <= 80; hit += 13)
        kill_at("log.append.before", "short", hit);
}

static void killed_at_segment_points(void **state)
{
    (void)state;
    static const char *const points[] = {
        "log.segment.before", "log.segment.after", "log.delete.before"};
    for (size_t i = 0; i < 3; i++) {
        for (unsigned hit = 1; hit <= 7; hit += 3)
            kill_at(points[i], "crash", hit);
    }
}

static void killed_at_flush_points(void **state)
{
    (void)state;
    static const char *const points[] = {
        "store.flush.before", "store.flush.after", "store.commit.before",
        "store.commit.after"};
    for (size_t i = 0; i < 4; i++) {
        for (unsigned hit = 1; hit <= 12; hit += 4)
            kill_at(points[i], "crash", hit);
    }
}

static void killed_at_snapshot_points(void **state)
{
    (void)state;
    static const char *const points[] = {"store.snapshot.write",
                                         "store.snapshot.adopt.before",
                                         "store.snapshot.adopt.after"};
    for (size_t i = 0; i < 3; i++) {
        for (unsigned hit = 1; hit <= 2; hit++)
            kill_at(points[i], "crash", hit);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_at_log_points),
        cmocka_unit_test(killed_at_segment_points),
        cmocka_unit_test(killed_at_flush_points),
        cmocka_unit_test(killed_at_snapshot_points),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
