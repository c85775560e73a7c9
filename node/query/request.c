#include "node/query/request.h"

#include "node/base/err.h"
#include "node/base/text.h"

void request_init(struct request *r)
{
    *r = (struct request){.limits = {UINT64_MAX, 0, UINT64_MAX}};
    buf_init(&r->after, QUERY_HELD_MEMORY_MAX);
}

void request_free(struct request *r)
{
    buf_free(&r->after);
}

/* An optional count. */
static int read_count(const struct json *j, const char *name,
                      uint64_t *count_out)
{
    int64_t count;
    int result = json_get_int64(j, 0, name, &count);
    if (result == ERR_NOT_FOUND)
        return ERR_OK;
    if (result != ERR_OK || count < 0)
        return ERR_INVALID;
    *count_out = (uint64_t)count;
    return ERR_OK;
}

static int read_members(struct request *r, const struct query *q,
                        const struct json *j)
{
    int64_t signature;
    struct bytes after;
    struct buf scratch;
    if (json_type(j, 0) != JSON_OBJECT ||
        json_get_int64(j, 0, "q", &signature) != ERR_OK ||
        signature != (int64_t)q->signature)
        return ERR_INVALID;
    int result = read_count(j, "keep", &r->limits.keep);
    if (result == ERR_OK)
        result = read_count(j, "skip", &r->limits.skip);
    if (result == ERR_OK)
        result = read_count(j, "bytes", &r->limits.bytes);
    if (result == ERR_OK)
        result = read_count(j, "done", &r->delivered);
    if (result != ERR_OK || json_get_str(j, 0, "after") == JSON_NONE)
        return result;
    buf_init(&scratch, QUERY_HELD_MEMORY_MAX);
    result = json_get_string(j, 0, "after", &scratch, &after);
    if (result == ERR_OK)
        result = text_base64_decode(after, &r->after);
    buf_free(&scratch);
    return result == ERR_NO_MEMORY ? result
           : result == ERR_OK      ? ERR_OK
                                   : ERR_INVALID;
}

int request_read(struct request *r, const struct query *q, struct bytes text)
{
    struct json j;
    if (text.len == 0)
        return ERR_OK;
    json_init(&j);
    int result = json_parse(&j, text, QUERY_TOKEN_MAX, NULL);
    if (result == ERR_OK)
        result = read_members(r, q, &j);
    else if (result != ERR_NO_MEMORY)
        result = ERR_INVALID;
    json_free(&j);
    return result;
}

/* Left out when it says what its absence says. */
static void write_count(struct json_writer *w, const char *name, uint64_t count,
                        uint64_t absent)
{
    if (count != absent)
        json_write_member_int64(w, name,
                                count > INT64_MAX ? INT64_MAX : (int64_t)count);
}

int request_write(const struct request *r, const struct query *q,
                  struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_write_object_begin(&w);
    json_write_member_int64(&w, "q", (int64_t)q->signature);
    write_count(&w, "keep", r->limits.keep, UINT64_MAX);
    write_count(&w, "skip", r->limits.skip, 0);
    write_count(&w, "bytes", r->limits.bytes, UINT64_MAX);
    write_count(&w, "done", r->delivered, 0);
    if (buf_len(&r->after) > 0) {
        struct buf text;
        buf_init(&text, 2 * QUERY_HELD_MEMORY_MAX);
        int result = text_base64_encode(
            bytes_of(buf_bytes(&r->after), buf_len(&r->after)), &text);
        if (w.result == ERR_OK)
            w.result = result;
        json_write_member_string(&w, "after",
                                 bytes_of(buf_bytes(&text), buf_len(&text)));
        buf_free(&text);
    }
    json_write_object_end(&w);
    return json_writer_end(&w);
}
