/* Recursive descent over the grammar of the protocol notes (section 5.9). One
 * token is looked at; after a failure p->result is set and every function
 * returns NULL or false up to query_parse. */
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/text.h"
#include "node/query/ast.h"
#include "node/query/lex.h"

struct parser {
    struct arena *arena;
    struct lexer lexer;
    struct token token; /* the one looked at */
    uint32_t last_end;  /* where the one before ended */
    uint32_t depth;     /* expressions and subqueries around it */
    uint32_t logical;   /* AND and OR so far */
    struct select *select;
    struct query_error *error;
    int result;
};

static struct expr *parse_expr(struct parser *p);
static struct select *parse_select(struct parser *p);

/* -- helpers ------------------------------------------------------------------
 */

static void advance(struct parser *p)
{
    if (p->result != ERR_OK)
        return;
    p->last_end = p->token.end;
    p->result = lex_next(&p->lexer, &p->token, p->error);
}

/* Returns NULL so that a parse function can return it. */
static void *fail_syntax(struct parser *p)
{
    const struct token *t = &p->token;
    if (p->result != ERR_OK)
        return NULL;
    struct bytes text = p->lexer.text;
    if (t->kind == TOKEN_END)
        p->result =
            query_fail(p->error, ERR_INVALID, "SC1001", text, t->start, t->end,
                       "Syntax error, unexpected end of query.");
    else
        p->result =
            query_fail(p->error, ERR_INVALID, "SC1001", text, t->start, t->end,
                       "Syntax error, incorrect syntax near '%.*s'.",
                       (int)(t->end - t->start > 60 ? 60 : t->end - t->start),
                       (const char *)text.data + t->start);
    return NULL;
}

static void *fail_at(struct parser *p, int result, const char *code,
                     uint32_t start, uint32_t end, const char *what)
{
    if (p->result == ERR_OK)
        p->result = query_fail(p->error, result, code, p->lexer.text, start,
                               end, "%s", what);
    return NULL;
}

static bool is_word(const struct parser *p, const char *word)
{
    return p->token.kind == TOKEN_NAME &&
           text_equal_nocase(p->token.text, word);
}

static bool take_word(struct parser *p, const char *word)
{
    if (p->result != ERR_OK || !is_word(p, word))
        return false;
    advance(p);
    return p->result == ERR_OK;
}

static bool expect_word(struct parser *p, const char *word)
{
    if (p->result == ERR_OK && !is_word(p, word))
        fail_syntax(p);
    return take_word(p, word);
}

static bool take(struct parser *p, const char *punct)
{
    if (p->result != ERR_OK || !token_is(&p->token, punct))
        return false;
    advance(p);
    return p->result == ERR_OK;
}

static bool expect(struct parser *p, const char *punct)
{
    if (p->result == ERR_OK && !token_is(&p->token, punct))
        fail_syntax(p);
    return take(p, punct);
}

/* Words that end or separate clauses and so cannot stand bare as a name. After
 * a dot, a quote or AS every word is a name. */
static bool is_reserved(struct bytes word)
{
    static const char *const words[] = {
        "SELECT",  "DISTINCT", "TOP",    "VALUE",  "AS",    "FROM",
        "JOIN",    "IN",       "WHERE",  "AND",    "OR",    "NOT",
        "BETWEEN", "LIKE",     "ESCAPE", "EXISTS", "GROUP", "BY",
        "ORDER",   "ASC",      "DESC",   "OFFSET", "LIMIT",
    };
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (text_equal_nocase(word, words[i]))
            return true;
    return false;
}

static bool is_bare_name(const struct parser *p)
{
    return p->token.kind == TOKEN_NAME && !is_reserved(p->token.text);
}

static void *allocate(struct parser *p, size_t size)
{
    void *room = arena_alloc(p->arena, size);
    if (room == NULL)
        fail_at(p, ERR_LIMIT, "", 0, 0, "The query is too large to compile.");
    return room;
}

