#include "node/catalog/spread.h"

#include "node/base/check.h"

/* ---- making ---------------------------------------------------------------
 */

/* The one place that says which shards of a group a container is in. Documents
 * that are placed by key are in the newest: their groups are not split
 * (server/placement_split.c). */
static int add_group(const struct catalog_group *g,
                     const struct container_def *def, struct spread *s)
{
    if (g == NULL || g->shard_count == 0)
        return ERR_UNAVAILABLE;
    struct catalog_span in =
        s->mapped ? catalog_group_span(g, catalog_group_layout(g))
                  : catalog_container_span(g, def);
    CHECK(s->count < PLACEMENT_MAP_GROUPS_MAX);
    s->parts[s->count++] = (struct spread_part){.group = g->number,
                                                .first_shard = in.first,
                                                .shard_count = in.count,
                                                .first_slot = s->slots};
    s->slots += in.count;
    if (!s->mapped && in.first != g->emptied.first)
        s->emptied = g->emptied;
    return ERR_OK;
}

int spread_of(const struct catalog *c, const struct container_def *def,
              struct spread *s_out)
{
    const struct placement_map *m = def->map;
    *s_out = (struct spread){.mapped = m != NULL};
    if (m == NULL)
        return add_group(catalog_group_named(c, def->placement), def, s_out);
    int err = ERR_OK;
    for (uint8_t i = 0; err == ERR_OK && i < m->group_count; i++)
        err = add_group(catalog_group(c, m->groups[i]), def, s_out);
    return err;
}

int spread_allowed(const struct catalog *c, const struct placement_map *m,
                   struct err_msg *msg)
{
    const struct catalog_account *account = catalog_account(c);
    uint32_t shards = 0;
    for (uint8_t i = 0; i < m->group_count; i++) {
        const struct catalog_group *g = catalog_group(c, m->groups[i]);
        if (g == NULL)
            return err_set(msg, ERR_INVALID,
                           "placement by partition key: there is no placement "
                           "group '%s'; see 'bastide placement list'",
                           m->groups[i]);
        if (g->removing)
            return err_set(msg, ERR_INVALID,
                           "placement by partition key: placement group '%s' "
                           "is being removed",
                           m->groups[i]);
        if (g->emptied.count > 0)
            return err_set(msg, ERR_INVALID,
                           "placement by partition key: placement group '%s' "
                           "is being split: wait until that is done",
                           m->groups[i]);
        if (!catalog_group_fenced(g) && account != NULL &&
            account->placement.required)
            return err_set(msg, ERR_INVALID,
                           "placement by partition key: this cluster does not "
                           "allow documents in placement group default");
        shards += g->shard_count;
    }
    if (shards > SPREAD_SHARDS_MAX)
        return err_set(msg, ERR_INVALID,
                       "placement by partition key: the groups have %u shards "
                       "in all, and it can use %u",
                       shards, SPREAD_SHARDS_MAX);
    return ERR_OK;
}

/* ---- looking --------------------------------------------------------------
 */

const struct spread_part *spread_part(const struct spread *s, uint32_t slot)
{
    uint8_t i = 0;
    CHECK(slot < s->slots + s->emptied.count);
    while (slot < s->slots &&
           slot >= s->parts[i].first_slot + s->parts[i].shard_count)
        i++;
    return &s->parts[i];
}

uint16_t spread_shard(const struct spread *s, uint32_t slot)
{
    const struct spread_part *p = spread_part(s, slot);
    if (slot >= s->slots)
        return (uint16_t)(s->emptied.first + (slot - s->slots));
    return (uint16_t)(p->first_shard + (slot - p->first_slot));
}

bool spread_find(const struct spread *s, uint32_t shard, uint32_t *slot_out)
{
    for (uint8_t i = 0; i < s->count; i++) {
        const struct spread_part *p = &s->parts[i];
        if (shard >= p->first_shard &&
            shard - p->first_shard < p->shard_count) {
            *slot_out = p->first_slot + (shard - p->first_shard);
            return true;
        }
    }
    if (!catalog_span_has(s->emptied, shard))
        return false;
    *slot_out = s->slots + (shard - s->emptied.first);
    return true;
}

bool spread_slot(const struct spread *s, const struct container_def *def,
                 const struct partition_key *pk, uint32_t *slot_out)
{
    uint8_t part = def->map != NULL
                       ? placement_map_find(def->map, pk, def->map->component)
                       : 0;
    if (part == PLACEMENT_MAP_REJECTED)
        return false;
    CHECK(part < s->count);
    const struct spread_part *p = &s->parts[part];
    *slot_out = p->first_slot + epk_shard(&def->pk, pk, p->shard_count);
    return true;
}

bool spread_pins(const struct container_def *def, uint8_t components)
{
    return def->map == NULL || def->map->component < components;
}

void spread_narrow(const struct spread *s, const struct container_def *def,
                   const struct partition_key *value, uint32_t *first,
                   uint32_t *last)
{
    CHECK(def->map != NULL);
    uint8_t at = placement_map_find(def->map, value, 0);
    if (at == PLACEMENT_MAP_REJECTED)
        return;
    CHECK(at < s->count);
    const struct spread_part *p = &s->parts[at];
    uint32_t end = p->first_slot + p->shard_count - 1;
    if (*first > end || *last < p->first_slot)
        return;
    *first = *first > p->first_slot ? *first : p->first_slot;
    *last = *last < end ? *last : end;
}

void spread_range(const struct spread *s, uint32_t index, uint32_t *first_out,
                  uint32_t *last_out)
{
    CHECK(index < spread_ranges(s));
    *first_out = s->mapped ? 0 : index;
    *last_out = s->mapped ? s->slots - 1 : index;
}
