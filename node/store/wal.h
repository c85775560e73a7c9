/* The write-ahead log of one worker, shared by all its shards.
 *
 * One loop turn makes one batch; one batch is one write and one fdatasync.
 * A batch is durable as a whole or not at all.
 *
 * -- threads --
 * The loop thread fills a `struct wal_batch` and hands it to the helper, which
 * calls wal_append. wal_maintain (makes the next segment ahead of time, deletes
 * old ones) may run on the same or on another thread at the same time as
 * wal_append. Nothing else may run concurrently on one `struct wal`.
 *
 * -- files --
 * `<dir>/<16 hex digits>.seg`, numbered without gaps, each filled with zeros
 * and synced before it is used, so that an append changes no metadata (measured
 * here with 70 KiB batches: 139 us against 282 us when only allocated). The
 * first segment is WAL_SEGMENT_BYTES_FIRST long and each next one twice as
 * long, up to the configured size, so that a small node stays small.
 * Little-endian.
 *
 *   segment header, 4096 bytes:
 *     u32 magic "BSEG"  u32 crc32c(of the rest of the header)
 *     u32 format (1)    u32 0   u64 number   u64 segment bytes
 *     cluster id[64]  node name[64]   zero padding
 *   then batches, each starting at a multiple of 8:
 *     u32 magic "BBAT"  u32 crc32c(of all that follows, records included)
 *     u64 sequence      u32 bytes of records   u32 number of records
 *     records, each:  u8 type  u8 entry type  u16 flags  u32 shard
 *                     u64 lsn (vote in HARD_STATE)  u64 term
 *                     u32 payload length  u32 number  payload
 *                     zero padding to a multiple of 8
 *
 * Batch sequence numbers rise by one through all segments. The first batch in
 * a segment begins with the present hard state, commit hint and last reset of
 * every shard (flag "carried"), so that older segments can be deleted whole.
 *
 * -- what is damage, what is a torn tail --
 * Recovery reads every batch of every segment. Bytes after the last valid batch
 * that are not zero are a torn tail if no valid batch with a higher sequence
 * follows, in this segment or a later one: they are overwritten with zeros and
 * reported (struct wal_report). Anything else that is wrong (a bad batch with a
 * good one behind it, a gap in the sequence, a bad header, a missing segment)
 * is ERR_CORRUPT, with file and offset in the message; nothing is changed. The
 * node then refuses to start; datadir_discard() is the way on.
 *
 * -- when an append fails --
 * After ERR_IO or ERR_NO_SPACE the batch is NOT durable and must not be
 * acknowledged; whether a restart would find it is unknown until the next
 * wal_append succeeds, which makes it void for good: a failed fdatasync is
 * never repeated (the kernel may have dropped the pages and would report
 * success), the segment is abandoned at the offset of the last durable batch
 * and a new one is begun whose first record says so. A node whose append failed
 * must (1) treat everything in the batch as not persisted: no acknowledgement,
 * no vote, no append reply that depends on it; (2) step down where it leads;
 * (3) write the same records again, or truncate them, with the next batch.
 * When the cause is a full disk the batch fits as soon as there is space.
 */
#ifndef BASTIDE_STORE_WAL_H
#define BASTIDE_STORE_WAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/store/entry.h"

#define WAL_SEGMENT_BYTES_DEFAULT ((size_t)64 << 20)
#define WAL_SEGMENT_BYTES_FIRST ((size_t)4 << 20)
#define WAL_SEGMENT_BYTES_MIN ((size_t)64 << 10)
#define WAL_SEGMENT_BYTES_MAX ((size_t)1 << 30)
#define WAL_BATCH_BYTES_MAX                                                    \
    ((size_t)16 << 20)      /* one batch, framing included                     \
                             */
#define WAL_SHARDS_MAX 4096 /* shards of one worker */
#define WAL_NAME_MAX 63     /* cluster id, node name */

/* -- records -- */

enum wal_record_type {
    WAL_ENTRY = 1,      /* lsn, term, entry_type, payload */
    WAL_HARD_STATE = 2, /* term, vote */
    WAL_TRUNCATE = 3,   /* lsn: entries >= lsn are gone */
    WAL_RESET = 4,      /* lsn, term: a snapshot replaced all before */
    WAL_COMMIT = 5,     /* lsn: known committed (a hint) */
    WAL_SALVAGE = 7,    /* lsn, term, entry_type, payload of an entry that a
                         * following TRUNCATE or RESET drops; number,
                         * acknowledged (node/shard/salvage.h) */
    WAL_SALVAGED = 8,   /* number: SALVAGE records up to it are not needed */
};

