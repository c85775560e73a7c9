/* Which faults a seed has, when they strike, and how they end. */
#include <stdio.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/shard/scrub.h"
#include "tests/sim/world_impl.h"

/* Each fault is in about half of the seeds, so that seeds differ in kind. */
static bool toss(struct world *w)
{
    return prng_one_in(&w->prng, 2);
}

/* Leaders fall before they have done much: the cases of figure 8. */
static void make_turbulent(struct world *w)
{
    struct swarm *s = &w->swarm;
    s->fault_every_ms = (uint32_t)prng_range(&w->prng, 20, 200);
    s->jitter_us = (usec_t)prng_range(&w->prng, 2000, 25000);
    s->wan_us = (usec_t)prng_range(&w->prng, 1000, 5000);
    s->loss_permille /= 4;
    s->dup_permille = 200;
    s->crash = s->crash_at_sync = s->isolate_leader = true;
}

/* A region of one voter cannot get over the loss of its disk at all. */
static void choose_amnesia(struct world *w)
{
    struct swarm *s = &w->swarm;
    s->amnesia = w->seed % 5 == 0 || w->shape.forgetful;
    if (s->amnesia)
        s->region_ack = s->rule = s->region_loss = false;
    /* What it may have acknowledged may be gone with the others' region. And
     * each is met more often where the other is not. */
    s->quarantine =
        !s->region_loss && w->seed % (w->shape.forgetful ? 3 : 2) == 0;
    if (w->shape.forgetful && s->quarantine)
        s->amnesia = false;
    s->damage = w->shape.forgetful && w->ops->renew != NULL;
    if (w->shape.forgetful) {
        s->isolate_leader = true; /* who does not know it is deposed */
        s->cut_link = s->crash = true;
    }
}

void faults_choose(struct world *w)
{
    struct swarm *s = &w->swarm;
    bool regions = w->shape.regions > 1;
    s->loss_permille = toss(w) ? (uint32_t)prng_below(&w->prng, 150) : 0;
    s->dup_permille = toss(w) ? (uint32_t)prng_below(&w->prng, 100) : 0;
    s->reorder = toss(w);
    s->jitter_us = (usec_t)prng_range(&w->prng, 100,
                                      prng_one_in(&w->prng, 4) ? 200000 : 5000);
    s->wan_us = (usec_t)prng_range(&w->prng, 2000, 40000);
    s->fault_every_ms =
        (uint32_t)prng_range(&w->prng, 100, w->shape.late ? 400 : 1200);
    s->crash = toss(w);
    s->crash_many = prng_one_in(&w->prng, 4);
    s->crash_at_sync = prng_one_in(&w->prng, 4);
    s->isolate = toss(w);
    s->isolate_leader = toss(w);
    s->one_way = toss(w);
    s->split = toss(w);
    s->cut_link = toss(w);
    s->slow_disk = toss(w);
    s->pause = toss(w);
    s->transfer = toss(w);
    s->members = toss(w) && !w->shape.late; /* one change is enough */
    s->compact = toss(w);
    s->drift = toss(w);
    s->prefer = toss(w);
    s->region_ack = regions && toss(w);
    s->rule = regions && prng_one_in(&w->prng, 3);
    s->region_loss = regions && prng_one_in(&w->prng, 3) &&
                     (w->ops->epoch != NULL || w->shape.witness);
    s->turbulent = prng_one_in(&w->prng, 8) || w->shape.turbulent;
    if (s->turbulent)
        make_turbulent(w);
    choose_amnesia(w);
}

void faults_print(const struct world *w)
{
    const struct swarm *s = &w->swarm;
    printf("# seed %llu %s: turbulent=%d loss=%u dup=%u reorder=%d "
           "jitter=%lldus wan=%lldus "
           "every=%ums crash=%d many=%d at-sync=%d isolate=%d leader=%d "
           "one-way=%d "
           "split=%d link=%d slow=%d pause=%d transfer=%d members=%d "
           "compact=%d drift=%d prefer=%d region-ack=%d rule=%d "
           "region-loss=%d amnesia=%d quarantine=%d damage=%d\n",
           (unsigned long long)w->seed, w->shape.name, s->turbulent,
           s->loss_permille, s->dup_permille, s->reorder,
           (long long)s->jitter_us, (long long)s->wan_us, s->fault_every_ms,
           s->crash, s->crash_many, s->crash_at_sync, s->isolate,
           s->isolate_leader, s->one_way, s->split, s->cut_link, s->slow_disk,
           s->pause, s->transfer, s->members, s->compact, s->drift, s->prefer,
           s->region_ack, s->rule, s->region_loss, s->amnesia, s->quarantine,
           s->damage);
}

