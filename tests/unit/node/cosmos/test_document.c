/* Documents: create, upsert, replace, read, delete; and every bad input. */
#include "tests/unit/node/cosmos/fake.h"

#define DOCS "/dbs/d/colls/c/docs"
#define PK_A "x-ms-documentdb-partitionkey: [\"a\"]"
#define DOC_1 "{\"id\":\"1\",\"pk\":\"a\",\"n\":1}"

static struct response *create(struct world *w, const char *body)
{
    return SEND(w, "POST", DOCS, body, PK_A);
}

static size_t documents(const struct world *w)
{
    return w->shards[1].count + w->shards[2].count;
}

/* ---- operations ---------------------------------------------------------- */

static void a_document_is_created_and_read(void **state)
{
    struct world *w = *state;
    world_container(w);
    struct response *r = create(w, DOC_1);
    expect_status(r, 201);
    static const char *const parts[] = {
        "{\"id\":\"1\",\"pk\":\"a\",\"n\":1,\"_rid\":\"", "\"_self\":\"dbs/",
        "\"_etag\":\"\\\"", "\"_attachments\":\"attachments/\"", "\"_ts\":"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        expect_contains(r, parts[i]);
    expect_header(r, "x-ms-request-charge", "5.71");
    expect_header(r, "x-ms-alt-content-path", "dbs/d/colls/c");
    expect_header(r, "x-ms-version", "2020-07-15");
    assert_int_equal(strlen(resp_header(r, "x-ms-content-path")), 12);
    char etag[64], body[1024], range[16], session[64];
    snprintf(etag, sizeof(etag), "%s", resp_header(r, "etag"));
    snprintf(body, sizeof(body), "%s", resp_body(r));
    snprintf(range, sizeof(range), "%s",
             resp_header(r, "x-ms-documentdb-partitionkeyrangeid"));
    snprintf(session, sizeof(session), "%s:1#1#1=1", range);
    expect_header(r, "x-ms-session-token", session);
    assert_int_equal(w->last_shard, 1 + atoi(range));

    r = SEND(w, "GET", DOCS "/1", "", PK_A);
    expect_status(r, 200);
    assert_string_equal(resp_body(r), body);
    expect_header(r, "etag", etag);
    expect_header(r, "x-ms-session-token", session);
    expect_header(r, "x-ms-alt-content-path", "dbs/d/colls/c");
    expect_header(r, "x-ms-request-charge", "1.00");
    expect_failure(create(w, DOC_1), 409, NULL,
                   "Entity with the specified id already exists");
    r = SEND(w, "GET", DOCS "/2", "", PK_A);
    expect_failure(r, 404, NULL, "Entity with the specified id does not exist");
    assert_non_null(resp_header(r, "x-ms-session-token"));
    expect_status(
        SEND(w, "GET", DOCS "/1", "", "x-ms-documentdb-partitionkey: [\"b\"]"),
        404);
}

static void a_not_modified_document_is_304(void **state)
{
    struct world *w = *state;
    world_container(w);
    char line[128];
    snprintf(line, sizeof(line), "If-None-Match: %s",
             resp_header(create(w, DOC_1), "etag"));
    struct response *r = SEND(w, "GET", DOCS "/1", "", PK_A, line);
    expect_status(r, 304);
    expect_header(r, "etag", line + 15);
    expect_status(SEND(w, "GET", DOCS "/1", "", PK_A, "If-None-Match: \"x\""),
                  200);
}

static void an_upsert_creates_then_replaces(void **state)
{
    struct world *w = *state;
    world_container(w);
    static const char upsert[] = "x-ms-documentdb-is-upsert: True";
    struct response *r =
        SEND(w, "POST", DOCS, DOC_1, PK_A, upsert, "If-Match: \"none\"");
    expect_status(r, 201);
    r = SEND(w, "POST", DOCS, "{\"id\":\"1\",\"pk\":\"a\",\"n\":2}", PK_A,
             upsert);
    expect_status(r, 200);
    expect_contains(r, "\"n\":2");
    expect_failure(
        SEND(w, "POST", DOCS, DOC_1, PK_A, upsert, "If-Match: \"old\""), 412,
        NULL, "One of the specified pre-condition is not met");
    expect_status(
        SEND(w, "POST", DOCS, DOC_1, PK_A, upsert, "If-None-Match: *"), 412);
    assert_int_equal(documents(w), 1);
}

static void a_replace_needs_a_document_and_its_etag(void **state)
{
    struct world *w = *state;
    world_container(w);
    expect_status(SEND(w, "PUT", DOCS "/1", DOC_1, PK_A), 404);
    char line[128];
    snprintf(line, sizeof(line), "If-Match: %s",
             resp_header(create(w, DOC_1), "etag"));
    struct response *r = SEND(w, "PUT", DOCS "/1", DOC_1, PK_A, line);
    expect_status(r, 200);
    expect_failure(SEND(w, "PUT", DOCS "/1", DOC_1, PK_A, line), 412, NULL,
                   "One of the specified pre-condition is not met");
    expect_status(SEND(w, "PUT", DOCS "/1", DOC_1, PK_A, "If-Match: *"), 200);
    expect_failure(SEND(w, "PUT", DOCS "/2", DOC_1, PK_A), 400, NULL,
                   "does not match the id");
    expect_failure(
        SEND(w, "PUT", DOCS "/1", "{\"id\":\"1\",\"pk\":\"b\"}", PK_A), 400,
        "1001", "PartitionKey extracted from document doesn't match");
}

static void a_delete_is_204_then_404(void **state)
{
    struct world *w = *state;
    world_container(w);
    create(w, DOC_1);
    expect_status(SEND(w, "DELETE", DOCS "/1", "", PK_A, "If-Match: \"x\""),
                  412);
    struct response *r = SEND(w, "DELETE", DOCS "/1", "", PK_A);
    expect_status(r, 204);
    assert_string_equal(resp_body(r), "");
    assert_non_null(resp_header(r, "x-ms-session-token"));
    assert_non_null(resp_header(r, "x-ms-alt-content-path"));
    expect_status(SEND(w, "DELETE", DOCS "/1", "", PK_A), 404);
    assert_int_equal(documents(w), 0);
}

static void minimal_answers_have_no_body(void **state)
{
    struct world *w = *state;
    world_container(w);
    struct response *r =
        SEND(w, "POST", DOCS, DOC_1, PK_A, "Prefer: return=minimal");
    expect_status(r, 201);
    assert_string_equal(resp_body(r), "");
    assert_non_null(resp_header(r, "etag"));
    r = SEND(w, "PUT", DOCS "/1", DOC_1, PK_A,
             "x-ms-cosmos-populate-content-response-on-write: False");
    expect_status(r, 200);
    assert_string_equal(resp_body(r), "");
}

static void ids_may_be_anything_but_slashes(void **state)
{
    struct world *w = *state;
    world_container(w);
    static const char *const ids[][2] = {
        {"a?b", "a?b"},           {" a ", "%20a%20"},     {"a%20b", "a%2520b"},
        {"a+b", "a+b"},           {"\xc3\xa9", "%C3%A9"}, {"'q'", "'q'"},
        {"AAAAAA==", "AAAAAA=="},
    };
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        char body[128], path[128];
        snprintf(body, sizeof(body), "{\"id\":\"%s\",\"pk\":\"a\"}", ids[i][0]);
        snprintf(path, sizeof(path), DOCS "/%s", ids[i][1]);
        expect_status(create(w, body), 201);
        expect_status(SEND(w, "GET", path, "", PK_A), 200);
    }
}

