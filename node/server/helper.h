/* A worker's helper threads: run the calls that block (log append and sync,
 * flushes, snapshots), so that the loop never does.
 *
 * A thread per lane, so that a long flush holds up neither the log nor the
 * making of its next segment: jobs of one lane run one after the other, in
 * order; the lanes run side by side.
 */
#ifndef BASTIDE_SERVER_HELPER_H
#define BASTIDE_SERVER_HELPER_H

#include <pthread.h>
#include <stdbool.h>

#include "node/base/list.h"
#include "node/server/inbox.h"

enum helper_lane {
    HELPER_LOG,    /* log appends and syncs: latency matters */
    HELPER_STORE,  /* flushes, snapshots, range deletions */
    HELPER_UPKEEP, /* the log's next segment, deletion of old ones */
    HELPER_LANES
};

/* Embedded first in every job. `message.deliver` is called on the worker's
 * loop when `run` has returned. */
struct helper_job {
    struct inbox_message message;
    struct list node;
    void (*run)(struct helper_job *job); /* on the helper thread */
};

struct helper_thread {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct list jobs; /* under lock */
    bool stop;        /* under lock */
    struct inbox *results;
};

struct helper {
    struct helper_thread lanes[HELPER_LANES];
};

void helper_start(struct helper *h, struct inbox *results);
/* Queues a job. The number of jobs is bounded by those who submit: one append
 * in flight per log, one flush per shard. */
void helper_submit(struct helper *h, enum helper_lane lane,
                   struct helper_job *job);
/* Runs what is queued, then joins the threads. Results of the last jobs are in
 * the inbox afterwards. */
void helper_stop(struct helper *h);

#endif
