/* The built-in functions. Wrong types give undefined, never an error. */
#include "tests/unit/node/query/cases.h"

static void types_are_told_apart(void **state)
{
    static const struct expression_case cases[] = {
        {"IS_DEFINED(1)", "true"},
        {"is_defined(undefined)", "false"},
        {"IS_NULL(null)", "true"},
        {"IS_NULL(0)", "false"},
        {"IS_NULL(undefined)", "false"},
        {"IS_STRING('')", "true"},
        {"IS_STRING(1)", "false"},
        {"IS_NUMBER(1)", "true"},
        {"IS_NUMBER('1')", "false"},
        {"IS_BOOL(false)", "true"},
        {"IS_ARRAY([])", "true"},
        {"IS_ARRAY({})", "false"},
        {"IS_OBJECT({})", "true"},
        {"IS_PRIMITIVE(null)", "true"},
        {"IS_PRIMITIVE([])", "false"},
        {"IS_PRIMITIVE(undefined)", "false"},
        {"IS_INTEGER(3)", "true"},
        {"IS_INTEGER(3.5)", "false"},
        {"IS_FINITE_NUMBER(3.5)", "true"},
        {"IIF(true, 1, 2)", "1"},
        {"IIF(1, 1, 2)", "2"},
        {"IIF(undefined, 1, 2)", "2"},
    };
    (void)state;
    RUN_EXPRESSIONS(cases);
}

static void the_clock_is_the_callers(void **state)
{
    static const struct expression_case cases[] = {
        {"GetCurrentTimestamp()", "1700000000123"},
        {"GetCurrentTicks()", "17000000001230000"},
        {"GetCurrentDateTime()", "\"2023-11-14T22:13:20.1230000Z\""},
    };
    (void)state;
    RUN_EXPRESSIONS(cases);
}

static void strings_are_searched_and_cut(void **state)
{
    static const struct expression_case cases[] = {
        {"CONTAINS('abc', 'b')", "true"},
        {"CONTAINS('abc', 'B')", "false"},
        {"CONTAINS('abc', 'B', true)", "true"},
        {"CONTAINS('abc', 'B', false)", "false"},
        {"CONTAINS('abc', '')", "true"},
        {"CONTAINS('\xc3\x84pfel', '\xc3\xa4P', true)", "true"},
        {"CONTAINS('abc', 1)", NULL},
        {"CONTAINS(undefined, 'a')", NULL},
        {"CONTAINS('abc', 'b', 1)", NULL},
        {"STARTSWITH('abc', 'ab')", "true"},
        {"STARTSWITH('abc', 'bc')", "false"},
        {"STARTSWITH('abc', 'AB', true)", "true"},
        {"STARTSWITH('a', 'ab')", "false"},
        {"ENDSWITH('abc', 'bc')", "true"},
        {"ENDSWITH('abc', 'BC', true)", "true"},
        {"ENDSWITH('abc', 'ab')", "false"},
        {"STRINGEQUALS('abc', 'ABC')", "false"},
        {"StringEquals('abc', 'ABC', true)", "true"},
        {"INDEX_OF('abcabc', 'c')", "2"},
        {"INDEX_OF('abcabc', 'c', 3)", "5"},
        {"INDEX_OF('abc', 'x')", "-1"},
        {"INDEX_OF('\xc3\xa9zz', 'z')", "1"},
        {"INDEX_OF('abc', '')", "0"},
        {"INDEX_OF('abc', 'a', 9)", "-1"},
        {"LASTINDEXOF('abcabc', 'c')", "5"},
        {"LASTINDEXOF('abc', 'x')", "-1"},
        {"LENGTH('abc')", "3"},
        {"LENGTH('\xc3\xa9\xf0\x9f\x98\x80')", "2"},
        {"LENGTH('')", "0"},
        {"LENGTH(5)", NULL},
        {"LEFT('abc', 2)", "\"ab\""},
        {"LEFT('abc', 9)", "\"abc\""},
        {"LEFT('abc', -1)", "\"\""},
        {"RIGHT('abc', 2)", "\"bc\""},
        {"RIGHT('abc', 9)", "\"abc\""},
        {"RIGHT('abc', 0)", "\"\""},
        {"SUBSTRING('abcd', 1, 2)", "\"bc\""},
        {"SUBSTRING('abcd', 2, 99)", "\"cd\""},
        {"SUBSTRING('abcd', 9, 1)", "\"\""},
        {"SUBSTRING('\xc3\xa9\xc3\xa8\xc3\xaa', 1, 1)", "\"\xc3\xa8\""},
        {"SUBSTRING('abcd', 'x', 1)", NULL},
        {"SUBSTRINGBEFORE('a=b', '=')", "\"a\""},
        {"SUBSTRINGAFTER('a=b', '=')", "\"b\""},
        {"TRIM('  a b ')", "\"a b\""},
        {"LTRIM('  a ')", "\"a \""},
        {"RTRIM('  a ')", "\"  a\""},
    };
    (void)state;
    RUN_EXPRESSIONS(cases);
}

