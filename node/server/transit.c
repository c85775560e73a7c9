#include "node/server/transit.h"

#include <stdio.h>
#include <string.h>
#include <uthash.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/cosmos/page.h"
#include "node/cosmos/passage.h"
#include "node/server/fence_guard.h"
#include "node/server/peers.h"
#include "node/server/transit_plan.h"
#include "node/server/worker.h"

#define CARRY_MAGIC MAGIC('c', 'a', 'r', 'y')
#define GUEST_MAGIC MAGIC('t', 'g', 's', 't')

struct counted {
    char name[CATALOG_NAME_MAX + 1];
    uint64_t passed_on, answered;
};

struct transit {
    struct worker *worker; /* 0 */
    struct carry *asked;   /* by request id */
    struct list waiting;   /* carries, for another round */
    struct ev_timer retry;
    struct list held; /* guests whose answers wait for room, oldest first */
    size_t held_bytes;
    struct ev_timer room;
    uint32_t out, in;
    size_t in_bytes;
    uint32_t turn; /* which worker gets the next guest */
    struct counted counts[GROUPS_MAX];
    uint32_t count;
};

static struct counted *counted(struct transit *t, const char *name)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (strcmp(t->counts[i].name, name) == 0)
            return &t->counts[i];
    if (t->count == ARRAY_LEN(t->counts))
        return &t->counts[ARRAY_LEN(t->counts) - 1];
    struct counted *c = &t->counts[t->count++];
    snprintf(c->name, sizeof(c->name), "%s", name);
    return c;
}

bool transit_counts(const struct transit *t, uint32_t i, const char **name_out,
                    uint64_t *passed_on_out, uint64_t *answered_out)
{
    if (i >= t->count)
        return false;
    *name_out = t->counts[i].name;
    *passed_on_out = t->counts[i].passed_on;
    *answered_out = t->counts[i].answered;
    return true;
}

/* ---- outside: a request that is passed on ----------------------------------
 */

/* It moves between its home and worker 0 as a message; whoever holds it may
 * touch it, nobody else. */
struct carry {
    struct inbox_message message;
    uint32_t magic;
    struct list node; /* in transit.waiting */
    UT_hash_handle hh;
    uint64_t id; /* of the request under way */
    struct worker *home;
    uint16_t shard;
    struct transit_plan plan;
    usec_t deadline_us; /* of the answers */
    /* The answer, also one that another member may do better than. */
    struct buf passage, answer;
    int err;
    cosmos_passed_cb *done;
    void *done_user;
};

static void carry_free(struct carry *k)
{
    buf_wipe(&k->passage);
    buf_wipe(&k->answer);
    k->magic = 0;
    mem_free(k);
}

/* On its home's thread. */
static void carry_answer(struct carry *k)
{
    CHECK_OBJ(k, CARRY_MAGIC);
    const struct cosmos_passed passed = {
        .err = k->err,
        .answer = bytes_of(buf_bytes(&k->answer), buf_len(&k->answer))};
    k->done(k->done_user, &passed);
    carry_free(k);
}

static void deliver_answer(struct inbox_message *m, void *owner)
{
    struct carry *k = LIST_ENTRY(m, struct carry, message);
    CHECK(k->home == owner);
    carry_answer(k);
}

/* Worker 0: the result is final. */
static void carry_finish(struct transit *t, struct carry *k, int err)
{
    CHECK(t->out > 0);
    t->out--;
    k->err = err;
    if (k->home == t->worker) {
        carry_answer(k);
        return;
    }
    k->message.deliver = deliver_answer;
    inbox_post_reserved(&k->home->inbox, &k->message);
}

/* ---- asking ----------------------------------------------------------------
 */

/* Whether the node has replicas to answer from, as far as the record says. */
static bool serves(const struct catalog_group *g, raft_id node,
                   const char *region)
{
    size_t i = catalog_group_region(g, region);
    return node != g->witness && i < g->region_count && !g->coming[i];
}

