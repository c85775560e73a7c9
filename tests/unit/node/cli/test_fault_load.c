/* What answers mean to a scenario's history. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/err.h"
#include "node/cli/fault_load.h"

static int result(int status, unsigned substatus, const char *body)
{
    const struct bench_response a = {
        .status = status, .substatus = substatus, .body = bytes_str(body)};
    return fault_result_of(&a);
}

static void test_the_clusters_answers(void **state)
{
    (void)state;
    assert_int_equal(result(200, 0, "{}"), ERR_OK);
    assert_int_equal(result(204, 0, ""), ERR_OK);
    assert_int_equal(result(404, 0, ""), ERR_NOT_FOUND);
    assert_int_equal(result(404, 1002, ""), ERR_BEHIND);
    assert_int_equal(result(409, 0, ""), ERR_EXISTS);
    assert_int_equal(result(412, 0, ""), ERR_PRECONDITION);
    assert_int_equal(result(429, 0, ""), ERR_THROTTLED);
    assert_int_equal(result(503, 0, ""), ERR_UNAVAILABLE);
    assert_int_equal(result(408, 0, ""), ERR_TIMEOUT);
    assert_int_equal(result(500, 0, ""), ERR_TIMEOUT);
}

/* A fault may answer before or after the work, and with anything. */
static void test_injected_answers_say_nothing(void **state)
{
    (void)state;
    static const int statuses[] = {403, 404, 409, 412, 429, 503};
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        assert_int_equal(
            result(statuses[i], 0,
                   "{\"message\":\"No. (injected by fault run-1-0)\"}"),
            ERR_TIMEOUT);
    /* A document may have the words. */
    assert_int_equal(result(200, 0, "{\"n\":1,\"x\":\"(injected by fault \"}"),
                     ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_clusters_answers),
        cmocka_unit_test(test_injected_answers_say_nothing),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
