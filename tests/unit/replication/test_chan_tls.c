/* Channels over real TLS on loopback sockets. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "node/base/clock.h"
#include "node/base/mem.h"
#include "node/base/prng.h"
#include "replication/link/chan_tls.h"
#include "tests/unit/replication/pki.h"

#define BIG (3 * 1024 * 1024)
#define WAIT_US (5 * USEC_PER_SEC)

static struct pki pki;
static struct pki_ca ca, other_ca;
static struct pki_node good, expired, stranger, two_uris;

/* One end as a test sees it. */
struct side {
    struct chan *chan;
    struct buf got;
    bool open, closed, writable;
    int err;
    char reason[256];
    bool echo;         /* send back what arrives */
    bool hold;         /* do not consume */
    bool free_on_data; /* let go inside the callback */
    unsigned data_calls;
};

struct fixture {
    struct ev_loop *ev;
    struct chan_loop *cl;
    struct tls_ctx *server, *client;
    struct chan_listener *listener;
    struct side s, c;
    unsigned accepted;
    struct chan_limits server_limits;
    char address[64];
};

/* -- callbacks --------------------------------------------------------------
 */

static void on_open(struct chan *c, void *user)
{
    (void)c;
    ((struct side *)user)->open = true;
}

static void on_data(struct chan *c, void *user)
{
    struct side *s = user;
    struct buf *in = chan_input(c);
    s->data_calls++;
    assert_true(buf_len(in) > 0);
    if (s->free_on_data) {
        chan_free(TAKE(s->chan));
        return;
    }
    if (s->hold)
        return;
    if (s->echo)
        assert_int_equal(chan_write(c, buf_bytes(in), buf_len(in)), ERR_OK);
    assert_int_equal(buf_append(&s->got, buf_bytes(in), buf_len(in)), ERR_OK);
    buf_consume(in, buf_len(in));
}

static void on_writable(struct chan *c, void *user)
{
    assert_true(chan_output_len(c) <= CHAN_OUTPUT_LOW);
    ((struct side *)user)->writable = true;
}

static void on_close(struct chan *c, void *user, int err)
{
    struct side *s = user;
    assert_false(s->closed);
    s->closed = true;
    s->err = err;
    snprintf(s->reason, sizeof(s->reason), "%s", chan_reason(c));
}

static const struct chan_handler handler = {on_open, on_data, on_writable,
                                            on_close};

static void on_accept(struct chan *c, void *user)
{
    struct fixture *f = user;
    f->accepted++;
    if (f->s.chan != NULL) {
        chan_free(c);
        return;
    }
    f->s.chan = c;
    chan_set_handler(c, &handler, &f->s);
}

/* -- running ----------------------------------------------------------------
 */

static void on_poll(struct ev_loop *ev, ev_timer *w, int revents)
{
    (void)ev;
    (void)w;
    (void)revents;
}

/* Runs the loop until `cond` holds; fails the test after WAIT_US. */
#define WAIT_FOR(f, cond)                                                      \
    do {                                                                       \
        ev_timer poll_;                                                        \
        ev_timer_init(&poll_, on_poll, 0.005, 0.005);                          \
        ev_timer_start((f)->ev, &poll_);                                       \
        usec_t until_ = clock_mono_us() + WAIT_US;                             \
        while (!(cond) && clock_mono_us() < until_)                            \
            ev_run((f)->ev, EVRUN_ONCE);                                       \
        ev_timer_stop((f)->ev, &poll_);                                        \
        assert_true(cond);                                                     \
    } while (0)

static void run_for(struct fixture *f, usec_t us)
{
    usec_t until = clock_mono_us() + us;
    WAIT_FOR(f, clock_mono_us() >= until);
}

static struct tls_ctx *server_ctx(const struct pki_node *node,
                                  enum tls_client_cert client_cert)
{
    struct tls_server_options o = {
        .files = {node->cert, node->key, ca.path},
        .client_cert = client_cert,
    };
    struct tls_ctx *ctx = NULL;
    struct err_msg msg = {""};
    int err = tls_ctx_server(&o, &msg, &ctx);
    if (err != ERR_OK)
        fail_msg("%s", msg.text);
    return ctx;
}

