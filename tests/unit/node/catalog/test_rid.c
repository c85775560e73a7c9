/* Promises of resource ids: the protocol's layouts, one text per id, order of
 * creation, no reuse. Examples: protocol reference, Appendix B.3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/prng.h"
#include "node/catalog/rid.h"

static struct rid parsed(const char *text)
{
    struct rid rid = {0};
    assert_int_equal(rid_parse(bytes_str(text), &rid), ERR_OK);
    return rid;
}

static void expect_text(struct rid rid, const char *expected)
{
    char text[RID_TEXT_MAX];
    assert_int_equal(rid_format(&rid, text), strlen(expected));
    assert_string_equal(text, expected);
}

static void published_examples_have_the_published_bytes(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0x91, 0xd6, 0x38, 0x00,
                                    0x89, 0xfc, 0x83, 0x9e};
    struct rid db = parsed("kdY4AA==");
    assert_int_equal(db.len, 4);
    assert_memory_equal(db.bytes, bytes, 4);
    assert_int_equal(rid_kind(&db), RID_DATABASE);
    struct rid coll = parsed("kdY4AIn8g54=");
    assert_int_equal(coll.len, 8);
    assert_memory_equal(coll.bytes, bytes, 8);
    assert_int_equal(rid_kind(&coll), RID_CONTAINER);
    struct rid doc = parsed("kdY4AIn8g54BAAAAAAAAAA==");
    assert_int_equal(rid_kind(&doc), RID_DOCUMENT);
    assert_int_equal(rid_child_counter(&doc), 1);
    struct rid range = parsed("kdY4AIn8g54CAAAAAAAAUA==");
    assert_int_equal(rid_kind(&range), RID_PKRANGE);
    assert_int_equal(rid_child_counter(&range), 2);
    expect_text(rid_document(&coll, 1), "kdY4AIn8g54BAAAAAAAAAA==");
    expect_text(rid_pkrange(&coll, 2), "kdY4AIn8g54CAAAAAAAAUA==");
}

static void kinds_follow_from_size_and_bits(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum rid_kind kind;
    } cases[] = {
        {"AAAA", RID_OFFER},
        {"AAAAAA==", RID_DATABASE},
        {"AAAAAAAA", RID_ROLE},
        {"AAAAAAAAAA==", RID_SNAPSHOT},
        {"kdY4AAAAAAE=", RID_USER},
        {"kdY4AIAAAAE=", RID_CONTAINER},
        {"kdY4AAAAAAEAAAAAAAAAAQ==", RID_PERMISSION},
        {"kdY4AAAAAAAAAAABAAAAAg==", RID_TYPE_OR_KEY},
        {"kdY4AIn8g54BAAAAAAAAMA==", RID_SYSTEM_DOCUMENT},
        {"kdY4AIn8g54BAAAAAAAAQA==", RID_CONFLICT},
        {"kdY4AIn8g54BAAAAAAAAYA==", RID_UDF},
        {"kdY4AIn8g54BAAAAAAAAcA==", RID_TRIGGER},
        {"kdY4AIn8g54BAAAAAAAAgA==", RID_SPROC},
        {"kdY4AIn8g54BAAAAAAAAkA==", RID_SCHEMA},
        {"kdY4AIn8g54BAAAAAAAA8A==", RID_UNKNOWN},
        {"kdY4AIn8g54BAAAAAAAAAAAAAAE=", RID_ATTACHMENT},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rid rid = parsed(cases[i].text);
        assert_int_equal(rid_kind(&rid), cases[i].kind);
    }
}

static void only_the_canonical_text_is_a_rid(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "A",
        "kdY4AA=",
        "kdY4AA",
        "kdY4AA===",
        "kdY4AB==",     /* stray bits */
        "kdY4AIn/g54=", /* slash instead of minus */
        "kdY4 A==",
        "kdY4AA==\n",
        "AA==",                     /* one byte */
        "AAAAAAA=",                 /* five */
        "kdY4AIn8g54BAAAAAAAAAAAA", /* eighteen */
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "mydatabase",
        "=kdY4A==",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct rid rid;
        assert_int_equal(rid_parse(bytes_str(bad[i]), &rid), ERR_MALFORMED);
    }
}

static void minus_stands_for_slash(void **state)
{
    (void)state;
    struct rid rid = {.len = 4, .bytes = {0xff, 0xff, 0xfb, 0xfe}};
    expect_text(rid, "---7-g==");
    struct rid again = parsed("---7-g==");
    assert_true(rid_equal(&rid, &again));
}

