#include "node/server/faults.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/fault.h"
#include "node/base/log.h"
#include "node/server/peers.h"
#include "node/server/worker.h"

#define BODY_MAX 4096
#define SENTENCE_MAX 256

/* Where a disk that hangs makes a call wait. */
static const char *const disk_points[] = {
    "log.append.before", "log.sync.before", "log.segment.before",
    "store.commit.before"};

static bool disk_hangs(void)
{
    return fault_get("log.sync.before") == FAULT_HANG;
}

static int refuse(struct buf *body, int status, const char *code,
                  const char *message)
{
    struct json_writer out;
    json_writer_init(&out, body);
    json_write_object_begin(&out);
    json_write_key(&out, "code");
    json_write_str(&out, code);
    json_write_key(&out, "message");
    json_write_str(&out, message);
    json_write_object_end(&out);
    return status;
}

/* ---- looking ---------------------------------------------------------------
 */

static void put_ms(struct json_writer *out, const char *key, uint32_t us)
{
    json_write_key(out, key);
    json_write_number(out, us / 1000.0);
}

static void put_impairment(struct json_writer *out, const char *key,
                           const struct impairment *i)
{
    json_write_key(out, key);
    json_write_object_begin(out);
    put_ms(out, "delay_ms", i->delay_us);
    put_ms(out, "jitter_ms", i->jitter_us);
    json_write_key(out, "loss_permille");
    json_write_uint64(out, i->loss_permille);
    json_write_key(out, "cut");
    json_write_bool(out, i->cut);
    json_write_object_end(out);
}

void faults_put_link(struct json_writer *out, const struct links_stats *stats)
{
    if (!impairment_none(&stats->out))
        put_impairment(out, "out", &stats->out);
    if (!impairment_none(&stats->in))
        put_impairment(out, "in", &stats->in);
}

/* Calls `each` for every other node of the cluster. */
static void
for_each_peer(struct worker *w,
              void (*each)(struct worker *w, const struct config_region *region,
                           const struct config_node *node, void *arg),
              void *arg)
{
    const struct config *c = w->node->config;
    for (size_t i = 0; i < c->region_count; i++)
        for (size_t j = 0; j < c->regions[i].node_count; j++)
            if (c->regions[i].nodes[j].id != c->id)
                each(w, &c->regions[i], &c->regions[i].nodes[j], arg);
}

static bool link_of(const struct worker *w, const struct config_node *node,
                    struct links_stats *stats_out)
{
    return links_get_stats(peers_links(w->peers), node->id, stats_out) ==
           ERR_OK;
}

static void put_link(struct worker *w, const struct config_region *region,
                     const struct config_node *node, void *arg)
{
    struct json_writer *out = arg;
    struct links_stats s;
    if (!link_of(w, node, &s) ||
        (impairment_none(&s.out) && impairment_none(&s.in)))
        return;
    json_write_object_begin(out);
    json_write_key(out, "node");
    json_write_str(out, node->name);
    json_write_key(out, "region");
    json_write_str(out, region->name);
    put_impairment(out, "out", &s.out);
    put_impairment(out, "in", &s.in);
    json_write_object_end(out);
}

static int show(struct worker *w, struct buf *body)
{
    struct json_writer out;
    json_writer_init(&out, body);
    json_write_object_begin(&out);
    json_write_key(&out, "fault_injection");
    json_write_bool(&out, w->node->config->fault_injection);
    json_write_key(&out, "links");
    json_write_array_begin(&out);
    for_each_peer(w, put_link, &out);
    json_write_array_end(&out);
    json_write_key(&out, "disk");
    json_write_object_begin(&out);
    json_write_key(&out, "hang");
    json_write_bool(&out, disk_hangs());
    json_write_object_end(&out);
    json_write_object_end(&out);
    return 200;
}

static bool same(const struct impairment *a, const struct impairment *b)
{
    return a->delay_us == b->delay_us && a->jitter_us == b->jitter_us &&
           a->loss_permille == b->loss_permille && a->cut == b->cut;
}

