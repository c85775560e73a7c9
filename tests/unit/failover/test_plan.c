/* The right successor, for every set of dead regions, every order of dying and
 * every order of the list; the move table; the reasons. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "failover/plan.h"
#include "node/base/check.h"
#include "node/base/err.h"

#define TICK_US (50 * USEC_PER_MS)
#define SEC USEC_PER_SEC
#define REGIONS_MAX 5
#define NODES_MAX 8

/* A world of regions, with one node each (node i is region i) unless a test has
 * it otherwise, where who lives reaches who lives, seen by one of them. */
struct world {
    struct failover_health *h;
    uint32_t n;
    bool alive[NODES_MAX + 1];
    struct failover_self self[NODES_MAX + 1];
    uint32_t observer;
    uint64_t seq;
    usec_t now;
};

static void report(struct world *w, uint32_t node)
{
    struct failover_report r = {
        .node = node, .incarnation = 1, .seq = w->seq, .self = w->self[node]};
    for (uint32_t i = 1; i <= w->n; i++)
        if (i != node)
            r.ways[r.n++] = (struct failover_way){
                .node = i, .age_ms = w->alive[i] ? 100 : FAILOVER_NEVER_MS};
    assert_int_equal(failover_health_report(w->h, &r, w->now), ERR_OK);
}

static void run(struct world *w, usec_t for_us)
{
    for (usec_t end = w->now + for_us; w->now < end;) {
        w->now += TICK_US;
        w->seq++;
        for (uint32_t i = 1; i <= w->n; i++)
            if (w->alive[i])
                report(w, i);
        failover_health_tick(w->h, w->now);
    }
}

/* Node i is in region of[i - 1], the last one in the last. All live and were
 * watched for long enough. */
static struct world world_with(uint32_t n, const failover_region *of,
                               uint32_t observer)
{
    static const char names[] = "?abcde";
    struct world w = {.n = n, .observer = observer};
    struct failover_topology t = {.n_regions = of[n - 1], .n_nodes = n};
    for (uint32_t i = 1; i <= t.n_regions; i++) {
        t.regions[i - 1].number = (failover_region)i;
        t.regions[i - 1].name[0] = names[i];
    }
    for (uint32_t i = 1; i <= n; i++) {
        t.nodes[i - 1] = (struct failover_node){i, of[i - 1], true, ""};
        w.alive[i] = true;
    }
    w.h = failover_health_new(observer, &failover_timing_default, 0);
    failover_health_topology(w.h, &t, 0);
    run(&w, 20 * SEC);
    return w;
}

static struct world world_of(uint32_t n, uint32_t observer)
{
    static const failover_region one_each[REGIONS_MAX] = {1, 2, 3, 4, 5};
    return world_with(n, one_each, observer);
}

static struct failover_group group_of(uint32_t n, const failover_region *list)
{
    struct failover_group g = {.name = "default",
                               .n_regions = n,
                               .write_region = list[0],
                               .epoch = 1,
                               .settled = true};
    memcpy(g.regions, list, n * sizeof(list[0]));
    return g;
}

/* -- every set, every order ------------------------------------------------ */

/* Heap's way: the k-th of the n! orders. */
static void permutation(uint32_t n, uint32_t k, failover_region *out)
{
    failover_region left[REGIONS_MAX] = {1, 2, 3, 4, 5};
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = k % (n - i);
        k /= n - i;
        out[i] = left[at];
        memmove(left + at, left + at + 1, (n - i - at - 1) * sizeof(left[0]));
    }
}

static uint32_t factorial(uint32_t n)
{
    return n < 2 ? 1 : n * factorial(n - 1);
}

static bool is_down(const struct failover_plan *p, failover_region r)
{
    for (uint32_t i = 0; i < p->n_down; i++)
        if (p->down[i] == r)
            return true;
    return false;
}

/* What the plan must be, in a few lines that share nothing with it: 0 for no
 * switch. */
static failover_region oracle(const struct world *w,
                              const struct failover_group *g)
{
    uint32_t alive = 0;
    for (uint32_t i = 1; i <= w->n; i++)
        alive += w->alive[i];
    if (2 * alive <= w->n || w->alive[g->write_region])
        return 0;
    for (uint32_t i = 0; i < g->n_regions; i++)
        if (w->alive[g->regions[i]])
            return g->regions[i];
    return 0;
}

