#include "failover/fence.h"

#include <stdio.h>
#include <string.h>

#include "node/base/buf.h"
#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"

#define FENCE_MAGIC MAGIC('f', 'n', 'c', 'e')
/* Group default is always the first. */
#define DEFAULT_SLOT 0
#define NO_SLOT UINT8_MAX
_Static_assert(FENCE_GROUPS_MAX < NO_SLOT, "a slot is a byte");
_Static_assert(FENCE_REGIONS_MAX < 64, "a region is a bit");

struct fence {
    uint32_t magic;
    uint32_t shards_max, default_shards;
    struct fence_group groups[FENCE_GROUPS_MAX];
    uint32_t count;
    char regions[FENCE_REGIONS_MAX + 1][FENCE_NAME_MAX + 1]; /* "": none */
    uint8_t slot[]; /* by shard: of its group */
};

const char *fence_wall_name(enum fence_wall wall)
{
    switch (wall) {
    case FENCE_WALL_SEND:
        return "send";
    case FENCE_WALL_RECEIVE:
        return "receive";
    case FENCE_WALL_API:
        return "api";
    case FENCE_WALL_SNAPSHOT:
        return "snapshot";
    case FENCE_WALL_MEMBERSHIP:
        return "membership";
    }
    return "unknown";
}

/* ---- life ------------------------------------------------------------------
 */

static const struct fence_group *at(const struct fence *f, uint64_t shard)
{
    CHECK_OBJ(f, FENCE_MAGIC);
    uint8_t slot = shard < f->shards_max ? f->slot[shard] : NO_SLOT;
    return slot != NO_SLOT ? &f->groups[slot] : NULL;
}

static void claim(struct fence *f, const struct fence_group *g, uint8_t slot)
{
    memset(&f->slot[g->first_shard], slot, g->shard_count);
    memset(&f->slot[g->emptied_shard], slot, g->emptied_count);
}

void fence_forget(struct fence *f)
{
    CHECK_OBJ(f, FENCE_MAGIC);
    memset(f->slot, NO_SLOT, f->shards_max);
    f->count = 1;
    f->groups[DEFAULT_SLOT] =
        (struct fence_group){.name = "default",
                             .first_shard = 1,
                             .shard_count = f->default_shards,
                             .payload = FENCE_EVERYWHERE,
                             .headers = FENCE_EVERYWHERE};
    claim(f, &f->groups[DEFAULT_SLOT], DEFAULT_SLOT);
    f->slot[0] = DEFAULT_SLOT;
}

struct fence *fence_new(uint32_t shards_max, uint32_t default_shards)
{
    CHECK(default_shards < shards_max);
    struct fence *f = mem_zalloc(sizeof(*f) + shards_max);
    f->magic = FENCE_MAGIC;
    f->shards_max = shards_max;
    f->default_shards = default_shards;
    fence_forget(f);
    return f;
}

void fence_free(struct fence *f)
{
    if (f == NULL)
        return;
    CHECK_OBJ(f, FENCE_MAGIC);
    f->magic = 0;
    mem_free(f);
}

/* ---- building --------------------------------------------------------------
 */

int fence_name_region(struct fence *f, failover_region number, const char *name)
{
    CHECK_OBJ(f, FENCE_MAGIC);
    size_t len = strlen(name);
    if (number == 0 || number > FENCE_REGIONS_MAX || len == 0 ||
        len > FENCE_NAME_MAX)
        return ERR_INVALID;
    memcpy(f->regions[number], name, len + 1);
    return ERR_OK;
}

failover_region fence_region_number(const struct fence *f, const char *name)
{
    CHECK_OBJ(f, FENCE_MAGIC);
    for (failover_region r = 1; r <= FENCE_REGIONS_MAX && name[0] != '\0'; r++)
        if (strcmp(f->regions[r], name) == 0)
            return r;
    return 0;
}

static uint8_t slot_of(const struct fence *f, uint16_t number)
{
    uint8_t slot = 0;
    while (slot < f->count && f->groups[slot].number != number)
        slot++;
    return slot;
}

