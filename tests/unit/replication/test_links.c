/* Links between nodes of one process, over real mTLS on loopback. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "node/base/log.h"
#include "node/base/mem.h"
#include "replication/links.h"
#include "tests/unit/replication/pki.h"

#define WAIT_US (5 * USEC_PER_SEC)
#define ORDERED 10000

static struct pki pki;
static struct pki_ca ca, other_ca;
/* Certificates of nodes a-1 (region a), b-1 (b), and bad ones for b-1. */
static struct pki_node cert_a, cert_b, cert_b_north, cert_b_named_x,
    cert_b_stranger;

/* -- one node ---------------------------------------------------------------
 */

struct node {
    struct links *links;
    struct tls_ctx *tls;
    unsigned ups, downs;
    int down_err;
    char down_reason[256];
    uint64_t raft_got;
    uint64_t raft_next; /* lsn expected next */
    unsigned requests, responses, failures;
    uint64_t response_id;
    int response_err;
    char response[256];
    unsigned unknown, unseen; /* failures by kind */
    int failure_err;
    uint64_t failure_id;
    bool keep_calls; /* do not answer */
    struct links_call call;
    uint64_t chunk_seq; /* next expected */
    bool chunk_done, keep_acks;
    uint64_t acked;
    char gossip_seen[64];
    uint64_t incarnation_seen;
    links_peer remove_in_down; /* remove this peer inside on_peer_down */
};

static void on_up(void *user, links_peer peer, const struct peer_hello *hello)
{
    struct node *n = user;
    assert_true(peer != 0);
    n->ups++;
    n->incarnation_seen = hello->incarnation;
}

static void on_down(void *user, links_peer peer, int err, const char *reason)
{
    struct node *n = user;
    n->downs++;
    n->down_err = err;
    snprintf(n->down_reason, sizeof(n->down_reason), "%s", reason);
    if (n->remove_in_down == peer)
        assert_int_equal(links_remove_peer(n->links, peer), ERR_OK);
}

static void on_raft(void *user, links_peer from, uint64_t shard,
                    const struct raft_msg *message,
                    const struct bytes *payloads)
{
    struct node *n = user;
    assert_int_equal(message->from, from);
    assert_int_equal(shard, 7);
    n->raft_got++;
    if (message->type != RAFT_MSG_APPEND)
        return;
    assert_int_equal(message->append.prev_lsn, n->raft_next);
    n->raft_next++;
    for (uint32_t i = 0; i < message->append.n; i++)
        for (size_t k = 0; k < payloads[i].len; k++)
            assert_int_equal(payloads[i].data[k], (uint8_t)(i + k));
}

static void on_request(void *user, struct links_call call, uint32_t kind,
                       uint32_t deadline_ms, struct bytes body)
{
    struct node *n = user;
    n->requests++;
    n->call = call;
    assert_int_equal(kind, 3);
    assert_true(deadline_ms > 0);
    if (!n->keep_calls)
        assert_int_equal(links_reply(n->links, call, ERR_NOT_LEADER, body),
                         ERR_OK);
}

static void on_response(void *user, links_peer from, uint64_t id, int err,
                        struct bytes body)
{
    struct node *n = user;
    (void)from;
    n->responses++;
    n->response_id = id;
    n->response_err = err;
    snprintf(n->response, sizeof(n->response), "%.*s", (int)body.len,
             (const char *)body.data);
}

static void on_request_failed(void *user, links_peer peer, uint64_t id, int err)
{
    struct node *n = user;
    assert_true(peer != 0);
    n->failures++;
    n->failure_id = id;
    n->unknown += err == ERR_TIMEOUT;
    n->unseen += err == ERR_UNAVAILABLE;
    n->failure_err = err;
}

static void on_snapshot(void *user, links_peer from,
                        const struct snapshot_chunk *chunk)
{
    struct node *n = user;
    assert_int_equal(chunk->seq, n->chunk_seq);
    n->chunk_seq++;
    n->chunk_done = chunk->done;
    if (n->keep_acks)
        return;
    struct snapshot_ack ack = {chunk->shard, chunk->transfer, chunk->seq,
                               ERR_OK};
    assert_int_equal(links_snapshot_ack(n->links, from, &ack), ERR_OK);
}

static void on_snapshot_ack(void *user, links_peer from,
                            const struct snapshot_ack *ack)
{
    struct node *n = user;
    (void)from;
    n->acked = ack->seq + 1;
}

static void on_gossip(void *user, links_peer from, struct bytes gossip)
{
    struct node *n = user;
    (void)from;
    snprintf(n->gossip_seen, sizeof(n->gossip_seen), "%.*s", (int)gossip.len,
             (const char *)gossip.data);
}

static struct bytes own_gossip(void *user, links_peer to)
{
    (void)user;
    (void)to;
    return bytes_str("rumour");
}

static const struct links_handler handler = {
    .on_peer_up = on_up,
    .on_peer_down = on_down,
    .on_raft = on_raft,
    .on_request = on_request,
    .on_response = on_response,
    .on_request_failed = on_request_failed,
    .on_snapshot = on_snapshot,
    .on_snapshot_ack = on_snapshot_ack,
    .on_gossip = on_gossip,
    .gossip = own_gossip,
};

/* -- two nodes and a loop ---------------------------------------------------
 */

