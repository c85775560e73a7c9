/* Which faults a seed has, when they strike, and how they end. */
#include <stdio.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "tests/sim/site/site_impl.h"

/* Each fault is in about half of the seeds, so that seeds differ in kind. */
static bool toss(struct site *s)
{
    return prng_one_in(&s->prng, 2);
}

static void choose_regions(struct site *s)
{
    struct site_swarm *w = &s->swarm;
    w->region_kill = toss(s);
    w->region_pause = prng_one_in(&s->prng, 3);
    w->region_cut = toss(s);
    w->region_one_way = prng_one_in(&s->prng, 3);
    w->region_slow = toss(s);
    w->region_stuck = toss(s);
    w->quick_return = prng_one_in(&s->prng, 3);
    w->failback = toss(s);
}

void site_swarm_choose(struct site *s)
{
    struct site_swarm *w = &s->swarm;
    w->loss_permille = toss(s) ? (uint32_t)prng_below(&s->prng, 80) : 0;
    w->dup_permille = toss(s) ? (uint32_t)prng_below(&s->prng, 100) : 0;
    w->reorder = toss(s);
    w->jitter_us = (usec_t)prng_range(&s->prng, 100,
                                      prng_one_in(&s->prng, 6) ? 100000 : 5000);
    w->fault_every_ms = (uint32_t)prng_range(&s->prng, 300, 2500);
    w->crash = toss(s);
    w->pause = toss(s);
    w->isolate = toss(s);
    w->one_way = toss(s);
    w->cut_link = toss(s);
    w->slow_disk = toss(s);
    w->hang_disk = prng_one_in(&s->prng, 3);
    /* Where no voter acknowledges alone. */
    w->lose_disk = toss(s) && s->shape.voters >= 3;
    w->quarantine = toss(s) && s->shape.voters >= 3;
    w->transfer = prng_one_in(&s->prng, 4);
    w->flush = toss(s);
    w->drift = toss(s);
    w->set_level = prng_one_in(&s->prng, 3);
    w->set_priority = prng_one_in(&s->prng, 3);
    w->move = toss(s);
    /* A group with a witness keeps its members. */
    w->members = toss(s) && !s->shape.witness;
    w->reunite = toss(s);
    choose_regions(s);
    for (uint32_t a = 1; a <= site_regions(s); a++)
        for (uint32_t b = 1; b < a; b++)
            s->wan_us[a][b] = s->wan_us[b][a] =
                (usec_t)prng_range(&s->prng, 1000, 60000);
}

void site_swarm_print(const struct site *s)
{
    const struct site_swarm *w = &s->swarm;
    printf("# seed %llu %s: loss=%u dup=%u reorder=%d jitter=%lldus every=%ums "
           "crash=%d pause=%d isolate=%d one-way=%d link=%d slow-disk=%d "
           "hang=%d lose-disk=%d quarantine=%d region-kill=%d region-pause=%d "
           "region-cut=%d "
           "region-one-way=%d region-slow=%d region-stuck=%d transfer=%d "
           "flush=%d drift=%d "
           "levels=%d priority=%d move=%d members=%d reunite=%d failback=%d "
           "quick=%d drill=%s\n",
           (unsigned long long)s->seed, s->shape.name, w->loss_permille,
           w->dup_permille, w->reorder, (long long)w->jitter_us,
           w->fault_every_ms, w->crash, w->pause, w->isolate, w->one_way,
           w->cut_link, w->slow_disk, w->hang_disk, w->lose_disk, w->quarantine,
           w->region_kill, w->region_pause, w->region_cut, w->region_one_way,
           w->region_slow, w->region_stuck, w->transfer, w->flush, w->drift,
           w->set_level, w->set_priority, w->move, w->members, w->reunite,
           w->failback, w->quick_return, site_drill_name(s->drill.kind));
}

/* ---- how faults end ---------------------------------------------------------
 */

