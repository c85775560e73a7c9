/* Promises of digests: the same records give the same one whatever the slices,
 * a single bit or a missing record gives another, in the bucket where it is,
 * and containers that do not count leave no trace. */
#include "node/shard/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/mem.h"
#include "node/crypt/keyring.h"
#include "node/shard/record.h"
#include "node/store/engine.h"

#define RECORDS 200

struct record {
    struct record_key key;
    uint8_t value[60];
    size_t len;
};

static int by_key(const void *a, const void *b)
{
    const struct record *x = a, *y = b;
    return bytes_compare(record_key_bytes(&x->key), record_key_bytes(&y->key));
}

/* Texts and ids of two containers, in the order of their keys. */
static void make(struct record *list)
{
    for (uint32_t i = 0; i < RECORDS; i++) {
        struct op_address at = {.container = 100 + i % 2};
        struct record *r = &list[i];
        at.pk_hash[0] = (uint8_t)(i * 7);
        at.id_hash[0] = (uint8_t)i;
        if (i % 4 < 2)
            record_text_key(&at, i + 1, &r->key);
        else
            record_id_key(&at, &r->key);
        r->len = i % sizeof(r->value);
        memset(r->value, (int)i, sizeof(r->value));
    }
    qsort(list, RECORDS, sizeof(*list), by_key);
}

static struct bytes value_of(const struct record *r)
{
    return bytes_of(r->value, r->len);
}

static struct digest_result digest_of(const struct record *list, size_t n,
                                      digest_counts_fn *counts)
{
    struct digest *d = digest_new(counts, NULL);
    struct digest_result result;
    for (size_t i = 0; i < n; i++)
        assert_int_equal(
            digest_add(d, record_key_bytes(&list[i].key), value_of(&list[i])),
            ERR_OK);
    digest_finish(d, &result);
    digest_free(d);
    return result;
}

static size_t buckets_that_differ(const struct digest_result *a,
                                  const struct digest_result *b)
{
    size_t n = 0;
    for (size_t i = 0; i < DIGEST_BUCKETS; i++)
        n += memcmp(a->buckets[i], b->buckets[i], DIGEST_LEN) != 0;
    return n;
}

static void nothing_has_a_digest_too(void **state)
{
    (void)state;
    struct digest_result a = digest_of(NULL, 0, NULL);
    struct digest_result b = digest_of(NULL, 0, NULL);
    assert_memory_equal(&a, &b, sizeof(a));
    assert_int_equal(a.records, 0);
}

/* A value as seal.h says: of a key, or none at all. */
static void records_are_counted_by_their_key(void **state)
{
    (void)state;
    struct record *list = mem_zalloc(RECORDS * sizeof(*list));
    uint64_t texts = 0, expected[DIGEST_KEY_VERSIONS] = {0};
    make(list);
    for (uint32_t i = 0; i < RECORDS; i++) {
        struct record *r = &list[i];
        uint32_t version = i % (DIGEST_KEY_VERSIONS + 2);
        memset(r->value, 0, sizeof(r->value));
        r->value[0] = 1;
        put_u32_le(r->value + 4, group_key_id(3, KEY_PURPOSE_DATA, version));
        r->len = i % 50 == 0 ? 3 : sizeof(r->value);
        if (r->key.len != RECORD_TEXT_KEY_LEN)
            continue;
        texts++;
        if (r->len > 3 && version < DIGEST_KEY_VERSIONS)
            expected[version]++;
    }
    struct digest_result d = digest_of(list, RECORDS, NULL);
    assert_int_equal(d.records, texts);
    assert_true(expected[1] > 0 && expected[DIGEST_KEY_VERSIONS - 1] > 0);
    assert_memory_equal(d.by_key, expected, sizeof(expected));
    mem_free(list);
}

static void put_chunk(struct buf *out, const struct record *list, size_t n)
{
    assert_int_equal(buf_append_u32_le(out, (uint32_t)n + 1), ERR_OK);
    for (size_t i = 0; i < n; i++) {
        const struct record *r = &list[i];
        buf_append_u8(out, ENGINE_CHUNK_RECORDS);
        buf_append_u16_le(out, r->key.len);
        buf_append_u32_le(out, (uint32_t)r->len);
        buf_append(out, r->key.bytes, r->key.len);
        buf_append(out, r->value, r->len);
    }
    /* What a replica has of its own. */
    buf_append_u8(out, ENGINE_CHUNK_INFO);
    buf_append_u16_le(out, 1);
    buf_append_u32_le(out, 1);
    assert_int_equal(buf_append_str(out, "xy"), ERR_OK);
}

