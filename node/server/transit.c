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
    bool writes;
    bool in_doubt; /* an attempt may have written */
    bool refused;  /* a fence said no in this round */
    usec_t find_until_us, deadline_us;
    usec_t retry_us, pause_us; /* when the next round is, and after how long */
    raft_id target;
    uint64_t tried[CONFIG_NODES_MAX / 64 + 1]; /* in this round, by node */
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

/* ---- who is asked ----------------------------------------------------------
 */

static bool has_tried(const struct carry *k, raft_id node)
{
    return (k->tried[node / 64] >> (node % 64) & 1) != 0;
}

static void note_tried(struct carry *k, raft_id node)
{
    k->tried[node / 64] |= (uint64_t)1 << (node % 64);
}

/* Whether the node has replicas to answer from, as far as the record says. */
static bool serves(const struct catalog_group *g, raft_id node,
                   const char *region)
{
    size_t i = catalog_group_region(g, region);
    return node != g->witness && i < g->region_count && !g->coming[i];
}

/* Smaller is better. Where writes go matters more than how far it is: the other
 * regions would have to forward them. */
static usec_t distance(const struct carry *k, const struct catalog_group *g,
                       const char *region, const struct links_stats *s)
{
    bool forwards = k->writes && strcmp(region, g->decision.write_region) != 0;
    return s->rtt_us + (forwards ? USEC_NEVER / 2 : 0);
}

/* The best member that was not tried in this round; 0: there is none. */
static raft_id choose(const struct transit *t, const struct carry *k,
                      const struct catalog_group *g)
{
    const struct config *c = t->worker->node->config;
    const struct links *links = peers_links(t->worker->peers);
    raft_id best = 0;
    usec_t best_us = USEC_NEVER;
    for (uint32_t i = 0; i < g->member_count; i++) {
        const struct config_region *region = NULL;
        raft_id node = g->members[i];
        struct links_stats s;
        if (config_find_node(c, node, &region) == NULL || has_tried(k, node) ||
            !serves(g, node, region->name) || !links_is_up(links, node))
            continue;
        CHECK(links_get_stats(links, node, &s) == ERR_OK);
        usec_t us = distance(k, g, region->name, &s);
        if (us < best_us) {
            best = node;
            best_us = us;
        }
    }
    return best;
}

/* ---- asking ----------------------------------------------------------------
 */

static void carry_wait(struct transit *t, struct carry *k)
{
    memset(k->tried, 0, sizeof(k->tried));
    k->refused = false;
    k->retry_us = clock_mono_us() + k->pause_us;
    if (k->retry_us > k->find_until_us)
        k->retry_us = k->find_until_us;
    if (k->pause_us < TRANSIT_RETRY_MAX_US)
        k->pause_us *= 2;
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
    note_tried(k, node);
    k->target = node;
    int err = links_request(peers_links(t->worker->peers), node,
                            TRANSIT_REQUEST, k->shard,
                            (uint32_t)(left / USEC_PER_MS) + 1, body, &k->id);
    k->refused |= err == ERR_FORBIDDEN;
    if (err == ERR_OK)
        HASH_ADD(hh, t->asked, id, sizeof(k->id), k);
    return err == ERR_OK;
}

/* What is to be said when nobody took it. */
static int give_up_err(const struct carry *k)
{
    if (k->in_doubt)
        return ERR_TIMEOUT;
    return k->refused ? ERR_FORBIDDEN : ERR_UNAVAILABLE;
}

static bool has_answer(const struct carry *k)
{
    return buf_len(&k->answer) > 0 && !k->in_doubt;
}

static void carry_give_up(struct transit *t, struct carry *k)
{
    carry_finish(t, k, has_answer(k) ? ERR_OK : give_up_err(k));
}

