/* What a worker counts of the requests it answers: how many of which kind with
 * which outcome, and how long they took. */
#ifndef BASTIDE_COSMOS_METERS_H
#define BASTIDE_COSMOS_METERS_H

#include "node/base/meter.h"
#include "node/catalog/catalog.h"

struct call;

/* What a client asks for. X(name, word) */
#define COSMOS_OPERATION_LIST(X)                                               \
    X(READ, "read")     /* one document */                                     \
    X(QUERY, "query")   /* a page of one */                                    \
    X(FEED, "feed")     /* a page of all documents of a container */           \
    X(CREATE, "create") /* documents, as the next three */                     \
    X(UPSERT, "upsert")                                                        \
    X(REPLACE, "replace")                                                      \
    X(DELETE, "delete")                                                        \
    X(ACCOUNT, "account")     /* GET / */                                      \
    X(METADATA, "metadata")   /* databases, containers, their ranges */        \
    X(CONFLICTS, "conflicts") /* a container's conflicts feed */               \
    X(OTHER, "other")         /* not supported, or no such path */

enum cosmos_operation {
#define COSMOS_OPERATION_ENUM(name, word) COSMOS_OP_##name,
    COSMOS_OPERATION_LIST(COSMOS_OPERATION_ENUM)
#undef COSMOS_OPERATION_ENUM
        COSMOS_OP_COUNT
};
const char *cosmos_operation_word(enum cosmos_operation operation);

/* By method, path and headers alone; the path must be parsed. */
enum cosmos_operation cosmos_operation_of(const struct call *c);

/* Statuses by their first digit, 2xx to 5xx. */
#define COSMOS_CLASSES 4
/* Statuses that say why somebody was refused: 401 403 404 408 409 410 412 413
 * 429 449 500 503; any other 4xx or 5xx is not counted singly. */
#define COSMOS_REFUSALS 12
extern const int cosmos_refusals[COSMOS_REFUSALS];

/* Starts as {0}. */
struct cosmos_meters {
    uint64_t answers[COSMOS_OP_COUNT][COSMOS_CLASSES];
    uint64_t refusals[COSMOS_REFUSALS];
    /* From the complete request to its answer, by the level that counted. */
    struct meter latency[COSMOS_OP_COUNT][CONSISTENCY_COUNT];
};

/* An answer with `status` (200..599) leaves. */
void cosmos_meters_answered(struct cosmos_meters *m,
                            enum cosmos_operation operation,
                            enum consistency_level level, int status,
                            usec_t took_us);
void cosmos_meters_add(struct cosmos_meters *m,
                       const struct cosmos_meters *from);

#endif
