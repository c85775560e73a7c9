#include "node/base/bucket.h"

#include "node/base/check.h"

/* Beyond it the level would overflow; a bound that high bounds nothing. */
#define RATE_MAX ((uint64_t)INT32_MAX * 1024)

static int64_t capacity(const struct bucket *b)
{
    return (int64_t)b->rate * BUCKET_BURST_US;
}

static void fill(struct bucket *b, usec_t now_us)
{
    usec_t passed = now_us - b->filled_us;
    b->filled_us = now_us;
    /* After a long pause it is full, whatever it was: no overflow. */
    int64_t missing = capacity(b) - b->level;
    if (missing <= 0 || passed >= missing / (int64_t)b->rate + 1)
        b->level = capacity(b);
    else
        b->level += (int64_t)b->rate * passed;
}

void bucket_init(struct bucket *b, uint64_t rate, usec_t now_us)
{
    CHECK(rate <= RATE_MAX);
    *b = (struct bucket){.rate = rate, .filled_us = now_us};
    b->level = capacity(b);
}

void bucket_set_rate(struct bucket *b, uint64_t rate, usec_t now_us)
{
    CHECK(rate <= RATE_MAX);
    if (b->rate > 0)
        fill(b, now_us);
    b->rate = rate;
    b->filled_us = now_us;
    if (b->level > capacity(b))
        b->level = capacity(b);
}

usec_t bucket_wait(struct bucket *b, usec_t now_us)
{
    if (b->rate == 0)
        return 0;
    fill(b, now_us);
    return b->level > 0 ? 0 : -b->level / (int64_t)b->rate + 1;
}

void bucket_take(struct bucket *b, uint64_t units, usec_t now_us)
{
    if (b->rate == 0)
        return;
    CHECK(units <= UINT32_MAX);
    fill(b, now_us);
    b->level -= (int64_t)units * USEC_PER_SEC;
}
