/* What a leader knows of one follower's log, and how it sends to it.
 *
 *            accepted up to next-1
 *   PROBE ---------------------------> REPLICATE
 *     ^  <---------------------------     |
 *     |   rejected, link lost or back     |
 *     |                                   | the entry at `next` is gone
 *     |   the follower has the base       v
 *     +------------------------------- SNAPSHOT
 *
 * Invariants: match < next; in REPLICATE next may run ahead of match by what is
 * in flight; in PROBE at most one append is unanswered.
 *
 * What may be in flight begins small and grows by what is answered (TCP's slow
 * start, RFC 5681 section 3.1): what a follower lacks leaves in as many steps
 * as it takes answers, not in one that keeps the sender from everything else.
 *
 * Internal to consensus/.
 */
#ifndef BASTIDE_CONSENSUS_PROGRESS_H
#define BASTIDE_CONSENSUS_PROGRESS_H

#include "consensus/raft.h"
#include "node/base/bucket.h"

struct inflight {
    uint64_t last_lsn;
    uint32_t bytes;
};

struct progress {
    raft_id id;
    enum raft_peer_state state;
    uint64_t match; /* durable there and equal to ours */
    uint64_t next;  /* first entry to send */
    bool reachable;
    /* PROBE: an append is unanswered; and the last one went unanswered, so the
     * next carries no payload. */
    bool probing;
    bool probe_lost;
    /* SNAPSHOT: a stream was asked for; when to ask again once it ended. */
    bool streaming;
    usec_t retry_us;
    /* When the newest append it answered was sent; -1 before the first. */
    int64_t answered_us;
    uint64_t told; /* max(commit_lsn, ack_lsn) in the newest append */
    /* From its newest reply of its newest life. */
    usec_t heard_us;
    uint64_t life;
    int64_t own_us;
    uint64_t seen;
    int64_t match_stamp; /* the leader's stamp when `match` last rose */
    bool forgot;         /* denies what it had acknowledged */
    usec_t asked_us;     /* when it last asked as an amnesiac; 0: never */
    /* REPLICATE: unanswered appends, oldest first, a ring. */
    struct inflight *ring;
    uint32_t ring_cap;
    uint32_t ring_head;
    uint32_t ring_n;
    uint64_t ring_bytes;
    uint64_t window_bytes; /* what may be in flight; grows */
    /* REPLICATE: it has not been sent everything since the logs agreed. */
    bool catching_up;
    /* A learner's catching up: what may leave, beyond what was appended since:
     * of `appended`, the leader's count, it has been sent that much. */
    struct bucket pace;
    uint64_t appended_sent;
};

void progress_init(struct progress *p, raft_id id, uint64_t next,
                   uint32_t window);
void progress_free(struct progress *p);

/* Starts over from what is certain. */
void progress_probe(struct progress *p, uint64_t next);
/* The logs agree up to `match`; `window_bytes` may be in flight at first. */
void progress_replicate(struct progress *p, uint64_t window_bytes);
void progress_snapshot(struct progress *p);

/* Whether another append may be sent now; the window grows to `window_max` at
 * most. */
bool progress_may_send(const struct progress *p, uint64_t window_max);
/* Notes an append of the entries next .. next+n-1. */
void progress_sent(struct progress *p, uint32_t n, uint32_t bytes);
/* The follower has everything up to `lsn`. True if that is news. */
bool progress_matched(struct progress *p, uint64_t lsn);

#endif
