/* What can go wrong with a Cosmos request, and how it is told.
 *
 * One table holds every answer that is not a success: HTTP status, substatus
 * (header x-ms-substatus, absent when 0), the CamelCase code of the body, and
 * the text SDKs and their users look for. Handlers name a failure; respond.c
 * turns it into headers and body. Source: the service's REST contract, its
 * sections 1.2, 3.2, 4.3, 8.4, 9.1 and appendix A.
 *
 * Two promises stand behind the choice of a status for a write: 503 and 429
 * say that nothing was applied, 408 says that the outcome is unknown.
 */
#ifndef BASTIDE_COSMOS_STATUS_H
#define BASTIDE_COSMOS_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#include "node/shard/op.h"

/* X(name, HTTP status, substatus, code, text) */
#define COSMOS_FAILURE_LIST(X)                                                 \
    X(BAD_REQUEST, 400, 0, "BadRequest",                                       \
      "One of the input values is invalid.")                                   \
    X(BODY_NOT_JSON, 400, 0, "BadRequest",                                     \
      "The request body is not valid JSON")                                    \
    X(BODY_NOT_OBJECT, 400, 0, "BadRequest",                                   \
      "The request body must be a JSON object")                                \
    X(ID_MISMATCH, 400, 0, "BadRequest",                                       \
      "The id in the request body does not match the id in the request path")  \
    X(TTL_INVALID, 400, 0, "BadRequest",                                       \
      "The input ttl is invalid. Ensure to provide a positive integer or -1")  \
    X(PK_MISSING, 400, 0, "BadRequest",                                        \
      "PartitionKey value must be supplied for this operation.")               \
    X(PK_MALFORMED, 400, 0, "BadRequest",                                      \
      "Partition key is invalid: x-ms-documentdb-partitionkey must be a JSON " \
      "array of primitive values")                                             \
    X(PK_MISMATCH, 400, 1001, "BadRequest",                                    \
      "PartitionKey extracted from document doesn't match the one specified "  \
      "in the header")                                                         \
    X(CONTAINER_RID_MISMATCH, 400, 1024, "BadRequest",                         \
      "Collection rid in the request does not match the current collection "   \
      "rid")                                                                   \
    X(CONTINUATION, 400, 0, "BadRequest", "Invalid Continuation Token")        \
    X(SESSION_MALFORMED, 400, 0, "BadRequest",                                 \
      "The session token in the request is malformed")                         \
    X(CONSISTENCY, 400, 0, "BadRequest",                                       \
      "The requested consistency level is not valid or stronger than the "     \
      "account's")                                                             \
    X(CROSS_PARTITION, 400, 0, "BadRequest",                                   \
      "Cross partition query is required but disabled. Please set "            \
      "x-ms-documentdb-query-enablecrosspartition to true, specify "           \
      "x-ms-documentdb-partitionkey, or revise your query to avoid this "      \
      "exception.")                                                            \
    X(QUERY_MEMORY, 400, 0, "BadRequest",                                      \
      "The query needs to hold more intermediate results in memory than the "  \
      "server allows for one query. Narrow the filter, or add a partition "    \
      "key or TOP")                                                            \
    X(UNSUPPORTED, 400, 0, "BadRequest",                                       \
      "This operation is not supported yet")                                   \
    X(AUTH_MISSING, 401, 0, "Unauthorized",                                    \
      "Required Header authorization is missing. Ensure a valid "              \
      "Authorization token is passed.")                                        \
    X(AUTH_INVALID, 401, 0, "Unauthorized",                                    \
      "The input authorization token can't serve the request.")                \
    X(AUTH_DATE, 403, 0, "Forbidden",                                          \
      "The authorization token is not valid at the current time. Please "      \
      "create another token and retry")                                        \
    X(AUTH_READ_ONLY, 403, 0, "Forbidden",                                     \
      "The given key has insufficient permissions: it is a read-only key and " \
      "this is a write")                                                       \
    X(WRITE_REGION, 403, 3, "Forbidden",                                       \
      "Write operations are not allowed on this region.")                      \
    X(REMOVED, 403, 1008, "Forbidden", "Database Account does not exist")      \
    X(FENCED, 403, 0, "Forbidden",                                             \
      "The documents of this container may not leave the regions of its "      \
      "placement group, and this node is not in one of them")                  \
    X(QUOTA, 403, 1005, "Forbidden",                                           \
      "The account has reached its maximum number of databases or "            \
      "containers")                                                            \
    X(NOT_FOUND, 404, 0, "NotFound",                                           \
      "Resource Not Found. Learn more: "                                       \
      "https://aka.ms/cosmosdb-tsg-not-found")                                 \
    X(ITEM_NOT_FOUND, 404, 0, "NotFound",                                      \
      "Entity with the specified id does not exist in the system.")            \
    X(ROUTE, 404, 0, "NotFound", "There is no such resource path")             \
    X(SESSION_BEHIND, 404, 1002, "NotFound",                                   \
      "The read session is not available for the input session token.")        \
    X(OWNER_NOT_FOUND, 404, 1003, "NotFound", "Owner resource does not exist") \
    X(METHOD, 405, 0, "MethodNotAllowed",                                      \
      "The requested verb is not supported on this resource")                  \
    X(TIMEOUT, 408, 0, "RequestTimeout",                                       \
      "The request timed out; a write may or may not have been applied")       \
    X(CONFLICT, 409, 0, "Conflict",                                            \
      "Entity with the specified id already exists in the system.")            \
    X(RANGE_GONE, 410, 1002, "Gone",                                           \
      "The requested partition key range does not exist")                      \
    X(PRECONDITION, 412, 0, "PreconditionFailed",                              \
      "One of the specified pre-condition is not met")                         \
    X(TOO_LARGE, 413, 0, "RequestEntityTooLarge", "Request size is too large") \
    X(THROTTLED, 429, 3200, "TooManyRequests",                                 \
      "Request rate is large. More Request Units may be needed, so no "        \
      "changes were made. Please retry this request later. Learn more: "       \
      "http://aka.ms/cosmosdb-error-429")                                      \
    X(INTERNAL, 500, 0, "InternalServerError",                                 \
      "The server could not complete the request")                             \
    X(CORRUPT, 500, 0, "InternalServerError",                                  \
      "The stored data of this replica is damaged and is not served")          \
    X(NOT_IMPLEMENTED, 501, 0, "NotImplemented",                               \
      "This operation is not supported yet")                                   \
    X(UNAVAILABLE, 503, 0, "ServiceUnavailable",                               \
      "The service is unavailable at the moment; nothing was applied")         \
    X(ISOLATED, 503, 0, "ServiceUnavailable",                                  \
      "This node has lost contact with the rest of the account: writes and "   \
      "strong reads are refused until it is back, weaker reads go on; "        \
      "nothing "                                                               \
      "was applied")                                                           \
    X(NO_SPACE, 503, 0, "ServiceUnavailable",                                  \
      "The disk is full or cannot be written: writes are refused until it "    \
      "can, reads go on; nothing was applied")                                 \
    X(DISK, 503, 0, "ServiceUnavailable",                                      \
      "The disk of this replica cannot be read; nothing was applied")

