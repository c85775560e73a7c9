#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "node/base/histogram.h"
#include "node/base/prng.h"

static struct histogram a, b;

static int compare(const void *left, const void *right)
{
    uint64_t l = *(const uint64_t *)left, r = *(const uint64_t *)right;
    return l < r ? -1 : l > r;
}

/* Against the dumb twin: sort and look. */
static void percentiles_are_close_to_the_truth(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    static uint64_t values[COUNT];
    static const double percents[] = {1, 50, 90, 99, 99.9, 100};
    struct prng prng;
    prng_seed(&prng, 7);
    a = (struct histogram){0};
    for (int i = 0; i < COUNT; i++) {
        values[i] = prng_u64(&prng) >> (24 + prng_below(&prng, 40));
        histogram_record(&a, values[i]);
    }
    qsort(values, COUNT, sizeof *values, compare);
    for (size_t i = 0; i < sizeof percents / sizeof *percents; i++) {
        double rank = COUNT * percents[i] / 100;
        uint64_t truth = values[(size_t)rank - 1];
        uint64_t got = histogram_percentile(&a, percents[i]);
        assert_true(got >= truth);
        assert_true(got <= truth + truth / 64 + 1);
    }
    assert_int_equal(histogram_percentile(&a, 100), a.max);
}

static void small_values_are_exact(void **state)
{
    (void)state;
    a = (struct histogram){0};
    assert_int_equal(histogram_percentile(&a, 50), 0);
    for (uint64_t v = 1; v <= 100; v++)
        histogram_record(&a, v);
    assert_int_equal(histogram_percentile(&a, 50), 50);
    assert_int_equal(histogram_percentile(&a, 99), 99);
    assert_int_equal(histogram_percentile(&a, 0), 1);
    assert_true(histogram_mean(&a) > 50.4 && histogram_mean(&a) < 50.6);
}

static void the_largest_value_is_kept_and_bounded(void **state)
{
    (void)state;
    a = (struct histogram){0};
    histogram_record(&a, UINT64_MAX);
    assert_int_equal(a.max, HISTOGRAM_VALUE_MAX);
    assert_int_equal(histogram_percentile(&a, 50), HISTOGRAM_VALUE_MAX);
}

static void merging_adds(void **state)
{
    (void)state;
    a = (struct histogram){0};
    b = (struct histogram){0};
    histogram_record(&a, 10);
    histogram_record(&b, 5000);
    histogram_record(&b, 20);
    histogram_merge(&a, &b);
    assert_int_equal(a.count, 3);
    assert_int_equal(a.max, 5000);
    assert_int_equal(histogram_percentile(&a, 60), 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_are_close_to_the_truth),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(the_largest_value_is_kept_and_bounded),
        cmocka_unit_test(merging_adds),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
