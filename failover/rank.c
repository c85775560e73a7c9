/* Which region should write: eligibility first, the order of the list last. */
#include <stdio.h>

#include "failover/canary.h"
#include "failover/plan_impl.h"
#include "node/base/check.h"
#include "node/base/err.h"

static const struct {
    const char *name;
    const char *text;
} verdicts[] = {
#define VERDICT_ROW(name, text) {#name, text},
    FAILOVER_VERDICT_LIST(VERDICT_ROW)
#undef VERDICT_ROW
};

const char *failover_verdict_name(enum failover_verdict verdict)
{
    CHECK((size_t)verdict < ARRAY_LEN(verdicts));
    return verdicts[verdict].name;
}

const char *failover_verdict_text(enum failover_verdict verdict)
{
    CHECK((size_t)verdict < ARRAY_LEN(verdicts));
    return verdicts[verdict].text;
}

bool plan_in_group(const struct failover_group *g, failover_region r)
{
    for (uint32_t i = 0; i < g->n_regions; i++)
        if (g->regions[i] == r)
            return true;
    return false;
}

static bool votes_in(const struct failover_group *g,
                     const struct failover_node *n)
{
    return n->voter && (plan_in_group(g, n->region) || n->id == g->witness ||
                        n->id == g->witness_leaving);
}

struct plan_voters plan_count_voters(const struct failover_health *h,
                                     const struct failover_group *g)
{
    const struct failover_topology *t = failover_health_topology_of(h);
    struct plan_voters v = {0, 0};
    for (uint32_t i = 0; i < t->n_nodes; i++) {
        if (!votes_in(g, &t->nodes[i]))
            continue;
        v.all++;
        v.alive += failover_health_alive(h, t->nodes[i].id);
    }
    return v;
}

/* -- one region ------------------------------------------------------------ */

static bool caught_up(const struct failover_health *h,
                      const struct failover_region_health *r)
{
    return r->behind_ms <= failover_health_timing(h)->caught_up_ms;
}

/* Well for long enough to go back there without having to. */
static bool proven(const struct failover_health *h,
                   const struct failover_region_health *r)
{
    usec_t now = failover_health_now(h);
    usec_t long_enough = failover_health_timing(h)->failback_us;
    return now - r->well_since_us >= long_enough &&
           r->caught_up_since_us != 0 &&
           now - r->caught_up_since_us >= long_enough;
}

/* Steps 1 to 6 of plan.h; LATER when it passes them all. */
static enum failover_verdict eligible(const struct failover_health *h,
                                      const struct failover_group *g,
                                      failover_region region,
                                      enum failover_purpose purpose)
{
    const struct failover_region_health *r = failover_health_region(h, region);
    if (region == g->write_region)
        return FAILOVER_CURRENT_VERDICT;
    if (r == NULL || r->voters == 0)
        return FAILOVER_NO_VOTER_VERDICT;
    if (r->state == FAILOVER_DOWN)
        return FAILOVER_DOWN_VERDICT;
    if (r->state == FAILOVER_ILL)
        return FAILOVER_ILL_VERDICT;
    if (r->state == FAILOVER_SUSPECT)
        return FAILOVER_SUSPECT_VERDICT;
    if (purpose == FAILOVER_FOR_FORCED || CANARY(FAILBACK_BEHIND))
        return FAILOVER_LATER_VERDICT;
    if (!caught_up(h, r))
        return FAILOVER_BEHIND_VERDICT;
    if (purpose == FAILOVER_FOR_FAILBACK && !proven(h, r))
        return FAILOVER_NEWLY_WELL_VERDICT;
    return FAILOVER_LATER_VERDICT;
}

static void explain(const struct failover_health *h, failover_region region,
                    enum failover_verdict verdict,
                    char out[FAILOVER_REASON_MAX])
{
    const struct failover_region_health *r = failover_health_region(h, region);
    const char *text = failover_verdict_text(verdict);
    char why[FAILOVER_REASON_MAX];
    switch (verdict) {
    case FAILOVER_DOWN_VERDICT:
    case FAILOVER_ILL_VERDICT:
    case FAILOVER_SUSPECT_VERDICT:
        failover_health_reason(h, region, why);
        break;
    case FAILOVER_BEHIND_VERDICT:
        if (r->behind_ms == UINT32_MAX)
            snprintf(why, sizeof(why), "how far it is behind is not known");
        else
            snprintf(why, sizeof(why), "%.1f s behind", r->behind_ms / 1e3);
        break;
    case FAILOVER_NEWLY_WELL_VERDICT:
        snprintf(why, sizeof(why), "%.1f s of %.1f s",
                 (double)(failover_health_now(h) - r->well_since_us) / 1e6,
                 (double)failover_health_timing(h)->failback_us / 1e6);
        break;
    default:
        snprintf(out, FAILOVER_REASON_MAX, "%s", text);
        return;
    }
    /* The verdict is short; the figures are cut if need be. */
    snprintf(out, FAILOVER_REASON_MAX, "%s: %.*s", text,
             (int)(FAILOVER_REASON_MAX - 64), why);
}

/* -- all regions ----------------------------------------------------------- */

