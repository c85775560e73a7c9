/* The shard's side: documents in, rows or shard rows out. */
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"
#include "node/base/text.h"
#include "node/query/eval.h"
#include "node/query/group.h"
#include "node/query/request.h"
#include "node/query/rows.h"

struct query_scan {
    const struct query *query;
    enum query_kind kind;
    struct arena arena; /* of the document at hand */
    struct eval eval;
    struct query_error error;
    struct request request;
    struct rowset rowset; /* QUERY_ORDERED */
    struct groups groups; /* QUERY_AGGREGATE */
    struct buf key;       /* of the row at hand */
    struct buf identity;
    struct buf text;
    /* The document at hand. */
    uint64_t rid;
    uint32_t row_number;
    struct buf *rows; /* QUERY_STREAM: where its rows go */
    uint64_t added;
};

int query_scan_new(const struct query *q,
                   const struct query_scan_options *options,
                   struct query_scan **scan_out)
{
    struct query_scan *s = mem_zalloc(sizeof(*s));
    struct query_shape shape = query_shape(q);
    s->query = q;
    s->kind = shape.kind;
    arena_init(&s->arena, QUERY_ROW_MEMORY_MAX);
    s->eval = (struct eval){.arena = &s->arena,
                            .text = q->text,
                            .now_ms = options->now_ms,
                            .error = &s->error};
    buf_init(&s->key, QUERY_ROW_MEMORY_MAX);
    buf_init(&s->identity, QUERY_ROW_MEMORY_MAX);
    buf_init(&s->text, QUERY_ROW_MAX);
    groups_init(&s->groups, q->select);
    request_init(&s->request);
    int result = ERR_OK;
    if (s->kind != QUERY_STREAM)
        result = request_read(&s->request, q, options->request);
    rowset_init(&s->rowset, s->request.limits, shape.distinct,
                QUERY_HELD_MEMORY_MAX);
    if (result != ERR_OK) {
        query_scan_free(s);
        return result;
    }
    *scan_out = s;
    return ERR_OK;
}

void query_scan_free(struct query_scan *s)
{
    if (s == NULL)
        return;
    rowset_free(&s->rowset);
    groups_free(&s->groups);
    request_free(&s->request);
    buf_free(&s->key);
    buf_free(&s->identity);
    buf_free(&s->text);
    arena_free(&s->arena);
    mem_free(s);
}

const struct query_error *query_scan_error(const struct query_scan *s)
{
    return &s->error;
}

/* Notes a failure of the row at hand; the walk over its document ends. */
static void fail(struct query_scan *s, int result)
{
    struct eval *e = &s->eval;
    if (result == ERR_OK || e->result != ERR_OK)
        return;
    e->result = result;
    if (result == ERR_LIMIT)
        query_fail(&s->error, result, "", s->query->text, 0, 0,
                   "The rows of the query need too much memory.");
    else
        query_fail(&s->error, result, "", s->query->text, 0, 0, "%s",
                   err_text(result));
}

static struct bytes contents(const struct buf *b)
{
    return bytes_of(buf_bytes(b), buf_len(b));
}

/* What SELECT makes of the row at hand, in s->text; false: no row. */
static bool make_text(struct query_scan *s, struct eval *e, struct value *v_out)
{
    struct json_writer w;
    struct value v = eval_item(e, s->query->select);
    eval_check_limits(e);
    if (e->result != ERR_OK || v.type == VALUE_UNDEFINED)
        return false;
    buf_clear(&s->text);
    json_writer_init(&w, &s->text);
    value_write(e->arena, &v, &w);
    fail(s, json_writer_end(&w));
    *v_out = v;
    return e->result == ERR_OK;
}

static void stream_row(void *arg, struct eval *e)
{
    struct query_scan *s = arg;
    struct value v;
    if (!make_text(s, e, &v))
        return;
    int result = query_rows_append(s->rows, contents(&s->text));
    if (result != ERR_OK && e->result == ERR_OK)
        e->result = result; /* the caller's buffer: his to explain */
    s->added += result == ERR_OK;
}

/* -- ORDER BY, DISTINCT
 * -------------------------------------------------------------- */

/* The encodings of the keys, inverted where descending, then the document's
 * number and the row's number within the document: a total order. */
static int make_key(struct query_scan *s, struct eval *e)
{
    int result = ERR_OK;
    buf_clear(&s->key);
    for (const struct expr *x = s->query->select->order;
         x != NULL && result == ERR_OK; x = x->next) {
        struct value v = eval_expr(e, x);
        size_t from = s->key.tail;
        result = value_encode(e->arena, &v, &s->key);
        for (size_t i = from; x->descending && i < s->key.tail; i++)
            s->key.data[i] = (uint8_t)~s->key.data[i];
    }
    if (result == ERR_OK)
        result = buf_append_u64_be(&s->key, s->rid);
    if (result == ERR_OK)
        result = buf_append_u32_be(&s->key, s->row_number++);
    return result;
}

static void ordered_row(void *arg, struct eval *e)
{
    struct query_scan *s = arg;
    struct value v;
    fail(s, make_key(s, e));
    if (e->result != ERR_OK)
        return;
    if (buf_len(&s->request.after) > 0 &&
        bytes_compare(contents(&s->key), contents(&s->request.after)) <= 0)
        return;
    if (!rowset_wants(&s->rowset, contents(&s->key)) || !make_text(s, e, &v))
        return;
    buf_clear(&s->identity);
    if (s->rowset.distinct)
        fail(s, value_encode(e->arena, &v, &s->identity));
    if (e->result == ERR_OK)
        fail(s, rowset_add(&s->rowset, contents(&s->key),
                           contents(&s->identity), contents(&s->text)));
}

