/* Promises of the catalog: it holds what the meta shard's records say, finds
 * things by name before RID, and lets go of what is deleted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/prng.h"
#include "node/catalog/catalog.h"

/* Databases and containers are created by entries of their own: `lsn` decides
 * number and RID. */
static uint64_t record_of(uint64_t lsn)
{
    return rid_counter(lsn, 0, 0);
}

static uint32_t number_of(uint64_t lsn)
{
    return (uint32_t)lsn + RID_NUMBER_FIRST;
}

static int put_database(struct catalog *c, uint64_t lsn, const char *name)
{
    struct rid rid = rid_database(number_of(lsn));
    char rid_text[RID_TEXT_MAX];
    rid_format(&rid, rid_text);
    char json[1024];
    snprintf(json, sizeof(json),
             "{\"id\":\"%s\",\"_rid\":\"%s\",\"_self\":\"dbs/%s/\",\"_etag\":"
             "\"\\\"e-%d\\\"\",\"_colls\":\"colls/\",\"_users\":\"users/\","
             "\"_ts\":1572274840}",
             name, rid_text, rid_text, (int)lsn);
    return catalog_put(c, CONTAINER_DATABASES, record_of(lsn), bytes_str(json),
                       lsn, NULL);
}

static int put_container(struct catalog *c, uint64_t db_lsn, uint64_t lsn,
                         const char *name, int ttl)
{
    struct rid rid = rid_container(number_of(db_lsn), number_of(lsn));
    char rid_text[RID_TEXT_MAX];
    rid_format(&rid, rid_text);
    char json[1024];
    snprintf(json, sizeof(json),
             "{\"id\":\"%s\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":"
             "\"Hash\",\"version\":2},\"defaultTtl\":%d,\"_rid\":\"%s\","
             "\"_etag\":\"\\\"e\\\"\",\"_ts\":1}",
             name, ttl, rid_text);
    return catalog_put(c, CONTAINER_CONTAINERS, record_of(lsn), bytes_str(json),
                       lsn, NULL);
}

static struct catalog_database *database(const struct catalog *c,
                                         const char *segment)
{
    return catalog_database(c, bytes_str(segment));
}

static struct container_def *container(const struct catalog *c, const char *db,
                                       const char *segment)
{
    struct catalog_database *d = database(c, db);
    assert_non_null(d);
    return catalog_container(c, d, bytes_str(segment));
}

static void what_was_put_is_found_by_name_and_by_rid(void **state)
{
    (void)state;
    struct catalog *c = catalog_new();
    assert_int_equal(put_database(c, 1, "d"), ERR_OK);
    assert_int_equal(put_container(c, 1, 2, "c", 5), ERR_OK);
    struct catalog_database *db = database(c, "d");
    assert_non_null(db);
    assert_int_equal(db->number, 17);
    assert_true(db->record == record_of(1));
    assert_true(bytes_equal(db->name, bytes_str("d")));
    assert_true(bytes_equal(db->etag, bytes_str("\"e-1\"")));
    assert_int_equal(db->ts, 1572274840);
    assert_ptr_equal(database(c, "AAAAEQ=="), db);
    struct container_def *def = container(c, "d", "c");
    assert_non_null(def);
    assert_int_equal(def->number, 18);
    assert_true(def->record == record_of(2));
    assert_ptr_equal(container(c, "AAAAEQ==", "AAAAEYAAABI="), def);
    assert_ptr_equal(container(c, "d", "AAAAEYAAABI="), def);
    assert_ptr_equal(catalog_container_number(c, 18), def);
    assert_int_equal(catalog_lsn(c), 2);

    assert_null(database(c, "D"));
    assert_null(database(c, ""));
    assert_null(database(c, "AAAAEg=="));
    assert_null(database(c, "AAAAEYAAABI="));
    assert_null(container(c, "d", "C"));
    assert_null(container(c, "d", "AAAAEYAAABM="));
    assert_null(container(c, "d", "AAAAEoAAABI=")); /* another database's */
    assert_null(catalog_container_number(c, 17));
    catalog_free(c);
}

static void names_come_before_rids(void **state)
{
    (void)state;
    struct catalog *c = catalog_new();
    put_database(c, 1, "first");
    put_database(c, 2, "AAAAEQ=="); /* named like the first one's RID */
    assert_int_equal(database(c, "AAAAEQ==")->number, 18);
    assert_int_equal(database(c, "AAAAEg==")->number, 18);
    catalog_delete(c, CONTAINER_DATABASES, record_of(2), 3);
    assert_int_equal(database(c, "AAAAEQ==")->number, 17);
    catalog_free(c);
}

