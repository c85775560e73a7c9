/* The request headers this API reads, found in one pass over the request.
 *
 * Values are borrowed from the request. A header that is absent has `data`
 * NULL. Boolean headers arrive as "true" or "True", depending on the SDK.
 */
#ifndef BASTIDE_COSMOS_HEADERS_H
#define BASTIDE_COSMOS_HEADERS_H

#include <stdbool.h>
#include <stddef.h>

#include "node/base/bytes.h"
#include "node/http/http.h"

/* X(field, header name in lower case) */
#define COSMOS_HEADER_LIST(X)                                                  \
    X(authorization, "authorization")                                          \
    X(ms_date, "x-ms-date")                                                    \
    X(date, "date")                                                            \
    X(host, "host")                                                            \
    X(activity_id, "x-ms-activity-id")                                         \
    X(content_type, "content-type")                                            \
    X(if_match, "if-match")                                                    \
    X(if_none_match, "if-none-match")                                          \
    X(a_im, "a-im")                                                            \
    X(prefer, "prefer")                                                        \
    X(partition_key, "x-ms-documentdb-partitionkey")                           \
    X(range_id, "x-ms-documentdb-partitionkeyrangeid")                         \
    X(start_epk, "x-ms-start-epk")                                             \
    X(end_epk, "x-ms-end-epk")                                                 \
    X(max_item_count, "x-ms-max-item-count")                                   \
    X(continuation, "x-ms-continuation")                                       \
    X(session_token, "x-ms-session-token")                                     \
    X(consistency, "x-ms-consistency-level")                                   \
    X(hub_only, "x-ms-cosmos-hub-region-processing-only")                      \
    X(is_upsert, "x-ms-documentdb-is-upsert")                                  \
    X(is_query, "x-ms-documentdb-isquery")                                     \
    X(is_query_plan, "x-ms-cosmos-is-query-plan-request")                      \
    X(is_batch, "x-ms-cosmos-is-batch-request")                                \
    X(cross_partition, "x-ms-documentdb-query-enablecrosspartition")           \
    X(placement, "x-bastide-placement")                                        \
    X(populate_quota, "x-ms-documentdb-populatequotainfo")                     \
    X(populate_metrics, "x-ms-documentdb-populatequerymetrics")                \
    X(populate_content, "x-ms-cosmos-populate-content-response-on-write")      \
    X(intended_rid, "x-ms-cosmos-intended-collection-rid")

struct cosmos_headers {
#define COSMOS_HEADER_FIELD(field, name) struct bytes field;
    COSMOS_HEADER_LIST(COSMOS_HEADER_FIELD)
#undef COSMOS_HEADER_FIELD
};

/* Fills `headers_out` from the request; of a repeated header the first counts.
 */
void cosmos_headers_read(const struct http_request *request,
                         struct cosmos_headers *headers_out);

/* Whether a boolean header says true, in any case. */
bool cosmos_header_true(struct bytes value);
/* Whether "return=minimal" was asked, in either of the two ways SDKs ask. */
bool cosmos_headers_minimal(const struct cosmos_headers *headers);
/* Whether a POST to a feed is a query. */
bool cosmos_headers_query(const struct cosmos_headers *headers);

#endif
