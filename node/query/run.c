/* A whole query over documents in memory. */
#include "node/base/err.h"
#include "node/query/query.h"
#include "node/query/request.h"

struct run {
    const struct query *query;
    struct query_shape shape;
    uint64_t now_ms;
    uint32_t rows_max;
    struct query_error *error;
};

static void explain(const struct run *r, int result,
                    const struct query_error *error)
{
    if (r->error == NULL)
        return;
    if (error != NULL && error->text[0] != '\0')
        *r->error = *error;
    else
        query_fail(r->error, result, "", bytes_str(""), 0, 0, "%s",
                   err_text(result));
}

/* Every document through one scan; all its rows are in `out`. */
static int scan_all(const struct run *r, struct bytes request,
                    struct bytes documents, struct buf *out)
{
    struct query_scan_options options = {request, r->now_ms};
    struct query_scan *scan;
    struct json j;
    struct bytes document;
    uint64_t rid = 0, added;
    int result = query_scan_new(r->query, &options, &scan);
    if (result != ERR_OK)
        return result;
    json_init(&j);
    if (r->shape.no_document)
        result = query_scan_document(scan, NULL, 0, out, &added);
    while (!r->shape.no_document && result == ERR_OK &&
           query_rows_next(&documents, &document)) {
        result = json_parse(&j, document, JSON_TEXT_MAX, NULL);
        if (result == ERR_OK)
            result = query_scan_document(scan, &j, rid++, out, &added);
    }
    if (result == ERR_OK)
        result = query_scan_finish(scan, out, &added);
    if (result != ERR_OK)
        explain(r, result, query_scan_error(scan));
    json_free(&j);
    query_scan_free(scan);
    return result;
}

static int run_merged(const struct run *r, struct bytes documents,
                      struct bytes token, struct buf *rows, uint32_t *count_out,
                      struct buf *token_out)
{
    struct query_merge *m;
    struct buf request, shard_rows;
    int result =
        query_merge_new(r->query, token, r->rows_max, QUERY_ROW_MAX, &m);
    if (result != ERR_OK)
        return result;
    buf_init(&request, QUERY_TOKEN_MAX);
    buf_init(&shard_rows, 2 * QUERY_HELD_MEMORY_MAX);
    result = query_merge_request(m, &request);
    if (result == ERR_OK)
        result = scan_all(r, bytes_of(buf_bytes(&request), buf_len(&request)),
                          documents, &shard_rows);
    if (result == ERR_OK)
        result = query_merge_add(
            m, bytes_of(buf_bytes(&shard_rows), buf_len(&shard_rows)));
    if (result == ERR_OK)
        result = query_merge_finish(m, rows, count_out, token_out);
    buf_free(&request);
    buf_free(&shard_rows);
    query_merge_free(m);
    return result;
}

/* Pages of a streamed query are found by counting. */
static int page_of(const struct run *r, uint64_t done, struct bytes all,
                   struct buf *rows, uint32_t *count_out, bool *more_out)
{
    struct query_window window = {0, 0};
    struct bytes row;
    uint32_t count = 0;
    int result = ERR_OK;
    *more_out = false;
    while (result == ERR_OK && query_rows_next(&all, &row)) {
        enum query_window_step step = query_window_take(&r->shape, &window);
        if (step == QUERY_WINDOW_STOP)
            break;
        if (step == QUERY_WINDOW_DROP || window.delivered <= done)
            continue;
        if (count == r->rows_max) {
            *more_out = true;
            break;
        }
        result = query_rows_append(rows, row);
        count++;
    }
    *count_out = count;
    return result;
}

static int run_streamed(const struct run *r, struct bytes documents,
                        struct bytes token, struct buf *rows,
                        uint32_t *count_out, struct buf *token_out)
{
    struct request request;
    struct buf all;
    size_t before = buf_len(rows);
    uint32_t count = 0;
    bool more = false;
    request_init(&request);
    buf_init(&all, QUERY_HELD_MEMORY_MAX);
    int result = request_read(&request, r->query, token);
    if (result == ERR_OK)
        result = scan_all(r, bytes_str(""), documents, &all);
    if (result == ERR_OK)
        result = page_of(r, request.delivered,
                         bytes_of(buf_bytes(&all), buf_len(&all)), rows, &count,
                         &more);
    request.delivered += count;
    if (result == ERR_OK && more)
        result = request_write(&request, r->query, token_out);
    request_free(&request);
    buf_free(&all);
    if (result != ERR_OK) {
        buf_truncate(rows, before);
        return result;
    }
    *count_out = count;
    return ERR_OK;
}

int query_run(const struct query *q, struct bytes documents, uint64_t now_ms,
              struct bytes token, uint32_t rows_max, struct buf *rows,
              uint32_t *count_out, struct buf *token_out,
              struct query_error *error)
{
    struct query_error why = {.text = ""};
    struct run r = {q, query_shape(q), now_ms, rows_max, &why};
    int result =
        r.shape.kind == QUERY_STREAM
            ? run_streamed(&r, documents, token, rows, count_out, token_out)
            : run_merged(&r, documents, token, rows, count_out, token_out);
    if (result != ERR_OK && why.text[0] == '\0')
        explain(&(struct run){.error = &why}, result, NULL);
    if (result != ERR_OK && error != NULL)
        *error = why;
    return result;
}
