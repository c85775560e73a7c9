/* Read feeds: the whole container over its ranges, one range, one partition,
 * with paging. */
#include "tests/unit/node/cosmos/fake.h"

#define DOCS "/dbs/d/colls/c/docs"

static void fill(struct world *w, int count)
{
    char body[64], line[64];
    for (int i = 0; i < count; i++) {
        snprintf(body, sizeof(body), "{\"id\":\"%d\",\"pk\":\"k%d\"}", i,
                 i % 20);
        snprintf(line, sizeof(line), "x-ms-documentdb-partitionkey: [\"k%d\"]",
                 i % 20);
        expect_status(SEND(w, "POST", DOCS, body, line), 201);
    }
}

static int items(const struct response *r)
{
    return atoi(resp_header(r, "x-ms-item-count"));
}

/* Marks the documents of a page as seen, each at most once. */
static void see(struct response *r, bool *seen, int count)
{
    struct json j;
    json_init(&j);
    assert_int_equal(json_parse(&j, bytes_str(resp_body(r)), 8 << 20, NULL), 0);
    json_ref list = json_get_str(&j, 0, "Documents");
    int64_t said;
    assert_int_equal(json_get_int64(&j, 0, "_count", &said), ERR_OK);
    assert_int_equal(said, json_count(&j, list));
    assert_int_equal(said, items(r));
    for (json_ref v = json_first(&j, list); v != JSON_NONE;
         v = json_next(&j, list, v)) {
        struct bytes id;
        char text[16] = "";
        assert_int_equal(json_get_string(&j, v, "id", NULL, &id), ERR_OK);
        memcpy(text, id.data, id.len);
        int n = atoi(text);
        assert_true(n >= 0 && n < count);
        assert_false(seen[n]);
        seen[n] = true;
    }
    json_free(&j);
}

/* Reads all pages with the given size and further header; returns documents. */
static int read_all(struct world *w, const char *size, const char *scope,
                    int count, int *pages_out)
{
    bool seen[1000] = {false};
    char line[10000];
    int total = 0, pages = 0;
    const char *next = NULL;
    do {
        struct response *r = SEND(w, "GET", DOCS, "", size, scope, next);
        expect_status(r, 200);
        see(r, seen, count);
        total += items(r);
        pages++;
        const char *token = resp_header(r, "x-ms-continuation");
        next = NULL;
        if (token != NULL) {
            assert_true(strlen(token) <= 1024);
            snprintf(line, sizeof(line), "x-ms-continuation: %s", token);
            next = line;
        }
        assert_true(pages < 2000);
    } while (next != NULL);
    *pages_out = pages;
    return total;
}

static void a_feed_is_complete_whatever_the_page_size(void **state)
{
    struct world *w = *state;
    world_container(w);
    fill(w, 150);
    int pages;
    static const char any[] = "x-ms-version: 2020-07-15";
    assert_int_equal(read_all(w, any, any, 150, &pages), 150);
    assert_int_equal(pages, 2);
    assert_int_equal(read_all(w, "x-ms-max-item-count: -1", any, 150, &pages),
                     150);
    assert_int_equal(pages, 1);
    assert_int_equal(read_all(w, "x-ms-max-item-count: 1", any, 150, &pages),
                     150);
    assert_int_equal(read_all(w, "x-ms-max-item-count: 7", any, 150, &pages),
                     150);
    /* A shard that gives up after three documents changes nothing. */
    w->examine = 3;
    assert_int_equal(read_all(w, "x-ms-max-item-count: 7", any, 150, &pages),
                     150);
    w->deferred = false;
}

