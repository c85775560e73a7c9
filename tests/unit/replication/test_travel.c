/* How long frames were on their way, by clocks that differ, drift and stop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/base/prng.h"
#include "replication/travel.h"

#define SEC USEC_PER_SEC
#define MS USEC_PER_MS
#define T0 (1000 * SEC)

/* The peer's clock is behind ours. */
#define BEHIND (400 * SEC)

static uint64_t peer(usec_t now)
{
    return (uint64_t)(now - BEHIND);
}

/* A ping that leaves at `at`, and both ways of it. */
static void ping(struct travel *t, usec_t at, usec_t out, usec_t back)
{
    travel_answered(t, at + out + back, (uint64_t)at, peer(at + out));
}

static void before_a_pong_the_connections_age_counts(void **state)
{
    (void)state;
    struct travel t;
    travel_begin(&t, T0);
    assert_int_equal(travel_most_ms(&t, T0, peer(T0)), 1);
    assert_int_equal(travel_most_ms(&t, T0 + 2 * SEC, peer(T0)), 2001);
    ping(&t, T0 + 2 * SEC, 10 * MS, 10 * MS);
    assert_true(t.known);
    /* Another connection begins with nothing. */
    travel_begin(&t, T0 + 9 * SEC);
    assert_false(t.known);
    assert_int_equal(travel_most_ms(&t, T0 + 10 * SEC, peer(T0 + 10 * SEC)),
                     1001);
}

static void a_frame_is_measured_by_the_pings(void **state)
{
    (void)state;
    struct travel t;
    travel_begin(&t, T0);
    usec_t at = T0 + 50 * SEC;
    ping(&t, at, 10 * MS, 30 * MS);
    at += 40 * MS;
    /* What the ping took, and a fifth of the 30 ms since it was answered. */
    assert_int_equal(travel_most_ms(&t, at, peer(at)), 17);
    assert_int_equal(travel_most_ms(&t, at + 5 * SEC, peer(at)), 5017);
    /* One that waited at the peer since before that. */
    assert_int_equal(travel_most_ms(&t, at, peer(at - SEC)),
                     10 + 1000 + 194 + 1);
    /* A slower ping takes nothing away, a faster one is better. */
    ping(&t, at, 300 * MS, 300 * MS);
    at += 600 * MS;
    assert_int_equal(travel_most_ms(&t, at + SEC, peer(at)), 1010 + 126 + 1);
    ping(&t, at, 1 * MS, 100 * MS);
    at += 101 * MS;
    assert_int_equal(travel_most_ms(&t, at + SEC, peer(at)), 1001 + 20 + 1);
    /* A pong is worth less as the clocks drift, so a slower one takes over. */
    ping(&t, at, 900 * MS, 0);
    at += 900 * MS;
    assert_int_equal(travel_most_ms(&t, at, peer(at)), 201 + 1);
    assert_int_equal(travel_most_ms(&t, at + SEC, peer(at)), 1202);
    ping(&t, at, 50 * MS, 0);
    at += 50 * MS;
    assert_int_equal(travel_most_ms(&t, at, peer(at)), 50 + 1);
    /* It is never more than the connection is old. */
    travel_begin(&t, at);
    ping(&t, at, 2 * SEC, 0);
    assert_int_equal(travel_most_ms(&t, at + 2 * SEC, peer(at)), 2001);
}

static void a_peers_clock_that_stood_still_is_the_safe_side(void **state)
{
    (void)state;
    struct travel t;
    travel_begin(&t, T0);
    usec_t at = T0 + 50 * SEC, still = 5 * SEC;
    ping(&t, at, 1 * MS, 1 * MS);
    at += 10 * SEC;
    assert_in_range(travel_most_ms(&t, at, peer(at - still)), 6000, 6010);
    travel_answered(&t, at + 2 * MS, (uint64_t)at, peer(at + MS - still));
    assert_in_range(travel_most_ms(&t, at + 2 * MS, peer(at + 2 * MS - still)),
                    1, 3);
}

