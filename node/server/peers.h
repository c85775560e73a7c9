/* Worker 0's links to the other nodes: Raft messages to and from the workers
 * that own the shards, forwarded operations, snapshots. */
#ifndef BASTIDE_SERVER_PEERS_H
#define BASTIDE_SERVER_PEERS_H

#include "consensus/raft.h"
#include "node/server/worker.h"

struct peers;

/* Opens the peer listener and begins to connect. Worker 0, main thread. */
int peers_create(struct worker *w, struct err_msg *msg,
                 struct peers **peers_out);
/* Links to the nodes of the configuration that there are no links to yet. */
int peers_add_new(struct peers *p, struct err_msg *msg);
void peers_free(struct peers *p);

/* From any worker's thread, for struct shard_env: a message of one of its
 * shards. Copies what it needs (entries are kept by reference on worker 0). */
void peers_send_raft(struct worker *from, uint16_t shard,
                     const struct raft_msg *m, const struct raft_entry *heads,
                     struct entry *const *entries);

/* Worker 0 only. */
struct links *peers_links(struct peers *p);
/* What the setting `latency` does to frames for a node of that region. */
struct impairment peers_latency(const struct config *c, const char *region);
/* Whether the link to a node is up. */
bool peers_up(const struct peers *p, uint32_t node_id);
/* A node whose link is up and that has not proved its region; NULL: none. It
 * would lose its link with the first fence (replication/links.h). */
const char *peers_unproved(const struct peers *p);
/* The encoded form of an operation on `shard` to a node; see
 * links_request_again. The task is found again by the id. */
struct task;
int peers_request(struct peers *p, uint32_t node_id, uint16_t shard,
                  uint32_t deadline_ms, uint32_t age_ms, struct bytes body,
                  struct task *task, uint64_t *id_out);
/* The op.since_us of a request that comes now: see travel_since. */
usec_t peers_since(const struct config *c, const struct links_call *call);
/* The task of a request that is answered or failed; forgets it. */
struct task *peers_take_task(struct peers *p, uint64_t id);

#endif
