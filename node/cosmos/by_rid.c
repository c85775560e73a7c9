#include "node/cosmos/by_rid.h"

#include "node/cosmos/reply.h"

static const char query[] = "SELECT VALUE c.id FROM c WHERE c._rid = @rid";

/* The parameters stand in c->text: a RID needs no escapes. */
bool by_rid_begin(struct call *c, call_step *then)
{
    buf_clear(&c->text);
    int err = buf_printf(&c->text, "[{\"name\":\"@rid\",\"value\":\"%.*s\"}]",
                         (int)c->path.segments[5].len,
                         (const char *)c->path.segments[5].data);
    if (err != ERR_OK)
        reply_fail(c, cosmos_failure_local(err));
    else
        c->found = then;
    return err == ERR_OK;
}

void by_rid_op(struct call *c, struct op *op, struct bytes after)
{
    op->after = after;
    op->max_items = 1;
    op->max_bytes = OP_PAGE_MAX;
    op->query = bytes_str(query);
    op->params = bytes_of(buf_bytes(&c->text), buf_len(&c->text));
}

bool by_rid_row(struct call *c, struct op_result *result,
                void (*again)(struct call *c, struct bytes after),
                struct bytes *row_out)
{
    size_t offset = 0;
    if (result->err != ERR_OK) {
        reply_op_failed(c, result);
    } else if (op_result_next_row(result, &offset, row_out)) {
        return true;
    } else if (result->more) {
        op_result_move(&c->held, result);
        again(c, bytes_of(c->held.next, c->held.next_len));
    } else {
        reply_state(c, result);
        reply_fail(c, FAIL_ITEM_NOT_FOUND);
    }
    return false;
}
