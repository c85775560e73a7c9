/* Memory for bookkeeping whose size the program bounds itself.
 *
 * These never return NULL: when the system has no memory left for a few
 * hundred bytes of bookkeeping, the process reports it and stops; the log makes
 * a restart safe. Memory whose size a user or a peer chooses (bodies, frames,
 * pages) goes through `buf.h`, which has a maximum and returns an error, or
 * through the functions with `try` in their names.
 */
#ifndef BASTIDE_BASE_MEM_H
#define BASTIDE_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *mem_alloc(size_t size);              /* uninitialised */
void *mem_zalloc(size_t size);             /* zeroed */
void *mem_realloc(void *ptr, size_t size); /* like realloc */
char *mem_strdup(const char *text);
char *mem_strndup(const char *text, size_t len); /* NUL-terminated copy */
void *mem_dup(const void *data, size_t len);
void mem_free(void *ptr); /* NULL is allowed */

/* -- memory that may be missing ----------------------------------------------
 *
 * For what a user or a peer chooses the size of, in buf.h and elsewhere: NULL
 * when there is none. mem_free takes it back. */
void *mem_try_alloc(size_t size);
void *mem_try_zalloc(size_t size);
void *mem_try_realloc(void *ptr, size_t size); /* NULL: `ptr` is as it was */

/* From now on so many of 1000 of these fail, by chance, for tests; only on
 * threads that are where mem_may_fail said so. Any thread. */
#define MEM_PERMILLE 1000
void mem_fail(uint32_t permille);
/* Whether what this thread does from now on can take it; returns what it said
 * before, to be said again at the end. At first it is false: what keeps a node
 * together (consensus, log, flushes, links, administration) never fails like
 * that. True while the Cosmos API handles a request or makes its answer, and
 * while a shard of documents takes an operation: evaluates a write, looks up a
 * read. */
bool mem_may_fail(bool can);

/* Overwrites `len` bytes in a way the compiler cannot remove. For keys. */
void mem_wipe(void *ptr, size_t len);
/* Compares without a data-dependent branch. Returns 1 when equal. */
int mem_equal_ct(const void *a, const void *b, size_t len);

#endif
