#include "node/cosmos/page.h"

#include <string.h>

#include "node/base/hash.h"
#include "node/base/mem.h"
#include "node/base/text.h"
#include "node/cosmos/charge.h"
#include "node/cosmos/level.h"
#include "node/cosmos/reply.h"

/* Room in the envelope's buffer beside the rows. */
#define PAGE_ENVELOPE_MAX 4096
/* Less room than this left for rows: the page is full. */
#define PAGE_BYTES_MIN 4096u

/* ---- life ---------------------------------------------------------------- */

bool page_gathers(const struct page *p)
{
    return p->query != NULL && p->shape.kind != QUERY_STREAM;
}

static int envelope_begin(struct page *p, const struct rid *rid)
{
    char text[RID_TEXT_MAX];
    rid_format(rid, text);
    return buf_printf(&p->body, "{\"_rid\":\"%s\",\"%s\":[", text, p->property);
}

struct page *page_new(struct call *c)
{
    CHECK(c->page == NULL && c->container != NULL);
    struct page *p = mem_zalloc(sizeof(*p));
    p->magic = PAGE_MAGIC;
    p->number = c->container->number;
    p->property = "Documents";
    p->rows_max = COSMOS_PAGE_ROWS_DEFAULT;
    p->last = c->spread.slots - 1;
    buf_init(&p->sql, OP_QUERY_MAX);
    buf_init(&p->merge_request, OP_MERGE_REQUEST_MAX);
    buf_init(&p->body, OP_PAGE_MAX + OP_BODY_MAX + PAGE_ENVELOPE_MAX);
    buf_init(&p->storage, CONTINUATION_TEXT_MAX);
    size_t shown =
        c->spread.slots < PAGE_SLOTS_SHOWN ? c->spread.slots : PAGE_SLOTS_SHOWN;
    p->states = mem_zalloc(shown * sizeof(*p->states));
    c->page = p;
    return p;
}

void page_of_conflicts(struct call *c)
{
    struct page *p = c->page;
    p->number = c->container->number | CONTAINER_CONFLICTS;
    p->property = "Conflicts";
    p->last = c->spread.all_slots - 1;
    c->headers.partition_key = bytes_of(NULL, 0);
    c->headers.start_epk = c->headers.end_epk = bytes_of(NULL, 0);
}

bool page_shows_conflicts(const struct page *p)
{
    return (p->number & CONTAINER_CONFLICTS) != 0;
}

void page_free(struct page *p)
{
    if (p == NULL)
        return;
    CHECK_OBJ(p, PAGE_MAGIC);
    query_merge_free(p->merge);
    query_free(p->query);
    buf_free(&p->sql);
    buf_free(&p->merge_request);
    buf_free(&p->body);
    buf_free(&p->storage);
    mem_free(p->states);
    p->magic = 0;
    mem_free(p);
}

/* ---- scope --------------------------------------------------------------- */

int page_rows_wanted(struct bytes header, uint32_t *rows_out)
{
    if (header.data == NULL || header.len == 0) {
        *rows_out = COSMOS_PAGE_ROWS_DEFAULT;
        return ERR_OK;
    }
    if (bytes_equal(header, bytes_str("-1"))) {
        *rows_out = COSMOS_PAGE_ROWS_SERVER;
        return ERR_OK;
    }
    uint64_t rows;
    if (text_parse_u64(header, UINT32_MAX, &rows) != ERR_OK || rows == 0)
        return ERR_INVALID;
    *rows_out = rows < PAGE_ROWS_MAX ? (uint32_t)rows : PAGE_ROWS_MAX;
    return ERR_OK;
}

bool page_one_partition(struct call *c)
{
    struct page *p = c->page;
    if (!call_enter_key(c))
        return false;
    const struct keyed_hash *hash = call_hash(c, call_shard(c, c->slot));
    if (hash == NULL)
        return false;
    uint8_t canonical[PK_CANONICAL_MAX];
    size_t len = pk_canonical(&c->pk, canonical);
    keyed_hash16(hash, bytes_of(canonical, len), p->pk_hash);
    p->one_partition = true;
    p->first = p->last = c->slot;
    return true;
}

