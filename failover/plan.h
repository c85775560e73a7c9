/* What to do about it: from health and the group's record to a decision with
 * its reason. Functions of their arguments; nothing is remembered. "Now" is the
 * last tick of health.
 *
 * The caller runs this on the meta shard's leader, proposes what comes out as
 * a new group record that applies only if the epoch is still `expected_epoch`,
 * and asks again when that is committed or has failed. Asking in between is
 * harmless: the same situation gives the same plan.
 *
 * ## The move table
 *
 * The group is in one of three phases, taken from its record:
 *   STEADY   every shard follows the record
 *   PLANNED  a planned switch to `write_region` is under way
 *   FORCED   a forced one is
 * and in one situation, the first of these that holds:
 *   BLIND    this node may not judge (health.h)
 *   LOST     the write region is DOWN and lost
 *   LEFT     PLANNED, and the region it comes from is DOWN and lost, or still
 *            ILL after `escalate_us`. Not under the rule "commit": there a
 *            majority elects without that region
 *   SICK     the write region is ILL
 *   BETTER   fail-back is automatic, no operator has chosen otherwise, and a
 *            region before the write region on the list is UP, and well and
 *            caught up for `failback_us`
 *   CALM     none of these
 *
 *            BLIND  LOST    LEFT      SICK     BETTER    CALM
 *   STEADY   wait   force   -         move     failback  -
 *   PLANNED  wait   force   escalate  move     wait      wait
 *   FORCED   wait   force   -         move     wait      wait
 *
 *   force     forced switch to the best candidate
 *   escalate  forced switch to the region the planned one goes to
 *   move      planned switch to the best candidate, not before `dwell_us` after
 *             the last decision
 *   failback  planned switch to that region, likewise
 *
 * A forced switch can lose what the write region acknowledged alone (never
 * under the rule "commit"); so it is used only where a planned one cannot
 * work. A planned switch that is slow for another reason is left alone: every
 * shard is served all the while.
 *
 * ## The best candidate
 *
 * Of the group's regions (the fence: no other is ever considered) the first by
 * priority that passes all of:
 *   1. it is not the write region, and has voters;
 *   2. it is not DOWN, 3. not ILL, 4. not SUSPECT;
 *   5. planned switches and fail-back: it is caught up (`caught_up_ms`);
 *   6. fail-back: it is that since `failback_us`, as it is well.
 * Four additions:
 *  - A forced switch waits for a SUSPECT region with higher priority to be one
 *    or the other, at most `down_us` from when the write region went DOWN: when
 *    several regions are lost at once, some are noticed a moment earlier.
 *  - A move away from an ill region takes the first that passes 1 to 4 if none
 *    is caught up: the switch itself waits until it is.
 *  - If none passes, a region in whose return we do not trust yet (DOWN or ILL,
 *    but well for `down_us`) is taken for a forced switch: better than none.
 *  - Without a majority of the group's voters alive no switch can succeed:
 *    none is planned, and `unavailable` says what to do.
 *
 * ## Declaring regions down
 *
 * Apart from that, the record lists the regions that do not take part: those
 * DOWN or ILL; the write region only while it is DOWN and lost. A region leaves
 * the list after it was well for its up_us in this node's own eyes, so a new
 * leader does not take the old one's word back at once. Changes go with a
 * switch in the same record, or alone.
 */
#ifndef BASTIDE_FAILOVER_PLAN_H
#define BASTIDE_FAILOVER_PLAN_H

#include "failover/health.h"

/* What the group's committed record says, and since when. */
struct failover_group {
    const char *name; /* for texts; borrowed for the call */
    uint32_t n_regions;
    failover_region regions[FAILOVER_REGIONS_MAX]; /* by priority */
    /* A node outside of these regions, whose vote counts for the group's
     * majority, as those of its neighbours do not: docs/witness.md. 0: none. */
    uint32_t witness;
    /* Likewise, the one whose place it takes, until all shards have made that
     * step; 0: none. */
    uint32_t witness_leaving;
    failover_region write_region;
    failover_region from_region; /* before the last switch; 0: unknown */
    uint32_t epoch;
    bool commit_rule;  /* every shard acknowledges at commit_lsn (strong) */
    bool forced;       /* how the last switch was made */
    bool settled;      /* every shard follows the record */
    usec_t changed_us; /* when this node learned of this epoch */
    bool failback;     /* automatic */
    bool pinned;       /* an operator chose the write region: no fail-back until
                        * that region is lost or the list is changed */
    uint32_t n_down;
    failover_region down[FAILOVER_REGIONS_MAX]; /* declared, any order */
};

