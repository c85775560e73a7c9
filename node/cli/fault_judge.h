/* What came of a scenario: how long clients waited, what was lost, which
 * expectations held. Pure: a function of what was recorded. */
#ifndef BASTIDE_CLI_FAULT_JUDGE_H
#define BASTIDE_CLI_FAULT_JUDGE_H

#include "node/cli/fault_load.h"
#include "node/scenario/scenario.h"

#define FAULT_RULES 5 /* checkers of node/history/observed.h */
/* Each step may have two; and: played, served, healed, read. */
#define FAULT_VERDICTS_MAX                                                     \
    (SCENARIO_EXPECTS_MAX + 2 * SCENARIO_STEPS_MAX + FAULT_RULES + 4)
#define FAULT_WHY_MAX 512
#define FAULT_NEVER INT64_MAX

struct fault_verdict {
    char what[SCENARIO_SENTENCE_MAX + 64];
    bool held;
    char why[FAULT_WHY_MAX]; /* measured, or what was wrong */
};

/* What was recorded. Borrowed. */
struct fault_record {
    const struct scenario *scenario;
    const struct scenario_names *names;
    const struct fault_cluster *cluster;
    unsigned clients;
    const usec_t *step_us; /* negative: not played */
    usec_t end_us;         /* of the load */
    const struct observed *history;
    const struct fault_failure *failures;
    size_t failure_count;
    char write_region[CONFIG_NAME_MAX + 1]; /* in the end */
    /* What went wrong on the way; "": nothing. */
    const char *play_error, *heal_error, *read_error;
};

struct fault_result {
    uint64_t writes, reads; /* acknowledged, answered */
    /* The longest time without an acknowledged write, from the beginning to the
     * end of the load, and when it began. */
    usec_t gap_us, gap_from_us;
    /* Per step: until every client had a write acknowledged that it had asked
     * for since; FAULT_NEVER: one had none; negative: not played. */
    usec_t rto_us[SCENARIO_STEPS_MAX];
    struct observed_loss loss;
    struct fault_verdict verdicts[FAULT_VERDICTS_MAX];
    size_t verdict_count;
    bool held; /* all of them */
};

void fault_judge(const struct fault_record *r, struct fault_result *out);

/* "503", "429", "connection lost", "no answer", ... `out` has room for those
 * that are made. */
const char *fault_failure_word(int status, char out[16]);

#endif
