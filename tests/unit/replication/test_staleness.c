/* The governor of bounded staleness: who counts, what is refused, and for how
 * long. On a clock that only the test moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/base/prng.h"
#include "replication/staleness.h"

#define MS USEC_PER_MS
#define START (100 * USEC_PER_SEC)

/* A leader with two followers: 2 in region 2, 3 in region 3. */
struct scene {
    struct staleness g;
    usec_t now;
    uint64_t last;
    uint32_t retry;
};

static void set_bound(struct scene *s, uint32_t k, usec_t t, raft_region down)
{
    struct staleness_bound bound = {.on = true, .entries = k, .lag_us = t};
    if (down != 0)
        bound.down[bound.n_down++] = down;
    staleness_set_bound(&s->g, s->now, &bound);
}

static void lead(struct scene *s)
{
    staleness_lead(&s->g, s->now, s->last);
    staleness_members_begin(&s->g);
    staleness_member(&s->g, s->now, 2, 2, s->now);
    staleness_member(&s->g, s->now, 3, 3, s->now);
}

static struct scene scene_of(uint32_t k, usec_t t)
{
    struct scene s = {.now = START, .last = 10};
    staleness_init(&s.g);
    set_bound(&s, k, t, 0);
    lead(&s);
    return s;
}

static void hear(struct scene *s, raft_id id, uint64_t seen)
{
    staleness_heard(&s->g, s->now, id, seen, s->now);
}

static void hear_all(struct scene *s)
{
    hear(s, 2, s->last);
    hear(s, 3, s->last);
}

static enum staleness_verdict admit(struct scene *s)
{
    return staleness_admit(&s->g, s->now, s->last + 1, &s->retry);
}

/* Logs one entry if it is accepted. */
static enum staleness_verdict put(struct scene *s)
{
    enum staleness_verdict v = admit(s);
    if (v == STALENESS_ACCEPT)
        staleness_logged(&s->g, s->now, ++s->last);
    return v;
}

static void without_a_bound_all_is_accepted(void **state)
{
    (void)state;
    struct scene s = {.now = START};
    staleness_init(&s.g);
    lead(&s);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(put(&s), STALENESS_ACCEPT);
    assert_true(staleness_trusts(&s.g, s.now, 2));
    assert_true(staleness_trusts(&s.g, s.now, 99));
}

static void a_new_leader_learns_how_far_everybody_is(void **state)
{
    (void)state;
    struct scene s = scene_of(5, USEC_PER_SEC);
    assert_int_equal(put(&s), STALENESS_LEARN);
    hear(&s, 2, 10);
    assert_int_equal(put(&s), STALENESS_LEARN);
    hear(&s, 3, 10);
    assert_int_equal(put(&s), STALENESS_ACCEPT);
}

static void
a_new_leader_waits_for_the_dead_no_longer_than_their_lease(void **state)
{
    (void)state;
    struct scene s = scene_of(5, USEC_PER_SEC);
    hear(&s, 2, 10);
    s.now = START + STALENESS_LEASE_US;
    hear(&s, 2, 10);
    assert_int_equal(put(&s), STALENESS_LEARN);
    assert_true(staleness_trusts(&s.g, s.now, 3));
    s.now++;
    assert_int_equal(put(&s), STALENESS_ACCEPT);
    assert_false(staleness_trusts(&s.g, s.now, 3));
}

static void with_one_entry_each_is_seen_before_the_next(void **state)
{
    (void)state;
    struct scene s = scene_of(1, USEC_PER_SEC);
    hear_all(&s);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(put(&s), STALENESS_ACCEPT);
        s.now += 2 * MS;
        assert_int_equal(put(&s), STALENESS_REFUSE);
        hear(&s, 2, s.last);
        assert_int_equal(put(&s), STALENESS_REFUSE);
        s.now += 60 * MS;
        hear(&s, 3, s.last);
    }
    /* It knows by now what a round trip takes. */
    assert_int_equal(put(&s), STALENESS_ACCEPT);
    hear(&s, 2, s.last);
    s.now += 20 * MS;
    assert_int_equal(put(&s), STALENESS_REFUSE);
    assert_in_range(s.retry, 30, 60);
    /* A client of nine attempts lives to see a round trip that takes four times
     * as long as the last. */
    usec_t begun = s.now;
    for (int attempt = 0; attempt < 9; attempt++) {
        s.now += s.retry * MS;
        assert_int_equal(put(&s), STALENESS_REFUSE);
    }
    assert_true(s.now - begun > 4 * 62 * MS);
}

