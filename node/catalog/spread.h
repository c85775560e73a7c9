/* Which shards a container's documents are in: those of its placement group
 * or, with a placement map, of all groups that the map names.
 *
 *     slot    0    1    2    3    4
 *     shard   11   12   13   40   41
 *             `-- eu ---'    `- us -'
 *
 * Slots count the shards group by group, in the order in which the map names
 * the groups first, so that they stay when the map gets lines. What clients see
 * is partition key ranges, which tile the hash space: a container of one group
 * has one for each of its shards; one with a map has one range, which all its
 * shards have a part of, whatever groups its map gets later.
 *
 * Pure. */
#ifndef BASTIDE_CATALOG_SPREAD_H
#define BASTIDE_CATALOG_SPREAD_H

#include <stdbool.h>
#include <stdint.h>

#include "node/catalog/catalog.h"
#include "node/catalog/placement_map.h"

/* Shards that a placement map's groups may have in all: each has a place in the
 * session tokens of the container. */
#define SPREAD_SHARDS_MAX 128

/* The part of a container that is in one group. */
struct spread_part {
    uint16_t group; /* number */
    uint16_t first_shard;
    uint16_t shard_count;
    uint32_t first_slot;
};

struct spread {
    bool mapped; /* by a placement map */
    uint8_t count;
    uint32_t slots;
    struct spread_part parts[PLACEMENT_MAP_GROUPS_MAX];
    /* Where a container of one group was before a split of it that is not over:
     * conflicts may still be there. They have the slots behind the others, and
     * are of no range. */
    struct catalog_span emptied;
};

/* ERR_UNAVAILABLE: a group is not known here, or has no shards yet. */
int spread_of(const struct catalog *c, const struct container_def *def,
              struct spread *s_out);

/* Whether documents may be placed by a map: its groups are all there, may be
 * used (struct placement_rules), and have few enough shards. ERR_INVALID with a
 * message. */
int spread_allowed(const struct catalog *c, const struct placement_map *m,
                   struct err_msg *msg);

const struct spread_part *spread_part(const struct spread *s, uint32_t slot);
uint16_t spread_shard(const struct spread *s, uint32_t slot);
/* False: the container has no part in that shard. */
bool spread_find(const struct spread *s, uint32_t shard, uint32_t *slot_out);
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
