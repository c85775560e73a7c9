/* Inside of a shard; for the files of this folder only. */
#ifndef BASTIDE_SHARD_SHARD_IMPL_H
#define BASTIDE_SHARD_SHARD_IMPL_H

#include "node/json/json.h"
#include "node/shard/dedupe.h"
#include "node/shard/entries.h"
#include "node/shard/shard.h"
#include "node/store/memtable.h"

#define SHARD_MAGIC MAGIC('s', 'h', 'r', 'd')
/* Messages that wait for a sync; beyond it the oldest is dropped, which Raft
 * allows. */
#define SHARD_HELD_MAX 4096
/* How often requests are checked against their deadlines. */
#define SHARD_EXPIRY_US (50 * USEC_PER_MS)
/* Keys looked at in one turn for a flush, and for a long scan. */
#define SHARD_COLLECT_BUDGET 4000

struct held_message {
    struct list node;
    uint64_t after; /* goes when this update is durable */
    struct raft_msg msg;
};

struct shard {
    uint32_t magic;
    uint16_t id;
    void *user;
    const struct shard_env *env;
    struct raft *raft;
    struct sealer *sealer;
    struct kv kv;

    /* Log and records. `commit_seen`: on_committed was called up to here. */
    struct entries entries;
    struct memtable *memtable;
    struct dedupe dedupe;
    uint64_t commit_seen;
    uint64_t committed_bytes; /* of all entries up to commit_seen, ever */
    uint64_t appended_bytes;  /* of all entries up to the last, ever */

    /* Writes of this turn: evaluated, in the memtable, not yet proposed. Entry
     * i has LSN raft_last_lsn + 1 + i. */
    struct entry **queue;
    uint32_t queue_len, queue_cap;
    struct list queued; /* their requests */
    bool proposing;

    struct list writes;      /* logged, not yet acknowledged; by LSN */
    struct list reads_new;   /* of this turn, need a read-index round */
    struct list reads_asked; /* in a round */
    struct list reads_lsn;   /* know their LSN, not applied yet */
    struct list scans;       /* long scans under way */
    uint32_t waiting;        /* requests in all lists */
    uint64_t read_round;

    /* Durability. */
    uint64_t written; /* last update that wrote */
    uint64_t durable; /* all updates up to here are durable */
    struct list held;
    uint32_t held_count;

    uint32_t key_id;
    bool has_key;
    bool no_space;
    bool installing;

    struct flush *flush; /* being collected */
    bool flushing;       /* begun and not ended */
    usec_t raft_deadline;
    usec_t expiry_at;
    struct raft_entry *heads; /* scratch for one append message */
    struct entry **refs;
    struct json json; /* scratch for scans */
};

/* Ends a request: takes it out of its list, counts, calls done. */
void shard_finish(struct shard *s, struct shard_request *req);
void shard_fail(struct shard *s, struct shard_request *req, int err);

/* A long or short scan (scan.c). Answers at once, or puts the request into
 * s->scans. */
void shard_scan_start(struct shard *s, struct shard_request *req);
/* One slice of the oldest long scan; true when some are left. */
bool shard_scan_slice(struct shard *s);
void shard_scan_free(struct shard_request *req);

#endif
