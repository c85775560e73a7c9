/* Continuation tokens of pages: what they belong to, where they lead, and how
 * they go on when the group was split since they were given out.
 *
 * In one group documents lie in the same order in whatever shard they are in,
 * and a shard that was split has given each of its children a part of what it
 * had. So a position in it is one in every child. A token for one range that
 * comes with the id of a child goes on there; one for all ranges goes on in the
 * first child, and the others begin at the same position (struct page_floor).
 * Tokens name slots by the ids of their ranges, counted from the first that the
 * container had in the group; those of a container with a placement map, which
 * has one range, by the numbers of their shards, or, as long as its parts can
 * neither be split nor move (FEATURE_PART_MOVES), by their own (page->by_slot).
 * Of such tokens both forms are read until a part has moved. */
#include <stdio.h>
#include <string.h>

#include "node/base/hash.h"
#include "node/cosmos/page.h"
#include "node/cosmos/reply.h"

#define RANGE_TEXT_MAX 512

/* ---- scope --------------------------------------------------------------- */

static void mix(uint64_t scope[2], struct bytes data)
{
    uint64_t hash[2];
    uint64_t seed = scope[0] ^ scope[1] << 1;
    hash_murmur3_128(data.data, data.len, (uint32_t)seed, hash);
    scope[0] = scope[0] * 31 + hash[0];
    scope[1] = scope[1] * 37 + hash[1];
}

/* A position in a feed of one placement group means nothing in another; a
 * gathering query's position is made of what the documents have. Conflicts
 * belong to their shards. */
static uint64_t scope_move(const struct call *c)
{
    const struct container_move *move = &c->container->move;
    if (page_shows_conflicts(c->page))
        return container_arrival(c->container);
    return page_gathers(c->page) ? 0 : move->joined;
}

/* What the page is a page of, had the request named this range. */
static void scope_of(const struct call *c, struct bytes range, bool epks,
                     uint64_t scope[2])
{
    const struct cosmos_headers *h = &c->headers;
    const struct page *p = c->page;
    const struct bytes none = bytes_of(NULL, 0);
    uint64_t move = scope_move(c);
    uint8_t number[8];
    scope[0] = scope[1] = 0;
    mix(scope, bytes_of(c->container->rid.bytes, c->container->rid.len));
    if (page_shows_conflicts(p))
        mix(scope, bytes_str(p->property));
    mix(scope, h->partition_key);
    mix(scope, range);
    mix(scope, epks ? h->start_epk : none);
    mix(scope, epks ? h->end_epk : none);
    mix(scope, bytes_of(buf_bytes(&p->sql), buf_len(&p->sql)));
    mix(scope, p->params);
    if (c->spread.mapped && !p->by_slot)
        mix(scope, bytes_str("shards"));
    put_u64_be(number, move);
    if (move != 0)
        mix(scope, bytes_of(number, sizeof(number)));
}

/* ---- reading ------------------------------------------------------------- */

static int read_in_scope(struct call *c, struct bytes range, bool epks,
                         struct continuation *out)
{
    struct page *p = c->page;
    uint64_t scope[2];
    scope_of(c, range, epks, scope);
    return continuation_read(
        c->cosmos->config.token_hash, c->headers.continuation,
        page_gathers(p) ? CONTINUATION_MERGE : CONTINUATION_SCAN, scope,
        &p->storage, out);
}

static int read_in_range(struct call *c, struct bytes range,
                         struct continuation *out)
{
    int err = read_in_scope(c, range, true, out);
    return err != ERR_OK && c->headers.start_epk.len > 0
               ? read_in_scope(c, range, false, out)
               : err;
}

/* As the request names its range, or as it would have named those that it came
 * from. */
static int read_token(struct call *c, struct continuation *out)
{
    const struct container_move *move = &c->container->move;
    struct bytes sent = c->headers.range_id;
    const uint8_t *comma =
        sent.len > 0 ? memrchr(sent.data, ',', sent.len) : NULL;
    int before = comma != NULL ? (int)(comma + 1 - sent.data) : 0;
    if (move->split_count == 0 || page_shows_conflicts(c->page))
        return read_in_scope(c, sent, true, out);
    int err = read_in_range(c, sent, out);
    for (uint8_t back = 0; err != ERR_OK && back < move->split_count; back++) {
        char text[RANGE_TEXT_MAX];
        if (sent.len == 0 || sent.len >= RANGE_TEXT_MAX - 16)
            break;
        int len = snprintf(
            text, sizeof(text), "%.*s%u", before, (const char *)sent.data,
            (unsigned)container_ancestor(move, (uint16_t)c->spread.slots,
                                         c->page->first, back));
        err = read_in_range(c, bytes_of(text, (size_t)len), out);
    }
    return err;
}

/* The page's tokens are read in their other form then. */
static int read_either(struct call *c, struct continuation *out)
{
    int err = read_token(c, out);
    if (err == ERR_OK || !c->spread.mapped ||
        container_arrival(c->container) > 0)
        return err;
    c->page->by_slot = !c->page->by_slot;
    return read_token(c, out);
}

/* ---- going on ------------------------------------------------------------ */

static uint32_t first_id(const struct call *c)
{
    uint32_t id = c->container->move.ranges;
    for (uint8_t i = 0; i < c->container->move.split_count; i++)
        id -= c->container->move.splits[i];
    return id;
}

/* What a name in a token (slot_named) stands for now. Conflicts stay in their
 * shards. */
