/* What the scanner accepts and refuses, and where it says the fault is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"
#include "node/base/prng.h"
#include "node/json/json.h"

static int parse(const char *text, struct json_error *error)
{
    /* A copy of its own, so that a sanitizer sees every read past the end. */
    size_t len = strlen(text);
    uint8_t *copy = mem_dup(text, len);
    struct json j;
    json_init(&j);
    int result = json_parse(&j, bytes_of(copy, len), 1 << 20, error);
    if (result != ERR_OK)
        assert_int_equal(j.count, 0);
    json_free(&j);
    mem_free(copy);
    return result;
}

static void valid_texts_are_accepted(void **state)
{
    static const char *const texts[] = {
        "0",
        "-0",
        "-0.0e-0",
        " \t\r\n1 ",
        "true",
        "false",
        "null",
        "\"\"",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"",
        "\"\\ud83d\\ude00\"",
        "\"\\u0000\"",
        "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f\"",
        "\"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\"",
        "[]",
        "{}",
        "[[],{},[{}]]",
        "{\"a\":1,\"a\":2}",
        "{\"\":\"\"}",
        "1e308",
        "1.7976931348623157e308",
        "1e-400",
        "123456789012345678901234567890",
        "[1,2.5,-3e+2,4E5]",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct json_error error = {.text = ""};
        if (parse(texts[i], &error) != ERR_OK)
            fail_msg("%s: %s", texts[i], error.text);
    }
}

struct bad {
    const char *text;
    enum json_fault fault;
    size_t at;
};

