/* Who administers the account: changes level, priorities and write region
 * through a node that leads the meta shard, while everything goes on. And what
 * may be held against the account meanwhile: from the moment a change is
 * ordered until every node knows that it is settled, the weaker of the two. */
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "tests/sim/site/site_impl.h"

static struct site_node *meta_leader(struct site *s)
{
    raft_id id = site_leader(s, SHARD_META);
    struct site_node *n = &s->nodes[id];
    return id != 0 && n->has_record && !n->proposing ? n : NULL;
}

static bool order(struct site *s, struct site_node *n, int err,
                  const struct govern_record *next)
{
    if (err == ERR_OK)
        err = site_node_propose(n, next);
    if (err != ERR_OK)
        site_say(s, "operator: not possible: %s", err_name(err));
    return err == ERR_OK;
}

/* ---- levels -----------------------------------------------------------------
 */

void site_level_draw(struct site *s, struct consistency_policy *out)
{
    *out =
        (struct consistency_policy){.level = (enum consistency_level)prng_below(
                                        &s->prng, CONSISTENCY_COUNT)};
    if (out->level == CONSISTENCY_BOUNDED) {
        out->max_staleness_prefix =
            (int32_t)prng_range(&s->prng, 1, prng_one_in(&s->prng, 2) ? 5 : 40);
        out->max_staleness_interval = (int32_t)prng_range(&s->prng, 1, 5);
    }
}

static struct hist_promise promise_of(const struct site *s,
                                      const struct consistency_policy *p)
{
    return (struct hist_promise){
        .from_us = s->now_us,
        .level = p->level,
        .max_entries = (uint64_t)p->max_staleness_prefix,
        .max_us = (usec_t)p->max_staleness_interval * USEC_PER_SEC};
}

/* The weaker of what was promised and this. */
static void promise_less(struct site *s, const struct consistency_policy *p)
{
    struct hist_promise now =
        observed_promised(&s->history->seen, s->now_us, s->now_us);
    struct hist_promise next = promise_of(s, p);
    next.levels = now.levels | 1u << p->level;
    if (next.level < now.level)
        next.level = now.level;
    if (next.max_entries < now.max_entries)
        next.max_entries = now.max_entries;
    if (next.max_us < now.max_us)
        next.max_us = now.max_us;
    observed_promise(&s->history->seen, &next);
    s->promise_due = true;
}

bool site_order_level(struct site *s, const struct consistency_policy *level)
{
    struct govern_record next;
    struct site_node *n = meta_leader(s);
    if (n == NULL)
        return false;
    site_say(s, "operator: level %s, K %d, T %d s",
             consistency_name(level->level), level->max_staleness_prefix,
             level->max_staleness_interval);
    int err = govern_set_level(&n->record, level, site_wall_us(s),
                               "an operator asked for it", &next);
    if (!order(s, n, err, &next))
        return false;
    s->ordered = *level;
    s->ordered_epoch = next.epoch;
    promise_less(s, level);
    return true;
}

/* All nodes have the same record and it is settled. It is the one that was
 * ordered or came in its place: an order whose outcome is not known may still
 * be carried out, until its epoch is decided. Whoever is down or cut off
 * still goes by the old one. */
void site_promise_watch(struct site *s)
{
    const struct site_node *first = &s->nodes[1];
    if (!s->promise_due)
        return;
    for (raft_id i = 1; i <= s->n_nodes; i++) {
        const struct site_node *n = &s->nodes[i];
        if (!site_node_up(n) || !n->has_record || n->proposing ||
            !n->record.settled || n->record.epoch < s->ordered_epoch ||
            memcmp(&n->record, &first->record, sizeof(n->record)) != 0)
            return;
    }
    s->promise_due = false;
    struct hist_promise p = promise_of(s, &first->record.consistency);
    observed_promise(&s->history->seen, &p);
    site_say(s, "from now on %s holds",
             consistency_name(first->record.consistency.level));
}

/* ---- regions ----------------------------------------------------------------
 */

bool site_order_move(struct site *s, raft_region to)
{
    struct govern_record next;
    struct site_node *n = meta_leader(s);
    if (n == NULL)
        return false;
    site_say(s, "operator: writes to region %u", to);
    int err = govern_switch(&n->record, to, false, true, site_wall_us(s),
                            "an operator asked for it", &next);
    return order(s, n, err, &next);
}

static void order_priority(struct site *s)
{
    struct govern_record next;
    struct site_node *n = meta_leader(s);
    if (n == NULL)
        return;
    raft_region list[SITE_REGIONS_MAX];
    uint32_t count = s->shape.regions;
    for (uint32_t i = 0; i < count; i++)
        list[i] = n->record.priority[i];
    for (uint32_t i = count - 1; i > 0; i--) {
        uint32_t k = (uint32_t)prng_below(&s->prng, i + 1);
        raft_region swap = list[i];
        list[i] = list[k];
        list[k] = swap;
    }
    bool move = prng_one_in(&s->prng, 2);
    site_say(s, "operator: region %u first%s", list[0],
             move ? ", and writes there" : "");
    int err =
        govern_set_priority(&n->record, list, count, n->record.failback, move,
                            site_wall_us(s), "an operator asked for it", &next);
    (void)order(s, n, err, &next);
}

void site_operate(struct site *s)
{
    if (s->healed)
        return;
    switch (prng_below(&s->prng, 3)) {
    case 0:
        if (s->swarm.set_level) {
            struct consistency_policy level;
            site_level_draw(s, &level);
            (void)site_order_level(s, &level);
        }
        break;
    case 1:
        if (s->swarm.move)
            (void)site_order_move(
                s, (raft_region)(1 + prng_below(&s->prng, s->shape.regions)));
        break;
    default:
        if (s->swarm.set_priority)
            order_priority(s);
        break;
    }
    usec_t wait = (usec_t)prng_range(&s->prng, 500, 3000) * USEC_PER_MS;
    site_schedule(s, s->now_us + wait,
                  (struct sim_event){.type = SITE_OPERATE});
}
