/* The groups of a query with aggregates; one, with an empty key, when there is
 * no GROUP BY. */
#ifndef BASTIDE_QUERY_GROUP_H
#define BASTIDE_QUERY_GROUP_H

#include <uthash.h>

#include "node/query/aggregate.h"
#include "node/query/ast.h"

struct group {
    UT_hash_handle hh;
    struct bytes key;    /* encodings of the keys, one after the other */
    struct bytes values; /* the keys in JSON: [[1],[],["x"]], [] undefined */
    struct aggregate aggregates[];
};

struct groups {
    const struct select *select;
    struct group *table;
    size_t held; /* bytes, without what MIN and MAX hold */
};

void groups_init(struct groups *g, const struct select *select);
void groups_free(struct groups *g);
/* The group of that key, made when it is new (both texts are copied).
 * ERR_LIMIT: QUERY_HELD_MEMORY_MAX. ERR_NO_MEMORY. */
int groups_find(struct groups *g, struct bytes key, struct bytes values,
                struct group **group_out);
/* By key, so that every run sees the same order. */
void groups_sort(struct groups *g);

#endif
