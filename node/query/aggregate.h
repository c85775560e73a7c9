/* Aggregates that can be computed in parts: a state per shard, written as JSON
 * and merged on the coordinator.
 *
 * COUNT counts defined values; COUNTIF counts true. SUM and AVG are undefined
 * once a defined value is no number, MIN and MAX once one is an array or an
 * object; undefined values are ignored by all. Over nothing COUNT and SUM are
 * 0, the others undefined. */
#ifndef BASTIDE_QUERY_AGGREGATE_H
#define BASTIDE_QUERY_AGGREGATE_H

#include "node/query/ast.h"
#include "node/query/value.h"

struct aggregate {
    enum aggregate_kind kind;
    bool spoiled; /* met a value it is not defined for */
    uint64_t count;
    double sum;
    struct value best; /* MIN, MAX; a string's text is in `text` */
    struct buf text;
};

void aggregate_init(struct aggregate *a, enum aggregate_kind kind);
void aggregate_free(struct aggregate *a);
/* Takes one value in. Errors: those of buf_append. */
int aggregate_add(struct aggregate *a, const struct value *v);
/* Its value; borrows from the state. */
struct value aggregate_result(const struct aggregate *a);
/* Writes the state as one JSON value, and takes such a value in.
 * ERR_MALFORMED: it is none. */
void aggregate_write(const struct aggregate *a, struct json_writer *w);
int aggregate_merge(struct aggregate *a, struct arena *arena,
                    const struct json *j, json_ref ref);

#endif
