/* Scenario files: what is read, what is refused and with which words, and that
 * everything that ships can be read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <glob.h>

#include "node/base/file.h"
#include "node/scenario/scenario.h"

static struct scenario s;
static struct err_msg msg;

static const char whole[] =
    "name: all-words\n"
    "description: everything that there is\n"
    "needs: {regions: 3, nodes-per-region: 2, level: bounded-staleness,\n"
    "        max-staleness-prefix: 100, max-staleness-interval: 5s}\n"
    "load: {clients: 9, documents: 10, writes-per-second: 40,\n"
    "       reads-per-second: 20, duration: 1m}\n"
    "steps:\n"
    "  - at: 2s\n"
    "    fault: {kind: cut, from: \"{write_region}\", to: \"*\", both: true,\n"
    "            for: 10s}\n"
    "    writes-succeed-within: 5s\n"
    "    reads-succeed-within: 500ms\n"
    "  - after: 1s\n"
    "    clear: all\n"
    "  - switch: \"{next_region}\"\n"
    "    limit: 20s\n"
    "  - restart: \"{write_node}\"\n"
    "  - wait-until: healthy\n"
    "  - wait-until: settled\n"
    "  - wait-until: write-region={read_region}\n"
    "  - consistency: strong\n"
    "  - begin-switch: a\n"
    "  - renew-certificates: {at: \"{read_region}\"}\n"
    "  - rotate-account-key: secondary\n"
    "  - consistency: bounded-staleness\n"
    "    max-staleness-prefix: 7\n"
    "expect:\n"
    "  - no-acknowledged-write-lost: true\n"
    "  - lost-at-most: 7\n"
    "  - write-region-is: \"{write_region}\"\n"
    "  - no-failed-request: true\n"
    "  - errors-only: [429, 503]\n"
    "  - longest-gap-at-most: 3s\n";

static int parse(const char *text)
{
    return scenario_parse("f.yaml", bytes_str(text), &s, &msg);
}

/* ---- reading ----------------------------------------------------------------
 */

static void test_all_words(void **state)
{
    (void)state;
    assert_int_equal(parse(whole), ERR_OK);
    assert_string_equal(s.name, "all-words");
    assert_int_equal(s.regions, 3);
    assert_int_equal(s.nodes_per_region, 2);
    assert_true(s.has_policy);
    assert_int_equal(s.policy.level, CONSISTENCY_BOUNDED);
    assert_int_equal(s.policy.max_staleness_prefix, 100);
    assert_int_equal(s.policy.max_staleness_interval, 5);
    assert_int_equal(s.clients, 9);
    assert_int_equal(s.documents, 10);
    assert_int_equal(s.writes_per_second, 40);
    assert_int_equal(s.reads_per_second, 20);
    assert_int_equal(s.duration_us, 60 * USEC_PER_SEC);
    static const enum scenario_kind kinds[] = {
        SCENARIO_FAULT,  SCENARIO_CLEAR, SCENARIO_SWITCH, SCENARIO_RESTART,
        SCENARIO_WAIT,   SCENARIO_WAIT,  SCENARIO_WAIT,   SCENARIO_CONSISTENCY,
        SCENARIO_SWITCH, SCENARIO_RENEW, SCENARIO_ROTATE, SCENARIO_CONSISTENCY};
    assert_int_equal(s.step_count, 12);
    assert_string_equal(s.steps[10].text, "secondary");
    for (size_t i = 0; i < s.step_count; i++)
        assert_int_equal(s.steps[i].kind, kinds[i]);
    assert_false(s.steps[0].relative);
    assert_int_equal(s.steps[0].at_us, 2 * USEC_PER_SEC);
    assert_int_equal(s.steps[0].line, 8);
    assert_int_equal(s.steps[0].writes_within_us, 5 * USEC_PER_SEC);
    assert_int_equal(s.steps[0].reads_within_us, 500 * USEC_PER_MS);
    assert_true(s.steps[1].relative);
    assert_true(s.steps[8].only_begin && !s.steps[2].only_begin);
    assert_int_equal(s.steps[2].limit_us, 20 * USEC_PER_SEC);
    assert_string_equal(s.steps[6].text, "{read_region}");
    assert_string_equal(s.steps[9].text, "{read_region}");
    assert_int_equal(s.steps[7].policy.level, CONSISTENCY_STRONG);
    assert_int_equal(s.steps[11].policy.level, CONSISTENCY_BOUNDED);
    assert_int_equal(s.steps[11].policy.max_staleness_prefix, 7);
    assert_int_equal(s.steps[11].policy.max_staleness_interval, 0);
    assert_int_equal(s.expect_count, 6);
    assert_int_equal(s.expects[1].number, 7);
    assert_int_equal(s.expects[4].status_count, 2);
    assert_int_equal(s.expects[4].statuses[1], 503);
    scenario_free(&s);
}

