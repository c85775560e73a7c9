/* Walls 2 and 3 of a fence, between two nodes over real mTLS: node a-1 of
 * region a, inside the fence of shard 7, and b-1 of region b, outside.
 *
 * Each wall alone: the other node has a table that lets everything through, as
 * if it had no wall. Where the walls can be opened (tests/fence.mk) the same is
 * shown with the other wall gone from both nodes, and that with none of them
 * everything arrives. */
#include "node/base/feature.h"
#include "tests/unit/replication/two_nodes.h"

#define FENCED 7
#define UNKNOWN 8
#define EVERYBODYS 3

/* Shards 1 to 6 are everybody's; 7 is region a's alone; 8 nobody knows. */
static struct fence *closed_fence;

static void name_regions(struct fence *f)
{
    assert_int_equal(fence_name_region(f, 1, "a"), ERR_OK);
    assert_int_equal(fence_name_region(f, 2, "b"), ERR_OK);
}

static const struct fence_group fenced = {.number = 1,
                                          .name = "eu",
                                          .first_shard = FENCED,
                                          .shard_count = 1,
                                          .payload = 1 << 1};

static int setup_fences(void **state)
{
    closed_fence = fence_new(UNKNOWN + 1, FENCED - 1);
    name_regions(closed_fence);
    assert_int_equal(fence_put(closed_fence, &fenced), ERR_OK);
    return setup(state);
}

static int teardown_fences(void **state)
{
    fence_free(closed_fence);
    return teardown(state);
}

/* `a` and `b`: the nodes' tables; NULL: open. */
static void fences_up(struct world *w, const struct fence *a,
                      const struct fence *b)
{
    w->a.fence = a;
    w->b.fence = b;
    world_up(w);
}

static const struct snapshot_chunk chunk_of_shard = {
    .shard = FENCED, .transfer = 1, .lsn = 5, .term = 1};

/* Everything that carries something of the shard: what the sender is told. */
static void send_everything(struct node *n, links_peer self, links_peer to,
                            int wanted)
{
    struct raft_msg heartbeat = {
        .type = RAFT_MSG_APPEND, .from = self, .to = to};
    struct raft_entry head = {.term = 1, .size = 1, .type = RAFT_ENTRY_DATA};
    struct bytes payload = bytes_of("", 1);
    struct raft_msg append = heartbeat;
    struct snapshot_chunk chunk = chunk_of_shard;
    uint64_t id;
    append.append.n = append.append.bytes = 1;
    append.append.entries = &head;
    append.append.prev_lsn = 1;
    chunk.data = bytes_str("data");
    assert_int_equal(links_send_raft(n->links, to, FENCED, &heartbeat, NULL),
                     wanted);
    assert_int_equal(links_send_raft(n->links, to, FENCED, &append, &payload),
                     wanted);
    assert_int_equal(
        links_request(n->links, to, 3, FENCED, 4000, bytes_str("q"), &id),
        wanted);
    assert_int_equal(links_send_snapshot(n->links, to, &chunk), wanted);
}
#define SENT 4

static void nothing_arrived(const struct node *n)
{
    assert_int_equal(n->raft_got, 0);
    assert_int_equal(n->requests, 0);
    assert_int_equal(n->chunk_seq, 0);
}

/* What is everybody's still crosses, and all that was sent before it with it,
 * since order is kept. */
static void others_pass(struct world *w)
{
    uint64_t id;
    unsigned before = w->b.requests;
    w->b.requests_shard = EVERYBODYS;
    assert_int_equal(links_request(w->a.links, PEER_B, 3, EVERYBODYS, 4000,
                                   bytes_str("open"), &id),
                     ERR_OK);
    WAIT_FOR(w, w->a.response_id == id);
    assert_int_equal(w->a.response_err, ERR_NOT_LEADER); /* its answer */
    assert_int_equal(w->b.requests, before + 1);
}

static struct links_stats stats_of(const struct node *n, links_peer peer)
{
    struct links_stats s;
    assert_int_equal(links_get_stats(n->links, peer, &s), ERR_OK);
    return s;
}

