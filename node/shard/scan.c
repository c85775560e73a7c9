/* Scans: the next records of a container or partition, filtered by a query.
 *
 * A page scan (no query, or one whose rows stream) looks at a bounded number of
 * records and answers with its rows and a position to go on from. A gathering
 * query (ORDER BY, aggregates) must see all records: it runs in slices, one a
 * turn, so that other requests go on in between, and answers once. Every slice
 * reads the newest state of its own turn (shard_read_lsn).
 */
#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/query/query.h"
#include "node/shard/record.h"
#include "node/shard/shard_impl.h"
#include "node/store/view.h"

struct shard_scan {
    struct query *query;      /* NULL: every record as it is */
    struct query_scan *state; /* with a query */
    bool gathers;
    uint64_t saw;         /* the newest state it looked at */
    struct record_key at; /* first key not yet looked at */
    struct record_key to;
    struct buf text; /* the opened record */
    struct buf rows; /* of one record; of all, when gathering */
};

void shard_scan_free(struct shard_request *req)
{
    struct shard_scan *scan = TAKE(req->scan);
    if (scan == NULL)
        return;
    query_scan_free(scan->state);
    query_free(scan->query);
    buf_wipe(&scan->text);
    buf_wipe(&scan->rows);
    mem_free(scan);
}

/* The smallest key above `k`. */
static void key_after(struct record_key *k)
{
    CHECK(k->len < OP_KEY_MAX);
    k->bytes[k->len++] = 0;
}

static int scan_range(const struct op *op, struct shard_scan *scan)
{
    if (op->one_partition)
        record_partition_range(op->at.container, op->at.pk_hash, &scan->at,
                               &scan->to);
    else
        record_container_range(op->at.container, &scan->at, &scan->to);
    if (op->graves) {
        record_key_retable(&scan->at, RECORD_TABLE_GRAVE);
        record_key_retable(&scan->to, RECORD_TABLE_GRAVE);
    }
    if (op->after.len == 0)
        return ERR_OK;
    /* A position is the last key looked at; it must lie in the range. */
    if (op->after.len != RECORD_TEXT_KEY_LEN ||
        bytes_compare(op->after, record_key_bytes(&scan->at)) < 0 ||
        bytes_compare(op->after, record_key_bytes(&scan->to)) >= 0)
        return ERR_INVALID;
    memcpy(scan->at.bytes, op->after.data, op->after.len);
    scan->at.len = (uint8_t)op->after.len;
    key_after(&scan->at);
    return ERR_OK;
}

static int scan_compile(struct shard *s, const struct op *op,
                        struct shard_scan *scan, struct err_msg *msg)
{
    struct query_error error;
    int err = query_compile(op->query, op->params, &scan->query, &error);
    if (err != ERR_OK)
        return err_set(msg, ERR_INVALID, "%s", error.text);
    struct query_shape shape = query_shape(scan->query);
    scan->gathers = shape.kind != QUERY_STREAM;
    struct query_scan_options options = {
        .request = op->merge_request,
        .now_ms = (uint64_t)s->env->wall_sec(s->env->user) * 1000};
    err = query_scan_new(scan->query, &options, &scan->state);
    if (err != ERR_OK)
        return err_set(msg, ERR_INVALID,
                       "the continuation does not belong to this query");
    return ERR_OK;
}

static int append_row(struct op_result *result, struct bytes row)
{
    int err = buf_append_u32_le(&result->body, (uint32_t)row.len);
    if (err == ERR_OK)
        err = buf_append(&result->body, row.data, row.len);
    if (err == ERR_OK)
        result->items++;
    return err;
}

/* Appends each row of a row list (a document with a JOIN gives several). */
static int append_rows(struct op_result *result, const struct buf *rows)
{
    struct bytes list = bytes_of(buf_bytes(rows), buf_len(rows));
    struct bytes row;
    int err = ERR_OK;
    while (err == ERR_OK && query_rows_next(&list, &row))
        err = append_row(result, row);
    return err;
}

