/* Who administers the account: changes level, priorities, write region and
 * members through a node that leads the meta shard, while everything goes on.
 * And what may be held against the account meanwhile: from the moment a change
 * is ordered until every node knows that it is settled, the weaker of the two.
 */
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
    uint32_t count = n->record.n_regions;
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

/* ---- members ----------------------------------------------------------------
 */

/* Whom the record names, or whoever is there. */
static bool is_present(const struct site_node *leader, raft_id id)
{
    const struct raft *meta =
        shard_raft(sim_shard(leader->replicas[SHARD_META].replica));
    return leader->record.n_members > 0
               ? govern_wants(&leader->record, id)
               : raft_config_find(raft_config_committed(meta), id) != NULL;
}

/* Those who are there, without the nodes of region `goes` or node `out`; or
 * with `all` everybody who does not go. As node/server/placement.c it wants a
 * majority of them to be up. */
static uint32_t choose_members(struct site *s, const struct site_node *leader,
                               raft_region goes, raft_id out, bool all,
                               struct govern_member *members)
{
    uint32_t n = 0, up = 0;
    for (raft_id id = 1; id <= s->n_nodes; id++) {
        const struct site_node *node = &s->nodes[id];
        if (node->region == goes || id == out ||
            (!all && !is_present(leader, id)))
            continue;
        members[n++] = (struct govern_member){.id = id, .region = node->region};
        up += site_node_up(node);
    }
    return up > n / 2 ? n : 0;
}

/* The list as it is, then the regions that it lacks. */
static uint32_t list_regions(const struct site *s,
                             const struct govern_record *r, raft_region *list)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->n_regions; i++)
        list[n++] = r->priority[i];
    for (uint32_t i = 1; i <= s->shape.regions; i++)
        if (govern_rank(r, (raft_region)i) == r->n_regions)
            list[n++] = (raft_region)i;
    return n;
}

static void order_members(struct site *s, raft_region goes, raft_id out,
                          bool all)
{
    struct govern_record next;
    struct govern_member members[SITE_NODES_MAX];
    raft_region list[SITE_REGIONS_MAX];
    struct site_node *n = meta_leader(s);
    if (n == NULL)
        return;
    uint32_t count = choose_members(s, n, goes, out, all, members);
    uint32_t n_list = list_regions(s, &n->record, list);
    site_say(s, "operator: %u members, without region %u and n%u", count, goes,
             out);
    int err =
        govern_set_members(&n->record, members, count, list, n_list,
                           site_wall_us(s), "an operator asked for it", &next);
    (void)order(s, n, err, &next);
}

/* Somebody goes, somebody comes back, or both at once. */
static void change_members(struct site *s)
{
    bool all = prng_one_in(&s->prng, 2);
    raft_region goes = 0;
    raft_id out = 0;
    if (prng_one_in(&s->prng, 3))
        out = (raft_id)(1 + prng_below(&s->prng, s->n_nodes));
    else if (!all || prng_one_in(&s->prng, 2))
        goes = (raft_region)(1 + prng_below(&s->prng, s->shape.regions));
    order_members(s, goes, out, all);
}

bool site_apart(struct site *s)
{
    const struct govern_record *r = site_record(s);
    return s->swarm.members && s->swarm.reunite &&
           (r == NULL || (r->n_members > 0 && r->n_members < s->n_nodes));
}

/* After healing. */
static void reunite(struct site *s)
{
    if (site_apart(s))
        order_members(s, 0, 0, true);
}

static void operate_later(struct site *s, uint64_t min_ms, uint64_t max_ms)
{
    usec_t wait = (usec_t)prng_range(&s->prng, min_ms, max_ms) * USEC_PER_MS;
    site_schedule(s, s->now_us + wait,
                  (struct sim_event){.type = SITE_OPERATE});
}

void site_operate(struct site *s)
{
    if (s->healed) {
        reunite(s);
        if (s->phase <= SITE_CALM)
            operate_later(s, 200, 300);
        return;
    }
    switch (prng_below(&s->prng, 5)) {
    case 2:
    case 3:
        if (s->swarm.members)
            change_members(s);
        break;
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
    operate_later(s, 500, 3000);
}
