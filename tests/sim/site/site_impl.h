/* What the parts of a simulated site share.
 *
 *   site.c      the clock, the phases of a run, the verdict
 *   node.c      a node: its shards, controller, records, chores
 *   route.c     a node's router: where an operation is run
 *   wire.c      the network; drive.c: a node's disk
 *   people.c    clients with sessions; operator.c: who changes the account
 *   storm.c     the faults of a seed; drill.c: the one thing that is expected
 */
#ifndef BASTIDE_SIM_SITE_IMPL_H
#define BASTIDE_SIM_SITE_IMPL_H

#include "failover/failover.h"
#include "node/base/prng.h"
#include "node/govern/decide.h"
#include "node/govern/steer.h"
#include "node/shard/salvage.h"
#include "tests/sim/queue.h"
#include "tests/sim/replica.h"
#include "tests/sim/site/history.h"
#include "tests/sim/site/site.h"

#define SITE_NODES_MAX 12
#define SITE_REGIONS_MAX 5
#define SITE_SHARDS_MAX 3 /* the meta shard among them */
#define SITE_CLIENTS_MAX 10
#define SITE_KEYS 5 /* documents per shard */
#define SITE_OPS_MAX 8192

#define SITE_STORM_US (10 * USEC_PER_SEC)
/* After healing: until everything is well. Failed regions are trusted again
 * only after a while. */
#define SITE_CALM_MAX_US (25 * USEC_PER_SEC)
#define SITE_DRILL_US (7 * USEC_PER_SEC)
#define SITE_REST_MAX_US (20 * USEC_PER_SEC)
#define SITE_WATCH_US (50 * USEC_PER_MS)
#define SITE_CHORE_US (50 * USEC_PER_MS)
/* Writes are possible again that long after the write region was lost, in any
 * seed; and in 99 of 100, see main.c. */
#define SITE_FAILOVER_US (6500 * USEC_PER_MS)
/* A planned switch holds writes up no longer. */
#define SITE_SWITCH_US (2 * USEC_PER_SEC)
/* Changes of leaders in a calm cluster, per shard and run. */
#define SITE_CALM_ELECTIONS_MAX 4

#define SITE_LEVEL_ACCOUNT                                                     \
    CONSISTENCY_STRONG /* a client that does not relax                         \
                        */

enum site_event {
    SITE_DELIVER,
    SITE_TICK,  /* a shard's */
    SITE_CHORE, /* a node's */
    SITE_SYNCED,
    SITE_CALL,     /* a client's request arrives at a node */
    SITE_ANSWERED, /* a node's shard has answered an operation */
    SITE_RETRY,    /* calls of a node are due again */
    SITE_CLIENT,
    SITE_FAULT,
    SITE_UNDO,
    SITE_OPERATE,
    SITE_WATCH,
};

enum site_phase { SITE_STORM, SITE_CALM, SITE_DRILL, SITE_RETURN, SITE_REST };

struct site_node;

/* ---- messages --------------------------------------------------------------
 */

enum site_msg_kind {
    SITE_MSG_SHARD,  /* to the replica of a shard */
    SITE_MSG_GOSSIP, /* to the controller */
    SITE_MSG_CALL,   /* an operation, to the leader's node */
    SITE_MSG_ANSWER,
};

struct site_msg {
    struct sim_blob base;
    enum site_msg_kind kind;
    uint16_t shard;
    struct sim_blob *inner;
    struct buf gossip;
    uint32_t follows; /* GOSSIP: the epoch that the node's shards follow */
    struct govern_hint knows; /* GOSSIP: the newest record */
    uint64_t life; /* of the node that asked, and the number of its call */
    uint64_t call;
    uint32_t attempt;
    struct op op;
    struct buf body;
    usec_t patience_us;
    struct op_result result;
    bool by_leader;
};

/* ---- nodes -----------------------------------------------------------------
 */

struct site_record {
    struct sim_blob *blob;
    uint16_t shard;
    uint64_t seq;
    usec_t at_us;
};

struct site_drive {
    struct site_record *records;
    size_t n, cap;
    size_t n_synced;
    size_t syncing; /* the sync under way covers records [0, syncing) */
    usec_t mean_us;
    bool hung;
    bool due; /* hung: it would have ended */
};