struct world {
    struct ev_loop *ev;
    struct chan_loop *cl;
    struct node a, b;
    struct peer_timing timing;
};

#define PEER_A 1
#define PEER_B 2

static void on_poll(struct ev_loop *ev, ev_timer *w, int revents)
{
    (void)ev;
    (void)w;
    (void)revents;
}

#define WAIT_FOR(w, cond)                                                      \
    do {                                                                       \
        ev_timer poll_;                                                        \
        ev_timer_init(&poll_, on_poll, 0.005, 0.005);                          \
        ev_timer_start((w)->ev, &poll_);                                       \
        usec_t until_ = clock_mono_us() + WAIT_US;                             \
        while (!(cond) && clock_mono_us() < until_)                            \
            ev_run((w)->ev, EVRUN_ONCE);                                       \
        ev_timer_stop((w)->ev, &poll_);                                        \
        assert_true(cond);                                                     \
    } while (0)

static void run_for(struct world *w, usec_t us)
{
    usec_t until = clock_mono_us() + us;
    WAIT_FOR(w, clock_mono_us() >= until);
}

static struct tls_ctx *peer_ctx(const struct pki_node *node,
                                const char *ca_path)
{
    struct tls_files files = {node->cert, node->key, ca_path};
    struct tls_ctx *ctx = NULL;
    struct err_msg msg = {""};
    if (tls_ctx_peer(&files, &msg, &ctx) != ERR_OK)
        fail_msg("%s", msg.text);
    return ctx;
}

static void node_open(struct world *w, struct node *n, const char *region,
                      const char *name, struct tls_ctx *tls)
{
    n->tls = tls;
    struct links_options o = {
        .cluster = "t",
        .region = region,
        .node = name,
        .incarnation = 42,
        .listen = "127.0.0.1:0",
        .tls = tls,
        .timing = w->timing,
        .seed = 1,
        .handler = &handler,
        .user = n,
    };
    struct err_msg msg = {""};
    if (links_create(w->cl, &o, &msg, &n->links) != ERR_OK)
        fail_msg("%s", msg.text);
}

static void node_close(struct node *n)
{
    links_free(TAKE(n->links));
    tls_ctx_unref(TAKE(n->tls));
}

static void add(struct node *n, links_peer id, const char *region,
                const char *name, uint16_t port)
{
    char address[32];
    snprintf(address, sizeof(address), "127.0.0.1:%u", port);
    assert_int_equal(links_add_peer(n->links, id, region, name, address),
                     ERR_OK);
}

static void world_open(struct world *w)
{
    w->ev = ev_loop_new(EVFLAG_AUTO);
    w->cl = chan_loop_new(w->ev);
    if (w->timing.silence_us == 0)
        w->timing.silence_us = 400 * USEC_PER_MS;
    w->timing.backoff_min_us = 10 * USEC_PER_MS;
    w->timing.backoff_max_us = 100 * USEC_PER_MS;
    node_open(w, &w->a, "a", "a-1", peer_ctx(&cert_a, ca.path));
}

static void world_up(struct world *w)
{
    world_open(w);
    node_open(w, &w->b, "b", "b-1", peer_ctx(&cert_b, ca.path));
    add(&w->a, PEER_B, "b", "b-1", links_port(w->b.links));
    add(&w->b, PEER_A, "a", "a-1", links_port(w->a.links));
    WAIT_FOR(w, w->a.ups == 1 && w->b.ups == 1);
}

static void world_close(struct world *w)
{
    node_close(&w->a);
    node_close(&w->b);
    run_for(w, 5000);
    chan_loop_free(w->cl);
    ev_loop_destroy(w->ev);
}

/* A port that accepts and says nothing stands for a hung process. */
static int silent_port(uint16_t *port_out)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(fd, 8), 0);
    socklen_t len = sizeof(sa);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    *port_out = ntohs(sa.sin_port);
    return fd;
}

/* -- tests: messages --------------------------------------------------------
 */

static void links_come_up(void **state)
{
    (void)state;
    struct world w = {.ev = NULL};
    world_up(&w);
    assert_true(links_is_up(w.a.links, PEER_B));
    assert_string_equal(links_proved_region(w.a.links, PEER_B), "b");
    assert_string_equal(links_proved_region(w.b.links, PEER_A), "a");
    assert_int_equal(w.a.incarnation_seen, 42);
    struct links_stats s = {0};
    WAIT_FOR(&w,
             links_get_stats(w.a.links, PEER_B, &s) == ERR_OK && s.rtt_us > 0);
    assert_int_equal(s.state, PEER_STREAMING);
    assert_int_equal(s.connects, 1);
    assert_true(s.rtt_us < USEC_PER_SEC);
    WAIT_FOR(&w, strcmp(w.a.gossip_seen, "rumour") == 0);
    WAIT_FOR(&w, strcmp(w.b.gossip_seen, "rumour") == 0);
    world_close(&w);
}

static void send_append(struct node *from, links_peer self, links_peer to,
                        uint64_t lsn, uint32_t entries)
{
    static uint8_t body[8][64];
    struct raft_entry heads[8];
    struct bytes payloads[8];
    struct raft_msg m = {.type = RAFT_MSG_APPEND, .from = self, .to = to};
    for (uint32_t i = 0; i < entries; i++) {
        for (size_t k = 0; k < 64; k++)
            body[i][k] = (uint8_t)(i + k);
        heads[i] =
            (struct raft_entry){.term = 1, .size = 64, .type = RAFT_ENTRY_DATA};
        payloads[i] = bytes_of(body[i], 64);
        m.append.bytes += 64;
    }
    m.append.prev_lsn = lsn;
    m.append.n = entries;
    m.append.entries = heads;
    assert_int_equal(links_send_raft(from->links, to, 7, &m, payloads), ERR_OK);
}

