/* Consistency levels of requests, the tokens they carry to the shards, and
 * nodes that serve less than everything. */
#include "tests/unit/node/cosmos/fake.h"

#define DOCS "/dbs/d/colls/c/docs"
#define PK_A "x-ms-documentdb-partitionkey: [\"a\"]"
#define DOC_1 "{\"id\":\"1\",\"pk\":\"a\",\"n\":1}"
#define QUERY "x-ms-documentdb-isquery: true"
#define CROSS "x-ms-documentdb-query-enablecrosspartition: true"
#define LEVEL "x-ms-consistency-level: "

static struct cosmos_account account(enum consistency_level level)
{
    return (struct cosmos_account){
        .id = "acct",
        .regions = fake_regions,
        .region_count = 3,
        .consistency = {.level = level,
                        .max_staleness_prefix = 7,
                        .max_staleness_interval = 3}};
}

static void set_account(struct world *w, const struct cosmos_account *a)
{
    struct err_msg msg = {""};
    if (cosmos_set_account(w->cosmos, a, &msg) != ERR_OK)
        fail_msg("%s", msg.text);
}

static void set_level(struct world *w, enum consistency_level level)
{
    struct cosmos_account a = account(level);
    set_account(w, &a);
}

/* A container with one document; returns the shard it is in. */
static uint16_t world_document(struct world *w)
{
    world_container(w);
    expect_status(SEND(w, "POST", DOCS, DOC_1, PK_A), 201);
    return w->last_shard;
}

/* What a session token says of the range that shard `shard` is. */
static const char *token_line(uint16_t shard, const char *state)
{
    static char line[128];
    snprintf(line, sizeof(line), "x-ms-session-token: %u:%s",
             (unsigned)shard - 1, state);
    return line;
}

/* ---- levels -------------------------------------------------------------- */

static const char *const level_lines[CONSISTENCY_COUNT] = {
    LEVEL "Strong", LEVEL "BoundedStaleness", LEVEL "Session",
    LEVEL "ConsistentPrefix", LEVEL "Eventual"};

static void a_request_may_relax_and_never_strengthen(void **state)
{
    struct world *w = *state;
    uint16_t shard = world_document(w);
    for (int of = 0; of < CONSISTENCY_COUNT; of++) {
        set_level(w, (enum consistency_level)of);
        expect_status(SEND(w, "GET", DOCS "/1", "", PK_A), 200);
        assert_int_equal(w->level[shard], of);
        for (int asked = 0; asked < CONSISTENCY_COUNT; asked++) {
            struct response *r =
                SEND(w, "GET", DOCS "/1", "", PK_A, level_lines[asked]);
            if (asked >= of) {
                expect_status(r, 200);
                assert_int_equal(w->level[shard], asked);
            } else {
                expect_failure(r, 400, NULL, "a request may only relax it");
                expect_contains(r,
                                consistency_name((enum consistency_level)of));
            }
        }
        struct response *r =
            SEND(w, "GET", DOCS "/1", "", PK_A, LEVEL "Quorum");
        expect_failure(r, 400, NULL, "'Quorum', which is none of Strong");
    }
}

static void writes_are_refused_a_stronger_level_too(void **state)
{
    struct world *w = *state;
    world_document(w);
    set_level(w, CONSISTENCY_SESSION);
    unsigned written = w->ops[OP_WRITE];
    expect_status(SEND(w, "PUT", DOCS "/1", DOC_1, PK_A, LEVEL "Strong"), 400);
    assert_int_equal(w->ops[OP_WRITE], written);
    /* The fake asserts that a write carries no level. */
    expect_status(SEND(w, "PUT", DOCS "/1", DOC_1, PK_A, LEVEL "Eventual"),
                  200);
}

