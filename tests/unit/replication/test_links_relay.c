/* Entries that cross to a region once: a leader in region a, three nodes in
 * region b, over real mTLS on loopback. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/base/feature.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "replication/links.h"
#include "replication/relay.h"
#include "tests/unit/replication/pki.h"

#define WAIT_US (10 * USEC_PER_SEC)
#define NODES 4 /* ids 1 (a-1, the leader), 2 to 4 (b-1 to b-3) */
#define LEADER 0
#define ENTRY_BYTES 500
#define SHARD 7

static struct pki pki;
static struct pki_ca ca;
static struct pki_node certs[NODES];
static struct fence *fence;

static const struct {
    const char *region, *name, *uri;
} names[NODES] = {
    {"a", "a-1", "URI:spiffe://t/region/a/node/a-1"},
    {"b", "b-1", "URI:spiffe://t/region/b/node/b-1"},
    {"b", "b-2", "URI:spiffe://t/region/b/node/b-2"},
    {"b", "b-3", "URI:spiffe://t/region/b/node/b-3"},
};

struct node {
    struct links *links;
    struct tls_ctx *tls;
    unsigned ups;
    uint64_t appends, heartbeats;
    uint64_t last_lsn; /* prev_lsn of the newest append */
    uint64_t gaps;     /* appends that were lost */
};

struct world {
    struct ev_loop *ev;
    struct chan_loop *cl;
    uint32_t feature_level;
    struct node nodes[NODES];
};

static void on_up(void *user, links_peer peer, const struct peer_hello *hello)
{
    (void)peer;
    (void)hello;
    ((struct node *)user)->ups++;
}

/* Order holds whatever way a message came, and bytes are what was sent. */
static void on_raft(void *user, links_peer from, uint64_t shard,
                    const struct raft_msg *m, const struct bytes *payloads)
{
    struct node *n = user;
    assert_int_equal(from, LEADER + 1);
    assert_int_equal(shard, SHARD);
    assert_true(m->append.prev_lsn >= n->last_lsn);
    if (m->append.n == 0) {
        n->heartbeats++;
        return;
    }
    assert_true(m->append.prev_lsn > n->last_lsn);
    n->gaps += m->append.prev_lsn - n->last_lsn - 1;
    n->last_lsn = m->append.prev_lsn;
    n->appends++;
    for (size_t k = 0; k < payloads[0].len; k++)
        assert_int_equal(payloads[0].data[k],
                         (uint8_t)(m->append.prev_lsn + k));
}

static const struct links_handler handler = {.on_peer_up = on_up,
                                             .on_raft = on_raft};

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

static void node_open(struct world *w, int i)
{
    struct node *n = &w->nodes[i];
    struct tls_files files = {certs[i].cert, certs[i].key, ca.path};
    struct err_msg msg = {""};
    if (tls_ctx_peer(&files, &msg, &n->tls) != ERR_OK)
        fail_msg("%s", msg.text);
    struct links_options o = {.cluster = "t",
                              .region = names[i].region,
                              .node = names[i].name,
                              .incarnation = 1,
                              .feature_level = w->feature_level,
                              .listen = "127.0.0.1:0",
                              .tls = n->tls,
                              .timing = {.silence_us = 20 * USEC_PER_SEC},
                              .seed = (uint64_t)i,
                              .fence = fence,
                              .handler = &handler,
                              .user = n};
    if (links_create(w->cl, &o, &msg, &n->links) != ERR_OK)
        fail_msg("%s", msg.text);
}

static void node_close(struct node *n)
{
    links_free(TAKE(n->links));
    tls_ctx_unref(TAKE(n->tls));
}