/* ---- single faults
 * ----------------------------------------------------------- */

static raft_id any(struct world *w)
{
    return (raft_id)(1 + prng_below(&w->prng, w->n_nodes));
}

static void later(struct world *w, usec_t min_ms, usec_t max_ms,
                  struct sim_event ev)
{
    /* Where elections take a fifth of the time, so does everything. */
    if (w->swarm.turbulent && max_ms > 100)
        max_ms /= 5;
    if (min_ms > max_ms)
        min_ms = max_ms;
    usec_t wait = (usec_t)prng_range(&w->prng, (uint64_t)min_ms * 1000,
                                     (uint64_t)max_ms * 1000);
    world_schedule(w, w->now_us + wait, ev);
}

static void crash(struct world *w, raft_id id)
{
    struct node *n = &w->nodes[id];
    if (n->replica == NULL)
        return;
    node_crash(n);
    /* Some supervisors are quick. */
    later(w, 1, toss(w) ? 4 : 2000,
          (struct sim_event){.type = EV_RESTART, .node = id});
}

void faults_after_sync(struct world *w, raft_id id)
{
    if (w->healed || !w->swarm.crash_at_sync)
        return;
    uint32_t permille = CRASH_AT_SYNC_PERMILLE;
    if (w->swarm.turbulent)
        permille = world_leader(w) == 0 ? CRASH_AT_VOTE_PERMILLE
                                        : CRASH_AT_SYNC_TURBULENT;
    if (world_chance(w, permille))
        crash(w, id);
}

static void crash_many(struct world *w)
{
    for (raft_id i = 1; i <= w->n_nodes; i++) {
        if (toss(w))
            crash(w, i);
    }
}

static uint32_t voters(const struct raft_config *c)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n; i++)
        n += c->members[i].voter;
    return n;
}

static bool somebody_forgot(const struct world *w)
{
    for (raft_id i = 1; i <= w->n_nodes; i++) {
        if (w->nodes[i].amnesiac)
            return true;
    }
    return false;
}

static void lose_disk_of(struct world *w, raft_id id)
{
    crash(w, id);
    world_say(w, "n%u loses its disk", id);
    disk_lose(&w->nodes[id]);
}

/* Whether a member that runs has what this one promised to have. */
static bool has_kept(struct world *w, const struct node *n,
                     const struct sim_kept *mark)
{
    bool compacted = false;
    return node_up(n) &&
           (w->ops->term_at(n->replica, mark->lsn, &compacted) == mark->term ||
            compacted);
}

/* Whether nobody else has its payload: of two regions one may have been held to
 * be down, and not have caught up yet. */
static bool is_only_copy(struct world *w, raft_id id)
{
    const struct node *n = &w->nodes[id];
    struct sim_kept mark;
    bool only = w->shape.late && !n->witness;
    if (!only || n->replica == NULL)
        return only;
    w->ops->keep(n->replica, &mark);
    for (raft_id i = 1; i <= w->n_nodes; i++)
        only &=
            i == id || w->nodes[i].witness || !has_kept(w, &w->nodes[i], &mark);
    return only;
}

/* One at a time: a second loss is one too many for a quorum of three. */
static void lose_disk(struct world *w)
{
    raft_id id = any(w);
    raft_id leader = world_leader(w);
    if (!somebody_forgot(w) && leader != 0 && !is_only_copy(w, id) &&
        raft_config_is_voter(w->ops->config(w->nodes[leader].replica), id))
        lose_disk_of(w, id);
}

/* One at a time, and only while another leads that has what it has; of two
 * voters never (scrub_spares). */
