/* The command line: one table per command says which flags it takes. */
#ifndef BASTIDE_CLI_OPTIONS_H
#define BASTIDE_CLI_OPTIONS_H

#include <stdbool.h>

#include "node/base/err.h"

enum option_kind {
    OPTION_FLAG,   /* takes no value; `value` is a bool, set to true */
    OPTION_TEXT,   /* `value` is a const char *, borrowed from argv */
    OPTION_NUMBER, /* `value` is an unsigned within min..max */
    OPTION_OUTPUT, /* text or json; `value` is a bool: json */
    OPTION_OTHER,  /* `read` makes something of the text */
};

struct option_spec {
    const char *name; /* without its dashes */
    enum option_kind kind;
    void *value;
    unsigned min, max; /* OPTION_NUMBER */
    /* OPTION_OTHER: stores the text in `value`; false refuses it. */
    bool (*read)(const char *text, void *value);
    const char *expected; /* for the refusal, may be NULL: "a port" */
};

#define OPTION_SPECS_MAX 48

/* Reads flags in any order among the words. The short forms are -h (help) and
 * -o (output). Words that are no flags are left, in order, at the end of argv:
 * `*words_out` is the first of them, and there may be at most `words_max`.
 * The result is CMD_OK, or CMD_USAGE after having said what is wrong. */
int options_parse(const char *command, int argc, char **argv,
                  const struct option_spec *specs, unsigned spec_count,
                  unsigned words_max, char ***words_out,
                  unsigned *word_count_out);

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
