/* The memtable against a twin that keeps every version in one array. */
#include "store_test.h"

#include "node/base/err.h"
#include "node/base/mem.h"
#include "node/store/memtable.h"

#define TWIN_MAX 40000

struct twin_version {
    uint8_t key[EFFECTS_KEY_MAX];
    size_t key_len;
    uint64_t lsn;
    bool deleted;
    char value[24];
};

struct twin {
    struct twin_version *all;
    size_t count;
};

static struct bytes twin_key(const struct twin_version *v)
{
    return bytes_of(v->key, v->key_len);
}

static void twin_drop(struct twin *t,
                      bool (*doomed)(const struct twin_version *, uint64_t,
                                     struct bytes),
                      uint64_t lsn, struct bytes prefix)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->count; i++) {
        if (!doomed(&t->all[i], lsn, prefix))
            t->all[kept++] = t->all[i];
    }
    t->count = kept;
}

static bool at_or_above(const struct twin_version *v, uint64_t lsn,
                        struct bytes prefix)
{
    (void)prefix;
    return v->lsn >= lsn;
}
static bool at_or_below(const struct twin_version *v, uint64_t lsn,
                        struct bytes prefix)
{
    (void)prefix;
    return v->lsn <= lsn;
}
static bool with_prefix(const struct twin_version *v, uint64_t lsn,
                        struct bytes prefix)
{
    (void)lsn;
    return v->key_len >= prefix.len &&
           memcmp(v->key, prefix.data, prefix.len) == 0;
}

static const struct twin_version *twin_get(const struct twin *t,
                                           struct bytes key, uint64_t read_lsn)
{
    const struct twin_version *best = NULL;
    for (size_t i = 0; i < t->count; i++) {
        const struct twin_version *v = &t->all[i];
        if (v->lsn <= read_lsn && bytes_equal(twin_key(v), key) &&
            (best == NULL || v->lsn >= best->lsn))
            best = v;
    }
    return best;
}

/* The first key > `after` (or >= it) that is visible at read_lsn. */
static const struct twin_version *twin_next(const struct twin *t,
                                            struct bytes from, bool after,
                                            uint64_t read_lsn)
{
    const struct twin_version *best = NULL;
    for (size_t i = 0; i < t->count; i++) {
        const struct twin_version *v = &t->all[i];
        int order = bytes_compare(twin_key(v), from);
        if (v->lsn > read_lsn || order < 0 || (order == 0 && after))
            continue;
        if (best == NULL || bytes_compare(twin_key(v), twin_key(best)) < 0 ||
            (bytes_equal(twin_key(v), twin_key(best)) && v->lsn > best->lsn))
            best = v;
    }
    return best;
}

/* Few distinct bytes, so that keys share prefixes and are prefixes of others.
 */
static struct bytes random_key(struct prng *p, uint8_t room[EFFECTS_KEY_MAX])
{
    size_t len =
        prng_one_in(p, 3) ? prng_range(p, 1, 3) : prng_range(p, 14, 19);
    for (size_t i = 0; i < len; i++)
        room[i] = (uint8_t)(i < 13 && len > 3 ? 7 : prng_below(p, 4));
    return bytes_of(room, len);
}

static void check_same_version(const struct memtable_version *got,
                               const struct twin_version *expected)
{
    assert_true(got->lsn == expected->lsn);
    assert_int_equal(got->deleted, expected->deleted);
    assert_true(bytes_equal(got->key, twin_key(expected)));
    assert_true(bytes_equal(got->value, bytes_str(expected->value)));
}

static void check_get(const struct memtable *m, const struct twin *t,
                      struct bytes key, uint64_t read_lsn)
{
    struct memtable_version v;
    const struct twin_version *expected = twin_get(t, key, read_lsn);
    enum memtable_hit hit = memtable_get(m, key, read_lsn, &v);
    if (expected == NULL) {
        assert_int_equal(hit, MEMTABLE_MISS);
        return;
    }
    assert_int_equal(hit,
                     expected->deleted ? MEMTABLE_TOMBSTONE : MEMTABLE_FOUND);
    check_same_version(&v, expected);
}

