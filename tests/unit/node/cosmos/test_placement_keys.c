/* Containers whose documents are in several placement groups, by partition key:
 * which shards a request is about, what is refused, session tokens. The node is
 * in eastus. Shard 1 is of group eu, shard 2 of group us. */
#include "node/cosmos/call.h"
#include "tests/unit/node/cosmos/fake.h"

#define DOCS "/dbs/d/colls/k/docs"
#define QUERY                                                                  \
    "content-type: application/query+json", "x-ms-documentdb-isquery: true",   \
        "x-ms-documentdb-query-enablecrosspartition: true"
#define PK(value) "x-ms-documentdb-partitionkey: [\"" value "\"]"
#define ROW(id, pk) "{\"id\":\"" id "\",\"pk\":\"" pk "\"}"
#define MAP "/pk: a=eu, b*=us, x=reject"

static struct catalog_group *group_new(uint16_t number, const char *name,
                                       const char *region,
                                       enum consistency_level level)
{
    struct catalog_group *g = mem_zalloc(sizeof(*g));
    g->number = number;
    g->first_shard = number;
    g->shard_count = 1;
    g->region_count = 2;
    g->member_count = g->first_count = 1;
    g->members[0] = g->first_members[0] = 1;
    g->decision.epoch = 1;
    g->decision.consistency.level = level;
    snprintf(g->name, sizeof(g->name), "%s", name);
    snprintf(g->regions[0], sizeof(g->regions[0]), "northeu");
    snprintf(g->regions[1], sizeof(g->regions[1]), "%s", region);
    strcpy(g->decision.write_region, "northeu");
    strcpy(g->decision.from_region, "northeu");
    return g;
}

/* Takes the group. */
static void put_group(struct world *w, struct catalog_group *g)
{
    struct err_msg msg = {""};
    struct buf json;
    buf_init(&json, 65536);
    assert_int_equal(catalog_group_format(g, &json), ERR_OK);
    if (catalog_put(
            w->catalog, CONTAINER_GROUPS, rid_counter(g->number + 1u, 0, 0),
            bytes_of(buf_bytes(&json), buf_len(&json)), 1, &msg) != ERR_OK)
        fail_msg("group: %s", msg.text);
    buf_free(&json);
    mem_free(g);
}

static void know_group(struct world *w, uint16_t number, const char *name,
                       const char *region, enum consistency_level level)
{
    put_group(w, group_new(number, name, region, level));
}

static void define(struct world *w)
{
    expect_status(SEND(w, "POST", "/dbs", "{\"id\":\"d\"}"), 201);
    struct response *r = SEND(
        w, "POST", "/dbs/d/colls",
        "{\"id\":\"k\",\"partitionKey\":{\"paths\":[\"/pk\"],\"version\":2}}",
        "x-bastide-placement: " MAP);
    expect_status(r, 201);
    expect_contains(r, "\"_placement\":\"" MAP "\"");
}

/* Container k, with both groups where the node is. */
static void with_map(struct world *w)
{
    know_group(w, 1, "eu", "eastus", CONSISTENCY_SESSION);
    know_group(w, 2, "us", "eastus", CONSISTENCY_SESSION);
    define(w);
}

/* The node is outside of us. */
static void with_us_elsewhere(struct world *w)
{
    know_group(w, 1, "eu", "eastus", CONSISTENCY_SESSION);
    know_group(w, 2, "us", "westus", CONSISTENCY_SESSION);
    define(w);
}

static void with_rows(struct world *w)
{
    expect_status(SEND(w, "POST", DOCS, ROW("1", "a"), PK("a")), 201);
    expect_status(SEND(w, "POST", DOCS, ROW("2", "b"), PK("b")), 201);
    expect_status(SEND(w, "POST", DOCS, ROW("3", "bc"), PK("bc")), 201);
}

static struct response *query(struct world *w, const char *text)
{
    char body[256];
    snprintf(body, sizeof(body), "{\"query\":\"%s\"}", text);
    return SEND(w, "POST", DOCS, body, QUERY);
}

static void expect_refused_us(struct response *r)
{
    expect_failure(r, 403, NULL,
                   "placement group us, which this request needs, keeps");
    expect_header(r, "x-bastide-placement", "us");
    expect_header(r, "x-bastide-regions", "northeu, westus");
}

