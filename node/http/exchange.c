#include "node/http/http_private.h"

#include <stdarg.h>
#include <stdio.h>

#include "node/base/mem.h"
#include "node/base/text.h"
#include "replication/link/chan.h"

/* -- life ------------------------------------------------------------------ */

static struct http_exchange *exchange_alloc(struct http_front *f)
{
    struct http_exchange *x = mem_zalloc(sizeof *x);
    x->magic = HTTP_EXCHANGE_MAGIC;
    x->front = f;
    list_init(&x->node);
    list_init(&x->delayed);
    buf_init(&x->raw_head, f->options.limits.head_bytes);
    buf_init(&x->body, f->options.limits.body_bytes);
    buf_init(&x->reply, HTTP_RESPONSE_HEADERS_MAX);
    buf_init(&x->reply_body, HTTP_RESPONSE_BODY_MAX);
    return x;
}

struct http_exchange *exchange_new(struct http_front *f, struct http_conn *c)
{
    struct list *node = list_pop_front(&f->pool);
    struct http_exchange *x;
    if (node != NULL) {
        x = LIST_ENTRY(node, struct http_exchange, node);
        CHECK_OBJ(x, HTTP_EXCHANGE_MAGIC);
        f->pool_count--;
    } else {
        x = exchange_alloc(f);
    }
    CHECK(x->state == EXCHANGE_FREE);
    x->state = EXCHANGE_READING;
    x->conn = c;
    snprintf(x->peer_addr, sizeof x->peer_addr, "%s",
             c != NULL ? chan_peer_addr(c->chan) : "");
    x->pub = (struct http_request){
        .method = HTTP_METHOD_OTHER,
        .headers = x->head.headers,
        .arrived_us = front_now(f),
        .listener_tag = c != NULL ? c->tag : NULL,
        .peer_addr = x->peer_addr,
        .peer_uri = c != NULL ? chan_peer_uri(c->chan) : NULL,
    };
    x->head.header_count = 0;
    x->head.chunked = false;
    x->send_continue = x->close = x->reply_head_sent = x->starved = false;
    x->cut = HTTP_CUT_NONE;
    x->delay_us = 0;
    x->status = 0;
    x->reply_body_len = 0;
    return x;
}

void exchange_show_head(struct http_exchange *x)
{
    x->pub.method = x->head.method;
    x->pub.method_raw = x->head.method_raw;
    x->pub.target = x->head.target;
    x->pub.header_count = x->head.header_count;
}

void exchange_show_body(struct http_exchange *x)
{
    if (buf_len(&x->body) > 0)
        x->pub.body = bytes_of(buf_bytes(&x->body), buf_len(&x->body));
}

static void buf_recycle(struct buf *b)
{
    if (b->cap > HTTP_POOL_KEEP)
        buf_free(b);
    else
        buf_clear(b);
}

void exchange_release(struct http_exchange *x)
{
    struct http_front *f = x->front;
    CHECK_OBJ(x, HTTP_EXCHANGE_MAGIC);
    CHECK(x->state != EXCHANGE_FREE && x->state != EXCHANGE_RUNNING);
    CHECK(list_empty(&x->node) && list_empty(&x->delayed));
    CHECK(f->counters.body_bytes_held >= buf_len(&x->body));
    f->counters.body_bytes_held -= buf_len(&x->body);
    x->state = EXCHANGE_FREE;
    x->conn = NULL;
    x->answer = NULL;
    x->answer_user = NULL;
    if (f->pool_count == HTTP_POOL_MAX) {
        exchange_free(x);
        return;
    }
    buf_recycle(&x->raw_head);
    buf_recycle(&x->body);
    buf_recycle(&x->reply);
    buf_free(&x->reply_body);
    list_push_front(&f->pool, &x->node);
    f->pool_count++;
}

void exchange_free(struct http_exchange *x)
{
    buf_free(&x->raw_head);
    buf_free(&x->body);
    buf_free(&x->reply);
    buf_free(&x->reply_body);
    x->magic = 0;
    mem_free(x);
}

/* -- what the handler asks of a request ------------------------------------ */

