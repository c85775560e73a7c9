/* Promises of who leads a split: containers leave the old shards one after the
 * other, none with conflicts in them, and the old shards go last; wherever it
 * stops, another goes on from what the records say. Shards and records are the
 * test's: it answers each operation, or never does, as if the node had died. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "node/base/mem.h"
#include "node/catalog/rid.h"
#include "node/server/catalog_feed.h"
#include "node/server/group_edit.h"
#include "node/server/worker.h"

#define LIVES_MAX 8
#define DB 1u /* LSNs that the records were written at */
#define FIRST 10u

static struct config_node nodes_a[] = {{.name = "a-1", .id = 1},
                                       {.name = "a-2", .id = 2}},
                          nodes_b[] = {{.name = "b-1", .id = 3}};
static struct config_region regions[] = {
    {.name = "a", .nodes = nodes_a, .node_count = 2},
    {.name = "b", .nodes = nodes_b, .node_count = 1}};

/* An operation, or an edit of the group's record, that waits for its answer. */
struct asked {
    const struct op *op;
    op_done_cb *done;
    void *user;
    bool edits;
    struct group_edit edit;
    void (*run)(struct worker *w, void *arg); /* worker_run */
    void *arg;
};

/* One life of the node that leads the split: when it is killed, what it asked
 * for stays without an answer until the test is over. */
struct life {
    struct worker *w;
    struct asked asked;
};

static struct world {
    struct catalog *catalog;
    struct keyed_hash *hash;
    struct config config;
    struct node node;
    struct life lives[LIVES_MAX];
    uint32_t n; /* the last one runs */
    uint64_t lsn;
} world;

static struct life *life(void)
{
    return &world.lives[world.n - 1];
}

static struct life *life_of(const struct worker *w)
{
    for (uint32_t i = 0; i < world.n; i++)
        if (world.lives[i].w == w)
            return &world.lives[i];
    fail();
    return NULL;
}

/* ---- what it is linked with -------------------------------------------------
 */

static void fake_submit(struct backend *b, const struct op *op,
                        usec_t timeout_us, op_done_cb *done, void *user)
{
    struct router *r = (struct router *)b;
    struct asked *a = &life_of(r->worker)->asked;
    assert_true(timeout_us > 0);
    assert_true(a->op == NULL && !a->edits && a->run == NULL);
    a->op = op;
    a->done = done;
    a->user = user;
}

void group_edit_begin(struct worker *w, const struct group_edit *edit)
{
    struct asked *a = &life_of(w)->asked;
    assert_true(a->op == NULL && !a->edits && a->run == NULL);
    a->edits = true;
    a->edit = *edit;
}

void worker_run(struct worker *w, void (*fn)(struct worker *w, void *arg),
                void *arg)
{
    struct asked *a = &life_of(w)->asked;
    a->run = fn;
    a->arg = arg;
}

void group_edit_audit(struct worker *w, const char *who, const char *what,
                      const char *before, const char *after, const char *reason)
{
    (void)w, (void)who, (void)what, (void)before, (void)after, (void)reason;
}

const struct keyed_hash *catalog_feed_hash(const struct worker *w,
                                           uint16_t shard)
{
    (void)w, (void)shard;
    return NULL;
}

/* ---- records ----------------------------------------------------------------
 */

static void put(uint32_t container, uint64_t lsn, const char *json)
{
    struct err_msg msg = {""};
    if (catalog_put(world.catalog, container, rid_counter(lsn, 0, 0),
                    bytes_str(json), ++world.lsn, &msg) != ERR_OK)
        fail_msg("%s: %s", json, msg.text);
}

/* Group eu of nodes 1 and 2, split from shards 2 and 3 into 4 to 7. */
static void put_group(bool split)
{
    char json[600];
    snprintf(json, sizeof(json),
             "{\"id\":\"eu\",\"number\":1,\"firstShard\":4,\"shards\":4,%s,"
             "\"splitMicroseconds\":1000,"
             "\"keys\":[],\"members\":[1,2],\"firstMembers\":[1,2],"
             "\"regions\":[\"a\"]}",
             split ? "\"retired\":[],"
                     "\"emptied\":{\"firstShard\":2,\"shards\":2}"
                   : "\"retired\":[{\"firstShard\":2,\"shards\":2}]");
    put(CONTAINER_GROUPS, 5, json);
}

