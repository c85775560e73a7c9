/* Configurations: their checks, the path through a joint one, their bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "consensus/members.h"
#include "node/base/err.h"
#include "node/base/prng.h"

static struct raft_config voters(const raft_id *ids, size_t n)
{
    struct raft_config c = {0};
    for (size_t i = 0; i < n; i++) {
        struct raft_member m = {.id = ids[i],
                                .region = (raft_region)(1 + ids[i] % 3),
                                .voter = true};
        assert_int_equal(raft_config_add(&c, m), ERR_OK);
    }
    return c;
}

#define VOTERS(...)                                                            \
    voters((const raft_id[]){__VA_ARGS__},                                     \
           sizeof((const raft_id[]){__VA_ARGS__}) / sizeof(raft_id))

static void members_are_kept_in_order(void **state)
{
    (void)state;
    struct raft_config c = VOTERS(5, 1, 3);
    assert_int_equal(c.members[0].id, 1);
    assert_int_equal(c.members[1].id, 3);
    assert_int_equal(c.members[2].id, 5);
    struct raft_member again = {.id = 3, .region = 1, .voter = true};
    assert_int_equal(raft_config_add(&c, again), ERR_EXISTS);
}

static void a_configuration_has_a_limit(void **state)
{
    (void)state;
    struct raft_config c = {0};
    struct raft_member m = {.region = 1, .voter = true};
    for (m.id = 1; m.id <= RAFT_MEMBERS_MAX; m.id++)
        assert_int_equal(raft_config_add(&c, m), ERR_OK);
    assert_int_equal(raft_config_add(&c, m), ERR_LIMIT);
}

static void senseless_configurations_are_refused(void **state)
{
    (void)state;
    struct raft_config none = {0};
    assert_int_equal(raft_config_check(&none), ERR_INVALID);
    struct raft_config c = VOTERS(1, 2, 3);
    assert_int_equal(raft_config_check(&c), ERR_OK);
    c.members[1].voter_old = true; /* not joint */
    assert_int_equal(raft_config_check(&c), ERR_INVALID);
    c = VOTERS(1, 2, 3);
    c.ack = RAFT_ACK_REGION; /* without a region */
    assert_int_equal(raft_config_check(&c), ERR_INVALID);
    c.write_region = 9; /* without a voter */
    assert_int_equal(raft_config_check(&c), ERR_INVALID);
    c.write_region = 2;
    assert_int_equal(raft_config_check(&c), ERR_OK);
    c.joint = true; /* with an empty old half */
    assert_int_equal(raft_config_check(&c), ERR_INVALID);
}

static void a_change_of_voters_goes_through_a_joint_configuration(void **state)
{
    (void)state;
    struct raft_config now = VOTERS(1, 2, 3);
    struct raft_config target = VOTERS(2, 3, 4);
    struct raft_config joint;
    assert_int_equal(raft_config_enter(&now, &target, &joint), ERR_OK);
    assert_true(joint.joint);
    assert_int_equal(joint.n, 4);
    assert_true(raft_config_find(&joint, 1)->leaving);
    assert_true(raft_config_find(&joint, 1)->voter_old);
    assert_false(raft_config_find(&joint, 1)->voter);
    assert_true(raft_config_find(&joint, 4)->voter);
    assert_false(raft_config_find(&joint, 4)->voter_old);
    struct raft_config end;
    raft_config_leave(&joint, &end);
    assert_true(raft_config_equal(&end, &target));
}

static void a_demoted_voter_stays_as_a_learner(void **state)
{
    (void)state;
    struct raft_config now = VOTERS(1, 2, 3);
    struct raft_config target = now;
    target.members[0].voter = false;
    struct raft_config joint;
    assert_int_equal(raft_config_enter(&now, &target, &joint), ERR_OK);
    assert_true(joint.joint);
    assert_true(raft_config_is_voter(&joint, 1));
    struct raft_config end;
    raft_config_leave(&joint, &end);
    assert_true(raft_config_equal(&end, &target));
    assert_non_null(raft_config_find(&end, 1));
}

static void a_change_without_voters_is_one_entry(void **state)
{
    (void)state;
    struct raft_config now = VOTERS(1, 2, 3);
    struct raft_config target = now;
    struct raft_member learner = {.id = 9, .region = 1};
    assert_int_equal(raft_config_add(&target, learner), ERR_OK);
    target.epoch = 4;
    struct raft_config entry;
    assert_int_equal(raft_config_enter(&now, &target, &entry), ERR_OK);
    assert_true(raft_config_equal(&entry, &target));
}

