/* Settings come from file, environment and flags in that order, and what is
 * wrong is refused with the place, what was found and what was expected. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/file.h"
#include "node/base/mem.h"
#include "node/config/config.h"

static char folder[64], path[128];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/bastide-config-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(path, sizeof(path), "%s/node.yaml", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

/* A complete file: line numbers of its parts are used below. */
#define WHO                                                                    \
    "cluster: demo\n"                                                          \
    "region: west\n"                                                           \
    "node: west-1\n"                                                           \
    "id: 2\n"
#define PLACES                                                                 \
    "data_dir: data\n"                                                         \
    "listen: {account: '127.0.0.1:1', region: '127.0.0.1:2', node: "           \
    "'[::1]:3', admin: 'h:4', peer: 'h:5'}\n"                                  \
    "account: {endpoint: 'https://127.0.0.1:1/'}\n"                            \
    "tls: {ca: ca.pem, cert: ./node.pem, key: /k/node.key}\n"                  \
    "keys: {kek: kek.key, cluster: cluster.keys, account: account.keys}\n"
#define REGIONS                                                                \
    "regions:\n"                                                               \
    "- {name: west, priority: 1, endpoint: 'https://w:2/', listen: 'h:2',\n"   \
    "   nodes: [{name: west-1, id: 2, peer: 'h:5', endpoint: 'https://w:3/'}]" \
    "}\n"                                                                      \
    "- {name: east, priority: 0, endpoint: 'https://e:2/', listen: 'h:6',\n"   \
    "   nodes: [{name: east-1, id: 1, peer: 'h:7', endpoint: 'https://e:3/'}]" \
    "}\n"

static int load(const char *text, const char *const *env, const char *set,
                struct config **config_out, struct err_msg *msg)
{
    assert_int_equal(file_replace(path, 0600, bytes_str(text), NULL), ERR_OK);
    const struct config_sources sources = {
        .file = path, .env = env, .sets = &set, .set_count = set != NULL};
    return config_load(&sources, config_out, msg);
}

static void a_good_file_gives_a_complete_configuration(void **state)
{
    (void)state;
    struct config *c;
    struct err_msg msg;
    char expected[128];
    assert_int_equal(load(WHO PLACES REGIONS, NULL, NULL, &c, &msg), ERR_OK);
    assert_string_equal(c->cluster, "demo");
    assert_int_equal(c->id, 2);
    assert_string_equal(c->listen.node.host, "::1");
    assert_int_equal(c->listen.node.port, 3);
    snprintf(expected, sizeof(expected), "%s/node.pem", folder);
    assert_string_equal(c->tls.cert, expected);
    assert_string_equal(c->tls.key, "/k/node.key");
    assert_int_equal(c->shards, 2);
    assert_int_equal(c->limits.memtable_bytes, 64 << 20);
    assert_int_equal(c->tls.min_version, CONFIG_TLS_1_3);
    assert_false(c->stand_in);
    assert_true(c->forward_writes);
    /* Regions in the order of their priority. */
    assert_int_equal(c->region_count, 2);
    assert_string_equal(c->regions[0].name, "east");
    assert_ptr_equal(c->own_region, &c->regions[1]);
    assert_string_equal(c->own_node->name, "west-1");
    const struct config_region *region;
    assert_string_equal(config_find_node(c, 1, &region)->name, "east-1");
    assert_ptr_equal(region, &c->regions[0]);
    assert_null(config_find_node(c, 3, NULL));
    config_free(c);
}

static void flags_win_over_environment_over_file(void **state)
{
    (void)state;
    struct config *c;
    struct err_msg msg;
    const char *env[] = {"BASTIDE_WORKERS=3",
                         "BASTIDE_LIMITS_MEMTABLE_BYTES=2GiB",
                         "BASTIDE_LOG_LEVEL=warn",
                         "BASTIDE_FAULTS=log.sync=eio",
                         "HOME=/",
                         NULL};
    const char *file = WHO PLACES REGIONS "workers: 1\nshards: 5\n";
    assert_int_equal(load(file, env, "workers=4", &c, &msg), ERR_OK);
    assert_int_equal(c->workers, 4);
    assert_int_equal(c->limits.memtable_bytes, 2ull << 30);
    assert_int_equal(c->log.level, LOG_WARN);
    assert_int_equal(c->shards, 5);
    assert_string_equal(c->faults, "log.sync=eio");
    config_free(c);
}