static struct tls_ctx *client_ctx(const char *ca_path,
                                  const struct pki_node *node)
{
    struct tls_files files = {.ca = ca_path};
    if (node != NULL) {
        files.cert = node->cert;
        files.key = node->key;
    }
    struct tls_ctx *ctx = NULL;
    struct err_msg msg = {""};
    int err = tls_ctx_client(&files, &msg, &ctx);
    if (err != ERR_OK)
        fail_msg("%s", msg.text);
    return ctx;
}

static void fixture_listen(struct fixture *f)
{
    struct chan_listen_options o = {
        .address = "127.0.0.1:0",
        .reuse_port = true,
        .channels_max = 4,
        .tls = f->server,
        .limits = f->server_limits,
        .on_accept = on_accept,
        .user = f,
    };
    struct err_msg msg = {""};
    assert_int_equal(chan_listen(f->cl, &o, &msg, &f->listener), ERR_OK);
    snprintf(f->address, sizeof(f->address), "127.0.0.1:%u",
             chan_listener_port(f->listener));
}

static void fixture_open(struct fixture *f, struct tls_ctx *server,
                         struct tls_ctx *client)
{
    f->ev = ev_loop_new(EVFLAG_AUTO);
    f->cl = chan_loop_new(f->ev);
    f->server = server;
    f->client = client;
    buf_init(&f->s.got, 4 * BIG);
    buf_init(&f->c.got, 4 * BIG);
    fixture_listen(f);
}

static void dial(struct fixture *f)
{
    struct chan_connect_options o = {
        .address = f->address,
        .tls = f->client,
        .handler = &handler,
        .user = &f->c,
    };
    assert_int_equal(chan_connect(f->cl, &o, NULL, &f->c.chan), ERR_OK);
}

static void fixture_close(struct fixture *f)
{
    chan_free(f->c.chan);
    chan_free(f->s.chan);
    chan_listener_free(f->listener);
    chan_loop_free(f->cl);
    ev_loop_destroy(f->ev);
    tls_ctx_unref(f->server);
    tls_ctx_unref(f->client);
    buf_free(&f->s.got);
    buf_free(&f->c.got);
}

static void fixture_connected(struct fixture *f)
{
    fixture_open(f, server_ctx(&good, TLS_CLIENT_CERT_NONE),
                 client_ctx(ca.path, NULL));
    dial(f);
    WAIT_FOR(f, f->s.open && f->c.open);
}

/* -- tests: moving bytes ----------------------------------------------------
 */

static void bytes_arrive_both_ways(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_connected(&f);
    f.s.echo = true;
    assert_int_equal(chan_write(f.c.chan, "hello ", 6), ERR_OK);
    assert_int_equal(chan_write(f.c.chan, "there", 5), ERR_OK);
    assert_int_equal(chan_output_len(f.c.chan), 11);
    assert_int_equal(chan_sent(f.c.chan), 0);
    WAIT_FOR(&f, buf_len(&f.c.got) == 11);
    assert_memory_equal(buf_bytes(&f.c.got), "hello there", 11);
    assert_int_equal(chan_output_len(f.c.chan), 0);
    assert_int_equal(chan_sent(f.c.chan), 11);
    /* Both writes of one turn shared a record. */
    assert_int_equal(f.s.data_calls, 1);
    assert_null(chan_peer_uri(f.s.chan));
    assert_string_equal(chan_peer_uri(f.c.chan),
                        "spiffe://t/region/a/node/a-1");
    assert_non_null(strstr(chan_peer_addr(f.s.chan), "127.0.0.1:"));
    fixture_close(&f);
}

static void megabytes_survive(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_connected(&f);
    f.s.echo = true;
    struct prng prng;
    prng_seed(&prng, 7);
    uint8_t *data = mem_alloc(BIG);
    for (size_t i = 0; i < BIG; i++)
        data[i] = (uint8_t)prng_u64(&prng);
    assert_int_equal(chan_write(f.c.chan, data, BIG), ERR_OK);
    WAIT_FOR(&f, buf_len(&f.c.got) == BIG);
    assert_memory_equal(buf_bytes(&f.c.got), data, BIG);
    mem_free(data);
    fixture_close(&f);
}

