/* Regions and nodes that come to a cluster's folder later: names, ids and ports
 * that nobody has, everybody's list, and nothing that was there changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/base/buf.h"
#include "node/base/check.h"
#include "node/base/file.h"
#include "node/cli/create.h"
#include "node/cli/join.h"

#define TEXT_MAX 65536

static char folder[64];
static struct layout made;
static struct err_msg msg;

static int make_cluster(void **state)
{
    (void)state;
    const struct layout_options o = {.cluster = "demo",
                                     .regions = "east,west",
                                     .nodes_per_region = 2,
                                     .base_port = 8081,
                                     .host = "127.0.0.1",
                                     .shards = 2};
    snprintf(folder, sizeof(folder), "/tmp/bastide-join-XXXXXX");
    return mkdtemp(folder) == NULL || layout_make(&o, &made, &msg) != ERR_OK ||
           create_cluster(&made, folder, &msg) != ERR_OK;
}

static int remove_cluster(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

static const char *in(const char *node, const char *name)
{
    static char path[PATH_MAX];
    assert_int_equal(layout_path(folder, node, name, path, NULL), ERR_OK);
    return path;
}

static void read_text(const char *node, struct buf *out)
{
    buf_init(out, TEXT_MAX);
    assert_int_equal(file_read(in(node, "node.yaml"), false, out, &msg),
                     ERR_OK);
}

static void write_text(const char *node, const char *text)
{
    assert_int_equal(
        file_replace(in(node, "node.yaml"), 0644, bytes_str(text), &msg),
        ERR_OK);
}

static int join_region(const char *region, unsigned nodes, struct layout *out)
{
    const struct join_options o = {.region = region, .nodes = nodes};
    return join(&o, folder, out, NULL, &msg);
}

/* Every node lists what `l` has, and has what it needs to start. */
static void check_all(const struct layout *l)
{
    static const char *const files[] = {
        "ca.pem",   "kek.key",  "cluster.keys", "account.keys",
        "node.pem", "node.key", "region.key",   "node.yaml"};
    struct layout read;
    assert_int_equal(layout_load(folder, &read, &msg), ERR_OK);
    assert_true(layout_same(&read, l));
    for (unsigned i = 0; i < l->node_count; i++) {
        for (size_t k = 0; k < ARRAY_LEN(files); k++)
            assert_int_equal(access(in(l->nodes[i].name, files[k]), F_OK), 0);
        assert_int_equal(
            layout_read(in(l->nodes[i].name, "node.yaml"), &read, &msg),
            ERR_OK);
        for (unsigned k = 0; k < l->node_count; k++)
            read.nodes[k].admin_port = l->nodes[k].admin_port;
        assert_true(layout_same(&read, l));
        for (unsigned k = 0; k < l->region_count; k++)
            assert_string_equal(read.regions[k].key, l->regions[k].key);
    }
}

static void a_region_is_appended_to_every_list(void **state)
{
    (void)state;
    struct layout l;
    assert_int_equal(join_region("north", 2, &l), ERR_OK);
    assert_int_equal(l.region_count, 3);
    assert_string_equal(l.regions[2].name, "north");
    assert_int_equal(l.regions[2].priority, 2);
    assert_int_equal(l.regions[2].port, 8084);
    assert_string_equal(l.nodes[4].name, "north-1");
    assert_int_equal(l.nodes[4].id, 5);
    assert_true(l.nodes[4].added);
    assert_int_equal(l.nodes[5].admin_port, 9096);
    for (unsigned i = 0; i < made.node_count; i++)
        assert_memory_equal(&l.nodes[i], &made.nodes[i], sizeof(l.nodes[i]));
    check_all(&l);
}

static void nodes_are_appended_to_their_region(void **state)
{
    (void)state;
    struct layout l;
    assert_int_equal(join_region("east", 3, &l), ERR_OK);
    assert_int_equal(l.region_count, 2);
    assert_string_equal(l.nodes[2].name, "east-3");
    assert_int_equal(l.nodes[2].region, 0);
    assert_int_equal(l.nodes[2].id, 5);
    assert_int_equal(l.nodes[2].port, 8095);
    assert_string_equal(l.nodes[3].name, "west-1");
    assert_false(l.nodes[3].added);
    check_all(&l);
}

static void the_same_again_changes_nothing(void **state)
{
    (void)state;
    struct layout l, again;
    struct buf before, after;
    assert_int_equal(join_region("north", 1, &l), ERR_OK);
    read_text("east-1", &before);
    assert_int_equal(join_region("north", 1, &again), ERR_OK);
    assert_int_equal(join_region("north", 0, &again), ERR_OK);
    assert_int_equal(join_region("west", 0, &again), ERR_OK);
    assert_true(layout_same(&l, &again));
    read_text("east-1", &after);
    assert_string_equal(buf_cstr(&before), buf_cstr(&after));
    assert_int_equal(join_region("west", 1, &again), ERR_INVALID);
    assert_non_null(strstr(msg.text, "bastide node remove"));
    buf_free(&before);
    buf_free(&after);
}

static void what_people_wrote_stays(void **state)
{
    (void)state;
    struct layout l;
    struct buf before, after, mine;
    read_text("west-2", &before);
    buf_init(&mine, TEXT_MAX);
    assert_int_equal(buf_printf(&mine,
                                "# mine\n%s    # behind the list\n\n"
                                "log: {level: warn}",
                                buf_cstr(&before)),
                     ERR_OK);
    write_text("west-2", buf_cstr(&mine));
    assert_int_equal(join_region("west", 3, &l), ERR_OK);
    assert_int_equal(join_region("north", 1, &l), ERR_OK);
    check_all(&l);
    read_text("west-2", &after);
    assert_memory_equal(buf_cstr(&after), buf_cstr(&mine), 7);
    assert_non_null(strstr(buf_cstr(&after),
                           "    # behind the list\n\nlog: {level: warn}\n"));
    assert_int_not_equal(access(in("west-2", "node.yaml.try"), F_OK), 0);
    buf_free(&before);
    buf_free(&mine);
    buf_free(&after);
}