static void check_plan(const struct world *w, const struct failover_group *g)
{
    struct failover_plan p;
    failover_region to = oracle(w, g);
    uint32_t alive = 0;
    failover_decide(w->h, g, &p);
    for (uint32_t i = 1; i <= w->n; i++)
        alive += w->alive[i];
    bool majority = 2 * alive > w->n;

    assert_int_equal(p.to, to);
    assert_int_equal(p.action == FAILOVER_FORCE, to != 0);
    assert_int_equal(p.situation == FAILOVER_BLIND, !majority);
    assert_int_equal(p.unavailable[0] != 0,
                     !majority || !w->alive[g->write_region]);
    for (uint32_t i = 1; i <= w->n && majority; i++)
        assert_int_equal(is_down(&p, (failover_region)i), !w->alive[i]);
    assert_true(majority || p.n_down == 0);
    /* Every region has a verdict, and the right one. */
    bool chosen = false;
    for (uint32_t i = 0; i < p.ranking.n && to != 0; i++) {
        failover_region r = p.ranking.regions[i].region;
        enum failover_verdict v = p.ranking.regions[i].verdict;
        assert_int_equal(r, g->regions[i]);
        assert_true(p.ranking.regions[i].reason[0] != 0);
        assert_int_equal(v, r == g->write_region ? FAILOVER_CURRENT_VERDICT
                            : !w->alive[r]       ? FAILOVER_DOWN_VERDICT
                            : !chosen            ? FAILOVER_CHOSEN_VERDICT
                                                 : FAILOVER_LATER_VERDICT);
        chosen |= v == FAILOVER_CHOSEN_VERDICT;
    }
}

/* Kills all of `dead` (bits) at once and asks with every list, each region
 * being the write region, and settled or not. */
static void check_set(uint32_t n, uint32_t dead, uint32_t observer)
{
    struct world w = world_of(n, observer);
    for (uint32_t i = 1; i <= n; i++)
        w.alive[i] = !(dead >> (i - 1) & 1);
    run(&w, 3 * SEC);
    for (uint32_t k = 0; k < factorial(n); k++) {
        failover_region list[REGIONS_MAX];
        permutation(n, k, list);
        struct failover_group g = group_of(n, list);
        for (uint32_t i = 0; i < 2 * n; i++) {
            g.write_region = list[i / 2];
            g.settled = i % 2;
            g.forced = true;
            check_plan(&w, &g);
        }
    }
    failover_health_free(w.h);
}

static void every_set_of_dead_regions(void **state)
{
    (void)state;
    for (uint32_t n = 3; n <= 5; n++)
        for (uint32_t dead = 0; dead < (1u << n) - 1; dead++)
            for (uint32_t observer = 1; observer <= n; observer++)
                if (!(dead >> (observer - 1) & 1))
                    check_set(n, dead, observer);
}

/* Does what the plan says. */
static bool obey(struct world *w, struct failover_group *g)
{
    struct failover_plan p;
    failover_decide(w->h, g, &p);
    memcpy(g->down, p.down, sizeof(p.down));
    g->n_down = p.n_down;
    if (p.to == 0)
        return false;
    assert_int_equal(p.expected_epoch, g->epoch);
    g->from_region = g->write_region;
    g->write_region = p.to;
    g->epoch++;
    g->forced = p.action == FAILOVER_FORCE;
    g->settled = true;
    g->changed_us = w->now;
    return true;
}

/* The regions die one after the other, `gap` apart. While a majority lives, the
 * first living one of the list writes in the end if the first one died, and no
 * switch ever goes to a dead one; afterwards nothing moves. */