static void a_row_is_where_its_key_belongs(void **state)
{
    struct world *w = *state;
    with_map(w);
    expect_status(SEND(w, "POST", DOCS, ROW("1", "a"), PK("a")), 201);
    assert_int_equal(w->last_shard, 1);
    expect_status(SEND(w, "POST", DOCS, ROW("2", "bx"), PK("bx")), 201);
    assert_int_equal(w->last_shard, 2);
    expect_status(SEND(w, "GET", DOCS "/2", "", PK("bx")), 200);
    assert_int_equal(w->last_shard, 2);
    expect_status(SEND(w, "GET", DOCS "/1", "", PK("a")), 200);
    assert_int_equal(w->last_shard, 1);
    expect_status(SEND(w, "DELETE", DOCS "/1", "", PK("a")), 204);
    assert_int_equal(w->last_shard, 1);
    struct response *r = SEND(w, "GET", "/dbs/d/colls/k/pkranges", "");
    expect_contains(r, "\"minInclusive\":\"\",\"maxExclusive\":\"FF\"");
    expect_contains(r, "\"_count\":1}");
}

static void a_rejected_key_is_refused_after_another_look(void **state)
{
    struct world *w = *state;
    with_map(w);
    unsigned looks = w->ops[OP_BARRIER];
    struct response *r = SEND(w, "POST", DOCS, ROW("1", "x"), PK("x"));
    expect_failure(r, 400, NULL, "its rule is '" MAP "'");
    assert_int_equal(w->ops[OP_BARRIER], looks + 1);
    expect_failure(SEND(w, "GET", DOCS "/1", "", PK("ab")), 400, NULL,
                   "takes no documents of this value of /pk");
    expect_failure(SEND(w, "GET", DOCS, "", PK("ab")), 400, NULL, "/pk");
    assert_int_equal(w->ops[OP_WRITE], 2);
    assert_int_equal(w->ops[OP_READ] + w->ops[OP_SCAN], 0);
}

static void a_line_that_was_added_elsewhere_is_found(void **state)
{
    struct world *w = *state;
    with_map(w);
    struct catalog_database *db = catalog_database(w->catalog, bytes_str("d"));
    struct container_def *def =
        catalog_container(w->catalog, db, bytes_str("k"));
    char json[4096];
    const char *old = (const char *)def->json.data;
    const char *at = strstr(old, ", x=reject");
    assert_non_null(at);
    snprintf(json, sizeof(json), "%.*s, x=us%.*s", (int)(at - old), old,
             (int)(def->json.len - (size_t)(at - old) - 10), at + 10);
    fake_change(w, false, CONTAINER_CONTAINERS, def->record, 9, json);
    w->lag = true;
    expect_status(SEND(w, "POST", DOCS, ROW("1", "x"), PK("x")), 201);
    assert_int_equal(w->last_shard, 2);
}

static void outside_one_fence_its_rows_are_refused(void **state)
{
    struct world *w = *state;
    with_us_elsewhere(w);
    expect_status(SEND(w, "POST", DOCS, ROW("1", "a"), PK("a")), 201);
    unsigned writes = w->ops[OP_WRITE];
    expect_refused_us(SEND(w, "POST", DOCS, ROW("2", "b"), PK("b")));
    expect_refused_us(SEND(w, "GET", DOCS "/2", "", PK("b")));
    expect_refused_us(SEND(w, "GET", DOCS, "", PK("b")));
    expect_refused_us(SEND(w, "GET", DOCS, ""));
    expect_refused_us(query(w, "SELECT * FROM c"));
    expect_refused_us(query(w, "SELECT VALUE COUNT(1) FROM c"));
    expect_refused_us(query(w, "SELECT * FROM c WHERE c.pk = 'b'"));
    expect_refused_us(query(w, "SELECT * FROM c WHERE c.pk IN ('a', 'aa')"));
    expect_refused_us(SEND(w, "GET", "/dbs/d/colls/k/conflicts", ""));
    assert_int_equal(w->ops[OP_WRITE], writes);
    assert_int_equal(w->ops[OP_READ] + w->ops[OP_SCAN], 0);
    expect_contains(query(w, "SELECT * FROM c WHERE c.pk = 'a'"),
                    "\"_count\":1}");
    expect_status(SEND(w, "GET", "/dbs/d/colls/k/pkranges", ""), 200);
}

