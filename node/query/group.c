#include "node/query/group.h"

#include <stdlib.h>
#include <string.h>

#include "node/base/err.h"
#include "node/base/mem.h"
#include "node/query/query.h"

void groups_init(struct groups *g, const struct select *select)
{
    *g = (struct groups){.select = select};
}

static void group_free(const struct groups *g, struct group *group)
{
    for (uint32_t i = 0; i < g->select->aggregate_count; i++)
        aggregate_free(&group->aggregates[i]);
    free((void *)group->key.data);
    free((void *)group->values.data);
    free(group);
}

void groups_free(struct groups *g)
{
    struct group *group, *next;
    HASH_ITER(hh, g->table, group, next)
    {
        HASH_DEL(g->table, group);
        group_free(g, group);
    }
    g->held = 0;
}

/* A copy that free() takes; empty texts have one too. ERR_NO_MEMORY. */
static int copy(struct bytes from, struct bytes *copy_out)
{
    uint8_t *to = mem_try_alloc(from.len + 1);
    if (to == NULL)
        return ERR_NO_MEMORY;
    if (from.len > 0)
        memcpy(to, from.data, from.len);
    *copy_out = bytes_of(to, from.len);
    return ERR_OK;
}

/* Equal keys may be written differently (1 and 1.0). The least text stands for
 * the group, so that the answer does not depend on which came first. */
static int prefer(struct groups *g, struct group *group, struct bytes values)
{
    struct bytes better;
    if (bytes_compare(values, group->values) >= 0)
        return ERR_OK;
    if (g->held + values.len > QUERY_HELD_MEMORY_MAX)
        return ERR_LIMIT;
    int result = copy(values, &better);
    if (result != ERR_OK)
        return result;
    g->held = g->held - group->values.len + values.len;
    free((void *)group->values.data);
    group->values = better;
    return ERR_OK;
}

static int add(struct groups *g, struct bytes key, struct bytes values,
               struct group **group_out)
{
    uint32_t count = g->select->aggregate_count;
    struct group *group;
    size_t size = sizeof(*group) + count * sizeof(group->aggregates[0]);
    size_t held = size + key.len + values.len;
    if (g->held + held > QUERY_HELD_MEMORY_MAX)
        return ERR_LIMIT;
    group = mem_try_zalloc(size);
    if (group == NULL)
        return ERR_NO_MEMORY;
    int result = copy(key, &group->key);
    if (result == ERR_OK)
        result = copy(values, &group->values);
    if (result != ERR_OK) {
        free((void *)group->key.data);
        free(group);
        return result;
    }
    for (const struct expr *x = g->select->aggregates; x != NULL;
         x = x->aggregates)
        aggregate_init(&group->aggregates[x->index], x->aggregate);
    g->held += held;
    HASH_ADD_KEYPTR(hh, g->table, group->key.data, group->key.len, group);
    *group_out = group;
    return ERR_OK;
}

int groups_find(struct groups *g, struct bytes key, struct bytes values,
                struct group **group_out)
{
    struct group *group;
    if (key.len == 0)
        key = bytes_str(""); /* the table wants no NULL */
    HASH_FIND(hh, g->table, key.data, key.len, group);
    if (group == NULL)
        return add(g, key, values, group_out);
    *group_out = group;
    return prefer(g, group, values);
}

static int by_key(const struct group *a, const struct group *b)
{
    return bytes_compare(a->key, b->key);
}

void groups_sort(struct groups *g)
{
    HASH_SORT(g->table, by_key);
}
