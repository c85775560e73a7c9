/* Session tokens: what we write, what we read of ours and of others', and the
 * floor for clients that send none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/prng.h"
#include "node/cosmos/session.h"

static void expect_point(const char *token, uint32_t range, uint32_t epoch,
                         uint64_t lsn)
{
    struct session_point p = {77, 77};
    int err = session_find(bytes_of(token, strlen(token)), range, &p);
    if (err != ERR_OK || p.epoch != epoch || p.lsn != lsn)
        fail_msg("'%s' range %u: err %d, %u#%llu", token, range, err, p.epoch,
                 (unsigned long long)p.lsn);
}

static void our_own_elements_come_back(void **state)
{
    (void)state;
    struct prng prng;
    prng_seed(&prng, 7);
    for (int i = 0; i < 1000; i++) {
        char text[2 * SESSION_ELEMENT_MAX + 2];
        uint32_t range = (uint32_t)prng_u64(&prng);
        struct session_point p = {(uint32_t)prng_u64(&prng),
                                  prng_u64(&prng) >> prng_u64(&prng) % 64};
        size_t len = session_format(text, range, p);
        assert_true(len <= SESSION_ELEMENT_MAX);
        text[len++] = ',';
        len +=
            session_format(text + len, range + 1, (struct session_point){1, 0});
        text[len] = '\0';
        expect_point(text, range, p.epoch, p.lsn);
        expect_point(text, range + 1, 1, 0);
        expect_point(text, range + 2, 0, 0);
    }
    char text[SESSION_ELEMENT_MAX];
    size_t len = session_format(text, 3, (struct session_point){2, 95});
    assert_int_equal(len, strlen("3:2#95#2=95"));
    assert_memory_equal(text, "3:2#95#2=95", len);
}

/* What SDKs make of "0:1#100#1=100" and then "0:2#95#2=95" (a forced failover
 * in between): the version and the larger LSN of the lost epoch. */
static void a_lost_epochs_lsn_does_not_leak_into_the_next(void **state)
{
    (void)state;
    expect_point("0:2#100#2=95", 0, 2, 95);
    expect_point("0:2#100#1=7#2=95#3=8", 0, 2, 95);
}

static void expect_part(const char *token, uint16_t shard, uint32_t epoch,
                        uint64_t lsn)
{
    struct session_point p = {77, 77};
    int err = session_find_part(bytes_of(token, strlen(token)), 0, shard, &p);
    if (err != ERR_OK || p.epoch != epoch || p.lsn != lsn)
        fail_msg("'%s' shard %u: err %d, %u#%llu", token, shard, err, p.epoch,
                 (unsigned long long)p.lsn);
}

/* tests/sdk/test_sessions.mjs says what SDKs make of two of them. */
static void a_range_of_several_shards_names_each(void **state)
{
    (void)state;
    static const struct session_part parts[] = {
        {1, {1, 100}}, {2, {0, 0}}, {4095, {(1u << 23) - 1, 5}}};
    char text[SESSION_PARTS_MAX(3) + 1];
    size_t len = session_format_parts(text, 0, 3, parts, 3);
    assert_true(len < sizeof(text));
    text[len] = '\0';
    assert_string_equal(text, "0:3#100#1=1099511627876#2=0"
                              "#4095=9223370937343148037");
    expect_part(text, 1, 1, 100);
    expect_part(text, 2, 0, 0);
    expect_part(text, 4095, (1u << 23) - 1, 5);
    expect_part(text, 7, 0, 0);
    expect_part("1:3#1#1=7", 1, 0, 0);
    expect_part("0:1#100#1=100", 1, 0, 100);
    expect_part("0:-1#5#1=7", 1, 0, 0);
    assert_int_equal(session_version(bytes_str(text), 0), 3);
    assert_int_equal(session_version(bytes_str(text), 1), 0);
    assert_int_equal(session_version(bytes_str("1:2#3,0:4#5#6=7"), 0), 4);
    assert_int_equal(session_version(bytes_str(""), 0), 0);
    assert_true(session_names(bytes_str(text), 0, 2)); /* though it is 0 */
    assert_false(session_names(bytes_str(text), 0, 7));
    assert_false(session_names(bytes_str(text), 1, 2));
    assert_false(session_names(bytes_str("0:3#5#1=1,0:4#5#6=7"), 0, 1));
    assert_false(session_names(bytes_str(""), 0, 1));
    struct session_point p;
    assert_int_equal(session_find_part(bytes_str("0:3#5#1"), 0, 1, &p),
                     ERR_MALFORMED);
    /* What does not fit is not told rather than told wrongly. */
    static const struct session_part odd[] = {{1, {1u << 23, 5}},
                                              {2, {1, UINT64_C(1) << 40}}};
    len = session_format_parts(text, 0, 2, odd, 2);
    text[len] = '\0';
    expect_part(text, 1, 0, 0);
    expect_part(text, 2, 0, 0);
}

