#include "node/cosmos/listing.h"

#include "node/base/mem.h"
#include "node/cosmos/charge.h"
#include "node/cosmos/continuation.h"
#include "node/cosmos/page.h"
#include "node/cosmos/query_body.h"
#include "node/cosmos/reply.h"
#include "node/query/query.h"

/* Looked up in the catalog at a time. */
#define LISTING_STEP 64

/* One of the two kinds of listing. */
struct listing {
    const char *property;
    size_t (*next)(struct call *c, uint32_t *after, struct bytes *json_out,
                   size_t max);
    void (*rid)(struct call *c, char out[RID_TEXT_MAX]);
};

/* Texts of the databases behind number `*after`, which moves on. Borrowed from
 * the catalog, which does not change while a handler runs. */
static size_t databases_next(struct call *c, uint32_t *after,
                             struct bytes *json_out, size_t max)
{
    struct catalog_database *list[LISTING_STEP];
    CHECK(max <= LISTING_STEP);
    size_t count =
        catalog_list_databases(c->cosmos->config.catalog, *after, list, max);
    for (size_t i = 0; i < count; i++) {
        json_out[i] = list[i]->json;
        *after = list[i]->number;
    }
    return count;
}

static void databases_rid(struct call *c, char out[RID_TEXT_MAX])
{
    (void)c;
    out[0] = '\0';
}

static size_t containers_next(struct call *c, uint32_t *after,
                              struct bytes *json_out, size_t max)
{
    struct container_def *list[LISTING_STEP];
    CHECK(max <= LISTING_STEP);
    size_t count = catalog_list_containers(c->cosmos->config.catalog,
                                           c->database, *after, list, max);
    for (size_t i = 0; i < count; i++) {
        json_out[i] = list[i]->json;
        *after = list[i]->number;
    }
    return count;
}

static void containers_rid(struct call *c, char out[RID_TEXT_MAX])
{
    rid_format(&c->database->rid, out);
}

static const struct listing databases = {"Databases", databases_next,
                                         databases_rid};
static const struct listing containers = {"DocumentCollections",
                                          containers_next, containers_rid};

/* ---- envelope ------------------------------------------------------------ */

static int envelope_begin(const char *rid, const char *property,
                          struct buf *out)
{
    return buf_printf(out, "{\"_rid\":\"%s\",\"%s\":[", rid, property);
}

/* Ends the envelope, writes the headers of a feed and answers. */
static void envelope_send(struct call *c, struct buf *body, uint32_t count,
                          const struct continuation *next)
{
    struct buf token;
    buf_init(&token, CONTINUATION_TEXT_MAX);
    int err = buf_printf(body, "],\"_count\":%u}", count);
    if (err == ERR_OK && next != NULL)
        err = continuation_write(c->cosmos->config.token_hash, next, &token);
    if (err == ERR_OK && next != NULL)
        http_reply_header(c->http, "x-ms-continuation",
                          bytes_of(buf_bytes(&token), buf_len(&token)));
    buf_free(&token);
    if (err != ERR_OK) {
        reply_fail(c, cosmos_failure_local(err));
        return;
    }
    http_reply_header_u64(c->http, "x-ms-item-count", count);
    c->charge = charge_page(count, buf_len(body), false);
    reply_json(c, 200, body);
}

void listing_empty(struct call *c, const char *property, const struct rid *rid)
{
    char text[RID_TEXT_MAX] = "";
    if (rid != NULL)
        rid_format(rid, text);
    struct buf body;
    buf_init(&body, LISTING_BYTES_MAX);
    int err = envelope_begin(text, property, &body);
    if (err != ERR_OK)
        reply_fail(c, cosmos_failure_local(err));
    else
        envelope_send(c, &body, 0, NULL);
    buf_free(&body);
}

/* ---- feeds --------------------------------------------------------------- */

/* Appends up to `rows` texts behind `*after`. `*more_out`: there are others. */
static int append_rows(struct call *c, const struct listing *l, uint32_t rows,
                       uint32_t *after, struct buf *out, uint32_t *count_out,
                       bool *more_out)
{
    struct bytes json[LISTING_STEP];
    uint32_t count = 0;
    for (;;) {
        uint32_t peek = *after;
        size_t want = rows - count < LISTING_STEP ? rows - count : LISTING_STEP;
        if (want == 0) {
            *more_out = l->next(c, &peek, json, 1) > 0;
            break;
        }
        size_t got = l->next(c, after, json, want);
        for (size_t i = 0; i < got; i++) {
            int err = count > 0 ? buf_append_u8(out, ',') : ERR_OK;
            if (err == ERR_OK)
                err = buf_append(out, json[i].data, json[i].len);
            if (err != ERR_OK)
                return err;
            count++;
        }
        if (got < want) {
            *more_out = false;
            break;
        }
    }
    *count_out = count;
    return ERR_OK;
}

/* A continuation's place in the listing; false after answering. */
static bool listing_resume(struct call *c, struct continuation *from)
{
    if (c->headers.continuation.len == 0)
        return true;
    struct buf storage;
    buf_init(&storage, CONTINUATION_TEXT_MAX);
    uint64_t scope[2] = {from->scope[0], from->scope[1]};
    int err =
        continuation_read(c->cosmos->config.token_hash, c->headers.continuation,
                          CONTINUATION_LIST, scope, &storage, from);
    buf_free(&storage);
    from->position = from->token = bytes_of(NULL, 0);
    if (err != ERR_OK)
        reply_fail(c, FAIL_CONTINUATION);
    return err == ERR_OK;
}

