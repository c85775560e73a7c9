/* Promises under everything at once: clients that retry, as the node's router
 * does, on a cluster whose nodes crash, whose links and disks stop, and that
 * flushes, compacts, hands over leadership and changes its members meanwhile.
 *
 *   - an operation takes effect at most once: a create of an id that only one
 *     operation ever uses is never answered EXISTS, however often it was sent;
 *   - an acknowledged write is never lost, and is seen by every read that
 *     begins after it, anywhere;
 *   - every operation is answered; the cluster checks the rest by itself.
 */
#include "tests/unit/node/shard/shard_test.h"

#define CLIENTS 6
#define TURNS 6000
#define CALM_EVERY 1000 /* turns until all faults are healed again */
#define SEEDS 12

struct client {
    struct cluster_call call;
    char body[64];
    unsigned key;     /* this client alone writes it */
    unsigned attempt; /* newest value sent */
    unsigned acked;   /* newest value known to be there */
    unsigned created; /* creates acknowledged */
    bool creates;     /* the operation under way is a create */
    bool pending;     /* an operation has begun and has no final answer */
    usec_t again_at;
};

struct reader {
    struct cluster_call call;
    const struct client *of;
    unsigned at_least;
};

struct storm {
    struct cluster *c;
    struct prng prng;
    struct client clients[CLIENTS];
    struct reader reader;
    bool down[4];
    bool over; /* no new operations */
    unsigned acks, reads;
};

static raft_id random_node(struct storm *s)
{
    return 1 + (raft_id)prng_below(&s->prng, 3);
}

/* ---- clients ---------------------------------------------------------------
 */

static void client_begin(struct storm *s, struct client *k)
{
    k->creates = prng_one_in(&s->prng, 2);
    k->attempt++;
    snprintf(k->body, sizeof(k->body), "{\"id\":\"%u\",\"n\":%u", k->key,
             k->attempt);
    if (k->creates)
        cluster_write(s->c, &k->call, OP_CREATE,
                      cluster_at(k->key, 1000 + k->attempt), k->body);
    else
        cluster_write(s->c, &k->call, OP_UPSERT, cluster_at(k->key, 0),
                      k->body);
    k->pending = true;
}

static void client_send(struct storm *s, struct client *k)
{
    raft_id to = cluster_leader(s->c);
    if (to == 0 || prng_one_in(&s->prng, 5))
        to = random_node(s);
    if (s->down[to])
        return;
    op_result_init(&k->call.result);
    cluster_submit(s->c, to, &k->call);
    k->call.req.deadline_us = cluster_now(s->c) + 400 * USEC_PER_MS;
}

static void client_answered(struct storm *s, struct client *k)
{
    switch (k->call.result.err) {
    case ERR_OK:
        k->pending = false;
        s->acks++;
        if (k->creates)
            k->created++;
        else
            k->acked = k->attempt;
        assert_int_equal(k->call.result.created,
                         k->creates || k->call.result.created);
        break;
    case ERR_NOT_LEADER:
    case ERR_NO_LEADER:
    case ERR_STALE:
    case ERR_TIMEOUT:
    case ERR_UNAVAILABLE:
    case ERR_THROTTLED:
        k->again_at = cluster_now(s->c) + 20 * USEC_PER_MS;
        break;
    default:
        fail_msg("a write was answered %s", err_name(k->call.result.err));
    }
    k->call.done = 0;
    cluster_call_free(&k->call);
}

static void client_turn(struct storm *s, struct client *k)
{
    if (k->call.done)
        client_answered(s, k);
    if (k->call.running || cluster_now(s->c) < k->again_at)
        return;
    if (!k->pending && s->over)
        return;
    if (!k->pending)
        client_begin(s, k);
    client_send(s, k);
}

/* ---- a reader ---------------------------------------------------------------
 */

static unsigned value_of(struct cluster_call *call)
{
    const char *n = strstr(cluster_text(call), "\"n\":");
    assert_non_null(n);
    return (unsigned)strtoul(n + 4, NULL, 10);
}

static void reader_turn(struct storm *s)
{
    struct reader *r = &s->reader;
    if (r->call.running)
        return;
    if (r->call.done && r->call.result.err == ERR_OK) {
        unsigned seen = value_of(&r->call);
        assert_true(seen >= r->at_least && seen <= r->of->attempt);
        s->reads++;
    } else if (r->call.done && r->call.result.err == ERR_NOT_FOUND) {
        assert_int_equal(r->at_least, 0);
    }
    raft_id at = random_node(s);
    if (s->down[at])
        return;
    cluster_call_free(&r->call);
    r->of = &s->clients[prng_below(&s->prng, CLIENTS)];
    r->at_least = r->of->acked;
    cluster_read(s->c, &r->call, cluster_at(r->of->key, 0));
    cluster_submit(s->c, at, &r->call);
    r->call.req.deadline_us = cluster_now(s->c) + 400 * USEC_PER_MS;
}

/* ---- trouble ---------------------------------------------------------------
 */