/* The first components of a hierarchical key: all documents whose EPK begins
 * with the prefix's (protocol section 6.2). Where the prefix does not say which
 * of a placement map's groups they are in, all are looked at. False after
 * answering. */
static bool scope_prefix(struct call *c)
{
    static const char end[] = "FF";
    struct page *p = c->page;
    const struct pk_def *def = &c->container->pk;
    epk_compute(def, &c->pk, &p->low);
    p->high = p->low;
    CHECK(p->high.len + sizeof(end) <= sizeof(p->high.text));
    memcpy(p->high.text + p->high.len, end, sizeof(end));
    p->high.len += (uint8_t)(sizeof(end) - 1);
    p->filtered = true;
    if (!spread_pins(c->container, c->pk.count))
        return true;
    if (!call_enter_key(c))
        return false;
    p->first = p->last = c->slot;
    return true;
}

static bool scope_key(struct call *c)
{
    struct err_msg msg;
    int err =
        pk_parse(&c->cosmos->json, c->headers.partition_key, &c->pk, &msg);
    if (err != ERR_OK) {
        reply_fail_text(c, FAIL_PK_MALFORMED, msg.text);
        return false;
    }
    if (pk_fit(&c->container->pk, PK_PREFIX, &c->pk, &msg) != ERR_OK) {
        reply_fail_text(c, FAIL_BAD_REQUEST, msg.text);
        return false;
    }
    if (c->pk.count == c->container->pk.path_count)
        return page_one_partition(c);
    return scope_prefix(c);
}

static bool scope_range(struct call *c)
{
    uint32_t id, first = call_range_id(c, 0); /* earlier ones are gone */
    int err = call_range_named(c, &id);
    if (err != ERR_OK || id < first ||
        id - first >= spread_ranges(&c->spread)) {
        reply_fail(c,
                   err == ERR_MALFORMED ? FAIL_BAD_REQUEST : FAIL_RANGE_GONE);
        return false;
    }
    spread_range(&c->spread, id - first, &c->page->first, &c->page->last);
    /* A range that is all there is has the conflicts of shards before it. */
    if (c->spread.mapped && page_shows_conflicts(c->page))
        c->page->last = c->spread.all_slots - 1;
    return true;
}

static bool epk_read(struct call *c, struct bytes text, struct epk *epk_out)
{
    uint32_t range;
    if (text.len > EPK_TEXT_MAX ||
        epk_range_of(&c->container->pk, text, spread_ranges(&c->spread),
                     &range) != ERR_OK) {
        reply_fail_text(c, FAIL_BAD_REQUEST,
                        "x-ms-start-epk and x-ms-end-epk must be hexadecimal "
                        "effective partition keys");
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        char b = (char)text.data[i];
        epk_out->text[i] = (char)(b >= 'a' && b <= 'f' ? b - 'a' + 'A' : b);
    }
    epk_out->text[text.len] = '\0';
    epk_out->len = (uint8_t)text.len;
    return true;
}

/* Documents between two EPKs, of the range that was named or of all; no filter
 * when that is whole ranges. */
static bool scope_epks(struct call *c)
{
    struct page *p = c->page;
    const struct pk_def *def = &c->container->pk;
    if (!epk_read(c, c->headers.start_epk, &p->low) ||
        !epk_read(c, c->headers.end_epk, &p->high))
        return false;
    struct epk begin, end;
    const struct spread *s = &c->spread;
    epk_boundary(def, spread_range_of(s, p->first), spread_ranges(s), &begin);
    epk_boundary(def, spread_range_of(s, p->last) + 1, spread_ranges(s), &end);
    p->filtered =
        epk_compare(&p->low, &begin) > 0 || epk_compare(&p->high, &end) < 0;
    return true;
}

bool page_scope(struct call *c)
{
    const struct cosmos_headers *h = &c->headers;
    struct page *p = c->page;
    if (page_rows_wanted(h->max_item_count, &p->rows_max) != ERR_OK) {
        reply_fail_text(c, FAIL_BAD_REQUEST,
                        "x-ms-max-item-count must be -1 or a positive number");
        return false;
    }
    if (h->partition_key.len > 0)
        return scope_key(c);
    if (h->range_id.len > 0 && !scope_range(c))
        return false;
    if (h->start_epk.data != NULL && h->end_epk.data != NULL)
        return scope_epks(c);
    return true;
}

