#include "node/http/http_private.h"

#include "node/base/log.h"
#include "node/base/mem.h"
#include "replication/link/chan.h"

static const struct chan_handler conn_chan_handler;

/* -- small moves ----------------------------------------------------------- */

static struct http_exchange *first_exchange(const struct http_conn *c)
{
    if (list_empty(&c->exchanges))
        return NULL;
    return LIST_ENTRY(c->exchanges.next, struct http_exchange, node);
}

static bool may_begin(const struct http_conn *c)
{
    return c->exchange_count < c->front->options.limits.pipelined;
}

static void take_input(struct http_conn *c, size_t len)
{
    c->front->counters.bytes_in += len;
    buf_consume(chan_input(c->chan), len);
}

/* Reads from the socket only what there is a use for. */
static void update_reading(struct http_conn *c)
{
    bool stop = (c->phase == PHASE_IDLE && !may_begin(c)) ||
                (c->phase == PHASE_LAST && c->linger_left == 0);
    if (stop == c->reading_stopped)
        return;
    c->reading_stopped = stop;
    if (stop)
        chan_read_stop(c->chan);
    else
        chan_read_start(c->chan);
}

static void wait_for_next(struct http_conn *c)
{
    CHECK(c->phase == PHASE_IDLE);
    if (c->exchange_count > 0)
        front_wait(c->front, c, HTTP_WAIT_NONE);
    else
        front_wait(c->front, c, c->retire ? HTTP_WAIT_RETIRE : HTTP_WAIT_IDLE);
}

static void unlink_exchange(struct http_conn *c, struct http_exchange *x)
{
    CHECK(x->conn == c && c->exchange_count > 0);
    list_remove(&x->node);
    c->exchange_count--;
    if (c->reading == x)
        c->reading = NULL;
}

/* The client will not see these answers. What a handler holds stays alive. */
static void drop_exchanges(struct http_conn *c)
{
    struct http_exchange *x;
    while ((x = first_exchange(c)) != NULL) {
        unlink_exchange(c, x);
        x->conn = NULL;
        if (x->state == EXCHANGE_RUNNING)
            continue;
        if (x->state == EXCHANGE_DELAYED)
            front_undelay(c->front, x);
        if (x->state == EXCHANGE_DONE)
            c->front->counters.responses_dropped++;
        exchange_release(x);
    }
}

/* -- the end --------------------------------------------------------------- */

static void close_channel(struct http_conn *c)
{
    c->phase = PHASE_CLOSING;
    front_wait(c->front, c, HTTP_WAIT_NONE);
    update_reading(c);
    take_input(c, buf_len(chan_input(c->chan)));
    chan_close_when_sent(c->chan);
}

/* Throws away what arrives when no request is read any more. */
static void discard_input(struct http_conn *c)
{
    size_t len = buf_len(chan_input(c->chan));
    if (c->phase != PHASE_CLOSING) {
        len = len < c->linger_left ? len : (size_t)c->linger_left;
        c->linger_left -= len;
    }
    take_input(c, len);
    if (c->phase == PHASE_LINGER && c->linger_left == 0)
        close_channel(c);
}

/* The last response is queued. */
static void finish(struct http_conn *c)
{
    drop_exchanges(c);
    if (c->linger_wait == HTTP_WAIT_NONE || c->linger_left == 0) {
        close_channel(c);
        return;
    }
    c->phase = PHASE_LINGER;
    front_wait(c->front, c, c->linger_wait);
    update_reading(c);
    discard_input(c);
}

/* No further request will be read. */
static void enter_last(struct http_conn *c, enum http_wait linger_wait,
                       uint64_t linger_bytes)
{
    CHECK(c->reading == NULL);
    c->phase = PHASE_LAST;
    c->linger_wait = linger_wait;
    c->linger_left = linger_bytes;
    front_wait(c->front, c, HTTP_WAIT_NONE);
}

static void doom(struct http_conn *c)
{
    c->doomed = true;
    front_schedule(c->front, c);
}

/* -- responses ------------------------------------------------------------- */

/* What a channel's answer to a write means for the connection. */
static bool after_write(struct http_conn *c, int err)
{
    switch (err) {
    case ERR_OK:
        front_watch_output(c->front, c);
        return true;
    case ERR_FULL:
        front_watch_output(c->front, c);
        c->blocked = true;
        return false;
    case ERR_CLOSED: /* on_close is on its way */
        c->blocked = true;
        return false;
    default:
        doom(c);
        c->blocked = true;
        return false;
    }
}

