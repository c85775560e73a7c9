#include "node/shard/dedupe.h"

#include <string.h>
#include <uthash.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/store/effects.h"

struct dedupe_item {
    uint8_t id[OP_ID_LEN];
    struct dedupe_found found;
    struct list order;
    UT_hash_handle hh;
};

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

void dedupe_add(struct dedupe *d, const struct entry *e)
{
    static const uint8_t nobody[OP_ID_LEN];
    struct effects_head head;
    struct effects_iter iter;
    /* The entry was checked when it was made or received. */
    CHECK(effects_open(entry_payload(e), &head, &iter) == ERR_OK);
    if (memcmp(head.op_id, nobody, OP_ID_LEN) == 0)
        return;
    struct dedupe_item *item;
    HASH_FIND(hh, d->table, head.op_id, OP_ID_LEN, item);
    if (item != NULL)
        return; /* the first one counts; a second had no effect of its own */
    if (d->count == DEDUPE_MAX)
        dedupe_remove(d, LIST_ENTRY(d->order.next, struct dedupe_item, order));
    item = mem_zalloc(sizeof(*item));
    memcpy(item->id, head.op_id, OP_ID_LEN);
    item->found =
        (struct dedupe_found){.lsn = e->lsn,
                              .term = e->term,
                              .record = head.rid,
                              .created = (head.status & DEDUPE_CREATED) != 0,
                              .deleted = (head.status & DEDUPE_DELETED) != 0};
    HASH_ADD(hh, d->table, id, OP_ID_LEN, item);
    list_push_back(&d->order, &item->order);
    d->count++;
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
