/* Members without payload, and when a leader tells them of an entry: not before
 * a majority of the voters of every awaited region has it, payload and all, and
 * an entry of the leader's term besides. Why that is what makes them useful:
 * docs/witness.md.
 *
 *              DOWN names it                 DOWN does not,
 *   awaited -------------------> down --------------------> behind
 *      ^                          ^         (leader)          |  |
 *      |                          |  DOWN names it            |  |
 *      |                          +---------------------------+  |
 *      +---------------------------------------------------------+
 *        it has caught up; or another leader begins
 */
#include "consensus/canary.h"
#include "consensus/raft_impl.h"
#include "node/base/check.h"
#include "node/base/err.h"

bool raft_is_witness(const struct raft *r)
{
    return r->opt.witness ||
           raft_config_is_witness(trail_config(&r->trail), r->opt.self);
}

bool raft_options_fit(const struct raft_options *o, const struct raft_config *c)
{
    const struct raft_member *m = raft_config_find(c, o->self);
    return m == NULL || m->witness == o->witness || c->epoch < o->role_epoch;
}

bool raft_role_fits(const struct raft *r, const struct raft_config *c)
{
    return raft_options_fit(&r->opt, c);
}

/* ---- regions that are not awaited ------------------------------------------
 */

static struct excuse *find_excuse(struct raft *r, raft_region region)
{
    for (size_t i = 0; i < r->n_excuses; i++) {
        if (r->excuses[i].region == region)
            return &r->excuses[i];
    }
    return NULL;
}

static void excuse(struct raft *r, raft_region region)
{
    struct excuse *e = find_excuse(r, region);
    if (e == NULL) {
        CHECK(r->n_excuses < ARRAY_LEN(r->excuses));
        e = &r->excuses[r->n_excuses++];
    }
    *e = (struct excuse){.region = region, .down = true};
}

/* Thesis 4.2.1: a round is the time to get what the log held at its beginning.
 * A region that needs no longer for one than an election takes has caught up:
 * waiting for the rest keeps nobody much longer than its loss would. */
static bool has_caught_up(const struct raft *r, struct excuse *e)
{
    if (raft_region_match(r, e->region) < e->goal)
        return false;
    if (e->goal > 0 && r->now_us - e->since_us <= r->opt.election_min_us)
        return true;
    e->goal = trail_last_lsn(&r->trail);
    e->since_us = r->now_us;
    return false;
}

void raft_excuses_round(struct raft *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->n_excuses; i++) {
        struct excuse *e = &r->excuses[i];
        if (e->down || !has_caught_up(r, e))
            r->excuses[kept++] = *e;
    }
    r->n_excuses = kept;
}

/* Leaves those that are down. */
void raft_excuses_forget(struct raft *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->n_excuses; i++) {
        if (r->excuses[i].down)
            r->excuses[kept++] = r->excuses[i];
    }
    r->n_excuses = kept;
}

int raft_regions_down(struct raft *r, const struct raft_event *ev)
{
    CHECK(ev->down.n <= RAFT_MEMBERS_MAX);
    for (size_t i = 0; i < r->n_excuses; i++)
        r->excuses[i].down = false;
    /* One that is down now matters more than one that catches up. */
    if (r->role != RAFT_LEADER ||
        r->n_excuses + ev->down.n > ARRAY_LEN(r->excuses))
        raft_excuses_forget(r);
    for (uint32_t i = 0; i < ev->down.n; i++)
        excuse(r, ev->down.regions[i]);
    return ERR_OK;
}

/* ---- what a witness may be told --------------------------------------------
 */

static bool awaited(const void *ctx, raft_region region)
{
    return find_excuse((struct raft *)ctx, region) == NULL;
}

static bool is_own(const void *ctx, raft_region region)
{
    const struct raft *r = ctx;
    const struct raft_member *me =
        raft_config_find(trail_config(&r->trail), r->opt.self);
    return me != NULL && me->region == region;
}

/* Whether any region is that has voters with payload. */
static bool some_awaited(const struct raft *r)
{
    const struct raft_config *c = trail_config(&r->trail);
    for (uint32_t i = 0; i < c->n; i++) {
        if (raft_config_may_lead(c, c->members[i].id) &&
            awaited(r, c->members[i].region))
            return true;
    }
    return false;
}

bool raft_awaits(const struct raft *r, raft_region region)
{
    return r->role == RAFT_LEADER && awaited(r, region);
}

uint64_t raft_told_limit(const struct raft *r, const struct progress *p)
{
    const struct raft_config *c = trail_config(&r->trail);
    if (!raft_config_is_witness(c, p->id) || CANARY(WITNESS_COUNTS_AS_PAYLOAD))
        return trail_last_lsn(&r->trail);
    /* The payload is somewhere, whatever is said to be down. */
    return raft_payload_lsn(r, some_awaited(r) ? awaited : is_own);
}
