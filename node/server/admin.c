#include "node/server/admin.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/crypt/cert.h"
#include "node/json/json.h"
#include "node/server/control.h"
#include "node/server/decision.h"
#include "node/server/faults.h"
#include "node/server/governor.h"
#include "node/server/node.h"
#include "node/server/peers.h"
#include "node/server/worker.h"

#define ADMIN_BODY_MAX (4u << 20)

struct admin {
    struct worker *worker;
    struct http_front *front;
    struct http_listener *listener;
    char admin_uri[CERT_URI_MAX + 1];
};

/* A question that every worker answers about its shards. */
enum question { QUESTION_READY, QUESTION_READY_VERBOSE, QUESTION_STATUS };

struct survey {
    struct admin *admin;
    struct http_request *request;
    enum question question;
    uint32_t missing; /* workers that have not answered */
    struct shard_status *shards;
    bool group_known; /* by all workers */
};

/* ---- answers
 * ------------------------------------------------------------------ */

static void respond(struct http_request *r, int status, struct buf *body)
{
    http_reply_header_str(r, "Content-Type", "application/json");
    http_respond_take(r, status, body);
    buf_free(body);
}

static void respond_text(struct http_request *r, int status, const char *code,
                         const char *message)
{
    struct buf body;
    buf_init(&body, ADMIN_BODY_MAX);
    (void)buf_printf(&body, "{\"code\":\"%s\",\"message\":\"%s\"}\n", code,
                     message);
    respond(r, status, &body);
}

static const char *status_role(const struct shard_status *s)
{
    if (s->amnesia != RAFT_AMNESIA_NONE)
        return "rebuilding";
    switch (s->role) {
    case RAFT_LEADER:
        return "leader";
    case RAFT_FOLLOWER:
        return "follower";
    default:
        return "candidate";
    }
}

static bool shard_ready(const struct shard_status *s)
{
    return s->leader != 0 && s->has_key && !s->installing &&
           s->amnesia == RAFT_AMNESIA_NONE;
}

static bool survey_ready(const struct survey *v)
{
    if (!v->group_known || v->admin->worker->draining)
        return false;
    for (uint32_t i = 0; i <= v->admin->worker->node->shard_count; i++)
        if (!shard_ready(&v->shards[i]))
            return false;
    return true;
}

static const char *node_name(const struct config *c, uint32_t id)
{
    const struct config_node *n = config_find_node(c, id, NULL);
    return n != NULL ? n->name : NULL;
}

#define ADMIN_REASON_MAX 160

/* What a replica that is being rebuilt waits for. */
static void rebuild_reason(const struct config *c, const struct shard_status *s,
                           char out[ADMIN_REASON_MAX])
{
    const char *name = node_name(c, s->told_missing);
    if (s->amnesia == RAFT_AMNESIA_ASKING)
        snprintf(out, ADMIN_REASON_MAX,
                 "rebuilding: shard %u waits for node %s to tell its term",
                 s->id, name != NULL ? name : "?");
    else
        snprintf(out, ADMIN_REASON_MAX, "rebuilding: shard %u waits for %s",
                 s->id, s->leader == 0 ? "a leader" : "its leader's log");
}

/* Why the node is not ready, one sentence each; empty when it is. */
static void put_reasons(const struct survey *v, struct json_writer *out)
{
    char text[ADMIN_REASON_MAX];
    if (v->admin->worker->draining)
        json_write_str(out, "the node is stopping");
    if (!v->group_known)
        json_write_str(out, "the keys of group default are not known yet");
    for (uint32_t i = 0; i <= v->admin->worker->node->shard_count; i++) {
        const struct shard_status *s = &v->shards[i];
        if (s->amnesia != RAFT_AMNESIA_NONE) {
            rebuild_reason(v->admin->worker->node->config, s, text);
            json_write_str(out, text);
        }
        const char *why = s->leader == 0  ? "has no leader"
                          : s->installing ? "is receiving a snapshot"
                          : !s->has_key   ? "has no key yet"
                                          : NULL;
        if (why == NULL)
            continue;
        snprintf(text, sizeof(text), "shard %u %s", i, why);
        json_write_str(out, text);
    }
}