static void world_open(struct world *w)
{
    w->ev = ev_loop_new(EVFLAG_AUTO);
    w->cl = chan_loop_new(w->ev);
    for (int i = 0; i < NODES; i++)
        node_open(w, i);
    for (int i = 0; i < NODES; i++)
        for (int j = 0; j < NODES; j++) {
            char address[32];
            snprintf(address, sizeof(address), "127.0.0.1:%u",
                     links_port(w->nodes[j].links));
            if (i != j)
                assert_int_equal(
                    links_add_peer(w->nodes[i].links, (links_peer)j + 1,
                                   names[j].region, names[j].name, address),
                    ERR_OK);
        }
    for (int i = 0; i < NODES; i++)
        WAIT_FOR(w, w->nodes[i].ups == NODES - 1);
}

static void world_close(struct world *w)
{
    for (int i = 0; i < NODES; i++)
        node_close(&w->nodes[i]);
    WAIT_FOR(w, true);
    chan_loop_free(w->cl);
    ev_loop_destroy(w->ev);
}

static void send_to(struct world *w, int i, uint64_t lsn, uint32_t bytes)
{
    static uint8_t body[ENTRY_BYTES];
    for (size_t k = 0; k < bytes; k++)
        body[k] = (uint8_t)(lsn + k);
    struct raft_entry head = {
        .term = 3, .size = bytes, .type = RAFT_ENTRY_DATA};
    struct bytes payload = bytes_of(body, bytes);
    struct raft_msg m = {.type = RAFT_MSG_APPEND,
                         .term = 3,
                         .from = LEADER + 1,
                         .to = (raft_id)i + 1};
    m.append.prev_lsn = lsn;
    m.append.n = bytes > 0;
    m.append.bytes = bytes;
    m.append.entries = bytes > 0 ? &head : NULL;
    (void)links_send_raft(w->nodes[LEADER].links, (links_peer)i + 1, SHARD, &m,
                          bytes > 0 ? &payload : NULL);
}

static void send_all(struct world *w, uint64_t lsn, uint32_t bytes)
{
    for (int i = 1; i < NODES; i++)
        send_to(w, i, lsn, bytes);
}

static struct links_stats stats(struct world *w, int from, int to)
{
    struct links_stats s;
    assert_int_equal(
        links_get_stats(w->nodes[from].links, (links_peer)to + 1, &s), ERR_OK);
    return s;
}

/* -- tests ------------------------------------------------------------------
 */

static void entries_cross_once_at(uint32_t feature_level)
{
    struct world w = {.feature_level = feature_level};
    world_open(&w);
    enum { APPENDS = 2000 };
    for (uint64_t lsn = 1; lsn <= APPENDS; lsn++) {
        send_all(&w, lsn, ENTRY_BYTES);
        send_all(&w, lsn, 0); /* a heartbeat waits behind a bare append */
        if (lsn % 50 == 0)
            ev_run(w.ev, EVRUN_NOWAIT);
    }
    for (int i = 1; i < NODES; i++) {
        struct node *n = &w.nodes[i];
        WAIT_FOR(&w, n->appends == APPENDS && n->heartbeats == APPENDS);
        assert_int_equal(n->gaps, 0);
    }
    struct links_stats s = stats(&w, LEADER, 1);
    assert_int_equal(s.shared_out, APPENDS);
    assert_int_equal(s.raft_entries_out, APPENDS * ENTRY_BYTES);
    for (int i = 2; i < NODES; i++) {
        s = stats(&w, LEADER, i);
        assert_int_equal(s.bare_out, APPENDS);
        assert_int_equal(s.raft_entries_out, 0);
        assert_int_equal(s.missed, 0);
        assert_int_equal(stats(&w, 1, i).passed_out, APPENDS * ENTRY_BYTES);
    }
    world_close(&w);
}

static void entries_cross_once(void **state)
{
    (void)state;
    entries_cross_once_at(FEATURE_RELAY);
    entries_cross_once_at(FEATURE_GROUPS);
}