static const struct bad bad_texts[] = {
    {"", JSON_FAULT_EMPTY, 0},
    {"  ", JSON_FAULT_EMPTY, 2},
    {"\xef\xbb\xbf{}", JSON_FAULT_VALUE, 0},
    {"nul", JSON_FAULT_VALUE, 0},
    {"True", JSON_FAULT_VALUE, 0},
    {"NaN", JSON_FAULT_VALUE, 0},
    {"Infinity", JSON_FAULT_VALUE, 0},
    {"'a'", JSON_FAULT_VALUE, 0},
    {"undefined", JSON_FAULT_VALUE, 0},
    {"+1", JSON_FAULT_VALUE, 0},
    {".5", JSON_FAULT_VALUE, 0},
    {"-", JSON_FAULT_NUMBER, 1},
    {"01", JSON_FAULT_NUMBER, 0},
    {"-01", JSON_FAULT_NUMBER, 1},
    {"1.", JSON_FAULT_NUMBER, 2},
    {"1.e5", JSON_FAULT_NUMBER, 2},
    {"1e", JSON_FAULT_NUMBER, 2},
    {"1e+", JSON_FAULT_NUMBER, 3},
    {"0x10", JSON_FAULT_TRAILING, 1},
    {"1 2", JSON_FAULT_TRAILING, 2},
    {"{} x", JSON_FAULT_TRAILING, 3},
    {"truex", JSON_FAULT_TRAILING, 4},
    {"1e309", JSON_FAULT_NUMBER_RANGE, 0},
    {"[-1e309]", JSON_FAULT_NUMBER_RANGE, 1},
    {"1e99999999999999999999", JSON_FAULT_NUMBER_RANGE, 0},
    {"1.7976931348623159e308", JSON_FAULT_NUMBER_RANGE, 0},
    {"[", JSON_FAULT_END, 1},
    {"[1", JSON_FAULT_END, 2},
    {"[1,", JSON_FAULT_END, 3},
    {"{", JSON_FAULT_END, 1},
    {"{\"a\"", JSON_FAULT_END, 4},
    {"{\"a\":", JSON_FAULT_END, 5},
    {"{\"a\":1", JSON_FAULT_END, 6},
    {"{\"a\":1,", JSON_FAULT_END, 7},
    {"[1,]", JSON_FAULT_VALUE, 3},
    {"[,1]", JSON_FAULT_VALUE, 1},
    {"[1 2]", JSON_FAULT_COMMA, 3},
    {"[1}", JSON_FAULT_COMMA, 2},
    {"{\"a\":1]", JSON_FAULT_COMMA, 6},
    {"{\"a\":1,}", JSON_FAULT_KEY, 7},
    {"{a:1}", JSON_FAULT_KEY, 1},
    {"{1:1}", JSON_FAULT_KEY, 1},
    {"{\"a\" 1}", JSON_FAULT_COLON, 5},
    {"{\"a\",1}", JSON_FAULT_COLON, 4},
    {"]", JSON_FAULT_VALUE, 0},
    {"\"a", JSON_FAULT_END, 2},
    {"\"a\\", JSON_FAULT_END, 2},
    {"\"\n\"", JSON_FAULT_CONTROL, 1},
    {"\"0123456789\x1f\"", JSON_FAULT_CONTROL, 11},
    {"\"\\x\"", JSON_FAULT_ESCAPE, 1},
    {"\"\\'\"", JSON_FAULT_ESCAPE, 1},
    {"\"\\u12\"", JSON_FAULT_HEX, 1},
    {"\"\\u12g4\"", JSON_FAULT_HEX, 1},
    {"\"\\ud800\"", JSON_FAULT_SURROGATE, 1},
    {"\"\\ud800\\u0041\"", JSON_FAULT_SURROGATE, 1},
    {"\"\\ud800\\ud800\"", JSON_FAULT_SURROGATE, 1},
    {"\"ab\\udc00\"", JSON_FAULT_SURROGATE, 3},
    {"\"\\ud800\\n\"", JSON_FAULT_SURROGATE, 1},
    {"\"\\ud83d\\u\"", JSON_FAULT_HEX, 7},
    {"\"\x80\"", JSON_FAULT_UTF8, 1},
    {"\"\xc0\x80\"", JSON_FAULT_UTF8, 1},
    {"\"\xc1\xbf\"", JSON_FAULT_UTF8, 1},
    {"\"\xe0\x9f\xbf\"", JSON_FAULT_UTF8, 1},
    {"\"\xed\xa0\x80\"", JSON_FAULT_UTF8, 1},
    {"\"\xf0\x8f\xbf\xbf\"", JSON_FAULT_UTF8, 1},
    {"\"\xf4\x90\x80\x80\"", JSON_FAULT_UTF8, 1},
    {"\"\xf5\x80\x80\x80\"", JSON_FAULT_UTF8, 1},
    {"\"\xff\"", JSON_FAULT_UTF8, 1},
    {"\"\xe2\x82\"", JSON_FAULT_UTF8, 1},
    {"\"12345678\xe2\x82", JSON_FAULT_UTF8, 9},
    {"{\"a\xff\":1}", JSON_FAULT_UTF8, 3},
};

static void invalid_texts_are_refused_with_code_and_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad_texts); i++) {
        const struct bad *b = &bad_texts[i];
        struct json_error error;
        assert_int_equal(parse(b->text, &error), ERR_MALFORMED);
        if (error.fault != b->fault || error.at != b->at)
            fail_msg("%s: %s", b->text, error.text);
    }
}

static void a_nul_byte_is_never_white_space_nor_an_end(void **state)
{
    struct json j;
    struct json_error error;
    (void)state;
    json_init(&j);
    assert_int_equal(json_parse(&j, bytes_of("1\0", 2), 100, &error),
                     ERR_MALFORMED);
    assert_int_equal(error.fault, JSON_FAULT_TRAILING);
    assert_int_equal(json_parse(&j, bytes_of("\"\0\"", 3), 100, &error),
                     ERR_MALFORMED);
    assert_int_equal(error.fault, JSON_FAULT_CONTROL);
    json_free(&j);
}

static void errors_say_what_and_where_in_words(void **state)
{
    struct json_error error;
    (void)state;
    parse("{\"name\":\"0123456\\udc00\"}", &error);
    assert_string_equal(error.text, "lone surrogate in string at byte 16");
}

