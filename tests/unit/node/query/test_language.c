/* What queries mean: the protocol notes, section 5.10, case by case. */
#include "tests/unit/node/query/cases.h"

static void operators_follow_the_language(void **state)
{
    static const struct expression_case cases[] = {
        {"1", "1"},
        {"-1.5e2", "-150"},
        {".5", "0.5"},
        {"1 + 2 * 3", "7"},
        {"(1 + 2) * 3", "9"},
        {"10 - 4 - 3", "3"},
        {"7 % 4", "3"},
        {"-7 % 4", "-3"},
        {"7 / 2", "3.5"},
        {"1 / 0", NULL},
        {"0 / 0", NULL},
        {"1e308 * 10", NULL},
        {"1 + 'a'", NULL},
        {"1 + null", NULL},
        {"1 + undefined", NULL},
        {"- -1", "1"},
        {"-'a'", NULL},
        {"+5", "5"},
        {"~5", "-6"},
        {"6 & 3", "2"},
        {"6 | 3", "7"},
        {"6 ^ 3", "5"},
        {"1 << 4", "16"},
        {"-16 >> 2", "-4"},
        {"-16 >>> 28", "15"},
        {"1 << 33", "2"},
        {"4294967297 | 0", "1"},
        {"'a' || 'b' || 'c'", "\"abc\""},
        {"'a' || 1", NULL},
        {"1 = 1", "true"},
        {"1 = 1.0", "true"},
        {"0 = -0", "true"},
        {"1 = 2", "false"},
        {"1 = '1'", NULL},
        {"null = null", "true"},
        {"null = undefined", NULL},
        {"undefined = undefined", NULL},
        {"null = 0", NULL},
        {"1 != 2", "true"},
        {"1 <> 1", "false"},
        {"1 != '1'", NULL},
        {"'a' < 'b'", "true"},
        {"'a' < 'B'", "false"},
        {"'a' < 1", NULL},
        {"false < true", "true"},
        {"null <= null", "true"},
        {"[1] < [2]", NULL},
        {"{} >= {}", NULL},
        {"[1,2] = [1,2]", "true"},
        {"[1,2] = [2,1]", "false"},
        {"{'a':1,'b':[{}]} = {'b':[{}],'a':1}", "true"},
        {"{'a':1} = {'a':2}", "false"},
        {"{'a':1} != {'a':1,'b':2}", "true"},
        {"1 ?? 2", "1"},
        {"undefined ?? 2", "2"},
        {"null ?? 2", "null"},
        {"undefined ?? undefined ?? 3", "3"},
        {"true ? 1 : 2", "1"},
        {"false ? 1 : 2", "2"},
        {"1 ? 1 : 2", "2"},
        {"undefined ? 1 : 2", "2"},
        {"false ? 1 : true ? 2 : 3", "2"},
        {"[1, undefined, 2]", "[1,2]"},
        {"{'a': undefined, b: 2, \"c d\": 3}", "{\"b\":2,\"c d\":3}"},
        {"[]", "[]"},
        {"{}", "{}"},
        {"[1,2,3][1]", "2"},
        {"[1,2,3][3]", NULL},
        {"[1,2,3][-1]", NULL},
        {"[1,2,3][0.5]", NULL},
        {"{'a':{'b':7}}.a.b", "7"},
        {"{'a':{'b':7}}['a']['b']", "7"},
        {"{'a':1}.b.c.d", NULL},
        {"'x'.y", NULL},
        {"\"\\u0041\\n\\u20ac\\ud83d\\ude00\"",
         "\"A\\n\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"'a\"b\\'c'", "\"a\\\"b'c\""},
    };
    (void)state;
    RUN_EXPRESSIONS(cases);
}

