/* What init makes can be read back, ports follow their scheme, and a folder
 * left half made is recognised. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/cli/create.h"
#include "node/cli/layout.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/bastide-layout-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static void make_file(const char *a, const char *b)
{
    char path[PATH_MAX];
    layout_path(folder, a, b, path, NULL);
    assert_int_equal(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
}

static bool exists(const char *a, const char *b)
{
    char path[PATH_MAX];
    layout_path(folder, a, b, path, NULL);
    return access(path, F_OK) == 0;
}

static void remove_file(const char *a, const char *b)
{
    char path[PATH_MAX];
    layout_path(folder, a, b, path, NULL);
    assert_int_equal(remove(path), 0);
}

static int remove_folder(void **state)
{
    (void)state;
    make_file(".unfinished", NULL);
    return create_discard_unfinished(folder, NULL) != ERR_OK || rmdir(folder);
}

static struct layout_options options(const char *regions, const char *host)
{
    return (struct layout_options){.cluster = "demo",
                                   .regions = regions,
                                   .nodes_per_region = 2,
                                   .base_port = 8081,
                                   .host = host,
                                   .shards = 2};
}

static void ports_of_one_host_follow_the_scheme(void **state)
{
    (void)state;
    struct layout l;
    struct layout_options o = options("east,west", "127.0.0.1");
    assert_int_equal(layout_make(&o, &l, NULL), ERR_OK);
    assert_int_equal(l.port, 8081);
    assert_int_equal(l.regions[1].port, 8083);
    assert_int_equal(l.node_count, 4);
    assert_string_equal(l.nodes[3].name, "west-2");
    assert_int_equal(l.nodes[3].id, 4);
    assert_int_equal(l.nodes[3].port, 8094);
    assert_int_equal(l.nodes[3].admin_port, 9094);
    assert_int_equal(l.nodes[3].peer_port, 10094);
    assert_true(l.stand_in);
}

static void a_pattern_gives_every_node_its_host(void **state)
{
    (void)state;
    struct layout l;
    struct layout_options o = options("east,west", "{node}.example.org");
    assert_int_equal(layout_make(&o, &l, NULL), ERR_OK);
    assert_string_equal(l.host, "demo.example.org");
    assert_string_equal(l.regions[0].host, "east.example.org");
    assert_string_equal(l.nodes[1].host, "east-2.example.org");
    assert_string_equal(l.listen, "0.0.0.0");
    assert_int_equal(l.nodes[1].port, 8081);
    assert_int_equal(l.nodes[1].peer_port, 10091);
    assert_false(l.stand_in);
}

static void bad_layouts_are_refused(void **state)
{
    (void)state;
    static const char *const regions[] = {
        "", "a,", ",a", "a,a", "A", "a b", "a,b,c,d,e,f,g,h,i,j", "-a"};
    static const char *const hosts[] = {"", "a b", "http://x", "{node}/"};
    struct layout l;
    struct err_msg msg;
    for (size_t i = 0; i < ARRAY_LEN(regions); i++) {
        struct layout_options o = options(regions[i], "127.0.0.1");
        assert_int_equal(layout_make(&o, &l, &msg), ERR_INVALID);
    }
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct layout_options o = options("a", hosts[i]);
        assert_int_equal(layout_make(&o, &l, &msg), ERR_INVALID);
    }
    struct layout_options o = options("a", "127.0.0.1");
    o.base_port = 65000;
    assert_int_equal(layout_make(&o, &l, &msg), ERR_INVALID);
}

static void what_was_created_can_be_read_back(void **state)
{
    (void)state;
    struct layout made, read;
    struct err_msg msg;
    struct stat st;
    char path[PATH_MAX];
    struct layout_options o = options("east,west", "127.0.0.1");
    assert_int_equal(layout_make(&o, &made, NULL), ERR_OK);
    assert_int_equal(layout_load(folder, &read, &msg), ERR_NOT_FOUND);
    assert_int_equal(create_cluster(&made, folder, &msg), ERR_OK);
    assert_int_equal(layout_load(folder, &read, &msg), ERR_OK);
    assert_string_equal(read.cluster, "demo");
    assert_int_equal(read.node_count, 4);
    for (unsigned i = 0; i < 4; i++) {
        assert_string_equal(read.nodes[i].name, made.nodes[i].name);
        assert_int_equal(read.nodes[i].id, made.nodes[i].id);
        assert_int_equal(read.nodes[i].region, made.nodes[i].region);
        assert_int_equal(read.nodes[i].port, made.nodes[i].port);
        assert_int_equal(read.nodes[i].admin_port, made.nodes[i].admin_port);
        assert_int_equal(read.nodes[i].peer_port, made.nodes[i].peer_port);
    }
    assert_int_equal(layout_path(folder, "east-1", "kek.key", path, &msg),
                     ERR_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(create_cluster(&made, folder, &msg), ERR_EXISTS);
}

static void unfinished_work_is_discarded_but_never_data(void **state)
{
    (void)state;
    struct layout l;
    struct err_msg msg;
    char data[PATH_MAX];
    struct layout_options o = options("east", "127.0.0.1");
    assert_int_equal(layout_make(&o, &l, NULL), ERR_OK);
    assert_int_equal(create_cluster(&l, folder, &msg), ERR_OK);
    assert_false(exists(".unfinished", NULL));
    make_file(".unfinished", NULL);
    remove_file("east-2", "node.yaml");
    assert_int_equal(layout_load(folder, &l, &msg), ERR_NOT_FOUND);
    layout_path(folder, "east-1", "data", data, NULL);
    assert_int_equal(mkdir(data, 0700), 0);
    assert_int_equal(create_discard_unfinished(folder, &msg), ERR_EXISTS);
    assert_non_null(strstr(msg.text, "east-1: holds data"));
    assert_true(exists("ca.key", NULL) && exists("east-2", "node.key"));
    assert_int_equal(rmdir(data), 0);
    assert_int_equal(create_discard_unfinished(folder, &msg), ERR_OK);
    assert_false(exists("ca.key", NULL) || exists("east-2", NULL) ||
                 exists(".unfinished", NULL));
    assert_int_equal(create_cluster(&l, folder, &msg), ERR_OK);
}

static void a_cluster_that_lost_a_file_is_not_unfinished(void **state)
{
    (void)state;
    struct layout l, read;
    struct err_msg msg;
    struct layout_options o = options("east", "127.0.0.1");
    assert_int_equal(layout_make(&o, &l, NULL), ERR_OK);
    assert_int_equal(create_cluster(&l, folder, &msg), ERR_OK);
    remove_file("east-2", "node.yaml");
    assert_int_equal(layout_load(folder, &read, &msg), ERR_NOT_FOUND);
    assert_int_equal(create_discard_unfinished(folder, &msg), ERR_EXISTS);
    assert_non_null(strstr(msg.text, "east-2/node.yaml"));
    assert_non_null(strstr(msg.text, "nothing was changed"));
    static const char *const names[] = {
        "ca.pem",       "ca.key",       "admin.pem", "admin.key",
        "cluster.keys", "account.keys", "kek.key"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_true(exists(names[i], NULL));
    assert_true(exists("east-1", "node.yaml") && exists("east-1", "node.key"));
}

static void files_of_others_are_left_alone(void **state)
{
    (void)state;
    struct layout l;
    struct err_msg msg;
    char path[PATH_MAX];
    struct layout_options o = options("east", "127.0.0.1");
    assert_int_equal(layout_make(&o, &l, NULL), ERR_OK);
    make_file("ca.key", NULL);
    assert_int_equal(create_discard_unfinished(folder, &msg), ERR_EXISTS);
    assert_non_null(strstr(msg.text, "nothing was changed"));
    assert_int_equal(create_cluster(&l, folder, &msg), ERR_EXISTS);
    assert_true(exists("ca.key", NULL));
    assert_false(exists(".unfinished", NULL));
    /* In a half made folder, those in sub-folders that are not a node's. */
    make_file(".unfinished", NULL);
    layout_path(folder, "backup", NULL, path, NULL);
    assert_int_equal(mkdir(path, 0700), 0);
    make_file("backup", "ca.pem");
    layout_path(folder, "east-1", NULL, path, NULL);
    assert_int_equal(mkdir(path, 0700), 0);
    make_file("east-1", "ca.pem");
    make_file("east-1", "ca.key");
    assert_int_equal(create_discard_unfinished(folder, &msg), ERR_EXISTS);
    assert_true(exists("ca.key", NULL) && exists("east-1", "ca.pem"));
    remove_file("east-1", "ca.key");
    assert_int_equal(create_discard_unfinished(folder, &msg), ERR_OK);
    assert_false(exists("ca.key", NULL) || exists("east-1", NULL));
    assert_true(exists("backup", "ca.pem"));
    remove_file("backup", "ca.pem");
    remove_file("backup", NULL);
}

