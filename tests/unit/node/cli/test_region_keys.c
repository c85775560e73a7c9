/* Every region's nodes have their region's key and no other, and a cluster of
 * an older init gets keys without losing what its files say. */
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
#include "node/cli/region_keys.h"

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
    snprintf(folder, sizeof(folder), "/tmp/bastide-regions-XXXXXX");
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

static void read_text(const char *path, struct buf *out)
{
    buf_init(out, TEXT_MAX);
    assert_int_equal(file_read(path, false, out, &msg), ERR_OK);
}

/* Gives a node's region.key to another node. */
static void copy_key(const char *from, const char *to)
{
    struct buf text;
    read_text(in(from, "region.key"), &text);
    unlink(in(to, "region.key"));
    assert_int_equal(file_create(in(to, "region.key"), 0600,
                                 bytes_of(buf_bytes(&text), buf_len(&text)),
                                 &msg),
                     ERR_OK);
    buf_free(&text);
}

/* As an older init made it: no keys. One node has a setting of its own. */
static void take_keys_away(void)
{
    struct buf text;
    struct layout bare = made;
    for (unsigned i = 0; i < bare.region_count; i++)
        bare.regions[i].key[0] = '\0';
    for (unsigned i = 0; i < bare.node_count; i++) {
        const char *node = bare.nodes[i].name;
        unlink(in(node, "region.key"));
        assert_int_equal(
            layout_write_config(&bare, &bare.nodes[i], folder, &msg), ERR_OK);
    }
    read_text(in("west-2", "node.yaml"), &text);
    assert_int_equal(buf_append_str(&text, "# mine\nlog: {level: warn}"),
                     ERR_OK);
    assert_int_equal(file_replace(in("west-2", "node.yaml"), 0644,
                                  bytes_of(buf_bytes(&text), buf_len(&text)),
                                  &msg),
                     ERR_OK);
    buf_free(&text);
}

/* Whether the node's files agree with each other and with the layout. */
static void check_node(const struct layout *l, unsigned i)
{
    const char *region = l->regions[l->nodes[i].region].name;
    char text[REGION_PUBLIC_TEXT_LEN + 1];
    struct kek kek;
    struct cluster_keys cluster;
    struct region_key key;
    struct layout read;
    assert_int_equal(kek_load_file(in(l->nodes[i].name, "kek.key"), &msg, &kek),
                     ERR_OK);
    assert_int_equal(cluster_keys_read(in(l->nodes[i].name, "cluster.keys"),
                                       &kek, "demo", &msg, &cluster),
                     ERR_OK);
    assert_int_equal(region_key_read(in(l->nodes[i].name, "region.key"), &kek,
                                     cluster.cluster_id, region, &msg, &key),
                     ERR_OK);
    region_public_format(key.public_key, text);
    assert_string_equal(text, l->regions[l->nodes[i].region].key);
    assert_int_equal(layout_load(folder, &read, &msg), ERR_OK);
    for (unsigned r = 0; r < l->region_count; r++)
        assert_string_equal(read.regions[r].key, l->regions[r].key);
}

static void a_new_cluster_has_a_key_per_region(void **state)
{
    (void)state;
    assert_string_not_equal(made.regions[0].key, made.regions[1].key);
    for (unsigned i = 0; i < made.node_count; i++)
        check_node(&made, i);
    assert_int_not_equal(access(in("region.key", NULL), F_OK), 0);
}

static void an_older_cluster_gets_keys(void **state)
{
    (void)state;
    struct layout l, again;
    struct buf text, later;
    take_keys_away();
    assert_int_equal(region_keys_add(folder, &l, &msg), ERR_OK);
    assert_string_not_equal(l.regions[0].key, made.regions[0].key);
    for (unsigned i = 0; i < l.node_count; i++)
        check_node(&l, i);
    read_text(in("west-2", "node.yaml"), &text);
    assert_non_null(strstr(buf_cstr(&text), "# mine\nlog: {level: warn}\n"));
    assert_int_not_equal(access(in("west-2", "node.yaml.try"), F_OK), 0);
    /* Once more changes nothing. */
    assert_int_equal(region_keys_add(folder, &again, &msg), ERR_OK);
    assert_memory_equal(l.regions, again.regions, sizeof(l.regions));
    read_text(in("west-2", "node.yaml"), &later);
    assert_string_equal(buf_cstr(&text), buf_cstr(&later));
    buf_free(&text);
    buf_free(&later);
}

