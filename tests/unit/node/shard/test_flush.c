/* Promises of what outlives the turn: flushing, trimming, compaction, restarts
 * and snapshots change where records are, never what they are. */
#include "tests/unit/node/shard/shard_test.h"

#define BODY "{\"id\":\"1\",\"n\":1"
#define BODY2 "{\"id\":\"1\",\"n\":2"

static void reads_do_not_notice_a_flush(void **state)
{
    (void)state;
    struct story s = story_of_three();
    char body[64];
    for (unsigned i = 0; i < 100; i++) {
        snprintf(body, sizeof(body), "{\"id\":\"%u\",\"round\":1", i);
        put(s.c, s.leader, i % 7, i, body);
    }
    assert_true(cluster_flush(s.c, s.leader, false));
    uint64_t digest = cluster_digest(s.c, s.leader);
    assert_false(cluster_flush(s.c, s.leader, false)); /* nothing is left */
    while (!shard_trim(cluster_shard(s.c, s.leader), 3))
        assert_int_equal(cluster_digest(s.c, s.leader), digest);
    assert_int_equal(cluster_digest(s.c, s.leader), digest);
    assert_in_range(shard_dirty_bytes(cluster_shard(s.c, s.leader)), 0, 1024);
    for (unsigned i = 0; i < 100; i++) {
        snprintf(body, sizeof(body), "{\"id\":\"%u\",\"round\":1", i);
        expect_read(s.c, s.leader, i % 7, i, body);
    }
    expect_same_everywhere(s.c, 3);
    story_end(&s);
}

static void deletions_are_flushed_too(void **state)
{
    (void)state;
    struct story s = story_of_three();
    put(s.c, s.leader, 1, 1, BODY);
    put(s.c, s.leader, 1, 2, BODY);
    assert_true(cluster_flush(s.c, s.leader, true));
    assert_int_equal(
        written(s.c, s.leader, OP_DELETE, cluster_at(1, 1), NULL, NULL),
        ERR_OK);
    expect_read(s.c, s.leader, 1, 1, NULL); /* hidden by memory */
    assert_true(cluster_flush(s.c, s.leader, true));
    expect_read(s.c, s.leader, 1, 1, NULL); /* gone from the store */
    expect_read(s.c, s.leader, 1, 2, BODY);
    expect_same_everywhere(s.c, 3);
    story_end(&s);
}

static void writes_during_a_flush_are_in_the_next(void **state)
{
    (void)state;
    struct story s = story_of_three();
    put(s.c, s.leader, 1, 1, BODY);
    struct shard *leader = cluster_shard(s.c, s.leader);
    assert_true(shard_flush_begin(leader, SHARD_FLUSH_ALL));
    assert_false(
        shard_flush_begin(leader, SHARD_FLUSH_ALL)); /* one at a time */
    struct flush *f = shard_flush_take(leader);
    assert_non_null(f);
    assert_null(shard_flush_take(leader));
    put(s.c, s.leader, 1, 1, BODY2);
    kv_mem_flush(cluster_store(s.c, s.leader), f);
    shard_flushed(leader, cluster_now(s.c), f);
    flush_free(f);
    while (!shard_trim(leader, 10)) {
    }
    expect_read(s.c, s.leader, 1, 1, BODY2);
    assert_true(cluster_flush(s.c, s.leader, true));
    expect_read(s.c, s.leader, 1, 1, BODY2);
    expect_same_everywhere(s.c, 3);
    story_end(&s);
}

static void a_flush_that_fails_is_made_again(void **state)
{
    (void)state;
    struct story s = story_of_three();
    put(s.c, s.leader, 1, 1, BODY);
    struct shard *leader = cluster_shard(s.c, s.leader);
    assert_true(shard_flush_begin(leader, SHARD_FLUSH_ALL));
    flush_free(shard_flush_take(leader));
    assert_true(shard_flush_pending(leader));
    shard_flush_failed(leader);
    assert_false(shard_flush_pending(leader));
    expect_read(s.c, s.leader, 1, 1, BODY);
    assert_true(cluster_flush(s.c, s.leader, true));
    expect_read(s.c, s.leader, 1, 1, BODY);
    story_end(&s);
}

