#include "node/server/faults.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/server/faults_client.h"
#include "node/server/faults_link.h"
#include "node/server/faults_node.h"
#include "node/server/worker.h"

struct faults {
    struct worker *worker;
    struct inject_list list;
    struct ev_timer timer; /* the first of them ends */
};

static int answer_error(struct buf *body, int status, const char *code,
                        const char *message)
{
    struct json_writer out;
    json_writer_init(&out, body);
    json_write_object_begin(&out);
    json_write_member_str(&out, "code", code);
    json_write_member_str(&out, "message", message);
    json_write_object_end(&out);
    return status;
}

/* ---- deriving --------------------------------------------------------------
 */

/* Makes everything what the list says. */
static void apply(struct faults *f)
{
    faults_link_apply(f->worker, &f->list);
    faults_node_apply(f->worker, &f->list);
    faults_client_apply(f->worker, &f->list);
}

static void set_timer(struct faults *f)
{
    usec_t next = inject_list_next(&f->list);
    ev_timer_stop(f->worker->loop, &f->timer);
    if (next == USEC_NEVER)
        return;
    usec_t now = clock_mono_us();
    double after = next > now ? (double)(next - now) / USEC_PER_SEC : 0.;
    ev_timer_set(&f->timer, after + (ev_time() - ev_now(f->worker->loop)), 0.);
    ev_timer_start(f->worker->loop, &f->timer);
}

static void changed(struct faults *f)
{
    apply(f);
    set_timer(f);
}

static void on_end(struct ev_loop *loop, struct ev_timer *t, int events)
{
    (void)loop;
    (void)events;
    struct faults *f = t->data;
    if (inject_list_expire(&f->list, clock_mono_us())) {
        log_warn("a fault on request has ended",
                 LOG_UINT("active", f->list.count));
        apply(f);
    }
    set_timer(f);
}

struct faults *faults_new(struct worker *w)
{
    struct faults *f = mem_zalloc(sizeof(*f));
    f->worker = w;
    ev_timer_init(&f->timer, on_end, 0., 0.);
    f->timer.data = f;
    return f;
}

/* ---- looking ---------------------------------------------------------------
 */

static void put_ms(struct json_writer *out, const char *key, uint32_t us)
{
    json_write_key(out, key);
    json_write_number(out, us / 1000.0);
}

static void put_unless_zero(struct json_writer *out, const char *key,
                            uint32_t value)
{
    if (value != 0)
        json_write_member_int64(out, key, value);
}

static void put_impairment(struct json_writer *out, const char *key,
                           const struct impairment *i)
{
    static const char *const certificates[] = {
        [IMPAIR_CERT_EXPIRED] = "expired",
        [IMPAIR_CERT_REVOKED] = "revoked",
        [IMPAIR_CERT_WRONG_REGION] = "wrong-region"};
    json_write_key(out, key);
    json_write_object_begin(out);
    put_ms(out, "delay_ms", i->delay_us);
    put_ms(out, "jitter_ms", i->jitter_us);
    json_write_member_int64(out, "loss_permille", i->loss_permille);
    json_write_member_bool(out, "cut", i->cut);
    put_unless_zero(out, "duplicate_permille", i->duplicate_permille);
    put_unless_zero(out, "kbit_per_second", i->kbit_per_second);
    put_unless_zero(out, "close_delay_ms", i->close_delay_us / 1000);
    put_unless_zero(out, "handshake_permille", i->handshake_permille);
    if (i->certificate != IMPAIR_CERT_GOOD)
        json_write_member_str(out, "certificate", certificates[i->certificate]);
    json_write_object_end(out);
}

void faults_put_link(struct json_writer *out, const struct links_stats *stats)
{
    if (!impairment_none(&stats->out))
        put_impairment(out, "out", &stats->out);
    if (!impairment_none(&stats->in))
        put_impairment(out, "in", &stats->in);
}

void faults_put_list(struct json_writer *out, const struct worker *w)
{
    const struct inject_list *l = &w->faults->list;
    char text[INJECT_SENTENCE_MAX];
    json_write_array_begin(out);
    for (size_t i = 0; i < l->count; i++) {
        inject_describe(&l->active[i].fault, text, sizeof(text));
        json_write_str(out, text);
    }
    json_write_array_end(out);
}

