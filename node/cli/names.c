#include "node/cli/names.h"

#include <string.h>

bool names_read(const char *text, struct names *out)
{
    out->count = 0;
    for (const char *at = text;; at++) {
        size_t len = strcspn(at, ",");
        if (len == 0 || len > CONFIG_NAME_MAX ||
            out->count == CONFIG_REGIONS_MAX)
            return false;
        out->at[out->count] = at;
        out->len[out->count++] = len;
        at += len;
        if (*at == '\0')
            return true;
    }
}

bool names_option(const char *text, void *value)
{
    return names_read(text, value);
}

bool names_same(const struct names *n, unsigned index, const char *text)
{
    return strlen(text) == n->len[index] &&
           memcmp(text, n->at[index], n->len[index]) == 0;
}

void names_write(const struct names *n, struct json_writer *w)
{
    json_write_array_begin(w);
    for (unsigned i = 0; i < n->count; i++)
        json_write_string(w, bytes_of(n->at[i], n->len[i]));
    json_write_array_end(w);
}
