/* Replicas get the members that the record wants, in small steps. */
#include "tests/unit/node/govern/stage.h"

static const raft_region regions_of_five[] = {1, 2, 3, 4, 5};
static const struct govern_member five[] = {
    {1, 1}, {2, 2}, {3, 3}, {4, 4}, {5, 5}};

/* Node i in region i; the first three are the members, and the record names
 * them. */
static struct stage stage_of(unsigned nodes, enum consistency_level level)
{
    struct stage s =
        stage_new(level, &(struct cluster_options){.nodes = nodes,
                                                   .spares = nodes - 3,
                                                   .regions = regions_of_five});
    s.rec.n_members = 3;
    memcpy(s.rec.members, five, 3 * sizeof(five[0]));
    stage_settle(&s);
    assert_int_equal(stage_leader(&s), 1);
    return s;
}

/* Those whose bit (1 << id) is set shall be the members. */
static void order(struct stage *s, unsigned who)
{
    struct govern_member members[5];
    uint32_t n = 0;
    for (raft_id id = 1; id <= 5; id++)
        if ((who & 1u << id) != 0)
            members[n++] = five[id - 1];
    assert_int_equal(govern_set_members(&s->rec, members, n, regions_of_five, 5,
                                        0, "", &s->rec),
                     ERR_OK);
}

#define WHO(a, b, c) (1u << (a) | 1u << (b) | 1u << (c))

static const struct raft_config *config_of_leader(const struct stage *s)
{
    raft_id leader = stage_leader(s);
    return leader == 0 ? NULL
                       : raft_config(shard_raft(cluster_shard(s->c, leader)));
}

/* Who votes, by the leader's newest configuration; while it changes, in the
 * half that comes. */
static unsigned voters(const struct stage *s)
{
    const struct raft_config *c = config_of_leader(s);
    unsigned who = 0;
    for (uint32_t i = 0; c != NULL && i < c->n; i++)
        who |= c->members[i].voter ? 1u << c->members[i].id : 0;
    return who;
}

static unsigned members(const struct stage *s)
{
    const struct raft_config *c = config_of_leader(s);
    unsigned who = 0;
    for (uint32_t i = 0; c != NULL && i < c->n; i++)
        who |= 1u << c->members[i].id;
    return who;
}

/* Plays until the record is settled; at every turn the voters may differ from
 * those of the turn before by one at most. */
static void settle_in_small_steps(struct stage *s)
{
    unsigned before = voters(s);
    bool done = false;
    for (int turn = 0; turn < 10000 && !done; turn++) {
        done = settled_everywhere(s);
        play(s, 1, NULL);
        unsigned now = voters(s);
        if (now == 0)
            continue; /* nobody leads */
        assert_true(before == 0 || __builtin_popcount(before ^ now) <= 1);
        before = now;
    }
    assert_true(done);
    s->rec.settled = true;
}

static void members_come_one_at_a_time(void **state)
{
    (void)state;
    for (int level = 0; level < CONSISTENCY_COUNT; level++) {
        struct stage s = stage_of(5, (enum consistency_level)level);
        for (unsigned i = 0; i < 20; i++)
            put(s.c, 1, 1, i, "{\"id\":\"x\"");
        order(&s, 0x3e);
        settle_in_small_steps(&s);
        assert_int_equal(voters(&s), 0x3e);
        assert_int_equal(stage_leader(&s), 1);
        put(s.c, 1, 1, 1, "{\"id\":\"y\"");
        expect_same_everywhere(s.c, 5);
        stage_end(&s);
    }
}

/* All are learners at once, and each votes when it has caught up. */
static void who_lags_does_not_vote(void **state)
{
    (void)state;
    struct stage s = stage_of(5, CONSISTENCY_SESSION);
    for (raft_id id = 1; id <= 4; id++)
        cluster_cut(s.c, id, 4);
    order(&s, 0x3e);
    play(&s, 3000, NULL);
    assert_int_equal(members(&s), 0x3e);
    assert_int_equal(voters(&s), WHO(1, 2, 3) | 1u << 5);
    assert_false(settled_everywhere(&s));
    cluster_heal(s.c);
    settle_in_small_steps(&s);
    assert_int_equal(voters(&s), 0x3e);
    stage_end(&s);
}

