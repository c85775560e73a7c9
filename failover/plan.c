#include "failover/plan.h"

#include <stdio.h>

#include "failover/plan_impl.h"
#include "node/base/check.h"

/* One decision in the making. */
struct deciding {
    const struct failover_health *h;
    const struct failover_group *g;
    const struct failover_timing *timing;
    const struct failover_region_health *write; /* NULL: not in the topology */
    const struct failover_region_health *from;  /* likewise */
    usec_t now;
    struct failover_plan *plan;
};

const char *failover_situation_name(enum failover_situation situation)
{
    static const char *const names[] = {"blind", "lost",   "left",
                                        "sick",  "better", "calm"};
    CHECK((size_t)situation < ARRAY_LEN(names));
    return names[situation];
}

const char *failover_action_name(enum failover_action action)
{
    static const char *const names[] = {"none",     "declare", "force",
                                        "escalate", "move",    "failback"};
    CHECK((size_t)action < ARRAY_LEN(names));
    return names[action];
}

/* Cuts what does not fit. */
#define SAY(out, ...)                                                          \
    do {                                                                       \
        if (snprintf((out), FAILOVER_REASON_MAX, __VA_ARGS__) < 0)             \
            (out)[0] = 0;                                                      \
    } while (0)

static const char *name_of(const struct deciding *d, failover_region r)
{
    return failover_health_name(d->h, r);
}

/* -- phase and situation --------------------------------------------------- */

static enum failover_phase phase_of(const struct failover_group *g)
{
    if (g->settled)
        return FAILOVER_STEADY;
    return g->forced ? FAILOVER_FORCED : FAILOVER_PLANNED;
}

/* DOWN as judged, and not back in the meantime. */
static bool is_gone(const struct failover_region_health *r)
{
    return r != NULL && r->state == FAILOVER_DOWN && r->lost;
}
static bool is_ill(const struct failover_region_health *r)
{
    return r != NULL && r->state == FAILOVER_ILL && r->sick;
}

/* The region that a planned switch comes from cannot do its part. */
static bool is_left(const struct deciding *d)
{
    if (phase_of(d->g) != FAILOVER_PLANNED || d->g->commit_rule)
        return false;
    return is_gone(d->from) || (is_ill(d->from) && d->now - d->g->changed_us >=
                                                       d->timing->escalate_us);
}

/* Ranks for a fail-back into the plan. */
static bool is_better(const struct deciding *d)
{
    const struct failover_group *g = d->g;
    if (!g->failback || g->pinned || phase_of(g) != FAILOVER_STEADY ||
        g->n_regions == 0 || g->regions[0] == g->write_region)
        return false;
    failover_rank(d->h, g, FAILOVER_FOR_FAILBACK, &d->plan->ranking);
    return d->plan->ranking.chosen != 0;
}

static enum failover_situation situation_of(const struct deciding *d)
{
    if (!failover_health_sees(d->h, NULL))
        return FAILOVER_BLIND;
    if (is_gone(d->write))
        return FAILOVER_LOST;
    if (is_left(d))
        return FAILOVER_LEFT;
    if (is_ill(d->write))
        return FAILOVER_SICK;
    return is_better(d) ? FAILOVER_BETTER : FAILOVER_CALM;
}

/* -- moves ----------------------------------------------------------------- */

static void switch_to(struct deciding *d, enum failover_action action,
                      failover_region to)
{
    CHECK(plan_in_group(d->g, to));
    d->plan->action = action;
    d->plan->to = to;
    d->plan->pinned = false;
}

static void move_none(struct deciding *d)
{
    (void)d;
}

static void move_wait(struct deciding *d)
{
    char *reason = d->plan->reason;
    if (failover_health_sees(d->h, reason))
        SAY(reason, "a %s switch to %s has been under way for %.1f s",
            d->g->forced ? "forced" : "planned", name_of(d, d->g->write_region),
            (double)(d->now - d->g->changed_us) / USEC_PER_SEC);
}

/* The write region and why it cannot go on: "eastus is down: ...". */
static void say_trouble(const struct deciding *d, failover_region region,
                        const char *then, char out[FAILOVER_REASON_MAX])
{
    char why[FAILOVER_REASON_MAX];
    const struct failover_region_health *r =
        failover_health_region(d->h, region);
    failover_health_reason(d->h, region, why);
    SAY(out, "%s is %s (%.120s)%s", name_of(d, region),
        failover_state_name(r->state), why, then);
}