static void feeds_and_queries_carry_the_level(void **state)
{
    struct world *w = *state;
    world_document(w);
    set_level(w, CONSISTENCY_BOUNDED);
    static const char *const queries[] = {
        "{\"query\":\"SELECT * FROM c\"}",
        "{\"query\":\"SELECT * FROM c ORDER BY c.n\"}",
        "{\"query\":\"SELECT VALUE COUNT(1) FROM c\"}",
        "{\"query\":\"SELECT DISTINCT c.n FROM c\"}",
        "{\"query\":\"SELECT * FROM c WHERE c.pk = 'a'\"}"};
    for (size_t i = 0; i <= sizeof(queries) / sizeof(queries[0]); i++) {
        memset(w->level, 0, sizeof(w->level));
        if (i == 0)
            expect_status(SEND(w, "GET", DOCS, "", LEVEL "Eventual"), 200);
        else
            expect_status(SEND(w, "POST", DOCS, queries[i - 1], QUERY, CROSS,
                               LEVEL "Eventual"),
                          200);
        bool seen = false;
        for (size_t s = 1; s < FAKE_SHARDS; s++) {
            assert_true(w->level[s] == 0 ||
                        w->level[s] == CONSISTENCY_EVENTUAL);
            seen |= w->level[s] == CONSISTENCY_EVENTUAL;
        }
        assert_true(seen);
    }
}

/* Reads by RID look the id up first: weakly for a read, and for a write as
 * strongly as can be, since the item may have been made elsewhere. */
static void a_look_up_for_a_write_is_strong(void **state)
{
    struct world *w = *state;
    uint16_t shard = world_document(w);
    struct response *r = SEND(w, "GET", DOCS "/1", "", PK_A);
    char self[200], target[220];
    const char *at = strstr(resp_body(r), "\"_self\":\"") + 9;
    snprintf(self, sizeof(self), "%.*s", (int)strcspn(at, "\""), at);
    snprintf(target, sizeof(target), "/%s", self);
    set_level(w, CONSISTENCY_EVENTUAL);
    expect_status(SEND(w, "GET", target, "", PK_A), 200);
    assert_int_equal(w->level[shard], CONSISTENCY_EVENTUAL);
    expect_status(SEND(w, "DELETE", target, "", PK_A), 204);
    assert_int_equal(w->level[shard], CONSISTENCY_STRONG);
}

static void the_hub_may_be_asked_for(void **state)
{
    static const char hub[] = "x-ms-cosmos-hub-region-processing-only: True";
    struct world *w = *state;
    uint16_t shard = world_document(w);
    set_level(w, CONSISTENCY_EVENTUAL);
    expect_status(SEND(w, "GET", DOCS "/1", "", PK_A, hub), 200);
    assert_true(w->at_leader[shard]);
    assert_int_equal(w->level[shard], CONSISTENCY_EVENTUAL);
    expect_status(SEND(w, "GET", DOCS "/1", "", PK_A), 200);
    assert_false(w->at_leader[shard]);
}

static void bounded_staleness_names_its_bounds(void **state)
{
    struct world *w = *state;
    set_level(w, CONSISTENCY_BOUNDED);
    expect_contains(SEND(w, "GET", "/", ""),
                    "\"userConsistencyPolicy\":{\"defaultConsistencyLevel\":"
                    "\"BoundedStaleness\",\"maxStalenessPrefix\":7,"
                    "\"maxIntervalInSeconds\":3}");
    set_level(w, CONSISTENCY_PREFIX);
    expect_contains(SEND(w, "GET", "/", ""),
                    "{\"defaultConsistencyLevel\":\"ConsistentPrefix\"}");
}

/* The governor's refusal: nothing written, come back then. */
static void a_write_ahead_of_its_regions_is_throttled(void **state)
{
    struct world *w = *state;
    world_document(w);
    set_level(w, CONSISTENCY_BOUNDED);
    w->fail_kind = OP_WRITE;
    w->fail_err = ERR_THROTTLED;
    w->fail_text = "region westus lags 7 entries behind";
    struct response *r = SEND(w, "PUT", DOCS "/1", DOC_1, PK_A);
    expect_failure(r, 429, "3200", "region westus lags 7 entries behind");
    expect_header(r, "x-ms-retry-after-ms", "17");
    w->fail_err = ERR_THROTTLED;
    w->fail_text = NULL;
    expect_failure(SEND(w, "PUT", DOCS "/1", DOC_1, PK_A), 429, "3200",
                   "Request rate is large");
}

/* ---- sessions ------------------------------------------------------------ */

