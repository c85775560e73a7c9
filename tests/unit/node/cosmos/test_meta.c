/* Databases, containers and partition key ranges. */
#include "tests/unit/node/cosmos/fake.h"

#define CONTAINER_C                                                            \
    "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\","   \
    "\"version\":2}}"

/* ---- databases ----------------------------------------------------------- */

static void a_database_is_created_and_read(void **state)
{
    struct world *w = *state;
    struct response *r = SEND(w, "POST", "/dbs", "{\"id\":\"d\"}");
    expect_status(r, 201);
    static const char *const parts[] = {
        "\"id\":\"d\"",     "\"_rid\":\"",           "\"_self\":\"dbs/",
        "\"_etag\":\"\\\"", "\"_colls\":\"colls/\"", "\"_users\":\"users/\"",
        "\"_ts\":"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        expect_contains(r, parts[i]);
    char etag[64], body[1024];
    snprintf(etag, sizeof(etag), "%s", resp_header(r, "etag"));
    snprintf(body, sizeof(body), "%s", resp_body(r));
    assert_int_equal(etag[0], '"');
    r = SEND(w, "GET", "/dbs/d", "");
    expect_status(r, 200);
    assert_string_equal(resp_body(r), body);
    expect_header(r, "etag", etag);
    char line[128];
    snprintf(line, sizeof(line), "If-None-Match: %s", etag);
    r = SEND(w, "GET", "/dbs/d", "", line);
    expect_status(r, 304);
    assert_string_equal(resp_body(r), "");
    expect_header(r, "etag", etag);
    expect_status(SEND(w, "POST", "/dbs", "{\"id\":\"d\"}"), 409);
    expect_failure(SEND(w, "GET", "/dbs/x", ""), 404, NULL,
                   "Resource Not Found");
}

static void a_database_is_found_by_its_rid(void **state)
{
    struct world *w = *state;
    world_container(w);
    struct catalog_database *d = catalog_database(w->catalog, bytes_str("d"));
    struct container_def *c = catalog_container(w->catalog, d, bytes_str("c"));
    char rid[RID_TEXT_MAX], crid[RID_TEXT_MAX], path[128];
    rid_format(&d->rid, rid);
    rid_format(&c->rid, crid);
    snprintf(path, sizeof(path), "/dbs/%s/colls/%s/", rid, crid);
    expect_contains(SEND(w, "GET", path, ""), "\"id\":\"c\"");
    snprintf(path, sizeof(path), "/dbs/%s/colls/%s/pkranges", rid, crid);
    expect_status(SEND(w, "GET", path, ""), 200);
}

static void bad_database_bodies_are_refused(void **state)
{
    struct world *w = *state;
    static const char *const bad[] = {"",
                                      "x",
                                      "[]",
                                      "null",
                                      "{}",
                                      "{\"id\":5}",
                                      "{\"id\":\"\"}",
                                      "{\"id\":\"a/b\"}",
                                      "{\"id\":\"a\\\\b\"}",
                                      "{\"id\":\"a?b\"}",
                                      "{\"id\":\"a#b\"}",
                                      "{\"id\":\"a \"}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        expect_failure(SEND(w, "POST", "/dbs", bad[i]), 400, NULL,
                       "BadRequest");
    char longest[400];
    snprintf(longest, sizeof(longest), "{\"id\":\"%0256d\"}", 0);
    expect_status(SEND(w, "POST", "/dbs", longest), 400);
    snprintf(longest, sizeof(longest), "{\"id\":\"%0255d\"}", 0);
    expect_status(SEND(w, "POST", "/dbs", longest), 201);
    assert_int_equal(catalog_database_count(w->catalog), 1);
}

static void databases_are_listed_in_pages(void **state)
{
    struct world *w = *state;
    char body[64], line[2100];
    for (int i = 0; i < 130; i++) {
        snprintf(body, sizeof(body), "{\"id\":\"d%d\"}", i);
        expect_status(SEND(w, "POST", "/dbs", body), 201);
    }
    struct response *r = SEND(w, "GET", "/dbs", "");
    expect_header(r, "x-ms-item-count", "100");
    expect_contains(r, "{\"_rid\":\"\",\"Databases\":[{");
    snprintf(line, sizeof(line), "x-ms-continuation: %s",
             resp_header(r, "x-ms-continuation"));
    assert_true(strlen(line) < 1024);
    r = SEND(w, "GET", "/dbs", "", line);
    expect_status(r, 200);
    expect_header(r, "x-ms-item-count", "30");
    expect_header(r, "x-ms-continuation", NULL);
    expect_contains(r, "\"id\":\"d129\"");
    r = SEND(w, "GET", "/dbs", "", "x-ms-max-item-count: -1");
    expect_header(r, "x-ms-item-count", "130");
    r = SEND(w, "GET", "/dbs", "", "x-ms-max-item-count: 130");
    expect_header(r, "x-ms-continuation", NULL);
    expect_status(SEND(w, "GET", "/dbs", "", "x-ms-continuation: abc"), 400);
    expect_status(SEND(w, "GET", "/dbs", "", "x-ms-max-item-count: 0"), 400);
    /* A token of one listing is none of another. */
    expect_failure(SEND(w, "GET", "/dbs/d1/colls", "", line), 400, NULL,
                   "Invalid Continuation Token");
}

static void databases_are_queried(void **state)
{
    struct world *w = *state;
    expect_status(SEND(w, "POST", "/dbs", "{\"id\":\"d1\"}"), 201);
    expect_status(SEND(w, "POST", "/dbs", "{\"id\":\"d2\"}"), 201);
    struct response *r = SEND(w, "POST", "/dbs",
                              "{\"query\":\"SELECT * FROM root r WHERE r.id = "
                              "@id\",\"parameters\":[{\"name\":\"@id\","
                              "\"value\":\"d2\"}]}",
                              "x-ms-documentdb-isquery: true",
                              "Content-Type: application/query+json");
    expect_status(r, 200);
    expect_header(r, "x-ms-item-count", "1");
    expect_contains(r, "\"Databases\":[{\"id\":\"d2\"");
    expect_failure(SEND(w, "POST", "/dbs", "{\"query\":\"SELEKT\"}",
                        "x-ms-documentdb-isquery: true"),
                   400, NULL, "SC1001");
}

static void deleting_a_database_takes_its_containers(void **state)
{
    struct world *w = *state;
    world_container(w);
    expect_status(SEND(w, "POST", "/dbs", "{\"id\":\"other\"}"), 201);
    expect_status(SEND(w, "POST", "/dbs/other/colls", CONTAINER_C), 201);
    expect_status(SEND(w, "DELETE", "/dbs/d", "", "If-Match: \"wrong\""), 412);
    struct response *r = SEND(w, "DELETE", "/dbs/d", "");
    expect_status(r, 204);
    assert_string_equal(resp_body(r), "");
    expect_status(SEND(w, "GET", "/dbs/d", ""), 404);
    expect_failure(SEND(w, "GET", "/dbs/d/colls/c", ""), 404, "1003",
                   "Owner resource does not exist");
    expect_status(SEND(w, "GET", "/dbs/other/colls/c", ""), 200);
    assert_int_equal(catalog_container_count(w->catalog), 1);
    expect_status(SEND(w, "DELETE", "/dbs/d", ""), 404);
}

/* ---- the catalog's delay ------------------------------------------------- */

static void a_write_is_answered_when_the_catalog_has_it(void **state)
{
    struct world *w = *state;
    w->lag = true;
    world_container(w);
    expect_status(SEND(w, "GET", "/dbs/d/colls/c/pkranges", ""), 200);
}

static bool another_node_creates(struct world *w, const struct op *op)
{
    (void)op;
    (void)w;
    return true;
}

static void a_miss_is_looked_up_again_before_404(void **state)
{
    struct world *w = *state;
    world_container(w);
    /* Another node's create: applied by the shard, not yet in our catalog. */
    w->lag = true;
    w->before_write = another_node_creates;
    expect_status(
        SEND(w, "POST", "/dbs/d/colls",
             "{\"id\":\"c2\",\"partitionKey\":{\"paths\":[\"/pk\"]}}"),
        201);
    catalog_clear(w->catalog);
    w->lag = false;
    unsigned before = w->ops[OP_BARRIER];
    expect_failure(SEND(w, "GET", "/dbs/d/colls/c2/pkranges", ""), 404, "1003",
                   "");
    assert_int_equal(w->ops[OP_BARRIER], before + 1);
}

static void without_a_barrier_a_miss_is_503_not_404(void **state)
{
    struct world *w = *state;
    w->fail_kind = OP_BARRIER;
    w->fail_err = ERR_UNAVAILABLE;
    expect_failure(SEND(w, "GET", "/dbs/d/colls/c/docs/1", "",
                        "x-ms-documentdb-partitionkey: [\"a\"]"),
                   503, NULL, "ServiceUnavailable");
}

static void a_write_stays_a_success_when_the_barrier_fails(void **state)
{
    struct world *w = *state;
    w->fail_kind = OP_BARRIER;
    w->fail_err = ERR_TIMEOUT;
    expect_status(SEND(w, "POST", "/dbs", "{\"id\":\"d\"}"), 201);
}

/* ---- containers ---------------------------------------------------------- */

static void a_container_is_created_with_its_defaults(void **state)
{
    struct world *w = *state;
    expect_status(SEND(w, "POST", "/dbs", "{\"id\":\"d\"}"), 201);
    struct response *r = SEND(w, "POST", "/dbs/d/colls", CONTAINER_C,
                              "x-ms-offer-throughput: 400");
    expect_status(r, 201);
    static const char *const parts[] = {
        "\"id\":\"c\"",
        "\"paths\":[\"/pk\"]",
        "\"version\":2",
        "\"indexingMode\":\"consistent\"",
        "\"path\":\"/\\\"_etag\\\"/?\"",
        "\"conflictResolutionPolicy\"",
        "\"_docs\":\"docs/\"",
        "\"_conflicts\":\"conflicts/\"",
    };
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        expect_contains(r, parts[i]);
    assert_non_null(resp_header(r, "etag"));
    expect_status(SEND(w, "POST", "/dbs/d/colls", CONTAINER_C), 409);
    expect_failure(SEND(w, "POST", "/dbs/x/colls", CONTAINER_C), 404, "1003",
                   "Owner resource does not exist");
    expect_status(SEND(w, "POST", "/dbs/d/colls",
                       "{\"id\":\"e\",\"partitionKey\":{\"paths\":\"/pk\"}}"),
                  400);
    expect_status(SEND(w, "POST", "/dbs/d/colls",
                       "{\"partitionKey\":{\"paths\":[\"/pk\"]}}"),
                  400);
    expect_status(SEND(w, "GET", "/dbs/d/colls/e", ""), 404);
}

static bool database_vanishes(struct world *w, const struct op *op)
{
    if (op->resource != OP_RESOURCE_CONTAINER)
        return false;
    struct fake_record *r = fake_find(&w->shards[0], &op->parent);
    assert_non_null(r);
    fake_remove(w, &w->shards[0], r);
    return true;
}

static void a_container_needs_its_database_to_the_end(void **state)
{
    struct world *w = *state;
    expect_status(SEND(w, "POST", "/dbs", "{\"id\":\"d\"}"), 201);
    w->before_write = database_vanishes;
    expect_failure(SEND(w, "POST", "/dbs/d/colls", CONTAINER_C), 404, "1003",
                   "Owner resource does not exist");
}

static void a_container_read_can_tell_quotas(void **state)
{
    struct world *w = *state;
    world_container(w);
    struct response *r = SEND(w, "GET", "/dbs/d/colls/c", "",
                              "x-ms-documentdb-populatequotainfo: true");
    expect_status(r, 200);
    assert_non_null(strstr(resp_header(r, "x-ms-resource-quota"),
                           "collectionSize=10485760"));
    assert_non_null(resp_header(r, "x-ms-resource-usage"));
    expect_header(r, "x-ms-documentdb-collection-index-transformation-progress",
                  "100");
    expect_header(SEND(w, "GET", "/dbs/d/colls/c", ""), "x-ms-resource-quota",
                  NULL);
}

static void containers_are_listed_and_queried(void **state)
{
    struct world *w = *state;
    world_container(w);
    expect_status(
        SEND(w, "POST", "/dbs/d/colls",
             "{\"id\":\"c2\",\"partitionKey\":{\"paths\":[\"/pk\"]}}"),
        201);
    struct response *r =
        SEND(w, "GET", "/dbs/d/colls", "", "x-ms-max-item-count: 1");
    expect_header(r, "x-ms-item-count", "1");
    expect_contains(r, "\"DocumentCollections\":[{\"id\":\"c\"");
    char line[2048];
    snprintf(line, sizeof(line), "x-ms-continuation: %s",
             resp_header(r, "x-ms-continuation"));
    r = SEND(w, "GET", "/dbs/d/colls", "", line);
    expect_contains(r, "\"id\":\"c2\"");
    expect_header(r, "x-ms-continuation", NULL);
    r = SEND(w, "POST", "/dbs/d/colls",
             "{\"query\":\"SELECT VALUE r.id FROM r WHERE r.id > 'c'\"}",
             "x-ms-documentdb-isquery: true");
    expect_contains(r, "\"DocumentCollections\":[\"c2\"],\"_count\":1");
    expect_failure(SEND(w, "GET", "/dbs/x/colls", ""), 404, "1003", "");
}

static void a_container_is_replaced(void **state)
{
    struct world *w = *state;
    world_container(w);
    static const char with_ttl[] =
        "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\","
        "\"version\":2},\"defaultTtl\":60}";
    struct response *r = SEND(w, "PUT", "/dbs/d/colls/c", with_ttl);
    expect_status(r, 200);
    expect_contains(r, "\"defaultTtl\":60");
    expect_contains(SEND(w, "GET", "/dbs/d/colls/c", ""), "\"defaultTtl\":60");
    static const char other_key[] =
        "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/other\"],\"kind\":"
        "\"Hash\",\"version\":2}}";
    expect_status(SEND(w, "PUT", "/dbs/d/colls/c", other_key), 400);
    expect_status(SEND(w, "PUT", "/dbs/d/colls/c", "{\"id\":\"x\"}"), 400);
    expect_status(SEND(w, "PUT", "/dbs/d/colls/x", CONTAINER_C), 404);
    expect_status(
        SEND(w, "PUT", "/dbs/d/colls/c", CONTAINER_C, "If-Match: \"old\""),
        412);
}

static bool container_changes(struct world *w, const struct op *op)
{
    struct fake_record *r = fake_find(&w->shards[0], &op->at);
    assert_non_null(r);
    assert_int_equal(op->condition, OP_COND_IF_MATCH);
    r->etag.lsn = ++w->shards[0].lsn;
    /* The text of the catalog's copy changes with it. */
    char *at = strstr(r->json, "\"_etag\":\"\\\"");
    char etag[ETAG_TEXT_LEN + 1];
    etag_format(&r->etag, etag);
    memcpy(at + 11, etag + 1, ETAG_TEXT_LEN - 2);
    fake_change(w, false, r->at.container, r->record, r->etag.lsn, r->json);
    return true;
}

static void a_replace_that_loses_a_race_starts_over(void **state)
{
    struct world *w = *state;
    world_container(w);
    w->before_write = container_changes;
    expect_status(SEND(w, "PUT", "/dbs/d/colls/c", CONTAINER_C), 200);
    assert_int_equal(w->ops[OP_WRITE], 4);
}

static void a_recreated_container_has_another_rid(void **state)
{
    struct world *w = *state;
    world_container(w);
    char first[64];
    struct catalog_database *d = catalog_database(w->catalog, bytes_str("d"));
    rid_format(&catalog_container(w->catalog, d, bytes_str("c"))->rid, first);
    expect_status(SEND(w, "DELETE", "/dbs/d/colls/c", ""), 204);
    expect_failure(SEND(w, "GET", "/dbs/d/colls/c", ""), 404, NULL,
                   "Resource Not Found");
    expect_failure(SEND(w, "GET", "/dbs/d/colls/c/docs/1", "",
                        "x-ms-documentdb-partitionkey: [\"a\"]"),
                   404, "1003", "");
    expect_status(SEND(w, "POST", "/dbs/d/colls", CONTAINER_C), 201);
    struct response *r = SEND(w, "GET", "/dbs/d/colls/c", "");
    assert_null(strstr(resp_body(r), first));
    char line[128];
    snprintf(line, sizeof(line), "x-ms-cosmos-intended-collection-rid: %s",
             first);
    expect_failure(SEND(w, "GET", "/dbs/d/colls/c/docs/1", "", line,
                        "x-ms-documentdb-partitionkey: [\"a\"]"),
                   400, "1024", "");
}

/* ---- partition key ranges ------------------------------------------------ */

static void ranges_cover_the_hash_space(void **state)
{
    struct world *w = *state;
    world_container(w);
    struct response *r = SEND(w, "GET", "/dbs/d/colls/c/pkranges", "");
    expect_status(r, 200);
    expect_contains(r, "\"minInclusive\":\"\",\"maxExclusive\":"
                       "\"1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF\"");
    expect_contains(r, "\"minInclusive\":\"1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF\","
                       "\"maxExclusive\":\"FF\"");
    expect_contains(r, "\"id\":\"0\"");
    expect_contains(r, "\"id\":\"1\"");
    expect_contains(r, "\"_count\":2}");
    expect_contains(r, "\"parents\":[]");
    /* .NET, Java and Rust go on until they are told 304. */
    char line[128];
    snprintf(line, sizeof(line), "If-None-Match: %s", resp_header(r, "etag"));
    r = SEND(w, "GET", "/dbs/d/colls/c/pkranges", "", line,
             "A-IM: Incremental feed");
    expect_status(r, 304);
    assert_non_null(resp_header(r, "etag"));
    expect_status(SEND(w, "GET", "/dbs/d/colls/c/pkranges", "",
                       "If-None-Match: \"x\"", "A-IM: Incremental feed"),
                  200);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_new, world_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_database_is_created_and_read),
        TEST(a_database_is_found_by_its_rid),
        TEST(bad_database_bodies_are_refused),
        TEST(databases_are_listed_in_pages),
        TEST(databases_are_queried),
        TEST(deleting_a_database_takes_its_containers),
        TEST(a_write_is_answered_when_the_catalog_has_it),
        TEST(a_miss_is_looked_up_again_before_404),
        TEST(without_a_barrier_a_miss_is_503_not_404),
        TEST(a_write_stays_a_success_when_the_barrier_fails),
        TEST(a_container_is_created_with_its_defaults),
        TEST(a_container_needs_its_database_to_the_end),
        TEST(a_container_read_can_tell_quotas),
        TEST(containers_are_listed_and_queried),
        TEST(a_container_is_replaced),
        TEST(a_replace_that_loses_a_race_starts_over),
        TEST(a_recreated_container_has_another_rid),
        TEST(ranges_cover_the_hash_space),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    world_forget();
    return failed;
}
