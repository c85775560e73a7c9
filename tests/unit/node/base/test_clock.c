/* Clocks that are wrong on request: how wrong, and never backwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/clock.h"

#define READERS 3
/* Two looks at clocks are this close, even on a busy machine. */
#define NEAR_US (50 * USEC_PER_MS)

static void assert_near(usec_t a, usec_t b)
{
    assert_true(a - b < NEAR_US && b - a < NEAR_US);
}

/* How far a clock is from the system's, looked at until nothing came between
 * the looks. */
static usec_t off(usec_t (*clock)(void), usec_t (*real)(void))
{
    for (;;) {
        usec_t before = real(), now = clock(), after = real();
        if (after - before < 200)
            return now - before;
    }
}

static usec_t wall_off(void)
{
    return off(clock_wall_us, clock_real_wall_us);
}

static usec_t mono_off(void)
{
    return off(clock_mono_us, clock_real_mono_us);
}

static void wait_real(usec_t us)
{
    usec_t until = clock_real_mono_us() + us;
    while (clock_real_mono_us() < until)
        usleep(1000);
}

static void clocks_are_right_at_first(void **state)
{
    (void)state;
    assert_near(wall_off(), 0);
    assert_near(mono_off(), 0);
}

static void a_jump_moves_the_wall_clock_alone(void **state)
{
    (void)state;
    clock_adjust(-3600 * USEC_PER_SEC, 0);
    assert_near(wall_off(), -3600 * USEC_PER_SEC);
    assert_near(mono_off(), 0);
    clock_adjust(90 * USEC_PER_SEC, 0);
    assert_near(wall_off(), 90 * USEC_PER_SEC);
    clock_adjust(0, 0);
    assert_near(wall_off(), 0);
    assert_near(mono_off(), 0);
}

static void drift_adds_up_and_leaves_the_wall_clock_right(void **state)
{
    (void)state;
    usec_t mono = mono_off(), start = clock_real_mono_us();
    clock_adjust(0, 900000);
    assert_near(mono_off(), mono); /* no jump */
    wait_real(200 * USEC_PER_MS);
    usec_t gained = mono_off() - mono;
    assert_near(gained, (clock_real_mono_us() - start) * 9 / 10);
    assert_near(wall_off(), gained);

    /* A jump meanwhile does not undo what has drifted. */
    clock_adjust(10 * USEC_PER_SEC, 900000);
    assert_near(wall_off(), 10 * USEC_PER_SEC + mono_off() - mono);
    clock_adjust(0, 0);
    assert_near(wall_off(), 0);
    assert_true(mono_off() - mono >= gained - NEAR_US);
    usec_t kept = mono_off();
    wait_real(200 * USEC_PER_MS);
    assert_near(mono_off(), kept);
}

static void a_slow_clock_loses(void **state)
{
    (void)state;
    usec_t mono = mono_off(), start = clock_real_mono_us();
    clock_adjust(0, -500000);
    wait_real(200 * USEC_PER_MS);
    assert_near(mono_off() - mono, -(clock_real_mono_us() - start) / 2);
    clock_adjust(0, 0);
    assert_near(wall_off(), 0);
}

struct reader {
    pthread_t thread;
    bool stop; /* atomic */
    bool went_back;
    uint64_t looks;
};

static void *read_on(void *arg)
{
    struct reader *r = arg;
    usec_t last = 0;
    while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED)) {
        usec_t now = clock_mono_us();
        r->went_back |= now < last;
        (void)clock_wall_us();
        last = now;
        r->looks++;
    }
    return NULL;
}

/* At rates that differ as much as they can, so that a reader who mixes two
 * courses would see it. */
static void time_never_goes_back_while_it_is_adjusted(void **state)
{
    (void)state;
    static const int32_t rates[] = {999999, -999999, 0, 100, -100, 500000};
    struct reader readers[READERS] = {0};
    for (int i = 0; i < READERS; i++)
        assert_int_equal(
            pthread_create(&readers[i].thread, NULL, read_on, &readers[i]), 0);
    for (int i = 0; i < 3000; i++) {
        clock_adjust(i % 7 * USEC_PER_SEC, rates[i % (int)ARRAY_LEN(rates)]);
        usleep(50);
    }
    for (int i = 0; i < READERS; i++) {
        __atomic_store_n(&readers[i].stop, true, __ATOMIC_RELAXED);
        assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
        assert_false(readers[i].went_back);
        assert_true(readers[i].looks > 0);
    }
    clock_adjust(0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clocks_are_right_at_first),
        cmocka_unit_test(a_jump_moves_the_wall_clock_alone),
        cmocka_unit_test(drift_adds_up_and_leaves_the_wall_clock_right),
        cmocka_unit_test(a_slow_clock_loses),
        cmocka_unit_test(time_never_goes_back_while_it_is_adjusted),
    };
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
