/* Quorum arithmetic against a deliberately dumb twin, on random input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "consensus/quorum.h"
#include "node/base/err.h"
#include "node/base/prng.h"

#define ROUNDS 20000
#define IDS_MAX 12

struct input {
    int64_t values[IDS_MAX + 1];
    enum quorum_vote votes[IDS_MAX + 1];
};

static int64_t value_of(const void *ctx, raft_id id)
{
    return ((const struct input *)ctx)->values[id];
}

static enum quorum_vote vote_of(const void *ctx, raft_id id)
{
    return ((const struct input *)ctx)->votes[id];
}

/* Any valid configuration of up to IDS_MAX members in three regions. */
static struct raft_config random_config(struct prng *p)
{
    struct raft_config c;
    do {
        c = (struct raft_config){.joint = prng_one_in(p, 2)};
        raft_region witnesses = (raft_region)prng_below(p, 4);
        for (raft_id id = 1; id <= IDS_MAX; id++) {
            if (prng_one_in(p, 3))
                continue;
            struct raft_member m = {
                .id = id,
                .region = (raft_region)prng_range(p, 1, 3),
                .voter = prng_one_in(p, 2),
                .voter_old = c.joint && prng_one_in(p, 2),
            };
            m.witness = m.region == witnesses;
            assert_int_equal(raft_config_add(&c, m), ERR_OK);
        }
        if (prng_one_in(p, 2)) {
            c.ack = RAFT_ACK_REGION;
            c.write_region = (raft_region)prng_range(p, 1, 3);
        }
    } while (raft_config_check(&c) != ERR_OK);
    return c;
}

/* -- the twin: "v is reached if more than half of the voters have it" -- */

static int twin_counts(const struct raft_member *m, int half,
                       raft_region region)
{
    return (half ? m->voter_old : m->voter) &&
           (region == 0 || (m->region == region && !m->witness));
}

static int twin_voters(const struct raft_config *c, int half,
                       raft_region region)
{
    int n = 0;
    for (uint32_t i = 0; i < c->n; i++)
        n += twin_counts(&c->members[i], half, region);
    return n;
}

static int twin_reached(const struct raft_config *c, int half,
                        raft_region region, const struct input *in, int64_t v)
{
    int n = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        const struct raft_member *m = &c->members[i];
        n += twin_counts(m, half, region) && in->values[m->id] >= v;
    }
    return n * 2 > twin_voters(c, half, region);
}

static int64_t twin_value(const struct raft_config *c, raft_region region,
                          const struct input *in)
{
    for (int half = 0; half <= c->joint; half++) {
        if (twin_voters(c, half, region) == 0)
            return -1;
    }
    for (int64_t v = 100;; v--) {
        if (twin_reached(c, 0, region, in, v) &&
            (!c->joint || twin_reached(c, 1, region, in, v)))
            return v;
    }
}

static int twin_granted(const struct raft_config *c, int half,
                        raft_region region, const struct input *in,
                        int missing_too)
{
    int n = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        const struct raft_member *m = &c->members[i];
        enum quorum_vote v = in->votes[m->id];
        if (twin_counts(m, half, region) &&
            (v == QUORUM_VOTE_GRANTED ||
             (missing_too && v == QUORUM_VOTE_MISSING)))
            n++;
    }
    return n * 2 > twin_voters(c, half, region);
}

static int twin_wins(const struct raft_config *c, const struct input *in,
                     int missing_too)
{
    for (int half = 0; half <= c->joint; half++) {
        if (!twin_granted(c, half, 0, in, missing_too))
            return 0;
        if (c->ack == RAFT_ACK_REGION &&
            !twin_granted(c, half, c->write_region, in, missing_too))
            return 0;
    }
    return 1;
}

static void randomise(struct prng *p, struct input *in)
{
    for (raft_id id = 0; id <= IDS_MAX; id++) {
        in->values[id] = (int64_t)prng_below(p, 20);
        in->votes[id] = (enum quorum_vote)prng_below(p, 3);
    }
}

static void values_agree_with_the_twin(void **state)
{
    (void)state;
    struct prng p;
    prng_seed(&p, 1);
    for (int i = 0; i < ROUNDS; i++) {
        struct raft_config c = random_config(&p);
        struct input in;
        randomise(&p, &in);
        assert_int_equal(quorum_majority_value(&c, value_of, &in),
                         twin_value(&c, 0, &in));
        for (raft_region region = 1; region <= 3; region++)
            assert_int_equal(quorum_region_value(&c, region, value_of, &in),
                             twin_value(&c, region, &in));
    }
}

/* Regions 1 and 2 are awaited. */
static bool is_awaited(const void *ctx, raft_region region)
{
    (void)ctx;
    return region < 3;
}

