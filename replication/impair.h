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
 *     cut             nothing leaves or nothing is read, pings neither, and no
 *                     connection is made. What was sent waits, as it would in
 *                     the kernel, and arrives if the cut heals before the
 *                     silence ends the connection
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

#define IMPAIR_DELAY_MAX_US (10 * USEC_PER_SEC)
#define IMPAIR_JITTER_MAX_US (10 * USEC_PER_SEC)

enum impair_direction {
    IMPAIR_OUT, /* what this node sends to the peer */
    IMPAIR_IN   /* what the peer sends to this node; only `cut` applies, since
                 * it is the sender who delays and loses */
};

struct impairment {
    uint32_t delay_us;      /* at most IMPAIR_DELAY_MAX_US */
    uint32_t jitter_us;     /* at most IMPAIR_JITTER_MAX_US */
    uint32_t loss_permille; /* 0..1000 */
    bool cut;
};

static inline bool impairment_none(const struct impairment *i)
{
    return i->delay_us == 0 && i->jitter_us == 0 && i->loss_permille == 0 &&
           !i->cut;
}
/* Whether it is within the bounds above and makes sense for the direction. */
bool impairment_ok(enum impair_direction direction, const struct impairment *i);
/* When a frame that is sent now should leave, and whether a Raft message is
 * lost, drawn from `prng`. */
usec_t impairment_due(const struct impairment *i, usec_t now,
                      struct prng *prng);
bool impairment_loses(const struct impairment *i, struct prng *prng);

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
/* The bytes whose time has come, oldest first; empty when there are none. They
 * stay until delay_line_take. */
struct bytes delay_line_due(const struct delay_line *d, usec_t now);
/* Everything, due or not. */
struct bytes delay_line_all(const struct delay_line *d);
/* Removes `len` bytes from the front. */
void delay_line_take(struct delay_line *d, size_t len);
/* When the next bytes are due; USEC_NEVER when it is empty. */
usec_t delay_line_next(const struct delay_line *d);

#endif
