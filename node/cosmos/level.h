/* Which consistency a request gets, and whether this node may serve it.
 *
 * The account's level is the default; x-ms-consistency-level may relax it for a
 * request and never strengthen it (400). Reads of documents (point reads,
 * feeds, queries) carry the effective level to the shard; writes are
 * acknowledged by the account's rule whatever a request says; databases and
 * containers are always read as strongly as can be had.
 */
#ifndef BASTIDE_COSMOS_LEVEL_H
#define BASTIDE_COSMOS_LEVEL_H

#include <stdbool.h>

#include "node/cosmos/call.h"

/* Finds c->level and checks the session token's form. False after answering
 * 400. */
bool level_take(struct call *c);
/* Answers a request that asks for more than the group has, or (NULL) the
 * account. */
void level_refuse_stronger(struct call *c, const struct catalog_group *group);

/* Whether this node serves the request at all, as far as the account says: a
 * removed region (403/1008), writes in a region that may not take them (403/3),
 * an isolated node (503; 403/3 for writes that others may take). Requests for
 * documents are only asked the first; once their group is known, the rest by
 * level_admit_group: a fenced group may be well inside its fence while the
 * account's leader is out of reach. False after answering. */
bool level_admit(struct call *c);
bool level_admit_group(struct call *c, const struct catalog_group *group);

/* Puts the effective level, and for the session level the state that must be
 * shown at least, into c->op, a read of slot `slot`; of a shard that is being
 * emptied, the strong level. Reads that ask for the
 * hub (x-ms-cosmos-hub-region-processing-only: .NET and Rust, after a 404/1002)
 * prefer the leader, and so do session reads without a token in the write
 * region (session.h). */
void level_op(struct call *c, uint32_t slot);

/* An operation of this call on slot `slot` brought a state to the client's
 * knowledge: remembers it for clients without tokens. */
void level_seen(struct call *c, uint32_t slot, const struct op_result *result);

/* How long an operation of this call may take; 0: no longer. */
usec_t level_timeout(const struct call *c);

#endif
