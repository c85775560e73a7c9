#include "node/server/quarantine.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/fault.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/server/catalog_feed.h"
#include "node/server/digester.h"
#include "node/server/group_edit.h"
#include "node/server/recovery.h"
#include "node/server/worker.h"

/* The mark: u32 format, u64 lsn, u64 term; of a replica that left besides, u64
 * term and u32 vote that it gave, u32 whether it asks; the configuration
 * (raft_config_encode). An older release does not know of the latter, and does
 * not open the replica. */
#define MARK_FORMAT 1
#define MARK_FORMAT_LEFT 2
#define MARK_HEAD 20
#define MARK_HEAD_LEFT 36
#define MARK_MAX 65536
/* Between two attempts to put a store away. */
#define AGAIN_US USEC_PER_SEC

/* ---- the mark --------------------------------------------------------------
 */

/* Not the newest configuration: the replica begins with what is in the mark as
 * with something committed, and the newest may be taken back. It asks nobody,
 * so it need not know who may vote by now; the others tell. */
static void mark_take(const struct shard *s, struct quarantine_mark *out)
{
    const struct raft *raft = shard_raft(s);
    *out = (struct quarantine_mark){.lsn = raft_last_lsn(raft)};
    CHECK(raft_term_at(raft, out->lsn, &out->term) == ERR_OK);
    out->config = *raft_config_committed(raft);
}

static void mark_encode(const struct quarantine_mark *m, struct buf *out)
{
    uint8_t head[MARK_HEAD_LEFT];
    bool left = m->hard_term > 0 || m->asks;
    put_u32_le(head, left ? MARK_FORMAT_LEFT : MARK_FORMAT);
    put_u64_le(head + 4, m->lsn);
    put_u64_le(head + 12, m->term);
    put_u64_le(head + 20, m->hard_term);
    put_u32_le(head + 28, m->vote);
    put_u32_le(head + 32, m->asks);
    CHECK(buf_append(out, head, left ? sizeof(head) : MARK_HEAD) == ERR_OK);
    CHECK(raft_config_encode(&m->config, out) == ERR_OK);
}

static int mark_decode(struct bytes in, struct quarantine_mark *out)
{
    struct cursor c = cursor_of(in.data, in.len);
    uint32_t format = cursor_u32_le(&c);
    *out = (struct quarantine_mark){.lsn = cursor_u64_le(&c)};
    out->term = cursor_u64_le(&c);
    size_t head = MARK_HEAD;
    if (format == MARK_FORMAT_LEFT) {
        out->hard_term = cursor_u64_le(&c);
        out->vote = (raft_id)cursor_u32_le(&c);
        out->asks = cursor_u32_le(&c) != 0;
        head = MARK_HEAD_LEFT;
    }
    if (!cursor_ok(&c) || (format != MARK_FORMAT && format != MARK_FORMAT_LEFT))
        return ERR_CORRUPT;
    struct bytes config = bytes_of(in.data + head, in.len - head);
    return raft_config_decode(config, &out->config) == ERR_OK ? ERR_OK
                                                              : ERR_CORRUPT;
}

int quarantine_find(const struct replica *r, struct quarantine_mark *out,
                    struct err_msg *msg)
{
    struct buf text;
    buf_init(&text, MARK_MAX);
    int err = datadir_shard_mark(r->worker->node->datadir, r->id, &text);
    if (err == ERR_OK)
        err = mark_decode(bytes_of(buf_bytes(&text), buf_len(&text)), out);
    buf_free(&text);
    return err == ERR_OK || err == ERR_NOT_FOUND
               ? err
               : err_set(msg, err,
                         "the mark rebuilding-%u in the data directory cannot "
                         "be read: %s",
                         r->id, err_text(err));
}

/* One that is marked already has less than it promised until it is cured. */
static void mark_join(const struct quarantine_mark *before, bool cured,
                      struct quarantine_mark *m)
{
    if (before->term > m->term ||
        (before->term == m->term && before->lsn > m->lsn)) {
        m->lsn = before->lsn;
        m->term = before->term;
    }
    m->asks |= before->asks && !cured;
}

static int put_away(const struct replica *r, struct quarantine_mark *mark,
                    struct err_msg *msg)
{
    bool cured = raft_amnesiac(shard_raft(r->shard)) == RAFT_AMNESIA_NONE;
    struct quarantine_mark before;
    struct buf text;
    int err = r->marked ? quarantine_find(r, &before, msg) : ERR_NOT_FOUND;
    if (err == ERR_OK)
        mark_join(&before, cured, mark);
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        return err;
    buf_init(&text, MARK_MAX);
    mark_encode(mark, &text);
    err = datadir_quarantine(r->worker->node->datadir, r->id,
                             bytes_of(buf_bytes(&text), buf_len(&text)), msg);
    buf_free(&text);
    return err;
}