static void check_walk(const struct memtable *m, const struct twin *t,
                       struct bytes from, bool after, uint64_t read_lsn,
                       size_t steps)
{
    struct memtable_iter it;
    struct memtable_version v;
    memtable_seek(m, from, after, read_lsn, &it);
    while (steps-- > 0) {
        const struct twin_version *expected =
            twin_next(t, from, after, read_lsn);
        assert_int_equal(memtable_next(&it, &v), expected != NULL);
        if (expected == NULL)
            return;
        check_same_version(&v, expected);
        from = twin_key(expected);
        after = true;
    }
}

static void twin_change(struct twin *t, struct bytes key, uint64_t lsn,
                        const char *value)
{
    assert_true(t->count < TWIN_MAX);
    struct twin_version *v = &t->all[t->count++];
    memset(v, 0, sizeof(*v));
    memcpy(v->key, key.data, key.len);
    v->key_len = key.len;
    v->lsn = lsn;
    v->deleted = value == NULL;
    if (value != NULL)
        strcpy(v->value, value);
}

static void change(struct memtable *m, struct twin *t, struct prng *p,
                   uint64_t lsn)
{
    uint8_t room[EFFECTS_KEY_MAX];
    char value[24];
    struct bytes key = random_key(p, room);
    snprintf(value, sizeof(value), "v%llu", (unsigned long long)lsn);
    bool put = !prng_one_in(p, 4);
    struct entry *e = one_effect(lsn, 1, key, put ? value : NULL);
    assert_int_equal(memtable_apply(m, e), ERR_OK);
    entry_unref(e);
    twin_change(t, key, lsn, put ? value : NULL);
}

static void random_operations_match_the_twin(void **state)
{
    (void)state;
    struct prng p = test_prng();
    struct twin t = {mem_alloc(TWIN_MAX * sizeof(*t.all)), 0};
    struct memtable *m = memtable_new(1 << 20);
    uint64_t lsn = 0, flushed = 0;
    size_t most_keys = 0;
    uint8_t room[EFFECTS_KEY_MAX];
    for (int step = 0; step < 30000; step++) {
        uint64_t read = prng_range(&p, flushed, lsn + 1);
        struct bytes key = random_key(&p, room);
        switch (prng_below(&p, 40)) {
        case 0:
            if (prng_one_in(&p, 10)) {
                uint64_t from = prng_range(&p, flushed + 1, lsn + 1);
                memtable_truncate(m, from);
                twin_drop(&t, at_or_above, from, key);
                lsn = from - 1;
            }
            break;
        case 1:
            if (prng_one_in(&p, 20)) {
                flushed = prng_range(&p, flushed, lsn);
                while (!memtable_trim(m, flushed, prng_range(&p, 1, 50)))
                    ;
                twin_drop(&t, at_or_below, flushed, key);
            }
            break;
        case 2:
            if (prng_one_in(&p, 10)) {
                key.len = prng_range(&p, 1, key.len);
                while (!memtable_drop_prefix(m, key, prng_range(&p, 1, 9)))
                    ;
                twin_drop(&t, with_prefix, 0, key);
            }
            break;
        case 3:
            check_walk(m, &t, key, prng_one_in(&p, 2), read, 12);
            break;
        case 4:
        case 5:
            check_get(m, &t, key, prng_one_in(&p, 2) ? read : MEMTABLE_NEWEST);
            break;
        default:
            change(m, &t, &p, ++lsn);
        }
        assert_int_equal(memtable_versions(m), t.count);
        if (memtable_keys(m) > most_keys)
            most_keys = memtable_keys(m);
    }
    check_walk(m, &t, bytes_of("", 0), false, MEMTABLE_NEWEST, SIZE_MAX);
    assert_true(most_keys > 300);
    memtable_clear(m);
    assert_int_equal(memtable_versions(m), 0);
    memtable_free(m);
    mem_free(t.all);
}

