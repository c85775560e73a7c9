/* The coordinator's side: shard rows in, pages out. */
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"
#include "node/base/text.h"
#include "node/query/eval.h"
#include "node/query/group.h"
#include "node/query/request.h"
#include "node/query/rows.h"

struct query_merge {
    const struct query *query;
    struct query_shape shape;
    uint32_t rows_max;
    size_t bytes_max;
    struct request request; /* of this page */
    uint64_t skip;          /* rows to pass over before the page */
    uint64_t remaining;     /* rows that LIMIT still allows */
    struct rowset rowset;
    struct groups groups;
    struct arena arena;
    struct json row; /* the shard row at hand */
    struct buf key;
    struct buf identity;
    struct buf scratch;
};

static uint64_t add_saturating(uint64_t a, uint64_t b)
{
    uint64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

/* Where the page lies. One row more than the page holds is asked for, to know
 * whether there is a next page. */
static void place_page(struct query_merge *m)
{
    const struct query_shape *shape = &m->shape;
    struct request *r = &m->request;
    bool behind_key = buf_len(&r->after) > 0;
    uint64_t page = m->rows_max;
    m->skip = behind_key ? 0 : add_saturating(shape->offset, r->delivered);
    m->remaining =
        shape->limit > r->delivered ? shape->limit - r->delivered : 0;
    if (page > m->remaining)
        page = m->remaining;
    r->limits = (struct rowset_limits){UINT64_MAX, 0, UINT64_MAX};
    if (shape->kind == QUERY_ORDERED)
        r->limits = (struct rowset_limits){
            .keep = page > 0 ? add_saturating(m->skip, page + 1) : 0,
            .skip = m->skip,
            .bytes = m->bytes_max,
        };
}

int query_merge_new(const struct query *q, struct bytes token,
                    uint32_t rows_max, size_t bytes_max,
                    struct query_merge **merge_out)
{
    struct query_merge *m = mem_zalloc(sizeof(*m));
    CHECK(rows_max > 0);
    m->query = q;
    m->shape = query_shape(q);
    CHECK(m->shape.kind != QUERY_STREAM);
    m->rows_max = rows_max;
    m->bytes_max = bytes_max;
    arena_init(&m->arena, QUERY_ROW_MEMORY_MAX);
    json_init(&m->row);
    buf_init(&m->key, QUERY_ROW_MEMORY_MAX);
    buf_init(&m->identity, QUERY_ROW_MEMORY_MAX);
    buf_init(&m->scratch, 2 * QUERY_ROW_MAX);
    groups_init(&m->groups, q->select);
    request_init(&m->request);
    int result = request_read(&m->request, q, token);
    place_page(m);
    rowset_init(&m->rowset, m->request.limits, m->shape.distinct,
                QUERY_HELD_MEMORY_MAX);
    if (result != ERR_OK) {
        query_merge_free(m);
        return result;
    }
    *merge_out = m;
    return ERR_OK;
}

void query_merge_free(struct query_merge *m)
{
    if (m == NULL)
        return;
    rowset_free(&m->rowset);
    groups_free(&m->groups);
    request_free(&m->request);
    json_free(&m->row);
    buf_free(&m->key);
    buf_free(&m->identity);
    buf_free(&m->scratch);
    arena_free(&m->arena);
    mem_free(m);
}

int query_merge_request(const struct query_merge *m, struct buf *out)
{
    struct request r = m->request;
    r.delivered = 0; /* the coordinator's business */
    return request_write(&r, m->query, out);
}

static struct bytes contents(const struct buf *b)
{
    return bytes_of(buf_bytes(b), buf_len(b));
}

/* -- taking shard rows in
 * ------------------------------------------------------------- */

/* ["sort key in base64",row] */
static int add_ordered(struct query_merge *m)
{
    const struct json *j = &m->row;
    json_ref key = json_at(j, 0, 0), row = json_at(j, 0, 1);
    struct bytes text;
    if (row == JSON_NONE || json_type(j, key) != JSON_STRING)
        return ERR_MALFORMED;
    buf_clear(&m->scratch);
    int result = json_string(j, key, &m->scratch, &text);
    buf_clear(&m->key);
    if (result == ERR_OK)
        result = text_base64_decode(text, &m->key);
    buf_clear(&m->identity);
    if (result == ERR_OK && m->shape.distinct) {
        struct value v = value_of_json(&m->arena, j, row);
        result = value_encode(&m->arena, &v, &m->identity);
    }
    if (result != ERR_OK)
        return result;
    return rowset_add(&m->rowset, contents(&m->key), contents(&m->identity),
                      json_raw(j, row));
}

/* The value of a group key in its bracket: [1], or [] for undefined. */
static struct value key_value(struct arena *arena, const struct json *j,
                              json_ref bracket)
{
    return value_of_json(arena, j, json_at(j, bracket, 0));
}

/* [[[key],..],[state,..]] */
static int add_group(struct query_merge *m)
{
    const struct json *j = &m->row;
    const struct select *s = m->query->select;
    json_ref keys = json_at(j, 0, 0), states = json_at(j, 0, 1);
    struct group *group;
    uint32_t index = 0;
    int result = ERR_OK;
    if (states == JSON_NONE || json_type(j, keys) != JSON_ARRAY ||
        json_type(j, states) != JSON_ARRAY ||
        json_count(j, keys) != s->group_count ||
        json_count(j, states) != s->aggregate_count)
        return ERR_MALFORMED;
    buf_clear(&m->key);
    for (json_ref k = json_first(j, keys); k != JSON_NONE && result == ERR_OK;
         k = json_next(j, keys, k)) {
        struct value v = key_value(&m->arena, j, k);
        result = value_encode(&m->arena, &v, &m->key);
    }
    if (result == ERR_OK)
        result = groups_find(&m->groups, contents(&m->key), json_raw(j, keys),
                             &group);
    for (json_ref v = json_first(j, states); v != JSON_NONE && result == ERR_OK;
         v = json_next(j, states, v))
        result = aggregate_merge(&group->aggregates[index++], &m->arena, j, v);
    return result;
}

int query_merge_add(struct query_merge *m, struct bytes rows)
{
    struct bytes row;
    int result = ERR_OK;
    while (result == ERR_OK && query_rows_next(&rows, &row)) {
        arena_reset(&m->arena);
        result = json_parse_deep(&m->row, row, JSON_TEXT_MAX, JSON_DEPTH_LIMIT,
                                 NULL);
        if (result == ERR_OK && json_type(&m->row, 0) != JSON_ARRAY)
            result = ERR_MALFORMED;
        if (result == ERR_OK)
            result =
                m->shape.kind == QUERY_ORDERED ? add_ordered(m) : add_group(m);
        if (result == ERR_OK && m->arena.failed)
            result = arena_error(&m->arena);
    }
    return result;
}

/* -- making the page
 * ---------------------------------------------------------------------- */

/* Evaluates SELECT for one group and adds the row. */
static int finish_group(struct query_merge *m, const struct group *group)
{
    const struct select *s = m->query->select;
    struct value keys[QUERY_GROUP_MAX], results[QUERY_AGGREGATE_MAX];
    struct json_writer w;
    struct eval *e = mem_zalloc(sizeof(*e));
    uint32_t i = 0;
    arena_reset(&m->arena);
    int result = json_parse_deep(&m->row, group->values, JSON_TEXT_MAX,
                                 JSON_DEPTH_LIMIT, NULL);
    for (json_ref k = result == ERR_OK ? json_first(&m->row, 0) : JSON_NONE;
         k != JSON_NONE; k = json_next(&m->row, 0, k))
        keys[i++] = key_value(&m->arena, &m->row, k);
    for (i = 0; i < s->aggregate_count; i++)
        results[i] = aggregate_result(&group->aggregates[i]);
    *e = (struct eval){.arena = &m->arena,
                       .text = m->query->text,
                       .aggregates = results,
                       .keys = keys,
                       .result = result};
    struct value v = eval_item(e, s);
    eval_check_limits(e);
    result = e->result;
    mem_free(e);
    if (result != ERR_OK || v.type == VALUE_UNDEFINED)
        return result;
    buf_clear(&m->scratch);
    buf_clear(&m->identity);
    json_writer_init(&w, &m->scratch);
    value_write(&m->arena, &v, &w);
    result = json_writer_end(&w);
    if (result == ERR_OK && m->shape.distinct)
        result = value_encode(&m->arena, &v, &m->identity);
    if (result == ERR_OK)
        result = rowset_add(&m->rowset, group->key, contents(&m->identity),
                            contents(&m->scratch));
    return result;
}

static int finish_groups(struct query_merge *m)
{
    struct group *group;
    int result = ERR_OK;
    if (m->query->select->group_count == 0)
        result =
            groups_find(&m->groups, bytes_str(""), bytes_str("[]"), &group);
    for (group = m->groups.table; group != NULL && result == ERR_OK;
         group = group->hh.next)
        result = finish_group(m, group);
    return result;
}

/* The token behind the last row of the page. */
static int write_token(struct query_merge *m, const struct row *last,
                       uint32_t count, struct buf *token)
{
    struct request next;
    int result = ERR_OK;
    bool by_key = m->shape.kind == QUERY_ORDERED && !m->shape.distinct &&
                  last->key_len <= TOKEN_KEY_MAX;
    request_init(&next);
    next.delivered = m->request.delivered + count;
    if (by_key)
        result = buf_append(&next.after, row_key(last).data, last->key_len);
    if (result == ERR_OK)
        result = request_write(&next, m->query, token);
    request_free(&next);
    return result;
}

int query_merge_finish(struct query_merge *m, struct buf *rows,
                       uint32_t *count_out, struct buf *token_out)
{
    size_t before = buf_len(rows);
    uint32_t count = 0;
    uint64_t at = m->skip;
    int result = ERR_OK;
    if (m->shape.kind == QUERY_AGGREGATE)
        result = finish_groups(m);
    if (result == ERR_OK)
        result = rowset_settle(&m->rowset);
    for (; result == ERR_OK && at < m->rowset.count && count < m->rows_max &&
           count < m->remaining;
         at++) {
        struct bytes text = row_text(&m->rowset.rows[at]);
        if (count > 0 && buf_len(rows) - before + text.len >= m->bytes_max)
            break;
        result = query_rows_append(rows, text);
        count++;
    }
    bool more = at < m->rowset.count && count < m->remaining && count > 0;
    if (result == ERR_OK && more)
        result = write_token(m, &m->rowset.rows[at - 1], count, token_out);
    if (result != ERR_OK) {
        buf_truncate(rows, before);
        return result;
    }
    *count_out = count;
    return ERR_OK;
}