static bool find_slots(const struct call *c, uint32_t named, uint32_t *first,
                       uint32_t *last)
{
    const struct spread *s = &c->spread;
    bool conflicts = page_shows_conflicts(c->page);
    bool by_shard = s->mapped && !c->page->by_slot;
    if (by_shard && !conflicts)
        return spread_heirs(c->cosmos->config.catalog, s, named, first, last);
    if (!conflicts)
        return container_ranges_of(&c->container->move, (uint16_t)s->slots,
                                   first_id(c) + named, first, last) == ERR_OK;
    *first = named;
    if (by_shard && !spread_find(s, named, first))
        return false;
    *last = *first;
    return true;
}

/* The page's slots that the token's is now; false: none. */
static bool slots_now(const struct call *c, uint32_t slot, uint32_t *first,
                      uint32_t *last)
{
    const struct page *p = c->page;
    if (!find_slots(c, slot, first, last))
        return false;
    if (*last < p->first || *first > p->last)
        return false;
    *first = *first > p->first ? *first : p->first;
    *last = *last < p->last ? *last : p->last;
    return true;
}

static bool add_floor(struct page *p, uint32_t last, struct bytes position)
{
    if (p->floor_count == CONTINUATION_FLOORS_MAX)
        return false;
    struct page_floor *f = &p->floors[p->floor_count++];
    f->last = last;
    f->position_len = (uint8_t)position.len;
    memcpy(f->position, position.data, position.len);
    return true;
}

static bool resume(struct call *c, const struct continuation *from)
{
    struct page *p = c->page;
    uint32_t first, last;
    if (!slots_now(c, from->slot, &first, &last))
        return false;
    p->slot = first;
    p->position_len = (uint8_t)from->position.len;
    if (from->position.len > 0)
        memcpy(p->position, from->position.data, from->position.len);
    p->window.skipped = from->skipped;
    p->window.delivered = from->delivered;
    if (last > first && from->position.len > 0 &&
        !add_floor(p, last, from->position))
        return false;
    for (uint32_t i = 0; i < from->floor_count; i++)
        if (!slots_now(c, from->floors[i].slot, &first, &last) ||
            !add_floor(p, last, from->floors[i].position))
            return false;
    return true;
}

void page_next_slot(struct page *p)
{
    p->slot++;
    p->position_len = 0;
    if (p->floor_count > 0 && p->floors[0].last < p->slot) {
        p->floor_count--;
        memmove(&p->floors[0], &p->floors[1],
                p->floor_count * sizeof(p->floors[0]));
    }
    if (p->floor_count == 0)
        return;
    p->position_len = p->floors[0].position_len;
    memcpy(p->position, p->floors[0].position, p->position_len);
}

static bool merge_begin(struct call *c, struct bytes token)
{
    struct page *p = c->page;
    int err = query_merge_new(p->query, token, p->rows_max, COSMOS_PAGE_BYTES,
                              &p->merge);
    if (err == ERR_OK)
        err = query_merge_request(p->merge, &p->merge_request);
    if (err != ERR_OK)
        reply_fail(c, err == ERR_INVALID ? FAIL_CONTINUATION
                                         : cosmos_failure_local(err));
    return err == ERR_OK;
}

bool page_continue(struct call *c)
{
    struct page *p = c->page;
    struct continuation from;
    bool by_slot =
        c->spread.mapped &&
        !feature_active(c->cosmos->config.features, FEATURE_PART_MOVES);
    p->by_slot = by_slot;
    scope_of(c, c->headers.range_id, true, p->scope);
    p->slot = p->first;
    if (c->headers.continuation.len == 0)
        return !page_gathers(p) || merge_begin(c, bytes_of(NULL, 0));
    int err = read_either(c, &from);
    bool goes_on = err == ERR_OK && !page_gathers(p) && resume(c, &from);
    p->by_slot = by_slot;
    if (err == ERR_OK && page_gathers(p))
        return merge_begin(c, from.token);
    if (goes_on)
        return true;
    /* It may be in a group that the placement map has only got meanwhile. */
    if (err == ERR_OK && c->spread.mapped && !c->looked_again)
        call_again(c);
    else if (err == ERR_OK && c->spread.mapped && call_stale(c))
        reply_fail(c, FAIL_ISOLATED);
    else
        reply_fail(c, FAIL_CONTINUATION);
    return false;
}

/* ---- writing ------------------------------------------------------------- */

/* A slot as tokens name it. */
static uint32_t slot_named(const struct call *c, uint32_t slot)
{
    if (c->spread.mapped && !c->page->by_slot)
        return call_shard(c, slot);
    return page_shows_conflicts(c->page) ? slot
                                         : call_range_id(c, slot) - first_id(c);
}

static void put_place(const struct call *c, struct continuation *next)
{
    const struct page *p = c->page;
    next->slot = slot_named(c, p->slot);
    next->position = bytes_of(p->position, p->position_len);
    next->skipped = p->window.skipped;
    next->delivered = p->window.delivered;
    for (uint32_t i = 0; i < p->floor_count; i++)
        if (p->floors[i].last > p->slot)
            next->floors[next->floor_count++] = (struct continuation_floor){
                slot_named(c, p->floors[i].last),
                bytes_of(p->floors[i].position, p->floors[i].position_len)};
}

int page_token(const struct call *c, struct bytes merge_token, struct buf *out)
{
    const struct page *p = c->page;
    struct continuation next = {
        .kind = page_gathers(p) ? CONTINUATION_MERGE : CONTINUATION_SCAN,
        .scope = {p->scope[0], p->scope[1]},
        .token = merge_token,
    };
    if (page_gathers(p) ? merge_token.len == 0 : p->slot > p->last)
        return ERR_OK;
    if (!page_gathers(p))
        put_place(c, &next);
    return continuation_write(c->cosmos->config.token_hash, &next, out);
}
