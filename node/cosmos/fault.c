#include "node/cosmos/fault.h"

#include <stdatomic.h>
#include <stdio.h>

#include "node/cosmos/reply.h"

#define SUBSTATUS_BUDGET 3200
#define TEXT_MAX 512

/* ---- which requests ------------------------------------------------------ */

static bool segment_is(const struct route_path *p, size_t at, const char *word)
{
    return p->count > at && bytes_equal(p->segments[at], bytes_str(word));
}

static enum inject_operation post_of(const struct cosmos_headers *h)
{
    if (cosmos_headers_query(h) || cosmos_header_true(h->is_query_plan))
        return INJECT_OP_QUERY;
    return cosmos_header_true(h->is_upsert) ? INJECT_OP_UPSERT
                                            : INJECT_OP_CREATE;
}

/* Documents, and conflicts, which are versions of documents, are read and
 * written; the rest is about where they are. */
static enum inject_operation operation_of(const struct call *c)
{
    const struct route_path *p = &c->path;
    if (p->count == 0)
        return INJECT_OP_ACCOUNT;
    if (!segment_is(p, 4, "docs") && !segment_is(p, 4, "conflicts"))
        return INJECT_OP_METADATA;
    switch (route_method_of(c->http->method)) {
    case ROUTE_GET:
        return p->count == 5 ? INJECT_OP_QUERY : INJECT_OP_READ;
    case ROUTE_POST:
        return post_of(&c->headers);
    case ROUTE_DELETE:
        return INJECT_OP_DELETE;
    default:
        return INJECT_OP_REPLACE;
    }
}

/* By name, also where the path has RIDs of resources that are known here. */
static void resources_of(const struct call *c, struct inject_request *r)
{
    const struct catalog *catalog = c->cosmos->config.catalog;
    const struct route_path *p = &c->path;
    if (p->count < 2 || !segment_is(p, 0, "dbs"))
        return;
    struct catalog_database *database =
        catalog_database(catalog, p->segments[1]);
    r->database = database != NULL ? database->name : p->segments[1];
    if (p->count < 4 || !segment_is(p, 2, "colls"))
        return;
    struct container_def *container =
        database != NULL ? catalog_container(catalog, database, p->segments[3])
                         : NULL;
    r->container = container != NULL ? container->name : p->segments[3];
}

static struct inject_request request_of(const struct call *c, unsigned key)
{
    struct inject_request r = {.operation = operation_of(c),
                               .database = bytes_of("", 0),
                               .container = bytes_of("", 0),
                               .verified = key <= INJECT_SECONDARY_READONLY,
                               .key = (enum inject_key)key};
    resources_of(c, &r);
    return r;
}

/* ---- which answer -------------------------------------------------------- */

/* Texts for statuses that status.h does not have, or has with a text that says
 * more than a fault may: whether anything was applied, say. */
static const struct cosmos_status statuses[] = {
    {401, 0, "Unauthorized",
     "The input authorization token can't serve the request. The wrong key is "
     "being used or the expected payload is not built as per the protocol."},
    {403, 0, "Forbidden", "The request is not allowed"},
    {410, 0, "Gone", "The requested resource is no longer available here"},
    {449, 0, "RetryWith",
     "Conflicting request to resource has been attempted. Retry to avoid "
     "conflicts."},
    {502, 0, "BadGateway", "The service could not be reached by its gateway"},
    {503, 0, "ServiceUnavailable", "The service is unavailable at the moment"},
    {504, 0, "GatewayTimeout",
     "The service did not answer its gateway in time"},
};

static const struct cosmos_status *find_refusal(uint32_t http,
                                                uint32_t substatus)
{
    for (size_t i = 0; i < FAIL_COUNT; i++) {
        const struct cosmos_status *s = cosmos_status((enum cosmos_failure)i);
        if (s->http == (int)http &&
            (substatus == 0 || s->substatus == substatus))
            return s;
    }
    return NULL;
}

