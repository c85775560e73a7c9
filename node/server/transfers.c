#include "node/server/transfers.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/server/digester.h"
#include "node/server/fence_guard.h"
#include "node/server/peers.h"
#include "node/server/worker.h"

/* The stream is a sequence of engine chunks, each with a u32_le length before
 * it, cut into frames where it happens to. */
#define TRANSFER_STREAM_MAX (2 * ENGINE_CHUNK_BYTES_MAX)

struct outgoing {
    struct helper_job job; /* reads the next chunk */
    struct list node;
    struct replica *replica;
    raft_id to;
    uint64_t id;
    struct snapshot *snapshot;
    uint64_t lsn, term;
    struct buf config;
    struct buf stream; /* read, not yet sent */
    uint64_t seq;      /* of the next frame */
    size_t frame_len;  /* bytes of the frame that waits for its ack */
    bool reading;      /* the helper has the job */
    bool exhausted;    /* everything was read */
    bool awaiting;     /* a frame was sent and not yet acknowledged */
    bool done_sent;    /* that frame is the last one */
    bool over;         /* to be freed once the helper is done */
    int err;           /* of the read */
    usec_t progress_us;
};

enum incoming_state {
    INCOMING_RECEIVING, /* waits for a frame */
    INCOMING_STORING,   /* the helper stores a frame */
    INCOMING_COMPLETE,  /* on disk; the shard is busy, ask again */
    INCOMING_RESETTING, /* the log's reset is on its way to the disk */
};

struct incoming {
    struct helper_job job;
    struct list node;
    struct replica *replica;
    links_peer from;
    uint64_t id;
    uint64_t lsn, term;
    struct raft_config config;
    bool witness; /* takes no records */
    enum incoming_state state;
    struct ingest *ingest; /* helper's while storing */
    struct buf stream;     /* received, not yet a whole chunk */
    struct buf history;    /* once all is received: SHARD_INFO_DEDUPE */
    uint64_t seq;          /* of the frame being stored, or stored last */
    bool done;             /* that frame is the last one */
    int err;
    uint64_t reset_update; /* durable: may be adopted */
    usec_t progress_us;
};

/* A frame or an acknowledgement between worker 0 and the shard's worker. */
struct transfer_parcel {
    struct inbox_message message;
    links_peer peer;
    bool failed; /* a frame that could not be sent, on its way back */
    struct snapshot_chunk chunk;
    struct snapshot_ack ack;
    uint8_t bytes[];
};

static struct transfer_parcel *parcel_chunk(links_peer peer,
                                            const struct snapshot_chunk *chunk)
{
    struct transfer_parcel *p =
        mem_alloc(sizeof(*p) + chunk->data.len + chunk->config.len);
    memset(p, 0, sizeof(*p));
    p->peer = peer;
    p->chunk = *chunk;
    if (chunk->data.len > 0)
        memcpy(p->bytes, chunk->data.data, chunk->data.len);
    if (chunk->config.len > 0)
        memcpy(p->bytes + chunk->data.len, chunk->config.data,
               chunk->config.len);
    p->chunk.data = bytes_of(p->bytes, chunk->data.len);
    p->chunk.config = bytes_of(p->bytes + chunk->data.len, chunk->config.len);
    return p;
}

static struct transfer_parcel *parcel_ack(links_peer peer,
                                          const struct snapshot_ack *ack)
{
    struct transfer_parcel *p = mem_zalloc(sizeof(*p));
    p->peer = peer;
    p->ack = *ack;
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
    if (carries == FENCE_HEADERS && node == g->witness)
        return true;
    return !catalog_group_fenced(g) ||
           (config_find_node(w->node->config, node, &region) != NULL &&
            catalog_group_region(g, region->name) < g->region_count);
}

