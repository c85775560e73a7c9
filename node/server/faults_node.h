/* What the faults of the family `node` (node/inject/inject.h) do inside this
 * process; `down` and `certificate` are the links' matter. Worker 0 only.
 *
 *   disk-full     ENOSPC where the log is appended to, a segment is made, the
 *                 store commits and a received snapshot is stored
 *   disk-slow     a sync of the log and a commit of the store (which syncs)
 *                 take delay_ms longer; several add up
 *   disk-hang     these, and writes, do not return until it is cleared
 *   disk-error    EIO; `write`: the places of disk-full; `sync`: the log's sync
 *                 and the store's commit; `read`: every record and snapshot
 *                 record read from the store. Records in memory are still
 *                 served. The log is read only at a start, where faults cannot
 *                 be asked for: BASTIDE_FAULTS=log.read=eio is for that
 *   slow-loop     each turn of each worker's loop begins with a sleep
 *   clock-jump    clock_wall_us is off; several add up
 *   clock-drift   clock_mono_us and clock_wall_us run fast or slow
 *                 (node/base/clock.h says what sleeps in real time all the
 *                 same)
 *   allocation-failure  see mem_fail_percent in node/base/mem.h
 *   torn-write    what the next `kill` does to the log, see below
 *
 * At once:
 *
 *   kill          SIGKILL to this process; a first process of a container,
 *                 which that cannot kill, exits with 137 instead, as suddenly.
 *                 With `for` it is held (node/server/hold.h): who starts it
 *                 again has it wait until then. While torn-write is active the
 *                 machine's power fails, as far as a process can imitate it:
 *                 the log's next append is caught between write and sync, each
 *                 page of what was not synced is dropped, garbled or kept by
 *                 chance, then the process dies. Nobody was told of anything
 *                 that is lost. The store is not touched: it commits with a
 *                 sync of its own, up to what the log holds synced
 *   pause         SIGSTOP to all threads, SIGCONT after `for`
 *   bit-flip      one bit. Log: in the newest segment that is not in use, else
 *                 in the one in use, in a batch that is synced and not the
 *                 last; found at the next start. Store: in the value of a
 *                 record of a shard; found when it is read
 *
 * kill and pause happen FAULTS_NODE_SOON_MS later, so that the answer leaves
 * first. Each is logged before. */
#ifndef BASTIDE_SERVER_FAULTS_NODE_H
#define BASTIDE_SERVER_FAULTS_NODE_H

#include "node/base/err.h"
#include "node/inject/inject.h"

struct worker;

#define FAULTS_NODE_SOON_MS 20
/* How long a torn-write waits for an append to catch. */
#define FAULTS_NODE_CATCH_US (200 * USEC_PER_MS)

/* Makes the process what the whole list says, and undoes what it does not say
 * any more. Faults of other families and kinds are passed over. */
void faults_node_apply(struct worker *w, const struct inject_list *l);

/* kill, pause or bit-flip. ERR_INVALID: a pause without `for`, or a longer one
 * than INJECT_PAUSE_MAX_US. ERR_BUSY: a kill or pause is about to happen
 * already. ERR_UNSUPPORTED: the first process of a container cannot be paused.
 * ERR_NOT_FOUND: there is no log yet in which a bit could flip. */
int faults_node_now(struct worker *w, const struct inject_fault *f,
                    struct err_msg *msg);

#endif
