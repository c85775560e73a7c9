/* Hysteresis against a dumb twin on random histories; topology; reports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "failover/failover.h"
#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/prng.h"

#define TICK_US (50 * USEC_PER_MS)
#define SEC USEC_PER_SEC

static const struct failover_topology three = {
    .n_regions = 3,
    .regions = {{1, "a"}, {2, "b"}, {3, "c"}},
    .n_nodes = 3,
    .nodes = {{1, 1, true, ""}, {2, 2, true, ""}, {3, 3, true, ""}}};

/* b and c always reach each other; `reached`: they reach a, and a them. */
struct world {
    struct failover_health *h;
    usec_t now;
    uint64_t seq;
    bool reached;
    struct failover_self self; /* of a */
};

static void tell(struct world *w, uint32_t node)
{
    struct failover_report r = {
        .node = node, .incarnation = 1, .seq = w->seq, .n = 2};
    if (node == 1)
        r.self = w->self;
    for (uint32_t i = 1, k = 0; i <= 3; i++) {
        bool fine = w->reached || (i != 1 && node != 1);
        if (i != node)
            r.ways[k++] =
                (struct failover_way){i, fine ? 0 : FAILOVER_NEVER_MS, 0};
    }
    assert_int_equal(failover_health_report(w->h, &r, w->now), ERR_OK);
}

static void tick(struct world *w)
{
    w->now += TICK_US;
    w->seq++;
    for (uint32_t i = 1; i <= 3; i++)
        tell(w, i);
    failover_health_tick(w->h, w->now);
}

static struct world world_with(const struct failover_timing *timing)
{
    struct world w = {.reached = true, .now = 7 * SEC};
    w.h = failover_health_new(2, timing, w.now);
    failover_health_topology(w.h, &three, w.now);
    while (w.now < 15 * SEC)
        tick(&w);
    return w;
}

static struct world world(void)
{
    return world_with(&failover_timing_default);
}

static const struct failover_region_health *a_of(const struct world *w)
{
    return failover_health_region(w->h, 1);
}

/* The same rules, by counting ticks that are alike. */
struct twin {
    enum failover_state state;
    int lost, sick, well, found; /* ticks in a row, this one included */
    int failures;
    usec_t back;
};

static void twin_tick(struct twin *t, const struct failover_timing *k,
                      bool lost, bool sick, usec_t now)
{
    t->lost = lost ? t->lost + 1 : 0;
    t->found = lost ? 0 : t->found + 1;
    t->sick = sick ? t->sick + 1 : 0;
    t->well = lost || sick ? 0 : t->well + 1;
    usec_t up = k->up_us;
    for (int i = 1; i < t->failures; i++)
        up = 2 * up < k->up_max_us ? 2 * up : k->up_max_us;
#define FOR(ticks, us) ((ticks) > 0 && ((ticks)-1) * TICK_US >= (us))
    enum failover_state was = t->state;
    if (was == FAILOVER_UP && lost)
        t->state = FAILOVER_SUSPECT;
    else if (was == FAILOVER_SUSPECT && !lost)
        t->state = FAILOVER_UP;
    else if (was != FAILOVER_DOWN && was != FAILOVER_UP &&
             FOR(t->lost, k->down_us))
        t->state = FAILOVER_DOWN;
    else if ((was == FAILOVER_UP ||
              (was == FAILOVER_DOWN && FOR(t->found, up))) &&
             FOR(t->sick, k->ill_us))
        t->state = FAILOVER_ILL;
    else if ((was == FAILOVER_DOWN || was == FAILOVER_ILL) && FOR(t->well, up))
        t->state = FAILOVER_UP;
    bool failed = t->state == FAILOVER_DOWN || t->state == FAILOVER_ILL;
    bool had_failed = was == FAILOVER_DOWN || was == FAILOVER_ILL;
    if (failed && !had_failed)
        t->failures =
            t->failures > 0 && now - t->back < k->flap_us ? t->failures + 1 : 1;
    if (!failed && had_failed)
        t->back = now;
}

/* How long something lasts: around the bounds below, in ticks. */
static int some_ticks(struct prng *p)
{
    static const int bounds[] = {1, 4, 6, 20, 40, 80, 160, 400};
    return bounds[prng_below(p, 8)] + (int)prng_below(p, 5) - 2;
}

