/* What a worker counts of its answers. */
#include "node/cosmos/meters.h"
#include "tests/unit/node/cosmos/fake.h"

#define DOCS "/dbs/d/colls/c/docs"
#define PK_A "x-ms-documentdb-partitionkey: [\"a\"]"
#define DOC_1 "{\"id\":\"1\",\"pk\":\"a\",\"n\":1}"
#define QUERY "x-ms-documentdb-isquery: true"
#define CROSS "x-ms-documentdb-query-enablecrosspartition: true"

/* Answers of one kind and class so far. */
static uint64_t counted(const struct world *w, enum cosmos_operation op,
                        int digit)
{
    return cosmos_meters(w->cosmos)->answers[op][digit - 2];
}

static uint64_t total(const struct world *w)
{
    uint64_t sum = 0;
    for (unsigned op = 0; op < COSMOS_OP_COUNT; op++)
        for (int digit = 2; digit <= 5; digit++)
            sum += counted(w, (enum cosmos_operation)op, digit);
    return sum;
}

/* Sends a request and expects exactly one more of that kind and class. */
#define EXPECT_COUNTED(w, op, status, ...)                                     \
    do {                                                                       \
        uint64_t before_ = counted(w, op, (status) / 100);                     \
        uint64_t total_ = total(w);                                            \
        expect_status(SEND(w, __VA_ARGS__), status);                           \
        assert_int_equal(counted(w, op, (status) / 100), before_ + 1);         \
        assert_int_equal(total(w), total_ + 1);                                \
    } while (0)

static void every_kind_is_told_apart(void **state)
{
    struct world *w = *state;
    world_container(w);
    EXPECT_COUNTED(w, COSMOS_OP_CREATE, 201, "POST", DOCS, DOC_1, PK_A);
    EXPECT_COUNTED(w, COSMOS_OP_UPSERT, 200, "POST", DOCS, DOC_1, PK_A,
                   "x-ms-documentdb-is-upsert: True");
    EXPECT_COUNTED(w, COSMOS_OP_READ, 200, "GET", DOCS "/1", "", PK_A);
    EXPECT_COUNTED(w, COSMOS_OP_REPLACE, 200, "PUT", DOCS "/1", DOC_1, PK_A);
    EXPECT_COUNTED(w, COSMOS_OP_FEED, 200, "GET", DOCS, "", CROSS);
    EXPECT_COUNTED(w, COSMOS_OP_QUERY, 200, "POST", DOCS,
                   "{\"query\":\"SELECT * FROM c\"}", QUERY, CROSS,
                   "content-type: application/query+json");
    EXPECT_COUNTED(w, COSMOS_OP_DELETE, 204, "DELETE", DOCS "/1", "", PK_A);
    EXPECT_COUNTED(w, COSMOS_OP_ACCOUNT, 200, "GET", "/", "", NULL);
    EXPECT_COUNTED(w, COSMOS_OP_METADATA, 200, "GET", "/dbs/d", "", NULL);
    EXPECT_COUNTED(w, COSMOS_OP_METADATA, 200, "GET", "/dbs/d/colls/c/pkranges",
                   "", NULL);
    EXPECT_COUNTED(w, COSMOS_OP_OTHER, 404, "GET", "/nothing/here", "", NULL);
    EXPECT_COUNTED(w, COSMOS_OP_OTHER, 501, "PATCH", DOCS "/1", "{}", PK_A);
}

static uint64_t refused(const struct world *w, int status)
{
    for (unsigned i = 0; i < COSMOS_REFUSALS; i++)
        if (cosmos_refusals[i] == status)
            return cosmos_meters(w->cosmos)->refusals[i];
    fail_msg("%d is not counted", status);
    return 0;
}

static void refusals_are_counted_by_status(void **state)
{
    struct world *w = *state;
    world_container(w);
    EXPECT_COUNTED(w, COSMOS_OP_READ, 404, "GET", DOCS "/1", "", PK_A);
    assert_int_equal(refused(w, 404), 1);
    EXPECT_COUNTED(w, COSMOS_OP_CREATE, 201, "POST", DOCS, DOC_1, PK_A);
    EXPECT_COUNTED(w, COSMOS_OP_CREATE, 409, "POST", DOCS, DOC_1, PK_A);
    assert_int_equal(refused(w, 409), 1);
    assert_int_equal(refused(w, 404), 1);
    assert_int_equal(refused(w, 429), 0);
}

/* Latencies stand under the level that the request asked for. */
static void latencies_are_counted_by_level(void **state)
{
    struct world *w = *state;
    const struct cosmos_meters *m = cosmos_meters(w->cosmos);
    world_container(w);
    expect_status(SEND(w, "POST", DOCS, DOC_1, PK_A), 201);
    expect_status(
        SEND(w, "GET", DOCS "/1", "", PK_A, "x-ms-consistency-level: Eventual"),
        200);
    assert_int_equal(
        meter_count(&m->latency[COSMOS_OP_READ][CONSISTENCY_EVENTUAL]), 1);
    for (unsigned level = 0; level < CONSISTENCY_EVENTUAL; level++)
        assert_int_equal(meter_count(&m->latency[COSMOS_OP_READ][level]), 0);
}

static void adding_adds_everything(void **state)
{
    (void)state;
    static struct cosmos_meters a, b;
    cosmos_meters_answered(&a, COSMOS_OP_READ, CONSISTENCY_STRONG, 200, 700);
    cosmos_meters_answered(&b, COSMOS_OP_READ, CONSISTENCY_STRONG, 429, 70);
    cosmos_meters_add(&a, &b);
    assert_int_equal(a.answers[COSMOS_OP_READ][0], 1);
    assert_int_equal(a.answers[COSMOS_OP_READ][2], 1);
    const struct meter *m = &a.latency[COSMOS_OP_READ][CONSISTENCY_STRONG];
    assert_int_equal(meter_count(m), 2);
    assert_int_equal(m->sum_us, 770);
    uint64_t refusals = 0;
    for (unsigned i = 0; i < COSMOS_REFUSALS; i++)
        refusals += a.refusals[i];
    assert_int_equal(refusals, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_new, world_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_kind_is_told_apart),
        TEST(refusals_are_counted_by_status),
        TEST(latencies_are_counted_by_level),
        cmocka_unit_test(adding_adds_everything),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    world_forget();
    return failed;
}
