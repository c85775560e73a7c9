/* The scanner: one pass over the text, a stack of open containers, no
 * recursion. */
#include <endian.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"
#include "node/json/internal.h"
#include "node/json/json.h"

struct scan {
    struct json *j;
    const uint8_t *at; /* next byte */
    const uint8_t *end;
    json_ref open[JSON_DEPTH_LIMIT]; /* containers around `at` */
    uint32_t depth;
    uint32_t depth_max;
    enum json_fault fault;
};

void json_init(struct json *j)
{
    *j = (struct json){.nodes = NULL};
}

void json_free(struct json *j)
{
    free(j->nodes);
    json_init(j);
}

/* A finished scalar needs a byte of its own and one that separates it from the
 * next value; a container two brackets; those still open are bounded by the
 * depth. So this many nodes always do, and the scan need not grow anything. */
static int make_room(struct json *j, size_t len)
{
    uint32_t need = (uint32_t)(len / 2) + JSON_DEPTH_LIMIT + 2;
    bool oversized = j->cap > JSON_NODES_KEPT && need <= JSON_NODES_KEPT;
    if (need <= j->cap && !oversized)
        return ERR_OK;
    need = (need + 1023) / 1024 * 1024;
    free(j->nodes);
    j->nodes = mem_try_alloc((size_t)need * sizeof(*j->nodes));
    j->cap = j->nodes != NULL ? need : 0;
    return j->nodes != NULL ? ERR_OK : ERR_NO_MEMORY;
}

static inline bool fail(struct scan *s, enum json_fault fault)
{
    s->fault = fault;
    return false;
}

static inline struct json_node *push(struct scan *s, enum json_type type,
                                     const uint8_t *start)
{
    struct json *j = s->j;
    CHECK(j->count < j->cap);
    struct json_node *n = &j->nodes[j->count++];
    n->at = (uint32_t)(start - j->text);
    n->len = (uint32_t)(s->at - start);
    n->next = j->count;
    n->count = 0;
    n->type = type;
    n->flags = 0;
    return n;
}

static inline void skip_space(struct scan *s)
{
    if (s->at<s->end && * s->at> ' ')
        return;
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' ||
                              *s->at == '\n' || *s->at == '\r')) {
        s->at++;
        s->j->has_space = true;
    }
}

/* Moves `p` to the first byte that a string scan must look at: a quote, a
 * backslash, a control character or the start of a multi-byte character. Eight
 * bytes at a time; the lowest marked byte is exact although borrows may mark
 * bytes above it. */
static inline const uint8_t *skip_plain(const uint8_t *p, const uint8_t *end)
{
    const uint64_t ones = 0x0101010101010101ULL, high = ones * 0x80;
    while (end - p >= 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        w = le64toh(w);
        uint64_t quote = w ^ ones * '"', slash = w ^ ones * '\\';
        uint64_t hit = ((w - ones * 0x20) & ~w) | ((quote - ones) & ~quote) |
                       ((slash - ones) & ~slash) | w;
        hit &= high;
        if (hit != 0)
            return p + __builtin_ctzll(hit) / 8;
        p += 8;
    }
    while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\')
        p++;
    return p;
}

/* One multi-byte character at s->at (RFC 3629 section 4). */
static bool scan_utf8(struct scan *s)
{
    const uint8_t *p = s->at;
    size_t left = (size_t)(s->end - p);
    uint8_t lead = p[0], low = 0x80, high = 0xbf;
    size_t more;
    if (lead >= 0xc2 && lead <= 0xdf) {
        more = 1;
    } else if (lead >= 0xe0 && lead <= 0xef) {
        more = 2;
        low = lead == 0xe0 ? 0xa0 : 0x80;
        high = lead == 0xed ? 0x9f : 0xbf;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
        more = 3;
        low = lead == 0xf0 ? 0x90 : 0x80;
        high = lead == 0xf4 ? 0x8f : 0xbf;
    } else {
        return fail(s, JSON_FAULT_UTF8);
    }
    if (left <= more || p[1] < low || p[1] > high)
        return fail(s, JSON_FAULT_UTF8);
    for (size_t i = 2; i <= more; i++)
        if ((p[i] & 0xc0) != 0x80)
            return fail(s, JSON_FAULT_UTF8);
    s->at += more + 1;
    return true;
}

/* The four digits of an escape whose backslash is at s->at. */
static bool scan_hex4(struct scan *s, uint32_t *unit_out)
{
    if (s->end - s->at < 6)
        return fail(s, JSON_FAULT_HEX);
    int unit = json_hex4(s->at + 2);
    if (unit < 0)
        return fail(s, JSON_FAULT_HEX);
    *unit_out = (uint32_t)unit;
    return true;
}