static void a_document_is_found_by_its_rid(void **state)
{
    struct world *w = *state;
    world_container(w);
    struct response *r = create(w, DOC_1);
    const char *self = strstr(resp_body(r), "\"_self\":\"");
    char path[256];
    snprintf(path, sizeof(path), "/%.*s", (int)strcspn(self + 9, "\""),
             self + 9);
    w->examine = 1;
    create(w, "{\"id\":\"0\",\"pk\":\"a\"}");
    r = SEND(w, "GET", path, "", PK_A);
    expect_status(r, 200);
    expect_contains(r, "\"id\":\"1\"");
    expect_status(SEND(w, "PUT", path, DOC_1, PK_A), 200);
    expect_status(SEND(w, "DELETE", path, "", PK_A), 204);
    expect_status(SEND(w, "GET", path, "", PK_A), 404);
    expect_status(SEND(w, "GET", path, ""), 400);
}

static void system_properties_and_order_are_kept_right(void **state)
{
    struct world *w = *state;
    world_container(w);
    struct response *r =
        create(w, " { \"z\" : 1.0 , \"_etag\":\"mine\", \"id\":\"1\", \"a\":"
                  "[1, 2], \"_ts\":5, \"pk\":\"a\", \"_rid\":\"x\" } ");
    expect_status(r, 201);
    expect_contains(r, "{\"z\":1.0,\"id\":\"1\",\"a\":[1,2],\"pk\":\"a\","
                       "\"_rid\":\"");
    assert_null(strstr(resp_body(r), "mine"));
    const char *first = strstr(resp_body(r), "\"_ts\"");
    assert_null(strstr(first + 1, "\"_ts\""));
}

