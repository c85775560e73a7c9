/* The part of a shard that is newer than what LMDB holds: an ordered map from
 * key to versions, newest first. Pure: no clock, no descriptor, no thread.
 *
 * Versions borrow key and value from the log entry that made them and hold a
 * reference to it. LSNs only rise: a put or delete carries an LSN at least as
 * high as the newest version of its key (the same LSN replaces that version:
 * one entry may touch a key twice, the last effect counts).
 *
 * What a read sees: the newest version with lsn <= read_lsn. A miss means
 * "ask LMDB"; a tombstone means "there is none, do not ask". Reads must use a
 * read_lsn at or above the last flushed LSN (older states exist nowhere).
 *
 * Inside: a B+ tree whose nodes keep the first 16 bytes of each key, so that
 * most comparisons touch one cache line.
 *
 * Memory: puts never fail. Admission is the shard's: it asks
 * memtable_has_room() before it accepts a write (else 429), and a follower
 * before it accepts entries from its leader.
 */
#ifndef BASTIDE_STORE_MEMTABLE_H
#define BASTIDE_STORE_MEMTABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/store/entry.h"

/* Read at "whatever is newest, committed or not" (the leader's own view). */
#define MEMTABLE_NEWEST UINT64_MAX

struct memtable;

/* `cap_bytes` bounds what memtable_has_room() admits. */
struct memtable *memtable_new(size_t cap_bytes);
/* Another cap from now on; what is there stays. */
void memtable_set_cap(struct memtable *m, size_t cap_bytes);
/* Gives back every reference. NULL is allowed. */
void memtable_free(struct memtable *m);

/* All effects of one entry (effects.h). ERR_MALFORMED etc. of effects_open,
 * with nothing applied. */
int memtable_apply(struct memtable *m, struct entry *e);

enum memtable_hit { MEMTABLE_MISS, MEMTABLE_TOMBSTONE, MEMTABLE_FOUND };

struct memtable_version {
    struct bytes key;
    struct bytes value; /* empty for a tombstone */
    uint64_t lsn;
    bool deleted;
    struct entry *entry; /* borrowed; entry_ref it to keep key and value */
};

/* Everything in *version_out is borrowed until the memtable changes. Untouched
 * on a miss. */
enum memtable_hit memtable_get(const struct memtable *m, struct bytes key,
                               uint64_t read_lsn,
                               struct memtable_version *version_out);

/* Ordered walk over the keys that have a version at read_lsn, tombstones
 * included. An iterator is void after any change of the memtable; go on with a
 * new one from the last key. */
struct memtable_iter {
    const struct memtable *m;
    uint64_t read_lsn;
    const void *leaf;
    unsigned slot;
};
/* Starts at the first key >= from, or > from when `after`. */
void memtable_seek(const struct memtable *m, struct bytes from, bool after,
                   uint64_t read_lsn, struct memtable_iter *iter_out);
bool memtable_next(struct memtable_iter *iter,
                   struct memtable_version *version_out);

/* Drops every version with lsn >= from (the log's tail was truncated). */
void memtable_truncate(struct memtable *m, uint64_t from_lsn);

/* Frees versions with lsn <= flushed_lsn, which LMDB holds by now. At most
 * `budget` keys are looked at per call, so that a loop turn stays short;
 * returns true when a whole pass is complete. Call with the same LSN until
 * then; another LSN begins a new pass. Reads are right at every moment in
 * between. */
bool memtable_trim(struct memtable *m, uint64_t flushed_lsn, size_t budget);

/* Drops every version of every key that begins with `prefix`, at most `budget`
 * keys per call; true when none is left. */
bool memtable_drop_prefix(struct memtable *m, struct bytes prefix,
                          size_t budget);
/* Drops everything (a snapshot replaces the state). */
void memtable_clear(struct memtable *m);

size_t memtable_bytes(const struct memtable *m);    /* held now */
size_t memtable_keys(const struct memtable *m);     /* distinct keys */
size_t memtable_versions(const struct memtable *m); /* over all keys */
/* Whether `bytes` more stay within the cap. */
bool memtable_has_room(const struct memtable *m, size_t bytes);

#endif
