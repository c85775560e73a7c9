#include "replication/staleness.h"

#include <string.h>

#include "node/base/check.h"

/* ---- when an LSN was logged ------------------------------------------------
 */

/* Drops samples that lie closer together than an eighth of their age; where
 * that frees nothing, the oldest. */
static void thin_out(struct staleness *g, usec_t now)
{
    uint32_t kept = 1;
    for (uint32_t i = 1; i < g->n_samples; i++) {
        usec_t gap = i + 1 < g->n_samples
                         ? g->samples[i + 1].at_us - g->samples[kept - 1].at_us
                         : USEC_NEVER;
        if (gap == USEC_NEVER || gap > (now - g->samples[i + 1].at_us) / 8)
            g->samples[kept++] = g->samples[i];
    }
    if (kept == STALENESS_SAMPLES) {
        memmove(g->samples, g->samples + 1,
                (STALENESS_SAMPLES - 1) * sizeof(g->samples[0]));
        kept--;
    }
    g->n_samples = kept;
}

static void add_sample(struct staleness *g, usec_t now, uint64_t lsn)
{
    if (g->n_samples == STALENESS_SAMPLES)
        thin_out(g, now);
    g->samples[g->n_samples++] =
        (struct staleness_sample){.lsn = lsn, .at_us = now};
}

void staleness_logged(struct staleness *g, usec_t now, uint64_t last_lsn)
{
    if (last_lsn <= g->last_lsn)
        return;
    CHECK(g->n_samples > 0);
    if (now >= g->samples[g->n_samples - 1].at_us + STALENESS_SAMPLE_US)
        add_sample(g, now, g->last_lsn + 1);
    g->last_lsn = last_lsn;
}

usec_t staleness_age(const struct staleness *g, usec_t now, uint64_t lsn)
{
    if (lsn > g->last_lsn)
        return 0;
    /* The last sample at or below it. */
    uint32_t low = 0, high = g->n_samples;
    CHECK(high > 0);
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (g->samples[middle].lsn <= lsn)
            low = middle;
        else
            high = middle;
    }
    usec_t at = g->samples[low].at_us;
    return now > at ? now - at : 0;
}

/* ---- nodes -----------------------------------------------------------------
 */

static struct staleness_node *find(struct staleness *g, raft_id id)
{
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].id == id)
            return &g->nodes[i];
    }
    return NULL;
}

static bool is_down(const struct staleness *g, raft_region region)
{
    for (uint32_t i = 0; i < g->bound.n_down; i++) {
        if (g->bound.down[i] == region)
            return true;
    }
    return false;
}

/* Whether it may serve bounded reads now. */
static bool counts(const struct staleness_node *n, usec_t now)
{
    return now <= n->lease_us;
}

/* Silence ends trust; who is neither counted nor a member is forgotten. */
static void expire(struct staleness *g, usec_t now)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        struct staleness_node *n = &g->nodes[i];
        if (!counts(n, now))
            n->trusted = false;
        if (n->member || counts(n, now))
            g->nodes[kept++] = *n;
    }
    g->n_nodes = kept;
}

void staleness_members_begin(struct staleness *g)
{
    for (uint32_t i = 0; i < g->n_nodes; i++)
        g->nodes[i].member = false;
}

static struct staleness_node *add_node(struct staleness *g, usec_t now,
                                       raft_id id)
{
    if (g->n_nodes == STALENESS_NODES_MAX)
        expire(g, now);
    CHECK(g->n_nodes < STALENESS_NODES_MAX);
    struct staleness_node *n = &g->nodes[g->n_nodes++];
    *n = (struct staleness_node){.id = id, .lease_us = now - 1};
    return n;
}

void staleness_member(struct staleness *g, usec_t now, raft_id id,
                      raft_region region, usec_t since_us)
{
    struct staleness_node *n = find(g, id);
    if (n == NULL)
        n = add_node(g, now, id);
    n->member = true;
    n->region = region;
    if (since_us == 0)
        return;
    n->trusted = !is_down(g, region);
    n->known = false;
    n->seen = 0;
    n->lease_us = since_us + STALENESS_LEASE_US;
    g->pass_lsn = 0;
}

void staleness_left(struct staleness *g, usec_t now)
{
    g->left_us = now + STALENESS_LEASE_US;
}

void staleness_lead(struct staleness *g, usec_t now, uint64_t last_lsn)
{
    /* Those who left while this node led before. */
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        const struct staleness_node *n = &g->nodes[i];
        if (!n->member && n->lease_us > g->left_us)
            g->left_us = n->lease_us;
    }
    g->n_nodes = 0;
    g->last_lsn = last_lsn;
    g->n_samples = 0;
    add_sample(g, now, 0);
    g->pass_lsn = 0;
}

void staleness_init(struct staleness *g)
{
    memset(g, 0, sizeof(*g));
    staleness_lead(g, 0, 0);
}

void staleness_set_bound(struct staleness *g, usec_t now,
                         const struct staleness_bound *bound)
{
    CHECK_IMPLIES(bound->on,
                  bound->entries > 0 && bound->lag_us >= USEC_PER_SEC);
    CHECK(bound->n_down <= RAFT_MEMBERS_MAX);
    g->bound = *bound;
    g->pass_lsn = 0;
    expire(g, now);
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        if (is_down(g, g->nodes[i].region))
            g->nodes[i].trusted = false;
    }
}