static struct expr *new_expr(struct parser *p, enum expr_kind kind,
                             uint32_t start)
{
    struct expr *e = allocate(p, sizeof(*e));
    if (e == NULL)
        return NULL;
    e->kind = kind;
    e->start = start;
    e->end = p->last_end;
    e->height = 1;
    return e;
}

static bool raise_height(struct parser *p, struct expr *e, uint32_t below)
{
    if (e->height < below + 1)
        e->height = below + 1;
    if (e->height <= TREE_HEIGHT_MAX)
        return true;
    fail_at(p, ERR_LIMIT, "", e->start, e->end,
            "The query is nested too deeply.");
    return false;
}

/* Adds `arg` at the end: `*tail` is the last argument so far. */
static bool add_arg(struct parser *p, struct expr *e, struct expr **tail,
                    struct expr *arg)
{
    if (e == NULL || arg == NULL)
        return false;
    if (*tail == NULL)
        e->args = arg;
    else
        (*tail)->next = arg;
    *tail = arg;
    e->count++;
    e->end = p->last_end;
    return raise_height(p, e, arg->height);
}

/* An expression of up to three arguments; NULL ends the list. */
static struct expr *make(struct parser *p, enum expr_kind kind, uint32_t start,
                         struct expr *a, struct expr *b, struct expr *c)
{
    struct expr *tail = NULL;
    struct expr *args[] = {a, b, c};
    if (p->result != ERR_OK)
        return NULL;
    struct expr *e = new_expr(p, kind, start);
    for (size_t i = 0; i < ARRAY_LEN(args) && args[i] != NULL; i++)
        if (!add_arg(p, e, &tail, args[i]))
            return NULL;
    return e;
}

static bool enter(struct parser *p)
{
    if (p->result == ERR_OK && ++p->depth <= QUERY_DEPTH_MAX)
        return true;
    fail_at(p, ERR_LIMIT, "", p->token.start, p->token.end,
            "The query is nested too deeply.");
    return false;
}

static void leave(struct parser *p)
{
    p->depth--;
}

/* -- literals and names
 * ---------------------------------------------------------- */

static struct expr *constant(struct parser *p, struct value value)
{
    uint32_t start = p->token.start;
    advance(p);
    struct expr *e =
        p->result == ERR_OK ? new_expr(p, EXPR_CONSTANT, start) : NULL;
    if (e != NULL)
        e->value = value;
    return e;
}

/* Items up to the closing bracket, separated by commas. */
static struct expr *parse_list(struct parser *p, struct expr *e,
                               const char *close)
{
    struct expr *tail = NULL;
    if (take(p, close))
        return e;
    do {
        if (!add_arg(p, e, &tail, parse_expr(p)))
            return NULL;
    } while (take(p, ","));
    return expect(p, close) ? e : NULL;
}

static struct expr *parse_array(struct parser *p)
{
    uint32_t start = p->token.start;
    advance(p);
    struct expr *e = parse_list(p, new_expr(p, EXPR_ARRAY, start), "]");
    if (e != NULL)
        e->end = p->last_end;
    return e;
}

static bool parse_object_member(struct parser *p, struct expr *object,
                                struct expr **tail)
{
    struct bytes label = p->token.text;
    if (p->token.kind != TOKEN_STRING && p->token.kind != TOKEN_NAME) {
        fail_syntax(p);
        return false;
    }
    advance(p);
    if (!expect(p, ":"))
        return false;
    struct expr *value = parse_expr(p);
    if (value == NULL)
        return false;
    value->label = label;
    return add_arg(p, object, tail, value);
}

static struct expr *parse_object(struct parser *p)
{
    struct expr *tail = NULL;
    struct expr *e = new_expr(p, EXPR_OBJECT, p->token.start);
    advance(p);
    if (!take(p, "}")) {
        do {
            if (e == NULL || !parse_object_member(p, e, &tail))
                return NULL;
        } while (take(p, ","));
        if (!expect(p, "}"))
            return NULL;
    }
    if (e != NULL)
        e->end = p->last_end;
    return p->result == ERR_OK ? e : NULL;
}