static void the_sender_alone_holds(struct world *w)
{
    uint64_t frames = stats_of(&w->a, PEER_B).raft_bytes_out;
    send_everything(&w->a, PEER_A, PEER_B, ERR_FORBIDDEN);
    assert_int_equal(stats_of(&w->a, PEER_B).raft_bytes_out, frames);
    assert_int_equal(stats_of(&w->a, PEER_B).fence_refused_out, SENT);
    assert_int_equal(w->a.refused, SENT);
    assert_int_equal(w->a.refusal.wall, FENCE_WALL_SEND);
    assert_int_equal(w->a.refusal.peer, PEER_B);
    assert_int_equal(w->a.refusal.shard, FENCED);
    assert_int_equal(w->a.refusal.bytes, 4);
    assert_true(w->a.refusal.known);
    assert_string_equal(w->a.refusal.what, "snapshot chunk");
    others_pass(w);
    nothing_arrived(&(struct node){.requests = w->b.requests - 1,
                                   .raft_got = w->b.raft_got,
                                   .chunk_seq = w->b.chunk_seq});
}

static void the_receiver_alone_holds(struct world *w)
{
    w->b.requests_shard = FENCED;
    send_everything(&w->a, PEER_A, PEER_B, ERR_OK);
    WAIT_FOR(w, w->a.responses == 1 && w->a.acked == 1);
    assert_int_equal(w->a.response_err, ERR_FORBIDDEN);
    assert_string_equal(w->a.response, "");
    assert_int_equal(w->a.ack_err, ERR_FORBIDDEN);
    assert_int_equal(w->b.refused, SENT);
    assert_int_equal(w->b.refusal.wall, FENCE_WALL_RECEIVE);
    assert_int_equal(w->b.refusal.peer, PEER_A);
    assert_int_equal(w->b.refusal.shard, FENCED);
    assert_int_equal(stats_of(&w->b, PEER_A).fence_refused_in, SENT);
    nothing_arrived(&w->b);
    others_pass(w);
    assert_true(links_is_up(w->a.links, PEER_B)); /* and no link is lost */
}

static void the_sender_holds(void **state)
{
    (void)state;
    struct world w = {.ev = NULL};
    fences_up(&w, closed_fence, NULL);
    the_sender_alone_holds(&w);
    world_close(&w);
}

static void the_receiver_holds(void **state)
{
    (void)state;
    struct world w = {.ev = NULL};
    fences_up(&w, NULL, closed_fence);
    the_receiver_alone_holds(&w);
    world_close(&w);
}

/* What a node outside should not have at all it neither gives away, nor does
 * one inside take it. */
static void nothing_comes_from_outside(void **state)
{
    (void)state;
    struct world w = {.ev = NULL};
    fences_up(&w, NULL, closed_fence);
    send_everything(&w.b, PEER_B, PEER_A, ERR_FORBIDDEN);
    assert_int_equal(w.b.refused, SENT);
    world_close(&w);
    w = (struct world){.ev = NULL};
    fences_up(&w, closed_fence, NULL);
    w.a.requests_shard = FENCED;
    send_everything(&w.b, PEER_B, PEER_A, ERR_OK);
    WAIT_FOR(&w, w.b.responses == 1 && w.b.acked == 1);
    assert_int_equal(w.b.response_err, ERR_FORBIDDEN);
    assert_int_equal(w.b.ack_err, ERR_FORBIDDEN);
    assert_int_equal(w.a.refused, SENT);
    nothing_arrived(&w.a);
    world_close(&w);
}

/* A group may be tightened while a question is open. */
static void answers_are_judged_too(void **state)
{
    (void)state;
    struct fence *changing = fence_new(UNKNOWN + 1, UNKNOWN);
    const struct fence_group others = {.name = "default",
                                       .first_shard = 1,
                                       .shard_count = FENCED - 1,
                                       .payload = FENCE_EVERYWHERE};
    uint64_t id;
    name_regions(changing);
    struct world w = {.ev = NULL};
    fences_up(&w, changing, NULL);
    w.a.keep_calls = w.b.keep_calls = true;
    /* By the one who answers: the body stays here. */
    w.a.requests_shard = FENCED;
    assert_int_equal(
        links_request(w.b.links, PEER_A, 3, FENCED, 4000, bytes_str("q"), &id),
        ERR_OK);
    WAIT_FOR(&w, w.a.requests == 1);
    assert_int_equal(w.a.call.shard, FENCED);
    /* By the one who asked: the outcome is unknown to it. */
    assert_int_equal(
        links_request(w.a.links, PEER_B, 3, FENCED, 4000, bytes_str("q"), &id),
        ERR_OK);
    WAIT_FOR(&w, w.b.requests == 1);
    assert_int_equal(fence_put(changing, &others), ERR_OK);
    assert_int_equal(fence_put(changing, &fenced), ERR_OK);
    assert_int_equal(
        links_reply(w.a.links, w.a.call, ERR_OK, bytes_str("secret")),
        ERR_FORBIDDEN);
    WAIT_FOR(&w, w.b.responses == 1);
    assert_int_equal(w.b.response_err, ERR_TIMEOUT);
    assert_string_equal(w.b.response, "");
    assert_int_equal(
        links_reply(w.b.links, w.b.call, ERR_OK, bytes_str("secret")), ERR_OK);
    WAIT_FOR(&w, w.a.failures == 1);
    assert_int_equal(w.a.failure_err, ERR_TIMEOUT);
    assert_int_equal(w.a.responses, 0);
    assert_string_equal(w.a.refusal.what, "response");
    world_close(&w);
    fence_free(changing);
}

