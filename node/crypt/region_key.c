#include "node/crypt/region_key.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <stdbool.h>
#include <string.h>

#include "node/base/buf.h"
#include "node/base/check.h"
#include "node/base/file.h"
#include "node/base/mem.h"
#include "node/base/text.h"
#include "node/crypt/secret_file.h"

#define NONCE_LEN 12
#define TAG_LEN 16
#define REGION_KEY_FORMAT 1
/* Label, purpose, id, names with their lengths, two public keys, a session. */
#define INFO_MAX                                                               \
    (32 + 5 + 5 * (1 + KEY_NAME_MAX) + 2 * REGION_KEY_LEN + REGION_SESSION_LEN)

/* ---- X25519 ----------------------------------------------------------------
 */

static EVP_PKEY *open_private(const uint8_t private_key[REGION_KEY_LEN])
{
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL,
                                                 private_key, REGION_KEY_LEN);
    CHECK(key != NULL); /* any 32 bytes are one */
    return key;
}

static void public_of(const uint8_t private_key[REGION_KEY_LEN],
                      uint8_t public_out[REGION_KEY_LEN])
{
    size_t len = REGION_KEY_LEN;
    EVP_PKEY *key = open_private(private_key);
    CHECK(EVP_PKEY_get_raw_public_key(key, public_out, &len) == 1);
    CHECK(len == REGION_KEY_LEN);
    EVP_PKEY_free(key);
}

/* ERR_INVALID: the other's point has low order, so that the secret would be
 * zero whatever the private key (RFC 7748 section 6.1). */
static int agree(const uint8_t private_key[REGION_KEY_LEN],
                 const uint8_t public_key[REGION_KEY_LEN],
                 uint8_t shared_out[KEY_LEN])
{
    static const uint8_t zero[KEY_LEN];
    size_t len = KEY_LEN;
    EVP_PKEY *own = open_private(private_key);
    EVP_PKEY *peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL,
                                                 public_key, REGION_KEY_LEN);
    CHECK(peer != NULL);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(own, NULL);
    CHECK(ctx != NULL && EVP_PKEY_derive_init(ctx) == 1 &&
          EVP_PKEY_derive_set_peer(ctx, peer) == 1);
    /* OpenSSL refuses the zero itself; nothing else can fail here. */
    bool sound = EVP_PKEY_derive(ctx, shared_out, &len) == 1 &&
                 len == KEY_LEN && !mem_equal_ct(shared_out, zero, KEY_LEN);
    if (!sound)
        ERR_clear_error();
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(own);
    return sound ? ERR_OK : ERR_INVALID;
}

int region_key_generate(const char *region, struct region_key *key_out)
{
    if (!key_name_ok(region))
        return ERR_INVALID;
    memset(key_out, 0, sizeof(*key_out));
    memcpy(key_out->region, region, strlen(region));
    key_generate(key_out->private_key);
    public_of(key_out->private_key, key_out->public_key);
    return ERR_OK;
}

void region_key_wipe(struct region_key *key)
{
    mem_wipe(key, sizeof(*key));
}

/* ---- public parts as text --------------------------------------------------
 */

void region_public_format(const uint8_t public_key[REGION_KEY_LEN],
                          char out[REGION_PUBLIC_TEXT_LEN + 1])
{
    struct buf text;
    buf_init(&text, REGION_PUBLIC_TEXT_LEN + 1);
    CHECK(text_hex_encode(bytes_of(public_key, REGION_KEY_LEN), &text) ==
          ERR_OK);
    memcpy(out, buf_bytes(&text), REGION_PUBLIC_TEXT_LEN);
    out[REGION_PUBLIC_TEXT_LEN] = '\0';
    buf_free(&text);
}

