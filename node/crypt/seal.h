/* Sealing documents, and hashing names so that keys reveal nothing.
 *
 * A value is sealed once, by the leader, with AES-256-GCM, and travels, is
 * logged and stored as that ciphertext:
 *
 *   header, 32 bytes, in the clear, authenticated:
 *     u8 version (1)  u8 0  u16 0  u32 key id  u32 shard  u64 term
 *     u64 lsn  u32 position            (little-endian)
 *   ciphertext, as long as the plaintext
 *   tag[16]
 *
 * key   = HMAC-SHA256(data key, "bastide seal 1" || shard || term)
 * nonce = lsn (8 bytes, big-endian) || position (4 bytes, big-endian)
 * AAD   = header || table key
 *
 * Why a nonce cannot repeat under a key (NIST SP 800-38D section 8.2.1,
 * deterministic construction): a term has one leader per shard, and that leader
 * gives each LSN to one entry and each value in it another position. THE CALLER
 * KEEPS THIS TRUE: a leader never seals twice for the same (term, lsn,
 * position) with different contents, not even when the first attempt could not
 * be logged; it steps down instead. seal_value() enforces it as far as it can
 * see: per key, shard and term, (lsn, position) must rise, else ERR_STALE.
 *
 * What seal_open detects: a value changed, put under another key, moved to
 * another shard, or claimed to be of another term, LSN or position. An older
 * value put back under its own key opens (it is authentic); where the caller
 * knows the LSN it expects, it passes it and gets ERR_CORRUPT for any other.
 *
 * All objects belong to one thread. Nothing here logs.
 */
#ifndef BASTIDE_CRYPT_SEAL_H
#define BASTIDE_CRYPT_SEAL_H

#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"

#define SEAL_KEY_LEN 32
#define SEAL_HEADER_LEN 32
#define SEAL_TAG_LEN 16
#define SEAL_OVERHEAD (SEAL_HEADER_LEN + SEAL_TAG_LEN)
/* Longest plaintext and longest table key. */
#define SEAL_PLAIN_MAX ((size_t)4 << 20)
#define SEAL_TABLE_KEY_MAX 64
/* Subkeys with ready contexts; beyond that the least recently used goes. */
#define SEAL_CACHE_MAX 64

struct keyring; /* node/crypt/keyring.h */
struct sealer;

/* What a sealed value says about itself. */
struct seal_position {
    uint32_t key_id;
    uint32_t shard;
    uint64_t term;
    uint64_t lsn;
    uint32_t position; /* of the value within its entry, from 0 */
};

/* Borrows `keys`, which must outlive it. */
struct sealer *sealer_new(const struct keyring *keys);
/* Wipes every subkey. NULL is allowed. */
/* Wipes what it derived from a key that leaves the ring. */
void sealer_forget(struct sealer *s, uint32_t key_id);
void sealer_free(struct sealer *s);

/* Writes exactly plain.len + SEAL_OVERHEAD bytes to `out`.
 * ERR_NOT_FOUND: the keyring has no such key. ERR_LIMIT: plain or table_key is
 * too long. ERR_STALE: (lsn, position) is not above the last one sealed for
 * this key, shard and term; the leader must step down rather than retry. */
int seal_value(struct sealer *s, const struct seal_position *at,
               struct bytes table_key, struct bytes plain, uint8_t *out);

/* Opens a sealed value into `out` (appended). `expect_lsn` 0: any.
 * *at_out (may be NULL) receives its position.
 * ERR_CORRUPT: not authentic, or not what was expected (shard, table key, LSN).
 * ERR_MALFORMED: not a sealed value. ERR_UNSUPPORTED: newer version.
 * ERR_NOT_FOUND: the keyring lacks the key (the position is still written).
 * ERR_LIMIT, ERR_NO_MEMORY: of the buffer. On failure `out` is as before. */
int seal_open(struct sealer *s, uint32_t shard, struct bytes table_key,
              uint64_t expect_lsn, struct bytes sealed,
              struct seal_position *at_out, struct buf *out);

/* Reads the header only (not authenticated). ERR_MALFORMED, ERR_UNSUPPORTED. */
int seal_peek(struct bytes sealed, struct seal_position *at_out);

/* -- keyed hash -- */

#define KEYED_HASH_LEN 16

/* HMAC-SHA256 (RFC 2104) truncated to 16 bytes, with the two key blocks hashed
 * in advance. */
struct keyed_hash;

struct keyed_hash *keyed_hash_new(const uint8_t key[SEAL_KEY_LEN]);
void keyed_hash_free(struct keyed_hash *h);
/* Never fails. */
void keyed_hash16(const struct keyed_hash *h, struct bytes data,
                  uint8_t out[KEYED_HASH_LEN]);

#endif
