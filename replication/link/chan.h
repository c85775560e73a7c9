/* A byte channel on an event loop: TLS over TCP in production, memory in
 * tests. The layers above (HTTP, peer frames) never know which is underneath.
 *
 * Life: made by a factory of chan_tls.h or chan_mem.h, in state "opening".
 * Then, always from the loop and never from inside a chan_* call made by the
 * user (so callbacks do not re-enter):
 *
 *     on_open                  once, when the handshake is complete
 *     on_data                  new bytes are in chan_input()
 *     on_writable              the output fell to CHAN_OUTPUT_LOW or less after
 *                              a chan_write had answered ERR_FULL
 *     on_close(err)            once, last: ERR_EOF (peer closed in order),
 *                              ERR_AUTH (handshake refused), ERR_TIMEOUT,
 *                              ERR_IO; `chan_reason` says it in words
 *
 * The user calls chan_free exactly once, whenever it wants (inside a callback
 * is allowed); no callback follows. A channel belongs to one loop and thread.
 */
#ifndef BASTIDE_REPLICATION_LINK_CHAN_H
#define BASTIDE_REPLICATION_LINK_CHAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"

/* Below this much unsent output, a writer that was told ERR_FULL hears
 * on_writable. */
#define CHAN_OUTPUT_LOW (64 * 1024)

struct chan;

struct chan_handler {
    void (*on_open)(struct chan *c, void *user);
    void (*on_data)(struct chan *c, void *user);
    void (*on_writable)(struct chan *c, void *user);
    void (*on_close)(struct chan *c, void *user, int err);
};

/* Sets who is called; `h` must outlive the channel. May be changed at any
 * time (a listener hands an accepted channel to its connection object). */
void chan_set_handler(struct chan *c, const struct chan_handler *h, void *user);

/* Bytes received and not yet consumed; the user takes them with buf_consume.
 * At most the `input_max` given at creation is held: when it is full, reading
 * stops until the user consumes. The pointer lives as long as the channel. */
struct buf *chan_input(struct chan *c);

/* Queues bytes; they leave before the loop sleeps, as few records and system
 * calls as possible. ERR_FULL when unsent output would pass `output_max`
 * (nothing is queued), ERR_CLOSED after close. */
int chan_write(struct chan *c, const void *data, size_t len);
size_t chan_output_len(const struct chan *c); /* unsent bytes */
/* How many bytes of all that was ever queued may have left: bytes beyond this
 * count have certainly not reached the peer. Valid until chan_free. */
uint64_t chan_sent(const struct chan *c);

/* Stops and starts reading from the socket (back-pressure). Data already in
 * chan_input stays. Starts enabled. */
void chan_read_stop(struct chan *c);
void chan_read_start(struct chan *c);

/* Sends what is queued, then closes in order (TLS close_notify). on_close
 * follows with ERR_EOF, or ERR_TIMEOUT after CHAN_CLOSE_TIMEOUT_MS. */
#define CHAN_CLOSE_TIMEOUT_MS 2000
void chan_close_when_sent(struct chan *c);

/* Makes the coming chan_free a reset (TCP RST) instead of an orderly end: the
 * peer's next read or write fails. What is queued and unsent is dropped, and
 * more cannot be written (ERR_CLOSED). For faults on request. */
void chan_reset(struct chan *c);

/* The peer's certificate URI SAN ("spiffe://..."), NULL without a client
 * certificate. Valid after on_open, as long as the channel. */
const char *chan_peer_uri(const struct chan *c);
/* What names this TLS connection and no other, and both ends know alike: the
 * channel binding "tls-exporter" of RFC 9266. No secret. Zeros in memory
 * (chan_mem.h) and below TLS 1.3. Valid after on_open, as long as the channel.
 */
#define CHAN_BINDING_LEN 32
const uint8_t *chan_binding(const struct chan *c);
/* "127.0.0.1:54321", for logs. */
const char *chan_peer_addr(const struct chan *c);
/* Why it closed, in words: "certificate has expired". */
const char *chan_reason(const struct chan *c);

/* Frees it; closes the socket at once if still open. NULL is allowed. */
void chan_free(struct chan *c);

#endif