static void a_flush_survives_a_change_of_leaders(void **state)
{
    (void)state;
    struct story s = story_of_three();
    put(s.c, s.leader, 1, 1, BODY);
    struct shard *old = cluster_shard(s.c, s.leader);
    assert_true(shard_flush_begin(old, SHARD_FLUSH_ALL));
    /* Entries that will be truncated lie above what is being flushed. */
    struct cluster_call lost;
    cluster_isolate(s.c, s.leader);
    cluster_write(s.c, &lost, OP_UPSERT, cluster_at(1, 1), BODY2);
    cluster_submit(s.c, s.leader, &lost);
    assert_int_equal(cluster_wait(s.c, &lost), ERR_STALE);
    cluster_call_free(&lost);
    raft_id next = cluster_elect(s.c);
    put(s.c, next, 1, 2, BODY);
    cluster_heal(s.c);
    cluster_turns(s.c, 300);
    struct flush *f = shard_flush_take(old);
    assert_non_null(f);
    kv_mem_flush(cluster_store(s.c, s.leader), f);
    shard_flushed(old, cluster_now(s.c), f);
    flush_free(f);
    expect_read(s.c, s.leader, 1, 1, BODY);
    expect_read(s.c, s.leader, 1, 2, BODY);
    expect_same_everywhere(s.c, 3);
    story_end(&s);
}

/* Commits that others hold may be ahead of this node's own disk. */
static void nothing_is_flushed_that_the_own_log_could_lose(void **state)
{
    (void)state;
    struct story s = story_of_three();
    put(s.c, s.leader, 1, 1, BODY);
    assert_true(cluster_flush(s.c, s.leader, true));
    cluster_hold_sync(s.c, s.leader, true);
    put(s.c, s.leader, 1, 1, BODY2);
    assert_false(cluster_flush(s.c, s.leader, true));
    cluster_crash(s.c, s.leader);
    cluster_start(s.c, s.leader);
    cluster_hold_sync(s.c, s.leader, false);
    cluster_elect(s.c);
    expect_read(s.c, s.leader, 1, 1, BODY2);
    expect_same_everywhere(s.c, 3);
    story_end(&s);
}

static void a_follower_of_a_new_term_restarts_from_its_flush(void **state)
{
    (void)state;
    struct story s = story_of_three();
    put(s.c, s.leader, 1, 1, BODY);
    cluster_turns(s.c, 10);
    cluster_hold_sync(s.c, s.third, true);
    cluster_transfer(s.c, s.other); /* a term that is not on its disk */
    put(s.c, s.other, 1, 2, BODY);
    cluster_turns(s.c, 300);
    cluster_flush(s.c, s.third, true);
    cluster_crash(s.c, s.third);
    cluster_hold_sync(s.c, s.third, false);
    cluster_start(s.c, s.third);
    expect_same_everywhere(s.c, 3);
    story_end(&s);
}

/* Random writes, with flushes, trims and restarts in between; every node ends
 * with the same records, and those are what was written. */
static void a_restart_finds_the_same_records(void **state)
{
    (void)state;
    struct prng prng;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        prng_seed(&prng, seed);
        struct story s =
            story_begin(&(struct cluster_options){.nodes = 3, .seed = seed});
        int expected[40] = {0};
        for (int step = 0; step < 150; step++) {
            raft_id leader = cluster_elect(s.c);
            unsigned id = (unsigned)prng_below(&prng, 40);
            char body[64];
            snprintf(body, sizeof(body), "{\"id\":\"%u\",\"n\":%d", id, step);
            enum op_write_mode mode =
                prng_one_in(&prng, 4) ? OP_DELETE : OP_UPSERT;
            int err = written(s.c, leader, mode, cluster_at(id % 3, id),
                              mode == OP_DELETE ? NULL : body, NULL);
            assert_int_equal(err, mode == OP_DELETE && expected[id] == 0
                                      ? ERR_NOT_FOUND
                                      : ERR_OK);
            expected[id] = mode == OP_DELETE ? 0 : step + 1;
            raft_id any = 1 + (raft_id)prng_below(&prng, 3);
            if (prng_one_in(&prng, 5))
                cluster_flush(s.c, any, prng_one_in(&prng, 2));
            if (prng_one_in(&prng, 12)) {
                cluster_crash(s.c, any);
                cluster_turns(s.c, (unsigned)prng_below(&prng, 5));
                cluster_start(s.c, any);
            }
        }
        cluster_elect(s.c);
        for (unsigned id = 0; id < 40; id++) {
            char body[64];
            snprintf(body, sizeof(body), "{\"id\":\"%u\",\"n\":%d", id,
                     expected[id] - 1);
            for (raft_id node = 1; node <= 3; node++)
                expect_read(s.c, node, id % 3, id,
                            expected[id] > 0 ? body : NULL);
        }
        expect_same_everywhere(s.c, 3);
        story_end(&s);
    }
}

