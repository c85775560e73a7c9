#include "node/query/eval.h"

#include <math.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/query/aggregate.h"
#include "node/query/function.h"

void eval_check_limits(struct eval *e)
{
    if (e->result != ERR_OK)
        return;
    if (e->arena->starved)
        e->result = ERR_NO_MEMORY;
    else if (e->arena->failed)
        e->result =
            query_fail(e->error, ERR_LIMIT, "", e->text, 0, 0,
                       "The query needs too much memory for one document.");
    else if (e->steps > QUERY_STEPS_MAX)
        e->result = query_fail(e->error, ERR_LIMIT, "", e->text, 0, 0,
                               "The query needs too many steps for one "
                               "document.");
}

static bool is_exhausted(const struct eval *e)
{
    return e->result != ERR_OK || e->arena->failed ||
           e->steps > QUERY_STEPS_MAX;
}

/* What looking at the whole of a value costs, beyond the step for its node. */
static uint64_t cost_of(const struct value *v)
{
    switch (v->type) {
    case VALUE_STRING:
        return v->text.len / 64;
    case VALUE_ARRAY:
    case VALUE_OBJECT:
        return v->doc != NULL ? json_raw(v->doc, v->ref).len / 16 : v->count;
    default:
        return 0;
    }
}

/* -- leaves and paths
 * ------------------------------------------------------------ */

static struct value eval_constant(struct eval *e, const struct expr *x)
{
    (void)e;
    return x->value;
}

static struct value eval_slot(struct eval *e, const struct expr *x)
{
    return e->slots[x->slot];
}

static struct value eval_aggregate(struct eval *e, const struct expr *x)
{
    CHECK(e->aggregates != NULL);
    return e->aggregates[x->index];
}

static struct value eval_group_key(struct eval *e, const struct expr *x)
{
    CHECK(e->keys != NULL);
    return e->keys[x->index];
}

static struct value eval_member(struct eval *e, const struct expr *x)
{
    struct value base = eval_expr(e, x->args);
    return value_get(e->arena, &base, x->name);
}

static struct value eval_index(struct eval *e, const struct expr *x)
{
    struct value base = eval_expr(e, x->args);
    struct value index = eval_expr(e, x->args->next);
    if (index.type == VALUE_STRING)
        return value_get(e->arena, &base, index.text);
    if (index.type != VALUE_NUMBER || index.number < 0 ||
        index.number >= UINT32_MAX || floor(index.number) != index.number)
        return value_undefined();
    return value_at(e->arena, &base, (uint32_t)index.number);
}

/* -- operators
 * -------------------------------------------------------------------- */

static struct value compare(enum op op, const struct value *a,
                            const struct value *b)
{
    int order;
    if (!value_ordered(a, b, &order))
        return value_undefined();
    switch (op) {
    case OP_LESS:
        return value_bool(order < 0);
    case OP_LESS_EQUAL:
        return value_bool(order <= 0);
    case OP_GREATER:
        return value_bool(order > 0);
    case OP_GREATER_EQUAL:
        return value_bool(order >= 0);
    default:
        CHECK_UNREACHABLE();
    }
}

/* ECMA-262 ToInt32: modulo 2^32. */
static int32_t to_int32(double number)
{
    double rest = fmod(trunc(number), 4294967296.0);
    return (int32_t)(uint32_t)(int64_t)rest;
}

static struct value arithmetic(enum op op, double a, double b)
{
    int32_t x = to_int32(a), y = to_int32(b);
    switch (op) {
    case OP_ADD:
        return value_number(a + b);
    case OP_SUBTRACT:
        return value_number(a - b);
    case OP_MULTIPLY:
        return value_number(a * b);
    case OP_DIVIDE:
        return value_number(a / b);
    case OP_MODULO:
        return value_number(fmod(a, b));
    case OP_BIT_OR:
        return value_number(x | y);
    case OP_BIT_XOR:
        return value_number(x ^ y);
    case OP_BIT_AND:
        return value_number(x & y);
    case OP_SHIFT_LEFT:
        return value_number((int32_t)((uint32_t)x << (y & 31)));
    case OP_SHIFT_RIGHT:
        return value_number(x >> (y & 31));
    case OP_SHIFT_RIGHT_ZERO:
        return value_number((uint32_t)x >> (y & 31));
    default:
        CHECK_UNREACHABLE();
    }
}

static struct value concat(struct eval *e, struct bytes a, struct bytes b)
{
    uint8_t *text = arena_alloc(e->arena, a.len + b.len);
    if (text == NULL)
        return value_undefined();
    if (a.len > 0)
        memcpy(text, a.data, a.len);
    if (b.len > 0)
        memcpy(text + a.len, b.data, b.len);
    return value_string(bytes_of(text, a.len + b.len));
}