static void a_feed_of_one_range_or_partition(void **state)
{
    struct world *w = *state;
    world_container(w);
    fill(w, 100);
    int pages;
    static const char size[] = "x-ms-max-item-count: 9";
    int first = read_all(w, size, "x-ms-documentdb-partitionkeyrangeid: 0", 100,
                         &pages);
    int second = read_all(w, size, "x-ms-documentdb-partitionkeyrangeid: 1",
                          100, &pages);
    assert_int_equal(first + second, 100);
    assert_true(first > 0 && second > 0);
    assert_int_equal(read_all(w, size,
                              "x-ms-documentdb-partitionkeyrangeid: abc=,1",
                              100, &pages),
                     second);
    assert_int_equal(read_all(w, size, "x-ms-documentdb-partitionkey: [\"k3\"]",
                              100, &pages),
                     5);
    expect_failure(
        SEND(w, "GET", DOCS, "", "x-ms-documentdb-partitionkeyrangeid: 2"), 410,
        "1002", "Gone");
    expect_status(
        SEND(w, "GET", DOCS, "", "x-ms-documentdb-partitionkeyrangeid: x"),
        400);
}

static void a_feed_between_effective_partition_keys(void **state)
{
    struct world *w = *state;
    world_container(w);
    fill(w, 100);
    static const char *const bounds[] = {"", "10000000000000000000000000000000",
                                         "1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
                                         "30000000000000000000000000000000",
                                         "FF"};
    int total = 0;
    for (int i = 0; i < 4; i++) {
        char low[128], high[128];
        snprintf(low, sizeof(low), "x-ms-start-epk: %s", bounds[i]);
        snprintf(high, sizeof(high), "x-ms-end-epk: %s", bounds[i + 1]);
        struct response *r =
            SEND(w, "GET", DOCS, "", low, high, "x-ms-max-item-count: 100");
        expect_status(r, 200);
        assert_true(items(r) > 0 && items(r) < 100);
        total += items(r);
    }
    assert_int_equal(total, 100);
    expect_status(
        SEND(w, "GET", DOCS, "", "x-ms-start-epk: zz", "x-ms-end-epk: FF"),
        400);
}

static void a_feed_of_a_prefix_of_a_hierarchical_key(void **state)
{
    struct world *w = *state;
    expect_status(SEND(w, "POST", "/dbs", "{\"id\":\"d\"}"), 201);
    expect_status(
        SEND(w, "POST", "/dbs/d/colls",
             "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/t\",\"/u\""
             "],\"kind\":\"MultiHash\",\"version\":2}}"),
        201);
    char body[64], line[64];
    for (int i = 0; i < 40; i++) {
        snprintf(body, sizeof(body), "{\"id\":\"%d\",\"t\":\"t%d\",\"u\":%d}",
                 i, i % 4, i);
        snprintf(line, sizeof(line),
                 "x-ms-documentdb-partitionkey: [\"t%d\",%d]", i % 4, i);
        expect_status(SEND(w, "POST", DOCS, body, line), 201);
    }
    int pages;
    assert_int_equal(read_all(w, "x-ms-max-item-count: 3",
                              "x-ms-documentdb-partitionkey: [\"t2\"]", 40,
                              &pages),
                     10);
    assert_int_equal(read_all(w, "x-ms-max-item-count: 3",
                              "x-ms-documentdb-partitionkey: [\"t2\",6]", 40,
                              &pages),
                     1);
}

static void a_feed_tells_the_state_of_its_ranges(void **state)
{
    struct world *w = *state;
    world_container(w);
    fill(w, 40);
    struct response *r = SEND(w, "GET", DOCS, "");
    char token[128];
    unsigned long long first = w->shards[1].lsn, second = w->shards[2].lsn;
    snprintf(token, sizeof(token), "0:1#%llu#1=%llu,1:1#%llu#1=%llu", first,
             first, second, second);
    expect_header(r, "x-ms-session-token", token);
    expect_header(r, "x-ms-alt-content-path", "dbs/d/colls/c");
    assert_non_null(resp_header(r, "x-ms-content-path"));
    expect_contains(r, "{\"_rid\":\"");
}

