/* Promises about the levels: when a write is acknowledged, what each kind of
 * read sees where, and what happens to both when regions are far, cut off or
 * lost. */
#include "tests/unit/node/shard/shard_test.h"

#include "node/base/err.h"
#include "node/query/query.h"

#define MS USEC_PER_MS
#define WAN_MS 40

static const raft_region three_regions[3] = {1, 2, 3};

/* Nodes 1, 2, 3 in regions of their own; 1 leads and acknowledges alone. */
static struct cluster *far_apart(void)
{
    struct cluster *c = cluster_new(&(struct cluster_options){
        .nodes = 3, .regions = three_regions, .wan_us = WAN_MS * MS});
    if (cluster_elect(c) != 1)
        cluster_transfer(c, 1);
    put(c, 1, 1, 1, "{\"id\":\"1\",\"n\":0");
    cluster_turns(c, 300);
    return c;
}

static struct shard_status status_of(struct cluster *c, raft_id id)
{
    struct shard_status st;
    shard_status(cluster_shard(c, id), cluster_now(c), &st);
    return st;
}

/* Document (1, 1) as `level` shows it at a node. */
static void read_at(struct cluster *c, raft_id id, enum consistency_level level,
                    struct cluster_call *call)
{
    cluster_read(c, call, cluster_at(1, 1));
    call->op.level = (uint8_t)level;
    cluster_submit(c, id, call);
}

static void session_at(struct cluster *c, raft_id id, uint32_t epoch,
                       uint64_t lsn, struct cluster_call *call)
{
    cluster_read(c, call, cluster_at(1, 1));
    call->op.level = CONSISTENCY_SESSION;
    call->op.session_epoch = epoch;
    call->op.session_lsn = lsn;
    cluster_submit(c, id, call);
}

/* That a read is answered within its own call, and with what "n". */
static void expect_now(struct cluster *c, raft_id id,
                       enum consistency_level level, unsigned n)
{
    struct cluster_call call;
    char body[40];
    snprintf(body, sizeof(body), "{\"id\":\"1\",\"n\":%u", n);
    read_at(c, id, level, &call);
    assert_int_equal(call.done, 1);
    assert_int_equal(call.result.err, ERR_OK);
    assert_memory_equal(cluster_text(&call), body, strlen(body));
    cluster_call_free(&call);
}

static void expect_refused_now(struct cluster *c, raft_id id,
                               enum consistency_level level, int err)
{
    struct cluster_call call;
    read_at(c, id, level, &call);
    assert_int_equal(call.done, 1);
    assert_int_equal(call.result.err, err);
    cluster_call_free(&call);
}

struct written {
    int err;
    uint32_t epoch;
    uint64_t lsn;
    uint32_t retry_ms;
    usec_t took_us;
};

static struct written put_n(struct cluster *c, raft_id id, unsigned n)
{
    struct cluster_call call;
    char body[40];
    usec_t begun = cluster_now(c);
    snprintf(body, sizeof(body), "{\"id\":\"1\",\"n\":%u", n);
    cluster_write(c, &call, OP_UPSERT, cluster_at(1, 1), body);
    cluster_do(c, id, &call);
    struct written w = {.err = call.result.err,
                        .epoch = RAFT_TERM_EPOCH(call.result.term),
                        .lsn = call.result.lsn,
                        .retry_ms = call.result.retry_after_ms,
                        .took_us = cluster_now(c) - begun};
    cluster_call_free(&call);
    return w;
}

/* ---- acknowledging --------------------------------------------------------
 */

static void the_write_region_acknowledges_alone(void **state)
{
    (void)state;
    struct cluster *c = far_apart();
    struct written w = put_n(c, 1, 1);
    assert_int_equal(w.err, ERR_OK);
    assert_true(w.took_us <= 2 * MS);
    cluster_free(c);
}

static void the_majority_takes_a_round_trip(void **state)
{
    (void)state;
    struct cluster *c =
        cluster_new(&(struct cluster_options){.nodes = 3,
                                              .regions = three_regions,
                                              .by_majority = true,
                                              .wan_us = WAN_MS * MS});
    raft_id leader = cluster_elect(c);
    cluster_turns(c, 300);
    struct written w = put_n(c, leader, 1);
    assert_int_equal(w.err, ERR_OK);
    assert_in_range(w.took_us, 2 * WAN_MS * MS, (2 * WAN_MS + 3) * MS);
    cluster_free(c);
}