static void at_most_k_entries_are_unseen(void **state)
{
    (void)state;
    struct scene s = scene_of(100, 10 * USEC_PER_SEC);
    hear_all(&s);
    for (int i = 0; i < 100; i++)
        assert_int_equal(put(&s), STALENESS_ACCEPT);
    assert_int_equal(put(&s), STALENESS_REFUSE);
    hear(&s, 2, s.last);
    hear(&s, 3, s.last - 99);
    assert_int_equal(put(&s), STALENESS_ACCEPT);
    assert_int_equal(put(&s), STALENESS_REFUSE);
}

/* Replies that come out of order take nothing back. */
static void what_was_seen_stays_seen(void **state)
{
    (void)state;
    struct scene s = scene_of(1, USEC_PER_SEC);
    hear_all(&s);
    assert_int_equal(put(&s), STALENESS_ACCEPT);
    hear_all(&s);
    hear(&s, 2, 10);
    assert_int_equal(put(&s), STALENESS_ACCEPT);
}

static void an_old_unseen_entry_stops_writes(void **state)
{
    (void)state;
    struct scene s = scene_of(1000000, USEC_PER_SEC);
    hear_all(&s);
    s.now += 10 * USEC_PER_SEC; /* idle for long: nothing lags */
    hear_all(&s);
    assert_int_equal(put(&s), STALENESS_ACCEPT);
    for (int i = 0; i < 600; i += 50) {
        s.now += 50 * MS;
        hear(&s, 2, s.last);
        hear(&s, 3, 10);
        assert_int_equal(put(&s), STALENESS_ACCEPT);
    }
    s.now += 201 * MS; /* 801 ms since the entry that node 3 lacks */
    hear(&s, 2, s.last);
    hear(&s, 3, 10);
    assert_int_equal(put(&s), STALENESS_REFUSE);
    assert_in_range(s.retry, STALENESS_RETRY_MIN_MS, STALENESS_RETRY_MAX_MS);
    hear(&s, 3, s.last - 5);
    assert_int_equal(put(&s), STALENESS_ACCEPT);
}

static void nodes_that_keep_up_cost_nothing(void **state)
{
    (void)state;
    struct scene s = scene_of(100000, 5 * USEC_PER_SEC);
    hear_all(&s);
    /* 20 s at 5 entries a ms, seen 150 ms late. */
    for (int ms = 0; ms < 20000; ms++) {
        s.now += MS;
        for (int i = 0; i < 5; i++)
            assert_int_equal(put(&s), STALENESS_ACCEPT);
        uint64_t seen = s.last - 10 > 750 ? s.last - 750 : 10;
        hear(&s, 2, s.last);
        hear(&s, 3, seen);
    }
}

static void the_silent_stop_mattering_and_must_catch_up_first(void **state)
{
    (void)state;
    struct scene s = scene_of(10, USEC_PER_SEC);
    hear_all(&s);
    usec_t heard = s.now;
    for (int i = 0; i < 10; i++)
        assert_int_equal(put(&s), STALENESS_ACCEPT);
    s.now = heard + STALENESS_LEASE_US;
    hear(&s, 2, s.last);
    assert_int_equal(put(&s), STALENESS_REFUSE);
    assert_in_range(s.retry, 1, 10); /* its lease is nearly over */
    s.now++;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(put(&s), STALENESS_ACCEPT);
        hear(&s, 2, s.last);
        s.now += 2 * MS;
    }
    /* It is back, far behind: writes go on, and it cannot become fresh. */
    hear(&s, 3, s.last - 900);
    assert_false(staleness_trusts(&s.g, s.now, 3));
    assert_int_equal(put(&s), STALENESS_ACCEPT);
    hear(&s, 2, s.last);
    /* Nearly there: counted before it is told how fresh it is. */
    hear(&s, 3, s.last - 20);
    assert_true(staleness_trusts(&s.g, s.now, 3));
    assert_int_equal(put(&s), STALENESS_REFUSE);
    hear(&s, 3, s.last);
    assert_int_equal(put(&s), STALENESS_ACCEPT);
}

