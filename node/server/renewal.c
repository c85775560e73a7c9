#include "node/server/renewal.h"

#include <stdio.h>

#include "node/base/check.h"
#include "node/base/fault.h"
#include "node/base/file.h"
#include "node/base/log.h"
#include "node/server/catalog_feed.h"
#include "node/server/group_edit.h"
#include "node/server/quarantine.h"
#include "node/server/scrubber.h"
#include "node/server/worker.h"

static void tell(struct replica *r, const char *what, const char *reason)
{
    char text[GROUP_EDIT_WHAT_MAX];
    snprintf(text, sizeof(text), "%s of the store of shard %u", what, r->id);
    quarantine_audit(r->worker, text, reason);
}

/* ---- the beginning ---------------------------------------------------------
 */

static bool may_begin(const struct replica *r, raft_id leader)
{
    struct shard_status s;
    shard_status(r->shard, clock_mono_us(), &s);
    return s.role == RAFT_FOLLOWER && s.leader == leader &&
           s.amnesia == RAFT_AMNESIA_NONE && !s.installing && !s.overruled &&
           !s.witness && !r->closing && !r->deaf && !r->marked &&
           !r->worker->node->rebuilding && r->digester == NULL;
}

int renewal_begin(struct replica *r, raft_id leader)
{
    if (r->renewal.on)
        return ERR_BUSY;
    if (!may_begin(r, leader))
        return ERR_AGAIN;
    log_error("a damaged store gets a new one beside it, from the leader",
              LOG_UINT("shard", r->id), LOG_UINT("from", leader));
    tell(r, "renewal", "it is damaged, and the replica cannot be spared");
    scrubber_doubt(r, "the leader has compared it");
    r->renewal = (struct renewal){
        .on = true, .from = leader, .progress_us = clock_mono_us()};
    flusher_aim(&r->flusher, engine_flushed_lsn(r->engine));
    return ERR_OK;
}

bool renewal_awaits(const struct replica *r, raft_id from)
{
    return r->renewal.on && !r->renewal.ready && r->renewal.from == from;
}

static int check_space(const struct replica *r, uint64_t about)
{
    uint64_t room;
    int err = file_free_bytes(r->path, &room);
    if (err != ERR_OK)
        return err;
    room += ingest_left_bytes(r->path); /* it is removed first */
    return room < about + about / 4 + RENEWAL_SPARE_BYTES ? ERR_NO_SPACE
                                                          : ERR_OK;
}

int renewal_offered(struct replica *r, uint64_t lsn, uint64_t about)
{
    int err =
        lsn < engine_flushed_lsn(r->engine) ? ERR_STALE : check_space(r, about);
    if (err == ERR_OK) {
        flusher_aim(&r->flusher, lsn);
        renewal_progress(r);
        return ERR_OK;
    }
    log_error("a damaged store cannot be renewed", LOG_UINT("shard", r->id),
              LOG_UINT("bytes", about), LOG_STR("reason", err_text(err)));
    renewal_end(r);
    return err;
}

void renewal_progress(struct replica *r)
{
    r->renewal.progress_us = clock_mono_us();
}

/* ---- the swap --------------------------------------------------------------
 */

/* A failure leaves one of the two in place, and the log that both go on with:
 * the restart tells which. */
static void swap(struct replica *r)
{
    struct renewal *n = &r->renewal;
    struct err_msg msg;
    int err = ingest_renew(r->engine, n->lsn, n->term, &msg);
    if (err != ERR_OK)
        log_error("a store cannot take the place of a damaged one; a restart "
                  "begins again",
                  LOG_UINT("shard", r->id), LOG_STR("reason", msg.text));
    CHECK(err == ERR_OK);
    (void)fault_hit("renewal.swapped");
    n->swapped = true;
    scrubber_renewed(r);
    log_info("a damaged store was replaced", LOG_UINT("shard", r->id),
             LOG_UINT("lsn", n->lsn));
    tell(r, "end of the renewal", "a new one has taken its place");
}

/* What replicas do in their own time: the sender may not have dropped what was
 * dropped here. And what the catalog was read from was damaged. */
static void catch_up(struct replica *r)
{
    int err = flusher_sweep(&r->flusher);
    if (err != ERR_OK)
        log_warn("a renewed store cannot be searched for what was dropped",
                 LOG_UINT("shard", r->id), LOG_STR("error", err_text(err)));
    if (r->id == SHARD_META)
        catalog_feed_committed(r->worker, r->shard, NULL);
}

int renewal_complete(struct replica *r, uint64_t lsn, uint64_t term)
{
    struct renewal *n = &r->renewal;
    if (!n->on)
        return ERR_STALE;
    int err = n->swapped ? ERR_OK : shard_renewable(r->shard, lsn, term);
    if (err != ERR_OK)
        return err;
    n->ready = true;
    n->lsn = lsn;
    n->term = term;
    if (!n->swapped && engine_flushed_lsn(r->engine) == lsn &&
        !shard_flush_pending(r->shard) && !r->flusher.running &&
        !engine_busy(r->engine))
        swap(r);
    if (!n->swapped)
        return ERR_AGAIN; /* the flusher is on its way there */
    catch_up(r);
    return ERR_OK;
}

bool renewal_swap_at_flush(struct replica *r, const struct flush *f)
{
    const struct renewal *n = &r->renewal;
    if (!n->ready || n->swapped || f->lsn != n->lsn || engine_busy(r->engine) ||
        shard_renewable(r->shard, n->lsn, n->term) != ERR_OK)
        return false;
    swap(r);
    return true;
}

/* ---- the end ---------------------------------------------------------------
 */

void renewal_end(struct replica *r)
{
    if (!r->renewal.on)
        return;
    r->renewal = (struct renewal){.on = false};
    flusher_aim(&r->flusher, SHARD_FLUSH_ALL);
}

/* What the shard may hold in memory is shared with those of the worker; what
 * does not fit is refused, and nothing acknowledged any more. */
static size_t held_max(const struct replica *r)
{
    uint64_t most = worker_memtable_share(r->worker) / 4 * 3;
    return most < RENEWAL_HELD_BYTES_MAX ? most : RENEWAL_HELD_BYTES_MAX;
}

/* NULL: it goes on, or there is none. */
static const char *why_not(const struct replica *r, usec_t now)
{
    const struct renewal *n = &r->renewal;
    if (!n->on || n->swapped)
        return NULL;
    if (raft_role(shard_raft(r->shard)) == RAFT_LEADER)
        return "this replica leads now";
    raft_id leader = shard_leader(r->shard);
    if (!n->ready && leader != 0 && leader != n->from)
        return "another node leads now";
    if (shard_dirty_bytes(r->shard) > held_max(r))
        return "too much was written meanwhile";
    return now - n->progress_us > RENEWAL_PATIENCE_US ? "nothing came any more"
                                                      : NULL;
}

void renewal_check(struct replica *r, usec_t now)
{
    const char *why = why_not(r, now);
    if (why == NULL)
        return;
    log_warn("the renewal of a store was given up; it stays as it is until "
             "the next round",
             LOG_UINT("shard", r->id), LOG_STR("reason", why));
    renewal_end(r);
}
