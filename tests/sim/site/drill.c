/* One thing happens to a calm cluster, and what must follow is known:
 *
 *   the write region dies,    Within 5 s in 99 of 100 seeds clients elsewhere
 * write stands still, is cut      to every shard again. The first region of the
 *   off, in one or both       list that is left has become the write region
 *   directions, or its disks
 *   hang; two regions die
 *   a planned switch          no request fails, and none waits for longer than
 *                             SITE_SWITCH_US
 *   the write region is slow, nothing is decided: the epoch stays
 *   or cannot be reached by
 *   one other, or by all for
 *   a moment
 *   it dies and returns, but  it does not get its writes back before it has
 *   replication does not      caught up
 *   a new level               all nodes know it within a second
 */
#include <inttypes.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "tests/sim/site/site_impl.h"

#define LEVEL_KNOWN_US USEC_PER_SEC
/* Some regions are lost when the others lack their newest writes. */
#define LAG_US (400 * USEC_PER_MS)
#define BLIP_US (900 * USEC_PER_MS)
#define BEHIND_DEAD_US (4 * USEC_PER_SEC)
/* A session's state is found again when its shard is written to again. */
#define WEDGED_US (500 * USEC_PER_MS)

const char *site_drill_name(enum site_drill_kind kind)
{
    static const char *const names[DRILLS] = {
        [DRILL_NONE] = "none",         [DRILL_KILL] = "kill",
        [DRILL_PAUSE] = "pause",       [DRILL_CUT] = "cut",
        [DRILL_ONE_WAY] = "one-way",   [DRILL_HANG] = "hang",
        [DRILL_KILL_TWO] = "kill-two", [DRILL_MOVE] = "move",
        [DRILL_SLOW] = "slow",         [DRILL_PAIR] = "pair",
        [DRILL_BLIP] = "blip",         [DRILL_BEHIND] = "behind",
        [DRILL_LEVEL] = "level",
    };
    return names[kind];
}

static bool is_loss(enum site_drill_kind kind)
{
    return kind >= DRILL_KILL && kind <= DRILL_KILL_TWO;
}

/* A loss is survived only where the other regions are a majority. */
static bool is_possible(const struct site *s, enum site_drill_kind kind)
{
    if (kind == DRILL_KILL_TWO)
        return s->shape.regions >= 5;
    /* What must be in two regions waits while they do not reach each other. */
    if (s->shape.witness && kind == DRILL_PAIR)
        return false;
    if (is_loss(kind) || kind == DRILL_PAIR || kind == DRILL_BLIP ||
        kind == DRILL_BEHIND)
        return site_regions(s) >= 3;
    return true;
}

static bool is_lost(const struct site *s, raft_region region)
{
    const struct site_drill *d = &s->drill;
    return is_loss(d->kind) &&
           (region == d->write_region ||
            (d->kind == DRILL_KILL_TWO && region == d->other));
}

/* ---- the beginning ----------------------------------------------------------
 */

static raft_region first_left(const struct site *s,
                              const struct govern_record *r)
{
    for (uint32_t i = 0; i < r->n_regions; i++)
        if (r->priority[i] != r->write_region && !is_lost(s, r->priority[i]))
            return r->priority[i];
    return 0;
}

static raft_region any_other(struct site *s, raft_region than)
{
    raft_region r = (raft_region)prng_range(&s->prng, 1, s->shape.regions - 1);
    return r >= than ? (raft_region)(r + 1) : r;
}

static void each_node(struct site *s, raft_region region,
                      void (*act)(struct site_node *n))
{
    for (raft_id i = 1; i <= s->n_nodes; i++)
        if (s->nodes[i].region == region)
            act(&s->nodes[i]);
}

static void hang(struct site_node *n)
{
    site_drive_hang(n, true);
}

static void unhang(struct site_node *n)
{
    site_drive_hang(n, false);
}

static void cut_pair(struct site *s, raft_region x, raft_region y, bool cut)
{
    for (raft_id a = 1; a <= s->n_nodes; a++)
        for (raft_id b = 1; b <= s->n_nodes; b++)
            if (s->nodes[a].region == x && s->nodes[b].region == y) {
                site_cut(s, a, b, cut);
                site_cut(s, b, a, cut);
            }
}