/* ---- partition keys ------------------------------------------------------ */

static void every_kind_of_key_value(void **state)
{
    struct world *w = *state;
    world_container(w);
    static const char *const keys[][2] = {
        {"\"pk\":5", "[5]"},       {"\"pk\":5.5", "[5.5]"},
        {"\"pk\":true", "[true]"}, {"\"pk\":null", "[null]"},
        {"\"x\":1", "[{}]"},       {"\"pk\":\"\\u00e9\"", "[\"\\u00e9\"]"},
        {"\"pk\":[1]", "[{}]"},    {"\"pk\":{\"a\":1}", "[{}]"},
        {"\"pk\":\"\"", "[\"\"]"},
    };
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        char body[128], line[128], path[64];
        snprintf(body, sizeof(body), "{\"id\":\"%zu\",%s}", i, keys[i][0]);
        snprintf(line, sizeof(line), "x-ms-documentdb-partitionkey: %s",
                 keys[i][1]);
        snprintf(path, sizeof(path), DOCS "/%zu", i);
        expect_status(SEND(w, "POST", DOCS, body, line), 201);
        expect_status(SEND(w, "GET", path, "", line), 200);
    }
    /* One id in many partitions is many documents. */
    expect_status(create(w, "{\"id\":\"0\",\"pk\":\"a\"}"), 201);
}

static void key_headers_missing_malformed_or_mismatching(void **state)
{
    struct world *w = *state;
    world_container(w);
    expect_failure(SEND(w, "POST", DOCS, DOC_1), 400, NULL,
                   "PartitionKey value must be supplied for this operation.");
    expect_failure(SEND(w, "GET", DOCS "/1", ""), 400, NULL,
                   "PartitionKey value must be supplied for this operation.");
    expect_status(SEND(w, "DELETE", DOCS "/1", ""), 400);
    static const char *const bad[] = {
        "x-ms-documentdb-partitionkey: a",
        "x-ms-documentdb-partitionkey: [\"a\"",
        "x-ms-documentdb-partitionkey: {\"a\":1}",
        "x-ms-documentdb-partitionkey: [[1]]",
        "x-ms-documentdb-partitionkey: [{\"a\":1}]",
        "x-ms-documentdb-partitionkey: [\"a\",\"b\"]",
        "x-ms-documentdb-partitionkey: [1e999]",
        "x-ms-documentdb-partitionkey: [\"\\ud800\"]",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        expect_failure(SEND(w, "POST", DOCS, DOC_1, bad[i]), 400, NULL, "");
        expect_status(SEND(w, "GET", DOCS "/1", "", bad[i]), 400);
    }
    expect_failure(
        SEND(w, "POST", DOCS, DOC_1, "x-ms-documentdb-partitionkey: [\"b\"]"),
        400, "1001",
        "PartitionKey extracted from document doesn't match the one "
        "specified in the header");
    assert_int_equal(documents(w), 0);
}

static void hierarchical_keys_must_be_complete(void **state)
{
    struct world *w = *state;
    expect_status(SEND(w, "POST", "/dbs", "{\"id\":\"d\"}"), 201);
    expect_status(
        SEND(w, "POST", "/dbs/d/colls",
             "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/t\",\"/u\""
             "],\"kind\":\"MultiHash\",\"version\":2}}"),
        201);
    static const char doc[] = "{\"id\":\"1\",\"t\":\"x\",\"u\":7}";
    static const char key[] = "x-ms-documentdb-partitionkey: [\"x\",7]";
    expect_status(SEND(w, "POST", DOCS, doc, key), 201);
    expect_status(SEND(w, "GET", DOCS "/1", "", key), 200);
    expect_failure(
        SEND(w, "GET", DOCS "/1", "", "x-ms-documentdb-partitionkey: [\"x\"]"),
        400, NULL, "has fewer components than defined in the");
}

/* ---- bad bodies ---------------------------------------------------------- */