/* Acknowledged, then sent again before anybody else has it. */
static void what_is_acknowledged_is_not_done_again(void **state)
{
    (void)state;
    struct cluster *c = far_apart();
    struct cluster_call call, again;
    cluster_write(c, &call, OP_CREATE, cluster_at(5, 5), "{\"id\":\"5\"");
    assert_int_equal(cluster_do(c, 1, &call), ERR_OK);
    cluster_write(c, &again, OP_CREATE, cluster_at(5, 5), "{\"id\":\"5\"");
    memcpy(again.op.id, call.op.id, OP_ID_LEN);
    cluster_submit(c, 1, &again);
    assert_int_equal(again.done, 1);
    assert_int_equal(again.result.err, ERR_OK);
    assert_int_equal(again.result.lsn, call.result.lsn);
    assert_int_equal(again.result.term, call.result.term);
    assert_string_equal(cluster_text(&again), cluster_text(&call));
    cluster_call_free(&call);
    cluster_call_free(&again);
    cluster_free(c);
}

static void what_would_be_lost_is_counted(void **state)
{
    (void)state;
    struct cluster *c = far_apart();
    struct shard_status st = status_of(c, 1);
    assert_int_equal(st.at_risk_entries, 0);
    assert_int_equal(st.at_risk_us, 0);
    assert_int_equal(st.rule.ack, RAFT_ACK_REGION);
    assert_int_equal(st.rule_committed.write_region, 1);
    assert_false(st.changing);
    cluster_cut_region(c, 1);
    for (unsigned n = 1; n <= 5; n++)
        assert_int_equal(put_n(c, 1, n).err, ERR_OK);
    cluster_turns(c, 200);
    st = status_of(c, 1);
    assert_int_equal(st.at_risk_entries, 5);
    assert_in_range(st.at_risk_us, 200 * MS, 240 * MS);
    assert_int_equal(st.visible_lsn, st.ack_lsn);
    assert_int_equal(st.ack_lsn, st.commit_lsn + 5);
    cluster_heal(c);
    cluster_turns(c, 500);
    assert_int_equal(status_of(c, 1).at_risk_entries, 0);
    cluster_free(c);
}

/* ---- consistent prefix, eventual ------------------------------------------
 */

static void weak_reads_see_at_once_what_is_acknowledged(void **state)
{
    (void)state;
    struct cluster *c = far_apart();
    struct cluster_call strong;
    assert_int_equal(put_n(c, 1, 1).err, ERR_OK);
    for (int level = CONSISTENCY_BOUNDED; level < CONSISTENCY_COUNT; level++)
        expect_now(c, 1, (enum consistency_level)level, 1);
    read_at(c, 1, CONSISTENCY_STRONG, &strong); /* only once it is committed */
    assert_int_equal(strong.done, 0);
    assert_int_equal(cluster_wait(c, &strong), ERR_OK);
    cluster_call_free(&strong);
    cluster_free(c);
}

static void weak_reads_never_leave_the_replica(void **state)
{
    (void)state;
    struct cluster *c = far_apart();
    assert_int_equal(put_n(c, 1, 1).err, ERR_OK);
    expect_now(c, 3, CONSISTENCY_PREFIX, 0);
    expect_now(c, 3, CONSISTENCY_EVENTUAL, 0);
    cluster_turns(c, WAN_MS + 30); /* the entry, and that it is acknowledged */
    expect_now(c, 3, CONSISTENCY_PREFIX, 1);
    cluster_isolate(c, 3);
    assert_int_equal(put_n(c, 1, 2).err, ERR_OK);
    cluster_turns(c, 3000);
    expect_now(c, 3, CONSISTENCY_PREFIX, 1);
    expect_now(c, 3, CONSISTENCY_EVENTUAL, 1);
    cluster_free(c);
}

/* Not even what its own log has, before it is known to be acknowledged. */
static void nobody_sees_what_is_not_acknowledged(void **state)
{
    (void)state;
    static const raft_region regions[5] = {1, 1, 1, 2, 3};
    struct cluster *c =
        cluster_new(&(struct cluster_options){.nodes = 5, .regions = regions});
    raft_id leader = cluster_elect(c);
    if (leader > 3)
        cluster_transfer(c, leader = 1);
    put(c, leader, 1, 1, "{\"id\":\"1\",\"n\":0");
    cluster_turns(c, 300);
    for (raft_id id = 1; id <= 3; id++)
        cluster_hold_sync(c, id, true);
    struct cluster_call call;
    cluster_write(c, &call, OP_UPSERT, cluster_at(1, 1),
                  "{\"id\":\"1\",\"n\":1");
    cluster_submit(c, leader, &call);
    cluster_turns(c, 50);
    assert_int_equal(call.done, 0);
    assert_int_equal(status_of(c, 4).last_lsn, status_of(c, leader).last_lsn);
    for (raft_id id = 1; id <= 5; id++)
        expect_now(c, id, CONSISTENCY_EVENTUAL, 0);
    for (raft_id id = 1; id <= 3; id++)
        cluster_hold_sync(c, id, false);
    assert_int_equal(cluster_wait(c, &call), ERR_OK);
    cluster_call_free(&call);
    cluster_free(c);
}

