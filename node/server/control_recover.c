#include "node/server/control_impl.h"

#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/json/json.h"
#include "node/server/control_reply.h"
#include "node/server/decision.h"
#include "node/server/governor.h"
#include "node/server/worker.h"

/* Every later decision needs a newer epoch. */
#define RECOVER_EPOCH_MAX (UINT32_MAX / 2)
/* By then a node that has started has found those who are there. */
#define RECOVER_AFTER_US (3 * USEC_PER_SEC)

struct recovery {
    struct worker *worker;
    struct http_request *request;
    uint32_t epoch; /* 0: only asked what is known */
    govern_regions survivors;
    uint32_t newest; /* epoch that anything here knows */
    uint32_t shards;
    int err;
};

/* The survivors vote, by the group's rule; the others only follow. So do the
 * witnesses: one that has heard of more than the survivors have would keep them
 * from electing a leader (docs/witness.md). */
static void survivors_config(const struct recovery *v,
                             const struct govern_record *next, bool meta,
                             const struct raft_config *now,
                             struct raft_config *out)
{
    *out = *now;
    out->joint = false;
    out->n = 0;
    for (uint32_t i = 0; i < now->n; i++) {
        struct raft_member m = now->members[i];
        m.voter =
            !m.witness && (v->survivors & govern_region_bit(m.region)) != 0;
        m.voter_old = m.leaving = false;
        out->members[out->n++] = m;
    }
    struct raft_config members = *out;
    govern_config(next, meta, &members, out);
    out->epoch = v->epoch;
}

static void answer_known(struct worker *w, const struct recovery *v)
{
    struct buf body;
    struct json_writer out;
    buf_init(&body, CONTROL_ANSWER_MAX);
    json_writer_init(&out, &body);
    json_write_object_begin(&out);
    json_write_member_str(&out, "cluster", w->node->config->cluster);
    json_write_member_str(&out, "node", w->node->config->node);
    json_write_member_int64(&out, "epoch", v->newest);
    json_write_object_end(&out);
    control_respond(v->request, 200, &body);
}

static void recover_answer(struct worker *w, void *arg)
{
    struct recovery *v = arg;
    if (v->epoch == 0) {
        answer_known(w, v);
    } else if (v->err != ERR_OK) {
        control_refuse(v->request, 409, "Conflict",
                       v->err == ERR_STALE
                           ? "the epoch is not newer than what this node knows"
                       : v->err == ERR_AGAIN
                           ? "this node hears a leader: the others are not lost"
                           : err_text(v->err));
    } else {
        struct buf body;
        struct json_writer out;
        buf_init(&body, CONTROL_ANSWER_MAX);
        json_writer_init(&out, &body);
        json_write_object_begin(&out);
        json_write_member_str(&out, "node", w->node->config->node);
        json_write_member_int64(&out, "shards", v->shards);
        json_write_object_end(&out);
        control_respond(v->request, 200, &body);
    }
    mem_free(v);
}

/* A node that was started alone does not know which record is committed; its
 * logs know enough. */
static int recover_shard(const struct recovery *v,
                         const struct govern_record *known, struct shard *s,
                         usec_t now)
{
    const struct raft_config *old = raft_config(shard_raft(s));
    struct raft_config config;
    struct govern_record record, next;
    if (old->epoch == v->epoch)
        return ERR_OK; /* asked again */
    if (known != NULL)
        record = *known;
    else
        govern_from_config(old, &record);
    if (v->epoch <= record.epoch)
        return ERR_STALE;
    govern_recover(&record, v->epoch, v->survivors, clock_wall_us(), "", &next);
    survivors_config(v, &next, shard_id(s) == SHARD_META, old, &config);
    return shard_recover(s, now, &config);
}

static uint32_t newest_epoch(const struct shard *s)
{
    const struct raft *r = shard_raft(s);
    uint32_t epoch = raft_config(r)->epoch;
    uint32_t term_epoch = RAFT_TERM_EPOCH(raft_term(r));
    return epoch > term_epoch ? epoch : term_epoch;
}

