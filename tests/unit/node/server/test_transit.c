/* Promises of both ends of transit: who is asked of those in reach, what
 * becomes of each request exactly once, and how much of it there may be. The
 * links are fake, the API that answers is the test. */
#include "tests/unit/node/server/fake_links.h"

#include <stdio.h>

#include "node/base/mem.h"
#include "node/catalog/catalog.h"
#include "node/catalog/rid.h"
#include "node/cosmos/passage.h"
#include "node/server/transit.h"
#include "node/server/transit_plan.h"

#define WAIT_US (5 * USEC_PER_SEC)
#define SHARD 2

static struct config_node nodes_a[] = {{.name = "a-1", .id = 1}},
                          nodes_b[] = {{.name = "b-1", .id = 2},
                                       {.name = "b-2", .id = 3}},
                          nodes_c[] = {{.name = "c-1", .id = 4}},
                          nodes_w[] = {{.name = "w-1", .id = 5}};
static struct config_region regions[] = {
    {.name = "a", .nodes = nodes_a, .node_count = 1},
    {.name = "b", .nodes = nodes_b, .node_count = 2},
    {.name = "c", .nodes = nodes_c, .node_count = 1},
    {.name = "w", .nodes = nodes_w, .node_count = 1}};

/* What clients of this node were told. */
struct told {
    unsigned times;
    int err;
    uint16_t status;
    size_t len;
};

/* Requests that the API inside has and has not answered. */
struct at_api {
    http_answer_cb *answer;
    void *user;
    usec_t since_us;
    bool again;
    uint16_t shard;
};

struct world {
    struct ev_loop *loop;
    struct worker *w;
    struct node node;
    struct config config;
    struct at_api api[TRANSIT_IN_MAX];
    uint32_t n_api;
};
static struct world world;

/* ---- the API inside ---------------------------------------------------------
 */

int http_request_make(struct http_front *f, struct bytes head,
                      struct bytes body, http_answer_cb *answer, void *user,
                      struct http_request **request_out)
{
    (void)f;
    (void)head;
    (void)body;
    assert_true(world.n_api < TRANSIT_IN_MAX);
    struct at_api *a = &world.api[world.n_api++];
    *a = (struct at_api){.answer = answer, .user = user};
    *request_out = (struct http_request *)a;
    return ERR_OK;
}

void cosmos_on_passage(struct cosmos *c, struct http_request *r,
                       const struct passage *passage, usec_t since_us,
                       bool again)
{
    struct at_api *a = (struct at_api *)r;
    (void)c;
    a->since_us = since_us;
    a->again = again;
    a->shard = passage->shard;
}

static void api_answers(uint32_t i, int status, size_t len)
{
    static uint8_t body[PASSAGE_ANSWER_BODY_MAX + 1];
    struct at_api *a = &world.api[i];
    http_answer_cb *answer = TAKE(a->answer);
    assert_non_null(answer);
    answer(a->user, status, bytes_str(""), bytes_of(body, len));
}

/* ---- the world --------------------------------------------------------------
 */

static void know(bool allows)
{
    char json[512];
    struct err_msg msg = {""};
    snprintf(json, sizeof(json),
             "{\"id\":\"eu\",\"number\":1,\"firstShard\":%d,\"shards\":1,"
             "\"keys\":[],\"members\":[1,2,3,5],\"firstMembers\":[1,2,3,5],"
             "\"regions\":[\"b\",\"a\"],\"witness\":5%s}",
             SHARD, allows ? ",\"transit\":\"allow\"" : "");
    if (catalog_put(world.w->catalog, CONTAINER_GROUPS, rid_counter(2, 0, 0),
                    bytes_str(json), 1, &msg) != ERR_OK)
        fail_msg("%s", msg.text);
}

/* This node is in that region. */
static void stand_in_region(const char *name)
{
    snprintf(world.config.region, sizeof(world.config.region), "%s", name);
}

static int setup(void **state)
{
    (void)state;
    memset(&world, 0, sizeof(world));
    memset(&fake_links, 0, sizeof(fake_links));
    for (uint32_t id = 1; id <= 5; id++) {
        fake_links.up[id] = true;
        fake_links.rtt_us[id] = 1000 * (usec_t)id;
    }
    world.config.regions = regions;
    world.config.region_count = 4;
    stand_in_region("c");
    world.loop = ev_loop_new(EVFLAG_AUTO);
    struct worker *w = world.w = mem_zalloc(sizeof(*w));
    w->magic = WORKER_MAGIC;
    w->node = &world.node;
    w->loop = world.loop;
    w->catalog = catalog_new();
    inbox_init(&w->inbox, w->loop, w);
    world.node.workers = w;
    world.node.worker_count = 1;
    world.node.config = &world.config;
    w->transit = transit_new(w);
    know(true);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    catalog_free(world.w->catalog);
    mem_free(world.w->transit);
    mem_free(world.w);
    ev_loop_destroy(world.loop);
    return 0;
}

