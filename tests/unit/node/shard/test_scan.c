/* Promises of scans: pages of any size are the whole, once and in order, also
 * while others write; gathering queries see everything. */
#include "node/query/query.h"
#include "tests/unit/node/shard/shard_test.h"

#define DOCS 60

/* What a scan of all pages brought: its rows, one per line. */
struct pages {
    struct buf text;
    unsigned rows, pages, examined;
};

static void pages_free(struct pages *p)
{
    buf_free(&p->text);
}

static void take_rows(struct pages *p, const struct op_result *r)
{
    size_t offset = 0;
    struct bytes row;
    uint32_t rows = 0;
    while (op_result_next_row(r, &offset, &row)) {
        assert_int_equal(buf_append(&p->text, row.data, row.len), ERR_OK);
        assert_int_equal(buf_append_u8(&p->text, '\n'), ERR_OK);
        rows++;
    }
    assert_int_equal(rows, r->items);
    assert_int_equal(offset, buf_len(&r->body));
    p->rows += rows;
    p->pages++;
    p->examined += r->examined;
}

struct scanning {
    uint32_t max_items, max_bytes;
    const char *query;
    const struct op_address *partition;
    /* Between two pages; may be NULL. */
    void (*between)(struct story *s, unsigned page);
};

static struct pages scan_all(struct story *s, raft_id id,
                             const struct scanning *how)
{
    struct pages p = {.rows = 0};
    uint8_t after[OP_KEY_MAX];
    size_t after_len = 0;
    buf_init(&p.text, 32u << 20);
    for (;;) {
        struct cluster_call call;
        cluster_scan(s->c, &call, how->max_items, how->query);
        if (how->max_bytes > 0)
            call.op.max_bytes = how->max_bytes;
        if (how->partition != NULL) {
            call.op.one_partition = true;
            call.op.at = *how->partition;
        }
        call.op.after = bytes_of(after, after_len);
        assert_int_equal(cluster_do(s->c, id, &call), ERR_OK);
        assert_true(call.result.items <= how->max_items || how->query != NULL);
        take_rows(&p, &call.result);
        after_len = call.result.next_len;
        memcpy(after, call.result.next, after_len);
        bool more = call.result.more;
        cluster_call_free(&call);
        if (!more)
            return p;
        assert_true(after_len > 0);
        if (how->between != NULL)
            how->between(s, p.pages);
    }
}

static void expect_pages(struct story *s, const struct scanning *how,
                         struct pages *whole)
{
    struct pages p = scan_all(s, s->leader, how);
    assert_int_equal(p.rows, whole->rows);
    assert_string_equal(buf_cstr(&p.text), buf_cstr(&whole->text));
    pages_free(&p);
}

/* DOCS documents over four partitions, some flushed, some in memory, some
 * replaced, some deleted again. */
static void some_documents(struct story *s)
{
    char body[80];
    for (unsigned i = 0; i < DOCS; i++) {
        snprintf(body, sizeof(body), "{\"id\":\"%u\",\"n\":%u,\"pk\":%u", i, i,
                 i % 4);
        put(s->c, s->leader, i % 4, i, body);
        if (i == DOCS / 2)
            for (raft_id id = 1; id <= 3; id++)
                cluster_flush(s->c, id, true);
    }
    for (unsigned i = 0; i < DOCS; i += 10)
        assert_int_equal(written(s->c, s->leader, OP_DELETE,
                                 cluster_at(i % 4, i), NULL, NULL),
                         ERR_OK);
    for (unsigned i = 1; i < DOCS; i += 9) {
        snprintf(body, sizeof(body), "{\"id\":\"%u\",\"n\":%u,\"pk\":%u", i,
                 i % 10 == 0 ? i : 1000 + i, i % 4);
        put(s->c, s->leader, i % 4, i, body);
    }
}

static void pages_of_every_size_are_the_whole(void **state)
{
    (void)state;
    struct story s = story_of_three();
    some_documents(&s);
    struct scanning how = {.max_items = 1000};
    struct pages whole = scan_all(&s, s.leader, &how);
    assert_int_equal(whole.pages, 1);
    assert_in_range(whole.rows, DOCS - 6, DOCS);
    for (how.max_items = 1; how.max_items <= DOCS + 2; how.max_items++)
        expect_pages(&s, &how, &whole);
    how.max_items = 1000;
    for (how.max_bytes = 1; how.max_bytes < 3000; how.max_bytes += 97)
        expect_pages(&s, &how, &whole);
    pages_free(&whole);
    story_end(&s);
}

