/* A world for the API: shards in memory behind a backend, a catalog that
 * follows them, keys, a clock that stands still, and an HTTP front that keeps
 * the one response. Included by each test program.
 *
 * The functions of node/http/http.h that the API calls are defined here; the
 * linker then leaves the real ones out. */
#ifndef BASTIDE_TESTS_COSMOS_FAKE_H
#define BASTIDE_TESTS_COSMOS_FAKE_H

/* No program uses all of it. */
#pragma GCC diagnostic ignored "-Wunused-function"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "consensus/raft.h"
#include "node/auth/signature.h"
#include "node/base/mem.h"
#include "node/base/text.h"
#include "node/catalog/catalog.h"
#include "node/cosmos/cosmos.h"
#include "node/query/query.h"
#include "node/shard/conflict.h"

#define FAKE_SHARDS 3     /* meta and two of the group */
#define FAKE_SHARDS_ALL 5 /* and two that a group is split into */
#define FAKE_WALL_S INT64_C(1795312437)
#define FAKE_TERM (UINT64_C(1) << 32 | 7)

/* ---- HTTP ---------------------------------------------------------------- */

struct response {
    int status;
    bool closes; /* the connection, afterwards */
    enum http_cut cut;
    usec_t delay_us;
    char headers[16 * 1024]; /* "name: value\n"... */
    struct buf body;
};

struct fake_request {
    struct http_request http; /* first: cast back */
    struct http_header fields[64];
    struct response response;
};

static struct fake_request *fake_of(struct http_request *r)
{
    return (struct fake_request *)(void *)r;
}

struct bytes http_header_find(const struct http_request *r, const char *name,
                              size_t name_len)
{
    for (size_t i = 0; i < r->header_count; i++) {
        if (r->headers[i].name.len == name_len &&
            text_equal_nocase(r->headers[i].name, name))
            return r->headers[i].value;
    }
    return bytes_of(NULL, 0);
}

bool http_request_gone(const struct http_request *r)
{
    (void)r;
    return false;
}

int http_reply_header(struct http_request *r, const char *name,
                      struct bytes value)
{
    char *h = fake_of(r)->response.headers;
    size_t used = strlen(h);
    for (size_t i = 0; i < value.len; i++)
        assert_true(value.data[i] >= 0x20 && value.data[i] < 0x7f);
    int n = snprintf(h + used, 16 * 1024 - used, "%s: %.*s\n", name,
                     (int)value.len, (const char *)value.data);
    assert_true((size_t)n < 16 * 1024 - used);
    return ERR_OK;
}

int http_reply_header_str(struct http_request *r, const char *name,
                          const char *value)
{
    return http_reply_header(r, name, bytes_str(value));
}

int http_reply_header_u64(struct http_request *r, const char *name,
                          uint64_t value)
{
    return http_reply_header_f(r, name, "%llu", (unsigned long long)value);
}

