/* The head of a request: finding its end, then taking it apart. Pure.
 *
 * First `http_scan` follows the bytes as they arrive, line by line, and refuses
 * at once what no honest client sends: a bare LF, a line that continues the
 * one before (RFC 9112 section 5.2). It says how many bytes belong to the
 * head, so that the caller can collect exactly these in one place.
 *
 * Then `http_head_parse` runs libhttp-parser over the complete head, so that
 * every token is contiguous, and decides what follows from the headers: how the
 * body is framed, whether the connection goes on. Where the library is more
 * tolerant than we are, the check is ours.
 */
#ifndef BASTIDE_NODE_HTTP_HEAD_H
#define BASTIDE_NODE_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/http/http.h"

/* Why a request is refused, with a sentence of our own words. */
struct http_fault {
    enum http_reject why;
    const char *message;
};

struct http_scan {
    size_t len;      /* bytes of the head so far */
    size_t lines;    /* complete lines so far */
    size_t line_len; /* bytes of the unfinished line */
    uint8_t last;    /* the last byte of these */
};

/* Follows `len` further bytes, at most up to the end of the head.
 *   ERR_OK         the head ends after the first `*used_out` of them
 *   ERR_AGAIN      all `*used_out` == len belong to the head, more is needed
 *   ERR_MALFORMED, ERR_LIMIT (longer than `max` in all): see `*fault_out` */
int http_scan(struct http_scan *s, const uint8_t *data, size_t len, size_t max,
              size_t *used_out, struct http_fault *fault_out);

/* What a head says. Everything points into the bytes that were parsed. */
struct http_head {
    enum http_method method;
    struct bytes method_raw;
    struct bytes target;
    struct http_header headers[HTTP_HEADERS_MAX];
    size_t header_count;
    bool chunked;            /* body in chunks; content_length is 0 then */
    uint64_t content_length; /* 0 without a body */
    bool close;              /* the client closes after this request */
    bool expect_continue;    /* and there is a body to wait for */
};

/* Parses a complete head, blank line included. `headers_max` is at most
 * HTTP_HEADERS_MAX. ERR_MALFORMED with `*fault_out`; `h` is then filled as far
 * as it was understood. */
int http_head_parse(struct bytes head, size_t headers_max, struct http_head *h,
                    struct http_fault *fault_out);

#endif