static void expect_session(struct world *w, uint16_t shard, uint32_t epoch,
                           uint64_t lsn)
{
    assert_int_equal(w->session_epoch[shard], epoch);
    assert_int_equal(w->session_lsn[shard], lsn);
}

static void a_read_carries_its_ranges_element(void **state)
{
    struct world *w = *state;
    uint16_t shard = world_document(w);
    set_level(w, CONSISTENCY_SESSION);
    const char *line = token_line(shard, "3#120#3=118,17:9#999");
    expect_status(SEND(w, "GET", DOCS "/1", "", PK_A, line), 200);
    expect_session(w, shard, 3, 118);
    /* A token that says nothing of this range: the client has not been here. */
    expect_status(
        SEND(w, "GET", DOCS "/1", "", PK_A, "x-ms-session-token: 17:9#999"),
        200);
    expect_session(w, shard, 0, 0);
    /* Weaker and stronger reads need none. */
    expect_status(SEND(w, "GET", DOCS "/1", "", PK_A, line, LEVEL "Eventual"),
                  200);
    expect_session(w, shard, 0, 0);
    set_level(w, CONSISTENCY_STRONG);
    expect_status(SEND(w, "GET", DOCS "/1", "", PK_A, line), 200);
    expect_session(w, shard, 0, 0);
    expect_status(SEND(w, "GET", DOCS "/1", "", PK_A, line, LEVEL "Session"),
                  200);
    expect_session(w, shard, 3, 118);
}

static void a_feed_gives_each_shard_its_own_element(void **state)
{
    struct world *w = *state;
    world_document(w);
    set_level(w, CONSISTENCY_SESSION);
    static const char line[] = "x-ms-session-token: 0:1#10#1=10,1:2#20#2=20";
    expect_status(SEND(w, "GET", DOCS, "", line), 200);
    expect_session(w, 1, 1, 10);
    expect_session(w, 2, 2, 20);
    expect_status(SEND(w, "POST", DOCS,
                       "{\"query\":\"SELECT VALUE COUNT(1) FROM c\"}", QUERY,
                       CROSS, "x-ms-session-token: 1:2#21#2=21,0:1#11#1=11"),
                  200);
    expect_session(w, 1, 1, 11);
    expect_session(w, 2, 2, 21);
}

static void answers_name_the_epoch_twice(void **state)
{
    struct world *w = *state;
    uint16_t shard = world_document(w);
    w->term = UINT64_C(5) << 32 | 2;
    char token[64];
    snprintf(token, sizeof(token), "%d:5#%llu#5=%llu", shard - 1,
             (unsigned long long)w->shards[shard].lsn,
             (unsigned long long)w->shards[shard].lsn);
    struct response *r = SEND(w, "GET", DOCS "/1", "", PK_A);
    expect_header(r, "x-ms-session-token", token);
    /* SDKs take tokens from these failures as well. */
    r = SEND(w, "GET", DOCS "/2", "", PK_A);
    expect_failure(r, 404, NULL, "does not exist");
    expect_header(r, "x-ms-session-token", token);
    r = SEND(w, "POST", DOCS, DOC_1, PK_A);
    expect_failure(r, 409, NULL, "already exists");
    expect_header(r, "x-ms-session-token", token);
    r = SEND(w, "PUT", DOCS "/1", DOC_1, PK_A, "If-Match: \"x\"");
    expect_failure(r, 412, NULL, "pre-condition");
    expect_header(r, "x-ms-session-token", token);
    expect_header(r, "x-ms-alt-content-path", "dbs/d/colls/c");
    assert_non_null(resp_header(r, "x-ms-content-path"));
    /* And find them on nothing but items. */
    r = SEND(w, "GET", "/dbs/d/colls/c", "");
    expect_header(r, "x-ms-session-token", NULL);
}