static void a_flush_cuts_the_log_but_keeps_some_for_who_lags(void **state)
{
    (void)state;
    struct story s = story_of_three();
    const struct raft *r = shard_raft(cluster_shard(s.c, s.leader));
    for (unsigned i = 0; i < 20; i++)
        put(s.c, s.leader, 1, i, BODY);
    cluster_flush(s.c, s.leader, true);
    assert_int_equal(raft_base_lsn(r), 0); /* little enough to keep */
    assert_int_equal(shard_keep_from(cluster_shard(s.c, s.leader)),
                     shard_commit_lsn(cluster_shard(s.c, s.leader)) + 1);
    cluster_isolate(s.c, s.third);
    cluster_compact(s.c, s.leader);
    assert_true(raft_base_lsn(r) > 20);
    cluster_heal(s.c);
    cluster_turns(s.c, 3000);
    assert_int_equal(cluster_snapshots(s.c), 1);
    expect_same_everywhere(s.c, 3);
    story_end(&s);
}

static void the_log_is_kept_for_a_snapshot_under_way(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct shard *leader = cluster_shard(s.c, s.leader);
    put(s.c, s.leader, 1, 1, BODY);
    cluster_isolate(s.c, s.third);
    uint64_t sent = shard_commit_lsn(leader);
    shard_retain(leader, sent);
    for (unsigned i = 0; i < SHARD_RETAIN_ENTRIES + 600; i++) {
        put(s.c, s.leader, 9, 9, BODY);
        if (i % 600 == 0)
            cluster_flush(s.c, s.leader, true);
    }
    cluster_flush(s.c, s.leader, true);
    assert_true(raft_base_lsn(shard_raft(leader)) <= sent);
    /* As long as it is needed, however long that is; then without a flush. */
    usec_t until = cluster_now(s.c) + 3 * USEC_PER_SEC;
    while (cluster_now(s.c) < until)
        cluster_turns(s.c, 50);
    assert_true(raft_base_lsn(shard_raft(leader)) <= sent);
    shard_retain(leader, UINT64_MAX);
    until = cluster_now(s.c) + 2 * USEC_PER_SEC;
    while (cluster_now(s.c) < until)
        cluster_turns(s.c, 50);
    assert_true(raft_base_lsn(shard_raft(leader)) > sent);
    story_end(&s);
}

static void a_snapshot_replaces_everything_and_reads_go_on(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call lost;
    put(s.c, s.leader, 1, 1, BODY);
    put(s.c, s.leader, 1, 2, BODY);
    cluster_turns(s.c, 100);
    cluster_isolate(s.c, s.third);
    /* Of its own, never to be committed. */
    cluster_write(s.c, &lost, OP_CREATE, cluster_at(8, 8), BODY);
    cluster_submit(s.c, s.third, &lost);
    assert_int_equal(cluster_wait(s.c, &lost), ERR_NOT_LEADER);
    cluster_call_free(&lost);
    assert_int_equal(
        written(s.c, s.leader, OP_DELETE, cluster_at(1, 1), NULL, NULL),
        ERR_OK);
    put(s.c, s.leader, 1, 2, BODY2);
    put(s.c, s.leader, 1, 3, BODY);
    cluster_compact(s.c, s.leader);
    cluster_heal(s.c);
    cluster_turns(s.c, 3000);
    assert_int_equal(cluster_snapshots(s.c), 1);
    expect_read(s.c, s.third, 1, 1, NULL);
    expect_read(s.c, s.third, 1, 2, BODY2);
    expect_read(s.c, s.third, 1, 3, BODY);
    expect_read(s.c, s.third, 8, 8, NULL);
    cluster_transfer(s.c, s.third);
    put(s.c, s.third, 1, 1, BODY2);
    expect_same_everywhere(s.c, 3);
    /* And it restarts from it. */
    cluster_crash(s.c, s.third);
    cluster_start(s.c, s.third);
    cluster_elect(s.c);
    expect_same_everywhere(s.c, 3);
    story_end(&s);
}