static void a_page_goes_through_all_groups(void **state)
{
    struct world *w = *state;
    char token[2048] = "x-ms-continuation: ";
    with_map(w);
    with_rows(w);
    expect_contains(SEND(w, "GET", DOCS, ""), "\"_count\":3}");
    expect_contains(query(w, "SELECT VALUE COUNT(1) FROM c"), "[3]");
    expect_contains(query(w, "SELECT VALUE c.id FROM c ORDER BY c.id DESC"),
                    "[\"3\",\"2\",\"1\"]");
    struct response *r = SEND(w, "GET", DOCS, "", "x-ms-max-item-count: 2",
                              "x-ms-documentdb-partitionkeyrangeid: 0");
    expect_contains(r, "\"_count\":2}");
    strcat(token, resp_header(r, "x-ms-continuation"));
    r = SEND(w, "GET", DOCS, "", "x-ms-max-item-count: 2",
             "x-ms-documentdb-partitionkeyrangeid: 0", token);
    expect_contains(r, "\"_count\":1}");
    expect_header(r, "x-ms-continuation", NULL);
    expect_failure(
        SEND(w, "GET", DOCS, "", "x-ms-documentdb-partitionkeyrangeid: 1"), 410,
        "1002", "");
}

/* An element names both shards, each with epoch and LSN in one number. */
static void tokens_name_every_shard(void **state)
{
    struct world *w = *state;
    with_map(w);
    const uint64_t epoch = UINT64_C(1) << 40;
    w->shards[2].lsn = 50;
    struct response *r = SEND(w, "POST", DOCS, ROW("2", "b"), PK("b"));
    expect_status(r, 201);
    char token[128];
    snprintf(token, sizeof(token), "0:2#%llu#1=0#2=%llu",
             (unsigned long long)w->shards[2].lsn,
             (unsigned long long)(epoch + w->shards[2].lsn));
    expect_header(r, "x-ms-session-token", token);
    expect_header(r, "x-ms-documentdb-partitionkeyrangeid", "0");
    expect_status(SEND(w, "POST", DOCS, ROW("1", "a"), PK("a")), 201);
    r = SEND(w, "GET", DOCS, "");
    snprintf(token, sizeof(token), "0:2#%llu#1=%llu#2=%llu",
             (unsigned long long)w->shards[2].lsn,
             (unsigned long long)(epoch + w->shards[1].lsn),
             (unsigned long long)(epoch + w->shards[2].lsn));
    expect_header(r, "x-ms-session-token", token);
}

static void a_read_waits_for_its_own_shard(void **state)
{
    struct world *w = *state;
    with_map(w);
    with_rows(w);
    unsigned looks = w->ops[OP_BARRIER];
    /* 2^40 + 3, 2^41 + 7. */
    SEND(w, "GET", DOCS "/1", "", PK("a"),
         "x-ms-session-token: 0:2#7#1=1099511627779#2=2199023255559");
    assert_int_equal(w->session_epoch[1], 1);
    assert_int_equal(w->session_lsn[1], 3);
    SEND(w, "GET", DOCS, "", "x-ms-session-token: 0:2#7#1=0#2=2199023255559");
    assert_int_equal(w->session_epoch[1], 0);
    assert_int_equal(w->session_lsn[1], 0);
    assert_int_equal(w->session_epoch[2], 2);
    assert_int_equal(w->session_lsn[2], 7);
    assert_int_equal(w->ops[OP_BARRIER], looks);
    /* Of a map with more groups than are known here. */
    SEND(w, "GET", DOCS, "",
         "x-ms-session-token: 0:3#7#1=0#2=2199023255559#5=1");
    assert_int_equal(w->ops[OP_BARRIER], looks + 1);
}

static void each_group_is_read_at_its_own_level(void **state)
{
    struct world *w = *state;
    know_group(w, 1, "eu", "eastus", CONSISTENCY_EVENTUAL);
    know_group(w, 2, "us", "eastus", CONSISTENCY_STRONG);
    define(w);
    with_rows(w);
    unsigned looks = w->ops[OP_BARRIER];
    expect_status(query(w, "SELECT * FROM c"), 200);
    assert_int_equal(w->level[1], CONSISTENCY_EVENTUAL);
    assert_int_equal(w->level[2], CONSISTENCY_STRONG);
    /* Strong: no line of the map is missed. */
    assert_int_equal(w->ops[OP_BARRIER], looks + 1);
    expect_status(query(w, "SELECT * FROM c WHERE c.pk = 'a'"), 200);
    assert_int_equal(w->level[1], CONSISTENCY_EVENTUAL);
    assert_int_equal(w->ops[OP_BARRIER], looks + 1);
    expect_failure(SEND(w, "GET", DOCS, "", "x-ms-consistency-level: Session"),
                   400, NULL, "level of the container's placement group eu is");
    expect_status(SEND(w, "GET", DOCS "/2", "", PK("b"),
                       "x-ms-consistency-level: Session"),
                  200);
    assert_int_equal(w->level[2], CONSISTENCY_SESSION);
    expect_status(SEND(w, "GET", DOCS, "", "x-ms-consistency-level: Eventual"),
                  200);
    assert_int_equal(w->level[2], CONSISTENCY_EVENTUAL);
}