static void test_defaults(void **state)
{
    (void)state;
    assert_int_equal(parse("name: a\nsteps:\n  - clear: all\n"), ERR_OK);
    assert_int_equal(s.regions, 1);
    assert_false(s.has_policy);
    assert_true(s.clients > 0 && s.documents > 0 && s.writes_per_second > 0 &&
                s.reads_per_second > 0);
    assert_true(s.steps[0].relative && s.steps[0].at_us == 0);
    assert_true(s.steps[0].limit_us > 0);
    scenario_free(&s);
}

/* Every row: a file and words of its refusal. */
static void test_refusals(void **state)
{
    (void)state;
#define STEPS "name: a\nsteps:\n  - "
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"", "f.yaml: the file is empty"},
        {"a: [", "f.yaml:2: not YAML"},
        {"- a", "f.yaml:1: scenario: expected a mapping"},
        {"name: a\n", "expected a name and at least one step"},
        {"name: A\nsteps: []", "f.yaml:1: name: expected a-z"},
        {"name: a\nnmae: b", "f.yaml:2: scenario: unknown key \"nmae\""},
        {"name: a\nname: b", "f.yaml:2: scenario: duplicate key \"name\""},
        {"name: a\nsteps: 5", "f.yaml:2: steps: expected a list"},
        {"name: a\nneeds: {regions: 0}", "a whole number from 1 to 9"},
        {"name: a\nneeds: {level: weak}", "level: expected strong"},
        {"name: a\nload: {clients: many}", "f.yaml:2: clients: expected"},
        {STEPS "at: 1s", "f.yaml:3: step: expected one of fault, clear"},
        {STEPS "{at: 1s, after: 1s, clear: all}", "at or after, not both"},
        {STEPS "{clear: all, switch: a}", "step: expected one of fault"},
        {STEPS "{at: soon, clear: all}", "f.yaml:3: at: expected a time"},
        {STEPS "{at: 2h, clear: all}", "at: expected a time"},
        {STEPS "{at: 61m, clear: all}", "at: expected a time"},
        {STEPS "{clear: all, writes-succeed-within: 0s}",
         "writes-succeed-within: expected a time that is longer than 0"},
        {STEPS "{clear: all, reads-succeed-within: 0ms}",
         "reads-succeed-within: expected a time that is longer than 0"},
        {STEPS "switch: \"{nowhere}\"", "there is no placeholder {nowhere}"},
        {"name: a\nneeds: {level: strong, max-staleness-prefix: 1}",
         "f.yaml:2: needs: expected bounds only where"},
        {STEPS "{consistency: session, max-staleness-interval: 5s}",
         "step: expected bounds only where the level becomes bounded"},
        {STEPS "{clear: all, max-staleness-prefix: 5}", "expected bounds only"},
        {STEPS "{consistency: bounded-staleness, max-staleness-prefix: 0}",
         "max-staleness-prefix: expected a whole number from 1 to 2147483647"},
        {STEPS "{consistency: bounded-staleness, "
               "max-staleness-interval: 1500ms}",
         "max-staleness-interval: expected whole seconds"},
        {STEPS "rotate-account-key: third", "expected primary or secondary"},
        {STEPS "renew-certificates: a", "renew-certificates: expected a map"},
        {STEPS "renew-certificates: {}", "expected {at: NAME}"},
        {STEPS "renew-certificates: {to: a}", "unknown key \"to\""},
        {STEPS "renew-certificates: {at: \"{no}\"}",
         "at: there is no placeholder {no}"},
        {STEPS "{renew-certificates: {at: a}, restart: a}", "expected one of"},
        {STEPS "wait-until: later", "expected healthy, settled or"},
        {STEPS "wait-until: write-region=", "expected healthy, settled or"},
        {STEPS "fault: cut", "f.yaml:3: fault: expected members"},
        {STEPS "fault: {kind: bang}", "f.yaml:3: fault: "},
        {STEPS "fault: {kind: cut, from: a}", "to"},
        {STEPS "fault: {kind: cut, from: a, to: b, for: [1]}", "one value"},
        {STEPS "fault: {kind: cut, from: \"{x_y}\", to: b}",
         "there is no placeholder {x_y}"},
        {STEPS "clear: all\nexpect: [{lost-at-most: -1}]", "a whole number"},
        {STEPS "clear: all\nexpect: [{no-failed-request: no}]",
         "expected true"},
        {STEPS "clear: all\nexpect: [{errors-only: [200]}]", "from 400 to 599"},
        {STEPS "clear: all\nexpect: [{}]", "one expectation per list item"},
        {STEPS "clear: all\nexpect: [{lost-at-most: 1, "
               "longest-gap-at-most: 1s}]",
         "one expectation per list item"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        msg.text[0] = '\0';
        if (parse(rows[i].text) == ERR_OK ||
            strstr(msg.text, rows[i].words) == NULL)
            fail_msg("row %zu: \"%s\" lacks \"%s\"", i, msg.text,
                     rows[i].words);
        assert_int_equal(s.step_count, 0);
    }
}

