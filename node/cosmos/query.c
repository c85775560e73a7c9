#include "node/cosmos/handlers.h"
#include "node/cosmos/page.h"
#include "node/cosmos/query_body.h"
#include "node/cosmos/reply.h"

/* Longest partition key value a filter may demand, as JSON. */
#define POINT_MAX PK_HEADER_MAX

/* ---- without FROM -------------------------------------------------------- */

/* A query without FROM has one row whatever the container holds. */
static void query_constant(struct call *c)
{
    struct page *p = c->page;
    const struct cosmos_config *config = &c->cosmos->config;
    uint64_t now_ms = (uint64_t)(config->wall_us(config->user) / USEC_PER_MS);
    struct buf rows, token;
    struct query_error error = {0};
    buf_init(&rows, QUERY_ROW_MAX);
    buf_init(&token, QUERY_TOKEN_MAX);
    int err = query_run(p->query, bytes_of(NULL, 0), now_ms, bytes_of(NULL, 0),
                        p->rows_max, &rows, &p->count, &token, &error);
    if (err == ERR_OK)
        page_send_rows(c, &rows);
    else if (err == ERR_INVALID)
        query_body_failed(c, err, &error);
    else
        reply_fail(c, err == ERR_LIMIT ? FAIL_QUERY_MEMORY
                                       : cosmos_failure_local(err));
    buf_free(&rows);
    buf_free(&token);
}

/* ---- routing ------------------------------------------------------------- */

/* The filter compares 0 and -0 as equal, but they are two keys. */
static bool has_zero(const struct partition_key *pk)
{
    for (uint8_t i = 0; i < pk->count; i++) {
        if (pk->parts[i].type == PK_NUMBER && pk->parts[i].number == 0)
            return true;
    }
    return false;
}

/* A filter that fixes the component of the key that a placement map goes by
 * concerns one of its groups. */
static void route_by_map(struct call *c)
{
    const struct container_def *def = c->container;
    struct page *p = c->page;
    struct partition_key value;
    struct buf text;
    if (def->map == NULL)
        return;
    buf_init(&text, POINT_MAX);
    int err =
        query_point(p->query, &def->pk.paths[def->map->component], 1, &text);
    if (err == ERR_OK)
        err =
            pk_parse(&c->cosmos->json,
                     bytes_of(buf_bytes(&text), buf_len(&text)), &value, NULL);
    buf_free(&text);
    if (err == ERR_OK)
        spread_narrow(&c->spread, def, &value, &p->first, &p->last);
}

/* A filter that fixes the partition key concerns one partition. False after
 * answering. */
static bool route_by_filter(struct call *c)
{
    struct page *p = c->page;
    const struct pk_def *def = &c->container->pk;
    struct buf point;
    buf_init(&point, POINT_MAX);
    int err = query_point(p->query, def->paths, def->path_count, &point);
    if (err == ERR_OK)
        err = pk_parse(&c->cosmos->json,
                       bytes_of(buf_bytes(&point), buf_len(&point)), &c->pk,
                       NULL);
    if (err == ERR_OK)
        err = pk_fit(def, PK_POINT, &c->pk, NULL);
    buf_free(&point);
    /* Not fixed, or to a value that no document can have: all that the filter
     * leaves is scanned, which finds out. */
    uint32_t slot;
    if (err == ERR_OK && !has_zero(&c->pk) &&
        spread_slot(&c->spread, c->container, &c->pk, &slot))
        return page_one_partition(c);
    route_by_map(c);
    return true;
}

/* Whether the client said which part of the container it means. */
static bool scoped(const struct call *c)
{
    return c->headers.partition_key.len > 0 || c->headers.range_id.len > 0 ||
           c->headers.start_epk.len > 0;
}

/* False after answering. */
static bool query_scope(struct call *c)
{
    struct page *p = c->page;
    if (!page_scope(c))
        return false;
    if (page_shows_conflicts(p))
        return true;
    if (!scoped(c) && !route_by_filter(c))
        return false;
    if (!scoped(c) && !p->one_partition &&
        !cosmos_header_true(c->headers.cross_partition)) {
        reply_fail(c, FAIL_CROSS_PARTITION);
        return false;
    }
    /* The EPK filter needs whole documents as rows. */
    if (p->filtered &&
        !(p->shape.kind == QUERY_STREAM && p->shape.select_star)) {
        reply_fail_text(c, FAIL_UNSUPPORTED,
                        "Within a prefix of a hierarchical partition key, or a "
                        "part of a partition key range, only SELECT * queries "
                        "without ORDER BY, DISTINCT and aggregates are "
                        "supported yet");
        return false;
    }
    return true;
}

static void query_page(struct call *c)
{
    struct page *p = c->page;
    c->item_level = true;
    if (!query_body_compile(c, &p->sql, &p->params, &p->query))
        return;
    p->shape = query_shape(p->query);
    if (!query_scope(c) || !page_continue(c))
        return;
    if (p->shape.no_document)
        query_constant(c);
    else
        page_run(c);
}

static void query_found(struct call *c)
{
    page_new(c);
    query_page(c);
}

static void conflict_query_found(struct call *c)
{
    page_new(c);
    page_of_conflicts(c);
    query_page(c);
}

void handle_conflict_query(struct call *c)
{
    call_with_container(c, conflict_query_found);
}

void handle_document_query(struct call *c)
{
    call_with_container(c, query_found);
}
