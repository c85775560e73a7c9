#include "node/cosmos/handlers.h"
#include "node/cosmos/page.h"
#include "node/cosmos/reply.h"

/* ---- GET: read feed ------------------------------------------------------ */

static void feed_found(struct call *c)
{
    c->item_level = true;
    page_new(c);
    if (page_scope(c) && page_continue(c))
        page_run(c);
}

void handle_documents_get(struct call *c)
{
    /* With A-IM it is the change feed (section 7). */
    if (c->headers.a_im.len > 0)
        handle_unsupported(c);
    else
        call_with_container(c, feed_found);
}

/* ---- POST ---------------------------------------------------------------- */

/* A POST to the documents of a container is classified by its headers, in this
 * order (section 3.1). */
void handle_documents_post(struct call *c)
{
    const struct cosmos_headers *h = &c->headers;
    if (cosmos_header_true(h->is_query_plan))
        handle_query_plan(c);
    else if (cosmos_headers_query(h))
        handle_document_query(c);
    else if (cosmos_header_true(h->is_batch))
        handle_unsupported(c);
    else if (cosmos_header_true(h->is_upsert))
        handle_document_upsert(c);
    else
        handle_document_create(c);
}
