/* Links that are impaired on purpose, over real mTLS on loopback. */
#include "tests/unit/replication/two_nodes.h"

static void impair(struct node *n, links_peer peer, enum impair_direction dir,
                   struct impairment i)
{
    assert_int_equal(links_impair(n->links, peer, dir, &i), ERR_OK);
}

static void delayed_frames_arrive_later_and_in_order(void **state)
{
    (void)state;
    struct world w = {.timing = {.silence_us = 2 * USEC_PER_SEC}};
    world_up(&w);
    struct impairment slow = {.delay_us = 40000, .jitter_us = 5000};
    impair(&w.a, PEER_B, IMPAIR_OUT, slow);
    impair(&w.b, PEER_A, IMPAIR_OUT, slow);
    usec_t start = clock_mono_us();
    for (uint64_t i = 0; i < ORDERED; i++)
        send_append(&w.a, PEER_A, PEER_B, i, i % 9);
    uint64_t id;
    assert_int_equal(
        links_request(w.a.links, PEER_B, 3, 0, 4000, bytes_str("q"), &id),
        ERR_OK);
    struct links_stats s;
    assert_int_equal(links_get_stats(w.a.links, PEER_B, &s), ERR_OK);
    assert_int_equal(s.out.delay_us, 40000);
    assert_true(s.output_bytes > ORDERED);
    assert_true(s.raft_bytes_out > s.raft_entries_out);
    WAIT_FOR(&w, w.b.raft_next > 0);
    assert_true(clock_mono_us() - start >= 40000);
    WAIT_FOR(&w, w.b.raft_next == ORDERED);
    WAIT_FOR(&w, w.a.responses == 1);
    assert_true(clock_mono_us() - start >= 80000);
    WAIT_FOR(&w, links_get_stats(w.a.links, PEER_B, &s) == ERR_OK &&
                     s.rtt_us >= 80000);
    assert_int_equal(w.a.downs + w.b.downs, 0);
    /* Without impairment the link is fast again, and the order still holds. */
    send_append(&w.a, PEER_A, PEER_B, ORDERED, 1);
    impair(&w.a, PEER_B, IMPAIR_OUT, (struct impairment){.delay_us = 0});
    send_append(&w.a, PEER_A, PEER_B, ORDERED + 1, 1);
    WAIT_FOR(&w, w.b.raft_next == ORDERED + 2);
    impair(&w.b, PEER_A, IMPAIR_OUT, (struct impairment){.delay_us = 0});
    WAIT_FOR(&w, links_get_stats(w.a.links, PEER_B, &s) == ERR_OK &&
                     s.rtt_us < 40000 && s.output_bytes == 0);
    world_close(&w);
}

/* The process's clock has gained time on the system's, which a timer follows:
 * delays stay what they are. */
static void a_clock_that_gained_time_delays_nothing_more(void **state)
{
    (void)state;
    struct world w = {.timing = {.silence_us = 5 * USEC_PER_SEC}};
    world_up(&w);
    clock_adjust(0, 500000);
    run_for(&w, 400 * USEC_PER_MS);
    clock_adjust(0, 0);
    impair(&w.a, PEER_B, IMPAIR_OUT, (struct impairment){.delay_us = 20000});
    usec_t start = clock_real_mono_us();
    for (uint64_t i = 0; i < 3; i++) {
        send_append(&w.a, PEER_A, PEER_B, i, 1);
        WAIT_FOR(&w, w.b.raft_next == i + 1);
    }
    usec_t took = clock_real_mono_us() - start;
    assert_true(took >= 3 * 20000);
    assert_true(took < 3 * 100 * USEC_PER_MS);
    world_close(&w);
}

static const struct impairment cut = {.cut = true};
static const struct impairment healthy = {.cut = false};

/* Cut as `out` of a and/or of b say; each end knows both directions. */
static void cut_both_ends(struct world *w, bool a_to_b, bool b_to_a)
{
    impair(&w->a, PEER_B, IMPAIR_OUT, a_to_b ? cut : healthy);
    impair(&w->b, PEER_A, IMPAIR_IN, a_to_b ? cut : healthy);
    impair(&w->b, PEER_A, IMPAIR_OUT, b_to_a ? cut : healthy);
    impair(&w->a, PEER_B, IMPAIR_IN, b_to_a ? cut : healthy);
}