static void strike(struct site *s)
{
    struct site_drill *d = &s->drill;
    struct consistency_policy level;
    bool out = prng_one_in(&s->prng, 2);
    switch (d->kind) {
    case DRILL_KILL_TWO:
        each_node(s, d->other, site_node_crash);
        each_node(s, d->write_region, site_node_crash);
        break;
    case DRILL_KILL:
        each_node(s, d->write_region, site_node_crash);
        break;
    case DRILL_PAUSE:
        each_node(s, d->write_region, site_node_pause);
        break;
    case DRILL_BEHIND:
        each_node(s, d->write_region, site_node_crash);
        break;
    case DRILL_BLIP:
    case DRILL_CUT:
        site_cut_region(s, d->write_region, true, true, true);
        break;
    case DRILL_ONE_WAY:
        site_cut_region(s, d->write_region, out, !out, true);
        break;
    case DRILL_HANG:
        each_node(s, d->write_region, hang);
        break;
    case DRILL_MOVE:
        d->expected = d->other;
        if (!site_order_move(s, d->other))
            d->kind = DRILL_NONE;
        break;
    case DRILL_SLOW:
        s->slow_us[d->write_region] =
            (usec_t)prng_range(&s->prng, 50000, 200000);
        break;
    case DRILL_PAIR:
        cut_pair(s, d->write_region, d->other, true);
        break;
    case DRILL_LEVEL:
        site_level_draw(s, &level);
        if (!site_order_level(s, &level))
            d->kind = DRILL_NONE;
        break;
    default:
        break;
    }
}

void site_drill_begin(struct site *s)
{
    struct site_drill *d = &s->drill;
    const struct govern_record *r = &s->nodes[1].record;
    if (!is_possible(s, d->kind))
        d->kind = DRILL_NONE;
    d->began_us = s->now_us;
    d->epoch = r->epoch;
    d->write_region = r->write_region;
    d->other = s->shape.regions > 1 ? any_other(s, r->write_region) : 1;
    /* Two at once: the write region, and the next in line. */
    if (d->kind == DRILL_KILL_TWO)
        d->other =
            r->priority[0] != r->write_region ? r->priority[0] : r->priority[1];
    d->expected = is_loss(d->kind) ? first_left(s, r) : r->write_region;
    for (uint32_t i = 0; i < SITE_SHARDS_MAX; i++)
        d->written_us[i] = HIST_NEVER;
    site_say(s, "drill: %s, region %u writes, the other is %u",
             site_drill_name(d->kind), d->write_region, d->other);
    d->struck = !is_loss(d->kind) || prng_one_in(&s->prng, 2);
    if (d->struck) {
        strike(s);
    } else {
        s->stuck = d->write_region;
        d->began_us += LAG_US;
    }
}

/* ---- what is seen -----------------------------------------------------------
 */

/* Who writes to a shard again finds its session again. */
static void check_wedged(struct site *s, const struct hist_op *op)
{
    const struct site_drill *d = &s->drill;
    usec_t since = d->written_us[op->shard];
    if (op->result == ERR_BEHIND && since != HIST_NEVER &&
        op->called_us > since + WEDGED_US)
        site_fail(
            s, "session %u is wedged: shard %u was written to %.3f s before",
            op->session, op->shard, (double)(op->called_us - since) / 1e6);
}

void site_drill_heard(struct site *s, const struct hist_op *op)
{
    struct site_drill *d = &s->drill;
    if (s->phase != SITE_DRILL || op->called_us < d->began_us)
        return;
    bool answered = op->answered_us != HIST_NEVER;
    if (answered && hist_is_write(op) && op->result == ERR_OK &&
        !is_lost(s, s->nodes[op->node].region) &&
        op->answered_us < d->written_us[op->shard])
        d->written_us[op->shard] = op->answered_us;
    if (answered)
        check_wedged(s, op);
    bool done =
        answered &&
        (op->result == ERR_OK || op->result == ERR_EXISTS ||
         op->result == ERR_NOT_FOUND || op->result == ERR_PRECONDITION ||
         /* the bound of bounded staleness; the SDK waits and repeats */
         op->result == ERR_THROTTLED);
    d->failed += !done;
    if (answered && op->answered_us - op->called_us > d->slowest_us)
        d->slowest_us = op->answered_us - op->called_us;
}

/* The newest record that any node outside the lost regions knows. */
static const struct govern_record *newest_record(const struct site *s)
{
    const struct govern_record *newest = NULL;
    for (raft_id i = 1; i <= s->n_nodes; i++) {
        const struct site_node *n = &s->nodes[i];
        if (!site_node_up(n) || !n->has_record || is_lost(s, n->region))
            continue;
        if (newest == NULL || n->record.epoch > newest->epoch)
            newest = &n->record;
    }
    return newest;
}

static void check_loss(struct site *s)
{
    struct site_drill *d = &s->drill;
    s->result->failed_over = true;
    for (uint16_t i = 1; i < s->n_shards; i++) {
        usec_t at = d->written_us[i];
        if (at == HIST_NEVER)
            site_fail(s, "failover (%s): no write to shard %u in %.1f s",
                      site_drill_name(d->kind), i,
                      (double)(s->now_us - d->began_us) / 1e6);
        else if (at - d->began_us > SITE_FAILOVER_US)
            site_fail(s, "failover (%s): first write to shard %u after %.3f s",
                      site_drill_name(d->kind), i,
                      (double)(at - d->began_us) / 1e6);
        else if (at - d->began_us > s->result->failover_us)
            s->result->failover_us = at - d->began_us;
    }
    const struct govern_record *r = newest_record(s);
    if (r == NULL || r->write_region != d->expected)
        site_fail(s,
                  "failover (%s): region %u became the write region, not %u, "
                  "the first that is left",
                  site_drill_name(d->kind), r == NULL ? 0 : r->write_region,
                  d->expected);
}