static void a_shard_that_nobody_knows_is_closed(void **state)
{
    (void)state;
    struct world w = {.ev = NULL};
    uint64_t id;
    fences_up(&w, NULL, closed_fence);
    w.b.requests_shard = UNKNOWN;
    assert_int_equal(
        links_request(w.b.links, PEER_A, 3, UNKNOWN, 4000, bytes_str("q"), &id),
        ERR_UNAVAILABLE);
    assert_false(w.b.refusal.known);
    assert_int_equal(
        links_request(w.a.links, PEER_B, 3, UNKNOWN, 4000, bytes_str("q"), &id),
        ERR_OK);
    WAIT_FOR(&w, w.a.responses == 1);
    assert_int_equal(w.a.response_err, ERR_UNAVAILABLE);
    assert_int_equal(w.b.requests, 0);
    assert_false(w.b.refusal.known);
    world_close(&w);
}

static const struct fence_group allowing = {.number = 1,
                                            .name = "eu",
                                            .first_shard = FENCED,
                                            .shard_count = 1,
                                            .payload = 1 << 1,
                                            .transit = true};

/* From the node outside to the one inside, and its answer back; everything else
 * is refused as ever. */
static void requests_cross_by_transit(void **state)
{
    (void)state;
    struct fence *f = fence_new(UNKNOWN + 1, FENCED - 1);
    struct world w = {.ev = NULL};
    uint64_t id;
    name_regions(f);
    assert_int_equal(fence_put(f, &allowing), ERR_OK);
    fences_up(&w, f, f);
    w.a.requests_shard = FENCED;
    requests_carry = FENCE_TRANSIT;
    assert_int_equal(links_request(w.b.links, PEER_A, 3, FENCED, 4000,
                                   bytes_str("question"), &id),
                     ERR_OK);
    WAIT_FOR(&w, w.b.responses == 1);
    assert_int_equal(w.b.response_err, ERR_NOT_LEADER);
    assert_string_equal(w.b.response, "question");
    assert_int_equal(w.a.call.carries, FENCE_TRANSIT);
    assert_int_equal(w.a.refused + w.b.refused, 0);
    requests_carry = FENCE_PAYLOAD;
    send_everything(&w.b, PEER_B, PEER_A, ERR_FORBIDDEN);
    send_everything(&w.a, PEER_A, PEER_B, ERR_FORBIDDEN);
    world_close(&w);
    fence_free(f);
}

/* Each wall alone, where the group denies it. */
static void transit_is_refused_where_it_is_denied(void **state)
{
    (void)state;
    struct world w = {.ev = NULL};
    uint64_t id;
    requests_carry = FENCE_TRANSIT;
    fences_up(&w, NULL, closed_fence); /* the sender's */
    assert_int_equal(
        links_request(w.b.links, PEER_A, 3, FENCED, 4000, bytes_str("q"), &id),
        ERR_FORBIDDEN);
    world_close(&w);
    w = (struct world){.ev = NULL};
    fences_up(&w, closed_fence, NULL); /* the receiver's */
    w.a.requests_shard = FENCED;
    assert_int_equal(
        links_request(w.b.links, PEER_A, 3, FENCED, 4000, bytes_str("q"), &id),
        ERR_OK);
    WAIT_FOR(&w, w.b.responses == 1);
    assert_int_equal(w.b.response_err, ERR_FORBIDDEN);
    assert_int_equal(w.a.requests, 0);
    assert_int_equal(w.a.refusal.wall, FENCE_WALL_RECEIVE);
    requests_carry = FENCE_PAYLOAD;
    world_close(&w);
}

