#include "node/query/aggregate.h"

#include <math.h>

#include "node/base/check.h"
#include "node/base/err.h"

void aggregate_init(struct aggregate *a, enum aggregate_kind kind)
{
    *a = (struct aggregate){.kind = kind, .best = value_undefined()};
    buf_init(&a->text, QUERY_ROW_MAX);
}

void aggregate_free(struct aggregate *a)
{
    buf_free(&a->text);
}

static void add_number(struct aggregate *a, double sum, uint64_t count)
{
    a->sum += sum;
    a->count += count;
    a->spoiled |= !isfinite(a->sum);
}

/* In the order of types: any null before any boolean, and so on. */
static bool is_better(const struct aggregate *a, const struct value *v)
{
    const struct value *best = &a->best;
    int order = 0;
    if (best->type == VALUE_UNDEFINED)
        return true;
    if (v->type != best->type)
        order = v->type < best->type ? -1 : 1;
    else
        CHECK(value_ordered(v, best, &order));
    return a->kind == AGGREGATE_MIN ? order < 0 : order > 0;
}

static int take_best(struct aggregate *a, const struct value *v)
{
    if (v->type == VALUE_ARRAY || v->type == VALUE_OBJECT) {
        a->spoiled = true;
        return ERR_OK;
    }
    if (!is_better(a, v))
        return ERR_OK;
    a->best = *v;
    a->best.doc = NULL; /* the document will be gone */
    if (v->type != VALUE_STRING)
        return ERR_OK;
    buf_clear(&a->text);
    int result = buf_append(&a->text, v->text.data, v->text.len);
    a->best.text = bytes_of(buf_bytes(&a->text), buf_len(&a->text));
    return result;
}

int aggregate_add(struct aggregate *a, const struct value *v)
{
    if (v->type == VALUE_UNDEFINED)
        return ERR_OK;
    switch (a->kind) {
    case AGGREGATE_COUNT:
        a->count++;
        return ERR_OK;
    case AGGREGATE_COUNTIF:
        a->count += value_is_true(v);
        return ERR_OK;
    case AGGREGATE_SUM:
    case AGGREGATE_AVG:
        if (v->type == VALUE_NUMBER)
            add_number(a, v->number, 1);
        else
            a->spoiled = true;
        return ERR_OK;
    case AGGREGATE_MIN:
    case AGGREGATE_MAX:
        return take_best(a, v);
    default:
        CHECK_UNREACHABLE();
    }
}

struct value aggregate_result(const struct aggregate *a)
{
    if (a->spoiled)
        return value_undefined();
    switch (a->kind) {
    case AGGREGATE_COUNT:
    case AGGREGATE_COUNTIF:
        return value_number((double)a->count);
    case AGGREGATE_SUM:
        return value_number(a->sum);
    case AGGREGATE_AVG:
        return a->count > 0 ? value_number(a->sum / (double)a->count)
                            : value_undefined();
    case AGGREGATE_MIN:
    case AGGREGATE_MAX:
        return a->best;
    default:
        CHECK_UNREACHABLE();
    }
}

/* `null` when spoiled, else [count, sum] or [count, sum, best]. */
void aggregate_write(const struct aggregate *a, struct json_writer *w)
{
    if (a->spoiled) {
        json_write_null(w);
        return;
    }
    json_write_array_begin(w);
    json_write_uint64(w, a->count);
    json_write_number(w, a->sum);
    if (a->best.type != VALUE_UNDEFINED)
        value_write(NULL, &a->best, w);
    json_write_array_end(w);
}

int aggregate_merge(struct aggregate *a, struct arena *arena,
                    const struct json *j, json_ref ref)
{
    int64_t count;
    if (json_type(j, ref) == JSON_NULL) {
        a->spoiled = true;
        return ERR_OK;
    }
    json_ref first = json_at(j, ref, 0), sum = json_at(j, ref, 1);
    if (sum == JSON_NONE || json_type(j, first) != JSON_NUMBER ||
        json_type(j, sum) != JSON_NUMBER ||
        json_int64(j, first, &count) != ERR_OK || count < 0)
        return ERR_MALFORMED;
    add_number(a, json_number(j, sum), (uint64_t)count);
    json_ref best = json_at(j, ref, 2);
    if (best == JSON_NONE)
        return ERR_OK;
    if (a->kind != AGGREGATE_MIN && a->kind != AGGREGATE_MAX)
        return ERR_MALFORMED;
    struct value v = value_of_json(arena, j, best);
    return take_best(a, &v);
}
