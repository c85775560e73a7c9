/* Placement maps: reading, writing, which group a key is in, added lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/catalog/placement_map.h"

static void read_map(const char *text, struct placement_map *m)
{
    struct err_msg msg = {.text = ""};
    if (placement_map_parse(bytes_str(text), m, &msg) != ERR_OK)
        fail_msg("%s: %s", text, msg.text);
}

static void expect_text(const struct placement_map *m, const char *expected)
{
    char storage[4 * PLACEMENT_MAP_TEXT_MAX];
    struct buf text = buf_over(storage, sizeof(storage) - 1);
    assert_int_equal(placement_map_format(m, &text), ERR_OK);
    storage[buf_len(&text)] = '\0';
    assert_string_equal(storage, expected);
}

static void expect_refused(const char *text, const char *says)
{
    struct placement_map m;
    struct err_msg msg = {.text = ""};
    if (placement_map_parse(bytes_str(text), &m, &msg) != ERR_INVALID)
        fail_msg("'%s' was accepted", text);
    if (strstr(msg.text, says) == NULL)
        fail_msg("'%s': %s", text, msg.text);
}

/* "": rejected. */
static void expect_group(const struct placement_map *m, const char *key,
                         const char *group)
{
    struct json j;
    struct partition_key pk;
    json_init(&j);
    assert_int_equal(pk_parse(&j, bytes_str(key), &pk, NULL), ERR_OK);
    json_free(&j);
    uint8_t at = placement_map_find(m, &pk, 0);
    const char *found = at == PLACEMENT_MAP_REJECTED ? "" : m->groups[at];
    if (strcmp(found, group) != 0)
        fail_msg("%s is in '%s', expected '%s'", key, found, group);
}

static void what_is_written_reads_the_same(void **state)
{
    (void)state;
    struct placement_map m;
    static const char *const same[] = {
        "/country: de=eu, us=us, at*=eu, *=reject",
        "/a/b: x=g",
        "/\"a:b\": \"a b\"=g, \"*\"*=h, \"\\\"\"=g",
        "/pk: \xc3\xa4=eu, reject=reject, 5=eu",
        "/pk: *=default",
    };
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        read_map(same[i], &m);
        expect_text(&m, same[i]);
    }
    read_map("/country :de=eu,us = us ,  at* =eu,* =reject ", &m);
    expect_text(&m, "/country: de=eu, us=us, at*=eu, *=reject");
    read_map("/pk: \"de\"=eu, \"\\u0061b\"*=us", &m);
    expect_text(&m, "/pk: de=eu, ab*=us");
}

static void what_is_no_map_is_refused(void **state)
{
    (void)state;
    expect_refused("", "path");
    expect_refused("country: de=eu", "begins with a path");
    expect_refused("/country", "colon");
    expect_refused("/country:", "no value");
    expect_refused("/country: de", "followed by =");
    expect_refused("/country: de=", "a placement group, or reject");
    expect_refused("/country: de=e/u", "a placement group, or reject");
    expect_refused("/country: =eu", "no value");
    expect_refused("/country: de=eu,", "no value");
    expect_refused("/country: de=eu us=us", "joined by commas");
    expect_refused("/country: de=eu, de=us", "same value");
    expect_refused("/country: de*=eu, de*=us", "same value");
    expect_refused("/country: *=eu, *=us", "same value");
    expect_refused("/country: de=reject, *=reject", "no line names a group");
    expect_refused("/country: \"de=eu", "no JSON string");
    expect_refused("/country: \"\"=eu", "1 to 127 bytes");
    expect_refused("/country: d\te=eu", "no plain text");
    expect_refused("/country: d\xff=eu", "no plain text");
    expect_refused("/pk: a=a, b=b, c=c, d=d, e=e, f=f, g=g, h=h, i=i",
                   "more than 8 groups");
}

static void limits_are_kept(void **state)
{
    (void)state;
    char text[PLACEMENT_MAP_TEXT_MAX + 100] = "/pk: ";
    for (int i = 0; i <= PLACEMENT_MAP_LINES_MAX; i++)
        snprintf(text + strlen(text), 32, "%sv%d=g", i > 0 ? "," : "", i);
    expect_refused(text, "more than 64 lines");
    *strrchr(text, ',') = '\0';
    struct placement_map m;
    read_map(text, &m);
    assert_int_equal(m.line_count, PLACEMENT_MAP_LINES_MAX);
    memset(text, 'x', sizeof(text));
    memcpy(text, "/pk: ", 5);
    memcpy(text + 5 + PLACEMENT_MAP_VALUE_MAX + 1, "=g", 3);
    expect_refused(text, "127 bytes");
    memmove(text + 5, text + 6, PLACEMENT_MAP_VALUE_MAX + 4);
    read_map(text, &m);
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    text[0] = '/';
    expect_refused(text, "longer than 4096");
}

static void the_longest_line_decides(void **state)
{
    (void)state;
    struct placement_map m;
    read_map("/pk: *=rest, a*=one, ab=two, ab*=three, abc*=reject", &m);
    expect_group(&m, "[\"a\"]", "one");
    expect_group(&m, "[\"ab\"]", "two");
    expect_group(&m, "[\"abd\"]", "three");
    expect_group(&m, "[\"abc\"]", "");
    expect_group(&m, "[\"abcd\"]", "");
    expect_group(&m, "[\"b\"]", "rest");
    expect_group(&m, "[\"\"]", "rest");
}

