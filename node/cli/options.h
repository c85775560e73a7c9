/* What the commands' argument parsers share. */
#ifndef BASTIDE_CLI_OPTIONS_H
#define BASTIDE_CLI_OPTIONS_H

#include <stdbool.h>

#include "node/base/err.h"

/* Prints "bastide <command>: ..." and where help is to be found; returns
 * CMD_USAGE. */
int options_refuse(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Prints "bastide <command>: ..." for something that failed; returns
 * CMD_FAILED. */
int options_failed(const char *command, const char *text);

/* Reads the value of -o: "text" or "json". */
bool options_output(const char *text, bool *json_out);
/* Reads a whole number from `min` to `max`. */
bool options_number(const char *text, unsigned min, unsigned max,
                    unsigned *value_out);

#endif
