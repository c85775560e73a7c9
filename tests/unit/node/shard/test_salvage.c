/* Promises about what a forced failover overwrites: it becomes conflicts, all
 * of it and nothing else, whatever crashes meanwhile. */
#include "tests/unit/node/shard/shard_test.h"

#include "node/base/err.h"
#include "node/shard/conflict.h"
#include "node/shard/record.h"
#include "node/shard/salvage.h"
#include "node/store/effects.h"

/* Regions 1 (two nodes; acknowledges), 2 and 3. */
static const raft_region regions[5] = {1, 1, 2, 2, 3};

struct loss {
    struct cluster *c;
    raft_id old_leader, old_follower, leader;
    uint64_t first_lost; /* LSN of the first write that was overwritten */
    uint64_t lost_term;
};

static const char *conflict_body_of(struct cluster_call *call)
{
    return call->result.err == ERR_OK ? cluster_text(call) : NULL;
}

/* Reads the conflict of the `n`-th lost write at the present leader. */
static int read_conflict(struct loss *l, unsigned n, struct cluster_call *call)
{
    struct conflict_id id = {
        .shard = CLUSTER_SHARD, .term = l->lost_term, .lsn = l->first_lost + n};
    struct op_address at;
    conflict_address(&id, CONTAINER_FIRST_USER, &at);
    cluster_read(l->c, call, at);
    return cluster_do(l->c, cluster_elect(l->c), call);
}

static unsigned count_conflicts(struct cluster *c)
{
    uint8_t position[OP_KEY_MAX];
    size_t len = 0;
    unsigned n = 0;
    for (bool more = true; more;) {
        struct cluster_call call;
        cluster_scan(c, &call, 1000, NULL);
        call.op.at.container |= CONTAINER_CONFLICTS;
        call.op.after = bytes_of(position, len);
        assert_int_equal(cluster_do(c, cluster_elect(c), &call), ERR_OK);
        n += call.result.items;
        more = call.result.more;
        len = call.result.next_len;
        memcpy(position, call.result.next, len);
        cluster_call_free(&call);
    }
    return n;
}

static void cut_region_1(struct cluster *c)
{
    for (raft_id id = 3; id <= 5; id++) {
        cluster_cut(c, 1, id);
        cluster_cut(c, 2, id);
    }
}

static void elect_in(struct cluster *c, raft_id from, raft_id to)
{
    for (int i = 0; i < 20000; i++) {
        raft_id leader = cluster_leader(c);
        if (leader >= from && leader <= to && cluster_elect(c) == leader)
            return;
        cluster_turn(c);
    }
    fail_msg("nobody of %u..%u was elected", from, to);
}

/* Region 1 leads and has one document everywhere. */
static struct loss loss_begin_with(size_t memtable_bytes)
{
    struct loss l = {
        .c = cluster_new(&(struct cluster_options){
            .nodes = 5, .regions = regions, .memtable_bytes = memtable_bytes})};
    l.old_leader = cluster_elect(l.c);
    if (l.old_leader > 2) {
        cluster_transfer(l.c, 1);
        l.old_leader = 1;
    }
    l.old_follower = 3 - l.old_leader;
    put(l.c, l.old_leader, 1, 1, "{\"id\":\"kept\"");
    put(l.c, l.old_leader, 1, 2, "{\"id\":\"old\"");
    cluster_turns(l.c, 300);
    return l;
}

static struct loss loss_begin(void)
{
    return loss_begin_with(0);
}

/* What region 1 acknowledges now, nobody else gets. */
static void stop_leaving(struct loss *l, bool stop)
{
    for (raft_id id = 3; id <= 5; id++)
        for (raft_id from = 1; from <= 2; from++)
            cluster_hold_link(l->c, from, id, stop);
}

/* Three writes are acknowledged by region 1 and by nobody else: a create, a
 * replace, a delete. */
