/* What a shard's own log says about a container that moves between placement
 * groups (node/server/mover.h): a record of the shard like any other, so that
 * it is ordered with the container's writes, the same on all replicas, and
 * outlives every leader. Pure.
 *
 *   state     meaning                          writes    reads    who deletes
 *   (none)    it never moved                   yes       yes      -
 *   OPEN      it moved here, or stayed         yes       yes      -
 *   COMING    the mover fills it               MOVED     MOVED    the mover
 *   LEAVING   it is copied away                yes *     yes      -
 *   SEALED    its last changes are copied      MOVED     yes      -
 *   GONE      another group has it             MOVED     MOVED    the mover
 *
 * (*) What is deleted while it leaves is kept, sealed anew, as a grave: the
 * mover has to delete it where it may have copied it to.
 *
 * ERR_MOVED means: not here, or not now; nothing was written; ask the catalog
 * again.
 *
 * A mark has a number, which grows with every attempt at every move of the
 * container. Whatever a mover asks for carries the number of its attempt; with
 * a smaller one than the mark's it is refused. So a mover that was believed
 * dead and comes back can do no harm, however late: every shard it might write
 * to has a mark of a later attempt. For this marks stay when a move is over.
 *
 * Clients' operations carry the number of the move that brought the container
 * to the shard (op.move). A replica whose mark is older has not everything that
 * the container had when it came, and does not answer.
 *
 * Marks have no effect on conflicts (CONTAINER_CONFLICTS), which belong to the
 * log of the shard that they arose in. */
#ifndef BASTIDE_SHARD_MARK_H
#define BASTIDE_SHARD_MARK_H

#include "node/shard/op.h"
#include "node/store/kv.h"
#include "node/store/memtable.h"

struct mark {
    enum op_mark state; /* OP_MARK_NONE: there is none */
    uint64_t number;
};

#define MARK_LEN 9
void mark_write(const struct mark *m, uint8_t out[MARK_LEN]);

/* The mark of `container` at `read_lsn`; the caller is inside kv_begin.
 * ERR_CORRUPT; errors of kv_get. */
int mark_find(const struct memtable *m, struct kv kv, uint32_t container,
              uint64_t read_lsn, struct mark *out);

/* Whether `op`, an OP_WRITE, may go on. ERR_OK; ERR_MOVED: of a client, and not
 * here; ERR_PRECONDITION: of a mover that was overtaken. */
int mark_admit_write(const struct mark *m, const struct op *op);
/* Whether what a replica has is what a read of `op` may show. ERR_OK;
 * ERR_MOVED. */
int mark_admit_read(const struct mark *m, const struct op *op);

#endif