static void test_limits(void **state)
{
    (void)state;
    char *text = calloc(1, SCENARIO_FILE_MAX + 2);
    memset(text, '#', SCENARIO_FILE_MAX + 1);
    assert_int_equal(parse(text), ERR_LIMIT);
    strcpy(text, "name: a\nsteps:\n");
    for (int i = 0; i <= SCENARIO_STEPS_MAX; i++)
        strcat(text, "  - clear: all\n");
    assert_int_equal(parse(text), ERR_INVALID);
    free(text);
    /* An alias that holds itself. */
    assert_int_equal(parse("name: a\nsteps: &x [*x]\n"), ERR_INVALID);
}

/* ---- names ------------------------------------------------------------------
 */

static void test_placeholders(void **state)
{
    (void)state;
    struct scenario_names names = {0};
    struct buf out;
    strcpy(names.name[SCENARIO_P_WRITE_REGION], "east");
    buf_init(&out, 1000);
    assert_int_equal(
        scenario_resolve("{\"a\":\"{write_region}-{write_region}\"}", &names,
                         &out, &msg),
        ERR_OK);
    assert_string_equal(buf_cstr(&out), "{\"a\":\"east-east\"}");
    buf_clear(&out);
    assert_int_equal(scenario_resolve("{read_region}", &names, &out, &msg),
                     ERR_NOT_FOUND);
    assert_int_equal(scenario_resolve("{no}", &names, &out, &msg), ERR_INVALID);
    buf_free(&out);
}

static void test_sentences(void **state)
{
    (void)state;
    struct scenario_names names = {0};
    char text[SCENARIO_SENTENCE_MAX];
    strcpy(names.name[SCENARIO_P_WRITE_REGION], "east");
    strcpy(names.name[SCENARIO_P_NEXT_REGION], "west");
    assert_int_equal(parse(whole), ERR_OK);
    scenario_describe_step(&s.steps[0], &names, text);
    assert_non_null(strstr(text, "cut east -> *, both ways"));
    scenario_describe_step(&s.steps[0], NULL, text);
    assert_non_null(strstr(text, "{write_region}"));
    scenario_describe_step(&s.steps[2], &names, text);
    assert_string_equal(text, "switch the writes to west");
    scenario_describe_step(&s.steps[11], NULL, text);
    assert_string_equal(text, "consistency becomes BoundedStaleness, at most 7 "
                              "entries");
    scenario_describe_expect(&s.expects[4], &names, text);
    assert_string_equal(text, "requests fail only with 429, 503");
    for (size_t i = 0; i < s.step_count; i++)
        scenario_describe_step(&s.steps[i], &names, text);
    for (size_t i = 0; i < s.expect_count; i++)
        scenario_describe_expect(&s.expects[i], &names, text);
    scenario_free(&s);
}

static void test_shipped(void **state)
{
    (void)state;
    glob_t found;
    assert_int_equal(glob("deploy/scenarios/*.yaml", 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= 12);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct buf text;
        buf_init(&text, SCENARIO_FILE_MAX);
        assert_int_equal(file_read(found.gl_pathv[i], false, &text, &msg),
                         ERR_OK);
        if (scenario_parse(found.gl_pathv[i],
                           bytes_of(buf_bytes(&text), buf_len(&text)), &s,
                           &msg) != ERR_OK)
            fail_msg("%s", msg.text);
        /* The file is called like the scenario. */
        const char *slash = strrchr(found.gl_pathv[i], '/') + 1;
        assert_int_equal(strncmp(slash, s.name, strlen(s.name)), 0);
        assert_true(s.description[0] != '\0');
        scenario_free(&s);
        buf_free(&text);
    }
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_words),    cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_refusals),     cmocka_unit_test(test_limits),
        cmocka_unit_test(test_placeholders), cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_shipped),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