static void quarantine(struct world *w)
{
    struct node *n = &w->nodes[any(w)];
    raft_id leader = world_leader(w);
    struct sim_kept mark;
    bool compacted = false;
    if (somebody_forgot(w) || !node_up(n) || leader == 0 || leader == n->id ||
        n->n_synced != n->n_records || n->syncing != 0 ||
        voters(w->ops->config(w->nodes[leader].replica)) <= 2)
        return;
    w->ops->keep(n->replica, &mark);
    uint64_t term =
        w->ops->term_at(w->nodes[leader].replica, mark.lsn, &compacted);
    if (raft_amnesia_possible(&mark.config, n->id) &&
        (compacted || term == mark.term))
        node_quarantine(n);
}

/* A round of the scrubber finds the store of one member damaged, and that of
 * every other well. */
static void mend(struct world *w, const struct raft_config *c, struct node *n,
                 struct node *leader)
{
    struct scrub_answer answers[RAFT_MEMBERS_MAX] = {0};
    struct scrub_judgement j = {0};
    bool well[RAFT_MEMBERS_MAX];
    struct sim_kept mark;
    uint32_t target = 0, from = 0;
    w->ops->keep(n->replica, &mark);
    for (uint32_t i = 0; i < c->n; i++) {
        const struct node *m = &w->nodes[c->members[i].id];
        answers[i].node = m->id;
        answers[i].voter = raft_config_is_voter(c, m->id);
        answers[i].err = m == n ? ERR_CORRUPT : ERR_OK;
        target = m == n ? i : target;
        from = m == leader ? i : from;
        well[i] = has_kept(w, m, &mark);
    }
    scrub_judge(answers, c->n, &j);
    if (scrub_spares(c, answers, &j, well, c->n, target)) {
        if (n->n_synced == n->n_records && n->syncing == 0 && well[from])
            node_quarantine(n);
    } else if (scrub_renews(answers, &j, well, from, target)) {
        world_say(w, "n%u renews the store of n%u", leader->id, n->id);
        w->ops->renew(leader->replica, node_local_us(leader), n->id);
        node_after_step(leader);
    }
}

/* Two voters get over the loss of one disk at any time, also while the store of
 * the other one is mended. */
static void damage(struct world *w)
{
    struct node *n = &w->nodes[any(w)];
    struct node *leader = &w->nodes[world_leader(w)];
    if (somebody_forgot(w) || leader->id == 0 || leader == n || !node_up(n))
        return;
    const struct raft_config *c = w->ops->config(leader->replica);
    bool pair = !c->joint && voters(c) == 2 && raft_config_is_voter(c, n->id);
    if (raft_config_find(c, n->id) == NULL ||
        !raft_config_equal(c, w->ops->config(n->replica)))
        return;
    mend(w, c, n, leader);
    if (pair && w->swarm.amnesia && prng_one_in(&w->prng, LOSE_DISK_ONE_IN))
        lose_disk_of(w, leader->id);
}

static void isolate(struct world *w, raft_id id)
{
    if (id == 0)
        return;
    for (raft_id i = 1; i <= w->n_nodes; i++) {
        net_cut(w, id, i, true);
        net_cut(w, i, id, true);
    }
    later(w, 100, 3000, (struct sim_event){.type = EV_UNDO, .node = id});
}

/* In turbulent seeds many leaders fall within moments of their election, when
 * what they inherited is half replicated (paper figure 8). */
void faults_new_leader(struct world *w, raft_id id)
{
    if (!w->healed && w->swarm.turbulent && world_chance(w, TOPPLE_PERMILLE))
        later(w, 0, toss(w) ? 30 : 300,
              (struct sim_event){.type = EV_TOPPLE, .node = id});
}

void faults_topple(struct world *w, raft_id id)
{
    if (w->healed)
        return;
    if (toss(w))
        crash(w, id);
    else
        isolate(w, id);
}

static void one_way(struct world *w)
{
    raft_id from = any(w);
    for (raft_id to = 1; to <= w->n_nodes; to++) {
        if (toss(w))
            net_cut(w, from, to, true);
    }
    later(w, 100, 2000, (struct sim_event){.type = EV_UNDO, .node = from});
}

static void split(struct world *w)
{
    bool side[NODES_MAX + 1] = {false};
    for (raft_id i = 1; i <= w->n_nodes; i++)
        side[i] = toss(w);
    for (raft_id a = 1; a <= w->n_nodes; a++) {
        for (raft_id b = 1; b <= w->n_nodes; b++)
            net_cut(w, a, b, side[a] != side[b]);
    }
    later(w, 100, 2000, (struct sim_event){.type = EV_UNDO});
}