static void what_is_no_string_goes_by_the_rest(void **state)
{
    (void)state;
    struct placement_map m;
    static const char *const others[] = {"[5]", "[true]", "[null]", "[{}]",
                                         "[\"true\"]"};
    read_map("/pk: 5=a, null*=a, *=b", &m);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        expect_group(&m, others[i], "b");
    expect_group(&m, "[\"5\"]", "a");
    read_map("/pk: 5=a", &m);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        expect_group(&m, others[i], "");
}

static void the_path_is_one_of_the_key(void **state)
{
    (void)state;
    struct placement_map m;
    struct err_msg msg = {.text = ""};
    const struct pk_def def = {.kind = PK_MULTI_HASH,
                               .version = 2,
                               .path_count = 2,
                               .paths = {bytes_str("/a"), bytes_str("/b/c")}};
    read_map("/b/c: x=g", &m);
    assert_int_equal(placement_map_fit(&m, &def, &msg), ERR_OK);
    assert_int_equal(m.component, 1);
    read_map("/b: x=g", &m);
    assert_int_equal(placement_map_fit(&m, &def, &msg), ERR_INVALID);
    assert_non_null(strstr(msg.text, "/b is none of"));
}

static int add(struct placement_map *m, const char *line)
{
    struct err_msg msg = {.text = ""};
    int err = placement_map_add(m, bytes_str(line), &msg);
    assert_true((err == ERR_OK) == (msg.text[0] == '\0'));
    return err;
}

static void only_what_was_rejected_gets_a_group(void **state)
{
    (void)state;
    struct placement_map m;
    read_map("/pk: de=eu, u*=us, uk=reject, *=reject", &m);
    assert_int_equal(add(&m, "de=us"), ERR_EXISTS);
    assert_int_equal(add(&m, "ua=eu"), ERR_EXISTS);
    assert_int_equal(add(&m, "us*=eu"), ERR_EXISTS);
    assert_int_equal(add(&m, "fr=reject"), ERR_INVALID);
    assert_int_equal(add(&m, "fr=eu, es=eu"), ERR_INVALID);
    assert_int_equal(add(&m, "fr"), ERR_INVALID);
    expect_text(&m, "/pk: de=eu, u*=us, uk=reject, *=reject");
    /* Again is no change. */
    assert_int_equal(add(&m, "de=eu"), ERR_OK);
    assert_int_equal(add(&m, "ua=us"), ERR_OK);
    expect_text(&m, "/pk: de=eu, u*=us, uk=reject, *=reject");
    assert_int_equal(add(&m, "uk=uk"), ERR_OK);
    assert_int_equal(add(&m, " f*=eu "), ERR_OK);
    assert_int_equal(add(&m, "*=us"), ERR_OK);
    expect_text(&m, "/pk: de=eu, u*=us, uk=uk, f*=eu, *=us");
    assert_int_equal(add(&m, "x=eu"), ERR_EXISTS);
    /* Groups keep their places. */
    assert_string_equal(m.groups[0], "eu");
    assert_string_equal(m.groups[1], "us");
    assert_string_equal(m.groups[2], "uk");
}

/* Whatever is added, no key that had a group gets another. */
static void nothing_moves(void **state)
{
    (void)state;
    static const char *const keys[] = {"[\"a\"]", "[\"ab\"]", "[\"abc\"]",
                                       "[\"b\"]", "[\"ba\"]", "[5]",
                                       "[\"\"]",  "[{}]",     "[\"abcd\"]"};
    static const char *const lines[] = {"a=h",   "a*=h",    "ab*=g",
                                        "abc=h", "b*=g",    "*=h",
                                        "ba=h",  "abcd*=g", "\"\\u0061b\"=g"};
    static const char *const maps[] = {"/pk: ab=g", "/pk: a*=g, abc*=reject",
                                       "/pk: ab*=h, b=reject",
                                       "/pk: *=reject, ab=h, abcd=g"};
    struct json j;
    json_init(&j);
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < 81; k++) {
            struct placement_map before, m;
            read_map(maps[i], &before);
            m = before;
            add(&m, lines[k / 9]);
            add(&m, lines[k % 9]);
            for (size_t n = 0; n < 9; n++) {
                struct partition_key pk;
                assert_int_equal(pk_parse(&j, bytes_str(keys[n]), &pk, NULL),
                                 ERR_OK);
                uint8_t was = placement_map_find(&before, &pk, 0);
                if (was != PLACEMENT_MAP_REJECTED &&
                    placement_map_find(&m, &pk, 0) != was)
                    fail_msg("%s moved: %s + %s, %s", keys[n], maps[i],
                             lines[k / 9], lines[k % 9]);
            }
        }
    json_free(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_reads_the_same),
        cmocka_unit_test(what_is_no_map_is_refused),
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(the_longest_line_decides),
        cmocka_unit_test(what_is_no_string_goes_by_the_rest),
        cmocka_unit_test(the_path_is_one_of_the_key),
        cmocka_unit_test(only_what_was_rejected_gets_a_group),
        cmocka_unit_test(nothing_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
