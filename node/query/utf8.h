/* Characters of well-formed UTF-8, and their case. */
#ifndef BASTIDE_QUERY_UTF8_H
#define BASTIDE_QUERY_UTF8_H

#include <stdint.h>

#include "node/base/bytes.h"

/* Bytes of the character that begins at `p`. */
static inline uint32_t utf8_len(const uint8_t *p)
{
    return *p < 0x80 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
}
/* How many characters (code points) the text has. */
uint32_t utf8_count(struct bytes text);
/* Where the character number `index` begins; the length when past the end. */
size_t utf8_offset(struct bytes text, uint32_t index);
/* The code point at `p`. */
uint32_t utf8_decode(const uint8_t *p);
/* Writes a code point; returns its bytes, at most 4. */
uint32_t utf8_encode(uint32_t point, uint8_t *out);

/* Simple one-to-one case mapping of Latin, Greek, Cyrillic and Armenian
 * letters; other characters stay as they are. */
uint32_t utf8_lower(uint32_t point);
uint32_t utf8_upper(uint32_t point);

#endif