/* Each text is refused with a message that contains the second one. */
static const struct {
    const char *text, *expected;
} refused[] = {
    {"", "node.yaml: the file is empty"},
    {"- 1\n", "found a list, expected a mapping"},
    {"a: b: c\n", "node.yaml:1: not YAML"},
    {"cluster: demo\nclutser: x\n", "node.yaml:2: unknown key \"clutser\""},
    {"log:\n  levle: info\n", "node.yaml:2: unknown key \"log.levle\""},
    {"id: 1\nid: 2\n", "node.yaml:2: duplicate key \"id\""},
    {"regions: []\nregions: []\n", "regions: found 0 entries, expected 1 to"},
    {"id: 256\n", "id: found \"256\", expected a whole number from 1 to 255"},
    {"id:\n", "id: found nothing, expected a whole number"},
    {"id: [1]\n", "id: found a list, expected one value"},
    {"id: -1\n", "found \"-1\""},
    {"node: West_1\n", "found \"West_1\", expected a name"},
    {"stand_in: yes\n", "expected true or false"},
    {"tls: {min_version: '1.1'}\n", "found \"1.1\", expected 1.3 or 1.2"},
    {"listen: {admin: '9091'}\n", "expected an address as host:port"},
    {"listen: {admin: 'h:0'}\n", "found \"h:0\""},
    {"listen: {admin: 'h:65536'}\n", "found \"h:65536\""},
    {"listen: {admin: 'a:b:1'}\n", "found \"a:b:1\""},
    {"account: {endpoint: 'http://h:1/'}\n", "expected a URL as https://"},
    {"account: {endpoint: 'https://h:1'}\n", "expected a URL as https://"},
    {"account: {endpoint: 'https://h:1/x'}\n", "expected a URL as https://"},
    {"limits: {memtable_bytes: 1KiB}\n", "expected a size from 16MiB to 64GiB"},
    {"limits: {memtable_bytes: 1mb}\n", "expected a size"},
    {"limits: {memtable_bytes: 99999999999999999999}\n", "expected a size"},
    {"log: {level: loud}\n", "expected debug, info, warn or error"},
    {"consistency: eventually\n", "found \"eventually\", expected strong"},
    {"consistency: session,K=3\n", "found \"session,K=3\""},
    {"consistency: bounded,K=0\n", "found \"bounded,K=0\""},
    {"consistency: 'bounded,'\n", "found \"bounded,\""},
    {"latency: west:east=80\n", "found \"west:east=80\""},
    {"latency: [west:east=80ms, west=1ms]\n", "found \"west=1ms\""},
    {"latency: 11s\n", "found \"11s\""},
    {WHO PLACES REGIONS "latency: west:north=80ms\n",
     "latency: there is no region \"north\""},
    {WHO PLACES REGIONS "latency: world\n",
     "latency: world has no round trips for "},
    {"regions: [{name: a}]\n", "regions: \"priority\" is missing"},
    {"regions: [{name: a, colour: red}]\n", "unknown key \"colour\""},
    {"regions: [{nodes: [{id: x}]}]\n", "nodes.id: found \"x\""},
    {PLACES REGIONS, "cluster is missing, expected a name"},
    {WHO PLACES, "regions is missing"},
    {WHO PLACES REGIONS "timeouts: {lease_ms: 900}\n",
     "timeouts.lease_ms 900 and timeouts.election_ms 800"},
};

static void what_is_wrong_is_refused_with_its_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct config *c = NULL;
        struct err_msg msg = {""};
        int err = load(refused[i].text, NULL, NULL, &c, &msg);
        if (err == ERR_OK || strstr(msg.text, refused[i].expected) == NULL)
            fail_msg("%s: got \"%s\", expected \"%s\"", refused[i].text,
                     msg.text, refused[i].expected);
        assert_null(c);
    }
}

