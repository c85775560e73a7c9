/* The shell of relay.h: which neighbours can be reached, frames that wait
 * behind a bare append, and passing on. */
#include <string.h>

#include "node/base/feature.h"
#include "node/base/mem.h"
#include "replication/links_impl.h"

/* Bytes of Raft frames that wait behind one bare append. */
#define HELD_BYTES_MAX (8 * 1024 * 1024)
#define SPARE_KEEP (256 * 1024)

/* A Raft frame that waits. */
struct held {
    struct list node;
    enum frame_type type;
    usec_t deadline_us; /* of a bare one */
    size_t len;
    uint8_t payload[];
};

static void on_patience(struct ev_loop *ev, ev_timer *w, int revents);

void links_relay_init(struct links *links)
{
    relay_sender_init(&links->relay);
    relay_box_init(&links->box);
    buf_init(&links->spare, FRAME_BUF_MAX);
    ev_timer_init(&links->patience, on_patience, 0., 0.);
    links->patience.data = links;
}

void links_relay_free(struct links *links)
{
    ev_timer_stop(chan_loop_ev(links->cl), &links->patience);
    relay_box_free(&links->box);
    buf_free(&links->spare);
}

static void spare_done(struct links *links)
{
    buf_clear(&links->spare);
    if (links->spare.cap > SPARE_KEEP)
        buf_free(&links->spare);
}

/* -- the leader's side ------------------------------------------------------
 */

/* Whether both ends can relay entries of the shard. */
static bool relays(const struct link *l, uint64_t shard)
{
    uint32_t level =
        links_fenced(l->links, shard) ? FEATURE_GROUPS : FEATURE_RELAY;
    return link_streaming(l) && l->links->own.feature_level >= level &&
           l->peer.feature_level >= level;
}

static bool same_region(const char *region, const struct link *l)
{
    return strcmp(region, l->peer.expected.region) == 0;
}

static size_t neighbours_of(const struct link *l, uint64_t shard,
                            uint32_t out[RELAY_NEIGHBOURS_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < l->links->n_peers; i++) {
        const struct link *other = l->links->peers[i];
        if (other != l && n < RELAY_NEIGHBOURS_MAX && relays(other, shard) &&
            same_region(l->peer.expected.region, other))
            out[n++] = other->id;
    }
    return n;
}

/* Replaces links->frame by what was made in links->spare. */
static void swap_frame(struct links *links)
{
    struct buf made = links->spare;
    links->spare = links->frame;
    links->frame = made;
    spare_done(links);
}

struct relay_sending links_relay_outgoing(struct link *l, uint64_t shard,
                                          const struct raft_msg *m)
{
    struct links *links = l->links;
    struct relay_sending sending = {.shared = false};
    uint32_t neighbours[RELAY_NEIGHBOURS_MAX];
    struct relay_choice choice;
    if (m->type != RAFT_MSG_APPEND || m->append.bytes < RELAY_BYTES_MIN ||
        !relays(l, shard) || same_region(links->own.id.region, l))
        return sending;
    size_t n = neighbours_of(l, shard, neighbours);
    if (n == 0)
        return sending;
    struct bytes raft = bytes_of(buf_bytes(&links->frame) + FRAME_HEADER,
                                 buf_len(&links->frame) - FRAME_HEADER);
    sending.key = (struct relay_key){shard, m->term, m->append.prev_lsn,
                                     m->append.n, m->append.bytes};
    relay_choose(&links->relay, clock_mono_us(), &sending.key,
                 relay_entries(raft), l->id, neighbours, n, &choice);
    int err = ERR_AGAIN;
    if (choice.way == RELAY_SHARED)
        err =
            relay_put_shared(&links->spare, choice.neighbours, choice.n, raft);
    else if (choice.way == RELAY_BARE)
        err = relay_put_bare(&links->spare, choice.digest, raft);
    if (err == ERR_OK) {
        sending.shared = choice.way == RELAY_SHARED;
        sending.bare = choice.way == RELAY_BARE;
        swap_frame(links);
    } else if (choice.way == RELAY_SHARED) {
        relay_failed(&links->relay, &sending.key, l->id);
    }
    return sending;
}

void links_relay_sent(struct link *l, const struct relay_sending *sending,
                      int err)
{
    if (sending->shared && err != ERR_OK)
        relay_failed(&l->links->relay, &sending->key, l->id);
    else if (err == ERR_OK) {
        l->stats.shared_out += sending->shared;
        l->stats.bare_out += sending->bare;
    }
}

/* -- the relay's side -------------------------------------------------------
 */

static int put_passed(struct link *to, uint64_t shard, struct bytes entries)
{
    struct buf *out = &to->links->frame;
    return to->peer.feature_level >= FEATURE_GROUPS
               ? relay_put_passed_for(out, shard, entries)
               : frame_append(out, FRAME_PASSED, entries);
}

