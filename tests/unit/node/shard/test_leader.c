/* Promises when leadership moves: every operation is answered once, with an
 * answer that is true, and no number is used twice. */
#include "tests/unit/node/shard/shard_test.h"

#define BODY "{\"id\":\"1\",\"n\":1"

static void a_follower_takes_no_writes(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call call;
    cluster_write(s.c, &call, OP_CREATE, cluster_at(1, 1), BODY);
    cluster_submit(s.c, s.other, &call);
    assert_int_equal(call.done, 1);
    assert_int_equal(call.result.err, ERR_NOT_LEADER);
    assert_int_equal(shard_leader(cluster_shard(s.c, s.other)), s.leader);
    cluster_call_free(&call);
    expect_read(s.c, s.leader, 1, 1, NULL);
    story_end(&s);
}

static void a_write_whose_leader_is_lost_has_no_known_outcome(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call call;
    cluster_isolate(s.c, s.leader);
    cluster_write(s.c, &call, OP_CREATE, cluster_at(1, 1), BODY);
    cluster_submit(s.c, s.leader, &call);
    cluster_settle(s.c);
    assert_int_equal(call.done, 0);
    assert_int_equal(cluster_wait(s.c, &call), ERR_STALE);
    cluster_call_free(&call);
    cluster_heal(s.c);
    raft_id leader = cluster_elect(s.c);
    expect_read(s.c, leader, 1, 1, NULL); /* this one came to nothing */
    story_end(&s);
}

static void a_write_that_was_not_logged_yet_did_nothing(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call call;
    cluster_write(s.c, &call, OP_CREATE, cluster_at(1, 1), BODY);
    cluster_submit(s.c, s.leader, &call);
    /* Before the turn ends it hears of a newer term. */
    const struct raft *r = shard_raft(cluster_shard(s.c, s.leader));
    struct raft_msg newer = {
        .type = RAFT_MSG_APPEND,
        .from = s.other,
        .to = s.leader,
        .term = raft_term(r) + 1,
        .append = {.prev_lsn = raft_last_lsn(r), .prev_term = raft_term(r)}};
    assert_int_equal(shard_receive(cluster_shard(s.c, s.leader),
                                   cluster_now(s.c), &newer, NULL),
                     ERR_OK);
    assert_int_equal(call.done, 1);
    assert_int_equal(call.result.err, ERR_NOT_LEADER);
    cluster_call_free(&call);
    cluster_turns(s.c, 10);
    raft_id leader = cluster_elect(s.c);
    expect_read(s.c, leader, 1, 1, NULL);
    story_end(&s);
}

static void a_write_waits_no_longer_than_its_deadline(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call call;
    for (raft_id id = 1; id <= 3; id++)
        cluster_hold_sync(s.c, id, true);
    cluster_write(s.c, &call, OP_CREATE, cluster_at(1, 1), BODY);
    cluster_submit(s.c, s.leader, &call);
    call.req.deadline_us = cluster_now(s.c) + 200 * USEC_PER_MS;
    cluster_turns(s.c, 150);
    assert_int_equal(call.done, 0);
    cluster_turns(s.c, 110);
    assert_int_equal(call.done, 1);
    assert_int_equal(call.result.err, ERR_TIMEOUT);
    cluster_call_free(&call);
    for (raft_id id = 1; id <= 3; id++)
        cluster_hold_sync(s.c, id, false);
    cluster_turns(s.c, 50);
    expect_read(s.c, s.leader, 1, 1, BODY); /* it was only slow */
    story_end(&s);
}

static void leadership_is_handed_over_without_losing_a_write(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call before, meanwhile;
    cluster_write(s.c, &before, OP_CREATE, cluster_at(1, 1), BODY);
    cluster_submit(s.c, s.leader, &before);
    assert_int_equal(
        shard_transfer(cluster_shard(s.c, s.leader), cluster_now(s.c), s.other),
        ERR_OK);
    cluster_write(s.c, &meanwhile, OP_CREATE, cluster_at(1, 2), BODY);
    cluster_submit(s.c, s.leader, &meanwhile);
    assert_int_equal(meanwhile.result.err, ERR_NOT_LEADER);
    int err = cluster_wait(s.c, &before);
    assert_true(err == ERR_OK || err == ERR_STALE);
    cluster_turns(s.c, 100);
    assert_int_equal(cluster_elect(s.c), s.other);
    expect_read(s.c, s.other, 1, 1, BODY);
    cluster_call_free(&before);
    cluster_call_free(&meanwhile);
    story_end(&s);
}

static void a_transfer_that_fails_leaves_a_leader_that_writes(void **state)
{
    (void)state;
    struct story s = story_of_three();
    cluster_cut(s.c, s.leader, s.other);
    assert_int_equal(
        shard_transfer(cluster_shard(s.c, s.leader), cluster_now(s.c), s.other),
        ERR_OK);
    cluster_turns(s.c, 1200);
    assert_int_equal(cluster_elect(s.c), s.leader);
    put(s.c, s.leader, 1, 1, BODY);
    story_end(&s);
}

