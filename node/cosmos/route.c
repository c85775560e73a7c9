#include "node/cosmos/route.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/text.h"
#include "node/cosmos/handlers.h"

/* ---- paths --------------------------------------------------------------- */

/* Decodes one segment to the end of `text`; returns its length or -1. */
static int segment_decode(struct bytes raw, char *text)
{
    int len = 0;
    for (size_t i = 0; i < raw.len; i++) {
        uint8_t c = raw.data[i];
        if (c == '%') {
            int high = i + 1 < raw.len ? text_hex_value(raw.data[i + 1]) : -1;
            int low = i + 2 < raw.len ? text_hex_value(raw.data[i + 2]) : -1;
            if (high < 0 || low < 0)
                return -1;
            c = (uint8_t)(high << 4 | low);
            i += 2;
        }
        text[len++] = (char)c;
    }
    return len;
}

/* The target without its outer slashes. */
static struct bytes trimmed(struct bytes target)
{
    if (target.len > 0 && target.data[0] == '/') {
        target.data++;
        target.len--;
    }
    if (target.len > 0 && target.data[target.len - 1] == '/')
        target.len--;
    return target;
}

int route_path_parse(struct bytes target, struct route_path *path_out)
{
    struct bytes rest = trimmed(target);
    if (rest.len > sizeof(path_out->text))
        return ERR_LIMIT;
    path_out->count = 0;
    char *text = path_out->text;
    while (rest.len > 0) {
        const uint8_t *slash = memchr(rest.data, '/', rest.len);
        size_t len = slash != NULL ? (size_t)(slash - rest.data) : rest.len;
        int decoded = segment_decode(bytes_of(rest.data, len), text);
        if (len == 0 || decoded < 0)
            return ERR_MALFORMED;
        struct bytes segment = bytes_of(text, (size_t)decoded);
        if (!text_is_utf8(segment) ||
            memchr(segment.data, '\0', segment.len) != NULL)
            return ERR_MALFORMED;
        if (path_out->count == ROUTE_SEGMENTS_MAX)
            return ERR_NOT_FOUND;
        path_out->segments[path_out->count++] = segment;
        text += decoded;
        rest.data += len;
        rest.len -= len;
        if (slash != NULL) {
            rest.data++;
            rest.len--;
            if (rest.len == 0)
                return ERR_MALFORMED; /* two slashes at the end */
        }
    }
    return ERR_OK;
}

void route_path_replace(struct route_path *path, size_t i, struct bytes with)
{
    CHECK(i < path->count);
    size_t at = (size_t)((const char *)path->segments[i].data - path->text);
    CHECK(with.len <= sizeof(path->text) - at);
    memcpy(path->text + at, with.data, with.len);
    path->segments[i] = bytes_of(path->text + at, with.len);
}

/* ---- table --------------------------------------------------------------- */

/* Every path of the protocol (section 3.1 of its description), with what
 * answers each method. Those that later work brings are here already, so that a
 * client gets an error it understands instead of a missing route:
 *
 *   handle_empty_feed   there are none of these resources: an empty feed
 *   handle_missing      so a single one is not found (404)
 *   handle_unsupported  501, "not supported yet"
 *
 *   path                          not supported yet
 *   docs/{id}                     PATCH
 *   docs (POST)                   transactional batch and bulk; the query plan
 *                                 request is refused with 400, after which SDKs
 *                                 let the server execute the query
 *   docs (GET with A-IM)          change feed
 *   operations/partitionkeydelete delete all items of a partition key
 *   sprocs, triggers, udfs        server-side scripts
 *   users, permissions            resource tokens
 *   clientencryptionkeys          client-side encryption
 *   offers                        throughput; the feed is empty, so that
 *                                 SDKs report "no offer"
 *   attachments                   deprecated by the service itself         */
#define FEED(name)                                                             \
    {                                                                          \
        name,                                                                  \
        {                                                                      \
            handle_empty_feed, handle_empty_feed                               \
        }                                                                      \
    }
