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

static void the_same_decision_can_be_made_anew(void **state)
{
    (void)state;
    struct govern_record r = three(CONSISTENCY_SESSION), next;
    assert_int_equal(govern_renew(&r, AT, "again", &next), ERR_OK);
    assert_int_equal(next.epoch, r.epoch + 1);
    assert_int_equal(next.write_region, r.write_region);
    assert_int_equal(next.from_region, r.write_region);
    assert_false(next.settled || next.forced);
    assert_int_equal(govern_renew(&next, AT, "again", &next), ERR_BUSY);
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

/* ---- members ----------------------------------------------------------------
 */

/* Nodes 1 to 3 in regions 1 to 3, by name; node 4 is region 4's. */
static const struct govern_member four[] = {{1, 1}, {2, 2}, {3, 3}, {4, 4}};
static const raft_region list_of_four[] = {1, 2, 3, 4};

static struct govern_record named_three(enum consistency_level level)
{
    struct govern_record r = three(level);
    r.n_members = 3;
    memcpy(r.members, four, 3 * sizeof(four[0]));
    return r;
}

static int set_members(const struct govern_record *now,
                       const struct govern_member *members, uint32_t n,
                       const raft_region *priority, uint32_t n_priority,
                       struct govern_record *next_out)
{
    return govern_set_members(now, members, n, priority, n_priority, AT, "why",
                              next_out);
}

static void a_region_comes(void **state)
{
    (void)state;
    const raft_region order[] = {4, 1, 2, 3};
    struct govern_record r = named_three(CONSISTENCY_SESSION), next;
    assert_int_equal(set_members(&r, four, 4, order, 4, &next), ERR_OK);
    assert_int_equal(next.epoch, 5);
    assert_int_equal(next.n_members, 4);
    assert_int_equal(next.n_regions, 4);
    assert_memory_equal(next.priority, order, sizeof(order));
    assert_int_equal(next.coming, govern_region_bit(4));
    assert_int_equal(next.leaving, 0);
    assert_true(!next.settled && !next.forced);
    assert_int_equal(next.write_region, 1);
    assert_int_equal(next.from_region, 1);
    assert_int_equal(next.at_us, AT);
    assert_string_equal(next.reason, "why");
    govern_set_settled(&next, &next);
    assert_int_equal(next.coming, 0);
}

/* The list as it was asked for, and at its end the region that leaves. */
static void a_region_leaves(void **state)
{
    (void)state;
    const struct govern_member two[] = {{2, 2}, {3, 3}};
    const raft_region order[] = {3, 4, 2}; /* 4 has no member */
    struct govern_record r = named_three(CONSISTENCY_SESSION), next, after;
    r.write_region = 2;
    r.down = govern_region_bit(1);
    assert_int_equal(set_members(&r, two, 2, order, 3, &next), ERR_OK);
    const raft_region expected[] = {3, 2, 1};
    assert_int_equal(next.n_regions, 3);
    assert_memory_equal(next.priority, expected, sizeof(expected));
    assert_int_equal(next.leaving, govern_region_bit(1));
    assert_int_equal(next.coming, 0);
    assert_int_equal(next.write_region, 2);

    /* Nothing else about members until it is gone. */
    assert_int_equal(set_members(&next, four, 3, list_of_four, 3, &after),
                     ERR_BUSY);
    govern_set_settled(&next, &next);
    assert_int_equal(set_members(&next, four, 3, list_of_four, 3, &after),
                     ERR_BUSY);
    govern_drop_leaving(&next, &after);
    assert_int_equal(after.epoch, next.epoch);
    assert_int_equal(after.n_regions, 2);
    assert_memory_equal(after.priority, expected, 2 * sizeof(expected[0]));
    assert_true(after.leaving == 0 && after.down == 0 && after.settled);
    assert_int_equal(after.from_region, 2);
    assert_int_equal(set_members(&after, four, 3, list_of_four, 3, &next),
                     ERR_OK);
}

static void the_write_region_leaves(void **state)
{
    (void)state;
    const struct govern_member rest[] = {{2, 2}, {3, 3}, {4, 4}};
    const struct govern_member new_ones[] = {{4, 4}};
    const raft_region order[] = {4, 2, 3};
    struct govern_record r = named_three(CONSISTENCY_SESSION), next;
    r.manual = true;
    /* The first of the list is new, and cannot write yet. */
    assert_int_equal(set_members(&r, rest, 3, order, 3, &next), ERR_OK);
    assert_int_equal(next.write_region, 2);
    assert_int_equal(next.from_region, 1);
    assert_true(!next.manual && !next.forced);
    assert_int_equal(next.leaving, govern_region_bit(1));
    assert_int_equal(next.coming, govern_region_bit(4));
    govern_set_settled(&next, &next);
    govern_drop_leaving(&next, &next);
    /* Where the writes come from is gone. */
    assert_int_equal(next.from_region, 2);
    /* Also where the record named nobody before. */
    struct govern_record unnamed = three(CONSISTENCY_SESSION);
    assert_int_equal(set_members(&unnamed, rest, 3, order, 3, &next), ERR_OK);
    assert_int_equal(next.write_region, 2);

    r.down = govern_region_bit(2);
    assert_int_equal(set_members(&r, rest, 3, order, 3, &next), ERR_OK);
    assert_int_equal(next.write_region, 3);
    r.down |= govern_region_bit(3);
    assert_int_equal(set_members(&r, rest, 3, order, 3, &next),
                     ERR_UNAVAILABLE);
    r.down = 0;
    assert_int_equal(set_members(&r, new_ones, 1, order, 1, &next),
                     ERR_UNAVAILABLE);
}

static void what_is_no_list_of_members(void **state)
{
    (void)state;
    struct govern_record r = named_three(CONSISTENCY_SESSION), next;
    const struct govern_member twice[] = {{1, 1}, {1, 1}};
    const struct govern_member unordered[] = {{2, 2}, {1, 1}};
    const struct govern_member nobody[] = {{0, 1}, {1, 1}};
    const raft_region repeated[] = {1, 2, 1};
    struct govern_member many[RAFT_MEMBERS_MAX + 1];
    raft_region regions[GROUP_REGIONS_MAX + 1];
    memset(&next, 7, sizeof(next));
    struct govern_record untouched = next;
    for (uint32_t i = 0; i <= RAFT_MEMBERS_MAX; i++)
        many[i] = (struct govern_member){.id = i + 1, .region = 1};
    for (uint32_t i = 0; i <= GROUP_REGIONS_MAX; i++)
        regions[i] = (raft_region)(i + 1);
    assert_int_equal(set_members(&r, four, 0, list_of_four, 4, &next),
                     ERR_INVALID);
    assert_int_equal(set_members(&r, twice, 2, list_of_four, 4, &next),
                     ERR_INVALID);
    assert_int_equal(set_members(&r, unordered, 2, list_of_four, 4, &next),
                     ERR_INVALID);
    assert_int_equal(set_members(&r, nobody, 2, list_of_four, 4, &next),
                     ERR_INVALID);
    /* Region 4 is not listed; one is listed twice; too many of either. */
    assert_int_equal(set_members(&r, four, 4, list_of_four, 3, &next),
                     ERR_INVALID);
    assert_int_equal(set_members(&r, four, 2, repeated, 3, &next), ERR_INVALID);
    assert_int_equal(
        set_members(&r, many, RAFT_MEMBERS_MAX + 1, list_of_four, 4, &next),
        ERR_INVALID);
    assert_int_equal(
        set_members(&r, four, 4, regions, GROUP_REGIONS_MAX + 1, &next),
        ERR_INVALID);
    assert_memory_equal(&next, &untouched, sizeof(next));
}

/* Those that leave are on it, too. */
static void the_list_of_regions_is_bounded(void **state)
{
    (void)state;
    struct govern_record r = {.epoch = 1,
                              .write_region = 1,
                              .from_region = 1,
                              .settled = true,
                              .n_regions = GROUP_REGIONS_MAX};
    struct govern_record next;
    struct govern_member members[GROUP_REGIONS_MAX];
    raft_region order[GROUP_REGIONS_MAX];
    for (uint32_t i = 0; i < GROUP_REGIONS_MAX; i++) {
        raft_region region = (raft_region)(i + 1);
        r.priority[i] = region;
        r.members[r.n_members++] =
            (struct govern_member){.id = i + 1, .region = region};
    }
    memcpy(members, r.members, sizeof(members));
    memcpy(order, r.priority, sizeof(order));
    order[GROUP_REGIONS_MAX - 1] = GROUP_REGIONS_MAX + 1;
    members[GROUP_REGIONS_MAX - 1] = (struct govern_member){
        .id = GROUP_REGIONS_MAX + 1, .region = GROUP_REGIONS_MAX + 1};
    assert_int_equal(set_members(&r, members, GROUP_REGIONS_MAX, order,
                                 GROUP_REGIONS_MAX, &next),
                     ERR_INVALID);
    assert_int_equal(set_members(&r, members, GROUP_REGIONS_MAX - 1, order,
                                 GROUP_REGIONS_MAX - 1, &next),
                     ERR_OK);
}

static void what_members_cannot_change(void **state)
{
    (void)state;
    struct govern_record r = named_three(CONSISTENCY_SESSION), next;
    assert_int_equal(set_members(&r, four, 3, list_of_four, 3, &next),
                     ERR_EXISTS);
    /* Another order of the same regions is something. */
    const raft_region order[] = {2, 1, 3};
    assert_int_equal(set_members(&r, four, 3, order, 3, &next), ERR_OK);
    assert_int_equal(next.write_region, 1);
    /* So is to name those who are there. */
    struct govern_record unnamed = three(CONSISTENCY_SESSION);
    assert_int_equal(set_members(&unnamed, four, 3, list_of_four, 3, &next),
                     ERR_OK);
    struct govern_record unsettled = r;
    unsettled.settled = false;
    assert_int_equal(set_members(&unsettled, four, 4, list_of_four, 4, &next),
                     ERR_BUSY);
}

static void a_witness_stays_when_a_region_is_exchanged(void **state)
{
    (void)state;
    /* Nodes 1 and 2 in regions 1 and 2, the witness 3 in region 3. */
    const struct govern_member exchanged[] = {{1, 1}, {3, 3}, {4, 4}};
    const struct govern_member more[] = {{1, 1}, {2, 2}, {3, 3}, {4, 4}};
    const struct govern_member fewer[] = {{1, 1}, {3, 3}};
    const struct govern_member without[] = {{1, 1}, {2, 2}, {4, 4}};
    const struct govern_member other[] = {{2, 2}, {3, 3}, {5, 1}};
    const struct govern_member uneven[] = {{1, 1}, {3, 3}, {5, 1}};
    const struct govern_member beside[] = {{1, 1}, {3, 3}, {6, 3}};
    const raft_region list[] = {1, 2, 4}, first[] = {2, 1},
                      with_its_own[] = {1, 3};
    struct govern_record r = named_three(CONSISTENCY_SESSION), next;
    r.witness = four[2];
    r.n_regions = 2;
    assert_int_equal(set_members(&r, exchanged, 3, list, 3, &next), ERR_OK);
    assert_int_equal(next.witness.id, 3);
    assert_int_equal(next.n_regions, 3);
    assert_int_equal(next.leaving, govern_region_bit(2));
    assert_int_equal(next.coming, govern_region_bit(4));
    /* Another order of the two is something, too. */
    assert_int_equal(set_members(&r, four, 3, first, 2, &next), ERR_OK);
    assert_int_equal(set_members(&r, four, 3, list, 3, &next), ERR_EXISTS);
    assert_int_equal(set_members(&r, more, 4, list, 3, &next), ERR_UNSUPPORTED);
    assert_int_equal(set_members(&r, fewer, 2, list, 3, &next),
                     ERR_UNSUPPORTED);
    assert_int_equal(set_members(&r, without, 3, list, 3, &next),
                     ERR_UNSUPPORTED);
    assert_int_equal(set_members(&r, other, 3, list, 3, &next),
                     ERR_UNSUPPORTED);
    assert_int_equal(set_members(&r, uneven, 3, list, 3, &next),
                     ERR_UNSUPPORTED);
    assert_int_equal(set_members(&r, beside, 3, with_its_own, 2, &next),
                     ERR_UNSUPPORTED);
}

/* Nodes 1 and 2 in regions 1 and 2. */
static struct govern_record named_two(void)
{
    struct govern_record r = named_three(CONSISTENCY_SESSION);
    r.n_members = 2;
    r.members[2] = (struct govern_member){.id = 0};
    r.n_regions = 2;
    return r;
}

static int set_witness(const struct govern_record *now, raft_id id,
                       raft_region region, struct govern_record *next_out)
{
    return govern_set_witness(now, (struct govern_member){id, region}, AT,
                              "why", next_out);
}

static void a_witness_comes_moves_and_goes(void **state)
{
    (void)state;
    struct failover_group group;
    struct failover_plan plan = {.action = FAILOVER_NONE};
    struct govern_record r = named_two();
    /* In between by id, as the members are kept. */
    r.members[1].id = 4;
    assert_int_equal(set_witness(&r, 3, 3, &r), ERR_OK);
    assert_true(r.epoch == 5 && !r.settled && r.n_members == 3);
    assert_true(r.members[1].id == 3 && r.members[2].id == 4);
    assert_true(r.witness.id == 3 && r.witness_coming);
    assert_false(govern_has_leaving(&r));
    govern_group(&r, "eu", 0, &group);
    assert_int_equal(group.witness, 0); /* not before it votes */
    assert_true(govern_decide(&r, &plan, true, AT, &r));
    assert_false(r.witness_coming);
    govern_group(&r, "eu", 0, &group);
    assert_int_equal(group.witness, 3);
    plan.expected_epoch = r.epoch;
    assert_false(govern_decide(&r, &plan, true, AT, &r));
    assert_int_equal(set_witness(&r, 3, 3, &r), ERR_EXISTS);
    assert_int_equal(set_witness(&r, 5, 5, &r), ERR_OK);
    assert_true(r.n_members == 3 && r.members[1].id == 4);
    assert_true(r.members[2].id == 5 && r.witness_leaving.id == 3);
    govern_group(&r, "eu", 0, &group); /* both, until that is done */
    assert_true(group.witness == 5 && group.witness_leaving == 3);
    assert_int_equal(set_witness(&r, 0, 0, &r), ERR_BUSY);
    assert_true(govern_decide(&r, &plan, true, AT, &r));
    assert_int_equal(set_witness(&r, 0, 0, &r), ERR_BUSY);
    assert_true(govern_decide(&r, &plan, true, AT, &r));
    assert_int_equal(r.witness_leaving.id, 0);
    assert_int_equal(set_witness(&r, 0, 0, &r), ERR_OK);
    assert_true(r.n_members == 2 && r.witness.id == 0);
    assert_int_equal(r.witness_leaving.id, 5);
    govern_group(&r, "eu", 0, &group);
    assert_true(group.witness == 0 && group.witness_leaving == 0);
}

static void a_witness_that_comes_can_be_taken_back(void **state)
{
    (void)state;
    struct failover_group group;
    struct failover_plan plan = {.action = FAILOVER_NONE};
    struct govern_record r = named_two(), back;
    /* The first one: there is none again. */
    assert_int_equal(set_witness(&r, 3, 3, &r), ERR_OK);
    assert_int_equal(set_witness(&r, 5, 5, &back), ERR_BUSY);
    assert_int_equal(set_witness(&r, 0, 0, &back), ERR_OK);
    assert_true(back.epoch == r.epoch + 1 && !back.settled);
    assert_true(back.n_members == 2 && back.witness.id == 0);
    assert_true(!back.witness_coming && back.witness_leaving.id == 3);
    /* Not twice: what is left of it may be in every shard's way. */
    assert_int_equal(set_witness(&back, 3, 3, &back), ERR_BUSY);
    /* In the place of another: that one, and no third. */
    assert_true(govern_decide(&r, &plan, true, AT, &r));
    assert_int_equal(set_witness(&r, 5, 5, &r), ERR_OK);
    assert_int_equal(set_witness(&r, 0, 0, &back), ERR_BUSY);
    assert_int_equal(set_witness(&r, 6, 6, &back), ERR_BUSY);
    assert_int_equal(set_witness(&r, 3, 3, &back), ERR_OK);
    assert_true(back.n_members == 3 && back.witness.id == 3);
    assert_true(back.witness_coming && back.witness_leaving.id == 5);
    govern_group(&back, "eu", 0,
                 &group); /* some shards may have made the step */
    assert_true(group.witness == 3 && group.witness_leaving == 5);
    assert_int_equal(set_witness(&back, 5, 5, &back), ERR_OK);
    /* Once all shards have it the one before may be deleted. */
    assert_true(govern_decide(&r, &plan, true, AT, &r));
    assert_int_equal(set_witness(&r, 3, 3, &back), ERR_BUSY);
}

/* Shards without a leader may need the rule of the switch that is under way. */
static void taking_a_witness_back_goes_on_with_a_switch(void **state)
{
    (void)state;
    struct govern_record r = named_two();
    assert_int_equal(set_witness(&r, 3, 3, &r), ERR_OK);
    assert_int_equal(govern_switch(&r, 2, true, false, AT, "lost", &r), ERR_OK);
    assert_int_equal(set_witness(&r, 0, 0, &r), ERR_OK);
    assert_true(r.forced && r.write_region == 2 && r.from_region == 1);
}

static void a_witness_needs_two_even_regions(void **state)
{
    (void)state;
    const struct govern_member other[] = {{1, 1}, {4, 4}};
    const raft_region list[] = {1, 4};
    struct govern_record r = named_two(), next;
    assert_int_equal(set_witness(&r, 0, 0, &next), ERR_EXISTS);
    assert_int_equal(set_witness(&r, 2, 2, &next), ERR_UNSUPPORTED);
    assert_int_equal(set_witness(&r, 6, 2, &next), ERR_UNSUPPORTED);
    struct govern_record uneven = r;
    uneven.members[uneven.n_members++] = (struct govern_member){6, 1};
    assert_int_equal(set_witness(&uneven, 3, 3, &next), ERR_UNSUPPORTED);
    struct govern_record more = named_three(CONSISTENCY_SESSION);
    assert_int_equal(set_witness(&more, 4, 4, &next), ERR_UNSUPPORTED);
    struct govern_record everywhere = three(CONSISTENCY_SESSION);
    assert_int_equal(set_witness(&everywhere, 4, 4, &next), ERR_UNSUPPORTED);
    /* One change at a time. */
    assert_int_equal(set_witness(&r, 3, 3, &next), ERR_OK);
    assert_int_equal(set_members(&next, other, 2, list, 2, &next), ERR_BUSY);
    assert_int_equal(set_members(&r, other, 2, list, 2, &r), ERR_OK);
    assert_int_equal(set_witness(&r, 3, 3, &next), ERR_BUSY);
}

/* A shard without voters in the new region could not follow. */
static void writes_go_to_no_region_that_comes_or_leaves(void **state)
{
    (void)state;
    const struct govern_member now[] = {{1, 1}, {2, 2}, {4, 4}};
    const raft_region order[] = {1, 2, 4};
    const raft_region leaving_first[] = {3, 1, 2, 4},
                      coming_first[] = {4, 1, 2, 3};
    struct govern_record r = named_three(CONSISTENCY_SESSION), next;
    struct failover_group group;
    assert_int_equal(set_members(&r, now, 3, order, 3, &r), ERR_OK);
    assert_int_equal(govern_switch(&r, 3, false, true, AT, "", &next),
                     ERR_NOT_FOUND);
    assert_int_equal(govern_switch(&r, 4, true, false, AT, "", &next),
                     ERR_NOT_FOUND);
    assert_int_equal(
        govern_set_priority(&r, leaving_first, 4, true, true, AT, "", &next),
        ERR_OK);
    assert_int_equal(next.write_region, 1);
    assert_int_equal(
        govern_set_priority(&r, coming_first, 4, true, true, AT, "", &next),
        ERR_OK);
    assert_int_equal(next.write_region, 1);
    govern_group(&r, "default", 0, &group);
    assert_int_equal(group.n_regions, 2);
    assert_int_equal(group.regions[1], 2);
    assert_int_equal(govern_switch(&r, 2, false, true, AT, "", &next), ERR_OK);
    govern_set_settled(&r, &r);
    assert_int_equal(govern_switch(&r, 4, false, true, AT, "", &next), ERR_OK);
    assert_int_equal(govern_switch(&r, 3, false, true, AT, "", &next),
                     ERR_NOT_FOUND);
}

/* The one that leaves may still be where the writes are. */
static void the_controller_sees_a_write_region_that_leaves(void **state)
{
    (void)state;
    struct govern_record r = three(CONSISTENCY_SESSION);
    struct failover_group group;
    r.leaving = govern_region_bit(1) | govern_region_bit(3);
    r.down = govern_region_bit(3);
    govern_group(&r, "default", 0, &group);
    assert_int_equal(group.n_regions, 2);
    assert_int_equal(group.regions[0], 1);
    assert_int_equal(group.regions[1], 2);
    assert_int_equal(group.n_down, 0);
}

static void members_are_all_or_not(void **state)
{
    (void)state;
    struct govern_record r = named_three(CONSISTENCY_SESSION);
    struct raft_config c = {0}, other;
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(
            raft_config_add(&c, (struct raft_member){.id = four[i].id,
                                                     .region = four[i].region,
                                                     .voter = true}),
            ERR_OK);
    assert_true(govern_members_are(&r, &c));
    assert_true(govern_wants(&r, 3) && !govern_wants(&r, 4));
    other = c;
    other.joint = true;
    assert_false(govern_members_are(&r, &other));
    other = c;
    other.members[1].voter = false;
    assert_false(govern_members_are(&r, &other));
    other = c;
    other.n = 2;
    assert_false(govern_members_are(&r, &other));
    other = c;
    other.members[2].id = 4;
    assert_false(govern_members_are(&r, &other));
    /* A witness is one where the record says so, and nowhere else. */
    other = c;
    other.members[2].witness = true;
    assert_false(govern_members_are(&r, &other));
    r.witness = four[2];
    assert_true(govern_members_are(&r, &other));
    assert_false(govern_members_are(&r, &c));
    /* Without names anybody will do. */
    r.n_members = 0;
    assert_true(govern_members_are(&r, &c) && govern_wants(&r, 4));
}

/* Once the shards have the members, the regions that left go; plans first. */
static void regions_that_left_are_dropped(void **state)
{
    (void)state;
    const struct govern_member two[] = {{1, 1}, {2, 2}};
    struct govern_record r = named_three(CONSISTENCY_SESSION), next;
    assert_int_equal(set_members(&r, two, 2, list_of_four, 2, &r), ERR_OK);
    struct failover_plan plan = {.action = FAILOVER_NONE, .expected_epoch = 5};
    assert_false(govern_decide(&r, &plan, false, AT, &next));
    assert_true(govern_decide(&r, &plan, true, AT, &next));
    assert_true(next.settled);
    assert_int_equal(next.n_regions, 3);
    struct failover_plan declare = {.action = FAILOVER_DECLARE,
                                    .expected_epoch = 5,
                                    .n_down = 1,
                                    .down = {2}};
    struct govern_record declared;
    assert_true(govern_decide(&next, &declare, true, AT, &declared));
    assert_int_equal(declared.leaving, govern_region_bit(3));
    /* Whatever the shards report by then. */
    assert_true(govern_decide(&next, &plan, false, AT, &next));
    assert_int_equal(next.n_regions, 2);
    assert_int_equal(next.leaving, 0);
    assert_int_equal(next.epoch, 5);
    assert_false(govern_decide(&next, &plan, true, AT, &next));
}

static void a_node_that_cannot_write_learns_from_others(void **state)
{
    (void)state;
    struct govern_record r = three(CONSISTENCY_BOUNDED), next, hint = {0};
    struct govern_hint said;
    govern_tell(&r, &said);
    assert_false(govern_learn(&r, &said, &hint));
    assert_int_equal(hint.epoch, 0);

    assert_int_equal(govern_switch(&r, 2, false, false, AT, "", &next), ERR_OK);
    govern_tell(&next, &said);
    assert_true(govern_learn(&r, &said, &hint));
    assert_int_equal(hint.epoch, 5);
    assert_int_equal(hint.write_region, 2);
    assert_int_equal(hint.from_region, 1);
    assert_int_equal(hint.consistency.level, CONSISTENCY_BOUNDED);
    assert_int_equal(hint.n_regions, 3);
    assert_false(hint.settled || hint.forced);
    /* Nothing new; then that it is done; then older news. */
    assert_false(govern_learn(&r, &said, &hint));
    said.settled = true;
    assert_true(govern_learn(&r, &said, &hint));
    assert_true(hint.settled);
    govern_escalate(&next, AT, "", &next);
    struct govern_hint forced;
    govern_tell(&next, &forced);
    assert_true(govern_learn(&r, &forced, &hint));
    assert_true(hint.forced);
    assert_false(govern_learn(&r, &said, &hint));
    assert_int_equal(hint.epoch, 6);
}

static void a_hint_that_makes_no_sense_is_passed_over(void **state)
{
    (void)state;
    struct govern_record r = three(CONSISTENCY_SESSION), hint = {0};
    struct govern_hint said = {.epoch = 9};
    assert_false(govern_learn(&r, &said, &hint));
    said.write_region = 7;
    assert_false(govern_learn(&r, &said, &hint));
    said.write_region = 2;
    said.consistency.level = CONSISTENCY_COUNT;
    assert_false(govern_learn(&r, &said, &hint));
    assert_int_equal(hint.epoch, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_level_says_who_acknowledges),
        cmocka_unit_test(a_node_that_cannot_write_learns_from_others),
        cmocka_unit_test(a_hint_that_makes_no_sense_is_passed_over),
        cmocka_unit_test(every_change_of_region_or_rule_is_a_new_epoch),
        cmocka_unit_test(only_a_region_s_rule_can_be_forced),
        cmocka_unit_test(a_change_to_strong_under_way_can_be_forced),
        cmocka_unit_test(a_change_of_level_goes_on_with_a_switch_under_way),
        cmocka_unit_test(the_same_decision_can_be_made_anew),
        cmocka_unit_test(bounds_begin_at_one),
        cmocka_unit_test(a_new_list_moves_the_writes_if_asked),
        cmocka_unit_test(the_write_region_campaigns_first),
        cmocka_unit_test(survivors_go_on_under_the_first_of_them),
        cmocka_unit_test(the_write_region_goes_on_if_it_survives),
        cmocka_unit_test(a_configuration_tells_enough_to_recover),
        cmocka_unit_test(plans_become_records),
        cmocka_unit_test(the_controller_sees_the_record),
        cmocka_unit_test(a_region_comes),
        cmocka_unit_test(a_region_leaves),
        cmocka_unit_test(the_write_region_leaves),
        cmocka_unit_test(what_is_no_list_of_members),
        cmocka_unit_test(the_list_of_regions_is_bounded),
        cmocka_unit_test(what_members_cannot_change),
        cmocka_unit_test(a_witness_stays_when_a_region_is_exchanged),
        cmocka_unit_test(a_witness_comes_moves_and_goes),
        cmocka_unit_test(a_witness_that_comes_can_be_taken_back),
        cmocka_unit_test(taking_a_witness_back_goes_on_with_a_switch),
        cmocka_unit_test(a_witness_needs_two_even_regions),
        cmocka_unit_test(writes_go_to_no_region_that_comes_or_leaves),
        cmocka_unit_test(the_controller_sees_a_write_region_that_leaves),
        cmocka_unit_test(members_are_all_or_not),
        cmocka_unit_test(regions_that_left_are_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
