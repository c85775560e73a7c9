/* Writing, and the form in which documents are stored. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/prng.h"
#include "node/json/json.h"

static void assert_buf(const struct buf *b, const char *text)
{
    struct bytes got = bytes_of(buf_bytes(b), buf_len(b));
    if (!bytes_equal(got, bytes_str(text)))
        fail_msg("got  %.*s\nwant %s", (int)got.len, got.data, text);
}

static void the_writer_puts_commas_and_escapes(void **state)
{
    struct buf b;
    struct json_writer w;
    (void)state;
    buf_init(&b, 4096);
    json_writer_init(&w, &b);
    json_write_object_begin(&w);
    json_write_member_str(&w, "s", "a\"\\\n\t\x01\x7f\xc3\xa9/");
    json_write_key(&w, "empty");
    json_write_array_begin(&w);
    json_write_array_end(&w);
    json_write_key(&w, "list");
    json_write_array_begin(&w);
    json_write_number(&w, -0.0);
    json_write_number(&w, 1e21);
    json_write_int64(&w, INT64_MIN);
    json_write_uint64(&w, UINT64_MAX);
    json_write_bool(&w, true);
    json_write_null(&w);
    json_write_object_begin(&w);
    json_write_object_end(&w);
    json_write_array_end(&w);
    json_write_member_raw(&w, "raw", bytes_str("{\"x\": 1}"));
    json_write_member_bool(&w, "no", false);
    json_write_member_int64(&w, "k\n", 5);
    json_write_object_end(&w);
    assert_int_equal(json_writer_end(&w), ERR_OK);
    assert_buf(&b,
               "{\"s\":\"a\\\"\\\\\\n\\t\\u0001\x7f\xc3\xa9/\",\"empty\":[],"
               "\"list\":[0,1e+21,-9223372036854775808,"
               "18446744073709551615,true,null,{}],\"raw\":{\"x\": 1},"
               "\"no\":false,\"k\\n\":5}");
    buf_free(&b);
}

static void bytes_that_are_no_utf8_are_replaced(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, 4096);
    assert_int_equal(
        json_quote(bytes_of("a\xff\xc3\xa9\xed\xa0\x80z\xe2\x82\0", 11), &b),
        ERR_OK);
    assert_buf(&b, "\"a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
                   "z\xef\xbf\xbd\xef\xbf\xbd\\u0000\"");
    buf_free(&b);
}

static void the_first_error_of_a_writer_stays(void **state)
{
    struct buf b;
    struct json_writer w;
    (void)state;
    buf_init(&b, 4);
    json_writer_init(&w, &b);
    json_write_array_begin(&w);
    json_write_str(&w, "too long for it");
    json_write_null(&w);
    assert_int_equal(json_writer_end(&w), ERR_LIMIT);
    buf_free(&b);
}

static void normalise(const char *text, struct buf *out)
{
    struct json j;
    struct json_writer w;
    json_init(&j);
    assert_int_equal(json_parse(&j, bytes_str(text), 1 << 20, NULL), ERR_OK);
    json_writer_init(&w, out);
    json_document_normalise(&w, &j, 0);
    json_write_member_int64(&w, "_ts", 9);
    json_write_object_end(&w);
    assert_int_equal(json_writer_end(&w), ERR_OK);
    json_free(&j);
}

static void documents_are_stored_as_written_but_for_the_rules(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"{}", "{\"_ts\":9}"},
        {" { } ", "{\"_ts\":9}"},
        {"{\"a\":1}", "{\"a\":1,\"_ts\":9}"},
        {"{\"z\":1.50,\"a\":-0,\"b\":1E5,\"c\":12345678901234567890}",
         "{\"z\":1.50,\"a\":-0,\"b\":1E5,\"c\":12345678901234567890,"
         "\"_ts\":9}"},
        {"{ \"a b\" : [ 1 , { \"x\" : \" y \" } , [ ] ] }",
         "{\"a b\":[1,{\"x\":\" y \"},[]],\"_ts\":9}"},
        {"{\"a\":1,\"b\":2,\"a\":3}", "{\"a\":3,\"b\":2,\"_ts\":9}"},
        {"{\"a\":1,\"b\":{\"x\":1,\"x\":[2]},\"\\u0061\":{\"q\":1}}",
         "{\"a\":{\"q\":1},\"b\":{\"x\":[2]},\"_ts\":9}"},
        {"{\"_rid\":\"r\",\"id\":\"1\",\"_self\":\"s\",\"_etag\":\"e\","
         "\"_attachments\":\"a\",\"_ts\":1,\"_lsn\":4,\"_mine\":5}",
         "{\"id\":\"1\",\"_mine\":5,\"_ts\":9}"},
        {"{\"_ts\":1}", "{\"_ts\":9}"},
        {"{\"\\u005fts\":1,\"x\":{\"_ts\":1}}",
         "{\"x\":{\"_ts\":1},\"_ts\":9}"},
        {"{\"_ts\":1,\"k\":1,\"_ts\":2}", "{\"k\":1,\"_ts\":9}"},
        {"{\"s\":\"\\ud83d\\ude00\\u00e9\\/\",\"t\":\"\xc3\xa9\"}",
         "{\"s\":\"\\ud83d\\ude00\\u00e9\\/\",\"t\":\"\xc3\xa9\",\"_ts\":9}"},
        {"{\"a\":[{\"k\":1,\"k\":2},{\"k\":3}]}",
         "{\"a\":[{\"k\":2},{\"k\":3}],\"_ts\":9}"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b;
        buf_init(&b, 4096);
        normalise(cases[i].in, &b);
        assert_buf(&b, cases[i].out);
        buf_free(&b);
    }
}

static void large_objects_are_resolved_like_small_ones(void **state)
{
    struct buf in, out, want;
    (void)state;
    buf_init(&in, 1 << 20);
    buf_init(&out, 1 << 20);
    buf_init(&want, 1 << 20);
    assert_int_equal(buf_append_str(&in, "{"), ERR_OK);
    assert_int_equal(buf_append_str(&want, "{"), ERR_OK);
    for (int i = 0; i < 2000; i++) {
        assert_int_equal(buf_printf(&in, "\"k%d\":%d,", i % 1500, i), ERR_OK);
        if (i < 1500)
            assert_int_equal(
                buf_printf(&want, "\"k%d\":%d,", i, i < 500 ? i + 1500 : i),
                ERR_OK);
    }
    assert_int_equal(buf_append_str(&in, "\"k\\u0030\":7}"), ERR_OK);
    assert_int_equal(buf_append_str(&want, "\"_ts\":9}"), ERR_OK);
    normalise(buf_cstr(&in), &out);
    char *first = strstr((char *)want.data, "\"k0\":1500");
    memmove(first + 6, first + 9, strlen(first + 9) + 1);
    first[5] = '7';
    assert_buf(&out, (const char *)want.data);
    buf_free(&in);
    buf_free(&out);
    buf_free(&want);
}

/* -- random documents
 * ---------------------------------------------------------- */

