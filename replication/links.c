/* The shell of the links: channels and timers around one `struct peer` each.
 *
 * Every event becomes a peer_step, and apply() carries out what it demands.
 * Users are called from apply() and from handle_frame(); both may find the link
 * removed when a callback returns, so link_enter and link_leave keep its memory
 * until the outermost has left, and `removed` is looked at after each call.
 */
#include "replication/links.h"

#include <stdio.h>
#include <string.h>

#include "node/base/feature.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "replication/links_impl.h"

/* Largest frame before the peer has said who it is. */
#define HELLO_FRAME_MAX 4096
/* Frames come in bursts; keep the room for the next. */
#define LINK_IDLE_KEEP (1024 * 1024)

static const struct chan_handler link_handler;
static const struct chan_handler guest_handler;
static const struct chan_handler leaving_handler;

/* -- finding links ----------------------------------------------------------
 */

struct link *link_find(const struct links *links, links_peer id)
{
    CHECK_OBJ(links, LINKS_MAGIC);
    for (size_t i = 0; i < links->n_peers; i++) {
        if (links->peers[i]->id == id)
            return links->peers[i];
    }
    return NULL;
}

struct link *link_find_node(const struct links *links, const char *node)
{
    for (size_t i = 0; i < links->n_peers; i++) {
        if (strcmp(links->peers[i]->peer.expected.node, node) == 0)
            return links->peers[i];
    }
    return NULL;
}

bool link_streaming(const struct link *l)
{
    return l->peer.state == PEER_STREAMING && l->chan != NULL;
}

void link_enter(struct link *l)
{
    CHECK_OBJ(l, LINK_MAGIC);
    l->busy++;
}

void link_leave(struct link *l)
{
    CHECK(l->busy > 0);
    if (--l->busy > 0 || !l->removed)
        return;
    CHECK(l->chan == NULL && l->pending == NULL && l->transfers == NULL);
    CHECK(delay_line_len(&l->line) == 0);
    delay_line_free(&l->line);
    mem_free(l->address);
    mem_free(l->logged);
    l->magic = 0;
    mem_free(l);
}

/* -- saying it once ---------------------------------------------------------
 */

/* A failure that repeats, as those of a peer that is down do, is logged when it
 * first occurs and when its reason changes. */
static void log_failure(struct link *l, int err, const char *reason)
{
    if (l->logged != NULL && strcmp(l->logged, reason) == 0)
        return;
    mem_free(l->logged);
    l->logged = mem_strdup(reason);
    log_warn("peer link failed", LOG_STR("peer", l->peer.expected.node),
             LOG_STR("region", l->peer.expected.region),
             LOG_STR("address",
                     l->chan != NULL ? chan_peer_addr(l->chan) : l->address),
             LOG_STR("error", err_name(err)), LOG_STR("reason", reason));
}

static void log_guest(struct links *links, const char *address,
                      const char *reason)
{
    if (links->logged_guest != NULL && strcmp(links->logged_guest, reason) == 0)
        return;
    mem_free(links->logged_guest);
    links->logged_guest = mem_strdup(reason);
    log_warn("peer connection refused", LOG_STR("address", address),
             LOG_STR("reason", reason));
}

static void log_up(const struct link *l)
{
    log_info("peer link up", LOG_STR("peer", l->peer.expected.node),
             LOG_STR("region", l->peer.expected.region),
             LOG_STR("address", chan_peer_addr(l->chan)),
             LOG_UINT("version", l->peer.version));
}

/* -- sending ----------------------------------------------------------------
 */

int link_queue(struct link *l, size_t max)
{
    struct buf *frame = &l->links->frame;
    size_t len = buf_len(frame);
    int err = ERR_FULL;
    if (link_is_late(l))
        err = ERR_OK; /* into the void, as before anybody has noticed */
    else if (link_unsent(l) + len <= max)
        err = link_delays(l) ? link_put_delayed(l, buf_bytes(frame), len)
                             : chan_write(l->chan, buf_bytes(frame), len);
    if (err == ERR_OK)
        LINKS_DUMP(l->links, l->peer.expected.node, frame);
    buf_clear(frame);
    if (frame->cap > LINK_IDLE_KEEP)
        buf_free(frame);
    if (err == ERR_CLOSED)
        return ERR_UNAVAILABLE;
    if (err != ERR_OK)
        return err;
    l->written += len;
    l->stats.frames_out++;
    l->stats.bytes_out += len;
    return ERR_OK;
}

/* For the small frames that keep a link alive. They have room above everything
 * else; if even that is used up, the peer has stopped reading, and silence will
 * end the link. */
static void queue_control(struct link *l)
{
    link_queue(l, LINKS_OUTPUT_MAX);
}

static void send_hello(struct link *l)
{
    const struct links_handler *h = l->links->handler;
    struct peer_hello hello = l->links->own;
    hello.proves_region =
        h->prove_region != NULL &&
        h->prove_region(l->links->user, &l->peer.expected,
                        chan_binding(l->chan), hello.region_proof);
    if (codec_put_hello(&l->links->frame, &hello) == ERR_OK)
        queue_control(l);
}

