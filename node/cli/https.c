#include "node/cli/https.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/base/text.h"
#include "node/config/config.h"

struct https {
    SSL_CTX *ctx;
};

/* One request under way. */
struct exchange {
    int fd;
    SSL *ssl;
    usec_t deadline_us;
    struct config_addr addr;
    const char *url; /* for messages */
    struct err_msg *msg;
};

/* ---- trust -----------------------------------------------------------------
 */

static int load_files(SSL_CTX *ctx, const char *ca, const char *cert,
                      const char *key, struct err_msg *msg)
{
    const char *missing = access(ca, R_OK) != 0                     ? ca
                          : cert != NULL && access(cert, R_OK) != 0 ? cert
                          : key != NULL && access(key, R_OK) != 0   ? key
                                                                    : NULL;
    if (missing != NULL)
        return err_set(msg, err_from_errno(errno), "%s: cannot read it: %s",
                       missing, strerror(errno));
    if (SSL_CTX_load_verify_file(ctx, ca) != 1)
        return err_set(msg, ERR_INVALID, "%s: not a CA certificate", ca);
    if (cert == NULL)
        return ERR_OK;
    if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1)
        return err_set(msg, ERR_INVALID, "%s: not a certificate", cert);
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        return err_set(msg, ERR_INVALID, "%s: not the private key of %s", key,
                       cert);
    return ERR_OK;
}

