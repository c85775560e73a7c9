/* Promises of writes: what each mode and condition means, when a write is
 * acknowledged, and what the bounds answer. */
#include "node/shard/record.h"
#include "tests/unit/node/shard/shard_test.h"

#define BODY "{\"id\":\"1\",\"n\":1"
#define BODY2 "{\"id\":\"1\",\"n\":2"

static int conditional(struct story *s, enum op_write_mode mode,
                       enum op_condition condition, const struct etag *etag,
                       struct op_address at)
{
    struct cluster_call call;
    cluster_write(s->c, &call, mode, at, mode == OP_DELETE ? NULL : BODY);
    call.op.condition = condition;
    if (etag != NULL)
        call.op.etag = *etag;
    call.op.etag_unknown = etag == NULL;
    int err = cluster_do(s->c, s->leader, &call);
    cluster_call_free(&call);
    return err;
}

static void a_document_lives_and_dies(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct op_address at = cluster_at(1, 1);
    struct cluster_call call;

    expect_read(s.c, s.leader, 1, 1, NULL);
    assert_int_equal(written(s.c, s.leader, OP_REPLACE, at, BODY, NULL),
                     ERR_NOT_FOUND);
    assert_int_equal(written(s.c, s.leader, OP_DELETE, at, NULL, NULL),
                     ERR_NOT_FOUND);

    cluster_write(s.c, &call, OP_CREATE, at, BODY);
    assert_int_equal(cluster_do(s.c, s.leader, &call), ERR_OK);
    assert_true(call.result.created);
    uint64_t record = call.result.record;
    assert_int_equal(call.result.etag.lsn, call.result.lsn);
    assert_int_equal(call.result.etag.shard, CLUSTER_SHARD);
    cluster_call_free(&call);
    expect_read(s.c, s.leader, 1, 1, BODY);
    assert_int_equal(written(s.c, s.leader, OP_CREATE, at, BODY, NULL),
                     ERR_EXISTS);

    cluster_write(s.c, &call, OP_REPLACE, at, BODY2);
    assert_int_equal(cluster_do(s.c, s.leader, &call), ERR_OK);
    assert_false(call.result.created);
    assert_int_equal(call.result.record, record);
    cluster_call_free(&call);
    expect_read(s.c, s.leader, 1, 1, BODY2);

    cluster_write(s.c, &call, OP_UPSERT, at, BODY);
    assert_int_equal(cluster_do(s.c, s.leader, &call), ERR_OK);
    assert_false(call.result.created);
    cluster_call_free(&call);

    assert_int_equal(written(s.c, s.leader, OP_DELETE, at, NULL, NULL), ERR_OK);
    expect_read(s.c, s.leader, 1, 1, NULL);

    cluster_write(s.c, &call, OP_UPSERT, at, BODY2);
    assert_int_equal(cluster_do(s.c, s.leader, &call), ERR_OK);
    assert_true(call.result.created);
    assert_true(call.result.record > record); /* never given twice */
    cluster_call_free(&call);
    expect_same_everywhere(s.c, 3);
    story_end(&s);
}

static void the_answer_is_the_text_that_a_read_finds(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call write, read;
    cluster_write(s.c, &write, OP_CREATE, cluster_at(1, 1), BODY);
    assert_int_equal(cluster_do(s.c, s.leader, &write), ERR_OK);
    for (raft_id id = 1; id <= 3; id++) {
        cluster_read(s.c, &read, cluster_at(1, 1));
        assert_int_equal(cluster_do(s.c, id, &read), ERR_OK);
        assert_string_equal(cluster_text(&read), cluster_text(&write));
        assert_true(etag_equal(&read.result.etag, &write.result.etag));
        assert_int_equal(read.result.record, write.result.record);
        assert_true(read.result.lsn >= write.result.lsn);
        cluster_call_free(&read);
    }
    cluster_call_free(&write);
    story_end(&s);
}