static void on_poll(struct ev_loop *loop, ev_timer *t, int events)
{
    (void)loop;
    (void)t;
    (void)events;
}

#define WAIT_FOR(cond)                                                         \
    do {                                                                       \
        ev_timer poll_;                                                        \
        ev_timer_init(&poll_, on_poll, 0.002, 0.002);                          \
        ev_timer_start(world.loop, &poll_);                                    \
        usec_t until_ = clock_mono_us() + WAIT_US;                             \
        while (!(cond) && clock_mono_us() < until_)                            \
            ev_run(world.loop, EVRUN_ONCE);                                    \
        ev_timer_stop(world.loop, &poll_);                                     \
        assert_true(cond);                                                     \
    } while (0)

static void run_for(usec_t us)
{
    usec_t until = clock_mono_us() + us;
    WAIT_FOR(clock_mono_us() >= until);
}

/* ---- outside ----------------------------------------------------------------
 */

static void on_passed(void *user, const struct cosmos_passed *passed)
{
    struct told *t = user;
    struct passage_answer a = {.status = 0};
    t->times++;
    t->err = passed->err;
    if (passed->err == ERR_OK)
        assert_int_equal(passage_answer_decode(passed->answer, &a), ERR_OK);
    t->status = a.status;
    t->len = passed->answer.len;
}

static void put_passage(struct buf *out)
{
    const struct passage p = {.shard = SHARD,
                              .head = bytes_str("GET / HTTP/1.1\r\n\r\n"),
                              .body = bytes_str("{}")};
    buf_init(out, PASSAGE_ENCODED_MAX);
    assert_int_equal(passage_encode(&p, out), ERR_OK);
}

static void pass_on(struct told *t, bool writes, usec_t timeout_us)
{
    struct buf passage;
    *t = (struct told){.times = 0};
    put_passage(&passage);
    const struct cosmos_pass pass = {
        .group = catalog_group_of_shard(world.w->catalog, SHARD),
        .writes = writes,
        .timeout_us = timeout_us,
        .passage = &passage};
    transit_pass_on(world.w, &pass, on_passed, t);
    buf_free(&passage);
}

/* The id of the request sent last, and whom it was to. */
static uint64_t last(links_peer to)
{
    assert_true(fake_links.n_sent > 0);
    assert_int_equal(fake_links.sent[fake_links.n_sent - 1].to, to);
    return fake_links.n_sent;
}

static bool peer_answers(uint64_t id, uint16_t status)
{
    const struct passage_answer a = {.status = status, .body = bytes_str("{}")};
    struct buf b;
    buf_init(&b, PASSAGE_ANSWER_ENCODED_MAX);
    assert_int_equal(passage_answer_encode(&a, &b), ERR_OK);
    bool ours = transit_on_response(world.w, id, ERR_OK,
                                    bytes_of(buf_bytes(&b), buf_len(&b)));
    buf_free(&b);
    return ours;
}

static void expect_told(const struct told *t, int err, uint16_t status)
{
    assert_int_equal(t->times, 1);
    assert_int_equal(t->err, err);
    assert_int_equal(t->status, status);
}

static void a_request_is_answered_once(void **state)
{
    (void)state;
    struct told t;
    pass_on(&t, false, USEC_PER_SEC);
    uint64_t id = last(1); /* the nearest */
    assert_int_equal(fake_links.sent[0].shard, SHARD);
    assert_int_equal(fake_links.sent[0].kind, TRANSIT_REQUEST);
    assert_int_equal(t.times, 0);
    assert_false(peer_answers(id + 1, 200)); /* not ours */
    assert_true(peer_answers(id, 200));
    expect_told(&t, ERR_OK, 200);
    /* Duplicates, and what comes after the end. */
    assert_false(peer_answers(id, 404));
    assert_false(transit_on_request_failed(world.w, id, ERR_TIMEOUT));
    expect_told(&t, ERR_OK, 200);
}