static void ten_thousand_messages_arrive_in_order(void **state)
{
    (void)state;
    struct world w = {.ev = NULL};
    world_up(&w);
    for (uint64_t i = 0; i < ORDERED; i++) {
        send_append(&w.a, PEER_A, PEER_B, i, i % 9);
        if (i % 1000 == 0)
            ev_run(w.ev, EVRUN_NOWAIT);
    }
    WAIT_FOR(&w, w.b.raft_next == ORDERED);
    struct links_stats s;
    assert_int_equal(links_get_stats(w.b.links, PEER_A, &s), ERR_OK);
    assert_true(s.frames_in >= ORDERED);
    world_close(&w);
}

static void requests_are_answered(void **state)
{
    (void)state;
    struct world w = {.ev = NULL};
    world_up(&w);
    uint64_t id = 0;
    assert_int_equal(
        links_request(w.a.links, PEER_B, 3, 1000, bytes_str("question"), &id),
        ERR_OK);
    WAIT_FOR(&w, w.a.responses == 1);
    assert_int_equal(w.a.response_id, id);
    assert_int_equal(w.a.response_err, ERR_NOT_LEADER);
    assert_string_equal(w.a.response, "question");
    assert_int_equal(w.a.failures, 0);
    /* The other way as well: the link has two equal ends. */
    assert_int_equal(
        links_request(w.b.links, PEER_A, 3, 1000, bytes_str("x"), &id), ERR_OK);
    WAIT_FOR(&w, w.b.responses == 1);
    world_close(&w);
}

static void a_passed_deadline_leaves_the_outcome_open(void **state)
{
    (void)state;
    struct world w = {.ev = NULL};
    world_up(&w);
    w.b.keep_calls = true;
    uint64_t id = 0;
    usec_t start = clock_mono_us();
    assert_int_equal(
        links_request(w.a.links, PEER_B, 3, 50, bytes_str("x"), &id), ERR_OK);
    WAIT_FOR(&w, w.a.failures == 1);
    assert_true(clock_mono_us() - start >= 50 * USEC_PER_MS);
    assert_int_equal(w.a.failure_err, ERR_TIMEOUT);
    assert_int_equal(w.a.failure_id, id);
    /* The answer comes too late and is dropped. */
    assert_int_equal(links_reply(w.b.links, w.b.call, ERR_OK, bytes_str("")),
                     ERR_OK);
    struct links_stats s = {0};
    WAIT_FOR(&w, links_get_stats(w.a.links, PEER_B, &s) == ERR_OK &&
                     s.late_responses == 1);
    assert_int_equal(w.a.responses, 0);
    world_close(&w);
}

/* -- tests: losing the peer -------------------------------------------------
 */

static void a_sent_request_that_is_lost_has_an_open_outcome(void **state)
{
    (void)state;
    struct world w = {.ev = NULL};
    world_up(&w);
    w.b.keep_calls = true;
    uint64_t id;
    assert_int_equal(
        links_request(w.a.links, PEER_B, 3, 9000, bytes_str("x"), &id), ERR_OK);
    WAIT_FOR(&w, w.b.requests == 1);
    links_free(TAKE(w.b.links));
    WAIT_FOR(&w, w.a.downs == 1);
    assert_int_equal(w.a.failures, 1);
    assert_int_equal(w.a.failure_err, ERR_TIMEOUT);
    assert_int_equal(w.a.down_err, ERR_EOF);
    assert_string_equal(w.a.down_reason,
                        "the peer says: this node is stopping");
    assert_int_equal(
        links_request(w.a.links, PEER_B, 3, 9000, bytes_str("z"), &id),
        ERR_UNAVAILABLE);
    assert_null(links_proved_region(w.a.links, PEER_B));
    world_close(&w);
}

static void a_dead_process_is_noticed_at_once(void **state)
{
    (void)state;
    struct world w = {.timing = {.silence_us = 30 * USEC_PER_SEC}};
    world_open(&w);
    node_open(&w, &w.b, "b", "b-1", peer_ctx(&cert_b, ca.path));
    add(&w.a, PEER_B, "b", "b-1", links_port(w.b.links));
    add(&w.b, PEER_A, "a", "a-1", links_port(w.a.links));
    WAIT_FOR(&w, w.a.ups == 1 && w.b.ups == 1);
    /* A killed process sends no farewell: the kernel closes its sockets. Find
     * b's end of the connection and shut it down behind b's back. */
    for (int fd = 3; fd < 64; fd++) {
        struct sockaddr_in local, remote;
        socklen_t len = sizeof(local);
        if (getsockname(fd, (struct sockaddr *)&local, &len) != 0)
            continue;
        len = sizeof(remote);
        if (getpeername(fd, (struct sockaddr *)&remote, &len) == 0 &&
            ntohs(local.sin_port) == links_port(w.b.links))
            shutdown(fd, SHUT_RDWR);
    }
    usec_t start = clock_mono_us();
    WAIT_FOR(&w, w.a.downs == 1);
    assert_true(clock_mono_us() - start < 100 * USEC_PER_MS);
    assert_int_equal(w.a.down_err, ERR_IO);
    WAIT_FOR(&w, w.a.ups == 2 && w.b.ups == 2); /* and comes back */
    world_close(&w);
}

