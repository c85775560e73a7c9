/* The trail against a plain array, under random operations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "consensus/trail.h"
#include "node/base/err.h"
#include "node/base/prng.h"

#define LSN_MAX 4000

/* Everything there ever was, by LSN; the trail must agree above its base. */
struct twin {
    uint64_t term[LSN_MAX + 1];
    uint32_t epoch[LSN_MAX + 1]; /* of a CONFIG entry, else 0 */
    uint64_t base;
    uint64_t last;
};

static struct raft_config config_of(uint32_t epoch)
{
    struct raft_config c = {.epoch = epoch};
    struct raft_member m = {.id = 1, .region = 1, .voter = true};
    assert_int_equal(raft_config_add(&c, m), ERR_OK);
    return c;
}

static uint32_t twin_epoch_at(const struct twin *w, uint64_t lsn)
{
    while (lsn > 0 && w->epoch[lsn] == 0)
        lsn--;
    return w->epoch[lsn];
}

static void compare(const struct trail *t, const struct twin *w, struct prng *p)
{
    assert_int_equal(trail_last_lsn(t), w->last);
    assert_int_equal(trail_last_term(t), w->term[w->last]);
    assert_int_equal(trail_config(t)->epoch, twin_epoch_at(w, w->last));
    uint64_t lsn = prng_range(p, w->base, w->last);
    uint64_t term = 0;
    assert_int_equal(trail_term(t, lsn, &term), ERR_OK);
    assert_int_equal(term, w->term[lsn]);
    assert_int_equal(trail_config_at(t, lsn)->epoch, twin_epoch_at(w, lsn));
    assert_int_equal(trail_term(t, w->last + 1, &term), ERR_NOT_FOUND);
    if (w->base > 0)
        assert_int_equal(trail_term(t, w->base - 1, &term), ERR_NOT_FOUND);
    uint64_t most = prng_below(p, w->term[w->last] + 2);
    uint64_t agree = lsn;
    while (agree > w->base && w->term[agree] > most)
        agree--;
    assert_int_equal(trail_find_agreement(t, lsn, most), agree);
}

static void append(struct trail *t, struct twin *w, struct prng *p)
{
    if (w->last == LSN_MAX)
        return;
    struct raft_config c = config_of((uint32_t)prng_range(p, 1, 1000));
    bool is_config = prng_one_in(p, 10);
    struct raft_entry e = {
        .term = w->term[w->last] + prng_one_in(p, 5),
        .size = (uint32_t)prng_below(p, 100),
        .type = is_config ? RAFT_ENTRY_CONFIG : RAFT_ENTRY_DATA,
        .config = is_config ? &c : NULL,
    };
    if (e.term == 0)
        e.term = 1;
    trail_append(t, &e);
    w->last++;
    w->term[w->last] = e.term;
    w->epoch[w->last] = is_config ? c.epoch : 0;
    assert_int_equal(trail_item(t, w->last)->size, e.size);
}

static void operations_agree_with_an_array(void **state)
{
    (void)state;
    struct prng p;
    prng_seed(&p, 5);
    for (int round = 0; round < 20; round++) {
        static struct twin w;
        w = (struct twin){0};
        w.epoch[0] = 5000;
        struct raft_config first = config_of(5000);
        struct trail t;
        trail_init(&t, 0, 0, &first);
        for (int i = 0; i < 6000; i++) {
            uint64_t what = prng_below(&p, 100);
            if (what < 90) {
                append(&t, &w, &p);
            } else if (what < 95 && w.last > w.base) {
                uint64_t from = prng_range(&p, w.base + 1, w.last);
                trail_truncate(&t, from);
                w.last = from - 1;
            } else if (w.last > w.base) {
                w.base = prng_range(&p, w.base, w.last);
                if (w.base > t.base_lsn)
                    trail_compact(&t, w.base);
            }
            compare(&t, &w, &p);
        }
        trail_free(&t);
    }
}

static void a_reset_starts_after_the_snapshot(void **state)
{
    (void)state;
    struct raft_config first = config_of(1);
    struct raft_config later = config_of(2);
    struct trail t;
    trail_init(&t, 0, 0, &first);
    struct raft_entry e = {.term = 3, .type = RAFT_ENTRY_DATA};
    trail_append(&t, &e);
    trail_reset(&t, 50, 7, &later);
    assert_int_equal(trail_last_lsn(&t), 50);
    assert_int_equal(trail_last_term(&t), 7);
    assert_int_equal(trail_config(&t)->epoch, 2);
    e.term = 8;
    trail_append(&t, &e);
    assert_int_equal(trail_last_lsn(&t), 51);
    trail_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_agree_with_an_array),
        cmocka_unit_test(a_reset_starts_after_the_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
