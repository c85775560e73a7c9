/* The chunked coding: decoded wherever it is cut, strict, bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/http/chunked.h"

static struct http_fault fault;

/* Decodes in two pieces; the result is that of the piece that ended it. */
static int decode(const char *text, size_t len, size_t cut, struct buf *out,
                  size_t *used_out)
{
    struct chunked c = {0};
    const uint8_t *at = (const uint8_t *)text;
    size_t used = 0;
    int err = chunked_decode(&c, at, cut, out, &used, &fault);
    *used_out = used;
    if (err != ERR_AGAIN)
        return err;
    assert_int_equal(used, cut);
    err = chunked_decode(&c, at + cut, len - cut, out, &used, &fault);
    *used_out = cut + used;
    return err;
}

static void bodies_are_decoded_wherever_they_are_cut(void **state)
{
    (void)state;
    static const struct {
        const char *text, *body;
    } rows[] = {
        {"0\r\n\r\nrest", ""},
        {"5\r\nhello\r\n0\r\n\r\nrest", "hello"},
        {"5\r\nhello\r\n00\r\n\r\nrest", "hello"},
        {"3;a=b;c=\"d e\"\r\nabc\r\nA\r\n0123456789\r\n0;x\r\n\r\nrest",
         "abc0123456789"},
        {"1\r\na\r\n0\r\nTrailer: x\r\nAnother: y\r\n\r\nrest", "a"},
        {"000001\r\na\r\n0\r\n\r\nrest", "a"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t len = strlen(rows[i].text);
        for (size_t cut = 0; cut <= len; cut++) {
            struct buf out;
            buf_init(&out, 64);
            size_t used;
            assert_int_equal(decode(rows[i].text, len, cut, &out, &used),
                             ERR_OK);
            assert_string_equal(rows[i].text + used, "rest");
            assert_string_equal(buf_cstr(&out), rows[i].body);
            buf_free(&out);
        }
    }
}

static void malformed_bodies_are_refused_wherever_they_are_cut(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "\r\n",      "g\r\n",    "-1\r\n",    "+1\r\n",     "0x1\r\n",
        " 1\r\n",    "1 \r\n",   ";a\r\n",    "1\nA\r\n",   "1\rA",
        "1\r\nab",   "1\r\na\n", "1\r\na\rb", "1;\x01\r\n", "0\r\na\nb",
        "0\r\na\rb", "0\r\n\rb", "0\r\n\n",   "1;a\nb\r\n", "0\r\na\x7f\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t len = strlen(rows[i]);
        for (size_t cut = 0; cut <= len; cut++) {
            struct buf out;
            buf_init(&out, 64);
            size_t used;
            int err = decode(rows[i], len, cut, &out, &used);
            if (err != ERR_MALFORMED)
                fail_msg("case %zu cut %zu: %s", i, cut, err_name(err));
            assert_int_equal(fault.why, HTTP_REJECT_SYNTAX);
            buf_free(&out);
        }
    }
}

static void sizes_are_bounded(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "B\r\n",
        "5\r\nhello\r\n6\r\n",
        "ffffffffffffffff\r\n",
        "10000000000000000000000000000005\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out;
        buf_init(&out, 10);
        size_t used;
        assert_int_equal(decode(rows[i], strlen(rows[i]), 1, &out, &used),
                         ERR_LIMIT);
        assert_int_equal(fault.why, HTTP_REJECT_BODY_SIZE);
        buf_free(&out);
    }
}

static void extensions_and_trailers_are_bounded(void **state)
{
    (void)state;
    static const char *const starts[] = {"1;", "0\r\na: "};
    static char text[CHUNKED_EXTRA_MAX + 64];
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        memset(text, 'x', sizeof text);
        memcpy(text, starts[i], strlen(starts[i]));
        struct buf out;
        buf_init(&out, 10);
        size_t used;
        assert_int_equal(decode(text, sizeof text, 9, &out, &used),
                         ERR_MALFORMED);
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_are_decoded_wherever_they_are_cut),
        cmocka_unit_test(malformed_bodies_are_refused_wherever_they_are_cut),
        cmocka_unit_test(sizes_are_bounded),
        cmocka_unit_test(extensions_and_trailers_are_bounded),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
