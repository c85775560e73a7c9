/* Which regions are well: a judgement from what all nodes report.
 *
 * Reports go in as they arrive; at each tick every region gets a state with a
 * reason in words. Every node does this all the time, so that whoever becomes
 * the meta shard's leader has watched long enough to decide.
 *
 * ## What counts
 *
 * The members of the cluster are its voters, and so are those of a region; of
 * one without a voter they are its nodes. Others are shown, no more. A majority
 * of n is n/2 + 1.
 *
 *  - Node i reaches node j if i's proof of a round trip (report.h) is at most
 *    `reach_us` old: its age when it was reported plus the time since that
 *    report arrived here. A node reaches itself while its reports arrive.
 *  - A node whose reports do not arrive here is silent and reaches nobody;
 *    unless a node that is heard reaches it. Then it runs, and only we cannot
 *    hear it: it reaches whoever reaches it, since round trips have two ends,
 *    and, as far as we can know, the others of its region in that position.
 *  - Node i reaches region R if it reaches a majority of R.
 *  - R is *lost* if less than a majority of the cluster reaches it, or if no
 *    heard node of R reaches a majority of R although enough of them are heard
 *    (R is split inside: no quorum).
 *  - R is *sick* if it is not lost, and too few of its members for a majority
 *    can take writes: the others have a disk that stalls for `stall_us` or is
 *    full, or drain, or no majority of the cluster reached them for `down_us`.
 *
 * So a region that one other region cannot reach is not lost, nor is a slow
 * one: a slow path brings proofs as often as a fast one.
 *
 * ## States
 *
 *              lost                     lost for down_us
 *      UP  ------------->  SUSPECT  ------------------------>  DOWN
 *      ^ ^  <-------------                                     ^  |
 *      | |    not lost                                         |  |
 *      | |                                    lost for down_us |  |
 *      | | sick for ill_us                                     |  |
 *      | +------------------------------->  ILL  --------------+  |
 *      |                                     |  <-----------------+
 *      +-------------------------------------+       sick for ill_us,
 *                 well for up_us               not lost for up_us
 *      (and DOWN -> UP: well for up_us)
 *
 * Hysteresis: `down_us` is short, `up_us` is long, and it doubles each time the
 * region fails again within `flap_us` after it came back, up to `up_max_us`.
 *
 * ## When we are the problem
 *
 * An observer that does not itself reach a majority cannot tell the others'
 * loss from its own: it is *blind*, no region goes DOWN or ILL in its eyes, and
 * timers begin anew when it sees again. Likewise in the first `start_us` after
 * it began to see, and for `down_us` after its process was paused.
 */
#ifndef BASTIDE_FAILOVER_HEALTH_H
#define BASTIDE_FAILOVER_HEALTH_H

#include "failover/report.h"

#define FAILOVER_REGIONS_MAX 32
#define FAILOVER_NAME_MAX 63
#define FAILOVER_REASON_MAX 240

/* Numbers a region; 0 is none. The same numbers as consensus uses. */
typedef uint16_t failover_region;

struct failover_node {
    uint32_t id;
    failover_region region;
    bool voter;
    char name[FAILOVER_NAME_MAX + 1]; /* for texts; "": its id will do */
};

/* The cluster as the configuration has it. */
struct failover_topology {
    uint32_t n_regions;
    struct {
        failover_region number;
        char name[FAILOVER_NAME_MAX + 1];
    } regions[FAILOVER_REGIONS_MAX];
    uint32_t n_nodes;
    struct failover_node nodes[FAILOVER_NODES_MAX];
};

/* Whether it makes sense: ids and numbers nonzero, unique and within bounds,
 * every node in a listed region, at least one voter. ERR_INVALID otherwise. */
int failover_topology_check(const struct failover_topology *t);

struct failover_timing {
    usec_t reach_us;    /* 750 ms: a proof is good for that long */
    usec_t down_us;     /* 1 s: lost for that long is DOWN */
    usec_t up_us;       /* 10 s: well for that long is UP again */
    usec_t up_max_us;   /* 5 min: most that flapping makes of it */
    usec_t flap_us;     /* 10 min: UP for that long is no flapping any more */
    usec_t stall_us;    /* 1.5 s: a write on disk that takes longer */
    usec_t ill_us;      /* 300 ms: sick for that long is ILL */
    usec_t start_us;    /* 3 s: watch at least that long before judging */
    usec_t escalate_us; /* 3 s: a planned switch away from a sick region */
    usec_t dwell_us;    /* 5 s: between two decisions that are not urgent */
    usec_t failback_us; /* 10 s: well and caught up for that long */
    uint32_t caught_up_ms; /* 1,000: no further behind than that is caught up */
};
extern const struct failover_timing failover_timing_default;