/* Whether the group of that slot may have these shards. */
static int check_shards(const struct fence *f, uint8_t slot, uint32_t first,
                        uint32_t count)
{
    if (first == 0 || first > f->shards_max || count > f->shards_max - first)
        return ERR_INVALID;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t now = f->slot[first + i];
        if (now != NO_SLOT && now != slot)
            return ERR_EXISTS;
    }
    return ERR_OK;
}

int fence_put(struct fence *f, const struct fence_group *group)
{
    CHECK_OBJ(f, FENCE_MAGIC);
    uint8_t slot = slot_of(f, group->number);
    int err = check_shards(f, slot, group->first_shard, group->shard_count);
    if (err == ERR_OK && group->emptied_count > 0)
        err = check_shards(f, slot, group->emptied_shard, group->emptied_count);
    if (err != ERR_OK)
        return err;
    if (slot == FENCE_GROUPS_MAX)
        return ERR_FULL;
    if (slot == f->count)
        f->count++;
    else
        claim(f, &f->groups[slot], NO_SLOT);
    f->groups[slot] = *group;
    claim(f, group, slot);
    return ERR_OK;
}

/* ---- asking ----------------------------------------------------------------
 */

bool fence_stands(const struct fence *f)
{
    CHECK_OBJ(f, FENCE_MAGIC);
    for (uint32_t i = 0; i < f->count; i++)
        if (f->groups[i].payload != FENCE_EVERYWHERE)
            return true;
    return false;
}

const struct fence_group *fence_of(const struct fence *f, uint64_t shard)
{
    return at(f, shard);
}

enum fence_verdict fence_check(const struct fence *f, uint64_t shard,
                               failover_region region,
                               enum fence_carries carries)
{
    const struct fence_group *g = at(f, shard);
    if (g == NULL)
        return FENCE_UNKNOWN;
    fence_regions allowed =
        carries == FENCE_HEADERS ? g->payload | g->headers : g->payload;
    if (allowed == FENCE_EVERYWHERE)
        return FENCE_INSIDE;
    bool inside = region != 0 && region <= FENCE_REGIONS_MAX &&
                  (allowed & fence_bit(region)) != 0;
    return inside ? FENCE_INSIDE : FENCE_OUTSIDE;
}

enum fence_verdict fence_check_transit(const struct fence *f, uint64_t shard,
                                       failover_region a, failover_region b)
{
    const struct fence_group *g = at(f, shard);
    enum fence_verdict at_a = fence_check(f, shard, a, FENCE_TRANSIT);
    enum fence_verdict at_b = fence_check(f, shard, b, FENCE_TRANSIT);
    if (g == NULL)
        return FENCE_UNKNOWN;
    bool named = a != 0 && b != 0;
    bool one = at_a == FENCE_INSIDE || at_b == FENCE_INSIDE;
    bool both = at_a == FENCE_INSIDE && at_b == FENCE_INSIDE;
    return both || (one && named && g->transit) ? FENCE_INSIDE : FENCE_OUTSIDE;
}

void fence_rule(const struct fence *f, uint64_t shard, char out[FENCE_RULE_MAX])
{
    static const char cut[] = "...";
    const struct fence_group *g = at(f, shard);
    struct buf text = buf_over(out, FENCE_RULE_MAX - sizeof(cut));
    const char *between = ": ";
    int err = ERR_OK;
    if (g == NULL)
        err = buf_printf(&text, "no group is known to have shard %llu",
                         (unsigned long long)shard);
    else
        err =
            buf_printf(&text, "group %s%s", g->name,
                       g->payload == FENCE_EVERYWHERE ? ": every region" : "");
    bool all = g == NULL || g->payload == FENCE_EVERYWHERE;
    for (failover_region r = 1; r <= FENCE_REGIONS_MAX && !all; r++) {
        if ((g->payload & fence_bit(r)) == 0 || err != ERR_OK)
            continue;
        err = buf_printf(&text, "%s%s", between, f->regions[r]);
        between = ", ";
    }
    if (err == ERR_OK && !all && g->transit)
        err = buf_printf(&text, "; transit allowed");
    size_t len = buf_len(&text);
    out[len] = '\0';
    if (err != ERR_OK)
        memcpy(out + len, cut, sizeof(cut));
}