static void scans_and_barriers_have_levels_too(void **state)
{
    (void)state;
    struct cluster *c = far_apart();
    struct cluster_call call;
    put(c, 1, 1, 2, "{\"id\":\"2\"");
    cluster_scan(c, &call, 10, NULL);
    call.op.level = CONSISTENCY_EVENTUAL;
    cluster_submit(c, 1, &call);
    assert_int_equal(call.done, 1);
    assert_int_equal(call.result.items, 2);
    assert_int_equal(call.result.lsn, status_of(c, 1).ack_lsn);
    cluster_call_free(&call);
    cluster_scan(c, &call, 10, "SELECT * FROM c");
    call.op.level = CONSISTENCY_PREFIX;
    cluster_submit(c, 3, &call);
    assert_int_equal(call.done, 1);
    assert_int_equal(call.result.items, 1);
    cluster_call_free(&call);
    cluster_barrier(c, &call, 0);
    call.op.level = CONSISTENCY_EVENTUAL;
    cluster_submit(c, 3, &call);
    assert_int_equal(call.done, 1);
    assert_int_equal(call.result.lsn, status_of(c, 3).visible_lsn);
    cluster_call_free(&call);
    cluster_free(c);
}

/* ---- session --------------------------------------------------------------
 */

static void a_session_waits_for_its_writes(void **state)
{
    (void)state;
    struct cluster *c = far_apart();
    struct cluster_call call;
    struct written w = put_n(c, 1, 1);
    usec_t begun = cluster_now(c);
    session_at(c, 3, w.epoch, w.lsn, &call);
    assert_int_equal(call.done, 0);
    assert_int_equal(cluster_wait(c, &call), ERR_OK);
    assert_in_range(cluster_now(c) - begun, WAN_MS * MS, 2 * WAN_MS * MS);
    assert_memory_equal(cluster_text(&call), "{\"id\":\"1\",\"n\":1", 15);
    assert_int_equal(RAFT_TERM_EPOCH(call.result.term), w.epoch);
    assert_true(call.result.lsn >= w.lsn);
    cluster_call_free(&call);
    session_at(c, 3, w.epoch, w.lsn, &call); /* now at once */
    assert_int_equal(call.done, 1);
    cluster_call_free(&call);
    assert_int_equal(status_of(c, 3).session_waits, 1);
    assert_int_equal(status_of(c, 3).session_behind, 0);
    cluster_free(c);
}

static void a_session_without_a_token_waits_for_nothing(void **state)
{
    (void)state;
    struct cluster *c = far_apart();
    put_n(c, 1, 1);
    expect_now(c, 3, CONSISTENCY_SESSION, 0);
    cluster_free(c);
}

static void a_session_that_waits_in_vain_is_told(void **state)
{
    (void)state;
    struct cluster *c = far_apart();
    struct cluster_call call;
    cluster_isolate(c, 3);
    struct written w = put_n(c, 1, 1);
    usec_t begun = cluster_now(c);
    session_at(c, 3, w.epoch, w.lsn, &call);
    assert_int_equal(cluster_wait(c, &call), ERR_BEHIND);
    assert_in_range(cluster_now(c) - begun, SHARD_SESSION_WAIT_US,
                    SHARD_SESSION_WAIT_US + 60 * MS);
    cluster_call_free(&call);
    assert_int_equal(status_of(c, 3).session_behind, 1);
    session_at(c, 1, w.epoch, w.lsn, &call); /* the leader has it */
    assert_int_equal(call.done, 1);
    cluster_call_free(&call);
    session_at(c, 1, w.epoch, w.lsn + 1, &call); /* nobody has */
    assert_int_equal(cluster_wait(c, &call), ERR_BEHIND);
    cluster_call_free(&call);
    cluster_free(c);
}

/* Region 1 is cut off with writes that only it has; region 2 takes over. */
static void lose_region_1(struct cluster *c)
{
    cluster_cut_region(c, 1);
    cluster_turns(c, 1500);
    cluster_decide(c, 2, 1, 2);
    cluster_decide(c, 3, 1, 2);
    for (int i = 0; i < 20000 && cluster_leader(c) != 2; i++)
        cluster_turn(c);
    assert_int_equal(cluster_leader(c), 2);
}