static void a_session_that_nobody_has_is_404_1002(void **state)
{
    struct world *w = *state;
    uint16_t shard = world_document(w);
    set_level(w, CONSISTENCY_SESSION);
    w->fail_kind = OP_READ;
    w->fail_err = ERR_BEHIND;
    const char *line = token_line(shard, "1#5000#1=5000");
    struct response *r = SEND(w, "GET", DOCS "/1", "", PK_A, line);
    expect_failure(r, 404, "1002",
                   "The read session is not available for the input session "
                   "token.");
    expect_header(r, "x-ms-session-token", strchr(line, ' ') + 1);
    w->fail_kind = OP_SCAN;
    w->fail_err = ERR_BEHIND;
    r = SEND(w, "GET", DOCS, "", line);
    expect_failure(r, 404, "1002", "The read session is not available");
    expect_header(r, "x-ms-session-token", strchr(line, ' ') + 1);
    /* Who sent no token has no session to lose. */
    w->fail_kind = OP_READ;
    w->fail_err = ERR_BEHIND;
    expect_failure(SEND(w, "GET", DOCS "/1", "", PK_A), 503, NULL,
                   "nothing was applied");
}

/* A page over two ranges of which the second does not answer: what there is
 * goes out, and the client comes back for the rest. */
static void rows_before_a_session_miss_are_sent(void **state)
{
    struct world *w = *state;
    world_container(w);
    set_level(w, CONSISTENCY_SESSION);
    for (int i = 0; i < 20; i++) {
        char body[64], line[80];
        snprintf(body, sizeof(body), "{\"id\":\"%d\",\"pk\":\"p%d\"}", i, i);
        snprintf(line, sizeof(line), "x-ms-documentdb-partitionkey: [\"p%d\"]",
                 i);
        expect_status(SEND(w, "POST", DOCS, body, line), 201);
    }
    assert_true(w->shards[1].count > 0 && w->shards[2].count > 0);
    w->fail_kind = OP_SCAN;
    w->fail_err = ERR_BEHIND;
    w->fail_skip = 1;
    struct response *r =
        SEND(w, "GET", DOCS, "", "x-ms-session-token: 1:1#500");
    expect_status(r, 200);
    assert_non_null(resp_header(r, "x-ms-continuation"));
}

static void steps_of_a_scan_do_not_go_back(void **state)
{
    struct world *w = *state;
    world_container(w);
    set_level(w, CONSISTENCY_SESSION);
    for (int i = 0; i < 20; i++) {
        char body[64];
        snprintf(body, sizeof(body), "{\"id\":\"%d\",\"pk\":\"a\"}", i);
        expect_status(SEND(w, "POST", DOCS, body, PK_A), 201);
    }
    uint16_t shard = w->last_shard;
    w->examine = 5;
    static const char line[] = "x-ms-session-token: 0:1#1,1:1#1";
    expect_status(SEND(w, "GET", DOCS, "", line, PK_A), 200);
    expect_session(w, shard, 1, w->shards[shard].lsn);
    expect_status(SEND(w, "GET", DOCS, "", line, PK_A, LEVEL "Eventual"), 200);
    expect_session(w, shard, 0, 0);
}

/* ---- sessions without tokens --------------------------------------------- */

static void a_client_without_tokens_reads_its_own_writes(void **state)
{
    struct world *w = *state;
    uint16_t shard = world_document(w);
    set_level(w, CONSISTENCY_SESSION);
    uint64_t lsn = w->shards[shard].lsn;
    expect_status(SEND(w, "GET", DOCS "/1", "", PK_A), 200);
    expect_session(w, shard, 1, lsn);
    expect_status(SEND(w, "PUT", DOCS "/1", DOC_1, PK_A), 200);
    expect_status(SEND(w, "GET", DOCS, ""), 200);
    expect_session(w, shard, 1, lsn + 1);
    expect_status(SEND(w, "DELETE", DOCS "/1", "", PK_A), 204);
    expect_status(SEND(w, "GET", DOCS "/1", "", PK_A), 404);
    expect_session(w, shard, 1, lsn + 2);
}