static void pass_on(struct link *l, uint64_t shard,
                    const struct relay_shared *shared)
{
    struct links *links = l->links;
    struct bytes entries = relay_entries(shared->raft);
    const struct links_cargo cargo = {shard, FENCE_PAYLOAD, "passed entries",
                                      entries.len};
    for (size_t i = 0; i < shared->n && entries.len > 0; i++) {
        struct link *to = link_find(links, shared->neighbours[i]);
        /* Nobody makes us send entries out of our region. */
        if (to == NULL || !relays(to, shard) ||
            !same_region(links->own.id.region, to) ||
            link_may_send(to, &cargo) != ERR_OK)
            continue;
        if (put_passed(to, shard, entries) == ERR_OK &&
            link_queue(to, LINKS_RAFT_QUEUE_MAX) == ERR_OK)
            to->stats.passed_out += entries.len;
    }
}

/* -- the neighbour's side ---------------------------------------------------
 */

static void patience_set(struct links *links)
{
    struct ev_loop *ev = chan_loop_ev(links->cl);
    usec_t first = USEC_NEVER;
    for (size_t i = 0; i < links->n_peers; i++) {
        const struct link *l = links->peers[i];
        if (list_empty(&l->held))
            continue;
        usec_t due = LIST_ENTRY(l->held.next, struct held, node)->deadline_us;
        first = due < first ? due : first;
    }
    ev_timer_stop(ev, &links->patience);
    if (first == USEC_NEVER)
        return;
    usec_t wait = first - clock_mono_us();
    double delay = wait > 0 ? (double)wait / 1e6 : 0.;
    ev_timer_set(&links->patience, delay + (ev_time() - ev_now(ev)), 0.);
    ev_timer_start(ev, &links->patience);
}

static void drop_first(struct link *l)
{
    struct held *h = LIST_ENTRY(l->held.next, struct held, node);
    list_remove(&h->node);
    l->held_bytes -= h->len;
    mem_free(h);
}

void links_relay_close(struct link *l)
{
    bool any = !list_empty(&l->held);
    while (!list_empty(&l->held))
        drop_first(l);
    CHECK(l->held_bytes == 0);
    if (any)
        patience_set(l->links);
}

/* Puts a bare append together and delivers it; false when its entries are not
 * there. */
static bool complete(struct link *l, struct bytes payload, int *err_out)
{
    struct links *links = l->links;
    struct relay_bare bare;
    *err_out = relay_get_bare(payload, &bare);
    if (*err_out != ERR_OK)
        return true;
    if (buf_append(&links->spare, bare.head.data, bare.head.len) != ERR_OK ||
        !relay_box_take(&links->box, bare.digest, &links->spare)) {
        spare_done(links);
        return false;
    }
    /* A callback may send, which uses the spare. */
    struct buf whole = links->spare;
    buf_init(&links->spare, FRAME_BUF_MAX);
    *err_out = link_raft(l, bytes_of(buf_bytes(&whole), buf_len(&whole)));
    buf_free(&whole);
    return true;
}

static int deliver_plain(struct link *l, enum frame_type type,
                         struct bytes payload)
{
    struct relay_shared shared;
    if (type == FRAME_RAFT)
        return link_raft(l, payload);
    CHECK(type == FRAME_RAFT_SHARED);
    int err = relay_get_shared(payload, &shared);
    return err == ERR_OK ? link_raft(l, shared.raft) : err;
}

/* Delivers what waits, as far as it can. The caller has entered the link. */
static int drain(struct link *l)
{
    int err = ERR_OK;
    while (err == ERR_OK && !l->removed && !list_empty(&l->held)) {
        struct held *h = LIST_ENTRY(l->held.next, struct held, node);
        struct bytes payload = bytes_of(h->payload, h->len);
        /* Out of the list first: a callback may end the link. */
        list_remove(&h->node);
        l->held_bytes -= h->len;
        if (h->type != FRAME_RAFT_BARE) {
            err = deliver_plain(l, h->type, payload);
        } else if (!complete(l, payload, &err)) {
            list_push_front(&l->held, &h->node);
            l->held_bytes += h->len;
            break;
        }
        mem_free(h);
    }
    return err;
}

/* The first bare append is given up: lost, as Raft messages may be. */
static void give_up(struct link *l)
{
    struct bytes none = {NULL, 0};
    drop_first(l);
    if (link_streaming(l) &&
        frame_append(&l->links->frame, FRAME_MISSED, none) == ERR_OK)
        (void)link_queue(l, LINKS_OUTPUT_MAX);
}

/* Outside of the link's own frames, where nobody judges the result. */
static void drain_alone(struct link *l)
{
    link_enter(l);
    int err = drain(l);
    if (err != ERR_OK && !l->removed && l->chan != NULL)
        link_violation(l, err, frame_type_name(FRAME_RAFT_BARE));
    link_leave(l);
}