/* `SELECT ..)` of a subquery whose opening bracket was taken. */
static struct expr *parse_subquery(struct parser *p, enum expr_kind kind,
                                   uint32_t start)
{
    if (!enter(p))
        return NULL;
    struct select *select = parse_select(p);
    leave(p);
    if (select == NULL || !expect(p, ")"))
        return NULL;
    struct expr *e = new_expr(p, kind, start);
    if (e == NULL)
        return NULL;
    e->select = select;
    return raise_height(p, e, select->height) ? e : NULL;
}

/* name( .. ) : a function, or a subquery in a keyword's brackets. */
static struct expr *parse_call(struct parser *p, struct bytes name,
                               uint32_t start)
{
    static const struct {
        const char *name;
        enum expr_kind kind;
    } subqueries[] = {{"EXISTS", EXPR_EXISTS}, {"ARRAY", EXPR_SUBARRAY}};
    advance(p);
    if (is_word(p, "SELECT")) {
        for (size_t i = 0; i < ARRAY_LEN(subqueries); i++)
            if (text_equal_nocase(name, subqueries[i].name))
                return parse_subquery(p, subqueries[i].kind, start);
        return fail_at(p, ERR_UNSUPPORTED, "", start, p->last_end,
                       "This form of subquery is not supported.");
    }
    struct expr *e = new_expr(p, EXPR_CALL, start);
    e = parse_list(p, e, ")");
    if (e == NULL)
        return NULL;
    e->name = name;
    e->end = p->last_end;
    return e;
}

static struct expr *parse_name(struct parser *p)
{
    static const char *const words[] = {"true", "false", "null", "undefined"};
    struct token t = p->token;
    const struct value values[] = {value_bool(true), value_bool(false),
                                   value_null(), value_undefined()};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (bytes_equal(t.text, bytes_str(words[i])))
            return constant(p, values[i]);
    bool exists = is_word(p, "EXISTS");
    if (!exists && !is_bare_name(p))
        return fail_syntax(p);
    advance(p);
    if (token_is(&p->token, "("))
        return parse_call(p, t.text, t.start);
    if (exists)
        return fail_syntax(p);
    struct expr *e = make(p, EXPR_NAME, t.start, NULL, NULL, NULL);
    if (e != NULL)
        e->name = t.text;
    return e;
}

static struct expr *parse_parenthesised(struct parser *p)
{
    uint32_t start = p->token.start;
    advance(p);
    if (is_word(p, "SELECT"))
        return parse_subquery(p, EXPR_SUBQUERY, start);
    struct expr *e = parse_expr(p);
    return expect(p, ")") ? e : NULL;
}

static struct expr *parse_primary(struct parser *p)
{
    const struct token t = p->token;
    if (p->result != ERR_OK)
        return NULL;
    switch (t.kind) {
    case TOKEN_NUMBER:
        return constant(p, value_number(t.number));
    case TOKEN_STRING:
        return constant(p, value_string(t.text));
    case TOKEN_NAME:
        return parse_name(p);
    case TOKEN_PARAMETER: {
        advance(p);
        struct expr *e = make(p, EXPR_PARAMETER, t.start, NULL, NULL, NULL);
        if (e != NULL)
            e->name = t.text;
        return e;
    }
    default:
        if (token_is(&t, "("))
            return parse_parenthesised(p);
        if (token_is(&t, "["))
            return parse_array(p);
        if (token_is(&t, "{"))
            return parse_object(p);
        return fail_syntax(p);
    }
}

/* -- operators
 * -------------------------------------------------------------------- */

static struct expr *parse_dot(struct parser *p, struct expr *base)
{
    if (p->token.kind != TOKEN_NAME)
        return fail_syntax(p);
    struct bytes name = p->token.text;
    advance(p);
    bool udf = base->kind == EXPR_NAME && text_equal_nocase(base->name, "udf");
    if (udf && token_is(&p->token, "("))
        return fail_at(p, ERR_UNSUPPORTED, "", base->start, p->last_end,
                       "User-defined functions are not supported.");
    struct expr *e = make(p, EXPR_MEMBER, base->start, base, NULL, NULL);
    if (e != NULL)
        e->name = name;
    return e;
}