static bool scan_unicode_escape(struct scan *s)
{
    const uint8_t *start = s->at;
    uint32_t unit, low;
    if (!scan_hex4(s, &unit))
        return false;
    s->at += 6;
    if (unit < 0xd800 || unit > 0xdfff)
        return true;
    if (unit <= 0xdbff && s->end - s->at >= 2 && s->at[0] == '\\' &&
        s->at[1] == 'u') {
        if (!scan_hex4(s, &low))
            return false;
        if (low >= 0xdc00 && low <= 0xdfff) {
            s->at += 6;
            return true;
        }
    }
    s->at = start;
    return fail(s, JSON_FAULT_SURROGATE);
}

static bool scan_escape(struct scan *s)
{
    if (s->end - s->at < 2)
        return fail(s, JSON_FAULT_END);
    switch (s->at[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        s->at += 2;
        return true;
    case 'u':
        return scan_unicode_escape(s);
    default:
        return fail(s, JSON_FAULT_ESCAPE);
    }
}

/* A string whose opening quote is at s->at; pushes its node. */
static bool scan_string(struct scan *s)
{
    const uint8_t *start = s->at++;
    uint8_t flags = 0;
    for (;;) {
        s->at = skip_plain(s->at, s->end);
        if (s->at == s->end)
            return fail(s, JSON_FAULT_END);
        uint8_t c = *s->at;
        if (c == '"')
            break;
        if (c < 0x20)
            return fail(s, JSON_FAULT_CONTROL);
        if (c == '\\') {
            flags = JSON_NODE_ESCAPED;
            if (!scan_escape(s))
                return false;
        } else if (!scan_utf8(s)) {
            return false;
        }
    }
    s->at++;
    push(s, JSON_STRING, start)->flags = flags & 0xf;
    return true;
}

static inline bool is_digit(const uint8_t *p, const uint8_t *end)
{
    return p < end && (uint8_t)(*p - '0') <= 9;
}

static inline bool scan_digits(struct scan *s)
{
    if (!is_digit(s->at, s->end))
        return fail(s, JSON_FAULT_NUMBER);
    while (is_digit(s->at, s->end))
        s->at++;
    return true;
}

/* RFC 8259 section 6. Without an exponent, up to 308 digits before the point
 * always fit a double; what remains is asked of the conversion. */
static bool scan_number(struct scan *s)
{
    const uint8_t *start = s->at;
    bool exponent = false;
    if (*s->at == '-')
        s->at++;
    const uint8_t *digits = s->at;
    if (!scan_digits(s))
        return false;
    size_t whole = (size_t)(s->at - digits);
    if (*digits == '0' && whole > 1) {
        s->at = digits;
        return fail(s, JSON_FAULT_NUMBER);
    }
    if (s->at < s->end && *s->at == '.') {
        s->at++;
        if (!scan_digits(s))
            return false;
    }
    if (s->at < s->end && (*s->at | 0x20) == 'e') {
        exponent = true;
        s->at++;
        if (s->at < s->end && (*s->at == '+' || *s->at == '-'))
            s->at++;
        if (!scan_digits(s))
            return false;
    }
    if (exponent || whole > 308) {
        struct bytes text = bytes_of(start, (size_t)(s->at - start));
        if (isinf(json_text_to_double(text))) {
            s->at = start;
            return fail(s, JSON_FAULT_NUMBER_RANGE);
        }
    }
    push(s, JSON_NUMBER, start);
    return true;
}

static bool scan_word(struct scan *s, const char *word, enum json_type type)
{
    size_t len = strlen(word);
    const uint8_t *start = s->at;
    if ((size_t)(s->end - start) < len || memcmp(start, word, len) != 0)
        return fail(s, JSON_FAULT_VALUE);
    s->at += len;
    push(s, type, start);
    return true;
}

static bool open_container(struct scan *s, enum json_type type)
{
    if (s->depth == s->depth_max)
        return fail(s, JSON_FAULT_TOO_DEEP);
    s->open[s->depth++] = s->j->count;
    const uint8_t *start = s->at++;
    push(s, type, start);
    return true;
}

static void close_container(struct scan *s)
{
    struct json_node *n = &s->j->nodes[s->open[--s->depth]];
    s->at++;
    n->len = (uint32_t)(s->at - s->j->text) - n->at;
    n->next = s->j->count;
}

static inline bool scan_value(struct scan *s)
{
    if (s->at == s->end)
        return fail(s, JSON_FAULT_END);
    switch (*s->at) {
    case '"':
        return scan_string(s);
    case '{':
        return open_container(s, JSON_OBJECT);
    case '[':
        return open_container(s, JSON_ARRAY);
    case 't':
        return scan_word(s, "true", JSON_BOOL);
    case 'f':
        return scan_word(s, "false", JSON_BOOL);
    case 'n':
        return scan_word(s, "null", JSON_NULL);
    default:
        if (*s->at == '-' || is_digit(s->at, s->end))
            return scan_number(s);
        return fail(s, JSON_FAULT_VALUE);
    }
}

/* `"name" :` and the space around, up to the value. */
static inline bool scan_key(struct scan *s)
{
    skip_space(s);
    if (s->at == s->end)
        return fail(s, JSON_FAULT_END);
    if (*s->at != '"')
        return fail(s, JSON_FAULT_KEY);
    if (!scan_string(s))
        return false;
    skip_space(s);
    if (s->at == s->end)
        return fail(s, JSON_FAULT_END);
    if (*s->at != ':')
        return fail(s, JSON_FAULT_COLON);
    s->at++;
    return true;
}

/* After a value: closes what ends here. Leaves s->at before the next value, or
 * at depth 0 when the whole text is read. */
static inline bool scan_after_value(struct scan *s)
{
    while (s->depth > 0) {
        struct json_node *in = &s->j->nodes[s->open[s->depth - 1]];
        bool object = in->type == JSON_OBJECT;
        in->count++;
        skip_space(s);
        if (s->at == s->end)
            return fail(s, JSON_FAULT_END);
        if (*s->at == ',') {
            s->at++;
            return object ? scan_key(s) : true;
        }
        if (*s->at != (object ? '}' : ']'))
            return fail(s, JSON_FAULT_COMMA);
        close_container(s);
    }
    return true;
}

/* After an opening bracket: true with `*empty_out` when it closes at once. */
static inline bool scan_inside(struct scan *s, bool *empty_out)
{
    bool object = s->j->nodes[s->open[s->depth - 1]].type == JSON_OBJECT;
    skip_space(s);
    if (s->at == s->end)
        return fail(s, JSON_FAULT_END);
    *empty_out = *s->at == (object ? '}' : ']');
    if (*empty_out) {
        close_container(s);
        return true;
    }
    return object ? scan_key(s) : true;
}

static bool scan_text(struct scan *s)
{
    skip_space(s);
    if (s->at == s->end)
        return fail(s, JSON_FAULT_EMPTY);
    do {
        uint32_t depth = s->depth;
        skip_space(s);
        if (!scan_value(s))
            return false;
        if (s->depth > depth) {
            bool empty;
            if (!scan_inside(s, &empty))
                return false;
            if (!empty)
                continue;
        }
        if (!scan_after_value(s))
            return false;
    } while (s->depth > 0);
    skip_space(s);
    return s->at == s->end || fail(s, JSON_FAULT_TRAILING);
}

static const char *fault_text(enum json_fault fault)
{
    static const char *const texts[] = {
#define JSON_FAULT_TEXT(name, text) text,
        JSON_FAULT_LIST(JSON_FAULT_TEXT)
#undef JSON_FAULT_TEXT
    };
    CHECK((size_t)fault < ARRAY_LEN(texts));
    return texts[fault];
}

static int report(struct json *j, struct json_error *error,
                  enum json_fault fault, size_t at)
{
    j->count = 0;
    if (error != NULL) {
        error->fault = fault;
        error->at = at;
        snprintf(error->text, sizeof(error->text), "%s at byte %zu",
                 fault_text(fault), at);
    }
    bool limit = fault == JSON_FAULT_TOO_LARGE || fault == JSON_FAULT_TOO_DEEP;
    return limit ? ERR_LIMIT : ERR_MALFORMED;
}

int json_parse(struct json *j, struct bytes text, size_t max,
               struct json_error *error)
{
    return json_parse_deep(j, text, max, JSON_DEPTH_MAX, error);
}

int json_parse_deep(struct json *j, struct bytes text, size_t max,
                    uint32_t depth_max, struct json_error *error)
{
    CHECK(depth_max <= JSON_DEPTH_LIMIT);
    j->count = 0;
    j->has_space = false;
    j->text = text.data;
    j->len = text.len;
    if (max > JSON_TEXT_MAX)
        max = JSON_TEXT_MAX;
    if (text.len > max)
        return report(j, error, JSON_FAULT_TOO_LARGE, max);
    if (text.len == 0)
        return report(j, error, JSON_FAULT_EMPTY, 0);
    int result = make_room(j, text.len);
    if (result != ERR_OK) {
        if (error != NULL)
            *error = (struct json_error){JSON_FAULT_NONE, 0, "out of memory"};
        return result;
    }
    struct scan s; /* not zeroed: `open` is large and written before read */
    s.j = j;
    s.at = text.data;
    s.end = text.data + text.len;
    s.depth = 0;
    s.depth_max = depth_max;
    s.fault = JSON_FAULT_NONE;
    if (!scan_text(&s))
        return report(j, error, s.fault, (size_t)(s.at - text.data));
    CHECK(s.depth == 0 && j->count > 0 && j->nodes[0].next == j->count);
    return ERR_OK;
}