static void a_token_of_a_lost_epoch_waits_for_nothing(void **state)
{
    (void)state;
    struct cluster *c = far_apart();
    struct cluster_call call;
    struct written lost = {0};
    cluster_cut_region(c, 1);
    for (unsigned n = 1; n <= 10; n++)
        lost = put_n(c, 1, n);
    assert_int_equal(lost.err, ERR_OK);
    lose_region_1(c);
    struct written w = put_n(c, 2, 100);
    assert_int_equal(w.err, ERR_OK);
    assert_int_equal(w.epoch, 1);
    assert_true(w.lsn < lost.lsn);
    session_at(c, 2, lost.epoch, lost.lsn, &call);
    assert_int_equal(call.done, 1);
    assert_memory_equal(cluster_text(&call), "{\"id\":\"1\",\"n\":100", 17);
    assert_int_equal(RAFT_TERM_EPOCH(call.result.term), 1);
    cluster_call_free(&call);
    /* Nor is the lost epoch's state, however long its log, the new one's. */
    session_at(c, 1, w.epoch, w.lsn, &call);
    assert_int_equal(call.done, 0);
    assert_int_equal(cluster_wait(c, &call), ERR_BEHIND);
    cluster_call_free(&call);
    session_at(c, 1, w.epoch, w.lsn, &call); /* until it has come back */
    cluster_heal(c);
    assert_int_equal(cluster_wait(c, &call), ERR_OK);
    assert_memory_equal(cluster_text(&call), "{\"id\":\"1\",\"n\":100", 17);
    cluster_call_free(&call);
    cluster_free(c);
}

static void merge_request(const char *text, struct buf *out)
{
    struct query *q;
    struct query_merge *m;
    struct query_error error;
    buf_init(out, OP_MERGE_REQUEST_MAX);
    assert_int_equal(
        query_compile(bytes_str(text), bytes_of(NULL, 0), &q, &error), ERR_OK);
    assert_int_equal(
        query_merge_new(q, bytes_of(NULL, 0), 100000, OP_PAGE_MAX, &m), ERR_OK);
    assert_int_equal(query_merge_request(m, out), ERR_OK);
    query_merge_free(m);
    query_free(q);
}

/* A gathering query that saw what is lost must not answer from both states. */
static void a_long_scan_does_not_survive_what_it_saw(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(
        &(struct cluster_options){.nodes = 3, .regions = three_regions});
    if (cluster_elect(c) != 1)
        cluster_transfer(c, 1);
    struct cluster_call calls[100];
    for (unsigned base = 0; base < OP_SCAN_EXAMINE_MAX + 100; base += 100) {
        for (unsigned i = 0; i < 100; i++) {
            cluster_write(c, &calls[i], OP_UPSERT, cluster_at(2, base + i),
                          "{\"id\":\"x\",\"n\":1");
            cluster_submit(c, 1, &calls[i]);
        }
        for (unsigned i = 0; i < 100; i++) {
            assert_int_equal(cluster_wait(c, &calls[i]), ERR_OK);
            cluster_call_free(&calls[i]);
        }
    }
    cluster_turns(c, 300);
    cluster_cut_region(c, 1);
    put_n(c, 1, 1);
    lose_region_1(c);
    put_n(c, 2, 2);
    cluster_heal(c);
    struct buf request;
    merge_request("SELECT VALUE COUNT(1) FROM c", &request);
    unsigned ended = 0;
    for (int i = 0; i < 2000 && ended == 0; i++) {
        struct cluster_call scan;
        cluster_scan(c, &scan, 1, "SELECT VALUE COUNT(1) FROM c");
        scan.op.merge_request =
            bytes_of(buf_bytes(&request), buf_len(&request));
        scan.op.level = CONSISTENCY_EVENTUAL;
        cluster_submit(c, 1, &scan);
        shard_flush(cluster_shard(c, 1), cluster_now(c)); /* its first slice */
        assert_int_equal(scan.done, 0);
        cluster_turn(c);
        int err = cluster_wait(c, &scan);
        assert_true(err == ERR_OK || err == ERR_NO_LEADER);
        ended += err == ERR_NO_LEADER;
        cluster_call_free(&scan);
    }
    buf_free(&request);
    assert_int_equal(ended, 1);
    cluster_turns(c, 300);
    expect_now(c, 1, CONSISTENCY_EVENTUAL, 2);
    cluster_free(c);
}

/* ---- bounded staleness ----------------------------------------------------
 */

static void set_bound(struct cluster *c, uint32_t entries, usec_t lag_us,
                      raft_region down)
{
    struct shard_policy p = {.level = CONSISTENCY_BOUNDED,
                             .max_lag_entries = entries,
                             .max_lag_us = lag_us};
    if (down != 0)
        p.down[p.n_down++] = down;
    cluster_set_policy(c, &p);
}

