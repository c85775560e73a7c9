/* Any bytes from a client, in pieces of any size: the front answers or refuses
 * without harm, hands over only requests that keep its promises, and loses
 * track of nothing.
 *
 * The first bytes steer the run, the rest is what the client sends. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "node/base/check.h"
#include "node/http/http.h"
#include "replication/link/chan.h"
#include "replication/link/chan_mem.h"

#define HELD_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz {
    struct http_request *held[HELD_MAX]; /* to be answered late */
    size_t held_count;
    bool hold;
    usec_t now_us;
};

static bool no_control_bytes(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((text.data[i] < 0x20 && text.data[i] != '\t') ||
            text.data[i] == 0x7f)
            return false;
    return true;
}

static void check_request(const struct http_request *r)
{
    CHECK(r->method_raw.len > 0 && r->target.len > 0);
    CHECK(r->target.data[0] == '/' || r->target.data[0] == '*');
    CHECK(no_control_bytes(r->target));
    CHECK(r->header_count <= HTTP_HEADERS_MAX);
    for (size_t i = 0; i < r->header_count; i++) {
        CHECK(r->headers[i].name.len > 0);
        CHECK(no_control_bytes(r->headers[i].name));
        CHECK(no_control_bytes(r->headers[i].value));
    }
    CHECK(http_header(r, "host").data != NULL);
    CHECK_IMPLIES(http_header(r, "transfer-encoding").data != NULL,
                  http_header(r, "content-length").data == NULL);
    CHECK(r->body.len <= HTTP_BODY_MAX);
}

/* Some answers wait or are cut, as the last byte of the target has it. */
static void disturb(struct http_request *r)
{
    static const enum http_cut cuts[] = {HTTP_CUT_NONE, HTTP_CUT_NONE,
                                         HTTP_CUT_HALF, HTTP_CUT_RESET};
    uint8_t last = r->target.data[r->target.len - 1];
    if (last & 4)
        http_reply_cut(r, cuts[last & 3]);
    if (last & 8)
        http_reply_delay(r, (last & 3) * USEC_PER_MS);
}

static void on_request(struct http_request *r, void *user)
{
    struct fuzz *f = user;
    check_request(r);
    disturb(r);
    if (f->hold && f->held_count < HELD_MAX)
        f->held[f->held_count++] = r;
    else
        http_respond(r, 200, r->body);
}

static const struct http_handler handler = {.on_request = on_request};

static usec_t now(void *user)
{
    return ((struct fuzz *)user)->now_us;
}

static void on_nothing(struct chan *c, void *user)
{
    (void)c, (void)user;
}

static void on_data(struct chan *c, void *user)
{
    (void)user;
    buf_consume(chan_input(c), buf_len(chan_input(c)));
}

static void on_close(struct chan *c, void *user, int err)
{
    (void)c, (void)user, (void)err;
}

static const struct chan_handler client_events = {on_nothing, on_data,
                                                  on_nothing, on_close};

/* Out of order, the newest first. */
static void answer_all(struct fuzz *f)
{
    while (f->held_count > 0)
        http_respond(f->held[--f->held_count], 201, bytes_str("{}"));
}

static void send_all(struct fuzz *f, struct http_front *front,
                     struct chan *client, struct bytes text, size_t piece)
{
    while (text.len > 0) {
        size_t n = text.len < piece ? text.len : piece;
        (void)chan_write(client, text.data, n);
        chan_mem_run(client);
        text = bytes_of(text.data + n, text.len - n);
        if (f->held_count == HELD_MAX)
            answer_all(f);
        f->now_us += USEC_PER_MS;
        http_front_tick(front, f->now_us);
        chan_mem_run(client);
    }
}

static void check_balance(const struct http_counters *n)
{
    CHECK(n->requests_running == 0 && n->connections_open == 0);
    CHECK(n->body_bytes_held == 0 && n->responses_delayed == 0);
    uint64_t rejects = 0;
    for (int i = 0; i < HTTP_REJECT_COUNT; i++)
        rejects += n->rejects[i];
    CHECK(n->responses + n->responses_dropped == n->requests + rejects);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct fuzz f = {.hold = data[0] & 1, .now_us = 1};
    size_t piece = (size_t)data[1] + 1;
    bool cut = data[0] & 2;
    struct http_front_options options = {
        .handler = &handler, .user = &f, .now = now, .now_user = &f};
    http_limits_default(&options.limits);
    if (data[0] & 4) {
        options.limits.head_bytes = 256;
        options.limits.body_bytes = 64;
        options.limits.bodies_total_bytes = 100;
        options.limits.pipelined = 2;
    }
    struct http_front *front;
    struct chan *client, *server;
    CHECK(http_front_new(&options, &front, NULL) == ERR_OK);
    chan_mem_pair(NULL, &client, &server);
    chan_set_handler(client, &client_events, NULL);
    http_front_adopt(front, server, NULL);
    chan_mem_run(client);
    send_all(&f, front, client, bytes_of(data + 2, size - 2), piece);
    if (cut) {
        chan_mem_break(client, ERR_IO, "cut");
        chan_mem_run(client);
    }
    answer_all(&f);
    if (!cut) {
        /* Time ends whatever is unfinished. */
        for (int i = 0; i < 4; i++) {
            chan_mem_run(client);
            f.now_us += HTTP_IDLE_TIMEOUT_US;
            http_front_tick(front, f.now_us);
        }
        chan_mem_run(client);
    }
    check_balance(http_front_counters(front));
    http_front_free(front);
    chan_free(client);
    return 0;
}