static void logic_has_three_values(void **state)
{
    static const struct expression_case cases[] = {
        {"true AND true", "true"},
        {"true AND false", "false"},
        {"true AND undefined", NULL},
        {"undefined AND true", NULL},
        {"false AND undefined", "false"},
        {"undefined AND false", "false"},
        {"undefined AND undefined", NULL},
        {"true AND 1", NULL},
        {"false AND 'x'", "false"},
        {"true OR undefined", "true"},
        {"undefined OR true", "true"},
        {"false OR undefined", NULL},
        {"undefined OR false", NULL},
        {"false OR false", "false"},
        {"false OR 1", NULL},
        {"NOT true", "false"},
        {"NOT false", "true"},
        {"NOT undefined", NULL},
        {"NOT null", NULL},
        {"NOT 1", NULL},
        {"NOT 1 = 2", "true"},
        {"NOT NOT true", "true"},
        {"NOT (1 = 'a')", NULL},
        {"true OR false AND false", "true"},
        {"(true OR false) AND false", "false"},
        {"NOT false AND false", "false"},
        {"1 = 1 AND 2 = 2 OR 1 = 2", "true"},
        {"1 IN (1, 2)", "true"},
        {"3 IN (1, 2)", "false"},
        {"3 NOT IN (1, 2)", "true"},
        {"undefined IN (1)", NULL},
        {"3 IN (1, 'a')", NULL},
        {"'a' IN (1, 'a')", "true"},
        {"NOT 1 IN (1)", "false"},
        {"2 BETWEEN 1 AND 3", "true"},
        {"1 BETWEEN 1 AND 1", "true"},
        {"4 BETWEEN 1 AND 3", "false"},
        {"'b' BETWEEN 'a' AND 'c'", "true"},
        {"2 BETWEEN 'a' AND 3", NULL},
        {"4 BETWEEN 'a' AND 3", "false"},
        {"2 NOT BETWEEN 1 AND 3", "false"},
        {"2 BETWEEN 1 AND 3 AND true", "true"},
        {"1 < 2 = true", "true"},
        {"1 | 2 = 3", "true"},
        {"1 + 1 = 2", "true"},
        {"'a' || 'b' = 'ab'", "true"},
    };
    (void)state;
    RUN_EXPRESSIONS(cases);
}

static void like_matches_patterns(void **state)
{
    static const struct expression_case cases[] = {
        {"'abc' LIKE 'abc'", "true"},
        {"'abc' LIKE 'ABC'", "false"},
        {"'abc' LIKE 'a%'", "true"},
        {"'abc' LIKE '%c'", "true"},
        {"'abc' LIKE '%b%'", "true"},
        {"'abc' LIKE 'a_c'", "true"},
        {"'abc' LIKE 'a_'", "false"},
        {"'a\xc3\xa9z' LIKE 'a_z'", "true"},
        {"'' LIKE '%'", "true"},
        {"'' LIKE ''", "true"},
        {"'' LIKE '_'", "false"},
        {"'a.c' LIKE 'a.c'", "true"},
        {"'abc' LIKE 'a.c'", "false"},
        {"'b' LIKE '[abc]'", "true"},
        {"'d' LIKE '[abc]'", "false"},
        {"'d' LIKE '[a-f]'", "true"},
        {"'g' LIKE '[^a-f]'", "true"},
        {"'b' LIKE '[^a-f]'", "false"},
        {"'-' LIKE '[a-]'", "true"},
        {"']' LIKE '[]]'", "true"},
        {"'[a' LIKE '[a'", "true"},
        {"'50%' LIKE '50!%' ESCAPE '!'", "true"},
        {"'505' LIKE '50!%' ESCAPE '!'", "false"},
        {"'mississippi' LIKE '%iss%ip%i'", "true"},
        {"'mississippi' LIKE '%iss%ix%'", "false"},
        {"'abc' NOT LIKE 'x%'", "true"},
        {"1 LIKE '1'", NULL},
        {"'a' LIKE undefined", NULL},
    };
    (void)state;
    RUN_EXPRESSIONS(cases);
}

