#include "node/cosmos/passage.h"

#include <string.h>

#include "node/base/text.h"

#define PASSAGE_VERSION 1
/* Before head and body. */
#define PASSAGE_FIXED (1 + 2 + 1 + OP_ID_LEN)
#define ANSWER_FIXED (1 + 2)
#define STATUS_FIRST 200
#define STATUS_LAST 599

/* Appends `fixed` and two blobs, or nothing. */
static int put(struct buf *out, const uint8_t *fixed, size_t fixed_len,
               struct bytes first, struct bytes second)
{
    uint8_t *at;
    int err = buf_reserve(out, fixed_len + 8 + first.len + second.len, &at);
    if (err != ERR_OK)
        return err;
    memcpy(at, fixed, fixed_len);
    at += fixed_len;
    put_u32_le(at, (uint32_t)first.len);
    if (first.len > 0)
        memcpy(at + 4, first.data, first.len);
    at += 4 + first.len;
    put_u32_le(at, (uint32_t)second.len);
    if (second.len > 0)
        memcpy(at + 4, second.data, second.len);
    buf_commit(out, fixed_len + 8 + first.len + second.len);
    return ERR_OK;
}

int passage_encode(const struct passage *p, struct buf *out)
{
    uint8_t fixed[PASSAGE_FIXED] = {PASSAGE_VERSION};
    if (p->head.len > HTTP_HEAD_MAX || p->body.len > PASSAGE_BODY_MAX)
        return ERR_LIMIT;
    put_u16_le(fixed + 1, p->shard);
    fixed[3] = p->read_only;
    memcpy(fixed + 4, p->id, OP_ID_LEN);
    return put(out, fixed, sizeof(fixed), p->head, p->body);
}

int passage_decode(struct bytes in, struct passage *p_out)
{
    struct cursor c = cursor_of(in.data, in.len);
    struct passage p = {.shard = 0};
    uint8_t version = cursor_u8(&c);
    p.shard = cursor_u16_le(&c);
    uint8_t read_only = cursor_u8(&c);
    const uint8_t *id = cursor_take(&c, OP_ID_LEN);
    p.head = cursor_blob(&c, HTTP_HEAD_MAX);
    p.body = cursor_blob(&c, PASSAGE_BODY_MAX);
    if (!cursor_done(&c) || version != PASSAGE_VERSION || read_only > 1 ||
        p.shard == SHARD_META || p.shard >= SHARD_MAX)
        return ERR_MALFORMED;
    p.read_only = read_only == 1;
    memcpy(p.id, id, OP_ID_LEN);
    *p_out = p;
    return ERR_OK;
}

uint16_t passage_encoded_shard(struct bytes in)
{
    struct cursor c = cursor_of(in.data, in.len);
    uint8_t version = cursor_u8(&c);
    uint16_t shard = cursor_u16_le(&c);
    return version == PASSAGE_VERSION && cursor_ok(&c) ? shard : SHARD_META;
}

int passage_answer_encode(const struct passage_answer *a, struct buf *out)
{
    uint8_t fixed[ANSWER_FIXED] = {PASSAGE_VERSION};
    if (a->headers.len > HTTP_RESPONSE_HEADERS_MAX ||
        a->body.len > PASSAGE_ANSWER_BODY_MAX)
        return ERR_LIMIT;
    put_u16_le(fixed + 1, a->status);
    return put(out, fixed, sizeof(fixed), a->headers, a->body);
}

/* A letter, digit or '-': all that names of ours have. */
static bool is_name(struct bytes name)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t b = name.data[i];
        bool ok = (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') ||
                  (b >= '0' && b <= '9') || b == '-';
        if (!ok)
            return false;
    }
    return name.len > 0;
}

static bool is_value(struct bytes value)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.data[i] == '\r' || value.data[i] == '\n')
            return false;
    return true;
}

bool passage_header_next(struct bytes headers, size_t *at,
                         struct http_header *header_out)
{
    if (*at >= headers.len)
        return false;
    const uint8_t *line = headers.data + *at;
    const uint8_t *end = memmem(line, headers.len - *at, "\r\n", 2);
    if (end == NULL)
        return false;
    const uint8_t *colon = memmem(line, (size_t)(end - line), ": ", 2);
    if (colon == NULL)
        return false;
    struct http_header h = {bytes_of(line, (size_t)(colon - line)),
                            bytes_of(colon + 2, (size_t)(end - colon) - 2)};
    if (!is_name(h.name) || !is_value(h.value))
        return false;
    *at += (size_t)(end - line) + 2;
    *header_out = h;
    return true;
}

bool passage_answer_elsewhere(const struct passage_answer *a)
{
    struct http_header h;
    for (size_t at = 0; passage_header_next(a->headers, &at, &h);)
        if (text_equal_nocase(h.name, PASSAGE_ELSEWHERE))
            return true;
    return false;
}

int passage_answer_decode(struct bytes in, struct passage_answer *a_out)
{
    struct cursor c = cursor_of(in.data, in.len);
    struct passage_answer a;
    struct http_header h;
    size_t at = 0;
    uint8_t version = cursor_u8(&c);
    a.status = cursor_u16_le(&c);
    a.headers = cursor_blob(&c, HTTP_RESPONSE_HEADERS_MAX);
    a.body = cursor_blob(&c, PASSAGE_ANSWER_BODY_MAX);
    if (!cursor_done(&c) || version != PASSAGE_VERSION ||
        a.status < STATUS_FIRST || a.status > STATUS_LAST)
        return ERR_MALFORMED;
    while (passage_header_next(a.headers, &at, &h)) {
    }
    if (at != a.headers.len)
        return ERR_MALFORMED;
    *a_out = a;
    return ERR_OK;
}