/* Worker 0: tries those that are left in this round. */
static void carry_go(struct transit *t, struct carry *k)
{
    usec_t now = clock_mono_us();
    const struct catalog_group *g =
        catalog_group_of_shard(t->worker->catalog, k->shard);
    bool over = now >= k->find_until_us || t->worker->stopping;
    raft_id node = 0;
    if (g == NULL || over) {
        carry_give_up(t, k);
        return;
    }
    while ((node = choose(t, k, g)) != 0)
        if (ask(t, k, node, now))
            return;
    /* A fence does not change its mind within the time of a request; and who
     * answered a read has waited for a leader already. */
    if (k->refused || (has_answer(k) && !k->writes))
        carry_give_up(t, k);
    else
        carry_wait(t, k);
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
        if (k->retry_us <= now || t->worker->stopping) {
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
    k->writes = pass->writes;
    k->find_until_us = clock_mono_us() + pass->timeout_us;
    k->deadline_us = deadline(pass);
    k->passage = *pass->passage;
    *pass->passage = (struct buf){.max = k->passage.max};
    buf_init(&k->answer, PASSAGE_ANSWER_ENCODED_MAX);
    k->pause_us = TRANSIT_RETRY_US;
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

/* Statuses that say that nothing was applied, which this attempt alone can
 * tell. */
static bool says_untouched(const struct passage_answer *a)
{
    return a->status == 503 || a->status == 429 || a->status == 403;
}

/* Whether another member may do better: this one could not reach who leads, or
 * not in the time that it has for a write (COSMOS_PASSED_TIMEOUT_US). */
static bool worth_another(const struct carry *k, const struct passage_answer *a)
{
    return (a->status == 503 && !passage_answer_elsewhere(a)) ||
           (a->status == 408 && k->writes);
}

/* The peer's API has answered. */
static void answered(struct transit *t, struct carry *k, struct bytes body)
{
    struct passage_answer a = {.status = 0};
    (void)passage_answer_decode(body, &a); /* malformed: its home says so */
    if (k->in_doubt && says_untouched(&a)) {
        carry_wait(t, k);
        return;
    }
    buf_clear(&k->answer);
    if (buf_append(&k->answer, body.data, body.len) != ERR_OK) {
        carry_finish(t, k, give_up_err(k));
    } else if (worth_another(k, &a)) {
        k->in_doubt |= a.status == 408;
        carry_go(t, k);
    } else {
        carry_finish(t, k, ERR_OK);
    }
}

bool transit_on_response(struct worker *w, uint64_t id, int err,
                         struct bytes body)
{
    struct transit *t = w->transit;
    struct carry *k = take(t, id);
    if (k == NULL)
        return false;
    bool untouched = err == ERR_FULL || err == ERR_FORBIDDEN ||
                     err == ERR_UNAVAILABLE || err == ERR_UNSUPPORTED;
    k->refused |= err == ERR_FORBIDDEN;
    if (err == ERR_OK) {
        answered(t, k, body);
    } else if (err == ERR_LIMIT) {
        carry_finish(t, k, k->in_doubt ? ERR_TIMEOUT : err);
    } else {
        k->in_doubt |= k->writes && !untouched;
        carry_go(t, k);
    }
    return true;
}

bool transit_on_request_failed(struct worker *w, uint64_t id, int err)
{
    struct transit *t = w->transit;
    struct carry *k = take(t, id);
    if (k == NULL)
        return false;
    k->in_doubt |= k->writes && err != ERR_UNAVAILABLE;
    carry_go(t, k);
    return true;
}

/* ---- inside: a request of another node's client ----------------------------
 */

struct guest {
    struct inbox_message message;
    uint32_t magic;
    struct worker *owner; /* whose API runs it */
    struct links_call call;
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

static void guest_reply(struct worker *w, struct guest *g)
{
    CHECK_OBJ(g, GUEST_MAGIC);
    CHECK(w->transit->in > 0 && w->transit->in_bytes >= g->bytes);
    w->transit->in--;
    w->transit->in_bytes -= g->bytes;
    links_reply(peers_links(w->peers), g->call, g->err,
                bytes_of(buf_bytes(&g->answer), buf_len(&g->answer)));
    guest_free(g);
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
    cosmos_on_passage(g->owner->cosmos, request, &p);
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
    bool full =
        t->in >= TRANSIT_IN_MAX || bytes > TRANSIT_IN_BYTES_MAX - t->in_bytes;
    return full ? ERR_FULL : ERR_OK;
}

/* ERR_OK, or why not. */
static int guest_new(struct worker *w, struct links_call call,
                     struct bytes body, struct guest **guest_out)
{
    struct guest *g = mem_zalloc(sizeof(*g));
    g->magic = GUEST_MAGIC;
    g->call = call;
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
    return t;
}