static void bodies_that_are_no_json_object(void **state)
{
    struct world *w = *state;
    world_container(w);
    static const char *const bad[] = {
        "",
        "not json",
        "{\"id\":\"1\"",
        "{'id':1}",
        "[]",
        "null",
        "\"x\"",
        "5",
        "{\"id\":\"1\",\"pk\":\"a\"}x",
        "{\"id\":\"1\",\"pk\":\"a\",\"n\":1e999}",
        "{\"id\":\"1\",\"pk\":\"a\",\"s\":\"\\ud800\"}",
        "{\"id\":\"1\",\"pk\":\"a\",\"s\":\"\\udc00x\"}",
        "{\"id\":\"1\",\"pk\":\"a\",\"s\":\"\xff\"}",
        "{\"id\":\"1\",\"pk\":\"a\",\"s\":\"\xed\xa0\x80\"}",
        "{\"id\":\"1\",\"pk\":\"a\",\"s\":\"\x01\"}",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        expect_failure(create(w, bad[i]), 400, NULL, "BadRequest");
    assert_int_equal(documents(w), 0);
    expect_contains(create(w, "{\"id\":\"1\",\"n\":1e999}"),
                    "number does not fit a double");
}

/* A document whose property `v` is `depth` arrays. */
static struct response *create_deep(struct world *w, size_t depth)
{
    static char body[4096];
    int n = snprintf(body, sizeof(body), "{\"id\":\"1\",\"pk\":\"a\",\"v\":");
    memset(body + n, '[', depth);
    memset(body + n + depth, ']', depth);
    body[(size_t)n + 2 * depth] = '}';
    body[(size_t)n + 2 * depth + 1] = '\0';
    return create(w, body);
}

static void bodies_that_are_too_deep(void **state)
{
    struct world *w = *state;
    world_container(w);
    expect_failure(create_deep(w, JSON_DEPTH_MAX), 400, NULL,
                   "nested too deeply");
    expect_status(create_deep(w, JSON_DEPTH_MAX - 1), 201);
}

static void bodies_that_are_too_large(void **state)
{
    struct world *w = *state;
    world_container(w);
    static const char head[] = "{\"id\":\"1\",\"pk\":\"a\",\"v\":\"";
    char *body = mem_alloc(OP_DOCUMENT_MAX + 16);
    memset(body, 'x', OP_DOCUMENT_MAX + 16);
    memcpy(body, head, sizeof(head) - 1);
    memcpy(body + OP_DOCUMENT_MAX - 1, "\"}", 2);
    expect_failure(world_send_bytes(w, "POST", DOCS,
                                    bytes_of(body, OP_DOCUMENT_MAX + 1),
                                    LINES(PK_A)),
                   413, NULL, "Request size is too large");
    memcpy(body + OP_DOCUMENT_MAX - 2, "\"}", 2);
    expect_status(world_send_bytes(w, "POST", DOCS,
                                   bytes_of(body, OP_DOCUMENT_MAX),
                                   LINES(PK_A)),
                  201);
    mem_free(body);
}

static void duplicate_keys_the_last_wins_and_is_stored_once(void **state)
{
    struct world *w = *state;
    world_container(w);
    struct response *r = create(w, "{\"id\":\"x\",\"pk\":\"b\",\"n\":1,\"id\":"
                                   "\"1\",\"pk\":\"a\",\"n\":2}");
    expect_status(r, 201);
    expect_contains(r, "{\"id\":\"1\",\"pk\":\"a\",\"n\":2,\"_rid\"");
    expect_status(SEND(w, "GET", DOCS "/1", "", PK_A), 200);
}

static void ids_missing_empty_too_long_or_with_slashes(void **state)
{
    struct world *w = *state;
    world_container(w);
    static const char *const none[] = {
        "{\"pk\":\"a\"}", "{\"id\":5,\"pk\":\"a\"}",
        "{\"id\":null,\"pk\":\"a\"}", "{\"id\":\"\",\"pk\":\"a\"}"};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        expect_failure(create(w, none[i]), 400, NULL,
                       "The input content is invalid because the required "
                       "properties - 'id; ' - are missing");
    expect_status(create(w, "{\"id\":\"a/b\",\"pk\":\"a\"}"), 400);
    expect_status(create(w, "{\"id\":\"a\\\\b\",\"pk\":\"a\"}"), 400);
    char body[1100];
    snprintf(body, sizeof(body), "{\"id\":\"%01024d\",\"pk\":\"a\"}", 0);
    expect_status(create(w, body), 400);
    assert_int_equal(documents(w), 0);
    snprintf(body, sizeof(body), "{\"id\":\"%01023d\",\"pk\":\"a\"}", 0);
    expect_status(create(w, body), 201);
}

static void ttl_must_be_a_positive_integer_or_minus_one(void **state)
{
    struct world *w = *state;
    world_container(w);
    static const char *const bad[] = {"0",   "-10",   "null",
                                      "1.5", "\"5\"", "4294967296"};
    char body[128];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(body, sizeof(body), "{\"id\":\"1\",\"pk\":\"a\",\"ttl\":%s}",
                 bad[i]);
        expect_status(create(w, body), 400);
    }
    expect_status(create(w, "{\"id\":\"1\",\"pk\":\"a\",\"ttl\":-1}"), 201);
    expect_status(create(w, "{\"id\":\"2\",\"pk\":\"a\",\"ttl\":30}"), 201);
}

