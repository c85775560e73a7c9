/* What is sealed opens only as what it was sealed as. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/err.h"
#include "node/base/mem.h"
#include "node/base/prng.h"
#include "node/crypt/keyring.h"
#include "node/crypt/seal.h"

static struct keyring *ring;
static struct sealer *sealer;
static const uint8_t key_a[KEY_LEN] = "data key of group a, 32 bytes ..";
static const uint8_t key_b[KEY_LEN] = "data key of group b, 32 bytes ..";

static int setup(void **state)
{
    (void)state;
    ring = keyring_new();
    keyring_add(ring, 20, KEY_PURPOSE_DATA, key_a);
    keyring_add(ring, 21, KEY_PURPOSE_DATA, key_b);
    keyring_add(ring, 22, KEY_PURPOSE_INDEX, key_b);
    sealer = sealer_new(ring);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sealer_free(sealer);
    keyring_free(ring);
    return 0;
}

static const struct seal_position somewhere = {20, 3, 0x100000002, 55, 1};

static void what_is_sealed_opens(void **state)
{
    (void)state;
    struct prng p;
    prng_seed(&p, 1);
    struct seal_position at = somewhere, found;
    struct buf out;
    buf_init(&out, SEAL_PLAIN_MAX);
    static const size_t lengths[] = {0, 1, 15, 16, 17, 1024, 2 << 20};
    for (size_t i = 0; i < 7; i++) {
        size_t len = lengths[i];
        uint8_t *plain = malloc(len + 1);
        uint8_t *sealed = malloc(len + SEAL_OVERHEAD);
        for (size_t j = 0; j < len; j++)
            plain[j] = (uint8_t)prng_u64(&p);
        at.lsn++;
        struct bytes table_key = bytes_str("table key");
        assert_int_equal(
            seal_value(sealer, &at, table_key, bytes_of(plain, len), sealed),
            ERR_OK);
        buf_clear(&out);
        assert_int_equal(
            seal_open(sealer, 3, table_key, i % 2 == 0 ? at.lsn : 0,
                      bytes_of(sealed, len + SEAL_OVERHEAD), &found, &out),
            ERR_OK);
        assert_int_equal(buf_len(&out), len);
        assert_true(len == 0 || memcmp(buf_bytes(&out), plain, len) == 0);
        assert_memory_equal(&found.term, &at.term, sizeof(at.term));
        assert_int_equal(found.lsn, at.lsn);
        assert_int_equal(found.position, at.position);
        free(plain);
        free(sealed);
    }
    buf_free(&out);
}

/* The layout and the derivation, computed by other means. */
static void the_format_is_what_the_header_says(void **state)
{
    (void)state;
    uint8_t sealed[5 + SEAL_OVERHEAD], subkey[32], message[26];
    memcpy(message, "bastide seal 1", 14);
    put_u32_le(message + 14, 3);
    put_u64_le(message + 18, 0x100000002);
    HMAC(EVP_sha256(), key_a, KEY_LEN, message, sizeof(message), subkey, NULL);
    assert_int_equal(seal_value(sealer, &somewhere, bytes_str("tk"),
                                bytes_str("hello"), sealed),
                     ERR_OK);
    assert_int_equal(sealed[0], 1);
    assert_int_equal(get_u32_le(sealed + 4), 20);
    uint8_t nonce[12], aad[SEAL_HEADER_LEN + 2], plain[5];
    put_u64_be(nonce, 55);
    put_u32_be(nonce + 8, 1);
    memcpy(aad, sealed, SEAL_HEADER_LEN);
    memcpy(aad + SEAL_HEADER_LEN, "tk", 2);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int len;
    EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, subkey, nonce);
    EVP_DecryptUpdate(ctx, NULL, &len, aad, sizeof(aad));
    EVP_DecryptUpdate(ctx, plain, &len, sealed + SEAL_HEADER_LEN, 5);
    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16,
                        sealed + SEAL_HEADER_LEN + 5);
    assert_int_equal(EVP_DecryptFinal_ex(ctx, plain + len, &len), 1);
    assert_memory_equal(plain, "hello", 5);
    EVP_CIPHER_CTX_free(ctx);
}

static int open_as(uint32_t shard, const char *table_key, uint64_t lsn,
                   const uint8_t *sealed, size_t len)
{
    struct buf out;
    buf_init(&out, 1024);
    buf_append_str(&out, "before");
    int code = seal_open(sealer, shard, bytes_str(table_key), lsn,
                         bytes_of(sealed, len), NULL, &out);
    if (code != ERR_OK)
        assert_int_equal(buf_len(&out), 6);
    buf_free(&out);
    return code;
}

