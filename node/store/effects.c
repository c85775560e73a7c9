#include "node/store/effects.h"

#include "node/base/check.h"
#include "node/base/err.h"

#define EFFECTS_VERSION 1

/* -- building -- */

int effects_begin(struct effects_builder *b, const struct effects_head *head)
{
    buf_init(&b->buf, ENTRY_MAX_BYTES);
    b->count = 0;
    b->count_at = 0;
    if (head->opaque.len > EFFECTS_OPAQUE_MAX)
        return ERR_LIMIT;
    int code = buf_append_u8(&b->buf, EFFECTS_VERSION);
    if (code == ERR_OK)
        code = buf_append(&b->buf, head->op_id, EFFECTS_OP_ID_LEN);
    if (code == ERR_OK)
        code = buf_append_u16_le(&b->buf, head->status);
    if (code == ERR_OK)
        code = buf_append_u64_le(&b->buf, head->rid);
    if (code == ERR_OK)
        code = buf_append_u32_le(&b->buf, (uint32_t)head->opaque.len);
    if (code == ERR_OK)
        code = buf_append(&b->buf, head->opaque.data, head->opaque.len);
    b->count_at = buf_len(&b->buf);
    if (code == ERR_OK)
        code = buf_append_u16_le(&b->buf, 0);
    return code;
}

static int begin_effect(struct effects_builder *b, enum effect_kind kind,
                        struct bytes key)
{
    CHECK(key.len >= 1 && key.len <= EFFECTS_KEY_MAX);
    if (b->count == EFFECTS_COUNT_MAX)
        return ERR_LIMIT;
    int code = buf_append_u8(&b->buf, (uint8_t)kind);
    if (code == ERR_OK)
        code = buf_append_u8(&b->buf, (uint8_t)key.len);
    if (code == ERR_OK)
        code = buf_append(&b->buf, key.data, key.len);
    if (code == ERR_OK)
        b->count++;
    return code;
}

int effects_put_room(struct effects_builder *b, struct bytes key,
                     size_t value_len, uint8_t **room_out)
{
    if (value_len > ENTRY_MAX_BYTES)
        return ERR_LIMIT;
    int code = begin_effect(b, EFFECT_PUT, key);
    if (code == ERR_OK)
        code = buf_append_u32_le(&b->buf, (uint32_t)value_len);
    uint8_t *room;
    if (code == ERR_OK)
        code = buf_reserve(&b->buf, value_len, &room);
    if (code != ERR_OK)
        return code;
    buf_commit(&b->buf, value_len);
    *room_out = room;
    return ERR_OK;
}

int effects_put(struct effects_builder *b, struct bytes key, struct bytes value)
{
    uint8_t *room;
    int code = effects_put_room(b, key, value.len, &room);
    if (code != ERR_OK)
        return code;
    if (value.len > 0)
        memcpy(room, value.data, value.len);
    return ERR_OK;
}

int effects_delete(struct effects_builder *b, struct bytes key)
{
    return begin_effect(b, EFFECT_DELETE, key);
}

struct bytes effects_payload(struct effects_builder *b)
{
    CHECK(b->count_at > 0);
    put_u16_le(b->buf.data + b->buf.head + b->count_at, (uint16_t)b->count);
    return bytes_of(buf_bytes(&b->buf), buf_len(&b->buf));
}

int effects_finish(struct effects_builder *b, uint64_t lsn, uint64_t term,
                   uint8_t type, struct entry **entry_out)
{
    int code = entry_copy(lsn, term, type, effects_payload(b), entry_out);
    if (code == ERR_OK)
        effects_builder_free(b);
    return code;
}

void effects_builder_free(struct effects_builder *b)
{
    buf_free(&b->buf);
    b->count = 0;
    b->count_at = 0;
}

/* -- reading -- */

/* One effect; marks the cursor failed where the bytes are not one. */
static void read_effect(struct cursor *c, struct effect *effect_out)
{
    uint8_t kind = cursor_u8(c);
    uint8_t key_len = cursor_u8(c);
    if ((kind != EFFECT_PUT && kind != EFFECT_DELETE) || key_len == 0 ||
        key_len > EFFECTS_KEY_MAX)
        c->failed = true;
    const uint8_t *key = cursor_take(c, key_len);
    struct bytes value = bytes_of(NULL, 0);
    if (kind == EFFECT_PUT)
        value = cursor_blob(c, ENTRY_MAX_BYTES);
    *effect_out =
        (struct effect){(enum effect_kind)kind, bytes_of(key, key_len), value};
}

int effects_open(struct bytes payload, struct effects_head *head_out,
                 struct effects_iter *iter_out)
{
    if (payload.len > ENTRY_MAX_BYTES)
        return ERR_LIMIT;
    struct cursor c = cursor_of(payload.data, payload.len);
    uint8_t version = cursor_u8(&c);
    if (cursor_ok(&c) && version != EFFECTS_VERSION)
        return version > EFFECTS_VERSION ? ERR_UNSUPPORTED : ERR_MALFORMED;
    struct effects_head head = {0};
    const uint8_t *op_id = cursor_take(&c, EFFECTS_OP_ID_LEN);
    head.status = cursor_u16_le(&c);
    head.rid = cursor_u64_le(&c);
    head.opaque = cursor_blob(&c, EFFECTS_OPAQUE_MAX);
    uint32_t count = cursor_u16_le(&c);
    if (!cursor_ok(&c))
        return ERR_MALFORMED;
    if (count > EFFECTS_COUNT_MAX)
        return ERR_LIMIT;
    memcpy(head.op_id, op_id, EFFECTS_OP_ID_LEN);
    struct effects_iter iter = {c, count};
    struct effect unused;
    for (uint32_t i = 0; i < count && cursor_ok(&c); i++)
        read_effect(&c, &unused);
    if (!cursor_done(&c))
        return ERR_MALFORMED;
    *head_out = head;
    *iter_out = iter;
    return ERR_OK;
}

bool effects_next(struct effects_iter *iter, struct effect *effect_out)
{
    if (iter->left == 0)
        return false;
    iter->left--;
    read_effect(&iter->at, effect_out);
    CHECK(cursor_ok(&iter->at));
    return true;
}
