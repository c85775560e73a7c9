/* Conflicts as clients see them: the feed, queries, point reads and deletes. */
#include "tests/unit/node/cosmos/fake.h"

#define CONFLICTS "/dbs/d/colls/c/conflicts"

/* The container's definition; it has no other. */
static struct container_def *container_of(struct world *w)
{
    struct catalog_database *db = catalog_database(w->catalog, bytes_str("d"));
    assert_non_null(db);
    return catalog_container(w->catalog, db, bytes_str("c"));
}

static void fill(struct world *w)
{
    world_container(w);
    expect_status(SEND(w, "POST", "/dbs/d/colls/c/docs",
                       "{\"id\":\"a\",\"pk\":\"k\"}",
                       "x-ms-documentdb-partitionkey: [\"k\"]"),
                  201);
    world_conflict(w, "c", 1, 11, "{\"id\":\"a\",\"pk\":\"k\",\"n\":1}");
    world_conflict(w, "c", 1, 12, NULL);
    world_conflict(w, "c", 2, 7, "{\"id\":\"b\",\"pk\":\"l\"}");
}

static void the_feed_has_them_all(void **state)
{
    struct world *w = *state;
    fill(w);
    struct response *r = SEND(w, "GET", CONFLICTS, "");
    expect_status(r, 200);
    expect_contains(r, "\"Conflicts\":[{");
    expect_contains(r, "\"_count\":3}");
    expect_contains(r, "\"id\":\"1-0.3-11-0\"");
    expect_contains(r, "\"id\":\"1-0.3-12-0\"");
    expect_contains(r, "\"id\":\"2-0.3-7-0\"");
    expect_contains(r,
                    "\"content\":\"{\\\"id\\\":\\\"a\\\",\\\"pk\\\":\\\"k\\\","
                    "\\\"n\\\":1}\"");
    expect_contains(r, "\"operationType\":\"delete\"");
    expect_contains(r, "\"_acknowledged\":true");
    expect_header(r, "x-ms-item-count", "3");
    assert_non_null(resp_header(r, "x-ms-session-token"));
    /* Documents are not among them, nor they among documents. */
    r = SEND(w, "GET", "/dbs/d/colls/c/docs", "");
    expect_contains(r, "\"_count\":1}");
}

static void a_container_without_them_has_an_empty_feed(void **state)
{
    struct world *w = *state;
    world_container(w);
    struct response *r = SEND(w, "GET", CONFLICTS, "");
    expect_status(r, 200);
    expect_contains(r, "\"Conflicts\":[],\"_count\":0}");
    expect_failure(SEND(w, "GET", "/dbs/d/colls/no/conflicts", ""), 404, "1003",
                   "Owner");
}

static void the_feed_has_pages(void **state)
{
    struct world *w = *state;
    char line[4096] = "x-ms-max-item-count: 1";
    fill(w);
    for (int page = 0; page < 3; page++) {
        struct response *r =
            page == 0
                ? SEND(w, "GET", CONFLICTS, "", "x-ms-max-item-count: 1")
                : SEND(w, "GET", CONFLICTS, "", "x-ms-max-item-count: 1", line);
        expect_status(r, 200);
        expect_contains(r, "\"_count\":1}");
        const char *token = resp_header(r, "x-ms-continuation");
        if (token == NULL) {
            assert_int_equal(page, 2);
            return;
        }
        snprintf(line, sizeof(line), "x-ms-continuation: %s", token);
    }
    /* Perhaps an empty page at the end. */
    expect_contains(SEND(w, "GET", CONFLICTS, "", line), "\"_count\":0}");
    /* The token is of no use for documents. */
    expect_status(SEND(w, "GET", "/dbs/d/colls/c/docs", "", line), 400);
}

static void a_partition_key_does_not_matter(void **state)
{
    struct world *w = *state;
    fill(w);
    const char *pk = "x-ms-documentdb-partitionkey: [\"other\"]";
    expect_contains(SEND(w, "GET", CONFLICTS, "", pk), "\"_count\":3}");
    expect_status(SEND(w, "GET", CONFLICTS "/1-0.3-11-0", "", pk), 200);
    expect_status(SEND(w, "DELETE", CONFLICTS "/1-0.3-11-0", "", pk), 204);
    expect_status(SEND(w, "DELETE", CONFLICTS "/1-0.3-12-0", "",
                       "x-ms-documentdb-partitionkey: [{}]"),
                  204);
    expect_contains(
        SEND(w, "GET", CONFLICTS, "", "x-ms-documentdb-partitionkeyrangeid: 1"),
        "\"_count\":1}");
    expect_contains(
        SEND(w, "GET", CONFLICTS, "", "x-ms-documentdb-partitionkeyrangeid: 0"),
        "\"_count\":0}");
}