/* Fills in those that are in reach; returns how many. */
static uint32_t members(const struct transit *t, const struct catalog_group *g,
                        struct transit_member out[GROUP_MEMBERS_MAX])
{
    const struct config *c = t->worker->node->config;
    const struct links *links = peers_links(t->worker->peers);
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->member_count; i++) {
        const struct config_region *region = NULL;
        raft_id node = g->members[i];
        struct links_stats s;
        if (config_find_node(c, node, &region) == NULL ||
            !serves(g, node, region->name) || !links_is_up(links, node))
            continue;
        CHECK(links_get_stats(links, node, &s) == ERR_OK);
        out[n++] = (struct transit_member){
            .node = node,
            .rtt_us = s.rtt_us,
            .forwards = strcmp(region->name, g->decision.write_region) != 0};
    }
    return n;
}

static void carry_wait(struct transit *t, struct carry *k)
{
    list_push_back(&t->waiting, &k->node);
    if (!ev_is_active(&t->retry)) {
        t->retry.repeat = (double)TRANSIT_RETRY_US / USEC_PER_SEC;
        ev_timer_again(t->worker->loop, &t->retry);
    }
}

/* True: it is under way. */
static bool ask(struct transit *t, struct carry *k, raft_id node, usec_t now)
{
    usec_t left = k->deadline_us - now;
    struct bytes body = bytes_of(buf_bytes(&k->passage), buf_len(&k->passage));
    int err = links_request_again(
        peers_links(t->worker->peers), node, TRANSIT_REQUEST, k->shard,
        (uint32_t)(left / USEC_PER_MS) + 1, transit_plan_age_ms(&k->plan, now),
        body, &k->id);
    if (err == ERR_OK)
        HASH_ADD(hh, t->asked, id, sizeof(k->id), k);
    else
        transit_plan_unsent(&k->plan, err);
    return err == ERR_OK;
}

/* Worker 0: tries those that are left in this round. */
static void carry_go(struct transit *t, struct carry *k)
{
    struct transit_member list[GROUP_MEMBERS_MAX];
    usec_t now = clock_mono_us();
    const struct catalog_group *g =
        catalog_group_of_shard(t->worker->catalog, k->shard);
    bool stop = g == NULL || t->worker->stopping;
    uint32_t n = stop ? 0 : members(t, g, list);
    enum transit_step step;
    raft_id node = 0;
    do
        step = transit_plan_next(&k->plan, now, list, n, stop, &node);
    while (step == TRANSIT_ASK && !ask(t, k, node, now));
    if (step == TRANSIT_WAIT)
        carry_wait(t, k);
    else if (step == TRANSIT_OVER)
        carry_finish(t, k, transit_plan_verdict(&k->plan));
}

static void on_retry(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)events;
    struct transit *t = timer->data;
    usec_t now = clock_mono_us();
    struct list round;
    list_init(&round);
    LIST_EACH_SAFE(it, &t->waiting)
    {
        const struct carry *k = LIST_ENTRY(it, struct carry, node);
        if (k->plan.retry_us <= now || t->worker->stopping) {
            list_remove(it);
            list_push_back(&round, it);
        }
    }
    struct list *node;
    while ((node = list_pop_front(&round)) != NULL)
        carry_go(t, LIST_ENTRY(node, struct carry, node));
    if (list_empty(&t->waiting))
        ev_timer_stop(loop, timer);
}

static void deliver_go(struct inbox_message *m, void *owner)
{
    struct carry *k = LIST_ENTRY(m, struct carry, message);
    struct transit *t = ((struct worker *)owner)->transit;
    const struct catalog_group *g =
        catalog_group_of_shard(t->worker->catalog, k->shard);
    CHECK_OBJ(k, CARRY_MAGIC);
    t->out++;
    if (t->out > TRANSIT_OUT_MAX) {
        carry_finish(t, k, ERR_THROTTLED);
        return;
    }
    if (g != NULL)
        counted(t, g->name)->passed_on++;
    carry_go(t, k);
}

/* A query that gathers may take its time, and nothing is lost when its answer
 * comes late. */
