#include <string.h>

#include "node/base/bytes.h"
#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"
#include "node/store/wal_impl.h"

struct wal_batch *wal_batch_new(size_t max_bytes)
{
    CHECK(max_bytes > WAL_BATCH_HEADER && max_bytes <= WAL_BATCH_BYTES_MAX);
    struct wal_batch *b = mem_zalloc(sizeof(*b));
    b->magic = WAL_BATCH_OBJ_MAGIC;
    buf_init(&b->buf, max_bytes - WAL_BATCH_HEADER);
    return b;
}

void wal_batch_free(struct wal_batch *b)
{
    if (b == NULL)
        return;
    CHECK_OBJ(b, WAL_BATCH_OBJ_MAGIC);
    buf_free(&b->buf);
    mem_free(b->touches);
    b->magic = 0;
    mem_free(b);
}

void wal_batch_clear(struct wal_batch *b)
{
    CHECK_OBJ(b, WAL_BATCH_OBJ_MAGIC);
    buf_clear(&b->buf);
    b->count = 0;
    b->touch_count = 0;
}

bool wal_batch_empty(const struct wal_batch *b)
{
    return b->count == 0;
}

size_t wal_batch_bytes(const struct wal_batch *b)
{
    return buf_len(&b->buf);
}

/* -- what a batch does, in sum -- */

/* The touch of `shard`, made if there is none. */
static struct wal_touch *wal_batch_touch(struct wal_batch *b, uint32_t shard)
{
    /* The shard of the record before is the likeliest. */
    for (size_t i = b->touch_count; i > 0; i--) {
        if (b->touches[i - 1].state.id == shard)
            return &b->touches[i - 1];
    }
    if (b->touch_count == b->touch_cap) {
        b->touch_cap = b->touch_cap == 0 ? 8 : 2 * b->touch_cap;
        b->touches =
            mem_realloc(b->touches, b->touch_cap * sizeof(*b->touches));
    }
    struct wal_touch *touch = &b->touches[b->touch_count++];
    *touch = (struct wal_touch){.truncate_from = UINT64_MAX};
    touch->state.id = shard;
    return touch;
}

static void touch_truncate(struct wal_touch *touch, uint64_t from)
{
    if (from < touch->truncate_from)
        touch->truncate_from = from;
    if (touch->max_lsn >= from)
        touch->max_lsn = from - 1;
}

void wal_touch_record(struct wal_touch *touch, const struct wal_record *r)
{
    struct wal_shard *state = &touch->state;
    switch (r->type) {
    case WAL_ENTRY:
        if (r->lsn > touch->max_lsn)
            touch->max_lsn = r->lsn;
        return;
    case WAL_HARD_STATE:
        state->has_hard_state = true;
        state->term = r->term;
        state->vote = r->vote;
        return;
    case WAL_TRUNCATE:
        touch_truncate(touch, r->lsn);
        return;
    case WAL_RESET:
        touch_truncate(touch, 1);
        state->has_reset = true;
        state->reset_lsn = r->lsn;
        state->reset_term = r->term;
        return;
    case WAL_COMMIT:
        state->has_commit = true;
        state->commit = r->lsn;
        return;
    case WAL_SALVAGE:
        if (r->number > touch->max_salvage)
            touch->max_salvage = r->number;
        return;
    case WAL_SALVAGED:
        return;
    }
    CHECK_UNREACHABLE();
}

/* -- records -- */

int wal_put_record(struct buf *out, const struct wal_record *r, uint16_t flags)
{
    CHECK(r->payload.len <= ENTRY_MAX_BYTES);
    if (r->acknowledged)
        flags |= WAL_FLAG_ACKNOWLEDGED;
    size_t padding = (size_t)(-r->payload.len) % WAL_ALIGN;
    size_t len = WAL_RECORD_HEADER + r->payload.len + padding;
    uint8_t *p;
    int code = buf_reserve(out, len, &p);
    if (code != ERR_OK)
        return code;
    p[0] = (uint8_t)r->type;
    p[1] = r->entry_type;
    put_u16_le(p + 2, flags);
    put_u32_le(p + 4, r->shard);
    put_u64_le(p + 8, r->type == WAL_HARD_STATE ? r->vote : r->lsn);
    put_u64_le(p + 16, r->term);
    put_u32_le(p + 24, (uint32_t)r->payload.len);
    put_u32_le(p + 28, r->number);
    if (r->payload.len > 0)
        memcpy(p + WAL_RECORD_HEADER, r->payload.data, r->payload.len);
    memset(p + WAL_RECORD_HEADER + r->payload.len, 0, padding);
    buf_commit(out, len);
    return ERR_OK;
}

static int add(struct wal_batch *b, const struct wal_record *r)
{
    CHECK_OBJ(b, WAL_BATCH_OBJ_MAGIC);
    int code = wal_put_record(&b->buf, r, 0);
    if (code != ERR_OK)
        return code;
    wal_touch_record(wal_batch_touch(b, r->shard), r);
    b->count++;
    return ERR_OK;
}

int wal_batch_entry(struct wal_batch *b, uint32_t shard, const struct entry *e)
{
    CHECK_OBJ(e, ENTRY_MAGIC);
    return add(b, &(struct wal_record){.type = WAL_ENTRY,
                                       .shard = shard,
                                       .lsn = e->lsn,
                                       .term = e->term,
                                       .entry_type = e->type,
                                       .payload = entry_payload(e)});
}

int wal_batch_hard_state(struct wal_batch *b, uint32_t shard, uint64_t term,
                         uint64_t vote)
{
    return add(b, &(struct wal_record){.type = WAL_HARD_STATE,
                                       .shard = shard,
                                       .term = term,
                                       .vote = vote});
}

int wal_batch_truncate(struct wal_batch *b, uint32_t shard, uint64_t from_lsn)
{
    CHECK(from_lsn > 0);
    return add(b, &(struct wal_record){
                      .type = WAL_TRUNCATE, .shard = shard, .lsn = from_lsn});
}

int wal_batch_reset(struct wal_batch *b, uint32_t shard, uint64_t lsn,
                    uint64_t term)
{
    return add(
        b, &(struct wal_record){
               .type = WAL_RESET, .shard = shard, .lsn = lsn, .term = term});
}

int wal_batch_commit(struct wal_batch *b, uint32_t shard, uint64_t lsn)
{
    return add(b, &(struct wal_record){
                      .type = WAL_COMMIT, .shard = shard, .lsn = lsn});
}

int wal_batch_salvage(struct wal_batch *b, uint32_t shard, uint32_t number,
                      bool acknowledged, const struct entry *e)
{
    CHECK_OBJ(e, ENTRY_MAGIC);
    CHECK(number > 0);
    return add(b, &(struct wal_record){.type = WAL_SALVAGE,
                                       .shard = shard,
                                       .lsn = e->lsn,
                                       .term = e->term,
                                       .entry_type = e->type,
                                       .number = number,
                                       .acknowledged = acknowledged,
                                       .payload = entry_payload(e)});
}

int wal_batch_salvaged(struct wal_batch *b, uint32_t shard, uint32_t number)
{
    return add(b, &(struct wal_record){
                      .type = WAL_SALVAGED, .shard = shard, .number = number});
}