static void a_region_declared_down_counts_until_its_lease_is_over(void **state)
{
    (void)state;
    struct scene s = scene_of(10, USEC_PER_SEC);
    hear_all(&s);
    usec_t heard = s.now;
    set_bound(&s, 10, USEC_PER_SEC, 3);
    assert_false(staleness_trusts(&s.g, s.now, 3));
    assert_true(staleness_trusts(&s.g, s.now, 2));
    for (int i = 0; i < 10; i++)
        assert_int_equal(put(&s), STALENESS_ACCEPT);
    /* Some leaders still hear it: that renews nothing. */
    s.now = heard + STALENESS_LEASE_US;
    hear(&s, 2, s.last);
    hear(&s, 3, 10);
    assert_int_equal(put(&s), STALENESS_REFUSE);
    s.now++;
    hear(&s, 3, 10);
    assert_int_equal(put(&s), STALENESS_ACCEPT);
    /* Up again, and not behind. */
    hear(&s, 2, s.last);
    hear(&s, 3, s.last);
    assert_false(staleness_trusts(&s.g, s.now, 3));
    set_bound(&s, 10, USEC_PER_SEC, 0);
    hear(&s, 3, s.last);
    assert_true(staleness_trusts(&s.g, s.now, 3));
}

static void members_come_and_go(void **state)
{
    (void)state;
    struct scene s = scene_of(2, USEC_PER_SEC);
    hear_all(&s);
    usec_t heard = s.now;
    /* 3 leaves and 4 comes, with nothing: it does not stop writes. */
    staleness_members_begin(&s.g);
    staleness_member(&s.g, s.now, 2, 2, 0);
    staleness_member(&s.g, s.now, 4, 3, 0);
    assert_false(staleness_trusts(&s.g, s.now, 4));
    assert_int_equal(put(&s), STALENESS_ACCEPT);
    assert_int_equal(put(&s), STALENESS_ACCEPT);
    s.now += 100 * MS;
    hear(&s, 2, s.last);
    assert_int_equal(put(&s), STALENESS_REFUSE); /* 3 may still be fresh */
    s.now = heard + STALENESS_LEASE_US + 1;
    hear(&s, 2, s.last);
    assert_int_equal(put(&s), STALENESS_ACCEPT);
    assert_int_equal(s.g.n_nodes, 2);
    hear(&s, 4, s.last);
    assert_true(staleness_trusts(&s.g, s.now, 4));
}

static void a_bound_that_is_switched_on_learns_first(void **state)
{
    (void)state;
    struct scene s = {.now = START, .last = 10};
    staleness_init(&s.g);
    lead(&s);
    assert_int_equal(put(&s), STALENESS_ACCEPT);
    set_bound(&s, 1, USEC_PER_SEC, 0);
    staleness_members_begin(&s.g);
    staleness_member(&s.g, s.now, 2, 2, s.now);
    staleness_member(&s.g, s.now, 3, 3, s.now);
    hear(&s, 3, s.last);
    assert_int_equal(put(&s), STALENESS_LEARN);
    hear(&s, 2, s.last);
    assert_int_equal(put(&s), STALENESS_ACCEPT);
    set_bound(&s, 1000, 60 * USEC_PER_SEC, 0); /* loosened: at once */
    assert_int_equal(put(&s), STALENESS_ACCEPT);
}

