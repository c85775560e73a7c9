/* The HTTPS front with a handler that does nothing: what TLS and HTTP cost by
 * themselves. Answers what `bastide bench` asks, so that it can be its target.
 *
 *     front DIR PORT    makes DIR/ca.pem and a certificate, serves until killed
 */
#include <ev.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "node/base/check.h"
#include "node/crypt/cert.h"
#include "node/http/http.h"
#include "replication/link/chan_tls.h"

static char document[1200];

/* As many headers as the API adds to a document's answer. */
static void on_request(struct http_request *r, void *user)
{
    (void)user;
    http_reply_header_str(r, "Content-Type", "application/json");
    http_reply_header_str(r, "Cache-Control", "no-store, no-cache");
    http_reply_header_str(r, "x-ms-version", "2020-07-15");
    http_reply_header_str(r, "x-ms-activity-id",
                          "b1c1e6cc-6ad4-4a2b-8c5a-5d7d5f0c3a11");
    http_reply_header_str(r, "x-ms-request-charge", "6.29");
    http_reply_header_str(r, "x-ms-session-token", "0:-1#12345678");
    http_reply_header_str(r, "etag", "\"0000-0001-0000000000000000\"");
    http_reply_header_u64(r, "lsn", 12345678);
    http_reply_header_str(r, "x-ms-alt-content-path", "dbs/bench/colls/bench");
    bool read = r->method == HTTP_METHOD_GET;
    http_respond(r, read ? 200 : 201, bytes_of(document, sizeof document));
}

static const struct http_handler handler = {.on_request = on_request};

static struct http_front *front;

static void on_signal(struct ev_loop *loop, ev_signal *watcher, int events)
{
    (void)watcher, (void)events;
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    double us = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
                (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
    uint64_t requests = http_front_counters(front)->requests;
    fprintf(stderr, "front: %llu requests, %.1f us of CPU each, %ld KiB\n",
            (unsigned long long)requests,
            requests > 0 ? us / (double)requests : 0, u.ru_maxrss);
    ev_break(loop, EVBREAK_ALL);
}

static void make_certificates(const char *dir, char cert[PATH_MAX],
                              char key[PATH_MAX])
{
    static const char *const hosts[] = {"127.0.0.1"};
    char ca[PATH_MAX], ca_key[PATH_MAX];
    snprintf(ca, sizeof ca, "%s/ca.pem", dir);
    snprintf(ca_key, sizeof ca_key, "%s/ca.key", dir);
    snprintf(cert, PATH_MAX, "%s/front.pem", dir);
    snprintf(key, PATH_MAX, "%s/front.key", dir);
    const struct cert_request request = {.common_name = "front",
                                         .uri = "spiffe://bench/front",
                                         .hosts = hosts,
                                         .host_count = 1,
                                         .server = true,
                                         .valid_days = 1};
    struct err_msg msg;
    int err = cert_create_ca("bench", ca, ca_key, &msg);
    if (err == ERR_OK)
        err = cert_issue(&request, ca, ca_key, cert, key, &msg);
    if (err != ERR_OK && err != ERR_EXISTS) {
        fprintf(stderr, "front: %s\n", msg.text);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: front DIR PORT\n");
        return 2;
    }
    char cert[PATH_MAX], key[PATH_MAX];
    make_certificates(argv[1], cert, key);
    memset(document, 'x', sizeof document);

    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    struct err_msg msg;
    struct http_listener *listener;
    const struct tls_server_options tls = {.files = {cert, key, NULL}};
    struct http_front_options options = {.loop = chan_loop_new(loop),
                                         .handler = &handler};
    http_limits_default(&options.limits);
    if (tls_ctx_server(&tls, &msg, &options.tls) != ERR_OK ||
        http_front_new(&options, &front, &msg) != ERR_OK ||
        http_listener_open(front, "127.0.0.1", (uint16_t)atoi(argv[2]), NULL,
                           &listener, &msg) != ERR_OK) {
        fprintf(stderr, "front: %s\n", msg.text);
        return 1;
    }
    ev_signal watcher;
    ev_signal_init(&watcher, on_signal, SIGTERM);
    ev_signal_start(loop, &watcher);
    ev_run(loop, 0);
    http_front_free(front);
    chan_loop_free(options.loop);
    tls_ctx_unref(options.tls);
    ev_loop_destroy(loop);
    return 0;
}