static void conditions_hold_where_a_record_is(void **state)
{
    (void)state;
    static const enum op_write_mode modes[] = {OP_UPSERT, OP_REPLACE};
    struct story s = story_of_three();
    struct op_address at = cluster_at(1, 1);
    struct etag current, old;
    for (size_t i = 0; i < 2; i++) {
        enum op_write_mode mode = modes[i];
        assert_int_equal(written(s.c, s.leader, OP_UPSERT, at, BODY, &old),
                         ERR_OK);
        assert_int_equal(written(s.c, s.leader, OP_UPSERT, at, BODY, &current),
                         ERR_OK);
        assert_false(etag_equal(&old, &current));
        assert_int_equal(conditional(&s, mode, OP_COND_IF_MATCH, &old, at),
                         ERR_PRECONDITION);
        assert_int_equal(conditional(&s, mode, OP_COND_IF_MATCH, NULL, at),
                         ERR_PRECONDITION);
        assert_int_equal(
            conditional(&s, mode, OP_COND_IF_NONE_MATCH, &current, at),
            ERR_PRECONDITION);
        assert_int_equal(
            conditional(&s, mode, OP_COND_IF_NONE_MATCH_ANY, NULL, at),
            ERR_PRECONDITION);
        assert_int_equal(conditional(&s, mode, OP_COND_IF_MATCH, &current, at),
                         ERR_OK);
        /* That was a new version. */
        assert_int_equal(conditional(&s, mode, OP_COND_IF_MATCH, &current, at),
                         ERR_PRECONDITION);
        assert_int_equal(conditional(&s, mode, OP_COND_IF_MATCH_ANY, NULL, at),
                         ERR_OK);
        assert_int_equal(
            conditional(&s, mode, OP_COND_IF_NONE_MATCH, &current, at), ERR_OK);
    }
    assert_int_equal(written(s.c, s.leader, OP_UPSERT, at, BODY, &current),
                     ERR_OK);
    assert_int_equal(conditional(&s, OP_DELETE, OP_COND_IF_MATCH, &old, at),
                     ERR_PRECONDITION);
    assert_int_equal(
        conditional(&s, OP_CREATE, OP_COND_IF_NONE_MATCH_ANY, NULL, at),
        ERR_EXISTS);
    assert_int_equal(conditional(&s, OP_DELETE, OP_COND_IF_MATCH, &current, at),
                     ERR_OK);
    story_end(&s);
}

static void conditions_hold_where_no_record_is(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct etag any = {.term = 1, .lsn = 1, .shard = CLUSTER_SHARD};
    assert_int_equal(
        conditional(&s, OP_REPLACE, OP_COND_IF_MATCH, &any, cluster_at(1, 1)),
        ERR_NOT_FOUND);
    assert_int_equal(conditional(&s, OP_UPSERT, OP_COND_IF_MATCH_ANY, NULL,
                                 cluster_at(1, 2)),
                     ERR_PRECONDITION);
    /* An upsert that inserts has nothing to overwrite. */
    assert_int_equal(
        conditional(&s, OP_UPSERT, OP_COND_IF_MATCH, &any, cluster_at(1, 3)),
        ERR_OK);
    assert_int_equal(conditional(&s, OP_UPSERT, OP_COND_IF_NONE_MATCH_ANY, NULL,
                                 cluster_at(1, 4)),
                     ERR_OK);
    assert_int_equal(conditional(&s, OP_CREATE, OP_COND_IF_NONE_MATCH_ANY, NULL,
                                 cluster_at(1, 5)),
                     ERR_OK);
    story_end(&s);
}

static void reads_know_conditions_too(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct etag etag;
    assert_int_equal(
        written(s.c, s.leader, OP_CREATE, cluster_at(1, 1), BODY, &etag),
        ERR_OK);
    static const struct {
        enum op_condition condition;
        bool same;
        int err;
    } cases[] = {{OP_COND_IF_NONE_MATCH, true, ERR_NOT_MODIFIED},
                 {OP_COND_IF_NONE_MATCH, false, ERR_OK},
                 {OP_COND_IF_NONE_MATCH_ANY, false, ERR_NOT_MODIFIED},
                 {OP_COND_IF_MATCH, true, ERR_OK},
                 {OP_COND_IF_MATCH, false, ERR_PRECONDITION},
                 {OP_COND_IF_MATCH_ANY, false, ERR_OK}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cluster_call call;
        cluster_read(s.c, &call, cluster_at(1, 1));
        call.op.condition = cases[i].condition;
        call.op.etag = etag;
        call.op.etag_unknown = !cases[i].same;
        assert_int_equal(cluster_do(s.c, s.leader, &call), cases[i].err);
        assert_true(etag_equal(&call.result.etag, &etag));
        assert_true((cases[i].err == ERR_OK) == (cluster_text(&call)[0] != 0));
        cluster_call_free(&call);
    }
    story_end(&s);
}

