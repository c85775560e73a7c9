/* Promises about an operation that is sent again: it takes effect once and
 * is answered with what the first attempt did, whoever leads by then. */
#include "tests/unit/node/shard/shard_test.h"

#include "node/shard/dedupe.h"

#define BODY "{\"id\":\"1\",\"n\":1"
#define BODY2 "{\"id\":\"1\",\"n\":2"

/* The same operation as `first`, as another attempt. */
static void again(struct cluster_call *retry, const struct cluster_call *first)
{
    *retry = (struct cluster_call){.op = first->op};
    op_result_init(&retry->result);
}

static void expect_same_answer(struct cluster_call *retry,
                               struct cluster_call *first)
{
    assert_int_equal(retry->result.err, ERR_OK);
    assert_int_equal(retry->result.lsn, first->result.lsn);
    assert_int_equal(retry->result.record, first->result.record);
    assert_int_equal(retry->result.created, first->result.created);
    assert_true(etag_equal(&retry->result.etag, &first->result.etag));
    assert_string_equal(cluster_text(retry), cluster_text(first));
}

static void the_same_leader_answers_from_what_it_did(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call first, retry;
    cluster_write(s.c, &first, OP_CREATE, cluster_at(1, 1), BODY);
    assert_int_equal(cluster_do(s.c, s.leader, &first), ERR_OK);
    uint64_t last = raft_last_lsn(shard_raft(cluster_shard(s.c, s.leader)));
    again(&retry, &first);
    cluster_submit(s.c, s.leader, &retry);
    assert_int_equal(retry.done, 1);
    expect_same_answer(&retry, &first);
    assert_int_equal(raft_last_lsn(shard_raft(cluster_shard(s.c, s.leader))),
                     last);
    cluster_call_free(&retry);
    cluster_call_free(&first);
    story_end(&s);
}

static void both_attempts_wait_for_the_one_entry(void **state)
{
    (void)state;
    struct story s = story_of_three();
    for (raft_id id = 1; id <= 3; id++)
        cluster_hold_sync(s.c, id, true);
    struct cluster_call first, same_turn, later, between;
    cluster_write(s.c, &first, OP_CREATE, cluster_at(1, 1), BODY);
    cluster_write(s.c, &between, OP_UPSERT, cluster_at(1, 2), BODY);
    cluster_submit(s.c, s.leader, &first);
    again(&same_turn, &first);
    cluster_submit(s.c, s.leader, &same_turn);
    cluster_submit(s.c, s.leader, &between);
    cluster_settle(s.c);
    again(&later, &first);
    cluster_submit(s.c, s.leader, &later);
    cluster_settle(s.c);
    assert_int_equal(first.done + same_turn.done + later.done, 0);
    for (raft_id id = 1; id <= 3; id++)
        cluster_hold_sync(s.c, id, false);
    cluster_settle(s.c);
    assert_int_equal(first.done + same_turn.done + later.done + between.done,
                     4);
    expect_same_answer(&same_turn, &first);
    expect_same_answer(&later, &first);
    assert_int_equal(between.result.lsn, first.result.lsn + 1);
    cluster_call_free(&first);
    cluster_call_free(&same_turn);
    cluster_call_free(&later);
    cluster_call_free(&between);
    story_end(&s);
}

/* The leader logs a write that everybody gets, and is cut off before it can
 * answer; returns who leads then. */
static raft_id lose_the_answer(struct story *s, struct cluster_call *first)
{
    for (raft_id id = 1; id <= 3; id++)
        if (id != s->leader)
            cluster_hold_link(s->c, id, s->leader, true);
    cluster_submit(s->c, s->leader, first);
    cluster_settle(s->c);
    assert_int_equal(first->done, 0);
    cluster_isolate(s->c, s->leader);
    for (raft_id id = 1; id <= 3; id++)
        if (id != s->leader)
            cluster_hold_link(s->c, id, s->leader, false);
    raft_id next;
    do {
        cluster_turn(s->c);
        next = cluster_leader(s->c);
    } while (next == 0 || next == s->leader);
    assert_int_equal(cluster_elect(s->c), next);
    return next;
}