static void a_cut_is_noticed_by_silence_and_heals(void **state)
{
    (void)state;
    static const struct {
        bool a_to_b, b_to_a;
    } cuts[] = {{true, true}, {true, false}, {false, true}};
    for (size_t i = 0; i < ARRAY_LEN(cuts); i++) {
        struct world w = {.timing = {.connect_us = 300 * USEC_PER_MS}};
        world_up(&w);
        cut_both_ends(&w, cuts[i].a_to_b, cuts[i].b_to_a);
        usec_t start = clock_mono_us();
        WAIT_FOR(&w, w.a.downs == 1 && w.b.downs == 1);
        assert_true(clock_mono_us() - start >= 200 * USEC_PER_MS);
        /* Whom nothing reaches any more notices the silence; with the
         * connection it closes the other end, if not by its own silence. */
        assert_true(w.a.down_err == ERR_TIMEOUT || w.b.down_err == ERR_TIMEOUT);
        struct links_stats s = {0};
        WAIT_FOR(&w,
                 links_get_stats(w.a.links, PEER_B, &s) == ERR_OK &&
                     strcmp(s.last_reason, "could not connect in time") == 0);
        run_for(&w, 500 * USEC_PER_MS);
        assert_int_equal(w.a.ups + w.b.ups, 2);
        start = clock_mono_us();
        cut_both_ends(&w, false, false);
        WAIT_FOR(&w, w.a.ups == 2 && w.b.ups == 2);
        assert_true(clock_mono_us() - start < USEC_PER_SEC);
        world_close(&w);
    }
}

static void a_short_cut_loses_nothing(void **state)
{
    (void)state;
    struct world w = {.timing = {.silence_us = 2 * USEC_PER_SEC}};
    world_up(&w);
    for (uint64_t i = 0; i < 100; i++) {
        /* Either side of the wire may be the one that knows of the cut. */
        impair(&w.a, PEER_B, IMPAIR_OUT, i % 10 == 3 ? cut : healthy);
        impair(&w.b, PEER_A, IMPAIR_IN, i % 10 == 7 ? cut : healthy);
        send_append(&w.a, PEER_A, PEER_B, i, i % 9);
        ev_run(w.ev, EVRUN_NOWAIT);
    }
    impair(&w.a, PEER_B, IMPAIR_OUT, cut);
    send_append(&w.a, PEER_A, PEER_B, 100, 1);
    run_for(&w, 50 * USEC_PER_MS);
    assert_true(w.b.raft_next <= 100);
    impair(&w.a, PEER_B, IMPAIR_OUT, healthy);
    impair(&w.b, PEER_A, IMPAIR_IN, healthy);
    WAIT_FOR(&w, w.b.raft_next == 101);
    assert_int_equal(w.a.downs + w.b.downs, 0);
    world_close(&w);
}

static void a_request_that_waits_when_the_link_ends_never_left(void **state)
{
    (void)state;
    struct world w = {.timing = {.silence_us = 300 * USEC_PER_MS}};
    world_up(&w);
    uint64_t id;
    impair(&w.a, PEER_B, IMPAIR_OUT, cut);
    assert_int_equal(
        links_request(w.a.links, PEER_B, 3, 0, 9000, bytes_str("x"), &id),
        ERR_OK);
    WAIT_FOR(&w, w.a.downs == 1);
    assert_int_equal(w.a.unseen, 1);
    assert_int_equal(w.b.requests, 0);
    /* What waited does not leave by the next connection. */
    impair(&w.a, PEER_B, IMPAIR_OUT, healthy);
    WAIT_FOR(&w, w.a.ups == 2);
    assert_int_equal(
        links_request(w.a.links, PEER_B, 3, 0, 9000, bytes_str("y"), &id),
        ERR_OK);
    WAIT_FOR(&w, w.a.responses == 1);
    assert_int_equal(w.b.requests, 1);
    assert_string_equal(w.a.response, "y");
    world_close(&w);
}

