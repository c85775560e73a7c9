#include "tests/sim/site/history.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"
#include "node/history/grow.h"

struct history *history_new(void)
{
    struct history *h = mem_zalloc(sizeof(*h));
    h->cap_index = 4096;
    h->index = mem_zalloc(h->cap_index * sizeof(*h->index));
    return h;
}

void history_free(struct history *h)
{
    if (h == NULL)
        return;
    for (size_t i = 0; i < HIST_SHARDS_MAX; i++)
        mem_free(h->committed[i]);
    observed_free(&h->seen);
    mem_free(h->entries);
    mem_free(h->index);
    mem_free(h->acks);
    mem_free(h);
}

/* ---- the tree ---------------------------------------------------------------
 */

static size_t slot(const struct history *h, uint16_t shard,
                   struct hist_place at)
{
    uint64_t x = (at.lsn * 0x9e3779b97f4a7c15ULL) ^
                 (at.term * 0xff51afd7ed558ccdULL) ^
                 (shard * 0xc4ceb9fe1a85ec53ULL);
    size_t i = (size_t)(x ^ (x >> 29)) & (h->cap_index - 1);
    for (; h->index[i] != 0; i = (i + 1) & (h->cap_index - 1)) {
        const struct hist_entry *e = &h->entries[h->index[i] - 1];
        if (e->shard == shard && e->at.lsn == at.lsn && e->at.term == at.term)
            break;
    }
    return i;
}

static struct hist_entry *at(const struct history *h, uint16_t shard,
                             struct hist_place place)
{
    uint32_t i = h->index[slot(h, shard, place)];
    return i == 0 ? NULL : &h->entries[i - 1];
}

const struct hist_entry *history_at(const struct history *h, uint16_t shard,
                                    struct hist_place place)
{
    return at(h, shard, place);
}

static void grow_index(struct history *h)
{
    h->cap_index *= 2;
    mem_free(h->index);
    h->index = mem_zalloc(h->cap_index * sizeof(*h->index));
    for (size_t i = 0; i < h->n_entries; i++)
        h->index[slot(h, h->entries[i].shard, h->entries[i].at)] =
            (uint32_t)i + 1;
}

void history_logged(struct history *h, uint32_t node,
                    const struct hist_entry *e)
{
    CHECK(node < 32 && e->shard < HIST_SHARDS_MAX && e->op <= h->seen.n_ops);
    struct hist_entry *known = at(h, e->shard, e->at);
    if (known != NULL) {
        known->nodes |= 1u << node;
        if ((known->prev_term != e->prev_term || known->op != e->op) &&
            h->wrong[0] == '\0')
            snprintf(h->wrong, sizeof(h->wrong),
                     "log matching: n%u has another entry than others at "
                     "%u/%" PRIu64 " of term %" PRIx64,
                     node, e->shard, e->at.lsn, e->at.term);
        return;
    }
    if (h->n_entries * 2 >= h->cap_index)
        grow_index(h);
    HIST_MORE(h->entries, h->n_entries, h->cap_entries);
    h->entries[h->n_entries - 1] = *e;
    h->entries[h->n_entries - 1].nodes = 1u << node;
    h->index[slot(h, e->shard, e->at)] = (uint32_t)h->n_entries;
}

void history_committed(struct history *h, uint32_t node, uint16_t shard,
                       struct hist_place at)
{
    CHECK(shard < HIST_SHARDS_MAX && at.lsn > 0);
    size_t cap = h->cap_committed[shard];
    if (at.lsn >= cap) {
        size_t more = cap ? cap : 256;
        while (more <= at.lsn)
            more *= 2;
        uint64_t *terms =
            mem_realloc(h->committed[shard], more * sizeof(*terms));
        memset(terms + cap, 0, (more - cap) * sizeof(*terms));
        h->committed[shard] = terms;
        h->cap_committed[shard] = more;
    }
    uint64_t *term = &h->committed[shard][at.lsn];
    if (*term != 0 && *term != at.term && h->wrong[0] == '\0')
        snprintf(h->wrong, sizeof(h->wrong),
                 "state machine equality: n%u applies another entry at "
                 "%u/%" PRIu64 ": of term %" PRIx64 ", not %" PRIx64,
                 node, shard, at.lsn, at.term, *term);
    *term = at.term;
    if (at.lsn > h->top[shard])
        h->top[shard] = at.lsn;
}

bool history_survived(const struct history *h, uint16_t shard,
                      struct hist_place at)
{
    return at.lsn == 0 ||
           (at.lsn <= h->top[shard] && h->committed[shard][at.lsn] == at.term);
}

/* The place before it. False where nobody logged it. */
static bool step_back(const struct history *h, uint16_t shard,
                      struct hist_place *at)
{
    const struct hist_entry *e = history_at(h, shard, *at);
    if (e == NULL)
        return false;
    *at = (struct hist_place){at->lsn - 1, e->prev_term};
    return true;
}

bool history_leads_to(const struct history *h, uint16_t shard,
                      struct hist_place a, struct hist_place b)
{
    if (a.lsn > b.lsn)
        return false;
    if (history_survived(h, shard, b))
        return history_survived(h, shard, a);
    while (b.lsn > a.lsn)
        if (!step_back(h, shard, &b))
            return false;
    return a.lsn == 0 || a.term == b.term;
}

struct hist_place history_branch(const struct history *h, uint16_t shard,
                                 struct hist_place at)
{
    while (!history_survived(h, shard, at))
        if (!step_back(h, shard, &at))
            return (struct hist_place){0};
    return at;
}

uint64_t history_state(const struct history *h, uint16_t shard, uint32_t key,
                       struct hist_place at)
{
    while (at.lsn > 0) {
        const struct hist_entry *e = history_at(h, shard, at);
        if (e == NULL)
            return 0;
        if (e->op != 0 && h->seen.ops[e->op - 1].key == key && !e->delivery)
            return h->seen.ops[e->op - 1].kind == LINEAR_DELETE ? 0 : e->op;
        at = (struct hist_place){at.lsn - 1, e->prev_term};
    }
    return 0;
}

/* ---- replicas, operators ----------------------------------------------------
 */

void history_acked(struct history *h, const struct hist_ack *a)
{
    HIST_MORE(h->acks, h->n_acks, h->cap_acks);
    h->acks[h->n_acks - 1] = *a;
}
