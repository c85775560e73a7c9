/* Promises of container and database definitions: what is sent is completed
 * and echoed as the protocol reference (sections 3.5 and 3.7) says, what is
 * wrong is refused with a reason, and what is stored can be read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/prng.h"
#include "node/catalog/container.h"

static struct json parser;
static struct buf out;
static struct err_msg message;
static const struct container_place somewhere;

static int create(const char *body)
{
    buf_clear(&out);
    message.text[0] = '\0';
    assert_int_equal(json_parse(&parser, bytes_str(body), 1 << 20, NULL),
                     ERR_OK);
    return container_create(&parser, 0, &somewhere, &out, &message);
}

static void expect_created(const char *body, const char *stored)
{
    assert_int_equal(create(body), ERR_OK);
    assert_string_equal(buf_cstr(&out), stored);
    struct container_def *def;
    assert_int_equal(container_def_parse(bytes_str(stored), &def, &message),
                     ERR_OK);
    container_def_unref(def);
}

/* The body {"id":"c","partitionKey":{"paths":["/pk"]}, ...}. */
static const char *with(const char *more)
{
    static char body[8192];
    snprintf(body, sizeof(body),
             "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/pk\"]}%s%s}",
             *more != '\0' ? "," : "", more);
    return body;
}

static void expect_contains(const char *body, const char *part)
{
    assert_int_equal(create(body), ERR_OK);
    if (strstr(buf_cstr(&out), part) == NULL)
        fail_msg("no %s in %s", part, buf_cstr(&out));
}

static void expect_refused(const char *body, const char *reason)
{
    assert_int_equal(create(body), ERR_INVALID);
    assert_int_equal(buf_len(&out), 0);
    if (strstr(message.text, reason) == NULL)
        fail_msg("no %s in %s", reason, message.text);
}

#define INDEX_DEFAULT                                                          \
    "\"indexingPolicy\":{\"indexingMode\":\"consistent\",\"automatic\":true,"  \
    "\"includedPaths\":[{\"path\":\"/*\"}],"                                   \
    "\"excludedPaths\":[{\"path\":\"/\\\"_etag\\\"/?\"}]}"
#define CONFLICT_DEFAULT                                                       \
    "\"conflictResolutionPolicy\":{\"mode\":\"LastWriterWins\","               \
    "\"conflictResolutionPath\":\"/_ts\",\"conflictResolutionProcedure\":"     \
    "\"\"}"
#define GEO_DEFAULT "\"geospatialConfig\":{\"type\":\"Geography\"}"

static void defaults_are_filled_in(void **state)
{
    (void)state;
    expect_created(with(""),
                   "{\"id\":\"c\"," INDEX_DEFAULT
                   ",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\"}"
                   "," CONFLICT_DEFAULT "," GEO_DEFAULT "}");
}

static void the_sdk_s_usual_body_is_echoed(void **state)
{
    (void)state;
    expect_created(
        "{\"id\":\"Items\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":"
        "\"Hash\",\"version\":2},\"indexingPolicy\":{\"indexingMode\":"
        "\"Consistent\",\"automatic\":true,\"includedPaths\":[{\"path\":"
        "\"/*\"}],\"excludedPaths\":[]},\"uniqueKeyPolicy\":{\"uniqueKeys\":"
        "[]},\"defaultTtl\":3600}",
        "{\"id\":\"Items\"," INDEX_DEFAULT
        ",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\","
        "\"version\":2},\"defaultTtl\":3600,"
        "\"uniqueKeyPolicy\":{\"uniqueKeys\":[]}," CONFLICT_DEFAULT
        "," GEO_DEFAULT "}");
}

static void system_and_unknown_properties_are_dropped(void **state)
{
    (void)state;
    assert_int_equal(
        create(with("\"_rid\":\"x\",\"_self\":\"y\",\"_etag\":\"z\",\"_ts\":1,"
                    "\"_docs\":\"docs/\",\"throughput\":400,\"nonsense\":{}")),
        ERR_OK);
    assert_null(strstr(buf_cstr(&out), "_rid"));
    assert_null(strstr(buf_cstr(&out), "_docs"));
    assert_null(strstr(buf_cstr(&out), "nonsense"));
}

static void partition_keys_of_all_kinds_are_understood(void **state)
{
    (void)state;
    expect_contains("{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/a/b\"],"
                    "\"version\":2}}",
                    "\"partitionKey\":{\"paths\":[\"/a/b\"],\"kind\":\"Hash\","
                    "\"version\":2}");
    expect_contains("{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/t\",\"/u\","
                    "\"/v\"],\"kind\":\"MultiHash\",\"version\":2}}",
                    "\"partitionKey\":{\"paths\":[\"/t\",\"/u\",\"/v\"],"
                    "\"kind\":\"MultiHash\",\"version\":2}");
    expect_contains("{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/t\",\"/u\"],"
                    "\"kind\":\"multihash\"}}",
                    "\"kind\":\"MultiHash\",\"version\":2}");
    expect_contains("{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/\\\"a b\\\""
                    "/c\"],\"kind\":\"Hash\",\"version\":1}}",
                    "\"paths\":[\"/\\\"a b\\\"/c\"],\"kind\":\"Hash\","
                    "\"version\":1}");
    expect_contains("{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/id\"]}}",
                    "\"paths\":[\"/id\"]");
    expect_contains("{\"id\":\"c\",\"partitionKey\":{\"paths\":["
                    "\"/_partitionKey\"],\"systemKey\":true}}",
                    "\"systemKey\":true");
}

