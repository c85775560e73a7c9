#include "node/http/chunked.h"

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/text.h"

static int bad(struct http_fault *out, const char *message)
{
    *out = (struct http_fault){HTTP_REJECT_SYNTAX, message};
    return ERR_MALFORMED;
}

static int too_large(struct http_fault *out)
{
    *out = (struct http_fault){HTTP_REJECT_BODY_SIZE,
                               "The request body is too large."};
    return ERR_LIMIT;
}

static int on_size(struct chunked *c, uint8_t b, size_t room,
                   struct http_fault *out)
{
    int digit = text_hex_value(b);
    if (digit >= 0) {
        c->left = c->left * 16 + (unsigned)digit;
        c->state = CHUNKED_SIZE;
        /* `room` is far below 2^60, so `left` cannot wrap. */
        return c->left > room ? too_large(out) : ERR_OK;
    }
    if (c->state == CHUNKED_SIZE && b == ';')
        c->state = CHUNKED_EXTENSION;
    else if (c->state == CHUNKED_SIZE && b == '\r')
        c->state = CHUNKED_SIZE_LF;
    else
        return bad(out, "A chunk size is malformed.");
    return ERR_OK;
}

/* A byte of an extension or a trailer field, kept from growing for ever. */
static int on_extra(struct chunked *c, uint8_t b, int after_cr,
                    struct http_fault *out)
{
    if (b == '\r') {
        c->state = after_cr;
        return ERR_OK;
    }
    if ((b < 0x20 && b != '\t') || b == 0x7f)
        return bad(out, "A chunk line has a byte that is not allowed there.");
    if (++c->extra > CHUNKED_EXTRA_MAX)
        return bad(out, "Chunk extensions and trailers are too large.");
    return ERR_OK;
}

static int expect(struct chunked *c, uint8_t b, uint8_t want, int next,
                  struct http_fault *out)
{
    if (b != want)
        return bad(out, "A chunk does not end with CR LF.");
    c->state = next;
    return ERR_OK;
}

static int on_byte(struct chunked *c, uint8_t b, size_t room,
                   struct http_fault *out)
{
    switch (c->state) {
    case CHUNKED_SIZE_FIRST:
    case CHUNKED_SIZE:
        return on_size(c, b, room, out);
    case CHUNKED_EXTENSION:
        return on_extra(c, b, CHUNKED_SIZE_LF, out);
    case CHUNKED_SIZE_LF:
        return expect(c, b, '\n',
                      c->left > 0 ? CHUNKED_DATA : CHUNKED_TRAILER_FIRST, out);
    case CHUNKED_DATA_CR:
        return expect(c, b, '\r', CHUNKED_DATA_LF, out);
    case CHUNKED_DATA_LF:
        return expect(c, b, '\n', CHUNKED_SIZE_FIRST, out);
    case CHUNKED_TRAILER_FIRST:
        c->state = CHUNKED_TRAILER;
        return on_extra(c, b, CHUNKED_END_LF, out);
    case CHUNKED_TRAILER:
        return on_extra(c, b, CHUNKED_TRAILER_LF, out);
    case CHUNKED_TRAILER_LF:
        return expect(c, b, '\n', CHUNKED_TRAILER_FIRST, out);
    case CHUNKED_END_LF:
        return expect(c, b, '\n', CHUNKED_DONE, out);
    case CHUNKED_DATA:
    case CHUNKED_DONE:
        break;
    }
    CHECK_UNREACHABLE();
}

static int on_data(struct chunked *c, const uint8_t *at, size_t len,
                   struct buf *out, size_t *taken_out,
                   struct http_fault *fault_out)
{
    size_t n = len < c->left ? len : (size_t)c->left;
    int err = buf_append(out, at, n);
    if (err == ERR_LIMIT)
        return too_large(fault_out);
    if (err != ERR_OK) {
        *fault_out = (struct http_fault){HTTP_REJECT_MEMORY,
                                         "There is no memory for the body."};
        return err;
    }
    c->left -= n;
    if (c->left == 0)
        c->state = CHUNKED_DATA_CR;
    *taken_out = n;
    return ERR_OK;
}

int chunked_decode(struct chunked *c, const uint8_t *data, size_t len,
                   struct buf *out, size_t *used_out,
                   struct http_fault *fault_out)
{
    CHECK(c->state != CHUNKED_DONE);
    size_t used = 0;
    while (used < len) {
        size_t taken = 1;
        int err =
            c->state == CHUNKED_DATA
                ? on_data(c, data + used, len - used, out, &taken, fault_out)
                : on_byte(c, data[used], out->max - buf_len(out), fault_out);
        if (err != ERR_OK)
            return err;
        used += taken;
        if (c->state == CHUNKED_DONE) {
            *used_out = used;
            return ERR_OK;
        }
    }
    *used_out = used;
    return ERR_AGAIN;
}
