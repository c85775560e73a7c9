#include "node/server/governor.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/govern/decide.h"
#include "node/govern/word.h"
#include "node/server/decision.h"
#include "node/server/peers.h"
#include "node/server/steering.h"
#include "node/server/worker.h"

/* A node of the write region that is cut off sends clients elsewhere for that
 * long. Those who went there stay there; later it says what is wrong instead,
 * since SDKs look elsewhere for minutes before they pass a message on. */
#define ELSEWHERE_US (10 * USEC_PER_SEC)
#define GOVERNOR_FULL_US (1 * USEC_PER_SEC)
#define EDIT_TIMEOUT_US (3 * USEC_PER_SEC)

/* One placement group. */
struct governed {
    struct governor *governor;
    uint16_t number;
    char name[CATALOG_NAME_MAX + 1];
    bool known; /* `record` is */
    struct govern_record record;
    uint64_t switches[2]; /* planned, forced */
    usec_t changed_us;    /* when its epoch was learned */
    usec_t possible_us;   /* when writes last looked possible from here */
    bool editing;
    bool gone;                 /* was removed; freed once it is not edited */
    struct govern_record hint; /* learned from gossip meanwhile */
    struct govern_word own;
    struct govern_word others[FAILOVER_NODES_MAX + 1]; /* by node */
};

struct governor {
    struct worker *worker;
    struct failover *failover;
    struct ev_timer timer;
    struct buf gossip;
    struct governed *groups[GROUPS_MAX]; /* default first, always there */
    uint32_t group_count;
    bool proven;       /* there was contact, once since the start */
    usec_t contact_us; /* the meta shard's leader was last surely there */
    bool stalled;      /* the own disk hangs */
    bool no_space;     /* or is full */
    usec_t full_us;    /* a full one counts from then on */
    struct steering_news news; /* last told */
};

/* ---- groups ----------------------------------------------------------------
 */

static struct governed *find_group(const struct governor *g, uint16_t number)
{
    for (uint32_t i = 0; i < g->group_count; i++)
        if (g->groups[i]->number == number)
            return g->groups[i];
    return NULL;
}

/* Groups that the catalog has no more. While it is read in anew it may lack
 * others, too, which then come back. */
static void drop_removed(struct governor *g)
{
    for (uint32_t i = g->group_count; i-- > 1;) {
        struct governed *d = g->groups[i];
        if (catalog_group_number(g->worker->catalog, d->number) != NULL)
            continue;
        g->group_count--;
        memmove(&g->groups[i], &g->groups[i + 1],
                (g->group_count - i) * sizeof(g->groups[0]));
        d->gone = true;
        if (!d->editing)
            mem_free(d);
    }
}

static struct governed *make_group(struct governor *g, uint16_t number,
                                   const char *name)
{
    struct governed *d = find_group(g, number);
    if (d != NULL)
        return d;
    if (g->group_count == GROUPS_MAX)
        drop_removed(g);
    CHECK(g->group_count < GROUPS_MAX);
    d = mem_zalloc(sizeof(*d));
    d->governor = g;
    d->number = number;
    d->possible_us = clock_mono_us();
    snprintf(d->name, sizeof(d->name), "%s", name);
    g->groups[g->group_count++] = d;
    return d;
}

/* ---- gossip
 * ------------------------------------------------------------------
 */

struct bytes governor_gossip(struct governor *g, uint32_t peer)
{
    buf_clear(&g->gossip);
    govern_words_begin(g->group_count, &g->gossip);
    for (uint32_t i = 0; i < g->group_count; i++)
        govern_words_put(g->group_count, g->groups[i]->number,
                         &g->groups[i]->own, &g->gossip);
    if (failover_gossip(g->failover, peer, clock_mono_us(), &g->gossip) !=
        ERR_OK)
        return bytes_of(NULL, 0);
    return bytes_of(buf_bytes(&g->gossip), buf_len(&g->gossip));
}

struct hint {
    uint16_t group;
    struct govern_record record;
};

