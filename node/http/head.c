#include "node/http/head.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/text.h"

/* The library has an enum of the same name as ours. */
#define http_method http_parser_method
#include <http_parser.h>
#undef http_method

static int fault(struct http_fault *out, int err, enum http_reject why,
                 const char *message)
{
    *out = (struct http_fault){why, message};
    return err;
}

static int bad(struct http_fault *out, enum http_reject why,
               const char *message)
{
    return fault(out, ERR_MALFORMED, why, message);
}

/* -- finding the end ------------------------------------------------------- */

static int scan_too_long(const struct http_scan *s, struct http_fault *out)
{
    if (s->lines == 0)
        return fault(out, ERR_LIMIT, HTTP_REJECT_TARGET_SIZE,
                     "The request line is too long.");
    return fault(out, ERR_LIMIT, HTTP_REJECT_HEAD_SIZE,
                 "The request headers are too large.");
}

int http_scan(struct http_scan *s, const uint8_t *data, size_t len, size_t max,
              size_t *used_out, struct http_fault *fault_out)
{
    const uint8_t *at = data, *end = data + len;
    while (at < end) {
        if (s->line_len == 0 && s->lines > 0 && (*at == ' ' || *at == '\t'))
            return bad(fault_out, HTTP_REJECT_SYNTAX,
                       "A header line must not be continued on the next one.");
        const uint8_t *lf = memchr(at, '\n', (size_t)(end - at));
        size_t piece = (size_t)((lf != NULL ? lf + 1 : end) - at);
        if (piece > max - s->len)
            return scan_too_long(s, fault_out);
        uint8_t before = s->line_len > 0 ? s->last : 0;
        if (piece >= 2)
            before = at[piece - 2];
        s->len += piece;
        s->line_len += piece;
        s->last = at[piece - 1];
        at += piece;
        if (lf == NULL)
            break;
        if (before != '\r')
            return bad(fault_out, HTTP_REJECT_SYNTAX,
                       "Lines must end with CR LF.");
        bool blank = s->line_len == 2;
        if (blank && s->lines == 0)
            return bad(fault_out, HTTP_REJECT_SYNTAX,
                       "The request line is empty.");
        s->lines++;
        s->line_len = 0;
        if (blank) {
            *used_out = (size_t)(at - data);
            return ERR_OK;
        }
    }
    *used_out = len;
    return ERR_AGAIN;
}

/* -- callbacks of the library ---------------------------------------------- */

struct parse {
    struct http_head *head;
    size_t headers_max;
    bool too_many;
    bool bad_target;
    bool bad_header;
    bool split; /* a token came in two pieces, which no valid head causes */
};

/* RFC 9110 section 5.6.2. The library as Debian builds it allows more. */
static bool is_token(const char *at, size_t len)
{
    static const bool allowed[256] = {
        ['!'] = 1,         ['#'] = 1,         ['$'] = 1, ['%'] = 1,
        ['&'] = 1,         ['\''] = 1,        ['*'] = 1, ['+'] = 1,
        ['-'] = 1,         ['.'] = 1,         ['^'] = 1, ['_'] = 1,
        ['`'] = 1,         ['|'] = 1,         ['~'] = 1, ['0' ... '9'] = 1,
        ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
    };
    for (size_t i = 0; i < len; i++)
        if (!allowed[(uint8_t)at[i]])
            return false;
    return len > 0;
}

/* Visible ASCII: everything else is percent-encoded (RFC 3986 section 2). */
static bool is_target(const char *at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((uint8_t)at[i] <= 0x20 || (uint8_t)at[i] >= 0x7f)
            return false;
    return true;
}

static int on_url(http_parser *p, const char *at, size_t len)
{
    struct parse *x = p->data;
    if (x->head->target.data != NULL)
        x->split = true;
    if (!is_target(at, len))
        x->bad_target = true;
    x->head->target = bytes_of(at, len);
    return x->split || x->bad_target;
}

static int on_field(http_parser *p, const char *at, size_t len)
{
    struct parse *x = p->data;
    struct http_head *h = x->head;
    if (h->header_count == x->headers_max) {
        x->too_many = true;
        return 1;
    }
    if (!is_token(at, len)) {
        x->bad_header = true;
        return 1;
    }
    h->headers[h->header_count++] =
        (struct http_header){bytes_of(at, len), bytes_of(NULL, 0)};
    return 0;
}

static struct bytes trim(const char *at, size_t len)
{
    while (len > 0 && (*at == ' ' || *at == '\t')) {
        at++;
        len--;
    }
    while (len > 0 && (at[len - 1] == ' ' || at[len - 1] == '\t'))
        len--;
    return bytes_of(at, len);
}

