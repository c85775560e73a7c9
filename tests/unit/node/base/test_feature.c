/* Feature levels: what may be used, who may be there, when the level rises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/feature.h"

/* A node that supports and wants this. */
#define NODE(s, w)                                                             \
    (struct feature_report)                                                    \
    {                                                                          \
        .heard = true, .supported = (s), .wanted = (w)                         \
    }

static void a_gate_only_rises(void **state)
{
    (void)state;
    struct feature_gate g = {0};
    assert_int_equal(feature_level(&g), FEATURE_FIRST);
    assert_true(feature_active(&g, FEATURE_RELAY));
    assert_false(feature_active(&g, FEATURE_KEPT_OUT));
    feature_raise(&g, FEATURE_KEPT_OUT);
    assert_true(feature_active(&g, FEATURE_KEPT_OUT));
    feature_raise(&g, FEATURE_FIRST);
    assert_int_equal(feature_level(&g), FEATURE_KEPT_OUT);
    feature_raise(&g, 90); /* of a release to come */
    assert_int_equal(feature_level(&g), 90);
    assert_true(feature_active(&g, FEATURE_RELAY));
}

static void a_refusal_says_what_is_missing(void **state)
{
    (void)state;
    struct feature_gate g = {0};
    struct err_msg msg;
    assert_int_equal(feature_refuse(&g, FEATURE_KEPT_OUT, &msg),
                     ERR_UNAVAILABLE);
    assert_non_null(strstr(msg.text, "needs feature level 2"));
    assert_non_null(strstr(msg.text, "the cluster is at 1"));
    feature_raise(&g, FEATURE_KEPT_OUT);
    assert_int_equal(feature_refuse(&g, FEATURE_KEPT_OUT, &msg), ERR_OK);
}

static void a_program_that_is_too_old_is_told_so(void **state)
{
    (void)state;
    struct feature_gate g = {0};
    struct err_msg msg;
    assert_int_equal(feature_check(&g, &msg), ERR_OK);
    feature_raise(&g, feature_supported);
    assert_int_equal(feature_check(&g, &msg), ERR_OK);
    feature_raise(&g, feature_supported + 1);
    assert_int_equal(feature_check(&g, &msg), ERR_UNSUPPORTED);
    assert_non_null(strstr(msg.text, "start the node with the release"));
}

static void the_level_is_what_all_support(void **state)
{
    (void)state;
    struct feature_report r[] = {NODE(3, 3), NODE(3, 3), NODE(3, 3)};
    assert_int_equal(feature_next(1, r, 3), 3);
    r[1] = NODE(2, 2);
    assert_int_equal(feature_next(1, r, 3), 2);
    r[2] = NODE(0, 0); /* does not know of levels */
    assert_int_equal(feature_next(1, r, 3), 1);
    r[2] = NODE(3, 0); /* does not say what it wants */
    assert_int_equal(feature_next(1, r, 3), 2);
    assert_int_equal(feature_next(1, r, 1), 3);
}

static void a_node_that_is_away_holds_it(void **state)
{
    (void)state;
    struct feature_report r[] = {NODE(3, 3), {.heard = false, .supported = 3}};
    assert_int_equal(feature_next(2, r, 2), 2);
    r[1].heard = true;
    assert_int_equal(feature_next(2, r, 2), 3);
}

static void a_setting_holds_it_anywhere(void **state)
{
    (void)state;
    struct feature_report r[] = {NODE(5, 5), NODE(5, 2), NODE(5, 5)};
    assert_int_equal(feature_next(1, r, 3), 2);
    r[1] = NODE(5, 9); /* wants more than it can do */
    assert_int_equal(feature_next(1, r, 3), 5);
}

static void it_never_falls(void **state)
{
    (void)state;
    struct feature_report r[] = {NODE(1, 1), NODE(4, 4)};
    assert_int_equal(feature_next(4, r, 2), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gate_only_rises),
        cmocka_unit_test(a_refusal_says_what_is_missing),
        cmocka_unit_test(a_program_that_is_too_old_is_told_so),
        cmocka_unit_test(the_level_is_what_all_support),
        cmocka_unit_test(a_node_that_is_away_holds_it),
        cmocka_unit_test(a_setting_holds_it_anywhere),
        cmocka_unit_test(it_never_falls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