/* ---- answering ----------------------------------------------------------- */

/* Of a container whose shards are all of one range. */
static size_t parts_format(const struct call *c, const struct page_state *seen,
                           size_t count, char *out)
{
    struct session_part parts[SPREAD_SHARDS_MAX];
    uint32_t slots = c->spread.slots < SPREAD_SHARDS_MAX ? c->spread.slots
                                                         : SPREAD_SHARDS_MAX;
    for (uint32_t i = 0; i < slots; i++)
        parts[i] = (struct session_part){call_shard(c, i), {0, 0}};
    for (size_t i = 0; i < count; i++)
        if (seen[i].slot < slots)
            parts[seen[i].slot].point = seen[i].point;
    return session_format_parts(out, call_range_id(c, 0), c->spread.version,
                                parts, slots);
}

size_t page_session_format(const struct call *c, const struct page_state *seen,
                           size_t count, char out[PAGE_SESSION_MAX])
{
    size_t len = 0;
    if (c->spread.mapped)
        return parts_format(c, seen, count, out);
    for (size_t i = 0;
         i < count && len + SESSION_ELEMENT_MAX < PAGE_SESSION_MAX; i++) {
        if (i > 0)
            out[len++] = ',';
        len += session_format(out + len, call_slot_range_id(c, seen[i].slot),
                              seen[i].point);
    }
    return len;
}

bool page_session_write(const struct call *c, struct http_request *r)
{
    const struct page *p = c->page;
    char text[PAGE_SESSION_MAX];
    if (p->shown == 0)
        return false;
    size_t len = page_session_format(c, p->states, p->shown, text);
    http_reply_header(r, "x-ms-session-token", bytes_of(text, len));
    if (p->shown == 1)
        http_reply_header_u64(r, "x-ms-documentdb-partitionkeyrangeid",
                              call_slot_range_id(c, p->states[0].slot));
    return true;
}

/* Later steps on a range move its state on, never back: they may have been
 * answered by another replica. A gathering query over more ranges than a token
 * has room for tells of the first only; its client knows less of the others
 * than it has seen. */
static void remember_state(struct call *c, const struct op_result *result)
{
    struct page *p = c->page;
    struct session_point point = session_point(result->term, result->lsn);
    if (result->lsn == 0 || p->slot >= c->spread.slots)
        return;
    level_seen(c, p->slot, result);
    struct page_state *last = p->shown > 0 ? &p->states[p->shown - 1] : NULL;
    if (last != NULL && last->slot == p->slot) {
        if (session_compare(last->point, point) < 0)
            last->point = point;
    } else if (p->shown < PAGE_SLOTS_SHOWN) {
        p->states[p->shown++] = (struct page_state){p->slot, point};
    }
}

/* Another range would not fit the session token. */
static bool states_full(const struct page *p)
{
    return p->shown == PAGE_SLOTS_SHOWN &&
           p->states[p->shown - 1].slot != p->slot;
}

static void metrics_write(const struct call *c)
{
    const struct page *p = c->page;
    double ms = (double)(call_now(c) - c->started_us) / 1000;
    http_reply_header_f(
        c->http, "x-ms-documentdb-query-metrics",
        "totalExecutionTimeInMs=%.2f;queryCompileTimeInMs=0.00;"
        "queryLogicalPlanBuildTimeInMs=0.00;"
        "queryPhysicalPlanBuildTimeInMs=0.00;"
        "queryOptimizationTimeInMs=0.00;VMExecutionTimeInMs=%.2f;"
        "indexLookupTimeInMs=0.00;documentLoadTimeInMs=0.00;"
        "systemFunctionExecuteTimeInMs=0.00;"
        "userFunctionExecuteTimeInMs=0.00;retrievedDocumentCount=%llu;"
        "retrievedDocumentSize=0;outputDocumentCount=%u;"
        "outputDocumentSize=%zu;writeOutputTimeInMs=0.00;"
        "indexUtilizationRatio=0.00",
        ms, ms, (unsigned long long)p->examined, p->count, buf_len(&p->body));
}