static const char family[] =
    "{\"id\":\"1\",\"n\":5,\"s\":\"x\",\"t\":[1,2,{\"k\":\"v\"}],\"o\":{\"a "
    "b\":1},"
    "\"e\":1.50},"
    "{\"id\":\"2\",\"n\":3,\"s\":\"y\",\"t\":[],\"value\":true},"
    "{\"id\":\"3\",\"n\":null,\"s\":5},"
    "{\"id\":\"4\"}";

static void select_projects(void **state)
{
    static const struct query_case cases[] = {
        {"SELECT * FROM c WHERE c.id = '4'", "{\"id\":\"4\"}"},
        {"select * from c where c.id = '4'", "{\"id\":\"4\"}"},
        {"SELECT VALUE c FROM c WHERE c.id = '4'", "{\"id\":\"4\"}"},
        {"SELECT c FROM c WHERE c.id = '4'", "{\"c\":{\"id\":\"4\"}}"},
        {"SELECT c.id FROM c", "{\"id\":\"1\"},{\"id\":\"2\"},{\"id\":\"3\"},"
                               "{\"id\":\"4\"}"},
        {"SELECT VALUE c.n FROM c", "5,3,null"},
        {"SELECT c.n, c.s AS t FROM c", "{\"n\":5,\"t\":\"x\"},{\"n\":3,\"t\":"
                                        "\"y\"},{\"n\":null,\"t\":5},{}"},
        {"SELECT c.n nn FROM c WHERE c.n = 5", "{\"nn\":5}"},
        {"SELECT c.n + 1, c.id, 2 FROM c WHERE c.n = 5",
         "{\"$1\":6,\"id\":\"1\",\"$2\":2}"},
        {"SELECT {\"a\": c.n, \"z\": c.zz} AS y FROM c WHERE c.n = 5",
         "{\"y\":{\"a\":5}}"},
        {"SELECT VALUE [c.id, c.zz, c.n] FROM c", "[\"1\",5],[\"2\",3],"
                                                  "[\"3\",null],[\"4\"]"},
        {"SELECT VALUE c.o['a b'] FROM c", "1"},
        {"SELECT c.o[\"a b\"] FROM c WHERE c.id='1'", "{\"a b\":1}"},
        {"SELECT VALUE c.t[2].k FROM c", "\"v\""},
        {"SELECT c.t[0] FROM c WHERE c.id='1'", "{\"$1\":1}"},
        {"SELECT VALUE c[\"id\"] FROM c WHERE c.n = 3", "\"2\""},
        {"SELECT VALUE c.value FROM c", "true"},
        {"SELECT VALUE c.e FROM c", "1.50"},
        {"SELECT VALUE c.e + 0 FROM c", "1.5"},
        {"SELECT TOP 2 VALUE c.id FROM c", "\"1\",\"2\""},
        {"SELECT TOP 0 * FROM c", ""},
        {"SELECT VALUE c.id FROM c OFFSET 1 LIMIT 2", "\"2\",\"3\""},
        {"SELECT VALUE c.id FROM c OFFSET 3 LIMIT 20", "\"4\""},
        {"SELECT VALUE c.id FROM c OFFSET 9 LIMIT 2", ""},
        {"SELECT 1", "{\"$1\":1}"},
        {"SELECT 'a' AS b, 1 + 1 AS c", "{\"b\":\"a\",\"c\":2}"},
        {"SELECT VALUE 7 FROM c", "7,7,7,7"},
        {"SELECT VALUE 7", "7"},
        {"SELECT VALUE 7 WHERE 1 = 2", ""},
    };
    (void)state;
    RUN_CASES(family, cases);
}

