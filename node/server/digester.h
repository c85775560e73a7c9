/* The digest of one replica's records at one LSN (shard/digest.h), in the
 * background, beside everything else the shard does.
 *
 * 1. The flusher is aimed at the LSN: all replicas that are asked in time come
 *    to hold exactly the same state in their stores, however they got there. A
 *    replica that has flushed beyond it cannot go back: ERR_STALE, ask for a
 *    later one. Whoever asks takes the highest commit LSN that any replica
 *    told, so that this happens only if a flush came just between.
 * 2. When it is there, one read transaction pins it. The flusher is free again.
 * 3. The helper thread reads and hashes it, DIGESTER_SLICE_BYTES at a time, so
 *    that flushes and snapshots get their turns between.
 *
 * While the transaction is open, LMDB cannot reuse the pages that flushes
 * replace, so the file grows by what they write meanwhile: the shard's write
 * rate, times the pages that a record's flush touches, for at most
 * DIGESTER_PIN_US. Then the scan is given up; the pages are reused after that.
 * A snapshot that is to replace the state does not wait for a scan but for its
 * slice: digester_yield.
 */
#ifndef BASTIDE_SERVER_DIGESTER_H
#define BASTIDE_SERVER_DIGESTER_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/clock.h"
#include "node/shard/digest.h"

struct replica;
struct worker;

#define DIGESTER_SLICE_BYTES ((size_t)4 << 20)
#define DIGESTER_PIN_US (60 * USEC_PER_SEC)

/* `result` is NULL unless err is ERR_OK. ERR_STALE: the flushed state is beyond
 * the LSN; ERR_TIMEOUT: it was not reached in time, or scanned in time;
 * ERR_UNAVAILABLE: a snapshot replaces the state; ERR_CORRUPT, ERR_IO: of the
 * store; ERR_LIMIT: too many read its state. */
typedef void digester_done(void *user, struct replica *r, int err,
                           const struct digest_result *result);

/* On the shard's worker. `done` is called there, later, once. ERR_BUSY: one is
 * at work for this replica. */
int digester_begin(struct replica *r, uint64_t lsn, usec_t give_up_us,
                   digester_done *done, void *user);
/* Once a turn. */
void digester_turn(struct worker *w, usec_t now);
/* The state is about to be replaced or closed: ends what is at work. True while
 * the helper reads, which keeps the state open: ask again after that. */
bool digester_yield(struct replica *r);

#endif