/* Tried with a throw-away key: a point of low order gives zero with each. */
static bool is_sound_point(const uint8_t public_key[REGION_KEY_LEN])
{
    uint8_t any[REGION_KEY_LEN], shared[KEY_LEN];
    key_generate(any);
    int code = agree(any, public_key, shared);
    mem_wipe(any, sizeof(any));
    mem_wipe(shared, sizeof(shared));
    return code == ERR_OK;
}

int region_public_parse(struct bytes text, uint8_t public_out[REGION_KEY_LEN])
{
    struct buf raw;
    if (text.len != REGION_PUBLIC_TEXT_LEN)
        return ERR_MALFORMED;
    buf_init(&raw, REGION_KEY_LEN);
    int code = text_hex_decode(text, &raw);
    if (code == ERR_OK && !is_sound_point(buf_bytes(&raw)))
        code = ERR_INVALID;
    if (code == ERR_OK)
        memcpy(public_out, buf_bytes(&raw), REGION_KEY_LEN);
    buf_free(&raw);
    return code;
}

/* ---- wrapping --------------------------------------------------------------
 */

struct info {
    uint8_t bytes[INFO_MAX];
    size_t len;
};

static void put(struct info *info, const void *data, size_t len)
{
    CHECK(len <= INFO_MAX - info->len);
    memcpy(info->bytes + info->len, data, len);
    info->len += len;
}

static void put_name(struct info *info, const char *name)
{
    uint8_t len = (uint8_t)strlen(name);
    put(info, &len, 1);
    put(info, name, len);
}

static bool names_fit(const struct key_name *name, const char *region)
{
    return strlen(name->cluster) <= KEY_NAME_MAX &&
           strlen(name->group) <= KEY_NAME_MAX &&
           strlen(region) <= KEY_NAME_MAX;
}

/* All that a wrapped key is for; the names fit. */
static struct info make_info(const struct key_name *name, const char *region,
                             const uint8_t ephemeral[REGION_KEY_LEN],
                             const uint8_t public_key[REGION_KEY_LEN])
{
    static const char label[] = "bastide region wrap 1";
    struct info info = {.len = 0};
    uint8_t purpose = (uint8_t)name->purpose, id[4];
    put_u32_le(id, name->id);
    put(&info, label, sizeof(label) - 1);
    put(&info, &purpose, 1);
    put(&info, id, sizeof(id));
    put_name(&info, name->cluster);
    put_name(&info, name->group);
    put_name(&info, region);
    put(&info, ephemeral, REGION_KEY_LEN);
    put(&info, public_key, REGION_KEY_LEN);
    return info;
}

struct wrap_key {
    uint8_t key[KEY_LEN];
    uint8_t nonce[NONCE_LEN];
};
_Static_assert(sizeof(struct wrap_key) == KEY_LEN + NONCE_LEN, "no padding");

/* HKDF-SHA256 without salt (RFC 5869). */
static void derive(const uint8_t shared[KEY_LEN], struct info *info, void *out,
                   size_t len)
{
    char digest[] = "SHA256";
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    CHECK(kdf != NULL && ctx != NULL);
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)shared,
                                          KEY_LEN),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info->bytes,
                                          info->len),
        OSSL_PARAM_construct_end()};
    CHECK(EVP_KDF_derive(ctx, out, len, params) == 1);
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
}

/* A cipher for one wrap or unwrap, additional data fed. ERR_INVALID: a point
 * of low order. */
static int open_cipher(const uint8_t private_key[REGION_KEY_LEN],
                       const uint8_t public_key[REGION_KEY_LEN],
                       struct info *info, bool wrap, EVP_CIPHER_CTX **ctx_out)
{
    uint8_t shared[KEY_LEN];
    struct wrap_key key;
    int len, code = agree(private_key, public_key, shared);
    if (code != ERR_OK)
        return code;
    derive(shared, info, &key, sizeof(key));
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    CHECK(ctx != NULL);
    CHECK(EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, key.key, key.nonce,
                            wrap ? 1 : 0) == 1);
    CHECK(EVP_CipherUpdate(ctx, NULL, &len, info->bytes, (int)info->len) == 1);
    mem_wipe(shared, sizeof(shared));
    mem_wipe(&key, sizeof(key));
    *ctx_out = ctx;
    return ERR_OK;
}

