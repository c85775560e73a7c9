#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/base/log.h"
#include "node/base/mem.h"
#include "replication/link/chan_tls_impl.h"
#include "replication/link/resolve.h"

#define LISTENER_MAGIC MAGIC('l', 's', 't', 'n')
/* Accepted in one loop turn, so that a flood does not starve the others. */
#define ACCEPT_BATCH 32
/* Pause after the system had no descriptor or memory for a connection. */
#define ACCEPT_PAUSE_US (100 * USEC_PER_MS)

struct chan_listener {
    uint32_t magic;
    struct chan_loop *cl;
    struct tls_ctx *tls;
    struct chan_limits limits;
    const struct chan_judge *judge;
    void (*on_accept)(struct chan *c, void *user);
    void *user;
    int fd;
    int backlog;
    uint16_t port;
    unsigned channels_max;
    unsigned open;
    uint64_t refused;
    bool starving; /* logged once per episode */
    struct list channels;
    ev_io io;
    ev_timer pause;
};

/* -- accepting --------------------------------------------------------------
 */

static void adopt(struct chan_listener *l, int fd, const struct sockaddr *sa)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct chan_tls *t = chan_tls_new(l->cl, l->tls, &l->limits, l->judge);
    chan_format_addr(sa, t->base.addr);
    t->listener = l;
    list_push_back(&l->channels, &t->in_listener);
    l->open++;
    chan_tls_begin(t, fd, false);
    chan_enter(&t->base);
    l->on_accept(&t->base, l->user);
    chan_leave(&t->base);
}

/* No descriptors left, typically. The connection stays in the backlog; asking
 * again at once would only spin. */
static void starve(struct chan_listener *l, int errno_value)
{
    if (!l->starving)
        log_warn("accepting connections is paused",
                 LOG_STR("reason", strerror(errno_value)),
                 LOG_UINT("port", l->port), LOG_UINT("open", l->open));
    l->starving = true;
    ev_io_stop(l->cl->ev, &l->io);
    ev_timer_set(&l->pause, chan_loop_delay(l->cl, ACCEPT_PAUSE_US), 0.);
    ev_timer_start(l->cl->ev, &l->pause);
}

/* Takes one connection. False when there is none, or none can be taken. */
static bool accept_one(struct chan_listener *l)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    struct sockaddr *addr = (struct sockaddr *)(void *)&sa;
    int fd = accept4(l->fd, addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
            errno == ENOMEM)
            starve(l, errno);
        /* Anything else is about that one connection, or EAGAIN. */
        return errno == EINTR || errno == ECONNABORTED;
    }
    l->starving = false;
    if (l->open >= l->channels_max) {
        l->refused++;
        close(fd);
        return true;
    }
    adopt(l, fd, addr);
    return true;
}

static void accept_batch(struct chan_listener *l, int most)
{
    /* on_accept may free the listener; the watcher tells. */
    struct chan_loop *cl = l->cl;
    cl->accepting = l;
    for (int i = 0; i < most && cl->accepting == l; i++) {
        if (!accept_one(l))
            break;
    }
    cl->accepting = NULL;
}

static void on_accept_ready(struct ev_loop *ev, ev_io *w, int revents)
{
    (void)ev;
    (void)revents;
    struct chan_listener *l = w->data;
    CHECK_OBJ(l, LISTENER_MAGIC);
    accept_batch(l, ACCEPT_BATCH);
}

void chan_listener_take_waiting(struct chan_listener *l)
{
    CHECK_OBJ(l, LISTENER_MAGIC);
    accept_batch(l, l->backlog);
}

static void on_pause_over(struct ev_loop *ev, ev_timer *w, int revents)
{
    (void)revents;
    struct chan_listener *l = w->data;
    ev_io_start(ev, &l->io);
}

void chan_listener_forget(struct chan_listener *l, struct chan_tls *t)
{
    CHECK_OBJ(l, LISTENER_MAGIC);
    CHECK(l->open > 0);
    list_remove(&t->in_listener);
    l->open--;
}

/* -- opening and closing ----------------------------------------------------
 */

