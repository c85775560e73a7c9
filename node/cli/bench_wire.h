/* What `bastide bench` puts on the wire and takes off it: signed Cosmos REST
 * requests, HTTP/1.1 responses. Pure but for the random payload it is given. */
#ifndef BASTIDE_CLI_BENCH_WIRE_H
#define BASTIDE_CLI_BENCH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/auth/signature.h"
#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/base/clock.h"
#include "node/base/err.h"

#define BENCH_NAME_MAX 255
#define BENCH_HOST_MAX 255
/* Names, key and envelope of a document that has no payload at all. */
#define BENCH_DOCUMENT_MIN 96
#define BENCH_DOCUMENT_MAX (2 * 1024 * 1024)
/* Head of a request, and all of a response that is looked at. */
#define BENCH_HEAD_MAX (16 * 1024)

/* What all requests of a run share. */
struct bench_wire {
    struct auth_key key;
    char date[CLOCK_HTTP_DATE_LEN + 1]; /* of x-ms-date; see bench_set_date */
    char database[BENCH_NAME_MAX + 1];
    char container[BENCH_NAME_MAX + 1];
    char container_link[2 * BENCH_NAME_MAX + 16]; /* "dbs/d/colls/c" */
    size_t document_bytes;
    const char *payload; /* document_bytes of text that needs no escapes */
    /* Further header lines of the requests to come, each with its end; may be
     * NULL. */
    const char *more;
};

/* Names of 1..BENCH_NAME_MAX letters, digits, '-', '_' and '.', so that they
 * need no percent-encoding. ERR_INVALID with a message. */
int bench_wire_init(struct bench_wire *w, const char *database,
                    const char *container, size_t document_bytes,
                    const char *payload, struct err_msg *msg);
/* Sets the date of the requests to come, once a second. */
void bench_set_date(struct bench_wire *w, int64_t wall_sec);

/* Each appends one complete request for `host`. Errors: those of buf_append. */
int bench_create_database(const struct bench_wire *w, const char *host,
                          struct buf *out);
int bench_create_container(const struct bench_wire *w, const char *host,
                           struct buf *out);
int bench_upsert(const struct bench_wire *w, const char *host, uint64_t key,
                 uint64_t value, struct buf *out);
int bench_read(const struct bench_wire *w, const char *host, uint64_t key,
               struct buf *out);
int bench_delete(const struct bench_wire *w, const char *host, uint64_t key,
                 struct buf *out);
int bench_get_account(const struct bench_wire *w, const char *host,
                      struct buf *out);
/* A page of the container's conflict feed; `continuation` ("" for the first) is
 * that of the page before. */
int bench_read_conflicts(const struct bench_wire *w, const char *host,
                         struct bytes continuation, struct buf *out);
int bench_delete_container(const struct bench_wire *w, const char *host,
                           struct buf *out);

struct bench_response {
    int status;
    bool close; /* the server ends the connection after it */
    /* These point into the input; empty if they are not there. */
    struct bytes body, session, continuation;
    unsigned substatus;
    size_t bytes; /* head and body */
};

/* Looks for one complete response at the start of `in`. ERR_AGAIN: not yet.
 * ERR_PROTOCOL: not HTTP/1.1, or without a Content-Length. */
int bench_parse_response(struct bytes in, struct bench_response *response_out);
/* The input has been copied: has the response point into the copy. */
void bench_response_move(struct bench_response *r, const uint8_t *from,
                         const uint8_t *to);

#endif
