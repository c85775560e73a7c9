/* Clients of a replica that is a whole shard: they create, upsert, replace,
 * delete and read a few documents, try again as a node's router does, and keep
 * a history. The checkers know the history and nothing of the code:
 *
 *   linear.h                per document, reads at every replica included, and
 *                           what every replica holds at the end
 *   one effect              an operation id is committed at one LSN only
 *   one version, one etag   wherever it is seen
 */
#ifndef BASTIDE_SIM_DOCS_H
#define BASTIDE_SIM_DOCS_H

#include <stdbool.h>

#include "node/shard/op.h"
#include "tests/sim/check.h"

struct world;
struct node;
struct docs;

struct docs *docs_new(struct world *w);
void docs_free(struct docs *d);
/* Somebody idle begins a write or a read; who waits tries again. */
void docs_go(struct docs *d, bool write);
/* No new operations: those under way come to an end. */
void docs_finish(struct docs *d);
/* Of a healed cluster at rest: what is wrong with the history and with what the
 * replicas hold; false if nothing is. */
bool docs_unsettled(struct docs *d, char *why, size_t cap);

void docs_answered(struct docs *d, struct node *n, uint64_t token,
                   const struct op_result *result);
void docs_effect(struct docs *d, struct node *n, uint64_t operation,
                 uint64_t lsn);

#endif
