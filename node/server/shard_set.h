/* The shards that this node has when a question about all of them comes in, for
 * the tables that its workers fill in: what is told of a shard is kept by its
 * index here, so that a table has as many elements as there are shards. */
#ifndef BASTIDE_SERVER_SHARD_SET_H
#define BASTIDE_SERVER_SHARD_SET_H

#include "node/server/worker.h"

struct shard_set {
    uint32_t n;
    struct {
        uint16_t id;
        bool told; /* its worker has filled in what it has to say */
    } list[];
};

/* Any thread. Freed by mem_free. */
struct shard_set *shard_set_new(const struct node *n);
/* Any thread. `n`: it is not in the set, since it came later. */
uint32_t shard_set_find(const struct shard_set *s, uint16_t shard);
/* The indexes of those that were told of, by rising id; one that is closed
 * meanwhile is not among them. */
#define SHARD_SET_EACH(s, i)                                                   \
    for (uint32_t i = 0; i < (s)->n; i++)                                      \
        if ((s)->list[i].told)

#endif
