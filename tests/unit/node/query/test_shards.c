/* However documents are spread over shards and however small the pages are,
 * the rows are the same. */
#include "node/base/mem.h"
#include "node/base/prng.h"
#include "tests/unit/node/query/cases.h"

#define SHARDS_MAX 5
#define DOCUMENTS_MAX 40

/* Documents of one test, spread over shards. */
struct world {
    const struct query *query;
    struct buf texts[DOCUMENTS_MAX];
    uint32_t shard_of[DOCUMENTS_MAX];
    uint32_t documents, shards;
};

static void scan_shard(const struct world *w, uint32_t shard,
                       struct bytes request, struct buf *out)
{
    struct query_scan_options options = {request, NOW_MS};
    struct query_scan *scan;
    struct json j;
    uint64_t added;
    json_init(&j);
    assert_int_equal(query_scan_new(w->query, &options, &scan), ERR_OK);
    for (uint32_t i = 0; i < w->documents; i++) {
        if (w->shard_of[i] != shard)
            continue;
        struct bytes text =
            bytes_of(buf_bytes(&w->texts[i]), buf_len(&w->texts[i]));
        assert_int_equal(json_parse(&j, text, 1 << 20, NULL), ERR_OK);
        assert_int_equal(query_scan_document(scan, &j, i, out, &added), ERR_OK);
    }
    assert_int_equal(query_scan_finish(scan, out, &added), ERR_OK);
    query_scan_free(scan);
    json_free(&j);
}

/* One page; false when it was the last. */
static bool merge_page(const struct world *w, struct buf *token,
                       uint32_t rows_max, struct buf *rows)
{
    struct query_merge *m;
    struct buf request, shard_rows;
    uint32_t count;
    buf_init(&request, 1 << 16);
    buf_init(&shard_rows, 1 << 20);
    assert_int_equal(
        query_merge_new(w->query, bytes_of(buf_bytes(token), buf_len(token)),
                        rows_max, rows_max % 3 == 0 ? 40 : 1 << 20, &m),
        ERR_OK);
    assert_int_equal(query_merge_request(m, &request), ERR_OK);
    for (uint32_t i = 0; i < w->shards; i++) {
        /* Not in order: the coordinator takes what comes. */
        uint32_t shard = (i + w->documents) % w->shards;
        buf_clear(&shard_rows);
        scan_shard(w, shard, bytes_of(buf_bytes(&request), buf_len(&request)),
                   &shard_rows);
        assert_int_equal(query_merge_add(m, bytes_of(buf_bytes(&shard_rows),
                                                     buf_len(&shard_rows))),
                         ERR_OK);
    }
    buf_clear(token);
    assert_int_equal(query_merge_finish(m, rows, &count, token), ERR_OK);
    assert_true(count <= rows_max);
    query_merge_free(m);
    buf_free(&request);
    buf_free(&shard_rows);
    return buf_len(token) > 0;
}

static void run_sharded(const struct world *w, uint32_t rows_max,
                        struct buf *rows)
{
    struct buf token;
    uint32_t pages = 0;
    buf_init(&token, QUERY_TOKEN_MAX);
    while (merge_page(w, &token, rows_max, rows)) {
        assert_true(buf_len(&token) <= 1024);
        assert_true(++pages <= 10 * DOCUMENTS_MAX);
    }
    buf_free(&token);
}

static void run_whole(const struct world *w, uint32_t rows_max,
                      struct buf *rows)
{
    struct buf documents, token, old;
    uint32_t count;
    buf_init(&documents, 1 << 20);
    buf_init(&token, QUERY_TOKEN_MAX);
    buf_init(&old, QUERY_TOKEN_MAX);
    for (uint32_t i = 0; i < w->documents; i++)
        assert_int_equal(
            query_rows_append(&documents, bytes_of(buf_bytes(&w->texts[i]),
                                                   buf_len(&w->texts[i]))),
            ERR_OK);
    do {
        buf_clear(&old);
        assert_int_equal(buf_append(&old, buf_bytes(&token), buf_len(&token)),
                         ERR_OK);
        buf_clear(&token);
        assert_int_equal(
            query_run(w->query,
                      bytes_of(buf_bytes(&documents), buf_len(&documents)),
                      NOW_MS, bytes_of(buf_bytes(&old), buf_len(&old)),
                      rows_max, rows, &count, &token, NULL),
            ERR_OK);
    } while (buf_len(&token) > 0);
    buf_free(&documents);
    buf_free(&token);
    buf_free(&old);
}