static struct bytes own_gossip(const struct link *l)
{
    const struct links_handler *h = l->links->handler;
    struct bytes none = {NULL, 0};
    return h->gossip != NULL ? h->gossip(l->links->user, l->id) : none;
}

static void send_ping(struct link *l)
{
    struct ping ping = {(uint64_t)clock_mono_us(), own_gossip(l), 0};
    CHECK(ping.gossip.len <= GOSSIP_MAX);
    if (codec_put_ping(&l->links->frame, FRAME_PING, &ping) != ERR_OK)
        return;
    queue_control(l);
}

/* -- ending a link's requests and transfers ---------------------------------
 */

static void forget_pending(struct link *l, struct pending *p)
{
    HASH_DEL(l->pending, p);
    CHECK(l->links->open_requests > 0);
    l->links->open_requests--;
}

/* What to tell who asked: a request that did not leave entirely cannot have
 * been carried out, since half a frame is not read. With a farewell, all that
 * is queued leaves before it. */
static int outcome(const struct link *l, const struct pending *p, bool bye)
{
    bool stays = !bye && (l->chan == NULL || p->end > chan_sent(l->chan));
    return stays ? ERR_UNAVAILABLE : ERR_TIMEOUT;
}

static void fail_request(struct links *links, struct pending *p,
                         links_peer peer, int err)
{
    if (links->handler->on_request_failed != NULL)
        links->handler->on_request_failed(links->user, peer, p->kind, p->id,
                                          err);
    mem_free(p);
}

static void fail_requests(struct link *l, bool bye)
{
    /* Callbacks may ask anew, so take them all out first. */
    struct list failed;
    list_init(&failed);
    struct pending *p, *next;
    HASH_ITER(hh, l->pending, p, next)
    {
        p->err = outcome(l, p, bye);
        forget_pending(l, p);
        list_push_back(&failed, &p->node);
    }
    struct list *node;
    while ((node = list_pop_front(&failed)) != NULL) {
        p = LIST_ENTRY(node, struct pending, node);
        l->stats.requests_failed++;
        fail_request(l->links, p, l->id, p->err);
    }
}

static void drop_transfers(struct link *l)
{
    struct transfer *t, *next;
    HASH_ITER(hh, l->transfers, t, next)
    {
        HASH_DEL(l->transfers, t);
        mem_free(t);
    }
}

/* -- guests -----------------------------------------------------------------
 */

static void guest_free(struct guest *g)
{
    CHECK_OBJ(g, GUEST_MAGIC);
    list_remove(&g->node);
    g->links->n_guests--;
    chan_free(g->chan);
    g->magic = 0;
    mem_free(g);
}

static struct guest *guest_new(struct links *links, struct chan *chan,
                               const struct chan_handler *handler)
{
    struct guest *g = mem_zalloc(sizeof(*g));
    g->magic = GUEST_MAGIC;
    g->links = links;
    g->chan = chan;
    list_push_back(&links->guests, &g->node);
    links->n_guests++;
    chan_set_handler(chan, handler, g);
    return g;
}

/* Says why and closes once that is sent. The channel is nobody's any more. */
static void send_bye_and_close(struct links *links, struct chan *chan, int err,
                               const char *reason)
{
    struct bye bye = {err, reason};
    struct buf *frame = &links->frame;
    if (codec_put_bye(frame, &bye) == ERR_OK &&
        chan_write(chan, buf_bytes(frame), buf_len(frame)) == ERR_OK)
        LINKS_DUMP(links, "farewells", frame);
    buf_clear(frame);
    chan_close_when_sent(chan);
}

/* -- carrying out what the table demands ------------------------------------
 */

static void arm(struct link *l)
{
    struct ev_loop *ev = chan_loop_ev(l->links->cl);
    ev_timer_stop(ev, &l->timer);
    usec_t due = peer_deadline(&l->peer);
    if (due == USEC_NEVER || l->removed)
        return;
    usec_t wait = due - clock_mono_us();
    double delay = wait > 0 ? (double)wait / 1e6 : 0.;
    ev_timer_set(&l->timer, delay + (ev_time() - ev_now(ev)), 0.);
    ev_timer_start(ev, &l->timer);
}

static void adopt(struct link *l, struct chan *chan)
{
    CHECK(l->chan == NULL && delay_line_len(&l->line) == 0);
    link_impair_reset(l);
    l->chan = chan;
    l->region = link_certified_region(l->links, chan_peer_uri(chan));
    l->proved = false;
    l->session++;
    l->written = 0;
    travel_begin(&l->travel, clock_mono_us());
    chan_set_handler(chan, &link_handler, l);
}

static const struct chan_limits link_limits = {
    .input_max = FRAME_BUF_MAX + 64 * 1024,
    .output_max = LINKS_OUTPUT_MAX,
    .idle_keep = LINK_IDLE_KEEP,
};

