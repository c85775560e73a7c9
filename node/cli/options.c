#include "node/cli/options.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/text.h"
#include "node/cli/cmd.h"

/* getopt's values of the long flags; below are the letters. */
#define FIRST_LONG 256

static const struct option_spec *find_letter(const struct option_spec *specs,
                                             unsigned count, int letter)
{
    const char *name = letter == 'h' ? "help" : "output";
    for (unsigned i = 0; i < count; i++)
        if (strcmp(specs[i].name, name) == 0)
            return &specs[i];
    return NULL;
}

static bool store(const struct option_spec *spec, const char *text)
{
    switch (spec->kind) {
    case OPTION_FLAG:
        *(bool *)spec->value = true;
        return true;
    case OPTION_TEXT:
        *(const char **)spec->value = text;
        return true;
    case OPTION_NUMBER:
        return options_number(text, spec->min, spec->max, spec->value);
    case OPTION_OUTPUT:
        return options_output(text, spec->value);
    case OPTION_OTHER:
        return spec->read(text, spec->value);
    }
    CHECK(false);
}

static int refuse_value(const char *command, const struct option_spec *spec,
                        const char *text)
{
    if (spec->expected != NULL)
        return options_refuse(command, "--%s %s: expected %s", spec->name, text,
                              spec->expected);
    if (spec->kind == OPTION_NUMBER)
        return options_refuse(command,
                              "--%s %s: expected a whole number from %u to %u",
                              spec->name, text, spec->min, spec->max);
    if (spec->kind == OPTION_OUTPUT)
        return options_refuse(command, "-o %s: expected text or json", text);
    return options_refuse(command, "--%s %s: not a value it takes", spec->name,
                          text);
}

/* One flag that getopt has found. */
static int take(const char *command, char **argv,
                const struct option_spec *specs, unsigned count, int found)
{
    const struct option_spec *spec =
        found >= FIRST_LONG            ? &specs[found - FIRST_LONG]
        : found == 'h' || found == 'o' ? find_letter(specs, count, found)
                                       : NULL;
    if (found == ':')
        return options_refuse(command, "%s needs a value", argv[optind - 1]);
    if (spec == NULL)
        return options_refuse(command, "unknown flag \"%s\"", argv[optind - 1]);
    return store(spec, optarg) ? CMD_OK : refuse_value(command, spec, optarg);
}

int options_parse(const char *command, int argc, char **argv,
                  const struct option_spec *specs, unsigned spec_count,
                  unsigned words_max, char ***words_out,
                  unsigned *word_count_out)
{
    struct option longs[OPTION_SPECS_MAX + 1] = {{NULL, 0, NULL, 0}};
    int found, code = CMD_OK;
    CHECK(spec_count <= OPTION_SPECS_MAX);
    for (unsigned i = 0; i < spec_count; i++)
        longs[i] = (struct option){.name = specs[i].name,
                                   .has_arg = specs[i].kind == OPTION_FLAG
                                                  ? no_argument
                                                  : required_argument,
                                   .val = FIRST_LONG + (int)i};
    optind = 0; /* begins anew, after another table */
    opterr = 0;
    while (code == CMD_OK &&
           (found = getopt_long(argc, argv, ":ho:", longs, NULL)) != -1)
        code = take(command, argv, specs, spec_count, found);
    if (code != CMD_OK)
        return code;
    if ((unsigned)(argc - optind) > words_max)
        return options_refuse(command, "unexpected argument \"%s\"",
                              argv[optind + (int)words_max]);
    if (words_out != NULL)
        *words_out = argv + optind;
    if (word_count_out != NULL)
        *word_count_out = (unsigned)(argc - optind);
    return CMD_OK;
}

int options_refuse(const char *command, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "bastide %s: ", command);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nTry: bastide %s --help\n", command);
    return CMD_USAGE;
}

int options_failed(const char *command, const char *text)
{
    fprintf(stderr, "bastide %s: %s\n", command, text);
    return CMD_FAILED;
}

bool options_output(const char *text, bool *json_out)
{
    bool json = strcmp(text, "json") == 0;
    if (!json && strcmp(text, "text") != 0)
        return false;
    *json_out = json;
    return true;
}

bool options_number(const char *text, unsigned min, unsigned max,
                    unsigned *value_out)
{
    uint64_t value;
    if (text_parse_u64(bytes_str(text), max, &value) != ERR_OK || value < min)
        return false;
    *value_out = (unsigned)value;
    return true;
}
