#include "node/auth/payload.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/text.h"

/* Percent-encoded master token; nothing longer can be one. */
#define TOKEN_MAX 256

static char *put_line(char *at, struct bytes text, size_t max, bool lower)
{
    CHECK(text.len <= max);
    for (size_t i = 0; i < text.len; i++) {
        char c = (char)text.data[i];
        *at++ = lower && c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    *at++ = '\n';
    return at;
}

size_t auth_payload(struct bytes method, struct bytes type, struct bytes link,
                    struct bytes ms_date, struct bytes date,
                    char out[AUTH_PAYLOAD_MAX])
{
    if (ms_date.len > 0)
        date = bytes_of(NULL, 0);
    char *at = out;
    at = put_line(at, method, AUTH_WORD_MAX, true);
    at = put_line(at, type, AUTH_WORD_MAX, true);
    at = put_line(at, link, AUTH_LINK_MAX, false);
    at = put_line(at, ms_date, AUTH_WORD_MAX, true);
    at = put_line(at, date, AUTH_WORD_MAX, true);
    return (size_t)(at - out);
}

struct token {
    struct bytes type;
    struct bytes version;
    struct bytes signature;
};

/* Splits "a=b&c=d" at '&' and each part at its first '='. */
static void split_token(struct bytes text, struct token *token)
{
    while (text.len > 0) {
        const uint8_t *amp = memchr(text.data, '&', text.len);
        size_t len = amp != NULL ? (size_t)(amp - text.data) : text.len;
        const uint8_t *eq = memchr(text.data, '=', len);
        if (eq != NULL) {
            struct bytes name = bytes_of(text.data, (size_t)(eq - text.data));
            struct bytes value = bytes_of(eq + 1, len - name.len - 1);
            if (bytes_equal(name, bytes_str("type")))
                token->type = value;
            else if (bytes_equal(name, bytes_str("ver")))
                token->version = value;
            else if (bytes_equal(name, bytes_str("sig")))
                token->signature = value;
        }
        size_t used = amp != NULL ? len + 1 : len;
        text.data += used;
        text.len -= used;
    }
}

/* The start of a header that may be longer than what is decoded, without half
 * an escape at its end. */
static struct bytes token_head(struct bytes header)
{
    if (header.len <= TOKEN_MAX)
        return header;
    header.len = TOKEN_MAX;
    for (size_t back = 1; back <= 2; back++)
        if (header.data[header.len - back] == '%') {
            header.len -= back;
            break;
        }
    return header;
}

enum auth_result auth_token_parse(struct bytes header,
                                  uint8_t signature_out[AUTH_SIGNATURE_LEN])
{
    if (header.len == 0)
        return AUTH_MISSING;
    uint8_t text[TOKEN_MAX];
    struct buf decoded = buf_over(text, sizeof(text));
    if (text_percent_decode(token_head(header), false, &decoded) != ERR_OK)
        return AUTH_MALFORMED;
    struct token token = {0};
    split_token(bytes_of(text, buf_len(&decoded)), &token);
    if (text_equal_nocase(token.type, "resource") ||
        text_equal_nocase(token.type, "aad") ||
        text_equal_nocase(token.type, "sas"))
        return AUTH_UNSUPPORTED;
    uint8_t signature[AUTH_SIGNATURE_LEN];
    struct buf raw = buf_over(signature, sizeof(signature));
    if (!text_equal_nocase(token.type, "master") ||
        !bytes_equal(token.version, bytes_str("1.0")) ||
        header.len > TOKEN_MAX ||
        text_base64_decode(token.signature, &raw) != ERR_OK ||
        buf_len(&raw) != AUTH_SIGNATURE_LEN)
        return AUTH_MALFORMED;
    memcpy(signature_out, signature, sizeof(signature));
    return AUTH_OK;
}
