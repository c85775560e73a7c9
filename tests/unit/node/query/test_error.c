/* What is refused, with which code, where, and in which words. */
#include "node/base/mem.h"
#include "tests/unit/node/query/cases.h"

struct error_case {
    const char *query;
    int result;
    const char *code;
    uint32_t start, end;
    const char *text; /* part of the message */
};

static const struct error_case errors[] = {
    {"", ERR_INVALID, "SC1001", 0, 0, "end of query"},
    {"SELECT", ERR_INVALID, "SC1001", 6, 6, "end of query"},
    {"SELECT FROM c", ERR_INVALID, "SC1001", 7, 11, "near 'FROM'"},
    {"SELEC * FROM c", ERR_INVALID, "SC1001", 0, 5, "near 'SELEC'"},
    {"SELECT * FROM c WHERE", ERR_INVALID, "SC1001", 21, 21, "end of query"},
    {"SELECT * FROM c WHERE c.a = = 1", ERR_INVALID, "SC1001", 28, 29, "'='"},
    {"SELECT * FROM c ORDER c.a", ERR_INVALID, "SC1001", 22, 23, "'c'"},
    {"SELECT * FROM c x y", ERR_INVALID, "SC1001", 18, 19, "'y'"},
    {"SELECT COUNT(*) FROM c", ERR_INVALID, "SC1001", 13, 14, "'*'"},
    {"SELECT * FROM c WHERE c.a IN ()", ERR_INVALID, "SC1001", 30, 31, "')'"},
    {"SELECT * FROM c; DROP", ERR_INVALID, "SC1001", 15, 16, "';'"},
    {"SELECT * FROM c WHERE '\xc3\xa9\xf0\x9f\x98\x80' = c.x ]", ERR_INVALID,
     "SC1001", 34, 35, "']'"},
    {"SELECT /* x", ERR_INVALID, "SC1001", 7, 9, "comment"},
    {"SELECT 'abc", ERR_INVALID, "SC1010", 7, 11, "string literal"},
    {"SELECT 'a\\qb'", ERR_INVALID, "SC1010", 7, 13, "string literal"},
    {"SELECT '\\ud800'", ERR_INVALID, "SC1010", 7, 15, "string literal"},
    {"SELECT 1e", ERR_INVALID, "SC1011", 7, 9, "numeric literal"},
    {"SELECT 12abc", ERR_INVALID, "SC1011", 7, 9, "numeric literal"},
    {"SELECT 1e999", ERR_INVALID, "SC1011", 7, 12, "numeric literal"},
    {"SELECT @ FROM c", ERR_INVALID, "SC1012", 7, 8, "parameter"},
    {"SELECT x.a FROM c", ERR_INVALID, "SC2001", 7, 8,
     "Identifier 'x' could not be resolved."},
    {"SELECT c.a FROM c AS d", ERR_INVALID, "SC2001", 7, 8, "'c'"},
    {"SELECT c.a", ERR_INVALID, "SC2001", 7, 8, "'c'"},
    {"SELECT * FROM c JOIN t IN c.tags", ERR_INVALID, "", 0, 32,
     "single input set"},
    {"SELECT t FROM c JOIN t IN d.tags", ERR_INVALID, "SC2001", 26, 27, "'d'"},
    {"SELECT c.a FROM c WHERE c.a = @p", ERR_INVALID, "SC2001", 30, 32, "'@p'"},
    {"SELECT NOSUCH(1)", ERR_INVALID, "SC2005", 7, 16,
     "'NOSUCH' is not a recognized built-in function name."},
    {"SELECT ST_DISTANCE(1,2)", ERR_UNSUPPORTED, "SC2005", 7, 23,
     "'ST_DISTANCE' is not supported"},
    {"SELECT ABS()", ERR_INVALID, "SC2050", 7, 12,
     "The ABS function requires 1 argument(s)."},
    {"SELECT contains('a')", ERR_INVALID, "SC2050", 7, 20,
     "requires 2 to 3 argument(s)."},
    {"SELECT CONCAT('a')", ERR_INVALID, "SC2050", 7, 18, "at least 2"},
    {"SELECT COUNT(1,2) FROM c", ERR_INVALID, "SC2050", 7, 17, "COUNT"},
    {"SELECT SUM(MAX(c.a)) FROM c", ERR_INVALID, "SC2101", 11, 19, "MAX"},
    {"SELECT * FROM c WHERE COUNT(1) > 1", ERR_INVALID, "", 22, 30, "WHERE"},
    {"SELECT c.a, COUNT(1) FROM c", ERR_INVALID, "SC2102", 7, 8, "'c'"},
    {"SELECT c.b FROM c GROUP BY c.a", ERR_INVALID, "SC2102", 7, 8, "'c'"},
    {"SELECT * FROM c GROUP BY c.a", ERR_INVALID, "SC2041", 0, 28,
     "'SELECT *' is not valid with GROUP BY"},
    {"SELECT *", ERR_INVALID, "", 0, 8, "FROM clause is omitted"},
    {"SELECT TOP -1 * FROM c", ERR_INVALID, "SC2060", 11, 13, "TOP"},
    {"SELECT TOP 1.5 * FROM c", ERR_INVALID, "SC2060", 11, 14, "TOP"},
    {"SELECT TOP 9999999999 * FROM c", ERR_INVALID, "SC2060", 11, 21, "TOP"},
    {"SELECT * FROM c OFFSET 1 LIMIT -2", ERR_INVALID, "SC2061", 31, 33,
     "LIMIT"},
    {"SELECT * FROM c OFFSET -1 LIMIT 2", ERR_INVALID, "SC2062", 23, 25,
     "OFFSET"},
    {"SELECT * FROM c OFFSET 1", ERR_INVALID, "SC1001", 24, 24, "end"},
    {"SELECT TOP 1 * FROM c OFFSET 1 LIMIT 2", ERR_INVALID, "", 11, 12,
     "combined"},
    {"SELECT * FROM c ORDER BY 1", ERR_INVALID, "2206", 25, 26,
     "Unsupported ORDER BY clause. ORDER BY item expression could not be "
     "mapped to a document path."},
    {"SELECT * FROM c ORDER BY c.a + 1", ERR_INVALID, "2206", 25, 32, ""},
    {"SELECT c.a FROM c GROUP BY c.a ORDER BY c.a", ERR_UNSUPPORTED, "", 40, 43,
     "GROUP BY"},
    {"SELECT * FROM c ORDER BY RANK x", ERR_UNSUPPORTED, "", 22, 29, "RANK"},
    {"SELECT udf.f(c.a) FROM c", ERR_UNSUPPORTED, "", 7, 12, "User-defined"},
    {"SELECT c.a, d.a FROM c JOIN d IN c.d", ERR_INVALID, "", 12, 15,
     "'a' is given more than once"},
    {"SELECT {'a':1,'a':2}", ERR_INVALID, "", 18, 19, "more than once"},
    {"SELECT c FROM c JOIN c IN c.d", ERR_INVALID, "", 21, 29, "alias"},
    {"SELECT (SELECT DISTINCT VALUE t FROM t IN c.t) AS x FROM c",
     ERR_UNSUPPORTED, "", 8, 45, "DISTINCT in a subquery"},
    {"SELECT FIRST(SELECT VALUE t FROM t IN c.t) FROM c", ERR_UNSUPPORTED, "",
     7, 13, "subquery"},
    {"SELECT * FROM c WHERE c.a IN (SELECT 1)", ERR_UNSUPPORTED, "", 30, 36,
     "subquery"},
    {"\xff", ERR_INVALID, "", 0, 0, "UTF-8"},
};