static void one_is_read_and_deleted_by_name(void **state)
{
    struct world *w = *state;
    fill(w);
    struct response *r = SEND(w, "GET", CONFLICTS "/2-0.3-7-0", "");
    expect_status(r, 200);
    expect_contains(r, "{\"id\":\"2-0.3-7-0\",\"operationType\":\"replace\"");
    assert_non_null(resp_header(r, "etag"));
    expect_header(r, "x-ms-documentdb-partitionkeyrangeid", "1");
    /* As the JavaScript SDK writes the path. */
    r = SEND(w, "GET", CONFLICTS "/2-0.3-7-0/conflicts", "");
    expect_status(r, 200);
    expect_contains(r, "{\"id\":\"2-0.3-7-0\"");
    expect_status(
        SEND(w, "DELETE", CONFLICTS "/2-0.3-7-0", "", "if-match: \"nothing\""),
        412);
    expect_status(SEND(w, "DELETE", CONFLICTS "/2-0.3-7-0", ""), 204);
    expect_status(SEND(w, "GET", CONFLICTS "/2-0.3-7-0", ""), 404);
    expect_status(SEND(w, "DELETE", CONFLICTS "/2-0.3-7-0", ""), 404);
    expect_contains(SEND(w, "GET", CONFLICTS, ""), "\"_count\":2}");
}

static void one_is_read_and_deleted_by_rid(void **state)
{
    struct world *w = *state;
    fill(w);
    struct container_def *def = container_of(w);
    char database[RID_TEXT_MAX], container[RID_TEXT_MAX], rid[RID_TEXT_MAX];
    char path[200];
    struct rid parent = rid_parent(&def->rid);
    struct rid own = rid_conflict(&def->rid, w->shards[2].records[0].record);
    rid_format(&parent, database);
    rid_format(&def->rid, container);
    rid_format(&own, rid);
    snprintf(path, sizeof(path), "/dbs/%s/colls/%s/conflicts/%s", database,
             container, rid);
    struct response *r = SEND(w, "GET", path, "");
    expect_status(r, 200);
    expect_contains(r, "\"id\":\"2-0.3-7-0\"");
    expect_status(SEND(w, "DELETE", path, ""), 204);
    expect_status(SEND(w, "GET", path, ""), 404);
}

static void names_of_nothing_are_not_found(void **state)
{
    struct world *w = *state;
    fill(w);
    static const char *const nothing[] = {"x",          "0-0.3-11-0",
                                          "3-0.3-11-0", "4095-0.3-11-0",
                                          "1-0.3-11-1", "1-0.3-011-0"};
    for (size_t i = 0; i < sizeof(nothing) / sizeof(nothing[0]); i++) {
        char path[100];
        snprintf(path, sizeof(path), CONFLICTS "/%s", nothing[i]);
        expect_status(SEND(w, "GET", path, ""), 404);
        expect_status(SEND(w, "DELETE", path, ""), 404);
    }
}

static void they_can_be_queried(void **state)
{
    struct world *w = *state;
    fill(w);
    const char *query = "x-ms-documentdb-isquery: true";
    const char *type = "content-type: application/query+json";
    struct response *r =
        SEND(w, "POST", CONFLICTS,
             "{\"query\":\"SELECT VALUE c.id FROM c WHERE c.operationType = "
             "'delete'\"}",
             query, type);
    expect_status(r, 200);
    expect_contains(r, "\"Conflicts\":[\"1-0.3-12-0\"],\"_count\":1}");
    r = SEND(w, "POST", CONFLICTS,
             "{\"query\":\"SELECT VALUE COUNT(1) FROM c\"}", query, type);
    expect_contains(r, "\"Conflicts\":[3]");
}

static void they_cannot_be_made_or_changed(void **state)
{
    struct world *w = *state;
    fill(w);
    expect_status(SEND(w, "POST", CONFLICTS, "{\"id\":\"x\"}"), 501);
    expect_status(SEND(w, "PUT", CONFLICTS "/1-0.3-11-0", "{}"), 405);
}

static int world_end(void **state)
{
    world_forget();
    return world_free(state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_new, world_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_feed_has_them_all),
        TEST(a_container_without_them_has_an_empty_feed),
        TEST(the_feed_has_pages),
        TEST(a_partition_key_does_not_matter),
        TEST(one_is_read_and_deleted_by_name),
        TEST(one_is_read_and_deleted_by_rid),
        TEST(names_of_nothing_are_not_found),
        TEST(they_can_be_queried),
        TEST(they_cannot_be_made_or_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
