/* Functions about strings. Positions and lengths count characters (code
 * points), so that no result is half a character. */
#include <math.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/query/function.h"
#include "node/query/query.h"
#include "node/query/utf8.h"

/* Whether the first `count` arguments are strings. */
static bool strings(const struct call *c, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (c->args[i].type != VALUE_STRING)
            return false;
    return true;
}

/* Argument `i` as a position: towards zero, within 0 and INT32_MAX. */
static bool position(const struct call *c, uint32_t i, uint32_t *position_out)
{
    if (c->args[i].type != VALUE_NUMBER)
        return false;
    double n = c->args[i].number;
    *position_out = n < 0 ? 0 : n > INT32_MAX ? INT32_MAX : (uint32_t)n;
    return true;
}

static struct bytes slice(struct bytes text, size_t from, size_t to)
{
    return bytes_of(text.data + from, to - from);
}

static struct bytes map_case(struct arena *arena, struct bytes text,
                             uint32_t (*map)(uint32_t))
{
    /* No mapping of ours needs more bytes than it replaces, but for the two
     * that double; room for twice the text is always enough. */
    uint8_t *out = arena_alloc(arena, 2 * text.len + 4);
    size_t len = 0;
    if (out == NULL)
        return bytes_of(NULL, 0);
    for (size_t i = 0; i < text.len; i += utf8_len(text.data + i))
        len += utf8_encode(map(utf8_decode(text.data + i)), out + len);
    return bytes_of(out, len);
}

static struct value call_lower(const struct call *c)
{
    if (!strings(c, 1))
        return value_undefined();
    return value_string(map_case(c->arena, c->args[0].text, utf8_lower));
}

static struct value call_upper(const struct call *c)
{
    if (!strings(c, 1))
        return value_undefined();
    return value_string(map_case(c->arena, c->args[0].text, utf8_upper));
}

static struct value call_length(const struct call *c)
{
    if (!strings(c, 1))
        return value_undefined();
    return value_number(utf8_count(c->args[0].text));
}

/* -- searching
 * ------------------------------------------------------------------------ */

/* The two texts to compare, in one case when the third argument is true. */
static bool two_texts(const struct call *c, struct bytes *a_out,
                      struct bytes *b_out)
{
    if (!strings(c, 2) || (c->count > 2 && c->args[2].type != VALUE_BOOL))
        return false;
    *a_out = c->args[0].text;
    *b_out = c->args[1].text;
    if (c->count > 2 && c->args[2].boolean) {
        *a_out = map_case(c->arena, *a_out, utf8_lower);
        *b_out = map_case(c->arena, *b_out, utf8_lower);
    }
    return true;
}

/* Where `part` begins in `text` at or after `from`; SIZE_MAX: nowhere. */
static size_t find(struct bytes text, struct bytes part, size_t from)
{
    if (part.len == 0)
        return from;
    const uint8_t *hit =
        from < text.len
            ? memmem(text.data + from, text.len - from, part.data, part.len)
            : NULL;
    return hit != NULL ? (size_t)(hit - text.data) : SIZE_MAX;
}

static struct value call_contains(const struct call *c)
{
    struct bytes a, b;
    if (!two_texts(c, &a, &b))
        return value_undefined();
    return value_bool(find(a, b, 0) != SIZE_MAX);
}

static struct value call_starts_with(const struct call *c)
{
    struct bytes a, b;
    if (!two_texts(c, &a, &b))
        return value_undefined();
    return value_bool(a.len >= b.len && bytes_equal(slice(a, 0, b.len), b));
}

static struct value call_ends_with(const struct call *c)
{
    struct bytes a, b;
    if (!two_texts(c, &a, &b))
        return value_undefined();
    return value_bool(a.len >= b.len &&
                      bytes_equal(slice(a, a.len - b.len, a.len), b));
}

static struct value call_string_equals(const struct call *c)
{
    struct bytes a, b;
    if (!two_texts(c, &a, &b))
        return value_undefined();
    return value_bool(bytes_equal(a, b));
}

/* As a number of characters; -1 when not found. */
static struct value found_at(struct bytes text, size_t at)
{
    if (at == SIZE_MAX)
        return value_number(-1);
    return value_number(utf8_count(slice(text, 0, at)));
}

