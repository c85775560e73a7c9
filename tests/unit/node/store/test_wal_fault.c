/* A loss of power in the middle of an append loses no batch that was durable,
 * and leaves a log that opens; a flipped bit is found at the next start. */
#include "wal_test.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#define SMALL WAL_SEGMENT_BYTES_MIN
#define DURABLE 3
#define RUNS 30
#define CATCH_LIMIT_MS 10000

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
    scratch_remove(dir);
    return 0;
}

/* Appends one batch of one entry. */
static int append(struct wal *w, uint64_t lsn, size_t len)
{
    struct wal_batch *b = wal_batch_new(1 << 20);
    add_entry(b, NULL, 1, lsn, 1, len);
    int err = wal_append(w, b);
    wal_batch_free(b);
    return err;
}

static void *append_last(void *arg)
{
    (void)append(arg, DURABLE + 1, 40000);
    abort(); /* it must not come back */
}

/* In a process of its own: makes some batches durable, loses power during one
 * more, and dies. */
_Noreturn static void lose_power(uint64_t seed)
{
    struct flats found = {0};
    struct wal *w;
    struct prng prng;
    uint64_t torn = 0;
    pthread_t thread;
    prng_seed(&prng, seed);
    if (open_log(dir, SMALL, &found, &report, &msg, &w) != ERR_OK)
        _exit(1);
    for (uint64_t lsn = 1; lsn <= DURABLE; lsn++)
        if (append(w, lsn, 1000) != ERR_OK)
            _exit(2);
    wal_power_fails(w);
    if (pthread_create(&thread, NULL, append_last, w) != 0)
        _exit(3);
    for (int ms = 0; !wal_caught(w); ms++) {
        if (ms == CATCH_LIMIT_MS)
            _exit(4);
        usleep(1000);
    }
    if (wal_tear(w, &prng, &torn) != ERR_OK || torn < 40000)
        _exit(5);
    raise(SIGKILL);
    _exit(6);
}

static void a_loss_of_power_takes_only_what_was_not_synced(void **state)
{
    (void)state;
    int cut = 0;
    for (uint64_t seed = 1; seed <= RUNS; seed++) {
        setup(NULL);
        pid_t pid = fork();
        if (pid == 0)
            lose_power(seed);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFSIGNALED(status))
            fail_msg("seed %d: exit %d", (int)seed, WEXITSTATUS(status));
        assert_int_equal(WTERMSIG(status), SIGKILL);

        struct flats found = {0};
        struct wal *w;
        if (open_log(dir, SMALL, &found, &report, &msg, &w) != ERR_OK)
            fail_msg("seed %d: %s", (int)seed, msg.text);
        /* All pages of the last one may have made it, by chance. */
        assert_in_range(found.count, DURABLE, DURABLE + 1);
        for (size_t i = 0; i < found.count; i++)
            assert_int_equal(found.all[i].lsn, i + 1);
        assert_int_equal(append(w, found.count + 1, 10), ERR_OK);
        wal_close(w);
        flats_free(&found);
        cut += report.tail_cut;
        teardown(NULL);
    }
    setup(NULL);
    assert_in_range(cut, RUNS / 2, RUNS);
}

static void power_between_two_appends_loses_nothing(void **state)
{
    (void)state;
    struct flats found = {0};
    struct wal *w;
    struct prng prng = test_prng();
    uint64_t torn = 1;
    assert_int_equal(open_log(dir, SMALL, &found, &report, &msg, &w), ERR_OK);
    assert_int_equal(append(w, 1, 100), ERR_OK);
    wal_power_fails(w);
    assert_false(wal_caught(w));
    assert_int_equal(wal_tear(w, &prng, &torn), ERR_OK);
    assert_int_equal(torn, 0);
    wal_close(w);
    assert_int_equal(open_log(dir, SMALL, &found, &report, &msg, &w), ERR_OK);
    assert_int_equal(found.count, 1);
    wal_close(w);
    flats_free(&found);
}

/* Opening must fail and name the place. */
static void expect_found(const struct wal_flip *flip)
{
    struct flats found = {0};
    struct wal *w;
    assert_int_equal(open_log(dir, SMALL, &found, &report, &msg, &w),
                     ERR_CORRUPT);
    assert_non_null(strstr(msg.text, flip->file));
    flats_free(&found);
}

static void a_flipped_bit_is_found_at_the_next_start(void **state)
{
    (void)state;
    struct flats found = {0};
    struct wal *w;
    struct wal_flip flip;
    assert_int_equal(open_log(dir, SMALL, &found, &report, &msg, &w), ERR_OK);
    assert_int_equal(wal_flip_bit(w, &flip), ERR_NOT_FOUND);
    assert_int_equal(append(w, 1, 1000), ERR_OK);
    /* The only one would pass for a torn one. */
    assert_int_equal(wal_flip_bit(w, &flip), ERR_NOT_FOUND);
    assert_int_equal(append(w, 2, 1000), ERR_OK);
    assert_int_equal(wal_flip_bit(w, &flip), ERR_OK);
    assert_string_equal(flip.file, "0000000000000001.seg");
    wal_close(w);
    expect_found(&flip);
    flats_free(&found);
}

static void an_older_segment_is_preferred(void **state)
{
    (void)state;
    struct flats found = {0};
    struct wal *w;
    struct wal_flip flip;
    assert_int_equal(open_log(dir, SMALL, &found, &report, &msg, &w), ERR_OK);
    for (uint64_t lsn = 1; count_segments(dir) < 3; lsn++)
        assert_int_equal(append(w, lsn, 20000), ERR_OK);
    assert_int_equal(wal_flip_bit(w, &flip), ERR_OK);
    assert_string_equal(flip.file, "0000000000000002.seg");
    wal_close(w);
    expect_found(&flip);
    flats_free(&found);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_loss_of_power_takes_only_what_was_not_synced),
        TEST(power_between_two_appends_loses_nothing),
        TEST(a_flipped_bit_is_found_at_the_next_start),
        TEST(an_older_segment_is_preferred),
    };
    return cmocka_run_group_tests_name("wal_fault", tests, NULL, NULL);
}