static int on_value(http_parser *p, const char *at, size_t len)
{
    struct parse *x = p->data;
    CHECK(x->head->header_count > 0);
    struct http_header *header = &x->head->headers[x->head->header_count - 1];
    if (header->value.data != NULL)
        x->split = true;
    /* The library checks all bytes of a value but the first. */
    uint8_t first = len > 0 ? (uint8_t)at[0] : ' ';
    if ((first < 0x20 && first != '\t') || first == 0x7f)
        x->bad_header = true;
    header->value = trim(at, len);
    return x->split || x->bad_header;
}

/* The body is framed by our own code, so the library stops after the head. */
static int on_headers_complete(http_parser *p)
{
    (void)p;
    return 1;
}

static const http_parser_settings settings = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_headers_complete,
};

/* -- the request line ------------------------------------------------------ */

static const struct {
    const char *name;
    enum http_method method;
} methods[] = {
    {"GET", HTTP_METHOD_GET},         {"HEAD", HTTP_METHOD_HEAD},
    {"POST", HTTP_METHOD_POST},       {"PUT", HTTP_METHOD_PUT},
    {"PATCH", HTTP_METHOD_PATCH},     {"DELETE", HTTP_METHOD_DELETE},
    {"OPTIONS", HTTP_METHOD_OPTIONS}, {"MERGE", HTTP_METHOD_MERGE},
};

static enum http_method method_of(struct bytes raw)
{
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (bytes_equal(raw, bytes_str(methods[i].name)))
            return methods[i].method;
    return HTTP_METHOD_OTHER;
}

/* The first word of the head, when it could be a method (RFC 9110 section
 * 5.6.2: a token; letters are enough for all that exist). */
static struct bytes first_word(struct bytes head)
{
    size_t n = 0;
    while (n < head.len && ((head.data[n] >= 'A' && head.data[n] <= 'Z') ||
                            (n > 0 && head.data[n] == '-')))
        n++;
    if (n == head.len || head.data[n] != ' ')
        n = 0;
    return bytes_of(head.data, n);
}

/* One blank between the words and nothing else; the library skips more. */
static bool line_is_tight(struct bytes head, const struct http_head *h)
{
    const uint8_t *cr = memchr(head.data, '\r', head.len);
    CHECK(cr != NULL);
    size_t line = (size_t)(cr - head.data);
    return h->target.data == head.data + h->method_raw.len + 1 &&
           line == h->method_raw.len + 1 + h->target.len + 1 + 8 &&
           memcmp(cr - 8, "HTTP/", 5) == 0;
}

static bool has_prefix_nocase(struct bytes text, const char *prefix)
{
    size_t len = strlen(prefix);
    return text.len >= len &&
           text_equal_nocase(bytes_of(text.data, len), prefix);
}

/* Reduces "http://host/path" (RFC 9112 section 3.2.2) to "/path". */
static int normalise_target(struct http_head *h, struct http_fault *out)
{
    struct bytes t = h->target;
    CHECK(t.len > 0);
    if (t.data[0] == '/')
        return ERR_OK;
    if (t.len == 1 && t.data[0] == '*' && h->method == HTTP_METHOD_OPTIONS)
        return ERR_OK;
    size_t scheme = has_prefix_nocase(t, "https://")  ? 8
                    : has_prefix_nocase(t, "http://") ? 7
                                                      : 0;
    if (scheme == 0)
        return bad(out, HTTP_REJECT_SYNTAX,
                   "The request target must be a path.");
    const uint8_t *slash = memchr(t.data + scheme, '/', t.len - scheme);
    if (slash == NULL)
        h->target = bytes_str("/");
    else
        h->target = bytes_of(slash, t.len - (size_t)(slash - t.data));
    return ERR_OK;
}

static int check_request_line(struct bytes head, const http_parser *p,
                              struct http_head *h, struct http_fault *out)
{
    if (h->target.len == 0 || !line_is_tight(head, h))
        return bad(out, HTTP_REJECT_SYNTAX,
                   "The request line must be method, target and version, with "
                   "one blank between them.");
    if (p->http_major != 1 || p->http_minor != 1)
        return bad(out, HTTP_REJECT_VERSION, "Only HTTP/1.1 is spoken here.");
    if (p->method == HTTP_CONNECT)
        return bad(out, HTTP_REJECT_METHOD,
                   "The method CONNECT is not implemented.");
    h->method = method_of(h->method_raw);
    return normalise_target(h, out);
}

/* -- the headers ----------------------------------------------------------- */

/* RFC 9112 section 6: how long the body is. Anything two readers could
 * understand differently is refused. */
struct framing {
    size_t hosts, lengths, codings, authorizations;
    struct bytes length, coding, expect;
};

static void note_header(struct framing *f, const struct http_header *header)
{
    struct bytes name = header->name;
    switch (name.len) {
    case 4:
        f->hosts += text_equal_nocase(name, "host");
        break;
    case 6:
        if (text_equal_nocase(name, "expect"))
            f->expect = header->value;
        break;
    case 13:
        f->authorizations += text_equal_nocase(name, "authorization");
        break;
    case 14:
        if (text_equal_nocase(name, "content-length")) {
            f->lengths++;
            f->length = header->value;
        }
        break;
    case 17:
        if (text_equal_nocase(name, "transfer-encoding")) {
            f->codings++;
            f->coding = header->value;
        }
        break;
    default:
        break;
    }
}