static void followers_scan_the_same(void **state)
{
    (void)state;
    struct story s = story_of_three();
    some_documents(&s);
    struct scanning how = {.max_items = 7};
    struct pages whole = scan_all(&s, s.leader, &how);
    cluster_flush(s.c, s.other, true);
    struct pages there = scan_all(&s, s.other, &how);
    assert_string_equal(buf_cstr(&whole.text), buf_cstr(&there.text));
    pages_free(&whole);
    pages_free(&there);
    story_end(&s);
}

static void a_partition_holds_its_own_documents_only(void **state)
{
    (void)state;
    struct story s = story_of_three();
    some_documents(&s);
    struct scanning how = {.max_items = 3};
    struct pages whole = scan_all(&s, s.leader, &how);
    unsigned rows = 0;
    struct buf joined;
    buf_init(&joined, 1u << 20);
    for (unsigned pk = 0; pk < 4; pk++) {
        struct op_address at = cluster_at(pk, 0);
        how.partition = &at;
        struct pages p = scan_all(&s, s.leader, &how);
        char member[16];
        snprintf(member, sizeof(member), "\"pk\":%u", pk);
        assert_non_null(strstr(buf_cstr(&p.text), member));
        rows += p.rows;
        assert_int_equal(buf_append_str(&joined, buf_cstr(&p.text)), ERR_OK);
        pages_free(&p);
    }
    /* Partitions lie one after the other. */
    assert_int_equal(rows, whole.rows);
    assert_string_equal(buf_cstr(&joined), buf_cstr(&whole.text));
    buf_free(&joined);
    pages_free(&whole);
    story_end(&s);
}

static void busy_neighbours(struct story *s, unsigned page)
{
    char body[80];
    /* New documents and changes of others; those with n < 1000 are stable. */
    for (unsigned i = 0; i < 3; i++) {
        unsigned id = 5000 + page * 10 + i;
        snprintf(body, sizeof(body), "{\"id\":\"%u\",\"n\":%u,\"pk\":1", id,
                 id);
        put(s->c, s->leader, id % 5, id, body);
    }
    if (page % 3 == 0)
        cluster_flush(s->c, s->leader, true);
    if (page > 3)
        assert_int_equal(written(s->c, s->leader, OP_DELETE,
                                 cluster_at((5000 + page * 10 - 20) % 5,
                                            5000 + page * 10 - 20),
                                 NULL, NULL),
                         ERR_OK);
}

static void pages_lose_nothing_while_others_write(void **state)
{
    (void)state;
    for (uint32_t size = 1; size < 20; size += 3) {
        struct story s = story_of_three();
        some_documents(&s);
        struct scanning how = {.max_items = 1000,
                               .query = "SELECT VALUE c.id FROM c WHERE c.n < "
                                        "5000"};
        struct pages whole = scan_all(&s, s.leader, &how);
        assert_true(whole.rows > DOCS - 8);
        how.max_items = size;
        how.between = busy_neighbours;
        expect_pages(&s, &how, &whole);
        pages_free(&whole);
        story_end(&s);
    }
}

static void a_query_gives_the_rows_that_match(void **state)
{
    (void)state;
    struct story s = story_of_three();
    some_documents(&s);
    struct scanning how = {
        .max_items = 1000,
        .query = "SELECT VALUE c.n FROM c WHERE c.n >= 10 AND c.n <= 14"};
    struct pages p = scan_all(&s, s.leader, &how);
    /* In order of partition, then creation: 10 was deleted and made again. */
    assert_string_equal(buf_cstr(&p.text), "12\n13\n14\n10\n11\n");
    assert_true(p.examined > DOCS - 8);
    pages_free(&p);
    /* A page without rows still moves on. */
    how.query = "SELECT * FROM c WHERE c.n = 13";
    how.max_items = 1;
    p = scan_all(&s, s.leader, &how);
    assert_int_equal(p.rows, 1);
    pages_free(&p);
    story_end(&s);
}

static void a_query_that_is_wrong_says_why(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call call;
    cluster_scan(s.c, &call, 10, "SELECT * FROM c WHERE");
    assert_int_equal(cluster_do(s.c, s.leader, &call), ERR_INVALID);
    assert_true(call.result.message.text[0] != 0);
    cluster_call_free(&call);
    story_end(&s);
}