static void where_keeps_only_what_is_true(void **state)
{
    static const struct query_case cases[] = {
        {"SELECT VALUE c.id FROM c WHERE c.n > 3", "\"1\""},
        {"SELECT VALUE c.id FROM c WHERE c.n >= 3", "\"1\",\"2\""},
        {"SELECT VALUE c.id FROM c WHERE c.n != 3", "\"1\""},
        {"SELECT VALUE c.id FROM c WHERE NOT (c.n = 3)", "\"1\""},
        {"SELECT VALUE c.id FROM c WHERE c.n = null", "\"3\""},
        {"SELECT VALUE c.id FROM c WHERE c.s = 'x' OR c.s = 5", "\"1\",\"3\""},
        {"SELECT VALUE c.id FROM c WHERE c.n", ""},
        {"SELECT VALUE c.id FROM c WHERE c.value", "\"2\""},
        {"SELECT VALUE c.id FROM c WHERE c.n = @n", "\"2\"",
         "[{\"name\":\"@n\",\"value\":3}]"},
        {"SELECT VALUE c.id FROM c WHERE c.n = @n AND c.s = @s", "\"1\"",
         "[{\"name\":\"@s\",\"value\":\"x\"},{\"name\":\"@n\",\"value\":5}]"},
        {"SELECT VALUE c.id FROM c WHERE ARRAY_CONTAINS(@a, c.n)",
         "\"1\",\"3\"", "[{\"name\":\"@a\",\"value\":[5,null]}]"},
        {"SELECT VALUE c.id FROM c WHERE c.o = @o", "\"1\"",
         "[{\"name\":\"@o\",\"value\":{ \"a b\" : 1 }}]"},
        {"SELECT VALUE c[@p] FROM c WHERE c.id = '1'", "5",
         "[{\"name\":\"@p\",\"value\":\"n\"}]"},
        {"SELECT VALUE @o FROM c WHERE c.id = '1'", "{\"x\":[1,2]}",
         "[{\"name\":\"@o\",\"value\":{ \"x\" : [1, 2] }}]"},
        {"SELECT VALUE @none ?? 'none' FROM c WHERE c.id = '1'", "\"none\"",
         "[{\"name\":\"@none\"}]"},
        {"SELECT VALUE c.id FROM c WHERE c.id IN ('1', @x, 3)", "\"1\",\"4\"",
         "[{\"name\":\"@x\",\"value\":\"4\"}]"},
        {"SELECT TOP @t VALUE c.id FROM c", "\"1\",\"2\"",
         "[{\"name\":\"@t\",\"value\":2}]"},
    };
    (void)state;
    RUN_CASES(family, cases);
}

