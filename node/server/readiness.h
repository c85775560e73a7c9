/* What /readyz says: whether the node can serve every shard, and in words what
 * it waits for or what limits it meanwhile.
 *
 *     {"ready":false,"waits_for":["shard 1 has no leader"],"limited_by":[]}
 *
 * A limit does not make a node unready: with a full disk, or cut off from the
 * rest, it still answers reads that need nobody else, and taking it out of
 * service would help nobody. */
#ifndef BASTIDE_SERVER_READINESS_H
#define BASTIDE_SERVER_READINESS_H

#include "node/server/shard_set.h"

/* What is known after every worker was asked. */
struct readiness {
    const struct worker *worker; /* 0 */
    const struct shard_set *set;
    const struct shard_status *shards; /* by index in the set */
    bool group_known; /* all workers have the keys of group default */
};

bool readiness_ok(const struct readiness *r);
/* The answer's body; `verbose` adds the two lists. */
void readiness_write(const struct readiness *r, bool verbose, struct buf *out);

#endif
