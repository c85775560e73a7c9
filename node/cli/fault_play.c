#include "node/cli/fault_play.h"

#include <string.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/cli/fault_setup.h"
#include "node/cli/fault_tell.h"
#include "node/cli/renew.h"
#include "node/cli/supervise.h"
#include "node/crypt/cert.h"

#define NAP_US (20 * USEC_PER_MS)
#define HEAL_ATTEMPTS 3
#define RESTART_DOWN "1s"
/* So long after the last step that what it promises can be seen. */
#define AFTERMATH_US (1 * USEC_PER_SEC)

/* ---- waiting ----------------------------------------------------------------
 */

static int nap(const struct fault_play *p, struct err_msg *msg)
{
    if (*p->stop)
        return err_set(msg, ERR_CANCELLED, "interrupted");
    usleep(NAP_US);
    return ERR_OK;
}

static int sleep_until(const struct fault_play *p, usec_t us,
                       struct err_msg *msg)
{
    int err = ERR_OK;
    while (err == ERR_OK && fault_watch_now(p->watch) < us)
        err = nap(p, msg);
    return err;
}

/* Waits until a view that was asked for from now on fulfils `done`. */
static int wait_view(struct fault_play *p, usec_t limit_us, const char *what,
                     bool (*done)(const struct fault_view *v, const void *want),
                     const void *want, struct err_msg *msg)
{
    usec_t began_us = clock_mono_us();
    int err = ERR_OK;
    while (err == ERR_OK) {
        struct fault_view v;
        fault_watch_view(p->watch, &v);
        if (v.known && v.asked_us >= began_us && done(&v, want))
            return ERR_OK;
        if (clock_mono_us() - began_us > limit_us)
            return err_set(msg, ERR_TIMEOUT, "%s: not within %.1f s (%.300s)",
                           what, (double)limit_us / USEC_PER_SEC,
                           v.why[0] != '\0' ? v.why : "writes go elsewhere");
        err = nap(p, msg);
    }
    return err;
}

static bool is_well(const struct fault_view *v, const void *want)
{
    (void)want;
    return v->well;
}

static bool is_rejoined(const struct fault_view *v, const void *want)
{
    (void)want;
    return v->rejoined;
}

static bool is_settled(const struct fault_view *v, const void *want)
{
    (void)want;
    return v->newest.settled;
}

static bool is_region(const struct fault_view *v, const void *want)
{
    return v->newest.settled && strcmp(v->newest.write_region, want) == 0;
}

static bool is_level(const struct fault_view *v, const void *want)
{
    struct consistency_policy now = fault_play_policy_of(&v->newest);
    return v->newest.settled && consistency_same(&now, want);
}

int fault_play_wait_well(struct fault_play *p, usec_t limit_us,
                         struct err_msg *msg)
{
    return wait_view(p, limit_us, "all is well", is_well, NULL, msg);
}

int fault_play_wait_rejoined(struct fault_play *p, usec_t limit_us,
                             struct err_msg *msg)
{
    return wait_view(p, limit_us, "all are back", is_rejoined, NULL, msg);
}

/* ---- names ------------------------------------------------------------------
 */

static const char *first_node(const struct reach *r, const char *region)
{
    for (unsigned i = 0; i < r->node_count; i++)
        if (strcmp(r->nodes[i].region, region) == 0)
            return r->nodes[i].name;
    return "";
}

static bool leads(struct reach *r, unsigned node, struct reach_answer *a)
{
    char role[16];
    if (reach_ask(r, node, "status", NULL, REACH_ASK_TIMEOUT_US, a, NULL) !=
        ERR_OK)
        return false;
    json_ref shards = json_get_str(&a->json, 0, "shards");
    json_ref first =
        shards != JSON_NONE ? json_at(&a->json, shards, 1) : JSON_NONE;
    if (first == JSON_NONE)
        return false;
    topology_get_text(&a->json, first, "role", role, sizeof(role));
    return strcmp(role, "leader") == 0;
}

