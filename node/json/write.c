/* The writer. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/json/json.h"

void json_writer_init(struct json_writer *w, struct buf *out)
{
    *w = (struct json_writer){.out = out, .result = ERR_OK};
}

int json_writer_end(const struct json_writer *w)
{
    CHECK_IMPLIES(w->result == ERR_OK, w->depth == 0);
    return w->result;
}

static void put(struct json_writer *w, const void *data, size_t len)
{
    if (w->result == ERR_OK)
        w->result = buf_append(w->out, data, len);
}

static void before_value(struct json_writer *w)
{
    if (w->comma)
        put(w, ",", 1);
    w->comma = true;
}

static void begin(struct json_writer *w, const char *bracket)
{
    before_value(w);
    put(w, bracket, 1);
    w->depth++;
    w->comma = false;
}

static void end(struct json_writer *w, const char *bracket)
{
    CHECK(w->depth > 0);
    put(w, bracket, 1);
    w->depth--;
    w->comma = true;
}

void json_write_object_begin(struct json_writer *w)
{
    begin(w, "{");
}
void json_write_object_end(struct json_writer *w)
{
    end(w, "}");
}
void json_write_array_begin(struct json_writer *w)
{
    begin(w, "[");
}
void json_write_array_end(struct json_writer *w)
{
    end(w, "]");
}

/* Length of the well-formed UTF-8 character at `p`, or 0. */
static size_t utf8_length(const uint8_t *p, size_t left)
{
    uint8_t c = p[0];
    if (c < 0x80)
        return 1;
    if (left < 2 || c < 0xc2 || c > 0xf4)
        return 0;
    size_t len = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    uint8_t low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    uint8_t high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (left < len || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

/* What a byte that cannot stand in a string is written as. */
static int put_special(uint8_t c, struct buf *out)
{
    static const char from[] = "\b\f\n\r\t\"\\", to[] = "bfnrt\"\\";
    if (c >= 0x80)
        return buf_append_str(out, "\xef\xbf\xbd");
    const char *found = c != 0 ? strchr(from, c) : NULL;
    if (found != NULL) {
        char escape[2] = {'\\', to[found - from]};
        return buf_append(out, escape, 2);
    }
    return buf_printf(out, "\\u%04x", c);
}

int json_quote(struct bytes text, struct buf *out)
{
    size_t before = buf_len(out), at = 0, plain = 0;
    int result = buf_append(out, "\"", 1);
    while (result == ERR_OK && at < text.len) {
        uint8_t c = text.data[at];
        size_t len = 0;
        if (c >= 0x20 && c != '"' && c != '\\')
            len = utf8_length(text.data + at, text.len - at);
        if (len > 0) {
            at += len;
            continue;
        }
        result = buf_append(out, text.data + plain, at - plain);
        if (result == ERR_OK)
            result = put_special(c, out);
        plain = ++at;
    }
    if (result == ERR_OK)
        result = buf_append(out, text.data + plain, text.len - plain);
    if (result == ERR_OK)
        result = buf_append(out, "\"", 1);
    if (result != ERR_OK)
        buf_truncate(out, before);
    return result;
}

void json_write_string(struct json_writer *w, struct bytes text)
{
    before_value(w);
    if (w->result == ERR_OK)
        w->result = json_quote(text, w->out);
}

void json_write_str(struct json_writer *w, const char *text)
{
    json_write_string(w, bytes_str(text));
}

void json_write_key_bytes(struct json_writer *w, struct bytes key)
{
    CHECK(w->depth > 0);
    json_write_string(w, key);
    put(w, ":", 1);
    w->comma = false;
}

void json_write_key_raw(struct json_writer *w, struct bytes quoted)
{
    CHECK(w->depth > 0);
    json_write_raw(w, quoted);
    put(w, ":", 1);
    w->comma = false;
}

void json_write_key(struct json_writer *w, const char *key)
{
    json_write_key_bytes(w, bytes_str(key));
}

void json_write_number(struct json_writer *w, double value)
{
    char text[JSON_NUMBER_MAX];
    size_t len = json_format_number(value, text);
    json_write_raw(w, bytes_of(text, len));
}

void json_write_int64(struct json_writer *w, int64_t value)
{
    char text[JSON_NUMBER_MAX];
    int len = snprintf(text, sizeof(text), "%" PRId64, value);
    json_write_raw(w, bytes_of(text, (size_t)len));
}

void json_write_uint64(struct json_writer *w, uint64_t value)
{
    char text[JSON_NUMBER_MAX];
    int len = snprintf(text, sizeof(text), "%" PRIu64, value);
    json_write_raw(w, bytes_of(text, (size_t)len));
}

void json_write_bool(struct json_writer *w, bool value)
{
    json_write_raw(w, bytes_str(value ? "true" : "false"));
}

void json_write_null(struct json_writer *w)
{
    json_write_raw(w, bytes_str("null"));
}

void json_write_raw(struct json_writer *w, struct bytes json)
{
    before_value(w);
    put(w, json.data, json.len);
}

void json_write_member_str(struct json_writer *w, const char *key,
                           const char *text)
{
    json_write_key(w, key);
    json_write_str(w, text);
}

void json_write_member_string(struct json_writer *w, const char *key,
                              struct bytes text)
{
    json_write_key(w, key);
    json_write_string(w, text);
}

void json_write_member_int64(struct json_writer *w, const char *key,
                             int64_t value)
{
    json_write_key(w, key);
    json_write_int64(w, value);
}

void json_write_member_bool(struct json_writer *w, const char *key, bool value)
{
    json_write_key(w, key);
    json_write_bool(w, value);
}

void json_write_member_raw(struct json_writer *w, const char *key,
                           struct bytes json)
{
    json_write_key(w, key);
    json_write_raw(w, json);
}
