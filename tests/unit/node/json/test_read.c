/* Looking up members, paths, strings and numbers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/json/json.h"

struct fixture {
    struct json j;
    struct buf scratch;
};

static int setup(void **state)
{
    static struct fixture f;
    json_init(&f.j);
    buf_init(&f.scratch, 1 << 16);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    json_free(&f->j);
    buf_free(&f->scratch);
    return 0;
}

static struct json *given(void **state, const char *text)
{
    struct fixture *f = *state;
    assert_int_equal(json_parse(&f->j, bytes_str(text), 1 << 16, NULL), ERR_OK);
    return &f->j;
}

static void assert_raw(const struct json *j, json_ref ref, const char *text)
{
    assert_int_not_equal(ref, JSON_NONE);
    struct bytes raw = json_raw(j, ref);
    assert_int_equal(raw.len, strlen(text));
    assert_memory_equal(raw.data, text, raw.len);
}

static void raw_text_is_kept_as_written(void **state)
{
    struct json *j =
        given(state, "{\"a\":1.50E+1,\"b\":[ 1, {} ],\"c\":\"\\u0041\"}");
    assert_raw(j, json_get_str(j, 0, "a"), "1.50E+1");
    assert_raw(j, json_get_str(j, 0, "b"), "[ 1, {} ]");
    assert_raw(j, json_get_str(j, 0, "c"), "\"\\u0041\"");
    assert_int_equal(json_get_str(j, 0, "d"), JSON_NONE);
    assert_int_equal(json_get_str(j, 1, "a"), JSON_NONE);
}

static void the_last_of_equal_keys_is_found(void **state)
{
    struct json *j = given(state, "{\"a\":1,\"b\":2,\"a\":3,\"\\u0061\":4}");
    assert_raw(j, json_get_str(j, 0, "a"), "4");
    assert_int_equal(json_count(j, 0), 4);
    assert_false(json_members_unique(j, 0));
}

static void members_and_elements_come_in_order(void **state)
{
    struct json *j = given(state, "{\"a\":[10,[20,21],30],\"b\":{},\"c\":[]}");
    json_ref k = json_first(j, 0);
    assert_raw(j, k, "\"a\"");
    json_ref v = json_first(j, k + 1);
    assert_raw(j, v, "10");
    v = json_next(j, k + 1, v);
    assert_raw(j, v, "[20,21]");
    v = json_next(j, k + 1, v);
    assert_raw(j, v, "30");
    assert_int_equal(json_next(j, k + 1, v), JSON_NONE);
    assert_raw(j, json_at(j, k + 1, 2), "30");
    assert_int_equal(json_at(j, k + 1, 3), JSON_NONE);
    k = json_next_member(j, 0, k);
    assert_raw(j, k, "\"b\"");
    assert_int_equal(json_first(j, k + 1), JSON_NONE);
    k = json_next_member(j, 0, k);
    assert_raw(j, k, "\"c\"");
    assert_int_equal(json_next_member(j, 0, k), JSON_NONE);
}

static void strings_are_decoded_on_demand(void **state)
{
    struct fixture *f = *state;
    struct bytes text;
    struct json *j = given(
        state, "[\"plain\",\"\\u00e9\\n\\u20ac\\ud83d\\ude00\\/\\u0000\"]");
    assert_false(json_string_escaped(j, json_at(j, 0, 0)));
    assert_int_equal(json_string(j, json_at(j, 0, 0), &f->scratch, &text),
                     ERR_OK);
    assert_int_equal(buf_len(&f->scratch), 0);
    assert_true(bytes_equal(text, bytes_str("plain")));
    struct bytes want =
        bytes_of("\xc3\xa9\n\xe2\x82\xac\xf0\x9f\x98\x80/\0", 12);
    assert_int_equal(json_string(j, json_at(j, 0, 1), &f->scratch, &text),
                     ERR_OK);
    assert_true(bytes_equal(text, want));
    assert_true(json_string_equal(j, json_at(j, 0, 1), want));
    want.len--;
    assert_false(json_string_equal(j, json_at(j, 0, 1), want));
}

static void typed_members_tell_missing_from_wrong(void **state)
{
    struct fixture *f = *state;
    struct bytes text;
    int64_t number = 7;
    bool flag;
    struct json *j =
        given(state, "{\"s\":\"x\",\"n\":-12,\"t\":true,\"f\":1.5,\"e\":1e2}");
    assert_int_equal(json_get_string(j, 0, "s", &f->scratch, &text), ERR_OK);
    assert_int_equal(json_get_string(j, 0, "z", &f->scratch, &text),
                     ERR_NOT_FOUND);
    assert_int_equal(json_get_string(j, 0, "n", &f->scratch, &text),
                     ERR_INVALID);
    assert_int_equal(json_get_int64(j, 0, "f", &number), ERR_INVALID);
    assert_int_equal(json_get_int64(j, 0, "e", &number), ERR_INVALID);
    assert_int_equal(json_get_int64(j, 0, "s", &number), ERR_INVALID);
    assert_int_equal(number, 7);
    assert_int_equal(json_get_int64(j, 0, "n", &number), ERR_OK);
    assert_int_equal(number, -12);
    assert_int_equal(json_get_bool(j, 0, "t", &flag), ERR_OK);
    assert_true(flag);
    assert_int_equal(json_get_bool(j, 0, "n", &flag), ERR_INVALID);
}

static void integers_fit_or_are_refused(void **state)
{
    int64_t v;
    struct json *j = given(state, "[9223372036854775807,-9223372036854775808,"
                                  "9223372036854775808,-9223372036854775809,"
                                  "-0]");
    assert_int_equal(json_int64(j, 1, &v), ERR_OK);
    assert_true(v == INT64_MAX);
    assert_int_equal(json_int64(j, 2, &v), ERR_OK);
    assert_true(v == INT64_MIN);
    assert_int_equal(json_int64(j, 3, &v), ERR_INVALID);
    assert_int_equal(json_int64(j, 4, &v), ERR_INVALID);
    assert_int_equal(json_int64(j, 5, &v), ERR_OK);
    assert_true(v == 0);
}

static void paths_reach_nested_and_quoted_names(void **state)
{
    struct json *j = given(state, "{\"a\":{\"b\":1,\"x y\":{\"q\\\"q\":2}},"
                                  "\"c/d\":3,\"l\":[5],\"n\":null}");
    assert_raw(j, json_path(j, 0, bytes_str("/a/b")), "1");
    assert_raw(j, json_path(j, 0, bytes_str("/\"a\"/\"b\"")), "1");
    assert_raw(j, json_path(j, 0, bytes_str("/a/\"x y\"/\"q\\\"q\"")), "2");
    assert_raw(j, json_path(j, 0, bytes_str("/\"c/d\"")), "3");
    assert_raw(j, json_path(j, 0, bytes_str("/n")), "null");
    static const char *const absent[] = {"/A",   "/a/c", "/a/b/c", "/l/0",
                                         "/n/x", "a",    "",       "/",
                                         "/a/",  "//a",  "/\"a",   "/\"a\"b"};
    for (size_t i = 0; i < ARRAY_LEN(absent); i++)
        assert_int_equal(json_path(j, 0, bytes_str(absent[i])), JSON_NONE);
}

static void paths_are_checked(void **state)
{
    (void)state;
    assert_int_equal(json_path_check(bytes_str("/a/b")), ERR_OK);
    assert_int_equal(json_path_check(bytes_str("/\"a b\"/c")), ERR_OK);
    static const char *const wrong[] = {"",    "/",    "a",        "/a/",
                                        "//a", "/\"a", "/\"a\\\"", "/\"a\"b"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_int_equal(json_path_check(bytes_str(wrong[i])), ERR_INVALID);
}

static void path_segments_are_taken_one_by_one(void **state)
{
    struct fixture *f = *state;
    struct bytes path = bytes_str("/ab/\"c\\\"d\""), segment;
    assert_int_equal(json_path_segment(&path, &f->scratch, &segment), ERR_OK);
    assert_true(bytes_equal(segment, bytes_str("ab")));
    assert_int_equal(json_path_segment(&path, &f->scratch, &segment), ERR_OK);
    assert_true(bytes_equal(segment, bytes_str("c\"d")));
    assert_int_equal(json_path_segment(&path, &f->scratch, &segment), ERR_EOF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(raw_text_is_kept_as_written, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_last_of_equal_keys_is_found, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(members_and_elements_come_in_order,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(strings_are_decoded_on_demand, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(typed_members_tell_missing_from_wrong,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(integers_fit_or_are_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(paths_reach_nested_and_quoted_names,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(paths_are_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(path_segments_are_taken_one_by_one,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