void faults_count(const struct worker *w,
                  uint32_t counts_out[INJECT_KIND_COUNT])
{
    const struct inject_list *l = &w->faults->list;
    memset(counts_out, 0, INJECT_KIND_COUNT * sizeof(*counts_out));
    for (size_t i = 0; i < l->count; i++)
        counts_out[l->active[i].fault.kind]++;
}

/* Seconds with a fraction of milliseconds. */
static double seconds(usec_t us)
{
    return (double)(us / USEC_PER_MS) / 1000.;
}

static void put_active(struct json_writer *out, const struct inject_active *a,
                       usec_t now)
{
    char text[INJECT_SENTENCE_MAX];
    json_write_object_begin(out);
    inject_write(out, &a->fault);
    inject_describe(&a->fault, text, sizeof(text));
    json_write_member_str(out, "description", text);
    json_write_key(out, "since_s");
    json_write_number(out, seconds(now - a->since_us));
    json_write_key(out, "remaining_s");
    if (a->until_us == USEC_NEVER)
        json_write_null(out);
    else
        json_write_number(out,
                          a->until_us > now ? seconds(a->until_us - now) : 0);
    json_write_key(out, "hits");
    json_write_uint64(out, a->hits);
    json_write_object_end(out);
}

static int show(struct faults *f, struct buf *body)
{
    struct json_writer out;
    usec_t now = clock_mono_us();
    faults_client_collect(f->worker, &f->list);
    json_writer_init(&out, body);
    json_write_object_begin(&out);
    json_write_member_bool(&out, "fault_injection",
                           f->worker->node->config->fault_injection);
    json_write_key(&out, "faults");
    json_write_array_begin(&out);
    for (size_t i = 0; i < f->list.count; i++)
        put_active(&out, &f->list.active[i], now);
    json_write_array_end(&out);
    json_write_object_end(&out);
    return 200;
}

/* ---- adding ----------------------------------------------------------------
 */

static bool is_known(const struct config *c, const char *who)
{
    for (size_t i = 0; i < c->region_count; i++)
        for (size_t j = 0; j < c->regions[i].node_count; j++)
            if (inject_means(who, c->regions[i].name,
                             c->regions[i].nodes[j].name))
                return true;
    return false;
}

static int check_name(const struct config *c, const char *member,
                      const char *who, struct err_msg *msg)
{
    if (who[0] == '\0' || is_known(c, who))
        return ERR_OK;
    return err_set(msg, ERR_INVALID,
                   "%s: there is no region or node %s in this cluster", member,
                   who);
}

/* Whether this node has something to do for it. Everybody looks at
 * certificates. */
static bool concerns(const struct config *c, const struct inject_fault *f)
{
    const char *region = c->own_region->name, *node = c->own_node->name;
    if (f->kind == INJECT_CERTIFICATE)
        return true;
    if (inject_family_of(f->kind) == INJECT_LINK)
        return inject_means(f->from, region, node) ||
               inject_means(f->to, region, node);
    return inject_means(f->at, region, node);
}

static int read_fault(const struct config *c, struct bytes request,
                      struct inject_fault *fault, struct err_msg *msg)
{
    struct json j;
    struct json_error error;
    json_init(&j);
    int err = json_parse(&j, request, INJECT_BODY_MAX, &error);
    if (err != ERR_OK)
        err_set(msg, err, "%s", error.text);
    else
        err = inject_read(&j, 0, fault, msg);
    json_free(&j);
    if (err == ERR_OK)
        err = check_name(c, "from", fault->from, msg);
    if (err == ERR_OK)
        err = check_name(c, "to", fault->to, msg);
    if (err == ERR_OK)
        err = check_name(c, "at", fault->at, msg);
    return err;
}

static int answer_added(struct buf *body, const char *id, bool applies)
{
    struct json_writer out;
    json_writer_init(&out, body);
    json_write_object_begin(&out);
    json_write_member_str(&out, "id", id);
    json_write_member_bool(&out, "applies", applies);
    json_write_object_end(&out);
    return 200;
}

static void log_fault(const struct inject_fault *fault)
{
    char text[INJECT_SENTENCE_MAX];
    inject_describe(fault, text, sizeof(text));
    log_warn("a fault on request", LOG_STR("fault", text),
             LOG_STR("id", fault->id), LOG_UINT("for_us", fault->for_us));
}

