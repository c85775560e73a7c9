/* One TLS channel: bytes between a socket, OpenSSL and the user's buffers.
 *
 * Invariants
 *  1. cl->tx is empty whenever no channel is at work: push() follows every call
 *     into OpenSSL that may write.
 *  2. The read watcher runs exactly while want_read() says so, the write
 *     watcher exactly while `unsent` is not empty (or TCP is connecting, which
 *     chan_connect.c sees to).
 *  3. A channel is on the stalled list if and only if it has ciphertext in
 *     `unread` or plaintext inside OpenSSL that did not fit its input.
 */
#include "replication/link/chan_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/base/mem.h"
#include "replication/link/chan_tls_impl.h"
#include "replication/link/tls_ctx_impl.h"

static const struct chan_ops tls_ops;

/* -- OpenSSL's side: a BIO over the two scratch buffers ---------------------
 */

static int bio_read(BIO *bio, char *out, size_t size, size_t *read_out)
{
    struct chan_tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (t->rx_left == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    size_t n = size < t->rx_left ? size : t->rx_left;
    memcpy(out, t->rx, n);
    t->rx += n;
    t->rx_left -= n;
    *read_out = n;
    return 1;
}

static int bio_write(BIO *bio, const char *data, size_t len, size_t *written)
{
    struct chan_tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (buf_append(&t->cl->tx, data, len) != ERR_OK)
        return 0;
    *written = len;
    return 1;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    (void)bio;
    (void)num;
    (void)ptr;
    return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO_METHOD *chan_tls_bio_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "bastide channel");
    CHECK(m != NULL);
    CHECK(BIO_meth_set_read_ex(m, bio_read) == 1);
    CHECK(BIO_meth_set_write_ex(m, bio_write) == 1);
    CHECK(BIO_meth_set_ctrl(m, bio_ctrl) == 1);
    return m;
}

/* SSL_get_error looks at the thread's error queue, where others may have left
 * something. */
static void before_ssl(void)
{
    if (__builtin_expect(ERR_peek_error() != 0, 0))
        ERR_clear_error();
}

/* -- watchers ---------------------------------------------------------------
 */

static void start_io(struct chan_tls *t, ev_io *w, bool on)
{
    if (on && !ev_is_active(w))
        ev_io_start(t->cl->ev, w);
    else if (!on && ev_is_active(w))
        ev_io_stop(t->cl->ev, w);
}

static bool want_read(const struct chan_tls *t)
{
    if (t->fd < 0 || t->ssl == NULL || t->dial != NULL)
        return false;
    if (t->base.state == CHAN_CLOSING)
        return !t->peer_done;
    if (t->base.state == CHAN_OPENING)
        return true;
    return t->base.read_on && list_empty(&t->stalled);
}

static void update_read(struct chan_tls *t)
{
    start_io(t, &t->rd, want_read(t));
}

static void chan_tls_timer(struct chan_tls *t, usec_t after_us)
{
    ev_timer_stop(t->cl->ev, &t->timer);
    ev_timer_set(&t->timer, chan_loop_delay(t->cl, after_us), 0.);
    ev_timer_start(t->cl->ev, &t->timer);
}

static void mark_dirty(struct chan_tls *t)
{
    if (list_empty(&t->dirty))
        list_push_back(&t->cl->dirty, &t->dirty);
}

static void mark_stalled(struct chan_tls *t)
{
    if (list_empty(&t->stalled))
        list_push_back(&t->cl->stalled, &t->stalled);
}

/* Gives an empty buffer's storage back if it is large. */
static void trim(const struct chan_tls *t, struct buf *b)
{
    if (buf_len(b) == 0 && b->cap > t->idle_keep)
        buf_free(b);
}

/* -- ending -----------------------------------------------------------------
 */

/* Lets go of the socket and of OpenSSL. */
static void cut(struct chan_tls *t)
{
    start_io(t, &t->rd, false);
    start_io(t, &t->wr, false);
    ev_timer_stop(t->cl->ev, &t->timer);
    list_remove(&t->dirty);
    list_remove(&t->stalled);
    chan_dial_free(TAKE(t->dial));
    SSL_free(TAKE(t->ssl));
    if (t->fd >= 0)
        close(t->fd);
    t->fd = -1;
    buf_free(&t->unread);
    buf_free(&t->unsent);
    t->base.held = 0;
    if (t->listener != NULL)
        chan_listener_forget(TAKE(t->listener), t);
}