/* Interrupted after one region's first file, or before the last node.yaml. */
static void what_was_interrupted_goes_on(void **state)
{
    (void)state;
    struct layout l, again;
    take_keys_away();
    assert_int_equal(region_keys_add(folder, &l, &msg), ERR_OK);
    unlink(in("east-1", "region.key"));
    unlink(in("west-2", "region.key"));
    struct layout bare = l;
    for (unsigned i = 0; i < bare.region_count; i++)
        bare.regions[i].key[0] = '\0';
    assert_int_equal(layout_write_config(&bare, &bare.nodes[3], folder, &msg),
                     ERR_OK);
    assert_int_equal(region_keys_add(folder, &again, &msg), ERR_OK);
    assert_memory_equal(l.regions, again.regions, sizeof(l.regions));
    for (unsigned i = 0; i < l.node_count; i++)
        check_node(&l, i);
}

static void a_lost_or_strange_key_is_never_replaced(void **state)
{
    (void)state;
    struct layout l;
    copy_key("west-1", "east-1");
    assert_int_equal(region_keys_add(folder, &l, &msg), ERR_IDENTITY);
    assert_non_null(strstr(msg.text, "the key of region west"));
    copy_key("east-2", "east-1");
    assert_int_equal(region_keys_add(folder, &l, &msg), ERR_OK);
    unlink(in("east-1", "region.key"));
    unlink(in("east-2", "region.key"));
    assert_int_equal(region_keys_add(folder, &l, &msg), ERR_NOT_FOUND);
    assert_non_null(strstr(msg.text, "region east has a key"));
    assert_int_not_equal(access(in("east-1", "region.key"), F_OK), 0);
}

static void replace(const char *path, struct buf *text)
{
    assert_int_equal(file_replace(path, 0600,
                                  bytes_of(buf_bytes(text), buf_len(text)),
                                  &msg),
                     ERR_OK);
}

static void two_keys_of_one_region_are_refused(void **state)
{
    (void)state;
    struct layout l;
    struct buf old;
    read_text(in("east-2", "region.key"), &old);
    take_keys_away();
    assert_int_equal(region_keys_add(folder, &l, &msg), ERR_OK);
    replace(in("east-2", "region.key"), &old);
    assert_int_equal(region_keys_add(folder, &l, &msg), ERR_IDENTITY);
    assert_non_null(strstr(msg.text, "not the key that east-1 has"));
    buf_free(&old);
}

static void a_list_written_otherwise_is_left_to_its_owner(void **state)
{
    (void)state;
    struct layout l;
    struct buf text, changed, after;
    take_keys_away();
    read_text(in("west-2", "node.yaml"), &text);
    const char *at = strstr(buf_cstr(&text), "  - name: east\n");
    assert_non_null(at);
    buf_init(&changed, TEXT_MAX);
    assert_int_equal(buf_printf(&changed, "%.*s  - name: \"east\"%s",
                                (int)(at - buf_cstr(&text)), buf_cstr(&text),
                                at + strlen("  - name: east")),
                     ERR_OK);
    replace(in("west-2", "node.yaml"), &changed);
    assert_int_equal(region_keys_add(folder, &l, &msg), ERR_INVALID);
    assert_non_null(strstr(msg.text, "west-2/node.yaml"));
    assert_non_null(strstr(msg.text, "add to each region's entry"));
    read_text(in("west-2", "node.yaml"), &after);
    assert_string_equal(buf_cstr(&after), buf_cstr(&changed));
    buf_free(&text);
    buf_free(&changed);
    buf_free(&after);
}

#define WITH_CLUSTER(test)                                                     \
    cmocka_unit_test_setup_teardown(test, make_cluster, remove_cluster)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CLUSTER(a_new_cluster_has_a_key_per_region),
        WITH_CLUSTER(an_older_cluster_gets_keys),
        WITH_CLUSTER(what_was_interrupted_goes_on),
        WITH_CLUSTER(a_lost_or_strange_key_is_never_replaced),
        WITH_CLUSTER(two_keys_of_one_region_are_refused),
        WITH_CLUSTER(a_list_written_otherwise_is_left_to_its_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