static void bounded_reads_are_local_while_they_are_proved_fresh(void **state)
{
    (void)state;
    struct cluster *c = far_apart();
    for (raft_id id = 1; id <= 3; id++)
        expect_now(c, id, CONSISTENCY_BOUNDED, 0);
    assert_in_range(status_of(c, 3).fresh_us, 2 * WAN_MS * MS, 300 * MS);
    assert_int_equal(status_of(c, 1).fresh_us, 0);
    cluster_isolate(c, 3);
    cluster_turns(c, 250);
    expect_now(c, 3, CONSISTENCY_BOUNDED, 0);
    cluster_turns(c, 250);
    expect_refused_now(c, 3, CONSISTENCY_BOUNDED, ERR_NOT_LEADER);
    assert_int_equal(status_of(c, 3).bounded_refused, 1);
    expect_now(c, 1, CONSISTENCY_BOUNDED, 0);
    cluster_heal(c);
    cluster_turns(c, 400);
    expect_now(c, 3, CONSISTENCY_BOUNDED, 0);
    cluster_free(c);
}

/* Hearing the leader is no proof: its appends may be as old as they like. */
static void delayed_appends_prove_nothing(void **state)
{
    (void)state;
    struct cluster *c = far_apart();
    cluster_hold_link(c, 1, 3, true);
    cluster_turns(c, 900);
    cluster_hold_link(c, 1, 3, false); /* a second's appends, all at once */
    cluster_turns(c, 2);
    expect_refused_now(c, 3, CONSISTENCY_BOUNDED, ERR_NOT_LEADER);
    cluster_turns(c, 2 * WAN_MS + 120);
    expect_now(c, 3, CONSISTENCY_BOUNDED, 0);
    cluster_free(c);
}

static void a_leader_without_a_lease_asks_like_anybody(void **state)
{
    (void)state;
    struct cluster *c = far_apart();
    struct cluster_call call;
    cluster_cut_region(c, 1);
    cluster_turns(c, 900); /* the lease is over, what it proved is not */
    expect_now(c, 1, CONSISTENCY_BOUNDED, 0);
    cluster_turns(c, 850);
    read_at(c, 1, CONSISTENCY_BOUNDED, &call);
    assert_int_equal(call.done, 0);
    int err = cluster_wait(c, &call);
    assert_true(err == ERR_NO_LEADER || err == ERR_UNAVAILABLE);
    cluster_call_free(&call);
    cluster_free(c);
}

static void with_k_of_one_each_write_is_seen_before_the_next(void **state)
{
    (void)state;
    struct cluster *c = far_apart();
    set_bound(c, 1, USEC_PER_SEC, 0);
    cluster_turns(c, 300);
    assert_int_equal(put_n(c, 1, 1).err, ERR_OK);
    struct written w = put_n(c, 1, 2);
    assert_int_equal(w.err, ERR_THROTTLED);
    assert_in_range(w.retry_ms, STALENESS_RETRY_MIN_MS, 1000);
    unsigned n = 1, refused = 0;
    for (int i = 0; i < 3000; i++) {
        struct cluster_call call;
        int err = put_n(c, 1, n + 1).err;
        n += err == ERR_OK;
        refused += err == ERR_THROTTLED;
        assert_true(err == ERR_OK || err == ERR_THROTTLED);
        for (raft_id id = 2; id <= 3; id++) {
            unsigned long seen;
            read_at(c, id, CONSISTENCY_BOUNDED, &call);
            assert_int_equal(call.done, 1);
            if (call.result.err == ERR_OK) {
                seen = strtoul(cluster_text(&call) + 14, NULL, 10);
                assert_true(seen + 1 >= n);
            }
            cluster_call_free(&call);
        }
        cluster_turn(c);
    }
    assert_true(n >= 10 && refused > 0);
    assert_true(status_of(c, 1).throttled >= refused);
    cluster_free(c);
}

static void who_keeps_up_costs_nothing(void **state)
{
    (void)state;
    struct cluster *c = far_apart();
    set_bound(c, 1000, 5 * USEC_PER_SEC, 0);
    cluster_turns(c, 300);
    for (unsigned n = 1; n <= 2000; n++) {
        assert_int_equal(put_n(c, 1, n).err, ERR_OK);
        if (n % 2 == 0)
            cluster_turn(c);
    }
    assert_int_equal(status_of(c, 1).throttled, 0);
    cluster_free(c);
}

/* Writes until one is accepted; how long that took. */
static usec_t put_until_accepted(struct cluster *c, raft_id id, unsigned n)
{
    usec_t begun = cluster_now(c);
    for (int i = 0; i < 20000; i++) {
        int err = put_n(c, id, n).err;
        if (err == ERR_OK)
            return cluster_now(c) - begun;
        assert_true(err == ERR_THROTTLED || err == ERR_UNAVAILABLE ||
                    err == ERR_NOT_LEADER);
        cluster_turn(c);
    }
    fail();
    return 0;
}

