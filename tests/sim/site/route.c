/* A node's router, by the rules of node/server/router.h: an operation is run
 * here if this node's replica can, else by the leader's node; what finds no
 * leader or loses its answer is tried again with the same id until its time is
 * over. What comes from another node is never passed on. */
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"
#include "node/shard/salvage.h"
#include "tests/sim/site/site_impl.h"

#define RETRY_US (10 * USEC_PER_MS)
/* A link without a byte for this long is broken, and the answer is lost. */
#define SILENCE_US (USEC_PER_SEC)
/* Lost on the way without that being noticed. */
#define ATTEMPT_US (2 * USEC_PER_SEC)

struct site_call *site_call_new(struct site_node *n, const struct op *op,
                                usec_t patience_us)
{
    if (n->calls == NULL)
        n->calls = mem_zalloc(SITE_CALLS_MAX * sizeof(*n->calls));
    for (size_t i = 0; i < SITE_CALLS_MAX; i++) {
        struct site_call *c = &n->calls[i];
        if (c->used)
            continue;
        *c = (struct site_call){.used = true,
                                .number = ++n->calls_made,
                                .op = *op,
                                .deadline_us = site_local_us(n) + patience_us};
        buf_init(&c->body, OP_BODY_MAX);
        CHECK(buf_append(&c->body, op->body.data, op->body.len) == ERR_OK);
        c->op.body = bytes_of(buf_bytes(&c->body), buf_len(&c->body));
        return c;
    }
    return NULL;
}

static void release(struct site_call *c)
{
    buf_free(&c->body);
    c->used = false;
}

static struct site_call *find(struct site_node *n, uint64_t number)
{
    for (size_t i = 0; n->calls != NULL && i < SITE_CALLS_MAX; i++)
        if (n->calls[i].used && n->calls[i].number == number)
            return &n->calls[i];
    return NULL;
}

void site_copy_result(struct op_result *to, const struct op_result *from)
{
    *to = *from;
    buf_init(&to->body, OP_BODY_MAX);
    CHECK(buf_append(&to->body, buf_bytes(&from->body), buf_len(&from->body)) ==
          ERR_OK);
}

/* ---- the end of a call ------------------------------------------------------
 */

static void finish(struct site_node *n, struct site_call *c,
                   const struct op_result *result)
{
    struct site_call done = *c;
    c->used = false;
    if (done.asker == SITE_ASKER_CLIENT) {
        site_client_answer(n->site, n, done.operation, result);
    } else if (done.asker == SITE_ASKER_NODE) {
        struct site_msg *m = site_msg_new(SITE_MSG_ANSWER);
        m->life = done.from_life;
        m->call = done.from_call;
        m->attempt = done.from_attempt;
        site_copy_result(&m->result, result);
        site_send(n, done.from, m);
    } else {
        done.done(n, &done, result);
    }
    release(&done);
}

static void finish_with(struct site_node *n, struct site_call *c, int err)
{
    struct op_result result;
    op_result_init(&result);
    result.err = err;
    finish(n, c, &result);
    op_result_free(&result);
}

static void give_up(struct site_node *n, struct site_call *c)
{
    finish_with(n, c, c->may_be_done ? ERR_TIMEOUT : ERR_UNAVAILABLE);
}

/* ---- attempts ---------------------------------------------------------------
 */

static void later(struct site_node *n, struct site_call *c)
{
    c->retry_us = site_local_us(n) + RETRY_US;
    c->attempt_us = c->retry_us;
    site_schedule(n->site, n->site->now_us + RETRY_US,
                  (struct sim_event){
                      .type = SITE_RETRY, .node = n->id, .number = n->life});
}

static void run_here(struct site_node *n, struct site_call *c)
{
    uint16_t shard = c->op.shard;
    usec_t patience = c->deadline_us - site_local_us(n);
    c->attempt_us = USEC_NEVER;
    sim_replica_shard.submit(n->replicas[shard].replica, site_local_us(n),
                             c->number, &c->op, patience);
    site_node_after(n, shard);
}

static void forward(struct site_node *n, struct site_call *c, raft_id to)
{
    struct site_msg *m = site_msg_new(SITE_MSG_CALL);
    m->life = n->life;
    m->call = c->number;
    m->attempt = c->attempt;
    m->op = c->op;
    CHECK(buf_append(&m->body, c->op.body.data, c->op.body.len) == ERR_OK);
    m->op.body = bytes_of(buf_bytes(&m->body), buf_len(&m->body));
    m->patience_us = c->deadline_us - site_local_us(n);
    c->asked = to;
    c->attempt_us = site_local_us(n) + SILENCE_US;
    c->lost_us = site_local_us(n) + ATTEMPT_US;
    site_send(n, to, m);
}