int http_reply_header_f(struct http_request *r, const char *name,
                        const char *format, ...)
{
    char text[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return http_reply_header_str(r, name, text);
}

void http_reply_reset(struct http_request *r)
{
    fake_of(r)->response.headers[0] = '\0';
}

void http_reply_close(struct http_request *r)
{
    fake_of(r)->response.closes = true;
}

void http_reply_cut(struct http_request *r, enum http_cut cut)
{
    fake_of(r)->response.cut = cut;
}

void http_reply_delay(struct http_request *r, usec_t delay_us)
{
    fake_of(r)->response.delay_us = delay_us;
}

void http_respond(struct http_request *r, int status, struct bytes body)
{
    struct response *resp = &fake_of(r)->response;
    assert_int_equal(resp->status, 0);
    assert_true(status >= 200 && status < 600);
    if (status == 204 || status == 304)
        assert_int_equal(body.len, 0);
    resp->status = status;
    buf_init(&resp->body, 64 * 1024 * 1024);
    assert_int_equal(buf_append(&resp->body, body.data, body.len), ERR_OK);
}

void http_respond_take(struct http_request *r, int status, struct buf *body)
{
    http_respond(r, status, bytes_of(buf_bytes(body), buf_len(body)));
    buf_free(body);
}

int http_reject_status(enum http_reject why)
{
    return why == HTTP_REJECT_BODY_SIZE ? 413 : 400;
}

const char *http_reject_code(enum http_reject why)
{
    return why == HTTP_REJECT_BODY_SIZE ? "RequestEntityTooLarge"
                                        : "BadRequest";
}

/* ---- shards -------------------------------------------------------------- */

struct fake_record {
    struct op_address at;
    uint64_t record;
    struct etag etag;
    char *json;
};

struct fake_shard {
    uint64_t lsn;
    size_t count;
    size_t cap;
    struct fake_record *records; /* in the order of fake_order */
};

/* A catalog change that waits for a barrier (w->lag). */
struct fake_change {
    bool deleted;
    uint32_t container;
    uint64_t record;
    uint64_t lsn;
    char *json;
};

struct world {
    struct backend backend; /* first: cast back */
    struct fake_shard shards[FAKE_SHARDS_ALL];
    struct catalog *catalog;
    struct auth_keys keys;
    struct auth_key signer;
    struct keyed_hash *hash;
    struct feature_gate features; /* all that there are, at first */
    struct cosmos *cosmos;
    usec_t mono;
    /* Faults: the next operation of this kind fails so. */
    enum op_kind fail_kind;
    int fail_err;
    const char *fail_text; /* NULL: no message */
    unsigned fail_skip;    /* operations of that kind to let through before */
    /* The catalog learns of changes at barriers only. */
    bool lag;
    struct fake_change changes[64];
    size_t change_count;
    /* Rows a scan step looks at; 0: OP_SCAN_EXAMINE_MAX. */
    uint32_t examine;
    /* Counters. */
    unsigned ops[OP_KIND_COUNT];
    uint16_t last_shard;
    usec_t last_timeout, last_since;
    bool last_again;
    /* The level and token of the last read or scan, of each shard. */
    uint8_t level[FAKE_SHARDS_ALL];
    uint32_t session_epoch[FAKE_SHARDS_ALL];
    uint64_t session_lsn[FAKE_SHARDS_ALL];
    bool at_leader[FAKE_SHARDS_ALL];
    uint64_t move[FAKE_SHARDS_ALL]; /* of the last operation of any kind */
    uint8_t last_id[OP_ID_LEN];     /* of the last write */
    /* What was passed on last, and what becomes of it. */
    unsigned passed_on;
    struct buf passage;
    uint16_t passed_group;
    bool passed_writes;
    struct cosmos_passed passed;
    /* The term that answers name; FAKE_TERM at first. */
    uint64_t term;
    /* Answers wait in here until world_deliver. */
    bool deferred;
    op_done_cb *waiting_done;
    void *waiting_user;
    struct op_result waiting_result;
    bool (*before_write)(struct world *w, const struct op *op);
    /* Faults on request: the last that strikes counts. */
    _Atomic uint32_t faulty;
    struct inject_list faults;
    struct prng dice;
    struct inject_request asked; /* what the last one was asked about */
};

static int fake_order(const struct fake_record *a, const struct fake_record *b)
{
    if (a->at.container != b->at.container)
        return a->at.container < b->at.container ? -1 : 1;
    int order = memcmp(a->at.pk_hash, b->at.pk_hash, OP_HASH_LEN);
    if (order != 0)
        return order;
    return a->record < b->record ? -1 : a->record > b->record;
}

static int fake_compare(const void *a, const void *b)
{
    return fake_order(a, b);
}

static struct fake_record *fake_find(struct fake_shard *s,
                                     const struct op_address *at)
{
    for (size_t i = 0; i < s->count; i++) {
        if (memcmp(&s->records[i].at, at, sizeof(*at)) == 0)
            return &s->records[i];
    }
    return NULL;
}

static void fake_change(struct world *w, bool deleted, uint32_t container,
                        uint64_t record, uint64_t lsn, const char *json)
{
    assert_true(w->change_count < 64);
    w->changes[w->change_count++] = (struct fake_change){
        deleted, container, record, lsn, json ? mem_strdup(json) : NULL};
}

static void fake_catch_up(struct world *w)
{
    for (size_t i = 0; i < w->change_count; i++) {
        struct fake_change *c = &w->changes[i];
        struct err_msg msg = {""};
        if (c->deleted) {
            catalog_delete(w->catalog, c->container, c->record, c->lsn);
        } else {
            int err = catalog_put(w->catalog, c->container, c->record,
                                  bytes_str(c->json), c->lsn, &msg);
            if (err != ERR_OK)
                fail_msg("catalog_put: %s", msg.text);
        }
        mem_free(c->json);
    }
    w->change_count = 0;
}

static void fake_remove(struct world *w, struct fake_shard *s,
                        struct fake_record *r)
{
    if (s == &w->shards[0])
        fake_change(w, true, r->at.container, r->record, s->lsn, NULL);
    mem_free(r->json);
    *r = s->records[--s->count];
    qsort(s->records, s->count, sizeof(*r), fake_compare);
}

/* What the shard appends to a record (node/shard does the same). */
static char *fake_complete(const struct op *op, const struct fake_record *r)
{
    struct buf b;
    char etag[ETAG_TEXT_LEN + 1], rid[RID_TEXT_MAX], up[RID_TEXT_MAX];
    char self[200] = "", db[RID_TEXT_MAX];
    const char *links = "";
    uint32_t number;
    struct rid parent, own;
    buf_init(&b, OP_BODY_MAX);
    etag_format(&r->etag, etag);
    etag[ETAG_TEXT_LEN - 1] = '\0';
    switch (op->resource) {
    case OP_RESOURCE_DATABASE:
        assert_int_equal(rid_number(r->record, &number), ERR_OK);
        own = rid_database(number);
        rid_format(&own, rid);
        snprintf(self, sizeof(self), "dbs/%s/", rid);
        links = ",\"_colls\":\"colls/\",\"_users\":\"users/\"";
        break;
    case OP_RESOURCE_CONTAINER:
        assert_int_equal(rid_number(r->record, &number), ERR_OK);
        own = rid_container(get_u32_be(op->parent_rid), number);
        parent = rid_parent(&own);
        rid_format(&own, rid);
        rid_format(&parent, up);
        snprintf(self, sizeof(self), "dbs/%s/colls/%s/", up, rid);
        links = ",\"_docs\":\"docs/\",\"_sprocs\":\"sprocs/\",\"_triggers\":"
                "\"triggers/\",\"_udfs\":\"udfs/\",\"_conflicts\":\"conflicts/"
                "\"";
        break;
    case OP_RESOURCE_DOCUMENT:
    case OP_RESOURCE_CONFLICT:
        parent.len = 8;
        memcpy(parent.bytes, op->parent_rid, 8);
        own = op->resource == OP_RESOURCE_DOCUMENT
                  ? rid_document(&parent, r->record)
                  : rid_conflict(&parent, r->record);
        rid_format(&own, rid);
        rid_format(&parent, up);
        parent = rid_parent(&parent);
        rid_format(&parent, db);
        snprintf(self, sizeof(self), "dbs/%s/colls/%s/docs/%s/", db, up, rid);
        links = ",\"_attachments\":\"attachments/\"";
        break;
    default:
        fail();
    }
    assert_int_equal(buf_append(&b, op->body.data, op->body.len), ERR_OK);
    assert_int_equal(
        buf_printf(&b,
                   ",\"_rid\":\"%s\",\"_self\":\"%s\",\"_etag\":\"\\%s\\\"\"%s,"
                   "\"_ts\":%lld}",
                   rid, self, etag, links, (long long)FAKE_WALL_S),
        ERR_OK);
    char *text = mem_strndup((const char *)buf_bytes(&b), buf_len(&b));
    buf_free(&b);
    return text;
}

static int fake_condition(const struct op *op, const struct fake_record *r)
{
    bool same =
        r != NULL && !op->etag_unknown && etag_equal(&op->etag, &r->etag);
    switch (op->condition) {
    case OP_COND_IF_MATCH:
        return r == NULL || same ? ERR_OK : ERR_PRECONDITION;
    case OP_COND_IF_MATCH_ANY:
        return r != NULL ? ERR_OK : ERR_PRECONDITION;
    case OP_COND_IF_NONE_MATCH:
        if (!same)
            return ERR_OK;
        return op->kind == OP_READ ? ERR_NOT_MODIFIED : ERR_PRECONDITION;
    case OP_COND_IF_NONE_MATCH_ANY:
        if (r == NULL)
            return ERR_OK;
        return op->kind == OP_READ ? ERR_NOT_MODIFIED : ERR_PRECONDITION;
    default:
        return ERR_OK;
    }
}

static void fake_answer(struct world *w, struct op_result *out,
                        struct fake_shard *s, const struct fake_record *r)
{
    out->lsn = s->lsn;
    out->term = w->term;
    if (r == NULL)
        return;
    out->record = r->record;
    out->etag = r->etag;
    if (r->json != NULL)
        assert_int_equal(buf_append_str(&out->body, r->json), ERR_OK);
}

static void fake_read(struct world *w, const struct op *op,
                      struct op_result *out)
{
    struct fake_shard *s = &w->shards[op->shard];
    struct fake_record *r = fake_find(s, &op->at);
    fake_answer(w, out, s, NULL);
    out->err = r == NULL ? ERR_NOT_FOUND : fake_condition(op, r);
    if (out->err == ERR_OK)
        fake_answer(w, out, s, r);
    else if (r != NULL)
        out->etag = r->etag;
}

static void fake_store(struct world *w, const struct op *op,
                       struct op_result *out)
{
    struct fake_shard *s = &w->shards[op->shard];
    struct fake_record *r = fake_find(s, &op->at);
    if (r == NULL) {
        if (s->count == s->cap) {
            s->cap = s->cap * 2 + 64;
            s->records = mem_realloc(s->records, s->cap * sizeof(*r));
        }
        r = &s->records[s->count++];
        memset(r, 0, sizeof(*r));
        r->at = op->at;
        r->record = rid_counter(s->lsn, 0, op->shard);
        out->created = true;
    }
    mem_free(r->json);
    r->etag = (struct etag){w->term, s->lsn, op->shard, 0};
    r->json = fake_complete(op, r);
    fake_answer(w, out, s, r);
    if (op->shard == 0)
        fake_change(w, false, r->at.container, r->record, s->lsn, r->json);
    qsort(s->records, s->count, sizeof(*r), fake_compare);
}

static void fake_erase(struct world *w, const struct op *op,
                       struct op_result *out)
{
    struct fake_shard *s = &w->shards[op->shard];
    fake_remove(w, s, fake_find(s, &op->at));
    for (size_t i = 0; op->cascade && i < s->count;) {
        struct fake_record *r = &s->records[i];
        if (r->at.container == op->cascade_container &&
            memcmp(r->at.pk_hash, op->cascade_pk_hash, OP_HASH_LEN) == 0)
            fake_remove(w, s, r);
        else
            i++;
    }
    fake_answer(w, out, s, NULL);
}

static void fake_write(struct world *w, const struct op *op,
                       struct op_result *out)
{
    struct fake_shard *s = &w->shards[op->shard];
    if (w->before_write != NULL && w->before_write(w, op))
        w->before_write = NULL;
    struct fake_record *r = fake_find(s, &op->at);
    fake_answer(w, out, s, NULL);
    if (op->has_parent) {
        struct fake_record *parent = fake_find(s, &op->parent);
        if (parent == NULL || parent->record != op->parent_record) {
            out->err = ERR_NOT_FOUND;
            out->parent_missing = true;
            return;
        }
    }
    if (op->mode == OP_CREATE && r != NULL)
        out->err = ERR_EXISTS;
    else if ((op->mode == OP_REPLACE || op->mode == OP_DELETE) && r == NULL)
        out->err = ERR_NOT_FOUND;
    else
        out->err = fake_condition(op, r);
    if (out->err != ERR_OK)
        return;
    s->lsn++;
    if (op->mode == OP_DELETE)
        fake_erase(w, op, out);
    else
        fake_store(w, op, out);
    if (op->shard == 0 && !w->lag)
        fake_catch_up(w);
}

/* Whether a record is in a scan's scope and behind its position. */
static bool fake_in_scan(const struct op *op, const struct fake_record *r)
{
    uint8_t key[OP_HASH_LEN + 8];
    if (r->at.container != op->at.container ||
        (op->one_partition &&
         memcmp(r->at.pk_hash, op->at.pk_hash, OP_HASH_LEN) != 0))
        return false;
    memcpy(key, r->at.pk_hash, OP_HASH_LEN);
    put_u64_be(key + OP_HASH_LEN, r->record);
    return bytes_compare(bytes_of(key, sizeof(key)), op->after) > 0;
}

static void fake_scan(struct world *w, const struct op *op,
                      struct op_result *out)
{
    struct fake_shard *s = &w->shards[op->shard];
    uint32_t examine = w->examine ? w->examine : OP_SCAN_EXAMINE_MAX;
    struct query *q = NULL;
    struct query_scan *scan = NULL;
    struct query_shape shape = {.kind = QUERY_STREAM};
    struct query_error error;
    struct json j;
    uint64_t added;
    json_init(&j);
    fake_answer(w, out, s, NULL);
    if (op->query.len > 0) {
        assert_int_equal(query_compile(op->query, op->params, &q, &error),
                         ERR_OK);
        shape = query_shape(q);
        struct query_scan_options options = {op->merge_request, 0};
        assert_int_equal(query_scan_new(q, &options, &scan), ERR_OK);
    }
    bool gather = shape.kind != QUERY_STREAM;
    if (!gather)
        assert_true(op->max_items > 0 && op->max_bytes > 0);
    for (size_t i = 0; i < s->count && out->err == ERR_OK; i++) {
        struct fake_record *r = &s->records[i];
        if (!fake_in_scan(op, r))
            continue;
        if (!gather && (out->items >= op->max_items ||
                        buf_len(&out->body) >= op->max_bytes ||
                        out->examined >= examine)) {
            out->more = true;
            break;
        }
        out->examined++;
        memcpy(out->next, r->at.pk_hash, OP_HASH_LEN);
        put_u64_be(out->next + OP_HASH_LEN, r->record);
        out->next_len = OP_HASH_LEN + 8;
        struct buf row;
        buf_init(&row, OP_PAGE_MAX);
        if (q == NULL) {
            added = 1;
            assert_int_equal(buf_append_str(&row, r->json), ERR_OK);
        } else {
            assert_int_equal(
                json_parse(&j, bytes_str(r->json), OP_BODY_MAX, NULL), ERR_OK);
            out->err = query_scan_document(scan, &j, r->record,
                                           gather ? &out->body : &row, &added);
        }
        if (!gather && added > 0) {
            assert_int_equal(added, 1);
            buf_append_u32_le(&out->body, (uint32_t)buf_len(&row));
            buf_append(&out->body, buf_bytes(&row), buf_len(&row));
            out->items++;
        }
        buf_free(&row);
    }
    if (gather && out->err == ERR_OK)
        out->err = query_scan_finish(scan, &out->body, &added);
    if (out->err != ERR_OK)
        snprintf(out->message.text, ERR_MSG_MAX, "%s",
                 query_scan_error(scan)->text);
    query_scan_free(scan);
    query_free(q);
    json_free(&j);
}

static void fake_submit(struct backend *self, const struct op *op,
                        usec_t timeout_us, op_done_cb *done, void *user)
{
    struct world *w = (struct world *)(void *)self;
    struct op_result r;
    assert_true(timeout_us > 0);
    assert_true(op->shard < FAKE_SHARDS_ALL);
    op_result_init(&r);
    w->ops[op->kind]++;
    w->last_shard = op->shard;
    w->move[op->shard] = op->move;
    w->last_timeout = timeout_us;
    if (op->kind == OP_WRITE)
        memcpy(w->last_id, op->id, OP_ID_LEN);
    w->last_since = op->since_us;
    w->last_again = op->again;
    if (op->kind == OP_READ || op->kind == OP_SCAN) {
        w->level[op->shard] = op->level;
        w->session_epoch[op->shard] = op->session_epoch;
        w->session_lsn[op->shard] = op->session_lsn;
        w->at_leader[op->shard] = op->at_leader;
    } else {
        assert_int_equal(op->level, CONSISTENCY_STRONG);
        assert_int_equal(op->session_lsn, 0);
        assert_false(op->at_leader);
    }
    bool faulty = w->fail_err != ERR_OK && w->fail_kind == op->kind;
    if (faulty && w->fail_skip == 0) {
        r.err = w->fail_err;
        r.retry_after_ms = 17;
        if (w->fail_text != NULL)
            snprintf(r.message.text, sizeof(r.message.text), "%s",
                     w->fail_text);
        w->fail_err = ERR_OK;
    } else if (op->kind == OP_READ) {
        fake_read(w, op, &r);
    } else if (op->kind == OP_WRITE) {
        fake_write(w, op, &r);
    } else if (op->kind == OP_SCAN) {
        fake_scan(w, op, &r);
    } else {
        assert_int_equal(op->kind, OP_BARRIER);
        assert_int_equal(op->shard, SHARD_META);
        fake_catch_up(w);
    }
    if (faulty && w->fail_skip > 0)
        w->fail_skip--;
    if (w->deferred) {
        assert_null(w->waiting_done);
        op_result_move(&w->waiting_result, &r);
        w->waiting_done = done;
        w->waiting_user = user;
        return;
    }
    done(user, &r);
    op_result_free(&r);
}

/* The answer that waits; those to come do not. */
static void world_deliver(struct world *w)
{
    op_done_cb *done = w->waiting_done;
    assert_non_null(done);
    w->waiting_done = NULL;
    w->deferred = false;
    done(w->waiting_user, &w->waiting_result);
}

/* ---- world --------------------------------------------------------------- */

static const struct keyed_hash *fake_hash(void *user, uint16_t shard)
{
    (void)shard;
    return ((struct world *)user)->hash;
}

static usec_t fake_mono(void *user)
{
    return ((struct world *)user)->mono;
}

static usec_t fake_wall(void *user)
{
    (void)user;
    return FAKE_WALL_S * USEC_PER_SEC;
}

static void fake_strike(void *user, const struct inject_request *r,
                        struct cosmos_strike *strike_out)
{
    struct world *w = user;
    w->asked = *r;
    for (size_t i = 0; i < w->faults.count; i++) {
        struct inject_active *a = &w->faults.active[i];
        if (!inject_strikes(a, r, &w->dice))
            continue;
        if (a->fault.kind == INJECT_ANSWER_DELAY) {
            strike_out->delay_ms = a->fault.delay_ms;
        } else {
            strike_out->struck = true;
            strike_out->fault = a->fault;
        }
    }
}

static void fake_pass_on(void *user, const struct cosmos_pass *pass,
                         cosmos_passed_cb *done, void *done_user)
{
    struct world *w = user;
    w->passed_on++;
    w->passed_group = pass->group->number;
    w->passed_writes = pass->writes;
    assert_true(pass->timeout_us > 0);
    buf_free(&w->passage);
    w->passage = *pass->passage;
    *pass->passage = (struct buf){.max = w->passage.max};
    done(done_user, &w->passed);
}

static const struct cosmos_region fake_regions[] = {
    {.name = "eastus", .endpoint = "https://127.0.0.1:8082/"},
    {.name = "westus", .endpoint = "https://127.0.0.1:8083/"},
    {.name = "northeu", .endpoint = "https://127.0.0.1:8084/"},
};

static void world_groups(struct world *w)
{
    struct catalog_group g = {
        .number = GROUP_DEFAULT,
        .name = "default",
        .first_shard = 1,
        .shard_count = FAKE_SHARDS - 1,
        .key_count = 1,
        .keys = {{.index = {.len = 16}, .versions = 1, .data = {{.len = 16}}}},
        .region_count = 1,
        .regions = {"eastus"},
        .decision = {
            .epoch = 1, .write_region = "eastus", .from_region = "eastus"}};
    struct buf json;
    struct err_msg msg = {""};
    buf_init(&json, 65536);
    assert_int_equal(catalog_group_format(&g, &json), ERR_OK);
    struct fake_shard *s = &w->shards[0];
    s->lsn = 1;
    if (catalog_put(w->catalog, CONTAINER_GROUPS, rid_counter(1, 0, 0),
                    bytes_of(buf_bytes(&json), buf_len(&json)), 1,
                    &msg) != ERR_OK)
        fail_msg("group: %s", msg.text);
    buf_free(&json);
}

static int world_new(void **state)
{
    struct world *w = mem_zalloc(sizeof(*w));
    uint8_t key[AUTH_KEY_LEN], secret[SEAL_KEY_LEN];
    memset(key, 0x5a, sizeof(key));
    memset(secret, 0x17, sizeof(secret));
    w->backend.submit = fake_submit;
    w->term = FAKE_TERM;
    w->catalog = catalog_new();
    w->hash = keyed_hash_new(secret);
    op_result_init(&w->waiting_result);
    auth_keys_init(&w->keys);
    assert_int_equal(auth_keys_add(&w->keys, bytes_of(key, sizeof(key)),
                                   AUTH_READ_WRITE, NULL),
                     ERR_OK);
    auth_key_init(&w->signer, bytes_of(key, sizeof(key)), AUTH_READ_WRITE);
    memset(key, 0x33, sizeof(key));
    assert_int_equal(auth_keys_add(&w->keys, bytes_of(key, sizeof(key)),
                                   AUTH_READ_ONLY, NULL),
                     ERR_OK);
    world_groups(w);
    feature_raise(&w->features, feature_supported);
    struct cosmos_config config = {
        .backend = &w->backend,
        .catalog = w->catalog,
        .region = fake_regions[0].name,
        .features = &w->features,
        .keys = &w->keys,
        .index_hash = fake_hash,
        .token_hash = w->hash,
        .mono_us = fake_mono,
        .wall_us = fake_wall,
        .pass_on = fake_pass_on,
        .user = w,
        .faults = {.active = &w->faulty, .strike = fake_strike, .user = w},
        .account = {.id = "acct",
                    .regions = fake_regions,
                    .region_count = 3,
                    .write_region = 0},
    };
    struct err_msg msg;
    assert_int_equal(cosmos_new(&config, &w->cosmos, &msg), ERR_OK);
    *state = w;
    return 0;
}

static int world_free(void **state)
{
    struct world *w = *state;
    assert_int_equal(cosmos_running(w->cosmos), 0);
    cosmos_free(w->cosmos);
    fake_catch_up(w);
    catalog_free(w->catalog);
    keyed_hash_free(w->hash);
    auth_keys_wipe(&w->keys);
    for (size_t i = 0; i < FAKE_SHARDS_ALL; i++) {
        for (size_t k = 0; k < w->shards[i].count; k++)
            mem_free(w->shards[i].records[k].json);
        mem_free(w->shards[i].records);
    }
    op_result_free(&w->waiting_result);
    buf_free(&w->passage);
    mem_free(w);
    return 0;
}

/* ---- requests ------------------------------------------------------------ */

static enum http_method fake_method(const char *text)
{
    static const char *const names[] = {"GET",   "HEAD",   "POST",   "PUT",
                                        "PATCH", "DELETE", "OPTIONS"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) == 0)
            return (enum http_method)i;
    }
    return HTTP_METHOD_OTHER;
}