static void every_rid_survives_its_text(void **state)
{
    (void)state;
    static const uint8_t sizes[] = {3, 4, 6, 7, 8, 16, 20};
    struct prng rng;
    prng_seed(&rng, 7);
    for (int round = 0; round < 5000; round++) {
        struct rid rid = {.len = sizes[prng_below(&rng, sizeof(sizes))]};
        for (size_t i = 0; i < rid.len; i++)
            rid.bytes[i] = (uint8_t)prng_u64(&rng);
        char text[RID_TEXT_MAX];
        size_t len = rid_format(&rid, text);
        struct rid again;
        assert_int_equal(rid_parse(bytes_of(text, len), &again), ERR_OK);
        assert_true(rid_equal(&rid, &again));
        (void)rid_kind(&again);
    }
}

static void counters_keep_their_fields_and_grow_with_the_log(void **state)
{
    (void)state;
    uint64_t max = rid_counter(RID_LSN_MAX, RID_POSITION_MAX, RID_SHARD_MAX);
    assert_true(max == (UINT64_C(1) << 60) - 1);
    assert_true(rid_counter_lsn(max) == RID_LSN_MAX);
    assert_int_equal(rid_counter_position(max), RID_POSITION_MAX);
    assert_int_equal(rid_counter_shard(max), RID_SHARD_MAX);
    uint64_t a = rid_counter(5, 255, 7);
    uint64_t b = rid_counter(6, 0, 7);
    uint64_t c = rid_counter(6, 1, 7);
    assert_true(a < b && b < c);
    struct rid coll = rid_container(16, 17);
    struct rid doc = rid_document(&coll, c);
    assert_int_equal(rid_kind(&doc), RID_DOCUMENT);
    assert_true(rid_child_counter(&doc) == c);
}

static void numbers_are_unique_and_leave_room_for_the_catalog(void **state)
{
    (void)state;
    uint32_t number;
    assert_int_equal(rid_number(rid_counter(1, 0, 0), &number), ERR_OK);
    assert_int_equal(number, RID_NUMBER_FIRST + 1);
    assert_int_equal(rid_number(rid_counter(0x7fffffef, 0, 0), &number),
                     ERR_OK);
    assert_int_equal(number, RID_NUMBER_MAX);
    assert_int_equal(rid_number(rid_counter(0x7ffffff0, 0, 0), &number),
                     ERR_LIMIT);
    assert_int_equal(rid_number(rid_counter(1, 1, 0), &number), ERR_LIMIT);
    assert_int_equal(rid_number(rid_counter(1, 0, 1), &number), ERR_LIMIT);
    assert_int_equal(rid_number(UINT64_C(1) << 60, &number), ERR_LIMIT);
}

static void containers_know_their_database_and_number(void **state)
{
    (void)state;
    struct rid coll = rid_container(0x01020304, 0x05060708);
    assert_int_equal(rid_kind(&coll), RID_CONTAINER);
    assert_int_equal(rid_database_number(&coll), 0x01020304);
    assert_int_equal(rid_container_number(&coll), 0x05060708);
    struct rid db = rid_parent(&coll);
    struct rid same = rid_database(0x01020304);
    assert_true(rid_equal(&db, &same));
    struct rid doc = rid_document(&coll, 9);
    struct rid parent = rid_parent(&doc);
    assert_true(rid_equal(&parent, &coll));
    assert_int_equal(rid_container_number(&doc), 0x05060708);
    assert_int_equal(rid_database_number(&doc), 0x01020304);
}

static void random_texts_are_parsed_quietly(void **state)
{
    (void)state;
    static const char alphabet[] = "ABcd01+-/= \n\xff";
    struct prng rng;
    prng_seed(&rng, 11);
    for (int round = 0; round < 50000; round++) {
        /* Exactly sized, so that reading beyond it is noticed. */
        size_t len = prng_below(&rng, 34);
        uint8_t *text = malloc(len > 0 ? len : 1);
        for (size_t i = 0; i < len; i++)
            text[i] = (uint8_t)alphabet[prng_below(&rng, sizeof(alphabet))];
        struct rid rid;
        int err = rid_parse(bytes_of(text, len), &rid);
        assert_true(err == ERR_OK || err == ERR_MALFORMED);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_examples_have_the_published_bytes),
        cmocka_unit_test(kinds_follow_from_size_and_bits),
        cmocka_unit_test(only_the_canonical_text_is_a_rid),
        cmocka_unit_test(minus_stands_for_slash),
        cmocka_unit_test(every_rid_survives_its_text),
        cmocka_unit_test(counters_keep_their_fields_and_grow_with_the_log),
        cmocka_unit_test(numbers_are_unique_and_leave_room_for_the_catalog),
        cmocka_unit_test(containers_know_their_database_and_number),
        cmocka_unit_test(random_texts_are_parsed_quietly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
