#include "node/cosmos/status.h"

#include "node/base/check.h"
#include "node/base/err.h"

static const struct cosmos_status statuses[FAIL_COUNT] = {
#define COSMOS_FAILURE_ROW(name, http, substatus, code, text)                  \
    {http, substatus, code, text},
    COSMOS_FAILURE_LIST(COSMOS_FAILURE_ROW)
#undef COSMOS_FAILURE_ROW
};

const struct cosmos_status *cosmos_status(enum cosmos_failure failure)
{
    CHECK(failure < FAIL_COUNT);
    return &statuses[failure];
}

const char *cosmos_status_code_name(int http)
{
    for (size_t i = 0; i < FAIL_COUNT; i++) {
        if (statuses[i].http == http)
            return statuses[i].code;
    }
    return http < 500 ? "BadRequest" : "InternalServerError";
}

enum cosmos_failure cosmos_failure_local(int err)
{
    switch (err) {
    case ERR_LIMIT:
        return FAIL_TOO_LARGE;
    case ERR_NO_MEMORY:
        return FAIL_UNAVAILABLE;
    default:
        return FAIL_INTERNAL;
    }
}

enum cosmos_failure cosmos_failure_of(const struct op_result *result, bool item)
{
    CHECK(result->err != ERR_OK && result->err != ERR_NOT_MODIFIED);
    switch (result->err) {
    case ERR_NOT_FOUND:
        if (result->parent_missing)
            return FAIL_OWNER_NOT_FOUND;
        return item ? FAIL_ITEM_NOT_FOUND : FAIL_NOT_FOUND;
    case ERR_EXISTS:
        return FAIL_CONFLICT;
    case ERR_PRECONDITION:
        return FAIL_PRECONDITION;
    case ERR_INVALID:
        return FAIL_BAD_REQUEST;
    case ERR_BEHIND:
        return FAIL_SESSION_BEHIND;
    case ERR_THROTTLED:
        return FAIL_THROTTLED;
    case ERR_NO_SPACE:
        return FAIL_NO_SPACE;
    case ERR_IO:
        return FAIL_DISK;
    case ERR_UNAVAILABLE:
        return FAIL_UNAVAILABLE;
    case ERR_TIMEOUT:
        return FAIL_TIMEOUT;
    case ERR_FORBIDDEN:
        return FAIL_FENCED;
    case ERR_CORRUPT:
        return FAIL_CORRUPT;
    default:
        return cosmos_failure_local(result->err);
    }
}
