/* A bit that flips in the store is in the value that is read, and only there;
 * a read that fails says so. */
#include "store_test.h"

#include "node/base/err.h"
#include "node/base/fault.h"
#include "node/store/engine.h"
#include "node/store/view.h"

#define RECORDS 40
#define LARGE 9000 /* pages of its own */

static char dir[64];
static struct err_msg msg;

static int setup(void **state)
{
    (void)state;
    scratch_make(dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fault_arm(NULL, NULL);
    scratch_remove(dir);
    return 0;
}

static struct engine *must_open(void)
{
    char path[80];
    snprintf(path, sizeof(path), "%s/1", dir);
    struct engine_options options = {.path = path};
    struct engine *e;
    if (engine_open(&options, &msg, &e) != ERR_OK)
        fail_msg("%s", msg.text);
    return e;
}

static void key_of(int n, char out[16])
{
    snprintf(out, 16, "key%03d", n);
}

static void fill(struct engine *e, const char *value)
{
    struct memtable *m = memtable_new(1 << 20);
    char key[16];
    for (int n = 1; n <= RECORDS; n++) {
        key_of(n, key);
        struct entry *entry = one_effect((uint64_t)n, 1, bytes_str(key), value);
        assert_int_equal(memtable_apply(m, entry), ERR_OK);
        entry_unref(entry);
    }
    struct flush *f = flush_new(0, RECORDS, 1);
    while (!flush_collect(f, m, 7))
        ;
    assert_int_equal(engine_flush(e, f), ERR_OK);
    engine_flush_done(e, f);
    flush_free(f);
    memtable_free(m);
}

/* Bits in which what is stored under a key differs from what was put. */
static unsigned damaged_bits(struct engine *e, int n, const char *value)
{
    struct kv kv = engine_kv(e);
    struct bytes found;
    unsigned bits = 0;
    char key[16];
    key_of(n, key);
    assert_int_equal(kv_begin(kv), ERR_OK);
    assert_int_equal(kv_get(kv, bytes_str(key), &found), ERR_OK);
    size_t len = strlen(value);
    assert_true(found.len >= len);
    const uint8_t *text = found.data + (found.len - len);
    for (size_t i = 0; i < len; i++)
        bits += (unsigned)__builtin_popcount(text[i] ^ (uint8_t)value[i]);
    kv_end(kv);
    return bits;
}

static void flips_one_bit_of(const char *value)
{
    struct engine_flip flip;
    struct engine *e = must_open();
    fill(e, value);
    assert_int_equal(engine_flip_bit(e, &flip), ERR_OK);
    for (int turn = 0; turn < 2; turn++) {
        unsigned bits = 0;
        for (int n = 1; n <= RECORDS; n++)
            bits += damaged_bits(e, n, value);
        assert_int_equal(bits, 1);
        engine_close(e); /* and in the file */
        e = must_open();
    }
    engine_close(e);
}

static void one_bit_of_a_small_value_flips(void **state)
{
    (void)state;
    flips_one_bit_of("a value that is long enough for this to be sure of it");
}

static void one_bit_of_a_large_value_flips(void **state)
{
    (void)state;
    char value[LARGE + 1];
    memset(value, 'x', LARGE);
    value[LARGE] = '\0';
    flips_one_bit_of(value);
}

static void there_must_be_something_to_damage(void **state)
{
    (void)state;
    struct engine_flip flip;
    struct engine *e = must_open();
    assert_int_equal(engine_flip_bit(e, &flip), ERR_NOT_FOUND);
    fill(e, "short");
    assert_int_equal(engine_flip_bit(e, &flip), ERR_NOT_FOUND);
    engine_close(e);
}

static void a_read_that_fails_says_so(void **state)
{
    (void)state;
    struct engine *e = must_open();
    struct kv kv = engine_kv(e);
    struct kv_iter *it;
    struct bytes key, value;
    fill(e, "value");
    fault_set("store.read", FAULT_EIO);
    assert_int_equal(kv_begin(kv), ERR_OK);
    assert_int_equal(kv_get(kv, bytes_str("key001"), &value), ERR_IO);
    assert_int_equal(kv_iter_open(kv, bytes_str("k"), bytes_str("l"), &it),
                     ERR_OK);
    assert_int_equal(kv_iter_next(it, &key, &value), ERR_IO);
    kv_iter_close(it);
    fault_set("store.read", FAULT_NONE);
    assert_int_equal(kv_get(kv, bytes_str("key001"), &value), ERR_OK);
    kv_end(kv);
    engine_close(e);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(one_bit_of_a_small_value_flips),
        TEST(one_bit_of_a_large_value_flips),
        TEST(there_must_be_something_to_damage),
        TEST(a_read_that_fails_says_so),
    };
    return cmocka_run_group_tests_name("engine_fault", tests, NULL, NULL);
}