static void take_hint(struct worker *w, void *arg)
{
    struct hint *hint = arg;
    steering_take_hint(&w->steering, hint->group, &hint->record);
    mem_free(hint);
}

/* A decision that this node's own log cannot tell it, because its disk hangs or
 * is full. */
static void learn(struct governed *d, const struct govern_hint *said)
{
    struct governor *g = d->governor;
    uint32_t before = d->hint.epoch;
    if (!(g->stalled || g->no_space) || !d->known ||
        !govern_learn(&d->record, said, &d->hint))
        return;
    if (d->hint.epoch != before)
        log_warn("the own log cannot be written: a decision was learned from "
                 "others",
                 LOG_STR("group", d->name), LOG_UINT("epoch", said->epoch),
                 LOG_STR("write_region",
                         decision_region_name(g->worker->node->config,
                                              said->write_region)));
    struct hint hint = {.group = d->number, .record = d->hint};
    struct node *node = g->worker->node;
    for (uint32_t i = 0; i < node->worker_count; i++)
        worker_run(&node->workers[i], take_hint, mem_dup(&hint, sizeof(hint)));
}

void governor_heard(struct governor *g, uint32_t peer, struct bytes gossip)
{
    struct govern_words words;
    struct govern_word word;
    struct bytes rest;
    uint16_t number;
    if (peer > FAILOVER_NODES_MAX ||
        govern_words_open(&words, gossip) != ERR_OK)
        return;
    while (govern_words_next(&words, &number, &word)) {
        struct governed *d = find_group(g, number);
        if (d == NULL)
            continue; /* not known here yet */
        d->others[peer] = word;
        learn(d, &word.decision);
    }
    if (govern_words_end(&words, &rest) != ERR_OK)
        return;
    int err = failover_heard(g->failover, peer, rest, clock_mono_us());
    if (err != ERR_OK && err != ERR_STALE)
        log_warn("gossip ignored", LOG_UINT("from", peer),
                 LOG_STR("error", err_text(err)));
}

/* ---- what this node knows of itself
 * -------------------------------------------
 */

/* Of the boards of the group's shards that have a replica here. False: none
 * has. */
static bool look_at_group(struct governed *d, struct failover_self *self)
{
    const struct worker *w = d->governor->worker;
    const struct steering_group *of = steering_group(&w->steering, d->number);
    bool any = false, followed = true;
    for (uint32_t i = 0; of != NULL && i < catalog_shards_count(of->shards);
         i++) {
        uint32_t id = catalog_shards_at(of->shards, i);
        if (!node_has_shard(w->node, id)) {
            followed = false;
            continue;
        }
        struct shard_board b = steering_board(w, id);
        any = true;
        followed &= b.settled_epoch == d->record.epoch;
        /* A fenced group without a leader must not keep the others from moving.
         */
        if (b.behind_ms > self->behind_ms &&
            (d->number == GROUP_DEFAULT || b.behind_ms != UINT32_MAX))
            self->behind_ms = b.behind_ms;
        self->behind_entries += b.behind_entries;
        self->led += b.leads;
        self->no_space |= b.no_space;
        self->draining |= b.stuck;
        d->own.at_risk_entries += b.at_risk_entries;
        if (b.at_risk_ms > d->own.at_risk_ms)
            d->own.at_risk_ms = b.at_risk_ms;
        if (b.config_epoch == d->record.epoch &&
            b.handover_ms > d->own.pause_ms)
            d->own.pause_ms = b.handover_ms;
    }
    if (any && followed)
        d->own.followed = true;
    return any;
}

static void look_at_meta(const struct governor *g, struct failover_self *self)
{
    struct shard_board b = steering_board(g->worker, SHARD_META);
    if (b.behind_ms > self->behind_ms)
        self->behind_ms = b.behind_ms;
    self->behind_entries += b.behind_entries;
    self->led += b.leads;
    self->no_space |= b.no_space;
    self->draining |= b.stuck;
}