/* Closes and calls on_close; between chan_enter and chan_leave. */
static void chan_tls_end(struct chan_tls *t, int err, const char *reason)
{
    if (t->base.freed || t->base.state == CHAN_CLOSED)
        return;
    cut(t);
    t->cl->called_back = true;
    chan_call_close(&t->base, err, reason);
}

void chan_tls_fail_later(struct chan_tls *t, int err, const char *reason)
{
    if (t->fail_err != ERR_OK)
        return;
    t->fail_err = err;
    t->fail_reason = mem_strdup(reason);
    mark_dirty(t);
}

/* -- why OpenSSL failed -----------------------------------------------------
 */

#define REASON_MAX 256

/* Says in words why the last call failed, and empties the error queue. A
 * refused certificate says which rule it broke; an alert, that the peer
 * refused us. */
static int tls_failure(struct chan_tls *t, char reason[REASON_MAX])
{
    unsigned long code = ERR_peek_last_error();
    int number = ERR_GET_REASON(code);
    long verify = SSL_get_verify_result(t->ssl);
    bool opening = t->base.state == CHAN_OPENING;
    int err = opening ? ERR_AUTH : ERR_IO;
    if (ERR_GET_LIB(code) == ERR_LIB_SSL && number >= SSL_AD_REASON_OFFSET) {
        const char *alert =
            SSL_alert_desc_string_long(number - SSL_AD_REASON_OFFSET);
        if (number - SSL_AD_REASON_OFFSET == SSL_AD_CERTIFICATE_REQUIRED)
            alert = "certificate required"; /* missing from that table */
        snprintf(reason, REASON_MAX, "the peer refused: %s", alert);
        err = ERR_AUTH;
    } else if (opening && verify != X509_V_OK) {
        snprintf(reason, REASON_MAX, "certificate refused: %s",
                 X509_verify_cert_error_string(verify));
    } else {
        const char *text = ERR_reason_error_string(code);
        snprintf(reason, REASON_MAX, "TLS: %s",
                 text != NULL ? text : "unknown failure");
    }
    ERR_clear_error();
    return err;
}

/* -- sending ----------------------------------------------------------------
 */

static ssize_t send_some(int fd, const uint8_t *data, size_t len)
{
    for (;;) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n >= 0)
            return n;
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return 0;
        if (errno != EINTR)
            return -1;
    }
}

static void on_readable(struct ev_loop *ev, ev_io *w, int revents);

/* The socket takes no more bytes, ever. What the peer said last (an alert, a
 * farewell) tells more than the error number, so read that first. */
static void send_failed(struct chan_tls *t, int errno_value)
{
    if (want_read(t) && ev_is_active(&t->rd))
        on_readable(t->cl->ev, &t->rd, EV_READ);
    chan_tls_end(t, ERR_IO, strerror(errno_value));
}

/* Sends what OpenSSL wrote into cl->tx; what the socket does not take is kept.
 * False when the connection broke (the channel may be gone then). */
static bool push(struct chan_tls *t)
{
    struct buf *tx = &t->cl->tx;
    size_t len = buf_len(tx);
    if (len == 0)
        return true;
    size_t n = 0;
    if (buf_len(&t->unsent) == 0) {
        ssize_t sent = send_some(t->fd, buf_bytes(tx), len);
        if (sent < 0) {
            int errno_value = errno;
            buf_clear(tx);
            send_failed(t, errno_value);
            return false;
        }
        n = (size_t)sent;
    }
    int err = ERR_OK;
    if (n < len) {
        err = buf_append(&t->unsent, buf_bytes(tx) + n, len - n);
        start_io(t, &t->wr, true);
    }
    t->base.held = buf_len(&t->unsent);
    buf_clear(tx);
    if (err != ERR_OK)
        chan_tls_end(t, ERR_IO, "too much output that nobody takes");
    return err == ERR_OK;
}

/* Sends what was kept. False when the connection broke. */
static bool push_unsent(struct chan_tls *t)
{
    size_t len = buf_len(&t->unsent);
    if (len == 0)
        return true;
    ssize_t n = send_some(t->fd, buf_bytes(&t->unsent), len);
    if (n < 0) {
        send_failed(t, errno);
        return false;
    }
    buf_consume(&t->unsent, (size_t)n);
    t->base.held = buf_len(&t->unsent);
    if (n > 0 && t->base.state == CHAN_CLOSING)
        chan_tls_timer(t, CHAN_CLOSE_TIMEOUT_MS * USEC_PER_MS);
    if (t->base.held == 0) {
        start_io(t, &t->wr, false);
        trim(t, &t->unsent);
    }
    return true;
}