/* One worker after the other. */
static void recover_asked(struct worker *w, void *arg)
{
    struct recovery *v = arg;
    usec_t now = clock_mono_us();
    for (uint32_t i = 0; i < w->replica_count; i++) {
        struct shard *s = w->replicas[i]->shard;
        const struct steering_group *of =
            steering_group_of(&w->steering, shard_id(s));
        const struct govern_record *known = of != NULL ? &of->record : NULL;
        if (known != NULL && known->epoch > v->newest)
            v->newest = known->epoch;
        uint32_t epoch = newest_epoch(s);
        v->newest = epoch > v->newest ? epoch : v->newest;
        if (v->epoch == 0)
            continue;
        int err = recover_shard(v, known, s, now);
        if (err == ERR_OK)
            v->shards++;
        else
            v->err = err;
    }
    worker_wake(w);
    struct node *node = w->node;
    if (w->index + 1 < node->worker_count)
        worker_run(&node->workers[w->index + 1], recover_asked, v);
    else
        worker_run(&node->workers[0], recover_answer, v);
}

void control_recover_get(struct worker *w, struct http_request *r,
                         struct bytes query)
{
    (void)query;
    struct recovery *v = mem_zalloc(sizeof(*v));
    *v = (struct recovery){.worker = w, .request = r};
    recover_asked(w, v);
}

static int parse_recover(struct worker *w, const struct json *j,
                         struct recovery *v, struct err_msg *msg)
{
    const struct config *c = w->node->config;
    char storage[CONFIG_NAME_MAX * 6 + 2];
    struct buf scratch = buf_over(storage, sizeof(storage));
    struct bytes confirm;
    int64_t epoch = 0;
    json_ref list = json_get_str(j, 0, "survivors");
    if (json_get_string(j, 0, "confirm", &scratch, &confirm) != ERR_OK ||
        !bytes_equal(confirm, bytes_str(c->cluster)))
        return err_set(msg, ERR_INVALID, "confirm must be the cluster's name");
    if (json_get_int64(j, 0, "epoch", &epoch) != ERR_OK || epoch < 1 ||
        epoch > RECOVER_EPOCH_MAX)
        return err_set(msg, ERR_INVALID,
                       "epoch must be newer than any that the survivors know "
                       "(GET here says it), the same for all of them");
    if (list == JSON_NONE || json_type(j, list) != JSON_ARRAY ||
        json_count(j, list) == 0)
        return err_set(msg, ERR_INVALID,
                       "survivors must be the names of the regions left");
    v->epoch = (uint32_t)epoch;
    for (json_ref e = json_first(j, list); e != JSON_NONE;
         e = json_next(j, list, e)) {
        raft_region region;
        if (control_read_region(w, j, e, &region) != ERR_OK)
            return err_set(msg, ERR_INVALID,
                           "survivors names a region that is none");
        v->survivors |= govern_region_bit(region);
    }
    if ((v->survivors & govern_region_bit(decision_region(c, c->region))) == 0)
        return err_set(msg, ERR_BUSY,
                       "this node is in %s, which is no survivor", c->region);
    if (failover_health_in_contact(governor_health(w->governor)))
        return err_set(msg, ERR_BUSY,
                       "this node reaches a majority of all nodes: nothing is "
                       "to be recovered; writes go on after a failover");
    if (clock_wall_us() - w->node->started_wall_us < RECOVER_AFTER_US)
        return err_set(msg, ERR_BUSY,
                       "this node has only just started and may yet find the "
                       "others: ask again in a moment");
    return ERR_OK;
}

void control_recover_post(struct worker *w, struct http_request *r,
                          const struct json *j)
{
    struct err_msg msg = {.text = ""};
    struct recovery *v = mem_zalloc(sizeof(*v));
    v->worker = w;
    v->request = r;
    int err = parse_recover(w, j, v, &msg);
    if (err != ERR_OK) {
        control_refuse_err(r, err, msg.text);
        mem_free(v);
        return;
    }
    log_warn("RECOVERY BY FORCE: the survivors become a cluster of their own; "
             "what only the lost regions had is lost",
             LOG_UINT("epoch", v->epoch),
             LOG_STR("by", r->peer_uri != NULL ? r->peer_uri : "?"));
    recover_asked(w, v);
}
