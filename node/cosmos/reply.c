#include "node/cosmos/reply.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/text.h"
#include "node/cosmos/charge.h"
#include "node/cosmos/fault.h"
#include "node/cosmos/level.h"
#include "node/cosmos/page.h"
#include "node/json/json.h"

/* Text of an error body, before and after it is quoted as JSON. */
#define ERROR_TEXT_MAX (64u * 1024)
/* dbs/<name>/colls/<name>, percent-encoded where it must be. */
#define ALT_PATH_MAX (2 * 3 * RESOURCE_NAME_BYTES_MAX + 16)

/* ---- headers ------------------------------------------------------------- */

/* Header values are visible ASCII and blanks; names in other scripts go
 * percent-encoded, as the path a client compares them with is. */
static void append_name(char *out, size_t *len, struct bytes name)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < name.len; i++) {
        uint8_t b = name.data[i];
        if (b >= 0x20 && b < 0x7f) {
            out[(*len)++] = (char)b;
        } else {
            out[(*len)++] = '%';
            out[(*len)++] = digits[b >> 4];
            out[(*len)++] = digits[b & 15];
        }
    }
}

static void reply_alt_path(struct call *c)
{
    static const char dbs[] = "dbs/";
    static const char colls[] = "/colls/";
    char path[ALT_PATH_MAX];
    CHECK(c->database->name.len <= RESOURCE_NAME_BYTES_MAX);
    CHECK(c->container->name.len <= RESOURCE_NAME_BYTES_MAX);
    memcpy(path, dbs, sizeof(dbs) - 1);
    size_t len = sizeof(dbs) - 1;
    append_name(path, &len, c->database->name);
    memcpy(path + len, colls, sizeof(colls) - 1);
    len += sizeof(colls) - 1;
    append_name(path, &len, c->container->name);
    http_reply_header(c->http, "x-ms-alt-content-path", bytes_of(path, len));
}

static void reply_session(struct call *c)
{
    if (c->page != NULL && page_session_write(c, c->http))
        return;
    if (c->lsn == 0)
        return;
    char text[PAGE_SESSION_MAX];
    const struct page_state seen = {c->slot, session_point(c->term, c->lsn)};
    size_t len = page_session_format(c, &seen, 1, text);
    http_reply_header(c->http, "x-ms-session-token", bytes_of(text, len));
    http_reply_header_u64(c->http, "x-ms-documentdb-partitionkeyrangeid",
                          call_slot_range_id(c, c->slot));
    http_reply_header_u64(c->http, "lsn", c->lsn);
}

/* With two digits after the point, rounded. */
static void reply_charge(struct call *c)
{
    char text[32];
    uint64_t hundredths = (uint64_t)(c->charge * 100 + 0.5);
    size_t len = text_put_u64(hundredths / 100, text);
    text[len++] = '.';
    text[len++] = (char)('0' + hundredths / 10 % 10);
    text[len++] = (char)('0' + hundredths % 10);
    http_reply_header(c->http, "x-ms-request-charge", bytes_of(text, len));
}

static void reply_common(struct call *c)
{
    struct http_request *r = c->http;
    http_reply_header_str(r, "x-ms-activity-id", c->activity);
    reply_charge(c);
    http_reply_header_str(r, "x-ms-version", REPLY_API_VERSION);
    if (c->behind)
        http_reply_header(r, "x-ms-session-token", c->headers.session_token);
    if (!c->item_level)
        return;
    CHECK(c->container != NULL && c->database != NULL);
    char rid[RID_TEXT_MAX];
    size_t len = rid_format(&c->container->rid, rid);
    if (!c->behind)
        reply_session(c);
    reply_alt_path(c);
    http_reply_header(r, "x-ms-content-path", bytes_of(rid, len));
}

void reply_etag_text(struct call *c, struct bytes etag)
{
    http_reply_header(c->http, "etag", etag);
}