static void on_patience(struct ev_loop *ev, ev_timer *w, int revents)
{
    (void)ev;
    (void)revents;
    struct links *links = w->data;
    CHECK_OBJ(links, LINKS_MAGIC);
    usec_t now = clock_mono_us();
    /* A callback may remove peers: whoever slides into a gap is next time's. */
    for (size_t i = 0; i < links->n_peers; i++) {
        struct link *l = links->peers[i];
        if (list_empty(&l->held) ||
            LIST_ENTRY(l->held.next, struct held, node)->deadline_us > now)
            continue;
        give_up(l);
        drain_alone(l);
    }
    patience_set(links);
}

static void hold(struct link *l, const struct frame *f)
{
    while (!list_empty(&l->held) &&
           l->held_bytes + f->payload.len > HELD_BYTES_MAX)
        give_up(l);
    struct held *h = mem_alloc(sizeof(*h) + f->payload.len);
    h->type = f->type;
    h->deadline_us = clock_mono_us() + RELAY_WAIT_US;
    h->len = f->payload.len;
    if (h->len > 0)
        memcpy(h->payload, f->payload.data, h->len);
    list_init(&h->node);
    list_push_back(&l->held, &h->node);
    l->held_bytes += h->len;
}

/* What a raft frame of any kind carries, and of which shard; `shared_out` is
 * filled for a shared one. */
static int describe_raft(struct links *links, const struct frame *f,
                         struct links_cargo *cargo,
                         struct relay_shared *shared_out)
{
    struct bytes raft = f->payload;
    struct relay_bare bare;
    int err = ERR_OK;
    if (f->type == FRAME_RAFT_SHARED) {
        err = relay_get_shared(f->payload, shared_out);
        raft = shared_out->raft;
    } else if (f->type == FRAME_RAFT_BARE) {
        err = relay_get_bare(f->payload, &bare);
        raft = bare.head;
    }
    if (err == ERR_OK)
        err = codec_peek_shard(raft, &cargo->shard);
    if (err != ERR_OK)
        return err;
    /* A bare one has its entries sent another way. */
    cargo->carries = f->type == FRAME_RAFT_BARE
                         ? FENCE_PAYLOAD
                         : links_frame_carries(links, cargo->shard, raft);
    cargo->what = "raft message";
    cargo->bytes = f->payload.len;
    return ERR_OK;
}

/* A message from a leader, in the order of its connection. */
static int take_raft(struct link *l, const struct frame *f)
{
    struct links_cargo cargo;
    struct relay_shared shared = {.n = 0};
    int err = describe_raft(l->links, f, &cargo, &shared);
    if (err != ERR_OK)
        return err;
    if (link_may_receive(l, &cargo) != ERR_OK)
        return ERR_OK; /* Raft messages may be lost */
    if (f->type == FRAME_RAFT_SHARED)
        pass_on(l, cargo.shard, &shared); /* at once, whatever waits here */
    if (list_empty(&l->held) && f->type != FRAME_RAFT_BARE)
        return deliver_plain(l, f->type, f->payload);
    if (list_empty(&l->held) && complete(l, f->payload, &err))
        return err;
    hold(l, f);
    err = drain(l); /* what was given up may have made the way free */
    if (!l->removed)
        patience_set(l->links);
    return err;
}

/* Entries that come without a shard are of one that has no fence. */
static int take_passed(struct link *l, const struct frame *f)
{
    struct links *links = l->links;
    struct bytes entries = f->payload;
    struct links_cargo cargo = {0, FENCE_PAYLOAD, "passed entries",
                                f->payload.len};
    if (!same_region(links->own.id.region, l))
        return ERR_FORBIDDEN;
    if (f->type == FRAME_PASSED_FOR &&
        relay_get_passed_for(f->payload, &cargo.shard, &entries) != ERR_OK)
        return ERR_MALFORMED;
    if (link_may_receive(l, &cargo) != ERR_OK)
        return ERR_OK;
    relay_box_put(&links->box, clock_mono_us(), entries);
    for (size_t i = 0; i < links->n_peers; i++)
        if (!list_empty(&links->peers[i]->held))
            drain_alone(links->peers[i]);
    patience_set(links);
    return ERR_OK;
}

int links_relay_frame(struct link *l, const struct frame *f)
{
    switch (f->type) {
    case FRAME_RAFT:
    case FRAME_RAFT_SHARED:
    case FRAME_RAFT_BARE:
        return take_raft(l, f);
    case FRAME_PASSED:
    case FRAME_PASSED_FOR:
        return take_passed(l, f);
    case FRAME_MISSED:
        l->stats.missed++;
        relay_pause(&l->links->relay, clock_mono_us(), l->id);
        return ERR_OK;
    default:
        CHECK_UNREACHABLE();
    }
}
