/* What the parts of the world share. world.c runs it; disk.c, net.c hold the
 * environment; faults.c breaks it; load.c uses it. */
#ifndef BASTIDE_SIM_WORLD_IMPL_H
#define BASTIDE_SIM_WORLD_IMPL_H

#include "node/base/prng.h"
#include "tests/sim/check.h"
#include "tests/sim/docs.h"
#include "tests/sim/queue.h"
#include "tests/sim/shown.h"
#include "tests/sim/world.h"

#define NODES_MAX 12
#define READS_MAX 512

/* Length of the phases in virtual time. */
#define SAFETY_US (8 * USEC_PER_SEC)
#define HEAL_US (4 * USEC_PER_SEC) /* load goes on */
/* No load; all must agree by then, also who gets everything at the pace of
 * learners. */
#define SETTLE_US (30 * USEC_PER_SEC)
#define SETTLE_POLL_US (200 * USEC_PER_MS)
/* Elections that the healed cluster may need at most. */
#define HEALED_ELECTIONS_MAX 8
#define CRASH_AT_SYNC_PERMILLE 5
#define CRASH_AT_SYNC_TURBULENT 10
#define ECHO_US (300 * USEC_PER_MS)
#define TOPPLE_PERMILLE 500
#define LOSE_DISK_ONE_IN 4
#define PART_ONE_IN 2
#define CRASH_AT_VOTE_PERMILLE 300 /* while nobody leads */
#define HEALED_JITTER_US (5 * USEC_PER_MS)
/* With a witness, a healed cluster loses a region: how long after healing, and
 * by when it must acknowledge writes again. Then that region returns. */
#define DRILL_AFTER_US (3 * USEC_PER_SEC)
#define DRILL_NOTICE_US (1 * USEC_PER_SEC)
#define DRILL_WORKS_US (6 * USEC_PER_SEC)
#define DRILL_US (DRILL_AFTER_US + DRILL_WORKS_US)
/* Nodes that may be a witness where it is late, each in a region of its own. */
#define LATE_WITNESSES 2
/* A late witness votes when it lacks at most so much. */
#define WITNESS_NEAR 16
#define WITNESS_EVERY_US (200 * USEC_PER_MS)
#define WRITE_EVERY_US (20 * USEC_PER_MS)
#define READ_EVERY_US (30 * USEC_PER_MS)

enum world_event_type {
    EV_DELIVER,
    EV_TICK,
    EV_SYNCED,
    EV_RESTART,
    EV_RESUME,
    EV_WRITE,
    EV_READ,
    EV_FAULT,
    EV_TOPPLE, /* a new leader falls early */
    EV_UNDO,   /* ends fault number `number` */
    EV_DECIDE,
    EV_RETURN,  /* the region that was lost is declared up */
    EV_DRILL,   /* a region is lost for a while: announced, then done... */
    EV_LOSE,    /* region `number` is */
    EV_DRILLED, /* ...and the verdict on that */
    EV_WITNESS, /* one that is late takes a step, until it is where it shall */
    EV_HEAL,
    EV_SETTLE,
    EV_JUDGE,
};

struct record {
    struct sim_blob *blob;
    uint64_t seq;
    bool checkpoint;
};

struct held {
    raft_id to;
    uint64_t after_seq;
    struct sim_blob *blob;
};

struct node {
    struct world *world;
    raft_id id;
    raft_region region;
    bool witness;
    struct sim_replica *replica; /* NULL: crashed */
    uint64_t life;
    uint64_t led_term;              /* in which it led last */
    struct raft_config last_config; /* when it crashed */
    uint64_t knew_lsn; /* committed, the most at any time that it crashed */
    bool paused;
    uint32_t flush_depth;
    /* local = offset + real * (1000 + drift) / 1000 */
    int64_t drift_permille;
    usec_t offset_us;
    usec_t tick_us; /* earliest tick scheduled, real time */
    /* Disk. */
    struct record *records;
    size_t n_records;
    size_t cap_records;
    size_t n_synced;
    bool amnesiac; /* it was lost; the shell's durable mark of that */
    bool kept;     /* its records were, at least once since: not `mark` */
    struct sim_kept mark;
    size_t syncing; /* the sync under way covers records [0, syncing) */
    usec_t sync_us; /* mean latency */
    bool slow;
    struct held *held;
    size_t n_held;
    size_t cap_held;
    /* What waited while it was paused. */
    struct sim_event *backlog;
    size_t n_backlog;
    size_t cap_backlog;
};