static void put_container(uint32_t i, const char *extra)
{
    struct rid rid =
        rid_container(DB + RID_NUMBER_FIRST, FIRST + i + RID_NUMBER_FIRST);
    char rid_text[RID_TEXT_MAX], json[1024];
    rid_format(&rid, rid_text);
    snprintf(json, sizeof(json),
             "{\"id\":\"c%u\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":"
             "\"Hash\",\"version\":2},\"_placement\":\"eu\"%s,\"_rid\":\"%s\","
             "\"_etag\":\"\\\"0000000%u-0000-0000-0000-000000000001\\\"\","
             "\"_ts\":1}",
             i, extra, rid_text, i % 10);
    put(CONTAINER_CONTAINERS, FIRST + i, json);
}

/* In the old shards; on its way; in the new ones. */
#define OLD ""
#define COPYING                                                                \
    ",\"_move\":{\"number\":9,\"ranges\":2,\"other\":\"eu\","                  \
    "\"otherLayout\":1,\"phase\":\"copying\",\"mover\":2,\"since\":5}"
#define NEW                                                                    \
    ",\"_layout\":1,\"_move\":{\"number\":9,\"ranges\":2,\"other\":\"eu\","    \
    "\"emptied\":true}"

/* ---- lives ------------------------------------------------------------------
 */

/* As a process that has just read its catalog. */
static void begin_life(void)
{
    assert_true(world.n < LIVES_MAX);
    struct worker *w = mem_zalloc(sizeof(*w));
    w->magic = WORKER_MAGIC;
    w->node = &world.node;
    w->catalog = world.catalog;
    w->meta_hash = world.hash;
    w->router.worker = w;
    w->router.backend.submit = fake_submit;
    w->reachable[2] = w->reachable[3] = true;
    world.lives[world.n++] = (struct life){.w = w};
}

static int setup(void **state)
{
    static const uint8_t key[SEAL_KEY_LEN];
    (void)state;
    memset(&world, 0, sizeof(world));
    world.catalog = catalog_new();
    world.hash = keyed_hash_new(key);
    world.config.regions = regions;
    world.config.region_count = 2;
    world.config.id = 1;
    snprintf(world.config.node, sizeof(world.config.node), "a-1");
    world.node.config = &world.config;
    char rid_text[RID_TEXT_MAX], json[400];
    struct rid rid = rid_database(DB + RID_NUMBER_FIRST);
    rid_format(&rid, rid_text);
    snprintf(json, sizeof(json), "{\"id\":\"d\",\"_rid\":\"%s\"}", rid_text);
    put(CONTAINER_DATABASES, DB, json);
    put_group(true);
    begin_life();
    return 0;
}

/* `lsn`: of a shard that is asked how far it is. */
static uint64_t answer_lsn = 9;

static void answer_to(struct life *l, int err, const char *row)
{
    struct asked a = l->asked;
    struct op_result r;
    const struct err_msg msg = {""};
    uint8_t len[4];
    memset(&l->asked, 0, sizeof(l->asked));
    if (a.edits) {
        a.edit.done(a.edit.user, err, NULL, &msg);
    } else if (a.run != NULL) {
        a.run(l->w, a.arg);
    } else {
        assert_non_null(a.op);
        op_result_init(&r);
        r.err = err;
        r.lsn = answer_lsn;
        if (row != NULL) {
            put_u32_le(len, (uint32_t)strlen(row));
            assert_int_equal(buf_append(&r.body, len, 4), ERR_OK);
            assert_int_equal(buf_append_str(&r.body, row), ERR_OK);
        }
        a.done(a.user, &r);
        op_result_free(&r);
    }
}

static int teardown(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < world.n; i++) {
        struct life *l = &world.lives[i];
        while (l->asked.op != NULL || l->asked.edits || l->asked.run != NULL)
            answer_to(l, ERR_UNAVAILABLE, NULL);
        assert_null(l->w->splitter.running);
        mem_free(l->w);
    }
    keyed_hash_free(world.hash);
    catalog_free(world.catalog);
    return 0;
}

/* ---- what it does -----------------------------------------------------------
 */

static void check(void)
{
    life()->w->splitter.next_us = 0;
    splitter_check(life()->w);
}

static void answer(int err)
{
    answer_to(life(), err, NULL);
}

/* It goes on from its own loop between two looks. */
static void turn(void)
{
    if (life()->asked.run != NULL)
        answer(ERR_OK);
}

static bool is_idle(void)
{
    const struct asked *a = &life()->asked;
    bool none = a->op == NULL && !a->edits && a->run == NULL;
    assert_int_equal(none, life()->w->splitter.running == NULL);
    return none;
}