/* As the node does it; `from` has it flushed, and is right. */
static void renew(struct cluster *c, raft_id id, raft_id from)
{
    struct shard *s = cluster_shard(c, id);
    struct kv_mem *store = cluster_store(c, id),
                  *right = cluster_store(c, from);
    uint64_t lsn = kv_flushed_lsn(kv_mem_kv(right));
    assert_int_equal(shard_renewable(s, lsn, kv_mem_flushed_term(right)),
                     ERR_OK);
    if (kv_flushed_lsn(kv_mem_kv(store)) == lsn) {
        kv_mem_copy(store, right);
        return;
    }
    assert_true(shard_flush_begin(s, lsn));
    cluster_turns(c, 5);
    struct flush *f = shard_flush_take(s);
    assert_int_equal(f->lsn, lsn);
    kv_mem_copy(store, right);
    shard_flushed(s, cluster_now(c), f);
    flush_free(f);
    while (!shard_trim(s, 10)) {
    }
}

static void a_renewed_store_takes_the_place_of_a_damaged_one(void **state)
{
    (void)state;
    struct story s = story_of_three();
    put(s.c, s.leader, 1, 1, BODY);
    put(s.c, s.leader, 1, 2, BODY);
    cluster_turns(s.c, 100);
    assert_true(cluster_flush(s.c, s.leader, true));
    assert_true(cluster_flush(s.c, s.third, true));
    cluster_damage(s.c, s.third);
    put(s.c, s.leader, 1, 2, BODY2); /* in its log, and not in the stores */
    cluster_turns(s.c, 100);
    renew(s.c, s.third, s.leader); /* both are at the same LSN */
    expect_read(s.c, s.third, 1, 1, BODY);
    expect_read(s.c, s.third, 1, 2, BODY2);
    /* Its own is behind, and what it would flush is in the new one. */
    cluster_damage(s.c, s.third);
    assert_true(cluster_flush(s.c, s.leader, true));
    put(s.c, s.leader, 1, 3, BODY);
    cluster_turns(s.c, 100);
    renew(s.c, s.third, s.leader);
    expect_same_everywhere(s.c, 3);
    /* It restarts from that and its log, and may lead. */
    cluster_crash(s.c, s.third);
    cluster_start(s.c, s.third);
    cluster_elect(s.c);
    cluster_transfer(s.c, s.third);
    expect_read(s.c, s.third, 1, 1, BODY);
    expect_read(s.c, s.third, 1, 3, BODY);
    put(s.c, s.third, 1, 4, BODY);
    expect_same_everywhere(s.c, 3);
    story_end(&s);
}

static void
a_state_that_the_log_does_not_go_on_from_renews_nothing(void **state)
{
    (void)state;
    struct story s = story_of_three();
    put(s.c, s.leader, 1, 1, BODY);
    cluster_turns(s.c, 100);
    struct shard *third = cluster_shard(s.c, s.third);
    uint64_t lsn = shard_commit_lsn(third), term;
    assert_int_equal(raft_term_at(shard_raft(third), lsn, &term), ERR_OK);
    assert_int_equal(shard_renewable(third, lsn, term), ERR_OK);
    assert_int_equal(shard_renewable(third, lsn, term - 1), ERR_PRECONDITION);
    assert_int_equal(shard_renewable(third, lsn + 1, term), ERR_AGAIN);
    assert_int_equal(shard_renewable(cluster_shard(s.c, s.leader), lsn, term),
                     ERR_UNAVAILABLE);
    /* Committed, but not on its own disk. */
    cluster_hold_sync(s.c, s.third, true);
    put(s.c, s.leader, 1, 1, BODY2);
    cluster_turns(s.c, 100);
    assert_true(shard_commit_lsn(third) > lsn);
    assert_int_equal(shard_renewable(third, shard_commit_lsn(third), term),
                     ERR_AGAIN);
    cluster_hold_sync(s.c, s.third, false);
    cluster_turns(s.c, 100);
    assert_true(cluster_flush(s.c, s.third, true));
    assert_int_equal(shard_renewable(third, lsn, term), ERR_STALE);
    story_end(&s);
}

static void a_crash_during_an_installation_loses_nothing(void **state)
{
    (void)state;
    struct story s = story_of_three();
    put(s.c, s.leader, 1, 1, BODY);
    cluster_isolate(s.c, s.third);
    cluster_compact(s.c, s.leader);
    cluster_hold_adoption(s.c, s.third, true);
    cluster_heal(s.c);
    while (!shard_installing(cluster_shard(s.c, s.third)))
        cluster_turn(s.c);
    cluster_turns(s.c, 10);
    cluster_crash(s.c, s.third);
    cluster_hold_adoption(s.c, s.third, false);
    cluster_start(s.c, s.third);
    cluster_turns(s.c, 100);
    expect_read(s.c, s.third, 1, 1, BODY);
    expect_same_everywhere(s.c, 3);
    story_end(&s);
}

