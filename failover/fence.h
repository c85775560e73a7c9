/* Fences: which regions may hold what a shard stores (design section 5).
 *
 * A table from shards to placement groups, and from these to regions. Whoever
 * moves payload asks it first; the walls that do are listed below. One lookup
 * in an array and one bit.
 *
 *     group default, the meta shard    every region
 *     any other group's shards         the group's regions
 *     a shard of no group in the table nobody: closed, until the table is told
 *
 * The record of group default does not exist while a cluster is being made, so
 * its shards are open from the start.
 *
 * Regions are numbers from 1, given with their names by the owner; 0 is a
 * region that has none, and is outside every fence. The table belongs to one
 * thread. Pure.
 */
#ifndef BASTIDE_FAILOVER_FENCE_H
#define BASTIDE_FAILOVER_FENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "failover/health.h"

#define FENCE_REGIONS_MAX 32 /* and their highest number */
#define FENCE_GROUPS_MAX 32
#define FENCE_NAME_MAX 63

/* -- the walls ------------------------------------------------------------- */

/* Each is in a place of its own and would hold if it were the only one, which
 * is tested with the others open (FENCE_OPEN). The numbers are bits. The keys
 * (group_keys.c) are a wall too, which refuses nothing and cannot be opened:
 * without them there is nothing to read. */
enum fence_wall {
    FENCE_WALL_SEND = 1,        /* replication/links_fence.c */
    FENCE_WALL_RECEIVE = 2,     /* replication/links_fence.c */
    FENCE_WALL_API = 4,         /* node/cosmos/call.c, node/server/router.c */
    FENCE_WALL_SNAPSHOT = 8,    /* node/server/transfers.c */
    FENCE_WALL_MEMBERSHIP = 16, /* node/server/placement.c: replicas inside
                                 * only. It refuses nothing at run time */
};
/* Those that refuse something are the first bits. */
#define FENCE_WALLS 4
/* "send"; "unknown" for a number that is none. */
const char *fence_wall_name(enum fence_wall wall);

/* Whether a wall is open, to show that another one holds alone. 0 in a normal
 * build, and the branch is gone; in one made with FENCE_OPENABLE it is for the
 * test to say (tests/fence.mk). */
#ifdef FENCE_OPENABLE
extern unsigned fence_open_walls;
#define FENCE_OPEN(name) ((fence_open_walls & FENCE_WALL_##name) != 0)
#else
#define FENCE_OPEN(name) 0
#endif

/* -- the table ------------------------------------------------------------- */

/* A set of regions: bit `number`. */
typedef uint64_t fence_regions;
#define FENCE_EVERYWHERE UINT64_MAX
static inline fence_regions fence_bit(failover_region region)
{
    return (fence_regions)1 << region;
}

struct fence_group {
    uint16_t number;
    char name[FENCE_NAME_MAX + 1]; /* for texts */
    uint32_t first_shard, shard_count;
    uint32_t emptied_shard, emptied_count; /* those that it had before a split
                                            * that is not over; 0: none */
    fence_regions payload;                 /* may hold all */
    /* May hold entries' headers, and nothing of what is in them: where a
     * group has a witness, or has had until some moment ago. */
    fence_regions headers;
    /* Requests and answers may pass through the other regions. */
    bool transit;
};

/* What a message carries of its shard. */
enum fence_carries {
    FENCE_HEADERS, /* terms, numbers, sizes: no byte that a client wrote */
    FENCE_PAYLOAD, /* anything else, and what is not known to be headers */
    /* A client's request or its answer, between a node outside, which keeps
     * nothing of it, and one inside: fence_check_transit. */
    FENCE_TRANSIT,
};

struct fence;

/* For shards below `shards_max`. Those from 1 to `default_shards` are group
 * default's until fence_put says otherwise. */
struct fence *fence_new(uint32_t shards_max, uint32_t default_shards);
void fence_free(struct fence *f); /* NULL is allowed */

/* Names a region; the same number again replaces it. ERR_INVALID: number 0 or
 * beyond FENCE_REGIONS_MAX, a name that is empty or too long. */
int fence_name_region(struct fence *f, failover_region number,
                      const char *name);
/* 0: no region has that name. */
failover_region fence_region_number(const struct fence *f, const char *name);

/* Adds the group (copied), or replaces the one of that number, whose other
 * shards are then unknown. On an error the table is as before. ERR_INVALID: the
 * meta shard, or shards beyond `shards_max`; ERR_EXISTS: a shard of another
 * group; ERR_FULL: FENCE_GROUPS_MAX. */
int fence_put(struct fence *f, const struct fence_group *group);
/* Forgets all groups, as after fence_new: before the meta shard is read in
 * anew. */
void fence_forget(struct fence *f);

/* -- asking ---------------------------------------------------------------- */

/* Whether any group is kept from any region. */
bool fence_stands(const struct fence *f);

/* The shard's group; NULL when it is not known. The meta shard counts as one of
 * group default's. Valid until the table changes. */
const struct fence_group *fence_of(const struct fence *f, uint64_t shard);

enum fence_verdict {
    FENCE_INSIDE,
    FENCE_OUTSIDE, /* the rule forbids it */
    FENCE_UNKNOWN, /* the shard's group is not known here (yet) */
};
enum fence_verdict fence_check(const struct fence *f, uint64_t shard,
                               failover_region region,
                               enum fence_carries carries);

/* The same for FENCE_TRANSIT, between two regions: where the group's rule
 * permits it, one of them must be inside. Where it does not, both. */
enum fence_verdict fence_check_transit(const struct fence *f, uint64_t shard,
                                       failover_region a, failover_region b);

/* The rule in words: "group eu: germany, france", and "; transit
 * allowed" where it is. Never longer than FENCE_RULE_MAX; cut with "...". */
#define FENCE_RULE_MAX 400
void fence_rule(const struct fence *f, uint64_t shard,
                char out[FENCE_RULE_MAX]);

#endif