static void nobody_goes_before_those_vote_who_come(void **state)
{
    (void)state;
    struct stage s = stage_of(4, CONSISTENCY_SESSION);
    for (raft_id id = 1; id <= 3; id++)
        cluster_cut(s.c, id, 4);
    order(&s, WHO(1, 2, 4));
    play(&s, 3000, NULL);
    assert_int_equal(voters(&s), WHO(1, 2, 3));
    cluster_heal(s.c);
    settle_in_small_steps(&s);
    assert_int_equal(members(&s), WHO(1, 2, 4));
    put(s.c, 1, 1, 1, "{\"id\":\"1\"");
    cluster_turns(s.c, 200);
    expect_read(s.c, 4, 1, 1, "{\"id\":\"1\"");
    stage_end(&s);
}

/* It hands over first, to one who stays; then that one lets it go. */
static void a_leader_that_goes_hands_over(void **state)
{
    (void)state;
    for (int level = 0; level < CONSISTENCY_COUNT; level++) {
        struct stage s = stage_of(3, (enum consistency_level)level);
        put(s.c, 1, 1, 1, "{\"id\":\"1\"");
        order(&s, 1u << 2 | 1u << 3);
        assert_int_equal(s.rec.write_region, 2);
        bool done = false;
        for (int turn = 0; turn < 10000 && !done; turn++) {
            done = settled_everywhere(&s);
            play(&s, 1, NULL);
            raft_id leader = stage_leader(&s);
            assert_true(leader == 0 || (members(&s) & 1u << leader) != 0);
        }
        assert_true(done);
        assert_int_equal(stage_leader(&s), 2);
        assert_int_equal(members(&s), 1u << 2 | 1u << 3);
        expect_read(s.c, 3, 1, 1, "{\"id\":\"1\"");
        put(s.c, 2, 1, 2, "{\"id\":\"2\"");
        stage_end(&s);
    }
}

/* Not even where it would be needed for nothing else: an ill leader hands over
 * to a voter that stays, not to one that goes. */
static void nobody_who_goes_gets_the_leadership(void **state)
{
    (void)state;
    struct stage s = stage_of(3, CONSISTENCY_STRONG);
    order(&s, WHO(1, 3, 3));
    s.health[1].self_ill = true;
    for (raft_id id = 2; id <= 3; id++)
        s.health[id] = (struct steer_health){.n_ill = 1, .ill = {1}};
    for (int turn = 0; turn < 5000; turn++) {
        play(&s, 1, NULL);
        assert_int_not_equal(stage_leader(&s), 2);
    }
    assert_int_equal(stage_leader(&s), 3);
    stage_end(&s);
}

/* Node 3 is rebuilt, and cannot ask node 2. */
static struct stage stage_of_a_rebuild(void)
{
    struct stage s = stage_of(4, CONSISTENCY_SESSION);
    put(s.c, 1, 1, 1, "{\"id\":\"1\"");
    cluster_cut(s.c, 2, 3);
    cluster_rebuild(s.c, 3);
    play(&s, 1000, NULL);
    assert_int_equal(raft_amnesiac(shard_raft(cluster_shard(s.c, 3))),
                     RAFT_AMNESIA_ASKING);
    return s;
}

static void nothing_changes_while_a_voter_is_rebuilt(void **state)
{
    (void)state;
    struct stage s = stage_of_a_rebuild();
    order(&s, 0x1e);
    play(&s, 3000, NULL);
    assert_int_equal(members(&s), WHO(1, 2, 3));
    /* The same when it is away in the middle of it. */
    cluster_crash(s.c, 3);
    s.dead[3] = true;
    play(&s, 100, NULL);
    assert_int_equal(members(&s), WHO(1, 2, 3));
    cluster_start(s.c, 3);
    cluster_rebuild(s.c, 3);
    s.dead[3] = false;
    cluster_heal(s.c);
    settle_in_small_steps(&s);
    assert_int_equal(voters(&s), 0x1e);
    expect_read(s.c, 3, 1, 1, "{\"id\":\"1\"");
    stage_end(&s);
}

static void one_that_is_rebuilt_may_go(void **state)
{
    (void)state;
    struct stage s = stage_of_a_rebuild();
    order(&s, 1u << 1 | 1u << 2);
    settle_in_small_steps(&s);
    assert_int_equal(members(&s), 1u << 1 | 1u << 2);
    stage_end(&s);
}

static bool is_written(struct stage *s, raft_id at)
{
    play(s, 100, NULL);
    int err =
        written(s->c, at, OP_UPSERT, cluster_at(1, 31), "{\"id\":\"z\"", NULL);
    assert_true(err == ERR_OK || err == ERR_UNAVAILABLE);
    return err == ERR_OK;
}

/* Regions 1 and 2 and a witness, 3; region 4 takes the place of 2, or of 1,
 * which writes. Whichever region is lost then, the other goes on with what was
 * acknowledged. */
