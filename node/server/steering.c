#include "node/server/steering.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/server/decision.h"
#include "node/server/governor.h"
#include "node/server/region_names.h"
#include "node/server/worker.h"

/* ---- the account -----------------------------------------------------------
 */

static void fill_region(const struct config *c, size_t i,
                        struct cosmos_region *out)
{
    *out = (struct cosmos_region){.name = c->regions[i].name,
                                  .endpoint = c->regions[i].endpoint};
}

void steering_first_account(const struct worker *w,
                            struct cosmos_region regions[COSMOS_REGIONS_MAX],
                            struct cosmos_account *account_out)
{
    const struct config *c = w->node->config;
    size_t count = 0;
    while (count < c->region_count &&
           !config_region_added(&c->regions[count])) {
        fill_region(c, count, &regions[count]);
        count++;
    }
    size_t own = (size_t)(c->own_region - c->regions);
    *account_out = (struct cosmos_account){
        .id = c->cluster,
        .regions = regions,
        .region_count = count,
        .own_region = own < count ? own : count,
        .removed = own >= count,
        .refuse_writes = !c->forward_writes,
        .advertise = (enum cosmos_advertise)c->advertise,
        .unproven = true,
        .consistency = {.level = (enum consistency_level)c->consistency.level}};
}

static bool has_hint(const struct steering_group *g)
{
    return g->hint.epoch > g->record.epoch;
}

/* The newest decision that this node has heard of. */
static const struct govern_record *newest(const struct steering_group *g)
{
    return has_hint(g) ? &g->hint : &g->record;
}

static struct steering_group *find_group(struct steering *s, uint16_t number)
{
    for (uint32_t i = 0; i < s->group_count; i++)
        if (s->groups[i].number == number)
            return &s->groups[i];
    return NULL;
}

const struct steering_group *steering_group(const struct steering *s,
                                            uint16_t number)
{
    return find_group((struct steering *)s, number);
}

const struct steering_group *steering_group_of(const struct steering *s,
                                               uint16_t shard)
{
    for (uint32_t i = 0; i < s->group_count; i++) {
        const struct steering_group *g = &s->groups[i];
        if (shard == SHARD_META ? g->number == GROUP_DEFAULT
                                : catalog_shards_has(g->shards, shard))
            return g;
    }
    return NULL;
}

/* By the record's priority: those that serve. One that comes is shown when all
 * its shards are there, one that leaves not any more. */
static void show_regions(const struct config *c, const struct catalog *catalog,
                         const struct govern_record *r,
                         struct cosmos_region regions[COSMOS_REGIONS_MAX],
                         struct cosmos_account *account)
{
    raft_region own = decision_region(c, c->region);
    size_t n = 0;
    account->removed = true;
    for (uint32_t i = 0; i < r->n_regions; i++) {
        raft_region region = r->priority[i];
        if (((r->coming | r->leaving) & govern_region_bit(region)) != 0)
            continue;
        fill_region(c, region - 1u, &regions[n]);
        regions[n].name = region_display_name(catalog, regions[n].name);
        regions[n].down = (r->down & govern_region_bit(region)) != 0;
        if (region == r->write_region)
            account->write_region = n;
        if (region == own) {
            account->own_region = n;
            account->removed = false;
        }
        n++;
    }
    account->region_count = n;
    if (account->removed)
        account->own_region = n;
}

static void show_account(struct steering *s)
{
    const struct config *c = s->worker->node->config;
    const struct steering_group *g = steering_group(s, GROUP_DEFAULT);
    struct cosmos_region regions[COSMOS_REGIONS_MAX];
    struct cosmos_account account;
    struct err_msg msg;
    steering_first_account(s->worker, regions, &account);
    if (g != NULL) {
        const struct govern_record *r = newest(g);
        show_regions(c, s->worker->catalog, r, regions, &account);
        account.consistency = r->consistency;
    }
    /* A log that cannot be written does not learn who leads: writes cannot be
     * passed on, but clients can be told where they go. */
    account.refuse_writes |= g != NULL && has_hint(g);
    account.isolated = s->news.isolated;
    account.elsewhere = s->news.elsewhere;
    account.unproven = !s->news.proven;
    account.reason = s->news.reason;
    if (cosmos_set_account(s->worker->cosmos, &account, &msg) != ERR_OK)
        log_error("the account cannot be shown", LOG_STR("reason", msg.text));
}

