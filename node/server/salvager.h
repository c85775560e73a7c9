/* Delivers what the worker's replicas salvaged (node/shard/salvage.h) to the
 * leaders of their shards, as conflicts: takes what is due, sends it the way
 * every operation goes, and gives the answer back. */
#ifndef BASTIDE_SERVER_SALVAGER_H
#define BASTIDE_SERVER_SALVAGER_H

#include "node/base/clock.h"

struct worker;

/* How long the router may try to bring one conflict to the leader. */
#define SALVAGER_TIMEOUT_US (10 * USEC_PER_SEC)

/* By a timer and after a change of roles: looks at every replica. Cheap where
 * nothing is pending. */
void salvager_check(struct worker *w);
/* Once a turn: goes on where answers came in. */
void salvager_turn(struct worker *w);

#endif