void link_dial(struct link *l)
{
    if (link_is_cut(l))
        return;
    struct chan_connect_options o = {
        .address = l->address,
        .tls = l->links->tls,
        .limits = link_limits,
        .judge = &l->links->judge,
    };
    o.limits.handshake_timeout_us = l->peer.timing.connect_us;
    struct chan *chan;
    int err = chan_connect(l->links->cl, &o, NULL, &chan);
    CHECK(err == ERR_OK); /* the address was checked by links_add_peer */
    adopt(l, chan);
}

static void close_chan(struct link *l, bool bye, const struct peer_update *u)
{
    if (l->chan == NULL)
        return;
    if (bye)
        link_release(l, delay_line_all(&l->line));
    delay_line_free(&l->line);
    link_impair_reset(l);
    link_forget_answers(l);
    struct chan *chan = TAKE(l->chan);
    if (bye) {
        guest_new(l->links, chan, &leaving_handler);
        send_bye_and_close(l->links, chan, u->err, u->reason);
    } else {
        chan_free(chan);
    }
}

static bool can_say_bye(const struct link *l, const struct peer_update *u)
{
    return u->bye && l->chan != NULL && !l->out.cut &&
           l->links->n_guests < LINKS_GUESTS_MAX;
}

/* The link is over: everybody hears of it, then the channel goes. */
static void apply_close(struct link *l, const struct peer_update *u)
{
    if (u->err != ERR_OK && !l->removed) {
        l->stats.last_err = u->err;
        snprintf(l->last_reason, sizeof(l->last_reason), "%s", u->reason);
        log_failure(l, u->err, u->reason);
    }
    bool bye = can_say_bye(l, u);
    drop_transfers(l);
    links_relay_close(l);
    fail_requests(l, bye);
    close_chan(l, bye, u);
    if (u->down && !l->removed && l->links->handler->on_peer_down != NULL)
        l->links->handler->on_peer_down(l->links->user, l->id, u->err,
                                        u->reason);
}

static void apply_up(struct link *l, const struct peer_hello *hello)
{
    l->stats.connects++;
    mem_free(TAKE(l->logged));
    log_up(l);
    if (l->links->handler->on_peer_up != NULL)
        l->links->handler->on_peer_up(l->links->user, l->id, hello);
}

/* Steps the table and obeys. `chan` is the channel of an ACCEPTED event. False
 * when the link was removed by a callback. */
static bool step(struct link *l, const struct peer_event *event,
                 struct chan *chan, struct peer_update *u)
{
    link_enter(l);
    peer_step(&l->peer, event, u);
    if (u->close)
        apply_close(l, u);
    if (u->adopt && !l->removed)
        adopt(l, chan);
    if (u->dial && !l->removed)
        link_dial(l);
    if (u->hello && !l->removed)
        send_hello(l);
    if (u->up && !l->removed)
        apply_up(l, event->hello);
    if (u->ping && !l->removed && link_streaming(l))
        send_ping(l);
    bool alive = !l->removed;
    if (alive)
        arm(l);
    link_leave(l);
    return alive;
}

static void step_plain(struct link *l, enum peer_event_type type)
{
    struct peer_event e = {.type = type, .now_us = clock_mono_us()};
    struct peer_update u;
    step(l, &e, NULL, &u);
}

void link_failed(struct link *l, enum peer_event_type type, int err,
                 const char *reason)
{
    struct peer_event e = {
        .type = type, .now_us = clock_mono_us(), .err = err, .reason = reason};
    struct peer_update u;
    step(l, &e, NULL, &u);
}

static void on_timer(struct ev_loop *ev, ev_timer *w, int revents)
{
    (void)ev;
    (void)revents;
    struct link *l = w->data;
    CHECK_OBJ(l, LINK_MAGIC);
    step_plain(l, PEER_EVENT_TICK);
}

/* -- frames -----------------------------------------------------------------
 */

/* That its certificate and its HELLO name the node that is expected, peer.c
 * sees to. */
static bool proves_region(const struct link *l, const struct peer_hello *hello)
{
    const struct links_handler *h = l->links->handler;
    return h->believes_region == NULL ||
           h->believes_region(
               l->links->user, &l->peer.expected, chan_binding(l->chan),
               hello->proves_region ? hello->region_proof : NULL);
}

static int frame_hello(struct link *l, struct bytes payload)
{
    struct peer_hello hello;
    int err = codec_get_hello(l->links->codec, payload, &hello);
    if (err != ERR_OK)
        return err;
    l->proved = proves_region(l, &hello);
    /* Programs that prove nothing know of no such level. */
    if (!l->proved && hello.feature_active >= FEATURE_REGION_PROOF)
        hello.feature_active = FEATURE_REGION_PROOF - 1;
    struct peer_event e = {.type = PEER_EVENT_HELLO,
                           .now_us = clock_mono_us(),
                           .hello = &hello,
                           .unproved = link_owes_proof(l) &&
                                       fence_stands(l->links->fence)};
    struct peer_update u;
    step(l, &e, NULL, &u);
    return ERR_OK;
}

