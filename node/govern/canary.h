/* Planted bugs for the simulator, as in consensus/canary.h: built with
 * -DGOVERN_CANARY=..., each must be caught. In a normal build GOVERN_PLANTED()
 * is 0. Internal to node/govern/. */
#ifndef BASTIDE_GOVERN_CANARY_H
#define BASTIDE_GOVERN_CANARY_H

enum govern_canary {
    GOVERN_CANARY_NONE,
    GOVERN_CANARY_SAME_EPOCH,   /* a switch is no new epoch */
    GOVERN_CANARY_STAY,         /* leaders stay outside the write region */
    GOVERN_CANARY_TELL_EARLY,   /* tells a planned decision before it is made */
    GOVERN_CANARY_REMOVE_FIRST, /* who goes is gone before who comes votes */
    GOVERN_CANARY_PROMOTE_FAR,  /* who comes votes before it has caught up */
    GOVERN_CANARY_CHANGE_WHILE_REBUILT, /* voters change while one is rebuilt */
    GOVERN_CANARY_META_AT_ONCE, /* who goes leaves the meta shard unheard */
    GOVERN_CANARY_ANYWHERE,     /* leaders stay where they were elected */
};

#ifndef GOVERN_CANARY
#define GOVERN_CANARY GOVERN_CANARY_NONE
#endif

#define GOVERN_PLANTED(name) (GOVERN_CANARY == GOVERN_CANARY_##name)

#endif