static struct value eval_binary(struct eval *e, const struct expr *x)
{
    struct value a = eval_expr(e, x->args);
    struct value b = eval_expr(e, x->args->next);
    e->steps += cost_of(&a) + cost_of(&b);
    switch (x->op) {
    case OP_EQUAL:
        return value_equal_op(e->arena, &a, &b);
    case OP_NOT_EQUAL:
        a = value_equal_op(e->arena, &a, &b);
        return a.type == VALUE_BOOL ? value_bool(!a.boolean) : a;
    case OP_LESS:
    case OP_LESS_EQUAL:
    case OP_GREATER:
    case OP_GREATER_EQUAL:
        return compare(x->op, &a, &b);
    case OP_CONCAT:
        if (a.type != VALUE_STRING || b.type != VALUE_STRING)
            return value_undefined();
        return concat(e, a.text, b.text);
    default:
        if (a.type != VALUE_NUMBER || b.type != VALUE_NUMBER)
            return value_undefined();
        return arithmetic(x->op, a.number, b.number);
    }
}

static struct value eval_unary(struct eval *e, const struct expr *x)
{
    struct value a = eval_expr(e, x->args);
    if (a.type != VALUE_NUMBER)
        return value_undefined();
    switch (x->op) {
    case OP_MINUS:
        return value_number(-a.number);
    case OP_PLUS:
        return value_number(a.number);
    case OP_BIT_NOT:
        return value_number(~to_int32(a.number));
    default:
        CHECK_UNREACHABLE();
    }
}

/* -- logic: true, false, undefined (anything else)
 * --------------------------------- */

static struct value eval_not(struct eval *e, const struct expr *x)
{
    struct value a = eval_expr(e, x->args);
    return a.type == VALUE_BOOL ? value_bool(!a.boolean) : value_undefined();
}

/* AND is decided by the first false, OR by the first true; otherwise anything
 * that is not boolean makes the result undefined. */
static struct value chain(struct eval *e, const struct expr *x, bool decides)
{
    bool known = true;
    for (const struct expr *arg = x->args; arg != NULL; arg = arg->next) {
        struct value v = eval_expr(e, arg);
        if (v.type != VALUE_BOOL)
            known = false;
        else if (v.boolean == decides)
            return value_bool(decides);
    }
    return known ? value_bool(!decides) : value_undefined();
}

static struct value eval_and(struct eval *e, const struct expr *x)
{
    return chain(e, x, false);
}

static struct value eval_or(struct eval *e, const struct expr *x)
{
    return chain(e, x, true);
}

/* The same as `needle = item OR ..`. */
static struct value eval_in(struct eval *e, const struct expr *x)
{
    struct value needle = eval_expr(e, x->args);
    bool known = true;
    if (needle.type == VALUE_UNDEFINED)
        return value_undefined();
    for (const struct expr *item = x->args->next; item != NULL;
         item = item->next) {
        struct value v = eval_expr(e, item);
        e->steps += cost_of(&v);
        struct value equal = value_equal_op(e->arena, &needle, &v);
        if (value_is_true(&equal))
            return equal;
        known &= equal.type == VALUE_BOOL;
    }
    return known ? value_bool(false) : value_undefined();
}

/* The same as `value >= low AND value <= high`. */
static struct value eval_between(struct eval *e, const struct expr *x)
{
    struct value v = eval_expr(e, x->args);
    struct value low = eval_expr(e, x->args->next);
    struct value high = eval_expr(e, x->args->next->next);
    low = compare(OP_GREATER_EQUAL, &v, &low);
    high = compare(OP_LESS_EQUAL, &v, &high);
    if ((low.type == VALUE_BOOL && !low.boolean) ||
        (high.type == VALUE_BOOL && !high.boolean))
        return value_bool(false);
    bool known = low.type == VALUE_BOOL && high.type == VALUE_BOOL;
    return known ? value_bool(true) : value_undefined();
}

static struct value eval_like(struct eval *e, const struct expr *x)
{
    struct value v[3] = {[2] = value_string(bytes_str(""))};
    int i = 0;
    for (const struct expr *arg = x->args; arg != NULL; arg = arg->next)
        v[i++] = eval_expr(e, arg);
    for (i = 0; i < 3; i++)
        if (v[i].type != VALUE_STRING)
            return value_undefined();
    if (is_exhausted(e))
        return value_undefined();
    return value_bool(like_match(v[0].text, v[1].text, v[2].text,
                                 QUERY_STEPS_MAX, &e->steps));
}

static struct value eval_coalesce(struct eval *e, const struct expr *x)
{
    struct value left = eval_expr(e, x->args);
    return left.type != VALUE_UNDEFINED ? left : eval_expr(e, x->args->next);
}

