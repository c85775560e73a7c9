/* Which placement group a new container is in: its header, the account's rules,
 * default; and what is refused. */
#include "tests/unit/node/cosmos/fake.h"

#define BODY(name)                                                             \
    "{\"id\":\"" name "\",\"partitionKey\":{\"paths\":[\"/pk\"]}}"

static void know(struct world *w, uint32_t container, uint32_t number,
                 const char *json)
{
    struct err_msg msg = {""};
    if (catalog_put(w->catalog, container, rid_counter(number, 0, 0),
                    bytes_str(json), 1, &msg) != ERR_OK)
        fail_msg("%s", msg.text);
}

static void rules(struct world *w, const char *members)
{
    char json[1024];
    snprintf(json, sizeof(json), "{\"id\":\"demo\"%s}", members);
    know(w, CONTAINER_ACCOUNT, 1, json);
}

static void with_groups(struct world *w)
{
    know(w, CONTAINER_GROUPS, 2,
         "{\"id\":\"eu\",\"number\":1,\"firstShard\":10,\"shards\":1,"
         "\"keys\":[],\"members\":[1],\"firstMembers\":[1],"
         "\"regions\":[\"westus\"]}");
    expect_status(SEND(w, "POST", "/dbs", "{\"id\":\"d\"}"), 201);
}

/* Where it is; "" is default. */
static void expect_placed(struct world *w, const char *name, const char *group)
{
    struct catalog_database *db = catalog_database(w->catalog, bytes_str("d"));
    assert_non_null(db);
    struct container_def *def =
        catalog_container(w->catalog, db, bytes_str(name));
    assert_non_null(def);
    assert_true(bytes_equal(def->placement, bytes_str(group)));
}

static void the_header_is_before_the_rules(void **state)
{
    struct world *w = *state;
    with_groups(w);
    rules(w, ",\"placementRules\":[{\"database\":\"*\",\"container\":\"de-*\","
             "\"group\":\"eu\"}]");
    expect_status(SEND(w, "POST", "/dbs/d/colls", BODY("a")), 201);
    expect_placed(w, "a", "");
    expect_status(
        SEND(w, "POST", "/dbs/d/colls", BODY("b"), "x-bastide-placement: eu"),
        201);
    expect_placed(w, "b", "eu");
    expect_status(SEND(w, "POST", "/dbs/d/colls", BODY("de-a")), 201);
    expect_placed(w, "de-a", "eu");
    expect_status(SEND(w, "POST", "/dbs/d/colls", BODY("de-b"),
                       "x-bastide-placement: default"),
                  201);
    expect_placed(w, "de-b", "");
}

static void a_group_that_is_not_there_is_refused(void **state)
{
    struct world *w = *state;
    with_groups(w);
    rules(w, ",\"placementRules\":[{\"database\":\"d\",\"container\":\"x\","
             "\"group\":\"gone\"}]");
    expect_failure(
        SEND(w, "POST", "/dbs/d/colls", BODY("a"), "x-bastide-placement: moon"),
        400, NULL, "no placement group 'moon'");
    expect_failure(SEND(w, "POST", "/dbs/d/colls", BODY("x")), 400, NULL,
                   "no placement group 'gone'");
}

static void default_can_be_forbidden(void **state)
{
    struct world *w = *state;
    with_groups(w);
    rules(w, ",\"requirePlacement\":true,\"placementRules\":[{\"database\":"
             "\"*\",\"container\":\"open\",\"group\":\"default\"}]");
    expect_failure(SEND(w, "POST", "/dbs/d/colls", BODY("a")), 400, NULL,
                   "container 'a' would be in placement group default");
    expect_failure(SEND(w, "POST", "/dbs/d/colls", BODY("open")), 400, NULL,
                   "x-bastide-placement");
    expect_failure(SEND(w, "POST", "/dbs/d/colls", BODY("a"),
                        "x-bastide-placement: default"),
                   400, NULL, "does not allow");
    expect_status(
        SEND(w, "POST", "/dbs/d/colls", BODY("a"), "x-bastide-placement: eu"),
        201);
    expect_placed(w, "a", "eu");
}

/* Rules that another node has just made hold here, too. */
static void a_creation_looks_at_the_newest_rules(void **state)
{
    struct world *w = *state;
    with_groups(w);
    unsigned before = w->ops[OP_BARRIER];
    fake_change(w, false, CONTAINER_ACCOUNT, rid_counter(1, 0, 0), 2,
                "{\"id\":\"demo\",\"requirePlacement\":true}");
    expect_status(SEND(w, "POST", "/dbs/d/colls", BODY("a")), 400);
    assert_true(w->ops[OP_BARRIER] > before);
    w->fail_kind = OP_BARRIER;
    w->fail_err = ERR_UNAVAILABLE;
    expect_status(
        SEND(w, "POST", "/dbs/d/colls", BODY("a"), "x-bastide-placement: eu"),
        503);
}

static void a_replace_stays_in_its_group(void **state)
{
    struct world *w = *state;
    with_groups(w);
    expect_status(
        SEND(w, "POST", "/dbs/d/colls", BODY("a"), "x-bastide-placement: eu"),
        201);
    expect_status(SEND(w, "PUT", "/dbs/d/colls/a", BODY("a")), 200);
    expect_placed(w, "a", "eu");
    expect_status(
        SEND(w, "PUT", "/dbs/d/colls/a", BODY("a"), "x-bastide-placement: eu"),
        200);
    expect_failure(SEND(w, "PUT", "/dbs/d/colls/a", BODY("a"),
                        "x-bastide-placement: default"),
                   400, NULL, "cannot move");
    expect_failure(SEND(w, "PUT", "/dbs/d/colls/a", BODY("a"),
                        "x-bastide-placement: moon"),
                   400, NULL, "no placement group 'moon'");
    expect_placed(w, "a", "eu");
    expect_failure(SEND(w, "GET", "/dbs/d/colls/a/docs/1", "",
                        "x-ms-documentdb-partitionkey: [\"a\"]"),
                   403, NULL, "keeps them in westus; this is eastus");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_new, world_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_header_is_before_the_rules),
        TEST(a_group_that_is_not_there_is_refused),
        TEST(default_can_be_forbidden),
        TEST(a_creation_looks_at_the_newest_rules),
        TEST(a_replace_stays_in_its_group),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    world_forget();
    return failed;
}
