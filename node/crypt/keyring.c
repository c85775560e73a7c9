#include "node/crypt/keyring.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "node/base/buf.h"
#include "node/base/check.h"
#include "node/base/file.h"
#include "node/base/mem.h"
#include "node/base/rng.h"
#include "node/base/text.h"
#include "node/crypt/secret_file.h"

#define KEYRING_MAGIC 0x6b657972u
#define NONCE_LEN 12
#define TAG_LEN 16
#define CLUSTER_KEYS_FORMAT 1

/* -- key-encryption key -- */

#define KEK_TEXT_MAX 128 /* a hex key and some white space */

/* 32 bytes as hex or base64, told apart by their length. */
static int parse_key(struct bytes text, uint8_t key_out[KEY_LEN])
{
    struct buf raw;
    buf_init(&raw, KEY_LEN + 3);
    int code = text.len == 2 * KEY_LEN ? text_hex_decode(text, &raw)
                                       : text_base64_decode(text, &raw);
    if (code == ERR_OK && buf_len(&raw) != KEY_LEN)
        code = ERR_MALFORMED;
    if (code == ERR_OK)
        memcpy(key_out, buf_bytes(&raw), KEY_LEN);
    buf_wipe(&raw);
    return code;
}

int kek_load_file(const char *path, struct err_msg *msg, struct kek *kek_out)
{
    struct buf text;
    buf_init(&text, KEK_TEXT_MAX);
    int code = secret_file_read(path, "key file", msg, &text);
    if (code == ERR_OK &&
        parse_key(secret_file_trim(bytes_of(buf_bytes(&text), buf_len(&text))),
                  kek_out->key) != ERR_OK)
        code = err_set(msg, ERR_INVALID,
                       "the key file %s does not hold a key: expected 32 "
                       "bytes as base64 (44 characters) or hex (64)",
                       path);
    buf_wipe(&text);
    return code;
}

int kek_create_file(const char *path, struct err_msg *msg)
{
    uint8_t key[KEY_LEN];
    key_generate(key);
    struct buf text;
    buf_init(&text, KEK_TEXT_MAX);
    int code = text_base64_encode(bytes_of(key, sizeof(key)), &text);
    if (code == ERR_OK)
        code = buf_append_str(&text, "\n");
    if (code == ERR_OK)
        code = file_create(path, 0600,
                           bytes_of(buf_bytes(&text), buf_len(&text)), msg);
    buf_wipe(&text);
    mem_wipe(key, sizeof(key));
    return code;
}

void kek_wipe(struct kek *kek)
{
    mem_wipe(kek, sizeof(*kek));
}

/* -- wrapping -- */

#define AAD_MAX (32 + 2 * KEY_NAME_MAX)

/* label || purpose || id || len cluster || cluster || len group || group */
static size_t wrap_aad(const struct key_name *name, uint8_t out[AAD_MAX])
{
    static const char label[] = "bastide key wrap 1";
    size_t cluster_len = strlen(name->cluster);
    size_t group_len = strlen(name->group);
    CHECK(cluster_len <= KEY_NAME_MAX && group_len <= KEY_NAME_MAX);
    uint8_t *p = out;
    memcpy(p, label, sizeof(label) - 1);
    p += sizeof(label) - 1;
    *p++ = (uint8_t)name->purpose;
    put_u32_le(p, name->id);
    p += 4;
    *p++ = (uint8_t)cluster_len;
    memcpy(p, name->cluster, cluster_len);
    p += cluster_len;
    *p++ = (uint8_t)group_len;
    memcpy(p, name->group, group_len);
    p += group_len;
    return (size_t)(p - out);
}

/* A context keyed for one wrap or unwrap, AAD fed. */
static EVP_CIPHER_CTX *wrap_context(const struct kek *kek,
                                    const struct key_name *name,
                                    const uint8_t *nonce, bool wrap)
{
    uint8_t aad[AAD_MAX];
    int len, aad_len = (int)wrap_aad(name, aad);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    CHECK(ctx != NULL);
    CHECK(EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, kek->key, nonce,
                            wrap ? 1 : 0) == 1);
    CHECK(EVP_CipherUpdate(ctx, NULL, &len, aad, aad_len) == 1);
    return ctx;
}

void key_generate(uint8_t key_out[KEY_LEN])
{
    rng_fill(key_out, KEY_LEN);
}