static void lose_three(struct loss *l)
{
    struct shard *s = cluster_shard(l->c, l->old_leader);
    stop_leaving(l, true);
    l->first_lost = raft_last_lsn(shard_raft(s)) + 1;
    l->lost_term = raft_term(shard_raft(s));
    put(l->c, l->old_leader, 1, 3, "{\"id\":\"lost create\"");
    put(l->c, l->old_leader, 1, 1, "{\"id\":\"lost replace\"");
    assert_int_equal(
        written(l->c, l->old_leader, OP_DELETE, cluster_at(1, 2), NULL, NULL),
        ERR_OK);
    assert_true(shard_commit_lsn(s) < l->first_lost);
}

/* Region 1 is cut off, region 2 takes over and overwrites. */
static void fail_over(struct loss *l, uint32_t epoch, raft_region region)
{
    cut_region_1(l->c);
    stop_leaving(l, false);
    for (raft_id id = 3; id <= 5; id++)
        cluster_decide(l->c, id, epoch, region);
    raft_id from = region == 2 ? 3 : 5;
    elect_in(l->c, from, from == 3 ? 4 : 5);
    l->leader = cluster_elect(l->c);
}

static struct loss loss_of_three(void)
{
    struct loss l = loss_begin();
    lose_three(&l);
    fail_over(&l, 1, 2);
    for (unsigned i = 10; i < 15; i++)
        put(l.c, l.leader, 1, i, "{\"id\":\"new\"");
    return l;
}

static void come_back(struct loss *l)
{
    cluster_heal(l->c);
    cluster_turns(l->c, 3000);
}

static uint32_t pending(struct loss *l, raft_id id)
{
    return shard_salvage_pending(cluster_shard(l->c, id));
}

/* What is left to deliver is delivered, and then forgotten. */
static void expect_delivered(struct loss *l, raft_id id)
{
    for (int i = 0; i < 20 && pending(l, id) > 0; i++) {
        (void)cluster_deliver(l->c, id, 100);
        cluster_turns(l->c, 300);
    }
    assert_int_equal(pending(l, id), 0);
}

static void expect_conflict(struct loss *l, unsigned n, const char *operation,
                            const char *content)
{
    struct cluster_call call;
    assert_int_equal(read_conflict(l, n, &call), ERR_OK);
    const char *text = conflict_body_of(&call);
    assert_non_null(strstr(text, operation));
    if (content != NULL)
        assert_non_null(strstr(text, content));
    else
        assert_non_null(strstr(text, "\"content\":\"\""));
    assert_non_null(strstr(text, "/conflicts/"));
    cluster_call_free(&call);
}

static void expect_three_conflicts(struct loss *l)
{
    assert_int_equal(count_conflicts(l->c), 3);
    expect_conflict(l, 0, "\"operationType\":\"create\"", "lost create");
    expect_conflict(l, 1, "\"operationType\":\"replace\"", "lost replace");
    expect_conflict(l, 2, "\"operationType\":\"delete\"", NULL);
}

static void loss_end(struct loss *l)
{
    cluster_free(l->c);
}

static void overwritten_writes_become_conflicts(void **state)
{
    (void)state;
    struct loss l = loss_of_three();
    assert_int_equal(cluster_salvaged(l.c, 1) + cluster_salvaged(l.c, 2), 0);
    come_back(&l);
    expect_read(l.c, cluster_elect(l.c), 1, 1, "{\"id\":\"kept\"");
    expect_read(l.c, cluster_elect(l.c), 1, 3, NULL);
    for (raft_id id = 1; id <= 5; id++) {
        assert_int_equal(pending(&l, id), id <= 2 ? 3 : 0);
        assert_int_equal(cluster_salvaged(l.c, id), id <= 2 ? 3 : 0);
    }
    expect_delivered(&l, 1);
    expect_three_conflicts(&l);
    expect_delivered(&l, 2);
    expect_three_conflicts(&l);
    expect_same_everywhere(l.c, 5);
    loss_end(&l);
}

/* The old leader knows that clients had their answers, its follower may not;
 * whoever comes first, what is known stays. */
