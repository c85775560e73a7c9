/* Leads the split of a placement group: a group whose record has shards that
 * are being emptied (catalog_group_split) has its containers moved to the new
 * ones, and then the old ones retired.
 *
 *   record: emptied = old shards, newest = `shards` more
 *     members open the new shards (replicas.h); new containers go there
 *     for each container in the old ones: nothing in the conflicts feed there?
 *       its record: copying, other = the same group, mover = a free node
 *         (mover.h does the rest)
 *     none left for the longest request and 5 s: conflicts once more, and
 *         nothing came to the old shards while they were looked for
 *       record: the old shards are retired; their replicas close (replicas.h)
 *
 * Done on the reachable node with the lowest id that is a member and inside the
 * fence. Another may think that it is it, too: all that is written is written
 * on the condition that nobody else did.
 *
 * Conflicts (shard/salvage.h) do not move: a container that has some waits
 * until they are deleted. Such as come later stay where they are, are shown by
 * the conflicts feed, and keep the old shards.
 *
 * Of a container with a placement map the part in the group is moved, one part
 * of it at a time if several of its groups are split. One that would then be in
 * more shards than it can use (SPREAD_SHARDS_MAX; it was not when the split
 * began, but its map was changed, or another group's split ordered, in the same
 * moment) keeps the old shards.
 *
 * A container that was being created when the split began may come into the old
 * shards until the longest request has ended, and nodes whose catalog is late
 * ask them for one that has moved; so they are not retired before.
 */
#ifndef BASTIDE_SERVER_SPLITTER_H
#define BASTIDE_SERVER_SPLITTER_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/clock.h"
#include "node/catalog/catalog.h"

struct worker;
struct split_step;

/* Containers that one node is told to move at a time: it has the next one when
 * it is done with the first. */
#define SPLITTER_PER_NODE 2
#define SPLITTER_REASON_MAX 240

/* Worker 0's. */
struct splitter {
    struct split_step *running; /* NULL: nothing is under way */
    usec_t next_us;
    uint32_t turn; /* index of the group that is looked at next */
    /* What is known of each group that is being split, by index in the
     * catalog. */
    struct splitter_group {
        uint16_t number, layout; /* layout 0: not in use */
        usec_t empty_us; /* since when nothing is left in the old shards; 0:
                          * something is, or it is another node's */
        uint32_t after;  /* container that was looked at last */
        uint32_t mover;  /* node that was told to move one last */
        char reason[SPLITTER_REASON_MAX]; /* what it waits for; "": nothing */
    } groups[GROUPS_MAX];
};

/* Now and then, on worker 0. */
void splitter_check(struct worker *w);

/* How far a split is. */
struct split_progress {
    uint32_t left;   /* containers in the old shards */
    uint32_t moving; /* of them, and those that the old shards still have
                      * something of */
    uint32_t moved;
    double eta_s;       /* < 0: not known yet */
    const char *reason; /* what it waits for, as far as this node knows; NULL:
                         * nothing. Valid until the next turn */
};
/* From the catalog, at any node. */
void splitter_progress(const struct worker *w, const struct catalog_group *g,
                       struct split_progress *out);

#endif
