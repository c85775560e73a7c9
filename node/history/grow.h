/* Arrays that grow, for histories. */
#ifndef BASTIDE_HISTORY_GROW_H
#define BASTIDE_HISTORY_GROW_H

#include "node/base/mem.h"

/* One more element of `array`, which has `n` of `cap`. */
#define HIST_MORE(array, n, cap)                                               \
    do {                                                                       \
        if ((n) == (cap)) {                                                    \
            (cap) = (cap) ? (cap)*2 : 64;                                      \
            (array) = mem_realloc((array), (cap) * sizeof(*(array)));          \
        }                                                                      \
        (n)++;                                                                 \
    } while (0)

#endif