static void page_send(struct call *c, struct bytes merge_token)
{
    struct page *p = c->page;
    struct buf token;
    buf_init(&token, CONTINUATION_TEXT_MAX);
    int err = page_token(c, merge_token, &token);
    if (err == ERR_LIMIT) {
        buf_free(&token);
        reply_fail_text(c, FAIL_BAD_REQUEST,
                        "The ORDER BY values of the last row are too long for "
                        "a continuation token; ask for all rows in one page "
                        "(x-ms-max-item-count) or order by shorter values");
        return;
    }
    if (err == ERR_OK)
        err = buf_printf(&p->body, "],\"_count\":%u}", p->count);
    if (err != ERR_OK) {
        buf_free(&token);
        reply_fail(c, cosmos_failure_local(err));
        return;
    }
    if (buf_len(&token) > 0)
        http_reply_header(c->http, "x-ms-continuation",
                          bytes_of(buf_bytes(&token), buf_len(&token)));
    buf_free(&token);
    http_reply_header_u64(c->http, "x-ms-item-count", p->count);
    if (p->query != NULL && cosmos_header_true(c->headers.populate_metrics))
        metrics_write(c);
    c->charge = charge_page(p->examined, buf_len(&p->body), p->query != NULL);
    reply_json(c, 200, &p->body);
}

/* ---- streaming ----------------------------------------------------------- */

static void stream_step(struct call *c);

/* Whether a stored document is inside the page's EPKs. */
static bool row_wanted(struct call *c, struct bytes row)
{
    const struct page *p = c->page;
    if (!p->filtered)
        return true;
    struct json *json = &c->cosmos->json;
    struct partition_key pk;
    if (json_parse(json, row, JSON_TEXT_MAX, NULL) != ERR_OK ||
        json_type(json, 0) != JSON_OBJECT ||
        pk_extract(&c->container->pk, json, 0, &pk, NULL) != ERR_OK)
        return false;
    struct epk epk;
    epk_compute(&c->container->pk, &pk, &epk);
    return epk_compare(&epk, &p->low) >= 0 && epk_compare(&epk, &p->high) < 0;
}

/* Takes the rows of one scan step. `*done_out`: the query's LIMIT is reached.
 */
static int stream_rows(struct call *c, const struct op_result *result,
                       bool *done_out)
{
    struct page *p = c->page;
    struct bytes row;
    size_t offset = 0;
    *done_out = false;
    while (!*done_out && op_result_next_row(result, &offset, &row)) {
        if (!row_wanted(c, row))
            continue;
        enum query_window_step step = QUERY_WINDOW_TAKE;
        if (p->query != NULL)
            step = query_window_take(&p->shape, &p->window);
        *done_out = step == QUERY_WINDOW_STOP;
        if (step != QUERY_WINDOW_TAKE)
            continue;
        int err = p->count > 0 ? buf_append_u8(&p->body, ',') : ERR_OK;
        if (err == ERR_OK)
            err = buf_append(&p->body, row.data, row.len);
        if (err != ERR_OK)
            return err;
        p->count++;
    }
    if (p->query != NULL && query_window_done(&p->shape, &p->window))
        *done_out = true;
    return ERR_OK;
}

/* Moves on behind what a step has answered. False when it made no way at all:
 * then the page cannot take the next row, or the backend is at fault. */
static bool stream_advance(struct page *p, const struct op_result *result)
{
    if (!result->more) {
        page_next_slot(p);
        return true;
    }
    CHECK(result->next_len > 0 && result->next_len <= OP_KEY_MAX);
    bool moved = result->next_len != p->position_len ||
                 memcmp(result->next, p->position, result->next_len) != 0;
    memcpy(p->position, result->next, result->next_len);
    p->position_len = result->next_len;
    return moved;
}

/* A page that has rows is better than an error about those that follow; the
 * client comes back for them. */
static bool page_worth_sending(const struct page *p, int err)
{
    return p->count > 0 && (err == ERR_UNAVAILABLE || err == ERR_TIMEOUT ||
                            err == ERR_THROTTLED || err == ERR_BEHIND);
}

