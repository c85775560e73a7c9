#include "node/base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/prng.h"

void *mem_alloc(size_t size)
{
    void *ptr = malloc(size == 0 ? 1 : size);
    CHECK(ptr != NULL);
    return ptr;
}

void *mem_zalloc(size_t size)
{
    void *ptr = calloc(1, size == 0 ? 1 : size);
    CHECK(ptr != NULL);
    return ptr;
}

void *mem_realloc(void *ptr, size_t size)
{
    void *grown = realloc(ptr, size == 0 ? 1 : size);
    CHECK(grown != NULL);
    return grown;
}

/* ---- memory that may be missing --------------------------------------------
 */

static uint32_t fail_permille; /* atomic */
static _Thread_local bool may_fail;
static _Thread_local struct prng dice;

void mem_fail(uint32_t permille)
{
    CHECK(permille <= MEM_PERMILLE);
    __atomic_store_n(&fail_permille, permille, __ATOMIC_RELAXED);
}

bool mem_may_fail(bool can)
{
    bool before = may_fail;
    may_fail = can;
    return before;
}

static bool fails(void)
{
    uint32_t permille = __atomic_load_n(&fail_permille, __ATOMIC_RELAXED);
    return __builtin_expect(permille > 0, 0) && may_fail &&
           prng_below(&dice, MEM_PERMILLE) < permille;
}

void *mem_try_alloc(size_t size)
{
    return fails() ? NULL : malloc(size == 0 ? 1 : size);
}

void *mem_try_zalloc(size_t size)
{
    return fails() ? NULL : calloc(1, size == 0 ? 1 : size);
}

void *mem_try_realloc(void *ptr, size_t size)
{
    return fails() ? NULL : realloc(ptr, size == 0 ? 1 : size);
}

char *mem_strdup(const char *text)
{
    return mem_strndup(text, strlen(text));
}

char *mem_strndup(const char *text, size_t len)
{
    char *copy = mem_alloc(len + 1);
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

void *mem_dup(const void *data, size_t len)
{
    void *copy = mem_alloc(len);
    if (len > 0)
        memcpy(copy, data, len);
    return copy;
}

void mem_free(void *ptr)
{
    free(ptr);
}

void mem_wipe(void *ptr, size_t len)
{
    if (len > 0)
        explicit_bzero(ptr, len);
}

int mem_equal_ct(const void *a, const void *b, size_t len)
{
    const volatile uint8_t *x = a;
    const volatile uint8_t *y = b;
    uint8_t difference = 0;
    for (size_t i = 0; i < len; i++)
        difference |= (uint8_t)(x[i] ^ y[i]);
    return difference == 0;
}
