/* Resources and operations of the protocol that are not there yet; the table in
 * route.c lists them. */
#include "node/cosmos/handlers.h"
#include "node/cosmos/listing.h"
#include "node/cosmos/reply.h"

/* ---- empty feeds --------------------------------------------------------- */

/* The envelope's property by the last word of a feed's path. */
static const struct {
    const char *word;
    const char *property;
} feeds[] = {
    {"offers", "Offers"},
    {"sprocs", "StoredProcedures"},
    {"triggers", "Triggers"},
    {"udfs", "UserDefinedFunctions"},
    {"users", "Users"},
    {"permissions", "Permissions"},
    {"clientencryptionkeys", "ClientEncryptionKeys"},
};

static const char *feed_property(const struct call *c)
{
    struct bytes word = c->path.segments[c->path.count - 1];
    for (size_t i = 0; i < ARRAY_LEN(feeds); i++) {
        if (bytes_equal(word, bytes_str(feeds[i].word)))
            return feeds[i].property;
    }
    CHECK_UNREACHABLE();
}

static void empty_feed_found(struct call *c)
{
    const struct rid *rid = NULL;
    if (c->container != NULL)
        rid = &c->container->rid;
    else if (c->database != NULL)
        rid = &c->database->rid;
    listing_empty(c, feed_property(c), rid);
}

/* There are none: reading and querying show that, creating is refused. */
void handle_empty_feed(struct call *c)
{
    bool read = c->http->method != HTTP_METHOD_POST ||
                cosmos_headers_query(&c->headers);
    if (!read)
        handle_unsupported(c);
    else if (c->path.count >= 5 &&
             bytes_equal(c->path.segments[2], bytes_str("colls")))
        call_with_container(c, empty_feed_found);
    else if (c->path.count >= 3)
        call_with_database(c, empty_feed_found);
    else
        empty_feed_found(c);
}

/* ---- refusals ------------------------------------------------------------ */

void handle_missing(struct call *c)
{
    reply_fail(c, FAIL_NOT_FOUND);
}

void handle_unsupported(struct call *c)
{
    reply_fail(c, FAIL_NOT_IMPLEMENTED);
}

/* SDKs send this beside the query itself and go by the query's answer, when
 * that is a success. */
void handle_query_plan(struct call *c)
{
    reply_fail_text(c, FAIL_UNSUPPORTED,
                    "Query plans are not supported yet: send the query itself, "
                    "the server executes it over all partitions");
}