static void a_write_is_acknowledged_when_a_majority_has_it(void **state)
{
    (void)state;
    struct story s = story_of_three();
    for (raft_id id = 1; id <= 3; id++)
        cluster_hold_sync(s.c, id, true);
    struct cluster_call call;
    cluster_write(s.c, &call, OP_CREATE, cluster_at(1, 1), BODY);
    cluster_submit(s.c, s.leader, &call);
    cluster_settle(s.c);
    assert_int_equal(call.done, 0); /* on no disk */
    cluster_hold_sync(s.c, s.leader, false);
    cluster_settle(s.c);
    assert_int_equal(call.done, 0); /* on one of three */
    cluster_hold_sync(s.c, s.third, false);
    cluster_settle(s.c);
    assert_int_equal(call.done, 1);
    assert_int_equal(call.result.err, ERR_OK);
    cluster_call_free(&call);
    cluster_hold_sync(s.c, s.other, false);
    story_end(&s);
}

static void two_followers_are_a_majority_without_the_leaders_disk(void **state)
{
    (void)state;
    struct story s = story_of_three();
    cluster_hold_sync(s.c, s.leader, true);
    assert_int_equal(
        written(s.c, s.leader, OP_CREATE, cluster_at(1, 1), BODY, NULL),
        ERR_OK);
    /* The leader dies without having synced it; it is not lost. */
    cluster_crash(s.c, s.leader);
    raft_id next = cluster_elect(s.c);
    expect_read(s.c, next, 1, 1, BODY);
    cluster_hold_sync(s.c, s.leader, false);
    cluster_start(s.c, s.leader);
    expect_same_everywhere(s.c, 3);
    story_end(&s);
}

static void writes_of_one_turn_see_each_other(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call first, second, third;
    cluster_write(s.c, &first, OP_CREATE, cluster_at(1, 1), BODY);
    cluster_write(s.c, &second, OP_REPLACE, cluster_at(1, 1), BODY2);
    cluster_write(s.c, &third, OP_DELETE, cluster_at(1, 1), NULL);
    cluster_submit(s.c, s.leader, &first);
    cluster_submit(s.c, s.leader, &second);
    cluster_submit(s.c, s.leader, &third);
    assert_int_equal(cluster_wait(s.c, &first), ERR_OK);
    assert_int_equal(cluster_wait(s.c, &second), ERR_OK);
    assert_int_equal(cluster_wait(s.c, &third), ERR_OK);
    assert_int_equal(second.result.lsn, first.result.lsn + 1);
    assert_int_equal(third.result.lsn, first.result.lsn + 2);
    cluster_call_free(&first);
    cluster_call_free(&second);
    cluster_call_free(&third);
    expect_read(s.c, s.leader, 1, 1, NULL);
    story_end(&s);
}

static void a_refusal_waits_for_what_it_rests_on(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call create, again, missing;
    for (raft_id id = 1; id <= 3; id++)
        cluster_hold_sync(s.c, id, true);
    cluster_write(s.c, &create, OP_CREATE, cluster_at(1, 1), BODY);
    cluster_write(s.c, &again, OP_CREATE, cluster_at(1, 1), BODY);
    cluster_submit(s.c, s.leader, &create);
    cluster_submit(s.c, s.leader, &again);
    cluster_settle(s.c);
    /* The first could still be lost; then the second need not have failed. */
    assert_int_equal(again.done, 0);
    for (raft_id id = 1; id <= 3; id++)
        cluster_hold_sync(s.c, id, false);
    assert_int_equal(cluster_wait(s.c, &create), ERR_OK);
    assert_int_equal(cluster_wait(s.c, &again), ERR_EXISTS);
    /* With nothing under way a refusal comes at once. */
    cluster_write(s.c, &missing, OP_REPLACE, cluster_at(1, 9), BODY);
    cluster_submit(s.c, s.leader, &missing);
    assert_int_equal(missing.done, 1);
    assert_int_equal(missing.result.err, ERR_NOT_FOUND);
    cluster_call_free(&create);
    cluster_call_free(&again);
    cluster_call_free(&missing);
    story_end(&s);
}

