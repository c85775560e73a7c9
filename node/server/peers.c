#include "node/server/peers.h"

#include <stdio.h>
#include <string.h>
#include <uthash.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/base/rng.h"
#include "node/cosmos/passage.h"
#include "node/server/features.h"
#include "node/server/fence_guard.h"
#include "node/server/governor.h"
#include "node/server/own_region.h"
#include "node/server/scrub_link.h"
#include "node/server/stand_in.h"
#include "node/server/transit.h"
#include "replication/travel.h"

/* A forwarded operation whose answer is awaited. */
struct awaited {
    uint64_t id;
    struct task *task;
    UT_hash_handle hh;
};

struct peer_entry {
    uint32_t id;
    const char *name;
};

struct peers {
    struct worker *worker;
    struct links *links;
    struct awaited *awaited;
    struct peer_entry *list;
    size_t count;
};

/* A Raft message on its way between worker 0 and the shard's worker, in one
 * allocation: heads, payloads and configurations follow. */
struct raft_parcel {
    struct inbox_message message;
    uint16_t shard;
    struct raft_msg msg;
    struct raft_entry *heads;
    struct bytes *payloads;
    struct raft_config *configs;
};

static size_t align_up(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

static struct raft_parcel *parcel_new(uint16_t shard, const struct raft_msg *m,
                                      const struct raft_entry *heads,
                                      const struct bytes *payloads)
{
    uint32_t n = m->type == RAFT_MSG_APPEND ? m->append.n : 0;
    size_t bytes = 0;
    size_t configs = 0;
    for (uint32_t i = 0; i < n; i++) {
        bytes += payloads[i].len;
        configs += heads[i].config != NULL;
    }
    size_t heads_at = align_up(sizeof(struct raft_parcel));
    size_t payloads_at = heads_at + align_up(n * sizeof(*heads));
    size_t configs_at = payloads_at + align_up(n * sizeof(*payloads));
    size_t data_at =
        configs_at + align_up(configs * sizeof(struct raft_config));
    uint8_t *block = mem_alloc(data_at + bytes);
    struct raft_parcel *p = (struct raft_parcel *)(void *)block;
    memset(p, 0, sizeof(*p));
    p->shard = shard;
    p->msg = *m;
    p->heads = (struct raft_entry *)(void *)(block + heads_at);
    p->payloads = (struct bytes *)(void *)(block + payloads_at);
    p->configs = (struct raft_config *)(void *)(block + configs_at);
    uint8_t *data = block + data_at;
    struct raft_config *config = p->configs;
    for (uint32_t i = 0; i < n; i++) {
        p->heads[i] = heads[i];
        if (heads[i].config != NULL) {
            *config = *heads[i].config;
            p->heads[i].config = config++;
        }
        if (payloads[i].len > 0)
            memcpy(data, payloads[i].data, payloads[i].len);
        p->payloads[i] = bytes_of(data, payloads[i].len);
        data += payloads[i].len;
    }
    if (m->type == RAFT_MSG_APPEND)
        p->msg.append.entries = n > 0 ? p->heads : NULL;
    return p;
}

/* ---- outgoing
 * ----------------------------------------------------------------
 */

static void send_now(struct peers *p, uint16_t shard, const struct raft_msg *m,
                     const struct bytes *payloads)
{
    /* Raft repeats what is lost; links count it. */
    (void)links_send_raft(p->links, m->to, shard, m, payloads);
}

static void deliver_send(struct inbox_message *message, void *owner)
{
    struct worker *w = owner;
    struct raft_parcel *parcel =
        LIST_ENTRY(message, struct raft_parcel, message);
    if (w->peers != NULL)
        send_now(w->peers, parcel->shard, &parcel->msg, parcel->payloads);
    mem_free(parcel);
}

void peers_send_raft(struct worker *from, uint16_t shard,
                     const struct raft_msg *m, const struct raft_entry *heads,
                     struct entry *const *entries)
{
    uint32_t n = m->type == RAFT_MSG_APPEND ? m->append.n : 0;
    struct worker *first = &from->node->workers[0];
    struct bytes few[64];
    struct bytes *payloads =
        n <= ARRAY_LEN(few) ? few : mem_alloc(n * sizeof(*payloads));
    for (uint32_t i = 0; i < n; i++)
        payloads[i] = heads[i].type == RAFT_ENTRY_CONFIG
                          ? bytes_of(NULL, 0)
                          : entry_payload(entries[i]);
    if (from == first && from->peers != NULL) {
        struct raft_msg filled = *m;
        if (m->type == RAFT_MSG_APPEND)
            filled.append.entries = n > 0 ? heads : NULL;
        send_now(from->peers, shard, &filled, n > 0 ? payloads : NULL);
    } else if (from != first) {
        struct raft_parcel *parcel = parcel_new(shard, m, heads, payloads);
        parcel->message.deliver = deliver_send;
        if (inbox_post(&first->inbox, &parcel->message) != ERR_OK)
            mem_free(parcel);
    }
    if (payloads != few)
        mem_free(payloads);
}

/* ---- incoming
 * ----------------------------------------------------------------
 */

static void receive(struct worker *w, uint16_t shard, const struct raft_msg *m,
                    const struct bytes *payloads)
{
    struct replica *r = worker_replica(w, shard);
    if (r == NULL || r->deaf || w->stopping)
        return;
    int err = shard_receive(r->shard, clock_mono_us(), m, payloads);
    if (err == ERR_MALFORMED || err == ERR_PROTOCOL || err == ERR_LIMIT)
        log_warn("raft message ignored", LOG_UINT("shard", shard),
                 LOG_UINT("from", m->from), LOG_INT("type", m->type),
                 LOG_STR("error", err_text(err)));
    worker_wake(w);
}

static void deliver_receive(struct inbox_message *message, void *owner)
{
    struct raft_parcel *parcel =
        LIST_ENTRY(message, struct raft_parcel, message);
    receive(owner, parcel->shard, &parcel->msg, parcel->payloads);
    mem_free(parcel);
}

static void on_raft(void *user, links_peer from, uint64_t shard,
                    const struct raft_msg *m, const struct bytes *payloads)
{
    struct peers *p = user;
    struct node *node = p->worker->node;
    if (shard >= NODE_SHARDS_MAX || m->from != from ||
        m->to != node->config->id)
        return;
    struct worker *owner = node_shard_worker(node, (uint32_t)shard);
    if (owner == p->worker) {
        receive(owner, (uint16_t)shard, m, payloads);
        return;
    }
    struct raft_parcel *parcel = parcel_new(
        (uint16_t)shard, m,
        m->type == RAFT_MSG_APPEND ? m->append.entries : NULL, payloads);
    parcel->message.deliver = deliver_receive;
    if (inbox_post(&owner->inbox, &parcel->message) != ERR_OK)
        mem_free(parcel);
}

/* ---- links up and down
 * -------------------------------------------------------
 */

struct reachability {
    struct inbox_message message;
    uint32_t id;
    bool reachable;
};

static void deliver_reachability(struct inbox_message *message, void *owner)
{
    struct worker *w = owner;
    struct reachability *r = LIST_ENTRY(message, struct reachability, message);
    usec_t now = clock_mono_us();
    w->reachable[r->id] = r->reachable;
    for (uint32_t i = 0; i < w->replica_count; i++)
        shard_peer(w->replicas[i]->shard, now, r->id, r->reachable);
    worker_wake(w);
    mem_free(r);
}

static void tell_workers(struct peers *p, uint32_t id, bool reachable)
{
    struct node *node = p->worker->node;
    for (uint32_t i = 0; i < node->worker_count; i++) {
        struct reachability *r = mem_zalloc(sizeof(*r));
        r->id = id;
        r->reachable = reachable;
        r->message.deliver = deliver_reachability;
        inbox_post_reserved(&node->workers[i].inbox, &r->message);
    }
}

static struct peer_entry *peer_find(const struct peers *p, uint32_t id)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->list[i].id == id)
            return &p->list[i];
    return NULL;
}

