/* Gives names their meaning. After a failure b->result is set and the walk
 * ends. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/text.h"
#include "node/query/ast.h"
#include "node/query/function.h"

/* Properties of one object literal or SELECT list. */
#define LABELS_MAX 1000

struct binder {
    struct query *query;
    struct query_error *error;
    int result;
    struct select *select; /* the one being bound */
    bool in_aggregate;
    const char *clause; /* where aggregates are not allowed, else NULL */
};

static void bind_expr(struct binder *b, struct expr *x);
static void bind_select(struct binder *b, struct select *s);

/* -- errors -------------------------------------------------------------------
 */

/* UTF-16 units of the first `len` bytes. */
static uint32_t utf16_offset(struct bytes text, uint32_t len)
{
    uint32_t units = 0;
    for (uint32_t i = 0; i < len && i < text.len; i++) {
        uint8_t c = text.data[i];
        units += (c & 0xc0) != 0x80;
        units += c >= 0xf0;
    }
    return units;
}

int query_fail(struct query_error *error, int result, const char *code,
               struct bytes text, uint32_t start, uint32_t end,
               const char *format, ...)
{
    va_list args;
    if (error == NULL)
        return result;
    snprintf(error->code, sizeof(error->code), "%s", code);
    error->start = utf16_offset(text, start);
    error->end = utf16_offset(text, end);
    va_start(args, format);
    vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    return result;
}

/* `format` takes one string: the expression's name. */
static void fail(struct binder *b, int result, const char *code,
                 const struct expr *x, struct bytes name, const char *format)
{
    char text[80];
    if (b->result != ERR_OK)
        return;
    snprintf(text, sizeof(text), "%.*s", (int)name.len,
             (const char *)name.data);
    b->result = result;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-extra-args"
    query_fail(b->error, result, code, b->query->text, x->start, x->end, format,
               text);
#pragma GCC diagnostic pop
}

static void fail_clause(struct binder *b, int result, const char *code,
                        uint32_t start, uint32_t end, const char *text)
{
    if (b->result == ERR_OK)
        b->result = query_fail(b->error, result, code, b->query->text, start,
                               end, "%s", text);
}

/* -- names
 * ---------------------------------------------------------------------- */

static const struct source *find_source(const struct select *s,
                                        struct bytes name)
{
    for (; s != NULL; s = s->outer)
        for (const struct source *f = s->sources; f != NULL; f = f->next)
            if (f->slot != 0 && bytes_equal(f->alias, name))
                return f;
    return NULL;
}

static void bind_name(struct binder *b, struct expr *x)
{
    const struct source *source = find_source(b->select, x->name);
    if (source == NULL) {
        fail(b, ERR_INVALID, "SC2001", x, x->name,
             "Identifier '%s' could not be resolved.");
        return;
    }
    x->kind = EXPR_SLOT;
    x->slot = source->slot;
}

/* Parameters were checked to be objects with a name (query_compile). */
static void bind_parameter(struct binder *b, struct expr *x)
{
    const struct json *j = &b->query->parameters;
    for (json_ref p = j->count > 0 ? json_first(j, 0) : JSON_NONE;
         p != JSON_NONE; p = json_next(j, 0, p)) {
        if (!json_string_equal(j, json_get_str(j, p, "name"), x->name))
            continue;
        x->kind = EXPR_CONSTANT;
        x->value =
            value_of_json(&b->query->arena, j, json_get_str(j, p, "value"));
        return;
    }
    fail(b, ERR_INVALID, "SC2001", x, x->name,
         "Identifier '%s' could not be resolved.");
}

/* -- calls
 * ----------------------------------------------------------------------- */

