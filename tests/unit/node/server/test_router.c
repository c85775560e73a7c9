/* Promises of the router: an operation whose answer is lost is sent again, says
 * since when it may have been done, and its caller hears what can be believed.
 * The links are fake, the shards are the test. */
#include "tests/unit/node/server/fake_links.h"

#include <stdio.h>

#include "node/base/mem.h"
#include "node/catalog/rid.h"
#include "node/server/fence_guard.h"
#include "node/server/router.h"

#define SELF 1
#define SHARD 1
#define WAIT_US (5 * USEC_PER_SEC)

struct shard {
    raft_id leader;
    struct shard_request *req; /* that waits for its answer */
};

static struct world {
    struct ev_loop *loop;
    struct worker *w;
    struct node node;
    struct config config;
    struct replica replica;
    struct shard shard;
    struct task *tasks[64]; /* by request id */
} world;

/* What the caller was told. */
struct told {
    unsigned times;
    int err;
};

/* ---- what it is linked with -------------------------------------------------
 */

int peers_request(struct peers *p, uint32_t node_id, uint16_t shard,
                  uint32_t deadline_ms, uint32_t age_ms, struct bytes body,
                  struct task *task, uint64_t *id_out)
{
    int err = links_request_again(peers_links(p), node_id, ROUTER_REQUEST_OP,
                                  shard, deadline_ms, age_ms, body, id_out);
    if (err == ERR_OK)
        world.tasks[*id_out] = task;
    return err;
}

struct task *peers_take_task(struct peers *p, uint64_t id)
{
    (void)p;
    return id < ARRAY_LEN(world.tasks) ? TAKE(world.tasks[id]) : NULL;
}

void shard_submit(struct shard *s, usec_t now, struct shard_request *req)
{
    (void)now;
    assert_null(s->req);
    op_result_init(&req->result);
    s->req = req;
}

raft_id shard_leader(const struct shard *s)
{
    return s->leader;
}

const struct raft *shard_raft(const struct shard *s)
{
    return (const struct raft *)s;
}

bool raft_may_read(const struct raft *r, usec_t now)
{
    (void)r, (void)now;
    return true;
}

bool steering_in_contact(const struct worker *w, uint32_t shard)
{
    (void)w, (void)shard;
    return true;
}

void fence_refused(struct worker *w, const struct fence_refusals *refusal)
{
    (void)w, (void)refusal;
}

void worker_wake(struct worker *w)
{
    (void)w;
}

void worker_run(struct worker *w, void (*fn)(struct worker *w, void *arg),
                void *arg)
{
    fn(w, arg);
}

/* ---- the world --------------------------------------------------------------
 */

static int setup(void **state)
{
    (void)state;
    memset(&world, 0, sizeof(world));
    memset(&fake_links, 0, sizeof(fake_links));
    fake_links.up[2] = fake_links.up[3] = true;
    world.config.id = SELF;
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
    world.replica = (struct replica){.magic = REPLICA_MAGIC,
                                     .worker = w,
                                     .id = SHARD,
                                     .shard = &world.shard};
    w->replica_of[SHARD] = &world.replica;
    world.shard.leader = 2;
    router_init(&w->router, w);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    catalog_free(world.w->catalog);
    mem_free(world.w);
    ev_loop_destroy(world.loop);
    return 0;
}