/* A reader that does not consume stops the writer, and loses nothing. */
static void full_input_stops_the_reader(void **state)
{
    (void)state;
    struct fixture f = {.server_limits = {.input_max = 1000}};
    fixture_connected(&f);
    f.s.hold = true;
    uint8_t data[5000];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 31 >> 3);
    assert_int_equal(chan_write(f.c.chan, data, sizeof(data)), ERR_OK);
    WAIT_FOR(&f, buf_len(chan_input(f.s.chan)) == 1000);
    run_for(&f, 30000);
    assert_int_equal(buf_len(chan_input(f.s.chan)), 1000);
    struct buf *in = chan_input(f.s.chan);
    assert_memory_equal(buf_bytes(in), data, 1000);
    buf_consume(in, 999); /* one byte of room less than all */
    f.s.hold = false;
    WAIT_FOR(&f, buf_len(&f.s.got) == sizeof(data) - 999);
    assert_memory_equal(buf_bytes(&f.s.got), data + 999, sizeof(data) - 999);
    fixture_close(&f);
}

static void read_stop_and_start(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_connected(&f);
    chan_read_stop(f.s.chan);
    assert_int_equal(chan_write(f.c.chan, "abc", 3), ERR_OK);
    run_for(&f, 30000);
    assert_int_equal(f.s.data_calls, 0);
    chan_read_start(f.s.chan);
    WAIT_FOR(&f, buf_len(&f.s.got) == 3);
    fixture_close(&f);
}

static void full_output_is_refused_then_announced(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_connected(&f);
    chan_read_stop(f.s.chan);
    uint8_t block[65536] = {1};
    size_t queued = 0;
    int err = ERR_OK;
    usec_t until = clock_mono_us() + WAIT_US;
    while (err == ERR_OK && clock_mono_us() < until) {
        err = chan_write(f.c.chan, block, sizeof(block));
        queued += err == ERR_OK ? sizeof(block) : 0;
        ev_run(f.ev, EVRUN_NOWAIT);
    }
    assert_int_equal(err, ERR_FULL);
    assert_true(chan_output_len(f.c.chan) <= CHAN_OUTPUT_MAX_DEFAULT);
    assert_false(f.c.writable);
    chan_read_start(f.s.chan);
    buf_free(&f.s.got);
    buf_init(&f.s.got, 64 * 1024 * 1024);
    WAIT_FOR(&f, f.c.writable && buf_len(&f.s.got) == queued);
    fixture_close(&f);
}

static void freeing_inside_a_callback_is_allowed(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_connected(&f);
    f.s.free_on_data = true;
    assert_int_equal(chan_write(f.c.chan, "x", 1), ERR_OK);
    WAIT_FOR(&f, f.c.closed);
    assert_null(f.s.chan);
    assert_int_equal(f.c.err, ERR_IO); /* cut, not closed in order */
    fixture_close(&f);
}

/* -- tests: ending ----------------------------------------------------------
 */

static void close_when_sent_delivers_everything(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_connected(&f);
    uint8_t *data = mem_zalloc(BIG);
    assert_int_equal(chan_write(f.s.chan, data, BIG), ERR_OK);
    chan_close_when_sent(f.s.chan);
    assert_int_equal(chan_write(f.s.chan, "x", 1), ERR_CLOSED);
    WAIT_FOR(&f, f.c.closed);
    assert_int_equal(f.c.err, ERR_EOF);
    assert_int_equal(buf_len(&f.c.got), BIG);
    assert_false(f.s.closed); /* waits for the other side's end */
    chan_free(TAKE(f.c.chan));
    WAIT_FOR(&f, f.s.closed);
    assert_int_equal(f.s.err, ERR_EOF);
    mem_free(data);
    fixture_close(&f);
}

static void a_peer_that_never_closes_is_cut(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_connected(&f);
    chan_read_stop(f.c.chan); /* so it does not notice */
    chan_close_when_sent(f.s.chan);
    WAIT_FOR(&f, f.s.closed);
    assert_int_equal(f.s.err, ERR_TIMEOUT);
    fixture_close(&f);
}

static void a_reset_channel_ends_without_a_word(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_connected(&f);
    assert_int_equal(chan_write(f.s.chan, "lost", 4), ERR_OK);
    chan_reset(f.s.chan);
    assert_int_equal(chan_output_len(f.s.chan), 0);
    assert_int_equal(chan_write(f.s.chan, "x", 1), ERR_CLOSED);
    chan_free(TAKE(f.s.chan));
    WAIT_FOR(&f, f.c.closed);
    assert_int_equal(f.c.err, ERR_IO);
    assert_string_equal(f.c.reason, strerror(ECONNRESET));
    assert_int_equal(buf_len(&f.c.got), 0);
    fixture_close(&f);
}

