/* Inside the write-ahead log; not for its users (wal.h). */
#ifndef BASTIDE_STORE_WAL_IMPL_H
#define BASTIDE_STORE_WAL_IMPL_H

#include <pthread.h>
#include <stdatomic.h>
#include <uthash.h>

#include "node/base/buf.h"
#include "node/base/list.h"
#include "node/store/wal.h"

#define WAL_FORMAT 1
#define WAL_SEGMENT_MAGIC 0x47455342u /* "BSEG" */
#define WAL_BATCH_MAGIC 0x54414242u   /* "BBAT" */
#define WAL_SEGMENT_HEADER 4096
#define WAL_BATCH_HEADER 24
#define WAL_RECORD_HEADER 32
#define WAL_ALIGN 8
#define WAL_NAME_FIELD (WAL_NAME_MAX + 1)
#define WAL_FILE_NAME_LEN 20 /* 16 hex digits and ".seg" */

/* Record flag: a copy of present state at the head of a segment. */
#define WAL_FLAG_CARRIED 1
/* Record flag of a SALVAGE: the entry is known to have been acknowledged. */
#define WAL_FLAG_ACKNOWLEDGED 2
/* Internal record type. lsn: number of the segment before this one, term: the
 * offset from which it holds nothing valid, because an append to it failed. */
#define WAL_ABANDON 6
#define WAL_TYPE_LAST WAL_SALVAGED

/* -- shard state and what a batch does to it -- */

/* The last hard state, commit hint and reset of a shard. */
struct wal_shard {
    uint32_t id;
    bool has_hard_state, has_commit, has_reset;
    uint64_t term, vote;
    uint64_t commit;
    uint64_t reset_lsn, reset_term;
    UT_hash_handle hh;
};

/* What a batch says about one shard, in sum. */
struct wal_touch {
    struct wal_shard state; /* only the fields it sets; hh unused */
    uint64_t max_lsn;       /* highest entry that remains; 0: none */
    uint64_t truncate_from; /* lowest; UINT64_MAX: none */
    uint32_t max_salvage;   /* highest SALVAGE record; 0: none */
};

struct wal_batch {
    uint32_t magic;
    struct buf buf; /* records */
    uint32_t count;
    struct wal_touch *touches;
    size_t touch_count, touch_cap;
};
#define WAL_BATCH_OBJ_MAGIC 0x77626174u

/* Appends one encoded record to `out`. ERR_LIMIT, ERR_NO_MEMORY. */
int wal_put_record(struct buf *out, const struct wal_record *record,
                   uint16_t flags);
/* Takes one record into the sum of what a batch does. */
void wal_touch_record(struct wal_touch *touch, const struct wal_record *r);

/* -- segments -- */

/* The highest entry and SALVAGE record of a shard that a segment holds. */
struct wal_high {
    uint32_t shard;
    uint64_t lsn;
    uint32_t salvage;
};

struct wal_segment {
    struct list node;
    uint64_t number;
    uint64_t bytes; /* file size */
    struct wal_high *highs;
    size_t high_count, high_cap;
};

struct wal_segment *wal_segment_new(uint64_t number, uint64_t bytes);
void wal_segment_free(struct wal_segment *s);
/* Applies a durable batch's touch: to the segment that holds the batch, and to
 * an older one. */
void wal_segment_touch(struct wal_segment *s, const struct wal_touch *touch);
void wal_segment_touch_older(struct wal_segment *s,
                             const struct wal_touch *touch);

struct wal {
    uint32_t magic;
    char *dir;
    char cluster_id[WAL_NAME_FIELD];
    char node[WAL_NAME_FIELD];
    size_t segment_bytes;

    /* Owned by the thread that appends. */
    int fd;            /* of the segment in use */
    uint64_t offset;   /* end of the last durable batch in it */
    uint64_t sequence; /* of the last durable batch */
    bool failed;       /* what lies at `offset` is unknown */
    bool roll;         /* the next batch begins a segment; under lock */
    /* The segment (0: none) to be declared void from this offset on, because an
     * append to it failed. Until a batch that says so is durable. */
    uint64_t abandoned, abandoned_from;
    struct wal_shard *shards;
    struct buf carry;

    /* Guarded by `lock`: appending and maintenance may be two threads. */
    pthread_mutex_t lock;
    struct list segments;     /* oldest first, the last one is in use */
    struct wal_segment *next; /* made ahead of time; NULL: none */
    bool making;              /* wal_maintain is preparing a file */
    uint64_t prepared;        /* bytes of a file that waits to be named; 0 */
    struct wal_stats stats;

    atomic_bool wants_next; /* half full and no next segment */

    /* What wal_fault.c needs of an append: how many bytes at `offset` it has
     * written, or begun to, and not synced. */
    _Atomic enum wal_flight { WAL_LANDED, WAL_FLYING, WAL_LOST } flight;
    uint64_t flying; /* bytes; set before WAL_FLYING */
    atomic_bool power_fails, caught;
};
#define WAL_MAGIC 0x77616c6fu

void wal_file_name(uint64_t number, char out[WAL_FILE_NAME_LEN + 1]);
char *wal_path(const struct wal *w, const char *name); /* caller frees */
/* The planned size of a segment that must hold `need` bytes after its header.
 */
uint64_t wal_segment_size(const struct wal *w, uint64_t number, uint64_t need);
/* Names of segments while they are made: by maintenance, and by an append that
 * found none. */
#define WAL_TEMPORARY_AHEAD "ahead.tmp"
#define WAL_TEMPORARY_NOW "now.tmp"
/* Makes the file of a segment, not yet numbered. With zeros it takes long to
 * make and is fast to append to; without, the other way round: for when an
 * append waits for it. */
int wal_segment_prepare(const struct wal *w, const char *temporary,
                        uint64_t bytes, bool zeros);
/* Gives a prepared file its header, syncs it and names it; replaces one of the
 * same number. */
int wal_segment_name(const struct wal *w, const char *temporary,
                     uint64_t number, uint64_t bytes);
/* Both. */
int wal_segment_make(const struct wal *w, const char *temporary,
                     uint64_t number, uint64_t bytes, bool zeros);
/* Opens it for appending. */
int wal_segment_open(const struct wal *w, uint64_t number, int *fd_out);

/* Merges a durable batch's touches into the shards, without the lock. */
void wal_merge_shard(struct wal *w, const struct wal_shard *state);

/* wal_fault.c: around the write and the sync of an append. They do not return
 * once the power is gone. */
void wal_take_off(struct wal *w, uint64_t bytes);
void wal_before_sync(struct wal *w);
void wal_land(struct wal *w);

/* wal_recover.c: the parts of a segment, wherever they are read. */
struct wal_batch_view {
    uint64_t sequence;
    uint32_t count;
    struct bytes records;
    uint64_t bytes; /* header and records */
};
/* Whether a batch with the right checksum begins at `offset`. */
bool wal_batch_at(struct bytes segment, uint64_t offset,
                  struct wal_batch_view *view_out);
/* One record from a batch; the cursor fails where there is none. */
void wal_read_record(struct cursor *c, struct wal_record *record_out,
                     uint16_t *flags_out);

/* wal_recover.c: verifies, cuts and replays; leaves the list of segments, the
 * shards, `sequence` and `offset` as they stand, opens nothing for appending.
 */
int wal_recover(struct wal *w, wal_replay_fn replay, void *ctx,
                struct wal_report *report, struct err_msg *msg);

#endif