static void wrong_partition_keys_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *key, *reason;
    } cases[] = {
        {"\"/pk\"", "partition key definition"},
        {"null", "partition key definition"},
        {"{}", "partitionKey.paths"},
        {"{\"paths\":\"/pk\"}", "partitionKey.paths"},
        {"{\"paths\":[]}", "partitionKey.paths"},
        {"{\"paths\":[5]}", "partitionKey.paths"},
        {"{\"paths\":[\"pk\"]}", "partitionKey.paths"},
        {"{\"paths\":[\"/\"]}", "partitionKey.paths"},
        {"{\"paths\":[\"\"]}", "partitionKey.paths"},
        {"{\"paths\":[\"/a//b\"]}", "partitionKey.paths"},
        {"{\"paths\":[\"/a/\"]}", "partitionKey.paths"},
        {"{\"paths\":[\"/_ts\"]}", "partitionKey.paths"},
        {"{\"paths\":[\"/\\\"_etag\\\"\"]}", "partitionKey.paths"},
        {"{\"paths\":[\"/a\",\"/b\"]}", "partitionKey.kind"},
        {"{\"paths\":[\"/a\"],\"kind\":\"MultiHash\"}", "partitionKey.kind"},
        {"{\"paths\":[\"/a\"],\"kind\":\"Range\"}", "partitionKey.kind"},
        {"{\"paths\":[\"/a\"],\"kind\":7}", "partitionKey.kind"},
        {"{\"paths\":[\"/a\",\"/a\"],\"kind\":\"MultiHash\"}", "all different"},
        {"{\"paths\":[\"/a\",\"/b\",\"/c\",\"/d\"],\"kind\":\"MultiHash\"}",
         "one to three"},
        {"{\"paths\":[\"/a\"],\"version\":3}", "partitionKey.version"},
        {"{\"paths\":[\"/a\"],\"version\":\"2\"}", "partitionKey.version"},
        {"{\"paths\":[\"/a\",\"/b\"],\"kind\":\"MultiHash\",\"version\":1}",
         "partitionKey.version"},
        {"{\"paths\":[\"/a\"],\"systemKey\":1}", "partitionKey.systemKey"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char body[512];
        snprintf(body, sizeof(body), "{\"id\":\"c\",\"partitionKey\":%s}",
                 cases[i].key);
        expect_refused(body, cases[i].reason);
    }
    expect_refused("{\"id\":\"c\"}", "partition key definition");
}

