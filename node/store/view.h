/* A shard's records at one LSN: the memtable over the flushed state. Pure.
 *
 *     kv_begin(kv);
 *     code = view_get(mem, kv, key, read_lsn, &value);
 *     ...use value...
 *     kv_end(kv);
 *
 * read_lsn is at or above kv_flushed_lsn(kv). Everything handed out is borrowed
 * until kv_end or a change of the memtable, whichever comes first.
 */
#ifndef BASTIDE_STORE_VIEW_H
#define BASTIDE_STORE_VIEW_H

#include <stdbool.h>

#include "node/store/kv.h"
#include "node/store/memtable.h"

/* ERR_NOT_FOUND, or an error of kv_get. */
int view_get(const struct memtable *m, struct kv kv, struct bytes key,
             uint64_t read_lsn, struct bytes *value_out);

struct view_iter {
    struct memtable_iter mem_iter;
    struct kv_iter *kv_iter;
    struct memtable_version mem;   /* head of the memtable side */
    struct bytes kv_key, kv_value; /* head of the flushed side */
    bool has_mem, has_kv;
    uint8_t to[64];
    size_t to_len;
};

/* Live records with keys in [from, to), in order; an empty `to` means no upper
 * bound. Errors of kv_iter_open. */
int view_iter_open(const struct memtable *m, struct kv kv, struct bytes from,
                   struct bytes to, uint64_t read_lsn,
                   struct view_iter *iter_out);
/* ERR_EOF after the last; ERR_IO, ERR_CORRUPT. */
int view_iter_next(struct view_iter *iter, struct bytes *key_out,
                   struct bytes *value_out);
/* Before kv_end. */
void view_iter_close(struct view_iter *iter);

#endif