static void exchange(raft_id goes, raft_id lost, enum consistency_level level)
{
    static const raft_region list[] = {1, 2, 4};
    struct govern_member members[3];
    uint32_t n = 0;
    struct stage s = stage_new(
        level,
        &(struct cluster_options){
            .nodes = 4, .spares = 1, .regions = regions_of_five, .witness = 3});
    s.rec.n_members = 3;
    memcpy(s.rec.members, five, 3 * sizeof(five[0]));
    s.rec.witness = five[2];
    s.rec.n_regions = 2;
    stage_settle(&s);
    for (unsigned i = 0; i < 20; i++)
        put(s.c, 1, 1, i, "{\"id\":\"x\"");
    for (raft_id id = 1; id <= 4; id++)
        if (id != goes)
            members[n++] = five[id - 1];
    assert_int_equal(
        govern_set_members(&s.rec, members, n, list, 3, 0, "", &s.rec), ERR_OK);
    settle_in_small_steps(&s);
    raft_id leader = stage_leader(&s);
    assert_int_equal(voters(&s), 0x1e & ~(1u << goes));
    assert_true(raft_config_is_witness(config_of_leader(&s), 3));
    put(s.c, leader, 1, 30, "{\"id\":\"y\"");
    cluster_turns(s.c, 100);
    assert_int_equal(cluster_payloads(s.c, 3), 0);
    /* Its loss is decided on, as the controller does. */
    govern_set_settled(&s.rec, &s.rec);
    govern_drop_leaving(&s.rec, &s.rec);
    raft_id left = (raft_id)(1 + 2 + 4 - goes - lost);
    s.dead[lost] = true;
    cluster_crash(s.c, lost);
    govern_set_down(&s.rec, govern_region_bit((raft_region)lost), &s.rec);
    if (s.rec.write_region == lost)
        assert_int_equal(govern_switch(&s.rec, (raft_region)left, true, false,
                                       0, "", &s.rec),
                         ERR_OK);
    play(&s, 100, NULL); /* all are told */
    assert_true(play(&s, 5000, settled_everywhere));
    assert_int_equal(stage_leader(&s), left);
    /* With bounded staleness it has to hear first how far the others are. */
    for (unsigned tries = 0; !is_written(&s, left); tries++)
        assert_true(tries < 100);
    assert_int_equal(cluster_payloads(s.c, 3), 0);
    stage_end(&s);
}

static void a_region_is_exchanged_beside_a_witness(void **state)
{
    (void)state;
    for (int level = 0; level < CONSISTENCY_COUNT; level++) {
        exchange(2, 1, (enum consistency_level)level);
        exchange(2, 4, (enum consistency_level)level);
        exchange(1, 2, (enum consistency_level)level);
        exchange(1, 4, (enum consistency_level)level);
    }
}

static void a_witness_comes_as_one(void **state)
{
    (void)state;
    struct stage s = stage_new(
        CONSISTENCY_SESSION,
        &(struct cluster_options){
            .nodes = 3, .spares = 1, .regions = regions_of_five, .witness = 3});
    s.rec.n_members = 3;
    memcpy(s.rec.members, five, 3 * sizeof(five[0]));
    s.rec.witness = five[2];
    s.rec.n_regions = 2;
    settle_in_small_steps(&s);
    const struct raft_member *m = raft_config_find(config_of_leader(&s), 3);
    assert_true(m != NULL && m->voter && m->witness);
    assert_false(raft_config_is_witness(config_of_leader(&s), 2));
    put(s.c, 1, 1, 1, "{\"id\":\"1\"");
    cluster_turns(s.c, 100);
    assert_int_equal(cluster_payloads(s.c, 3), 0);
    stage_end(&s);
}

/* Regions 1 and 2, and nodes 3 and 4 that may be witnesses. */
static struct stage stage_of_two(enum consistency_level level)
{
    struct stage s =
        stage_new(level, &(struct cluster_options){.nodes = 4,
                                                   .spares = 2,
                                                   .regions = regions_of_five,
                                                   .witness = 3,
                                                   .other_witness = 4});
    s.rec.n_members = 2;
    memcpy(s.rec.members, five, 2 * sizeof(five[0]));
    s.rec.n_regions = 2;
    stage_settle(&s);
    for (unsigned i = 0; i < 20; i++)
        put(s.c, 1, 1, i, "{\"id\":\"x\"");
    return s;
}

static void order_witness(struct stage *s, raft_id witness)
{
    struct govern_member m = {witness, (raft_region)witness};
    assert_int_equal(govern_set_witness(&s->rec, m, 0, "", &s->rec), ERR_OK);
}

