#include "node/shard/digest.h"

#include <openssl/evp.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"
#include "node/crypt/keyring.h"
#include "node/crypt/seal.h"
#include "node/shard/record.h"
#include "node/store/engine.h"

/* Where both kinds of keys have the hash of the partition key. */
#define PK_HASH_AT 5

struct digest {
    digest_counts_fn *counts;
    void *user;
    EVP_MD_CTX *buckets[DIGEST_BUCKETS];
    uint64_t records, bytes, by_key[DIGEST_KEY_VERSIONS];
    struct record_key last; /* empty before the first */
    bool counting;          /* the container that `last` is of */
};

static EVP_MD_CTX *hash_new(void)
{
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    CHECK(c != NULL && EVP_DigestInit_ex(c, EVP_sha256(), NULL) == 1);
    return c;
}

static void hash_add(EVP_MD_CTX *c, const void *data, size_t len)
{
    CHECK(EVP_DigestUpdate(c, data, len) == 1);
}

static void hash_end(EVP_MD_CTX *c, uint8_t out[DIGEST_LEN])
{
    CHECK(EVP_DigestFinal_ex(c, out, NULL) == 1);
}

struct digest *digest_new(digest_counts_fn *counts, void *user)
{
    struct digest *d = mem_zalloc(sizeof(*d));
    d->counts = counts;
    d->user = user;
    for (size_t i = 0; i < DIGEST_BUCKETS; i++)
        d->buckets[i] = hash_new();
    return d;
}

void digest_free(struct digest *d)
{
    if (d == NULL)
        return;
    for (size_t i = 0; i < DIGEST_BUCKETS; i++)
        EVP_MD_CTX_free(d->buckets[i]);
    mem_free(d);
}

static bool key_legal(struct bytes key)
{
    if (key.len == 0)
        return false;
    switch (key.data[0]) {
    case RECORD_TABLE_TEXT:
    case RECORD_TABLE_GRAVE:
        return key.len == RECORD_TEXT_KEY_LEN;
    case RECORD_TABLE_ID:
        return key.len == RECORD_ID_KEY_LEN;
    case RECORD_TABLE_MARK:
        return key.len == RECORD_PREFIX_LEN;
    default:
        return false;
    }
}

/* A mark has no partition, and goes by its container's last byte. */
size_t digest_bucket(struct bytes key)
{
    size_t at = key.len > PK_HASH_AT ? PK_HASH_AT : RECORD_PREFIX_LEN - 1;
    return key.data[at] % DIGEST_BUCKETS;
}

/* Remembers the key, and whether its container counts. */
static void step(struct digest *d, struct bytes key)
{
    bool same = d->last.len > 0 &&
                memcmp(d->last.bytes, key.data, RECORD_PREFIX_LEN) == 0;
    if (!same)
        d->counting =
            d->counts == NULL || d->counts(d->user, get_u32_be(key.data + 1));
    d->last.len = (uint8_t)key.len;
    memcpy(d->last.bytes, key.data, key.len);
}

/* What cannot be told is not counted: the digest itself says whether replicas
 * agree. */
static void count_key(struct digest *d, struct bytes sealed)
{
    struct seal_position at;
    if (seal_peek(sealed, &at) == ERR_OK &&
        version_of_key_id(at.key_id) < DIGEST_KEY_VERSIONS)
        d->by_key[version_of_key_id(at.key_id)]++;
}

int digest_add(struct digest *d, struct bytes key, struct bytes value)
{
    uint8_t lengths[8];
    if (!key_legal(key) || bytes_compare(key, record_key_bytes(&d->last)) <= 0)
        return ERR_CORRUPT;
    step(d, key);
    if (!d->counting)
        return ERR_OK;
    EVP_MD_CTX *bucket = d->buckets[digest_bucket(key)];
    put_u32_le(lengths, (uint32_t)key.len);
    put_u32_le(lengths + 4, (uint32_t)value.len);
    hash_add(bucket, lengths, sizeof(lengths));
    hash_add(bucket, key.data, key.len);
    hash_add(bucket, value.data, value.len);
    d->records += key.len == RECORD_TEXT_KEY_LEN;
    if (key.len == RECORD_TEXT_KEY_LEN)
        count_key(d, value);
    d->bytes += key.len + value.len;
    return ERR_OK;
}

int digest_each(struct bytes chunk,
                int (*each)(void *user, struct bytes key, struct bytes value),
                void *user)
{
    struct cursor c = cursor_of(chunk.data, chunk.len);
    uint32_t count = cursor_u32_le(&c);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t table = cursor_u8(&c);
        uint16_t key_len = cursor_u16_le(&c);
        uint32_t value_len = cursor_u32_le(&c);
        struct bytes key = bytes_of(cursor_take(&c, key_len), key_len);
        struct bytes value = bytes_of(cursor_take(&c, value_len), value_len);
        if (!cursor_ok(&c))
            return ERR_MALFORMED;
        int err =
            table == ENGINE_CHUNK_RECORDS ? each(user, key, value) : ERR_OK;
        if (err != ERR_OK)
            return err;
    }
    return cursor_done(&c) ? ERR_OK : ERR_MALFORMED;
}

static int add_record(void *user, struct bytes key, struct bytes value)
{
    return digest_add(user, key, value);
}

int digest_chunk(struct digest *d, struct bytes chunk)
{
    return digest_each(chunk, add_record, d);
}

void digest_finish(struct digest *d, struct digest_result *out)
{
    EVP_MD_CTX *whole = hash_new();
    for (size_t i = 0; i < DIGEST_BUCKETS; i++) {
        hash_end(d->buckets[i], out->buckets[i]);
        hash_add(whole, out->buckets[i], DIGEST_LEN);
    }
    hash_end(whole, out->whole);
    EVP_MD_CTX_free(whole);
    out->records = d->records;
    out->bytes = d->bytes;
    memcpy(out->by_key, d->by_key, sizeof(out->by_key));
}
