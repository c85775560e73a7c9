/* Snapshots that this node receives. */
#include <string.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/server/digester.h"
#include "node/server/peers.h"
#include "node/server/transfers_impl.h"
#include "node/store/effects.h"

/* ---- answers ----------------------------------------------------------------
 */

static void deliver_ack_to_link(struct inbox_message *m, void *owner)
{
    struct worker *first = owner;
    struct transfer_parcel *p = LIST_ENTRY(m, struct transfer_parcel, message);
    if (first->peers != NULL)
        (void)links_snapshot_ack(peers_links(first->peers), p->peer, &p->ack);
    mem_free(p);
}

static void post_ack(struct worker *w, links_peer to,
                     const struct snapshot_ack *ack)
{
    struct transfer_parcel *p = transfers_parcel_ack(to, ack);
    p->message.deliver = deliver_ack_to_link;
    inbox_post_reserved(&w->node->workers[0].inbox, &p->message);
}

static void refuse_frame(struct worker *w, links_peer from,
                         const struct snapshot_chunk *chunk, int err)
{
    const struct snapshot_ack ack = {.shard = chunk->shard,
                                     .transfer = chunk->transfer,
                                     .seq = chunk->seq,
                                     .err = err};
    post_ack(w, from, &ack);
}

/* About what was stored; the first one says what there is. */
static void send_ack(const struct incoming *in, int err)
{
    bool first = in->storing == 0;
    const struct snapshot_ack ack = {
        .shard = in->replica->id,
        .transfer = in->id,
        .seq = in->storing,
        .err = err,
        .window = LINKS_SNAPSHOT_WINDOW,
        .place =
            bytes_of(buf_bytes(&in->place), first ? buf_len(&in->place) : 0)};
    post_ack(in->replica->worker, in->from, &ack);
}

/* ---- the end ----------------------------------------------------------------
 */

void incoming_free(struct incoming *in)
{
    list_remove(&in->node);
    ingest_leave(TAKE(in->ingest));
    digest_free(in->digest);
    buf_free(&in->stream);
    buf_free(&in->place);
    buf_free(&in->history);
    buf_free(&in->arrived);
    mem_free(in);
}

static void clear_run(struct helper_job *job)
{
    struct incoming *in = LIST_ENTRY(job, struct incoming, job);
    ingest_leave(TAKE(in->ingest));
    in->err = ingest_clear(in->replica->path);
}

static void clear_done(struct inbox_message *m, void *owner)
{
    (void)owner;
    struct incoming *in = LIST_ENTRY(m, struct incoming, job.message);
    if (in->err != ERR_OK)
        log_warn("what was received in vain cannot be removed; the next "
                 "attempt does it, or the next start",
                 LOG_UINT("shard", in->replica->id),
                 LOG_STR("error", err_text(in->err)));
    incoming_free(in);
}

void incoming_leave(struct incoming *in)
{
    if (!in->renews) {
        incoming_free(in);
        return;
    }
    in->state = INCOMING_CLEARING;
    in->job.run = clear_run;
    in->job.message.deliver = clear_done;
    helper_submit(&in->replica->worker->helper, HELPER_STORE, &in->job);
}

static void incoming_end(struct incoming *in, int err)
{
    struct replica *r = in->replica;
    if (in->renews)
        renewal_end(r);
    struct transfer_counts *counts = &r->worker->transfers.counts;
    log_info(err == ERR_OK ? "snapshot received" : "snapshot refused",
             LOG_UINT("shard", r->id), LOG_UINT("from", in->from),
             LOG_UINT("lsn", in->lsn), LOG_STR("result", err_text(err)));
    counts->received += err == ERR_OK;
    counts->failed += err != ERR_OK;
    send_ack(in, err);
    if (in->renews && err != ERR_OK) {
        incoming_leave(in);
        return;
    }
    ingest_abort(TAKE(in->ingest));
    incoming_free(in);
}

/* ---- on the helper ----------------------------------------------------------
 */

static int digest_there(void *user, struct bytes key, struct bytes value)
{
    struct incoming *in = user;
    in->there += key.len + value.len;
    return digest_add(in->digest, key, value);
}

