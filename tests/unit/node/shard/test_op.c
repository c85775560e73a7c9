/* Promises of operations as plain data: what is encoded comes back, whatever
 * else arrives is refused without harm, and tags survive their text. */
#include "node/shard/op.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/mem.h"
#include "node/base/prng.h"

#define ROUNDS 2000

static struct prng prng;

static void fill(void *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = (uint8_t)prng_u64(&prng);
}

/* Random bytes that are freed after the test. */
static struct bytes blob(struct buf *room, size_t max)
{
    size_t len = prng_below(&prng, max + 1);
    uint8_t *at;
    buf_init(room, max + 1);
    assert_int_equal(buf_reserve(room, len, &at), ERR_OK);
    fill(at, len);
    buf_commit(room, len);
    return bytes_of(buf_bytes(room), len);
}

static void random_address(struct op_address *a)
{
    a->container = (uint32_t)prng_u64(&prng);
    fill(a->pk_hash, OP_HASH_LEN);
    fill(a->id_hash, OP_HASH_LEN);
}

static struct etag random_etag(void)
{
    return (struct etag){.term = prng_u64(&prng) >> 16,
                         .lsn = prng_u64(&prng) >> 16,
                         .shard = (uint16_t)prng_u64(&prng),
                         .position = (uint16_t)prng_u64(&prng)};
}

#define BLOBS 4

static void random_write(struct op *op, struct buf blobs[BLOBS])
{
    op->mode = 1 + (int)prng_below(&prng, OP_WRITE_MODE_COUNT - 1);
    op->resource = 1 + (int)prng_below(&prng, OP_RESOURCE_COUNT - 1);
    op->body = blob(&blobs[0], 300);
    fill(op->parent_rid, sizeof(op->parent_rid));
    op->parent_rid[0] &= 0x7f; /* a database */
    op->parent_rid[4] |= 0x80; /* a container */
    op->has_parent = prng_one_in(&prng, 2);
    random_address(&op->parent);
    op->parent_record = prng_u64(&prng);
    op->cascade = prng_one_in(&prng, 2);
    op->cascade_container = (uint32_t)prng_u64(&prng);
    fill(op->cascade_pk_hash, OP_HASH_LEN);
}

static void random_scan(struct op *op, struct buf blobs[BLOBS])
{
    op->one_partition = prng_one_in(&prng, 2);
    op->after = blob(&blobs[0], OP_KEY_MAX);
    op->max_items = 1 + (uint32_t)prng_below(&prng, UINT32_MAX);
    op->max_bytes = 1 + (uint32_t)prng_below(&prng, OP_PAGE_MAX);
    op->query = blob(&blobs[1], 200);
    op->params = blob(&blobs[2], 200);
    op->merge_request = blob(&blobs[3], 200);
}

/* What a mover asks for is of a user's container, and has a number. */
static void random_move(struct op *op)
{
    bool movers = op->kind == OP_WRITE && op->mode > OP_DELETE;
    if (!movers && prng_one_in(&prng, 2))
        return;
    op->move = 1 + prng_below(&prng, UINT32_MAX);
    op->graves = prng_one_in(&prng, 2);
    op->copy_record = prng_u64(&prng) >> 4;
    op->copy_ts = (int64_t)prng_u64(&prng);
    if (!movers)
        return;
    op->at.container |= CONTAINER_FIRST_USER;
    op->resource = OP_RESOURCE_DOCUMENT;
    if (op->mode == OP_MARK)
        op->mark = 1 + (int)prng_below(&prng, OP_MARK_COUNT - 1);
}

static struct op random_op(struct buf blobs[BLOBS])
{
    struct op op = {0};
    for (int i = 0; i < BLOBS; i++)
        buf_init(&blobs[i], 1);
    op.kind = 1 + (int)prng_below(&prng, OP_KIND_COUNT - 1);
    op.shard = (uint16_t)prng_below(&prng, SHARD_MAX);
    fill(op.id, OP_ID_LEN);
    random_address(&op.at);
    op.condition = (int)prng_below(&prng, OP_COND_COUNT);
    op.etag = random_etag();
    op.etag_unknown = prng_one_in(&prng, 2);
    op.min_lsn = prng_u64(&prng);
    op.level = (uint8_t)prng_below(&prng, CONSISTENCY_COUNT);
    op.session_epoch = (uint32_t)prng_u64(&prng);
    op.session_lsn = prng_u64(&prng);
    if (op.kind == OP_WRITE)
        random_write(&op, blobs);
    if (op.kind == OP_SCAN)
        random_scan(&op, blobs);
    random_move(&op);
    return op;
}

