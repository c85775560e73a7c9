/* Any file: a scenario or a message. What is read can be described in any room,
 * with and without names. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "node/base/check.h"
#include "node/scenario/scenario.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct scenario s;
    struct scenario_names names = {0};
    struct err_msg msg = {""};
    char text[SCENARIO_SENTENCE_MAX];
    for (size_t i = 0; i + 1 < SCENARIO_PLACEHOLDERS; i++)
        strcpy(names.name[i], "somewhere"); /* the last is not known */
    int err = scenario_parse("f", bytes_of(data, size), &s, &msg);
    CHECK_IMPLIES(err != ERR_OK, msg.text[0] != '\0');
    for (size_t i = 0; i < s.step_count; i++) {
        scenario_describe_step(&s.steps[i], NULL, text);
        scenario_describe_step(&s.steps[i], &names, text);
        CHECK(strlen(text) > 0);
    }
    for (size_t i = 0; i < s.expect_count; i++) {
        scenario_describe_expect(&s.expects[i], NULL, text);
        scenario_describe_expect(&s.expects[i], &names, text);
        CHECK(strlen(text) > 0);
    }
    scenario_free(&s);
    return 0;
}