void reply_etag(struct call *c, const struct etag *etag)
{
    char text[ETAG_TEXT_LEN + 1];
    etag_format(etag, text);
    reply_etag_text(c, bytes_of(text, ETAG_TEXT_LEN));
}

void reply_state(struct call *c, const struct op_result *result)
{
    /* A shard that is being emptied (struct call) is no range. */
    if (c->item_level && c->slot >= c->spread.slots)
        return;
    c->lsn = result->lsn;
    c->term = result->term;
    if (c->item_level)
        level_seen(c, c->slot, result);
}

/* The answer has left. */
static void finish(struct call *c, int status)
{
    cosmos_meters_answered(&c->cosmos->meters, c->operation, c->level, status,
                           call_now(c) - c->started_us);
    call_end(c);
}

/* ---- success ------------------------------------------------------------- */

void reply_json(struct call *c, int status, struct buf *body)
{
    CHECK(status >= 200 && status < 300);
    if (fault_replaces(c, body))
        return;
    http_reply_header_str(c->http, "Content-Type", "application/json");
    reply_common(c);
    http_respond_take(c->http, status, body);
    finish(c, status);
}

void reply_empty(struct call *c, int status)
{
    CHECK(status < 400);
    if (fault_replaces(c, NULL))
        return;
    reply_common(c);
    http_respond(c->http, status, bytes_of(NULL, 0));
    finish(c, status);
}

void reply_read(struct call *c, struct op_result *result)
{
    if (result->err != ERR_OK && result->err != ERR_NOT_MODIFIED) {
        reply_op_failed(c, result);
        return;
    }
    reply_state(c, result);
    reply_etag(c, &result->etag);
    c->charge = charge_read(buf_len(&result->body));
    if (result->err == ERR_NOT_MODIFIED)
        reply_empty(c, 304);
    else
        reply_json(c, 200, &result->body);
}

void reply_deleted(struct call *c, struct op_result *result)
{
    if (result->err != ERR_OK) {
        reply_op_failed(c, result);
        return;
    }
    reply_state(c, result);
    c->charge = charge_delete();
    reply_empty(c, 204);
}

/* A name of an answer's header, with a NUL. */
#define HEADER_NAME_MAX 64

/* False: the answer cannot be told as it is. */
static bool add_headers(struct call *c, struct bytes headers)
{
    struct http_header h;
    for (size_t at = 0; passage_header_next(headers, &at, &h);) {
        char name[HEADER_NAME_MAX + 1];
        if (h.name.len > HEADER_NAME_MAX)
            return false;
        memcpy(name, h.name.data, h.name.len);
        name[h.name.len] = '\0';
        if (http_reply_header(c->http, name, h.value) != ERR_OK)
            return false;
    }
    return true;
}

void reply_passed(struct call *c, const struct passage_answer *answer)
{
    bool bare = answer->status == 204 || answer->status == 304;
    if (fault_replaces(c, NULL))
        return;
    if (!add_headers(c, answer->headers) || (bare && answer->body.len > 0)) {
        http_reply_reset(c->http);
        reply_fail(c, c->writes ? FAIL_TIMEOUT : FAIL_UNAVAILABLE);
        return;
    }
    http_respond(c->http, answer->status, answer->body);
    finish(c, answer->status);
}

/* ---- failure ------------------------------------------------------------- */

/* {"code":"NotFound","message":"..."}. Without memory for it, a constant that
 * is still what SDKs can read. */
static void error_body(const char *code, struct bytes message, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_write_object_begin(&w);
    json_write_member_str(&w, "code", code);
    json_write_member_string(&w, "message", message);
    json_write_object_end(&w);
    if (json_writer_end(&w) != ERR_OK)
        buf_clear(out);
}

/* Answers with this body, whose storage it takes; empty: there was no memory
 * for it. */
