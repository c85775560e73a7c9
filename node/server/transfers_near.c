/* Snapshots that another node sends at the leader's word.
 *
 *     leader, the shard's worker     worker 0          the other node
 *     near_ask: who could?  ------>  nearest_of  --->  near_asked: checks,
 * sends near_over: done, or sends  <-- answer      <---  when it is over itself
 *
 * Who could, and why that is safe: shard_senders and shard_may_send (shard.h).
 */
#include <string.h>

#include "failover/nearest.h"
#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/server/governor.h"
#include "node/server/peers.h"
#include "node/server/transfers_impl.h"

/* The request: u16 shard, u32 receiver, u64 term, u64 least LSN of the state,
 * u64 highest. */
#define REQUEST_BYTES 30

/* A question on its way: to worker 0, to the other node, and back. */
struct errand {
    struct inbox_message message;
    struct list node; /* of transfers.errands, while it is out */
    uint64_t request; /* of the links */
    uint32_t shard;
    raft_id to;
    uint64_t id; /* of the outgoing transfer at the leader */
    uint64_t term, least;
    uint32_t n;
    struct shard_sender list[RAFT_MEMBERS_MAX];
    raft_id chosen;
    int err; /* the result */
};

uint64_t transfers_request_shard(struct bytes body)
{
    struct cursor c = cursor_of(body.data, body.len);
    return cursor_u16_le(&c);
}

/* ---- at the leader ----------------------------------------------------------
 */

static void near_over(struct inbox_message *m, void *owner)
{
    struct worker *w = owner;
    struct errand *e = LIST_ENTRY(m, struct errand, message);
    struct outgoing *o = outgoing_find(&w->transfers, e->shard, e->to, e->id);
    if (o != NULL && o->asked) {
        o->asked = false;
        w->transfers.counts.near += e->err == ERR_OK;
        if (e->err == ERR_OK)
            outgoing_end(o, true);
        else
            o->progress_us = clock_mono_us(); /* the tick begins it here */
    }
    mem_free(e);
}

static void errand_over(struct worker *first, struct errand *e, int err)
{
    if (err != ERR_OK && e->chosen != 0)
        log_info("another node does not send the snapshot; the leader does",
                 LOG_UINT("shard", e->shard), LOG_UINT("node", e->chosen),
                 LOG_STR("reason", err_text(err)));
    e->err = err;
    e->message.deliver = near_over;
    inbox_post_reserved(&node_shard_worker(first->node, e->shard)->inbox,
                        &e->message);
}

static bool is_neighbour(const struct config *c, uint32_t a, uint32_t b)
{
    const struct config_region *of_a = NULL, *of_b = NULL;
    return config_find_node(c, a, &of_a) != NULL &&
           config_find_node(c, b, &of_b) != NULL && of_a == of_b;
}

static struct nearest_candidate judge(const struct worker *first,
                                      const struct errand *e, raft_id node)
{
    const struct config *c = first->node->config;
    return (struct nearest_candidate){
        .node = node,
        .rtt_ms = failover_health_rtt_ms(governor_health(first->governor),
                                         e->to, node),
        .neighbour = is_neighbour(c, node, e->to),
        .leads = node == c->id};
}

/* The candidate who sends; NULL: the leader itself. */
static const struct shard_sender *choose(const struct worker *first,
                                         const struct errand *e)
{
    struct nearest_candidate list[RAFT_MEMBERS_MAX + 1];
    uint32_t n = 0;
    list[n++] = judge(first, e, first->node->config->id);
    for (uint32_t i = 0; i < e->n; i++)
        list[n++] = judge(first, e, e->list[i].node);
    uint32_t node = nearest_of(list, n);
    for (uint32_t i = 0; i < e->n; i++)
        if (e->list[i].node == node)
            return &e->list[i];
    return NULL;
}

static int put_request(const struct errand *e, uint64_t most, struct buf *out)
{
    int err = buf_append_u16_le(out, (uint16_t)e->shard);
    if (err == ERR_OK)
        err = buf_append_u32_le(out, e->to);
    if (err == ERR_OK)
        err = buf_append_u64_le(out, e->term);
    if (err == ERR_OK)
        err = buf_append_u64_le(out, e->least);
    if (err == ERR_OK)
        err = buf_append_u64_le(out, most);
    return err;
}

