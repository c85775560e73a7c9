/* Client faults of a node: one copy for all workers, hits back to the list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "node/base/mem.h"
#include "node/server/faults_client.h"
#include "node/server/worker.h"

#define THREADS 4
#define REQUESTS 20000
#define COUNT 30000

/* A node of which there is only what client faults touch: its names, and the
 * way to worker 0. */
struct world {
    struct config_region region;
    struct config_node own;
    struct config config;
    struct worker worker;
    struct node node;
    struct inject_list list;
    struct cosmos_faults hook;
};

static int setup(void **state)
{
    struct world *w = mem_zalloc(sizeof(*w));
    strcpy(w->region.name, "eastus");
    strcpy(w->own.name, "eastus-1");
    w->config.own_region = &w->region;
    w->config.own_node = &w->own;
    w->node.config = &w->config;
    w->node.workers = &w->worker;
    w->node.worker_count = 1;
    w->worker.node = &w->node;
    w->worker.loop = ev_loop_new(EVFLAG_AUTO);
    inbox_init(&w->worker.inbox, w->worker.loop, &w->worker);
    w->node.client_faults = faults_client_new(&w->node);
    w->hook = faults_client_hook(w->node.client_faults);
    *state = w;
    return 0;
}

/* Delivers what workers have told worker 0. */
static void turn(struct world *w)
{
    ev_run(w->worker.loop, EVRUN_NOWAIT);
    ev_run(w->worker.loop, EVRUN_NOWAIT);
}

static int teardown(void **state)
{
    struct world *w = *state;
    turn(w);
    faults_client_free(w->node.client_faults);
    ev_loop_destroy(w->worker.loop);
    mem_free(w);
    return 0;
}

static void add(struct world *w, struct inject_fault fault)
{
    const struct inject_active *added;
    if (fault.at[0] == '\0')
        strcpy(fault.at, "*");
    if (fault.permille == 0)
        fault.permille = 1000;
    assert_int_equal(inject_list_add(&w->list, &fault, clock_mono_us(), &added),
                     ERR_OK);
    faults_client_apply(&w->worker, &w->list);
}

static struct cosmos_strike strike(struct world *w)
{
    const struct inject_request r = {.operation = INJECT_OP_READ,
                                     .database = bytes_str("d"),
                                     .container = bytes_str("c")};
    struct cosmos_strike s = {.struck = false};
    w->hook.strike(w->hook.user, &r, &s);
    return s;
}

static uint32_t active(const struct world *w)
{
    return atomic_load(w->hook.active);
}

static void without_faults_there_is_nothing_to_ask(void **state)
{
    struct world *w = *state;
    assert_int_equal(active(w), 0);
    add(w, (struct inject_fault){.kind = INJECT_CUT});
    add(w, (struct inject_fault){.kind = INJECT_DISK_FULL});
    add(w, (struct inject_fault){.kind = INJECT_TRUNCATE, .at = "westus"});
    assert_int_equal(active(w), 0);
    add(w, (struct inject_fault){.kind = INJECT_TRUNCATE, .at = "eastus"});
    add(w, (struct inject_fault){.kind = INJECT_TRUNCATE, .at = "eastus-1"});
    assert_int_equal(active(w), 2);
    w->list.count = 0;
    faults_client_apply(&w->worker, &w->list);
    assert_int_equal(active(w), 0);
}

static void the_oldest_decides_and_delays_add_up(void **state)
{
    struct world *w = *state;
    add(w, (struct inject_fault){.kind = INJECT_ANSWER_DELAY, .delay_ms = 5});
    add(w, (struct inject_fault){.kind = INJECT_RESPOND, .status = 503});
    add(w, (struct inject_fault){.kind = INJECT_RESET});
    add(w, (struct inject_fault){.kind = INJECT_ANSWER_DELAY,
                                 .delay_ms = INJECT_DELAY_MAX_MS});
    struct cosmos_strike s = strike(w);
    assert_true(s.struck);
    assert_int_equal(s.fault.kind, INJECT_RESPOND);
    assert_string_equal(s.fault.id, "f2");
    assert_int_equal(s.delay_ms, INJECT_DELAY_MAX_MS);
    faults_client_collect(&w->worker, &w->list);
    assert_int_equal(w->list.active[0].hits, 1);
    assert_int_equal(w->list.active[1].hits, 1);
    assert_int_equal(w->list.active[2].hits, 0); /* was not asked */
    assert_int_equal(w->list.active[3].hits, 1);
}