static void move_force(struct deciding *d)
{
    struct failover_ranking *ranking = &d->plan->ranking;
    const char *then = "";
    failover_rank(d->h, d->g, FAILOVER_FOR_FORCED, ranking);
    if (ranking->wait)
        then = "; waiting to see whether the region that comes next is lost, "
               "too";
    else if (ranking->chosen == 0)
        then = "; no other region can take over";
    else if (ranking->last_resort)
        then = "; the best there is came back a moment ago";
    say_trouble(d, d->g->write_region, then, d->plan->reason);
    if (ranking->chosen != 0)
        switch_to(d, FAILOVER_FORCE, ranking->chosen);
}

static void move_escalate(struct deciding *d)
{
    say_trouble(d, d->g->from_region,
                "; the planned switch away from it cannot end",
                d->plan->reason);
    switch_to(d, FAILOVER_ESCALATE, d->g->write_region);
}

static bool is_settling_down(const struct deciding *d)
{
    return d->now - d->g->changed_us < d->timing->dwell_us;
}

static void move_away(struct deciding *d)
{
    struct failover_ranking *ranking = &d->plan->ranking;
    const char *then = "";
    failover_rank(d->h, d->g, FAILOVER_FOR_PLANNED, ranking);
    bool early = is_settling_down(d);
    if (ranking->chosen == 0)
        then = "; no other region can take over";
    else if (early)
        then = "; too soon after the last switch";
    say_trouble(d, d->g->write_region, then, d->plan->reason);
    if (ranking->chosen != 0 && !early)
        switch_to(d, FAILOVER_MOVE, ranking->chosen);
}

static void move_failback(struct deciding *d)
{
    failover_region to = d->plan->ranking.chosen;
    if (is_settling_down(d)) {
        SAY(d->plan->reason, "%s is preferred; too soon after the last switch",
            name_of(d, to));
        return;
    }
    SAY(d->plan->reason, "%s is preferred to %s, well and caught up for %.1f s",
        name_of(d, to), name_of(d, d->g->write_region),
        (double)d->timing->failback_us / USEC_PER_SEC);
    switch_to(d, FAILOVER_FAILBACK, to);
}

/* The move table of plan.h. */
static void (*const moves[][FAILOVER_SITUATIONS])(struct deciding *) = {
    [FAILOVER_STEADY] = {[FAILOVER_BLIND] = move_wait,
                         [FAILOVER_LOST] = move_force,
                         [FAILOVER_LEFT] = move_none,
                         [FAILOVER_SICK] = move_away,
                         [FAILOVER_BETTER] = move_failback,
                         [FAILOVER_CALM] = move_none},
    [FAILOVER_PLANNED] = {[FAILOVER_BLIND] = move_wait,
                          [FAILOVER_LOST] = move_force,
                          [FAILOVER_LEFT] = move_escalate,
                          [FAILOVER_SICK] = move_away,
                          [FAILOVER_BETTER] = move_wait,
                          [FAILOVER_CALM] = move_wait},
    [FAILOVER_FORCED] = {[FAILOVER_BLIND] = move_wait,
                         [FAILOVER_LOST] = move_force,
                         [FAILOVER_LEFT] = move_none,
                         [FAILOVER_SICK] = move_away,
                         [FAILOVER_BETTER] = move_wait,
                         [FAILOVER_CALM] = move_wait},
};

/* -- the list of down regions ---------------------------------------------- */

static bool is_declared(const struct failover_group *g, failover_region r)
{
    for (uint32_t i = 0; i < g->n_down; i++)
        if (g->down[i] == r)
            return true;
    return false;
}

static bool belongs_on_list(const struct deciding *d, failover_region region,
                            failover_region writer)
{
    const struct failover_region_health *r =
        failover_health_region(d->h, region);
    if (region == writer)
        return is_gone(r);
    if (r == NULL || r->members == 0)
        return is_declared(d->g, region); /* nothing is known: leave it */
    if (r->state == FAILOVER_DOWN || r->state == FAILOVER_ILL)
        return true;
    bool back = r->state == FAILOVER_UP &&
                d->now - r->well_since_us >= failover_health_up_us(d->h, r);
    return is_declared(d->g, region) && !back;
}

static void say_change(const struct deciding *d, failover_region region,
                       bool down)
{
    char why[FAILOVER_REASON_MAX];
    failover_health_reason(d->h, region, why);
    SAY(d->plan->reason, "%s is declared %s: %.120s", name_of(d, region),
        down ? "down" : "up", why);
}

