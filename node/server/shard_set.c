#include "node/server/shard_set.h"

#include "node/base/mem.h"

struct shard_set *shard_set_new(const struct node *n)
{
    uint16_t ids[NODE_SHARDS_MAX];
    uint32_t count = 0;
    for (uint32_t id = 0; id < NODE_SHARDS_MAX; id++)
        if (node_has_shard(n, id))
            ids[count++] = (uint16_t)id;
    struct shard_set *s = mem_zalloc(sizeof(*s) + count * sizeof(s->list[0]));
    s->n = count;
    for (uint32_t i = 0; i < count; i++)
        s->list[i].id = ids[i];
    return s;
}

uint32_t shard_set_find(const struct shard_set *s, uint16_t shard)
{
    uint32_t low = 0, high = s->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (s->list[middle].id < shard)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->n && s->list[low].id == shard ? low : s->n;
}
