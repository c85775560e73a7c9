/* What was acknowledged is replayed, and nothing else; damage never passes. */
#include "wal_test.h"

#include <pthread.h>
#include <stdatomic.h>

#define SMALL WAL_SEGMENT_BYTES_MIN

static char dir[64];
static struct wal_report report;
static struct err_msg msg;

static int setup(void **state)
{
    (void)state;
    scratch_make(dir);
    memset(&report, 0, sizeof(report));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fault_arm(NULL, NULL);
    scratch_remove(dir);
    return 0;
}

static struct wal *must_open(struct flats *found)
{
    struct wal *w;
    int code = open_log(dir, SMALL, found, &report, &msg, &w);
    if (code != ERR_OK)
        fail_msg("%s: %s", err_name(code), msg.text);
    return w;
}

/* Recovers and compares with exactly the first `count` of what was written. */
static void expect_written(const struct flats *written, size_t count)
{
    struct flats found = {0};
    struct wal *w = must_open(&found);
    assert_int_equal(found.count, count);
    for (size_t i = 0; i < count; i++)
        assert_true(flat_equal(&found.all[i], &written->all[i]));
    wal_close(w);
    flats_free(&found);
}

static void must_append(struct wal *w, struct wal_batch *b)
{
    assert_int_equal(wal_append(w, b), ERR_OK);
    wal_batch_clear(b);
}

static void every_kind_of_record_comes_back_in_order(void **state)
{
    (void)state;
    struct flats found = {0}, written = {0};
    struct wal *w = must_open(&found);
    struct wal_batch *b = wal_batch_new(1 << 20);
    assert_int_equal(found.count, 0);
    assert_false(report.tail_cut);
    add_hard_state(b, &written, 1, 0x100000002, 7);
    add_entry(b, &written, 1, 1, 0x100000002, 0);
    add_entry(b, &written, 2, 1, 5, 1);
    must_append(w, b);
    assert_int_equal(wal_batch_truncate(b, 2, 1), ERR_OK);
    flats_add(&written,
              (struct flat){.type = WAL_TRUNCATE, .shard = 2, .lsn = 1});
    add_entry(b, &written, 2, 1, 6, 1000);
    assert_int_equal(wal_batch_reset(b, 3, 900, 4), ERR_OK);
    flats_add(
        &written,
        (struct flat){.type = WAL_RESET, .shard = 3, .lsn = 900, .term = 4});
    add_entry(b, &written, 3, 901, 4, 33);
    add_commit(b, &written, 3, 901);
    add_salvage(b, &written, 2, 1, 1, 5, 1);
    add_salvage(b, &written, 2, 2, 2, 5, 40);
    add_salvaged(b, &written, 2, 1);
    must_append(w, b);
    wal_close(w);
    expect_written(&written, written.count);
    assert_int_equal(report.batches, 2);
    assert_int_equal(report.records, written.count);
    wal_batch_free(b);
    flats_free(&written);
}

static void count_found(void *user, const struct wal_found *f)
{
    struct wal_found *sums = user;
    assert_true(f->shard < 4);
    sums[f->shard] = *f;
}

/* Also what is void: a truncated entry is on the disk until its segment goes.
 */
static void all_that_is_in_the_files_is_found(void **state)
{
    (void)state;
    struct wal_found sums[4] = {0};
    struct flats found = {0}, written = {0};
    struct wal *w = must_open(&found);
    struct wal_batch *b = wal_batch_new(1 << 20);
    add_hard_state(b, &written, 3, 1, 1);
    add_entry(b, &written, 1, 1, 1, 100);
    add_entry(b, &written, 1, 2, 1, 100);
    add_salvage(b, &written, 2, 1, 9, 5, 40);
    must_append(w, b);
    assert_int_equal(wal_batch_truncate(b, 1, 1), ERR_OK);
    must_append(w, b);
    assert_int_equal(wal_inspect(dir, 0, count_found, sums), ERR_OK);
    assert_int_equal(sums[1].entries, 2);
    assert_int_equal(sums[1].last_lsn, 2);
    assert_int_equal(sums[2].entries, 1);
    assert_int_equal(sums[2].last_lsn, 9);
    assert_int_equal(sums[3].entries, 0);
    wal_close(w);
    wal_batch_free(b);
    flats_free(&written);
    flats_free(&found);
    assert_int_equal(wal_inspect("/nowhere", 0, count_found, sums),
                     ERR_NOT_FOUND);
}