static int decide_body(const struct framing *f, struct http_head *h,
                       struct http_fault *out)
{
    if (f->codings + f->lengths > 1)
        return bad(out, HTTP_REJECT_SMUGGLING,
                   "The length of the body is given more than once.");
    if (f->codings == 1) {
        if (!text_equal_nocase(f->coding, "chunked"))
            return bad(out, HTTP_REJECT_CODING,
                       "The only transfer coding accepted is chunked.");
        h->chunked = true;
    }
    if (f->lengths == 1 &&
        text_parse_u64(f->length, UINT64_MAX / 2, &h->content_length) != ERR_OK)
        return bad(out, HTTP_REJECT_SYNTAX,
                   "Content-Length is not a number of bytes.");
    return ERR_OK;
}

static int check_headers(const http_parser *p, struct http_head *h,
                         struct http_fault *out)
{
    struct framing f = {0};
    for (size_t i = 0; i < h->header_count; i++) {
        CHECK(h->headers[i].value.data != NULL);
        note_header(&f, &h->headers[i]);
    }
    if (f.hosts != 1)
        return bad(out, HTTP_REJECT_HOST,
                   "Exactly one Host header is required.");
    if (f.authorizations > 1)
        return bad(out, HTTP_REJECT_SYNTAX,
                   "The Authorization header is given more than once.");
    int err = decide_body(&f, h, out);
    if (err != ERR_OK)
        return err;
    if (f.expect.data != NULL) {
        if (!text_equal_nocase(f.expect, "100-continue"))
            return bad(out, HTTP_REJECT_EXPECTATION,
                       "The only expectation accepted is 100-continue.");
        h->expect_continue = h->chunked || h->content_length > 0;
    }
    h->close = (p->flags & F_CONNECTION_CLOSE) != 0;
    return ERR_OK;
}

/* -- all together ---------------------------------------------------------- */

static int library_fault(enum http_errno e, const struct parse *x,
                         struct http_fault *out)
{
    if (x->too_many)
        return bad(out, HTTP_REJECT_HEAD_SIZE, "There are too many headers.");
    if (x->bad_header)
        e = HPE_INVALID_HEADER_TOKEN;
    if (x->bad_target)
        e = HPE_INVALID_URL;
    switch (e) {
    case HPE_INVALID_METHOD:
        if (x->head->method_raw.len > 0)
            return bad(out, HTTP_REJECT_METHOD,
                       "The method is not implemented.");
        return bad(out, HTTP_REJECT_SYNTAX, "The method is malformed.");
    case HPE_INVALID_VERSION:
        return bad(out, HTTP_REJECT_SYNTAX, "The HTTP version is malformed.");
    case HPE_UNEXPECTED_CONTENT_LENGTH:
        return bad(out, HTTP_REJECT_SMUGGLING,
                   "The length of the body is given more than once.");
    case HPE_INVALID_CONTENT_LENGTH:
        return bad(out, HTTP_REJECT_SYNTAX,
                   "Content-Length is not a number of bytes.");
    case HPE_INVALID_TRANSFER_ENCODING:
        return bad(out, HTTP_REJECT_CODING,
                   "The only transfer coding accepted is chunked.");
    case HPE_INVALID_HEADER_TOKEN:
        return bad(out, HTTP_REJECT_SYNTAX,
                   "A header has a byte that is not allowed there.");
    case HPE_INVALID_URL:
        return bad(out, HTTP_REJECT_SYNTAX,
                   "The request target has a byte that is not allowed there.");
    default:
        return bad(out, HTTP_REJECT_SYNTAX, "The request is malformed.");
    }
}

int http_head_parse(struct bytes head, size_t headers_max, struct http_head *h,
                    struct http_fault *fault_out)
{
    CHECK(head.len >= 4 && memcmp(head.data + head.len - 2, "\r\n", 2) == 0);
    CHECK(headers_max <= HTTP_HEADERS_MAX);
    h->method = HTTP_METHOD_OTHER;
    h->method_raw = first_word(head);
    h->target = bytes_of(NULL, 0);
    h->header_count = 0;
    h->chunked = h->close = h->expect_continue = false;
    h->content_length = 0;

    struct parse x = {.head = h, .headers_max = headers_max};
    http_parser p;
    http_parser_init(&p, HTTP_REQUEST);
    p.data = &x;
    size_t used =
        http_parser_execute(&p, &settings, (const char *)head.data, head.len);
    enum http_errno e = HTTP_PARSER_ERRNO(&p);
    if (e != HPE_OK || used != head.len || x.split)
        return library_fault(e, &x, fault_out);
    int err = check_request_line(head, &p, h, fault_out);
    if (err != ERR_OK)
        return err;
    return check_headers(&p, h, fault_out);
}
