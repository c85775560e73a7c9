/* What a checker of histories answers: true if all is well; else false, and the
 * first thing that is not as it was promised. */
#ifndef BASTIDE_HISTORY_VERDICT_H
#define BASTIDE_HISTORY_VERDICT_H

#include <stdbool.h>

#define VERDICT_TEXT_MAX 256

/* Writes the reason. False, always. */
bool verdict_bad(char why[VERDICT_TEXT_MAX], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
