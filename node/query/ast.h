/* What the parser makes of a query and the binder completes. Everything lives
 * in the query's arena and is immutable once compiled. */
#ifndef BASTIDE_QUERY_AST_H
#define BASTIDE_QUERY_AST_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/query/arena.h"
#include "node/query/query.h"
#include "node/query/value.h"

/* Aliases of one query, subqueries included. Slot 0 is the document; every
 * source of a FROM has one of its own above. */
#define SLOT_MAX 64
#define SLOT_DOCUMENT 0
/* Height of an expression tree, long chains of operators included; bounds the
 * recursion of whoever walks it. */
#define TREE_HEIGHT_MAX 1000

enum expr_kind {
    EXPR_CONSTANT,    /* value */
    EXPR_PARAMETER,   /* name; the binder makes it a constant */
    EXPR_NAME,        /* name; the binder makes it a slot */
    EXPR_SLOT,        /* slot */
    EXPR_MEMBER,      /* args: base; name */
    EXPR_INDEX,       /* args: base, index */
    EXPR_UNARY,       /* op; args: operand */
    EXPR_BINARY,      /* op; args: left, right */
    EXPR_NOT,         /* args: operand */
    EXPR_AND,         /* args: two or more */
    EXPR_OR,          /* args: two or more */
    EXPR_IN,          /* args: needle, items.. */
    EXPR_BETWEEN,     /* args: value, low, high */
    EXPR_LIKE,        /* args: text, pattern [, escape] */
    EXPR_COALESCE,    /* args: left, right */
    EXPR_CONDITIONAL, /* args: condition, then, else */
    EXPR_ARRAY,       /* args: elements */
    EXPR_OBJECT,      /* args: values, each with its label */
    EXPR_CALL,        /* name; args; the binder finds the function */
    EXPR_AGGREGATE,   /* a call the binder found to be one; index */
    EXPR_GROUP_KEY,   /* an expression of GROUP BY met in SELECT; index */
    EXPR_SUBQUERY,    /* select: its only row */
    EXPR_EXISTS,      /* select */
    EXPR_SUBARRAY,    /* ARRAY(select) */
    EXPR_KIND_COUNT
};

enum op {
    OP_NONE,
    OP_EQUAL,
    OP_NOT_EQUAL,
    OP_LESS,
    OP_LESS_EQUAL,
    OP_GREATER,
    OP_GREATER_EQUAL,
    OP_BIT_OR,
    OP_BIT_XOR,
    OP_BIT_AND,
    OP_SHIFT_LEFT,
    OP_SHIFT_RIGHT,
    OP_SHIFT_RIGHT_ZERO,
    OP_CONCAT,
    OP_ADD,
    OP_SUBTRACT,
    OP_MULTIPLY,
    OP_DIVIDE,
    OP_MODULO,
    OP_BIT_NOT, /* unary, as are the two below */
    OP_PLUS,
    OP_MINUS,
    OP_COUNT
};

/* Aggregate functions, in the order of their names in bind.c. */
enum aggregate_kind {
    AGGREGATE_COUNT,
    AGGREGATE_COUNTIF,
    AGGREGATE_SUM,
    AGGREGATE_AVG,
    AGGREGATE_MIN,
    AGGREGATE_MAX,
    AGGREGATE_KIND_COUNT
};

struct function;
struct select;

struct expr {
    enum expr_kind kind;
    enum op op;
    uint32_t start, end; /* bytes of the query text */
    uint32_t height;
    uint32_t count;    /* args */
    struct expr *args; /* first; linked by next */
    struct expr *next; /* in the list this expression is an element of */
    struct bytes name;
    struct bytes label; /* name in an object or of a SELECT item */
    bool descending;    /* of an ORDER BY key */
    uint32_t slot;
    uint32_t index;          /* which aggregate or group key */
    struct expr *aggregates; /* chain of the select's aggregate calls */
    enum aggregate_kind aggregate;
    const struct function *function;
    struct select *select;
    struct value value;
};

enum source_kind {
    SOURCE_PATH,     /* FROM c.a AS x: the value itself, one row or none */
    SOURCE_ITERATE,  /* x IN c.a: every element */
    SOURCE_SUBQUERY, /* (SELECT ..) AS x: every row */
};

struct source {
    enum source_kind kind;
    struct bytes alias;
    uint32_t start, end;
    uint32_t slot; /* 0 until the binder reached it */
    struct expr *path;
    struct select *select;
    struct source *next;
};

struct select {
    struct select *outer; /* of a subquery */
    bool distinct;
    bool star;
    bool value;
    bool aggregated; /* has aggregates or GROUP BY */
    uint32_t height; /* of its tallest expression, plus one */
    uint32_t start, end;
    struct expr *items; /* linked by next; labels are set by the binder */
    uint32_t item_count;
    struct source *sources;
    uint32_t source_count;
    struct expr *where; /* or NULL, as all below */
    struct expr *group;
    uint32_t group_count;
    struct expr *order;
    uint32_t order_count;
    struct expr *top, *offset, *limit;
    struct expr *aggregates; /* linked by ->aggregates, in order of index */
    uint32_t aggregate_count;
    uint64_t offset_rows, limit_rows; /* set by the binder */
};

struct query {
    struct arena arena;
    struct bytes text;
    struct buf parameters_text;
    struct json parameters;
    struct select *select;
    uint32_t slot_count;
    bool uses_document; /* some FROM names the container */
    uint32_t signature; /* of text and parameters; in tokens and requests */
};

/* -- errors, for parser and binder
 * ---------------------------------------------- */

/* Fills `error` with a place given in bytes of `text`; returns `result`. */
int query_fail(struct query_error *error, int result, const char *code,
               struct bytes text, uint32_t start, uint32_t end,
               const char *format, ...) __attribute__((format(printf, 7, 8)));

/* -- the two steps
 * ------------------------------------------------------------- */

/* Text to tree. ERR_INVALID, ERR_UNSUPPORTED, ERR_LIMIT with `error`. */
int query_parse(struct query *q, struct query_error *error);
/* Names to slots, parameters to constants, calls to functions; every check that
 * needs to know what a name stands for. Errors as above. */
int query_bind(struct query *q, struct query_error *error);

#endif
