/* Replicas follow the decision: planned, forced, ill, recovered. */
#include "tests/unit/node/shard/shard_test.h"

#include "node/govern/steer.h"

#define NODES 3

struct stage {
    struct cluster *c;
    struct govern_record rec;
    struct steer_health health[NODES + 1];
    struct steer steer[NODES + 1];
    bool dead[NODES + 1];
};

static const raft_region regions_of_three[] = {1, 2, 3};

/* Node i in region i; region 1 leads and acknowledges. `witness`: a node that
 * is one, or 0. */
static struct stage stage_with(enum consistency_level level, raft_id witness)
{
    struct stage s = {.c = cluster_new(&(struct cluster_options){
                          .nodes = NODES,
                          .regions = regions_of_three,
                          .by_majority = level == CONSISTENCY_STRONG,
                          .witness = witness}),
                      .rec = {.epoch = 1,
                              .write_region = 1,
                              .from_region = 1,
                              .consistency = {level, 100000, 300},
                              .n_regions = 3,
                              .priority = {1, 2, 3}}};
    return s;
}

static struct stage stage_begin(enum consistency_level level)
{
    return stage_with(level, 0);
}

/* Turns, every node steering, until `until` holds or the turns are used up. */
static bool play(struct stage *s, unsigned turns,
                 bool (*until)(const struct stage *s))
{
    for (unsigned t = 0; t < turns; t++) {
        if (until != NULL && until(s))
            return true;
        cluster_turn(s->c);
        for (raft_id id = 1; id <= NODES; id++)
            if (!s->dead[id])
                steer_shard(&s->steer[id], cluster_now(s->c), &s->rec,
                            &s->health[id], id, cluster_shard(s->c, id));
    }
    return until == NULL || until(s);
}

static bool settled_everywhere(const struct stage *s)
{
    for (raft_id id = 1; id <= NODES; id++)
        if (!s->dead[id] && !steer_settled(&s->rec, cluster_shard(s->c, id)))
            return false;
    return true;
}

static void stage_settle(struct stage *s)
{
    assert_true(play(s, 5000, settled_everywhere));
    s->rec.settled = true;
}

static void stage_end(struct stage *s)
{
    cluster_free(s->c);
}

static raft_id stage_leader(const struct stage *s)
{
    return cluster_leader(s->c);
}

static void the_first_decision_is_taken_over(void **state)
{
    (void)state;
    for (int level = 0; level < CONSISTENCY_COUNT; level++) {
        struct stage s = stage_begin((enum consistency_level)level);
        stage_settle(&s);
        assert_int_equal(stage_leader(&s), 1);
        const struct raft_config *c =
            raft_config_committed(shard_raft(cluster_shard(s.c, 3)));
        assert_int_equal(c->epoch, 1);
        assert_int_equal(c->ack, govern_ack(&s.rec));
        stage_end(&s);
    }
}

static void a_planned_switch_loses_nothing(void **state)
{
    (void)state;
    struct stage s = stage_begin(CONSISTENCY_SESSION);
    stage_settle(&s);
    for (unsigned i = 0; i < 50; i++)
        put(s.c, 1, 1, i, "{\"id\":\"x\"");
    assert_int_equal(govern_switch(&s.rec, 3, false, true, 0, "", &s.rec),
                     ERR_OK);
    stage_settle(&s);
    assert_int_equal(stage_leader(&s), 3);
    for (unsigned i = 0; i < 50; i++)
        expect_read(s.c, 3, 1, i, "{\"id\":\"x\"");
    /* And back, as often as one likes. */
    for (int i = 0; i < 6; i++) {
        raft_region to = (raft_region)(i % 2 ? 3 : 2);
        assert_int_equal(govern_switch(&s.rec, to, false, true, 0, "", &s.rec),
                         ERR_OK);
        stage_settle(&s);
        assert_int_equal(stage_leader(&s), to);
    }
    stage_end(&s);
}

static void a_strong_account_switches_too(void **state)
{
    (void)state;
    struct stage s = stage_begin(CONSISTENCY_STRONG);
    stage_settle(&s);
    assert_int_equal(govern_switch(&s.rec, 2, true, false, 0, "", &s.rec),
                     ERR_OK);
    stage_settle(&s);
    assert_int_equal(stage_leader(&s), 2);
    stage_end(&s);
}

static void a_lost_region_is_replaced_by_force(void **state)
{
    (void)state;
    struct stage s = stage_begin(CONSISTENCY_SESSION);
    stage_settle(&s);
    put(s.c, 1, 1, 1, "{\"id\":\"1\"");
    cluster_settle(s.c);
    cluster_cut_region(s.c, 1);
    s.dead[1] = true; /* does not hear of decisions, either */
    /* Nobody takes over by itself: the others cannot know what 1 has. */
    play(&s, 4000, NULL);
    assert_int_not_equal(stage_leader(&s), 2);
    assert_int_not_equal(stage_leader(&s), 3);
    assert_int_equal(govern_switch(&s.rec, 2, true, false, 0, "", &s.rec),
                     ERR_OK);
    s.rec.down = govern_region_bit(1);
    usec_t decided = cluster_now(s.c);
    stage_settle(&s);
    assert_int_equal(stage_leader(&s), 2);
    assert_true(cluster_now(s.c) - decided < USEC_PER_SEC);
    put(s.c, 2, 1, 2, "{\"id\":\"2\"");
    /* The old region returns, and follows. */
    cluster_heal(s.c);
    s.dead[1] = false;
    s.rec.down = 0;
    assert_true(play(&s, 5000, settled_everywhere));
    expect_read(s.c, 1, 1, 2, "{\"id\":\"2\"");
    stage_end(&s);
}

static bool two_leads(const struct stage *s)
{
    return stage_leader(s) == 2;
}

