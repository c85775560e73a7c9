/* A damaged store is replaced by a new one that is received beside it, while
 * the replica goes on as a member: for a shard that cannot do without it while
 * it begins anew (quarantine.h), as one of two voters.
 *
 *   scrubber, at the leader: its own store was read whole, and is right
 *     --SCRUB_ASK_RENEW-->  renewal_begin     the flusher stops where it is
 *     a snapshot at or after that LSN, as for who is far behind (transfers.h)
 *                           renewal_offered   the flusher aims at its LSN
 *                           each record is opened as it comes; the whole is
 *                           compared with the sender's digest, and synced
 *                           renewal_complete  one rename: the new store is
 *                                             the state, the old one is gone
 *
 * Nothing that was promised goes: term, vote and log stay, the replica votes,
 * follows and acknowledges as before, and the log is not cut above what the old
 * store has flushed. So whatever happens before the rename (a kill, a lost
 * link, another leader, a full disk, even the loss of the leader's disk) leaves
 * the replica as it was: damaged, distrusted, and with all that it had. The
 * next round begins again. docs/rebuild.md has the argument.
 *
 * What it costs: the disk holds two stores for a while (checked before the
 * first byte is written), and what is written meanwhile stays in memory and in
 * the log, RENEWAL_HELD_BYTES_MAX at most; beyond that it is given up. What was
 * received is removed then. */
#ifndef BASTIDE_SERVER_RENEWAL_H
#define BASTIDE_SERVER_RENEWAL_H

#include <stdbool.h>
#include <stdint.h>

#include "consensus/raft.h"
#include "node/base/clock.h"
#include "node/store/flush.h"

struct replica;

/* Of the shard's memory that cannot be flushed meanwhile; or three quarters of
 * its share of limits.memtable_bytes, if that is less. */
#define RENEWAL_HELD_BYTES_MAX ((size_t)64 << 20)
/* What is left free on the disk, beside the new store. */
#define RENEWAL_SPARE_BYTES ((uint64_t)64 << 20)
/* Given up when nothing came for so long: a sender that has others to serve,
 * or that is out of reach, takes up to that. */
#define RENEWAL_PATIENCE_US (90 * USEC_PER_SEC)

/* A replica's own. */
struct renewal {
    bool on;
    raft_id from;
    usec_t progress_us;
    bool ready; /* the new store is complete and synced; it is that of */
    uint64_t lsn, term; /* this */
    bool swapped;       /* and it is the state */
};

/* All on the replica's worker. */

/* Its leader says that the store is to be renewed. ERR_OK: a snapshot of it may
 * come. ERR_BUSY: it is at it; ERR_AGAIN: it does not follow that one, or is
 * closed, put away, rebuilt or read through. */
int renewal_begin(struct replica *r, raft_id leader);
/* Whether a snapshot from there is the new store, though the log here has all
 * that is in it. */
bool renewal_awaits(const struct replica *r, raft_id from);
/* The first frame: of the state at `lsn`, about so many bytes. ERR_STALE: what
 * is flushed here is beyond it; ERR_NO_SPACE: the disk has no room for both. */
int renewal_offered(struct replica *r, uint64_t lsn, uint64_t about);
/* Another one. */
void renewal_progress(struct replica *r);
/* All of it is in `incoming` (engine.h). ERR_OK: it is the state now;
 * ERR_AGAIN: ask again next turn; those of shard_renewable, and ERR_STALE when
 * it was given up: it must go. */
int renewal_complete(struct replica *r, uint64_t lsn, uint64_t term);
/* From the flusher, instead of writing `f` to the old store, which may not take
 * it: whether the new one, which has all that is in it, has become the state.
 */
bool renewal_swap_at_flush(struct replica *r, const struct flush *f);
/* It is over, or given up. Harmless when there is none. */
void renewal_end(struct replica *r);
/* Once a turn: gives up what takes too long or too much memory, or comes from
 * who does not lead any more. */
void renewal_check(struct replica *r, usec_t now);

#endif
