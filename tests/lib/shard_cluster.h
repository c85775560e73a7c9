/* A cluster of shards in memory: replicas of one shard with a network, a log
 * disk and a flushed store that do exactly what a test says, on a clock that
 * only the test moves. No thread, no descriptor, no randomness but the seed.
 *
 *     struct cluster *c = cluster_new(&(struct cluster_options){.nodes = 3});
 *     raft_id leader = cluster_elect(c);
 *     struct cluster_call call;
 *     cluster_create(&call, doc(1), "{\"id\":\"1\"");
 *     cluster_run_call(c, leader, &call);
 *     ...
 *     cluster_call_free(&call);
 *     cluster_free(c);
 *
 * It checks by itself, always: committed entries come once and in order, and
 * are the same on every replica; an operation is answered exactly once; no
 * message that waits for a sync leaves before it; a hold or cut link loses
 * nothing that it should not. A broken promise ends the program (CHECK).
 *
 * One turn of the cluster (cluster_turn) is 1 ms: links deliver, snapshots move
 * on, every running node ticks, flushes its turn, and syncs unless its disk is
 * held.
 */
#ifndef BASTIDE_TESTS_SHARD_CLUSTER_H
#define BASTIDE_TESTS_SHARD_CLUSTER_H

#include <stdbool.h>

#include "consensus/raft.h"
#include "node/base/prng.h"
#include "node/shard/op.h"
#include "node/shard/shard.h"
#include "node/store/kv_mem.h"

/* Nodes have the ids 1..CLUSTER_NODES_MAX. */
#define CLUSTER_NODES_MAX 5
#define CLUSTER_SHARD 1
#define CLUSTER_KEY_ID 16u
/* What every node's wall clock says, in seconds. */
#define CLUSTER_WALL_SEC 1700000000

struct cluster_options {
    unsigned nodes;  /* voters, but for spares */
    unsigned spares; /* so many, the last, are no members: they wait */
    /* 0: the defaults below. */
    size_t memtable_bytes; /* 16 MiB */
    size_t retain_lagging; /* shard_options' */
    uint64_t seed;
    bool meta;   /* SHARD_META instead of CLUSTER_SHARD */
    bool no_key; /* nodes start without the data key */
    /* The region of each node, from node 1 on; writes are then acknowledged by
     * region 1. NULL: one region, and the majority acknowledges. */
    const raft_region *regions;
    bool by_majority; /* with regions: the majority acknowledges all the same */
    usec_t wan_us;    /* from a node to one of another region */
    raft_id witness;  /* 0: none */
    raft_id other_witness; /* a spare that may take its place; 0: none */
};

struct cluster;

/* All nodes run, connected, with empty logs; nobody leads yet. */
struct cluster *cluster_new(const struct cluster_options *options);
void cluster_free(struct cluster *c);

/* -- time ------------------------------------------------------------------ */

usec_t cluster_now(const struct cluster *c);
/* Moves the clock alone: nobody notices until the next turn. */
void cluster_sleep(struct cluster *c, usec_t us);
void cluster_turn(struct cluster *c);
void cluster_turns(struct cluster *c, unsigned n);
/* Only delivers, flushes and syncs until nothing is under way, at one moment
 * (1,000 rounds at most). */
void cluster_settle(struct cluster *c);

/* -- nodes ------------------------------------------------------------------
 */

struct shard *cluster_shard(struct cluster *c, raft_id id);
struct kv_mem *cluster_store(struct cluster *c, raft_id id);
/* Loses what was not synced. Operations waiting there are answered first. */
void cluster_crash(struct cluster *c, raft_id id);
/* From the flushed state and the synced log. */
void cluster_start(struct cluster *c, raft_id id);
/* Crashes, loses log and store, and starts as who must be rebuilt. */
void cluster_rebuild(struct cluster *c, raft_id id);
/* Nodes that start from now on have no data key until shard_set_key. */
void cluster_withhold_key(struct cluster *c);
/* Commits that this life of the node has told of; restarts at what it found. */
uint64_t cluster_committed(const struct cluster *c, raft_id id);

/* -- roles ------------------------------------------------------------------
 */

/* Turns until some running node leads with a lease; returns it. */
raft_id cluster_elect(struct cluster *c);
/* Who leads in the newest term; 0 when nobody. */
raft_id cluster_leader(const struct cluster *c);
/* A running node other than `id`, the lowest. */
raft_id cluster_other(const struct cluster *c, raft_id id);
/* Gives the leadership to `to` and turns until it has it. */
void cluster_transfer(struct cluster *c, raft_id to);

