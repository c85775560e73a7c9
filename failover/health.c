#include "failover/health.h"

#include <string.h>

#include "failover/canary.h"
#include "failover/health_impl.h"
#include "node/base/err.h"
#include "node/base/mem.h"

const struct failover_timing failover_timing_default = {
    .reach_us = 750 * USEC_PER_MS,
    .down_us = USEC_PER_SEC,
    .up_us = 10 * USEC_PER_SEC,
    .up_max_us = 300 * USEC_PER_SEC,
    .flap_us = 600 * USEC_PER_SEC,
    .stall_us = 1500 * USEC_PER_MS,
    .ill_us = 300 * USEC_PER_MS,
    .start_us = 3 * USEC_PER_SEC,
    .escalate_us = 3 * USEC_PER_SEC,
    .dwell_us = 5 * USEC_PER_SEC,
    .failback_us = 10 * USEC_PER_SEC,
    .caught_up_ms = 1000,
};

const char *failover_state_name(enum failover_state state)
{
    static const char *const names[] = {"up", "suspect", "down", "ill"};
    CHECK((size_t)state < ARRAY_LEN(names));
    return names[state];
}

/* -- topology -------------------------------------------------------------- */

int health_region_index(const struct failover_topology *t, failover_region r)
{
    for (uint32_t i = 0; i < t->n_regions; i++)
        if (t->regions[i].number == r)
            return (int)i;
    return -1;
}

int failover_topology_check(const struct failover_topology *t)
{
    bool taken[FAILOVER_NODES_MAX + 1] = {false};
    uint32_t voters = 0;
    if (t->n_regions > FAILOVER_REGIONS_MAX || t->n_nodes > FAILOVER_NODES_MAX)
        return ERR_INVALID;
    for (uint32_t i = 0; i < t->n_regions; i++)
        if (t->regions[i].number == 0 ||
            health_region_index(t, t->regions[i].number) != (int)i)
            return ERR_INVALID;
    for (uint32_t i = 0; i < t->n_nodes; i++) {
        const struct failover_node *n = &t->nodes[i];
        if (n->id == 0 || n->id > FAILOVER_NODES_MAX || taken[n->id] ||
            health_region_index(t, n->region) < 0)
            return ERR_INVALID;
        taken[n->id] = true;
        voters += n->voter;
    }
    return voters > 0 ? ERR_OK : ERR_INVALID;
}

struct failover_health *
failover_health_new(uint32_t self, const struct failover_timing *timing,
                    usec_t now)
{
    CHECK(self > 0 && self <= FAILOVER_NODES_MAX);
    struct failover_health *h = mem_zalloc(sizeof(*h));
    h->self = self;
    h->timing = *timing;
    h->now = now;
    memset(h->index, 0xff, sizeof(h->index));
    return h;
}

void failover_health_free(struct failover_health *h)
{
    if (h == NULL)
        return;
    mem_free(h->of);
    mem_free(h->reach);
    mem_free(h);
}

static struct failover_region_health
fresh_region(const struct failover_topology *t, uint32_t i, usec_t now)
{
    struct failover_region_health r = {.region = t->regions[i].number,
                                       .state = FAILOVER_UP,
                                       .since_us = now,
                                       .well_since_us = now,
                                       .returned_us = now,
                                       .behind_ms = UINT32_MAX};
    return r;
}

/* Takes over what is known of the regions that stay. */
static void carry_regions(struct failover_health *h,
                          const struct failover_topology *t, usec_t now)
{
    struct failover_region_health next[FAILOVER_REGIONS_MAX];
    for (uint32_t i = 0; i < t->n_regions; i++) {
        int old = health_region_index(&h->topology, t->regions[i].number);
        next[i] = old >= 0 ? h->regions[old] : fresh_region(t, i, now);
        next[i].voters = next[i].members = 0;
        for (uint32_t j = 0; j < t->n_nodes; j++)
            if (t->nodes[j].region == next[i].region) {
                next[i].voters += t->nodes[j].voter;
                next[i].members++;
            }
        if (next[i].voters > 0)
            next[i].members = next[i].voters;
    }
    memcpy(h->regions, next, t->n_regions * sizeof(next[0]));
}