struct bytes http_header_find(const struct http_request *r, const char *name,
                              size_t name_len)
{
    CHECK(name_len > 0);
    for (size_t i = 0; i < r->header_count; i++) {
        const struct http_header *h = &r->headers[i];
        /* Length and last letter tell nearly all names apart. */
        if (h->name.len == name_len &&
            ((h->name.data[name_len - 1] ^ name[name_len - 1]) & 0x5f) == 0 &&
            strncasecmp((const char *)h->name.data, name, name_len) == 0)
            return h->value;
    }
    return bytes_of(NULL, 0);
}

bool http_request_gone(const struct http_request *r)
{
    const struct http_exchange *x = exchange_of((struct http_request *)r);
    return x->conn == NULL && x->answer == NULL;
}

/* -- reply headers --------------------------------------------------------- */

static bool is_header_text(struct bytes value)
{
    for (size_t i = 0; i < value.len; i++) {
        uint8_t b = value.data[i];
        if ((b < 0x20 && b != '\t') || b == 0x7f)
            return false;
    }
    return true;
}

int http_reply_header(struct http_request *r, const char *name,
                      struct bytes value)
{
    struct http_exchange *x = exchange_of(r);
    CHECK(x->state == EXCHANGE_RUNNING || x->state == EXCHANGE_READING);
    size_t name_len = strlen(name);
    CHECK(name_len > 0);
    if (!is_header_text(value))
        return ERR_INVALID;
    size_t len = name_len + 2 + value.len + 2;
    uint8_t *at;
    int err = buf_reserve(&x->reply, len, &at);
    x->starved |= err == ERR_NO_MEMORY;
    if (err != ERR_OK)
        return ERR_LIMIT;
    memcpy(at, name, name_len);
    memcpy(at + name_len, ": ", 2);
    if (value.len > 0)
        memcpy(at + name_len + 2, value.data, value.len);
    memcpy(at + len - 2, "\r\n", 2);
    buf_commit(&x->reply, len);
    return ERR_OK;
}

int http_reply_header_str(struct http_request *r, const char *name,
                          const char *value)
{
    return http_reply_header(r, name, bytes_str(value));
}

int http_reply_header_u64(struct http_request *r, const char *name,
                          uint64_t value)
{
    char text[TEXT_U64_MAX];
    return http_reply_header(r, name,
                             bytes_of(text, text_put_u64(value, text)));
}

int http_reply_header_f(struct http_request *r, const char *name,
                        const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    CHECK(len >= 0);
    if ((size_t)len >= sizeof text)
        return ERR_LIMIT;
    return http_reply_header(r, name, bytes_of(text, (size_t)len));
}

void http_reply_reset(struct http_request *r)
{
    struct http_exchange *x = exchange_of(r);
    buf_clear(&x->reply);
    x->starved = false;
}

size_t http_reply_header_bytes(const struct http_request *r)
{
    return buf_len(&exchange_of((struct http_request *)r)->reply);
}

void http_reply_close(struct http_request *r)
{
    exchange_of(r)->close = true;
}

void http_reply_cut(struct http_request *r, enum http_cut cut)
{
    struct http_exchange *x = exchange_of(r);
    CHECK(x->state == EXCHANGE_RUNNING);
    x->cut = cut;
}

void http_reply_delay(struct http_request *r, usec_t delay_us)
{
    struct http_exchange *x = exchange_of(r);
    CHECK(x->state == EXCHANGE_RUNNING && delay_us >= 0);
    x->delay_us = delay_us;
}

/* -- requests without a connection ----------------------------------------- */

/* Head and body, as conn.c has them once they are complete. */
static int fill(struct http_exchange *x, struct bytes head, struct bytes body)
{
    const struct http_limits *limits = &x->front->options.limits;
    struct http_scan scan = {.len = 0};
    struct http_fault fault;
    size_t used = 0;
    int err = http_scan(&scan, head.data, head.len, limits->head_bytes, &used,
                        &fault);
    if (err != ERR_OK || used != head.len)
        return err == ERR_LIMIT ? err : ERR_MALFORMED;
    err = buf_append(&x->raw_head, head.data, head.len);
    if (err == ERR_OK)
        err = buf_append(&x->body, body.data, body.len);
    if (err != ERR_OK)
        return err;
    x->front->counters.body_bytes_held += buf_len(&x->body);
    err = http_head_parse(
        bytes_of(buf_bytes(&x->raw_head), buf_len(&x->raw_head)),
        limits->headers, &x->head, &fault);
    if (err != ERR_OK || x->head.chunked || x->head.content_length != body.len)
        return ERR_MALFORMED;
    exchange_show_head(x);
    exchange_show_body(x);
    return ERR_OK;
}