static void one_name_may_be_in_every_database(void **state)
{
    (void)state;
    struct catalog *c = catalog_new();
    put_database(c, 1, "a");
    put_database(c, 2, "b");
    put_container(c, 1, 3, "c", 1);
    put_container(c, 2, 4, "c", 2);
    assert_int_equal(container(c, "a", "c")->default_ttl, 1);
    assert_int_equal(container(c, "b", "c")->default_ttl, 2);
    assert_int_equal(catalog_container_count(c), 2);
    catalog_free(c);
}

static void
a_replaced_container_keeps_its_number_and_old_readers_their_copy(void **state)
{
    (void)state;
    struct catalog *c = catalog_new();
    put_database(c, 1, "d");
    put_container(c, 1, 2, "c", 5);
    struct container_def *held = container_def_ref(container(c, "d", "c"));
    struct rid rid = rid_container(17, 18);
    char json[256], rid_text[RID_TEXT_MAX];
    rid_format(&rid, rid_text);
    snprintf(json, sizeof(json),
             "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/pk\"]},\"_rid\":"
             "\"%s\"}",
             rid_text);
    assert_int_equal(catalog_put(c, CONTAINER_CONTAINERS, record_of(2),
                                 bytes_str(json), 9, NULL),
                     ERR_OK);
    assert_false(container(c, "d", "c")->has_ttl);
    assert_int_equal(container(c, "d", "c")->number, 18);
    assert_int_equal(catalog_container_count(c), 1);
    assert_int_equal(held->default_ttl, 5);
    catalog_free(c);
    assert_true(bytes_equal(held->name, bytes_str("c")));
    container_def_unref(held);
}

static void a_deleted_database_takes_its_containers_along(void **state)
{
    (void)state;
    struct catalog *c = catalog_new();
    put_database(c, 1, "a");
    put_database(c, 2, "b");
    put_container(c, 1, 3, "x", 1);
    put_container(c, 2, 4, "y", 1);
    put_container(c, 1, 5, "z", 1);
    struct catalog_database *held = catalog_database_ref(database(c, "a"));
    catalog_delete(c, CONTAINER_DATABASES, record_of(1), 6);
    assert_null(database(c, "a"));
    assert_null(catalog_container_number(c, 19));
    assert_null(catalog_container_number(c, 21));
    assert_null(catalog_container(c, held, bytes_str("x")));
    assert_non_null(container(c, "b", "y"));
    assert_int_equal(catalog_container_count(c), 1);
    /* the log's own deletes of the containers follow; they are harmless */
    catalog_delete(c, CONTAINER_CONTAINERS, record_of(3), 6);
    catalog_delete(c, CONTAINER_CONTAINERS, record_of(5), 6);
    /* the name is free, what gets it is another database */
    put_database(c, 7, "a");
    assert_int_equal(database(c, "a")->number, 23);
    assert_null(container(c, "a", "x"));
    assert_true(bytes_equal(held->name, bytes_str("a")));
    catalog_free(c);
    catalog_database_unref(held);
}

static void a_recreated_container_is_another_one(void **state)
{
    (void)state;
    struct catalog *c = catalog_new();
    put_database(c, 1, "d");
    put_container(c, 1, 2, "c", 1);
    catalog_delete(c, CONTAINER_CONTAINERS, record_of(2), 3);
    assert_null(container(c, "d", "c"));
    assert_null(catalog_container_number(c, 18));
    put_container(c, 1, 4, "c", 2);
    assert_int_equal(container(c, "d", "c")->number, 20);
    assert_null(container(c, "d", "AAAAEYAAABI="));
    catalog_free(c);
}

static void records_may_be_read_in_any_order_at_start(void **state)
{
    (void)state;
    struct catalog *c = catalog_new();
    put_container(c, 1, 9, "c", 1);
    assert_null(catalog_container_number(c, 25));
    put_database(c, 1, "d");
    assert_non_null(catalog_container_number(c, 25));
    assert_non_null(container(c, "d", "c"));
    assert_int_equal(catalog_lsn(c), 9);
    catalog_advance(c, 12);
    catalog_advance(c, 11);
    assert_int_equal(catalog_lsn(c), 12);
    catalog_clear(c);
    assert_int_equal(catalog_lsn(c), 0);
    assert_int_equal(catalog_container_count(c), 0);
    assert_null(database(c, "d"));
    catalog_free(c);
}

