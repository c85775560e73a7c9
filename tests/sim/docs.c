#include "tests/sim/docs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"
#include "node/history/linear.h"
#include "tests/sim/world_impl.h"

#define CLIENTS 6
#define KEYS 4
#define HISTORY_MAX 4096
#define BODY_MAX 64
/* What a replica is given for one attempt, and after what time a client
 * believes that its question, or the answer, was lost. */
#define PATIENCE_US (600 * USEC_PER_MS)
#define ATTEMPT_US (800 * USEC_PER_MS)
#define RETRY_US (30 * USEC_PER_MS)
#define ANSWER_LOST_PERMILLE 60
#define WRONG_NODE_PERMILLE 150
/* Some clients go away without an answer. Few: each one doubles what the
 * checker must consider. */
#define GIVE_UP_PERMILLE 100
#define GIVE_UPS_MAX 4

struct past {
    struct linear_op op;
    uint32_t key;
    uint64_t operation;
};

/* Of a version: its etag as first seen, and where its operation committed. */
struct version {
    bool known;
    struct etag etag;
    uint64_t lsn;
};

struct client {
    bool busy;
    size_t past; /* its operation */
    struct op op;
    char body[BODY_MAX];
    uint64_t token; /* of the attempt under way; 0: none */
    usec_t attempt_us;
    usec_t retry_us;
    struct check_floor floor;
    /* What it last saw of each document, for conditions. */
    uint64_t saw[KEYS];
};

struct docs {
    struct world *w;
    struct prng prng;
    struct client clients[CLIENTS];
    struct past history[HISTORY_MAX];
    size_t n_history;
    struct version versions[HISTORY_MAX + 1]; /* by operation */
    uint64_t moment;                          /* orders calls and answers */
    uint64_t token;
    uint32_t given_up;
};

struct docs *docs_new(struct world *w)
{
    struct docs *d = mem_zalloc(sizeof(*d));
    d->w = w;
    prng_seed(&d->prng, w->seed ^ 0x646f6373);
    return d;
}

void docs_free(struct docs *d)
{
    mem_free(d);
}

static bool chance(struct docs *d, uint32_t permille)
{
    return prng_below(&d->prng, 1000) < permille;
}

/* ---- what is seen -----------------------------------------------------------
 */

static void violated(struct docs *d, const char *what, raft_id node,
                     uint64_t version)
{
    char text[128];
    snprintf(text, sizeof(text), "%s: n%u, operation %" PRIu64, what, node,
             version);
    world_fail(d->w, text);
}

static void saw_etag(struct docs *d, raft_id node, uint64_t version,
                     const struct etag *etag)
{
    CHECK(version > 0 && version <= HISTORY_MAX);
    struct version *v = &d->versions[version];
    if (v->known && !etag_equal(&v->etag, etag))
        violated(d, "two etags for one write", node, version);
    v->known = true;
    v->etag = *etag;
}

void docs_effect(struct docs *d, struct node *n, uint64_t operation,
                 uint64_t lsn)
{
    if (operation == 0)
        return; /* an entry that fills a gap */
    CHECK(operation <= HISTORY_MAX);
    struct version *v = &d->versions[operation];
    if (v->lsn != 0 && v->lsn != lsn)
        violated(d, "an operation took effect twice", n->id, operation);
    v->lsn = lsn;
}

/* The key and version in a stored text, and the etag it names. */
static uint64_t parse(struct docs *d, raft_id node, const char *text,
                      uint32_t *key_out)
{
    unsigned key;
    uint64_t version = 0;
    struct etag etag;
    const char *tag = strstr(text, "\"_etag\":\"\\\"");
    if (sscanf(text, "{\"id\":\"%u\",\"v\":%" SCNu64, &key, &version) != 2 ||
        version == 0 || version > d->n_history || key >= KEYS || tag == NULL ||
        etag_parse(bytes_of((const uint8_t *)tag + 11, ETAG_TEXT_LEN - 2),
                   &etag) != ERR_OK) {
        violated(d, "a text that nobody wrote", node, version);
        return 0;
    }
    *key_out = key;
    saw_etag(d, node, version, &etag);
    return version;
}

static uint64_t parse_bytes(struct docs *d, raft_id node, struct bytes text,
                            uint32_t *key_out)
{
    char copy[1024];
    CHECK(text.len < sizeof(copy));
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    return parse(d, node, copy, key_out);
}

/* ---- calling ----------------------------------------------------------------
 */