/* As if the peer's had made a leap. */
static void our_clock_that_stood_still_is_noticed(void **state)
{
    (void)state;
    struct travel t;
    travel_begin(&t, T0);
    usec_t at = T0 + 50 * SEC, still = 5 * SEC;
    ping(&t, at, 1 * MS, 1 * MS);
    at += SEC;
    /* By a request, a ping or a pong; then only the last pong counts, for what
     * left after it. */
    assert_int_equal(travel_most_ms(&t, at, peer(at + still)), 1001);
    assert_false(t.known);
    assert_int_equal(travel_most_ms(&t, at, peer(at - 2 * SEC)), 51001);
    ping(&t, at, 1 * MS, 1 * MS);
    travel_heard(&t, at + 2 * MS, peer(at + 2 * MS));
    assert_true(t.known);
    travel_heard(&t, at + 2 * MS, peer(at + still));
    assert_false(t.known);
    ping(&t, at, 1 * MS, 1 * MS);
    travel_answered(&t, at + 2 * MS, (uint64_t)at, peer(at + MS + still));
    assert_in_range(travel_most_ms(&t, at + 9 * MS, peer(at + 9 * MS + still)),
                    1, 3);
}

static void what_is_no_clock_is_not_believed(void **state)
{
    (void)state;
    struct travel t;
    travel_begin(&t, T0);
    usec_t at = T0 + SEC;
    travel_answered(&t, at, (uint64_t)at, 0);
    travel_answered(&t, at, (uint64_t)at, UINT64_MAX);
    travel_answered(&t, at, (uint64_t)at + 1, peer(at)); /* not asked yet */
    travel_answered(&t, at, UINT64_MAX, peer(at));
    travel_answered(&t, at, (uint64_t)T0 - 1, peer(at)); /* of another one */
    assert_false(t.known);
    travel_answered(&t, at, (uint64_t)at, TRAVEL_CLOCK_MAX);
    assert_true(t.known);
    assert_int_equal(travel_most_ms(&t, at, 1), 1001);
    ping(&t, at, 0, 0);
    travel_heard(&t, at, UINT64_MAX);
    assert_true(t.known);
    assert_int_equal(travel_most_ms(&t, at, UINT64_MAX), 1001);
    assert_int_equal(travel_most_ms(&t, at, 0), 1001);
    travel_begin(&t, 0);
    assert_int_equal(travel_most_ms(&t, INT64_MAX, 1), UINT32_MAX);
}

/* Mostly of 50 us, now and then long. */
static usec_t way(struct prng *p)
{
    return (usec_t)prng_below(p, prng_one_in(p, 9) ? 30 * SEC : 50);
}

/* The peer's clock, if it goes on at another rate since T0. */
static uint64_t drifted(usec_t now, int64_t ppm)
{
    return peer(now + (now - T0) * ppm / 1000000);
}

/* Never too little, and too much by no more than a ping takes there and what
 * the clocks may have drifted since. */
static void the_most_is_never_too_little(void **state)
{
    (void)state;
    struct prng p;
    prng_seed(&p, 20);
    for (int round = 0; round < 200; round++) {
        struct travel t;
        usec_t now = T0;
        int64_t ppm = (int64_t)prng_below(&p, 332001) - 166000;
        travel_begin(&t, now);
        usec_t best = USEC_NEVER, best_at = 0; /* of the pings that left */
        for (int i = 0; i < 300; i++) {
            now += (usec_t)prng_below(&p, SEC);
            usec_t left = now;
            usec_t out = way(&p), back = way(&p);
            now += out;
            if (prng_one_in(&p, 2)) {
                uint64_t clock = drifted(now, ppm);
                now += back;
                travel_answered(&t, now, (uint64_t)left, clock);
                if (best == USEC_NEVER || out < best + (left - best_at) / 3) {
                    best = out;
                    best_at = left;
                }
                continue;
            }
            usec_t most = travel_most_ms(&t, now, drifted(left, ppm)) * MS;
            assert_true(most >= out);
            if (best != USEC_NEVER)
                assert_true(most <=
                            out + best + (now - best_at) * 2 / 5 + 2 * MS);
        }
    }
}