static void make_document(struct prng *p, struct buf *out)
{
    static const char *const values[] = {
        "1",    "2",    "2.0",   "-7",   "1e3", "\"a\"", "\"b\"",
        "\"\"", "true", "false", "null", "[1]", "[1,2]", "{\"q\":1}"};
    static const char *const names[] = {"a", "b", "g"};
    bool first = true;
    buf_init(out, 4096);
    assert_int_equal(buf_append_str(out, "{"), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (prng_one_in(p, 5))
            continue;
        assert_int_equal(buf_printf(out, "%s\"%s\":%s", first ? "" : ",",
                                    names[i],
                                    values[prng_below(p, ARRAY_LEN(values))]),
                         ERR_OK);
        first = false;
    }
    assert_int_equal(buf_printf(out, "%s\"n\":%d,\"t\":[%d,%d]}",
                                first ? "" : ",", (int)prng_below(p, 100),
                                (int)prng_below(p, 4), (int)prng_below(p, 4)),
                     ERR_OK);
}

static void make_world(struct world *w, struct prng *p)
{
    w->documents = (uint32_t)prng_below(p, DOCUMENTS_MAX);
    w->shards = (uint32_t)prng_range(p, 1, SHARDS_MAX);
    for (uint32_t i = 0; i < w->documents; i++) {
        make_document(p, &w->texts[i]);
        w->shard_of[i] = (uint32_t)prng_below(p, w->shards);
    }
}

static void free_world(struct world *w)
{
    for (uint32_t i = 0; i < w->documents; i++)
        buf_free(&w->texts[i]);
}

static void shards_and_pages_do_not_change_the_rows(void **state)
{
    static const char *const queries[] = {
        "SELECT VALUE c.n FROM c ORDER BY c.a",
        "SELECT c.n, c.a, c.b FROM c ORDER BY c.a DESC, c.b",
        "SELECT * FROM c ORDER BY c.g, c.a DESC, c.n",
        "SELECT VALUE c.n FROM c WHERE c.n > 30 ORDER BY c.n DESC OFFSET 3 "
        "LIMIT 8",
        "SELECT TOP 5 c.n FROM c ORDER BY c.b",
        "SELECT VALUE [c.n, t] FROM c JOIN t IN c.t ORDER BY c.a",
        "SELECT DISTINCT VALUE c.a FROM c",
        "SELECT DISTINCT c.a, c.b FROM c",
        "SELECT DISTINCT VALUE c.a FROM c ORDER BY c.a DESC",
        "SELECT DISTINCT VALUE t FROM c JOIN t IN c.t OFFSET 1 LIMIT 2",
        "SELECT VALUE COUNT(1) FROM c",
        "SELECT COUNT(c.a) AS n, SUM(c.n) AS s, AVG(c.n) AS v, MIN(c.b) AS lo, "
        "MAX(c.b) AS hi, COUNTIF(c.n > 50) AS i FROM c",
        "SELECT VALUE SUM(c.a) FROM c",
        "SELECT c.g, COUNT(1) AS n, MIN(c.n) AS m FROM c GROUP BY c.g",
        "SELECT c.a, c.b, AVG(c.n) AS v FROM c GROUP BY c.a, c.b",
        "SELECT DISTINCT VALUE COUNT(1) FROM c GROUP BY c.a",
        "SELECT TOP 3 c.a FROM c GROUP BY c.a",
    };
    struct world *w = mem_zalloc(sizeof(*w));
    struct prng p;
    (void)state;
    prng_seed(&p, 3);
    for (int round = 0; round < 150; round++) {
        make_world(w, &p);
        for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
            struct query *q;
            struct query_error e;
            struct buf sharded, whole;
            uint32_t page = (uint32_t)prng_range(&p, 1, 12);
            assert_int_equal(
                query_compile(bytes_str(queries[i]), bytes_str(""), &q, &e),
                ERR_OK);
            w->query = q;
            buf_init(&sharded, 1 << 20);
            buf_init(&whole, 1 << 20);
            run_sharded(w, page, &sharded);
            run_whole(w, 10000, &whole);
            if (!bytes_equal(bytes_of(buf_bytes(&sharded), buf_len(&sharded)),
                             bytes_of(buf_bytes(&whole), buf_len(&whole))))
                fail_msg("%s\n  %u shards, pages of %u: %s\n  whole: %s",
                         queries[i], w->shards, page, buf_cstr(&sharded),
                         buf_cstr(&whole));
            buf_clear(&whole);
            run_whole(w, page, &whole);
            assert_true(
                bytes_equal(bytes_of(buf_bytes(&sharded), buf_len(&sharded)),
                            bytes_of(buf_bytes(&whole), buf_len(&whole))));
            buf_free(&sharded);
            buf_free(&whole);
            query_free(q);
        }
        free_world(w);
    }
    mem_free(w);
}