static struct node *pick_node(struct docs *d, const struct op *op)
{
    struct world *w = d->w;
    raft_id leader = world_leader(w);
    if (op->kind == OP_WRITE && leader != 0 && !chance(d, WRONG_NODE_PERMILLE))
        return &w->nodes[leader];
    return &w->nodes[1 + prng_below(&d->prng, w->n_nodes)];
}

static void attempt(struct docs *d, struct client *c)
{
    struct node *n = pick_node(d, &c->op);
    c->retry_us = d->w->now_us + RETRY_US;
    if (!node_up(n))
        return;
    c->token = ++d->token;
    c->attempt_us = d->w->now_us;
    d->w->ops->submit(n->replica, node_local_us(n), c->token, &c->op,
                      PATIENCE_US);
    node_after_step(n);
}

static void choose_write(struct docs *d, struct client *c, uint32_t key,
                         struct linear_op *l)
{
    static const struct {
        enum linear_kind kind;
        enum op_write_mode mode;
    } kinds[] = {
        {LINEAR_CREATE, OP_CREATE},
        {LINEAR_UPSERT, OP_UPSERT},
        {LINEAR_REPLACE, OP_REPLACE},
        {LINEAR_DELETE, OP_DELETE},
    };
    size_t i = (size_t)prng_below(&d->prng, ARRAY_LEN(kinds));
    l->kind = kinds[i].kind;
    c->op.kind = OP_WRITE;
    c->op.mode = kinds[i].mode;
    c->op.resource = OP_RESOURCE_DOCUMENT;
    if (l->kind != LINEAR_DELETE) {
        snprintf(c->body, sizeof(c->body), "{\"id\":\"%u\",\"v\":%zu", key,
                 d->n_history);
        c->op.body = bytes_str(c->body);
        l->version = d->n_history;
    }
    uint64_t known = c->saw[key];
    if ((l->kind == LINEAR_REPLACE || l->kind == LINEAR_DELETE) && known != 0 &&
        d->versions[known].known && !chance(d, 250)) {
        l->conditional = true;
        l->expected = known;
        c->op.condition = OP_COND_IF_MATCH;
        c->op.etag = d->versions[known].etag;
    }
}

static void begin(struct docs *d, struct client *c, bool write)
{
    static const uint8_t container_rid[8] = {0, 0, 0, 32, 0x80, 0, 0, 16};
    if (d->n_history == HISTORY_MAX)
        return;
    c->past = d->n_history++;
    struct past *p = &d->history[c->past];
    uint32_t key = (uint32_t)prng_below(&d->prng, KEYS);
    uint64_t operation = d->n_history;
    *p = (struct past){.key = key, .operation = operation};
    p->op.called = ++d->moment;
    p->op.answered = LINEAR_NEVER;
    c->busy = true;
    c->token = 0;
    c->floor = check_read_floor(d->w->check);
    c->op = (struct op){.kind = OP_READ};
    memcpy(c->op.id, &operation, sizeof(operation));
    memcpy(c->op.parent_rid, container_rid, sizeof(container_rid));
    c->op.at.container = CONTAINER_FIRST_USER;
    memcpy(c->op.at.id_hash, &key, sizeof(key));
    if (write)
        choose_write(d, c, key, &p->op);
    attempt(d, c);
}

/* Who waited too long for an answer, or was sent away, asks again; some go. */
static void go_on(struct docs *d, struct client *c)
{
    usec_t now = d->w->now_us;
    if (c->token != 0 && now >= c->attempt_us + ATTEMPT_US) {
        c->token = 0;
        c->retry_us = now;
        if (d->given_up < GIVE_UPS_MAX && chance(d, GIVE_UP_PERMILLE)) {
            d->given_up++;
            c->busy = false;
            return;
        }
    }
    if (c->token == 0 && now >= c->retry_us)
        attempt(d, c);
}

void docs_finish(struct docs *d)
{
    for (size_t i = 0; i < CLIENTS; i++)
        if (d->clients[i].busy)
            go_on(d, &d->clients[i]);
}

void docs_go(struct docs *d, bool write)
{
    docs_finish(d);
    for (size_t i = 0; i < CLIENTS; i++) {
        if (!d->clients[i].busy) {
            begin(d, &d->clients[i], write);
            return;
        }
    }
}

/* ---- answers ----------------------------------------------------------------
 */

static bool is_final(int err)
{
    return err == ERR_OK || err == ERR_EXISTS || err == ERR_NOT_FOUND ||
           err == ERR_PRECONDITION;
}

