/* A replica without payload: what reaches it, what it keeps, what it is good
 * for. Node 1 is region 1, node 2 region 2, node 3 the witness in region 3. */
#include "tests/unit/node/shard/shard_test.h"

#include "node/base/check.h"
#include "node/base/err.h"

#define WITNESS 3

static const raft_region regions[] = {1, 2, 3};

/* Strong, or acknowledged by region 1. */
static struct cluster *cluster_with_witness(bool by_majority)
{
    return cluster_new(&(struct cluster_options){.nodes = 3,
                                                 .regions = regions,
                                                 .by_majority = by_majority,
                                                 .witness = WITNESS});
}

static void declare_down(struct cluster *c, raft_region region)
{
    struct shard_policy policy = {.epoch = UINT32_MAX};
    if (region != 0)
        policy.down[policy.n_down++] = region;
    cluster_set_policy(c, &policy);
}

/* A leader in region 1. */
static void lead(struct cluster *c)
{
    if (cluster_elect(c) != 1)
        cluster_transfer(c, 1);
    cluster_turns(c, 300);
}

static void put_many(struct cluster *c, raft_id leader, unsigned n)
{
    for (unsigned i = 1; i <= n; i++)
        put(c, leader, 1, i, "{\"secret\":\"no eyes but ours\"");
}

static void a_witness_has_every_head_and_no_payload(void **state)
{
    (void)state;
    struct cluster *c = cluster_with_witness(true);
    lead(c);
    put_many(c, 1, 20);
    cluster_turns(c, 200);
    const struct raft *witness = shard_raft(cluster_shard(c, WITNESS));
    const struct raft *leader = shard_raft(cluster_shard(c, 1));
    assert_int_equal(raft_last_lsn(witness), raft_last_lsn(leader));
    assert_int_equal(raft_commit_lsn(witness), raft_commit_lsn(leader));
    assert_int_equal(cluster_payloads(c, WITNESS), 0);
    assert_int_equal(cluster_payloads(c, 2), 20);
    cluster_free(c);
}

static void a_witness_restarts_from_its_heads_and_from_a_flush(void **state)
{
    (void)state;
    struct cluster *c = cluster_with_witness(true);
    lead(c);
    put_many(c, 1, 5);
    cluster_turns(c, 200);
    uint64_t lsn = raft_last_lsn(shard_raft(cluster_shard(c, WITNESS)));
    for (int flushed = 0; flushed < 2; flushed++) {
        if (flushed)
            assert_true(cluster_flush(c, WITNESS, true));
        cluster_crash(c, WITNESS);
        cluster_start(c, WITNESS);
        assert_int_equal(raft_last_lsn(shard_raft(cluster_shard(c, WITNESS))),
                         lsn);
        cluster_turns(c, 200);
    }
    assert_int_equal(cluster_payloads(c, WITNESS), 0);
    put(c, 1, 1, 9, "{\"after\":1");
    cluster_free(c);
}

static void a_witness_that_lags_gets_the_position_alone(void **state)
{
    (void)state;
    struct cluster *c = cluster_with_witness(true);
    lead(c);
    cluster_isolate(c, WITNESS);
    put_many(c, 1, 20);
    cluster_compact(c, 1);
    cluster_heal(c);
    cluster_turns(c, 3000);
    assert_int_equal(cluster_snapshots(c), 1);
    assert_int_equal(cluster_payloads(c, WITNESS), 0);
    assert_true(raft_commit_lsn(shard_raft(cluster_shard(c, WITNESS))) >= 20);
    cluster_crash(c, WITNESS);
    cluster_start(c, WITNESS); /* it knows its members */
    cluster_crash(c, 2);
    declare_down(c, 2);
    put(c, 1, 1, 30, "{\"with\":\"the witness\"");
    cluster_free(c);
}

/* What comes between the snapshot and its store has no payload either. */
static void a_witness_gets_entries_while_it_takes_a_snapshot(void **state)
{
    (void)state;
    struct cluster *c = cluster_with_witness(true);
    lead(c);
    cluster_isolate(c, WITNESS);
    put_many(c, 1, 20);
    cluster_compact(c, 1);
    cluster_hold_adoption(c, WITNESS, true);
    cluster_heal(c);
    cluster_turns(c, 1000);
    assert_true(shard_installing(cluster_shard(c, WITNESS)));
    put_many(c, 1, 5);
    cluster_turns(c, 1000);
    const struct raft *witness = shard_raft(cluster_shard(c, WITNESS));
    assert_true(raft_last_lsn(witness) > raft_base_lsn(witness));
    cluster_hold_adoption(c, WITNESS, false);
    cluster_turns(c, 1000);
    assert_false(shard_installing(cluster_shard(c, WITNESS)));
    assert_int_equal(cluster_payloads(c, WITNESS), 0);
    cluster_free(c);
}

