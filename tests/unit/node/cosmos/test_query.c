/* Queries over all ranges, executed by the server, page by page. */
#include "tests/unit/node/cosmos/fake.h"

#define DOCS "/dbs/d/colls/c/docs"
#define QUERY "x-ms-documentdb-isquery: true"
#define CROSS "x-ms-documentdb-query-enablecrosspartition: true"

/* Documents 0..count-1: n counts, g is n % 3, s has text. */
static void fill(struct world *w, int count)
{
    char body[128], line[64];
    for (int i = 0; i < count; i++) {
        snprintf(body, sizeof(body),
                 "{\"id\":\"%d\",\"pk\":\"k%d\",\"n\":%d,\"g\":%d}", i, i % 20,
                 i, i % 3);
        snprintf(line, sizeof(line), "x-ms-documentdb-partitionkey: [\"k%d\"]",
                 i % 20);
        expect_status(SEND(w, "POST", DOCS, body, line), 201);
    }
}

static struct response *query(struct world *w, const char *sql,
                              const char *line, const char *line2,
                              const char *line3)
{
    static char body[8192];
    snprintf(body, sizeof(body), "{\"query\":\"%s\"}", sql);
    return SEND(w, "POST", DOCS, body, QUERY, CROSS,
                "Content-Type: application/query+json", line, line2, line3);
}

static int items(const struct response *r)
{
    return atoi(resp_header(r, "x-ms-item-count"));
}

/* The text between the brackets of Documents. */
static const char *rows(struct response *r)
{
    static char text[65536];
    const char *begin = strstr(resp_body(r), "\"Documents\":[");
    assert_non_null(begin);
    snprintf(text, sizeof(text), "%s", begin + 13);
    char *end = strstr(text, "],\"_count\":");
    assert_non_null(end);
    *end = '\0';
    return text;
}

static void expect_rows(struct response *r, const char *expected)
{
    expect_status(r, 200);
    if (strcmp(rows(r), expected) != 0)
        fail_msg("rows %s instead of %s", rows(r), expected);
}

/* All pages of a query: their rows joined by commas. */
static const char *all(struct world *w, const char *sql, const char *size,
                       int *pages_out)
{
    static char joined[65536], line[10000];
    const char *next = NULL;
    int pages = 0;
    joined[0] = '\0';
    do {
        struct response *r = query(w, sql, size, next, NULL);
        expect_status(r, 200);
        if (joined[0] != '\0' && rows(r)[0] != '\0')
            strcat(joined, ",");
        strcat(joined, rows(r));
        const char *token = resp_header(r, "x-ms-continuation");
        next = NULL;
        if (token != NULL) {
            assert_true(strlen(token) <= 1024);
            snprintf(line, sizeof(line), "x-ms-continuation: %s", token);
            next = line;
        }
        assert_true(++pages < 1000);
    } while (next != NULL);
    *pages_out = pages;
    return joined;
}

static void a_filter_over_all_ranges(void **state)
{
    struct world *w = *state;
    world_container(w);
    fill(w, 60);
    struct response *r = query(w, "SELECT * FROM c", NULL, NULL, NULL);
    expect_status(r, 200);
    assert_int_equal(items(r), 60);
    expect_header(r, "x-ms-continuation", NULL);
    assert_non_null(resp_header(r, "x-ms-session-token"));
    assert_non_null(resp_header(r, "x-ms-alt-content-path"));
    assert_true(atof(resp_header(r, "x-ms-request-charge")) >= 2.27);
    expect_rows(
        query(w, "SELECT VALUE c.n FROM c WHERE c.n = 17", NULL, NULL, NULL),
        "17");
    expect_rows(
        query(w, "SELECT VALUE c.n FROM c WHERE c.n > 100", NULL, NULL, NULL),
        "");
}