static usec_t deadline(const struct cosmos_pass *pass)
{
    usec_t us = pass->timeout_us;
    if (!pass->writes && us < PAGE_GATHER_LIMIT_US)
        us = PAGE_GATHER_LIMIT_US;
    return clock_mono_us() + us + TRANSIT_PATIENCE_US;
}

void transit_pass_on(void *user, const struct cosmos_pass *pass,
                     cosmos_passed_cb *done, void *done_user)
{
    struct worker *w = user;
    struct worker *first = &w->node->workers[0];
    struct carry *k = mem_zalloc(sizeof(*k));
    k->magic = CARRY_MAGIC;
    k->home = w;
    k->shard = pass->group->first_shard;
    transit_plan_begin(&k->plan, pass->writes, clock_mono_us(),
                       pass->timeout_us);
    k->deadline_us = deadline(pass);
    k->passage = *pass->passage;
    *pass->passage = (struct buf){.max = k->passage.max};
    buf_init(&k->answer, PASSAGE_ANSWER_ENCODED_MAX);
    k->done = done;
    k->done_user = done_user;
    list_init(&k->node);
    k->message.deliver = deliver_go;
    if (w == first) {
        deliver_go(&k->message, w);
    } else if (inbox_post(&first->inbox, &k->message) != ERR_OK) {
        k->err = ERR_THROTTLED;
        carry_answer(k);
    }
}

/* ---- what they say ---------------------------------------------------------
 */

static struct carry *take(struct transit *t, uint64_t id)
{
    struct carry *k;
    HASH_FIND(hh, t->asked, &id, sizeof(id), k);
    if (k != NULL)
        HASH_DEL(t->asked, k);
    return k;
}

/* What comes after an attempt that is over. */
static void carry_on(struct transit *t, struct carry *k, enum transit_step step)
{
    if (step == TRANSIT_ASK)
        carry_go(t, k);
    else if (step == TRANSIT_WAIT)
        carry_wait(t, k);
    else
        carry_finish(t, k, transit_plan_verdict(&k->plan));
}

/* The peer's API has answered. */
static void answered(struct transit *t, struct carry *k, struct bytes body)
{
    struct passage_answer a = {.status = 0};
    bool elsewhere = passage_answer_decode(body, &a) == ERR_OK &&
                     passage_answer_elsewhere(&a);
    bool keep;
    enum transit_step step = transit_plan_answered(&k->plan, clock_mono_us(),
                                                   a.status, elsewhere, &keep);
    bool over = step == TRANSIT_OVER; /* malformed: its home says so */
    int err = ERR_OK;
    if (over || keep) {
        buf_clear(&k->answer);
        err = buf_append(&k->answer, body.data, body.len);
    }
    if (err != ERR_OK) /* without memory for it */
        carry_finish(t, k, k->plan.writes ? ERR_TIMEOUT : ERR_UNAVAILABLE);
    else if (over)
        carry_finish(t, k, ERR_OK);
    else
        carry_on(t, k, step);
}

bool transit_on_response(struct worker *w, uint64_t id, int err,
                         struct bytes body)
{
    struct transit *t = w->transit;
    struct carry *k = take(t, id);
    if (k == NULL)
        return false;
    if (err == ERR_OK)
        answered(t, k, body);
    else
        carry_on(t, k, transit_plan_failed(&k->plan, err));
    return true;
}

bool transit_on_request_failed(struct worker *w, uint64_t id, int err)
{
    return transit_on_response(w, id, err, bytes_of(NULL, 0));
}

/* ---- inside: a request of another node's client ----------------------------
 */

struct guest {
    struct inbox_message message;
    uint32_t magic;
    struct list node;     /* in transit.held */
    usec_t held_until_us; /* then it is sent, room or not */
    struct worker *owner; /* whose API runs it */
    struct links_call call;
    usec_t since_us;        /* see cosmos_on_passage */
    struct passage passage; /* borrows from `body` */
    size_t bytes;           /* of it */
    struct buf body, answer;
    int err;
};