static void a_deposed_leader_refuses_nothing(void **state)
{
    (void)state;
    struct story s = story_of_three();
    cluster_isolate(s.c, s.leader);
    cluster_sleep(s.c, 950 * USEC_PER_MS); /* its lease is over */
    struct cluster_call call, barred;
    cluster_write(s.c, &call, OP_REPLACE, cluster_at(1, 1), BODY);
    cluster_submit(s.c, s.leader, &call);
    assert_int_equal(call.done, 0);
    /* Nor for its owner: the next leader may have admitted it. */
    cluster_refuse(s.c, "not here");
    cluster_write(s.c, &barred, OP_CREATE, cluster_at(1, 2), BODY);
    cluster_submit(s.c, s.leader, &barred);
    assert_int_equal(barred.done, 0);
    cluster_refuse(s.c, NULL);
    /* Elsewhere the record exists by now. */
    raft_id next;
    do {
        cluster_turn(s.c);
        next = cluster_leader(s.c);
    } while (next == 0 || next == s.leader);
    assert_int_equal(cluster_wait(s.c, &call), ERR_NOT_LEADER);
    assert_int_equal(cluster_wait(s.c, &barred), ERR_NOT_LEADER);
    cluster_call_free(&call);
    cluster_call_free(&barred);
    cluster_heal(s.c);
    story_end(&s);
}

/* Its lease lasts, but whom it asked to take over was elected meanwhile. */
static void who_asked_another_to_lead_does_not_trust_its_lease(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct shard *old = cluster_shard(s.c, s.leader);
    raft_id next = cluster_other(s.c, s.leader);
    assert_int_equal(shard_transfer(old, cluster_now(s.c), next), ERR_OK);
    for (raft_id id = 1; id <= 3; id++)
        if (id != s.leader)
            cluster_hold_link(s.c, id, s.leader, true);
    for (int i = 0; i < 20; i++)
        cluster_turn(s.c);
    assert_int_equal(cluster_leader(s.c), next);
    assert_int_equal(raft_role(shard_raft(old)), RAFT_LEADER);
    assert_true(raft_may_ack(shard_raft(old), cluster_now(s.c)));
    assert_false(raft_may_read(shard_raft(old), cluster_now(s.c)));
    struct cluster_call create, read;
    cluster_write(s.c, &create, OP_CREATE, cluster_at(1, 1), BODY);
    assert_int_equal(cluster_do(s.c, next, &create), ERR_OK);
    cluster_read(s.c, &read, cluster_at(1, 1));
    cluster_submit(s.c, s.leader, &read);
    cluster_turn(s.c);
    assert_int_equal(read.done, 0);
    for (raft_id id = 1; id <= 3; id++)
        cluster_hold_link(s.c, id, s.leader, false);
    int err = cluster_wait(s.c, &read);
    assert_true(err == ERR_OK || err == ERR_NO_LEADER);
    cluster_call_free(&create);
    cluster_call_free(&read);
    story_end(&s);
}

