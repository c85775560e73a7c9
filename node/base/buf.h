/* A byte buffer that grows up to a maximum it is given at birth.
 *
 * Producers append at the end, consumers remove from the front. An append that
 * would pass the maximum returns ERR_LIMIT and leaves the buffer as it was;
 * one that finds no memory returns ERR_NO_MEMORY, likewise.
 *
 * Integers: `_be` writes big-endian (keys that must sort), `_le`
 * little-endian (everything else on disk).
 */
#ifndef BASTIDE_BASE_BUF_H
#define BASTIDE_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct buf {
    uint8_t *data; /* storage, NULL until the first append */
    size_t head;   /* first byte not yet consumed */
    size_t tail;   /* one past the last byte */
    size_t cap;    /* bytes allocated */
    size_t max;    /* most bytes it may ever hold at once */
};

/* Makes an empty buffer; allocates nothing. `max` must be positive. */
void buf_init(struct buf *b, size_t max);
/* A buffer over `size` bytes of the caller's memory, full when they are used
 * up: for results of known size, without allocating. Only append to it; do not
 * free, wipe or consume it. */
static inline struct buf buf_over(void *storage, size_t size)
{
    return (struct buf){.data = storage, .cap = size, .max = size};
}
/* Frees the storage; the buffer may be used again with the same maximum. */
void buf_free(struct buf *b);
/* Like buf_free, but overwrites the contents first. For secrets. */
void buf_wipe(struct buf *b);
/* Empties it, keeps the storage. */
void buf_clear(struct buf *b);

static inline const uint8_t *buf_bytes(const struct buf *b)
{
    /* Without storage `head` is 0, and NULL + 0 is not defined in C. */
    return b->data != NULL ? b->data + b->head : NULL;
}
static inline size_t buf_len(const struct buf *b)
{
    return b->tail - b->head;
}

/* Makes room for `len` more bytes and returns where to write them; follow with
 * buf_commit. ERR_LIMIT, ERR_NO_MEMORY. */
int buf_reserve(struct buf *b, size_t len, uint8_t **room_out);
/* Declares that `len` bytes were written into the reserved room. */
void buf_commit(struct buf *b, size_t len);
/* Removes `len` bytes from the front. */
void buf_consume(struct buf *b, size_t len);
/* Drops everything after the first `len` bytes. */
void buf_truncate(struct buf *b, size_t len);

int buf_append(struct buf *b, const void *data, size_t len);
int buf_append_str(struct buf *b, const char *text);
int buf_append_u8(struct buf *b, uint8_t v);
int buf_append_u16_le(struct buf *b, uint16_t v);
int buf_append_u32_le(struct buf *b, uint32_t v);
int buf_append_u64_le(struct buf *b, uint64_t v);
int buf_append_u32_be(struct buf *b, uint32_t v);
int buf_append_u64_be(struct buf *b, uint64_t v);
int buf_printf(struct buf *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *b, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
/* Appends a NUL that does not count as content and returns the content as a C
 * string, valid until the next change. NULL when there is no memory. */
const char *buf_cstr(struct buf *b);

#endif