/* -- single calls
 * -------------------------------------------------------------------- */

static struct query *compiled(const char *text)
{
    struct query *q;
    struct query_error e;
    if (query_compile(bytes_str(text), bytes_str(""), &q, &e) != ERR_OK)
        fail_msg("%s: %s", text, e.text);
    return q;
}

static void streamed_queries_page_too(void **state)
{
    struct world *w = mem_zalloc(sizeof(*w));
    struct prng p;
    (void)state;
    prng_seed(&p, 5);
    for (int round = 0; round < 20; round++) {
        struct buf small, large;
        struct query *q =
            compiled("SELECT VALUE [c.n, t] FROM c JOIN t IN c.t WHERE c.n > "
                     "20 OFFSET 2 LIMIT 30");
        make_world(w, &p);
        w->query = q;
        buf_init(&small, 1 << 20);
        buf_init(&large, 1 << 20);
        run_whole(w, 3, &small);
        run_whole(w, 1000, &large);
        assert_string_equal(buf_cstr(&small), buf_cstr(&large));
        buf_free(&small);
        buf_free(&large);
        query_free(q);
        free_world(w);
    }
    mem_free(w);
}

static void shapes_say_how_to_run(void **state)
{
    static const struct {
        const char *query;
        enum query_kind kind;
        bool star, all, no_document;
        uint64_t offset, limit;
    } cases[] = {
        {"SELECT * FROM c", QUERY_STREAM, true, true, false, 0, UINT64_MAX},
        {"SELECT * FROM c WHERE c.a = 1", QUERY_STREAM, true, false, false, 0,
         UINT64_MAX},
        {"SELECT * FROM c.a", QUERY_STREAM, false, false, false, 0, UINT64_MAX},
        {"SELECT c.a FROM c", QUERY_STREAM, false, true, false, 0, UINT64_MAX},
        {"SELECT TOP 3 * FROM c", QUERY_STREAM, true, true, false, 0, 3},
        {"SELECT * FROM c OFFSET 4 LIMIT 5", QUERY_STREAM, true, true, false, 4,
         5},
        {"SELECT * FROM c ORDER BY c.a", QUERY_ORDERED, true, true, false, 0,
         UINT64_MAX},
        {"SELECT DISTINCT c.a FROM c", QUERY_ORDERED, false, true, false, 0,
         UINT64_MAX},
        {"SELECT COUNT(1) FROM c", QUERY_AGGREGATE, false, true, false, 0,
         UINT64_MAX},
        {"SELECT c.a FROM c GROUP BY c.a", QUERY_AGGREGATE, false, true, false,
         0, UINT64_MAX},
        {"SELECT 1", QUERY_STREAM, false, false, true, 0, UINT64_MAX},
        {"SELECT t FROM t IN c.tags", QUERY_STREAM, false, false, false, 0,
         UINT64_MAX},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct query *q = compiled(cases[i].query);
        struct query_shape s = query_shape(q);
        if (s.kind != cases[i].kind || s.select_star != cases[i].star ||
            s.match_all != cases[i].all ||
            s.no_document != cases[i].no_document ||
            s.offset != cases[i].offset || s.limit != cases[i].limit)
            fail_msg("%s", cases[i].query);
        query_free(q);
    }
}

static void windows_count_rows(void **state)
{
    struct query_shape shape = {.offset = 2, .limit = 1};
    struct query_window window = {0, 0};
    (void)state;
    assert_int_equal(query_window_take(&shape, &window), QUERY_WINDOW_DROP);
    assert_int_equal(query_window_take(&shape, &window), QUERY_WINDOW_DROP);
    assert_false(query_window_done(&shape, &window));
    assert_int_equal(query_window_take(&shape, &window), QUERY_WINDOW_TAKE);
    assert_true(query_window_done(&shape, &window));
    assert_int_equal(query_window_take(&shape, &window), QUERY_WINDOW_STOP);
}

