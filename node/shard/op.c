#include "node/shard/op.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/base/text.h"
#include "node/catalog/rid.h"

#define OP_WIRE_VERSION 2
/* Has what moves need, for nodes of FEATURE_MOVES; others never see one. */
#define OP_WIRE_MOVES 3

/* ---- etag ---------------------------------------------------------------- */

/* Text layout, in hex digits: term:8 - shard:4 - position:4 - term:4 - lsn:12,
 * the first term part being its low 32 bits. */
void etag_format(const struct etag *e, char out[ETAG_TEXT_LEN + 1])
{
    CHECK(e->lsn < (uint64_t)1 << 48);
    CHECK(e->term < (uint64_t)1 << 48);
    int len =
        snprintf(out, ETAG_TEXT_LEN + 1, "\"%08x-%04x-%04x-%04x-%012llx\"",
                 (unsigned)(e->term & 0xffffffff), e->shard, e->position,
                 (unsigned)(e->term >> 32), (unsigned long long)e->lsn);
    CHECK(len == ETAG_TEXT_LEN);
}

static int hex_field(const uint8_t *p, size_t digits, uint64_t *value_out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < digits; i++) {
        uint8_t c = p[i];
        if (c >= '0' && c <= '9')
            value = value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        else
            return ERR_MALFORMED;
    }
    *value_out = value;
    return ERR_OK;
}

int etag_parse(struct bytes text, struct etag *etag_out)
{
    if (text.len == ETAG_TEXT_LEN && text.data[0] == '"' &&
        text.data[ETAG_TEXT_LEN - 1] == '"') {
        text.data++;
        text.len -= 2;
    }
    const uint8_t *p = text.data;
    if (text.len != ETAG_TEXT_LEN - 2 || p[8] != '-' || p[13] != '-' ||
        p[18] != '-' || p[23] != '-')
        return ERR_MALFORMED;
    uint64_t term_low, shard, position, term_high, lsn;
    if (hex_field(p, 8, &term_low) != ERR_OK ||
        hex_field(p + 9, 4, &shard) != ERR_OK ||
        hex_field(p + 14, 4, &position) != ERR_OK ||
        hex_field(p + 19, 4, &term_high) != ERR_OK ||
        hex_field(p + 24, 12, &lsn) != ERR_OK)
        return ERR_MALFORMED;
    *etag_out = (struct etag){.term = term_high << 32 | term_low,
                              .lsn = lsn,
                              .shard = (uint16_t)shard,
                              .position = (uint16_t)position};
    return ERR_OK;
}

bool etag_equal(const struct etag *a, const struct etag *b)
{
    return a->lsn == b->lsn && a->term == b->term && a->shard == b->shard &&
           a->position == b->position;
}

/* ---- results ------------------------------------------------------------- */

void op_result_init(struct op_result *r)
{
    memset(r, 0, sizeof(*r));
    buf_init(&r->body, OP_PAGE_MAX + OP_BODY_MAX);
}

void op_result_free(struct op_result *r)
{
    buf_free(&r->body);
}

void op_result_move(struct op_result *to, struct op_result *from)
{
    *to = *from;
    op_result_init(from);
}

bool op_result_next_row(const struct op_result *r, size_t *offset,
                        struct bytes *row_out)
{
    size_t len = buf_len(&r->body);
    if (*offset >= len || len - *offset < 4)
        return false;
    const uint8_t *p = buf_bytes(&r->body) + *offset;
    uint32_t row_len = get_u32_le(p);
    if (row_len > len - *offset - 4)
        return false;
    *row_out = bytes_of(p + 4, row_len);
    *offset += 4 + (size_t)row_len;
    return true;
}

/* ---- encoding ------------------------------------------------------------ */

/* Appends until the first failure and remembers it: encoders read as a list of
 * fields. */
struct encoder {
    struct buf *out;
    int err;
};