static struct fake_request *request_new(const char *method, const char *target,
                                        struct bytes body)
{
    struct fake_request *f = mem_zalloc(sizeof(*f));
    f->http.method = fake_method(method);
    f->http.method_raw = bytes_str(method);
    f->http.target = bytes_str(target);
    f->http.headers = f->fields;
    f->http.body = body;
    f->http.peer_addr = "test";
    buf_init(&f->response.body, 1);
    return f;
}

/* `line` is "name: value" and must outlive the request. */
static void request_header(struct fake_request *f, const char *line)
{
    const char *colon = strstr(line, ": ");
    assert_non_null(colon);
    f->fields[f->http.header_count++] = (struct http_header){
        bytes_of(line, (size_t)(colon - line)), bytes_str(colon + 2)};
}

static void request_free(struct fake_request *f)
{
    buf_free(&f->response.body);
    mem_free(f);
}

/* The texts of an authorization, which a request borrows. */
struct signature {
    char date[64];
    char authorization[AUTH_HEADER_MAX + 32];
};

static void request_sign(const struct auth_key *key, struct fake_request *f,
                         int64_t wall_s, struct signature *s)
{
    struct auth_target target;
    char date[CLOCK_HTTP_DATE_LEN + 1], header[AUTH_HEADER_MAX];
    if (auth_target_parse(f->http.target, &target) != ERR_OK)
        return;
    clock_http_date(wall_s, date);
    assert_int_equal(auth_sign(key, f->http.method_raw, target.type,
                               target.link, bytes_str(date), header),
                     ERR_OK);
    snprintf(s->date, sizeof(s->date), "x-ms-date: %s", date);
    snprintf(s->authorization, sizeof(s->authorization), "authorization: %s",
             header);
    request_header(f, s->date);
    request_header(f, s->authorization);
}