static void note_text(struct docs *d, struct client *c, struct past *p,
                      raft_id node, const struct op_result *result)
{
    bool reads = p->op.kind == LINEAR_READ;
    uint32_t key = p->key;
    uint64_t version = 0;
    size_t len = buf_len(&result->body);
    /* A repeated write's text is empty when it was replaced since. */
    if (len > 0)
        version =
            parse_bytes(d, node, bytes_of(buf_bytes(&result->body), len), &key);
    else if (!reads)
        version = p->op.version;
    if (key != p->key || version == 0 || (!reads && version != p->op.version)) {
        violated(d, "another document's text", node, p->operation);
        return;
    }
    saw_etag(d, node, version, &result->etag);
    p->op.version = version;
    c->saw[p->key] = version;
}

static struct client *waits_for(struct docs *d, uint64_t token)
{
    for (size_t i = 0; i < CLIENTS; i++)
        if (d->clients[i].busy && d->clients[i].token == token)
            return &d->clients[i];
    return NULL;
}

static void finish(struct docs *d, struct client *c, raft_id node,
                   const struct op_result *result)
{
    struct past *p = &d->history[c->past];
    c->busy = false;
    p->op.answered = ++d->moment;
    p->op.result = result->err;
    p->op.created = result->created;
    if (result->err == ERR_OK && p->op.kind != LINEAR_DELETE)
        note_text(d, c, p, node, result);
    if (p->op.kind == LINEAR_READ)
        check_read_done(d->w->check, node, c->floor, result->lsn);
    world_say(
        d->w, "operation %" PRIu64 " on %u: kind %d, %s, version %" PRIu64,
        p->operation, p->key, p->op.kind, err_name(result->err), p->op.version);
}

void docs_answered(struct docs *d, struct node *n, uint64_t token,
                   const struct op_result *result)
{
    struct client *c = waits_for(d, token);
    if (c == NULL || chance(d, ANSWER_LOST_PERMILLE))
        return; /* who waits hears nothing, and asks again */
    if (is_final(result->err)) {
        finish(d, c, n->id, result);
        return;
    }
    c->token = 0;
    c->retry_us = d->w->now_us + RETRY_US;
}

/* ---- the end ----------------------------------------------------------------
 */

struct holding {
    struct docs *d;
    raft_id node;
    uint64_t versions[KEYS];
    bool twice;
};

static void hold(void *user, uint64_t record, struct bytes text)
{
    (void)record;
    struct holding *h = user;
    uint32_t key = 0;
    uint64_t version = parse_bytes(h->d, h->node, text, &key);
    h->twice |= h->versions[key] != 0;
    h->versions[key] = version;
}

static bool check_key(struct docs *d, uint32_t key, uint64_t held)
{
    struct linear_op *ops = mem_alloc((d->n_history + 1) * sizeof(*ops));
    size_t n = 0;
    for (size_t i = 0; i < d->n_history; i++)
        if (d->history[i].key == key)
            ops[n++] = d->history[i].op;
    ops[n++] = (struct linear_op){.kind = LINEAR_READ,
                                  .version = held,
                                  .called = d->moment + 1,
                                  .answered = d->moment + 2,
                                  .result = held == 0 ? ERR_NOT_FOUND : ERR_OK};
    enum linear_verdict verdict = linear_check(ops, n, 0);
    mem_free(ops);
    return verdict != LINEAR_BAD;
}

bool docs_unsettled(struct docs *d, char *why, size_t cap)
{
    struct world *w = d->w;
    for (size_t i = 0; i < CLIENTS; i++)
        if (d->clients[i].busy)
            return snprintf(why, cap,
                            "no progress: operation %" PRIu64 " hangs",
                            d->history[d->clients[i].past].operation);
    /* That all replicas hold the same was compared before. */
    struct holding h = {.d = d, .node = world_leader(w)};
    w->ops->documents(w->nodes[h.node].replica, CONTAINER_FIRST_USER, hold, &h);
    if (h.twice) {
        violated(d, "two documents of one id", h.node, 0);
        return snprintf(why, cap, "two documents of one id");
    }
    for (uint32_t key = 0; key < KEYS; key++)
        if (!check_key(d, key, h.versions[key])) {
            violated(d, "not linearizable: the history of a document", h.node,
                     h.versions[key]);
            return snprintf(why, cap, "document %u is not linearizable", key);
        }
    return false;
}