/* base[index]; a constant string is a member like any other. */
static struct expr *parse_brackets(struct parser *p, struct expr *base)
{
    struct expr *index = parse_expr(p);
    if (!expect(p, "]"))
        return NULL;
    bool named =
        index->kind == EXPR_CONSTANT && value_is(&index->value, VALUE_STRING);
    struct expr *e = make(p, named ? EXPR_MEMBER : EXPR_INDEX, base->start,
                          base, named ? NULL : index, NULL);
    if (e != NULL && named)
        e->name = index->value.text;
    return e;
}

static struct expr *parse_postfix(struct parser *p)
{
    struct expr *e = parse_primary(p);
    while (e != NULL) {
        if (take(p, "."))
            e = parse_dot(p, e);
        else if (take(p, "["))
            e = parse_brackets(p, e);
        else
            break;
    }
    return p->result == ERR_OK ? e : NULL;
}

static struct expr *parse_unary(struct parser *p)
{
    enum op op = token_is(&p->token, "-")   ? OP_MINUS
                 : token_is(&p->token, "+") ? OP_PLUS
                 : token_is(&p->token, "~") ? OP_BIT_NOT
                                            : OP_NONE;
    uint32_t start = p->token.start;
    if (op == OP_NONE)
        return parse_postfix(p);
    if (!enter(p))
        return NULL;
    advance(p);
    struct expr *operand = parse_unary(p);
    leave(p);
    if (operand == NULL)
        return NULL;
    struct expr *e = make(p, EXPR_UNARY, start, operand, NULL, NULL);
    if (e != NULL)
        e->op = op;
    return e;
}

/* Binary operators, loosest first; all associate to the left. */
static const struct binary {
    const char *text;
    enum op op;
    int level;
} binaries[] = {
    {"=", OP_EQUAL, 1},
    {"!=", OP_NOT_EQUAL, 1},
    {"<>", OP_NOT_EQUAL, 1},
    {"<", OP_LESS, 2},
    {"<=", OP_LESS_EQUAL, 2},
    {">", OP_GREATER, 2},
    {">=", OP_GREATER_EQUAL, 2},
    {"|", OP_BIT_OR, 3},
    {"^", OP_BIT_XOR, 4},
    {"&", OP_BIT_AND, 5},
    {"<<", OP_SHIFT_LEFT, 6},
    {">>", OP_SHIFT_RIGHT, 6},
    {">>>", OP_SHIFT_RIGHT_ZERO, 6},
    {"||", OP_CONCAT, 7},
    {"+", OP_ADD, 8},
    {"-", OP_SUBTRACT, 8},
    {"*", OP_MULTIPLY, 9},
    {"/", OP_DIVIDE, 9},
    {"%", OP_MODULO, 9},
};

static const struct binary *binary_at(const struct parser *p)
{
    for (size_t i = 0; i < ARRAY_LEN(binaries); i++)
        if (token_is(&p->token, binaries[i].text))
            return &binaries[i];
    return NULL;
}

/* Operators of at least `level` (precedence climbing). */
static struct expr *parse_binary(struct parser *p, int level)
{
    struct expr *left = parse_unary(p);
    for (;;) {
        const struct binary *b = left != NULL ? binary_at(p) : NULL;
        if (b == NULL || b->level < level)
            return p->result == ERR_OK ? left : NULL;
        advance(p);
        struct expr *right = parse_binary(p, b->level + 1);
        if (right == NULL)
            return NULL;
        left = make(p, EXPR_BINARY, left->start, left, right, NULL);
        if (left != NULL)
            left->op = b->op;
    }
}

static struct expr *parse_in(struct parser *p, struct expr *needle)
{
    struct expr *tail = NULL;
    struct expr *e = new_expr(p, EXPR_IN, needle->start);
    if (!expect(p, "(") || !add_arg(p, e, &tail, needle))
        return NULL;
    if (is_word(p, "SELECT"))
        return fail_at(p, ERR_UNSUPPORTED, "", p->token.start, p->token.end,
                       "A subquery inside IN is not supported.");
    do {
        if (!add_arg(p, e, &tail, parse_expr(p)))
            return NULL;
        if (e->count > QUERY_IN_MAX + 1)
            return fail_at(p, ERR_LIMIT, "", e->start, p->last_end,
                           "The IN list has too many items.");
    } while (take(p, ","));
    return expect(p, ")") ? e : NULL;
}

