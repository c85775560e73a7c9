/* A worker: one thread, one event loop, its share of the node's shards and
 * connections. Nothing here is shared between workers; they talk by messages
 * (inbox.h) and the only pointers that cross are to things that never change
 * after the node has started.
 *
 * One turn of the loop:
 *
 *     sockets, timers, messages  -> operations, Raft messages, results
 *     prepare hook               -> every shard proposes what came in, one log
 *                                   batch goes to the helper thread
 *     later: the batch is durable-> held messages leave, writes are answered
 *
 *   worker.c     life, loop, turn            log_pipe.h   the log's batches
 *   replicas.h   opened and closed           recovery.h   and at the start
 *   router.h     operations to shards        peers.h      links (worker 0)
 *   flusher.h    memtable to LMDB            transfers.h  snapshots
 *   catalog_feed.h  committed catalog records to every worker
 *   rebuild.h  replicas that lost their disk
 *   salvager.h  what a forced failover overwrote, to /conflicts
 *   steering.h  replicas and API follow the group's decision
 *   doors.h    listeners for clients
 *   faults_client.h  faults that these meet
 *   digester.h  compares replicas
 *   transit.h  requests that pass through nodes outside a fence (worker 0)
 *   scrubber.h  does it now and then; quarantine.h: what then happens
 *   fence_guard.h  which regions may hold what (worker 0)
 *   governor.h, features.h, admin.h, stand_in.h, faults.h (worker 0)
 *   metrics.h, readiness.h  what a worker says of itself to those who watch
 */
#ifndef BASTIDE_SERVER_WORKER_H
#define BASTIDE_SERVER_WORKER_H

#include <ev.h>
#include <pthread.h>
#include <stdbool.h>

#include "node/auth/signature.h"
#include "node/base/feature.h"
#include "node/catalog/catalog.h"
#include "node/config/config.h"
#include "node/cosmos/cosmos.h"
#include "node/crypt/keyring.h"
#include "node/crypt/region_key.h"
#include "node/crypt/seal.h"
#include "node/crypt/sign.h"
#include "node/http/http.h"
#include "node/server/flusher.h"
#include "node/server/helper.h"
#include "node/server/inbox.h"
#include "node/server/log_pipe.h"
#include "node/server/mover.h"
#include "node/server/placement_remove.h"
#include "node/server/purge.h"
#include "node/server/renewal.h"
#include "node/server/router.h"
#include "node/server/scrubber.h"
#include "node/server/splitter.h"
#include "node/server/steering.h"
#include "node/server/transfers.h"
#include "node/shard/shard.h"
#include "node/store/datadir.h"
#include "node/store/engine.h"
#include "replication/link/chan_tls.h"
#include "replication/links.h"

struct node;
struct peers;
struct admin;
struct stand_in;
struct steward;
struct governor;
struct faults;
struct faults_client;
struct digester;
struct holdings;
struct fence_guard;
struct transit;
struct scrub_round;
struct scrub_awaited;

#define WORKER_MAGIC MAGIC('w', 'o', 'r', 'k')
#define REPLICA_MAGIC MAGIC('r', 'e', 'p', 'l')

/* What a replica's roles were, for metrics. Since the process started. */
struct replica_counts {
    uint64_t candidacies, won;
    uint64_t leader_changes; /* to another than `leader` */
    enum raft_role role;
    uint64_t term;  /* of the last candidacy */
    raft_id leader; /* the last one known */
};

/* Shards that the groups of a cluster may have together, the meta shard
 * included: what a node has room for in its tables. */
#define NODE_SHARDS_MAX 2048

/* A shard's replica as its worker holds it. */
struct replica {
    uint32_t magic;
    struct worker *worker;
    uint16_t id;
    struct shard *shard;
    struct engine *engine;
    struct flusher flusher;
    struct replica_counts counts;
    struct steer steer;
    bool closing;              /* see replicas.h */
    uint64_t close_mark;       /* log_pipe_mark: what of it is on its way */
    bool deaf;                 /* see quarantine.h; likewise these: */
    usec_t put_away_us;        /* it failed; not tried again before */
    bool marked;               /* the data directory has its mark */
    bool unmarking;            /* the helper drops it */
    bool mending;              /* not cured yet */
    struct scrub_state scrub;  /* see scrubber.h */
    struct renewal renewal;    /* see renewal.h */
    struct digester *digester; /* at work; NULL: none */
    char path[DATADIR_PATH_MAX];
};

