/* The head of a request: where it ends, what it says, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/check.h"
#include "node/http/head.h"

#define HOST "Host: h\r\n"
#define END "\r\n"

static struct http_head head;
static struct http_fault fault;

/* A copy of its own size, so that a read past the end is seen by ASan. */
static uint8_t *exact(const char *text, size_t len)
{
    uint8_t *copy = malloc(len);
    assert_non_null(copy);
    memcpy(copy, text, len);
    return copy;
}

static uint8_t *parsed_bytes;

static int parse(const char *text, size_t len)
{
    struct http_scan scan = {0};
    size_t used = 0;
    free(parsed_bytes);
    parsed_bytes = exact(text, len);
    int err = http_scan(&scan, parsed_bytes, len, HTTP_HEAD_MAX, &used, &fault);
    if (err != ERR_OK)
        return err;
    return http_head_parse(bytes_of(parsed_bytes, used), HTTP_HEADERS_MAX,
                           &head, &fault);
}

static void assert_bytes(struct bytes got, const char *want)
{
    assert_int_equal(got.len, strlen(want));
    assert_memory_equal(got.data, want, got.len);
}

static void a_plain_request_is_understood(void **state)
{
    (void)state;
    const char *text = "POST /dbs/d/colls/c/docs/a?b%20c HTTP/1.1\r\n" HOST
                       "x-ms-date:  Sun, 22 Nov 2026 01:53:57 GMT \t\r\n"
                       "Empty:\r\nContent-Length: 12\r\n" END "body";
    assert_int_equal(parse(text, strlen(text)), ERR_OK);
    assert_int_equal(head.method, HTTP_METHOD_POST);
    assert_bytes(head.method_raw, "POST");
    assert_bytes(head.target, "/dbs/d/colls/c/docs/a?b%20c");
    assert_int_equal(head.header_count, 4);
    assert_bytes(head.headers[1].name, "x-ms-date");
    assert_bytes(head.headers[1].value, "Sun, 22 Nov 2026 01:53:57 GMT");
    assert_bytes(head.headers[2].value, "");
    assert_non_null(head.headers[2].value.data);
    assert_int_equal(head.content_length, 12);
    assert_false(head.chunked);
    assert_false(head.close);
    assert_false(head.expect_continue);
}

static void methods_have_names(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        enum http_method method;
    } rows[] = {
        {"GET / HTTP/1.1\r\n", HTTP_METHOD_GET},
        {"HEAD / HTTP/1.1\r\n", HTTP_METHOD_HEAD},
        {"PUT / HTTP/1.1\r\n", HTTP_METHOD_PUT},
        {"PATCH / HTTP/1.1\r\n", HTTP_METHOD_PATCH},
        {"DELETE / HTTP/1.1\r\n", HTTP_METHOD_DELETE},
        {"OPTIONS * HTTP/1.1\r\n", HTTP_METHOD_OPTIONS},
        {"MERGE / HTTP/1.1\r\n", HTTP_METHOD_MERGE},
        {"PROPFIND / HTTP/1.1\r\n", HTTP_METHOD_OTHER},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[128];
        int n = snprintf(text, sizeof text, "%s" HOST END, rows[i].line);
        assert_int_equal(parse(text, (size_t)n), ERR_OK);
        assert_int_equal(head.method, rows[i].method);
    }
}

static void absolute_targets_lose_their_authority(void **state)
{
    (void)state;
    const char *one = "GET https://h:8081/dbs?x HTTP/1.1\r\n" HOST END;
    assert_int_equal(parse(one, strlen(one)), ERR_OK);
    assert_bytes(head.target, "/dbs?x");
    const char *two = "GET http://h HTTP/1.1\r\n" HOST END;
    assert_int_equal(parse(two, strlen(two)), ERR_OK);
    assert_bytes(head.target, "/");
}

static void framing_and_connection_follow_from_the_headers(void **state)
{
    (void)state;
    const char *text =
        "POST / HTTP/1.1\r\n" HOST "transfer-encoding: Chunked\r\n"
        "connection: foo, Close\r\nExpect: 100-Continue\r\n" END;
    assert_int_equal(parse(text, strlen(text)), ERR_OK);
    assert_true(head.chunked);
    assert_true(head.close);
    assert_true(head.expect_continue);
    /* Nothing to wait for without a body. */
    const char *none = "GET / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n" END;
    assert_int_equal(parse(none, strlen(none)), ERR_OK);
    assert_false(head.expect_continue);
}

/* An upgrade we do not offer is an ordinary request (RFC 9110 section 7.8). */
static void upgrades_are_ignored(void **state)
{
    (void)state;
    const char *text =
        "GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: h2c\r\n" END;
    assert_int_equal(parse(text, strlen(text)), ERR_OK);
    assert_int_equal(head.method, HTTP_METHOD_GET);
}

#define CASE(why, text)                                                        \
    {                                                                          \
        HTTP_REJECT_##why, text, sizeof text - 1                               \
    }