/* It looks whether container `i` has conflicts in that shard. */
static void expect_look(uint32_t i, uint16_t shard)
{
    turn();
    const struct op *op = life()->asked.op;
    assert_non_null(op);
    assert_int_equal(op->kind, OP_SCAN);
    assert_int_equal(op->shard, shard);
    assert_int_equal(op->level, CONSISTENCY_STRONG);
    assert_int_equal(op->at.container,
                     (FIRST + i + RID_NUMBER_FIRST) | CONTAINER_CONFLICTS);
}

/* It has container `i` moved by that node, if nobody else changed its record.
 */
static void expect_order(uint32_t i, uint32_t mover)
{
    char wanted[60];
    struct etag etag;
    turn();
    const struct op *op = life()->asked.op;
    assert_non_null(op);
    assert_int_equal(op->kind, OP_WRITE);
    assert_int_equal(op->mode, OP_REPLACE);
    assert_int_equal(op->shard, SHARD_META);
    assert_int_equal(op->condition, OP_COND_IF_MATCH);
    snprintf(wanted, sizeof(wanted),
             "\"0000000%u-0000-0000-0000-000000000001\"", i % 10);
    assert_int_equal(etag_parse(bytes_str(wanted), &etag), ERR_OK);
    assert_true(etag_equal(&op->etag, &etag));
    snprintf(wanted, sizeof(wanted), "\"id\":\"c%u\"", i);
    assert_non_null(
        memmem(op->body.data, op->body.len, wanted, strlen(wanted)));
    snprintf(wanted, sizeof(wanted),
             "\"otherLayout\":1,\"phase\":\"copying\",\"mover\":%u", mover);
    if (memmem(op->body.data, op->body.len, wanted, strlen(wanted)) == NULL)
        fail_msg("%s is not in %.*s", wanted, (int)op->body.len,
                 (const char *)op->body.data);
}

static void expect_reason(const char *text)
{
    struct split_progress p;
    splitter_progress(life()->w, catalog_group_number(world.catalog, 1), &p);
    if (text == NULL)
        assert_null(p.reason);
    else if (p.reason == NULL || strstr(p.reason, text) == NULL)
        fail_msg("'%s' is not '%s'", p.reason, text);
}

/* It asks the old shards how far they are, and hears that. */
static void expect_noted(void)
{
    for (uint16_t shard = 2; shard <= 3; shard++) {
        turn();
        const struct op *op = life()->asked.op;
        assert_non_null(op);
        assert_int_equal(op->kind, OP_BARRIER);
        assert_int_equal(op->shard, shard);
        answer(ERR_OK);
    }
    turn();
}

/* Nothing has been in the old shards for longer than anybody may ask. */
static void rest_unasked(void)
{
    check();
    assert_true(is_idle());
    life()->w->splitter.groups[0].empty_us -= 60 * USEC_PER_SEC;
    check();
}

static void rest(void)
{
    rest_unasked();
    expect_noted();
}

/* ---- containers -------------------------------------------------------------
 */

static void a_container_without_conflicts_is_moved(void **state)
{
    (void)state;
    put_container(1, OLD);
    check();
    expect_look(1, 2);
    check(); /* one thing at a time */
    answer(ERR_OK);
    expect_look(1, 3);
    answer(ERR_OK);
    expect_order(1, 1);
    answer(ERR_OK);
    assert_true(is_idle());
    /* And again only if the record says that it is still there. */
    put_container(1, COPYING);
    check();
    assert_true(is_idle());
}

static void conflicts_keep_a_container_where_it_is(void **state)
{
    (void)state;
    put_container(1, OLD);
    put_container(2, OLD);
    check();
    expect_look(1, 2);
    answer(ERR_OK);
    expect_look(1, 3);
    answer_to(life(), ERR_OK, "{}");
    assert_true(is_idle());
    expect_reason("container d/c1 has conflicts");
    check(); /* which does not stop the others */
    expect_look(2, 2);
    answer(ERR_OK);
    expect_look(2, 3);
    answer(ERR_OK);
    expect_order(2, 2);
    answer(ERR_OK);
    put_container(2, COPYING);
    check(); /* and it is looked at again */
    expect_look(1, 2);
}

