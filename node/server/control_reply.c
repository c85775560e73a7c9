#include "node/server/control_reply.h"

#include "node/json/json.h"

void control_respond(struct http_request *r, int status, struct buf *body)
{
    http_reply_header_str(r, "Content-Type", "application/json");
    http_respond_take(r, status, body);
    buf_free(body);
}

void control_refuse(struct http_request *r, int status, const char *code,
                    const char *message)
{
    struct buf body;
    struct json_writer w;
    buf_init(&body, CONTROL_ANSWER_MAX);
    json_writer_init(&w, &body);
    json_write_object_begin(&w);
    json_write_member_str(&w, "code", code);
    json_write_member_str(&w, "message", message);
    json_write_object_end(&w);
    control_respond(r, status, &body);
}

void control_refuse_err(struct http_request *r, int err, const char *message)
{
    switch (err) {
    case ERR_INVALID:
    case ERR_MALFORMED:
        control_refuse(r, 400, "BadRequest", message);
        break;
    case ERR_NOT_FOUND:
        control_refuse(r, 404, "NotFound", message);
        break;
    case ERR_EXISTS:
    case ERR_STALE:
    case ERR_BUSY:
        control_refuse(r, 409, "Conflict", message);
        break;
    default:
        control_refuse(r, 503, "ServiceUnavailable", message);
    }
}