void site_call_run(struct site_node *n, struct site_call *c)
{
    if (site_local_us(n) >= c->deadline_us) {
        give_up(n, c);
        return;
    }
    c->retry_us = 0;
    c->attempt++;
    const struct sim_replica *r = n->replicas[c->op.shard].replica;
    bool read_here = c->op.kind != OP_WRITE && !c->to_leader;
    if (c->asker == SITE_ASKER_NODE || read_here ||
        sim_replica_shard.leads(r)) {
        run_here(n, c);
        return;
    }
    raft_id leader = shard_leader(sim_shard(r));
    if (leader == 0 || leader == n->id)
        later(n, c);
    else
        forward(n, c, leader);
}

/* Whether it is the operation's result. A refusal says that this attempt wrote
 * nothing, which does not answer for one before it. */
static bool settles(const struct site_call *c, int err)
{
    bool again = err == ERR_NOT_LEADER || err == ERR_STALE ||
                 err == ERR_NO_LEADER || err == ERR_UNAVAILABLE ||
                 err == ERR_TIMEOUT;
    return !again && !(err == ERR_THROTTLED && c->may_be_done);
}

/* An attempt ended: with an answer for the asker, or with a reason to try
 * again. */
static void attempted(struct site_node *n, struct site_call *c,
                      const struct op_result *result, bool by_leader)
{
    int err = result->err;
    bool behind = err == ERR_BEHIND && !by_leader;
    if (c->asker == SITE_ASKER_NODE || (settles(c, err) && !behind)) {
        finish(n, c, result);
        return;
    }
    c->may_be_done |=
        c->op.kind == OP_WRITE && (err == ERR_STALE || err == ERR_TIMEOUT);
    c->to_leader |= !by_leader;
    later(n, c);
}

void site_call_result(struct site_node *n, const struct site_msg *m)
{
    struct site_call *c = find(n, m->call);
    if (c != NULL)
        attempted(n, c, &m->result, m->by_leader);
}

/* ---- other nodes ------------------------------------------------------------
 */

void site_call_foreign(struct site_node *n, raft_id from,
                       const struct site_msg *m)
{
    struct site_call *c = site_call_new(n, &m->op, m->patience_us);
    if (c == NULL)
        return;
    c->asker = SITE_ASKER_NODE;
    c->from = from;
    c->from_life = m->life;
    c->from_call = m->call;
    c->from_attempt = m->attempt;
    site_call_run(n, c);
}

void site_call_answered(struct site_node *n, const struct site_msg *m)
{
    struct site_call *c = m->life == n->life ? find(n, m->call) : NULL;
    if (c == NULL || c->retry_us != 0 || c->attempt != m->attempt)
        return; /* it was given up, or is about to be tried again, or was */
    attempted(n, c, &m->result, true);
}

/* ---- time -------------------------------------------------------------------
 */

static bool is_broken(const struct site_node *n, const struct site_call *c)
{
    const struct site *s = n->site;
    return site_is_cut(s, n->id, c->asked) || site_is_cut(s, c->asked, n->id) ||
           !site_node_up(&s->nodes[c->asked]);
}

/* Whether the attempt under way will get no answer, or none in time. */
static bool is_lost(const struct site_node *n, const struct site_call *c,
                    usec_t now)
{
    return now >= c->lost_us || now >= c->deadline_us ||
           (now >= c->attempt_us && is_broken(n, c));
}

void site_calls_chore(struct site_node *n)
{
    usec_t now = site_local_us(n);
    for (size_t i = 0; n->calls != NULL && i < SITE_CALLS_MAX; i++) {
        struct site_call *c = &n->calls[i];
        if (!c->used || c->attempt_us == USEC_NEVER)
            continue;
        if (c->retry_us == 0 && is_lost(n, c, now)) {
            c->may_be_done |= c->op.kind == OP_WRITE; /* nobody knows */
            c->retry_us = now;
        }
        if (now >= c->deadline_us)
            give_up(n, c);
        else if (c->retry_us != 0 && now >= c->retry_us)
            site_call_run(n, c);
    }
}

void site_calls_drop(struct site_node *n)
{
    for (size_t i = 0; n->calls != NULL && i < SITE_CALLS_MAX; i++) {
        struct site_call *c = &n->calls[i];
        if (!c->used)
            continue;
        if (c->delivery != NULL) {
            shard_salvage_drop(c->delivery);
            mem_free(c->delivery);
        }
        release(c);
    }
}
