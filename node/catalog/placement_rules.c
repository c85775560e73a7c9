#include "node/catalog/placement_rules.h"

#include <string.h>

#include "node/catalog/placement_map.h"

bool placement_pattern_matches(const char *pattern, struct bytes name)
{
    size_t at = 0, retry_at = 0;
    const char *retry = NULL; /* behind the last `*` */
    for (;;) {
        if (*pattern == '*') {
            retry = ++pattern;
            retry_at = at;
        } else if (at == name.len) {
            return *pattern == '\0';
        } else if (*pattern != '\0' && (uint8_t)*pattern == name.data[at]) {
            pattern++;
            at++;
        } else if (retry != NULL) {
            pattern = retry; /* that `*` takes one byte more */
            at = ++retry_at;
        } else {
            return false;
        }
    }
}

const char *placement_rules_group(const struct placement_rules *rules,
                                  struct bytes database, struct bytes container)
{
    for (size_t i = 0; i < rules->count; i++)
        if (placement_pattern_matches(rules->list[i].database, database) &&
            placement_pattern_matches(rules->list[i].container, container))
            return rules->list[i].group;
    return NULL;
}

void placement_rules_write(const struct placement_rules *rules,
                           struct json_writer *w)
{
    json_write_array_begin(w);
    for (size_t i = 0; i < rules->count; i++) {
        const struct placement_rule *r = &rules->list[i];
        json_write_object_begin(w);
        json_write_member_str(w, "database", r->database);
        json_write_member_str(w, "container", r->container);
        json_write_member_str(w, "group", r->group);
        json_write_object_end(w);
    }
    json_write_array_end(w);
}

/* A name has no control characters, so a pattern with one matches nothing. */
static bool text_legal(struct bytes text, size_t max)
{
    if (text.len == 0 || text.len > max)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < 0x20)
            return false;
    return true;
}

static int read_text(const struct json *j, json_ref rule, const char *key,
                     size_t max, char *out)
{
    char storage[PLACEMENT_TARGET_MAX * 6 + 2];
    struct buf scratch = buf_over(storage, sizeof(storage));
    struct bytes text;
    if (json_get_string(j, rule, key, &scratch, &text) != ERR_OK ||
        !text_legal(text, max))
        return ERR_INVALID;
    memcpy(out, text.data, text.len);
    out[text.len] = '\0';
    return ERR_OK;
}

static int read_rule(const struct json *j, json_ref v, size_t number,
                     struct placement_rule *r, struct err_msg *msg)
{
    if (json_type(j, v) != JSON_OBJECT)
        return err_set(msg, ERR_INVALID, "rule %zu is no object", number);
    if (read_text(j, v, "database", PLACEMENT_PATTERN_MAX, r->database) !=
            ERR_OK ||
        read_text(j, v, "container", PLACEMENT_PATTERN_MAX, r->container) !=
            ERR_OK)
        return err_set(msg, ERR_INVALID,
                       "rule %zu: database and container are patterns of 1 to "
                       "%d bytes",
                       number, PLACEMENT_PATTERN_MAX);
    if (read_text(j, v, "group", PLACEMENT_TARGET_MAX, r->group) != ERR_OK ||
        (!placement_is_map(bytes_str(r->group)) &&
         strlen(r->group) > CATALOG_NAME_MAX))
        return err_set(msg, ERR_INVALID,
                       "rule %zu: group is the name of a placement group, "
                       "or a placement by partition key",
                       number);
    return ERR_OK;
}

int placement_rules_read(const struct json *j, json_ref list,
                         struct placement_rules *out, struct err_msg *msg)
{
    if (list == JSON_NONE || json_type(j, list) != JSON_ARRAY ||
        json_count(j, list) > PLACEMENT_RULES_MAX)
        return err_set(msg, ERR_INVALID, "rules is an array of at most %d",
                       PLACEMENT_RULES_MAX);
    out->count = 0;
    for (json_ref v = json_first(j, list); v != JSON_NONE;
         v = json_next(j, list, v)) {
        size_t at = out->count++;
        int err = read_rule(j, v, at + 1, &out->list[at], msg);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}
