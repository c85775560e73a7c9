/* The flushed state of one shard: an LMDB environment of its own.
 *
 * Two tables: `records` (the shard's keys to sealed values) and `info` (named
 * blobs: the LSN and term this state is of, and whatever the shard stores with
 * it: configuration, deduplication table...). A flush changes both in one
 * synced transaction, so the state on disk is always that of one LSN.
 *
 * -- files --
 *   <path>/data.mdb, lock.mdb     the state
 *   <path>/incoming/data.mdb      a snapshot being received, see ingest_*
 *
 * -- threads --
 * "loop" functions run on the thread that owns the shard, "helper" functions
 * on its helper. One helper job at a time per engine. Reads on the loop go on
 * while a helper job runs and see the state before or after it. LMDB runs with
 * MDB_NOTLS. engine_grow, engine_close, ingest_adopt and ingest_renew need that
 * no job runs and no kv_begin or snapshot is open.
 */
#ifndef BASTIDE_STORE_ENGINE_H
#define BASTIDE_STORE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/clock.h"
#include "node/base/err.h"
#include "node/store/flush.h"
#include "node/store/kv.h"

#define ENGINE_MAP_BYTES_DEFAULT ((size_t)1 << 30)
/* Largest an environment may become (address space, not memory). */
#define ENGINE_MAP_BYTES_MAX ((size_t)1 << 40)
#define ENGINE_READERS_MAX 32
#define ENGINE_VALUE_MAX ((size_t)4 << 20)
/* A snapshot reader pins old pages; after this long it is refused. */
#define ENGINE_SNAPSHOT_MAX_AGE_US (600 * USEC_PER_SEC)
/* What is received is synced in transactions of about this size, so that little
 * is lost by a crash, and little waits for the disk at a time. */
#define INGEST_BATCH_BYTES ((size_t)1 << 20)
#define ENGINE_CHUNK_BYTES_MAX ((size_t)8 << 20)

struct engine;

struct engine_options {
    const char *path;     /* the shard's directory; made (0700) if missing */
    size_t map_bytes;     /* first map size; 0: default */
    size_t map_bytes_max; /* engine_grow stops here; 0: ENGINE_MAP_BYTES_MAX */
};

/* Loop, at start, after engine_recover. ERR_CORRUPT, ERR_IO, ERR_NO_SPACE,
 * ERR_UNSUPPORTED (newer format), ERR_NO_MEMORY; `msg` names the path. */
int engine_open(const struct engine_options *options, struct err_msg *msg,
                struct engine **engine_out);
void engine_close(struct engine *e);

/* The state's position; 0, 0 for an empty one. Loop. */
uint64_t engine_flushed_lsn(const struct engine *e);
uint64_t engine_flushed_term(const struct engine *e);
/* Reads through kv.h; loop only. */
struct kv engine_kv(struct engine *e);
/* Appends the blob's bytes. ERR_NOT_FOUND, ERR_LIMIT, ERR_IO. Loop. */
int engine_info(struct engine *e, const char *name, struct buf *out);

/* Writes a complete flush in one synced transaction. On any error nothing has
 * changed. Helper. ERR_FULL: the map is too small, call engine_grow and flush
 * again. ERR_NO_SPACE: the disk is full; flush again later. ERR_IO: the
 * device failed; after a failed sync the environment refuses all writes
 * (ERR_IO for good) until the process restarts; reads go on. */
int engine_flush(struct engine *e, const struct flush *f);
/* Loop, in answer to a completed engine_flush: makes engine_flushed_lsn show
 * it. memtable_trim may follow. */
void engine_flush_done(struct engine *e, const struct flush *f);

/* Deletes up to `budget` records that begin with `prefix` in one synced
 * transaction; *more_out says whether some are left. The state's LSN does not
 * change. Helper; errors as engine_flush. */
int engine_drop_prefix(struct engine *e, struct bytes prefix, size_t budget,
                       bool *more_out);