static void latencies_are_found_by_pair(void **state)
{
    (void)state;
    struct config *c;
    struct err_msg msg;
    assert_int_equal(load(WHO PLACES REGIONS, NULL, NULL, &c, &msg), ERR_OK);
    assert_int_equal(config_rtt_us(c, "east", "west"), 0);
    assert_false(c->fault_injection);
    config_free(c);
    assert_int_equal(load(WHO PLACES REGIONS
                          "latency: [ 1s, \"west:east=80ms\", west:west=5us ]\n"
                          "fault_injection: true\n",
                          NULL, NULL, &c, &msg),
                     ERR_OK);
    assert_int_equal(config_rtt_us(c, "east", "west"), 80000);
    assert_int_equal(config_rtt_us(c, "west", "east"), 80000);
    assert_int_equal(config_rtt_us(c, "west", "west"), 5);
    assert_int_equal(config_rtt_us(c, "east", "east"), 0);
    assert_true(c->fault_injection);
    config_free(c);
    /* A flag replaces the file's whole list. */
    assert_int_equal(load(WHO PLACES REGIONS "latency: west:west=5us\n", NULL,
                          "latency=2ms,east:east=3ms", &c, &msg),
                     ERR_OK);
    assert_int_equal(config_rtt_us(c, "west", "west"), 0);
    assert_int_equal(config_rtt_us(c, "east", "east"), 3000);
    assert_int_equal(config_rtt_us(c, "east", "west"), 2000);
    config_free(c);
}

static void levels_are_read_and_written(void **state)
{
    (void)state;
    static const struct {
        const char *text, *back;
    } rows[] = {
        {"strong", "strong"},
        {"BoundedStaleness", "bounded,K=100000,T=300"},
        {"bounded,K=1,T=1", "bounded,K=1,T=1"},
        {"bounded,t=7", "bounded,K=100000,T=7"},
        {"bounded-staleness,k=7", "bounded,K=7,T=300"},
        {"consistent-prefix", "prefix"},
        {"SESSION", "session"},
        {"ConsistentPrefix", "prefix"},
        {"eventual", "eventual"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct config_consistency c;
        char text[CONFIG_CONSISTENCY_TEXT_MAX];
        assert_int_equal(config_parse_consistency(rows[i].text, &c, NULL),
                         ERR_OK);
        config_format_consistency(&c, text);
        assert_string_equal(text, rows[i].back);
    }
}

/* The regions list must be consistent and contain the node itself. */
static const struct {
    const char *from, *to, *expected;
} broken[] = {
    {"name: east,", "name: west,", "two regions are named west"},
    {"priority: 0", "priority: 1", "both have priority 1"},
    {"id: 1", "id: 2", "have the same id"},
    {"name: east-1", "name: west-1", "have the same name"},
    {"'h:7'", "'h:5'", "have the same peer"},
    {"id: 1", "id: 0", "has id 0"},
    {"name: west,", "name: south,", "region \"west\" is not in the list"},
    {"name: west-1, id: 2", "name: west-2, id: 2",
     "node \"west-1\" is not in the list"},
    {"name: west-1, id: 2", "name: west-1, id: 9", "expected 9"},
};

static void inconsistent_topology_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        char text[2048] = WHO PLACES;
        const char *at = strstr(REGIONS, broken[i].from);
        assert_non_null(at);
        int head = (int)(at - REGIONS);
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%.*s%s%s",
                 head, REGIONS, broken[i].to, at + strlen(broken[i].from));
        struct config *c = NULL;
        struct err_msg msg = {""};
        assert_int_equal(load(text, NULL, NULL, &c, &msg), ERR_INVALID);
        if (strstr(msg.text, broken[i].expected) == NULL)
            fail_msg("got \"%s\", expected \"%s\"", msg.text,
                     broken[i].expected);
    }
}

#define HEX_A "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
#define HEX_B "de9edb7d7b7dc1b4d35b61c2ece435373f8343c89b83b2d4e8d0e7e8b4b3b7a2"
#define HEX_ZERO                                                               \
    "0000000000000000000000000000000000000000000000000000000000000000"