/* Set once, waited for by the main thread. */
struct worker_signal {
    pthread_mutex_t lock;
    pthread_cond_t set;
    bool is_set; /* under lock */
};

struct worker {
    uint32_t magic;
    struct node *node;
    uint32_t index;
    pthread_t thread;
    struct ev_loop *loop;
    struct chan_loop *chans;
    struct inbox inbox;
    struct helper helper;
    struct ev_prepare turn;
    struct ev_idle busy;    /* active while a shard has more to do at once */
    struct ev_timer ticker; /* the shards' earliest deadline */
    struct ev_timer chores; /* flushes, log upkeep */

    /* Those of this worker (node_shard_worker), in the order in which they were
     * opened, and by id; see replicas.h. */
    struct replica *replicas[NODE_SHARDS_MAX];
    struct replica *replica_of[NODE_SHARDS_MAX];
    uint32_t replica_count;
    bool opening[NODE_SHARDS_MAX]; /* a helper is making it */
    usec_t open_again_us;          /* after a failure */
    struct gone_shard *gone;       /* see replicas.h */
    uint32_t gone_count;
    struct purge purge;
    bool making_keys; /* see group_keys.h */
    struct log_pipe log;
    struct router router;
    struct transfers transfers;
    struct steering steering;
    usec_t digest_next_us; /* no slice before; see digester.h */
    struct scrub_round
        *scrub_round;      /* led by one of its replicas; NULL: none */
    uint64_t scrub_rounds; /* begun */
    uint32_t scrub_turn;   /* whose round is next, in replicas */

    struct keyring *keyring;
    struct sealer *sealer;
    struct keyed_hash *meta_hash;  /* addresses in the meta shard */
    struct keyed_hash *token_hash; /* continuation tokens */
    /* Groups whose keys this node has opened. */
    struct worker_group {
        uint16_t number;
        struct catalog_shards shards;
        uint8_t versions;        /* of its data key, in the keyring */
        uint32_t data_key;       /* the one that seals */
        struct keyed_hash *hash; /* addresses in its shards */
    } groups[GROUPS_MAX];
    uint32_t group_count;
    struct auth_keys auth;
    struct catalog *catalog;
    struct cosmos *cosmos;
    struct http_front *front;
    struct http_listener *listeners[3]; /* account, region, node */
    struct http_listener *stand_ins[CONFIG_REGIONS_MAX];
    bool standing_in[CONFIG_REGIONS_MAX];
    bool reachable[CONFIG_NODES_MAX + 1]; /* by node, as links say */
    bool shut;      /* clients are kept out; see doors.h */
    bool doors_jam; /* a listener could not be opened again; logged */

    /* Worker 0 only. */
    struct fence_guard *fence_guard;
    struct peers *peers;
    struct transit *transit;
    struct admin *admin;
    struct stand_in *stand_in;
    struct steward *steward;
    struct governor *governor;
    struct mover mover;
    struct splitter splitter;
    struct placement_removal removal;
    struct faults *faults;
    struct holdings *holdings;           /* being told; NULL: nobody asks */
    struct scrub_awaited *scrub_awaited; /* by id; see scrub_link.h */
    bool shut_told;                      /* what doors_keep was told last */
    uint32_t cured_workers;              /* see rebuild.h */
    bool stopping;                       /* nothing new is begun */
    bool draining;
    bool front_drained, drained_told;
    usec_t hand_over_until;
    struct worker_signal drained;
    bool cured;      /* told worker 0 that its replicas are rebuilt */
    bool meta_cured; /* what the catalog lacked is there; see rebuild.h */
    bool meta_cure_told;
    bool maintaining;             /* wal_maintain is with the helper */
    bool salvage_due;             /* see salvager.h */
    bool reconciling, reconciled; /* see reconcile.h */
    uint64_t reconcile_mark;      /* log_pipe_mark of what was salvaged */
    uint32_t chore_count;
};

