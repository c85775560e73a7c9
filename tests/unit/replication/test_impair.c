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
        {{.duplicate_permille = 1000}, true, false},
        {{.duplicate_permille = 1001}, false, false},
        {{.kbit_per_second = 1}, true, false},
        {{.close_delay_us = 1}, false, true},
        {{.close_delay_us = IMPAIR_DELAY_MAX_US + 1}, false, false},
        {{.handshake_permille = 1000}, false, true},
        {{.handshake_permille = 1001}, false, false},
        {{.certificate = IMPAIR_CERT_EXPIRED}, false, true},
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
    struct impairment i = {.delay_us = 100,
                           .jitter_us = 10,
                           .loss_permille = 250,
                           .duplicate_permille = 500,
                           .handshake_permille = 750};
    unsigned lost = 0, twice = 0, failed = 0;
    for (int k = 0; k < 10000; k++) {
        lost += impairment_loses(&i, &prng);
        twice += impairment_duplicates(&i, &prng);
        failed += impairment_fails_handshake(&i, &prng);
    }
    assert_in_range(lost, 2300, 2700);
    assert_in_range(twice, 4800, 5200);
    assert_in_range(failed, 7300, 7700);
    i.loss_permille = 1000;
    assert_true(impairment_loses(&i, &prng));
    i.loss_permille = 0;
    assert_false(impairment_loses(&i, &prng));
}

static void jitter_is_within_its_bounds(void **state)
{
    (void)state;
    struct prng prng;
    struct impairment i = {.delay_us = 100, .jitter_us = 1000};
    usec_t free_us = 0, lowest = USEC_NEVER, highest = 0;
    prng_seed(&prng, 1);
    for (int k = 0; k < 10000; k++) {
        struct delay_line d;
        delay_line_init(&d, 100);
        assert_int_equal(impair_send(&i, &d, &free_us, 5000, &prng, "x", 1),
                         ERR_OK);
        usec_t due = delay_line_next(&d);
        lowest = due < lowest ? due : lowest;
        highest = due > highest ? due : highest;
        delay_line_free(&d);
    }
    assert_in_range(lowest, 5100, 5110);
    assert_in_range(highest, 6090, 6100);
}

static void impairments_add_up(void **state)
{
    (void)state;
    struct impairment i = {.delay_us = 100}, none = {.cut = false};
    struct impairment slow = {.delay_us = 50,
                              .jitter_us = 7,
                              .loss_permille = 500,
                              .duplicate_permille = 1000,
                              .kbit_per_second = 64,
                              .handshake_permille = 100,
                              .close_delay_us = 9};
    impairment_add(&i, &none);
    assert_int_equal(i.delay_us, 100);
    assert_int_equal(i.loss_permille, 0);
    impairment_add(&i, &slow);
    impairment_add(&i, &slow);
    assert_int_equal(i.delay_us, 200);
    assert_int_equal(i.jitter_us, 14);
    assert_int_equal(i.loss_permille, 750);
    assert_int_equal(i.duplicate_permille, 1000);
    assert_int_equal(i.handshake_permille, 190);
    assert_int_equal(i.kbit_per_second, 64);
    assert_int_equal(i.close_delay_us, 9);
    assert_false(i.cut);
    impairment_add(&i, &(struct impairment){.cut = true,
                                            .kbit_per_second = 63,
                                            .certificate = IMPAIR_CERT_REVOKED,
                                            .delay_us = IMPAIR_DELAY_MAX_US});
    assert_true(i.cut);
    assert_int_equal(i.kbit_per_second, 63);
    assert_int_equal(i.certificate, IMPAIR_CERT_REVOKED);
    assert_int_equal(i.delay_us, IMPAIR_DELAY_MAX_US);
    impairment_add(&i,
                   &(struct impairment){.certificate = IMPAIR_CERT_EXPIRED});
    assert_int_equal(i.certificate, IMPAIR_CERT_REVOKED);
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

/* 8 kbit/s are 1000 bytes a second. */
static void a_bounded_rate_spreads_bytes(void **state)
{
    (void)state;
    struct prng prng;
    struct delay_line d;
    struct impairment i = {.kbit_per_second = 8};
    static uint8_t frame[10000];
    usec_t free_us = 0;
    prng_seed(&prng, 1);
    delay_line_init(&d, 100000);
    assert_int_equal(impair_send(&i, &d, &free_us, 0, &prng, frame, 10000),
                     ERR_OK);
    /* In pieces, so that something arrives all the time. */
    assert_int_equal(delay_line_due(&d, 4095999).len, 0);
    assert_int_equal(delay_line_due(&d, 4096000).len, 4096);
    assert_int_equal(delay_line_due(&d, 8192000).len, 8192);
    assert_int_equal(delay_line_due(&d, 10000000).len, 10000);
    /* The next one waits for the way to be free, then for the distance. */
    i.delay_us = 500000;
    assert_int_equal(impair_send(&i, &d, &free_us, 1000000, &prng, frame, 100),
                     ERR_OK);
    assert_int_equal(delay_line_due(&d, 10599999).len, 10000);
    assert_int_equal(delay_line_due(&d, 10600000).len, 10100);
    /* A way that was idle has saved nothing up. */
    assert_int_equal(impair_send(&i, &d, &free_us, 20000000, &prng, frame, 100),
                     ERR_OK);
    assert_int_equal(delay_line_due(&d, 20599999).len, 10100);
    assert_int_equal(delay_line_due(&d, 20600000).len, 10200);
    delay_line_hurry(&d, 9000000);
    assert_int_equal(delay_line_due(&d, 4096000).len, 4096);
    assert_int_equal(delay_line_due(&d, 9000000).len, 10200);
    delay_line_free(&d);
}

static void a_frame_that_does_not_fit_leaves_nothing(void **state)
{
    (void)state;
    struct prng prng;
    struct delay_line d;
    struct impairment i = {.kbit_per_second = 8};
    static uint8_t frame[10000];
    usec_t free_us = 0;
    prng_seed(&prng, 1);
    delay_line_init(&d, 9000);
    put(&d, 1, "before");
    assert_int_equal(impair_send(&i, &d, &free_us, 0, &prng, frame, 10000),
                     ERR_LIMIT);
    assert_int_equal(delay_line_len(&d), 6);
    DUE(&d, USEC_NEVER, "before");
    put(&d, 30000000, "after");
    DUE(&d, 29999999, "before");
    DUE(&d, 30000000, "beforeafter");
    delay_line_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_depend_on_the_direction),
        cmocka_unit_test(draws_are_what_was_asked_for),
        cmocka_unit_test(jitter_is_within_its_bounds),
        cmocka_unit_test(impairments_add_up),
        cmocka_unit_test(frames_leave_when_due_and_in_order),
        cmocka_unit_test(the_line_is_bounded),
        cmocka_unit_test(a_bounded_rate_spreads_bytes),
        cmocka_unit_test(a_frame_that_does_not_fit_leaves_nothing),
        cmocka_unit_test(random_histories_match_a_model),
    };
    return cmocka_run_group_tests_name("impair", tests, NULL, NULL);
}
