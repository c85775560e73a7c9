#include "node/cosmos/query_body.h"

#include <strings.h>

#include "node/cosmos/reply.h"

#define QUERY_ERROR_JSON_MAX 4096

void query_body_failed(struct call *c, int err, const struct query_error *error)
{
    if (err == ERR_NO_MEMORY) {
        reply_fail(c, cosmos_failure_local(err));
        return;
    }
    struct buf json;
    buf_init(&json, QUERY_ERROR_JSON_MAX);
    if (query_error_json(error, &json) == ERR_OK)
        reply_fail_json(c, FAIL_BAD_REQUEST,
                        bytes_of(buf_bytes(&json), buf_len(&json)));
    else
        reply_fail_text(c, FAIL_BAD_REQUEST, error->text);
    buf_free(&json);
}

static bool bare_text(const struct call *c)
{
    static const char sql[] = "application/sql";
    struct bytes type = c->headers.content_type;
    return type.len >= sizeof(sql) - 1 &&
           strncasecmp((const char *)type.data, sql, sizeof(sql) - 1) == 0;
}

/* The two members of a parsed body. ERR_INVALID: they are not what they must
 * be. */
static int body_members(const struct json *json, struct buf *sql,
                        struct bytes *params_out)
{
    struct buf scratch;
    struct bytes text;
    buf_init(&scratch, sql->max);
    int err = json_get_string(json, 0, "query", &scratch, &text);
    if (err == ERR_OK)
        err = buf_append(sql, text.data, text.len);
    else if (err == ERR_NOT_FOUND)
        err = ERR_INVALID;
    buf_free(&scratch);
    if (err != ERR_OK)
        return err;
    json_ref params = json_get_str(json, 0, "parameters");
    *params_out = bytes_of(NULL, 0);
    if (params == JSON_NONE || json_type(json, params) == JSON_NULL)
        return ERR_OK;
    if (json_type(json, params) != JSON_ARRAY)
        return ERR_INVALID;
    *params_out = json_raw(json, params);
    return params_out->len <= OP_PARAMS_MAX ? ERR_OK : ERR_LIMIT;
}

/* False after answering. */
static bool body_read(struct call *c, struct buf *sql, struct bytes *params_out)
{
    int err;
    if (bare_text(c)) {
        *params_out = bytes_of(NULL, 0);
        err = buf_append(sql, c->http->body.data, c->http->body.len);
    } else {
        if (!call_body_object(c, QUERY_BODY_MAX))
            return false;
        err = body_members(&c->cosmos->json, sql, params_out);
    }
    if (err == ERR_INVALID)
        reply_fail_text(c, FAIL_BAD_REQUEST,
                        "A query body must be an object with a string 'query' "
                        "and, optionally, an array 'parameters'");
    else if (err == ERR_LIMIT)
        reply_fail_text(c, FAIL_BAD_REQUEST,
                        "The query text is longer than 262144 bytes or its "
                        "parameters are longer than 524288");
    else if (err != ERR_OK)
        reply_fail(c, cosmos_failure_local(err));
    return err == ERR_OK;
}

bool query_body_compile(struct call *c, struct buf *sql,
                        struct bytes *params_out, struct query **query_out)
{
    if (!body_read(c, sql, params_out))
        return false;
    struct query_error error = {0};
    int err = query_compile(bytes_of(buf_bytes(sql), buf_len(sql)), *params_out,
                            query_out, &error);
    if (err != ERR_OK)
        query_body_failed(c, err, &error);
    return err == ERR_OK;
}
