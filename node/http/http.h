/* The HTTPS front: HTTP/1.1 requests in, responses out (RFC 9110, RFC 9112).
 *
 * A `front` belongs to one worker: it owns the worker's client connections,
 * their buffers and their timeouts, and calls one handler for every complete
 * request. Listeners are opened and closed on it at any time. Everything runs
 * on the worker's loop; nothing here is shared between threads.
 *
 *     client -> listener -> chan (TLS) -> conn -> on_request(request)
 *     client <------------- chan (TLS) <- conn <- http_respond(request)
 *
 * Life of a request. The head is collected up to its blank line, checked
 * byte by byte, parsed, then the body is collected; only then is the handler
 * called, once. It answers inside the call or at any time later, by exactly
 * one of the http_respond* functions; from there on the request is gone. Until
 * then the request and everything it points to stay where they are, also when
 * the client disconnects meanwhile (the response is then dropped).
 *
 * Pipelining: up to `limits.pipelined` requests of one connection are with the
 * handler at the same time. Responses leave in the order of the requests,
 * whatever the order of the answers.
 *
 * Bad requests never reach on_request. The front answers them itself, with the
 * body of `format_error` or, without one, {"code":"...","message":"..."}, then
 * closes that connection. See enum http_reject.
 *
 * What the front writes into responses on its own: the status line, Date,
 * Content-Length and, where due, Connection: close. A handler must not add
 * these.
 */
#ifndef BASTIDE_NODE_HTTP_HTTP_H
#define BASTIDE_NODE_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/base/clock.h"
#include "node/base/err.h"

struct chan;
struct chan_loop;
struct tls_ctx;
struct http_conn;
struct http_front;
struct http_listener;

/* -- limits ---------------------------------------------------------------- */

/* Request line and headers together, including the final blank line: 431, or
 * 414 when it is the target that does not fit. */
#define HTTP_HEAD_MAX (64 * 1024)
/* Header fields of one request: 431. */
#define HTTP_HEADERS_MAX 100
/* One body after chunked decoding: 413. Leaves room above the 2 MiB document
 * limit for batches; the limit on documents is the API's. */
#define HTTP_BODY_MAX (4 * 1024 * 1024)
/* All bodies a front holds at once: 503. */
#define HTTP_BODIES_TOTAL_MAX (128 * 1024 * 1024)
/* Connections of a front, all listeners together; beyond it a new connection
 * is accepted and closed at once. */
#define HTTP_CONNECTIONS_MAX 4096
/* Requests of one connection that wait for their answer. Beyond it the
 * connection is not read until one is answered. */
#define HTTP_PIPELINED_MAX 16
/* All response headers a handler adds to one response, in bytes on the wire.
 * The JavaScript SDK gives up at 16 KiB for all headers together. */
#define HTTP_RESPONSE_HEADERS_MAX (15 * 1024)

#define HTTP_HANDSHAKE_TIMEOUT_US (10 * USEC_PER_SEC)
#define HTTP_HEAD_TIMEOUT_US (15 * USEC_PER_SEC)
#define HTTP_BODY_TIMEOUT_US (20 * USEC_PER_SEC)
#define HTTP_IDLE_TIMEOUT_US (120 * USEC_PER_SEC)
#define HTTP_WRITE_TIMEOUT_US (30 * USEC_PER_SEC)

/* A copy is kept by the front; zero is not "unlimited", it is refused. */
struct http_limits {
    size_t head_bytes;
    size_t headers; /* at most HTTP_HEADERS_MAX */
    size_t body_bytes;
    size_t bodies_total_bytes;
    size_t connections;
    size_t pipelined;
    usec_t handshake_us; /* accept to end of the TLS handshake: closed */
    usec_t head_us;      /* first byte of a head to its last: 408 */
    usec_t body_us;      /* between two pieces of a body of at least
                            HTTP_BODY_PROGRESS bytes or its end: 408 */
    usec_t idle_us;      /* between two requests: closed without a word */
    usec_t write_us;     /* without the client taking any output: closed */
};

/* A body must advance by this much within `body_us`, so that one byte now and
 * then does not hold a connection for ever. */
#define HTTP_BODY_PROGRESS 4096