static void hits_outlive_changes_of_the_list(void **state)
{
    struct world *w = *state;
    add(w, (struct inject_fault){.kind = INJECT_RESET, .count = 3});
    strike(w);
    strike(w);
    add(w, (struct inject_fault){.kind = INJECT_TRUNCATE});
    assert_int_equal(w->list.active[0].hits, 2);
    assert_int_equal(strike(w).fault.kind, INJECT_RESET);
    assert_int_equal(strike(w).fault.kind, INJECT_TRUNCATE);
}

/* One of the same name that was added later starts anew. */
static void a_fault_is_known_by_more_than_its_name(void **state)
{
    struct world *w = *state;
    add(w, (struct inject_fault){.kind = INJECT_RESET, .id = "mine"});
    strike(w);
    assert_int_equal(inject_list_remove(&w->list, "mine"), ERR_OK);
    usec_t was = clock_mono_us();
    while (clock_mono_us() == was)
        ;
    add(w, (struct inject_fault){.kind = INJECT_RESET, .id = "mine"});
    assert_int_equal(w->list.active[0].hits, 0);
}

static void what_has_ended_does_not_strike(void **state)
{
    struct world *w = *state;
    add(w, (struct inject_fault){.kind = INJECT_RESET, .for_us = 1});
    usec_t was = clock_mono_us();
    while (clock_mono_us() <= was + 1)
        ;
    assert_false(strike(w).struck);
    assert_int_equal(w->list.count, 1); /* ending by time is not our matter */
}

static void what_is_used_up_leaves_the_list(void **state)
{
    struct world *w = *state;
    add(w, (struct inject_fault){.kind = INJECT_CUT});
    add(w, (struct inject_fault){.kind = INJECT_RESET, .count = 1});
    add(w, (struct inject_fault){.kind = INJECT_TRUNCATE, .count = 1});
    strike(w);
    strike(w);
    assert_false(strike(w).struck);
    turn(w);
    assert_int_equal(w->list.count, 1);
    assert_int_equal(w->list.active[0].fault.kind, INJECT_CUT);
    assert_int_equal(active(w), 0);
}

struct striker {
    pthread_t thread;
    struct world *world;
    size_t struck;
};

static void *run_striker(void *arg)
{
    struct striker *s = arg;
    for (size_t i = 0; i < REQUESTS; i++)
        s->struck += strike(s->world).struck;
    return NULL;
}

static void a_count_is_exact_over_all_workers(void **state)
{
    struct world *w = *state;
    struct striker strikers[THREADS];
    size_t struck = 0;
    add(w, (struct inject_fault){.kind = INJECT_RESET, .count = COUNT});
    for (size_t i = 0; i < THREADS; i++) {
        strikers[i] = (struct striker){.world = w};
        assert_int_equal(pthread_create(&strikers[i].thread, NULL, run_striker,
                                        &strikers[i]),
                         0);
    }
    for (size_t i = 0; i < 1000; i++) /* meanwhile others come and go */
        faults_client_apply(&w->worker, &w->list);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(strikers[i].thread, NULL), 0);
        struck += strikers[i].struck;
    }
    assert_int_equal(struck, COUNT);
    turn(w);
    assert_int_equal(w->list.count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_faults_there_is_nothing_to_ask),
        TEST(the_oldest_decides_and_delays_add_up),
        TEST(hits_outlive_changes_of_the_list),
        TEST(a_fault_is_known_by_more_than_its_name),
        TEST(what_has_ended_does_not_strike),
        TEST(what_is_used_up_leaves_the_list),
        TEST(a_count_is_exact_over_all_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
