/* A token bucket: bounds the mean rate of what it is asked to let pass.
 *
 * Takes may exceed what is left: the debt is waited for before the next one, so
 * pieces larger than the burst pass, too, and the rate holds all the same.
 *
 * Pure: time comes in, monotonic and never falling.
 */
#ifndef BASTIDE_BASE_BUCKET_H
#define BASTIDE_BASE_BUCKET_H

#include <stdint.h>

#include "node/base/clock.h"

/* What may pass at once after a pause: this much time's worth of the rate. */
#define BUCKET_BURST_US (50 * USEC_PER_MS)

struct bucket {
    uint64_t rate; /* units per second, 1 to INT32_MAX * 1024; 0: no bound */
    int64_t level; /* millionths of units; below 0: a debt */
    usec_t filled_us;
};

/* Full, at `now_us`. */
void bucket_init(struct bucket *b, uint64_t rate, usec_t now_us);
/* Another rate from now on; what is owed stays owed. */
void bucket_set_rate(struct bucket *b, uint64_t rate, usec_t now_us);
/* How long until bucket_take is due; 0: now. */
usec_t bucket_wait(struct bucket *b, usec_t now_us);
/* Something of that size passes. */
void bucket_take(struct bucket *b, uint64_t units, usec_t now_us);

#endif
