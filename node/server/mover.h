/* Moves containers from one placement group to another while they are used, and
 * from one layout of a group to another when the group is split (splitter.h):
 * that is the same, with the same group at both ends. Of a container with a
 * placement map one part is moved: its documents are all that its group's
 * shards have of the container, and the other end has nothing of it.
 *
 * The container's record in the meta shard says how far its move is
 * (catalog/container.h), each shard's log what the shard has of it
 * (shard/mark.h). Nothing else needs to be remembered: whoever takes a move
 * over goes on from these.
 *
 *   record                    old group's shards     new group's shards
 *   ------                    ------------------     ------------------
 *   copying, by mover M       LEAVING                COMING, emptied
 *     passes: all documents, then those changed since, until few are
 *     last pass, writes wait  SEALED
 *                             GONE, committed        has everything, committed
 *   switching                                        OPEN, committed
 *   emptying, placement=new   emptied
 *   (none)
 *
 *   cancelling                OPEN, committed,       GONE, emptied
 *                             no graves
 *
 * Who: a node whose region is inside both fences, for there alone may the
 * documents be opened and sealed anew; they are read from members of the old
 * group and sent to members of the new one, and lie nowhere in between. Each
 * node looks by itself: the mover that the record names goes on as long as it
 * is reachable; else the eligible reachable node with the lowest id writes its
 * name into the record, on the condition that nobody else did. Two that both
 * believe to be it do no harm: the write gives the attempt its number, and
 * marks refuse whatever comes with a lower one.
 *
 * Why nothing is lost or comes back. A write that a shard acknowledged is in
 * its log before SEALED, and the last pass, which begins when SEALED is
 * committed, sees it; later ones are refused there, whatever catalog sent them.
 * Deletions leave graves, which the pass applies after the documents. Copies
 * come in order, since a mover awaits each before it looks again, and nobody
 * else's copies are taken. Clients write to the new group once their catalog
 * says so, which is after it is OPEN and committed there. A forced failover can
 * take back what a shard had acknowledged, as the write region does alone below
 * level strong: so the old shards are GONE only when all copies are committed.
 * It raises the epoch, and an attempt that sees an epoch change in a shard in
 * any phase but emptying begins anew.
 *
 * A group that a container moves to is not removed (placement_gate.h). Where a
 * leader of a release from before there was that gate let an order and a
 * removal cross, there is nothing to copy to: a move that was not beyond
 * copying is cancelled.
 *
 * A mover that dies while copying leaves an attempt from which the next one
 * does not go on: it empties the new group's shards and copies anew. From
 * switching on, and when cancelling, the next one goes on where it was. Writes
 * that come between SEALED and the next mover's LEAVING, or the switch, wait in
 * the routers; those that would wait too long are answered 503: not applied.
 *
 * Emptied means: through the log, so every replica that applies it deletes the
 * records, and the leader found nothing left. When each node has that in its
 * files, and its log is without the old entries: purge.h. */
#ifndef BASTIDE_SERVER_MOVER_H
#define BASTIDE_SERVER_MOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/clock.h"
#include "node/catalog/catalog.h"

struct worker;
struct move;

/* Worker 0's. */
struct mover {
    struct move *running; /* one container at a time */
    usec_t next_us;       /* when to look again */
};

/* Now and then, on worker 0. */
void mover_check(struct worker *w);

/* How far the move of a container is that this node does. */
struct move_progress {
    uint64_t copied; /* documents in this pass */
    uint64_t about;  /* in the old group, when the attempt began; 0: not known
                      * yet */
    uint32_t pass;
    usec_t running_us;
};
/* False: another node does it, or nobody yet. */
bool mover_progress(const struct worker *w, uint32_t container,
                    struct move_progress *out);

/* Whether the node with this id may be the mover between two groups. */
bool mover_eligible(const struct worker *w, uint32_t node,
                    const struct catalog_group *a,
                    const struct catalog_group *b);

/* The reachable node with the lowest id above `after` that may; 0: none. */
uint32_t mover_after(const struct worker *w, uint32_t after,
                     const struct catalog_group *a,
                     const struct catalog_group *b);

/* The group that a definition names; NULL: not known here. */
const struct catalog_group *mover_group(const struct worker *w,
                                        struct bytes name);

/* The group that a container is in; of one with a placement map, the part that
 * moves. NULL: not known here. */
const struct catalog_group *mover_own_group(const struct worker *w,
                                            const struct container_def *def);

/* How a container's record names a group. */
struct bytes mover_group_name(const struct catalog_group *g);
/* Has the record name it as the other end, with this layout. */
void mover_name_other(struct container_move *move,
                      const struct catalog_group *g, uint16_t layout);

/* Fills `op`, whose `body` it makes in `text` (room for OP_BODY_MAX: with
 * less, what a client was allowed to store could not be moved), to write the
 * definition with another place and move, on the condition that its record is
 * `etag`. Errors of container_moved. */
struct op;
struct etag;
struct buf;
int mover_record_op(const struct worker *w, const struct container_def *def,
                    const struct etag *etag,
                    const struct container_place *place,
                    const struct container_move *move, struct buf *text,
                    struct op *op);

#endif