static bool is_in_contact(void *user, uint16_t shard)
{
    (void)user;
    (void)shard;
    return true;
}

/* The groups are in contact, but the node is cut off from the meta shard: a
 * line may have been added that it cannot know of. */
static void cut_off(struct world *w)
{
    const struct cosmos_account a = {
        .id = "acct",
        .regions = fake_regions,
        .region_count = 3,
        .consistency = {.level = CONSISTENCY_SESSION},
        .isolated = true};
    w->cosmos->config.in_contact = is_in_contact;
    assert_int_equal(cosmos_set_account(w->cosmos, &a, NULL), ERR_OK);
}

#define LEVEL "x-ms-consistency-level: "

static void cut_off_nothing_is_left_out_unsaid(void **state)
{
    struct world *w = *state;
    know_group(w, 1, "eu", "eastus", CONSISTENCY_STRONG);
    know_group(w, 2, "us", "eastus", CONSISTENCY_STRONG);
    define(w);
    with_rows(w);
    cut_off(w);
    unsigned looks = w->ops[OP_BARRIER];
    expect_failure(query(w, "SELECT * FROM c"), 503, NULL, "lost contact");
    expect_failure(SEND(w, "GET", DOCS, "", LEVEL "BoundedStaleness"), 503,
                   NULL, "lost contact");
    /* The client has seen a line more. */
    expect_failure(SEND(w, "GET", DOCS, "", LEVEL "Session",
                        "x-ms-session-token: 0:3#7#1=0#2=0#5=1"),
                   503, NULL, "lost contact");
    expect_failure(SEND(w, "POST", DOCS, ROW("4", "x"), PK("x")), 503, NULL,
                   "lost contact");
    /* What is known to be in one group is there. */
    expect_status(query(w, "SELECT * FROM c WHERE c.pk = 'a'"), 200);
    expect_status(SEND(w, "POST", DOCS, ROW("4", "b"), PK("b")), 201);
    expect_status(SEND(w, "GET", DOCS, "", LEVEL "Session"), 200);
    assert_int_equal(w->ops[OP_BARRIER], looks);
}

/* The session has been where us has other shards, or a part is elsewhere. */
static void cut_off_a_session_is_not_read_where_a_part_was(void **state)
{
    struct world *w = *state;
    static const char seen[] = "x-ms-session-token: 0:4#7#1=0#5=1";
    know_group(w, 1, "eu", "eastus", CONSISTENCY_SESSION);
    know_group(w, 2, "us", "eastus", CONSISTENCY_EVENTUAL);
    define(w);
    with_rows(w);
    cut_off(w);
    expect_status(SEND(w, "GET", DOCS "/1", "", PK("a"), seen), 200);
    expect_status(SEND(w, "GET", DOCS "/2", "", PK("b"), seen), 200);
    know_group(w, 2, "us", "eastus", CONSISTENCY_SESSION);
    expect_status(SEND(w, "GET", DOCS "/2", "", PK("b")), 200);
    expect_status(SEND(w, "GET", DOCS "/2", "", PK("b"),
                       "x-ms-session-token: 0:4#7#1=0#2=0#5=1"),
                  200);
    expect_failure(SEND(w, "GET", DOCS "/2", "", PK("b"), seen), 503, NULL,
                   "lost contact");
    expect_failure(SEND(w, "GET", DOCS, "", PK("b"), seen), 503, NULL,
                   "lost contact");
    expect_status(SEND(w, "GET", DOCS, "", PK("a"), seen), 200);
    /* The shards themselves refuse a write that comes too late. */
    expect_status(SEND(w, "POST", DOCS, ROW("4", "b"), PK("b"), seen), 201);
}

