/* The delay line keeps order and bytes; losses and delays are within what was
 * asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "replication/impair.h"

static void bounds_depend_on_the_direction(void **state)
{
    (void)state;
    static const struct {
        struct impairment i;
        bool out, in;
    } rows[] = {
        {{.delay_us = 0}, true, true},
        {{.cut = true}, true, true},
        {{.delay_us = 1}, true, false},
        {{.loss_permille = 1}, true, false},
        {{.jitter_us = 1}, true, false},
        {{.delay_us = IMPAIR_DELAY_MAX_US}, true, false},
        {{.delay_us = IMPAIR_DELAY_MAX_US + 1}, false, false},
        {{.jitter_us = IMPAIR_JITTER_MAX_US + 1}, false, false},
        {{.loss_permille = 1001}, false, false},
    };
    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        assert_int_equal(impairment_ok(IMPAIR_OUT, &rows[k].i), rows[k].out);
        assert_int_equal(impairment_ok(IMPAIR_IN, &rows[k].i), rows[k].in);
        assert_int_equal(impairment_none(&rows[k].i), k == 0);
    }
}

static void draws_are_what_was_asked_for(void **state)
{
    (void)state;
    struct prng prng;
    prng_seed(&prng, 1);
    struct impairment i = {
        .delay_us = 100, .jitter_us = 10, .loss_permille = 250};
    unsigned lost = 0, lowest = 0, highest = 0;
    for (int k = 0; k < 10000; k++) {
        usec_t due = impairment_due(&i, 1000, &prng);
        assert_true(due >= 1100 && due <= 1110);
        lowest += due == 1100;
        highest += due == 1110;
        lost += impairment_loses(&i, &prng);
    }
    assert_true(lowest > 500 && highest > 500);
    assert_true(lost > 2300 && lost < 2700);
    i.loss_permille = 1000;
    assert_true(impairment_loses(&i, &prng));
    i.loss_permille = 0;
    assert_false(impairment_loses(&i, &prng));
}

static void put(struct delay_line *d, usec_t due, const char *text)
{
    assert_int_equal(delay_line_put(d, due, text, strlen(text)), ERR_OK);
}

#define DUE(d, now, text)                                                      \
    assert_true(bytes_equal(delay_line_due(d, now), bytes_str(text)))

static void frames_leave_when_due_and_in_order(void **state)
{
    (void)state;
    struct delay_line d;
    delay_line_init(&d, 100);
    assert_true(delay_line_next(&d) == USEC_NEVER);
    put(&d, 1000, "a");
    put(&d, 1049, "b"); /* near enough to be one with the first */
    put(&d, 2000, "cc");
    put(&d, 1500, "d"); /* never before those that came earlier */
    assert_true(delay_line_next(&d) == 1000);
    DUE(&d, 999, "");
    DUE(&d, 1000, "ab");
    DUE(&d, 2000, "abccd");
    delay_line_take(&d, 1);
    DUE(&d, 1000, "b");
    delay_line_take(&d, 1);
    assert_true(delay_line_next(&d) == 2000);
    DUE(&d, 1999, "");
    assert_true(bytes_equal(delay_line_all(&d), bytes_str("ccd")));
    delay_line_take(&d, 3);
    assert_int_equal(delay_line_len(&d), 0);
    assert_true(delay_line_next(&d) == USEC_NEVER);
    delay_line_free(&d);
}

static void the_line_is_bounded(void **state)
{
    (void)state;
    struct delay_line d;
    delay_line_init(&d, 10);
    put(&d, 1, "12345678");
    assert_int_equal(delay_line_put(&d, 2, "abc", 3), ERR_LIMIT);
    assert_int_equal(delay_line_len(&d), 8);
    put(&d, 2, "ab");
    DUE(&d, 2, "12345678ab");
    delay_line_free(&d);
    /* More runs than fit become one, which leaves with its last. */
    delay_line_init(&d, 2 * DELAY_RUNS_MAX);
    for (usec_t k = 0; k < DELAY_RUNS_MAX + 5; k++)
        put(&d, k * 1000, "x");
    usec_t last = (DELAY_RUNS_MAX + 4) * (usec_t)1000;
    assert_int_equal(delay_line_due(&d, last - 1).len, DELAY_RUNS_MAX - 1);
    assert_int_equal(delay_line_due(&d, last).len, DELAY_RUNS_MAX + 5);
    delay_line_free(&d);
}

/* Against a list of single bytes, each with its time. */
static void random_histories_match_a_model(void **state)
{
    (void)state;
    struct prng prng;
    prng_seed(&prng, 7);
    for (int life = 0; life < 50; life++) {
        struct delay_line d;
        delay_line_init(&d, 5000);
        static struct {
            uint8_t byte;
            usec_t due;
        } model[20000];
        size_t first = 0, n = 0;
        usec_t now = 0, last_due = 0;
        for (int k = 0; k < 500; k++) {
            now += (usec_t)prng_below(&prng, 100);
            if (prng_one_in(&prng, 2)) {
                uint8_t bytes[16];
                size_t len = prng_below(&prng, sizeof(bytes));
                usec_t due = now + (usec_t)prng_below(&prng, 300);
                if (due < last_due)
                    due = last_due;
                for (size_t b = 0; b < len; b++) {
                    bytes[b] = (uint8_t)prng_u64(&prng);
                    model[n + b].byte = bytes[b];
                    model[n + b].due = due;
                }
                assert_int_equal(delay_line_put(&d, due, bytes, len), ERR_OK);
                n += len;
                if (len > 0)
                    last_due = due;
            }
            struct bytes due = delay_line_due(&d, now);
            for (size_t b = 0; b < due.len; b++) {
                assert_int_equal(due.data[b], model[first + b].byte);
                assert_true(model[first + b].due < now + DELAY_RUN_US);
            }
            /* Nothing that is due stays behind. */
            assert_true(first + due.len == n ||
                        model[first + due.len].due > now);
            size_t take = prng_below(&prng, due.len + 1);
            delay_line_take(&d, take);
            first += take;
        }
        assert_int_equal(delay_line_len(&d), n - first);
        delay_line_free(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_depend_on_the_direction),
        cmocka_unit_test(draws_are_what_was_asked_for),
        cmocka_unit_test(frames_leave_when_due_and_in_order),
        cmocka_unit_test(the_line_is_bounded),
        cmocka_unit_test(random_histories_match_a_model),
    };
    return cmocka_run_group_tests_name("impair", tests, NULL, NULL);
}
