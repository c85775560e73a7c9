/* Snapshots between nodes: a follower whose next entries are gone from the
 * leader's memory receives the leader's flushed state instead.
 *
 * Sender (the shard's worker, at the leader): an offer, then the state in
 * chunks read by the helper thread, as the link's window allows.
 * Receiver: chunks go to `incoming/` by the helper thread, each acknowledged
 * when stored; then the log learns of it, then the new state is adopted
 * (engine.h, "receiving one"). One transfer per shard and direction.
 *
 * The links belong to worker 0, so every step of a shard of another worker is
 * a message there and back.
 */
#ifndef BASTIDE_SERVER_TRANSFERS_H
#define BASTIDE_SERVER_TRANSFERS_H

#include "consensus/raft.h"
#include "failover/fence.h"
#include "node/base/list.h"
#include "replication/links.h"

struct replica;
struct worker;

/* Bytes of records in one chunk. */
#define TRANSFER_CHUNK_BYTES (192 * 1024)
/* A transfer that makes no progress for this long is given up. */
#define TRANSFER_STALL_US (15 * USEC_PER_SEC)
/* A single large record may exceed TRANSFER_CHUNK_BYTES; it is cut into frames
 * of at most SNAPSHOT_CHUNK_MAX and put together again. */

struct transfers {
    struct worker *worker;
    struct list outgoing;
    struct list incoming;
    uint64_t next_id;
};

void transfers_init(struct transfers *t, struct worker *w);
/* At the leader, on the shard's worker: raft asked for it. */
void transfers_start(struct transfers *t, struct replica *r, raft_id to);
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

/* Worker 0, from the links. */
void transfers_on_chunk(struct worker *w, links_peer from,
                        const struct snapshot_chunk *chunk);
void transfers_on_ack(struct worker *w, links_peer from,
                      const struct snapshot_ack *ack);
void transfers_on_peer_down(struct worker *w, links_peer peer);

#endif