static void blobs_free(struct buf blobs[BLOBS])
{
    for (int i = 0; i < BLOBS; i++)
        buf_free(&blobs[i]);
}

static void assert_bytes_equal(struct bytes a, struct bytes b)
{
    assert_true(bytes_equal(a, b));
}

static void assert_address_equal(const struct op_address *a,
                                 const struct op_address *b)
{
    assert_int_equal(a->container, b->container);
    assert_memory_equal(a->pk_hash, b->pk_hash, OP_HASH_LEN);
    assert_memory_equal(a->id_hash, b->id_hash, OP_HASH_LEN);
}

static void assert_op_equal(const struct op *a, const struct op *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->shard, b->shard);
    assert_memory_equal(a->id, b->id, OP_ID_LEN);
    assert_address_equal(&a->at, &b->at);
    assert_int_equal(a->condition, b->condition);
    assert_true(etag_equal(&a->etag, &b->etag));
    assert_int_equal(a->etag_unknown, b->etag_unknown);
    assert_int_equal(a->min_lsn, b->min_lsn);
    assert_int_equal(a->level, b->level);
    assert_int_equal(a->session_epoch, b->session_epoch);
    assert_int_equal(a->session_lsn, b->session_lsn);
    assert_int_equal(a->move, b->move);
    assert_int_equal(a->mark, b->mark);
    assert_int_equal(a->graves, b->graves);
    assert_int_equal(a->copy_record, b->copy_record);
    assert_int_equal(a->copy_ts, b->copy_ts);
    assert_int_equal(a->mode, b->mode);
    assert_int_equal(a->resource, b->resource);
    assert_bytes_equal(a->body, b->body);
    assert_memory_equal(a->parent_rid, b->parent_rid, 8);
    assert_int_equal(a->has_parent, b->has_parent);
    assert_address_equal(&a->parent, &b->parent);
    assert_int_equal(a->parent_record, b->parent_record);
    assert_int_equal(a->cascade, b->cascade);
    assert_int_equal(a->cascade_container, b->cascade_container);
    assert_memory_equal(a->cascade_pk_hash, b->cascade_pk_hash, OP_HASH_LEN);
    assert_int_equal(a->one_partition, b->one_partition);
    assert_bytes_equal(a->after, b->after);
    assert_int_equal(a->max_items, b->max_items);
    assert_int_equal(a->max_bytes, b->max_bytes);
    assert_bytes_equal(a->query, b->query);
    assert_bytes_equal(a->params, b->params);
    assert_bytes_equal(a->merge_request, b->merge_request);
}

static struct bytes contents(const struct buf *b)
{
    return bytes_of(buf_bytes(b), buf_len(b));
}

static void every_operation_survives_its_encoding(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        struct buf blobs[BLOBS], encoded;
        struct op op = random_op(blobs), back;
        buf_init(&encoded, OP_ENCODED_MAX);
        assert_int_equal(op_encode(&op, &encoded), ERR_OK);
        assert_int_equal(op_decode(contents(&encoded), &back), ERR_OK);
        assert_int_equal(op_encoded_shard(contents(&encoded)), back.shard);
        assert_op_equal(&op, &back);
        buf_free(&encoded);
        blobs_free(blobs);
    }
}

static void a_cut_or_lengthened_operation_is_none(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        struct buf blobs[BLOBS], encoded;
        struct op op = random_op(blobs), back;
        buf_init(&encoded, OP_ENCODED_MAX);
        assert_int_equal(op_encode(&op, &encoded), ERR_OK);
        struct bytes all = contents(&encoded);
        for (size_t len = 0; len < all.len; len++) {
            uint8_t *copy = mem_dup(all.data, len); /* for the sanitizer */
            assert_int_equal(op_decode(bytes_of(copy, len), &back),
                             ERR_MALFORMED);
            mem_free(copy);
        }
        assert_int_equal(buf_append_u8(&encoded, 0), ERR_OK);
        assert_int_equal(op_decode(contents(&encoded), &back), ERR_MALFORMED);
        assert_int_equal(op_encoded_shard(bytes_of(buf_bytes(&encoded), 3)),
                         SHARD_META);
        buf_free(&encoded);
        blobs_free(blobs);
    }
}

