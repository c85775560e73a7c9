/* Requests for documents of a placement group that this node is outside of,
 * where the group allows transit: they are passed on to a node inside, which
 * runs them as if they had come from a client, and its answer is given back.
 * This node keeps nothing of either.
 *
 *     outside:  resolve -> transit_begin -> config.pass_on ... -> answer
 *     inside:   cosmos_on_passage -> call_begin -> route -> handler -> answer
 *
 * Both ends look for themselves whether the container is of the group and the
 * group allows it. When they differ (it moves, or was set to deny just now) the
 * one inside says so, and the one outside looks again.
 */
#ifndef BASTIDE_COSMOS_TRANSIT_H
#define BASTIDE_COSMOS_TRANSIT_H

#include "node/cosmos/call.h"

/* Whether a call for documents outside the fence may be passed on. */
bool transit_may(const struct call *c, const struct catalog_group *group);
/* Passes it on; answers it, or resolves it anew. */
void transit_begin(struct call *c, const struct catalog_group *group);

/* For a call that came by transit: whether `group`, which its container was
 * found in, is the one that it was passed on for, and allows it here. */
bool transit_fits(const struct call *c, const struct catalog_group *group);
/* Answers a call for which it is not. */
void transit_refuse(struct call *c);

#endif
