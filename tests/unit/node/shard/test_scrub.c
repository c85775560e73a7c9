/* Whose copy of a shard is wrong, and whether the shard does without it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/err.h"
#include "node/shard/scrub.h"

static struct raft_config config;
static struct scrub_answer answers[RAFT_MEMBERS_MAX];
static struct scrub_judgement judged;
static uint32_t n;

static int setup(void **state)
{
    (void)state;
    memset(answers, 0, sizeof(answers));
    config = (struct raft_config){.ack = RAFT_ACK_COMMIT};
    n = 0;
    return 0;
}

/* A voter whose records digest to `what`. */
static struct scrub_answer *voter(uint8_t what)
{
    struct scrub_answer *a = &answers[n++];
    a->node = (raft_id)n;
    a->voter = true;
    a->opened = 100;
    memset(a->whole, what, sizeof(a->whole));
    a->buckets[5][0] = what;
    return a;
}

static void expect(enum scrub_verdict a, enum scrub_verdict b,
                   enum scrub_verdict c)
{
    const enum scrub_verdict wanted[] = {a, b, c};
    scrub_judge(answers, n, &judged);
    for (uint32_t i = 0; i < n; i++)
        assert_string_equal(scrub_verdict_name(judged.of[i]),
                            scrub_verdict_name(wanted[i]));
}

/* In a configuration of those who answered. */
static bool spared_if(const bool *well, uint32_t target)
{
    config.n = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct raft_member m = {.id = answers[i].node,
                                      .region = 1,
                                      .voter = answers[i].voter,
                                      .witness = answers[i].witness};
        assert_int_equal(raft_config_add(&config, m), ERR_OK);
    }
    return scrub_spares(&config, answers, &judged, well, n, target);
}

static bool spared(uint32_t target)
{
    bool well[RAFT_MEMBERS_MAX];
    memset(well, true, sizeof(well));
    return spared_if(well, target);
}

static void all_agree(void **state)
{
    (void)state;
    voter(1), voter(1), voter(1);
    expect(SCRUB_FINE, SCRUB_FINE, SCRUB_FINE);
    assert_int_equal(judged.buckets, 0);
    assert_false(judged.unreadable);
}

static void a_majority_decides(void **state)
{
    (void)state;
    voter(1), voter(2), voter(1);
    expect(SCRUB_FINE, SCRUB_DIVERGENT, SCRUB_FINE);
    assert_int_equal(judged.buckets, 1 << 5);
    assert_true(spared(1));
    answers[1].damaged = 1;
    expect(SCRUB_FINE, SCRUB_DAMAGED, SCRUB_FINE);
}

static void a_majority_is_of_those_who_were_asked(void **state)
{
    (void)state;
    voter(1), voter(2), voter(1)->err = ERR_TIMEOUT;
    expect(SCRUB_DOUBT, SCRUB_DOUBT, SCRUB_UNKNOWN);
    assert_int_equal(judged.buckets, 1 << 5);
}

static void of_two_the_one_that_is_not_authentic_is_wrong(void **state)
{
    (void)state;
    voter(1), voter(2)->damaged = 3;
    expect(SCRUB_FINE, SCRUB_DAMAGED, SCRUB_UNKNOWN);
    answers[1].damaged = 0;
    expect(SCRUB_DOUBT, SCRUB_DOUBT, SCRUB_UNKNOWN);
}

static void three_that_differ_are_all_in_doubt(void **state)
{
    (void)state;
    voter(1), voter(2), voter(3);
    expect(SCRUB_DOUBT, SCRUB_DOUBT, SCRUB_DOUBT);
    answers[2].damaged = 1;
    expect(SCRUB_DOUBT, SCRUB_DOUBT, SCRUB_DOUBT);
    answers[1].damaged = 1;
    expect(SCRUB_FINE, SCRUB_DAMAGED, SCRUB_DAMAGED);
}

static void a_store_that_cannot_be_read_is_damaged(void **state)
{
    (void)state;
    voter(1), voter(1), voter(0)->err = ERR_CORRUPT;
    expect(SCRUB_FINE, SCRUB_FINE, SCRUB_DAMAGED);
    assert_true(spared(2));
}