static void impossible_changes_are_refused(void **state)
{
    (void)state;
    struct raft_config now = VOTERS(1, 2, 3);
    now.epoch = 5;
    struct raft_config out = {.epoch = 77};
    struct raft_config target = VOTERS(1, 2);
    target.epoch = 4; /* older */
    assert_int_equal(raft_config_enter(&now, &target, &out), ERR_INVALID);
    target.epoch = 5;
    target.ack = RAFT_ACK_REGION; /* voters and rule at once */
    target.write_region = 2;
    assert_int_equal(raft_config_enter(&now, &target, &out), ERR_INVALID);
    target = now;
    target.members[0].region = 3; /* moves */
    assert_int_equal(raft_config_enter(&now, &target, &out), ERR_INVALID);
    assert_int_equal(out.epoch, 77); /* untouched */
}

/* Voters 1 in region 1, 2 in region 2, and witness 3 in region 3. */
static struct raft_config with_witness(void)
{
    struct raft_config c = {0};
    for (raft_id id = 1; id <= 3; id++) {
        struct raft_member m = {.id = id,
                                .region = (raft_region)id,
                                .voter = true,
                                .witness = id == 3};
        assert_int_equal(raft_config_add(&c, m), ERR_OK);
    }
    return c;
}

static void a_witness_votes_and_does_not_lead(void **state)
{
    (void)state;
    struct raft_config c = with_witness();
    assert_int_equal(raft_config_check(&c), ERR_OK);
    assert_true(raft_config_is_witness(&c, 3));
    assert_false(raft_config_is_witness(&c, 1));
    assert_false(raft_config_is_witness(&c, 9));
    assert_true(raft_config_is_voter(&c, 3));
    assert_false(raft_config_may_lead(&c, 3));
    assert_true(raft_config_may_lead(&c, 1));
    struct raft_config plain = c;
    plain.members[2].witness = false;
    assert_false(raft_config_equal(&c, &plain));
}

static void a_witness_needs_two_regions_with_payload(void **state)
{
    (void)state;
    struct raft_config c = with_witness();
    c.members[1].voter = false; /* one region */
    assert_int_equal(raft_config_check(&c), ERR_INVALID);
    c.members[2].voter = false; /* a learner harms nobody */
    assert_int_equal(raft_config_check(&c), ERR_OK);
    c = with_witness();
    c.ack = RAFT_ACK_REGION; /* in the region of the witness */
    c.write_region = 3;
    assert_int_equal(raft_config_check(&c), ERR_INVALID);
    c = with_witness();
    c.members[2].region = 2; /* lost together with what it stands for */
    assert_int_equal(raft_config_check(&c), ERR_INVALID);
    c = with_witness();
    struct raft_member other = {
        .id = 4, .region = 4, .voter = true, .witness = true};
    assert_int_equal(raft_config_add(&c, other), ERR_OK);
    assert_int_equal(raft_config_check(&c), ERR_INVALID); /* two at once */
    c.members[2].voter = false;
    assert_int_equal(raft_config_check(&c), ERR_OK);
    c = with_witness();
    for (raft_id id = 4; id <= 5; id++) {
        struct raft_member more = {.id = id, .region = 1, .voter = true};
        assert_int_equal(raft_config_check(&c), ERR_OK);
        assert_int_equal(raft_config_add(&c, more), ERR_OK);
    }
    /* Three of five: region 1 could commit alone. */
    assert_int_equal(raft_config_check(&c), ERR_INVALID);
}

static void nobody_becomes_a_witness_or_ceases_to_be_one(void **state)
{
    (void)state;
    struct raft_config now = with_witness();
    struct raft_config out;
    struct raft_config target = now;
    target.members[2].witness = false;
    assert_int_equal(raft_config_enter(&now, &target, &out), ERR_INVALID);
    assert_int_equal(raft_config_enter(&target, &now, &out), ERR_INVALID);
    target.n = 2;
    assert_int_equal(raft_config_enter(&now, &target, &out), ERR_OK);
    assert_true(out.joint);
    assert_true(raft_config_is_witness(&out, 3));
}