static void check_order(uint32_t n, const failover_region *order, usec_t gap)
{
    static const failover_region list[] = {1, 2, 3, 4, 5};
    uint32_t survivor = order[n - 1]; /* never dies: somebody must watch */
    struct world w = world_of(n, survivor);
    struct failover_group g = group_of(n, list);
    uint32_t epoch_in_the_end = 0;
    for (uint32_t dead = 1; dead < n; dead++) {
        bool majority = 2 * (n - dead) > n;
        w.alive[order[dead - 1]] = false;
        usec_t until = w.now + (dead < (n - 1) / 2 ? gap : 4 * SEC);
        while (w.now < until) {
            run(&w, TICK_US);
            if (obey(&w, &g))
                assert_true(majority && w.alive[g.write_region]);
        }
        if (2 * (n - dead - 1) <= n && majority) {
            failover_region first = 1;
            while (!w.alive[first])
                first++;
            assert_int_equal(g.write_region, w.alive[1] ? 1 : first);
            epoch_in_the_end = g.epoch;
        }
        assert_true(majority || g.epoch == epoch_in_the_end);
    }
    failover_health_free(w.h);
}

static void every_order_of_dying(void **state)
{
    static const usec_t gaps[] = {0,
                                  TICK_US,
                                  300 * USEC_PER_MS,
                                  700 * USEC_PER_MS,
                                  1200 * USEC_PER_MS,
                                  4 * SEC};
    (void)state;
    for (uint32_t n = 3; n <= 5; n += 2)
        for (uint32_t k = 0; k < factorial(n); k++)
            for (size_t i = 0; i < ARRAY_LEN(gaps); i++) {
                failover_region order[REGIONS_MAX];
                permutation(n, k, order);
                check_order(n, order, gaps[i]);
            }
}

/* -- the move table -------------------------------------------------------- */

/* Brings about a situation; a writes (or, for BETTER, b does). */
static struct world situation(enum failover_situation s,
                              struct failover_group *g)
{
    static const failover_region list[] = {1, 2, 3};
    struct world w = world_of(3, 3);
    *g = group_of(3, list);
    g->from_region = 2;
    switch (s) {
    case FAILOVER_BLIND:
        w.alive[1] = w.alive[2] = false;
        break;
    case FAILOVER_LOST:
        w.alive[1] = false;
        break;
    case FAILOVER_LEFT:
        w.alive[2] = false;
        break;
    case FAILOVER_SICK:
        w.self[1].no_space = true;
        break;
    case FAILOVER_BETTER:
        g->write_region = 2;
        g->from_region = 1;
        g->failback = true;
        break;
    default:
        break;
    }
    run(&w, 3 * SEC);
    return w;
}

static void the_move_table(void **state)
{
    /* As in plan.h; "-" where the phase makes the situation another one. */
    static const char *const table[3][FAILOVER_SITUATIONS] = {
        /*             blind   lost     left        sick    better      calm */
        /* steady  */ {"none", "force", "-", "move", "failback", "none"},
        /* planned */ {"none", "force", "escalate", "move", "-", "none"},
        /* forced  */ {"none", "force", "-", "move", "-", "none"},
    };
    (void)state;
    for (int phase = FAILOVER_STEADY; phase <= FAILOVER_FORCED; phase++)
        for (int s = 0; s < FAILOVER_SITUATIONS; s++) {
            struct failover_group g;
            struct failover_plan p;
            struct world w = situation((enum failover_situation)s, &g);
            const char *expected = table[phase][s];
            g.settled = phase == FAILOVER_STEADY;
            g.forced = phase == FAILOVER_FORCED;
            g.pinned = phase != FAILOVER_STEADY;
            failover_decide(w.h, &g, &p);
            if (strcmp(expected, "-") == 0) {
                assert_int_equal(p.situation, FAILOVER_CALM);
                assert_int_equal(p.to, 0);
            } else {
                assert_string_equal(failover_situation_name(p.situation),
                                    failover_situation_name(s));
                /* DECLARE is beside the table. */
                if (p.action != FAILOVER_DECLARE)
                    assert_string_equal(failover_action_name(p.action),
                                        expected);
                else
                    assert_string_equal("none", expected);
            }
            if (p.to != 0) {
                assert_false(p.pinned);
                assert_true(p.reason[0] != 0);
            } else {
                assert_int_equal(p.pinned, g.pinned);
            }
            failover_health_free(w.h);
        }
}