/* Its node is gone, and so are the next one's. */
static void another_is_asked_when_a_node_goes(void **state)
{
    (void)state;
    struct told t;
    pass_on(&t, true, USEC_PER_SEC);
    uint64_t first = last(2); /* where writes go */
    fake_links.up[2] = false;
    assert_true(transit_on_request_failed(world.w, first, ERR_TIMEOUT));
    uint64_t second = last(3);
    assert_int_equal(fake_links.sent[first - 1].age_ms, 0);
    assert_true(fake_links.sent[second - 1].age_ms > 0);
    assert_true(transit_on_request_failed(world.w, second, ERR_UNAVAILABLE));
    uint64_t third = last(1);
    assert_false(peer_answers(first, 201)); /* too late */
    assert_int_equal(t.times, 0);
    assert_true(peer_answers(third, 201));
    expect_told(&t, ERR_OK, 201);
}

/* The witness has nothing to answer from, and who is outside is no member. */
static void who_has_no_replica_is_not_asked(void **state)
{
    (void)state;
    struct told t;
    for (links_peer id = 1; id <= 3; id++)
        fake_links.up[id] = false;
    pass_on(&t, false, 20 * USEC_PER_MS);
    assert_int_equal(fake_links.n_sent, 0);
    WAIT_FOR(t.times > 0);
    expect_told(&t, ERR_UNAVAILABLE, 0);
}

static void a_node_that_comes_back_is_found(void **state)
{
    (void)state;
    struct told t;
    for (links_peer id = 1; id <= 3; id++)
        fake_links.up[id] = false;
    pass_on(&t, false, 10 * USEC_PER_SEC);
    run_for(2 * TRANSIT_RETRY_US);
    fake_links.up[3] = true;
    WAIT_FOR(fake_links.n_sent == 1);
    assert_true(peer_answers(last(3), 200));
    expect_told(&t, ERR_OK, 200);
}

static void a_stop_is_the_end_of_those_that_wait(void **state)
{
    (void)state;
    struct told waits, asked;
    pass_on(&asked, true, 10 * USEC_PER_SEC);
    for (links_peer id = 1; id <= 3; id++)
        fake_links.up[id] = false;
    pass_on(&waits, true, 10 * USEC_PER_SEC);
    world.w->stopping = true;
    WAIT_FOR(waits.times > 0);
    expect_told(&waits, ERR_UNAVAILABLE, 0);
    assert_int_equal(asked.times, 0);
    assert_true(transit_on_request_failed(world.w, 1, ERR_TIMEOUT));
    expect_told(&asked, ERR_TIMEOUT, 0);
}

static void a_fence_that_refuses_is_believed(void **state)
{
    (void)state;
    struct told t;
    for (links_peer id = 1; id <= 3; id++)
        fake_links.refuse[id] = ERR_FORBIDDEN;
    pass_on(&t, false, USEC_PER_SEC);
    expect_told(&t, ERR_FORBIDDEN, 0);
}

static void those_who_have_no_room_are_said_to_be_full(void **state)
{
    (void)state;
    struct told t;
    pass_on(&t, true, 30 * USEC_PER_MS);
    for (links_peer id = 1; id <= 3; id++) {
        uint64_t now = fake_links.n_sent;
        assert_int_equal(now, id);
        assert_true(
            transit_on_response(world.w, now, ERR_FULL, bytes_of(NULL, 0)));
    }
    WAIT_FOR(t.times > 0);
    expect_told(&t, ERR_THROTTLED, 0);
}

/* An answer that the link had no room for. */
static void
a_write_whose_answer_had_no_room_is_asked_about_elsewhere(void **state)
{
    (void)state;
    struct told t;
    pass_on(&t, true, USEC_PER_SEC);
    assert_true(
        transit_on_response(world.w, last(2), ERR_TIMEOUT, bytes_of(NULL, 0)));
    assert_true(peer_answers(last(3), 201));
    expect_told(&t, ERR_OK, 201);
}

static void only_so_many_are_passed_on(void **state)
{
    (void)state;
    static struct told t[TRANSIT_OUT_MAX + 1];
    for (size_t i = 0; i <= TRANSIT_OUT_MAX; i++)
        pass_on(&t[i], false, USEC_PER_SEC);
    expect_told(&t[TRANSIT_OUT_MAX], ERR_THROTTLED, 0);
    assert_int_equal(fake_links.n_sent, TRANSIT_OUT_MAX);
    for (size_t i = 0; i < TRANSIT_OUT_MAX; i++) {
        assert_int_equal(t[i].times, 0);
        assert_true(peer_answers(i + 1, 200));
        expect_told(&t[i], ERR_OK, 200);
    }
    pass_on(&t[0], false, USEC_PER_SEC); /* there is room again */
    assert_true(peer_answers(last(1), 200));
    expect_told(&t[0], ERR_OK, 200);
}

