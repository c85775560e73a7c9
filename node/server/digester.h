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
 * With `open`, the loop also opens each record of a slice that is sealed: that
 * tells a damaged one from one that merely differs. Such a scan keeps to a
 * rate, which all of a worker share, and takes smaller slices.
 *
 * While the transaction is open, LMDB cannot reuse the pages that flushes
 * replace, so the file grows by what they write meanwhile: the shard's write
 * rate, times the pages that a record's flush touches, for at most
 * DIGESTER_PIN_US, or DIGESTER_OPEN_PIN_US. Then the scan is given up; the
 * pages are reused after that. A snapshot that is to replace the state does not
 * wait for a scan but for its slice: digester_yield.
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
#define DIGESTER_OPEN_PIN_US (300 * USEC_PER_SEC)

struct digester_result {
    struct digest_result digest;
    uint64_t opened;  /* sealed records that are authentic */
    uint64_t unknown; /* sealed with a key that this node has not (yet) */
    uint64_t damaged; /* that are not, or are no records at all */
    uint16_t spoilt;  /* by bucket: has damaged ones */
};

/* `result` is NULL unless err is ERR_OK. ERR_STALE: the flushed state is beyond
 * the LSN; ERR_TIMEOUT: it was not reached in time, or scanned in time;
 * ERR_UNAVAILABLE: a snapshot replaces the state; ERR_CORRUPT, ERR_IO: of the
 * store; ERR_LIMIT: too many read its state. */
typedef void digester_done(void *user, struct replica *r, int err,
                           const struct digester_result *result);

struct digester_order {
    uint64_t lsn;
    usec_t give_up_us; /* reaching it */
    bool open;
    uint64_t rate; /* with `open`: bytes a second, at least 1 */
    digester_done *done;
    void *user;
};

/* On the shard's worker. `done` is called there, later, once. ERR_BUSY: one is
 * at work for this replica, or its store is being renewed. */
int digester_begin(struct replica *r, const struct digester_order *order);
/* Once a turn. */
void digester_turn(struct worker *w, usec_t now);
/* When the next turn is due for it at the latest; USEC_NEVER. */
usec_t digester_deadline(const struct worker *w);
/* The state is about to be replaced or closed: ends what is at work. True while
 * the helper reads, which keeps the state open: ask again after that. */
bool digester_yield(struct replica *r);

#endif