int key_wrap(const struct kek *kek, const struct key_name *name,
             const uint8_t key[KEY_LEN], uint8_t wrapped_out[KEY_WRAPPED_LEN])
{
    if (strlen(name->cluster) > KEY_NAME_MAX ||
        strlen(name->group) > KEY_NAME_MAX)
        return ERR_LIMIT;
    uint8_t *text = wrapped_out + NONCE_LEN;
    rng_fill(wrapped_out, NONCE_LEN);
    EVP_CIPHER_CTX *ctx = wrap_context(kek, name, wrapped_out, true);
    int len;
    CHECK(EVP_CipherUpdate(ctx, text, &len, key, KEY_LEN) == 1);
    CHECK(len == KEY_LEN);
    CHECK(EVP_CipherFinal_ex(ctx, text + KEY_LEN, &len) == 1);
    CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_LEN,
                              text + KEY_LEN) == 1);
    EVP_CIPHER_CTX_free(ctx);
    return ERR_OK;
}

int key_unwrap(const struct kek *kek, const struct key_name *name,
               const uint8_t wrapped[KEY_WRAPPED_LEN], uint8_t key_out[KEY_LEN])
{
    if (strlen(name->cluster) > KEY_NAME_MAX ||
        strlen(name->group) > KEY_NAME_MAX)
        return ERR_LIMIT;
    const uint8_t *text = wrapped + NONCE_LEN;
    uint8_t key[KEY_LEN], none[1], tag[TAG_LEN];
    memcpy(tag, text + KEY_LEN, TAG_LEN);
    EVP_CIPHER_CTX *ctx = wrap_context(kek, name, wrapped, false);
    int len;
    CHECK(EVP_CipherUpdate(ctx, key, &len, text, KEY_LEN) == 1);
    CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, tag) == 1);
    bool authentic = EVP_CipherFinal_ex(ctx, none, &len) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (authentic)
        memcpy(key_out, key, KEY_LEN);
    mem_wipe(key, sizeof(key));
    return authentic ? ERR_OK : ERR_AUTH;
}

/* -- the opened keys -- */

struct ring_key {
    uint32_t id;
    enum key_purpose purpose;
    uint8_t key[KEY_LEN];
    UT_hash_handle hh;
};

struct keyring {
    uint32_t magic;
    struct ring_key *by_id;
};

struct keyring *keyring_new(void)
{
    struct keyring *r = mem_zalloc(sizeof(*r));
    r->magic = KEYRING_MAGIC;
    return r;
}

void keyring_free(struct keyring *r)
{
    if (r == NULL)
        return;
    CHECK_OBJ(r, KEYRING_MAGIC);
    struct ring_key *k, *next;
    HASH_ITER(hh, r->by_id, k, next)
    {
        HASH_DEL(r->by_id, k);
        mem_wipe(k, sizeof(*k));
        mem_free(k);
    }
    r->magic = 0;
    mem_free(r);
}

int keyring_add(struct keyring *r, uint32_t id, enum key_purpose purpose,
                const uint8_t key[KEY_LEN])
{
    CHECK_OBJ(r, KEYRING_MAGIC);
    CHECK(purpose == KEY_PURPOSE_DATA || purpose == KEY_PURPOSE_INDEX);
    struct ring_key *k;
    HASH_FIND(hh, r->by_id, &id, sizeof(id), k);
    if (k != NULL)
        return k->purpose == purpose && mem_equal_ct(k->key, key, KEY_LEN)
                   ? ERR_OK
                   : ERR_EXISTS;
    if (HASH_COUNT(r->by_id) >= KEYRING_KEYS_MAX)
        return ERR_FULL;
    k = mem_zalloc(sizeof(*k));
    k->id = id;
    k->purpose = purpose;
    memcpy(k->key, key, KEY_LEN);
    HASH_ADD(hh, r->by_id, id, sizeof(k->id), k);
    return ERR_OK;
}

void keyring_remove(struct keyring *r, uint32_t id)
{
    CHECK_OBJ(r, KEYRING_MAGIC);
    struct ring_key *k;
    HASH_FIND(hh, r->by_id, &id, sizeof(id), k);
    if (k == NULL)
        return;
    HASH_DEL(r->by_id, k);
    mem_wipe(k, sizeof(*k));
    mem_free(k);
}

const uint8_t *keyring_find(const struct keyring *r, uint32_t id,
                            enum key_purpose purpose)
{
    CHECK_OBJ(r, KEYRING_MAGIC);
    struct ring_key *k;
    HASH_FIND(hh, r->by_id, &id, sizeof(id), k);
    return k != NULL && k->purpose == purpose ? k->key : NULL;
}

