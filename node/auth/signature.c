/* The low-level SHA-256 interface is deprecated in OpenSSL 3, but it alone lets
 * the state after a key's pads be kept as plain data and copied: keys are then
 * constant and shared, and nothing is allocated. Measured (SHA extensions, four
 * keys, a usual request): 1.2 us for all of auth_target_parse and auth_verify;
 * duplicating EVP_MAC contexts takes 2.4 us for the four MACs alone. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "node/auth/signature.h"

#include <openssl/sha.h>
#include <string.h>

#include "node/auth/payload.h"
#include "node/base/check.h"
#include "node/base/clock.h"
#include "node/base/mem.h"
#include "node/base/text.h"

#define MAC_LEN SHA256_DIGEST_LENGTH
#define MAC_TEXT_LEN 44 /* base64 */

const char auth_emulator_key_text[] =
    "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEc"
    "aGQy67XIw/Jw==";

/* -- keys ---------------------------------------------------------------- */

static void emulator_key(uint8_t out[AUTH_KEY_LEN])
{
    struct buf raw = buf_over(out, AUTH_KEY_LEN);
    int err = text_base64_decode(bytes_str(auth_emulator_key_text), &raw);
    CHECK(err == ERR_OK && buf_len(&raw) == AUTH_KEY_LEN);
}

/* SHA-256's state after the block (key XOR pad), RFC 2104 section 4. */
static void pad_state(const uint8_t *key, uint8_t pad, uint32_t state_out[8])
{
    uint8_t block[SHA256_CBLOCK];
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = key[i] ^ pad;
    SHA256_CTX sha;
    SHA256_Init(&sha);
    SHA256_Update(&sha, block, sizeof(block));
    memcpy(state_out, sha.h, sizeof(sha.h));
    mem_wipe(&sha, sizeof(sha));
    mem_wipe(block, sizeof(block));
}

int auth_key_init(struct auth_key *key, struct bytes raw,
                  enum auth_rights rights)
{
    /* Exactly one block: HMAC neither hashes nor pads it. */
    CHECK(AUTH_KEY_LEN == SHA256_CBLOCK);
    if (raw.len != AUTH_KEY_LEN)
        return ERR_INVALID;
    pad_state(raw.data, 0x36, key->inner);
    pad_state(raw.data, 0x5c, key->outer);
    key->rights = rights;
    return ERR_OK;
}

/* Goes on from a state that has seen one block. */
static void finish_from(const uint32_t state[8], struct bytes data,
                        uint8_t out[MAC_LEN])
{
    SHA256_CTX sha = {.Nl = SHA256_CBLOCK * 8, .md_len = SHA256_DIGEST_LENGTH};
    memcpy(sha.h, state, sizeof(sha.h));
    SHA256_Update(&sha, data.data, data.len);
    SHA256_Final(out, &sha);
}

static void key_mac(const struct auth_key *key, struct bytes payload,
                    uint8_t out[MAC_LEN])
{
    uint8_t inner[MAC_LEN];
    finish_from(key->inner, payload, inner);
    finish_from(key->outer, bytes_of(inner, sizeof(inner)), out);
}

void auth_keys_init(struct auth_keys *keys)
{
    *keys = (struct auth_keys){.count = 0};
}

static bool has_key(const struct auth_keys *keys, const struct auth_key *key)
{
    bool found = false;
    for (size_t i = 0; i < keys->count; i++)
        found |= mem_equal_ct(keys->keys[i].inner, key->inner,
                              sizeof(key->inner)) != 0;
    return found;
}

static int append_key(struct auth_keys *keys, struct bytes raw,
                      enum auth_rights rights, struct err_msg *msg)
{
    if (keys->count == AUTH_KEYS_MAX)
        return err_set(msg, ERR_FULL, "more than %d account keys",
                       AUTH_KEYS_MAX);
    struct auth_key key;
    int err = auth_key_init(&key, raw, rights);
    CHECK(err == ERR_OK);
    if (has_key(keys, &key))
        err = err_set(msg, ERR_EXISTS, "two of the account keys are the same");
    else
        keys->keys[keys->count++] = key;
    mem_wipe(&key, sizeof(key));
    return err;
}

int auth_keys_add(struct auth_keys *keys, struct bytes key,
                  enum auth_rights rights, struct err_msg *msg)
{
    if (key.len != AUTH_KEY_LEN)
        return err_set(msg, ERR_INVALID,
                       "an account key has %d bytes, this one %zu",
                       AUTH_KEY_LEN, key.len);
    uint8_t published[AUTH_KEY_LEN];
    emulator_key(published);
    if (mem_equal_ct(published, key.data, AUTH_KEY_LEN))
        return err_set(msg, ERR_FORBIDDEN,
                       "an account key is the one that the vendor's emulator "
                       "publishes; everybody knows it");
    return append_key(keys, key, rights, msg);
}

int auth_keys_add_emulator(struct auth_keys *keys)
{
    uint8_t published[AUTH_KEY_LEN];
    emulator_key(published);
    return append_key(keys, bytes_of(published, AUTH_KEY_LEN), AUTH_READ_WRITE,
                      NULL);
}

void auth_keys_wipe(struct auth_keys *keys)
{
    mem_wipe(keys, sizeof(*keys));
}

/* -- verifying ----------------------------------------------------------- */

