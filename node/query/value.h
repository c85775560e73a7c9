/* Values of the query language, and what all of it agrees on: types, equality
 * and order.
 *
 * A value either stands in a parsed JSON text (`doc`, `ref`), and is then
 * written out as it stands there, or was made by an expression; then arrays
 * and objects are lists in an arena. The functions below hide which.
 *
 * Out of memory shows in the arena (arena.h); a function then returns
 * undefined or false, and the evaluation is abandoned by whoever looks next. */
#ifndef BASTIDE_QUERY_VALUE_H
#define BASTIDE_QUERY_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/json/json.h"
#include "node/query/arena.h"

/* In the order of ORDER BY, ascending. */
enum value_type {
    VALUE_UNDEFINED,
    VALUE_NULL,
    VALUE_BOOL,
    VALUE_NUMBER, /* always finite */
    VALUE_STRING,
    VALUE_ARRAY,
    VALUE_OBJECT,
};

struct value_member;

struct value {
    enum value_type type;
    uint32_t count; /* of items or members */
    json_ref ref;
    const struct json *doc; /* not NULL: the value is `ref` of this text */
    union {
        bool boolean;
        double number;
        struct bytes text; /* decoded UTF-8 */
        const struct value *items;
        const struct value_member *members; /* names are distinct */
    };
};

struct value_member {
    struct bytes name;
    struct value value;
};

/* -- making ------------------------------------------------------------------
 */

struct value value_undefined(void);
struct value value_null(void);
struct value value_bool(bool b);
/* Undefined when `number` is not finite: JSON has no such number. */
struct value value_number(double number);
/* Borrows the text. */
struct value value_string(struct bytes text);
/* Borrow the lists, which live in the arena. */
struct value value_array(const struct value *items, uint32_t count);
struct value value_object(const struct value_member *members, uint32_t count);
/* The value at `ref`; undefined for JSON_NONE. Borrows the text. */
struct value value_of_json(struct arena *arena, const struct json *doc,
                           json_ref ref);

/* -- reading ------------------------------------------------------------------
 */

static inline bool value_is(const struct value *v, enum value_type type)
{
    return v->type == type;
}
/* Exactly true, as WHERE demands. */
bool value_is_true(const struct value *v);
/* Elements or members; 0 for everything else. */
uint32_t value_count(const struct value *v);
/* The member of that name or the element at that index; undefined when `v` is
 * nothing of the kind or has none. */
struct value value_get(struct arena *arena, const struct value *v,
                       struct bytes name);
struct value value_at(struct arena *arena, const struct value *v,
                      uint32_t index);

/* Walks elements or members in order. */
struct value_iter {
    struct arena *arena;
    const struct value *over;
    uint32_t index;
    json_ref ref;
};
void value_iter_init(struct value_iter *it, struct arena *arena,
                     const struct value *over);
/* False after the last. `name_out` may be NULL; it is empty for arrays. */
bool value_iter_next(struct value_iter *it, struct bytes *name_out,
                     struct value *value_out);

/* -- comparing ----------------------------------------------------------------
 */

/* Deep equality of any two values; different types are unequal, the order of
 * members does not matter, undefined equals undefined. */
bool value_equal(struct arena *arena, const struct value *a,
                 const struct value *b);
/* The language's `=`: undefined when the types differ or are undefined. */
struct value value_equal_op(struct arena *arena, const struct value *a,
                            const struct value *b);
/* Whether `<` and its kin are defined for the pair; then -1, 0 or 1. */
bool value_ordered(const struct value *a, const struct value *b,
                   int *order_out);

/* -- carrying
 * ------------------------------------------------------------------- */

/* Appends bytes whose memcmp order is the order of ORDER BY, ascending, and
 * which are equal exactly for equal values. They end by themselves: no
 * encoding is the beginning of another. Errors: those of buf_append. */
int value_encode(struct arena *arena, const struct value *v, struct buf *out);
/* Writes a value that is not undefined; undefined members and elements are left
 * out. */
void value_write(struct arena *arena, const struct value *v,
                 struct json_writer *w);

#endif
