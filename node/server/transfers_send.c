/* Snapshots that this node sends. */
#include <string.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/server/peers.h"
#include "node/server/transfers_impl.h"

struct outgoing *outgoing_find(struct transfers *t, uint32_t shard,
                               links_peer to, uint64_t id)
{
    LIST_EACH(node, &t->outgoing)
    {
        struct outgoing *o = LIST_ENTRY(node, struct outgoing, node);
        if (o->replica->id == shard && o->to == to && o->id == id && !o->over)
            return o;
    }
    return NULL;
}

bool outgoing_any(const struct transfers *t, uint32_t shard, links_peer to)
{
    LIST_EACH(node, &t->outgoing)
    {
        const struct outgoing *o = LIST_ENTRY(node, struct outgoing, node);
        if (o->replica->id == shard && o->to == to && !o->over)
            return true;
    }
    return false;
}

/* Whether a later leadership began the same anew. */
static bool is_superseded(const struct outgoing *o)
{
    const struct list *end = &o->replica->worker->transfers.outgoing;
    for (const struct list *it = o->node.next; it != end; it = it->next) {
        const struct outgoing *later = LIST_ENTRY(it, struct outgoing, node);
        if (later->replica == o->replica && later->to == o->to && !later->over)
            return true;
    }
    return false;
}

/* ---- the end ----------------------------------------------------------------
 */

static void outgoing_free(struct outgoing *o)
{
    CHECK(!o->reading);
    list_remove(&o->node);
    snapshot_close(o->snapshot);
    digest_free(o->digest);
    buf_free(&o->config);
    buf_free(&o->stream);
    mem_free(o);
}

/* The follower needs the log from the oldest state on that is being sent. */
static void retain(struct replica *r)
{
    uint64_t from = UINT64_MAX;
    LIST_EACH(node, &r->worker->transfers.outgoing)
    {
        const struct outgoing *o = LIST_ENTRY(node, struct outgoing, node);
        if (o->replica == r && !o->over && (o->snapshot != NULL || o->asked) &&
            o->lsn < from)
            from = o->lsn;
    }
    shard_retain(r->shard, from);
}

bool transfers_admit(struct node *n)
{
    uint32_t *sending = &n->snapshots_sending;
    if (__atomic_fetch_add(sending, 1, __ATOMIC_RELAXED) < TRANSFERS_AT_ONCE)
        return true;
    __atomic_fetch_sub(sending, 1, __ATOMIC_RELAXED);
    return false;
}

static void leave(struct outgoing *o)
{
    if (o->admitted)
        __atomic_fetch_sub(&o->replica->worker->node->snapshots_sending, 1,
                           __ATOMIC_RELAXED);
    o->admitted = false;
}

/* Whether it may begin. What is always small, the meta shard and what goes to a
 * witness, does not wait behind what may take minutes. */
static bool enter(struct outgoing *o)
{
    const struct replica *r = o->replica;
    if (o->admitted || r->id == SHARD_META ||
        !shard_sends_payload(r->shard, o->to))
        return true;
    o->admitted = transfers_admit(r->worker->node);
    return o->admitted;
}

static void stop_aiming(struct outgoing *o)
{
    if (o->aims)
        flusher_aim(&o->replica->flusher, SHARD_FLUSH_ALL);
    o->aims = false;
}

void outgoing_end(struct outgoing *o, bool ok)
{
    struct replica *r = o->replica;
    struct transfer_counts *counts = &r->worker->transfers.counts;
    if (!o->over) {
        log_info(ok ? "snapshot sent" : "snapshot given up",
                 LOG_UINT("shard", r->id), LOG_UINT("to", o->to),
                 LOG_UINT("lsn", o->lsn), LOG_UINT("bytes", o->bytes));
        counts->sent += ok;
        counts->failed += !ok;
        o->over = true;
        leave(o);
        stop_aiming(o);
        retain(r);
        if (o->call.peer != 0)
            near_answer(r->worker, o->call, ok ? ERR_OK : ERR_CANCELLED);
        else if (!o->renews && !is_superseded(o)) /* raft waits for the later */
            shard_snapshot_sent(r->shard, clock_mono_us(), o->to, ok);
        worker_wake(r->worker);
    }
    if (!o->reading)
        outgoing_free(o);
}