static void cut_link(struct world *w)
{
    raft_id a = any(w);
    raft_id b = any(w);
    net_cut(w, a, b, true);
    net_cut(w, b, a, true);
    later(w, 100, 2000, (struct sim_event){.type = EV_UNDO, .node = a});
}

static void slow_disk(struct world *w)
{
    raft_id id = any(w);
    w->nodes[id].slow = !w->nodes[id].slow;
    world_say(w, "disk n%u slow=%d", id, w->nodes[id].slow);
}

static void pause_node(struct world *w)
{
    struct node *n = &w->nodes[any(w)];
    if (!node_up(n))
        return;
    n->paused = true;
    world_say(w, "pause n%u", n->id);
    later(w, 10, 1500,
          (struct sim_event){
              .type = EV_RESUME, .node = n->id, .number = n->life});
}

static void transfer(struct world *w)
{
    struct node *n = &w->nodes[world_leader(w)];
    raft_id to = any(w);
    if (n->id == 0 || to == n->id)
        return;
    int rc = w->ops->transfer(n->replica, node_local_us(n), to);
    world_say(w, "transfer n%u->n%u: %s", n->id, to, err_name(rc));
    node_after_step(n);
}

static void compact(struct world *w)
{
    struct node *n = &w->nodes[any(w)];
    if (!node_up(n))
        return;
    world_say(w, "compact n%u", n->id);
    w->ops->compact(n->replica, node_local_us(n), prng_below(&w->prng, 30));
    node_after_step(n);
}

/* ---- changes
 * ------------------------------------------------------------------ */

static void say_members(struct world *w, const struct raft_config *c)
{
    char text[160] = "";
    size_t at = 0;
    for (uint32_t i = 0; i < c->n && at < sizeof(text) - 16; i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, " n%u%s",
                               c->members[i].id,
                               c->members[i].voter ? "" : "(learner)");
    world_say(w, "target: ack=%u region=%u%s", c->ack, c->write_region, text);
}

static void change(struct world *w, const struct raft_config *target)
{
    say_members(w, target);
    struct node *n = &w->nodes[world_leader(w)];
    int rc = w->ops->change(n->replica, node_local_us(n), target);
    world_say(w, "change by n%u: %s", n->id, err_name(rc));
    node_after_step(n);
}

static struct raft_member member_of(struct world *w, raft_id id)
{
    return (struct raft_member){
        .id = id,
        .region = w->nodes[id].region,
        .witness = w->nodes[id].witness,
        .priority =
            w->swarm.prefer ? (uint8_t)(w->nodes[id].region - 1) : (uint8_t)0,
    };
}

static void remove_at(struct raft_config *c, uint32_t i)
{
    for (; i + 1 < c->n; i++)
        c->members[i] = c->members[i + 1];
    c->n--;
    c->members[c->n] = (struct raft_member){0};
}

/* One to three nodes join, leave, or change between voter and learner. */
static void change_members(struct world *w)
{
    raft_id leader = world_leader(w);
    if (leader == 0)
        return;
    struct raft_config c = *w->ops->config(w->nodes[leader].replica);
    if (c.joint)
        return;
    uint32_t moves = 1 + (uint32_t)prng_below(&w->prng, 3);
    for (uint32_t i = 0; i < moves; i++) {
        raft_id id = any(w);
        uint32_t at = 0;
        while (at < c.n && c.members[at].id != id)
            at++;
        if (at == c.n)
            (void)raft_config_add(&c, member_of(w, id));
        else if (!c.members[at].voter)
            c.members[at].voter = true;
        else if (voters(&c) > 2 && toss(w))
            c.members[at].voter = false;
        else if (voters(&c) > 2)
            remove_at(&c, at);
    }
    change(w, &c);
}

/* ---- a witness that is late
 * ----------------------------------------------------- */

/* Which node shall be the witness in the end; 0: none any more. They come last.
 */
static raft_id wanted_witness(const struct world *w)
{
    return w->dismissed ? 0 : w->n_nodes - (raft_id)(w->seed % LATE_WITNESSES);
}