static void no_move_soon_after_the_last(void **state)
{
    struct failover_group g;
    struct failover_plan p;
    (void)state;
    for (int s = FAILOVER_LOST; s <= FAILOVER_BETTER; s++) {
        struct world w = situation((enum failover_situation)s, &g);
        g.settled = s != FAILOVER_LEFT;
        g.changed_us = w.now - failover_timing_default.dwell_us + 1;
        failover_decide(w.h, &g, &p);
        bool urgent = s == FAILOVER_LOST || s == FAILOVER_LEFT;
        assert_int_equal(p.to != 0, urgent);
        assert_true(p.reason[0] != 0);
        g.changed_us--;
        failover_decide(w.h, &g, &p);
        assert_true(p.to != 0);
        failover_health_free(w.h);
    }
}

/* -- planned switches ------------------------------------------------------ */

static void an_ill_region_is_left_for_the_first_that_is_caught_up(void **state)
{
    static const failover_region list[] = {1, 2, 3, 4, 5};
    struct world w = world_of(5, 5);
    struct failover_group g = group_of(5, list);
    struct failover_plan p;
    (void)state;
    w.self[1].draining = true;
    w.self[2].behind_ms = 1001;
    w.self[3].behind_ms = UINT32_MAX;
    w.self[4].behind_ms = 1000;
    run(&w, SEC);
    failover_decide(w.h, &g, &p);
    assert_int_equal(p.action, FAILOVER_MOVE);
    assert_int_equal(p.to, 4);
    assert_int_equal(p.ranking.regions[1].verdict, FAILOVER_BEHIND_VERDICT);
    assert_int_equal(p.ranking.regions[2].verdict, FAILOVER_BEHIND_VERDICT);
    assert_int_equal(p.ranking.regions[4].verdict, FAILOVER_LATER_VERDICT);
    /* None is: the first of the list; the switch waits for it. */
    w.self[4].behind_ms = w.self[5].behind_ms = 5000;
    run(&w, SEC);
    failover_decide(w.h, &g, &p);
    assert_int_equal(p.to, 2);
    failover_health_free(w.h);
}

static void fail_back_needs_a_proven_region(void **state)
{
    static const failover_region list[] = {1, 2, 3};
    struct world w = world_of(3, 3);
    struct failover_group g = group_of(3, list);
    struct failover_plan p;
    (void)state;
    g.write_region = 3;
    g.failback = true;
    w.self[1].behind_ms = 1001;
    run(&w, SEC);
    failover_decide(w.h, &g, &p);
    assert_int_equal(p.to, 2); /* the best of those before the write region */
    assert_int_equal(p.ranking.regions[0].verdict, FAILOVER_BEHIND_VERDICT);
    g.write_region = 2;
    failover_decide(w.h, &g, &p);
    assert_int_equal(p.to, 0);
    assert_int_equal(p.ranking.regions[2].verdict,
                     FAILOVER_NOT_PREFERRED_VERDICT);
    w.self[1].behind_ms = 0;
    run(&w, 9 * SEC);
    failover_decide(w.h, &g, &p);
    assert_int_equal(p.to, 0);
    assert_int_equal(p.ranking.regions[0].verdict, FAILOVER_NEWLY_WELL_VERDICT);
    run(&w, 2 * SEC);
    failover_decide(w.h, &g, &p);
    assert_int_equal(p.to, 1);
    assert_int_equal(p.action, FAILOVER_FAILBACK);
    g.pinned = true;
    failover_decide(w.h, &g, &p);
    assert_int_equal(p.to, 0);
    g.pinned = false;
    g.failback = false;
    failover_decide(w.h, &g, &p);
    assert_int_equal(p.to, 0);
    failover_health_free(w.h);
}