void keyring_each(const struct keyring *r,
                  void (*each)(void *user, uint32_t id,
                               enum key_purpose purpose),
                  void *user)
{
    CHECK_OBJ(r, KEYRING_MAGIC);
    for (const struct ring_key *k = r->by_id; k != NULL; k = k->hh.next)
        each(user, k->id, k->purpose);
}

/* -- cluster.keys -- */

bool key_name_ok(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > KEY_NAME_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     (c >= '0' && c <= '9');
        if (!alnum && c != '-' && c != '_' && c != '.')
            return false;
    }
    return true;
}

static struct key_name cluster_key_name(const char *cluster_id,
                                        enum key_purpose purpose)
{
    return (struct key_name){
        .cluster = cluster_id,
        .group = "",
        .id = purpose == KEY_PURPOSE_DATA ? KEY_ID_CLUSTER_DATA
                                          : KEY_ID_CLUSTER_INDEX,
        .purpose = purpose,
    };
}

/* Appends "data 1 <wrapped>" with a fresh key. */
static int write_key_line(struct buf *out, const struct kek *kek,
                          const char *cluster_id, const char *label,
                          enum key_purpose purpose)
{
    struct key_name name = cluster_key_name(cluster_id, purpose);
    uint8_t key[KEY_LEN], wrapped[KEY_WRAPPED_LEN];
    key_generate(key);
    int code = key_wrap(kek, &name, key, wrapped);
    mem_wipe(key, sizeof(key));
    if (code == ERR_OK)
        code = buf_printf(out, "%s %u ", label, name.id);
    if (code == ERR_OK)
        code = text_base64_encode(bytes_of(wrapped, sizeof(wrapped)), out);
    if (code == ERR_OK)
        code = buf_append_str(out, "\n");
    return code;
}

int cluster_keys_create(const char *path, const struct kek *kek,
                        const char *cluster, struct err_msg *msg)
{
    if (!key_name_ok(cluster))
        return err_set(msg, ERR_INVALID,
                       "bad cluster name: expected 1 to %d letters, digits, "
                       "'-', '_' or '.'",
                       KEY_NAME_MAX);
    char cluster_id[CLUSTER_ID_LEN + 1];
    rng_uuid(cluster_id);
    struct buf text;
    buf_init(&text, KEY_FILE_BYTES_MAX);
    int code = buf_printf(&text,
                          "# Keys of a Bastide cluster, wrapped with its "
                          "key-encryption key.\nformat %d\ncluster %s\n"
                          "cluster-id %s\n",
                          CLUSTER_KEYS_FORMAT, cluster, cluster_id);
    if (code == ERR_OK)
        code = write_key_line(&text, kek, cluster_id, "data", KEY_PURPOSE_DATA);
    if (code == ERR_OK)
        code =
            write_key_line(&text, kek, cluster_id, "index", KEY_PURPOSE_INDEX);
    if (code == ERR_OK)
        code = file_create(path, 0600,
                           bytes_of(buf_bytes(&text), buf_len(&text)), msg);
    buf_free(&text);
    return code;
}

/* A cluster.keys being read. */
struct reading {
    const char *path;
    const struct kek *kek;
    struct err_msg *msg;
    unsigned line;
    bool has_format, has_cluster, has_id, has_data, has_index;
    struct cluster_keys keys;
};

static int bad_line(struct reading *r, const char *expected)
{
    return err_set(r->msg, ERR_INVALID, "%s:%u: expected %s", r->path, r->line,
                   expected);
}

static bool is_word(struct bytes word, const char *text)
{
    return bytes_equal(word, bytes_str(text));
}

static int read_format(struct reading *r, struct bytes value)
{
    uint64_t format;
    if (text_parse_u64(value, UINT32_MAX, &format) != ERR_OK || format == 0)
        return bad_line(r, "a format number");
    if (format != CLUSTER_KEYS_FORMAT)
        return err_set(r->msg, ERR_UNSUPPORTED,
                       "%s:%u: format %llu, this program reads format %d",
                       r->path, r->line, (unsigned long long)format,
                       CLUSTER_KEYS_FORMAT);
    r->has_format = true;
    return ERR_OK;
}