/* What the API says with this status itself, with the fault's numbers. */
static struct cosmos_status status_of(const struct inject_fault *f)
{
    const struct cosmos_status *found =
        f->substatus != 0 ? find_refusal(f->status, f->substatus) : NULL;
    for (size_t i = 0; i < ARRAY_LEN(statuses) && found == NULL; i++)
        if (statuses[i].http == (int)f->status)
            found = &statuses[i];
    if (found == NULL)
        found = find_refusal(f->status, 0);
    struct cosmos_status s = {.http = (int)f->status,
                              .substatus = f->substatus,
                              .code = cosmos_status_code_name((int)f->status),
                              .text = "The request was refused"};
    if (found != NULL) {
        s.code = found->code;
        s.text = found->text;
    }
    if (f->status == 429 && f->substatus == 0)
        s.substatus = SUBSTATUS_BUDGET;
    return s;
}

static void respond(struct call *c, const struct inject_fault *f)
{
    struct cosmos_status status = status_of(f);
    char text[TEXT_MAX];
    snprintf(
        text, sizeof(text), "%s (injected by fault %s%s)", status.text, f->id,
        f->when == INJECT_AFTER ? ", after the request was carried out" : "");
    uint32_t wait = f->retry_after_ms;
    if (wait == 0 && f->status == 429)
        wait = REPLY_RETRY_AFTER_MS;
    if (wait != 0)
        http_reply_header_u64(c->http, "x-ms-retry-after-ms", wait);
    /* A refusal shows no state, and 404/1002 what the client asked for. */
    c->lsn = 0;
    c->behind = f->status == 404 && f->substatus == 1002 &&
                c->headers.session_token.len > 0;
    if (f->status == 403 && f->substatus == 1008)
        reply_removed_text(c, text);
    else
        reply_status(c, &status, text);
}

static void key_rotated(struct call *c, const struct inject_fault *f)
{
    struct cosmos_status status = status_of(
        &(struct inject_fault){.kind = INJECT_RESPOND, .status = 401});
    char text[TEXT_MAX];
    snprintf(text, sizeof(text), "%s (the key was rotated by fault %s)",
             status.text, f->id);
    reply_status(c, &status, text);
}

/* ---- doing it ------------------------------------------------------------ */

/* False after answering. */
static bool begin(struct call *c)
{
    const struct inject_fault *f = &c->strike.fault;
    switch (f->kind) {
    case INJECT_RESPOND:
        if (f->when == INJECT_AFTER)
            return true;
        respond(c, f);
        return false;
    case INJECT_RESET:
        http_reply_cut(c->http, HTTP_CUT_RESET);
        if (f->when == INJECT_AFTER)
            return true;
        reply_fail(c, FAIL_UNAVAILABLE); /* which nobody will see */
        return false;
    case INJECT_TRUNCATE:
        http_reply_cut(c->http, HTTP_CUT_HALF);
        return true;
    case INJECT_KEY_ROTATED:
        key_rotated(c, f);
        return false;
    default:
        CHECK_UNREACHABLE();
    }
}

bool fault_admit(struct call *c, unsigned key)
{
    const struct cosmos_faults *faults = &c->cosmos->config.faults;
    if (faults->active == NULL ||
        atomic_load_explicit(faults->active, memory_order_relaxed) == 0)
        return true;
    struct inject_request r = request_of(c, key);
    c->strike.struck = false;
    c->strike.delay_ms = 0;
    faults->strike(faults->user, &r, &c->strike);
    if (c->strike.delay_ms > 0)
        http_reply_delay(c->http, (usec_t)c->strike.delay_ms * USEC_PER_MS);
    return !c->strike.struck || begin(c);
}

bool fault_replaces(struct call *c, struct buf *body)
{
    const struct inject_fault *f = &c->strike.fault;
    if (!c->strike.struck || f->kind != INJECT_RESPOND ||
        f->when != INJECT_AFTER)
        return false;
    c->strike.struck = false; /* the answer that comes now is the fault's */
    http_reply_reset(c->http);
    if (body != NULL)
        buf_free(body);
    respond(c, f);
    return true;
}