static void on_poll(struct ev_loop *loop, ev_timer *t, int events)
{
    (void)loop, (void)t, (void)events;
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

static void on_done(void *user, struct op_result *result)
{
    struct told *t = user;
    t->times++;
    t->err = result->err;
}

static const struct op a_write = {.kind = OP_WRITE,
                                  .shard = SHARD,
                                  .id = "0123456789abcde",
                                  .at.container = 100,
                                  .mode = OP_DELETE,
                                  .resource = OP_RESOURCE_DOCUMENT};

static void submit(struct told *t, const struct op *op, usec_t timeout_us)
{
    *t = (struct told){.times = 0};
    backend_submit(&world.w->router.backend, op, timeout_us, on_done, t);
}

static const struct fake_request *sent(uint32_t id)
{
    assert_int_equal(fake_links.n_sent, id);
    return &fake_links.sent[id - 1];
}

static void put_result(struct buf *out, int err)
{
    struct op_result r;
    op_result_init(&r);
    r.err = err;
    buf_init(out, OP_PAGE_MAX);
    assert_int_equal(op_result_encode(&r, out), ERR_OK);
    op_result_free(&r);
}

/* The leader's answer. */
static void leader_says(uint64_t id, int err)
{
    struct buf b;
    put_result(&b, err);
    router_on_response(world.w, id, ERR_OK,
                       bytes_of(buf_bytes(&b), buf_len(&b)));
    buf_free(&b);
}

static void shard_says(int err)
{
    struct shard_request *req = TAKE(world.shard.req);
    assert_non_null(req);
    req->result.err = err;
    req->done(req, &req->result);
}

static void expect_told(const struct told *t, int err)
{
    assert_int_equal(t->times, 1);
    assert_int_equal(t->err, err);
}

/* ---- operations of this node ------------------------------------------------
 */

static void a_lost_answer_is_asked_for_again_with_its_age(void **state)
{
    (void)state;
    struct told t;
    submit(&t, &a_write, USEC_PER_SEC);
    assert_int_equal(sent(1)->to, 2);
    assert_int_equal(sent(1)->age_ms, 0);
    router_on_request_failed(world.w, 1, ERR_TIMEOUT);
    WAIT_FOR(fake_links.n_sent == 2);
    assert_true(sent(2)->age_ms > 0);
    leader_says(1, ERR_OK); /* too late: nobody waits for it */
    assert_int_equal(t.times, 0);
    leader_says(2, ERR_OK);
    expect_told(&t, ERR_OK);
}

static void what_certainly_was_not_done_is_new(void **state)
{
    (void)state;
    static const int untouched[] = {ERR_FULL, ERR_UNAVAILABLE};
    struct told t;
    submit(&t, &a_write, USEC_PER_SEC);
    router_on_request_failed(world.w, 1, ERR_UNAVAILABLE);
    for (uint32_t i = 0; i < 2; i++) {
        WAIT_FOR(fake_links.n_sent == 2 + i);
        router_on_response(world.w, 2 + i, untouched[i], bytes_of(NULL, 0));
    }
    WAIT_FOR(fake_links.n_sent == 4);
    leader_says(4, ERR_NOT_LEADER);
    WAIT_FOR(fake_links.n_sent == 5);
    assert_int_equal(sent(5)->age_ms, 0);
    leader_says(5, ERR_OK);
    expect_told(&t, ERR_OK);
}

static void a_shard_here_hears_since_when(void **state)
{
    (void)state;
    struct told t;
    usec_t before = clock_mono_us();
    submit(&t, &a_write, USEC_PER_SEC);
    router_on_request_failed(world.w, 1, ERR_TIMEOUT);
    world.shard.leader = SELF; /* elected meanwhile */
    WAIT_FOR(world.shard.req != NULL);
    const struct op *op = world.shard.req->op;
    assert_memory_equal(op->id, a_write.id, OP_ID_LEN);
    assert_true(op->since_us >= before && op->since_us <= clock_mono_us());
    shard_says(ERR_OK);
    expect_told(&t, ERR_OK);
    submit(&t, &a_write, USEC_PER_SEC);
    assert_int_equal(world.shard.req->op->since_us, 0);
    shard_says(ERR_OK);
    expect_told(&t, ERR_OK);
}

/* Asking again would not help: it is told at once. */
static void what_is_forgotten_is_an_open_outcome(void **state)
{
    (void)state;
    struct told t;
    submit(&t, &a_write, 10 * USEC_PER_SEC);
    router_on_request_failed(world.w, 1, ERR_TIMEOUT);
    WAIT_FOR(fake_links.n_sent == 2);
    leader_says(2, ERR_FORGOTTEN);
    expect_told(&t, ERR_TIMEOUT);
    /* One that another node passed on (transit.h), by itself or again. */
    world.shard.leader = SELF;
    struct op passed = a_write;
    passed.since_us = 1;
    passed.again = true;
    submit(&t, &passed, 10 * USEC_PER_SEC);
    shard_says(ERR_FORGOTTEN);
    expect_told(&t, ERR_TIMEOUT);
    passed.again = false;
    submit(&t, &passed, 10 * USEC_PER_SEC);
    shard_says(ERR_FORGOTTEN);
    expect_told(&t, ERR_UNAVAILABLE);
}

/* A far leader that has forgotten something while the first attempt came. */
static void a_first_attempt_that_was_slow_is_made_anew(void **state)
{
    (void)state;
    struct told t;
    submit(&t, &a_write, 10 * USEC_PER_SEC);
    leader_says(1, ERR_FORGOTTEN);
    assert_int_equal(t.times, 0);
    WAIT_FOR(fake_links.n_sent == 2);
    assert_int_equal(sent(2)->age_ms, 0);
    leader_says(2, ERR_OK);
    expect_told(&t, ERR_OK);
    /* In the end it is known that nothing was done. */
    submit(&t, &a_write, 30 * USEC_PER_MS);
    leader_says(3, ERR_FORGOTTEN);
    fake_links.up[2] = false;
    WAIT_FOR(t.times > 0);
    expect_told(&t, ERR_UNAVAILABLE);
}

static void time_over_says_what_is_known(void **state)
{
    (void)state;
    struct told t;
    submit(&t, &a_write, 30 * USEC_PER_MS);
    router_on_request_failed(world.w, 1, ERR_UNAVAILABLE);
    fake_links.up[2] = false;
    WAIT_FOR(t.times > 0);
    expect_told(&t, ERR_UNAVAILABLE);
    fake_links.up[2] = true;
    submit(&t, &a_write, 30 * USEC_PER_MS);
    router_on_request_failed(world.w, 2, ERR_TIMEOUT);
    fake_links.up[2] = false;
    WAIT_FOR(t.times > 0);
    expect_told(&t, ERR_TIMEOUT);
}

/* A refusal of a further attempt does not answer for the first. */
static void throttling_does_not_end_a_doubt(void **state)
{
    (void)state;
    struct told t;
    submit(&t, &a_write, USEC_PER_SEC);
    leader_says(1, ERR_THROTTLED);
    expect_told(&t, ERR_THROTTLED);
    submit(&t, &a_write, USEC_PER_SEC);
    router_on_request_failed(world.w, 2, ERR_TIMEOUT);
    WAIT_FOR(fake_links.n_sent == 3);
    leader_says(3, ERR_THROTTLED);
    assert_int_equal(t.times, 0);
    WAIT_FOR(fake_links.n_sent == 4);
    leader_says(4, ERR_OK);
    expect_told(&t, ERR_OK);
}

/* Group eu, whose shard has no replica here. */
static void have_group(void)
{
    static const char json[] =
        "{\"id\":\"eu\",\"number\":1,\"firstShard\":2,\"shards\":1,"
        "\"keys\":[],\"members\":[1,2],\"firstMembers\":[1,2],"
        "\"regions\":[\"g\",\"f\"]}";
    struct err_msg msg = {""};
    if (catalog_put(world.w->catalog, CONTAINER_GROUPS, rid_counter(2, 0, 0),
                    bytes_str(json), 1, &msg) != ERR_OK)
        fail_msg("%s", msg.text);
    snprintf(world.config.region, sizeof(world.config.region), "g");
    world.w->reachable[2] = true;
}

static void without_a_replica_a_member_is_asked(void **state)
{
    (void)state;
    struct told t;
    struct op op = a_write;
    have_group();
    op.shard = 2;
    submit(&t, &op, USEC_PER_SEC);
    assert_int_equal(sent(1)->to, 2);
    leader_says(1, ERR_OK);
    expect_told(&t, ERR_OK);
}

/* ---- for other nodes --------------------------------------------------------
 */

static void receive(uint64_t id, uint32_t age_ms, const struct op *op)
{
    struct buf b;
    buf_init(&b, OP_ENCODED_MAX);
    assert_int_equal(op_encode(op, &b), ERR_OK);
    router_on_request(
        world.w, (struct links_call){.peer = 3, .id = id, .age_ms = age_ms},
        1000, bytes_of(buf_bytes(&b), buf_len(&b)));
    buf_free(&b);
}

static int answer_of(uint32_t i, uint64_t id)
{
    assert_int_equal(fake_links.n_answers, i + 1);
    assert_int_equal(fake_links.answers[i].call.id, id);
    return fake_links.answers[i].err;
}

static void an_operation_of_another_node_keeps_its_age(void **state)
{
    (void)state;
    receive(7, 300, &a_write);
    assert_int_equal(world.shard.req->op->since_us, 300 * USEC_PER_MS);
    shard_says(ERR_OK);
    assert_int_equal(answer_of(0, 7), ERR_OK);
    receive(8, 0, &a_write);
    assert_int_equal(world.shard.req->op->since_us, 0);
    shard_says(ERR_FORGOTTEN); /* for the other to judge */
    assert_int_equal(answer_of(1, 8), ERR_OK);
    /* Never passed on a second time, whoever leads. */
    assert_int_equal(fake_links.n_sent, 0);
    assert_int_equal(world.w->router.foreign, 0);
}

static void scans_wait_while_the_link_back_is_full(void **state)
{
    (void)state;
    const struct op scan = {.kind = OP_SCAN,
                            .shard = SHARD,
                            .at.container = 100,
                            .level = CONSISTENCY_EVENTUAL,
                            .max_items = 10,
                            .max_bytes = OP_PAGE_MAX};
    const size_t full = LINKS_ANSWER_QUEUE_MAX - ROUTER_ROOM_MIN;
    fake_links.unsent[3] = full + 1;
    receive(1, 0, &scan);
    assert_int_equal(answer_of(0, 1), ERR_FULL);
    receive(2, 0, &a_write); /* what is small goes on */
    shard_says(ERR_OK);
    assert_int_equal(answer_of(1, 2), ERR_OK);
    fake_links.unsent[3] = full;
    receive(3, 0, &scan);
    shard_says(ERR_OK);
    assert_int_equal(answer_of(2, 3), ERR_OK);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_lost_answer_is_asked_for_again_with_its_age),
        TEST(what_certainly_was_not_done_is_new),
        TEST(a_shard_here_hears_since_when),
        TEST(what_is_forgotten_is_an_open_outcome),
        TEST(a_first_attempt_that_was_slow_is_made_anew),
        TEST(time_over_says_what_is_known),
        TEST(throttling_does_not_end_a_doubt),
        TEST(without_a_replica_a_member_is_asked),
        TEST(an_operation_of_another_node_keeps_its_age),
        TEST(scans_wait_while_the_link_back_is_full),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
