/* What is measured of a scenario and which expectations hold, with records made
 * by hand: each expectation once held and once broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "node/cli/fault_judge.h"

#define MS USEC_PER_MS

static struct scenario s;
static struct scenario_names names;
static struct fault_cluster cluster;
static struct observed history;
static struct fault_failure failures[2];
static usec_t step_us[SCENARIO_STEPS_MAX];
static struct fault_record record;
static struct fault_result result;

static void begin(const char *steps_and_expectations)
{
    char text[2000];
    struct err_msg msg;
    snprintf(text, sizeof(text), "name: a\nsteps:\n%s", steps_and_expectations);
    scenario_free(&s);
    if (scenario_parse("f", bytes_str(text), &s, &msg) != ERR_OK)
        fail_msg("%s", msg.text);
    observed_free(&history);
    observed_promise(&history,
                     &(struct hist_promise){.level = CONSISTENCY_SESSION});
    strcpy(names.name[SCENARIO_P_WRITE_REGION], "east");
    strcpy(names.name[SCENARIO_P_NEXT_REGION], "west");
    cluster = (struct fault_cluster){.region_count = 2,
                                     .regions = {{"east", ""}, {"west", ""}}};
    memset(step_us, 0, sizeof(step_us));
    record = (struct fault_record){.scenario = &s,
                                   .names = &names,
                                   .cluster = &cluster,
                                   .clients = 2,
                                   .step_us = step_us,
                                   .end_us = 10000 * MS,
                                   .history = &history,
                                   .failures = failures,
                                   .write_region = "east",
                                   .play_error = "",
                                   .heal_error = "",
                                   .read_error = ""};
}

/* A write of a client, from `from_ms` until it is acknowledged. */
static uint64_t write_of(unsigned client, int from_ms, int to_ms, uint64_t lsn)
{
    struct hist_op op = {
        .kind = LINEAR_UPSERT, .session = client, .called_us = from_ms * MS};
    uint64_t n = observed_called(&history, &op);
    op.answered_us = to_ms * MS;
    op.at.lsn = lsn;
    observed_answered(&history, n, &op);
    return n;
}

static void read_of(unsigned client, int from_ms, int to_ms)
{
    struct hist_op op = {.kind = LINEAR_READ,
                         .session = client,
                         .key = 1,
                         .called_us = from_ms * MS};
    uint64_t n = observed_called(&history, &op);
    op.answered_us = to_ms * MS;
    op.result = ERR_NOT_FOUND;
    op.at.lsn = 4;
    observed_answered(&history, n, &op);
}

/* Enough of a load for everything to hold. */
static void work(void)
{
    uint64_t op = write_of(0, 1, 2, 5);
    read_of(1, 0, 1);
    observed_end(&history, &(struct hist_end){.version = op, .at = {.lsn = 9}});
}

/* The verdict that has these words. */
static const struct fault_verdict *find(const char *words)
{
    for (size_t i = 0; i < result.verdict_count; i++)
        if (strstr(result.verdicts[i].what, words) != NULL)
            return &result.verdicts[i];
    fail_msg("no verdict \"%s\"", words);
    return NULL;
}

#define STEP "  - {at: 1s, clear: all, writes-succeed-within: 500ms}\n"

static void test_every_client_has_to_write_again(void **state)
{
    (void)state;
    begin(STEP);
    step_us[0] = 1000 * MS;
    write_of(0, 1100, 1200, 1);
    write_of(1, 900, 1300, 2); /* asked for before */
    write_of(1, 1350, 1400, 3);
    fault_judge(&record, &result);
    assert_int_equal(result.rto_us[0], 400 * MS);
    assert_true(find("writes succeed within 0.5 s")->held);
    begin(STEP);
    step_us[0] = 1000 * MS;
    write_of(0, 1100, 1200, 1);
    write_of(1, 1350, 1501, 2);
    fault_judge(&record, &result);
    assert_false(find("writes succeed within")->held);
    assert_non_null(strstr(find("writes succeed within")->why, "1 of west"));
    assert_false(result.held);
    begin(STEP);
    step_us[0] = 1000 * MS;
    write_of(0, 1100, 1200, 1);
    fault_judge(&record, &result);
    assert_true(result.rto_us[0] == FAULT_NEVER);
    assert_false(find("writes succeed within")->held);
    /* A step that was never played has not succeeded. */
    step_us[0] = -1;
    fault_judge(&record, &result);
    assert_false(find("writes succeed within")->held);
}

