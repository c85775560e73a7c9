#include "node/server/router.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/server/fence_guard.h"
#include "node/server/peers.h"
#include "node/server/worker.h"

#define TASK_MAGIC MAGIC('t', 'a', 's', 'k')

/* One operation on its way. It moves between workers as a message; whoever
 * holds it may touch it, nobody else. */
struct task {
    struct inbox_message message;
    uint32_t magic;
    struct list node; /* in router.waiting */
    struct shard_request req;
    const struct op *op;
    struct worker *home;  /* where it came from and is answered */
    struct worker *owner; /* of the shard */
    usec_t began_us, deadline_us;
    usec_t retry_us;
    usec_t pause_us; /* before the next attempt */
    bool in_doubt;   /* a write that an earlier attempt may have logged */
    bool foreign;    /* came from a peer: not passed on */
    bool leader_asked;
    uint32_t hops; /* members of the group asked, while none is known to lead */
    raft_id target;
    struct op_result result;
    op_done_cb *done;
    void *user;
    /* Foreign tasks own what they work on, and those in doubt their `op`. */
    struct op op_storage;
    struct buf body;
    struct links_call call;
};

static void task_run(struct task *t);

/* ---- answering -------------------------------------------------------------
 */

static void task_free(struct task *t)
{
    op_result_free(&t->result);
    t->magic = 0;
    mem_free(t);
}

static void task_answer(struct task *t)
{
    CHECK_OBJ(t, TASK_MAGIC);
    if (t->result.err == ERR_FORGOTTEN && !t->foreign)
        t->result.err =
            t->in_doubt || t->op->again ? ERR_TIMEOUT : ERR_UNAVAILABLE;
    t->done(t->user, &t->result);
    task_free(t);
}

static void deliver_answer(struct inbox_message *m, void *owner)
{
    struct task *t = LIST_ENTRY(m, struct task, message);
    CHECK(t->home == owner);
    task_answer(t);
}

/* On the owner's or worker 0's thread: the result is final. */
static void task_finish(struct task *t, struct worker *here)
{
    if (t->home == here) {
        task_answer(t);
        return;
    }
    t->message.deliver = deliver_answer;
    inbox_post_reserved(&t->home->inbox, &t->message);
}

static void task_fail(struct task *t, struct worker *here, int err)
{
    op_result_free(&t->result);
    op_result_init(&t->result);
    t->result.err = err;
    task_finish(t, here);
}

/* ---- trying again
 * ------------------------------------------------------------
 */

/* Time is over: what may the client believe? */
static int task_give_up_err(const struct task *t)
{
    return t->in_doubt ? ERR_TIMEOUT : ERR_UNAVAILABLE;
}

static bool task_writes(const struct task *t)
{
    return t->op->kind == OP_WRITE;
}

/* An attempt may have been logged: the next ones say since when. */
static void task_doubt(struct task *t)
{
    if (!task_writes(t) || t->in_doubt)
        return;
    t->in_doubt = true;
    if (t->op != &t->op_storage)
        t->op_storage = *t->op;
    t->op = &t->op_storage;
    if (t->op_storage.since_us == 0)
        t->op_storage.since_us = t->began_us;
}

/* For the next node; 0: this attempt is new. A first one that was long on its
 * way here has an age, too, and is taken for one that was sent again there. */