static int frame_bye(struct link *l, struct bytes payload)
{
    struct bye bye;
    int err = codec_get_bye(l->links->codec, payload, &bye);
    if (err != ERR_OK)
        return err;
    char reason[PEER_REASON_MAX];
    snprintf(reason, sizeof(reason), "the peer says: %.140s", bye.reason);
    link_ended(l, PEER_EVENT_REFUSED, bye.err != ERR_OK ? bye.err : ERR_EOF,
               reason);
    return ERR_OK;
}

static int frame_ping(struct link *l, enum frame_type type,
                      struct bytes payload)
{
    struct ping ping;
    int err = codec_get_ping(l->links->codec, payload, &ping);
    if (err != ERR_OK)
        return err;
    uint64_t now = (uint64_t)clock_mono_us();
    if (type == FRAME_PONG && ping.sent_us <= now)
        l->stats.rtt_us = (usec_t)(now - ping.sent_us);
    if (type == FRAME_PONG)
        travel_answered(&l->travel, (usec_t)now, ping.sent_us, ping.clock_us);
    if (type == FRAME_PING) {
        travel_heard(&l->travel, (usec_t)now, ping.sent_us);
        struct ping pong = {ping.sent_us, own_gossip(l), now};
        CHECK(pong.gossip.len <= GOSSIP_MAX);
        if (codec_put_ping(&l->links->frame, FRAME_PONG, &pong) == ERR_OK)
            queue_control(l);
    }
    if (l->links->handler->on_gossip != NULL)
        l->links->handler->on_gossip(l->links->user, l->id, ping.gossip);
    return ERR_OK;
}

int link_raft(struct link *l, struct bytes payload)
{
    struct raft_msg msg;
    const struct bytes *payloads;
    uint64_t shard;
    int err = codec_get_raft(l->links->codec, payload, &shard, &msg, &payloads);
    if (err != ERR_OK)
        return err;
    uint64_t said;
    if (codec_peek_shard(payload, &said) != ERR_OK || said != shard)
        return ERR_MALFORMED; /* the fence was asked for another */
    if (msg.from != l->id)
        return ERR_IDENTITY; /* nobody speaks for another */
    if (l->links->handler->on_raft != NULL)
        l->links->handler->on_raft(l->links->user, l->id, shard, &msg,
                                   payloads);
    return ERR_OK;
}

static int frame_request(struct link *l, struct bytes payload)
{
    struct request r;
    int err = codec_get_request(l->links->codec, payload, &r);
    if (err != ERR_OK)
        return err;
    const struct links_handler *h = l->links->handler;
    struct links_call call = {
        .peer = l->id, .session = l->session, .id = r.id, .age_ms = r.age_ms};
    if (r.sent_us > 0)
        call.way_most_ms =
            travel_most_ms(&l->travel, clock_mono_us(), r.sent_us);
    struct bytes none = {NULL, 0};
    if (h->request_shard != NULL)
        call.shard = h->request_shard(l->links->user, r.kind, r.body);
    call.carries = links_request_carries(l->links, r.kind);
    const struct links_cargo cargo = {call.shard, call.carries, "request",
                                      r.body.len};
    err = link_may_receive(l, &cargo);
    if (err != ERR_OK)
        links_reply(l->links, call, err, none);
    else if (h->on_request != NULL)
        h->on_request(l->links->user, call, r.kind, r.deadline_ms, r.body);
    else
        links_reply(l->links, call, ERR_UNSUPPORTED, none);
    return ERR_OK;
}

/* Whether a response's body, if there is one, may be taken. */
static bool may_be_answered(struct link *l, const struct pending *p,
                            struct bytes body)
{
    const struct links_cargo cargo = {p->shard, p->carries, "response",
                                      body.len};
    return body.len == 0 || link_may_receive(l, &cargo) == ERR_OK;
}

static int frame_response(struct link *l, struct bytes payload)
{
    struct response r;
    int err = codec_get_response(l->links->codec, payload, &r);
    if (err != ERR_OK)
        return err;
    struct pending *p;
    HASH_FIND(hh, l->pending, &r.id, sizeof(r.id), p);
    if (p == NULL) {
        l->stats.late_responses++;
        return ERR_OK;
    }
    forget_pending(l, p);
    if (!may_be_answered(l, p, r.body)) {
        l->stats.requests_failed++;
        fail_request(l->links, p, l->id, ERR_TIMEOUT); /* whatever was done */
        return ERR_OK;
    }
    uint32_t kind = p->kind;
    mem_free(p);
    if (l->links->handler->on_response != NULL)
        l->links->handler->on_response(l->links->user, l->id, kind, r.id, r.err,
                                       r.body);
    return ERR_OK;
}

