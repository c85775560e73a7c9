#include "node/history/verdict.h"

#include <stdarg.h>
#include <stdio.h>

bool verdict_bad(char why[VERDICT_TEXT_MAX], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, VERDICT_TEXT_MAX, format, args);
    va_end(args);
    return false;
}
