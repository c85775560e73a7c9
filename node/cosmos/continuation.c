#include "node/cosmos/continuation.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/base/text.h"

/* First byte: the version in the high half, the kind in the low one. */
#define CONTINUATION_VERSION 1
#define CONTINUATION_TAG(kind) (CONTINUATION_VERSION << 4 | (kind))
/* A CONTINUATION_SCAN with floors, which only exist once a group was split. */
#define CONTINUATION_TAG_FLOORS CONTINUATION_TAG(4)

static int floors_write(const struct continuation *c, struct buf *out)
{
    int err = buf_append_u8(out, (uint8_t)c->floor_count);
    for (uint32_t i = 0; i < c->floor_count && err == ERR_OK; i++) {
        const struct continuation_floor *f = &c->floors[i];
        err = buf_append_u32_le(out, f->slot);
        if (err == ERR_OK)
            err = buf_append_u8(out, (uint8_t)f->position.len);
        if (err == ERR_OK)
            err = buf_append(out, f->position.data, f->position.len);
    }
    return err;
}

static int floors_read(struct cursor *in, struct continuation *c)
{
    c->floor_count = cursor_u8(in);
    if (!cursor_ok(in) || c->floor_count > CONTINUATION_FLOORS_MAX)
        return ERR_MALFORMED;
    for (uint32_t i = 0; i < c->floor_count; i++) {
        struct continuation_floor *f = &c->floors[i];
        f->slot = cursor_u32_le(in);
        size_t len = cursor_u8(in);
        f->position = bytes_of(cursor_take(in, len), len);
        if (!cursor_ok(in) || len == 0 || len > OP_KEY_MAX)
            return ERR_MALFORMED;
    }
    return ERR_OK;
}

/* The fields of each kind, then one that takes the rest, so that no byte is
 * spent on lengths. In the order in which fields_read takes them. */
static int fields_write(const struct continuation *c, struct buf *out)
{
    struct bytes rest = c->kind == CONTINUATION_SCAN ? c->position : c->token;
    bool floors = c->kind == CONTINUATION_SCAN && c->floor_count > 0;
    int err = buf_append_u8(out, (uint8_t)(floors ? CONTINUATION_TAG_FLOORS
                                                  : CONTINUATION_TAG(c->kind)));
    if (err == ERR_OK && c->kind == CONTINUATION_LIST)
        err = buf_append_u32_le(out, c->after);
    if (c->kind == CONTINUATION_SCAN) {
        if (err == ERR_OK)
            err = buf_append_u32_le(out, c->slot);
        if (err == ERR_OK)
            err = buf_append_u64_le(out, c->skipped);
        if (err == ERR_OK)
            err = buf_append_u64_le(out, c->delivered);
    }
    if (floors && err == ERR_OK)
        err = floors_write(c, out);
    return err == ERR_OK ? buf_append(out, rest.data, rest.len) : err;
}

static int fields_read(struct cursor *in, enum continuation_kind kind,
                       struct continuation *c)
{
    memset(c, 0, sizeof(*c));
    c->kind = kind;
    uint8_t tag = cursor_u8(in);
    bool floors = kind == CONTINUATION_SCAN && tag == CONTINUATION_TAG_FLOORS;
    if (tag != CONTINUATION_TAG(kind) && !floors)
        return ERR_MALFORMED;
    if (kind == CONTINUATION_LIST)
        c->after = cursor_u32_le(in);
    if (kind == CONTINUATION_SCAN) {
        c->slot = cursor_u32_le(in);
        c->skipped = cursor_u64_le(in);
        c->delivered = cursor_u64_le(in);
    }
    if (floors && floors_read(in, c) != ERR_OK)
        return ERR_MALFORMED;
    size_t left = cursor_left(in);
    struct bytes rest = bytes_of(cursor_take(in, left), left);
    if (!cursor_ok(in))
        return ERR_MALFORMED;
    if (kind != CONTINUATION_SCAN)
        c->token = rest;
    else if (rest.len <= OP_KEY_MAX)
        c->position = rest;
    else
        return ERR_MALFORMED;
    return ERR_OK;
}

/* The keyed hash of a token's fields in its scope. */
static void authenticate(const struct keyed_hash *key, struct bytes fields,
                         const uint64_t scope[2], uint8_t mac[KEYED_HASH_LEN])
{
    uint8_t text[CONTINUATION_BINARY_MAX + 16];
    CHECK(fields.len <= CONTINUATION_BINARY_MAX);
    put_u64_le(text, scope[0]);
    put_u64_le(text + 8, scope[1]);
    memcpy(text + 16, fields.data, fields.len);
    keyed_hash16(key, bytes_of(text, fields.len + 16), mac);
}

int continuation_write(const struct keyed_hash *key,
                       const struct continuation *c, struct buf *out)
{
    CHECK(c->position.len <= OP_KEY_MAX);
    struct buf binary;
    buf_init(&binary, CONTINUATION_BINARY_MAX);
    int err = fields_write(c, &binary);
    if (err == ERR_OK) {
        uint8_t mac[KEYED_HASH_LEN];
        authenticate(key, bytes_of(buf_bytes(&binary), buf_len(&binary)),
                     c->scope, mac);
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
    struct bytes fields =
        bytes_of(buf_bytes(storage), buf_len(storage) - KEYED_HASH_LEN);
    uint8_t mac[KEYED_HASH_LEN];
    authenticate(key, fields, scope, mac);
    if (!mem_equal_ct(mac, fields.data + fields.len, sizeof(mac)))
        return ERR_MALFORMED;
    struct continuation c;
    struct cursor in = cursor_of(fields.data, fields.len);
    int err = fields_read(&in, kind, &c);
    if (err != ERR_OK)
        return err;
    c.scope[0] = scope[0];
    c.scope[1] = scope[1];
    *c_out = c;
    return ERR_OK;
}