static uint32_t task_age_ms(const struct task *t, usec_t now)
{
    usec_t since = t->op->since_us;
    usec_t ms = since > 0 ? (now - since) / USEC_PER_MS + 1 : 0;
    return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

static void router_arm(struct router *r)
{
    if (!ev_is_active(&r->retry)) {
        r->retry.repeat = (double)ROUTER_RETRY_US / USEC_PER_SEC;
        ev_timer_again(r->worker->loop, &r->retry);
    }
}

/* On the owner's thread. */
static void task_wait(struct task *t)
{
    struct router *r = &t->owner->router;
    usec_t now = clock_mono_us();
    /* Cut off: it is kinder to say so than to let the client wait. */
    bool hopeless = task_writes(t) && t->owner->steering.news.cut_off &&
                    !steering_in_contact(t->owner, t->op->shard);
    if (now >= t->deadline_us || t->owner->stopping || hopeless) {
        task_fail(t, t->owner, task_give_up_err(t));
        return;
    }
    r->retried++;
    t->retry_us = now + t->pause_us;
    if (t->pause_us < ROUTER_RETRY_MAX_US)
        t->pause_us *= 2;
    list_push_back(&r->waiting, &t->node);
    router_arm(r);
}

static void router_retry(struct router *r, usec_t now)
{
    struct list ready;
    list_init(&ready);
    LIST_EACH_SAFE(node, &r->waiting)
    {
        struct task *t = LIST_ENTRY(node, struct task, node);
        if (t->retry_us <= now) {
            list_remove(node);
            list_push_back(&ready, node);
        }
    }
    struct list *node;
    while ((node = list_pop_front(&ready)) != NULL)
        task_run(LIST_ENTRY(node, struct task, node));
    if (list_empty(&r->waiting))
        ev_timer_stop(r->worker->loop, &r->retry);
}

static void on_retry(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    router_retry(timer->data, clock_mono_us());
}

static void wake(struct worker *w, void *arg)
{
    (void)arg;
    LIST_EACH(node, &w->router.waiting)
    LIST_ENTRY(node, struct task, node)->pause_us = ROUTER_RETRY_US;
    router_retry(&w->router, USEC_NEVER - 1);
}

void router_wake_soon(struct router *r)
{
    if (!list_empty(&r->waiting))
        worker_run(r->worker, wake, NULL);
}

/* ---- to another node
 * ---------------------------------------------------------
 */

static void deliver_back(struct inbox_message *m, void *owner)
{
    struct task *t = LIST_ENTRY(m, struct task, message);
    CHECK(t->owner == owner);
    task_wait(t);
}

/* Worker 0: this attempt failed; the owner tries again. */
static void task_back(struct task *t)
{
    struct worker *here = &t->owner->node->workers[0];
    if (t->owner == here) {
        task_wait(t);
        return;
    }
    t->message.deliver = deliver_back;
    inbox_post_reserved(&t->owner->inbox, &t->message);
}

/* One writer, and others that look. */
static void count(uint64_t *counter)
{
    __atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

/* Worker 0: sends the operation to the leader's node. */
static void task_send(struct task *t)
{
    struct worker *here = &t->owner->node->workers[0];
    usec_t now = clock_mono_us();
    usec_t left = t->deadline_us - now;
    if (left <= 0) {
        task_fail(t, here, task_give_up_err(t));
        return;
    }
    struct buf encoded;
    buf_init(&encoded, OP_ENCODED_MAX);
    int err = op_encode(t->op, &encoded);
    uint64_t id;
    if (err == ERR_OK)
        err = peers_request(
            here->peers, t->target, t->op->shard,
            (uint32_t)(left / USEC_PER_MS) + 1, task_age_ms(t, now),
            bytes_of(buf_bytes(&encoded), buf_len(&encoded)), t, &id);
    buf_wipe(&encoded);
    if (err == ERR_LIMIT || (err == ERR_FORBIDDEN && !t->in_doubt))
        task_fail(t, here, err);
    else if (err != ERR_OK)
        task_back(t);
}

static void deliver_send(struct inbox_message *m, void *owner)
{
    struct task *t = LIST_ENTRY(m, struct task, message);
    CHECK(owner == &t->owner->node->workers[0]);
    task_send(t);
}

static void task_forward(struct task *t, raft_id leader)
{
    struct worker *first = &t->owner->node->workers[0];
    t->target = leader;
    t->owner->router.forwarded++;
    if (!task_writes(t))
        count(&t->owner->router.reads_forwarded);
    if (t->owner == first) {
        task_send(t);
        return;
    }
    t->message.deliver = deliver_send;
    inbox_post_reserved(&first->inbox, &t->message);
}

/* Whether another attempt may succeed where this one failed; ERR_BEHIND: at the
 * leader. */
static bool worth_retrying(int err)
{
    return err == ERR_NOT_LEADER || err == ERR_STALE || err == ERR_NO_LEADER ||
           err == ERR_UNAVAILABLE || err == ERR_TIMEOUT;
}

/* Whether an attempt's result is the operation's. A refusal says that this
 * attempt wrote nothing, which does not answer for one before it. And one that
 * is refused only because it was long on its way to the leader, and something
 * was forgotten there meanwhile, is made anew. */
static bool settles(const struct task *t, int err)
{
    bool refused = err == ERR_THROTTLED || err == ERR_NO_SPACE;
    bool slow = err == ERR_FORGOTTEN && t->op->since_us == 0;
    return !worth_retrying(err) && !(refused && t->in_doubt) && !slow;
}

/* Whether an attempt that ended so may have been logged. */
static bool leaves_doubt(int err)
{
    return err == ERR_STALE || err == ERR_TIMEOUT;
}

/* Whether the catalog sends what this operation is about elsewhere by now.
 * Until it does a container that is on its way is asked for again. */
static bool moved_away(const struct worker *w, const struct op *op)
{
    const struct container_def *def =
        catalog_container_number(w->catalog, CONTAINER_BASE(op->at.container));
    const struct catalog_group *g =
        catalog_group_of_shard(w->catalog, op->shard);
    if (def == NULL || g == NULL)
        return true;
    int part = container_find_part(def, bytes_str(g->name));
    return part < 0 || container_part(def, part).number != op->move;
}

void router_on_response(struct worker *w, uint64_t id, int err,
                        struct bytes body)
{
    struct task *t = peers_take_task(w->peers, id);
    if (t == NULL)
        return;
    struct op_result result;
    if (err == ERR_FORBIDDEN && !t->in_doubt) {
        task_fail(t, w, err); /* the peer's fence says so */
        return;
    }
    bool untouched = err == ERR_FULL || err == ERR_FORBIDDEN ||
                     err == ERR_UNAVAILABLE; /* links.h */
    if (err == ERR_OK)
        err = op_result_decode(body, &result);
    if (err != ERR_OK) {
        /* Unless it did not even take the request, the peer could not say what
         * happened. */
        if (!untouched)
            task_doubt(t);
        task_back(t);
        return;
    }
    bool wait = result.err == ERR_MOVED && !moved_away(w, t->op);
    if (wait || !settles(t, result.err)) {
        if (leaves_doubt(result.err))
            task_doubt(t);
        op_result_free(&result);
        task_back(t);
        return;
    }
    op_result_free(&t->result);
    op_result_move(&t->result, &result);
    task_finish(t, w);
}

void router_on_request_failed(struct worker *w, uint64_t id, int err)
{
    struct task *t = peers_take_task(w->peers, id);
    if (t == NULL)
        return;
    if (err != ERR_UNAVAILABLE)
        task_doubt(t);
    task_back(t);
}

/* ---- on the shard's worker
 * -----------------------------------------------------
 */

static void task_ran(struct shard_request *req, struct op_result *result)
{
    struct task *t = LIST_ENTRY(req, struct task, req);
    CHECK_OBJ(t, TASK_MAGIC);
    int err = result->err;
    struct replica *r = worker_replica(t->owner, t->op->shard);
    CHECK(r != NULL);
    raft_id leader = shard_leader(r->shard);
    bool leads = leader == t->owner->node->config->id;
    /* Only a leader knows that a state is nowhere. The SDK forgets its token
     * then, so a follower's or a deposed leader's word must not get to it. */
    if (err == ERR_BEHIND &&
        !raft_may_read(shard_raft(r->shard), clock_mono_us()))
        err = result->err = ERR_NOT_LEADER;
    bool wait = err == ERR_MOVED && !moved_away(t->owner, t->op);
    if ((!wait && settles(t, err)) || t->foreign) {
        if (!task_writes(t) && !t->foreign)
            count(&t->owner->router.reads_local);
        op_result_free(&t->result);
        op_result_move(&t->result, result);
        task_finish(t, t->owner);
        return;
    }
    op_result_free(result);
    if (leaves_doubt(err))
        task_doubt(t);
    /* A read that failed here may succeed at the leader too. */
    if (leader != 0 && !leads && t->op->kind != OP_BARRIER &&
        clock_mono_us() < t->deadline_us)
        task_forward(t, leader);
    else
        task_wait(t);
}

/* No replica of the shard is here. Inside its fence an operation goes to a
 * member of the group, another one each time; outside it never gets so far, and
 * is refused once more. */
static void task_elsewhere(struct task *t)
{
    const struct worker *w = t->owner;
    const struct config *c = w->node->config;
    const struct catalog_group *g =
        catalog_group_of_shard(w->catalog, t->op->shard);
    if (g == NULL && !t->in_doubt &&
        catalog_shard_retired(w->catalog, t->op->shard)) {
        task_fail(t, t->owner, ERR_MOVED); /* the catalog says where to */
        return;
    }
    if (g == NULL || t->foreign || w->stopping ||
        clock_mono_us() >= t->deadline_us) {
        task_fail(t, t->owner, task_give_up_err(t));
        return;
    }
    if (catalog_group_region(g, c->region) == g->region_count &&
        !FENCE_OPEN(API)) {
        const struct fence_refusals r = {.wall = FENCE_WALL_API,
                                         .known = true,
                                         .shard = t->op->shard,
                                         .what = "operation",
                                         .count = 1,
                                         .bytes = t->op->body.len};
        fence_refused(t->owner, &r);
        task_fail(t, t->owner, ERR_FORBIDDEN);
        return;
    }
    for (uint32_t i = 0; i < g->member_count; i++) {
        uint32_t id = g->members[t->hops++ % g->member_count];
        if (w->reachable[id] && id != g->witness) {
            task_forward(t, id);
            return;
        }
    }
    task_wait(t);
}

static void task_run(struct task *t)
{
    CHECK_OBJ(t, TASK_MAGIC);
    struct replica *r = worker_replica(t->owner, t->op->shard);
    if (r == NULL) {
        task_elsewhere(t);
        return;
    }
    if (t->owner->stopping) {
        task_fail(t, t->owner, task_give_up_err(t));
        return;
    }
    usec_t now = clock_mono_us();
    if (now >= t->deadline_us) {
        task_fail(t, t->owner, task_give_up_err(t));
        return;
    }
    /* The leader is known and is another node: a write need not be refused
     * here first. A read that only prefers the leader asks it once. */
    raft_id leader = shard_leader(r->shard);
    bool to_leader = task_writes(t) || (t->op->at_leader && !t->leader_asked);
    if (!t->foreign && to_leader && leader != 0 &&
        leader != t->owner->node->config->id) {
        t->leader_asked = true;
        task_forward(t, leader);
        return;
    }
    t->req.op = t->op;
    t->req.deadline_us = t->deadline_us;
    t->req.done = task_ran;
    /* The answer may come, and `t` go, inside the call. */
    struct worker *owner = t->owner;
    bool before = mem_may_fail(t->op->shard != SHARD_META);
    shard_submit(r->shard, now, &t->req);
    mem_may_fail(before);
    worker_wake(owner);
}

static void deliver_run(struct inbox_message *m, void *owner)
{
    struct task *t = LIST_ENTRY(m, struct task, message);
    CHECK(t->owner == owner);
    task_run(t);
}

static void task_start(struct task *t, struct worker *here)
{
    if (t->owner == here) {
        task_run(t);
        return;
    }
    t->message.deliver = deliver_run;
    if (inbox_post(&t->owner->inbox, &t->message) != ERR_OK) {
        t->result.retry_after_ms = SHARD_RETRY_AFTER_MS;
        t->result.err = ERR_THROTTLED;
        task_answer(t);
    }
}

static struct task *task_new(struct worker *home, const struct op *op,
                             usec_t timeout_us)
{
    struct task *t = mem_alloc(sizeof(*t));
    memset(t, 0, offsetof(struct task, op_storage));
    t->magic = TASK_MAGIC;
    t->op = op;
    t->home = home;
    t->owner = node_shard_worker(home->node, op->shard);
    t->began_us = clock_mono_us();
    t->deadline_us = t->began_us + timeout_us;
    t->pause_us = ROUTER_RETRY_US;
    list_init(&t->node);
    op_result_init(&t->result);
    return t;
}

static void router_submit(struct backend *backend, const struct op *op,
                          usec_t timeout_us, op_done_cb *done, void *user)
{
    struct router *r = (struct router *)backend;
    CHECK(op->shard < NODE_SHARDS_MAX);
    struct task *t = task_new(r->worker, op, timeout_us);
    t->done = done;
    t->user = user;
    task_start(t, r->worker);
}

/* ---- for peers
 * -----------------------------------------------------------------
 */

static void foreign_done(void *user, struct op_result *result)
{
    struct task *t = user;
    struct worker *w = t->home;
    struct buf encoded;
    buf_init(&encoded, OP_PAGE_MAX + OP_BODY_MAX + 4096);
    int err = op_result_encode(result, &encoded);
    links_reply(peers_links(w->peers), t->call, err,
                bytes_of(buf_bytes(&encoded), buf_len(&encoded)));
    buf_wipe(&encoded);
    buf_wipe(&t->body);
    w->router.foreign--;
}

/* Whether a page of rows might find no room on its way back. */
static bool is_link_full(const struct worker *w, links_peer to)
{
    struct links *links = peers_links(w->peers);
    return links_is_up(links, to) &&
           links_answer_room(links, to) < ROUTER_ROOM_MIN;
}

void router_on_request(struct worker *w, struct links_call call,
                       uint32_t deadline_ms, struct bytes body)
{
    if (w->stopping || w->router.foreign >= ROUTER_FOREIGN_MAX) {
        links_reply(peers_links(w->peers), call, ERR_FULL, bytes_of(NULL, 0));
        return;
    }
    struct op op;
    struct buf copy;
    buf_init(&copy, OP_ENCODED_MAX);
    int err = buf_append(&copy, body.data, body.len);
    if (err == ERR_OK)
        err = op_decode(bytes_of(buf_bytes(&copy), buf_len(&copy)), &op);
    if (err == ERR_OK && op.shard >= NODE_SHARDS_MAX)
        err = ERR_NOT_FOUND;
    if (err == ERR_OK && op.kind == OP_SCAN && is_link_full(w, call.peer))
        err = ERR_FULL; /* asked again after a pause */
    if (err != ERR_OK) {
        buf_free(&copy);
        links_reply(peers_links(w->peers), call, err, bytes_of(NULL, 0));
        return;
    }
    struct task *t = task_new(w, &op, (usec_t)deadline_ms * USEC_PER_MS);
    t->op_storage = op;
    t->op_storage.since_us = peers_since(w->node->config, &call);
    t->op_storage.again = call.age_ms > 0;
    t->op = &t->op_storage;
    t->body = copy;
    t->call = call;
    t->foreign = true;
    t->done = foreign_done;
    t->user = t;
    w->router.foreign++;
    task_start(t, w);
}

/* ---- life -------------------------------------------------------------------
 */

void router_init(struct router *r, struct worker *w)
{
    *r = (struct router){.backend = {.submit = router_submit}, .worker = w};
    list_init(&r->waiting);
    ev_timer_init(&r->retry, on_retry, 0, 0);
    r->retry.data = r;
}
