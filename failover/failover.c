#include "failover/failover.h"

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"

struct failover {
    uint32_t self;
    uint64_t incarnation;
    struct failover_health *health;
    struct failover_report own; /* of the last tick */
    struct failover_pulse *pulses[FAILOVER_NODES_MAX + 1]; /* by id, of peers */
    usec_t shell_us;  /* the shell's time of the last call */
    usec_t paused_us; /* of that, the process stood still for */
};

/* The module's time: without what the process spent standing still. */
static usec_t advance(struct failover *f, usec_t shell_us)
{
    usec_t gap = shell_us - f->shell_us;
    CHECK(gap >= 0);
    f->shell_us = shell_us;
    if (gap > FAILOVER_PAUSE_US) {
        f->paused_us += gap - FAILOVER_TICK_US;
        failover_health_paused(f->health, shell_us - f->paused_us);
    }
    return shell_us - f->paused_us;
}

struct failover *failover_new(uint32_t self, uint64_t incarnation,
                              const struct failover_timing *timing, usec_t now)
{
    CHECK(self > 0 && self <= FAILOVER_NODES_MAX && incarnation != 0);
    struct failover *f = mem_zalloc(sizeof(*f));
    f->self = self;
    f->incarnation = incarnation;
    f->shell_us = now;
    f->own.node = self;
    f->own.incarnation = incarnation;
    f->health = failover_health_new(
        self, timing != NULL ? timing : &failover_timing_default, now);
    return f;
}

void failover_free(struct failover *f)
{
    if (f == NULL)
        return;
    for (uint32_t id = 0; id <= FAILOVER_NODES_MAX; id++)
        mem_free(f->pulses[id]);
    failover_health_free(f->health);
    mem_free(f);
}

static bool is_peer(const struct failover *f, const struct failover_topology *t,
                    uint32_t id)
{
    for (uint32_t i = 0; i < t->n_nodes; i++)
        if (t->nodes[i].id == id)
            return id != f->self;
    return false;
}

int failover_set_topology(struct failover *f, const struct failover_topology *t,
                          usec_t now)
{
    usec_t own_us = advance(f, now);
    int rc = failover_topology_check(t);
    if (rc != ERR_OK)
        return rc;
    for (uint32_t id = 1; id <= FAILOVER_NODES_MAX; id++) {
        bool is = is_peer(f, t, id);
        if (is && f->pulses[id] == NULL)
            f->pulses[id] = mem_zalloc(sizeof(*f->pulses[id]));
        else if (!is)
            mem_free(TAKE(f->pulses[id]));
    }
    failover_health_topology(f->health, t, own_us);
    return ERR_OK;
}

void failover_tick(struct failover *f, const struct failover_self *self,
                   usec_t now)
{
    usec_t own_us = advance(f, now);
    f->own.seq++;
    f->own.self = *self;
    f->own.n = 0;
    for (uint32_t id = 1; id <= FAILOVER_NODES_MAX; id++) {
        if (f->pulses[id] == NULL)
            continue;
        struct failover_way *way = &f->own.ways[f->own.n++];
        way->node = id;
        failover_pulse_way(f->pulses[id], own_us, way);
    }
    int rc = failover_health_report(f->health, &f->own, own_us);
    CHECK(rc == ERR_OK || rc == ERR_NOT_FOUND);
    failover_health_tick(f->health, own_us);
}

int failover_gossip(struct failover *f, uint32_t peer, usec_t now,
                    struct buf *out)
{
    usec_t own_us = advance(f, now);
    if (peer > FAILOVER_NODES_MAX || f->pulses[peer] == NULL)
        return ERR_NOT_FOUND;
    CHECK(f->own.seq > 0);
    struct failover_beat beat = failover_pulse_send(f->pulses[peer], own_us);
    return failover_message_encode(&f->own, &beat, out);
}

int failover_heard(struct failover *f, uint32_t peer, struct bytes message,
                   usec_t now)
{
    usec_t own_us = advance(f, now);
    struct failover_report report;
    struct failover_beat beat;
    int rc = failover_message_decode(message, &report, &beat);
    if (rc != ERR_OK)
        return rc;
    if (report.node != peer)
        return ERR_IDENTITY;
    if (f->pulses[peer] == NULL)
        return ERR_NOT_FOUND;
    rc = failover_health_report(f->health, &report, own_us);
    if (rc != ERR_OK)
        return rc;
    failover_pulse_heard(f->pulses[peer], &beat, report.incarnation,
                         f->incarnation, own_us);
    return ERR_OK;
}

/* The module's time for a time of the shell's clock (in the past). */
static usec_t failover_time(const struct failover *f, usec_t shell_us)
{
    return shell_us - f->paused_us;
}

void failover_plan(const struct failover *f, const struct failover_group *g,
                   struct failover_plan *plan_out)
{
    struct failover_group own = *g;
    own.changed_us = failover_time(f, g->changed_us);
    failover_decide(f->health, &own, plan_out);
}

const struct failover_health *failover_health(const struct failover *f)
{
    return f->health;
}
