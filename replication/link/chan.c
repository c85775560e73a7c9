#include "replication/link/chan.h"

#include "node/base/err.h"
#include "node/base/mem.h"
#include "replication/link/chan_impl.h"

void chan_base_init(struct chan *c, const struct chan_ops *ops,
                    size_t input_max, size_t output_max)
{
    c->magic = CHAN_MAGIC;
    c->state = CHAN_OPENING;
    c->ops = ops;
    c->read_on = true;
    buf_init(&c->in, input_max);
    buf_init(&c->out, output_max);
}

void chan_base_fini(struct chan *c)
{
    CHECK(c->freed && c->busy == 0);
    buf_free(&c->in);
    buf_free(&c->out);
    mem_free(c->uri);
    mem_free(c->reason);
    c->magic = 0;
}

void chan_leave(struct chan *c)
{
    CHECK_OBJ(c, CHAN_MAGIC);
    CHECK(c->busy > 0);
    if (--c->busy == 0 && c->freed)
        c->ops->release(c);
}

void chan_call_open(struct chan *c)
{
    CHECK(c->busy > 0 && !c->freed && c->state == CHAN_OPENING);
    c->state = CHAN_OPEN;
    if (c->handler != NULL && c->handler->on_open != NULL)
        c->handler->on_open(c, c->user);
}

void chan_call_data(struct chan *c)
{
    CHECK(c->busy > 0 && !c->freed && c->state != CHAN_CLOSED);
    if (c->handler != NULL && c->handler->on_data != NULL)
        c->handler->on_data(c, c->user);
}

void chan_call_writable(struct chan *c)
{
    CHECK(c->busy > 0 && !c->freed);
    if (!c->told_full || c->state != CHAN_OPEN ||
        chan_output_len(c) > CHAN_OUTPUT_LOW)
        return;
    c->told_full = false;
    if (c->handler != NULL && c->handler->on_writable != NULL)
        c->handler->on_writable(c, c->user);
}

void chan_call_close(struct chan *c, int err, const char *reason)
{
    CHECK(c->busy > 0 && !c->freed);
    CHECK(err != ERR_OK && err != ERR_AGAIN);
    if (c->state == CHAN_CLOSED)
        return;
    c->state = CHAN_CLOSED;
    mem_free(c->reason);
    c->reason = mem_strdup(reason != NULL ? reason : err_text(err));
    if (c->handler != NULL && c->handler->on_close != NULL)
        c->handler->on_close(c, c->user, err);
}

/* -- for users ------------------------------------------------------------ */

void chan_set_handler(struct chan *c, const struct chan_handler *h, void *user)
{
    CHECK_OBJ(c, CHAN_MAGIC);
    CHECK(!c->freed);
    c->handler = h;
    c->user = user;
}

struct buf *chan_input(struct chan *c)
{
    CHECK_OBJ(c, CHAN_MAGIC);
    return &c->in;
}

int chan_write(struct chan *c, const void *data, size_t len)
{
    CHECK_OBJ(c, CHAN_MAGIC);
    CHECK(!c->freed);
    if (c->state == CHAN_CLOSING || c->state == CHAN_CLOSED || c->reset)
        return ERR_CLOSED;
    if (len == 0)
        return ERR_OK;
    /* What the transport holds counts against the maximum as well. */
    if (len > c->out.max || chan_output_len(c) > c->out.max - len) {
        c->told_full = true;
        return ERR_FULL;
    }
    int err = buf_append(&c->out, data, len);
    /* Without memory there may be no output whose end on_writable could wait
     * for: then it comes in the next turn. */
    c->told_full |= err != ERR_OK;
    c->ops->queued(c);
    return err == ERR_OK ? ERR_OK : ERR_FULL;
}

size_t chan_output_len(const struct chan *c)
{
    CHECK_OBJ(c, CHAN_MAGIC);
    return buf_len(&c->out) + c->held;
}

uint64_t chan_sent(const struct chan *c)
{
    CHECK_OBJ(c, CHAN_MAGIC);
    return c->sent;
}

void chan_read_stop(struct chan *c)
{
    CHECK_OBJ(c, CHAN_MAGIC);
    if (!c->read_on || c->state == CHAN_CLOSED)
        return;
    c->read_on = false;
    c->ops->reading(c);
}

void chan_read_start(struct chan *c)
{
    CHECK_OBJ(c, CHAN_MAGIC);
    if (c->read_on || c->state == CHAN_CLOSED)
        return;
    c->read_on = true;
    c->ops->reading(c);
}

void chan_close_when_sent(struct chan *c)
{
    CHECK_OBJ(c, CHAN_MAGIC);
    CHECK(!c->freed);
    if (c->state == CHAN_CLOSING || c->state == CHAN_CLOSED)
        return;
    c->state = CHAN_CLOSING;
    c->ops->queued(c);
}

void chan_reset(struct chan *c)
{
    CHECK_OBJ(c, CHAN_MAGIC);
    CHECK(!c->freed);
    if (c->state == CHAN_CLOSED || c->reset)
        return;
    c->reset = true;
    buf_clear(&c->out);
    c->ops->reset(c);
}

const uint8_t *chan_binding(const struct chan *c)
{
    CHECK_OBJ(c, CHAN_MAGIC);
    return c->binding;
}

const char *chan_peer_uri(const struct chan *c)
{
    CHECK_OBJ(c, CHAN_MAGIC);
    return c->uri;
}

const char *chan_peer_addr(const struct chan *c)
{
    CHECK_OBJ(c, CHAN_MAGIC);
    return c->addr;
}

const char *chan_reason(const struct chan *c)
{
    CHECK_OBJ(c, CHAN_MAGIC);
    return c->reason != NULL ? c->reason : "";
}

void chan_free(struct chan *c)
{
    if (c == NULL)
        return;
    CHECK_OBJ(c, CHAN_MAGIC);
    CHECK(!c->freed);
    c->freed = true;
    c->state = CHAN_CLOSED;
    c->handler = NULL;
    c->ops->cut(c);
    if (c->busy == 0)
        c->ops->release(c);
}