/* All the constants above. */
void http_limits_default(struct http_limits *limits_out);

/* -- requests -------------------------------------------------------------- */

enum http_method {
    HTTP_METHOD_GET,
    HTTP_METHOD_HEAD,
    HTTP_METHOD_POST,
    HTTP_METHOD_PUT,
    HTTP_METHOD_PATCH,
    HTTP_METHOD_DELETE,
    HTTP_METHOD_OPTIONS,
    HTTP_METHOD_MERGE, /* Table REST */
    HTTP_METHOD_OTHER, /* known to the parser, of no use to us: see method_raw
                        */
};

struct http_header {
    struct bytes name;  /* as sent */
    struct bytes value; /* without blanks around it; may be empty */
};

/* What the handler sees. All bytes are borrowed from the request and live as
 * long as it does. Fields are read-only but for `user`. */
struct http_request {
    enum http_method method;
    struct bytes method_raw;
    /* The request target as sent, starting with '/': percent-encoded, not split
     * at '?' (Cosmos item routes have no query string). An absolute-form target
     * arrives without scheme and authority. "*" for OPTIONS. */
    struct bytes target;
    const struct http_header *headers; /* in the order sent */
    size_t header_count;
    struct bytes body; /* after chunked decoding; len 0 without a body */
    usec_t arrived_us; /* monotonic: when the first byte of the head was read */
    /* Of the listener; NULL for a connection of http_front_adopt. */
    void *listener_tag;
    const char *peer_addr; /* "127.0.0.1:54321", for logs */
    /* The URI of the verified client certificate, NULL without one. Valid
     * inside on_request only. */
    const char *peer_uri;
    void *user; /* the handler's own; NULL at first */
};

/* The value of the first header of that name, compared without case. `data` is
 * NULL when there is none, and not NULL when there is an empty one. The front
 * has refused requests that repeat Host, Content-Length, Transfer-Encoding or
 * Authorization, so "first" is "only" for these. */
struct bytes http_header_find(const struct http_request *r, const char *name,
                              size_t name_len);
static inline struct bytes http_header(const struct http_request *r,
                                       const char *name)
{
    return http_header_find(r, name, strlen(name));
}

/* Whether the client has gone, so that work for it is pointless. The request
 * must still be answered. */
bool http_request_gone(const struct http_request *r);

/* -- responses ------------------------------------------------------------- */

/* The longest body of one response; a longer one is a broken contract. */
#define HTTP_RESPONSE_BODY_MAX (64 * 1024 * 1024)

/* Appends a header to the response of `r`; before http_respond, in the order
 * they shall have. ERR_LIMIT when all together would pass
 * HTTP_RESPONSE_HEADERS_MAX and ERR_INVALID when a byte of `value` may not
 * stand in a header (below 0x20 but for TAB, 0x7f); nothing is added then.
 * Without memory for it, too; then http_respond ends the connection instead: an
 * answer that lacks a header may say something else.
 * Names are the program's own, so a bad one is a broken contract. */
int http_reply_header(struct http_request *r, const char *name,
                      struct bytes value);
int http_reply_header_str(struct http_request *r, const char *name,
                          const char *value);
int http_reply_header_u64(struct http_request *r, const char *name,
                          uint64_t value);
