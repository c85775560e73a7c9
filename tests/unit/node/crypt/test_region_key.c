/* What was wrapped for a region opens with that region's key alone, and its
 * file only where it belongs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/file.h"
#include "node/crypt/region_key.h"

#define CLUSTER "0d3c6f0e-0000-4000-8000-000000000001"
#define OTHER_CLUSTER "0d3c6f0e-0000-4000-8000-000000000002"

static char dir[64];
static struct err_msg msg;
static struct kek kek = {.key = "a key-encryption key of 32 bytes"};
static const struct key_name group_key = {
    .cluster = CLUSTER, .group = "eu", .id = 16, .purpose = KEY_PURPOSE_DATA};

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/bastide-region-XXXXXX");
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

static struct region_key make(const char *region)
{
    struct region_key key;
    assert_int_equal(region_key_generate(region, &key), ERR_OK);
    return key;
}

/* ---- wrapping --------------------------------------------------------------
 */

static void a_wrapped_key_opens_in_its_region(void **state)
{
    (void)state;
    struct region_key own = make("germany");
    uint8_t key[KEY_LEN], back[KEY_LEN];
    uint8_t wrapped[REGION_WRAPPED_LEN], again[REGION_WRAPPED_LEN];
    key_generate(key);
    assert_int_equal(
        region_wrap("germany", own.public_key, &group_key, key, wrapped),
        ERR_OK);
    assert_int_equal(region_unwrap(&own, &group_key, wrapped, back), ERR_OK);
    assert_memory_equal(key, back, KEY_LEN);
    /* Nothing of one wrap returns in another. */
    assert_int_equal(
        region_wrap("germany", own.public_key, &group_key, key, again), ERR_OK);
    for (size_t i = 0; i < REGION_WRAPPED_LEN; i += 16)
        assert_memory_not_equal(wrapped + i, again + i, 16);
}

static void no_other_region_opens_it(void **state)
{
    (void)state;
    struct region_key germany = make("germany"), us = make("us");
    struct region_key renamed = germany;
    uint8_t key[KEY_LEN] = {7}, back[KEY_LEN] = {0}, zero[KEY_LEN] = {0};
    uint8_t wrapped[REGION_WRAPPED_LEN];
    assert_int_equal(
        region_wrap("germany", germany.public_key, &group_key, key, wrapped),
        ERR_OK);
    assert_int_equal(region_unwrap(&us, &group_key, wrapped, back), ERR_AUTH);
    /* The same pair under another name, and another pair under the same. */
    strcpy(renamed.region, "france");
    assert_int_equal(region_unwrap(&renamed, &group_key, wrapped, back),
                     ERR_AUTH);
    strcpy(us.region, "germany");
    assert_int_equal(region_unwrap(&us, &group_key, wrapped, back), ERR_AUTH);
    assert_memory_equal(back, zero, KEY_LEN);
}

static void every_byte_counts(void **state)
{
    (void)state;
    struct region_key own = make("germany");
    uint8_t key[KEY_LEN] = {7}, back[KEY_LEN] = {0}, zero[KEY_LEN] = {0};
    uint8_t wrapped[REGION_WRAPPED_LEN];
    assert_int_equal(
        region_wrap("germany", own.public_key, &group_key, key, wrapped),
        ERR_OK);
    for (size_t i = 0; i < REGION_WRAPPED_LEN; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            wrapped[i] ^= (uint8_t)(1u << bit);
            assert_int_equal(region_unwrap(&own, &group_key, wrapped, back),
                             ERR_AUTH);
            wrapped[i] ^= (uint8_t)(1u << bit);
        }
    assert_memory_equal(back, zero, KEY_LEN);
    assert_int_equal(region_unwrap(&own, &group_key, wrapped, back), ERR_OK);
}