/* Compares the client's signature with every key's, all of each. Rights and
 * number of the matching key, of which there is one at most, go to `v`. */
static bool match_keys(const struct auth_keys *keys, struct bytes payload,
                       const uint8_t sig[MAC_LEN], struct auth_verdict *v)
{
    unsigned matched = 0;
    unsigned write = 0;
    unsigned key = 0;
    for (size_t i = 0; i < keys->count; i++) {
        uint8_t mac[MAC_LEN];
        key_mac(&keys->keys[i], payload, mac);
        unsigned equal = mem_equal_ct(mac, sig, MAC_LEN) != 0;
        matched |= equal;
        write |= equal & (keys->keys[i].rights == AUTH_READ_WRITE);
        key += equal * (unsigned)i;
    }
    v->rights = write ? AUTH_READ_WRITE : AUTH_READ_ONLY;
    v->key = (uint8_t)key;
    return matched != 0;
}

/* The forms a target may be signed in, the usual one first. */
static bool match_forms(const struct auth_keys *keys,
                        const struct auth_request *req,
                        const uint8_t sig[MAC_LEN], struct auth_verdict *v)
{
    const struct auth_target *t = req->target;
    const struct bytes types[] = {t->type, t->alt_type};
    const struct bytes links[] = {t->link, t->rid_link};
    for (size_t i = 0; i < 4; i++) {
        struct bytes type = types[i / 2];
        struct bytes link = links[i % 2];
        if ((i >= 2 && type.len == 0) || (i % 2 != 0 && link.len == 0))
            continue;
        char text[AUTH_PAYLOAD_MAX];
        size_t len = auth_payload(req->method, type, link, req->ms_date,
                                  req->date, text);
        if (match_keys(keys, bytes_of(text, len), sig, v))
            return true;
    }
    return false;
}

static enum auth_result check_signature(const struct auth_keys *keys,
                                        const struct auth_request *req,
                                        struct auth_verdict *v)
{
    uint8_t sig[MAC_LEN];
    enum auth_result result = auth_token_parse(req->authorization, sig);
    if (result != AUTH_OK)
        return result;
    if (req->ms_date.len == 0 && req->date.len == 0)
        return AUTH_NO_DATE;
    if (req->method.len > AUTH_WORD_MAX || req->ms_date.len > AUTH_WORD_MAX ||
        req->date.len > AUTH_WORD_MAX)
        return AUTH_MALFORMED;
    if (match_forms(keys, req, sig, v))
        return AUTH_OK;
    v->payload_len =
        auth_payload(req->method, req->target->type, req->target->link,
                     req->ms_date, req->date, v->payload);
    return AUTH_BAD_SIGNATURE;
}

static enum auth_result check_date(const struct auth_request *req,
                                   int64_t now_s, struct auth_verdict *v)
{
    struct bytes date = req->ms_date.len > 0 ? req->ms_date : req->date;
    int64_t signed_s;
    if (clock_parse_http_date((const char *)date.data, date.len, &signed_s) !=
        ERR_OK)
        return AUTH_BAD_DATE;
    v->token_start_s = signed_s - AUTH_SKEW_MAX_S;
    v->token_expiry_s = signed_s + AUTH_SKEW_MAX_S;
    if (now_s < v->token_start_s || now_s > v->token_expiry_s)
        return AUTH_DATE_SKEW;
    return AUTH_OK;
}

void auth_verify(const struct auth_keys *keys, const struct auth_request *req,
                 int64_t now_s, struct auth_verdict *verdict_out)
{
    struct auth_verdict *v = verdict_out;
    v->rights = AUTH_READ_ONLY;
    v->key = 0;
    v->token_start_s = v->token_expiry_s = 0;
    v->payload_len = 0;
    v->result = check_signature(keys, req, v);
    if (v->result == AUTH_OK)
        v->result = check_date(req, now_s, v);
    if (v->result == AUTH_OK && req->needs_write &&
        v->rights != AUTH_READ_WRITE)
        v->result = AUTH_KEY_READ_ONLY;
}

/* -- signing ------------------------------------------------------------- */

int auth_sign(const struct auth_key *key, struct bytes method,
              struct bytes type, struct bytes link, struct bytes date,
              char header_out[AUTH_HEADER_MAX])
{
    if (method.len > AUTH_WORD_MAX || type.len > AUTH_WORD_MAX ||
        date.len > AUTH_WORD_MAX || link.len > AUTH_LINK_MAX)
        return ERR_LIMIT;
    char payload[AUTH_PAYLOAD_MAX];
    size_t len =
        auth_payload(method, type, link, date, bytes_of(NULL, 0), payload);
    uint8_t mac[MAC_LEN];
    key_mac(key, bytes_of(payload, len), mac);
    uint8_t sig[MAC_TEXT_LEN];
    struct buf sig_text = buf_over(sig, sizeof(sig));
    int err = text_base64_encode(bytes_of(mac, sizeof(mac)), &sig_text);
    CHECK(err == ERR_OK);

    struct buf header = buf_over(header_out, AUTH_HEADER_MAX - 1);
    err = buf_append_str(&header, "type%3Dmaster%26ver%3D1.0%26sig%3D");
    if (err == ERR_OK)
        err = text_percent_encode(bytes_of(sig, sizeof(sig)), &header);
    CHECK(err == ERR_OK);
    header_out[buf_len(&header)] = '\0';
    return ERR_OK;
}
