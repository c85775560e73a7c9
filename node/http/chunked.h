/* Decoder of the chunked transfer coding (RFC 9112 section 7.1). Pure.
 *
 * Strict: every line ends with CR LF, sizes are hexadecimal without a sign or
 * blanks, extensions begin with ';'. Extensions and trailer fields are read
 * over; what they may cost is bounded.
 */
#ifndef BASTIDE_NODE_HTTP_CHUNKED_H
#define BASTIDE_NODE_HTTP_CHUNKED_H

#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/http/head.h"

/* Bytes of all extensions and trailer fields of one body. */
#define CHUNKED_EXTRA_MAX (8 * 1024)

struct chunked {
    enum {
        CHUNKED_SIZE_FIRST, /* the first digit of a size */
        CHUNKED_SIZE,       /* further digits, ';' or CR */
        CHUNKED_EXTENSION,  /* up to CR */
        CHUNKED_SIZE_LF,
        CHUNKED_DATA,
        CHUNKED_DATA_CR,
        CHUNKED_DATA_LF,
        CHUNKED_TRAILER_FIRST, /* the first byte of a trailer line */
        CHUNKED_TRAILER,       /* up to CR */
        CHUNKED_TRAILER_LF,
        CHUNKED_END_LF,
        CHUNKED_DONE,
    } state;
    uint64_t left; /* of the current chunk */
    size_t extra;  /* of CHUNKED_EXTRA_MAX */
};

/* Starts as {0}. Decodes up to `len` bytes and appends the content to `out`,
 * whose maximum is the limit of the body.
 *   ERR_OK         the body ends after the first `*used_out` bytes
 *   ERR_AGAIN      all were used, more is needed
 *   ERR_MALFORMED, ERR_LIMIT (`out` is full), ERR_NO_MEMORY: see `*fault_out`
 */
int chunked_decode(struct chunked *c, const uint8_t *data, size_t len,
                   struct buf *out, size_t *used_out,
                   struct http_fault *fault_out);

#endif