static void parameters_are_bound(void **state)
{
    struct world *w = *state;
    world_container(w);
    fill(w, 20);
    struct response *r =
        SEND(w, "POST", DOCS,
             "{\"query\":\"SELECT VALUE c.id FROM c WHERE c.n = @n\","
             "\"parameters\":[{\"name\":\"@n\",\"value\":7}]}",
             QUERY, CROSS);
    expect_rows(r, "\"7\"");
    expect_status(SEND(w, "POST", DOCS,
                       "{\"query\":\"SELECT VALUE c.id FROM c WHERE c.n = "
                       "@n\"}",
                       QUERY, CROSS),
                  400);
    expect_rows(SEND(w, "POST", DOCS, "SELECT VALUE c.n FROM c WHERE c.n = 3",
                     QUERY, CROSS, "Content-Type: application/sql"),
                "3");
}

static void pages_of_a_streamed_query_miss_nothing(void **state)
{
    struct world *w = *state;
    world_container(w);
    fill(w, 60);
    int pages;
    w->examine = 7;
    const char *joined = all(w, "SELECT VALUE c.n FROM c WHERE c.n >= 30",
                             "x-ms-max-item-count: 4", &pages);
    assert_true(pages >= 8);
    bool seen[60] = {false};
    int count = 0;
    for (const char *p = joined; p != NULL; p = strchr(p, ',')) {
        p += *p == ',';
        int n = atoi(p);
        assert_true(n >= 30 && n < 60 && !seen[n]);
        seen[n] = true;
        count++;
    }
    assert_int_equal(count, 30);
}

static void one_partition_asks_one_shard(void **state)
{
    struct world *w = *state;
    world_container(w);
    fill(w, 40);
    w->ops[OP_SCAN] = 0;
    struct response *r =
        query(w, "SELECT * FROM c", "x-ms-documentdb-partitionkey: [\"k3\"]",
              NULL, NULL);
    expect_status(r, 200);
    assert_int_equal(items(r), 2);
    assert_int_equal(w->ops[OP_SCAN], 1);
    /* The same by the filter. */
    r = query(w, "SELECT * FROM c WHERE c.pk = 'k3' AND c.n > 10", NULL, NULL,
              NULL);
    assert_int_equal(items(r), 1);
    assert_int_equal(w->ops[OP_SCAN], 2);
    assert_non_null(resp_header(r, "x-ms-documentdb-partitionkeyrangeid"));
}

static void a_filter_on_zero_finds_both_zeros(void **state)
{
    struct world *w = *state;
    world_container(w);
    expect_status(SEND(w, "POST", DOCS, "{\"id\":\"1\",\"pk\":0}",
                       "x-ms-documentdb-partitionkey: [0]"),
                  201);
    expect_status(SEND(w, "POST", DOCS, "{\"id\":\"2\",\"pk\":-0}",
                       "x-ms-documentdb-partitionkey: [-0]"),
                  201);
    assert_int_equal(
        items(query(w, "SELECT * FROM c WHERE c.pk = 0", NULL, NULL, NULL)), 2);
}

static void a_range_is_queried_alone(void **state)
{
    struct world *w = *state;
    world_container(w);
    fill(w, 40);
    int total = 0;
    for (int i = 0; i < 2; i++) {
        char line[64];
        snprintf(line, sizeof(line), "x-ms-documentdb-partitionkeyrangeid: %d",
                 i);
        struct response *r = query(w, "SELECT * FROM c", line, NULL, NULL);
        expect_status(r, 200);
        total += items(r);
    }
    assert_int_equal(total, 40);
    expect_failure(query(w, "SELECT * FROM c",
                         "x-ms-documentdb-partitionkeyrangeid: 9", NULL, NULL),
                   410, "1002", "");
}