static void guest_free(struct guest *g)
{
    buf_wipe(&g->body);
    buf_wipe(&g->answer);
    g->magic = 0;
    mem_free(g);
}

/* Whether the link has room for the answer; also where it needs none, or nobody
 * waits for it any more. */
static bool has_room(const struct worker *w, const struct guest *g)
{
    struct links *links = peers_links(w->peers);
    size_t len = buf_len(&g->answer);
    return len <= LINKS_ANSWER_SMALL || !links_is_up(links, g->call.peer) ||
           links_answer_room(links, g->call.peer) >= len + LINKS_ANSWER_SMALL;
}

/* The links tell who asked if there is no room after all. */
static void guest_send(struct worker *w, struct guest *g)
{
    CHECK(w->transit->in > 0 && w->transit->in_bytes >= g->bytes);
    w->transit->in--;
    w->transit->in_bytes -= g->bytes;
    (void)links_reply(peers_links(w->peers), g->call, g->err,
                      bytes_of(buf_bytes(&g->answer), buf_len(&g->answer)));
    guest_free(g);
}

/* Whether an older answer to the same node waits. */
static bool is_behind(const struct transit *t, const struct guest *g)
{
    LIST_EACH(it, &t->held)
    if (LIST_ENTRY(it, struct guest, node)->call.peer == g->call.peer)
        return true;
    return false;
}

static void guest_hold(struct transit *t, struct guest *g)
{
    list_push_back(&t->held, &g->node);
    t->held_bytes += buf_len(&g->answer);
    g->held_until_us = clock_mono_us() + TRANSIT_ROOM_US;
    if (!ev_is_active(&t->room)) {
        t->room.repeat = (double)TRANSIT_ROOM_TICK_US / USEC_PER_SEC;
        ev_timer_again(t->worker->loop, &t->room);
    }
}

/* Worker 0: sends the answer, or lets it wait until the link has room. */
static void guest_reply(struct worker *w, struct guest *g)
{
    struct transit *t = w->transit;
    CHECK_OBJ(g, GUEST_MAGIC);
    size_t len = buf_len(&g->answer);
    bool behind = len > LINKS_ANSWER_SMALL && is_behind(t, g);
    if ((!behind && has_room(w, g)) ||
        len > TRANSIT_HELD_BYTES_MAX - t->held_bytes)
        guest_send(w, g);
    else
        guest_hold(t, g);
}

/* In order for each node. */
static void on_room(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)events;
    struct transit *t = timer->data;
    bool blocked[CONFIG_NODES_MAX + 1] = {false};
    usec_t now = clock_mono_us();
    LIST_EACH_SAFE(it, &t->held)
    {
        struct guest *g = LIST_ENTRY(it, struct guest, node);
        bool *full = &blocked[g->call.peer];
        *full = *full || !has_room(t->worker, g);
        if (*full && now < g->held_until_us)
            continue;
        list_remove(it);
        t->held_bytes -= buf_len(&g->answer);
        guest_send(t->worker, g);
    }
    if (list_empty(&t->held))
        ev_timer_stop(loop, timer);
}

static void deliver_reply(struct inbox_message *m, void *owner)
{
    guest_reply(owner, LIST_ENTRY(m, struct guest, message));
}

/* On its owner's thread: the answer is there. */
static void guest_done(struct guest *g)
{
    struct worker *first = &g->owner->node->workers[0];
    g->message.deliver = deliver_reply;
    if (g->owner == first)
        guest_reply(first, g);
    else
        inbox_post_reserved(&first->inbox, &g->message);
}

static void on_answer(void *user, int status, struct bytes headers,
                      struct bytes body)
{
    struct guest *g = user;
    CHECK_OBJ(g, GUEST_MAGIC);
    const struct passage_answer a = {
        .status = (uint16_t)status, .headers = headers, .body = body};
    /* Without memory for the answer: the request may have been carried out. */
    g->err = status == 0 ? ERR_TIMEOUT : passage_answer_encode(&a, &g->answer);
    guest_done(g);
}

