/* Gathered rows stay within their limits, whatever is added. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/err.h"
#include "node/base/prng.h"
#include "node/query/rows.h"

static int add(struct rowset *s, int key, int identity, size_t len)
{
    static uint8_t text[4096];
    char key_text[16], identity_text[16];
    snprintf(key_text, sizeof(key_text), "%08d", key);
    snprintf(identity_text, sizeof(identity_text), "%d", identity);
    return rowset_add(s, bytes_str(key_text), bytes_str(identity_text),
                      bytes_of(text, len));
}

static int key_of(const struct row *r)
{
    char text[16] = "";
    memcpy(text, row_key(r).data, 8);
    return atoi(text);
}

static void the_first_rows_are_kept(void **state)
{
    struct rowset s;
    struct prng p;
    (void)state;
    prng_seed(&p, 1);
    rowset_init(&s, (struct rowset_limits){10, 0, UINT64_MAX}, false, 1 << 20);
    int offset = (int)prng_below(&p, 20000);
    for (int i = 0; i < 20000; i++) /* 7 and 20000 share no factor */
        assert_int_equal(add(&s, (i * 7 + offset) % 20000, i, 100), ERR_OK);
    assert_int_equal(rowset_settle(&s), ERR_OK);
    assert_int_equal(s.count, 10);
    for (int i = 0; i < 10; i++)
        assert_int_equal(key_of(&s.rows[i]), i);
    assert_true(rowset_wants(&s, bytes_str("00000000")));
    assert_false(rowset_wants(&s, bytes_str("00000010")));
    rowset_free(&s);
}

static void equal_rows_count_once(void **state)
{
    struct rowset s;
    (void)state;
    rowset_init(&s, (struct rowset_limits){5, 0, UINT64_MAX}, true, 1 << 20);
    for (int i = 0; i < 9000; i++)
        assert_int_equal(add(&s, 9000 - i, i % 7, 10), ERR_OK);
    assert_int_equal(rowset_settle(&s), ERR_OK);
    assert_int_equal(s.count, 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(key_of(&s.rows[i]), i + 1);
    rowset_free(&s);
}

static void a_page_of_bytes_is_enough(void **state)
{
    struct rowset s;
    (void)state;
    /* 20 MB of rows through 100 KB of memory. */
    rowset_init(&s, (struct rowset_limits){1000, 2, 10000}, false, 100000);
    for (int i = 0; i < 5000; i++)
        assert_int_equal(add(&s, 5000 - i, i, 4000), ERR_OK);
    assert_int_equal(rowset_settle(&s), ERR_OK);
    assert_true(s.held <= 100000);
    /* 2 to skip, 3 to pass 10,000 bytes */
    assert_int_equal(s.count, 5);
    assert_int_equal(key_of(&s.rows[0]), 1);
    rowset_free(&s);
}

static void two_rows_are_kept_however_long(void **state)
{
    struct rowset s;
    (void)state;
    rowset_init(&s, (struct rowset_limits){1000, 0, 10}, false, 1 << 20);
    for (int i = 0; i < 50; i++)
        assert_int_equal(add(&s, i, i, 4000), ERR_OK);
    assert_int_equal(rowset_settle(&s), ERR_OK);
    assert_int_equal(s.count, 2);
    rowset_free(&s);
}

static void memory_is_bounded(void **state)
{
    struct rowset s;
    int i = 0;
    (void)state;
    rowset_init(&s, (struct rowset_limits){UINT64_MAX, 0, UINT64_MAX}, false,
                100000);
    while (i < 100 && add(&s, i, i, 4000) == ERR_OK)
        i++;
    assert_int_equal(i, 24);
    assert_int_equal(add(&s, i, i, 4000), ERR_LIMIT);
    rowset_free(&s);
}

static void nothing_wanted_is_nothing_held(void **state)
{
    struct rowset s;
    (void)state;
    rowset_init(&s, (struct rowset_limits){0, 0, UINT64_MAX}, false, 1000);
    assert_false(rowset_wants(&s, bytes_str("a")));
    assert_int_equal(add(&s, 1, 1, 10), ERR_OK);
    assert_int_equal(rowset_settle(&s), ERR_OK);
    assert_int_equal(s.count, 0);
    rowset_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_rows_are_kept),
        cmocka_unit_test(equal_rows_count_once),
        cmocka_unit_test(a_page_of_bytes_is_enough),
        cmocka_unit_test(two_rows_are_kept_however_long),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(nothing_wanted_is_nothing_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
