/* The SQL of the Cosmos protocol: compile once, run over parsed documents.
 *
 * A query is compiled on every node that works on it from the same text and
 * the same parameters; what it means is decided by those alone.
 *
 *     client text + parameters
 *        |  query_compile                            (every node)
 *        v
 *     struct query  -- query_shape: how must it be run?
 *        |
 *        +- QUERY_STREAM     each document gives its rows at once, in the order
 *        |                   of the scan. The coordinator scans one shard after
 *        |                   the other and passes rows through
 *        |                   query_window_take (OFFSET, LIMIT, TOP).
 *        |
 *        +- QUERY_ORDERED    ORDER BY, DISTINCT        } every shard scans all
 *        +- QUERY_AGGREGATE  COUNT.. and GROUP BY      } its documents and
 *                            answers "shard rows"; a struct query_merge on the
 *                            coordinator turns them into pages.
 *
 * Shard rows are JSON, to be carried between nodes of one version as they are;
 * nobody but this module looks inside. Row lists (of shards and of pages) are
 * JSON values joined by commas, without brackets: `1,{"a":2}`; an empty list
 * is no bytes.
 *
 * Whatever the language has and this module does not is refused by
 * query_compile with the name of the construct and its place in the text;
 * nothing is half-understood at run time.
 *
 * Semantics: as the service documents its language. Logic has three values;
 * comparing values of different types gives undefined; ORDER BY sorts undefined
 * < null < false < true < numbers < strings < arrays < objects and, where keys
 * are equal, by ascending `rid`.
 *
 * Pure: no clock, no descriptor, no global. A compiled query is immutable and
 * may be used by several scans of one worker; scans and merges are used by one
 * caller at a time. */
#ifndef BASTIDE_QUERY_QUERY_H
#define BASTIDE_QUERY_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/json/json.h"

/* Limits of the language; passing one is a compile error that names it. */
#define QUERY_TEXT_MAX (256u * 1024)       /* bytes of query text */
#define QUERY_PARAMETERS_MAX (512u * 1024) /* bytes of the parameter array */
#define QUERY_DEPTH_MAX 128                /* nesting of expressions */
#define QUERY_LOGICAL_MAX 500              /* AND and OR operators */
#define QUERY_IN_MAX 16000                 /* items of one IN list */
#define QUERY_JOIN_MAX 10                  /* JOINs of one FROM */
#define QUERY_ORDER_MAX 8                  /* keys of ORDER BY */
#define QUERY_GROUP_MAX 21                 /* keys of GROUP BY */
#define QUERY_AGGREGATE_MAX 64             /* aggregate calls of one SELECT */
/* Limits at run time; passing one is ERR_LIMIT with an error text. */
#define QUERY_ROW_MEMORY_MAX                                                   \
    (16u * 1024 * 1024)          /* to evaluate one document                   \
                                  */
#define QUERY_STEPS_MAX 5000000u /* evaluation of one document, see eval.h */
#define QUERY_HELD_MEMORY_MAX (64u * 1024 * 1024) /* rows, groups held */
#define QUERY_ROW_MAX (8u * 1024 * 1024)          /* bytes of one result row */
#define QUERY_TOKEN_MAX (64u * 1024)              /* bytes of a page token */

struct query;
struct query_scan;
struct query_merge;

/* -- errors -----------------------------------------------------------------
 */

#define QUERY_ERROR_TEXT_MAX 256
struct query_error {
    char code[8];   /* "SC1001"; empty when the service has no code for it */
    uint32_t start; /* where in the query text, in UTF-16 units; the end is */
    uint32_t end;   /* exclusive. Both 0 when there is no one place */
    char text[QUERY_ERROR_TEXT_MAX]; /* UTF-8 */
};

/* Appends the JSON object clients get inside the message of a 400 answer:
 * {"errors":[{"severity":"Error","location":{..},"code":"..","message":".."}]}
 * Errors: those of buf_append. */
int query_error_json(const struct query_error *error, struct buf *out);

