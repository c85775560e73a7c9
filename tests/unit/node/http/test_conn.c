/* Connections, over channels in memory and a clock that the test drives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/check.h"
#include "node/base/text.h"
#include "node/http/http_private.h" /* lingering times */
#include "replication/link/chan.h"
#include "replication/link/chan_mem.h"

#define RUNNING_MAX 64

/* One front, one client. */
struct world {
    struct http_front *front;
    struct http_limits limits;
    usec_t now_us;
    struct chan *client;
    bool client_closed;
    struct buf got; /* what the client has received */
    /* The handler keeps requests here when `hold` is set; else it answers at
     * once with an echo. */
    bool hold;
    struct http_request *running[RUNNING_MAX];
    size_t running_count;
    bool drained;
};

static struct world w;

/* -- the handler ----------------------------------------------------------- */

static void echo(struct http_request *r)
{
    struct buf body;
    buf_init(&body, HTTP_RESPONSE_BODY_MAX);
    buf_append(&body, r->method_raw.data, r->method_raw.len);
    buf_append_str(&body, " ");
    buf_append(&body, r->target.data, r->target.len);
    buf_append_str(&body, " ");
    buf_append(&body, r->body.data, r->body.len);
    assert_int_equal(http_reply_header_str(r, "X-Echo", "yes"), ERR_OK);
    http_respond_take(r, 200, &body);
    buf_free(&body);
}

static void on_request(struct http_request *r, void *user)
{
    assert_ptr_equal(user, &w);
    if (!w.hold) {
        echo(r);
        return;
    }
    assert_true(w.running_count < RUNNING_MAX);
    w.running[w.running_count++] = r;
}

static void answer(size_t i, const char *body)
{
    struct http_request *r = TAKE(w.running[i]);
    http_respond(r, 200, bytes_str(body));
}

static const struct http_handler handler = {.on_request = on_request};

/* -- the client ------------------------------------------------------------ */

static void client_data(struct chan *c, void *user)
{
    (void)user;
    struct buf *in = chan_input(c);
    assert_int_equal(buf_append(&w.got, buf_bytes(in), buf_len(in)), ERR_OK);
    buf_consume(in, buf_len(in));
}

static void client_close(struct chan *c, void *user, int err)
{
    (void)c, (void)user, (void)err;
    w.client_closed = true;
}

static void client_nothing(struct chan *c, void *user)
{
    (void)c, (void)user;
}

static const struct chan_handler client_handler = {
    .on_open = client_nothing,
    .on_data = client_data,
    .on_writable = client_nothing,
    .on_close = client_close,
};

static void run(void)
{
    chan_mem_run(w.client);
}

static void connect_with(const struct chan_mem_options *options)
{
    struct chan *server;
    chan_mem_pair(options, &w.client, &server);
    chan_set_handler(w.client, &client_handler, NULL);
    http_front_adopt(w.front, server, &w);
    w.client_closed = false;
    run();
}

static void send_bytes(const char *data, size_t len)
{
    assert_int_equal(chan_write(w.client, data, len), ERR_OK);
    run();
}

static void send_text(const char *text)
{
    send_bytes(text, strlen(text));
}

static void disconnect(void)
{
    /* The other end hears of it by its own next step: make it one. */
    chan_mem_break(w.client, ERR_IO, "cut by the test");
    run();
    chan_free(TAKE(w.client));
}

static const char *got(void)
{
    const char *text = buf_cstr(&w.got);
    return text != NULL ? text : "";
}

static void forget(void)
{
    buf_clear(&w.got);
}

/* Takes the first response off `got` and checks it. */
static void expect(int status, const char *body)
{
    char line[32];
    snprintf(line, sizeof line, "HTTP/1.1 %d ", status);
    const char *text = got();
    const char *blank = strstr(text, "\r\n\r\n");
    if (strncmp(text, line, strlen(line)) != 0 || blank == NULL)
        fail_msg("expected %d, got: %s", status, text);
    size_t head = (size_t)(blank + 4 - text), len = 0;
    const char *length = strstr(text, "Content-Length: ");
    if (length != NULL && length < blank)
        len = strtoul(length + 16, NULL, 10);
    assert_true(strstr(text, "\r\nDate: ") < blank);
    assert_true(buf_len(&w.got) >= head + len);
    if (body != NULL) {
        assert_int_equal(len, strlen(body));
        assert_memory_equal(blank + 4, body, len);
    }
    buf_consume(&w.got, head + len);
}

static void expect_nothing(void)
{
    assert_string_equal(got(), "");
}

static void expect_reject(int status, enum http_reject why)
{
    const struct http_counters *n = http_front_counters(w.front);
    const char *text = got();
    assert_non_null(strstr(text, "Connection: close\r\n"));
    assert_non_null(strstr(text, "{\"code\":\""));
    assert_non_null(strstr(text, "\"message\":\""));
    expect(status, NULL);
    expect_nothing();
    assert_int_equal(n->rejects[why], 1);
    assert_int_equal(http_reject_status(why), status);
}

static void pass(usec_t us)
{
    w.now_us += us;
    http_front_tick(w.front, w.now_us);
    if (w.client != NULL)
        run();
}

/* -- the world ------------------------------------------------------------- */