/* Puts a key (NULL = none) into the entries of west and east. */
static int load_keys(const char *west, const char *east,
                     struct config **config_out, struct err_msg *msg)
{
    char text[2048];
    const char *keys[] = {west, east}, *rest = REGIONS;
    strcpy(text, WHO PLACES);
    for (size_t i = 0; i < 2; i++) {
        const char *at = strstr(rest, "- {") + strlen("- {");
        size_t len = strlen(text);
        snprintf(text + len, sizeof(text) - len, "%.*s%s%s%s", (int)(at - rest),
                 rest, keys[i] != NULL ? "key: '" : "",
                 keys[i] != NULL ? keys[i] : "", keys[i] != NULL ? "', " : "");
        rest = at;
    }
    strcat(text, rest);
    return load(text, NULL, NULL, config_out, msg);
}

static void all_regions_have_keys_or_none(void **state)
{
    (void)state;
    struct config *c = NULL;
    struct err_msg msg;
    char expected[128];
    assert_int_equal(load_keys(NULL, NULL, &c, &msg), ERR_OK);
    assert_false(config_has_region_keys(c));
    config_free(c);
    assert_int_equal(load_keys(HEX_A, HEX_B, &c, &msg), ERR_OK);
    assert_true(config_has_region_keys(c));
    assert_int_equal(config_find_region(c, "west")->key.public_key[0], 0x85);
    assert_int_equal(config_find_region(c, "east")->key.public_key[0], 0xde);
    snprintf(expected, sizeof(expected), "%s/region.key", folder);
    assert_string_equal(c->keys.region, expected);
    config_free(c);
    static const struct {
        const char *west, *east, *expected;
    } rows[] = {
        {HEX_A, NULL, "region west has a key and region east has none"},
        {NULL, HEX_A, "region east has a key and region west has none"},
        {HEX_A, HEX_A, "regions west and east have the same key"},
        {HEX_A, "85", "regions.key: found \"85\", expected a region's"},
        {HEX_A, HEX_ZERO, "regions.key: found \"00"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(load_keys(rows[i].west, rows[i].east, &c, &msg),
                         ERR_INVALID);
        if (strstr(msg.text, rows[i].expected) == NULL)
            fail_msg("got \"%s\", expected \"%s\"", msg.text, rows[i].expected);
    }
}

static void unknown_variables_and_flags_are_refused(void **state)
{
    (void)state;
    const char *good = WHO PLACES REGIONS;
    struct config *c = NULL;
    struct err_msg msg;
    const char *typo[] = {"BASTIDE_WORKER=1", NULL};
    const char *bad[] = {"BASTIDE_LOG_LEVEL=loud", NULL};
    assert_int_equal(load(good, typo, NULL, &c, &msg), ERR_INVALID);
    assert_non_null(strstr(msg.text, "BASTIDE_WORKER: unknown"));
    assert_int_equal(load(good, bad, NULL, &c, &msg), ERR_INVALID);
    assert_non_null(strstr(msg.text, "BASTIDE_LOG_LEVEL: log.level: found"));
    assert_int_equal(load(good, NULL, "wrokers=1", &c, &msg), ERR_INVALID);
    assert_non_null(strstr(msg.text, "--set wrokers: unknown setting"));
    assert_int_equal(load(good, NULL, "workers", &c, &msg), ERR_INVALID);
    assert_non_null(strstr(msg.text, "expected name=value"));
    assert_int_equal(load(good, NULL, "workers=x", &c, &msg), ERR_INVALID);
    assert_non_null(strstr(msg.text, "found \"x\""));
    assert_int_equal(load(good, NULL, "listen.peer=h:4", &c, &msg),
                     ERR_INVALID);
    assert_non_null(strstr(msg.text, "listen.peer and listen.admin are both"));
}

static void a_missing_or_unreadable_file_is_named(void **state)
{
    (void)state;
    struct config *c = NULL;
    struct err_msg msg;
    const struct config_sources none = {.file = "/nowhere/node.yaml"};
    assert_int_equal(config_load(&none, &c, &msg), ERR_NOT_FOUND);
    assert_non_null(strstr(msg.text, "/nowhere/node.yaml: cannot read it"));
    const struct config_sources dir = {.file = folder};
    assert_int_equal(config_load(&dir, &c, &msg), ERR_INVALID);
    assert_non_null(strstr(msg.text, "expected a regular file"));
}

/* ---- account keys ----------------------------------------------------------
 */

static void created_account_keys_load_and_differ(void **state)
{
    (void)state;
    struct config_account_keys keys;
    struct err_msg msg;
    struct stat st;
    assert_int_equal(config_account_keys_create(path, &msg), ERR_OK);
    assert_int_equal(config_account_keys_create(path, &msg), ERR_EXISTS);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(config_account_keys_load(path, &keys, &msg), ERR_OK);
    for (int i = 0; i < CONFIG_KEY_COUNT; i++) {
        assert_int_equal(strlen(keys.text[i]), CONFIG_MASTER_KEY_TEXT_LEN);
        for (int j = 0; j < i; j++)
            assert_memory_not_equal(keys.raw[i], keys.raw[j],
                                    CONFIG_MASTER_KEY_LEN);
    }
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(config_account_keys_load(path, &keys, &msg),
                     ERR_FORBIDDEN);
    assert_non_null(strstr(msg.text, "chmod 600"));
}

static void one_account_key_is_rotated_and_the_others_stay(void **state)
{
    (void)state;
    struct config_account_keys before, after;
    struct err_msg msg;
    struct stat st;
    assert_int_equal(config_account_keys_create(path, &msg), ERR_OK);
    assert_int_equal(config_account_keys_load(path, &before, &msg), ERR_OK);
    assert_int_equal(
        config_account_keys_rotate(path, CONFIG_KEY_SECONDARY, &msg), ERR_OK);
    assert_int_equal(config_account_keys_load(path, &after, &msg), ERR_OK);
    for (int i = 0; i < CONFIG_KEY_COUNT; i++)
        assert_int_equal(strcmp(before.text[i], after.text[i]) == 0,
                         i != CONFIG_KEY_SECONDARY);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(config_account_keys_rotate(path, CONFIG_KEY_PRIMARY, &msg),
                     ERR_NOT_FOUND);
}

static void bad_account_keys_are_refused_without_showing_them(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"", "key primary is missing"},
        {"primary: c2VjcmV0\n", ":1: primary: expected the base64 form of 64"},
        {"primary: %%%%\n", ":1: primary: expected the base64 form"},
        {"# note\n\ntertiary: c2VjcmV0\n", ":3: expected \"primary: \""},
        {"c2VjcmV0\n", ":1: expected \"primary: \""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config_account_keys keys;
        struct err_msg msg = {""};
        assert_int_equal(
            file_replace(path, 0600, bytes_str(cases[i].text), NULL), ERR_OK);
        assert_int_equal(config_account_keys_load(path, &keys, &msg),
                         ERR_INVALID);
        if (strstr(msg.text, cases[i].expected) == NULL)
            fail_msg("got \"%s\", expected \"%s\"", msg.text,
                     cases[i].expected);
        assert_null(strstr(msg.text, "c2VjcmV0"));
    }
}

