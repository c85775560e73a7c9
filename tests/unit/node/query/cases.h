/* Queries with the rows they must give, and a way to run them. */
#ifndef BASTIDE_TEST_QUERY_CASES_H
#define BASTIDE_TEST_QUERY_CASES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/query/query.h"

/* Most cases have no parameters and leave the field out. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#define NOW_MS 1700000000123

struct query_case {
    const char *query;
    const char *rows;       /* a row list */
    const char *parameters; /* or NULL */
};

/* `documents` is a row list. */
static inline void run_case(const char *documents, const struct query_case *c)
{
    struct query *q;
    struct query_error error;
    struct buf rows, token;
    uint32_t count;
    buf_init(&rows, 1 << 20);
    buf_init(&token, 1 << 16);
    int result = query_compile(bytes_str(c->query),
                               bytes_str(c->parameters ? c->parameters : ""),
                               &q, &error);
    if (result != ERR_OK)
        fail_msg("%s\n  does not compile: %s", c->query, error.text);
    result = query_run(q, bytes_str(documents), NOW_MS, bytes_str(""), 1000,
                       &rows, &count, &token, &error);
    if (result != ERR_OK)
        fail_msg("%s\n  failed: %s", c->query, error.text);
    if (!bytes_equal(bytes_of(buf_bytes(&rows), buf_len(&rows)),
                     bytes_str(c->rows)))
        fail_msg("%s\n  got  %.*s\n  want %s", c->query, (int)buf_len(&rows),
                 (const char *)buf_bytes(&rows), c->rows);
    assert_int_equal(buf_len(&token), 0);
    query_free(q);
    buf_free(&rows);
    buf_free(&token);
}

static inline void run_cases(const char *documents,
                             const struct query_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        run_case(documents, &cases[i]);
}

#define RUN_CASES(documents, cases)                                            \
    run_cases(documents, cases, ARRAY_LEN(cases))

/* An expression over no document; NULL: undefined. */
struct expression_case {
    const char *expression, *value;
};

static inline void run_expressions(const struct expression_case *cases,
                                   size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char text[1024];
        snprintf(text, sizeof(text), "SELECT VALUE %s", cases[i].expression);
        run_case("", &(struct query_case){
                         text, cases[i].value ? cases[i].value : "", NULL});
    }
}

#define RUN_EXPRESSIONS(cases) run_expressions(cases, ARRAY_LEN(cases))

#endif