static void an_operator_is_told_why_not(void **state)
{
    static const failover_region list[] = {1, 2, 3, 4};
    struct world w = world_of(5, 5);
    struct failover_group g = group_of(4, list);
    enum failover_verdict v;
    char why[FAILOVER_REASON_MAX];
    (void)state;
    w.self[2].behind_ms = 2000;
    w.alive[3] = false;
    run(&w, 3 * SEC);
    const struct {
        failover_region to;
        bool force;
        int rc;
        enum failover_verdict verdict;
    } cases[] = {
        {1, false, ERR_EXISTS, FAILOVER_CURRENT_VERDICT},
        {2, false, ERR_UNAVAILABLE, FAILOVER_BEHIND_VERDICT},
        {2, true, ERR_OK, 0},
        {3, false, ERR_UNAVAILABLE, FAILOVER_DOWN_VERDICT},
        {3, true, ERR_UNAVAILABLE, FAILOVER_DOWN_VERDICT},
        {4, false, ERR_OK, 0},
        {5, true, ERR_NOT_FOUND, FAILOVER_OUTSIDE_VERDICT},
        {9, false, ERR_NOT_FOUND, FAILOVER_OUTSIDE_VERDICT},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int rc = failover_check_switch(w.h, &g, cases[i].to, cases[i].force, &v,
                                       why);
        assert_int_equal(rc, cases[i].rc);
        if (rc != ERR_OK) {
            assert_int_equal(v, cases[i].verdict);
            assert_true(why[0] != 0);
        }
    }
    failover_health_free(w.h);
}

static void a_witness_counts_and_does_not_take_over(void **state)
{
    (void)state;
    const failover_region list[] = {1, 2};
    for (uint32_t witness = 0; witness <= 3; witness += 3) {
        struct world w = world_of(3, 2);
        struct failover_group g = group_of(2, list);
        struct failover_plan p;
        g.witness = witness;
        w.alive[1] = false;
        run(&w, 5 * SEC);
        failover_decide(w.h, &g, &p);
        /* One of two is no majority. */
        assert_int_equal(p.to, witness != 0 ? 2 : 0);
        failover_health_free(w.h);
    }
}

/* While one takes another's place, the loss of the write region is survived
 * with both of them alone. */
static void both_witnesses_count_while_one_replaces_the_other(void **state)
{
    (void)state;
    const failover_region list[] = {1, 2};
    for (failover_region dead = 0; dead <= 4; dead++) {
        struct world w = world_of(4, 2);
        struct failover_group g = group_of(2, list);
        struct failover_plan p;
        g.witness = 4;
        g.witness_leaving = 3;
        w.alive[1] = false;
        if (dead > 2)
            w.alive[dead] = false;
        run(&w, 5 * SEC);
        failover_decide(w.h, &g, &p);
        assert_int_equal(p.to, dead > 2 ? 0 : 2);
        failover_health_free(w.h);
    }
}

/* Of three nodes in its region one is the witness: the others do not vote. */
static void only_the_witness_counts_in_its_region(void **state)
{
    static const failover_region of[] = {1, 2, 3, 3, 3, 4, 4, 4};
    static const failover_region list[] = {1, 2};
    (void)state;
    for (int lives = 0; lives <= 1; lives++) {
        struct world w = world_with(8, of, 2);
        struct failover_group g = group_of(2, list);
        struct failover_plan p;
        g.witness = 4;
        w.alive[1] = false;
        w.alive[4] = lives;
        w.alive[3] = w.alive[5] = !lives;
        run(&w, 5 * SEC);
        failover_decide(w.h, &g, &p);
        assert_int_equal(p.to, lives ? 2 : 0);
        failover_health_free(w.h);
    }
}

static void an_unknown_write_region_is_left_alone(void **state)
{
    static const failover_region list[] = {9, 2, 3};
    struct world w = world_of(3, 3);
    struct failover_group g = group_of(3, list);
    struct failover_plan p;
    (void)state;
    failover_decide(w.h, &g, &p);
    assert_int_equal(p.action, FAILOVER_NONE);
    assert_int_equal(p.unavailable[0], 0);
    failover_health_free(w.h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_set_of_dead_regions),
        cmocka_unit_test(every_order_of_dying),
        cmocka_unit_test(the_move_table),
        cmocka_unit_test(no_move_soon_after_the_last),
        cmocka_unit_test(an_ill_region_is_left_for_the_first_that_is_caught_up),
        cmocka_unit_test(fail_back_needs_a_proven_region),
        cmocka_unit_test(an_operator_is_told_why_not),
        cmocka_unit_test(a_witness_counts_and_does_not_take_over),
        cmocka_unit_test(both_witnesses_count_while_one_replaces_the_other),
        cmocka_unit_test(only_the_witness_counts_in_its_region),
        cmocka_unit_test(an_unknown_write_region_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