static void enc_bytes(struct encoder *e, const void *data, size_t len)
{
    if (e->err == ERR_OK)
        e->err = buf_append(e->out, data, len);
}
static void enc_u8(struct encoder *e, uint8_t v)
{
    enc_bytes(e, &v, 1);
}
static void enc_u16(struct encoder *e, uint16_t v)
{
    uint8_t b[2];
    put_u16_le(b, v);
    enc_bytes(e, b, sizeof(b));
}
static void enc_u32(struct encoder *e, uint32_t v)
{
    uint8_t b[4];
    put_u32_le(b, v);
    enc_bytes(e, b, sizeof(b));
}
static void enc_u64(struct encoder *e, uint64_t v)
{
    uint8_t b[8];
    put_u64_le(b, v);
    enc_bytes(e, b, sizeof(b));
}
static void enc_blob(struct encoder *e, struct bytes b)
{
    CHECK(b.len <= UINT32_MAX);
    enc_u32(e, (uint32_t)b.len);
    enc_bytes(e, b.data, b.len);
}
static void enc_address(struct encoder *e, const struct op_address *a)
{
    enc_u32(e, a->container);
    enc_bytes(e, a->pk_hash, OP_HASH_LEN);
    enc_bytes(e, a->id_hash, OP_HASH_LEN);
}
static void enc_etag(struct encoder *e, const struct etag *t)
{
    enc_u64(e, t->term);
    enc_u64(e, t->lsn);
    enc_u16(e, t->shard);
    enc_u16(e, t->position);
}

static void dec_fixed(struct cursor *c, uint8_t *out, size_t len)
{
    const uint8_t *p = cursor_take(c, len);
    if (p != NULL)
        memcpy(out, p, len);
}
/* A number that must be below `limit`; otherwise the cursor fails. */
static uint8_t dec_enum(struct cursor *c, uint8_t limit)
{
    uint8_t v = cursor_u8(c);
    if (v >= limit)
        c->failed = true;
    return v;
}
static bool dec_bool(struct cursor *c)
{
    return dec_enum(c, 2) != 0;
}
static void dec_address(struct cursor *c, struct op_address *a)
{
    a->container = cursor_u32_le(c);
    dec_fixed(c, a->pk_hash, OP_HASH_LEN);
    dec_fixed(c, a->id_hash, OP_HASH_LEN);
}
static void dec_etag(struct cursor *c, struct etag *t)
{
    t->term = cursor_u64_le(c);
    t->lsn = cursor_u64_le(c);
    t->shard = cursor_u16_le(c);
    t->position = cursor_u16_le(c);
    if (t->term >= (uint64_t)1 << 48 || t->lsn >= (uint64_t)1 << 48)
        c->failed = true;
}

static void enc_write(struct encoder *e, const struct op *op)
{
    enc_u8(e, (uint8_t)op->mode);
    enc_u8(e, (uint8_t)op->resource);
    enc_blob(e, op->body);
    enc_bytes(e, op->parent_rid, sizeof(op->parent_rid));
    enc_u8(e, op->has_parent);
    enc_address(e, &op->parent);
    enc_u64(e, op->parent_record);
    enc_u8(e, op->cascade);
    enc_u32(e, op->cascade_container);
    enc_bytes(e, op->cascade_pk_hash, OP_HASH_LEN);
}

/* Whether the record's own RID can be made from the parent's (rid.h). */
static bool parent_makes_sense(const struct op *op)
{
    struct rid parent = {.len = 0};
    switch (op->resource) {
    case OP_RESOURCE_DOCUMENT:
    case OP_RESOURCE_CONFLICT:
        parent.len = 8;
        memcpy(parent.bytes, op->parent_rid, 8);
        return op->mode == OP_DELETE || rid_kind(&parent) == RID_CONTAINER;
    case OP_RESOURCE_CONTAINER:
        return get_u32_be(op->parent_rid) <= RID_NUMBER_MAX;
    default:
        return true;
    }
}

static void dec_write(struct cursor *c, struct op *op)
{
    op->mode = dec_enum(c, OP_WRITE_MODE_COUNT);
    op->resource = dec_enum(c, OP_RESOURCE_COUNT);
    op->body = cursor_blob(c, OP_BODY_MAX);
    dec_fixed(c, op->parent_rid, sizeof(op->parent_rid));
    op->has_parent = dec_bool(c);
    dec_address(c, &op->parent);
    op->parent_record = cursor_u64_le(c);
    op->cascade = dec_bool(c);
    op->cascade_container = cursor_u32_le(c);
    dec_fixed(c, op->cascade_pk_hash, OP_HASH_LEN);
    if (op->mode == 0 || op->resource == 0 || !parent_makes_sense(op))
        c->failed = true;
}