static struct expr *parse_between(struct parser *p, struct expr *value)
{
    struct expr *low = parse_binary(p, 1);
    if (low == NULL || !expect_word(p, "AND"))
        return NULL;
    struct expr *high = parse_binary(p, 1);
    if (high == NULL)
        return NULL;
    return make(p, EXPR_BETWEEN, value->start, value, low, high);
}

static struct expr *parse_like(struct parser *p, struct expr *text)
{
    struct expr *pattern = parse_binary(p, 1), *escape = NULL;
    if (pattern == NULL)
        return NULL;
    if (take_word(p, "ESCAPE")) {
        escape = parse_primary(p);
        if (escape == NULL)
            return NULL;
    }
    return make(p, EXPR_LIKE, text->start, text, pattern, escape);
}

/* [NOT] IN, BETWEEN and LIKE after their left side. */
static struct expr *parse_predicate(struct parser *p)
{
    struct expr *e = parse_binary(p, 1);
    while (e != NULL) {
        bool negated = take_word(p, "NOT");
        if (take_word(p, "IN"))
            e = parse_in(p, e);
        else if (take_word(p, "BETWEEN"))
            e = parse_between(p, e);
        else if (take_word(p, "LIKE"))
            e = parse_like(p, e);
        else
            return negated ? fail_syntax(p) : e;
        if (negated && e != NULL)
            e = make(p, EXPR_NOT, e->start, e, NULL, NULL);
    }
    return NULL;
}

static struct expr *parse_not(struct parser *p)
{
    uint32_t start = p->token.start;
    if (!take_word(p, "NOT"))
        return p->result == ERR_OK ? parse_predicate(p) : NULL;
    if (!enter(p))
        return NULL;
    struct expr *operand = parse_not(p);
    leave(p);
    if (operand == NULL)
        return NULL;
    return make(p, EXPR_NOT, start, operand, NULL, NULL);
}

/* A chain of one logical operator becomes one node. */
static struct expr *parse_chain(struct parser *p, const char *word,
                                enum expr_kind kind,
                                struct expr *(*part)(struct parser *))
{
    struct expr *first = part(p), *chain = NULL, *tail = NULL;
    if (first == NULL || !is_word(p, word))
        return first;
    chain = new_expr(p, kind, first->start);
    if (!add_arg(p, chain, &tail, first))
        return NULL;
    while (take_word(p, word)) {
        if (++p->logical > QUERY_LOGICAL_MAX)
            return fail_at(p, ERR_LIMIT, "", chain->start, p->last_end,
                           "The query has too many AND and OR operators.");
        if (!add_arg(p, chain, &tail, part(p)))
            return NULL;
    }
    return p->result == ERR_OK ? chain : NULL;
}

static struct expr *parse_and(struct parser *p)
{
    return parse_chain(p, "AND", EXPR_AND, parse_not);
}

static struct expr *parse_or(struct parser *p)
{
    return parse_chain(p, "OR", EXPR_OR, parse_and);
}

/* ?? and ?: bind loosest and associate to the right. */
static struct expr *parse_conditional(struct parser *p)
{
    struct expr *left = parse_or(p);
    if (left == NULL)
        return NULL;
    if (take(p, "??")) {
        struct expr *right = parse_expr(p);
        if (right == NULL)
            return NULL;
        return make(p, EXPR_COALESCE, left->start, left, right, NULL);
    }
    if (!take(p, "?"))
        return p->result == ERR_OK ? left : NULL;
    struct expr *then = parse_expr(p);
    if (then == NULL || !expect(p, ":"))
        return NULL;
    struct expr *otherwise = parse_expr(p);
    if (otherwise == NULL)
        return NULL;
    return make(p, EXPR_CONDITIONAL, left->start, left, then, otherwise);
}

