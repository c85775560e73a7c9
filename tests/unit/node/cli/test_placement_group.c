/* Lists of names are read from the command line; what nodes say of placement
 * groups is read, refused, and shown so that nothing important is missed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/cli/members.h"
#include "node/cli/names.h"
#include "node/cli/placement_group.h"

static void names_are_separated_by_commas(void **state)
{
    (void)state;
    struct names n;
    assert_true(names_read("germany,france", &n));
    assert_int_equal(n.count, 2);
    assert_true(names_same(&n, 0, "germany"));
    assert_true(names_same(&n, 1, "france"));
    assert_false(names_same(&n, 1, "franc"));
    assert_false(names_same(&n, 1, "france2"));
    assert_true(names_read("germany", &n));
    assert_int_equal(n.count, 1);
}

static void what_is_no_list_of_names_is_refused(void **state)
{
    (void)state;
    struct names n;
    char text[2 * (CONFIG_REGIONS_MAX + 1) + 1];
    assert_false(names_read("", &n));
    assert_false(names_read(",a", &n));
    assert_false(names_read("a,,b", &n));
    assert_false(names_read("a,", &n));
    for (size_t i = 0; i <= CONFIG_REGIONS_MAX; i++)
        memcpy(text + 2 * i, "r,", 2);
    text[2 * CONFIG_REGIONS_MAX + 1] = '\0';
    assert_false(names_read(text, &n));
    text[2 * CONFIG_REGIONS_MAX - 1] = '\0';
    assert_true(names_read(text, &n));
    char name[CONFIG_NAME_MAX + 2];
    memset(name, 'n', sizeof(name));
    name[CONFIG_NAME_MAX + 1] = '\0';
    assert_false(names_read(name, &n));
    name[CONFIG_NAME_MAX] = '\0';
    assert_true(names_read(name, &n));
}

static void a_group_has_a_plain_name(void **state)
{
    (void)state;
    const char *out = NULL;
    assert_true(placement_name_option("eu-2", &out));
    assert_string_equal(out, "eu-2");
    assert_false(placement_name_option("", &out));
    assert_false(placement_name_option("-eu", &out));
    assert_false(placement_name_option("Eu", &out));
    assert_false(placement_name_option("eu&x=1", &out));
    assert_false(placement_name_option("eu/..", &out));
}

static const char whole[] =
    "{\"groups\":[{\"name\":\"eu\",\"number\":1,\"fenced\":true,"
    "\"regions\":[\"germany\",\"france\"],\"nodes\":[\"germany-1\","
    "\"france-1\"],\"first_shard\":3,\"shards\":2,"
    "\"level\":\"BoundedStaleness\",\"max_staleness_prefix\":100,"
    "\"max_staleness_interval\":5,\"write_region\":\"germany\",\"epoch\":4,"
    "\"settled\":false,\"transit\":\"allow\",\"leaders\":\"gather\","
    "\"failback\":\"manual\",\"keys_for\":[\"france\"],"
    "\"unavailable\":\"1 of 2 nodes\\u001b[2J are no majority\"},"
    "{\"name\":\"odd\",\"level\":\"Sometimes\"}]}";

static json_ref groups(struct json *j)
{
    json_init(j);
    assert_int_equal(json_parse(j, bytes_str(whole), JSON_TEXT_MAX, NULL),
                     ERR_OK);
    return json_get_str(j, 0, "groups");
}

static void a_group_is_read_whole(void **state)
{
    (void)state;
    struct json j;
    json_ref list = groups(&j);
    struct placement_group *g = calloc(1, sizeof(*g));
    json_ref first = json_first(&j, list);
    placement_group_read(&j, first, g);
    assert_string_equal(g->name, "eu");
    assert_true(g->fenced);
    assert_true(g->transit);
    assert_true(g->gather);
    assert_false(g->settled);
    assert_false(g->failback_automatic);
    assert_int_equal(g->region_count, 2);
    assert_string_equal(g->regions[1], "france");
    assert_int_equal(g->node_count, 2);
    assert_string_equal(g->nodes[0], "germany-1");
    assert_int_equal(g->key_count, 1);
    assert_string_equal(g->keys_for[0], "france");
    assert_true(g->level_known);
    assert_int_equal(g->level, CONSISTENCY_BOUNDED);
    assert_int_equal(g->prefix, 100);
    assert_int_equal(g->interval, 5);
    assert_int_equal(g->epoch, 4);
    assert_int_equal(g->first_shard, 3);
    assert_int_equal(g->shards, 2);
    assert_string_equal(g->write_region, "germany");
    assert_string_equal(g->unavailable, "1 of 2 nodes [2J are no majority");
    json_free(&j);
    free(g);
}

static void the_table_says_what_is_wrong(void **state)
{
    (void)state;
    struct json j;
    json_ref list = groups(&j);
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    placement_groups_print(out, &j, list);
    fclose(out);
    assert_non_null(strstr(text, "eu"));
    assert_non_null(strstr(text, "germany,france"));
    assert_non_null(strstr(text, "bounded-staleness (100 entries, 5 s)"));
    assert_non_null(strstr(text, "unavailable: 1 of 2 nodes"));
    assert_null(strchr(text, '\033'));
    char *odd = strstr(text, "odd");
    assert_non_null(odd);
    assert_non_null(strchr(odd, '?'));
    free(text);
    json_free(&j);
}

/* What a newer release says of other groups, and of levels, hides nothing that
 * this program understands. */
static void what_is_not_known_is_passed_over(void **state)
{
    (void)state;
    struct json j;
    struct members m;
    struct err_msg msg;
    json_ref object;
    struct placement_group *g = calloc(1, sizeof(*g));
    json_init(&j);
    assert_int_equal(
        json_parse(&j,
                   bytes_str("{\"groups\":[7,{\"number\":2},"
                             "{\"name\":\"odd\",\"level\":\"Sometimes\"},"
                             "{\"name\":\"default\",\"level\":\"Hardly\","
                             "\"nodes\":[\"a-1\"],\"epoch\":3}]}"),
                   JSON_TEXT_MAX, NULL),
        ERR_OK);
    assert_int_equal(members_parse(&j, &m, &msg), ERR_OK);
    assert_true(members_has(&m.nodes, "a-1"));
    assert_int_equal(m.epoch, 3);
    assert_int_equal(placement_group_find(&j, "odd", &object, g, &msg), ERR_OK);
    assert_string_equal(g->name, "odd");
    assert_false(g->level_known);
    assert_int_equal(placement_group_find(&j, "eu", &object, g, &msg),
                     ERR_NOT_FOUND);
    json_free(&j);
    free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_separated_by_commas),
        cmocka_unit_test(what_is_no_list_of_names_is_refused),
        cmocka_unit_test(a_group_has_a_plain_name),
        cmocka_unit_test(a_group_is_read_whole),
        cmocka_unit_test(the_table_says_what_is_wrong),
        cmocka_unit_test(what_is_not_known_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