static void bad_tokens_are_refused(void **state)
{
    struct world *w = *state;
    world_container(w);
    fill(w, 40);
    char line[2048];
    struct response *r = SEND(w, "GET", DOCS, "", "x-ms-max-item-count: 5",
                              "x-ms-documentdb-partitionkeyrangeid: 0");
    snprintf(line, sizeof(line), "x-ms-continuation: %s",
             resp_header(r, "x-ms-continuation"));
    /* Another page size is fine, another scope is not. */
    expect_status(SEND(w, "GET", DOCS, "", line,
                       "x-ms-documentdb-partitionkeyrangeid: 0"),
                  200);
    expect_failure(SEND(w, "GET", DOCS, "", line), 400, NULL,
                   "Invalid Continuation Token");
    expect_failure(SEND(w, "GET", DOCS, "", line,
                        "x-ms-documentdb-partitionkeyrangeid: 1"),
                   400, NULL, "Invalid Continuation Token");
    line[40] = line[40] == 'A' ? 'B' : 'A';
    expect_failure(SEND(w, "GET", DOCS, "", line,
                        "x-ms-documentdb-partitionkeyrangeid: 0"),
                   400, NULL, "Invalid Continuation Token");
    expect_failure(SEND(w, "GET", DOCS, "", "x-ms-continuation: {}"), 400, NULL,
                   "Invalid Continuation Token");
    expect_status(SEND(w, "GET", DOCS, "", "x-ms-max-item-count: 0"), 400);
    expect_status(SEND(w, "GET", DOCS, "", "x-ms-max-item-count: -2"), 400);
    expect_status(SEND(w, "GET", DOCS, "", "x-ms-max-item-count: ten"), 400);
}

static void a_page_ends_at_four_mebibytes(void **state)
{
    struct world *w = *state;
    world_container(w);
    size_t len = 1500 * 1024;
    char *body = mem_alloc(len + 1);
    for (int i = 0; i < 6; i++) {
        memset(body, 'x', len);
        char head[64];
        int n = snprintf(head, sizeof(head),
                         "{\"id\":\"%d\",\"pk\":\"a\",\"v\":\"", i);
        memcpy(body, head, (size_t)n);
        memcpy(body + len - 2, "\"}", 3);
        expect_status(SEND(w, "POST", DOCS, body,
                           "x-ms-documentdb-partitionkey: [\"a\"]"),
                      201);
    }
    mem_free(body);
    int pages;
    assert_int_equal(read_all(w, "x-ms-max-item-count: 100",
                              "x-ms-documentdb-partitionkey: [\"a\"]", 6,
                              &pages),
                     6);
    assert_true(pages >= 2 && pages <= 3);
}

static void a_page_is_sent_when_its_time_is_up(void **state)
{
    struct world *w = *state;
    world_container(w);
    fill(w, 40);
    w->examine = 5;
    w->deferred = true;
    struct response *r = SEND(w, "GET", DOCS, "");
    w->mono += COSMOS_PAGE_SLICE_US + 1;
    world_deliver(w);
    expect_status(r, 200);
    expect_header(r, "x-ms-item-count", "5");
    assert_non_null(resp_header(r, "x-ms-continuation"));
}

static void rows_that_are_there_are_sent_before_an_error(void **state)
{
    struct world *w = *state;
    world_container(w);
    fill(w, 40);
    w->examine = 5;
    w->fail_kind = OP_SCAN;
    w->fail_err = ERR_UNAVAILABLE;
    w->fail_skip = 2;
    struct response *r = SEND(w, "GET", DOCS, "");
    expect_status(r, 200);
    expect_header(r, "x-ms-item-count", "10");
    assert_non_null(resp_header(r, "x-ms-continuation"));
    w->fail_err = ERR_UNAVAILABLE;
    w->fail_skip = 0;
    expect_status(SEND(w, "GET", DOCS, ""), 503);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_new, world_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_feed_is_complete_whatever_the_page_size),
        TEST(a_feed_of_one_range_or_partition),
        TEST(a_feed_between_effective_partition_keys),
        TEST(a_feed_of_a_prefix_of_a_hierarchical_key),
        TEST(a_feed_tells_the_state_of_its_ranges),
        TEST(bad_tokens_are_refused),
        TEST(a_page_ends_at_four_mebibytes),
        TEST(a_page_is_sent_when_its_time_is_up),
        TEST(rows_that_are_there_are_sent_before_an_error),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    world_forget();
    return failed;
}