static void what_is_known_of_an_answer_is_kept(void **state)
{
    (void)state;
    for (int order = 0; order < 2; order++) {
        struct loss l = loss_of_three();
        struct cluster_call call;
        come_back(&l);
        expect_delivered(&l, order == 0 ? l.old_leader : l.old_follower);
        expect_delivered(&l, order == 0 ? l.old_follower : l.old_leader);
        for (unsigned n = 0; n < 3; n++) {
            assert_int_equal(read_conflict(&l, n, &call), ERR_OK);
            assert_non_null(
                strstr(conflict_body_of(&call), "\"_acknowledged\":true"));
            cluster_call_free(&call);
        }
        expect_three_conflicts(&l);
        loss_end(&l);
    }
}

static void after_a_restart_nobody_can_tell(void **state)
{
    (void)state;
    struct loss l = loss_of_three();
    struct cluster_call call;
    cluster_crash(l.c, l.old_leader);
    cluster_crash(l.c, l.old_follower);
    cluster_start(l.c, l.old_leader);
    cluster_start(l.c, l.old_follower);
    come_back(&l);
    expect_delivered(&l, l.old_leader);
    assert_int_equal(read_conflict(&l, 0, &call), ERR_OK);
    assert_non_null(strstr(conflict_body_of(&call), "\"_acknowledged\":null"));
    cluster_call_free(&call);
    expect_three_conflicts(&l);
    loss_end(&l);
}

/* -- crashes ----------------------------------------------------------------
 */

static void salvage_survives_a_restart(void **state)
{
    (void)state;
    struct loss l = loss_of_three();
    come_back(&l);
    assert_int_equal(pending(&l, 1), 3);
    cluster_crash(l.c, 1);
    cluster_start(l.c, 1);
    cluster_turns(l.c, 3000);
    assert_int_equal(pending(&l, 1), 3);
    assert_int_equal(cluster_deliver(l.c, 1, 1), 1);
    cluster_crash(l.c, 1); /* delivered, and not marked */
    cluster_start(l.c, 1);
    cluster_turns(l.c, 3000);
    assert_int_equal(pending(&l, 1), 3);
    expect_delivered(&l, 1);
    expect_three_conflicts(&l);
    cluster_crash(l.c, 1);
    cluster_start(l.c, 1);
    cluster_turns(l.c, 3000);
    assert_int_equal(pending(&l, 1), 0);
    assert_int_equal(shard_salvage_keep(cluster_shard(l.c, 1)), 4);
    loss_end(&l);
}

/* The truncation is not on the disk when the node dies: then the entries are
 * still there, and are cut off again. */
static void a_crash_before_the_sync_loses_nothing(void **state)
{
    (void)state;
    struct loss l = loss_of_three();
    cluster_crash(l.c, 2); /* so that it is up to node 1 */
    cluster_hold_sync(l.c, 1, true);
    come_back(&l);
    assert_int_equal(pending(&l, 1), 3);
    cluster_crash(l.c, 1);
    cluster_hold_sync(l.c, 1, false);
    cluster_start(l.c, 1);
    assert_int_equal(pending(&l, 1), 0);
    cluster_turns(l.c, 3000);
    assert_int_equal(pending(&l, 1), 3);
    expect_delivered(&l, 1);
    expect_three_conflicts(&l);
    loss_end(&l);
}

/* -- snapshots --------------------------------------------------------------
 */

static void a_snapshot_in_place_of_the_log_loses_nothing(void **state)
{
    (void)state;
    struct loss l = loss_of_three();
    cluster_compact(l.c, l.leader);
    come_back(&l);
    assert_true(cluster_snapshots(l.c) >= 2);
    assert_int_equal(pending(&l, 1), 3);
    expect_delivered(&l, 1);
    expect_delivered(&l, 2);
    expect_three_conflicts(&l);
    expect_same_everywhere(l.c, 5);
    loss_end(&l);
}

/* Entries that a replica did not know to be committed, and that are in the
 * snapshot it gets: nothing was lost. */
