/* What a forced failover overwrote is not thrown away.
 *
 * A write region that was lost may have acknowledged entries that nobody else
 * had. When it returns, its replicas cut them off their logs (or are given a
 * snapshot instead). Before that, each goes into the log once more as a SALVAGE
 * record, in the same batch or an earlier one: at every moment either the entry
 * is in the log, or its salvage is, or both.
 *
 * Which entries: all DATA entries that are cut off and whose epoch is older
 * than that of the term in force. Within an epoch nothing that was acknowledged
 * is ever cut off (consensus/raft.h).
 *
 * Then the replica delivers what it salvaged to the leader of the shard, as
 * conflicts (conflict.h): ordinary writes that it makes and the owner sends,
 * several at a time, until each has an answer:
 *
 *     shard_salvage_next -> owner submits delivery.op, wherever the leader is
 *                        -> shard_salvage_done
 *
 * The leader refuses (PRECONDITION) what was not overwritten: it has the terms
 * of its whole log (terms.h) and so knows whether the entry is in it, or never
 * was acknowledged because a later leader of the same epoch did not have it.
 * A conflict that is there already (EXISTS), or was made and deleted since, or
 * whose container is gone, counts as delivered.
 *
 * A delivery is final when what the answer rests on is committed here: a
 * conflict that the next failover overwrites is delivered again. Then a
 * SALVAGED mark goes into the log, and the record is never delivered again. Any
 * number of deliveries of one conflict have the effect of one, from whatever
 * replica, in whatever order; the operation's id is made of the conflict's
 * name. Only when an operator deleted a conflict, and a replica that had been
 * away for longer than DEDUPE_MAX operations delivers it once more, does it
 * appear again.
 *
 * Bounds. Salvaged entries stay in memory until they are final. A replica that
 * holds SALVAGE_HOLD_BYTES of them without an answer takes no append and no
 * snapshot that would cut off more, until it has some (an answer is enough:
 * that it is final shows only in the log that follows). One cut adds at most
 * what may be uncommitted (SHARD_UNCOMMITTED_BYTES_MAX).
 */
#ifndef BASTIDE_SHARD_SALVAGE_H
#define BASTIDE_SHARD_SALVAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "node/shard/shard.h"

#define SALVAGE_HOLD_BYTES ((size_t)32 << 20)
/* Deliveries of one shard that may be under way. */
#define SALVAGE_INFLIGHT_MAX 16
/* A delivery that failed is due again after this time. */
#define SALVAGE_RETRY_US (USEC_PER_SEC / 4)

/* One write on its way to the leader. The caller owns it from
 * shard_salvage_next to shard_salvage_done or shard_salvage_drop. It may move,
 * but not while `op` is submitted. */
struct salvage_delivery {
    struct op op; /* OP_WRITE of a conflict; borrows from `body` */
    struct buf body;
    /* The shard's. */
    uint32_t number;
    uint16_t position;
};

/* The next conflict to deliver. Also notes what became final meanwhile (and
 * logs that), so it is to be called now and then as long as
 * shard_salvage_pending is not 0: after role changes, after commits, by a
 * timer. ERR_EOF: none is due now: nothing is pending, or SALVAGE_INFLIGHT_MAX
 * are under way, or the key or the container is not known here yet. */
int shard_salvage_next(struct shard *s, usec_t now,
                       struct salvage_delivery *delivery_out);
/* The answer to a delivery. Frees what `d` holds. Any result is allowed: one
 * that settles nothing makes the conflict due again. Allowed also from inside
 * the shard, where requests are answered. */
void shard_salvage_done(struct shard *s, usec_t now, struct salvage_delivery *d,
                        const struct op_result *result);
/* The owner ends: frees what `d` holds; the shard may be gone already. */
void shard_salvage_drop(struct salvage_delivery *d);

/* Conflicts that are not final. */
uint32_t shard_salvage_pending(const struct shard *s);
/* SALVAGE records with a lower number are not needed in the log any more
 * (struct wal_keep). */
uint32_t shard_salvage_keep(const struct shard *s);

/* -- after a rebuild ----------------------------------------------------------
 *
 * A replica that was rebuilt from the others (docs/rebuild.md) has put away
 * what it held. Once it has their log, it can tell what of that they do not
 * have. */

/* What a shard knows at this moment, for a walk through old data on another
 * thread. The caller frees it. */
struct salvage_filter;
struct salvage_filter *salvage_filter_new(const struct shard *s);
void salvage_filter_free(struct salvage_filter *f);
/* Whether an entry that this replica once held was overwritten. False also
 * where the log is too old to tell. */
bool salvage_filter_lost(const struct salvage_filter *f, uint64_t term,
                         uint64_t lsn);
/* Salvages an entry that was found so (borrowed). ERR_MALFORMED: the payload is
 * not that of a DATA entry. */
int shard_salvage_add(struct shard *s, struct entry *e, bool acknowledged);

#endif
