#include "node/base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/bytes.h"
#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"

#define BUF_FIRST_CAP 256

void buf_init(struct buf *b, size_t max)
{
    CHECK(max > 0);
    *b = (struct buf){.max = max};
}

void buf_free(struct buf *b)
{
    size_t max = b->max;
    free(b->data);
    *b = (struct buf){.max = max};
}

void buf_wipe(struct buf *b)
{
    if (b->data != NULL)
        mem_wipe(b->data, b->cap);
    buf_free(b);
}

void buf_clear(struct buf *b)
{
    b->head = b->tail = 0;
}

/* Slides the content to the front of the storage. */
static void buf_compact(struct buf *b)
{
    size_t len = buf_len(b);
    if (b->head > 0 && len > 0)
        memmove(b->data, b->data + b->head, len);
    b->head = 0;
    b->tail = len;
}

int buf_reserve(struct buf *b, size_t len, uint8_t **room_out)
{
    CHECK(b->max > 0);
    size_t used = buf_len(b);
    if (len > b->max - used)
        return ERR_LIMIT;
    if (b->cap - b->tail < len) {
        /* Compact only when that frees as much as it copies. */
        if (b->head >= used && b->cap - used >= len) {
            buf_compact(b);
        } else {
            size_t need = b->tail + len;
            size_t cap = b->cap > 0 ? b->cap : BUF_FIRST_CAP;
            while (cap < need)
                cap *= 2;
            uint8_t *grown = mem_try_realloc(b->data, cap);
            if (grown == NULL)
                return ERR_NO_MEMORY;
            b->data = grown;
            b->cap = cap;
        }
    }
    *room_out = b->data + b->tail;
    return ERR_OK;
}

void buf_commit(struct buf *b, size_t len)
{
    CHECK(len <= b->cap - b->tail);
    b->tail += len;
    CHECK(buf_len(b) <= b->max);
}

void buf_consume(struct buf *b, size_t len)
{
    CHECK(len <= buf_len(b));
    b->head += len;
    if (b->head == b->tail)
        buf_clear(b);
}

void buf_truncate(struct buf *b, size_t len)
{
    CHECK(len <= buf_len(b));
    b->tail = b->head + len;
}

int buf_append(struct buf *b, const void *data, size_t len)
{
    if (len == 0)
        return ERR_OK;
    uint8_t *room;
    int err = buf_reserve(b, len, &room);
    if (err != ERR_OK)
        return err;
    memcpy(room, data, len);
    buf_commit(b, len);
    return ERR_OK;
}

int buf_append_str(struct buf *b, const char *text)
{
    return buf_append(b, text, strlen(text));
}

int buf_append_u8(struct buf *b, uint8_t v)
{
    return buf_append(b, &v, 1);
}

int buf_append_u16_le(struct buf *b, uint16_t v)
{
    uint8_t bytes[2];
    put_u16_le(bytes, v);
    return buf_append(b, bytes, sizeof(bytes));
}

int buf_append_u32_le(struct buf *b, uint32_t v)
{
    uint8_t bytes[4];
    put_u32_le(bytes, v);
    return buf_append(b, bytes, sizeof(bytes));
}

int buf_append_u64_le(struct buf *b, uint64_t v)
{
    uint8_t bytes[8];
    put_u64_le(bytes, v);
    return buf_append(b, bytes, sizeof(bytes));
}

int buf_append_u32_be(struct buf *b, uint32_t v)
{
    uint8_t bytes[4];
    put_u32_be(bytes, v);
    return buf_append(b, bytes, sizeof(bytes));
}

int buf_append_u64_be(struct buf *b, uint64_t v)
{
    uint8_t bytes[8];
    put_u64_be(bytes, v);
    return buf_append(b, bytes, sizeof(bytes));
}

/* Formats into the room that is there already; false when it does not fit.
 * `*len_out` is then how long the text is, without its NUL. */
static bool print_in_place(struct buf *b, const char *format, va_list args,
                           size_t *len_out)
{
    size_t room = b->cap - b->tail;
    char *at = room > 0 ? (char *)b->data + b->tail : NULL;
    int len = vsnprintf(at, room, format, args);
    CHECK(len >= 0);
    *len_out = (size_t)len;
    if ((size_t)len >= room || (size_t)len > b->max - buf_len(b))
        return false;
    buf_commit(b, (size_t)len);
    return true;
}

int buf_vprintf(struct buf *b, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    size_t len;
    int err = ERR_OK;
    if (!print_in_place(b, format, args, &len)) {
        uint8_t *room;
        err = buf_reserve(b, len, &room);
        /* One more for the NUL that vsnprintf writes; it is not committed. */
        if (err == ERR_OK && b->cap - b->tail < len + 1) {
            uint8_t *grown = mem_try_realloc(b->data, b->cap + len + 1);
            if (grown == NULL) {
                err = ERR_NO_MEMORY;
            } else {
                b->data = grown;
                b->cap += len + 1;
            }
        }
        if (err == ERR_OK)
            CHECK(print_in_place(b, format, again, &len));
    }
    va_end(again);
    return err;
}

int buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int err = buf_vprintf(b, format, args);
    va_end(args);
    return err;
}

const char *buf_cstr(struct buf *b)
{
    if (b->cap == b->tail) {
        uint8_t *grown = mem_try_realloc(b->data, b->cap + 1);
        if (grown == NULL)
            return NULL;
        b->data = grown;
        b->cap += 1;
    }
    b->data[b->tail] = '\0';
    return (const char *)b->data + b->head;
}