/* Encrypts and sends queued output until it is gone or the socket is full.
 * False when the connection broke. */
static bool push_output(struct chan_tls *t)
{
    struct buf *out = &t->base.out;
    while (buf_len(out) > 0 && buf_len(&t->unsent) == 0) {
        size_t len = buf_len(out);
        if (len > CHAN_ENCRYPT_STEP)
            len = CHAN_ENCRYPT_STEP;
        before_ssl();
        int n = SSL_write(t->ssl, buf_bytes(out), (int)len);
        if (n <= 0) {
            char reason[REASON_MAX];
            int err = tls_failure(t, reason);
            buf_clear(&t->cl->tx);
            chan_tls_end(t, err, reason);
            return false;
        }
        buf_consume(out, (size_t)n);
        t->base.sent += (size_t)n;
        if (buf_len(&t->cl->tx) >= CHAN_TX_FLUSH || buf_len(out) == 0) {
            if (!push(t))
                return false;
        }
    }
    trim(t, out);
    return true;
}

/* One direction after the other: close_notify, FIN, then wait for theirs. */
static void push_close(struct chan_tls *t)
{
    if (!SSL_is_init_finished(t->ssl)) {
        chan_tls_end(t, ERR_EOF, "closed before the handshake was complete");
        return;
    }
    if (!t->shut) {
        t->shut = true;
        before_ssl();
        if (SSL_shutdown(t->ssl) < 0)
            ERR_clear_error();
        if (!push(t))
            return;
    }
    if (buf_len(&t->unsent) > 0)
        return;
    shutdown(t->fd, SHUT_WR);
    if (t->peer_done)
        chan_tls_end(t, ERR_EOF, "closed in order");
}

static void move_output(struct chan_tls *t)
{
    if (t->base.state == CHAN_CLOSED || t->ssl == NULL || t->dial != NULL)
        return;
    if (!push_unsent(t))
        return;
    if (t->base.state == CHAN_OPENING)
        return;
    bool ready = SSL_is_init_finished(t->ssl);
    if (ready && !push_output(t))
        return;
    if (t->base.state == CHAN_CLOSING &&
        (!ready || chan_output_len(&t->base) == 0))
        push_close(t);
}

void chan_tls_flush(struct chan_tls *t)
{
    chan_enter(&t->base);
    if (t->fail_err != ERR_OK)
        chan_tls_end(t, t->fail_err, t->fail_reason);
    else if (t->base.state == CHAN_CLOSING && t->dial != NULL)
        chan_tls_end(t, ERR_EOF, "closed before it was connected");
    else
        move_output(t);
    if (!t->base.freed && t->base.told_full) {
        t->cl->called_back = true;
        chan_call_writable(&t->base);
    }
    chan_leave(&t->base);
}

static void on_wr(struct ev_loop *ev, ev_io *w, int revents)
{
    (void)ev;
    (void)revents;
    chan_tls_flush(w->data);
}

/* -- receiving --------------------------------------------------------------
 */

/* What ended reading; reported after the data before it was. */
struct ending {
    int err;
    char reason[REASON_MAX];
};

/* Whom the connection is with, and what names it. */
static void note_peer(struct chan_tls *t)
{
    static const char label[] = "EXPORTER-Channel-Binding";
    static const uint8_t no_context[1];
    X509 *cert = SSL_get0_peer_certificate(t->ssl);
    if (cert != NULL && SSL_get_verify_result(t->ssl) == X509_V_OK)
        tls_cert_uri(cert, &t->base.uri);
    if (SSL_version(t->ssl) != TLS1_3_VERSION)
        return; /* it would not always be unique */
    CHECK(SSL_export_keying_material(t->ssl, t->base.binding, CHAN_BINDING_LEN,
                                     label, sizeof(label) - 1, no_context, 0,
                                     1) == 1);
}

