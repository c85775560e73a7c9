/* What a finished move leaves on a node: the container's records in the
 * replicas of the group that it has left are deleted by entries of their logs
 * (mover.h); this waits until the deletion is in the flushed state of each
 * replica here, then has the worker's log begin a new segment, and sees the
 * older ones, which held the entries, deleted. Nothing is remembered: after a
 * restart it is looked at again. On each worker.
 *
 *   record says emptied --flushed: GONE and no record left--> log rolled
 *       --segments from before gone--> clean
 */
#ifndef BASTIDE_SERVER_PURGE_H
#define BASTIDE_SERVER_PURGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct worker;
struct container_def;
struct node;

struct purge {
    bool rolled;      /* waits for the segments up to `segment` to go */
    uint64_t segment; /* of the log */
    uint64_t upto; /* LSN of the meta shard: newest finished move it is for */
    uint64_t done; /* up to this one nothing is left */
    /* The same for other threads, but as far as the catalog is read. */
    _Atomic uint64_t clean_lsn;
};

/* Now and then. */
void purge_check(struct worker *w);

/* Whether nothing is left on this node of what the container's moves, of which
 * the last one is finished, made superfluous: neither in the flushed state of a
 * replica nor in the log. Any thread. */
bool purge_clean(const struct node *n, const struct container_def *def);

#endif
