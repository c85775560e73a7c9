/* Compiling, and what can be said about a compiled query. */
#include "node/query/query.h"

#include <stdlib.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/hash.h"
#include "node/base/mem.h"
#include "node/base/text.h"
#include "node/query/ast.h"

/* Memory of one compiled query. */
#define COMPILED_MAX (64u * 1024 * 1024)

int query_error_json(const struct query_error *error, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_write_object_begin(&w);
    json_write_key(&w, "errors");
    json_write_array_begin(&w);
    json_write_object_begin(&w);
    json_write_member_str(&w, "severity", "Error");
    if (error->end > 0) {
        json_write_key(&w, "location");
        json_write_object_begin(&w);
        json_write_member_int64(&w, "start", error->start);
        json_write_member_int64(&w, "end", error->end);
        json_write_object_end(&w);
    }
    if (error->code[0] != '\0')
        json_write_member_str(&w, "code", error->code);
    json_write_member_str(&w, "message", error->text);
    json_write_object_end(&w);
    json_write_array_end(&w);
    json_write_object_end(&w);
    return json_writer_end(&w);
}

/* -- parameters
 * ------------------------------------------------------------------ */

static int fail(struct query_error *error, int result, const char *text)
{
    return query_fail(error, result, "", bytes_str(""), 0, 0, "%s", text);
}

/* [{"name":"@x","value":..},..] */
static bool are_parameters(const struct json *j)
{
    if (json_type(j, 0) != JSON_ARRAY)
        return false;
    for (json_ref p = json_first(j, 0); p != JSON_NONE;
         p = json_next(j, 0, p)) {
        json_ref name = json_get_str(j, p, "name");
        if (name == JSON_NONE || json_type(j, name) != JSON_STRING)
            return false;
    }
    return true;
}

/* Keeps a copy without white space and equal keys, because values are written
 * out as they stand. */
static int load_parameters(struct query *q, struct bytes text,
                           struct query_error *error)
{
    struct json given;
    struct json_writer w;
    struct json_error reason;
    if (text.len == 0 || bytes_equal(text, bytes_str("null")))
        return ERR_OK;
    json_init(&given);
    int result = json_parse(&given, text, QUERY_PARAMETERS_MAX, &reason);
    if (result == ERR_MALFORMED || result == ERR_LIMIT) {
        result =
            query_fail(error, result == ERR_LIMIT ? result : ERR_INVALID, "",
                       bytes_str(""), 0, 0,
                       "The query parameters are not valid: %s.", reason.text);
    } else if (result == ERR_OK) {
        json_writer_init(&w, &q->parameters_text);
        json_write_value(&w, &given, 0);
        result = json_writer_end(&w);
    }
    json_free(&given);
    if (result != ERR_OK)
        return result;
    struct bytes clean =
        bytes_of(buf_bytes(&q->parameters_text), buf_len(&q->parameters_text));
    result = json_parse(&q->parameters, clean, clean.len, NULL);
    if (result == ERR_OK && !are_parameters(&q->parameters))
        result = fail(error, ERR_INVALID,
                      "The query parameters must be an array of objects with a "
                      "name and a value.");
    return result;
}

/* -- compiling
 * --------------------------------------------------------------------- */

static int compile(struct query *q, struct bytes text, struct bytes parameters,
                   struct query_error *error)
{
    if (text.len > QUERY_TEXT_MAX)
        return fail(error, ERR_LIMIT,
                    "The query text is longer than 262144 bytes.");
    if (!text_is_utf8(text))
        return fail(error, ERR_INVALID, "The query text is not valid UTF-8.");
    q->text = arena_copy(&q->arena, text);
    int result = load_parameters(q, parameters, error);
    if (result == ERR_OK)
        result = query_parse(q, error);
    if (result == ERR_OK)
        result = query_bind(q, error);
    uint32_t hash = hash_murmur3_32(q->text.data, q->text.len, 0);
    q->signature = hash_murmur3_32(buf_bytes(&q->parameters_text),
                                   buf_len(&q->parameters_text), hash);
    return result;
}

int query_compile(struct bytes text, struct bytes parameters,
                  struct query **query_out, struct query_error *error)
{
    struct query *q = mem_zalloc(sizeof(*q));
    memset(error, 0, sizeof(*error));
    arena_init(&q->arena, COMPILED_MAX);
    buf_init(&q->parameters_text, QUERY_PARAMETERS_MAX);
    json_init(&q->parameters);
    int result = compile(q, text, parameters, error);
    if (result != ERR_OK && q->arena.starved)
        result = ERR_NO_MEMORY; /* it is not too large */
    if (result != ERR_OK) {
        if (error->text[0] == '\0')
            fail(error, result, err_text(result));
        query_free(q);
        return result;
    }
    *query_out = q;
    return ERR_OK;
}