/* ---- the stream -------------------------------------------------------------
 */

static void outgoing_run(struct helper_job *job)
{
    struct outgoing *o = LIST_ENTRY(job, struct outgoing, job);
    struct buf chunk;
    buf_init(&chunk, ENGINE_CHUNK_BYTES_MAX);
    o->err = snapshot_chunk(o->snapshot, clock_mono_us(), TRANSFER_CHUNK_BYTES,
                            &chunk);
    struct bytes bytes = bytes_of(buf_bytes(&chunk), buf_len(&chunk));
    if (o->err == ERR_OK) {
        o->there += bytes.len;
        o->err = digest_chunk(o->digest, bytes);
    }
    if (o->err == ERR_OK && !snapshot_skipped(o->snapshot)) {
        o->err = buf_append_u32_le(&o->stream, (uint32_t)bytes.len);
        if (o->err == ERR_OK)
            o->err = buf_append(&o->stream, bytes.data, bytes.len);
    }
    if (o->err == ERR_EOF) {
        struct digest_result all;
        digest_finish(o->digest, &all);
        memcpy(o->sum, all.whole, sizeof(o->sum));
    }
    buf_free(&chunk);
}

static void outgoing_go_on(struct outgoing *o);

static void outgoing_read_done(struct inbox_message *m, void *owner)
{
    (void)owner;
    struct outgoing *o = LIST_ENTRY(m, struct outgoing, job.message);
    o->reading = false;
    o->exhausted |= o->err == ERR_EOF;
    o->there_shown = o->there;
    if (snapshot_skipped(o->snapshot))
        o->progress_us = clock_mono_us();
    if (o->over)
        outgoing_free(o);
    else if (o->err != ERR_OK && o->err != ERR_EOF)
        outgoing_end(o, false);
    else
        outgoing_go_on(o);
}

void transfers_unsent(struct inbox_message *m, void *owner)
{
    struct worker *w = owner;
    struct transfer_parcel *p = LIST_ENTRY(m, struct transfer_parcel, message);
    struct outgoing *o = outgoing_find(&w->transfers, (uint32_t)p->chunk.shard,
                                       p->peer, p->chunk.transfer);
    if (o != NULL)
        outgoing_lost(o);
    mem_free(p);
}

static void deliver_to_pace(struct inbox_message *m, void *owner)
{
    transfers_pace(owner, LIST_ENTRY(m, struct transfer_parcel, message));
}

/* The first frame only names the state; the last one has the digest. */
static void outgoing_send_frame(struct outgoing *o)
{
    size_t len = o->seq == 0 ? 0 : buf_len(&o->stream);
    if (len > SNAPSHOT_CHUNK_MAX)
        len = SNAPSHOT_CHUNK_MAX;
    bool first = o->seq == 0;
    bool last = !first && o->exhausted && len == buf_len(&o->stream);
    struct snapshot_chunk chunk = {
        .shard = o->replica->id,
        .transfer = o->id,
        .lsn = o->lsn,
        .term = o->term,
        .seq = o->seq,
        .done = last,
        .resumable = first,
        .about = o->about,
        .data = bytes_of(buf_bytes(&o->stream), len),
        .config =
            bytes_of(buf_bytes(&o->config), first ? buf_len(&o->config) : 0),
        .sum = bytes_of(o->sum, last ? sizeof(o->sum) : 0)};
    struct transfer_parcel *p = transfers_parcel(o->to, &chunk);
    p->message.deliver = deliver_to_pace;
    if (o->seq == 1)
        o->speed = (struct transfer_speed){clock_mono_us(), o->there_shown};
    o->seq++;
    o->done_sent = last;
    o->bytes += len;
    o->replica->worker->transfers.counts.sent_bytes += len;
    buf_consume(&o->stream, len);
    inbox_post_reserved(&o->replica->worker->node->workers[0].inbox,
                        &p->message);
}

