#include "consensus/quorum.h"

#include "node/base/check.h"

/* The voters that one question is put to: a half, whole or of one region. */
struct electorate {
    raft_id ids[RAFT_MEMBERS_MAX];
    uint32_t n;
};

static void electorate_of(const struct raft_config *c, bool old_half,
                          raft_region region, struct electorate *e)
{
    e->n = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        const struct raft_member *m = &c->members[i];
        bool votes = old_half ? m->voter_old : m->voter;
        if (votes && (region == 0 || (m->region == region && !m->witness)))
            e->ids[e->n++] = m->id;
    }
}

/* Sorted descending, position n/2 (from 0) is reached by n/2 + 1 voters: the
 * smallest majority. */
static int64_t majority_of(const struct electorate *e, quorum_value_fn value,
                           const void *ctx)
{
    if (e->n == 0)
        return -1;
    int64_t sorted[RAFT_MEMBERS_MAX];
    for (uint32_t i = 0; i < e->n; i++) {
        int64_t v = value(ctx, e->ids[i]);
        uint32_t at = i;
        for (; at > 0 && sorted[at - 1] < v; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = v;
    }
    return sorted[e->n / 2];
}

int64_t quorum_region_value(const struct raft_config *c, raft_region region,
                            quorum_value_fn value, const void *ctx)
{
    struct electorate e;
    electorate_of(c, false, region, &e);
    int64_t both = majority_of(&e, value, ctx);
    if (c->joint) {
        electorate_of(c, true, region, &e);
        int64_t old = majority_of(&e, value, ctx);
        both = old < both ? old : both;
    }
    return both;
}

int64_t quorum_majority_value(const struct raft_config *c,
                              quorum_value_fn value, const void *ctx)
{
    return quorum_region_value(c, 0, value, ctx);
}

int64_t quorum_payload_value(const struct raft_config *c,
                             quorum_region_fn awaited, quorum_value_fn value,
                             const void *ctx)
{
    int64_t least = INT64_MAX;
    for (int old_half = 0; old_half <= c->joint; old_half++) {
        for (uint32_t i = 0; i < c->n; i++) {
            raft_region region = c->members[i].region;
            struct electorate e;
            electorate_of(c, old_half, region, &e);
            if (e.n == 0 || !awaited(ctx, region))
                continue;
            int64_t v = majority_of(&e, value, ctx);
            least = v < least ? v : least;
        }
    }
    return least;
}

static enum quorum_result votes_of(const struct electorate *e,
                                   quorum_vote_fn vote, const void *ctx)
{
    uint32_t granted = 0;
    uint32_t missing = 0;
    for (uint32_t i = 0; i < e->n; i++) {
        enum quorum_vote v = vote(ctx, e->ids[i]);
        granted += v == QUORUM_VOTE_GRANTED;
        missing += v == QUORUM_VOTE_MISSING;
    }
    uint32_t needed = e->n / 2 + 1;
    if (granted >= needed)
        return QUORUM_WON;
    return granted + missing >= needed ? QUORUM_PENDING : QUORUM_LOST;
}

/* Both must be won; one lost loses. */
static enum quorum_result result_and(enum quorum_result a, enum quorum_result b)
{
    if (a == QUORUM_LOST || b == QUORUM_LOST)
        return QUORUM_LOST;
    return a == QUORUM_WON && b == QUORUM_WON ? QUORUM_WON : QUORUM_PENDING;
}

enum quorum_result quorum_votes(const struct raft_config *c, enum raft_ack ack,
                                raft_region region, quorum_vote_fn vote,
                                const void *ctx)
{
    enum quorum_result result = QUORUM_WON;
    for (int old_half = 0; old_half <= c->joint; old_half++) {
        struct electorate e;
        electorate_of(c, old_half, 0, &e);
        result = result_and(result, votes_of(&e, vote, ctx));
        if (ack == RAFT_ACK_REGION) {
            CHECK(region != 0);
            electorate_of(c, old_half, region, &e);
            result = result_and(result, votes_of(&e, vote, ctx));
        }
    }
    return result;
}