static void a_record_needs_its_parent(void **state)
{
    (void)state;
    struct story s =
        story_begin(&(struct cluster_options){.nodes = 3, .meta = true});
    struct op_address database = {.container = CONTAINER_DATABASES};
    struct op_address container = {.container = CONTAINER_CONTAINERS};
    struct cluster_call parent, child;
    database.id_hash[0] = 1;
    container.pk_hash[0] = 1;

    cluster_write(s.c, &parent, OP_CREATE, database, "{\"id\":\"db\"");
    parent.op.resource = OP_RESOURCE_DATABASE;
    assert_int_equal(cluster_do(s.c, s.leader, &parent), ERR_OK);

    cluster_write(s.c, &child, OP_CREATE, container, "{\"id\":\"c\"");
    child.op.resource = OP_RESOURCE_CONTAINER;
    child.op.parent_rid[3] = 32;
    child.op.has_parent = true;
    child.op.parent = database;
    child.op.parent_record = parent.result.record + 1; /* another database */
    assert_int_equal(cluster_do(s.c, s.leader, &child), ERR_NOT_FOUND);
    assert_true(child.result.parent_missing);
    child.op.parent_record = parent.result.record;
    child.op.id[0]++;
    assert_int_equal(cluster_do(s.c, s.leader, &child), ERR_OK);
    assert_false(child.result.parent_missing);
    cluster_call_free(&child);
    cluster_call_free(&parent);
    story_end(&s);
}

static void what_the_owner_does_not_admit_is_not_logged(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call done, call;
    cluster_write(s.c, &done, OP_CREATE, cluster_at(1, 1), BODY);
    assert_int_equal(cluster_do(s.c, s.leader, &done), ERR_OK);
    cluster_refuse(s.c, "not here");
    uint64_t last = shard_last_lsn(cluster_shard(s.c, s.leader));
    cluster_write(s.c, &call, OP_CREATE, cluster_at(1, 2), BODY);
    assert_int_equal(cluster_do(s.c, s.leader, &call), ERR_INVALID);
    assert_string_equal(call.result.message.text, "not here");
    assert_int_equal(shard_last_lsn(cluster_shard(s.c, s.leader)), last);
    expect_read(s.c, s.leader, 1, 2, NULL);
    /* What was logged was not refused. */
    assert_int_equal(cluster_do(s.c, s.leader, &done), ERR_OK);
    cluster_refuse(s.c, NULL);
    assert_int_equal(cluster_do(s.c, s.leader, &call), ERR_OK);
    assert_true(shard_last_lsn(cluster_shard(s.c, s.leader)) > last);
    cluster_call_free(&done);
    cluster_call_free(&call);
    story_end(&s);
}

static void deleting_a_database_deletes_its_containers(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call call;
    for (unsigned i = 0; i < 40; i++)
        put(s.c, s.leader, 5, i, BODY);
    put(s.c, s.leader, 6, 1, BODY);
    put(s.c, s.leader, 7, 1, BODY);
    assert_true(cluster_flush(s.c, s.leader, true));
    put(s.c, s.leader, 5, 40, BODY); /* one that is not flushed */
    cluster_write(s.c, &call, OP_DELETE, cluster_at(6, 1), NULL);
    call.op.cascade = true;
    call.op.cascade_container = CONTAINER_FIRST_USER;
    memcpy(call.op.cascade_pk_hash, cluster_at(5, 0).pk_hash, OP_HASH_LEN);
    assert_int_equal(cluster_do(s.c, s.leader, &call), ERR_OK);
    cluster_call_free(&call);
    for (unsigned i = 0; i <= 40; i++)
        expect_read(s.c, s.other, 5, i, NULL);
    expect_read(s.c, s.other, 6, 1, NULL);
    expect_read(s.c, s.other, 7, 1, BODY);
    /* Their ids are free again. */
    assert_int_equal(
        written(s.c, s.leader, OP_CREATE, cluster_at(5, 1), BODY, NULL),
        ERR_OK);
    expect_same_everywhere(s.c, 3);
    story_end(&s);
}

static void documents_of_a_deleted_container_are_gone(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call call;
    put(s.c, s.leader, 1, 1, BODY);
    cluster_delete_container(s.c, CONTAINER_FIRST_USER);
    cluster_read(s.c, &call, cluster_at(1, 1));
    assert_int_equal(cluster_do(s.c, s.leader, &call), ERR_NOT_FOUND);
    assert_true(call.result.parent_missing);
    cluster_call_free(&call);
    assert_int_equal(
        written(s.c, s.leader, OP_CREATE, cluster_at(1, 2), BODY, NULL),
        ERR_NOT_FOUND);
    while (!shard_drop_container(cluster_shard(s.c, s.leader),
                                 CONTAINER_FIRST_USER, 1)) {
    }
    cluster_delete_container(s.c, 0);
    expect_read(s.c, s.leader, 1, 1, NULL);
    story_end(&s);
}