static void the_dead_stop_mattering_when_their_lease_is_over(void **state)
{
    (void)state;
    struct cluster *c = far_apart();
    set_bound(c, 5, USEC_PER_SEC, 0);
    cluster_turns(c, 300);
    cluster_crash(c, 3);
    for (unsigned n = 1; n <= 5; n++)
        assert_int_equal(put_n(c, 1, n).err, ERR_OK);
    cluster_turns(c, 200);
    assert_int_equal(put_n(c, 1, 6).err, ERR_THROTTLED);
    usec_t took = put_until_accepted(c, 1, 6);
    assert_in_range(took, 200 * MS, STALENESS_LEASE_US);
    unsigned n = 6;
    for (int i = 0; i < 300; i++) {
        put_until_accepted(c, 1, ++n);
        cluster_turns(c, 20);
    }
    /* It comes back far behind: bounded reads there wait until it is near,
     * writes do not. */
    cluster_start(c, 3);
    bool served = false;
    for (int i = 0; i < 200; i++) {
        struct cluster_call call;
        assert_true(put_until_accepted(c, 1, ++n) <= 300 * MS);
        read_at(c, 3, CONSISTENCY_BOUNDED, &call);
        assert_int_equal(call.done, 1);
        if (call.result.err == ERR_OK) {
            served = true;
            assert_true(strtoul(cluster_text(&call) + 14, NULL, 10) + 5 >= n);
        }
        cluster_call_free(&call);
        cluster_turns(c, 20);
    }
    assert_true(served);
    cluster_free(c);
}

/* However long that takes, and whoever leads meanwhile. */
static void who_needs_a_snapshot_stops_mattering(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(
        &(struct cluster_options){.nodes = 3, .regions = three_regions});
    if (cluster_elect(c) != 1)
        cluster_transfer(c, 1);
    cluster_crash(c, 3);
    cluster_compact(c, 1);
    set_bound(c, 50, USEC_PER_SEC, 0);
    cluster_hold_adoption(c, 3, true);
    cluster_start(c, 3);
    cluster_turns(c, 300);
    unsigned n = 0;
    for (int i = 0; i < 100; i++) {
        assert_true(put_until_accepted(c, 1, ++n) <= 2 * MS);
        cluster_turns(c, 20);
    }
    cluster_transfer(c, 2);
    assert_true(put_until_accepted(c, 2, ++n) <= STALENESS_LEASE_US + 10 * MS);
    for (int i = 0; i < 200; i++) {
        assert_true(put_until_accepted(c, 2, ++n) <= 2 * MS);
        cluster_turns(c, 20);
    }
    assert_true(shard_installing(cluster_shard(c, 3)));
    cluster_hold_adoption(c, 3, false);
    cluster_turns(c, 500);
    expect_now(c, 3, CONSISTENCY_BOUNDED, n);
    cluster_free(c);
}

static void a_region_declared_down_stops_mattering(void **state)
{
    (void)state;
    struct cluster *c = far_apart();
    set_bound(c, 2, USEC_PER_SEC, 0);
    cluster_turns(c, 300);
    /* It answers, but its disk does not: it is heard and never sees more. */
    cluster_hold_link(c, 3, 1, true);
    put_until_accepted(c, 1, 1);
    set_bound(c, 2, USEC_PER_SEC, 3);
    usec_t begun = cluster_now(c);
    for (unsigned n = 2; n < 10; n++) {
        put_until_accepted(c, 1, n);
        cluster_turns(c, 2 * WAN_MS + 40);
    }
    assert_true(cluster_now(c) - begun <=
                STALENESS_LEASE_US + 10 * (2 * WAN_MS + 60) * MS);
    cluster_hold_link(c, 3, 1, false);
    cluster_turns(c, 300);
    /* Heard again, up to date, and still down: no bounded reads there. */
    expect_refused_now(c, 3, CONSISTENCY_BOUNDED, ERR_NOT_LEADER);
    set_bound(c, 2, USEC_PER_SEC, 0);
    cluster_turns(c, 300);
    expect_now(c, 3, CONSISTENCY_BOUNDED, 9);
    cluster_free(c);
}

static void a_new_leader_learns_before_it_writes(void **state)
{
    (void)state;
    struct cluster *c = far_apart();
    set_bound(c, 3, USEC_PER_SEC, 0);
    cluster_turns(c, 300);
    cluster_transfer(c, 2);
    int err = put_n(c, 2, 1).err;
    assert_true(err == ERR_OK || err == ERR_UNAVAILABLE);
    assert_true(put_until_accepted(c, 2, 1) <= 4 * WAN_MS * MS);
    assert_true(status_of(c, 1).handover_us > 0);
    assert_in_range(status_of(c, 1).handover_us, 2 * WAN_MS * MS,
                    6 * WAN_MS * MS);
    cluster_free(c);
}

