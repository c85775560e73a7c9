/* What the TLS channels of one loop share; see the order of hooks in
 * chan_tls.h. */
#include "node/base/mem.h"
#include "replication/link/chan_tls_impl.h"
#include "replication/link/resolve.h"

static void on_resume(struct ev_loop *ev, ev_prepare *w, int revents)
{
    (void)ev;
    (void)revents;
    struct chan_loop *cl = w->data;
    CHECK_OBJ(cl, CHAN_LOOP_MAGIC);
    /* Those that stall again must wait for the next turn. */
    struct list now;
    list_init(&now);
    list_splice(&now, &cl->stalled);
    struct list *node;
    while ((node = list_pop_front(&now)) != NULL)
        chan_tls_resume(LIST_ENTRY(node, struct chan_tls, stalled));
}

static bool any_can_resume(const struct chan_loop *cl)
{
    LIST_EACH(node, &cl->stalled)
    {
        if (chan_tls_can_resume(LIST_ENTRY(node, struct chan_tls, stalled)))
            return true;
    }
    return false;
}

void chan_loop_flush(struct chan_loop *cl)
{
    CHECK_OBJ(cl, CHAN_LOOP_MAGIC);
    struct list now;
    list_init(&now);
    list_splice(&now, &cl->dirty);
    struct list *node;
    while ((node = list_pop_front(&now)) != NULL)
        chan_tls_flush(LIST_ENTRY(node, struct chan_tls, dirty));
}

/* Prevents the loop from sleeping before its next turn. */
static void chan_loop_again(struct chan_loop *cl)
{
    if (!ev_is_active(&cl->again)) {
        ev_timer_set(&cl->again, 0., 0.);
        ev_timer_start(cl->ev, &cl->again);
    }
}

static void on_flush(struct ev_loop *ev, ev_prepare *w, int revents)
{
    (void)ev;
    (void)revents;
    struct chan_loop *cl = w->data;
    cl->called_back = false;
    chan_loop_flush(cl);
    /* Whoever was called back may have left work for the hooks that ran
     * before this one. */
    if (cl->called_back || !list_empty(&cl->dirty) || any_can_resume(cl))
        chan_loop_again(cl);
}

static void on_again(struct ev_loop *ev, ev_timer *w, int revents)
{
    (void)ev;
    (void)w;
    (void)revents;
}

double chan_loop_delay(const struct chan_loop *cl, usec_t after_us)
{
    return (double)after_us / 1e6 + (ev_time() - ev_now(cl->ev));
}

struct ev_loop *chan_loop_ev(const struct chan_loop *cl)
{
    CHECK_OBJ(cl, CHAN_LOOP_MAGIC);
    return cl->ev;
}

static void hook_start(struct chan_loop *cl, ev_prepare *w, int priority)
{
    w->data = cl;
    ev_set_priority(w, priority);
    ev_prepare_start(cl->ev, w);
    ev_unref(cl->ev); /* hooks alone do not keep a loop running */
}

static void hook_stop(struct chan_loop *cl, ev_prepare *w)
{
    ev_ref(cl->ev);
    ev_prepare_stop(cl->ev, w);
}

struct chan_loop *chan_loop_new(struct ev_loop *loop)
{
    CHECK(loop != NULL);
    struct chan_loop *cl = mem_zalloc(sizeof(*cl));
    cl->magic = CHAN_LOOP_MAGIC;
    cl->ev = loop;
    list_init(&cl->dirty);
    list_init(&cl->stalled);
    cl->bio = chan_tls_bio_method();
    cl->rx = mem_alloc(CHAN_RX_SIZE);
    buf_init(&cl->tx, CHAN_TX_MAX);
    ev_timer_init(&cl->again, on_again, 0., 0.);
    ev_prepare_init(&cl->resume_hook, on_resume);
    hook_start(cl, &cl->resume_hook, EV_MAXPRI);
    ev_prepare_init(&cl->flush_hook, on_flush);
    hook_start(cl, &cl->flush_hook, EV_MINPRI);
    return cl;
}

void chan_loop_free(struct chan_loop *cl)
{
    if (cl == NULL)
        return;
    CHECK_OBJ(cl, CHAN_LOOP_MAGIC);
    CHECK(cl->users == 0);
    resolver_free(cl->resolver);
    hook_stop(cl, &cl->resume_hook);
    hook_stop(cl, &cl->flush_hook);
    ev_timer_stop(cl->ev, &cl->again);
    BIO_meth_free(cl->bio);
    mem_free(cl->rx);
    buf_free(&cl->tx);
    cl->magic = 0;
    mem_free(cl);
}