/* Killed at any point: before the first list, between the new nodes' files, in
 * the middle of the old ones'. */
static void what_was_interrupted_goes_on(void **state)
{
    (void)state;
    struct layout l, again;
    struct buf old[2];
    read_text("east-2", &old[0]);
    read_text("west-1", &old[1]);
    assert_int_equal(join_region("north", 2, &l), ERR_OK);
    write_text("east-2", buf_cstr(&old[0]));
    write_text("west-1", buf_cstr(&old[1]));
    unlink(in("north-2", "node.yaml"));
    unlink(in("north-2", "node.key"));
    unlink(in("north-2", "region.key"));
    assert_int_equal(layout_load(folder, &again, &msg), ERR_INVALID);
    assert_non_null(strstr(msg.text, "bastide init --join north"));
    assert_int_equal(join_region("north", 2, &again), ERR_OK);
    assert_true(layout_same(&l, &again));
    check_all(&l);
    buf_free(&old[0]);
    buf_free(&old[1]);
}

static void lists_written_otherwise_are_left_to_their_owner(void **state)
{
    (void)state;
    struct layout l;
    struct buf text, other;
    read_text("west-1", &text);
    buf_init(&other, TEXT_MAX);
    const char *name = strstr(buf_cstr(&text), "name: west\n    priority");
    assert_non_null(name);
    assert_int_equal(buf_printf(&other, "%.*s\"name\"%s",
                                (int)(name - buf_cstr(&text)), buf_cstr(&text),
                                name + strlen("name")),
                     ERR_OK);
    write_text("west-1", buf_cstr(&other));
    assert_int_equal(layout_read(in("west-1", "node.yaml"), &l, &msg), ERR_OK);
    assert_int_equal(join_region("west", 3, &l), ERR_INVALID);
    assert_non_null(strstr(msg.text, "by hand"));
    assert_non_null(strstr(msg.text, "west-3"));
    buf_free(&text);
    read_text("west-1", &text);
    assert_string_equal(buf_cstr(&text), buf_cstr(&other));
    buf_free(&text);
    buf_free(&other);
}

static void data_of_another_life_is_refused(void **state)
{
    (void)state;
    struct layout l;
    assert_int_equal(file_make_folder(in("north-1", NULL), 0700, &msg), ERR_OK);
    assert_int_equal(file_make_folder(in("north-1", "data"), 0700, &msg),
                     ERR_OK);
    assert_int_equal(join_region("north", 1, &l), ERR_EXISTS);
    assert_int_equal(layout_load(folder, &l, &msg), ERR_OK);
    assert_true(layout_same(&l, &made));
}

static void a_certificate_may_be_brought(void **state)
{
    (void)state;
    struct layout l;
    assert_int_equal(join_region("north", 1, &l), ERR_OK);
    unlink(in("ca.key", NULL));
    assert_int_equal(join_region("north", 2, &l), ERR_NOT_FOUND);
    assert_non_null(
        strstr(msg.text, "spiffe://demo/region/north/node/north-2"));
    write_text("north-2", "");
    unlink(in("north-2", "node.yaml"));
    assert_int_equal(file_create(in("north-2", "node.pem"), 0644,
                                 bytes_str("brought"), &msg),
                     ERR_OK);
    assert_int_equal(file_create(in("north-2", "node.key"), 0600,
                                 bytes_str("brought"), &msg),
                     ERR_OK);
    assert_int_equal(join_region("north", 2, &l), ERR_OK);
    check_all(&l);
}

static void hosts_follow_the_pattern_of_the_others(void **state)
{
    (void)state;
    struct layout l;
    const struct layout_options o = {.cluster = "prod",
                                     .regions = "eu,us",
                                     .nodes_per_region = 1,
                                     .base_port = 8081,
                                     .host = "{node}.example.org",
                                     .shards = 2};
    assert_int_equal(layout_make(&o, &l, &msg), ERR_OK);
    assert_int_equal(layout_join(&l, "asia", 1, NULL, &msg), ERR_OK);
    assert_string_equal(l.regions[2].host, "asia.example.org");
    assert_int_equal(l.regions[2].port, 8081);
    assert_string_equal(l.nodes[2].host, "asia-1.example.org");
    assert_int_equal(l.nodes[2].peer_port, 10091);
    strcpy(l.nodes[0].host, "10.0.0.7");
    assert_int_equal(layout_join(&l, "eu", 2, NULL, &msg), ERR_INVALID);
    assert_non_null(strstr(msg.text, "--host"));
    assert_int_equal(layout_join(&l, "eu", 2, "10.0.0.9", &msg), ERR_OK);
    assert_string_equal(l.nodes[1].host, "10.0.0.9");
    assert_int_equal(layout_join(&l, "Eu", 1, NULL, &msg), ERR_INVALID);
}

#define CASE(test)                                                             \
    cmocka_unit_test_setup_teardown(test, make_cluster, remove_cluster)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_region_is_appended_to_every_list),
        CASE(nodes_are_appended_to_their_region),
        CASE(the_same_again_changes_nothing),
        CASE(what_people_wrote_stays),
        CASE(what_was_interrupted_goes_on),
        CASE(lists_written_otherwise_are_left_to_their_owner),
        CASE(data_of_another_life_is_refused),
        CASE(a_certificate_may_be_brought),
        cmocka_unit_test(hosts_follow_the_pattern_of_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