static void wrong_queries_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        const struct error_case *c = &errors[i];
        struct query *q = NULL;
        struct query_error e;
        int result = query_compile(bytes_str(c->query), bytes_str(""), &q, &e);
        if (result != c->result || strcmp(e.code, c->code) != 0 ||
            e.start != c->start || e.end != c->end ||
            strstr(e.text, c->text) == NULL)
            fail_msg("%s\n  got  %s %s [%u,%u) %s\n  want %s %s [%u,%u) %s",
                     c->query, err_name(result), e.code, e.start, e.end,
                     result != ERR_OK ? e.text : "", err_name(c->result),
                     c->code, c->start, c->end, c->text);
        assert_null(q);
    }
}

static void bad_parameters_are_refused(void **state)
{
    static const char *const bad[] = {
        "{}",          "[1]",    "[{}]", "[{\"name\":1,\"value\":2}]",
        "[{\"name\":", "\"@a\"", "1",    "[{\"name\":\"@a\",\"value\":1e999}]",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct query *q;
        struct query_error e;
        assert_int_equal(
            query_compile(bytes_str("SELECT 1"), bytes_str(bad[i]), &q, &e),
            ERR_INVALID);
        assert_non_null(strstr(e.text, "parameters"));
    }
}

static int compile_text(struct buf *text)
{
    struct query *q = NULL;
    struct query_error e;
    int result = query_compile(bytes_of(buf_bytes(text), buf_len(text)),
                               bytes_str(""), &q, &e);
    if (result == ERR_OK)
        query_free(q);
    else
        assert_true(strlen(e.text) > 10);
    buf_clear(text);
    return result;
}