static void respond_error(struct call *c, const struct cosmos_status *status,
                          struct buf *body)
{
    static const char last_resort[] =
        "{\"code\":\"ServiceUnavailable\",\"message\":\"out of memory\"}";
    if (fault_replaces(c, body))
        return;
    struct http_request *r = c->http;
    http_reply_header_str(r, "Content-Type", "application/json");
    reply_common(c);
    if (status->substatus != 0)
        http_reply_header_u64(r, "x-ms-substatus", status->substatus);
    if (buf_len(body) > 0)
        http_respond_take(r, status->http, body);
    else
        http_respond(r, status->http, bytes_str(last_resort));
    buf_free(body);
    finish(c, status->http);
}

void reply_removed(struct call *c)
{
    struct err_msg msg;
    err_set(&msg, ERR_FORBIDDEN,
            "Database Account %s does not exist in this region: the region has "
            "been removed from the account",
            c->cosmos->place.id);
    reply_removed_text(c, msg.text);
}

void reply_removed_text(struct call *c, const char *text)
{
    const struct cosmos_status *status = cosmos_status(FAIL_REMOVED);
    struct buf body;
    struct json_writer w;
    buf_init(&body, ERROR_TEXT_MAX);
    json_writer_init(&w, &body);
    json_write_object_begin(&w);
    json_write_member_str(&w, "code", status->code);
    json_write_member_str(&w, "message", text);
    json_write_member_raw(&w, "writableLocations", bytes_str("[]"));
    json_write_member_raw(&w, "readableLocations", bytes_str("[]"));
    json_write_member_str(&w, "id", c->cosmos->place.id);
    json_write_object_end(&w);
    if (json_writer_end(&w) != ERR_OK)
        buf_clear(&body);
    respond_error(c, status, &body);
}

/* The service wraps the texts of refused requests into a JSON object inside
 * the message, and leaves those about access and capacity bare. */
static bool wrapped(int http)
{
    return http < 500 && http != 401 && http != 403 && http != 408 &&
           http != 429;
}

/* `inner` is a JSON object or, when `bare`, plain text. */
static void fail_message(struct call *c, const struct cosmos_status *status,
                         bool bare, struct bytes inner)
{
    struct buf message;
    buf_init(&message, ERROR_TEXT_MAX);
    int err = ERR_OK;
    if (!bare)
        err = buf_append_str(&message, "Message: ");
    if (err == ERR_OK)
        err = buf_append(&message, inner.data, inner.len);
    if (err == ERR_OK)
        err = buf_printf(&message, "\r\nActivityId: %s, Bastide", c->activity);
    struct bytes text = bytes_of(buf_bytes(&message), buf_len(&message));
    struct buf body;
    buf_init(&body, ERROR_TEXT_MAX * 2);
    error_body(status->code, err == ERR_OK ? text : bytes_str(status->text),
               &body);
    buf_free(&message);
    respond_error(c, status, &body);
}

static void fail(struct call *c, const struct cosmos_status *status,
                 struct bytes text)
{
    if (!wrapped(status->http)) {
        fail_message(c, status, true, text);
        return;
    }
    struct buf inner;
    buf_init(&inner, ERROR_TEXT_MAX);
    struct json_writer w;
    json_writer_init(&w, &inner);
    json_write_object_begin(&w);
    json_write_key(&w, "Errors");
    json_write_array_begin(&w);
    json_write_string(&w, text);
    json_write_array_end(&w);
    json_write_object_end(&w);
    bool ok = json_writer_end(&w) == ERR_OK;
    fail_message(c, status, !ok,
                 ok ? bytes_of(buf_bytes(&inner), buf_len(&inner)) : text);
    buf_free(&inner);
}

/* Whether the account's reason explains this failure. */
static bool explained(const struct call *c, enum cosmos_failure failure)
{
    return c->cosmos->place.reason[0] != '\0' &&
           (failure == FAIL_UNAVAILABLE || failure == FAIL_ISOLATED);
}