enum failover_state {
    FAILOVER_UP,
    FAILOVER_SUSPECT,
    FAILOVER_DOWN,
    FAILOVER_ILL
};
/* "up", "suspect", "down", "ill". */
const char *failover_state_name(enum failover_state state);

/* What is known of a region. */
struct failover_region_health {
    failover_region region;
    enum failover_state state;
    usec_t since_us; /* in that state */
    bool lost;       /* at the last tick, without hysteresis */
    bool sick;
    usec_t lost_since_us;      /* meaningful while `lost` */
    usec_t sick_since_us;      /* meaningful while `sick` */
    usec_t well_since_us;      /* neither lost nor sick; meaningful while so */
    usec_t returned_us;        /* not lost since; meaningful unless `lost` */
    usec_t caught_up_since_us; /* 0: is not (a majority of it is, otherwise) */
    uint32_t behind_ms;        /* the majority of it that is least behind, or
                                * UINT32_MAX: not known */
    uint32_t voters;
    uint32_t members;    /* voters or, if there are none, nodes */
    uint32_t able;       /* of them, can take writes */
    uint32_t reached_by; /* of the cluster's voters */
    bool split;          /* why it is lost: its nodes do not reach each other */
    uint32_t failures;   /* lately; each doubles up_us but the first */
    usec_t back_us;      /* when it last became UP again */
};

/* What is known of a node. */
struct failover_node_health {
    uint32_t id;
    failover_region region;
    bool voter;
    bool heard;          /* its reports arrive here */
    bool dead;           /* a majority has not reached it for down_us */
    uint32_t reached_by; /* of the cluster's voters */
    uint16_t age_ms;     /* our own proof; 0 for ourselves */
    uint16_t rtt_ms;
    struct failover_self self; /* of its newest report; {0} before */
};

struct failover_health;

/* `self` is the id of this node. Copies `timing`. All regions begin UP. The
 * caller frees. */
struct failover_health *
failover_health_new(uint32_t self, const struct failover_timing *timing,
                    usec_t now);
void failover_health_free(struct failover_health *h); /* NULL is allowed */

/* Says who there is. A topology that passes the check, which may lack `self`
 * (then it is blind). Copied. What is known of nodes and regions that stay is
 * kept; new regions begin UP. */
void failover_health_topology(struct failover_health *h,
                              const struct failover_topology *t, usec_t now);

/* A report arrived (this node's own are passed, too). Copied. ERR_STALE: an
 * older one than we have; ERR_NOT_FOUND: of no node of the topology. */
int failover_health_report(struct failover_health *h,
                           const struct failover_report *report, usec_t now);

/* The process stood still until now: begin to watch anew. */
void failover_health_paused(struct failover_health *h, usec_t now);

/* Judges. Call at least every 100 ms. */
void failover_health_tick(struct failover_health *h, usec_t now);

/* As of the last tick. Borrowed until the next call that is not const; NULL for
 * a region that is not in the topology. */
const struct failover_region_health *
failover_health_region(const struct failover_health *h, failover_region r);
/* The i-th node of the topology; false past the end. */
bool failover_health_node(const struct failover_health *h, uint32_t i,
                          struct failover_node_health *node_out);
/* The round trip between two nodes, as `from` reports it; 0 to itself;
 * FAILOVER_NEVER_MS: it has not told. */
uint16_t failover_health_rtt_ms(const struct failover_health *h, uint32_t from,
                                uint32_t to);
const struct failover_topology *
failover_health_topology_of(const struct failover_health *h);
const struct failover_timing *
failover_health_timing(const struct failover_health *h);
/* "?" for a region that is not in the topology. */
const char *failover_health_name(const struct failover_health *h,
                                 failover_region r);
/* Why the region is in its state, in words and figures. */
void failover_health_reason(const struct failover_health *h, failover_region r,
                            char out[FAILOVER_REASON_MAX]);
/* The time of the last tick; what every answer here refers to. */
usec_t failover_health_now(const struct failover_health *h);

/* How long a region must be well until it is UP again. */
usec_t failover_health_up_us(const struct failover_health *h,
                             const struct failover_region_health *r);

/* Whether this node may judge, as of the last tick. If not, `why_out` (may be
 * NULL) gets the reason in words. */
bool failover_health_sees(const struct failover_health *h,
                          char why_out[FAILOVER_REASON_MAX]);

/* Whether this node reaches a majority, and is reached by it, as of the last
 * tick: also in the moment after its start or return when it may not judge
 * yet. */
bool failover_health_in_contact(const struct failover_health *h);

/* For how long it has not reached a majority: it is cut off from those who
 * decide, or they are gone. 0: it does, or never did. */
usec_t failover_health_cut_off_us(const struct failover_health *h);

/* Whether voter `id` takes part, as far as this node can tell: a majority of
 * the cluster reaches it; while blind: this node does. */
bool failover_health_alive(const struct failover_health *h, uint32_t id);

#endif
