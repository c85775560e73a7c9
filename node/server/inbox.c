#include "node/server/inbox.h"

#include <stdbool.h>

#include "node/base/check.h"
#include "node/base/err.h"

static void inbox_drain(struct inbox *in)
{
    struct list batch;
    list_init(&batch);
    pthread_mutex_lock(&in->lock);
    list_splice(&batch, &in->queue);
    in->length = 0;
    pthread_mutex_unlock(&in->lock);
    struct list *node;
    while ((node = list_pop_front(&batch)) != NULL) {
        struct inbox_message *m = LIST_ENTRY(node, struct inbox_message, node);
        m->deliver(m, in->owner);
    }
}

static void inbox_on_wake(struct ev_loop *loop, struct ev_async *w, int events)
{
    (void)loop;
    (void)events;
    inbox_drain(w->data);
}

void inbox_init(struct inbox *in, struct ev_loop *loop, void *owner)
{
    CHECK(pthread_mutex_init(&in->lock, NULL) == 0);
    list_init(&in->queue);
    in->length = 0;
    in->loop = loop;
    in->owner = owner;
    ev_async_init(&in->wake, inbox_on_wake);
    in->wake.data = in;
    ev_async_start(loop, &in->wake);
}

static int inbox_put(struct inbox *in, struct inbox_message *m, uint32_t max)
{
    CHECK(m->deliver != NULL);
    pthread_mutex_lock(&in->lock);
    bool full = in->length >= max;
    bool was_empty = in->length == 0;
    if (!full) {
        list_push_back(&in->queue, &m->node);
        in->length++;
    }
    pthread_mutex_unlock(&in->lock);
    if (full)
        return ERR_FULL;
    /* A non-empty queue has its wake-up on the way already. */
    if (was_empty)
        ev_async_send(in->loop, &in->wake);
    return ERR_OK;
}

int inbox_post(struct inbox *in, struct inbox_message *m)
{
    return inbox_put(in, m, INBOX_MAX);
}

void inbox_post_reserved(struct inbox *in, struct inbox_message *m)
{
    int err = inbox_put(in, m, UINT32_MAX);
    CHECK(err == ERR_OK);
}