static void it_is_no_key_of_another_name(void **state)
{
    (void)state;
    struct region_key own = make("germany");
    uint8_t key[KEY_LEN] = {7}, back[KEY_LEN];
    uint8_t wrapped[REGION_WRAPPED_LEN];
    const struct key_name others[] = {
        {OTHER_CLUSTER, "eu", 16, KEY_PURPOSE_DATA},
        {CLUSTER, "us", 16, KEY_PURPOSE_DATA},
        {CLUSTER, "", 16, KEY_PURPOSE_DATA},
        {CLUSTER, "eu", 17, KEY_PURPOSE_DATA},
        {CLUSTER, "eu", 16, KEY_PURPOSE_INDEX},
        {CLUSTER "e", "u", 16, KEY_PURPOSE_DATA}};
    assert_int_equal(
        region_wrap("germany", own.public_key, &group_key, key, wrapped),
        ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_int_equal(region_unwrap(&own, &others[i], wrapped, back),
                         ERR_AUTH);
}

static void names_that_are_too_long_are_refused(void **state)
{
    (void)state;
    struct region_key own = make("germany");
    uint8_t key[KEY_LEN] = {7}, wrapped[REGION_WRAPPED_LEN];
    char name[KEY_NAME_MAX + 2] = "";
    memset(name, 'x', KEY_NAME_MAX + 1);
    struct key_name long_group = group_key;
    long_group.group = name;
    assert_int_equal(
        region_wrap(name, own.public_key, &group_key, key, wrapped), ERR_LIMIT);
    assert_int_equal(
        region_wrap("germany", own.public_key, &long_group, key, wrapped),
        ERR_LIMIT);
    assert_int_equal(region_key_generate(name, &own), ERR_INVALID);
    assert_int_equal(region_key_generate("a b", &own), ERR_INVALID);
    assert_int_equal(region_key_generate("", &own), ERR_INVALID);
}

/* ---- public parts ----------------------------------------------------------
 */

/* The points of order 1, 2, 4 and 8, and the first two again beyond the prime:
 * everybody knows what comes out with them. */
static const char *const low_order[] = {
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
};

static void points_of_low_order_are_refused(void **state)
{
    (void)state;
    uint8_t point[REGION_KEY_LEN], key[KEY_LEN] = {7};
    uint8_t wrapped[REGION_WRAPPED_LEN] = {0}, back[KEY_LEN];
    struct region_key own = make("germany");
    for (size_t i = 0; i < ARRAY_LEN(low_order); i++) {
        assert_int_equal(region_public_parse(bytes_str(low_order[i]), point),
                         ERR_INVALID);
        for (size_t j = 0; j < REGION_KEY_LEN; j++) {
            char digits[3] = {low_order[i][2 * j], low_order[i][2 * j + 1], 0};
            point[j] = (uint8_t)strtoul(digits, NULL, 16);
        }
        assert_int_equal(
            region_wrap("germany", point, &group_key, key, wrapped),
            ERR_INVALID);
        memcpy(wrapped, point, sizeof(point));
        assert_int_equal(region_unwrap(&own, &group_key, wrapped, back),
                         ERR_AUTH);
    }
}

static void a_public_part_is_64_hex_digits(void **state)
{
    (void)state;
    struct region_key own = make("germany");
    char text[REGION_PUBLIC_TEXT_LEN + 1];
    uint8_t back[REGION_KEY_LEN];
    region_public_format(own.public_key, text);
    assert_int_equal(strspn(text, "0123456789abcdef"), REGION_PUBLIC_TEXT_LEN);
    assert_int_equal(region_public_parse(bytes_str(text), back), ERR_OK);
    assert_memory_equal(back, own.public_key, REGION_KEY_LEN);
    assert_int_equal(region_public_parse(bytes_of(text, 62), back),
                     ERR_MALFORMED);
    assert_int_equal(region_public_parse(bytes_str(""), back), ERR_MALFORMED);
    text[5] = 'g';
    assert_int_equal(region_public_parse(bytes_str(text), back), ERR_MALFORMED);
}

/* ---- proving ---------------------------------------------------------------
 */

static const uint8_t session[REGION_SESSION_LEN] = "one connection";
static const struct region_proof_names a_to_b = {.cluster = CLUSTER,
                                                 .from_region = "germany",
                                                 .from_node = "germany-1",
                                                 .to_region = "france",
                                                 .to_node = "france-1",
                                                 .session = session};

static void a_region_proves_itself(void **state)
{
    (void)state;
    struct region_key a = make("germany"), b = make("france");
    uint8_t proof[REGION_PROOF_LEN], again[REGION_PROOF_LEN];
    assert_int_equal(region_prove(&a, b.public_key, &a_to_b, proof), ERR_OK);
    assert_true(region_proved(&b, a.public_key, &a_to_b, proof));
    assert_int_equal(region_prove(&a, b.public_key, &a_to_b, again), ERR_OK);
    assert_memory_equal(proof, again, sizeof(proof));
    for (size_t i = 0; i < sizeof(proof); i++) {
        proof[i] ^= 1;
        assert_false(region_proved(&b, a.public_key, &a_to_b, proof));
        proof[i] ^= 1;
    }
    /* Two nodes of one region. */
    struct region_proof_names within = a_to_b;
    within.to_region = "germany";
    within.to_node = "germany-2";
    assert_int_equal(region_prove(&a, a.public_key, &within, proof), ERR_OK);
    assert_true(region_proved(&a, a.public_key, &within, proof));
}

static void another_key_proves_nothing(void **state)
{
    (void)state;
    struct region_key a = make("germany"), b = make("france");
    struct region_key thief = make("germany"), other = make("france");
    uint8_t proof[REGION_PROOF_LEN];
    assert_int_equal(region_prove(&thief, b.public_key, &a_to_b, proof),
                     ERR_OK);
    assert_false(region_proved(&b, a.public_key, &a_to_b, proof));
    /* Made for somebody else. */
    assert_int_equal(region_prove(&a, other.public_key, &a_to_b, proof),
                     ERR_OK);
    assert_false(region_proved(&b, a.public_key, &a_to_b, proof));
}

/* What one node was shown shows nothing to another, nor back, nor later. */
static void a_proof_is_for_one_connection(void **state)
{
    (void)state;
    static const uint8_t later[REGION_SESSION_LEN] = "another connection";
    struct region_key a = make("germany"), b = make("france");
    uint8_t proof[REGION_PROOF_LEN];
    assert_int_equal(region_prove(&a, b.public_key, &a_to_b, proof), ERR_OK);
    struct region_proof_names n = a_to_b;
    n.session = later;
    assert_false(region_proved(&b, a.public_key, &n, proof));
    n = a_to_b;
    n.cluster = OTHER_CLUSTER;
    assert_false(region_proved(&b, a.public_key, &n, proof));
    n = a_to_b;
    n.from_node = "germany-2";
    assert_false(region_proved(&b, a.public_key, &n, proof));
    n = a_to_b;
    n.to_node = "france-2";
    assert_false(region_proved(&b, a.public_key, &n, proof));
    const struct region_proof_names back = {.cluster = CLUSTER,
                                            .from_region = "france",
                                            .from_node = "france-1",
                                            .to_region = "germany",
                                            .to_node = "germany-1",
                                            .session = session};
    assert_false(region_proved(&a, b.public_key, &back, proof));
    /* Roles count where the key is the same. */
    struct region_proof_names there = a_to_b, mirrored = a_to_b;
    there.to_region = mirrored.to_region = "germany";
    mirrored.from_region = "germany";
    mirrored.from_node = there.to_node;
    mirrored.to_node = there.from_node;
    assert_int_equal(region_prove(&a, a.public_key, &there, proof), ERR_OK);
    assert_false(region_proved(&a, a.public_key, &mirrored, proof));
}

static void what_cannot_be_proved_is_refused(void **state)
{
    (void)state;
    struct region_key a = make("germany");
    uint8_t proof[REGION_PROOF_LEN], low[REGION_KEY_LEN] = {0};
    char longest[KEY_NAME_MAX + 2];
    assert_int_equal(region_prove(&a, low, &a_to_b, proof), ERR_INVALID);
    memset(longest, 'n', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    struct region_proof_names n = a_to_b;
    n.to_node = longest;
    assert_int_equal(region_prove(&a, a.public_key, &n, proof), ERR_LIMIT);
}

/* ---- the file --------------------------------------------------------------
 */

static int read_it(const char *path, struct region_key *key_out)
{
    return region_key_read(path, &kek, CLUSTER, "germany", &msg, key_out);
}

static void a_file_gives_the_key_back(void **state)
{
    (void)state;
    struct region_key key = make("germany"), back;
    const char *path = in_dir("whole.key");
    struct stat st;
    assert_int_equal(region_key_write(path, &kek, CLUSTER, &key, &msg), ERR_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(region_key_write(path, &kek, CLUSTER, &key, &msg),
                     ERR_EXISTS);
    assert_int_equal(read_it(path, &back), ERR_OK);
    assert_memory_equal(&key, &back, sizeof(key));
    region_key_wipe(&back);
    for (size_t i = 0; i < sizeof(back); i++)
        assert_int_equal(((const uint8_t *)&back)[i], 0);
}

static void a_file_opens_only_where_it_belongs(void **state)
{
    (void)state;
    struct region_key key = make("germany"), back;
    struct kek other = kek;
    const char *path = in_dir("strange.key");
    other.key[0] ^= 1;
    assert_int_equal(region_key_write(path, &kek, CLUSTER, &key, &msg), ERR_OK);
    assert_int_equal(
        region_key_read(path, &other, CLUSTER, "germany", &msg, &back),
        ERR_AUTH);
    assert_int_equal(
        region_key_read(path, &kek, OTHER_CLUSTER, "germany", &msg, &back),
        ERR_IDENTITY);
    assert_non_null(strstr(msg.text, "another cluster"));
    assert_int_equal(region_key_read(path, &kek, CLUSTER, "us", &msg, &back),
                     ERR_IDENTITY);
    assert_non_null(strstr(msg.text, "the key of region germany"));
    chmod(path, 0640);
    assert_int_equal(read_it(path, &back), ERR_FORBIDDEN);
    assert_non_null(strstr(msg.text, "chmod 600"));
    assert_int_equal(read_it(in_dir("none.key"), &back), ERR_NOT_FOUND);
}

/* Writes the good file with `from` replaced by `to`. */
static const char *write_changed(const char *text, const char *from,
                                 const char *to)
{
    char changed[2048];
    const char *at = strstr(text, from), *path = in_dir("changed.key");
    assert_non_null(at);
    int len = snprintf(changed, sizeof(changed), "%.*s%s%s", (int)(at - text),
                       text, to, at + strlen(from));
    remove(path);
    assert_int_equal(
        file_create(path, 0600, bytes_of(changed, (size_t)len), &msg), ERR_OK);
    return path;
}

static void a_changed_file_is_refused(void **state)
{
    (void)state;
    struct region_key key = make("germany"), twin = make("germany"), back;
    char own[REGION_PUBLIC_TEXT_LEN + 1], others[REGION_PUBLIC_TEXT_LEN + 1];
    struct buf text;
    const char *path = in_dir("good.key");
    assert_int_equal(region_key_write(path, &kek, CLUSTER, &key, &msg), ERR_OK);
    buf_init(&text, 2048);
    assert_int_equal(file_read(path, true, &text, &msg), ERR_OK);
    char *good = (char *)buf_cstr(&text);
    region_public_format(key.public_key, own);
    region_public_format(twin.public_key, others);
    const struct {
        const char *from, *to;
        int code;
    } cases[] = {
        {"region germany", "region germany", ERR_OK},
        {"region germany", "region us", ERR_IDENTITY},
        {"format 1", "format 2", ERR_UNSUPPORTED},
        {"format 1", "format x", ERR_INVALID},
        {"format 1\n", "", ERR_INVALID},
        {"\nprivate ", "\nprivate A", ERR_INVALID},
        {"\nprivate ", "\nsecret ", ERR_INVALID},
        {"region germany", "region germany\nregion germany", ERR_INVALID},
        {own, low_order[0], ERR_INVALID},
        {own, others, ERR_AUTH},
        {"\nprivate ", "\n# private ", ERR_INVALID},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(
            read_it(write_changed(good, cases[i].from, cases[i].to), &back),
            cases[i].code);
    /* The sealed part itself: its first and a later character. */
    char *sealed = strstr(good, "\nprivate ") + strlen("\nprivate ");
    for (size_t i = 0; i < 2; i++) {
        char was[2] = {sealed[i * 40], '\0'};
        sealed[i * 40] = was[0] == 'A' ? 'B' : 'A';
        assert_int_equal(
            read_it(write_changed(good, "format", "format"), &back), ERR_AUTH);
        sealed[i * 40] = was[0];
    }
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrapped_key_opens_in_its_region),
        cmocka_unit_test(no_other_region_opens_it),
        cmocka_unit_test(every_byte_counts),
        cmocka_unit_test(it_is_no_key_of_another_name),
        cmocka_unit_test(names_that_are_too_long_are_refused),
        cmocka_unit_test(points_of_low_order_are_refused),
        cmocka_unit_test(a_public_part_is_64_hex_digits),
        cmocka_unit_test(a_region_proves_itself),
        cmocka_unit_test(another_key_proves_nothing),
        cmocka_unit_test(a_proof_is_for_one_connection),
        cmocka_unit_test(what_cannot_be_proved_is_refused),
        cmocka_unit_test(a_file_gives_the_key_back),
        cmocka_unit_test(a_file_opens_only_where_it_belongs),
        cmocka_unit_test(a_changed_file_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