/* Where the whole node is being rebuilt it may not know what it had. */
int quarantine_leave(const struct replica *r, struct err_msg *msg)
{
    const struct raft *raft = shard_raft(r->shard);
    struct quarantine_mark mark;
    mark_take(r->shard, &mark);
    mark.hard_term = raft_term(raft);
    mark.vote = raft_voted_for(raft);
    mark.asks =
        r->worker->node->rebuilding && raft_amnesiac(raft) != RAFT_AMNESIA_NONE;
    int err = put_away(r, &mark, msg);
    if (err == ERR_OK)
        (void)fault_hit("quarantine.left");
    return err;
}

/* ---- audit -----------------------------------------------------------------
 */

struct audit_order {
    char what[GROUP_EDIT_WHAT_MAX];
    char reason[GROUP_EDIT_TEXT_MAX];
};

static void audit_now(struct worker *first, void *arg)
{
    struct audit_order *a = arg;
    char who[GROUP_EDIT_WHO_MAX];
    snprintf(who, sizeof(who), "node %s", first->node->config->node);
    group_edit_audit(first, who, a->what, "", "", a->reason);
    mem_free(a);
}

void quarantine_audit(struct worker *w, const char *what, const char *reason)
{
    struct audit_order *a = mem_zalloc(sizeof(*a));
    snprintf(a->what, sizeof(a->what), "%s", what);
    snprintf(a->reason, sizeof(a->reason), "%s", reason);
    worker_run(&w->node->workers[0], audit_now, a);
}

/* ---- going -----------------------------------------------------------------
 */

int quarantine_begin(struct replica *r, const char *why)
{
    struct shard_status s;
    char what[GROUP_EDIT_WHAT_MAX];
    shard_status(r->shard, clock_mono_us(), &s);
    if (r->deaf)
        return ERR_OK;
    if (s.role != RAFT_FOLLOWER || s.amnesia != RAFT_AMNESIA_NONE ||
        s.salvage_pending > 0 || r->closing || r->marked ||
        r->worker->node->rebuilding)
        return ERR_AGAIN;
    if (!raft_amnesia_possible(raft_config_committed(shard_raft(r->shard)),
                               r->worker->node->config->id))
        return ERR_INVALID;
    log_error("a replica is put into quarantine, and made anew from the others",
              LOG_UINT("shard", r->id), LOG_STR("reason", why));
    snprintf(what, sizeof(what), "quarantine of the replica of shard %u",
             r->id);
    quarantine_audit(r->worker, what, why);
    shard_distrust(r->shard, true);
    renewal_end(r);
    r->deaf = true;
    r->close_mark = log_pipe_mark(&r->worker->log);
    r->scrub.quarantines++;
    worker_wake(r->worker);
    return ERR_OK;
}

/* The store that was put away, deleted by the helper. */
struct removal {
    struct helper_job job;
    struct datadir *datadir;
    uint16_t shard;
    int err;
};

static void removal_run(struct helper_job *job)
{
    struct removal *d = LIST_ENTRY(job, struct removal, job);
    d->err = datadir_drop_discarded(d->datadir, d->shard);
}

static void removal_done(struct inbox_message *m, void *owner)
{
    (void)owner;
    struct removal *d = LIST_ENTRY(m, struct removal, job.message);
    if (d->err != ERR_OK)
        log_warn("a damaged store that was put away cannot be deleted: delete "
                 "discarded-shard-<id> in the data directory",
                 LOG_UINT("shard", d->shard),
                 LOG_STR("error", err_text(d->err)));
    mem_free(d);
}

static void remove_soon(struct worker *w, uint16_t shard)
{
    struct removal *d = mem_zalloc(sizeof(*d));
    d->datadir = w->node->datadir;
    d->shard = shard;
    d->job.run = removal_run;
    d->job.message.deliver = removal_done;
    helper_submit(&w->helper, HELPER_UPKEEP, &d->job);
}

/* After this the replica is an empty one with the same promise. As with a
 * snapshot that is adopted, what cannot be finished is left to a restart. */
static void begin_anew(struct worker *w, struct replica *r)
{
    const struct raft *raft = shard_raft(r->shard);
    uint64_t term = raft_term(raft);
    raft_id vote = raft_voted_for(raft);
    struct err_msg msg = {.text = ""};
    shard_free(r->shard);
    engine_close(r->engine);
    mem_free(r->flusher.drops);
    flusher_init(&r->flusher, r);
    r->steer = (struct steer){0};
    r->scrub.broken = false;
    r->scrub.doubt_us = 0;
    r->scrub.met = 0;
    log_pipe_forget(&w->log, r->id);
    log_pipe_reset(&w->log, r->id, 0, (uint64_t)clock_wall_us());
    int err = datadir_shard_path(w->node->datadir, r->id, r->path);
    if (err == ERR_OK)
        err = recovery_open_anew(r, term, vote, &msg);
    if (err != ERR_OK)
        log_error("a replica in quarantine cannot be opened anew; a restart "
                  "will",
                  LOG_UINT("shard", r->id), LOG_STR("reason", msg.text));
    CHECK(err == ERR_OK);
    r->deaf = false;
}