static void strings_are_made(void **state)
{
    static const struct expression_case cases[] = {
        {"LOWER('ABC\xc3\x84\xd0\x96\xce\xa9')",
         "\"abc\xc3\xa4\xd0\xb6\xcf\x89\""},
        {"UPPER('abc\xc3\xa4\xd0\xb6\xcf\x89\xc5\x82')",
         "\"ABC\xc3\x84\xd0\x96\xce\xa9\xc5\x81\""},
        {"UPPER('\xc3\xb7\xc3\x97 1')", "\"\xc3\xb7\xc3\x97 1\""},
        {"UPPER(1)", NULL},
        {"CONCAT('a', 'b', 'c')", "\"abc\""},
        {"CONCAT('a', 1)", NULL},
        {"REPLACE('aXbX', 'X', '--')", "\"a--b--\""},
        {"REPLACE('abc', '', 'x')", "\"abc\""},
        {"REPLICATE('ab', 3)", "\"ababab\""},
        {"REPLICATE('ab', 0)", "\"\""},
        {"REPLICATE('ab', -1)", NULL},
        {"REVERSE('ab\xc3\xa9')", "\"\xc3\xa9"
                                  "ba\""},
        {"TOSTRING(1.5)", "\"1.5\""},
        {"TOSTRING('a')", "\"a\""},
        {"TOSTRING({'a':[1,null]})", "\"{\\\"a\\\":[1,null]}\""},
        {"STRINGJOIN(['a','b'], '-')", "\"a-b\""},
        {"STRINGJOIN(['a',1], '-')", NULL},
        {"STRINGJOIN([], '-')", "\"\""},
        {"STRINGSPLIT('a,b,,c', ',')", "[\"a\",\"b\",\"\",\"c\"]"},
        {"STRINGSPLIT('abc', '')", "[\"abc\"]"},
        {"STRINGTONUMBER('1.5')", "1.5"},
        {"STRINGTONUMBER(' 7 ')", "7"},
        {"STRINGTONUMBER('x')", NULL},
        {"STRINGTOBOOLEAN('true')", "true"},
        {"STRINGTOBOOLEAN('1')", NULL},
        {"STRINGTONULL('null')", "null"},
        {"STRINGTOARRAY('[1, {\"a\": \"x\\\\n\"}]')", "[1,{\"a\":\"x\\n\"}]"},
        {"STRINGTOARRAY('{}')", NULL},
        {"STRINGTOOBJECT('{\"a\":[]}')", "{\"a\":[]}"},
        {"STRINGTOOBJECT('{\"a\":')", NULL},
    };
    (void)state;
    RUN_EXPRESSIONS(cases);
}

static void numbers_are_computed(void **state)
{
    static const struct expression_case cases[] = {
        {"ABS(-2)", "2"},
        {"ABS('x')", NULL},
        {"FLOOR(1.7)", "1"},
        {"CEILING(1.2)", "2"},
        {"ROUND(2.5)", "3"},
        {"ROUND(-2.5)", "-3"},
        {"ROUND(2.44, 1)", "2.4"},
        {"TRUNC(-1.7)", "-1"},
        {"SIGN(-3)", "-1"},
        {"SQRT(9)", "3"},
        {"SQRT(-1)", NULL},
        {"SQUARE(3)", "9"},
        {"POWER(2, 10)", "1024"},
        {"POWER(10, 400)", NULL},
        {"EXP(0)", "1"},
        {"LOG(1)", "0"},
        {"LOG(0)", NULL},
        {"LOG(8, 2)", "3"},
        {"LOG10(1000)", "3"},
        {"PI()", "3.141592653589793"},
        {"SIN(0)", "0"},
        {"COS(0)", "1"},
        {"TAN(0)", "0"},
        {"ATN2(0, 1)", "0"},
        {"DEGREES(PI())", "180"},
        {"RADIANS(180)", "3.141592653589793"},
        {"NUMBERBIN(37, 10)", "30"},
        {"NUMBERBIN(-1.5)", "-2"},
        {"NUMBERBIN(1, 0)", NULL},
        {"INTADD(2, 3)", "5"},
        {"INTSUB(2, 3)", "-1"},
        {"INTMUL(4, 3)", "12"},
        {"INTDIV(7, 2)", "3"},
        {"INTDIV(7, 0)", NULL},
        {"INTMOD(7, 4)", "3"},
        {"INTADD(1.5, 2)", NULL},
        {"INTBITAND(6, 3)", "2"},
        {"INTBITOR(6, 3)", "7"},
        {"INTBITXOR(6, 3)", "5"},
        {"INTBITNOT(0)", "-1"},
        {"INTBITLEFTSHIFT(1, 40)", "1099511627776"},
        {"INTBITRIGHTSHIFT(1099511627776, 40)", "1"},
    };
    (void)state;
    RUN_EXPRESSIONS(cases);
}

