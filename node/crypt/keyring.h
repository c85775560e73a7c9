/* Keys: where the key-encryption key comes from, how data keys are wrapped
 * with it, and the opened ones of this process.
 *
 *   key-encryption key (KEK)   from a provider; a file at first
 *     wraps -> cluster keys    cluster.keys, made by `bastide init`
 *     wraps -> group keys      in the catalog, one index key and one data key
 *                              or, when that has turned over, several each
 *
 * A wrapped key is nonce[12] || AES-256-GCM ciphertext[32] || tag[16], with
 * additional data that names cluster, group, key id and purpose, so that a
 * wrapped key cannot be passed off as another. Random nonces: a KEK wraps far
 * fewer than 2^32 keys.
 *
 * Key material is wiped when it is freed, never logged, never in a message.
 */
#ifndef BASTIDE_CRYPT_KEYRING_H
#define BASTIDE_CRYPT_KEYRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/base/err.h"

#define KEY_LEN 32
#define KEY_WRAPPED_LEN (12 + KEY_LEN + 16)
#define KEY_NAME_MAX 63 /* cluster and group names in bytes */
#define KEYRING_KEYS_MAX 4096
#define KEY_FILE_BYTES_MAX 65536

/* Key ids of the cluster's own keys, which seal and index the meta shard.
 * Group keys have ids from KEY_ID_GROUP_FIRST, given out by the catalog and
 * never used twice in a cluster. */
#define KEY_ID_CLUSTER_DATA 1u
#define KEY_ID_CLUSTER_INDEX 2u
#define KEY_ID_GROUP_FIRST 16u

enum key_purpose {
    KEY_PURPOSE_DATA = 1,   /* seals documents (seal_value) */
    KEY_PURPOSE_INDEX = 2,  /* hashes names (keyed_hash16); never rotates */
    KEY_PURPOSE_REGION = 3, /* opens what was wrapped for a region
                             * (region_key.h); never in a ring */
};

/* The id of a group's key for either of the first two purposes: version 0 is
 * the one that the group was made with; data keys have others when they turn
 * over. */
#define KEY_ID_VERSION_SHIFT 20
#define KEY_VERSIONS_MAX (1u << (32 - KEY_ID_VERSION_SHIFT))
static inline uint32_t group_key_id(uint16_t group, enum key_purpose purpose,
                                    uint32_t version)
{
    return version << KEY_ID_VERSION_SHIFT |
           (KEY_ID_GROUP_FIRST + 2u * group + (uint32_t)purpose -
            (uint32_t)KEY_PURPOSE_DATA);
}
/* The reverse; not for the cluster's own keys. */
static inline uint16_t group_of_key_id(uint32_t id)
{
    return (uint16_t)(((id & ((1u << KEY_ID_VERSION_SHIFT) - 1)) -
                       KEY_ID_GROUP_FIRST) /
                      2);
}
static inline uint32_t version_of_key_id(uint32_t id)
{
    return id >> KEY_ID_VERSION_SHIFT;
}

/* -- key-encryption key ------------------------------------------------------
 */

struct kek {
    uint8_t key[KEY_LEN];
};

/* Reads a file that holds 32 bytes as base64 (44 characters) or hex (64), one
 * line, optional newline. ERR_NOT_FOUND; ERR_FORBIDDEN: not a regular file, not
 * mode 0600 exactly, not owned by this user, or unreadable; ERR_INVALID: not
 * a key. `msg` says what to do. */
int kek_load_file(const char *path, struct err_msg *msg, struct kek *kek_out);
/* Makes such a file (base64, mode 0600, synced). ERR_EXISTS: never overwrites.
 */
int kek_create_file(const char *path, struct err_msg *msg);
void kek_wipe(struct kek *kek);

/* -- wrapping -- */

struct key_name {
    const char *cluster; /* cluster id */
    const char *group;   /* group name; "" for the cluster's own keys */
    uint32_t id;
    enum key_purpose purpose;
};

/* Whether a cluster or group name is legal: 1 to KEY_NAME_MAX letters, digits,
 * '-', '_' and '.'. */
bool key_name_ok(const char *name);

/* Fresh random key material. */
void key_generate(uint8_t key_out[KEY_LEN]);
int key_wrap(const struct kek *kek, const struct key_name *name,
             const uint8_t key[KEY_LEN], uint8_t wrapped_out[KEY_WRAPPED_LEN]);
/* ERR_AUTH: another KEK, another name, or damaged. */
int key_unwrap(const struct kek *kek, const struct key_name *name,
               const uint8_t wrapped[KEY_WRAPPED_LEN],
               uint8_t key_out[KEY_LEN]);

/* -- the opened keys -- */

struct keyring;

struct keyring *keyring_new(void);
/* Wipes and frees. NULL is allowed. */
void keyring_free(struct keyring *r);
/* Wipes a key; none of that id is fine. Subkeys that a sealer made of it go
 * with sealer_forget. */
void keyring_remove(struct keyring *r, uint32_t id);
/* Copies the key. ERR_EXISTS when the id is there with another key or purpose
 * (the same one again is no error), ERR_FULL at KEYRING_KEYS_MAX. */
int keyring_add(struct keyring *r, uint32_t id, enum key_purpose purpose,
                const uint8_t key[KEY_LEN]);
/* Borrowed until the ring is freed; NULL when there is none of that id and
 * purpose. */
const uint8_t *keyring_find(const struct keyring *r, uint32_t id,
                            enum key_purpose purpose);

/* Each key of the ring, in no order. */
void keyring_each(const struct keyring *r,
                  void (*each)(void *user, uint32_t id,
                               enum key_purpose purpose),
                  void *user);

/* -- cluster.keys --
 *
 * Text, one `name value` a line, '#' begins a comment:
 *
 *     format 1
 *     cluster demo
 *     cluster-id 0d3c6f0e-....
 *     data 1 <base64 of the wrapped key>
 *     index 2 <base64 of the wrapped key>
 */
#define CLUSTER_ID_LEN 36

struct cluster_keys {
    char cluster[KEY_NAME_MAX + 1];
    char cluster_id[CLUSTER_ID_LEN + 1];
    uint8_t data[KEY_LEN];  /* KEY_ID_CLUSTER_DATA */
    uint8_t index[KEY_LEN]; /* KEY_ID_CLUSTER_INDEX */
};

/* Makes a new cluster id and fresh keys and writes the file (mode 0600,
 * synced). ERR_EXISTS: never overwrites. ERR_INVALID: the name is empty, too
 * long or has characters other than letters, digits, '-', '_' and '.'. */
int cluster_keys_create(const char *path, const struct kek *kek,
                        const char *cluster, struct err_msg *msg);
/* ERR_NOT_FOUND, ERR_FORBIDDEN (mode), ERR_INVALID (with line),
 * ERR_UNSUPPORTED (format), ERR_AUTH (another KEK), ERR_IDENTITY (another
 * cluster than `cluster`; NULL accepts any). */
int cluster_keys_read(const char *path, const struct kek *kek,
                      const char *cluster, struct err_msg *msg,
                      struct cluster_keys *keys_out);
void cluster_keys_wipe(struct cluster_keys *keys);
/* Adds both keys to a ring. */
int cluster_keys_open(const struct cluster_keys *keys, struct keyring *ring);

#endif