static void hysteresis_is_as_the_dumb_twin_has_it(void **state)
{
    struct failover_timing timing = failover_timing_default;
    struct prng p;
    int changes = 0;
    (void)state;
    prng_seed(&p, 11);
    timing.ill_us = 4 * TICK_US;
    timing.down_us = 6 * TICK_US;
    timing.up_us = 20 * TICK_US;
    timing.up_max_us = 160 * TICK_US;
    timing.flap_us = 300 * TICK_US;
    for (int run = 0; run < 60; run++) {
        struct world w = world_with(&timing);
        struct twin t = {.state = FAILOVER_UP, .found = 1000, .well = 1000};
        int until_reached = 0, until_sick = 0;
        bool sick = false;
        for (int i = 0; i < 20000; i++) {
            if (--until_reached <= 0) {
                until_reached = some_ticks(&p);
                w.reached = !w.reached;
            }
            if (--until_sick <= 0) {
                until_sick = some_ticks(&p);
                sick = !sick && prng_one_in(&p, 3);
            }
            w.self.disk_stall_ms = sick ? 1500 : 1499;
            tick(&w);
            enum failover_state was = t.state;
            twin_tick(&t, &timing, !w.reached, w.reached && sick, w.now);
            changes += was != t.state;
            assert_int_equal(a_of(&w)->state, t.state);
            assert_int_equal(a_of(&w)->failures, t.failures);
        }
        failover_health_free(w.h);
    }
    assert_true(changes > 2000);
}

static void each_failure_doubles_the_wait_until_it_is_long_ago(void **state)
{
    static const int expected[] = {10, 20, 40, 80, 160, 300, 300};
    struct world w = world();
    (void)state;
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        w.reached = false;
        while (a_of(&w)->state != FAILOVER_DOWN)
            tick(&w);
        w.reached = true;
        usec_t from = w.now;
        while (a_of(&w)->state != FAILOVER_UP)
            tick(&w);
        assert_int_equal((w.now - from) / SEC, expected[i]);
    }
    for (usec_t end = w.now + 600 * SEC; w.now < end;)
        tick(&w);
    w.reached = false;
    while (a_of(&w)->state != FAILOVER_DOWN)
        tick(&w);
    assert_int_equal(a_of(&w)->failures, 1);
    failover_health_free(w.h);
}

static void knows_for_how_long_it_is_cut_off(void **state)
{
    struct failover_health *h =
        failover_health_new(2, &failover_timing_default, 0);
    (void)state;
    failover_health_topology(h, &three, 0);
    failover_health_tick(h, 5 * SEC);
    assert_int_equal(failover_health_cut_off_us(h), 0); /* was never part */
    assert_false(failover_health_in_contact(h));
    failover_health_free(h);

    struct world w = world();
    assert_int_equal(failover_health_cut_off_us(w.h), 0);
    assert_true(failover_health_in_contact(w.h));
    usec_t reach_us = failover_timing_default.reach_us;
    failover_health_tick(w.h, w.now + reach_us);
    assert_int_equal(failover_health_cut_off_us(w.h), 0);
    failover_health_tick(w.h, w.now + reach_us + SEC);
    assert_int_equal(failover_health_cut_off_us(w.h), SEC);
    /* A pause is not counted: nobody could be reached meanwhile. */
    failover_health_paused(w.h, w.now + reach_us + 9 * SEC);
    failover_health_tick(w.h, w.now + reach_us + 9 * SEC);
    assert_int_equal(failover_health_cut_off_us(w.h), SEC);
    assert_false(failover_health_in_contact(w.h));
    w.now += reach_us + 9 * SEC;
    tick(&w);
    assert_int_equal(failover_health_cut_off_us(w.h), 0);
    /* Back, and to watch before it judges. */
    assert_true(failover_health_in_contact(w.h));
    assert_false(failover_health_sees(w.h, NULL));
    failover_health_free(w.h);
}

static void reports_come_once_and_in_order(void **state)
{
    struct world w = world();
    struct failover_report r = {.node = 1, .incarnation = 1, .seq = w.seq};
    (void)state;
    assert_int_equal(failover_health_report(w.h, &r, w.now), ERR_STALE);
    r.seq++;
    assert_int_equal(failover_health_report(w.h, &r, w.now), ERR_OK);
    r.incarnation = 2;
    r.seq = 1;
    assert_int_equal(failover_health_report(w.h, &r, w.now), ERR_OK);
    /* Of the life before: overtaken. Unless that is all we hear. */
    r.incarnation = 1;
    r.seq = w.seq + 9;
    assert_int_equal(failover_health_report(w.h, &r, w.now), ERR_STALE);
    assert_int_equal(failover_health_report(w.h, &r, w.now + SEC), ERR_OK);
    r.node = 4;
    assert_int_equal(failover_health_report(w.h, &r, w.now), ERR_NOT_FOUND);
    failover_health_free(w.h);
}