static void a_restarted_peer_is_found_again(void **state)
{
    (void)state;
    struct world w = {.ev = NULL};
    world_up(&w);
    char address[32];
    snprintf(address, sizeof(address), "127.0.0.1:%u", links_port(w.b.links));
    links_free(TAKE(w.b.links));
    WAIT_FOR(&w, w.a.downs == 1);
    struct links_stats s = {0};
    WAIT_FOR(&w, links_get_stats(w.a.links, PEER_B, &s) == ERR_OK &&
                     s.attempts >= 3);
    assert_string_equal(s.last_reason, "Connection refused");
    struct links_options o = {.cluster = "t",
                              .region = "b",
                              .node = "b-1",
                              .listen = address,
                              .tls = w.b.tls,
                              .timing = w.timing,
                              .handler = &handler,
                              .user = &w.b};
    assert_int_equal(links_create(w.cl, &o, NULL, &w.b.links), ERR_OK);
    add(&w.b, PEER_A, "a", "a-1", links_port(w.a.links));
    WAIT_FOR(&w, w.a.ups == 2 && w.b.ups == 2);
    assert_int_equal(links_get_stats(w.a.links, PEER_B, &s), ERR_OK);
    assert_int_equal(s.connects, 2);
    world_close(&w);
}

static void a_hung_peer_is_noticed_by_its_silence(void **state)
{
    (void)state;
    struct world w = {.timing = {.silence_us = 200 * USEC_PER_MS,
                                 .connect_us = 150 * USEC_PER_MS}};
    world_open(&w);
    uint16_t port;
    int fd = silent_port(&port);
    add(&w.a, PEER_B, "b", "b-1", port);
    struct links_stats s = {0};
    WAIT_FOR(&w, links_get_stats(w.a.links, PEER_B, &s) == ERR_OK &&
                     s.last_err == ERR_TIMEOUT);
    close(fd);
    world_close(&w);
}

/* -- tests: impairments -----------------------------------------------------
 */

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
        links_request(w.a.links, PEER_B, 3, 4000, bytes_str("q"), &id), ERR_OK);
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
        links_request(w.a.links, PEER_B, 3, 9000, bytes_str("x"), &id), ERR_OK);
    WAIT_FOR(&w, w.a.downs == 1);
    assert_int_equal(w.a.unseen, 1);
    assert_int_equal(w.b.requests, 0);
    /* What waited does not leave by the next connection. */
    impair(&w.a, PEER_B, IMPAIR_OUT, healthy);
    WAIT_FOR(&w, w.a.ups == 2);
    assert_int_equal(
        links_request(w.a.links, PEER_B, 3, 9000, bytes_str("y"), &id), ERR_OK);
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
        links_request(w.a.links, PEER_B, 3, 1000, bytes_str("q"), &id), ERR_OK);
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
        links_request(w->a.links, PEER_B, 3, 5000, bytes_str(body), &id),
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

/* -- tests: back-pressure ---------------------------------------------------
 */

static void raft_messages_are_dropped_when_full(void **state)
{
    (void)state;
    struct world w = {.ev = NULL};
    world_up(&w);
    uint8_t *body = mem_zalloc(1024 * 1024);
    struct raft_entry head = {
        .term = 1, .size = 1024 * 1024, .type = RAFT_ENTRY_DATA};
    struct bytes payload = bytes_of(body, 1024 * 1024);
    struct raft_msg m = {.type = RAFT_MSG_VOTE, .from = PEER_A};
    struct raft_msg big = {.type = RAFT_MSG_APPEND, .from = PEER_A};
    big.append.n = 1;
    big.append.bytes = 1024 * 1024;
    big.append.entries = &head;
    unsigned sent = 0;
    while (links_send_raft(w.a.links, PEER_B, 7, &big, &payload) == ERR_OK)
        sent++;
    assert_int_equal(sent, 15);
    struct links_stats s;
    assert_int_equal(links_get_stats(w.a.links, PEER_B, &s), ERR_OK);
    assert_int_equal(s.raft_dropped, 1);
    assert_true(s.output_bytes <= LINKS_RAFT_QUEUE_MAX);
    /* Requests and snapshots have lower marks, answers a higher one. */
    uint64_t id;
    assert_int_equal(
        links_request(w.a.links, PEER_B, 3, 1000, bytes_str("x"), &id),
        ERR_FULL);
    struct snapshot_chunk chunk = {.shard = 7, .transfer = 1};
    assert_int_equal(links_send_snapshot(w.a.links, PEER_B, &chunk), ERR_AGAIN);
    assert_int_equal(links_send_raft(w.a.links, PEER_B, 7, &m, NULL), ERR_OK);
    mem_free(body);
    world_close(&w);
}