static uint32_t witnesses_that_vote(const struct raft_config *c)
{
    uint32_t n = 0;
    for (uint32_t i = 0; c != NULL && i < c->n; i++)
        n += c->members[i].voter && c->members[i].witness;
    return n;
}

/* Plays until the record is settled; at every turn so many witnesses vote. */
static void settle_with(struct stage *s, uint32_t least, uint32_t most)
{
    bool done = false;
    for (int turn = 0; turn < 10000 && !done; turn++) {
        done = settled_everywhere(s);
        play(s, 1, NULL);
        const struct raft_config *c = config_of_leader(s);
        assert_true(c == NULL || (witnesses_that_vote(c) >= least &&
                                  witnesses_that_vote(c) <= most));
    }
    assert_true(done);
    govern_set_settled(&s->rec, &s->rec);
    if (govern_has_leaving(&s->rec))
        govern_drop_leaving(&s->rec, &s->rec);
}

static void expect_no_payload(struct stage *s)
{
    put(s->c, stage_leader(s), 1, 30, "{\"id\":\"y\"");
    cluster_turns(s->c, 100);
    assert_int_equal(cluster_payloads(s->c, 3), 0);
    assert_int_equal(cluster_payloads(s->c, 4), 0);
}

/* One region of two is lost, and the other goes on. */
static void lose(struct stage *s, raft_id lost)
{
    raft_id left = (raft_id)(3 - lost);
    s->dead[lost] = true;
    cluster_crash(s->c, lost);
    govern_set_down(&s->rec, govern_region_bit((raft_region)lost), &s->rec);
    if (s->rec.write_region == lost)
        assert_int_equal(govern_switch(&s->rec, (raft_region)left, true, false,
                                       0, "", &s->rec),
                         ERR_OK);
    play(s, 100, NULL); /* all are told */
    assert_true(play(s, 5000, settled_everywhere));
    assert_int_equal(stage_leader(s), left);
    for (unsigned tries = 0; !is_written(s, left); tries++)
        assert_true(tries < 100);
}

static void a_witness_comes_and_either_region_may_be_lost(void **state)
{
    (void)state;
    for (int level = 0; level < CONSISTENCY_COUNT; level++) {
        for (raft_id lost = 1; lost <= 2; lost++) {
            struct stage s = stage_of_two((enum consistency_level)level);
            order_witness(&s, 3);
            settle_with(&s, 0, 1);
            assert_int_equal(voters(&s), WHO(1, 2, 3));
            expect_no_payload(&s);
            lose(&s, lost);
            assert_int_equal(cluster_payloads(s.c, 3), 0);
            stage_end(&s);
        }
    }
}

static void a_witness_is_replaced_in_one_step(void **state)
{
    (void)state;
    for (int level = 0; level < CONSISTENCY_COUNT; level++) {
        struct stage s = stage_of_two((enum consistency_level)level);
        order_witness(&s, 3);
        settle_with(&s, 0, 1);
        order_witness(&s, 4);
        settle_with(&s, 1, 1);
        assert_int_equal(voters(&s), WHO(1, 2, 4));
        expect_no_payload(&s);
        lose(&s, 1);
        assert_int_equal(cluster_payloads(s.c, 4), 0);
        stage_end(&s);
    }
}

static bool is_joint(const struct stage *s)
{
    const struct raft_config *c = config_of_leader(s);
    return c != NULL && c->joint;
}

static bool has_newcomer(const struct stage *s)
{
    const struct raft_config *c = config_of_leader(s);
    return c != NULL && raft_config_find(c, 4) != NULL;
}

/* It died before it voted, or just as the shard made the step: with or without
 * one before it, the others go back. */
static void a_dead_witness_is_taken_back(void **state)
{
    (void)state;
    for (int has_one = 0; has_one <= 1; has_one++) {
        for (int made = 0; made <= 1; made++) {
            struct stage s = stage_of_two(CONSISTENCY_SESSION);
            if (has_one) {
                order_witness(&s, 3);
                settle_with(&s, 0, 1);
            }
            s.dead[4] = !made;
            if (!made)
                cluster_crash(s.c, 4);
            order_witness(&s, 4);
            assert_true(play(&s, 5000, made ? is_joint : has_newcomer));
            if (made) {
                s.dead[4] = true;
                cluster_crash(s.c, 4);
            }
            play(&s, 3000, NULL);
            assert_int_equal(settled_everywhere(&s), made);
            order_witness(&s, has_one ? 3 : 0);
            settle_with(&s, 0, 1);
            assert_int_equal(members(&s), WHO(1, 2, has_one ? 3 : 2));
            put(s.c, stage_leader(&s), 1, 30, "{\"id\":\"y\"");
            if (has_one)
                lose(&s, 1);
            stage_end(&s);
        }
    }
}

