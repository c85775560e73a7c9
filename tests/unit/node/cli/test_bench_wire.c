/* The load generator's requests are what a server verifies; its reading of
 * responses does not depend on where they are cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/check.h"
#include "node/cli/bench_wire.h"
#include "node/json/json.h"

#define NOW 1795312437

static const char payload[2048] = {[0 ... 2047] = 'x'};
static uint8_t key[AUTH_KEY_LEN] = {1, 2, 3};

static struct bench_wire wire;
static struct buf out;

static int setup(void **state)
{
    (void)state;
    buf_init(&out, 1 << 20);
    bench_set_date(&wire, NOW);
    return auth_key_init(&wire.key, bytes_of(key, sizeof key),
                         AUTH_READ_WRITE) != ERR_OK ||
           bench_wire_init(&wire, "db", "c1", 1024, payload, NULL) != ERR_OK;
}

static int teardown(void **state)
{
    (void)state;
    buf_free(&out);
    return 0;
}

static struct bytes between(const char *text, const char *start,
                            const char *end)
{
    const char *from = strstr(text, start);
    assert_non_null(from);
    from += strlen(start);
    const char *to = strstr(from, end);
    assert_non_null(to);
    return bytes_of(from, (size_t)(to - from));
}

static void assert_signed(const char *method)
{
    static struct auth_target target;
    static struct auth_verdict verdict;
    struct auth_keys keys;
    const char *text = buf_cstr(&out);
    assert_memory_equal(text, method, strlen(method));
    struct bytes path = between(text, " ", " HTTP/1.1\r\n");
    assert_int_equal(auth_target_parse(path, &target), ERR_OK);
    auth_keys_init(&keys);
    assert_int_equal(
        auth_keys_add(&keys, bytes_of(key, sizeof key), AUTH_READ_WRITE, NULL),
        ERR_OK);
    const struct auth_request request = {
        .method = bytes_str(method),
        .target = &target,
        .authorization = between(text, "authorization: ", "\r\n"),
        .ms_date = between(text, "x-ms-date: ", "\r\n"),
        .needs_write = true,
    };
    auth_verify(&keys, &request, NOW, &verdict);
    assert_int_equal(verdict.result, AUTH_OK);
    auth_keys_wipe(&keys);
}

static void every_request_is_signed(void **state)
{
    (void)state;
    assert_int_equal(bench_create_database(&wire, "h:1", &out), ERR_OK);
    assert_signed("POST");
    buf_clear(&out);
    assert_int_equal(bench_create_container(&wire, "h:1", &out), ERR_OK);
    assert_signed("POST");
    buf_clear(&out);
    assert_int_equal(bench_upsert(&wire, "h:1", 7, 8, &out), ERR_OK);
    assert_signed("POST");
    buf_clear(&out);
    assert_int_equal(bench_read(&wire, "h:1", 7, &out), ERR_OK);
    assert_signed("GET");
    buf_clear(&out);
    assert_int_equal(bench_delete(&wire, "h:1", 7, &out), ERR_OK);
    assert_signed("DELETE");
    buf_clear(&out);
    assert_int_equal(
        bench_read_conflicts(&wire, "h:1", bytes_str("next"), &out), ERR_OK);
    assert_signed("GET");
    assert_non_null(strstr(buf_cstr(&out), "\r\nx-ms-continuation: next\r\n"));
    buf_clear(&out);
    assert_int_equal(bench_delete_container(&wire, "h:1", &out), ERR_OK);
    assert_signed("DELETE");
}

static void further_headers_are_sent(void **state)
{
    (void)state;
    wire.more = "x-ms-session-token: 0:1#2\r\n";
    assert_int_equal(bench_read(&wire, "h:1", 7, &out), ERR_OK);
    assert_non_null(
        strstr(buf_cstr(&out), "\r\nx-ms-session-token: 0:1#2\r\n"));
    wire.more = NULL;
}

static void documents_have_the_size_asked_for(void **state)
{
    (void)state;
    static const size_t sizes[] = {BENCH_DOCUMENT_MIN, 100, 1024, 2048};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct json j;
        assert_int_equal(
            bench_wire_init(&wire, "db", "c1", sizes[i], payload, NULL),
            ERR_OK);
        buf_clear(&out);
        assert_int_equal(
            bench_upsert(&wire, "h:1", 9999999999, UINT64_MAX, &out), ERR_OK);
        const char *body = strstr(buf_cstr(&out), "\r\n\r\n") + 4;
        assert_int_equal(strlen(body), sizes[i]);
        json_init(&j);
        assert_int_equal(json_parse(&j, bytes_str(body), 4096, NULL), ERR_OK);
        assert_true(json_string_equal(&j, json_get_str(&j, 0, "id"),
                                      bytes_str("k9999999999")));
        json_free(&j);
    }
}

static void names_that_need_encoding_are_refused(void **state)
{
    (void)state;
    assert_int_equal(bench_wire_init(&wire, "a b", "c", 1024, payload, NULL),
                     ERR_INVALID);
    assert_int_equal(bench_wire_init(&wire, "a", "", 1024, payload, NULL),
                     ERR_INVALID);
}

static void responses_are_read_wherever_they_are_cut(void **state)
{
    (void)state;
    static const char text[] = "HTTP/1.1 201 Created\r\n"
                               "content-length: 5\r\nA: b\r\n"
                               "Connection: close\r\n\r\nhelloHTTP/1.1 ";
    size_t whole = sizeof text - 1 - strlen("HTTP/1.1 ");
    struct bench_response r;
    for (size_t len = 0; len < sizeof text; len++) {
        int err = bench_parse_response(bytes_of(text, len), &r);
        assert_int_equal(err, len < whole ? ERR_AGAIN : ERR_OK);
    }
    assert_int_equal(r.status, 201);
    assert_true(r.close);
    assert_int_equal(r.bytes, whole);
    assert_true(bytes_equal(r.body, bytes_str("hello")));
}

static void what_clients_must_know_is_found(void **state)
{
    (void)state;
    static const char text[] = "HTTP/1.1 404 Not Found\r\n"
                               "x-ms-substatus: 1002\r\n"
                               "x-ms-session-token: 3:1#7#1=7\r\n"
                               "x-ms-continuation: more\r\n"
                               "Content-Length: 2\r\n\r\n{}";
    char copy[sizeof text];
    struct bench_response r;
    assert_int_equal(bench_parse_response(bytes_str(text), &r), ERR_OK);
    assert_int_equal(r.substatus, 1002);
    memcpy(copy, text, sizeof copy);
    bench_response_move(&r, (const uint8_t *)text, (const uint8_t *)copy);
    assert_ptr_equal(r.body.data, copy + sizeof text - 3);
    assert_true(bytes_equal(r.session, bytes_str("3:1#7#1=7")));
    assert_true(bytes_equal(r.continuation, bytes_str("more")));
    assert_true(bytes_equal(r.body, bytes_str("{}")));
    assert_int_equal(
        bench_parse_response(bytes_str("HTTP/1.1 200 OK\r\nContent-Length: "
                                       "0\r\n\r\n"),
                             &r),
        ERR_OK);
    bench_response_move(&r, r.body.data, (const uint8_t *)copy);
    assert_null(r.session.data);
}

static void other_protocols_are_noticed(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "SSH-2.0\r\n\r\n",
    };
    struct bench_response r;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(bench_parse_response(bytes_str(rows[i]), &r),
                         ERR_PROTOCOL);
    assert_int_equal(
        bench_parse_response(bytes_str("HTTP/1.1 204 No Content\r\n\r\n"), &r),
        ERR_OK);
    assert_int_equal(r.body.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_request_is_signed),
        cmocka_unit_test(further_headers_are_sent),
        cmocka_unit_test(what_clients_must_know_is_found),
        cmocka_unit_test(documents_have_the_size_asked_for),
        cmocka_unit_test(names_that_need_encoding_are_refused),
        cmocka_unit_test(responses_are_read_wherever_they_are_cut),
        cmocka_unit_test(other_protocols_are_noticed),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
