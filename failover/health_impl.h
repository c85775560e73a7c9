/* Internal to failover/: health.c judges, health_words.c says why. */
#ifndef BASTIDE_FAILOVER_HEALTH_IMPL_H
#define BASTIDE_FAILOVER_HEALTH_IMPL_H

#include "failover/health.h"
#include "node/base/check.h"

/* What is known of one node. */
struct watched {
    bool counts;                   /* a member of its region, see health.h */
    struct failover_report report; /* newest; incarnation 0: none yet */
    usec_t arrived_us;             /* when; meaningful after the first */
    bool heard;                    /* it is recent */
    bool vouched_for;              /* it is not, but who is heard reaches it */
    uint32_t reached_by;           /* voters */
    usec_t reached_us;             /* when a majority last did */
};

struct failover_health {
    uint32_t self;
    struct failover_timing timing;
    struct failover_topology topology;
    uint32_t cluster;                      /* voters */
    struct watched *of;                    /* per node of the topology */
    bool *reach;                           /* observer * n_nodes + observed */
    int16_t index[FAILOVER_NODES_MAX + 1]; /* id -> node, -1: none */
    struct failover_region_health regions[FAILOVER_REGIONS_MAX];

    usec_t now;           /* of the last tick */
    bool seeing;          /* this node reaches a majority */
    usec_t seen_us;       /* last time while seeing */
    bool started;         /* it did at least once */
    usec_t judge_from_us; /* meaningful while seeing: judges from then on */
    uint32_t reaches;     /* voters */
    uint32_t hears;       /* voters */
};

static inline uint32_t health_majority(uint32_t n)
{
    return n / 2 + 1;
}
static inline bool health_may_judge(const struct failover_health *h)
{
    return h->seeing && h->now >= h->judge_from_us;
}
/* Says of itself that it cannot take writes. */
static inline bool health_troubled(const struct failover_health *h,
                                   const struct watched *w)
{
    const struct failover_self *self = &w->report.self;
    return w->heard &&
           (self->no_space || self->draining ||
            self->disk_stall_ms * USEC_PER_MS >= h->timing.stall_us);
}
static inline bool health_dead(const struct failover_health *h,
                               const struct watched *w)
{
    return h->seeing && h->now - w->reached_us >= h->timing.down_us;
}
/* Position in the topology; -1: not there. */
int health_region_index(const struct failover_topology *t, failover_region r);

#endif
