#include "failover/fence_ledger.h"

#include <string.h>

#include "node/base/check.h"

void fence_ledger_init(struct fence_ledger *l)
{
    memset(l, 0, sizeof(*l));
}

static bool same_kind(const struct fence_refusals *a,
                      const struct fence_refusals *b)
{
    return a->wall == b->wall && a->known == b->known && a->peer == b->peer &&
           a->shard == b->shard;
}

static uint32_t find(const struct fence_ledger *l,
                     const struct fence_refusals *kind)
{
    uint32_t i = 0;
    while (i < l->count && !same_kind(&l->places[i].sum, kind))
        i++;
    return i;
}

void fence_ledger_note(struct fence_ledger *l, usec_t now,
                       const struct fence_refusals *refusal)
{
    struct fence_refusals kind = *refusal;
    uint32_t i = find(l, &kind);
    if (i == l->count && i >= FENCE_LEDGER_MAX - 1) {
        i = FENCE_LEDGER_MAX - 1;
        kind.peer = 0;
        kind.shard = FENCE_LEDGER_SEVERAL;
    }
    if (i == l->count) {
        kind.count = kind.bytes = 0;
        l->count++;
        l->places[i].sum = kind;
        l->places[i].since_us = now - FENCE_LEDGER_PERIOD_US;
    }
    l->places[i].sum.count += refusal->count;
    l->places[i].sum.bytes += refusal->bytes;
}

bool fence_ledger_due(struct fence_ledger *l, usec_t now,
                      struct fence_refusals *sum_out)
{
    for (uint32_t i = 0; i < l->count;) {
        struct fence_refusals *sum = &l->places[i].sum;
        if (now - l->places[i].since_us < FENCE_LEDGER_PERIOD_US) {
            i++;
            continue;
        }
        if (sum->count > 0) {
            *sum_out = *sum;
            sum->count = sum->bytes = 0;
            l->places[i].since_us = now;
            return true;
        }
        l->places[i] = l->places[--l->count]; /* quiet for a whole minute */
    }
    return false;
}
