#include "node/cosmos/continuation.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/base/text.h"

#define CONTINUATION_VERSION 1

static int put_blob(struct buf *out, struct bytes blob)
{
    int err = buf_append_u32_le(out, (uint32_t)blob.len);
    return err == ERR_OK ? buf_append(out, blob.data, blob.len) : err;
}

/* In the order in which fields_read takes them. */
static int fields_write(const struct continuation *c, struct buf *out)
{
    int err = buf_append_u8(out, CONTINUATION_VERSION);
    if (err == ERR_OK)
        err = buf_append_u8(out, (uint8_t)c->kind);
    if (err == ERR_OK)
        err = buf_append_u64_le(out, c->scope[0]);
    if (err == ERR_OK)
        err = buf_append_u64_le(out, c->scope[1]);
    if (err == ERR_OK)
        err = buf_append_u32_le(out, c->after);
    if (err == ERR_OK)
        err = buf_append_u32_le(out, c->range);
    if (err == ERR_OK)
        err = buf_append_u64_le(out, c->skipped);
    if (err == ERR_OK)
        err = buf_append_u64_le(out, c->delivered);
    if (err == ERR_OK)
        err = put_blob(out, c->position);
    return err == ERR_OK ? put_blob(out, c->token) : err;
}

static int fields_read(struct cursor *in, struct continuation *c)
{
    if (cursor_u8(in) != CONTINUATION_VERSION)
        return ERR_MALFORMED;
    c->kind = (enum continuation_kind)cursor_u8(in);
    c->scope[0] = cursor_u64_le(in);
    c->scope[1] = cursor_u64_le(in);
    c->after = cursor_u32_le(in);
    c->range = cursor_u32_le(in);
    c->skipped = cursor_u64_le(in);
    c->delivered = cursor_u64_le(in);
    c->position = cursor_blob(in, OP_KEY_MAX);
    c->token = cursor_blob(in, CONTINUATION_TEXT_MAX);
    return cursor_done(in) ? ERR_OK : ERR_MALFORMED;
}

int continuation_write(const struct keyed_hash *key,
                       const struct continuation *c, struct buf *out)
{
    CHECK(c->position.len <= OP_KEY_MAX);
    struct buf binary;
    /* Three quarters of the text, which is base64 with its padding. */
    buf_init(&binary, CONTINUATION_TEXT_MAX / 4 * 3);
    int err = fields_write(c, &binary);
    if (err == ERR_OK) {
        uint8_t mac[KEYED_HASH_LEN];
        keyed_hash16(key, bytes_of(buf_bytes(&binary), buf_len(&binary)), mac);
        err = buf_append(&binary, mac, sizeof(mac));
    }
    if (err == ERR_OK)
        err = text_base64_encode(bytes_of(buf_bytes(&binary), buf_len(&binary)),
                                 out);
    buf_free(&binary);
    return err;
}

int continuation_read(const struct keyed_hash *key, struct bytes text,
                      enum continuation_kind kind, const uint64_t scope[2],
                      struct buf *storage, struct continuation *c_out)
{
    buf_clear(storage);
    if (text.len > CONTINUATION_TEXT_MAX ||
        text_base64_decode(text, storage) != ERR_OK ||
        buf_len(storage) < KEYED_HASH_LEN)
        return ERR_MALFORMED;
    size_t len = buf_len(storage) - KEYED_HASH_LEN;
    uint8_t mac[KEYED_HASH_LEN];
    keyed_hash16(key, bytes_of(buf_bytes(storage), len), mac);
    if (!mem_equal_ct(mac, buf_bytes(storage) + len, sizeof(mac)))
        return ERR_MALFORMED;
    struct continuation c;
    struct cursor in = cursor_of(buf_bytes(storage), len);
    if (fields_read(&in, &c) != ERR_OK || c.kind != kind ||
        c.scope[0] != scope[0] || c.scope[1] != scope[1])
        return ERR_MALFORMED;
    *c_out = c;
    return ERR_OK;
}