static bool prove_region(void *user, const struct peer_identity *to,
                         const uint8_t *binding,
                         uint8_t proof_out[PEER_PROOF_LEN])
{
    struct peers *p = user;
    return own_region_prove(p->worker->node, to, binding, proof_out);
}

static bool believes_region(void *user, const struct peer_identity *from,
                            const uint8_t *binding, const uint8_t *proof)
{
    struct peers *p = user;
    return own_region_believes(p->worker->node, from, binding, proof);
}

static void on_peer_up(void *user, links_peer peer,
                       const struct peer_hello *hello)
{
    struct peers *p = user;
    struct peer_entry *entry = peer_find(p, peer);
    struct links_stats s;
    log_info("peer connected", LOG_STR("peer", entry->name),
             LOG_UINT("incarnation", hello->incarnation));
    if (links_get_stats(p->links, peer, &s) == ERR_OK && !s.region_proved &&
        feature_active(&p->worker->node->features, FEATURE_REGION_PROOF))
        log_warn("a peer does not show that it holds its region's key: it gets "
                 "nothing of a fenced group, and no link once there is one",
                 LOG_STR("peer", entry->name));
    tell_workers(p, peer, true);
    stand_in_check(p->worker);
}

static void on_peer_down(void *user, links_peer peer, int err,
                         const char *reason)
{
    struct peers *p = user;
    struct peer_entry *entry = peer_find(p, peer);
    log_warn("peer lost", LOG_STR("peer", entry->name),
             LOG_STR("error", err_text(err)), LOG_STR("reason", reason));
    tell_workers(p, peer, false);
    transfers_on_peer_down(p->worker, peer);
    stand_in_check(p->worker);
}