static void guest_run(struct guest *g)
{
    struct http_request *request;
    g->err = http_request_make(g->owner->front, g->passage.head,
                               g->passage.body, on_answer, g, &request);
    if (g->err != ERR_OK) {
        guest_done(g);
        return;
    }
    /* The request has its own copy; `g` may be gone after the call. */
    struct passage p = g->passage;
    p.head = p.body = bytes_of(NULL, 0);
    buf_wipe(&g->body);
    cosmos_on_passage(g->owner->cosmos, request, &p, g->since_us,
                      g->call.age_ms > 0);
}

static void deliver_run(struct inbox_message *m, void *owner)
{
    struct guest *g = LIST_ENTRY(m, struct guest, message);
    CHECK(g->owner == owner);
    guest_run(g);
}

/* Whether it may be answered here: the group allows it, and this node is
 * inside. Passed on once more it is never. */
static int admit(const struct worker *w, uint16_t shard, size_t bytes)
{
    const struct transit *t = w->transit;
    const struct catalog_group *g = catalog_group_of_shard(w->catalog, shard);
    if (w->stopping || w->draining || g == NULL)
        return ERR_UNAVAILABLE;
    if (!g->transit ||
        catalog_group_region(g, w->node->config->region) == g->region_count)
        return ERR_FORBIDDEN;
    bool full = t->in >= TRANSIT_IN_MAX ||
                bytes > TRANSIT_IN_BYTES_MAX - t->in_bytes ||
                t->held_bytes > TRANSIT_HELD_BYTES_MAX / 2;
    return full ? ERR_FULL : ERR_OK;
}

/* ERR_OK, or why not. */
static int guest_new(struct worker *w, struct links_call call,
                     struct bytes body, struct guest **guest_out)
{
    struct guest *g = mem_zalloc(sizeof(*g));
    g->magic = GUEST_MAGIC;
    g->call = call;
    g->since_us = peers_since(w->node->config, &call);
    buf_init(&g->body, PASSAGE_ENCODED_MAX);
    buf_init(&g->answer, PASSAGE_ANSWER_ENCODED_MAX);
    int err = buf_append(&g->body, body.data, body.len);
    if (err == ERR_OK)
        err = passage_decode(bytes_of(buf_bytes(&g->body), buf_len(&g->body)),
                             &g->passage);
    if (err == ERR_OK)
        err = admit(w, g->passage.shard, body.len);
    if (err != ERR_OK) {
        guest_free(g);
        /* Nothing of it was begun. */
        return err == ERR_NO_MEMORY ? ERR_FULL : err;
    }
    *guest_out = g;
    return ERR_OK;
}

void transit_on_request(struct worker *w, struct links_call call,
                        struct bytes body)
{
    struct transit *t = w->transit;
    struct guest *g;
    int err = guest_new(w, call, body, &g);
    if (err != ERR_OK) {
        links_reply(peers_links(w->peers), call, err, bytes_of(NULL, 0));
        return;
    }
    t->in++;
    t->in_bytes += g->bytes = body.len;
    const struct catalog_group *group =
        catalog_group_of_shard(w->catalog, g->passage.shard);
    counted(t, group->name)->answered++;
    g->owner = &w->node->workers[t->turn++ % w->node->worker_count];
    g->message.deliver = deliver_run;
    if (g->owner == w) {
        guest_run(g);
    } else if (inbox_post(&g->owner->inbox, &g->message) != ERR_OK) {
        g->err = ERR_FULL;
        guest_reply(w, g);
    }
}

/* ---- life -------------------------------------------------------------------
 */

struct transit *transit_new(struct worker *w)
{
    struct transit *t = mem_zalloc(sizeof(*t));
    t->worker = w;
    list_init(&t->waiting);
    ev_timer_init(&t->retry, on_retry, 0, 0);
    t->retry.data = t;
    list_init(&t->held);
    ev_timer_init(&t->room, on_room, 0, 0);
    t->room.data = t;
    return t;
}