static void slices_do_not_matter(void **state)
{
    (void)state;
    struct record list[RECORDS];
    struct digest_result one, two;
    struct buf chunk;
    make(list);
    one = digest_of(list, RECORDS, NULL);
    assert_int_equal(one.records, RECORDS / 2);
    struct digest *d = digest_new(NULL, NULL);
    buf_init(&chunk, 1 << 20);
    for (size_t at = 0, n = 1; at < RECORDS; at += n, n = 1 + at % 9) {
        if (n > RECORDS - at)
            n = RECORDS - at;
        buf_clear(&chunk);
        put_chunk(&chunk, list + at, n);
        assert_int_equal(
            digest_chunk(d, bytes_of(buf_bytes(&chunk), buf_len(&chunk))),
            ERR_OK);
    }
    digest_finish(d, &two);
    digest_free(d);
    buf_free(&chunk);
    assert_memory_equal(&one, &two, sizeof(one));
}

static void any_difference_shows_where_it_is(void **state)
{
    (void)state;
    struct record list[RECORDS], other[RECORDS];
    make(list);
    struct digest_result right = digest_of(list, RECORDS, NULL);
    for (size_t i = 0; i < RECORDS; i++) {
        memcpy(other, list, sizeof(list));
        other[i].value[0] ^= 1;
        struct digest_result wrong = digest_of(other, RECORDS, NULL);
        bool has_value = list[i].len > 0;
        assert_int_equal(buckets_that_differ(&right, &wrong), has_value);
        assert_int_equal(memcmp(right.whole, wrong.whole, DIGEST_LEN) != 0,
                         has_value);
        memmove(&other[i], &other[i + 1], (RECORDS - i - 1) * sizeof(*other));
        wrong = digest_of(other, RECORDS - 1, NULL);
        assert_int_equal(buckets_that_differ(&right, &wrong), 1);
    }
}

/* The end of one value is not the beginning of the next. */
static void lengths_count(void **state)
{
    (void)state;
    struct record list[2] = {0}, other[2];
    struct op_address at = {.container = 100};
    record_text_key(&at, 1, &list[0].key);
    record_text_key(&at, 2, &list[1].key);
    list[0].len = list[1].len = 4;
    memcpy(other, list, sizeof(list));
    other[0].len++;
    other[1].len--;
    struct digest_result a = digest_of(list, 2, NULL);
    struct digest_result b = digest_of(other, 2, NULL);
    assert_memory_not_equal(a.whole, b.whole, DIGEST_LEN);
}

static bool only_100(void *user, uint32_t container)
{
    (void)user;
    return container == 100;
}

static void what_was_dropped_does_not_count(void **state)
{
    (void)state;
    struct record list[RECORDS], kept[RECORDS];
    size_t n = 0;
    make(list);
    for (size_t i = 0; i < RECORDS; i++)
        if (get_u32_be(list[i].key.bytes + 1) == 100)
            kept[n++] = list[i];
    struct digest_result all = digest_of(list, RECORDS, only_100);
    struct digest_result left = digest_of(kept, n, NULL);
    assert_memory_equal(&all, &left, sizeof(all));
}

static void what_no_shard_makes_is_refused(void **state)
{
    (void)state;
    struct record list[RECORDS];
    make(list);
    struct digest *d = digest_new(NULL, NULL);
    assert_int_equal(digest_add(d, bytes_str("key"), bytes_str("v")),
                     ERR_CORRUPT);
    assert_int_equal(
        digest_add(d, record_key_bytes(&list[1].key), value_of(&list[1])),
        ERR_OK);
    assert_int_equal(
        digest_add(d, record_key_bytes(&list[1].key), value_of(&list[1])),
        ERR_CORRUPT);
    assert_int_equal(
        digest_add(d, record_key_bytes(&list[0].key), value_of(&list[0])),
        ERR_CORRUPT);
    assert_int_equal(digest_chunk(d, bytes_str("\1\0\0\0\1")), ERR_MALFORMED);
    digest_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_has_a_digest_too),
        cmocka_unit_test(records_are_counted_by_their_key),
        cmocka_unit_test(slices_do_not_matter),
        cmocka_unit_test(any_difference_shows_where_it_is),
        cmocka_unit_test(lengths_count),
        cmocka_unit_test(what_was_dropped_does_not_count),
        cmocka_unit_test(what_no_shard_makes_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