void query_free(struct query *q)
{
    if (q == NULL)
        return;
    json_free(&q->parameters);
    buf_free(&q->parameters_text);
    arena_free(&q->arena);
    mem_free(q);
}

/* -- shape
 * -----------------------------------------------------------------------------
 */

/* Whether an alias is the whole document. */
static bool is_document(const struct source *f)
{
    return f != NULL && f->kind == SOURCE_PATH && f->path->kind == EXPR_SLOT &&
           f->path->slot == SLOT_DOCUMENT;
}

struct query_shape query_shape(const struct query *q)
{
    const struct select *s = q->select;
    bool whole = s->source_count == 1 && is_document(s->sources);
    bool gathered = s->order_count > 0 || s->distinct;
    return (struct query_shape){
        .kind = s->aggregated ? QUERY_AGGREGATE
                : gathered    ? QUERY_ORDERED
                              : QUERY_STREAM,
        .select_star = s->star && whole,
        .match_all = whole && s->where == NULL,
        .no_document = !q->uses_document,
        .distinct = s->distinct,
        .select_value = s->value,
        .order_count = s->order_count,
        .offset = s->offset_rows,
        .limit = s->limit_rows,
    };
}

enum query_window_step query_window_take(const struct query_shape *shape,
                                         struct query_window *window)
{
    if (query_window_done(shape, window))
        return QUERY_WINDOW_STOP;
    if (window->skipped < shape->offset) {
        window->skipped++;
        return QUERY_WINDOW_DROP;
    }
    window->delivered++;
    return QUERY_WINDOW_TAKE;
}

bool query_window_done(const struct query_shape *shape,
                       const struct query_window *window)
{
    return window->delivered >= shape->limit;
}

/* -- partition key
 * ------------------------------------------------------------------------ */

/* Whether `x` is the property of the document that `path` names. The last
 * segment is the outermost member, so the path is matched on the way back. */
static bool is_path(const struct select *s, const struct expr *x,
                    struct bytes *path, struct buf *scratch)
{
    struct bytes segment;
    if (x->kind == EXPR_SLOT) {
        for (const struct source *f = s->sources; f != NULL; f = f->next)
            if (f->slot == x->slot)
                return is_document(f);
        return false;
    }
    return x->kind == EXPR_MEMBER && is_path(s, x->args, path, scratch) &&
           json_path_segment(path, scratch, &segment) == ERR_OK &&
           bytes_equal(segment, x->name);
}

/* The constant that `path` must equal for the conjunction `x` to be true. */
static const struct value *demanded(const struct select *s,
                                    const struct expr *x, struct bytes path)
{
    const struct value *found = NULL;
    if (x->kind == EXPR_AND) {
        for (const struct expr *arg = x->args; arg != NULL && found == NULL;
             arg = arg->next)
            found = demanded(s, arg, path);
        return found;
    }
    if (x->kind != EXPR_BINARY || x->op != OP_EQUAL)
        return NULL;
    const struct expr *left = x->args, *right = x->args->next;
    if (left->kind == EXPR_CONSTANT) {
        const struct expr *swap = left;
        left = right;
        right = swap;
    }
    if (right->kind != EXPR_CONSTANT || right->value.type < VALUE_NULL ||
        right->value.type > VALUE_STRING)
        return NULL;
    struct buf scratch;
    buf_init(&scratch, path.len + 1);
    if (is_path(s, left, &path, &scratch) && path.len == 0)
        found = &right->value;
    buf_free(&scratch);
    return found;
}

int query_point(const struct query *q, const struct bytes *paths, size_t count,
                struct buf *out)
{
    size_t before = buf_len(out);
    struct json_writer w;
    CHECK(count > 0);
    json_writer_init(&w, out);
    json_write_array_begin(&w);
    for (size_t i = 0; i < count; i++) {
        const struct value *v = NULL;
        if (q->select->where != NULL)
            v = demanded(q->select, q->select->where, paths[i]);
        if (v == NULL) {
            buf_truncate(out, before);
            return ERR_NOT_FOUND;
        }
        value_write(NULL, v, &w);
    }
    json_write_array_end(&w);
    int result = json_writer_end(&w);
    if (result != ERR_OK)
        buf_truncate(out, before);
    return result;
}