static bool send_continue(struct http_conn *c, struct http_exchange *x)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    int err = chan_write(c->chan, text, sizeof text - 1);
    if (err == ERR_OK) {
        x->send_continue = false;
        c->queued_total += sizeof text - 1;
        c->front->counters.bytes_out += sizeof text - 1;
    }
    return after_write(c, err);
}

/* Nothing of this response is sent, and nothing else any more. The channel is
 * freed from the loop: a handler may be on the stack. */
static void reset_channel(struct http_conn *c)
{
    chan_reset(c->chan);
    doom(c);
    c->blocked = true;
}

/* Sends the responses whose turn it is. True when the last one was among them
 * and the connection is finished. */
static bool send_in_turn(struct http_conn *c)
{
    struct http_exchange *x;
    while (!c->blocked && (x = first_exchange(c)) != NULL) {
        if (x->send_continue && !send_continue(c, x))
            return false;
        if (x->state != EXCHANGE_DONE)
            return false;
        if (x->cut == HTTP_CUT_RESET) {
            reset_channel(c);
            return false;
        }
        if (!after_write(c, exchange_send(x, bytes_of(NULL, 0))))
            return false;
        bool close = x->close || x->cut == HTTP_CUT_HALF;
        unlink_exchange(c, x);
        c->front->counters.responses++;
        exchange_release(x);
        if (close) {
            finish(c);
            return true;
        }
    }
    return false;
}

/* Sends what is answered and in its turn; goes on reading when that made room.
 */
static void conn_flush(struct http_conn *c)
{
    if (c->phase == PHASE_LINGER || c->phase == PHASE_CLOSING)
        return;
    if (send_in_turn(c))
        return;
    if (c->phase == PHASE_IDLE)
        wait_for_next(c);
    if (c->in_progress)
        return;
    update_reading(c);
    if (c->phase == PHASE_IDLE && may_begin(c) &&
        buf_len(chan_input(c->chan)) > 0)
        front_schedule(c->front, c);
}

/* A connection that shall end says so in its last response. */
static void close_if_retired(struct http_conn *c, struct http_exchange *x)
{
    if (!c->retire || c->phase != PHASE_IDLE || c->exchanges.prev != &x->node)
        return;
    x->close = true;
    enter_last(c, HTTP_WAIT_NONE, HTTP_LINGER_SHORT_BYTES);
}

/* The handler has let go of it. False when nobody waits for the answer. */
static bool take_back(struct http_exchange *x, int status, size_t body_len)
{
    CHECK(x->state == EXCHANGE_RUNNING);
    CHECK(status >= 200 && status <= 599);
    CHECK_IMPLIES(status == 204 || status == 304, body_len == 0);
    CHECK(body_len <= HTTP_RESPONSE_BODY_MAX);
    struct http_front *f = x->front;
    CHECK(f->counters.requests_running > 0);
    f->counters.requests_running--;
    x->status = status;
    x->reply_body_len = body_len;
    x->state = EXCHANGE_DONE;
    if (x->conn != NULL)
        return true;
    f->counters.responses_dropped++;
    exchange_release(x);
    return false;
}

/* How many bytes of the body will be sent. */
static size_t sent_part(const struct http_exchange *x)
{
    if (x->pub.method == HTTP_METHOD_HEAD || x->cut == HTTP_CUT_RESET)
        return 0;
    return x->cut == HTTP_CUT_HALF ? x->reply_body_len / 2 : x->reply_body_len;
}

/* Its body is in reply_body: sends it in its turn, or later. */
static void send_kept(struct http_exchange *x)
{
    struct http_conn *c = x->conn;
    if (x->delay_us > 0 && front_delay(x->front, x))
        return;
    close_if_retired(c, x);
    conn_flush(c);
}

void conn_release(struct http_conn *c, struct http_exchange *x)
{
    CHECK(x->conn == c && x->state == EXCHANGE_DONE);
    close_if_retired(c, x);
    conn_flush(c);
}

/* Sends without a copy; what does not fit is copied. */
static void send_now(struct http_exchange *x, struct bytes body)
{
    struct http_conn *c = x->conn;
    close_if_retired(c, x);
    if (after_write(c, exchange_send(x, body)))
        conn_flush(c);
}