static int parse_nested(uint32_t depth, struct json_error *error)
{
    char text[4 * JSON_DEPTH_MAX];
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    text[2 * depth] = '\0';
    return parse(text, error);
}

static void depth_is_bounded(void **state)
{
    struct json_error error;
    (void)state;
    assert_int_equal(parse_nested(JSON_DEPTH_MAX, &error), ERR_OK);
    assert_int_equal(parse_nested(JSON_DEPTH_MAX + 1, &error), ERR_LIMIT);
    assert_int_equal(error.fault, JSON_FAULT_TOO_DEEP);
    assert_int_equal(error.at, JSON_DEPTH_MAX);
}

static void open_brackets_alone_do_not_overrun_the_nodes(void **state)
{
    char text[JSON_DEPTH_MAX + 8];
    struct json_error error;
    (void)state;
    for (uint32_t depth = 1; depth <= JSON_DEPTH_MAX; depth++) {
        memset(text, '[', depth);
        strcpy(text + depth, "1");
        assert_int_equal(parse(text, &error), ERR_MALFORMED);
        assert_int_equal(error.fault, JSON_FAULT_END);
    }
}

static void length_is_bounded_by_the_caller(void **state)
{
    struct json j;
    struct json_error error;
    (void)state;
    json_init(&j);
    assert_int_equal(json_parse(&j, bytes_str("[1,2]"), 5, &error), ERR_OK);
    assert_int_equal(json_parse(&j, bytes_str("[1,2]"), 4, &error), ERR_LIMIT);
    assert_int_equal(error.fault, JSON_FAULT_TOO_LARGE);
    json_free(&j);
}

static void a_large_node_array_is_given_back(void **state)
{
    size_t len = 4 * JSON_NODES_KEPT + 1;
    char *text = mem_alloc(len);
    struct json j;
    (void)state;
    memset(text, ',', len);
    for (size_t i = 1; i < len; i += 2)
        text[i] = '1';
    text[0] = '[';
    text[len - 1] = ']';
    json_init(&j);
    assert_int_equal(json_parse(&j, bytes_of(text, len), len, NULL), ERR_OK);
    assert_int_equal(json_count(&j, 0), len / 2);
    assert_true(j.cap > JSON_NODES_KEPT);
    assert_int_equal(json_parse(&j, bytes_str("[]"), 2, NULL), ERR_OK);
    assert_true(j.cap <= JSON_NODES_KEPT);
    json_free(&j);
    mem_free(text);
}

/* -- a dumb twin: recursive descent, one byte at a time ----------------------
 */

struct twin {
    const uint8_t *p, *end;
};

static bool twin_value(struct twin *t, int depth);

static int twin_peek(const struct twin *t)
{
    return t->p < t->end ? *t->p : -1;
}

static void twin_space(struct twin *t)
{
    while (twin_peek(t) == ' ' || twin_peek(t) == '\t' ||
           twin_peek(t) == '\n' || twin_peek(t) == '\r')
        t->p++;
}

static bool twin_take(struct twin *t, int c)
{
    if (twin_peek(t) != c)
        return false;
    t->p++;
    return true;
}

static bool twin_digits(struct twin *t)
{
    const uint8_t *start = t->p;
    while (twin_peek(t) >= '0' && twin_peek(t) <= '9')
        t->p++;
    return t->p > start;
}

/* Exponents in these texts are negative, so nothing overflows. */
static bool twin_number(struct twin *t)
{
    twin_take(t, '-');
    if (!twin_take(t, '0') && !twin_digits(t))
        return false;
    if (twin_take(t, '.') && !twin_digits(t))
        return false;
    if (twin_take(t, 'e') || twin_take(t, 'E')) {
        if (!twin_take(t, '+'))
            twin_take(t, '-');
        return twin_digits(t);
    }
    return true;
}

