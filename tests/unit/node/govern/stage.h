/* A cluster of one shard whose nodes all steer it by the same record, as the
 * tests of node/govern/steer.h need it. */
#ifndef BASTIDE_TESTS_GOVERN_STAGE_H
#define BASTIDE_TESTS_GOVERN_STAGE_H

#include "tests/unit/node/shard/shard_test.h"

#include "node/govern/steer.h"

struct stage {
    struct cluster *c;
    unsigned n;
    struct govern_record rec;
    struct steer_health health[CLUSTER_NODES_MAX + 1];
    struct steer steer[CLUSTER_NODES_MAX + 1];
    bool dead[CLUSTER_NODES_MAX + 1];
};

/* Three regions; region 1 leads and, unless the level is strong, acknowledges.
 */
static inline struct stage stage_new(enum consistency_level level,
                                     const struct cluster_options *options)
{
    struct cluster_options o = *options;
    o.by_majority = level == CONSISTENCY_STRONG;
    return (struct stage){.c = cluster_new(&o),
                          .n = o.nodes,
                          .rec = {.epoch = 1,
                                  .write_region = 1,
                                  .from_region = 1,
                                  .consistency = {level, 100000, 300},
                                  .n_regions = 3,
                                  .priority = {1, 2, 3}}};
}

static inline void stage_end(struct stage *s)
{
    cluster_free(s->c);
}

/* Turns, every node steering, until `until` holds or the turns are used up. */
static inline bool play(struct stage *s, unsigned turns,
                        bool (*until)(const struct stage *s))
{
    for (unsigned t = 0; t < turns; t++) {
        if (until != NULL && until(s))
            return true;
        cluster_turn(s->c);
        for (raft_id id = 1; id <= s->n; id++)
            if (!s->dead[id])
                steer_shard(&s->steer[id], cluster_now(s->c), &s->rec,
                            &s->health[id], id, cluster_shard(s->c, id));
    }
    return until == NULL || until(s);
}

/* At the members: who left hears nothing more. */
static inline bool settled_everywhere(const struct stage *s)
{
    for (raft_id id = 1; id <= s->n; id++)
        if (!s->dead[id] && govern_wants(&s->rec, id) &&
            !steer_settled(&s->rec, cluster_shard(s->c, id)))
            return false;
    return true;
}

static inline void stage_settle(struct stage *s)
{
    assert_true(play(s, 5000, settled_everywhere));
    s->rec.settled = true;
}

static inline raft_id stage_leader(const struct stage *s)
{
    return cluster_leader(s->c);
}

#endif
