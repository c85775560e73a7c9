#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "node/base/meter.h"

/* A bound belongs to its own bucket, as Prometheus' "le" means. */
static void bounds_are_inclusive(void **state)
{
    (void)state;
    for (unsigned i = 0; i < METER_BOUNDS; i++) {
        struct meter m = {0};
        meter_record(&m, meter_bounds_us[i]);
        meter_record(&m, meter_bounds_us[i] + 1);
        assert_int_equal(m.buckets[i], 1);
        assert_int_equal(m.buckets[i + 1], 1);
        assert_int_equal(meter_count(&m), 2);
        assert_int_equal(m.sum_us, 2 * meter_bounds_us[i] + 1);
    }
}

static void bounds_rise(void **state)
{
    (void)state;
    for (unsigned i = 1; i < METER_BOUNDS; i++)
        assert_true(meter_bounds_us[i] > meter_bounds_us[i - 1]);
}

static void a_clock_that_jumps_does_no_harm(void **state)
{
    (void)state;
    struct meter m = {0};
    meter_record(&m, -5);
    assert_int_equal(m.buckets[0], 1);
    assert_int_equal(m.sum_us, 0);
    meter_record(&m, 3600 * USEC_PER_SEC);
    assert_int_equal(m.buckets[METER_BOUNDS], 1);
}

static void adding_is_recording_both(void **state)
{
    (void)state;
    struct meter a = {0}, b = {0}, both = {0};
    for (usec_t us = 1; us < 20 * USEC_PER_SEC; us = us * 3 + 7) {
        meter_record(us % 2 ? &a : &b, us);
        meter_record(&both, us);
    }
    meter_add(&a, &b);
    assert_memory_equal(&a, &both, sizeof(a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_are_inclusive),
        cmocka_unit_test(bounds_rise),
        cmocka_unit_test(a_clock_that_jumps_does_no_harm),
        cmocka_unit_test(adding_is_recording_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