int http_reply_header_f(struct http_request *r, const char *name,
                        const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Forgets the headers added so far (an answer that turned into an error). */
void http_reply_reset(struct http_request *r);
/* Bytes added so far, of HTTP_RESPONSE_HEADERS_MAX. */
size_t http_reply_header_bytes(const struct http_request *r);
/* Closes the connection after this response. */
void http_reply_close(struct http_request *r);

/* For faults on request: what a client shall see instead of the whole answer,
 * once there is one (and those before it on its connection have been sent).
 * Both are called before http_respond, which ends the request's life as always:
 * what waits or is cut is the front's alone. */
enum http_cut {
    HTTP_CUT_NONE,
    /* The head, with the length of the whole body, then half of the body, then
     * the connection ends in order. An answer without a body is whole. */
    HTTP_CUT_HALF,
    /* Nothing: the connection is reset, and with it other requests on it. */
    HTTP_CUT_RESET
};
void http_reply_cut(struct http_request *r, enum http_cut cut);
/* The answer waits that long (or, if there are HTTP_DELAYED_MAX answers of this
 * front that wait, not at all). It is dropped when the client goes meanwhile,
 * and sent at once when the front begins to drain. */
#define HTTP_DELAYED_MAX 1024
void http_reply_delay(struct http_request *r, usec_t delay_us);

/* Answers, and ends the life of `r`. `status` is 200..599. The body is copied;
 * it may point into the request. For HEAD the body's length is announced and
 * no byte of it sent; with 204 and 304 the body must be empty. */
void http_respond(struct http_request *r, int status, struct bytes body);
/* The same, taking the storage of `body` instead of copying it: `*body` is
 * empty afterwards, with the same maximum. For pages and documents. */
void http_respond_take(struct http_request *r, int status, struct buf *body);

/* -- requests without a connection ----------------------------------------- */

/* A request that came another way: passed on by another node, say. It is like
 * any other to whom it is given, but that its answer goes to `answer`, called
 * from inside http_respond: `headers` are the lines that were added, each with
 * its CRLF; status 0: there was no memory for all of them. What is asked of the
 * connection (cut, delay, close) does not apply. */
typedef void http_answer_cb(void *user, int status, struct bytes headers,
                            struct bytes body);
/* Makes one, which is running: it must be answered. `head` is a request's head
 * with its blank line, `body` as long as it says; both are copied. NULL in
 * `*request_out` on an error. ERR_MALFORMED: no such head, or one that this
 * front would refuse; ERR_LIMIT: longer than its limits; ERR_FULL:
 * bodies_total_bytes; ERR_NO_MEMORY. */
int http_request_make(struct http_front *f, struct bytes head,
                      struct bytes body, http_answer_cb *answer, void *user,
                      struct http_request **request_out);

/* -- refusals -------------------------------------------------------------- */

/* Why the front answered by itself: X(name, status, code). */
#define HTTP_REJECT_LIST(X)                                                    \
    X(SYNTAX, 400, "BadRequest")      /* anything malformed */                 \
    X(SMUGGLING, 400, "BadRequest")   /* ambiguous framing */                  \
    X(HOST, 400, "BadRequest")        /* Host missing or repeated */           \
    X(TIMEOUT, 408, "RequestTimeout") /* head or body too slow */              \
    X(BODY_SIZE, 413, "RequestEntityTooLarge")                                 \
    X(TARGET_SIZE, 414, "RequestUriTooLong")                                   \
    X(EXPECTATION, 417, "ExpectationFailed") /* not 100-continue */            \
    X(HEAD_SIZE, 431, "RequestHeaderFieldsTooLarge")                           \
    X(METHOD, 501, "NotImplemented")     /* unknown method */                  \
    X(CODING, 501, "NotImplemented")     /* transfer coding but chunked */     \
    X(MEMORY, 503, "ServiceUnavailable") /* bodies_total_bytes reached */      \
    X(VERSION, 505, "HttpVersionNotSupported") /* not HTTP/1.1 */

enum http_reject {
#define HTTP_REJECT_ENUM(name, status, code) HTTP_REJECT_##name,
    HTTP_REJECT_LIST(HTTP_REJECT_ENUM)
#undef HTTP_REJECT_ENUM
        HTTP_REJECT_COUNT
};

int http_reject_status(enum http_reject why);
const char *http_reject_code(enum http_reject why);

/* -- the front ------------------------------------------------------------- */

/* Outlives the front. */
struct http_handler {
    /* A complete request. Never called from inside http_respond. */
    void (*on_request)(struct http_request *r, void *user);
    /* Optional: the API's shape of an error that the front made. Adds headers
     * with http_reply_header (activity id, Content-Type) and appends the body,
     * which must be a JSON object with a `message`, to `body`. `r` has a peer
     * and an arrival time; method, target and headers only as far as they were
     * understood. `message` is a sentence without a trailing newline, made of
     * the front's own words. Must not call http_respond. */
    void (*format_error)(struct http_request *r, enum http_reject why,
                         const char *message, struct buf *body, void *user);
};

/* Counters since the front was made; gauges say so. */
struct http_counters {
    uint64_t connections_accepted;
    uint64_t connections_refused; /* by the limit */
    uint64_t connections_open;    /* gauge */
    uint64_t handshakes_failed;
    uint64_t requests;          /* handed to on_request */
    uint64_t requests_running;  /* gauge: not yet answered */
    uint64_t responses;         /* queued to a client; not those dropped */
    uint64_t responses_dropped; /* the client had gone, or was cut off */
    uint64_t responses_delayed; /* gauge: wait as http_reply_delay asked */
    uint64_t bytes_in;          /* plain text, after TLS */
    uint64_t bytes_out;
    uint64_t body_bytes_held; /* gauge, see bodies_total_bytes */
    uint64_t timeouts_idle;
    uint64_t timeouts_write;
    uint64_t rejects[HTTP_REJECT_COUNT];
};

struct http_front_options {
    /* The worker's channels (replication/link/chan_tls.h), for listeners and
     * the timeout tick, borrowed. NULL makes a front without either, for
     * tests: connections come by http_front_adopt, time passes by
     * http_front_tick. */
    struct chan_loop *loop;
    /* Server context of the listeners (replication/link/tls_ctx.h); each takes
     * its own reference. There is no plain-text listener. */
    struct tls_ctx *tls;
    struct http_limits limits;
    const struct http_handler *handler;
    void *user; /* for the handler */
    /* Monotonic time; NULL for clock_mono_us. */
    usec_t (*now)(void *now_user);
    void *now_user;
};

/* Makes a front. ERR_INVALID with a message when a limit is out of range. */
int http_front_new(const struct http_front_options *options,
                   struct http_front **front_out, struct err_msg *msg);

const struct http_counters *http_front_counters(const struct http_front *f);

/* Takes over an accepted channel (in state opening or open) as a connection,
 * and frees it later. `tag` becomes listener_tag. */
void http_front_adopt(struct http_front *f, struct chan *c, void *tag);

/* Closes what has timed out at `now_us`. A front with a loop does this by
 * itself, every HTTP_TICK_US. */
#define HTTP_TICK_US (250 * USEC_PER_MS)
void http_front_tick(struct http_front *f, usec_t now_us);

/* Begins the graceful end: all listeners stop accepting, every response from
 * now on says Connection: close, running requests are waited for. A connection
 * that is between requests is left open for half of `limit_us`, so that a
 * request already on its way is still answered, then closed. `on_drained` is
 * called once, from the loop (or the tick): when the last connection is closed,
 * at the latest `limit_us` from now, when those left are cut. Requests that a
 * handler still holds then stay valid and must still be answered. */
void http_front_drain(struct http_front *f, usec_t limit_us,
                      void (*on_drained)(struct http_front *f, void *user),
                      void *user);

/* Resets all connections at once, as the end of a machine would; listeners
 * stay. Requests that a handler holds stay valid and must be answered. Not from
 * inside a callback of the front. */
void http_front_hang_up(struct http_front *f);

/* Closes all listeners and connections at once and frees the front. Every
 * request must have been answered before (requests_running is 0): the handler
 * owns those and must cancel them first. NULL is allowed. */
void http_front_free(struct http_front *f);

/* -- listeners ------------------------------------------------------------- */

/* Opens a TCP port with SO_REUSEPORT, so that each worker, and in a demo each
 * node, can have its own on the same port. `address` is numeric IPv4 or IPv6;
 * `port` 0 lets the system choose. `tag` is given to requests.
 * ERR_INVALID (address), ERR_BUSY (port in use by one that does not share it),
 * ERR_FORBIDDEN (privileged port), ERR_IO; each with a message that names
 * address, port and cause. */
int http_listener_open(struct http_front *f, const char *address, uint16_t port,
                       void *tag, struct http_listener **listener_out,
                       struct err_msg *msg);

/* The port it got. */
uint16_t http_listener_port(const struct http_listener *l);

/* Stops accepting and frees `l`. Its connections, those included that nobody
 * has accepted yet, live on for a last answer with Connection: close; those
 * between requests are closed after HTTP_LISTENER_GRACE_US. NULL is allowed. */
#define HTTP_LISTENER_GRACE_US (2 * USEC_PER_SEC)
void http_listener_close(struct http_listener *l);

#endif
