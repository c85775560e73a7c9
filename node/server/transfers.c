#include "node/server/transfers.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/server/fence_guard.h"
#include "node/server/transfers_impl.h"

/* ---- parcels ----------------------------------------------------------------
 */

static void put_part(uint8_t **at, struct bytes *part)
{
    if (part->len > 0)
        memcpy(*at, part->data, part->len);
    *part = bytes_of(*at, part->len);
    *at += part->len;
}

struct transfer_parcel *transfers_parcel(links_peer peer,
                                         const struct snapshot_chunk *chunk)
{
    struct transfer_parcel *p = mem_alloc(sizeof(*p) + chunk->data.len +
                                          chunk->config.len + chunk->sum.len);
    memset(p, 0, sizeof(*p));
    p->peer = peer;
    p->chunk = *chunk;
    uint8_t *at = p->bytes;
    put_part(&at, &p->chunk.data);
    put_part(&at, &p->chunk.config);
    put_part(&at, &p->chunk.sum);
    return p;
}

struct transfer_parcel *transfers_parcel_ack(links_peer peer,
                                             const struct snapshot_ack *ack)
{
    struct transfer_parcel *p = mem_alloc(sizeof(*p) + ack->place.len);
    memset(p, 0, sizeof(*p));
    p->peer = peer;
    p->ack = *ack;
    uint8_t *at = p->bytes;
    put_part(&at, &p->ack.place);
    return p;
}

/* ---- wall 6 of a fence ------------------------------------------------------
 */

enum fence_carries transfers_carries(struct bytes data)
{
    struct cursor c = cursor_of(data.data, data.len);
    while (cursor_left(&c) > 0) {
        uint32_t len = cursor_u32_le(&c);
        struct bytes chunk = bytes_of(cursor_take(&c, len), len);
        if (!cursor_ok(&c) ||
            !snapshot_chunk_only_info(chunk, SHARD_INFO_CONFIG))
            return FENCE_PAYLOAD;
    }
    return FENCE_HEADERS;
}

/* Whether the node's region may hold the shard: by the catalog and the
 * configuration, whatever the links' walls think. */
static bool may_hold(const struct worker *w, uint32_t shard, uint32_t node,
                     enum fence_carries carries)
{
    const struct catalog_group *g = catalog_group_of_shard(w->catalog, shard);
    const struct config_region *region = NULL;
    if (shard == SHARD_META || FENCE_OPEN(SNAPSHOT))
        return true;
    if (g == NULL) /* group default's, before it has a record */
        return shard <= w->node->config->shards;
    if (carries == FENCE_HEADERS && catalog_group_has_witness(g, node))
        return true;
    return !catalog_group_fenced(g) ||
           (config_find_node(w->node->config, node, &region) != NULL &&
            catalog_group_region(g, region->name) < g->region_count);
}

bool transfers_may_move(struct worker *w, uint32_t shard, uint32_t peer,
                        enum fence_carries carries, size_t bytes)
{
    if (may_hold(w, shard, w->node->config->id, carries) &&
        may_hold(w, shard, peer, carries))
        return true;
    const struct fence_refusals r = {
        .wall = FENCE_WALL_SNAPSHOT,
        .known = catalog_group_of_shard(w->catalog, shard) != NULL,
        .peer = peer,
        .shard = shard,
        .what = "snapshot",
        .count = 1,
        .bytes = bytes};
    fence_refused(w, &r);
    return false;
}

/* ---- between the workers ----------------------------------------------------
 */

static void deliver_chunk(struct inbox_message *m, void *owner)
{
    struct worker *w = owner;
    struct transfer_parcel *p = LIST_ENTRY(m, struct transfer_parcel, message);
    if (!w->stopping)
        incoming_take(&w->transfers, p->peer, &p->chunk);
    mem_free(p);
}

static void deliver_ack(struct inbox_message *m, void *owner)
{
    struct worker *w = owner;
    struct transfer_parcel *p = LIST_ENTRY(m, struct transfer_parcel, message);
    struct outgoing *o = outgoing_find(&w->transfers, (uint32_t)p->ack.shard,
                                       p->peer, p->ack.transfer);
    if (o != NULL)
        outgoing_acked(o, &p->ack);
    mem_free(p);
}

void transfers_on_chunk(struct worker *w, links_peer from,
                        const struct snapshot_chunk *chunk)
{
    if (chunk->shard >= NODE_SHARDS_MAX)
        return;
    struct transfer_parcel *p = transfers_parcel(from, chunk);
    p->message.deliver = deliver_chunk;
    inbox_post_reserved(
        &node_shard_worker(w->node, (uint32_t)chunk->shard)->inbox,
        &p->message);
}

void transfers_on_ack(struct worker *w, links_peer from,
                      const struct snapshot_ack *ack)
{
    if (ack->shard >= NODE_SHARDS_MAX)
        return;
    struct transfer_parcel *p = transfers_parcel_ack(from, ack);
    p->message.deliver = deliver_ack;
    inbox_post_reserved(
        &node_shard_worker(w->node, (uint32_t)ack->shard)->inbox, &p->message);
}

static void peer_down(struct worker *w, void *arg)
{
    links_peer peer = (links_peer)(uintptr_t)arg;
    LIST_EACH_SAFE(node, &w->transfers.outgoing)
    {
        struct outgoing *o = LIST_ENTRY(node, struct outgoing, node);
        if (o->to == peer && !o->over)
            outgoing_lost(o);
    }
}

void transfers_on_peer_down(struct worker *w, links_peer peer)
{
    for (uint32_t i = 0; i < w->node->worker_count; i++)
        worker_run(&w->node->workers[i], peer_down, (void *)(uintptr_t)peer);
}

/* ---- life -------------------------------------------------------------------
 */

bool transfers_cancel(struct transfers *t, const struct replica *r)
{
    bool none = true;
    LIST_EACH_SAFE(out, &t->outgoing)
    {
        struct outgoing *o = LIST_ENTRY(out, struct outgoing, node);
        if (o->replica == r)
            outgoing_end(o, false);
    }
    LIST_EACH_SAFE(node, &t->incoming)
    {
        struct incoming *in = LIST_ENTRY(node, struct incoming, node);
        if (in->replica == r && in->state != INCOMING_STORING &&
            in->state != INCOMING_CLEARING)
            incoming_leave(in);
    }
    LIST_EACH(out, &t->outgoing)
    none &= LIST_ENTRY(out, struct outgoing, node)->replica != r;
    LIST_EACH(node, &t->incoming)
    none &= LIST_ENTRY(node, struct incoming, node)->replica != r;
    return none;
}

void transfers_init(struct transfers *t, struct worker *w)
{
    *t = (struct transfers){.worker = w};
    list_init(&t->outgoing);
    list_init(&t->incoming);
    list_init(&t->errands);
    if (w->index == 0)
        transfers_pace_init(t);
}

void transfers_tick(struct transfers *t, usec_t now)
{
    transfers_pace_learners(t);
    LIST_EACH_SAFE(node, &t->outgoing)
    outgoing_tick(LIST_ENTRY(node, struct outgoing, node), now);
    LIST_EACH_SAFE(node, &t->incoming)
    incoming_tick(LIST_ENTRY(node, struct incoming, node), now);
}

void transfers_turn(struct transfers *t, usec_t now)
{
    LIST_EACH_SAFE(node, &t->incoming)
    incoming_turn(LIST_ENTRY(node, struct incoming, node), now);
}
