/* Promises about marks: what a shard takes of a container that moves, from
 * whom, and what its graves are for. */
#include "tests/unit/node/shard/shard_test.h"

#include "node/base/err.h"

#define TEXT "{\"id\":\"1\",\"n\":1"

/* One operation of a mover with this number, about document (1, 1). */
static int moved(struct story *s, enum op_write_mode mode, uint64_t number,
                 enum op_mark mark, const char *body, uint64_t record)
{
    struct cluster_call call;
    cluster_write(s->c, &call, mode, cluster_at(1, 1), body);
    call.op.move = number;
    call.op.mark = mark;
    call.op.copy_record = record;
    call.op.copy_ts = 5;
    int err = cluster_do(s->c, s->leader, &call);
    cluster_call_free(&call);
    return err;
}

static int mark(struct story *s, enum op_mark mark, uint64_t number)
{
    return moved(s, OP_MARK, number, mark, "", 0);
}

static int copy(struct story *s, uint64_t number, const char *body,
                uint64_t record)
{
    return moved(s, OP_COPY, number, OP_MARK_NONE, body, record);
}

static int drop(struct story *s, uint64_t number, bool graves)
{
    struct cluster_call call;
    cluster_write(s->c, &call, OP_DROP, cluster_at(1, 1), "");
    call.op.move = number;
    call.op.graves = graves;
    int err = cluster_do(s->c, s->leader, &call);
    cluster_call_free(&call);
    return err;
}

static int write_as_client(struct story *s, enum op_write_mode mode,
                           uint64_t move)
{
    struct cluster_call call;
    cluster_write(s->c, &call, mode, cluster_at(1, 1),
                  mode == OP_DELETE ? "" : TEXT);
    call.op.move = move;
    int err = cluster_do(s->c, s->leader, &call);
    cluster_call_free(&call);
    return err;
}

/* As another attempt at what began then. */
static int write_again(struct story *s, uint64_t move, usec_t since_us)
{
    struct cluster_call call;
    cluster_write(s->c, &call, OP_UPSERT, cluster_at(1, 1), TEXT);
    call.op.move = move;
    call.op.since_us = since_us;
    int err = cluster_do(s->c, s->leader, &call);
    cluster_call_free(&call);
    return err;
}

static int read_as_client(struct story *s, uint64_t move, uint64_t *record_out)
{
    struct cluster_call call;
    cluster_read(s->c, &call, cluster_at(1, 1));
    call.op.move = move;
    int err = cluster_do(s->c, s->leader, &call);
    if (record_out != NULL)
        *record_out = call.result.record;
    cluster_call_free(&call);
    return err;
}

/* Rows of a scan of documents or graves that are newer than `since`. */
static uint32_t rows(struct story *s, bool graves, uint64_t since)
{
    struct cluster_call call;
    cluster_scan(s->c, &call, 100, "");
    call.op.graves = graves;
    call.op.min_lsn = since;
    assert_int_equal(cluster_do(s->c, s->leader, &call), ERR_OK);
    uint32_t items = call.result.items;
    cluster_call_free(&call);
    return items;
}

static void a_shard_takes_what_its_mark_allows(void **state)
{
    (void)state;
    static const struct {
        enum op_mark mark;
        int write, read;
    } table[] = {{OP_MARK_OPEN, ERR_OK, ERR_OK},
                 {OP_MARK_LEAVING, ERR_OK, ERR_OK},
                 {OP_MARK_SEALED, ERR_MOVED, ERR_OK},
                 {OP_MARK_COMING, ERR_MOVED, ERR_MOVED},
                 {OP_MARK_GONE, ERR_MOVED, ERR_MOVED}};
    struct story s = story_of_three();
    assert_int_equal(write_as_client(&s, OP_UPSERT, 0), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        assert_int_equal(mark(&s, table[i].mark, 7), ERR_OK);
        assert_int_equal(write_as_client(&s, OP_UPSERT, 0), table[i].write);
        assert_int_equal(read_as_client(&s, 0, NULL), table[i].read);
    }
    story_end(&s);
}

static void a_mover_that_was_overtaken_is_refused(void **state)
{
    (void)state;
    struct story s = story_of_three();
    assert_int_equal(mark(&s, OP_MARK_COMING, 7), ERR_OK);
    assert_int_equal(copy(&s, 6, TEXT, 99), ERR_PRECONDITION);
    assert_int_equal(copy(&s, 8, TEXT, 99), ERR_PRECONDITION);
    assert_int_equal(copy(&s, 7, TEXT, 99), ERR_OK);
    assert_int_equal(mark(&s, OP_MARK_GONE, 6), ERR_PRECONDITION);
    assert_int_equal(mark(&s, OP_MARK_OPEN, 9), ERR_OK);
    assert_int_equal(copy(&s, 9, TEXT, 99), ERR_PRECONDITION);
    assert_int_equal(mark(&s, OP_MARK_COMING, 7), ERR_PRECONDITION);
    assert_int_equal(drop(&s, 9, false), ERR_PRECONDITION);
    story_end(&s);
}