static struct value eval_conditional(struct eval *e, const struct expr *x)
{
    struct value condition = eval_expr(e, x->args);
    const struct expr *then = x->args->next;
    return eval_expr(e, value_is_true(&condition) ? then : then->next);
}

/* -- constructors and calls
 * --------------------------------------------------------- */

/* Undefined elements are left out. */
static struct value eval_array(struct eval *e, const struct expr *x)
{
    struct value *items = arena_alloc(e->arena, x->count * sizeof(*items));
    uint32_t count = 0;
    if (items == NULL)
        return value_undefined();
    for (const struct expr *arg = x->args; arg != NULL; arg = arg->next) {
        items[count] = eval_expr(e, arg);
        count += items[count].type != VALUE_UNDEFINED;
    }
    return value_array(items, count);
}

/* Members by label; undefined ones are left out. */
static struct value labelled(struct eval *e, const struct expr *list,
                             uint32_t length)
{
    struct value_member *members =
        arena_alloc(e->arena, length * sizeof(*members));
    uint32_t count = 0;
    if (members == NULL)
        return value_undefined();
    for (const struct expr *item = list; item != NULL; item = item->next) {
        members[count].name = item->label;
        members[count].value = eval_expr(e, item);
        count += members[count].value.type != VALUE_UNDEFINED;
    }
    return value_object(members, count);
}

static struct value eval_object(struct eval *e, const struct expr *x)
{
    return labelled(e, x->args, x->count);
}

static struct value eval_call(struct eval *e, const struct expr *x)
{
    struct value *args = arena_alloc(e->arena, x->count * sizeof(*args));
    uint32_t count = 0;
    if (args == NULL)
        return value_undefined();
    for (const struct expr *arg = x->args; arg != NULL; arg = arg->next) {
        args[count] = eval_expr(e, arg);
        if (args[count].type == VALUE_UNDEFINED && !x->function->sees_undefined)
            return value_undefined();
        e->steps += cost_of(&args[count]);
        count++;
    }
    struct call call = {e->arena, args, count, e->now_ms};
    return x->function->call(&call);
}

/* -- subqueries
 * ----------------------------------------------------------------------- */

/* Rows of a subquery, gathered in the arena. */
struct gather {
    const struct select *select;
    struct value *rows;
    uint32_t count, cap;
    struct aggregate *states; /* of a select with aggregates */
};

static void gather_value(struct gather *g, struct eval *e, struct value v)
{
    if (v.type == VALUE_UNDEFINED)
        return;
    if (g->count == g->cap) {
        uint32_t cap = g->cap > 0 ? 2 * g->cap : 4;
        struct value *rows = arena_alloc(e->arena, cap * sizeof(*rows));
        if (rows == NULL)
            return;
        if (g->count > 0)
            memcpy(rows, g->rows, g->count * sizeof(*rows));
        g->rows = rows;
        g->cap = cap;
    }
    g->rows[g->count++] = v;
}

static void gather_row(void *arg, struct eval *e)
{
    struct gather *g = arg;
    if (g->states == NULL) {
        gather_value(g, e, eval_item(e, g->select));
        return;
    }
    for (const struct expr *x = g->select->aggregates; x != NULL;
         x = x->aggregates) {
        struct value v = eval_expr(e, x->args);
        int result = aggregate_add(&g->states[x->index], &v);
        if (e->result == ERR_OK)
            e->result = result;
    }
}

/* The one row of a subquery with aggregates. */
static void gather_aggregates(struct gather *g, struct eval *e)
{
    const struct value *outer = e->aggregates;
    uint32_t count = g->select->aggregate_count;
    struct value *results = arena_alloc(e->arena, count * sizeof(*results));
    if (results == NULL)
        return;
    for (uint32_t i = 0; i < count; i++) {
        results[i] = aggregate_result(&g->states[i]);
        if (results[i].type == VALUE_STRING)
            results[i].text = arena_copy(e->arena, results[i].text);
    }
    e->aggregates = results;
    gather_value(g, e, eval_item(e, g->select));
    e->aggregates = outer;
}

static struct value eval_select(struct eval *e, const struct select *s)
{
    struct gather g = {.select = s};
    if (e->result != ERR_OK)
        return value_undefined();
    if (s->aggregated) {
        g.states =
            arena_alloc(e->arena, s->aggregate_count * sizeof(*g.states));
        if (g.states == NULL)
            return value_undefined();
        for (const struct expr *x = s->aggregates; x != NULL; x = x->aggregates)
            aggregate_init(&g.states[x->index], x->aggregate);
    }
    eval_rows(e, s, gather_row, &g);
    if (s->aggregated) {
        gather_aggregates(&g, e);
        for (uint32_t i = 0; i < s->aggregate_count; i++)
            aggregate_free(&g.states[i]);
    }
    return value_array(g.rows, g.count);
}