/* Sends a signed request with the given header lines (NULL ends them) and keeps
 * its response until the next one; response_free at the end of a test is done
 * by the last `send`'s owner. */
static struct fake_request *last_request;

static void world_forget(void)
{
    if (last_request != NULL)
        request_free(last_request);
    last_request = NULL;
}

static struct response *world_send_bytes(struct world *w, const char *method,
                                         const char *target, struct bytes body,
                                         const char *const *lines)
{
    world_forget();
    struct signature s;
    struct fake_request *f = request_new(method, target, body);
    last_request = f;
    for (size_t i = 0; lines[i] != NULL; i++)
        request_header(f, lines[i]);
    request_sign(&w->signer, f, FAKE_WALL_S, &s);
    cosmos_http_handler.on_request(&f->http, w->cosmos);
    return &f->response;
}

#define LINES(...) ((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})
#define SEND(w, method, target, body, ...)                                     \
    world_send_bytes((w), (method), (target), bytes_str(body),                 \
                     LINES(__VA_ARGS__))

/* A response header's value; NULL when there is none. Valid until the next
 * call. */
static const char *resp_header(const struct response *r, const char *name)
{
    static char value[16 * 1024];
    size_t len = strlen(name);
    for (const char *p = r->headers; *p != '\0';) {
        const char *end = strchr(p, '\n');
        if (strncasecmp(p, name, len) == 0 && p[len] == ':') {
            snprintf(value, sizeof(value), "%.*s",
                     (int)(end - p - (int)len - 2), p + len + 2);
            return value;
        }
        p = end + 1;
    }
    return NULL;
}

