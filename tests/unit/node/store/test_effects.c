/* Effects survive encoding, and no foreign bytes get past effects_open. */
#include "store_test.h"

#include "node/base/err.h"

static struct entry *sample(void)
{
    struct effects_builder b;
    struct effects_head head = {.op_id = {1, 2, 3},
                                .status = 201,
                                .rid = 0x1122334455667788u,
                                .opaque = bytes_str("opaque")};
    struct entry *e;
    uint8_t *room;
    assert_int_equal(effects_begin(&b, &head), 0);
    assert_int_equal(effects_put(&b, bytes_str("k1"), bytes_str("v1")), 0);
    assert_int_equal(effects_put_room(&b, bytes_str("k2"), 5, &room), 0);
    memcpy(room, "value", 5);
    assert_int_equal(effects_delete(&b, bytes_str("k3")), 0);
    assert_int_equal(effects_put(&b, bytes_str("k4"), bytes_of(NULL, 0)), 0);
    assert_int_equal(effects_finish(&b, 7, 3, 9, &e), 0);
    return e;
}

static void what_is_built_is_read(void **state)
{
    (void)state;
    struct entry *e = sample();
    assert_int_equal(e->lsn, 7);
    assert_int_equal(e->term, 3);
    assert_int_equal(e->type, 9);
    struct effects_head head;
    struct effects_iter it;
    struct effect f;
    assert_int_equal(effects_open(entry_payload(e), &head, &it), 0);
    assert_int_equal(head.status, 201);
    assert_true(head.rid == 0x1122334455667788u);
    assert_int_equal(head.op_id[2], 3);
    assert_true(bytes_equal(head.opaque, bytes_str("opaque")));
    static const struct {
        enum effect_kind kind;
        const char *key, *value;
    } expected[] = {{EFFECT_PUT, "k1", "v1"},
                    {EFFECT_PUT, "k2", "value"},
                    {EFFECT_DELETE, "k3", ""},
                    {EFFECT_PUT, "k4", ""}};
    for (size_t i = 0; i < 4; i++) {
        assert_true(effects_next(&it, &f));
        assert_int_equal(f.kind, expected[i].kind);
        assert_true(bytes_equal(f.key, bytes_str(expected[i].key)));
        assert_true(bytes_equal(f.value, bytes_str(expected[i].value)));
    }
    assert_false(effects_next(&it, &f));
    entry_unref(e);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    struct entry *e = sample();
    for (size_t len = 0; len < e->len; len++) {
        struct effects_head head;
        struct effects_iter it;
        uint8_t *copy = malloc(len + 1); /* so that a sanitizer sees overruns */
        memcpy(copy, e->data, len);
        uint8_t *exact = realloc(copy, len == 0 ? 1 : len);
        assert_int_equal(effects_open(bytes_of(exact, len), &head, &it),
                         ERR_MALFORMED);
        free(exact);
    }
    entry_unref(e);
}

static void flipped_bits_never_break_the_reader(void **state)
{
    (void)state;
    struct entry *e = sample();
    for (size_t bit = 0; bit < 8u * e->len; bit++) {
        struct effects_head head;
        struct effects_iter it;
        struct effect f;
        e->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (effects_open(entry_payload(e), &head, &it) == ERR_OK) {
            while (effects_next(&it, &f))
                assert_in_range(f.key.len, 1, EFFECTS_KEY_MAX);
        }
        e->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    entry_unref(e);
}

static void limits_are_kept(void **state)
{
    (void)state;
    struct entry *e;
    struct effects_builder b;
    struct effects_head head = {0};
    uint8_t *room;
    assert_int_equal(entry_new(1, 1, 1, (size_t)ENTRY_MAX_BYTES + 1, &e),
                     ERR_LIMIT);
    assert_int_equal(effects_begin(&b, &head), 0);
    for (int i = 0; i < EFFECTS_COUNT_MAX; i++)
        assert_int_equal(effects_delete(&b, bytes_str("k")), 0);
    assert_int_equal(effects_delete(&b, bytes_str("k")), ERR_LIMIT);
    effects_builder_free(&b);
    assert_int_equal(effects_begin(&b, &head), 0);
    assert_int_equal(
        effects_put_room(&b, bytes_str("k"), ENTRY_MAX_BYTES, &room),
        ERR_LIMIT);
    effects_builder_free(&b);
    head.opaque = bytes_of("", EFFECTS_OPAQUE_MAX + 1);
    assert_int_equal(effects_begin(&b, &head), ERR_LIMIT);
    effects_builder_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_built_is_read),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(flipped_bits_never_break_the_reader),
        cmocka_unit_test(limits_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
