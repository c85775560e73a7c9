/* Channels over TLS and TCP on libev: listener, accept, connect.
 *
 * OpenSSL never sees a descriptor. Once a loop turn at most, a readable socket
 * is read by one recv(2) into a scratch buffer that all channels of the loop
 * share, and decrypted from there; what users queued with chan_write is
 * encrypted and sent by one send(2) per channel just before the loop sleeps.
 * So the answers to pipelined requests share records and system calls, and an
 * idle channel holds no I/O buffers beyond `idle_keep`.
 *
 *     recv -> scratch -> SSL_read -> chan_input -> on_data
 *     chan_write -> output -> SSL_write -> scratch -> send
 *                                            \-> leftover, when the socket is
 *                                                full: sent when writable
 *
 * Order within a loop turn (libev prepare watchers, by priority):
 *   EV_MAXPRI  channels whose input was full and now has room, or that hold
 *              bytes inside OpenSSL, go on and call on_data
 *   0          the node's own hook: persist, release answers (chan_write)
 *   EV_MINPRI  everything queued is sent. If that called anybody back
 *              (on_close, on_writable), the loop makes one more turn without
 *              sleeping.
 *
 * The process must not care about SIGPIPE: all sends use MSG_NOSIGNAL.
 */
#ifndef BASTIDE_REPLICATION_LINK_CHAN_TLS_H
#define BASTIDE_REPLICATION_LINK_CHAN_TLS_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/clock.h"
#include "node/base/err.h"
#include "replication/link/chan.h"
#include "replication/link/tls_ctx.h"

/* What all channels of one loop share: scratch buffers and the hooks above.
 * One per loop and thread. */
struct chan_loop;

struct chan_loop *chan_loop_new(struct ev_loop *loop);
/* After the last channel and listener of it were freed. NULL is allowed. */
void chan_loop_free(struct chan_loop *cl);
/* Sends everything queued now instead of at the end of the turn. Not from
 * inside a channel's callback. */
void chan_loop_flush(struct chan_loop *cl);
struct ev_loop *chan_loop_ev(const struct chan_loop *cl);

struct chan_limits {
    size_t input_max;            /* most bytes chan_input holds */
    size_t output_max;           /* most unsent bytes */
    usec_t handshake_timeout_us; /* TCP and TLS together; then ERR_TIMEOUT */
    size_t idle_keep; /* an empty buffer larger than this is given back */
};
#define CHAN_INPUT_MAX_DEFAULT (256 * 1024)
#define CHAN_OUTPUT_MAX_DEFAULT (8 * 1024 * 1024)
#define CHAN_HANDSHAKE_TIMEOUT_US (10 * USEC_PER_SEC)
#define CHAN_IDLE_KEEP_DEFAULT 4096

/* Who may refuse a peer's certificate that OpenSSL has found good: fault
 * injection does. Asked during the handshake, with the certificate's URI (NULL:
 * it names none); must not call the channel. */
enum chan_verdict {
    CHAN_CERT_ACCEPTED,
    CHAN_CERT_EXPIRED, /* what a certificate that is expired gives, and so on */
    CHAN_CERT_REVOKED,
    CHAN_CERT_REFUSED /* for no reason that is told: handshake failure */
};
struct chan_judge {
    enum chan_verdict (*judge)(void *user, const char *uri);
    void *user;
};
/* "certificate refused: certificate has expired": what on_close says of it. */
const char *chan_verdict_reason(enum chan_verdict verdict);

/* -- listening ------------------------------------------------------------ */

struct chan_listener;

struct chan_listen_options {
    /* "127.0.0.1:8081", "[::]:8081", ":8081" (all IPv4 addresses); a name is
     * not accepted. Port 0 lets the system choose. Borrowed. */
    const char *address;
    bool reuse_port;       /* SO_REUSEPORT: workers and processes may share */
    int backlog;           /* 0: CHAN_BACKLOG_DEFAULT */
    unsigned channels_max; /* open at once; beyond it new ones are closed */
    struct tls_ctx *tls;   /* the listener takes its own reference */
    struct chan_limits limits; /* zero fields mean the defaults above */
    /* A connection arrived; the handshake has not begun. The user owns `c`, and
     * calls chan_set_handler (or chan_free) before it returns. */
    void (*on_accept)(struct chan *c, void *user);
    void *user;
    const struct chan_judge *judge; /* outlives the channels; may be NULL */
};
#define CHAN_BACKLOG_DEFAULT 511

/* ERR_OK; or with a message that names the address: ERR_INVALID (not an
 * address), ERR_BUSY (in use), ERR_FORBIDDEN (privileged port), ERR_NOT_FOUND
 * (no such local address), ERR_IO. */
int chan_listen(struct chan_loop *cl, const struct chan_listen_options *options,
                struct err_msg *msg, struct chan_listener **listener_out);
uint16_t chan_listener_port(const struct chan_listener *l);
unsigned chan_listener_open(const struct chan_listener *l); /* channels */
/* Connections closed because channels_max were open. */
uint64_t chan_listener_refused(const struct chan_listener *l);
/* Accepts now, without waiting for the loop, whoever has connected already.
 * Before chan_listener_free it spares them a reset: the kernel ends what waits
 * in the backlog of a socket that is closed. */
void chan_listener_take_waiting(struct chan_listener *l);
/* Stops listening and closes the socket at once; accepted channels live on.
 * NULL is allowed. */
void chan_listener_free(struct chan_listener *l);

/* -- connecting ----------------------------------------------------------- */

struct chan_connect_options {
    /* "10.0.0.7:7000", "[::1]:7000" or "name:7000". A name is looked up on a
     * thread of its own, never on the loop. Borrowed. */
    const char *address;
    struct tls_ctx *tls; /* the channel takes its own reference */
    struct chan_limits limits;
    const struct chan_handler *handler;
    void *user;
    const struct chan_judge *judge; /* outlives the channel; may be NULL */
};

/* Always gives a channel in state "opening"; an address that cannot be reached
 * or looked up ends in on_close with ERR_IO and a reason, a refused or failed
 * handshake with ERR_AUTH. ERR_INVALID when `address` has no port. */
int chan_connect(struct chan_loop *cl,
                 const struct chan_connect_options *options,
                 struct err_msg *msg, struct chan **chan_out);

/* Splits "host:port" as above. `host_out` receives the host without brackets
 * ("" when it is left out). ERR_INVALID when there is no valid port or the
 * host is longer than CHAN_HOST_MAX. */
#define CHAN_HOST_MAX 255
int chan_split_address(const char *address, char host_out[CHAN_HOST_MAX + 1],
                       uint16_t *port_out);

#endif