static void indexing_policies_are_completed(void **state)
{
    (void)state;
    static const struct {
        const char *sent, *stored;
    } cases[] = {
        {"{}", INDEX_DEFAULT},
        {"{\"includedPaths\":[{\"path\":\"/a/?\"}]}",
         "\"includedPaths\":[{\"path\":\"/a/?\"}],\"excludedPaths\":[{\"path\":"
         "\"/*\"},{\"path\":\"/\\\"_etag\\\"/?\"}]"},
        {"{\"excludedPaths\":[{\"path\":\"/a/*\"}]}",
         "\"includedPaths\":[{\"path\":\"/*\"}],\"excludedPaths\":[{\"path\":"
         "\"/a/*\"},{\"path\":\"/\\\"_etag\\\"/?\"}]"},
        {"{\"includedPaths\":[],\"excludedPaths\":[{\"path\":\"/*\"},{\"path\":"
         "\"/\\\"_etag\\\"/?\"}]}",
         "\"includedPaths\":[],\"excludedPaths\":[{\"path\":\"/*\"},{\"path\":"
         "\"/\\\"_etag\\\"/?\"}]}"},
        {"{\"includedPaths\":[{\"path\":\"/\",\"indexes\":[{\"kind\":"
         "\"Hash\"}]}]}",
         "\"includedPaths\":[{\"path\":\"/\",\"indexes\":[{\"kind\":\"Hash\"}]}"
         "],"},
        {"{\"indexingMode\":\"NONE\"}",
         "{\"indexingMode\":\"none\",\"automatic\":false,\"includedPaths\":[],"
         "\"excludedPaths\":[]}"},
        {"{\"indexingMode\":\"Consistent\",\"automatic\":false}",
         "\"indexingMode\":\"consistent\",\"automatic\":false"},
        {"{\"compositeIndexes\":[[{\"path\":\"/a\",\"order\":\"ascending\"},"
         "{\"path\":\"/b\",\"order\":\"descending\"}]]}",
         "\"compositeIndexes\":[[{\"path\":\"/a\",\"order\":\"ascending\"},{"
         "\"path\":\"/b\",\"order\":\"descending\"}]]}"},
        {"{\"spatialIndexes\":[{\"path\":\"/loc/*\",\"types\":[\"Point\"]}]}",
         "\"spatialIndexes\":[{\"path\":\"/loc/*\",\"types\":[\"Point\"]}]"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char more[1024];
        snprintf(more, sizeof(more), "\"indexingPolicy\":%s", cases[i].sent);
        expect_contains(with(more), cases[i].stored);
    }
}

static void wrong_policies_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *more, *reason;
    } cases[] = {
        {"\"indexingPolicy\":5", "indexingPolicy"},
        {"\"indexingPolicy\":{\"indexingMode\":\"fast\"}", "indexingMode"},
        {"\"indexingPolicy\":{\"indexingMode\":1}", "indexingMode"},
        {"\"indexingPolicy\":{\"automatic\":\"yes\"}", "automatic"},
        {"\"indexingPolicy\":{\"includedPaths\":\"/*\"}", "includedPaths"},
        {"\"indexingPolicy\":{\"includedPaths\":[\"/*\"]}", "includedPaths"},
        {"\"indexingPolicy\":{\"excludedPaths\":[{}]}", "excludedPaths"},
        {"\"indexingPolicy\":{\"excludedPaths\":[{\"path\":\"a\"}]}",
         "excludedPaths"},
        {"\"indexingPolicy\":{\"compositeIndexes\":[{}]}", "compositeIndexes"},
        {"\"indexingPolicy\":{\"compositeIndexes\":{}}", "compositeIndexes"},
        {"\"indexingPolicy\":{\"vectorIndexes\":[5]}", "vectorIndexes"},
        {"\"defaultTtl\":0", "defaultTtl"},
        {"\"defaultTtl\":null", "defaultTtl"},
        {"\"defaultTtl\":-2", "defaultTtl"},
        {"\"defaultTtl\":1.5", "defaultTtl"},
        {"\"defaultTtl\":2147483648", "defaultTtl"},
        {"\"defaultTtl\":\"60\"", "defaultTtl"},
        {"\"uniqueKeyPolicy\":[]", "uniqueKeyPolicy"},
        {"\"uniqueKeyPolicy\":{\"uniqueKeys\":{}}", "uniqueKeyPolicy"},
        {"\"uniqueKeyPolicy\":{\"uniqueKeys\":[{}]}", "uniqueKeys"},
        {"\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":[]}]}", "uniqueKeys"},
        {"\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":[\"a\"]}]}",
         "uniqueKeys"},
        {"\"conflictResolutionPolicy\":1", "conflictResolutionPolicy"},
        {"\"conflictResolutionPolicy\":{\"mode\":\"x\"}", "mode"},
        {"\"conflictResolutionPolicy\":{\"mode\":1}", "mode"},
        {"\"geospatialConfig\":{\"type\":\"Flat\"}", "geospatialConfig"},
        {"\"analyticalStorageTtl\":\"x\"", "analyticalStorageTtl"},
        {"\"computedProperties\":[{\"name\":\"a\"}]", "computedProperties"},
        {"\"computedProperties\":{}", "computedProperties"},
        {"\"vectorEmbeddingPolicy\":[]", "vectorEmbeddingPolicy"},
        {"\"materializedViews\":{}", "materializedViews"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect_refused(with(cases[i].more), cases[i].reason);
}

static void other_policies_are_kept(void **state)
{
    (void)state;
    static const struct {
        const char *sent, *stored;
    } cases[] = {
        {"\"defaultTtl\":-1", "\"defaultTtl\":-1"},
        {"\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":[\"/a\",\"/b/c\"]}]}",
         "\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":[\"/a\",\"/b/c\"]}]"
         "}"},
        {"\"conflictResolutionPolicy\":{\"mode\":\"custom\","
         "\"conflictResolutionProcedure\":\"dbs/d/colls/c/sprocs/s\"}",
         "\"conflictResolutionPolicy\":{\"mode\":\"Custom\","
         "\"conflictResolutionPath\":\"\",\"conflictResolutionProcedure\":"
         "\"dbs/d/colls/c/sprocs/s\"}"},
        {"\"conflictResolutionPolicy\":{\"mode\":\"LastWriterWins\","
         "\"conflictResolutionPath\":\"/v\"}",
         "\"conflictResolutionPath\":\"/v\""},
        {"\"geospatialConfig\":{\"type\":\"geometry\"}",
         "\"geospatialConfig\":{\"type\":\"Geometry\"}"},
        {"\"computedProperties\":[{\"name\":\"l\",\"query\":\"SELECT VALUE "
         "LOWER(c.n) FROM c\"}]",
         "\"computedProperties\":[{\"name\":\"l\",\"query\":\"SELECT VALUE "
         "LOWER(c.n) FROM c\"}]"},
        {"\"vectorEmbeddingPolicy\":{\"vectorEmbeddings\":[]}",
         "\"vectorEmbeddingPolicy\":{\"vectorEmbeddings\":[]}"},
        {"\"fullTextPolicy\":{\"defaultLanguage\":\"en-US\"}",
         "\"fullTextPolicy\":{\"defaultLanguage\":\"en-US\"}"},
        {"\"changeFeedPolicy\":{\"retentionDuration\":0}",
         "\"changeFeedPolicy\":{\"retentionDuration\":0}"},
        {"\"analyticalStorageTtl\":-1", "\"analyticalStorageTtl\":-1"},
        {"\"clientEncryptionPolicy\":{\"policyFormatVersion\":2}",
         "\"clientEncryptionPolicy\":{\"policyFormatVersion\":2}"},
        {"\"uniqueKeyPolicy\":null,\"indexingPolicy\":null", INDEX_DEFAULT},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect_contains(with(cases[i].sent), cases[i].stored);
}

static void names_follow_the_rules(void **state)
{
    (void)state;
    char longest[1100];
    char *at = longest;
    for (int i = 0; i < 255; i++)
        at = stpcpy(at, "\xf0\x9f\x98\x80");
    assert_int_equal(resource_name_check(bytes_str(longest), NULL), ERR_OK);
    strcpy(at, "x");
    assert_int_equal(resource_name_check(bytes_str(longest), NULL),
                     ERR_INVALID);
    static const char *const good[] = {"a",   "A b",      " a",      "db-1_2.3",
                                       "%41", "\xc3\xa9", "AAAAAA=="};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(resource_name_check(bytes_str(good[i]), NULL), ERR_OK);
    static const char *const bad[] = {"",   "a/b", "a\\b", "a?",
                                      "a#", "a ",  "a\n",  "\x7f"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(resource_name_check(bytes_str(bad[i]), NULL),
                         ERR_INVALID);
    assert_int_equal(resource_name_check(bytes_of("a\0b", 3), NULL),
                     ERR_INVALID);
}

static void document_ids_may_be_almost_anything(void **state)
{
    (void)state;
    static const char *const good[] = {"a", " a ",   "a?b", "a#b",     "100%",
                                       "+", "a\"b'", "\n",  "\xc3\xa9"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(document_id_check(bytes_str(good[i]), NULL), ERR_OK);
    static const char *const bad[] = {"", "/", "a\\b"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(document_id_check(bytes_str(bad[i]), NULL),
                         ERR_INVALID);
    char longest[1025];
    memset(longest, 'x', sizeof(longest));
    assert_int_equal(document_id_check(bytes_of(longest, 1023), NULL), ERR_OK);
    assert_int_equal(document_id_check(bytes_of(longest, 1024), NULL),
                     ERR_INVALID);
}

static void missing_ids_are_refused_in_the_service_s_words(void **state)
{
    (void)state;
    static const char *const bodies[] = {"{}", "{\"id\":\"\"}", "{\"id\":5}",
                                         "{\"id\":null}", "{\"Id\":\"a\"}"};
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct buf scratch;
        struct bytes id;
        buf_init(&scratch, 4096);
        assert_int_equal(json_parse(&parser, bytes_str(bodies[i]), 4096, NULL),
                         ERR_OK);
        assert_int_equal(document_id_get(&parser, 0, &scratch, &id, &message),
                         ERR_INVALID);
        assert_string_equal(message.text,
                            "The input content is invalid because the required "
                            "properties - 'id; ' - are missing");
        assert_int_equal(resource_name_get(&parser, 0, &scratch, &id, &message),
                         ERR_INVALID);
        buf_free(&scratch);
    }
    expect_refused("{\"partitionKey\":{\"paths\":[\"/pk\"]}}", "'id; '");
    expect_refused("{\"id\":\"a/b\",\"partitionKey\":{\"paths\":[\"/pk\"]}}",
                   "may not contain");
    expect_refused("[]", "JSON object");
    expect_refused("\"c\"", "JSON object");
}

static void databases_keep_their_id_alone(void **state)
{
    (void)state;
    buf_clear(&out);
    assert_int_equal(json_parse(&parser,
                                bytes_str("{ \"x\":1, \"id\" : \"\\u00e9\\\"\","
                                          "\"_rid\":\"z\" }"),
                                4096, NULL),
                     ERR_OK);
    assert_int_equal(database_create(&parser, 0, &out, &message), ERR_OK);
    assert_string_equal(buf_cstr(&out), "{\"id\":\"\xc3\xa9\\\"\"}");
    static const char *const bad[] = {"{}", "[]", "5", "{\"id\":\"a#\"}",
                                      "{\"id\":[]}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        buf_clear(&out);
        assert_int_equal(json_parse(&parser, bytes_str(bad[i]), 4096, NULL),
                         ERR_OK);
        assert_int_equal(database_create(&parser, 0, &out, &message),
                         ERR_INVALID);
        assert_int_equal(buf_len(&out), 0);
    }
}

static void a_full_buffer_is_reported_and_left_as_it_was(void **state)
{
    (void)state;
    for (size_t room = 1; room < 300; room++) {
        struct buf small;
        buf_init(&small, room);
        assert_int_equal(json_parse(&parser, bytes_str(with("")), 4096, NULL),
                         ERR_OK);
        assert_int_equal(container_create(&parser, 0, &somewhere, &small, NULL),
                         ERR_LIMIT);
        assert_int_equal(buf_len(&small), 0);
        buf_free(&small);
    }
}

/* -- moves and splits ------------------------------------------------------ */

static struct container_def *moved(const struct container_def *def,
                                   const struct container_place *place,
                                   const struct container_move *move)
{
    struct container_def *now;
    buf_clear(&out);
    assert_int_equal(container_moved(def, place, move, &out), ERR_OK);
    assert_int_equal(
        container_def_parse(bytes_of(buf_bytes(&out), buf_len(&out)), &now,
                            &message),
        ERR_OK);
    return now;
}

static void a_place_and_a_move_survive_their_record(void **state)
{
    (void)state;
    const struct container_place at = {.group = bytes_str("eu"), .layout = 3};
    const struct container_move move = {.number = 77,
                                        .joined = 5,
                                        .ranges = 8,
                                        .split_count = 2,
                                        .splits = {2, 4},
                                        .phase = CONTAINER_COPYING,
                                        .other = bytes_str("eu"),
                                        .other_layout = 4,
                                        .mover = 9,
                                        .since = 100};
    struct container_def *def;
    assert_int_equal(create(with("")), ERR_OK);
    assert_int_equal(
        container_def_parse(bytes_of(buf_bytes(&out), buf_len(&out)), &def,
                            &message),
        ERR_OK);
    assert_int_equal(def->layout, 0);
    struct container_def *now = moved(def, &at, &move);
    assert_true(bytes_equal(now->placement, at.group));
    assert_int_equal(now->layout, 3);
    assert_int_equal(now->move.number, 77);
    assert_int_equal(now->move.joined, 5);
    assert_int_equal(now->move.ranges, 8);
    assert_int_equal(now->move.split_count, 2);
    assert_memory_equal(now->move.splits, move.splits, sizeof(move.splits));
    assert_int_equal(now->move.other_layout, 4);
    container_def_unref(now);
    /* What there was before splits: it joined by its last move. */
    const struct container_move before = {.number = 77, .joined = 77};
    now = moved(def, &at, &before);
    assert_null(strstr(buf_cstr(&out), "joined"));
    assert_int_equal(now->move.joined, 77);
    container_def_unref(now);
    container_def_unref(def);
}

static void the_places_of_parts_survive_their_record(void **state)
{
    (void)state;
    const struct container_place at = {
        bytes_str("/pk: a=eu, b=us, c=one"), 0, 3, {{0, 0}, {2, 77}, {1, 0}}};
    const struct container_move move = {.phase = CONTAINER_COPYING,
                                        .other = bytes_str("us"),
                                        .other_number = 900,
                                        .gone_count = 2,
                                        .gone = {{0, 1}, {900, 0}},
                                        .other_layout = 3,
                                        .mover = 9,
                                        .part = 1,
                                        .left = 6,
                                        .been_count = 2,
                                        .been = {{0, 2}, {900, 1}}};
    struct container_def *def, *again;
    assert_int_equal(create(with("")), ERR_OK);
    assert_int_equal(
        container_def_parse(bytes_of(buf_bytes(&out), buf_len(&out)), &def,
                            &message),
        ERR_OK);
    struct container_def *now = moved(def, &at, &move);
    for (int i = 0; i < 3; i++) {
        struct container_part part = container_part(now, i);
        assert_int_equal(part.layout, at.parts[i].layout);
        assert_int_equal(part.number, at.parts[i].number);
    }
    assert_int_equal(container_find_part(now, bytes_str("us")), 1);
    assert_int_equal(container_find_part(now, bytes_str("moon")), -1);
    assert_int_equal(container_find_part(now, bytes_of("", 0)), -1);
    assert_int_equal(container_find_part(def, bytes_of("", 0)), 0);
    assert_int_equal(container_find_part(def, bytes_str("default")), 0);
    assert_int_equal(now->move.other_number, 900);
    assert_int_equal(now->move.gone_count, 2);
    assert_int_equal(now->move.gone[0].layout, 1);
    assert_int_equal(now->move.gone[1].group, 900);
    assert_int_equal(now->move.other_layout, 3);
    assert_int_equal(now->move.part, 1);
    assert_int_equal(now->move.left, 6);
    assert_false(container_changes_group(now));
    assert_true(container_been_in(&now->move, 0));
    assert_true(container_been_in(&now->move, 900));
    assert_false(container_been_in(&now->move, 9));
    assert_int_equal(container_been_note(&now->move, 0, 2), ERR_OK);
    assert_int_equal(container_been_note(&now->move, 0, 1), ERR_EXISTS);
    assert_int_equal(container_been_note(&now->move, 900, 1), ERR_OK);
    /* And the replacing of the definition by a client. */
    buf_clear(&out);
    assert_int_equal(json_parse(&parser, bytes_str(with("")), 4096, NULL),
                     ERR_OK);
    assert_int_equal(container_replace(now, &parser, 0, &out, &message),
                     ERR_OK);
    assert_int_equal(
        container_def_parse(bytes_of(buf_bytes(&out), buf_len(&out)), &again,
                            &message),
        ERR_OK);
    assert_int_equal(again->parts[1].number, 77);
    assert_int_equal(again->parts[2].layout, 1);
    assert_int_equal(again->move.phase, CONTAINER_COPYING);
    again->move.other = bytes_str("far");
    assert_true(container_changes_group(again));
    again->move.other = bytes_str("eu"); /* of another part */
    assert_true(container_changes_group(again));
    again->move.phase = CONTAINER_STAYS;
    assert_false(container_changes_group(again));
    container_def_unref(again);
    container_def_unref(now);
    container_def_unref(def);
}

static void groups_of_moves_are_kept_once_and_not_without_end(void **state)
{
    (void)state;
    struct container_move m = {.number = 0};
    for (uint16_t i = 0; i < CONTAINER_BEEN_MAX; i++) {
        assert_int_equal(container_been_note(&m, i, 1), ERR_OK);
        assert_int_equal(container_been_note(&m, i, 1), ERR_OK);
    }
    assert_int_equal(m.been_count, CONTAINER_BEEN_MAX);
    assert_int_equal(container_been_note(&m, CONTAINER_BEEN_MAX, 1), ERR_FULL);
    assert_int_equal(container_been_note(&m, 3, 1), ERR_OK);
}

/* Writes for the part that a group had may come late, and would be taken. */
static void a_group_has_the_same_part_again_and_no_other(void **state)
{
    (void)state;
    struct container_move m = {.number = 0};
    assert_int_equal(container_been_note(&m, 1, 0), ERR_OK);
    assert_int_equal(container_been_note(&m, 3, 0), ERR_OK);
    assert_int_equal(container_been_note(&m, 1, 1), ERR_EXISTS);
    assert_int_equal(container_been_note(&m, 3, 1), ERR_EXISTS);
    assert_int_equal(container_been_note(&m, 2, 1), ERR_OK);
    assert_int_equal(container_been_note(&m, 1, 0), ERR_OK);
    assert_int_equal(m.been_count, 3);
}

static void expect_ranges(const struct container_move *m, uint16_t count,
                          uint32_t id, uint32_t first, uint32_t last)
{
    uint32_t a, b;
    assert_int_equal(container_ranges_of(m, count, id, &a, &b), ERR_OK);
    assert_int_equal(a, first);
    assert_int_equal(b, last);
}

static void ranges_know_what_they_came_from(void **state)
{
    (void)state;
    struct container_move m = {.number = 0};
    uint32_t a, b;
    expect_ranges(&m, 2, 1, 1, 1);
    assert_int_equal(container_ranges_of(&m, 2, 2, &a, &b), ERR_NOT_FOUND);
    /* To another group of three shards: ids 0 and 1 mean nothing there. */
    container_move_end(&m, 10, 2, false);
    assert_int_equal(m.joined, 10);
    assert_int_equal(container_ranges_of(&m, 3, 1, &a, &b), ERR_NOT_FOUND);
    expect_ranges(&m, 3, 2, 0, 0);
    /* Split into six, ids 5 to 10, then twelve, 11 to 22. */
    container_move_end(&m, 11, 3, true);
    container_move_end(&m, 12, 6, true);
    assert_int_equal(m.number, 12);
    assert_int_equal(m.joined, 10);
    assert_int_equal(m.ranges, 11);
    expect_ranges(&m, 12, 22, 11, 11);
    expect_ranges(&m, 12, 11, 0, 0);
    expect_ranges(&m, 12, 5, 0, 1);
    expect_ranges(&m, 12, 10, 10, 11);
    expect_ranges(&m, 12, 2, 0, 3);
    expect_ranges(&m, 12, 4, 8, 11);
    assert_int_equal(container_ranges_of(&m, 12, 1, &a, &b), ERR_NOT_FOUND);
    assert_int_equal(container_ranges_of(&m, 12, 23, &a, &b), ERR_NOT_FOUND);
    for (uint32_t i = 0; i < 12; i++)
        for (uint8_t back = 0; back < 2; back++) {
            uint32_t id = container_ancestor(&m, 12, i, back);
            assert_int_equal(container_ranges_of(&m, 12, id, &a, &b), ERR_OK);
            assert_true(a <= i && i <= b);
            assert_int_equal(b - a, back == 0 ? 1 : 3);
        }
}

static void damaged_splits_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "[4,2]",
        "[2,3]",
        "[0]",
        "[\"2\"]",
        "{}",
        "[9]",
        "[1,2,4,8,16,32,64,128,256,512,1024,2048,4095]"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char json[400];
        struct container_def *def;
        snprintf(json, sizeof(json),
                 "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/pk\"],"
                 "\"kind\":\"Hash\"},\"_move\":{\"number\":1,\"ranges\":8,"
                 "\"splits\":%s,\"other\":\"\",\"emptied\":true}}",
                 bad[i]);
        assert_int_equal(container_def_parse(bytes_str(json), &def, &message),
                         ERR_CORRUPT);
    }
}

/* -- stored definitions and replace --------------------------------------- */

#define STORED_HEAD                                                            \
    "{\"id\":\"Items\"," INDEX_DEFAULT                                         \
    ",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\"},"               \
    "\"defaultTtl\":60,\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":"       \
    "[\"/a\"]}]}," CONFLICT_DEFAULT "," GEO_DEFAULT
#define STORED_TAIL                                                            \
    ",\"_rid\":\"AAAAEYAAABI=\",\"_self\":\"dbs/AAAAEQ==/colls/AAAAEYAAABI=/"  \
    "\",\"_etag\":\"\\\"0000d826-0000-0100-0000-5db702980000\\\"\","           \
    "\"_ts\":1572274840,\"_docs\":\"docs/\"}"

static struct container_def *stored(const char *text)
{
    struct container_def *def = NULL;
    int err = container_def_parse(bytes_str(text), &def, &message);
    if (err != ERR_OK)
        fail_msg("%s", message.text);
    return def;
}

static void stored_definitions_are_read_back(void **state)
{
    (void)state;
    struct container_def *def = stored(STORED_HEAD STORED_TAIL);
    assert_int_equal(def->database, 0x11);
    assert_int_equal(def->number, 0x12);
    assert_true(bytes_equal(def->name, bytes_str("Items")));
    assert_int_equal(def->pk.kind, PK_HASH);
    assert_int_equal(def->pk.version, 1);
    assert_int_equal(def->pk.path_count, 1);
    assert_true(bytes_equal(def->pk.paths[0], bytes_str("/pk")));
    assert_true(def->has_ttl);
    assert_int_equal(def->default_ttl, 60);
    assert_true(def->has_unique_keys);
    assert_int_equal(def->ts, 1572274840);
    assert_true(bytes_equal(
        def->etag, bytes_str("\"0000d826-0000-0100-0000-5db702980000\"")));
    assert_true(bytes_equal(def->json, bytes_str(STORED_HEAD STORED_TAIL)));
    struct container_def *same = container_def_ref(def);
    container_def_unref(def);
    assert_int_equal(same->refs, 1);
    container_def_unref(same);
    container_def_unref(NULL);
}

static void damaged_definitions_are_reported(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "{}",
        "{\"id\":\"c\"}",
        "{\"id\":5,\"partitionKey\":{\"paths\":[\"/pk\"]}}",
        "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/pk\"]},\"_rid\":\"x\"}",
        "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/pk\"]},\"_rid\":"
        "\"AAAAEQ==\"}",
        "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/pk\"]},\"_rid\":5}",
        "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/pk\"]},\"_ts\":\"x\"}",
        "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/pk\"]},\"_etag\":1}",
        "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/pk\"]},"
        "\"defaultTtl\":0}",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct container_def *def = NULL;
        assert_int_equal(container_def_parse(bytes_str(bad[i]), &def, &message),
                         ERR_CORRUPT);
        assert_null(def);
        assert_non_null(strstr(message.text, "stored container definition"));
    }
}

static int replace(const char *body)
{
    struct container_def *old = stored(STORED_HEAD STORED_TAIL);
    buf_clear(&out);
    message.text[0] = '\0';
    assert_int_equal(json_parse(&parser, bytes_str(body), 1 << 20, NULL),
                     ERR_OK);
    int err = container_replace(old, &parser, 0, &out, &message);
    container_def_unref(old);
    return err;
}

static void what_was_read_can_be_written_back(void **state)
{
    (void)state;
    assert_int_equal(replace(STORED_HEAD STORED_TAIL), ERR_OK);
    assert_string_equal(buf_cstr(&out), STORED_HEAD "}");
}

static void mutable_properties_change_and_others_stay(void **state)
{
    (void)state;
    assert_int_equal(
        replace("{\"id\":\"Items\",\"indexingPolicy\":{\"indexingMode\":"
                "\"none\"}}"),
        ERR_OK);
    assert_string_equal(
        buf_cstr(&out),
        "{\"id\":\"Items\",\"indexingPolicy\":{\"indexingMode\":\"none\","
        "\"automatic\":false,\"includedPaths\":[],\"excludedPaths\":[]},"
        "\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\"},"
        "\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":[\"/"
        "a\"]}]}," CONFLICT_DEFAULT "," GEO_DEFAULT "}");
}

static void immutable_properties_may_be_sent_in_any_equal_form(void **state)
{
    (void)state;
    static const char *const same[] = {
        "\"partitionKey\":{\"paths\":[\"/pk\"]}",
        "\"partitionKey\":{\"version\":1,\"kind\":\"Hash\",\"paths\":[\"/"
        "pk\"]}",
        "\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":[\"\\u002fa\"]}]}",
        "\"conflictResolutionPolicy\":{\"conflictResolutionPath\":\"/_ts\","
        "\"mode\":\"lastWriterWins\"}",
        "\"partitionKey\":null",
    };
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        char body[1024];
        snprintf(body, sizeof(body), "{\"id\":\"Items\",%s}", same[i]);
        if (replace(body) != ERR_OK)
            fail_msg("%s: %s", same[i], message.text);
    }
}

static void changes_of_immutable_properties_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body, *reason;
    } cases[] = {
        {"{\"id\":\"Other\"}", "id of a container"},
        {"{}", "id of a container"},
        {"{\"id\":5}", "id of a container"},
        {"[]", "JSON object"},
        {"{\"id\":\"Items\",\"partitionKey\":{\"paths\":[\"/x\"]}}",
         "partitionKey"},
        {"{\"id\":\"Items\",\"partitionKey\":{\"paths\":[\"/pk\"],\"version\":"
         "2}}",
         "partitionKey"},
        {"{\"id\":\"Items\",\"partitionKey\":{\"paths\":[\"/pk\",\"/b\"],"
         "\"kind\":\"MultiHash\",\"version\":2}}",
         "partitionKey"},
        {"{\"id\":\"Items\",\"partitionKey\":\"/pk\"}", "partitionKey"},
        {"{\"id\":\"Items\",\"uniqueKeyPolicy\":{\"uniqueKeys\":[]}}",
         "uniqueKeyPolicy"},
        {"{\"id\":\"Items\",\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":"
         "[\"/b\"]}]}}",
         "uniqueKeyPolicy"},
        {"{\"id\":\"Items\",\"conflictResolutionPolicy\":{\"mode\":\"Custom\"}"
         "}",
         "conflictResolutionPolicy"},
        {"{\"id\":\"Items\",\"vectorEmbeddingPolicy\":{\"vectorEmbeddings\":[]}"
         "}",
         "vectorEmbeddingPolicy"},
        {"{\"id\":\"Items\",\"defaultTtl\":0}", "defaultTtl"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(replace(cases[i].body), ERR_INVALID);
        assert_int_equal(buf_len(&out), 0);
        if (strstr(message.text, cases[i].reason) == NULL)
            fail_msg("no %s in %s", cases[i].reason, message.text);
    }
}

static void a_stored_version_2_key_needs_no_version_in_a_replace(void **state)
{
    (void)state;
    struct container_def *old = stored(
        "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\","
        "\"version\":2}}");
    assert_int_equal(json_parse(&parser, bytes_str(with("")), 4096, NULL),
                     ERR_OK);
    buf_clear(&out);
    assert_int_equal(container_replace(old, &parser, 0, &out, &message),
                     ERR_OK);
    assert_non_null(strstr(buf_cstr(&out), "\"version\":2"));
    container_def_unref(old);
}

/* Deterministic smoke fuzz: whatever is accepted can be read back, and
 * replacing it by itself changes nothing. */
static void random_bodies_are_checked_quietly(void **state)
{
    (void)state;
    static const char *const values[] = {
        "null",
        "true",
        "5",
        "-1",
        "\"x\"",
        "\"/a\"",
        "[]",
        "{}",
        "[\"/a\"]",
        "[\"/a\",\"/b\"]",
        "{\"paths\":[\"/pk\"]}",
        "{\"paths\":[\"/pk\",\"/q\"],\"kind\":\"MultiHash\"}",
        "{\"uniqueKeys\":[{\"paths\":[\"/a\"]}]}",
        "{\"mode\":\"Custom\"}",
        "{\"type\":\"Geometry\"}",
        "[{\"path\":\"/*\"}]",
        "{\"indexingMode\":\"none\"}",
        "{\"includedPaths\":[{\"path\":\"/*\"}],\"compositeIndexes\":[[]]}"};
    static const char *const names[] = {"id",
                                        "partitionKey",
                                        "indexingPolicy",
                                        "defaultTtl",
                                        "uniqueKeyPolicy",
                                        "conflictResolutionPolicy",
                                        "geospatialConfig",
                                        "computedProperties",
                                        "fullTextPolicy",
                                        "materializedViews"};
    struct prng rng;
    prng_seed(&rng, 9);
    int accepted = 0;
    for (int round = 0; round < 30000; round++) {
        char body[2048];
        char *at = stpcpy(body, "{\"id\":\"c\",\"partitionKey\":{\"paths\":"
                                "[\"/pk\"]}");
        for (uint64_t n = prng_below(&rng, 4); n > 0; n--)
            at += sprintf(at, ",\"%s\":%s", names[prng_below(&rng, 10)],
                          values[prng_below(&rng, 18)]);
        strcpy(at, "}");
        int err = create(body);
        if (err == ERR_INVALID)
            continue;
        assert_int_equal(err, ERR_OK);
        accepted++;
        struct container_def *def = stored(buf_cstr(&out));
        struct buf again;
        buf_init(&again, DEFINITION_MAX);
        assert_int_equal(json_parse(&parser, def->json, 4096, NULL), ERR_OK);
        assert_int_equal(container_replace(def, &parser, 0, &again, &message),
                         ERR_OK);
        assert_true(bytes_equal(bytes_of(buf_bytes(&again), buf_len(&again)),
                                def->json));
        buf_free(&again);
        container_def_unref(def);
    }
    assert_true(accepted > 1000);
}

static int free_all(void **state)
{
    (void)state;
    json_free(&parser);
    buf_free(&out);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_filled_in),
        cmocka_unit_test(the_sdk_s_usual_body_is_echoed),
        cmocka_unit_test(system_and_unknown_properties_are_dropped),
        cmocka_unit_test(partition_keys_of_all_kinds_are_understood),
        cmocka_unit_test(wrong_partition_keys_are_refused),
        cmocka_unit_test(indexing_policies_are_completed),
        cmocka_unit_test(wrong_policies_are_refused),
        cmocka_unit_test(other_policies_are_kept),
        cmocka_unit_test(names_follow_the_rules),
        cmocka_unit_test(document_ids_may_be_almost_anything),
        cmocka_unit_test(missing_ids_are_refused_in_the_service_s_words),
        cmocka_unit_test(databases_keep_their_id_alone),
        cmocka_unit_test(a_full_buffer_is_reported_and_left_as_it_was),
        cmocka_unit_test(a_place_and_a_move_survive_their_record),
        cmocka_unit_test(the_places_of_parts_survive_their_record),
        cmocka_unit_test(groups_of_moves_are_kept_once_and_not_without_end),
        cmocka_unit_test(a_group_has_the_same_part_again_and_no_other),
        cmocka_unit_test(ranges_know_what_they_came_from),
        cmocka_unit_test(damaged_splits_are_refused),
        cmocka_unit_test(stored_definitions_are_read_back),
        cmocka_unit_test(damaged_definitions_are_reported),
        cmocka_unit_test(what_was_read_can_be_written_back),
        cmocka_unit_test(mutable_properties_change_and_others_stay),
        cmocka_unit_test(immutable_properties_may_be_sent_in_any_equal_form),
        cmocka_unit_test(changes_of_immutable_properties_are_refused),
        cmocka_unit_test(a_stored_version_2_key_needs_no_version_in_a_replace),
        cmocka_unit_test(random_bodies_are_checked_quietly),
    };
    json_init(&parser);
    buf_init(&out, DEFINITION_MAX);
    return cmocka_run_group_tests(tests, NULL, free_all);
}