/* Doubles the map (loop; no job, no reader). ERR_AGAIN when a reader is open,
 * ERR_LIMIT at map_bytes_max. */
int engine_grow(struct engine *e);

struct engine_stats {
    uint64_t records;
    uint64_t disk_bytes; /* pages in use */
    uint64_t map_bytes;
    uint32_t readers; /* kv_begin and snapshots open now */
};
int engine_stats(struct engine *e, struct engine_stats *stats_out); /* loop */

/* -- sending a snapshot --
 *
 * One read transaction, handed out in chunks of encoded records. Open on the
 * loop; snapshot_chunk on either thread (one at a time); close on the loop.
 *
 * A chunk: u32 count, then count times
 *   u8 table (1 records, 2 info)  u16 key length  u32 value length  key  value
 */
#define ENGINE_CHUNK_RECORDS 1
#define ENGINE_CHUNK_INFO 2
struct snapshot;

/* ERR_LIMIT when too many readers are open, ERR_IO. */
int snapshot_open(struct engine *e, usec_t now, struct snapshot **snapshot_out);
/* Before the first chunk: nothing is sent but the blob of that name, to a
 * receiver that may have no records. `name` is borrowed until the close.
 * ERR_IO.
 */
int snapshot_only_info(struct snapshot *s, const char *name);
/* About how many bytes of records there are: those of the pages they take. */
uint64_t snapshot_about(const struct snapshot *s);
/* Begins anew, for a receiver that has the records up to the key `upto` (empty:
 * none). These are handed out all the same, to be digested, but in chunks of
 * their own, which need not be sent: snapshot_skipped of the last chunk.
 * ERR_MALFORMED: not a key; ERR_IO. */
int snapshot_rewind(struct snapshot *s, struct bytes upto);
bool snapshot_skipped(const struct snapshot *s);
uint64_t snapshot_lsn(const struct snapshot *s);
uint64_t snapshot_term(const struct snapshot *s);
/* Appends the next chunk: at least one record and, unless a single record is
 * larger, at most `max_bytes`. ERR_EOF when all was sent; ERR_TIMEOUT above
 * the maximum age (close it and begin anew); ERR_LIMIT when `out` is full. */
int snapshot_chunk(struct snapshot *s, usec_t now, size_t max_bytes,
                   struct buf *out);
void snapshot_close(struct snapshot *s);
/* Whether a chunk, from wherever, is whole and has nothing in it but the named
 * blob: no record. */
bool snapshot_chunk_only_info(struct bytes chunk, const char *name);

/* -- receiving one --
 *
 * ingest_begin, ingest_chunk..., ingest_finish write `<path>/incoming/` on the
 * helper while the old state goes on serving. Then, in this order:
 *   1. ingest_finish returned 0: incoming is complete and synced;
 *   2. the log has a synced WAL_RESET(shard, lsn, term);
 *   3. ingest_adopt: the rename, and the engine is reopened on the new state.
 * A crash after 2 finishes it: engine_recover. What was synced before 1 is kept
 * by a crash, and by ingest_leave, for an attempt that goes on with the same
 * state; the next one of another state removes it, and so does a start that
 * finds it older than the state. A store that is renewed (ingest_renew) skips
 * 2: the log goes on from the old state as well as from the new one.
 */
struct ingest;

/* Helper. The state to be received is that of (lsn, term). `resume`: goes on
 * where an earlier attempt with that state ended, if there is one; else, or
 * without it, what is there is removed. Without it nobody goes on with this one
 * either: a start removes it. ERR_NO_SPACE, ERR_IO. */
int ingest_begin(const char *path, uint64_t lsn, uint64_t term, bool resume,
                 struct ingest **ingest_out);
/* The key of the last record that is there from before: the next chunk begins
 * behind it. Empty: none is. */
struct bytes ingest_place(const struct ingest *g);
/* Reads the records that are there, in the order of their keys, until `each`
 * returns an error, which is returned. Helper; before the first chunk. */