static void listing_pages_in_order_of_creation(void **state)
{
    (void)state;
    struct catalog *c = catalog_new();
    for (uint64_t lsn = 20; lsn >= 11; lsn--) {
        char name[16];
        snprintf(name, sizeof(name), "db%d", (int)lsn);
        put_database(c, lsn, name);
    }
    for (uint64_t lsn = 30; lsn < 40; lsn++) {
        char name[16];
        snprintf(name, sizeof(name), "c%d", (int)lsn);
        put_container(c, lsn % 2 ? 11 : 12, lsn, name, 1);
    }
    struct catalog_database *page[4];
    uint32_t after = 0;
    uint32_t expected = number_of(11);
    size_t n;
    while ((n = catalog_list_databases(c, after, page, 4)) > 0)
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(page[i]->number, expected++);
            after = page[i]->number;
        }
    assert_int_equal(expected, number_of(21));
    struct container_def *containers[16];
    assert_int_equal(
        catalog_list_containers(c, database(c, "db11"), 0, containers, 16), 5);
    assert_int_equal(containers[0]->number, number_of(31));
    assert_int_equal(containers[4]->number, number_of(39));
    assert_int_equal(catalog_list_containers(c, database(c, "db11"),
                                             number_of(35), containers, 16),
                     2);
    assert_int_equal(
        catalog_list_containers(c, database(c, "db13"), 0, containers, 16), 0);
    assert_int_equal(catalog_list_databases(c, UINT32_MAX, page, 4), 0);
    catalog_free(c);
}

static void damaged_records_change_nothing(void **state)
{
    (void)state;
    static const struct {
        uint32_t container;
        uint64_t lsn;
        const char *json;
    } bad[] = {
        {CONTAINER_DATABASES, 1, ""},
        {CONTAINER_DATABASES, 1, "[]"},
        {CONTAINER_DATABASES, 1, "{\"id\":\"d\"}"},
        {CONTAINER_DATABASES, 1, "{\"id\":1,\"_rid\":\"AAAAEQ==\"}"},
        {CONTAINER_DATABASES, 1, "{\"id\":\"d\",\"_rid\":\"AAAAEYAAABI=\"}"},
        {CONTAINER_DATABASES, 2, "{\"id\":\"d\",\"_rid\":\"AAAAEQ==\"}"},
        {CONTAINER_DATABASES, 1,
         "{\"id\":\"d\",\"_rid\":\"AAAAEQ==\",\"_ts\":\"x\"}"},
        {CONTAINER_DATABASES, 1,
         "{\"id\":\"d\",\"_rid\":\"AAAAEQ==\",\"_etag\":5}"},
        {CONTAINER_CONTAINERS, 2, "{\"id\":\"c\"}"},
        {CONTAINER_CONTAINERS, 2,
         "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/pk\"]}}"},
        {CONTAINER_CONTAINERS, 3,
         "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/pk\"]},\"_rid\":"
         "\"AAAAEYAAABI=\"}"},
        {CONTAINER_CONTAINERS, 2,
         "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/pk\"]},\"_rid\":"
         "\"AAAAAIAAABI=\"}"},
        {CONTAINER_ACCOUNT, 1, "{}"},
        {CONTAINER_ACCOUNT, 1, "{\"id\":5}"},
        {CONTAINER_GROUPS, 1, "{\"id\":\"default\"}"},
    };
    struct catalog *c = catalog_new();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err_msg msg = {""};
        assert_int_equal(catalog_put(c, bad[i].container, record_of(bad[i].lsn),
                                     bytes_str(bad[i].json), 50 + i, &msg),
                         ERR_CORRUPT);
        assert_true(strlen(msg.text) > 10);
        assert_int_equal(catalog_lsn(c), 50 + i);
    }
    assert_int_equal(catalog_database_count(c), 0);
    assert_int_equal(catalog_container_count(c), 0);
    assert_null(catalog_account(c));
    assert_null(catalog_group_at(c, 0));
    assert_int_equal(catalog_put(c, 77, 1, bytes_str("x"), 99, NULL), ERR_OK);
    catalog_delete(c, 77, 1, 100);
    catalog_free(c);
}

/* -- account and groups -------------------------------------------------- */

static struct buf text;

static struct bytes formatted(int err)
{
    assert_int_equal(err, ERR_OK);
    return bytes_of(buf_bytes(&text), buf_len(&text));
}