static void aggregates_are_merged(void **state)
{
    struct world *w = *state;
    world_container(w);
    fill(w, 60);
    expect_rows(query(w, "SELECT VALUE COUNT(1) FROM c", NULL, NULL, NULL),
                "60");
    expect_rows(query(w, "SELECT VALUE COUNT(1) FROM c WHERE c.n < 10",
                      "x-ms-max-item-count: 1", NULL, NULL),
                "10");
    expect_rows(query(w, "SELECT VALUE COUNT(1) FROM c WHERE c.n < 0", NULL,
                      NULL, NULL),
                "0");
}

/* Rows 59, 58, ... `last`, joined. */
static const char *descending(int first, int last)
{
    static char text[4096];
    size_t len = 0;
    for (int i = first; i >= last; i--)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%d",
                                i < first ? "," : "", i);
    return text;
}

static void ordered_rows_over_all_ranges(void **state)
{
    struct world *w = *state;
    world_container(w);
    fill(w, 60);
    int pages;
    struct response *r =
        query(w, "SELECT VALUE c.n FROM c ORDER BY c.n DESC", NULL, NULL, NULL);
    if (r->status == 400)
        skip(); /* the language does not have it yet */
    expect_rows(r, descending(59, 0));
    assert_string_equal(all(w, "SELECT VALUE c.n FROM c ORDER BY c.n DESC",
                            "x-ms-max-item-count: 7", &pages),
                        descending(59, 0));
    assert_int_equal(pages, 9);
    assert_string_equal(all(w,
                            "SELECT TOP 10 VALUE c.n FROM c ORDER BY c.n DESC",
                            "x-ms-max-item-count: 4", &pages),
                        descending(59, 50));
    assert_string_equal(
        all(w, "SELECT VALUE c.n FROM c ORDER BY c.n DESC OFFSET 5 LIMIT 6",
            "x-ms-max-item-count: 4", &pages),
        descending(54, 49));
}

/* Order by texts of this length, which are in the token up to a point. */
static void order_by_long_texts(struct world *w, int len)
{
    char body[8192];
    int pages;
    for (int i = 0; i < 6; i++) {
        snprintf(body, sizeof(body),
                 "{\"id\":\"%d\",\"pk\":\"k%d\",\"n\":%d,\"s\":\"%0*d\"}", i, i,
                 i, len, i);
        char line[64];
        snprintf(line, sizeof(line), "x-ms-documentdb-partitionkey: [\"k%d\"]",
                 i);
        expect_status(SEND(w, "POST", DOCS, body, line,
                           "x-ms-documentdb-is-upsert: true"),
                      len == 10 ? 201 : 200);
    }
    assert_string_equal(all(w, "SELECT VALUE c.n FROM c ORDER BY c.s DESC",
                            "x-ms-max-item-count: 2", &pages),
                        "5,4,3,2,1,0");
    assert_int_equal(pages, 3);
}

static void tokens_stay_short_whatever_the_order_is_by(void **state)
{
    struct world *w = *state;
    world_container(w);
    static const int lengths[] = {10,  400, 480, 490, 495, 500, 505,
                                  510, 511, 512, 513, 600, 5000};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
        order_by_long_texts(w, lengths[i]);
}

static void limits_hold_across_pages_and_ranges(void **state)
{
    struct world *w = *state;
    world_container(w);
    fill(w, 60);
    struct response *r = query(w, "SELECT TOP 5 * FROM c", NULL, NULL, NULL);
    if (r->status == 400)
        skip();
    assert_int_equal(items(r), 5);
    expect_header(r, "x-ms-continuation", NULL);
    int pages, commas = 0;
    w->examine = 4;
    for (const char *p = all(w, "SELECT VALUE c.n FROM c OFFSET 20 LIMIT 25",
                             "x-ms-max-item-count: 10", &pages);
         *p != '\0'; p++)
        commas += *p == ',';
    assert_int_equal(commas, 24);
    assert_int_equal(items(query(w, "SELECT TOP 0 * FROM c", NULL, NULL, NULL)),
                     0);
}