static bool may_send(const struct outgoing *o)
{
    return o->acked > 0 && !o->done_sent && o->seq - o->acked < o->window &&
           (buf_len(&o->stream) >= SNAPSHOT_CHUNK_MAX || o->exhausted);
}

/* Reads ahead while frames are on their way; sends when it may. */
static void outgoing_go_on(struct outgoing *o)
{
    if (o->reading || o->lost || o->acked == 0)
        return; /* the stream is the helper's, or the receiver's turn */
    while (may_send(o))
        outgoing_send_frame(o);
    if (!o->exhausted && buf_len(&o->stream) < SNAPSHOT_CHUNK_MAX) {
        o->reading = true;
        helper_submit(&o->replica->worker->helper, HELPER_STORE, &o->job);
    }
}

/* Offers the state to the receiver, from the beginning. */
static void outgoing_stream(struct outgoing *o)
{
    CHECK(!o->reading && o->snapshot != NULL);
    o->id = ++o->replica->worker->transfers.next_id;
    o->seq = o->acked = 0;
    o->lost = o->exhausted = o->done_sent = false;
    o->speed.began_us = 0;
    buf_clear(&o->stream);
    outgoing_send_frame(o);
}

/* The receiver has said what it has. */
static int outgoing_resume(struct outgoing *o, const struct snapshot_ack *ack)
{
    o->window = ack->window < 1                       ? 1
                : ack->window > LINKS_SNAPSHOT_WINDOW ? LINKS_SNAPSHOT_WINDOW
                                                      : (uint32_t)ack->window;
    digest_free(o->digest);
    o->digest = digest_new(NULL, NULL);
    o->there = o->there_shown = 0;
    if (ack->place.len > 0) {
        o->replica->worker->transfers.counts.resumed++;
        log_info("a snapshot goes on where it was left",
                 LOG_UINT("shard", o->replica->id), LOG_UINT("to", o->to),
                 LOG_UINT("lsn", o->lsn));
    }
    return snapshot_rewind(o->snapshot, ack->place);
}

void outgoing_lost(struct outgoing *o)
{
    if (o->snapshot != NULL)
        o->lost = true;
    else if (!o->asked)
        outgoing_end(o, false);
}

void outgoing_acked(struct outgoing *o, const struct snapshot_ack *ack)
{
    if (o->lost || ack->seq < o->acked)
        return; /* of before, or repeated */
    if (ack->err == ERR_BUSY && o->acked == 0) {
        o->lost = true; /* it stores what came before: the tick asks again */
        return;
    }
    if (ack->err != ERR_OK || ack->seq >= o->seq) {
        /* STALE: it has everything up to there by now; or has given up. */
        outgoing_end(o, ack->err == ERR_STALE && !o->renews);
        return;
    }
    int err = o->acked == 0 ? outgoing_resume(o, ack) : ERR_OK;
    o->progress_us = clock_mono_us();
    o->acked = ack->seq + 1;
    if (err != ERR_OK)
        outgoing_end(o, false);
    else if (o->done_sent && o->acked == o->seq)
        outgoing_end(o, true);
    else
        outgoing_go_on(o);
}

/* ---- the beginning ----------------------------------------------------------
 */

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
    o->about = snapshot_about(o->snapshot);
    return engine_info(r->engine, SHARD_INFO_CONFIG, &o->config);
}

struct outgoing *outgoing_new(struct replica *r, raft_id to)
{
    struct outgoing *o = mem_zalloc(sizeof(*o));
    o->replica = r;
    o->to = to;
    o->job.run = outgoing_run;
    o->job.message.deliver = outgoing_read_done;
    o->began_us = o->progress_us = clock_mono_us();
    buf_init(&o->config, SNAPSHOT_CHUNK_MAX);
    buf_init(&o->stream, TRANSFER_STREAM_MAX);
    list_push_back(&r->worker->transfers.outgoing, &o->node);
    return o;
}

