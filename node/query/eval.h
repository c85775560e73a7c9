/* The evaluator. */
#ifndef BASTIDE_QUERY_EVAL_H
#define BASTIDE_QUERY_EVAL_H

#include "node/query/ast.h"
#include "node/query/value.h"

/* A step is about the work of evaluating one node of an expression; long texts
 * and large arrays cost more. QUERY_STEPS_MAX per document keeps any query from
 * holding up its worker.
 *
 * Everything an expression may refer to. The first failure stays in `result`
 * (and `error`); what is evaluated after it is meaningless. */
struct eval {
    struct arena *arena; /* reset by the owner between documents */
    struct bytes text;   /* of the query, for errors */
    uint64_t now_ms;
    const struct value *aggregates; /* results, for EXPR_AGGREGATE */
    const struct value *keys;       /* for EXPR_GROUP_KEY */
    int result;
    struct query_error *error;
    uint64_t steps; /* spent on this document; zeroed by the owner */
    struct value slots[SLOT_MAX];
};

struct value eval_expr(struct eval *e, const struct expr *x);

/* Called for each row; what the aliases stand for is in e->slots. A failure is
 * put into e->result and ends the walk. */
typedef void eval_row_fn(void *arg, struct eval *e);

/* Walks the rows of a select for the document in slot 0: all combinations of
 * its sources for which WHERE is true. */
void eval_rows(struct eval *e, const struct select *s, eval_row_fn *row,
               void *arg);
/* What SELECT makes of the current row; undefined: no row. */
struct value eval_item(struct eval *e, const struct select *s);
/* Notices that the arena or the steps ran out. */
void eval_check_limits(struct eval *e);

#endif
