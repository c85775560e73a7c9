#include <stdarg.h>
#include <stdio.h>

#include "failover/health_impl.h"

/* "1.4 s" */
#define SECONDS "%.1f s"
static double seconds(usec_t us)
{
    return (double)us / (double)USEC_PER_SEC;
}

/* A sentence that grows; what does not fit is cut. */
struct words {
    char *out;
    size_t len;
};

__attribute__((format(printf, 2, 3))) static void say(struct words *w,
                                                      const char *format, ...)
{
    va_list args;
    size_t room = FAILOVER_REASON_MAX - w->len;
    va_start(args, format);
    int n = vsnprintf(w->out + w->len, room, format, args);
    va_end(args);
    CHECK(n >= 0);
    w->len += (size_t)n < room ? (size_t)n : room - 1;
}

const char *failover_health_name(const struct failover_health *h,
                                 failover_region r)
{
    int i = health_region_index(&h->topology, r);
    return i >= 0 ? h->topology.regions[i].name : "?";
}

bool failover_health_sees(const struct failover_health *h,
                          char why_out[FAILOVER_REASON_MAX])
{
    if (health_may_judge(h))
        return true;
    if (why_out == NULL)
        return false;
    struct words w = {.out = why_out};
    uint32_t majority = health_majority(h->cluster);
    if (h->index[h->self] < 0)
        say(&w, "this node is not part of the cluster");
    else if (h->reaches < majority)
        say(&w, "this node reaches %u of %u voters, fewer than a majority",
            h->reaches, h->cluster);
    else if (h->hears < majority)
        say(&w, "this node hears %u of %u voters, fewer than a majority",
            h->hears, h->cluster);
    else
        say(&w, "this node must watch for another " SECONDS,
            seconds(h->judge_from_us - h->now));
    return false;
}

bool failover_health_in_contact(const struct failover_health *h)
{
    return h->seeing;
}

static void say_lost(const struct failover_health *h,
                     const struct failover_region_health *r, struct words *w)
{
    say(w, "reached by %u of %u voters", r->reached_by, h->cluster);
    if (r->split)
        say(w, ", its nodes do not reach each other");
    say(w, ", for " SECONDS, seconds(h->now - r->lost_since_us));
}

static void say_node(const struct failover_health *h, uint32_t i,
                     struct words *w)
{
    const struct watched *of = &h->of[i];
    const struct failover_node *node = &h->topology.nodes[i];
    char name[FAILOVER_NAME_MAX + 1];
    if (!health_dead(h, of) && !health_troubled(h, of))
        return;
    if (node->name[0] != 0)
        snprintf(name, sizeof(name), "%s", node->name);
    else
        snprintf(name, sizeof(name), "node %u", node->id);
    if (health_dead(h, of))
        say(w, "; %s is not reached", name);
    else if (of->report.self.no_space)
        say(w, "; the disk of %s is full", name);
    else if (of->report.self.draining)
        say(w, "; %s is stopping", name);
    else
        say(w, "; the disk of %s has not answered for " SECONDS, name,
            seconds(of->report.self.disk_stall_ms * USEC_PER_MS));
}

static const char *members_of(const struct failover_region_health *r)
{
    return r->voters > 0 ? "voters" : "nodes";
}

static void say_sick(const struct failover_health *h,
                     const struct failover_region_health *r, struct words *w)
{
    const struct failover_topology *t = &h->topology;
    say(w, "%u of its %u %s can take writes, for " SECONDS, r->able, r->members,
        members_of(r), seconds(h->now - r->sick_since_us));
    for (uint32_t i = 0; i < t->n_nodes; i++)
        if (h->of[i].counts && t->nodes[i].region == r->region)
            say_node(h, i, w);
}

/* Well, but the state does not believe it yet. */
static void say_returning(const struct failover_health *h,
                          const struct failover_region_health *r,
                          struct words *w)
{
    say(w, "well again for " SECONDS ", up after " SECONDS,
        seconds(h->now - r->well_since_us),
        seconds(failover_health_up_us(h, r)));
    if (r->failures > 1)
        say(w, " because it failed %u times lately", r->failures);
}

void failover_health_reason(const struct failover_health *h, failover_region r,
                            char out[FAILOVER_REASON_MAX])
{
    int i = health_region_index(&h->topology, r);
    struct words w = {.out = out};
    if (i < 0) {
        say(&w, "no region of the cluster");
        return;
    }
    const struct failover_region_health *of = &h->regions[i];
    if (of->members == 0)
        say(&w, "has no node");
    else if (of->lost)
        say_lost(h, of, &w);
    else if (of->sick)
        say_sick(h, of, &w);
    else if (of->state != FAILOVER_UP)
        say_returning(h, of, &w);
    else
        say(&w, "reached by %u of %u voters, %u of its %u %s can take writes",
            of->reached_by, h->cluster, of->able, of->members, members_of(of));
    if (!h->seeing)
        say(&w, "; as far as this node can tell");
}