/* ---- callbacks that go on --------------------------------------------------
 */

struct chain {
    struct story *s;
    struct cluster_call next;
    unsigned id;
};

static void submit_next(void *user, struct cluster_call *call)
{
    struct chain *chain = user;
    (void)call;
    cluster_write(chain->s->c, &chain->next, OP_UPSERT,
                  cluster_at(3, chain->id), BODY);
    cluster_submit(chain->s->c, chain->s->leader, &chain->next);
}

static void an_answer_may_submit_the_next_write(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call calls[20];
    struct chain chains[20];
    for (unsigned i = 0; i < 20; i++) {
        chains[i] = (struct chain){.s = &s, .id = i};
        cluster_write(s.c, &calls[i], OP_UPSERT, cluster_at(1, i), BODY);
        calls[i].then = submit_next;
        calls[i].user = &chains[i];
        cluster_submit(s.c, s.leader, &calls[i]);
    }
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(cluster_wait(s.c, &calls[i]), ERR_OK);
        assert_int_equal(cluster_wait(s.c, &chains[i].next), ERR_OK);
        cluster_call_free(&calls[i]);
        cluster_call_free(&chains[i].next);
    }
    expect_same_everywhere(s.c, 3);
    story_end(&s);
}

static void answers_to_a_lost_leadership_may_submit_too(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call call;
    struct chain chain = {.s = &s, .id = 1};
    cluster_isolate(s.c, s.leader);
    cluster_write(s.c, &call, OP_CREATE, cluster_at(1, 1), BODY);
    call.then = submit_next;
    call.user = &chain;
    cluster_submit(s.c, s.leader, &call);
    assert_int_equal(cluster_wait(s.c, &call), ERR_STALE);
    assert_int_equal(cluster_wait(s.c, &chain.next), ERR_NOT_LEADER);
    cluster_call_free(&call);
    cluster_call_free(&chain.next);
    story_end(&s);
}

static void a_closing_shard_answers_everybody(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call logged, queued, read, barrier;
    struct chain chain = {.s = &s, .id = 1};
    cluster_isolate(s.c, s.leader);
    cluster_write(s.c, &logged, OP_CREATE, cluster_at(1, 1), BODY);
    logged.then = submit_next;
    logged.user = &chain;
    cluster_submit(s.c, s.leader, &logged);
    cluster_settle(s.c);
    cluster_write(s.c, &queued, OP_CREATE, cluster_at(1, 2), BODY);
    cluster_submit(s.c, s.leader, &queued);
    cluster_sleep(s.c, 950 * USEC_PER_MS);
    cluster_read(s.c, &read, cluster_at(1, 1));
    cluster_submit(s.c, s.leader, &read);
    cluster_barrier(s.c, &barrier, UINT64_MAX);
    cluster_submit(s.c, s.leader, &barrier);
    cluster_crash(s.c, s.leader);
    assert_int_equal(logged.result.err, ERR_TIMEOUT);
    assert_int_equal(queued.result.err, ERR_UNAVAILABLE);
    assert_int_equal(read.result.err, ERR_UNAVAILABLE);
    assert_int_equal(barrier.result.err, ERR_UNAVAILABLE);
    assert_int_equal(chain.next.result.err, ERR_UNAVAILABLE);
    cluster_call_free(&logged);
    cluster_call_free(&queued);
    cluster_call_free(&read);
    cluster_call_free(&barrier);
    cluster_call_free(&chain.next);
    story_end(&s);
}

/* ---- entries that the core makes itself ------------------------------------
 */

/* Another member list: the core appends entries for it on its own. */
static struct raft_config without(const struct story *s, raft_id gone)
{
    struct raft_config target = {0};
    for (raft_id id = 1; id <= 3; id++) {
        struct raft_member m = {.id = id, .region = 1, .voter = id != gone};
        assert_int_equal(raft_config_add(&target, m), ERR_OK);
    }
    (void)s;
    return target;
}