/* Tells a node that from `epoch` on `region` acknowledges (shard_decide). */
void cluster_decide(struct cluster *c, raft_id id, uint32_t epoch,
                    raft_region region);

/* shard_set_policy at every node, now and whenever one starts. Before: one
 * without a bound, newer than any decision. */
void cluster_set_policy(struct cluster *c, const struct shard_policy *policy);

/* -- faults ------------------------------------------------------------------
 */

/* Both ways; messages under way are lost, the links' ends are told. */
void cluster_cut(struct cluster *c, raft_id a, raft_id b);
void cluster_join(struct cluster *c, raft_id a, raft_id b);
/* From and to everybody. */
void cluster_isolate(struct cluster *c, raft_id id);
/* The nodes of a region from all others. */
void cluster_cut_region(struct cluster *c, raft_region region);
void cluster_heal(struct cluster *c);
/* Messages from a to b pile up, in order, until released. */
void cluster_hold_link(struct cluster *c, raft_id from, raft_id to, bool hold);
/* The disk takes records but does not sync them. */
void cluster_hold_sync(struct cluster *c, raft_id id, bool hold);
/* A snapshot is reset in the log but not adopted. */
void cluster_hold_adoption(struct cluster *c, raft_id id, bool hold);
/* What container_deleted says of this container from now on. */
void cluster_delete_container(struct cluster *c, uint32_t container);
/* The owners admit no write from now on, for that reason; NULL: all. */
void cluster_refuse(struct cluster *c, const char *reason);

/* -- flushing ----------------------------------------------------------------
 */

/* A whole flush, and if `trim`, all flushed versions leave the memory. False
 * when there was nothing to flush. */
bool cluster_flush(struct cluster *c, raft_id id, bool trim);
/* Flushes and drops so much of the log that who lags needs a snapshot. */
void cluster_compact(struct cluster *c, raft_id id);
/* How many SALVAGE records a node's log has, in all. */
unsigned cluster_salvaged(const struct cluster *c, raft_id id);
/* Delivers what a node salvaged, to where the shard is led: asks it for
 * conflicts and submits them, at most `max`, then turns until all are answered.
 * Returns how many were submitted. */
unsigned cluster_deliver(struct cluster *c, raft_id id, unsigned max);
/* Entries with payload in a node's log, and records in its store. */
size_t cluster_payloads(const struct cluster *c, raft_id id);
/* Sends `to` an entry of the leader's log with its payload, as no leader of
 * this program does; what shard_receive says. */
int cluster_smuggle(struct cluster *c, raft_id from, raft_id to);
/* Snapshots that were installed (adopted), in all. */
unsigned cluster_snapshots(const struct cluster *c);
/* Flips a bit in the last byte of every flushed text of a node. */
void cluster_damage(struct cluster *c, raft_id id);

/* -- operations --------------------------------------------------------------
 */

struct cluster_call {
    struct shard_request req;
    struct op op;
    struct op_result result; /* once `done` */
    unsigned done;           /* 0 or 1 */
    bool running;
    /* Called at the end of the answer, inside the shard; may be NULL. */
    void (*then)(void *user, struct cluster_call *call);
    void *user;
};

/* Record `id` of partition `pk` in container CONTAINER_FIRST_USER. */
struct op_address cluster_at(unsigned pk, unsigned id);

/* Fill a call with an operation; its id is new. `body` must outlive the call
 * and is what op.h says: an object without its closing brace. */
void cluster_read(struct cluster *c, struct cluster_call *call,
                  struct op_address at);
void cluster_write(struct cluster *c, struct cluster_call *call,
                   enum op_write_mode mode, struct op_address at,
                   const char *body);
void cluster_barrier(struct cluster *c, struct cluster_call *call,
                     uint64_t min_lsn);
void cluster_scan(struct cluster *c, struct cluster_call *call,
                  uint32_t max_items, const char *query);

/* Hands it to a node; it has five seconds. */
void cluster_submit(struct cluster *c, raft_id id, struct cluster_call *call);
/* Submits and turns until it is answered; returns result.err. */
int cluster_do(struct cluster *c, raft_id id, struct cluster_call *call);
/* Turns until it is answered; returns result.err. */
int cluster_wait(struct cluster *c, struct cluster_call *call);
/* The result's text as a C string, valid until the call is freed. */
const char *cluster_text(struct cluster_call *call);
/* Allowed before, after and instead of the answer being looked at; not while
 * it runs. */
void cluster_call_free(struct cluster_call *call);

/* -- looking ------------------------------------------------------------------
 */

/* A digest of all records a node has at its commit point, opened; equal
 * digests, equal records. */
uint64_t cluster_digest(struct cluster *c, raft_id id);

#endif