static int incoming_open(struct incoming *in)
{
    int err = ingest_begin(in->replica->path, in->lsn, in->term, in->resumable,
                           &in->ingest);
    if (err != ERR_OK)
        return err;
    if (in->witness)
        ingest_refuse_records(in->ingest);
    struct bytes place = ingest_place(in->ingest);
    return place.len > 0 ? ingest_each(in->ingest, digest_there, in) : ERR_OK;
}

static int store_chunk(struct incoming *in, struct bytes chunk)
{
    if (chunk.len < 4)
        return ERR_MALFORMED;
    int err = digest_chunk(in->digest, chunk);
    if (err == ERR_OK)
        err = ingest_chunk(in->ingest, chunk);
    in->there += chunk.len;
    return err;
}

/* Stores the whole chunks that have arrived. */
static int store_stream(struct incoming *in)
{
    int err = ERR_OK;
    while (err == ERR_OK && buf_len(&in->stream) >= 4) {
        uint32_t len = get_u32_le(buf_bytes(&in->stream));
        if (len > ENGINE_CHUNK_BYTES_MAX)
            return ERR_MALFORMED;
        if (buf_len(&in->stream) < 4 + (size_t)len)
            break;
        err = store_chunk(in, bytes_of(buf_bytes(&in->stream) + 4, len));
        if (err == ERR_OK)
            buf_consume(&in->stream, 4 + (size_t)len);
    }
    return err;
}

/* All of it is there: is it what was read at the other end? A state of heads
 * lacks the history that every other one has. Late, it may reach a node that
 * was a witness and has payload by now: there it would be a lie. */
static int complete(struct incoming *in)
{
    struct digest_result all;
    if (buf_len(&in->stream) > 0)
        return ERR_MALFORMED;
    digest_finish(in->digest, &all);
    if (in->has_sum && memcmp(all.whole, in->sum, sizeof(in->sum)) != 0)
        return ERR_CORRUPT;
    int err = ingest_info(in->ingest, SHARD_INFO_DEDUPE, &in->history);
    if (err == ERR_NOT_FOUND && in->misnamed)
        return ERR_INVALID;
    return ingest_finish(TAKE(in->ingest));
}

static void incoming_run(struct helper_job *job)
{
    struct incoming *in = LIST_ENTRY(job, struct incoming, job);
    in->err = in->ingest == NULL ? incoming_open(in) : ERR_OK;
    if (in->err == ERR_OK)
        in->err = store_stream(in);
    if (in->err == ERR_OK && in->storing_done)
        in->err = complete(in);
}

/* ---- adopting ---------------------------------------------------------------
 */

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

/* Complete on disk: lets the shard decide. Who leads is told, whoever sent. */
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
    int err = shard_installed(r->shard, now, shard_leader(r->shard), in->lsn,
                              in->term, &in->config);
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

/* Complete on disk, and of a state that the log here has: it takes the place of
 * the damaged store as soon as that is at the same LSN. One that the log does
 * not reach is taken like any other: the leader may have dropped what comes
 * before it, and only this brings it. */
static void incoming_renew(struct incoming *in, usec_t now)
{
    struct replica *r = in->replica;
    in->state = INCOMING_RENEWING;
    if (still_sending(&r->worker->transfers, r))
        return;
    int err = renewal_complete(r, in->lsn, in->term);
    if (err == ERR_AGAIN && in->lsn > raft_last_lsn(shard_raft(r->shard))) {
        renewal_end(r);
        in->renews = false;
        incoming_install(in, now);
    } else if (err != ERR_AGAIN) {
        incoming_end(in, err);
    }
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
    renewal_end(r); /* the store that it was about is gone */
    r->scrub.broken = false;
    incoming_end(in, ERR_OK);
    worker_wake(r->worker);
}

/* ---- frames -----------------------------------------------------------------
 */

static int check_record(void *user, struct bytes key, struct bytes value)
{
    struct incoming *in = user;
    bool sealed;
    return shard_check_record(in->replica->shard, key, value, &sealed);
}

/* What comes in place of a store that has it, too, damaged as it is, must be
 * authentic: in each of the whole chunks that are about to be stored. */