static struct expr *parse_expr(struct parser *p)
{
    if (!enter(p))
        return NULL;
    struct expr *e = parse_conditional(p);
    leave(p);
    return e;
}

/* -- clauses
 * ------------------------------------------------------------------------ */

/* [AS] name; empty when there is none. */
static bool parse_alias(struct parser *p, struct bytes *alias_out)
{
    bool as = take_word(p, "AS");
    *alias_out = bytes_of(NULL, 0);
    if (as && p->token.kind != TOKEN_NAME)
        fail_syntax(p);
    if (p->result != ERR_OK)
        return false;
    if (as || is_bare_name(p)) {
        *alias_out = p->token.text;
        advance(p);
    }
    return p->result == ERR_OK;
}

static bool parse_items(struct parser *p, struct select *s)
{
    struct expr **link = &s->items;
    if (take(p, "*")) {
        s->star = true;
        return true;
    }
    s->value = take_word(p, "VALUE");
    do {
        struct expr *item = parse_expr(p);
        if (item == NULL)
            return false;
        if (!s->value && !parse_alias(p, &item->label))
            return false;
        *link = item;
        link = &item->next;
        s->item_count++;
    } while (!s->value && take(p, ","));
    return p->result == ERR_OK;
}

/* name { .name | [expr] } of FROM. */
static struct expr *parse_source_path(struct parser *p)
{
    if (!is_bare_name(p))
        return fail_syntax(p);
    return parse_postfix(p);
}

static struct source *parse_source_subquery(struct parser *p,
                                            struct source *source)
{
    advance(p);
    if (!enter(p))
        return NULL;
    source->kind = SOURCE_SUBQUERY;
    source->select = parse_select(p);
    leave(p);
    if (source->select == NULL || !expect(p, ")"))
        return NULL;
    return parse_alias(p, &source->alias) ? source : NULL;
}

static struct source *parse_source(struct parser *p)
{
    struct source *source = allocate(p, sizeof(*source));
    if (source == NULL)
        return NULL;
    source->start = p->token.start;
    if (token_is(&p->token, "("))
        return parse_source_subquery(p, source);
    source->path = parse_source_path(p);
    if (source->path == NULL)
        return NULL;
    if (source->path->kind == EXPR_NAME && take_word(p, "IN")) {
        source->kind = SOURCE_ITERATE;
        source->alias = source->path->name;
        if (token_is(&p->token, "("))
            source->path = parse_parenthesised(p);
        else
            source->path = parse_source_path(p);
        if (source->path == NULL)
            return NULL;
    } else if (p->result == ERR_OK && !parse_alias(p, &source->alias)) {
        return NULL;
    }
    source->end = p->last_end;
    return p->result == ERR_OK ? source : NULL;
}

static bool parse_from(struct parser *p, struct select *s)
{
    struct source **link = &s->sources;
    if (!take_word(p, "FROM"))
        return p->result == ERR_OK;
    do {
        struct source *source = parse_source(p);
        if (source == NULL)
            return false;
        *link = source;
        link = &source->next;
        if (++s->source_count > QUERY_JOIN_MAX + 1) {
            fail_at(p, ERR_LIMIT, "", source->start, source->end,
                    "The query has too many JOINs.");
            return false;
        }
    } while (take_word(p, "JOIN"));
    return p->result == ERR_OK;
}

static bool parse_group_by(struct parser *p, struct select *s)
{
    struct expr **link = &s->group;
    if (!take_word(p, "GROUP"))
        return p->result == ERR_OK;
    if (!expect_word(p, "BY"))
        return false;
    do {
        struct expr *key = parse_expr(p);
        if (key == NULL)
            return false;
        *link = key;
        link = &key->next;
        if (++s->group_count > QUERY_GROUP_MAX) {
            fail_at(p, ERR_LIMIT, "", key->start, key->end,
                    "GROUP BY has too many keys.");
            return false;
        }
    } while (take(p, ","));
    return p->result == ERR_OK;
}