/* Flips bits of an encoding. */
static uint8_t *mutated(struct bytes in)
{
    uint8_t *copy = mem_dup(in.data, in.len);
    for (uint64_t n = 1 + prng_below(&prng, 4); n > 0; n--)
        copy[prng_below(&prng, in.len)] ^= (uint8_t)(1 << prng_below(&prng, 8));
    return copy;
}

static void a_damaged_operation_is_refused_or_another_whole_one(void **state)
{
    (void)state;
    for (int i = 0; i < 4 * ROUNDS; i++) {
        struct buf blobs[BLOBS], encoded;
        struct op op = random_op(blobs), back;
        buf_init(&encoded, OP_ENCODED_MAX);
        assert_int_equal(op_encode(&op, &encoded), ERR_OK);
        struct bytes all = contents(&encoded);
        uint8_t *copy = mutated(all);
        int err = op_decode(bytes_of(copy, all.len), &back);
        assert_true(err == ERR_OK || err == ERR_MALFORMED);
        if (err == ERR_OK) { /* there is one way to write each operation */
            struct buf again;
            buf_init(&again, OP_ENCODED_MAX);
            assert_int_equal(op_encode(&back, &again), ERR_OK);
            assert_int_equal(buf_len(&again), all.len);
            assert_memory_equal(buf_bytes(&again), copy, all.len);
            buf_free(&again);
        }
        mem_free(copy);
        buf_free(&encoded);
        blobs_free(blobs);
    }
}

static void what_no_shard_can_run_is_not_decoded(void **state)
{
    (void)state;
    struct buf encoded;
    struct op back;
    struct op op = {.kind = OP_WRITE,
                    .shard = 1,
                    .mode = OP_CREATE,
                    .resource = OP_RESOURCE_DOCUMENT};
    buf_init(&encoded, OP_ENCODED_MAX);
    /* A document whose parent is no container. */
    assert_int_equal(op_encode(&op, &encoded), ERR_OK);
    assert_int_equal(op_decode(contents(&encoded), &back), ERR_MALFORMED);
    /* A container of no database. */
    buf_clear(&encoded);
    op.resource = OP_RESOURCE_CONTAINER;
    op.parent_rid[0] = 0x80;
    assert_int_equal(op_encode(&op, &encoded), ERR_OK);
    assert_int_equal(op_decode(contents(&encoded), &back), ERR_MALFORMED);
    /* A page without rows or bytes, or above the protocol's. */
    static const uint32_t sizes[][2] = {{0, 1}, {1, 0}, {1, OP_PAGE_MAX + 1}};
    for (size_t i = 0; i < 3; i++) {
        op = (struct op){.kind = OP_SCAN,
                         .max_items = sizes[i][0],
                         .max_bytes = sizes[i][1]};
        buf_clear(&encoded);
        assert_int_equal(op_encode(&op, &encoded), ERR_OK);
        assert_int_equal(op_decode(contents(&encoded), &back), ERR_MALFORMED);
    }
    buf_free(&encoded);
}

static void the_largest_operation_fits_and_no_larger(void **state)
{
    (void)state;
    uint8_t *bytes = mem_zalloc(OP_BODY_MAX + 1);
    struct buf encoded;
    struct op back;
    struct op op = {.kind = OP_WRITE,
                    .mode = OP_CREATE,
                    .resource = OP_RESOURCE_INTERNAL,
                    .body = bytes_of(bytes, OP_BODY_MAX)};
    buf_init(&encoded, OP_ENCODED_MAX);
    assert_int_equal(op_encode(&op, &encoded), ERR_OK);
    assert_int_equal(op_decode(contents(&encoded), &back), ERR_OK);
    buf_clear(&encoded);
    op.body.len++;
    assert_int_equal(op_encode(&op, &encoded), ERR_OK);
    assert_int_equal(op_decode(contents(&encoded), &back), ERR_MALFORMED);
    buf_free(&encoded);
    buf_init(&encoded, 100); /* no room: the buffer is as before */
    assert_int_equal(buf_append_u8(&encoded, 7), ERR_OK);
    assert_int_equal(op_encode(&op, &encoded), ERR_LIMIT);
    assert_int_equal(buf_len(&encoded), 1);
    buf_free(&encoded);
    mem_free(bytes);
}

