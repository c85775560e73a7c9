#include "node/query/value.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/query/query.h"

struct value value_undefined(void)
{
    return (struct value){.type = VALUE_UNDEFINED};
}

struct value value_null(void)
{
    return (struct value){.type = VALUE_NULL};
}

struct value value_bool(bool b)
{
    return (struct value){.type = VALUE_BOOL, .boolean = b};
}

struct value value_number(double number)
{
    if (!isfinite(number))
        return value_undefined();
    return (struct value){.type = VALUE_NUMBER, .number = number};
}

struct value value_string(struct bytes text)
{
    return (struct value){.type = VALUE_STRING, .text = text};
}

struct value value_array(const struct value *items, uint32_t count)
{
    return (struct value){.type = VALUE_ARRAY, .count = count, .items = items};
}

struct value value_object(const struct value_member *members, uint32_t count)
{
    return (struct value){
        .type = VALUE_OBJECT, .count = count, .members = members};
}

/* The decoded text of a string node. */
static struct bytes text_of(struct arena *arena, const struct json *doc,
                            json_ref ref)
{
    struct bytes raw = json_raw(doc, ref);
    if (!json_string_escaped(doc, ref))
        return bytes_of(raw.data + 1, raw.len - 2);
    struct buf decoded;
    struct bytes text = {NULL, 0};
    buf_init(&decoded, raw.len);
    int err = json_decode_string(raw, &decoded);
    if (err == ERR_OK)
        text =
            arena_copy(arena, bytes_of(buf_bytes(&decoded), buf_len(&decoded)));
    else
        arena_fail(arena, err);
    buf_free(&decoded);
    return text;
}

struct value value_of_json(struct arena *arena, const struct json *doc,
                           json_ref ref)
{
    struct value v = {.doc = doc, .ref = ref};
    if (ref == JSON_NONE)
        return value_undefined();
    switch (json_type(doc, ref)) {
    case JSON_NULL:
        v.type = VALUE_NULL;
        break;
    case JSON_BOOL:
        v.type = VALUE_BOOL;
        v.boolean = json_bool(doc, ref);
        break;
    case JSON_NUMBER:
        v.type = VALUE_NUMBER;
        v.number = json_number(doc, ref);
        break;
    case JSON_STRING:
        v.type = VALUE_STRING;
        v.text = text_of(arena, doc, ref);
        break;
    case JSON_ARRAY:
        v.type = VALUE_ARRAY;
        v.count = json_count(doc, ref);
        break;
    case JSON_OBJECT:
        v.type = VALUE_OBJECT;
        v.count = json_count(doc, ref);
        break;
    }
    return v;
}

bool value_is_true(const struct value *v)
{
    return v->type == VALUE_BOOL && v->boolean;
}

uint32_t value_count(const struct value *v)
{
    return v->type == VALUE_ARRAY || v->type == VALUE_OBJECT ? v->count : 0;
}

struct value value_get(struct arena *arena, const struct value *v,
                       struct bytes name)
{
    if (v->type != VALUE_OBJECT)
        return value_undefined();
    if (v->doc != NULL)
        return value_of_json(arena, v->doc, json_get(v->doc, v->ref, name));
    for (uint32_t i = 0; i < v->count; i++)
        if (bytes_equal(v->members[i].name, name))
            return v->members[i].value;
    return value_undefined();
}

struct value value_at(struct arena *arena, const struct value *v,
                      uint32_t index)
{
    if (v->type != VALUE_ARRAY || index >= v->count)
        return value_undefined();
    if (v->doc != NULL)
        return value_of_json(arena, v->doc, json_at(v->doc, v->ref, index));
    return v->items[index];
}

void value_iter_init(struct value_iter *it, struct arena *arena,
                     const struct value *over)
{
    *it = (struct value_iter){.arena = arena, .over = over, .ref = JSON_NONE};
    if (over->doc != NULL && value_count(over) > 0)
        it->ref = json_first(over->doc, over->ref);
}

static bool next_in_json(struct value_iter *it, struct bytes *name_out,
                         struct value *value_out)
{
    const struct value *v = it->over;
    if (it->ref == JSON_NONE)
        return false;
    if (v->type == VALUE_ARRAY) {
        *value_out = value_of_json(it->arena, v->doc, it->ref);
        it->ref = json_next(v->doc, v->ref, it->ref);
        return true;
    }
    if (name_out != NULL)
        *name_out = text_of(it->arena, v->doc, it->ref);
    *value_out = value_of_json(it->arena, v->doc, it->ref + 1);
    it->ref = json_next_member(v->doc, v->ref, it->ref);
    return true;
}

