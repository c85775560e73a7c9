/* Which refusals are written down when: the first of a kind at the next look,
 * and what follows in the minute after it as one number at its end. So a peer
 * that tries a thousand times a second makes one audit record a minute, and
 * none is lost to the count. Pure: time comes in.
 */
#ifndef BASTIDE_FAILOVER_FENCE_LEDGER_H
#define BASTIDE_FAILOVER_FENCE_LEDGER_H

#include "failover/fence.h"
#include "node/base/clock.h"

#define FENCE_LEDGER_PERIOD_US (60 * USEC_PER_SEC)
/* Kinds at once; what is beyond shares the last place. */
#define FENCE_LEDGER_MAX 128

struct fence_refusals {
    enum fence_wall wall;
    bool known;       /* the shard's group; else that was why */
    bool unproved;    /* the peer's region, of the first of them */
    uint32_t peer;    /* a node's id; 0: a client, or several */
    uint64_t shard;   /* FENCE_LEDGER_SEVERAL where places ran out */
    const char *what; /* kind of message, of the first of them; static */
    uint64_t count, bytes;
};
#define FENCE_LEDGER_SEVERAL UINT64_MAX

struct fence_ledger {
    struct {
        struct fence_refusals sum; /* not yet told */
        usec_t since_us;           /* of the last telling */
    } places[FENCE_LEDGER_MAX];
    uint32_t count;
};

void fence_ledger_init(struct fence_ledger *l);
/* Notes `refusal` (one or more of the same kind). */
void fence_ledger_note(struct fence_ledger *l, usec_t now,
                       const struct fence_refusals *refusal);
/* The next sum that is to be written down now; false when there is none. Ask
 * until then. */
bool fence_ledger_due(struct fence_ledger *l, usec_t now,
                      struct fence_refusals *sum_out);

#endif