/* Appends batches of random size until there are `segments` of them. */
static void write_much(struct flats *written, size_t *batch_ends,
                       size_t *batches_out, int segments)
{
    struct prng p = test_prng();
    struct flats found = {0};
    struct wal *w = must_open(&found);
    struct wal_batch *b = wal_batch_new(1 << 20);
    uint64_t lsn[3] = {0};
    size_t batches = 0;
    while (count_segments(dir) < segments) {
        uint64_t records = prng_range(&p, 1, 8);
        for (uint64_t i = 0; i < records; i++) {
            uint32_t shard = (uint32_t)prng_below(&p, 3);
            add_entry(b, written, shard, ++lsn[shard], 1, prng_below(&p, 2000));
        }
        add_commit(b, written, 0, lsn[0]);
        must_append(w, b);
        batch_ends[batches++] = written->count;
    }
    wal_close(w);
    wal_batch_free(b);
    flats_free(&found);
    *batches_out = batches;
}

static void a_log_goes_on_through_many_segments(void **state)
{
    (void)state;
    struct flats written = {0};
    size_t ends[2000], batches;
    write_much(&written, ends, &batches, 5);
    expect_written(&written, written.count);
    assert_int_equal(report.segments, 5);
    assert_int_equal(report.batches, batches);
    flats_free(&written);
}

static void a_batch_larger_than_a_segment_gets_a_segment(void **state)
{
    (void)state;
    struct flats found = {0}, written = {0};
    struct wal *w = must_open(&found);
    struct wal_batch *b = wal_batch_new(WAL_BATCH_BYTES_MAX);
    for (uint64_t lsn = 1; lsn <= 3; lsn++) {
        add_entry(b, &written, 1, lsn, 1, 1000000);
        must_append(w, b);
    }
    wal_close(w);
    expect_written(&written, written.count);
    wal_batch_free(b);
    flats_free(&written);
}

static void a_full_batch_refuses_and_stays_as_it_was(void **state)
{
    (void)state;
    struct wal_batch *b = wal_batch_new(1000);
    struct entry *e;
    assert_int_equal(entry_new(1, 1, 1, 2000, &e), 0);
    memset(e->data, 0, e->len);
    add_commit(b, NULL, 1, 1);
    size_t bytes = wal_batch_bytes(b);
    assert_int_equal(wal_batch_entry(b, 1, e), ERR_LIMIT);
    assert_int_equal(wal_batch_bytes(b), bytes);
    entry_unref(e);
    wal_batch_free(b);
}

/* -- damage -- */

static uint8_t *slurp(const char *path, size_t *len_out)
{
    FILE *f = fopen(path, "rb");
    fseek(f, 0, SEEK_END);
    size_t len = (size_t)ftell(f);
    rewind(f);
    uint8_t *data = mem_alloc(len);
    assert_int_equal(fread(data, 1, len, f), len);
    fclose(f);
    *len_out = len;
    return data;
}

static void spit(const char *path, const uint8_t *data, size_t len)
{
    FILE *f = fopen(path, "wb");
    assert_int_equal(fwrite(data, 1, len, f), len);
    fclose(f);
}

static size_t used(const uint8_t *data, size_t len)
{
    while (len > 0 && data[len - 1] == 0)
        len--;
    return len;
}

static void small_log(struct flats *written, size_t *last_batch)
{
    struct flats found = {0};
    struct wal *w = must_open(&found);
    struct wal_batch *b = wal_batch_new(1 << 20);
    for (uint64_t lsn = 1; lsn <= 6; lsn++) {
        *last_batch = written->count;
        add_hard_state(b, written, 1, lsn, 2);
        add_entry(b, written, 1, lsn, lsn, 10 * lsn);
        must_append(w, b);
    }
    wal_close(w);
    wal_batch_free(b);
}