/* It answers, and is an hour behind: a snapshot is on its way. */
static void who_needs_a_snapshot_stops_mattering(void **state)
{
    (void)state;
    struct scene s = scene_of(10, USEC_PER_SEC);
    s.last = 100000;
    lead(&s);
    for (int ms = 0; ms < 3000; ms += 10) {
        hear(&s, 2, s.last);
        if (ms < 500)
            hear(&s, 3, 10);
        else
            staleness_lost(&s.g, 3);
        bool over = ms > 490 + STALENESS_LEASE_US / MS;
        assert_int_equal(put(&s), over ? STALENESS_ACCEPT : STALENESS_REFUSE);
        assert_int_equal(staleness_trusts(&s.g, s.now, 3), ms < 500);
        s.now += 10 * MS;
    }
    hear(&s, 3, s.last - 1);
    assert_true(staleness_trusts(&s.g, s.now, 3));
}

/* A leader removed somebody; this node took that up, and leads soon after. */
static void who_left_under_another_leader_may_be_fresh(void **state)
{
    (void)state;
    struct scene s = {.now = START, .last = 10};
    staleness_init(&s.g);
    set_bound(&s, 5, USEC_PER_SEC, 0);
    staleness_left(&s.g, s.now);
    s.now += 50 * MS;
    lead(&s);
    hear_all(&s);
    assert_int_equal(put(&s), STALENESS_LEARN);
    assert_in_range(s.retry, 500, 600);
    s.now = START + STALENESS_LEASE_US;
    hear_all(&s);
    assert_int_equal(put(&s), STALENESS_LEARN);
    s.now++;
    assert_int_equal(put(&s), STALENESS_ACCEPT);
}

/* This node removed somebody, and leads again soon after. */
static void who_left_this_leader_may_be_fresh_in_its_next_term(void **state)
{
    (void)state;
    struct scene s = scene_of(5, USEC_PER_SEC);
    s.now += 20 * MS;
    hear_all(&s);
    usec_t heard = s.now;
    staleness_members_begin(&s.g);
    staleness_member(&s.g, s.now, 2, 2, 0);
    s.now += 50 * MS;
    staleness_lead(&s.g, s.now, s.last);
    staleness_members_begin(&s.g);
    staleness_member(&s.g, s.now, 2, 2, s.now);
    hear(&s, 2, s.last);
    assert_int_equal(put(&s), STALENESS_LEARN);
    s.now = heard + STALENESS_LEASE_US + 1;
    hear(&s, 2, s.last);
    assert_int_equal(put(&s), STALENESS_ACCEPT);
}

/* The bound begins in the middle of a leadership: the long dead stay so. */
static void who_was_silent_before_the_bound_is_not_waited_for(void **state)
{
    (void)state;
    struct scene s = {.now = START, .last = 10};
    staleness_init(&s.g);
    lead(&s);
    s.now += 10 * USEC_PER_SEC;
    set_bound(&s, 1, USEC_PER_SEC, 0);
    staleness_members_begin(&s.g);
    staleness_member(&s.g, s.now, 2, 2, s.now - 10 * MS);
    staleness_member(&s.g, s.now, 3, 3, START);
    assert_int_equal(put(&s), STALENESS_LEARN);
    hear(&s, 2, s.last);
    assert_int_equal(put(&s), STALENESS_ACCEPT);
}

