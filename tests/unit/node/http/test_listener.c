/* Listeners and connections over real sockets and TLS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <ev.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/crypt/cert.h"
#include "node/http/http.h"
#include "replication/link/chan.h"
#include "replication/link/chan_tls.h"

#define PATIENCE_US (10 * USEC_PER_SEC)

static char folder[] = "/tmp/bastide-http-XXXXXX";
static char ca[PATH_MAX], ca_key[PATH_MAX], cert[PATH_MAX], cert_key[PATH_MAX];

static struct ev_loop *loop;
static struct chan_loop *chans;
static struct tls_ctx *server_tls, *client_tls;
static struct http_limits limits;
static struct http_front *front;
static struct http_listener *listener;
static int tag;
static struct http_request *held;
static bool hold, drained;

struct client {
    struct chan *chan;
    bool open, closed;
    char reason[128]; /* why it closed */
    struct buf got;
};

/* -- server ---------------------------------------------------------------- */

static void on_request(struct http_request *r, void *user)
{
    (void)user;
    assert_ptr_equal(r->listener_tag, &tag);
    assert_memory_equal(r->peer_addr, "127.0.0.1:", 10);
    if (hold)
        held = r;
    else
        http_respond(r, 200, r->target);
}

static const struct http_handler handler = {.on_request = on_request};

static int new_front(struct http_front **front_out)
{
    const struct http_front_options options = {.loop = chans,
                                               .tls = server_tls,
                                               .limits = limits,
                                               .handler = &handler};
    return http_front_new(&options, front_out, NULL);
}

static int open_listener(void)
{
    struct err_msg msg;
    return http_listener_open(front, "127.0.0.1", 0, &tag, &listener, &msg);
}

/* -- clients --------------------------------------------------------------- */

static void client_open(struct chan *c, void *user)
{
    (void)c;
    ((struct client *)user)->open = true;
}

static void client_data(struct chan *c, void *user)
{
    struct client *client = user;
    struct buf *in = chan_input(c);
    assert_int_equal(buf_append(&client->got, buf_bytes(in), buf_len(in)),
                     ERR_OK);
    buf_consume(in, buf_len(in));
}

static void client_close(struct chan *c, void *user, int err)
{
    (void)err;
    struct client *client = user;
    client->closed = true;
    snprintf(client->reason, sizeof client->reason, "%s", chan_reason(c));
}

static const struct chan_handler client_events = {
    .on_open = client_open, .on_data = client_data, .on_close = client_close};

static void client_start(struct client *client, uint16_t port)
{
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    const struct chan_connect_options options = {.address = address,
                                                 .tls = client_tls,
                                                 .handler = &client_events,
                                                 .user = client};
    *client = (struct client){0};
    buf_init(&client->got, 1 << 20);
    assert_int_equal(chan_connect(chans, &options, NULL, &client->chan),
                     ERR_OK);
}

static void client_end(struct client *client)
{
    chan_free(client->chan);
    buf_free(&client->got);
}

static const char *text_of(struct client *client)
{
    const char *text = buf_cstr(&client->got);
    return text != NULL ? text : "";
}

static int plain_socket(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    (void)connect(fd, (struct sockaddr *)&to, sizeof to);
    return fd;
}

/* -- waiting --------------------------------------------------------------- */

static void wake(struct ev_loop *l, ev_timer *timer, int events)
{
    (void)l, (void)timer, (void)events;
}

/* Turns the loop until `condition`, with a bound. */
#define RUN_UNTIL(condition)                                                   \
    do {                                                                       \
        ev_timer timer_;                                                       \
        usec_t until_ = clock_mono_us() + PATIENCE_US;                         \
        ev_timer_init(&timer_, wake, 0.01, 0.01);                              \
        ev_timer_start(loop, &timer_);                                         \
        while (!(condition) && clock_mono_us() < until_)                       \
            ev_run(loop, EVRUN_ONCE);                                          \
        ev_timer_stop(loop, &timer_);                                          \
        assert_true(condition);                                                \
    } while (0)

