/* What a shard's records look like: their keys, and the text that is stored.
 *
 *   0x01 | container u32_be | pk_hash[16] | record u64_be   -> sealed text
 *   0x02 | container u32_be | pk_hash[16] | id_hash[16]     -> record u64_be
 *
 *   0x03 | container u32_be                                 -> mark (mark.h)
 *   0x04 | container u32_be | pk_hash[16] | record u64_be   -> sealed text
 *
 * The first table is in order of (container, partition, creation); the second
 * finds a record by its id; the fourth has graves, what was deleted of a
 * container that is leaving. All hashes are keyed, so a key tells nothing about
 * what it names. Pure.
 */
#ifndef BASTIDE_SHARD_RECORD_H
#define BASTIDE_SHARD_RECORD_H

#include "node/base/buf.h"
#include "node/shard/op.h"

#define RECORD_TABLE_TEXT 0x01
#define RECORD_TABLE_ID 0x02
#define RECORD_TABLE_MARK 0x03
#define RECORD_TABLE_GRAVE 0x04
#define RECORD_TABLE_LAST RECORD_TABLE_GRAVE
#define RECORD_TEXT_KEY_LEN (1 + 4 + OP_HASH_LEN + 8)
#define RECORD_ID_KEY_LEN (1 + 4 + OP_HASH_LEN + OP_HASH_LEN)

struct record_key {
    uint8_t len;
    uint8_t bytes[OP_KEY_MAX];
};

static inline struct bytes record_key_bytes(const struct record_key *k)
{
    return bytes_of(k->bytes, k->len);
}

void record_text_key(const struct op_address *at, uint64_t record,
                     struct record_key *key_out);
void record_id_key(const struct op_address *at, struct record_key *key_out);
void record_mark_key(uint32_t container, struct record_key *key_out);
/* Makes a key of table TEXT the same in another table. */
void record_key_retable(struct record_key *key, uint8_t table);
/* The container number and record number inside a key of table TEXT or GRAVE.
 * CHECKs that it is one. */
void record_text_key_parts(struct bytes key, uint32_t *container_out,
                           uint64_t *record_out);

/* Key ranges [from, to) of table TEXT: a container, or one partition of it. */
void record_container_range(uint32_t container, struct record_key *from,
                            struct record_key *to);
void record_partition_range(uint32_t container, const uint8_t *pk_hash,
                            struct record_key *from, struct record_key *to);
/* Prefixes of everything a container has, in both tables. */
#define RECORD_PREFIX_LEN 5
void record_prefix(uint8_t table, uint32_t container,
                   uint8_t out[RECORD_PREFIX_LEN]);

/* Appends the text to store: op->body completed with the system properties of
 * its kind of resource. `ts` is seconds since 1970. Errors of buf_append (then
 * `out` is as before); ERR_LIMIT also when there are no numbers left for
 * databases and containers. */
int record_text(const struct op *op, uint64_t record, const struct etag *etag,
                int64_t ts, struct buf *out);

#endif
