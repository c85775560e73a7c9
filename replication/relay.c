#include "replication/relay.h"

#include <openssl/sha.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"
#include "replication/frame.h"

/* -- frames -----------------------------------------------------------------
 */

/* A raft frame's payload begins with the length of its head (codec.h). */
static bool split(struct bytes raft, struct bytes *head_out,
                  struct bytes *entries_out)
{
    if (raft.len < 4 || get_u32_le(raft.data) > raft.len - 4)
        return false;
    size_t head = 4 + (size_t)get_u32_le(raft.data);
    *head_out = bytes_of(raft.data, head);
    *entries_out = bytes_of(raft.data + head, raft.len - head);
    return true;
}

struct bytes relay_entries(struct bytes raft)
{
    struct bytes head, entries;
    return split(raft, &head, &entries) ? entries : bytes_of(NULL, 0);
}

void relay_digest(struct bytes entries, uint8_t digest_out[RELAY_DIGEST_LEN])
{
    SHA256(entries.data, entries.len, digest_out);
}

int relay_put_shared(struct buf *out, const uint32_t *neighbours, size_t n,
                     struct bytes raft)
{
    CHECK(n > 0 && n <= RELAY_NEIGHBOURS_MAX);
    struct frame_writer w;
    uint8_t *at;
    int err =
        frame_begin(&w, out, FRAME_RAFT_SHARED, 1 + 4 * n + raft.len, &at);
    if (err != ERR_OK)
        return err;
    *at++ = (uint8_t)n;
    for (size_t i = 0; i < n; i++, at += 4)
        put_u32_le(at, neighbours[i]);
    memcpy(at, raft.data, raft.len);
    frame_end(&w);
    return ERR_OK;
}

int relay_get_shared(struct bytes payload, struct relay_shared *shared_out)
{
    struct relay_shared s;
    struct cursor c = cursor_of(payload.data, payload.len);
    s.n = cursor_u8(&c);
    if (s.n > RELAY_NEIGHBOURS_MAX)
        return ERR_LIMIT;
    for (size_t i = 0; i < s.n; i++)
        s.neighbours[i] = cursor_u32_le(&c);
    if (!cursor_ok(&c) || s.n == 0)
        return ERR_MALFORMED;
    size_t left = cursor_left(&c);
    s.raft = bytes_of(cursor_take(&c, left), left);
    *shared_out = s;
    return ERR_OK;
}

int relay_put_bare(struct buf *out, const uint8_t digest[RELAY_DIGEST_LEN],
                   struct bytes raft)
{
    struct bytes head, entries;
    struct frame_writer w;
    uint8_t *at;
    CHECK(split(raft, &head, &entries));
    int err =
        frame_begin(&w, out, FRAME_RAFT_BARE, RELAY_DIGEST_LEN + head.len, &at);
    if (err != ERR_OK)
        return err;
    memcpy(at, digest, RELAY_DIGEST_LEN);
    memcpy(at + RELAY_DIGEST_LEN, head.data, head.len);
    frame_end(&w);
    return ERR_OK;
}

int relay_put_passed_for(struct buf *out, uint64_t shard, struct bytes entries)
{
    struct frame_writer w;
    uint8_t *at;
    int err = frame_begin(&w, out, FRAME_PASSED_FOR, 8 + entries.len, &at);
    if (err != ERR_OK)
        return err;
    put_u64_le(at, shard);
    memcpy(at + 8, entries.data, entries.len);
    frame_end(&w);
    return ERR_OK;
}

int relay_get_passed_for(struct bytes payload, uint64_t *shard_out,
                         struct bytes *entries_out)
{
    struct cursor c = cursor_of(payload.data, payload.len);
    uint64_t shard = cursor_u64_le(&c);
    if (!cursor_ok(&c))
        return ERR_MALFORMED;
    size_t left = cursor_left(&c);
    *shard_out = shard;
    *entries_out = bytes_of(cursor_take(&c, left), left);
    return ERR_OK;
}