/* Whether a snapshot may be at both ends; it is refused if not. */
static bool may_move(struct worker *w, uint32_t shard, uint32_t peer,
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

/* ---- sender ----------------------------------------------------------------
 */

static void outgoing_free(struct outgoing *o)
{
    CHECK(!o->reading);
    list_remove(&o->node);
    snapshot_close(o->snapshot);
    buf_free(&o->config);
    buf_free(&o->stream);
    mem_free(o);
}

static void outgoing_end(struct outgoing *o, bool ok)
{
    struct replica *r = o->replica;
    if (!o->over) {
        log_info(ok ? "snapshot sent" : "snapshot given up",
                 LOG_UINT("shard", r->id), LOG_UINT("to", o->to),
                 LOG_UINT("lsn", o->lsn));
        shard_snapshot_sent(r->shard, clock_mono_us(), o->to, ok);
        worker_wake(r->worker);
    }
    o->over = true;
    if (!o->reading)
        outgoing_free(o);
}

static struct outgoing *outgoing_find(struct transfers *t, uint16_t shard,
                                      links_peer to)
{
    LIST_EACH(node, &t->outgoing)
    {
        struct outgoing *o = LIST_ENTRY(node, struct outgoing, node);
        if (o->replica->id == shard && o->to == to && !o->over)
            return o;
    }
    return NULL;
}

static void outgoing_run(struct helper_job *job)
{
    struct outgoing *o = LIST_ENTRY(job, struct outgoing, job);
    struct buf chunk;
    buf_init(&chunk, ENGINE_CHUNK_BYTES_MAX);
    o->err = snapshot_chunk(o->snapshot, clock_mono_us(), TRANSFER_CHUNK_BYTES,
                            &chunk);
    if (o->err == ERR_OK)
        o->err = buf_append_u32_le(&o->stream, (uint32_t)buf_len(&chunk));
    if (o->err == ERR_OK)
        o->err = buf_append(&o->stream, buf_bytes(&chunk), buf_len(&chunk));
    buf_free(&chunk);
}

static void outgoing_go_on(struct outgoing *o);

static void outgoing_read_done(struct inbox_message *m, void *owner)
{
    (void)owner;
    struct outgoing *o = LIST_ENTRY(m, struct outgoing, job.message);
    o->reading = false;
    o->exhausted |= o->err == ERR_EOF;
    if (o->over)
        outgoing_free(o);
    else if (o->err != ERR_OK && o->err != ERR_EOF)
        outgoing_end(o, false);
    else
        outgoing_go_on(o);
}

static void deliver_unsent(struct inbox_message *m, void *owner)
{
    struct worker *w = owner;
    struct transfer_parcel *p = LIST_ENTRY(m, struct transfer_parcel, message);
    struct outgoing *o =
        outgoing_find(&w->transfers, (uint16_t)p->chunk.shard, p->peer);
    if (o != NULL && o->id == p->chunk.transfer)
        outgoing_end(o, false);
    mem_free(p);
}

static void deliver_to_link(struct inbox_message *m, void *owner)
{
    struct worker *first = owner;
    struct transfer_parcel *p = LIST_ENTRY(m, struct transfer_parcel, message);
    int err = ERR_UNAVAILABLE;
    if (first->peers != NULL)
        err =
            links_send_snapshot(peers_links(first->peers), p->peer, &p->chunk);
    if (err == ERR_OK) {
        mem_free(p);
        return;
    }
    p->message.deliver = deliver_unsent;
    struct worker *w = node_shard_worker(first->node, (uint32_t)p->chunk.shard);
    inbox_post_reserved(&w->inbox, &p->message);
}

static void outgoing_send_frame(struct outgoing *o)
{
    size_t len = buf_len(&o->stream);
    if (len > SNAPSHOT_CHUNK_MAX)
        len = SNAPSHOT_CHUNK_MAX;
    bool last = o->exhausted && len == buf_len(&o->stream);
    struct snapshot_chunk chunk = {.shard = o->replica->id,
                                   .transfer = o->id,
                                   .lsn = o->lsn,
                                   .term = o->term,
                                   .seq = o->seq,
                                   .done = last,
                                   .data = bytes_of(buf_bytes(&o->stream), len),
                                   .config = bytes_of(NULL, 0)};
    if (o->seq == 0)
        chunk.config = bytes_of(buf_bytes(&o->config), buf_len(&o->config));
    struct transfer_parcel *p = parcel_chunk(o->to, &chunk);
    p->message.deliver = deliver_to_link;
    o->awaiting = true;
    o->done_sent = last;
    buf_consume(&o->stream, len);
    inbox_post_reserved(&o->replica->worker->node->workers[0].inbox,
                        &p->message);
}

/* Reads ahead while a frame is on its way; sends the next one when it may. */
static void outgoing_go_on(struct outgoing *o)
{
    if (o->reading)
        return; /* the stream is the helper's */
    bool enough = buf_len(&o->stream) >= SNAPSHOT_CHUNK_MAX || o->exhausted;
    if (!o->awaiting && enough)
        outgoing_send_frame(o);
    if (!o->exhausted && buf_len(&o->stream) < SNAPSHOT_CHUNK_MAX) {
        o->reading = true;
        helper_submit(&o->replica->worker->helper, HELPER_STORE, &o->job);
    }
}

static void outgoing_acked(struct outgoing *o, const struct snapshot_ack *ack)
{
    if (ack->err != ERR_OK) {
        outgoing_end(o, false);
        return;
    }
    if (!o->awaiting || ack->seq != o->seq)
        return; /* a repeated one */
    o->progress_us = clock_mono_us();
    o->awaiting = false;
    o->seq++;
    if (o->done_sent)
        outgoing_end(o, true);
    else
        outgoing_go_on(o);
}

/* Opens the state to send. The flushed configuration belongs to the flushed
 * LSN, so no flush may run meanwhile. */
static int outgoing_open(struct outgoing *o)
{
    struct replica *r = o->replica;
    if (r->flusher.running || shard_flush_pending(r->shard))
        return ERR_AGAIN;
    int err = snapshot_open(r->engine, clock_mono_us(), &o->snapshot);
    if (err != ERR_OK)
        return err;
    if (!shard_sends_payload(r->shard, o->to))
        err = snapshot_only_info(o->snapshot, SHARD_INFO_CONFIG);
    if (err != ERR_OK)
        return err;
    o->lsn = snapshot_lsn(o->snapshot);
    o->term = snapshot_term(o->snapshot);
    return engine_info(r->engine, SHARD_INFO_CONFIG, &o->config);
}

void transfers_start(struct transfers *t, struct replica *r, raft_id to)
{
    struct outgoing *o = mem_zalloc(sizeof(*o));
    o->replica = r;
    o->to = to;
    o->id = ++t->next_id;
    o->job.run = outgoing_run;
    o->job.message.deliver = outgoing_read_done;
    o->progress_us = clock_mono_us();
    buf_init(&o->config, SNAPSHOT_CHUNK_MAX);
    buf_init(&o->stream, TRANSFER_STREAM_MAX);
    list_push_back(&t->outgoing, &o->node);
    /* Raft is in the middle of a step now; the tick opens the snapshot. */
}

static void outgoing_begin(struct outgoing *o)
{
    struct raft_msg offer;
    if (!may_move(o->replica->worker, o->replica->id, o->to,
                  shard_sends_payload(o->replica->shard, o->to) ? FENCE_PAYLOAD
                                                                : FENCE_HEADERS,
                  0)) {
        outgoing_end(o, false);
        return;
    }
    int err = outgoing_open(o);
    if (err == ERR_OK)
        err = shard_snapshot_offer(o->replica->shard, o->to, o->lsn, &offer);
    if (err == ERR_AGAIN)
        return;
    if (err != ERR_OK) {
        log_warn("no snapshot to send", LOG_UINT("shard", o->replica->id),
                 LOG_STR("error", err_text(err)));
        outgoing_end(o, false);
        return;
    }
    log_info("sending a snapshot", LOG_UINT("shard", o->replica->id),
             LOG_UINT("to", o->to), LOG_UINT("lsn", o->lsn));
    peers_send_raft(o->replica->worker, o->replica->id, &offer, NULL, NULL);
    outgoing_go_on(o);
}

/* ---- receiver
 * ----------------------------------------------------------------
 */

static void deliver_ack_to_link(struct inbox_message *m, void *owner)
{
    struct worker *first = owner;
    struct transfer_parcel *p = LIST_ENTRY(m, struct transfer_parcel, message);
    if (first->peers != NULL)
        (void)links_snapshot_ack(peers_links(first->peers), p->peer, &p->ack);
    mem_free(p);
}

static void send_ack(struct worker *w, links_peer to, uint16_t shard,
                     uint64_t transfer, uint64_t seq, int err)
{
    struct snapshot_ack ack = {
        .shard = shard, .transfer = transfer, .seq = seq, .err = err};
    struct transfer_parcel *p = parcel_ack(to, &ack);
    p->message.deliver = deliver_ack_to_link;
    inbox_post_reserved(&w->node->workers[0].inbox, &p->message);
}

static void incoming_free(struct incoming *in)
{
    list_remove(&in->node);
    ingest_abort(TAKE(in->ingest));
    buf_free(&in->stream);
    buf_free(&in->history);
    mem_free(in);
}

static void incoming_end(struct incoming *in, int err)
{
    struct replica *r = in->replica;
    log_info(err == ERR_OK ? "snapshot received" : "snapshot refused",
             LOG_UINT("shard", r->id), LOG_UINT("from", in->from),
             LOG_UINT("lsn", in->lsn), LOG_STR("result", err_text(err)));
    send_ack(r->worker, in->from, r->id, in->id, in->seq, err);
    incoming_free(in);
}

/* On the helper: stores the whole chunks that have arrived. */
static int incoming_store(struct incoming *in)
{
    int err = ERR_OK;
    if (in->ingest == NULL)
        err = ingest_begin(in->replica->path, &in->ingest);
    if (err == ERR_OK && in->witness)
        ingest_refuse_records(in->ingest);
    while (err == ERR_OK && buf_len(&in->stream) >= 4) {
        uint32_t len = get_u32_le(buf_bytes(&in->stream));
        if (len > ENGINE_CHUNK_BYTES_MAX)
            return ERR_MALFORMED;
        if (buf_len(&in->stream) < 4 + (size_t)len)
            break;
        err =
            ingest_chunk(in->ingest, bytes_of(buf_bytes(&in->stream) + 4, len));
        if (err == ERR_OK)
            buf_consume(&in->stream, 4 + (size_t)len);
    }
    if (err == ERR_OK && in->done) {
        (void)ingest_info(in->ingest, SHARD_INFO_DEDUPE, &in->history);
        err = buf_len(&in->stream) > 0
                  ? ERR_MALFORMED
                  : ingest_finish(TAKE(in->ingest), in->lsn, in->term);
    }
    return err;
}

static void incoming_run(struct helper_job *job)
{
    struct incoming *in = LIST_ENTRY(job, struct incoming, job);
    in->err = incoming_store(in);
}

/* A node that receives does not lead any more: what it still sends is given up.
 * True while the helper reads for it, which keeps the old state open. */
static bool still_sending(struct transfers *t, const struct replica *r)
{
    bool open = false;
    LIST_EACH_SAFE(node, &t->outgoing)
    {
        struct outgoing *o = LIST_ENTRY(node, struct outgoing, node);
        if (o->replica != r)
            continue;
        open |= o->reading;
        if (!o->over)
            outgoing_end(o, false);
    }
    return open;
}

/* Complete on disk: lets the shard decide. */
static void incoming_install(struct incoming *in, usec_t now)
{
    struct replica *r = in->replica;
    in->state = INCOMING_COMPLETE;
    if (r->flusher.running || still_sending(&r->worker->transfers, r) ||
        digester_yield(r))
        return; /* the tick asks again */
    if (shard_contradicted(r->shard, bytes_of(buf_bytes(&in->history),
                                              buf_len(&in->history)))) {
        log_error("the others do not have what is committed here, since a "
                  "recovery gave it up: stop this node and start it with "
                  "--rebuild",
                  LOG_UINT("shard", r->id));
        incoming_end(in, ERR_PRECONDITION);
        return;
    }
    int err = shard_installed(r->shard, now, in->from, in->lsn, in->term,
                              &in->config);
    if (err == ERR_AGAIN)
        return;
    if (err != ERR_OK) {
        incoming_end(in, err == ERR_STALE ? ERR_OK : err);
        return;
    }
    in->reset_update = shard_written(r->shard);
    in->state = INCOMING_RESETTING;
    worker_wake(r->worker);
}

static void incoming_stored(struct inbox_message *m, void *owner)
{
    (void)owner;
    struct incoming *in = LIST_ENTRY(m, struct incoming, job.message);
    in->state = INCOMING_RECEIVING;
    in->progress_us = clock_mono_us();
    if (in->err != ERR_OK)
        incoming_end(in, in->err);
    else if (in->done)
        incoming_install(in, in->progress_us);
    else
        send_ack(in->replica->worker, in->from, in->replica->id, in->id,
                 in->seq, ERR_OK);
}

/* The log names the new state durably: swap. */
static void incoming_adopt(struct incoming *in, usec_t now)
{
    struct replica *r = in->replica;
    struct err_msg msg;
    int err = ingest_adopt(r->engine, in->lsn, in->term, &msg);
    if (err != ERR_OK)
        log_error("a received snapshot cannot be adopted; a restart will",
                  LOG_UINT("shard", r->id), LOG_STR("reason", msg.text));
    CHECK(err == ERR_OK);
    struct buf dedupe;
    buf_init(&dedupe, FLUSH_INFO_BYTES_MAX);
    err = engine_info(r->engine, SHARD_INFO_DEDUPE, &dedupe);
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        log_warn("a snapshot's list of operations cannot be read",
                 LOG_UINT("shard", r->id), LOG_STR("error", err_text(err)));
    shard_adopted(r->shard, now,
                  bytes_of(buf_bytes(&dedupe), buf_len(&dedupe)));
    buf_free(&dedupe);
    incoming_end(in, ERR_OK);
    worker_wake(r->worker);
}

static struct incoming *incoming_find(struct transfers *t, uint16_t shard)
{
    LIST_EACH(node, &t->incoming)
    {
        struct incoming *in = LIST_ENTRY(node, struct incoming, node);
        if (in->replica->id == shard)
            return in;
    }
    return NULL;
}

/* First frame of a transfer. NULL: it cannot be taken now. */
static struct incoming *incoming_begin(struct transfers *t, links_peer from,
                                       const struct snapshot_chunk *chunk)
{
    struct incoming *old = incoming_find(t, (uint16_t)chunk->shard);
    if (old != NULL && old->state == INCOMING_RECEIVING)
        incoming_free(old); /* a new attempt replaces it */
    else if (old != NULL)
        return NULL;
    struct raft_config config;
    struct replica *r = worker_replica(t->worker, (uint32_t)chunk->shard);
    if (r == NULL || r->closing || shard_overruled(r->shard) ||
        raft_config_decode(chunk->config, &config) != ERR_OK)
        return NULL;
    struct incoming *in = mem_zalloc(sizeof(*in));
    in->replica = r;
    in->from = from;
    in->id = chunk->transfer;
    in->lsn = chunk->lsn;
    in->term = chunk->term;
    in->config = config;
    in->witness = raft_is_witness(shard_raft(r->shard));
    in->job.run = incoming_run;
    in->job.message.deliver = incoming_stored;
    buf_init(&in->stream, TRANSFER_STREAM_MAX);
    buf_init(&in->history, FLUSH_INFO_BYTES_MAX);
    list_push_back(&t->incoming, &in->node);
    return in;
}

static void take_frame(struct transfers *t, links_peer from,
                       const struct snapshot_chunk *chunk)
{
    if (!may_move(t->worker, (uint32_t)chunk->shard, from,
                  transfers_carries(chunk->data), chunk->data.len)) {
        send_ack(t->worker, from, (uint16_t)chunk->shard, chunk->transfer,
                 chunk->seq, ERR_FORBIDDEN);
        return;
    }
    struct incoming *in = chunk->seq == 0
                              ? incoming_begin(t, from, chunk)
                              : incoming_find(t, (uint16_t)chunk->shard);
    bool expected = in != NULL && in->from == from &&
                    in->id == chunk->transfer &&
                    in->state == INCOMING_RECEIVING &&
                    (chunk->seq == 0 || chunk->seq == in->seq + 1);
    if (!expected ||
        buf_append(&in->stream, chunk->data.data, chunk->data.len) != ERR_OK) {
        send_ack(t->worker, from, (uint16_t)chunk->shard, chunk->transfer,
                 chunk->seq, ERR_BUSY);
        return;
    }
    in->seq = chunk->seq;
    in->done = chunk->done;
    in->state = INCOMING_STORING;
    helper_submit(&t->worker->helper, HELPER_STORE, &in->job);
}

/* ---- between the workers
 * ------------------------------------------------------
 */

static void deliver_chunk(struct inbox_message *m, void *owner)
{
    struct worker *w = owner;
    struct transfer_parcel *p = LIST_ENTRY(m, struct transfer_parcel, message);
    if (!w->stopping)
        take_frame(&w->transfers, p->peer, &p->chunk);
    mem_free(p);
}

static void deliver_ack(struct inbox_message *m, void *owner)
{
    struct worker *w = owner;
    struct transfer_parcel *p = LIST_ENTRY(m, struct transfer_parcel, message);
    struct outgoing *o =
        outgoing_find(&w->transfers, (uint16_t)p->ack.shard, p->peer);
    if (o != NULL && o->id == p->ack.transfer)
        outgoing_acked(o, &p->ack);
    mem_free(p);
}

void transfers_on_chunk(struct worker *w, links_peer from,
                        const struct snapshot_chunk *chunk)
{
    if (chunk->shard >= NODE_SHARDS_MAX)
        return;
    struct transfer_parcel *p = parcel_chunk(from, chunk);
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
    struct transfer_parcel *p = parcel_ack(from, ack);
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
            outgoing_end(o, false);
    }
}

