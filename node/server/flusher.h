/* Moves a shard's committed records from memory to LMDB in the background:
 * collected on the loop in slices, written by the helper thread in one synced
 * transaction, then freed from memory in slices. */
#ifndef BASTIDE_SERVER_FLUSHER_H
#define BASTIDE_SERVER_FLUSHER_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/clock.h"
#include "node/base/meter.h"
#include "node/server/helper.h"
#include "node/store/flush.h"

struct replica;

/* A shard is flushed when it holds this much in memory (or a quarter of what it
 * may hold, if that is less), or after this time. */
#define FLUSHER_BYTES ((size_t)8 << 20)
#define FLUSHER_INTERVAL_US (10 * USEC_PER_SEC)
#define FLUSHER_RETRY_US (USEC_PER_SEC / 2)
#define FLUSHER_TRIM_BUDGET 4000
#define FLUSHER_DROP_BUDGET 10000

struct flusher {
    struct helper_job job;
    struct replica *replica;
    struct flush *flush; /* with the helper */
    int err;
    /* Containers whose records are to be deleted, oldest first. */
    uint32_t *drops;
    uint32_t drop_count, drop_cap;
    bool drop_memory; /* the first one's versions in memory are gone */
    /* The helper's, while it deletes: the first of them, and which table. */
    uint32_t dropping;
    uint8_t drop_table;
    bool drop_more;
    uint64_t upto; /* not beyond; see flusher_aim */
    bool running;  /* the helper has the job */
    bool trimming; /* memory of the last flush is not all freed */
    usec_t flushed_us;
    usec_t retry_us;
    usec_t took_us; /* the helper's last flush */
    /* For metrics. */
    struct meter commits;
    uint64_t flushed_bytes, failures;
};

void flusher_init(struct flusher *f, struct replica *r);
/* A container is gone for good: deletes its records in the background, from
 * memory, then from LMDB. */
void flusher_drop(struct flusher *f, uint32_t container);
/* At start, when the catalog is read: drops what a container that was deleted
 * left behind because the process ended first. */
int flusher_sweep(struct flusher *f);
/* Flushes what there is up to exactly `lsn` as soon as that is committed and
 * durable here, and nothing above it until this is called with SHARD_FLUSH_ALL;
 * for a moment, since memory is not freed meanwhile. flusher_check does it. */
void flusher_aim(struct flusher *f, uint64_t lsn);
/* Begins a flush when one is due. */
void flusher_check(struct flusher *f, usec_t now);
/* Once a turn: hands a collected flush to the helper, frees memory. True when
 * there is more to do at once. */
bool flusher_turn(struct flusher *f, usec_t now);

#endif