static void shake_hands(struct chan_tls *t, struct ending *end)
{
    before_ssl();
    int rc = SSL_do_handshake(t->ssl);
    int why = rc == 1 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, rc);
    if (why == SSL_ERROR_NONE)
        note_peer(t);
    else if (why != SSL_ERROR_WANT_READ)
        end->err = tls_failure(t, end->reason);
    /* Also after a failure: the alert tells the peer why. */
    if (!push(t) || end->err != ERR_OK || why != SSL_ERROR_NONE)
        return;
    ev_timer_stop(t->cl->ev, &t->timer);
    chan_call_open(&t->base);
    if (!t->base.freed)
        mark_dirty(t); /* what was queued during the handshake */
}

/* Decrypts once into the input. False when there is nothing to go on with. */
static bool decrypt(struct chan_tls *t, struct ending *end, bool *got_data)
{
    struct buf *in = &t->base.in;
    size_t room = in->max - buf_len(in);
    size_t want = t->rx_left + (size_t)SSL_pending(t->ssl);
    if (want > CHAN_RECORD_MAX)
        want = CHAN_RECORD_MAX;
    if (want > room)
        want = room;
    uint8_t *to;
    if (want == 0 || buf_reserve(in, want, &to) != ERR_OK)
        return false;
    before_ssl();
    size_t n = 0;
    if (SSL_read_ex(t->ssl, to, want, &n) == 1) {
        buf_commit(in, n);
        *got_data = true;
        return true;
    }
    int why = SSL_get_error(t->ssl, 0);
    if (why == SSL_ERROR_ZERO_RETURN) {
        end->err = ERR_EOF;
        snprintf(end->reason, sizeof(end->reason), "closed by the peer");
    } else if (why != SSL_ERROR_WANT_READ) {
        end->err = tls_failure(t, end->reason);
    }
    return false;
}

static bool has_input(const struct chan_tls *t)
{
    return t->rx_left > 0 || SSL_pending(t->ssl) > 0;
}

/* Gives the ciphertext of rx to OpenSSL and the plaintext to the user. */
static void digest(struct chan_tls *t, struct ending *end)
{
    struct chan *c = &t->base;
    bool got_data = false;
    if (c->state == CHAN_OPENING)
        shake_hands(t, end);
    while (!c->freed && c->state == CHAN_OPEN && c->read_on &&
           end->err == ERR_OK && has_input(t)) {
        if (!decrypt(t, end, &got_data))
            break;
    }
    if (c->freed || c->state == CHAN_CLOSED || !push(t))
        return;
    if (got_data)
        chan_call_data(c);
    if (c->freed || c->state == CHAN_CLOSED)
        return;
    trim(t, &c->in);
}

/* Keeps what digest() left, for chan_tls_resume. */
static void keep_unread(struct chan_tls *t)
{
    if (t->base.freed || t->base.state != CHAN_OPEN) {
        t->rx_left = 0;
        return;
    }
    if (!has_input(t)) {
        buf_clear(&t->unread);
        trim(t, &t->unread);
        return;
    }
    size_t done = buf_len(&t->unread) - t->rx_left;
    if (buf_len(&t->unread) > 0)
        buf_consume(&t->unread, done);
    else
        CHECK(buf_append(&t->unread, t->rx, t->rx_left) == ERR_OK);
    t->rx_left = 0;
    mark_stalled(t);
}

/* Digests `len` bytes at `data`: the scratch, or the front of `unread`. */
static void receive(struct chan_tls *t, const uint8_t *data, size_t len)
{
    struct ending end = {.err = ERR_OK};
    t->rx = data;
    t->rx_left = len;
    digest(t, &end);
    if (end.err == ERR_OK)
        keep_unread(t);
    t->rx = NULL;
    t->rx_left = 0;
    if (end.err != ERR_OK)
        chan_tls_end(t, end.err, end.reason);
    if (!t->base.freed)
        update_read(t);
}

bool chan_tls_can_resume(const struct chan_tls *t)
{
    return t->base.state == CHAN_OPEN && t->base.read_on &&
           buf_len(&t->base.in) < t->base.in.max;
}

void chan_tls_resume(struct chan_tls *t)
{
    if (!chan_tls_can_resume(t)) {
        if (t->base.state == CHAN_OPEN)
            mark_stalled(t);
        return;
    }
    chan_enter(&t->base);
    receive(t, t->unread.data != NULL ? buf_bytes(&t->unread) : NULL,
            buf_len(&t->unread));
    chan_leave(&t->base);
}