/* Random texts here are ASCII, and \u is followed by 0041 or garbage. */
static bool twin_string(struct twin *t)
{
    if (!twin_take(t, '"'))
        return false;
    while (twin_peek(t) >= 0x20 && twin_peek(t) != '"') {
        if (!twin_take(t, '\\')) {
            t->p++;
            continue;
        }
        int c = twin_peek(t);
        if (c < 0 || strchr("\"\\/bfnrtu", c) == NULL)
            return false;
        t->p++;
        for (int i = 0; c == 'u' && i < 4; i++) {
            if (twin_peek(t) < 0 || !strchr("0123456789abcdef", twin_peek(t)))
                return false;
            t->p++;
        }
    }
    return twin_take(t, '"');
}

static bool twin_list(struct twin *t, int close, int depth)
{
    t->p++;
    twin_space(t);
    if (twin_take(t, close))
        return true;
    for (;;) {
        if (close == '}') {
            twin_space(t);
            if (!twin_string(t))
                return false;
            twin_space(t);
            if (!twin_take(t, ':'))
                return false;
        }
        if (!twin_value(t, depth + 1))
            return false;
        twin_space(t);
        if (twin_take(t, close))
            return true;
        if (!twin_take(t, ','))
            return false;
    }
}

static bool twin_word(struct twin *t, const char *word)
{
    for (; *word != '\0'; word++)
        if (!twin_take(t, *word))
            return false;
    return true;
}

static bool twin_value(struct twin *t, int depth)
{
    twin_space(t);
    switch (twin_peek(t)) {
    case '[':
        return twin_list(t, ']', depth);
    case '{':
        return twin_list(t, '}', depth);
    case '"':
        return twin_string(t);
    case 't':
        return twin_word(t, "true");
    case 'f':
        return twin_word(t, "false");
    case 'n':
        return twin_word(t, "null");
    default:
        return twin_number(t);
    }
}

static bool twin_accepts(const char *text, size_t len)
{
    struct twin t = {(const uint8_t *)text, (const uint8_t *)text + len};
    if (!twin_value(&t, 0))
        return false;
    twin_space(&t);
    return t.p == t.end;
}

static void random_texts_agree_with_a_dumb_twin(void **state)
{
    static const char *const pieces[] = {
        "{",           "}",    "[",   "]",   ",",     ":",      " ",
        "\"a\"",       "\"\"", "1",   "-",   "0",     ".5",     "e-1",
        "true",        "null", "\\",  "\"",  "\n",    "[1]",    "{\"b\":2}",
        "\"\\u0041\"", "u",    "1,2", "\\n", "false", "\"k\":", "[",
        "{",           "]",    "}",   ",",
    };
    struct json j;
    struct prng prng;
    unsigned accepted = 0;
    (void)state;
    json_init(&j);
    prng_seed(&prng, 7);
    for (int round = 0; round < 200000; round++) {
        char text[128];
        size_t len = 0;
        for (uint64_t n = 1 + prng_below(&prng, 8); n > 0; n--)
            len =
                (size_t)(stpcpy(text + len,
                                pieces[prng_below(&prng, ARRAY_LEN(pieces))]) -
                         text);
        bool twin = twin_accepts(text, len);
        int result = json_parse(&j, bytes_of(text, len), sizeof(text), NULL);
        if ((result == ERR_OK) != twin)
            fail_msg("twin %d, parser %s: %s", twin, err_name(result), text);
        accepted += twin;
    }
    assert_true(accepted > 1000);
    json_free(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_texts_are_accepted),
        cmocka_unit_test(invalid_texts_are_refused_with_code_and_place),
        cmocka_unit_test(a_nul_byte_is_never_white_space_nor_an_end),
        cmocka_unit_test(errors_say_what_and_where_in_words),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(open_brackets_alone_do_not_overrun_the_nodes),
        cmocka_unit_test(length_is_bounded_by_the_caller),
        cmocka_unit_test(a_large_node_array_is_given_back),
        cmocka_unit_test(random_texts_agree_with_a_dumb_twin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