static void swapped_and_changed_values_are_detected(void **state)
{
    (void)state;
    uint8_t sealed[20 + SEAL_OVERHEAD];
    size_t len = sizeof(sealed);
    assert_int_equal(seal_value(sealer, &somewhere, bytes_str("tk"),
                                bytes_of("01234567890123456789", 20), sealed),
                     ERR_OK);
    assert_int_equal(open_as(3, "tk", 55, sealed, len), ERR_OK);
    assert_int_equal(open_as(4, "tk", 55, sealed, len), ERR_CORRUPT);
    assert_int_equal(open_as(3, "tl", 55, sealed, len), ERR_CORRUPT);
    assert_int_equal(open_as(3, "", 55, sealed, len), ERR_CORRUPT);
    assert_int_equal(open_as(3, "tk", 54, sealed, len), ERR_CORRUPT);
    for (size_t bit = 0; bit < 8 * len; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(open_as(3, "tk", 0, sealed, len), ERR_OK);
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t cut = 0; cut < len; cut++)
        assert_int_not_equal(open_as(3, "tk", 0, sealed, cut), ERR_OK);
    assert_int_equal(open_as(3, "tk", 0, sealed, len), ERR_OK);
}

static void a_position_is_never_sealed_twice(void **state)
{
    (void)state;
    uint8_t sealed[1 + SEAL_OVERHEAD];
    struct seal_position at = somewhere;
    struct bytes none = bytes_of("", 0), x = bytes_str("x");
    assert_int_equal(seal_value(sealer, &at, none, x, sealed), ERR_OK);
    assert_int_equal(seal_value(sealer, &at, none, x, sealed), ERR_STALE);
    at.position--;
    assert_int_equal(seal_value(sealer, &at, none, x, sealed), ERR_STALE);
    at.position += 2;
    assert_int_equal(seal_value(sealer, &at, none, x, sealed), ERR_OK);
    at.lsn--;
    assert_int_equal(seal_value(sealer, &at, none, x, sealed), ERR_STALE);
    at.term++; /* another term is another key */
    assert_int_equal(seal_value(sealer, &at, none, x, sealed), ERR_OK);
    at.key_id = 21;
    assert_int_equal(seal_value(sealer, &at, none, x, sealed), ERR_OK);
}

static void unknown_keys_and_versions_are_named(void **state)
{
    (void)state;
    uint8_t sealed[1 + SEAL_OVERHEAD];
    struct seal_position at = somewhere, found = {0};
    struct bytes none = bytes_of("", 0), x = bytes_str("x");
    at.key_id = 99;
    assert_int_equal(seal_value(sealer, &at, none, x, sealed), ERR_NOT_FOUND);
    at.key_id = 22; /* an index key does not seal */
    assert_int_equal(seal_value(sealer, &at, none, x, sealed), ERR_NOT_FOUND);
    assert_int_equal(seal_value(sealer, &somewhere, none, x, sealed), ERR_OK);
    put_u32_le(sealed + 4, 99);
    struct buf out;
    buf_init(&out, 100);
    assert_int_equal(seal_open(sealer, 3, none, 0,
                               bytes_of(sealed, sizeof(sealed)), &found, &out),
                     ERR_NOT_FOUND);
    assert_int_equal(found.key_id, 99);
    sealed[0] = 2;
    assert_int_equal(seal_open(sealer, 3, none, 0,
                               bytes_of(sealed, sizeof(sealed)), NULL, &out),
                     ERR_UNSUPPORTED);
    assert_int_equal(seal_value(sealer, &somewhere, none,
                                bytes_of("", (size_t)SEAL_PLAIN_MAX + 1),
                                sealed),
                     ERR_LIMIT);
    buf_free(&out);
}

static void more_subkeys_than_the_cache_holds(void **state)
{
    (void)state;
    enum { N = 3 * SEAL_CACHE_MAX };
    uint8_t sealed[N][1 + SEAL_OVERHEAD];
    struct seal_position at = somewhere;
    for (uint32_t i = 0; i < N; i++) {
        at.term = i;
        at.shard = 3;
        assert_int_equal(seal_value(sealer, &at, bytes_of("", 0),
                                    bytes_of(&i, 1), sealed[i]),
                         ERR_OK);
    }
    for (uint32_t i = 0; i < N; i++)
        assert_int_equal(open_as(3, "", 55, sealed[i], sizeof(sealed[i])),
                         ERR_OK);
}

static void the_keyed_hash_is_hmac_sha256(void **state)
{
    (void)state;
    struct prng p;
    prng_seed(&p, 2);
    struct keyed_hash *h = keyed_hash_new(key_a);
    uint8_t data[300], full[32], ours[KEYED_HASH_LEN];
    for (size_t len = 0; len <= sizeof(data); len++) {
        for (size_t i = 0; i < len; i++)
            data[i] = (uint8_t)prng_u64(&p);
        HMAC(EVP_sha256(), key_a, KEY_LEN, data, len, full, NULL);
        keyed_hash16(h, bytes_of(data, len), ours);
        assert_memory_equal(ours, full, KEYED_HASH_LEN);
    }
    keyed_hash_free(h);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_sealed_opens),
        TEST(the_format_is_what_the_header_says),
        TEST(swapped_and_changed_values_are_detected),
        TEST(a_position_is_never_sealed_twice),
        TEST(unknown_keys_and_versions_are_named),
        TEST(more_subkeys_than_the_cache_holds),
        TEST(the_keyed_hash_is_hmac_sha256),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
