#include "replication/link/chan_mem.h"

#include <stdio.h>

#include "node/base/err.h"
#include "node/base/mem.h"
#include "replication/link/chan_impl.h"

#define MEM_INPUT_MAX (256 * 1024)
#define MEM_OUTPUT_MAX (8 * 1024 * 1024)

struct pair;

struct end {
    struct chan base;
    struct pair *pair;
    int side;
};

/* Lives until both ends were released and no step is under way. */
struct pair {
    struct end *ends[2]; /* NULL once released */
    size_t step_bytes;
    unsigned busy;
    int broken; /* an error, once chan_mem_break was called */
    char *broken_reason;
};

static struct end *end_of(struct chan *c)
{
    CHECK_OBJ(c, CHAN_MAGIC);
    return (struct end *)(void *)c;
}

static void pair_release(struct pair *p)
{
    if (p->busy > 0 || p->ends[0] != NULL || p->ends[1] != NULL)
        return;
    mem_free(p->broken_reason);
    mem_free(p);
}

/* -- the vtable: everything waits for the next step -------------------------
 */

static void mem_nothing(struct chan *c)
{
    (void)c;
}

static void mem_reset(struct chan *c)
{
    chan_mem_break(c, ERR_IO, "reset by the peer");
}

static void mem_release(struct chan *c)
{
    struct end *e = end_of(c);
    struct pair *p = e->pair;
    p->ends[e->side] = NULL;
    chan_base_fini(c);
    mem_free(e);
    pair_release(p);
}

static const struct chan_ops mem_ops = {
    .queued = mem_nothing,
    .reading = mem_nothing,
    .reset = mem_reset,
    .cut = mem_nothing,
    .release = mem_release,
};

/* -- steps ------------------------------------------------------------------
 */

/* The end on that side if its user still wants to hear of it. */
static struct end *listening(struct pair *p, int side)
{
    struct end *e = p->ends[side];
    bool deaf = e == NULL || e->base.freed || e->base.state == CHAN_CLOSED;
    return deaf ? NULL : e;
}

static bool step_open(struct pair *p, int side)
{
    struct end *e = listening(p, side);
    if (e == NULL || e->base.state != CHAN_OPENING)
        return false;
    chan_enter(&e->base);
    chan_call_open(&e->base);
    chan_leave(&e->base);
    return true;
}

/* Moves bytes from `side` to the other; what a freed or closing reader does
 * not take is lost. */
static bool step_bytes(struct pair *p, int side)
{
    struct end *from = listening(p, side);
    if (from == NULL || buf_len(&from->base.out) == 0)
        return false;
    struct end *to = listening(p, !side);
    size_t n = buf_len(&from->base.out);
    if (to != NULL && to->base.state == CHAN_OPENING)
        return false;
    bool wanted = to != NULL && to->base.state == CHAN_OPEN;
    if (wanted) {
        size_t room = to->base.in.max - buf_len(&to->base.in);
        n = n < room ? n : room;
        if (p->step_bytes > 0 && n > p->step_bytes)
            n = p->step_bytes;
        if (n == 0 || !to->base.read_on)
            return false;
        CHECK(buf_append(&to->base.in, buf_bytes(&from->base.out), n) ==
              ERR_OK);
    }
    buf_consume(&from->base.out, n);
    from->base.sent += n;
    if (wanted) {
        chan_enter(&to->base);
        chan_call_data(&to->base);
        chan_leave(&to->base);
    }
    from = listening(p, side);
    if (from != NULL) {
        chan_enter(&from->base);
        chan_call_writable(&from->base);
        chan_leave(&from->base);
    }
    return true;
}

static void close_end(struct end *e, int err, const char *reason)
{
    chan_enter(&e->base);
    chan_call_close(&e->base, err, reason);
    chan_leave(&e->base);
}

/* Ends the channel of `side` when it is due. */
static bool step_close(struct pair *p, int side)
{
    struct end *e = listening(p, side);
    if (e == NULL)
        return false;
    if (p->broken != ERR_OK) {
        close_end(e, p->broken, p->broken_reason);
        return true;
    }
    if (e->base.state == CHAN_CLOSING) {
        if (buf_len(&e->base.out) > 0)
            return false;
        close_end(e, ERR_EOF, "closed in order");
        return true;
    }
    if (listening(p, !side) != NULL)
        return false;
    close_end(e, ERR_EOF, "closed by the peer");
    return true;
}

static bool pair_step(struct pair *p)
{
    bool moved = false;
    p->busy++;
    for (int side = 0; side < 2 && p->broken == ERR_OK; side++)
        moved |= step_open(p, side);
    for (int side = 0; side < 2 && p->broken == ERR_OK; side++)
        moved |= step_bytes(p, side);
    for (int side = 0; side < 2; side++)
        moved |= step_close(p, side);
    p->busy--;
    return moved;
}

bool chan_mem_step(struct chan *c)
{
    struct pair *p = end_of(c)->pair;
    p->busy++;
    bool moved = pair_step(p);
    p->busy--;
    pair_release(p);
    return moved;
}

void chan_mem_run(struct chan *c)
{
    struct pair *p = end_of(c)->pair;
    p->busy++;
    while (pair_step(p)) {
    }
    p->busy--;
    pair_release(p);
}

void chan_mem_break(struct chan *c, int err, const char *reason)
{
    CHECK(err != ERR_OK);
    struct pair *p = end_of(c)->pair;
    if (p->broken != ERR_OK)
        return;
    p->broken = err;
    p->broken_reason = mem_strdup(reason);
    for (int side = 0; side < 2; side++) {
        struct end *e = listening(p, side);
        if (e != NULL)
            buf_clear(&e->base.out);
    }
}

static struct end *end_new(struct pair *p, int side,
                           const struct chan_mem_options *o, const char *uri)
{
    struct end *e = mem_zalloc(sizeof(*e));
    chan_base_init(&e->base, &mem_ops,
                   o->input_max > 0 ? o->input_max : MEM_INPUT_MAX,
                   o->output_max > 0 ? o->output_max : MEM_OUTPUT_MAX);
    e->pair = p;
    e->side = side;
    e->base.uri = uri != NULL ? mem_strdup(uri) : NULL;
    snprintf(e->base.addr, sizeof(e->base.addr), "memory:%d", side);
    p->ends[side] = e;
    return e;
}

void chan_mem_pair(const struct chan_mem_options *options, struct chan **a_out,
                   struct chan **b_out)
{
    static const struct chan_mem_options none = {0};
    const struct chan_mem_options *o = options != NULL ? options : &none;
    struct pair *p = mem_zalloc(sizeof(*p));
    p->step_bytes = o->step_bytes;
    *a_out = &end_new(p, 0, o, o->uri_seen_by_a)->base;
    *b_out = &end_new(p, 1, o, o->uri_seen_by_b)->base;
}
