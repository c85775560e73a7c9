/* The low-level SHA-256 functions are deprecated in OpenSSL 3 but are the only
 * ones that let a hash state be copied without an allocation; with them a keyed
 * hash costs two compressions and little else. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "node/crypt/seal.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"
#include "node/crypt/keyring.h"

_Static_assert(SEAL_KEY_LEN == KEY_LEN, "a data key is what seals");

#define SEAL_VERSION 1
#define NONCE_LEN 12
#define SEALER_MAGIC 0x7365616cu

/* -- HMAC-SHA256 -- */

struct keyed_hash {
    SHA256_CTX inner; /* after the inner key block */
    SHA256_CTX outer; /* after the outer key block */
};

static void hmac_init(struct keyed_hash *h, const uint8_t key[SEAL_KEY_LEN])
{
    uint8_t block[SHA256_CBLOCK];
    memset(block, 0x36, sizeof(block)); /* RFC 2104: ipad */
    for (size_t i = 0; i < SEAL_KEY_LEN; i++)
        block[i] ^= key[i];
    SHA256_Init(&h->inner);
    SHA256_Update(&h->inner, block, sizeof(block));
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] ^= 0x36 ^ 0x5c; /* opad */
    SHA256_Init(&h->outer);
    SHA256_Update(&h->outer, block, sizeof(block));
    mem_wipe(block, sizeof(block));
}

static void hmac(const struct keyed_hash *h, struct bytes data,
                 uint8_t out[SHA256_DIGEST_LENGTH])
{
    SHA256_CTX ctx = h->inner;
    SHA256_Update(&ctx, data.data, data.len);
    SHA256_Final(out, &ctx);
    ctx = h->outer;
    SHA256_Update(&ctx, out, SHA256_DIGEST_LENGTH);
    SHA256_Final(out, &ctx);
}

struct keyed_hash *keyed_hash_new(const uint8_t key[SEAL_KEY_LEN])
{
    struct keyed_hash *h = mem_alloc(sizeof(*h));
    hmac_init(h, key);
    return h;
}

void keyed_hash_free(struct keyed_hash *h)
{
    if (h == NULL)
        return;
    mem_wipe(h, sizeof(*h));
    mem_free(h);
}

void keyed_hash16(const struct keyed_hash *h, struct bytes data,
                  uint8_t out[KEYED_HASH_LEN])
{
    uint8_t full[SHA256_DIGEST_LENGTH];
    hmac(h, data, full);
    memcpy(out, full, KEYED_HASH_LEN);
}

/* -- subkeys -- */

/* A subkey with cipher contexts that only need a nonce. Either context is made
 * when it is first used. */
struct subkey {
    uint32_t key_id;
    uint32_t shard;
    uint64_t term;
    uint64_t used; /* tick of the last use */
    EVP_CIPHER_CTX *seal;
    EVP_CIPHER_CTX *open;
    bool sealed_any;
    uint64_t last_lsn; /* of the last value sealed */
    uint32_t last_position;
    uint8_t key[SEAL_KEY_LEN];
};

struct sealer {
    uint32_t magic;
    const struct keyring *keys;
    EVP_CIPHER *cipher;
    uint64_t tick;
    unsigned count;
    unsigned last; /* the subkey used last: nearly always the right one */
    struct subkey subkeys[SEAL_CACHE_MAX];
};

struct sealer *sealer_new(const struct keyring *keys)
{
    CHECK(keys != NULL);
    struct sealer *s = mem_zalloc(sizeof(*s));
    s->magic = SEALER_MAGIC;
    s->keys = keys;
    s->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    CHECK(s->cipher != NULL);
    return s;
}

static void subkey_wipe(struct subkey *k)
{
    EVP_CIPHER_CTX_free(k->seal); /* wipes the key schedule */
    EVP_CIPHER_CTX_free(k->open);
    mem_wipe(k, sizeof(*k));
}

void sealer_forget(struct sealer *s, uint32_t key_id)
{
    CHECK_OBJ(s, SEALER_MAGIC);
    for (unsigned i = s->count; i-- > 0;) {
        if (s->subkeys[i].key_id != key_id)
            continue;
        subkey_wipe(&s->subkeys[i]);
        s->count--;
        s->subkeys[i] = s->subkeys[s->count];
        mem_wipe(&s->subkeys[s->count], sizeof(s->subkeys[0]));
    }
    s->last = 0;
}

void sealer_free(struct sealer *s)
{
    if (s == NULL)
        return;
    CHECK_OBJ(s, SEALER_MAGIC);
    for (unsigned i = 0; i < s->count; i++)
        subkey_wipe(&s->subkeys[i]);
    EVP_CIPHER_free(s->cipher);
    mem_wipe(s, sizeof(*s));
    mem_free(s);
}

