/* Planted bugs, as in consensus/canary.h: built with
 * -DFAILOVER_CANARY=FAILOVER_CANARY_<name>, each must be caught by the unit
 * tests or the simulator. In a normal build CANARY() is 0.
 *
 * Internal to failover/. */
#ifndef BASTIDE_FAILOVER_CANARY_H
#define BASTIDE_FAILOVER_CANARY_H

enum failover_canary {
    FAILOVER_CANARY_NONE,
    FAILOVER_CANARY_IGNORE_PRIORITY, /* takes the last eligible region */
    FAILOVER_CANARY_ONE_WORD,        /* believes a single observer */
    FAILOVER_CANARY_NO_HYSTERESIS,   /* down at once, up at once */
    FAILOVER_CANARY_FAILBACK_BEHIND, /* fails back without catching up */
    FAILOVER_CANARY_LATE,            /* waits to be sure (the simulator's) */
    FAILOVER_CANARY_NEVER_UP,        /* never trusts again (likewise) */
};

#ifndef FAILOVER_CANARY
#define FAILOVER_CANARY FAILOVER_CANARY_NONE
#endif

#define CANARY(name) (FAILOVER_CANARY == FAILOVER_CANARY_##name)

#endif