/* A follower that rejects a new leader's append tells nothing of what it sees,
 * so it is not counted for longer; nor may it become fresh by that reply. */
static void who_has_told_nothing_yet_is_not_fresh(void **state)
{
    (void)state;
    struct cluster *c = far_apart();
    set_bound(c, 100, USEC_PER_SEC, 0);
    cluster_turns(c, 300);
    cluster_cut(c, 1, 3);
    put_until_accepted(c, 1, 1); /* that 3 does not get */
    cluster_turns(c, 550);
    expect_refused_now(c, 3, CONSISTENCY_BOUNDED, ERR_NOT_LEADER);
    cluster_hold_link(c, 2, 3, true);
    cluster_transfer(c, 2);
    cluster_turns(c, WAN_MS);
    cluster_hold_link(c, 2, 3, false);
    /* 3 rejects, 2 hears that and sends what is lacking, with an echo if it
     * trusts 3; what 3 says then is not heard. */
    cluster_turns(c, WAN_MS + 20);
    cluster_hold_link(c, 3, 2, true);
    uint64_t before = raft_last_lsn(shard_raft(cluster_shard(c, 3)));
    cluster_turns(c, WAN_MS + 10);
    assert_true(raft_last_lsn(shard_raft(cluster_shard(c, 3))) > before);
    expect_refused_now(c, 3, CONSISTENCY_BOUNDED, ERR_NOT_LEADER);
    /* Once it is heard it is. */
    cluster_hold_link(c, 3, 2, false);
    cluster_turns(c, 6 * WAN_MS);
    expect_now(c, 3, CONSISTENCY_BOUNDED, 1);
    cluster_free(c);
}

/* It does not know that it left, and is fresh for a while. */
static void a_new_leader_waits_for_who_has_just_left(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(
        &(struct cluster_options){.nodes = 3, .regions = three_regions});
    if (cluster_elect(c) != 1)
        cluster_transfer(c, 1);
    set_bound(c, 1, USEC_PER_SEC, 0);
    put_until_accepted(c, 1, 1);
    cluster_turns(c, 300);
    struct raft_config without_3 =
        *raft_config(shard_raft(cluster_shard(c, 1)));
    without_3.n = 2;
    assert_int_equal(
        shard_change(cluster_shard(c, 1), cluster_now(c), &without_3), ERR_OK);
    cluster_turns(c, 20);
    assert_int_equal(raft_config(shard_raft(cluster_shard(c, 2)))->n, 2);
    cluster_transfer(c, 2);
    expect_now(c, 3, CONSISTENCY_BOUNDED, 1);
    unsigned newest = 1;
    for (int i = 0; i < 100; i++) {
        struct cluster_call call;
        newest += put_n(c, 2, newest + 1).err == ERR_OK;
        read_at(c, 3, CONSISTENCY_BOUNDED, &call);
        if (call.done == 1 && call.result.err == ERR_OK)
            assert_true(strtoul(cluster_text(&call) + 14, NULL, 10) + 1 >=
                        newest);
        cluster_call_free(&call);
        cluster_turns(c, 10);
    }
    assert_true(newest > 10);
    expect_refused_now(c, 3, CONSISTENCY_BOUNDED, ERR_NOT_LEADER);
    cluster_free(c);
}

/* A node that was started again may lead before it hears what the account asks
 * for by now. */
static void a_leader_that_knows_an_old_level_accepts_nothing(void **state)
{
    (void)state;
    struct cluster *c = far_apart();
    struct shard_policy old = {.level = CONSISTENCY_SESSION};
    cluster_set_policy(c, &old);
    assert_int_equal(put_n(c, 1, 1).err, ERR_OK);
    cluster_turns(c, 300);
    lose_region_1(c);
    cluster_turns(c, 300);
    assert_int_equal(put_n(c, 2, 2).err, ERR_UNAVAILABLE);
    struct shard_policy now = {.epoch = 1,
                               .level = CONSISTENCY_BOUNDED,
                               .max_lag_entries = 1,
                               .max_lag_us = USEC_PER_SEC};
    cluster_set_policy(c, &now);
    put_until_accepted(c, 2, 2);
    assert_int_equal(put_n(c, 2, 3).err, ERR_THROTTLED);
    cluster_free(c);
}