/* ---- results ---------------------------------------------------------------
 */

static void random_rows(struct op_result *r)
{
    uint32_t n = 1 + (uint32_t)prng_below(&prng, 5);
    for (uint32_t i = 0; i < n; i++) {
        struct buf room;
        struct bytes row = blob(&room, 40);
        assert_int_equal(buf_append_u32_le(&r->body, (uint32_t)row.len),
                         ERR_OK);
        assert_int_equal(buf_append(&r->body, row.data, row.len), ERR_OK);
        buf_free(&room);
    }
    r->items = n;
}

static struct op_result random_result(void)
{
    struct op_result r;
    op_result_init(&r);
    r.err = (int)prng_below(&prng, ERR_COUNT);
    r.created = prng_one_in(&prng, 2);
    r.parent_missing = prng_one_in(&prng, 2);
    r.lsn = prng_u64(&prng);
    r.term = prng_u64(&prng);
    r.record = prng_u64(&prng);
    r.etag = random_etag();
    r.more = prng_one_in(&prng, 2);
    r.next_len = (uint8_t)prng_below(&prng, OP_KEY_MAX + 1);
    fill(r.next, r.next_len);
    r.examined = (uint32_t)prng_u64(&prng);
    r.retry_after_ms = (uint32_t)prng_u64(&prng);
    if (prng_one_in(&prng, 2))
        snprintf(r.message.text, ERR_MSG_MAX, "error %d", r.err);
    if (prng_one_in(&prng, 2)) {
        random_rows(&r);
    } else if (prng_one_in(&prng, 2)) {
        assert_int_equal(buf_append_str(&r.body, "{\"id\":\"1\"}"), ERR_OK);
    }
    return r;
}

static void assert_result_equal(const struct op_result *a,
                                const struct op_result *b)
{
    assert_int_equal(a->err, b->err);
    assert_int_equal(a->created, b->created);
    assert_int_equal(a->parent_missing, b->parent_missing);
    assert_int_equal(a->lsn, b->lsn);
    assert_int_equal(a->term, b->term);
    assert_int_equal(a->record, b->record);
    assert_true(etag_equal(&a->etag, &b->etag));
    assert_int_equal(a->items, b->items);
    assert_int_equal(a->more, b->more);
    assert_int_equal(a->next_len, b->next_len);
    assert_memory_equal(a->next, b->next, a->next_len);
    assert_int_equal(a->examined, b->examined);
    assert_int_equal(a->retry_after_ms, b->retry_after_ms);
    assert_string_equal(a->message.text, b->message.text);
    assert_bytes_equal(contents(&a->body), contents(&b->body));
}

static void every_result_survives_its_encoding(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        struct op_result r = random_result(), back;
        struct buf encoded;
        buf_init(&encoded, OP_ENCODED_MAX);
        assert_int_equal(op_result_encode(&r, &encoded), ERR_OK);
        assert_int_equal(op_result_decode(contents(&encoded), &back), ERR_OK);
        assert_result_equal(&r, &back);
        op_result_free(&back);
        op_result_free(&r);
        buf_free(&encoded);
    }
}

/* Whatever was decoded can be read. */
static void walk_rows(const struct op_result *r)
{
    size_t offset = 0;
    uint32_t rows = 0;
    struct bytes row;
    while (op_result_next_row(r, &offset, &row)) {
        assert_true(row.data + row.len <=
                    buf_bytes(&r->body) + buf_len(&r->body));
        rows++;
    }
    if (r->items > 0)
        assert_int_equal(rows, r->items);
}