/* ---- requests
 * ------------------------------------------------------------------
 */

static void on_request(void *user, struct links_call call, uint32_t kind,
                       uint32_t deadline_ms, struct bytes body)
{
    struct peers *p = user;
    switch (kind) {
    case ROUTER_REQUEST_OP:
        router_on_request(p->worker, call, deadline_ms, body);
        break;
    case TRANSIT_REQUEST:
        transit_on_request(p->worker, call, body);
        break;
    case SCRUB_LINK_REQUEST:
        scrub_link_on_request(p->worker, call, body);
        break;
    case TRANSFERS_REQUEST_SEND:
        transfers_on_request(p->worker, call, body);
        break;
    default:
        links_reply(p->links, call, ERR_UNSUPPORTED, bytes_of(NULL, 0));
    }
}

/* The links answer each request once, so whoever asked knows the id. */
static void on_response(void *user, links_peer from, uint32_t kind, uint64_t id,
                        int err, struct bytes body)
{
    struct worker *w = ((struct peers *)user)->worker;
    (void)from;
    switch (kind) {
    case ROUTER_REQUEST_OP:
        router_on_response(w, id, err, body);
        break;
    case TRANSIT_REQUEST:
        CHECK(transit_on_response(w, id, err, body));
        break;
    case SCRUB_LINK_REQUEST:
        CHECK(scrub_link_on_response(w, id, err, body));
        break;
    case TRANSFERS_REQUEST_SEND:
        CHECK(transfers_on_response(w, id, err));
        break;
    default:
        CHECK(false); /* nobody here asks otherwise */
    }
}

static void on_request_failed(void *user, links_peer peer, uint32_t kind,
                              uint64_t id, int err)
{
    struct worker *w = ((struct peers *)user)->worker;
    (void)peer;
    switch (kind) {
    case ROUTER_REQUEST_OP:
        router_on_request_failed(w, id, err);
        break;
    case TRANSIT_REQUEST:
        CHECK(transit_on_request_failed(w, id, err));
        break;
    case SCRUB_LINK_REQUEST:
        CHECK(scrub_link_on_response(w, id, err, bytes_of(NULL, 0)));
        break;
    case TRANSFERS_REQUEST_SEND:
        CHECK(transfers_on_response(w, id, err));
        break;
    default:
        CHECK(false);
    }
}

