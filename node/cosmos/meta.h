/* What databases and containers have in common: their records are in the meta
 * shard, and what is read comes from this worker's catalog.
 *
 * Reads are brought up to date first (a barrier), so that they show whatever
 * was acknowledged before; writes are answered when this node's catalog has
 * them, so that the next request finds them. */
#ifndef BASTIDE_COSMOS_META_H
#define BASTIDE_COSMOS_META_H

#include "node/cosmos/call.h"

/* Prepares c->op as a write of a meta record whose text stands in c->text as a
 * whole JSON object (nothing for OP_DELETE). `pk` and `id` address it. False
 * after answering. */
bool meta_write_op(struct call *c, enum op_write_mode mode,
                   enum op_resource resource, uint32_t container,
                   struct bytes pk, struct bytes id);
/* Runs that write; when it succeeded and the catalog has it, answers with
 * `status` and the stored text (204: nothing). Failures are answered. */
void meta_write(struct call *c, int status);
/* The second half of meta_write, for a caller that submits c->op itself, with
 * c->status set. */
void meta_write_done(struct call *c, struct op_result *result);

/* Answers with one stored resource, or 304 when If-None-Match names it. */
void meta_reply(struct call *c, struct bytes json, struct bytes etag);

#endif
