/* Page tokens: what goes in comes out, and nothing else does. */
#include "tests/unit/node/cosmos/fake.h"

#include "node/cosmos/continuation.h"

static struct keyed_hash *key;

static int setup(void **state)
{
    (void)state;
    uint8_t secret[SEAL_KEY_LEN] = {7};
    key = keyed_hash_new(secret);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    keyed_hash_free(key);
    return 0;
}

static const uint64_t scope[2] = {1, 2};

static void a_token_comes_back_as_it_was(void **state)
{
    (void)state;
    struct continuation in = {.kind = CONTINUATION_SCAN,
                              .scope = {1, 2},
                              .slot = 4,
                              .position = bytes_str("position"),
                              .skipped = 5,
                              .delivered = UINT64_MAX};
    struct continuation out;
    struct buf text, storage;
    buf_init(&text, CONTINUATION_TEXT_MAX);
    buf_init(&storage, CONTINUATION_TEXT_MAX);
    assert_int_equal(continuation_write(key, &in, &text), ERR_OK);
    struct bytes token = bytes_of(buf_bytes(&text), buf_len(&text));
    assert_int_equal(
        continuation_read(key, token, CONTINUATION_SCAN, scope, &storage, &out),
        ERR_OK);
    assert_int_equal(out.slot, 4);
    assert_true(bytes_equal(out.position, in.position));
    assert_int_equal(out.skipped, 5);
    assert_true(out.delivered == UINT64_MAX);

    static const uint64_t other[2] = {1, 3};
    assert_int_equal(continuation_read(key, token, CONTINUATION_MERGE, scope,
                                       &storage, &out),
                     ERR_MALFORMED);
    assert_int_equal(
        continuation_read(key, token, CONTINUATION_SCAN, other, &storage, &out),
        ERR_MALFORMED);
    /* No byte of it can be changed, and none be missing. */
    for (size_t i = 0; i < token.len; i++) {
        uint8_t was = text.data[i];
        text.data[i] = was == 'Q' ? 'R' : 'Q';
        assert_int_equal(continuation_read(key, token, CONTINUATION_SCAN, scope,
                                           &storage, &out),
                         ERR_MALFORMED);
        text.data[i] = was;
        assert_int_equal(continuation_read(key, bytes_of(token.data, i),
                                           CONTINUATION_SCAN, scope, &storage,
                                           &out),
                         ERR_MALFORMED);
    }
    buf_free(&text);
    buf_free(&storage);
}

static void floors_come_back_as_they_were(void **state)
{
    (void)state;
    char longest[OP_KEY_MAX];
    memset(longest, 'x', sizeof(longest));
    struct continuation in = {
        .kind = CONTINUATION_SCAN,
        .scope = {1, 2},
        .slot = 4,
        .position = bytes_str("position"),
        .floor_count = CONTINUATION_FLOORS_MAX,
        .floors = {{5, bytes_str("a")},
                   {7, bytes_of(longest, sizeof(longest))},
                   {8, bytes_str("c")},
                   {9, bytes_of(longest, sizeof(longest))}}};
    struct continuation back;
    struct buf text, storage;
    buf_init(&text, CONTINUATION_TEXT_MAX);
    buf_init(&storage, CONTINUATION_TEXT_MAX);
    assert_int_equal(continuation_write(key, &in, &text), ERR_OK);
    struct bytes token = bytes_of(buf_bytes(&text), buf_len(&text));
    assert_int_equal(continuation_read(key, token, CONTINUATION_SCAN, scope,
                                       &storage, &back),
                     ERR_OK);
    assert_int_equal(back.slot, 4);
    assert_true(bytes_equal(back.position, in.position));
    assert_int_equal(back.floor_count, in.floor_count);
    for (uint32_t i = 0; i < in.floor_count; i++) {
        assert_int_equal(back.floors[i].slot, in.floors[i].slot);
        assert_true(
            bytes_equal(back.floors[i].position, in.floors[i].position));
    }
    assert_int_equal(continuation_read(key, token, CONTINUATION_LIST, scope,
                                       &storage, &back),
                     ERR_MALFORMED);
    buf_free(&text);
    buf_free(&storage);
}

static void each_kind_has_its_fields(void **state)
{
    (void)state;
    struct continuation in = {.kind = CONTINUATION_LIST,
                              .scope = {1, 2},
                              .after = 3,
                              .token = bytes_str("{}")};
    struct continuation out;
    struct buf text, storage;
    buf_init(&text, CONTINUATION_TEXT_MAX);
    buf_init(&storage, CONTINUATION_TEXT_MAX);
    for (int i = 0; i < 2; i++) {
        buf_clear(&text);
        assert_int_equal(continuation_write(key, &in, &text), ERR_OK);
        assert_int_equal(
            continuation_read(key, bytes_of(buf_bytes(&text), buf_len(&text)),
                              in.kind, scope, &storage, &out),
            ERR_OK);
        assert_true(bytes_equal(out.token, in.token));
        assert_int_equal(out.after, i == 0 ? 3 : 0);
        in.kind = CONTINUATION_MERGE;
    }
    buf_free(&text);
    buf_free(&storage);
}

static void a_token_has_a_maximum(void **state)
{
    (void)state;
    static char text[CONTINUATION_TEXT_MAX];
    struct continuation in = {.kind = CONTINUATION_MERGE,
                              .token = bytes_of(text, sizeof(text) / 4 * 3)};
    struct buf out;
    memset(text, 'x', sizeof(text));
    buf_init(&out, CONTINUATION_TEXT_MAX);
    assert_int_equal(continuation_write(key, &in, &out), ERR_LIMIT);
    in.token.len -= 100;
    assert_int_equal(continuation_write(key, &in, &out), ERR_OK);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_token_comes_back_as_it_was, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(each_kind_has_its_fields, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(floors_come_back_as_they_were, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_token_has_a_maximum, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