static void what_cannot_be_is_refused_at_creation(void **state)
{
    struct world *w = *state;
    static const char body[] =
        "{\"id\":\"n\",\"partitionKey\":{\"paths\":[\"/pk\"],\"version\":2}}";
    with_map(w);
    expect_failure(SEND(w, "POST", "/dbs/d/colls", body,
                        "x-bastide-placement: /land: a=eu"),
                   400, NULL, "/land is none of");
    expect_failure(SEND(w, "POST", "/dbs/d/colls", body,
                        "x-bastide-placement: /pk: a=moon"),
                   400, NULL, "no placement group 'moon'");
    expect_failure(
        SEND(w, "POST", "/dbs/d/colls", body, "x-bastide-placement: /pk: a"),
        400, NULL, "followed by =");
    expect_failure(SEND(w, "PUT", "/dbs/d/colls/k",
                        "{\"id\":\"k\",\"partitionKey\":{\"paths\":[\"/"
                        "pk\"]}}",
                        "x-bastide-placement: /pk: a=us"),
                   400, NULL, "a replace cannot change");
    expect_failure(SEND(w, "PUT", "/dbs/d/colls/k",
                        "{\"id\":\"k\",\"partitionKey\":{\"paths\":[\"/"
                        "pk\"]}}",
                        "x-bastide-placement: eu"),
                   400, NULL, "a replace cannot move");
    expect_contains(SEND(w, "PUT", "/dbs/d/colls/k",
                         "{\"id\":\"k\",\"partitionKey\":{\"paths\":[\"/"
                         "pk\"]}}",
                         "x-bastide-placement: /pk:a=eu,b*=us,x=reject"),
                    "\"_placement\":\"" MAP "\"");
}

static void older_nodes_would_not_understand_it(void **state)
{
    struct world *w = *state;
    static const char body[] =
        "{\"id\":\"n\",\"partitionKey\":{\"paths\":[\"/pk\"],\"version\":2}}";
    with_map(w);
    atomic_store(&w->features.level, FEATURE_PARTS - 1);
    expect_failure(
        SEND(w, "POST", "/dbs/d/colls", body, "x-bastide-placement: /pk: a=eu"),
        503, NULL, "level 5");
    expect_status(
        SEND(w, "POST", "/dbs/d/colls", body, "x-bastide-placement: eu"), 201);
}

static void conflicts_are_those_of_all_groups(void **state)
{
    struct world *w = *state;
    with_map(w);
    world_conflict(w, "k", 1, 11, "{\"id\":\"1\",\"pk\":\"a\"}");
    world_conflict(w, "k", 2, 7, "{\"id\":\"2\",\"pk\":\"b\"}");
    struct response *r = SEND(w, "GET", "/dbs/d/colls/k/conflicts", "");
    expect_contains(r, "\"_count\":2}");
    expect_status(SEND(w, "GET", "/dbs/d/colls/k/conflicts/2-0.3-7-0", ""),
                  200);
    assert_int_equal(w->last_shard, 2);
    know_group(w, 2, "us", "westus", CONSISTENCY_SESSION);
    expect_refused_us(SEND(w, "GET", "/dbs/d/colls/k/conflicts", ""));
    expect_refused_us(
        SEND(w, "DELETE", "/dbs/d/colls/k/conflicts/2-0.3-7-0", ""));
    expect_status(SEND(w, "DELETE", "/dbs/d/colls/k/conflicts/1-0.3-11-0", ""),
                  204);
    expect_failure(SEND(w, "GET", "/dbs/d/colls/k/conflicts/9-0.3-7-0", ""),
                   404, NULL, "");
}

/* ---- a group is split -----------------------------------------------------
 */

#define ROWS 12
#define ARRIVAL 9 /* the number of the part's move */

/* Group us gets shards 3 and 4 instead of 2. */
static void split_us(struct world *w)
{
    struct catalog_group *g = group_new(2, "us", "eastus", CONSISTENCY_SESSION);
    assert_int_equal(catalog_group_split(g, 3, 2, 1), ERR_OK);
    put_group(w, g);
}

