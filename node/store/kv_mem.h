/* The in-memory twin of the engine, for simulations and pure tests: a sorted
 * array of copied keys and values. It keeps the promises of kv.h and applies
 * the same flushes as engine.h. Not fast, not durable. */
#ifndef BASTIDE_STORE_KV_MEM_H
#define BASTIDE_STORE_KV_MEM_H

#include "node/store/flush.h"
#include "node/store/kv.h"

struct kv_mem;

struct kv_mem *kv_mem_new(void);
void kv_mem_free(struct kv_mem *k);
struct kv kv_mem_kv(struct kv_mem *k);
/* Applies a complete flush at once. Not between kv_begin and kv_end. */
void kv_mem_flush(struct kv_mem *k, const struct flush *f);
uint64_t kv_mem_flushed_term(const struct kv_mem *k);
/* How many records there are. */
size_t kv_mem_count(const struct kv_mem *k);
/* ERR_NOT_FOUND; borrowed until the next flush. */
int kv_mem_info(const struct kv_mem *k, const char *name,
                struct bytes *blob_out);
/* Makes `to` an exact copy of `from` (a snapshot was installed). */
void kv_mem_copy(struct kv_mem *to, const struct kv_mem *from);
/* Removes every key that begins with `prefix`. */
void kv_mem_drop_prefix(struct kv_mem *k, struct bytes prefix);

#endif