enum cosmos_failure {
#define COSMOS_FAILURE_ENUM(name, http, substatus, code, text) FAIL_##name,
    COSMOS_FAILURE_LIST(COSMOS_FAILURE_ENUM)
#undef COSMOS_FAILURE_ENUM
        FAIL_COUNT
};

struct cosmos_status {
    int http;
    uint32_t substatus; /* 0: no header */
    const char *code;
    const char *text;
};

/* The table's row. */
const struct cosmos_status *cosmos_status(enum cosmos_failure failure);

/* The code for an HTTP status that the HTTP front chose by itself. */
const char *cosmos_status_code_name(int http);

/* Which failure an operation's error is. `item` says whether the operation was
 * on a document, whose texts differ. Never called with ERR_OK or
 * ERR_NOT_MODIFIED (an answer, 304, and no failure):
 *
 *   NOT_FOUND    404, or 404/1003 when the parent is what is missing
 *   EXISTS       409
 *   PRECONDITION 412
 *   INVALID      400 with the operation's own message
 *   LIMIT        413
 *   THROTTLED    429/3200 with x-ms-retry-after-ms: memory, or writes that
 *                would break the account's bounded staleness
 *   BEHIND       404/1002: no replica has what the session token names
 *   NO_SPACE     503, the reason in words
 *   UNAVAILABLE  503
 *   TIMEOUT      408
 *   CORRUPT      500
 *   NO_MEMORY    503 (nothing was applied)
 *   others       500 */
enum cosmos_failure cosmos_failure_of(const struct op_result *result,
                                      bool item);

/* The failure of a step on this node, outside any shard: buffers. */
enum cosmos_failure cosmos_failure_local(int err);

#endif