static void test_gap(void **state)
{
    (void)state;
    begin("  - clear: all\n");
    write_of(0, 4000, 4500, 1);
    record.end_us = 5000 * MS;
    fault_judge(&record, &result);
    /* So does the time before the first. */
    assert_int_equal(result.gap_us, 4500 * MS);
    assert_int_equal(result.gap_from_us, 0);
    begin("  - clear: all\n");
    fault_judge(&record, &result);
    assert_int_equal(result.gap_us, 10000 * MS);
    for (int end_ms = 5000; end_ms <= 8000; end_ms += 3000) {
        begin("  - clear: all\nexpect: [{longest-gap-at-most: 4s}]\n");
        write_of(0, 900, 1000, 1);
        write_of(1, 1, 5000, 3); /* answered last */
        write_of(0, 2, 3000, 2);
        record.end_us = end_ms * MS;
        fault_judge(&record, &result);
        /* Until the end counts, too. */
        assert_int_equal(result.gap_us, end_ms == 5000 ? 2000 * MS : 3000 * MS);
        assert_true(find("every 4.0 s")->held);
    }
    record.end_us = 9001 * MS;
    fault_judge(&record, &result);
    assert_false(find("every 4.0 s")->held);
    assert_int_equal(result.gap_from_us, 5000 * MS);
}

static void test_losses(void **state)
{
    (void)state;
    begin("  - clear: all\nexpect: [{no-acknowledged-write-lost: true}, "
          "{lost-at-most: 1}]\n");
    uint64_t op = write_of(0, 1, 2, 5);
    read_of(1, 0, 1);
    observed_end(&history, &(struct hist_end){.version = op, .at = {.lsn = 9}});
    fault_judge(&record, &result);
    assert_true(result.held);
    /* Lost to a forced switch, and found in the feed. */
    history.ends[0] = (struct hist_end){.at = {.lsn = 9, .term = 2ULL << 32}};
    observed_switch(&history,
                    &(struct hist_switch){.epoch = 2, .forced = true});
    observed_conflict(&history,
                      &(struct hist_conflict){.version = op, .at = {.lsn = 5}});
    fault_judge(&record, &result);
    assert_false(find("no acknowledged write")->held);
    assert_true(find("at most 1 ")->held);
    assert_true(find("acknowledged writes are there")->held);
    assert_int_equal(result.loss.in_feed, 1);
    /* Not in the feed: the rule is broken. */
    history.n_conflicts = 0;
    fault_judge(&record, &result);
    assert_false(find("acknowledged writes are there")->held);
    /* What could not be read may be lost. */
    history.ends[0].version = op;
    record.read_error = "document 7: no answer";
    fault_judge(&record, &result);
    assert_false(find("no acknowledged write")->held);
    assert_false(find("every document")->held);
}

static void test_failures(void **state)
{
    (void)state;
    begin("  - clear: all\nexpect: [{errors-only: [503]}, "
          "{no-failed-request: true}]\n");
    work();
    fault_judge(&record, &result);
    assert_true(result.held);
    record.failure_count = 2;
    failures[0].status = 503;
    failures[1].status = BENCH_LOST;
    fault_judge(&record, &result);
    assert_true(find("requests fail only with 503")->held);
    assert_false(find("no request fails")->held);
    failures[1].status = 500;
    fault_judge(&record, &result);
    assert_false(find("requests fail only with 503")->held);
}

static void test_region_and_errors(void **state)
{
    (void)state;
    begin("  - clear: all\nexpect: [{write-region-is: \"{write_region}\"}]\n");
    work();
    fault_judge(&record, &result);
    assert_true(result.held);
    strcpy(record.write_region, "west");
    fault_judge(&record, &result);
    assert_false(find("writes go to east")->held);
    strcpy(record.write_region, "east");
    record.play_error = "step of line 3: no";
    fault_judge(&record, &result);
    assert_false(find("every step")->held);
    record.play_error = "";
    record.heal_error = "eastus-1 does not answer";
    fault_judge(&record, &result);
    assert_false(find("without the faults")->held);
    assert_false(result.held);
}

/* What nobody asked for has not been checked. */
static void test_a_load_that_does_nothing_does_not_hold(void **state)
{
    (void)state;
    begin("  - clear: all\n");
    fault_judge(&record, &result);
    assert_false(find("all clients are served")->held);
    assert_string_equal(find("all clients")->why, "0 writes, 0 reads");
    assert_false(result.held);
    write_of(0, 1, 2, 4);
    read_of(0, 3, 4);
    fault_judge(&record, &result);
    assert_false(find("all clients")->held);
    assert_string_equal(find("all clients")->why, "client 1 of west never was");
    read_of(1, 5, 6);
    fault_judge(&record, &result);
    assert_true(find("all clients")->held);
    assert_string_equal(find("are there, or lost")->why, "1 checked");
    assert_string_equal(find("a prefix")->why, "2 checked");
    assert_string_equal(find("linearizable")->why, "0 checked");
    assert_string_equal(find("sessions read")->why, "3 checked");
    assert_string_equal(find("bounded reads")->why, "0 checked");
    /* The play ended too early for that. */
    begin("  - clear: all\n");
    record.play_error = "step of line 3: no";
    fault_judge(&record, &result);
    for (size_t i = 0; i < result.verdict_count; i++)
        assert_null(strstr(result.verdicts[i].what, "all clients"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_client_has_to_write_again),
        cmocka_unit_test(test_gap),
        cmocka_unit_test(test_a_load_that_does_nothing_does_not_hold),
        cmocka_unit_test(test_losses),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_region_and_errors),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    scenario_free(&s);
    observed_free(&history);
    return failed;
}