static void from_names_and_iterates(void **state)
{
    static const char documents[] =
        "{\"id\":\"a\",\"tags\":[\"x\",\"y\"],\"kids\":[{\"n\":1,\"p\":[1,2]},"
        "{\"n\":2,\"p\":[3]}]},"
        "{\"id\":\"b\",\"tags\":\"x\",\"kids\":[]},"
        "{\"id\":\"c\",\"tags\":[]}";
    static const struct query_case cases[] = {
        {"SELECT VALUE r.id FROM root r", "\"a\",\"b\",\"c\""},
        {"SELECT VALUE r.id FROM root AS r", "\"a\",\"b\",\"c\""},
        {"SELECT VALUE root.id FROM root", "\"a\",\"b\",\"c\""},
        {"SELECT VALUE anything.id FROM anything", "\"a\",\"b\",\"c\""},
        {"SELECT * FROM c.kids", "[{\"n\":1,\"p\":[1,2]},{\"n\":2,\"p\":[3]}],"
                                 "[]"},
        {"SELECT VALUE kids[0].n FROM c.kids", "1"},
        {"SELECT VALUE k[0].n FROM c.kids k", "1"},
        {"SELECT VALUE t FROM t IN c.tags", "\"x\",\"y\""},
        {"SELECT * FROM k IN c.kids WHERE k.n > 1", "{\"n\":2,\"p\":[3]}"},
        {"SELECT c.id, t FROM c JOIN t IN c.tags",
         "{\"id\":\"a\",\"t\":\"x\"},{\"id\":\"a\",\"t\":\"y\"}"},
        {"SELECT VALUE p FROM c JOIN k IN c.kids JOIN p IN k.p", "1,2,3"},
        {"SELECT VALUE [t, k.n] FROM c JOIN t IN c.tags JOIN k IN c.kids",
         "[\"x\",1],[\"x\",2],[\"y\",1],[\"y\",2]"},
        {"SELECT VALUE x FROM c JOIN (SELECT VALUE k.n FROM k IN c.kids WHERE "
         "k.n > 1) AS x",
         "2"},
        {"SELECT VALUE c.id FROM c WHERE EXISTS(SELECT VALUE t FROM t IN "
         "c.tags WHERE t = 'y')",
         "\"a\""},
        {"SELECT VALUE c.id FROM c WHERE NOT EXISTS (SELECT VALUE t FROM t IN "
         "c.tags)",
         "\"b\",\"c\""},
        {"SELECT VALUE ARRAY(SELECT VALUE k.n * 10 FROM k IN c.kids) FROM c",
         "[10,20],[],[]"},
        {"SELECT VALUE (SELECT VALUE COUNT(1) FROM k IN c.kids) FROM c",
         "2,0,0"},
        {"SELECT (SELECT VALUE SUM(p) FROM k IN c.kids JOIN p IN k.p) AS s, "
         "c.id FROM c WHERE c.id = 'a'",
         "{\"s\":6,\"id\":\"a\"}"},
        {"SELECT VALUE (SELECT MAX(k.n) AS m, c.id FROM k IN c.kids) FROM c "
         "WHERE c.id = 'a'",
         "{\"m\":2,\"id\":\"a\"}"},
        {"SELECT -- a comment\n VALUE /* another */ c.id FROM c WHERE c.id = "
         "'a' --end",
         "\"a\""},
    };
    (void)state;
    RUN_CASES(documents, cases);
}

static const char mixed[] = "{\"id\":\"obj\",\"v\":{\"a\":1}},"
                            "{\"id\":\"str\",\"v\":\"b\"},"
                            "{\"id\":\"neg\",\"v\":-3},"
                            "{\"id\":\"true\",\"v\":true},"
                            "{\"id\":\"none\"},"
                            "{\"id\":\"arr\",\"v\":[0]},"
                            "{\"id\":\"num\",\"v\":12},"
                            "{\"id\":\"false\",\"v\":false},"
                            "{\"id\":\"null\",\"v\":null},"
                            "{\"id\":\"str2\",\"v\":\"a\"},"
                            "{\"id\":\"num2\",\"v\":2},"
                            "{\"id\":\"str3\",\"v\":\"\"},"
                            "{\"id\":\"none2\"},"
                            "{\"id\":\"num3\",\"v\":12.0}";