void transfers_on_peer_down(struct worker *w, links_peer peer)
{
    for (uint32_t i = 0; i < w->node->worker_count; i++)
        worker_run(&w->node->workers[i], peer_down, (void *)(uintptr_t)peer);
}

bool transfers_cancel(struct transfers *t, const struct replica *r)
{
    LIST_EACH_SAFE(out, &t->outgoing)
    {
        struct outgoing *o = LIST_ENTRY(out, struct outgoing, node);
        if (o->replica == r)
            outgoing_end(o, false);
    }
    LIST_EACH_SAFE(node, &t->incoming)
    {
        struct incoming *in = LIST_ENTRY(node, struct incoming, node);
        if (in->replica == r && in->state != INCOMING_STORING)
            incoming_free(in);
    }
    LIST_EACH(out, &t->outgoing)
    if (LIST_ENTRY(out, struct outgoing, node)->replica == r)
        return false;
    LIST_EACH(node, &t->incoming)
    if (LIST_ENTRY(node, struct incoming, node)->replica == r)
        return false;
    return true;
}

/* ---- life
 * ----------------------------------------------------------------------
 */

void transfers_init(struct transfers *t, struct worker *w)
{
    *t = (struct transfers){.worker = w};
    list_init(&t->outgoing);
    list_init(&t->incoming);
}

void transfers_tick(struct transfers *t, usec_t now)
{
    LIST_EACH_SAFE(node, &t->outgoing)
    {
        struct outgoing *o = LIST_ENTRY(node, struct outgoing, node);
        if (o->over)
            continue;
        if (now - o->progress_us > TRANSFER_STALL_US)
            outgoing_end(o, false);
        else if (o->snapshot == NULL)
            outgoing_begin(o);
    }
    LIST_EACH_SAFE(node, &t->incoming)
    {
        struct incoming *in = LIST_ENTRY(node, struct incoming, node);
        if (in->state == INCOMING_COMPLETE)
            incoming_install(in, now);
        else if (in->state == INCOMING_RECEIVING &&
                 now - in->progress_us > TRANSFER_STALL_US &&
                 in->progress_us > 0)
            incoming_free(in);
    }
}

void transfers_turn(struct transfers *t, usec_t now)
{
    LIST_EACH_SAFE(node, &t->incoming)
    {
        struct incoming *in = LIST_ENTRY(node, struct incoming, node);
        if (in->state == INCOMING_RESETTING &&
            shard_durable(in->replica->shard) >= in->reset_update)
            incoming_adopt(in, now);
    }
}