static struct failover_self look_at_self(struct governor *g)
{
    const struct node *node = g->worker->node;
    struct failover_self self = {.draining = g->worker->draining};
    look_at_meta(g, &self);
    for (uint32_t i = 0; i < g->group_count; i++) {
        struct governed *d = g->groups[i];
        d->own = (struct govern_word){.followed = false};
        if (d->known)
            govern_tell(&d->record, &d->own.decision);
        if (!look_at_group(d, &self) && d->number == GROUP_DEFAULT)
            self.behind_ms = UINT32_MAX;
    }
    self.disk_stall_ms =
        (uint32_t)(log_pipe_node_stalled_us(node, clock_mono_us()) /
                   USEC_PER_MS);
    g->no_space = self.no_space;
    g->stalled = self.disk_stall_ms >=
                 (uint32_t)(failover_health_timing(failover_health(g->failover))
                                ->stall_us /
                            USEC_PER_MS);
    return self;
}

/* The meta shard's replica here knows when its leader was last surely there. */
static bool is_isolated(struct governor *g, usec_t now)
{
    const struct raft *r =
        shard_raft(worker_replica(g->worker, SHARD_META)->shard);
    usec_t fresh = raft_fresh_since(r, now);
    g->proven |= fresh > 0;
    if (fresh > g->contact_us)
        g->contact_us = fresh;
    return now - g->contact_us > GOVERNOR_ISOLATED_US;
}

/* ---- telling the workers
 * --------------------------------------------------------
 */

static void take_news(struct worker *w, void *arg)
{
    struct steering_news *news = arg;
    steering_take_news(&w->steering, news);
    mem_free(news);
}

static void tell_workers(struct governor *g, const struct steering_news *news)
{
    if (memcmp(news, &g->news, sizeof(*news)) == 0)
        return;
    if (news->isolated != g->news.isolated)
        log_warn(news->isolated ? "isolated: the leader of the meta shard is "
                                  "out of reach"
                                : "no longer isolated");
    g->news = *news;
    struct node *node = g->worker->node;
    for (uint32_t i = 0; i < node->worker_count; i++) {
        struct steering_news *copy = mem_alloc(sizeof(*copy));
        *copy = *news;
        worker_run(&node->workers[i], take_news, copy);
    }
}

/* A node whose disk fails cannot follow the meta shard's log either. */
static const char *why_isolated(const struct governor *g,
                                const struct failover_self *self)
{
    return self->no_space ? "this node's disk is full"
           : g->stalled   ? "this node's disk hangs"
                          : "this node has lost contact with the rest of the "
                            "cluster";
}

static void make_news(struct governor *g, const struct failover_self *self,
                      const struct failover_plan *plan, usec_t now)
{
    struct steering_news news;
    memset(&news, 0, sizeof(news)); /* compared as bytes */
    steer_health_of(failover_health(g->failover), g->worker->node->config->id,
                    self, &news.health);
    /* A disk that is full is often everybody's: who could lead instead is
     * known when the others have tried to write and told. */
    if (!self->no_space)
        g->full_us = now + GOVERNOR_FULL_US;
    else if (now < g->full_us && !self->draining && !g->stalled)
        news.health.self_ill = false;
    const struct failover_health *h = failover_health(g->failover);
    usec_t cut_off_us = failover_health_cut_off_us(h);
    news.cut_off = cut_off_us >= failover_health_timing(h)->down_us;
    news.elsewhere = news.cut_off && cut_off_us < ELSEWHERE_US;
    news.isolated = is_isolated(g, now) || news.cut_off;
    news.proven = g->proven;
    if (plan->unavailable[0] != '\0')
        snprintf(news.reason, sizeof(news.reason), "%s", plan->unavailable);
    else if (news.isolated)
        snprintf(news.reason, sizeof(news.reason), "%s", why_isolated(g, self));
    tell_workers(g, &news);
}

/* ---- deciding
 * ---------------------------------------------------------------------
 */

static bool leads_meta(const struct governor *g)
{
    return worker_leads(g->worker, SHARD_META, clock_mono_us());
}

static bool follows(const struct govern_word *w, uint32_t epoch)
{
    return w->decision.epoch == epoch && w->followed;
}

/* As far as this node's replicas know; of a group of which it is no member, as
 * far as those of a member do: a node that left does not hear of it. */