/* Its part of the container has moved there. */
static void move_part(struct world *w)
{
    struct catalog_database *db = catalog_database(w->catalog, bytes_str("d"));
    struct container_def *def =
        catalog_container(w->catalog, db, bytes_str("k"));
    struct fake_shard *old = &w->shards[2];
    char text[4096];
    for (size_t i = 0; i < old->count; i++) {
        struct json j;
        struct partition_key pk;
        json_init(&j);
        assert_int_equal(
            json_parse(&j, bytes_str(old->records[i].json), 4096, NULL),
            ERR_OK);
        assert_int_equal(pk_extract(&def->pk, &j, 0, &pk, NULL), ERR_OK);
        json_free(&j);
        struct fake_shard *s = &w->shards[3 + epk_shard(&def->pk, &pk, 2)];
        if (s->records == NULL)
            s->records = mem_alloc(ROWS * sizeof(*s->records));
        assert_true(s->count < ROWS);
        s->records[s->count++] = old->records[i];
    }
    old->count = 0;
    assert_true(w->shards[3].count > 1 && w->shards[4].count > 1);
    snprintf(text, sizeof(text),
             "%.*s,\"_parts\":[{\"layout\":0,\"number\":0},"
             "{\"layout\":1,\"number\":%d}]}",
             (int)def->json.len - 1, (const char *)def->json.data, ARRIVAL);
    fake_change(w, false, CONTAINER_CONTAINERS, def->record, 9, text);
    if (!w->lag)
        fake_catch_up(w);
}

static void with_many_rows(struct world *w)
{
    with_map(w);
    expect_status(SEND(w, "POST", DOCS, ROW("a", "a"), PK("a")), 201);
    for (char n = 'a'; n < 'a' + ROWS; n++) {
        char body[64], pk[64];
        snprintf(body, sizeof(body), ROW("%c", "b%c"), n, n);
        snprintf(pk, sizeof(pk), PK("b%c"), n);
        expect_status(SEND(w, "POST", DOCS, body, pk), 201);
    }
}

/* Takes pages of two until the end; `seen` counts rows by their ids. */
static void read_on(struct world *w, char *token, int seen[ROWS])
{
    const char *next, *at;
    do {
        struct response *r =
            SEND(w, "GET", DOCS, "", "x-ms-max-item-count: 2",
                 "x-ms-documentdb-partitionkeyrangeid: 0", token);
        expect_status(r, 200);
        for (at = buf_cstr(&r->body); (at = strstr(at, "\"pk\":\"b")) != NULL;
             at += 7)
            seen[at[7] - 'a']++;
        next = resp_header(r, "x-ms-continuation");
        snprintf(token, 2048, "x-ms-continuation: %s", next ? next : "");
    } while (next != NULL);
}

/* A token in front of the row number `depth` of the part, and which come then.
 */
struct halfway {
    char token[2048];
    int left[ROWS];
};

static void stop_at(struct world *w, unsigned depth, struct halfway *h)
{
    char rows[64], token[2048];
    snprintf(rows, sizeof(rows), "x-ms-max-item-count: %u", depth + 1);
    struct response *r = SEND(w, "GET", DOCS, "", rows,
                              "x-ms-documentdb-partitionkeyrangeid: 0");
    expect_status(r, 200);
    snprintf(h->token, sizeof(h->token), "x-ms-continuation: %s",
             resp_header(r, "x-ms-continuation"));
    strcpy(token, h->token);
    memset(h->left, 0, sizeof(h->left));
    read_on(w, token, h->left);
}

static void
a_page_goes_on_in_the_shards_that_a_part_was_split_into(void **state)
{
    struct world *w = *state;
    static struct halfway stops[ROWS];
    with_many_rows(w);
    for (unsigned i = 0; i < ROWS; i++)
        stop_at(w, i, &stops[i]);
    split_us(w);
    move_part(w);
    for (unsigned i = 0; i < ROWS; i++) {
        int after[ROWS] = {0};
        read_on(w, stops[i].token, after);
        assert_memory_equal(stops[i].left, after, sizeof(after));
    }
    assert_int_equal(w->move[3], ARRIVAL);
    assert_int_equal(w->move[4], ARRIVAL);
    assert_int_equal(w->move[1], 0);
}