static void a_damaged_result_is_refused_or_can_be_read(void **state)
{
    (void)state;
    for (int i = 0; i < 4 * ROUNDS; i++) {
        struct op_result r = random_result(), back;
        struct buf encoded;
        buf_init(&encoded, OP_ENCODED_MAX);
        assert_int_equal(op_result_encode(&r, &encoded), ERR_OK);
        struct bytes all = contents(&encoded);
        uint8_t *copy = mutated(all);
        size_t len =
            prng_one_in(&prng, 3) ? prng_below(&prng, all.len) : all.len;
        int err = op_result_decode(bytes_of(copy, len), &back);
        assert_true(err == ERR_OK || err == ERR_MALFORMED);
        if (err == ERR_OK) {
            walk_rows(&back);
            op_result_free(&back);
        }
        mem_free(copy);
        buf_free(&encoded);
        op_result_free(&r);
    }
}

static void a_moved_result_leaves_nothing_behind(void **state)
{
    (void)state;
    struct op_result from = random_result(), to;
    assert_int_equal(buf_append_str(&from.body, "text"), ERR_OK);
    struct bytes body = contents(&from.body);
    op_result_move(&to, &from);
    assert_ptr_equal(buf_bytes(&to.body), body.data);
    assert_int_equal(buf_len(&from.body), 0);
    assert_int_equal(from.err, ERR_OK);
    op_result_free(&to);
    op_result_free(&from);
}

/* ---- tags ------------------------------------------------------------------
 */

static void every_tag_survives_its_text(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        struct etag tag = random_etag(), back = {0};
        char text[ETAG_TEXT_LEN + 1];
        etag_format(&tag, text);
        assert_int_equal(strlen(text), ETAG_TEXT_LEN);
        assert_int_equal(etag_parse(bytes_str(text), &back), ERR_OK);
        assert_true(etag_equal(&tag, &back));
        /* Some clients strip the quotes. */
        back = (struct etag){0};
        assert_int_equal(
            etag_parse(bytes_of(text + 1, ETAG_TEXT_LEN - 2), &back), ERR_OK);
        assert_true(etag_equal(&tag, &back));
    }
}

static void a_tag_has_one_text(void **state)
{
    (void)state;
    struct etag tag = {.term = 0x123456789abc,
                       .lsn = 0xdef012345678,
                       .shard = 1,
                       .position = 2};
    char text[ETAG_TEXT_LEN + 1];
    etag_format(&tag, text);
    assert_string_equal(text, "\"56789abc-0001-0002-1234-def012345678\"");
    static const char *const strangers[] = {
        "",
        "*",
        "\"\"",
        "56789abc-0001-0002-1234-def01234567",
        "56789ABC-0001-0002-1234-def012345678",
        "56789abc-0001-0002-1234-def0123456789",
        "\"56789abc-0001-0002-1234-def012345678",
        "56789abc+0001-0002-1234-def012345678",
        "56789abg-0001-0002-1234-def012345678",
        "W/\"56789abc-0001-0002-1234-def012345678\""};
    for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
        struct etag back = tag;
        assert_int_equal(etag_parse(bytes_str(strangers[i]), &back),
                         ERR_MALFORMED);
        assert_true(etag_equal(&tag, &back)); /* untouched */
    }
}

static void tags_differ_in_every_part(void **state)
{
    (void)state;
    struct etag tag = {.term = 1, .lsn = 2, .shard = 3, .position = 4};
    struct etag others[4] = {tag, tag, tag, tag};
    others[0].term++;
    others[1].lsn++;
    others[2].shard++;
    others[3].position++;
    assert_true(etag_equal(&tag, &tag));
    for (int i = 0; i < 4; i++)
        assert_false(etag_equal(&tag, &others[i]));
}

int main(void)
{
    const char *seed = getenv("TEST_SEED");
    prng_seed(&prng, seed != NULL ? strtoull(seed, NULL, 0) : 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_survives_its_encoding),
        cmocka_unit_test(a_cut_or_lengthened_operation_is_none),
        cmocka_unit_test(a_damaged_operation_is_refused_or_another_whole_one),
        cmocka_unit_test(what_no_shard_can_run_is_not_decoded),
        cmocka_unit_test(the_largest_operation_fits_and_no_larger),
        cmocka_unit_test(every_result_survives_its_encoding),
        cmocka_unit_test(a_damaged_result_is_refused_or_can_be_read),
        cmocka_unit_test(a_moved_result_leaves_nothing_behind),
        cmocka_unit_test(every_tag_survives_its_text),
        cmocka_unit_test(a_tag_has_one_text),
        cmocka_unit_test(tags_differ_in_every_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
