/* What a list of faults makes of the process, and that it goes away again; what
 * happens at once happens to a child. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "node/base/fault.h"
#include "node/base/mem.h"
#include "node/server/faults_node.h"
#include "node/server/hold.h"
#include "node/server/worker.h"

#define HOLD_US (5 * USEC_PER_SEC)
#define PAUSE_US (300 * USEC_PER_MS)
/* Two looks at clocks are this close, even on a busy machine. */
#define NEAR_US (200 * USEC_PER_MS)

static struct inject_list list;
static struct node node;
static struct worker worker;
static struct config config;
static char dir[] = "/tmp/bastide-faults-XXXXXX";

static int setup(void **state)
{
    (void)state;
    memset(&list, 0, sizeof(list));
    config = (struct config){.data_dir = dir};
    node = (struct node){.config = &config};
    worker = (struct worker){.node = &node};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char path[64];
    memset(&list, 0, sizeof(list));
    faults_node_apply(&worker, &list);
    snprintf(path, sizeof(path), "%s/hold", dir);
    unlink(path);
    return 0;
}

static void add(struct inject_fault fault)
{
    list.active[list.count++].fault = fault;
    faults_node_apply(&worker, &list);
}

/* The oldest fault is cleared. */
static void drop_first(void)
{
    list.count--;
    memmove(&list.active[0], &list.active[1],
            list.count * sizeof(list.active[0]));
    faults_node_apply(&worker, &list);
}

static usec_t took(const char *point)
{
    usec_t start = clock_real_mono_us();
    (void)fault_hit(point);
    return clock_real_mono_us() - start;
}

static void a_full_disk_refuses_writes_alone(void **state)
{
    (void)state;
    add((struct inject_fault){.kind = INJECT_DISK_FULL});
    static const char *const writes[] = {
        "log.append.before", "log.segment.before", "store.commit.before",
        "store.snapshot.write"};
    for (size_t i = 0; i < ARRAY_LEN(writes); i++)
        assert_int_equal(fault_hit(writes[i]), FAULT_NO_SPACE);
    assert_int_equal(fault_hit("log.sync.before"), FAULT_NONE);
    assert_int_equal(fault_hit("store.read"), FAULT_NONE);
    drop_first();
    assert_false(fault_any_armed);
}

static void each_use_of_the_disk_fails_by_itself(void **state)
{
    (void)state;
    static const struct {
        enum inject_disk disk;
        const char *fails, *works;
    } uses[] = {{INJECT_READ, "store.read", "log.append.before"},
                {INJECT_WRITE, "log.append.before", "log.sync.before"},
                {INJECT_SYNC, "log.sync.before", "log.append.before"}};
    for (size_t i = 0; i < ARRAY_LEN(uses); i++) {
        add((struct inject_fault){.kind = INJECT_DISK_ERROR,
                                  .disk = uses[i].disk});
        assert_int_equal(fault_hit(uses[i].fails), FAULT_EIO);
        assert_int_equal(fault_hit(uses[i].works), FAULT_NONE);
        drop_first();
        assert_int_equal(fault_hit(uses[i].fails), FAULT_NONE);
    }
}

static void faults_add_up_and_clearing_one_leaves_the_others(void **state)
{
    (void)state;
    add((struct inject_fault){.kind = INJECT_DISK_SLOW, .delay_ms = 60});
    add((struct inject_fault){.kind = INJECT_DISK_SLOW, .delay_ms = 40});
    add((struct inject_fault){.kind = INJECT_DISK_FULL});
    assert_true(took("log.sync.before") >= 100 * USEC_PER_MS);
    assert_int_equal(fault_hit("log.append.before"), FAULT_NO_SPACE);
    drop_first();
    usec_t slow = took("log.sync.before");
    assert_true(slow >= 40 * USEC_PER_MS);
    assert_int_equal(fault_hit("log.append.before"), FAULT_NO_SPACE);
    drop_first();
    assert_int_equal(fault_hit("log.append.before"), FAULT_NO_SPACE);
    drop_first();
    assert_false(fault_any_armed);
}

static void a_hanging_disk_hangs_whatever_else_it_is(void **state)
{
    (void)state;
    add((struct inject_fault){.kind = INJECT_DISK_FULL});
    add((struct inject_fault){.kind = INJECT_DISK_HANG});
    assert_int_equal(fault_get("log.append.before"), FAULT_HANG);
    assert_int_equal(fault_get("log.sync.before"), FAULT_HANG);
    drop_first();
    assert_int_equal(fault_get("log.append.before"), FAULT_HANG);
    drop_first();
    assert_int_equal(fault_get("log.append.before"), FAULT_NONE);
}

static void what_the_environment_armed_stays(void **state)
{
    (void)state;
    assert_int_equal(fault_arm("store.read=eio", NULL), ERR_OK);
    add((struct inject_fault){.kind = INJECT_SLOW_LOOP, .delay_ms = 20});
    assert_true(took("loop.turn") >= 20 * USEC_PER_MS);
    assert_int_equal(fault_hit("store.read"), FAULT_EIO);
    drop_first();
    assert_int_equal(fault_hit("store.read"), FAULT_EIO);
    assert_int_equal(fault_arm(NULL, NULL), ERR_OK);
}

