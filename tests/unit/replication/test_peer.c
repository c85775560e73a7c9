/* The life of a link, step by step, on a clock of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/err.h"
#include "replication/codec.h"
#include "replication/link/chan_mem.h"
#include "replication/peer.h"

#define URI_B "spiffe://c/region/west/node/b"

static const struct peer_timing timing = {
    .connect_us = 5000,
    .ping_us = 100,
    .silence_us = 1000,
    .backoff_min_us = 50,
    .backoff_max_us = 800,
    .refused_us = 2000,
};

static struct peer_hello hello_of(const char *region, const char *node)
{
    struct peer_hello h = {.version_min = 1, .version_max = 1};
    assert_int_equal(peer_identity_set(&h.id, "c", region, node), ERR_OK);
    return h;
}

/* Node "a" in region "east" looks at node "b" in region "west". */
static struct peer dialer(void)
{
    struct peer p;
    struct peer_hello a = hello_of("east", "a"), b = hello_of("west", "b");
    peer_init(&p, &a, &b.id, &timing, 1);
    return p;
}

static struct peer acceptor(void)
{
    struct peer p;
    struct peer_hello a = hello_of("east", "a"), b = hello_of("west", "b");
    peer_init(&p, &b, &a.id, &timing, 1);
    return p;
}

static struct peer_update step(struct peer *p, struct peer_event e)
{
    struct peer_update u;
    peer_step(p, &e, &u);
    return u;
}