static void positions_outside_the_range_are_refused(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call call;
    uint8_t position[OP_KEY_MAX] = {0};
    some_documents(&s);
    static const size_t lens[] = {1, 28, 29, 30, OP_KEY_MAX};
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        for (uint8_t first = 0; first < 4; first++) {
            position[0] = first;
            cluster_scan(s.c, &call, 10, NULL);
            call.op.after = bytes_of(position, lens[i]);
            assert_int_equal(cluster_do(s.c, s.leader, &call), ERR_INVALID);
            cluster_call_free(&call);
        }
    }
    /* A position of another partition of the container. */
    struct scanning how = {.max_items = 1000};
    struct pages whole = scan_all(&s, s.leader, &how);
    cluster_scan(s.c, &call, 1, NULL);
    assert_int_equal(cluster_do(s.c, s.leader, &call), ERR_OK);
    struct op_result first;
    op_result_move(&first, &call.result);
    cluster_scan(s.c, &call, 1, NULL);
    call.op.one_partition = true;
    call.op.at = cluster_at(2, 0);
    call.op.after = bytes_of(first.next, first.next_len);
    assert_int_equal(cluster_do(s.c, s.leader, &call), ERR_INVALID);
    cluster_call_free(&call);
    op_result_free(&first);
    pages_free(&whole);
    story_end(&s);
}

static void a_position_may_be_of_a_record_that_is_gone(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call call;
    for (unsigned i = 0; i < 5; i++) {
        char body[40];
        snprintf(body, sizeof(body), "{\"id\":\"%u\"", i);
        put(s.c, s.leader, 1, i, body);
    }
    cluster_scan(s.c, &call, 2, NULL);
    assert_int_equal(cluster_do(s.c, s.leader, &call), ERR_OK);
    struct op_result first;
    op_result_move(&first, &call.result);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(
            written(s.c, s.leader, OP_DELETE, cluster_at(1, i), NULL, NULL),
            ERR_OK);
    cluster_scan(s.c, &call, 10, NULL);
    call.op.after = bytes_of(first.next, first.next_len);
    assert_int_equal(cluster_do(s.c, s.leader, &call), ERR_OK);
    assert_int_equal(call.result.items, 2);
    assert_false(call.result.more);
    cluster_call_free(&call);
    op_result_free(&first);
    story_end(&s);
}

static void a_step_looks_at_a_bounded_number(void **state)
{
    (void)state;
    struct story s = story_of_three();
    char body[40];
    struct cluster_call call;
    for (unsigned i = 0; i < OP_SCAN_EXAMINE_MAX + 50; i++) {
        snprintf(body, sizeof(body), "{\"id\":\"%u\",\"n\":%u", i, i);
        put(s.c, s.leader, 1, i, body);
    }
    cluster_scan(s.c, &call, 10, "SELECT * FROM c WHERE c.n < 0");
    assert_int_equal(cluster_do(s.c, s.leader, &call), ERR_OK);
    assert_int_equal(call.result.examined, OP_SCAN_EXAMINE_MAX);
    assert_int_equal(call.result.items, 0);
    assert_true(call.result.more);
    cluster_call_free(&call);
    struct scanning how = {.max_items = 10,
                           .query = "SELECT VALUE c.n FROM c WHERE c.n > 2040"};
    struct pages p = scan_all(&s, s.leader, &how);
    assert_int_equal(p.rows, 9);
    pages_free(&p);
    story_end(&s);
}

/* ---- gathering --------------------------------------------------------------
 */

/* Runs a gathering query on one shard, to its page. */
static void gathered(struct story *s, const char *text, struct buf *out,
                     void (*between)(struct story *s, unsigned turn))
{
    struct query *q;
    struct query_error error;
    struct query_merge *m;
    struct buf request, token;
    uint32_t count;
    buf_init(&request, OP_MERGE_REQUEST_MAX);
    buf_init(&token, QUERY_TOKEN_MAX);
    assert_int_equal(
        query_compile(bytes_str(text), bytes_of(NULL, 0), &q, &error), ERR_OK);
    assert_int_equal(
        query_merge_new(q, bytes_of(NULL, 0), 100000, OP_PAGE_MAX, &m), ERR_OK);
    assert_int_equal(query_merge_request(m, &request), ERR_OK);
    struct cluster_call call;
    cluster_scan(s->c, &call, 1, text);
    call.op.merge_request = bytes_of(buf_bytes(&request), buf_len(&request));
    cluster_submit(s->c, s->leader, &call);
    for (unsigned turn = 0; between != NULL && call.done == 0; turn++) {
        (void)shard_flush(cluster_shard(s->c, s->leader), cluster_now(s->c));
        if (call.done == 0)
            between(s, turn);
    }
    assert_int_equal(cluster_wait(s->c, &call), ERR_OK);
    assert_int_equal(query_merge_add(m, bytes_of(buf_bytes(&call.result.body),
                                                 buf_len(&call.result.body))),
                     ERR_OK);
    assert_int_equal(query_merge_finish(m, out, &count, &token), ERR_OK);
    assert_int_equal(buf_len(&token), 0);
    cluster_call_free(&call);
    query_merge_free(m);
    query_free(q);
    buf_free(&request);
    buf_free(&token);
}