/* The first member that is a witness, but for `id`; c->n: there is none. */
static uint32_t other_witness(const struct raft_config *c, raft_id id)
{
    uint32_t i = 0;
    while (i < c->n && (!c->members[i].witness || c->members[i].id == id))
        i++;
    return i;
}

bool faults_witness_settled(struct world *w)
{
    const struct node *l = &w->nodes[world_leader(w)];
    raft_id id = wanted_witness(w);
    if (l->id == 0 || !w->ops->config_is_committed(l->replica))
        return false;
    const struct raft_config *c = w->ops->config(l->replica);
    return !c->joint && other_witness(c, id) == c->n &&
           (id == 0 || raft_config_is_voter(c, id));
}

/* Whether it has about what the leader has; while things go wrong anybody may
 * become a voter. */
static bool witness_may_vote(const struct world *w, raft_id id,
                             const struct node *leader)
{
    const struct node *n = &w->nodes[id];
    return !w->healed || (n->replica != NULL &&
                          w->ops->applied_lsn(n->replica) + WITNESS_NEAR >=
                              w->ops->applied_lsn(leader->replica));
}

/* Learner, voter in place of the one before, gone: one step towards that. */
static void step_witness(struct world *w, raft_id id)
{
    const struct node *leader = &w->nodes[world_leader(w)];
    if (leader->id == 0)
        return;
    struct raft_config c = *w->ops->config(leader->replica);
    uint32_t other = other_witness(&c, id);
    struct raft_member *m = (struct raft_member *)raft_config_find(&c, id);
    bool votes = id == 0 || (m != NULL && m->voter);
    if (c.joint || (votes && other == c.n))
        return;
    if (id != 0 && m == NULL) {
        (void)raft_config_add(&c, member_of(w, id));
    } else if (votes || witness_may_vote(w, id, leader)) {
        if (m != NULL)
            m->voter = true;
        if (other < c.n)
            remove_at(&c, other);
    } else {
        return;
    }
    change(w, &c);
}

/* Whether the shard does without the node, as its leader knows: one member's
 * word settles a record. Others may not have heard. */
static bool is_out(struct world *w, raft_id id)
{
    const struct node *l = &w->nodes[world_leader(w)];
    return l->id != 0 && w->ops->config_is_committed(l->replica) &&
           raft_config_find(w->ops->config(l->replica), id) == NULL;
}

/* A node that is a witness no more deletes what it had. Whether one did. */
static bool wipe_witness(struct world *w)
{
    raft_id id = w->n_nodes - (raft_id)prng_below(&w->prng, LATE_WITNESSES);
    struct node *n = &w->nodes[id];
    bool may = node_up(n) && n->n_records > 0 && n->n_synced == n->n_records &&
               n->syncing == 0 && is_out(w, id);
    if (may)
        node_wipe(n);
    return may;
}

void faults_step_witness(struct world *w)
{
    (void)wipe_witness(w);
    if (!faults_witness_settled(w))
        step_witness(w, wanted_witness(w));
}

/* Any of them, or none. */
static raft_id any_witness(struct world *w)
{
    uint32_t which = (uint32_t)prng_below(&w->prng, 2 * LATE_WITNESSES);
    return which == 0 ? 0 : w->n_nodes - (raft_id)(which % LATE_WITNESSES);
}

/* A planned switch of the rule or of the write region. */
static void change_rule(struct world *w)
{
    raft_id leader = world_leader(w);
    if (leader == 0)
        return;
    struct raft_config c = *w->ops->config(w->nodes[leader].replica);
    if (c.joint)
        return;
    if (toss(w)) {
        c.ack = RAFT_ACK_COMMIT;
        c.write_region = 0;
    } else {
        c.ack = RAFT_ACK_REGION;
        c.write_region =
            (raft_region)(1 + prng_below(&w->prng, w->shape.regions));
    }
    if (c.epoch < w->epoch)
        c.epoch = w->epoch;
    change(w, &c);
}

/* ---- losing a region
 * ------------------------------------------------------------ */

void faults_tell(struct node *n)
{
    struct world *w = n->world;
    if (w->epoch > 0)
        w->ops->epoch(n->replica, node_local_us(n), w->epoch,
                      w->decided_region);
    if (w->shape.witness)
        w->ops->down(n->replica, node_local_us(n), &w->down_region,
                     w->down_region != 0);
}