static void what_was_not_overwritten_is_no_conflict(void **state)
{
    (void)state;
    struct loss l = loss_begin();
    /* Node 5 has them, and never hears that they are committed. */
    cluster_hold_link(l.c, 5, l.old_leader, true);
    put(l.c, l.old_leader, 1, 5, "{\"id\":\"everywhere\"");
    put(l.c, l.old_leader, 1, 1, "{\"id\":\"everywhere too\"");
    uint64_t last = raft_last_lsn(shard_raft(cluster_shard(l.c, 5)));
    assert_true(shard_commit_lsn(cluster_shard(l.c, 5)) < last);
    cluster_isolate(l.c, 5);
    cluster_turns(l.c, 300);
    for (raft_id id = 1; id <= 4; id++)
        cluster_decide(l.c, id, 1, 2);
    cluster_crash(l.c, 1);
    cluster_crash(l.c, 2);
    cluster_start(l.c, 1);
    cluster_decide(l.c, 1, 1, 2);
    elect_in(l.c, 3, 4);
    l.leader = cluster_elect(l.c);
    for (unsigned i = 10; i < 15; i++)
        put(l.c, l.leader, 1, i, "{\"id\":\"new\"");
    cluster_turns(l.c, 300);
    cluster_compact(l.c, l.leader);
    unsigned before = cluster_snapshots(l.c);
    cluster_decide(l.c, 5, 1, 2);
    come_back(&l);
    assert_true(cluster_snapshots(l.c) > before);
    assert_true(pending(&l, 5) > 0);
    expect_delivered(&l, 5);
    assert_int_equal(count_conflicts(l.c), 0);
    loss_end(&l);
}

/* -- what is no business of salvage -----------------------------------------
 */

static void within_an_epoch_nothing_is_salvaged(void **state)
{
    (void)state;
    struct story s = story_of_three();
    cluster_isolate(s.c, s.leader);
    struct cluster_call call;
    cluster_write(s.c, &call, OP_CREATE, cluster_at(1, 1), "{\"id\":\"1\"");
    cluster_submit(s.c, s.leader, &call);
    cluster_settle(s.c);
    cluster_turns(s.c, 5000);
    cluster_heal(s.c);
    cluster_turns(s.c, 3000);
    expect_same_everywhere(s.c, 3);
    for (raft_id id = 1; id <= 3; id++)
        assert_int_equal(cluster_salvaged(s.c, id), 0);
    cluster_call_free(&call);
    story_end(&s);
}

static void a_leader_refuses_what_it_still_has(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call call, salvage;
    cluster_write(s.c, &call, OP_CREATE, cluster_at(1, 1), "{\"id\":\"1\"");
    assert_int_equal(cluster_do(s.c, s.leader, &call), ERR_OK);
    for (int round = 0; round < 2; round++) {
        struct op_address at = {.container =
                                    CONTAINER_FIRST_USER | CONTAINER_CONFLICTS};
        cluster_write(s.c, &salvage, OP_CREATE, at, "{\"id\":\"c\"");
        salvage.op.resource = OP_RESOURCE_CONFLICT;
        salvage.op.condition = OP_COND_IF_OVERWRITTEN;
        salvage.op.etag = call.result.etag;
        assert_int_equal(cluster_do(s.c, cluster_elect(s.c), &salvage),
                         ERR_PRECONDITION);
        assert_true(salvage.result.lsn >= call.result.lsn);
        cluster_call_free(&salvage);
        /* And so does one that has read it from its disk. */
        raft_id leader = cluster_elect(s.c);
        cluster_compact(s.c, leader);
        cluster_turns(s.c, 300);
        cluster_crash(s.c, leader);
        cluster_start(s.c, leader);
        cluster_elect(s.c);
        cluster_turns(s.c, 3000);
        if (cluster_elect(s.c) != leader)
            cluster_transfer(s.c, leader);
    }
    cluster_call_free(&call);
    story_end(&s);
}