static void answer_ready(struct survey *v)
{
    bool ready = survey_ready(v);
    struct buf body;
    struct json_writer out;
    buf_init(&body, ADMIN_BODY_MAX);
    json_writer_init(&out, &body);
    json_write_object_begin(&out);
    json_write_key(&out, "ready");
    json_write_bool(&out, ready);
    if (v->question == QUESTION_READY_VERBOSE) {
        json_write_key(&out, "waits_for");
        json_write_array_begin(&out);
        put_reasons(v, &out);
        json_write_array_end(&out);
    }
    json_write_object_end(&out);
    respond(v->request, ready ? 200 : 503, &body);
}

static void put_number(struct json_writer *out, const char *key, uint64_t v)
{
    json_write_key(out, key);
    json_write_uint64(out, v);
}

static void put_shard(struct json_writer *out, const struct config *c,
                      const struct shard_status *s)
{
    const char *leader = node_name(c, s->leader);
    json_write_object_begin(out);
    put_number(out, "shard", s->id);
    json_write_key(out, "group");
    json_write_str(out, s->id == SHARD_META ? "meta" : "default");
    json_write_key(out, "role");
    json_write_str(out, status_role(s));
    json_write_key(out, "leader");
    if (leader != NULL)
        json_write_str(out, leader);
    else
        json_write_null(out);
    put_number(out, "term", s->term);
    put_number(out, "lsn", s->last_lsn);
    put_number(out, "commit_lsn", s->commit_lsn);
    put_number(out, "applied_lsn", s->installing ? 0 : s->commit_lsn);
    put_number(out, "flushed_lsn", s->flushed_lsn);
    put_number(out, "base_lsn", s->base_lsn);
    put_number(out, "memtable_bytes", s->memtable_bytes);
    put_number(out, "log_bytes_in_memory", s->entry_bytes);
    put_number(out, "waiting", s->waiting);
    if (s->amnesia != RAFT_AMNESIA_NONE) {
        char text[ADMIN_REASON_MAX];
        rebuild_reason(c, s, text);
        json_write_key(out, "rebuilding");
        json_write_str(out, text);
    }
    json_write_key(out, "writable");
    json_write_bool(out, !s->no_space && s->has_key);
    json_write_object_end(out);
}

static void put_links(struct json_writer *out, const struct worker *w)
{
    const struct config *c = w->node->config;
    json_write_array_begin(out);
    for (size_t i = 0; i < c->region_count; i++) {
        for (size_t j = 0; j < c->regions[i].node_count; j++) {
            const struct config_node *n = &c->regions[i].nodes[j];
            struct links_stats stats;
            if (n->id == c->id ||
                links_get_stats(peers_links(w->peers), n->id, &stats) != ERR_OK)
                continue;
            json_write_object_begin(out);
            json_write_key(out, "node");
            json_write_str(out, n->name);
            json_write_key(out, "region");
            json_write_str(out, c->regions[i].name);
            json_write_key(out, "state");
            json_write_str(out, stats.state == PEER_STREAMING
                                    ? "up"
                                    : peer_state_name(stats.state));
            put_number(out, "rtt_us", (uint64_t)stats.rtt_us);
            put_number(out, "bytes_in", stats.bytes_in);
            put_number(out, "bytes_out", stats.bytes_out);
            put_number(out, "raft_bytes_out", stats.raft_bytes_out);
            put_number(out, "raft_entries_out", stats.raft_entries_out);
            put_number(out, "dropped", stats.raft_dropped);
            faults_put_link(out, &stats);
            json_write_object_end(out);
        }
    }
    json_write_array_end(out);
}

