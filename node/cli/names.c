#include "node/cli/names.h"

#include <stdio.h>
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

void names_print(const struct json *j, const char *key, const char *text)
{
    json_ref list = json_get_str(j, 0, key);
    if (list == JSON_NONE || json_type(j, list) != JSON_ARRAY ||
        json_count(j, list) == 0)
        return;
    printf("  %s", text);
    for (json_ref v = json_first(j, list); v != JSON_NONE;
         v = json_next(j, list, v)) {
        char storage[CONFIG_NAME_MAX * 6 + 2];
        struct buf scratch = buf_over(storage, sizeof(storage));
        struct bytes name;
        if (json_type(j, v) == JSON_STRING &&
            json_string(j, v, &scratch, &name) == ERR_OK)
            printf(" %.*s", (int)name.len, (const char *)name.data);
    }
    putchar('\n');
}