static void enc_scan(struct encoder *e, const struct op *op)
{
    enc_u8(e, op->one_partition);
    enc_blob(e, op->after);
    enc_u32(e, op->max_items);
    enc_u32(e, op->max_bytes);
    enc_blob(e, op->query);
    enc_blob(e, op->params);
    enc_blob(e, op->merge_request);
}

static void dec_scan(struct cursor *c, struct op *op)
{
    op->one_partition = dec_bool(c);
    op->after = cursor_blob(c, OP_KEY_MAX);
    op->max_items = cursor_u32_le(c);
    op->max_bytes = cursor_u32_le(c);
    op->query = cursor_blob(c, OP_QUERY_MAX);
    op->params = cursor_blob(c, OP_PARAMS_MAX);
    op->merge_request = cursor_blob(c, OP_MERGE_REQUEST_MAX);
    if (op->max_items == 0 || op->max_bytes == 0 || op->max_bytes > OP_PAGE_MAX)
        c->failed = true;
}

/* Whether only a node that knows of moves understands it. */
static bool needs_moves(const struct op *op)
{
    return op->move != 0 || op->graves;
}

static void enc_move(struct encoder *e, const struct op *op)
{
    enc_u64(e, op->move);
    enc_u8(e, (uint8_t)op->mark);
    enc_u8(e, op->graves);
    enc_u64(e, op->copy_record);
    enc_u64(e, (uint64_t)op->copy_ts);
}

static void dec_move(struct cursor *c, struct op *op)
{
    op->move = cursor_u64_le(c);
    op->mark = dec_enum(c, OP_MARK_COUNT);
    op->graves = dec_bool(c);
    op->copy_record = cursor_u64_le(c);
    op->copy_ts = (int64_t)cursor_u64_le(c);
}

/* Whether what a mode needs is there. */
static bool move_makes_sense(const struct op *op)
{
    if (op->kind != OP_WRITE || op->mode <= OP_DELETE)
        return true;
    return op->move != 0 && op->resource == OP_RESOURCE_DOCUMENT &&
           op->at.container >= CONTAINER_FIRST_USER &&
           op->copy_record >> 60 == 0 &&
           (op->mode == OP_MARK) == (op->mark != OP_MARK_NONE);
}

int op_encode(const struct op *op, struct buf *out)
{
    CHECK(op->kind > 0 && op->kind < OP_KIND_COUNT);
    CHECK(op->shard < SHARD_MAX);
    size_t start = buf_len(out);
    struct encoder e = {.out = out};
    enc_u8(&e, needs_moves(op) ? OP_WIRE_MOVES : OP_WIRE_VERSION);
    enc_u8(&e, (uint8_t)op->kind);
    enc_u16(&e, op->shard);
    enc_bytes(&e, op->id, OP_ID_LEN);
    enc_address(&e, &op->at);
    enc_u8(&e, (uint8_t)op->condition);
    enc_etag(&e, &op->etag);
    enc_u8(&e, op->etag_unknown);
    enc_u64(&e, op->min_lsn);
    enc_u8(&e, op->level);
    enc_u32(&e, op->session_epoch);
    enc_u64(&e, op->session_lsn);
    if (op->kind == OP_WRITE)
        enc_write(&e, op);
    if (op->kind == OP_SCAN)
        enc_scan(&e, op);
    if (needs_moves(op))
        enc_move(&e, op);
    if (e.err != ERR_OK)
        buf_truncate(out, start);
    return e.err;
}

uint16_t op_encoded_shard(struct bytes in)
{
    struct cursor c = cursor_of(in.data, in.len);
    uint8_t version = cursor_u8(&c);
    bool known = version == OP_WIRE_VERSION || version == OP_WIRE_MOVES;
    (void)cursor_u8(&c); /* kind */
    uint16_t shard = cursor_u16_le(&c);
    return known && cursor_ok(&c) ? shard : SHARD_META;
}

