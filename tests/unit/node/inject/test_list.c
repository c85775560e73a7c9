/* The list of active faults: names, ends, whom they strike. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/inject/inject.h"

static struct inject_list list;

static int reset(void **state)
{
    (void)state;
    memset(&list, 0, sizeof(list));
    return 0;
}

static const struct inject_active *add(struct inject_fault f, usec_t now)
{
    const struct inject_active *a = NULL;
    assert_int_equal(inject_list_add(&list, &f, now, &a), ERR_OK);
    return a;
}

static void faults_get_names_of_their_own(void **state)
{
    (void)state;
    struct inject_fault cut = {.kind = INJECT_CUT};
    struct inject_fault named = {.kind = INJECT_CUT, .id = "f2"};
    const struct inject_active *a;
    assert_string_equal(add(cut, 1)->fault.id, "f1");
    assert_string_equal(add(named, 1)->fault.id, "f2");
    assert_string_equal(add(cut, 1)->fault.id, "f3"); /* f2 is taken */
    assert_int_equal(inject_list_add(&list, &named, 1, &a), ERR_EXISTS);
    assert_int_equal(inject_list_remove(&list, "f1"), ERR_OK);
    assert_int_equal(inject_list_remove(&list, "f1"), ERR_NOT_FOUND);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.active[0].fault.id, "f2");
    assert_string_equal(add(cut, 1)->fault.id, "f4"); /* never again f1 */
}

static void the_list_is_bounded(void **state)
{
    (void)state;
    struct inject_fault cut = {.kind = INJECT_CUT};
    const struct inject_active *a;
    for (int i = 0; i < INJECT_LIST_MAX; i++)
        add(cut, 1);
    assert_int_equal(inject_list_add(&list, &cut, 1, &a), ERR_FULL);
    assert_int_equal(inject_list_remove(&list, "f64"), ERR_OK);
    add(cut, 1);
}

static void faults_end_by_themselves(void **state)
{
    (void)state;
    assert_true(inject_list_next(&list) == USEC_NEVER);
    add((struct inject_fault){.kind = INJECT_CUT}, 100);
    assert_true(inject_list_next(&list) == USEC_NEVER);
    add((struct inject_fault){.kind = INJECT_CUT, .for_us = 50}, 100);
    add((struct inject_fault){.kind = INJECT_CUT, .for_us = 20}, 100);
    assert_true(inject_list_next(&list) == 120);
    assert_false(inject_list_expire(&list, 119));
    assert_true(inject_list_expire(&list, 120));
    assert_int_equal(list.count, 2);
    assert_true(inject_list_next(&list) == 150);
    assert_true(inject_list_expire(&list, 1000));
    assert_string_equal(list.active[0].fault.id, "f1");
    assert_false(inject_list_expire(&list, USEC_NEVER - 1));
}

static bool strikes(struct inject_request r)
{
    struct prng prng;
    prng_seed(&prng, 7);
    return inject_strikes(&list.active[list.count - 1], &r, &prng);
}

static void a_counted_fault_is_used_up(void **state)
{
    (void)state;
    struct inject_request r = {.operation = INJECT_OP_READ};
    add((struct inject_fault){.kind = INJECT_RESET,
                              .permille = 1000,
                              .count = 2},
        100);
    assert_true(strikes(r));
    assert_true(inject_list_next(&list) == USEC_NEVER);
    assert_true(strikes(r));
    assert_false(strikes(r));
    assert_int_equal(list.active[0].hits, 2);
    assert_true(inject_list_next(&list) <= 100);
    assert_true(inject_list_expire(&list, 100));
    assert_int_equal(list.count, 0);
}

static void filters_choose(void **state)
{
    (void)state;
    static const struct {
        enum inject_operation filter, asked;
        const char *database, *container;
        bool strikes;
    } rows[] = {
        {INJECT_OP_ANY, INJECT_OP_ACCOUNT, "", "", true},
        {INJECT_OP_READ, INJECT_OP_READ, "", "", true},
        {INJECT_OP_READ, INJECT_OP_QUERY, "", "", false},
        {INJECT_OP_WRITE, INJECT_OP_CREATE, "", "", true},
        {INJECT_OP_WRITE, INJECT_OP_UPSERT, "", "", true},
        {INJECT_OP_WRITE, INJECT_OP_REPLACE, "", "", true},
        {INJECT_OP_WRITE, INJECT_OP_DELETE, "", "", true},
        {INJECT_OP_WRITE, INJECT_OP_READ, "", "", false},
        {INJECT_OP_WRITE, INJECT_OP_METADATA, "", "", false},
        {INJECT_OP_ANY, INJECT_OP_READ, "shop", "orders", true},
        {INJECT_OP_ANY, INJECT_OP_READ, "shop", "", true},
        {INJECT_OP_ANY, INJECT_OP_READ, "", "orders", true},
        {INJECT_OP_ANY, INJECT_OP_READ, "sho", "", false},
        {INJECT_OP_ANY, INJECT_OP_READ, "", "order", false},
        {INJECT_OP_ANY, INJECT_OP_READ, "orders", "shop", false},
    };
    struct inject_request r = {.database = bytes_str("shop"),
                               .container = bytes_str("orders")};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct inject_fault f = {.kind = INJECT_RESPOND,
                                 .permille = 1000,
                                 .operation = rows[i].filter};
        strcpy(f.database, rows[i].database);
        strcpy(f.container, rows[i].container);
        add(f, 1);
        r.operation = rows[i].asked;
        assert_int_equal(strikes(r), rows[i].strikes);
    }
    add((struct inject_fault){.kind = INJECT_CUT, .permille = 1000}, 1);
    assert_false(strikes(r));
}

static void a_key_counts_once_it_is_known(void **state)
{
    (void)state;
    struct inject_request r = {.operation = INJECT_OP_READ,
                               .key = INJECT_SECONDARY};
    add((struct inject_fault){.kind = INJECT_KEY_ROTATED,
                              .key = INJECT_SECONDARY},
        1);
    assert_false(strikes(r));
    r.verified = true;
    assert_true(strikes(r));
    r.key = INJECT_PRIMARY;
    assert_false(strikes(r));
}

static void the_dice_are_fair(void **state)
{
    (void)state;
    struct inject_request r = {.operation = INJECT_OP_READ};
    struct prng prng;
    prng_seed(&prng, 1);
    add((struct inject_fault){.kind = INJECT_RESET, .permille = 125}, 1);
    for (int i = 0; i < 8000; i++)
        (void)inject_strikes(&list.active[0], &r, &prng);
    assert_in_range(list.active[0].hits, 900, 1100);
}

static void names_mean_nodes(void **state)
{
    (void)state;
    assert_true(inject_means("*", "east", "east-1"));
    assert_true(inject_means("east", "east", "east-1"));
    assert_true(inject_means("east-1", "east", "east-1"));
    assert_false(inject_means("east-2", "east", "east-1"));
    assert_false(inject_means("eas", "east", "east-1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(faults_get_names_of_their_own, reset),
        cmocka_unit_test_setup(the_list_is_bounded, reset),
        cmocka_unit_test_setup(faults_end_by_themselves, reset),
        cmocka_unit_test_setup(a_counted_fault_is_used_up, reset),
        cmocka_unit_test_setup(filters_choose, reset),
        cmocka_unit_test_setup(a_key_counts_once_it_is_known, reset),
        cmocka_unit_test_setup(the_dice_are_fair, reset),
        cmocka_unit_test(names_mean_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