void fault_play_names(struct reach *r, const struct topology *t,
                      struct scenario_names *names_out)
{
    const char *write = t->write_region, *next = "", *read = "";
    const char *leader = "";
    struct reach_answer a;
    for (unsigned i = 0; i < t->region_count; i++) {
        if (strcmp(t->regions[i].name, write) == 0)
            continue;
        read = t->regions[i].name;
        next = next[0] == '\0' ? read : next;
    }
    reach_answer_init(&a);
    for (unsigned i = 0; i < r->node_count && leader[0] == '\0'; i++)
        if (leads(r, i, &a))
            leader = r->nodes[i].name;
    reach_answer_free(&a);
    const char *all[SCENARIO_PLACEHOLDERS] = {
        [SCENARIO_P_WRITE_REGION] = write,
        [SCENARIO_P_NEXT_REGION] = next,
        [SCENARIO_P_READ_REGION] = read,
        [SCENARIO_P_WRITE_NODE] = first_node(r, write),
        [SCENARIO_P_READ_NODE] = first_node(r, read),
        [SCENARIO_P_WRITE_LEADER] = leader,
    };
    for (size_t i = 0; i < SCENARIO_PLACEHOLDERS; i++)
        snprintf(names_out->name[i], sizeof(names_out->name[i]), "%s", all[i]);
}

static int resolve(const struct fault_play *p, const char *text, char *out,
                   size_t size, struct err_msg *msg)
{
    struct buf b;
    buf_init(&b, size - 1);
    int err = scenario_resolve(text, &p->names, &b, msg);
    if (err == ERR_OK)
        snprintf(out, size, "%s", buf_cstr(&b));
    buf_free(&b);
    return err;
}

/* ---- faults -----------------------------------------------------------------
 */

/* The fault with names in place of placeholders, and an id of its own. */
static int make_fault(struct fault_play *p, const struct scenario_step *s,
                      struct inject_fault *fault_out, struct err_msg *msg)
{
    int err = scenario_read_fault(s->text, &p->names, fault_out, msg);
    if (err == ERR_OK && fault_out->id[0] == '\0')
        snprintf(fault_out->id, sizeof(fault_out->id), "%s-%zu", p->run,
                 (size_t)(s - p->scenario->steps) + 1);
    return err;
}

/* Tells every node. One that is gone need not hear of it, and one that is
 * killed may not answer; but none may refuse, and one has to have use for it.
 */
static int tell_fault(struct fault_play *p, const struct inject_fault *fault,
                      struct err_msg *msg)
{
    struct buf body;
    struct fault_tell *tell = mem_zalloc(sizeof(*tell));
    bool instant = inject_is_instant(fault->kind);
    int err = ERR_OK;
    buf_init(&body, INJECT_BODY_MAX);
    fault_tell_write(fault, &body);
    fault_tell_add(p->reach, buf_cstr(&body), tell);
    for (unsigned i = 0; i < p->reach->node_count && err == ERR_OK; i++)
        if (tell->nodes[i].how == FAULT_TOLD_REFUSED)
            err =
                err_set(msg, ERR_INVALID, "%s: %.300s",
                        fault_tell_node(p->reach, i), tell->nodes[i].why.text);
    if (err == ERR_OK && tell->done == 0 && !instant)
        err = err_set(msg, ERR_UNAVAILABLE, "no node has use for it");
    buf_free(&body);
    mem_free(tell);
    return err;
}

static int add_fault(struct fault_play *p, const struct scenario_step *s,
                     struct err_msg *msg)
{
    struct inject_fault fault;
    int err = make_fault(p, s, &fault, msg);
    if (err == ERR_OK) {
        strcpy(p->ids[p->id_count++], fault.id);
        err = tell_fault(p, &fault, msg);
    }
    return err;
}

/* Whether every node has heard that the fault is over. */
static bool clear_id(struct fault_play *p, const char *id)
{
    struct fault_tell *tell = mem_zalloc(sizeof(*tell));
    bool all = true;
    fault_tell_clear(p->reach, id, tell);
    for (unsigned i = 0; i < p->reach->node_count; i++)
        all = all && (tell->nodes[i].how == FAULT_TOLD_DONE ||
                      tell->nodes[i].how == FAULT_TOLD_NOTHING);
    mem_free(tell);
    return all;
}