static void a_topology_must_make_sense(void **state)
{
    struct failover_topology t;
    (void)state;
    assert_int_equal(failover_topology_check(&three), ERR_OK);
#define REFUSED(change)                                                        \
    t = three;                                                                 \
    change;                                                                    \
    assert_int_equal(failover_topology_check(&t), ERR_INVALID)
    REFUSED(t.regions[0].number = 0);
    REFUSED(t.regions[0].number = 2);
    REFUSED(t.n_regions = 2);
    REFUSED(t.n_regions = FAILOVER_REGIONS_MAX + 1);
    REFUSED(t.n_nodes = FAILOVER_NODES_MAX + 1);
    REFUSED(t.nodes[0].id = 0);
    REFUSED(t.nodes[0].id = 2);
    REFUSED(t.nodes[0].id = FAILOVER_NODES_MAX + 1);
    REFUSED(t.nodes[0].region = 4);
    REFUSED(t.n_nodes = 0);
    REFUSED(t.nodes[0].voter = t.nodes[1].voter = t.nodes[2].voter = false);
}

static void what_is_known_outlives_a_new_topology(void **state)
{
    struct world w = world();
    struct failover_topology t = three;
    (void)state;
    w.reached = false;
    for (int i = 0; i < 30; i++)
        tick(&w);
    assert_int_equal(a_of(&w)->state, FAILOVER_DOWN);
    /* In another order, with one more node. */
    t.nodes[0] = three.nodes[2];
    t.nodes[2] = three.nodes[0];
    t.nodes[t.n_nodes++] = (struct failover_node){7, 3, false, ""};
    failover_health_topology(w.h, &t, w.now);
    tick(&w);
    assert_int_equal(a_of(&w)->state, FAILOVER_DOWN);
    assert_int_equal(failover_health_region(w.h, 3)->state, FAILOVER_UP);
    assert_true(failover_health_sees(w.h, NULL));
    assert_false(failover_health_alive(w.h, 1));
    assert_true(failover_health_alive(w.h, 3));
    /* Without a, b and c are all there is; then only c, and we are nobody. */
    t = three;
    t.n_nodes = 2;
    t.nodes[0] = three.nodes[1];
    t.nodes[1] = three.nodes[2];
    failover_health_topology(w.h, &t, w.now);
    failover_health_tick(w.h, w.now);
    assert_true(failover_health_sees(w.h, NULL));
    t.nodes[0] = three.nodes[2];
    t.n_nodes = 1;
    char why[FAILOVER_REASON_MAX];
    failover_health_topology(w.h, &t, w.now);
    failover_health_tick(w.h, w.now);
    assert_false(failover_health_sees(w.h, why));
    assert_string_equal(why, "this node is not part of the cluster");
    failover_health_free(w.h);
}

/* Two whole controllers: who may say what to whom. */
static void messages_are_taken_from_their_sender_only(void **state)
{
    uint8_t storage[FAILOVER_MESSAGE_MAX];
    struct buf out = buf_over(storage, sizeof(storage));
    struct failover_self self = {0};
    (void)state;
    struct failover *a = failover_new(1, 1, NULL, 0);
    struct failover *b = failover_new(2, 1, NULL, 0);
    assert_int_equal(failover_set_topology(a, &three, 0), ERR_OK);
    assert_int_equal(failover_set_topology(b, &three, 0), ERR_OK);
    failover_tick(a, &self, 0);
    failover_tick(b, &self, 0);
    assert_int_equal(failover_gossip(a, 2, 0, &out), ERR_OK);
    struct bytes m = bytes_of(storage, buf_len(&out));
    assert_int_equal(failover_gossip(a, 1, 0, &out), ERR_NOT_FOUND);
    assert_int_equal(failover_gossip(a, 4, 0, &out), ERR_NOT_FOUND);
    assert_int_equal(failover_gossip(a, 999, 0, &out), ERR_NOT_FOUND);
    assert_int_equal(failover_heard(b, 3, m, 0), ERR_IDENTITY);
    assert_int_equal(failover_heard(b, 1, m, 0), ERR_OK);
    assert_int_equal(failover_heard(b, 1, m, 0), ERR_STALE);
    assert_int_equal(failover_heard(a, 1, m, 0), ERR_NOT_FOUND);
    m.len--;
    assert_int_equal(failover_heard(b, 1, m, 0), ERR_MALFORMED);
    struct failover_topology bad = {0};
    assert_int_equal(failover_set_topology(b, &bad, 0), ERR_INVALID);
    failover_free(a);
    failover_free(b);
    failover_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hysteresis_is_as_the_dumb_twin_has_it),
        cmocka_unit_test(each_failure_doubles_the_wait_until_it_is_long_ago),
        cmocka_unit_test(knows_for_how_long_it_is_cut_off),
        cmocka_unit_test(reports_come_once_and_in_order),
        cmocka_unit_test(a_topology_must_make_sense),
        cmocka_unit_test(what_is_known_outlives_a_new_topology),
        cmocka_unit_test(messages_are_taken_from_their_sender_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
