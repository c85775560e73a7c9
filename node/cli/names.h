/* A list of names on the command line: "germany,france". */
#ifndef BASTIDE_CLI_NAMES_H
#define BASTIDE_CLI_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "node/config/config.h"
#include "node/json/json.h"

struct names {
    const char *at[CONFIG_REGIONS_MAX]; /* borrowed, not ended */
    size_t len[CONFIG_REGIONS_MAX];
    unsigned count; /* 0: none was given */
};

/* False: an empty name, one that is too long, or too many. */
bool names_read(const char *text, struct names *out);
/* The same for an option table; `value` is a struct names. */
#define NAMES_EXPECTED "names, such as germany,france"
bool names_option(const char *text, void *value);
/* Whether the name at `index` is `text`. */
bool names_same(const struct names *n, unsigned index, const char *text);
/* Prints the names in a list of an answer's, behind `text`, on a line of their
 * own; nothing for an empty list, or none. */
void names_print(const struct json *j, const char *key, const char *text);
/* As an array. */
void names_write(const struct names *n, struct json_writer *w);

#endif
