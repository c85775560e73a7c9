/* Requests of clients that pass through a node outside a placement group's
 * fence (node/cosmos/transit.h): which node inside gets them, and what happens
 * when it does not answer (transit_plan.h).
 *
 *   outside   worker's API --inbox--> worker 0 --link--> a member of the group:
 *             the nearest whose link is up; for writes, in the write region if
 *             one is. Another, if that one did not take it, or broke off: what
 *             an attempt may have written is known by its id to the next (op.h)
 *   inside    worker 0 --inbox--> a worker, in turn: its API runs the request
 *             --inbox--> worker 0 --link--> back
 *
 * Nothing of it is kept, logged or written. Both ends ask the fence about each
 * message (replication/links_fence.c). When the time is over: ERR_TIMEOUT for a
 * write that an attempt may have made, ERR_THROTTLED where they had no room for
 * it, else ERR_UNAVAILABLE; an answer that
 * says "nothing was applied" is not believed of earlier attempts. A member that
 * answers 503, or 408 to a write, is not the last one asked: that answer stands
 * when no other comes (reads: from the others in reach) or the time is over.
 */
#ifndef BASTIDE_SERVER_TRANSIT_H
#define BASTIDE_SERVER_TRANSIT_H

#include <stdbool.h>
#include <stdint.h>

#include "node/catalog/catalog.h"
#include "node/cosmos/cosmos.h"
#include "replication/links.h"

struct worker;
struct transit;

/* Kind of links_request that carries a passage. */
#define TRANSIT_REQUEST 2
/* Requests passed on and not answered: THROTTLED beyond it; and those of other
 * nodes under way here, by number and bytes: they are told to go elsewhere. */
#define TRANSIT_OUT_MAX 4096
#define TRANSIT_IN_MAX 1024
#define TRANSIT_IN_BYTES_MAX (64u * 1024 * 1024)
/* Answers for which the link to who asked has no room wait for so long, in
 * their order, and are looked at so often; bytes of them, for all nodes
 * together. With half as much waiting other nodes' requests are told to go
 * elsewhere. What waits for longer, or has no place to, is refused: who asked
 * hears at once that the outcome is unknown, and may ask another. */
#define TRANSIT_ROOM_US (2 * USEC_PER_SEC)
#define TRANSIT_ROOM_TICK_US (2 * USEC_PER_MS)
#define TRANSIT_HELD_BYTES_MAX (64u * 1024 * 1024)
/* What an answer may take beyond the time that the node inside has itself: as
 * long as there is for finding it, or for reads what a query that gathers may
 * take (page.h). */
#define TRANSIT_PATIENCE_US (6 * USEC_PER_SEC)

/* Of worker 0, at its creation. */
struct transit *transit_new(struct worker *w);

/* For struct cosmos_config: `user` is the worker. */
void transit_pass_on(void *user, const struct cosmos_pass *pass,
                     cosmos_passed_cb *done, void *done_user);

/* Worker 0, from the links' callbacks. The answers say whether it was one of
 * ours. */
void transit_on_request(struct worker *w, struct links_call call,
                        struct bytes body);
bool transit_on_response(struct worker *w, uint64_t id, int err,
                         struct bytes body);
bool transit_on_request_failed(struct worker *w, uint64_t id, int err);

/* How many requests for a group's documents this node has passed on, and
 * answered for others. `i` counts groups from 0; false: there are no more. */
bool transit_counts(const struct transit *t, uint32_t i, const char **name_out,
                    uint64_t *passed_on_out, uint64_t *answered_out);

#endif
