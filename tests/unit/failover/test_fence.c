/* The table of fences and the ledger of refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "failover/fence.h"
#include "failover/fence_ledger.h"
#include "node/base/err.h"

#define SHARDS 64
#define DEFAULT_SHARDS 4

static struct fence *table(void)
{
    struct fence *f = fence_new(SHARDS, DEFAULT_SHARDS);
    assert_int_equal(fence_name_region(f, 1, "germany"), ERR_OK);
    assert_int_equal(fence_name_region(f, 2, "france"), ERR_OK);
    assert_int_equal(fence_name_region(f, 3, "us"), ERR_OK);
    return f;
}

static struct fence_group eu(void)
{
    return (struct fence_group){.number = 1,
                                .name = "eu",
                                .first_shard = 5,
                                .shard_count = 2,
                                .payload = fence_bit(1) | fence_bit(2)};
}

static void check(const struct fence *f, uint64_t shard, failover_region region,
                  enum fence_verdict wanted)
{
    assert_int_equal(fence_check(f, shard, region, FENCE_PAYLOAD), wanted);
}

static void closed_until_told(void **state)
{
    (void)state;
    struct fence *f = table();
    for (failover_region r = 0; r <= 40; r++) {
        for (uint64_t shard = 0; shard <= DEFAULT_SHARDS; shard++)
            check(f, shard, r, FENCE_INSIDE);
        check(f, DEFAULT_SHARDS + 1, r, FENCE_UNKNOWN);
        check(f, SHARDS, r, FENCE_UNKNOWN);
        check(f, UINT64_MAX, r, FENCE_UNKNOWN);
    }
    assert_null(fence_of(f, 5));
    assert_string_equal(fence_of(f, 0)->name, "default");
    fence_free(f);
}

static void a_group_is_kept_to_its_regions(void **state)
{
    (void)state;
    struct fence *f = table();
    struct fence_group g = eu();
    assert_int_equal(fence_put(f, &g), ERR_OK);
    for (uint64_t shard = 5; shard <= 6; shard++) {
        check(f, shard, 1, FENCE_INSIDE);
        check(f, shard, 2, FENCE_INSIDE);
        check(f, shard, 3, FENCE_OUTSIDE);
        check(f, shard, 0, FENCE_OUTSIDE);
        check(f, shard, FENCE_REGIONS_MAX + 1, FENCE_OUTSIDE);
        check(f, shard, UINT16_MAX, FENCE_OUTSIDE);
        assert_string_equal(fence_of(f, shard)->name, "eu");
    }
    check(f, 4, 3, FENCE_INSIDE);
    check(f, 7, 1, FENCE_UNKNOWN);
    fence_forget(f);
    check(f, 5, 1, FENCE_UNKNOWN);
    check(f, 4, 3, FENCE_INSIDE);
    fence_free(f);
}

static void a_witness_gets_headers_only(void **state)
{
    (void)state;
    struct fence *f = table();
    struct fence_group g = eu();
    g.headers = fence_bit(3);
    assert_int_equal(fence_put(f, &g), ERR_OK);
    check(f, 5, 3, FENCE_OUTSIDE);
    assert_int_equal(fence_check(f, 5, 3, FENCE_HEADERS), FENCE_INSIDE);
    assert_int_equal(fence_check(f, 5, 1, FENCE_HEADERS), FENCE_INSIDE);
    assert_int_equal(fence_check(f, 5, 4, FENCE_HEADERS), FENCE_OUTSIDE);
    fence_free(f);
}

static void expect_transit(const struct fence *f, uint64_t shard,
                           failover_region a, failover_region b,
                           enum fence_verdict wanted)
{
    assert_int_equal(fence_check_transit(f, shard, a, b), wanted);
    assert_int_equal(fence_check_transit(f, shard, b, a), wanted);
}

static void requests_pass_where_the_group_allows_it(void **state)
{
    (void)state;
    struct fence *f = table();
    struct fence_group g = eu();
    char rule[FENCE_RULE_MAX];
    expect_transit(f, 5, 1, 2, FENCE_UNKNOWN);
    assert_int_equal(fence_put(f, &g), ERR_OK);
    expect_transit(f, 5, 1, 2, FENCE_INSIDE);
    expect_transit(f, 5, 1, 3, FENCE_OUTSIDE);
    g.transit = true;
    assert_int_equal(fence_put(f, &g), ERR_OK);
    expect_transit(f, 5, 1, 3, FENCE_INSIDE);
    expect_transit(f, 5, 3, 3, FENCE_OUTSIDE);
    expect_transit(f, 5, 1, 0, FENCE_OUTSIDE); /* a region nobody knows */
    expect_transit(f, 4, 3, 3, FENCE_INSIDE);
    /* Nothing else does. */
    check(f, 5, 3, FENCE_OUTSIDE);
    assert_int_equal(fence_check(f, 5, 3, FENCE_HEADERS), FENCE_OUTSIDE);
    assert_int_equal(fence_check(f, 5, 3, FENCE_TRANSIT), FENCE_OUTSIDE);
    fence_rule(f, 5, rule);
    assert_string_equal(rule, "group eu: germany, france; transit allowed");
    fence_free(f);
}