static void payload_for_a_witness_is_refused_by_it(void **state)
{
    (void)state;
    struct cluster *c = cluster_with_witness(true);
    lead(c);
    put_many(c, 1, 3);
    cluster_turns(c, 200);
    assert_int_equal(cluster_smuggle(c, 1, WITNESS), ERR_FORBIDDEN);
    assert_int_equal(cluster_smuggle(c, 1, 2), ERR_OK); /* has it already */
    assert_int_equal(cluster_payloads(c, WITNESS), 0);
    assert_false(shard_sends_payload(cluster_shard(c, 1), WITNESS));
    assert_true(shard_sends_payload(cluster_shard(c, 1), 2));
    assert_false(shard_sends_payload(cluster_shard(c, 1), 99)); /* a stranger */
    cluster_free(c);
}

static void a_witness_serves_nobody(void **state)
{
    (void)state;
    struct cluster *c = cluster_with_witness(true);
    lead(c);
    put_many(c, 1, 1);
    struct cluster_call call;
    cluster_read(c, &call, cluster_at(1, 1));
    assert_int_equal(cluster_do(c, WITNESS, &call), ERR_NOT_LEADER);
    cluster_call_free(&call);
    cluster_write(c, &call, OP_UPSERT, cluster_at(1, 1), "{\"b\":2");
    assert_int_equal(cluster_do(c, WITNESS, &call), ERR_NOT_LEADER);
    cluster_call_free(&call);
    assert_int_equal(
        shard_transfer(cluster_shard(c, 1), cluster_now(c), WITNESS),
        ERR_INVALID);
    cluster_free(c);
}

static void strong_writes_survive_the_loss_of_either_region(void **state)
{
    (void)state;
    for (raft_id lost = 1; lost <= 2; lost++) {
        struct cluster *c = cluster_with_witness(true);
        lead(c);
        put_many(c, 1, 20);
        cluster_crash(c, lost);
        raft_id left = 3 - lost;
        declare_down(c, (raft_region)lost);
        assert_int_equal(cluster_elect(c), left);
        for (unsigned i = 1; i <= 20; i++)
            expect_read(c, left, 1, i, "{\"secret\"");
        put(c, left, 1, 21, "{\"without\":1");
        assert_int_equal(cluster_payloads(c, WITNESS), 0);
        cluster_free(c);
    }
}

static void
a_strong_write_waits_for_both_regions_until_one_is_down(void **state)
{
    (void)state;
    struct cluster *c = cluster_with_witness(true);
    lead(c);
    cluster_isolate(c, 2);
    struct cluster_call call;
    cluster_write(c, &call, OP_UPSERT, cluster_at(1, 1), "{\"a\":1");
    cluster_submit(c, 1, &call);
    cluster_turns(c, 1000);
    assert_true(call.running);
    declare_down(c, 2);
    assert_int_equal(cluster_wait(c, &call), ERR_OK);
    cluster_call_free(&call);
    assert_false(raft_awaits(shard_raft(cluster_shard(c, 1)), 2));
    /* Back, and soon awaited again. */
    cluster_heal(c);
    declare_down(c, 0);
    cluster_turns(c, 3000);
    assert_true(raft_awaits(shard_raft(cluster_shard(c, 1)), 2));
    expect_read(c, 2, 1, 1, "{\"a\":1");
    cluster_free(c);
}

static void
what_one_region_acknowledged_alone_does_not_block_the_other(void **state)
{
    (void)state;
    struct cluster *c = cluster_with_witness(false);
    lead(c);
    cluster_isolate(c, 2);
    put_many(c, 1, 10); /* acknowledged by region 1 alone */
    cluster_turns(c, 500);
    cluster_crash(c, 1);
    cluster_heal(c);
    declare_down(c, 1);
    cluster_decide(c, 2, 1, 2);
    cluster_decide(c, WITNESS, 1, 2);
    assert_int_equal(cluster_elect(c), 2);
    put(c, 2, 1, 30, "{\"goes\":\"on\"");
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_witness_has_every_head_and_no_payload),
        cmocka_unit_test(a_witness_restarts_from_its_heads_and_from_a_flush),
        cmocka_unit_test(a_witness_that_lags_gets_the_position_alone),
        cmocka_unit_test(a_witness_gets_entries_while_it_takes_a_snapshot),
        cmocka_unit_test(payload_for_a_witness_is_refused_by_it),
        cmocka_unit_test(a_witness_serves_nobody),
        cmocka_unit_test(strong_writes_survive_the_loss_of_either_region),
        cmocka_unit_test(
            a_strong_write_waits_for_both_regions_until_one_is_down),
        cmocka_unit_test(
            what_one_region_acknowledged_alone_does_not_block_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