static void a_snapshot_waits_for_a_flush_under_way(void **state)
{
    (void)state;
    struct story s = story_of_three();
    put(s.c, s.leader, 1, 1, BODY);
    cluster_turns(s.c, 10);
    struct shard *third = cluster_shard(s.c, s.third);
    assert_true(shard_flush_begin(third, SHARD_FLUSH_ALL));
    struct flush *f = shard_flush_take(third);
    cluster_isolate(s.c, s.third);
    cluster_compact(s.c, s.leader);
    cluster_heal(s.c);
    cluster_turns(s.c, 2500);
    assert_int_equal(cluster_snapshots(s.c), 0);
    kv_mem_flush(cluster_store(s.c, s.third), f);
    shard_flushed(third, cluster_now(s.c), f);
    flush_free(f);
    cluster_turns(s.c, 2500);
    assert_int_equal(cluster_snapshots(s.c), 1);
    expect_same_everywhere(s.c, 3);
    story_end(&s);
}

/* Only who follows this very leader, and has what its log begins with. */
static void another_may_send_in_the_leaders_place(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct shard_sender list[RAFT_MEMBERS_MAX];
    uint64_t least;
    for (unsigned i = 0; i < 20; i++)
        put(s.c, s.leader, 1, i, BODY);
    cluster_settle(s.c);
    raft_id to = cluster_other(s.c, s.leader);
    raft_id third = 6 - s.leader - to;
    const struct shard *leader = cluster_shard(s.c, s.leader);
    const struct shard *other = cluster_shard(s.c, third);
    uint64_t term = raft_term(shard_raft(leader));
    assert_int_equal(shard_senders(leader, to, list, &least), 1);
    assert_int_equal(list[0].node, third);
    assert_int_equal(least, raft_base_lsn(shard_raft(leader)));
    assert_in_range(list[0].match_lsn, least,
                    raft_last_lsn(shard_raft(leader)));
    assert_int_equal(shard_may_send(other, s.leader, term, to), ERR_OK);
    /* Whoever asks for something else is refused. */
    assert_int_equal(shard_may_send(other, to, term, to), ERR_STALE);
    assert_int_equal(shard_may_send(other, s.leader, term + 1, to), ERR_STALE);
    assert_int_equal(shard_may_send(other, s.leader, term, 9), ERR_FORBIDDEN);
    assert_int_equal(shard_senders(leader, 9, list, &least), 0);
    assert_int_equal(shard_senders(other, to, list, &least), 0);
    shard_distrust(cluster_shard(s.c, third), true);
    assert_int_equal(shard_may_send(other, s.leader, term, to), ERR_CORRUPT);
    shard_distrust(cluster_shard(s.c, third), false);
    /* Who is out of reach sends nothing. */
    cluster_cut(s.c, s.leader, third);
    cluster_settle(s.c);
    assert_int_equal(shard_senders(leader, to, list, &least), 0);
    story_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_do_not_notice_a_flush),
        cmocka_unit_test(deletions_are_flushed_too),
        cmocka_unit_test(writes_during_a_flush_are_in_the_next),
        cmocka_unit_test(a_flush_that_fails_is_made_again),
        cmocka_unit_test(a_flush_survives_a_change_of_leaders),
        cmocka_unit_test(nothing_is_flushed_that_the_own_log_could_lose),
        cmocka_unit_test(a_follower_of_a_new_term_restarts_from_its_flush),
        cmocka_unit_test(a_restart_finds_the_same_records),
        cmocka_unit_test(a_flush_cuts_the_log_but_keeps_some_for_who_lags),
        cmocka_unit_test(the_log_is_kept_for_a_snapshot_under_way),
        cmocka_unit_test(a_snapshot_replaces_everything_and_reads_go_on),
        cmocka_unit_test(a_crash_during_an_installation_loses_nothing),
        cmocka_unit_test(a_snapshot_waits_for_a_flush_under_way),
        cmocka_unit_test(a_renewed_store_takes_the_place_of_a_damaged_one),
        cmocka_unit_test(
            a_state_that_the_log_does_not_go_on_from_renews_nothing),
        cmocka_unit_test(another_may_send_in_the_leaders_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