struct wal_record {
    enum wal_record_type type;
    uint32_t shard;
    uint64_t lsn;
    uint64_t term;
    uint64_t vote;        /* WAL_HARD_STATE */
    uint8_t entry_type;   /* WAL_ENTRY, WAL_SALVAGE */
    struct bytes payload; /* the same; borrowed for the call */
    uint32_t number;      /* WAL_SALVAGE, WAL_SALVAGED; from 1 */
    bool acknowledged;    /* WAL_SALVAGE */
};

/* -- a batch, filled on the loop thread -------------------------------------
 */

struct wal_batch;

/* `max_bytes` (at most WAL_BATCH_BYTES_MAX) bounds it. */
struct wal_batch *wal_batch_new(size_t max_bytes);
void wal_batch_free(struct wal_batch *b);
/* Empties it for the next turn, keeping its memory. */
void wal_batch_clear(struct wal_batch *b);
bool wal_batch_empty(const struct wal_batch *b);
size_t wal_batch_bytes(const struct wal_batch *b);

/* Each copies its arguments. ERR_LIMIT when the batch is full (append what
 * there is first), ERR_NO_MEMORY; the batch is unchanged then. A batch holds
 * any number of records in the order of the calls. Entries of a shard follow
 * each other without gaps (except after TRUNCATE and RESET). */
int wal_batch_entry(struct wal_batch *b, uint32_t shard, const struct entry *e);
int wal_batch_hard_state(struct wal_batch *b, uint32_t shard, uint64_t term,
                         uint64_t vote);
int wal_batch_truncate(struct wal_batch *b, uint32_t shard, uint64_t from_lsn);
int wal_batch_reset(struct wal_batch *b, uint32_t shard, uint64_t lsn,
                    uint64_t term);
int wal_batch_commit(struct wal_batch *b, uint32_t shard, uint64_t lsn);
int wal_batch_salvage(struct wal_batch *b, uint32_t shard, uint32_t number,
                      bool acknowledged, const struct entry *e);
int wal_batch_salvaged(struct wal_batch *b, uint32_t shard, uint32_t number);

/* -- the log -- */

struct wal;

struct wal_options {
    const char *dir;        /* exists, mode 0700 (datadir.h makes it) */
    const char *cluster_id; /* 1..WAL_NAME_MAX characters */
    const char *node;       /* 1..WAL_NAME_MAX characters */
    size_t segment_bytes;   /* largest new segment; 0: the default */
};

/* What recovery found. */
struct wal_report {
    uint64_t segments, batches, records, bytes;
    bool tail_cut;        /* a torn tail was cut; warn with the next three */
    char tail_file[32];   /* file name within the directory */
    uint64_t tail_offset; /* where the first cut byte was */
    uint64_t tail_bytes;  /* how many bytes from there to the last non-zero */
};

/* Called once per record, in order, after the whole log was verified. Anything
 * but 0 stops recovery and becomes the result of wal_open.
 *
 * What a shard sees: older segments may be gone, so its first record may be a
 * WAL_RESET, WAL_HARD_STATE or WAL_COMMIT carried over, and its first WAL_ENTRY
 * may have any LSN up to what the engine holds plus one. From there entries
 * follow without gaps. A WAL_RESET makes void every entry before it, whatever
 * its LSN, and the next entry has the reset's LSN plus one. */
typedef int (*wal_replay_fn)(void *ctx, const struct wal_record *record);

/* Opens or creates the log, verifies all of it, then replays it. Blocks. Call
 * before the loop starts. ERR_CORRUPT, ERR_IDENTITY (another cluster or
 * node), ERR_UNSUPPORTED (newer format), ERR_NO_SPACE, ERR_IO, ERR_NO_MEMORY,
 * or what `replay` returned; `msg` says where. */
int wal_open(const struct wal_options *options, wal_replay_fn replay, void *ctx,
             struct wal_report *report_out, struct err_msg *msg,
             struct wal **wal_out);
/* Closes the files. Never writes: every successful append is already durable.
 */
void wal_close(struct wal *w);

/* Writes and syncs one non-empty batch. ERR_IO, ERR_NO_SPACE, both with the log
 * still usable (see above). When a new segment is due and could not be made,
 * the same errors, and nothing was written. */
