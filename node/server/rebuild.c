#include "node/server/rebuild.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/server/reconcile.h"
#include "node/server/replicas.h"
#include "node/server/worker.h"

static uint32_t node_count(const struct config *c)
{
    uint32_t n = 0;
    for (size_t i = 0; i < c->region_count; i++)
        n += (uint32_t)c->regions[i].node_count;
    return n;
}

static int check_wish(struct node *n, bool sure, struct err_msg *msg)
{
    if (node_count(n->config) < 2)
        return err_set(msg, ERR_INVALID,
                       "--rebuild: this is the cluster's only node, there is "
                       "nobody to get the data from");
    if (datadir_has_data(n->datadir) && !datadir_damaged(n->datadir) && !sure)
        return err_set(msg, ERR_PRECONDITION,
                       "--rebuild would put away the data in %s (into "
                       "discarded-N beside it), in which no damage was found; "
                       "start without --rebuild, or add --yes to do it",
                       datadir_path(n->datadir));
    return ERR_OK;
}

int rebuild_begin(struct node *n, bool wanted, bool sure, struct err_msg *msg)
{
    int err = wanted ? check_wish(n, sure, msg) : ERR_OK;
    if (err == ERR_OK && wanted)
        err = datadir_discard(n->datadir, msg);
    if (err != ERR_OK)
        return err;
    n->rebuilding = datadir_rebuilding(n->datadir);
    if (n->rebuilding)
        log_warn("this node is being rebuilt from the others and does not vote "
                 "until that is done",
                 LOG_STR("data_dir", datadir_path(n->datadir)));
    return ERR_OK;
}

void rebuild_advise(struct node *n, struct err_msg *msg)
{
    struct err_msg found = *msg;
    datadir_note_damage(n->datadir, found.text);
    const char *file = n->config->file != NULL ? n->config->file : "FILE";
    err_set(msg, ERR_CORRUPT,
            "%.300s. Nothing was changed. If the other nodes are well, rebuild "
            "this one from them: bastide node --config %s --rebuild",
            found.text, file);
}

/* ---- the end
 * ------------------------------------------------------------------ */

struct unmark_job {
    struct helper_job job;
    struct datadir *datadir;
    int err;
};

static void unmark_run(struct helper_job *job)
{
    struct unmark_job *u = LIST_ENTRY(job, struct unmark_job, job);
    u->err = datadir_rebuilt(u->datadir);
}

/* The mark may stay: the next start is then careful without need. */
static void unmark_done(struct inbox_message *message, void *owner)
{
    (void)owner;
    struct unmark_job *u = LIST_ENTRY(message, struct unmark_job, job.message);
    if (u->err == ERR_OK)
        log_info("this node is rebuilt and votes again");
    else
        log_warn("this node is rebuilt, but its directory is still marked",
                 LOG_STR("error", err_text(u->err)));
    mem_free(u);
}

static void worker_cured(struct worker *first, void *arg)
{
    (void)arg;
    if (++first->cured_workers < first->node->worker_count)
        return;
    struct unmark_job *u = mem_zalloc(sizeof(*u));
    u->datadir = first->node->datadir;
    u->job.run = unmark_run;
    u->job.message.deliver = unmark_done;
    helper_submit(&first->helper, HELPER_UPKEEP, &u->job);
}

static void meta_cured(struct worker *w, void *arg)
{
    (void)arg;
    w->meta_cured = true;
}

/* Not while a snapshot that the log has taken is not yet the state. */
static bool is_cured(const struct replica *r)
{
    return raft_amnesiac(shard_raft(r->shard)) == RAFT_AMNESIA_NONE &&
           !shard_installing(r->shard);
}

/* What groups there are, and so which replicas, is known once the meta shard is
 * cured: told to every worker behind the catalog that goes with it. */
static void tell_meta_cured(struct worker *w)
{
    const struct replica *meta = worker_replica(w, SHARD_META);
    if (meta == NULL || w->meta_cure_told || !is_cured(meta))
        return;
    w->meta_cure_told = true;
    for (uint32_t i = 0; i < w->node->worker_count; i++)
        worker_run(&w->node->workers[i], meta_cured, NULL);
}

void rebuild_check(struct worker *w)
{
    if (!w->node->rebuilding || w->cured)
        return;
    tell_meta_cured(w);
    if (!w->meta_cured || !replicas_complete(w))
        return;
    for (uint32_t i = 0; i < w->replica_count; i++) {
        if (!is_cured(w->replicas[i]))
            return;
    }
    if (!reconcile_check(w))
        return;
    w->cured = true;
    worker_run(&w->node->workers[0], worker_cured, NULL);
}