static usec_t now(void *user)
{
    return ((struct world *)user)->now_us;
}

static void new_front(const struct http_handler *h)
{
    const struct http_front_options options = {
        .limits = w.limits,
        .handler = h,
        .user = &w,
        .now = now,
        .now_user = &w,
    };
    assert_int_equal(http_front_new(&options, &w.front, NULL), ERR_OK);
}

static int setup(void **state)
{
    (void)state;
    w = (struct world){.now_us = 1000};
    http_limits_default(&w.limits);
    buf_init(&w.got, 64 * 1024 * 1024);
    new_front(&handler);
    connect_with(NULL);
    return 0;
}

static void restart(void)
{
    http_front_free(w.front);
    chan_free(w.client);
    forget();
    new_front(&handler);
    connect_with(NULL);
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < w.running_count; i++)
        if (w.running[i] != NULL)
            answer(i, "");
    const struct http_counters *n = http_front_counters(w.front);
    int err = n->requests_running != 0;
    http_front_free(w.front);
    chan_free(w.client);
    buf_free(&w.got);
    return err;
}

/* -- requests and responses ------------------------------------------------ */

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define POST5(path, body)                                                      \
    "POST " path " HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n" body
#define CHUNKED(path)                                                          \
    "POST " path " HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"

static void requests_are_answered_on_one_connection(void **state)
{
    (void)state;
    send_text(GET("/a?b"));
    assert_non_null(strstr(got(), "\r\nX-Echo: yes\r\n"));
    assert_null(strstr(got(), "Connection:"));
    expect(200, "GET /a?b ");
    send_text(POST5("/b", "hello"));
    expect(200, "POST /b hello");
    send_text(CHUNKED("/c") "3\r\nabc\r\n2;x\r\nde\r\n0\r\nT: x\r\n\r\n");
    expect(200, "POST /c abcde");
    assert_false(w.client_closed);
    const struct http_counters *n = http_front_counters(w.front);
    assert_int_equal(n->requests, 3);
    assert_int_equal(n->responses, 3);
    assert_int_equal(n->connections_open, 1);
    assert_int_equal(n->body_bytes_held, 0);
}

static void a_request_may_arrive_byte_by_byte(void **state)
{
    (void)state;
    static const char text[] = "\r\n" GET("/a") POST5("/b", "hello")
        CHUNKED("/c") "5\r\nworld\r\n0\r\n\r\n" GET("/d");
    for (size_t i = 0; i < sizeof text - 1; i++)
        send_bytes(text + i, 1);
    expect(200, "GET /a ");
    expect(200, "POST /b hello");
    expect(200, "POST /c world");
    expect(200, "GET /d ");
    expect_nothing();
}

static void a_request_may_be_cut_anywhere(void **state)
{
    (void)state;
    static const char text[] =
        GET("/a") CHUNKED("/c") "5\r\nworld\r\n0\r\n\r\n" POST5("/b", "hello");
    for (size_t cut = 1; cut < sizeof text - 1; cut++) {
        send_bytes(text, cut);
        send_bytes(text + cut, sizeof text - 1 - cut);
        expect(200, "GET /a ");
        expect(200, "POST /c world");
        expect(200, "POST /b hello");
        expect_nothing();
    }
}

static void headers_are_found_by_name(void **state)
{
    (void)state;
    w.hold = true;
    send_text(
        "GET / HTTP/1.1\r\nhost: h\r\nX-MS-Date: today\r\nEmpty:\r\n\r\n");
    assert_int_equal(w.running_count, 1);
    struct http_request *r = w.running[0];
    assert_true(bytes_equal(http_header(r, "x-ms-date"), bytes_str("today")));
    assert_true(bytes_equal(http_header(r, "HOST"), bytes_str("h")));
    assert_non_null(http_header(r, "empty").data);
    assert_int_equal(http_header(r, "empty").len, 0);
    assert_null(http_header(r, "x-ms-dat").data);
    assert_null(http_header(r, "y-ms-date").data);
    assert_ptr_equal(r->listener_tag, &w);
    assert_int_equal(r->arrived_us, 1000);
    assert_non_null(r->peer_addr);
}