/* ---- bounds ----------------------------------------------------------------
 */

struct flood {
    struct cluster_call *calls;
    char *body;
    unsigned n;
};

/* Writes of one turn, until the first is refused; returns that one's place. */
static unsigned flood(struct story *s, struct flood *f, size_t size, unsigned n)
{
    f->n = n;
    f->calls = mem_zalloc(n * sizeof(*f->calls));
    f->body = mem_alloc(size + 1);
    memset(f->body, 'x', size);
    memcpy(f->body, "{\"id\":\"", 7);
    f->body[size - 1] = '"';
    f->body[size] = 0;
    unsigned refused = n;
    for (unsigned i = 0; i < n; i++) {
        cluster_write(s->c, &f->calls[i], OP_UPSERT, cluster_at(1, i), f->body);
        cluster_submit(s->c, s->leader, &f->calls[i]);
        if (f->calls[i].done && refused == n)
            refused = i;
    }
    return refused;
}

static void flood_end(struct story *s, struct flood *f, unsigned refused)
{
    for (unsigned i = 0; i < f->n; i++) {
        int err = cluster_wait(s->c, &f->calls[i]);
        assert_int_equal(err, i < refused ? ERR_OK : ERR_THROTTLED);
        if (err == ERR_THROTTLED)
            assert_int_equal(f->calls[i].result.retry_after_ms,
                             SHARD_RETRY_AFTER_MS);
        cluster_call_free(&f->calls[i]);
    }
    mem_free(f->calls);
    mem_free(f->body);
}

static void bytes_under_way_are_bounded(void **state)
{
    (void)state;
    struct story s = story_begin(
        &(struct cluster_options){.nodes = 3, .memtable_bytes = 256u << 20});
    struct flood f;
    put(s.c, s.leader, 2, 2, BODY);
    unsigned refused = flood(&s, &f, 1u << 20, 60);
    assert_in_range(refused, 40, 48);
    struct cluster_call read; /* reads go on */
    cluster_read(s.c, &read, cluster_at(2, 2));
    assert_int_equal(cluster_do(s.c, s.leader, &read), ERR_OK);
    cluster_call_free(&read);
    flood_end(&s, &f, refused);
    put(s.c, s.leader, 1, 1, BODY);
    story_end(&s);
}

static void requests_that_wait_are_bounded(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct flood f;
    unsigned refused = flood(&s, &f, 32, SHARD_WAITING_MAX + 10);
    assert_int_equal(refused, SHARD_WAITING_MAX);
    flood_end(&s, &f, refused);
    put(s.c, s.leader, 1, 1, BODY);
    story_end(&s);
}

static void a_full_memtable_throttles_until_it_is_flushed(void **state)
{
    (void)state;
    struct story s = story_begin(
        &(struct cluster_options){.nodes = 3, .memtable_bytes = 4u << 20});
    struct flood f;
    unsigned refused = flood(&s, &f, 256u << 10, 30);
    assert_in_range(refused, 12, 16);
    flood_end(&s, &f, refused);
    assert_int_equal(
        written(s.c, s.leader, OP_UPSERT, cluster_at(2, 2), BODY, NULL),
        ERR_OK); /* there is still room for a small one */
    cluster_turns(s.c, 10);
    for (raft_id id = 1; id <= 3; id++)
        assert_true(cluster_flush(s.c, id, true));
    refused = flood(&s, &f, 256u << 10, 10);
    assert_int_equal(refused, 10);
    flood_end(&s, &f, refused);
    story_end(&s);
}

static void who_never_flushes_is_caught_up_by_a_snapshot(void **state)
{
    (void)state;
    struct story s = story_begin(&(struct cluster_options){
        .nodes = 3, .memtable_bytes = 4u << 20, .retain_lagging = 3u << 20});
    struct flood f;
    for (int round = 0; round < 4; round++) {
        unsigned refused = flood(&s, &f, 256u << 10, 8);
        assert_int_equal(refused, 8);
        flood_end(&s, &f, refused);
        cluster_turns(s.c, 300);
        /* The third node does not. */
        cluster_flush(s.c, s.leader, true);
        cluster_flush(s.c, s.other, true);
    }
    cluster_turns(s.c, 3000);
    assert_true(cluster_snapshots(s.c) > 0);
    expect_same_everywhere(s.c, 3);
    story_end(&s);
}