/* ["sort key in base64",row] */
static int write_ordered(struct query_scan *s, struct buf *rows,
                         uint64_t *added)
{
    int result = rowset_settle(&s->rowset);
    for (uint32_t i = 0; i < s->rowset.count && result == ERR_OK; i++) {
        const struct row *r = &s->rowset.rows[i];
        result = buf_append_str(rows, buf_len(rows) > 0 ? ",[\"" : "[\"");
        if (result == ERR_OK)
            result = text_base64_encode(row_key(r), rows);
        if (result == ERR_OK)
            result = buf_append_str(rows, "\",");
        if (result == ERR_OK)
            result = buf_append(rows, row_text(r).data, row_text(r).len);
        if (result == ERR_OK)
            result = buf_append_str(rows, "]");
        ++*added;
    }
    return result;
}

/* -- aggregates
 * -------------------------------------------------------------------------- */

/* The group keys of the row at hand: encoded in s->key, as JSON in s->text. */
static int make_group_key(struct query_scan *s, struct eval *e)
{
    struct json_writer w;
    int result = ERR_OK;
    buf_clear(&s->key);
    buf_clear(&s->text);
    json_writer_init(&w, &s->text);
    json_write_array_begin(&w);
    for (const struct expr *x = s->query->select->group;
         x != NULL && result == ERR_OK; x = x->next) {
        struct value v = eval_expr(e, x);
        result = value_encode(e->arena, &v, &s->key);
        json_write_array_begin(&w);
        if (v.type != VALUE_UNDEFINED)
            value_write(e->arena, &v, &w);
        json_write_array_end(&w);
    }
    json_write_array_end(&w);
    return result == ERR_OK ? json_writer_end(&w) : result;
}

static void aggregate_row(void *arg, struct eval *e)
{
    struct query_scan *s = arg;
    struct group *group;
    int result = make_group_key(s, e);
    if (result == ERR_OK)
        result = groups_find(&s->groups, contents(&s->key), contents(&s->text),
                             &group);
    for (const struct expr *x = s->query->select->aggregates;
         x != NULL && result == ERR_OK; x = x->aggregates) {
        struct value v = eval_expr(e, x->args);
        result = aggregate_add(&group->aggregates[x->index], &v);
    }
    fail(s, result);
}

/* [[[key],..],[state,..]] */
static int write_groups(struct query_scan *s, struct buf *rows, uint64_t *added)
{
    const struct select *select = s->query->select;
    struct group *group;
    int result = ERR_OK;
    if (select->group_count == 0)
        result =
            groups_find(&s->groups, bytes_str(""), bytes_str("[]"), &group);
    groups_sort(&s->groups);
    for (group = s->groups.table; group != NULL && result == ERR_OK;
         group = group->hh.next) {
        struct json_writer w;
        buf_clear(&s->text);
        json_writer_init(&w, &s->text);
        json_write_array_begin(&w);
        json_write_raw(&w, group->values);
        json_write_array_begin(&w);
        for (uint32_t i = 0; i < select->aggregate_count; i++)
            aggregate_write(&group->aggregates[i], &w);
        json_write_array_end(&w);
        json_write_array_end(&w);
        result = json_writer_end(&w);
        if (result == ERR_OK)
            result = query_rows_append(rows, contents(&s->text));
        ++*added;
    }
    return result;
}

/* -- calls
 * ---------------------------------------------------------------------------------
 */

int query_scan_document(struct query_scan *s, const struct json *document,
                        uint64_t rid, struct buf *rows, uint64_t *added_out)
{
    static eval_row_fn *const row_of_kind[] = {
        [QUERY_STREAM] = stream_row,
        [QUERY_ORDERED] = ordered_row,
        [QUERY_AGGREGATE] = aggregate_row,
    };
    size_t before = buf_len(rows);
    struct eval *e = &s->eval;
    CHECK(document != NULL || !s->query->uses_document);
    arena_reset(&s->arena);
    e->result = ERR_OK;
    e->steps = 0;
    s->rows = rows;
    s->rid = rid;
    s->row_number = 0;
    s->added = 0;
    if (document != NULL)
        e->slots[SLOT_DOCUMENT] = value_of_json(&s->arena, document, 0);
    eval_rows(e, s->query->select, row_of_kind[s->kind], s);
    if (e->result != ERR_OK) {
        buf_truncate(rows, before);
        return e->result;
    }
    *added_out = s->added;
    return ERR_OK;
}

int query_scan_finish(struct query_scan *s, struct buf *rows,
                      uint64_t *added_out)
{
    size_t before = buf_len(rows);
    uint64_t added = 0;
    int result = ERR_OK;
    if (s->kind == QUERY_ORDERED)
        result = write_ordered(s, rows, &added);
    else if (s->kind == QUERY_AGGREGATE)
        result = write_groups(s, rows, &added);
    if (result != ERR_OK) {
        s->eval.result = ERR_OK;
        fail(s, result);
        buf_truncate(rows, before);
        return result;
    }
    *added_out = added;
    return ERR_OK;
}