static void a_new_leader_knows_what_the_old_one_did(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call first, retry;
    cluster_write(s.c, &first, OP_CREATE, cluster_at(1, 1), BODY);
    raft_id next = lose_the_answer(&s, &first);
    assert_int_equal(cluster_wait(s.c, &first), ERR_STALE);
    again(&retry, &first);
    assert_int_equal(cluster_do(s.c, next, &retry), ERR_OK);
    assert_true(retry.result.created);
    assert_memory_equal(cluster_text(&retry), BODY, strlen(BODY));
    cluster_call_free(&retry);
    /* Another operation finds the record there. */
    assert_int_equal(
        written(s.c, next, OP_CREATE, cluster_at(1, 1), BODY2, NULL),
        ERR_EXISTS);
    cluster_call_free(&first);
    cluster_heal(s.c);
    expect_same_everywhere(s.c, 3);
    story_end(&s);
}

static void an_upsert_is_not_repeated_over_a_newer_one(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call first, retry;
    cluster_write(s.c, &first, OP_UPSERT, cluster_at(1, 1), BODY);
    raft_id next = lose_the_answer(&s, &first);
    assert_int_equal(cluster_wait(s.c, &first), ERR_STALE);
    put(s.c, next, 1, 1, BODY2); /* of somebody else, after it */
    again(&retry, &first);
    assert_int_equal(cluster_do(s.c, next, &retry), ERR_OK);
    assert_memory_equal(cluster_text(&retry), BODY, strlen(BODY));
    cluster_call_free(&retry);
    expect_read(s.c, next, 1, 1, BODY2);
    cluster_call_free(&first);
    cluster_heal(s.c);
    expect_same_everywhere(s.c, 3);
    story_end(&s);
}

static void a_truncated_attempt_counts_for_nothing(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call first, retry, third;
    cluster_isolate(s.c, s.leader); /* nobody gets its entry */
    cluster_write(s.c, &first, OP_CREATE, cluster_at(1, 1), BODY);
    cluster_submit(s.c, s.leader, &first);
    cluster_settle(s.c);
    raft_id next;
    do {
        cluster_turn(s.c);
        next = cluster_leader(s.c);
    } while (next == 0 || next == s.leader);
    assert_int_equal(cluster_wait(s.c, &first), ERR_STALE);
    put(s.c, next, 5, 5, BODY); /* so that the retry lands elsewhere */
    again(&retry, &first);
    assert_int_equal(cluster_do(s.c, next, &retry), ERR_OK);
    assert_true(retry.result.created);
    assert_int_not_equal(retry.result.lsn, first.result.lsn);
    cluster_heal(s.c);
    expect_same_everywhere(s.c, 3);
    /* The old leader, leading again, goes by the log that counts. */
    cluster_transfer(s.c, s.leader);
    again(&third, &first);
    assert_int_equal(cluster_do(s.c, s.leader, &third), ERR_OK);
    expect_same_answer(&third, &retry);
    cluster_call_free(&third);
    cluster_call_free(&retry);
    cluster_call_free(&first);
    expect_same_everywhere(s.c, 3);
    story_end(&s);
}

/* All nodes restart with the entry flushed and gone from the log. */
static void a_restart_forgets_nothing(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call first, retry;
    cluster_write(s.c, &first, OP_CREATE, cluster_at(1, 1), BODY);
    assert_int_equal(cluster_do(s.c, s.leader, &first), ERR_OK);
    cluster_turns(s.c, 300);
    for (raft_id id = 1; id <= 3; id++)
        assert_true(cluster_flush(s.c, id, true));
    for (raft_id id = 1; id <= 3; id++)
        cluster_crash(s.c, id);
    for (raft_id id = 1; id <= 3; id++)
        cluster_start(s.c, id);
    raft_id leader = cluster_elect(s.c);
    again(&retry, &first);
    assert_int_equal(cluster_do(s.c, leader, &retry), ERR_OK);
    expect_same_answer(&retry, &first); /* the text is in the store */
    cluster_call_free(&retry);

    put(s.c, leader, 1, 1, BODY2);
    again(&retry, &first);
    assert_int_equal(cluster_do(s.c, leader, &retry), ERR_OK);
    assert_string_equal(cluster_text(&retry), ""); /* replaced since */
    cluster_call_free(&retry);
    cluster_call_free(&first);
    expect_read(s.c, leader, 1, 1, BODY2);
    story_end(&s);
}