static void only_raft_messages_are_lost(void **state)
{
    (void)state;
    struct world w = {.ev = NULL};
    world_up(&w);
    impair(&w.a, PEER_B, IMPAIR_OUT,
           (struct impairment){.loss_permille = 1000});
    for (uint64_t i = 0; i < 10; i++)
        send_append(&w.a, PEER_A, PEER_B, i, 1);
    uint64_t id;
    assert_int_equal(
        links_request(w.a.links, PEER_B, 3, 0, 1000, bytes_str("q"), &id),
        ERR_OK);
    WAIT_FOR(&w, w.a.responses == 1);
    assert_int_equal(w.b.raft_got, 0);
    struct links_stats s;
    assert_int_equal(links_get_stats(w.a.links, PEER_B, &s), ERR_OK);
    assert_int_equal(s.raft_dropped, 10);
    struct impairment wrong = {.loss_permille = 1001};
    assert_int_equal(links_impair(w.a.links, PEER_B, IMPAIR_OUT, &wrong),
                     ERR_INVALID);
    assert_int_equal(links_impair(w.a.links, 9, IMPAIR_OUT, &cut),
                     ERR_NOT_FOUND);
    world_close(&w);
}

/* A node stops, or a peer is removed, while frames wait. */
static void what_waits_leaves_before_a_farewell(void **state)
{
    (void)state;
    struct world w = {.ev = NULL};
    world_up(&w);
    impair(&w.a, PEER_B, IMPAIR_OUT,
           (struct impairment){.delay_us = 5 * USEC_PER_SEC});
    for (uint64_t i = 0; i < 10; i++)
        send_append(&w.a, PEER_A, PEER_B, i, 1);
    links_free(TAKE(w.a.links));
    WAIT_FOR(&w, w.b.downs == 1);
    assert_int_equal(w.b.raft_next, 10);
    assert_int_equal(w.b.down_err, ERR_EOF);
    world_close(&w);
}

static void raft_messages_arrive_twice(void **state)
{
    (void)state;
    struct world w = {.ev = NULL};
    world_up(&w);
    impair(&w.a, PEER_B, IMPAIR_OUT,
           (struct impairment){.duplicate_permille = 1000});
    struct raft_msg m = {.type = RAFT_MSG_VOTE, .from = PEER_A};
    for (int i = 0; i < 10; i++)
        assert_int_equal(links_send_raft(w.a.links, PEER_B, 7, &m, NULL),
                         ERR_OK);
    WAIT_FOR(&w, w.b.raft_got == 20);
    struct links_stats s;
    assert_int_equal(links_get_stats(w.a.links, PEER_B, &s), ERR_OK);
    assert_int_equal(s.raft_duplicated, 10);
    world_close(&w);
}

static void send_request(struct world *w, const char *body)
{
    uint64_t id;
    assert_int_equal(
        links_request(w->a.links, PEER_B, 3, 0, 5000, bytes_str(body), &id),
        ERR_OK);
}

/* 400 kbit/s: 20 KiB take 410 ms, during which the link is not silent. */
static void a_bounded_rate_slows_down(void **state)
{
    (void)state;
    struct world w = {.timing = {.silence_us = 300 * USEC_PER_MS}};
    char *body = mem_zalloc(20 * 1024 + 1);
    world_up(&w);
    memset(body, 'x', 20 * 1024);
    impair(&w.a, PEER_B, IMPAIR_OUT,
           (struct impairment){.kbit_per_second = 400});
    usec_t start = clock_mono_us();
    send_request(&w, body);
    WAIT_FOR(&w, w.a.responses == 1);
    usec_t took = clock_mono_us() - start;
    assert_true(took > 400 * USEC_PER_MS);
    assert_int_equal(w.a.downs + w.b.downs, 0);
    /* What waits for a slow way leaves when the way is wide again. */
    send_request(&w, body);
    send_request(&w, body);
    start = clock_mono_us();
    impair(&w.a, PEER_B, IMPAIR_OUT, healthy);
    WAIT_FOR(&w, w.a.responses == 3);
    assert_true(clock_mono_us() - start < 400 * USEC_PER_MS);
    mem_free(body);
    world_close(&w);
}

static void an_end_is_noticed_late(void **state)
{
    (void)state;
    struct world w = {.timing = {.silence_us = 10 * USEC_PER_SEC}};
    world_up(&w);
    impair(&w.a, PEER_B, IMPAIR_IN,
           (struct impairment){.close_delay_us = 300 * USEC_PER_MS});
    links_free(TAKE(w.b.links));
    usec_t start = clock_mono_us();
    run_for(&w, 100 * USEC_PER_MS);
    /* Nobody is there any more, which a does not know. */
    assert_true(links_is_up(w.a.links, PEER_B));
    send_request(&w, "x");
    WAIT_FOR(&w, w.a.downs == 1);
    assert_true(clock_mono_us() - start >= 300 * USEC_PER_MS);
    assert_int_equal(w.a.down_err, ERR_EOF);
    assert_int_equal(w.a.failures, 1);
    /* That nobody is there is noticed at once. */
    struct links_stats s = {0};
    start = clock_mono_us();
    WAIT_FOR(&w, links_get_stats(w.a.links, PEER_B, &s) == ERR_OK &&
                     s.attempts >= 3);
    assert_true(clock_mono_us() - start < 300 * USEC_PER_MS);
    world_close(&w);
}

