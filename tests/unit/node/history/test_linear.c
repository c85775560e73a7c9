/* The search for a linearization, with histories made by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/history/linear.h"

/* Writes are named by `version`; [called, answered]. */
static struct linear_op upsert(uint64_t version, uint64_t called,
                               uint64_t answered, bool created)
{
    return (struct linear_op){.kind = LINEAR_UPSERT,
                              .version = version,
                              .called = called,
                              .answered = answered,
                              .created = created};
}

static struct linear_op read_of(uint64_t version, uint64_t called,
                                uint64_t answered)
{
    return (struct linear_op){.kind = LINEAR_READ,
                              .version = version,
                              .called = called,
                              .answered = answered,
                              .result = version == 0 ? ERR_NOT_FOUND : ERR_OK};
}

#define CHECK_OPS(verdict, initial, ...)                                       \
    do {                                                                       \
        const struct linear_op ops_[] = {__VA_ARGS__};                         \
        assert_int_equal(linear_check(ops_, ARRAY_LEN(ops_), initial),         \
                         verdict);                                             \
    } while (0)

static void test_one_after_the_other(void **state)
{
    (void)state;
    CHECK_OPS(LINEAR_GOOD, 0, upsert(1, 1, 2, true), read_of(1, 3, 4));
    CHECK_OPS(LINEAR_BAD, 0, upsert(1, 1, 2, true), read_of(0, 3, 4));
    CHECK_OPS(LINEAR_BAD, 0, upsert(1, 1, 2, false), read_of(1, 3, 4));
}

static void test_overlap(void **state)
{
    (void)state;
    /* While the write is under way, reads may see it or not, but not first
     * see it and then not. */
    CHECK_OPS(LINEAR_GOOD, 0, upsert(1, 1, 9, true), read_of(0, 2, 3),
              read_of(1, 4, 5));
    CHECK_OPS(LINEAR_BAD, 0, upsert(1, 1, 9, true), read_of(1, 2, 3),
              read_of(0, 4, 5));
    /* Two writes at once, two readers that disagree about their order. */
    CHECK_OPS(LINEAR_BAD, 0, upsert(1, 1, 9, true), upsert(2, 2, 9, false),
              read_of(1, 10, 11), read_of(2, 12, 13));
}

static void test_unanswered(void **state)
{
    (void)state;
    /* It may come late, early, or never; but only once. */
    CHECK_OPS(LINEAR_GOOD, 0, upsert(1, 1, LINEAR_NEVER, false),
              read_of(0, 2, 3), read_of(1, 4, 5));
    CHECK_OPS(LINEAR_GOOD, 0, upsert(1, 1, LINEAR_NEVER, false),
              read_of(0, 2, 3));
    CHECK_OPS(LINEAR_BAD, 0, upsert(1, 1, LINEAR_NEVER, false),
              read_of(1, 2, 3), read_of(0, 4, 5));
}

static void test_conditions(void **state)
{
    (void)state;
    struct linear_op replace = {.kind = LINEAR_REPLACE,
                                .version = 2,
                                .conditional = true,
                                .expected = 1,
                                .called = 3,
                                .answered = 4};
    CHECK_OPS(LINEAR_GOOD, 0, upsert(1, 1, 2, true), replace, read_of(2, 5, 6));
    replace.result = ERR_PRECONDITION;
    CHECK_OPS(LINEAR_BAD, 0, upsert(1, 1, 2, true), replace, read_of(1, 5, 6));
    replace.expected = 7;
    CHECK_OPS(LINEAR_GOOD, 0, upsert(1, 1, 2, true), replace, read_of(1, 5, 6));
}

static void test_unknown_beginning(void **state)
{
    (void)state;
    CHECK_OPS(LINEAR_GOOD, LINEAR_ANY, read_of(5, 1, 2), read_of(5, 3, 4));
    CHECK_OPS(LINEAR_BAD, LINEAR_ANY, read_of(5, 1, 2), read_of(6, 3, 4));
    CHECK_OPS(LINEAR_GOOD, LINEAR_ANY, upsert(1, 1, 2, false),
              read_of(1, 3, 4));
    CHECK_OPS(LINEAR_BAD, LINEAR_ANY, upsert(1, 1, 2, false), read_of(5, 3, 4));
}

/* Many clients at once on one document: the memory of visited states keeps the
 * search short. */
static void test_many_at_once(void **state)
{
    (void)state;
    struct linear_op ops[60];
    size_t n = 0;
    for (uint64_t round = 0; round < 10; round++) {
        for (uint64_t i = 0; i < 5; i++)
            ops[n++] = upsert(round * 5 + i + 1, round * 20 + i + 1,
                              round * 20 + 10, round + i == 0);
        ops[n++] = read_of(round * 5 + 3, round * 20 + 11, round * 20 + 12);
    }
    assert_int_equal(linear_check(ops, n, 0), LINEAR_GOOD);
    ops[n - 1].version = 1; /* long overwritten */
    assert_int_equal(linear_check(ops, n, 0), LINEAR_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_after_the_other),
        cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_unanswered),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_unknown_beginning),
        cmocka_unit_test(test_many_at_once),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