static uint64_t request_shard(void *user, uint32_t kind, struct bytes body)
{
    (void)user;
    switch (kind) {
    case ROUTER_REQUEST_OP:
        return op_encoded_shard(body);
    case TRANSIT_REQUEST:
        return passage_encoded_shard(body);
    case SCRUB_LINK_REQUEST:
        return scrub_link_shard(body);
    case TRANSFERS_REQUEST_SEND:
        return transfers_request_shard(body);
    default:
        return SHARD_META;
    }
}

static enum fence_carries request_carries(uint32_t kind)
{
    return kind == TRANSIT_REQUEST ? FENCE_TRANSIT : FENCE_PAYLOAD;
}

static void on_refused(void *user, const struct links_refusal *refusal)
{
    const struct fence_refusals r = {.wall = refusal->wall,
                                     .known = refusal->known,
                                     .unproved = refusal->unproved,
                                     .peer = refusal->peer,
                                     .shard = refusal->shard,
                                     .what = refusal->what,
                                     .count = 1,
                                     .bytes = refusal->bytes};
    fence_refused(((struct peers *)user)->worker, &r);
}

int peers_request(struct peers *p, uint32_t node_id, uint16_t shard,
                  uint32_t deadline_ms, uint32_t age_ms, struct bytes body,
                  struct task *task, uint64_t *id_out)
{
    uint64_t id;
    int err = links_request_again(p->links, node_id, ROUTER_REQUEST_OP, shard,
                                  deadline_ms, age_ms, body, &id);
    if (err != ERR_OK)
        return err;
    struct awaited *a = mem_alloc(sizeof(*a));
    a->id = id;
    a->task = task;
    HASH_ADD(hh, p->awaited, id, sizeof(a->id), a);
    *id_out = id;
    return ERR_OK;
}

usec_t peers_since(const struct config *c, const struct links_call *call)
{
    return travel_since(clock_mono_us(),
                        (usec_t)c->timeouts.link_silence_ms * USEC_PER_MS,
                        call->age_ms, call->way_most_ms);
}

struct task *peers_take_task(struct peers *p, uint64_t id)
{
    struct awaited *a;
    HASH_FIND(hh, p->awaited, &id, sizeof(id), a);
    if (a == NULL)
        return NULL;
    struct task *task = a->task;
    HASH_DEL(p->awaited, a);
    mem_free(a);
    return task;
}

/* ---- snapshots
 * ------------------------------------------------------------------
 */

static void on_snapshot(void *user, links_peer from,
                        const struct snapshot_chunk *chunk)
{
    transfers_on_chunk(((struct peers *)user)->worker, from, chunk);
}

static void on_snapshot_ack(void *user, links_peer from,
                            const struct snapshot_ack *ack)
{
    transfers_on_ack(((struct peers *)user)->worker, from, ack);
}

/* ---- life
 * --------------------------------------------------------------------- */

static void on_gossip(void *user, links_peer from, struct bytes gossip)
{
    struct worker *w = ((struct peers *)user)->worker;
    if (w->governor != NULL && gossip.len > 0)
        governor_heard(w->governor, from, gossip);
}

static struct bytes gossip(void *user, links_peer to)
{
    struct worker *w = ((struct peers *)user)->worker;
    return w->governor != NULL ? governor_gossip(w->governor, to)
                               : bytes_of(NULL, 0);
}

static const struct links_handler peers_handler = {
    .on_gossip = on_gossip,
    .gossip = gossip,
    .on_peer_up = on_peer_up,
    .on_peer_down = on_peer_down,
    .on_raft = on_raft,
    .on_request = on_request,
    .request_shard = request_shard,
    .request_carries = request_carries,
    .on_refused = on_refused,
    .prove_region = prove_region,
    .believes_region = believes_region,
    .on_response = on_response,
    .on_request_failed = on_request_failed,
    .snapshot_carries = transfers_carries,
    .on_snapshot = on_snapshot,
    .on_snapshot_ack = on_snapshot_ack,
};

static void format_address(const struct config_addr *a, char *out, size_t size)
{
    const char *form = strchr(a->host, ':') != NULL ? "[%s]:%u" : "%s:%u";
    snprintf(out, size, form, a->host, a->port);
}