int wal_append(struct wal *w, const struct wal_batch *b);

/* Whether wal_maintain should run now: the segment in use is half full and
 * there is no next one. Ask after every append: an append that finds no next
 * segment makes one itself, unfilled, and the appends to that one are slower.
 * Cheap; any thread. */
bool wal_wants_maintenance(struct wal *w);

/* The next append begins a new segment, so that the present one can be deleted
 * once nothing in it is needed. Any thread. */
void wal_roll(struct wal *w);
/* Whether a segment that is still there has entries or SALVAGE records of the
 * shard. Any thread. */
bool wal_holds(struct wal *w, uint32_t shard);

/* Numbers of the oldest segment that is still there and of the one in use; they
 * rise. Any thread. */
void wal_span(struct wal *w, uint64_t *oldest_out, uint64_t *newest_out);

/* "Of this shard, entries with lsn < keep_from are not needed in the log": they
 * are in the engine (flushed) and no follower will be sent them from here.
 * UINT64_MAX once the shard is gone. Of the SALVAGE records those with a number
 * < salvage_from are not needed; a segment that holds others is kept. */
struct wal_keep {
    uint32_t shard;
    uint64_t keep_from;
    uint32_t salvage_from;
};

/* Housekeeping, to be called on a helper after each flush and, cheaply,
 * whenever wal_wants_maintenance: makes the next segment if one is due, deletes
 * the segments that no shard needs (a shard not named in `keep` needs all its
 * entries). ERR_NO_SPACE, ERR_IO; the log stays usable. */
int wal_maintain(struct wal *w, const struct wal_keep *keep, size_t count);

struct wal_stats {
    uint64_t appends, bytes;      /* since open, durable ones */
    uint64_t segments;            /* that hold records */
    uint64_t disk_bytes;          /* of all segment files */
    uint64_t failed_appends;      /* since open */
    bool failed;                  /* the last append failed */
    bool oldest_pinned;           /* the oldest segment waits for a shard... */
    uint32_t oldest_pinned_shard; /* ...this one: flush it when disk_bytes */
    uint64_t oldest_pinned_lsn;   /* grows; up to here frees the segment */
};
/* As of the last wal_maintain for the oldest_* fields. Any thread. */
void wal_stats(struct wal *w, struct wal_stats *stats_out);

/* -- what lies in a folder of segments (wal_inspect.c) ------------------------
 *
 * Everything that can still be read there, void or not: batches of whichever
 * log, that were superseded, truncated or abandoned, too. */

/* Of one shard: its entries, salvaged ones too. */
struct wal_found {
    uint32_t shard;
    uint64_t entries;
    uint64_t last_lsn; /* the highest of them */
    uint64_t payloads; /* of the type asked for, and not empty */
};
/* Calls `each` for every shard that has entries in the segments in `dir`, in
 * rising order. The log may be in use, also while this reads: what is being
 * appended just now, or deleted, may be missing. Changes nothing. Blocks.
 * ERR_IO, ERR_NO_MEMORY; ERR_NOT_FOUND: there is no such folder. */
int wal_inspect(const char *dir, uint8_t entry_type,
                void (*each)(void *user, const struct wal_found *found),
                void *user);

/* -- damage on request (wal_fault.c) ----------------------------------------
 *
 * A loss of power, from any thread, for a process that is about to die: */

/* From now on no append returns. One that has written and not synced waits
 * there, to be torn. */
void wal_power_fails(struct wal *w);
/* Whether an append waits like that. */
bool wal_caught(struct wal *w);
/* Of what an append has written and not synced, drops (zeroes), garbles or
 * keeps each page by chance, and returns how many bytes that was; 0: nothing
 * was unsynced. After wal_power_fails. An append either had synced before, and
 * may return, or never returns. ERR_IO. */
struct prng;
int wal_tear(struct wal *w, struct prng *prng, uint64_t *bytes_out);

/* Flips one bit, durably enough: in the newest segment that has a later one,
 * else in the one in use, in the middle one of its synced batches but never in
 * the last, which would be taken for a torn one. Any thread. ERR_NOT_FOUND when
 * there are fewer than two. */
struct wal_flip {
    char file[32]; /* name within the directory */
    uint64_t offset;
    unsigned bit;
};
int wal_flip_bit(struct wal *w, struct wal_flip *flip_out);

#endif