static void snapshots_keep_to_their_window(void **state)
{
    (void)state;
    struct world w = {.ev = NULL};
    world_up(&w);
    w.b.keep_acks = true;
    struct snapshot_chunk c = {
        .shard = 7, .transfer = 1, .lsn = 10, .data = bytes_str("chunk")};
    for (c.seq = 0; c.seq < LINKS_SNAPSHOT_WINDOW; c.seq++)
        assert_int_equal(links_send_snapshot(w.a.links, PEER_B, &c), ERR_OK);
    assert_int_equal(links_send_snapshot(w.a.links, PEER_B, &c), ERR_AGAIN);
    WAIT_FOR(&w, w.b.chunk_seq == LINKS_SNAPSHOT_WINDOW);
    assert_int_equal(w.a.acked, 0);
    /* One acknowledgement for two chunks opens the window by two. */
    struct snapshot_ack ack = {7, 1, 1, ERR_OK};
    assert_int_equal(links_snapshot_ack(w.b.links, PEER_A, &ack), ERR_OK);
    WAIT_FOR(&w, w.a.acked == 2);
    assert_int_equal(links_send_snapshot(w.a.links, PEER_B, &c), ERR_OK);
    c.seq++;
    c.done = true;
    assert_int_equal(links_send_snapshot(w.a.links, PEER_B, &c), ERR_OK);
    ack.seq = c.seq;
    assert_int_equal(links_snapshot_ack(w.b.links, PEER_A, &ack), ERR_OK);
    WAIT_FOR(&w, w.b.chunk_done && w.a.acked == c.seq + 1);
    /* It is over; a chunk out of nowhere is refused, a new transfer is not. */
    c.seq++;
    assert_int_equal(links_send_snapshot(w.a.links, PEER_B, &c),
                     ERR_UNAVAILABLE);
    c.seq = 0;
    c.transfer = 2;
    w.b.chunk_seq = 0;
    assert_int_equal(links_send_snapshot(w.a.links, PEER_B, &c), ERR_OK);
    WAIT_FOR(&w, w.b.chunk_seq == 1);
    world_close(&w);
}

/* -- tests: who is refused --------------------------------------------------
 */

/* b shows a wrong certificate; neither side must ever stream. */
static void refused(const struct pki_node *cert, const char *region,
                    const char *name, const char *ca_path, int err,
                    const char *reason)
{
    struct world w = {.ev = NULL};
    world_open(&w);
    struct links_options o = {.cluster = "t",
                              .region = region,
                              .node = name,
                              .listen = "127.0.0.1:0",
                              .timing = w.timing,
                              .handler = &handler,
                              .user = &w.b};
    o.tls = w.b.tls = peer_ctx(cert, ca_path);
    assert_int_equal(links_create(w.cl, &o, NULL, &w.b.links), ERR_OK);
    add(&w.a, PEER_B, "b", "b-1", links_port(w.b.links));
    add(&w.b, PEER_A, "a", "a-1", links_port(w.a.links));
    struct links_stats s = {0};
    WAIT_FOR(&w, links_get_stats(w.a.links, PEER_B, &s) == ERR_OK &&
                     s.attempts >= 2);
    assert_int_equal(s.last_err, err);
    if (strstr(s.last_reason, reason) == NULL)
        fail_msg("'%s' is not '%s'", s.last_reason, reason);
    assert_int_equal(w.a.ups + w.b.ups, 0);
    world_close(&w);
}

static void wrong_certificates_are_refused(void **state)
{
    (void)state;
    refused(&cert_b_stranger, "b", "b-1", other_ca.path, ERR_AUTH,
            "certificate refused: unable to get local issuer certificate");
    refused(&cert_b_north, "north", "b-1", ca.path, ERR_IDENTITY,
            "region is north, expected b");
    refused(&cert_b_named_x, "b", "x-1", ca.path, ERR_IDENTITY,
            "node is x-1, expected b-1");
}

static void an_expired_certificate_is_refused(void **state)
{
    (void)state;
    struct pki_node brief;
    pki_make_node(&pki, &ca, "brief", "URI:spiffe://t/region/b/node/b-1", -60,
                  2, &brief);
    struct world w = {.ev = NULL};
    world_open(&w);
    w.b.tls = peer_ctx(&brief, ca.path); /* still good when the node starts */
    run_for(&w, 3 * USEC_PER_SEC);
    struct links_options o = {.cluster = "t",
                              .region = "b",
                              .node = "b-1",
                              .listen = "127.0.0.1:0",
                              .tls = w.b.tls,
                              .handler = &handler,
                              .user = &w.b};
    assert_int_equal(links_create(w.cl, &o, NULL, &w.b.links), ERR_OK);
    add(&w.a, PEER_B, "b", "b-1", links_port(w.b.links));
    struct links_stats s = {0};
    WAIT_FOR(&w, links_get_stats(w.a.links, PEER_B, &s) == ERR_OK &&
                     s.attempts >= 1);
    assert_int_equal(s.last_err, ERR_AUTH);
    assert_string_equal(s.last_reason,
                        "certificate refused: certificate has expired");
    world_close(&w);
}