static void head_gets_the_length_and_no_body(void **state)
{
    (void)state;
    send_text("HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_non_null(strstr(got(), "Content-Length: 8\r\n"));
    const char *blank = strstr(got(), "\r\n\r\n");
    assert_string_equal(blank, "\r\n\r\n");
    forget();
    send_text(GET("/b"));
    expect(200, "GET /b ");
}

static void no_content_has_no_length(void **state)
{
    (void)state;
    w.hold = true;
    send_text(GET("/a"));
    http_respond(TAKE(w.running[0]), 204, bytes_of(NULL, 0));
    run();
    assert_null(strstr(got(), "Content-Length"));
    expect(204, "");
    send_text(GET("/b"));
    http_respond(TAKE(w.running[1]), 304, bytes_of(NULL, 0));
    run();
    assert_null(strstr(got(), "Content-Length"));
    expect(304, "");
}

static void continue_is_sent_when_asked_for(void **state)
{
    (void)state;
    send_text("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n"
              "Expect: 100-continue\r\n\r\n");
    assert_string_equal(got(), "HTTP/1.1 100 Continue\r\n\r\n");
    forget();
    send_text("abc");
    expect(200, "PUT /a abc");
}

/* It must not overtake the response of an earlier request. */
static void continue_waits_for_its_turn(void **state)
{
    (void)state;
    w.hold = true;
    send_text(GET("/a") "PUT /b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n"
                        "Expect: 100-continue\r\n\r\n");
    expect_nothing();
    answer(0, "first");
    run();
    expect(200, "first");
    assert_string_equal(got(), "HTTP/1.1 100 Continue\r\n\r\n");
    forget();
    send_text("abc");
    answer(1, "second");
    run();
    expect(200, "second");
}

static void a_refused_body_is_not_asked_for(void **state)
{
    (void)state;
    send_text("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n"
              "Expect: 100-continue\r\n\r\n");
    expect_reject(413, HTTP_REJECT_BODY_SIZE);
}

static void responses_leave_in_the_order_of_requests(void **state)
{
    (void)state;
    w.hold = true;
    send_text(GET("/0") GET("/1") GET("/2"));
    assert_int_equal(w.running_count, 3);
    answer(2, "two");
    run();
    expect_nothing();
    answer(0, "zero");
    run();
    expect(200, "zero");
    expect_nothing();
    answer(1, "one");
    run();
    expect(200, "one");
    expect(200, "two");
}

static void the_pipeline_is_bounded(void **state)
{
    (void)state;
    w.hold = true;
    for (int i = 0; i < HTTP_PIPELINED_MAX + 3; i++)
        send_text(GET("/x"));
    assert_int_equal(w.running_count, HTTP_PIPELINED_MAX);
    answer(1, "b");
    answer(0, "a");
    assert_int_equal(w.running_count, HTTP_PIPELINED_MAX);
    pass(1);
    assert_int_equal(w.running_count, HTTP_PIPELINED_MAX + 2);
    expect(200, "a");
    expect(200, "b");
    for (size_t i = 2; i < w.running_count; i++)
        answer(i, "");
    pass(1);
    assert_int_equal(w.running_count, HTTP_PIPELINED_MAX + 3);
}

static void connection_close_is_honoured(void **state)
{
    (void)state;
    w.hold = true;
    send_text("GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" GET(
        "/ignored"));
    assert_int_equal(w.running_count, 1);
    answer(0, "bye");
    run();
    assert_non_null(strstr(got(), "Connection: close\r\n"));
    expect(200, "bye");
    expect_nothing();
    assert_true(w.client_closed);
}

static void a_handler_may_close(void **state)
{
    (void)state;
    w.hold = true;
    send_text(GET("/a") GET("/b"));
    http_reply_close(w.running[0]);
    answer(0, "bye");
    run();
    expect(200, "bye");
    assert_true(w.client_closed);
    assert_true(http_request_gone(w.running[1]));
}

static void a_request_outlives_its_client(void **state)
{
    (void)state;
    w.hold = true;
    send_text(POST5("/a", "hello") GET("/b"));
    assert_false(http_request_gone(w.running[0]));
    disconnect();
    const struct http_counters *n = http_front_counters(w.front);
    assert_int_equal(n->connections_open, 0);
    assert_true(http_request_gone(w.running[0]));
    assert_true(bytes_equal(w.running[0]->body, bytes_str("hello")));
    assert_true(bytes_equal(http_header(w.running[0], "host"), bytes_str("h")));
    http_reply_header_str(w.running[0], "a", "b");
    answer(0, "too late");
    answer(1, "too late");
    assert_int_equal(n->responses_dropped, 2);
    assert_int_equal(n->body_bytes_held, 0);
    connect_with(NULL);
    send_text(GET("/c"));
    answer(2, "fine");
    run();
    expect(200, "fine");
}

static void large_bodies_pass_through_small_channels(void **state)
{
    (void)state;
    const struct chan_mem_options small = {
        .input_max = 4096, .output_max = 64 * 1024, .step_bytes = 1500};
    chan_free(TAKE(w.client));
    http_front_free(w.front);
    new_front(&handler);
    connect_with(&small);
    size_t len = 3 * 1024 * 1024;
    char *body = malloc(len);
    for (size_t i = 0; i < len; i++)
        body[i] = (char)('a' + i % 26);
    char head[128];
    int n = sprintf(head,
                    "PUT /a HTTP/1.1\r\nHost: h\r\n"
                    "Content-Length: %zu\r\n\r\n",
                    len);
    send_bytes(head, (size_t)n);
    for (size_t at = 0; at < len; at += 32768)
        send_bytes(body + at, 32768);
    const char *blank = strstr(got(), "\r\n\r\n");
    assert_non_null(blank);
    assert_int_equal(strlen(blank + 4), len + 7);
    assert_memory_equal(blank + 4, "PUT /a ", 7);
    assert_memory_equal(blank + 11, body, len);
    forget();
    /* Answers that are copied, two of them, the second before the first. */
    w.hold = true;
    send_text(GET("/1") GET("/2"));
    size_t i = w.running_count;
    http_respond(TAKE(w.running[i - 1]), 200, bytes_of(body, len));
    http_respond(TAKE(w.running[i - 2]), 200, bytes_of(body, 100000));
    run();
    const char *first = strstr(got(), "\r\n\r\n");
    assert_memory_equal(first + 4, body, 100000);
    const char *second = strstr(first + 4 + 100000, "\r\n\r\n");
    assert_int_equal(strlen(second + 4), len);
    assert_memory_equal(second + 4, body, len);
    free(body);
}

static void reply_headers_are_checked_and_bounded(void **state)
{
    (void)state;
    w.hold = true;
    send_text(GET("/a"));
    struct http_request *r = w.running[0];
    assert_int_equal(http_reply_header_str(r, "a", "b\r\nc: d"), ERR_INVALID);
    assert_int_equal(http_reply_header(r, "a", bytes_of("\0", 1)), ERR_INVALID);
    assert_int_equal(http_reply_header_u64(r, "n", UINT64_MAX), ERR_OK);
    assert_int_equal(http_reply_header_u64(r, "z", 0), ERR_OK);
    assert_int_equal(http_reply_header_f(r, "f", "%d-%s", 7, "x"), ERR_OK);
    static char big[HTTP_RESPONSE_HEADERS_MAX];
    memset(big, 'x', sizeof big);
    assert_int_equal(http_reply_header(r, "b", bytes_of(big, sizeof big)),
                     ERR_LIMIT);
    size_t room = HTTP_RESPONSE_HEADERS_MAX - http_reply_header_bytes(r) - 5;
    assert_int_equal(http_reply_header(r, "b", bytes_of(big, room)), ERR_OK);
    assert_int_equal(http_reply_header_bytes(r), HTTP_RESPONSE_HEADERS_MAX);
    answer(0, "ok");
    run();
    assert_non_null(strstr(got(), "\r\nn: 18446744073709551615\r\nz: 0\r\n"
                                  "f: 7-x\r\nb: xxx"));
    expect(200, "ok");
    send_text(GET("/a"));
    http_reply_header_str(w.running[1], "gone", "x");
    http_reply_reset(w.running[1]);
    answer(1, "ok");
    run();
    assert_null(strstr(got(), "gone"));
}

/* -- refusals -------------------------------------------------------------- */

static void garbage_is_refused_and_the_connection_ends(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status;
        enum http_reject why;
    } rows[] = {
        {"\x16\x03\x01 not plain text\r\n\r\n", 400, HTTP_REJECT_SYNTAX},
        {"GET / HTTP/1.1\nHost: h\r\n\r\n", 400, HTTP_REJECT_SYNTAX},
        {"\r\n\r\n" GET("/"), 400, HTTP_REJECT_SYNTAX},
        {"GET / HTTP/1.1\r\n\r\n", 400, HTTP_REJECT_HOST},
        {"BREW / HTTP/1.1\r\nHost: h\r\n\r\n", 501, HTTP_REJECT_METHOD},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 501, HTTP_REJECT_METHOD},
        {"GET / HTTP/1.0\r\nHost: h\r\n\r\n", 505, HTTP_REJECT_VERSION},
        {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n"
         "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" GET("/smuggled"),
         400, HTTP_REJECT_SMUGGLING},
        {CHUNKED("/") "5\r\nhello0\r\n\r\n", 400, HTTP_REJECT_SYNTAX},
        {CHUNKED("/") "ffffffffff\r\n", 413, HTTP_REJECT_BODY_SIZE},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        restart();
        send_text(rows[i].text);
        expect_reject(rows[i].status, rows[i].why);
        assert_int_equal(http_front_counters(w.front)->requests, 0);
        pass(HTTP_LINGER_US);
        assert_true(w.client_closed);
    }
}