static int check_stream(struct incoming *in)
{
    struct cursor c = cursor_of(buf_bytes(&in->stream), buf_len(&in->stream));
    int err = ERR_OK;
    while (err == ERR_OK && cursor_left(&c) >= 4) {
        uint32_t len = cursor_u32_le(&c);
        const uint8_t *chunk = cursor_take(&c, len);
        if (!cursor_ok(&c))
            break; /* the rest of it is still to come */
        err = digest_each(bytes_of(chunk, len), check_record, in);
    }
    return err;
}

/* Gives the helper what has arrived. */
static void incoming_store(struct incoming *in)
{
    CHECK(buf_append(&in->stream, buf_bytes(&in->arrived),
                     buf_len(&in->arrived)) == ERR_OK);
    buf_clear(&in->arrived);
    int err = in->renews ? check_stream(in) : ERR_OK;
    if (err != ERR_OK) {
        log_error("a record that came for a damaged store cannot be opened",
                  LOG_UINT("shard", in->replica->id),
                  LOG_STR("error", err_text(err)));
        incoming_end(in, err);
        return;
    }
    in->storing = in->seq;
    in->storing_done = in->done;
    in->state = INCOMING_STORING;
    helper_submit(&in->replica->worker->helper, HELPER_STORE, &in->job);
}

static void incoming_stored(struct inbox_message *m, void *owner)
{
    (void)owner;
    struct incoming *in = LIST_ENTRY(m, struct incoming, job.message);
    in->state = INCOMING_RECEIVING;
    in->progress_us = clock_mono_us();
    if (in->err == ERR_OK && in->storing == 0 && in->ingest != NULL) {
        struct bytes place = ingest_place(in->ingest);
        CHECK(buf_append(&in->place, place.data, place.len) == ERR_OK);
        in->speed = (struct transfer_speed){in->progress_us, in->there};
    }
    in->there_shown = in->there;
    if (in->err != ERR_OK) {
        incoming_end(in, in->err);
    } else if (in->storing_done && in->renews) {
        incoming_renew(in, in->progress_us);
    } else if (in->storing_done) {
        incoming_install(in, in->progress_us);
    } else {
        send_ack(in, ERR_OK);
        if (in->seq > in->storing)
            incoming_store(in);
    }
}

static struct incoming *incoming_find(struct transfers *t, uint32_t shard)
{
    LIST_EACH(node, &t->incoming)
    {
        struct incoming *in = LIST_ENTRY(node, struct incoming, node);
        if (in->replica->id == shard)
            return in;
    }
    return NULL;
}

static struct incoming *incoming_new(struct replica *r, links_peer from,
                                     const struct snapshot_chunk *chunk,
                                     const struct raft_config *config)
{
    struct incoming *in = mem_zalloc(sizeof(*in));
    in->replica = r;
    in->from = from;
    in->id = chunk->transfer;
    in->lsn = chunk->lsn;
    in->term = chunk->term;
    in->renews = renewal_awaits(r, from);
    /* Of what an earlier attempt left nobody knows whether it is authentic. */
    in->resumable = chunk->resumable && !in->renews;
    in->about = chunk->about;
    in->config = *config;
    in->witness = shard_is_witness(r->shard);
    in->misnamed = !in->witness &&
                   raft_config_is_witness(config, r->worker->node->config->id);
    in->digest = digest_new(NULL, NULL);
    in->job.run = incoming_run;
    in->job.message.deliver = incoming_stored;
    in->began_us = clock_mono_us();
    buf_init(&in->stream, TRANSFER_STREAM_MAX);
    buf_init(&in->place, EFFECTS_KEY_MAX);
    buf_init(&in->history, FLUSH_INFO_BYTES_MAX);
    buf_init(&in->arrived, LINKS_SNAPSHOT_WINDOW * SNAPSHOT_CHUNK_MAX);
    list_push_back(&r->worker->transfers.incoming, &in->node);
    return in;
}

/* First frame of a transfer. ERR_BUSY: it cannot be taken now; ERR_STALE: the
 * log has come that far by itself; errors of renewal_offered. */
