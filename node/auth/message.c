/* What a refused client reads. */
#include "node/auth/signature.h"

#include "node/base/check.h"
#include "node/base/clock.h"

static int skew_message(const struct auth_verdict *v, int64_t now_s,
                        struct buf *out)
{
    char start[CLOCK_HTTP_DATE_LEN + 1];
    char expiry[CLOCK_HTTP_DATE_LEN + 1];
    char now[CLOCK_HTTP_DATE_LEN + 1];
    clock_http_date(v->token_start_s, start);
    clock_http_date(v->token_expiry_s, expiry);
    clock_http_date(now_s, now);
    return buf_printf(
        out,
        "The authorization token is not valid at the current time. Please "
        "create another token and retry (token start time: %s, token expiry "
        "time: %s, current server time: %s).",
        start, expiry, now);
}

static int signature_message(const struct auth_verdict *v, struct buf *out)
{
    size_t before = buf_len(out);
    int err = buf_append_str(
        out,
        "The input authorization token can't serve the request. The wrong key "
        "is being used or the expected payload is not built as per the "
        "protocol. For more info: "
        "https://aka.ms/cosmosdb-tsg-unauthorized. Server used the following "
        "payload to sign: '");
    if (err == ERR_OK)
        err = buf_append(out, v->payload, v->payload_len);
    if (err == ERR_OK)
        err = buf_append_str(out, "'");
    if (err != ERR_OK)
        buf_truncate(out, before);
    return err;
}

int auth_message(const struct auth_verdict *verdict, int64_t now_s,
                 struct buf *out)
{
    switch (verdict->result) {
    case AUTH_MISSING:
        return buf_append_str(
            out, "Required Header authorization is missing. Ensure a valid "
                 "Authorization token is passed.");
    case AUTH_MALFORMED:
        return buf_append_str(
            out, "The input authorization header has the wrong format. "
                 "Expected type=master&ver=1.0&sig={base64 of 32 bytes}, "
                 "percent-encoded, and a method and date of usual length.");
    case AUTH_NO_DATE:
        return buf_append_str(
            out, "Required Header x-ms-date is missing. Ensure x-ms-date or "
                 "date is passed with a signed request.");
    case AUTH_BAD_DATE:
        return buf_append_str(
            out, "The date of the request has the wrong format. Expected "
                 "'Sun, 22 Nov 2026 01:53:57 GMT'.");
    case AUTH_BAD_SIGNATURE:
        return signature_message(verdict, out);
    case AUTH_DATE_SKEW:
        return skew_message(verdict, now_s, out);
    case AUTH_KEY_READ_ONLY:
        return buf_append_str(
            out, "The input authorization token can't serve the request: a "
                 "read-only key has insufficient permissions for this "
                 "operation. Use a read-write key.");
    case AUTH_UNSUPPORTED:
        return buf_append_str(
            out, "This kind of authorization token is not supported. Sign the "
                 "request with an account key (type=master).");
    case AUTH_OK:
        break;
    }
    CHECK_UNREACHABLE();
}