static void random_space(struct prng *p, struct buf *b, bool spaced)
{
    if (spaced && prng_one_in(p, 2))
        (void)buf_append_str(b, prng_one_in(p, 2) ? " " : "\n\t");
}

static void random_string(struct prng *p, struct buf *b)
{
    static const char *const parts[] = {"a",       "\\n", "\xc3\xa9",
                                        "\\u0041", " ",   "\\\\",
                                        "\\\"",    "xyz", "\\ud83d\\ude00"};
    (void)buf_append_str(b, "\"");
    for (uint64_t n = prng_below(p, 5); n > 0; n--)
        (void)buf_append_str(b, parts[prng_below(p, ARRAY_LEN(parts))]);
    (void)buf_append_str(b, "\"");
}

static void random_value(struct prng *p, struct buf *b, bool spaced, int depth)
{
    static const char *const words[] = {"true", "false", "null",
                                        "0",    "-1.50", "1e5"};
    uint64_t kind = prng_below(p, depth > 4 ? 2 : 4);
    random_space(p, b, spaced);
    if (kind == 0) {
        random_string(p, b);
    } else if (kind == 1) {
        (void)buf_append_str(b, words[prng_below(p, ARRAY_LEN(words))]);
    } else {
        (void)buf_append_str(b, kind == 2 ? "[" : "{");
        uint64_t count = prng_below(p, 5);
        for (uint64_t i = 0; i < count; i++) {
            if (i > 0)
                (void)buf_append_str(b, ",");
            random_space(p, b, spaced);
            if (kind == 3) /* distinct keys */
                (void)buf_printf(b, "\"k%d\":", (int)i);
            random_value(p, b, spaced, depth + 1);
        }
        random_space(p, b, spaced);
        (void)buf_append_str(b, kind == 2 ? "]" : "}");
    }
    random_space(p, b, spaced);
}

static void rewrite(struct json *j, const struct buf *in, struct buf *out)
{
    struct json_writer w;
    buf_clear(out);
    assert_int_equal(
        json_parse(j, bytes_of(buf_bytes(in), buf_len(in)), 1 << 20, NULL),
        ERR_OK);
    json_writer_init(&w, out);
    json_write_value(&w, j, 0);
    assert_int_equal(json_writer_end(&w), ERR_OK);
}

static void random_values_survive_a_rewrite(void **state)
{
    struct prng spaced, tight;
    struct json j;
    struct buf a, b, out;
    (void)state;
    json_init(&j);
    buf_init(&a, 1 << 20);
    buf_init(&b, 1 << 20);
    buf_init(&out, 1 << 20);
    for (uint64_t seed = 0; seed < 3000; seed++) {
        /* One value without space: rewriting changes nothing. */
        buf_clear(&a);
        prng_seed(&tight, seed);
        random_value(&tight, &a, false, 0);
        rewrite(&j, &a, &out);
        assert_buf(&out, buf_cstr(&a));
        /* One with space: once rewritten, it is stable and has none. */
        buf_clear(&b);
        prng_seed(&spaced, seed);
        random_value(&spaced, &b, true, 0);
        rewrite(&j, &b, &a);
        rewrite(&j, &a, &out);
        assert_false(j.has_space);
        assert_buf(&out, buf_cstr(&a));
    }
    json_free(&j);
    buf_free(&a);
    buf_free(&b);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_writer_puts_commas_and_escapes),
        cmocka_unit_test(bytes_that_are_no_utf8_are_replaced),
        cmocka_unit_test(the_first_error_of_a_writer_stays),
        cmocka_unit_test(documents_are_stored_as_written_but_for_the_rules),
        cmocka_unit_test(large_objects_are_resolved_like_small_ones),
        cmocka_unit_test(random_values_survive_a_rewrite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