static int listen_error(struct err_msg *msg, const char *address, int value)
{
    int code = ERR_IO;
    if (value == EADDRINUSE)
        code = ERR_BUSY;
    else if (value == EACCES || value == EPERM)
        code = ERR_FORBIDDEN;
    else if (value == EADDRNOTAVAIL)
        code = ERR_NOT_FOUND;
    return err_set(msg, code, "cannot listen on %s: %s", address,
                   strerror(value));
}

/* A bound, listening socket, or -1 and errno. */
static int open_socket(const struct resolve_addr *addr, bool reuse_port,
                       int backlog)
{
    int fd = socket(addr->sa.ss_family,
                    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (addr->sa.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if ((reuse_port &&
         setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0) ||
        bind(fd, (const struct sockaddr *)(const void *)&addr->sa, addr->len) !=
            0 ||
        listen(fd, backlog) != 0) {
        int value = errno;
        close(fd);
        errno = value;
        return -1;
    }
    return fd;
}

static uint16_t socket_port(int fd)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    CHECK(getsockname(fd, (struct sockaddr *)(void *)&sa, &len) == 0);
    if (sa.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)(void *)&sa)->sin6_port);
    return ntohs(((struct sockaddr_in *)(void *)&sa)->sin_port);
}

int chan_listen(struct chan_loop *cl, const struct chan_listen_options *options,
                struct err_msg *msg, struct chan_listener **listener_out)
{
    CHECK(options->on_accept != NULL && options->tls != NULL);
    CHECK(options->channels_max > 0);
    char host[CHAN_HOST_MAX + 1];
    uint16_t port;
    struct resolve_addr addr;
    if (chan_split_address(options->address, host, &port) != ERR_OK ||
        resolve_numeric(host, port, &addr) != ERR_OK)
        return err_set(msg, ERR_INVALID,
                       "cannot listen on %s: not an address and port, such as "
                       "127.0.0.1:8081",
                       options->address);
    int backlog =
        options->backlog > 0 ? options->backlog : CHAN_BACKLOG_DEFAULT;
    int fd = open_socket(&addr, options->reuse_port, backlog);
    if (fd < 0)
        return listen_error(msg, options->address, errno);
    struct chan_listener *l = mem_zalloc(sizeof(*l));
    l->magic = LISTENER_MAGIC;
    l->cl = cl;
    cl->users++;
    l->tls = tls_ctx_ref(options->tls);
    l->limits = options->limits;
    l->judge = options->judge;
    l->on_accept = options->on_accept;
    l->user = options->user;
    l->channels_max = options->channels_max;
    l->fd = fd;
    l->backlog = backlog;
    l->port = socket_port(fd);
    list_init(&l->channels);
    ev_io_init(&l->io, on_accept_ready, fd, EV_READ);
    ev_timer_init(&l->pause, on_pause_over, 0., 0.);
    l->io.data = l->pause.data = l;
    ev_io_start(cl->ev, &l->io);
    *listener_out = l;
    return ERR_OK;
}

uint16_t chan_listener_port(const struct chan_listener *l)
{
    CHECK_OBJ(l, LISTENER_MAGIC);
    return l->port;
}

unsigned chan_listener_open(const struct chan_listener *l)
{
    CHECK_OBJ(l, LISTENER_MAGIC);
    return l->open;
}

uint64_t chan_listener_refused(const struct chan_listener *l)
{
    CHECK_OBJ(l, LISTENER_MAGIC);
    return l->refused;
}

void chan_listener_free(struct chan_listener *l)
{
    if (l == NULL)
        return;
    CHECK_OBJ(l, LISTENER_MAGIC);
    struct list *node;
    while ((node = list_pop_front(&l->channels)) != NULL)
        LIST_ENTRY(node, struct chan_tls, in_listener)->listener = NULL;
    if (l->cl->accepting == l)
        l->cl->accepting = NULL;
    ev_io_stop(l->cl->ev, &l->io);
    ev_timer_stop(l->cl->ev, &l->pause);
    close(l->fd);
    tls_ctx_unref(l->tls);
    CHECK(l->cl->users > 0);
    l->cl->users--;
    l->magic = 0;
    mem_free(l);
}