static void a_container_that_is_gone_takes_its_conflicts_along(void **state)
{
    (void)state;
    struct loss l = loss_of_three();
    come_back(&l);
    cluster_delete_container(l.c, CONTAINER_FIRST_USER);
    assert_int_equal(pending(&l, 1), 3);
    assert_int_equal(cluster_deliver(l.c, 1, 10), 0);
    assert_int_equal(pending(&l, 1), 0);
    loss_end(&l);
}

/* -- delivery ---------------------------------------------------------------
 */

static void any_answer_but_a_final_one_means_again(void **state)
{
    (void)state;
    static const int unsure[] = {ERR_TIMEOUT, ERR_UNAVAILABLE, ERR_THROTTLED,
                                 ERR_NO_SPACE, ERR_STALE};
    struct loss l = loss_of_three();
    come_back(&l);
    struct shard *s = cluster_shard(l.c, 1);
    for (size_t i = 0; i < sizeof(unsure) / sizeof(unsure[0]); i++) {
        struct salvage_delivery d[4];
        struct op_result result;
        for (int j = 0; j < 3; j++)
            assert_int_equal(shard_salvage_next(s, cluster_now(l.c), &d[j]),
                             ERR_OK);
        assert_int_equal(shard_salvage_next(s, cluster_now(l.c), &d[3]),
                         ERR_EOF);
        op_result_init(&result);
        result.err = unsure[i];
        for (int j = 2; j >= 0; j--)
            shard_salvage_done(s, cluster_now(l.c), &d[j], &result);
        assert_int_equal(shard_salvage_next(s, cluster_now(l.c), &d[3]),
                         ERR_EOF);
        cluster_turns(l.c, SALVAGE_RETRY_US / USEC_PER_MS + 1);
        op_result_free(&result);
    }
    expect_delivered(&l, 1);
    expect_three_conflicts(&l);
    loss_end(&l);
}

/* A conflict is acknowledged by a region that is lost in turn. */
static void a_conflict_that_is_overwritten_is_delivered_again(void **state)
{
    (void)state;
    struct loss l = loss_of_three();
    come_back(&l);
    raft_id leader = cluster_elect(l.c);
    assert_true(leader == 3 || leader == 4);
    /* Region 2 acknowledges; nobody else hears of it. */
    for (raft_id from = 3; from <= 4; from++)
        for (raft_id to = 1; to <= 5; to++)
            if (to != 3 && to != 4)
                cluster_hold_link(l.c, from, to, true);
    assert_int_equal(cluster_deliver(l.c, 1, 1), 1);
    assert_int_equal(pending(&l, 1), 3);
    for (raft_id id = 1; id <= 5; id++) {
        if (id == 3 || id == 4)
            continue;
        cluster_cut(l.c, 3, id);
        cluster_cut(l.c, 4, id);
        for (raft_id from = 3; from <= 4; from++)
            cluster_hold_link(l.c, from, id, false);
        cluster_decide(l.c, id, 2, 1);
    }
    elect_in(l.c, 1, 2);
    assert_int_equal(count_conflicts(l.c), 0);
    cluster_heal(l.c);
    cluster_turns(l.c, 3000);
    /* Conflicts are not salvaged themselves. */
    assert_int_equal(cluster_salvaged(l.c, 3) + cluster_salvaged(l.c, 4), 0);
    expect_delivered(&l, 1);
    expect_three_conflicts(&l);
    loss_end(&l);
}

/* Region 1 gets the leadership back by force. */
static void take_back(struct loss *l, uint32_t epoch)
{
    cluster_isolate(l->c, 3);
    cluster_isolate(l->c, 4);
    for (raft_id id = 1; id <= 5; id++)
        if (id != 3 && id != 4)
            cluster_decide(l->c, id, epoch, 1);
    elect_in(l->c, 1, 2);
    l->old_leader = cluster_elect(l->c);
    come_back(l);
}