enum undo {
    UNDO_NODE,
    UNDO_REGION,
    UNDO_WIRE,
    UNDO_SLOW,
    UNDO_STUCK,
    UNDO_DISK
};

static void later(struct site *s, uint64_t min_ms, uint64_t max_ms,
                  struct sim_event ev)
{
    usec_t wait = (usec_t)prng_range(&s->prng, min_ms * 1000, max_ms * 1000);
    site_schedule(s, s->now_us + wait, ev);
}

static void undo_later(struct site *s, enum undo what, raft_id who,
                       uint64_t min_ms, uint64_t max_ms)
{
    later(s, min_ms, max_ms,
          (struct sim_event){.type = SITE_UNDO, .from = what, .node = who});
}

static void undo_region(struct site *s, raft_region region)
{
    if (s->lost == region)
        s->lost = 0;
    for (raft_id i = 1; i <= s->n_nodes; i++) {
        struct site_node *n = &s->nodes[i];
        if (n->region != region)
            continue;
        if (!n->up)
            site_node_start(n);
        else
            site_node_resume(n);
    }
    site_cut_region(s, region, true, true, false);
    site_say(s, "region %u is back", region);
}

void site_storm_undo(struct site *s, const struct sim_event *ev)
{
    if (s->healed)
        return; /* healed as a whole; what the drill does is its own */
    struct site_node *n = &s->nodes[ev->node];
    switch ((enum undo)ev->from) {
    case UNDO_NODE:
        if (s->lost == n->region)
            break;
        if (!n->up)
            site_node_start(n);
        else
            site_node_resume(n);
        break;
    case UNDO_REGION:
        undo_region(s, (raft_region)ev->node);
        break;
    case UNDO_WIRE:
        if (s->lost == 0)
            site_heal_wire(s);
        break;
    case UNDO_SLOW:
        s->slow_us[ev->node] = 0;
        break;
    case UNDO_STUCK:
        s->stuck = 0;
        break;
    case UNDO_DISK:
        site_drive_hang(n, false);
        break;
    }
}

/* ---- single faults ----------------------------------------------------------
 */

static raft_id any(struct site *s)
{
    return (raft_id)(1 + prng_below(&s->prng, s->n_nodes));
}

static void crash(struct site *s)
{
    raft_id id = any(s);
    site_node_crash(&s->nodes[id]);
    undo_later(s, UNDO_NODE, id, 1, toss(s) ? 30 : 3000);
}

static void pause_node(struct site *s)
{
    raft_id id = any(s);
    site_node_pause(&s->nodes[id]);
    undo_later(s, UNDO_NODE, id, 10, 2500);
}

static void isolate(struct site *s)
{
    raft_id id = any(s);
    site_say(s, "n%u is cut off", id);
    for (raft_id i = 1; i <= s->n_nodes; i++) {
        site_cut(s, id, i, true);
        site_cut(s, i, id, true);
    }
    undo_later(s, UNDO_WIRE, 0, 100, 3000);
}

static void one_way(struct site *s)
{
    raft_id from = any(s);
    site_say(s, "n%u is not heard by some", from);
    for (raft_id to = 1; to <= s->n_nodes; to++)
        if (toss(s))
            site_cut(s, from, to, true);
    undo_later(s, UNDO_WIRE, 0, 100, 3000);
}

static void cut_link(struct site *s)
{
    raft_id a = any(s), b = any(s);
    site_say(s, "no link between n%u and n%u", a, b);
    site_cut(s, a, b, true);
    site_cut(s, b, a, true);
    undo_later(s, UNDO_WIRE, 0, 100, 3000);
}

static void slow_disk(struct site *s)
{
    struct site_drive *d = &s->nodes[any(s)].drive;
    d->mean_us = (usec_t)prng_range(&s->prng, 100, toss(s) ? 3000 : 100000);
}