static int frame_snapshot(struct link *l, struct bytes payload)
{
    struct snapshot_chunk chunk;
    uint64_t shard;
    int err = codec_peek_shard(payload, &shard);
    if (err != ERR_OK)
        return err;
    err = codec_get_snapshot(l->links->codec, payload, &chunk);
    if (err != ERR_OK)
        return err;
    if (chunk.shard != shard)
        return ERR_MALFORMED; /* the fence is asked for another */
    const struct links_cargo cargo = {
        shard, links_snapshot_carries(l->links, chunk.data), "snapshot chunk",
        payload.len};
    int refused = link_may_receive(l, &cargo);
    if (refused != ERR_OK) {
        /* Its head was wanted for the answer alone. */
        const struct snapshot_ack no = {.shard = shard,
                                        .transfer = chunk.transfer,
                                        .seq = chunk.seq,
                                        .err = refused};
        (void)links_snapshot_ack(l->links, l->id, &no);
        return ERR_OK;
    }
    if (l->links->handler->on_snapshot != NULL)
        l->links->handler->on_snapshot(l->links->user, l->id, &chunk);
    return ERR_OK;
}

static int frame_snapshot_ack(struct link *l, struct bytes payload)
{
    struct snapshot_ack ack;
    int err = codec_get_snapshot_ack(l->links->codec, payload, &ack);
    if (err != ERR_OK)
        return err;
    struct transfer *t;
    HASH_FIND(hh, l->transfers, &ack.shard, sizeof(ack.shard), t);
    if (t == NULL || t->id != ack.transfer)
        return ERR_OK; /* of a transfer that we gave up */
    if (ack.seq >= t->next)
        return ERR_PROTOCOL; /* nothing was sent there */
    if (ack.seq >= t->acked)
        t->acked = ack.seq + 1;
    if (ack.err != ERR_OK || (t->done && t->acked == t->next)) {
        HASH_DEL(l->transfers, t);
        mem_free(t);
    }
    if (l->links->handler->on_snapshot_ack != NULL)
        l->links->handler->on_snapshot_ack(l->links->user, l->id, &ack);
    return ERR_OK;
}

/* An error means that the peer broke the protocol. */
static int handle_frame(struct link *l, const struct frame *f)
{
    if (f->type == FRAME_HELLO)
        return frame_hello(l, f->payload);
    if (f->type == FRAME_BYE)
        return frame_bye(l, f->payload);
    if (l->peer.state != PEER_STREAMING)
        return ERR_PROTOCOL; /* rule 3 of peer.h */
    switch (f->type) {
    case FRAME_PING:
    case FRAME_PONG:
        return frame_ping(l, f->type, f->payload);
    case FRAME_RAFT:
    case FRAME_RAFT_SHARED:
    case FRAME_RAFT_BARE:
    case FRAME_PASSED:
    case FRAME_MISSED:
    case FRAME_PASSED_FOR:
        return links_relay_frame(l, f);
    case FRAME_REQUEST:
        return frame_request(l, f->payload);
    case FRAME_RESPONSE:
        return frame_response(l, f->payload);
    case FRAME_SNAPSHOT:
        return frame_snapshot(l, f->payload);
    case FRAME_SNAPSHOT_ACK:
        return frame_snapshot_ack(l, f->payload);
    case FRAME_HELLO:
    case FRAME_BYE:
    case FRAME_TYPE_END:
        break;
    }
    CHECK_UNREACHABLE();
}

void link_violation(struct link *l, int err, const char *frame)
{
    char reason[PEER_REASON_MAX];
    snprintf(reason, sizeof(reason), "broke the protocol: %s frame: %s", frame,
             err_text(err));
    link_failed(l, PEER_EVENT_VIOLATION,
                err == ERR_IDENTITY ? ERR_IDENTITY : ERR_PROTOCOL, reason);
}

/* Reads one frame. False when there is none (yet), or the channel is gone. */
static bool next_frame(struct link *l, struct chan *c)
{
    struct buf *in = chan_input(c);
    struct frame f;
    size_t size;
    size_t max = link_streaming(l) ? FRAME_MAX : HELLO_FRAME_MAX;
    int err = frame_read(in, max, &f, &size);
    if (err == ERR_AGAIN)
        return false;
    if (err != ERR_OK) {
        link_violation(l, err, "a");
        return false;
    }
    l->stats.frames_in++;
    l->stats.bytes_in += size;
    err = handle_frame(l, &f);
    if (l->removed || l->chan != c)
        return false;
    if (err != ERR_OK) {
        link_violation(l, err, frame_type_name(f.type));
        return false;
    }
    buf_consume(in, size);
    return true;
}

/* -- channel callbacks ------------------------------------------------------
 */

static void link_on_open(struct chan *c, void *user)
{
    struct link *l = user;
    CHECK_OBJ(l, LINK_MAGIC);
    CHECK(l->chan == c);
    char uri[PEER_URI_MAX + 1];
    l->region = link_certified_region(l->links, chan_peer_uri(c));
    struct peer_event e = {.type = PEER_EVENT_CONNECTED,
                           .now_us = clock_mono_us(),
                           .uri = link_uri(l, chan_peer_uri(c), uri)};
    struct peer_update u;
    step(l, &e, NULL, &u);
}

void link_read(struct link *l)
{
    if (l->in.cut)
        return; /* it waits in the channel */
    struct chan *c = l->chan;
    link_enter(l);
    /* Not through step(): the deadline only moves away, and the timer notices
     * when it fires. */
    struct peer_event e = {.type = PEER_EVENT_HEARD, .now_us = clock_mono_us()};
    struct peer_update u;
    peer_step(&l->peer, &e, &u);
    while (next_frame(l, c)) {
    }
    link_leave(l);
}

