#include "node/shard/dedupe.h"

#include <string.h>
#include <uthash.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/store/effects.h"

struct dedupe_item {
    uint8_t id[OP_ID_LEN];
    struct dedupe_found found;
    usec_t came_us;
    struct list order;
    UT_hash_handle hh;
};

#define DEDUPE_VERSION 1

_Static_assert(OP_ID_LEN == EFFECTS_OP_ID_LEN, "one kind of operation id");

void dedupe_init(struct dedupe *d)
{
    *d = (struct dedupe){0};
    list_init(&d->order);
}

static void dedupe_remove(struct dedupe *d, struct dedupe_item *item)
{
    HASH_DEL(d->table, item);
    list_remove(&item->order);
    mem_free(item);
    d->count--;
}

void dedupe_free(struct dedupe *d)
{
    LIST_EACH_SAFE(node, &d->order)
    dedupe_remove(d, LIST_ENTRY(node, struct dedupe_item, order));
    CHECK(d->count == 0);
}

void dedupe_forget(struct dedupe *d, usec_t now)
{
    if (now > d->forgotten_us)
        d->forgotten_us = now;
}

static void forget_oldest(struct dedupe *d)
{
    struct dedupe_item *oldest =
        LIST_ENTRY(d->order.next, struct dedupe_item, order);
    dedupe_forget(d, oldest->came_us);
    dedupe_remove(d, oldest);
}

static void dedupe_insert(struct dedupe *d, const uint8_t *id,
                          struct dedupe_found found, usec_t now)
{
    if (d->count == DEDUPE_MAX)
        forget_oldest(d);
    struct dedupe_item *item = mem_zalloc(sizeof(*item));
    memcpy(item->id, id, OP_ID_LEN);
    item->found = found;
    item->came_us = now;
    HASH_ADD(hh, d->table, id, OP_ID_LEN, item);
    list_push_back(&d->order, &item->order);
    d->count++;
}

void dedupe_add(struct dedupe *d, const struct entry *e, usec_t now)
{
    static const uint8_t nobody[OP_ID_LEN];
    struct effects_head head;
    struct effects_iter iter;
    /* The entry was checked when it was made or received. */
    CHECK(effects_open(entry_payload(e), &head, &iter) == ERR_OK);
    if ((head.status & DEDUPE_OPENED) != 0)
        dedupe_forget(d, now);
    if (memcmp(head.op_id, nobody, OP_ID_LEN) == 0)
        return;
    struct dedupe_item *item;
    HASH_FIND(hh, d->table, head.op_id, OP_ID_LEN, item);
    if (item != NULL)
        return; /* the first one counts; a second had no effect of its own */
    dedupe_insert(
        d, head.op_id,
        (struct dedupe_found){.lsn = e->lsn,
                              .term = e->term,
                              .record = head.rid,
                              .created = (head.status & DEDUPE_CREATED) != 0,
                              .deleted = (head.status & DEDUPE_DELETED) != 0},
        now);
}

bool dedupe_find(const struct dedupe *d, const uint8_t id[OP_ID_LEN],
                 struct dedupe_found *found_out)
{
    struct dedupe_item *item;
    HASH_FIND(hh, d->table, id, OP_ID_LEN, item);
    if (item == NULL)
        return false;
    *found_out = item->found;
    return true;
}

bool dedupe_may_have_forgotten(const struct dedupe *d, usec_t since_us)
{
    return d->forgotten_us >= since_us;
}

void dedupe_truncate(struct dedupe *d, uint64_t from)
{
    while (!list_empty(&d->order)) {
        struct dedupe_item *newest =
            LIST_ENTRY(d->order.prev, struct dedupe_item, order);
        if (newest->found.lsn < from)
            return;
        dedupe_remove(d, newest);
    }
}

static int encode_item(const struct dedupe_item *item, struct buf *out)
{
    const struct dedupe_found *f = &item->found;
    uint8_t status = (uint8_t)((f->created ? DEDUPE_CREATED : 0) |
                               (f->deleted ? DEDUPE_DELETED : 0));
    int err = buf_append(out, item->id, OP_ID_LEN);
    if (err == ERR_OK)
        err = buf_append_u64_le(out, f->lsn);
    if (err == ERR_OK)
        err = buf_append_u64_le(out, f->term);
    if (err == ERR_OK)
        err = buf_append_u64_le(out, f->record);
    return err == ERR_OK ? buf_append_u8(out, status) : err;
}

int dedupe_encode(const struct dedupe *d, uint64_t upto, struct buf *out)
{
    uint32_t count = 0;
    LIST_EACH(node, &d->order)
    count += LIST_ENTRY(node, struct dedupe_item, order)->found.lsn <= upto;
    int err = buf_append_u8(out, DEDUPE_VERSION);
    if (err == ERR_OK)
        err = buf_append_u32_le(out, count);
    LIST_EACH(node, &d->order)
    {
        const struct dedupe_item *item =
            LIST_ENTRY(node, struct dedupe_item, order);
        if (err == ERR_OK && item->found.lsn <= upto)
            err = encode_item(item, out);
    }
    return err;
}

/* Whether the next operation of a list is in order and new. */
static bool decode_item(struct dedupe *d, struct cursor *c, uint64_t *last_lsn)
{
    const uint8_t *id = cursor_take(c, OP_ID_LEN);
    struct dedupe_found found = {0}, known;
    found.lsn = cursor_u64_le(c);
    found.term = cursor_u64_le(c);
    found.record = cursor_u64_le(c);
    uint8_t status = cursor_u8(c);
    if (!cursor_ok(c) || found.lsn <= *last_lsn ||
        status > (DEDUPE_CREATED | DEDUPE_DELETED) ||
        dedupe_find(d, id, &known))
        return false;
    found.created = (status & DEDUPE_CREATED) != 0;
    found.deleted = (status & DEDUPE_DELETED) != 0;
    *last_lsn = found.lsn;
    dedupe_insert(d, id, found, 0);
    return true;
}

int dedupe_decode(struct dedupe *d, struct bytes in)
{
    CHECK(d->count == 0);
    struct cursor c = cursor_of(in.data, in.len);
    uint8_t version = cursor_u8(&c);
    uint32_t count = cursor_u32_le(&c);
    uint64_t last_lsn = 0;
    if (version != DEDUPE_VERSION || count > DEDUPE_MAX)
        return ERR_MALFORMED;
    for (uint32_t i = 0; i < count; i++)
        if (!decode_item(d, &c, &last_lsn))
            return ERR_MALFORMED;
    return cursor_done(&c) ? ERR_OK : ERR_MALFORMED;
}