static void bad_heads_are_refused(void **state)
{
    (void)state;
    static const struct {
        enum http_reject why;
        const char *text;
        size_t len;
    } rows[] = {
        CASE(SYNTAX, "\r\n\r\n"),
        CASE(SYNTAX, "GET / HTTP/1.1\n" HOST END),
        CASE(SYNTAX, "GET / HTTP/1.1\r\nHost: h\n" END),
        CASE(SYNTAX, "GET / HTTP/1.1\r\n" HOST "\n"),
        CASE(SYNTAX, "GET / HTTP/1.1\r\n" HOST "a: b\r\n c\r\n" END),
        CASE(SYNTAX, "GET / HTTP/1.1\r\n" HOST "a: b\r\n\tc\r\n" END),
        CASE(SYNTAX, "GET / HTTP/1.1\r\n a: b\r\n" HOST END),
        CASE(SYNTAX, "GET / HTTP/1.1\r\n" HOST "a: b\rc\r\n" END),
        CASE(SYNTAX, "GET / HTTP/1.1\r\n" HOST "a\r: b\r\n" END),
        CASE(SYNTAX, "GET / HTTP/1.1\r\n" HOST "a: b\0c\r\n" END),
        CASE(SYNTAX, "GET / HTTP/1.1\r\n" HOST "a\0: b\r\n" END),
        CASE(SYNTAX, "GET / HTTP/1.1\r\n" HOST "a: \x7f\r\n" END),
        CASE(SYNTAX, "GET / HTTP/1.1\r\n" HOST "a: \x01z\r\n" END),
        CASE(SYNTAX, "GET / HTTP/1.1\r\n" HOST "a : b\r\n" END),
        CASE(SYNTAX, "GET / HTTP/1.1\r\n" HOST ": b\r\n" END),
        CASE(SYNTAX, "GET / HTTP/1.1\r\n" HOST "no colon\r\n" END),
        CASE(SYNTAX, "GET /a b HTTP/1.1\r\n" HOST END),
        CASE(SYNTAX, "GET  / HTTP/1.1\r\n" HOST END),
        CASE(SYNTAX, "GET /  HTTP/1.1\r\n" HOST END),
        CASE(SYNTAX, "GET / HTTP/1.1 \r\n" HOST END),
        CASE(SYNTAX, "GET /\0 HTTP/1.1\r\n" HOST END),
        CASE(SYNTAX, "GET /\xc3\xa4 HTTP/1.1\r\n" HOST END),
        CASE(SYNTAX, "GET a HTTP/1.1\r\n" HOST END),
        CASE(SYNTAX, "GET * HTTP/1.1\r\n" HOST END),
        CASE(SYNTAX, "GET ftp://h/ HTTP/1.1\r\n" HOST END),
        CASE(SYNTAX, "GET /\r\n" HOST END),
        CASE(SYNTAX, "GET\r\n" HOST END),
        CASE(SYNTAX, "get / HTTP/1.1\r\n" HOST END),
        CASE(SYNTAX, "{\"a\":1}\r\n" HOST END),
        CASE(SYNTAX, "GET / HTTQ/1.1\r\n" HOST END),
        CASE(SYNTAX, "GET / HTTP/x.1\r\n" HOST END),
        CASE(VERSION, "GET / HTTP/1.0\r\n" HOST END),
        CASE(VERSION, "GET / HTTP/2.0\r\n" HOST END),
        CASE(METHOD, "BREW / HTTP/1.1\r\n" HOST END),
        CASE(METHOD, "CONNECT h:1 HTTP/1.1\r\n" HOST END),
        CASE(HOST, "GET / HTTP/1.1\r\n" END),
        CASE(HOST, "GET / HTTP/1.1\r\n" HOST HOST END),
        CASE(SYNTAX, "GET / HTTP/1.1\r\n" HOST
                     "authorization: a\r\nAuthorization: b\r\n" END),
        CASE(SMUGGLING,
             "POST / HTTP/1.1\r\n" HOST
             "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" END),
        CASE(SMUGGLING,
             "POST / HTTP/1.1\r\n" HOST
             "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n" END),
        CASE(SMUGGLING, "POST / HTTP/1.1\r\n" HOST
                        "Content-Length: 5\r\nContent-Length: 6\r\n" END),
        CASE(SMUGGLING, "POST / HTTP/1.1\r\n" HOST
                        "Content-Length: 5\r\nContent-Length: 5\r\n" END),
        CASE(SMUGGLING,
             "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n"
             "Transfer-Encoding: chunked\r\n" END),
        CASE(CODING,
             "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n" END),
        CASE(CODING, "POST / HTTP/1.1\r\n" HOST
                     "Transfer-Encoding: gzip, chunked\r\n" END),
        CASE(CODING, "POST / HTTP/1.1\r\n" HOST
                     "Transfer-Encoding: chunked, gzip\r\n" END),
        CASE(CODING,
             "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n" END),
        CASE(SYNTAX, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\x0b"
                     "chunked\r\n" END),
        CASE(SYNTAX, "POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n" END),
        CASE(SYNTAX, "POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n" END),
        CASE(SYNTAX, "POST / HTTP/1.1\r\n" HOST "Content-Length: 5, 5\r\n" END),
        CASE(SYNTAX, "POST / HTTP/1.1\r\n" HOST "Content-Length: 5 5\r\n" END),
        CASE(SYNTAX, "POST / HTTP/1.1\r\n" HOST "Content-Length: 0x5\r\n" END),
        CASE(SYNTAX, "POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n" END),
        CASE(SYNTAX, "POST / HTTP/1.1\r\n" HOST
                     "Content-Length: 99999999999999999999999\r\n" END),
        CASE(EXPECTATION, "POST / HTTP/1.1\r\n" HOST
                          "Content-Length: 1\r\nExpect: coffee\r\n" END),
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int err = parse(rows[i].text, rows[i].len);
        if (err != ERR_MALFORMED || fault.why != rows[i].why)
            fail_msg("case %zu: err %s, why %d instead of %d: %s", i,
                     err_name(err), err == ERR_OK ? -1 : (int)fault.why,
                     rows[i].why, rows[i].text);
        assert_non_null(fault.message);
    }
}