static void tell_all(struct world *w)
{
    for (raft_id i = 1; i <= w->n_nodes; i++) {
        struct node *n = &w->nodes[i];
        if (!node_up(n))
            continue;
        faults_tell(n);
        node_after_step(n);
    }
}

/* The regions do not hear each other, and both hear the witnesses: one of them
 * is held to be down, and learns of nothing. */
static void part_regions(struct world *w)
{
    bool forgot = false;
    for (raft_id i = 1; i <= w->n_nodes; i++)
        forgot |= w->nodes[i].amnesiac && !w->nodes[i].witness;
    if (w->down_region != 0 || w->lost_region != 0 || forgot)
        return;
    for (raft_id a = 1; a <= w->n_nodes; a++)
        for (raft_id b = 1; b <= w->n_nodes; b++)
            if (!w->nodes[a].witness && !w->nodes[b].witness &&
                w->nodes[a].region != w->nodes[b].region)
                net_cut(w, a, b, true);
    w->down_region = (raft_region)(1 + prng_below(&w->prng, w->shape.regions));
    world_say(w, "region %u is held to be down", w->down_region);
    tell_all(w);
    later(w, 2000, 6000, (struct sim_event){.type = EV_UNDO});
    later(w, 6000, 7000, (struct sim_event){.type = EV_RETURN});
}

/* The one that is none now. */
static raft_id next_witness(struct world *w)
{
    const struct node *l = &w->nodes[world_leader(w)];
    return w->n_nodes -
           (l->id != 0 &&
            raft_config_is_voter(w->ops->config(l->replica), w->n_nodes));
}

/* A witness comes, moves or goes; it moves while a region hears nothing of that
 * but from witnesses. */
static void stir_witness(struct world *w)
{
    if (wipe_witness(w))
        return;
    step_witness(w, w->down_region != 0 ? next_witness(w) : any_witness(w));
    if (prng_one_in(&w->prng, PART_ONE_IN))
        part_regions(w);
}

/* Which region a fault takes away: where one acknowledges, that one; with a
 * witness any. 0: none. */
static raft_region region_to_lose(struct world *w)
{
    raft_id leader = world_leader(w);
    if (leader == 0 || w->lost_region != 0)
        return 0;
    if (w->shape.witness)
        return (raft_region)(1 + prng_below(&w->prng, w->shape.regions));
    const struct raft_config *c = w->ops->config(w->nodes[leader].replica);
    return c->ack == RAFT_ACK_REGION ? c->write_region : 0;
}

static void lose_region(struct world *w, raft_region region)
{
    if (region == 0)
        return;
    w->lost_region = region;
    world_say(w, "region %u is lost", w->lost_region);
    for (raft_id i = 1; i <= w->n_nodes; i++) {
        if (w->nodes[i].region == w->lost_region)
            node_crash(&w->nodes[i]);
    }
    later(w, 400, 1500, (struct sim_event){.type = EV_DECIDE});
}

/* Whether every configuration around, which may become the next leader's, has
 * a voter of the region: what failover must know before it decides. */
static bool can_take_over(struct world *w, raft_region region)
{
    for (raft_id i = 1; i <= w->n_nodes; i++) {
        const struct node *n = &w->nodes[i];
        const struct raft_config *c =
            n->replica == NULL ? &n->last_config : w->ops->config(n->replica);
        struct raft_config as_if = *c;
        as_if.ack = RAFT_ACK_REGION;
        as_if.write_region = region;
        if (c->n > 0 && raft_config_check(&as_if) != ERR_OK)
            return false;
    }
    return true;
}

static void decide(struct world *w, raft_region region)
{
    w->decided_region = region;
    w->epoch++;
    check_forced(w->check, w->epoch);
    shown_forced(w->shown, w->epoch);
    world_say(w, "epoch %u: region %u", w->epoch, w->decided_region);
    tell_all(w);
}

/* Whether somebody may go by a rule that needs the lost region: always, where
 * no other rule can be (see lose_region). */
static bool needs_lost_region(const struct world *w)
{
    if (!w->shape.witness)
        return true;
    for (raft_id i = 1; i <= w->n_nodes; i++) {
        const struct node *n = &w->nodes[i];
        const struct raft_config *c =
            n->replica == NULL ? &n->last_config : w->ops->config(n->replica);
        if (c->ack == RAFT_ACK_REGION && c->write_region == w->lost_region)
            return true;
    }
    return w->epoch > 0 && w->decided_region == w->lost_region;
}