static void a_tail_torn_at_any_byte_is_cut_and_reported(void **state)
{
    (void)state;
    struct flats written = {0};
    size_t last, len;
    char path[128];
    small_log(&written, &last);
    segment_path(dir, 1, path);
    uint8_t *data = slurp(path, &len), *copy = mem_alloc(len);
    size_t end = used(data, len), begin = end;
    while (get_u32_le(data + begin) != 0x54414242u)
        begin--;
    for (int shorten = 0; shorten < 2; shorten++) {
        for (size_t at = begin; at < end; at++) {
            memcpy(copy, data, at);
            memset(copy + at, 0, len - at);
            spit(path, copy, shorten ? at : len);
            expect_written(&written, last);
            assert_int_equal(report.tail_cut, shorten || at > begin);
            if (report.tail_cut) {
                assert_int_equal(report.tail_offset, begin);
                assert_string_equal(report.tail_file, "0000000000000001.seg");
            }
            expect_written(&written, last); /* and it is clean now */
            assert_false(report.tail_cut);
        }
    }
    mem_free(copy);
    mem_free(data);
    flats_free(&written);
}

static void appending_goes_on_after_a_cut(void **state)
{
    (void)state;
    struct flats written = {0}, found = {0};
    size_t last, len;
    char path[128];
    small_log(&written, &last);
    segment_path(dir, 1, path);
    uint8_t *data = slurp(path, &len);
    data[used(data, len) - 1] ^= 0x40;
    spit(path, data, len);
    struct wal *w = must_open(&found);
    assert_true(report.tail_cut);
    struct wal_batch *b = wal_batch_new(1 << 20);
    written.count = last;
    add_entry(b, &written, 1, 6, 99, 500);
    must_append(w, b);
    wal_close(w);
    expect_written(&written, written.count);
    assert_false(report.tail_cut);
    wal_batch_free(b);
    mem_free(data);
    flats_free(&found);
    flats_free(&written);
}

/* Recovers with damage: everything, or a reported cut at a batch boundary, or
 * ERR_CORRUPT that names file and offset. Returns the code. */
static int recover_damaged(const struct flats *written, const size_t *ends,
                           size_t batches)
{
    struct flats found = {0};
    struct wal *w;
    int code = open_log(dir, SMALL, &found, &report, &msg, &w);
    if (code != ERR_OK) {
        assert_int_equal(code, ERR_CORRUPT);
        assert_non_null(strstr(msg.text, ".seg, offset "));
        flats_free(&found);
        return code;
    }
    wal_close(w);
    assert_true(found.count <= written->count);
    for (size_t i = 0; i < found.count; i++)
        assert_true(flat_equal(&found.all[i], &written->all[i]));
    if (found.count < written->count) {
        assert_true(report.tail_cut);
        bool boundary = false;
        for (size_t i = 0; i < batches; i++)
            boundary = boundary || ends[i] == found.count;
        assert_true(boundary || found.count == 0);
    }
    flats_free(&found);
    return code;
}

static void any_flipped_bit_is_cut_or_refused(void **state)
{
    (void)state;
    struct prng p = test_prng();
    struct flats written = {0};
    size_t last, len, ends[6];
    char path[128];
    small_log(&written, &last);
    for (size_t i = 0; i < 6; i++)
        ends[i] = 2 * (i + 1);
    segment_path(dir, 1, path);
    uint8_t *data = slurp(path, &len);
    size_t end = used(data, len), refused = 0, cut = 0;
    for (size_t at = 0; at < end + 64; at++) {
        uint8_t bit = (uint8_t)(1u << prng_below(&p, 8));
        data[at] ^= bit;
        spit(path, data, len);
        data[at] ^= bit;
        int code = recover_damaged(&written, ends, 6);
        refused += code == ERR_CORRUPT;
        cut += code == ERR_OK && report.tail_cut;
        assert_true(code == ERR_CORRUPT || report.tail_cut);
    }
    assert_true(refused > 4096 && cut > 64);
    mem_free(data);
    flats_free(&written);
}