/* Denied while a question is open: its answer stays inside. */
static void an_answer_by_transit_is_judged_too(void **state)
{
    (void)state;
    struct fence *f = fence_new(UNKNOWN + 1, FENCED - 1);
    struct world w = {.ev = NULL};
    uint64_t id;
    name_regions(f);
    assert_int_equal(fence_put(f, &allowing), ERR_OK);
    fences_up(&w, f, f);
    w.a.requests_shard = FENCED;
    w.a.keep_calls = true;
    requests_carry = FENCE_TRANSIT;
    assert_int_equal(
        links_request(w.b.links, PEER_A, 3, FENCED, 4000, bytes_str("q"), &id),
        ERR_OK);
    WAIT_FOR(&w, w.a.requests == 1);
    assert_int_equal(fence_put(f, &fenced), ERR_OK);
    assert_int_equal(
        links_reply(w.a.links, w.a.call, ERR_OK, bytes_str("secret")),
        ERR_FORBIDDEN);
    WAIT_FOR(&w, w.b.responses == 1);
    assert_int_equal(w.b.response_err, ERR_TIMEOUT);
    assert_string_equal(w.b.response, "");
    requests_carry = FENCE_PAYLOAD;
    world_close(&w);
    fence_free(f);
}

/* ---- a region is proved ----------------------------------------------------
 */

static const struct fence_group of_both = {.number = 1,
                                           .name = "eu",
                                           .first_shard = FENCED,
                                           .shard_count = 1,
                                           .payload = 1 << 1 | 1 << 2};

/* Both regions are inside the group that there may be; b-1 holds key `holds`,
 * a-1 expects 'k'. */
static struct fence *prepare(struct world *w, char holds)
{
    struct fence *f = fence_new(UNKNOWN + 1, FENCED - 1);
    name_regions(f);
    *w = (struct world){.ev = NULL};
    w->a.level = w->b.level = FEATURE_REGION_PROOF;
    w->a.fence = w->b.fence = f;
    w->a.expects = 'k';
    w->b.holds = holds;
    return f;
}

static const char wrong_keys[] = {0, 'x'};

static void a_certificate_without_its_regions_key_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(wrong_keys); i++) {
        struct world w;
        struct fence *f = prepare(&w, wrong_keys[i]);
        assert_int_equal(fence_put(f, &of_both), ERR_OK);
        world_dial(&w);
        WAIT_FOR(&w, stats_of(&w.a, PEER_B).refusals > 0);
        assert_int_equal(w.a.ups, 0);
        assert_int_equal(stats_of(&w.a, PEER_B).last_err, ERR_IDENTITY);
        assert_non_null(
            strstr(stats_of(&w.a, PEER_B).last_reason, "region.key"));
        world_close(&w);
        fence_free(f);
    }
}

/* And does not raise the level, or whom it says it to would stop. */
static void what_it_says_is_not_believed(void **state)
{
    (void)state;
    struct world w;
    struct fence *f = prepare(&w, 0);
    w.b.level = 99;
    world_dial(&w);
    WAIT_FOR(&w, w.a.ups == 1);
    assert_int_equal(stats_of(&w.a, PEER_B).feature_heard,
                     FEATURE_REGION_PROOF - 1);
    world_close(&w);
    w = (struct world){.ev = NULL};
    fence_free(f);
    f = prepare(&w, 'x');
    w.b.level = 99;
    assert_int_equal(fence_put(f, &of_both), ERR_OK);
    world_dial(&w);
    WAIT_FOR(&w, stats_of(&w.a, PEER_B).refusals > 0);
    assert_int_equal(stats_of(&w.a, PEER_B).feature_heard, 0);
    world_close(&w);
    fence_free(f);
}

/* Its link is from before there was a fence. The other node believes, so each
 * of a-1's walls stands alone. */
static void a_link_from_before_the_fence_is_outside(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(wrong_keys); i++) {
        struct world w;
        struct fence *f = prepare(&w, wrong_keys[i]);
        world_up(&w);
        assert_false(stats_of(&w.a, PEER_B).region_proved);
        assert_int_equal(fence_put(f, &of_both), ERR_OK);
        the_sender_alone_holds(&w);
        assert_true(w.a.refusal.unproved);
        w.a.requests_shard = FENCED;
        send_everything(&w.b, PEER_B, PEER_A, ERR_OK);
        WAIT_FOR(&w, w.b.responses == 1 && w.b.acked == 1);
        assert_int_equal(w.b.response_err, ERR_FORBIDDEN);
        assert_int_equal(w.b.ack_err, ERR_FORBIDDEN);
        assert_int_equal(w.a.refusal.wall, FENCE_WALL_RECEIVE);
        assert_true(w.a.refusal.unproved);
        nothing_arrived(&w.a);
        world_close(&w);
        fence_free(f);
    }
}

