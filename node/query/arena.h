/* Memory that is given back all at once: for one compiled query, for the
 * evaluation of one document. It has a maximum; past it (or without memory) an
 * allocation returns NULL and the arena stays failed until it is reset, so that
 * an evaluator may go on and ask once at the end. */
#ifndef BASTIDE_QUERY_ARENA_H
#define BASTIDE_QUERY_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "node/base/bytes.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; /* newest first */
    size_t held;                /* bytes of all chunks */
    size_t max;
    bool failed;
    bool starved; /* failed for want of memory, not by its maximum */
};

void arena_init(struct arena *a, size_t max);
void arena_free(struct arena *a);
/* Forgets everything allocated; keeps one chunk for the next round. */
void arena_reset(struct arena *a);
/* Makes it failed, as something beside it is: ERR_NO_MEMORY, ERR_LIMIT. */
void arena_fail(struct arena *a, int err);
/* What the failure of a failed arena is: ERR_NO_MEMORY or ERR_LIMIT. */
int arena_error(const struct arena *a);
/* Zeroed and aligned for any type; NULL when the arena is or becomes failed. */
void *arena_alloc(struct arena *a, size_t size);
/* A copy; {NULL, 0} when it fails. */
struct bytes arena_copy(struct arena *a, struct bytes from);

#endif