/* Not trusted yet, but there: for a forced switch when nobody else is. */
static bool last_resort(const struct failover_health *h, failover_region region,
                        enum failover_verdict verdict)
{
    const struct failover_region_health *r = failover_health_region(h, region);
    return (verdict == FAILOVER_DOWN_VERDICT ||
            verdict == FAILOVER_ILL_VERDICT) &&
           !r->lost && !r->sick &&
           failover_health_now(h) - r->well_since_us >=
               failover_health_timing(h)->down_us;
}

/* Regions that are lost together are noticed one after the other. */
static bool wait_for_suspects(const struct failover_health *h,
                              const struct failover_group *g)
{
    const struct failover_region_health *w =
        failover_health_region(h, g->write_region);
    return w != NULL && failover_health_now(h) - w->since_us <
                            failover_health_timing(h)->down_us;
}

static void choose(const struct failover_health *h, uint32_t i,
                   struct failover_ranking *out)
{
    out->chosen = out->regions[i].region;
    out->regions[i].verdict = FAILOVER_CHOSEN_VERDICT;
    explain(h, out->chosen, FAILOVER_CHOSEN_VERDICT, out->regions[i].reason);
}

/* The first with that verdict; n when there is none. */
static uint32_t first_with(const struct failover_ranking *r,
                           enum failover_verdict verdict)
{
    uint32_t found = r->n;
    for (uint32_t i = r->n; i-- > 0;)
        if (r->regions[i].verdict == verdict &&
            !(CANARY(IGNORE_PRIORITY) && found < r->n))
            found = i;
    return found;
}

static void rank_forced(const struct failover_health *h,
                        const struct failover_group *g,
                        struct failover_ranking *out)
{
    uint32_t best = first_with(out, FAILOVER_LATER_VERDICT);
    uint32_t suspect = first_with(out, FAILOVER_SUSPECT_VERDICT);
    if (suspect < best && wait_for_suspects(h, g)) {
        out->wait = true;
        return;
    }
    for (uint32_t i = 0; i < out->n && best == out->n; i++)
        if (last_resort(h, out->regions[i].region, out->regions[i].verdict)) {
            out->last_resort = true;
            best = i;
        }
    if (best < out->n)
        choose(h, best, out);
}

static void rank_planned(const struct failover_health *h,
                         enum failover_purpose purpose,
                         struct failover_ranking *out)
{
    uint32_t best = first_with(out, FAILOVER_LATER_VERDICT);
    if (best == out->n && purpose == FAILOVER_FOR_PLANNED)
        best = first_with(out, FAILOVER_BEHIND_VERDICT);
    if (best < out->n)
        choose(h, best, out);
}

void failover_rank(const struct failover_health *h,
                   const struct failover_group *g,
                   enum failover_purpose purpose,
                   struct failover_ranking *ranking_out)
{
    CHECK(g->n_regions <= FAILOVER_REGIONS_MAX);
    bool possible = plan_has_majority(plan_count_voters(h, g));
    *ranking_out = (struct failover_ranking){.n = g->n_regions};
    bool passed = false; /* fail-back looks no further than the write region */
    for (uint32_t i = 0; i < g->n_regions; i++) {
        failover_region region = g->regions[i];
        enum failover_verdict v = eligible(h, g, region, purpose);
        passed |= region == g->write_region;
        if (v == FAILOVER_LATER_VERDICT && !possible)
            v = FAILOVER_NO_MAJORITY_VERDICT;
        if (v == FAILOVER_LATER_VERDICT && passed &&
            purpose == FAILOVER_FOR_FAILBACK)
            v = FAILOVER_NOT_PREFERRED_VERDICT;
        ranking_out->regions[i].region = region;
        ranking_out->regions[i].verdict = v;
        explain(h, region, v, ranking_out->regions[i].reason);
    }
    if (!possible)
        return;
    if (purpose == FAILOVER_FOR_FORCED)
        rank_forced(h, g, ranking_out);
    else
        rank_planned(h, purpose, ranking_out);
}

int failover_check_switch(const struct failover_health *h,
                          const struct failover_group *g, failover_region to,
                          bool force, enum failover_verdict *verdict_out,
                          char reason_out[FAILOVER_REASON_MAX])
{
    const struct failover_region_health *r = failover_health_region(h, to);
    enum failover_verdict v = FAILOVER_OUTSIDE_VERDICT;
    if (plan_in_group(g, to))
        v = eligible(h, g, to,
                     force ? FAILOVER_FOR_FORCED : FAILOVER_FOR_PLANNED);
    /* Whoever forces it may choose a region we do not trust yet. */
    if (force && (v == FAILOVER_DOWN_VERDICT || v == FAILOVER_ILL_VERDICT) &&
        !r->lost)
        v = FAILOVER_LATER_VERDICT;
    if (v == FAILOVER_LATER_VERDICT &&
        !plan_has_majority(plan_count_voters(h, g)))
        v = FAILOVER_NO_MAJORITY_VERDICT;
    if (v == FAILOVER_LATER_VERDICT)
        return ERR_OK;
    *verdict_out = v;
    explain(h, to, v, reason_out);
    return v == FAILOVER_OUTSIDE_VERDICT   ? ERR_NOT_FOUND
           : v == FAILOVER_CURRENT_VERDICT ? ERR_EXISTS
                                           : ERR_UNAVAILABLE;
}