static void expect_gathered(struct story *s, const char *query,
                            const char *expected)
{
    struct buf out;
    buf_init(&out, OP_PAGE_MAX);
    gathered(s, query, &out, NULL);
    assert_string_equal(buf_cstr(&out), expected);
    buf_free(&out);
}

#define MANY 4500 /* several slices */

static void many_documents(struct story *s)
{
    for (unsigned i = 0; i < MANY; i++) {
        char body[60];
        snprintf(body, sizeof(body), "{\"id\":\"%u\",\"n\":%u,\"g\":%u", i,
                 MANY - i, i % 3);
        put(s->c, s->leader, i % 5, i, body);
        if (i == MANY / 3)
            cluster_flush(s->c, s->leader, true);
    }
}

static void gathering_equals_a_naive_computation(void **state)
{
    (void)state;
    struct story s = story_of_three();
    many_documents(&s);
    expect_gathered(&s, "SELECT VALUE COUNT(1) FROM c", "4500");
    expect_gathered(&s, "SELECT VALUE SUM(c.n) FROM c", "10127250");
    expect_gathered(&s, "SELECT VALUE MAX(c.n) FROM c WHERE c.g = 1", "4499");
    expect_gathered(&s, "SELECT TOP 3 VALUE c.n FROM c ORDER BY c.n", "1,2,3");
    expect_gathered(&s, "SELECT TOP 3 VALUE c.n FROM c ORDER BY c.n DESC",
                    "4500,4499,4498");
    struct buf out;
    buf_init(&out, OP_PAGE_MAX);
    gathered(&s, "SELECT VALUE c.n FROM c ORDER BY c.n", &out, NULL);
    struct bytes rows = bytes_of(buf_bytes(&out), buf_len(&out)), row;
    unsigned n = 0;
    while (query_rows_next(&rows, &row)) {
        char text[12];
        snprintf(text, sizeof(text), "%u", ++n);
        assert_int_equal(row.len, strlen(text));
        assert_memory_equal(row.data, text, row.len);
    }
    assert_int_equal(n, MANY);
    buf_free(&out);
    story_end(&s);
}

static void disturb(struct story *s, unsigned turn)
{
    char body[60];
    for (unsigned i = 0; i < 20; i++) {
        unsigned id = turn * 20 + i;
        snprintf(body, sizeof(body), "{\"id\":\"%u\",\"n\":%u,\"g\":%u", id,
                 MANY - id, id % 3);
        put(s->c, s->leader, id % 5, id, body); /* the same content again */
    }
    cluster_flush(s->c, s->leader, true);
}

static void gathering_survives_flushes_and_writes(void **state)
{
    (void)state;
    struct story s = story_of_three();
    many_documents(&s);
    struct buf out;
    buf_init(&out, OP_PAGE_MAX);
    gathered(&s, "SELECT VALUE SUM(c.n) FROM c", &out, disturb);
    assert_string_equal(buf_cstr(&out), "10127250");
    buf_free(&out);
    story_end(&s);
}