static void the_account_survives_its_record(void **state)
{
    (void)state;
    struct catalog_account a = {.id = "demo"};
    buf_clear(&text);
    struct bytes json = formatted(catalog_account_format(&a, &text));
    struct catalog *c = catalog_new();
    assert_null(catalog_account(c));
    assert_int_equal(catalog_put(c, CONTAINER_ACCOUNT, 7, json, 1, NULL),
                     ERR_OK);
    const struct catalog_account *b = catalog_account(c);
    assert_non_null(b);
    assert_string_equal(b->id, "demo");
    assert_int_equal(b->feature_level, 0);
    a.feature_level = 4;
    buf_clear(&text);
    json = formatted(catalog_account_format(&a, &text));
    assert_int_equal(catalog_put(c, CONTAINER_ACCOUNT, 7, json, 1, NULL),
                     ERR_OK);
    assert_int_equal(catalog_account(c)->feature_level, 4);
    /* Members of releases to come are passed over; a wrong level is not. */
    json = bytes_str("{\"id\":\"demo\",\"featureLevel\":5,\"other\":[1]}");
    assert_int_equal(catalog_put(c, CONTAINER_ACCOUNT, 7, json, 1, NULL),
                     ERR_OK);
    assert_int_equal(catalog_account(c)->feature_level, 5);
    json = bytes_str("{\"id\":\"demo\",\"featureLevel\":0}");
    assert_int_equal(catalog_put(c, CONTAINER_ACCOUNT, 7, json, 1, NULL),
                     ERR_CORRUPT);
    catalog_delete(c, CONTAINER_ACCOUNT, 7, 2);
    assert_null(catalog_account(c));
    catalog_free(c);
}

static struct group_keys sample_keys(const char *region)
{
    struct group_keys k = {.versions = 1,
                           .index = {.len = GROUP_WRAPPED_KEY_MAX},
                           .data = {{.len = 60}}};
    snprintf(k.region, sizeof(k.region), "%s", region);
    memset(k.index.bytes, 0x5a, k.index.len);
    memset(k.data[0].bytes, 0xa5, k.data[0].len);
    return k;
}

static struct catalog_group sample_group(const char *name, uint16_t number)
{
    struct catalog_group g = {
        .number = number,
        .first_shard = 1,
        .shard_count = 2,
        .key_count = 1,
        .keys = {sample_keys("")},
        .region_count = 3,
        .regions = {"eastus", "westeurope", "japan"},
        .down = {[1] = true},
        .failback = true,
        .recovered = 2,
        .recovered_epoch = 6,
        .decision = {.epoch = 7,
                     .write_region = "japan",
                     .from_region = "westeurope",
                     .consistency = {CONSISTENCY_BOUNDED, 100000, 300},
                     .forced = true,
                     .manual = true,
                     .at_us = 1234567,
                     .reason = "it \"burns\""}};
    snprintf(g.name, sizeof(g.name), "%s", name);
    if (number == GROUP_DEFAULT)
        return g;
    g.member_count = 2;
    g.members[0] = 1;
    g.members[1] = 200;
    g.first_count = 1;
    g.first_members[0] = 7;
    g.leaving[2] = true;
    g.keys[0] = sample_keys("japan");
    g.keys[0].versions = GROUP_KEY_VERSIONS_MAX;
    for (uint8_t v = 1; v < GROUP_KEY_VERSIONS_MAX; v++) {
        g.keys[0].data[v].len = 60;
        memset(g.keys[0].data[v].bytes, v, 60);
    }
    g.sealing = 14;
    g.rekey = true;
    return g;
}

static void a_group_is_split_and_its_old_shards_retired(void **state)
{
    (void)state;
    struct catalog *c = catalog_new();
    struct catalog_group g = sample_group("default", GROUP_DEFAULT);
    struct container_def in = {.magic = CONTAINER_DEF_MAGIC, .layout = 0};
    struct container_def later = {.magic = CONTAINER_DEF_MAGIC, .layout = 1};
    assert_int_equal(catalog_group_split(&g, 9, 3, 5), ERR_INVALID);
    assert_int_equal(catalog_group_split(&g, 9, 2, 5), ERR_INVALID);
    assert_int_equal(catalog_container_span(&g, &in).first, 1);
    assert_int_equal(catalog_group_split(&g, 9, 4, 5), ERR_OK);
    assert_int_equal(catalog_group_split(&g, 20, 8, 5), ERR_BUSY);
    g.first_count = 2;
    g.first_members[0] = 1;
    g.first_members[1] = 3;
    buf_clear(&text);
    struct bytes json = formatted(catalog_group_format(&g, &text));
    assert_int_equal(catalog_put(c, CONTAINER_GROUPS, 1, json, 1, NULL),
                     ERR_OK);
    const struct catalog_group *b = catalog_group(c, "default");
    assert_int_equal(catalog_group_layout(b), 1);
    struct catalog_shards all = catalog_group_shards(b);
    assert_int_equal(catalog_shards_count(all), 6);
    assert_int_equal(catalog_shards_at(all, 0), 9);
    assert_int_equal(catalog_shards_at(all, 5), 2);
    assert_int_equal(catalog_group_first_count(b), 2);
    assert_int_equal(b->first_count, 2);
    assert_int_equal(b->split_us, 5);
    assert_int_equal(catalog_container_span(b, &in).first, 1);
    assert_int_equal(catalog_container_span(b, &in).count, 2);
    assert_int_equal(catalog_container_span(b, &later).first, 9);
    assert_ptr_equal(catalog_group_of_shard(c, 2), b);
    assert_ptr_equal(catalog_group_of_shard(c, 12), b);
    assert_null(catalog_group_of_shard(c, 3));
    assert_false(catalog_shard_retired(c, 2));
    catalog_group_retire(&g);
    buf_clear(&text);
    json = formatted(catalog_group_format(&g, &text));
    assert_int_equal(catalog_put(c, CONTAINER_GROUPS, 1, json, 2, NULL),
                     ERR_OK);
    assert_int_equal(catalog_group_layout(b), 1);
    assert_int_equal(catalog_group_first_count(b), 2);
    assert_null(catalog_group_of_shard(c, 2));
    assert_true(catalog_shard_retired(c, 2));
    assert_false(catalog_shard_retired(c, 9));
    assert_int_equal(catalog_group_span(b, 0).count, 0);
    /* A container that an older node made meanwhile has nothing yet. */
    assert_int_equal(catalog_container_span(b, &in).first, 9);
    catalog_free(c);
}