/* Who was told of more shards makes a node look that does not know of them. */
static void a_session_of_before_and_after_goes_on(void **state)
{
    struct world *w = *state;
    with_many_rows(w);
    split_us(w);
    w->lag = true;
    move_part(w);
    w->shards[3].lsn = 30;
    unsigned looks = w->ops[OP_BARRIER];
    struct response *r = SEND(w, "GET", DOCS, "",
                              "x-ms-session-token: 0:2#7#1=0#2=2199023255559");
    expect_contains(r, "\"_count\":1}");
    assert_int_equal(w->ops[OP_BARRIER], looks);
    r = SEND(w, "GET", DOCS, "",
             "x-ms-session-token: 0:3#7#1=0#3=1099511627806#4=0");
    expect_contains(r, "\"_count\":13}");
    assert_int_equal(w->ops[OP_BARRIER], looks + 1);
    assert_int_equal(w->session_epoch[3], 1);
    assert_int_equal(w->session_lsn[3], 30);
    assert_int_equal(w->session_lsn[4], 0);
    assert_memory_equal(resp_header(r, "x-ms-session-token"), "0:3#", 4);
    r = SEND(w, "GET", DOCS "/a", "", PK("ba"),
             "x-ms-session-token: 0:2#7#1=0#2=2199023255559");
    expect_status(r, 200);
    r = SEND(w, "GET", "/dbs/d/colls/k/pkranges", "");
    expect_contains(r, "\"id\":\"0\"");
    expect_contains(r, "\"parents\":[]");
    expect_contains(r, "\"_count\":1}");
}

/* What was in us is in group far, shard 3. */
static void move_us(struct world *w)
{
    struct catalog_database *db = catalog_database(w->catalog, bytes_str("d"));
    struct container_def *def =
        catalog_container(w->catalog, db, bytes_str("k"));
    char text[4096];
    const char *old = (const char *)def->json.data;
    const char *at = strstr(old, "b*=us");
    assert_non_null(at);
    know_group(w, 3, "far", "eastus", CONSISTENCY_SESSION);
    snprintf(text, sizeof(text),
             "%.*sb*=far%.*s,\"_parts\":[{\"layout\":0,\"number\":0},"
             "{\"layout\":0,\"number\":%d}],\"_move\":{\"number\":0,"
             "\"ranges\":0,\"part\":1,\"left\":1,\"been\":"
             "[{\"group\":2,\"part\":1},{\"group\":3,\"part\":1}],"
             "\"other\":\"us\",\"emptied\":true}}",
             (int)(at - old), old,
             (int)(def->json.len - (size_t)(at - old) - 6), at + 5, ARRIVAL);
    w->shards[3] = w->shards[2];
    w->shards[2] = (struct fake_shard){.lsn = 50};
    fake_change(w, false, CONTAINER_CONTAINERS, def->record, 9, text);
    fake_catch_up(w);
}

static void a_part_in_another_group_ends_pages_that_stand_in_it(void **state)
{
    struct world *w = *state;
    char in_eu[2048], in_us[2048];
    with_map(w);
    with_rows(w);
    expect_status(SEND(w, "POST", DOCS, ROW("4", "a"), PK("a")), 201);
    struct response *r = SEND(w, "GET", DOCS, "", "x-ms-max-item-count: 1");
    snprintf(in_eu, sizeof(in_eu), "x-ms-continuation: %s",
             resp_header(r, "x-ms-continuation"));
    r = SEND(w, "GET", DOCS, "", "x-ms-max-item-count: 3");
    snprintf(in_us, sizeof(in_us), "x-ms-continuation: %s",
             resp_header(r, "x-ms-continuation"));
    move_us(w);
    r = SEND(w, "GET", DOCS, "", in_eu);
    expect_contains(r, "\"_count\":3}");
    assert_memory_equal(resp_header(r, "x-ms-session-token"), "0:3#", 4);
    assert_int_equal(w->move[3], ARRIVAL);
    assert_int_equal(w->move[1], 0);
    expect_status(SEND(w, "GET", DOCS, "", in_us), 400);
    expect_contains(SEND(w, "GET", DOCS, ""), "\"_count\":4}");
}

/* Nodes of before agree on a container's shards only while its groups are not
 * being split. */
static void older_nodes_are_not_given_a_group_that_is_split(void **state)
{
    struct world *w = *state;
    static const char body[] =
        "{\"id\":\"n\",\"partitionKey\":{\"paths\":[\"/pk\"],\"version\":2}}";
    with_map(w);
    split_us(w);
    atomic_store(&w->features.level, FEATURE_PART_MOVES - 1);
    expect_failure(
        SEND(w, "POST", "/dbs/d/colls", body, "x-bastide-placement: /pk: a=us"),
        400, NULL, "'us' is being split");
    expect_status(
        SEND(w, "POST", "/dbs/d/colls", body, "x-bastide-placement: /pk: a=eu"),
        201);
    atomic_store(&w->features.level, FEATURE_PART_MOVES);
    expect_status(SEND(w, "POST", "/dbs/d/colls",
                       "{\"id\":\"m\",\"partitionKey\":{\"paths\":[\"/pk\"],"
                       "\"version\":2}}",
                       "x-bastide-placement: /pk: a=us"),
                  201);
}

