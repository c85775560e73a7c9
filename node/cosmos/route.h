/* From a request path to the function that answers it.
 *
 * A path is split at '/', then each segment is percent-decoded exactly once, so
 * that `a%2520b` is the id `a%20b` and `?` stands for itself: there is no query
 * string in this protocol. One trailing slash is legal. Names keep their case;
 * the fixed words of a path ("dbs", "colls") are lower case.
 */
#ifndef BASTIDE_COSMOS_ROUTE_H
#define BASTIDE_COSMOS_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/auth/signature.h"
#include "node/base/bytes.h"
#include "node/http/http.h"

/* dbs/x/colls/y/docs/z/attachments/w */
#define ROUTE_SEGMENTS_MAX 8
#define ROUTE_PATH_MAX AUTH_LINK_MAX

/* A decoded path. The segments point into `text`: do not copy the struct. */
struct route_path {
    struct bytes segments[ROUTE_SEGMENTS_MAX];
    size_t count;
    char text[ROUTE_PATH_MAX];
};

/* Decodes a request target. ERR_MALFORMED: a bad percent escape, an empty
 * segment in the middle, bytes that are not UTF-8. ERR_LIMIT: longer than
 * ROUTE_PATH_MAX. ERR_NOT_FOUND: more segments than any route has. */
int route_path_parse(struct bytes target, struct route_path *path_out);

/* Writes another text in the place of segment `i`, which must be the last that
 * is still needed: those before it are looked up again when the container turns
 * out to have moved. The caller knows that there is room: names and RIDs leave
 * some for the longest id. */
void route_path_replace(struct route_path *path, size_t i, struct bytes with);

struct call;
typedef void route_handler(struct call *c);

/* Methods a route can have, as columns. HEAD is answered like GET. */
enum route_method {
    ROUTE_GET,
    ROUTE_POST,
    ROUTE_PUT,
    ROUTE_PATCH,
    ROUTE_DELETE,
    ROUTE_METHOD_COUNT
};

/* One row of the table. */
struct route {
    /* "dbs/ * /colls" without the blanks: fixed words at even places, '*' for
     * one segment. */
    const char *pattern;
    route_handler *handlers[ROUTE_METHOD_COUNT]; /* NULL: 405 */
};

/* The row for a path; NULL when there is none (404). */
const struct route *route_find(const struct route_path *path);
/* The column for a method; ROUTE_METHOD_COUNT for one that no route has. */
enum route_method route_method_of(enum http_method method);

#endif