bool value_iter_next(struct value_iter *it, struct bytes *name_out,
                     struct value *value_out)
{
    const struct value *v = it->over;
    if (name_out != NULL)
        *name_out = bytes_of(NULL, 0);
    if (it->index >= value_count(v))
        return false;
    if (v->doc != NULL)
        return next_in_json(it, name_out, value_out);
    if (v->type == VALUE_ARRAY) {
        *value_out = v->items[it->index++];
        return true;
    }
    if (name_out != NULL)
        *name_out = v->members[it->index].name;
    *value_out = v->members[it->index++].value;
    return true;
}

/* -- comparing ----------------------------------------------------------------
 */

/* Containers are equal when their encodings are. */
static bool encodings_equal(struct arena *arena, const struct value *a,
                            const struct value *b)
{
    struct buf x, y;
    bool equal = false;
    buf_init(&x, QUERY_ROW_MEMORY_MAX);
    buf_init(&y, QUERY_ROW_MEMORY_MAX);
    int err = value_encode(arena, a, &x);
    if (err == ERR_OK)
        err = value_encode(arena, b, &y);
    if (err == ERR_OK)
        equal = bytes_equal(bytes_of(buf_bytes(&x), buf_len(&x)),
                            bytes_of(buf_bytes(&y), buf_len(&y)));
    else
        arena_fail(arena, err);
    buf_free(&x);
    buf_free(&y);
    return equal;
}

bool value_equal(struct arena *arena, const struct value *a,
                 const struct value *b)
{
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case VALUE_UNDEFINED:
    case VALUE_NULL:
        return true;
    case VALUE_BOOL:
        return a->boolean == b->boolean;
    case VALUE_NUMBER:
        return a->number == b->number;
    case VALUE_STRING:
        return bytes_equal(a->text, b->text);
    case VALUE_ARRAY:
    case VALUE_OBJECT:
        return a->count == b->count && encodings_equal(arena, a, b);
    }
    CHECK_UNREACHABLE();
}

struct value value_equal_op(struct arena *arena, const struct value *a,
                            const struct value *b)
{
    if (a->type != b->type || a->type == VALUE_UNDEFINED)
        return value_undefined();
    return value_bool(value_equal(arena, a, b));
}

bool value_ordered(const struct value *a, const struct value *b, int *order_out)
{
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case VALUE_NULL:
        *order_out = 0;
        return true;
    case VALUE_BOOL:
        *order_out = a->boolean - b->boolean;
        return true;
    case VALUE_NUMBER:
        *order_out = (a->number > b->number) - (a->number < b->number);
        return true;
    case VALUE_STRING: {
        int order = bytes_compare(a->text, b->text);
        *order_out = (order > 0) - (order < 0);
        return true;
    }
    default:
        return false;
    }
}

/* -- carrying
 * ------------------------------------------------------------------- */

/* First bytes of encodings, in order; END closes arrays and objects. */
enum tag {
    TAG_END = 0,
    TAG_UNDEFINED,
    TAG_NULL,
    TAG_FALSE,
    TAG_TRUE,
    TAG_NUMBER,
    TAG_STRING,
    TAG_ARRAY,
    TAG_OBJECT,
    TAG_MEMBER = TAG_UNDEFINED, /* before each member's name */
};

/* The bits of a double sort like unsigned integers once the sign is turned:
 * positive numbers get the top bit, negative ones are inverted. */
static int encode_number(double number, struct buf *out)
{
    uint64_t bits;
    if (number == 0)
        number = 0; /* -0 equals 0 */
    memcpy(&bits, &number, sizeof(bits));
    bits = bits >> 63 ? ~bits : bits | 1ULL << 63;
    return buf_append_u64_be(out, bits);
}

/* A zero byte becomes 00 FF; 00 00 ends the text. */
static int encode_text(struct bytes text, struct buf *out)
{
    int result = ERR_OK;
    size_t at = 0;
    while (at < text.len && result == ERR_OK) {
        const uint8_t *zero = memchr(text.data + at, 0, text.len - at);
        size_t end = zero != NULL ? (size_t)(zero - text.data) : text.len;
        result = buf_append(out, text.data + at, end - at);
        if (result == ERR_OK && zero != NULL)
            result = buf_append(out, "\0\xff", 2);
        at = end + 1;
    }
    return result == ERR_OK ? buf_append(out, "\0\0", 2) : result;
}