int http_request_make(struct http_front *f, struct bytes head,
                      struct bytes body, http_answer_cb *answer, void *user,
                      struct http_request **request_out)
{
    CHECK_OBJ(f, HTTP_FRONT_MAGIC);
    *request_out = NULL;
    /* Connections may hold a little more than the limit (conn.c). */
    size_t total = f->options.limits.bodies_total_bytes;
    size_t held = f->counters.body_bytes_held;
    if (held > total || body.len > total - held)
        return ERR_FULL;
    struct http_exchange *x = exchange_new(f, NULL);
    int err = fill(x, head, body);
    if (err != ERR_OK) {
        x->state = EXCHANGE_DONE;
        exchange_release(x);
        return err;
    }
    x->answer = answer;
    x->answer_user = user;
    x->state = EXCHANGE_RUNNING;
    f->counters.requests++;
    f->counters.requests_running++;
    *request_out = &x->pub;
    return ERR_OK;
}

void exchange_answer(struct http_exchange *x, int status, struct bytes body)
{
    struct http_front *f = x->front;
    CHECK(x->state == EXCHANGE_RUNNING && x->answer != NULL);
    CHECK(f->counters.requests_running > 0);
    f->counters.requests_running--;
    f->counters.responses++;
    x->answer(x->answer_user, x->starved ? 0 : status,
              bytes_of(buf_bytes(&x->reply), buf_len(&x->reply)), body);
    x->state = EXCHANGE_DONE;
    exchange_release(x);
}

/* -- refusals -------------------------------------------------------------- */

static const struct {
    int status;
    const char *code;
} rejects[HTTP_REJECT_COUNT] = {
#define REJECT_ROW(name, status, code) [HTTP_REJECT_##name] = {status, code},
    HTTP_REJECT_LIST(REJECT_ROW)
#undef REJECT_ROW
};

int http_reject_status(enum http_reject why)
{
    CHECK(why < HTTP_REJECT_COUNT);
    return rejects[why].status;
}

const char *http_reject_code(enum http_reject why)
{
    CHECK(why < HTTP_REJECT_COUNT);
    return rejects[why].code;
}

/* Messages are sentences of this module: nothing in them needs escaping. */
static int default_error(struct http_exchange *x,
                         const struct http_fault *fault)
{
    http_reply_header_str(&x->pub, "Content-Type", "application/json");
    return buf_printf(&x->reply_body, "{\"code\":\"%s\",\"message\":\"%s\"}",
                      http_reject_code(fault->why), fault->message);
}

void exchange_reject(struct http_exchange *x, const struct http_fault *fault)
{
    const struct http_front_options *o = &x->front->options;
    CHECK(x->state == EXCHANGE_READING);
    x->front->counters.rejects[fault->why]++;
    buf_clear(&x->reply);
    if (o->handler->format_error != NULL)
        o->handler->format_error(&x->pub, fault->why, fault->message,
                                 &x->reply_body, o->user);
    else
        default_error(x, fault);
    x->send_continue = false;
    x->close = true;
    x->status = http_reject_status(fault->why);
    x->reply_body_len = buf_len(&x->reply_body);
    if (x->pub.method == HTTP_METHOD_HEAD)
        buf_clear(&x->reply_body);
    x->state = EXCHANGE_DONE;
}

/* -- sending --------------------------------------------------------------- */