/* -- compiling --------------------------------------------------------------
 */

/* Compiles `text` (UTF-8). `parameters` is the JSON text of the request's array
 * [{"name":"@x","value":..},..], or empty. Both are copied. The caller owns the
 * query and ends it with query_free.
 * ERR_INVALID: a syntax error, an unknown name, a wrong number of arguments, a
 *   parameter list that is none, a parameter that is used but not given.
 * ERR_UNSUPPORTED: a construct of the language this version does not run.
 * ERR_LIMIT: one of the limits above.
 * On failure `*error` is filled; these three are the client's fault (400).
 * ERR_NO_MEMORY: the system has none. */
int query_compile(struct bytes text, struct bytes parameters,
                  struct query **query_out, struct query_error *error);
/* NULL is allowed. No scan or merge of it may be alive. */
void query_free(struct query *q);

/* -- what kind of query ------------------------------------------------------
 */

enum query_kind {
    QUERY_STREAM,    /* rows come one document at a time, in scan order */
    QUERY_ORDERED,   /* rows must be gathered: ORDER BY or DISTINCT */
    QUERY_AGGREGATE, /* rows exist only at the end: aggregates, GROUP BY */
};

struct query_shape {
    enum query_kind kind;
    bool select_star; /* SELECT * : a row is the document as stored */
    bool match_all;   /* no WHERE, no JOIN: every document gives one row */
    bool no_document; /* no FROM: one row, made without any document. Call
                       * query_scan_document once, with a NULL document */
    bool distinct;
    bool select_value; /* SELECT VALUE */
    uint32_t order_count;
    uint64_t offset; /* 0 when not given */
    uint64_t limit;  /* least of TOP and LIMIT; UINT64_MAX when not given */
};

struct query_shape query_shape(const struct query *q);

/* Appends the values the WHERE clause demands for the given document paths
 * ("/pk", "/a/b"), when it is a conjunction that names each of them with
 * `path = constant`: a JSON array as in the partition key header, `["a",5]`.
 * Routing by it loses no row: rows with other values cannot match.
 * ERR_NOT_FOUND: the clause does not fix every path to one string, number,
 * boolean or null. Otherwise errors of buf_append. */
int query_point(const struct query *q, const struct bytes *paths, size_t count,
                struct buf *out);

/* -- row lists ------------------------------------------------------------- */

/* Takes the first row (or shard row) off a row list; false at its end. The
 * list must be one that this module made; a row may be nested deeper than
 * JSON_DEPTH_MAX, so that this is the way to take lists apart. */
bool query_rows_next(struct bytes *rows, struct bytes *row_out);
/* Appends a row to a row list. Errors: those of buf_append; then `rows` is as
 * it was. */
int query_rows_append(struct buf *rows, struct bytes row);

/* -- scanning a shard --------------------------------------------------------
 */

struct query_scan_options {
    /* QUERY_ORDERED and QUERY_AGGREGATE: what query_merge_request said, as it
     * came; empty: everything from the beginning. Ignored by QUERY_STREAM. */
    struct bytes request;
    /* Wall clock in milliseconds for the functions that tell the time; the
     * caller reads it once per request. */
    uint64_t now_ms;
};

/* ERR_INVALID: `request` does not belong to this query. The scan borrows `q`;
 * the caller owns it until query_scan_free. */
int query_scan_new(const struct query *q,
                   const struct query_scan_options *options,
                   struct query_scan **scan_out);
void query_scan_free(struct query_scan *s);

/* Offers one document: its parsed text and its number `rid` (ascending in the
 * order in which documents came to be; breaks ties of ORDER BY). `document` is
 * borrowed for the call. Rows that are ready at once are appended to `rows` as
 * a row list (a comma is put first when `rows` is not empty) and counted in
 * `*added_out`, 0 when the document does not match or the rows are held back.
 * ERR_LIMIT: memory for this document or for the held rows ran out.
 * ERR_INVALID: the query fails on this document (a subquery with two rows).
 * Both: query_scan_error() has the text; the scan is at its end.
 * Also errors of buf_append on `rows`. On failure `rows` is as it was. */