static void a_replica_answers_only_once_it_has_what_came(void **state)
{
    (void)state;
    uint64_t record;
    struct story s = story_of_three();
    assert_int_equal(mark(&s, OP_MARK_COMING, 7), ERR_OK);
    assert_int_equal(copy(&s, 7, TEXT, 99), ERR_OK);
    assert_int_equal(read_as_client(&s, 9, NULL), ERR_MOVED);
    assert_int_equal(mark(&s, OP_MARK_OPEN, 9), ERR_OK);
    assert_int_equal(read_as_client(&s, 9, &record), ERR_OK);
    assert_int_equal(record, 99); /* it keeps its RID */
    assert_int_equal(read_as_client(&s, 10, NULL), ERR_MOVED);
    assert_int_equal(write_as_client(&s, OP_UPSERT, 10), ERR_MOVED);
    story_end(&s);
}

static void
a_copy_replaces_what_had_its_id_and_only_it_is_uncopied(void **state)
{
    (void)state;
    struct story s = story_of_three();
    assert_int_equal(mark(&s, OP_MARK_COMING, 7), ERR_OK);
    assert_int_equal(copy(&s, 7, TEXT, 99), ERR_OK);
    assert_int_equal(copy(&s, 7, TEXT, 100), ERR_OK);
    assert_int_equal(moved(&s, OP_UNCOPY, 7, OP_MARK_NONE, "", 99),
                     ERR_NOT_FOUND);
    assert_int_equal(mark(&s, OP_MARK_OPEN, 7), ERR_OK);
    assert_int_equal(rows(&s, false, 0), 1);
    assert_int_equal(mark(&s, OP_MARK_COMING, 8), ERR_OK);
    assert_int_equal(moved(&s, OP_UNCOPY, 8, OP_MARK_NONE, "", 100), ERR_OK);
    assert_int_equal(mark(&s, OP_MARK_OPEN, 8), ERR_OK);
    assert_int_equal(rows(&s, false, 0), 0);
    story_end(&s);
}

static void what_is_deleted_while_it_leaves_has_a_grave(void **state)
{
    (void)state;
    struct story s = story_of_three();
    assert_int_equal(write_as_client(&s, OP_UPSERT, 0), ERR_OK);
    assert_int_equal(write_as_client(&s, OP_DELETE, 0), ERR_OK);
    assert_int_equal(rows(&s, true, 0), 0);
    assert_int_equal(mark(&s, OP_MARK_LEAVING, 7), ERR_OK);
    assert_int_equal(write_as_client(&s, OP_UPSERT, 0), ERR_OK);
    assert_int_equal(write_as_client(&s, OP_DELETE, 0), ERR_OK);
    assert_int_equal(rows(&s, true, 0), 1);
    assert_int_equal(rows(&s, true, cluster_committed(s.c, s.leader)), 0);
    assert_int_equal(drop(&s, 7, true), ERR_PRECONDITION);
    assert_int_equal(mark(&s, OP_MARK_OPEN, 8), ERR_OK);
    assert_int_equal(drop(&s, 8, true), ERR_OK);
    assert_int_equal(drop(&s, 8, true), ERR_NOT_FOUND);
    assert_int_equal(rows(&s, true, 0), 0);
    story_end(&s);
}

static void an_emptied_shard_says_so_once_that_is_flushed(void **state)
{
    (void)state;
    struct story s = story_of_three();
    uint32_t container = cluster_at(1, 1).container;
    for (unsigned i = 0; i < 20; i++)
        put(s.c, s.leader, i, i, TEXT);
    cluster_flush(s.c, s.leader, true);
    assert_false(shard_emptied(cluster_shard(s.c, s.leader), container));
    assert_int_equal(mark(&s, OP_MARK_GONE, 7), ERR_OK);
    assert_int_equal(drop(&s, 7, false), ERR_OK);
    assert_int_equal(drop(&s, 7, false), ERR_NOT_FOUND);
    assert_false(shard_emptied(cluster_shard(s.c, s.leader), container));
    cluster_flush(s.c, s.leader, true);
    assert_true(shard_emptied(cluster_shard(s.c, s.leader), container));
    expect_same_everywhere(s.c, 3);
    story_end(&s);
}

/* It may have been done in the shard that the container came from. */
static void what_began_before_the_container_came_is_not_repeated(void **state)
{
    (void)state;
    struct story s = story_of_three();
    usec_t before = cluster_now(s.c);
    assert_int_equal(mark(&s, OP_MARK_COMING, 7), ERR_OK);
    assert_int_equal(mark(&s, OP_MARK_OPEN, 7), ERR_OK);
    cluster_turns(s.c, 10);
    usec_t after = cluster_now(s.c);
    assert_int_equal(write_again(&s, 7, before), ERR_FORGOTTEN);
    assert_int_equal(write_again(&s, 7, after), ERR_OK);
    cluster_transfer(s.c, s.third);
    s.leader = s.third;
    assert_int_equal(write_again(&s, 7, before), ERR_FORGOTTEN);
    story_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shard_takes_what_its_mark_allows),
        cmocka_unit_test(a_mover_that_was_overtaken_is_refused),
        cmocka_unit_test(a_replica_answers_only_once_it_has_what_came),
        cmocka_unit_test(
            a_copy_replaces_what_had_its_id_and_only_it_is_uncopied),
        cmocka_unit_test(what_is_deleted_while_it_leaves_has_a_grave),
        cmocka_unit_test(an_emptied_shard_says_so_once_that_is_flushed),
        cmocka_unit_test(what_began_before_the_container_came_is_not_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
