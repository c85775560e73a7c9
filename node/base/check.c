#include "node/base/check.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void check_failed(const char *file, int line, const char *func,
                            const char *expr)
{
    fprintf(stderr, "%s:%d: %s: check failed: %s\n", file, line, func, expr);
    fflush(stderr);
    abort();
}
