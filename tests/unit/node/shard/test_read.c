/* Promises of reads: at any replica they see every write that was acknowledged
 * before they began, and never a state that is being replaced. */
#include "tests/unit/node/shard/shard_test.h"

#define BODY "{\"id\":\"1\",\"n\":1"
#define BODY2 "{\"id\":\"1\",\"n\":2"

static void a_follower_sees_every_acknowledged_write(void **state)
{
    (void)state;
    struct story s = story_of_three();
    char body[64];
    for (unsigned i = 0; i < 50; i++) {
        snprintf(body, sizeof(body), "{\"id\":\"1\",\"n\":%u", i);
        put(s.c, s.leader, 1, 1, body);
        expect_read(s.c, s.other, 1, 1, body);
        expect_read(s.c, s.third, 1, 1, body);
    }
    story_end(&s);
}

static void a_follower_that_lags_waits_for_what_was_acknowledged(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call read;
    cluster_hold_link(s.c, s.leader, s.third, true);
    put(s.c, s.leader, 1, 1, BODY);
    cluster_read(s.c, &read, cluster_at(1, 1));
    cluster_submit(s.c, s.third, &read);
    cluster_settle(s.c);
    assert_int_equal(read.done, 0);
    cluster_hold_link(s.c, s.leader, s.third, false);
    assert_int_equal(cluster_wait(s.c, &read), ERR_OK);
    cluster_call_free(&read);
    story_end(&s);
}

static void a_leader_under_its_lease_answers_at_once(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call read;
    put(s.c, s.leader, 1, 1, BODY);
    cluster_read(s.c, &read, cluster_at(1, 1));
    cluster_submit(s.c, s.leader, &read);
    assert_int_equal(read.done, 1);
    assert_int_equal(read.result.err, ERR_OK);
    cluster_call_free(&read);
    story_end(&s);
}

static void a_leader_without_its_lease_asks_first(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call read;
    put(s.c, s.leader, 1, 1, BODY);
    cluster_isolate(s.c, s.leader);
    cluster_sleep(s.c, 950 * USEC_PER_MS);
    cluster_read(s.c, &read, cluster_at(1, 1));
    cluster_submit(s.c, s.leader, &read);
    raft_id next;
    do {
        cluster_turn(s.c);
        next = cluster_leader(s.c);
    } while (next == 0 || next == s.leader);
    cluster_elect(s.c);
    put(s.c, next, 1, 1, BODY2);
    assert_true(read.done == 0 || read.result.err != ERR_OK);
    cluster_heal(s.c);
    if (cluster_wait(s.c, &read) == ERR_OK)
        assert_memory_equal(cluster_text(&read), BODY2, strlen(BODY2));
    cluster_call_free(&read);
    story_end(&s);
}

static void uncommitted_writes_are_not_seen(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call write;
    put(s.c, s.leader, 1, 1, BODY);
    for (raft_id id = 1; id <= 3; id++)
        cluster_hold_sync(s.c, id, true);
    cluster_write(s.c, &write, OP_UPSERT, cluster_at(1, 1), BODY2);
    cluster_submit(s.c, s.leader, &write);
    cluster_settle(s.c);
    expect_read(s.c, s.leader, 1, 1, BODY);
    expect_read(s.c, s.other, 1, 1, BODY);
    for (raft_id id = 1; id <= 3; id++)
        cluster_hold_sync(s.c, id, false);
    assert_int_equal(cluster_wait(s.c, &write), ERR_OK);
    cluster_call_free(&write);
    expect_read(s.c, s.other, 1, 1, BODY2);
    story_end(&s);
}

static void a_read_with_nobody_to_ask_says_so(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(&(struct cluster_options){.nodes = 3});
    struct cluster_call read;
    cluster_read(c, &read, cluster_at(1, 1));
    cluster_submit(c, 1, &read);
    cluster_turn(c);
    assert_int_equal(read.done, 1);
    assert_int_equal(read.result.err, ERR_NO_LEADER);
    cluster_call_free(&read);
    cluster_free(c);
}

static void a_read_waits_no_longer_than_its_deadline(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call read;
    cluster_hold_link(s.c, s.leader, s.third, true);
    put(s.c, s.leader, 1, 1, BODY);
    cluster_read(s.c, &read, cluster_at(1, 1));
    cluster_submit(s.c, s.third, &read);
    read.req.deadline_us = cluster_now(s.c) + 100 * USEC_PER_MS;
    cluster_turns(s.c, 160);
    assert_int_equal(read.done, 1);
    assert_int_equal(read.result.err, ERR_UNAVAILABLE);
    cluster_call_free(&read);
    cluster_hold_link(s.c, s.leader, s.third, false);
    story_end(&s);
}

