#include "node/cli/options.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "node/base/text.h"
#include "node/cli/cmd.h"

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