void failover_health_topology(struct failover_health *h,
                              const struct failover_topology *t, usec_t now)
{
    CHECK(failover_topology_check(t) == ERR_OK);
    struct watched *of = mem_zalloc(t->n_nodes * sizeof(*of));
    carry_regions(h, t, now);
    h->cluster = 0;
    for (uint32_t i = 0; i < t->n_nodes; i++) {
        int old = h->index[t->nodes[i].id];
        if (old >= 0)
            of[i] = h->of[old];
        else
            of[i].reached_us = now;
        h->cluster += t->nodes[i].voter;
        int region = health_region_index(t, t->nodes[i].region);
        of[i].counts = t->nodes[i].voter || h->regions[region].voters == 0;
    }
    memset(h->index, 0xff, sizeof(h->index));
    for (uint32_t i = 0; i < t->n_nodes; i++)
        h->index[t->nodes[i].id] = (int16_t)i;
    mem_free(h->of);
    mem_free(h->reach);
    h->of = of;
    h->reach = mem_zalloc((size_t)t->n_nodes * t->n_nodes * sizeof(bool));
    h->topology = *t;
}

/* -- reports --------------------------------------------------------------- */

int failover_health_report(struct failover_health *h,
                           const struct failover_report *report, usec_t now)
{
    CHECK(report->node > 0 && report->node <= FAILOVER_NODES_MAX);
    int i = h->index[report->node];
    if (i < 0)
        return ERR_NOT_FOUND;
    struct watched *w = &h->of[i];
    if (report->incarnation == w->report.incarnation &&
        report->seq <= w->report.seq)
        return ERR_STALE;
    /* A lower incarnation is a message that was overtaken; or, when the newer
     * process has been silent, a host whose clock went back. */
    if (report->incarnation < w->report.incarnation &&
        now - w->arrived_us < h->timing.reach_us)
        return ERR_STALE;
    w->report = *report;
    w->arrived_us = now;
    return ERR_OK;
}

static bool *cell(const struct failover_health *h, uint32_t from, uint32_t to)
{
    return &h->reach[(size_t)from * h->topology.n_nodes + to];
}

/* Fills the observer's row of `reach`. */
static void read_report(struct failover_health *h, uint32_t observer)
{
    struct watched *w = &h->of[observer];
    usec_t elapsed = h->now - w->arrived_us;
    w->heard = w->report.incarnation != 0 && elapsed <= h->timing.reach_us;
    w->vouched_for = false;
    if (!w->heard)
        return;
    *cell(h, observer, observer) = true;
    for (uint32_t i = 0; i < w->report.n; i++) {
        const struct failover_way *way = &w->report.ways[i];
        int to = h->index[way->node];
        if (to >= 0 && way->age_ms != FAILOVER_NEVER_MS)
            *cell(h, observer, (uint32_t)to) =
                way->age_ms * USEC_PER_MS + elapsed <= h->timing.reach_us;
    }
}

/* The rows of those who are not heard, but reached by others. */
static void vouch(struct failover_health *h)
{
    const struct failover_topology *t = &h->topology;
    for (uint32_t to = 0; to < t->n_nodes; to++)
        for (uint32_t from = 0; from < t->n_nodes && !h->of[to].heard; from++)
            if (h->of[from].heard && *cell(h, from, to))
                h->of[to].vouched_for = *cell(h, to, from) = true;
    for (uint32_t i = 0; i < t->n_nodes; i++)
        for (uint32_t j = 0; j < t->n_nodes && h->of[i].vouched_for; j++)
            if (h->of[j].vouched_for &&
                t->nodes[i].region == t->nodes[j].region)
                *cell(h, i, j) = true;
}