static void hang_disk(struct site *s)
{
    raft_id id = any(s);
    site_drive_hang(&s->nodes[id], true);
    undo_later(s, UNDO_DISK, id, 100, 5000);
}

/* Whether all voters are those that a node finds named that has nothing but its
 * cluster file (docs/rebuild.md). */
static bool voters_are_the_first(struct site *s, uint16_t shard)
{
    raft_id leader = site_leader(s, shard);
    if (leader == 0)
        return false;
    const struct raft_config *now = raft_config(
        shard_raft(sim_shard(s->nodes[leader].replicas[shard].replica)));
    bool same = !now->joint;
    for (raft_id id = 1; id <= s->n_nodes; id++)
        same &= raft_config_is_voter(now, id) == s->nodes[id].voter;
    return same;
}

static bool somebody_is_mending(const struct site *s)
{
    for (raft_id id = 1; id <= s->n_nodes; id++) {
        if (s->nodes[id].amnesiac)
            return true;
        for (uint16_t i = 0; i < s->n_shards; i++)
            if (s->nodes[id].replicas[i].mending)
                return true;
    }
    return false;
}

/* One at a time, and not one that alone may know of a conflict. */
static void lose_disk(struct site *s)
{
    struct site_node *n = &s->nodes[any(s)];
    if (somebody_is_mending(s) || !site_node_up(n) || !n->voter || n->witness)
        return;
    for (uint16_t i = 0; i < s->n_shards; i++)
        if (!voters_are_the_first(s, i) ||
            shard_salvage_pending(sim_shard(n->replicas[i].replica)) > 0)
            return;
    site_node_forget(n);
    undo_later(s, UNDO_NODE, n->id, 1, 1000);
}

/* Of one shard with documents, at a node that goes on: one at a time, not the
 * leader's, and only while that has what this one has. */
static void quarantine(struct site *s)
{
    struct site_node *n = &s->nodes[any(s)];
    uint16_t shard = (uint16_t)(1 + prng_below(&s->prng, s->n_shards - 1));
    raft_id leader = site_leader(s, shard);
    struct sim_kept mark;
    bool compacted = false;
    if (!site_node_up(n) || leader == 0 || leader == n->id ||
        !site_drive_idle(n) || somebody_is_mending(s) ||
        shard_salvage_pending(sim_shard(n->replicas[shard].replica)) > 0)
        return;
    sim_replica_shard.keep(n->replicas[shard].replica, &mark);
    uint64_t term = sim_replica_shard.term_at(
        s->nodes[leader].replicas[shard].replica, mark.lsn, &compacted);
    if (raft_config_is_voter(&mark.config, n->id) &&
        raft_amnesia_possible(&mark.config, n->id) &&
        (compacted || term == mark.term))
        site_node_quarantine(n, shard);
}

static void transfer(struct site *s)
{
    uint16_t shard = (uint16_t)prng_below(&s->prng, s->n_shards);
    raft_id leader = site_leader(s, shard);
    raft_id to = any(s);
    if (leader == 0 || to == leader)
        return;
    struct site_node *n = &s->nodes[leader];
    site_say(s, "shard %u: n%u hands over to n%u", shard, leader, to);
    (void)sim_replica_shard.transfer(n->replicas[shard].replica,
                                     site_local_us(n), to);
    site_node_after(n, shard);
}

static void flush(struct site *s)
{
    struct site_node *n = &s->nodes[any(s)];
    uint16_t shard = (uint16_t)prng_below(&s->prng, s->n_shards);
    if (!site_node_up(n))
        return;
    sim_replica_shard.compact(n->replicas[shard].replica, site_local_us(n), 0);
    site_node_after(n, shard);
}

/* ---- regions ----------------------------------------------------------------
 */

/* The write region more often than another. */
static raft_region any_region(struct site *s)
{
    raft_id leader = site_leader(s, 1);
    if (leader != 0 && toss(s))
        return s->nodes[leader].region;
    return (raft_region)(1 + prng_below(&s->prng, site_regions(s)));
}

