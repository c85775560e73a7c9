/* One entry of a shard's log, in memory: header and payload in one allocation.
 *
 * An entry is immutable once it is shared. It belongs to the worker that made
 * it: references are counted without atomics and only that worker's loop
 * thread may call entry_ref and entry_unref. A helper thread may read an entry
 * while a job runs, because the loop holds a reference until the job is done.
 *
 * The same object is what the log writes, what peers are sent, and what the
 * memtable's versions borrow their keys and values from: a document is in
 * memory once.
 */
#ifndef BASTIDE_STORE_ENTRY_H
#define BASTIDE_STORE_ENTRY_H

#include <stddef.h>
#include <stdint.h>

#include "node/base/bytes.h"

#define ENTRY_MAGIC 0x656e7472u /* "entr" */

/* Largest payload: a document (2 MiB) or a transactional batch of them, sealed,
 * with its keys and the effects' framing. */
#define ENTRY_MAX_BYTES (4u << 20)

struct entry {
    uint32_t magic;
    uint32_t refs;
    uint64_t lsn;  /* index in the shard's log, from 1 */
    uint64_t term; /* epoch in the high half */
    uint32_t len;  /* bytes in data */
    uint8_t type;  /* defined by the shard; the store does not look at it */
    uint8_t data[];
};

/* Makes an entry with one reference; the caller fills entry->data before it
 * shares it. ERR_LIMIT when `len` is above ENTRY_MAX_BYTES, ERR_NO_MEMORY. */
int entry_new(uint64_t lsn, uint64_t term, uint8_t type, size_t len,
              struct entry **entry_out);
/* The same with the payload copied in. */
int entry_copy(uint64_t lsn, uint64_t term, uint8_t type, struct bytes payload,
               struct entry **entry_out);

struct entry *entry_ref(struct entry *e);
/* Frees it with the last reference. NULL is allowed. */
void entry_unref(struct entry *e);

static inline struct bytes entry_payload(const struct entry *e)
{
    return bytes_of(e->data, e->len);
}
/* What the entry costs in memory. */
static inline size_t entry_bytes(const struct entry *e)
{
    return sizeof(*e) + e->len;
}

#endif
