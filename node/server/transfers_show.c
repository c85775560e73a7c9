/* What is told of transfers. */
#include "node/server/transfers_impl.h"

static usec_t eta(const struct transfer_speed *speed, uint64_t there,
                  uint64_t all, usec_t now)
{
    if (speed->began_us == 0 || there <= speed->there || all < there ||
        now <= speed->began_us)
        return USEC_NEVER;
    double took = (double)(now - speed->began_us);
    double done = (double)(there - speed->there);
    return (usec_t)(took / done * (double)(all - there));
}

/* How many there are is an estimate. */
static uint64_t at_most(uint64_t there, uint64_t all)
{
    return there < all ? there : all;
}

static struct transfer_view view_out(const struct outgoing *o, usec_t now)
{
    uint64_t there = at_most(o->there_shown, o->about);
    return (struct transfer_view){
        .shard = o->replica->id,
        .from = o->replica->worker->node->config->id,
        .to = o->to,
        .lsn = o->lsn,
        .bytes = o->bytes,
        .there = there,
        .about = o->about,
        .began_us = o->began_us,
        .eta_us = o->lost ? USEC_NEVER : eta(&o->speed, there, o->about, now),
        .waits = o->lost || o->snapshot == NULL};
}

static struct transfer_view view_in(const struct incoming *in, usec_t now)
{
    uint64_t there = at_most(in->there_shown, in->about);
    return (struct transfer_view){.shard = in->replica->id,
                                  .from = in->from,
                                  .to = in->replica->worker->node->config->id,
                                  .lsn = in->lsn,
                                  .bytes = in->bytes,
                                  .there = there,
                                  .about = in->about,
                                  .began_us = in->began_us,
                                  .eta_us =
                                      eta(&in->speed, there, in->about, now)};
}

size_t transfers_view(const struct transfers *t, usec_t now,
                      struct transfer_view *out, size_t max)
{
    size_t n = 0;
    LIST_EACH(node, &t->outgoing)
    {
        const struct outgoing *o = LIST_ENTRY(node, struct outgoing, node);
        if (n < max && !o->over && !o->asked)
            out[n++] = view_out(o, now);
    }
    LIST_EACH(node, &t->incoming)
    {
        if (n < max)
            out[n++] = view_in(LIST_ENTRY(node, struct incoming, node), now);
    }
    return n;
}

size_t transfers_running(const struct transfers *t)
{
    size_t n = 0;
    LIST_EACH(node, &t->outgoing)
    n += !LIST_ENTRY(node, struct outgoing, node)->asked;
    LIST_EACH(node, &t->incoming)
    n++;
    return n;
}
