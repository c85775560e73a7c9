/* A node whose data was put away, or lost, comes back as a member that must not
 * vote until it has again what it may have promised (docs/rebuild.md). The data
 * directory says so until the replicas of all workers are cured.
 */
#ifndef BASTIDE_SERVER_REBUILD_H
#define BASTIDE_SERVER_REBUILD_H

#include <stdbool.h>

#include "node/base/err.h"

struct node;
struct worker;

/* At start, after the data directory is open: with `wanted`, puts its data away
 * and marks it; sets n->rebuilding by its mark. ERR_PRECONDITION: there is data
 * in which no damage was found, and `sure` is not set. ERR_INVALID: this node
 * is the only one. Other errors: datadir_discard. */
int rebuild_begin(struct node *n, bool wanted, bool sure, struct err_msg *msg);

/* Adds to a refused start's message how to go on, and remembers the damage. */
void rebuild_advise(struct node *n, struct err_msg *msg);

/* Now and then, on each worker: sees whether its replicas are cured. */
void rebuild_check(struct worker *w);

#endif
