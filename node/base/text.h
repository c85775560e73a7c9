/* Text encodings that several modules need: base64, hex, percent, UTF-8.
 *
 * Encoders append to a `struct buf` and return its errors; decoders append the
 * decoded bytes and answer ERR_MALFORMED for anything outside the encoding. */
#ifndef BASTIDE_BASE_TEXT_H
#define BASTIDE_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"

/* RFC 4648 section 4, with padding. */
int text_base64_encode(struct bytes in, struct buf *out);
/* Strict: padding required, no white space. */
int text_base64_decode(struct bytes in, struct buf *out);

int text_hex_encode(struct bytes in, struct buf *out); /* lower case */
int text_hex_decode(struct bytes in, struct buf *out); /* either case */
/* Of one digit, in either case; -1: it is none. */
int text_hex_value(uint8_t c);

/* RFC 3986 percent-decoding, once. `plus_is_space` for form-encoded values. */
int text_percent_decode(struct bytes in, bool plus_is_space, struct buf *out);
/* Encodes everything but the unreserved characters A-Z a-z 0-9 - . _ ~ */
int text_percent_encode(struct bytes in, struct buf *out);

/* Whether the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no
 * overlong forms, nothing above U+10FFFF). */
bool text_is_utf8(struct bytes in);

/* Whole-text decimal parsing, no sign, no blanks. ERR_MALFORMED or
 * ERR_LIMIT when above `max`. */
int text_parse_u64(struct bytes in, uint64_t max, uint64_t *value_out);

/* The reverse, at most TEXT_U64_MAX bytes without a NUL; returns how many. For
 * what every response has several of: printf costs more than all else there. */
#define TEXT_U64_MAX 20
size_t text_put_u64(uint64_t value, char *out);

/* ASCII case-insensitive equality. */
bool text_equal_nocase(struct bytes a, const char *b);

#endif
