#include "node/cosmos/meters.h"

#include "node/base/check.h"
#include "node/cosmos/call.h"

const int cosmos_refusals[COSMOS_REFUSALS] = {401, 403, 404, 408, 409, 410,
                                              412, 413, 429, 449, 500, 503};

const char *cosmos_operation_word(enum cosmos_operation operation)
{
    static const char *const words[] = {
#define COSMOS_OPERATION_WORD(name, word) word,
        COSMOS_OPERATION_LIST(COSMOS_OPERATION_WORD)
#undef COSMOS_OPERATION_WORD
    };
    CHECK(operation < COSMOS_OP_COUNT);
    return words[operation];
}

/* ---- what a request is --------------------------------------------------- */

static enum cosmos_operation document_operation(enum route_method method)
{
    switch (method) {
    case ROUTE_GET:
        return COSMOS_OP_READ;
    case ROUTE_PUT:
        return COSMOS_OP_REPLACE;
    case ROUTE_DELETE:
        return COSMOS_OP_DELETE;
    default:
        return COSMOS_OP_OTHER;
    }
}

/* In the order of handle_documents_post. */
static enum cosmos_operation documents_operation(const struct call *c,
                                                 enum route_method method)
{
    const struct cosmos_headers *h = &c->headers;
    if (method == ROUTE_GET && h->a_im.len == 0)
        return COSMOS_OP_FEED;
    if (method != ROUTE_POST || cosmos_header_true(h->is_query_plan))
        return COSMOS_OP_OTHER;
    if (cosmos_headers_query(h))
        return COSMOS_OP_QUERY;
    if (cosmos_header_true(h->is_batch))
        return COSMOS_OP_OTHER;
    return cosmos_header_true(h->is_upsert) ? COSMOS_OP_UPSERT
                                            : COSMOS_OP_CREATE;
}

static bool segment_is(const struct call *c, size_t at, const char *word)
{
    return at < c->path.count &&
           bytes_equal(c->path.segments[at], bytes_str(word));
}

enum cosmos_operation cosmos_operation_of(const struct call *c)
{
    size_t count = c->path.count;
    enum route_method method = route_method_of(c->http->method);
    if (count == 0)
        return COSMOS_OP_ACCOUNT;
    if (!segment_is(c, 0, "dbs"))
        return COSMOS_OP_OTHER;
    if (count <= 2 || (count <= 4 && segment_is(c, 2, "colls")) ||
        segment_is(c, 4, "pkranges"))
        return COSMOS_OP_METADATA;
    if (segment_is(c, 4, "docs") && count == 6)
        return document_operation(method);
    if (segment_is(c, 4, "docs") && count == 5)
        return documents_operation(c, method);
    return segment_is(c, 4, "conflicts") ? COSMOS_OP_CONFLICTS
                                         : COSMOS_OP_OTHER;
}

/* ---- counting ------------------------------------------------------------ */

static void count_refusal(struct cosmos_meters *m, int status)
{
    for (unsigned i = 0; i < COSMOS_REFUSALS; i++)
        if (cosmos_refusals[i] == status)
            m->refusals[i]++;
}

void cosmos_meters_answered(struct cosmos_meters *m,
                            enum cosmos_operation operation,
                            enum consistency_level level, int status,
                            usec_t took_us)
{
    CHECK(operation < COSMOS_OP_COUNT && level < CONSISTENCY_COUNT);
    CHECK(status >= 200 && status < 600);
    m->answers[operation][status / 100 - 2]++;
    if (status >= 400)
        count_refusal(m, status);
    meter_record(&m->latency[operation][level], took_us);
}

void cosmos_meters_add(struct cosmos_meters *m,
                       const struct cosmos_meters *from)
{
    for (unsigned i = 0; i < COSMOS_OP_COUNT; i++) {
        for (unsigned j = 0; j < COSMOS_CLASSES; j++)
            m->answers[i][j] += from->answers[i][j];
        for (unsigned j = 0; j < CONSISTENCY_COUNT; j++)
            meter_add(&m->latency[i][j], &from->latency[i][j]);
    }
    for (unsigned i = 0; i < COSMOS_REFUSALS; i++)
        m->refusals[i] += from->refusals[i];
}
