#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "failover/nearest.h"
#include "failover/report.h"
#include "node/base/check.h"

#define PICK(...)                                                              \
    nearest_of((const struct nearest_candidate[]){__VA_ARGS__},                \
               ARRAY_LEN(((const struct nearest_candidate[]){__VA_ARGS__})))

static void the_nearest_sends(void **state)
{
    (void)state;
    assert_int_equal(PICK({1, 80, false, true}, {2, 20, false, false},
                          {3, 140, false, false}),
                     2);
    /* Also if that is the leader, or of another region than a far one. */
    assert_int_equal(PICK({1, 20, false, true}, {2, 80, false, false}), 1);
    assert_int_equal(PICK({1, 20, false, false}, {2, 80, true, false}), 1);
}

static void of_equals_a_neighbour_who_does_not_lead(void **state)
{
    (void)state;
    assert_int_equal(PICK({1, 0, false, true}, {2, 1, false, false},
                          {3, 9, true, true}, {4, 9, true, false}),
                     4);
    assert_int_equal(PICK({1, 0, false, true}, {2, 1, false, false}), 2);
    assert_int_equal(PICK({7, 0, false, false}, {2, 0, false, false}), 7);
    assert_int_equal(PICK({1, 0, false, true}), 1);
}

static void who_was_not_measured_is_farthest(void **state)
{
    (void)state;
    assert_int_equal(
        PICK({1, FAILOVER_NEVER_MS, true, false}, {2, 200, false, true}), 2);
    assert_int_equal(PICK({1, FAILOVER_NEVER_MS, false, true},
                          {2, FAILOVER_NEVER_MS, true, false}),
                     2);
    assert_int_equal(nearest_of(NULL, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nearest_sends),
        cmocka_unit_test(of_equals_a_neighbour_who_does_not_lead),
        cmocka_unit_test(who_was_not_measured_is_farthest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