void http_respond(struct http_request *r, int status, struct bytes body)
{
    struct http_exchange *x = exchange_of(r);
    struct http_conn *c = x->conn;
    if (x->answer != NULL) {
        exchange_answer(x, status, body);
        return;
    }
    if (!take_back(x, status, body.len))
        return;
    body.len = sent_part(x);
    bool plain = x->delay_us == 0 && x->cut != HTTP_CUT_RESET;
    if (plain && first_exchange(c) == x && !c->blocked)
        send_now(x, body);
    else if (buf_append(&x->reply_body, body.data, body.len) == ERR_OK)
        send_kept(x);
    else
        after_write(c, ERR_NO_MEMORY);
}

void http_respond_take(struct http_request *r, int status, struct buf *body)
{
    struct http_exchange *x = exchange_of(r);
    if (x->answer != NULL) {
        exchange_answer(x, status, bytes_of(buf_bytes(body), buf_len(body)));
        buf_free(body);
        return;
    }
    struct buf taken = *body;
    *body = (struct buf){.max = taken.max};
    if (!take_back(x, status, buf_len(&taken))) {
        buf_free(&taken);
        return;
    }
    size_t part = sent_part(x);
    if (part == 0) {
        buf_free(&taken);
    } else {
        buf_truncate(&taken, part);
        taken.max = HTTP_RESPONSE_BODY_MAX;
        x->reply_body = taken;
    }
    send_kept(x);
}

/* -- requests -------------------------------------------------------------- */

/* What is left of a body that will not be used. */
static void enter_last_after_fault(struct http_conn *c, enum http_reject why)
{
    bool honest = why == HTTP_REJECT_BODY_SIZE || why == HTTP_REJECT_MEMORY ||
                  why == HTTP_REJECT_EXPECTATION;
    uint64_t left = HTTP_LINGER_BYTES;
    if (!c->reading->head.chunked && c->body_left < left)
        left = c->body_left;
    c->reading = NULL;
    if (honest)
        enter_last(c, HTTP_WAIT_LINGER, left);
    else
        enter_last(c, HTTP_WAIT_LINGER_SHORT, HTTP_LINGER_SHORT_BYTES);
}

static void reject(struct http_conn *c, const struct http_fault *fault)
{
    struct http_exchange *x = c->reading;
    CHECK(x != NULL);
    exchange_reject(x, fault);
    enter_last_after_fault(c, fault->why);
    conn_flush(c);
}

static void begin(struct http_conn *c)
{
    struct http_exchange *x = exchange_new(c->front, c);
    list_push_back(&c->exchanges, &x->node);
    c->exchange_count++;
    c->reading = x;
    c->scan = (struct http_scan){0};
    c->body_left = 0;
    c->phase = PHASE_HEAD;
    c->blank_seen = false;
    front_wait(c->front, c, HTTP_WAIT_HEAD);
}

/* RFC 9112 section 2.2: one empty line before a request is tolerated. False
 * while it cannot be told. */
static bool skip_blank_line(struct http_conn *c)
{
    const struct buf *in = chan_input(c->chan);
    const uint8_t *at = buf_bytes(in);
    if (c->blank_seen || at[0] != '\r')
        return true;
    if (buf_len(in) < 2)
        return false;
    if (at[1] == '\n') {
        take_input(c, 2);
        c->blank_seen = true;
    }
    return buf_len(in) > 0;
}

static void dispatch(struct http_conn *c)
{
    struct http_exchange *x = TAKE(c->reading);
    struct http_front *f = c->front;
    exchange_show_body(x);
    x->state = EXCHANGE_RUNNING;
    x->send_continue = false;
    x->close = x->close || x->head.close || c->retire;
    c->phase = PHASE_IDLE;
    if (x->close)
        enter_last(c, HTTP_WAIT_NONE, HTTP_LINGER_SHORT_BYTES);
    else
        wait_for_next(c);
    f->counters.requests++;
    f->counters.requests_running++;
    f->options.handler->on_request(&x->pub, f->options.user);
}

static const struct http_fault fault_body_size = {
    HTTP_REJECT_BODY_SIZE, "The request body is too large."};
static const struct http_fault fault_memory = {
    HTTP_REJECT_MEMORY, "There is no memory for the body at the moment."};