static void all_cross(struct world *w)
{
    w->b.requests_shard = FENCED;
    send_everything(&w->a, PEER_A, PEER_B, ERR_OK);
    WAIT_FOR(w, w->a.responses == 1 && w->a.acked == 1 && w->b.raft_got == 2);
    assert_int_equal(w->b.refused + w->a.refused, 0);
}

static void who_proves_its_region_is_inside(void **state)
{
    (void)state;
    struct world w;
    struct fence *f = prepare(&w, 'k');
    assert_int_equal(fence_put(f, &of_both), ERR_OK);
    world_up(&w);
    assert_true(stats_of(&w.a, PEER_B).region_proved);
    all_cross(&w);
    world_close(&w);
    fence_free(f);
}

/* Older releases prove nothing; once none can be there, links that are open
 * are judged anew. */
static void proof_is_asked_for_from_its_level_on(void **state)
{
    (void)state;
    struct world w;
    struct fence *f = prepare(&w, 0);
    w.a.active = w.b.active = FEATURE_REGION_PROOF - 1;
    assert_int_equal(fence_put(f, &of_both), ERR_OK);
    world_up(&w);
    all_cross(&w);
    links_require(w.a.links, FEATURE_REGION_PROOF);
    send_everything(&w.a, PEER_A, PEER_B, ERR_FORBIDDEN);
    assert_true(w.a.refusal.unproved);
    world_close(&w);
    fence_free(f);
}

#ifdef FENCE_OPENABLE
static void one_wall_is_enough(void **state)
{
    (void)state;
    struct world w = {.ev = NULL};
    fence_open_walls = ~(unsigned)FENCE_WALL_SEND;
    fences_up(&w, closed_fence, closed_fence);
    the_sender_alone_holds(&w);
    world_close(&w);
    w = (struct world){.ev = NULL};
    fence_open_walls = ~(unsigned)FENCE_WALL_RECEIVE;
    fences_up(&w, closed_fence, closed_fence);
    the_receiver_alone_holds(&w);
    world_close(&w);
    fence_open_walls = 0;
}

/* Or the tests above would prove nothing. */
static void without_walls_everything_arrives(void **state)
{
    (void)state;
    struct world w = {.ev = NULL};
    fence_open_walls = FENCE_WALL_SEND | FENCE_WALL_RECEIVE;
    fences_up(&w, closed_fence, closed_fence);
    w.b.requests_shard = FENCED;
    send_everything(&w.a, PEER_A, PEER_B, ERR_OK);
    WAIT_FOR(&w, w.a.responses == 1 && w.a.acked == 1 && w.b.raft_got == 2);
    assert_int_equal(w.a.ack_err, ERR_OK);
    assert_int_equal(w.b.requests, 1);
    assert_int_equal(w.b.chunk_seq, 1);
    assert_int_equal(w.b.refused + w.a.refused, 0);
    world_close(&w);
    fence_open_walls = 0;
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sender_holds),
        cmocka_unit_test(the_receiver_holds),
        cmocka_unit_test(nothing_comes_from_outside),
        cmocka_unit_test(answers_are_judged_too),
        cmocka_unit_test(a_shard_that_nobody_knows_is_closed),
        cmocka_unit_test(requests_cross_by_transit),
        cmocka_unit_test(transit_is_refused_where_it_is_denied),
        cmocka_unit_test(an_answer_by_transit_is_judged_too),
        cmocka_unit_test(a_certificate_without_its_regions_key_is_refused),
        cmocka_unit_test(what_it_says_is_not_believed),
        cmocka_unit_test(a_link_from_before_the_fence_is_outside),
        cmocka_unit_test(who_proves_its_region_is_inside),
        cmocka_unit_test(proof_is_asked_for_from_its_level_on),
#ifdef FENCE_OPENABLE
        cmocka_unit_test(one_wall_is_enough),
        cmocka_unit_test(without_walls_everything_arrives),
#endif
    };
    return cmocka_run_group_tests(tests, setup_fences, teardown_fences);
}
