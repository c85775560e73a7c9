/* What leaves of snapshots, and when. On worker 0, which the links belong to.
 */
#include <string.h>

#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/server/peers.h"
#include "node/server/transfers_impl.h"

/* A link whose queue is full is asked again after this. */
#define PACE_RETRY_US (2 * USEC_PER_MS)

static int send_frame(struct worker *first, const struct transfer_parcel *p)
{
    if (first->peers == NULL)
        return ERR_UNAVAILABLE;
    return links_send_snapshot(peers_links(first->peers), p->peer, &p->chunk);
}

static void give_back(struct worker *first, struct transfer_parcel *p)
{
    struct worker *w = node_shard_worker(first->node, (uint32_t)p->chunk.shard);
    p->message.deliver = transfers_unsent;
    inbox_post_reserved(&w->inbox, &p->message);
}

/* True when it is gone, sent or not. */
static bool try_one(struct worker *first, struct transfer_parcel *p, usec_t now)
{
    int err = send_frame(first, p);
    if (err == ERR_AGAIN)
        return false;
    list_remove(&p->node);
    if (err != ERR_OK) {
        give_back(first, p);
        return true;
    }
    bucket_take(&first->transfers.pace.bucket, p->chunk.data.len, now);
    mem_free(p);
    return true;
}

/* Sends what may leave now. The frames of one peer keep their order. */
static void pace_run(struct worker *first)
{
    struct transfer_pace *pace = &first->transfers.pace;
    bool blocked[CONFIG_NODES_MAX + 1] = {false};
    usec_t now = clock_mono_us(), wait = 0;
    LIST_EACH_SAFE(node, &pace->waiting)
    {
        struct transfer_parcel *p =
            LIST_ENTRY(node, struct transfer_parcel, node);
        wait = bucket_wait(&pace->bucket, now);
        if (wait > 0)
            break;
        bool *full = &blocked[p->peer]; /* `p` may go */
        if (!*full)
            *full = !try_one(first, p, now);
    }
    ev_timer_stop(first->loop, &pace->timer);
    if (list_empty(&pace->waiting))
        return;
    if (wait < PACE_RETRY_US)
        wait = PACE_RETRY_US;
    ev_timer_set(&pace->timer, (double)wait / USEC_PER_SEC, 0);
    ev_timer_start(first->loop, &pace->timer);
}

static void on_timer(struct ev_loop *loop, struct ev_timer *t, int events)
{
    (void)loop;
    (void)events;
    pace_run(t->data);
}

void transfers_pace(struct worker *first, struct transfer_parcel *p)
{
    struct transfer_pace *pace = &first->transfers.pace;
    bool idle = list_empty(&pace->waiting);
    list_push_back(&pace->waiting, &p->node);
    if (idle)
        pace_run(first);
}

/* Entries leave with all others and are not counted in the bucket. */
static void set_entry_rate(struct node *n, uint64_t rate)
{
    __atomic_store_n(&n->entry_rate, rate / TRANSFERS_AT_ONCE,
                     __ATOMIC_RELAXED);
}

void transfers_pace_learners(struct transfers *t)
{
    struct worker *w = t->worker;
    uint32_t *all = &w->node->learners_behind;
    uint64_t rate = __atomic_load_n(&w->node->entry_rate, __ATOMIC_RELAXED);
    uint32_t sharing = __atomic_load_n(all, __ATOMIC_RELAXED), own = 0;
    if (sharing > 1)
        rate = rate > sharing ? rate / sharing : 1;
    for (uint32_t i = 0; i < w->replica_count; i++) {
        if (w->replicas[i]->shard != NULL)
            own += shard_pace_learners(w->replicas[i]->shard, rate);
    }
    __atomic_fetch_add(all, own - t->learners_behind, __ATOMIC_RELAXED);
    t->learners_behind = own;
}

void transfers_pace_init(struct transfers *t)
{
    struct worker *w = t->worker;
    struct transfer_pace *pace = &t->pace;
    list_init(&pace->waiting);
    uint64_t rate = w->node->config->limits.snapshot_rate;
    bucket_init(&pace->bucket, rate, clock_mono_us());
    set_entry_rate(w->node, rate);
    ev_timer_init(&pace->timer, on_timer, 0, 0);
    pace->timer.data = w;
}

void transfers_set_rate(struct worker *w, uint64_t rate)
{
    struct bucket *b = &w->transfers.pace.bucket;
    if (b->rate == rate)
        return;
    bucket_set_rate(b, rate, clock_mono_us());
    set_entry_rate(w->node, rate);
    log_info("another budget for snapshots", LOG_UINT("bytes_per_s", rate));
    pace_run(w);
}