/* Appends "sentence, " parts; the text is cut where it does not fit. */
static void add_part(char *text, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void add_part(char *text, size_t size, const char *format, ...)
{
    size_t len = strlen(text);
    if (text[len - 1] != ':' && len + 1 < size)
        text[len++] = ',';
    if (len + 1 < size)
        text[len++] = ' ';
    va_list args;
    va_start(args, format);
    vsnprintf(text + len, size - len, format, args);
    va_end(args);
}

static void put_sentence(struct worker *w, const struct config_region *region,
                         const struct config_node *node, void *arg)
{
    struct links_stats s;
    struct impairment base = peers_latency(w->node->config, region->name);
    if (!link_of(w, node, &s) ||
        (same(&s.out, &base) && impairment_none(&s.in)))
        return;
    char text[SENTENCE_MAX];
    const struct impairment *out = &s.out;
    snprintf(text, sizeof(text), "link to %s:", node->name);
    if (out->cut || s.in.cut)
        add_part(text, sizeof(text), "cut %s",
                 !out->cut   ? "from there"
                 : !s.in.cut ? "to there"
                             : "both ways");
    if (out->delay_us != base.delay_us)
        add_part(text, sizeof(text), "delayed by %.1f ms",
                 out->delay_us / 1000.0);
    if (out->jitter_us > 0)
        add_part(text, sizeof(text), "up to %.1f ms of jitter",
                 out->jitter_us / 1000.0);
    if (out->loss_permille > 0)
        add_part(text, sizeof(text), "%u of 1000 Raft messages lost",
                 out->loss_permille);
    json_write_str(arg, text);
}

void faults_put_list(struct json_writer *out, const struct worker *w)
{
    json_write_array_begin(out);
    for_each_peer((struct worker *)w, put_sentence, out);
    if (disk_hangs())
        json_write_str(out, "the disk hangs");
    json_write_array_end(out);
}

static void count_link(struct worker *w, const struct config_region *region,
                       const struct config_node *node, void *arg)
{
    struct links_stats s;
    struct impairment base = peers_latency(w->node->config, region->name);
    uint32_t *counts = arg;
    if (!link_of(w, node, &s))
        return;
    counts[INJECT_CUT] += s.out.cut || s.in.cut;
    counts[INJECT_DELAY] +=
        s.out.delay_us != base.delay_us || s.out.jitter_us > 0;
    counts[INJECT_LOSS] += s.out.loss_permille > 0;
}

void faults_count(const struct worker *w,
                  uint32_t counts_out[INJECT_KIND_COUNT])
{
    memset(counts_out, 0, INJECT_KIND_COUNT * sizeof(*counts_out));
    for_each_peer((struct worker *)w, count_link, counts_out);
    counts_out[INJECT_DISK_HANG] = disk_hangs();
}

/* ---- links -----------------------------------------------------------------
 */

/* A body of POST /faults/links. */
struct link_fault {
    char from[CONFIG_NAME_MAX + 1], to[CONFIG_NAME_MAX + 1];
    bool both;
    bool delayed; /* delay_ms was given */
    struct impairment impairment;
    unsigned applied;
};

static bool is_one_of(const char *who, const struct config_region *region,
                      const struct config_node *node)
{
    return strcmp(who, "*") == 0 || strcmp(who, region->name) == 0 ||
           strcmp(who, node->name) == 0;
}

static bool is_known(const struct config *c, const char *who)
{
    for (size_t i = 0; i < c->region_count; i++)
        for (size_t j = 0; j < c->regions[i].node_count; j++)
            if (is_one_of(who, &c->regions[i], &c->regions[i].nodes[j]))
                return true;
    return false;
}

static void impair(struct worker *w, const struct config_node *node,
                   enum impair_direction direction, const struct impairment *i,
                   struct link_fault *f)
{
    if (links_impair(peers_links(w->peers), node->id, direction, i) == ERR_OK)
        f->applied++;
}

static void set_direction(struct worker *w, const struct config_region *region,
                          const struct config_node *node, const char *from,
                          const char *to, struct link_fault *f)
{
    const struct config *c = w->node->config;
    struct impairment out = f->impairment;
    struct impairment in = {.cut = f->impairment.cut};
    if (!f->delayed)
        out.delay_us = peers_latency(c, region->name).delay_us;
    if (is_one_of(from, c->own_region, c->own_node) &&
        is_one_of(to, region, node))
        impair(w, node, IMPAIR_OUT, &out, f);
    if (is_one_of(from, region, node) &&
        is_one_of(to, c->own_region, c->own_node))
        impair(w, node, IMPAIR_IN, &in, f);
}

static void set_link(struct worker *w, const struct config_region *region,
                     const struct config_node *node, void *arg)
{
    struct link_fault *f = arg;
    set_direction(w, region, node, f->from, f->to, f);
    if (f->both)
        set_direction(w, region, node, f->to, f->from, f);
}

static void heal_link(struct worker *w, const struct config_region *region,
                      const struct config_node *node, void *arg)
{
    struct impairment out = peers_latency(w->node->config, region->name);
    struct impairment in = {.cut = false};
    impair(w, node, IMPAIR_OUT, &out, arg);
    impair(w, node, IMPAIR_IN, &in, arg);
}

/* ---- reading bodies --------------------------------------------------------
 */

static bool read_us(const struct json *j, json_ref value, uint32_t *us_out)
{
    double ms = json_type(j, value) == JSON_NUMBER ? json_number(j, value) : -1;
    if (!(ms >= 0 && ms * 1000 <= (double)IMPAIR_DELAY_MAX_US))
        return false;
    *us_out = (uint32_t)lround(ms * 1000);
    return true;
}

static bool read_bool(const struct json *j, json_ref value, bool *out)
{
    if (json_type(j, value) != JSON_BOOL)
        return false;
    *out = json_bool(j, value);
    return true;
}

/* Names have no escapes, so the text of a string that has some names nobody. */
static bool read_who(const struct config *c, const struct json *j,
                     json_ref value, char out[CONFIG_NAME_MAX + 1])
{
    struct bytes raw = json_raw(j, value);
    if (json_type(j, value) != JSON_STRING || raw.len - 2 > CONFIG_NAME_MAX)
        return false;
    memcpy(out, raw.data + 1, raw.len - 2);
    out[raw.len - 2] = '\0';
    return is_known(c, out);
}

static bool read_permille(const struct json *j, json_ref value,
                          uint32_t *permille_out)
{
    int64_t n;
    if (json_type(j, value) != JSON_NUMBER ||
        json_int64(j, value, &n) != ERR_OK || n < 0 || n > 1000)
        return false;
    *permille_out = (uint32_t)n;
    return true;
}

enum member { FROM, TO, BOTH, CUT, DELAY, JITTER, LOSS };
static const struct {
    const char *name, *expected;
} members[] = {
    [FROM] = {"from", "from: expected a region, a node or \"*\""},
    [TO] = {"to", "to: expected a region, a node or \"*\""},
    [BOTH] = {"both", "both: expected true or false"},
    [CUT] = {"cut", "cut: expected true or false"},
    [DELAY] = {"delay_ms", "delay_ms: expected 0 to 10000"},
    [JITTER] = {"jitter_ms", "jitter_ms: expected 0 to 10000"},
    [LOSS] = {"loss_permille", "loss_permille: expected 0 to 1000"},
};

static bool read_value(const struct config *c, const struct json *j,
                       json_ref value, enum member m, struct link_fault *f)
{
    struct impairment *i = &f->impairment;
    switch (m) {
    case FROM:
        return read_who(c, j, value, f->from);
    case TO:
        return read_who(c, j, value, f->to);
    case BOTH:
        return read_bool(j, value, &f->both);
    case CUT:
        return read_bool(j, value, &i->cut);
    case DELAY:
        f->delayed = true;
        return read_us(j, value, &i->delay_us);
    case JITTER:
        return read_us(j, value, &i->jitter_us);
    case LOSS:
        return read_permille(j, value, &i->loss_permille);
    }
    CHECK_UNREACHABLE();
}

/* What is wrong with the member, NULL when nothing is. */
static const char *read_member(const struct config *c, const struct json *j,
                               json_ref key, struct link_fault *f)
{
    for (size_t m = 0; m < ARRAY_LEN(members); m++)
        if (json_string_equal(j, key, bytes_str(members[m].name)))
            return read_value(c, j, key + 1, (enum member)m, f)
                       ? NULL
                       : members[m].expected;
    return "unknown member; there are from, to, both, delay_ms, jitter_ms, "
           "loss_permille and cut";
}

static const char *read_fault(const struct config *c, const struct json *j,
                              struct link_fault *f)
{
    if (json_type(j, 0) != JSON_OBJECT)
        return "expected an object";
    for (json_ref k = json_first(j, 0); k != JSON_NONE;
         k = json_next_member(j, 0, k)) {
        const char *wrong = read_member(c, j, k, f);
        if (wrong != NULL)
            return wrong;
    }
    return f->from[0] == '\0' || f->to[0] == '\0' ? "from and to are needed"
                                                  : NULL;
}

static int answer_applied(struct buf *body, const struct link_fault *f)
{
    CHECK(buf_printf(body, "{\"applied\":%u}", f->applied) == ERR_OK);
    return 200;
}

static int post_links(struct worker *w, const struct json *j, struct buf *body)
{
    struct link_fault f = {.both = false};
    const char *wrong = read_fault(w->node->config, j, &f);
    if (wrong != NULL)
        return refuse(body, 400, "BadRequest", wrong);
    for_each_peer(w, set_link, &f);
    if (f.applied > 0)
        log_warn("links are impaired on request", LOG_STR("from", f.from),
                 LOG_STR("to", f.to), LOG_UINT("both", f.both),
                 LOG_UINT("cut", f.impairment.cut),
                 LOG_UINT("delay_us", f.impairment.delay_us),
                 LOG_UINT("jitter_us", f.impairment.jitter_us),
                 LOG_UINT("loss_permille", f.impairment.loss_permille));
    return answer_applied(body, &f);
}

static int delete_links(struct worker *w, struct buf *body)
{
    struct link_fault f = {.both = false};
    for_each_peer(w, heal_link, &f);
    log_warn("links are healed on request");
    return answer_applied(body, &f);
}

static int post_disk(const struct json *j, struct buf *body)
{
    bool hang;
    if (json_get_bool(j, 0, "hang", &hang) != ERR_OK)
        return refuse(body, 400, "BadRequest",
                      "expected {\"hang\":true} or {\"hang\":false}");
    for (size_t i = 0; i < ARRAY_LEN(disk_points); i++)
        fault_set(disk_points[i], hang ? FAULT_HANG : FAULT_NONE);
    log_warn(hang ? "the disk hangs on request"
                  : "the disk does not hang any more");
    CHECK(buf_printf(body, "{\"hang\":%s}", hang ? "true" : "false") == ERR_OK);
    return 200;
}

/* ---- routes ----------------------------------------------------------------
 */

bool faults_target(struct bytes target)
{
    static const char prefix[] = "/faults";
    size_t len = sizeof(prefix) - 1;
    return target.len >= len && memcmp(target.data, prefix, len) == 0 &&
           (target.len == len || target.data[len] == '/');
}

static int post(struct worker *w, bool links, struct bytes request,
                struct buf *body)
{
    struct json j;
    struct json_error error;
    json_init(&j);
    int status;
    if (json_parse(&j, request, BODY_MAX, &error) != ERR_OK)
        status = refuse(body, 400, "BadRequest", error.text);
    else
        status = links ? post_links(w, &j, body) : post_disk(&j, body);
    json_free(&j);
    return status;
}

int faults_handle(struct worker *w, enum http_method method,
                  struct bytes target, struct bytes request, struct buf *body)
{
    bool links = bytes_equal(target, bytes_str("/faults/links"));
    bool disk = bytes_equal(target, bytes_str("/faults/disk"));
    if (!links && !disk && !bytes_equal(target, bytes_str("/faults")))
        return refuse(body, 404, "NotFound",
                      "there is /faults, /faults/links and /faults/disk");
    if (method == HTTP_METHOD_GET && !disk)
        return show(w, body);
    if (!(method == HTTP_METHOD_POST && (links || disk)) &&
        !(method == HTTP_METHOD_DELETE && links))
        return refuse(body, 405, "MethodNotAllowed",
                      "GET /faults, POST and DELETE /faults/links, POST "
                      "/faults/disk");
    if (!w->node->config->fault_injection)
        return refuse(body, 403, "Forbidden",
                      "this node does not inject faults; the setting "
                      "fault_injection: true lets it, for tests only");
    return method == HTTP_METHOD_DELETE ? delete_links(w, body)
                                        : post(w, links, request, body);
}
