/* Names of resources and ids of documents (protocol reference section 3.5). */
#include <string.h>

#include "node/catalog/container.h"

static const char id_missing[] = "The input content is invalid because the "
                                 "required properties - 'id; ' - are missing";

static size_t count_characters(struct bytes text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += (text.data[i] & 0xc0) != 0x80;
    return count;
}

static bool has_any(struct bytes text, const char *characters)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] != 0 && strchr(characters, text.data[i]) != NULL)
            return true;
    return false;
}

static bool has_control(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < 0x20 || text.data[i] == 0x7f)
            return true;
    return false;
}

int resource_name_check(struct bytes name, struct err_msg *msg)
{
    if (name.len == 0)
        return err_set(msg, ERR_INVALID, "%s", id_missing);
    if (count_characters(name) > RESOURCE_NAME_CHARS_MAX)
        return err_set(msg, ERR_INVALID,
                       "The input name is invalid. It may have at most %d "
                       "characters.",
                       RESOURCE_NAME_CHARS_MAX);
    if (has_any(name, "/\\?#") || has_control(name))
        return err_set(msg, ERR_INVALID,
                       "The input name is invalid. It may not contain '/', "
                       "'\\', '?', '#' or control characters.");
    if (name.data[name.len - 1] == ' ')
        return err_set(msg, ERR_INVALID,
                       "The input name is invalid. It may not end with a "
                       "space.");
    return ERR_OK;
}

int document_id_check(struct bytes id, struct err_msg *msg)
{
    if (id.len == 0)
        return err_set(msg, ERR_INVALID, "%s", id_missing);
    if (id.len > DOCUMENT_ID_MAX)
        return err_set(msg, ERR_INVALID,
                       "The input id is invalid. It may have at most %d bytes "
                       "in UTF-8.",
                       DOCUMENT_ID_MAX);
    if (has_any(id, "/\\"))
        return err_set(msg, ERR_INVALID,
                       "The input id is invalid. It may not contain '/' or "
                       "'\\'.");
    return ERR_OK;
}

static int get_id(const struct json *j, json_ref object, struct buf *scratch,
                  struct bytes *id_out, struct err_msg *msg)
{
    int err = json_get_string(j, object, "id", scratch, id_out);
    if (err == ERR_NOT_FOUND || err == ERR_INVALID)
        return err_set(msg, ERR_INVALID, "%s", id_missing);
    if (err == ERR_LIMIT)
        return err_set(msg, ERR_INVALID, "The input id is too long.");
    return err;
}

int resource_name_get(const struct json *j, json_ref object,
                      struct buf *scratch, struct bytes *name_out,
                      struct err_msg *msg)
{
    struct bytes name;
    int err = get_id(j, object, scratch, &name, msg);
    if (err == ERR_OK)
        err = resource_name_check(name, msg);
    if (err == ERR_OK)
        *name_out = name;
    return err;
}

int document_id_get(const struct json *j, json_ref object, struct buf *scratch,
                    struct bytes *id_out, struct err_msg *msg)
{
    struct bytes id;
    int err = get_id(j, object, scratch, &id, msg);
    if (err == ERR_OK)
        err = document_id_check(id, msg);
    if (err == ERR_OK)
        *id_out = id;
    return err;
}