static void gathering_survives_a_lost_leadership(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call call, lost;
    many_documents(&s);
    cluster_turns(s.c, 50);
    cluster_scan(s.c, &call, 1, "SELECT VALUE COUNT(1) FROM c");
    cluster_submit(s.c, s.leader, &call);
    call.req.deadline_us = USEC_NEVER;
    (void)shard_flush(cluster_shard(s.c, s.leader), cluster_now(s.c));
    assert_int_equal(call.done, 0);
    /* Entries that will be truncated come into memory meanwhile. */
    cluster_isolate(s.c, s.leader);
    cluster_write(s.c, &lost, OP_UPSERT, cluster_at(4, MANY + 1), "{\"a\":1");
    cluster_submit(s.c, s.leader, &lost);
    cluster_sleep(s.c, 3 * USEC_PER_SEC);
    shard_tick(cluster_shard(s.c, s.leader), cluster_now(s.c));
    assert_int_equal(lost.result.err, ERR_NOT_LEADER);
    assert_int_equal(cluster_wait(s.c, &call), ERR_OK);
    /* Shard rows are the query's own matter; merge them. */
    struct query *q;
    struct query_error error;
    struct query_merge *m;
    struct buf out, token;
    uint32_t count;
    buf_init(&out, OP_PAGE_MAX);
    buf_init(&token, QUERY_TOKEN_MAX);
    assert_int_equal(
        query_compile(call.op.query, bytes_of(NULL, 0), &q, &error), ERR_OK);
    assert_int_equal(query_merge_new(q, bytes_of(NULL, 0), 10, OP_PAGE_MAX, &m),
                     ERR_OK);
    assert_int_equal(query_merge_add(m, bytes_of(buf_bytes(&call.result.body),
                                                 buf_len(&call.result.body))),
                     ERR_OK);
    assert_int_equal(query_merge_finish(m, &out, &count, &token), ERR_OK);
    assert_string_equal(buf_cstr(&out), "4500");
    query_merge_free(m);
    query_free(q);
    buf_free(&out);
    buf_free(&token);
    cluster_call_free(&call);
    cluster_call_free(&lost);
    story_end(&s);
}

static void a_long_scan_lets_others_in_and_ends_in_time(void **state)
{
    (void)state;
    struct story s = story_of_three();
    struct cluster_call slow, read;
    many_documents(&s);
    cluster_scan(s.c, &slow, 1, "SELECT VALUE COUNT(1) FROM c");
    cluster_submit(s.c, s.leader, &slow);
    assert_true(shard_flush(cluster_shard(s.c, s.leader), cluster_now(s.c)));
    cluster_read(s.c, &read, cluster_at(1, 1));
    cluster_submit(s.c, s.leader, &read);
    assert_int_equal(read.done, 1);
    assert_int_equal(slow.done, 0);
    slow.req.deadline_us = cluster_now(s.c);
    cluster_sleep(s.c, 60 * USEC_PER_MS);
    shard_tick(cluster_shard(s.c, s.leader), cluster_now(s.c));
    assert_int_equal(slow.done, 1);
    assert_int_equal(slow.result.err, ERR_UNAVAILABLE);
    cluster_call_free(&slow);
    cluster_call_free(&read);
    story_end(&s);
}

static void joins_that_fill_a_page_go_on_with_the_next(void **state)
{
    (void)state;
    struct story s = story_of_three();
    /* Each document gives 30 rows of 60 KiB: two on a page, the third not. */
    size_t size = 60u << 10;
    char *body = mem_alloc(size + 200);
    for (unsigned id = 0; id < 6; id++) {
        int at = snprintf(body, 200,
                          "{\"id\":\"%u\",\"a\":[1,2,3,4,5,6,7,8,9,10,11,12,13,"
                          "14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30],"
                          "\"t\":\"",
                          id);
        memset(body + at, 'x', size);
        body[at + (int)size] = '"';
        body[at + (int)size + 1] = 0;
        put(s.c, s.leader, 1, id, body);
    }
    mem_free(body);
    struct scanning how = {.max_items = 1000,
                           .query = "SELECT x AS n, c.t FROM c JOIN x IN c.a"};
    struct pages p = scan_all(&s, s.leader, &how);
    assert_int_equal(p.rows, 180);
    assert_true(p.pages > 1);
    pages_free(&p);
    story_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_of_every_size_are_the_whole),
        cmocka_unit_test(followers_scan_the_same),
        cmocka_unit_test(a_partition_holds_its_own_documents_only),
        cmocka_unit_test(pages_lose_nothing_while_others_write),
        cmocka_unit_test(a_query_gives_the_rows_that_match),
        cmocka_unit_test(a_query_that_is_wrong_says_why),
        cmocka_unit_test(positions_outside_the_range_are_refused),
        cmocka_unit_test(a_position_may_be_of_a_record_that_is_gone),
        cmocka_unit_test(a_step_looks_at_a_bounded_number),
        cmocka_unit_test(gathering_equals_a_naive_computation),
        cmocka_unit_test(gathering_survives_flushes_and_writes),
        cmocka_unit_test(gathering_survives_a_lost_leadership),
        cmocka_unit_test(a_long_scan_lets_others_in_and_ends_in_time),
        cmocka_unit_test(joins_that_fill_a_page_go_on_with_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