/* ---- operating errors ---------------------------------------------------- */

static void each_error_of_a_shard_has_its_status(void **state)
{
    struct world *w = *state;
    world_container(w);
    static const struct {
        int err;
        int status;
        const char *substatus;
        const char *text;
    } cases[] = {
        {ERR_UNAVAILABLE, 503, NULL, "nothing was applied"},
        {ERR_TIMEOUT, 408, NULL, "may or may not"},
        {ERR_THROTTLED, 429, "3200", "Request rate is large"},
        {ERR_NO_SPACE, 503, NULL, "disk is full"},
        {ERR_CORRUPT, 500, NULL, "damaged"},
        {ERR_LIMIT, 413, NULL, "Request size is too large"},
        {ERR_NO_MEMORY, 503, NULL, "ServiceUnavailable"},
        {ERR_IO, 503, NULL, "disk"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        w->fail_kind = OP_WRITE;
        w->fail_err = cases[i].err;
        struct response *r = create(w, DOC_1);
        expect_failure(r, cases[i].status, cases[i].substatus, cases[i].text);
        expect_header(r, "x-ms-retry-after-ms",
                      cases[i].err == ERR_THROTTLED ? "17" : NULL);
    }
    expect_status(create(w, DOC_1), 201);
}

static void an_answer_may_come_later(void **state)
{
    struct world *w = *state;
    world_container(w);
    w->deferred = true;
    struct response *r = create(w, DOC_1);
    assert_int_equal(r->status, 0);
    assert_int_equal(cosmos_running(w->cosmos), 1);
    world_deliver(w);
    expect_status(r, 201);
    assert_int_equal(cosmos_running(w->cosmos), 0);
}

static void names_in_other_scripts_stay_out_of_headers(void **state)
{
    struct world *w = *state;
    expect_status(SEND(w, "POST", "/dbs", "{\"id\":\"d\xc3\xa9 x\"}"), 201);
    expect_status(SEND(w, "POST", "/dbs/d%C3%A9%20x/colls",
                       "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/pk\"]}}"),
                  201);
    expect_header(SEND(w, "POST", "/dbs/d%C3%A9%20x/colls/c/docs", DOC_1, PK_A),
                  "x-ms-alt-content-path", "dbs/d%C3%A9 x/colls/c");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_new, world_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_document_is_created_and_read),
        TEST(a_not_modified_document_is_304),
        TEST(an_upsert_creates_then_replaces),
        TEST(a_replace_needs_a_document_and_its_etag),
        TEST(a_delete_is_204_then_404),
        TEST(minimal_answers_have_no_body),
        TEST(ids_may_be_anything_but_slashes),
        TEST(a_document_is_found_by_its_rid),
        TEST(system_properties_and_order_are_kept_right),
        TEST(every_kind_of_key_value),
        TEST(key_headers_missing_malformed_or_mismatching),
        TEST(hierarchical_keys_must_be_complete),
        TEST(bodies_that_are_no_json_object),
        TEST(bodies_that_are_too_deep),
        TEST(bodies_that_are_too_large),
        TEST(duplicate_keys_the_last_wins_and_is_stored_once),
        TEST(ids_missing_empty_too_long_or_with_slashes),
        TEST(ttl_must_be_a_positive_integer_or_minus_one),
        TEST(each_error_of_a_shard_has_its_status),
        TEST(an_answer_may_come_later),
        TEST(names_in_other_scripts_stay_out_of_headers),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    world_forget();
    return failed;
}
