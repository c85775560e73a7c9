/* What is to happen, by time; what was scheduled first comes first within one
 * microsecond. A binary heap. */
#ifndef BASTIDE_SIM_QUEUE_H
#define BASTIDE_SIM_QUEUE_H

#include <stddef.h>
#include <stdint.h>

#include "consensus/raft.h"
#include "node/base/clock.h"

struct sim_blob;

struct sim_event {
    usec_t at_us;
    uint64_t order; /* the queue's own */
    int type;
    raft_id node;
    raft_id from;
    uint64_t number; /* life of the node, or of the fault */
    struct sim_blob *blob;
};

/* Zeroed at first. */
struct sim_queue {
    struct sim_event *heap;
    size_t n, cap;
    uint64_t order;
};

void sim_queue_put(struct sim_queue *q, usec_t at_us, struct sim_event ev);
/* CHECK: there is one. */
struct sim_event sim_queue_take(struct sim_queue *q);
/* Releases the blobs of what is left, too. */
void sim_queue_free(struct sim_queue *q);

#endif
