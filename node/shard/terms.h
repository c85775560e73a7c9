/* Which term each entry of a shard's log is of, also of entries that are gone
 * from it: runs of one term, by the LSN at which they begin. Two logs with the
 * same term at an LSN agree up to there (log matching), so this tells whether
 * an entry is in the log, or was, or was overwritten. What it holds is a
 * function of the log alone. Pure.
 *
 * Bounded: the last TERMS_MAX runs. A flush stores them with the state they
 * belong to. */
#ifndef BASTIDE_SHARD_TERMS_H
#define BASTIDE_SHARD_TERMS_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/base/err.h"

#define TERMS_MAX 4096

struct term_run {
    uint64_t first; /* LSN */
    uint64_t term;
};

struct terms {
    struct term_run *runs; /* rising in both */
    uint32_t count, cap;
};

/* Knows one LSN. Also forgets what there was. */
void terms_begin(struct terms *t, uint64_t lsn, uint64_t term);
void terms_free(struct terms *t);
/* `to` is empty (zeros) before. */
void terms_copy(struct terms *to, const struct terms *from);
/* The next entry; LSNs rise, terms do not fall. */
void terms_add(struct terms *t, uint64_t lsn, uint64_t term);
/* The log was cut: forgets entries with lsn >= from. */
void terms_truncate(struct terms *t, uint64_t from);
/* The term of an entry of the log. ERR_NOT_FOUND: too old. */
int terms_at(const struct terms *t, uint64_t lsn, uint64_t *term_out);
/* Whether an entry that some replica held, and that may have been acknowledged
 * to a client, is not in this log, which goes up to `last`: another one is in
 * its place, or none. An entry of a term that was followed by another term of
 * its epoch in this log was either kept by that one's leader or never
 * acknowledged (consensus/raft.h). True also where the log is too old to tell.
 */
bool terms_overwritten(const struct terms *t, uint64_t last, uint64_t term,
                       uint64_t lsn);

/* Appends the runs that begin at or below `upto`:
 *     u32 count  count times: u64 first  u64 term          (little-endian)
 * Errors of buf_append. */
int terms_encode(const struct terms *t, uint64_t upto, struct buf *out);
/* Replaces all. ERR_MALFORMED: not such a list; `t` is as before. */
int terms_decode(struct terms *t, struct bytes in);

#endif