static void clocks_are_wrong_for_as_long_as_asked(void **state)
{
    (void)state;
    add((struct inject_fault){.kind = INJECT_CLOCK_JUMP, .offset_ms = -60000});
    add((struct inject_fault){.kind = INJECT_CLOCK_JUMP, .offset_ms = 90000});
    usec_t off = clock_wall_us() - clock_real_wall_us();
    assert_true(llabs(off - 30 * USEC_PER_SEC) < NEAR_US);
    add((struct inject_fault){.kind = INJECT_CLOCK_DRIFT, .ppm = 500000});
    usec_t mono = clock_mono_us(), real = clock_real_mono_us();
    usleep(100000);
    mono = clock_mono_us() - mono;
    real = clock_real_mono_us() - real;
    assert_true(mono > real + real / 3);
    drop_first();
    off = clock_wall_us() - clock_real_wall_us();
    assert_true(off > 90 * USEC_PER_SEC);
    drop_first();
    drop_first();
    off = clock_wall_us() - clock_real_wall_us();
    assert_true(llabs(off) < NEAR_US);
}

static void memory_fails_where_that_can_be_taken(void **state)
{
    (void)state;
    add((struct inject_fault){.kind = INJECT_ALLOCATION, .permille = 1000});
    void *p = mem_try_alloc(10);
    assert_non_null(p);
    mem_free(p);
    assert_false(mem_may_fail(true));
    assert_null(mem_try_alloc(10));
    assert_null(mem_try_realloc(NULL, 10));
    assert_null(mem_try_zalloc(10));
    assert_true(mem_may_fail(false));
    drop_first();
    mem_may_fail(true);
    p = mem_try_zalloc(10);
    assert_non_null(p);
    mem_free(p);
    mem_may_fail(false);
}

/* Does a fault in a child, whose loop then runs; its status. */
static int in_child(const struct inject_fault *fault)
{
    pid_t pid = fork();
    if (pid == 0) {
        worker.loop = ev_loop_new(EVFLAG_AUTO);
        usec_t start = clock_real_mono_us();
        if (faults_node_now(&worker, fault, NULL) != ERR_OK)
            _exit(1);
        if (faults_node_now(&worker, fault, NULL) != ERR_BUSY)
            _exit(2);
        ev_run(worker.loop, 0);
        _exit(clock_real_mono_us() - start >= fault->for_us ? 0 : 3);
    }
    int status;
    while (waitpid(pid, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    return status;
}

static void a_kill_is_a_kill(void **state)
{
    (void)state;
    int status = in_child(&(struct inject_fault){.kind = INJECT_KILL});
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
    assert_int_equal(hold_left_us(dir), 0);
}

static void a_killed_node_is_held_until_its_time_or_a_signal(void **state)
{
    (void)state;
    sigset_t signals;
    int status = in_child(
        &(struct inject_fault){.kind = INJECT_KILL, .for_us = HOLD_US});
    assert_true(WIFSIGNALED(status));
    usec_t left = hold_left_us(dir);
    assert_true(left > 0 && left <= HOLD_US);

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &signals, NULL), 0);
    raise(SIGTERM);
    assert_false(hold_wait(dir, &signals));
    assert_true(hold_left_us(dir) > 0);

    assert_int_equal(hold_write(dir, 100 * USEC_PER_MS, NULL), ERR_OK);
    usec_t start = clock_real_mono_us();
    assert_true(hold_wait(dir, &signals));
    assert_true(clock_real_mono_us() - start >= 50 * USEC_PER_MS);
    assert_int_equal(hold_left_us(dir), 0);
    char path[64];
    snprintf(path, sizeof(path), "%s/hold", dir);
    assert_int_equal(access(path, F_OK), -1);
}

static void a_hold_of_nonsense_holds_nothing(void **state)
{
    (void)state;
    assert_int_equal(hold_write(dir, 2 * HOLD_MAX_US, NULL), ERR_OK);
    assert_int_equal(hold_left_us(dir), 0);
    assert_int_equal(hold_write(dir, -HOLD_US, NULL), ERR_OK);
    assert_int_equal(hold_left_us(dir), 0);
}

static void a_pause_stops_the_process_for_as_long_as_asked(void **state)
{
    (void)state;
    int status = in_child(
        &(struct inject_fault){.kind = INJECT_PAUSE, .for_us = PAUSE_US});
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    struct err_msg msg;
    assert_int_equal(
        faults_node_now(&worker, &(struct inject_fault){.kind = INJECT_PAUSE},
                        &msg),
        ERR_INVALID);
    assert_non_null(strstr(msg.text, "for"));
}

int main(void)
{
    if (mkdtemp(dir) == NULL)
        return 1;
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_full_disk_refuses_writes_alone),
        TEST(each_use_of_the_disk_fails_by_itself),
        TEST(faults_add_up_and_clearing_one_leaves_the_others),
        TEST(a_hanging_disk_hangs_whatever_else_it_is),
        TEST(what_the_environment_armed_stays),
        TEST(clocks_are_wrong_for_as_long_as_asked),
        TEST(memory_fails_where_that_can_be_taken),
        TEST(a_kill_is_a_kill),
        TEST(a_killed_node_is_held_until_its_time_or_a_signal),
        TEST(a_hold_of_nonsense_holds_nothing),
        TEST(a_pause_stops_the_process_for_as_long_as_asked),
    };
    int failed = cmocka_run_group_tests_name("faults_node", tests, NULL, NULL);
    rmdir(dir);
    return failed;
}