/* The side that accepts checks as well: b expects a-1, somebody else calls. */
static void an_unknown_caller_is_refused(void **state)
{
    (void)state;
    struct world w = {.ev = NULL};
    world_open(&w);
    node_open(&w, &w.b, "b", "b-1", peer_ctx(&cert_b, ca.path));
    add(&w.b, PEER_A, "elsewhere", "a-1", links_port(w.a.links));
    add(&w.a, PEER_B, "b", "b-1", links_port(w.b.links));
    struct links_stats s = {0};
    WAIT_FOR(&w, links_get_stats(w.a.links, PEER_B, &s) == ERR_OK &&
                     s.attempts >= 2);
    assert_int_equal(s.last_err, ERR_IDENTITY);
    assert_string_equal(s.last_reason,
                        "the peer says: region is a, expected elsewhere");
    assert_int_equal(links_remove_peer(w.b.links, PEER_A), ERR_OK);
    WAIT_FOR(&w, links_get_stats(w.a.links, PEER_B, &s) == ERR_OK &&
                     strcmp(s.last_reason,
                            "the peer says: node a-1 is not a peer") == 0);
    assert_int_equal(w.b.ups, 0);
    world_close(&w);
}

static void own_certificate_must_be_ours(void **state)
{
    (void)state;
    struct world w = {.ev = NULL};
    world_open(&w);
    struct links_options o = {.cluster = "t",
                              .region = "b",
                              .node = "a-1",
                              .tls = w.a.tls,
                              .handler = &handler};
    struct err_msg msg;
    struct links *l;
    assert_int_equal(links_create(w.cl, &o, &msg, &l), ERR_IDENTITY);
    assert_non_null(strstr(msg.text, "region is a, expected b"));
    o.node = "a/1";
    assert_int_equal(links_create(w.cl, &o, &msg, &l), ERR_INVALID);
    o.region = "a";
    o.node = "a-1";
    o.listen = "nonsense";
    assert_int_equal(links_create(w.cl, &o, &msg, &l), ERR_INVALID);
    world_close(&w);
}

/* -- tests: a peer that breaks the protocol ----------------------------------
 */

/* A bare channel that plays the part of node a-1 towards b. */
struct actor {
    struct world *w;
    struct chan *chan;
    bool open, closed, up;
    struct buf got;
};

static void actor_open(struct chan *c, void *user)
{
    (void)c;
    ((struct actor *)user)->open = true;
}

static void actor_data(struct chan *c, void *user)
{
    struct actor *a = user;
    struct buf *in = chan_input(c);
    assert_int_equal(buf_append(&a->got, buf_bytes(in), buf_len(in)), ERR_OK);
    buf_consume(in, buf_len(in));
}

static void actor_close(struct chan *c, void *user, int err)
{
    (void)c;
    (void)err;
    ((struct actor *)user)->closed = true;
}

static const struct chan_handler actor_handler = {
    .on_open = actor_open, .on_data = actor_data, .on_close = actor_close};

static void actor_start(struct world *w, struct actor *a, bool say_hello)
{
    char address[32];
    snprintf(address, sizeof(address), "127.0.0.1:%u", links_port(w->b.links));
    struct chan_connect_options o = {.address = address,
                                     .tls = w->a.tls,
                                     .handler = &actor_handler,
                                     .user = a};
    o.limits.output_max = 2 * FRAME_BUF_MAX;
    buf_init(&a->got, FRAME_BUF_MAX);
    assert_int_equal(chan_connect(w->cl, &o, NULL, &a->chan), ERR_OK);
    WAIT_FOR(w, a->open);
    if (!say_hello)
        return;
    struct peer_hello h = {.version_min = 1, .version_max = 1};
    assert_int_equal(peer_identity_set(&h.id, "t", "a", "a-1"), ERR_OK);
    struct buf f;
    buf_init(&f, 1000);
    assert_int_equal(codec_put_hello(&f, &h), ERR_OK);
    assert_int_equal(chan_write(a->chan, buf_bytes(&f), buf_len(&f)), ERR_OK);
    buf_free(&f);
    unsigned ups = w->b.ups;
    WAIT_FOR(w, w->b.ups == ups + 1);
}

/* What the socket does not take stays ours: when the link is lost, its requests
 * are known not to have been seen. The others may have been. */
static void an_unsent_request_certainly_failed(void **state)
{
    (void)state;
    struct world w = {.timing = {.silence_us = 30 * USEC_PER_SEC}};
    world_open(&w);
    node_open(&w, &w.b, "b", "b-1", peer_ctx(&cert_b, ca.path));
    add(&w.b, PEER_A, "a", "a-1", links_port(w.a.links));
    struct actor a = {.w = &w};
    actor_start(&w, &a, true);
    chan_read_stop(a.chan);
    static uint8_t body[512 * 1024];
    unsigned asked = 0;
    for (int round = 0; round < 2; round++) {
        uint64_t id;
        while (links_request(w.b.links, PEER_A, 3, 60000,
                             bytes_of(body, sizeof(body)), &id) == ERR_OK)
            asked++;
        run_for(&w, 50000);
    }
    struct links_stats s;
    assert_int_equal(links_get_stats(w.b.links, PEER_A, &s), ERR_OK);
    assert_true(s.requests_refused > 0);
    assert_true(s.output_bytes <= LINKS_REQUEST_QUEUE_MAX);
    assert_true(s.output_bytes > 2 * sizeof(body));
    chan_free(a.chan);
    WAIT_FOR(&w, w.b.downs == 1);
    assert_int_equal(w.b.failures, asked);
    assert_true(w.b.unknown > 0 && w.b.unseen > 0);
    assert_int_equal(w.b.unknown + w.b.unseen, asked);
    /* In order: once one was not seen, no later one was. */
    assert_int_equal(w.b.failure_err, ERR_UNAVAILABLE);
    buf_free(&a.got);
    world_close(&w);
}

