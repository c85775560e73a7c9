/* Clients with sessions, as the SDKs are: each prefers its own region, keeps
 * the newest session token of each shard, sends it with reads at level session,
 * and never repeats a write whose answer it has lost. One call after the other.
 *
 * Documents are few, so that clients meet. A stored text names the operation
 * that wrote it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"
#include "tests/sim/site/site_impl.h"

#define PATIENCE_US (3 * USEC_PER_SEC)
#define GIVE_UP_US (PATIENCE_US + 500 * USEC_PER_MS)
#define AVOID_US (4 * USEC_PER_SEC)
#define HOP_US 200
#define BODY_MAX 64
/* The rest of the bytes of an operation id that is a client's. */
#define CLIENT_ID 0x746e65696c63ULL

uint64_t site_operation(const uint8_t id[OP_ID_LEN])
{
    uint64_t parts[2];
    memcpy(parts, id, sizeof(parts));
    return parts[1] == CLIENT_ID ? parts[0] : 0;
}

static struct site_client *client_of(struct site *s, uint64_t operation)
{
    return &s->clients[s->history->seen.ops[operation - 1].session];
}

static void wake_at(struct site *s, const struct site_client *c, usec_t at_us,
                    uint64_t operation)
{
    site_schedule(s, at_us,
                  (struct sim_event){.type = SITE_CLIENT,
                                     .node = c->number,
                                     .number = operation});
}

static void rest(struct site *s, struct site_client *c)
{
    c->operation = 0;
    usec_t think = (usec_t)prng_range(&s->prng, c->think_ms * 500ULL,
                                      c->think_ms * 1500ULL);
    wake_at(s, c, s->now_us + think, 0);
}

void site_clients_start(struct site *s)
{
    s->n_clients = 2 * s->shape.regions;
    CHECK(s->n_clients <= SITE_CLIENTS_MAX);
    for (uint32_t i = 0; i < s->n_clients; i++) {
        struct site_client *c = &s->clients[i];
        c->number = i;
        c->region = (raft_region)(1 + i % s->shape.regions);
        c->think_ms = (uint32_t)prng_range(&s->prng, 20, 150);
        c->write_permille = (uint32_t)prng_range(&s->prng, 200, 700);
        c->relax_permille = prng_one_in(&s->prng, 3) ? 300 : 0;
        rest(s, c);
    }
}

bool site_clients_idle(const struct site *s)
{
    for (uint32_t i = 0; i < s->n_clients; i++)
        if (s->clients[i].operation != 0)
            return false;
    return true;
}

/* ---- calling ----------------------------------------------------------------
 */

/* Whether a client would turn to it. In the storm to any node, even one that is
 * no member any more; later, who has read the account anew, only to members. */
static bool is_offered(const struct site *s, const struct site_node *n)
{
    return n->up && (!s->healed || site_is_member(s, n->id));
}

/* A node of its region, or of another while that one's do not answer. A client
 * notices that nobody listens; not that a node stands still. */
static raft_id choose_node(struct site *s, const struct site_client *c)
{
    bool avoid = s->now_us < c->avoid_us;
    raft_id home[SITE_NODES_MAX], other[SITE_NODES_MAX];
    uint32_t n_home = 0, n_other = 0;
    for (raft_id i = 1; i <= s->n_nodes; i++) {
        const struct site_node *n = &s->nodes[i];
        if (!is_offered(s, n))
            continue;
        if (n->region == c->region && !avoid)
            home[n_home++] = i;
        else if (n->region != c->region)
            other[n_other++] = i;
    }
    if (n_home > 0)
        return home[prng_below(&s->prng, n_home)];
    return n_other > 0 ? other[prng_below(&s->prng, n_other)] : 0;
}

static void choose_write(struct site *s, const struct site_client *c,
                         struct hist_op *op)
{
    static const enum linear_kind kinds[] = {LINEAR_CREATE, LINEAR_UPSERT,
                                             LINEAR_UPSERT, LINEAR_REPLACE,
                                             LINEAR_DELETE};
    op->kind = kinds[prng_below(&s->prng, ARRAY_LEN(kinds))];
    uint64_t known = c->saw[op->shard][op->key];
    bool can = op->kind == LINEAR_REPLACE || op->kind == LINEAR_DELETE;
    if (can && known != 0 && s->versions[known].known && site_chance(s, 600)) {
        op->conditional = true;
        op->expected = known;
    }
}

