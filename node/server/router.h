/* Brings operations to where their shard can serve them, and hides what happens
 * on the way: the other worker, the other node, the leader that just died.
 *
 *   home worker --inbox--> the shard's worker -> shard_submit
 *                                 | not the leader
 *                                 v
 *                          worker 0 --link--> leader's node -> its shard
 *
 * An operation that finds no leader, or whose answer was lost, is tried again
 * until its time is over; its id makes sure that it takes effect once (op.h).
 * Only then the caller hears: UNAVAILABLE when nothing can have been written,
 * TIMEOUT when a write may have been. Where the shard cannot know any more
 * whether an earlier attempt did it (dedupe.h), that is TIMEOUT, too, at once.
 *
 * Reads of the weaker levels are answered by this node's own replica as long as
 * it serves. They go to the leader when it does not (it is being replaced),
 * when it cannot prove a bounded read fresh, or when it has not got a session's
 * state in time; and ERR_BEHIND reaches the caller when the leader has not
 * either.
 *
 * While the leadership is handed over, writes wait here; they are tried again
 * as soon as a leader is known. Until then, and where a peer refuses, after a
 * pause that doubles up to ROUTER_RETRY_MAX_US, so that what waits does not
 * keep the nodes busy that it waits for.
 *
 * Requests that come from peers are served here or answered ERR_NOT_LEADER;
 * they are never passed on a second time, so no request can go in circles.
 */
#ifndef BASTIDE_SERVER_ROUTER_H
#define BASTIDE_SERVER_ROUTER_H

#include <ev.h>

#include "node/base/list.h"
#include "node/shard/backend.h"
#include "replication/links.h"

struct worker;

/* The pause before an operation is tried again. */
#define ROUTER_RETRY_US (10 * USEC_PER_MS)
#define ROUTER_RETRY_MAX_US (80 * USEC_PER_MS)
/* Operations of peers under way on this node; beyond it THROTTLED. */
#define ROUTER_FOREIGN_MAX 8192
/* With that much unsent to who asks, scans are not begun for it. */
#define ROUTER_UNSENT_MAX (LINKS_ANSWER_QUEUE_MAX / 2)
/* Kind of links_request that carries an operation. */
#define ROUTER_REQUEST_OP 1

struct router {
    struct backend backend; /* first: the API's view of it */
    struct worker *worker;
    struct list waiting; /* tasks to be tried again, on their shard's worker */
    struct ev_timer retry;
    uint32_t foreign; /* worker 0 */
    uint64_t forwarded, retried;
    /* Reads of clients in this worker's shards: those that this node's replica
     * answered, and attempts that went to the leader instead. Others may load
     * them (atomically). */
    uint64_t reads_local, reads_forwarded;
};

void router_init(struct router *r, struct worker *w);
/* Tries again, next turn, what waits: a leader appeared. */
void router_wake_soon(struct router *r);

/* Worker 0, from the links' callbacks. */
void router_on_request(struct worker *w, struct links_call call,
                       uint32_t deadline_ms, struct bytes body);
void router_on_response(struct worker *w, uint64_t id, int err,
                        struct bytes body);
void router_on_request_failed(struct worker *w, uint64_t id, int err);

#endif
