/* Rules of placement: patterns, the first match, records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/catalog/placement_rules.h"

static bool matches(const char *pattern, const char *name)
{
    return placement_pattern_matches(pattern, bytes_str(name));
}

static void a_pattern_without_a_star_is_the_name(void **state)
{
    (void)state;
    assert_true(matches("orders", "orders"));
    assert_false(matches("orders", "order"));
    assert_false(matches("orders", "orders2"));
    assert_false(matches("orders", "Orders"));
    assert_false(matches("orders", ""));
    assert_true(matches("", ""));
}

static void a_star_is_any_run(void **state)
{
    (void)state;
    assert_true(matches("*", ""));
    assert_true(matches("*", "anything"));
    assert_true(matches("de-*", "de-"));
    assert_true(matches("de-*", "de-orders"));
    assert_false(matches("de-*", "de"));
    assert_false(matches("de-*", "xde-orders"));
    assert_true(matches("*-eu", "orders-eu"));
    assert_false(matches("*-eu", "orders-eu2"));
    assert_true(matches("a*b*c", "abc"));
    assert_true(matches("a*b*c", "a-b-b-c-c"));
    assert_false(matches("a*b*c", "acb"));
    assert_true(matches("**x**", "x"));
    assert_true(matches("*ab", "aab"));
    assert_true(matches("*aab", "aaab"));
}

/* Each star tries every place once: not 2^n. */
static void a_hostile_pattern_ends(void **state)
{
    (void)state;
    char name[1021];
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_false(matches("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", name));
    assert_true(matches("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a", name));
}

static int read(const char *text, struct placement_rules *out,
                struct err_msg *msg)
{
    struct json j;
    json_init(&j);
    assert_int_equal(json_parse(&j, bytes_str(text), JSON_TEXT_MAX, NULL),
                     ERR_OK);
    int err = placement_rules_read(&j, 0, out, msg);
    json_free(&j);
    return err;
}

static void the_first_rule_wins(void **state)
{
    (void)state;
    struct placement_rules r = {.count = 0};
    assert_int_equal(
        read("[{\"database\":\"shop\",\"container\":\"us-*\",\"group\":\"us\"},"
             "{\"database\":\"shop\",\"container\":\"*\",\"group\":\"eu\"},"
             "{\"database\":\"*\",\"container\":\"de-*\",\"group\":\"de\"}]",
             &r, NULL),
        ERR_OK);
    assert_int_equal(r.count, 3);
    struct bytes shop = bytes_str("shop"), other = bytes_str("other");
    assert_string_equal(placement_rules_group(&r, shop, bytes_str("us-1")),
                        "us");
    assert_string_equal(placement_rules_group(&r, shop, bytes_str("de-1")),
                        "eu");
    assert_string_equal(placement_rules_group(&r, other, bytes_str("de-1")),
                        "de");
    assert_null(placement_rules_group(&r, other, bytes_str("us-1")));
}

static void what_is_no_rule_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"{}", "rules is an array of at most 64"},
        {"[1]", "rule 1 is no object"},
        {"[{\"database\":\"*\",\"container\":\"*\",\"group\":\"eu\"},{}]",
         "rule 2: database and container are patterns of 1 to 127 bytes"},
        {"[{\"database\":\"*\",\"container\":\"\",\"group\":\"eu\"}]",
         "rule 1: database and container are patterns of 1 to 127 bytes"},
        {"[{\"database\":\"a\\u0000b\",\"container\":\"*\",\"group\":\"eu\"}]",
         "rule 1: database and container are patterns of 1 to 127 bytes"},
        {"[{\"database\":\"*\",\"container\":\"*\",\"group\":5}]",
         "rule 1: group is the name of a placement group, or a placement by "
         "partition key"},
        {"[{\"database\":\"*\",\"container\":\"*\",\"group\":\"a23456789012345"
         "6789012345678901234567890123456789012345678901234\"}]",
         "rule 1: group is the name of a placement group, or a placement by "
         "partition key"},
    };
    struct placement_rules *r = calloc(1, sizeof(*r));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err_msg msg = {.text = ""};
        assert_int_equal(read(bad[i].text, r, &msg), ERR_INVALID);
        assert_string_equal(msg.text, bad[i].says);
    }
    free(r);
}

static void there_are_limits(void **state)
{
    (void)state;
    struct buf text;
    struct placement_rules r = {.count = 0};
    buf_init(&text, 64 * 1024);
    for (int n = PLACEMENT_RULES_MAX; n <= PLACEMENT_RULES_MAX + 1; n++) {
        buf_clear(&text);
        for (int i = 0; i < n; i++)
            assert_int_equal(
                buf_printf(&text,
                           "%c{\"database\":\"%0*d\",\"container\":\"*\","
                           "\"group\":\"eu\"}",
                           i == 0 ? '[' : ',', PLACEMENT_PATTERN_MAX, i),
                ERR_OK);
        assert_int_equal(buf_printf(&text, "]"), ERR_OK);
        assert_int_equal(read(buf_cstr(&text), &r, NULL),
                         n <= PLACEMENT_RULES_MAX ? ERR_OK : ERR_INVALID);
    }
    buf_free(&text);
}

static void rules_survive_the_account_s_record(void **state)
{
    (void)state;
    struct catalog_account a = {.id = "demo",
                                .placement = {.required = true, .count = 1}};
    struct catalog_account b;
    struct placement_rule *rule = &a.placement.list[0];
    struct buf text;
    strcpy(rule->database, "*");
    strcpy(rule->container, "de-\"\xc3\xa4*");
    strcpy(rule->group, "eu");
    buf_init(&text, 64 * 1024);
    assert_int_equal(catalog_account_format(&a, &text), ERR_OK);
    assert_int_equal(catalog_account_parse(
                         bytes_of(buf_bytes(&text), buf_len(&text)), &b, NULL),
                     ERR_OK);
    assert_memory_equal(&a, &b, sizeof(a));
    assert_int_equal(catalog_account_parse(
                         bytes_str("{\"id\":\"demo\",\"later\":[1],"
                                   "\"placementRules\":[{\"database\":\"*\","
                                   "\"container\":\"*\",\"group\":\"eu\","
                                   "\"later\":1}]}"),
                         &b, NULL),
                     ERR_OK);
    assert_int_equal(b.placement.count, 1);
    assert_false(b.placement.required);
    assert_int_equal(
        catalog_account_parse(
            bytes_str("{\"id\":\"demo\",\"requirePlacement\":\"yes\"}"), &b,
            NULL),
        ERR_CORRUPT);
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pattern_without_a_star_is_the_name),
        cmocka_unit_test(a_star_is_any_run),
        cmocka_unit_test(a_hostile_pattern_ends),
        cmocka_unit_test(the_first_rule_wins),
        cmocka_unit_test(what_is_no_rule_is_refused),
        cmocka_unit_test(there_are_limits),
        cmocka_unit_test(rules_survive_the_account_s_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
