/* Links between nodes of one process, over real mTLS on loopback. */
#include "tests/unit/replication/two_nodes.h"

/* -- tests: messages --------------------------------------------------------
 */

static void links_come_up(void **state)
{
    (void)state;
    struct world w = {.ev = NULL};
    world_up(&w);
    assert_true(links_is_up(w.a.links, PEER_B));
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
    assert_int_equal(links_request(w.a.links, PEER_B, 3, 0, 1000,
                                   bytes_str("question"), &id),
                     ERR_OK);
    WAIT_FOR(&w, w.a.responses == 1);
    assert_int_equal(w.a.response_id, id);
    assert_int_equal(w.a.response_err, ERR_NOT_LEADER);
    assert_string_equal(w.a.response, "question");
    assert_int_equal(w.a.failures, 0);
    /* The other way as well: the link has two equal ends. */
    assert_int_equal(
        links_request(w.b.links, PEER_A, 3, 0, 1000, bytes_str("x"), &id),
        ERR_OK);
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
        links_request(w.a.links, PEER_B, 3, 0, 50, bytes_str("x"), &id),
        ERR_OK);
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
        links_request(w.a.links, PEER_B, 3, 0, 9000, bytes_str("x"), &id),
        ERR_OK);
    WAIT_FOR(&w, w.b.requests == 1);
    links_free(TAKE(w.b.links));
    WAIT_FOR(&w, w.a.downs == 1);
    assert_int_equal(w.a.failures, 1);
    assert_int_equal(w.a.failure_err, ERR_TIMEOUT);
    assert_int_equal(w.a.down_err, ERR_EOF);
    assert_string_equal(w.a.down_reason,
                        "the peer says: this node is stopping");
    assert_int_equal(
        links_request(w.a.links, PEER_B, 3, 0, 9000, bytes_str("z"), &id),
        ERR_UNAVAILABLE);
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
                              .fence = open_fence,
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
        links_request(w.a.links, PEER_B, 3, 0, 1000, bytes_str("x"), &id),
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
    struct snapshot_ack ack = {.shard = 7, .transfer = 1, .seq = 1};
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
                              .fence = open_fence,
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
                              .fence = open_fence,
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
                              .fence = open_fence,
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
        while (links_request(w.b.links, PEER_A, 3, 0, 60000,
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

/* How many frames of that type have come, and the last one's payload, which is
 * in a->got. */
static unsigned frames_of(const struct actor *a, enum frame_type type,
                          struct bytes *last_out)
{
    struct frame f;
    struct buf in = a->got;
    unsigned n = 0;
    size_t size;
    while (frame_read(&in, FRAME_MAX, &f, &size) == ERR_OK) {
        n += f.type == type;
        if (f.type == type)
            *last_out = f.payload;
        buf_consume(&in, size);
    }
    return n;
}

static uint8_t answer_body[512 * 1024];
static const struct bytes large_answer = {answer_body, sizeof(answer_body)};

/* Request 77 has come to b from an actor that does not read what follows. */
static void ask_and_read_nothing(struct world *w, struct actor *a)
{
    world_open(w);
    node_open(w, &w->b, "b", "b-1", peer_ctx(&cert_b, ca.path));
    add(&w->b, PEER_A, "a", "a-1", links_port(w->a.links));
    actor_start(w, a, true);
    w->b.keep_calls = true;
    struct buf f;
    buf_init(&f, 1000);
    const struct request r = {
        .id = 77, .deadline_ms = 60000, .kind = 3, .body = bytes_str("q")};
    assert_int_equal(codec_put_request(&f, &r), ERR_OK);
    assert_int_equal(chan_write(a->chan, buf_bytes(&f), buf_len(&f)), ERR_OK);
    buf_free(&f);
    WAIT_FOR(w, w->b.requests == 1);
    chan_read_stop(a->chan);
}

/* What nobody reads must not keep Raft from being heard, and who asked is told
 * rather than left to wait. */
static void an_answer_without_room_is_refused_at_once(void **state)
{
    (void)state;
    struct world w = {.timing = {.silence_us = 30 * USEC_PER_SEC}};
    struct actor a = {.w = &w};
    ask_and_read_nothing(&w, &a);
    unsigned sent = 0;
    while (links_reply(w.b.links, w.b.call, ERR_OK, large_answer) == ERR_OK) {
        ev_run(w.ev, EVRUN_NOWAIT);
        sent++;
    }
    struct links_stats s;
    assert_true(links_answer_room(w.b.links, PEER_A) <
                sizeof(answer_body) + 1000);
    assert_int_equal(links_get_stats(w.b.links, PEER_A, &s), ERR_OK);
    assert_int_equal(s.answers_refused, 1);
    assert_true(s.output_bytes > LINKS_ANSWER_QUEUE_MAX - sizeof(answer_body));
    assert_true(s.output_bytes < LINKS_ANSWER_QUEUE_MAX + 1000);
    send_append(&w.b, PEER_B, PEER_A, 0, 1);
    assert_int_equal(links_get_stats(w.b.links, PEER_A, &s), ERR_OK);
    assert_int_equal(s.raft_dropped, 0);
    /* Small ones have room. */
    assert_int_equal(
        links_reply(w.b.links, w.b.call, ERR_OK, bytes_of(answer_body, 1000)),
        ERR_OK);
    assert_int_equal(links_reply(w.b.links, w.b.call, ERR_OK, large_answer),
                     ERR_FULL);
    a.got.max = 3 * LINKS_ANSWER_QUEUE_MAX;
    chan_read_start(a.chan);
    struct bytes payload;
    WAIT_FOR(&w, frames_of(&a, FRAME_RESPONSE, &payload) == sent + 3);
    struct codec *c = codec_new();
    struct response last;
    assert_int_equal(codec_get_response(c, payload, &last), ERR_OK);
    assert_int_equal(last.id, 77);
    assert_int_equal(last.err, ERR_TIMEOUT);
    assert_int_equal(last.body.len, 0);
    codec_free(c);
    chan_free(a.chan);
    buf_free(&a.got);
    world_close(&w);
}

/* Who was away and is brought on with all that a link holds is answered. */
static void answers_have_room_behind_raft(void **state)
{
    (void)state;
    struct world w = {.timing = {.silence_us = 30 * USEC_PER_SEC}};
    struct actor a = {.w = &w};
    ask_and_read_nothing(&w, &a);
    struct links_stats s;
    uint64_t lsn = 0;
    do {
        send_append(&w.b, PEER_B, PEER_A, lsn++, 8);
        if (lsn % 1000 == 0)
            ev_run(w.ev, EVRUN_NOWAIT);
        assert_int_equal(links_get_stats(w.b.links, PEER_A, &s), ERR_OK);
    } while (s.output_bytes <= LINKS_ANSWER_QUEUE_MAX);
    unsigned sent = 0;
    assert_int_equal(links_answer_room(w.b.links, PEER_A), LINKS_ANSWER_SHARE);
    while (links_reply(w.b.links, w.b.call, ERR_OK, large_answer) == ERR_OK)
        sent++;
    assert_int_equal(sent, LINKS_ANSWER_SHARE / sizeof(answer_body) - 1);
    a.got.max = 3 * LINKS_ANSWER_QUEUE_MAX;
    chan_read_start(a.chan);
    WAIT_FOR(&w,
             links_answer_room(w.b.links, PEER_A) == LINKS_ANSWER_QUEUE_MAX);
    chan_free(a.chan);
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
    struct snapshot_ack ack = {.shard = 7, .transfer = 1, .seq = 5};
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
        links_request(w.a.links, PEER_B, 3, 0, 9000, bytes_str("x"), &id),
        ERR_OK);
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
        links_request(w.a.links, PEER_B, 3, 0, 9000, bytes_str("x"), &id),
        ERR_OK);
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
               links_request(w.a.links, PEER_B, 3, 0, 60000,
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(links_come_up),
        cmocka_unit_test(ten_thousand_messages_arrive_in_order),
        cmocka_unit_test(requests_are_answered),
        cmocka_unit_test(a_passed_deadline_leaves_the_outcome_open),
        cmocka_unit_test(a_sent_request_that_is_lost_has_an_open_outcome),
        cmocka_unit_test(an_unsent_request_certainly_failed),
        cmocka_unit_test(an_answer_without_room_is_refused_at_once),
        cmocka_unit_test(answers_have_room_behind_raft),
        cmocka_unit_test(a_dead_process_is_noticed_at_once),
        cmocka_unit_test(a_restarted_peer_is_found_again),
        cmocka_unit_test(a_hung_peer_is_noticed_by_its_silence),
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