static void groups_survive_their_records(void **state)
{
    (void)state;
    struct catalog *c = catalog_new();
    for (uint16_t n = 0; n < 3; n++) {
        static const char *const names[] = {"default", "de", "us"};
        struct catalog_group g = sample_group(names[n], n);
        buf_clear(&text);
        struct bytes json = formatted(catalog_group_format(&g, &text));
        assert_int_equal(
            catalog_put(c, CONTAINER_GROUPS, 100 + n, json, n, NULL), ERR_OK);
        const struct catalog_group *b = catalog_group(c, names[n]);
        assert_non_null(b);
        assert_int_equal(b->number, n);
        assert_int_equal(catalog_group_fenced(b), n > 0);
        assert_int_equal(b->member_count, g.member_count);
        assert_memory_equal(b->members, g.members, g.member_count);
        assert_int_equal(b->first_count, g.first_count);
        assert_int_equal(b->leaving[2], n > 0);
        assert_int_equal(catalog_group_keys(b, "eastus") == NULL, n > 0);
        const struct group_keys *k = catalog_group_keys(b, "japan");
        assert_non_null(k);
        assert_memory_equal(k, &g.keys[0], sizeof(*k));
        assert_int_equal(catalog_group_key_versions(b),
                         n > 0 ? GROUP_KEY_VERSIONS_MAX : 1);
        assert_int_equal(b->sealing, g.sealing);
        assert_int_equal(b->rekey, g.rekey);
        assert_true(b->down[1] && !b->down[0] && !b->down[2]);
        assert_int_equal(b->decision.epoch, 7);
        assert_int_equal(b->decision.consistency.level, CONSISTENCY_BOUNDED);
        assert_true(b->decision.forced && !b->decision.settled);
        assert_string_equal(b->decision.reason, "it \"burns\"");
        assert_int_equal(catalog_group_region(b, "japan"), 2);
        assert_int_equal(catalog_group_region(b, "mars"), 3);
        struct buf again;
        buf_init(&again, 1 << 16);
        assert_int_equal(catalog_group_format(b, &again), ERR_OK);
        assert_int_equal(buf_len(&again), buf_len(&text));
        assert_memory_equal(buf_bytes(&again), buf_bytes(&text),
                            buf_len(&text));
        buf_free(&again);
    }
    assert_string_equal(catalog_group_at(c, 2)->name, "us");
    catalog_delete(c, CONTAINER_GROUPS, 100, 5);
    assert_null(catalog_group(c, "default"));
    assert_non_null(catalog_group(c, "us"));
    assert_non_null(catalog_group_at(c, 1));
    assert_null(catalog_group_at(c, 2));
    catalog_free(c);
}