static ssize_t recv_some(struct chan_tls *t)
{
    ssize_t n;
    do {
        n = recv(t->fd, t->cl->rx, CHAN_RX_SIZE, 0);
    } while (n < 0 && errno == EINTR);
    return n;
}

/* While closing, bytes are of no interest any more, only their end is. */
static void read_closing(struct chan_tls *t)
{
    ssize_t n = recv_some(t);
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)))
        return;
    if (chan_output_len(&t->base) == 0 && t->shut) {
        chan_tls_end(t, ERR_EOF, "closed in order");
    } else if (n < 0) {
        chan_tls_end(t, ERR_IO, strerror(errno));
    } else {
        /* They have nothing more to say; ours may still be wanted. */
        t->peer_done = true;
        update_read(t);
    }
}

static void read_open(struct chan_tls *t)
{
    CHECK(list_empty(&t->stalled) && buf_len(&t->unread) == 0);
    ssize_t n = recv_some(t);
    if (n > 0)
        receive(t, t->cl->rx, (size_t)n);
    else if (n == 0)
        chan_tls_end(t, ERR_IO,
                     t->base.state == CHAN_OPENING
                         ? "the peer closed during the handshake"
                         : "the connection ended without notice");
    else if (errno != EAGAIN && errno != EWOULDBLOCK)
        chan_tls_end(t, ERR_IO, strerror(errno));
}

static void on_readable(struct ev_loop *ev, ev_io *w, int revents)
{
    (void)ev;
    (void)revents;
    struct chan_tls *t = w->data;
    chan_enter(&t->base);
    if (t->base.state == CHAN_CLOSING)
        read_closing(t);
    else
        read_open(t);
    chan_leave(&t->base);
}

static void on_timer(struct ev_loop *ev, ev_timer *w, int revents)
{
    (void)ev;
    (void)revents;
    struct chan_tls *t = w->data;
    chan_enter(&t->base);
    chan_tls_end(t, ERR_TIMEOUT,
                 t->base.state == CHAN_CLOSING
                     ? "the peer did not close in time"
                     : "the handshake took too long");
    chan_leave(&t->base);
}

/* -- the vtable -------------------------------------------------------------
 */

static void tls_queued(struct chan *c)
{
    struct chan_tls *t = chan_tls_of(c);
    if (c->state == CHAN_CLOSING) {
        list_remove(&t->stalled);
        chan_tls_timer(t, CHAN_CLOSE_TIMEOUT_MS * USEC_PER_MS);
        update_read(t);
    }
    mark_dirty(t);
}

static void tls_reading(struct chan *c)
{
    update_read(chan_tls_of(c));
}

static void tls_cut(struct chan *c)
{
    cut(chan_tls_of(c));
}

static void tls_release(struct chan *c)
{
    struct chan_tls *t = chan_tls_of(c);
    mem_free(t->fail_reason);
    CHECK(t->cl->users > 0);
    t->cl->users--;
    chan_base_fini(c);
    mem_free(t);
}

/* Linger for no time: closing the socket resets it (tcp(7)). Where that cannot
 * be set, the peer still sees a TLS connection that ends without a word. */
