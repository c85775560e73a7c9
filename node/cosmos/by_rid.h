/* The parts that are the same whatever a client addresses by its RID: a shard
 * knows items by other names, so it is scanned for the one with that RID.
 *
 *     begin --> op, submitted --> row --found--> (then)
 *                 '-----------------'  more
 */
#ifndef BASTIDE_COSMOS_BY_RID_H
#define BASTIDE_COSMOS_BY_RID_H

#include "node/cosmos/call.h"

/* Takes the RID from path segment 5, and keeps `then` as c->found for whoever
 * puts the item's name there. False after answering. */
bool by_rid_begin(struct call *c, call_step *then);

/* Has `op`, an OP_SCAN, look for it from `after` on. */
void by_rid_op(struct call *c, struct op *op, struct bytes after);

/* What the scan has found: `*row_out` is the item's id as JSON, borrowed from
 * `result`. False: `again` goes on behind what was scanned, or the call is
 * answered (404: there is no such item). */
bool by_rid_row(struct call *c, struct op_result *result,
                void (*again)(struct call *c, struct bytes after),
                struct bytes *row_out);

#endif
