/* Shared by chan_loop.c, chan_tls.c, chan_listen.c and chan_connect.c. */
#ifndef BASTIDE_REPLICATION_LINK_CHAN_TLS_IMPL_H
#define BASTIDE_REPLICATION_LINK_CHAN_TLS_IMPL_H

#include <openssl/bio.h>
#include <openssl/ssl.h>

#include "node/base/list.h"
#include "replication/link/chan_impl.h"
#include "replication/link/chan_tls.h"

#define CHAN_LOOP_MAGIC MAGIC('c', 'l', 'o', 'p')
/* One recv, and about one send, at most. */
#define CHAN_RX_SIZE (64 * 1024)
#define CHAN_TX_FLUSH (64 * 1024)
/* What one flush step may add beyond CHAN_TX_FLUSH: another step's records,
 * each with its overhead, and an alert. */
#define CHAN_TX_MAX (4 * CHAN_TX_FLUSH)
/* Plaintext given to SSL_write at once: four full records. */
#define CHAN_ENCRYPT_STEP (64 * 1024)
#define CHAN_RECORD_MAX (16 * 1024)

struct dial;
struct resolver;

struct chan_loop {
    uint32_t magic;
    struct ev_loop *ev;
    ev_prepare resume_hook;
    ev_prepare flush_hook;
    ev_timer again;      /* zero delay: the loop must not sleep yet */
    struct list dirty;   /* channels with output to move */
    struct list stalled; /* channels with input to go on with */
    unsigned users;      /* channels and listeners alive */
    bool called_back;    /* by the flush under way */
    BIO_METHOD *bio;
    struct resolver *resolver;       /* NULL until a name was looked up */
    struct chan_listener *accepting; /* whose turn it is; NULL: nobody's */
    uint8_t *rx;                     /* CHAN_RX_SIZE bytes */
    struct buf tx; /* ciphertext of the channel at work; else empty */
};

struct chan_tls {
    struct chan base;
    struct chan_loop *cl;
    struct chan_listener *listener; /* that counts it; NULL for dialed ones */
    struct list in_listener;
    struct dial *dial; /* until TCP is connected; NULL for accepted ones */
    SSL *ssl;
    int fd; /* -1: none (yet, or any more) */
    ev_io rd;
    ev_io wr;
    ev_timer timer; /* handshake, then closing */
    struct list dirty;
    struct list stalled;
    /* Ciphertext that OpenSSL is to read next: in cl->rx, or in `unread`. */
    const uint8_t *rx;
    size_t rx_left;
    struct buf unread; /* read from the socket, not wanted by OpenSSL yet */
    struct buf unsent; /* encrypted, not taken by the socket yet */
    size_t idle_keep;
    bool shut;         /* close_notify is on its way */
    bool peer_done;    /* while closing: the peer sent its FIN */
    int fail_err;      /* to be reported from the loop: chan_tls_fail_later */
    char *fail_reason; /* owned */
};

/* `judge` may be NULL. */
struct chan_tls *chan_tls_new(struct chan_loop *cl, struct tls_ctx *tls,
                              const struct chan_limits *limits,
                              const struct chan_judge *judge);
/* Sets the socket (non-blocking, owned from now on) and shakes hands, as client
 * when `connect`. */
void chan_tls_begin(struct chan_tls *t, int fd, bool connect);
/* The same at the end of the loop turn, for use outside callbacks. */
void chan_tls_fail_later(struct chan_tls *t, int err, const char *reason);
static inline struct chan_tls *chan_tls_of(struct chan *c)
{
    CHECK_OBJ(c, CHAN_MAGIC);
    return (struct chan_tls *)(void *)c;
}

/* Moves what the channel has queued; calls back. */
void chan_tls_flush(struct chan_tls *t);
/* Goes on with a stalled channel if its input has room now. */
void chan_tls_resume(struct chan_tls *t);
bool chan_tls_can_resume(const struct chan_tls *t);

/* BIO callbacks' method, for chan_loop.c to create. */
BIO_METHOD *chan_tls_bio_method(void);

void chan_listener_forget(struct chan_listener *l, struct chan_tls *t);
void chan_dial_free(struct dial *d); /* NULL is allowed */

/* "10.0.0.7:7000", "[::1]:7000". */
struct sockaddr;
void chan_format_addr(const struct sockaddr *sa, char out[CHAN_ADDR_MAX + 1]);

/* An ev_timer or watcher delay from now, not from when the loop last looked. */
double chan_loop_delay(const struct chan_loop *cl, usec_t after_us);

#endif
