/* Fixed-width integers in byte strings, and a bounded reader for decoders.
 *
 * `struct cursor` reads foreign bytes. A read past the end returns zero or
 * NULL and marks the cursor failed; it stays failed. A decoder reads all its
 * fields and then asks once: cursor_ok(). It never reads out of bounds.
 */
#ifndef BASTIDE_BASE_BYTES_H
#define BASTIDE_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline void put_u16_le(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}
static inline void put_u32_le(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}
static inline void put_u64_le(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}
static inline void put_u32_be(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}
static inline void put_u64_be(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (56 - 8 * i));
}
static inline uint16_t get_u16_le(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}
static inline uint32_t get_u32_le(const uint8_t *p)
{
    uint32_t v = 0;
    for (int i = 3; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}
static inline uint64_t get_u64_le(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}
static inline uint32_t get_u32_be(const uint8_t *p)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        v = v << 8 | p[i];
    return v;
}
static inline uint64_t get_u64_be(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

/* Borrowed bytes: whoever makes one says how long they live. */
struct bytes {
    const uint8_t *data;
    size_t len;
};

static inline struct bytes bytes_of(const void *data, size_t len)
{
    return (struct bytes){data, len};
}
static inline struct bytes bytes_str(const char *text)
{
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}
static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}
/* Order of memcmp, a prefix before what it is a prefix of. */
static inline int bytes_compare(struct bytes a, struct bytes b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len > 0 ? memcmp(a.data, b.data, len) : 0;
    if (order != 0)
        return order;
    return a.len < b.len ? -1 : a.len > b.len;
}

struct cursor {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};

static inline struct cursor cursor_of(const void *data, size_t len)
{
    const uint8_t *at = data;
    return (struct cursor){at, len > 0 ? at + len : at, false};
}
static inline size_t cursor_left(const struct cursor *c)
{
    return (size_t)(c->end - c->at);
}
static inline bool cursor_ok(const struct cursor *c)
{
    return !c->failed;
}
/* All fields were read and nothing is left over. */
static inline bool cursor_done(const struct cursor *c)
{
    return !c->failed && c->at == c->end;
}
/* The next `len` bytes, borrowed from the input; NULL when there are fewer. */
static inline const uint8_t *cursor_take(struct cursor *c, size_t len)
{
    if (c->failed || cursor_left(c) < len) {
        c->failed = true;
        return NULL;
    }
    const uint8_t *p = c->at;
    c->at += len;
    return p;
}
static inline uint8_t cursor_u8(struct cursor *c)
{
    const uint8_t *p = cursor_take(c, 1);
    return p != NULL ? *p : 0;
}
static inline uint16_t cursor_u16_le(struct cursor *c)
{
    const uint8_t *p = cursor_take(c, 2);
    return p != NULL ? get_u16_le(p) : 0;
}
static inline uint32_t cursor_u32_le(struct cursor *c)
{
    const uint8_t *p = cursor_take(c, 4);
    return p != NULL ? get_u32_le(p) : 0;
}
static inline uint64_t cursor_u64_le(struct cursor *c)
{
    const uint8_t *p = cursor_take(c, 8);
    return p != NULL ? get_u64_le(p) : 0;
}
/* A u32_le length followed by that many bytes, at most `max`. */
static inline struct bytes cursor_blob(struct cursor *c, size_t max)
{
    uint32_t len = cursor_u32_le(c);
    if (len > max)
        c->failed = true;
    const uint8_t *p = cursor_take(c, len);
    return p != NULL ? bytes_of(p, len) : bytes_of(NULL, 0);
}

#endif
