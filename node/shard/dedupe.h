/* The operations of the last entries of a shard's log, by operation id, so that
 * an operation that is sent again (its answer was lost) is recognised instead
 * of applied twice. What it holds is a function of the log alone: every replica
 * feeds it the same entries, so a new leader knows what the old one did. Pure.
 *
 * Bounded: the last DEDUPE_MAX operations, which a busy shard does in less than
 * the time in which a retry may come. So what was forgotten is known by time:
 * each operation is remembered with when this replica got its entry, which is
 * after the operation began. One that began before the newest of those that are
 * forgotten may be among them, and must not be done as if it were new
 * (dedupe_may_have_forgotten; replication/travel.h has when it began). A flush
 * stores the list with the state it belongs to, so that neither a restart nor a
 * snapshot forgets operations whose entries are gone from the log; but not when
 * they came, nor whether there were more, so whoever reads it knows of nothing
 * older that it was not done (dedupe_forget).
 *
 * A mover (mark.h) does more of them in a second than clients do, a few at a
 * time, each of which it waits for: its operations have a bound of their own,
 * so that they do not drive out those of clients.
 */
#ifndef BASTIDE_SHARD_DEDUPE_H
#define BASTIDE_SHARD_DEDUPE_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/clock.h"
#include "node/base/list.h"
#include "node/shard/op.h"
#include "node/store/entry.h"

#define DEDUPE_MAX 8192 /* of both kinds */
#define DEDUPE_MOVER_MAX 1024
#define DEDUPE_CLIENT_MAX (DEDUPE_MAX - DEDUPE_MOVER_MAX)

enum dedupe_kind { DEDUPE_CLIENT, DEDUPE_MOVER, DEDUPE_KINDS };

struct dedupe_found {
    uint64_t lsn;
    uint64_t term;
    uint64_t record;
    bool created;
    bool deleted;
};

struct dedupe_item;
struct dedupe {
    struct dedupe_item *table; /* by operation id */
    struct list order;         /* oldest first */
    uint32_t count;
    struct {
        struct list order; /* oldest first */
        uint32_t count;
        usec_t forgotten_us; /* when the newest one that is forgotten had come;
                              * 0: none is */
    } kinds[DEDUPE_KINDS];
};

void dedupe_init(struct dedupe *d);
void dedupe_free(struct dedupe *d);
/* Remembers the operation of a DATA entry (its effects head), which came `now`.
 * Entries come in LSN order. An id that is all zeros is not remembered. An
 * entry that opens a container here is a dedupe_forget, too. */
void dedupe_add(struct dedupe *d, const struct entry *e, usec_t now);
bool dedupe_find(const struct dedupe *d, const uint8_t id[OP_ID_LEN],
                 struct dedupe_found *found_out);
/* Whether an operation that is not found and began at `since_us` may have been
 * done and forgotten. */
bool dedupe_may_have_forgotten(const struct dedupe *d, enum dedupe_kind kind,
                               usec_t since_us);
/* Operations of both kinds that came until `now` may be missing. */
void dedupe_forget(struct dedupe *d, usec_t now);
/* The log was cut: forgets entries with lsn >= from. */
void dedupe_truncate(struct dedupe *d, uint64_t from);

/* Appends the operations with lsn <= `upto`, oldest first:
 *     u8 version (1)  u32 count  count times: id[16] u64 lsn u64 term
 *     u64 record u8 status                                 (little-endian)
 * The kind is not told: who reads it takes all for clients' operations. Errors
 * of buf_append. */
int dedupe_encode(const struct dedupe *d, uint64_t upto, struct buf *out);
/* Fills an empty list. ERR_MALFORMED: not such a list; `d` is to be truncated
 * or freed. */
int dedupe_decode(struct dedupe *d, struct bytes in);

/* The status word of an entry's effects head (node/store/effects.h). */
#define DEDUPE_CREATED 1u
#define DEDUPE_DELETED 2u
#define DEDUPE_MOVERS 8u /* it is a mover's */
#define DEDUPE_OPENED                                                          \
    4u /* a container came: what it went through in another                    \
        * shard is not known here */

#endif