static void exchange(struct client *client, const char *request,
                     const char *expected)
{
    buf_clear(&client->got);
    assert_int_equal(chan_write(client->chan, request, strlen(request)),
                     ERR_OK);
    RUN_UNTIL(strstr(text_of(client), expected) != NULL);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"

/* -- fixtures -------------------------------------------------------------- */

static int make_certificates(void **state)
{
    (void)state;
    static const char *const hosts[] = {"127.0.0.1"};
    assert_non_null(mkdtemp(folder));
    snprintf(ca, sizeof ca, "%s/ca.pem", folder);
    snprintf(ca_key, sizeof ca_key, "%s/ca.key", folder);
    snprintf(cert, sizeof cert, "%s/node.pem", folder);
    snprintf(cert_key, sizeof cert_key, "%s/node.key", folder);
    const struct cert_request request = {.common_name = "node",
                                         .uri = "spiffe://test/node",
                                         .hosts = hosts,
                                         .host_count = 1,
                                         .server = true,
                                         .valid_days = 1};
    signal(SIGPIPE, SIG_IGN);
    return cert_create_ca("test", ca, ca_key, NULL) != ERR_OK ||
           cert_issue(&request, ca, ca_key, cert, cert_key, NULL) != ERR_OK;
}

static int remove_certificates(void **state)
{
    (void)state;
    const char *const files[] = {ca, ca_key, cert, cert_key};
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        unlink(files[i]);
    return rmdir(folder);
}

static int setup(void **state)
{
    (void)state;
    const struct tls_server_options server = {.files = {cert, cert_key, NULL}};
    const struct tls_files client = {.ca = ca};
    loop = ev_loop_new(EVFLAG_AUTO);
    chans = chan_loop_new(loop);
    http_limits_default(&limits);
    hold = drained = false;
    held = NULL;
    return tls_ctx_server(&server, NULL, &server_tls) != ERR_OK ||
           tls_ctx_client(&client, NULL, &client_tls) != ERR_OK ||
           new_front(&front) != ERR_OK || open_listener() != ERR_OK;
}

static int teardown(void **state)
{
    (void)state;
    http_front_free(front);
    chan_loop_free(chans);
    tls_ctx_unref(server_tls);
    tls_ctx_unref(client_tls);
    ev_loop_destroy(loop);
    return 0;
}

static void restart_front(void)
{
    http_front_free(front);
    assert_int_equal(new_front(&front), ERR_OK);
    assert_int_equal(open_listener(), ERR_OK);
}

/* -- tests ----------------------------------------------------------------- */

static void requests_are_answered_over_tls(void **state)
{
    (void)state;
    struct client a, b;
    client_start(&a, http_listener_port(listener));
    client_start(&b, http_listener_port(listener));
    RUN_UNTIL(a.open && b.open);
    exchange(&a, GET("/one"), "\r\n\r\n/one");
    exchange(&b, GET("/two"), "\r\n\r\n/two");
    exchange(&a, GET("/three") GET("/four"), "\r\n\r\n/four");
    assert_int_equal(http_front_counters(front)->connections_open, 2);
    client_end(&a);
    RUN_UNTIL(http_front_counters(front)->connections_open == 1);
    client_end(&b);
}

static void plain_http_is_not_spoken(void **state)
{
    (void)state;
    struct client a;
    client_start(&a, http_listener_port(listener));
    RUN_UNTIL(a.open);
    int fd = plain_socket(http_listener_port(listener));
    const struct http_counters *n = http_front_counters(front);
    RUN_UNTIL(n->connections_accepted == 2);
    static const char text[] = GET("/");
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    RUN_UNTIL(n->handshakes_failed == 1);
    close(fd);
    /* And the other connection is none the worse. */
    exchange(&a, GET("/fine"), "\r\n\r\n/fine");
    client_end(&a);
}

static void a_slow_handshake_is_cut_off(void **state)
{
    (void)state;
    limits.handshake_us = 50 * USEC_PER_MS;
    restart_front();
    int fd = plain_socket(http_listener_port(listener));
    RUN_UNTIL(http_front_counters(front)->handshakes_failed == 1);
    close(fd);
}

static void connections_are_bounded(void **state)
{
    (void)state;
    limits.connections = 1;
    restart_front();
    struct client a, b;
    client_start(&a, http_listener_port(listener));
    RUN_UNTIL(a.open);
    client_start(&b, http_listener_port(listener));
    RUN_UNTIL(b.closed);
    exchange(&a, GET("/fine"), "\r\n\r\n/fine");
    client_end(&a);
    client_end(&b);
}

static void ports_open_and_close_at_run_time(void **state)
{
    (void)state;
    struct http_listener *second;
    struct err_msg msg;
    assert_int_equal(
        http_listener_open(front, "127.0.0.1", 0, &tag, &second, &msg), ERR_OK);
    uint16_t port = http_listener_port(second);
    assert_int_not_equal(port, http_listener_port(listener));
    struct client a, b, c;
    client_start(&a, port);
    client_start(&b, http_listener_port(listener));
    RUN_UNTIL(a.open && b.open);
    hold = true;
    assert_int_equal(chan_write(a.chan, GET("/a"), sizeof GET("/a") - 1),
                     ERR_OK);
    RUN_UNTIL(held != NULL);
    http_listener_close(second);
    client_start(&c, port);
    RUN_UNTIL(c.closed);
    http_respond(TAKE(held), 200, bytes_str("last"));
    RUN_UNTIL(a.closed);
    assert_non_null(strstr(text_of(&a), "Connection: close\r\n"));
    assert_non_null(strstr(text_of(&a), "\r\n\r\nlast"));
    hold = false;
    exchange(&b, GET("/b"), "\r\n\r\n/b");
    assert_null(strstr(text_of(&b), "Connection: close"));
    client_end(&a);
    client_end(&b);
    client_end(&c);
}

static void who_has_connected_is_answered_though_the_port_closes(void **state)
{
    (void)state;
    struct client a;
    client_start(&a, http_listener_port(listener));
    /* The loop has not turned: the kernel alone knows of the connection. */
    http_listener_close(TAKE(listener));
    RUN_UNTIL(a.open);
    exchange(&a, GET("/late"), "\r\n\r\n/late");
    assert_non_null(strstr(text_of(&a), "Connection: close\r\n"));
    RUN_UNTIL(a.closed);
    client_end(&a);
}

static void a_port_is_shared_between_workers(void **state)
{
    (void)state;
    struct http_front *other;
    struct http_listener *shared;
    struct err_msg msg;
    assert_int_equal(new_front(&other), ERR_OK);
    assert_int_equal(http_listener_open(other, "127.0.0.1",
                                        http_listener_port(listener), &tag,
                                        &shared, &msg),
                     ERR_OK);
    assert_int_equal(http_listener_port(shared), http_listener_port(listener));
    http_front_free(other);
}

static void a_port_in_use_is_named(void **state)
{
    (void)state;
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    struct http_listener *l = NULL;
    struct err_msg msg;
    char port[8];
    snprintf(port, sizeof port, "%u", ntohs(at.sin_port));
    assert_int_equal(http_listener_open(front, "127.0.0.1", ntohs(at.sin_port),
                                        &tag, &l, &msg),
                     ERR_BUSY);
    assert_non_null(strstr(msg.text, "127.0.0.1"));
    assert_non_null(strstr(msg.text, port));
    assert_null(l);
    assert_int_equal(
        http_listener_open(front, "not an address", 1, &tag, &l, &msg),
        ERR_INVALID);
    close(fd);
}

static void on_drained(struct http_front *f, void *user)
{
    assert_ptr_equal(f, front);
    assert_null(user);
    drained = true;
}

static void a_drain_ends_in_order(void **state)
{
    (void)state;
    struct client a, b, c;
    uint16_t port = http_listener_port(listener);
    client_start(&a, port);
    client_start(&b, port);
    RUN_UNTIL(a.open && b.open);
    hold = true;
    assert_int_equal(chan_write(a.chan, GET("/a"), sizeof GET("/a") - 1),
                     ERR_OK);
    RUN_UNTIL(held != NULL);
    http_front_drain(front, USEC_PER_SEC, on_drained, NULL);
    client_start(&c, port);
    RUN_UNTIL(c.closed && b.closed);
    assert_false(drained);
    http_respond(TAKE(held), 200, bytes_str("last"));
    RUN_UNTIL(a.closed && drained);
    assert_non_null(strstr(text_of(&a), "Connection: close\r\n"));
    client_end(&a);
    client_end(&b);
    client_end(&c);
}

static void hold_one(struct client *client)
{
    client_start(client, http_listener_port(listener));
    RUN_UNTIL(client->open);
    hold = true;
    assert_int_equal(chan_write(client->chan, GET("/a"), sizeof GET("/a") - 1),
                     ERR_OK);
    RUN_UNTIL(held != NULL);
}

static void a_reset_is_one_for_the_client(void **state)
{
    (void)state;
    struct client a;
    hold_one(&a);
    http_reply_cut(held, HTTP_CUT_RESET);
    http_respond(TAKE(held), 200, bytes_str("lost"));
    RUN_UNTIL(a.closed);
    assert_string_equal(a.reason, strerror(ECONNRESET));
    assert_string_equal(text_of(&a), "");
    assert_int_equal(http_front_counters(front)->connections_open, 0);
    client_end(&a);
}

static void half_an_answer_ends_in_order(void **state)
{
    (void)state;
    struct client a;
    hold_one(&a);
    http_reply_cut(held, HTTP_CUT_HALF);
    http_respond(TAKE(held), 200, bytes_str("01234567"));
    RUN_UNTIL(a.closed);
    const char *blank = strstr(text_of(&a), "\r\n\r\n");
    assert_non_null(blank);
    assert_string_equal(blank + 4, "0123");
    client_end(&a);
}

static void a_delay_ends_by_itself(void **state)
{
    (void)state;
    struct client a;
    hold_one(&a);
    usec_t since = clock_mono_us();
    http_reply_delay(held, 20 * USEC_PER_MS);
    http_respond(TAKE(held), 200, bytes_str("late"));
    RUN_UNTIL(strstr(text_of(&a), "\r\n\r\nlate") != NULL);
    assert_true(clock_mono_us() - since >= 20 * USEC_PER_MS);
    client_end(&a);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(requests_are_answered_over_tls),
        TEST(plain_http_is_not_spoken),
        TEST(a_slow_handshake_is_cut_off),
        TEST(connections_are_bounded),
        TEST(ports_open_and_close_at_run_time),
        TEST(who_has_connected_is_answered_though_the_port_closes),
        TEST(a_port_is_shared_between_workers),
        TEST(a_port_in_use_is_named),
        TEST(a_drain_ends_in_order),
        TEST(a_reset_is_one_for_the_client),
        TEST(half_an_answer_ends_in_order),
        TEST(a_delay_ends_by_itself),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, make_certificates,
                                  remove_certificates);
}
