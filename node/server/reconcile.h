/* What a rebuilt node had put away and the others do not have becomes
 * conflicts.
 *
 * A node is told to rebuild because its data is damaged, or because the others
 * went on without it (a forced recovery overruled what it had committed). Once
 * its replicas have the others' log they can tell what of the old data was
 * overwritten (node/shard/salvage.h): a helper thread walks through the old
 * log and the old stores, and the loop salvages what it finds. Only then does
 * the node stop being marked as rebuilding, so that a crash begins again.
 *
 * Old data that cannot be read is left where it is, and said so in the log.
 * What the old log and stores do not show any more: versions that were replaced
 * and deletions, where they had been flushed and their log segments deleted. */
#ifndef BASTIDE_SERVER_RECONCILE_H
#define BASTIDE_SERVER_RECONCILE_H

#include <stdbool.h>
#include <stddef.h>

struct worker;

/* Most that one worker keeps of its old data; the rest is reported. */
#define RECONCILE_BYTES_MAX ((size_t)256 << 20)

/* To be called again until it is true: nothing is left to do for this worker.
 * Its replicas must be cured. */
bool reconcile_check(struct worker *w);

#endif
