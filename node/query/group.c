#include "node/query/group.h"

#include <stdlib.h>
#include <string.h>

#include "node/base/err.h"
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

int groups_find(struct groups *g, struct bytes key, struct bytes values,
                struct group **group_out)
{
    struct group *group;
    HASH_FIND(hh, g->table, key.data, key.len, group);
    if (group != NULL) {
        *group_out = group;
        return ERR_OK;
    }
    size_t size = sizeof(*group) +
                  g->select->aggregate_count * sizeof(group->aggregates[0]);
    size_t texts = key.len + values.len + 1;
    if (g->held + size + texts > QUERY_HELD_MEMORY_MAX)
        return ERR_LIMIT;
    group = calloc(1, size);
    uint8_t *copy = malloc(texts);
    if (group == NULL || copy == NULL) {
        free(group);
        free(copy);
        return ERR_NO_MEMORY;
    }
    if (key.len > 0)
        memcpy(copy, key.data, key.len);
    if (values.len > 0)
        memcpy(copy + key.len, values.data, values.len);
    group->key = bytes_of(copy, key.len);
    group->values = bytes_of(copy + key.len, values.len);
    for (const struct expr *x = g->select->aggregates; x != NULL;
         x = x->aggregates)
        aggregate_init(&group->aggregates[x->index], x->aggregate);
    g->held += size + texts;
    HASH_ADD_KEYPTR(hh, g->table, group->key.data, group->key.len, group);
    *group_out = group;
    return ERR_OK;
}

static int by_key(const struct group *a, const struct group *b)
{
    return bytes_compare(a->key, b->key);
}

void groups_sort(struct groups *g)
{
    HASH_SORT(g->table, by_key);
}