static void check_calm(struct site *s)
{
    struct site_drill *d = &s->drill;
    const struct govern_record *r = newest_record(s);
    if (r == NULL || r->epoch != d->epoch || r->write_region != d->write_region)
        site_fail(s,
                  "failover without need (%s): epoch %u, region %u writes, "
                  "was %u, %u",
                  site_drill_name(d->kind), r == NULL ? 0 : r->epoch,
                  r == NULL ? 0 : r->write_region, d->epoch, d->write_region);
    if (r != NULL && r->down != 0)
        site_fail(s,
                  "failover without need (%s): regions %#x are declared down",
                  site_drill_name(d->kind), r->down);
    bool all_reach_all = d->kind == DRILL_NONE || d->kind == DRILL_SLOW;
    if (all_reach_all && d->failed > 0)
        site_fail(s, "%u requests failed in a healthy cluster (%s)", d->failed,
                  site_drill_name(d->kind));
}

/* Not back before it has caught up, which it could not. */
static void check_behind(struct site *s)
{
    const struct site_drill *d = &s->drill;
    const struct govern_record *r = newest_record(s);
    if (r != NULL && r->epoch > d->epoch && r->write_region == d->write_region)
        site_fail(s,
                  "failover (behind): region %u writes, by epoch %u, before "
                  "region %u has caught up",
                  r->write_region, r->epoch, d->write_region);
}

static void check_move(struct site *s)
{
    struct site_drill *d = &s->drill;
    const struct govern_record *r = newest_record(s);
    if (r == NULL || r->write_region != d->expected || !r->settled)
        site_fail(s, "planned switch: region %u writes, not %u, or not settled",
                  r == NULL ? 0 : r->write_region, d->expected);
    else if (d->failed > 0)
        site_fail(s, "planned switch: %u requests failed", d->failed);
    else if (d->slowest_us > SITE_SWITCH_US)
        site_fail(s, "planned switch: a request took %.3f s",
                  (double)d->slowest_us / 1e6);
}

/* ---- the end ----------------------------------------------------------------
 */

static void put_back(struct site *s, raft_region region)
{
    for (raft_id i = 1; i <= s->n_nodes; i++) {
        struct site_node *n = &s->nodes[i];
        if (n->region == region && !n->up)
            site_node_start(n);
    }
    each_node(s, region, site_node_resume);
    each_node(s, region, unhang);
    s->slow_us[region] = 0;
}

usec_t site_drill_us(const struct site *s)
{
    return s->drill.kind == DRILL_BEHIND ? 2 * SITE_DRILL_US : SITE_DRILL_US;
}

void site_drill_end(struct site *s)
{
    struct site_drill *d = &s->drill;
    if (is_loss(d->kind))
        check_loss(s);
    else if (d->kind == DRILL_SLOW || d->kind == DRILL_PAIR ||
             d->kind == DRILL_BLIP || d->kind == DRILL_NONE)
        check_calm(s);
    else if (d->kind == DRILL_BEHIND)
        check_behind(s);
    else if (d->kind == DRILL_MOVE)
        check_move(s);
    site_say(s, "drill: over");
    s->stuck = 0;
    site_heal_wire(s);
    put_back(s, d->write_region);
    put_back(s, d->other);
}

/* What was away returns in the middle of the drill. */
static void come_back(struct site *s)
{
    struct site_drill *d = &s->drill;
    usec_t away = s->now_us - d->began_us;
    if (d->kind == DRILL_BLIP && !d->back && away >= BLIP_US) {
        d->back = true;
        site_heal_wire(s);
    } else if (d->kind == DRILL_BEHIND && !d->back && away >= BEHIND_DEAD_US) {
        d->back = true;
        s->stuck = d->write_region;
        put_back(s, d->write_region);
        site_say(s, "region %u is back, and behind", d->write_region);
    }
}

void site_drill_watch(struct site *s)
{
    struct site_drill *d = &s->drill;
    if (!d->struck && s->now_us >= d->began_us) {
        d->struck = true;
        d->began_us = s->now_us;
        strike(s);
        s->stuck = 0;
    }
    come_back(s);
    if (d->kind != DRILL_LEVEL || s->now_us < d->began_us + LEVEL_KNOWN_US)
        return;
    for (raft_id i = 1; i <= s->n_nodes; i++)
        if (s->nodes[i].record.consistency.level != s->ordered.level)
            site_fail(s, "a new level is not known to n%u after 1 s", i);
}