#define FAILOVER_VERDICT_LIST(X)                                               \
    X(CHOSEN, "chosen")                                                        \
    X(LATER, "could, but another comes first")                                 \
    X(CURRENT, "is the write region")                                          \
    X(NO_VOTER, "has no voter")                                                \
    X(DOWN, "is down")                                                         \
    X(ILL, "is ill")                                                           \
    X(SUSPECT, "may be down")                                                  \
    X(BEHIND, "is not caught up")                                              \
    X(NEWLY_WELL, "is well again, but not for long enough")                    \
    X(NO_MAJORITY, "no majority of the group's voters is alive")               \
    X(NOT_PREFERRED, "comes after the write region")                           \
    X(OUTSIDE, "is not a region of this group")

enum failover_verdict {
#define FAILOVER_VERDICT_ENUM(name, text) FAILOVER_##name##_VERDICT,
    FAILOVER_VERDICT_LIST(FAILOVER_VERDICT_ENUM)
#undef FAILOVER_VERDICT_ENUM
};
/* "CHOSEN"; and the text above. */
const char *failover_verdict_name(enum failover_verdict verdict);
const char *failover_verdict_text(enum failover_verdict verdict);

enum failover_purpose {
    FAILOVER_FOR_FORCED,   /* the write region is gone */
    FAILOVER_FOR_PLANNED,  /* it is ill */
    FAILOVER_FOR_FAILBACK, /* only regions before it on the list */
};

struct failover_ranking {
    failover_region chosen; /* 0: none */
    bool wait;              /* forced: none yet, a SUSPECT one comes first */
    bool last_resort;       /* chosen although not UP */
    uint32_t n;             /* all regions of the group, by priority */
    struct {
        failover_region region;
        enum failover_verdict verdict;
        char reason[FAILOVER_REASON_MAX]; /* the verdict with its figures */
    } regions[FAILOVER_REGIONS_MAX];
};

/* Ranks all regions of the group. */
void failover_rank(const struct failover_health *h,
                   const struct failover_group *g,
                   enum failover_purpose purpose,
                   struct failover_ranking *ranking_out);

/* Whether an operator's switch to `to` can succeed, for `bastide region
 * switch`. ERR_OK; else `verdict_out` and `reason_out` say why not:
 * ERR_NOT_FOUND (OUTSIDE), ERR_EXISTS (CURRENT), ERR_UNAVAILABLE (anything
 * else). A planned switch needs a region that is UP and caught up; with `force`
 * one that is not lost will do. */
int failover_check_switch(const struct failover_health *h,
                          const struct failover_group *g, failover_region to,
                          bool force, enum failover_verdict *verdict_out,
                          char reason_out[FAILOVER_REASON_MAX]);

enum failover_phase { FAILOVER_STEADY, FAILOVER_PLANNED, FAILOVER_FORCED };
enum failover_situation {
    FAILOVER_BLIND,
    FAILOVER_LOST,
    FAILOVER_LEFT,
    FAILOVER_SICK,
    FAILOVER_BETTER,
    FAILOVER_CALM,
    FAILOVER_SITUATIONS
};
enum failover_action {
    FAILOVER_NONE,    /* nothing to propose; `reason` may say what is awaited */
    FAILOVER_DECLARE, /* only the list of down regions changes */
    FAILOVER_FORCE,   /* forced switch to `to` */
    FAILOVER_ESCALATE, /* forced switch to where a planned one goes */
    FAILOVER_MOVE,     /* planned switch to `to` */
    FAILOVER_FAILBACK, /* planned switch to `to` */
};
const char *failover_situation_name(enum failover_situation situation);
const char *failover_action_name(enum failover_action action);

struct failover_plan {
    enum failover_action action;
    enum failover_situation situation;
    uint32_t expected_epoch; /* propose only while this is the record's epoch.
                              * A switch makes it one more, DECLARE keeps it */
    failover_region to;      /* switches; 0 otherwise */
    bool pinned;             /* for the new record: a switch of ours unpins */
    uint32_t n_down;         /* the list for the new record; without an action
                              * it is the committed one, as a set */
    failover_region down[FAILOVER_REGIONS_MAX];
    char reason[FAILOVER_REASON_MAX]; /* for log, audit record and status */
    struct failover_ranking ranking;  /* of a switch or fail-back, also one
                                       * not possible; n == 0: none was due */
    char unavailable[FAILOVER_REASON_MAX]; /* "": writes are possible as far as
        this node can tell. Else why not and until when, for status and 503.
        Filled on every node, blind ones included */
};

/* Decides. */
void failover_decide(const struct failover_health *h,
                     const struct failover_group *g,
                     struct failover_plan *plan_out);

#endif
