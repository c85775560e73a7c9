#include "node/base/text.h"

#include <string.h>
#include <strings.h>

#include "node/base/err.h"

static const char base64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int text_base64_encode(struct bytes in, struct buf *out)
{
    size_t out_len = (in.len + 2) / 3 * 4;
    uint8_t *p;
    int err = buf_reserve(out, out_len, &p);
    if (err != ERR_OK)
        return err;
    for (size_t i = 0; i < in.len; i += 3) {
        size_t left = in.len - i;
        uint32_t group = (uint32_t)in.data[i] << 16;
        if (left > 1)
            group |= (uint32_t)in.data[i + 1] << 8;
        if (left > 2)
            group |= in.data[i + 2];
        *p++ = (uint8_t)base64_alphabet[group >> 18 & 63];
        *p++ = (uint8_t)base64_alphabet[group >> 12 & 63];
        *p++ = left > 1 ? (uint8_t)base64_alphabet[group >> 6 & 63] : '=';
        *p++ = left > 2 ? (uint8_t)base64_alphabet[group & 63] : '=';
    }
    buf_commit(out, out_len);
    return ERR_OK;
}

static int base64_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : -1;
}

int text_base64_decode(struct bytes in, struct buf *out)
{
    if (in.len % 4 != 0)
        return ERR_MALFORMED;
    if (in.len == 0)
        return ERR_OK;
    size_t pad = (in.data[in.len - 1] == '=') + (in.data[in.len - 2] == '=');
    size_t out_len = in.len / 4 * 3 - pad;
    uint8_t *p;
    int err = buf_reserve(out, out_len, &p);
    if (err != ERR_OK)
        return err;
    size_t written = 0;
    for (size_t i = 0; i < in.len; i += 4) {
        uint32_t group = 0;
        for (size_t j = 0; j < 4; j++) {
            bool padding = i + j >= in.len - pad;
            int v = padding ? 0 : base64_value(in.data[i + j]);
            if (v < 0)
                return ERR_MALFORMED;
            group = group << 6 | (uint32_t)v;
        }
        for (size_t j = 0; j < 3 && written < out_len; j++)
            p[written++] = (uint8_t)(group >> (16 - 8 * j));
    }
    buf_commit(out, out_len);
    return ERR_OK;
}

int text_hex_encode(struct bytes in, struct buf *out)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t *p;
    int err = buf_reserve(out, in.len * 2, &p);
    if (err != ERR_OK)
        return err;
    for (size_t i = 0; i < in.len; i++) {
        *p++ = (uint8_t)digits[in.data[i] >> 4];
        *p++ = (uint8_t)digits[in.data[i] & 15];
    }
    buf_commit(out, in.len * 2);
    return ERR_OK;
}

int text_hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int text_hex_decode(struct bytes in, struct buf *out)
{
    if (in.len % 2 != 0)
        return ERR_MALFORMED;
    uint8_t *p;
    int err = buf_reserve(out, in.len / 2, &p);
    if (err != ERR_OK)
        return err;
    for (size_t i = 0; i < in.len; i += 2) {
        int high = text_hex_value(in.data[i]);
        int low = text_hex_value(in.data[i + 1]);
        if (high < 0 || low < 0)
            return ERR_MALFORMED;
        *p++ = (uint8_t)(high << 4 | low);
    }
    buf_commit(out, in.len / 2);
    return ERR_OK;
}

/* The byte that the escape at `in.data[i]` stands for, -1 when it is none. */
static int percent_escape(struct bytes in, size_t i)
{
    if (in.len - i < 3)
        return -1;
    int high = text_hex_value(in.data[i + 1]);
    int low = text_hex_value(in.data[i + 2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

int text_percent_decode(struct bytes in, bool plus_is_space, struct buf *out)
{
    size_t out_len = 0;
    for (size_t i = 0; i < in.len; i++, out_len++)
        if (in.data[i] == '%') {
            if (percent_escape(in, i) < 0)
                return ERR_MALFORMED;
            i += 2;
        }
    uint8_t *p;
    int err = buf_reserve(out, out_len, &p);
    if (err != ERR_OK)
        return err;
    for (size_t i = 0; i < in.len; i++) {
        uint8_t c = in.data[i];
        if (c == '%') {
            c = (uint8_t)percent_escape(in, i);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        *p++ = c;
    }
    buf_commit(out, out_len);
    return ERR_OK;
}

int text_percent_encode(struct bytes in, struct buf *out)
{
    static const char digits[] = "0123456789ABCDEF";
    uint8_t *p;
    int err = buf_reserve(out, in.len * 3, &p);
    if (err != ERR_OK)
        return err;
    size_t written = 0;
    for (size_t i = 0; i < in.len; i++) {
        uint8_t c = in.data[i];
        bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                     (c >= '0' && c <= '9') || c == '-' || c == '.' ||
                     c == '_' || c == '~';
        if (plain) {
            p[written++] = c;
        } else {
            p[written++] = '%';
            p[written++] = (uint8_t)digits[c >> 4];
            p[written++] = (uint8_t)digits[c & 15];
        }
    }
    buf_commit(out, written);
    return ERR_OK;
}

/* The length of the well-formed sequence at `p`, 0 when there is none. */
static size_t utf8_sequence(const uint8_t *p, size_t left)
{
    uint8_t c = p[0];
    if (c < 0x80)
        return 1;
    size_t len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0xc2 || c > 0xf4 || len > left)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f) ||
        (c == 0xf0 && p[1] < 0x90) || (c == 0xf4 && p[1] > 0x8f))
        return 0;
    return len;
}

bool text_is_utf8(struct bytes in)
{
    for (size_t i = 0; i < in.len;) {
        size_t len = utf8_sequence(in.data + i, in.len - i);
        if (len == 0)
            return false;
        i += len;
    }
    return true;
}

int text_parse_u64(struct bytes in, uint64_t max, uint64_t *value_out)
{
    if (in.len == 0 || in.len > 20)
        return ERR_MALFORMED;
    uint64_t value = 0;
    for (size_t i = 0; i < in.len; i++) {
        if (in.data[i] < '0' || in.data[i] > '9')
            return ERR_MALFORMED;
        uint64_t digit = (uint64_t)(in.data[i] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return ERR_LIMIT;
        value = value * 10 + digit;
    }
    if (value > max)
        return ERR_LIMIT;
    *value_out = value;
    return ERR_OK;
}

size_t text_put_u64(uint64_t value, char *out)
{
    char digits[TEXT_U64_MAX];
    size_t count = 0, len = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    while (count > 0)
        out[len++] = digits[--count];
    return len;
}

bool text_equal_nocase(struct bytes a, const char *b)
{
    return a.len == strlen(b) &&
           (a.len == 0 || strncasecmp((const char *)a.data, b, a.len) == 0);
}
