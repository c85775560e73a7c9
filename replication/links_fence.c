/* Walls 2 and 3 of a fence (failover/fence.h), between this node and another.
 *
 * Both ask the same table for the regions that the two certificates name and
 * the peer has proved, and nothing else is common to them: the sender is told
 * the shard by its caller and judges before there is a frame; the receiver
 * reads it from the frame's bytes and judges before anything is decoded, kept
 * or passed on.
 */
#include "node/base/feature.h"
#include "replication/links_impl.h"

failover_region link_certified_region(const struct links *links,
                                      const char *uri)
{
    struct peer_identity id;
    return uri != NULL && peer_uri_parse(uri, &id) == ERR_OK
               ? fence_region_number(links->fence, id.region)
               : 0;
}

bool link_owes_proof(const struct link *l)
{
    return l->links->own.feature_active >= FEATURE_REGION_PROOF && !l->proved;
}

failover_region link_region(const struct link *l)
{
    return link_owes_proof(l) ? 0 : l->region;
}

static int refuse(struct link *l, enum fence_wall wall,
                  enum fence_verdict verdict, const struct links_cargo *cargo)
{
    struct links_refusal refusal = {.wall = wall,
                                    .known = verdict != FENCE_UNKNOWN,
                                    .peer = l->id,
                                    .shard = cargo->shard,
                                    .unproved = link_owes_proof(l),
                                    .what = cargo->what,
                                    .bytes = cargo->bytes};
    if (wall == FENCE_WALL_SEND)
        l->stats.fence_refused_out++;
    else
        l->stats.fence_refused_in++;
    if (l->links->handler->on_refused != NULL)
        l->links->handler->on_refused(l->links->user, &refusal);
    return refusal.known ? ERR_FORBIDDEN : ERR_UNAVAILABLE;
}

/* Whoever gets it, and this node: what it should not have, it does not give
 * away either. */
static enum fence_verdict may_leave(const struct link *l,
                                    const struct links_cargo *cargo)
{
    const struct fence *f = l->links->fence;
    if (cargo->carries == FENCE_TRANSIT)
        return fence_check_transit(f, cargo->shard, link_region(l),
                                   l->links->region);
    enum fence_verdict verdict =
        fence_check(f, cargo->shard, link_region(l), cargo->carries);
    if (verdict == FENCE_INSIDE)
        verdict =
            fence_check(f, cargo->shard, l->links->region, cargo->carries);
    return verdict;
}

int link_may_send(struct link *l, const struct links_cargo *cargo)
{
    enum fence_verdict verdict =
        FENCE_OPEN(SEND) ? FENCE_INSIDE : may_leave(l, cargo);
    return verdict == FENCE_INSIDE ? ERR_OK
                                   : refuse(l, FENCE_WALL_SEND, verdict, cargo);
}

static enum fence_verdict may_arrive(const struct link *l,
                                     const struct links_cargo *cargo)
{
    const struct fence *f = l->links->fence;
    const failover_region ends[] = {l->links->region, link_region(l)};
    enum fence_verdict verdict =
        fence_of(f, cargo->shard) != NULL ? FENCE_INSIDE : FENCE_UNKNOWN;
    if (cargo->carries == FENCE_TRANSIT)
        return fence_check_transit(f, cargo->shard, ends[0], ends[1]);
    for (size_t i = 0; i < 2 && verdict == FENCE_INSIDE; i++)
        verdict = fence_check(f, cargo->shard, ends[i], cargo->carries);
    return verdict;
}

int link_may_receive(struct link *l, const struct links_cargo *cargo)
{
    enum fence_verdict verdict =
        FENCE_OPEN(RECEIVE) ? FENCE_INSIDE : may_arrive(l, cargo);
    return verdict == FENCE_INSIDE
               ? ERR_OK
               : refuse(l, FENCE_WALL_RECEIVE, verdict, cargo);
}

bool links_fenced(const struct links *links, uint64_t shard)
{
    return fence_check(links->fence, shard, 0, FENCE_PAYLOAD) != FENCE_INSIDE;
}

enum fence_carries links_request_carries(const struct links *links,
                                         uint32_t kind)
{
    const struct links_handler *h = links->handler;
    return h->request_carries != NULL ? h->request_carries(kind)
                                      : FENCE_PAYLOAD;
}

enum fence_carries links_snapshot_carries(const struct links *links,
                                          struct bytes data)
{
    const struct links_handler *h = links->handler;
    return h->snapshot_carries != NULL ? h->snapshot_carries(data)
                                       : FENCE_PAYLOAD;
}

enum fence_carries links_raft_carries(const struct raft_msg *m)
{
    if (m->type != RAFT_MSG_APPEND || m->append.bytes == 0)
        return FENCE_HEADERS;
    for (uint32_t i = 0; i < m->append.n; i++)
        if (m->append.entries[i].type == RAFT_ENTRY_DATA &&
            m->append.entries[i].size > 0)
            return FENCE_PAYLOAD;
    return FENCE_HEADERS;
}

enum fence_carries links_frame_carries(struct links *links, uint64_t shard,
                                       struct bytes raft)
{
    const struct fence_group *g = fence_of(links->fence, shard);
    const struct bytes *payloads;
    struct raft_msg message;
    uint64_t decoded;
    if (!codec_has_attachment(raft))
        return FENCE_HEADERS;
    if (g == NULL || g->headers == 0 ||
        codec_get_raft(links->codec, raft, &decoded, &message, &payloads) !=
            ERR_OK ||
        decoded != shard)
        return FENCE_PAYLOAD;
    return links_raft_carries(&message);
}