/* `SELECT VALUE <before x count> middle <after x count>` */
static int compile_repeated(const char *before, const char *middle,
                            const char *after, size_t count)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    assert_int_equal(buf_append_str(&text, "SELECT VALUE "), ERR_OK);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(buf_append_str(&text, before), ERR_OK);
    assert_int_equal(buf_append_str(&text, middle), ERR_OK);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(buf_append_str(&text, after), ERR_OK);
    int result = compile_text(&text);
    buf_free(&text);
    return result;
}

static void limits_are_errors_not_crashes(void **state)
{
    static const struct {
        const char *before, *middle, *after;
        size_t fits, too_many;
    } cases[] = {
        {"(", "1", ")", QUERY_DEPTH_MAX - 1, QUERY_DEPTH_MAX},
        {"[", "1", "]", QUERY_DEPTH_MAX - 1, 100000},
        {"{a:", "1", "}", QUERY_DEPTH_MAX - 1, 80000},
        {"NOT ", "true", "", QUERY_DEPTH_MAX - 1, 60000},
        {"- ", "1", "", QUERY_DEPTH_MAX - 1, 100000},
        {"true AND ", "true", "", QUERY_LOGICAL_MAX, QUERY_LOGICAL_MAX + 1},
        {"true OR ", "true", "", QUERY_LOGICAL_MAX, QUERY_LOGICAL_MAX + 1},
        {"1+", "1", "", 900, 100000},
        {"1??", "1", "", QUERY_DEPTH_MAX - 2, 80000},
        {"1?1:", "1", "", QUERY_DEPTH_MAX - 2, 60000},
        {"", "{}", ".a", 900, 100000},
        {"ABS(", "1", ")", QUERY_DEPTH_MAX - 1, 40000},
        {"(SELECT VALUE ", "1", ")", 60, 10000},
        {"1,", "1 IN (1)", "", 0, QUERY_TEXT_MAX},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int fits = compile_repeated(cases[i].before, cases[i].middle,
                                    cases[i].after, cases[i].fits);
        int too_many = compile_repeated(cases[i].before, cases[i].middle,
                                        cases[i].after, cases[i].too_many);
        if (fits != ERR_OK || too_many != ERR_LIMIT)
            fail_msg("%s: %s, %s", cases[i].before, err_name(fits),
                     err_name(too_many));
    }
}

static void long_in_lists_fit_up_to_the_limit(void **state)
{
    struct buf text;
    (void)state;
    buf_init(&text, 1 << 20);
    for (int extra = 0; extra < 2; extra++) {
        assert_int_equal(buf_append_str(&text, "SELECT 1 IN (0"), ERR_OK);
        for (int i = 1; i < QUERY_IN_MAX + extra; i++)
            assert_int_equal(buf_append_str(&text, ",2"), ERR_OK);
        assert_int_equal(buf_append_str(&text, ")"), ERR_OK);
        assert_int_equal(compile_text(&text), extra ? ERR_LIMIT : ERR_OK);
    }
    buf_free(&text);
}

