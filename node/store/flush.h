/* What one flush moves from the memtable into the engine: for every key the
 * newest version in (base_lsn, lsn], sorted, plus named blobs of shard state,
 * all to become durable in one transaction.
 *
 * Life: made and filled on the loop thread (in slices, if it is large), read
 * by engine_flush on the helper thread, freed on the loop thread. It holds a
 * reference to every entry it borrows from, so the memtable may change
 * meanwhile.
 */
#ifndef BASTIDE_STORE_FLUSH_H
#define BASTIDE_STORE_FLUSH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/store/memtable.h"

#define FLUSH_INFO_MAX 16               /* blobs in one flush */
#define FLUSH_INFO_NAME_MAX 31          /* characters in a blob's name */
#define FLUSH_INFO_BYTES_MAX (8u << 20) /* bytes in one blob */

struct flush_op {
    struct bytes key;
    struct bytes value;
    bool deleted;
    struct entry *entry;
};

struct flush_info {
    char name[FLUSH_INFO_NAME_MAX + 1];
    uint8_t *data; /* owned */
    size_t len;
};

#define FLUSH_MAGIC 0x666c7573u /* "flus" */
struct flush {
    uint32_t magic;
    uint64_t base_lsn; /* what the engine holds already */
    uint64_t lsn;      /* what it will hold */
    uint64_t term;     /* term of the entry at lsn */
    struct flush_op *ops;
    size_t count, cap;
    size_t bytes; /* keys and values */
    struct flush_info info[FLUSH_INFO_MAX];
    unsigned info_count;
    uint8_t resume[64]; /* last key collected */
    size_t resume_len;
    bool complete;
};

/* lsn must not be above the commit LSN: what is flushed is never truncated.
 * base_lsn <= lsn. */
struct flush *flush_new(uint64_t base_lsn, uint64_t lsn, uint64_t term);
/* Looks at up to `budget` more keys; true when all were seen. Between slices
 * the memtable may change in any way that leaves versions <= lsn alone. */
bool flush_collect(struct flush *f, const struct memtable *m, size_t budget);
/* Adds a blob (copied); the same name replaces it. Names beginning with '_'
 * belong to the engine. ERR_LIMIT. */
int flush_set_info(struct flush *f, const char *name, struct bytes blob);
void flush_free(struct flush *f);

#endif