static int keep(struct faults *f, const struct inject_fault *fault,
                struct buf *body)
{
    const struct inject_active *added;
    int err = inject_list_add(&f->list, fault, clock_mono_us(), &added);
    if (err == ERR_EXISTS)
        return answer_error(body, 409, "Conflict",
                            "a fault with this id is active");
    if (err == ERR_FULL)
        return answer_error(body, 503, "ServiceUnavailable",
                            "too many faults are active; clear some");
    CHECK(err == ERR_OK);
    log_fault(&added->fault);
    answer_added(body, added->fault.id, true);
    changed(f); /* may remove it again */
    return 200;
}

/* What happens at once, and is not kept. */
static int do_now(struct faults *f, const struct inject_fault *fault,
                  struct buf *body)
{
    struct err_msg msg;
    int err = faults_node_now(f->worker, fault, &msg);
    if (err == ERR_BUSY)
        return answer_error(body, 409, "Conflict", msg.text);
    if (err != ERR_OK)
        return answer_error(body, 400, "BadRequest", msg.text);
    log_fault(fault);
    return answer_added(body, fault->id, true);
}

static int post(struct faults *f, struct bytes request, struct buf *body)
{
    const struct config *c = f->worker->node->config;
    struct inject_fault fault;
    struct err_msg msg;
    if (read_fault(c, request, &fault, &msg) != ERR_OK)
        return answer_error(body, 400, "BadRequest", msg.text);
    if (!concerns(c, &fault))
        return answer_added(body, fault.id, false);
    if (inject_is_instant(fault.kind))
        return do_now(f, &fault, body);
    return keep(f, &fault, body);
}

/* ---- clearing --------------------------------------------------------------
 */

static int answer_removed(struct faults *f, size_t removed, struct buf *body)
{
    if (removed > 0) {
        log_warn("faults on request are cleared", LOG_UINT("cleared", removed),
                 LOG_UINT("active", f->list.count));
        changed(f);
    }
    (void)buf_printf(body, "{\"removed\":%zu}", removed);
    return 200;
}

static int clear_one(struct faults *f, struct bytes name, struct buf *body)
{
    char id[INJECT_ID_MAX + 1];
    if (name.len == 0 || name.len > INJECT_ID_MAX)
        return answer_error(body, 400, "BadRequest",
                            "expected DELETE /faults/ID");
    memcpy(id, name.data, name.len);
    id[name.len] = '\0';
    return answer_removed(f, inject_list_remove(&f->list, id) == ERR_OK, body);
}

static int clear_all(struct faults *f, struct buf *body)
{
    size_t count = f->list.count;
    f->list.count = 0;
    return answer_removed(f, count, body);
}

/* ---- routes ----------------------------------------------------------------
 */

#define PATH "/faults"

bool faults_target(struct bytes target)
{
    size_t len = strlen(PATH);
    return target.len >= len && memcmp(target.data, PATH, len) == 0 &&
           (target.len == len || target.data[len] == '/');
}

static int change(struct faults *f, enum http_method method,
                  struct bytes target, struct bytes request, struct buf *body)
{
    size_t len = strlen(PATH);
    if (!f->worker->node->config->fault_injection)
        return answer_error(body, 403, "Forbidden",
                            "this node does not inject faults; the setting "
                            "fault_injection: true lets it, for tests only");
    if (method == HTTP_METHOD_POST)
        return post(f, request, body);
    if (target.len == len)
        return clear_all(f, body);
    return clear_one(f, bytes_of(target.data + len + 1, target.len - len - 1),
                     body);
}

int faults_handle(struct worker *w, enum http_method method,
                  struct bytes target, struct bytes request, struct buf *body)
{
    struct faults *f = w->faults;
    bool whole = bytes_equal(target, bytes_str(PATH));
    if (!whole && (method != HTTP_METHOD_DELETE ||
                   memchr(target.data + strlen(PATH) + 1, '/',
                          target.len - strlen(PATH) - 1) != NULL))
        return answer_error(body, 404, "NotFound",
                            "there is /faults, and /faults/ID to DELETE");
    if (whole && method == HTTP_METHOD_GET)
        return show(f, body);
    if (method != HTTP_METHOD_POST && method != HTTP_METHOD_DELETE)
        return answer_error(body, 405, "MethodNotAllowed",
                            "GET, POST and DELETE /faults, DELETE /faults/ID");
    return change(f, method, target, request, body);
}
