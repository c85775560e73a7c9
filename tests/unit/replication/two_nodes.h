/* What the tests of links share: nodes of one process with links over real mTLS
 * on loopback, which note what they hear. Each test program has its own. */
#ifndef BASTIDE_TESTS_UNIT_REPLICATION_TWO_NODES_H
#define BASTIDE_TESTS_UNIT_REPLICATION_TWO_NODES_H

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
#define ORDERED 10000 /* messages whose order is looked at */

static struct pki pki;
static struct pki_ca ca, other_ca;
/* Of nodes that have none of their own: everything is group default's. */
static struct fence *open_fence;
/* Certificates of nodes a-1 (region a), b-1 (b), and bad ones for b-1. */
static struct pki_node cert_a, cert_b, cert_b_north, cert_b_named_x,
    cert_b_stranger;

/* -- one node ---------------------------------------------------------------
 */

struct node {
    struct links *links;
    const struct fence *fence; /* NULL: the open one */
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
    uint64_t requests_shard;   /* of all requests */
    int ack_err;
    unsigned refused;
    struct links_refusal refusal; /* the last one */
    uint32_t level;               /* of features: supported */
    uint32_t active;              /* the cluster's; 0: that one */
    char holds, expects; /* a region's key in small: what its HELLO proves, and
                          * the peer's must; 0: nothing */
};

static inline void on_up(void *user, links_peer peer,
                         const struct peer_hello *hello)
{
    struct node *n = user;
    assert_true(peer != 0);
    n->ups++;
    n->incarnation_seen = hello->incarnation;
}

static inline void on_down(void *user, links_peer peer, int err,
                           const char *reason)
{
    struct node *n = user;
    n->downs++;
    n->down_err = err;
    snprintf(n->down_reason, sizeof(n->down_reason), "%s", reason);
    if (n->remove_in_down == peer)
        assert_int_equal(links_remove_peer(n->links, peer), ERR_OK);
}

