#include "node/base/histogram.h"

#include "node/base/check.h"

/* Values below 128 have a bucket each; from there on bucket `64 * (shift + 1)`
 * is the first of those that are 2^shift wide. */
static unsigned bucket_of(uint64_t value)
{
    if (value < 128)
        return (unsigned)value;
    unsigned shift = 63 - (unsigned)__builtin_clzll(value) - 6;
    return 64 * shift + (unsigned)(value >> shift);
}

/* The largest value of a bucket. */
static uint64_t bucket_bound(unsigned bucket)
{
    if (bucket < 128)
        return bucket;
    unsigned shift = bucket / 64 - 1;
    uint64_t first = (uint64_t)(bucket - 64 * shift) << shift;
    return first + (UINT64_C(1) << shift) - 1;
}

void histogram_record(struct histogram *h, uint64_t value)
{
    if (value > HISTOGRAM_VALUE_MAX)
        value = HISTOGRAM_VALUE_MAX;
    unsigned bucket = bucket_of(value);
    CHECK(bucket < HISTOGRAM_BUCKETS);
    h->buckets[bucket]++;
    h->count++;
    h->sum += value;
    if (value > h->max)
        h->max = value;
}

void histogram_merge(struct histogram *h, const struct histogram *from)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        h->buckets[i] += from->buckets[i];
    h->count += from->count;
    h->sum += from->sum;
    if (from->max > h->max)
        h->max = from->max;
}

uint64_t histogram_percentile(const struct histogram *h, double percent)
{
    CHECK(percent >= 0 && percent <= 100);
    double wanted = (double)h->count * percent / 100;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen > 0 && (double)seen >= wanted) {
            uint64_t bound = bucket_bound(i);
            return bound < h->max ? bound : h->max;
        }
    }
    return 0;
}

double histogram_mean(const struct histogram *h)
{
    return h->count > 0 ? (double)h->sum / (double)h->count : 0;
}