#define STEP(p, kind, now, ...)                                                \
    step((p), (struct peer_event){                                             \
                  .type = PEER_EVENT_##kind, .now_us = (now), __VA_ARGS__})

static struct peer streaming_dialer(usec_t now)
{
    struct peer p = dialer();
    struct peer_hello b = hello_of("west", "b");
    STEP(&p, START, now, .err = 0);
    STEP(&p, CONNECTED, now, .uri = URI_B);
    struct peer_update u = STEP(&p, HELLO, now, .hello = &b);
    assert_true(u.up && p.state == PEER_STREAMING);
    return p;
}

/* -- identity ---------------------------------------------------------------
 */

static void uris_name_nodes(void **state)
{
    (void)state;
    struct peer_identity id, parsed;
    char uri[PEER_URI_MAX + 1], reason[PEER_REASON_MAX];
    assert_int_equal(peer_identity_set(&id, "c", "west", "b"), ERR_OK);
    peer_uri(&id, uri);
    assert_string_equal(uri, URI_B);
    assert_int_equal(peer_uri_parse(uri, &parsed), ERR_OK);
    assert_memory_equal(&id, &parsed, sizeof(id));
    assert_int_equal(peer_uri_check(&id, uri, reason), ERR_OK);

    static const struct {
        const char *uri, *reason;
    } wrong[] = {
        {"spiffe://d/region/west/node/b", "cluster is d, expected c"},
        {"spiffe://c/region/east/node/b", "region is east, expected west"},
        {"spiffe://c/region/west/node/x", "node is x, expected b"},
        {"spiffe://c/admin", "the certificate names no node of a cluster"},
        {"spiffe://c/region/west/node/b/more",
         "the certificate names no node of a cluster"},
        {NULL, "the certificate names no node of a cluster"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(peer_uri_check(&id, wrong[i].uri, reason),
                         ERR_IDENTITY);
        assert_string_equal(reason, wrong[i].reason);
    }
}

static void names_are_bounded_and_plain(void **state)
{
    (void)state;
    struct peer_identity id;
    char name[PEER_NAME_MAX + 2];
    memset(name, 'x', sizeof(name));
    name[PEER_NAME_MAX] = '\0';
    assert_int_equal(peer_identity_set(&id, name, name, name), ERR_OK);
    char uri[PEER_URI_MAX + 1];
    peer_uri(&id, uri);
    name[PEER_NAME_MAX] = 'x';
    name[PEER_NAME_MAX + 1] = '\0';
    assert_int_equal(peer_identity_set(&id, "c", name, "b"), ERR_INVALID);
    assert_int_equal(peer_identity_set(&id, "", "r", "b"), ERR_INVALID);
    assert_int_equal(peer_identity_set(&id, "c", "a/b", "b"), ERR_INVALID);
    assert_int_equal(peer_identity_set(&id, "c", "r", "b\n"), ERR_INVALID);
    static const char *const malformed[] = {"",
                                            "http://c/region/r/node/n",
                                            "spiffe://c",
                                            "spiffe:///region/r/node/n",
                                            "spiffe://c/region//node/n",
                                            "spiffe://c/region/r/node/",
                                            "spiffe://c/region/r/n/node/n"};
    for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++)
        assert_int_equal(peer_uri_parse(malformed[i], &id), ERR_MALFORMED);
}

/* -- coming up --------------------------------------------------------------
 */

static void the_lower_name_dials(void **state)
{
    (void)state;
    struct peer a = dialer(), b = acceptor();
    assert_true(a.dials);
    assert_false(b.dials);
    struct peer_update u = STEP(&a, START, 10, .err = 0);
    assert_true(u.dial);
    assert_int_equal(a.state, PEER_DIALING);
    assert_int_equal(peer_deadline(&a), 5010);
    u = STEP(&b, START, 10, .err = 0);
    assert_false(u.dial);
    assert_int_equal(b.state, PEER_IDLE);
    assert_true(peer_deadline(&b) == USEC_NEVER);
}

static void hello_makes_it_stream(void **state)
{
    (void)state;
    struct peer p = dialer();
    struct peer_hello b = hello_of("west", "b");
    b.incarnation = 99;
    b.version_max = 7;
    STEP(&p, START, 0, .err = 0);
    struct peer_update u = STEP(&p, CONNECTED, 1, .uri = URI_B);
    assert_true(u.hello && !u.up);
    assert_int_equal(p.state, PEER_PROVING);
    u = STEP(&p, HELLO, 2, .hello = &b);
    assert_true(u.up && u.ping);
    assert_int_equal(p.version, 1);
    assert_int_equal(p.incarnation, 99);
}

static void the_highest_common_version_is_spoken(void **state)
{
    (void)state;
    static const struct {
        uint32_t own_min, own_max, min, max, agreed; /* 0: refused */
    } rows[] = {
        {1, 1, 1, 1, 1}, {1, 3, 1, 2, 2}, {1, 2, 1, 3, 2}, {2, 3, 1, 2, 2},
        {1, 2, 2, 9, 2}, {2, 3, 1, 1, 0}, {1, 1, 2, 3, 0}, {1, 3, 3, 2, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct peer p = dialer();
        struct peer_hello b = hello_of("west", "b");
        p.own.version_min = rows[i].own_min;
        p.own.version_max = rows[i].own_max;
        b.version_min = rows[i].min;
        b.version_max = rows[i].max;
        STEP(&p, START, 0, .err = 0);
        STEP(&p, CONNECTED, 1, .uri = URI_B);
        struct peer_update u = STEP(&p, HELLO, 2, .hello = &b);
        assert_int_equal(u.up, rows[i].agreed != 0);
        assert_int_equal(p.version, rows[i].agreed);
        assert_int_equal(p.refusals, rows[i].agreed == 0);
    }
}

/* A cluster at a level keeps out who does not support it: at the beginning, and
 * when it gets there. */
static void a_peer_below_the_cluster_is_refused(void **state)
{
    (void)state;
    struct peer p = dialer();
    struct peer_hello b = hello_of("west", "b");
    p.own.feature_level = 5;
    p.own.feature_active = 3;
    b.feature_level = 2;
    STEP(&p, START, 0, .err = 0);
    STEP(&p, CONNECTED, 1, .uri = URI_B);
    struct peer_update u = STEP(&p, HELLO, 2, .hello = &b);
    assert_true(u.bye && u.close && !u.up);
    assert_int_equal(u.err, ERR_UNSUPPORTED);
    assert_string_equal(u.reason,
                        "supports feature level 2, the cluster is at 3: start "
                        "it with a newer release");
    assert_int_equal(p.refusals, 1);
    assert_int_equal(p.state, PEER_BACKOFF);

    STEP(&p, TICK, peer_deadline(&p), .err = 0);
    STEP(&p, CONNECTED, 9000, .uri = URI_B);
    b.feature_level = 4;
    u = STEP(&p, HELLO, 9001, .hello = &b);
    assert_true(u.up);
    peer_require(&p, 4);
    u = STEP(&p, TICK, 9100, .err = 0);
    assert_false(u.down);
    peer_require(&p, 5);
    u = STEP(&p, TICK, 9200, .err = 0);
    assert_true(u.down && u.bye && u.close);
    assert_int_equal(u.err, ERR_UNSUPPORTED);
    assert_int_equal(p.refusals, 2);
}

static void a_node_below_the_cluster_refuses_itself(void **state)
{
    (void)state;
    struct peer p = dialer();
    struct peer_hello b = hello_of("west", "b");
    p.own.feature_level = 2;
    b.feature_level = 5;
    b.feature_active = 3;
    STEP(&p, START, 0, .err = 0);
    STEP(&p, CONNECTED, 1, .uri = URI_B);
    struct peer_update u = STEP(&p, HELLO, 2, .hello = &b);
    assert_true(u.bye && u.close && !u.up);
    assert_int_equal(p.feature_heard, 3);
    assert_string_equal(u.reason,
                        "knows the cluster at feature level 3, this node "
                        "supports 2: start this node with a newer release");
}

static void an_accepted_connection_streams_too(void **state)
{
    (void)state;
    struct peer p = acceptor();
    struct peer_hello a = hello_of("east", "a");
    STEP(&p, START, 0, .err = 0);
    struct peer_update u = STEP(&p, ACCEPTED, 1, .err = 0);
    assert_true(u.adopt && u.hello && !u.close);
    u = STEP(&p, HELLO, 2, .hello = &a);
    assert_true(u.up);
}

static void a_newer_connection_replaces_the_old(void **state)
{
    (void)state;
    struct peer p = acceptor();
    struct peer_hello a = hello_of("east", "a");
    STEP(&p, ACCEPTED, 1, .err = 0);
    STEP(&p, HELLO, 2, .hello = &a);
    struct peer_update u = STEP(&p, ACCEPTED, 3, .err = 0);
    assert_true(u.down && u.close && u.adopt && u.hello);
    assert_int_equal(p.state, PEER_PROVING);
}

static void the_dialer_accepts_nobody(void **state)
{
    (void)state;
    struct peer p = streaming_dialer(0);
    struct peer_update u = STEP(&p, ACCEPTED, 1, .err = 0);
    assert_false(u.adopt || u.close || u.down);
    assert_int_equal(u.err, ERR_PROTOCOL);
    assert_int_equal(p.state, PEER_STREAMING);
}

/* -- refusals ---------------------------------------------------------------
 */

static void a_wrong_certificate_is_refused(void **state)
{
    (void)state;
    struct peer p = dialer();
    STEP(&p, START, 0, .err = 0);
    struct peer_update u =
        STEP(&p, CONNECTED, 1, .uri = "spiffe://c/region/north/node/b");
    assert_true(u.bye && u.close && !u.hello && !u.down);
    assert_int_equal(u.err, ERR_IDENTITY);
    assert_string_equal(u.reason, "region is north, expected west");
    /* A refusal pauses for the upper half of the maximum at once. */
    assert_int_equal(p.state, PEER_BACKOFF);
    assert_true(peer_deadline(&p) >= 1 + timing.refused_us / 2 &&
                peer_deadline(&p) <= 1 + timing.refused_us);
}

static void refused_hello(struct peer_hello h, int err, const char *reason)
{
    struct peer p = dialer();
    STEP(&p, START, 0, .err = 0);
    STEP(&p, CONNECTED, 1, .uri = URI_B);
    struct peer_update u = STEP(&p, HELLO, 2, .hello = &h);
    assert_true(u.bye && u.close && !u.up && !u.down);
    assert_int_equal(u.err, err);
    assert_string_equal(u.reason, reason);
}

static void a_hello_must_match(void **state)
{
    (void)state;
    struct peer_hello h = hello_of("north", "b");
    refused_hello(h, ERR_IDENTITY, "region is north, expected west");
    h = hello_of("west", "x");
    refused_hello(h, ERR_IDENTITY, "node is x, expected b");
    h = hello_of("west", "b");
    snprintf(h.id.cluster, sizeof(h.id.cluster), "d");
    refused_hello(h, ERR_IDENTITY, "cluster is d, expected c");
    h = hello_of("west", "b");
    h.version_min = 2;
    h.version_max = 3;
    refused_hello(h, ERR_UNSUPPORTED,
                  "speaks protocol versions 2 to 3, this node 1 to 1");
    h.version_min = h.version_max = 0;
    refused_hello(h, ERR_UNSUPPORTED,
                  "speaks protocol versions 0 to 0, this node 1 to 1");
}

static void a_second_hello_is_a_violation(void **state)
{
    (void)state;
    struct peer p = streaming_dialer(0);
    struct peer_hello b = hello_of("west", "b");
    struct peer_update u = STEP(&p, HELLO, 1, .hello = &b);
    assert_true(u.down && u.bye && u.close);
    assert_int_equal(u.err, ERR_PROTOCOL);
}

/* -- going down -------------------------------------------------------------
 */

static void each_failure_doubles_the_pause(void **state)
{
    (void)state;
    struct peer p = dialer();
    usec_t now = 0, longest = 50;
    STEP(&p, START, now, .err = 0);
    for (int i = 0; i < 10; i++) {
        struct peer_update u =
            STEP(&p, LOST, now, .err = ERR_IO, .reason = "refused");
        assert_true(u.close && !u.down && !u.bye);
        assert_int_equal(p.state, PEER_BACKOFF);
        usec_t pause = peer_deadline(&p) - now;
        assert_true(pause >= longest / 2 && pause <= longest);
        longest = longest * 2 < 800 ? longest * 2 : 800;
        u = STEP(&p, TICK, peer_deadline(&p) - 1, .err = 0);
        assert_false(u.dial);
        now = peer_deadline(&p);
        u = STEP(&p, TICK, now, .err = 0);
        assert_true(u.dial);
    }
    assert_int_equal(p.attempts, 10);
    /* A link that lasted begins anew, one that did not goes on. */
    struct peer_hello b = hello_of("west", "b");
    STEP(&p, CONNECTED, now, .uri = URI_B);
    STEP(&p, HELLO, now, .hello = &b);
    STEP(&p, LOST, now + 10, .err = ERR_IO, .reason = "reset");
    assert_int_equal(p.attempts, 11);
    now = peer_deadline(&p);
    STEP(&p, TICK, now, .err = 0);
    STEP(&p, CONNECTED, now, .uri = URI_B);
    STEP(&p, HELLO, now, .hello = &b);
    now += timing.backoff_max_us + 1;
    struct peer_update u =
        STEP(&p, LOST, now, .err = ERR_IO, .reason = "reset");
    assert_true(u.down);
    assert_int_equal(p.attempts, 1);
    assert_true(peer_deadline(&p) <= now + 50);
}

static void jitter_depends_on_the_seed_alone(void **state)
{
    (void)state;
    usec_t first[3];
    static const uint64_t seeds[] = {5, 5, 6};
    for (int i = 0; i < 3; i++) {
        struct peer p;
        struct peer_timing slow = timing;
        slow.backoff_min_us = slow.backoff_max_us = 1000000;
        struct peer_hello a = hello_of("east", "a"), b = hello_of("west", "b");
        peer_init(&p, &a, &b.id, &slow, seeds[i]);
        STEP(&p, START, 0, .err = 0);
        STEP(&p, LOST, 0, .err = ERR_IO, .reason = "x");
        first[i] = peer_deadline(&p);
    }
    assert_true(first[0] == first[1]);
    assert_true(first[0] != first[2]);
}

static void the_acceptor_waits(void **state)
{
    (void)state;
    struct peer p = acceptor();
    STEP(&p, ACCEPTED, 0, .err = 0);
    struct peer_update u = STEP(&p, LOST, 1, .err = ERR_EOF, .reason = "gone");
    assert_true(u.close && !u.down);
    assert_int_equal(p.state, PEER_IDLE);
    assert_true(peer_deadline(&p) == USEC_NEVER);
}

static void attempts_time_out(void **state)
{
    (void)state;
    struct peer p = dialer();
    STEP(&p, START, 0, .err = 0);
    struct peer_update u = STEP(&p, TICK, 4999, .err = 0);
    assert_false(u.close);
    u = STEP(&p, TICK, 5000, .err = 0);
    assert_true(u.close);
    assert_int_equal(u.err, ERR_TIMEOUT);
    assert_int_equal(p.state, PEER_BACKOFF);
    struct peer q = acceptor();
    STEP(&q, ACCEPTED, 0, .err = 0);
    u = STEP(&q, TICK, 5000, .err = 0);
    assert_true(u.close);
    assert_string_equal(u.reason, "no hello in time");
}

static void silence_ends_a_link_and_bytes_keep_it(void **state)
{
    (void)state;
    struct peer p = streaming_dialer(0);
    usec_t now = 0;
    unsigned pings = 0;
    while (now < 5000) {
        now = peer_deadline(&p);
        struct peer_update u = STEP(&p, TICK, now, .err = 0);
        pings += u.ping;
        assert_false(u.down);
        STEP(&p, HEARD, now, .err = 0);
    }
    assert_int_equal(pings, 50);
    usec_t heard = now;
    struct peer_update u;
    do {
        now = peer_deadline(&p);
        u = STEP(&p, TICK, now, .err = 0);
    } while (!u.down);
    assert_true(now == heard + timing.silence_us);
    assert_int_equal(u.err, ERR_TIMEOUT);
    assert_string_equal(u.reason, "silent for 1 ms");
}

static void our_own_sleep_is_not_held_against_the_peer(void **state)
{
    (void)state;
    struct peer p = streaming_dialer(0);
    usec_t now = 60000; /* a long way past everything */
    struct peer_update u = STEP(&p, TICK, now, .err = 0);
    assert_false(u.down);
    assert_true(u.ping);
    /* Half a silence is granted, then it counts. */
    do {
        now = peer_deadline(&p);
        u = STEP(&p, TICK, now, .err = 0);
    } while (!u.down);
    assert_true(now == 60000 + timing.silence_us / 2);
}

static void stopping_says_bye_and_is_final(void **state)
{
    (void)state;
    struct peer p = streaming_dialer(0);
    struct peer_update u = STEP(&p, STOP, 1, .err = 0);
    assert_true(u.down && u.bye && u.close);
    assert_int_equal(u.err, ERR_EOF);
    u = STEP(&p, STOP, 2, .err = 0);
    assert_false(u.close);
    struct peer q = acceptor();
    STEP(&q, STOP, 0, .err = 0);
    u = STEP(&q, ACCEPTED, 1, .err = 0);
    assert_false(u.adopt);
    assert_int_equal(u.err, ERR_UNAVAILABLE);
}

/* Any order of possible events: no check fails, and a link that is told "up"
 * is told "down" before the next "up". */
static void random_lives_keep_the_invariants(void **state)
{
    (void)state;
    struct prng prng;
    prng_seed(&prng, 3);
    for (int life = 0; life < 300; life++) {
        struct peer p = prng_one_in(&prng, 2) ? dialer() : acceptor();
        struct peer_hello h = hello_of(p.expected.region, p.expected.node);
        usec_t now = 0;
        bool up = false;
        struct peer_update u = STEP(&p, START, now, .err = 0);
        for (int i = 0; i < 200 && p.state != PEER_STOPPED; i++) {
            now += (usec_t)prng_below(&prng, 600);
            bool has_channel = p.state == PEER_DIALING ||
                               p.state == PEER_PROVING ||
                               p.state == PEER_STREAMING;
            uint64_t draw = prng_below(&prng, 100);
            if (draw < 50)
                u = STEP(&p, TICK, now, .err = 0);
            else if (draw < 70 && p.state == PEER_DIALING)
                u = STEP(&p, CONNECTED, now,
                         .uri = prng_one_in(&prng, 5) ? NULL : URI_B);
            else if (draw < 80 && p.state >= PEER_PROVING &&
                     p.state <= PEER_STREAMING)
                u = STEP(&p, HELLO, now, .hello = &h);
            else if (draw < 90 && has_channel)
                u = STEP(&p, HEARD, now, .err = 0);
            else if (draw < 93)
                u = STEP(&p, ACCEPTED, now, .err = 0);
            else if (draw < 96 && has_channel)
                u = STEP(&p, LOST, now, .err = ERR_IO, .reason = "x");
            else if (draw < 99 && has_channel)
                u = STEP(&p, VIOLATION, now, .err = ERR_PROTOCOL,
                         .reason = "y");
            else if (draw == 99)
                u = STEP(&p, STOP, now, .err = 0);
            else
                continue;
            assert_false(u.up && u.down);
            assert_true(!u.down || up);
            up = (up && !u.down) || u.up;
            assert_int_equal(up, p.state == PEER_STREAMING);
            assert_true(!u.dial || p.dials);
            assert_true(!u.bye || u.close);
        }
    }
}

/* -- two of them over memory ------------------------------------------------
 */

struct node {
    struct peer peer;
    struct chan *chan;
    struct codec *codec;
    const char *heard_bye;
    unsigned ups;
};

static void node_obey(struct node *n, const struct peer_update *u)
{
    struct buf out;
    buf_init(&out, FRAME_BUF_MAX);
    if (u->hello)
        assert_int_equal(codec_put_hello(&out, &n->peer.own), ERR_OK);
    if (u->bye)
        assert_int_equal(codec_put_bye(&out, &(struct bye){u->err, u->reason}),
                         ERR_OK);
    if (buf_len(&out) > 0)
        assert_int_equal(chan_write(n->chan, buf_bytes(&out), buf_len(&out)),
                         ERR_OK);
    if (u->close)
        chan_close_when_sent(n->chan);
    n->ups += u->up;
    buf_free(&out);
}

static void node_open(struct chan *c, void *user)
{
    struct node *n = user;
    struct peer_update u =
        n->peer.dials ? STEP(&n->peer, CONNECTED, 1, .uri = chan_peer_uri(c))
                      : STEP(&n->peer, ACCEPTED, 1, .err = 0);
    node_obey(n, &u);
}

static void node_data(struct chan *c, void *user)
{
    struct node *n = user;
    struct frame f;
    size_t size;
    while (frame_read(chan_input(c), FRAME_MAX, &f, &size) == ERR_OK) {
        struct peer_hello hello;
        struct bye bye;
        if (f.type == FRAME_HELLO) {
            assert_int_equal(codec_get_hello(n->codec, f.payload, &hello),
                             ERR_OK);
            struct peer_update u = STEP(&n->peer, HELLO, 2, .hello = &hello);
            node_obey(n, &u);
        } else if (f.type == FRAME_BYE) {
            assert_int_equal(codec_get_bye(n->codec, f.payload, &bye), ERR_OK);
            n->heard_bye = err_name(bye.err);
        }
        buf_consume(chan_input(c), size);
    }
}

static const struct chan_handler node_handler = {.on_open = node_open,
                                                 .on_data = node_data};

static void two_peers_agree_byte_by_byte(void **state)
{
    (void)state;
    for (int wrong = 0; wrong < 2; wrong++) {
        struct node a = {.peer = dialer(), .codec = codec_new()};
        struct node b = {.peer = acceptor(), .codec = codec_new()};
        if (wrong)
            b.peer.own = hello_of("north", "b");
        struct chan_mem_options o = {.step_bytes = 1, .uri_seen_by_a = URI_B};
        chan_mem_pair(&o, &a.chan, &b.chan);
        chan_set_handler(a.chan, &node_handler, &a);
        chan_set_handler(b.chan, &node_handler, &b);
        STEP(&a.peer, START, 0, .err = 0);
        STEP(&b.peer, START, 0, .err = 0);
        chan_mem_run(a.chan);
        assert_int_equal(a.ups, !wrong);
        assert_int_equal(b.ups, 1); /* it has nothing against a */
        assert_int_equal(a.peer.state, wrong ? PEER_BACKOFF : PEER_STREAMING);
        if (wrong)
            assert_string_equal(b.heard_bye, "IDENTITY");
        chan_free(a.chan);
        chan_free(b.chan);
        codec_free(a.codec);
        codec_free(b.codec);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uris_name_nodes),
        cmocka_unit_test(names_are_bounded_and_plain),
        cmocka_unit_test(the_lower_name_dials),
        cmocka_unit_test(hello_makes_it_stream),
        cmocka_unit_test(the_highest_common_version_is_spoken),
        cmocka_unit_test(a_peer_below_the_cluster_is_refused),
        cmocka_unit_test(a_node_below_the_cluster_refuses_itself),
        cmocka_unit_test(an_accepted_connection_streams_too),
        cmocka_unit_test(a_newer_connection_replaces_the_old),
        cmocka_unit_test(the_dialer_accepts_nobody),
        cmocka_unit_test(a_wrong_certificate_is_refused),
        cmocka_unit_test(a_hello_must_match),
        cmocka_unit_test(a_second_hello_is_a_violation),
        cmocka_unit_test(each_failure_doubles_the_pause),
        cmocka_unit_test(jitter_depends_on_the_seed_alone),
        cmocka_unit_test(the_acceptor_waits),
        cmocka_unit_test(attempts_time_out),
        cmocka_unit_test(silence_ends_a_link_and_bytes_keep_it),
        cmocka_unit_test(our_own_sleep_is_not_held_against_the_peer),
        cmocka_unit_test(stopping_says_bye_and_is_final),
        cmocka_unit_test(random_lives_keep_the_invariants),
        cmocka_unit_test(two_peers_agree_byte_by_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
