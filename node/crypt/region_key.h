/* Region keys: what lets a group's keys be opened inside its fence alone.
 *
 * Every region has an X25519 key pair, made by `bastide init`. The private part
 * is in a file, region.key, in the folders of that region's nodes only; the
 * public parts of all regions are in every node's configuration. Whoever holds
 * a public part can wrap a key for that region; only the region's own nodes
 * open it again. The key-encryption key does not help: it is needed in
 * addition, to open region.key itself.
 *
 *     region_wrap(key, region A) = ephemeral public[32] || ciphertext[32]
 *                                  || tag[16]
 *
 *     shared = X25519(ephemeral private, public of A)
 *     key || nonce = HKDF-SHA256(shared, info)
 *     info = "bastide region wrap 1", purpose, key id, cluster id, group,
 *            region (names behind their lengths), ephemeral public, public of A
 *     AES-256-GCM(key, nonce, additional data = info)
 *
 * so that a wrapped key cannot be passed off as one of another cluster, group,
 * id, purpose or region. Every wrap has its own ephemeral key, hence its own
 * key and nonce.
 *
 * What this does not do: it does not say who wrapped a key. Anybody with the
 * public part can; that only a member of the group did is the consensus log's
 * business.
 *
 * The pair also proves, to a node of another region or of the same, that a node
 * is of the region that its certificate names: a certificate can be stolen
 * without region.key, which is why both are asked for.
 *
 *     proof = HKDF-SHA256(X25519(private of A, public of B), info)
 *     info  = "bastide region proof 1", cluster id, A, B, both nodes (names
 *             behind their lengths), public of A, public of B, session
 *
 * by a node of A for one of B, which makes the same from its own private key.
 * `session` is the channel binding of the TLS connection between them, so a
 * proof is worth nothing on another one; the roles keep it from being sent
 * back. Only a holder of one of the two private keys can make it, and B's
 * nodes make none in A's name.
 *
 * Private keys are wiped when they are no longer used, never logged, never in a
 * message. Any thread.
 */
#ifndef BASTIDE_CRYPT_REGION_KEY_H
#define BASTIDE_CRYPT_REGION_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/crypt/keyring.h"

#define REGION_KEY_LEN 32         /* of either part */
#define REGION_PUBLIC_TEXT_LEN 64 /* a public part as hex */
#define REGION_WRAPPED_LEN (REGION_KEY_LEN + KEY_LEN + 16)

/* A region's key pair. The names are part of every wrap. */
struct region_key {
    char region[KEY_NAME_MAX + 1];
    uint8_t public_key[REGION_KEY_LEN];
    uint8_t private_key[REGION_KEY_LEN];
};

/* A fresh pair. ERR_INVALID: not a legal name (key_name_ok). */
int region_key_generate(const char *region, struct region_key *key_out);
void region_key_wipe(struct region_key *key);

/* -- public parts as text: 64 lower-case hex digits -- */

void region_public_format(const uint8_t public_key[REGION_KEY_LEN],
                          char out[REGION_PUBLIC_TEXT_LEN + 1]);
/* ERR_MALFORMED: not 64 hex digits. ERR_INVALID: a point of low order, for
 * which everybody would know the shared secret. */
int region_public_parse(struct bytes text, uint8_t public_out[REGION_KEY_LEN]);

/* -- wrapping -- */

/* Wraps one key for a region. ERR_INVALID: a public key of low order.
 * ERR_LIMIT: a name longer than KEY_NAME_MAX. */
int region_wrap(const char *region, const uint8_t public_key[REGION_KEY_LEN],
                const struct key_name *name, const uint8_t key[KEY_LEN],
                uint8_t wrapped_out[REGION_WRAPPED_LEN]);
/* ERR_AUTH: wrapped for another region, under another name, or damaged.
 * ERR_LIMIT as above. */
int region_unwrap(const struct region_key *own, const struct key_name *name,
                  const uint8_t wrapped[REGION_WRAPPED_LEN],
                  uint8_t key_out[KEY_LEN]);

/* -- proving -- */

#define REGION_PROOF_LEN 32
#define REGION_SESSION_LEN 32

/* Who shows it to whom, on which connection. Borrowed. */
struct region_proof_names {
    const char *cluster; /* its id */
    const char *from_region, *from_node;
    const char *to_region, *to_node;
    const uint8_t *session; /* REGION_SESSION_LEN bytes */
};

/* By a node of `own`, which is names->from_region, for one of the region with
 * that public key. ERR_INVALID: a public key of low order. ERR_LIMIT: a name
 * longer than KEY_NAME_MAX. */
int region_prove(const struct region_key *own,
                 const uint8_t public_key[REGION_KEY_LEN],
                 const struct region_proof_names *names,
                 uint8_t proof_out[REGION_PROOF_LEN]);
/* By a node of `own`, which is names->to_region: whether the proof is of the
 * region with that public key. */
bool region_proved(const struct region_key *own,
                   const uint8_t public_key[REGION_KEY_LEN],
                   const struct region_proof_names *names,
                   const uint8_t proof[REGION_PROOF_LEN]);

/* -- region.key --
 *
 * Text, one `name value` a line, '#' begins a comment:
 *
 *     format 1
 *     cluster-id 0d3c6f0e-....
 *     region germany
 *     public <hex>
 *     private <base64, sealed with the cluster's key-encryption key (key_wrap
 *              with the cluster id, the region as group, id 0 and
 *              KEY_PURPOSE_REGION)>
 */

/* Writes the file (mode 0600, synced). ERR_EXISTS: never overwrites; otherwise
 * the errors of files. */
int region_key_write(const char *path, const struct kek *kek,
                     const char *cluster_id, const struct region_key *key,
                     struct err_msg *msg);
/* ERR_NOT_FOUND, ERR_FORBIDDEN (mode), ERR_INVALID (with line),
 * ERR_UNSUPPORTED (format), ERR_IDENTITY (of another cluster or of another
 * region than `region`), ERR_AUTH (another key-encryption key, or damaged). */
int region_key_read(const char *path, const struct kek *kek,
                    const char *cluster_id, const char *region,
                    struct err_msg *msg, struct region_key *key_out);

#endif