/* Many keys, so that the tree is deep, filled and emptied in several orders. */
static void deep_trees_fill_and_empty(void **state)
{
    (void)state;
    struct memtable *m = memtable_new(1 << 30);
    size_t empty_bytes = memtable_bytes(m);
    for (int order = 0; order < 3; order++) {
        enum { N = 60000 };
        for (uint32_t i = 0; i < N; i++) {
            uint32_t n = order == 0   ? i
                         : order == 1 ? N - 1 - i
                                      : i * 40503u % 65536u;
            uint8_t key[20] = {9};
            put_u32_be(key + 10, n);
            struct entry *e =
                one_effect(i + 1, 1, bytes_of(key, sizeof(key)), "x");
            assert_int_equal(memtable_apply(m, e), ERR_OK);
            entry_unref(e);
        }
        assert_int_equal(memtable_keys(m), N);
        struct memtable_iter it;
        struct memtable_version v;
        uint8_t last[20] = {0};
        size_t seen = 0;
        memtable_seek(m, bytes_of("", 0), false, MEMTABLE_NEWEST, &it);
        for (; memtable_next(&it, &v); seen++) {
            assert_true(memcmp(last, v.key.data, 20) < 0);
            memcpy(last, v.key.data, 20);
        }
        assert_int_equal(seen, N);
        if (order == 0)
            memtable_truncate(m, 1);
        else
            while (!memtable_trim(m, N, 100))
                ;
        assert_int_equal(memtable_keys(m), 0);
        assert_int_equal(memtable_versions(m), 0);
        assert_int_equal(memtable_bytes(m), empty_bytes);
    }
    memtable_free(m);
}

static void an_entry_lives_as_long_as_a_version_needs_it(void **state)
{
    (void)state;
    struct memtable *m = memtable_new(1 << 20);
    struct entry *e = one_effect(1, 1, bytes_str("key"), "value");
    assert_int_equal(memtable_apply(m, e), ERR_OK);
    assert_int_equal(e->refs, 2);
    struct memtable_version v;
    assert_int_equal(memtable_get(m, bytes_str("key"), 1, &v), MEMTABLE_FOUND);
    assert_ptr_equal(v.entry, e);
    assert_true(v.value.data > e->data && v.value.data < e->data + e->len);
    memtable_trim(m, 1, 10);
    assert_int_equal(e->refs, 1);
    entry_unref(e);
    memtable_free(m);
}

static void the_last_effect_of_an_entry_on_a_key_counts(void **state)
{
    (void)state;
    struct memtable *m = memtable_new(1 << 20);
    struct effects_builder b;
    struct effects_head head = {0};
    struct entry *e;
    struct memtable_version v;
    assert_int_equal(effects_begin(&b, &head), 0);
    effects_put(&b, bytes_str("k"), bytes_str("first"));
    effects_delete(&b, bytes_str("k"));
    effects_put(&b, bytes_str("k"), bytes_str("last"));
    assert_int_equal(effects_finish(&b, 5, 1, 1, &e), 0);
    assert_int_equal(memtable_apply(m, e), ERR_OK);
    assert_int_equal(memtable_versions(m), 1);
    assert_int_equal(memtable_get(m, bytes_str("k"), 5, &v), MEMTABLE_FOUND);
    assert_true(bytes_equal(v.value, bytes_str("last")));
    assert_int_equal(memtable_get(m, bytes_str("k"), 4, &v), MEMTABLE_MISS);
    entry_unref(e);
    memtable_free(m);
}

static void the_cap_is_for_admission(void **state)
{
    (void)state;
    struct memtable *m = memtable_new(4096);
    assert_true(memtable_has_room(m, 100));
    char value[4000];
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    struct entry *e = one_effect(1, 1, bytes_str("k"), value);
    assert_int_equal(memtable_apply(m, e), ERR_OK);
    assert_true(memtable_bytes(m) > 4096);
    assert_false(memtable_has_room(m, 0));
    assert_false(memtable_has_room(m, SIZE_MAX));
    memtable_trim(m, 1, 10);
    assert_true(memtable_has_room(m, 100));
    entry_unref(e);
    memtable_free(m);
}

static void damaged_effects_apply_nothing(void **state)
{
    (void)state;
    struct memtable *m = memtable_new(4096);
    struct entry *e;
    assert_int_equal(entry_copy(1, 1, 1, bytes_str("\1rubbish"), &e), 0);
    assert_int_equal(memtable_apply(m, e), ERR_MALFORMED);
    assert_int_equal(memtable_versions(m), 0);
    entry_unref(e);
    memtable_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_operations_match_the_twin),
        cmocka_unit_test(deep_trees_fill_and_empty),
        cmocka_unit_test(an_entry_lives_as_long_as_a_version_needs_it),
        cmocka_unit_test(the_last_effect_of_an_entry_on_a_key_counts),
        cmocka_unit_test(the_cap_is_for_admission),
        cmocka_unit_test(damaged_effects_apply_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