static bool find_aggregate(struct bytes name, enum aggregate_kind *kind_out)
{
    static const char *const names[AGGREGATE_KIND_COUNT] = {
        "COUNT", "COUNTIF", "SUM", "AVG", "MIN", "MAX"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (text_equal_nocase(name, names[i])) {
            *kind_out = (enum aggregate_kind)i;
            return true;
        }
    return false;
}

static void check_count(struct binder *b, const struct expr *x, uint32_t min,
                        uint32_t max)
{
    char format[80];
    if (x->count >= min && x->count <= max)
        return;
    if (min == max)
        snprintf(format, sizeof(format),
                 "The %%s function requires %u argument(s).", min);
    else if (max == FUNCTION_ANY_COUNT)
        snprintf(format, sizeof(format),
                 "The %%s function requires at least %u argument(s).", min);
    else
        snprintf(format, sizeof(format),
                 "The %%s function requires %u to %u argument(s).", min, max);
    fail(b, ERR_INVALID, "SC2050", x, x->name, format);
}

static void bind_aggregate(struct binder *b, struct expr *x,
                           enum aggregate_kind kind)
{
    struct select *s = b->select;
    struct expr **link = &s->aggregates;
    if (b->in_aggregate)
        fail(b, ERR_INVALID, "SC2101", x, x->name,
             "The aggregate function %s cannot be used inside another "
             "aggregate.");
    if (b->clause != NULL)
        fail(b, ERR_INVALID, "", x, bytes_str(b->clause),
             "Aggregate functions are not allowed in the %s clause.");
    if (s->aggregate_count == QUERY_AGGREGATE_MAX)
        fail(b, ERR_LIMIT, "", x, x->name,
             "The query has too many aggregates (at %s).");
    check_count(b, x, 1, 1);
    if (b->result != ERR_OK)
        return;
    while (*link != NULL)
        link = &(*link)->aggregates;
    *link = x;
    x->kind = EXPR_AGGREGATE;
    x->aggregate = kind;
    x->index = s->aggregate_count++;
    b->in_aggregate = true;
    bind_expr(b, x->args);
    b->in_aggregate = false;
}

static void bind_call(struct binder *b, struct expr *x)
{
    enum aggregate_kind kind;
    if (find_aggregate(x->name, &kind)) {
        bind_aggregate(b, x, kind);
        return;
    }
    x->function = function_find(x->name);
    if (x->function == NULL) {
        if (function_is_known(x->name))
            fail(b, ERR_UNSUPPORTED, "SC2005", x, x->name,
                 "The built-in function '%s' is not supported.");
        else
            fail(b, ERR_INVALID, "SC2005", x, x->name,
                 "'%s' is not a recognized built-in function name.");
        return;
    }
    check_count(b, x, x->function->min, x->function->max);
    for (struct expr *arg = x->args; arg != NULL; arg = arg->next)
        bind_expr(b, arg);
}

/* -- expressions
 * ------------------------------------------------------------------- */

/* c[@p] with a string is c.name; so that paths look the same everywhere. */
static void simplify_index(struct expr *x)
{
    const struct expr *index = x->args->next;
    if (index->kind != EXPR_CONSTANT || index->value.type != VALUE_STRING)
        return;
    x->kind = EXPR_MEMBER;
    x->name = index->value.text;
    x->args->next = NULL;
    x->count = 1;
}

/* -5 is a constant like 5. */
static void simplify_minus(struct expr *x)
{
    const struct expr *operand = x->args;
    if (x->op != OP_MINUS || operand->kind != EXPR_CONSTANT ||
        operand->value.type != VALUE_NUMBER)
        return;
    x->kind = EXPR_CONSTANT;
    x->value = value_number(-operand->value.number);
}

static void check_labels(struct binder *b, const struct expr *list,
                         uint32_t count)
{
    if (count > LABELS_MAX) {
        fail(b, ERR_LIMIT, "", list, list->label,
             "There are too many properties (first '%s').");
        return;
    }
    for (const struct expr *x = list; x != NULL; x = x->next)
        for (const struct expr *y = list; y != x; y = y->next)
            if (bytes_equal(x->label, y->label)) {
                fail(b, ERR_INVALID, "", x, x->label,
                     "The property '%s' is given more than once.");
                return;
            }
}

static void bind_nested_select(struct binder *b, struct select *s)
{
    const struct binder saved = *b;
    b->in_aggregate = false;
    b->clause = NULL;
    bind_select(b, s);
    b->select = saved.select;
    b->in_aggregate = saved.in_aggregate;
    b->clause = saved.clause;
}

static void bind_expr(struct binder *b, struct expr *x)
{
    if (b->result != ERR_OK)
        return;
    switch (x->kind) {
    case EXPR_NAME:
        bind_name(b, x);
        return;
    case EXPR_PARAMETER:
        bind_parameter(b, x);
        return;
    case EXPR_CALL:
        bind_call(b, x);
        return;
    case EXPR_SUBQUERY:
    case EXPR_EXISTS:
    case EXPR_SUBARRAY:
        bind_nested_select(b, x->select);
        return;
    default:
        break;
    }
    for (struct expr *arg = x->args; arg != NULL; arg = arg->next)
        bind_expr(b, arg);
    if (b->result != ERR_OK)
        return;
    if (x->kind == EXPR_INDEX)
        simplify_index(x);
    else if (x->kind == EXPR_UNARY)
        simplify_minus(x);
    else if (x->kind == EXPR_OBJECT)
        check_labels(b, x->args, x->count);
}

/* Whether two expressions are the same apart from where they stand. */
static bool expr_same(struct arena *arena, const struct expr *a,
                      const struct expr *b)
{
    if (a->kind != b->kind || a->op != b->op || a->count != b->count ||
        a->slot != b->slot || a->select != b->select ||
        a->function != b->function)
        return false;
    if (a->kind == EXPR_CONSTANT)
        return value_equal(arena, &a->value, &b->value);
    if (a->kind == EXPR_MEMBER && !bytes_equal(a->name, b->name))
        return false;
    const struct expr *x = a->args, *y = b->args;
    for (; x != NULL && y != NULL; x = x->next, y = y->next) {
        bool labelled = a->kind == EXPR_OBJECT;
        if ((labelled && !bytes_equal(x->label, y->label)) ||
            !expr_same(arena, x, y))
            return false;
    }
    return x == NULL && y == NULL;
}

/* -- FROM
 * ----------------------------------------------------------------------------
 */

/* The name a path begins with, NULL when it is no path. */
static struct expr *path_base(struct expr *x)
{
    while (x->kind == EXPR_MEMBER || x->kind == EXPR_INDEX)
        x = x->args;
    return x->kind == EXPR_NAME ? x : NULL;
}

static bool any_alias(const struct select *s)
{
    for (; s != NULL; s = s->outer)
        for (const struct source *f = s->sources; f != NULL; f = f->next)
            if (f->slot != 0)
                return true;
    return false;
}

/* Until an alias exists, any name in FROM is the container's. */
static void bind_source_path(struct binder *b, struct source *f)
{
    struct expr *base = path_base(f->path);
    if (f->alias.len == 0 &&
        (f->path->kind == EXPR_NAME || f->path->kind == EXPR_MEMBER))
        f->alias = f->path->name;
    if (base != NULL && !any_alias(b->select)) {
        base->kind = EXPR_SLOT;
        base->slot = SLOT_DOCUMENT;
        b->query->uses_document = true;
    }
    bind_expr(b, f->path);
}

static void bind_source(struct binder *b, struct source *f)
{
    b->clause = "FROM";
    if (f->kind == SOURCE_SUBQUERY)
        bind_nested_select(b, f->select);
    else
        bind_source_path(b, f);
    b->clause = NULL;
    for (const struct source *g = b->select->sources; g != f; g = g->next)
        if (f->alias.len > 0 && bytes_equal(g->alias, f->alias))
            fail_clause(b, ERR_INVALID, "", f->start, f->end,
                        "The alias is given more than once in FROM.");
    if (b->query->slot_count == SLOT_MAX)
        fail_clause(b, ERR_LIMIT, "", f->start, f->end,
                    "The query has too many aliases.");
    if (b->result == ERR_OK)
        f->slot = b->query->slot_count++;
}

/* -- SELECT, ORDER BY, GROUP BY
 * ---------------------------------------------------------- */

/* Items without a name get that of the property, or $1, $2 and so on. */
static void label_items(struct binder *b, struct select *s)
{
    unsigned unnamed = 0;
    for (struct expr *x = s->items; x != NULL; x = x->next) {
        if (x->label.len > 0)
            continue;
        if (x->kind == EXPR_NAME || x->kind == EXPR_MEMBER) {
            x->label = x->name;
            continue;
        }
        char text[16];
        int len = snprintf(text, sizeof(text), "$%u", ++unnamed);
        x->label = arena_copy(&b->query->arena, bytes_of(text, (size_t)len));
    }
}

static bool own_slot(const struct select *s, uint32_t slot)
{
    for (const struct source *f = s->sources; f != NULL; f = f->next)
        if (f->slot == slot)
            return true;
    return false;
}

/* What remains after grouping: aggregates, group keys and constants. */
static void check_grouped(struct binder *b, struct select *s, struct expr *x)
{
    uint32_t index = 0;
    if (b->result != ERR_OK || x->kind == EXPR_AGGREGATE)
        return;
    for (const struct expr *key = s->group; key != NULL; key = key->next) {
        if (expr_same(&b->query->arena, key, x)) {
            x->kind = EXPR_GROUP_KEY;
            x->index = index;
            return;
        }
        index++;
    }
    if (x->kind == EXPR_SLOT && own_slot(s, x->slot))
        fail(b, ERR_INVALID, "SC2102", x, x->name,
             "Property reference is invalid: '%s' is neither inside an "
             "aggregate nor listed in GROUP BY.");
    if (x->select != NULL)
        fail(b, ERR_UNSUPPORTED, "", x, x->name,
             "A subquery%s beside aggregates is not supported.");
    for (struct expr *arg = x->args; arg != NULL; arg = arg->next)
        check_grouped(b, s, arg);
}

static void check_star(struct binder *b, const struct select *s)
{
    if (s->group_count > 0)
        fail_clause(b, ERR_INVALID, "SC2041", s->start, s->end,
                    "'SELECT *' is not valid with GROUP BY clause.");
    else if (s->source_count == 0)
        fail_clause(b, ERR_INVALID, "", s->start, s->end,
                    "'SELECT *' is not valid if FROM clause is omitted.");
    else if (s->source_count > 1)
        fail_clause(b, ERR_INVALID, "", s->start, s->end,
                    "'SELECT *' is only valid with a single input set.");
}

static void bind_items(struct binder *b, struct select *s)
{
    if (s->star) {
        check_star(b, s);
        return;
    }
    if (!s->value) {
        label_items(b, s);
        check_labels(b, s->items, s->item_count);
    }
    for (struct expr *x = s->items; x != NULL; x = x->next)
        bind_expr(b, x);
    s->aggregated = s->aggregate_count > 0 || s->group_count > 0;
    if (!s->aggregated)
        return;
    for (struct expr *x = s->items; x != NULL; x = x->next)
        check_grouped(b, s, x);
}

static void bind_order(struct binder *b, struct select *s)
{
    b->clause = "ORDER BY";
    if (s->order != NULL && s->group != NULL)
        fail_clause(b, ERR_UNSUPPORTED, "", s->order->start, s->order->end,
                    "ORDER BY cannot be combined with GROUP BY.");
    for (struct expr *x = s->order; x != NULL; x = x->next) {
        const struct expr *base = x;
        bind_expr(b, x);
        while (base->kind == EXPR_MEMBER ||
               (base->kind == EXPR_INDEX &&
                base->args->next->kind == EXPR_CONSTANT))
            base = base->args;
        if (base->kind != EXPR_SLOT)
            fail(b, ERR_INVALID, "2206", x, bytes_str("ORDER BY"),
                 "Unsupported %s clause. ORDER BY item expression could not "
                 "be mapped to a document path.");
    }
    b->clause = NULL;
}

/* TOP, OFFSET, LIMIT: a whole number that fits 31 bits. */
static uint64_t bind_row_count(struct binder *b, struct expr *x,
                               const char *code, const char *name,
                               uint64_t otherwise)
{
    if (x == NULL || b->result != ERR_OK)
        return otherwise;
    bind_expr(b, x);
    if (b->result != ERR_OK)
        return otherwise;
    double n = x->value.type == VALUE_NUMBER ? x->value.number : -1;
    if (x->kind == EXPR_CONSTANT && n >= 0 && n <= INT32_MAX && floor(n) == n)
        return (uint64_t)n;
    fail(b, ERR_INVALID, code, x, bytes_str(name),
         "The %s value must be a whole number from 0 to 2147483647.");
    return otherwise;
}

static void bind_window(struct binder *b, struct select *s)
{
    uint64_t top = bind_row_count(b, s->top, "SC2060", "TOP", UINT64_MAX);
    uint64_t limit = bind_row_count(b, s->limit, "SC2061", "LIMIT", UINT64_MAX);
    s->offset_rows = bind_row_count(b, s->offset, "SC2062", "OFFSET", 0);
    s->limit_rows = top < limit ? top : limit;
    if (s->top != NULL && s->limit != NULL)
        fail_clause(b, ERR_INVALID, "", s->top->start, s->top->end,
                    "TOP cannot be combined with OFFSET and LIMIT.");
}

/* What subqueries cannot do yet. */
static void check_subquery(struct binder *b, const struct select *s)
{
    const char *what = s->distinct         ? "DISTINCT"
                       : s->group != NULL  ? "GROUP BY"
                       : s->order != NULL  ? "ORDER BY"
                       : s->top != NULL    ? "TOP"
                       : s->offset != NULL ? "OFFSET"
                                           : NULL;
    char text[80];
    if (what == NULL || s->outer == NULL)
        return;
    snprintf(text, sizeof(text), "%s in a subquery is not supported.", what);
    fail_clause(b, ERR_UNSUPPORTED, "", s->start, s->end, text);
}

static void bind_select(struct binder *b, struct select *s)
{
    b->select = s;
    check_subquery(b, s);
    for (struct source *f = s->sources; f != NULL && b->result == ERR_OK;
         f = f->next)
        bind_source(b, f);
    if (s->where != NULL) {
        b->clause = "WHERE";
        bind_expr(b, s->where);
    }
    b->clause = "GROUP BY";
    for (struct expr *x = s->group; x != NULL; x = x->next)
        bind_expr(b, x);
    b->clause = NULL;
    if (b->result == ERR_OK)
        bind_items(b, s);
    bind_order(b, s);
    bind_window(b, s);
}

int query_bind(struct query *q, struct query_error *error)
{
    struct binder b = {.query = q, .error = error};
    q->slot_count = SLOT_DOCUMENT + 1;
    bind_select(&b, q->select);
    if (b.result == ERR_OK && q->arena.failed)
        b.result = query_fail(error, ERR_LIMIT, "", q->text, 0, 0,
                              "The query is too large to compile.");
    return b.result;
}
