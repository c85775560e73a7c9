/* Snapshots between nodes: a follower whose next entries are gone from the
 * leader's memory receives a flushed state instead, the leader's or that of a
 * follower that is nearer.
 *
 * ## The stream
 *
 * First an empty frame that says which state comes, (LSN, term): the receiver
 * answers how much of that very state it has. Then what it lacks, in chunks
 * read by the helper thread, as the link's window and the budget allow. The
 * last frame has the digest of all records (digest.h), those that were skipped
 * included, and the receiver compares it with that of what it has before it
 * lets the log know of the state.
 *
 *   transfers_send.c  sender: on the shard's worker; reads, frames, acks
 *   transfers_take.c  receiver: chunks go to `incoming/` by the helper thread,
 *                     each acknowledged when stored; then the log learns of
 *                     the state, then it is adopted (engine.h)
 *   transfers_near.c  at the leader: who else sends it; and there: the answer
 *   transfers_pace.c  worker 0, which the links belong to: the budget
 *   transfers_show.c  status and metrics
 *
 * One transfer per shard, direction and receiver: one that a new leadership
 * begins takes the place of the older one at the next tick.
 *
 * ## What is bounded
 *
 * What a node sends of snapshots, to all together: limits.snapshot_rate, and
 * TRANSFERS_AT_ONCE of them at a time, so that each has its share of that and
 * comes to its end; others wait before they open their state, or are sent by
 * the leader if the node that it asked has no room. The meta shard's, and a
 * witness's, which are small, are not counted. The learners that then lack
 * entries share the TRANSFERS_AT_ONCEth part of that rate, besides what is
 * appended meanwhile (raft.h, learner_bytes_per_s). A
 * transfer keeps one read transaction of the sender's store open. LMDB cannot
 * reuse the pages that flushes replace meanwhile, so the file grows by what
 * they write: the shard's write rate, times the pages that a record's flush
 * touches, for at most ENGINE_SNAPSHOT_MAX_AGE_US; these pages are reused after
 * that. Entries from the LSN of the state on stay in the leader's memory, up to
 * SHARD_RETAIN_LAGGING_BYTES (shard.h), so that the follower can go on from it.
 *
 * ## What survives
 *
 * A link that is lost, and a receiver that is started again, for
 * TRANSFER_RESUME_US: the sender keeps the state open so long, and goes on with
 * what the receiver has not. The state is named by (LSN, term), and all
 * replicas have the same records there, so another sender may go on, too, if it
 * has flushed up to the same LSN. Otherwise the receiver begins anew.
 */
#ifndef BASTIDE_SERVER_TRANSFERS_H
#define BASTIDE_SERVER_TRANSFERS_H

#include <ev.h>

#include "consensus/raft.h"
#include "failover/fence.h"
#include "node/base/bucket.h"
#include "node/base/list.h"
#include "replication/links.h"

struct node;
struct replica;
struct worker;

/* Bytes of records in one chunk. */
#define TRANSFER_CHUNK_BYTES (192 * 1024)
/* Sent at a time by a node: while one waits for its receiver another uses the
 * budget. */
#define TRANSFERS_AT_ONCE 2
/* A transfer that makes no progress for this long is given up. */
#define TRANSFER_STALL_US (30 * USEC_PER_SEC)
/* Likewise one whose receiver is out of reach. */
#define TRANSFER_RESUME_US (60 * USEC_PER_SEC)
/* A single large record may exceed TRANSFER_CHUNK_BYTES; it is cut into frames
 * of at most SNAPSHOT_CHUNK_MAX and put together again. */

/* Since the node's start, of one worker's shards. */
struct transfer_counts {
    uint64_t sent_bytes, received_bytes; /* of the streams */
    uint64_t sent, received;             /* that came to their end */
    uint64_t failed;  /* given up or refused, at either end */
    uint64_t resumed; /* went on behind what the receiver had */
    uint64_t near;    /* that another node sent at this leader's word */
};

/* Worker 0 alone: frames that wait for their turn. */
struct transfer_pace {
    struct bucket bucket;
    struct list waiting;
    struct ev_timer timer;
};

struct transfers {
    struct worker *worker;
    struct list outgoing;
    struct list incoming;
    uint64_t next_id;
    struct transfer_counts counts;
    struct transfer_pace pace;
    uint32_t learners_behind; /* at this worker's last tick */
    struct list errands;      /* worker 0: asked of other nodes */
};

void transfers_init(struct transfers *t, struct worker *w);
/* At the leader, on the shard's worker: raft asked for it. */
void transfers_start(struct transfers *t, struct replica *r, raft_id to);
/* At the leader, whose store was found to be right: sends it to a member that
 * waits for it in place of its own, which is damaged (renewal.h). The state
 * that is sent is at or after what is committed here now. Its flushed LSN is at
 * most that, but where this node leads since a moment ago and has committed
 * nothing of its own: then it may refuse (renewal.h, ERR_STALE). */
void transfers_renew(struct transfers *t, struct replica *r, raft_id to);
/* What the data of a frame carries: headers, if all of it is whole chunks
 * without a record, as they go to a witness; an empty frame too. */
enum fence_carries transfers_carries(struct bytes data);
/* Gives up those of a replica that is being closed. True when none is left;
 * false: a helper is still at work, ask again. */
bool transfers_cancel(struct transfers *t, const struct replica *r);
/* Every second or so: gives up what stalls, continues what was refused. */
void transfers_tick(struct transfers *t, usec_t now);
/* A log reset became durable? Adopts what waited for it. After each turn. */
void transfers_turn(struct transfers *t, usec_t now);

/* Worker 0: another budget from now on, in bytes per second. */
void transfers_set_rate(struct worker *w, uint64_t rate);

/* Worker 0, from the links. */
void transfers_on_chunk(struct worker *w, links_peer from,
                        const struct snapshot_chunk *chunk);
void transfers_on_ack(struct worker *w, links_peer from,
                      const struct snapshot_ack *ack);
void transfers_on_peer_down(struct worker *w, links_peer peer);

/* Kind of links_request that asks a node to send a snapshot to another. */
#define TRANSFERS_REQUEST_SEND 4
/* The shard that such a request is about. */
uint64_t transfers_request_shard(struct bytes body);
/* Worker 0: one came; its answer is what became of it. */
void transfers_on_request(struct worker *w, struct links_call call,
                          struct bytes body);
/* Worker 0: the answer, or failure, of request `id`. False: none of here waits
 * for one; the links answer each once, so the caller takes that for a bug. */
bool transfers_on_response(struct worker *w, uint64_t id, int err);

/* ---- looking (transfers_show.c) ------------------------------------------ */

struct transfer_view {
    uint32_t shard;
    raft_id from, to; /* one of them is this node */
    uint64_t lsn;     /* of the state; 0: not known yet */
    uint64_t bytes;   /* of the stream so far */
    /* Bytes that the receiver has, with those of an earlier attempt, and about
     * how many there are. */
    uint64_t there, about;
    usec_t began_us; /* monotonic */
    usec_t eta_us;   /* what it is likely to take still; USEC_NEVER: unknown */
    bool waits;      /* for a link, or its turn */
};

/* How many are under way, in both directions. */
size_t transfers_running(const struct transfers *t);
/* Up to `max` of this worker's; returns how many. */
size_t transfers_view(const struct transfers *t, usec_t now,
                      struct transfer_view *out, size_t max);

#endif