static void garbage_behind_a_request_does_not_harm_it(void **state)
{
    (void)state;
    w.hold = true;
    send_text(GET("/a") "garbage\r\n\r\n" GET("/never"));
    assert_int_equal(w.running_count, 1);
    expect_nothing();
    answer(0, "fine");
    run();
    expect(200, "fine");
    expect_reject(400, HTTP_REJECT_SYNTAX);
    assert_int_equal(w.running_count, 1);
}

static void limits_are_exact(void **state)
{
    (void)state;
    static const char head[] = GET("/0123456789");
    w.limits.head_bytes = sizeof head - 1;
    w.limits.body_bytes = 5;
    restart();
    send_text(head);
    expect(200, NULL);
    send_text(GET("/0123456789a"));
    expect_reject(431, HTTP_REJECT_HEAD_SIZE);
    w.limits.head_bytes = 1000;
    restart();
    send_text(POST5("/", "hello"));
    expect(200, NULL);
    send_text(CHUNKED("/") "5\r\nhello\r\n0\r\n\r\n");
    expect(200, NULL);
    send_text(CHUNKED("/") "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n");
    expect_reject(413, HTTP_REJECT_BODY_SIZE);
    restart();
    send_text("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\n");
    expect_reject(413, HTTP_REJECT_BODY_SIZE);
    w.limits.head_bytes = 64;
    restart();
    char line[200];
    memset(line, 'a', sizeof line);
    memcpy(line, "GET /", 5);
    send_bytes(line, sizeof line);
    expect_reject(414, HTTP_REJECT_TARGET_SIZE);
}

/* The client of a body that is too large may send all of it and still reads
 * the answer; then the connection ends. */