static void scan_failed(struct call *c, struct op_result *result)
{
    if (result->err == ERR_LIMIT && c->page->query != NULL)
        reply_fail(c, FAIL_QUERY_MEMORY);
    else
        reply_op_failed(c, result);
}

static void on_stream_rows(struct call *c, struct op_result *result)
{
    struct page *p = c->page;
    if (result->err != ERR_OK) {
        if (page_worth_sending(p, result->err))
            page_send(c, bytes_of(NULL, 0));
        else
            scan_failed(c, result);
        return;
    }
    p->scanned = true;
    p->examined += result->examined;
    remember_state(c, result);
    bool done;
    int err = stream_rows(c, result, &done);
    if (err != ERR_OK) {
        reply_fail(c, cosmos_failure_local(err));
        return;
    }
    if (done) {
        p->slot = p->last + 1;
        page_send(c, bytes_of(NULL, 0));
    } else if (stream_advance(p, result)) {
        stream_step(c);
    } else if (p->count > 0) {
        page_send(c, bytes_of(NULL, 0));
    } else {
        reply_fail(c, FAIL_INTERNAL);
    }
}

static bool page_full(const struct call *c)
{
    const struct page *p = c->page;
    if (p->slot > p->last || p->count >= p->rows_max ||
        buf_len(&p->body) + PAGE_BYTES_MIN > COSMOS_PAGE_BYTES ||
        states_full(p))
        return true;
    return p->scanned && (call_now(c) - c->started_us > COSMOS_PAGE_SLICE_US ||
                          http_request_gone(c->http));
}

/* Rows the next step should bring: what fits the page and what OFFSET drops. */
static uint32_t stream_rows_wanted(const struct page *p)
{
    uint64_t rows = p->rows_max - p->count;
    if (p->query == NULL)
        return (uint32_t)rows;
    uint64_t left = p->shape.limit - p->window.delivered;
    if (rows > left)
        rows = left;
    rows += p->shape.offset - p->window.skipped;
    return rows < PAGE_SCAN_ROWS_MAX ? (uint32_t)rows : PAGE_SCAN_ROWS_MAX;
}

/* A later step on a range does not go back behind an earlier one, which the
 * leader may have answered. */
static void not_before_last_step(struct call *c)
{
    const struct page *p = c->page;
    if (c->op.level != CONSISTENCY_SESSION || p->shown == 0 ||
        p->states[p->shown - 1].slot != p->slot)
        return;
    struct session_point last = p->states[p->shown - 1].point;
    struct session_point now = {c->op.session_epoch, c->op.session_lsn};
    if (session_compare(now, last) < 0) {
        c->op.session_epoch = last.epoch;
        c->op.session_lsn = last.lsn;
    }
}

static struct op *scan_op(struct call *c)
{
    struct page *p = c->page;
    struct op *op = call_op(c, OP_SCAN, call_shard(c, p->slot));
    op->at.container = p->number;
    op->move = page_shows_conflicts(p) ? 0 : call_arrival(c, p->slot);
    op->one_partition = p->one_partition;
    memcpy(op->at.pk_hash, p->pk_hash, sizeof(op->at.pk_hash));
    op->after = bytes_of(p->position, p->position_len);
    op->query = bytes_of(buf_bytes(&p->sql), buf_len(&p->sql));
    op->params = p->params;
    level_op(c, p->slot);
    not_before_last_step(c);
    return op;
}

static void stream_step(struct call *c)
{
    struct page *p = c->page;
    if (p->query != NULL && query_window_done(&p->shape, &p->window))
        p->slot = p->last + 1;
    if (page_full(c)) {
        page_send(c, bytes_of(NULL, 0));
        return;
    }
    if (!call_enter(c, p->slot))
        return;
    struct op *op = scan_op(c);
    op->max_items = stream_rows_wanted(p);
    op->max_bytes = COSMOS_PAGE_BYTES - (uint32_t)buf_len(&p->body);
    call_submit(c, on_stream_rows);
}

/* ---- gathering ----------------------------------------------------------- */