static struct value eval_subquery(struct eval *e, const struct expr *x)
{
    struct value rows = eval_select(e, x->select);
    if (rows.count > 1 && e->result == ERR_OK)
        e->result =
            query_fail(e->error, ERR_INVALID, "", e->text, x->start, x->end,
                       "The scalar subquery returned more than one "
                       "row.");
    return value_at(e->arena, &rows, 0);
}

static struct value eval_exists(struct eval *e, const struct expr *x)
{
    struct value rows = eval_select(e, x->select);
    return value_bool(rows.count > 0);
}

static struct value eval_subarray(struct eval *e, const struct expr *x)
{
    return eval_select(e, x->select);
}

typedef struct value eval_fn(struct eval *e, const struct expr *x);

struct value eval_expr(struct eval *e, const struct expr *x)
{
    static eval_fn *const table[EXPR_KIND_COUNT] = {
        [EXPR_CONSTANT] = eval_constant,
        [EXPR_SLOT] = eval_slot,
        [EXPR_MEMBER] = eval_member,
        [EXPR_INDEX] = eval_index,
        [EXPR_UNARY] = eval_unary,
        [EXPR_BINARY] = eval_binary,
        [EXPR_NOT] = eval_not,
        [EXPR_AND] = eval_and,
        [EXPR_OR] = eval_or,
        [EXPR_IN] = eval_in,
        [EXPR_BETWEEN] = eval_between,
        [EXPR_LIKE] = eval_like,
        [EXPR_COALESCE] = eval_coalesce,
        [EXPR_CONDITIONAL] = eval_conditional,
        [EXPR_ARRAY] = eval_array,
        [EXPR_OBJECT] = eval_object,
        [EXPR_CALL] = eval_call,
        [EXPR_AGGREGATE] = eval_aggregate,
        [EXPR_GROUP_KEY] = eval_group_key,
        [EXPR_SUBQUERY] = eval_subquery,
        [EXPR_EXISTS] = eval_exists,
        [EXPR_SUBARRAY] = eval_subarray,
    };
    CHECK(table[x->kind] != NULL);
    if (e->steps++ > QUERY_STEPS_MAX)
        return value_undefined();
    return table[x->kind](e, x);
}

/* -- rows
 * --------------------------------------------------------------------------------
 */

struct walk {
    const struct select *select;
    eval_row_fn *row;
    void *arg;
};

static void walk_sources(struct eval *e, const struct walk *w,
                         const struct source *source);

static void walk_elements(struct eval *e, const struct walk *w,
                          const struct source *source,
                          const struct value *elements)
{
    struct value_iter it;
    struct value element;
    if (elements->type != VALUE_ARRAY)
        return;
    value_iter_init(&it, e->arena, elements);
    while (!is_exhausted(e) && value_iter_next(&it, NULL, &element)) {
        e->slots[source->slot] = element;
        walk_sources(e, w, source->next);
    }
}

static void walk_row(struct eval *e, const struct walk *w)
{
    e->steps++;
    if (w->select->where != NULL) {
        struct value v = eval_expr(e, w->select->where);
        if (!value_is_true(&v))
            return;
    }
    w->row(w->arg, e);
    eval_check_limits(e);
}

/* Binds `source` and those after it in every possible way. The depth of this
 * recursion is the number of sources. */
static void walk_sources(struct eval *e, const struct walk *w,
                         const struct source *source)
{
    struct value v;
    if (e->result != ERR_OK)
        return;
    if (source == NULL) {
        walk_row(e, w);
        return;
    }
    switch (source->kind) {
    case SOURCE_PATH:
        v = eval_expr(e, source->path);
        if (v.type == VALUE_UNDEFINED)
            return;
        e->slots[source->slot] = v;
        walk_sources(e, w, source->next);
        return;
    case SOURCE_ITERATE:
        v = eval_expr(e, source->path);
        walk_elements(e, w, source, &v);
        return;
    case SOURCE_SUBQUERY:
        v = eval_select(e, source->select);
        walk_elements(e, w, source, &v);
        return;
    }
}

void eval_rows(struct eval *e, const struct select *s, eval_row_fn *row,
               void *arg)
{
    struct walk w = {s, row, arg};
    walk_sources(e, &w, s->sources);
    eval_check_limits(e);
}

struct value eval_item(struct eval *e, const struct select *s)
{
    if (s->star)
        return e->slots[s->sources->slot];
    if (s->value)
        return eval_expr(e, s->items);
    return labelled(e, s->items, s->item_count);
}