static void forget_id(struct fault_play *p, size_t i)
{
    p->id_count--;
    memmove(p->ids[i], p->ids[i + 1], (p->id_count - i) * sizeof(p->ids[0]));
}

/* A node that was killed has none when it comes back: it need not hear. */
static int clear_fault(struct fault_play *p, const char *what,
                       struct err_msg *msg)
{
    bool all = strcmp(what, "all") == 0, found = false;
    for (size_t i = p->id_count; i-- > 0;) {
        if (!all && strcmp(p->ids[i], what) != 0)
            continue;
        found = true;
        if (clear_id(p, p->ids[i]))
            forget_id(p, i);
    }
    return all || found
               ? ERR_OK
               : err_set(msg, ERR_NOT_FOUND,
                         "no step before has added the fault %s", what);
}

int fault_play_heal(struct fault_play *p, struct err_msg *msg)
{
    for (unsigned i = 0; i < HEAL_ATTEMPTS && p->id_count > 0; i++) {
        if (i > 0)
            usleep(USEC_PER_SEC);
        for (size_t k = p->id_count; k-- > 0;)
            if (clear_id(p, p->ids[k]))
                forget_id(p, k);
    }
    return p->id_count == 0
               ? ERR_OK
               : err_set(msg, ERR_UNAVAILABLE,
                         "a node does not answer, so the fault %s may still "
                         "be there; see bastide fault list",
                         p->ids[0]);
}

/* ---- changes ----------------------------------------------------------------
 */

static int post(struct fault_play *p, const char *path, const char *body,
                struct err_msg *msg)
{
    struct reach_answer a;
    reach_answer_init(&a);
    int err = reach_any(p->reach, path, body, REACH_CHANGE_TIMEOUT_US, &a, msg);
    reach_answer_free(&a);
    return err;
}

struct consistency_policy fault_play_policy_of(const struct topology *t)
{
    return (struct consistency_policy){
        .level = t->level,
        .max_staleness_prefix = (int32_t)t->prefix,
        .max_staleness_interval = (int32_t)t->interval};
}

static void promise(struct fault_play *p, usec_t from_us, uint32_t levels,
                    const struct consistency_policy *policy)
{
    CHECK(p->promise_count < FAULT_PROMISES_MAX);
    p->promises[p->promise_count++] = (struct hist_promise){
        .from_us = from_us,
        .level = policy->level,
        .levels = levels | 1u << policy->level,
        .max_entries = policy->max_staleness_prefix > 0
                           ? (uint64_t)policy->max_staleness_prefix
                           : UINT64_MAX,
        .max_us = policy->max_staleness_interval > 0
                      ? policy->max_staleness_interval * USEC_PER_SEC
                      : SCENARIO_TIME_MAX_US,
    };
}

void fault_play_promise_first(struct fault_play *p,
                              const struct consistency_policy *policy)
{
    promise(p, 0, 0, policy);
}

/* While one becomes the other, the weaker level and the wider bounds count. */
static struct consistency_policy weaker(const struct consistency_policy *a,
                                        const struct consistency_policy *b)
{
    struct consistency_policy w = *a;
    if (b->level > w.level)
        w.level = b->level;
    if (b->max_staleness_prefix > w.max_staleness_prefix)
        w.max_staleness_prefix = b->max_staleness_prefix;
    if (b->max_staleness_interval > w.max_staleness_interval)
        w.max_staleness_interval = b->max_staleness_interval;
    return w;
}

static int post_policy(struct fault_play *p, const struct consistency_policy *c,
                       struct err_msg *msg)
{
    char storage[160];
    struct buf body = buf_over(storage, sizeof(storage) - 1);
    struct json_writer w;
    json_writer_init(&w, &body);
    json_write_object_begin(&w);
    json_write_member_str(&w, "level", consistency_name(c->level));
    if (c->max_staleness_prefix > 0)
        json_write_member_int64(&w, "max_staleness_prefix",
                                c->max_staleness_prefix);
    if (c->max_staleness_interval > 0)
        json_write_member_int64(&w, "max_staleness_interval",
                                c->max_staleness_interval);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
    storage[buf_len(&body)] = '\0';
    return post(p, "consistency", storage, msg);
}