/* A link as it is: a ping each 200 ms, a round trip of 100. However NTP turns
 * the clocks, what is sent for the first time is new. */
static void clocks_that_drift_make_nothing_old(void **state)
{
    (void)state;
    static const int64_t rates[] = {0,       -900,   900,     -20000, 20000,
                                    -100000, 100000, -166000, 166000};
    static const usec_t half = 50 * MS;
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        struct travel t;
        travel_begin(&t, T0);
        usec_t at = T0 + 3600 * SEC;
        for (int k = 0; k < 1000; k++, at += 200 * MS) {
            usec_t pong = at + 2 * half;
            travel_answered(&t, pong, (uint64_t)at,
                            drifted(at + half, rates[i]));
            for (usec_t come = pong; come < pong + 200 * MS; come += 11 * MS) {
                uint32_t most =
                    travel_most_ms(&t, come, drifted(come - half, rates[i]));
                assert_true(most * MS >= half);
                assert_int_equal(travel_since(come, 2 * SEC, 0, most), 0);
            }
        }
        assert_true(t.known);
    }
}

/* Faster than is believed: all that is lost is the way of the fastest frame,
 * and a first attempt does not become as old as its connection. */
static void the_last_pong_bears_any_rate(void **state)
{
    (void)state;
    static const int64_t rates[] = {-500000, 500000, 3000000};
    static const usec_t half = 10 * MS;
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        struct travel t;
        travel_begin(&t, T0);
        usec_t at = T0 + 3600 * SEC;
        bool noticed = false;
        for (int k = 0; k < 1000; k++, at += 200 * MS) {
            usec_t pong = at + 2 * half;
            travel_answered(&t, pong, (uint64_t)at,
                            drifted(at + half, rates[i]));
            for (usec_t come = pong; come < pong + 200 * MS; come += 7 * MS) {
                uint32_t most =
                    travel_most_ms(&t, come, drifted(come - half, rates[i]));
                assert_in_range(most, 1, 221);
                noticed |= !t.known;
            }
        }
        assert_int_equal(noticed, rates[i] > 0);
    }
}

static void attempts_are_dated(void **state)
{
    (void)state;
    static const struct {
        uint32_t age_ms, way_most_ms;
        usec_t since_us;
    } rows[] = {
        /* New, as far as anybody can tell. */
        {0, 0, 0},
        {0, 1, 0},
        {0, TRAVEL_NEW_US / MS, 0},
        /* It was kept for so long that there may be another. */
        {0, TRAVEL_NEW_US / MS + 1, T0 - TRAVEL_NEW_US - 1 * MS},
        {0, 60000, T0 - 60 * SEC},
        /* There is another, and this one was on its way. */
        {1, 0, T0 - 1 * MS - 2 * SEC},
        {700, 10, T0 - 710 * MS - 2 * SEC},
        {700, 60000, T0 - 700 * MS - 62 * SEC},
        {UINT32_MAX, UINT32_MAX, 1},
        {0, UINT32_MAX, 1},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(
            travel_since(T0, 2 * SEC, rows[i].age_ms, rows[i].way_most_ms),
            rows[i].since_us);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(before_a_pong_the_connections_age_counts),
        cmocka_unit_test(a_frame_is_measured_by_the_pings),
        cmocka_unit_test(a_peers_clock_that_stood_still_is_the_safe_side),
        cmocka_unit_test(our_clock_that_stood_still_is_noticed),
        cmocka_unit_test(what_is_no_clock_is_not_believed),
        cmocka_unit_test(the_most_is_never_too_little),
        cmocka_unit_test(clocks_that_drift_make_nothing_old),
        cmocka_unit_test(the_last_pong_bears_any_rate),
        cmocka_unit_test(attempts_are_dated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