static bool all_settled(const struct governed *d, uint32_t epoch)
{
    const struct govern_record *r = &d->record;
    uint32_t self = d->governor->worker->node->config->id;
    if (r->n_members == 0)
        return follows(&d->own, epoch);
    for (uint32_t i = 0; i < r->n_members; i++) {
        uint32_t id = r->members[i].id;
        if (follows(id == self ? &d->own : &d->others[id], epoch))
            return true;
    }
    return false;
}

/* Of a group without a list of members all nodes are. */
static bool is_member(const struct govern_record *r, raft_id node)
{
    for (uint32_t i = 0; i < r->n_members; i++)
        if (r->members[i].id == node)
            return node != r->witness.id;
    return r->n_members == 0;
}

bool governor_all_know(const struct governor *g, uint16_t group, uint32_t epoch,
                       bool members)
{
    const struct governed *d = find_group(g, group);
    const struct config *c = g->worker->node->config;
    if (d == NULL || !d->known || d->record.epoch < epoch)
        return false;
    for (size_t i = 0; i < c->region_count; i++)
        for (size_t k = 0; k < c->regions[i].node_count; k++) {
            uint32_t id = c->regions[i].nodes[k].id;
            if (id != c->id && (!members || is_member(&d->record, id)) &&
                peers_up(g->worker->peers, id) &&
                d->others[id].decision.epoch < epoch)
                return false;
        }
    return true;
}

static void plan_for(const struct governed *d, const struct govern_record *r,
                     struct failover_plan *out)
{
    struct failover_group group;
    govern_group(r, d->name, d->changed_us, &group);
    failover_plan(d->governor->failover, &group, out);
}

/* The shards went on without this record: survivors were made a cluster of
 * their own (the meta shard's configuration says so, and who votes). */
static bool recovered(const struct governor *g, const struct govern_record *now,
                      int64_t at_us, struct govern_record *next_out)
{
    const struct raft_config *c = raft_config_committed(
        shard_raft(worker_replica(g->worker, SHARD_META)->shard));
    if (c->epoch <= now->epoch)
        return false;
    govern_regions survivors = 0;
    for (uint32_t i = 0; i < c->n; i++)
        if (c->members[i].voter &&
            govern_rank(now, c->members[i].region) < now->n_regions)
            survivors |= govern_region_bit(c->members[i].region);
    if (survivors == 0)
        return false;
    govern_recover(now, c->epoch, survivors, at_us,
                   "the survivors were made a cluster of their own", next_out);
    return true;
}

/* What should follow `now`, a record of the epoch that this node knows. */
static bool derive(const struct governed *d, const struct govern_record *now,
                   struct govern_record *next_out, const char **what_out)
{
    struct failover_plan plan;
    int64_t at_us = clock_wall_us();
    *what_out = "recover";
    if (recovered(d->governor, now, at_us, next_out))
        return true;
    plan_for(d, now, &plan);
    *what_out = plan.action == FAILOVER_NONE
                    ? "settled"
                    : failover_action_name(plan.action);
    return govern_decide(now, &plan, all_settled(d, now->epoch), at_us,
                         next_out);
}

static int change(void *user, const struct govern_record *now,
                  struct govern_record *next_out, struct err_msg *msg)
{
    const struct governed *d = user;
    const char *what;
    if (d->gone || !leads_meta(d->governor) || now->epoch != d->record.epoch ||
        !derive(d, now, next_out, &what))
        return err_set(msg, ERR_STALE, "overtaken");
    return ERR_OK;
}

static void changed(void *user, int err, const struct govern_record *record,
                    const struct err_msg *msg)
{
    struct governed *d = user;
    (void)record;
    d->editing = false;
    if (d->gone) {
        mem_free(d);
        return;
    }
    if (err != ERR_OK && err != ERR_STALE)
        log_warn("a decision could not be recorded", LOG_STR("why", msg->text));
}

