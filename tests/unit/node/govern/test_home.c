/* Where leaders belong, and when they go there. */
#include "tests/unit/node/govern/stage.h"

#include "node/govern/home.h"

#define NODES 5
#define ALL UINT64_MAX

static struct raft_config config_of(const raft_region *regions, uint32_t n)
{
    struct raft_config c = {.n = n};
    for (uint32_t i = 0; i < n; i++)
        c.members[i] = (struct raft_member){
            .id = i + 1, .region = regions[i], .voter = true};
    return c;
}

static const raft_region two_regions[] = {1, 1, 1, 2, 2};

/* ---- where -----------------------------------------------------------------
 */

static void shards_are_spread_evenly(void **state)
{
    (void)state;
    struct raft_config c = config_of(two_regions, NODES);
    for (uint16_t first = 1; first < 20; first++)
        for (uint16_t shards = 1; shards <= 16; shards++) {
            uint32_t led[NODES + 1] = {0};
            for (uint16_t i = 0; i < shards; i++)
                led[govern_home(&c, 1, first + i, false, ALL)]++;
            for (raft_id id = 1; id <= 3; id++) {
                assert_true(led[id] >= shards / 3u);
                assert_true(led[id] <= (shards + 2u) / 3u);
            }
            assert_int_equal(led[4] + led[5], 0);
        }
    /* One that cannot lead is none of them. */
    c.members[0].witness = true;
    c.members[1].voter = false;
    for (uint16_t i = 1; i < 20; i++)
        assert_int_equal(govern_home(&c, 1, i, false, ALL), 3);
    assert_int_equal(govern_home(&c, 7, 1, false, ALL), 0);
}

static void those_of_an_ill_node_alone_go_elsewhere(void **state)
{
    (void)state;
    struct raft_config c = config_of(two_regions, NODES);
    for (raft_id ill = 1; ill <= 3; ill++) {
        uint32_t led[NODES + 1] = {0};
        govern_member_set well = ALL & ~((govern_member_set)1 << (ill - 1));
        for (uint16_t shard = 1; shard <= 18; shard++) {
            raft_id before = govern_home(&c, 1, shard, false, ALL);
            raft_id now = govern_home(&c, 1, shard, false, well);
            assert_true(before == now || before == ill);
            led[now]++;
        }
        assert_int_equal(led[ill], 0);
        for (raft_id id = 1; id <= 3; id++)
            assert_true(id == ill || led[id] == 9);
    }
    assert_int_equal(govern_home(&c, 1, 5, false, 0), 0);
}

static void gathered_is_on_the_first_that_is_well(void **state)
{
    (void)state;
    struct raft_config c = config_of(two_regions, NODES);
    for (uint16_t shard = 1; shard < 20; shard++) {
        assert_int_equal(govern_home(&c, 1, shard, true, ALL), 1);
        assert_int_equal(govern_home(&c, 1, shard, true, ALL & ~1ull), 2);
        assert_int_equal(govern_home(&c, 2, shard, true, ALL), 4);
    }
}

/* ---- when ------------------------------------------------------------------
 */

static struct stage stage_of_two_regions(bool gather)
{
    struct stage s = stage_new(
        CONSISTENCY_SESSION,
        &(struct cluster_options){.nodes = NODES, .regions = two_regions});
    s.rec.n_regions = 2;
    s.rec.gather = gather;
    return s;
}

/* The home of the stage's shard. */
static raft_id home(const struct stage *s)
{
    const struct raft_config *c =
        raft_config(shard_raft(cluster_shard(s->c, stage_leader(s))));
    return govern_home(c, s->rec.write_region, CLUSTER_SHARD, s->rec.gather,
                       ALL);
}

static bool at_home(const struct stage *s)
{
    return stage_leader(s) != 0 && stage_leader(s) == home(s);
}

static void give_to(struct stage *s, raft_id to)
{
    raft_id leader = stage_leader(s);
    if (leader == to)
        return;
    (void)shard_transfer(cluster_shard(s->c, leader), cluster_now(s->c), to);
    for (unsigned t = 0; t < 5000 && stage_leader(s) != to; t++)
        cluster_turn(s->c);
    assert_int_equal(stage_leader(s), to);
}

/* Any of the write region but where it belongs. */
static raft_id stranger(const struct stage *s)
{
    return home(s) == 3 ? 2 : 3;
}