/* Any node of the write region may have taken what another one is asked for. */
static void without_tokens_the_write_region_reads_at_its_leader(void **state)
{
    struct world *w = *state;
    uint16_t shard = world_document(w);
    struct cosmos_account a = account(CONSISTENCY_SESSION);
    set_account(w, &a);
    expect_status(SEND(w, "GET", DOCS "/1", "", PK_A), 200);
    assert_true(w->at_leader[shard]);
    expect_status(SEND(w, "GET", DOCS, ""), 200);
    assert_true(w->at_leader[1] && w->at_leader[2]);
    expect_status(
        SEND(w, "GET", DOCS "/1", "", PK_A, token_line(shard, "1#1#1=1")), 200);
    assert_false(w->at_leader[shard]);
    expect_status(SEND(w, "GET", DOCS "/1", "", PK_A, LEVEL "Eventual"), 200);
    assert_false(w->at_leader[shard]);
    a.own_region = 1;
    set_account(w, &a);
    expect_status(SEND(w, "GET", DOCS "/1", "", PK_A), 200);
    assert_false(w->at_leader[shard]);
    a.own_region = 0;
    a.isolated = true;
    set_account(w, &a);
    expect_status(SEND(w, "GET", DOCS "/1", "", PK_A), 200);
    assert_false(w->at_leader[shard]);
}

static void what_a_session_read_showed_stays(void **state)
{
    struct world *w = *state;
    uint16_t shard = world_document(w);
    set_level(w, CONSISTENCY_SESSION);
    w->shards[shard].lsn += 50; /* answered by the leader, say */
    expect_status(SEND(w, "GET", DOCS "/1", "", PK_A), 200);
    w->shards[shard].lsn -= 50;
    expect_status(SEND(w, "GET", DOCS "/1", "", PK_A), 200);
    expect_session(w, shard, 1, w->shards[shard].lsn + 50);
}

/* Clients that send tokens do not make the others wait. */
static void clients_with_tokens_leave_no_trace(void **state)
{
    struct world *w = *state;
    uint16_t shard = world_document(w);
    set_level(w, CONSISTENCY_SESSION);
    uint64_t lsn = w->shards[shard].lsn;
    expect_status(
        SEND(w, "PUT", DOCS "/1", DOC_1, PK_A, token_line(shard, "1#1#1=1")),
        200);
    expect_status(SEND(w, "PUT", DOCS "/1", DOC_1, PK_A, LEVEL "Session"), 200);
    expect_status(
        SEND(w, "GET", DOCS "/1", "", PK_A, token_line(shard, "1#1#1=1")), 200);
    expect_session(w, shard, 1, 1);
    w->shards[shard].lsn = lsn;
    expect_status(SEND(w, "GET", DOCS "/1", "", PK_A), 200);
    expect_session(w, shard, 1, lsn);
}

/* ---- nodes that serve less ----------------------------------------------- */

static void writes_may_be_refused_outside_the_write_region(void **state)
{
    struct world *w = *state;
    world_document(w);
    struct cosmos_account a = account(CONSISTENCY_SESSION);
    a.own_region = 1;
    set_account(w, &a);
    expect_status(SEND(w, "PUT", DOCS "/1", DOC_1, PK_A), 200);
    a.refuse_writes = true;
    set_account(w, &a);
    unsigned written = w->ops[OP_WRITE];
    struct response *r = SEND(w, "PUT", DOCS "/1", DOC_1, PK_A);
    expect_failure(r, 403, "3",
                   "Write operations are not allowed on this region. The "
                   "account's write region is eastus.");
    expect_contains(r, "\"code\":\"Forbidden\"");
    expect_failure(SEND(w, "POST", "/dbs", "{\"id\":\"x\"}"), 403, "3",
                   "Write operations");
    expect_failure(SEND(w, "DELETE", DOCS "/1", "", PK_A), 403, "3",
                   "Write operations");
    expect_failure(SEND(w, "GET", DOCS "/1", "", PK_A,
                        "x-ms-cosmos-hub-region-processing-only: True"),
                   403, "3", "Write operations");
    assert_int_equal(w->ops[OP_WRITE], written);
    expect_status(SEND(w, "GET", DOCS "/1", "", PK_A), 200);
    expect_status(
        SEND(w, "POST", DOCS, "{\"query\":\"SELECT * FROM c\"}", QUERY, CROSS),
        200);
    expect_status(SEND(w, "GET", "/", ""), 200);
    a.write_region = 1;
    set_account(w, &a);
    expect_status(SEND(w, "PUT", DOCS "/1", DOC_1, PK_A), 200);
}