static void link_on_data(struct chan *c, void *user)
{
    struct link *l = user;
    CHECK_OBJ(l, LINK_MAGIC);
    CHECK(l->chan == c);
    link_read(l);
}

static void link_on_close(struct chan *c, void *user, int err)
{
    struct link *l = user;
    CHECK_OBJ(l, LINK_MAGIC);
    CHECK(l->chan == c);
    /* Their end without a farewell: the process died, or the network did. */
    link_ended(l, PEER_EVENT_LOST, err == ERR_EOF ? ERR_IO : err,
               chan_reason(c));
}

static const struct chan_handler link_handler = {
    .on_open = link_on_open,
    .on_data = link_on_data,
    .on_close = link_on_close,
};

/* An accepted channel has shaken hands: whose is it? */
static void guest_on_open(struct chan *c, void *user)
{
    struct guest *g = user;
    CHECK_OBJ(g, GUEST_MAGIC);
    struct links *links = g->links;
    const char *uri = chan_peer_uri(c);
    struct peer_identity id;
    struct link *l = NULL;
    struct peer_update u = {.err = ERR_IDENTITY};
    if (uri == NULL || peer_uri_parse(uri, &id) != ERR_OK)
        snprintf(u.reason, sizeof(u.reason),
                 "the certificate names no node of a cluster");
    else if ((l = link_find_node(links, id.node)) == NULL)
        snprintf(u.reason, sizeof(u.reason), "node %s is not a peer", id.node);
    if (l != NULL && link_is_cut(l)) {
        guest_free(g);
        return;
    }
    char storage[PEER_URI_MAX + 1];
    if (l != NULL &&
        peer_uri_check(&l->peer.expected, link_uri(l, uri, storage),
                       u.reason) == ERR_OK) {
        g->chan = NULL; /* step() hands it to the link, or leaves it to us */
        struct peer_event e = {.type = PEER_EVENT_ACCEPTED,
                               .now_us = clock_mono_us()};
        if (step(l, &e, c, &u) && u.adopt) {
            guest_free(g);
            return;
        }
        g->chan = c;
    }
    log_guest(links, chan_peer_addr(c), u.reason);
    chan_set_handler(c, &leaving_handler, g);
    send_bye_and_close(links, c, u.err, u.reason);
}

static void guest_on_data(struct chan *c, void *user)
{
    (void)user;
    struct buf *in = chan_input(c);
    buf_consume(in, buf_len(in));
}

static void guest_on_close(struct chan *c, void *user, int err)
{
    struct guest *g = user;
    CHECK_OBJ(g, GUEST_MAGIC);
    if (err == ERR_AUTH || err == ERR_TIMEOUT)
        log_guest(g->links, chan_peer_addr(c), chan_reason(c));
    guest_free(g);
}

static void leaving_on_close(struct chan *c, void *user, int err)
{
    (void)c;
    (void)err;
    guest_free(user);
}

static const struct chan_handler guest_handler = {
    .on_open = guest_on_open,
    .on_data = guest_on_data,
    .on_close = guest_on_close,
};

static const struct chan_handler leaving_handler = {
    .on_data = guest_on_data,
    .on_close = leaving_on_close,
};

static void on_accept(struct chan *c, void *user)
{
    struct links *links = user;
    CHECK_OBJ(links, LINKS_MAGIC);
    if (links->n_guests >= LINKS_GUESTS_MAX) {
        log_guest(links, chan_peer_addr(c), "too many unproved connections");
        chan_free(c);
        return;
    }
    guest_new(links, c, &guest_handler);
}

/* -- deadlines of requests --------------------------------------------------
 */

static void expire_link(struct link *l, usec_t now)
{
    struct list late;
    list_init(&late);
    struct pending *p, *next;
    HASH_ITER(hh, l->pending, p, next)
    {
        if (p->deadline_us > now)
            continue;
        forget_pending(l, p);
        list_push_back(&late, &p->node);
    }
    struct list *node;
    while ((node = list_pop_front(&late)) != NULL) {
        p = LIST_ENTRY(node, struct pending, node);
        l->stats.requests_failed++;
        /* Also when it is still queued: it may yet leave. */
        fail_request(l->links, p, l->id, ERR_TIMEOUT);
    }
}

void links_expiry_start(struct links *links, usec_t after_us)
{
    if (ev_is_active(&links->expiry))
        return;
    ev_timer_set(&links->expiry, (double)after_us / 1e6, 0.);
    ev_timer_start(chan_loop_ev(links->cl), &links->expiry);
}