/* Gives the opened record in scan->text to the query, or takes it as a row. */
static int scan_record(struct shard *s, struct shard_request *req,
                       uint64_t record)
{
    struct shard_scan *scan = req->scan;
    struct bytes text = bytes_of(buf_bytes(&scan->text), buf_len(&scan->text));
    if (scan->query == NULL)
        return append_row(&req->result, text);
    int err = json_parse(&s->json, text, OP_BODY_MAX, NULL);
    if (err != ERR_OK)
        return ERR_CORRUPT; /* it was checked when it was written */
    if (!scan->gathers)
        buf_clear(&scan->rows);
    uint64_t added = 0;
    err =
        query_scan_document(scan->state, &s->json, record, &scan->rows, &added);
    if (err == ERR_INVALID || err == ERR_LIMIT)
        err_set(&req->result.message, err, "%s",
                query_scan_error(scan->state)->text);
    if (err != ERR_OK || scan->gathers || added == 0)
        return err;
    return append_rows(&req->result, &scan->rows);
}

/* The same, but a record whose rows do not fit on a page that has some already
 * is left for the next page: ERR_FULL. */
static int scan_record_whole(struct shard *s, struct shard_request *req,
                             uint64_t record)
{
    struct op_result *result = &req->result;
    size_t len = buf_len(&result->body);
    uint32_t items = result->items;
    int err = scan_record(s, req, record);
    if (err != ERR_LIMIT || items == 0 || result->message.text[0] != 0)
        return err;
    buf_truncate(&result->body, len);
    result->items = items;
    return ERR_FULL;
}

static bool page_full(const struct shard_request *req)
{
    return !req->scan->gathers &&
           (req->result.items >= req->op->max_items ||
            buf_len(&req->result.body) >= req->op->max_bytes);
}

/* Whether a record is as new as the scan wants. */
static int is_wanted(const struct op *op, struct bytes sealed, bool *wanted_out)
{
    struct seal_position position;
    *wanted_out = true;
    if (op->min_lsn == 0)
        return ERR_OK;
    if (seal_peek(sealed, &position) != ERR_OK)
        return ERR_CORRUPT;
    *wanted_out = position.lsn > op->min_lsn;
    return ERR_OK;
}

static int scan_one(struct shard *s, struct shard_request *req,
                    struct bytes key, struct bytes sealed)
{
    struct shard_scan *scan = req->scan;
    bool wanted;
    if (key.len != RECORD_TEXT_KEY_LEN)
        return ERR_CORRUPT;
    int err = is_wanted(req->op, sealed, &wanted);
    if (err != ERR_OK || !wanted)
        return err;
    buf_clear(&scan->text);
    err = shard_open_value(s, key, sealed, &scan->text);
    if (err != ERR_OK)
        return err;
    uint32_t container;
    uint64_t record;
    record_text_key_parts(key, &container, &record);
    return scan_record_whole(s, req, record);
}

/* Looks at up to OP_SCAN_EXAMINE_MAX records from scan->at on. ERR_EOF when the
 * range is exhausted, ERR_OK when there may be more. */
static int scan_some(struct shard *s, struct shard_request *req)
{
    struct shard_scan *scan = req->scan;
    struct view_iter it;
    struct bytes key, sealed;
    scan->saw = shard_read_lsn(s, req->op);
    int err = shard_read_moved(s, req->op, scan->saw);
    if (err != ERR_OK)
        return err;
    err = view_iter_open(s->memtable, s->kv, record_key_bytes(&scan->at),
                         record_key_bytes(&scan->to), scan->saw, &it);
    if (err != ERR_OK)
        return err;
    for (uint32_t i = 0; i < OP_SCAN_EXAMINE_MAX && !page_full(req); i++) {
        err = view_iter_next(&it, &key, &sealed);
        if (err == ERR_OK)
            err = scan_one(s, req, key, sealed);
        if (err != ERR_OK)
            break;
        memcpy(scan->at.bytes, key.data, key.len);
        scan->at.len = (uint8_t)key.len;
        key_after(&scan->at);
        req->result.examined++;
    }
    view_iter_close(&it);
    return err == ERR_FULL ? ERR_OK : err;
}

