/* Promises about what a log remembers of its terms. */
#include "tests/unit/node/shard/shard_test.h"

#include "node/base/err.h"
#include "node/shard/terms.h"

#define T(epoch, counter) RAFT_TERM(epoch, counter)

static void terms_are_found_by_lsn(void **state)
{
    (void)state;
    struct terms t = {0};
    uint64_t term;
    terms_begin(&t, 10, T(0, 3));
    for (uint64_t lsn = 11; lsn <= 20; lsn++)
        terms_add(&t, lsn, lsn < 15 ? T(0, 3) : T(1, 1));
    assert_int_equal(terms_at(&t, 9, &term), ERR_NOT_FOUND);
    assert_int_equal(terms_at(&t, 14, &term), ERR_OK);
    assert_int_equal(term, T(0, 3));
    assert_int_equal(terms_at(&t, 15, &term), ERR_OK);
    assert_int_equal(term, T(1, 1));
    terms_truncate(&t, 15);
    assert_int_equal(terms_at(&t, 15, &term), ERR_OK);
    assert_int_equal(term, T(0, 3)); /* the caller knows where the log ends */
    terms_add(&t, 15, T(2, 1));
    assert_int_equal(terms_at(&t, 15, &term), ERR_OK);
    assert_int_equal(term, T(2, 1));
    terms_free(&t);
}

static void what_was_overwritten_is_told_from_what_was_not(void **state)
{
    (void)state;
    struct terms t = {0};
    terms_begin(&t, 0, 0);
    for (uint64_t lsn = 1; lsn <= 30; lsn++)
        terms_add(&t, lsn, lsn <= 10 ? T(0, 1) : lsn <= 20 ? T(0, 3) : T(1, 1));
    /* In the log. */
    assert_false(terms_overwritten(&t, 30, T(0, 1), 10));
    assert_false(terms_overwritten(&t, 30, T(0, 3), 20));
    /* Of a term that another of its epoch followed: never acknowledged. */
    assert_false(terms_overwritten(&t, 30, T(0, 1), 11));
    assert_false(terms_overwritten(&t, 30, T(0, 2), 11));
    /* Of the last term of its epoch, or of one that this log has not seen. */
    assert_true(terms_overwritten(&t, 30, T(0, 3), 21));
    assert_true(terms_overwritten(&t, 30, T(0, 4), 11));
    assert_true(terms_overwritten(&t, 30, T(0, 3), 31));
    /* Too old to tell. */
    terms_begin(&t, 25, T(1, 1));
    assert_true(terms_overwritten(&t, 30, T(0, 3), 20));
    terms_free(&t);
}

static void only_the_last_terms_are_remembered(void **state)
{
    (void)state;
    struct terms t = {0};
    uint64_t term;
    terms_begin(&t, 0, 0);
    for (uint32_t i = 1; i <= TERMS_MAX + 10; i++)
        terms_add(&t, i, T(0, i));
    assert_int_equal(terms_at(&t, 10, &term), ERR_NOT_FOUND);
    assert_int_equal(terms_at(&t, 11, &term), ERR_OK);
    assert_int_equal(term, T(0, 11));
    terms_truncate(&t, 5);
    assert_int_equal(terms_at(&t, 11, &term), ERR_NOT_FOUND);
    terms_add(&t, 5, T(1, 1));
    assert_int_equal(terms_at(&t, 5, &term), ERR_OK);
    terms_free(&t);
}

static void an_encoded_list_says_the_same(void **state)
{
    (void)state;
    struct terms t = {0}, copy = {0};
    struct buf out;
    uint64_t term;
    buf_init(&out, 1 << 20);
    terms_begin(&t, 0, 0);
    for (uint32_t i = 1; i <= 30; i++)
        terms_add(&t, i, T(i / 10, 1));
    assert_int_equal(terms_encode(&t, 20, &out), ERR_OK);
    struct bytes all = bytes_of(buf_bytes(&out), buf_len(&out));
    assert_int_equal(terms_decode(&copy, all), ERR_OK);
    assert_int_equal(terms_at(&copy, 15, &term), ERR_OK);
    assert_int_equal(term, T(1, 1));
    assert_int_equal(terms_at(&copy, 100, &term), ERR_OK);
    assert_int_equal(term, T(2, 1)); /* not that of LSN 30 */
    for (size_t len = 0; len < all.len; len++)
        assert_int_equal(terms_decode(&copy, bytes_of(all.data, len)),
                         ERR_MALFORMED);
    out.data[4 + 16] = 0; /* the second run begins where the first does */
    assert_int_equal(terms_decode(&copy, all), ERR_MALFORMED);
    assert_int_equal(terms_at(&copy, 15, &term), ERR_OK);
    terms_free(&t);
    terms_free(&copy);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(terms_are_found_by_lsn),
        cmocka_unit_test(what_was_overwritten_is_told_from_what_was_not),
        cmocka_unit_test(only_the_last_terms_are_remembered),
        cmocka_unit_test(an_encoded_list_says_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