enum site_asker { SITE_ASKER_CLIENT, SITE_ASKER_NODE, SITE_ASKER_SELF };

/* An operation that this node brings to where it can be run. */
struct site_call {
    bool used;
    uint64_t number;
    enum site_asker asker;
    uint64_t operation; /* CLIENT */
    raft_id from;       /* NODE: who asked, in which life, by which number */
    uint64_t from_life, from_call;
    uint32_t from_attempt;
    struct op op;
    struct buf body;
    usec_t deadline_us; /* local */
    usec_t retry_us;    /* local; 0: an attempt is under way */
    usec_t attempt_us;  /* local: from then on a broken link ends the attempt */
    usec_t lost_us;     /* local: and then it ends anyhow */
    raft_id asked;      /* who was, by the attempt under way */
    uint32_t attempt;   /* an answer to an earlier one is none to this */
    bool to_leader;     /* a read that this node could not serve */
    bool may_be_done;   /* a write whose answer was lost */
    /* SELF */
    void (*done)(struct site_node *n, struct site_call *c,
                 const struct op_result *result);
    struct salvage_delivery *delivery;
};
#define SITE_CALLS_MAX 128

struct site_replica {
    struct site_node *node;
    uint16_t shard;
    struct sim_replica *replica; /* NULL: the node is down */
    struct steer steer;
    usec_t tick_us; /* earliest tick scheduled, true time */
    /* Its store was put away, and it is not cured; and, ever since that, what
     * it had promised. */
    bool mending, kept;
    struct sim_kept mark;
};

struct site_node {
    struct site *site;
    raft_id id;
    raft_region region;
    bool witness; /* in every shard but the meta shard */
    bool voter;
    bool up;
    bool paused;
    bool amnesiac; /* lost its disk, and is not cured */
    uint64_t life;
    int64_t drift_permille;
    usec_t offset_us;
    struct site_replica replicas[SITE_SHARDS_MAX];
    struct failover *failover;
    struct failover_topology topology;    /* with those who vote now */
    uint32_t follows[SITE_NODES_MAX + 1]; /* what each node last said */
    struct site_drive drive;
    struct site_call *calls;
    uint64_t calls_made;
    uint32_t chores;
    /* The group's record as committed here. */
    bool record_stale;
    bool has_record;
    bool has_been_fresh; /* in this life the record was as new as any */
    struct govern_record record;
    struct govern_record hint; /* a newer one by gossip; epoch 0: none */
    usec_t changed_us;         /* local; when its epoch was learned */
    bool proposing;
    struct govern_record proposal_of, proposal; /* PRECONDITION; next */
    struct sim_event *backlog;
    size_t n_backlog, cap_backlog;
};

/* ---- clients ---------------------------------------------------------------
 */

struct site_client {
    uint32_t number; /* its session */
    raft_region region;
    uint64_t operation; /* under way; 0: none */
    raft_id node;
    usec_t give_up_us;
    usec_t avoid_us; /* its region's nodes, until then */
    uint32_t think_ms;
    uint32_t write_permille;
    uint32_t relax_permille;
    struct {
        uint32_t epoch;
        uint64_t lsn;
    } token[SITE_SHARDS_MAX];
    uint64_t saw[SITE_SHARDS_MAX][SITE_KEYS];
};

/* Of a write: its etag as first seen. */
struct site_version {
    bool known;
    struct etag etag;
};

/* ---- the site --------------------------------------------------------------
 */

struct site_swarm {
    uint32_t loss_permille, dup_permille;
    bool reorder;
    usec_t jitter_us;
    uint32_t fault_every_ms;
    bool crash, pause, isolate, one_way, cut_link, slow_disk, hang_disk;
    bool lose_disk, quarantine;
    bool region_kill, region_pause, region_cut, region_one_way, region_slow;
    bool region_stuck;
    bool transfer, flush, drift;
    bool set_level, set_priority, move, members;
    bool reunite; /* in the end all nodes are members again */
    bool failback;
    bool quick_return; /* of lost regions: before they are declared down */
};