static void region_restarts(struct world *w)
{
    for (raft_id i = 1; i <= w->n_nodes; i++) {
        if (w->nodes[i].region == w->lost_region)
            later(w, 500, 3000,
                  (struct sim_event){.type = EV_RESTART, .node = i});
    }
    w->lost_region = 0;
    if (w->shape.witness)
        later(w, 3500, 4500, (struct sim_event){.type = EV_RETURN});
}

/* The meta shard's part: another region takes over, if one must and can; and
 * it is known that the lost one is. */
void faults_decide(struct world *w)
{
    CHECK(w->lost_region != 0);
    raft_region next = (raft_region)(1 + w->lost_region % w->shape.regions);
    if (w->shape.witness) {
        w->down_region = w->lost_region;
        tell_all(w);
    }
    if (w->ops->epoch != NULL && needs_lost_region(w) && can_take_over(w, next))
        decide(w, next);
    if (w->drilling)
        w->acked_at_decision = check_acked_count(w->check);
    else
        region_restarts(w);
}

void faults_return(struct world *w)
{
    if (w->down_region == 0 || w->lost_region != 0)
        return;
    world_say(w, "region %u is up", w->down_region);
    w->down_region = 0;
    tell_all(w);
}

/* ---- losing one when all is well
 * ------------------------------------------------ */

/* Whether the others suffice to elect a leader, and there is a rule for it. */
static bool survives_loss(struct world *w, const struct raft_config *c,
                          raft_region lost)
{
    uint32_t others = 0;
    for (uint32_t i = 0; i < c->n; i++)
        others += c->members[i].voter && c->members[i].region != lost;
    raft_region next = (raft_region)(1 + lost % w->shape.regions);
    return others > voters(c) / 2 && can_take_over(w, next);
}

/* Whether the leader waits for every region, and none lacks what was committed
 * when the drill was announced: only then is a loss survived. */
static bool is_whole(struct world *w, const struct raft_config *c)
{
    struct node *leader = &w->nodes[world_leader(w)];
    for (raft_region r = 1; r <= w->shape.regions; r++) {
        if (!w->ops->awaits(leader->replica, r))
            return false;
    }
    for (uint32_t i = 0; i < c->n; i++) {
        const struct node *n = &w->nodes[c->members[i].id];
        if (n->amnesiac || w->ops->applied_lsn(n->replica) < w->drill_lsn)
            return false;
    }
    return !c->joint && w->ops->config_is_committed(leader->replica);
}

void faults_announce_drill(struct world *w)
{
    raft_id leader = world_leader(w);
    if (leader == 0)
        return;
    w->drill_lsn = w->ops->applied_lsn(w->nodes[leader].replica);
    world_schedule(w, w->now_us + DRILL_NOTICE_US,
                   (struct sim_event){.type = EV_DRILL, .node = leader});
}

/* A region is seldom lost for all others at the same moment. */
static void cut_some(struct world *w, raft_region region)
{
    for (raft_id to = 1; to <= w->n_nodes; to++) {
        if (w->nodes[to].region == region || toss(w))
            continue;
        for (raft_id from = 1; from <= w->n_nodes; from++)
            if (w->nodes[from].region == region)
                net_cut(w, from, to, true);
    }
}

/* With a witness: the promise that it is there for. */
void faults_drill(struct world *w, raft_id announced)
{
    raft_id leader = world_leader(w);
    raft_region lost =
        (raft_region)(1 + prng_below(&w->prng, w->shape.regions));
    if (leader == 0 || leader != announced)
        return;
    const struct raft_config *c = w->ops->config(w->nodes[leader].replica);
    bool forced = c->ack == RAFT_ACK_REGION && c->write_region == lost;
    if (!is_whole(w, c) || !survives_loss(w, c, lost) ||
        (forced && w->ops->epoch == NULL))
        return;
    w->drilling = true;
    cut_some(w, lost);
    later(w, 1, 100, (struct sim_event){.type = EV_LOSE, .number = lost});
    world_schedule(w, w->now_us + DRILL_WORKS_US,
                   (struct sim_event){.type = EV_DRILLED});
}