/* ---- the board --------------------------------------------------------------
 */

/* A distrusted leader that has not been able to hand over for this long needs
 * the controller's decision for another region. */
#define STUCK_US (USEC_PER_SEC)

/* Relaxed: each number stands for itself. */
#define POST(member, value)                                                    \
    __atomic_store_n(&board->member, (value), __ATOMIC_RELAXED)
#define LOOK(member) __atomic_load_n(&board->member, __ATOMIC_RELAXED)

static uint32_t to_ms(usec_t us)
{
    if (us == USEC_NEVER || us / USEC_PER_MS >= UINT32_MAX)
        return UINT32_MAX;
    return (uint32_t)(us / USEC_PER_MS);
}

static void post(const struct steering *s, const struct replica *r, usec_t now)
{
    struct shard_board *board = &s->worker->node->board[r->id];
    struct shard_status status;
    shard_status(r->shard, now, &status);
    const struct steering_group *g = steering_group_of(s, r->id);
    if (g != NULL && steer_settled(&g->record, r->shard))
        POST(settled_epoch, g->record.epoch);
    POST(config_epoch, status.rule_committed.epoch);
    /* 0 stands for none. */
    POST(handover_ms, to_ms(status.handover_us + USEC_PER_MS - 1));
    POST(behind_ms, to_ms(status.fresh_us));
    POST(behind_entries, raft_known_lsn(shard_raft(r->shard)) -
                             raft_visible_lsn(shard_raft(r->shard)));
    POST(at_risk_entries, status.at_risk_entries);
    POST(at_risk_ms, to_ms(status.at_risk_us));
    POST(leads, status.role == RAFT_LEADER);
    POST(no_space, status.no_space);
    POST(stuck, status.role == RAFT_LEADER && status.distrusted &&
                    now - r->scrub.doubt_us > STUCK_US);
}

struct shard_board steering_board(const struct worker *w, uint32_t shard)
{
    const struct shard_board *board = &w->node->board[shard];
    return (struct shard_board){.settled_epoch = LOOK(settled_epoch),
                                .config_epoch = LOOK(config_epoch),
                                .handover_ms = LOOK(handover_ms),
                                .behind_ms = LOOK(behind_ms),
                                .behind_entries = LOOK(behind_entries),
                                .at_risk_entries = LOOK(at_risk_entries),
                                .at_risk_ms = LOOK(at_risk_ms),
                                .leads = LOOK(leads),
                                .no_space = LOOK(no_space),
                                .stuck = LOOK(stuck),
                                .here = LOOK(here)};
}

bool steering_in_contact(const struct worker *w, uint32_t shard)
{
    const struct steering_group *g = steering_group_of(&w->steering, shard);
    return g != NULL && g->number != GROUP_DEFAULT &&
           node_has_shard(w->node, shard) &&
           steering_board(w, shard).behind_ms <
               GOVERNOR_ISOLATED_US / USEC_PER_MS;
}

void steering_here(struct worker *w, uint16_t shard, bool here)
{
    struct shard_board *board = &w->node->board[shard];
    if (here)
        *board = (struct shard_board){.behind_ms = UINT32_MAX};
    POST(here, here);
}

bool node_has_shard(const struct node *n, uint32_t shard)
{
    return __atomic_load_n(&n->board[shard].here, __ATOMIC_RELAXED);
}

/* ---- steering
 * ----------------------------------------------------------------
 */

void steering_init(struct steering *s, struct worker *w)
{
    *s = (struct steering){.worker = w};
}