static void begin_body(struct http_conn *c, struct http_exchange *x)
{
    const struct http_limits *limits = &c->front->options.limits;
    uint64_t held = c->front->counters.body_bytes_held;
    c->body_progress = 0;
    c->chunked = (struct chunked){0};
    if (c->body_left > limits->body_bytes) {
        reject(c, &fault_body_size);
        return;
    }
    if (held + c->body_left > limits->bodies_total_bytes) {
        reject(c, &fault_memory);
        return;
    }
    c->phase = PHASE_BODY;
    front_wait(c->front, c, HTTP_WAIT_BODY);
    x->send_continue = x->head.expect_continue;
    if (x->send_continue)
        conn_flush(c);
}

static void head_complete(struct http_conn *c)
{
    struct http_exchange *x = c->reading;
    struct http_fault fault;
    struct bytes raw = bytes_of(buf_bytes(&x->raw_head), buf_len(&x->raw_head));
    int err = http_head_parse(raw, c->front->options.limits.headers, &x->head,
                              &fault);
    exchange_show_head(x);
    c->body_left = x->head.content_length;
    if (err != ERR_OK)
        reject(c, &fault);
    else if (x->head.chunked || x->head.content_length > 0)
        begin_body(c, x);
    else
        dispatch(c);
}

static void read_head(struct http_conn *c)
{
    const struct buf *in = chan_input(c->chan);
    struct http_exchange *x = c->reading;
    struct http_fault fault;
    size_t used;
    int err = http_scan(&c->scan, buf_bytes(in), buf_len(in),
                        c->front->options.limits.head_bytes, &used, &fault);
    if (err != ERR_OK && err != ERR_AGAIN) {
        reject(c, &fault);
        return;
    }
    if (buf_append(&x->raw_head, buf_bytes(in), used) != ERR_OK) {
        reject(c, &fault_memory);
        return;
    }
    take_input(c, used);
    if (err == ERR_OK)
        head_complete(c);
}

/* Appends what there is of the body. Like chunked_decode. */
static int read_plain(struct http_conn *c, struct buf *body, size_t *used_out,
                      struct http_fault *fault_out)
{
    const struct buf *in = chan_input(c->chan);
    size_t n = buf_len(in) < c->body_left ? buf_len(in) : (size_t)c->body_left;
    if (buf_append(body, buf_bytes(in), n) != ERR_OK) {
        *fault_out = fault_memory;
        return ERR_NO_MEMORY;
    }
    c->body_left -= n;
    *used_out = n;
    return c->body_left == 0 ? ERR_OK : ERR_AGAIN;
}

static void read_body(struct http_conn *c)
{
    const struct buf *in = chan_input(c->chan);
    struct http_exchange *x = c->reading;
    struct http_front *f = c->front;
    size_t before = buf_len(&x->body), used = 0;
    struct http_fault fault;
    int err = x->head.chunked
                  ? chunked_decode(&c->chunked, buf_bytes(in), buf_len(in),
                                   &x->body, &used, &fault)
                  : read_plain(c, &x->body, &used, &fault);
    f->counters.body_bytes_held += buf_len(&x->body) - before;
    take_input(c, used);
    if (err != ERR_OK && err != ERR_AGAIN) {
        reject(c, &fault);
        return;
    }
    if (f->counters.body_bytes_held > f->options.limits.bodies_total_bytes) {
        reject(c, &fault_memory);
        return;
    }
    if (err == ERR_OK) {
        dispatch(c);
        return;
    }
    c->body_progress += used;
    if (c->body_progress >= HTTP_BODY_PROGRESS) {
        c->body_progress = 0;
        front_wait(f, c, HTTP_WAIT_BODY);
    }
}

/* One step of reading. False when there is nothing more to do for now. */
static bool read_step(struct http_conn *c)
{
    if (c->doomed || buf_len(chan_input(c->chan)) == 0)
        return false;
    switch (c->phase) {
    case PHASE_IDLE:
        if (!may_begin(c) || !skip_blank_line(c))
            return false;
        begin(c);
        return true;
    case PHASE_HEAD:
        read_head(c);
        return true;
    case PHASE_BODY:
        read_body(c);
        return true;
    case PHASE_LAST:
    case PHASE_LINGER:
    case PHASE_CLOSING:
        discard_input(c);
        return false;
    case PHASE_OPENING:
        break;
    }
    CHECK_UNREACHABLE();
}