enum site_drill_kind {
    DRILL_NONE,
    DRILL_KILL,
    DRILL_PAUSE,
    DRILL_CUT,
    DRILL_ONE_WAY,
    DRILL_HANG,
    DRILL_KILL_TWO,
    DRILL_MOVE,
    DRILL_SLOW,
    DRILL_PAIR,
    DRILL_BLIP,
    DRILL_LEVEL,
    DRILL_BEHIND,
    DRILLS,
};

struct site_drill {
    enum site_drill_kind kind;
    usec_t began_us;
    uint32_t epoch;
    raft_region write_region;
    raft_region other; /* the second region it is about */
    raft_region expected;
    usec_t written_us[SITE_SHARDS_MAX]; /* first success of a later write */
    usec_t slowest_us;                  /* MOVE: of all writes */
    uint32_t failed;                    /* MOVE: requests */
    bool struck;                        /* it has happened */
    bool back;                          /* BLIP, BEHIND: it has returned */
};

struct site {
    struct site_shape shape;
    uint64_t seed;
    int loud;
    struct prng prng;
    struct site_swarm swarm;
    struct history *history;
    struct sim_result *result;
    bool over;
    usec_t now_us;
    struct sim_queue queue;
    enum site_phase phase;
    usec_t phase_us; /* when it began */
    usec_t well_us;  /* all is well since; 0: it is not */
    bool healed;     /* no faults but those of the drill */
    bool resting;    /* no new operations */
    uint32_t n_shards;
    uint32_t n_nodes;
    struct site_node nodes[SITE_NODES_MAX + 1]; /* by id */
    struct raft_config first_config;            /* of the meta shard */
    struct raft_config first_documents;
    struct raft_options raft;
    struct failover_topology topology;
    struct failover_timing timing;
    bool cut[SITE_NODES_MAX + 1][SITE_NODES_MAX + 1];      /* [from][to] */
    usec_t cut_us[SITE_NODES_MAX + 1][SITE_NODES_MAX + 1]; /* since when */
    usec_t link_free_us[SITE_NODES_MAX + 1][SITE_NODES_MAX + 1];
    usec_t wan_us[SITE_REGIONS_MAX + 1][SITE_REGIONS_MAX + 1];
    usec_t slow_us[SITE_REGIONS_MAX + 1];
    raft_region stuck; /* gossips, but replicates no documents; 0: none */
    raft_region lost;  /* a region that is down as a whole; 0: none */
    uint64_t faults;
    struct site_client clients[SITE_CLIENTS_MAX];
    uint32_t n_clients;
    struct site_version *versions; /* by operation */
    /* The account as it was ordered. */
    struct consistency_policy ordered;
    uint32_t ordered_epoch;
    bool promise_due;
    uint64_t elections[SITE_SHARDS_MAX];
    uint64_t elections_at[SITE_SHARDS_MAX];
    uint64_t acked, reads;
    struct site_drill drill;
};