/* key = HMAC-SHA256(data key, "bastide seal 1" || shard || term). */
static void derive(const uint8_t *data_key, uint32_t shard, uint64_t term,
                   uint8_t out[SEAL_KEY_LEN])
{
    static const char label[] = "bastide seal 1";
    uint8_t message[sizeof(label) - 1 + 4 + 8];
    memcpy(message, label, sizeof(label) - 1);
    put_u32_le(message + sizeof(label) - 1, shard);
    put_u64_le(message + sizeof(label) - 1 + 4, term);
    struct keyed_hash h;
    hmac_init(&h, data_key);
    hmac(&h, bytes_of(message, sizeof(message)), out);
    mem_wipe(&h, sizeof(h));
}

static bool is_for(const struct subkey *k, uint32_t key_id, uint32_t shard,
                   uint64_t term)
{
    return k->term == term && k->shard == shard && k->key_id == key_id;
}

/* A free slot, or that of the least recently used subkey. */
static unsigned slot_for_new(struct sealer *s)
{
    if (s->count < SEAL_CACHE_MAX)
        return s->count++;
    unsigned oldest = 0;
    for (unsigned i = 1; i < s->count; i++) {
        if (s->subkeys[i].used < s->subkeys[oldest].used)
            oldest = i;
    }
    subkey_wipe(&s->subkeys[oldest]);
    return oldest;
}

static int find_subkey(struct sealer *s, uint32_t key_id, uint32_t shard,
                       uint64_t term, struct subkey **subkey_out)
{
    unsigned at = s->last;
    if (at >= s->count || !is_for(&s->subkeys[at], key_id, shard, term)) {
        for (at = 0; at < s->count; at++) {
            if (is_for(&s->subkeys[at], key_id, shard, term))
                break;
        }
    }
    if (at == s->count) {
        const uint8_t *key = keyring_find(s->keys, key_id, KEY_PURPOSE_DATA);
        if (key == NULL)
            return ERR_NOT_FOUND;
        at = slot_for_new(s);
        struct subkey *k = &s->subkeys[at];
        *k = (struct subkey){.key_id = key_id, .shard = shard, .term = term};
        derive(key, shard, term, k->key);
    }
    s->last = at;
    s->subkeys[at].used = ++s->tick;
    *subkey_out = &s->subkeys[at];
    return ERR_OK;
}

/* The context for one direction, with `nonce` set. */
static EVP_CIPHER_CTX *ready(struct sealer *s, struct subkey *k, bool seal,
                             const uint8_t *nonce)
{
    EVP_CIPHER_CTX **ctx = seal ? &k->seal : &k->open;
    const uint8_t *key = NULL;
    const EVP_CIPHER *cipher = NULL;
    if (*ctx == NULL) {
        *ctx = EVP_CIPHER_CTX_new();
        CHECK(*ctx != NULL);
        cipher = s->cipher;
        key = k->key;
    }
    /* A 12-byte nonce is the default of GCM. */
    CHECK(EVP_CipherInit_ex2(*ctx, cipher, key, nonce, seal ? 1 : 0, NULL) ==
          1);
    return *ctx;
}

/* -- sealing -- */

static void put_header(const struct seal_position *at, uint8_t *out)
{
    put_u32_le(out, SEAL_VERSION); /* and three zero bytes */
    put_u32_le(out + 4, at->key_id);
    put_u32_le(out + 8, at->shard);
    put_u64_le(out + 12, at->term);
    put_u64_le(out + 20, at->lsn);
    put_u32_le(out + 28, at->position);
}

static void nonce_of(const struct seal_position *at, uint8_t out[NONCE_LEN])
{
    put_u64_be(out, at->lsn);
    put_u32_be(out + 8, at->position);
}

/* A nonce used twice under one key breaks AES-GCM: never go back. */
static bool rises(struct subkey *k, const struct seal_position *at)
{
    if (k->sealed_any &&
        (at->lsn < k->last_lsn ||
         (at->lsn == k->last_lsn && at->position <= k->last_position)))
        return false;
    k->sealed_any = true;
    k->last_lsn = at->lsn;
    k->last_position = at->position;
    return true;
}

static void feed_aad(EVP_CIPHER_CTX *ctx, const uint8_t *header,
                     struct bytes table_key)
{
    int len;
    uint8_t aad[SEAL_HEADER_LEN + SEAL_TABLE_KEY_MAX];
    memcpy(aad, header, SEAL_HEADER_LEN);
    if (table_key.len > 0)
        memcpy(aad + SEAL_HEADER_LEN, table_key.data, table_key.len);
    CHECK(EVP_CipherUpdate(ctx, NULL, &len, aad,
                           (int)(SEAL_HEADER_LEN + table_key.len)) == 1);
}

