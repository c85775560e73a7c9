/* Promises of records: the exact text that is stored for each kind of resource,
 * and keys that sort by container, partition and creation. */
#include "node/shard/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "node/catalog/rid.h"

static const struct etag tag = {
    .term = 0x100000002, .lsn = 3, .shard = 1, .position = 0};

static void expect_text(const struct op *op, uint64_t record,
                        const char *expected)
{
    struct buf out;
    buf_init(&out, OP_BODY_MAX);
    assert_int_equal(record_text(op, record, &tag, 1700000000, &out), ERR_OK);
    assert_string_equal(buf_cstr(&out), expected);
    buf_free(&out);
}

static struct op writing(enum op_resource resource, const char *body)
{
    return (struct op){.kind = OP_WRITE,
                       .mode = OP_CREATE,
                       .resource = resource,
                       .body = bytes_str(body)};
}

static void a_document_gets_its_system_properties(void **state)
{
    (void)state;
    struct op op = writing(OP_RESOURCE_DOCUMENT, "{\"id\":\"1\",\"pk\":\"a\"");
    static const uint8_t container[8] = {0, 0, 0, 32, 0x80, 0, 0, 16};
    memcpy(op.parent_rid, container, sizeof(container));
    /* Counter 3<<20|1: the bytes 01 00 30 00 ... after the container's. */
    expect_text(&op, rid_counter(3, 0, 1),
                "{\"id\":\"1\",\"pk\":\"a\""
                ",\"_rid\":\"AAAAIIAAABABADAAAAAAAA==\""
                ",\"_self\":\"dbs/AAAAIA==/colls/AAAAIIAAABA=/docs/"
                "AAAAIIAAABABADAAAAAAAA==/\""
                ",\"_etag\":\"\\\"00000002-0001-0000-0001-000000000003\\\"\""
                ",\"_attachments\":\"attachments/\""
                ",\"_ts\":1700000000}");
}

static void a_database_gets_its_system_properties(void **state)
{
    (void)state;
    struct op op = writing(OP_RESOURCE_DATABASE, "{\"id\":\"db\"");
    /* Number: LSN 16 + 16 = 32. */
    expect_text(&op, rid_counter(16, 0, 0),
                "{\"id\":\"db\",\"_rid\":\"AAAAIA==\""
                ",\"_self\":\"dbs/AAAAIA==/\""
                ",\"_etag\":\"\\\"00000002-0001-0000-0001-000000000003\\\"\""
                ",\"_colls\":\"colls/\",\"_users\":\"users/\""
                ",\"_ts\":1700000000}");
}

static void a_container_gets_its_system_properties(void **state)
{
    (void)state;
    struct op op = writing(OP_RESOURCE_CONTAINER, "{\"id\":\"c\"");
    put_u32_be(op.parent_rid, 32);
    expect_text(&op, rid_counter(0, 0, 0),
                "{\"id\":\"c\",\"_rid\":\"AAAAIIAAABA=\""
                ",\"_self\":\"dbs/AAAAIA==/colls/AAAAIIAAABA=/\""
                ",\"_etag\":\"\\\"00000002-0001-0000-0001-000000000003\\\"\""
                ",\"_docs\":\"docs/\",\"_sprocs\":\"sprocs/\""
                ",\"_triggers\":\"triggers/\",\"_udfs\":\"udfs/\""
                ",\"_conflicts\":\"conflicts/\""
                ",\"_ts\":1700000000}");
}

static void internal_records_are_stored_as_they_are(void **state)
{
    (void)state;
    struct op op = writing(OP_RESOURCE_INTERNAL, "{\"any\":[1,2]}");
    expect_text(&op, 0, "{\"any\":[1,2]}");
}

static void an_object_without_members_needs_no_comma(void **state)
{
    (void)state;
    struct op op = writing(OP_RESOURCE_DATABASE, "{");
    struct buf out;
    buf_init(&out, OP_BODY_MAX);
    assert_int_equal(record_text(&op, rid_counter(1, 0, 0), &tag, 1, &out),
                     ERR_OK);
    assert_memory_equal(buf_bytes(&out), "{\"_rid\":", 8);
    buf_free(&out);
}