/* site.c */
void site_schedule(struct site *s, usec_t at_us, struct sim_event ev);
void site_fail(struct site *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void site_say(struct site *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
bool site_chance(struct site *s, uint32_t permille);
/* The first thing that is not well; false if nothing is. */
bool site_unwell(struct site *s, char *why, size_t cap);
/* As the leader of the meta shard knows it; NULL: there is none, or it knows
 * none. */
const struct govern_record *site_record(struct site *s);
/* Whether a node is a member by the newest record that anybody knows. */
bool site_is_member(const struct site *s, raft_id id);
/* How many there are, that of a witness among them. */
uint32_t site_regions(const struct site *s);
raft_id site_leader(struct site *s, uint16_t shard);

/* node.c */
usec_t site_local_us(const struct site_node *n);
bool site_node_up(const struct site_node *n); /* and not paused */
void site_node_start(struct site_node *n);
void site_node_crash(struct site_node *n);
/* It dies, and comes back as one that must be rebuilt. */
void site_node_forget(struct site_node *n);
/* One shard's store is put away, and the replica begins anew with what it has
 * promised, while the node goes on. Its drive is idle. */
void site_node_quarantine(struct site_node *n, uint16_t shard);
void site_node_pause(struct site_node *n);
void site_node_resume(struct site_node *n);
void site_node_free(struct site_node *n);
/* An event of this node; puts it off while it is paused. */
void site_node_event(struct site_node *n, const struct sim_event *ev);
void site_node_after(struct site_node *n, uint16_t shard);
/* Proposes to the meta shard, of which this node is the leader, to replace
 * what is its record by `next`. ERR_AGAIN: not now. */
int site_node_propose(struct site_node *n, const struct govern_record *next);
int64_t site_wall_us(const struct site *s);

/* route.c */
struct site_call *site_call_new(struct site_node *n, const struct op *op,
                                usec_t patience_us);
void site_call_run(struct site_node *n, struct site_call *c);
void site_call_foreign(struct site_node *n, raft_id from,
                       const struct site_msg *m);
void site_call_answered(struct site_node *n, const struct site_msg *m);
/* The node's own shard has answered: `m` comes as an event, because shards
 * answer in the middle of things. */
void site_call_result(struct site_node *n, const struct site_msg *m);
void site_copy_result(struct op_result *to, const struct op_result *from);
void site_calls_chore(struct site_node *n);
void site_calls_drop(struct site_node *n);

/* wire.c */
struct site_msg *site_msg_new(enum site_msg_kind kind);
void site_send(struct site_node *n, raft_id to, struct site_msg *m);
void site_cut(struct site *s, raft_id from, raft_id to, bool cut);
/* Whether nothing gets from one to the other. */
bool site_is_cut(const struct site *s, raft_id from, raft_id to);
void site_cut_region(struct site *s, raft_region region, bool out, bool in,
                     bool cut);
void site_heal_wire(struct site *s);

/* drive.c */
void site_drive_write(struct site_node *n, uint16_t shard, uint64_t seq,
                      struct sim_blob *record);
void site_drive_synced(struct site_node *n);
void site_drive_crash(struct site_node *n);
/* Nothing is on its way to it. */
bool site_drive_idle(const struct site_node *n);
/* All records of a shard, or, of UINT16_MAX and a node that is down, all. */
void site_drive_wipe(struct site_node *n, uint16_t shard);
void site_drive_hang(struct site_node *n, bool hung);
/* How long the oldest write has been under way, on the true clock. */
usec_t site_drive_stall_us(const struct site_node *n);

/* people.c */
void site_clients_start(struct site *s);
/* `operation` 0: it begins another; else it gives that one up. */
void site_client_wake(struct site *s, uint32_t client, uint64_t operation);
void site_client_call(struct site *s, struct site_node *n, uint64_t operation);
void site_client_answer(struct site *s, struct site_node *n, uint64_t operation,
                        const struct op_result *result);
/* The node that was asked is gone. */
void site_clients_lose(struct site *s, raft_id node);
bool site_clients_idle(const struct site *s);
/* The operation in an entry's id; 0: not a client's. */
uint64_t site_operation(const uint8_t id[OP_ID_LEN]);
/* The version that a stored text names; 0 and a violation if none. */
uint64_t site_version_of(struct site *s, struct bytes text);

/* operator.c */
void site_operate(struct site *s);
bool site_order_level(struct site *s, const struct consistency_policy *level);
bool site_order_move(struct site *s, raft_region to);
/* Whether nodes are out that shall come back. */
bool site_apart(struct site *s);
/* Every so often: whether what was ordered is in force by now. */
void site_promise_watch(struct site *s);
void site_level_draw(struct site *s, struct consistency_policy *out);

/* storm.c */
void site_swarm_choose(struct site *s);
void site_swarm_print(const struct site *s);
void site_storm_strike(struct site *s);
void site_storm_undo(struct site *s, const struct sim_event *ev);
void site_storm_heal(struct site *s);

/* drill.c */
void site_drill_begin(struct site *s);
/* Of a call that ended. */
void site_drill_heard(struct site *s, const struct hist_op *op);
usec_t site_drill_us(const struct site *s);
void site_drill_watch(struct site *s);
void site_drill_end(struct site *s);
const char *site_drill_name(enum site_drill_kind kind);

#endif
