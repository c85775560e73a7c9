#include "node/server/faults_client.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/base/rng.h"
#include "node/server/worker.h"

struct faults_client {
    struct node *node;
    struct inject_list *source; /* worker 0's; used there only */
    _Atomic uint32_t active;    /* list.count, for requests to look at */
    pthread_mutex_t lock;
    /* Under `lock`: */
    struct inject_list list; /* a copy of those for clients of this node */
    struct prng prng;
    bool told; /* worker 0 is about to look for used-up faults */
};

struct faults_client *faults_client_new(struct node *n)
{
    struct faults_client *f = mem_zalloc(sizeof(*f));
    f->node = n;
    CHECK(pthread_mutex_init(&f->lock, NULL) == 0);
    prng_seed(&f->prng, rng_u64());
    return f;
}

void faults_client_free(struct faults_client *f)
{
    CHECK(pthread_mutex_destroy(&f->lock) == 0);
    mem_free(f);
}

static bool used_up(const struct inject_active *a)
{
    return a->fault.count > 0 && a->hits >= a->fault.count;
}

/* ---- worker 0: the list ---------------------------------------------------
 */

/* A fault of the same id may be a later one. */
static bool same(const struct inject_active *a, const struct inject_active *b)
{
    return a->since_us == b->since_us && strcmp(a->fault.id, b->fault.id) == 0;
}

/* Hits since the last time, into the list. Locked. */
static void collect(const struct faults_client *f, struct inject_list *l)
{
    for (size_t i = 0; i < f->list.count; i++)
        for (size_t j = 0; j < l->count; j++)
            if (same(&f->list.active[i], &l->active[j]))
                l->active[j].hits = f->list.active[i].hits;
}

static bool concerns(const struct faults_client *f,
                     const struct inject_active *a)
{
    const struct config *c = f->node->config;
    return inject_family_of(a->fault.kind) == INJECT_CLIENT &&
           inject_means(a->fault.at, c->own_region->name, c->own_node->name) &&
           !used_up(a);
}

/* Locked. */
static void publish(struct faults_client *f, const struct inject_list *l)
{
    f->list.count = 0;
    for (size_t i = 0; i < l->count; i++)
        if (concerns(f, &l->active[i]))
            f->list.active[f->list.count++] = l->active[i];
    atomic_store_explicit(&f->active, (uint32_t)f->list.count,
                          memory_order_relaxed);
}

void faults_client_apply(struct worker *w, struct inject_list *l)
{
    struct faults_client *f = w->node->client_faults;
    CHECK(w->index == 0);
    f->source = l;
    pthread_mutex_lock(&f->lock);
    collect(f, l);
    publish(f, l);
    pthread_mutex_unlock(&f->lock);
}

void faults_client_collect(struct worker *w, struct inject_list *l)
{
    struct faults_client *f = w->node->client_faults;
    CHECK(w->index == 0);
    pthread_mutex_lock(&f->lock);
    collect(f, l);
    pthread_mutex_unlock(&f->lock);
}

/* Only these: what ends by time has more to it than a place in the list. */
static void remove_used_up(struct worker *w, void *arg)
{
    struct faults_client *f = arg;
    struct inject_list *l = f->source;
    CHECK(w->index == 0);
    pthread_mutex_lock(&f->lock);
    f->told = false;
    collect(f, l);
    for (size_t i = l->count; i-- > 0;) {
        const struct inject_active *a = &l->active[i];
        if (!used_up(a))
            continue;
        log_warn("a fault on request is used up", LOG_STR("id", a->fault.id),
                 LOG_UINT("hits", a->hits));
        CHECK(inject_list_remove(l, a->fault.id) == ERR_OK);
    }
    publish(f, l);
    pthread_mutex_unlock(&f->lock);
}

/* ---- any worker: requests -------------------------------------------------
 */

static void add_to(struct cosmos_strike *s, const struct inject_fault *fault)
{
    if (fault->kind != INJECT_ANSWER_DELAY) {
        s->struck = true;
        s->fault = *fault;
        return;
    }
    s->delay_ms += fault->delay_ms;
    if (s->delay_ms > INJECT_DELAY_MAX_MS)
        s->delay_ms = INJECT_DELAY_MAX_MS;
}

/* Delays add up. Of the others the oldest that strikes decides, and those after
 * it are not asked. Locked; whether a fault was used up. */
static bool strike_with_each(struct faults_client *f,
                             const struct inject_request *r, usec_t now,
                             struct cosmos_strike *s)
{
    bool any_used_up = false;
    for (size_t i = 0; i < f->list.count; i++) {
        struct inject_active *a = &f->list.active[i];
        bool asked = a->fault.kind == INJECT_ANSWER_DELAY || !s->struck;
        if (!asked || a->until_us <= now || !inject_strikes(a, r, &f->prng))
            continue;
        add_to(s, &a->fault);
        any_used_up |= used_up(a);
    }
    return any_used_up;
}

static void strike(void *user, const struct inject_request *r,
                   struct cosmos_strike *strike_out)
{
    struct faults_client *f = user;
    pthread_mutex_lock(&f->lock);
    bool tell = strike_with_each(f, r, clock_mono_us(), strike_out) && !f->told;
    if (tell)
        f->told = true;
    pthread_mutex_unlock(&f->lock);
    if (tell)
        worker_run(&f->node->workers[0], remove_used_up, f);
}

struct cosmos_faults faults_client_hook(struct faults_client *f)
{
    return (struct cosmos_faults){
        .active = &f->active, .strike = strike, .user = f};
}