static const char *status_text(int status)
{
    switch (status) {
#define STATUS_ROW(number, text)                                               \
    case number:                                                               \
        return text;
        STATUS_ROW(200, "OK")
        STATUS_ROW(201, "Created")
        STATUS_ROW(202, "Accepted")
        STATUS_ROW(204, "No Content")
        STATUS_ROW(207, "Multi-Status")
        STATUS_ROW(304, "Not Modified")
        STATUS_ROW(400, "Bad Request")
        STATUS_ROW(401, "Unauthorized")
        STATUS_ROW(403, "Forbidden")
        STATUS_ROW(404, "Not Found")
        STATUS_ROW(405, "Method Not Allowed")
        STATUS_ROW(408, "Request Timeout")
        STATUS_ROW(409, "Conflict")
        STATUS_ROW(410, "Gone")
        STATUS_ROW(412, "Precondition Failed")
        STATUS_ROW(413, "Content Too Large")
        STATUS_ROW(414, "URI Too Long")
        STATUS_ROW(417, "Expectation Failed")
        STATUS_ROW(424, "Failed Dependency")
        STATUS_ROW(429, "Too Many Requests")
        STATUS_ROW(431, "Request Header Fields Too Large")
        STATUS_ROW(449, "Retry With")
        STATUS_ROW(500, "Internal Server Error")
        STATUS_ROW(501, "Not Implemented")
        STATUS_ROW(503, "Service Unavailable")
        STATUS_ROW(505, "HTTP Version Not Supported")
        STATUS_ROW(507, "Insufficient Storage")
#undef STATUS_ROW
    default:
        return "Other";
    }
}

/* Queues to the channel and keeps the books of it. */
static int send_bytes(struct http_exchange *x, const void *data, size_t len)
{
    int err = chan_write(x->conn->chan, data, len);
    if (err != ERR_OK)
        return err;
    x->conn->queued_total += len;
    x->front->counters.bytes_out += len;
    return ERR_OK;
}

/* RFC 9110 section 8.6: no Content-Length with 204; with 304 it may be left
 * out. */
static bool status_has_body(int status)
{
    return status != 204 && status != 304;
}

static int send_head(struct http_exchange *x)
{
    char head[HTTP_STATUS_LINE_MAX + HTTP_RESPONSE_HEADERS_MAX + 2];
    int n =
        snprintf(head, HTTP_STATUS_LINE_MAX, "HTTP/1.1 %d %s\r\nDate: %s\r\n",
                 x->status, status_text(x->status), front_date(x->front));
    if (status_has_body(x->status))
        n += snprintf(head + n, HTTP_STATUS_LINE_MAX - (size_t)n,
                      "Content-Length: %zu\r\n", x->reply_body_len);
    if (x->close)
        n += snprintf(head + n, HTTP_STATUS_LINE_MAX - (size_t)n,
                      "Connection: close\r\n");
    CHECK(n < HTTP_STATUS_LINE_MAX);
    size_t len = (size_t)n;
    size_t extra = buf_len(&x->reply);
    if (extra > 0)
        memcpy(head + len, buf_bytes(&x->reply), extra);
    len += extra;
    memcpy(head + len, "\r\n", 2);
    int err = send_bytes(x, head, len + 2);
    if (err == ERR_OK)
        x->reply_head_sent = true;
    return err;
}

/* Sends as much of `body` as fits; `*sent_out` bytes of it. */
static int send_slices(struct http_exchange *x, struct bytes body,
                       size_t *sent_out)
{
    size_t sent = 0;
    int err = ERR_OK;
    while (sent < body.len && err == ERR_OK) {
        size_t n = body.len - sent;
        n = n < HTTP_SLICE ? n : HTTP_SLICE;
        err = send_bytes(x, body.data + sent, n);
        if (err == ERR_OK)
            sent += n;
    }
    *sent_out = sent;
    return err;
}

int exchange_send(struct http_exchange *x, struct bytes body)
{
    CHECK(x->state == EXCHANGE_DONE && x->conn != NULL);
    CHECK_IMPLIES(body.len > 0, buf_len(&x->reply_body) == 0);
    if (x->starved)
        return ERR_NO_MEMORY;
    int err = x->reply_head_sent ? ERR_OK : send_head(x);
    size_t sent = 0;
    bool kept = body.len == 0;
    if (kept)
        body = bytes_of(buf_bytes(&x->reply_body), buf_len(&x->reply_body));
    if (err == ERR_OK && body.len > 0)
        err = send_slices(x, body, &sent);
    if (kept)
        buf_consume(&x->reply_body, sent);
    else if (err == ERR_FULL && buf_append(&x->reply_body, body.data + sent,
                                           body.len - sent) != ERR_OK)
        err = ERR_NO_MEMORY;
    return err;
}