/* On worker 0. */
static void errand_run(struct inbox_message *m, void *owner)
{
    struct worker *first = owner;
    struct errand *e = LIST_ENTRY(m, struct errand, message);
    const struct shard_sender *c = NULL;
    uint8_t storage[REQUEST_BYTES];
    struct buf body = buf_over(storage, sizeof(storage));
    if (first->peers != NULL && first->governor != NULL && !first->stopping)
        c = choose(first, e);
    if (c == NULL) {
        errand_over(first, e, ERR_NOT_FOUND);
        return;
    }
    e->chosen = c->node;
    CHECK(put_request(e, c->match_lsn, &body) == ERR_OK);
    int err = links_request(
        peers_links(first->peers), c->node, TRANSFERS_REQUEST_SEND, e->shard,
        ENGINE_SNAPSHOT_MAX_AGE_US / USEC_PER_MS,
        bytes_of(buf_bytes(&body), buf_len(&body)), &e->request);
    if (err != ERR_OK) {
        errand_over(first, e, err);
        return;
    }
    log_info("another node sends a snapshot", LOG_UINT("shard", e->shard),
             LOG_UINT("to", e->to), LOG_UINT("node", e->chosen));
    list_push_back(&first->transfers.errands, &e->node);
}

bool transfers_on_response(struct worker *first, uint64_t id, int err)
{
    LIST_EACH(node, &first->transfers.errands)
    {
        struct errand *e = LIST_ENTRY(node, struct errand, node);
        if (e->request != id)
            continue;
        list_remove(&e->node);
        errand_over(first, e, err);
        return true;
    }
    return false;
}

bool near_ask(struct outgoing *o)
{
    struct replica *r = o->replica;
    struct node *node = r->worker->node;
    if (o->call.peer != 0 || o->tried || o->renews ||
        !feature_active(&node->features, FEATURE_PARTS))
        return false;
    struct errand *e = mem_zalloc(sizeof(*e));
    e->shard = r->id;
    e->to = o->to;
    e->id = o->id = ++r->worker->transfers.next_id;
    e->term = raft_term(shard_raft(r->shard));
    e->n = shard_senders(r->shard, o->to, e->list, &e->least);
    o->tried = true;
    if (e->n == 0) {
        mem_free(e);
        return false;
    }
    o->asked = true;
    o->lsn = e->least;
    e->message.deliver = errand_run;
    inbox_post_reserved(&node->workers[0].inbox, &e->message);
    return true;
}

/* ---- at the other node ------------------------------------------------------
 */

struct order {
    struct inbox_message message;
    struct links_call call;
    uint32_t shard;
    raft_id to;
    uint64_t term, least, most;
    int err; /* the answer */
};

static void order_answer(struct inbox_message *m, void *owner)
{
    struct worker *first = owner;
    struct order *r = LIST_ENTRY(m, struct order, message);
    if (first->peers != NULL)
        (void)links_reply(peers_links(first->peers), r->call, r->err,
                          bytes_of(NULL, 0));
    mem_free(r);
}

void near_answer(struct worker *w, struct links_call call, int err)
{
    struct order *r = mem_zalloc(sizeof(*r));
    r->call = call;
    r->err = err;
    r->message.deliver = order_answer;
    inbox_post_reserved(&w->node->workers[0].inbox, &r->message);
}

/* ERR_OK: this replica may send what is asked for. */
static int order_check(const struct worker *w, const struct order *r)
{
    const struct replica *replica = worker_replica(w, r->shard);
    if (w->stopping || replica == NULL || replica->closing ||
        !w->reachable[r->to])
        return ERR_UNAVAILABLE;
    return shard_may_send(replica->shard, r->call.peer, r->term, r->to);
}

/* On the shard's worker. */
static void order_run(struct inbox_message *m, void *owner)
{
    struct worker *w = owner;
    struct order *r = LIST_ENTRY(m, struct order, message);
    int err = order_check(w, r);
    if (err == ERR_OK && outgoing_any(&w->transfers, r->shard, r->to))
        err = ERR_BUSY;
    /* Nor does it wait here: the leader, who may begin sooner, would wait. */
    if (err == ERR_OK && !transfers_admit(w->node))
        err = ERR_BUSY;
    if (err != ERR_OK) {
        near_answer(w, r->call, err);
    } else {
        struct outgoing *o = outgoing_new(worker_replica(w, r->shard), r->to);
        o->admitted = true;
        o->call = r->call;
        o->least = r->least;
        o->most = o->aim = r->most;
    }
    mem_free(r);
}

void transfers_on_request(struct worker *first, struct links_call call,
                          struct bytes body)
{
    struct cursor c = cursor_of(body.data, body.len);
    struct order *r = mem_zalloc(sizeof(*r));
    r->call = call;
    r->shard = cursor_u16_le(&c);
    r->to = cursor_u32_le(&c);
    r->term = cursor_u64_le(&c);
    r->least = cursor_u64_le(&c);
    r->most = cursor_u64_le(&c);
    if (!cursor_done(&c) || r->shard >= NODE_SHARDS_MAX || r->to == 0 ||
        r->to > CONFIG_NODES_MAX || r->to == first->node->config->id) {
        (void)links_reply(peers_links(first->peers), call, ERR_MALFORMED,
                          bytes_of(NULL, 0));
        mem_free(r);
        return;
    }
    r->message.deliver = order_run;
    inbox_post_reserved(&node_shard_worker(first->node, r->shard)->inbox,
                        &r->message);
}