static void the_rest_of_a_refused_body_is_read_over(void **state)
{
    (void)state;
    w.limits.body_bytes = 5;
    restart();
    send_text("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n");
    expect_reject(413, HTTP_REJECT_BODY_SIZE);
    assert_false(w.client_closed);
    send_text("01234");
    assert_false(w.client_closed);
    send_text("56789");
    assert_true(w.client_closed);
    restart();
    send_text("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n"
              "Expect: coffee\r\n\r\n");
    expect_reject(417, HTTP_REJECT_EXPECTATION);
    assert_false(w.client_closed);
    send_text("01234");
    assert_true(w.client_closed);
}

static void bodies_together_are_bounded(void **state)
{
    (void)state;
    w.limits.bodies_total_bytes = 8;
    restart();
    w.hold = true;
    send_text(POST5("/a", "hello"));
    assert_int_equal(http_front_counters(w.front)->body_bytes_held, 5);
    send_text(POST5("/b", "hello"));
    answer(0, "done");
    run();
    expect(200, "done");
    expect_reject(503, HTTP_REJECT_MEMORY);
    assert_int_equal(http_front_counters(w.front)->body_bytes_held, 0);
    restart();
    send_text(POST5("/a", "hello") CHUNKED("/c") "5\r\nhello\r\n0\r\n\r\n");
    answer(1, "done");
    run();
    expect(200, "done");
    expect_reject(503, HTTP_REJECT_MEMORY);
}

static void format_own_error(struct http_request *r, enum http_reject why,
                             const char *message, struct buf *body, void *user)
{
    assert_ptr_equal(user, &w);
    assert_int_equal(why, HTTP_REJECT_HOST);
    assert_true(bytes_equal(r->target, bytes_str("/a")));
    assert_non_null(message);
    http_reply_header_str(r, "x-ms-activity-id", "17");
    buf_append_str(body, "{\"message\":\"mine\"}");
}

static void the_api_shapes_refusals(void **state)
{
    (void)state;
    static const struct http_handler own = {.on_request = on_request,
                                            .format_error = format_own_error};
    http_front_free(w.front);
    chan_free(TAKE(w.client));
    new_front(&own);
    connect_with(NULL);
    send_text("GET /a HTTP/1.1\r\n\r\n");
    assert_non_null(strstr(got(), "x-ms-activity-id: 17\r\n"));
    expect(400, "{\"message\":\"mine\"}");
    restart();
}

/* -- time ------------------------------------------------------------------ */

static void a_slow_head_times_out(void **state)
{
    (void)state;
    static const char text[] = GET("/a");
    for (size_t i = 0; i < 4; i++) {
        send_bytes(text + i, 1);
        pass(HTTP_HEAD_TIMEOUT_US / 4 - 1);
        expect_nothing();
    }
    pass(4);
    expect_reject(408, HTTP_REJECT_TIMEOUT);
    pass(HTTP_LINGER_SHORT_US);
    assert_true(w.client_closed);
}

static void a_slow_head_behind_a_running_request_waits_for_it(void **state)
{
    (void)state;
    w.hold = true;
    send_text(GET("/a") "GET");
    pass(HTTP_HEAD_TIMEOUT_US);
    expect_nothing();
    answer(0, "fine");
    run();
    expect(200, "fine");
    expect_reject(408, HTTP_REJECT_TIMEOUT);
}

static void a_body_without_progress_times_out(void **state)
{
    (void)state;
    send_text("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n\r\n");
    static const char piece[HTTP_BODY_PROGRESS];
    pass(HTTP_BODY_TIMEOUT_US - 1);
    send_bytes(piece, sizeof piece);
    pass(HTTP_BODY_TIMEOUT_US - 1);
    expect_nothing();
    /* A byte now and then is no progress. */
    send_bytes(piece, 1);
    pass(1);
    expect_reject(408, HTTP_REJECT_TIMEOUT);
}

static void an_idle_connection_is_closed_without_a_word(void **state)
{
    (void)state;
    send_text(GET("/a"));
    expect(200, NULL);
    pass(HTTP_IDLE_TIMEOUT_US - 1);
    assert_false(w.client_closed);
    pass(1);
    assert_true(w.client_closed);
    expect_nothing();
    assert_int_equal(http_front_counters(w.front)->timeouts_idle, 1);
}

static void a_running_request_is_not_idle(void **state)
{
    (void)state;
    w.hold = true;
    send_text(GET("/a"));
    pass(10 * HTTP_IDLE_TIMEOUT_US);
    assert_false(w.client_closed);
    answer(0, "at last");
    run();
    expect(200, "at last");
    pass(HTTP_IDLE_TIMEOUT_US - 1);
    assert_false(w.client_closed);
}

static void a_client_that_reads_nothing_is_cut_off(void **state)
{
    (void)state;
    const struct chan_mem_options small = {.output_max = 64 * 1024,
                                           .input_max = 1024};
    http_front_free(w.front);
    chan_free(TAKE(w.client));
    new_front(&handler);
    connect_with(&small);
    w.hold = true;
    send_text(GET("/a"));
    static char big[200000];
    chan_read_stop(w.client);
    http_respond(TAKE(w.running[0]), 200, bytes_of(big, sizeof big));
    run();
    const struct http_counters *n = http_front_counters(w.front);
    pass(HTTP_WRITE_TIMEOUT_US - 1);
    assert_int_equal(n->connections_open, 1);
    pass(2 * HTTP_WRITE_TIMEOUT_US);
    pass(2 * HTTP_WRITE_TIMEOUT_US);
    assert_int_equal(n->connections_open, 0);
    assert_int_equal(n->timeouts_write, 1);
}

