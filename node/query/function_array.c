/* Functions about arrays and objects. */
#include <math.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/hash.h"
#include "node/query/function.h"
#include "node/query/query.h"

/* Whether the first `count` arguments are arrays. */
static bool arrays(const struct call *c, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (c->args[i].type != VALUE_ARRAY)
            return false;
    return true;
}

/* A list that grows in the arena. */
struct list {
    struct value *items;
    uint32_t count, cap;
};

static bool list_add(const struct call *c, struct list *l, struct value v)
{
    if (l->count == l->cap) {
        uint32_t cap = l->cap > 0 ? 2 * l->cap : 8;
        struct value *items = arena_alloc(c->arena, cap * sizeof(*items));
        if (items == NULL)
            return false;
        if (l->count > 0)
            memcpy(items, l->items, l->count * sizeof(*items));
        l->items = items;
        l->cap = cap;
    }
    l->items[l->count++] = v;
    return true;
}

static struct value call_concat(const struct call *c)
{
    struct list all = {NULL, 0, 0};
    if (!arrays(c, c->count))
        return value_undefined();
    for (uint32_t i = 0; i < c->count; i++) {
        struct value_iter it;
        struct value item;
        value_iter_init(&it, c->arena, &c->args[i]);
        while (value_iter_next(&it, NULL, &item))
            if (!list_add(c, &all, item))
                return value_undefined();
    }
    return value_array(all.items, all.count);
}

/* Every member of `part` is in `whole` with an equal value. */
static bool object_includes(struct arena *arena, const struct value *whole,
                            const struct value *part)
{
    struct value_iter it;
    struct bytes name;
    struct value wanted;
    value_iter_init(&it, arena, part);
    while (value_iter_next(&it, &name, &wanted)) {
        struct value found = value_get(arena, whole, name);
        if (!value_equal(arena, &found, &wanted))
            return false;
    }
    return true;
}

static bool array_has(struct arena *arena, const struct value *array,
                      const struct value *wanted, bool partial)
{
    struct value_iter it;
    struct value item;
    value_iter_init(&it, arena, array);
    while (value_iter_next(&it, NULL, &item)) {
        if (value_equal(arena, &item, wanted))
            return true;
        if (partial && item.type == VALUE_OBJECT &&
            wanted->type == VALUE_OBJECT &&
            object_includes(arena, &item, wanted))
            return true;
    }
    return false;
}

static struct value call_contains(const struct call *c)
{
    if (!arrays(c, 1) || (c->count > 2 && c->args[2].type != VALUE_BOOL))
        return value_undefined();
    bool partial = c->count > 2 && c->args[2].boolean;
    return value_bool(array_has(c->arena, &c->args[0], &c->args[1], partial));
}

static struct value call_contains_any(const struct call *c)
{
    if (!arrays(c, 1))
        return value_undefined();
    for (uint32_t i = 1; i < c->count; i++)
        if (array_has(c->arena, &c->args[0], &c->args[i], false))
            return value_bool(true);
    return value_bool(false);
}

static struct value call_contains_all(const struct call *c)
{
    if (!arrays(c, 1))
        return value_undefined();
    for (uint32_t i = 1; i < c->count; i++)
        if (!array_has(c->arena, &c->args[0], &c->args[i], false))
            return value_bool(false);
    return value_bool(true);
}

static struct value call_length(const struct call *c)
{
    return arrays(c, 1) ? value_number(value_count(&c->args[0]))
                        : value_undefined();
}

/* ARRAY_SLICE(array, start [, length]); a negative start counts from the end.
 */
static struct value call_slice(const struct call *c)
{
    struct list part = {NULL, 0, 0};
    struct value_iter it;
    struct value item;
    if (!arrays(c, 1))
        return value_undefined();
    for (uint32_t i = 1; i < c->count; i++)
        if (c->args[i].type != VALUE_NUMBER)
            return value_undefined();
    double count = value_count(&c->args[0]);
    double start = trunc(c->args[1].number);
    double length = c->count > 2 ? trunc(c->args[2].number) : count;
    if (start < 0)
        start = start + count > 0 ? start + count : 0;
    value_iter_init(&it, c->arena, &c->args[0]);
    for (double i = 0; value_iter_next(&it, NULL, &item); i++)
        if (i >= start && i < start + length && !list_add(c, &part, item))
            return value_undefined();
    return value_array(part.items, part.count);
}

