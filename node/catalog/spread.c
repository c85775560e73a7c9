#include "node/catalog/spread.h"

#include "node/base/check.h"

/* ---- making ---------------------------------------------------------------
 */

/* The one place that says which shards of a group a container is in. */
static int add_group(const struct catalog_group *g,
                     const struct container_def *def, struct spread *s)
{
    if (g == NULL || g->shard_count == 0)
        return ERR_UNAVAILABLE;
    struct catalog_span in = catalog_container_span(g, def);
    CHECK(s->count < PLACEMENT_MAP_GROUPS_MAX);
    struct spread_part *p = &s->parts[s->count];
    *p = (struct spread_part){.group = g->number,
                              .first_shard = in.first,
                              .shard_count = in.count,
                              .first_slot = s->slots,
                              .move = container_part(def, s->count).number};
    if (in.first != g->emptied.first)
        p->emptied = g->emptied;
    s->count++;
    s->slots += in.count;
    return ERR_OK;
}

static void add_emptied(struct spread *s)
{
    s->all_slots = s->slots;
    for (uint8_t i = 0; i < s->count; i++) {
        s->parts[i].emptied_slot = s->all_slots;
        s->all_slots += s->parts[i].emptied.count;
    }
}

int spread_of(const struct catalog *c, const struct container_def *def,
              struct spread *s_out)
{
    const struct placement_map *m = def->map;
    int err = ERR_OK;
    *s_out = (struct spread){.mapped = m != NULL};
    if (m == NULL)
        err = add_group(catalog_group_named(c, def->placement), def, s_out);
    for (uint8_t i = 0; m != NULL && err == ERR_OK && i < m->group_count; i++)
        err = add_group(catalog_group(c, m->groups[i]), def, s_out);
    add_emptied(s_out);
    s_out->version = s_out->slots + def->move.left;
    return err;
}

uint32_t spread_shards_with(const struct catalog *c,
                            const struct placement_map *m,
                            const struct catalog_group *g, uint16_t shards)
{
    uint32_t sum = 0;
    for (uint8_t i = 0; i < m->group_count; i++) {
        const struct catalog_group *other = catalog_group(c, m->groups[i]);
        if (other != NULL)
            sum += other == g ? shards : other->shard_count;
    }
    return sum;
}

void spread_place(const struct catalog *c, const struct placement_map *m,
                  uint8_t from, struct container_place *place)
{
    place->part_count = m->group_count;
    for (uint8_t i = from; i < m->group_count; i++) {
        const struct catalog_group *g = catalog_group(c, m->groups[i]);
        place->parts[i] =
            (struct container_part){g != NULL ? catalog_group_layout(g) : 0, 0};
    }
}

int spread_allowed(const struct catalog *c, const struct placement_map *m,
                   struct err_msg *msg)
{
    const struct catalog_account *account = catalog_account(c);
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
        if (!catalog_group_fenced(g) && account != NULL &&
            account->placement.required)
            return err_set(msg, ERR_INVALID,
                           "placement by partition key: this cluster does not "
                           "allow documents in placement group default");
    }
    uint32_t shards = spread_shards_with(c, m, NULL, 0);
    if (shards > SPREAD_SHARDS_MAX)
        return err_set(msg, ERR_INVALID,
                       "placement by partition key: the groups have %u shards "
                       "in all, and it can use %u",
                       shards, SPREAD_SHARDS_MAX);
    return ERR_OK;
}

int spread_settled(const struct catalog *c, const struct placement_map *m,
                   struct err_msg *msg)
{
    for (uint8_t i = 0; i < m->group_count; i++) {
        const struct catalog_group *g = catalog_group(c, m->groups[i]);
        if (g != NULL && g->emptied.count > 0)
            return err_set(msg, ERR_INVALID,
                           "placement by partition key: placement group '%s' "
                           "is being split: wait until that is done",
                           m->groups[i]);
    }
    return ERR_OK;
}

/* ---- looking --------------------------------------------------------------
 */

static struct catalog_span part_span(const struct spread_part *p)
{
    return (struct catalog_span){p->first_shard, p->shard_count};
}

const struct spread_part *spread_part(const struct spread *s, uint32_t slot)
{
    const struct spread_part *p = &s->parts[0];
    CHECK(slot < s->all_slots);
    if (slot < s->slots)
        while (slot >= p->first_slot + p->shard_count)
            p++;
    else
        while (slot >= p->emptied_slot + p->emptied.count)
            p++;
    return p;
}

uint16_t spread_shard(const struct spread *s, uint32_t slot)
{
    const struct spread_part *p = spread_part(s, slot);
    if (slot >= s->slots)
        return (uint16_t)(p->emptied.first + (slot - p->emptied_slot));
    return (uint16_t)(p->first_shard + (slot - p->first_slot));
}

bool spread_find(const struct spread *s, uint32_t shard, uint32_t *slot_out)
{
    for (uint8_t i = 0; i < s->count; i++) {
        const struct spread_part *p = &s->parts[i];
        if (catalog_span_has(part_span(p), shard)) {
            *slot_out = p->first_slot + (shard - p->first_shard);
            return true;
        }
        if (catalog_span_has(p->emptied, shard)) {
            *slot_out = p->emptied_slot + (shard - p->emptied.first);
            return true;
        }
    }
    return false;
}

/* The layout of a part's group that had the shard, unless a later one than the
 * part is in; none: there is none. */
static struct catalog_span
layout_of(const struct catalog *c, const struct spread_part *p, uint32_t shard)
{
    const struct catalog_group *g = catalog_group_number(c, p->group);
    if (catalog_span_has(part_span(p), shard))
        return part_span(p);
    if (catalog_span_has(p->emptied, shard))
        return p->emptied;
    for (uint8_t i = 0; g != NULL && i < g->retired_count; i++)
        if (catalog_span_has(g->retired[i], shard))
            return g->retired[i];
    return (struct catalog_span){0, 0};
}

bool spread_heirs(const struct catalog *c, const struct spread *s,
                  uint32_t shard, uint32_t *first_out, uint32_t *last_out)
{
    for (uint8_t i = 0; i < s->count; i++) {
        const struct spread_part *p = &s->parts[i];
        struct catalog_span was = layout_of(c, p, shard);
        if (was.count == 0)
            continue;
        uint32_t each = p->shard_count / was.count;
        *first_out = p->first_slot + (shard - was.first) * each;
        *last_out = *first_out + each - 1;
        return each > 0;
    }
    return false;
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