int relay_get_bare(struct bytes payload, struct relay_bare *bare_out)
{
    struct bytes head, entries;
    if (payload.len < RELAY_DIGEST_LEN)
        return ERR_MALFORMED;
    struct bytes raft = bytes_of(payload.data + RELAY_DIGEST_LEN,
                                 payload.len - RELAY_DIGEST_LEN);
    if (!split(raft, &head, &entries) || entries.len != 0)
        return ERR_MALFORMED;
    *bare_out = (struct relay_bare){.digest = payload.data, .head = head};
    return ERR_OK;
}

/* -- the leader's side ------------------------------------------------------
 */

void relay_sender_init(struct relay_sender *s)
{
    *s = (struct relay_sender){.next_mark = 0};
}

/* What is remembered of a peer; NULL when RELAY_PEERS_MAX others are. */
static struct relay_peer *peer_of(struct relay_sender *s, uint32_t id)
{
    for (size_t i = 0; i < s->n_peers; i++)
        if (s->peers[i].id == id)
            return &s->peers[i];
    if (s->n_peers == RELAY_PEERS_MAX)
        return NULL;
    s->peers[s->n_peers] = (struct relay_peer){.id = id};
    return &s->peers[s->n_peers++];
}

static bool may_relay(struct relay_sender *s, usec_t now, uint32_t id)
{
    const struct relay_peer *p = peer_of(s, id);
    return p != NULL && now >= p->paused_until_us;
}

void relay_pause(struct relay_sender *s, usec_t now, uint32_t peer)
{
    struct relay_peer *p = peer_of(s, peer);
    if (p == NULL)
        return;
    p->unused = 0;
    p->paused_until_us = now + RELAY_PAUSE_US;
}

static bool contains(const uint32_t *ids, size_t n, uint32_t id)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] == id)
            return true;
    return false;
}

static bool same_entries(const struct relay_key *a, const struct relay_key *b)
{
    return a->shard == b->shard && a->term == b->term &&
           a->prev_lsn == b->prev_lsn && a->n == b->n && a->bytes == b->bytes;
}

static bool take_waiting(struct relay_mark *m, uint32_t id)
{
    for (size_t i = 0; i < m->n_waiting; i++) {
        if (m->waiting[i] != id)
            continue;
        m->waiting[i] = m->waiting[--m->n_waiting];
        return true;
    }
    return false;
}

/* The slot of the oldest mark; who still waits there did not need it. */
static struct relay_mark *oldest_mark(struct relay_sender *s, usec_t now)
{
    struct relay_mark *m = &s->marks[s->next_mark];
    s->next_mark = (s->next_mark + 1) % RELAY_MARKS_MAX;
    for (size_t i = 0; i < m->n_waiting; i++) {
        struct relay_peer *p = peer_of(s, m->waiting[i]);
        if (p != NULL && ++p->unused >= RELAY_UNUSED_MAX)
            relay_pause(s, now, p->id);
    }
    return m;
}

/* The mark of these entries in the region of `to` and `neighbours`. Entries
 * that went to another region have their digest already. */
static struct relay_mark *find_mark(struct relay_sender *s, usec_t now,
                                    const struct relay_key *key, uint32_t to,
                                    const uint32_t *neighbours, size_t n,
                                    const uint8_t **digest_out)
{
    *digest_out = NULL;
    for (size_t i = 0; i < RELAY_MARKS_MAX; i++) {
        struct relay_mark *m = &s->marks[i];
        if (m->relay == 0 || now - m->made_us > RELAY_MARK_US ||
            !same_entries(&m->key, key))
            continue;
        if (m->relay == to || contains(neighbours, n, m->relay) ||
            contains(m->waiting, m->n_waiting, to))
            return m;
        *digest_out = m->digest;
    }
    return NULL;
}

static void begin_mark(struct relay_sender *s, usec_t now,
                       const struct relay_key *key, struct bytes entries,
                       const uint8_t *digest, uint32_t relay,
                       const struct relay_choice *choice)
{
    struct relay_mark *m = oldest_mark(s, now);
    uint8_t own[RELAY_DIGEST_LEN];
    if (digest == NULL)
        relay_digest(entries, own);
    else /* perhaps of the very slot that is being overwritten */
        memcpy(own, digest, sizeof(own));
    *m = (struct relay_mark){
        .key = *key, .made_us = now, .relay = relay, .n_waiting = choice->n};
    memcpy(m->waiting, choice->neighbours,
           choice->n * sizeof(choice->neighbours[0]));
    memcpy(m->digest, own, sizeof(own));
}

