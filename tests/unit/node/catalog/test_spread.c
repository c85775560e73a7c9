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

/* `more`: members of the record that say how it was split. */
static void put_layouts(struct catalog *c, uint32_t number, const char *name,
                        uint32_t first, uint32_t shards, const char *more)
{
    char json[512];
    struct err_msg msg = {.text = ""};
    snprintf(json, sizeof(json),
             "{\"id\":\"%s\",\"number\":%u,\"firstShard\":%u,\"shards\":%u,%s"
             "\"keys\":[],\"members\":[1],\"firstMembers\":[1],"
             "\"regions\":[\"r\"]}",
             name, number, first, shards, more);
    if (catalog_put(c, CONTAINER_GROUPS, rid_counter(number + 1, 0, 0),
                    bytes_str(json), 1, &msg) != ERR_OK)
        fail_msg("%s", msg.text);
}

static void put_group(struct catalog *c, uint32_t number, const char *name,
                      uint32_t first, uint32_t shards)
{
    put_layouts(c, number, name, first, shards, "");
}

static struct catalog *with_groups(void)
{
    struct catalog *c = catalog_new();
    put_group(c, 1, "eu", 11, 3);
    put_group(c, 2, "us", 40, 2);
    put_group(c, 3, "one", 50, 1);
    return c;
}

/* `more`: members of the definition that say where its parts are. */
static struct container_def *
define_parts(const char *paths, const char *placement, const char *more)
{
    char json[512];
    struct err_msg msg = {.text = ""};
    struct container_def *def;
    snprintf(json, sizeof(json),
             "{\"id\":\"c\",\"partitionKey\":{\"paths\":[%s],\"kind\":\"%s\","
             "\"version\":2},\"_placement\":\"%s\"%s}",
             paths, strchr(paths, ',') ? "MultiHash" : "Hash", placement, more);
    if (container_def_parse(bytes_str(json), &def, &msg) != ERR_OK)
        fail_msg("%s", msg.text);
    return def;
}