/* The token behind the first row, as nodes at that level write it. */
static void first_page(struct world *w, uint32_t level, char token[2048])
{
    atomic_store(&w->features.level, level);
    struct response *r = SEND(w, "GET", DOCS, "", "x-ms-max-item-count: 1");
    snprintf(token, 2048, "x-ms-continuation: %s",
             resp_header(r, "x-ms-continuation"));
}

static void tokens_of_older_nodes_go_on_until_a_part_moves(void **state)
{
    struct world *w = *state;
    char before[2048], after[2048];
    with_map(w);
    with_rows(w);
    expect_status(SEND(w, "POST", DOCS, ROW("4", "a"), PK("a")), 201);
    first_page(w, FEATURE_PART_MOVES - 1, before);
    first_page(w, FEATURE_PART_MOVES, after);
    assert_string_not_equal(before, after);
    for (uint32_t level = FEATURE_PART_MOVES - 1; level <= FEATURE_PART_MOVES;
         level++) {
        atomic_store(&w->features.level, level);
        expect_contains(SEND(w, "GET", DOCS, "", before), "\"_count\":3}");
        expect_contains(SEND(w, "GET", DOCS, "", after), "\"_count\":3}");
        /* They go on in the form that the level has. */
        struct response *r = SEND(w, "GET", DOCS, "",
                                  level < FEATURE_PART_MOVES ? after : before,
                                  "x-ms-max-item-count: 1");
        char token[2048];
        snprintf(token, sizeof(token), "x-ms-continuation: %s",
                 resp_header(r, "x-ms-continuation"));
        expect_contains(SEND(w, "GET", DOCS, "", token), "\"_count\":2}");
    }
    move_us(w);
    expect_status(SEND(w, "GET", DOCS, "", before), 400);
    expect_contains(SEND(w, "GET", DOCS, "", after), "\"_count\":3}");
}

static void conflicts_in_the_old_shard_are_listed(void **state)
{
    struct world *w = *state;
    with_many_rows(w);
    split_us(w);
    move_part(w);
    world_conflict(w, "k", 1, 11, "{\"id\":\"1\",\"pk\":\"a\"}");
    world_conflict(w, "k", 2, 7, "{\"id\":\"2\",\"pk\":\"b\"}");
    expect_contains(SEND(w, "GET", "/dbs/d/colls/k/conflicts", "",
                         "x-ms-documentdb-partitionkeyrangeid: 0"),
                    "\"_count\":2}");
    struct response *r = SEND(w, "GET", "/dbs/d/colls/k/conflicts", "",
                              "x-ms-max-item-count: 1");
    expect_contains(r, "\"_count\":1}");
    char token[2048];
    snprintf(token, sizeof(token), "x-ms-continuation: %s",
             resp_header(r, "x-ms-continuation"));
    r = SEND(w, "GET", "/dbs/d/colls/k/conflicts", "", token);
    expect_contains(r, "\"id\":\"2-0.3-7-0\"");
    expect_contains(r, "\"_count\":1}");
    expect_status(SEND(w, "DELETE", "/dbs/d/colls/k/conflicts/2-0.3-7-0", ""),
                  204);
    assert_int_equal(w->last_shard, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_new, world_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_row_is_where_its_key_belongs),
        TEST(a_rejected_key_is_refused_after_another_look),
        TEST(a_line_that_was_added_elsewhere_is_found),
        TEST(outside_one_fence_its_rows_are_refused),
        TEST(a_page_goes_through_all_groups),
        TEST(tokens_name_every_shard),
        TEST(a_read_waits_for_its_own_shard),
        TEST(each_group_is_read_at_its_own_level),
        TEST(cut_off_nothing_is_left_out_unsaid),
        TEST(cut_off_a_session_is_not_read_where_a_part_was),
        TEST(what_cannot_be_is_refused_at_creation),
        TEST(conflicts_are_those_of_all_groups),
        TEST(older_nodes_would_not_understand_it),
        TEST(older_nodes_are_not_given_a_group_that_is_split),
        TEST(tokens_of_older_nodes_go_on_until_a_part_moves),
        TEST(a_page_goes_on_in_the_shards_that_a_part_was_split_into),
        TEST(a_session_of_before_and_after_goes_on),
        TEST(a_part_in_another_group_ends_pages_that_stand_in_it),
        TEST(conflicts_in_the_old_shard_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
