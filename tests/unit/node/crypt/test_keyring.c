/* Keys come only from private files and open only as what they were wrapped as.
 */
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

#include "node/base/err.h"
#include "node/crypt/keyring.h"

static char dir[64];
static struct err_msg msg;

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/bastide-keys-XXXXXX");
    return mkdtemp(dir) == NULL;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

static const char *in_dir(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static const char *write_file(const char *name, const char *text, mode_t mode)
{
    const char *path = in_dir(name);
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
    chmod(path, mode);
    return path;
}

#define HEX "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define BASE64 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

static void a_key_file_is_hex_or_base64(void **state)
{
    (void)state;
    static const char *const texts[] = {HEX, HEX "\n", BASE64, BASE64 "\r\n",
                                        "  " BASE64 "\n\n"};
    for (size_t i = 0; i < 5; i++) {
        struct kek kek;
        assert_int_equal(
            kek_load_file(write_file("k", texts[i], 0600), &msg, &kek), ERR_OK);
        for (uint8_t j = 0; j < KEY_LEN; j++)
            assert_int_equal(kek.key[j], j);
        kek_wipe(&kek);
    }
}

static void a_bad_key_file_is_refused_and_nothing_of_it_shown(void **state)
{
    (void)state;
    struct kek kek;
    static const char *const texts[] = {"",
                                        "short",
                                        HEX "00",
                                        BASE64 "AAAA",
                                        "zz0102030405060708090a0b0c0d0e0f"
                                        "101112131415161718191a1b1c1d1e1f",
                                        BASE64 "\n" BASE64};
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(
            kek_load_file(write_file("k", texts[i], 0600), &msg, &kek),
            ERR_INVALID);
        assert_null(strstr(msg.text, "0203"));
        assert_null(strstr(msg.text, "AAEC"));
    }
    static const mode_t modes[] = {0640, 0604, 0644, 0700, 0400, 04600};
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(
            kek_load_file(write_file("k", HEX, modes[i]), &msg, &kek),
            ERR_FORBIDDEN);
        assert_non_null(strstr(msg.text, "chmod 600"));
        unlink(in_dir("k"));
    }
    assert_int_equal(kek_load_file(in_dir("none"), &msg, &kek), ERR_NOT_FOUND);
    assert_int_equal(kek_load_file(dir, &msg, &kek), ERR_FORBIDDEN);
    write_file("k", HEX, 0600);
    char link_path[128];
    snprintf(link_path, sizeof(link_path), "%s/link", dir);
    assert_int_equal(symlink(in_dir("k"), link_path), 0);
    assert_int_equal(kek_load_file(link_path, &msg, &kek), ERR_FORBIDDEN);
}

static void a_created_key_file_loads_and_is_never_overwritten(void **state)
{
    (void)state;
    struct kek a, b;
    assert_int_equal(kek_create_file(in_dir("k"), &msg), ERR_OK);
    assert_int_equal(kek_create_file(in_dir("k"), &msg), ERR_EXISTS);
    assert_int_equal(kek_load_file(in_dir("k"), &msg, &a), ERR_OK);
    assert_int_equal(kek_create_file(in_dir("k2"), &msg), ERR_OK);
    assert_int_equal(kek_load_file(in_dir("k2"), &msg, &b), ERR_OK);
    assert_memory_not_equal(a.key, b.key, KEY_LEN);
}