static bool lose_region(struct site *s, raft_region *region_out,
                        const char *how)
{
    if (s->lost != 0)
        return false;
    *region_out = s->lost = any_region(s);
    site_say(s, "region %u %s", s->lost, how);
    undo_later(s, UNDO_REGION, s->lost, 300,
               s->swarm.quick_return ? 1500 : 6000);
    return true;
}

static void region_kill(struct site *s)
{
    raft_region r;
    if (!lose_region(s, &r, "is killed"))
        return;
    for (raft_id i = 1; i <= s->n_nodes; i++)
        if (s->nodes[i].region == r)
            site_node_crash(&s->nodes[i]);
}

static void region_pause(struct site *s)
{
    raft_region r;
    if (!lose_region(s, &r, "stands still"))
        return;
    for (raft_id i = 1; i <= s->n_nodes; i++)
        if (s->nodes[i].region == r)
            site_node_pause(&s->nodes[i]);
}

static void region_cut(struct site *s)
{
    raft_region r;
    if (lose_region(s, &r, "is cut off"))
        site_cut_region(s, r, true, true, true);
}

static void region_one_way(struct site *s)
{
    raft_region r;
    bool out = toss(s);
    if (lose_region(s, &r, out ? "is not heard" : "hears nobody"))
        site_cut_region(s, r, out, !out, true);
}

static void region_slow(struct site *s)
{
    raft_region r = any_region(s);
    s->slow_us[r] = (usec_t)prng_range(&s->prng, 10000, 150000);
    site_say(s, "region %u is slow", r);
    undo_later(s, UNDO_SLOW, r, 500, 6000);
}

static void region_stuck(struct site *s)
{
    s->stuck = any_region(s);
    site_say(s, "region %u replicates no documents", s->stuck);
    undo_later(s, UNDO_STUCK, 0, 100, 1500);
}

/* ---- the schedule -----------------------------------------------------------
 */

void site_storm_strike(struct site *s)
{
    const struct site_swarm *w = &s->swarm;
    const struct {
        bool on;
        void (*strike)(struct site *s);
    } faults[] = {
        {w->crash, crash},
        {w->pause, pause_node},
        {w->isolate, isolate},
        {w->one_way, one_way},
        {w->cut_link, cut_link},
        {w->slow_disk, slow_disk},
        {w->hang_disk, hang_disk},
        {w->lose_disk, lose_disk},
        {w->quarantine, quarantine},
        {w->transfer, transfer},
        {w->flush, flush},
        {w->region_kill, region_kill},
        {w->region_pause, region_pause},
        {w->region_cut, region_cut},
        {w->region_one_way, region_one_way},
        {w->region_slow, region_slow},
        {w->region_stuck, region_stuck},
    };
    if (s->healed)
        return;
    size_t i = (size_t)prng_below(&s->prng, ARRAY_LEN(faults));
    if (faults[i].on)
        faults[i].strike(s);
    later(s, 10, w->fault_every_ms, (struct sim_event){.type = SITE_FAULT});
}

void site_storm_heal(struct site *s)
{
    site_say(s, "all is healed");
    s->healed = true;
    s->lost = s->stuck = 0;
    s->swarm.reorder = false;
    if (s->swarm.jitter_us > 5 * USEC_PER_MS)
        s->swarm.jitter_us = 5 * USEC_PER_MS;
    site_heal_wire(s);
    for (uint32_t r = 1; r <= site_regions(s); r++)
        s->slow_us[r] = 0;
    for (raft_id i = 1; i <= s->n_nodes; i++) {
        struct site_node *n = &s->nodes[i];
        if (n->drive.mean_us > 3 * USEC_PER_MS)
            n->drive.mean_us = 3 * USEC_PER_MS;
        site_drive_hang(n, false);
        if (!n->up)
            site_node_start(n);
        else
            site_node_resume(n);
    }
}
