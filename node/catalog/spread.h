/* Which shards a container's documents are in: those of its placement group
 * or, with a placement map, of all groups that the map names.
 *
 *     slot    0    1    2    3    4
 *     shard   11   12   13   40   41
 *             `-- eu ---'    `- us -'
 *
 * Slots count the shards group by group, in the order in which the map names
 * the groups first, so that they stay when the map gets lines. When a group is
 * split those of its part become more, and the ones behind shift: what clients
 * are given for later names shards, whose numbers are not used again
 * (spread_heirs). What they see is partition key ranges, which tile the hash
 * space: a container of one group has one for each of its shards; one with a
 * map has one range, which all its shards have a part of, however many these
 * and its groups become.
 *
 * Pure. */
#ifndef BASTIDE_CATALOG_SPREAD_H
#define BASTIDE_CATALOG_SPREAD_H

#include <stdbool.h>
#include <stdint.h>

#include "node/catalog/catalog.h"
#include "node/catalog/placement_map.h"

/* Shards that a placement map's groups may have in all, in their newest
 * layouts: each has a place in the session tokens of the container. */
#define SPREAD_SHARDS_MAX 128

/* The part of a container that is in one group. */
struct spread_part {
    uint16_t group; /* number */
    uint16_t first_shard;
    uint16_t shard_count;
    uint32_t first_slot;
    uint64_t move; /* that brought it to these shards (struct container_part) */
    /* Where it was before a split of the group that is not over: conflicts may
     * still be there. These have the slots behind all others, and are of no
     * range. */
    struct catalog_span emptied;
    uint32_t emptied_slot;
};

struct spread {
    bool mapped; /* by a placement map */
    uint8_t count;
    uint32_t slots;
    uint32_t all_slots; /* with those of shards that are being emptied */
    /* Of the slots, for session tokens (cosmos/session.h): higher with every
     * change, since groups are only added, a layout has more shards than the
     * one before, and shards of a group that a part has left count on. */
    uint32_t version;
    struct spread_part parts[PLACEMENT_MAP_GROUPS_MAX];
};

/* ERR_UNAVAILABLE: a group is not known here, or has no shards yet. */
int spread_of(const struct catalog *c, const struct container_def *def,
              struct spread *s_out);

/* Whether documents may be placed by a map: its groups are all there, may be
 * used (struct placement_rules), and have few enough shards. ERR_INVALID with a
 * message. */
int spread_allowed(const struct catalog *c, const struct placement_map *m,
                   struct err_msg *msg);
/* Whether nodes of before FEATURE_PART_MOVES agree on where documents go that
 * are placed by the map: ERR_INVALID with a message while one of its groups is
 * being split. */
int spread_settled(const struct catalog *c, const struct placement_map *m,
                   struct err_msg *msg);
/* How many shards the map's groups have in all when `g` has so many. */
uint32_t spread_shards_with(const struct catalog *c,
                            const struct placement_map *m,
                            const struct catalog_group *g, uint16_t shards);
/* Puts the parts of the map's groups from index `from` on where documents of
 * theirs begin: in the newest layouts. */
void spread_place(const struct catalog *c, const struct placement_map *m,
                  uint8_t from, struct container_place *place);

const struct spread_part *spread_part(const struct spread *s, uint32_t slot);
uint16_t spread_shard(const struct spread *s, uint32_t slot);
/* False: the container has no part in that shard. */
bool spread_find(const struct spread *s, uint32_t shard, uint32_t *slot_out);
/* The slots that have what was in this shard: its own, or those of the shards
 * that it was split into. False: it was none of a part's group, or is of a
 * layout that the part is not in yet. */
bool spread_heirs(const struct catalog *c, const struct spread *s,
                  uint32_t shard, uint32_t *first_out, uint32_t *last_out);
/* Where a key's documents are. False: the map rejects the key. `pk` has the
 * component that the map goes by (spread_pins). */
bool spread_slot(const struct spread *s, const struct container_def *def,
                 const struct partition_key *pk, uint32_t *slot_out);
/* Of slots first..last, leaves those where documents may be whose keys have
 * this value, alone in `value`, as the map's component; all when it is one that
 * the map rejects. */
void spread_narrow(const struct spread *s, const struct container_def *def,
                   const struct partition_key *value, uint32_t *first,
                   uint32_t *last);
/* Whether a key's first `components` decide about the part. */
bool spread_pins(const struct container_def *def, uint8_t components);

/* Partition key ranges, and the slots first..last that are in range `index`. */
static inline uint32_t spread_ranges(const struct spread *s)
{
    return s->mapped ? 1 : s->slots;
}
void spread_range(const struct spread *s, uint32_t index, uint32_t *first_out,
                  uint32_t *last_out);
static inline uint32_t spread_range_of(const struct spread *s, uint32_t slot)
{
    return s->mapped ? 0 : slot;
}

#endif