void transfers_start(struct transfers *t, struct replica *r, raft_id to)
{
    CHECK(t == &r->worker->transfers);
    /* Raft is in the middle of a step now; the tick opens the snapshot. */
    (void)outgoing_new(r, to);
}

void transfers_renew(struct transfers *t, struct replica *r, raft_id to)
{
    CHECK(t == &r->worker->transfers);
    if (outgoing_any(t, r->id, to))
        return; /* it gets a state anyway */
    struct outgoing *o = outgoing_new(r, to);
    o->renews = true;
    o->least = o->aim = shard_commit_lsn(r->shard);
    o->most = UINT64_MAX;
}

/* Whether the state says that the receiver is a witness, if it is one: a state
 * without records must never be taken by another, which the receiver may still
 * be (raft_role_fits). */
static bool names_receiver(const struct outgoing *o)
{
    struct raft_config c;
    return shard_sends_payload(o->replica->shard, o->to) ||
           (raft_config_decode(
                bytes_of(buf_bytes(&o->config), buf_len(&o->config)), &c) ==
                ERR_OK &&
            raft_config_is_witness(&c, o->to));
}

/* Whether the state is one that was asked for, or may be sent; has one made if
 * it is too old. */
static int outgoing_fits(struct outgoing *o)
{
    bool bounded = o->most > 0;
    if (bounded ? o->lsn >= o->least && o->lsn <= o->most : names_receiver(o)) {
        stop_aiming(o);
        return ERR_OK;
    }
    if (bounded && o->lsn > o->most)
        return ERR_STALE;
    snapshot_close(TAKE(o->snapshot));
    buf_clear(&o->config);
    o->aims = true;
    flusher_aim(&o->replica->flusher,
                bounded ? o->aim : shard_commit_lsn(o->replica->shard));
    return ERR_AGAIN;
}

/* Who follows does not offer: the leader has told enough by its entries. Nor is
 * one offered to who has them all. */
static int outgoing_offer(struct outgoing *o)
{
    struct replica *r = o->replica;
    struct raft_msg offer;
    if (o->call.peer != 0 || o->renews)
        return ERR_OK;
    int err = shard_snapshot_offer(r->shard, o->to, o->lsn, &offer);
    if (err == ERR_OK)
        peers_send_raft(r->worker, r->id, &offer, NULL, NULL);
    return err;
}

static void outgoing_begin(struct outgoing *o)
{
    struct replica *r = o->replica;
    if (!transfers_may_move(r->worker, r->id, o->to,
                            shard_sends_payload(r->shard, o->to)
                                ? FENCE_PAYLOAD
                                : FENCE_HEADERS,
                            0)) {
        outgoing_end(o, false);
        return;
    }
    if (near_ask(o)) {
        retain(r);
        return;
    }
    if (!enter(o)) {
        o->progress_us = clock_mono_us();
        return; /* at the tick, when another is over */
    }
    int err = outgoing_open(o);
    if (err == ERR_OK)
        err = outgoing_fits(o);
    if (err == ERR_OK)
        err = outgoing_offer(o);
    if (err == ERR_AGAIN)
        return;
    if (err != ERR_OK) {
        log_warn("no snapshot to send", LOG_UINT("shard", r->id),
                 LOG_STR("error", err_text(err)));
        outgoing_end(o, false);
        return;
    }
    log_info("sending a snapshot", LOG_UINT("shard", r->id),
             LOG_UINT("to", o->to), LOG_UINT("lsn", o->lsn));
    retain(r);
    outgoing_stream(o);
}

void outgoing_tick(struct outgoing *o, usec_t now)
{
    if (o->over)
        return;
    if (is_superseded(o)) {
        outgoing_end(o, false);
        return;
    }
    if (o->asked)
        return;
    usec_t patience = o->lost ? TRANSFER_RESUME_US : TRANSFER_STALL_US;
    if (now - o->progress_us > patience)
        outgoing_end(o, false);
    else if (o->snapshot == NULL)
        outgoing_begin(o);
    else if (o->lost && !o->reading && o->replica->worker->reachable[o->to])
        outgoing_stream(o);
}