static void other_forms_are_read(void **state)
{
    (void)state;
    expect_point("", 0, 0, 0);
    expect_point("0:5", 0, 0, 0);
    expect_point("0:-1#5", 0, 0, 0);
    expect_point("0:4#120", 0, 4, 120);
    expect_point("0:4#120#1=118#2=97", 0, 4, 120);
    expect_point("0:4#120#1=-1", 0, 4, 120);
    expect_point("0:4#120#4=-1", 0, 4, 0);
    expect_point("17:3#5, 0:1#9#1=9", 0, 1, 9);
    expect_point("17:3#5, 0:1#9#1=9", 17, 3, 5);
}

static void of_several_elements_the_furthest_counts(void **state)
{
    (void)state;
    expect_point("0:1#9,0:1#12,0:1#3", 0, 1, 12);
    expect_point("0:1#900,0:2#12", 0, 2, 12);
}

static void malformed_tokens_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "99999999999999999999:1#5",
        "zero",
        "0",
        "0:",
        ":1#2",
        "0:1#2,",
        ",0:1#2",
        "0:1#2,,",
        "0:1:2",
        "0:1#",
        "0:#2",
        "0:1#2#",
        "0:1#2#3",
        "0:1#2#3=",
        "0:1#2#=",
        "0:1#2#3=4#",
        "0:x#2",
        "0:1#NaN",
        "0:1.5#2",
        "0:1#2;1:1#2",
        "0:--1#5",
        "0:1#2 ",
        "a:1#2",
        "-1:1#2",
        "0:4294967296#1",
        "0:1#18446744073709551616",
        "0:1#2#x=3",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct session_point p = {77, 77};
        if (session_find(bytes_of(bad[i], strlen(bad[i])), 0, &p) !=
            ERR_MALFORMED)
            fail_msg("'%s' was accepted", bad[i]);
        assert_int_equal(p.epoch, 77);
    }
}

static void any_bytes_are_survived(void **state)
{
    (void)state;
    static const char alphabet[] = "0123456789:#=-, x";
    struct prng prng;
    prng_seed(&prng, 11);
    for (int i = 0; i < 20000; i++) {
        uint8_t text[40];
        size_t len = prng_u64(&prng) % sizeof(text);
        for (size_t k = 0; k < len; k++)
            text[k] =
                (uint8_t)alphabet[prng_u64(&prng) % (sizeof(alphabet) - 1)];
        struct session_point p;
        int err = session_find(bytes_of(text, len), 1, &p);
        assert_true(err == ERR_OK || err == ERR_MALFORMED);
    }
}

static void points_compare_by_epoch_first(void **state)
{
    (void)state;
    struct session_point a = {1, 100}, b = {2, 95}, c = {2, 96};
    assert_int_equal(session_compare(a, b), -1);
    assert_int_equal(session_compare(c, b), 1);
    assert_int_equal(session_compare(b, b), 0);
}

static void expect_floor(const struct session_floor *f, uint16_t shard,
                         uint32_t epoch, uint64_t lsn)
{
    struct session_point p = session_floor_get(f, shard);
    assert_int_equal(p.epoch, epoch);
    assert_int_equal(p.lsn, lsn);
}

static void a_floor_only_rises(void **state)
{
    (void)state;
    struct session_floor *f = session_floor_new(3);
    expect_floor(f, 1, 0, 0);
    session_floor_raise(f, 1, (struct session_point){1, 100});
    session_floor_raise(f, 1, (struct session_point){1, 90});
    expect_floor(f, 1, 1, 100);
    session_floor_raise(f, 1, (struct session_point){2, 90});
    expect_floor(f, 1, 2, 90);
    session_floor_raise(f, 1, (struct session_point){1, 200});
    expect_floor(f, 1, 2, 90);
    expect_floor(f, 2, 0, 0);
    /* Nothing that cannot be. */
    session_floor_raise(f, 3, (struct session_point){1, 1});
    expect_floor(f, 3, 0, 0);
    session_floor_raise(f, 2, (struct session_point){1, UINT64_C(1) << 40});
    session_floor_raise(f, 2, (struct session_point){1u << 24, 1});
    expect_floor(f, 2, 0, 0);
    session_floor_free(f);
    session_floor_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_own_elements_come_back),
        cmocka_unit_test(a_lost_epochs_lsn_does_not_leak_into_the_next),
        cmocka_unit_test(a_range_of_several_shards_names_each),
        cmocka_unit_test(other_forms_are_read),
        cmocka_unit_test(of_several_elements_the_furthest_counts),
        cmocka_unit_test(malformed_tokens_are_refused),
        cmocka_unit_test(any_bytes_are_survived),
        cmocka_unit_test(points_compare_by_epoch_first),
        cmocka_unit_test(a_floor_only_rises),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
