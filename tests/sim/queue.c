#include "tests/sim/queue.h"

#include "node/base/check.h"
#include "node/base/mem.h"
#include "tests/sim/replica.h"

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void sim_queue_put(struct sim_queue *q, usec_t at_us, struct sim_event ev)
{
    ev.at_us = at_us;
    ev.order = ++q->order;
    if (q->n == q->cap) {
        q->cap = q->cap ? q->cap * 2 : 256;
        q->heap = mem_realloc(q->heap, q->cap * sizeof(*q->heap));
    }
    size_t i = q->n++;
    while (i > 0 && before(&ev, &q->heap[(i - 1) / 2])) {
        q->heap[i] = q->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    q->heap[i] = ev;
}

struct sim_event sim_queue_take(struct sim_queue *q)
{
    CHECK(q->n > 0);
    struct sim_event first = q->heap[0];
    struct sim_event last = q->heap[--q->n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= q->n)
            break;
        if (child + 1 < q->n && before(&q->heap[child + 1], &q->heap[child]))
            child++;
        if (!before(&q->heap[child], &last))
            break;
        q->heap[i] = q->heap[child];
        i = child;
    }
    q->heap[i] = last;
    return first;
}

void sim_queue_free(struct sim_queue *q)
{
    for (size_t i = 0; i < q->n; i++)
        if (q->heap[i].blob != NULL)
            sim_blob_release(q->heap[i].blob);
    mem_free(q->heap);
    *q = (struct sim_queue){0};
}