static void movers_are_not_given_more_than_they_can_do(void **state)
{
    (void)state;
    uint32_t given[3] = {0};
    for (uint32_t i = 1; i <= 5; i++)
        put_container(i, OLD);
    for (uint32_t i = 1; i <= 2 * SPLITTER_PER_NODE; i++) {
        char moving[200];
        uint32_t mover = i % 2 == 1 ? 1 : 2;
        check();
        expect_look(i, 2);
        answer(ERR_OK);
        expect_look(i, 3);
        answer(ERR_OK);
        expect_order(i, mover);
        answer(ERR_OK);
        snprintf(moving, sizeof(moving),
                 ",\"_move\":{\"number\":9,\"ranges\":2,\"other\":\"eu\","
                 "\"otherLayout\":1,\"phase\":\"copying\",\"mover\":%u,"
                 "\"since\":5}",
                 mover);
        put_container(i, moving);
        given[mover]++;
    }
    check();
    assert_true(is_idle());
    assert_int_equal(given[1], SPLITTER_PER_NODE);
    assert_int_equal(given[2], SPLITTER_PER_NODE);
    put_container(1, NEW);
    check();
    expect_look(5, 2);
}

/* ---- refusals ---------------------------------------------------------------
 */

static void somebody_else_may_be_faster(void **state)
{
    (void)state;
    static const int faster[] = {ERR_PRECONDITION, ERR_NOT_FOUND};
    for (size_t i = 0; i < 2; i++) {
        put_container(1, OLD);
        check();
        expect_look(1, 2);
        answer(ERR_OK);
        expect_look(1, 3);
        answer(ERR_OK);
        expect_order(1, i == 0 ? 1 : 2);
        answer(faster[i]);
        assert_true(is_idle());
        expect_reason(NULL);
    }
}

static void what_fails_is_tried_again(void **state)
{
    (void)state;
    put_container(1, OLD);
    for (int step = 0; step < 3; step++) {
        check();
        expect_look(1, 2);
        if (step > 0) {
            answer(ERR_OK);
            expect_look(1, 3);
        }
        if (step > 1) {
            answer(ERR_OK);
            expect_order(1, step % 2 == 0 ? 1 : 2);
        }
        answer(ERR_UNAVAILABLE);
        assert_true(is_idle());
        expect_reason("it will be tried again");
        usec_t next = life()->w->splitter.next_us;
        assert_true(next > clock_mono_us()); /* not at once */
    }
}

static void only_one_member_leads(void **state)
{
    (void)state;
    put_container(1, OLD);
    world.config.id = 2;
    life()->w->reachable[1] = true;
    check(); /* 1 does */
    assert_true(is_idle());
    life()->w->reachable[1] = false;
    check();
    expect_look(1, 2);
    answer(ERR_UNAVAILABLE);
    world.config.id = 3; /* outside the fence */
    life()->w->reachable[2] = false;
    check();
    assert_true(is_idle());
}

/* ---- the end ----------------------------------------------------------------
 */

static void the_old_shards_go_when_nothing_is_left(void **state)
{
    (void)state;
    struct catalog_group g = {.name = "eu"};
    struct err_msg msg;
    put_container(1, OLD);
    put_container(2, NEW);
    life()->w->splitter.groups[0].empty_us = 0;
    check();
    answer(ERR_UNAVAILABLE);
    put_container(1, COPYING);
    check();
    assert_int_equal(life()->w->splitter.groups[0].empty_us, 0);
    put_container(1, NEW);
    rest();
    for (uint32_t i = 1; i <= 2; i++) {
        expect_look(i, 2);
        answer(ERR_OK);
        expect_look(i, 3);
        answer(ERR_OK);
        turn();
    }
    expect_noted();
    const struct group_edit edit = life()->asked.edit;
    assert_true(life()->asked.edits);
    assert_string_equal(edit.group, "eu");
    /* Somebody has retired them, and perhaps split it once more. */
    assert_int_equal(edit.change_group(edit.user, &g, &msg), ERR_EXISTS);
    g.emptied = (struct catalog_span){4, 4};
    assert_int_equal(edit.change_group(edit.user, &g, &msg), ERR_EXISTS);
    g = *catalog_group_number(world.catalog, 1);
    assert_int_equal(edit.change_group(edit.user, &g, &msg), ERR_OK);
    assert_int_equal(g.emptied.count, 0);
    assert_true(catalog_group_retired(&g, 2));
    answer(ERR_OK);
    assert_true(is_idle());
    put_group(false);
    rest_unasked();
    assert_true(is_idle());
}