static void on_expiry(struct ev_loop *ev, ev_timer *w, int revents)
{
    (void)ev;
    (void)revents;
    struct links *links = w->data;
    CHECK_OBJ(links, LINKS_MAGIC);
    struct list *node;
    while ((node = list_pop_front(&links->orphans)) != NULL) {
        struct pending *p = LIST_ENTRY(node, struct pending, node);
        fail_request(links, p, p->peer, p->err);
    }
    usec_t now = clock_mono_us();
    /* A callback may remove peers: whoever slides into a gap is next time's. */
    for (size_t i = 0; i < links->n_peers; i++) {
        struct link *l = links->peers[i];
        link_enter(l);
        expire_link(l, now);
        link_leave(l);
    }
    if (links->open_requests > 0 || !list_empty(&links->orphans))
        links_expiry_start(links, LINKS_EXPIRY_TICK_US);
}

/* -- making and ending ------------------------------------------------------
 */

static void default_timing(struct peer_timing *t)
{
    const struct peer_timing *d = &peer_timing_default;
    if (t->connect_us == 0)
        t->connect_us = d->connect_us;
    if (t->silence_us == 0)
        t->silence_us = d->silence_us;
    if (t->ping_us == 0)
        t->ping_us =
            d->ping_us < t->silence_us / 4 ? d->ping_us : t->silence_us / 4;
    if (t->backoff_min_us == 0)
        t->backoff_min_us = d->backoff_min_us;
    if (t->backoff_max_us == 0)
        t->backoff_max_us = d->backoff_max_us;
    if (t->refused_us == 0)
        t->refused_us = d->refused_us;
}

static int own_hello(const struct links_options *o, struct err_msg *msg,
                     struct peer_hello *hello_out)
{
    struct peer_hello own = {.version_min = PEER_VERSION_MIN,
                             .version_max = PEER_VERSION_MAX,
                             .incarnation = o->incarnation,
                             .feature_level = o->feature_level,
                             .feature_active = o->feature_active,
                             .feature_wanted = o->feature_wanted};
    if (peer_identity_set(&own.id, o->cluster, o->region, o->node) != ERR_OK)
        return err_set(msg, ERR_INVALID,
                       "cluster, region and node names must have 1 to %d "
                       "letters, digits, dots, dashes or underscores",
                       PEER_NAME_MAX);
    char reason[PEER_REASON_MAX];
    if (peer_uri_check(&own.id, tls_ctx_uri(o->tls), reason) != ERR_OK)
        return err_set(msg, ERR_IDENTITY,
                       "the certificate for peers is not this node's: %s",
                       reason);
    *hello_out = own;
    return ERR_OK;
}

static int open_listener(struct links *links, const struct links_options *o,
                         struct err_msg *msg)
{
    if (o->listen == NULL)
        return ERR_OK;
    struct chan_listen_options lo = {
        .address = o->listen,
        .reuse_port = o->reuse_port,
        .channels_max = LINKS_PEERS_MAX + LINKS_GUESTS_MAX,
        .tls = o->tls,
        .limits = link_limits,
        .on_accept = on_accept,
        .user = links,
        .judge = &links->judge,
    };
    lo.limits.handshake_timeout_us = links->timing.connect_us;
    return chan_listen(links->cl, &lo, msg, &links->listener);
}

int links_create(struct chan_loop *cl, const struct links_options *options,
                 struct err_msg *msg, struct links **links_out)
{
    CHECK(options->tls != NULL && options->handler != NULL &&
          options->fence != NULL);
    struct peer_hello own;
    int err = own_hello(options, msg, &own);
    if (err != ERR_OK)
        return err;
    struct links *links = mem_zalloc(sizeof(*links));
    links->magic = LINKS_MAGIC;
    links->cl = cl;
    links->tls = tls_ctx_ref(options->tls);
    links->own = own;
    links->fence = options->fence;
    links->region = fence_region_number(links->fence, own.id.region);
    links->timing = options->timing;
    default_timing(&links->timing);
    prng_seed(&links->prng, options->seed);
    links->handler = options->handler;
    links->user = options->user;
    links_judge_init(links);
    list_init(&links->guests);
    list_init(&links->orphans);
    links_relay_init(links);
    links->codec = codec_new();
    buf_init(&links->frame, FRAME_BUF_MAX);
    links->next_request = 1;
    ev_timer_init(&links->expiry, on_expiry, 0., 0.);
    links->expiry.data = links;
    err = open_listener(links, options, msg);
    if (err != ERR_OK) {
        links_free(links);
        return err;
    }
    *links_out = links;
    return ERR_OK;
}

static void drop_pending(struct link *l)
{
    struct pending *p, *next;
    HASH_ITER(hh, l->pending, p, next)
    {
        forget_pending(l, p);
        mem_free(p);
    }
}

/* Takes the link out of the table and closes its channel; requests must have
 * been dealt with. Its memory goes when nobody is inside. */
static void discard(struct link *l)
{
    struct links *links = l->links;
    CHECK(l->pending == NULL);
    link_enter(l);
    for (size_t i = 0; i < links->n_peers; i++) {
        if (links->peers[i] == l)
            links->peers[i] = links->peers[--links->n_peers];
    }
    l->removed = true;
    struct peer_event stop = {.type = PEER_EVENT_STOP,
                              .now_us = clock_mono_us()};
    struct peer_update u;
    peer_step(&l->peer, &stop, &u);
    drop_transfers(l);
    links_relay_close(l);
    close_chan(l, can_say_bye(l, &u), &u);
    ev_timer_stop(chan_loop_ev(links->cl), &l->timer);
    link_alarm_close(l);
    link_leave(l);
}