static void decide(struct governed *d)
{
    struct governor *g = d->governor;
    struct govern_record next;
    const char *what;
    if (!d->known || d->editing || g->worker->stopping || !leads_meta(g) ||
        !derive(d, &d->record, &next, &what))
        return;
    const struct config *c = g->worker->node->config;
    struct group_edit edit = {.change = change,
                              .done = changed,
                              .user = d,
                              .timeout_us = EDIT_TIMEOUT_US,
                              .quiet = next.epoch == d->record.epoch &&
                                       next.down == d->record.down};
    snprintf(edit.group, sizeof(edit.group), "%s", d->name);
    snprintf(edit.who, sizeof(edit.who), "failover controller on %s", c->node);
    snprintf(edit.what, sizeof(edit.what), "%s", what);
    log_info(
        "decision", LOG_STR("group", d->name), LOG_STR("what", what),
        LOG_UINT("epoch", next.epoch),
        LOG_STR("write_region", decision_region_name(c, next.write_region)),
        LOG_STR("reason", next.reason));
    d->editing = true;
    group_edit_begin(g->worker, &edit);
}

/* ---- who votes
 * ---------------------------------------------------------------------
 */

/* Majorities are of the meta shard's voters: fewer than all nodes after
 * survivors were made a cluster of their own. */
static void follow_voters(struct governor *g, usec_t now)
{
    const struct failover_topology *known =
        failover_health_topology_of(failover_health(g->failover));
    const struct raft_config *c = raft_config_committed(
        shard_raft(worker_replica(g->worker, SHARD_META)->shard));
    struct failover_topology *next = mem_dup(known, sizeof(*known));
    bool changed = false;
    for (uint32_t i = 0; i < next->n_nodes && c->n > 0; i++) {
        const struct raft_member *m = raft_config_find(c, next->nodes[i].id);
        bool votes = m != NULL && m->voter;
        changed |= votes != next->nodes[i].voter;
        next->nodes[i].voter = votes;
    }
    if (changed)
        CHECK(failover_set_topology(g->failover, next, now) == ERR_OK);
    mem_free(next);
}

/* ---- the tick
 * -----------------------------------------------------------------------
 */

static void on_tick(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    struct governor *g = timer->data;
    usec_t now = clock_mono_us();
    struct failover_self self = look_at_self(g);
    struct failover_plan plan = {.unavailable = ""};
    follow_voters(g, now);
    drop_removed(g);
    failover_tick(g->failover, &self, now);
    for (uint32_t i = g->group_count; i-- > 0;) {
        struct governed *d = g->groups[i];
        if (d->known)
            plan_for(d, &d->record, &plan);
        if (plan.unavailable[0] == '\0')
            d->possible_us = now;
        if (d->number == GROUP_DEFAULT)
            make_news(g, &self, &plan, now);
        decide(d);
    }
}

/* The group's first record, which names the first write region, moves nothing.
 */
static void count_switch(struct governed *d, const struct govern_record *r)
{
    if (d->known && r->epoch != d->record.epoch &&
        (r->write_region != d->record.write_region ||
         (r->forced && !d->record.forced)))
        d->switches[r->forced]++;
}

void governor_record(struct governor *g, uint16_t number, const char *name,
                     const struct govern_record *r)
{
    struct governed *d = make_group(g, number, name);
    count_switch(d, r);
    if (!d->known || r->epoch != d->record.epoch)
        d->changed_us = clock_mono_us();
    d->record = *r;
    d->known = true;
}

/* ---- for the administrator
 * ------------------------------------------------------------
 */

uint64_t governor_switches(const struct governor *g, uint16_t group,
                           bool forced)
{
    const struct governed *d = find_group(g, group);
    return d != NULL ? d->switches[forced] : 0;
}

const struct govern_record *governor_now(const struct governor *g,
                                         uint16_t group)
{
    const struct governed *d = find_group(g, group);
    return d != NULL && d->known ? &d->record : NULL;
}

const struct failover_health *governor_health(const struct governor *g)
{
    return failover_health(g->failover);
}

void governor_group(const struct governor *g, uint16_t group,
                    struct failover_group *out)
{
    const struct governed *d = find_group(g, group);
    CHECK(d != NULL && d->known);
    govern_group(&d->record, d->name, d->changed_us, out);
}