static void silence_tells_before_a_late_end(void **state)
{
    (void)state;
    struct world w = {.timing = {.silence_us = 200 * USEC_PER_MS}};
    world_up(&w);
    impair(&w.a, PEER_B, IMPAIR_IN,
           (struct impairment){.close_delay_us = 10 * USEC_PER_SEC});
    links_free(TAKE(w.b.links));
    WAIT_FOR(&w, w.a.downs == 1);
    assert_int_equal(w.a.down_err, ERR_TIMEOUT);
    world_close(&w);
}

static void a_healed_link_notices_an_end_at_once(void **state)
{
    (void)state;
    struct world w = {.timing = {.silence_us = 30 * USEC_PER_SEC}};
    world_up(&w);
    impair(&w.a, PEER_B, IMPAIR_IN,
           (struct impairment){.close_delay_us = 10 * USEC_PER_SEC});
    links_free(TAKE(w.b.links));
    run_for(&w, 50 * USEC_PER_MS);
    assert_true(links_is_up(w.a.links, PEER_B));
    impair(&w.a, PEER_B, IMPAIR_IN, healthy);
    WAIT_FOR(&w, w.a.downs == 1);
    world_close(&w);
}

/* `n` refuses what its peer shows, until it is healed. */
static void refuses(struct impairment i, bool the_dialer, int err,
                    const char *reason, int other_err, const char *other_reason)
{
    struct world w = {.timing = {.refused_us = 50 * USEC_PER_MS}};
    world_up(&w);
    struct node *n = the_dialer ? &w.a : &w.b;
    struct node *other = the_dialer ? &w.b : &w.a;
    links_peer peer = the_dialer ? PEER_B : PEER_A;
    links_peer self = the_dialer ? PEER_A : PEER_B;
    struct links_stats s = {0}, theirs = {0};
    impair(n, peer, IMPAIR_IN, i);
    /* The open connection ends, and no other is made. */
    WAIT_FOR(&w, n->downs == 1 && other->downs == 1);
    assert_int_equal(n->down_err, err);
    assert_string_equal(n->down_reason, reason);
    WAIT_FOR(&w, links_get_stats(w.a.links, PEER_B, &s) == ERR_OK &&
                     s.attempts >= 3);
    assert_int_equal(links_get_stats(n->links, peer, &s), ERR_OK);
    assert_int_equal(s.last_err, err);
    assert_string_equal(s.last_reason, reason);
    /* The side that accepts cannot know whose handshake has failed. */
    WAIT_FOR(&w, the_dialer ||
                     (links_get_stats(other->links, self, &theirs) == ERR_OK &&
                      theirs.last_err == other_err &&
                      strcmp(theirs.last_reason, other_reason) == 0));
    assert_int_equal(w.a.ups, 1);
    impair(n, peer, IMPAIR_IN, healthy);
    WAIT_FOR(&w, w.a.ups == 2 && w.b.ups == 2);
    world_close(&w);
}

static void bad_certificates_are_refused_on_request(void **state)
{
    (void)state;
    static const struct {
        struct impairment i;
        int err;
        const char *reason;
        int other_err;
        const char *other_reason;
    } rows[] = {
        {{.certificate = IMPAIR_CERT_EXPIRED},
         ERR_AUTH,
         "certificate refused: certificate has expired",
         ERR_AUTH,
         "the peer refused: certificate expired"},
        {{.certificate = IMPAIR_CERT_REVOKED},
         ERR_AUTH,
         "certificate refused: certificate revoked",
         ERR_AUTH,
         "the peer refused: certificate revoked"},
        {{.certificate = IMPAIR_CERT_WRONG_REGION},
         ERR_IDENTITY,
         NULL,
         ERR_IDENTITY,
         "the peer says: region is elsewhere, expected a"},
        {{.handshake_permille = 1000},
         ERR_AUTH,
         "certificate refused: application verification failure",
         ERR_AUTH,
         "the peer refused: handshake failure"},
    };
    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        bool named = rows[k].reason != NULL;
        refuses(rows[k].i, true, rows[k].err,
                named ? rows[k].reason : "region is elsewhere, expected b",
                rows[k].other_err, rows[k].other_reason);
        refuses(rows[k].i, false, rows[k].err,
                named ? rows[k].reason : "region is elsewhere, expected a",
                rows[k].other_err, rows[k].other_reason);
    }
}

