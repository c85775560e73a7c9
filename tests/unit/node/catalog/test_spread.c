/* Which shards a container's documents are in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/catalog/numbers.h"
#include "node/catalog/spread.h"

static void put_group(struct catalog *c, uint32_t number, const char *name,
                      uint32_t first, uint32_t shards)
{
    char json[512];
    struct err_msg msg = {.text = ""};
    snprintf(json, sizeof(json),
             "{\"id\":\"%s\",\"number\":%u,\"firstShard\":%u,\"shards\":%u,"
             "\"keys\":[],\"members\":[1],\"firstMembers\":[1],"
             "\"regions\":[\"r\"]}",
             name, number, first, shards);
    if (catalog_put(c, CONTAINER_GROUPS, rid_counter(number + 1, 0, 0),
                    bytes_str(json), 1, &msg) != ERR_OK)
        fail_msg("%s", msg.text);
}

static struct catalog *with_groups(void)
{
    struct catalog *c = catalog_new();
    put_group(c, 1, "eu", 11, 3);
    put_group(c, 2, "us", 40, 2);
    put_group(c, 3, "one", 50, 1);
    return c;
}

static struct container_def *define(const char *paths, const char *placement)
{
    char json[512];
    struct err_msg msg = {.text = ""};
    struct container_def *def;
    snprintf(json, sizeof(json),
             "{\"id\":\"c\",\"partitionKey\":{\"paths\":[%s],\"kind\":\"%s\","
             "\"version\":2},\"_placement\":\"%s\"}",
             paths, strchr(paths, ',') ? "MultiHash" : "Hash", placement);
    if (container_def_parse(bytes_str(json), &def, &msg) != ERR_OK)
        fail_msg("%s", msg.text);
    return def;
}

static struct partition_key key(const char *text)
{
    struct json j;
    struct partition_key pk;
    json_init(&j);
    assert_int_equal(pk_parse(&j, bytes_str(text), &pk, NULL), ERR_OK);
    json_free(&j);
    return pk;
}

static void a_container_of_one_group_has_a_range_for_each_shard(void **state)
{
    (void)state;
    struct catalog *c = with_groups();
    struct container_def *def = define("\"/pk\"", "eu");
    struct spread s;
    uint32_t slot, first, last;
    assert_int_equal(spread_of(c, def, &s), ERR_OK);
    assert_false(s.mapped);
    assert_int_equal(s.slots, 3);
    assert_int_equal(spread_ranges(&s), 3);
    assert_int_equal(spread_shard(&s, 2), 13);
    assert_true(spread_find(&s, 12, &slot));
    assert_int_equal(slot, 1);
    assert_false(spread_find(&s, 14, &slot));
    assert_false(spread_find(&s, 0, &slot));
    spread_range(&s, 1, &first, &last);
    assert_int_equal(first, 1);
    assert_int_equal(last, 1);
    assert_int_equal(spread_range_of(&s, 2), 2);
    struct partition_key pk = key("[\"x\"]");
    assert_true(spread_slot(&s, def, &pk, &slot));
    assert_int_equal(slot, epk_shard(&def->pk, &pk, 3));
    container_def_unref(def);
    catalog_free(c);
}

static void a_map_joins_the_shards_of_its_groups_in_one_range(void **state)
{
    (void)state;
    struct catalog *c = with_groups();
    struct container_def *def = define("\"/pk\"", "/pk: a=us, b*=eu");
    struct spread s;
    uint32_t slot, first, last;
    assert_int_equal(spread_of(c, def, &s), ERR_OK);
    assert_true(s.mapped);
    assert_int_equal(s.slots, 5);
    static const uint16_t shards[] = {40, 41, 11, 12, 13};
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(spread_shard(&s, i), shards[i]);
        assert_true(spread_find(&s, shards[i], &slot));
        assert_int_equal(slot, i);
        assert_int_equal(spread_part(&s, i)->group, i < 2 ? 2 : 1);
        assert_int_equal(spread_range_of(&s, i), 0);
    }
    assert_int_equal(spread_ranges(&s), 1);
    spread_range(&s, 0, &first, &last);
    assert_int_equal(first, 0);
    assert_int_equal(last, 4);
    struct partition_key a = key("[\"a\"]"), b = key("[\"bx\"]"),
                         n = key("[\"c\"]");
    assert_true(spread_slot(&s, def, &a, &slot));
    assert_int_equal(slot, epk_shard(&def->pk, &a, 2));
    assert_true(spread_slot(&s, def, &b, &slot));
    assert_int_equal(slot, 2 + epk_shard(&def->pk, &b, 3));
    assert_false(spread_slot(&s, def, &n, &slot));
    container_def_unref(def);
    catalog_free(c);
}

static void a_value_of_the_component_leaves_one_group(void **state)
{
    (void)state;
    struct catalog *c = with_groups();
    struct container_def *def = define("\"/user\",\"/pk\"", "/pk: a=us, b*=eu");
    struct spread s;
    assert_int_equal(spread_of(c, def, &s), ERR_OK);
    assert_false(spread_pins(def, 1));
    assert_true(spread_pins(def, 2));
    static const struct {
        const char *value;
        uint32_t first, last;
    } cases[] = {{"[\"a\"]", 0, 1}, {"[\"b\"]", 2, 4}, {"[\"c\"]", 0, 4}};
    for (size_t i = 0; i < 3; i++) {
        uint32_t first = 0, last = 4;
        struct partition_key value = key(cases[i].value);
        spread_narrow(&s, def, &value, &first, &last);
        assert_int_equal(first, cases[i].first);
        assert_int_equal(last, cases[i].last);
    }
    struct partition_key pk = key("[\"u\",\"b\"]");
    uint32_t slot;
    assert_true(spread_slot(&s, def, &pk, &slot));
    assert_int_equal(slot, 2 + epk_shard(&def->pk, &pk, 3));
    container_def_unref(def);
    catalog_free(c);
}

/* Continuations and session tokens name slots and shards of before. */
static void slots_stay_when_lines_are_added(void **state)
{
    (void)state;
    struct catalog *c = with_groups();
    struct container_def *def = define("\"/pk\"", "/pk: x=reject, a=us, b=eu");
    struct placement_map map = *def->map;
    struct spread before, after;
    assert_int_equal(spread_of(c, def, &before), ERR_OK);
    assert_int_equal(placement_map_add(&map, bytes_str("x=one"), NULL), ERR_OK);
    char storage[1024];
    struct buf text = buf_over(storage, sizeof(storage) - 1);
    assert_int_equal(placement_map_format(&map, &text), ERR_OK);
    storage[buf_len(&text)] = '\0';
    struct container_def *more = define("\"/pk\"", storage);
    assert_int_equal(spread_of(c, more, &after), ERR_OK);
    assert_int_equal(after.slots, before.slots + 1);
    for (uint32_t i = 0; i < before.slots; i++)
        assert_int_equal(spread_shard(&after, i), spread_shard(&before, i));
    assert_int_equal(spread_shard(&after, before.slots), 50);
    container_def_unref(more);
    container_def_unref(def);
    catalog_free(c);
}