static void count_reached(struct failover_health *h, uint32_t to)
{
    const struct failover_topology *t = &h->topology;
    struct watched *w = &h->of[to];
    w->reached_by = 0;
    for (uint32_t from = 0; from < t->n_nodes; from++)
        w->reached_by += t->nodes[from].voter && *cell(h, from, to);
    if (w->reached_by >= health_majority(h->cluster))
        w->reached_us = h->now;
}

static void read_reports(struct failover_health *h)
{
    uint32_t n = h->topology.n_nodes;
    memset(h->reach, 0, (size_t)n * n * sizeof(bool));
    for (uint32_t i = 0; i < n; i++)
        read_report(h, i);
    vouch(h);
    for (uint32_t i = 0; i < n; i++)
        count_reached(h, i);
}

/* -- this node's own sight ------------------------------------------------- */

static void begin_anew(struct failover_health *h)
{
    for (uint32_t i = 0; i < h->topology.n_regions; i++) {
        struct failover_region_health *r = &h->regions[i];
        r->lost_since_us = r->sick_since_us = h->now;
        r->well_since_us = r->returned_us = h->now;
        r->caught_up_since_us = 0;
    }
    for (uint32_t i = 0; i < h->topology.n_nodes; i++)
        h->of[i].reached_us = h->now;
}

static void judge_later(struct failover_health *h, usec_t after)
{
    if (h->judge_from_us < h->now + after)
        h->judge_from_us = h->now + after;
}

/* Hearing is not enough: it could be that nobody hears us. */
static void look_at_self(struct failover_health *h)
{
    const struct failover_topology *t = &h->topology;
    int self = h->index[h->self];
    h->reaches = h->hears = 0;
    for (uint32_t i = 0; i < t->n_nodes && self >= 0; i++) {
        if (!t->nodes[i].voter)
            continue;
        h->hears += h->of[i].heard;
        h->reaches += *cell(h, (uint32_t)self, i);
    }
    bool seeing = h->reaches >= health_majority(h->cluster) &&
                  h->hears >= health_majority(h->cluster);
    if (seeing && !h->seeing) {
        judge_later(h, h->started ? h->timing.down_us : h->timing.start_us);
        h->started = true;
    }
    if (!seeing || !h->seeing)
        begin_anew(h);
    h->seeing = seeing;
    if (seeing)
        h->seen_us = h->now;
}

void failover_health_paused(struct failover_health *h, usec_t now)
{
    h->seen_us += now - h->now;
    h->now = now;
    begin_anew(h);
    judge_later(h, h->timing.down_us);
}

/* -- regions --------------------------------------------------------------- */

/* How many members of the region the observer reaches. */
static uint32_t reached_in(const struct failover_health *h, uint32_t observer,
                           failover_region region)
{
    const struct failover_topology *t = &h->topology;
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->n_nodes; i++)
        n += h->of[i].counts && t->nodes[i].region == region &&
             *cell(h, observer, i);
    return n;
}

/* Enough of its nodes are heard, and none of them reaches enough others. */
static bool is_split(const struct failover_health *h,
                     const struct failover_region_health *r)
{
    const struct failover_topology *t = &h->topology;
    uint32_t majority = health_majority(r->members), heard = 0;
    for (uint32_t i = 0; i < t->n_nodes; i++) {
        if (!h->of[i].counts || t->nodes[i].region != r->region ||
            !h->of[i].heard)
            continue;
        heard++;
        if (reached_in(h, i, r->region) >= majority)
            return false;
    }
    return heard >= majority;
}

static bool is_lost(struct failover_health *h, struct failover_region_health *r)
{
    const struct failover_topology *t = &h->topology;
    uint32_t majority = health_majority(r->members);
    r->reached_by = 0;
    for (uint32_t i = 0; i < t->n_nodes; i++)
        r->reached_by +=
            t->nodes[i].voter && reached_in(h, i, r->region) >= majority;
    r->split = is_split(h, r);
    if (CANARY(ONE_WORD))
        return reached_in(h, (uint32_t)h->index[h->self], r->region) < majority;
    return r->reached_by < health_majority(h->cluster) || r->split;
}