static void arrays_are_handled(void **state)
{
    static const struct expression_case cases[] = {
        {"ARRAY_LENGTH([1,2])", "2"},
        {"ARRAY_LENGTH('ab')", NULL},
        {"ARRAY_CONTAINS([1,'a',{'k':1,'l':2}], 'a')", "true"},
        {"ARRAY_CONTAINS([1,2], '1')", "false"},
        {"ARRAY_CONTAINS([{'k':1,'l':2}], {'k':1})", "false"},
        {"ARRAY_CONTAINS([{'k':1,'l':2}], {'k':1}, true)", "true"},
        {"ARRAY_CONTAINS([{'k':1,'l':2}], {'l':2,'k':1})", "true"},
        {"ARRAY_CONTAINS([{'k':1}], {'k':1,'l':2}, true)", "false"},
        {"ARRAY_CONTAINS([[1]], [1])", "true"},
        {"ARRAY_CONTAINS(1, 1)", NULL},
        {"ARRAY_CONTAINS(undefined, 1)", NULL},
        {"ARRAY_CONTAINS_ANY([1,2], 5, 2)", "true"},
        {"ARRAY_CONTAINS_ALL([1,2], 1, 2)", "true"},
        {"ARRAY_CONTAINS_ALL([1,2], 1, 3)", "false"},
        {"ARRAY_CONCAT([1],[2,3],[])", "[1,2,3]"},
        {"ARRAY_CONCAT([1],2)", NULL},
        {"ARRAY_SLICE([1,2,3,4], 1)", "[2,3,4]"},
        {"ARRAY_SLICE([1,2,3,4], 1, 2)", "[2,3]"},
        {"ARRAY_SLICE([1,2,3,4], -2)", "[3,4]"},
        {"ARRAY_SLICE([1,2,3,4], -9, 1)", "[1]"},
        {"ARRAY_SLICE([1,2], 5)", "[]"},
        {"ARRAY_SUM([1,2,3])", "6"},
        {"ARRAY_AVG([1,2,3])", "2"},
        {"ARRAY_AVG([])", NULL},
        {"ARRAY_MIN([3,1,2])", "1"},
        {"ARRAY_MAX([3,1,2])", "3"},
        {"ARRAY_MAX(['a','b'])", "\"b\""},
        {"ARRAY_MAX([1,'b'])", NULL},
        {"ARRAY_SUM([1,'b'])", NULL},
        {"CHOOSE(2, 'a', 'b')", "\"b\""},
        {"CHOOSE(3, 'a', 'b')", NULL},
        {"CHOOSE(0, 'a')", NULL},
        {"OBJECTTOARRAY({'a':1,'b':2})",
         "[{\"k\":\"a\",\"v\":1},{\"k\":\"b\",\"v\":2}]"},
        {"OBJECTTOARRAY({'a':1}, 'n', 'w')", "[{\"n\":\"a\",\"w\":1}]"},
        {"SETINTERSECT([1,2,2,3],[3,2])", "[2,3]"},
        {"SETUNION([1,2,2],[2,3])", "[1,2,3]"},
        {"SETDIFFERENCE([1,2,3],[2])", "[1,3]"},
        {"SETEQUAL([1,2,2],[2,1])", "true"},
        {"SETEQUAL([1,2],[2,3])", "false"},
    };
    (void)state;
    RUN_EXPRESSIONS(cases);
}

static void documents_feed_functions(void **state)
{
    static const char documents[] =
        "{\"s\":\"a\\u0042\\n\",\"t\":[{\"k\":\"\\u0041\",\"x\":1}],"
        "\"o\":{\"q\\u0021\":[1,{}]}}";
    static const struct query_case cases[] = {
        {"SELECT VALUE LOWER(c.s) FROM c", "\"ab\\n\""},
        {"SELECT VALUE c.s || '!' FROM c", "\"aB\\n!\""},
        {"SELECT VALUE c.s FROM c WHERE c.s = 'aB\\n'", "\"a\\u0042\\n\""},
        {"SELECT VALUE ARRAY_CONTAINS(c.t, {'k':'A'}, true) FROM c", "true"},
        {"SELECT VALUE OBJECTTOARRAY(c.o) FROM c",
         "[{\"k\":\"q!\",\"v\":[1,{}]}]"},
        {"SELECT VALUE TOSTRING(c.o) FROM c",
         "\"{\\\"q\\\\u0021\\\":[1,{}]}\""},
        {"SELECT VALUE c.o['q!'][0] FROM c", "1"},
        {"SELECT VALUE ARRAY_CONCAT(c.t, [c.s]) FROM c",
         "[{\"k\":\"\\u0041\",\"x\":1},\"a\\u0042\\n\"]"},
    };
    (void)state;
    RUN_CASES(documents, cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_are_told_apart),
        cmocka_unit_test(the_clock_is_the_callers),
        cmocka_unit_test(strings_are_searched_and_cut),
        cmocka_unit_test(strings_are_made),
        cmocka_unit_test(numbers_are_computed),
        cmocka_unit_test(arrays_are_handled),
        cmocka_unit_test(documents_feed_functions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
