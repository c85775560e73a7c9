#include "node/cosmos/meta.h"

#include "node/cosmos/charge.h"
#include "node/cosmos/reply.h"

bool meta_write_op(struct call *c, enum op_write_mode mode,
                   enum op_resource resource, uint32_t container,
                   struct bytes pk, struct bytes id)
{
    const struct keyed_hash *hash = call_hash(c, SHARD_META);
    if (hash == NULL)
        return false;
    struct op *op = call_op(c, OP_WRITE, SHARD_META);
    op->mode = mode;
    op->resource = resource;
    cosmos_address(hash, container, pk, id, &op->at);
    if (mode != OP_DELETE) {
        /* The shard appends the system properties and closes the object. */
        size_t len = buf_len(&c->text);
        CHECK(len >= 2 && buf_bytes(&c->text)[len - 1] == '}');
        op->body = bytes_of(buf_bytes(&c->text), len - 1);
    }
    return true;
}

static void meta_written(struct call *c)
{
    struct op_result *result = &c->held;
    c->charge = c->op.mode == OP_DELETE ? charge_delete()
                                        : charge_create(buf_len(&result->body));
    if (c->status == 204) {
        reply_empty(c, 204);
        return;
    }
    reply_etag(c, &result->etag);
    reply_json(c, c->status, &result->body);
}

void meta_write_done(struct call *c, struct op_result *result)
{
    if (result->err != ERR_OK) {
        reply_op_failed(c, result);
        return;
    }
    op_result_move(&c->held, result);
    call_await_catalog(c, c->held.lsn, meta_written);
}

void meta_write(struct call *c, int status)
{
    c->status = status;
    call_submit(c, meta_write_done);
}

void meta_reply(struct call *c, struct bytes json, struct bytes etag)
{
    reply_etag_text(c, etag);
    if (bytes_equal(c->headers.if_none_match, etag)) {
        reply_empty(c, 304);
        return;
    }
    c->charge = charge_read(json.len);
    struct buf body;
    buf_init(&body, DEFINITION_MAX * 2);
    int err = buf_append(&body, json.data, json.len);
    if (err != ERR_OK)
        reply_fail(c, cosmos_failure_local(err));
    else
        reply_json(c, 200, &body);
    buf_free(&body);
}