/* How far the start is; written by the main thread, read by the porch's. */
struct node_start {
    uint32_t worker;  /* whose log is being read */
    uint64_t records; /* read of it so far */
};

/* What all workers share and none changes after the start. */
struct node {
    const struct config *config;
    struct config *growing; /* the same, for topology_reload alone */
    const struct config_sources *sources;
    struct datadir *datadir;
    struct worker *workers;
    uint32_t worker_count;
    struct cluster_keys cluster_keys;
    struct kek kek;
    struct region_key region_key; /* opens the keys of fenced groups; region
                                   * "": the regions have no keys */
    struct config_account_keys account_keys;
    struct tls_ctx *tls_front;
    struct tls_ctx *tls_admin;
    struct tls_ctx *tls_peer;
    struct node_signer *signer;     /* with the same key and certificate */
    struct session_floor *sessions; /* of clients without tokens */
    struct faults_client *client_faults;
    usec_t started_wall_us;
    uint64_t incarnation;
    struct feature_gate features; /* what may be used; see features.h */
    struct shard_board *board;    /* by shard id; written by their workers */
    struct node_start start;
    bool rebuilding; /* replicas were opened as amnesiacs; see rebuild.h */
    uint32_t snapshots_sending; /* transfers_admit's; atomic */
    uint64_t entry_rate;        /* see transfers_pace_learners; atomic */
    uint32_t learners_behind;   /* likewise */
};

static inline struct worker *node_shard_worker(struct node *n, uint32_t shard)
{
    return &n->workers[shard % n->worker_count];
}
/* The replica of `shard` on the worker that owns it; NULL when this node has
 * none. */
static inline struct replica *worker_replica(const struct worker *w,
                                             uint32_t shard)
{
    return shard < NODE_SHARDS_MAX ? w->replica_of[shard] : NULL;
}
/* Whether the worker that owns `shard` has its leader, and nobody else can have
 * one by now (raft_may_read). On its own thread. */
bool worker_leads(const struct worker *w, uint32_t shard, usec_t now);
/* The term of a replica here, and where its log ends. False: that is not known
 * now, since writes of this turn wait for their places (some may be cancelled);
 * lsn_out is not set. */
bool worker_log_end(const struct worker *w, uint32_t shard, uint64_t *term_out,
                    uint64_t *lsn_out);

/* Whether this node has a replica of `shard`, as far as its worker has told.
 * Any thread. */
bool node_has_shard(const struct node *n, uint32_t shard);

/* Bytes that each of a worker's shards may hold in its memtable: an equal part
 * of the worker's limit, but enough for two of the largest documents. */
uint64_t worker_memtable_share(const struct worker *w);

/* Makes everything but the thread: opens the log, replays it, opens engines
 * and shards. On the main thread, for one worker after the other. */
int worker_create(struct worker *w, struct node *node, uint32_t index,
                  struct err_msg *msg);
void worker_start(struct worker *w);
/* Begins the graceful end, from any thread: hands over leaderships, stops
 * accepting, answers what is under way. worker_wait_drained waits for that. */
void worker_drain(struct worker *w);
void worker_wait_drained(struct worker *w);
/* Ends the loop and joins the thread; workers with a higher index first, since
 * they use worker 0's links to the last. */
void worker_join(struct worker *w);

/* Runs fn on the worker's loop. The message frees itself. */
struct worker_call {
    struct inbox_message message;
    void (*fn)(struct worker *w, void *arg);
    void *arg;
};
void worker_run(struct worker *w, void (*fn)(struct worker *w, void *arg),
                void *arg);

/* Has the log's next segment made and old ones deleted, if that is not under
 * way. */
void worker_maintain_log(struct worker *w);

/* A shard was touched outside the prepare hook: makes sure that the loop makes
 * a turn. */
void worker_wake(struct worker *w);

#endif