static void begin(struct site *s, struct site_client *c)
{
    if (s->history->seen.n_ops >= SITE_OPS_MAX)
        return;
    struct hist_op op = {
        .session = c->number,
        .region = c->region,
        .shard = (uint16_t)(1 + prng_below(&s->prng, s->n_shards - 1)),
        .key = (uint32_t)prng_below(&s->prng, SITE_KEYS),
        .kind = LINEAR_READ,
        .level = SITE_LEVEL_ACCOUNT,
        .called_us = s->now_us,
    };
    if (site_chance(s, c->write_permille))
        choose_write(s, c, &op);
    else if (site_chance(s, c->relax_permille))
        op.level = (enum consistency_level)prng_range(
            &s->prng, CONSISTENCY_BOUNDED, CONSISTENCY_EVENTUAL);
    c->node = choose_node(s, c);
    if (c->node == 0) {
        rest(s, c);
        return;
    }
    c->operation = observed_called(&s->history->seen, &op);
    wake_at(s, c, s->now_us + GIVE_UP_US, c->operation);
    site_schedule(s, s->now_us + HOP_US,
                  (struct sim_event){.type = SITE_CALL,
                                     .node = c->node,
                                     .number = c->operation});
}

/* Nobody answered, or the answer does not tell: it may have been done or not.
 */
static void lose(struct site *s, struct site_client *c, const char *why)
{
    const struct hist_op *op = &s->history->seen.ops[c->operation - 1];
    site_say(s, "client %u: operation %" PRIu64 ": %s", c->number, c->operation,
             why);
    site_drill_heard(s, op);
    rest(s, c);
}

void site_client_wake(struct site *s, uint32_t client, uint64_t operation)
{
    struct site_client *c = &s->clients[client];
    if (operation != 0 && c->operation == operation) {
        c->avoid_us = s->now_us + AVOID_US;
        lose(s, c, "no answer at all");
    } else if (operation == 0 && c->operation == 0 && !s->resting)
        begin(s, c);
}

void site_clients_lose(struct site *s, raft_id node)
{
    for (uint32_t i = 0; i < s->n_clients; i++)
        if (s->clients[i].operation != 0 && s->clients[i].node == node)
            lose(s, &s->clients[i], "its node died");
}

/* ---- at the node ------------------------------------------------------------
 */

static enum op_write_mode mode_of(enum linear_kind kind)
{
    switch (kind) {
    case LINEAR_CREATE:
        return OP_CREATE;
    case LINEAR_UPSERT:
        return OP_UPSERT;
    case LINEAR_REPLACE:
        return OP_REPLACE;
    default:
        return OP_DELETE;
    }
}

static void make_write(struct site *s, const struct hist_op *h,
                       uint64_t operation, char body[BODY_MAX], struct op *op)
{
    op->kind = OP_WRITE;
    op->mode = mode_of(h->kind);
    op->resource = OP_RESOURCE_DOCUMENT;
    if (h->kind != LINEAR_DELETE) {
        snprintf(body, BODY_MAX, "{\"id\":\"%u\",\"v\":%" PRIu64, h->key,
                 operation);
        op->body = bytes_str(body);
    }
    if (h->conditional) {
        op->condition = OP_COND_IF_MATCH;
        op->etag = s->versions[h->expected].etag;
    }
}

static void make_read(const struct site_node *n, const struct site_client *c,
                      const struct hist_op *h, struct op *op)
{
    /* What a node finds when it starts may be older than what it, and
     * everybody, went by before. */
    enum consistency_level account = n->record.consistency.level;
    op->kind = OP_READ;
    op->level = (uint8_t)(h->level > account ? h->level : account);
    if (!n->has_been_fresh)
        op->level = CONSISTENCY_STRONG;
    if (op->level != CONSISTENCY_SESSION)
        return;
    op->session_epoch = c->token[h->shard].epoch;
    op->session_lsn = c->token[h->shard].lsn;
}