/* -- the end --------------------------------------------------------------- */

static void on_drained(struct http_front *f, void *user)
{
    assert_ptr_equal(f, w.front);
    assert_ptr_equal(user, &w);
    assert_false(w.drained);
    w.drained = true;
}

static void a_drain_waits_for_running_requests(void **state)
{
    (void)state;
    w.hold = true;
    send_text(GET("/a"));
    http_front_drain(w.front, USEC_PER_SEC, on_drained, &w);
    pass(USEC_PER_SEC * 3 / 4);
    assert_false(w.drained);
    answer(0, "still");
    run();
    assert_non_null(strstr(got(), "Connection: close\r\n"));
    expect(200, "still");
    assert_true(w.client_closed);
    pass(1);
    assert_true(w.drained);
}

static void a_drain_answers_what_is_on_its_way(void **state)
{
    (void)state;
    http_front_drain(w.front, USEC_PER_SEC, on_drained, &w);
    pass(USEC_PER_SEC / 2 - 1);
    assert_false(w.client_closed);
    send_text(GET("/a"));
    assert_non_null(strstr(got(), "Connection: close\r\n"));
    expect(200, NULL);
    assert_true(w.client_closed);
    pass(1);
    assert_true(w.drained);
}

static void a_drain_closes_idle_connections_half_way(void **state)
{
    (void)state;
    http_front_drain(w.front, USEC_PER_SEC, on_drained, &w);
    pass(USEC_PER_SEC / 2);
    assert_true(w.client_closed);
    pass(1);
    assert_true(w.drained);
}

static void a_drain_is_bounded(void **state)
{
    (void)state;
    w.hold = true;
    send_text(GET("/a"));
    http_front_drain(w.front, USEC_PER_SEC, on_drained, &w);
    pass(USEC_PER_SEC - 1);
    assert_false(w.drained);
    pass(1);
    assert_true(w.drained);
    assert_true(w.client_closed);
    assert_true(http_request_gone(w.running[0]));
}

/* -- answers that are cut or wait ------------------------------------------ */

/* Sends this request and leaves it with the handler; its number. */
static size_t hold_request(const char *text)
{
    w.hold = true;
    send_text(text);
    return w.running_count - 1;
}

static uint64_t delayed(void)
{
    return http_front_counters(w.front)->responses_delayed;
}

static void half_an_answer_announces_all_of_it(void **state)
{
    (void)state;
    size_t i = hold_request(GET("/a"));
    http_reply_cut(w.running[i], HTTP_CUT_HALF);
    answer(i, "0123456789");
    run();
    assert_non_null(strstr(got(), "Content-Length: 10\r\n"));
    assert_null(strstr(got(), "Connection:"));
    assert_string_equal(strstr(got(), "\r\n\r\n") + 4, "01234");
    assert_true(w.client_closed);
}

static void half_an_answer_may_be_taken_or_wait_its_turn(void **state)
{
    (void)state;
    size_t i = hold_request(GET("/a") GET("/b") GET("/c"));
    struct buf body;
    buf_init(&body, 100);
    assert_int_equal(buf_append_str(&body, "01234567"), ERR_OK);
    http_reply_cut(w.running[i - 1], HTTP_CUT_HALF);
    http_respond_take(TAKE(w.running[i - 1]), 200, &body);
    run();
    expect_nothing();
    answer(i - 2, "first");
    run();
    expect(200, "first");
    assert_string_equal(strstr(got(), "\r\n\r\n") + 4, "0123");
    assert_true(w.client_closed);
    answer(i, "too late");
}

static void an_answer_without_body_is_whole_when_halved(void **state)
{
    (void)state;
    size_t i = hold_request(GET("/a"));
    http_reply_cut(w.running[i], HTTP_CUT_HALF);
    http_respond(TAKE(w.running[i]), 204, bytes_of(NULL, 0));
    run();
    expect(204, "");
    assert_true(w.client_closed);
}

static void a_reset_sends_nothing(void **state)
{
    (void)state;
    size_t i = hold_request(GET("/a") GET("/b"));
    http_reply_cut(w.running[i], HTTP_CUT_RESET);
    answer(i, "lost");
    run();
    assert_false(w.client_closed);
    answer(i - 1, "first");
    run();
    pass(1);
    expect_nothing(); /* chan_mem loses what was on its way, too */
    assert_true(w.client_closed);
    const struct http_counters *n = http_front_counters(w.front);
    assert_int_equal(n->connections_open, 0);
    assert_int_equal(n->responses, 1);
    assert_int_equal(n->responses_dropped, 1);
}

static void a_reset_leaves_running_requests_alive(void **state)
{
    (void)state;
    size_t i = hold_request(GET("/a") GET("/b"));
    http_reply_cut(w.running[i - 1], HTTP_CUT_RESET);
    answer(i - 1, "lost");
    pass(1);
    assert_true(w.client_closed);
    assert_true(http_request_gone(w.running[i]));
    answer(i, "nobody hears it");
    assert_int_equal(http_front_counters(w.front)->responses_dropped, 2);
}

