/* What users send: each call looks for the link, makes the frame and queues it
 * under the limit of its class. */
#include "node/base/mem.h"
#include "replication/links_impl.h"

/* The link to `id`, ready to send. */
static int find_up(const struct links *links, links_peer id,
                   struct link **link_out)
{
    struct link *l = link_find(links, id);
    if (l == NULL)
        return ERR_NOT_FOUND;
    if (!link_streaming(l))
        return ERR_UNAVAILABLE;
    *link_out = l;
    return ERR_OK;
}

/* Queues the raft frame, twice if an impairment says so. Not so a bare one: it
 * would only ask for its entries again. */
static int queue_raft(struct link *l, const struct relay_sending *sending)
{
    struct buf *frame = &l->links->frame;
    size_t len = buf_len(frame);
    void *twin =
        !sending->bare && impairment_duplicates(&l->out, &l->links->prng)
            ? mem_dup(buf_bytes(frame), len)
            : NULL;
    int err = link_queue(l, LINKS_RAFT_QUEUE_MAX);
    if (err == ERR_OK && twin != NULL &&
        buf_append(frame, twin, len) == ERR_OK &&
        link_queue(l, LINKS_RAFT_QUEUE_MAX) == ERR_OK)
        l->stats.raft_duplicated++;
    mem_free(twin);
    return err;
}

int links_send_raft(struct links *links, links_peer to, uint64_t shard,
                    const struct raft_msg *message,
                    const struct bytes *payloads)
{
    struct link *l;
    int err = find_up(links, to, &l);
    if (err != ERR_OK)
        return err;
    const struct links_cargo cargo = {
        shard, links_raft_carries(message), "raft message",
        message->type == RAFT_MSG_APPEND ? message->append.bytes : 0};
    err = link_may_send(l, &cargo);
    if (err != ERR_OK)
        return err;
    err = codec_put_raft(&links->frame, shard, message, payloads);
    if (err != ERR_OK)
        return err;
    struct relay_sending sending = links_relay_outgoing(l, shard, message);
    size_t len = buf_len(&links->frame);
    if (impairment_loses(&l->out, &links->prng)) {
        buf_clear(&links->frame);
        l->stats.raft_dropped++;
        return ERR_OK; /* as the network does it: nobody is told */
    }
    err = queue_raft(l, &sending);
    links_relay_sent(l, &sending, err);
    if (err == ERR_FULL)
        l->stats.raft_dropped++;
    if (err != ERR_OK)
        return err;
    l->stats.raft_bytes_out += len;
    if (message->type == RAFT_MSG_APPEND && !sending.bare)
        l->stats.raft_entries_out += message->append.bytes;
    return ERR_OK;
}

int links_request(struct links *links, links_peer to, uint32_t kind,
                  uint64_t shard, uint32_t deadline_ms, struct bytes body,
                  uint64_t *id_out)
{
    return links_request_again(links, to, kind, shard, deadline_ms, 0, body,
                               id_out);
}

int links_request_again(struct links *links, links_peer to, uint32_t kind,
                        uint64_t shard, uint32_t deadline_ms, uint32_t age_ms,
                        struct bytes body, uint64_t *id_out)
{
    CHECK(deadline_ms > 0);
    struct link *l;
    const struct links_cargo cargo = {shard, links_request_carries(links, kind),
                                      "request", body.len};
    int err = find_up(links, to, &l);
    if (err == ERR_OK)
        err = link_may_send(l, &cargo);
    if (err != ERR_OK)
        return err;
    if (HASH_COUNT(l->pending) >= LINKS_REQUESTS_MAX) {
        l->stats.requests_refused++;
        return ERR_FULL;
    }
    struct request r = {
        links->next_request,      deadline_ms, kind, body, age_ms,
        (uint64_t)clock_mono_us()};
    err = codec_put_request(&links->frame, &r);
    if (err != ERR_OK)
        return err;
    err = link_queue(l, LINKS_REQUEST_QUEUE_MAX);
    if (err == ERR_FULL)
        l->stats.requests_refused++;
    if (err != ERR_OK)
        return err;
    struct pending *p = mem_zalloc(sizeof(*p));
    p->id = links->next_request++;
    p->end = l->written;
    p->peer = to;
    p->kind = kind;
    p->shard = shard;
    p->carries = cargo.carries;
    p->deadline_us = clock_mono_us() + (usec_t)deadline_ms * USEC_PER_MS;
    list_init(&p->node);
    HASH_ADD(hh, l->pending, id, sizeof(p->id), p);
    links->open_requests++;
    links_expiry_start(links, LINKS_EXPIRY_TICK_US);
    *id_out = p->id;
    return ERR_OK;
}

void link_forget_answers(struct link *l)
{
    buf_free(&l->answers);
    l->answer_bytes = 0;
}

/* How much of large answers is unsent. */
static size_t answers_unsent(struct link *l)
{
    while (buf_len(&l->answers) > 0 &&
           get_u64_le(buf_bytes(&l->answers)) <= chan_sent(l->chan)) {
        l->answer_bytes -= (size_t)get_u64_le(buf_bytes(&l->answers) + 8);
        buf_consume(&l->answers, LINK_ANSWER_NOTE);
    }
    return l->answer_bytes;
}

