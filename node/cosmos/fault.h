/* Faults on request, where a client meets them (struct cosmos_faults). */
#ifndef BASTIDE_COSMOS_FAULT_H
#define BASTIDE_COSMOS_FAULT_H

#include <stdbool.h>

#include "node/cosmos/call.h"

/* Finds out whether a fault strikes the request, and begins what it does.
 * `key`: which account key signed it, as numbered in struct cosmos_config. To
 * be called when the request is known to be authorized and its path is parsed.
 * False after answering: the request is not carried out. */
bool fault_admit(struct call *c, unsigned key);

/* For reply.c, with the answer to a request that was carried out: whether a
 * fault puts another one in its place. If so that one was sent and the call is
 * over; `body` (NULL: none), which may be a part of the call, was freed
 * before. */
bool fault_replaces(struct call *c, struct buf *body);

#endif
