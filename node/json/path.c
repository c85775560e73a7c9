/* Property paths as partition keys write them: /a/b, /"a b"/c. */
#include <string.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/json/json.h"

/* One segment as it stands in the path. */
struct segment {
    struct bytes text; /* without the quotes */
    bool escaped;      /* a backslash takes the next character as it is */
};

static void advance(struct bytes *path, size_t len)
{
    path->data += len;
    path->len -= len;
}

/* Takes `"..."` off the path; the opening quote is its first byte. */
static int take_quoted(struct bytes *path, struct segment *segment_out)
{
    struct segment found = {.escaped = false};
    size_t i = 1;
    while (i < path->len && path->data[i] != '"') {
        if (path->data[i] == '\\') {
            found.escaped = true;
            i++;
        }
        i++;
    }
    if (i >= path->len)
        return ERR_INVALID;
    found.text = bytes_of(path->data + 1, i - 1);
    advance(path, i + 1);
    if (path->len > 0 && path->data[0] != '/')
        return ERR_INVALID;
    *segment_out = found;
    return ERR_OK;
}

static int take_segment(struct bytes *path, struct segment *segment_out)
{
    if (path->len == 0)
        return ERR_EOF;
    if (path->data[0] != '/')
        return ERR_INVALID;
    advance(path, 1);
    if (path->len > 0 && path->data[0] == '"')
        return take_quoted(path, segment_out);
    size_t len = 0;
    while (len < path->len && path->data[len] != '/')
        len++;
    if (len == 0)
        return ERR_INVALID;
    *segment_out = (struct segment){bytes_of(path->data, len), false};
    advance(path, len);
    return ERR_OK;
}

static int unescape(struct bytes in, struct buf *scratch,
                    struct bytes *segment_out)
{
    uint8_t *room;
    int result = buf_reserve(scratch, in.len, &room);
    if (result != ERR_OK)
        return result;
    size_t len = 0;
    for (size_t i = 0; i < in.len; i++) {
        if (in.data[i] == '\\')
            i++;
        room[len++] = in.data[i];
    }
    buf_commit(scratch, len);
    *segment_out = bytes_of(room, len);
    return ERR_OK;
}

int json_path_segment(struct bytes *path, struct buf *scratch,
                      struct bytes *segment_out)
{
    struct segment s;
    int result = take_segment(path, &s);
    if (result != ERR_OK)
        return result;
    if (s.escaped)
        return unescape(s.text, scratch, segment_out);
    *segment_out = s.text;
    return ERR_OK;
}

int json_path_check(struct bytes path)
{
    struct segment s;
    int result = path.len > 0 ? ERR_OK : ERR_INVALID;
    while (result == ERR_OK && path.len > 0)
        result = take_segment(&path, &s);
    return result;
}

/* An escaped segment is decoded into a small buffer of its own: paths are
 * looked up for every write, and hardly any is escaped. */
static json_ref get_segment(const struct json *j, json_ref ref,
                            const struct segment *s)
{
    if (!s->escaped)
        return json_get(j, ref, s->text);
    struct buf scratch;
    struct bytes name;
    json_ref found = JSON_NONE;
    buf_init(&scratch, s->text.len);
    if (unescape(s->text, &scratch, &name) == ERR_OK)
        found = json_get(j, ref, name);
    buf_free(&scratch);
    return found;
}

json_ref json_path(const struct json *j, json_ref ref, struct bytes path)
{
    if (json_path_check(path) != ERR_OK)
        return JSON_NONE;
    while (path.len > 0 && ref != JSON_NONE) {
        struct segment s;
        if (take_segment(&path, &s) != ERR_OK)
            return JSON_NONE;
        ref = get_segment(j, ref, &s);
    }
    return ref;
}
