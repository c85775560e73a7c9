/* What the active faults do to the link between two nodes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "node/base/check.h"
#include "node/server/faults_link.h"

static struct inject_list list;

static int reset(void **state)
{
    (void)state;
    memset(&list, 0, sizeof(list));
    return 0;
}

static void add(struct inject_fault f)
{
    const struct inject_active *a;
    assert_int_equal(inject_list_add(&list, &f, 1, &a), ERR_OK);
}

static const struct faults_node_name a1 = {"a", "a-1"}, a2 = {"a", "a-2"},
                                     b1 = {"b", "b-1"}, c1 = {"c", "c-1"};

static struct impairment out_of(struct faults_node_name own,
                                struct faults_node_name peer)
{
    struct impairment out = {.delay_us = 7}, in = {.cut = false};
    faults_link_derive(&list, own, peer, &out, &in);
    return out;
}

static struct impairment in_of(struct faults_node_name own,
                               struct faults_node_name peer)
{
    struct impairment out = {.delay_us = 7}, in = {.cut = false};
    faults_link_derive(&list, own, peer, &out, &in);
    return in;
}

static void without_faults_nothing_changes(void **state)
{
    (void)state;
    assert_int_equal(out_of(a1, b1).delay_us, 7);
    struct impairment in = in_of(a1, b1);
    assert_true(impairment_none(&in));
}

/* Which of a1 -> b1, b1 -> a1, a1 -> a2, c1 -> a1 a cut strikes: both ends of
 * each must think the same. */
static void names_choose_directions(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        bool both, ab, ba, aa, ca;
    } rows[] = {
        {"a", "b", false, true, false, false, false},
        {"a", "b", true, true, true, false, false},
        {"a-1", "b-1", false, true, false, false, false},
        {"a-2", "b", true, false, false, false, false},
        {"a-1", "a-2", false, false, false, true, false},
        {"a", "a", false, false, false, true, false},
        /* A region and the rest: the region stays whole. */
        {"a", "*", false, true, false, false, false},
        {"a", "*", true, true, true, false, true},
        {"*", "a", false, false, true, false, true},
        /* A node and the rest. */
        {"a-1", "*", false, true, false, true, false},
        {"*", "a-2", false, false, false, true, false},
        {"*", "*", false, true, true, true, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct inject_fault f = {.kind = INJECT_CUT, .both = rows[i].both};
        strcpy(f.from, rows[i].from);
        strcpy(f.to, rows[i].to);
        reset(NULL);
        add(f);
        const struct {
            struct faults_node_name from, to;
            bool cut;
        } links[] = {{a1, b1, rows[i].ab},
                     {b1, a1, rows[i].ba},
                     {a1, a2, rows[i].aa},
                     {c1, a1, rows[i].ca}};
        for (size_t k = 0; k < ARRAY_LEN(links); k++) {
            assert_int_equal(out_of(links[k].from, links[k].to).cut,
                             links[k].cut);
            assert_int_equal(in_of(links[k].to, links[k].from).cut,
                             links[k].cut);
        }
    }
}

static void faults_add_up_with_the_distance(void **state)
{
    (void)state;
    struct inject_fault slow = {.kind = INJECT_DELAY,
                                .from = "a",
                                .to = "*",
                                .both = true,
                                .delay_ms = 2,
                                .jitter_ms = 1};
    add(slow);
    add(slow);
    struct impairment i = out_of(a1, b1);
    assert_int_equal(i.delay_us, 4007);
    assert_int_equal(i.jitter_us, 2000);
    assert_int_equal(out_of(b1, c1).delay_us, 7);
    /* `both` where one direction is already meant twice counts once. */
    reset(NULL);
    strcpy(slow.from, "*");
    add(slow);
    assert_int_equal(out_of(a1, b1).delay_us, 2007);
}

static void each_kind_has_its_end(void **state)
{
    (void)state;
    struct inject_fault f = {.from = "a", .to = "b", .permille = 100};
    f.kind = INJECT_LOSS;
    add(f);
    f.kind = INJECT_DUPLICATE;
    f.permille = 200;
    add(f);
    f.kind = INJECT_BANDWIDTH;
    f.kbit_per_second = 64;
    add(f);
    f.kind = INJECT_SLOW_CLOSE;
    f.delay_ms = 300;
    add(f);
    f.kind = INJECT_HANDSHAKE;
    f.permille = 500;
    add(f);
    struct impairment out = out_of(a1, b1), in = in_of(b1, a1);
    assert_true(impairment_ok(IMPAIR_OUT, &out));
    assert_true(impairment_ok(IMPAIR_IN, &in));
    assert_int_equal(out.loss_permille, 100);
    assert_int_equal(out.duplicate_permille, 200);
    assert_int_equal(out.kbit_per_second, 64);
    assert_int_equal(in.close_delay_us, 300000);
    assert_int_equal(in.handshake_permille, 500);
    in = in_of(a1, b1);
    assert_true(impairment_none(&in));
    assert_int_equal(out_of(b1, a1).loss_permille, 0);
}

static void bad_certificates_are_bad_for_everybody_else(void **state)
{
    (void)state;
    add((struct inject_fault){
        .kind = INJECT_CERTIFICATE, .at = "a", .problem = INJECT_REVOKED});
    assert_int_equal(in_of(b1, a1).certificate, IMPAIR_CERT_REVOKED);
    assert_int_equal(in_of(a2, a1).certificate, IMPAIR_CERT_REVOKED);
    assert_int_equal(in_of(a1, b1).certificate, IMPAIR_CERT_GOOD);
    assert_int_equal(in_of(b1, c1).certificate, IMPAIR_CERT_GOOD);
}

static void who_is_down_is_cut_off(void **state)
{
    (void)state;
    add((struct inject_fault){.kind = INJECT_DOWN, .at = "a"});
    assert_true(faults_link_down(&list, a1));
    assert_false(faults_link_down(&list, b1));
    assert_true(out_of(a1, b1).cut && in_of(a1, b1).cut);
    assert_true(out_of(a1, a2).cut && in_of(a1, a2).cut);
    assert_false(out_of(b1, c1).cut);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(without_faults_nothing_changes, reset),
        cmocka_unit_test_setup(names_choose_directions, reset),
        cmocka_unit_test_setup(faults_add_up_with_the_distance, reset),
        cmocka_unit_test_setup(each_kind_has_its_end, reset),
        cmocka_unit_test_setup(bad_certificates_are_bad_for_everybody_else,
                               reset),
        cmocka_unit_test_setup(who_is_down_is_cut_off, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