/* b must say BYE with `reason` and close, whatever `data` is. */
static void breaks(bool say_hello, const void *data, size_t len,
                   const char *reason)
{
    struct world w = {.ev = NULL};
    world_open(&w);
    node_open(&w, &w.b, "b", "b-1", peer_ctx(&cert_b, ca.path));
    add(&w.b, PEER_A, "a", "a-1", links_port(w.a.links));
    struct actor a = {.w = &w};
    actor_start(&w, &a, say_hello);
    assert_int_equal(chan_write(a.chan, data, len), ERR_OK);
    WAIT_FOR(&w, a.closed);
    struct links_stats s;
    assert_int_equal(links_get_stats(w.b.links, PEER_A, &s), ERR_OK);
    if (strstr(s.last_reason, reason) == NULL)
        fail_msg("'%s' is not '%s'", s.last_reason, reason);
    assert_int_equal(w.b.downs, say_hello);
    /* The last frame that arrived is the farewell with the same words. */
    struct frame f = {.type = FRAME_HELLO};
    size_t size;
    struct codec *c = codec_new();
    while (frame_read(&a.got, FRAME_MAX, &f, &size) == ERR_OK) {
        struct bye bye;
        if (f.type == FRAME_BYE) {
            assert_int_equal(codec_get_bye(c, f.payload, &bye), ERR_OK);
            assert_string_equal(bye.reason, s.last_reason);
        }
        buf_consume(&a.got, size);
    }
    assert_int_equal(f.type, FRAME_BYE);
    codec_free(c);
    chan_free(a.chan);
    buf_free(&a.got);
    world_close(&w);
}

static void malformed_frames_end_the_link(void **state)
{
    (void)state;
    uint8_t header[FRAME_HEADER] = {0};
    breaks(true, "GET / HTTP/1.1\r\n\r\n", 18, "malformed bytes");
    put_u32_le(header, FRAME_MAX + 1);
    header[4] = FRAME_RAFT;
    breaks(true, header, sizeof(header), "a named limit was exceeded");
    put_u32_le(header, 4097); /* too much before hello */
    breaks(false, header, sizeof(header), "a named limit was exceeded");

    struct buf f;
    buf_init(&f, 1000);
    assert_int_equal(frame_append(&f, FRAME_RAFT, bytes_str("nonsense")),
                     ERR_OK);
    breaks(true, buf_bytes(&f), buf_len(&f), "raft frame: malformed bytes");
    breaks(false, buf_bytes(&f), buf_len(&f),
           "raft frame: peer broke the protocol");
    buf_clear(&f);
    /* Nobody speaks for another node. */
    struct raft_msg m = {.type = RAFT_MSG_VOTE, .from = 9};
    assert_int_equal(codec_put_raft(&f, 7, &m, NULL), ERR_OK);
    breaks(true, buf_bytes(&f), buf_len(&f),
           "raft frame: belongs to another node");
    buf_clear(&f);
    struct snapshot_ack ack = {7, 1, 5, ERR_OK};
    assert_int_equal(codec_put_snapshot_ack(&f, &ack), ERR_OK);
    /* An acknowledgement of a transfer we do not know is merely stale. */
    assert_int_equal(frame_append(&f, FRAME_HELLO, bytes_of("\0\0\0\0", 4)),
                     ERR_OK);
    breaks(true, buf_bytes(&f), buf_len(&f), "hello frame: malformed bytes");
    buf_clear(&f);
    /* Entries are taken from neighbours, not from other regions. */
    assert_int_equal(frame_append(&f, FRAME_PASSED, bytes_str("entries")),
                     ERR_OK);
    breaks(true, buf_bytes(&f), buf_len(&f),
           "passed entries frame: not allowed");
    buf_clear(&f);
    assert_int_equal(frame_append(&f, FRAME_RAFT_BARE, bytes_str("digest")),
                     ERR_OK);
    breaks(true, buf_bytes(&f), buf_len(&f),
           "bare raft frame: malformed bytes");
    buf_free(&f);
}

/* -- tests: topology changes -------------------------------------------------
 */

static void peers_come_and_go(void **state)
{
    (void)state;
    struct world w = {.ev = NULL};
    world_up(&w);
    assert_int_equal(links_add_peer(w.a.links, PEER_B, "b", "b-2", "h:1"),
                     ERR_EXISTS);
    assert_int_equal(links_add_peer(w.a.links, 5, "b", "b-1", "h:1"),
                     ERR_EXISTS);
    assert_int_equal(links_add_peer(w.a.links, 0, "b", "b-2", "h:1"),
                     ERR_INVALID);
    assert_int_equal(links_add_peer(w.a.links, 5, "b", "a-1", "h:1"),
                     ERR_INVALID);
    assert_int_equal(links_add_peer(w.a.links, 5, "b", "b-2", "h"),
                     ERR_INVALID);
    assert_int_equal(links_remove_peer(w.a.links, 77), ERR_NOT_FOUND);
    uint64_t id;
    w.b.keep_calls = true;
    assert_int_equal(
        links_request(w.a.links, PEER_B, 3, 9000, bytes_str("x"), &id), ERR_OK);
    assert_int_equal(links_remove_peer(w.a.links, PEER_B), ERR_OK);
    assert_int_equal(w.a.failures, 0); /* never from inside a call */
    WAIT_FOR(&w, w.a.failures == 1 && w.b.downs == 1);
    assert_int_equal(w.a.failure_id, id);
    assert_int_equal(w.a.downs, 0);
    struct links_stats s;
    assert_int_equal(links_get_stats(w.a.links, PEER_B, &s), ERR_NOT_FOUND);
    add(&w.a, PEER_B, "b", "b-1", links_port(w.b.links));
    WAIT_FOR(&w, w.a.ups == 2 && w.b.ups == 2);
    world_close(&w);
}