/* CHOOSE(index from 1, value, ..) */
static struct value call_choose(const struct call *c)
{
    if (c->args[0].type != VALUE_NUMBER)
        return value_undefined();
    double index = trunc(c->args[0].number);
    if (index < 1 || index >= c->count)
        return value_undefined();
    return c->args[(uint32_t)index];
}

/* OBJECTTOARRAY(object [, key name [, value name]]) */
static struct value call_object_to_array(const struct call *c)
{
    struct list pairs = {NULL, 0, 0};
    struct value_iter it;
    struct bytes name;
    struct value value;
    struct bytes names[2] = {bytes_str("k"), bytes_str("v")};
    if (c->args[0].type != VALUE_OBJECT)
        return value_undefined();
    for (uint32_t i = 1; i < c->count; i++) {
        if (c->args[i].type != VALUE_STRING)
            return value_undefined();
        names[i - 1] = c->args[i].text;
    }
    value_iter_init(&it, c->arena, &c->args[0]);
    while (value_iter_next(&it, &name, &value)) {
        struct value_member *pair = arena_alloc(c->arena, 2 * sizeof(*pair));
        if (pair == NULL)
            return value_undefined();
        pair[0] = (struct value_member){names[0], value_string(name)};
        pair[1] = (struct value_member){names[1], value};
        if (!list_add(c, &pairs, value_object(pair, 2)))
            return value_undefined();
    }
    return value_array(pairs.items, pairs.count);
}

/* -- sets: arrays without equal elements
 * ----------------------------------------------- */

/* Encodings of values, in an open hash table; for all else in the arena. */
struct set {
    struct bytes *slots; /* a power of two of them; data NULL: free */
    size_t size;
};

static bool set_init(const struct call *c, struct set *s, uint32_t capacity)
{
    s->size = 16;
    while (s->size < 2 * (size_t)capacity)
        s->size *= 2;
    s->slots = arena_alloc(c->arena, s->size * sizeof(*s->slots));
    return s->slots != NULL;
}

/* Where `identity` is or belongs. */
static struct bytes *set_slot(const struct set *s, struct bytes identity)
{
    uint64_t hash[2];
    hash_murmur3_128(identity.data, identity.len, 0, hash);
    size_t at = hash[0] & (s->size - 1);
    while (s->slots[at].data != NULL && !bytes_equal(s->slots[at], identity))
        at = (at + 1) & (s->size - 1);
    return &s->slots[at];
}

static bool identity_of(const struct call *c, const struct value *v,
                        struct bytes *identity_out)
{
    struct buf b;
    buf_init(&b, QUERY_ROW_MEMORY_MAX);
    int err = value_encode(c->arena, v, &b);
    if (err != ERR_OK)
        arena_fail(c->arena, err);
    *identity_out = arena_copy(c->arena, bytes_of(buf_bytes(&b), buf_len(&b)));
    buf_free(&b);
    return !c->arena->failed;
}

/* All elements of an array, as a set. */
static bool set_of(const struct call *c, const struct value *array,
                   struct set *s)
{
    struct value_iter it;
    struct value item;
    struct bytes identity;
    if (!set_init(c, s, value_count(array)))
        return false;
    value_iter_init(&it, c->arena, array);
    while (value_iter_next(&it, NULL, &item)) {
        if (!identity_of(c, &item, &identity))
            return false;
        *set_slot(s, identity) = identity;
    }
    return true;
}

/* Adds the elements of `from` that are (or are not) in `other`, each once. */
static bool add_elements(const struct call *c, struct list *list,
                         struct set *seen, const struct value *from,
                         const struct set *other, bool wanted)
{
    struct value_iter it;
    struct value item;
    struct bytes identity;
    value_iter_init(&it, c->arena, from);
    while (value_iter_next(&it, NULL, &item)) {
        if (!identity_of(c, &item, &identity))
            return false;
        if (other != NULL &&
            (set_slot(other, identity)->data != NULL) != wanted)
            continue;
        struct bytes *slot = set_slot(seen, identity);
        if (slot->data != NULL)
            continue;
        *slot = identity;
        if (!list_add(c, list, item))
            return false;
    }
    return true;
}

/* Elements of the first argument that are (or are not) in the second. */
static struct value select_elements(const struct call *c, bool wanted)
{
    struct list list = {NULL, 0, 0};
    struct set other, seen;
    if (!arrays(c, 2) || !set_of(c, &c->args[1], &other) ||
        !set_init(c, &seen, value_count(&c->args[0])) ||
        !add_elements(c, &list, &seen, &c->args[0], &other, wanted))
        return value_undefined();
    return value_array(list.items, list.count);
}