static void list(struct call *c, const struct listing *l)
{
    uint32_t rows;
    if (page_rows_wanted(c->headers.max_item_count, &rows) != ERR_OK) {
        reply_fail_text(c, FAIL_BAD_REQUEST,
                        "x-ms-max-item-count must be -1 or a positive number");
        return;
    }
    struct continuation next = {
        .kind = CONTINUATION_LIST,
        .scope = {c->database != NULL ? c->database->number : 0, 0}};
    if (!listing_resume(c, &next))
        return;
    char rid[RID_TEXT_MAX];
    l->rid(c, rid);
    struct buf body;
    buf_init(&body, LISTING_BYTES_MAX);
    uint32_t count;
    bool more;
    int err = envelope_begin(rid, l->property, &body);
    if (err == ERR_OK)
        err = append_rows(c, l, rows, &next.after, &body, &count, &more);
    if (err != ERR_OK)
        reply_fail(c, cosmos_failure_local(err));
    else
        envelope_send(c, &body, count, more ? &next : NULL);
    buf_free(&body);
}

void listing_databases(struct call *c)
{
    list(c, &databases);
}

void listing_containers(struct call *c)
{
    list(c, &containers);
}

/* ---- queries ------------------------------------------------------------- */

/* All resources of a listing as a row list. */
static int all_rows(struct call *c, const struct listing *l, struct buf *out)
{
    struct bytes json[LISTING_STEP];
    uint32_t after = 0;
    size_t got;
    while ((got = l->next(c, &after, json, LISTING_STEP)) > 0) {
        for (size_t i = 0; i < got; i++) {
            int err = query_rows_append(out, json[i]);
            if (err != ERR_OK)
                return err;
        }
    }
    return ERR_OK;
}

struct listing_page {
    struct buf documents;
    struct buf body;
    struct buf token;
    struct buf storage;
    uint32_t count;
};

static void query_run_page(struct call *c, const struct listing *l,
                           const struct query *q, struct listing_page *p,
                           struct continuation *next)
{
    struct query_error error = {0};
    const struct cosmos_config *config = &c->cosmos->config;
    uint64_t now_ms = (uint64_t)(config->wall_us(config->user) / USEC_PER_MS);
    uint32_t rows;
    char rid[RID_TEXT_MAX];
    if (page_rows_wanted(c->headers.max_item_count, &rows) != ERR_OK) {
        reply_fail_text(c, FAIL_BAD_REQUEST,
                        "x-ms-max-item-count must be -1 or a positive number");
        return;
    }
    l->rid(c, rid);
    struct buf page_rows;
    buf_init(&page_rows, LISTING_QUERY_MAX);
    int err = all_rows(c, l, &p->documents);
    if (err == ERR_OK)
        err = query_run(
            q, bytes_of(buf_bytes(&p->documents), buf_len(&p->documents)),
            now_ms, next->token, rows, &page_rows, &p->count, &p->token,
            &error);
    if (err == ERR_INVALID || (err == ERR_LIMIT && error.text[0] != '\0')) {
        query_body_failed(c, err, &error);
        buf_free(&page_rows);
        return;
    }
    if (err == ERR_OK)
        err = envelope_begin(rid, l->property, &p->body);
    if (err == ERR_OK)
        err = buf_append(&p->body, buf_bytes(&page_rows), buf_len(&page_rows));
    buf_free(&page_rows);
    if (err != ERR_OK) {
        reply_fail(c, err == ERR_LIMIT ? FAIL_QUERY_MEMORY
                                       : cosmos_failure_local(err));
        return;
    }
    next->token = bytes_of(buf_bytes(&p->token), buf_len(&p->token));
    envelope_send(c, &p->body, p->count, next->token.len > 0 ? next : NULL);
}

static void query(struct call *c, const struct listing *l)
{
    struct query *q;
    struct bytes params;
    buf_clear(&c->text);
    if (!query_body_compile(c, &c->text, &params, &q))
        return;
    struct listing_page p = {0};
    buf_init(&p.documents, LISTING_QUERY_MAX);
    buf_init(&p.body, LISTING_QUERY_MAX);
    buf_init(&p.token, QUERY_TOKEN_MAX);
    buf_init(&p.storage, CONTINUATION_TEXT_MAX);
    struct continuation next = {
        .kind = CONTINUATION_LIST,
        .scope = {c->database != NULL ? c->database->number : 0, 1}};
    uint64_t scope[2] = {next.scope[0], next.scope[1]};
    if (c->headers.continuation.len > 0 &&
        continuation_read(c->cosmos->config.token_hash, c->headers.continuation,
                          CONTINUATION_LIST, scope, &p.storage,
                          &next) != ERR_OK)
        reply_fail(c, FAIL_CONTINUATION);
    else
        query_run_page(c, l, q, &p, &next);
    buf_free(&p.documents);
    buf_free(&p.body);
    buf_free(&p.token);
    buf_free(&p.storage);
    query_free(q);
}

void listing_query_databases(struct call *c)
{
    query(c, &databases);
}

void listing_query_containers(struct call *c)
{
    query(c, &containers);
}