static void a_text_that_cannot_be_made_leaves_nothing(void **state)
{
    (void)state;
    struct op op = writing(OP_RESOURCE_DATABASE, "{\"id\":\"db\"");
    struct buf out;
    buf_init(&out, 60); /* room for the body, not for the rest */
    assert_int_equal(buf_append_str(&out, "before"), ERR_OK);
    assert_int_equal(record_text(&op, rid_counter(1, 0, 0), &tag, 1, &out),
                     ERR_LIMIT);
    assert_string_equal(buf_cstr(&out), "before");
    /* Numbers of databases end at 31 bits; another shard gives none. */
    assert_int_equal(
        record_text(&op, rid_counter(RID_NUMBER_MAX, 0, 0), &tag, 1, &out),
        ERR_LIMIT);
    assert_int_equal(record_text(&op, rid_counter(1, 0, 1), &tag, 1, &out),
                     ERR_LIMIT);
    assert_string_equal(buf_cstr(&out), "before");
    buf_free(&out);
}

static struct record_key text_key(uint32_t container, uint8_t pk,
                                  uint64_t record)
{
    struct op_address at = {.container = container, .pk_hash = {pk}};
    struct record_key key;
    record_text_key(&at, record, &key);
    return key;
}

static int order(struct record_key a, struct record_key b)
{
    return bytes_compare(record_key_bytes(&a), record_key_bytes(&b));
}

static void keys_sort_by_container_partition_and_creation(void **state)
{
    (void)state;
    assert_true(order(text_key(1, 9, 9), text_key(2, 1, 1)) < 0);
    assert_true(order(text_key(255, 9, 9), text_key(256, 1, 1)) < 0);
    assert_true(order(text_key(1, 1, 9), text_key(1, 2, 1)) < 0);
    assert_true(order(text_key(1, 1, 255), text_key(1, 1, 256)) < 0);
    uint32_t container;
    uint64_t record;
    struct record_key key = text_key(77, 1, 0x123456789);
    record_text_key_parts(record_key_bytes(&key), &container, &record);
    assert_int_equal(container, 77);
    assert_int_equal(record, 0x123456789);
}

static void ranges_hold_what_they_name_and_no_more(void **state)
{
    (void)state;
    static const uint32_t containers[] = {16, 255, 0xffffff, UINT32_MAX};
    for (size_t i = 0; i < 4; i++) {
        uint32_t c = containers[i];
        struct record_key from, to;
        uint8_t pk[OP_HASH_LEN];
        record_container_range(c, &from, &to);
        assert_true(order(from, text_key(c, 0, 0)) <= 0);
        assert_true(order(text_key(c, 0xff, UINT64_MAX), to) < 0);
        assert_true(order(text_key(c - 1, 0xff, UINT64_MAX), from) < 0);
        if (c < UINT32_MAX)
            assert_true(order(to, text_key(c + 1, 0, 0)) <= 0);

        memset(pk, 0xff, sizeof(pk)); /* the last partition there can be */
        struct op_address at = {.container = c};
        struct record_key inside;
        memcpy(at.pk_hash, pk, sizeof(pk));
        record_partition_range(c, pk, &from, &to);
        record_text_key(&at, UINT64_MAX, &inside);
        assert_true(order(from, inside) <= 0 && order(inside, to) < 0);
        assert_true(order(text_key(c, 0xff, UINT64_MAX), from) < 0);
        if (c < UINT32_MAX)
            assert_true(order(to, text_key(c + 1, 0, 0)) <= 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_document_gets_its_system_properties),
        cmocka_unit_test(a_database_gets_its_system_properties),
        cmocka_unit_test(a_container_gets_its_system_properties),
        cmocka_unit_test(internal_records_are_stored_as_they_are),
        cmocka_unit_test(an_object_without_members_needs_no_comma),
        cmocka_unit_test(a_text_that_cannot_be_made_leaves_nothing),
        cmocka_unit_test(keys_sort_by_container_partition_and_creation),
        cmocka_unit_test(ranges_hold_what_they_name_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