static void a_delayed_answer_comes_later(void **state)
{
    (void)state;
    size_t i = hold_request(GET("/a"));
    http_reply_delay(w.running[i], 5000);
    answer(i, "late");
    pass(4999);
    expect_nothing();
    assert_int_equal(delayed(), 1);
    assert_int_equal(http_front_counters(w.front)->requests_running, 0);
    pass(1);
    expect(200, "late");
    assert_int_equal(delayed(), 0);
    assert_false(w.client_closed);
}

static void delayed_answers_keep_the_order_of_requests(void **state)
{
    (void)state;
    size_t i = hold_request(GET("/a") GET("/b") GET("/c"));
    http_reply_delay(w.running[i - 2], 5000);
    http_reply_delay(w.running[i - 1], 2000);
    answer(i, "third");
    answer(i - 1, "second");
    answer(i - 2, "first");
    pass(2000);
    assert_int_equal(delayed(), 1);
    expect_nothing();
    pass(3000);
    expect(200, "first");
    expect(200, "second");
    expect(200, "third");
}

static void a_delayed_answer_may_be_cut_as_well(void **state)
{
    (void)state;
    size_t i = hold_request(GET("/a"));
    http_reply_delay(w.running[i], 5000);
    http_reply_cut(w.running[i], HTTP_CUT_RESET);
    answer(i, "lost");
    pass(4999);
    assert_false(w.client_closed);
    pass(1);
    assert_true(w.client_closed);
    expect_nothing();
}

static void a_client_may_leave_a_delayed_answer(void **state)
{
    (void)state;
    size_t i = hold_request(GET("/a"));
    http_reply_delay(w.running[i], 5000);
    answer(i, "late");
    disconnect();
    assert_int_equal(delayed(), 0);
    assert_int_equal(http_front_counters(w.front)->responses_dropped, 1);
    pass(5000);
}

static void a_front_may_end_with_delayed_answers(void **state)
{
    (void)state;
    size_t i = hold_request(GET("/a"));
    http_reply_delay(w.running[i], 5000);
    answer(i, "late");
    restart();
}

static void a_drain_does_not_wait_for_delayed_answers(void **state)
{
    (void)state;
    size_t i = hold_request(GET("/a"));
    http_reply_delay(w.running[i], 60 * USEC_PER_SEC);
    answer(i, "late");
    i = hold_request(GET("/b"));
    http_reply_delay(w.running[i], 60 * USEC_PER_SEC);
    http_front_drain(w.front, USEC_PER_SEC, on_drained, &w);
    run();
    expect(200, "late");
    answer(i, "at once");
    run();
    assert_non_null(strstr(got(), "Connection: close\r\n"));
    expect(200, "at once");
    pass(1);
    assert_true(w.drained);
}

/* The client reads nothing, so its connections are many and cheap. */
static void delayed_answers_are_bounded(void **state)
{
    (void)state;
    struct chan *clients[HTTP_DELAYED_MAX / HTTP_PIPELINED_MAX];
    struct chan *first = TAKE(w.client);
    w.hold = true;
    for (size_t c = 0; c < ARRAY_LEN(clients); c++) {
        connect_with(NULL);
        for (size_t n = 0; n < HTTP_PIPELINED_MAX; n++) {
            w.running_count = 0;
            send_text(GET("/a"));
            http_reply_delay(w.running[0], 5000);
            answer(0, "late");
        }
        clients[c] = TAKE(w.client);
    }
    w.running_count = 0;
    w.client = first;
    assert_int_equal(delayed(), HTTP_DELAYED_MAX);
    size_t i = hold_request(GET("/b"));
    http_reply_delay(w.running[i], 5000);
    answer(i, "at once");
    run();
    expect(200, "at once");
    pass(5000);
    assert_int_equal(delayed(), 0);
    for (size_t c = 0; c < ARRAY_LEN(clients); c++)
        chan_free(clients[c]);
}

/* -- requests without a connection ----------------------------------------- */

struct passed {
    unsigned answers;
    int status;
    char headers[256], body[256];
};

static void take_answer(void *user, int status, struct bytes headers,
                        struct bytes body)
{
    struct passed *p = user;
    p->answers++;
    p->status = status;
    snprintf(p->headers, sizeof(p->headers), "%.*s", (int)headers.len,
             (const char *)headers.data);
    snprintf(p->body, sizeof(p->body), "%.*s", (int)body.len,
             (const char *)body.data);
}

static int make(const char *head, const char *body, struct passed *p,
                struct http_request **r)
{
    return http_request_make(w.front, bytes_str(head), bytes_str(body),
                             take_answer, p, r);
}