/* Whether counting a node again would not stop writes for long. */
static bool may_rejoin(const struct staleness *g,
                       const struct staleness_node *n, usec_t now)
{
    if (!n->member || is_down(g, n->region))
        return false;
    uint64_t lag = g->last_lsn > n->seen ? g->last_lsn - n->seen : 0;
    usec_t age = staleness_age(g, now, n->seen + 1);
    return age <= g->bound.lag_us / 2 &&
           (lag <= g->bound.entries || age <= STALENESS_REJOIN_US);
}

void staleness_heard(struct staleness *g, usec_t now, raft_id id, uint64_t seen,
                     usec_t heard_us)
{
    struct staleness_node *n = find(g, id);
    if (!g->bound.on || n == NULL)
        return;
    if (seen > n->seen) {
        n->seen = seen;
        n->delay_us = staleness_age(g, now, seen);
    }
    n->known = true;
    if (!n->trusted || !counts(n, now)) {
        n->trusted = may_rejoin(g, n, now);
        g->pass_lsn = 0;
    }
    usec_t lease = heard_us + STALENESS_LEASE_US;
    if (n->trusted && lease > n->lease_us)
        n->lease_us = lease;
}

void staleness_lost(struct staleness *g, raft_id id)
{
    struct staleness_node *n = find(g, id);
    if (n != NULL)
        n->trusted = false;
}

bool staleness_trusts(struct staleness *g, usec_t now, raft_id id)
{
    if (!g->bound.on)
        return true;
    const struct staleness_node *n = find(g, id);
    return n != NULL && n->trusted && counts(n, now);
}

/* ---- admission -------------------------------------------------------------
 */

static usec_t age_limit(const struct staleness *g)
{
    return g->bound.lag_us / 5 * 4;
}

static uint32_t clamp_ms(usec_t wait)
{
    usec_t ms = wait / USEC_PER_MS;
    if (ms < STALENESS_RETRY_MIN_MS)
        return STALENESS_RETRY_MIN_MS;
    return ms > STALENESS_RETRY_MAX_MS ? STALENESS_RETRY_MAX_MS : (uint32_t)ms;
}

static uint32_t retry_ms(const struct staleness_node *n, usec_t now,
                         usec_t wait)
{
    /* If it falls silent, it counts no longer than this. */
    usec_t most = n->lease_us - now + USEC_PER_MS;
    return clamp_ms(wait < most ? wait : most);
}

/* What one counted node says to an entry. */
static enum staleness_verdict ask_node(const struct staleness *g,
                                       const struct staleness_node *n,
                                       usec_t now, uint64_t lsn,
                                       uint32_t *retry_out)
{
    if (!n->known) {
        *retry_out = retry_ms(n, now, USEC_NEVER);
        return STALENESS_LEARN;
    }
    usec_t age = staleness_age(g, now, n->seen + 1);
    if (age > age_limit(g)) {
        *retry_out = retry_ms(n, now, age - age_limit(g));
        return STALENESS_REFUSE;
    }
    if (lsn > n->seen + g->bound.entries) {
        /* It must see this one first; the last took it so long. When it is
         * late, each attempt waits longer than the one before: clients have
         * few. */
        usec_t since = staleness_age(g, now, lsn - g->bound.entries);
        usec_t left = n->delay_us - since;
        *retry_out = retry_ms(n, now, left > since / 4 ? left : since / 4);
        return STALENESS_REFUSE;
    }
    return STALENESS_ACCEPT;
}

/* Everybody accepts: up to which LSN, and for how long, is that sure? `seen`
 * only rises, and who joins takes the pass away. */
static void renew_pass(struct staleness *g, usec_t now)
{
    g->pass_lsn = UINT64_MAX;
    usec_t oldest = 0;
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        const struct staleness_node *n = &g->nodes[i];
        if (!counts(n, now))
            continue;
        if (n->seen + g->bound.entries < g->pass_lsn)
            g->pass_lsn = n->seen + g->bound.entries;
        usec_t age = staleness_age(g, now, n->seen + 1);
        oldest = age > oldest ? age : oldest;
    }
    g->pass_us = now + age_limit(g) - oldest;
}

enum staleness_verdict staleness_admit(struct staleness *g, usec_t now,
                                       uint64_t lsn,
                                       uint32_t *retry_after_ms_out)
{
    if (!g->bound.on || (lsn <= g->pass_lsn && now < g->pass_us))
        return STALENESS_ACCEPT;
    if (now <= g->left_us) {
        *retry_after_ms_out = clamp_ms(g->left_us - now + USEC_PER_MS);
        return STALENESS_LEARN;
    }
    expire(g, now);
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        uint32_t retry;
        if (!counts(&g->nodes[i], now))
            continue;
        enum staleness_verdict v = ask_node(g, &g->nodes[i], now, lsn, &retry);
        if (v != STALENESS_ACCEPT) {
            *retry_after_ms_out = retry;
            return v;
        }
    }
    renew_pass(g, now);
    return STALENESS_ACCEPT;
}