static void order_by_sorts_all_types(void **state)
{
    static const char ascending[] =
        "\"none\",\"none2\",\"null\",\"false\",\"true\",\"neg\",\"num2\","
        "\"num\",\"num3\",\"str3\",\"str2\",\"str\",\"arr\",\"obj\"";
    static const char descending[] =
        "\"obj\",\"arr\",\"str\",\"str2\",\"str3\",\"num\",\"num3\",\"num2\","
        "\"neg\",\"true\",\"false\",\"null\",\"none\",\"none2\"";
    static const struct query_case cases[] = {
        {"SELECT VALUE c.id FROM c ORDER BY c.v", ascending},
        {"SELECT VALUE c.id FROM c ORDER BY c.v ASC", ascending},
        {"SELECT VALUE c.id FROM c ORDER BY c.v DESC", descending},
        {"SELECT VALUE c.id FROM c WHERE IS_STRING(c.v) ORDER BY c.v",
         "\"str3\",\"str2\",\"str\""},
        {"SELECT TOP 3 VALUE c.id FROM c ORDER BY c.v",
         "\"none\",\"none2\",\"null\""},
        {"SELECT VALUE c.id FROM c ORDER BY c.v OFFSET 2 LIMIT 2",
         "\"null\",\"false\""},
        {"SELECT VALUE c.v FROM c WHERE c.v > 0 ORDER BY c.v DESC",
         "12,12.0,2"},
        {"SELECT VALUE c.zz FROM c ORDER BY c.v", ""},
    };
    static const char pairs[] =
        "{\"a\":2,\"b\":\"x\",\"id\":1},{\"a\":1,\"b\":\"y\",\"id\":2},"
        "{\"a\":2,\"b\":\"y\",\"id\":3},{\"a\":1,\"b\":\"x\",\"id\":4},"
        "{\"a\":2,\"b\":\"xa\",\"id\":5}";
    static const struct query_case two_keys[] = {
        {"SELECT VALUE c.id FROM c ORDER BY c.a, c.b", "4,2,1,5,3"},
        {"SELECT VALUE c.id FROM c ORDER BY c.a DESC, c.b", "1,5,3,4,2"},
        {"SELECT VALUE c.id FROM c ORDER BY c.b DESC, c.a DESC", "3,2,5,1,4"},
        {"SELECT VALUE c.id FROM c ORDER BY c.b, c.a DESC", "1,4,5,3,2"},
    };
    (void)state;
    RUN_CASES(mixed, cases);
    RUN_CASES(pairs, two_keys);
}

static void distinct_drops_equal_rows(void **state)
{
    static const char documents[] =
        "{\"v\":1,\"o\":{\"a\":1,\"b\":2}},{\"v\":1.0,\"o\":{\"b\":2,\"a\":1}},"
        "{\"v\":\"1\"},{\"v\":2},{\"v\":\"1\",\"o\":{\"a\":1}},{\"v\":null}";
    static const struct query_case cases[] = {
        {"SELECT DISTINCT VALUE c.v FROM c", "1,\"1\",2,null"},
        {"SELECT DISTINCT VALUE c.o FROM c", "{\"a\":1,\"b\":2},{\"a\":1}"},
        {"SELECT DISTINCT c.v FROM c",
         "{\"v\":1},{\"v\":\"1\"},{\"v\":2},{\"v\":null}"},
        {"SELECT DISTINCT VALUE c.v FROM c ORDER BY c.v", "null,1,2,\"1\""},
        {"SELECT DISTINCT VALUE c.v FROM c ORDER BY c.v DESC",
         "\"1\",2,1,null"},
        {"SELECT DISTINCT TOP 2 VALUE c.v FROM c", "1,\"1\""},
        {"SELECT DISTINCT VALUE c.v FROM c OFFSET 1 LIMIT 2", "\"1\",2"},
        {"SELECT DISTINCT VALUE c.v > 0 FROM c", "true"},
    };
    (void)state;
    RUN_CASES(documents, cases);
}