/* What this node applies; null before it knows. */
static void put_account(struct json_writer *out, const struct worker *w)
{
    const struct govern_record *rec = governor_now(w->governor);
    json_write_key(out, "account");
    if (rec == NULL) {
        json_write_null(out);
        return;
    }
    json_write_object_begin(out);
    json_write_member_str(out, "level",
                          consistency_name(rec->consistency.level));
    put_number(out, "max_staleness_prefix",
               (uint64_t)rec->consistency.max_staleness_prefix);
    put_number(out, "max_staleness_interval",
               (uint64_t)rec->consistency.max_staleness_interval);
    put_number(out, "epoch", rec->epoch);
    json_write_member_str(
        out, "write_region",
        decision_region_name(w->node->config, rec->write_region));
    json_write_object_end(out);
}

/* What this node has sent to the nodes of each region. */
static void put_traffic(struct json_writer *out, const struct worker *w)
{
    const struct config *c = w->node->config;
    json_write_array_begin(out);
    for (size_t i = 0; i < c->region_count; i++) {
        uint64_t bytes = 0, raft = 0, entries = 0;
        for (size_t j = 0; j < c->regions[i].node_count; j++) {
            struct links_stats s;
            if (links_get_stats(peers_links(w->peers),
                                c->regions[i].nodes[j].id, &s) != ERR_OK)
                continue; /* itself */
            bytes += s.bytes_out;
            raft += s.raft_bytes_out;
            entries += s.raft_entries_out;
        }
        json_write_object_begin(out);
        json_write_key(out, "region");
        json_write_str(out, c->regions[i].name);
        put_number(out, "bytes_out", bytes);
        put_number(out, "raft_bytes_out", raft);
        put_number(out, "raft_entries_out", entries);
        json_write_object_end(out);
    }
    json_write_array_end(out);
}

static void answer_status(struct survey *v)
{
    const struct worker *w = v->admin->worker;
    const struct config *c = w->node->config;
    struct buf body;
    struct json_writer out;
    buf_init(&body, ADMIN_BODY_MAX);
    json_writer_init(&out, &body);
    json_write_object_begin(&out);
    json_write_key(&out, "cluster");
    json_write_str(&out, c->cluster);
    json_write_key(&out, "region");
    json_write_str(&out, c->region);
    json_write_key(&out, "node");
    json_write_str(&out, c->node);
    put_number(&out, "id", c->id);
    json_write_key(&out, "version");
    json_write_str(&out, NODE_VERSION);
    json_write_key(&out, "ready");
    json_write_bool(&out, survey_ready(v));
    put_number(&out, "uptime_s",
               (uint64_t)((clock_wall_us() - w->node->started_wall_us) /
                          USEC_PER_SEC));
    put_number(&out, "workers", w->node->worker_count);
    put_account(&out, w);
    json_write_key(&out, "shards");
    json_write_array_begin(&out);
    for (uint32_t i = 0; i <= w->node->shard_count; i++)
        put_shard(&out, c, &v->shards[i]);
    json_write_array_end(&out);
    json_write_key(&out, "links");
    put_links(&out, w);
    json_write_key(&out, "traffic");
    put_traffic(&out, w);
    json_write_key(&out, "faults");
    faults_put_list(&out, w);
    put_number(&out, "disk_stalled_us",
               (uint64_t)log_pipe_node_stalled_us(w->node, clock_mono_us()));
    json_write_object_end(&out);
    respond(v->request, 200, &body);
}

/* ---- asking the workers
 * ----------------------------------------------------------
 */

static void survey_finish(struct survey *v)
{
    if (v->question == QUESTION_STATUS)
        answer_status(v);
    else
        answer_ready(v);
    mem_free(v->shards);
    mem_free(v);
}

static void worker_answered(struct worker *w, void *arg)
{
    (void)w;
    struct survey *v = arg;
    if (--v->missing == 0)
        survey_finish(v);
}