static bool parse_order_by(struct parser *p, struct select *s)
{
    struct expr **link = &s->order;
    if (!take_word(p, "ORDER"))
        return p->result == ERR_OK;
    uint32_t start = p->token.start;
    if (!expect_word(p, "BY"))
        return false;
    if (is_word(p, "RANK")) {
        fail_at(p, ERR_UNSUPPORTED, "", start, p->token.end,
                "ORDER BY RANK is not supported.");
        return false;
    }
    do {
        struct expr *key = parse_expr(p);
        if (key == NULL)
            return false;
        key->descending = take_word(p, "DESC");
        if (!key->descending)
            take_word(p, "ASC");
        *link = key;
        link = &key->next;
        if (++s->order_count > QUERY_ORDER_MAX) {
            fail_at(p, ERR_LIMIT, "", key->start, key->end,
                    "ORDER BY has too many keys.");
            return false;
        }
    } while (take(p, ","));
    return p->result == ERR_OK;
}

/* A number or a parameter, as TOP, OFFSET and LIMIT take. */
static struct expr *parse_count(struct parser *p)
{
    if (p->token.kind != TOKEN_NUMBER && p->token.kind != TOKEN_PARAMETER &&
        !token_is(&p->token, "-"))
        return fail_syntax(p);
    return token_is(&p->token, "-") ? parse_unary(p) : parse_primary(p);
}

static bool parse_offset_limit(struct parser *p, struct select *s)
{
    if (!take_word(p, "OFFSET"))
        return p->result == ERR_OK;
    s->offset = parse_count(p);
    if (s->offset == NULL || !expect_word(p, "LIMIT"))
        return false;
    s->limit = parse_count(p);
    return s->limit != NULL;
}

static uint32_t list_height(const struct expr *e)
{
    uint32_t height = 0;
    for (; e != NULL; e = e->next)
        height = e->height > height ? e->height : height;
    return height;
}

static uint32_t select_height(const struct select *s)
{
    const struct expr *lists[] = {s->items, s->where, s->group, s->order};
    uint32_t height = 0;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        uint32_t h = list_height(lists[i]);
        height = h > height ? h : height;
    }
    for (const struct source *f = s->sources; f != NULL; f = f->next) {
        uint32_t h = f->select != NULL ? f->select->height : f->path->height;
        height = h > height ? h : height;
    }
    return height + 1;
}

static bool parse_clauses(struct parser *p, struct select *s)
{
    s->distinct = take_word(p, "DISTINCT");
    if (take_word(p, "TOP")) {
        s->top = parse_count(p);
        if (s->top == NULL)
            return false;
    }
    if (!parse_items(p, s) || !parse_from(p, s))
        return false;
    if (take_word(p, "WHERE")) {
        s->where = parse_expr(p);
        if (s->where == NULL)
            return false;
    }
    return p->result == ERR_OK && parse_group_by(p, s) &&
           parse_order_by(p, s) && parse_offset_limit(p, s);
}

static struct select *parse_select(struct parser *p)
{
    uint32_t start = p->token.start;
    struct select *s = allocate(p, sizeof(*s));
    if (s == NULL || !expect_word(p, "SELECT"))
        return NULL;
    s->outer = p->select;
    p->select = s;
    bool parsed = parse_clauses(p, s);
    p->select = s->outer;
    s->start = start;
    s->end = p->last_end;
    s->height = select_height(s);
    return parsed ? s : NULL;
}

int query_parse(struct query *q, struct query_error *error)
{
    struct parser p = {
        .arena = &q->arena,
        .lexer = {.text = q->text, .arena = &q->arena},
        .error = error,
    };
    advance(&p);
    if (p.result == ERR_OK)
        q->select = parse_select(&p);
    if (p.result == ERR_OK && p.token.kind != TOKEN_END)
        fail_syntax(&p);
    if (p.result == ERR_OK && q->arena.failed)
        fail_at(&p, ERR_LIMIT, "", 0, 0, "The query is too large to compile.");
    CHECK_IMPLIES(p.result == ERR_OK, q->select != NULL);
    return p.result;
}
