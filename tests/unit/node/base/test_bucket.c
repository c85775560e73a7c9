#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "node/base/bucket.h"

/* Takes pieces of `size` whenever it may, until `until`. Returns how much. */
static uint64_t take_all(struct bucket *b, uint64_t size, usec_t from,
                         usec_t until)
{
    uint64_t taken = 0;
    for (usec_t now = from; now < until;) {
        usec_t wait = bucket_wait(b, now);
        if (wait == 0) {
            bucket_take(b, size, now);
            taken += size;
        }
        now += wait;
    }
    return taken;
}

/* Whatever the size of the pieces: the rate, and no more than one piece and the
 * burst on top of it. */
static void the_rate_holds(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {1, 999, 65536, 262144, 9000000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct bucket b;
        bucket_init(&b, 1000000, 5);
        uint64_t taken = take_all(&b, sizes[i], 5, 5 + 20 * USEC_PER_SEC);
        uint64_t burst = 1000000 * BUCKET_BURST_US / USEC_PER_SEC;
        assert_true(taken >= 20000000 - sizes[i]);
        assert_true(taken <= 20000000 + burst + sizes[i]);
    }
}

static void a_pause_is_not_saved_up(void **state)
{
    (void)state;
    struct bucket b;
    bucket_init(&b, 1000000, 0);
    usec_t hour = 3600 * USEC_PER_SEC;
    uint64_t taken = take_all(&b, 1000, hour, hour + USEC_PER_SEC);
    assert_true(taken >= 1000000);
    assert_true(taken <=
                1000000 + 1000000 * BUCKET_BURST_US / USEC_PER_SEC + 1000);
}

static void without_a_rate_nothing_waits(void **state)
{
    (void)state;
    struct bucket b;
    bucket_init(&b, 0, 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(bucket_wait(&b, 0), 0);
        bucket_take(&b, 1 << 30, 0);
    }
}

static void a_new_rate_counts_at_once(void **state)
{
    (void)state;
    struct bucket b;
    bucket_init(&b, 1000, 0);
    bucket_take(&b, 1000000, 0); /* a debt of some 1000 s */
    assert_true(bucket_wait(&b, USEC_PER_SEC) > 900 * USEC_PER_SEC);
    bucket_set_rate(&b, 1000000, USEC_PER_SEC);
    usec_t wait = bucket_wait(&b, USEC_PER_SEC);
    assert_true(wait > 0 && wait <= USEC_PER_SEC);
    bucket_set_rate(&b, 0, USEC_PER_SEC);
    assert_int_equal(bucket_wait(&b, USEC_PER_SEC), 0);
    bucket_set_rate(&b, 1000, 2 * USEC_PER_SEC);
    assert_true(bucket_wait(&b, 2 * USEC_PER_SEC) < 1000 * USEC_PER_SEC);
}

static void the_highest_rate_does_not_overflow(void **state)
{
    (void)state;
    struct bucket b;
    bucket_init(&b, (uint64_t)INT32_MAX * 1024, 0);
    for (usec_t now = 0; now < USEC_PER_SEC; now += 1000) {
        bucket_take(&b, UINT32_MAX, now);
        assert_true(bucket_wait(&b, now) < 3 * USEC_PER_SEC);
    }
    assert_int_equal(bucket_wait(&b, INT64_MAX / 2), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rate_holds),
        cmocka_unit_test(a_pause_is_not_saved_up),
        cmocka_unit_test(without_a_rate_nothing_waits),
        cmocka_unit_test(a_new_rate_counts_at_once),
        cmocka_unit_test(the_highest_rate_does_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