static void a_full_disk_refuses_writes_and_serves_reads(void **state)
{
    (void)state;
    struct story s = story_of_three();
    put(s.c, s.leader, 1, 1, BODY);
    shard_set_no_space(cluster_shard(s.c, s.leader), true);
    assert_int_equal(
        written(s.c, s.leader, OP_CREATE, cluster_at(1, 2), BODY, NULL),
        ERR_NO_SPACE);
    expect_read(s.c, s.leader, 1, 1, BODY);
    shard_set_no_space(cluster_shard(s.c, s.leader), false);
    put(s.c, s.leader, 1, 2, BODY);
    story_end(&s);
}

static void too_large_a_document_is_refused_and_harms_nothing(void **state)
{
    (void)state;
    struct story s = story_of_three();
    size_t size = OP_PAGE_MAX;
    char *body = mem_alloc(size + 1);
    memset(body, 'x', size);
    body[size] = 0;
    assert_int_equal(
        written(s.c, s.leader, OP_CREATE, cluster_at(1, 1), body, NULL),
        ERR_LIMIT);
    mem_free(body);
    put(s.c, s.leader, 1, 1, BODY);
    story_end(&s);
}

/* Also that an LSN is not sealed for twice: the sealer would end the process.
 */
static void without_memory_a_write_is_refused_and_applied_nowhere(void **state)
{
    (void)state;
    struct story s = story_of_three();
    unsigned refused = 0, done = 0;
    mem_fail(300);
    for (unsigned n = 1; n <= 200; n++) {
        int err =
            written(s.c, s.leader, OP_CREATE, cluster_at(1, n), BODY, NULL);
        assert_true(err == ERR_OK || err == ERR_NO_MEMORY);
        done += err == ERR_OK;
        refused += err != ERR_OK;
        mem_fail(0);
        expect_read(s.c, s.leader, 1, n, err == ERR_OK ? BODY : NULL);
        mem_fail(300);
    }
    mem_fail(0);
    assert_true(done > 20 && refused > 20);
    put(s.c, s.leader, 2, 1, BODY);
    expect_same_everywhere(s.c, 3);
    story_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_document_lives_and_dies),
        cmocka_unit_test(the_answer_is_the_text_that_a_read_finds),
        cmocka_unit_test(conditions_hold_where_a_record_is),
        cmocka_unit_test(conditions_hold_where_no_record_is),
        cmocka_unit_test(reads_know_conditions_too),
        cmocka_unit_test(a_write_is_acknowledged_when_a_majority_has_it),
        cmocka_unit_test(two_followers_are_a_majority_without_the_leaders_disk),
        cmocka_unit_test(writes_of_one_turn_see_each_other),
        cmocka_unit_test(a_refusal_waits_for_what_it_rests_on),
        cmocka_unit_test(a_deposed_leader_refuses_nothing),
        cmocka_unit_test(who_asked_another_to_lead_does_not_trust_its_lease),
        cmocka_unit_test(a_record_needs_its_parent),
        cmocka_unit_test(what_the_owner_does_not_admit_is_not_logged),
        cmocka_unit_test(deleting_a_database_deletes_its_containers),
        cmocka_unit_test(documents_of_a_deleted_container_are_gone),
        cmocka_unit_test(bytes_under_way_are_bounded),
        cmocka_unit_test(requests_that_wait_are_bounded),
        cmocka_unit_test(a_full_memtable_throttles_until_it_is_flushed),
        cmocka_unit_test(who_never_flushes_is_caught_up_by_a_snapshot),
        cmocka_unit_test(a_full_disk_refuses_writes_and_serves_reads),
        cmocka_unit_test(too_large_a_document_is_refused_and_harms_nothing),
        cmocka_unit_test(without_memory_a_write_is_refused_and_applied_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