static int incoming_begin(struct transfers *t, links_peer from,
                          const struct snapshot_chunk *chunk,
                          struct incoming **in_out)
{
    struct raft_config config;
    struct incoming *old = incoming_find(t, (uint32_t)chunk->shard);
    struct replica *r = worker_replica(t->worker, (uint32_t)chunk->shard);
    if (r == NULL || r->closing || r->deaf || shard_overruled(r->shard) ||
        raft_config_decode(chunk->config, &config) != ERR_OK)
        return ERR_UNAVAILABLE;
    /* For the replica that is to be here, and is being made. */
    if (!raft_role_fits(shard_raft(r->shard), &config))
        return ERR_UNAVAILABLE;
    if (old != NULL && old->state != INCOMING_RECEIVING)
        return ERR_BUSY;
    int err = ERR_OK;
    if (renewal_awaits(r, from))
        err = renewal_offered(r, chunk->lsn, chunk->about);
    else if (chunk->lsn <= shard_commit_lsn(r->shard))
        err = ERR_STALE;
    if (old != NULL && err != ERR_OK)
        incoming_leave(old);
    else if (old != NULL)
        incoming_free(old); /* the new attempt removes what it left */
    if (err != ERR_OK)
        return err;
    *in_out = incoming_new(r, from, chunk, &config);
    return ERR_OK;
}

/* Whether the frame is the next one of the transfer under way. */
static bool is_next(const struct incoming *in, links_peer from,
                    const struct snapshot_chunk *chunk)
{
    return in != NULL && in->from == from && in->id == chunk->transfer &&
           (in->state == INCOMING_RECEIVING || in->state == INCOMING_STORING) &&
           !in->done && chunk->seq == in->seq + 1;
}

void incoming_take(struct transfers *t, links_peer from,
                   const struct snapshot_chunk *chunk)
{
    struct incoming *in = incoming_find(t, (uint32_t)chunk->shard);
    int err = ERR_OK;
    if (!transfers_may_move(t->worker, (uint32_t)chunk->shard, from,
                            transfers_carries(chunk->data), chunk->data.len))
        err = ERR_FORBIDDEN;
    else if (chunk->seq == 0)
        err = incoming_begin(t, from, chunk, &in);
    else if (!is_next(in, from, chunk))
        err = ERR_BUSY;
    else if (in->renews && !renewal_awaits(in->replica, from))
        err = ERR_STALE; /* given up meanwhile */
    if (err == ERR_OK &&
        buf_append(&in->arrived, chunk->data.data, chunk->data.len) != ERR_OK)
        err = ERR_BUSY; /* more than the window */
    if (err != ERR_OK) {
        refuse_frame(t->worker, from, chunk, err);
        return;
    }
    if (in->renews)
        renewal_progress(in->replica);
    in->seq = chunk->seq;
    in->done = chunk->done;
    in->bytes += chunk->data.len;
    t->counts.received_bytes += chunk->data.len;
    in->has_sum = chunk->sum.len == sizeof(in->sum);
    if (in->has_sum)
        memcpy(in->sum, chunk->sum.data, sizeof(in->sum));
    if (in->state == INCOMING_RECEIVING)
        incoming_store(in);
}

/* ---- time -------------------------------------------------------------------
 */

static bool is_given_up(const struct incoming *in)
{
    return in->renews && !in->replica->renewal.on;
}

void incoming_tick(struct incoming *in, usec_t now)
{
    if (in->state == INCOMING_COMPLETE)
        incoming_install(in, now);
    else if (in->state == INCOMING_RENEWING)
        incoming_renew(in, now);
    else if (in->state == INCOMING_RECEIVING &&
             (is_given_up(in) || (now - in->progress_us > TRANSFER_RESUME_US &&
                                  in->progress_us > 0)))
        incoming_leave(in);
}

void incoming_turn(struct incoming *in, usec_t now)
{
    if (in->state == INCOMING_RESETTING &&
        shard_durable(in->replica->shard) >= in->reset_update)
        incoming_adopt(in, now);
    else if (in->state == INCOMING_RENEWING)
        incoming_renew(in, now);
}
