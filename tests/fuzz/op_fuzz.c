/* Any bytes as an operation or a result from a peer, or as the list of
 * operations in its snapshot: refused, or one whose every part can be read and
 * whose encoding is the same bytes again. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "node/base/check.h"
#include "node/shard/dedupe.h"
#include "node/shard/op.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect_same(const struct buf *again, struct bytes in)
{
    CHECK(bytes_equal(bytes_of(buf_bytes(again), buf_len(again)), in));
}

static void try_op(struct bytes in, struct buf *again)
{
    struct op op;
    if (op_decode(in, &op) != ERR_OK)
        return;
    CHECK(op.kind > 0 && op.kind < OP_KIND_COUNT && op.shard < SHARD_MAX);
    CHECK(op.level < CONSISTENCY_COUNT);
    CHECK(op.body.len <= OP_BODY_MAX && op.after.len <= OP_KEY_MAX);
    CHECK_IMPLIES(op.kind == OP_SCAN,
                  op.max_items > 0 && op.max_bytes <= OP_PAGE_MAX);
    CHECK(op_encode(&op, again) == ERR_OK);
    expect_same(again, in);
}

static void try_result(struct bytes in, struct buf *again)
{
    struct op_result r;
    if (op_result_decode(in, &r) != ERR_OK)
        return;
    size_t offset = 0;
    uint32_t rows = 0;
    struct bytes row;
    while (op_result_next_row(&r, &offset, &row))
        rows++;
    CHECK_IMPLIES(r.items > 0, rows == r.items);
    CHECK(r.next_len <= OP_KEY_MAX);
    CHECK(memchr(r.message.text, 0, sizeof(r.message.text)) != NULL);
    CHECK(op_result_encode(&r, again) == ERR_OK);
    /* A text with a NUL inside ends there. */
    if (buf_len(again) == in.len)
        expect_same(again, in);
    else
        CHECK(buf_len(again) < in.len);
    op_result_free(&r);
}

static void try_dedupe(struct bytes in, struct buf *again)
{
    struct dedupe d;
    dedupe_init(&d);
    if (dedupe_decode(&d, in) == ERR_OK) {
        CHECK(d.count <= DEDUPE_MAX);
        CHECK(dedupe_encode(&d, UINT64_MAX, again) == ERR_OK);
        expect_same(again, in);
    }
    dedupe_free(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf again;
    if (size == 0)
        return 0;
    buf_init(&again, OP_ENCODED_MAX);
    struct bytes in = bytes_of(data + 1, size - 1);
    switch (data[0] % 3) {
    case 0:
        try_result(in, &again);
        break;
    case 1:
        try_op(in, &again);
        break;
    default:
        try_dedupe(in, &again);
    }
    buf_free(&again);
    return 0;
}
