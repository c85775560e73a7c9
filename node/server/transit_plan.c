#include "node/server/transit_plan.h"

#include <string.h>

#include "node/base/err.h"

void transit_plan_begin(struct transit_plan *p, bool writes, usec_t now,
                        usec_t timeout_us)
{
    *p = (struct transit_plan){.writes = writes,
                               .began_us = now,
                               .find_until_us = now + timeout_us,
                               .pause_us = TRANSIT_RETRY_US};
}

/* ---- who is asked ----------------------------------------------------------
 */

static bool has_tried(const struct transit_plan *p, raft_id node)
{
    return (p->tried[node / 64] >> (node % 64) & 1) != 0;
}

/* Smaller is better. Where writes go matters more than how far it is: the other
 * regions would have to forward them. */
static usec_t distance(const struct transit_plan *p,
                       const struct transit_member *m)
{
    return m->rtt_us + (p->writes && m->forwards ? USEC_NEVER / 2 : 0);
}

/* The best that was not tried in this round; NULL: there is none. */
static const struct transit_member *choose(const struct transit_plan *p,
                                           const struct transit_member *members,
                                           uint32_t n)
{
    const struct transit_member *best = NULL;
    for (uint32_t i = 0; i < n; i++)
        if (!has_tried(p, members[i].node) &&
            (best == NULL || distance(p, &members[i]) < distance(p, best)))
            best = &members[i];
    return best;
}

static bool has_answer(const struct transit_plan *p)
{
    return p->answered && !p->in_doubt;
}

static enum transit_step rest(struct transit_plan *p, usec_t now)
{
    memset(p->tried, 0, sizeof(p->tried));
    p->refused = false;
    p->retry_us = now + p->pause_us;
    if (p->retry_us > p->find_until_us)
        p->retry_us = p->find_until_us;
    if (p->pause_us < TRANSIT_RETRY_MAX_US)
        p->pause_us *= 2;
    return TRANSIT_WAIT;
}

enum transit_step transit_plan_next(struct transit_plan *p, usec_t now,
                                    const struct transit_member *members,
                                    uint32_t n, bool stop, raft_id *node_out)
{
    if (stop || now >= p->find_until_us)
        return TRANSIT_OVER;
    const struct transit_member *m = choose(p, members, n);
    p->full &= n > 0;
    if (m != NULL) {
        p->tried[m->node / 64] |= (uint64_t)1 << (m->node % 64);
        *node_out = m->node;
        return TRANSIT_ASK;
    }
    /* A fence does not change its mind within the time of a request; and who
     * answered a read has waited for a leader already. */
    if (p->refused || (has_answer(p) && !p->writes))
        return TRANSIT_OVER;
    return rest(p, now);
}

/* ---- what they say ---------------------------------------------------------
 */

void transit_plan_unsent(struct transit_plan *p, int err)
{
    p->refused |= err == ERR_FORBIDDEN;
    p->full = err == ERR_FULL;
}

enum transit_step transit_plan_failed(struct transit_plan *p, int err)
{
    bool untouched = err == ERR_FULL || err == ERR_FORBIDDEN ||
                     err == ERR_UNAVAILABLE || err == ERR_UNSUPPORTED;
    transit_plan_unsent(p, err);
    p->too_large = err == ERR_LIMIT;
    p->in_doubt |= p->writes && !untouched && !p->too_large;
    return p->too_large ? TRANSIT_OVER : TRANSIT_ASK;
}

/* Statuses that say that nothing was applied, which this attempt alone can
 * tell. */
static bool says_untouched(uint16_t status)
{
    return status == 503 || status == 429 || status == 403;
}

/* Whether another member may do better: this one could not reach who leads, or
 * not in the time that it has for a write (COSMOS_PASSED_TIMEOUT_US). */
static bool worth_another(const struct transit_plan *p, uint16_t status,
                          bool elsewhere)
{
    return (status == 503 && !elsewhere) || (status == 408 && p->writes);
}

enum transit_step transit_plan_answered(struct transit_plan *p, usec_t now,
                                        uint16_t status, bool elsewhere,
                                        bool *keep_out)
{
    *keep_out = false;
    p->full = false;
    if (p->in_doubt && says_untouched(status))
        return rest(p, now);
    if (!worth_another(p, status, elsewhere))
        return TRANSIT_OVER;
    *keep_out = p->answered = true;
    p->in_doubt |= status == 408;
    return TRANSIT_ASK;
}

int transit_plan_verdict(const struct transit_plan *p)
{
    if (p->in_doubt)
        return ERR_TIMEOUT;
    if (p->too_large)
        return ERR_LIMIT;
    if (p->answered)
        return ERR_OK;
    if (p->refused)
        return ERR_FORBIDDEN;
    return p->full ? ERR_THROTTLED : ERR_UNAVAILABLE;
}

uint32_t transit_plan_age_ms(const struct transit_plan *p, usec_t now)
{
    return p->in_doubt ? (uint32_t)((now - p->began_us) / USEC_PER_MS) + 1 : 0;
}