static uint32_t count_able(const struct failover_health *h, failover_region r)
{
    const struct failover_topology *t = &h->topology;
    uint32_t able = 0;
    for (uint32_t i = 0; i < t->n_nodes; i++)
        able += h->of[i].counts && t->nodes[i].region == r &&
                !health_dead(h, &h->of[i]) && !health_troubled(h, &h->of[i]);
    return able;
}

/* What a majority of the region lacks no more than: of its members' values the
 * one at place majority, in ascending order. */
static uint32_t majority_behind(const struct failover_health *h,
                                const struct failover_region_health *r)
{
    const struct failover_topology *t = &h->topology;
    uint32_t sorted[FAILOVER_NODES_MAX], n = 0;
    for (uint32_t i = 0; i < t->n_nodes; i++) {
        if (!h->of[i].counts || t->nodes[i].region != r->region)
            continue;
        uint32_t behind =
            h->of[i].heard ? h->of[i].report.self.behind_ms : UINT32_MAX;
        uint32_t at = n++;
        for (; at > 0 && sorted[at - 1] > behind; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = behind;
    }
    return n > 0 ? sorted[health_majority(n) - 1] : UINT32_MAX;
}

/* What holds right now, and since when. */
static void observe(struct failover_health *h, struct failover_region_health *r)
{
    bool was_lost = r->lost, was_sick = r->sick;
    r->lost = is_lost(h, r);
    r->able = count_able(h, r->region);
    r->sick = !r->lost && r->able < health_majority(r->members);
    if (r->lost && !was_lost)
        r->lost_since_us = h->now;
    if (r->sick && !was_sick)
        r->sick_since_us = h->now;
    if (was_lost && !r->lost)
        r->returned_us = h->now;
    if ((was_lost || was_sick) && !r->lost && !r->sick)
        r->well_since_us = h->now;
    r->behind_ms = majority_behind(h, r);
    if (r->lost || r->behind_ms > h->timing.caught_up_ms)
        r->caught_up_since_us = 0;
    else if (r->caught_up_since_us == 0)
        r->caught_up_since_us = h->now;
}

usec_t failover_health_up_us(const struct failover_health *h,
                             const struct failover_region_health *r)
{
    usec_t up = h->timing.up_us;
    for (uint32_t i = 1; i < r->failures && up < h->timing.up_max_us; i++)
        up *= 2;
    if (CANARY(NO_HYSTERESIS))
        return 0;
    return up < h->timing.up_max_us ? up : h->timing.up_max_us;
}

static void become(struct failover_health *h, struct failover_region_health *r,
                   enum failover_state state)
{
    bool failed = state == FAILOVER_DOWN || state == FAILOVER_ILL;
    bool had_failed = r->state == FAILOVER_DOWN || r->state == FAILOVER_ILL;
    CHECK(state != r->state);
    if (failed && !had_failed)
        r->failures = r->failures > 0 && h->now - r->back_us < h->timing.flap_us
                          ? r->failures + 1
                          : 1;
    if (!failed && had_failed)
        r->back_us = h->now;
    r->state = state;
    r->since_us = h->now;
}

/* The moves of health.h: the state that follows, possibly the same. */
static enum failover_state next_state(const struct failover_health *h,
                                      const struct failover_region_health *r)
{
    usec_t down_us = CANARY(NO_HYSTERESIS) ? 0 : h->timing.down_us;
    usec_t up_us = failover_health_up_us(h, r);
    if (CANARY(LATE))
        down_us *= 10;
    bool well = !r->lost && !r->sick;
    bool gone = r->lost && h->now - r->lost_since_us >= down_us;
    bool sick = r->sick && h->now - r->sick_since_us >= h->timing.ill_us;
    bool recovered =
        well && h->now - r->well_since_us >= up_us && !CANARY(NEVER_UP);
    if (!health_may_judge(h))
        gone = sick = recovered = false;

    switch (r->state) {
    case FAILOVER_UP:
        return r->lost ? FAILOVER_SUSPECT : sick ? FAILOVER_ILL : FAILOVER_UP;
    case FAILOVER_SUSPECT:
        return gone ? FAILOVER_DOWN : r->lost ? FAILOVER_SUSPECT : FAILOVER_UP;
    case FAILOVER_DOWN:
        if (sick && h->now - r->returned_us >= up_us)
            return FAILOVER_ILL;
        return recovered ? FAILOVER_UP : FAILOVER_DOWN;
    case FAILOVER_ILL:
        return gone ? FAILOVER_DOWN : recovered ? FAILOVER_UP : FAILOVER_ILL;
    }
    CHECK_UNREACHABLE();
}

void failover_health_tick(struct failover_health *h, usec_t now)
{
    CHECK(now >= h->now);
    h->now = now;
    if (h->cluster == 0)
        return; /* no topology yet */
    read_reports(h);
    look_at_self(h);
    for (uint32_t i = 0; i < h->topology.n_regions; i++) {
        struct failover_region_health *r = &h->regions[i];
        if (r->members == 0)
            continue; /* nothing to be judged */
        observe(h, r);
        enum failover_state next = next_state(h, r);
        if (next != r->state)
            become(h, r, next);
        CHECK(!(r->lost && r->sick) && r->state <= FAILOVER_ILL);
        CHECK_IMPLIES(r->state == FAILOVER_UP, !r->lost);
    }
}

/* -- asking ---------------------------------------------------------------- */

usec_t failover_health_now(const struct failover_health *h)
{
    return h->now;
}

const struct failover_region_health *
failover_health_region(const struct failover_health *h, failover_region r)
{
    int i = health_region_index(&h->topology, r);
    return i >= 0 ? &h->regions[i] : NULL;
}

bool failover_health_node(const struct failover_health *h, uint32_t i,
                          struct failover_node_health *node_out)
{
    if (i >= h->topology.n_nodes)
        return false;
    const struct failover_node *n = &h->topology.nodes[i];
    const struct watched *w = &h->of[i];
    *node_out = (struct failover_node_health){
        .id = n->id,
        .region = n->region,
        .voter = n->voter,
        .heard = w->heard,
        .dead = health_dead(h, w),
        .reached_by = w->reached_by,
        .age_ms = n->id == h->self ? 0 : FAILOVER_NEVER_MS,
        .rtt_ms = n->id == h->self ? 0 : FAILOVER_NEVER_MS,
        .self = w->report.self,
    };
    int self = h->index[h->self];
    const struct failover_report *own = self >= 0 ? &h->of[self].report : NULL;
    for (uint32_t k = 0; own != NULL && k < own->n; k++)
        if (own->ways[k].node == n->id) {
            node_out->age_ms = own->ways[k].age_ms;
            node_out->rtt_ms = own->ways[k].rtt_ms;
        }
    return true;
}

uint16_t failover_health_rtt_ms(const struct failover_health *h, uint32_t from,
                                uint32_t to)
{
    CHECK(from <= FAILOVER_NODES_MAX && to <= FAILOVER_NODES_MAX);
    int i = h->index[from];
    if (from == to)
        return 0;
    for (uint32_t k = 0; i >= 0 && k < h->of[i].report.n; k++)
        if (h->of[i].report.ways[k].node == to)
            return h->of[i].report.ways[k].rtt_ms;
    return FAILOVER_NEVER_MS;
}

const struct failover_topology *
failover_health_topology_of(const struct failover_health *h)
{
    return &h->topology;
}

const struct failover_timing *
failover_health_timing(const struct failover_health *h)
{
    return &h->timing;
}

usec_t failover_health_cut_off_us(const struct failover_health *h)
{
    return h->started ? h->now - h->seen_us : 0;
}

bool failover_health_alive(const struct failover_health *h, uint32_t id)
{
    CHECK(id <= FAILOVER_NODES_MAX);
    int i = h->index[id], self = h->index[h->self];
    if (i < 0)
        return false;
    if (h->seeing)
        return h->of[i].reached_by >= health_majority(h->cluster);
    return self >= 0 && *cell(h, (uint32_t)self, (uint32_t)i);
}
