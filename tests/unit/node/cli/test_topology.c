/* What nodes say of the topology is read whole, or partly, or refused; and
 * shown so that the important things are seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/cli/topology.h"

static const char whole[] =
    "{\"cluster\":\"demo\",\"node\":\"b-1\",\"from\":\"a-1\","
    "\"level\":\"BoundedStaleness\",\"max_staleness_prefix\":100,"
    "\"max_staleness_interval\":5,\"epoch\":3,\"write_region\":\"b\","
    "\"settled\":true,\"forced\":true,\"failback\":\"automatic\","
    "\"recovered\":0,\"regions\":["
    "{\"name\":\"a\",\"priority\":0,\"state\":\"down\",\"reason\":\"no answer"
    "\\u001b[2J\",\"nodes\":[{\"name\":\"a-1\",\"state\":\"down\","
    "\"reason\":\"no answer\",\"behind_ms\":null,\"behind_entries\":null}]},"
    "{\"name\":\"b\",\"priority\":1,\"state\":\"up\",\"reason\":\"\","
    "\"nodes\":[{\"name\":\"b-1\",\"state\":\"up\",\"reason\":\"\","
    "\"behind_ms\":0,\"behind_entries\":0},{\"name\":\"b-2\","
    "\"state\":\"up\",\"reason\":\"\",\"behind_ms\":1500,"
    "\"behind_entries\":7}]}],"
    "\"at_risk\":{\"entries\":12,\"seconds\":0.25},"
    "\"unavailable\":\"writes stop: no "
    "majority\",\"last_switch\":{\"from\":\"a\","
    "\"to\":\"b\",\"kind\":\"forced\",\"pause_ms\":41,\"lost_entries\":null,"
    "\"at\":\"2026-11-22T16:13:22.123456Z\"}}";

static int read_text(const char *text, struct topology *out)
{
    struct json j;
    json_init(&j);
    assert_int_equal(json_parse(&j, bytes_str(text), JSON_TEXT_MAX, NULL),
                     ERR_OK);
    int err = topology_parse(&j, out, NULL);
    json_free(&j);
    return err;
}

static void every_member_is_read(void **state)
{
    (void)state;
    static struct topology t;
    assert_int_equal(read_text(whole, &t), ERR_OK);
    assert_string_equal(t.cluster, "demo");
    assert_string_equal(t.write_region, "b");
    assert_int_equal(t.level, CONSISTENCY_BOUNDED);
    assert_int_equal(t.prefix, 100);
    assert_int_equal(t.interval, 5);
    assert_int_equal(t.epoch, 3);
    assert_true(t.settled && t.forced && t.failback_automatic);
    assert_int_equal(t.region_count, 2);
    const struct topology_region *b = topology_find(&t, "b");
    assert_non_null(b);
    assert_null(topology_find(&t, "c"));
    assert_int_equal(topology_behind_ms(b), 1500);
    assert_int_equal(topology_behind_entries(b), 7);
    assert_int_equal(topology_behind_ms(&t.regions[0]), TOPOLOGY_UNKNOWN);
    assert_int_equal(t.risk_entries, 12);
    assert_true(t.risk_seconds > 0.24 && t.risk_seconds < 0.26);
    assert_string_equal(t.unavailable, "writes stop: no majority");
    assert_true(t.last_switch.known);
    assert_int_equal(t.last_switch.pause_ms, 41);
    assert_int_equal(t.last_switch.lost_entries, TOPOLOGY_UNKNOWN);
}

static void what_is_missing_is_not_known(void **state)
{
    (void)state;
    static struct topology t;
    assert_int_equal(
        read_text("{\"level\":\"strong\",\"regions\":[{\"name\":\"a\"}],"
                  "\"unavailable\":null,\"at_risk\":null}",
                  &t),
        ERR_OK);
    assert_int_equal(t.risk_entries, TOPOLOGY_UNKNOWN);
    assert_string_equal(t.unavailable, "");
    assert_false(t.last_switch.known);
    assert_false(t.settled);
    assert_int_equal(read_text("{\"regions\":[]}", &t), ERR_PROTOCOL);
    assert_int_equal(read_text("{\"level\":\"Strong\"}", &t), ERR_PROTOCOL);
    assert_int_equal(read_text("[]", &t), ERR_PROTOCOL);
}

static void warnings_are_shown_and_cannot_steer_the_terminal(void **state)
{
    (void)state;
    static struct topology t;
    char *text = NULL;
    size_t len = 0;
    assert_int_equal(read_text(whole, &t), ERR_OK);
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    topology_print(out, &t, false);
    topology_print_region(out, &t, &t.regions[0]);
    fclose(out);
    assert_null(strchr(text, '\033'));
    assert_non_null(strstr(text, "Writes go to b (epoch 3, forced)"));
    assert_non_null(strstr(text, "bounded-staleness (100 entries, 5 s)"));
    assert_non_null(strstr(text, "12 entries, 0.2 s of writes"));
    assert_non_null(strstr(text, "Writes stop: no majority"));
    assert_non_null(strstr(text, "writes paused 41 ms\n"));
    free(text);
}

static void levels_are_read_as_people_type_them(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum consistency_level level;
    } rows[] = {{"strong", CONSISTENCY_STRONG},
                {"bounded-staleness", CONSISTENCY_BOUNDED},
                {"bounded", CONSISTENCY_BOUNDED},
                {"BoundedStaleness", CONSISTENCY_BOUNDED},
                {"SESSION", CONSISTENCY_SESSION},
                {"consistent-prefix", CONSISTENCY_PREFIX},
                {"prefix", CONSISTENCY_PREFIX},
                {"eventual", CONSISTENCY_EVENTUAL}};
    enum consistency_level level;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(topology_read_level(rows[i].text, &level), ERR_OK);
        assert_int_equal(level, rows[i].level);
    }
    assert_int_equal(topology_read_level("weak", &level), ERR_INVALID);
    assert_int_equal(topology_read_level("", &level), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_member_is_read),
        cmocka_unit_test(what_is_missing_is_not_known),
        cmocka_unit_test(warnings_are_shown_and_cannot_steer_the_terminal),
        cmocka_unit_test(levels_are_read_as_people_type_them),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
