/* How one decision becomes the next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "node/base/err.h"
#include "node/govern/decide.h"
#include "node/govern/record.h"

#define AT 1234567

static struct govern_record three(enum consistency_level level)
{
    return (struct govern_record){.epoch = 4,
                                  .write_region = 1,
                                  .from_region = 1,
                                  .consistency = {level, 100, 5},
                                  .settled = true,
                                  .failback = true,
                                  .n_regions = 3,
                                  .priority = {1, 2, 3}};
}

static void the_level_says_who_acknowledges(void **state)
{
    (void)state;
    struct govern_record r = three(CONSISTENCY_STRONG);
    assert_int_equal(govern_ack(&r), RAFT_ACK_COMMIT);
    for (int level = CONSISTENCY_BOUNDED; level < CONSISTENCY_COUNT; level++) {
        r = three((enum consistency_level)level);
        assert_int_equal(govern_ack(&r), RAFT_ACK_REGION);
    }
}

static void every_change_of_region_or_rule_is_a_new_epoch(void **state)
{
    (void)state;
    struct govern_record r = three(CONSISTENCY_SESSION), next;
    assert_int_equal(govern_switch(&r, 2, false, true, AT, "why", &next),
                     ERR_OK);
    assert_int_equal(next.epoch, 5);
    assert_int_equal(next.write_region, 2);
    assert_int_equal(next.from_region, 1);
    assert_true(next.manual && !next.forced && !next.settled);
    assert_int_equal(next.at_us, AT);
    assert_string_equal(next.reason, "why");
    assert_int_equal(govern_switch(&r, 1, false, true, AT, "", &next),
                     ERR_EXISTS);
    assert_int_equal(govern_switch(&r, 9, false, true, AT, "", &next),
                     ERR_NOT_FOUND);

    struct consistency_policy strong = {.level = CONSISTENCY_STRONG};
    assert_int_equal(govern_set_level(&r, &strong, AT, "", &next), ERR_OK);
    assert_int_equal(next.epoch, 5);
    assert_int_equal(next.write_region, 1);
    assert_int_equal(govern_set_level(&next, &strong, AT, "", &next),
                     ERR_EXISTS);
}

static void only_a_region_s_rule_can_be_forced(void **state)
{
    (void)state;
    struct govern_record r = three(CONSISTENCY_STRONG), next;
    assert_int_equal(govern_switch(&r, 2, true, false, AT, "", &next), ERR_OK);
    assert_false(next.forced);
    r = three(CONSISTENCY_EVENTUAL);
    assert_int_equal(govern_switch(&r, 2, true, false, AT, "", &next), ERR_OK);
    assert_true(next.forced);
}

/* Shards that go by the old rule cannot elect without the lost region. */
static void a_change_to_strong_under_way_can_be_forced(void **state)
{
    (void)state;
    struct govern_record r = three(CONSISTENCY_SESSION), next;
    struct consistency_policy strong = {.level = CONSISTENCY_STRONG};
    struct failover_group group;
    assert_int_equal(govern_set_level(&r, &strong, AT, "", &r), ERR_OK);
    assert_false(r.forced);
    govern_group(&r, "default", 0, &group);
    assert_false(group.commit_rule);
    assert_int_equal(govern_switch(&r, 2, true, false, AT, "", &next), ERR_OK);
    assert_true(next.forced);
    assert_int_equal(govern_switch(&r, 2, false, true, AT, "", &r), ERR_OK);
    assert_false(r.forced);
    govern_escalate(&r, AT, "", &next);
    assert_true(next.forced);
    govern_set_settled(&next, &next);
    govern_group(&next, "default", 0, &group);
    assert_true(group.commit_rule);
}

/* Otherwise nobody would see that the region it comes from is lost. */
static void a_change_of_level_goes_on_with_a_switch_under_way(void **state)
{
    (void)state;
    struct consistency_policy strong = {.level = CONSISTENCY_STRONG};
    struct consistency_policy prefix = {.level = CONSISTENCY_PREFIX};
    const raft_region order[] = {2, 1, 3}, other[] = {3, 2, 1};
    for (int forced = 0; forced <= 1; forced++) {
        struct govern_record r = three(CONSISTENCY_SESSION), next;
        assert_int_equal(govern_switch(&r, 2, forced, true, AT, "", &r),
                         ERR_OK);
        assert_int_equal(govern_set_level(&r, &prefix, AT, "", &next), ERR_OK);
        assert_int_equal(next.epoch, r.epoch + 1);
        assert_int_equal(next.from_region, 1);
        assert_int_equal(next.forced, forced);
        assert_int_equal(
            govern_set_priority(&r, order, 3, true, true, AT, "", &next),
            ERR_OK);
        assert_int_equal(next.from_region, 1);
        assert_int_equal(next.forced, forced);
        /* By other quorums, or to another region: planned. */
        assert_int_equal(govern_set_level(&r, &strong, AT, "", &next), ERR_OK);
        assert_int_equal(next.from_region, 1);
        assert_false(next.forced);
        assert_int_equal(
            govern_set_priority(&r, other, 3, true, true, AT, "", &next),
            ERR_OK);
        assert_int_equal(next.from_region, 2);
        assert_false(next.forced);
        /* Settled, it is history. */
        govern_set_settled(&r, &r);
        assert_int_equal(govern_set_level(&r, &prefix, AT, "", &next), ERR_OK);
        assert_int_equal(next.from_region, 2);
        assert_false(next.forced);
    }
}