void faults_lose(struct world *w, raft_region region)
{
    lose_region(w, region);
    net_heal(w);
}

void faults_drilled(struct world *w)
{
    CHECK(w->drilling && w->lost_region != 0);
    if (check_acked_count(w->check) == w->acked_at_decision)
        world_fail(w, "region loss: nothing is acknowledged without it");
    w->drilling = false;
    w->dismissed = true;
    w->result->drills++;
    region_restarts(w);
    w->elections_at_heal = check_elections(w->check);
}

/* ---- the schedule
 * ---------------------------------------------------------------- */

enum fault {
    FAULT_CRASH,
    FAULT_CRASH_MANY,
    FAULT_ISOLATE,
    FAULT_ISOLATE_LEADER,
    FAULT_ONE_WAY,
    FAULT_SPLIT,
    FAULT_CUT_LINK,
    FAULT_SLOW_DISK,
    FAULT_PAUSE,
    FAULT_TRANSFER,
    FAULT_MEMBERS,
    FAULT_COMPACT,
    FAULT_RULE,
    FAULT_REGION_LOSS,
    FAULTS,
};

static void strike(struct world *w, enum fault f)
{
    const struct swarm *s = &w->swarm;
    if (f == FAULT_CRASH && s->crash)
        crash(w, any(w));
    else if (f == FAULT_CRASH_MANY && s->crash_many)
        crash_many(w);
    else if (f == FAULT_ISOLATE && s->isolate)
        isolate(w, any(w));
    else if (f == FAULT_ISOLATE_LEADER && s->isolate_leader)
        isolate(w, world_leader(w));
    else if (f == FAULT_ONE_WAY && s->one_way)
        one_way(w);
    else if (f == FAULT_SPLIT && s->split)
        split(w);
    else if (f == FAULT_CUT_LINK && s->cut_link)
        cut_link(w);
    else if (f == FAULT_SLOW_DISK && s->slow_disk)
        slow_disk(w);
    else if (f == FAULT_PAUSE && s->pause)
        pause_node(w);
    else if (f == FAULT_TRANSFER && s->transfer)
        transfer(w);
    else if (f == FAULT_MEMBERS && s->members)
        change_members(w);
    else if (f == FAULT_COMPACT && s->compact)
        compact(w);
    else if (f == FAULT_RULE && s->rule)
        change_rule(w);
    else if (f == FAULT_REGION_LOSS && s->region_loss)
        lose_region(w, region_to_lose(w));
}

void faults_strike(struct world *w)
{
    if (w->healed)
        return;
    strike(w, (enum fault)prng_below(&w->prng, FAULTS));
    strike(w, (enum fault)prng_below(&w->prng, FAULTS));
    if (w->shape.late && (w->down_region != 0 || toss(w)))
        stir_witness(w);
    if (w->swarm.amnesia && prng_one_in(&w->prng, LOSE_DISK_ONE_IN))
        lose_disk(w);
    if (w->swarm.quarantine && prng_one_in(&w->prng, LOSE_DISK_ONE_IN))
        quarantine(w);
    if (w->swarm.damage && toss(w))
        damage(w);
    later(w, w->swarm.turbulent ? 2 : 10, w->swarm.fault_every_ms,
          (struct sim_event){.type = EV_FAULT});
}

/* Heals the links of one node, or of all. */
void faults_undo(struct world *w, const struct sim_event *ev)
{
    for (raft_id i = 1; i <= w->n_nodes; i++) {
        if (ev->node == 0) {
            net_heal(w);
            return;
        }
        net_cut(w, ev->node, i, false);
        net_cut(w, i, ev->node, false);
    }
}

void faults_heal(struct world *w)
{
    w->healed = true;
    w->swarm.reorder = false;
    if (w->swarm.jitter_us > HEALED_JITTER_US)
        w->swarm.jitter_us = HEALED_JITTER_US;
    if (w->lost_region != 0)
        faults_decide(w);
    net_heal(w);
    for (raft_id i = 1; i <= w->n_nodes; i++) {
        struct node *n = &w->nodes[i];
        n->slow = false;
        if (n->replica == NULL)
            node_start(n);
    }
    faults_return(w);
}