void governor_plan(const struct governor *g, uint16_t group,
                   struct failover_plan *out)
{
    const struct governed *d = find_group(g, group);
    CHECK(d != NULL && d->known);
    plan_for(d, &d->record, out);
    /* At the start and when voters change, reports take a moment to come. */
    if (clock_mono_us() - d->possible_us < GOVERNOR_DOUBT_US)
        out->unavailable[0] = '\0';
}

static void add_totals(struct governor_totals *t, const struct govern_word *w,
                       uint32_t epoch)
{
    t->at_risk_entries += w->at_risk_entries;
    if (w->at_risk_ms > t->at_risk_ms)
        t->at_risk_ms = w->at_risk_ms;
    if (w->decision.epoch == epoch && w->pause_ms > t->pause_ms)
        t->pause_ms = w->pause_ms;
}

void governor_totals(const struct governor *g, uint16_t group,
                     struct governor_totals *out)
{
    const struct governed *d = find_group(g, group);
    *out = (struct governor_totals){.pause_ms = 0};
    if (d == NULL)
        return;
    add_totals(out, &d->own, d->record.epoch);
    for (uint32_t i = 1; i <= FAILOVER_NODES_MAX; i++)
        add_totals(out, &d->others[i], d->record.epoch);
}

/* ---- life
 * ------------------------------------------------------------------------------
 */

static void fill_topology(const struct config *c, struct failover_topology *t)
{
    memset(t, 0, sizeof(*t));
    for (size_t i = 0; i < c->region_count; i++) {
        const struct config_region *region = &c->regions[i];
        t->regions[t->n_regions].number = (failover_region)(i + 1);
        snprintf(t->regions[t->n_regions].name, FAILOVER_NAME_MAX + 1, "%s",
                 region->name);
        t->n_regions++;
        for (size_t j = 0; j < region->node_count; j++) {
            struct failover_node *n = &t->nodes[t->n_nodes++];
            n->id = region->nodes[j].id;
            n->region = (failover_region)(i + 1);
            n->voter = !region->nodes[j].added;
            snprintf(n->name, sizeof(n->name), "%s", region->nodes[j].name);
        }
    }
}

void governor_topology(struct governor *g)
{
    struct failover_topology *t = mem_alloc(sizeof(*t));
    fill_topology(g->worker->node->config, t);
    CHECK(failover_set_topology(g->failover, t, clock_mono_us()) == ERR_OK);
    mem_free(t);
    follow_voters(g, clock_mono_us());
}

struct governor *governor_new(struct worker *w)
{
    const struct node *node = w->node;
    struct governor *g = mem_zalloc(sizeof(*g));
    struct failover_topology *t = mem_alloc(sizeof(*t));
    usec_t now = clock_mono_us();
    g->worker = w;
    g->contact_us = now;
    (void)make_group(g, GROUP_DEFAULT, GROUP_DEFAULT_NAME);
    buf_init(&g->gossip, GOVERN_WORDS_BYTES(GROUPS_MAX) + FAILOVER_MESSAGE_MAX);
    struct failover_timing timing = failover_timing_default;
    timing.down_us =
        (usec_t)node->config->timeouts.region_down_ms * USEC_PER_MS;
    timing.up_us = (usec_t)node->config->timeouts.region_up_ms * USEC_PER_MS;
    timing.failback_us = timing.up_us;
    g->failover =
        failover_new(node->config->id, node->incarnation, &timing, now);
    fill_topology(node->config, t);
    CHECK(failover_set_topology(g->failover, t, now) == ERR_OK);
    mem_free(t);
    /* Peers may ask for gossip before the first tick. */
    struct failover_self self = {.behind_ms = UINT32_MAX};
    failover_tick(g->failover, &self, now);
    double every = (double)GOVERNOR_TICK_US / USEC_PER_SEC;
    ev_timer_init(&g->timer, on_tick, every, every);
    g->timer.data = g;
    ev_timer_start(w->loop, &g->timer);
    return g;
}