static void a_group_is_replaced(void **state)
{
    (void)state;
    struct fence *f = table();
    struct fence_group g = eu();
    assert_int_equal(fence_put(f, &g), ERR_OK);
    g.payload = fence_bit(1); /* tightened, and moved by one */
    g.first_shard = 6;
    assert_int_equal(fence_put(f, &g), ERR_OK);
    check(f, 5, 1, FENCE_UNKNOWN);
    check(f, 6, 1, FENCE_INSIDE);
    check(f, 7, 2, FENCE_OUTSIDE);
    /* Group default as its record has it. */
    struct fence_group all = {.name = "default",
                              .first_shard = 1,
                              .shard_count = 2,
                              .payload = FENCE_EVERYWHERE};
    assert_int_equal(fence_put(f, &all), ERR_OK);
    check(f, 2, 9, FENCE_INSIDE);
    check(f, 3, 9, FENCE_UNKNOWN);
    fence_free(f);
}

static void a_split_group_has_its_old_shards_too(void **state)
{
    (void)state;
    struct fence *f = table();
    struct fence_group g = eu(), other = eu();
    g.emptied_shard = 8;
    g.emptied_count = 1;
    assert_int_equal(fence_put(f, &g), ERR_OK);
    check(f, 8, 1, FENCE_INSIDE);
    check(f, 8, 3, FENCE_OUTSIDE);
    other.number = 2;
    other.first_shard = 7;
    assert_int_equal(fence_put(f, &other), ERR_EXISTS);
    other.first_shard = 10;
    other.emptied_shard = 6;
    other.emptied_count = 1;
    assert_int_equal(fence_put(f, &other), ERR_EXISTS);
    g.emptied_shard = g.emptied_count = 0;
    assert_int_equal(fence_put(f, &g), ERR_OK);
    check(f, 8, 1, FENCE_UNKNOWN);
    check(f, 5, 1, FENCE_INSIDE);
    check(f, 0, 3, FENCE_INSIDE); /* the meta shard */
    fence_free(f);
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    struct fence *f = table();
    struct fence_group g = eu(), other = eu();
    assert_int_equal(fence_put(f, &g), ERR_OK);
    other.number = 2;
    other.first_shard = 6;
    other.payload = FENCE_EVERYWHERE;
    assert_int_equal(fence_put(f, &other), ERR_EXISTS);
    check(f, 6, 3, FENCE_OUTSIDE);
    check(f, 7, 3, FENCE_UNKNOWN);
    other.first_shard = DEFAULT_SHARDS;
    other.payload = fence_bit(1);
    assert_int_equal(fence_put(f, &other), ERR_EXISTS);
    check(f, DEFAULT_SHARDS, 3, FENCE_INSIDE);
    other.first_shard = 0;
    assert_int_equal(fence_put(f, &other), ERR_INVALID);
    other.first_shard = SHARDS - 1;
    assert_int_equal(fence_put(f, &other), ERR_INVALID);
    other.first_shard = UINT32_MAX;
    assert_int_equal(fence_put(f, &other), ERR_INVALID);
    other.shard_count = 1;
    for (uint16_t n = 2; n < FENCE_GROUPS_MAX; n++) {
        other.number = n;
        other.first_shard = 10u + n;
        assert_int_equal(fence_put(f, &other), ERR_OK);
    }
    other.number = FENCE_GROUPS_MAX;
    other.first_shard = SHARDS - 1;
    assert_int_equal(fence_put(f, &other), ERR_FULL);
    check(f, SHARDS - 1, 1, FENCE_UNKNOWN);
    fence_free(f);
}

static void regions_have_names(void **state)
{
    (void)state;
    struct fence *f = table();
    char longest[FENCE_NAME_MAX + 2];
    memset(longest, 'x', sizeof(longest));
    longest[FENCE_NAME_MAX + 1] = '\0';
    assert_int_equal(fence_region_number(f, "france"), 2);
    assert_int_equal(fence_region_number(f, "franc"), 0);
    assert_int_equal(fence_region_number(f, ""), 0);
    assert_int_equal(fence_name_region(f, 0, "x"), ERR_INVALID);
    assert_int_equal(fence_name_region(f, FENCE_REGIONS_MAX + 1, "x"),
                     ERR_INVALID);
    assert_int_equal(fence_name_region(f, 4, ""), ERR_INVALID);
    assert_int_equal(fence_name_region(f, 4, longest), ERR_INVALID);
    fence_free(f);
}