/* A replica that holds as much as it may gives up nothing more. */
static void what_is_held_is_bounded(void **state)
{
    (void)state;
    struct loss l = loss_begin_with((size_t)128 << 20);
    size_t len = (size_t)1900 << 10;
    unsigned large = (unsigned)(SALVAGE_HOLD_BYTES / len) + 1;
    char *body = malloc(len + 20);
    memset(body, 'x', len + 20);
    memcpy(body, "{\"id\":\"", 7);
    body[len] = '"';
    body[len + 1] = '\0';
    stop_leaving(&l, true);
    for (unsigned i = 0; i < large; i++)
        put(l.c, l.old_leader, 2, i, body);
    fail_over(&l, 1, 2);
    put(l.c, l.leader, 1, 10, "{\"id\":\"new\"");
    come_back(&l);
    assert_int_equal(pending(&l, 1), large);
    take_back(&l, 2);
    /* One more is overwritten, and kept: nobody takes it away. */
    stop_leaving(&l, true);
    put(l.c, l.old_leader, 1, 1, "{\"id\":\"one more\"");
    fail_over(&l, 3, 2);
    put(l.c, l.leader, 1, 11, "{\"id\":\"new\"");
    come_back(&l);
    const struct raft *r = shard_raft(cluster_shard(l.c, 1));
    uint64_t term;
    assert_int_equal(raft_term_at(r, raft_last_lsn(r), &term), ERR_OK);
    assert_int_equal(RAFT_TERM_EPOCH(term), 2);
    assert_int_equal(pending(&l, 1), large);
    assert_int_equal(cluster_salvaged(l.c, 1), large);
    for (raft_id id = 1; id <= 2; id++)
        expect_delivered(&l, id);
    cluster_turns(l.c, 3000);
    assert_int_equal(cluster_salvaged(l.c, 1), large + 1);
    for (raft_id id = 1; id <= 2; id++)
        expect_delivered(&l, id);
    assert_int_equal(count_conflicts(l.c), large + 1);
    expect_same_everywhere(l.c, 5);
    loss_end(&l);
    free(body);
}

/* An operator has seen it; a replica that comes later does not bring it back.
 */
static void a_deleted_conflict_stays_deleted(void **state)
{
    (void)state;
    struct loss l = loss_of_three();
    come_back(&l);
    expect_delivered(&l, 1);
    struct conflict_id id = {
        .shard = CLUSTER_SHARD, .term = l.lost_term, .lsn = l.first_lost + 2};
    struct op_address at;
    conflict_address(&id, CONTAINER_FIRST_USER, &at);
    assert_int_equal(
        written(l.c, cluster_elect(l.c), OP_DELETE, at, NULL, NULL), ERR_OK);
    assert_int_equal(count_conflicts(l.c), 2);
    cluster_turns(l.c, 300);
    cluster_crash(l.c, 1); /* and marks are not the reason */
    cluster_start(l.c, 1);
    cluster_turns(l.c, 300);
    expect_delivered(&l, 1);
    assert_int_equal(count_conflicts(l.c), 2);
    loss_end(&l);
}

/* -- forced recoveries ------------------------------------------------------
 */

static struct bytes history_of(struct cluster *c, raft_id id)
{
    struct bytes blob = bytes_of(NULL, 0);
    assert_int_equal(
        kv_mem_info(cluster_store(c, id), SHARD_INFO_DEDUPE, &blob), ERR_OK);
    return blob;
}

/* Two clusters stand for one whose survivors went on without the others. */
static void a_snapshot_that_lacks_what_is_committed_is_refused(void **state)
{
    (void)state;
    struct loss lost = loss_begin(), survivors = loss_of_three();
    cluster_flush(lost.c, 1, true);
    cluster_flush(survivors.c, survivors.leader, true);
    struct shard *s = cluster_shard(lost.c, 1);
    assert_false(shard_contradicted(s, bytes_of(NULL, 0)));
    assert_false(shard_contradicted(s, bytes_str("nonsense")));
    assert_false(shard_contradicted(s, history_of(lost.c, 1)));
    /* As long as what is committed here is the same there, all is well. */
    assert_false(
        shard_contradicted(s, history_of(survivors.c, survivors.leader)));
    assert_false(shard_overruled(s));
    for (unsigned i = 0; i < 10; i++)
        put(lost.c, lost.old_leader, 1, i, "{\"id\":\"lost\"");
    cluster_turns(lost.c, 300);
    assert_true(
        shard_contradicted(s, history_of(survivors.c, survivors.leader)));
    assert_true(shard_overruled(s));
    loss_end(&lost);
    loss_end(&survivors);
}