static const char *resp_body(struct response *r)
{
    if (buf_len(&r->body) == 0)
        return "";
    return buf_cstr(&r->body);
}

static void expect_status(struct response *r, int status)
{
    if (r->status != status)
        fail_msg("status %d instead of %d: %s", r->status, status,
                 resp_body(r));
    if (status >= 400) {
        struct json j;
        json_init(&j);
        assert_int_equal(json_parse(&j, bytes_str(resp_body(r)), 1 << 20, NULL),
                         ERR_OK);
        assert_true(json_get_str(&j, 0, "code") != JSON_NONE);
        assert_true(json_get_str(&j, 0, "message") != JSON_NONE);
        json_free(&j);
    }
}

static void expect_contains(struct response *r, const char *text)
{
    if (strstr(resp_body(r), text) == NULL)
        fail_msg("no \"%s\" in: %s", text, resp_body(r));
}

static void expect_header(struct response *r, const char *name,
                          const char *value)
{
    const char *got = resp_header(r, name);
    if (value == NULL && got == NULL)
        return;
    if (value == NULL || got == NULL || strcmp(got, value) != 0)
        fail_msg("header %s is %s instead of %s", name, got ? got : "(absent)",
                 value ? value : "(absent)");
}

/* A failure with status, substatus (NULL: none) and part of its text. */
static void expect_failure(struct response *r, int status,
                           const char *substatus, const char *text)
{
    expect_status(r, status);
    expect_header(r, "x-ms-substatus", substatus);
    expect_contains(r, text);
    assert_non_null(resp_header(r, "x-ms-activity-id"));
    assert_non_null(resp_header(r, "x-ms-request-charge"));
}