/* When a watch has only just begun there is none. */
static int first_view(struct fault_play *p, usec_t limit_us,
                      struct fault_view *out, struct err_msg *msg)
{
    usec_t until_us = clock_mono_us() + limit_us;
    int err = ERR_OK;
    for (fault_watch_view(p->watch, out); err == ERR_OK && !out->known;
         fault_watch_view(p->watch, out)) {
        if (clock_mono_us() > until_us)
            return err_set(msg, ERR_TIMEOUT,
                           "no node tells the level that there is");
        err = nap(p, msg);
    }
    return err;
}

int fault_play_level(struct fault_play *p,
                     const struct consistency_policy *want, usec_t limit_us,
                     struct err_msg *msg)
{
    struct fault_view v;
    int err = first_view(p, limit_us, &v, msg);
    if (err != ERR_OK)
        return err;
    struct consistency_policy old = fault_play_policy_of(&v.newest);
    struct consistency_policy now = consistency_over(&old, want);
    struct consistency_policy meanwhile = weaker(&old, &now);
    if (p->load != NULL) {
        /* A node that is at session already needs the tokens. */
        if (now.level == CONSISTENCY_SESSION)
            fault_load_level(p->load, now.level);
        promise(p, fault_load_now(p->load), 1u << old.level | 1u << now.level,
                &meanwhile);
    }
    err = post_policy(p, &now, msg);
    if (err == ERR_OK)
        err = wait_view(p, limit_us, "the new level", is_level, &now, msg);
    if (err == ERR_OK && p->load != NULL) {
        /* In this order: until then a request at session needs its tokens. */
        promise(p, fault_load_now(p->load), 0, &now);
        if (now.level != CONSISTENCY_SESSION)
            fault_load_level(p->load, now.level);
    }
    return err;
}

static int begin_switch(struct fault_play *p, const char *region,
                        usec_t limit_us, struct err_msg *msg)
{
    char body[INJECT_NAME_MAX + 32];
    usec_t until_us = clock_mono_us() + limit_us;
    snprintf(body, sizeof(body), "{\"to\":\"%s\",\"force\":false}", region);
    p->moved = true;
    int err = post(p, "regions/switch", body, msg);
    /* A cluster that has just healed does not know at once who is well. */
    while ((err == ERR_PRECONDITION || err == ERR_UNAVAILABLE) &&
           clock_mono_us() < until_us && nap(p, msg) == ERR_OK)
        err = post(p, "regions/switch", body, msg);
    return err;
}

int fault_play_switch(struct fault_play *p, const char *region, usec_t limit_us,
                      struct err_msg *msg)
{
    int err = begin_switch(p, region, limit_us, msg);
    return err == ERR_OK
               ? wait_view(p, limit_us, "the switch", is_region, region, msg)
               : err;
}

/* ---- node by node
 * ---------------------------------------------------------------
 */

/* Whether the node has started after `since_us`, for certain: it tells its age
 * in whole seconds. */
static bool is_younger(struct fault_play *p, unsigned node, usec_t since_us)
{
    struct reach_answer a;
    int64_t age_s;
    reach_answer_init(&a);
    bool known = reach_ask(p->reach, node, "status", NULL, REACH_ASK_TIMEOUT_US,
                           &a, NULL) == ERR_OK;
    known = known && json_get_int64(&a.json, 0, "uptime_s", &age_s) == ERR_OK;
    reach_answer_free(&a);
    return known && age_s < (clock_mono_us() - since_us) / USEC_PER_SEC;
}

/* It answers for a moment still, so that answers prove nothing: only its age
 * does. */
static int wait_restarted(struct fault_play *p, unsigned node, usec_t since_us,
                          usec_t limit_us, struct err_msg *msg)
{
    int err = ERR_OK;
    while (err == ERR_OK && !is_younger(p, node, since_us)) {
        if (clock_mono_us() - since_us > limit_us)
            return err_set(msg, ERR_TIMEOUT, "%s: not restarted within %.1f s",
                           p->reach->nodes[node].name,
                           (double)limit_us / USEC_PER_SEC);
        err = nap(p, msg);
    }
    return err;
}

