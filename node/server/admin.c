#include "node/server/admin.h"
#include "node/server/catalog_feed.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/crypt/cert.h"
#include "node/json/json.h"
#include "node/server/control.h"
#include "node/server/control_reply.h"
#include "node/server/faults.h"
#include "node/server/members_view.h"
#include "node/server/metrics.h"
#include "node/server/node.h"
#include "node/server/readiness.h"
#include "node/server/status.h"
#include "node/server/worker.h"

#define ADMIN_BODY_MAX (4u << 20)

struct admin {
    struct worker *worker;
    struct http_front *front;
    struct http_listener *listener;
    char admin_uri[CERT_URI_MAX + 1];
};

/* A question that every worker answers about its shards. */
enum question {
    QUESTION_READY,
    QUESTION_READY_VERBOSE,
    QUESTION_STATUS,
    QUESTION_METRICS
};

struct survey {
    struct admin *admin;
    struct http_request *request;
    enum question question;
    uint32_t missing; /* workers that have not answered */
    struct shard_set *set;
    struct shard_status *shards;  /* by index in the set */
    struct metrics *metrics;      /* QUESTION_METRICS */
    struct members_view *members; /* QUESTION_STATUS */
    struct readiness known;
};

/* ---- answers
 * ------------------------------------------------------------------ */

static void respond_text(struct http_request *r, int status, const char *code,
                         const char *message)
{
    struct buf body;
    buf_init(&body, ADMIN_BODY_MAX);
    (void)buf_printf(&body, "{\"code\":\"%s\",\"message\":\"%s\"}\n", code,
                     message);
    control_respond(r, status, &body);
}

static void answer_ready(struct survey *v)
{
    struct buf body;
    buf_init(&body, ADMIN_BODY_MAX);
    readiness_write(&v->known, v->question == QUESTION_READY_VERBOSE, &body);
    control_respond(v->request, readiness_ok(&v->known) ? 200 : 503, &body);
}

static void answer_status(struct survey *v)
{
    struct buf body;
    buf_init(&body, ADMIN_BODY_MAX);
    status_write(v->admin->worker, v->set, v->shards, v->members,
                 readiness_ok(&v->known), &body);
    control_respond(v->request, 200, &body);
}

static void answer_metrics(struct survey *v)
{
    struct buf body;
    buf_init(&body, ADMIN_BODY_MAX);
    v->metrics->ready = readiness_ok(&v->known);
    metrics_write(v->admin->worker, v->metrics, &body);
    http_reply_header_str(v->request, "Content-Type",
                          "text/plain; version=0.0.4");
    http_respond_take(v->request, 200, &body);
    buf_free(&body);
}

/* ---- asking the workers
 * ----------------------------------------------------------
 */

static void survey_finish(struct survey *v)
{
    if (v->question == QUESTION_STATUS)
        answer_status(v);
    else if (v->question == QUESTION_METRICS)
        answer_metrics(v);
    else
        answer_ready(v);
    metrics_free(v->metrics);
    members_view_free(v->members);
    mem_free(v->shards);
    mem_free(v->set);
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
    for (uint32_t i = 0; i < w->replica_count; i++) {
        const struct replica *r = w->replicas[i];
        uint32_t k = shard_set_find(v->set, r->id);
        if (k == v->set->n)
            continue;
        v->set->list[k].told = true;
        shard_status(r->shard, clock_mono_us(), &v->shards[k]);
    }
    if (v->metrics != NULL)
        metrics_collect(w, v->metrics);
    if (v->members != NULL)
        members_view_collect(w, v->members);
    if (!catalog_feed_has_keys(w, GROUP_DEFAULT))
        __atomic_store_n(&v->known.group_known, false, __ATOMIC_RELAXED);
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
                         .missing = node->worker_count};
    v->set = shard_set_new(node);
    v->shards = mem_zalloc(v->set->n * sizeof(*v->shards));
    v->known = (struct readiness){.worker = a->worker,
                                  .set = v->set,
                                  .shards = v->shards,
                                  .group_known = true};
    if (question == QUESTION_METRICS)
        v->metrics = metrics_new(node, v->set);
    if (question == QUESTION_STATUS)
        v->members = members_view_new(node, v->set);
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
    control_respond(r, status, &body);
}

static void on_request(struct http_request *r, void *user)
{
    struct admin *a = user;
    bool restricted = faults_target(r->target) || control_target(r->target) ||
                      target_is(r, "/status");
    if (restricted && !from_admin(a, r))
        respond_text(r, 403, "Forbidden",
                     "show the administrator's certificate (admin.pem)");
    else if (faults_target(r->target))
        answer_faults(a, r);
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
    else if (target_is(r, "/metrics"))
        survey_begin(a, r, QUESTION_METRICS);
    else if (target_is(r, "/status"))
        survey_begin(a, r, QUESTION_STATUS);
    else
        respond_text(r, 404, "NotFound",
                     "there is /livez, /readyz, /readyz?verbose, /metrics, "
                     "/status, /topology, "
                     "/consistency, /regions, /audit, /scrub and /faults");
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
