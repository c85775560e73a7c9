/* The part that all kinds of channels share. For chan.c, chan_mem.c and
 * chan_tls.c only.
 *
 *     OPENING --> OPEN --> CLOSING --> CLOSED
 *         \________\__________________/
 *
 * A kind embeds `struct chan` as its first member and supplies `ops`. It calls
 * users only between chan_enter and chan_leave, and looks at `freed` after each
 * call: the user may have let go of the channel, whose memory then lives until
 * the outermost chan_leave.
 */
#ifndef BASTIDE_REPLICATION_LINK_CHAN_IMPL_H
#define BASTIDE_REPLICATION_LINK_CHAN_IMPL_H

#include "node/base/check.h"
#include "replication/link/chan.h"

#define CHAN_MAGIC MAGIC('c', 'h', 'a', 'n')
#define CHAN_ADDR_MAX 63

enum chan_state { CHAN_OPENING, CHAN_OPEN, CHAN_CLOSING, CHAN_CLOSED };

struct chan_ops {
    void (*queued)(struct chan *c);  /* there is output, or CLOSING began */
    void (*reading)(struct chan *c); /* read_on changed */
    void (*reset)(struct chan *c);   /* the end shall be a reset */
    void (*cut)(struct chan *c);     /* freed: let go of the transport now */
    void (*release)(struct chan *c); /* free what is left, `c` included */
};

struct chan {
    uint32_t magic;
    enum chan_state state;
    const struct chan_ops *ops;
    const struct chan_handler *handler;
    void *user;
    struct buf in;
    struct buf out; /* not yet handed to the transport */
    size_t held;    /* handed over, but not yet taken from us */
    uint64_t sent;  /* bytes ever removed from `out` */
    unsigned busy;  /* depth of chan_enter */
    bool freed;
    bool read_on;
    bool told_full; /* owes on_writable */
    bool reset;     /* chan_reset was called */
    char *uri;      /* owned */
    uint8_t binding[CHAN_BINDING_LEN];
    char *reason; /* owned */
    char addr[CHAN_ADDR_MAX + 1];
};

void chan_base_init(struct chan *c, const struct chan_ops *ops,
                    size_t input_max, size_t output_max);
/* Frees what the base owns; called by `release`. */
void chan_base_fini(struct chan *c);

static inline void chan_enter(struct chan *c)
{
    CHECK_OBJ(c, CHAN_MAGIC);
    c->busy++;
}
void chan_leave(struct chan *c);

/* State changes that call the user. Each between enter and leave, none after
 * `freed`. */
void chan_call_open(struct chan *c);
void chan_call_data(struct chan *c);
/* on_writable, if it is owed and due. */
void chan_call_writable(struct chan *c);
/* Makes it CLOSED and calls on_close, once; later calls do nothing. `reason`
 * is copied; NULL means err_text(err). */
void chan_call_close(struct chan *c, int err, const char *reason);

#endif