void site_client_call(struct site *s, struct site_node *n, uint64_t operation)
{
    static const uint8_t container_rid[8] = {0, 0, 0, 32, 0x80, 0, 0, 16};
    const struct hist_op *h = &s->history->seen.ops[operation - 1];
    struct site_client *c = client_of(s, operation);
    struct op op = {.shard = h->shard};
    struct op_result refused;
    char body[BODY_MAX];
    if (c->operation != operation)
        return; /* it has gone */
    uint64_t id[2] = {operation, CLIENT_ID};
    memcpy(op.id, id, sizeof(op.id));
    memcpy(op.parent_rid, container_rid, sizeof(container_rid));
    op.at.container = CONTAINER_FIRST_USER;
    memcpy(op.at.id_hash, &h->key, sizeof(h->key));
    if (hist_is_write(h))
        make_write(s, h, operation, body, &op);
    else
        make_read(n, c, h, &op);
    struct site_call *call =
        n->has_record ? site_call_new(n, &op, PATIENCE_US) : NULL;
    if (call == NULL) {
        op_result_init(&refused);
        refused.err = ERR_UNAVAILABLE;
        site_client_answer(s, n, operation, &refused);
        op_result_free(&refused);
        return;
    }
    call->asker = SITE_ASKER_CLIENT;
    call->operation = operation;
    site_call_run(n, call);
}

/* ---- answers ----------------------------------------------------------------
 */

uint64_t site_version_of(struct site *s, struct bytes text)
{
    char copy[1024];
    unsigned key;
    uint64_t version = 0;
    size_t len = text.len < sizeof(copy) ? text.len : sizeof(copy) - 1;
    memcpy(copy, text.data, len);
    copy[len] = '\0';
    if (sscanf(copy, "{\"id\":\"%u\",\"v\":%" SCNu64, &key, &version) != 2 ||
        version == 0 || version > s->history->seen.n_ops ||
        s->history->seen.ops[version - 1].key != key) {
        site_fail(s, "a text that nobody wrote: %.100s", copy);
        return 0;
    }
    return version;
}

static void saw_etag(struct site *s, uint64_t version, const struct etag *etag)
{
    struct site_version *v = &s->versions[version];
    v->known = true;
    v->etag = *etag;
}

static void keep_token(struct site_client *c, uint16_t shard,
                       struct hist_place at)
{
    uint32_t epoch = RAFT_TERM_EPOCH(at.term);
    if (shard_satisfies(epoch, at.lsn, c->token[shard].epoch,
                        c->token[shard].lsn)) {
        c->token[shard].epoch = epoch;
        c->token[shard].lsn = at.lsn;
    }
}

static void note(struct site *s, struct site_client *c, struct hist_op *op,
                 const struct op_result *result)
{
    bool read = op->kind == LINEAR_READ;
    struct bytes text =
        bytes_of(buf_bytes(&result->body), buf_len(&result->body));
    if (result->err == ERR_OK && read)
        op->version = site_version_of(s, text);
    uint64_t version = read ? op->version : c->operation;
    if (result->err == ERR_OK && op->kind != LINEAR_DELETE && version != 0) {
        saw_etag(s, version, &result->etag);
        c->saw[op->shard][op->key] = version;
    }
    bool told = result->err == ERR_OK || result->err == ERR_NOT_FOUND ||
                result->err == ERR_EXISTS || result->err == ERR_PRECONDITION;
    if (told)
        keep_token(c, op->shard, op->at);
    s->acked += !read && result->err == ERR_OK;
    s->reads += read && told;
}

static void say_answer(struct site *s, const struct site_client *c,
                       const struct site_node *n, const struct hist_op *op)
{
    static const char *const kinds[] = {"reads", "creates", "upserts",
                                        "replaces", "deletes"};
    if (s->loud == 0)
        return;
    site_say(s,
             "client %u of region %u %s %u/%u at n%u: %" PRIu64
             " %s, sees %" PRIu64 ", %u#%" PRIu64 " (%.1f ms)",
             c->number, c->region, kinds[op->kind], op->shard, op->key, n->id,
             c->operation, err_name(op->result), op->version,
             RAFT_TERM_EPOCH(op->at.term), op->at.lsn,
             (double)(op->answered_us - op->called_us) / 1000.0);
}

void site_client_answer(struct site *s, struct site_node *n, uint64_t operation,
                        const struct op_result *result)
{
    struct site_client *c = client_of(s, operation);
    if (c->operation != operation)
        return; /* it has gone */
    if (result->err == ERR_TIMEOUT) {
        lose(s, c, "no answer in time");
        return;
    }
    struct hist_op op = s->history->seen.ops[operation - 1];
    op.answered_us = s->now_us;
    op.node = n->id;
    op.result = result->err;
    op.created = result->created;
    op.at = (struct hist_place){result->lsn, result->term};
    note(s, c, &op, result);
    observed_answered(&s->history->seen, operation, &op);
    say_answer(s, c, n, &op);
    site_drill_heard(s, &s->history->seen.ops[operation - 1]);
    rest(s, c);
}