/* Asks b something, as a write that was first sent `age_ms` ago. */
static struct links_call ask(struct world *w, uint32_t age_ms)
{
    uint64_t id;
    unsigned before = w->b.requests;
    assert_int_equal(links_request_again(w->a.links, PEER_B, 3, 0, 5000, age_ms,
                                         bytes_str("q"), &id),
                     ERR_OK);
    WAIT_FOR(w, w->b.requests == before + 1);
    WAIT_FOR(w, w->a.responses == before + 1);
    return w->b.call;
}

/* The most that may be said of a request that was asked at `start`: what it
 * took, a round trip, and some time for a machine that does other things, too.
 */
static uint32_t most_since(usec_t start, usec_t rtt_us)
{
    return (uint32_t)((clock_mono_us() - start + rtt_us) / USEC_PER_MS) + 100;
}

static void a_request_says_how_long_it_was_on_its_way(void **state)
{
    (void)state;
    struct world w = {.timing = {.silence_us = 30 * USEC_PER_SEC,
                                 .ping_us = 20 * USEC_PER_MS}};
    world_up(&w);
    usec_t up = clock_mono_us();
    /* Of the first moments nothing is known but when they were. */
    struct links_call call = ask(&w, 0);
    assert_in_range(call.way_most_ms, 1, most_since(up, 0));
    assert_int_equal(call.age_ms, 0);
    struct links_stats s = {0};
    WAIT_FOR(&w,
             links_get_stats(w.b.links, PEER_A, &s) == ERR_OK && s.rtt_us > 0);
    run_for(&w, 300 * USEC_PER_MS);

    usec_t start = clock_mono_us();
    call = ask(&w, 0);
    assert_in_range(call.way_most_ms, 1, most_since(start, s.rtt_us));

    /* Kept on the way, like what a deep queue holds. */
    impair(&w.a, PEER_B, IMPAIR_OUT,
           (struct impairment){.delay_us = 300 * USEC_PER_MS});
    start = clock_mono_us();
    call = ask(&w, 250);
    assert_in_range(call.way_most_ms, 300, most_since(start, s.rtt_us));
    assert_int_equal(call.age_ms, 250);

    /* Longer than any ping was: a way that is always that slow hides nothing,
     * and another connection knows nothing of this one's. */
    impair(&w.b, PEER_A, IMPAIR_IN,
           (struct impairment){.handshake_permille = 1000});
    WAIT_FOR(&w, w.b.downs == 1);
    impair(&w.b, PEER_A, IMPAIR_IN, healthy);
    WAIT_FOR(&w, w.a.ups == 2 && w.b.ups == 2);
    run_for(&w, 700 * USEC_PER_MS);
    WAIT_FOR(&w, links_get_stats(w.b.links, PEER_A, &s) == ERR_OK &&
                     s.rtt_us >= 300 * USEC_PER_MS);
    start = clock_mono_us();
    call = ask(&w, 0);
    assert_in_range(call.way_most_ms, 300, most_since(start, s.rtt_us));
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delayed_frames_arrive_later_and_in_order),
        cmocka_unit_test(a_clock_that_gained_time_delays_nothing_more),
        cmocka_unit_test(a_cut_is_noticed_by_silence_and_heals),
        cmocka_unit_test(a_short_cut_loses_nothing),
        cmocka_unit_test(a_request_that_waits_when_the_link_ends_never_left),
        cmocka_unit_test(only_raft_messages_are_lost),
        cmocka_unit_test(what_waits_leaves_before_a_farewell),
        cmocka_unit_test(raft_messages_arrive_twice),
        cmocka_unit_test(a_bounded_rate_slows_down),
        cmocka_unit_test(an_end_is_noticed_late),
        cmocka_unit_test(silence_tells_before_a_late_end),
        cmocka_unit_test(a_healed_link_notices_an_end_at_once),
        cmocka_unit_test(bad_certificates_are_refused_on_request),
        cmocka_unit_test(a_request_says_how_long_it_was_on_its_way),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