/* What a rebuilt replica finds in its old data. */
static void old_data_becomes_conflicts_where_it_was_overwritten(void **state)
{
    (void)state;
    struct loss l = loss_of_three();
    struct shard *s = cluster_shard(l.c, l.old_leader);
    const struct raft *r = shard_raft(s);
    uint64_t last = raft_last_lsn(r), kept_term;
    assert_int_equal(raft_term_at(r, l.first_lost - 1, &kept_term), ERR_OK);
    struct salvage_filter *f = salvage_filter_new(cluster_shard(l.c, l.leader));
    for (uint64_t lsn = 1; lsn < l.first_lost; lsn++) {
        uint64_t term;
        assert_int_equal(raft_term_at(r, lsn, &term), ERR_OK);
        assert_false(salvage_filter_lost(f, term, lsn));
    }
    for (uint64_t lsn = l.first_lost; lsn <= last; lsn++)
        assert_true(salvage_filter_lost(f, l.lost_term, lsn));
    /* Not of an older epoch: perhaps on its way. */
    assert_false(salvage_filter_lost(f, RAFT_TERM(1, 99), 1000));
    salvage_filter_free(f);
    come_back(&l);
    expect_delivered(&l, 1);
    expect_delivered(&l, 2);
    /* Node 5 finds one of them in its cellar. */
    struct entry *e;
    struct effects_builder b;
    static const struct effects_head nobody;
    struct op_address at = cluster_at(1, 3);
    struct record_key key;
    static const uint8_t sealed[100];
    record_text_key(&at, 7, &key);
    assert_int_equal(effects_begin(&b, &nobody), ERR_OK);
    assert_int_equal(effects_put(&b, record_key_bytes(&key),
                                 bytes_of(sealed, sizeof(sealed))),
                     ERR_OK);
    assert_int_equal(
        effects_finish(&b, l.first_lost + 2, l.lost_term, RAFT_ENTRY_DATA, &e),
        ERR_OK);
    s = cluster_shard(l.c, 5);
    assert_int_equal(shard_salvage_add(s, e, false), ERR_OK);
    entry_unref(e);
    assert_int_equal(pending(&l, 5), 1);
    expect_delivered(&l, 5);
    expect_three_conflicts(&l);
    assert_int_equal(entry_copy(1, 1, RAFT_ENTRY_DATA, bytes_str("?"), &e),
                     ERR_OK);
    assert_int_equal(shard_salvage_add(s, e, false), ERR_MALFORMED);
    entry_unref(e);
    loss_end(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(overwritten_writes_become_conflicts),
        cmocka_unit_test(what_is_known_of_an_answer_is_kept),
        cmocka_unit_test(after_a_restart_nobody_can_tell),
        cmocka_unit_test(salvage_survives_a_restart),
        cmocka_unit_test(a_crash_before_the_sync_loses_nothing),
        cmocka_unit_test(a_snapshot_in_place_of_the_log_loses_nothing),
        cmocka_unit_test(what_was_not_overwritten_is_no_conflict),
        cmocka_unit_test(within_an_epoch_nothing_is_salvaged),
        cmocka_unit_test(a_leader_refuses_what_it_still_has),
        cmocka_unit_test(a_container_that_is_gone_takes_its_conflicts_along),
        cmocka_unit_test(any_answer_but_a_final_one_means_again),
        cmocka_unit_test(a_conflict_that_is_overwritten_is_delivered_again),
        cmocka_unit_test(what_is_held_is_bounded),
        cmocka_unit_test(a_deleted_conflict_stays_deleted),
        cmocka_unit_test(a_snapshot_that_lacks_what_is_committed_is_refused),
        cmocka_unit_test(old_data_becomes_conflicts_where_it_was_overwritten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