#define LEAF(name)                                                             \
    {                                                                          \
        name,                                                                  \
        {                                                                      \
            handle_missing, handle_unsupported, handle_missing, NULL,          \
                handle_missing                                                 \
        }                                                                      \
    }

static const struct route routes[] = {
    /*  GET, POST, PUT, PATCH, DELETE */
    {"dbs/*/colls/*/docs/*",
     {handle_document_read, NULL, handle_document_replace, handle_unsupported,
      handle_document_delete}},
    {"dbs/*/colls/*/docs", {handle_documents_get, handle_documents_post}},
    {"dbs/*/colls/*",
     {handle_container_read, NULL, handle_container_replace, NULL,
      handle_container_delete}},
    {"dbs/*/colls/*/pkranges", {handle_pkranges_read}},
    {"dbs/*/colls", {handle_container_list, handle_container_post}},
    {"dbs/*", {handle_database_read, NULL, NULL, NULL, handle_database_delete}},
    {"dbs", {handle_database_list, handle_database_post}},
    {"", {handle_account_read}},
    {"offers", {handle_empty_feed, handle_empty_feed}},
    {"offers/*", {handle_missing, NULL, handle_missing}},
    {"dbs/*/colls/*/operations/partitionkeydelete", {NULL, handle_unsupported}},
    FEED("dbs/*/colls/*/sprocs"),
    LEAF("dbs/*/colls/*/sprocs/*"),
    FEED("dbs/*/colls/*/triggers"),
    LEAF("dbs/*/colls/*/triggers/*"),
    FEED("dbs/*/colls/*/udfs"),
    LEAF("dbs/*/colls/*/udfs/*"),
    {"dbs/*/colls/*/conflicts", {handle_conflicts_get, handle_conflicts_post}},
    {"dbs/*/colls/*/conflicts/*",
     {handle_conflict_read, NULL, NULL, NULL, handle_conflict_delete}},
    /* How the JavaScript SDK reads one (section 1.1). */
    {"dbs/*/colls/*/conflicts/*/conflicts", {handle_conflict_read}},
    FEED("dbs/*/users"),
    LEAF("dbs/*/users/*"),
    FEED("dbs/*/users/*/permissions"),
    LEAF("dbs/*/users/*/permissions/*"),
    FEED("dbs/*/clientencryptionkeys"),
    LEAF("dbs/*/clientencryptionkeys/*"),
    LEAF("dbs/*/colls/*/docs/*/attachments"),
    LEAF("dbs/*/colls/*/docs/*/attachments/*"),
};

/* Compares a pattern word by word with the segments. '*' stands for any one
 * segment, at odd places only, so that a database may be called "colls". */
static bool matches(const char *pattern, const struct route_path *path)
{
    for (size_t i = 0; i < path->count; i++) {
        size_t len = strcspn(pattern, "/");
        bool any = len == 1 && pattern[0] == '*';
        if (len == 0 ||
            (!any && !bytes_equal(path->segments[i], bytes_of(pattern, len))))
            return false;
        pattern += len;
        if (*pattern == '/')
            pattern++;
    }
    return *pattern == '\0';
}

const struct route *route_find(const struct route_path *path)
{
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (matches(routes[i].pattern, path))
            return &routes[i];
    }
    return NULL;
}

enum route_method route_method_of(enum http_method method)
{
    switch (method) {
    case HTTP_METHOD_GET:
    case HTTP_METHOD_HEAD:
        return ROUTE_GET;
    case HTTP_METHOD_POST:
        return ROUTE_POST;
    case HTTP_METHOD_PUT:
        return ROUTE_PUT;
    case HTTP_METHOD_PATCH:
        return ROUTE_PATCH;
    case HTTP_METHOD_DELETE:
        return ROUTE_DELETE;
    default:
        return ROUTE_METHOD_COUNT;
    }
}
