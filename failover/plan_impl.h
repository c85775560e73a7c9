/* Internal to failover/: what rank.c and plan.c share. */
#ifndef BASTIDE_FAILOVER_PLAN_IMPL_H
#define BASTIDE_FAILOVER_PLAN_IMPL_H

#include "failover/plan.h"

/* The group's voters, and those of them that take part. */
struct plan_voters {
    uint32_t all;
    uint32_t alive;
};
struct plan_voters plan_count_voters(const struct failover_health *h,
                                     const struct failover_group *g);
static inline bool plan_has_majority(struct plan_voters v)
{
    return v.all > 0 && v.alive >= v.all / 2 + 1;
}

bool plan_in_group(const struct failover_group *g, failover_region r);

#endif