static struct value call_index_of(const struct call *c)
{
    uint32_t from = 0;
    if (!strings(c, 2) || (c->count > 2 && !position(c, 2, &from)))
        return value_undefined();
    struct bytes text = c->args[0].text;
    if (from > utf8_count(text))
        return value_number(-1);
    return found_at(text, find(text, c->args[1].text, utf8_offset(text, from)));
}

static struct bytes reversed(struct arena *arena, struct bytes text)
{
    uint8_t *out = arena_alloc(arena, text.len);
    if (out == NULL)
        return bytes_of(NULL, 0);
    for (size_t i = 0; i < text.len; i++)
        out[i] = text.data[text.len - 1 - i];
    return bytes_of(out, text.len);
}

/* The last place is the first one seen from the end; searching backwards byte
 * by byte could take the product of both lengths. */
static struct value call_last_index_of(const struct call *c)
{
    if (!strings(c, 2))
        return value_undefined();
    struct bytes text = c->args[0].text, part = c->args[1].text;
    size_t at = find(reversed(c->arena, text), reversed(c->arena, part), 0);
    if (c->arena->failed)
        return value_undefined();
    return found_at(text, at == SIZE_MAX ? at : text.len - at - part.len);
}

/* -- cutting
 * ---------------------------------------------------------------------------
 */

/* `length` characters from number `from`. */
static struct value characters(struct bytes text, uint32_t from,
                               uint32_t length)
{
    size_t start = utf8_offset(text, from);
    struct bytes rest = slice(text, start, text.len);
    return value_string(slice(rest, 0, utf8_offset(rest, length)));
}

static struct value call_substring(const struct call *c)
{
    uint32_t from, length;
    if (!strings(c, 1) || !position(c, 1, &from) || !position(c, 2, &length))
        return value_undefined();
    return characters(c->args[0].text, from, length);
}

static struct value call_left(const struct call *c)
{
    uint32_t length;
    if (!strings(c, 1) || !position(c, 1, &length))
        return value_undefined();
    return characters(c->args[0].text, 0, length);
}

static struct value call_right(const struct call *c)
{
    uint32_t length;
    if (!strings(c, 1) || !position(c, 1, &length))
        return value_undefined();
    uint32_t count = utf8_count(c->args[0].text);
    return characters(c->args[0].text, length < count ? count - length : 0,
                      length);
}

static struct value call_substring_before(const struct call *c)
{
    if (!strings(c, 2))
        return value_undefined();
    struct bytes text = c->args[0].text;
    size_t at = find(text, c->args[1].text, 0);
    return value_string(slice(text, 0, at == SIZE_MAX ? 0 : at));
}