static void point_queries_name_their_partition(void **state)
{
    static const struct {
        const char *query, *paths[3], *point;
    } cases[] = {
        {"SELECT * FROM c WHERE c.pk = 'a'", {"/pk"}, "[\"a\"]"},
        {"SELECT * FROM c WHERE 'a' = c.pk", {"/pk"}, "[\"a\"]"},
        {"SELECT * FROM c WHERE c['pk'] = 5", {"/pk"}, "[5]"},
        {"SELECT * FROM c WHERE c.pk = -5", {"/pk"}, "[-5]"},
        {"SELECT * FROM c WHERE c.pk = null", {"/pk"}, "[null]"},
        {"SELECT * FROM c WHERE c.pk = true AND c.x > 1", {"/pk"}, "[true]"},
        {"SELECT * FROM c WHERE c.x > 1 AND (c.y = 2 AND c.pk = 'a')",
         {"/pk"},
         "[\"a\"]"},
        {"SELECT * FROM c WHERE c.a.b = 'a' AND c['x y'] = 1",
         {"/a/b", "/\"x y\""},
         "[\"a\",1]"},
        {"SELECT t FROM c JOIN t IN c.t WHERE c.pk = 'a' AND t = 1",
         {"/pk"},
         "[\"a\"]"},
        {"SELECT COUNT(1) FROM root r WHERE r.pk = 'a'", {"/pk"}, "[\"a\"]"},
        {"SELECT * FROM c WHERE c.pk = 'a' OR c.x = 1", {"/pk"}, NULL},
        {"SELECT * FROM c WHERE NOT (c.pk = 'a')", {"/pk"}, NULL},
        {"SELECT * FROM c WHERE c.pk > 'a'", {"/pk"}, NULL},
        {"SELECT * FROM c WHERE c.pk = c.x", {"/pk"}, NULL},
        {"SELECT * FROM c WHERE c.pk = [1]", {"/pk"}, NULL},
        {"SELECT * FROM c WHERE c.pk = undefined", {"/pk"}, NULL},
        {"SELECT * FROM c WHERE c.pk.x = 'a'", {"/pk"}, NULL},
        {"SELECT * FROM c WHERE c.pk = 'a'", {"/pk/x"}, NULL},
        {"SELECT * FROM c WHERE c.a = 'a'", {"/a", "/b"}, NULL},
        {"SELECT * FROM t IN c.t WHERE t.pk = 'a'", {"/pk"}, NULL},
        {"SELECT * FROM c", {"/pk"}, NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct query *q = compiled(cases[i].query);
        struct bytes paths[3];
        struct buf out;
        size_t count = 0;
        for (; count < 3 && cases[i].paths[count] != NULL; count++)
            paths[count] = bytes_str(cases[i].paths[count]);
        buf_init(&out, 4096);
        int result = query_point(q, paths, count, &out);
        if (cases[i].point == NULL)
            assert_int_equal(result, ERR_NOT_FOUND);
        else if (result != ERR_OK ||
                 strcmp(buf_cstr(&out), cases[i].point) != 0)
            fail_msg("%s: %s", cases[i].query, err_name(result));
        buf_free(&out);
        query_free(q);
    }
}

static void foreign_tokens_and_rows_are_refused(void **state)
{
    static const char *const tokens[] = {"x", "{}", "{\"q\":1}", "[]",
                                         "{\"q\":\"1\"}"};
    static const char *const rows[] = {
        "1", "[]", "[1,2]", "[\"!\",2]", "[\"QQ==\"]", "{\"a\":1}", "[["};
    struct query *q = compiled("SELECT * FROM c ORDER BY c.a");
    struct query *sum = compiled("SELECT VALUE SUM(c.a) FROM c");
    struct query_merge *m;
    struct query_scan *s;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
        struct query_scan_options options = {bytes_str(tokens[i]), 0};
        assert_int_equal(query_merge_new(q, bytes_str(tokens[i]), 1, 100, &m),
                         ERR_INVALID);
        assert_int_equal(query_scan_new(q, &options, &s), ERR_INVALID);
    }
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(query_merge_new(q, bytes_str(""), 1, 100, &m), ERR_OK);
        assert_int_equal(query_merge_add(m, bytes_str(rows[i])), ERR_MALFORMED);
        query_merge_free(m);
    }
    static const char *const states[] = {
        "[[],[]]",          "[[1],[[1,2]]]", "[[],[1]]",       "[[],[[1]]]",
        "[[],[[\"a\",1]]]", "[[],[[-1,1]]]", "[[],[[1,1,1]]]", "[[]]"};
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        assert_int_equal(query_merge_new(sum, bytes_str(""), 1, 100, &m),
                         ERR_OK);
        assert_int_equal(query_merge_add(m, bytes_str(states[i])),
                         ERR_MALFORMED);
        query_merge_free(m);
    }
    query_free(q);
    query_free(sum);
}