static int restart_node(struct fault_play *p, unsigned node, usec_t limit_us,
                        struct err_msg *msg)
{
    char body[INJECT_NAME_MAX + 64];
    const char *name = p->reach->nodes[node].name;
    struct reach_answer a;
    struct err_msg why;
    snprintf(body, sizeof(body),
             "{\"kind\":\"kill\",\"at\":\"%s\",\"for\":\"" RESTART_DOWN "\"}",
             name);
    fault_watch_note(p->watch, fault_watch_now(p->watch), -1, "restart %s",
                     name);
    reach_answer_init(&a);
    usec_t since_us = clock_mono_us();
    int err = reach_ask(p->reach, node, "faults", body, REACH_ASK_TIMEOUT_US,
                        &a, &why);
    if (err != ERR_OK && a.status != 0)
        err_set(msg, err, "%s: %.300s", name, why.text);
    else
        err = ERR_OK; /* it may be gone before it has answered */
    reach_answer_free(&a);
    if (err == ERR_OK)
        err = wait_restarted(p, node, since_us, limit_us, msg);
    return err == ERR_OK ? fault_play_wait_well(p, limit_us, msg) : err;
}

/* Connections that are open stay as they are: a fault that ends them makes
 * nodes prove themselves anew. */
static int renew_node(struct fault_play *p, unsigned node, usec_t limit_us,
                      struct err_msg *msg)
{
    const char *name = p->reach->nodes[node].name;
    struct err_msg why;
    int err = renew_certificate(p->dir, name, CERT_NODE_DAYS, msg);
    if (err != ERR_OK)
        return err;
    err = renew_reload(p->reach, node, &why);
    if (err != ERR_OK)
        return err_set(msg, err, "%s does not use its new certificate: %.300s",
                       name, why.text);
    fault_watch_note(p->watch, fault_watch_now(p->watch), -1,
                     "%s has a new certificate", name);
    return fault_play_wait_well(p, limit_us, msg);
}

/* A node that a name means is dealt with before the next one. */
static int node_by_node(struct fault_play *p, const char *who, usec_t limit_us,
                        int (*deal)(struct fault_play *p, unsigned node,
                                    usec_t limit_us, struct err_msg *msg),
                        struct err_msg *msg)
{
    bool found = false;
    int err = ERR_OK;
    for (unsigned i = 0; i < p->reach->node_count && err == ERR_OK; i++)
        if (inject_means(who, p->reach->nodes[i].region,
                         p->reach->nodes[i].name)) {
            found = true;
            err = deal(p, i, limit_us, msg);
        }
    return found ? err
                 : err_set(msg, ERR_NOT_FOUND, "there is no region or node %s",
                           who);
}

/* ---- keys -------------------------------------------------------------------
 */

/* As an application should: the other key first, and then the new one may come
 * in place of the first, which is refused from then on. */
static int rotate_key(struct fault_play *p, const char *name,
                      struct err_msg *msg)
{
    enum config_master_key which = CONFIG_KEY_PRIMARY;
    enum config_master_key rest = CONFIG_KEY_SECONDARY;
    struct auth_key other;
    struct err_msg why;
    if (strcmp(name, config_master_key_name(which)) != 0) {
        which = CONFIG_KEY_SECONDARY;
        rest = CONFIG_KEY_PRIMARY;
    }
    int err = fault_setup_key(p->dir, rest, &other, msg);
    if (err != ERR_OK)
        return err;
    fault_load_key(p->load, &other);
    *p->key = other;
    mem_wipe(&other, sizeof(other));
    err = renew_account_key(p->dir, p->reach, which, msg);
    for (unsigned i = 0; i < p->reach->node_count && err == ERR_OK; i++) {
        err = renew_reload(p->reach, i, &why);
        if (err != ERR_OK)
            err_set(msg, err, "%s does not use the new key: %.300s",
                    p->reach->nodes[i].name, why.text);
    }
    if (err == ERR_OK)
        (void)supervise_ask_keys(p->dir, NULL); /* only a demo has one */
    return err;
}