void links_free(struct links *links)
{
    if (links == NULL)
        return;
    CHECK_OBJ(links, LINKS_MAGIC);
    chan_listener_free(TAKE(links->listener));
    while (links->n_peers > 0) {
        CHECK(links->peers[0]->busy == 0);
        drop_pending(links->peers[0]);
        discard(links->peers[0]);
    }
    chan_loop_flush(links->cl); /* the farewells */
    struct list *node;
    while (!list_empty(&links->guests))
        guest_free(LIST_ENTRY(links->guests.next, struct guest, node));
    while ((node = list_pop_front(&links->orphans)) != NULL)
        mem_free(LIST_ENTRY(node, struct pending, node));
    ev_timer_stop(chan_loop_ev(links->cl), &links->expiry);
    codec_free(links->codec);
    buf_free(&links->frame);
    links_relay_free(links);
    mem_free(links->logged_guest);
    tls_ctx_unref(links->tls);
    links->magic = 0;
    mem_free(links);
}

uint16_t links_port(const struct links *links)
{
    CHECK_OBJ(links, LINKS_MAGIC);
    return links->listener != NULL ? chan_listener_port(links->listener) : 0;
}

int links_add_peer(struct links *links, links_peer peer, const char *region,
                   const char *node, const char *address)
{
    CHECK_OBJ(links, LINKS_MAGIC);
    struct peer_identity id;
    char host[CHAN_HOST_MAX + 1];
    uint16_t port;
    if (peer == 0 ||
        peer_identity_set(&id, links->own.id.cluster, region, node) != ERR_OK ||
        strcmp(node, links->own.id.node) == 0 ||
        chan_split_address(address, host, &port) != ERR_OK || host[0] == '\0')
        return ERR_INVALID;
    if (link_find(links, peer) != NULL || link_find_node(links, node) != NULL)
        return ERR_EXISTS;
    if (links->n_peers == LINKS_PEERS_MAX)
        return ERR_FULL;
    struct link *l = mem_zalloc(sizeof(*l));
    buf_init(&l->answers, LINKS_ANSWERS_MAX * LINK_ANSWER_NOTE);
    l->magic = LINK_MAGIC;
    l->links = links;
    l->id = peer;
    l->address = mem_strdup(address);
    peer_init(&l->peer, &links->own, &id, &links->timing,
              prng_u64(&links->prng));
    ev_timer_init(&l->timer, on_timer, 0., 0.);
    l->timer.data = l;
    link_impair_init(l);
    list_init(&l->held);
    links->peers[links->n_peers++] = l;
    step_plain(l, PEER_EVENT_START);
    return ERR_OK;
}

int links_remove_peer(struct links *links, links_peer peer)
{
    struct link *l = link_find(links, peer);
    if (l == NULL)
        return ERR_NOT_FOUND;
    struct pending *p, *next;
    HASH_ITER(hh, l->pending, p, next)
    {
        p->err = ERR_TIMEOUT; /* the farewell lets it leave */
        forget_pending(l, p);
        list_push_back(&links->orphans, &p->node);
    }
    if (!list_empty(&links->orphans)) {
        ev_timer_stop(chan_loop_ev(links->cl), &links->expiry);
        links_expiry_start(links, 0);
    }
    discard(l);
    return ERR_OK;
}

void links_require(struct links *links, uint32_t feature_active)
{
    CHECK_OBJ(links, LINKS_MAGIC);
    if (feature_active <= links->own.feature_active)
        return;
    links->own.feature_active = feature_active;
    for (size_t i = 0; i < links->n_peers; i++)
        peer_require(&links->peers[i]->peer, feature_active);
}

/* -- looking at it ----------------------------------------------------------
 */

int links_get_stats(const struct links *links, links_peer peer,
                    struct links_stats *stats_out)
{
    const struct link *l = link_find(links, peer);
    if (l == NULL)
        return ERR_NOT_FOUND;
    struct links_stats s = l->stats;
    s.state = l->peer.state;
    s.heard_us = l->peer.heard_us;
    s.output_bytes = link_unsent(l);
    s.out = l->out;
    s.in = l->in;
    s.requests_open = HASH_COUNT(l->pending);
    s.attempts = l->peer.attempts;
    s.refusals = l->peer.refusals;
    s.feature_heard = l->peer.feature_heard;
    if (link_streaming(l)) {
        s.version = l->peer.version;
        s.feature_level = l->peer.feature_level;
        s.feature_wanted = l->peer.feature_wanted;
        s.region_proved = l->proved;
    }
    s.last_reason = l->last_reason;
    *stats_out = s;
    return ERR_OK;
}

bool links_is_up(const struct links *links, links_peer peer)
{
    const struct link *l = link_find(links, peer);
    return l != NULL && link_streaming(l);
}
