/* The built-in functions. */
#ifndef BASTIDE_QUERY_FUNCTION_H
#define BASTIDE_QUERY_FUNCTION_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/query/value.h"

/* A call with its arguments evaluated. */
struct call {
    struct arena *arena;
    const struct value *args;
    uint32_t count;
    uint64_t now_ms; /* wall clock of the query */
};

#define FUNCTION_ANY_COUNT UINT32_MAX

struct function {
    const char *name;    /* upper case */
    uint32_t min, max;   /* arguments */
    bool sees_undefined; /* else an undefined argument makes the result so */
    struct value (*call)(const struct call *c);
};

/* Case does not matter. NULL: no such function here. */
const struct function *function_find(struct bytes name);
/* Whether the language has a function of this name that we have not. */
bool function_is_known(struct bytes name);

/* A family of functions; the last has no name. */
extern const struct function function_types[];
extern const struct function function_strings[];
extern const struct function function_numbers[];
extern const struct function function_arrays[];

/* Whether `text` matches the pattern of LIKE: % any text, _ any character,
 * [a-z], [^abc] one of a set; `escape` (or empty) takes the next character of
 * the pattern as it is. Adds what it cost to `*steps` and gives up (false) when
 * that passes `steps_max`. */
bool like_match(struct bytes text, struct bytes pattern, struct bytes escape,
                uint64_t steps_max, uint64_t *steps);

#endif