static void a_value_may_stand_in_a_file_of_its_own(void **state)
{
    (void)state;
    struct config *c;
    struct err_msg msg;
    char value[160], variable[224];
    snprintf(value, sizeof(value), "%s.value", path);
    snprintf(variable, sizeof(variable), "BASTIDE_LOG_LEVEL_FILE=%s", value);
    const char *file = WHO PLACES REGIONS;
    const char *env[] = {variable, "BASTIDE_CONFIG=/elsewhere", NULL};
    assert_int_equal(file_replace(value, 0600, bytes_str("warn\r\n"), NULL),
                     ERR_OK);
    assert_int_equal(load(file, env, NULL, &c, &msg), ERR_OK);
    assert_int_equal(c->log.level, LOG_WARN);
    config_free(c);

    const char *both[] = {"BASTIDE_LOG_LEVEL=info", variable, NULL};
    assert_int_equal(load(file, both, NULL, &c, &msg), ERR_INVALID);
    assert_non_null(strstr(msg.text, "given by value and by file"));

    assert_int_equal(file_replace(value, 0600, bytes_str("loud"), NULL),
                     ERR_OK);
    assert_int_equal(load(file, env, NULL, &c, &msg), ERR_INVALID);
    assert_non_null(strstr(msg.text, "BASTIDE_LOG_LEVEL_FILE: log.level: "));
    assert_null(strstr(msg.text, "loud"));
    assert_int_equal(file_replace(value, 0600, bytes_of("info\0x", 6), NULL),
                     ERR_OK);
    assert_int_equal(load(file, env, NULL, &c, &msg), ERR_INVALID);

    /* Where the value is the name of a file, it is that file. */
    snprintf(variable, sizeof(variable), "BASTIDE_KEYS_KEK_FILE=%s", value);
    assert_int_equal(load(file, env, NULL, &c, &msg), ERR_OK);
    assert_string_equal(c->keys.kek, value);
    config_free(c);
    snprintf(variable, sizeof(variable), "BASTIDE_LOG_LEVEL_FILE=%s", value);

    assert_int_equal(unlink(value), 0);
    assert_int_equal(load(file, env, NULL, &c, &msg), ERR_NOT_FOUND);
    assert_non_null(strstr(msg.text, value));
    const char *unknown[] = {"BASTIDE_LOUD_FILE=/x", NULL};
    assert_int_equal(load(file, unknown, NULL, &c, &msg), ERR_INVALID);
    assert_non_null(strstr(msg.text, "BASTIDE_LOUD_FILE: unknown"));
}