/* ---- inside -----------------------------------------------------------------
 */

static void receive_call(struct links_call call)
{
    struct buf passage;
    put_passage(&passage);
    transit_on_request(world.w, call,
                       bytes_of(buf_bytes(&passage), buf_len(&passage)));
    buf_free(&passage);
}

static void receive(uint64_t id, uint32_t age_ms)
{
    receive_call((struct links_call){.peer = 4, .id = id, .age_ms = age_ms});
}

static void expect_answer(uint32_t i, uint64_t id, int err)
{
    assert_true(fake_links.n_answers > i);
    assert_int_equal(fake_links.answers[i].call.id, id);
    assert_int_equal(fake_links.answers[i].err, err);
}

static void a_guest_is_answered_by_the_api(void **state)
{
    (void)state;
    stand_in_region("a");
    receive(7, 0);
    receive(8, 250);
    assert_int_equal(world.n_api, 2);
    assert_int_equal(world.api[0].shard, SHARD);
    assert_int_equal(world.api[0].since_us, 0);
    assert_int_equal(world.api[1].since_us, 250 * USEC_PER_MS);
    assert_true(world.api[1].again);
    assert_int_equal(fake_links.n_answers, 0);
    api_answers(1, 201, 100);
    api_answers(0, 200, 100);
    expect_answer(0, 8, ERR_OK);
    expect_answer(1, 7, ERR_OK);
    /* A first attempt that was long on its way is none that came again. */
    receive_call((struct links_call){.peer = 4, .id = 9, .way_most_ms = 300});
    assert_int_equal(world.api[2].since_us, 300 * USEC_PER_MS);
    assert_false(world.api[2].again);
    api_answers(2, 201, 100);
}

static void guests_are_refused_where_they_may_not_be(void **state)
{
    (void)state;
    receive(1, 0); /* this node is outside itself: not passed on once more */
    expect_answer(0, 1, ERR_FORBIDDEN);
    stand_in_region("a");
    know(false);
    receive(2, 0);
    expect_answer(1, 2, ERR_FORBIDDEN);
    know(true);
    world.w->draining = true;
    receive(3, 0);
    expect_answer(2, 3, ERR_UNAVAILABLE);
    world.w->draining = false;
    transit_on_request(world.w, (struct links_call){.peer = 4, .id = 4},
                       bytes_str("nonsense"));
    expect_answer(3, 4, ERR_MALFORMED);
    assert_int_equal(world.n_api, 0);
}

static void only_so_many_guests_are_taken(void **state)
{
    (void)state;
    stand_in_region("a");
    for (uint64_t id = 1; id <= TRANSIT_IN_MAX; id++)
        receive(id, 0);
    assert_int_equal(fake_links.n_answers, 0);
    receive(9999, 0);
    expect_answer(0, 9999, ERR_FULL);
    for (uint32_t i = 0; i < TRANSIT_IN_MAX; i++)
        api_answers(i, 200, 10);
    world.n_api = 0;
    receive(10000, 0);
    assert_int_equal(world.n_api, 1);
    api_answers(0, 200, 10);
}

static void without_memory_for_an_answer_the_outcome_is_open(void **state)
{
    (void)state;
    stand_in_region("a");
    receive(1, 0);
    api_answers(0, 0, 0);
    expect_answer(0, 1, ERR_TIMEOUT);
    receive(2, 0);
    api_answers(1, 200, PASSAGE_ANSWER_BODY_MAX + 1);
    expect_answer(1, 2, ERR_LIMIT);
}

/* ---- answers that wait for room ---------------------------------------------
 */

#define PAGE ((size_t)4 * 1024 * 1024)