static void flips_in_many_segments_are_cut_or_refused(void **state)
{
    (void)state;
    struct prng p = test_prng();
    struct flats written = {0};
    size_t ends[2000], batches, refused = 0;
    write_much(&written, ends, &batches, 3);
    for (int round = 0; round < 400; round++) {
        char path[128];
        size_t len;
        unsigned number = (unsigned)prng_range(&p, 1, 3);
        segment_path(dir, number, path);
        uint8_t *data = slurp(path, &len);
        size_t at = prng_below(&p, len);
        uint8_t bit = (uint8_t)(1u << prng_below(&p, 8));
        data[at] ^= bit;
        spit(path, data, len);
        int code = recover_damaged(&written, ends, batches);
        refused += code == ERR_CORRUPT;
        /* Not in the last segment: it cannot be the tail. */
        if (number < 3)
            assert_int_equal(code, ERR_CORRUPT);
        data[at] ^= bit;
        spit(path, data, len);
        mem_free(data);
    }
    assert_true(refused > 200);
    flats_free(&written);
}

static void a_missing_segment_is_noticed(void **state)
{
    (void)state;
    struct flats written = {0};
    size_t ends[2000], batches;
    char path[128];
    write_much(&written, ends, &batches, 4);
    segment_path(dir, 2, path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(recover_damaged(&written, ends, batches), ERR_CORRUPT);
    flats_free(&written);
}

static void another_nodes_log_is_refused(void **state)
{
    (void)state;
    struct flats written = {0};
    size_t last;
    small_log(&written, &last);
    struct wal_options options = {dir, "cluster-1", "eu-2", SMALL};
    struct flats found = {0};
    struct wal *w;
    assert_int_equal(
        wal_open(&options, flats_replay, &found, &report, &msg, &w),
        ERR_IDENTITY);
    assert_non_null(strstr(msg.text, "eu-1"));
    assert_non_null(strstr(msg.text, "eu-2"));
    assert_int_equal(found.count, 0);
    flats_free(&written);
}

/* -- failed appends -- */

static void a_failed_append_is_void_once_the_next_succeeds(void **state)
{
    (void)state;
    static const char *const points[] = {"log.append.before",
                                         "log.append.after", "log.sync.before",
                                         "log.sync.after"};
    struct flats written = {0}, found = {0};
    struct wal *w = must_open(&found);
    struct wal_batch *b = wal_batch_new(1 << 20);
    struct wal_stats stats;
    uint64_t lsn = 0;
    for (int round = 0; round < 24; round++) {
        add_entry(b, &written, 1, ++lsn, 1, 300);
        must_append(w, b);
        char spec[64];
        snprintf(spec, sizeof(spec), "%s=%s", points[round % 4],
                 round % 3 == 0 ? "enospc" : "eio");
        assert_int_equal(fault_arm(spec, NULL), 0);
        /* Once, twice or three times in a row. */
        for (int i = 0; i <= round % 3; i++) {
            add_entry(b, NULL, 1, lsn + 1, 666, 200);
            assert_int_equal(wal_append(w, b),
                             round % 3 == 0 ? ERR_NO_SPACE : ERR_IO);
            wal_batch_clear(b);
        }
        wal_stats(w, &stats);
        assert_true(stats.failed);
        fault_arm(NULL, NULL);
    }
    add_entry(b, &written, 1, ++lsn, 1, 300);
    must_append(w, b);
    wal_stats(w, &stats);
    assert_false(stats.failed);
    wal_close(w);
    expect_written(&written, written.count);
    assert_false(report.tail_cut);
    wal_batch_free(b);
    flats_free(&written);
}

#define FAILED_MAX 64

/* The batches that failed since the last success: a restart may find one. */
struct failures {
    struct flats batches[FAILED_MAX];
    size_t count;
};

static void forget_failures(struct failures *f)
{
    for (size_t i = 0; i < f->count; i++)
        flats_free(&f->batches[i]);
    f->count = 0;
}

/* Moves what was written from `from` on to the failures. */
static void note_failure(struct failures *f, struct flats *written, size_t from)
{
    assert_true(f->count < FAILED_MAX);
    for (size_t i = from; i < written->count; i++)
        flats_add(&f->batches[f->count], written->all[i]);
    f->count++;
    written->count = from;
}

static bool ends_with(const struct flats *found, size_t from,
                      const struct flats *end)
{
    if (found->count != from + end->count)
        return false;
    for (size_t i = 0; i < end->count; i++) {
        if (!flat_equal(&found->all[from + i], &end->all[i]))
            return false;
    }
    return true;
}

/* After a restart the log holds what was acknowledged, and perhaps one whole
 * batch of those that failed since: that one counts as written now. */
static void settle(const struct flats *found, struct flats *written,
                   struct failures *failures)
{
    size_t acknowledged = written->count;
    for (size_t i = 0; i < failures->count; i++) {
        if (found->count > acknowledged &&
            ends_with(found, acknowledged, &failures->batches[i])) {
            for (size_t k = 0; k < failures->batches[i].count; k++)
                flats_add(written, failures->batches[i].all[k]);
            break;
        }
    }
    assert_int_equal(found->count, written->count);
    for (size_t i = 0; i < found->count; i++)
        assert_true(flat_equal(&found->all[i], &written->all[i]));
    forget_failures(failures);
}

/* Faults at random, several in a row, and restarts at random. */
static void random_failures_and_restarts(void **state)
{
    (void)state;
    static const char *const faults[] = {
        "log.append.before=eio",     "log.append.after=eio",
        "log.sync.before=enospc",    "log.sync.after=eio",
        "log.segment.before=enospc", "log.segment.after=eio"};
    struct prng p = test_prng();
    struct flats written = {0}, found = {0};
    struct failures failures = {0};
    struct wal *w = must_open(&found);
    struct wal_batch *b = wal_batch_new(1 << 20);
    for (uint64_t step = 1; step <= 1200; step++) {
        fault_arm(prng_one_in(&p, 4) ? faults[prng_below(&p, 6)] : NULL, NULL);
        size_t before = written.count;
        wal_batch_clear(b);
        for (uint64_t i = prng_range(&p, 1, 4); i > 0; i--)
            add_entry(b, &written, 1, i, step, prng_below(&p, 4000));
        add_hard_state(b, &written, 1, step, 1);
        if (wal_append(w, b) == ERR_OK)
            forget_failures(&failures);
        else
            note_failure(&failures, &written, before);
        if (prng_one_in(&p, 3))
            wal_maintain(w, NULL, 0);
        fault_arm(NULL, NULL);
        if (!prng_one_in(&p, 15))
            continue;
        wal_close(w);
        found.count = 0;
        w = must_open(&found);
        settle(&found, &written, &failures);
    }
    assert_true(written.count > 1000);
    wal_close(w);
    wal_batch_free(b);
    forget_failures(&failures);
    flats_free(&written);
    flats_free(&found);
}

static void no_room_for_a_segment_is_a_clean_error(void **state)
{
    (void)state;
    struct flats written = {0}, found = {0};
    struct wal *w = must_open(&found);
    struct wal_batch *b = wal_batch_new(1 << 20);
    uint64_t lsn = 0;
    int refused = 0;
    assert_int_equal(fault_arm("log.segment.before=enospc", NULL), 0);
    for (int i = 0; i < 30; i++) {
        add_entry(b, NULL, 1, lsn + 1, 1, 5000);
        int code = wal_append(w, b);
        wal_batch_clear(b);
        if (code == ERR_OK) {
            lsn++;
            add_entry(b, &written, 1, lsn, 1, 5000);
            wal_batch_clear(b);
            assert_int_equal(refused, 0);
            continue;
        }
        assert_int_equal(code, ERR_NO_SPACE);
        refused++;
    }
    assert_true(refused > 10);
    assert_int_equal(wal_maintain(w, NULL, 0), ERR_NO_SPACE);
    fault_arm(NULL, NULL);
    add_entry(b, &written, 1, lsn + 1, 1, 5000);
    must_append(w, b);
    wal_close(w);
    expect_written(&written, written.count);
    wal_batch_free(b);
    flats_free(&written);
}

/* -- deletion -- */

static void old_segments_go_and_state_stays(void **state)
{
    (void)state;
    struct flats found = {0};
    struct wal *w = must_open(&found);
    struct wal_batch *b = wal_batch_new(1 << 20);
    struct wal_stats stats;
    add_hard_state(b, NULL, 1, 5, 2);
    assert_int_equal(wal_batch_reset(b, 9, 77, 3), ERR_OK);
    add_commit(b, NULL, 9, 78);
    must_append(w, b);
    uint64_t lsn = 0;
    while (count_segments(dir) < 6) {
        add_entry(b, NULL, 1, ++lsn, 5, 3000);
        if (lsn == 1)
            add_entry(b, NULL, 2, 1, 1, 10);
        must_append(w, b);
    }
    struct wal_keep keep[] = {{1, lsn, 1}, {2, 1, 1}};
    assert_int_equal(wal_maintain(w, keep, 2), ERR_OK);
    wal_stats(w, &stats);
    assert_true(stats.oldest_pinned);
    assert_int_equal(stats.oldest_pinned_shard, 2);
    assert_int_equal(stats.oldest_pinned_lsn, 1);
    assert_int_equal(stats.segments, 6);
    keep[1].keep_from = 2;
    assert_int_equal(wal_maintain(w, keep, 2), ERR_OK);
    wal_stats(w, &stats);
    assert_int_equal(stats.segments, 1);
    assert_int_equal(count_segments(dir), 1);
    wal_close(w);
    w = must_open(&found);
    bool hard = false, reset = false, commit = false;
    uint64_t last = 0;
    for (size_t i = 0; i < found.count; i++) {
        const struct flat *f = &found.all[i];
        hard = hard || (f->type == WAL_HARD_STATE && f->shard == 1 &&
                        f->term == 5 && f->vote == 2);
        reset = reset || (f->type == WAL_RESET && f->shard == 9 &&
                          f->lsn == 77 && f->term == 3);
        commit =
            commit || (f->type == WAL_COMMIT && f->shard == 9 && f->lsn == 78);
        if (f->type == WAL_ENTRY)
            last = f->lsn;
    }
    assert_true(hard && reset && commit);
    assert_int_equal(last, lsn);
    wal_close(w);
    wal_batch_free(b);
    flats_free(&found);
}

static void what_was_truncated_or_reset_pins_nothing(void **state)
{
    (void)state;
    struct flats found = {0};
    struct wal *w = must_open(&found);
    struct wal_batch *b = wal_batch_new(1 << 20);
    struct wal_stats stats;
    for (uint64_t lsn = 1; count_segments(dir) < 4; lsn++) {
        add_entry(b, NULL, 1, lsn, 1, 3000);
        add_entry(b, NULL, 2, lsn, 1, 3000);
        must_append(w, b);
    }
    assert_int_equal(wal_batch_truncate(b, 1, 3), ERR_OK);
    assert_int_equal(wal_batch_reset(b, 2, 1000, 2), ERR_OK);
    must_append(w, b);
    struct wal_keep keep[] = {{1, 3, 1}, {2, 1001, 1}};
    assert_int_equal(wal_maintain(w, keep, 2), ERR_OK);
    wal_stats(w, &stats);
    assert_int_equal(stats.segments, 1);
    wal_close(w);
    wal_close(must_open(&found));
    wal_batch_free(b);
    flats_free(&found);
}

static void salvage_pins_its_segment_until_it_is_delivered(void **state)
{
    (void)state;
    struct flats found = {0};
    struct wal *w = must_open(&found);
    struct wal_batch *b = wal_batch_new(1 << 20);
    struct wal_stats stats;
    for (uint64_t lsn = 1; count_segments(dir) < 4; lsn++) {
        if (lsn == 1) /* its entry is gone in the same batch */
            add_salvage(b, NULL, 2, 1, 77, 3, 500);
        add_entry(b, NULL, 1, lsn, 1, 3000);
        must_append(w, b);
    }
    assert_int_equal(wal_batch_reset(b, 2, 1000, 2), ERR_OK);
    must_append(w, b);
    struct wal_keep keep[] = {{1, 100000, 1}, {2, 1001, 1}};
    assert_int_equal(wal_maintain(w, keep, 2), ERR_OK);
    wal_stats(w, &stats);
    assert_int_equal(stats.segments, 4);
    assert_true(stats.oldest_pinned);
    assert_int_equal(stats.oldest_pinned_shard, 2);
    /* A restart knows it, too. */
    wal_close(w);
    w = must_open(&found);
    assert_int_equal(wal_maintain(w, keep, 2), ERR_OK);
    wal_stats(w, &stats);
    assert_int_equal(stats.segments, 4);
    add_salvaged(b, NULL, 2, 1);
    must_append(w, b);
    keep[1].salvage_from = 2;
    assert_int_equal(wal_maintain(w, keep, 2), ERR_OK);
    wal_stats(w, &stats);
    assert_int_equal(stats.segments, 1);
    wal_close(w);
    wal_close(must_open(&found));
    wal_batch_free(b);
    flats_free(&found);
}

/* Salvage and truncation are one batch: a torn one leaves the entry in the log,
 * and not the salvage. */
static void a_torn_salvage_leaves_the_entries(void **state)
{
    (void)state;
    struct flats found = {0}, written = {0};
    struct wal *w = must_open(&found);
    struct wal_batch *b = wal_batch_new(1 << 20);
    add_entry(b, &written, 1, 1, 5, 700);
    must_append(w, b);
    add_salvage(b, NULL, 1, 1, 1, 5, 700);
    assert_int_equal(wal_batch_truncate(b, 1, 1), ERR_OK);
    add_entry(b, NULL, 1, 1, 6, 100);
    must_append(w, b);
    wal_close(w);
    char path[128];
    segment_path(dir, 1, path);
    int fd = open(path, O_WRONLY);
    static const uint8_t zeros[64];
    /* Header, first batch, then somewhere in the second. */
    off_t at = 4096 + 24 + 32 + 704 + 24 + 32 + 300;
    assert_int_equal(pwrite(fd, zeros, sizeof(zeros), at), sizeof(zeros));
    close(fd);
    expect_written(&written, written.count);
    assert_true(report.tail_cut);
    wal_batch_free(b);
    flats_free(&found);
    flats_free(&written);
}

/* -- two threads -- */

struct keeper {
    struct wal *w;
    atomic_bool stop;
    atomic_ullong durable;
};

static void *keep_house(void *arg)
{
    struct keeper *k = arg;
    while (!atomic_load(&k->stop)) {
        struct wal_keep keep = {1, atomic_load(&k->durable), 1};
        if (wal_maintain(k->w, &keep, 1) != ERR_OK)
            break;
        usleep(500);
    }
    return NULL;
}

static void maintenance_may_run_beside_appending(void **state)
{
    (void)state;
    struct flats found = {0};
    struct keeper k = {.w = must_open(&found)};
    struct wal_batch *b = wal_batch_new(1 << 20);
    pthread_t thread;
    uint64_t lsn = 0;
    assert_int_equal(pthread_create(&thread, NULL, keep_house, &k), 0);
    for (int i = 0; i < 400; i++) {
        add_entry(b, NULL, 1, ++lsn, 1, 3000);
        must_append(k.w, b);
        atomic_store(&k.durable, lsn);
    }
    atomic_store(&k.stop, true);
    pthread_join(thread, NULL);
    wal_close(k.w);
    struct wal *w = must_open(&found);
    uint64_t expected = 0;
    for (size_t i = 0; i < found.count; i++) {
        if (expected != 0)
            assert_int_equal(found.all[i].lsn, expected);
        expected = found.all[i].lsn + 1;
    }
    assert_int_equal(expected, lsn + 1);
    wal_close(w);
    wal_batch_free(b);
    flats_free(&found);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_kind_of_record_comes_back_in_order),
        TEST(all_that_is_in_the_files_is_found),
        TEST(a_log_goes_on_through_many_segments),
        TEST(a_batch_larger_than_a_segment_gets_a_segment),
        TEST(a_full_batch_refuses_and_stays_as_it_was),
        TEST(a_tail_torn_at_any_byte_is_cut_and_reported),
        TEST(appending_goes_on_after_a_cut),
        TEST(any_flipped_bit_is_cut_or_refused),
        TEST(flips_in_many_segments_are_cut_or_refused),
        TEST(a_missing_segment_is_noticed),
        TEST(another_nodes_log_is_refused),
        TEST(a_failed_append_is_void_once_the_next_succeeds),
        TEST(random_failures_and_restarts),
        TEST(no_room_for_a_segment_is_a_clean_error),
        TEST(old_segments_go_and_state_stays),
        TEST(what_was_truncated_or_reset_pins_nothing),
        TEST(salvage_pins_its_segment_until_it_is_delivered),
        TEST(a_torn_salvage_leaves_the_entries),
        TEST(maintenance_may_run_beside_appending),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