static struct steering_group *make_group(struct steering *s, uint16_t number)
{
    struct steering_group *g = find_group(s, number);
    if (g != NULL)
        return g;
    CHECK(s->group_count < GROUPS_MAX);
    g = &s->groups[s->group_count++];
    *g = (struct steering_group){.number = number};
    return g;
}

void steering_account_changed(struct steering *s)
{
    if (s->worker->cosmos != NULL && steering_group(s, GROUP_DEFAULT) != NULL)
        show_account(s);
}

void steering_drop_group(struct steering *s, uint16_t number)
{
    struct steering_group *g = find_group(s, number);
    if (g != NULL)
        *g = s->groups[--s->group_count];
}

void steering_forget_groups(struct steering *s)
{
    s->group_count = 0;
}

void steering_put_group(struct steering *s, const struct catalog_group *g)
{
    struct govern_record r;
    if (decision_of_group(s->worker->node->config, g, &r, NULL) != ERR_OK) {
        log_error("the group names a region that this node's configuration "
                  "does not have: is it of another cluster?",
                  LOG_STR("group", g->name));
        return;
    }
    struct steering_group *known = make_group(s, g->number);
    known->shards = catalog_group_shards(g);
    known->record = r;
    if (s->worker->cosmos != NULL && g->number == GROUP_DEFAULT)
        show_account(s);
    steering_soon(s);
    if (s->worker->governor != NULL)
        governor_record(s->worker->governor, g->number, g->name, &r);
}

void steering_take_news(struct steering *s, const struct steering_news *news)
{
    bool shown = news->isolated != s->news.isolated ||
                 news->elsewhere != s->news.elsewhere ||
                 news->proven != s->news.proven ||
                 strcmp(news->reason, s->news.reason) != 0;
    s->news = *news;
    steering_soon(s);
    if (shown)
        show_account(s);
}

void steering_take_hint(struct steering *s, uint16_t group,
                        const struct govern_record *hint)
{
    struct steering_group *g = find_group(s, group);
    if (g == NULL)
        return;
    g->hint = *hint;
    if (group == GROUP_DEFAULT)
        show_account(s);
    steering_soon(s);
}

void steering_soon(struct steering *s)
{
    s->next_us = 0;
    worker_wake(s->worker);
}

void steering_turn(struct steering *s, usec_t now)
{
    if (now < s->next_us)
        return;
    s->next_us = now + STEER_EVERY_US;
    struct worker *w = s->worker;
    struct steer_health health = s->news.health;
    health.self_ill |= w->draining;
    for (uint32_t i = 0; i < w->replica_count; i++) {
        struct replica *r = w->replicas[i];
        const struct steering_group *g = steering_group_of(s, r->id);
        struct steer_health own = health;
        own.self_ill |= shard_distrusted(r->shard);
        if (g != NULL)
            steer_shard(&r->steer, now, newest(g), &own, w->node->config->id,
                        r->shard);
        post(s, r, now);
    }
}

/* ---- before the end
 * ------------------------------------------------------------
 */

static bool is_ill(const struct steering *s, raft_id node)
{
    for (uint32_t i = 0; i < s->news.health.n_ill; i++)
        if (s->news.health.ill[i] == node)
            return true;
    return false;
}

static bool has_heir(const struct steering *s, const struct raft *r)
{
    const struct raft_config *c = raft_config(r);
    for (uint32_t i = 0; i < c->n; i++) {
        struct raft_peer_info info;
        if (c->members[i].voter && !c->members[i].witness &&
            !is_ill(s, c->members[i].id) &&
            raft_peer(r, c->members[i].id, &info) == ERR_OK && info.reachable)
            return true;
    }
    return false;
}

bool steering_can_hand_over(const struct steering *s)
{
    const struct worker *w = s->worker;
    for (uint32_t i = 0; i < w->replica_count; i++) {
        const struct raft *r = shard_raft(w->replicas[i]->shard);
        if (raft_role(r) == RAFT_LEADER && has_heir(s, r))
            return true;
    }
    return false;
}