static void a_removed_region_answers_403_1008(void **state)
{
    struct world *w = *state;
    world_document(w);
    struct cosmos_account a = account(CONSISTENCY_SESSION);
    a.removed = true;
    a.own_region = 99;
    set_account(w, &a);
    struct response *r = SEND(w, "GET", DOCS "/1", "", PK_A);
    expect_failure(r, 403, "1008", "Database Account acct does not exist");
    expect_contains(r, "\"code\":\"Forbidden\"");
    expect_contains(r, "\"writableLocations\":[],\"readableLocations\":[],"
                       "\"id\":\"acct\"}");
    expect_failure(SEND(w, "PUT", DOCS "/1", DOC_1, PK_A), 403, "1008",
                   "does not exist");
    expect_failure(SEND(w, "GET", "/dbs", ""), 403, "1008", "does not exist");
    /* How the client finds the regions that remain. */
    expect_contains(SEND(w, "GET", "/", ""), "\"name\":\"eastus\"");
}

static void an_isolated_node_says_why_and_reads_on(void **state)
{
    struct world *w = *state;
    uint16_t shard = world_document(w);
    struct cosmos_account a = account(CONSISTENCY_STRONG);
    a.isolated = true;
    a.reason = "regions westus and northeu are lost";
    set_account(w, &a);
    unsigned reads = w->ops[OP_READ], written = w->ops[OP_WRITE];
    struct response *r = SEND(w, "GET", DOCS "/1", "", PK_A);
    expect_failure(r, 503, NULL, "regions westus and northeu are lost");
    expect_contains(r, "\"code\":\"ServiceUnavailable\"");
    expect_failure(SEND(w, "PUT", DOCS "/1", DOC_1, PK_A, LEVEL "Eventual"),
                   503, NULL, "regions westus and northeu are lost");
    assert_int_equal(w->ops[OP_READ], reads);
    assert_int_equal(w->ops[OP_WRITE], written);
    expect_status(SEND(w, "GET", DOCS "/1", "", PK_A, LEVEL "Eventual"), 200);
    assert_int_equal(w->level[shard], CONSISTENCY_EVENTUAL);
    assert_int_equal(w->last_timeout, COSMOS_ISOLATED_TIMEOUT_US);
    expect_status(SEND(w, "GET", "/", ""), 200);
}

static void a_write_region_that_was_cut_off_sends_writes_elsewhere(void **state)
{
    struct world *w = *state;
    world_document(w);
    struct cosmos_account a = account(CONSISTENCY_SESSION);
    a.isolated = a.elsewhere = true;
    a.reason = "2 of 3 voters are lost";
    set_account(w, &a);
    unsigned written = w->ops[OP_WRITE];
    struct response *r = SEND(w, "PUT", DOCS "/1", DOC_1, PK_A);
    expect_failure(r, 403, "3",
                   "cut off from the other regions: 2 of 3 voters are lost");
    assert_true(r->closes);
    assert_int_equal(w->ops[OP_WRITE], written);
    expect_status(SEND(w, "GET", DOCS "/1", "", PK_A), 200);
    r = SEND(w, "GET", "/", "");
    expect_status(r, 200);
    assert_true(r->closes);
    /* Another region knows no better than its clients. */
    a.write_region = 1;
    set_account(w, &a);
    expect_failure(SEND(w, "PUT", DOCS "/1", DOC_1, PK_A), 503, NULL,
                   "2 of 3 voters are lost");
}