static void a_snapshot_forgets_nothing(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call first, retry;
    cluster_isolate(s.c, s.third);
    cluster_write(s.c, &first, OP_CREATE, cluster_at(1, 1), BODY);
    assert_int_equal(cluster_do(s.c, s.leader, &first), ERR_OK);
    cluster_compact(s.c, s.leader);
    cluster_heal(s.c);
    cluster_turns(s.c, 3000);
    assert_int_equal(cluster_snapshots(s.c), 1);
    cluster_transfer(s.c, s.third);
    again(&retry, &first);
    assert_int_equal(cluster_do(s.c, s.third, &retry), ERR_OK);
    expect_same_answer(&retry, &first);
    cluster_call_free(&retry);
    cluster_call_free(&first);
    story_end(&s);
}

/* Other operations, as many as a shard remembers. */
static void forget(struct story *s)
{
    static const uint8_t id = 9;
    struct cluster_call calls[64];
    for (uint32_t done = 0; done < DEDUPE_MAX; done += ARRAY_LEN(calls)) {
        for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
            cluster_write(s->c, &calls[i], OP_UPSERT, cluster_at(2, id), BODY);
            cluster_submit(s->c, s->leader, &calls[i]);
        }
        cluster_settle(s->c);
        for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
            assert_int_equal(calls[i].result.err, ERR_OK);
            cluster_call_free(&calls[i]);
        }
    }
}

static int retried(struct cluster *c, raft_id id,
                   const struct cluster_call *first, usec_t since_us)
{
    struct cluster_call retry;
    again(&retry, first);
    retry.op.since_us = since_us;
    int err = cluster_do(c, id, &retry);
    cluster_call_free(&retry);
    return err;
}

/* What began before the shard can remember is not done as if it were new. */
static void a_busy_shard_refuses_what_it_may_have_forgotten(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call first;
    usec_t before = cluster_now(s.c);
    cluster_write(s.c, &first, OP_UPSERT, cluster_at(1, 1), BODY);
    assert_int_equal(cluster_do(s.c, s.leader, &first), ERR_OK);
    put(s.c, s.leader, 1, 1, BODY2);
    assert_int_equal(retried(s.c, s.leader, &first, before), ERR_OK);
    cluster_turns(s.c, 10);
    usec_t after = cluster_now(s.c);
    cluster_turns(s.c, 10);
    forget(&s);
    assert_int_equal(retried(s.c, s.leader, &first, before), ERR_FORGOTTEN);
    expect_read(s.c, s.leader, 1, 1, BODY2);
    /* Whoever leads by then. */
    cluster_transfer(s.c, s.third);
    assert_int_equal(retried(s.c, s.third, &first, before), ERR_FORGOTTEN);
    expect_read(s.c, s.third, 1, 1, BODY2);
    cluster_call_free(&first);
    /* One that began later cannot be among the forgotten. */
    cluster_write(s.c, &first, OP_UPSERT, cluster_at(1, 1), BODY);
    assert_int_equal(retried(s.c, s.third, &first, after), ERR_OK);
    expect_read(s.c, s.third, 1, 1, BODY);
    cluster_call_free(&first);
    story_end(&s);
}