static void a_wrapped_key_opens_only_as_itself(void **state)
{
    (void)state;
    struct kek kek = {{1}}, other = {{2}};
    struct key_name name = {"cluster", "group", 16, KEY_PURPOSE_DATA};
    uint8_t key[KEY_LEN], back[KEY_LEN], wrapped[KEY_WRAPPED_LEN];
    key_generate(key);
    assert_int_equal(key_wrap(&kek, &name, key, wrapped), ERR_OK);
    assert_int_equal(key_unwrap(&kek, &name, wrapped, back), ERR_OK);
    assert_memory_equal(key, back, KEY_LEN);
    assert_int_equal(key_unwrap(&other, &name, wrapped, back), ERR_AUTH);
    struct key_name names[] = {{"cluster2", "group", 16, KEY_PURPOSE_DATA},
                               {"cluster", "groups", 16, KEY_PURPOSE_DATA},
                               {"clusterg", "roup", 16, KEY_PURPOSE_DATA},
                               {"cluster", "group", 17, KEY_PURPOSE_DATA},
                               {"cluster", "group", 16, KEY_PURPOSE_INDEX}};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(key_unwrap(&kek, &names[i], wrapped, back), ERR_AUTH);
    for (size_t bit = 0; bit < 8 * sizeof(wrapped); bit++) {
        wrapped[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(key_unwrap(&kek, &name, wrapped, back), ERR_AUTH);
        wrapped[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_memory_equal(key, back, KEY_LEN); /* untouched on failure */
}

static void a_ring_keeps_keys_by_id_and_purpose(void **state)
{
    (void)state;
    struct keyring *r = keyring_new();
    uint8_t a[KEY_LEN] = {1}, b[KEY_LEN] = {2};
    assert_int_equal(keyring_add(r, 16, KEY_PURPOSE_DATA, a), ERR_OK);
    assert_int_equal(keyring_add(r, 16, KEY_PURPOSE_DATA, a), ERR_OK);
    assert_int_equal(keyring_add(r, 16, KEY_PURPOSE_DATA, b), ERR_EXISTS);
    assert_int_equal(keyring_add(r, 16, KEY_PURPOSE_INDEX, a), ERR_EXISTS);
    assert_memory_equal(keyring_find(r, 16, KEY_PURPOSE_DATA), a, KEY_LEN);
    assert_null(keyring_find(r, 16, KEY_PURPOSE_INDEX));
    assert_null(keyring_find(r, 17, KEY_PURPOSE_DATA));
    for (uint32_t id = 17; id < 16 + KEYRING_KEYS_MAX; id++)
        assert_int_equal(keyring_add(r, id, KEY_PURPOSE_DATA, b), ERR_OK);
    assert_int_equal(keyring_add(r, 9, KEY_PURPOSE_DATA, b), ERR_FULL);
    keyring_free(r);
}

static void cluster_keys_come_back_with_the_right_kek(void **state)
{
    (void)state;
    struct kek kek = {{1}}, other = {{2}};
    struct cluster_keys keys, again;
    struct stat st;
    char path[128];
    strcpy(path, in_dir("cluster.keys"));
    assert_int_equal(cluster_keys_create(path, &kek, "bad name", &msg),
                     ERR_INVALID);
    assert_int_equal(cluster_keys_create(path, &kek, "demo", &msg), ERR_OK);
    assert_int_equal(cluster_keys_create(path, &kek, "demo", &msg), ERR_EXISTS);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(cluster_keys_read(path, &kek, "demo", &msg, &keys),
                     ERR_OK);
    assert_string_equal(keys.cluster, "demo");
    assert_int_equal(strlen(keys.cluster_id), CLUSTER_ID_LEN);
    assert_memory_not_equal(keys.data, keys.index, KEY_LEN);
    assert_int_equal(cluster_keys_read(path, &kek, NULL, &msg, &again), ERR_OK);
    assert_memory_equal(keys.data, again.data, KEY_LEN);
    assert_int_equal(cluster_keys_read(path, &other, "demo", &msg, &again),
                     ERR_AUTH);
    assert_int_equal(cluster_keys_read(path, &kek, "prod", &msg, &again),
                     ERR_IDENTITY);
    struct keyring *r = keyring_new();
    assert_int_equal(cluster_keys_open(&keys, r), ERR_OK);
    assert_memory_equal(keyring_find(r, KEY_ID_CLUSTER_DATA, KEY_PURPOSE_DATA),
                        keys.data, KEY_LEN);
    assert_memory_equal(
        keyring_find(r, KEY_ID_CLUSTER_INDEX, KEY_PURPOSE_INDEX), keys.index,
        KEY_LEN);
    keyring_free(r);
    chmod(path, 0644);
    assert_int_equal(cluster_keys_read(path, &kek, "demo", &msg, &again),
                     ERR_FORBIDDEN);
}

static void a_bad_cluster_keys_file_is_refused_with_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
        const char *where;
    } cases[] = {
        {"", ERR_INVALID, "cluster.keys: expected"},
        {"cluster demo\n", ERR_INVALID, ":1:"},
        {"format 2\n", ERR_UNSUPPORTED, ":1:"},
        {"format x\n", ERR_INVALID, ":1:"},
        {"# hello\nformat 1\ncluster a b\n", ERR_INVALID, ":3:"},
        {"format 1\ncluster a\ncluster b\n", ERR_INVALID, ":3:"},
        {"format 1\ndata 1 AAAA\n", ERR_INVALID, ":2:"},
        {"format 1\ncluster-id x\ndata 7 AAAA\n", ERR_INVALID, ":3:"},
        {"format 1\ncluster-id x\ndata 1 AAAA\n", ERR_INVALID, ":3:"},
        {"format 1\nunknown x\n", ERR_INVALID, ":2:"},
        {"format 1\ncluster a\ncluster-id b\n", ERR_INVALID, "expected"},
    };
    struct kek kek = {{1}};
    struct cluster_keys keys;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *path = write_file("cluster.keys", cases[i].text, 0600);
        assert_int_equal(cluster_keys_read(path, &kek, NULL, &msg, &keys),
                         cases[i].code);
        assert_non_null(strstr(msg.text, cases[i].where));
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static void ids_of_keys_tell_group_and_version(void **state)
{
    (void)state;
    static const uint16_t groups[] = {0, 1, 7, 2047, UINT16_MAX};
    assert_int_equal(group_key_id(0, KEY_PURPOSE_DATA, 0), KEY_ID_GROUP_FIRST);
    assert_int_equal(group_key_id(3, KEY_PURPOSE_INDEX, 0),
                     KEY_ID_GROUP_FIRST + 7);
    for (size_t i = 0; i < 5; i++)
        for (uint32_t v = 0; v < KEY_VERSIONS_MAX; v += 31) {
            uint32_t id = group_key_id(groups[i], KEY_PURPOSE_DATA, v);
            assert_int_equal(group_of_key_id(id), groups[i]);
            assert_int_equal(version_of_key_id(id), v);
        }
}

static void count_key(void *user, uint32_t id, enum key_purpose purpose)
{
    uint32_t *sum = user;
    *sum += id * 10 + (uint32_t)purpose;
}

static void every_key_of_a_ring_is_told(void **state)
{
    (void)state;
    uint8_t key[KEY_LEN] = {1};
    uint32_t sum = 0;
    struct keyring *ring = keyring_new();
    keyring_each(ring, count_key, &sum);
    assert_int_equal(sum, 0);
    assert_int_equal(keyring_add(ring, 20, KEY_PURPOSE_DATA, key), ERR_OK);
    assert_int_equal(keyring_add(ring, 21, KEY_PURPOSE_INDEX, key), ERR_OK);
    keyring_each(ring, count_key, &sum);
    assert_int_equal(sum, 201 + 212);
    keyring_free(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_key_file_is_hex_or_base64),
        TEST(a_bad_key_file_is_refused_and_nothing_of_it_shown),
        TEST(a_created_key_file_loads_and_is_never_overwritten),
        TEST(a_wrapped_key_opens_only_as_itself),
        TEST(a_ring_keeps_keys_by_id_and_purpose),
        TEST(ids_of_keys_tell_group_and_version),
        TEST(every_key_of_a_ring_is_told),
        TEST(cluster_keys_come_back_with_the_right_kek),
        TEST(a_bad_cluster_keys_file_is_refused_with_its_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