/* The step is half made: both witnesses are needed, and there. */
static void a_region_is_lost_while_a_witness_is_replaced(void **state)
{
    (void)state;
    for (int level = 0; level < CONSISTENCY_COUNT; level++) {
        for (raft_id lost = 1; lost <= 2; lost++) {
            struct stage s = stage_of_two((enum consistency_level)level);
            order_witness(&s, 3);
            settle_with(&s, 0, 1);
            order_witness(&s, 4);
            assert_true(play(&s, 5000, is_joint));
            lose(&s, lost);
            assert_int_equal(voters(&s), WHO(1, 2, 4));
            stage_end(&s);
        }
    }
}

/* Also if it is dead, which is why it goes. */
static void a_witness_goes(void **state)
{
    (void)state;
    for (int dead = 0; dead <= 1; dead++) {
        struct stage s = stage_of_two(CONSISTENCY_SESSION);
        order_witness(&s, 3);
        settle_with(&s, 0, 1);
        if (dead)
            cluster_crash(s.c, 3);
        s.dead[3] = dead;
        order_witness(&s, 0);
        settle_with(&s, 0, 1);
        assert_int_equal(members(&s), WHO(1, 2, 2));
        put(s.c, 1, 1, 30, "{\"id\":\"y\"");
        stage_end(&s);
    }
}

/* Nothing could be committed without it. */
static void a_witness_stays_while_a_region_is_away(void **state)
{
    (void)state;
    struct stage s = stage_of_two(CONSISTENCY_SESSION);
    order_witness(&s, 3);
    settle_with(&s, 0, 1);
    for (raft_id id = 1; id <= 4; id++)
        cluster_cut(s.c, id, 2);
    play(&s, 1000, NULL);
    order_witness(&s, 0);
    play(&s, 3000, NULL);
    assert_int_equal(voters(&s), WHO(1, 2, 3));
    assert_false(config_of_leader(&s)->joint);
    cluster_heal(s.c);
    settle_with(&s, 0, 1);
    assert_int_equal(members(&s), WHO(1, 2, 2));
    stage_end(&s);
}

/* Who goes has to hear from the meta shard that the others are done. */
static void the_meta_shard_waits_until_the_others_have_settled(void **state)
{
    (void)state;
    struct stage s = stage_new(
        CONSISTENCY_STRONG,
        &(struct cluster_options){
            .nodes = 4, .spares = 1, .regions = regions_of_five, .meta = true});
    s.rec.n_members = 3;
    memcpy(s.rec.members, five, 3 * sizeof(five[0]));
    s.rec.settled = true;
    play(&s, 3000, NULL);
    order(&s, WHO(1, 2, 4));
    play(&s, 3000, NULL);
    /* Who comes does not wait. */
    assert_int_equal(voters(&s), WHO(1, 2, 3) | 1u << 4);
    s.rec.settled = true;
    play(&s, 3000, NULL);
    assert_int_equal(members(&s), WHO(1, 2, 4));
    stage_end(&s);
}

/* Nobody is named: nobody comes or goes. */
static void a_record_without_names_changes_nobody(void **state)
{
    (void)state;
    struct stage s = stage_of(4, CONSISTENCY_SESSION);
    s.rec.n_members = 0;
    play(&s, 2000, NULL);
    assert_int_equal(members(&s), WHO(1, 2, 3));
    stage_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_come_one_at_a_time),
        cmocka_unit_test(who_lags_does_not_vote),
        cmocka_unit_test(nobody_goes_before_those_vote_who_come),
        cmocka_unit_test(a_leader_that_goes_hands_over),
        cmocka_unit_test(nobody_who_goes_gets_the_leadership),
        cmocka_unit_test(nothing_changes_while_a_voter_is_rebuilt),
        cmocka_unit_test(one_that_is_rebuilt_may_go),
        cmocka_unit_test(a_witness_comes_as_one),
        cmocka_unit_test(a_witness_comes_and_either_region_may_be_lost),
        cmocka_unit_test(a_witness_is_replaced_in_one_step),
        cmocka_unit_test(a_dead_witness_is_taken_back),
        cmocka_unit_test(a_region_is_lost_while_a_witness_is_replaced),
        cmocka_unit_test(a_witness_goes),
        cmocka_unit_test(a_witness_stays_while_a_region_is_away),
        cmocka_unit_test(a_region_is_exchanged_beside_a_witness),
        cmocka_unit_test(the_meta_shard_waits_until_the_others_have_settled),
        cmocka_unit_test(a_record_without_names_changes_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
