/* From a request path to what its signature covers. */
#include <string.h>

#include "node/auth/signature.h"
#include "node/base/text.h"
#include "node/catalog/rid.h"

/* .../sprocs/s is the deepest that exists; attachments once went to eight. */
#define SEGMENTS_MAX 10

struct segments {
    struct bytes at[SEGMENTS_MAX]; /* decoded, in the target's text, with one
                                    * '/' between each and the next */
    size_t count;
};

static struct bytes trim_slashes(struct bytes path)
{
    while (path.len > 0 && path.data[0] == '/') {
        path.data++;
        path.len--;
    }
    while (path.len > 0 && path.data[path.len - 1] == '/')
        path.len--;
    return path;
}

static int decode_segments(struct bytes path, struct buf *text,
                           struct segments *segments)
{
    path = trim_slashes(path);
    while (path.len > 0) {
        const uint8_t *slash = memchr(path.data, '/', path.len);
        size_t len = slash != NULL ? (size_t)(slash - path.data) : path.len;
        if (len == 0 || segments->count == SEGMENTS_MAX)
            return ERR_MALFORMED;
        size_t from = buf_len(text);
        int err = text_percent_decode(bytes_of(path.data, len), false, text);
        if (err != ERR_OK)
            return err;
        segments->at[segments->count++] =
            bytes_of(text->data + from, buf_len(text) - from);
        if (slash == NULL)
            break;
        err = buf_append_u8(text, '/');
        if (err != ERR_OK)
            return err;
        path.data += len + 1;
        path.len -= len + 1;
    }
    return ERR_OK;
}

/* The decoded path up to and with segment `last`. */
static struct bytes link_through(const struct segments *s, size_t last)
{
    const uint8_t *end = s->at[last].data + s->at[last].len;
    return bytes_of(s->at[0].data, (size_t)(end - s->at[0].data));
}

/* Appends `from` in lower case (ASCII) and returns where it stands. */
static int append_lower(struct buf *text, struct bytes from,
                        struct bytes *lower_out)
{
    uint8_t *room;
    int err = buf_reserve(text, from.len, &room);
    if (err != ERR_OK)
        return err;
    for (size_t i = 0; i < from.len; i++) {
        uint8_t c = from.data[i];
        room[i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
    }
    buf_commit(text, from.len);
    *lower_out = bytes_of(room, from.len);
    return ERR_OK;
}

/* Whether the ids of a link are RIDs of the sizes of a database, what a
 * database has, what that has, and so on: not merely names that look like
 * base64. */
static bool is_rid_link(const struct segments *s, size_t id_count)
{
    uint8_t parent_len = 0;
    for (size_t i = 0; i < id_count; i++) {
        struct rid rid;
        if (rid_parse(s->at[2 * i + 1], &rid) != ERR_OK ||
            rid.len <= parent_len || (i == 0 && rid.len != 4) ||
            (i > 0 && rid.len % 4 != 0))
            return false;
        parent_len = rid.len;
    }
    return id_count > 0;
}

/* Clients that address by RID sign the addressed RID alone, in lower case. */
static int add_rid_link(struct buf *text, const struct segments *s,
                        size_t id_count, struct auth_target *target)
{
    if (!is_rid_link(s, id_count))
        return ERR_OK;
    return append_lower(text, s->at[2 * id_count - 1], &target->rid_link);
}

int auth_target_parse(struct bytes path, struct auth_target *target_out)
{
    struct auth_target *t = target_out;
    t->type = t->alt_type = t->link = t->rid_link = bytes_of(NULL, 0);
    struct buf text = buf_over(t->text, sizeof(t->text));
    struct segments s = {.count = 0};
    int err = decode_segments(path, &text, &s);
    if (err != ERR_OK)
        return err;
    if (s.count == 0) /* the account */
        return ERR_OK;
    size_t id_count = s.count / 2; /* names or RIDs in the link */
    if (s.count == 6 && bytes_equal(s.at[4], bytes_str("operations"))) {
        t->type = s.at[2];
        t->alt_type = bytes_str("partitionkey");
        id_count = 2;
    } else if (s.count == 7 && bytes_equal(s.at[4], bytes_str("conflicts"))) {
        /* The JavaScript SDK reads a conflict as ".../conflicts/c/conflicts"
         * and signs the type of users. */
        t->type = s.at[4];
        t->alt_type = bytes_str("users");
    } else {
        t->type = s.at[s.count % 2 != 0 ? s.count - 1 : s.count - 2];
    }
    if (id_count > 0)
        t->link = link_through(&s, 2 * id_count - 1);
    if (t->link.len > AUTH_LINK_MAX || t->type.len > AUTH_WORD_MAX)
        return ERR_LIMIT;
    if (s.count == 2 && text_equal_nocase(t->type, "offers"))
        return append_lower(&text, s.at[1], &t->link);
    return add_rid_link(&text, &s, id_count, t);
}
