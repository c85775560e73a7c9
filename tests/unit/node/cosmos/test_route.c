/* Paths: what they decode to and which row they meet. Includes no handler:
 * rows are compared by their pattern. */
#include "tests/unit/node/cosmos/fake.h"

#include "node/cosmos/route.h"

static struct route_path path;

static int parse(const char *target)
{
    return route_path_parse(bytes_str(target), &path);
}

static const char *pattern(const char *target)
{
    assert_int_equal(parse(target), ERR_OK);
    const struct route *r = route_find(&path);
    return r != NULL ? r->pattern : NULL;
}

static void segment(size_t i, const char *text)
{
    assert_true(i < path.count);
    assert_int_equal(path.segments[i].len, strlen(text));
    assert_memory_equal(path.segments[i].data, text, strlen(text));
}

static void decodes_each_segment_once(void **state)
{
    (void)state;
    assert_int_equal(parse("/dbs/d%20b/colls/c/docs/a%2520b"), ERR_OK);
    assert_int_equal(path.count, 6);
    segment(1, "d b");
    segment(5, "a%20b");
    assert_int_equal(parse("/dbs/d/colls/c/docs/%C3%A9%2f%3F"), ERR_OK);
    segment(5, "\xc3\xa9/?");
}

static void a_question_mark_belongs_to_the_id(void **state)
{
    (void)state;
    assert_int_equal(parse("/dbs/d/colls/c/docs/a?b=c&d"), ERR_OK);
    segment(5, "a?b=c&d");
    assert_string_equal(pattern("/dbs/d/colls/c/docs/a?b"),
                        "dbs/*/colls/*/docs/*");
}

static void one_trailing_slash_is_legal(void **state)
{
    (void)state;
    assert_string_equal(pattern("/dbs/d/colls/c/"), "dbs/*/colls/*");
    assert_string_equal(pattern("/"), "");
    assert_int_equal(parse("/dbs/d//"), ERR_MALFORMED);
    assert_int_equal(parse("/dbs//colls"), ERR_MALFORMED);
}

static void refuses_malformed_paths(void **state)
{
    (void)state;
    assert_int_equal(parse("/dbs/%"), ERR_MALFORMED);
    assert_int_equal(parse("/dbs/%4"), ERR_MALFORMED);
    assert_int_equal(parse("/dbs/%zz"), ERR_MALFORMED);
    assert_int_equal(parse("/dbs/%ff"), ERR_MALFORMED);
    assert_int_equal(parse("/dbs/%c3%28"), ERR_MALFORMED);
    assert_int_equal(parse("/dbs/%00"), ERR_MALFORMED);
    assert_int_equal(parse("/a/b/c/d/e/f/g/h/i"), ERR_NOT_FOUND);
    char longest[ROUTE_PATH_MAX + 3];
    memset(longest, 'a', sizeof(longest) - 1);
    longest[0] = '/';
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(parse(longest), ERR_LIMIT);
    longest[sizeof(longest) - 2] = '\0';
    assert_int_equal(parse(longest), ERR_OK);
}

static void finds_every_route_of_the_protocol(void **state)
{
    (void)state;
    static const char *const known[][2] = {
        {"/dbs", "dbs"},
        {"/dbs/d", "dbs/*"},
        {"/dbs/colls/colls/dbs", "dbs/*/colls/*"},
        {"/dbs/d/colls", "dbs/*/colls"},
        {"/dbs/d/colls/c/docs", "dbs/*/colls/*/docs"},
        {"/dbs/d/colls/c/docs/docs", "dbs/*/colls/*/docs/*"},
        {"/dbs/d/colls/c/pkranges", "dbs/*/colls/*/pkranges"},
        {"/dbs/d/colls/c/sprocs/s", "dbs/*/colls/*/sprocs/*"},
        {"/dbs/d/colls/c/operations/partitionkeydelete",
         "dbs/*/colls/*/operations/partitionkeydelete"},
        {"/dbs/d/users/u/permissions/p", "dbs/*/users/*/permissions/*"},
        {"/offers", "offers"},
        {"/offers/AbCd", "offers/*"},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        assert_string_equal(pattern(known[i][0]), known[i][1]);
    assert_null(pattern("/DBS"));
    assert_null(pattern("/db"));
    assert_null(pattern("/dbss"));
    assert_null(pattern("/dbs/d/collections"));
    assert_null(pattern("/dbs/d/colls/c/pkranges/0"));
    assert_null(pattern("/addresses"));
    assert_null(pattern("/favicon.ico"));
}

static void a_segment_is_replaced_and_those_before_it_stay(void **state)
{
    (void)state;
    assert_int_equal(
        route_path_parse(bytes_str("/dbs/d/colls/c/docs/rid"), &path), ERR_OK);
    route_path_replace(&path, 5, bytes_str("a longer id"));
    assert_true(bytes_equal(path.segments[5], bytes_str("a longer id")));
    assert_true(bytes_equal(path.segments[1], bytes_str("d")));
    assert_true(bytes_equal(path.segments[3], bytes_str("c")));
    assert_true(bytes_equal(path.segments[4], bytes_str("docs")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_each_segment_once),
        cmocka_unit_test(a_question_mark_belongs_to_the_id),
        cmocka_unit_test(one_trailing_slash_is_legal),
        cmocka_unit_test(a_segment_is_replaced_and_those_before_it_stay),
        cmocka_unit_test(refuses_malformed_paths),
        cmocka_unit_test(finds_every_route_of_the_protocol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
