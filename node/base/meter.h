/* A histogram of durations for monitoring: few fixed buckets, as Prometheus
 * wants them, cheap enough for every request. (histogram.h is exact and large,
 * for load generators.)
 *
 * Owned by one thread, like everything of a worker. Whoever shows it asks that
 * thread for a copy and adds the copies up. */
#ifndef BASTIDE_BASE_METER_H
#define BASTIDE_BASE_METER_H

#include <stdint.h>

#include "node/base/clock.h"

/* Upper bounds, 100 us to 10 s; what is longer is in the last bucket. */
#define METER_BOUNDS 16
extern const usec_t meter_bounds_us[METER_BOUNDS];

/* Starts as {0}. */
struct meter {
    uint64_t sum_us;
    uint64_t buckets[METER_BOUNDS + 1]; /* not cumulative */
};

/* A negative duration (the clock was set) counts as 0. */
void meter_record(struct meter *m, usec_t us);
/* Adds all of `from`. */
void meter_add(struct meter *m, const struct meter *from);
uint64_t meter_count(const struct meter *m);

#endif