static void a_barrier_holds_until_a_position_is_there(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call write, barrier, passed;
    cluster_write(s.c, &write, OP_CREATE, cluster_at(1, 1), BODY);
    uint64_t last = raft_last_lsn(shard_raft(cluster_shard(s.c, s.leader)));
    cluster_barrier(s.c, &barrier, last + 1);
    cluster_submit(s.c, s.third, &barrier);
    cluster_turns(s.c, 20);
    assert_int_equal(barrier.done, 0);
    assert_int_equal(cluster_do(s.c, s.leader, &write), ERR_OK);
    assert_int_equal(cluster_wait(s.c, &barrier), ERR_OK);
    assert_true(barrier.result.lsn >= write.result.lsn);
    cluster_barrier(s.c, &passed, 1);
    cluster_submit(s.c, s.third, &passed);
    assert_int_equal(passed.done, 1);
    cluster_call_free(&write);
    cluster_call_free(&barrier);
    cluster_call_free(&passed);
    story_end(&s);
}

static void a_barrier_without_a_position_is_linearizable(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call write, barrier;
    cluster_hold_link(s.c, s.leader, s.third, true);
    cluster_write(s.c, &write, OP_CREATE, cluster_at(1, 1), BODY);
    assert_int_equal(cluster_do(s.c, s.leader, &write), ERR_OK);
    cluster_barrier(s.c, &barrier, 0);
    cluster_submit(s.c, s.third, &barrier);
    cluster_settle(s.c);
    assert_int_equal(barrier.done, 0);
    cluster_hold_link(s.c, s.leader, s.third, false);
    assert_int_equal(cluster_wait(s.c, &barrier), ERR_OK);
    assert_true(barrier.result.lsn >= write.result.lsn);
    cluster_call_free(&write);
    cluster_call_free(&barrier);
    story_end(&s);
}

static void nothing_is_served_while_a_snapshot_is_installed(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call before, during, barrier;
    put(s.c, s.leader, 1, 1, BODY);
    cluster_isolate(s.c, s.third);
    put(s.c, s.leader, 1, 1, BODY2);
    cluster_compact(s.c, s.leader);
    cluster_hold_adoption(s.c, s.third, true);
    cluster_heal(s.c);
    cluster_barrier(s.c, &before,
                    shard_commit_lsn(cluster_shard(s.c, s.leader)));
    cluster_submit(s.c, s.third, &before);
    before.req.deadline_us = USEC_NEVER;
    while (!shard_installing(cluster_shard(s.c, s.third)))
        cluster_turn(s.c);
    cluster_turns(s.c, 50);
    assert_int_equal(before.done, 0); /* committed there, but not in place */
    cluster_read(s.c, &during, cluster_at(1, 1));
    cluster_submit(s.c, s.third, &during);
    assert_int_equal(during.result.err, ERR_NO_LEADER);
    cluster_barrier(s.c, &barrier, 1);
    cluster_submit(s.c, s.third, &barrier);
    assert_int_equal(barrier.result.err, ERR_NO_LEADER);
    assert_false(cluster_flush(s.c, s.third, true));
    put(s.c, s.leader, 1, 2, BODY); /* arrives meanwhile */
    cluster_turns(s.c, 50);
    cluster_hold_adoption(s.c, s.third, false);
    assert_int_equal(cluster_wait(s.c, &before), ERR_OK);
    expect_read(s.c, s.third, 1, 1, BODY2);
    expect_read(s.c, s.third, 1, 2, BODY);
    cluster_call_free(&before);
    cluster_call_free(&during);
    cluster_call_free(&barrier);
    expect_same_everywhere(s.c, 3);
    story_end(&s);
}

static void a_damaged_record_is_told_apart_from_a_missing_one(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call read;
    put(s.c, s.leader, 1, 1, BODY);
    assert_true(cluster_flush(s.c, s.leader, true));
    cluster_damage(s.c, s.leader);
    cluster_read(s.c, &read, cluster_at(1, 1));
    assert_int_equal(cluster_do(s.c, s.leader, &read), ERR_CORRUPT);
    assert_string_equal(cluster_text(&read), "");
    cluster_call_free(&read);
    expect_read(s.c, s.other, 1, 1, BODY);
    story_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_follower_sees_every_acknowledged_write),
        cmocka_unit_test(a_follower_that_lags_waits_for_what_was_acknowledged),
        cmocka_unit_test(a_leader_under_its_lease_answers_at_once),
        cmocka_unit_test(a_leader_without_its_lease_asks_first),
        cmocka_unit_test(uncommitted_writes_are_not_seen),
        cmocka_unit_test(a_read_with_nobody_to_ask_says_so),
        cmocka_unit_test(a_read_waits_no_longer_than_its_deadline),
        cmocka_unit_test(a_barrier_holds_until_a_position_is_there),
        cmocka_unit_test(a_barrier_without_a_position_is_linearizable),
        cmocka_unit_test(nothing_is_served_while_a_snapshot_is_installed),
        cmocka_unit_test(a_damaged_record_is_told_apart_from_a_missing_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