static void the_rule_in_words(void **state)
{
    (void)state;
    struct fence *f = table();
    struct fence_group g = eu();
    char text[FENCE_RULE_MAX];
    fence_rule(f, 5, text);
    assert_string_equal(text, "no group is known to have shard 5");
    assert_int_equal(fence_put(f, &g), ERR_OK);
    fence_rule(f, 5, text);
    assert_string_equal(text, "group eu: germany, france");
    fence_rule(f, 0, text);
    assert_string_equal(text, "group default: every region");
    g.payload = 0;
    for (failover_region r = 1; r <= FENCE_REGIONS_MAX; r++) {
        char name[FENCE_NAME_MAX + 1];
        snprintf(name, sizeof(name), "a-region-with-a-long-name-%u", r);
        assert_int_equal(fence_name_region(f, r, name), ERR_OK);
        g.payload |= fence_bit(r);
    }
    assert_int_equal(fence_put(f, &g), ERR_OK);
    fence_rule(f, 5, text);
    assert_true(strlen(text) < FENCE_RULE_MAX);
    assert_string_equal(text + strlen(text) - 3, "...");
    fence_free(f);
}

/* ---- the ledger ------------------------------------------------------------
 */

static const struct fence_refusals one = {.wall = FENCE_WALL_SEND,
                                          .peer = 3,
                                          .shard = 5,
                                          .what = "raft message",
                                          .count = 1,
                                          .bytes = 10};

static void a_minute_is_one_record(void **state)
{
    (void)state;
    struct fence_ledger l;
    struct fence_refusals sum;
    usec_t t = 1000;
    fence_ledger_init(&l);
    fence_ledger_note(&l, t, &one);
    assert_true(fence_ledger_due(&l, t, &sum)); /* the first at once */
    assert_int_equal(sum.count, 1);
    assert_int_equal(sum.bytes, 10);
    assert_int_equal(sum.peer, 3);
    assert_string_equal(sum.what, "raft message");
    for (int i = 0; i < 100; i++)
        fence_ledger_note(&l, t + i, &one);
    assert_false(fence_ledger_due(&l, t + FENCE_LEDGER_PERIOD_US - 1, &sum));
    t += FENCE_LEDGER_PERIOD_US;
    assert_true(fence_ledger_due(&l, t, &sum));
    assert_int_equal(sum.count, 100);
    assert_int_equal(sum.bytes, 1000);
    assert_false(fence_ledger_due(&l, t, &sum));
    /* Quiet: forgotten, so the next is a first one again. */
    t += FENCE_LEDGER_PERIOD_US;
    assert_false(fence_ledger_due(&l, t, &sum));
    assert_int_equal(l.count, 0);
    fence_ledger_note(&l, t, &one);
    assert_true(fence_ledger_due(&l, t, &sum));
}

static void kinds_are_told_apart(void **state)
{
    (void)state;
    struct fence_ledger l;
    struct fence_refusals other = one, sum;
    unsigned told = 0;
    fence_ledger_init(&l);
    fence_ledger_note(&l, 0, &one);
    other.wall = FENCE_WALL_RECEIVE;
    fence_ledger_note(&l, 0, &other);
    other.peer = 4;
    fence_ledger_note(&l, 0, &other);
    other.shard = 6;
    fence_ledger_note(&l, 0, &other);
    while (fence_ledger_due(&l, 0, &sum))
        told += sum.count == 1;
    assert_int_equal(told, 4);
}

static void many_kinds_share_a_place(void **state)
{
    (void)state;
    struct fence_ledger l;
    struct fence_refusals r = one, sum;
    unsigned told = 0;
    uint64_t total = 0;
    fence_ledger_init(&l);
    for (uint64_t i = 0; i < 3 * FENCE_LEDGER_MAX; i++) {
        r.shard = i;
        fence_ledger_note(&l, 0, &r);
    }
    while (fence_ledger_due(&l, 0, &sum)) {
        assert_true(sum.count == 1 ||
                    (sum.shard == FENCE_LEDGER_SEVERAL && sum.peer == 0));
        told++;
        total += sum.count;
    }
    assert_int_equal(told, FENCE_LEDGER_MAX);
    assert_int_equal(total, 3 * FENCE_LEDGER_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_until_told),
        cmocka_unit_test(a_group_is_kept_to_its_regions),
        cmocka_unit_test(a_witness_gets_headers_only),
        cmocka_unit_test(requests_pass_where_the_group_allows_it),
        cmocka_unit_test(a_group_is_replaced),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(a_split_group_has_its_old_shards_too),
        cmocka_unit_test(regions_have_names),
        cmocka_unit_test(the_rule_in_words),
        cmocka_unit_test(a_minute_is_one_record),
        cmocka_unit_test(kinds_are_told_apart),
        cmocka_unit_test(many_kinds_share_a_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