static void impossible_groups_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{}",
        "{\"id\":\"\",\"number\":0,\"firstShard\":1,\"shards\":1,\"dataKey\":"
        "\"AAAA\",\"indexKey\":\"AAAA\",\"regions\":[\"a\"]}",
        "{\"id\":\"g\",\"number\":70000,\"firstShard\":1,\"shards\":1,"
        "\"dataKey\":\"AAAA\",\"indexKey\":\"AAAA\",\"regions\":[\"a\"]}",
        "{\"id\":\"g\",\"number\":0,\"firstShard\":0,\"shards\":1,\"dataKey\":"
        "\"AAAA\",\"indexKey\":\"AAAA\",\"regions\":[\"a\"]}",
        "{\"id\":\"g\",\"number\":0,\"firstShard\":4095,\"shards\":2,"
        "\"dataKey\":\"AAAA\",\"indexKey\":\"AAAA\",\"regions\":[\"a\"]}",
        "{\"id\":\"g\",\"number\":0,\"firstShard\":1,\"shards\":1,\"dataKey\":"
        "\"\",\"indexKey\":\"AAAA\",\"regions\":[\"a\"]}",
        "{\"id\":\"g\",\"number\":0,\"firstShard\":1,\"shards\":1,\"dataKey\":"
        "\"AAAA\",\"indexKey\":\"!\",\"regions\":[\"a\"]}",
        "{\"id\":\"g\",\"number\":0,\"firstShard\":1,\"shards\":1,\"dataKey\":"
        "\"AAAA\",\"indexKey\":\"AAAA\",\"regions\":[]}",
        "{\"id\":\"g\",\"number\":0,\"firstShard\":1,\"shards\":1,\"dataKey\":"
        "\"AAAA\",\"indexKey\":\"AAAA\",\"regions\":[5]}",
        "{\"id\":\"g\\u0000x\",\"number\":0,\"firstShard\":1,\"shards\":1,"
        "\"dataKey\":\"AAAA\",\"indexKey\":\"AAAA\",\"regions\":[\"a\"]}",
    };
    struct catalog_group g;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(catalog_group_parse(bytes_str(bad[i]), &g, NULL),
                         ERR_CORRUPT);
    assert_int_equal(
        catalog_group_parse(
            bytes_str("{\"id\":\"g\",\"number\":0,\"firstShard\":4095,"
                      "\"shards\":1,\"dataKey\":\"AAAA\",\"indexKey\":\"AAAA\","
                      "\"regions\":[\"a\"]}"),
            &g, NULL),
        ERR_OK);
    /* Of before there were decisions. */
    assert_int_equal(g.decision.epoch, 0);
    assert_string_equal(g.decision.write_region, "a");
    assert_int_equal(g.decision.consistency.level, CONSISTENCY_STRONG);
}

static void witnesses_survive_their_records(void **state)
{
    (void)state;
    struct catalog_group g = sample_group("g", 1), back;
    g.witness = g.first_witness = 4;
    buf_clear(&text);
    struct bytes json = formatted(catalog_group_format(&g, &text));
    /* As nodes know it that know of no change. */
    assert_null(memmem(json.data, json.len, "firstWitness", 12));
    assert_null(memmem(json.data, json.len, "witnessLeaving", 14));
    assert_int_equal(catalog_group_parse(json, &back, NULL), ERR_OK);
    assert_true(back.witness == 4 && back.first_witness == 4);
    for (uint8_t now = 0; now <= 5; now += 5) {
        g.witness = now;
        g.witness_coming = now != 0;
        g.witness_leaving = 4;
        buf_clear(&text);
        json = formatted(catalog_group_format(&g, &text));
        assert_int_equal(catalog_group_parse(json, &back, NULL), ERR_OK);
        assert_true(back.witness == now && back.first_witness == 4);
        assert_true(back.witness_leaving == 4);
        assert_int_equal(back.witness_coming, now != 0);
        assert_true(catalog_group_has_witness(&back, 4));
        assert_int_equal(catalog_group_has_witness(&back, 5), now == 5);
        assert_false(catalog_group_has_witness(&back, 0));
    }
    g.witness = 4; /* one that came later */
    g.first_witness = 0;
    buf_clear(&text);
    json = formatted(catalog_group_format(&g, &text));
    assert_int_equal(catalog_group_parse(json, &back, NULL), ERR_OK);
    assert_true(back.witness == 4 && back.first_witness == 0);
}

static void settings_survive_their_records(void **state)
{
    (void)state;
    struct catalog_group g = sample_group("g", 1), back;
    buf_clear(&text);
    struct bytes json = formatted(catalog_group_format(&g, &text));
    /* What was always so is not said. */
    assert_null(memmem(json.data, json.len, "transit", 7));
    assert_null(memmem(json.data, json.len, "leaders", 7));
    g.transit = g.gather = true;
    buf_clear(&text);
    json = formatted(catalog_group_format(&g, &text));
    assert_int_equal(catalog_group_parse(json, &back, NULL), ERR_OK);
    assert_true(back.transit && back.gather);
    g = sample_group("g", GROUP_DEFAULT);
    g.transit = true; /* there is no fence */
    buf_clear(&text);
    json = formatted(catalog_group_format(&g, &text));
    assert_int_equal(catalog_group_parse(json, &back, NULL), ERR_CORRUPT);
    assert_int_equal(
        catalog_group_parse(
            bytes_str("{\"id\":\"g\",\"number\":0,\"firstShard\":1,"
                      "\"shards\":1,\"dataKey\":\"AAAA\",\"indexKey\":\"AAAA\","
                      "\"regions\":[\"a\"],\"leaders\":\"some\"}"),
            &back, NULL),
        ERR_CORRUPT);
}

