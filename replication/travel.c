#include "replication/travel.h"

#include "node/base/check.h"

void travel_begin(struct travel *t, usec_t now)
{
    *t = (struct travel){.began_us = now};
}

/* What the clocks may have drifted apart while the peer's went on by that. */
static usec_t drift(usec_t us)
{
    return us / (1000000 / TRAVEL_DRIFT_PPM);
}

static bool is_clock(uint64_t clock_us)
{
    return clock_us > 0 && clock_us <= TRAVEL_CLOCK_MAX;
}

/* The most that a frame took of that clock, by the best pong; less than 0: it
 * would come before it left. */
static usec_t most_by_best(const struct travel *t, usec_t now, usec_t clock_us)
{
    CHECK(t->known);
    usec_t since = clock_us - t->best.clock_us;
    return now - t->best.asked_us - since + drift(since < 0 ? -since : since);
}

void travel_heard(struct travel *t, usec_t now, uint64_t clock_us)
{
    if (t->known && is_clock(clock_us) &&
        most_by_best(t, now, (usec_t)clock_us) < 0)
        t->known = false;
}

/* Whether a frame that leaves after both took no longer by `a` than by `b`. */
static bool is_as_good(const struct travel_pong *a, const struct travel_pong *b)
{
    return a->asked_us - b->asked_us >=
           a->clock_us - b->clock_us - drift(a->clock_us - b->clock_us);
}

void travel_answered(struct travel *t, usec_t now, uint64_t asked_us,
                     uint64_t clock_us)
{
    if (!is_clock(clock_us) || asked_us > (uint64_t)now ||
        (usec_t)asked_us < t->began_us)
        return;
    travel_heard(t, now, clock_us);
    const struct travel_pong pong = {(usec_t)asked_us, (usec_t)clock_us};
    t->last = pong;
    t->answered = true;
    if (!t->known || is_as_good(&pong, &t->best))
        t->best = pong;
    t->known = true;
}

static usec_t smaller(usec_t a, usec_t b)
{
    return a < b ? a : b;
}

uint32_t travel_most_ms(struct travel *t, usec_t now, uint64_t clock_us)
{
    travel_heard(t, now, clock_us);
    usec_t most = now - t->began_us;
    if (t->known && is_clock(clock_us))
        most = smaller(most, most_by_best(t, now, (usec_t)clock_us));
    if (t->answered && is_clock(clock_us) &&
        (usec_t)clock_us >= t->last.clock_us)
        most = smaller(most, now - t->last.asked_us);
    usec_t ms = most / USEC_PER_MS + 1;
    return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

usec_t travel_since(usec_t now, usec_t silence_us, uint32_t age_ms,
                    uint32_t way_most_ms)
{
    usec_t way = (usec_t)way_most_ms * USEC_PER_MS;
    usec_t since = now - way;
    if (age_ms > 0)
        since -= (usec_t)age_ms * USEC_PER_MS + silence_us;
    else if (way <= TRAVEL_NEW_US)
        return 0;
    return since > 1 ? since : 1;
}