/* What a store remembers does not say what came before. */
static void a_restarted_shard_refuses_what_began_before(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call known, unknown;
    cluster_write(s.c, &known, OP_UPSERT, cluster_at(1, 1), BODY);
    assert_int_equal(cluster_do(s.c, s.leader, &known), ERR_OK);
    cluster_turns(s.c, 300);
    usec_t before = cluster_now(s.c);
    for (raft_id id = 1; id <= 3; id++)
        assert_true(cluster_flush(s.c, id, true));
    for (raft_id id = 1; id <= 3; id++)
        cluster_crash(s.c, id);
    for (raft_id id = 1; id <= 3; id++)
        cluster_start(s.c, id);
    raft_id leader = cluster_elect(s.c);
    cluster_write(s.c, &unknown, OP_UPSERT, cluster_at(1, 2), BODY);
    assert_int_equal(retried(s.c, leader, &unknown, before), ERR_FORGOTTEN);
    assert_int_equal(retried(s.c, leader, &known, before), ERR_OK);
    assert_int_equal(retried(s.c, leader, &unknown, cluster_now(s.c)), ERR_OK);
    cluster_call_free(&known);
    cluster_call_free(&unknown);
    story_end(&s);
}

static void what_was_logged_is_not_refused_for_lack_of_room(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call first, retry;
    cluster_write(s.c, &first, OP_CREATE, cluster_at(1, 1), BODY);
    assert_int_equal(cluster_do(s.c, s.leader, &first), ERR_OK);
    shard_set_no_space(cluster_shard(s.c, s.leader), true);
    again(&retry, &first);
    assert_int_equal(cluster_do(s.c, s.leader, &retry), ERR_OK);
    cluster_call_free(&retry);
    cluster_call_free(&first);
    story_end(&s);
}

static void a_deletion_is_remembered_as_one(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call first, retry;
    put(s.c, s.leader, 1, 1, BODY);
    cluster_write(s.c, &first, OP_DELETE, cluster_at(1, 1), NULL);
    assert_int_equal(cluster_do(s.c, s.leader, &first), ERR_OK);
    put(s.c, s.leader, 1, 1, BODY2);
    again(&retry, &first);
    assert_int_equal(cluster_do(s.c, s.leader, &retry), ERR_OK);
    cluster_call_free(&retry);
    cluster_call_free(&first);
    expect_read(s.c, s.leader, 1, 1, BODY2);
    story_end(&s);
}

/* A leader that has just started may lead before it knows the keys. */
static void
an_attempt_whose_text_cannot_be_read_yet_is_to_be_sent_again(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(&(struct cluster_options){.nodes = 1});
    struct cluster_call first, retry;
    raft_id leader = cluster_elect(c);
    cluster_write(c, &first, OP_CREATE, cluster_at(1, 1), BODY);
    assert_int_equal(cluster_do(c, leader, &first), ERR_OK);
    cluster_withhold_key(c);
    cluster_crash(c, leader);
    cluster_start(c, leader);
    assert_int_equal(cluster_elect(c), leader);
    again(&retry, &first);
    assert_int_equal(cluster_do(c, leader, &retry), ERR_STALE);
    cluster_call_free(&retry);
    shard_set_key(cluster_shard(c, leader), CLUSTER_KEY_ID);
    again(&retry, &first);
    assert_int_equal(cluster_do(c, leader, &retry), ERR_OK);
    expect_same_answer(&retry, &first);
    cluster_call_free(&retry);
    cluster_call_free(&first);
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_leader_answers_from_what_it_did),
        cmocka_unit_test(both_attempts_wait_for_the_one_entry),
        cmocka_unit_test(a_new_leader_knows_what_the_old_one_did),
        cmocka_unit_test(an_upsert_is_not_repeated_over_a_newer_one),
        cmocka_unit_test(a_truncated_attempt_counts_for_nothing),
        cmocka_unit_test(a_restart_forgets_nothing),
        cmocka_unit_test(a_snapshot_forgets_nothing),
        cmocka_unit_test(a_busy_shard_refuses_what_it_may_have_forgotten),
        cmocka_unit_test(a_restarted_shard_refuses_what_began_before),
        cmocka_unit_test(what_was_logged_is_not_refused_for_lack_of_room),
        cmocka_unit_test(a_deletion_is_remembered_as_one),
        cmocka_unit_test(
            an_attempt_whose_text_cannot_be_read_yet_is_to_be_sent_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