int region_wrap(const char *region, const uint8_t public_key[REGION_KEY_LEN],
                const struct key_name *name, const uint8_t key[KEY_LEN],
                uint8_t wrapped_out[REGION_WRAPPED_LEN])
{
    uint8_t ephemeral[REGION_KEY_LEN], out[REGION_WRAPPED_LEN];
    uint8_t *text = out + REGION_KEY_LEN;
    EVP_CIPHER_CTX *ctx = NULL;
    if (!names_fit(name, region))
        return ERR_LIMIT;
    key_generate(ephemeral);
    public_of(ephemeral, out);
    struct info info = make_info(name, region, out, public_key);
    int len, code = open_cipher(ephemeral, public_key, &info, true, &ctx);
    mem_wipe(ephemeral, sizeof(ephemeral));
    if (code != ERR_OK)
        return code;
    CHECK(EVP_CipherUpdate(ctx, text, &len, key, KEY_LEN) == 1);
    CHECK(len == KEY_LEN);
    CHECK(EVP_CipherFinal_ex(ctx, text + KEY_LEN, &len) == 1);
    CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_LEN,
                              text + KEY_LEN) == 1);
    EVP_CIPHER_CTX_free(ctx);
    memcpy(wrapped_out, out, sizeof(out));
    return ERR_OK;
}

int region_unwrap(const struct region_key *own, const struct key_name *name,
                  const uint8_t wrapped[REGION_WRAPPED_LEN],
                  uint8_t key_out[KEY_LEN])
{
    const uint8_t *text = wrapped + REGION_KEY_LEN;
    uint8_t key[KEY_LEN], none[1], tag[TAG_LEN];
    EVP_CIPHER_CTX *ctx = NULL;
    int len;
    if (!names_fit(name, own->region))
        return ERR_LIMIT;
    struct info info = make_info(name, own->region, wrapped, own->public_key);
    if (open_cipher(own->private_key, wrapped, &info, false, &ctx) != ERR_OK)
        return ERR_AUTH;
    memcpy(tag, text + KEY_LEN, TAG_LEN);
    CHECK(EVP_CipherUpdate(ctx, key, &len, text, KEY_LEN) == 1);
    CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, tag) == 1);
    bool authentic = EVP_CipherFinal_ex(ctx, none, &len) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (authentic)
        memcpy(key_out, key, KEY_LEN);
    mem_wipe(key, sizeof(key));
    return authentic ? ERR_OK : ERR_AUTH;
}

/* ---- proving ---------------------------------------------------------------
 */

static bool proof_names_fit(const struct region_proof_names *n)
{
    const char *const all[] = {n->cluster, n->from_region, n->from_node,
                               n->to_region, n->to_node};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (strlen(all[i]) > KEY_NAME_MAX)
            return false;
    return true;
}

/* What both ends compute: `own` is one of the two regions. */
static int make_proof(const struct region_key *own,
                      const uint8_t other[REGION_KEY_LEN], bool from_own,
                      const struct region_proof_names *n,
                      uint8_t proof_out[REGION_PROOF_LEN])
{
    static const char label[] = "bastide region proof 1";
    struct info info = {.len = 0};
    uint8_t shared[KEY_LEN];
    if (!proof_names_fit(n))
        return ERR_LIMIT;
    int code = agree(own->private_key, other, shared);
    if (code != ERR_OK)
        return code;
    put(&info, label, sizeof(label) - 1);
    put_name(&info, n->cluster);
    put_name(&info, n->from_region);
    put_name(&info, n->from_node);
    put_name(&info, n->to_region);
    put_name(&info, n->to_node);
    put(&info, from_own ? own->public_key : other, REGION_KEY_LEN);
    put(&info, from_own ? other : own->public_key, REGION_KEY_LEN);
    put(&info, n->session, REGION_SESSION_LEN);
    derive(shared, &info, proof_out, REGION_PROOF_LEN);
    mem_wipe(shared, sizeof(shared));
    return ERR_OK;
}

