/* Dialing: the address is looked up if it is a name, then each of its addresses
 * is tried in turn until TCP connects; from there on it is chan_tls.c's. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/base/mem.h"
#include "node/base/text.h"
#include "replication/link/chan_tls_impl.h"
#include "replication/link/resolve.h"
#include "replication/link/tls_ctx_impl.h"

struct dial {
    struct chan_tls *t;
    struct lookup *lookup; /* NULL when none is under way */
    size_t n;
    size_t next; /* address to try next */
    struct resolve_addr addrs[RESOLVE_ADDRS_MAX];
};

int chan_split_address(const char *address, char host_out[CHAN_HOST_MAX + 1],
                       uint16_t *port_out)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL)
        return ERR_INVALID;
    uint64_t port;
    if (text_parse_u64(bytes_str(colon + 1), UINT16_MAX, &port) != ERR_OK)
        return ERR_INVALID;
    const char *host = address;
    size_t len = (size_t)(colon - address);
    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    } else if (memchr(host, ':', len) != NULL) {
        return ERR_INVALID; /* IPv6 without brackets: where is the port? */
    }
    if (len > CHAN_HOST_MAX)
        return ERR_INVALID;
    memcpy(host_out, host, len);
    host_out[len] = '\0';
    *port_out = (uint16_t)port;
    return ERR_OK;
}

void chan_dial_free(struct dial *d)
{
    if (d == NULL)
        return;
    if (d->lookup != NULL)
        lookup_cancel(d->lookup);
    mem_free(d);
}

static void on_connected(struct ev_loop *ev, ev_io *w, int revents);

/* Starts connecting to one address; 0 or an errno value. */
static int try_addr(struct chan_tls *t, const struct resolve_addr *addr)
{
    const struct sockaddr *sa = (const void *)&addr->sa;
    int fd =
        socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(fd, sa, addr->len) != 0 && errno != EINPROGRESS) {
        int value = errno;
        close(fd);
        return value;
    }
    t->fd = fd;
    chan_format_addr(sa, t->base.addr);
    ev_set_cb(&t->wr, on_connected);
    ev_io_set(&t->wr, fd, EV_WRITE);
    ev_io_start(t->cl->ev, &t->wr);
    return 0;
}

static void try_next(struct chan_tls *t, int why)
{
    struct dial *d = t->dial;
    while (d->next < d->n) {
        why = try_addr(t, &d->addrs[d->next++]);
        if (why == 0)
            return;
    }
    chan_tls_fail_later(t, ERR_IO, strerror(why));
}

static void on_connected(struct ev_loop *ev, ev_io *w, int revents)
{
    (void)revents;
    struct chan_tls *t = w->data;
    int why = 0;
    socklen_t len = sizeof(why);
    CHECK(getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &why, &len) == 0);
    if (why != 0) {
        ev_io_stop(ev, &t->wr);
        close(t->fd);
        t->fd = -1;
        try_next(t, why);
        return;
    }
    chan_dial_free(TAKE(t->dial));
    chan_enter(&t->base);
    chan_tls_begin(t, t->fd, true);
    chan_leave(&t->base);
}

static void on_lookup(void *user, int err, const char *reason,
                      const struct resolve_addr *addrs, size_t n)
{
    struct dial *d = user;
    d->lookup = NULL;
    if (err != ERR_OK) {
        chan_tls_fail_later(d->t, err, reason);
        return;
    }
    d->n = n;
    memcpy(d->addrs, addrs, n * sizeof(*addrs));
    try_next(d->t, 0);
}

/* Peers are known by their URI, which the layer above checks; others by the
 * name or address that was dialed (RFC 9110 section 4.3.4). */
static void expect_name(struct chan_tls *t, const struct tls_ctx *tls,
                        const char *host, bool numeric)
{
    if (tls_ctx_kind(tls) == TLS_KIND_PEER)
        return;
    if (numeric) {
        X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);
        CHECK(X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1);
    } else {
        CHECK(SSL_set1_host(t->ssl, host) == 1);
        CHECK(SSL_set_tlsext_host_name(t->ssl, host) == 1);
    }
}

static void begin_lookup(struct chan_loop *cl, struct dial *d, const char *host,
                         uint16_t port)
{
    if (cl->resolver == NULL)
        cl->resolver = resolver_new(cl->ev);
    if (lookup_start(cl->resolver, host, port, on_lookup, d, &d->lookup) !=
        ERR_OK)
        chan_tls_fail_later(d->t, ERR_IO, "too many name lookups under way");
}

int chan_connect(struct chan_loop *cl,
                 const struct chan_connect_options *options,
                 struct err_msg *msg, struct chan **chan_out)
{
    char host[CHAN_HOST_MAX + 1];
    uint16_t port;
    if (chan_split_address(options->address, host, &port) != ERR_OK ||
        host[0] == '\0')
        return err_set(msg, ERR_INVALID,
                       "cannot connect to %s: not an address and port, such "
                       "as 127.0.0.1:8081",
                       options->address);
    struct chan_tls *t =
        chan_tls_new(cl, options->tls, &options->limits, options->judge);
    chan_set_handler(&t->base, options->handler, options->user);
    snprintf(t->base.addr, sizeof(t->base.addr), "%s", options->address);
    struct dial *d = mem_zalloc(sizeof(*d));
    d->t = t;
    t->dial = d;
    bool numeric = resolve_numeric(host, port, &d->addrs[0]) == ERR_OK;
    expect_name(t, options->tls, host, numeric);
    if (numeric) {
        d->n = 1;
        try_next(t, 0);
    } else {
        begin_lookup(cl, d, host, port);
    }
    *chan_out = &t->base;
    return ERR_OK;
}