static int read_name(struct reading *r, struct bytes value, char *out,
                     size_t max, bool *has)
{
    if (*has || value.len > max)
        return bad_line(r, "one name of legal length");
    memcpy(out, value.data, value.len);
    out[value.len] = '\0';
    if (strlen(out) != value.len || !key_name_ok(out))
        return bad_line(r, "letters, digits, '-', '_' or '.'");
    *has = true;
    return ERR_OK;
}

static int read_key(struct reading *r, struct bytes rest,
                    enum key_purpose purpose, uint8_t *key_out, bool *has)
{
    if (!r->has_id || *has)
        return bad_line(r, "one key, after cluster-id");
    struct key_name name = cluster_key_name(r->keys.cluster_id, purpose);
    uint64_t id;
    struct bytes id_text = secret_file_word(&rest);
    if (text_parse_u64(id_text, UINT32_MAX, &id) != ERR_OK || id != name.id)
        return bad_line(r, "the key id 1 (data) or 2 (index)");
    struct buf wrapped;
    buf_init(&wrapped, KEY_WRAPPED_LEN + 3);
    int code = text_base64_decode(rest, &wrapped);
    if (code != ERR_OK || buf_len(&wrapped) != KEY_WRAPPED_LEN)
        code = bad_line(r, "a wrapped key in base64");
    else if (key_unwrap(r->kek, &name, buf_bytes(&wrapped), key_out) != ERR_OK)
        code = err_set(r->msg, ERR_AUTH,
                       "%s:%u: the key does not open: it was wrapped with "
                       "another key-encryption key, or the file is damaged",
                       r->path, r->line);
    buf_free(&wrapped);
    *has = code == ERR_OK;
    return code;
}

static int read_line(void *arg, unsigned line, struct bytes word,
                     struct bytes rest)
{
    struct reading *r = arg;
    r->line = line;
    if (is_word(word, "format"))
        return read_format(r, rest);
    if (!r->has_format)
        return bad_line(r, "the format first");
    if (is_word(word, "cluster"))
        return read_name(r, rest, r->keys.cluster, KEY_NAME_MAX,
                         &r->has_cluster);
    if (is_word(word, "cluster-id"))
        return read_name(r, rest, r->keys.cluster_id, CLUSTER_ID_LEN,
                         &r->has_id);
    if (is_word(word, "data"))
        return read_key(r, rest, KEY_PURPOSE_DATA, r->keys.data, &r->has_data);
    if (is_word(word, "index"))
        return read_key(r, rest, KEY_PURPOSE_INDEX, r->keys.index,
                        &r->has_index);
    return bad_line(r, "format, cluster, cluster-id, data or index");
}

static int read_lines(struct reading *r, struct bytes text)
{
    int code = secret_file_lines(text, read_line, r);
    if (code == ERR_OK &&
        (!r->has_cluster || !r->has_id || !r->has_data || !r->has_index))
        code = err_set(r->msg, ERR_INVALID,
                       "%s: expected cluster, cluster-id, data and index",
                       r->path);
    return code;
}

int cluster_keys_read(const char *path, const struct kek *kek,
                      const char *cluster, struct err_msg *msg,
                      struct cluster_keys *keys_out)
{
    struct buf text;
    buf_init(&text, KEY_FILE_BYTES_MAX);
    struct reading r = {.path = path, .kek = kek, .msg = msg};
    int code = secret_file_read(path, "cluster key file", msg, &text);
    if (code == ERR_OK)
        code = read_lines(&r, bytes_of(buf_bytes(&text), buf_len(&text)));
    if (code == ERR_OK && cluster != NULL &&
        strcmp(cluster, r.keys.cluster) != 0)
        code = err_set(msg, ERR_IDENTITY,
                       "%s belongs to cluster %s, this node to cluster %s",
                       path, r.keys.cluster, cluster);
    if (code == ERR_OK)
        *keys_out = r.keys;
    cluster_keys_wipe(&r.keys);
    buf_free(&text);
    return code;
}

void cluster_keys_wipe(struct cluster_keys *keys)
{
    mem_wipe(keys, sizeof(*keys));
}

int cluster_keys_open(const struct cluster_keys *keys, struct keyring *ring)
{
    int code =
        keyring_add(ring, KEY_ID_CLUSTER_DATA, KEY_PURPOSE_DATA, keys->data);
    if (code == ERR_OK)
        code = keyring_add(ring, KEY_ID_CLUSTER_INDEX, KEY_PURPOSE_INDEX,
                           keys->index);
    return code;
}