static void impossible_decisions_are_refused(void **state)
{
    (void)state;
    struct catalog_group g = sample_group("g", 1), back;
    strcpy(g.decision.write_region, "mars");
    buf_clear(&text);
    struct bytes json = formatted(catalog_group_format(&g, &text));
    assert_int_equal(catalog_group_parse(json, &back, NULL), ERR_CORRUPT);
    g = sample_group("g", 1);
    strcpy(g.regions[2], "eastus");
    buf_clear(&text);
    json = formatted(catalog_group_format(&g, &text));
    assert_int_equal(catalog_group_parse(json, &back, NULL), ERR_CORRUPT);
    /* A key for a region outside the fence. */
    g = sample_group("g", 1);
    strcpy(g.keys[0].region, "mars");
    buf_clear(&text);
    json = formatted(catalog_group_format(&g, &text));
    assert_int_equal(catalog_group_parse(json, &back, NULL), ERR_CORRUPT);
    g = sample_group("g", 1);
    g.member_count = 0;
    buf_clear(&text);
    json = formatted(catalog_group_format(&g, &text));
    assert_int_equal(catalog_group_parse(json, &back, NULL), ERR_CORRUPT);
}

static void consistency_levels_have_the_protocol_s_names(void **state)
{
    (void)state;
    for (int i = 0; i < CONSISTENCY_COUNT; i++) {
        enum consistency_level level;
        assert_int_equal(
            consistency_parse(
                bytes_str(consistency_name((enum consistency_level)i)), &level),
            ERR_OK);
        assert_int_equal(level, i);
    }
    enum consistency_level level;
    assert_int_equal(consistency_parse(bytes_str("strong"), &level), ERR_OK);
    assert_int_equal(consistency_parse(bytes_str("Str"), &level), ERR_INVALID);
}

/* -- against a naive model ----------------------------------------------- */

#define MODEL_MAX 400
struct model_item {
    uint64_t lsn, db_lsn; /* db_lsn 0: a database */
    char name[8];
    bool live;
};
static struct model_item model[MODEL_MAX];
static size_t model_count;

static struct model_item *model_name(uint64_t db_lsn, const char *name)
{
    for (size_t i = 0; i < model_count; i++)
        if (model[i].live && model[i].db_lsn == db_lsn &&
            strcmp(model[i].name, name) == 0)
            return &model[i];
    return NULL;
}

static void model_create(struct catalog *c, uint64_t db_lsn, uint64_t lsn,
                         const char *name)
{
    struct model_item *m = &model[model_count++];
    *m = (struct model_item){.lsn = lsn, .db_lsn = db_lsn, .live = true};
    strcpy(m->name, name);
    assert_int_equal(db_lsn == 0 ? put_database(c, lsn, name)
                                 : put_container(c, db_lsn, lsn, name, 1),
                     ERR_OK);
}

static void model_delete(struct catalog *c, struct model_item *m, uint64_t lsn)
{
    m->live = false;
    for (size_t i = 0; i < model_count; i++)
        if (m->db_lsn == 0 && model[i].db_lsn == m->lsn)
            model[i].live = false;
    catalog_delete(c,
                   m->db_lsn == 0 ? CONTAINER_DATABASES : CONTAINER_CONTAINERS,
                   record_of(m->lsn), lsn);
}

static void compare_with_model(const struct catalog *c)
{
    size_t databases = 0, containers = 0;
    for (size_t i = 0; i < model_count; i++) {
        struct model_item *m = &model[i];
        if (m->db_lsn != 0) {
            struct container_def *def =
                catalog_container_number(c, number_of(m->lsn));
            assert_int_equal(def != NULL, m->live);
            containers += m->live;
            continue;
        }
        struct rid rid = rid_database(number_of(m->lsn));
        char rid_text[RID_TEXT_MAX];
        rid_format(&rid, rid_text);
        struct catalog_database *db = database(c, rid_text);
        assert_int_equal(db != NULL, m->live);
        if (db != NULL)
            assert_ptr_equal(database(c, m->name), db);
        databases += m->live;
    }
    assert_int_equal(catalog_database_count(c), databases);
    assert_int_equal(catalog_container_count(c), containers);
}

