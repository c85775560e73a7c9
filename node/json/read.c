/* Looking things up in a parsed text. */
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/json/internal.h"
#include "node/json/json.h"

static const struct json_node *node_of(const struct json *j, json_ref ref,
                                       enum json_type type)
{
    CHECK(ref < j->count);
    CHECK(j->nodes[ref].type == type);
    return &j->nodes[ref];
}

bool json_bool(const struct json *j, json_ref ref)
{
    return j->text[node_of(j, ref, JSON_BOOL)->at] == 't';
}

double json_number(const struct json *j, json_ref ref)
{
    const struct json_node *n = node_of(j, ref, JSON_NUMBER);
    return json_text_to_double(bytes_of(j->text + n->at, n->len));
}

int json_int64(const struct json *j, json_ref ref, int64_t *value_out)
{
    const struct json_node *n = node_of(j, ref, JSON_NUMBER);
    const uint8_t *p = j->text + n->at, *end = p + n->len;
    bool negative = *p == '-';
    int64_t value = 0;
    for (p += negative; p < end; p++) {
        int digit = *p - '0';
        if (digit < 0 || digit > 9)
            return ERR_INVALID;
        /* Counting downwards, because INT64_MIN has no positive twin. */
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, digit, &value))
            return ERR_INVALID;
    }
    if (!negative && value == INT64_MIN)
        return ERR_INVALID;
    *value_out = negative ? value : -value;
    return ERR_OK;
}

bool json_string_escaped(const struct json *j, json_ref ref)
{
    return node_of(j, ref, JSON_STRING)->flags & JSON_NODE_ESCAPED;
}

/* Writes a code point (no surrogate) as UTF-8; returns how many bytes. */
static size_t json_encode_utf8(uint32_t point, uint8_t out[4])
{
    if (point < 0x80) {
        out[0] = (uint8_t)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (uint8_t)(0xc0 | point >> 6);
        out[1] = (uint8_t)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (uint8_t)(0xe0 | point >> 12);
        out[1] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (point & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | point >> 18);
    out[1] = (uint8_t)(0x80 | (point >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (point & 0x3f));
    return 4;
}

/* Decodes the escape at `*p` (a backslash) into up to 4 bytes of UTF-8. */
static size_t decode_escape(const uint8_t **p, uint8_t out[4])
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    uint8_t c = (*p)[1];
    if (c != 'u') {
        const char *found = strchr(from, c);
        out[0] = found != NULL ? (uint8_t)to[found - from] : c;
        *p += 2;
        return 1;
    }
    uint32_t point = (uint32_t)json_hex4(*p + 2);
    *p += 6;
    if (point >= 0xd800 && point <= 0xdbff) {
        uint32_t low = (uint32_t)json_hex4(*p + 2);
        point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
        *p += 6;
    }
    return json_encode_utf8(point, out);
}

int json_decode_string(struct bytes quoted, struct buf *out)
{
    CHECK(quoted.len >= 2);
    const uint8_t *p = quoted.data + 1, *end = quoted.data + quoted.len - 1;
    uint8_t *room;
    int result = buf_reserve(out, quoted.len, &room);
    if (result != ERR_OK)
        return result;
    uint8_t *to = room; /* decoding never lengthens */
    while (p < end) {
        const uint8_t *slash = memchr(p, '\\', (size_t)(end - p));
        size_t plain = (size_t)((slash != NULL ? slash : end) - p);
        to = mempcpy(to, p, plain);
        p += plain;
        if (p < end) {
            uint8_t utf8[4];
            size_t len = decode_escape(&p, utf8);
            to = mempcpy(to, utf8, len);
        }
    }
    buf_commit(out, (size_t)(to - room));
    return ERR_OK;
}

int json_string(const struct json *j, json_ref ref, struct buf *scratch,
                struct bytes *text_out)
{
    const struct json_node *n = node_of(j, ref, JSON_STRING);
    if (!(n->flags & JSON_NODE_ESCAPED)) {
        *text_out = bytes_of(j->text + n->at + 1, n->len - 2);
        return ERR_OK;
    }
    size_t before = buf_len(scratch);
    int result = json_decode_string(json_raw(j, ref), scratch);
    if (result != ERR_OK)
        return result;
    *text_out =
        bytes_of(buf_bytes(scratch) + before, buf_len(scratch) - before);
    return ERR_OK;
}

/* Compares an escaped string with `text` without decoding it anywhere. */
static bool escaped_equal(const uint8_t *p, const uint8_t *end,
                          struct bytes text)
{
    size_t at = 0;
    while (p < end) {
        uint8_t utf8[4] = {*p};
        size_t len = 1;
        if (*p == '\\')
            len = decode_escape(&p, utf8);
        else
            p++;
        if (text.len - at < len || memcmp(text.data + at, utf8, len) != 0)
            return false;
        at += len;
    }
    return at == text.len;
}

bool json_string_equal(const struct json *j, json_ref ref, struct bytes text)
{
    const struct json_node *n = node_of(j, ref, JSON_STRING);
    const uint8_t *start = j->text + n->at + 1;
    if (n->flags & JSON_NODE_ESCAPED)
        return escaped_equal(start, start + n->len - 2, text);
    return bytes_equal(bytes_of(start, n->len - 2), text);
}

json_ref json_get(const struct json *j, json_ref object, struct bytes key)
{
    CHECK(object < j->count);
    json_ref found = JSON_NONE;
    if (j->nodes[object].type != JSON_OBJECT)
        return found;
    for (json_ref k = json_first(j, object); k != JSON_NONE;
         k = json_next_member(j, object, k))
        if (json_string_equal(j, k, key))
            found = k + 1;
    return found;
}

json_ref json_get_str(const struct json *j, json_ref object, const char *key)
{
    return json_get(j, object, bytes_str(key));
}

json_ref json_at(const struct json *j, json_ref array, uint32_t index)
{
    CHECK(array < j->count);
    if (j->nodes[array].type != JSON_ARRAY || index >= json_count(j, array))
        return JSON_NONE;
    json_ref v = json_first(j, array);
    while (index-- > 0)
        v = j->nodes[v].next;
    return v;
}

int json_get_string(const struct json *j, json_ref object, const char *key,
                    struct buf *scratch, struct bytes *text_out)
{
    json_ref v = json_get_str(j, object, key);
    if (v == JSON_NONE)
        return ERR_NOT_FOUND;
    if (json_type(j, v) != JSON_STRING)
        return ERR_INVALID;
    return json_string(j, v, scratch, text_out);
}

int json_get_int64(const struct json *j, json_ref object, const char *key,
                   int64_t *value_out)
{
    json_ref v = json_get_str(j, object, key);
    if (v == JSON_NONE)
        return ERR_NOT_FOUND;
    if (json_type(j, v) != JSON_NUMBER)
        return ERR_INVALID;
    return json_int64(j, v, value_out);
}

int json_get_bool(const struct json *j, json_ref object, const char *key,
                  bool *value_out)
{
    json_ref v = json_get_str(j, object, key);
    if (v == JSON_NONE)
        return ERR_NOT_FOUND;
    if (json_type(j, v) != JSON_BOOL)
        return ERR_INVALID;
    *value_out = json_bool(j, v);
    return ERR_OK;
}