static void what_is_authentic_nowhere_is_told(void **state)
{
    (void)state;
    voter(1)->damaged = 1;
    voter(1)->damaged = 1;
    voter(1)->damaged = 1;
    expect(SCRUB_DOUBT, SCRUB_DOUBT, SCRUB_DOUBT);
    assert_true(judged.unreadable);
    /* One has it as it was, but only one. */
    answers[1].damaged = 0;
    memset(answers[1].whole, 2, DIGEST_LEN);
    answers[1].buckets[5][0] = 2;
    expect(SCRUB_DAMAGED, SCRUB_FINE, SCRUB_DAMAGED);
    assert_false(spared(0));
}

static void a_majority_must_be_left(void **state)
{
    (void)state;
    bool well[RAFT_MEMBERS_MAX] = {true, true, true};
    voter(1), voter(2), voter(1);
    expect(SCRUB_FINE, SCRUB_DIVERGENT, SCRUB_FINE);
    assert_true(spared_if(well, 1));
    well[2] = false;
    assert_false(spared_if(well, 1));
    /* A learner is not needed, and does not help. */
    setup(state);
    voter(1), voter(1), voter(2)->voter = false;
    expect(SCRUB_FINE, SCRUB_FINE, SCRUB_DIVERGENT);
    assert_true(spared(2));
    setup(state);
    voter(1)->voter = false;
    voter(1), voter(2);
    expect(SCRUB_FINE, SCRUB_FINE, SCRUB_DIVERGENT);
    assert_false(spared(2));
}

/* Node i + 1 is answers[i]. */
static void member(raft_region region, bool voter, bool voter_old)
{
    const struct raft_member m = {.id = config.n + 1,
                                  .region = region,
                                  .voter = voter,
                                  .voter_old = voter_old};
    assert_int_equal(raft_config_add(&config, m), ERR_OK);
}

static void a_majority_of_the_write_region_must_be_left(void **state)
{
    (void)state;
    bool well[RAFT_MEMBERS_MAX] = {true, true, true, true, true, true, true};
    for (int i = 0; i < 7; i++)
        voter(i == 2 ? 2 : 1), member(i < 3 ? 1 : 2, true, false);
    scrub_judge(answers, n, &judged);
    config.ack = RAFT_ACK_REGION;
    config.write_region = 1;
    assert_true(scrub_spares(&config, answers, &judged, well, n, 2));
    well[1] = false;
    assert_false(scrub_spares(&config, answers, &judged, well, n, 2));
    config.ack = RAFT_ACK_COMMIT;
    config.write_region = 0;
    assert_true(scrub_spares(&config, answers, &judged, well, n, 2));
}

static void a_majority_of_each_half_must_be_left(void **state)
{
    (void)state;
    bool well[RAFT_MEMBERS_MAX] = {true, true, true, true, true};
    config.joint = true;
    for (int i = 0; i < 5; i++)
        voter(i == 0 ? 2 : 1), member(1, i >= 2, i <= 2);
    scrub_judge(answers, n, &judged);
    assert_true(scrub_spares(&config, answers, &judged, well, n, 0));
    well[1] = false;
    assert_false(scrub_spares(&config, answers, &judged, well, n, 0));
}

static void a_witness_counts_as_a_voter_and_not_as_a_copy(void **state)
{
    (void)state;
    voter(1), voter(2)->damaged = 1;
    voter(0)->witness = true;
    expect(SCRUB_FINE, SCRUB_DAMAGED, SCRUB_WITNESS);
    assert_true(spared(1));
    answers[0].err = ERR_CORRUPT;
    expect(SCRUB_DAMAGED, SCRUB_DOUBT, SCRUB_WITNESS);
    assert_false(spared(0));
}

static bool renewed_if(const bool *well, uint32_t from, uint32_t target)
{
    scrub_judge(answers, n, &judged);
    return scrub_renews(answers, &judged, well, from, target);
}

