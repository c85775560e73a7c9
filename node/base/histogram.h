/* Counts of durations in log-linear buckets, after Gil Tene's HdrHistogram:
 * every power of two is cut into 64 buckets of equal width, so that a
 * percentile is at most 1.6% above the true value, and recording costs a few
 * instructions. Values are microseconds by convention; what is longer than
 * HISTOGRAM_VALUE_MAX counts as that. */
#ifndef BASTIDE_BASE_HISTOGRAM_H
#define BASTIDE_BASE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_VALUE_MAX ((UINT64_C(1) << 40) - 1) /* 12 days */
#define HISTOGRAM_BUCKETS (64 * 35)

/* Starts as {0}. */
struct histogram {
    uint64_t count;
    uint64_t sum;
    uint64_t max; /* exact */
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_record(struct histogram *h, uint64_t value);
/* Adds all of `from`. */
void histogram_merge(struct histogram *h, const struct histogram *from);
/* The smallest bucket bound that at least `percent` of the values do not
 * exceed, at most `max`. `percent` is within 0..100. 0 without values. */
uint64_t histogram_percentile(const struct histogram *h, double percent);
double histogram_mean(const struct histogram *h);

#endif