static void answers_wait_for_room_in_their_order(void **state)
{
    (void)state;
    stand_in_region("a");
    for (uint64_t id = 1; id <= 8; id++)
        receive(id, 0);
    for (uint32_t i = 0; i < 7; i++)
        api_answers(i, 200, PAGE);
    assert_int_equal(fake_links.n_answers, 3); /* that is all the link takes */
    run_for(20 * USEC_PER_MS);
    assert_int_equal(fake_links.n_answers, 3);
    api_answers(7, 200, 100); /* a small one has room */
    expect_answer(3, 8, ERR_OK);
    fake_links.unsent[4] -= PAGE;
    WAIT_FOR(fake_links.n_answers == 5);
    expect_answer(4, 4, ERR_OK);
    fake_links.unsent[4] = 0;
    WAIT_FOR(fake_links.n_answers == 8);
    for (uint32_t i = 5; i < 8; i++)
        expect_answer(i, i, ERR_OK);
}

static void who_waits_too_long_is_told_that_the_outcome_is_open(void **state)
{
    (void)state;
    stand_in_region("a");
    fake_links.unsent[4] = LINKS_ANSWER_QUEUE_MAX;
    receive(1, 0);
    api_answers(0, 200, PAGE);
    usec_t began = clock_mono_us();
    assert_int_equal(fake_links.n_answers, 0);
    WAIT_FOR(fake_links.n_answers == 1);
    assert_true(clock_mono_us() - began >= TRANSIT_ROOM_US);
    expect_answer(0, 1, ERR_TIMEOUT);
    assert_int_equal(fake_links.answers[0].len, 0);
}

static void nobody_waits_for_a_link_that_is_gone(void **state)
{
    (void)state;
    stand_in_region("a");
    fake_links.unsent[4] = LINKS_ANSWER_QUEUE_MAX;
    receive(1, 0);
    api_answers(0, 200, PAGE);
    fake_links.up[4] = false;
    run_for(20 * USEC_PER_MS);
    fake_links.up[4] = true;
    fake_links.unsent[4] = 0;
    run_for(20 * USEC_PER_MS);
    assert_int_equal(fake_links.n_answers, 0);
    receive(2, 0); /* and what it took is free again */
    api_answers(1, 200, PAGE);
    expect_answer(0, 2, ERR_OK);
}

/* What waits has a bound; near it nothing new is taken, beyond it nothing is
 * kept. */
static void what_waits_is_bounded(void **state)
{
    (void)state;
    stand_in_region("a");
    fake_links.unsent[4] = LINKS_ANSWER_QUEUE_MAX;
    uint32_t n = TRANSIT_HELD_BYTES_MAX / PAGE + 1;
    for (uint32_t id = 1; id <= n; id++)
        receive(id, 0);
    for (uint32_t i = 0; i < TRANSIT_HELD_BYTES_MAX / PAGE / 2; i++)
        api_answers(i, 200, PAGE);
    receive(1000, 0);
    expect_answer(0, 1000, ERR_FULL);
    for (uint32_t i = TRANSIT_HELD_BYTES_MAX / PAGE / 2; i < n; i++)
        api_answers(i, 200, PAGE);
    /* An encoded page is a little more than its bytes. */
    assert_int_equal(fake_links.n_answers, 3);
    expect_answer(1, n - 1, ERR_TIMEOUT);
    expect_answer(2, n, ERR_TIMEOUT);
    fake_links.unsent[4] = 0;
    WAIT_FOR(fake_links.n_answers == 6);
    while (fake_links.n_answers < n + 1) {
        fake_links.unsent[4] = 0;
        run_for(4 * TRANSIT_ROOM_TICK_US);
    }
    receive(1001, 0);
    assert_int_equal(fake_links.n_answers, n + 1);
    api_answers(n, 200, 10);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_request_is_answered_once),
        TEST(another_is_asked_when_a_node_goes),
        TEST(who_has_no_replica_is_not_asked),
        TEST(a_node_that_comes_back_is_found),
        TEST(a_stop_is_the_end_of_those_that_wait),
        TEST(a_fence_that_refuses_is_believed),
        TEST(those_who_have_no_room_are_said_to_be_full),
        TEST(a_write_whose_answer_had_no_room_is_asked_about_elsewhere),
        TEST(only_so_many_are_passed_on),
        TEST(a_guest_is_answered_by_the_api),
        TEST(guests_are_refused_where_they_may_not_be),
        TEST(only_so_many_guests_are_taken),
        TEST(without_memory_for_an_answer_the_outcome_is_open),
        TEST(answers_wait_for_room_in_their_order),
        TEST(who_waits_too_long_is_told_that_the_outcome_is_open),
        TEST(nobody_waits_for_a_link_that_is_gone),
        TEST(what_waits_is_bounded),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