/* On each worker: its own shards only, so no two write the same element. */
static void worker_asked(struct worker *w, void *arg)
{
    struct survey *v = arg;
    for (uint32_t i = 0; i < w->replica_count; i++)
        shard_status(w->replicas[i].shard, clock_mono_us(),
                     &v->shards[w->replicas[i].id]);
    if (w->group_hash == NULL)
        __atomic_store_n(&v->group_known, false, __ATOMIC_RELAXED);
    worker_run(v->admin->worker, worker_answered, v);
}

static void survey_begin(struct admin *a, struct http_request *r,
                         enum question question)
{
    struct node *node = a->worker->node;
    struct survey *v = mem_zalloc(sizeof(*v));
    *v = (struct survey){.admin = a,
                         .request = r,
                         .question = question,
                         .missing = node->worker_count,
                         .group_known = true};
    v->shards = mem_zalloc((node->shard_count + 1) * sizeof(*v->shards));
    for (uint32_t i = 0; i < node->worker_count; i++)
        worker_run(&node->workers[i], worker_asked, v);
}

/* ---- requests
 * ---------------------------------------------------------------------
 */

static bool target_is(const struct http_request *r, const char *path)
{
    return bytes_equal(r->target, bytes_str(path));
}

static bool from_admin(const struct admin *a, const struct http_request *r)
{
    return r->peer_uri != NULL && strcmp(r->peer_uri, a->admin_uri) == 0;
}

static void answer_faults(struct admin *a, struct http_request *r)
{
    struct buf body;
    buf_init(&body, ADMIN_BODY_MAX);
    int status = faults_handle(a->worker, r->method, r->target, r->body, &body);
    respond(r, status, &body);
}

static void on_request(struct http_request *r, void *user)
{
    struct admin *a = user;
    if (faults_target(r->target) && !from_admin(a, r))
        respond_text(r, 403, "Forbidden",
                     "show the administrator's certificate (admin.pem)");
    else if (faults_target(r->target))
        answer_faults(a, r);
    else if (control_target(r->target) && !from_admin(a, r))
        respond_text(r, 403, "Forbidden",
                     "show the administrator's certificate (admin.pem)");
    else if (control_target(r->target))
        control_handle(a->worker, r);
    else if (r->method != HTTP_METHOD_GET && r->method != HTTP_METHOD_HEAD)
        respond_text(r, 405, "MethodNotAllowed", "only GET is understood here");
    else if (target_is(r, "/livez"))
        respond_text(r, 200, "Ok", "alive");
    else if (target_is(r, "/readyz"))
        survey_begin(a, r, QUESTION_READY);
    else if (target_is(r, "/readyz?verbose"))
        survey_begin(a, r, QUESTION_READY_VERBOSE);
    else if (target_is(r, "/status") && !from_admin(a, r))
        respond_text(r, 403, "Forbidden",
                     "show the administrator's certificate (admin.pem)");
    else if (target_is(r, "/status"))
        survey_begin(a, r, QUESTION_STATUS);
    else
        respond_text(
            r, 404, "NotFound",
            "there is /livez, /readyz, /readyz?verbose, /status, /topology, "
            "/consistency, /regions, /audit and /faults");
}

static const struct http_handler admin_handler = {.on_request = on_request};

int admin_create(struct worker *w, struct err_msg *msg,
                 struct admin **admin_out)
{
    const struct config *c = w->node->config;
    struct admin *a = mem_zalloc(sizeof(*a));
    a->worker = w;
    struct http_front_options options = {.loop = w->chans,
                                         .tls = w->node->tls_admin,
                                         .handler = &admin_handler,
                                         .user = a};
    http_limits_default(&options.limits);
    options.limits.connections = 64;
    int err = cert_uri_admin(c->cluster, a->admin_uri);
    if (err == ERR_OK)
        err = http_front_new(&options, &a->front, msg);
    if (err == ERR_OK)
        err = http_listener_open(a->front, c->listen.admin.host,
                                 c->listen.admin.port, NULL, &a->listener, msg);
    if (err != ERR_OK) {
        http_front_free(a->front);
        mem_free(a);
        return err;
    }
    *admin_out = a;
    return ERR_OK;
}