int seal_value(struct sealer *s, const struct seal_position *at,
               struct bytes table_key, struct bytes plain, uint8_t *out)
{
    CHECK_OBJ(s, SEALER_MAGIC);
    CHECK(at->lsn > 0);
    if (plain.len > SEAL_PLAIN_MAX || table_key.len > SEAL_TABLE_KEY_MAX)
        return ERR_LIMIT;
    struct subkey *k;
    int code = find_subkey(s, at->key_id, at->shard, at->term, &k);
    if (code != ERR_OK)
        return code;
    if (!rises(k, at))
        return ERR_STALE;
    uint8_t nonce[NONCE_LEN];
    nonce_of(at, nonce);
    put_header(at, out);
    EVP_CIPHER_CTX *ctx = ready(s, k, true, nonce);
    feed_aad(ctx, out, table_key);
    uint8_t *text = out + SEAL_HEADER_LEN, *tag = text + plain.len;
    int len = 0;
    if (plain.len > 0)
        CHECK(EVP_CipherUpdate(ctx, text, &len, plain.data, (int)plain.len) ==
              1);
    CHECK((size_t)len == plain.len);
    CHECK(EVP_CipherFinal_ex(ctx, tag, &len) == 1 && len == 0);
    CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG_LEN, tag) ==
          1);
    return ERR_OK;
}

/* -- opening -- */

int seal_peek(struct bytes sealed, struct seal_position *at_out)
{
    if (sealed.len < SEAL_OVERHEAD ||
        sealed.len > SEAL_PLAIN_MAX + SEAL_OVERHEAD)
        return ERR_MALFORMED;
    const uint8_t *p = sealed.data;
    if (p[0] == 0)
        return ERR_MALFORMED;
    if (p[0] != SEAL_VERSION)
        return ERR_UNSUPPORTED;
    if (p[1] != 0 || p[2] != 0 || p[3] != 0)
        return ERR_MALFORMED;
    *at_out = (struct seal_position){
        .key_id = get_u32_le(p + 4),
        .shard = get_u32_le(p + 8),
        .term = get_u64_le(p + 12),
        .lsn = get_u64_le(p + 20),
        .position = get_u32_le(p + 28),
    };
    return ERR_OK;
}

/* Decrypts into `out`, which has room; false when the tag does not match. */
static bool decrypt(EVP_CIPHER_CTX *ctx, struct bytes table_key,
                    struct bytes sealed, uint8_t *out)
{
    size_t text_len = sealed.len - SEAL_OVERHEAD;
    const uint8_t *text = sealed.data + SEAL_HEADER_LEN;
    feed_aad(ctx, sealed.data, table_key);
    int len = 0;
    if (text_len > 0)
        CHECK(EVP_CipherUpdate(ctx, out, &len, text, (int)text_len) == 1);
    CHECK((size_t)len == text_len);
    CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, SEAL_TAG_LEN,
                              (void *)(text + text_len)) == 1);
    uint8_t none[1];
    return EVP_CipherFinal_ex(ctx, none, &len) == 1;
}

int seal_open(struct sealer *s, uint32_t shard, struct bytes table_key,
              uint64_t expect_lsn, struct bytes sealed,
              struct seal_position *at_out, struct buf *out)
{
    CHECK_OBJ(s, SEALER_MAGIC);
    struct seal_position at;
    int code = seal_peek(sealed, &at);
    if (code != ERR_OK)
        return code;
    if (at.shard != shard || (expect_lsn != 0 && at.lsn != expect_lsn))
        return ERR_CORRUPT;
    if (table_key.len > SEAL_TABLE_KEY_MAX)
        return ERR_LIMIT;
    struct subkey *k;
    code = find_subkey(s, at.key_id, at.shard, at.term, &k);
    if (code == ERR_NOT_FOUND && at_out != NULL)
        *at_out = at;
    uint8_t *room;
    size_t text_len = sealed.len - SEAL_OVERHEAD;
    if (code == ERR_OK)
        code = buf_reserve(out, text_len, &room);
    if (code != ERR_OK)
        return code;
    uint8_t nonce[NONCE_LEN];
    nonce_of(&at, nonce);
    if (!decrypt(ready(s, k, false, nonce), table_key, sealed, room)) {
        mem_wipe(room, text_len);
        return ERR_CORRUPT;
    }
    buf_commit(out, text_len);
    if (at_out != NULL)
        *at_out = at;
    return ERR_OK;
}