static void aggregates_fold_rows(void **state)
{
    static const char documents[] =
        "{\"n\":3,\"g\":\"a\"},{\"n\":1,\"g\":\"b\",\"s\":\"q\"},"
        "{\"n\":8,\"g\":\"a\",\"m\":1},{\"g\":\"a\",\"m\":\"x\",\"s\":\"p\"}";
    static const struct query_case cases[] = {
        {"SELECT VALUE COUNT(1) FROM c", "4"},
        {"SELECT VALUE COUNT(c.n) FROM c", "3"},
        {"SELECT COUNT(1) AS n FROM c", "{\"n\":4}"},
        {"SELECT COUNT(1) FROM c", "{\"$1\":4}"},
        {"SELECT VALUE COUNT(1) FROM c WHERE c.g = 'a'", "3"},
        {"SELECT VALUE COUNT(1) FROM c WHERE c.g = 'zz'", "0"},
        {"SELECT VALUE SUM(c.n) FROM c", "12"},
        {"SELECT VALUE SUM(c.zz) FROM c", "0"},
        {"SELECT VALUE SUM(c.m) FROM c", ""},
        {"SELECT VALUE AVG(c.n) FROM c", "4"},
        {"SELECT VALUE AVG(c.zz) FROM c", ""},
        {"SELECT AVG(c.zz) AS a, COUNT(1) AS n FROM c", "{\"n\":4}"},
        {"SELECT VALUE MIN(c.n) FROM c", "1"},
        {"SELECT VALUE MAX(c.n) FROM c", "8"},
        {"SELECT VALUE MIN(c.s) FROM c", "\"p\""},
        {"SELECT VALUE MAX(c.m) FROM c", "\"x\""},
        {"SELECT VALUE MIN(c.m) FROM c", "1"},
        {"SELECT VALUE MIN(c.zz) FROM c", ""},
        {"SELECT VALUE MAX([c.n]) FROM c", ""},
        {"SELECT VALUE COUNTIF(c.n > 2) FROM c", "2"},
        {"SELECT MIN(c.n) AS lo, MAX(c.n) AS hi, SUM(c.n) AS s FROM c",
         "{\"lo\":1,\"hi\":8,\"s\":12}"},
        {"SELECT VALUE {\"n\": COUNT(1), \"k\": 7} FROM c",
         "{\"n\":4,\"k\":7}"},
        {"SELECT VALUE MAX(c.n) - MIN(c.n) FROM c", "7"},
        {"SELECT c.g, COUNT(1) AS n FROM c GROUP BY c.g",
         "{\"g\":\"a\",\"n\":3},{\"g\":\"b\",\"n\":1}"},
        {"SELECT VALUE c.g FROM c GROUP BY c.g", "\"a\",\"b\""},
        {"SELECT c.s, SUM(c.n) AS n FROM c GROUP BY c.s",
         "{\"n\":11},{\"s\":\"p\",\"n\":0},{\"s\":\"q\",\"n\":1}"},
        {"SELECT UPPER(c.g) AS u, COUNT(1) AS n FROM c GROUP BY UPPER(c.g)",
         "{\"u\":\"A\",\"n\":3},{\"u\":\"B\",\"n\":1}"},
        {"SELECT c.g, c.s, COUNT(1) AS n FROM c GROUP BY c.g, c.s",
         "{\"g\":\"a\",\"n\":2},{\"g\":\"a\",\"s\":\"p\",\"n\":1},"
         "{\"g\":\"b\",\"s\":\"q\",\"n\":1}"},
        {"SELECT c.g, COUNT(1) AS n FROM c GROUP BY c.g OFFSET 1 LIMIT 1",
         "{\"g\":\"b\",\"n\":1}"},
        {"SELECT VALUE COUNT(1) FROM c WHERE c.zz = 1 GROUP BY c.g", ""},
        {"SELECT VALUE COUNT(1)", "1"},
    };
    (void)state;
    RUN_CASES(documents, cases);
}

static void metadata_queries_work(void **state)
{
    static const char databases[] =
        "{\"id\":\"db1\",\"_rid\":\"AAAAAA==\"},{\"id\":\"db2\"}";
    static const struct query_case cases[] = {
        {"SELECT * FROM root r WHERE r.id=@id",
         "{\"id\":\"db1\",\"_rid\":\"AAAAAA==\"}",
         "[{\"name\":\"@id\",\"value\":\"db1\"}]"},
        {"SELECT * from root where root.resource = \"dbs/x/\"", ""},
    };
    (void)state;
    RUN_CASES(databases, cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operators_follow_the_language),
        cmocka_unit_test(logic_has_three_values),
        cmocka_unit_test(like_matches_patterns),
        cmocka_unit_test(select_projects),
        cmocka_unit_test(where_keeps_only_what_is_true),
        cmocka_unit_test(from_names_and_iterates),
        cmocka_unit_test(order_by_sorts_all_types),
        cmocka_unit_test(distinct_drops_equal_rows),
        cmocka_unit_test(aggregates_fold_rows),
        cmocka_unit_test(metadata_queries_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