static void progress(struct http_conn *c)
{
    CHECK(!c->in_progress);
    c->in_progress = true;
    while (read_step(c)) {
    }
    c->in_progress = false;
    update_reading(c);
}

/* -- what the front calls -------------------------------------------------- */

void conn_timeout(struct http_conn *c)
{
    static const struct http_fault head_slow = {
        HTTP_REJECT_TIMEOUT, "The request head did not arrive in time."};
    static const struct http_fault body_slow = {
        HTTP_REJECT_TIMEOUT, "The request body did not arrive in time."};
    switch (c->wait) {
    case HTTP_WAIT_IDLE:
        c->front->counters.timeouts_idle++;
        close_channel(c);
        break;
    case HTTP_WAIT_RETIRE:
    case HTTP_WAIT_LINGER:
    case HTTP_WAIT_LINGER_SHORT:
        close_channel(c);
        break;
    case HTTP_WAIT_HEAD:
        reject(c, &head_slow);
        break;
    case HTTP_WAIT_BODY:
        reject(c, &body_slow);
        break;
    case HTTP_WAIT_NONE:
    case HTTP_WAIT_COUNT:
        CHECK_UNREACHABLE();
    }
}

void conn_soon(struct http_conn *c)
{
    if (c->doomed)
        conn_free(c);
    else
        progress(c);
}

void conn_retire(struct http_conn *c)
{
    c->retire = true;
    c->listener = NULL;
    if (c->phase == PHASE_IDLE)
        wait_for_next(c);
}

/* -- what the channel calls ------------------------------------------------ */

static void on_open(struct chan *chan, void *user)
{
    struct http_conn *c = user;
    CHECK_OBJ(c, HTTP_CONN_MAGIC);
    CHECK(c->chan == chan && c->phase == PHASE_OPENING);
    c->phase = PHASE_IDLE;
    wait_for_next(c);
}

static void on_data(struct chan *chan, void *user)
{
    struct http_conn *c = user;
    CHECK_OBJ(c, HTTP_CONN_MAGIC);
    if (c->phase == PHASE_OPENING) /* adopted when it was open already */
        on_open(chan, user);
    progress(c);
}

static void on_writable(struct chan *chan, void *user)
{
    struct http_conn *c = user;
    CHECK_OBJ(c, HTTP_CONN_MAGIC);
    CHECK(c->chan == chan);
    c->blocked = false;
    conn_flush(c);
}

static void on_close(struct chan *chan, void *user, int err)
{
    struct http_conn *c = user;
    CHECK_OBJ(c, HTTP_CONN_MAGIC);
    CHECK(c->chan == chan);
    if (c->phase == PHASE_OPENING) {
        c->front->counters.handshakes_failed++;
        log_debug("client handshake failed",
                  LOG_STR("peer", chan_peer_addr(chan)),
                  LOG_STR("error", err_name(err)),
                  LOG_STR("reason", chan_reason(chan)));
    }
    conn_free(c);
}

static const struct chan_handler conn_chan_handler = {
    .on_open = on_open,
    .on_data = on_data,
    .on_writable = on_writable,
    .on_close = on_close,
};

/* -- life ------------------------------------------------------------------ */

struct http_conn *conn_new(struct http_front *f, struct chan *chan,
                           struct http_listener *l, void *tag)
{
    struct http_conn *c = mem_zalloc(sizeof *c);
    c->magic = HTTP_CONN_MAGIC;
    c->front = f;
    c->listener = l;
    c->tag = tag;
    c->chan = chan;
    c->phase = PHASE_OPENING;
    c->retire = f->draining;
    list_init(&c->exchanges);
    list_init(&c->soon);
    list_init(&c->wait_node);
    list_init(&c->write_node);
    list_push_back(&f->conns, &c->node);
    f->counters.connections_open++;
    chan_set_handler(chan, &conn_chan_handler, c);
    return c;
}

void conn_free(struct http_conn *c)
{
    CHECK_OBJ(c, HTTP_CONN_MAGIC);
    CHECK(!c->in_progress);
    drop_exchanges(c);
    CHECK(c->exchange_count == 0);
    list_remove(&c->node);
    list_remove(&c->soon);
    list_remove(&c->wait_node);
    list_remove(&c->write_node);
    c->front->counters.connections_open--;
    chan_free(c->chan);
    front_conn_gone(c->front);
    c->magic = 0;
    mem_free(c);
}
