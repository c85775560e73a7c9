/* Fault points: armed by text, hit by count, and hung until released. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/clock.h"
#include "node/base/fault.h"

static void nothing_happens_unless_armed(void **state)
{
    (void)state;
    assert_int_equal(fault_arm(NULL, NULL), ERR_OK);
    assert_int_equal(fault_hit("log.sync.before"), FAULT_NONE);
}

static void the_nth_hit_only(void **state)
{
    (void)state;
    assert_int_equal(
        fault_arm("log.sync.before=eio@2,store.commit.before=enospc", NULL),
        ERR_OK);
    assert_int_equal(fault_hit("log.sync.before"), FAULT_NONE);
    assert_int_equal(fault_err(fault_hit("log.sync.before")), ERR_IO);
    assert_int_equal(fault_hit("log.sync.before"), FAULT_NONE);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fault_err(fault_hit("store.commit.before")),
                         ERR_NO_SPACE);
    assert_int_equal(fault_arm("", NULL), ERR_OK);
    assert_int_equal(fault_hit("store.commit.before"), FAULT_NONE);
}

static void bad_lists_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"x=eio",
                                      "log.sync.before",
                                      "log.sync.before=boom",
                                      "log.sync.before=eio@0",
                                      "log.sync.before=delay:",
                                      "log.sync.before=delay:60001",
                                      "log.sync.before=delayed"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err_msg msg = {""};
        assert_int_equal(fault_arm(bad[i], &msg), ERR_INVALID);
        assert_non_null(strstr(msg.text, "fault '"));
    }
    fault_arm(NULL, NULL);
}

static void *sync_once(void *arg)
{
    (void)fault_hit("log.sync.before");
    __atomic_store_n((bool *)arg, true, __ATOMIC_RELAXED);
    return NULL;
}

static void a_hung_call_goes_on_when_released(void **state)
{
    (void)state;
    bool done = false;
    pthread_t thread;
    fault_set("log.sync.before", FAULT_HANG);
    assert_int_equal(fault_get("log.sync.before"), FAULT_HANG);
    assert_int_equal(fault_hit("log.sync.after"), FAULT_NONE);
    assert_int_equal(pthread_create(&thread, NULL, sync_once, &done), 0);
    usec_t until = clock_mono_us() + 30000;
    while (clock_mono_us() < until)
        assert_false(__atomic_load_n(&done, __ATOMIC_RELAXED));
    fault_set("log.sync.before", FAULT_NONE);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(done);
    assert_int_equal(fault_hit("log.sync.before"), FAULT_NONE);
}

static void a_delay_is_as_long_as_asked_and_comes_before_the_error(void **state)
{
    (void)state;
    usec_t start = clock_mono_us();
    assert_int_equal(fault_arm("log.sync.before=delay:30@2", NULL), ERR_OK);
    assert_int_equal(fault_hit("log.sync.before"), FAULT_NONE);
    assert_int_equal(fault_hit("log.sync.before"), FAULT_NONE);
    usec_t took = clock_mono_us() - start;
    assert_true(took >= 30 * USEC_PER_MS && took < USEC_PER_SEC);

    fault_set_delay("log.sync.before", 30);
    fault_set("log.sync.before", FAULT_EIO);
    for (int i = 0; i < 2; i++) {
        start = clock_mono_us();
        assert_int_equal(fault_hit("log.sync.before"), FAULT_EIO);
        assert_true(clock_mono_us() - start >= 30 * USEC_PER_MS);
    }
    fault_set("log.sync.before", FAULT_NONE);
    fault_set_delay("log.sync.before", 0);
    assert_false(fault_any_armed);
}

static void a_delay_ends_when_it_is_cleared(void **state)
{
    (void)state;
    bool done = false;
    pthread_t thread;
    fault_set_delay("log.sync.before", FAULT_DELAY_MAX_MS);
    usec_t start = clock_mono_us();
    assert_int_equal(pthread_create(&thread, NULL, sync_once, &done), 0);
    while (clock_mono_us() < start + 30000)
        assert_false(__atomic_load_n(&done, __ATOMIC_RELAXED));
    fault_set_delay("log.sync.before", 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(clock_mono_us() - start < 10 * USEC_PER_SEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_happens_unless_armed),
        cmocka_unit_test(the_nth_hit_only),
        cmocka_unit_test(bad_lists_are_refused),
        cmocka_unit_test(a_hung_call_goes_on_when_released),
        cmocka_unit_test(
            a_delay_is_as_long_as_asked_and_comes_before_the_error),
        cmocka_unit_test(a_delay_ends_when_it_is_cleared),
    };
    return cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