/* ---- steps ------------------------------------------------------------------
 */

static int wait_step(struct fault_play *p, const struct scenario_step *s,
                     const char *name, struct err_msg *msg)
{
    char what[INJECT_NAME_MAX + 32];
    switch (s->wait) {
    case SCENARIO_HEALTHY:
        return fault_play_wait_well(p, s->limit_us, msg);
    case SCENARIO_SETTLED:
        return wait_view(p, s->limit_us, "settled", is_settled, NULL, msg);
    case SCENARIO_WRITE_REGION:
        break;
    }
    snprintf(what, sizeof(what), "writes go to %s", name);
    return wait_view(p, s->limit_us, what, is_region, name, msg);
}

static int do_step(struct fault_play *p, const struct scenario_step *s,
                   struct err_msg *msg)
{
    char name[INJECT_NAME_MAX + 1] = "";
    if (s->kind != SCENARIO_FAULT && s->text != NULL) {
        int err = resolve(p, s->text, name, sizeof(name), msg);
        if (err != ERR_OK)
            return err;
    }
    switch (s->kind) {
    case SCENARIO_FAULT:
        return add_fault(p, s, msg);
    case SCENARIO_CLEAR:
        return clear_fault(p, name, msg);
    case SCENARIO_SWITCH:
        return s->only_begin ? begin_switch(p, name, s->limit_us, msg)
                             : fault_play_switch(p, name, s->limit_us, msg);
    case SCENARIO_RESTART:
        return node_by_node(p, name, s->limit_us, restart_node, msg);
    case SCENARIO_RENEW:
        return node_by_node(p, name, s->limit_us, renew_node, msg);
    case SCENARIO_ROTATE:
        return rotate_key(p, name, msg);
    case SCENARIO_WAIT:
        return wait_step(p, s, name, msg);
    case SCENARIO_CONSISTENCY:
        return fault_play_level(p, &s->policy, s->limit_us, msg);
    }
    CHECK_UNREACHABLE();
}

static int play_step(struct fault_play *p, size_t i, struct err_msg *msg)
{
    const struct scenario_step *s = &p->scenario->steps[i];
    struct err_msg why = {""};
    char text[SCENARIO_SENTENCE_MAX];
    usec_t due = s->relative ? p->ended_us + s->at_us : s->at_us;
    int err = sleep_until(p, due, &why);
    if (err == ERR_OK) {
        p->step_us[i] = fault_watch_now(p->watch);
        scenario_describe_step(s, &p->names, text);
        fault_watch_note(p->watch, p->step_us[i], (int)i, "%s", text);
        err = do_step(p, s, &why);
        p->ended_us = fault_watch_now(p->watch);
        if (s->kind == SCENARIO_FAULT)
            p->step_us[i] = p->ended_us; /* until then it need not bite */
    }
    if (err != ERR_OK && err != ERR_CANCELLED)
        return err_set(msg, err, "step of line %u: %.400s", s->line, why.text);
    return err == ERR_OK ? ERR_OK : err_set(msg, err, "%s", why.text);
}

/* When everything that a step promises can be seen. */
static usec_t end_of(const struct fault_play *p)
{
    usec_t end = p->scenario->duration_us;
    if (p->ended_us + AFTERMATH_US > end)
        end = p->ended_us + AFTERMATH_US;
    for (size_t i = 0; i < p->scenario->step_count; i++) {
        const struct scenario_step *s = &p->scenario->steps[i];
        usec_t within = s->writes_within_us > s->reads_within_us
                            ? s->writes_within_us
                            : s->reads_within_us;
        if (within > 0 && p->step_us[i] + within > end)
            end = p->step_us[i] + within;
    }
    return end;
}

int fault_play_run(struct fault_play *p, struct err_msg *msg)
{
    int err = ERR_OK;
    for (size_t i = 0; i < p->scenario->step_count; i++)
        p->step_us[i] = FAULT_NOT_PLAYED;
    for (size_t i = 0; i < p->scenario->step_count && err == ERR_OK; i++)
        err = play_step(p, i, msg);
    return err == ERR_OK ? sleep_until(p, end_of(p), msg) : err;
}