struct impairment peers_latency(const struct config *c, const char *region)
{
    /* Half of the round trip in each direction. */
    return (struct impairment){.delay_us =
                                   config_rtt_us(c, c->region, region) / 2};
}

static void peers_slow_down(struct peers *p, uint32_t id, const char *region)
{
    struct impairment i = peers_latency(p->worker->node->config, region);
    CHECK(links_impair(p->links, id, IMPAIR_OUT, &i) == ERR_OK);
    if (i.delay_us > 0)
        log_warn("what is sent to this node is delayed, as configured",
                 LOG_STR("peer", peer_find(p, id)->name),
                 LOG_UINT("delay_us", i.delay_us));
}

static int peer_add(struct peers *p, const struct config_region *region,
                    const struct config_node *n, struct err_msg *msg)
{
    char address[CONFIG_HOST_MAX + 16];
    format_address(&n->peer, address, sizeof(address));
    int err = links_add_peer(p->links, n->id, region->name, n->name, address);
    if (err != ERR_OK)
        return err_set(msg, err, "peer %s: %s", n->name, err_text(err));
    CHECK(p->count < CONFIG_NODES_MAX);
    p->list[p->count++] = (struct peer_entry){.id = n->id, .name = n->name};
    peers_slow_down(p, n->id, region->name);
    return ERR_OK;
}

int peers_add_new(struct peers *p, struct err_msg *msg)
{
    const struct config *c = p->worker->node->config;
    for (size_t i = 0; i < c->region_count; i++) {
        const struct config_region *region = &c->regions[i];
        for (size_t j = 0; j < region->node_count; j++) {
            const struct config_node *n = &region->nodes[j];
            if (n->id == c->id || peer_find(p, n->id) != NULL)
                continue;
            int err = peer_add(p, region, n, msg);
            if (err != ERR_OK)
                return err;
        }
    }
    return ERR_OK;
}

int peers_create(struct worker *w, struct err_msg *msg,
                 struct peers **peers_out)
{
    const struct config *c = w->node->config;
    struct peers *p = mem_zalloc(sizeof(*p));
    p->worker = w;
    p->list = mem_zalloc(CONFIG_NODES_MAX * sizeof(*p->list));
    char listen[CONFIG_HOST_MAX + 16];
    format_address(&c->listen.peer, listen, sizeof(listen));
    struct links_options options = {.cluster = c->cluster,
                                    .region = c->region,
                                    .node = c->node,
                                    .incarnation = w->node->incarnation,
                                    .feature_level = feature_supported,
                                    .feature_active =
                                        feature_level(&w->node->features),
                                    .feature_wanted = features_wanted(c),
                                    .listen = listen,
                                    .tls = w->node->tls_peer,
                                    .timing = peer_timing_default,
                                    .seed = rng_u64(),
                                    .fence = fence_guard_table(w->fence_guard),
                                    .handler = &peers_handler,
                                    .user = p};
    options.timing.silence_us =
        (usec_t)c->timeouts.link_silence_ms * USEC_PER_MS;
    options.timing.ping_us = 0; /* what goes with the silence */
    options.timing.connect_us = (usec_t)c->timeouts.connect_ms * USEC_PER_MS;
    int err = links_create(w->chans, &options, msg, &p->links);
    if (err == ERR_OK)
        err = peers_add_new(p, msg);
    if (err != ERR_OK) {
        peers_free(p);
        return err;
    }
    *peers_out = p;
    return ERR_OK;
}

void peers_free(struct peers *p)
{
    if (p == NULL)
        return;
    CHECK(p->awaited == NULL);
    links_free(p->links);
    mem_free(p->list);
    mem_free(p);
}

struct links *peers_links(struct peers *p)
{
    return p->links;
}

const char *peers_unproved(const struct peers *p)
{
    struct links_stats s;
    for (size_t i = 0; i < p->count; i++)
        if (links_get_stats(p->links, p->list[i].id, &s) == ERR_OK &&
            s.state == PEER_STREAMING && !s.region_proved)
            return p->list[i].name;
    return NULL;
}

bool peers_up(const struct peers *p, uint32_t node_id)
{
    return links_is_up(p->links, node_id);
}
