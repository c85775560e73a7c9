#include "node/server/scrub_admin.h"

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/json/json.h"
#include "node/server/control_reply.h"
#include "node/server/worker.h"

/* Both questions go round all workers, one after the other; each adds its part.
 */
struct tour {
    struct http_request *request;
    struct worker *first;
    uint32_t next; /* worker */
    int64_t shard; /* to be scrubbed; -1: all */
    bool start;    /* rounds; else only tell */
    struct buf body;
    struct json_writer out;
};

static void put_number(struct json_writer *w, const char *key, uint64_t v)
{
    json_write_key(w, key);
    json_write_uint64(w, v);
}

static void put_node(struct json_writer *w, const struct config *c, raft_id id,
                     const char *key)
{
    const struct config_node *n = config_find_node(c, id, NULL);
    if (id != 0)
        json_write_member_str(w, key, n != NULL ? n->name : "?");
}

static void put_buckets(struct json_writer *w, const char *key, uint16_t mask)
{
    json_write_key(w, key);
    json_write_array_begin(w);
    for (unsigned b = 0; b < DIGEST_BUCKETS; b++)
        if ((mask & (1u << b)) != 0)
            json_write_uint64(w, b);
    json_write_array_end(w);
}

static void put_answer(struct json_writer *w, const struct config *c,
                       const struct scrub_answer *a, enum scrub_verdict v)
{
    json_write_object_begin(w);
    put_node(w, c, a->node, "node");
    json_write_member_bool(w, "voter", a->voter);
    json_write_member_str(w, "verdict", scrub_verdict_name(v));
    if (!a->witness && a->err != ERR_OK) {
        json_write_member_str(w, "error", err_name(a->err));
    } else if (!a->witness) {
        put_number(w, "records", a->records);
        put_number(w, "bytes", a->bytes);
        put_number(w, "opened", a->opened);
        put_number(w, "unknown", a->unknown);
        put_number(w, "damaged", a->damaged);
        put_buckets(w, "damaged_buckets", a->spoilt);
    }
    json_write_object_end(w);
}

/* "agree": all that keep payload answered, and have the same. */
static const char *outcome(const struct scrub_report *p)
{
    const char *text = p->judged.unreadable ? "unreadable" : "agree";
    for (uint32_t i = 0; i < p->n; i++) {
        enum scrub_verdict v = p->judged.of[i];
        if (v == SCRUB_DAMAGED || v == SCRUB_DIVERGENT)
            return p->kept != 0       ? "kept"
                   : p->replaced != 0 ? "replaced"
                   : p->renewed != 0  ? "renewed"
                                      : "handed over";
        if (v == SCRUB_DOUBT)
            text = "doubt";
        else if (v == SCRUB_UNKNOWN && text[0] == 'a')
            text = "incomplete";
    }
    return text;
}

static void put_report(struct json_writer *w, const struct config *c,
                       const struct scrub_report *p)
{
    char at[CLOCK_ISO_LEN + 1];
    clock_iso(p->ended_us, at);
    json_write_key(w, "last");
    json_write_object_begin(w);
    json_write_member_str(w, "ended", at);
    put_number(w, "lsn", p->lsn);
    json_write_member_str(w, "outcome", outcome(p));
    put_buckets(w, "differing_buckets", p->judged.buckets);
    put_node(w, c, p->replaced, "replaced");
    put_node(w, c, p->renewed, "renewed");
    put_node(w, c, p->kept, "kept");
    json_write_key(w, "replicas");
    json_write_array_begin(w);
    for (uint32_t i = 0; i < p->n; i++)
        put_answer(w, c, &p->answers[i], p->judged.of[i]);
    json_write_array_end(w);
    json_write_object_end(w);
}

static void put_replica(struct json_writer *w, const struct replica *r)
{
    const struct scrub_state *s = &r->scrub;
    json_write_object_begin(w);
    put_number(w, "shard", r->id);
    json_write_member_bool(w, "leads",
                           raft_role(shard_raft(r->shard)) == RAFT_LEADER);
    json_write_member_bool(w, "due", s->due);
    json_write_member_bool(w, "distrusted", s->doubt_us != 0 || r->deaf);
    json_write_member_bool(w, "rebuilding", r->marked);
    put_number(w, "rounds", s->rounds);
    put_number(w, "mismatches", s->mismatches);
    put_number(w, "quarantines", s->quarantines);
    put_number(w, "renewals", s->renewals);
    json_write_member_bool(w, "renewing", r->renewal.on);
    if (s->last != NULL)
        put_report(w, r->worker->node->config, s->last);
    json_write_object_end(w);
}

static void tour_end(struct worker *w, void *arg)
{
    (void)w;
    struct tour *t = arg;
    json_write_array_end(&t->out);
    json_write_object_end(&t->out);
    CHECK(json_writer_end(&t->out) == ERR_OK);
    control_respond(t->request, 200, &t->body);
    mem_free(t);
}

static void tour_stop(struct worker *w, void *arg)
{
    struct tour *t = arg;
    for (uint32_t i = 0; i < w->replica_count; i++) {
        struct replica *r = w->replicas[i];
        if (!t->start)
            put_replica(&t->out, r);
        else if ((t->shard < 0 || t->shard == r->id) &&
                 scrubber_want(r) == ERR_OK)
            json_write_uint64(&t->out, r->id);
    }
    if (++t->next < w->node->worker_count)
        worker_run(&w->node->workers[t->next], tour_stop, t);
    else
        worker_run(t->first, tour_end, t);
}

static struct tour *tour_new(struct worker *w, struct http_request *r,
                             const char *list)
{
    struct tour *t = mem_zalloc(sizeof(*t));
    t->request = r;
    t->first = w;
    t->shard = -1;
    buf_init(&t->body, CONTROL_ANSWER_MAX);
    json_writer_init(&t->out, &t->body);
    json_write_object_begin(&t->out);
    json_write_member_str(&t->out, "node", w->node->config->node);
    json_write_key(&t->out, list);
    json_write_array_begin(&t->out);
    return t;
}

void scrub_admin_get(struct worker *w, struct http_request *r,
                     struct bytes query)
{
    (void)query;
    worker_run(w, tour_stop, tour_new(w, r, "replicas"));
}

void scrub_admin_post(struct worker *w, struct http_request *r,
                      const struct json *body)
{
    struct err_msg msg;
    int64_t shard = -1;
    int err = json_get_int64(body, 0, "shard", &shard);
    if (err != ERR_NOT_FOUND &&
        (err != ERR_OK || shard < 0 || shard >= NODE_SHARDS_MAX)) {
        control_refuse(r, 400, "BadRequest", "shard must be a shard's number");
        return;
    }
    err = feature_refuse(&w->node->features, FEATURE_PARTS, &msg);
    if (err != ERR_OK) {
        control_refuse_err(r, err, msg.text);
        return;
    }
    struct tour *t = tour_new(w, r, "started");
    t->shard = shard;
    t->start = true;
    worker_run(w, tour_stop, t);
}
