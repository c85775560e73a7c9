/* What is told of a scenario that was played: as text, JSON, JUnit XML, and the
 * history for bug reports. */
#ifndef BASTIDE_CLI_FAULT_REPORT_H
#define BASTIDE_CLI_FAULT_REPORT_H

#include <stdio.h>

#include "node/cli/fault_judge.h"
#include "node/cli/fault_watch.h"

struct fault_report {
    const struct fault_record *record;
    const struct fault_result *result;
    const struct fault_note *notes;
    size_t note_count;
    uint64_t seed;
    const char *container; /* "database/container" */
};

void fault_report_text(FILE *out, const struct fault_report *r);
void fault_report_json(FILE *out, const struct fault_report *r);
/* One test case per expectation. Errors of file_replace. */
int fault_report_junit(const char *path, const struct fault_report *r,
                       struct err_msg *msg);
/* JSON lines: one per operation, then what else the checkers know. */
int fault_report_history(const char *path, const struct fault_report *r,
                         struct err_msg *msg);

#endif