/* Two voters: neither can be spared, and the right one renews the other. */
static void of_two_the_damaged_one_is_renewed(void **state)
{
    (void)state;
    bool well[RAFT_MEMBERS_MAX] = {true, true};
    voter(1), voter(2)->damaged = 1;
    answers[1].spoilt = 1 << 5;
    assert_true(renewed_if(well, 0, 1));
    assert_false(renewed_if(well, 1, 0));
    assert_false(spared(1));
    for (int i = 0; i < 2; i++) {
        well[i] = false;
        assert_false(renewed_if(well, 0, 1));
        well[i] = true;
    }
    answers[0].unknown = 1; /* not all of it was opened */
    assert_false(renewed_if(well, 0, 1));
    answers[0].unknown = 0;
    answers[0].damaged = 1;
    assert_false(renewed_if(well, 0, 1));
    answers[0].damaged = 0;
    answers[1].unknown = 1; /* nor could what comes be */
    assert_false(renewed_if(well, 0, 1));
    answers[1] = (struct scrub_answer){.node = 2, .err = ERR_CORRUPT};
    assert_true(renewed_if(well, 0, 1));
    answers[1].err = ERR_TIMEOUT; /* nobody knows */
    assert_false(renewed_if(well, 0, 1));
}

/* Its records beyond the damage may be the right ones. */
static void what_differs_beyond_the_damage_is_not_renewed(void **state)
{
    (void)state;
    bool well[RAFT_MEMBERS_MAX] = {true, true};
    voter(1), voter(2)->damaged = 1;
    answers[1].spoilt = 1 << 4; /* the difference is elsewhere */
    assert_false(renewed_if(well, 0, 1));
    answers[1].spoilt = 1 << 5;
    answers[1].records++;
    assert_false(renewed_if(well, 0, 1));
    answers[1].records--;
    assert_true(renewed_if(well, 0, 1));
    answers[1].damaged = 0; /* both read well: nobody can tell */
    assert_false(renewed_if(well, 0, 1));
}

/* A majority says that it differs, but cannot be left alone. */
static void a_divergent_one_is_never_renewed(void **state)
{
    (void)state;
    bool well[RAFT_MEMBERS_MAX] = {true, true, true};
    voter(1), voter(2), voter(1);
    assert_false(renewed_if(well, 0, 1));
    assert_int_equal(judged.of[1], SCRUB_DIVERGENT);
}

static void an_answer_travels(void **state)
{
    (void)state;
    struct scrub_answer back, *a = voter(7);
    struct buf wire;
    buf_init(&wire, 4096);
    a->err = ERR_STALE;
    a->records = 1;
    a->bytes = 2;
    a->unknown = 3;
    a->damaged = UINT64_MAX;
    a->spoilt = 0x8001;
    assert_int_equal(scrub_answer_encode(a, &wire), ERR_OK);
    struct bytes in = bytes_of(buf_bytes(&wire), buf_len(&wire));
    assert_int_equal(scrub_answer_decode(in, &back), ERR_OK);
    back.node = a->node;
    back.voter = true;
    assert_memory_equal(&back, a, sizeof(back));
    for (size_t len = 0; len < in.len; len++)
        assert_int_equal(scrub_answer_decode(bytes_of(in.data, len), &back),
                         ERR_MALFORMED);
    buf_free(&wire);
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_agree),
        TEST(a_majority_decides),
        TEST(a_majority_is_of_those_who_were_asked),
        TEST(of_two_the_one_that_is_not_authentic_is_wrong),
        TEST(three_that_differ_are_all_in_doubt),
        TEST(a_store_that_cannot_be_read_is_damaged),
        TEST(what_is_authentic_nowhere_is_told),
        TEST(a_majority_must_be_left),
        TEST(a_majority_of_the_write_region_must_be_left),
        TEST(a_majority_of_each_half_must_be_left),
        TEST(a_witness_counts_as_a_voter_and_not_as_a_copy),
        TEST(of_two_the_damaged_one_is_renewed),
        TEST(what_differs_beyond_the_damage_is_not_renewed),
        TEST(a_divergent_one_is_never_renewed),
        TEST(an_answer_travels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