static int scan_step(struct shard *s, struct shard_request *req)
{
    int err = kv_begin(s->kv);
    if (err != ERR_OK)
        return err;
    err = scan_some(s, req);
    kv_end(s->kv);
    return err;
}

/* Answers a page: its rows, and where to go on. */
static void finish_page(struct shard *s, struct shard_request *req, int err)
{
    struct op_result *result = &req->result;
    if (err != ERR_OK && err != ERR_EOF) {
        shard_fail(s, req, err);
        return;
    }
    if (err == ERR_OK) {
        CHECK(result->examined > 0);
        /* scan->at is the last key with one byte more. */
        result->more = true;
        result->next_len = (uint8_t)(req->scan->at.len - 1);
        memcpy(result->next, req->scan->at.bytes, result->next_len);
    }
    result->err = ERR_OK;
    shard_finish(s, req);
}

/* Answers a gathering scan that has seen everything. */
static void finish_gathering(struct shard *s, struct shard_request *req)
{
    struct shard_scan *scan = req->scan;
    uint64_t added = 0;
    int err = query_scan_finish(scan->state, &scan->rows, &added);
    if (err == ERR_OK)
        err = buf_append(&req->result.body, buf_bytes(&scan->rows),
                         buf_len(&scan->rows));
    if (err != ERR_OK) {
        err_set(&req->result.message, err,
                "the query needs more memory than %u MiB on one shard",
                (OP_PAGE_MAX + OP_BODY_MAX) >> 20);
        shard_fail(s, req, err);
        return;
    }
    shard_set_state(s, &req->result, scan->saw);
    req->result.err = ERR_OK;
    shard_finish(s, req);
}

static int scan_open(struct shard *s, struct shard_request *req)
{
    const struct op *op = req->op;
    CHECK(op->max_items > 0 && op->max_bytes > 0 &&
          op->max_bytes <= OP_PAGE_MAX);
    struct shard_scan *scan = mem_zalloc(sizeof(*scan));
    buf_init(&scan->text, OP_BODY_MAX);
    buf_init(&scan->rows, OP_PAGE_MAX + OP_BODY_MAX);
    req->scan = scan;
    int err = scan_range(op, scan);
    if (err != ERR_OK)
        return err_set(&req->result.message, err,
                       "the continuation is not a position of this feed");
    return op->query.len > 0 ? scan_compile(s, op, scan, &req->result.message)
                             : ERR_OK;
}

void shard_scan_start(struct shard *s, struct shard_request *req)
{
    int err = scan_open(s, req);
    if (err != ERR_OK)
        shard_fail(s, req, err);
    else if (req->scan->gathers)
        list_push_back(&s->scans, &req->node);
    else
        finish_page(s, req, scan_step(s, req));
}

void shard_scans_truncate(struct shard *s, uint64_t from)
{
    struct list lost;
    list_init(&lost);
    LIST_EACH_SAFE(node, &s->scans)
    {
        if (LIST_ENTRY(node, struct shard_request, node)->scan->saw >= from) {
            list_remove(node);
            list_push_back(&lost, node);
        }
    }
    shard_fail_all(s, &lost, ERR_NO_LEADER);
}

bool shard_scan_slice(struct shard *s)
{
    if (list_empty(&s->scans))
        return false;
    /* Long scans take turns. */
    struct shard_request *req =
        LIST_ENTRY(list_pop_front(&s->scans), struct shard_request, node);
    int err = scan_step(s, req);
    if (err == ERR_OK)
        list_push_back(&s->scans, &req->node);
    else if (err == ERR_EOF)
        finish_gathering(s, req);
    else
        shard_fail(s, req, err);
    return !list_empty(&s->scans);
}