static void a_silent_client_is_cut_during_the_handshake(void **state)
{
    (void)state;
    struct fixture f = {.server_limits = {.handshake_timeout_us = 50000}};
    fixture_open(&f, server_ctx(&good, TLS_CLIENT_CERT_NONE),
                 client_ctx(ca.path, NULL));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_port = htons(chan_listener_port(f.listener)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    WAIT_FOR(&f, f.s.closed);
    assert_int_equal(f.s.err, ERR_TIMEOUT);
    assert_int_equal(chan_listener_open(f.listener), 0);
    close(fd);
    fixture_close(&f);
}

static void plain_text_is_refused(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_open(&f, server_ctx(&good, TLS_CLIENT_CERT_NONE),
                 client_ctx(ca.path, NULL));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_port = htons(chan_listener_port(f.listener)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(write(fd, "GET / HTTP/1.1\r\n\r\n", 18), 18);
    WAIT_FOR(&f, f.s.closed);
    assert_int_equal(f.s.err, ERR_AUTH);
    assert_string_equal(f.s.reason, "TLS: http request");
    close(fd);
    fixture_close(&f);
}

static void a_refused_connection_says_so(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_open(&f, server_ctx(&good, TLS_CLIENT_CERT_NONE),
                 client_ctx(ca.path, NULL));
    chan_listener_free(TAKE(f.listener));
    dial(&f);
    WAIT_FOR(&f, f.c.closed);
    assert_int_equal(f.c.err, ERR_IO);
    assert_string_equal(f.c.reason, "Connection refused");
    fixture_close(&f);
}

static void names_are_looked_up(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_open(&f, server_ctx(&good, TLS_CLIENT_CERT_NONE),
                 client_ctx(ca.path, NULL));
    snprintf(f.address, sizeof(f.address), "localhost:%u",
             chan_listener_port(f.listener));
    dial(&f);
    WAIT_FOR(&f, f.c.open && f.s.open);
    chan_free(TAKE(f.c.chan));
    WAIT_FOR(&f, f.s.closed);

    f.c = (struct side){.got = f.c.got};
    snprintf(f.address, sizeof(f.address), "no-such-host.invalid:1");
    dial(&f);
    usec_t until = clock_mono_us() + 20 * USEC_PER_SEC;
    while (!f.c.closed && clock_mono_us() < until)
        run_for(&f, 10000);
    assert_int_equal(f.c.err, ERR_IO);
    assert_non_null(strstr(f.c.reason, "no-such-host.invalid"));

    /* Letting go while a lookup is under way is harmless. */
    chan_free(TAKE(f.c.chan));
    f.c = (struct side){.got = f.c.got};
    dial(&f);
    chan_free(TAKE(f.c.chan));
    fixture_close(&f);
}

struct keeper {
    struct chan *chans[8];
    size_t n;
};

static void keep_accepted(struct chan *c, void *user)
{
    struct keeper *k = user;
    k->chans[k->n++] = c;
}

static void channels_max_is_kept(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_open(&f, server_ctx(&good, TLS_CLIENT_CERT_NONE),
                 client_ctx(ca.path, NULL));
    struct keeper k = {.n = 0};
    struct chan_listener *l;
    struct chan_listen_options o = {.address = "127.0.0.1:0",
                                    .channels_max = 3,
                                    .tls = f.server,
                                    .on_accept = keep_accepted,
                                    .user = &k};
    assert_int_equal(chan_listen(f.cl, &o, NULL, &l), ERR_OK);
    int fds[5];
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        struct sockaddr_in sa = {.sin_family = AF_INET,
                                 .sin_port = htons(chan_listener_port(l)),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        assert_int_equal(connect(fds[i], (struct sockaddr *)&sa, sizeof(sa)),
                         0);
    }
    WAIT_FOR(&f, k.n + chan_listener_refused(l) == 5);
    assert_int_equal(k.n, 3);
    assert_int_equal(chan_listener_open(l), 3);
    chan_free(k.chans[0]);
    assert_int_equal(chan_listener_open(l), 2);
    chan_listener_free(l); /* the others live on */
    chan_free(k.chans[1]);
    chan_free(k.chans[2]);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    fixture_close(&f);
}

/* Without descriptors the listener pauses instead of spinning, then goes on. */
static void accept_survives_descriptor_shortage(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_open(&f, server_ctx(&good, TLS_CLIENT_CERT_NONE),
                 client_ctx(ca.path, NULL));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_port = htons(chan_listener_port(f.listener)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    struct rlimit old, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    unsigned before = ev_iteration(f.ev);
    run_for(&f, 60000);
    unsigned turns = ev_iteration(f.ev) - before;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(f.accepted, 0);
    assert_true(turns < 100);
    WAIT_FOR(&f, f.accepted == 1);
    close(fd);
    fixture_close(&f);
}

static void addresses_are_checked(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_open(&f, server_ctx(&good, TLS_CLIENT_CERT_NONE),
                 client_ctx(ca.path, NULL));
    struct chan_listener *l;
    struct err_msg msg;
    struct chan_listen_options o = {
        .channels_max = 1, .tls = f.server, .on_accept = on_accept, .user = &f};
    o.address = "127.0.0.1";
    assert_int_equal(chan_listen(f.cl, &o, &msg, &l), ERR_INVALID);
    o.address = "somewhere:80";
    assert_int_equal(chan_listen(f.cl, &o, &msg, &l), ERR_INVALID);
    o.address = "::1:80";
    assert_int_equal(chan_listen(f.cl, &o, &msg, &l), ERR_INVALID);
    o.address = "192.0.2.1:0";
    assert_int_equal(chan_listen(f.cl, &o, &msg, &l), ERR_NOT_FOUND);
    o.address = f.address;
    assert_int_equal(chan_listen(f.cl, &o, &msg, &l), ERR_BUSY);
    assert_non_null(strstr(msg.text, f.address));
    o.reuse_port = true;
    assert_int_equal(chan_listen(f.cl, &o, &msg, &l), ERR_OK);
    chan_listener_free(l);

    char host[CHAN_HOST_MAX + 1];
    uint16_t port;
    assert_int_equal(chan_split_address("[::1]:7000", host, &port), ERR_OK);
    assert_string_equal(host, "::1");
    assert_int_equal(port, 7000);
    assert_int_equal(chan_split_address(":7", host, &port), ERR_OK);
    assert_string_equal(host, "");
    assert_int_equal(chan_split_address("a:70000", host, &port), ERR_INVALID);
    assert_int_equal(chan_split_address("a:", host, &port), ERR_INVALID);
    struct chan *c;
    struct chan_connect_options co = {.address = "nowhere", .tls = f.client};
    assert_int_equal(chan_connect(f.cl, &co, &msg, &c), ERR_INVALID);
    fixture_close(&f);
}

/* -- tests: who is who ------------------------------------------------------
 */

/* Runs a handshake that must fail on both sides. */
static void refused_handshake(struct tls_ctx *server, struct tls_ctx *client,
                              const char *server_says, const char *client_says)
{
    struct fixture f = {0};
    fixture_open(&f, server, client);
    dial(&f);
    WAIT_FOR(&f, f.s.closed && f.c.closed);
    assert_int_equal(f.s.err, ERR_AUTH);
    assert_int_equal(f.c.err, ERR_AUTH);
    assert_string_equal(f.s.reason, server_says);
    assert_string_equal(f.c.reason, client_says);
    fixture_close(&f);
}

static struct tls_ctx *peer_ctx(const struct pki_node *node,
                                const char *ca_path)
{
    struct tls_files files = {node->cert, node->key, ca_path};
    struct tls_ctx *ctx = NULL;
    struct err_msg msg = {""};
    if (tls_ctx_peer(&files, &msg, &ctx) != ERR_OK)
        fail_msg("%s", msg.text);
    return ctx;
}

static void both_peers_prove_themselves(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_open(&f, peer_ctx(&good, ca.path), peer_ctx(&good, ca.path));
    assert_string_equal(tls_ctx_uri(f.server), "spiffe://t/region/a/node/a-1");
    assert_true(tls_ctx_not_after(f.server) > clock_wall_us() / USEC_PER_SEC);
    dial(&f);
    WAIT_FOR(&f, f.s.open && f.c.open);
    assert_string_equal(chan_peer_uri(f.s.chan),
                        "spiffe://t/region/a/node/a-1");
    assert_string_equal(chan_peer_uri(f.c.chan),
                        "spiffe://t/region/a/node/a-1");
    fixture_close(&f);
}

/* Both ends name the connection alike, and no two connections are alike. */
static void a_connection_has_a_name_of_its_own(void **state)
{
    (void)state;
    uint8_t names[3][CHAN_BINDING_LEN] = {{0}};
    for (size_t i = 1; i < ARRAY_LEN(names); i++) {
        struct fixture f = {0};
        fixture_open(&f, peer_ctx(&good, ca.path), peer_ctx(&good, ca.path));
        dial(&f);
        WAIT_FOR(&f, f.s.open && f.c.open);
        memcpy(names[i], chan_binding(f.c.chan), CHAN_BINDING_LEN);
        assert_memory_equal(names[i], chan_binding(f.s.chan), CHAN_BINDING_LEN);
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(names[i], names[j], CHAN_BINDING_LEN);
        fixture_close(&f);
    }
}

static void a_certificate_of_another_ca_is_refused(void **state)
{
    (void)state;
    refused_handshake(server_ctx(&good, TLS_CLIENT_CERT_NONE),
                      client_ctx(other_ca.path, NULL),
                      "the peer refused: unknown CA",
                      "certificate refused: unable to get local issuer "
                      "certificate");
    refused_handshake(server_ctx(&good, TLS_CLIENT_CERT_REQUIRED),
                      client_ctx(ca.path, &stranger),
                      "certificate refused: unable to get local issuer "
                      "certificate",
                      "the peer refused: unknown CA");
}

static void a_missing_certificate_is_refused(void **state)
{
    (void)state;
    refused_handshake(server_ctx(&good, TLS_CLIENT_CERT_REQUIRED),
                      client_ctx(ca.path, NULL),
                      "TLS: peer did not return a certificate",
                      "the peer refused: certificate required");
}

static void a_certificate_for_another_name_is_refused(void **state)
{
    (void)state;
    struct pki_node elsewhere;
    pki_make_node(&pki, &ca, "elsewhere", "DNS:elsewhere.example", -60, 3600,
                  &elsewhere);
    refused_handshake(server_ctx(&elsewhere, TLS_CLIENT_CERT_NONE),
                      client_ctx(ca.path, NULL),
                      "the peer refused: bad certificate",
                      "certificate refused: IP address mismatch");
}

static void an_optional_certificate_is_used_when_shown(void **state)
{
    (void)state;
    for (int shown = 0; shown < 2; shown++) {
        struct fixture f = {0};
        fixture_open(&f, server_ctx(&good, TLS_CLIENT_CERT_OPTIONAL),
                     client_ctx(ca.path, shown ? &good : NULL));
        dial(&f);
        WAIT_FOR(&f, f.s.open && f.c.open);
        if (shown)
            assert_string_equal(chan_peer_uri(f.s.chan),
                                "spiffe://t/region/a/node/a-1");
        else
            assert_null(chan_peer_uri(f.s.chan));
        fixture_close(&f);
    }
}

static void two_uris_are_no_identity(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_open(&f, server_ctx(&good, TLS_CLIENT_CERT_REQUIRED),
                 client_ctx(ca.path, &two_uris));
    dial(&f);
    WAIT_FOR(&f, f.s.open);
    assert_null(chan_peer_uri(f.s.chan));
    fixture_close(&f);
}

/* -- tests: contexts --------------------------------------------------------
 */

static int try_peer(const char *cert, const char *key, const char *ca_path,
                    const char *expect)
{
    struct tls_files files = {cert, key, ca_path};
    struct tls_ctx *ctx = NULL;
    struct err_msg msg = {""};
    int err = tls_ctx_peer(&files, &msg, &ctx);
    assert_null(ctx);
    if (strstr(msg.text, expect) == NULL)
        fail_msg("'%s' does not say '%s'", msg.text, expect);
    assert_int_equal(ERR_peek_error(), 0);
    return err;
}

static void bad_files_are_named(void **state)
{
    (void)state;
    const char *c = good.cert, *k = good.key, *a = ca.path;
    char encrypted[PKI_PATH * 2], garbage[PKI_PATH * 2];
    snprintf(encrypted, sizeof(encrypted), "%s/enc.key", pki.dir);
    FILE *fp = fopen(encrypted, "w");
    assert_int_equal(PEM_write_PKCS8PrivateKey(fp, ca.key, EVP_aes_128_cbc(),
                                               "secret", 6, NULL, NULL),
                     1);
    fclose(fp);
    snprintf(garbage, sizeof(garbage), "%s/garbage", pki.dir);
    fp = fopen(garbage, "w");
    fputs("-----BEGIN CERTIFICATE-----\nAAAA\n", fp);
    fclose(fp);

    assert_int_equal(try_peer("/nowhere.pem", k, a, "/nowhere.pem"),
                     ERR_NOT_FOUND);
    assert_int_equal(try_peer(c, "/nowhere.key", a, "key file /nowhere.key"),
                     ERR_NOT_FOUND);
    assert_int_equal(try_peer(c, k, "/nowhere.ca", "CA file /nowhere.ca"),
                     ERR_NOT_FOUND);
    assert_int_equal(try_peer(garbage, k, a, "no certificate in it"),
                     ERR_MALFORMED);
    assert_int_equal(try_peer(c, garbage, a, "no private key in it"),
                     ERR_MALFORMED);
    assert_int_equal(try_peer(c, encrypted, a, "passphrase"), ERR_MALFORMED);
    assert_int_equal(try_peer(c, k, garbage, "no certificate in it"),
                     ERR_MALFORMED);
    assert_int_equal(try_peer(c, stranger.key, a, "does not belong"),
                     ERR_IDENTITY);
    assert_int_equal(try_peer(expired.cert, expired.key, a, "expired on"),
                     ERR_AUTH);
    assert_int_equal(try_peer(stranger.cert, stranger.key, a, "vouched"),
                     ERR_AUTH);
    assert_int_equal(try_peer("/", k, a, "certificate file /:"), ERR_IO);
}

static int setup(void **state)
{
    (void)state;
    pki_open(&pki);
    pki_make_ca(&pki, "ca", &ca);
    pki_make_ca(&pki, "other", &other_ca);
    pki_make_node(&pki, &ca, "good",
                  "URI:spiffe://t/region/a/node/a-1,IP:127.0.0.1,DNS:localhost",
                  -60, 3600, &good);
    pki_make_node(&pki, &ca, "expired", "IP:127.0.0.1", -7200, -3600, &expired);
    pki_make_node(&pki, &other_ca, "stranger",
                  "URI:spiffe://t/region/a/node/a-1,IP:127.0.0.1", -60, 3600,
                  &stranger);
    pki_make_node(&pki, &ca, "two", "URI:spiffe://t/a,URI:spiffe://t/b", -60,
                  3600, &two_uris);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pki_free_ca(&ca);
    pki_free_ca(&other_ca);
    pki_close(&pki);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_arrive_both_ways),
        cmocka_unit_test(megabytes_survive),
        cmocka_unit_test(full_input_stops_the_reader),
        cmocka_unit_test(read_stop_and_start),
        cmocka_unit_test(full_output_is_refused_then_announced),
        cmocka_unit_test(freeing_inside_a_callback_is_allowed),
        cmocka_unit_test(close_when_sent_delivers_everything),
        cmocka_unit_test(a_peer_that_never_closes_is_cut),
        cmocka_unit_test(a_reset_channel_ends_without_a_word),
        cmocka_unit_test(a_silent_client_is_cut_during_the_handshake),
        cmocka_unit_test(plain_text_is_refused),
        cmocka_unit_test(a_refused_connection_says_so),
        cmocka_unit_test(names_are_looked_up),
        cmocka_unit_test(channels_max_is_kept),
        cmocka_unit_test(accept_survives_descriptor_shortage),
        cmocka_unit_test(addresses_are_checked),
        cmocka_unit_test(both_peers_prove_themselves),
        cmocka_unit_test(a_connection_has_a_name_of_its_own),
        cmocka_unit_test(a_certificate_of_another_ca_is_refused),
        cmocka_unit_test(a_missing_certificate_is_refused),
        cmocka_unit_test(a_certificate_for_another_name_is_refused),
        cmocka_unit_test(an_optional_certificate_is_used_when_shown),
        cmocka_unit_test(two_uris_are_no_identity),
        cmocka_unit_test(bad_files_are_named),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