void relay_choose(struct relay_sender *s, usec_t now,
                  const struct relay_key *key, struct bytes entries,
                  uint32_t to, const uint32_t *neighbours, size_t n,
                  struct relay_choice *choice_out)
{
    const uint8_t *digest;
    *choice_out = (struct relay_choice){.way = RELAY_PLAIN};
    if (entries.len < RELAY_BYTES_MIN || !may_relay(s, now, to))
        return;
    struct relay_mark *m = find_mark(s, now, key, to, neighbours, n, &digest);
    if (m != NULL) {
        if (!take_waiting(m, to) || !contains(neighbours, n, m->relay))
            return; /* a repetition, or the relay is gone */
        choice_out->way = RELAY_BARE;
        memcpy(choice_out->digest, m->digest, RELAY_DIGEST_LEN);
        peer_of(s, to)->unused = 0;
        return;
    }
    for (size_t i = 0; i < n && choice_out->n < RELAY_NEIGHBOURS_MAX; i++)
        if (may_relay(s, now, neighbours[i]))
            choice_out->neighbours[choice_out->n++] = neighbours[i];
    if (choice_out->n == 0)
        return;
    choice_out->way = RELAY_SHARED;
    begin_mark(s, now, key, entries, digest, to, choice_out);
}

void relay_failed(struct relay_sender *s, const struct relay_key *key,
                  uint32_t relay)
{
    for (size_t i = 0; i < RELAY_MARKS_MAX; i++) {
        struct relay_mark *m = &s->marks[i];
        if (m->relay == relay && same_entries(&m->key, key))
            m->relay = 0, m->n_waiting = 0;
    }
}

/* -- the neighbour's side ---------------------------------------------------
 */

struct parcel {
    struct list node;
    usec_t arrived_us;
    uint8_t digest[RELAY_DIGEST_LEN];
    size_t len;
    uint8_t data[];
};

void relay_box_init(struct relay_box *b)
{
    list_init(&b->parcels);
    b->count = b->bytes = 0;
}

static void discard(struct relay_box *b, struct parcel *p)
{
    list_remove(&p->node);
    b->count--;
    b->bytes -= p->len;
    mem_free(p);
}

void relay_box_free(struct relay_box *b)
{
    while (!list_empty(&b->parcels))
        discard(b, LIST_ENTRY(b->parcels.next, struct parcel, node));
    CHECK(b->count == 0 && b->bytes == 0);
}

void relay_box_put(struct relay_box *b, usec_t now, struct bytes entries)
{
    if (entries.len > RELAY_BOX_BYTES_MAX)
        return;
    while (!list_empty(&b->parcels)) {
        struct parcel *oldest =
            LIST_ENTRY(b->parcels.next, struct parcel, node);
        if (now - oldest->arrived_us <= RELAY_BOX_AGE_US &&
            b->count < RELAY_BOX_COUNT_MAX &&
            b->bytes + entries.len <= RELAY_BOX_BYTES_MAX)
            break;
        discard(b, oldest);
    }
    struct parcel *p = mem_alloc(sizeof(*p) + entries.len);
    p->arrived_us = now;
    p->len = entries.len;
    relay_digest(entries, p->digest);
    if (entries.len > 0)
        memcpy(p->data, entries.data, entries.len);
    list_init(&p->node);
    list_push_back(&b->parcels, &p->node);
    b->count++;
    b->bytes += p->len;
}

bool relay_box_take(struct relay_box *b, const uint8_t digest[RELAY_DIGEST_LEN],
                    struct buf *out)
{
    for (struct list *n = b->parcels.next; n != &b->parcels; n = n->next) {
        struct parcel *p = LIST_ENTRY(n, struct parcel, node);
        if (memcmp(p->digest, digest, RELAY_DIGEST_LEN) != 0)
            continue;
        if (buf_append(out, p->data, p->len) != ERR_OK)
            return false;
        discard(b, p);
        return true;
    }
    return false;
}