static void payload_values_agree_with_the_twin(void **state)
{
    (void)state;
    struct prng p;
    prng_seed(&p, 5);
    for (int i = 0; i < ROUNDS; i++) {
        struct raft_config c = random_config(&p);
        struct input in;
        randomise(&p, &in);
        int64_t v = quorum_payload_value(&c, is_awaited, value_of, &in);
        for (int half = 0; half <= c.joint; half++) {
            for (raft_region region = 1; region <= 2; region++) {
                if (twin_voters(&c, half, region) == 0)
                    continue;
                assert_true(v < 100);
                assert_true(twin_reached(&c, half, region, &in, v));
            }
        }
        struct input more = in;
        for (raft_id id = 0; id <= IDS_MAX; id++)
            more.values[id]++;
        int64_t next = quorum_payload_value(&c, is_awaited, value_of, &more);
        assert_true(v == INT64_MAX ? next == v : next == v + 1);
    }
}

/* In how many regions somebody has the payload of entry `v`. */
static int regions_with(const struct raft_config *c, int half,
                        const struct input *in, int64_t v)
{
    int n = 0;
    for (raft_region region = 1; region <= 3; region++) {
        bool has = false;
        for (uint32_t i = 0; i < c->n; i++) {
            const struct raft_member *m = &c->members[i];
            has |= twin_counts(m, half, region) && in->values[m->id] >= v;
        }
        n += has;
    }
    return n;
}

static int witnesses_in(const struct raft_config *c, int half)
{
    int n = 0;
    for (uint32_t i = 0; i < c->n; i++)
        n += c->members[i].witness && twin_counts(&c->members[i], half, 0);
    return n;
}

static bool every_region(const void *ctx, raft_region region)
{
    (void)ctx;
    (void)region;
    return true;
}

/* What witnesses are for: whoever they are told of, and whatever a majority has
 * then, no single region is the only one with the payload. */
static void what_a_majority_has_is_in_two_regions(void **state)
{
    (void)state;
    struct prng p;
    prng_seed(&p, 6);
    int seen = 0;
    for (int i = 0; i < ROUNDS; i++) {
        struct raft_config c = random_config(&p);
        struct input in;
        randomise(&p, &in);
        int64_t told = quorum_payload_value(&c, every_region, value_of, &in);
        for (uint32_t k = 0; k < c.n; k++) {
            int64_t *v = &in.values[c.members[k].id];
            if (c.members[k].witness && *v > told)
                *v = told;
        }
        int64_t committed = quorum_majority_value(&c, value_of, &in);
        for (int half = 0; half <= c.joint; half++) {
            if (witnesses_in(&c, half) == 0)
                continue;
            assert_true(regions_with(&c, half, &in, committed) >= 2);
            seen++;
        }
    }
    assert_true(seen > ROUNDS / 20);
}

static void votes_agree_with_the_twin(void **state)
{
    (void)state;
    struct prng p;
    prng_seed(&p, 2);
    for (int i = 0; i < ROUNDS; i++) {
        struct raft_config c = random_config(&p);
        struct input in;
        randomise(&p, &in);
        enum quorum_result expected = twin_wins(&c, &in, 0)   ? QUORUM_WON
                                      : twin_wins(&c, &in, 1) ? QUORUM_PENDING
                                                              : QUORUM_LOST;
        assert_int_equal(quorum_votes(&c, (enum raft_ack)c.ack, c.write_region,
                                      vote_of, &in),
                         expected);
    }
}

/* The property everything rests on: two winning sets share a voter. */
static void winning_sets_intersect(void **state)
{
    (void)state;
    struct prng p;
    prng_seed(&p, 3);
    for (int i = 0; i < ROUNDS; i++) {
        struct raft_config c = random_config(&p);
        struct input a;
        randomise(&p, &a);
        struct input b;
        for (raft_id id = 0; id <= IDS_MAX; id++)
            b.votes[id] = a.votes[id] == QUORUM_VOTE_GRANTED
                              ? QUORUM_VOTE_DENIED
                              : QUORUM_VOTE_GRANTED;
        enum raft_ack ack = (enum raft_ack)c.ack;
        int both =
            quorum_votes(&c, ack, c.write_region, vote_of, &a) == QUORUM_WON &&
            quorum_votes(&c, ack, c.write_region, vote_of, &b) == QUORUM_WON;
        assert_false(both);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_agree_with_the_twin),
        cmocka_unit_test(payload_values_agree_with_the_twin),
        cmocka_unit_test(what_a_majority_has_is_in_two_regions),
        cmocka_unit_test(votes_agree_with_the_twin),
        cmocka_unit_test(winning_sets_intersect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