int region_prove(const struct region_key *own,
                 const uint8_t public_key[REGION_KEY_LEN],
                 const struct region_proof_names *names,
                 uint8_t proof_out[REGION_PROOF_LEN])
{
    CHECK(strcmp(own->region, names->from_region) == 0);
    return make_proof(own, public_key, true, names, proof_out);
}

bool region_proved(const struct region_key *own,
                   const uint8_t public_key[REGION_KEY_LEN],
                   const struct region_proof_names *names,
                   const uint8_t proof[REGION_PROOF_LEN])
{
    uint8_t right[REGION_PROOF_LEN];
    CHECK(strcmp(own->region, names->to_region) == 0);
    bool same = make_proof(own, public_key, false, names, right) == ERR_OK &&
                mem_equal_ct(right, proof, REGION_PROOF_LEN);
    mem_wipe(right, sizeof(right));
    return same;
}

/* ---- region.key ------------------------------------------------------------
 */

static struct key_name file_key_name(const char *cluster_id, const char *region)
{
    return (struct key_name){.cluster = cluster_id,
                             .group = region,
                             .id = 0,
                             .purpose = KEY_PURPOSE_REGION};
}

int region_key_write(const char *path, const struct kek *kek,
                     const char *cluster_id, const struct region_key *key,
                     struct err_msg *msg)
{
    struct key_name name = file_key_name(cluster_id, key->region);
    uint8_t sealed[KEY_WRAPPED_LEN];
    char public_text[REGION_PUBLIC_TEXT_LEN + 1];
    struct buf text;
    CHECK(key_wrap(kek, &name, key->private_key, sealed) == ERR_OK);
    region_public_format(key->public_key, public_text);
    buf_init(&text, KEY_FILE_BYTES_MAX);
    CHECK(buf_printf(&text,
                     "# Key of one region of a Bastide cluster. Only nodes of "
                     "that region may have it;\n"
                     "# the private part is sealed with the cluster's "
                     "key-encryption key.\n"
                     "format %d\ncluster-id %s\nregion %s\npublic %s\n"
                     "private ",
                     REGION_KEY_FORMAT, cluster_id, key->region,
                     public_text) == ERR_OK);
    CHECK(text_base64_encode(bytes_of(sealed, sizeof(sealed)), &text) ==
              ERR_OK &&
          buf_append_str(&text, "\n") == ERR_OK);
    int code = file_create(path, 0600,
                           bytes_of(buf_bytes(&text), buf_len(&text)), msg);
    buf_free(&text);
    return code;
}

/* A region.key being read. */
struct reading {
    const char *path;
    const struct kek *kek;
    const char *cluster_id, *region;
    struct err_msg *msg;
    unsigned line, step; /* the line; how many of `order` have been there */
    struct region_key key;
};

static int bad_line(const struct reading *r, const char *expected)
{
    return err_set(r->msg, ERR_INVALID, "%s:%u: expected %s", r->path, r->line,
                   expected);
}

static int read_format(struct reading *r, struct bytes value)
{
    uint64_t format;
    if (text_parse_u64(value, UINT32_MAX, &format) != ERR_OK || format == 0)
        return bad_line(r, "a format number");
    if (format != REGION_KEY_FORMAT)
        return err_set(r->msg, ERR_UNSUPPORTED,
                       "%s:%u: format %llu, this program reads format %d",
                       r->path, r->line, (unsigned long long)format,
                       REGION_KEY_FORMAT);
    return ERR_OK;
}