/* What a majority of all acknowledges is bounded by nothing else. */
static void a_strong_shard_asks_for_no_level(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(&(struct cluster_options){
        .nodes = 3, .regions = three_regions, .by_majority = true});
    struct shard_policy old = {.level = CONSISTENCY_SESSION};
    cluster_set_policy(c, &old);
    raft_id leader = cluster_elect(c);
    struct raft_config next =
        *raft_config(shard_raft(cluster_shard(c, leader)));
    next.epoch = 1;
    assert_int_equal(
        shard_change(cluster_shard(c, leader), cluster_now(c), &next), ERR_OK);
    cluster_turns(c, 300);
    assert_int_equal(status_of(c, leader).rule_committed.epoch, 1);
    assert_int_equal(put_n(c, leader, 1).err, ERR_OK);
    cluster_free(c);
}

static void the_meta_shard_is_never_throttled(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(&(struct cluster_options){
        .nodes = 3, .meta = true, .regions = three_regions});
    raft_id leader = cluster_elect(c);
    set_bound(c, 1, USEC_PER_SEC, 0);
    cluster_turns(c, 300);
    cluster_isolate(c, leader % 3 + 1);
    for (unsigned n = 1; n < 20; n++)
        assert_int_equal(put_n(c, leader, n).err, ERR_OK);
    cluster_free(c);
}

/* ---- the operator's last resort -------------------------------------------
 */

static void survivors_become_a_cluster_of_their_own(void **state)
{
    (void)state;
    struct cluster *c = far_apart();
    struct cluster_call call;
    assert_int_equal(put_n(c, 1, 1).err, ERR_OK);
    cluster_turns(c, 300);
    cluster_crash(c, 1);
    cluster_crash(c, 2);
    cluster_turns(c, 3000);
    expect_now(c, 3, CONSISTENCY_EVENTUAL, 1);
    struct raft_config config = *raft_config(shard_raft(cluster_shard(c, 3)));
    for (uint32_t i = 0; i < config.n; i++)
        config.members[i].voter = config.members[i].id == 3;
    config.epoch = 1;
    config.write_region = 3;
    assert_int_equal(
        shard_recover(cluster_shard(c, 3), cluster_now(c), &config), ERR_OK);
    shard_campaign(cluster_shard(c, 3), cluster_now(c));
    assert_int_equal(cluster_elect(c), 3);
    struct written w = put_n(c, 3, 2);
    assert_int_equal(w.err, ERR_OK);
    assert_int_equal(w.epoch, 1);
    assert_int_equal(status_of(c, 3).rule_committed.write_region, 3);
    assert_int_equal(status_of(c, 3).rule_committed.epoch, 1);
    session_at(c, 3, 0, 1000000, &call);
    assert_int_equal(call.done, 1);
    cluster_call_free(&call);
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_write_region_acknowledges_alone),
        cmocka_unit_test(the_majority_takes_a_round_trip),
        cmocka_unit_test(what_is_acknowledged_is_not_done_again),
        cmocka_unit_test(what_would_be_lost_is_counted),
        cmocka_unit_test(weak_reads_see_at_once_what_is_acknowledged),
        cmocka_unit_test(weak_reads_never_leave_the_replica),
        cmocka_unit_test(nobody_sees_what_is_not_acknowledged),
        cmocka_unit_test(scans_and_barriers_have_levels_too),
        cmocka_unit_test(a_session_waits_for_its_writes),
        cmocka_unit_test(a_session_without_a_token_waits_for_nothing),
        cmocka_unit_test(a_session_that_waits_in_vain_is_told),
        cmocka_unit_test(a_token_of_a_lost_epoch_waits_for_nothing),
        cmocka_unit_test(a_long_scan_does_not_survive_what_it_saw),
        cmocka_unit_test(bounded_reads_are_local_while_they_are_proved_fresh),
        cmocka_unit_test(delayed_appends_prove_nothing),
        cmocka_unit_test(a_leader_without_a_lease_asks_like_anybody),
        cmocka_unit_test(with_k_of_one_each_write_is_seen_before_the_next),
        cmocka_unit_test(who_keeps_up_costs_nothing),
        cmocka_unit_test(the_dead_stop_mattering_when_their_lease_is_over),
        cmocka_unit_test(who_needs_a_snapshot_stops_mattering),
        cmocka_unit_test(a_region_declared_down_stops_mattering),
        cmocka_unit_test(a_new_leader_learns_before_it_writes),
        cmocka_unit_test(who_has_told_nothing_yet_is_not_fresh),
        cmocka_unit_test(a_new_leader_waits_for_who_has_just_left),
        cmocka_unit_test(a_leader_that_knows_an_old_level_accepts_nothing),
        cmocka_unit_test(a_strong_shard_asks_for_no_level),
        cmocka_unit_test(the_meta_shard_is_never_throttled),
        cmocka_unit_test(survivors_become_a_cluster_of_their_own),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