/* What a client of an SDK reads before its first item. */
static void an_isolated_node_shows_what_it_knows(void **state)
{
    struct world *w = *state;
    world_document(w);
    struct cosmos_account a = account(CONSISTENCY_SESSION);
    a.isolated = true;
    set_account(w, &a);
    unsigned barriers = w->ops[OP_BARRIER];
    expect_status(SEND(w, "GET", "/dbs/d", ""), 200);
    expect_status(SEND(w, "GET", "/dbs/d/colls/c", ""), 200);
    expect_status(SEND(w, "GET", "/dbs/d/colls", ""), 200);
    expect_status(SEND(w, "GET", "/dbs/d/colls/c/pkranges", ""), 200);
    expect_failure(SEND(w, "GET", "/dbs/d/colls/other", ""), 503, NULL,
                   "lost contact");
    expect_failure(SEND(w, "GET", "/dbs/d/colls/other/docs/1", "", PK_A), 503,
                   NULL, "lost contact");
    /* Also to those who want everything strong: their items may be in a group
     * that is in contact. */
    a = account(CONSISTENCY_STRONG);
    a.isolated = true;
    set_account(w, &a);
    expect_status(SEND(w, "GET", "/dbs/d", ""), 200);
    expect_status(SEND(w, "GET", "/dbs/d/colls/c", ""), 200);
    expect_status(SEND(w, "GET", "/dbs/d/colls/c/pkranges", ""), 200);
    expect_status(SEND(w, "GET", "/dbs/d/colls", ""), 503);
    expect_status(SEND(w, "DELETE", "/dbs/d/colls/c", ""), 503);
    assert_int_equal(w->ops[OP_BARRIER], barriers);
}

/* Before any contact the level may be one that was replaced since. */
static void an_unproven_node_reads_strongly(void **state)
{
    struct world *w = *state;
    uint16_t shard = world_document(w);
    struct cosmos_account a = account(CONSISTENCY_SESSION);
    a.unproven = true;
    set_account(w, &a);
    expect_status(
        SEND(w, "GET", DOCS "/1", "", PK_A, token_line(shard, "1#1#1=1")), 200);
    assert_int_equal(w->level[shard], CONSISTENCY_STRONG);
    expect_status(SEND(w, "GET", DOCS, "", PK_A, LEVEL "Eventual"), 200);
    assert_int_equal(w->level[shard], CONSISTENCY_STRONG);
    expect_session(w, shard, 0, 0);
    expect_status(SEND(w, "GET", DOCS "/1", "", PK_A, LEVEL "Strong"), 400);
}

static void unavailable_shards_are_explained(void **state)
{
    struct world *w = *state;
    world_document(w);
    struct cosmos_account a = account(CONSISTENCY_SESSION);
    set_account(w, &a);
    w->fail_kind = OP_WRITE;
    w->fail_err = ERR_UNAVAILABLE;
    struct response *r = SEND(w, "PUT", DOCS "/1", DOC_1, PK_A);
    expect_failure(r, 503, NULL, "nothing was applied\\r\\n");
    char reason[2 * COSMOS_REASON_MAX];
    memset(reason, 'x', sizeof(reason));
    reason[sizeof(reason) - 1] = '\0';
    a.reason = reason;
    set_account(w, &a);
    w->fail_err = ERR_UNAVAILABLE;
    r = SEND(w, "PUT", DOCS "/1", DOC_1, PK_A);
    expect_failure(r, 503, NULL, "nothing was applied: xxx");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_new, world_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_request_may_relax_and_never_strengthen),
        TEST(writes_are_refused_a_stronger_level_too),
        TEST(feeds_and_queries_carry_the_level),
        TEST(a_look_up_for_a_write_is_strong),
        TEST(the_hub_may_be_asked_for),
        TEST(bounded_staleness_names_its_bounds),
        TEST(a_write_ahead_of_its_regions_is_throttled),
        TEST(a_read_carries_its_ranges_element),
        TEST(a_feed_gives_each_shard_its_own_element),
        TEST(answers_name_the_epoch_twice),
        TEST(a_session_that_nobody_has_is_404_1002),
        TEST(rows_before_a_session_miss_are_sent),
        TEST(steps_of_a_scan_do_not_go_back),
        TEST(a_client_without_tokens_reads_its_own_writes),
        TEST(without_tokens_the_write_region_reads_at_its_leader),
        TEST(what_a_session_read_showed_stays),
        TEST(clients_with_tokens_leave_no_trace),
        TEST(writes_may_be_refused_outside_the_write_region),
        TEST(a_removed_region_answers_403_1008),
        TEST(an_isolated_node_says_why_and_reads_on),
        TEST(a_write_region_that_was_cut_off_sends_writes_elsewhere),
        TEST(an_isolated_node_shows_what_it_knows),
        TEST(an_unproven_node_reads_strongly),
        TEST(unavailable_shards_are_explained),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    world_forget();
    return failed;
}