static struct container_def *define(const char *paths, const char *placement)
{
    return define_parts(paths, placement, "");
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

#define SPLIT_MAP "/pk: a=us, b*=eu, c=one"
/* Group us, shards 40 and 41, is split into four, then eight. */
#define US_SPLIT                                                               \
    "\"splitMicroseconds\":1,\"retired\":[],"                                  \
    "\"emptied\":{\"firstShard\":40,\"shards\":2},"
#define US_SPLIT_TWICE                                                         \
    "\"splitMicroseconds\":2,\"emptied\":{\"firstShard\":60,\"shards\":4},"    \
    "\"retired\":[{\"firstShard\":40,\"shards\":2}],"

static void expect_shards(const struct spread *s, const uint16_t *shards,
                          uint32_t slots, uint32_t all)
{
    assert_int_equal(s->slots, slots);
    assert_int_equal(s->all_slots, all);
    for (uint32_t i = 0; i < all; i++) {
        uint32_t slot;
        assert_int_equal(spread_shard(s, i), shards[i]);
        assert_true(spread_find(s, shards[i], &slot));
        assert_int_equal(slot, i);
    }
}

static void a_part_stays_in_the_old_shards_until_it_has_moved(void **state)
{
    (void)state;
    static const uint16_t before[] = {40, 41, 11, 12, 13, 50};
    static const uint16_t after[] = {60, 61, 62, 63, 11, 12, 13, 50, 40, 41};
    struct catalog *c = with_groups();
    struct container_def *old = define("\"/pk\"", SPLIT_MAP);
    struct container_def *moved = define_parts(
        "\"/pk\"", SPLIT_MAP, ",\"_parts\":[{\"layout\":1,\"number\":77}]");
    struct spread s;
    put_layouts(c, 2, "us", 60, 4, US_SPLIT);
    assert_int_equal(spread_of(c, old, &s), ERR_OK);
    expect_shards(&s, before, 6, 6);
    assert_int_equal(spread_part(&s, 0)->move, 0);
    assert_int_equal(spread_of(c, moved, &s), ERR_OK);
    expect_shards(&s, after, 8, 10);
    assert_int_equal(spread_part(&s, 3)->move, 77);
    assert_int_equal(spread_part(&s, 4)->move, 0);
    assert_int_equal(spread_part(&s, 9)->group, 2);
    assert_int_equal(spread_ranges(&s), 1);
    assert_int_equal(s.version, 8);
    assert_int_equal(container_arrival(moved), 77);
    assert_int_equal(container_arrival(old), 0);
    container_def_unref(moved);
    container_def_unref(old);
    catalog_free(c);
}

/* Both of a container's groups at a time. */
static void conflicts_have_slots_in_every_old_shard(void **state)
{
    (void)state;
    static const uint16_t shards[] = {60, 61, 62, 63, 70, 71, 40, 41, 50};
    struct catalog *c = with_groups();
    struct container_def *def =
        define_parts("\"/pk\"", "/pk: a=us, c=one",
                     ",\"_parts\":[{\"layout\":1,\"number\":77},"
                     "{\"layout\":1,\"number\":78}]");
    struct spread s;
    put_layouts(c, 2, "us", 60, 4, US_SPLIT);
    put_layouts(c, 3, "one", 70, 2,
                "\"splitMicroseconds\":1,\"retired\":[],"
                "\"emptied\":{\"firstShard\":50,\"shards\":1},");
    assert_int_equal(spread_of(c, def, &s), ERR_OK);
    expect_shards(&s, shards, 6, 9);
    assert_int_equal(spread_part(&s, 7)->group, 2);
    assert_int_equal(spread_part(&s, 8)->group, 3);
    assert_int_equal(container_arrival(def), 78);
    container_def_unref(def);
    catalog_free(c);
}

/* eu's part, of three shards, is in `one` now. */
static void tokens_have_a_higher_version_after_a_move(void **state)
{
    (void)state;
    struct catalog *c = with_groups();
    struct container_def *before = define("\"/pk\"", "/pk: a=eu, b=us");
    struct container_def *after =
        define_parts("\"/pk\"", "/pk: a=one, b=us",
                     ",\"_parts\":[{\"layout\":0,\"number\":77}],"
                     "\"_move\":{\"number\":0,\"ranges\":0,\"left\":3,\"been\":"
                     "[{\"group\":1,\"part\":0},{\"group\":3,\"part\":0}],"
                     "\"other\":\"eu\",\"emptied\":true}");
    struct spread s;
    uint32_t a, b;
    assert_int_equal(spread_of(c, before, &s), ERR_OK);
    assert_int_equal(s.version, 5);
    assert_int_equal(spread_of(c, after, &s), ERR_OK);
    assert_int_equal(s.slots, 3);
    assert_int_equal(s.version, 6);
    assert_int_equal(spread_part(&s, 0)->move, 77);
    assert_false(spread_heirs(c, &s, 12, &a, &b));
    container_def_unref(after);
    container_def_unref(before);
    catalog_free(c);
}

static void expect_heirs(const struct catalog *c, const struct spread *s,
                         uint32_t shard, uint32_t first, uint32_t last)
{
    uint32_t a, b;
    assert_true(spread_heirs(c, s, shard, &a, &b));
    assert_int_equal(a, first);
    assert_int_equal(b, last);
}

/* What tokens from before a split name. */
static void old_shards_have_heirs(void **state)
{
    (void)state;
    struct catalog *c = with_groups();
    struct container_def *def = define("\"/pk\"", SPLIT_MAP);
    struct container_def *once = define_parts(
        "\"/pk\"", SPLIT_MAP, ",\"_parts\":[{\"layout\":1,\"number\":77}]");
    struct container_def *twice = define_parts(
        "\"/pk\"", SPLIT_MAP, ",\"_parts\":[{\"layout\":2,\"number\":88}]");
    struct spread s;
    uint32_t a, b;
    put_layouts(c, 2, "us", 60, 4, US_SPLIT);
    assert_int_equal(spread_of(c, once, &s), ERR_OK);
    expect_heirs(c, &s, 40, 0, 1);
    expect_heirs(c, &s, 41, 2, 3);
    expect_heirs(c, &s, 62, 2, 2);
    expect_heirs(c, &s, 11, 4, 4);
    assert_int_equal(spread_of(c, def, &s), ERR_OK);
    expect_heirs(c, &s, 41, 1, 1);
    assert_false(spread_heirs(c, &s, 60, &a, &b)); /* it is not there yet */
    put_layouts(c, 2, "us", 80, 8, US_SPLIT_TWICE);
    assert_int_equal(spread_of(c, twice, &s), ERR_OK);
    expect_heirs(c, &s, 40, 0, 3);
    expect_heirs(c, &s, 63, 6, 7);
    expect_heirs(c, &s, 87, 7, 7);
    expect_heirs(c, &s, 13, 10, 10);
    assert_false(spread_heirs(c, &s, 42, &a, &b));
    assert_int_equal(spread_of(c, once, &s), ERR_OK);
    expect_heirs(c, &s, 41, 2, 3);
    assert_false(spread_heirs(c, &s, 80, &a, &b));
    container_def_unref(twice);
    container_def_unref(once);
    container_def_unref(def);
    catalog_free(c);
}

static void a_new_part_begins_in_the_newest_shards(void **state)
{
    (void)state;
    struct catalog *c = with_groups();
    struct container_def *def = define_parts(
        "\"/pk\"", SPLIT_MAP, ",\"_parts\":[{\"layout\":1,\"number\":77}]");
    struct container_place place = container_place(def);
    put_layouts(c, 2, "us", 80, 8, US_SPLIT_TWICE);
    put_layouts(c, 3, "one", 70, 2,
                "\"splitMicroseconds\":1,\"retired\":[],"
                "\"emptied\":{\"firstShard\":50,\"shards\":1},");
    spread_place(c, def->map, 2, &place);
    assert_int_equal(place.part_count, 3);
    assert_int_equal(place.parts[0].layout, 1);
    assert_int_equal(place.parts[0].number, 77);
    assert_int_equal(place.parts[1].layout, 0);
    assert_int_equal(place.parts[2].layout, 1);
    assert_int_equal(spread_shards_with(c, def->map, NULL, 0), 13);
    assert_int_equal(
        spread_shards_with(c, def->map, catalog_group(c, "eu"), 120), 130);
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
    static const char *const bad[] = {
        "/x: a=eu\"",
        "/pk: a\"",
        "/\"",
        "eu\",\"_parts\":[{\"layout\":1,\"number\":1}]",
        "/pk: a=eu\",\"_parts\":{}",
        "/pk: a=eu\",\"_parts\":[{\"layout\":-1,\"number\":1}]",
        "/pk: a=eu\",\"_parts\":[{\"layout\":1},{\"layout\":1}]"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char json[256];
        struct container_def *def;
        snprintf(json, sizeof(json),
                 "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/pk\"]},"
                 "\"_placement\":\"%s}",
                 bad[i]);
        assert_int_equal(container_def_parse(bytes_str(json), &def, NULL),
                         ERR_CORRUPT);
    }
}

#define MOVED                                                                  \
    ",\"_move\":{\"number\":7,\"ranges\":3,\"emptied\":true,\"other\":"

static void expect_gone(const struct catalog *c, const char *placement,
                        const char *more, uint8_t count, const uint16_t *gone)
{
    struct container_def *def = define_parts("\"/pk\"", placement, more);
    struct container_move move = def->move;
    catalog_note_gone(c, def, &move);
    assert_int_equal(move.gone_count, count);
    for (uint8_t i = 0; i < count; i++) {
        assert_int_equal(move.gone[i].group, gone[2 * i]);
        assert_int_equal(move.gone[i].layout, gone[2 * i + 1]);
    }
    container_def_unref(def);
}

/* A move does not make forgotten what the one before it has left; what is not
 * there any more, or where the container is, is not waited for. */
static void what_moves_have_left_adds_up(void **state)
{
    (void)state;
    struct catalog *c = with_groups();
    put_layouts(c, 4, "far", 70, 4,
                "\"splitMicroseconds\":1,\"retired\":[],"
                "\"emptied\":{\"firstShard\":60,\"shards\":2},");
    expect_gone(c, "us", MOVED "\"eu\"}", 1, (uint16_t[]){1, 0});
    expect_gone(c, "us", MOVED "\"one\",\"gone\":[{\"group\":1,\"layout\":0}]}",
                2, (uint16_t[]){1, 0, 3, 0});
    /* Once; not where it came back to; nor what was retired, or never was. */
    expect_gone(c, "us",
                MOVED "\"eu\",\"gone\":[{\"group\":1,\"layout\":0},"
                      "{\"group\":2,\"layout\":0},"
                      "{\"group\":3,\"layout\":4},"
                      "{\"group\":9,\"layout\":0}]}",
                1, (uint16_t[]){1, 0});
    /* The old shards of its own group. */
    expect_gone(c, "far", ",\"_layout\":1" MOVED "\"far\"}", 1,
                (uint16_t[]){4, 0});
    /* The group that has the name now is another one. */
    expect_gone(c, "us", MOVED "\"eu\",\"otherNumber\":8}", 0, NULL);
    catalog_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_container_of_one_group_has_a_range_for_each_shard),
        cmocka_unit_test(a_map_joins_the_shards_of_its_groups_in_one_range),
        cmocka_unit_test(a_value_of_the_component_leaves_one_group),
        cmocka_unit_test(slots_stay_when_lines_are_added),
        cmocka_unit_test(a_part_stays_in_the_old_shards_until_it_has_moved),
        cmocka_unit_test(conflicts_have_slots_in_every_old_shard),
        cmocka_unit_test(tokens_have_a_higher_version_after_a_move),
        cmocka_unit_test(old_shards_have_heirs),
        cmocka_unit_test(a_new_part_begins_in_the_newest_shards),
        cmocka_unit_test(a_group_that_is_not_known_here_is_told),
        cmocka_unit_test(a_stored_map_must_fit_the_container),
        cmocka_unit_test(what_moves_have_left_adds_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
