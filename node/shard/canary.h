/* Planted bugs, for the simulator: `make canary` builds the shard once per name
 * with -DSHARD_CANARY=SHARD_CANARY_<name> and requires that each is caught. In
 * a normal build every SHARD_PLANTED() is the constant 0. See also
 * consensus/canary.h. Internal to node/shard/.
 */
#ifndef BASTIDE_SHARD_CANARY_H
#define BASTIDE_SHARD_CANARY_H

enum shard_canary {
    SHARD_CANARY_NONE,
    SHARD_CANARY_FORGET_OPS,    /* does a repeated operation again */
    SHARD_CANARY_READ_ANYWHERE, /* reads without asking the leader */
    SHARD_CANARY_ANSWER_EARLY,  /* answers writes before they are committed */
    SHARD_CANARY_REFUSE_EARLY,  /* refuses by what may still be lost */
    SHARD_CANARY_SKIP_SALVAGE,  /* throws away what a failover overwrites */
    SHARD_CANARY_ACK_ONE_EARLY, /* answers what the leader alone has: one
                                 * replica too early, where two are needed */
    SHARD_CANARY_FORGET_TOKENS, /* session reads wait for nothing */
    SHARD_CANARY_TOKEN_WITHOUT_EPOCH, /* compares tokens by LSN alone */
    SHARD_CANARY_OWN_CLOCK_ONLY,      /* fresh is who heard the leader lately */
    SHARD_CANARY_UNGOVERNED,          /* keeps no bound */
    SHARD_CANARY_READ_UNACKED,        /* weak reads see what may not stay */
    SHARD_CANARY_CLAIM_NEWER,         /* says it read more than it did */
    SHARD_CANARY_TELL_WITNESS,        /* sends payload to a witness */
    SHARD_CANARY_TELL_COMING,         /* ... to one that does not vote yet */
    SHARD_CANARY_RENEW_BEHIND, /* takes a state in place of a newer one */
    SHARD_CANARY_SPARE_ANYONE, /* a store is put away whoever is left */
};

#ifndef SHARD_CANARY
#define SHARD_CANARY SHARD_CANARY_NONE
#endif

#define SHARD_PLANTED(name) (SHARD_CANARY == SHARD_CANARY_##name)

#endif
