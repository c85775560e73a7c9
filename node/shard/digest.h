/* A digest of a shard's records, that two replicas can compare.
 *
 * What is digested is the flushed state at one LSN: for every record, its key
 * and its stored value. A value was sealed once, by the leader that accepted
 * it, with the write's LSN and a nonce bound into it, and travels, is logged,
 * flushed and sent in snapshots as those bytes. So replicas that flushed up to
 * the same LSN hold the same bytes, whatever way they came by, and one that
 * differs in a single bit of a single record has another digest. Nothing is
 * opened; the digest tells nothing about what is in the records.
 *
 * The one thing that replicas do in their own time is to delete what containers
 * leave behind that were dropped. The caller says which containers count, by
 * its catalog; those that do not are left out.
 *
 * Records are divided into buckets by the hash of their partition key, so that
 * a difference can be searched in a part of the records. A bucket's digest is
 * the SHA-256 of its records in the order of their keys, each with its lengths;
 * the whole one is that of the buckets' digests. An order is given, so nothing
 * weaker than a plain hash of the bytes is needed.
 *
 * Pure: fed by whoever reads the state, in slices of any size.
 */
#ifndef BASTIDE_SHARD_DIGEST_H
#define BASTIDE_SHARD_DIGEST_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/bytes.h"

#define DIGEST_LEN 32
#define DIGEST_BUCKETS 16
/* Versions of a data key that are told apart (crypt/keyring.h). */
#define DIGEST_KEY_VERSIONS 16

struct digest;

struct digest_result {
    uint64_t records; /* texts: documents, conflicts, catalog records */
    uint64_t bytes;   /* of all keys and values */
    /* Records by the version of the data key that sealed them. */
    uint64_t by_key[DIGEST_KEY_VERSIONS];
    uint8_t whole[DIGEST_LEN];
    uint8_t buckets[DIGEST_BUCKETS][DIGEST_LEN];
};

/* Whether a container's records count; asked when its first one comes. */
typedef bool digest_counts_fn(void *user, uint32_t container);

/* The caller owns it. `counts` may be NULL: everything does. */
struct digest *digest_new(digest_counts_fn *counts, void *user);
/* NULL is allowed. */
void digest_free(struct digest *d);

/* Takes the next record; keys must rise. ERR_CORRUPT: the key is not one that a
 * shard makes, or does not rise. */
int digest_add(struct digest *d, struct bytes key, struct bytes value);
/* Takes the records of a chunk of a snapshot (store/engine.h); what stands
 * beside the records in it, which each replica has of its own, is left out.
 * ERR_CORRUPT as above; ERR_MALFORMED: not a chunk. */
int digest_chunk(struct digest *d, struct bytes chunk);
/* Which bucket a legal key is in. */
size_t digest_bucket(struct bytes key);
/* Calls `each` for the records of a chunk, in order, until it answers anything
 * but ERR_OK, which is the result then. ERR_MALFORMED: not a chunk. */
int digest_each(struct bytes chunk,
                int (*each)(void *user, struct bytes key, struct bytes value),
                void *user);
/* After the last record, once. */
void digest_finish(struct digest *d, struct digest_result *out);

#endif
