/* Which of several nodes should send something large to another: by measured
 * round trips, so that the fewest bytes go far. Pure. */
#ifndef BASTIDE_FAILOVER_NEAREST_H
#define BASTIDE_FAILOVER_NEAREST_H

#include <stdbool.h>
#include <stdint.h>

struct nearest_candidate {
    uint32_t node;
    uint16_t rtt_ms; /* to the receiver, as the receiver reports it;
                      * FAILOVER_NEVER_MS: not known */
    bool neighbour;  /* of the receiver's region */
    bool leads;      /* has enough to do */
};

/* The node of the best of them, 0 when there are none: the nearest; of those
 * about as near (within NEAREST_SAME_MS), neighbours before others, then those
 * who do not lead, then the first in the list. Who was not measured is
 * farthest. */
#define NEAREST_SAME_MS 10
uint32_t nearest_of(const struct nearest_candidate *list, uint32_t n);

#endif
