#include "failover/nearest.h"

#include <stddef.h>

/* Rank among those about as near: lower is better. */
static int rank(const struct nearest_candidate *c)
{
    return (c->neighbour ? 0 : 2) + (c->leads ? 1 : 0);
}

uint32_t nearest_of(const struct nearest_candidate *list, uint32_t n)
{
    const struct nearest_candidate *best = NULL;
    uint32_t least = UINT16_MAX;
    for (uint32_t i = 0; i < n; i++)
        if (list[i].rtt_ms < least)
            least = list[i].rtt_ms;
    for (uint32_t i = 0; i < n; i++)
        if (list[i].rtt_ms <= least + NEAREST_SAME_MS &&
            (best == NULL || rank(&list[i]) < rank(best)))
            best = &list[i];
    return best != NULL ? best->node : 0;
}
