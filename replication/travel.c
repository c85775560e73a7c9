#include "replication/travel.h"

#include "node/base/check.h"

void travel_begin(struct travel *t, usec_t now)
{
    *t = (struct travel){.began_us = now};
}

/* What the clocks may have drifted apart in that time. */
static usec_t drift(usec_t us)
{
    return us / (1000000 / TRAVEL_DRIFT_PPM);
}

/* The offset, as far as it is still certain. */
static usec_t least_offset(const struct travel *t, usec_t now)
{
    CHECK(t->known);
    return t->offset_us - drift(now - t->at_us);
}

static bool is_clock(uint64_t clock_us)
{
    return clock_us > 0 && clock_us <= TRAVEL_CLOCK_MAX;
}

void travel_heard(struct travel *t, usec_t now, uint64_t clock_us)
{
    if (t->known && is_clock(clock_us) &&
        now - (usec_t)clock_us < least_offset(t, now))
        t->known = false; /* it would come before it left */
}

void travel_answered(struct travel *t, usec_t now, uint64_t asked_us,
                     uint64_t clock_us)
{
    if (!is_clock(clock_us) || asked_us > (uint64_t)now ||
        (usec_t)asked_us < t->began_us)
        return;
    travel_heard(t, now, clock_us);
    usec_t offset = (usec_t)asked_us - (usec_t)clock_us;
    if (t->known && offset < least_offset(t, now))
        return; /* a slower ping than one before it */
    t->known = true;
    t->offset_us = offset;
    t->at_us = (usec_t)asked_us;
}

uint32_t travel_most_ms(struct travel *t, usec_t now, uint64_t clock_us)
{
    travel_heard(t, now, clock_us);
    usec_t most = now - t->began_us;
    if (t->known && is_clock(clock_us)) {
        usec_t took = now - (usec_t)clock_us - least_offset(t, now);
        took += drift(took); /* it may be older than the pong */
        most = took < most ? took : most;
    }
    usec_t ms = most / USEC_PER_MS + 1;
    return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

usec_t travel_since(usec_t now, usec_t silence_us, uint32_t age_ms,
                    uint32_t way_ms)
{
    usec_t way = (usec_t)way_ms * USEC_PER_MS;
    usec_t since = now - way;
    if (age_ms > 0)
        since -= (usec_t)age_ms * USEC_PER_MS + silence_us;
    else if (way <= TRAVEL_NEW_US)
        return 0;
    return since > 1 ? since : 1;
}