int ingest_each(struct ingest *g,
                int (*each)(void *user, struct bytes key, struct bytes value),
                void *user);
/* Before the first chunk: one with records is ERR_MALFORMED, and not stored. */
void ingest_refuse_records(struct ingest *g);
/* One chunk, as it came from the peer: keys of records strictly rising, all
 * chunks in order. ERR_MALFORMED, ERR_LIMIT, ERR_NO_SPACE, ERR_IO; then only
 * ingest_abort may follow. Helper. */
int ingest_chunk(struct ingest *g, struct bytes chunk);
/* Appends a named blob of what has been received so far. ERR_NOT_FOUND,
 * ERR_LIMIT, ERR_IO. Helper. */
int ingest_info(struct ingest *g, const char *name, struct buf *out);
/* Completes and syncs it. Frees `g` in every case; after an error nothing is
 * left. Helper. */
int ingest_finish(struct ingest *g);
/* Ends it; what was synced is kept. NULL is allowed. Any thread. */
void ingest_leave(struct ingest *g);
/* Throws it away. NULL is allowed. Any thread. */
void ingest_abort(struct ingest *g);
/* Removes what an attempt left in the store's folder, complete or not; none is
 * under way. Helper. Errors of unlink(2). */
int ingest_clear(const char *path);
/* What that would free. */
uint64_t ingest_left_bytes(const char *path);
/* Loop. Swaps the engine to the complete incoming state. After an error the
 * process must stop (the log already names the new state; a restart
 * finishes the job). */
int ingest_adopt(struct engine *e, uint64_t lsn, uint64_t term,
                 struct err_msg *msg);
/* Loop. The same for a state in place of a damaged one of the same LSN or an
 * older one from where the log goes on: without step 2. A crash before the
 * rename leaves the old state, and the next start removes the new one; one
 * after it leaves the new one. ingest_adopt's errors. */
int ingest_renew(struct engine *e, uint64_t lsn, uint64_t term,
                 struct err_msg *msg);
/* Whether somebody reads: a kv_begin or a snapshot is open. Loop. */
bool engine_busy(const struct engine *e);

/* Whether the store has the state of (lsn, term): it is at that LSN or beyond,
 * or a complete snapshot of just that waits to be adopted. Before
 * engine_recover. Errors of engine_open. */
int engine_has(const char *path, uint64_t lsn, uint64_t term,
               struct err_msg *msg, bool *has_out);

enum engine_recovered {
    ENGINE_RECOVERED_NOTHING,   /* no incoming directory */
    ENGINE_RECOVERED_DISCARDED, /* an old or unnamed one was removed */
    ENGINE_RECOVERED_KEPT,      /* an incomplete one may be gone on with */
    ENGINE_RECOVERED_ADOPTED,   /* the log named it: it is the state now */
};
/* Before engine_open, after the log was replayed. (reset_lsn, reset_term) is
 * the shard's last WAL_RESET, 0, 0 if there was none. ERR_CORRUPT when the log
 * names a snapshot that is neither adopted nor in incoming. */
int engine_recover(const char *path, uint64_t reset_lsn, uint64_t reset_term,
                   struct err_msg *msg, enum engine_recovered *outcome_out);

/* -- damage on request (engine_fault.c) -------------------------------------
 */

struct engine_flip {
    uint64_t offset; /* in data.mdb */
    unsigned bit;
};
/* Flips one bit in the middle of a record's value, one of at least
 * ENGINE_FLIP_VALUE_MIN bytes among the first ENGINE_FLIP_LOOK records, in the
 * file and thereby in what is read from now on. Loop. ERR_NOT_FOUND: there is
 * no such record; ERR_IO. */
#define ENGINE_FLIP_VALUE_MIN 32
#define ENGINE_FLIP_LOOK 1000
int engine_flip_bit(struct engine *e, struct engine_flip *flip_out);

#endif
