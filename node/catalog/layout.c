/* A group's shards, and which of them a container is in. */
#include <assert.h>

#include "node/base/check.h"
#include "node/catalog/catalog.h"

static struct catalog_span newest(const struct catalog_group *g)
{
    return (struct catalog_span){g->first_shard, g->shard_count};
}

struct catalog_span catalog_group_span(const struct catalog_group *g,
                                       uint16_t layout)
{
    if (layout == catalog_group_layout(g))
        return newest(g);
    return layout + 1u == catalog_group_layout(g) ? g->emptied
                                                  : (struct catalog_span){0, 0};
}

uint16_t catalog_container_layout(const struct catalog_group *g,
                                  const struct container_def *def)
{
    uint16_t layout = catalog_group_layout(g);
    int part = container_find_part(def, bytes_str(g->name));
    bool before = part >= 0 && container_part(def, part).layout < layout;
    return g->emptied.count > 0 && before ? (uint16_t)(layout - 1) : layout;
}

struct catalog_span catalog_container_span(const struct catalog_group *g,
                                           const struct container_def *def)
{
    return catalog_group_span(g, catalog_container_layout(g, def));
}

bool catalog_container_at(const struct catalog_group *g,
                          const struct container_def *def, uint16_t layout)
{
    return container_placed_in(def, bytes_str(g->name)) &&
           catalog_container_layout(g, def) == layout;
}

/* ---- where a container has been --------------------------------------------
 */

const struct catalog_group *catalog_move_other(const struct catalog *c,
                                               const struct container_def *def)
{
    const struct container_move *m = &def->move;
    const struct catalog_group *g = catalog_group_named(c, m->other);
    bool renewed =
        g != NULL && m->other_number != 0 && m->other_number != g->number;
    return renewed ? NULL : g;
}

static_assert(CONTAINER_GONE_MAX == 2 * GROUPS_MAX,
              "of each group the shards that it has and those that it empties");

static void add_gone(const struct catalog_group *g,
                     const struct container_def *def, uint16_t layout,
                     struct container_move *move)
{
    if (g == NULL || catalog_group_span(g, layout).count == 0 ||
        catalog_container_at(g, def, layout))
        return;
    for (uint8_t i = 0; i < move->gone_count; i++)
        if (move->gone[i].group == g->number && move->gone[i].layout == layout)
            return;
    CHECK(move->gone_count < CONTAINER_GONE_MAX);
    move->gone[move->gone_count++] = (struct container_gone){g->number, layout};
}

void catalog_note_gone(const struct catalog *c, const struct container_def *def,
                       struct container_move *move)
{
    const struct container_move *last = &def->move;
    move->gone_count = 0;
    for (uint8_t i = 0; i < last->gone_count; i++)
        add_gone(catalog_group_number(c, last->gone[i].group), def,
                 last->gone[i].layout, move);
    if (last->phase == CONTAINER_STAYS && last->emptied)
        add_gone(catalog_move_other(c, def), def, last->other_layout, move);
}

/* ---- layouts ---------------------------------------------------------------
 */

uint16_t catalog_group_first_count(const struct catalog_group *g)
{
    if (g->retired_count > 0)
        return g->retired[0].count;
    return g->emptied.count > 0 ? g->emptied.count : g->shard_count;
}

bool catalog_group_retired(const struct catalog_group *g, uint32_t shard)
{
    for (uint8_t i = 0; i < g->retired_count; i++)
        if (catalog_span_has(g->retired[i], shard))
            return true;
    return false;
}

int catalog_group_split(struct catalog_group *g, uint16_t first, uint16_t count,
                        int64_t now_us)
{
    if (g->emptied.count > 0)
        return ERR_BUSY;
    if (count <= g->shard_count || count % g->shard_count != 0)
        return ERR_INVALID;
    if (g->retired_count == GROUP_RETIRED_MAX)
        return ERR_FULL;
    g->emptied = newest(g);
    g->first_shard = first;
    g->shard_count = count;
    g->split_us = now_us;
    return ERR_OK;
}

void catalog_group_retire(struct catalog_group *g)
{
    CHECK(g->emptied.count > 0 && g->retired_count < GROUP_RETIRED_MAX);
    g->retired[g->retired_count++] = g->emptied;
    g->emptied = (struct catalog_span){0, 0};
}