/* Keeps the shard in the regions. */
static void fence_in(fence_regions regions)
{
    const struct fence_group g = {.number = 1,
                                  .name = "eu",
                                  .first_shard = SHARD,
                                  .shard_count = 1,
                                  .payload = regions};
    const struct fence_group others = {.name = "default",
                                       .first_shard = 1,
                                       .shard_count = SHARD - 1,
                                       .payload = FENCE_EVERYWHERE};
    assert_int_equal(fence_put(fence, &others), ERR_OK);
    assert_int_equal(fence_put(fence, &g), ERR_OK);
}

static void fenced_entries_are_relayed_inside(void **state)
{
    (void)state;
    fence_in(fence_bit(1) | fence_bit(2));
    entries_cross_once_at(FEATURE_GROUPS);
    fence_forget(fence);
}

/* They could not say of which shard the entries are. */
static void old_nodes_do_not_relay_what_is_fenced(void **state)
{
    (void)state;
    fence_in(fence_bit(1) | fence_bit(2));
    struct world w = {.feature_level = FEATURE_RELAY};
    world_open(&w);
    send_all(&w, 1, ENTRY_BYTES);
    for (int i = 1; i < NODES; i++) {
        WAIT_FOR(&w, w.nodes[i].appends == 1);
        struct links_stats s = stats(&w, LEADER, i);
        assert_int_equal(s.shared_out + s.bare_out, 0);
    }
    world_close(&w);
    fence_forget(fence);
}

static void small_appends_and_old_nodes_are_not_relayed(void **state)
{
    (void)state;
    for (uint32_t level = 0; level <= FEATURE_RELAY; level++) {
        struct world w = {.feature_level = level};
        world_open(&w);
        send_all(&w, 1, level == 0 ? ENTRY_BYTES : RELAY_BYTES_MIN - 1);
        for (int i = 1; i < NODES; i++) {
            WAIT_FOR(&w, w.nodes[i].appends == 1);
            struct links_stats s = stats(&w, LEADER, i);
            assert_int_equal(s.shared_out + s.bare_out, 0);
        }
        world_close(&w);
    }
}

static void missing_entries_are_sent_in_full_from_then_on(void **state)
{
    (void)state;
    struct world w = {.feature_level = FEATURE_RELAY};
    world_open(&w);
    struct impairment cut = {.cut = true}, none = {.cut = false};
    assert_int_equal(links_impair(w.nodes[1].links, 3, IMPAIR_OUT, &cut),
                     ERR_OK);
    send_all(&w, 1, ENTRY_BYTES);
    send_all(&w, 1, 0);
    /* The others are served; this one gives the append up, not what is behind
     * it, and says so. */
    WAIT_FOR(&w, w.nodes[3].appends == 1);
    assert_int_equal(w.nodes[2].heartbeats, 0);
    WAIT_FOR(&w, w.nodes[2].heartbeats == 1);
    assert_int_equal(w.nodes[2].appends, 0);
    WAIT_FOR(&w, stats(&w, LEADER, 2).missed == 1);
    for (uint64_t lsn = 2; lsn < 100; lsn++)
        send_all(&w, lsn, ENTRY_BYTES);
    WAIT_FOR(&w, w.nodes[2].appends == 98);
    assert_int_equal(w.nodes[2].gaps, 1);
    assert_int_equal(stats(&w, LEADER, 2).bare_out, 1);
    assert_int_equal(stats(&w, LEADER, 2).missed, 1);
    WAIT_FOR(&w, w.nodes[3].appends == 99);
    assert_int_equal(stats(&w, LEADER, 3).missed, 0);
    /* Later it is tried again. */
    assert_int_equal(links_impair(w.nodes[1].links, 3, IMPAIR_OUT, &none),
                     ERR_OK);
    usec_t until = clock_mono_us() + RELAY_PAUSE_US;
    WAIT_FOR(&w, clock_mono_us() > until);
    send_all(&w, 100, ENTRY_BYTES);
    WAIT_FOR(&w, w.nodes[2].appends == 99);
    assert_int_equal(stats(&w, LEADER, 2).bare_out, 2);
    assert_int_equal(stats(&w, LEADER, 2).missed, 1);
    world_close(&w);
}