static void
writes_and_membership_changes_do_not_mix_up_their_places(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct prng prng;
    prng_seed(&prng, 7);
    unsigned ok = 0;
    for (unsigned round = 0; round < 30; round++) {
        struct raft_config target = without(&s, round % 2 == 0 ? s.third : 0);
        struct shard *leader = cluster_shard(s.c, s.leader);
        assert_int_equal(shard_change(leader, cluster_now(s.c), &target),
                         ERR_OK);
        /* Writes queue in every phase of the change: the entry that ends the
         * joint configuration may come at any moment of it. */
        for (unsigned i = 0; i < 12; i++) {
            struct cluster_call calls[3];
            for (unsigned k = 0; k < 3; k++) {
                cluster_write(s.c, &calls[k], OP_UPSERT,
                              cluster_at(round, 3 * i + k), BODY);
                cluster_submit(s.c, s.leader, &calls[k]);
            }
            if (prng_one_in(&prng, 2))
                cluster_turn(s.c);
            for (unsigned k = 0; k < 3; k++) {
                int err = cluster_wait(s.c, &calls[k]);
                assert_true(err == ERR_OK || err == ERR_NOT_LEADER);
                ok += err == ERR_OK;
                expect_read(s.c, s.leader, round, 3 * i + k,
                            err == ERR_OK ? BODY : NULL);
                cluster_call_free(&calls[k]);
            }
        }
        cluster_turns(s.c, 20);
        assert_int_equal(cluster_leader(s.c), s.leader);
    }
    assert_true(ok > 30 * 12 * 3 / 2);
    expect_same_everywhere(s.c, 3);
    story_end(&s);
}

/* Writes are queued, and the message that lets the core append its own entry
 * comes before the turn ends. */
static void a_displaced_queue_does_nothing_and_blocks_nothing(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct raft_config target = without(&s, s.third);
    struct cluster_call calls[5], repeat;
    struct shard *leader = cluster_shard(s.c, s.leader);
    assert_int_equal(shard_change(leader, cluster_now(s.c), &target), ERR_OK);
    cluster_hold_link(s.c, s.other, s.leader, true);
    cluster_hold_link(s.c, s.third, s.leader, true);
    cluster_settle(s.c); /* the joint entry is out, the answers are held */
    for (unsigned i = 0; i < 5; i++) {
        cluster_write(s.c, &calls[i], OP_CREATE, cluster_at(1, i), BODY);
        cluster_submit(s.c, s.leader, &calls[i]);
    }
    repeat = (struct cluster_call){.op = calls[4].op};
    op_result_init(&repeat.result);
    cluster_submit(s.c, s.leader, &repeat);
    cluster_hold_link(s.c, s.other, s.leader, false);
    cluster_hold_link(s.c, s.third, s.leader, false);
    cluster_turn(s.c); /* delivers first, then ends the turn */
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(cluster_wait(s.c, &calls[i]), ERR_NOT_LEADER);
        expect_read(s.c, s.leader, 1, i, NULL);
    }
    assert_int_equal(cluster_wait(s.c, &repeat), ERR_NOT_LEADER);
    cluster_call_free(&repeat);
    /* The same operations again: once each, at places of their own. */
    for (unsigned i = 0; i < 5; i++) {
        cluster_call_free(&calls[i]);
        assert_int_equal(cluster_do(s.c, s.leader, &calls[i]), ERR_OK);
        expect_read(s.c, s.leader, 1, i, BODY);
        cluster_call_free(&calls[i]);
    }
    expect_same_everywhere(s.c, 3);
    story_end(&s);
}

static void a_single_node_is_its_own_majority(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(&(struct cluster_options){.nodes = 1});
    raft_id leader = cluster_elect(c);
    put(c, leader, 1, 1, BODY);
    expect_read(c, leader, 1, 1, BODY);
    cluster_crash(c, leader);
    cluster_start(c, leader);
    assert_int_equal(cluster_elect(c), leader);
    expect_read(c, leader, 1, 1, BODY);
    cluster_free(c);
}

static void a_shard_without_its_key_takes_no_writes(void **state)
{
    (void)state;
    struct cluster *c =
        cluster_new(&(struct cluster_options){.nodes = 1, .no_key = true});
    raft_id leader = cluster_elect(c);
    assert_false(shard_has_key(cluster_shard(c, leader)));
    assert_int_equal(
        written(c, leader, OP_CREATE, cluster_at(1, 1), BODY, NULL),
        ERR_UNAVAILABLE);
    shard_set_key(cluster_shard(c, leader), CLUSTER_KEY_ID);
    put(c, leader, 1, 1, BODY);
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_follower_takes_no_writes),
        cmocka_unit_test(a_write_whose_leader_is_lost_has_no_known_outcome),
        cmocka_unit_test(a_write_that_was_not_logged_yet_did_nothing),
        cmocka_unit_test(a_write_waits_no_longer_than_its_deadline),
        cmocka_unit_test(leadership_is_handed_over_without_losing_a_write),
        cmocka_unit_test(a_transfer_that_fails_leaves_a_leader_that_writes),
        cmocka_unit_test(an_answer_may_submit_the_next_write),
        cmocka_unit_test(answers_to_a_lost_leadership_may_submit_too),
        cmocka_unit_test(a_closing_shard_answers_everybody),
        cmocka_unit_test(
            writes_and_membership_changes_do_not_mix_up_their_places),
        cmocka_unit_test(a_displaced_queue_does_nothing_and_blocks_nothing),
        cmocka_unit_test(a_single_node_is_its_own_majority),
        cmocka_unit_test(a_shard_without_its_key_takes_no_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
