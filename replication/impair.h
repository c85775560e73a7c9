/* Impairments of a link: what a bad network does to it, on purpose. Pure.
 *
 * A direction of a link can be slow, unsteady, lossy or cut. links.c applies
 * that to the frames of a peer; tests, `bastide demo --latency` and fault
 * injection set it (links_impair).
 *
 *     delay, jitter   every frame waits that long (plus a random part of the
 *                     jitter) before it leaves. Order is kept, as in TCP: a
 *                     frame never overtakes one before it
 *     loss            that many of 1000 Raft messages are never sent. Only
 *                     Raft's, because nothing else repeats what it says
 *     duplicates      that many of 1000 Raft messages are sent twice
 *     bandwidth       no more than kbit_per_second leave: the rest waits
 *     cut             nothing leaves or nothing is read, pings neither, and no
 *                     connection is made. What was sent waits, as it would in
 *                     the kernel, and arrives if the cut heals before the
 *                     silence ends the connection
 *     slow close      the end of a connection that was up is noticed later,
 *                     unless silence or a new connection tells before
 *     handshakes      that many of 1000 TLS handshakes fail, as this node
 *                     refuses what the peer shows; an open connection is ended
 *                     once
 *     certificate     likewise always, with the reason that such a certificate
 *                     gives
 */
#ifndef BASTIDE_REPLICATION_IMPAIR_H
#define BASTIDE_REPLICATION_IMPAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/base/clock.h"
#include "node/base/prng.h"

#define IMPAIR_DELAY_MAX_US (60 * USEC_PER_SEC)
#define IMPAIR_JITTER_MAX_US (60 * USEC_PER_SEC)

enum impair_direction {
    IMPAIR_OUT, /* what this node sends to the peer: delay, jitter, loss,
                 * duplicates, kbit_per_second, cut */
    IMPAIR_IN   /* what the peer sends to this node, as far as that is this
                 * node's to do: cut, slow close, handshakes, certificate */
};

/* What is wrong with the peer's certificate. */
enum impair_certificate {
    IMPAIR_CERT_GOOD,
    IMPAIR_CERT_EXPIRED,
    IMPAIR_CERT_REVOKED,
    IMPAIR_CERT_WRONG_REGION
};

struct impairment {
    uint32_t delay_us;      /* at most IMPAIR_DELAY_MAX_US */
    uint32_t jitter_us;     /* at most IMPAIR_JITTER_MAX_US */
    uint32_t loss_permille; /* 0..1000, as all of these */
    uint32_t duplicate_permille;
    uint32_t kbit_per_second; /* 0: no bound */
    uint32_t close_delay_us;  /* at most IMPAIR_DELAY_MAX_US */
    uint32_t handshake_permille;
    enum impair_certificate certificate;
    bool cut;
};

bool impairment_equal(const struct impairment *a, const struct impairment *b);
static inline bool impairment_none(const struct impairment *i)
{
    static const struct impairment none = {.cut = false};
    return impairment_equal(i, &none);
}
/* Whether it is within the bounds above and makes sense for the direction. */
bool impairment_ok(enum impair_direction direction, const struct impairment *i);
/* Adds another to `i`, as if frames had to pass both: delays add up (to the
 * bounds above), losses and the like are independent, the lower rate and the
 * longer slow close hold, and the first bad certificate. */
void impairment_add(struct impairment *i, const struct impairment *other);
/* Draws from `prng` whether a Raft message is lost, or sent twice, and whether
 * a handshake fails. */
bool impairment_loses(const struct impairment *i, struct prng *prng);
bool impairment_duplicates(const struct impairment *i, struct prng *prng);
bool impairment_fails_handshake(const struct impairment *i, struct prng *prng);

/* Bytes that wait for their time. A run is what leaves together: beyond
 * DELAY_RUNS_MAX of them, the last run takes more and leaves later. */
#define DELAY_RUNS_MAX 65536
/* Runs whose times differ by less than this are one. */
#define DELAY_RUN_US 50

struct delay_run {
    usec_t due_us;
    size_t len;
};

struct delay_line {
    struct buf bytes;
    struct buf runs; /* of struct delay_run, oldest first */
};

/* `max`: most bytes that wait. */
void delay_line_init(struct delay_line *d, size_t max);
void delay_line_free(struct delay_line *d); /* ready for use again */

static inline size_t delay_line_len(const struct delay_line *d)
{
    return buf_len(&d->bytes);
}
/* Adds bytes that are due at `due_us`, or with the bytes before them if that is
 * later. ERR_LIMIT, ERR_NO_MEMORY: nothing was added. */
int delay_line_put(struct delay_line *d, usec_t due_us, const void *data,
                   size_t len);
/* Nothing waits longer than until `due_us` from now on. */
void delay_line_hurry(struct delay_line *d, usec_t due_us);
/* The bytes whose time has come, oldest first; empty when there are none. They
 * stay until delay_line_take. */
struct bytes delay_line_due(const struct delay_line *d, usec_t now);
/* Everything, due or not. */
struct bytes delay_line_all(const struct delay_line *d);
/* Removes `len` bytes from the front. */
void delay_line_take(struct delay_line *d, size_t len);
/* When the next bytes are due; USEC_NEVER when it is empty. */
usec_t delay_line_next(const struct delay_line *d);

/* Puts a frame that is sent at `now` into the line, due when the impairment
 * lets it arrive. `free_us` is when the way will be free of what was sent
 * before, at the bounded rate; it starts with 0. Where the rate is bounded, a
 * frame leaves piece by piece. Errors as delay_line_put. */
#define IMPAIR_PIECE 4096
int impair_send(const struct impairment *i, struct delay_line *d,
                usec_t *free_us, usec_t now, struct prng *prng,
                const void *data, size_t len);

#endif