static void errors_become_json(void **state)
{
    struct query_error e;
    struct query *q;
    struct buf out;
    (void)state;
    buf_init(&out, 4096);
    assert_int_equal(
        query_compile(bytes_str("SELECT FROM c"), bytes_str(""), &q, &e),
        ERR_INVALID);
    assert_int_equal(query_error_json(&e, &out), ERR_OK);
    assert_string_equal(
        buf_cstr(&out),
        "{\"errors\":[{\"severity\":\"Error\",\"location\":{\"start\":7,"
        "\"end\":11},\"code\":\"SC1001\",\"message\":\"Syntax error, incorrect "
        "syntax near 'FROM'.\"}]}");
    buf_free(&out);
}

static int run(const char *text, const char *documents,
               struct query_error *error)
{
    struct query *q;
    struct buf rows, token;
    uint32_t count;
    buf_init(&rows, 1 << 20);
    buf_init(&token, 1 << 16);
    assert_int_equal(query_compile(bytes_str(text), bytes_str(""), &q, error),
                     ERR_OK);
    int result = query_run(q, bytes_str(documents), 0, bytes_str(""), 10, &rows,
                           &count, &token, error);
    assert_int_equal(buf_len(&rows), 0);
    query_free(q);
    buf_free(&rows);
    buf_free(&token);
    return result;
}

static void failures_at_run_time_are_explained(void **state)
{
    struct query_error e;
    struct buf array;
    (void)state;
    assert_int_equal(run("SELECT VALUE (SELECT VALUE t FROM t IN c.t) FROM c",
                         "{\"t\":[1,2]}", &e),
                     ERR_INVALID);
    assert_non_null(strstr(e.text, "more than one row"));
    assert_int_equal(run("SELECT * FROM c", "{", &e), ERR_MALFORMED);

    /* 400 x 400 x 400 x 400 rows of one document. */
    buf_init(&array, 1 << 16);
    assert_int_equal(buf_append_str(&array, "{\"t\":[0"), ERR_OK);
    for (int i = 1; i < 400; i++)
        assert_int_equal(buf_append_str(&array, ",0"), ERR_OK);
    assert_int_equal(buf_append_str(&array, "]}"), ERR_OK);
    assert_int_equal(run("SELECT VALUE COUNT(1) FROM c JOIN a IN c.t JOIN b "
                         "IN c.t JOIN d IN c.t JOIN e IN c.t",
                         buf_cstr(&array), &e),
                     ERR_LIMIT);
    assert_non_null(strstr(e.text, "steps"));
    assert_int_equal(run("SELECT VALUE REPLICATE('a', 10000) LIKE '%' || "
                         "REPLICATE('a', 5000) || 'b'",
                         "", &e),
                     ERR_LIMIT);
    assert_non_null(strstr(e.text, "steps"));
    assert_int_equal(run("SELECT VALUE LENGTH(REPLICATE(REPLICATE(REPLICATE("
                         "'x',10000),10000),10))",
                         "", &e),
                     ERR_LIMIT);
    assert_non_null(strstr(e.text, "memory"));
    buf_free(&array);
}

static void a_lack_of_memory_is_not_the_querys_fault(void **state)
{
    (void)state;
    struct query *q = NULL;
    struct query_error error;
    mem_fail(MEM_PERMILLE);
    mem_may_fail(true);
    int err = query_compile(bytes_str("SELECT * FROM c"), bytes_of(NULL, 0), &q,
                            &error);
    mem_may_fail(false);
    mem_fail(0);
    assert_int_equal(err, ERR_NO_MEMORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_queries_are_refused),
        cmocka_unit_test(bad_parameters_are_refused),
        cmocka_unit_test(limits_are_errors_not_crashes),
        cmocka_unit_test(long_in_lists_fit_up_to_the_limit),
        cmocka_unit_test(errors_become_json),
        cmocka_unit_test(failures_at_run_time_are_explained),
        cmocka_unit_test(a_lack_of_memory_is_not_the_querys_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