static void bounds_begin_at_one(void **state)
{
    (void)state;
    struct govern_record r = three(CONSISTENCY_STRONG), next;
    struct consistency_policy p = {CONSISTENCY_BOUNDED, 1, 1};
    assert_int_equal(govern_set_level(&r, &p, AT, "", &next), ERR_OK);
    p.max_staleness_prefix = 0;
    assert_int_equal(govern_set_level(&r, &p, AT, "", &next), ERR_INVALID);
    p = (struct consistency_policy){CONSISTENCY_BOUNDED, 1, 0};
    assert_int_equal(govern_set_level(&r, &p, AT, "", &next), ERR_INVALID);
    /* Bounds that another level does not use are no change. */
    r = three(CONSISTENCY_SESSION);
    p = (struct consistency_policy){CONSISTENCY_SESSION, 7, 7};
    assert_int_equal(govern_set_level(&r, &p, AT, "", &next), ERR_EXISTS);
    r = three(CONSISTENCY_BOUNDED);
    p = (struct consistency_policy){CONSISTENCY_BOUNDED, 101, 5};
    assert_int_equal(govern_set_level(&r, &p, AT, "", &next), ERR_OK);
}

static void a_new_list_moves_the_writes_if_asked(void **state)
{
    (void)state;
    struct govern_record r = three(CONSISTENCY_SESSION), next;
    const raft_region order[] = {3, 1, 2};
    assert_int_equal(
        govern_set_priority(&r, order, 3, false, true, AT, "", &next), ERR_OK);
    assert_int_equal(next.write_region, 3);
    assert_int_equal(next.from_region, 1);
    assert_int_equal(next.priority[0], 3);
    assert_false(next.failback || next.manual);
    /* Not asked: nothing shall move them later, either. */
    assert_int_equal(
        govern_set_priority(&r, order, 3, true, false, AT, "", &next), ERR_OK);
    assert_int_equal(next.write_region, 1);
    assert_true(next.manual);
    /* Not to a region that is down. */
    r.down = govern_region_bit(3);
    assert_int_equal(
        govern_set_priority(&r, order, 3, true, true, AT, "", &next), ERR_OK);
    assert_int_equal(next.write_region, 1);
    const raft_region twice[] = {3, 3, 2}, other[] = {3, 1, 9};
    assert_int_equal(
        govern_set_priority(&r, twice, 3, true, true, AT, "", &next),
        ERR_INVALID);
    assert_int_equal(
        govern_set_priority(&r, other, 3, true, true, AT, "", &next),
        ERR_INVALID);
    assert_int_equal(
        govern_set_priority(&r, order, 2, true, true, AT, "", &next),
        ERR_INVALID);
}

static void the_write_region_campaigns_first(void **state)
{
    (void)state;
    struct govern_record r = three(CONSISTENCY_SESSION);
    struct raft_config now = {.n = 0}, want;
    for (raft_id id = 1; id <= 3; id++)
        assert_int_equal(
            raft_config_add(&now,
                            (struct raft_member){.id = id,
                                                 .region = (raft_region)id,
                                                 .voter = true}),
            ERR_OK);
    r.write_region = 2;
    govern_config(&r, false, &now, &want);
    assert_int_equal(want.epoch, 4);
    assert_int_equal(want.ack, RAFT_ACK_REGION);
    assert_int_equal(want.write_region, 2);
    assert_int_equal(want.members[0].priority, 1);
    assert_int_equal(want.members[1].priority, 0);
    assert_int_equal(want.members[2].priority, 2);
    assert_int_equal(raft_config_check(&want), ERR_OK);
    /* The meta shard is always strong. */
    govern_config(&r, true, &now, &want);
    assert_int_equal(want.epoch, 0);
    assert_int_equal(want.ack, RAFT_ACK_COMMIT);
    assert_int_equal(want.members[1].priority, 0);
}

static void survivors_go_on_under_the_first_of_them(void **state)
{
    (void)state;
    struct govern_record r = three(CONSISTENCY_SESSION), next;
    r.write_region = 1;
    govern_recover(&r, 9, govern_region_bit(3) | govern_region_bit(2), AT,
                   "fire", &next);
    assert_int_equal(next.epoch, 9);
    assert_int_equal(next.write_region, 2);
    assert_int_equal(next.down, govern_region_bit(1));
    assert_int_equal(next.recovered, 1);
    assert_int_equal(next.recovered_epoch, 9);
    assert_true(next.forced && !next.settled);
}

static void the_write_region_goes_on_if_it_survives(void **state)
{
    (void)state;
    struct govern_record r = three(CONSISTENCY_SESSION), next;
    r.write_region = 3;
    govern_recover(&r, 9, govern_region_bit(3) | govern_region_bit(2), AT,
                   "fire", &next);
    assert_int_equal(next.write_region, 3);
    assert_int_equal(next.down, govern_region_bit(1));
}

