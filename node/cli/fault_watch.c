#include "node/cli/fault_watch.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/mem.h"

#define POLL_US (100 * USEC_PER_MS)
#define ASK_TIMEOUT_US (1 * USEC_PER_SEC)
#define CLOSE_BEHIND_MS 500

struct fault_watch {
    struct reach reach;
    usec_t start_us;
    pthread_t thread;
    bool running;
    atomic_bool stopping;
    pthread_mutex_t lock; /* of what follows */
    struct fault_view view;
    struct fault_note notes[FAULT_NOTES_MAX];
    size_t note_count;
};

usec_t fault_watch_now(const struct fault_watch *w)
{
    return clock_mono_us() - w->start_us;
}

void fault_watch_note(struct fault_watch *w, usec_t us, int step,
                      const char *format, ...)
{
    va_list args;
    pthread_mutex_lock(&w->lock);
    if (w->note_count < FAULT_NOTES_MAX) {
        struct fault_note *n = &w->notes[w->note_count++];
        n->us = us;
        n->step = step;
        va_start(args, format);
        vsnprintf(n->text, sizeof(n->text), format, args);
        va_end(args);
    }
    pthread_mutex_unlock(&w->lock);
}

/* ---- looking ----------------------------------------------------------------
 */

static void judge_node(const struct reach_node *node, const struct topology *t,
                       struct fault_view *v)
{
    bool cut_off = t->unavailable[0] != '\0' || !t->settled;
    v->rejoined = v->rejoined && !cut_off;
    if (!v->well)
        return;
    if (cut_off) {
        v->well = false;
        snprintf(v->why, sizeof(v->why), "%s: %s", node->name,
                 t->unavailable[0] != '\0' ? t->unavailable : "not settled");
        return;
    }
    for (unsigned i = 0; i < t->region_count; i++) {
        const struct topology_region *r = &t->regions[i];
        bool up = strcmp(r->state, "up") == 0;
        const char *name = r->name, *reason = r->reason;
        for (unsigned k = 0; up && k < r->node_count; k++) {
            up = strcmp(r->nodes[k].state, "up") == 0;
            name = r->nodes[k].name;
            reason = r->nodes[k].reason;
        }
        if (up)
            continue;
        v->well = false;
        snprintf(v->why, sizeof(v->why), "%s finds %s not up: %.200s",
                 node->name, name, reason);
        return;
    }
}

/* Whether `t` tells more than `than`: a later decision; of the same, that it is
 * settled; and then the word of a node that does not find itself cut off. */
static bool tells_more(const struct topology *t, const struct topology *than)
{
    if (t->epoch != than->epoch)
        return t->epoch > than->epoch;
    if (t->settled != than->settled)
        return t->settled;
    return t->unavailable[0] == '\0' && than->unavailable[0] != '\0';
}

static bool are_close(const struct topology *t)
{
    for (unsigned i = 0; i < t->region_count; i++)
        for (unsigned k = 0; k < t->regions[i].node_count; k++) {
            int64_t behind = t->regions[i].nodes[k].behind_ms;
            if (behind == TOPOLOGY_UNKNOWN || behind > CLOSE_BEHIND_MS)
                return false;
        }
    return true;
}

/* A view that is being made of the answers. */
struct looking {
    const struct reach *reach;
    struct fault_view *view;
};

static void heard(void *user, unsigned node, int err,
                  const struct reach_answer *a, const struct err_msg *why)
{
    const struct looking *l = user;
    const struct reach_node *n = &l->reach->nodes[node];
    struct fault_view *v = l->view;
    struct topology t;
    struct err_msg msg = *why;
    if (err == ERR_OK)
        err = topology_parse(&a->json, &t, &msg);
    if (err != ERR_OK) {
        v->well = v->rejoined = false;
        snprintf(v->why, sizeof(v->why), "%s: %.300s", n->name, msg.text);
        return;
    }
    judge_node(n, &t, v);
    if (!v->known || tells_more(&t, &v->newest))
        v->newest = t;
    v->known = true;
}

static void look(struct fault_watch *w, struct fault_view *v)
{
    struct looking l = {.reach = &w->reach, .view = v};
    *v = (struct fault_view){
        .well = true, .rejoined = true, .asked_us = clock_mono_us()};
    reach_each(&w->reach, "GET", "topology", NULL, ASK_TIMEOUT_US, heard, &l);
    v->rejoined = v->rejoined && v->known && are_close(&v->newest);
}

/* ---- what changes -----------------------------------------------------------
 */

static void tell_regions(struct fault_watch *w, usec_t now,
                         const struct topology *before,
                         const struct topology *t)
{
    for (unsigned i = 0; i < t->region_count; i++) {
        const struct topology_region *r = &t->regions[i];
        const struct topology_region *was = topology_find(before, r->name);
        if (was != NULL && strcmp(was->state, r->state) != 0)
            fault_watch_note(w, now, -1, "%s is %s%s%.200s", r->name, r->state,
                             r->reason[0] != '\0' ? ": " : "", r->reason);
    }
}

static void tell(struct fault_watch *w, const struct fault_view *before,
                 const struct fault_view *v)
{
    usec_t now = v->asked_us - w->start_us;
    const struct topology *t = &v->newest;
    if (!before->known || !v->known)
        return;
    if (t->epoch > before->newest.epoch)
        fault_watch_note(w, now, -1, "epoch %lld: writes go to %s%s",
                         (long long)t->epoch, t->write_region,
                         t->forced ? ", forced" : "");
    tell_regions(w, now, &before->newest, t);
}

static void *run(void *user)
{
    struct fault_watch *w = user;
    while (!atomic_load(&w->stopping)) {
        struct fault_view v;
        look(w, &v);
        tell(w, &w->view, &v);
        pthread_mutex_lock(&w->lock);
        w->view = v;
        pthread_mutex_unlock(&w->lock);
        usleep(POLL_US);
    }
    return NULL;
}

/* ---- life -------------------------------------------------------------------
 */

struct fault_watch *fault_watch_start(const struct reach *reach,
                                      usec_t start_us)
{
    struct fault_watch *w = mem_zalloc(sizeof(*w));
    w->reach = *reach;
    w->start_us = start_us;
    CHECK(pthread_mutex_init(&w->lock, NULL) == 0);
    CHECK(pthread_create(&w->thread, NULL, run, w) == 0);
    w->running = true;
    return w;
}

void fault_watch_view(struct fault_watch *w, struct fault_view *out)
{
    pthread_mutex_lock(&w->lock);
    *out = w->view;
    pthread_mutex_unlock(&w->lock);
}

void fault_watch_stop(struct fault_watch *w)
{
    if (!w->running)
        return;
    atomic_store(&w->stopping, true);
    CHECK(pthread_join(w->thread, NULL) == 0);
    w->running = false;
}

static int by_time(const void *a, const void *b)
{
    const struct fault_note *x = a, *y = b;
    return x->us < y->us ? -1 : x->us > y->us;
}

const struct fault_note *fault_watch_notes(struct fault_watch *w,
                                           size_t *count_out)
{
    CHECK(!w->running);
    qsort(w->notes, w->note_count, sizeof(w->notes[0]), by_time);
    *count_out = w->note_count;
    return w->notes;
}

void fault_watch_free(struct fault_watch *w)
{
    if (w == NULL)
        return;
    fault_watch_stop(w);
    pthread_mutex_destroy(&w->lock);
    mem_free(w);
}