/* An attempt that failed may have left its mark, by which the next start puts
 * the store away whatever else was promised by then. So the replica stays deaf,
 * and promises nothing, until one succeeds. */
static void go(struct worker *w, struct replica *r)
{
    struct quarantine_mark mark;
    struct err_msg msg;
    mark_take(r->shard, &mark);
    int err = put_away(r, &mark, &msg);
    if (err != ERR_OK) {
        log_error("a replica cannot be put into quarantine; it will be tried "
                  "again",
                  LOG_UINT("shard", r->id), LOG_STR("reason", msg.text));
        r->put_away_us = clock_mono_us() + AGAIN_US;
        return;
    }
    (void)fault_hit("quarantine.marked");
    begin_anew(w, r);
    for (uint32_t id = 1; id <= CONFIG_NODES_MAX; id++)
        if (w->reachable[id])
            shard_peer(r->shard, clock_mono_us(), id, true);
    catalog_feed_keys(w, r);
    shard_set_memtable_bytes(r->shard, worker_memtable_share(w));
    steering_soon(&w->steering);
    remove_soon(w, r->id);
}

/* Whether nothing of it is on its way any more. A snapshot that the shard has
 * decided for, which may be after it became deaf, is adopted first: nobody else
 * would tell the shard how that ended. */
static bool is_idle(struct worker *w, struct replica *r)
{
    return !shard_installing(r->shard) && transfers_cancel(&w->transfers, r) &&
           !digester_yield(r) && !r->flusher.running &&
           r->flusher.flush == NULL && !shard_flush_pending(r->shard) &&
           shard_durable(r->shard) == shard_written(r->shard) &&
           log_pipe_durable(&w->log, r->close_mark);
}

void quarantine_turn(struct worker *w)
{
    for (uint32_t i = 0; i < w->replica_count; i++) {
        struct replica *r = w->replicas[i];
        if (!r->deaf || r->closing || w->stopping ||
            clock_mono_us() < r->put_away_us)
            continue;
        if (is_idle(w, r))
            go(w, r);
    }
}

/* ---- coming back -----------------------------------------------------------
 */

struct unmark_job {
    struct helper_job job;
    struct datadir *datadir;
    uint16_t shard;
    int err;
};

static void unmark_run(struct helper_job *job)
{
    struct unmark_job *u = LIST_ENTRY(job, struct unmark_job, job);
    u->err = datadir_shard_rebuilt(u->datadir, u->shard);
}

static void unmark_done(struct inbox_message *m, void *owner)
{
    struct worker *w = owner;
    struct unmark_job *u = LIST_ENTRY(m, struct unmark_job, job.message);
    struct replica *r = worker_replica(w, u->shard);
    if (r != NULL && u->err == ERR_OK)
        r->marked = false;
    if (r != NULL)
        r->unmarking = false;
    if (u->err != ERR_OK)
        log_warn("a replica is rebuilt, but its directory is still marked",
                 LOG_UINT("shard", u->shard),
                 LOG_STR("error", err_text(u->err)));
    mem_free(u);
}

/* Not before its store has the configuration, which else is in the mark alone.
 */
static void unmark(struct worker *w, struct replica *r)
{
    if (r->unmarking || engine_flushed_lsn(r->engine) == 0)
        return;
    struct unmark_job *u = mem_zalloc(sizeof(*u));
    u->datadir = w->node->datadir;
    u->shard = r->id;
    u->job.run = unmark_run;
    u->job.message.deliver = unmark_done;
    r->unmarking = true;
    helper_submit(&w->helper, HELPER_UPKEEP, &u->job);
}

static void cured(struct worker *w, struct replica *r)
{
    char what[GROUP_EDIT_WHAT_MAX];
    r->mending = false;
    log_info("a replica is rebuilt and votes and answers again",
             LOG_UINT("shard", r->id));
    snprintf(what, sizeof(what), "the replica of shard %u is rebuilt", r->id);
    quarantine_audit(w, what, "it has everything that it had promised");
    if (r->id == SHARD_META)
        catalog_feed_committed(w, r->shard, NULL);
}

void quarantine_check(struct worker *w)
{
    for (uint32_t i = 0; i < w->replica_count; i++) {
        struct replica *r = w->replicas[i];
        if (!r->marked || r->deaf ||
            raft_amnesiac(shard_raft(r->shard)) != RAFT_AMNESIA_NONE ||
            shard_installing(r->shard))
            continue;
        if (r->mending)
            cured(w, r);
        unmark(w, r);
    }
}

bool quarantine_holds_catalog(const struct replica *r)
{
    return r->mending;
}