static void tls_reset(struct chan *c)
{
    struct chan_tls *t = chan_tls_of(c);
    const struct linger none = {.l_onoff = 1, .l_linger = 0};
    if (t->fd >= 0)
        (void)setsockopt(t->fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
}

static const struct chan_ops tls_ops = {
    .queued = tls_queued,
    .reading = tls_reading,
    .reset = tls_reset,
    .cut = tls_cut,
    .release = tls_release,
};

/* -- the judge --------------------------------------------------------------
 */

/* What OpenSSL says of certificates like that. */
static int verdict_error(enum chan_verdict verdict)
{
    switch (verdict) {
    case CHAN_CERT_ACCEPTED:
        return X509_V_OK;
    case CHAN_CERT_EXPIRED:
        return X509_V_ERR_CERT_HAS_EXPIRED;
    case CHAN_CERT_REVOKED:
        return X509_V_ERR_CERT_REVOKED;
    case CHAN_CERT_REFUSED:
        return X509_V_ERR_APPLICATION_VERIFICATION;
    }
    CHECK_UNREACHABLE();
}

const char *chan_verdict_reason(enum chan_verdict verdict)
{
    static const char *const reasons[] = {
        [CHAN_CERT_ACCEPTED] = "",
        [CHAN_CERT_EXPIRED] = "certificate refused: certificate has expired",
        [CHAN_CERT_REVOKED] = "certificate refused: certificate revoked",
        [CHAN_CERT_REFUSED] =
            "certificate refused: application verification failure"};
    return reasons[verdict];
}

/* OpenSSL asks for every certificate of the chain; the peer's own, at depth 0,
 * comes last. */
static int ask_judge(int good, X509_STORE_CTX *check)
{
    if (!good || X509_STORE_CTX_get_error_depth(check) > 0)
        return good;
    const SSL *ssl =
        X509_STORE_CTX_get_ex_data(check, SSL_get_ex_data_X509_STORE_CTX_idx());
    const struct chan_judge *judge = SSL_get_app_data(ssl);
    char *uri = NULL;
    (void)tls_cert_uri(X509_STORE_CTX_get_current_cert(check), &uri);
    int err = verdict_error(judge->judge(judge->user, uri));
    mem_free(uri);
    X509_STORE_CTX_set_error(check, err);
    return err == X509_V_OK;
}

/* -- making one -------------------------------------------------------------
 */

static size_t size_or(size_t value, size_t fallback)
{
    return value > 0 ? value : fallback;
}

struct chan_tls *chan_tls_new(struct chan_loop *cl, struct tls_ctx *tls,
                              const struct chan_limits *limits,
                              const struct chan_judge *judge)
{
    CHECK_OBJ(cl, CHAN_LOOP_MAGIC);
    struct chan_tls *t = mem_zalloc(sizeof(*t));
    chan_base_init(&t->base, &tls_ops,
                   size_or(limits->input_max, CHAN_INPUT_MAX_DEFAULT),
                   size_or(limits->output_max, CHAN_OUTPUT_MAX_DEFAULT));
    t->idle_keep = size_or(limits->idle_keep, CHAN_IDLE_KEEP_DEFAULT);
    t->cl = cl;
    cl->users++;
    t->fd = -1;
    list_init(&t->dirty);
    list_init(&t->stalled);
    list_init(&t->in_listener);
    buf_init(&t->unread, CHAN_RX_SIZE);
    buf_init(&t->unsent, 2 * CHAN_TX_MAX);
    ev_init(&t->rd, on_readable);
    ev_init(&t->wr, on_wr);
    ev_init(&t->timer, on_timer);
    t->rd.data = t->wr.data = t->timer.data = t;
    before_ssl();
    t->ssl = tls_ctx_connection(tls);
    if (judge != NULL) {
        CHECK(SSL_set_app_data(t->ssl, (void *)(uintptr_t)judge) == 1);
        SSL_set_verify(t->ssl, SSL_get_verify_mode(t->ssl), ask_judge);
    }
    BIO *bio = BIO_new(cl->bio);
    CHECK(bio != NULL);
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
    chan_tls_timer(t, limits->handshake_timeout_us > 0
                          ? limits->handshake_timeout_us
                          : CHAN_HANDSHAKE_TIMEOUT_US);
    return t;
}

void chan_tls_begin(struct chan_tls *t, int fd, bool connect)
{
    CHECK(t->fd < 0 || t->fd == fd);
    CHECK(t->dial == NULL);
    t->fd = fd;
    ev_io_stop(t->cl->ev, &t->wr);
    ev_set_cb(&t->wr, on_wr);
    ev_io_set(&t->rd, fd, EV_READ);
    ev_io_set(&t->wr, fd, EV_WRITE);
    if (connect) {
        struct ending end = {.err = ERR_OK};
        SSL_set_connect_state(t->ssl);
        shake_hands(t, &end);
        if (t->base.freed || t->base.state == CHAN_CLOSED)
            return;
        CHECK(end.err == ERR_OK); /* a client begins by speaking */
    } else {
        SSL_set_accept_state(t->ssl);
    }
    update_read(t);
}

void chan_format_addr(const struct sockaddr *sa, char out[CHAN_ADDR_MAX + 1])
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)sa;
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
        snprintf(out, CHAN_ADDR_MAX + 1, "%s:%u", host, ntohs(v4->sin_port));
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)sa;
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
        snprintf(out, CHAN_ADDR_MAX + 1, "[%s]:%u", host, ntohs(v6->sin6_port));
    } else {
        snprintf(out, CHAN_ADDR_MAX + 1, "?");
    }
}