/* The scan gives the same verdict wherever the bytes are cut. */
static void scanning_does_not_depend_on_the_pieces(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int err;
    } rows[] = {
        {"GET / HTTP/1.1\r\nHost: h\r\n\r\nrest", ERR_OK},
        {"GET / HTTP/1.1\r\nHost: h\n\r\n", ERR_MALFORMED},
        {"GET / HTTP/1.1\r\nHost: h\r\n x\r\n", ERR_MALFORMED},
        {"GET / HTTP/1.1\r\nHost: h\r\n\r", ERR_AGAIN},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t len = strlen(rows[i].text);
        for (size_t cut = 0; cut <= len; cut++) {
            struct http_scan scan = {0};
            const uint8_t *text = (const uint8_t *)rows[i].text;
            size_t used = 0, first;
            int err = http_scan(&scan, text, cut, 100, &used, &fault);
            first = used;
            if (err == ERR_AGAIN) {
                assert_int_equal(used, cut);
                err =
                    http_scan(&scan, text + cut, len - cut, 100, &used, &fault);
                used += first;
            }
            assert_int_equal(err, rows[i].err);
            if (err == ERR_OK)
                assert_string_equal(rows[i].text + used, "rest");
        }
    }
}

static void long_heads_are_refused_by_what_is_long(void **state)
{
    (void)state;
    struct http_scan scan = {0};
    size_t used;
    const char *line = "GET /aaaaaaaaaaaaaaaaaaaaaaaa";
    assert_int_equal(http_scan(&scan, (const uint8_t *)line, strlen(line), 16,
                               &used, &fault),
                     ERR_LIMIT);
    assert_int_equal(fault.why, HTTP_REJECT_TARGET_SIZE);
    const char *text = "GET / HTTP/1.1\r\nHost: hhhhhhhhhhhhhhh\r\n\r\n";
    scan = (struct http_scan){0};
    assert_int_equal(http_scan(&scan, (const uint8_t *)text, strlen(text), 20,
                               &used, &fault),
                     ERR_LIMIT);
    assert_int_equal(fault.why, HTTP_REJECT_HEAD_SIZE);
    /* Exactly the limit is allowed. */
    scan = (struct http_scan){0};
    assert_int_equal(http_scan(&scan, (const uint8_t *)text, strlen(text),
                               strlen(text), &used, &fault),
                     ERR_OK);
}

static void too_many_headers_are_refused(void **state)
{
    (void)state;
    char text[4096];
    for (int extra = HTTP_HEADERS_MAX - 1; extra <= HTTP_HEADERS_MAX; extra++) {
        int n = sprintf(text, "GET / HTTP/1.1\r\n" HOST);
        for (int i = 0; i < extra; i++)
            n += sprintf(text + n, "h%d: v\r\n", i);
        n += sprintf(text + n, "\r\n");
        int err = parse(text, (size_t)n);
        assert_int_equal(err,
                         extra < HTTP_HEADERS_MAX ? ERR_OK : ERR_MALFORMED);
    }
    assert_int_equal(fault.why, HTTP_REJECT_HEAD_SIZE);
}

static int teardown(void **state)
{
    (void)state;
    free(parsed_bytes);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_request_is_understood),
        cmocka_unit_test(methods_have_names),
        cmocka_unit_test(absolute_targets_lose_their_authority),
        cmocka_unit_test(framing_and_connection_follow_from_the_headers),
        cmocka_unit_test(upgrades_are_ignored),
        cmocka_unit_test(bad_heads_are_refused),
        cmocka_unit_test(scanning_does_not_depend_on_the_pieces),
        cmocka_unit_test(long_heads_are_refused_by_what_is_long),
        cmocka_unit_test(too_many_headers_are_refused),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, teardown);
}