static inline void on_raft(void *user, links_peer from, uint64_t shard,
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

static inline void on_request(void *user, struct links_call call, uint32_t kind,
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

static inline void on_response(void *user, links_peer from, uint32_t kind,
                               uint64_t id, int err, struct bytes body)
{
    struct node *n = user;
    (void)from;
    assert_int_equal(kind, 3);
    n->responses++;
    n->response_id = id;
    n->response_err = err;
    snprintf(n->response, sizeof(n->response), "%.*s", (int)body.len,
             (const char *)body.data);
}

static inline void on_request_failed(void *user, links_peer peer, uint32_t kind,
                                     uint64_t id, int err)
{
    struct node *n = user;
    assert_true(peer != 0);
    assert_int_equal(kind, 3);
    n->failures++;
    n->failure_id = id;
    n->unknown += err == ERR_TIMEOUT;
    n->unseen += err == ERR_UNAVAILABLE;
    n->failure_err = err;
}

static inline void on_snapshot(void *user, links_peer from,
                               const struct snapshot_chunk *chunk)
{
    struct node *n = user;
    assert_int_equal(chunk->seq, n->chunk_seq);
    n->chunk_seq++;
    n->chunk_done = chunk->done;
    if (n->keep_acks)
        return;
    struct snapshot_ack ack = {
        .shard = chunk->shard, .transfer = chunk->transfer, .seq = chunk->seq};
    assert_int_equal(links_snapshot_ack(n->links, from, &ack), ERR_OK);
}

static inline void on_snapshot_ack(void *user, links_peer from,
                                   const struct snapshot_ack *ack)
{
    struct node *n = user;
    (void)from;
    n->acked = ack->seq + 1;
    n->ack_err = ack->err;
}

static inline uint64_t request_shard(void *user, uint32_t kind,
                                     struct bytes body)
{
    (void)kind;
    (void)body;
    return ((struct node *)user)->requests_shard;
}

/* What all requests carry. */
static enum fence_carries requests_carry = FENCE_PAYLOAD;

static inline enum fence_carries request_carries(uint32_t kind)
{
    assert_int_equal(kind, 3);
    return requests_carry;
}

static inline void on_refused(void *user, const struct links_refusal *refusal)
{
    struct node *n = user;
    n->refused++;
    n->refusal = *refusal;
}

static inline void on_gossip(void *user, links_peer from, struct bytes gossip)
{
    struct node *n = user;
    (void)from;
    snprintf(n->gossip_seen, sizeof(n->gossip_seen), "%.*s", (int)gossip.len,
             (const char *)gossip.data);
}

static inline struct bytes own_gossip(void *user, links_peer to)
{
    (void)user;
    (void)to;
    return bytes_str("rumour");
}

/* In place of crypt's: bound to the connection all the same. */
static inline void proof_of(char key, const uint8_t *binding,
                            uint8_t proof_out[PEER_PROOF_LEN])
{
    for (size_t i = 0; i < PEER_PROOF_LEN; i++)
        proof_out[i] = (uint8_t)(binding[i % CHAN_BINDING_LEN] ^ key);
}

static inline bool prove_region(void *user, const struct peer_identity *to,
                                const uint8_t *binding,
                                uint8_t proof_out[PEER_PROOF_LEN])
{
    const struct node *n = user;
    assert_int_equal(to->node[1], '-');
    if (n->holds != 0)
        proof_of(n->holds, binding, proof_out);
    return n->holds != 0;
}

static inline bool believes_region(void *user, const struct peer_identity *from,
                                   const uint8_t *binding, const uint8_t *proof)
{
    const struct node *n = user;
    uint8_t right[PEER_PROOF_LEN];
    assert_int_equal(from->node[1], '-');
    proof_of(n->expects, binding, right);
    return n->expects == 0 ||
           (proof != NULL && memcmp(proof, right, sizeof(right)) == 0);
}

static const struct links_handler handler = {
    .prove_region = prove_region,
    .believes_region = believes_region,
    .on_peer_up = on_up,
    .on_peer_down = on_down,
    .on_raft = on_raft,
    .request_carries = request_carries,
    .on_request = on_request,
    .on_response = on_response,
    .on_request_failed = on_request_failed,
    .on_snapshot = on_snapshot,
    .on_snapshot_ack = on_snapshot_ack,
    .request_shard = request_shard,
    .on_refused = on_refused,
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

static inline void on_poll(struct ev_loop *ev, ev_timer *w, int revents)
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

static inline void run_for(struct world *w, usec_t us)
{
    usec_t until = clock_mono_us() + us;
    WAIT_FOR(w, clock_mono_us() >= until);
}

static inline struct tls_ctx *peer_ctx(const struct pki_node *node,
                                       const char *ca_path)
{
    struct tls_files files = {node->cert, node->key, ca_path};
    struct tls_ctx *ctx = NULL;
    struct err_msg msg = {""};
    if (tls_ctx_peer(&files, &msg, &ctx) != ERR_OK)
        fail_msg("%s", msg.text);
    return ctx;
}

static inline void node_open(struct world *w, struct node *n,
                             const char *region, const char *name,
                             struct tls_ctx *tls)
{
    n->tls = tls;
    struct links_options o = {
        .cluster = "t",
        .region = region,
        .node = name,
        .incarnation = 42,
        .feature_level = n->level,
        .feature_active = n->active != 0 ? n->active : n->level,
        .listen = "127.0.0.1:0",
        .tls = tls,
        .timing = w->timing,
        .seed = 1,
        .fence = n->fence != NULL ? n->fence : open_fence,
        .handler = &handler,
        .user = n,
    };
    struct err_msg msg = {""};
    if (links_create(w->cl, &o, &msg, &n->links) != ERR_OK)
        fail_msg("%s", msg.text);
}

static inline void node_close(struct node *n)
{
    links_free(TAKE(n->links));
    tls_ctx_unref(TAKE(n->tls));
}

static inline void add(struct node *n, links_peer id, const char *region,
                       const char *name, uint16_t port)
{
    char address[32];
    snprintf(address, sizeof(address), "127.0.0.1:%u", port);
    assert_int_equal(links_add_peer(n->links, id, region, name, address),
                     ERR_OK);
}

static inline void world_open(struct world *w)
{
    w->ev = ev_loop_new(EVFLAG_AUTO);
    w->cl = chan_loop_new(w->ev);
    if (w->timing.silence_us == 0)
        w->timing.silence_us = 400 * USEC_PER_MS;
    w->timing.backoff_min_us = 10 * USEC_PER_MS;
    w->timing.backoff_max_us = 100 * USEC_PER_MS;
    node_open(w, &w->a, "a", "a-1", peer_ctx(&cert_a, ca.path));
}

static inline void world_dial(struct world *w)
{
    world_open(w);
    node_open(w, &w->b, "b", "b-1", peer_ctx(&cert_b, ca.path));
    add(&w->a, PEER_B, "b", "b-1", links_port(w->b.links));
    add(&w->b, PEER_A, "a", "a-1", links_port(w->a.links));
}

static inline void world_up(struct world *w)
{
    world_dial(w);
    WAIT_FOR(w, w->a.ups == 1 && w->b.ups == 1);
}

static inline void world_close(struct world *w)
{
    node_close(&w->a);
    node_close(&w->b);
    run_for(w, 5000);
    chan_loop_free(w->cl);
    ev_loop_destroy(w->ev);
}

/* A port that accepts and says nothing stands for a hung process. */
static inline int silent_port(uint16_t *port_out)
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

static inline void send_append(struct node *from, links_peer self,
                               links_peer to, uint64_t lsn, uint32_t entries)
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

static inline int setup(void **state)
{
    (void)state;
    log_setup(open("/dev/null", O_WRONLY), LOG_ERROR, LOG_TEXT);
    open_fence = fence_new(100, 99);
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

static inline int teardown(void **state)
{
    (void)state;
    pki_free_ca(&ca);
    pki_free_ca(&other_ca);
    pki_close(&pki);
    fence_free(open_fence);
    return 0;
}

#endif