static void gather_finish(struct call *c)
{
    struct page *p = c->page;
    struct buf rows, token;
    buf_init(&rows, OP_PAGE_MAX + OP_BODY_MAX);
    buf_init(&token, QUERY_TOKEN_MAX);
    int err = query_merge_finish(p->merge, &rows, &p->count, &token);
    if (err == ERR_OK)
        err = buf_append(&p->body, buf_bytes(&rows), buf_len(&rows));
    buf_free(&rows);
    if (err != ERR_OK)
        reply_fail(c, err == ERR_LIMIT ? FAIL_QUERY_MEMORY
                                       : cosmos_failure_local(err));
    else
        page_send(c, bytes_of(buf_bytes(&token), buf_len(&token)));
    buf_free(&token);
}

static void gather_step(struct call *c);

static void on_gathered(struct call *c, struct op_result *result)
{
    struct page *p = c->page;
    if (result->err != ERR_OK) {
        scan_failed(c, result);
        return;
    }
    p->examined += result->examined;
    remember_state(c, result);
    int err = query_merge_add(
        p->merge, bytes_of(buf_bytes(&result->body), buf_len(&result->body)));
    if (err != ERR_OK) {
        reply_fail(c, err == ERR_LIMIT ? FAIL_QUERY_MEMORY
                                       : cosmos_failure_local(err));
        return;
    }
    if (stream_advance(p, result))
        gather_step(c);
    else
        reply_fail(c, FAIL_INTERNAL);
}

static void gather_step(struct call *c)
{
    struct page *p = c->page;
    if (p->slot > p->last) {
        gather_finish(c);
        return;
    }
    if (call_now(c) - c->started_us > PAGE_GATHER_LIMIT_US) {
        reply_fail(c, FAIL_TIMEOUT);
        return;
    }
    if (!call_enter(c, p->slot))
        return;
    struct op *op = scan_op(c);
    op->max_items = PAGE_SCAN_ROWS_MAX;
    op->max_bytes = OP_PAGE_MAX;
    op->merge_request =
        bytes_of(buf_bytes(&p->merge_request), buf_len(&p->merge_request));
    call_submit(c, on_gathered);
}

void page_send_rows(struct call *c, struct buf *rows)
{
    struct page *p = c->page;
    p->slot = p->last + 1;
    int err = envelope_begin(p, &c->container->rid);
    if (err == ERR_OK)
        err = buf_append(&p->body, buf_bytes(rows), buf_len(rows));
    if (err != ERR_OK)
        reply_fail(c, cosmos_failure_local(err));
    else
        page_send(c, bytes_of(NULL, 0));
}

/* Whether a read of all groups, at this level for the strictest of them, must
 * not miss lines that the container's placement map was given before it, nor
 * what they brought. */
static bool needs_lines(const struct call *c, enum consistency_level level)
{
    if (level == CONSISTENCY_SESSION)
        return session_version(c->headers.session_token, call_range_id(c, 0)) >
               c->spread.version;
    return level < CONSISTENCY_SESSION;
}

/* Whether this node may read all that is left of the page: it is refused as a
 * whole, never answered with less. False after answering. */
static bool page_admit(struct call *c)
{
    const struct page *p = c->page;
    enum consistency_level strictest = CONSISTENCY_EVENTUAL;
    if (!c->spread.mapped)
        return true;
    for (uint32_t slot = p->slot; slot <= p->last; slot++) {
        if (!call_enter(c, slot))
            return false;
        if (c->level < strictest)
            strictest = c->level;
    }
    bool whole = p->first == 0 && p->last >= c->spread.slots - 1;
    bool known = c->looked_again && !call_stale(c);
    if (known || !whole || !needs_lines(c, strictest))
        return true;
    if (call_stale(c))
        reply_fail(c, FAIL_ISOLATED);
    else
        call_again(c);
    return false;
}

void page_run(struct call *c)
{
    struct page *p = c->page;
    CHECK_OBJ(p, PAGE_MAGIC);
    if (!page_admit(c))
        return;
    int err = envelope_begin(p, &c->container->rid);
    if (err != ERR_OK)
        reply_fail(c, cosmos_failure_local(err));
    else if (page_gathers(p))
        gather_step(c);
    else
        stream_step(c);
}