void reply_fail(struct call *c, enum cosmos_failure failure)
{
    const struct cosmos_status *status = cosmos_status(failure);
    if (!explained(c, failure)) {
        fail(c, status, bytes_str(status->text));
        return;
    }
    char text[ERR_MSG_MAX + COSMOS_REASON_MAX];
    snprintf(text, sizeof(text), "%s: %s", status->text,
             c->cosmos->place.reason);
    fail(c, status, bytes_str(text));
}

void reply_status(struct call *c, const struct cosmos_status *status,
                  const char *text)
{
    fail(c, status, bytes_str(text));
}

void reply_fail_text(struct call *c, enum cosmos_failure failure,
                     const char *text)
{
    fail(c, cosmos_status(failure), bytes_str(text));
}

void reply_fail_json(struct call *c, enum cosmos_failure failure,
                     struct bytes json)
{
    fail_message(c, cosmos_status(failure), false, json);
}

/* A session read that no replica can serve. Without a token the client does not
 * know of a session, and is told to come back. */
static enum cosmos_failure session_failed(struct call *c)
{
    c->behind = c->headers.session_token.len > 0;
    return c->behind ? FAIL_SESSION_BEHIND : FAIL_UNAVAILABLE;
}

void reply_op_failed(struct call *c, struct op_result *result)
{
    enum cosmos_failure failure = cosmos_failure_of(result, c->item_level);
    if (failure == FAIL_SESSION_BEHIND)
        failure = session_failed(c);
    else if (result->lsn != 0)
        reply_state(c, result);
    if (failure == FAIL_THROTTLED) {
        uint32_t wait = result->retry_after_ms;
        http_reply_header_u64(c->http, "x-ms-retry-after-ms",
                              wait != 0 ? wait : REPLY_RETRY_AFTER_MS);
    }
    bool says_why = result->err == ERR_INVALID || result->err == ERR_THROTTLED;
    if (says_why && result->message.text[0] != '\0') {
        /* The message of a query error is a JSON object already. */
        struct bytes text = bytes_str(result->message.text);
        if (text.data[0] == '{')
            reply_fail_json(c, failure, text);
        else
            reply_fail_text(c, failure, result->message.text);
        return;
    }
    reply_fail(c, failure);
}

/* ---- refusals outside any call ------------------------------------------- */

void reply_format_error(struct http_request *r, enum http_reject why,
                        const char *message, struct buf *body, void *user)
{
    struct cosmos *cosmos = user;
    CHECK_OBJ(cosmos, COSMOS_MAGIC);
    char activity[RNG_UUID_LEN + 1];
    call_activity(&cosmos->prng, activity);
    http_reply_header_str(r, "Content-Type", "application/json");
    http_reply_header_str(r, "x-ms-activity-id", activity);
    http_reply_header_str(r, "x-ms-version", REPLY_API_VERSION);
    http_reply_header_str(r, "x-ms-request-charge", "0");
    if (why == HTTP_REJECT_BODY_SIZE)
        message = cosmos_status(FAIL_TOO_LARGE)->text;
    error_body(http_reject_code(why), bytes_str(message), body);
}

void reply_overload(struct cosmos *cosmos, struct http_request *r)
{
    const struct cosmos_status *status = cosmos_status(FAIL_THROTTLED);
    cosmos_meters_answered(&cosmos->meters, COSMOS_OP_OTHER,
                           cosmos->place.level, status->http, 0);
    struct buf body;
    buf_init(&body, ERROR_TEXT_MAX);
    http_reply_header_str(r, "Content-Type", "application/json");
    http_reply_header_u64(r, "x-ms-substatus", status->substatus);
    http_reply_header_u64(r, "x-ms-retry-after-ms", REPLY_RETRY_AFTER_MS);
    error_body(status->code, bytes_str(status->text), &body);
    http_respond_take(r, status->http, &body);
    buf_free(&body);
}