/* A node that knows only its logs recovers to the same configuration. */
static void a_configuration_tells_enough_to_recover(void **state)
{
    (void)state;
    const enum consistency_level levels[] = {CONSISTENCY_STRONG,
                                             CONSISTENCY_EVENTUAL};
    for (uint32_t k = 0; k < 3 * 2 * 7; k++) {
        struct govern_record r = three(levels[k % 2]), guess, a, b;
        struct raft_config none = {.n = 0}, was, from_record, from_log;
        govern_regions survivors = 1 + k / 6;
        r.write_region = 1 + k / 2 % 3;
        for (uint32_t i = 1; i <= 3; i++)
            assert_int_equal(
                raft_config_add(
                    &none,
                    (struct raft_member){.id = i, .region = i, .voter = true}),
                ERR_OK);
        govern_config(&r, false, &none, &was);
        govern_from_config(&was, &guess);
        govern_recover(&r, 9, survivors, AT, "fire", &a);
        govern_recover(&guess, 9, survivors, AT, "fire", &b);
        govern_config(&a, false, &was, &from_record);
        govern_config(&b, false, &was, &from_log);
        assert_int_equal(from_record.ack, from_log.ack);
        assert_int_equal(from_record.write_region, from_log.write_region);
        for (uint32_t i = 0; i < 3; i++)
            assert_int_equal(from_record.members[i].priority == 0,
                             from_log.members[i].priority == 0);
    }
}

static void plans_become_records(void **state)
{
    (void)state;
    struct govern_record r = three(CONSISTENCY_SESSION), next;
    struct failover_plan plan = {.action = FAILOVER_NONE, .expected_epoch = 4};
    assert_false(govern_decide(&r, &plan, true, AT, &next));

    plan = (struct failover_plan){.action = FAILOVER_FORCE,
                                  .expected_epoch = 4,
                                  .to = 2,
                                  .n_down = 1,
                                  .down = {1},
                                  .reason = "1 burns"};
    assert_true(govern_decide(&r, &plan, true, AT, &next));
    assert_int_equal(next.epoch, 5);
    assert_int_equal(next.write_region, 2);
    assert_true(next.forced);
    assert_int_equal(next.down, govern_region_bit(1));
    assert_string_equal(next.reason, "1 burns");
    /* Made for an older record. */
    plan.expected_epoch = 3;
    assert_false(govern_decide(&r, &plan, true, AT, &next));

    plan = (struct failover_plan){.action = FAILOVER_DECLARE,
                                  .expected_epoch = 4,
                                  .n_down = 1,
                                  .down = {3}};
    assert_true(govern_decide(&r, &plan, true, AT, &next));
    assert_int_equal(next.epoch, 4);
    assert_true(next.settled);
    assert_int_equal(next.down, govern_region_bit(3));

    /* Under way, until all shards follow; or escalated. */
    assert_int_equal(govern_switch(&r, 3, false, false, AT, "", &r), ERR_OK);
    plan = (struct failover_plan){.action = FAILOVER_NONE, .expected_epoch = 5};
    assert_false(govern_decide(&r, &plan, false, AT, &next));
    assert_true(govern_decide(&r, &plan, true, AT, &next));
    assert_true(next.settled);
    assert_int_equal(next.epoch, 5);
    plan.action = FAILOVER_ESCALATE;
    assert_true(govern_decide(&r, &plan, true, AT, &next));
    assert_int_equal(next.epoch, 6);
    assert_int_equal(next.write_region, 3);
    assert_true(next.forced && !next.settled);
}

static void the_controller_sees_the_record(void **state)
{
    (void)state;
    struct govern_record r = three(CONSISTENCY_STRONG);
    struct failover_group g;
    r.down = govern_region_bit(2);
    r.manual = true;
    govern_group(&r, "default", 77, &g);
    assert_int_equal(g.n_regions, 3);
    assert_int_equal(g.regions[2], 3);
    assert_int_equal(g.write_region, 1);
    assert_true(g.commit_rule && g.pinned && g.settled && g.failback);
    assert_int_equal(g.n_down, 1);
    assert_int_equal(g.down[0], 2);
    assert_int_equal(g.changed_us, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_level_says_who_acknowledges),
        cmocka_unit_test(every_change_of_region_or_rule_is_a_new_epoch),
        cmocka_unit_test(only_a_region_s_rule_can_be_forced),
        cmocka_unit_test(a_change_to_strong_under_way_can_be_forced),
        cmocka_unit_test(a_change_of_level_goes_on_with_a_switch_under_way),
        cmocka_unit_test(bounds_begin_at_one),
        cmocka_unit_test(a_new_list_moves_the_writes_if_asked),
        cmocka_unit_test(the_write_region_campaigns_first),
        cmocka_unit_test(survivors_go_on_under_the_first_of_them),
        cmocka_unit_test(the_write_region_goes_on_if_it_survives),
        cmocka_unit_test(a_configuration_tells_enough_to_recover),
        cmocka_unit_test(plans_become_records),
        cmocka_unit_test(the_controller_sees_the_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