static void declare(struct deciding *d)
{
    const struct failover_group *g = d->g;
    struct failover_plan *plan = d->plan;
    failover_region writer = plan->to != 0 ? plan->to : g->write_region;
    bool may = plan->situation != FAILOVER_BLIND;
    for (uint32_t i = 0; i < g->n_regions; i++) {
        failover_region r = g->regions[i];
        bool was = is_declared(g, r);
        bool is = may ? belongs_on_list(d, r, writer) : was;
        if (is)
            plan->down[plan->n_down++] = r;
        if (is == was || plan->to != 0)
            continue;
        /* What is awaited matters more than the list. */
        if (plan->reason[0] == 0)
            say_change(d, r, is);
        plan->action = FAILOVER_DECLARE;
    }
}

/* -- why writes stop ------------------------------------------------------- */

/* "; lost: eastus, westus" */
static void say_missing(const struct deciding *d, size_t len,
                        char out[FAILOVER_REASON_MAX])
{
    const struct failover_topology *t = failover_health_topology_of(d->h);
    const char *before = "; lost: ";
    for (uint32_t i = 0; i < d->g->n_regions; i++) {
        failover_region region = d->g->regions[i];
        uint32_t all = 0, alive = 0;
        for (uint32_t j = 0; j < t->n_nodes; j++)
            if (t->nodes[j].voter && t->nodes[j].region == region) {
                all++;
                alive += failover_health_alive(d->h, t->nodes[j].id);
            }
        if (all == 0 || alive > all / 2)
            continue;
        int n = snprintf(out + len, FAILOVER_REASON_MAX - len, "%s%s", before,
                         name_of(d, region));
        if (n < 0 || (size_t)n >= FAILOVER_REASON_MAX - len)
            return; /* cut */
        len += (size_t)n;
        before = ", ";
    }
}

static void say_no_majority(const struct deciding *d, struct plan_voters v,
                            char out[FAILOVER_REASON_MAX])
{
    int n =
        snprintf(out, FAILOVER_REASON_MAX,
                 "writes stop: %u of the %u voters answer; a majority must, "
                 "or run `bastide region recover --force` if the others are "
                 "gone for good",
                 v.alive, v.all);
    CHECK(n > 0 && n < FAILOVER_REASON_MAX);
    say_missing(d, (size_t)n, out);
}

static void explain_unavailable(const struct deciding *d)
{
    struct plan_voters v = plan_count_voters(d->h, d->g);
    char *out = d->plan->unavailable, why[FAILOVER_REASON_MAX];
    if (!plan_has_majority(v)) {
        say_no_majority(d, v, out);
        return;
    }
    /* With the rule "commit" any majority will do. */
    if (d->g->commit_rule || d->write == NULL ||
        (!d->write->lost && !is_ill(d->write)))
        return;
    failover_health_reason(d->h, d->g->write_region, why);
    SAY(out, "writes %s: %s is %s (%.100s); who takes over: %s",
        d->write->state == FAILOVER_SUSPECT ? "may stop" : "stop",
        name_of(d, d->g->write_region), failover_state_name(d->write->state),
        why, d->plan->to != 0 ? name_of(d, d->plan->to) : "nobody yet");
}

void failover_decide(const struct failover_health *h,
                     const struct failover_group *g,
                     struct failover_plan *plan_out)
{
    struct deciding d = {.h = h,
                         .g = g,
                         .timing = failover_health_timing(h),
                         .write = failover_health_region(h, g->write_region),
                         .from = failover_health_region(h, g->from_region),
                         .now = failover_health_now(h),
                         .plan = plan_out};
    CHECK(g->n_regions <= FAILOVER_REGIONS_MAX &&
          g->n_down <= FAILOVER_REGIONS_MAX);
    *plan_out = (struct failover_plan){.action = FAILOVER_NONE,
                                       .expected_epoch = g->epoch,
                                       .pinned = g->pinned};
    plan_out->situation = situation_of(&d);
    moves[phase_of(g)][plan_out->situation](&d);
    declare(&d);
    explain_unavailable(&d);
    CHECK((plan_out->to != 0) == (plan_out->action >= FAILOVER_FORCE));
    CHECK_IMPLIES(plan_out->situation == FAILOVER_BLIND,
                  plan_out->action == FAILOVER_NONE);
}
