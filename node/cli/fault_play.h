/* Plays the steps of a scenario against a running cluster, and undoes them. */
#ifndef BASTIDE_CLI_FAULT_PLAY_H
#define BASTIDE_CLI_FAULT_PLAY_H

#include <signal.h>

#include "node/cli/fault_load.h"
#include "node/cli/fault_watch.h"
#include "node/scenario/scenario.h"

#define FAULT_NOT_PLAYED (-1)
#define FAULT_PROMISES_MAX (2 * SCENARIO_STEPS_MAX + 2)

struct fault_play {
    const struct scenario *scenario;
    const char *dir;      /* of the cluster */
    struct auth_key *key; /* of all requests but the load's */
    struct reach *reach;
    struct scenario_names names;
    struct fault_watch *watch;
    struct fault_load *load;
    const volatile sig_atomic_t *stop; /* becomes 1: stop playing */
    char run[INJECT_ID_MAX - 8];       /* begins the ids of its faults */

    /* When each step began, since the load did, or a fault was told to all who
     * have use for it; FAULT_NOT_PLAYED. */
    usec_t step_us[SCENARIO_STEPS_MAX];
    usec_t ended_us;
    char ids[SCENARIO_STEPS_MAX][INJECT_ID_MAX + 1]; /* of active faults */
    size_t id_count;
    struct hist_promise promises[FAULT_PROMISES_MAX];
    size_t promise_count;
    bool moved; /* the writes, on purpose */
};

/* Finds what the placeholders stand for. What is not known stays "". */
void fault_play_names(struct reach *r, const struct topology *t,
                      struct scenario_names *names_out);

/* What the account promises when the load begins. */
void fault_play_promise_first(struct fault_play *p,
                              const struct consistency_policy *policy);
/* What a cluster's account has. */
struct consistency_policy fault_play_policy_of(const struct topology *t);
/* Sets the account's level, with its bounds, and waits until it holds. While
 * the load runs, the promise that this changes is remembered. ERR_TIMEOUT,
 * ERR_CANCELLED, errors of reach_any. */
int fault_play_level(struct fault_play *p,
                     const struct consistency_policy *want, usec_t limit_us,
                     struct err_msg *msg);
/* Moves the writes and waits for it; a planned switch. Likewise. */
int fault_play_switch(struct fault_play *p, const char *region, usec_t limit_us,
                      struct err_msg *msg);
/* Waits until all nodes answer and find all well. Likewise. */
int fault_play_wait_well(struct fault_play *p, usec_t limit_us,
                         struct err_msg *msg);

/* Waits until nothing that was cut off is any more, and all have caught up
 * (struct fault_view, rejoined). Likewise. */
int fault_play_wait_rejoined(struct fault_play *p, usec_t limit_us,
                             struct err_msg *msg);

/* All steps, and what is left of the duration. ERR_CANCELLED: `stop`. Otherwise
 * the message begins with the line of the step that failed. */
int fault_play_run(struct fault_play *p, struct err_msg *msg);

/* Clears every fault that it added. ERR_UNAVAILABLE: a node did not answer, in
 * three attempts. */
int fault_play_heal(struct fault_play *p, struct err_msg *msg);

#endif