/* Ages are never understated, and overstated by an eighth and a sample. */
static void ages_are_about_right(void **state)
{
    (void)state;
    enum { ENTRIES = 60000 };
    static usec_t logged[ENTRIES + 11];
    struct scene s = {.now = START, .last = 10};
    struct prng prng;
    prng_seed(&prng, 7);
    staleness_init(&s.g);
    lead(&s);
    for (int i = 0; i < ENTRIES; i++) {
        /* Bursts, and pauses of up to ten minutes. */
        if (prng_below(&prng, 1000) == 0)
            s.now += (usec_t)prng_below(&prng, 600) * USEC_PER_SEC;
        s.now += (usec_t)prng_below(&prng, 3000);
        logged[s.last + 1] = s.now;
        assert_int_equal(put(&s), STALENESS_ACCEPT);
        uint64_t lsn = 11 + prng_below(&prng, (uint32_t)(s.last - 10));
        usec_t truth = s.now - logged[lsn];
        usec_t told = staleness_age(&s.g, s.now, lsn);
        assert_true(told >= truth);
        assert_true(told <= truth + truth / 8 + STALENESS_SAMPLE_US);
    }
    assert_int_equal(staleness_age(&s.g, s.now, s.last + 1), 0);
    assert_true(staleness_age(&s.g, s.now, s.last) <= STALENESS_SAMPLE_US);
}

/* Whatever the followers do: nobody who may be fresh lags more than K. */
static void the_bound_holds_in_a_storm(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 200; seed++) {
        struct prng prng;
        prng_seed(&prng, seed);
        uint32_t k = 1 + prng_below(&prng, 20);
        struct scene s = scene_of(k, USEC_PER_SEC);
        /* What a follower has. The echo on its way to it: when the reply that
         * it names was received, and the LSN that makes it true. And the newest
         * that has become true. */
        uint64_t seen[4] = {0, 0, 10, 10}, ack[4] = {0};
        usec_t replied[4] = {0}, named[4] = {0};
        usec_t since[4] = {0, 0, s.now, s.now};
        unsigned accepted = 0, served = 0;
        for (int ms = 0; ms < 5000; ms++) {
            s.now += MS;
            if (prng_below(&prng, 3) == 0 && put(&s) == STALENESS_ACCEPT)
                accepted++;
            for (raft_id id = 2; id <= 3; id++) {
                bool silent = (ms / 1000 + (int)id) % 3 == 0;
                if (!silent && prng_below(&prng, 30) == 0) {
                    uint64_t lag = s.last - seen[id];
                    seen[id] += prng_below(&prng, (uint32_t)lag + 1);
                    replied[id] = s.now;
                    hear(&s, id, seen[id]);
                }
                if (named[id] != 0 && seen[id] >= ack[id]) {
                    since[id] = named[id];
                    named[id] = 0;
                }
                if (named[id] == 0 && replied[id] != 0 &&
                    staleness_trusts(&s.g, s.now, id)) {
                    named[id] = replied[id];
                    ack[id] = s.last;
                }
                if (s.now - since[id] > STALENESS_FRESH_US)
                    continue;
                served++;
                assert_true(s.last - seen[id] <= k);
            }
        }
        assert_true(served > 100);
        assert_true(accepted >= 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_bound_all_is_accepted),
        cmocka_unit_test(a_new_leader_learns_how_far_everybody_is),
        cmocka_unit_test(
            a_new_leader_waits_for_the_dead_no_longer_than_their_lease),
        cmocka_unit_test(with_one_entry_each_is_seen_before_the_next),
        cmocka_unit_test(at_most_k_entries_are_unseen),
        cmocka_unit_test(what_was_seen_stays_seen),
        cmocka_unit_test(an_old_unseen_entry_stops_writes),
        cmocka_unit_test(nodes_that_keep_up_cost_nothing),
        cmocka_unit_test(the_silent_stop_mattering_and_must_catch_up_first),
        cmocka_unit_test(a_region_declared_down_counts_until_its_lease_is_over),
        cmocka_unit_test(members_come_and_go),
        cmocka_unit_test(a_bound_that_is_switched_on_learns_first),
        cmocka_unit_test(who_needs_a_snapshot_stops_mattering),
        cmocka_unit_test(who_was_silent_before_the_bound_is_not_waited_for),
        cmocka_unit_test(who_left_under_another_leader_may_be_fresh),
        cmocka_unit_test(who_left_this_leader_may_be_fresh_in_its_next_term),
        cmocka_unit_test(ages_are_about_right),
        cmocka_unit_test(the_bound_holds_in_a_storm),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