/* What comes there while they are looked through may be a conflict. */
static void what_comes_meanwhile_keeps_the_old_shards(void **state)
{
    (void)state;
    put_container(1, NEW);
    rest();
    expect_look(1, 2);
    answer(ERR_OK);
    expect_look(1, 3);
    answer(ERR_OK);
    turn();
    assert_int_equal(life()->asked.op->kind, OP_BARRIER);
    answer_lsn++;
    answer(ERR_OK);
    assert_true(is_idle());
    expect_reason(NULL);
    check(); /* all of it again */
    expect_noted();
    expect_look(1, 2);
}

static void conflicts_that_come_late_keep_the_old_shards(void **state)
{
    (void)state;
    put_container(1, NEW);
    rest();
    expect_look(1, 2);
    answer_to(life(), ERR_OK, "{}");
    assert_true(is_idle());
    expect_reason("container d/c1 has conflicts");
}

/* A container that came meanwhile begins the wait anew. */
static void who_comes_late_is_waited_for(void **state)
{
    (void)state;
    put_container(1, NEW);
    check();
    assert_true(is_idle());
    assert_true(life()->w->splitter.groups[0].empty_us > 0);
    put_container(2, OLD);
    life()->w->splitter.groups[0].empty_us -= 60 * USEC_PER_SEC;
    check();
    expect_look(2, 2);
    assert_int_equal(life()->w->splitter.groups[0].empty_us, 0);
}

/* ---- killed, and removed ----------------------------------------------------
 */

/* After so many steps of moving container 1: looks, the order, and the order
 * carried out. */
static void killed_anywhere_another_life_goes_on(void **state)
{
    (void)state;
    put_container(1, OLD);
    for (int steps = 0; steps <= 3; steps++) {
        check();
        expect_look(1, 2);
        if (steps > 0) {
            answer(ERR_OK);
            turn();
        }
        if (steps > 1) {
            answer(ERR_OK);
            expect_order(1, 1);
        }
        if (steps > 2)
            put_container(1, COPYING); /* its answer never comes */
        begin_life();
    }
    check();
    assert_true(is_idle()); /* the mover has it */
    put_container(1, NEW);
    for (int steps = 0; steps <= 2; steps++) {
        rest(); /* the wait begins anew, too */
        expect_look(1, 2);
        if (steps > 0) {
            answer(ERR_OK);
            expect_look(1, 3);
        }
        if (steps > 1) {
            answer(ERR_OK);
            expect_noted();
            assert_true(life()->asked.edits);
            put_group(false); /* done, and nobody heard of it */
        }
        begin_life();
    }
    check();
    assert_true(is_idle());
}

static void a_group_may_be_removed_meanwhile(void **state)
{
    (void)state;
    /* While a container is looked at. */
    put_container(1, OLD);
    check();
    expect_look(1, 2);
    catalog_delete(world.catalog, CONTAINER_CONTAINERS,
                   rid_counter(FIRST + 1, 0, 0), ++world.lsn);
    answer(ERR_OK);
    expect_look(1, 3);
    answer(ERR_OK);
    expect_order(1, 1);
    answer(ERR_NOT_FOUND);
    assert_true(is_idle());
    /* While the old shards are. */
    rest();
    expect_noted();
    assert_true(life()->asked.edits);
    catalog_delete(world.catalog, CONTAINER_GROUPS, rid_counter(5, 0, 0),
                   ++world.lsn);
    answer(ERR_NOT_FOUND);
    assert_true(is_idle());
    check();
    assert_true(is_idle());
}

/* Its containers are nobody's any more, and not of the group that goes. */
static void what_is_of_no_group_is_not_looked_at(void **state)
{
    (void)state;
    put_container(1, NEW);
    put_container(2, NEW);
    rest();
    expect_look(1, 2);
    catalog_delete(world.catalog, CONTAINER_GROUPS, rid_counter(5, 0, 0),
                   ++world.lsn);
    answer(ERR_OK);
    turn();
    assert_true(is_idle());
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_container_without_conflicts_is_moved),
        TEST(conflicts_keep_a_container_where_it_is),
        TEST(movers_are_not_given_more_than_they_can_do),
        TEST(somebody_else_may_be_faster),
        TEST(what_fails_is_tried_again),
        TEST(only_one_member_leads),
        TEST(the_old_shards_go_when_nothing_is_left),
        TEST(what_comes_meanwhile_keeps_the_old_shards),
        TEST(conflicts_that_come_late_keep_the_old_shards),
        TEST(who_comes_late_is_waited_for),
        TEST(killed_anywhere_another_life_goes_on),
        TEST(a_group_may_be_removed_meanwhile),
        TEST(what_is_of_no_group_is_not_looked_at),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