static void the_deepest_document_passes_every_kind(void **state)
{
    static const char *const queries[] = {
        "SELECT * FROM c", "SELECT * FROM c ORDER BY c.a",
        "SELECT DISTINCT VALUE [[[c]]] FROM c",
        "SELECT VALUE c.a FROM c GROUP BY c.a"};
    char document[4 * JSON_DEPTH_MAX];
    size_t depth = JSON_DEPTH_MAX - 1;
    (void)state;
    strcpy(document, "{\"a\":");
    memset(document + 5, '[', depth);
    memset(document + 5 + depth, ']', depth);
    strcpy(document + 5 + 2 * depth, "}");
    for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
        struct query *q = compiled(queries[i]);
        struct buf rows, token;
        uint32_t count;
        buf_init(&rows, 1 << 16);
        buf_init(&token, 1 << 16);
        assert_int_equal(query_run(q, bytes_str(document), 0, bytes_str(""), 9,
                                   &rows, &count, &token, NULL),
                         ERR_OK);
        assert_int_equal(count, 1);
        buf_free(&rows);
        buf_free(&token);
        query_free(q);
    }
}

static void long_sort_keys_do_not_make_long_tokens(void **state)
{
    struct world *w = mem_zalloc(sizeof(*w));
    struct buf rows;
    (void)state;
    w->documents = 3;
    w->shards = 2;
    for (uint32_t i = 0; i < 3; i++) {
        buf_init(&w->texts[i], 1 << 16);
        assert_int_equal(
            buf_printf(&w->texts[i], "{\"n\":%u,\"k\":\"%05000u\"}", i, 9 - i),
            ERR_OK);
        w->shard_of[i] = i % 2;
    }
    struct query *q = compiled("SELECT VALUE c.n FROM c ORDER BY c.k");
    w->query = q;
    buf_init(&rows, 1 << 16);
    run_sharded(w, 1, &rows);
    assert_string_equal(buf_cstr(&rows), "2,1,0");
    buf_free(&rows);
    query_free(q);
    free_world(w);
    mem_free(w);
}

static void pages_respect_their_bytes(void **state)
{
    struct query *q = compiled("SELECT VALUE c FROM c ORDER BY c");
    struct query_scan_options options = {bytes_str(""), 0};
    struct query_scan *scan;
    struct query_merge *m;
    struct buf shard_rows, rows, token;
    struct json j;
    uint64_t added;
    uint32_t count;
    (void)state;
    json_init(&j);
    buf_init(&shard_rows, 4096);
    buf_init(&rows, 4096);
    buf_init(&token, 4096);
    assert_int_equal(query_scan_new(q, &options, &scan), ERR_OK);
    for (uint64_t i = 0; i < 5; i++) {
        assert_int_equal(json_parse(&j, bytes_str("\"0123456789\""), 100, NULL),
                         ERR_OK);
        assert_int_equal(query_scan_document(scan, &j, i, &shard_rows, &added),
                         ERR_OK);
    }
    assert_int_equal(query_scan_finish(scan, &shard_rows, &added), ERR_OK);
    assert_int_equal(added, 5);
    assert_int_equal(query_merge_new(q, bytes_str(""), 100, 30, &m), ERR_OK);
    assert_int_equal(query_merge_add(m, bytes_of(buf_bytes(&shard_rows),
                                                 buf_len(&shard_rows))),
                     ERR_OK);
    assert_int_equal(query_merge_finish(m, &rows, &count, &token), ERR_OK);
    assert_int_equal(count, 2);
    assert_true(buf_len(&token) > 0);
    query_merge_free(m);
    query_scan_free(scan);
    query_free(q);
    json_free(&j);
    buf_free(&shard_rows);
    buf_free(&rows);
    buf_free(&token);
}

static void row_lists_are_taken_apart(void **state)
{
    struct bytes rows =
        bytes_str("1,{\"a\":[1,2],\"b\":\",}\\\",\"},\"x,\\\\\",[[],{}]");
    static const char *const want[] = {"1", "{\"a\":[1,2],\"b\":\",}\\\",\"}",
                                       "\"x,\\\\\"", "[[],{}]"};
    struct bytes row;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        assert_true(query_rows_next(&rows, &row));
        assert_true(bytes_equal(row, bytes_str(want[i])));
    }
    assert_false(query_rows_next(&rows, &row));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_and_pages_do_not_change_the_rows),
        cmocka_unit_test(streamed_queries_page_too),
        cmocka_unit_test(shapes_say_how_to_run),
        cmocka_unit_test(windows_count_rows),
        cmocka_unit_test(point_queries_name_their_partition),
        cmocka_unit_test(foreign_tokens_and_rows_are_refused),
        cmocka_unit_test(the_deepest_document_passes_every_kind),
        cmocka_unit_test(long_sort_keys_do_not_make_long_tokens),
        cmocka_unit_test(pages_respect_their_bytes),
        cmocka_unit_test(row_lists_are_taken_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