static void random_histories_agree_with_a_naive_model(void **state)
{
    (void)state;
    struct prng rng;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        prng_seed(&rng, seed);
        model_count = 0;
        struct catalog *c = catalog_new();
        for (uint64_t lsn = 1; lsn < MODEL_MAX; lsn++) {
            char name[8];
            snprintf(name, sizeof(name), "n%d", (int)prng_below(&rng, 6));
            struct model_item *db = model_name(0, name);
            char child[8];
            snprintf(child, sizeof(child), "c%d", (int)prng_below(&rng, 4));
            struct model_item *coll =
                db != NULL ? model_name(db->lsn, child) : NULL;
            if (db == NULL)
                model_create(c, 0, lsn, name);
            else if (coll == NULL)
                model_create(c, db->lsn, lsn, child);
            else
                model_delete(c, prng_one_in(&rng, 4) ? db : coll, lsn);
            if (lsn % 16 == 0)
                compare_with_model(c);
        }
        compare_with_model(c);
        catalog_free(c);
    }
}

static int free_text(void **state)
{
    (void)state;
    buf_free(&text);
    return 0;
}

static void removed_shards_are_ranges(void **state)
{
    (void)state;
    static struct catalog_account a, b;
    struct catalog *c = catalog_new();
    a = (struct catalog_account){.id = "acc"};
    assert_int_equal(catalog_account_remove(&a, 10, 2), ERR_OK);
    assert_int_equal(catalog_account_remove(&a, 3, 1), ERR_OK);
    assert_int_equal(catalog_account_remove(&a, 20, 5), ERR_OK);
    assert_int_equal(catalog_account_remove(&a, 10, 2), ERR_EXISTS);
    assert_int_equal(a.removed_count, 3);
    assert_int_equal(catalog_account_remove(&a, 8, 2), ERR_OK);  /* before */
    assert_int_equal(catalog_account_remove(&a, 12, 3), ERR_OK); /* behind */
    assert_int_equal(catalog_account_remove(&a, 15, 5), ERR_OK); /* between */
    assert_int_equal(a.removed_count, 2);
    buf_clear(&text);
    struct bytes json = formatted(catalog_account_format(&a, &text));
    assert_int_equal(catalog_account_parse(json, &b, NULL), ERR_OK);
    assert_int_equal(b.removed_count, 2);
    assert_memory_equal(b.removed, a.removed, 2 * sizeof(a.removed[0]));
    assert_false(catalog_shard_removed(c, 3));
    assert_int_equal(catalog_put(c, CONTAINER_ACCOUNT, 1, json, 1, NULL),
                     ERR_OK);
    for (uint32_t shard = 0; shard < 40; shard++)
        assert_int_equal(catalog_shard_removed(c, shard),
                         shard == 3 || (shard >= 8 && shard < 25));
    for (uint16_t i = 0; i < CATALOG_REMOVED_MAX - 2; i++)
        assert_int_equal(catalog_account_remove(&a, (uint16_t)(100 + 2 * i), 1),
                         ERR_OK);
    assert_int_equal(catalog_account_remove(&a, 5000, 1), ERR_LIMIT);
    catalog_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_is_found_by_name_and_by_rid),
        cmocka_unit_test(names_come_before_rids),
        cmocka_unit_test(one_name_may_be_in_every_database),
        cmocka_unit_test(
            a_replaced_container_keeps_its_number_and_old_readers_their_copy),
        cmocka_unit_test(a_deleted_database_takes_its_containers_along),
        cmocka_unit_test(a_recreated_container_is_another_one),
        cmocka_unit_test(records_may_be_read_in_any_order_at_start),
        cmocka_unit_test(listing_pages_in_order_of_creation),
        cmocka_unit_test(damaged_records_change_nothing),
        cmocka_unit_test(the_account_survives_its_record),
        cmocka_unit_test(groups_survive_their_records),
        cmocka_unit_test(a_group_is_split_and_its_old_shards_retired),
        cmocka_unit_test(removed_shards_are_ranges),
        cmocka_unit_test(impossible_groups_are_refused),
        cmocka_unit_test(settings_survive_their_records),
        cmocka_unit_test(witnesses_survive_their_records),
        cmocka_unit_test(impossible_decisions_are_refused),
        cmocka_unit_test(consistency_levels_have_the_protocol_s_names),
        cmocka_unit_test(random_histories_agree_with_a_naive_model),
    };
    buf_init(&text, 1 << 16);
    return cmocka_run_group_tests(tests, NULL, free_text);
}