int query_scan_document(struct query_scan *s, const struct json *document,
                        uint64_t rid, struct buf *rows, uint64_t *added_out);
/* After the last document: appends the rows held back. Call it once, for
 * every kind; QUERY_STREAM adds nothing. Errors as above. */
int query_scan_finish(struct query_scan *s, struct buf *rows,
                      uint64_t *added_out);
/* Why a call failed; valid until the scan is freed. */
const struct query_error *query_scan_error(const struct query_scan *s);

/* -- OFFSET, LIMIT and TOP of a streamed query -------------------------------
 */

/* How far a streamed query has come; the caller carries it in its continuation
 * token. Zeroed at the beginning. */
struct query_window {
    uint64_t skipped;   /* rows dropped by OFFSET */
    uint64_t delivered; /* rows handed to the client */
};
enum query_window_step {
    QUERY_WINDOW_DROP, /* before the OFFSET */
    QUERY_WINDOW_TAKE, /* deliver it */
    QUERY_WINDOW_STOP, /* past the LIMIT: the query is finished */
};
/* Decides about the next row and counts it. */
enum query_window_step query_window_take(const struct query_shape *shape,
                                         struct query_window *window);
/* Whether no further row can be delivered. */
bool query_window_done(const struct query_shape *shape,
                       const struct query_window *window);

/* -- merging on the coordinator ----------------------------------------------
 */

/* One page of a QUERY_ORDERED or QUERY_AGGREGATE query:
 *
 *     query_merge_new(q, token, page rows)     token: "" or the last page's
 *     query_merge_request(m, &text)            give to every shard's scan
 *     query_merge_add(m, rows) per shard       in any order
 *     query_merge_finish(m, ...)               page rows and the next token
 *
 * ORDER BY without DISTINCT resumes behind the last row delivered (its keys,
 * its rid), whatever was written in between. The other kinds are computed anew
 * for every page and skip what was delivered. */

/* `rows_max` (at least 1) and `bytes_max` bound the page; one row is delivered
 * even when it is longer than bytes_max. Neither side holds much more than one
 * page (and what OFFSET passes over) of a sorted query. ERR_INVALID: `token` is
 * not one of this query. The merge borrows `q`; the caller owns it. */
int query_merge_new(const struct query *q, struct bytes token,
                    uint32_t rows_max, size_t bytes_max,
                    struct query_merge **merge_out);
void query_merge_free(struct query_merge *m);
/* Appends the text every shard's query_scan_options.request must hold. */
int query_merge_request(const struct query_merge *m, struct buf *out);
/* Takes the rows of one shard (copied). ERR_MALFORMED: not rows of this query.
 * ERR_LIMIT: more than QUERY_HELD_MEMORY_MAX. */
int query_merge_add(struct query_merge *m, struct bytes rows);
/* Appends the page's rows and the token of the next page (nothing when this is
 * the last). The token is JSON text in ASCII. Call once. Errors: ERR_LIMIT,
 * ERR_NO_MEMORY. */
int query_merge_finish(struct query_merge *m, struct buf *rows,
                       uint32_t *count_out, struct buf *token_out);

/* -- all at once --------------------------------------------------------------
 */

/* Runs a query over documents in memory, for metadata queries and tests.
 * `documents` is a row list of JSON texts (query_rows_append); the position of
 * a document is its rid. One page; `token` as in query_merge_new, for every
 * kind of query. Errors as above, ERR_MALFORMED for a document that is not
 * JSON;
 * `*error` (may be NULL) has a text for each. On failure the buffers are as
 * they were. */
int query_run(const struct query *q, struct bytes documents, uint64_t now_ms,
              struct bytes token, uint32_t rows_max, struct buf *rows,
              uint32_t *count_out, struct buf *token_out,
              struct query_error *error);

#endif