static void an_ill_node_hands_over(void **state)
{
    (void)state;
    struct stage s = stage_begin(CONSISTENCY_STRONG);
    stage_settle(&s);
    s.health[1].self_ill = true;
    for (raft_id id = 2; id <= NODES; id++)
        s.health[id] = (struct steer_health){.n_ill = 1, .ill = {1}};
    assert_true(play(&s, 3000, two_leads));
    /* Nobody gives it back while it is ill. */
    play(&s, 2000, NULL);
    assert_int_equal(stage_leader(&s), 2);
    s.health[1].self_ill = false;
    for (raft_id id = 2; id <= NODES; id++)
        s.health[id].n_ill = 0;
    stage_settle(&s);
    assert_int_equal(stage_leader(&s), 1);
    stage_end(&s);
}

static void an_ill_node_hands_over_with_a_hanging_disk(void **state)
{
    (void)state;
    struct stage s = stage_begin(CONSISTENCY_SESSION);
    stage_settle(&s);
    cluster_hold_sync(s.c, 1, true);
    s.health[1].self_ill = true;
    for (raft_id id = 2; id <= NODES; id++)
        s.health[id] = (struct steer_health){.n_ill = 1, .ill = {1}};
    assert_int_equal(govern_switch(&s.rec, 2, false, false, 0, "", &s.rec),
                     ERR_OK);
    assert_true(play(&s, 5000, two_leads));
    put(s.c, 2, 1, 1, "{\"id\":\"1\"");
    cluster_hold_sync(s.c, 1, false);
    stage_end(&s);
}

/* Its disk holds back what the witness would have to wait for. */
static void a_hanging_disk_does_not_keep_a_witness_waiting(void **state)
{
    (void)state;
    struct stage s = stage_with(CONSISTENCY_STRONG, 3);
    s.rec.n_regions = 2;
    stage_settle(&s);
    cluster_hold_sync(s.c, 1, true);
    s.health[1].self_ill = true;
    for (raft_id id = 2; id <= NODES; id++)
        s.health[id] = (struct steer_health){.n_ill = 1, .ill = {1}};
    for (raft_id id = 1; id <= NODES; id++)
        s.health[id].unable = govern_region_bit(1);
    assert_true(play(&s, 5000, two_leads));
    put(s.c, 2, 1, 1, "{\"id\":\"1\"");
    assert_int_equal(cluster_payloads(s.c, 3), 0);
    cluster_hold_sync(s.c, 1, false);
    stage_end(&s);
}

static void the_level_changes_while_writes_go_on(void **state)
{
    (void)state;
    struct stage s = stage_begin(CONSISTENCY_STRONG);
    stage_settle(&s);
    for (int i = 0; i < 10; i++) {
        struct consistency_policy p = {
            (enum consistency_level)(i % CONSISTENCY_COUNT), 1000, 10};
        if (p.level == s.rec.consistency.level)
            continue;
        assert_int_equal(govern_set_level(&s.rec, &p, 0, "", &s.rec), ERR_OK);
        put(s.c, 1, 1, (unsigned)i, "{\"id\":\"1\"");
        stage_settle(&s);
        put(s.c, 1, 2, (unsigned)i, "{\"id\":\"1\"");
    }
    assert_int_equal(stage_leader(&s), 1);
    stage_end(&s);
}

/* Two of three regions are lost for good. */
static void survivors_go_on_and_take_the_others_back(void **state)
{
    (void)state;
    struct stage s = stage_begin(CONSISTENCY_SESSION);
    stage_settle(&s);
    put(s.c, 1, 1, 1, "{\"id\":\"1\"");
    play(&s, 200, NULL);
    cluster_cut_region(s.c, 3);
    s.dead[1] = s.dead[2] = true;
    play(&s, 3000, NULL);
    struct govern_record old = s.rec;
    govern_recover(&old, 7, govern_region_bit(3), 0, "", &s.rec);
    struct shard *left = cluster_shard(s.c, 3);
    struct raft_config config;
    govern_config(&s.rec, false, raft_config(shard_raft(left)), &config);
    config.joint = false;
    for (uint32_t i = 0; i < config.n; i++)
        config.members[i].voter = config.members[i].region == 3;
    assert_int_equal(shard_recover(left, cluster_now(s.c), &config), ERR_OK);
    assert_true(play(&s, 3000, settled_everywhere));
    assert_int_equal(shard_leader(left), 3);
    put(s.c, 3, 1, 2, "{\"id\":\"2\"");
    expect_read(s.c, 3, 1, 1, "{\"id\":\"1\"");
    /* They come back: they follow, and vote again. */
    cluster_heal(s.c);
    s.dead[1] = s.dead[2] = false;
    assert_true(play(&s, 5000, settled_everywhere));
    play(&s, 3000, NULL);
    const struct raft_config *c = raft_config_committed(shard_raft(left));
    for (raft_id id = 1; id <= NODES; id++)
        assert_true(raft_config_is_voter(c, id));
    assert_false(c->joint);
    expect_read(s.c, 1, 1, 2, "{\"id\":\"2\"");
    stage_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_decision_is_taken_over),
        cmocka_unit_test(a_planned_switch_loses_nothing),
        cmocka_unit_test(a_strong_account_switches_too),
        cmocka_unit_test(a_lost_region_is_replaced_by_force),
        cmocka_unit_test(an_ill_node_hands_over),
        cmocka_unit_test(an_ill_node_hands_over_with_a_hanging_disk),
        cmocka_unit_test(a_hanging_disk_does_not_keep_a_witness_waiting),
        cmocka_unit_test(the_level_changes_while_writes_go_on),
        cmocka_unit_test(survivors_go_on_and_take_the_others_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