static void change_members(struct storm *s)
{
    raft_id leader = cluster_leader(s->c);
    struct raft_config target = {0};
    raft_id learner = prng_one_in(&s->prng, 2) ? 0 : random_node(s);
    if (leader == 0 || learner == leader)
        return;
    for (raft_id id = 1; id <= 3; id++) {
        struct raft_member m = {.id = id, .region = 1, .voter = id != learner};
        assert_int_equal(raft_config_add(&target, m), ERR_OK);
    }
    (void)shard_change(cluster_shard(s->c, leader), cluster_now(s->c), &target);
}

static void stop_or_start(struct storm *s, raft_id id)
{
    bool other_down = s->down[1] || s->down[2] || s->down[3];
    if (s->down[id])
        cluster_start(s->c, id);
    else if (!other_down)
        cluster_crash(s->c, id);
    else
        return;
    s->down[id] = !s->down[id];
}

static void trouble(struct storm *s)
{
    raft_id a = random_node(s), b = random_node(s);
    bool on = prng_one_in(&s->prng, 2);
    switch (prng_below(&s->prng, 10)) {
    case 0:
        stop_or_start(s, a);
        break;
    case 1:
        cluster_cut(s->c, a, b);
        break;
    case 2:
    case 3:
        cluster_heal(s->c);
        break;
    case 4:
        cluster_hold_sync(s->c, a, on);
        break;
    case 5:
        cluster_hold_link(s->c, a, b, on && a != b);
        break;
    case 6:
    case 7:
        if (!s->down[a])
            cluster_flush(s->c, a, on);
        break;
    case 8:
        if (cluster_leader(s->c) != 0)
            (void)shard_transfer(cluster_shard(s->c, cluster_leader(s->c)),
                                 cluster_now(s->c), a);
        break;
    default:
        change_members(s);
    }
}

static void peace(struct storm *s)
{
    for (raft_id a = 1; a <= 3; a++) {
        if (s->down[a])
            cluster_start(s->c, a);
        s->down[a] = false;
        cluster_hold_sync(s->c, a, false);
        for (raft_id b = 1; b <= 3; b++)
            cluster_hold_link(s->c, a, b, false);
    }
    cluster_heal(s->c);
    cluster_elect(s->c);
}

/* Everything comes to an end, and everything acknowledged is there. */
static void expect_all_there(struct storm *s)
{
    s->over = true;
    for (unsigned i = 0; i < 3000; i++) {
        cluster_turn(s->c);
        for (unsigned k = 0; k < CLIENTS; k++)
            client_turn(s, &s->clients[k]);
    }
    raft_id leader = cluster_elect(s->c);
    for (unsigned k = 0; k < CLIENTS; k++) {
        struct client *client = &s->clients[k];
        struct cluster_call call;
        assert_false(client->pending);
        cluster_scan(s->c, &call, 100000, NULL);
        call.op.one_partition = true;
        call.op.at = cluster_at(client->key, 0);
        assert_int_equal(cluster_do(s->c, leader, &call), ERR_OK);
        assert_int_equal(call.result.items,
                         client->created + (client->acked > 0));
        cluster_call_free(&call);
    }
    expect_same_everywhere(s->c, 3);
}

static void run_storm(uint64_t seed)
{
    struct storm *s = mem_zalloc(sizeof(*s));
    prng_seed(&s->prng, seed);
    s->c = cluster_new(&(struct cluster_options){.nodes = 3, .seed = seed});
    op_result_init(&s->reader.call.result);
    for (unsigned k = 0; k < CLIENTS; k++) {
        s->clients[k].key = 1 + k;
        op_result_init(&s->clients[k].call.result);
    }
    for (unsigned turn = 0; turn < TURNS; turn++) {
        if (prng_one_in(&s->prng, 60))
            trouble(s);
        if (turn % CALM_EVERY == 0)
            peace(s);
        for (unsigned k = 0; k < CLIENTS; k++)
            client_turn(s, &s->clients[k]);
        reader_turn(s);
        cluster_turn(s->c);
    }
    peace(s);
    expect_all_there(s);
    assert_true(s->acks > 50 && s->reads > 20); /* something went on */
    cluster_free(s->c);                         /* answers what is left */
    for (unsigned k = 0; k < CLIENTS; k++)
        cluster_call_free(&s->clients[k].call);
    cluster_call_free(&s->reader.call);
    mem_free(s);
}

static void storms_break_no_promise(void **state)
{
    (void)state;
    const char *one = getenv("TEST_SEED");
    if (one != NULL) {
        run_storm(strtoull(one, NULL, 0));
        return;
    }
    const char *many = getenv("TEST_SEEDS");
    uint64_t n = many != NULL ? strtoull(many, NULL, 0) : SEEDS;
    for (uint64_t seed = 1; seed <= n; seed++) {
        print_message("# TEST_SEED=%llu\n", (unsigned long long)seed);
        run_storm(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(storms_break_no_promise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
