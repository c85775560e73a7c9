#include "consensus/trail.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"

static void add_config(struct trail *t, uint64_t lsn,
                       const struct raft_config *config)
{
    if (t->n_configs == t->cap_configs) {
        t->cap_configs = t->cap_configs ? t->cap_configs * 2 : 4;
        t->configs =
            mem_realloc(t->configs, t->cap_configs * sizeof(*t->configs));
    }
    struct raft_config *copy = mem_dup(config, sizeof(*config));
    t->configs[t->n_configs++] = (struct trail_config){lsn, copy};
}

static void drop_configs_from(struct trail *t, size_t keep)
{
    while (t->n_configs > keep)
        mem_free(t->configs[--t->n_configs].config);
}

void trail_init(struct trail *t, uint64_t base_lsn, uint64_t base_term,
                const struct raft_config *base_config)
{
    *t = (struct trail){.base_lsn = base_lsn, .base_term = base_term};
    add_config(t, base_lsn, base_config);
}

void trail_free(struct trail *t)
{
    drop_configs_from(t, 0);
    mem_free(t->configs);
    mem_free(t->items);
    *t = (struct trail){0};
}

const struct trail_item *trail_item(const struct trail *t, uint64_t lsn)
{
    CHECK(lsn > t->base_lsn && lsn <= trail_last_lsn(t));
    return &t->items[t->head + (lsn - t->base_lsn - 1)];
}

uint64_t trail_last_term(const struct trail *t)
{
    return t->n > 0 ? t->items[t->head + t->n - 1].term : t->base_term;
}

int trail_term(const struct trail *t, uint64_t lsn, uint64_t *term_out)
{
    if (lsn < t->base_lsn || lsn > trail_last_lsn(t))
        return ERR_NOT_FOUND;
    *term_out = lsn == t->base_lsn ? t->base_term : trail_item(t, lsn)->term;
    return ERR_OK;
}

static void make_room(struct trail *t)
{
    if (t->head + t->n < t->cap)
        return;
    /* Compaction moves the head; reuse what it left once that is half. */
    if (t->head > t->cap / 2) {
        memmove(t->items, t->items + t->head, t->n * sizeof(*t->items));
        t->head = 0;
        return;
    }
    t->cap = t->cap ? t->cap * 2 : 64;
    t->items = mem_realloc(t->items, t->cap * sizeof(*t->items));
}

void trail_append(struct trail *t, const struct raft_entry *e)
{
    CHECK(e->term >= trail_last_term(t));
    CHECK((e->type == RAFT_ENTRY_CONFIG) == (e->config != NULL));
    make_room(t);
    t->items[t->head + t->n++] =
        (struct trail_item){.term = e->term, .size = e->size, .type = e->type};
    if (e->config != NULL)
        add_config(t, trail_last_lsn(t), e->config);
}

void trail_truncate(struct trail *t, uint64_t from)
{
    CHECK(from > t->base_lsn && from <= trail_last_lsn(t));
    t->n = from - t->base_lsn - 1;
    size_t keep = t->n_configs;
    while (keep > 1 && t->configs[keep - 1].lsn >= from)
        keep--;
    drop_configs_from(t, keep);
}

void trail_compact(struct trail *t, uint64_t lsn)
{
    uint64_t term = 0;
    CHECK(trail_term(t, lsn, &term) == ERR_OK);
    size_t gone = lsn - t->base_lsn;
    t->base_lsn = lsn;
    t->base_term = term;
    t->head += gone;
    t->n -= gone;
    if (t->n == 0)
        t->head = 0;
    size_t old = 0;
    while (old + 1 < t->n_configs && t->configs[old + 1].lsn <= lsn)
        mem_free(t->configs[old++].config);
    memmove(t->configs, t->configs + old,
            (t->n_configs - old) * sizeof(*t->configs));
    t->n_configs -= old;
}

void trail_reset(struct trail *t, uint64_t lsn, uint64_t term,
                 const struct raft_config *config)
{
    struct raft_config copy = *config; /* may be one of ours */
    drop_configs_from(t, 0);
    t->base_lsn = lsn;
    t->base_term = term;
    t->head = t->n = 0;
    add_config(t, lsn, &copy);
}

const struct raft_config *trail_config(const struct trail *t)
{
    return t->configs[t->n_configs - 1].config;
}

uint64_t trail_config_lsn(const struct trail *t)
{
    return t->configs[t->n_configs - 1].lsn;
}

const struct raft_config *trail_config_at(const struct trail *t, uint64_t lsn)
{
    size_t i = t->n_configs - 1;
    while (i > 0 && t->configs[i].lsn > lsn)
        i--;
    return t->configs[i].config;
}

uint64_t trail_next_config(const struct trail *t, uint64_t lsn)
{
    for (size_t i = 1; i < t->n_configs; i++) {
        if (t->configs[i].lsn > lsn)
            return t->configs[i].lsn;
    }
    return 0;
}

uint64_t trail_find_agreement(const struct trail *t, uint64_t lsn,
                              uint64_t term)
{
    uint64_t low = t->base_lsn;
    uint64_t high = lsn < trail_last_lsn(t) ? lsn : trail_last_lsn(t);
    if (high <= low)
        return low;
    /* Terms never fall, so the answer can be found by halving. */
    while (low < high) {
        uint64_t mid = high - (high - low) / 2;
        if (trail_item(t, mid)->term <= term)
            low = mid;
        else
            high = mid - 1;
    }
    return low;
}
