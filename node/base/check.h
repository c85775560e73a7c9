/* Contract checks. They stay on in production: a broken contract crashes the
 * process at the place where it broke, before it can damage data.
 *
 * Use CHECK for programming errors only. Anything a user, a peer, a disk or a
 * network can cause is an operating error: return a code from err.h instead.
 */
#ifndef BASTIDE_BASE_CHECK_H
#define BASTIDE_BASE_CHECK_H

#include <stdint.h>

/* Prints `file:line: function: check failed: expr` to stderr and aborts. */
_Noreturn void check_failed(const char *file, int line, const char *func,
                            const char *expr);

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (__builtin_expect(!(cond), 0))                                      \
            check_failed(__FILE__, __LINE__, __func__, #cond);                 \
    } while (0)

/* If `a` holds then `b` must hold. */
#define CHECK_IMPLIES(a, b) CHECK(!(a) || (b))

#define CHECK_UNREACHABLE()                                                    \
    check_failed(__FILE__, __LINE__, __func__, "unreachable")

/* Heap objects that travel through `void *` begin with `uint32_t magic`; every
 * cast back checks it. MAGIC('c','o','n','n') makes a readable constant. */
#define MAGIC(a, b, c, d)                                                      \
    ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 |          \
     (uint32_t)(d))
#define CHECK_OBJ(ptr, expected_magic)                                         \
    do {                                                                       \
        CHECK((ptr) != NULL);                                                  \
        CHECK((ptr)->magic == (expected_magic));                               \
    } while (0)

/* Moves a pointer out of `*var` and clears it, so that a hand-over of
 * ownership is visible and cannot happen twice. */
#define TAKE(var)                                                              \
    __extension__({                                                            \
        __typeof__(var) take_tmp_ = (var);                                     \
        (var) = NULL;                                                          \
        take_tmp_;                                                             \
    })

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