static int encode_array(struct arena *arena, const struct value *v,
                        struct buf *out)
{
    struct value_iter it;
    struct value item;
    int result = ERR_OK;
    value_iter_init(&it, arena, v);
    while (result == ERR_OK && value_iter_next(&it, NULL, &item))
        result = value_encode(arena, &item, out);
    return result == ERR_OK ? buf_append_u8(out, TAG_END) : result;
}

static int by_name(const void *a, const void *b)
{
    const struct value_member *x = a, *y = b;
    return bytes_compare(x->name, y->name);
}

static int encode_object(struct arena *arena, const struct value *v,
                         struct buf *out)
{
    struct value_iter it;
    uint32_t count = 0;
    int result = ERR_OK;
    struct value_member *sorted =
        arena_alloc(arena, (v->count + 1) * sizeof(*sorted));
    if (sorted == NULL)
        return arena_error(arena);
    value_iter_init(&it, arena, v);
    while (count < v->count &&
           value_iter_next(&it, &sorted[count].name, &sorted[count].value))
        count += sorted[count].value.type != VALUE_UNDEFINED;
    qsort(sorted, count, sizeof(*sorted), by_name);
    for (uint32_t i = 0; i < count && result == ERR_OK; i++) {
        result = buf_append_u8(out, TAG_MEMBER);
        if (result == ERR_OK)
            result = encode_text(sorted[i].name, out);
        if (result == ERR_OK)
            result = value_encode(arena, &sorted[i].value, out);
    }
    return result == ERR_OK ? buf_append_u8(out, TAG_END) : result;
}

int value_encode(struct arena *arena, const struct value *v, struct buf *out)
{
    static const uint8_t tags[] = {
        [VALUE_UNDEFINED] = TAG_UNDEFINED, [VALUE_NULL] = TAG_NULL,
        [VALUE_BOOL] = TAG_FALSE,          [VALUE_NUMBER] = TAG_NUMBER,
        [VALUE_STRING] = TAG_STRING,       [VALUE_ARRAY] = TAG_ARRAY,
        [VALUE_OBJECT] = TAG_OBJECT,
    };
    bool truth = v->type == VALUE_BOOL && v->boolean;
    int result = buf_append_u8(out, truth ? TAG_TRUE : tags[v->type]);
    if (result != ERR_OK)
        return result;
    switch (v->type) {
    case VALUE_NUMBER:
        return encode_number(v->number, out);
    case VALUE_STRING:
        return encode_text(v->text, out);
    case VALUE_ARRAY:
        return encode_array(arena, v, out);
    case VALUE_OBJECT:
        return encode_object(arena, v, out);
    default:
        return ERR_OK;
    }
}

static void write_list(struct arena *arena, const struct value *v,
                       struct json_writer *w)
{
    struct value_iter it;
    struct bytes name;
    struct value item;
    value_iter_init(&it, arena, v);
    while (w->result == ERR_OK && value_iter_next(&it, &name, &item)) {
        if (item.type == VALUE_UNDEFINED)
            continue;
        if (v->type == VALUE_OBJECT)
            json_write_key_bytes(w, name);
        value_write(arena, &item, w);
    }
}

void value_write(struct arena *arena, const struct value *v,
                 struct json_writer *w)
{
    if (v->doc != NULL) {
        json_write_raw(w, json_raw(v->doc, v->ref));
        return;
    }
    switch (v->type) {
    case VALUE_UNDEFINED:
        CHECK_UNREACHABLE();
    case VALUE_NULL:
        json_write_null(w);
        break;
    case VALUE_BOOL:
        json_write_bool(w, v->boolean);
        break;
    case VALUE_NUMBER:
        json_write_number(w, v->number);
        break;
    case VALUE_STRING:
        json_write_string(w, v->text);
        break;
    case VALUE_ARRAY:
        json_write_array_begin(w);
        write_list(arena, v, w);
        json_write_array_end(w);
        break;
    case VALUE_OBJECT:
        json_write_object_begin(w);
        write_list(arena, v, w);
        json_write_object_end(w);
        break;
    }
}
