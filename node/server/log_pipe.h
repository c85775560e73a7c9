/* The way of a worker's log records to the disk: collected in a batch during a
 * loop turn, appended and synced by the helper thread, one batch at a time.
 *
 * While a batch is being synced the next one fills; under load batches grow by
 * themselves. An append that fails is repeated until it succeeds (see wal.h on
 * failed syncs); meanwhile writes are refused and nothing that was in the batch
 * counts as durable.
 */
#ifndef BASTIDE_SERVER_LOG_PIPE_H
#define BASTIDE_SERVER_LOG_PIPE_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "node/base/clock.h"
#include "node/base/list.h"
#include "node/base/meter.h"
#include "node/server/helper.h"
#include "node/store/wal.h"

struct worker;
struct replica;
struct shard;

/* Batches that wait; far above what Raft's windows let come in. */
#define LOG_PIPE_BATCHES_MAX 64
#define LOG_PIPE_RETRY_MS 200
/* How long writes are held back for the sake of fewer, larger batches. A sync
 * takes a fraction of that; a disk that is slower than that must not keep
 * followers, whose disks may be faster, from having the entries. */
#define LOG_PIPE_GATHER_US (2 * USEC_PER_MS)

struct log_batch {
    struct helper_job job;
    struct list node;
    struct worker *worker;
    struct wal_batch *records;
    struct log_written {
        uint16_t shard;
        uint64_t update; /* complete up to this one */
    } * written;
    uint32_t written_count;
    int err;        /* of the append */
    usec_t took_us; /* likewise */
};

struct log_pipe {
    struct worker *worker;
    struct wal *wal;
    struct list waiting;       /* closed batches, oldest first */
    struct log_batch *filling; /* never NULL */
    struct log_batch *syncing; /* with the helper, or waiting to be repeated */
    struct list spare;         /* for the next turns */
    uint32_t batch_count;
    struct ev_timer retry;
    uint64_t closed, durable; /* batches, ever */
    usec_t syncing_since_us;
    usec_t busy_since_us; /* the same, 0 when nothing is unfinished; read by
                           * other threads */
    bool failing;
    struct meter syncs; /* appends that succeeded, for metrics */
};

void log_pipe_init(struct log_pipe *p, struct worker *w, struct wal *wal);

/* For struct shard_env. */
void log_pipe_entry(struct log_pipe *p, uint16_t shard, const struct entry *e);
void log_pipe_hard_state(struct log_pipe *p, uint16_t shard, uint64_t term,
                         uint64_t vote);
void log_pipe_truncate(struct log_pipe *p, uint16_t shard, uint64_t from);
void log_pipe_reset(struct log_pipe *p, uint16_t shard, uint64_t lsn,
                    uint64_t term);
void log_pipe_salvage(struct log_pipe *p, uint16_t shard, uint32_t number,
                      bool acknowledged, const struct entry *e);
void log_pipe_salvaged(struct log_pipe *p, uint16_t shard, uint32_t number);

/* The shard was opened anew: batches that were closed before, and are under
 * way, say nothing to it. */
void log_pipe_forget(struct log_pipe *p, uint16_t shard);

/* Names what was given so far; log_pipe_durable says whether that is on disk.
 */
uint64_t log_pipe_mark(const struct log_pipe *p);
bool log_pipe_durable(const struct log_pipe *p, uint64_t mark);

/* End of a turn: hands over what there is, if nothing is under way. */
void log_pipe_kick(struct log_pipe *p);
/* Whether writes had better gather for the next batch: one is being synced, and
 * not for longer than LOG_PIPE_GATHER_US. `until_out` (set when true): when to
 * ask again at the latest. */
bool log_pipe_gathers(const struct log_pipe *p, usec_t now, usec_t *until_out);
/* The longest of all workers' of a node. From any thread. */
struct node;
usec_t log_pipe_node_stalled_us(const struct node *n, usec_t now);

#endif