static void a_peer_may_be_removed_inside_a_callback(void **state)
{
    (void)state;
    struct world w = {.ev = NULL};
    world_up(&w);
    w.a.remove_in_down = PEER_B;
    uint64_t id;
    w.b.keep_calls = true;
    assert_int_equal(
        links_request(w.a.links, PEER_B, 3, 9000, bytes_str("x"), &id), ERR_OK);
    WAIT_FOR(&w, w.b.requests == 1);
    node_close(&w.b);
    WAIT_FOR(&w, w.a.downs == 1);
    assert_int_equal(w.a.failures, 1);
    assert_false(links_is_up(w.a.links, PEER_B));
    run_for(&w, 50000);
    world_close(&w);
}

/* -- a measurement, not a test -----------------------------------------------
 */

static void measure(void **state)
{
    (void)state;
    struct world w = {.ev = NULL};
    world_up(&w);
    usec_t start = clock_mono_us();
    uint64_t sent = 0;
    while (sent < 100000) {
        for (int i = 0; i < 50; i++)
            send_append(&w.a, PEER_A, PEER_B, sent++, 1);
        ev_run(w.ev, EVRUN_NOWAIT);
    }
    WAIT_FOR(&w, w.b.raft_next == sent);
    usec_t small = clock_mono_us() - start;

    static uint8_t body[64 * 1024];
    uint64_t id, big = 0;
    start = clock_mono_us();
    while (w.b.requests < 2000) {
        w.b.keep_calls = true;
        while (big < 2000 &&
               links_request(w.a.links, PEER_B, 3, 60000,
                             bytes_of(body, sizeof(body)), &id) == ERR_OK)
            big++;
        ev_run(w.ev, EVRUN_NOWAIT);
    }
    usec_t large = clock_mono_us() - start;
    print_message("# %llu appends of 64 bytes: %llu/s; 64 KiB requests: "
                  "%llu MB/s (both ends on one core)\n",
                  (unsigned long long)sent,
                  (unsigned long long)(sent * 1000000 / (uint64_t)small),
                  (unsigned long long)(2000 * sizeof(body) / (uint64_t)large));
    world_close(&w);
}

static int setup(void **state)
{
    (void)state;
    log_setup(open("/dev/null", O_WRONLY), LOG_ERROR, LOG_TEXT);
    pki_open(&pki);
    pki_make_ca(&pki, "ca", &ca);
    pki_make_ca(&pki, "other", &other_ca);
    pki_make_node(&pki, &ca, "a", "URI:spiffe://t/region/a/node/a-1", -60, 3600,
                  &cert_a);
    pki_make_node(&pki, &ca, "b", "URI:spiffe://t/region/b/node/b-1", -60, 3600,
                  &cert_b);
    pki_make_node(&pki, &ca, "b-north", "URI:spiffe://t/region/north/node/b-1",
                  -60, 3600, &cert_b_north);
    pki_make_node(&pki, &ca, "b-x", "URI:spiffe://t/region/b/node/x-1", -60,
                  3600, &cert_b_named_x);
    pki_make_node(&pki, &other_ca, "b-stranger",
                  "URI:spiffe://t/region/b/node/b-1", -60, 3600,
                  &cert_b_stranger);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pki_free_ca(&ca);
    pki_free_ca(&other_ca);
    pki_close(&pki);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(links_come_up),
        cmocka_unit_test(ten_thousand_messages_arrive_in_order),
        cmocka_unit_test(requests_are_answered),
        cmocka_unit_test(a_passed_deadline_leaves_the_outcome_open),
        cmocka_unit_test(a_sent_request_that_is_lost_has_an_open_outcome),
        cmocka_unit_test(an_unsent_request_certainly_failed),
        cmocka_unit_test(a_dead_process_is_noticed_at_once),
        cmocka_unit_test(a_restarted_peer_is_found_again),
        cmocka_unit_test(a_hung_peer_is_noticed_by_its_silence),
        cmocka_unit_test(delayed_frames_arrive_later_and_in_order),
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
        cmocka_unit_test(raft_messages_are_dropped_when_full),
        cmocka_unit_test(snapshots_keep_to_their_window),
        cmocka_unit_test(wrong_certificates_are_refused),
        cmocka_unit_test(an_expired_certificate_is_refused),
        cmocka_unit_test(an_unknown_caller_is_refused),
        cmocka_unit_test(own_certificate_must_be_ours),
        cmocka_unit_test(malformed_frames_end_the_link),
        cmocka_unit_test(peers_come_and_go),
        cmocka_unit_test(a_peer_may_be_removed_inside_a_callback),
    };
    const struct CMUnitTest measurements[] = {cmocka_unit_test(measure)};
    if (getenv("MEASURE") != NULL)
        return cmocka_run_group_tests(measurements, setup, teardown);
    return cmocka_run_group_tests(tests, setup, teardown);
}