int op_decode(struct bytes in, struct op *op_out)
{
    struct cursor c = cursor_of(in.data, in.len);
    struct op op = {0};
    uint8_t version = cursor_u8(&c);
    if (version != OP_WIRE_VERSION && version != OP_WIRE_MOVES)
        return ERR_MALFORMED;
    op.kind = dec_enum(&c, OP_KIND_COUNT);
    op.shard = cursor_u16_le(&c);
    dec_fixed(&c, op.id, OP_ID_LEN);
    dec_address(&c, &op.at);
    op.condition = dec_enum(&c, OP_COND_COUNT);
    dec_etag(&c, &op.etag);
    op.etag_unknown = dec_bool(&c);
    op.min_lsn = cursor_u64_le(&c);
    op.level = dec_enum(&c, CONSISTENCY_COUNT);
    op.session_epoch = cursor_u32_le(&c);
    op.session_lsn = cursor_u64_le(&c);
    if (op.kind == OP_WRITE)
        dec_write(&c, &op);
    if (op.kind == OP_SCAN)
        dec_scan(&c, &op);
    if (version == OP_WIRE_MOVES)
        dec_move(&c, &op);
    if (!move_makes_sense(&op))
        return ERR_MALFORMED;
    if (!cursor_done(&c) || op.kind == 0 || op.shard >= SHARD_MAX)
        return ERR_MALFORMED;
    *op_out = op;
    return ERR_OK;
}

int op_result_encode(const struct op_result *r, struct buf *out)
{
    size_t start = buf_len(out);
    struct encoder e = {.out = out};
    enc_u8(&e, OP_WIRE_VERSION);
    enc_u8(&e, (uint8_t)r->err);
    enc_u8(&e, r->created);
    enc_u8(&e, r->parent_missing);
    enc_u64(&e, r->lsn);
    enc_u64(&e, r->term);
    enc_u64(&e, r->record);
    enc_etag(&e, &r->etag);
    enc_u32(&e, r->items);
    enc_u8(&e, r->more);
    enc_blob(&e, bytes_of(r->next, r->next_len));
    enc_u32(&e, r->examined);
    enc_u32(&e, r->retry_after_ms);
    enc_blob(&e, bytes_str(r->message.text));
    enc_blob(&e, bytes_of(buf_bytes(&r->body), buf_len(&r->body)));
    if (e.err != ERR_OK)
        buf_truncate(out, start);
    return e.err;
}

/* The rows of a scan must tile the body exactly, as op_result_next_row
 * relies on it. */
static bool rows_well_formed(struct bytes body, uint32_t items)
{
    struct cursor c = cursor_of(body.data, body.len);
    for (uint32_t i = 0; i < items && cursor_ok(&c); i++)
        cursor_blob(&c, OP_PAGE_MAX + OP_BODY_MAX);
    return cursor_done(&c);
}

int op_result_decode(struct bytes in, struct op_result *result_out)
{
    struct cursor c = cursor_of(in.data, in.len);
    struct op_result r;
    op_result_init(&r);
    if (cursor_u8(&c) != OP_WIRE_VERSION)
        return ERR_MALFORMED;
    r.err = dec_enum(&c, ERR_COUNT);
    r.created = dec_bool(&c);
    r.parent_missing = dec_bool(&c);
    r.lsn = cursor_u64_le(&c);
    r.term = cursor_u64_le(&c);
    r.record = cursor_u64_le(&c);
    dec_etag(&c, &r.etag);
    r.items = cursor_u32_le(&c);
    r.more = dec_bool(&c);
    struct bytes next = cursor_blob(&c, OP_KEY_MAX);
    r.examined = cursor_u32_le(&c);
    r.retry_after_ms = cursor_u32_le(&c);
    struct bytes message = cursor_blob(&c, ERR_MSG_MAX - 1);
    struct bytes body = cursor_blob(&c, OP_PAGE_MAX + OP_BODY_MAX);
    if (!cursor_done(&c) || (r.items > 0 && !rows_well_formed(body, r.items)))
        return ERR_MALFORMED;
    if (next.len > 0)
        memcpy(r.next, next.data, next.len);
    r.next_len = (uint8_t)next.len;
    if (message.len > 0)
        memcpy(r.message.text, message.data, message.len);
    int err = buf_append(&r.body, body.data, body.len);
    if (err != ERR_OK) {
        op_result_free(&r);
        return err;
    }
    *result_out = r;
    return ERR_OK;
}