/* One in each half, and never two in one. */
static void a_witness_takes_the_place_of_another_in_one_step(void **state)
{
    (void)state;
    struct raft_config now = with_witness(), target = now, out;
    struct raft_member other = {
        .id = 4, .region = 4, .voter = true, .witness = true};
    assert_int_equal(raft_config_add(&target, other), ERR_OK);
    assert_int_equal(raft_config_enter(&now, &target, &out), ERR_INVALID);
    target.members[2] = target.members[3];
    target.n = 3;
    assert_int_equal(raft_config_enter(&now, &target, &out), ERR_OK);
    assert_true(out.joint && out.n == 4);
    assert_true(!out.members[2].voter && out.members[2].voter_old);
    assert_true(out.members[3].voter && !out.members[3].voter_old);
}

static void too_many_members_together_are_refused(void **state)
{
    (void)state;
    struct raft_config now = {0};
    struct raft_config target = {0};
    for (raft_id id = 1; id <= 20; id++) {
        struct raft_member m = {.id = id, .region = 1, .voter = true};
        assert_int_equal(raft_config_add(&now, m), ERR_OK);
        m.id += 100;
        assert_int_equal(raft_config_add(&target, m), ERR_OK);
    }
    struct raft_config out;
    assert_int_equal(raft_config_enter(&now, &target, &out), ERR_LIMIT);
}

static void bytes_come_back_as_they_went(void **state)
{
    (void)state;
    struct raft_config now = VOTERS(1, 2, 3);
    struct raft_config target = VOTERS(2, 3, 40000);
    struct raft_member witness = {.id = 7, .region = 9, .witness = true};
    assert_int_equal(raft_config_add(&target, witness), ERR_OK);
    now.epoch = target.epoch = 0x01020304;
    struct raft_config joint;
    assert_int_equal(raft_config_enter(&now, &target, &joint), ERR_OK);
    struct buf b;
    buf_init(&b, 4096);
    assert_int_equal(raft_config_encode(&joint, &b), ERR_OK);
    assert_int_equal(buf_len(&b), raft_config_encoded_size(&joint));
    struct raft_config back;
    struct bytes all = bytes_of(buf_bytes(&b), buf_len(&b));
    assert_int_equal(raft_config_decode(all, &back), ERR_OK);
    assert_true(raft_config_equal(&joint, &back));
    buf_free(&b);
}

static void foreign_bytes_are_refused(void **state)
{
    (void)state;
    struct raft_config c = VOTERS(1, 2, 3);
    struct buf b;
    buf_init(&b, 4096);
    assert_int_equal(raft_config_encode(&c, &b), ERR_OK);
    struct raft_config back;
    for (size_t len = 0; len < buf_len(&b); len++)
        assert_int_equal(
            raft_config_decode(bytes_of(buf_bytes(&b), len), &back),
            ERR_MALFORMED);
    assert_int_equal(buf_append_u8(&b, 0), ERR_OK); /* one too many */
    assert_int_equal(
        raft_config_decode(bytes_of(buf_bytes(&b), buf_len(&b)), &back),
        ERR_MALFORMED);
    /* Whatever is decoded makes sense. */
    struct prng p;
    prng_seed(&p, 4);
    for (int i = 0; i < 20000; i++) {
        uint8_t bytes[64];
        size_t len = buf_len(&b) - 1;
        for (size_t k = 0; k < len; k++)
            bytes[k] = buf_bytes(&b)[k];
        for (int k = 0; k < 3; k++)
            bytes[prng_below(&p, len)] = (uint8_t)prng_u64(&p);
        if (raft_config_decode(bytes_of(bytes, len), &back) == ERR_OK)
            assert_int_equal(raft_config_check(&back), ERR_OK);
    }
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_kept_in_order),
        cmocka_unit_test(a_configuration_has_a_limit),
        cmocka_unit_test(senseless_configurations_are_refused),
        cmocka_unit_test(a_change_of_voters_goes_through_a_joint_configuration),
        cmocka_unit_test(a_demoted_voter_stays_as_a_learner),
        cmocka_unit_test(a_change_without_voters_is_one_entry),
        cmocka_unit_test(impossible_changes_are_refused),
        cmocka_unit_test(a_witness_votes_and_does_not_lead),
        cmocka_unit_test(a_witness_needs_two_regions_with_payload),
        cmocka_unit_test(nobody_becomes_a_witness_or_ceases_to_be_one),
        cmocka_unit_test(a_witness_takes_the_place_of_another_in_one_step),
        cmocka_unit_test(too_many_members_together_are_refused),
        cmocka_unit_test(bytes_come_back_as_they_went),
        cmocka_unit_test(foreign_bytes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