/* The faults this seed has chosen. */
struct swarm {
    uint32_t loss_permille;
    uint32_t dup_permille;
    bool reorder;
    usec_t jitter_us;
    usec_t wan_us;
    uint32_t fault_every_ms;
    bool crash;
    bool crash_many;
    bool turbulent;     /* elections all the time */
    bool crash_at_sync; /* right after a sync, back at once */
    bool isolate;
    bool isolate_leader;
    bool one_way;
    bool split;
    bool cut_link;
    bool slow_disk;
    bool pause;
    bool transfer;
    bool members;
    bool compact;
    bool rule;
    bool region_loss;
    bool drift;
    bool region_ack; /* start with RAFT_ACK_REGION */
    bool prefer;     /* priorities by region */
    bool amnesia;    /* disks are lost, one at a time */
    bool quarantine; /* replicas are put away and made anew, one at a time */
    bool damage;     /* stores are damaged, and mended as the scrubber says */
};

struct read_wait {
    uint64_t request; /* 0: free */
    struct check_floor floor;
    raft_id node;
};

struct world {
    const struct sim_replica_ops *ops;
    struct sim_shape shape;
    uint64_t seed;
    bool verbose;
    struct prng prng;
    struct swarm swarm;
    struct check *check;
    struct shown *shown;
    struct sim_result *result;
    bool over;
    usec_t now_us;
    struct sim_queue queue;
    struct node nodes[NODES_MAX + 1]; /* by id */
    uint32_t n_nodes;
    raft_id everybody[NODES_MAX];
    bool cut[NODES_MAX + 1][NODES_MAX + 1];            /* [from][to] */
    usec_t link_free_us[NODES_MAX + 1][NODES_MAX + 1]; /* FIFO links */
    struct raft_config first_config;
    uint64_t fault_number;
    bool healed;
    bool settling;
    uint32_t epoch;
    raft_region decided_region;
    raft_region lost_region; /* crashed as a whole; 0: none */
    raft_region down_region; /* declared down; 0: none */
    bool drilling;           /* lost_region stays lost */
    uint64_t request;
    struct read_wait reads[READS_MAX];
    struct docs *docs; /* where replicas are whole shards, else NULL */
    uint64_t acked_at_heal;
    uint64_t elections_at_heal;
    uint64_t acked_at_decision; /* of the drill */
    uint64_t drill_lsn;         /* committed when it was announced */
    bool dismissed;             /* the late witness has done what it was for */
};

/* world.c */
void world_schedule(struct world *w, usec_t at_us, struct sim_event ev);
void world_fail(void *ctx, const char *text);
void world_say(struct world *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
usec_t node_local_us(const struct node *n);
void node_after_step(struct node *n);
void node_start(struct node *n);
void node_crash(struct node *n);
/* Its records are found to be damaged while it runs, nothing being on its way
 * to the disk: it begins anew with what it promised. */
void node_quarantine(struct node *n);
/* What a node that is no member deletes, and what it remembers: what it voted.
 * Nothing is on its way to the disk. */
void node_wipe(struct node *n);
bool node_up(const struct node *n);
raft_id world_leader(struct world *w);
bool world_chance(struct world *w, uint32_t permille);

/* disk.c */
void disk_write(struct node *n, uint64_t seq, struct sim_blob *record,
                bool checkpoint);
void disk_synced(struct node *n);
void disk_crash(struct node *n);
/* Of a crashed node: nothing is left. */
void disk_lose(struct node *n);
/* Whether all writes of this life up to `seq` are durable. */
bool disk_durable(const struct node *n, uint64_t seq);

/* net.c */
void net_send(struct node *n, raft_id to, uint64_t after_seq,
              struct sim_blob *msg);
void net_release_held(struct node *n);
void net_drop_held(struct node *n);
void net_cut(struct world *w, raft_id from, raft_id to, bool cut);
void net_heal(struct world *w);

/* faults.c */
void faults_choose(struct world *w);
void faults_print(const struct world *w);
void faults_after_sync(struct world *w, raft_id id);
void faults_new_leader(struct world *w, raft_id id);
void faults_topple(struct world *w, raft_id id);
void faults_strike(struct world *w);
void faults_undo(struct world *w, const struct sim_event *ev);
void faults_decide(struct world *w);
void faults_heal(struct world *w);
/* Tells a node that has just begun, or goes on, what was decided. */
void faults_tell(struct node *n);
void faults_return(struct world *w);
void faults_announce_drill(struct world *w);
void faults_drill(struct world *w, raft_id announced);
void faults_lose(struct world *w, raft_region region);
void faults_drilled(struct world *w);
/* Whether the late witness is where it shall be, and nothing is under way. */
bool faults_witness_settled(struct world *w);
void faults_step_witness(struct world *w);

/* load.c */
void load_write(struct world *w);
void load_read(struct world *w);
void load_read_done(struct node *n, uint64_t request, int result, uint64_t lsn);

#endif