static struct value call_substring_after(const struct call *c)
{
    if (!strings(c, 2))
        return value_undefined();
    struct bytes text = c->args[0].text;
    size_t at = find(text, c->args[1].text, 0);
    at = at == SIZE_MAX ? text.len : at + c->args[1].text.len;
    return value_string(slice(text, at, text.len));
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct value trimmed(const struct call *c, bool left, bool right)
{
    if (!strings(c, 1))
        return value_undefined();
    size_t from = 0, to = c->args[0].text.len;
    while (left && from < to && is_blank(c->args[0].text.data[from]))
        from++;
    while (right && to > from && is_blank(c->args[0].text.data[to - 1]))
        to--;
    return value_string(slice(c->args[0].text, from, to));
}

static struct value call_trim(const struct call *c)
{
    return trimmed(c, true, true);
}
static struct value call_ltrim(const struct call *c)
{
    return trimmed(c, true, false);
}
static struct value call_rtrim(const struct call *c)
{
    return trimmed(c, false, true);
}

/* -- making
 * -----------------------------------------------------------------------------
 */

/* The contents of `b` as a string in the arena; frees `b`. */
static struct value take_text(const struct call *c, struct buf *b, int result)
{
    struct value v = value_undefined();
    if (result == ERR_OK)
        v = value_string(
            arena_copy(c->arena, bytes_of(buf_bytes(b), buf_len(b))));
    else
        arena_fail(c->arena, result);
    buf_free(b);
    return v;
}

static int append(struct buf *b, struct bytes text)
{
    return buf_append(b, text.data, text.len);
}

static struct value call_concat(const struct call *c)
{
    struct buf b;
    int result = ERR_OK;
    if (!strings(c, c->count))
        return value_undefined();
    buf_init(&b, QUERY_ROW_MEMORY_MAX);
    for (uint32_t i = 0; i < c->count && result == ERR_OK; i++)
        result = append(&b, c->args[i].text);
    return take_text(c, &b, result);
}

static struct value call_replace(const struct call *c)
{
    struct buf b;
    int result = ERR_OK;
    size_t from = 0;
    if (!strings(c, 3))
        return value_undefined();
    struct bytes text = c->args[0].text, part = c->args[1].text;
    if (part.len == 0)
        return c->args[0];
    buf_init(&b, QUERY_ROW_MEMORY_MAX);
    for (size_t at;
         result == ERR_OK && (at = find(text, part, from)) != SIZE_MAX;
         from = at + part.len) {
        result = append(&b, slice(text, from, at));
        if (result == ERR_OK)
            result = append(&b, c->args[2].text);
    }
    if (result == ERR_OK)
        result = append(&b, slice(text, from, text.len));
    return take_text(c, &b, result);
}

/* The service refuses more than 10,000 repetitions; so is the result here. */
static struct value call_replicate(const struct call *c)
{
    struct buf b;
    int result = ERR_OK;
    if (!strings(c, 1) || c->args[1].type != VALUE_NUMBER)
        return value_undefined();
    double count = c->args[1].number;
    if (count < 0 || count > 10000)
        return value_undefined();
    buf_init(&b, QUERY_ROW_MEMORY_MAX);
    for (uint32_t i = (uint32_t)count; i > 0 && result == ERR_OK; i--)
        result = append(&b, c->args[0].text);
    return take_text(c, &b, result);
}

static struct value call_reverse(const struct call *c)
{
    if (!strings(c, 1))
        return value_undefined();
    struct bytes text = c->args[0].text;
    uint8_t *out = arena_alloc(c->arena, text.len);
    if (out == NULL)
        return value_undefined();
    size_t at = text.len;
    for (size_t i = 0; i < text.len;) {
        uint32_t len = utf8_len(text.data + i);
        at -= len;
        memcpy(out + at, text.data + i, len);
        i += len;
    }
    return value_string(bytes_of(out, text.len));
}

static struct value call_to_string(const struct call *c)
{
    struct buf b;
    struct json_writer w;
    if (c->args[0].type == VALUE_STRING)
        return c->args[0];
    buf_init(&b, QUERY_ROW_MEMORY_MAX);
    json_writer_init(&w, &b);
    value_write(c->arena, &c->args[0], &w);
    return take_text(c, &b, json_writer_end(&w));
}

static struct value call_string_join(const struct call *c)
{
    struct buf b;
    struct value_iter it;
    struct value item;
    int result = ERR_OK;
    bool all = c->args[0].type == VALUE_ARRAY, first = true;
    if (!all || c->args[1].type != VALUE_STRING)
        return value_undefined();
    buf_init(&b, QUERY_ROW_MEMORY_MAX);
    value_iter_init(&it, c->arena, &c->args[0]);
    while (all && result == ERR_OK && value_iter_next(&it, NULL, &item)) {
        all = item.type == VALUE_STRING;
        if (all && !first)
            result = append(&b, c->args[1].text);
        if (all && result == ERR_OK)
            result = append(&b, item.text);
        first = false;
    }
    struct value joined = take_text(c, &b, result);
    return all ? joined : value_undefined();
}

static struct value call_string_split(const struct call *c)
{
    if (!strings(c, 2))
        return value_undefined();
    struct bytes text = c->args[0].text, part = c->args[1].text;
    uint32_t count = 1, i = 0;
    size_t from = 0, at;
    if (part.len > 0)
        for (from = 0; (at = find(text, part, from)) != SIZE_MAX;
             from = at + part.len)
            count++;
    struct value *items = arena_alloc(c->arena, count * sizeof(*items));
    if (items == NULL)
        return value_undefined();
    for (from = 0; i + 1 < count; from = at + part.len) {
        at = find(text, part, from);
        items[i++] = value_string(slice(text, from, at));
    }
    items[i] = value_string(slice(text, from, text.len));
    return value_array(items, count);
}

/* -- reading JSON
 * -------------------------------------------------------------------------- */

/* A deep copy out of a text that is going away. */
static struct value copy_of(struct arena *arena, const struct value *v)
{
    struct value_iter it;
    struct value copy = *v;
    uint32_t i = 0;
    copy.doc = NULL;
    if (v->type == VALUE_STRING)
        copy.text = arena_copy(arena, v->text);
    if (v->type != VALUE_ARRAY && v->type != VALUE_OBJECT)
        return copy;
    struct value_member *members =
        arena_alloc(arena, v->count * sizeof(*members));
    struct value *items = arena_alloc(arena, v->count * sizeof(*items));
    if (members == NULL || items == NULL)
        return value_undefined();
    value_iter_init(&it, arena, v);
    while (value_iter_next(&it, &members[i].name, &items[i])) {
        members[i].name = arena_copy(arena, members[i].name);
        items[i] = copy_of(arena, &items[i]);
        members[i].value = items[i];
        if (++i == v->count)
            break;
    }
    return v->type == VALUE_ARRAY ? value_array(items, i)
                                  : value_object(members, i);
}

/* The value a text holds, when it is of one of the two types. */
static struct value read_json(const struct call *c, enum value_type type)
{
    struct json j;
    struct value v = value_undefined();
    if (!strings(c, 1))
        return v;
    json_init(&j);
    if (json_parse(&j, c->args[0].text, QUERY_ROW_MAX, NULL) == ERR_OK &&
        json_members_unique(&j, 0)) {
        struct value read = value_of_json(c->arena, &j, 0);
        if (read.type == type)
            v = copy_of(c->arena, &read);
    }
    json_free(&j);
    return v;
}

static struct value call_to_array(const struct call *c)
{
    return read_json(c, VALUE_ARRAY);
}
static struct value call_to_boolean(const struct call *c)
{
    return read_json(c, VALUE_BOOL);
}
static struct value call_to_null(const struct call *c)
{
    return read_json(c, VALUE_NULL);
}
static struct value call_to_number(const struct call *c)
{
    return read_json(c, VALUE_NUMBER);
}
static struct value call_to_object(const struct call *c)
{
    return read_json(c, VALUE_OBJECT);
}

const struct function function_strings[] = {
    {"CONCAT", 2, FUNCTION_ANY_COUNT, false, call_concat},
    {"CONTAINS", 2, 3, false, call_contains},
    {"ENDSWITH", 2, 3, false, call_ends_with},
    {"INDEX_OF", 2, 3, false, call_index_of},
    {"LASTINDEXOF", 2, 2, false, call_last_index_of},
    {"LEFT", 2, 2, false, call_left},
    {"LENGTH", 1, 1, false, call_length},
    {"LOWER", 1, 1, false, call_lower},
    {"LTRIM", 1, 1, false, call_ltrim},
    {"REPLACE", 3, 3, false, call_replace},
    {"REPLICATE", 2, 2, false, call_replicate},
    {"REVERSE", 1, 1, false, call_reverse},
    {"RIGHT", 2, 2, false, call_right},
    {"RTRIM", 1, 1, false, call_rtrim},
    {"STARTSWITH", 2, 3, false, call_starts_with},
    {"STRINGEQUALS", 2, 3, false, call_string_equals},
    {"STRINGJOIN", 2, 2, false, call_string_join},
    {"STRINGSPLIT", 2, 2, false, call_string_split},
    {"STRINGTOARRAY", 1, 1, false, call_to_array},
    {"STRINGTOBOOLEAN", 1, 1, false, call_to_boolean},
    {"STRINGTONULL", 1, 1, false, call_to_null},
    {"STRINGTONUMBER", 1, 1, false, call_to_number},
    {"STRINGTOOBJECT", 1, 1, false, call_to_object},
    {"SUBSTRING", 3, 3, false, call_substring},
    {"SUBSTRINGAFTER", 2, 2, false, call_substring_after},
    {"SUBSTRINGBEFORE", 2, 2, false, call_substring_before},
    {"TOSTRING", 1, 1, false, call_to_string},
    {"TRIM", 1, 1, false, call_trim},
    {"UPPER", 1, 1, false, call_upper},
    {.name = NULL},
};
