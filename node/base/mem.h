/* Memory for bookkeeping whose size the program bounds itself.
 *
 * These never return NULL: when the system has no memory left for a few
 * hundred bytes of bookkeeping, the process reports it and stops; the log makes
 * a restart safe. Memory whose size a user or a peer chooses (bodies, frames,
 * pages) goes through `buf.h`, which has a maximum and returns an error.
 */
#ifndef BASTIDE_BASE_MEM_H
#define BASTIDE_BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size);                 /* uninitialised */
void *mem_zalloc(size_t size);                /* zeroed */
void *mem_realloc(void *ptr, size_t size);    /* like realloc */
char *mem_strdup(const char *text);
char *mem_strndup(const char *text, size_t len); /* NUL-terminated copy */
void *mem_dup(const void *data, size_t len);
void mem_free(void *ptr);                     /* NULL is allowed */

/* Overwrites `len` bytes in a way the compiler cannot remove. For keys. */
void mem_wipe(void *ptr, size_t len);
/* Compares without a data-dependent branch. Returns 1 when equal. */
int mem_equal_ct(const void *a, const void *b, size_t len);

#endif
