/* Reading the flushed state of a shard, whatever holds it: LMDB in a node
 * (engine.h), a sorted array in simulations and pure tests (kv_mem.h).
 *
 * Reads happen inside kv_begin ... kv_end, which pins one consistent state.
 * Keep it short: one loop turn. What get and the iterators hand out is
 * borrowed until kv_end.
 */
#ifndef BASTIDE_STORE_KV_H
#define BASTIDE_STORE_KV_H

#include <stdint.h>

#include "node/base/bytes.h"

struct kv_iter;

struct kv_ops {
    int (*begin)(void *ctx);
    void (*end)(void *ctx);
    int (*get)(void *ctx, struct bytes key, struct bytes *value_out);
    int (*iter_open)(void *ctx, struct bytes from, struct bytes to,
                     struct kv_iter **iter_out);
    int (*iter_next)(struct kv_iter *iter, struct bytes *key_out,
                     struct bytes *value_out);
    void (*iter_close)(struct kv_iter *iter);
    uint64_t (*flushed_lsn)(void *ctx);
};

struct kv {
    const struct kv_ops *ops;
    void *ctx;
};

/* What every implementation's iterator begins with. */
struct kv_iter {
    const struct kv_ops *ops;
};

/* Pins a state; calls nest. ERR_IO, ERR_NO_MEMORY. */
static inline int kv_begin(struct kv kv)
{
    return kv.ops->begin(kv.ctx);
}
static inline void kv_end(struct kv kv)
{
    kv.ops->end(kv.ctx);
}
/* ERR_NOT_FOUND, ERR_IO, ERR_CORRUPT. */
static inline int kv_get(struct kv kv, struct bytes key,
                         struct bytes *value_out)
{
    return kv.ops->get(kv.ctx, key, value_out);
}
/* Keys in [from, to), in order; an empty `to` means no upper bound. Both are
 * copied. ERR_NO_MEMORY, ERR_IO, ERR_LIMIT (bound above EFFECTS_KEY_MAX). */
static inline int kv_iter_open(struct kv kv, struct bytes from, struct bytes to,
                               struct kv_iter **iter_out)
{
    return kv.ops->iter_open(kv.ctx, from, to, iter_out);
}
/* ERR_EOF after the last; ERR_IO, ERR_CORRUPT. */
static inline int kv_iter_next(struct kv_iter *iter, struct bytes *key_out,
                               struct bytes *value_out)
{
    return iter->ops->iter_next(iter, key_out, value_out);
}
/* Before kv_end. NULL is allowed. */
static inline void kv_iter_close(struct kv_iter *iter)
{
    if (iter != NULL)
        iter->ops->iter_close(iter);
}
/* The LSN whose state this is, 0 when nothing was ever flushed. Any time. */
static inline uint64_t kv_flushed_lsn(struct kv kv)
{
    return kv.ops->flushed_lsn(kv.ctx);
}

#endif
