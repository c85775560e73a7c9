#include "node/query/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/err.h"
#include "node/base/mem.h"

#define CHUNK_SIZE (16 * 1024)

struct arena_chunk {
    struct arena_chunk *next;
    size_t used;
    size_t cap;
    max_align_t data[];
};

void arena_init(struct arena *a, size_t max)
{
    *a = (struct arena){.max = max};
}

void arena_free(struct arena *a)
{
    while (a->chunks != NULL) {
        struct arena_chunk *next = a->chunks->next;
        free(a->chunks);
        a->chunks = next;
    }
    a->held = 0;
}

void arena_reset(struct arena *a)
{
    struct arena_chunk *keep = a->chunks;
    a->failed = a->starved = false;
    if (keep == NULL)
        return;
    if (keep->next == NULL && keep->cap == CHUNK_SIZE) {
        keep->used = 0;
        return;
    }
    arena_free(a);
}

void arena_fail(struct arena *a, int err)
{
    a->failed = true;
    a->starved = a->starved || err == ERR_NO_MEMORY;
}

int arena_error(const struct arena *a)
{
    return a->starved ? ERR_NO_MEMORY : ERR_LIMIT;
}

static bool add_chunk(struct arena *a, size_t need)
{
    size_t cap = need > CHUNK_SIZE ? need : CHUNK_SIZE;
    if (cap > a->max - a->held)
        return false;
    struct arena_chunk *chunk = mem_try_alloc(sizeof(*chunk) + cap);
    if (chunk == NULL) {
        arena_fail(a, ERR_NO_MEMORY);
        return false;
    }
    *chunk = (struct arena_chunk){.next = a->chunks, .cap = cap};
    a->chunks = chunk;
    a->held += cap;
    return true;
}

void *arena_alloc(struct arena *a, size_t size)
{
    const size_t align = sizeof(max_align_t);
    if (a->failed || size > a->max) {
        a->failed = true;
        return NULL;
    }
    size = (size + align - 1) / align * align;
    struct arena_chunk *chunk = a->chunks;
    if (chunk == NULL || chunk->cap - chunk->used < size) {
        if (!add_chunk(a, size)) {
            a->failed = true;
            return NULL;
        }
        chunk = a->chunks;
    }
    void *room = (uint8_t *)chunk->data + chunk->used;
    chunk->used += size;
    return memset(room, 0, size);
}

struct bytes arena_copy(struct arena *a, struct bytes from)
{
    uint8_t *copy = arena_alloc(a, from.len);
    if (copy == NULL)
        return bytes_of(NULL, 0);
    if (from.len > 0)
        memcpy(copy, from.data, from.len);
    return bytes_of(copy, from.len);
}