static void a_group_that_is_not_known_here_is_told(void **state)
{
    (void)state;
    struct catalog *c = with_groups();
    struct container_def *moon = define("\"/pk\"", "moon");
    struct container_def *part = define("\"/pk\"", "/pk: a=eu, b=moon");
    struct container_def *open = define("\"/pk\"", "");
    struct spread s;
    assert_int_equal(spread_of(c, moon, &s), ERR_UNAVAILABLE);
    assert_int_equal(spread_of(c, part, &s), ERR_UNAVAILABLE);
    assert_int_equal(spread_of(c, open, &s), ERR_UNAVAILABLE);
    assert_true(container_placed_in(open, bytes_str("default")));
    assert_true(container_placed_in(part, bytes_str("eu")));
    assert_false(container_placed_in(part, bytes_str("default")));
    assert_false(container_placed_in(moon, bytes_str("eu")));
    container_def_unref(moon);
    container_def_unref(part);
    container_def_unref(open);
    catalog_free(c);
}

static void a_stored_map_must_fit_the_container(void **state)
{
    (void)state;
    static const char *const bad[] = {"/x: a=eu", "/pk: a", "/"};
    for (size_t i = 0; i < 3; i++) {
        char json[256];
        struct container_def *def;
        snprintf(json, sizeof(json),
                 "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/pk\"]},"
                 "\"_placement\":\"%s\"}",
                 bad[i]);
        assert_int_equal(container_def_parse(bytes_str(json), &def, NULL),
                         ERR_CORRUPT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_container_of_one_group_has_a_range_for_each_shard),
        cmocka_unit_test(a_map_joins_the_shards_of_its_groups_in_one_range),
        cmocka_unit_test(a_value_of_the_component_leaves_one_group),
        cmocka_unit_test(slots_stay_when_lines_are_added),
        cmocka_unit_test(a_group_that_is_not_known_here_is_told),
        cmocka_unit_test(a_stored_map_must_fit_the_container),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