static void a_relay_that_is_gone_is_replaced(void **state)
{
    (void)state;
    struct world w = {.feature_level = FEATURE_RELAY};
    world_open(&w);
    send_all(&w, 1, ENTRY_BYTES);
    WAIT_FOR(&w, w.nodes[3].appends == 1);
    node_close(&w.nodes[1]);
    WAIT_FOR(&w, !links_is_up(w.nodes[LEADER].links, 2));
    send_all(&w, 2, ENTRY_BYTES);
    WAIT_FOR(&w, w.nodes[2].appends == 2 && w.nodes[3].appends == 2);
    assert_int_equal(stats(&w, LEADER, 2).shared_out, 1);
    assert_int_equal(stats(&w, LEADER, 3).bare_out, 2);
    world_close(&w);
}

/* The relay dies with entries that it should have passed on. */
static void a_relay_that_dies_loses_one_append(void **state)
{
    (void)state;
    struct world w = {.feature_level = FEATURE_RELAY};
    world_open(&w);
    struct impairment slow = {.delay_us = 10 * USEC_PER_SEC};
    assert_int_equal(links_impair(w.nodes[LEADER].links, 2, IMPAIR_OUT, &slow),
                     ERR_OK);
    send_all(&w, 1, ENTRY_BYTES);
    node_close(&w.nodes[1]);
    for (int i = 2; i < NODES; i++)
        WAIT_FOR(&w, stats(&w, LEADER, i).missed == 1);
    for (uint64_t lsn = 2; lsn < 10; lsn++)
        send_all(&w, lsn, ENTRY_BYTES);
    for (int i = 2; i < NODES; i++) {
        WAIT_FOR(&w, w.nodes[i].appends == 8);
        assert_int_equal(w.nodes[i].gaps, 1);
    }
    world_close(&w);
}

static void a_link_that_ends_forgets_what_waits(void **state)
{
    (void)state;
    struct world w = {.feature_level = FEATURE_RELAY};
    world_open(&w);
    struct impairment cut = {.cut = true};
    assert_int_equal(links_impair(w.nodes[1].links, 3, IMPAIR_OUT, &cut),
                     ERR_OK);
    send_all(&w, 1, ENTRY_BYTES);
    WAIT_FOR(&w, w.nodes[3].appends == 1);
    node_close(&w.nodes[LEADER]);
    for (int i = 1; i < NODES; i++)
        WAIT_FOR(&w, !links_is_up(w.nodes[i].links, LEADER + 1));
    assert_int_equal(w.nodes[2].appends, 0);
    world_close(&w);
}

static int setup(void **state)
{
    (void)state;
    log_setup(open("/dev/null", O_WRONLY), LOG_ERROR, LOG_TEXT);
    fence = fence_new(SHARD + 1, SHARD);
    assert_int_equal(fence_name_region(fence, 1, "a"), ERR_OK);
    assert_int_equal(fence_name_region(fence, 2, "b"), ERR_OK);
    pki_open(&pki);
    pki_make_ca(&pki, "ca", &ca);
    for (int i = 0; i < NODES; i++)
        pki_make_node(&pki, &ca, names[i].name, names[i].uri, -60, 3600,
                      &certs[i]);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pki_free_ca(&ca);
    pki_close(&pki);
    fence_free(fence);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_cross_once),
        cmocka_unit_test(fenced_entries_are_relayed_inside),
        cmocka_unit_test(old_nodes_do_not_relay_what_is_fenced),
        cmocka_unit_test(small_appends_and_old_nodes_are_not_relayed),
        cmocka_unit_test(missing_entries_are_sent_in_full_from_then_on),
        cmocka_unit_test(a_relay_that_is_gone_is_replaced),
        cmocka_unit_test(a_relay_that_dies_loses_one_append),
        cmocka_unit_test(a_link_that_ends_forgets_what_waits),
    };
    return cmocka_run_group_tests_name("relaying", tests, setup, teardown);
}