static void note_answer(struct link *l, size_t len)
{
    /* More than LINKS_ANSWERS_MAX were within LINKS_ANSWER_QUEUE_MAX. */
    if (buf_len(&l->answers) == LINKS_ANSWERS_MAX * LINK_ANSWER_NOTE)
        return;
    CHECK(buf_append_u64_le(&l->answers, l->written) == ERR_OK);
    CHECK(buf_append_u64_le(&l->answers, len) == ERR_OK);
    l->answer_bytes += len;
}

static size_t answer_room(struct link *l)
{
    size_t all = link_unsent(l), own = answers_unsent(l);
    size_t below =
        all < LINKS_ANSWER_QUEUE_MAX ? LINKS_ANSWER_QUEUE_MAX - all : 0;
    size_t share =
        own < LINKS_ANSWER_SHARE &&
                buf_len(&l->answers) < LINKS_ANSWERS_MAX * LINK_ANSWER_NOTE
            ? LINKS_ANSWER_SHARE - own
            : 0;
    return below > share ? below : share;
}

size_t links_answer_room(struct links *links, links_peer peer)
{
    struct link *l;
    return find_up(links, peer, &l) == ERR_OK ? answer_room(l) : 0;
}

static int queue_response(struct link *l, const struct response *r)
{
    struct buf *frame = &l->links->frame;
    bool small = r->body.len <= LINKS_ANSWER_SMALL;
    int err = codec_put_response(frame, r);
    if (err != ERR_OK)
        return err;
    size_t len = buf_len(frame), room = small ? len : answer_room(l);
    /* Where nothing may be unsent, nothing is queued. */
    err = link_queue(l, room >= len ? LINKS_OUTPUT_MAX : 0);
    if (err == ERR_OK && !small)
        note_answer(l, len);
    return err;
}

int links_reply(struct links *links, struct links_call call, int err,
                struct bytes body)
{
    struct link *l;
    if (find_up(links, call.peer, &l) != ERR_OK || l->session != call.session)
        return ERR_CLOSED;
    struct response r = {call.id, err, body};
    const struct links_cargo cargo = {call.shard, call.carries, "response",
                                      body.len};
    int refused = body.len > 0 ? link_may_send(l, &cargo) : ERR_OK;
    /* Something may have been done all the same. */
    const struct response open = {.id = call.id, .err = ERR_TIMEOUT};
    int rc = queue_response(l, refused == ERR_OK ? &r : &open);
    if (rc == ERR_FULL) {
        l->stats.answers_refused++;
        (void)queue_response(l, &open);
    }
    return rc == ERR_OK ? refused : rc;
}

/* The transfer a chunk belongs to, begun by its chunk 0. */
static int find_transfer(struct link *l, const struct snapshot_chunk *chunk,
                         struct transfer **transfer_out)
{
    struct transfer *t;
    HASH_FIND(hh, l->transfers, &chunk->shard, sizeof(chunk->shard), t);
    if (t != NULL && t->id == chunk->transfer) {
        *transfer_out = t;
        return ERR_OK;
    }
    if (chunk->seq != 0)
        return ERR_UNAVAILABLE; /* it was lost with its connection */
    if (t == NULL) {
        if (HASH_COUNT(l->transfers) >= LINKS_TRANSFERS_MAX)
            return ERR_FULL;
        t = mem_zalloc(sizeof(*t));
        t->shard = chunk->shard;
        HASH_ADD(hh, l->transfers, shard, sizeof(t->shard), t);
    }
    t->id = chunk->transfer;
    t->next = t->acked = 0;
    t->done = false;
    *transfer_out = t;
    return ERR_OK;
}

int links_send_snapshot(struct links *links, links_peer to,
                        const struct snapshot_chunk *chunk)
{
    struct link *l;
    struct transfer *t;
    const struct links_cargo cargo = {
        chunk->shard, links_snapshot_carries(links, chunk->data),
        "snapshot chunk", chunk->data.len};
    int err = find_up(links, to, &l);
    if (err == ERR_OK)
        err = link_may_send(l, &cargo);
    if (err == ERR_OK)
        err = find_transfer(l, chunk, &t);
    if (err != ERR_OK)
        return err;
    if (chunk->seq != t->next || t->done)
        return ERR_UNAVAILABLE; /* one before it could not be sent */
    if (t->next - t->acked >= LINKS_SNAPSHOT_WINDOW)
        return ERR_AGAIN;
    err = codec_put_snapshot(&links->frame, chunk);
    if (err != ERR_OK)
        return err;
    err = link_queue(l, LINKS_SNAPSHOT_QUEUE_MAX);
    if (err != ERR_OK)
        return err == ERR_FULL ? ERR_AGAIN : err;
    t->next++;
    t->done = chunk->done;
    return ERR_OK;
}

int links_snapshot_ack(struct links *links, links_peer to,
                       const struct snapshot_ack *ack)
{
    struct link *l;
    int err = find_up(links, to, &l);
    if (err != ERR_OK)
        return err;
    err = codec_put_snapshot_ack(&links->frame, ack);
    return err == ERR_OK ? link_queue(l, LINKS_OUTPUT_MAX) : err;
}
