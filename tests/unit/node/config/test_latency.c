/* What --latency says becomes round trips between the regions that there are;
 * what it does not say is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/config/latency.h"

static struct config_latencies list;
static struct err_msg msg;

static int parse(const char *text, const char *const *regions, size_t count)
{
    config_latencies_free(&list);
    list = (struct config_latencies){.count = 0};
    int err = config_parse_latencies(text, &list, &msg);
    return err == ERR_OK ? latency_expand(&list, regions, count, &msg) : err;
}
#define PARSE(text, ...)                                                       \
    parse(text, (const char *const[]){__VA_ARGS__},                            \
          ARRAY_LEN(((const char *const[]){__VA_ARGS__})))

static int free_list(void **state)
{
    (void)state;
    config_latencies_free(&list);
    return 0;
}

static void assert_entry(size_t i, const char *a, const char *b, unsigned ms)
{
    assert_true(i < list.count);
    assert_string_equal(list.list[i].a, a);
    assert_string_equal(list.list[i].b, b);
    assert_int_equal(list.list[i].rtt_us, ms * 1000);
}

static void the_table_is_whole(void **state)
{
    (void)state;
    static const char *const known[] = {"eastus",
                                        "eastus2",
                                        "centralus",
                                        "westus2",
                                        "canadacentral",
                                        "brazilsouth",
                                        "northeurope",
                                        "uksouth",
                                        "westeurope",
                                        "francecentral",
                                        "germanywestcentral",
                                        "swedencentral",
                                        "japaneast",
                                        "koreacentral",
                                        "eastasia",
                                        "southeastasia",
                                        "australiaeast",
                                        "centralindia",
                                        "uaenorth",
                                        "southafricanorth"};
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        for (size_t j = 0; j < ARRAY_LEN(known); j++) {
            unsigned ms = latency_measured_ms(known[i], known[j]);
            assert_int_equal(ms, latency_measured_ms(known[j], known[i]));
            assert_true(i == j ? ms == 0 : ms >= 7 && ms < 400);
        }
    /* No signal is faster than light in glass: some 200 km in a millisecond,
     * there and back. Great circles in km. */
    assert_true(latency_measured_ms("eastus", "westeurope") > 6200 / 100);
    assert_true(latency_measured_ms("eastus", "japaneast") > 10900 / 100);
    assert_true(latency_measured_ms("westeurope", "australiaeast") >
                16600 / 100);
    assert_int_equal(latency_measured_ms("eastus", "moon"), 0);
}

static void world_gives_every_pair_of_the_cluster(void **state)
{
    (void)state;
    assert_int_equal(PARSE("world", "eastus", "westeurope", "japaneast"),
                     ERR_OK);
    assert_int_equal(list.count, 3);
    assert_entry(0, "eastus", "westeurope", 82);
    assert_entry(1, "eastus", "japaneast", 156);
    assert_entry(2, "westeurope", "japaneast", 219);
}

static void world_names_the_regions_that_it_does_not_know(void **state)
{
    (void)state;
    assert_int_equal(PARSE("world", "eastus", "moon", "mars", "uksouth"),
                     ERR_INVALID);
    assert_non_null(strstr(msg.text, "no round trips for moon, mars: add"));
    assert_non_null(strstr(msg.text, "It knows eastus, eastus2, "));
    assert_non_null(strstr(msg.text, "southafricanorth"));
    /* One pair is missing still. */
    assert_int_equal(
        PARSE("world,moon:eastus=1300ms", "eastus", "uksouth", "moon"),
        ERR_INVALID);
    assert_non_null(strstr(msg.text, "for moon: add"));
}

static void other_regions_may_be_added(void **state)
{
    (void)state;
    assert_int_equal(PARSE("world,moon:eastus=1300ms,uksouth:moon=1301ms",
                           "eastus", "uksouth", "moon"),
                     ERR_OK);
    assert_int_equal(list.count, 3);
    assert_entry(0, "eastus", "uksouth", 76);
    assert_entry(1, "moon", "eastus", 1300);
    assert_int_equal(PARSE("100ms,world", "eastus", "moon", "uksouth"), ERR_OK);
    assert_int_equal(list.count, 2);
    assert_entry(0, "", "", 100);
    assert_entry(1, "eastus", "uksouth", 76);
}

static void times_are_taken_as_they_are(void **state)
{
    (void)state;
    assert_int_equal(PARSE("", "a", "b"), ERR_OK);
    assert_int_equal(list.count, 0);
    assert_int_equal(PARSE("80ms,a:b=5ms", "a", "b"), ERR_OK);
    assert_entry(1, "a", "b", 5);
    assert_int_equal(PARSE("a:moon=80ms", "a", "b"), ERR_INVALID);
    assert_non_null(strstr(msg.text, "there is no region \"moon\""));
    assert_int_equal(PARSE("worlds", "a", "b"), ERR_INVALID);
    assert_int_equal(PARSE("world,80", "a", "b"), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_whole),
        cmocka_unit_test(world_gives_every_pair_of_the_cluster),
        cmocka_unit_test(world_names_the_regions_that_it_does_not_know),
        cmocka_unit_test(other_regions_may_be_added),
        cmocka_unit_test(times_are_taken_as_they_are)};
    return cmocka_run_group_tests(tests, NULL, free_list);
}
