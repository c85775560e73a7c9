/* Any bytes as a request or an answer that passes through a node outside a
 * fence: refused, or one whose every part can be read and whose encoding is the
 * same bytes again. */
#include <stddef.h>
#include <stdint.h>

#include "node/base/check.h"
#include "node/cosmos/passage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect_same(const struct buf *again, struct bytes in)
{
    CHECK(bytes_equal(bytes_of(buf_bytes(again), buf_len(again)), in));
}

static void try_passage(struct bytes in, struct buf *again)
{
    struct passage p;
    uint16_t shard = passage_encoded_shard(in);
    if (passage_decode(in, &p) != ERR_OK)
        return;
    CHECK(p.shard == shard && shard != SHARD_META && shard < SHARD_MAX);
    CHECK(p.head.len <= HTTP_HEAD_MAX && p.body.len <= PASSAGE_BODY_MAX);
    CHECK(passage_encode(&p, again) == ERR_OK);
    expect_same(again, in);
}

static void try_answer(struct bytes in, struct buf *again)
{
    struct passage_answer a;
    struct http_header h;
    size_t at = 0;
    if (passage_answer_decode(in, &a) != ERR_OK)
        return;
    CHECK(a.status >= 200 && a.status <= 599);
    while (passage_header_next(a.headers, &at, &h))
        CHECK(h.name.len > 0);
    CHECK(at == a.headers.len);
    CHECK(passage_answer_encode(&a, again) == ERR_OK);
    expect_same(again, in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf again;
    if (size == 0)
        return 0;
    buf_init(&again, PASSAGE_ANSWER_ENCODED_MAX);
    struct bytes in = bytes_of(data + 1, size - 1);
    if (data[0] % 2 == 0)
        try_passage(in, &again);
    else
        try_answer(in, &again);
    buf_free(&again);
    return 0;
}