static struct value call_intersect(const struct call *c)
{
    return select_elements(c, true);
}

static struct value call_difference(const struct call *c)
{
    return select_elements(c, false);
}

static struct value call_union(const struct call *c)
{
    struct list list = {NULL, 0, 0};
    struct set seen;
    if (!arrays(c, 2) ||
        !set_init(c, &seen,
                  value_count(&c->args[0]) + value_count(&c->args[1])) ||
        !add_elements(c, &list, &seen, &c->args[0], NULL, true) ||
        !add_elements(c, &list, &seen, &c->args[1], NULL, true))
        return value_undefined();
    return value_array(list.items, list.count);
}

static struct value call_set_equal(const struct call *c)
{
    struct value swapped[2] = {c->args[1], c->args[0]};
    struct call back = *c;
    back.args = swapped;
    struct value extra = select_elements(c, false);
    struct value missing = select_elements(&back, false);
    if (extra.type != VALUE_ARRAY || missing.type != VALUE_ARRAY)
        return value_undefined();
    return value_bool(extra.count == 0 && missing.count == 0);
}

/* -- numbers in arrays
 * --------------------------------------------------------------------- */

/* Sum and count of an array of numbers; false when it holds anything else. */
static bool sum_of(const struct call *c, double *sum_out, uint32_t *count_out)
{
    struct value_iter it;
    struct value item;
    *sum_out = 0;
    *count_out = value_count(&c->args[0]);
    if (!arrays(c, 1))
        return false;
    value_iter_init(&it, c->arena, &c->args[0]);
    while (value_iter_next(&it, NULL, &item)) {
        if (item.type != VALUE_NUMBER)
            return false;
        *sum_out += item.number;
    }
    return true;
}

static struct value call_sum(const struct call *c)
{
    double sum;
    uint32_t count;
    return sum_of(c, &sum, &count) ? value_number(sum) : value_undefined();
}

static struct value call_avg(const struct call *c)
{
    double sum;
    uint32_t count;
    return sum_of(c, &sum, &count) ? value_number(sum / count)
                                   : value_undefined();
}

/* The least or greatest element of one type; mixed arrays are undefined. */
static struct value extreme(const struct call *c, int sign)
{
    struct value_iter it;
    struct value item, best = value_undefined();
    if (!arrays(c, 1))
        return value_undefined();
    value_iter_init(&it, c->arena, &c->args[0]);
    while (value_iter_next(&it, NULL, &item)) {
        int order = sign;
        if (best.type != VALUE_UNDEFINED &&
            !value_ordered(&item, &best, &order))
            return value_undefined();
        if (order * sign > 0)
            best = item;
    }
    return best;
}

static struct value call_min(const struct call *c)
{
    return extreme(c, -1);
}
static struct value call_max(const struct call *c)
{
    return extreme(c, 1);
}

const struct function function_arrays[] = {
    {"ARRAY_AVG", 1, 1, false, call_avg},
    {"ARRAY_CONCAT", 2, FUNCTION_ANY_COUNT, false, call_concat},
    {"ARRAY_CONTAINS", 2, 3, false, call_contains},
    {"ARRAY_CONTAINS_ALL", 2, FUNCTION_ANY_COUNT, false, call_contains_all},
    {"ARRAY_CONTAINS_ANY", 2, FUNCTION_ANY_COUNT, false, call_contains_any},
    {"ARRAY_LENGTH", 1, 1, false, call_length},
    {"ARRAY_MAX", 1, 1, false, call_max},
    {"ARRAY_MIN", 1, 1, false, call_min},
    {"ARRAY_SLICE", 2, 3, false, call_slice},
    {"ARRAY_SUM", 1, 1, false, call_sum},
    {"CHOOSE", 2, FUNCTION_ANY_COUNT, false, call_choose},
    {"OBJECTTOARRAY", 1, 3, false, call_object_to_array},
    {"SETDIFFERENCE", 2, 2, false, call_difference},
    {"SETEQUAL", 2, 2, false, call_set_equal},
    {"SETINTERSECT", 2, 2, false, call_intersect},
    {"SETUNION", 2, 2, false, call_union},
    {.name = NULL},
};
