#include "node/store/view.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/store/effects.h"

int view_get(const struct memtable *m, struct kv kv, struct bytes key,
             uint64_t read_lsn, struct bytes *value_out)
{
    CHECK(read_lsn >= kv_flushed_lsn(kv));
    struct memtable_version v;
    switch (memtable_get(m, key, read_lsn, &v)) {
    case MEMTABLE_FOUND:
        *value_out = v.value;
        return ERR_OK;
    case MEMTABLE_TOMBSTONE:
        return ERR_NOT_FOUND;
    case MEMTABLE_MISS:
        return kv_get(kv, key, value_out);
    }
    CHECK_UNREACHABLE();
}

static bool past_end(const struct view_iter *it, struct bytes key)
{
    return it->to_len > 0 &&
           bytes_compare(key, bytes_of(it->to, it->to_len)) >= 0;
}

static void advance_mem(struct view_iter *it)
{
    it->has_mem =
        memtable_next(&it->mem_iter, &it->mem) && !past_end(it, it->mem.key);
}

static int advance_kv(struct view_iter *it)
{
    int code = kv_iter_next(it->kv_iter, &it->kv_key, &it->kv_value);
    it->has_kv = code == ERR_OK;
    return code == ERR_EOF ? ERR_OK : code;
}

int view_iter_open(const struct memtable *m, struct kv kv, struct bytes from,
                   struct bytes to, uint64_t read_lsn,
                   struct view_iter *iter_out)
{
    CHECK(read_lsn >= kv_flushed_lsn(kv));
    struct view_iter it = {0};
    int code = kv_iter_open(kv, from, to, &it.kv_iter);
    if (code != ERR_OK)
        return code;
    if (to.len > 0)
        memcpy(it.to, to.data, to.len);
    it.to_len = to.len;
    memtable_seek(m, from, false, read_lsn, &it.mem_iter);
    advance_mem(&it);
    code = advance_kv(&it);
    if (code != ERR_OK) {
        view_iter_close(&it);
        return code;
    }
    *iter_out = it;
    return ERR_OK;
}

/* Hands out the head of the flushed side and moves it on. */
static int take_kv(struct view_iter *it, struct bytes *key_out,
                   struct bytes *value_out)
{
    struct bytes key = it->kv_key, value = it->kv_value;
    int code = advance_kv(it);
    if (code != ERR_OK)
        return code;
    *key_out = key;
    *value_out = value;
    return ERR_OK;
}

int view_iter_next(struct view_iter *it, struct bytes *key_out,
                   struct bytes *value_out)
{
    while (it->has_mem || it->has_kv) {
        int order = !it->has_mem  ? 1
                    : !it->has_kv ? -1
                                  : bytes_compare(it->mem.key, it->kv_key);
        if (order > 0)
            return take_kv(it, key_out, value_out);
        if (order == 0) { /* the memtable's version is the newer one */
            int code = advance_kv(it);
            if (code != ERR_OK)
                return code;
        }
        struct memtable_version v = it->mem;
        advance_mem(it);
        if (v.deleted)
            continue;
        *key_out = v.key;
        *value_out = v.value;
        return ERR_OK;
    }
    return ERR_EOF;
}

void view_iter_close(struct view_iter *it)
{
    kv_iter_close(it->kv_iter);
    it->kv_iter = NULL;
}