static void regions_can_be_advertised_elsewhere(void **state)
{
    (void)state;
    struct config *c;
    struct err_msg msg;
    const char *file = WHO PLACES REGIONS;
    const char *env[] = {"BASTIDE_ADVERTISE=host",
                         "BASTIDE_ADVERTISE_REGIONS=east=https://h:18082/",
                         NULL};
    assert_int_equal(load(file, env, NULL, &c, &msg), ERR_OK);
    assert_int_equal(c->advertise, CONFIG_ADVERTISE_HOST);
    assert_string_equal(config_find_region(c, "east")->endpoint,
                        "https://h:18082/");
    assert_string_equal(config_find_region(c, "west")->endpoint,
                        "https://w:2/");
    config_free(c);
    static const char *const bad[] = {
        "advertise=loudly", "advertise_regions=north=https://h:1/",
        "advertise_regions=east", "advertise_regions=east=http://h:1/",
        "advertise_regions=east=https://h:1/x"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(load(file, NULL, bad[i], &c, &msg), ERR_INVALID);
}

static void every_setting_is_described(void **state)
{
    (void)state;
    struct config_setting s;
    size_t count = 0;
    for (; config_describe(count, &s); count++) {
        assert_true(strlen(s.help) > 10);
        assert_true(strlen(s.expected) > 5);
    }
    assert_true(count > 30);
}

#define ON_DISK(test)                                                          \
    cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_DISK(a_good_file_gives_a_complete_configuration),
        ON_DISK(flags_win_over_environment_over_file),
        ON_DISK(what_is_wrong_is_refused_with_its_place),
        ON_DISK(inconsistent_topology_is_refused),
        ON_DISK(all_regions_have_keys_or_none),
        ON_DISK(unknown_variables_and_flags_are_refused),
        ON_DISK(a_missing_or_unreadable_file_is_named),
        ON_DISK(created_account_keys_load_and_differ),
        ON_DISK(one_account_key_is_rotated_and_the_others_stay),
        ON_DISK(bad_account_keys_are_refused_without_showing_them),
        ON_DISK(latencies_are_found_by_pair),
        ON_DISK(a_value_may_stand_in_a_file_of_its_own),
        ON_DISK(regions_can_be_advertised_elsewhere),
        cmocka_unit_test(levels_are_read_and_written),
        cmocka_unit_test(every_setting_is_described),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
