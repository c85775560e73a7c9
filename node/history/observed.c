#include "node/history/observed.h"

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/history/grow.h"

void observed_free(struct observed *o)
{
    mem_free(o->ops);
    mem_free(o->promises);
    mem_free(o->switches);
    mem_free(o->conflicts);
    mem_free(o->ends);
    *o = (struct observed){0};
}

/* ---- recording --------------------------------------------------------------
 */

uint64_t observed_called(struct observed *o, const struct hist_op *op)
{
    HIST_MORE(o->ops, o->n_ops, o->cap_ops);
    struct hist_op *added = &o->ops[o->n_ops - 1];
    *added = *op;
    added->called = ++o->moment;
    added->answered = LINEAR_NEVER;
    added->answered_us = HIST_NEVER;
    return o->n_ops;
}

void observed_answered(struct observed *o, uint64_t number,
                       const struct hist_op *op)
{
    CHECK(number > 0 && number <= o->n_ops);
    struct hist_op *answered = &o->ops[number - 1];
    CHECK(answered->answered == LINEAR_NEVER);
    answered->answered_us = op->answered_us;
    answered->answered = ++o->moment;
    answered->node = op->node;
    answered->result = op->result;
    answered->created = op->created;
    answered->version = op->version;
    answered->at = op->at;
}

void observed_conflict(struct observed *o, const struct hist_conflict *c)
{
    HIST_MORE(o->conflicts, o->n_conflicts, o->cap_conflicts);
    o->conflicts[o->n_conflicts - 1] = *c;
}

void observed_promise(struct observed *o, const struct hist_promise *p)
{
    HIST_MORE(o->promises, o->n_promises, o->cap_promises);
    o->promises[o->n_promises - 1] = *p;
    o->promises[o->n_promises - 1].levels |= 1u << p->level;
}

void observed_switch(struct observed *o, const struct hist_switch *s)
{
    for (size_t i = 0; i < o->n_switches; i++)
        if (o->switches[i].epoch == s->epoch)
            return; /* heard from another node before */
    HIST_MORE(o->switches, o->n_switches, o->cap_switches);
    o->switches[o->n_switches - 1] = *s;
}

void observed_end(struct observed *o, const struct hist_end *end)
{
    HIST_MORE(o->ends, o->n_ends, o->cap_ends);
    o->ends[o->n_ends - 1] = *end;
}

/* ---- questions --------------------------------------------------------------
 */

bool hist_is_write(const struct hist_op *op)
{
    return op->kind != LINEAR_READ;
}

bool hist_done(const struct hist_op *op)
{
    return op->answered_us != HIST_NEVER && op->result == ERR_OK;
}

bool hist_is_read(const struct hist_op *op)
{
    return op->kind == LINEAR_READ && op->answered_us != HIST_NEVER &&
           (op->result == ERR_OK || op->result == ERR_NOT_FOUND);
}

bool hist_refused(const struct hist_op *op)
{
    return op->answered_us != HIST_NEVER && op->result != ERR_OK &&
           op->result != ERR_EXISTS && op->result != ERR_NOT_FOUND &&
           op->result != ERR_PRECONDITION;
}

uint64_t observed_number(const struct observed *o, const struct hist_op *op)
{
    return (uint64_t)(op - o->ops) + 1;
}

static void weaken(struct hist_promise *p, const struct hist_promise *by)
{
    p->levels |= by->levels;
    if (by->level > p->level)
        p->level = by->level;
    if (by->max_entries > p->max_entries)
        p->max_entries = by->max_entries;
    if (by->max_us > p->max_us)
        p->max_us = by->max_us;
}

struct hist_promise observed_promised(const struct observed *o, usec_t from,
                                      usec_t to)
{
    struct hist_promise p = {.level = CONSISTENCY_STRONG};
    bool first = true;
    for (size_t i = 0; i < o->n_promises; i++) {
        bool over = i + 1 < o->n_promises && o->promises[i + 1].from_us <= from;
        if (over || o->promises[i].from_us > to)
            continue;
        if (first)
            p = o->promises[i];
        weaken(&p, &o->promises[i]);
        first = false;
    }
    return p;
}

uint64_t observed_may_lack(const struct observed *o,
                           const struct hist_op *write,
                           const struct hist_op *read)
{
    struct hist_promise p =
        observed_promised(o, write->called_us, read->answered_us);
    return p.levels == 1u << CONSISTENCY_BOUNDED ? p.max_entries : UINT64_MAX;
}

enum consistency_level observed_level(const struct observed *o,
                                      const struct hist_op *op)
{
    enum consistency_level account = observed_write_level(o, op);
    return op->level > account ? op->level : account;
}

enum consistency_level observed_write_level(const struct observed *o,
                                            const struct hist_op *op)
{
    return observed_promised(o, op->called_us, op->answered_us).level;
}

bool observed_keeps_session(const struct observed *o, const struct hist_op *op)
{
    uint32_t levels =
        observed_promised(o, op->called_us, op->answered_us).levels;
    for (enum consistency_level l = 0; l < CONSISTENCY_COUNT; l++) {
        enum consistency_level by = op->level > l ? op->level : l;
        if ((levels & 1u << l) != 0 && by != CONSISTENCY_STRONG &&
            by != CONSISTENCY_SESSION)
            return false;
    }
    return true;
}

bool observed_may_be_lost(const struct observed *o, struct hist_place at)
{
    for (size_t i = 0; i < o->n_switches; i++)
        if (o->switches[i].forced && o->switches[i].epoch > hist_epoch(at))
            return true;
    return false;
}