int https_new(const char *ca, const char *cert, const char *key,
              struct https **https_out, struct err_msg *msg)
{
    CHECK(ca != NULL);
    CHECK((cert == NULL) == (key == NULL));
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    CHECK(ctx != NULL);
    CHECK(SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    int err = load_files(ctx, ca, cert, key, msg);
    ERR_clear_error();
    if (err != ERR_OK) {
        SSL_CTX_free(ctx);
        return err;
    }
    struct https *h = mem_alloc(sizeof(*h));
    h->ctx = ctx;
    *https_out = h;
    return ERR_OK;
}

void https_free(struct https *h)
{
    if (h == NULL)
        return;
    SSL_CTX_free(h->ctx);
    mem_free(h);
}

/* ---- connecting ------------------------------------------------------------
 */

static int timed_out(const struct exchange *x)
{
    return err_set(x->msg, ERR_TIMEOUT, "%s: no answer in time", x->url);
}

/* Waits until the socket is ready for `events` or the deadline. */
static int wait_for(const struct exchange *x, short events)
{
    for (;;) {
        usec_t left = x->deadline_us - clock_mono_us();
        if (left <= 0)
            return timed_out(x);
        struct pollfd p = {.fd = x->fd, .events = events};
        int n = poll(&p, 1, (int)(left / USEC_PER_MS) + 1);
        if (n > 0)
            return ERR_OK;
        if (n < 0 && errno != EINTR)
            return err_set(x->msg, ERR_IO, "%s: %s", x->url, strerror(errno));
    }
}

static int connect_one(struct exchange *x, const struct addrinfo *ai)
{
    x->fd =
        socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (x->fd < 0)
        return err_set(x->msg, ERR_IO, "%s: %s", x->url, strerror(errno));
    int failure = 0;
    socklen_t len = sizeof(failure);
    if (connect(x->fd, ai->ai_addr, ai->ai_addrlen) != 0) {
        failure = errno;
        if (failure == EINPROGRESS) {
            int err = wait_for(x, POLLOUT);
            if (err != ERR_OK)
                return err;
            getsockopt(x->fd, SOL_SOCKET, SO_ERROR, &failure, &len);
        }
    }
    return failure == 0 ? ERR_OK
                        : err_set(x->msg, ERR_UNAVAILABLE, "%s: %s", x->url,
                                  strerror(failure));
}

static int connect_any(struct exchange *x)
{
    char port[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    snprintf(port, sizeof(port), "%u", x->addr.port);
    int code = getaddrinfo(x->addr.host, port, &hints, &list);
    if (code != 0)
        return err_set(x->msg, ERR_UNAVAILABLE, "%s: %s", x->url,
                       gai_strerror(code));
    int err = ERR_UNAVAILABLE;
    for (const struct addrinfo *ai = list; ai != NULL; ai = ai->ai_next) {
        err = connect_one(x, ai);
        if (err == ERR_OK || err == ERR_TIMEOUT)
            break;
        if (x->fd >= 0)
            close(x->fd);
        x->fd = -1;
    }
    freeaddrinfo(list);
    return err;
}

/* ---- TLS -------------------------------------------------------------------
 */

/* Decides what to do after an SSL call returned `result` <= 0: ERR_AGAIN after
 * waiting, ERR_EOF, or an error. */
static int ssl_again(struct exchange *x, int result)
{
    int err;
    switch (SSL_get_error(x->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        err = wait_for(x, POLLIN);
        return err == ERR_OK ? ERR_AGAIN : err;
    case SSL_ERROR_WANT_WRITE:
        err = wait_for(x, POLLOUT);
        return err == ERR_OK ? ERR_AGAIN : err;
    case SSL_ERROR_ZERO_RETURN:
        return ERR_EOF;
    default:
        break;
    }
    unsigned long code = ERR_peek_error();
    const char *why = code != 0 ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return err_set(x->msg, why != NULL ? ERR_AUTH : ERR_UNAVAILABLE,
                   "%s: TLS: %s", x->url,
                   why != NULL ? why : "the connection was closed");
}

static int handshake(struct exchange *x, struct https *h)
{
    unsigned char ip[sizeof(struct in6_addr)];
    bool literal = inet_pton(AF_INET, x->addr.host, ip) == 1 ||
                   inet_pton(AF_INET6, x->addr.host, ip) == 1;
    x->ssl = SSL_new(h->ctx);
    CHECK(x->ssl != NULL);
    CHECK(SSL_set_fd(x->ssl, x->fd) == 1);
    if (literal) {
        CHECK(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(x->ssl),
                                            x->addr.host) == 1);
    } else {
        CHECK(SSL_set1_host(x->ssl, x->addr.host) == 1);
        CHECK(SSL_set_tlsext_host_name(x->ssl, x->addr.host) == 1);
    }
    int err = ERR_AGAIN;
    while (err == ERR_AGAIN) {
        int result = SSL_connect(x->ssl);
        err = result == 1 ? ERR_OK : ssl_again(x, result);
    }
    return err == ERR_EOF
               ? err_set(x->msg, ERR_UNAVAILABLE,
                         "%s: closed during the TLS handshake", x->url)
               : err;
}

static int write_all(struct exchange *x, struct buf *request)
{
    while (buf_len(request) > 0) {
        int n = SSL_write(x->ssl, buf_bytes(request), (int)buf_len(request));
        if (n > 0) {
            buf_consume(request, (size_t)n);
            continue;
        }
        int err = ssl_again(x, n);
        if (err != ERR_AGAIN)
            return err;
    }
    return ERR_OK;
}

/* Whether `answer` holds a whole response; `head_out` gets the length of its
 * head and `body_out` that of its body. Our own nodes always send a length. */
static bool is_whole(struct buf *answer, size_t *head_out, size_t *body_out)
{
    static const char name[] = "\r\ncontent-length:";
    uint64_t length;
    const char *text = buf_cstr(answer);
    const char *blank = text != NULL ? strstr(text, "\r\n\r\n") : NULL;
    const char *field = blank != NULL ? strcasestr(text, name) : NULL;
    if (field == NULL || field > blank)
        return false;
    field += strlen(name);
    field += strspn(field, " ");
    if (text_parse_u64(bytes_of(field, strspn(field, "0123456789")),
                       HTTPS_ANSWER_MAX, &length) != ERR_OK)
        return false;
    *head_out = (size_t)(blank + 4 - text);
    *body_out = (size_t)length;
    return buf_len(answer) >= *head_out + *body_out;
}

/* Reads one whole response. */
static int read_answer(struct exchange *x, struct buf *answer, size_t *head_out,
                       size_t *body_out)
{
    while (!is_whole(answer, head_out, body_out)) {
        char step[16384];
        int n = SSL_read(x->ssl, step, sizeof(step));
        if (n > 0) {
            int err = buf_append(answer, step, (size_t)n);
            if (err != ERR_OK)
                return err_set(x->msg, err, "%s: the answer is too long",
                               x->url);
            continue;
        }
        int err = ssl_again(x, n);
        if (err == ERR_EOF)
            return err_set(x->msg, ERR_PROTOCOL, "%s: not an HTTP answer",
                           x->url);
        if (err != ERR_AGAIN)
            return err;
    }
    return ERR_OK;
}

/* ---- HTTP ------------------------------------------------------------------
 */

static int parse_url(struct exchange *x)
{
    static const char scheme[] = "https://";
    char text[CONFIG_HOST_MAX + 16];
    size_t len = strcspn(x->url + strlen(scheme), "/");
    if (strncmp(x->url, scheme, strlen(scheme)) != 0 || len + 5 >= sizeof(text))
        return err_set(x->msg, ERR_INVALID,
                       "\"%.200s\": expected a URL as https://host:port/",
                       x->url);
    memcpy(text, x->url + strlen(scheme), len);
    text[len] = '\0';
    if (config_parse_addr(text, &x->addr, NULL) == ERR_OK)
        return ERR_OK;
    strcat(text, ":443"); /* there is room, see above */
    return config_parse_addr(text, &x->addr, x->msg);
}

/* The head of a request, and its body if there is one. */
static int put_request(const struct exchange *x, const char *method,
                       const char *path, const char *body, struct buf *out)
{
    int err = buf_printf(out,
                         "%s /%s HTTP/1.1\r\nHost: %s:%u\r\n"
                         "Connection: close\r\n",
                         method, path, x->addr.host, x->addr.port);
    if (err == ERR_OK && body != NULL)
        err = buf_printf(out,
                         "Content-Type: application/json\r\n"
                         "Content-Length: %zu\r\n",
                         strlen(body));
    if (err == ERR_OK)
        err = buf_append_str(out, "\r\n");
    if (err == ERR_OK && body != NULL)
        err = buf_append_str(out, body);
    return err;
}

static int exchange_run(struct exchange *x, struct https *h, const char *method,
                        const char *path, const char *sent, int *status_out,
                        struct buf *body)
{
    struct buf request, answer;
    size_t head_len = 0, body_len = 0;
    int status = 0;
    buf_init(&request, HTTPS_REQUEST_MAX + 4096);
    buf_init(&answer, HTTPS_ANSWER_MAX);
    int err = parse_url(x);
    if (err == ERR_OK)
        err = connect_any(x);
    if (err == ERR_OK)
        err = handshake(x, h);
    if (err == ERR_OK)
        err = put_request(x, method, path, sent, &request);
    if (err == ERR_OK)
        err = write_all(x, &request);
    if (err == ERR_OK)
        err = read_answer(x, &answer, &head_len, &body_len);
    if (err == ERR_OK &&
        sscanf((const char *)buf_bytes(&answer), "HTTP/1.1 %3d ", &status) != 1)
        err = err_set(x->msg, ERR_PROTOCOL, "%s: not an HTTP answer", x->url);
    if (err == ERR_OK)
        err = buf_append(body, buf_bytes(&answer) + head_len, body_len);
    if (err == ERR_OK)
        *status_out = status;
    buf_free(&request);
    buf_free(&answer);
    return err;
}

int https_call(struct https *h, const char *method, const char *url,
               const char *path, const char *request, usec_t timeout_us,
               int *status_out, struct buf *body, struct err_msg *msg)
{
    CHECK(h != NULL && url != NULL && path != NULL);
    struct exchange x = {.fd = -1,
                         .deadline_us = clock_mono_us() + timeout_us,
                         .url = url,
                         .msg = msg};
    int err = exchange_run(&x, h, method, path, request, status_out, body);
    SSL_free(x.ssl);
    if (x.fd >= 0)
        close(x.fd);
    ERR_clear_error();
    return err;
}

int https_get(struct https *h, const char *url, const char *path,
              usec_t timeout_us, int *status_out, struct buf *body,
              struct err_msg *msg)
{
    return https_call(h, "GET", url, path, NULL, timeout_us, status_out, body,
                      msg);
}