static void a_leader_goes_home_after_a_while(void **state)
{
    (void)state;
    for (int gather = 0; gather < 2; gather++) {
        struct stage s = stage_of_two_regions(gather == 1);
        stage_settle(&s);
        give_to(&s, stranger(&s));
        usec_t since = cluster_now(s.c);
        for (unsigned i = 0; i < 20; i++)
            put(s.c, stage_leader(&s), 1, i, "{\"id\":\"x\"");
        assert_true(play(&s, 100000, at_home));
        assert_true(cluster_now(s.c) - since >= STEER_HOME_US);
        assert_true(cluster_now(s.c) - since <
                    STEER_HOME_US + 2 * USEC_PER_SEC);
        for (unsigned i = 0; i < 20; i++)
            expect_read(s.c, stage_leader(&s), 1, i, "{\"id\":\"x\"");
        /* And stays. */
        play(&s, 3000, NULL);
        assert_true(at_home(&s));
        stage_end(&s);
    }
}

static void nothing_else_may_be_under_way(void **state)
{
    (void)state;
    struct stage s = stage_of_two_regions(false);
    stage_settle(&s);
    raft_id at = stranger(&s);
    give_to(&s, at);
    usec_t until = cluster_now(s.c) + 2 * STEER_HOME_US;
    s.rec.settled = false;
    while (cluster_now(s.c) < until)
        play(&s, 100, NULL);
    assert_int_equal(stage_leader(&s), at);
    s.rec.settled = true;
    s.rec.coming = govern_region_bit(2);
    until = cluster_now(s.c) + 2 * STEER_HOME_US;
    while (cluster_now(s.c) < until)
        play(&s, 100, NULL);
    assert_int_equal(stage_leader(&s), at);
    s.rec.coming = 0;
    assert_true(play(&s, 100000, at_home));
    stage_end(&s);
}

/* The home is cut off for a moment, again and again. */
static void a_flapping_home_gets_nothing(void **state)
{
    (void)state;
    struct stage s = stage_of_two_regions(true); /* its home is 1 */
    stage_settle(&s);
    give_to(&s, 3);
    usec_t until = cluster_now(s.c) + 4 * STEER_HOME_US;
    while (cluster_now(s.c) < until) {
        usec_t cut = cluster_now(s.c) + USEC_PER_SEC;
        cluster_cut(s.c, 1, 3);
        while (cluster_now(s.c) < cut)
            play(&s, 50, NULL);
        cluster_heal(s.c);
        usec_t heal = cluster_now(s.c) + STEER_HOME_US / 2;
        while (cluster_now(s.c) < heal)
            play(&s, 50, NULL);
        assert_int_not_equal(stage_leader(&s), 1);
    }
    assert_true(play(&s, 100000, at_home));
    stage_end(&s);
}

/* The home asks the leader, again and again, to have its replica judged. */
static void a_home_in_doubt_gets_nothing(void **state)
{
    (void)state;
    struct stage s = stage_of_two_regions(true); /* its home is 1 */
    stage_settle(&s);
    give_to(&s, 3);
    usec_t until = cluster_now(s.c) + 4 * STEER_HOME_US;
    while (cluster_now(s.c) < until) {
        usec_t again = cluster_now(s.c) + 2 * USEC_PER_SEC;
        for (raft_id id = 2; id <= s.n; id++)
            steer_shun(&s.steer[id], cluster_now(s.c), 1);
        while (cluster_now(s.c) < again)
            play(&s, 50, NULL);
        assert_int_not_equal(stage_leader(&s), 1);
    }
    /* Not even when its leader stops; the other one does. */
    raft_id leader = stage_leader(&s);
    s.health[leader].self_ill = true;
    play(&s, 1000, NULL);
    assert_int_equal(stage_leader(&s), leader == 3 ? 2 : 3);
    s.health[leader].self_ill = false;
    assert_true(play(&s, 100000, at_home));
    stage_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_are_spread_evenly),
        cmocka_unit_test(those_of_an_ill_node_alone_go_elsewhere),
        cmocka_unit_test(gathered_is_on_the_first_that_is_well),
        cmocka_unit_test(a_leader_goes_home_after_a_while),
        cmocka_unit_test(nothing_else_may_be_under_way),
        cmocka_unit_test(a_flapping_home_gets_nothing),
        cmocka_unit_test(a_home_in_doubt_gets_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