/* Database d with container c by /pk. */
static void world_container(struct world *w)
{
    expect_status(SEND(w, "POST", "/dbs", "{\"id\":\"d\"}"), 201);
    expect_status(SEND(w, "POST", "/dbs/d/colls",
                       "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/pk\"],"
                       "\"kind\":\"Hash\",\"version\":2}}"),
                  201);
}

static void world_stored(void *user, struct op_result *result)
{
    (void)user;
    assert_int_equal(result->err, ERR_OK);
}

/* What shard `shard` would have salvaged at `lsn` of a container of d. */
static void world_conflict(struct world *w, const char *container,
                           uint16_t shard, uint64_t lsn, const char *content)
{
    struct catalog_database *db = catalog_database(w->catalog, bytes_str("d"));
    assert_non_null(db);
    struct container_def *def =
        catalog_container(w->catalog, db, bytes_str(container));
    assert_non_null(def);
    struct conflict c = {
        .id = {.shard = shard, .term = RAFT_TERM(0, 3), .lsn = lsn},
        .kind = content != NULL ? CONFLICT_REPLACE : CONFLICT_DELETE,
        .acknowledged = true,
        .record = rid_counter(3, 0, shard),
        .content = content != NULL ? bytes_str(content) : bytes_of(NULL, 0)};
    struct op op = {.kind = OP_WRITE,
                    .shard = shard,
                    .mode = OP_CREATE,
                    .resource = OP_RESOURCE_CONFLICT};
    struct buf body;
    buf_init(&body, OP_BODY_MAX);
    memcpy(c.container_rid, def->rid.bytes, 8);
    memcpy(op.parent_rid, def->rid.bytes, 8);
    assert_int_equal(conflict_body(&c, &body), ERR_OK);
    op.body = bytes_of(buf_bytes(&body), buf_len(&body));
    conflict_address(&c.id, def->number, &op.at);
    backend_submit(&w->backend, &op, USEC_PER_SEC, world_stored, NULL);
    buf_free(&body);
}

#endif