static int read_cluster_id(struct reading *r, struct bytes value)
{
    if (bytes_equal(value, bytes_str(r->cluster_id)))
        return ERR_OK;
    return err_set(r->msg, ERR_IDENTITY,
                   "%s:%u: the key of a region of another cluster "
                   "(cluster-id %.*s, this node's is %s)",
                   r->path, r->line, value.len < 64 ? (int)value.len : 64,
                   (const char *)value.data, r->cluster_id);
}

static int read_region(struct reading *r, struct bytes value)
{
    if (!bytes_equal(value, bytes_str(r->region)))
        return err_set(r->msg, ERR_IDENTITY,
                       "%s:%u: the key of region %.*s, this node is in region "
                       "%s: a region's key must not leave it",
                       r->path, r->line, value.len < 64 ? (int)value.len : 64,
                       (const char *)value.data, r->region);
    memcpy(r->key.region, value.data, value.len);
    return ERR_OK;
}

static int read_public(struct reading *r, struct bytes value)
{
    return region_public_parse(value, r->key.public_key) == ERR_OK
               ? ERR_OK
               : bad_line(r, "a public key of 64 hex digits");
}

static int read_private(struct reading *r, struct bytes value)
{
    struct key_name name = file_key_name(r->cluster_id, r->region);
    uint8_t public_key[REGION_KEY_LEN];
    struct buf sealed;
    buf_init(&sealed, KEY_WRAPPED_LEN + 3);
    int code = text_base64_decode(value, &sealed);
    if (code != ERR_OK || buf_len(&sealed) != KEY_WRAPPED_LEN)
        code = bad_line(r, "a sealed key in base64");
    else if (key_unwrap(r->kek, &name, buf_bytes(&sealed),
                        r->key.private_key) != ERR_OK)
        code = err_set(r->msg, ERR_AUTH,
                       "%s:%u: the key does not open: it was sealed with "
                       "another key-encryption key, or the file is damaged",
                       r->path, r->line);
    buf_free(&sealed);
    if (code != ERR_OK)
        return code;
    public_of(r->key.private_key, public_key);
    if (memcmp(public_key, r->key.public_key, REGION_KEY_LEN) != 0)
        code = err_set(r->msg, ERR_AUTH,
                       "%s: the public part is not that of the private one: "
                       "the file is damaged",
                       r->path);
    return code;
}

static const struct {
    const char *name;
    int (*read)(struct reading *r, struct bytes value);
} order[] = {
    {"format", read_format},   {"cluster-id", read_cluster_id},
    {"region", read_region},   {"public", read_public},
    {"private", read_private},
};

static int read_line(void *arg, unsigned line, struct bytes word,
                     struct bytes rest)
{
    struct reading *r = arg;
    r->line = line;
    if (r->step == ARRAY_LEN(order))
        return bad_line(r, "nothing behind the private key");
    if (!bytes_equal(word, bytes_str(order[r->step].name)))
        return bad_line(r, order[r->step].name);
    return order[r->step++].read(r, rest);
}

int region_key_read(const char *path, const struct kek *kek,
                    const char *cluster_id, const char *region,
                    struct err_msg *msg, struct region_key *key_out)
{
    struct buf text;
    struct reading r = {.path = path,
                        .kek = kek,
                        .cluster_id = cluster_id,
                        .region = region,
                        .msg = msg};
    CHECK(strlen(region) <= KEY_NAME_MAX);
    buf_init(&text, KEY_FILE_BYTES_MAX);
    int code = secret_file_read(path, "region key file", msg, &text);
    if (code == ERR_OK)
        code = secret_file_lines(bytes_of(buf_bytes(&text), buf_len(&text)),
                                 read_line, &r);
    if (code == ERR_OK && r.step != ARRAY_LEN(order))
        code = err_set(msg, ERR_INVALID,
                       "%s: expected format, cluster-id, region, public and "
                       "private",
                       path);
    if (code == ERR_OK)
        *key_out = r.key;
    region_key_wipe(&r.key);
    buf_free(&text);
    return code;
}