static void a_request_needs_no_connection(void **state)
{
    (void)state;
    struct passed p = {.answers = 0};
    struct http_request *r;
    assert_int_equal(make("POST /a HTTP/1.1\r\nhost: x\r\nx-ms-a: 1\r\n"
                          "content-length: 4\r\n\r\n",
                          "body", &p, &r),
                     ERR_OK);
    assert_int_equal(r->method, HTTP_METHOD_POST);
    assert_true(bytes_equal(http_header(r, "X-MS-A"), bytes_str("1")));
    assert_false(http_request_gone(r));
    assert_int_equal(http_front_counters(w.front)->body_bytes_held, 4);
    http_reply_cut(r, HTTP_CUT_RESET); /* of nothing */
    echo(r);
    assert_int_equal(p.answers, 1);
    assert_int_equal(p.status, 200);
    assert_string_equal(p.headers, "X-Echo: yes\r\n");
    assert_string_equal(p.body, "POST /a body");
    assert_int_equal(http_front_counters(w.front)->body_bytes_held, 0);
    assert_int_equal(http_front_counters(w.front)->requests_running, 0);
    /* And what it was made of serves a connection again. */
    send_text("GET /b HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(200, "GET /b ");
    assert_int_equal(p.answers, 1);
}

static void what_is_no_request_is_not_made_one(void **state)
{
    (void)state;
    static const struct {
        const char *head, *body;
    } bad[] = {
        {"", ""},
        {"GET /a HTTP/1.1\r\nhost: x\r\n", ""},
        {"GET /a HTTP/1.1\r\n\r\n", ""},
        {"GET /a HTTP/1.1\r\nhost: x\r\n\r\nGET /b", ""},
        {"GET /a HTTP/1.1\nhost: x\n\n", ""},
        {"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n", "body"},
        {"POST /a HTTP/1.1\r\nhost: x\r\n\r\n", "body"},
        {"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
         "body"},
    };
    struct passed p = {.answers = 0};
    struct http_request *r;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(make(bad[i].head, bad[i].body, &p, &r), ERR_MALFORMED);
        assert_null(r);
    }
    char *long_head = malloc(HTTP_HEAD_MAX + 100);
    assert_non_null(long_head);
    memset(long_head, 'a', HTTP_HEAD_MAX + 99);
    memcpy(long_head, "GET /", 5);
    long_head[HTTP_HEAD_MAX + 99] = '\0';
    assert_int_equal(make(long_head, "", &p, &r), ERR_LIMIT);
    free(long_head);
    assert_int_equal(p.answers, 0);
    assert_int_equal(http_front_counters(w.front)->body_bytes_held, 0);
}

static void limits_out_of_range_are_named(void **state)
{
    (void)state;
    struct err_msg msg;
    struct http_front *f = NULL;
    struct http_front_options options = {.handler = &handler};
    http_limits_default(&options.limits);
    options.limits.headers = HTTP_HEADERS_MAX + 1;
    assert_int_equal(http_front_new(&options, &f, &msg), ERR_INVALID);
    assert_non_null(strstr(msg.text, "headers"));
    options.limits.headers = 1;
    options.limits.idle_us = 0;
    assert_int_equal(http_front_new(&options, &f, &msg), ERR_INVALID);
    assert_non_null(strstr(msg.text, "idle_us"));
    assert_null(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(requests_are_answered_on_one_connection),
        TEST(a_request_may_arrive_byte_by_byte),
        TEST(a_request_may_be_cut_anywhere),
        TEST(headers_are_found_by_name),
        TEST(head_gets_the_length_and_no_body),
        TEST(no_content_has_no_length),
        TEST(continue_is_sent_when_asked_for),
        TEST(continue_waits_for_its_turn),
        TEST(a_refused_body_is_not_asked_for),
        TEST(responses_leave_in_the_order_of_requests),
        TEST(the_pipeline_is_bounded),
        TEST(connection_close_is_honoured),
        TEST(a_handler_may_close),
        TEST(a_request_outlives_its_client),
        TEST(large_bodies_pass_through_small_channels),
        TEST(reply_headers_are_checked_and_bounded),
        TEST(garbage_is_refused_and_the_connection_ends),
        TEST(garbage_behind_a_request_does_not_harm_it),
        TEST(limits_are_exact),
        TEST(the_rest_of_a_refused_body_is_read_over),
        TEST(bodies_together_are_bounded),
        TEST(the_api_shapes_refusals),
        TEST(a_slow_head_times_out),
        TEST(a_slow_head_behind_a_running_request_waits_for_it),
        TEST(a_body_without_progress_times_out),
        TEST(an_idle_connection_is_closed_without_a_word),
        TEST(a_running_request_is_not_idle),
        TEST(a_client_that_reads_nothing_is_cut_off),
        TEST(a_drain_waits_for_running_requests),
        TEST(a_drain_answers_what_is_on_its_way),
        TEST(a_drain_closes_idle_connections_half_way),
        TEST(a_drain_is_bounded),
        TEST(half_an_answer_announces_all_of_it),
        TEST(half_an_answer_may_be_taken_or_wait_its_turn),
        TEST(an_answer_without_body_is_whole_when_halved),
        TEST(a_reset_sends_nothing),
        TEST(a_reset_leaves_running_requests_alive),
        TEST(a_delayed_answer_comes_later),
        TEST(delayed_answers_keep_the_order_of_requests),
        TEST(a_delayed_answer_may_be_cut_as_well),
        TEST(a_client_may_leave_a_delayed_answer),
        TEST(a_front_may_end_with_delayed_answers),
        TEST(a_drain_does_not_wait_for_delayed_answers),
        TEST(delayed_answers_are_bounded),
        TEST(a_request_needs_no_connection),
        TEST(what_is_no_request_is_not_made_one),
        TEST(limits_out_of_range_are_named),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