static void a_folder_without_files_needs_no_marker(void **state)
{
    (void)state;
    struct layout l;
    struct err_msg msg;
    char path[PATH_MAX];
    struct layout_options o = options("east", "127.0.0.1");
    assert_int_equal(layout_make(&o, &l, NULL), ERR_OK);
    layout_path(folder, "none", NULL, path, NULL);
    assert_int_equal(create_discard_unfinished(path, &msg), ERR_OK);
    layout_path(folder, "east-1", NULL, path, NULL);
    assert_int_equal(mkdir(path, 0700), 0);
    make_file("demo.lock", NULL);
    make_file(".hidden", NULL);
    assert_int_equal(create_discard_unfinished(folder, &msg), ERR_OK);
    assert_int_equal(create_cluster(&l, folder, &msg), ERR_OK);
    remove_file("demo.lock", NULL);
    remove_file(".hidden", NULL);
}

/* Killed between making a node's folder and filling it, or in the middle of a
 * file. */
static void whatever_init_left_is_made_anew(void **state)
{
    (void)state;
    struct layout l, read;
    struct err_msg msg;
    char path[PATH_MAX];
    struct layout_options o = options("east", "127.0.0.1");
    o.sans = "db.example.org,fe80::1";
    assert_int_equal(layout_make(&o, &l, NULL), ERR_OK);
    make_file(".unfinished", NULL);
    assert_int_equal(create_cluster(&l, folder, &msg), ERR_EXISTS);
    assert_non_null(strstr(msg.text, "--if-missing"));
    layout_path(folder, "east-1", NULL, path, NULL);
    assert_int_equal(mkdir(path, 0700), 0);
    layout_path(folder, "east-2", NULL, path, NULL);
    assert_int_equal(mkdir(path, 0700), 0);
    make_file("east-2", "ca.pem.AbCdEf");
    assert_int_equal(create_cluster(&l, folder, &msg), ERR_EXISTS);
    assert_int_equal(create_discard_unfinished(folder, &msg), ERR_OK);
    assert_int_equal(create_cluster(&l, folder, &msg), ERR_OK);
    assert_int_equal(layout_load(folder, &read, &msg), ERR_OK);
    assert_true(layout_same(&l, &read));
    read.nodes[1].peer_port++;
    assert_false(layout_same(&l, &read));
    /* Killed before the very last step. */
    make_file(".unfinished", NULL);
    assert_int_equal(create_settle(folder, &msg), ERR_OK);
    assert_false(exists(".unfinished", NULL));
    assert_int_equal(create_settle(folder, &msg), ERR_OK);
}

static void names_for_certificates_are_checked(void **state)
{
    (void)state;
    struct layout l;
    struct layout_options o = options("east", "127.0.0.1");
    static const char *const bad[] = {"a b", "a,,b", "a/b", ","};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        o.sans = bad[i];
        assert_int_equal(layout_make(&o, &l, NULL), ERR_INVALID);
    }
    o.sans = "a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a";
    assert_int_equal(layout_make(&o, &l, NULL), ERR_INVALID);
}

#define ON_DISK(test)                                                          \
    cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ports_of_one_host_follow_the_scheme),
        cmocka_unit_test(a_pattern_gives_every_node_its_host),
        cmocka_unit_test(bad_layouts_are_refused),
        ON_DISK(what_was_created_can_be_read_back),
        ON_DISK(unfinished_work_is_discarded_but_never_data),
        ON_DISK(a_cluster_that_lost_a_file_is_not_unfinished),
        ON_DISK(files_of_others_are_left_alone),
        ON_DISK(a_folder_without_files_needs_no_marker),
        ON_DISK(whatever_init_left_is_made_anew),
        cmocka_unit_test(names_for_certificates_are_checked),
    };
    return cmocka_run_group_tests_name("cli/layout", tests, NULL, NULL);
}