static void a_query_without_from(void **state)
{
    struct world *w = *state;
    world_container(w);
    struct response *r = query(w, "SELECT VALUE 1", NULL, NULL, NULL);
    expect_rows(r, "1");
    assert_int_equal(w->ops[OP_SCAN], 0);
}

static void errors_name_code_and_place(void **state)
{
    struct world *w = *state;
    world_container(w);
    struct response *r = query(w, "SELECT FROM WHERE", NULL, NULL, NULL);
    expect_failure(r, 400, NULL, "SC1001");
    expect_contains(r, "Message: {\\\"errors\\\":[{\\\"severity\\\":\\\"Error");
    expect_contains(r, "location");
    static const char *const bodies[] = {"", "[]", "{}", "{\"query\":5}",
                                         "{\"query\":\"SELECT * FROM c\","
                                         "\"parameters\":{}}"};
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
        expect_failure(SEND(w, "POST", DOCS, bodies[i], QUERY, CROSS), 400,
                       NULL, "BadRequest");
    expect_failure(
        SEND(w, "POST", DOCS, "{\"query\":\"SELECT * FROM c\"}", QUERY), 400,
        NULL, "Cross partition query is required but disabled");
}

static void tokens_belong_to_one_query(void **state)
{
    struct world *w = *state;
    world_container(w);
    fill(w, 40);
    char line[10000];
    struct response *r =
        query(w, "SELECT * FROM c", "x-ms-max-item-count: 3", NULL, NULL);
    snprintf(line, sizeof(line), "x-ms-continuation: %s",
             resp_header(r, "x-ms-continuation"));
    expect_status(query(w, "SELECT * FROM c", line, NULL, NULL), 200);
    expect_failure(query(w, "SELECT VALUE c.n FROM c", line, NULL, NULL), 400,
                   NULL, "Invalid Continuation Token");
    expect_failure(query(w, "SELECT VALUE COUNT(1) FROM c", line, NULL, NULL),
                   400, NULL, "Invalid Continuation Token");
    expect_failure(SEND(w, "GET", DOCS, "", line), 400, NULL,
                   "Invalid Continuation Token");
}

static void metrics_on_demand(void **state)
{
    struct world *w = *state;
    world_container(w);
    fill(w, 20);
    struct response *r =
        query(w, "SELECT * FROM c WHERE c.n = 1",
              "x-ms-documentdb-populatequerymetrics: True", NULL, NULL);
    const char *metrics = resp_header(r, "x-ms-documentdb-query-metrics");
    assert_non_null(strstr(metrics, "retrievedDocumentCount=20;"));
    assert_non_null(strstr(metrics, "outputDocumentCount=1;"));
}

static void shards_that_fail_are_told(void **state)
{
    struct world *w = *state;
    world_container(w);
    fill(w, 20);
    w->fail_kind = OP_SCAN;
    w->fail_err = ERR_UNAVAILABLE;
    expect_status(query(w, "SELECT VALUE COUNT(1) FROM c", NULL, NULL, NULL),
                  503);
    w->fail_err = ERR_LIMIT;
    expect_failure(query(w, "SELECT VALUE COUNT(1) FROM c", NULL, NULL, NULL),
                   400, NULL, "intermediate results in memory");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_new, world_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_filter_over_all_ranges),
        TEST(parameters_are_bound),
        TEST(pages_of_a_streamed_query_miss_nothing),
        TEST(one_partition_asks_one_shard),
        TEST(a_filter_on_zero_finds_both_zeros),
        TEST(a_range_is_queried_alone),
        TEST(aggregates_are_merged),
        TEST(ordered_rows_over_all_ranges),
        TEST(tokens_stay_short_whatever_the_order_is_by),
        TEST(limits_hold_across_pages_and_ranges),
        TEST(a_query_without_from),
        TEST(errors_name_code_and_place),
        TEST(tokens_belong_to_one_query),
        TEST(metrics_on_demand),
        TEST(shards_that_fail_are_told),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    world_forget();
    return failed;
}
